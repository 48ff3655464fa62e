"""The shipped series of Dynamo on a git checkout, an sdist and a wheel of one small upstream.

The same edits, the same effect.
"""

from __future__ import annotations

import tomllib
from email.parser import Parser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pygit2.enums import FileMode

from forkhouse.patches.ladder import Ladder
from forkhouse.patches.series import read_series
from forkhouse.patches.verdicts import APPLIED, Verdict
from forkhouse.sources.store import TreeFile

if TYPE_CHECKING:
    from forkhouse.documents.lockfile import Form
    from forkhouse.sources.store import ObjectStore

SERIES = read_series(Path(__file__).parents[2] / "patches/dynamo")
ASKED = {
    "": ["aisimulate==0.1", "certifi>=2099.1", "pyzmq>=26"],
    "vllm": [
        "uvloop",
        "nixl[cu13]==1.4",
        "vllm[flashinfer,otel]==0.29",
        "ray>=2",
        "soundfile>=0.13",
        "librosa>=0.10",
    ],
    "sglang": ["sglang[diffusion]==0.5", "nixl[cu13]==1.5", "cupy-cuda13x>=13"],
    "trtllm": ["uvloop", "tensorrt-llm==1.3"],
}
LEFT = {
    "": ["certifi", "pyzmq>=26"],
    "vllm": ["uvloop", "vllm==0.29"],
    "sglang": ["sglang[diffusion]==0.5"],
    "trtllm": ["uvloop"],
}
GROUPS = {"console_scripts": {"serve": "demo:main"}, "pytest11": {"fixtures": "demo.testing"}}


def project(asked: dict[str, list[str]]) -> str:
    """Write the requirements as a checkout and an sdist hold them.

    Comments speak of what is taken out.
    """
    lists = "".join(
        f"{extra} = [\n    # flashinfer, nixl, "
        f"aisimulate\n{''.join(f'    {name!r},{chr(10)}' for name in names)}]\n"
        for extra, names in asked.items()
        if extra
    )
    return (
        "[project]\nname = 'ai-dynamo'\ndependencies = "
        f"{asked['']!r}\n\n[project.optional-dependencies]\n{lists}\n"
        "[project.scripts]\nserve = 'demo:main'\n\n[project.entry-points.pytest11]\nfixtures = "
        "'demo.testing'\n"
    )


def metadata(asked: dict[str, list[str]]) -> str:
    """Write the requirements as a wheel holds them; its description speaks of what is taken out."""
    lines = [
        f"Requires-Dist: {name}{f'; extra == {extra!r}' if extra else ''}\n"
        for extra, names in asked.items()
        for name in names
    ]
    extras = "".join(f"Provides-Extra: {extra}\n" for extra in asked if extra)
    return (
        f"Metadata-Version: 2.4\nName: ai-dynamo\n{extras}{''.join(lines)}\nWith flashinfer, nixl, "
        "aisimulate.\n"
    )


def files(form: Form, asked: dict[str, list[str]]) -> dict[str, str]:
    if form != "wheel":
        return {"pyproject.toml": project(asked)}
    groups = "\n".join(
        f"[{group}]\n{''.join(f'{key} = {value}{chr(10)}' for key, value in names.items())}"
        for group, names in GROUPS.items()
    )
    return {
        "ai_dynamo-1.dist-info/METADATA": metadata(asked),
        "ai_dynamo-1.dist-info/entry_points.txt": groups,
    }


def asked_for(form: Form, texts: dict[str, str]) -> dict[str, list[str]]:
    """Read requirements back by extra, without our own reader."""
    if form != "wheel":
        table = tomllib.loads(texts["pyproject.toml"])["project"]
        return {"": table["dependencies"], **table["optional-dependencies"]}
    found: dict[str, list[str]] = {}
    for line in (
        Parser().parsestr(texts["ai_dynamo-1.dist-info/METADATA"]).get_all("Requires-Dist", [])
    ):
        requirement = Requirement(line)
        extra = str(requirement.marker).partition("== ")[2].strip('"') if requirement.marker else ""
        requirement.marker = None
        found.setdefault(extra, []).append(str(requirement))
    return found


class Upstream:
    """The edits of packaging on one form of the upstream."""

    def __init__(self, store: ObjectStore, form: Form) -> None:
        self.store = store
        self.form: Form = form
        paths = {"components/src/": ""} if form == "wheel" else {}
        self.ladder = Ladder(store=store, paths=paths, pinned={})
        self.series = [
            patch
            for patch in SERIES
            if "pyproject.toml" in str(patch.content) and patch.is_for(form)
        ]

    def patched(
        self, asked: dict[str, list[str]]
    ) -> tuple[dict[str, Verdict], dict[str, str], str]:
        """Return the verdicts, the files afterwards, and what was said."""
        base = self.store.import_files(
            TreeFile(path=path, content=text.encode(), mode=FileMode.BLOB)
            for path, text in files(self.form, asked).items()
        )
        judged = self.ladder.judge_series(base, self.series)
        after = {file.path: file.content.decode() for file in self.store.files(judged[-1].tree)}
        return (
            {each.patch[:4]: each.verdict for each in judged},
            after,
            " ".join(each.cause for each in judged),
        )


@pytest.fixture(params=["git", "sdist", "wheel"])
def upstream(store: ObjectStore, request: pytest.FixtureRequest) -> Upstream:
    return Upstream(store, request.param)


def test_every_form_asks_for_the_same_afterwards(upstream: Upstream) -> None:
    verdicts, after, said = upstream.patched(ASKED)
    assert list(verdicts) == ["0001", "0002", "0003", "0004", "0005", "0006", "0008"]
    assert set(verdicts.values()) <= APPLIED
    assert asked_for(upstream.form, after) == LEFT
    assert said.strip() == ""


def test_no_form_loads_fixtures_into_other_peoples_pytest(upstream: Upstream) -> None:
    _, after, _ = upstream.patched(ASKED)
    assert not [path for path, text in after.items() if "pytest11" in text]
    assert any("demo:main" in text for text in after.values())


def test_another_cuda_release_goes_as_well_and_none_is_told(upstream: Upstream) -> None:
    older = {**ASKED, "sglang": [name.replace("cuda13x", "cuda12x") for name in ASKED["sglang"]]}
    assert asked_for(upstream.form, upstream.patched(older)[1]) == LEFT
    none = {**ASKED, "sglang": [name for name in ASKED["sglang"] if "cupy" not in name]}
    verdicts, after, said = upstream.patched(none)
    assert verdicts["0006"] in APPLIED
    assert asked_for(upstream.form, after) == LEFT
    assert "operation 1 found nothing to do: {'requirement': {'remove': 'cupy-cuda*'" in said


def test_a_release_without_the_media_packages_keeps_the_other_edits(upstream: Upstream) -> None:
    media = {"ray", "soundfile", "librosa"}
    before = {
        **ASKED,
        "vllm": [
            name for name in ASKED["vllm"] if canonicalize_name(Requirement(name).name) not in media
        ],
    }
    verdicts, after, _ = upstream.patched(before)
    assert verdicts.pop("0005") is Verdict.UPSTREAMED
    assert set(verdicts.values()) <= APPLIED
    assert asked_for(upstream.form, after) == LEFT
