from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest
from pygit2.enums import FileMode

from forkhouse.builders import Workshop, build_wheel
from forkhouse.builders.pep517 import Pep517Builder
from forkhouse.errors import BuildError, ToolchainError, UnsafeArchiveError
from forkhouse.recipes import Pep517
from forkhouse.sources.store import TreeFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from forkhouse.builders.environment import BuildEnvironment
    from forkhouse.patches import PatchedTree
    from forkhouse.recipes import Recipe
    from forkhouse.sources.store import ObjectStore
    from forkhouse.workspace import Journal

PROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
BACKEND = dedent(
    '''\
    """A backend that packs what it sees of its surroundings."""
    import json, os, pathlib, socket, zipfile

    def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
        version = pathlib.Path("VERSION").read_text().strip()
        try:
            socket.create_connection(("127.0.0.1", 9), timeout=5)
        except OSError as error:
            network = error.strerror
        seen = {
            "environment": sorted(os.environ),
            "upstream": pathlib.Path("upstream/demo.py").read_text(),
            "settings": config_settings,
            "epoch": os.environ["SOURCE_DATE_EPOCH"],
            "network": network,
            "files": sorted(path.name for path in pathlib.Path().iterdir()),
        }
        print("the backend is at work")
        name = f"demo_rocm-{version}-py3-none-any.whl"
        with zipfile.ZipFile(os.path.join(wheel_directory, name), "w") as archive:
            archive.writestr(zipfile.ZipInfo("seen.json"), json.dumps(seen))
        return name
    '''
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "recipes/demo"
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text("# not part of the project\n", encoding="utf-8")
    (folder / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    (folder / "backend.py").write_text(BACKEND, encoding="utf-8")
    return folder


@pytest.fixture
def build(
    folder: Path, store: ObjectStore, environment: BuildEnvironment, patched: Callable[..., PatchedTree], recipe: Recipe, tmp_path: Path
) -> Callable[[], Path]:
    method = Pep517(kind="pep517", config_settings={"cmake.define.A": "1"})

    def run() -> Path:
        builder = Pep517Builder(store, environment, method, folder, tmp_path / "logs/demo.log")
        return builder.build(patched(files={"demo.py": b"patched\n"}), recipe, tmp_path / "work")

    return run


def test_the_backend_sees_the_patched_tree_the_version_and_nothing_of_the_caller(
    build: Callable[[], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    made = build()
    assert made.name == "demo_rocm-1.0+rocm.1-py3-none-any.whl"
    seen = json.loads(zipfile.ZipFile(made).read("seen.json"))
    assert seen["upstream"] == "patched\n"
    assert seen["settings"] == {"cmake.define.A": "1"}
    assert seen["epoch"] == "1700000000"
    assert seen["network"] == "Network is unreachable"
    assert "SECRET_TOKEN" not in seen["environment"]
    assert {"VERSION", "backend.py", "pyproject.toml", "upstream"} <= set(seen["files"])
    assert "recipe.yaml" not in seen["files"]
    assert "the backend is at work" in (tmp_path / "logs/demo.log").read_text(encoding="utf-8")


def test_a_backend_that_fails_is_explained_with_its_log(build: Callable[[], Path], folder: Path) -> None:
    (folder / "backend.py").write_text('def build_wheel(*a, **k):\n    raise RuntimeError("no compiler")\n', encoding="utf-8")
    with pytest.raises(
        BuildError, match=r"(?s)ended with exit code 1\. Its last lines:.*RuntimeError: no compiler\nThe whole log: .*demo\.log"
    ):
        build()


@pytest.mark.parametrize("project", ["", "[build-system]\n", PROJECT.replace('"backend"', '"none"'), "[["])
def test_a_project_that_cannot_be_built_is_explained(build: Callable[[], Path], folder: Path, project: str) -> None:
    (folder / "pyproject.toml").write_text(project, encoding="utf-8")
    with pytest.raises(BuildError, match=r"demo-rocm: the PEP 517 backend could not be used: .*The whole log: .*demo\.log"):
        build()


def test_what_the_machine_lacks_is_told_as_such(build: Callable[[], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forkhouse.builders.environment.SEARCH_PATH", str(tmp_path))
    with pytest.raises(ToolchainError, match="Builds run without a network"):
        build()


def test_a_link_out_of_the_tree_never_reaches_the_build(
    folder: Path, store: ObjectStore, environment: BuildEnvironment, patched: Callable[..., PatchedTree], recipe: Recipe, tmp_path: Path
) -> None:
    tree = patched(files={"demo.py": b""})
    evil = store.import_files([TreeFile(path="evil", content=b"/etc", mode=FileMode.LINK)])
    builder = Pep517Builder(store, environment, Pep517(kind="pep517"), folder, tmp_path / "demo.log")
    with pytest.raises(UnsafeArchiveError, match="The link 'evil' points at '/etc', outside its tree"):
        builder.build(replace(tree, tree=evil), recipe, tmp_path / "work")


@pytest.fixture
def workshop(store: ObjectStore, journal: Journal, environment: BuildEnvironment, tmp_path: Path) -> Workshop:
    return Workshop(
        store=store,
        journal=journal,
        environment=environment,
        work=tmp_path / "work",
        wheels=tmp_path / "wheels",
        logs=tmp_path / "logs",
        engine="test",
    )


def test_the_same_inputs_are_built_once(
    folder: Path, workshop: Workshop, patched: Callable[..., PatchedTree], recipe: Recipe, tmp_path: Path
) -> None:
    tree = patched(files={"demo.py": b"patched\n"})
    first = build_wheel(tree, recipe, folder, workshop)
    assert first.seconds > 0
    assert not (tmp_path / "work/demo").exists()
    again = build_wheel(tree, recipe, folder, workshop)
    assert (again.path, again.sha256, again.seconds) == (first.path, first.sha256, 0.0)
    (folder / "pyproject.toml").write_text(f"{PROJECT}# changed\n", encoding="utf-8")
    assert build_wheel(tree, recipe, folder, workshop).path != first.path


def test_the_form_of_the_source_decides_how_it_is_built(
    folder: Path, workshop: Workshop, patched: Callable[..., PatchedTree], recipe: Recipe, make_wheel: Callable[..., Path]
) -> None:
    repacked = build_wheel(patched(make_wheel("demo")), recipe, folder, workshop)
    built = build_wheel(patched(files={"demo.py": b"patched\n"}), recipe, folder, workshop)
    assert repacked.path.name == built.path.name
    assert "demo/__init__.py" in zipfile.ZipFile(repacked.path).namelist()
    assert "seen.json" in zipfile.ZipFile(built.path).namelist()


def test_a_kept_wheel_that_was_damaged_is_built_again(
    folder: Path, workshop: Workshop, patched: Callable[..., PatchedTree], recipe: Recipe
) -> None:
    tree = patched(files={"demo.py": b"patched\n"})
    first = build_wheel(tree, recipe, folder, workshop)
    first.path.write_bytes(b"damaged")
    again = build_wheel(tree, recipe, folder, workshop)
    assert again.seconds > 0
    assert again.sha256 == first.sha256


def test_a_wheel_of_another_name_than_promised_is_refused(
    folder: Path, workshop: Workshop, patched: Callable[..., PatchedTree], recipe: Recipe, tmp_path: Path
) -> None:
    other = recipe.model_copy(update={"distribution": "other"})
    with pytest.raises(BuildError, match=r"The build gave demo_rocm-1\.0\+rocm\.1-.*, the recipe promises other 1\.0\+rocm\.1"):
        build_wheel(patched(files={"demo.py": b""}), other, folder, workshop)
    assert not list((tmp_path / "wheels").rglob("*.whl"))
    assert (tmp_path / "work/demo").exists()
