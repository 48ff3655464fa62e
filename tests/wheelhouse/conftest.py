from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from forkhouse.builders.built import BuiltWheel
from forkhouse.core.digests import sha256_file
from forkhouse.documents.lockfile import KernelPin, Profile, WheelSource
from forkhouse.documents.pins import Missing, PinnedWheel, pinned_wheel
from forkhouse.patches.apply import PatchedTree
from forkhouse.provenance.origins import Origin, SourceOrigin
from forkhouse.provenance.statement import Definition, Provenance
from forkhouse.sources.acquire import SourceTree
from forkhouse.wheelhouse.publish import Wheelhouse, publish

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from forkhouse.core.journal import Journal
    from forkhouse.sources.index import Registry

SOURCE = WheelSource(
    kind="wheel",
    package="demo",
    file="demo-1.0-py3-none-any.whl",
    sha256="0" * 64,
    paths={"src/": ""},
    why="An example.",
)
PATCHED = PatchedTree(
    source=SourceTree(
        upstream="demo",
        version="1.0",
        source=SOURCE,
        tree="1" * 40,
        commit="2" * 40,
        epoch=1_700_000_000,
        passed_over=("git x: did not answer",),
    ),
    tree="3" * 40,
    commit="4" * 40,
    applied=("0001-a.patch",),
    not_for_form=("0002-b.edit.yaml",),
)


ORIGIN = Origin(
    recipe="demo",
    name="demo-rocm",
    version="1.0+rocm.1",
    upstream=SourceOrigin(
        name="demo", version="1.0", licence="MIT", source=SOURCE, tree=PATCHED.source.tree
    ),
    epoch=PATCHED.source.epoch,
    patched_tree=PATCHED.tree,
    patches=(),
    parts=(),
    siblings=(),
    tools={"gcc": "gcc 12"},
    omits={},
)
DEFINITION = Definition(
    profile="cpu",
    install=("demo-rocm",),
    lock="5" * 64,
    closure="pylock.cpu.toml",
    closure_sha256="6" * 64,
    policy="auto",
    targets=("gfx90a",),
)


def built_wheel(path: Path) -> BuiltWheel:
    pin = pinned_wheel(path.name, sha256_file(path))
    return BuiltWheel(
        recipe="demo",
        distribution=pin.name,
        version=pin.version,
        path=path,
        sha256=pin.sha256,
        patched=PATCHED,
        tools={"gcc": "gcc 12"},
        omits={},
        seconds=1.0,
    )


@dataclass(kw_only=True)
class Draft:
    """What a wheelhouse is to be made from; most tests spoil one part of it."""

    folder: Path
    profile: Profile
    built: list[BuiltWheel]
    third_party: list[PinnedWheel]
    registry: Registry
    journal: Journal
    missing: list[Missing] = field(default_factory=list)
    tools: dict[str, Path] = field(default_factory=dict)
    omitted: dict[str, str] = field(default_factory=dict)
    recorded: dict[str, list[KernelPin]] = field(default_factory=dict)

    def publish(self) -> Wheelhouse:
        return publish(
            self.folder,
            profile_name="cpu",
            profile=self.profile,
            requires_python=">=3.11",
            targets=("gfx90a",),
            build_paths=(str(self.folder.parent / "build"),),
            built=self.built,
            recorded=self.recorded,
            third_party=self.third_party,
            tools=self.tools,
            omitted=self.omitted,
            missing=self.missing,
            provenance=Provenance(
                definition=DEFINITION, origins={wheel.recipe: ORIGIN for wheel in self.built}
            ),
            registry=self.registry,
            journal=self.journal,
            engine="test",
        )

    def content(self) -> dict[str, bytes]:
        """Return every file of the wheelhouse by path."""
        return {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file()
        }


@pytest.fixture
def draft(
    make_wheel: Callable[..., Path],
    publish: Callable[..., str],
    registry: Registry,
    journal: Journal,
    tmp_path: Path,
) -> Draft:
    """A wheel of ours, and one of the index that it requires."""
    ours = make_wheel(
        "demo-rocm",
        "1.0+rocm.1",
        {"demo.py": b"import helper\n"},
        metadata=("Requires-Dist: helper>=2",),
    )
    helper = make_wheel("helper", "3.0", {"helper.py": b"ANSWER = 42\n"})
    return Draft(
        folder=tmp_path / "wheels/cpu",
        profile=Profile(recipes=("demo",), install=("demo-rocm",)),
        built=[built_wheel(ours)],
        third_party=[pinned_wheel(helper.name, publish(helper))],
        registry=registry,
        journal=journal,
    )
