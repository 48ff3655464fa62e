from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest
from pygit2.enums import FileMode

from forkhouse.builders.build import Workshop, build_wheel
from forkhouse.builders.environment import Needs
from forkhouse.builders.pep517 import Pep517Builder, Project
from forkhouse.core.errors import BuildError, ToolchainError, UnsafeArchiveError
from forkhouse.documents.recipe import Native, Pep517
from forkhouse.sandbox.lives import boot
from forkhouse.sources.store import TreeFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from forkhouse.builders.environment import BuildEnvironment
    from forkhouse.documents.recipe import Recipe
    from forkhouse.patches.apply import PatchedTree
    from forkhouse.sources.store import ObjectStore

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


def project(folder: Path) -> Project:
    return Project(folder=folder, version="1.0+rocm.1", needs=Needs(), native=None)


@pytest.fixture
def build(
    folder: Path,
    store: ObjectStore,
    environment: BuildEnvironment,
    patched: Callable[..., PatchedTree],
    recipe: Recipe,
    tmp_path: Path,
) -> Callable[[], Path]:
    method = Pep517(kind="pep517", config_settings={"cmake.define.A": "1"})

    def run() -> Path:
        builder = Pep517Builder(
            store, environment, method, project(folder), tmp_path / "logs/demo.log"
        )
        tree = patched(files={"demo.py": b"patched\n"})
        builder.lay_out(tree, recipe, tmp_path / "work")
        return builder.build(tree, recipe, tmp_path / "work")

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
    assert seen["network"] == "Connection refused"
    assert "SECRET_TOKEN" not in seen["environment"]
    assert {"VERSION", "backend.py", "pyproject.toml", "upstream"} <= set(seen["files"])
    assert "recipe.yaml" not in seen["files"]
    assert "the backend is at work" in (tmp_path / "logs/demo.log").read_text(encoding="utf-8")


def test_a_backend_that_fails_is_explained_with_its_log(
    build: Callable[[], Path], folder: Path
) -> None:
    (folder / "backend.py").write_text(
        'def build_wheel(*a, **k):\n    raise RuntimeError("no compiler")\n', encoding="utf-8"
    )
    with pytest.raises(
        BuildError,
        match=r"(?s)ended with exit code 1\. Its last lines:.*RuntimeError: no compiler\n"
        r"The whole log: .*demo\.log",
    ):
        build()


@pytest.mark.parametrize(
    "project", ["", "[build-system]\n", PROJECT.replace('"backend"', '"none"'), "[["]
)
def test_a_project_that_cannot_be_built_is_explained(
    build: Callable[[], Path], folder: Path, project: str
) -> None:
    (folder / "pyproject.toml").write_text(project, encoding="utf-8")
    with pytest.raises(
        BuildError,
        match=r"demo-rocm: the PEP 517 backend could not be used: .*The whole log: .*demo\.log",
    ):
        build()


def test_what_the_machine_lacks_is_told_as_such(
    build: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking() -> bytes:
        message = "the machine lacks something"
        raise ToolchainError(message)

    monkeypatch.setattr("forkhouse.sandbox.run.program", lacking)
    with pytest.raises(ToolchainError, match="the machine lacks something"):
        build()


def test_a_link_out_of_the_tree_never_reaches_the_build(
    folder: Path,
    store: ObjectStore,
    environment: BuildEnvironment,
    patched: Callable[..., PatchedTree],
    recipe: Recipe,
    tmp_path: Path,
) -> None:
    tree = patched(files={"demo.py": b""})
    evil = store.import_files([TreeFile(path="evil", content=b"/etc", mode=FileMode.LINK)])
    builder = Pep517Builder(
        store, environment, Pep517(kind="pep517"), project(folder), tmp_path / "demo.log"
    )
    with pytest.raises(
        UnsafeArchiveError, match="The link 'evil' points at '/etc', outside its tree"
    ):
        builder.lay_out(replace(tree, tree=evil), recipe, tmp_path / "work")


def test_the_same_inputs_are_built_once(
    folder: Path,
    workshop: Workshop,
    patched: Callable[..., PatchedTree],
    recipe: Recipe,
    tmp_path: Path,
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
    folder: Path,
    workshop: Workshop,
    patched: Callable[..., PatchedTree],
    recipe: Recipe,
    make_wheel: Callable[..., Path],
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
    folder: Path,
    workshop: Workshop,
    patched: Callable[..., PatchedTree],
    recipe: Recipe,
    tmp_path: Path,
) -> None:
    other = recipe.model_copy(update={"distribution": "other"})
    with pytest.raises(
        BuildError,
        match=r"The build gave demo_rocm-1\.0\+rocm\.1-.*, the recipe promises other 1\.0\+rocm\.1",
    ):
        build_wheel(patched(files={"demo.py": b""}), other, folder, workshop)
    assert not list((tmp_path / "wheels").rglob("*.whl"))
    assert (tmp_path / "work/demo").exists()


NATIVE_BACKEND = dedent(
    '''\
    """A backend that compiles slowly, file by file, and may be stopped on the way."""
    import os, pathlib, zipfile

    def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
        objects = pathlib.Path("objects")
        objects.mkdir(exist_ok=True)
        for source in sorted(pathlib.Path("upstream").rglob("*.c")):
            target = objects / f"{source.stem}.o"
            if target.exists():
                continue
            print("compiled", source.name)
            if source.read_text() == "stop" and not pathlib.Path("stopped").exists():
                pathlib.Path("stopped").touch()
                raise RuntimeError("stopped")
            target.write_text("object of " + source.read_text())
        name = "demo_native-0-py3-none-any.whl"
        with zipfile.ZipFile(os.path.join(wheel_directory, name), "w") as archive:
            for target in sorted(objects.iterdir()):
                archive.write(target, "demo/" + target.name)
        return name
    '''
)
WHOLE_BACKEND = dedent(
    '''\
    """A backend that packs both halves."""
    import os, pathlib, zipfile

    def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
        name = "demo_rocm-1.0+rocm.1-py3-none-any.whl"
        with zipfile.ZipFile(os.path.join(wheel_directory, name), "w") as archive:
            for part in ("upstream", "native"):
                for path in sorted(pathlib.Path(part).rglob("*")):
                    if path.suffix in (".py", ".o"):
                        archive.write(path, path.relative_to(part))
        return name
    '''
)


@pytest.fixture
def halves(folder: Path, recipe: Recipe) -> Recipe:
    """A recipe whose wheel has a compiled half."""
    (folder / "native").mkdir()
    (folder / "native/pyproject.toml").write_text(PROJECT, encoding="utf-8")
    (folder / "native/backend.py").write_text(NATIVE_BACKEND, encoding="utf-8")
    (folder / "backend.py").write_text(WHOLE_BACKEND, encoding="utf-8")
    method = Pep517(kind="pep517", native=Native(paths=("csrc/**",)))
    return recipe.model_copy(update={"builders": {"git": method}})


def compiled(folder: Path) -> list[str]:
    """Return what the last build of the compiled half has compiled, interruptions included, as its
    log tells.
    """
    lines = (folder / "logs/demo-native.log").read_text(encoding="utf-8").splitlines()
    return [line.split()[1] for line in lines if line.startswith("compiled ")]


def test_a_change_of_the_python_half_compiles_nothing(
    folder: Path,
    workshop: Workshop,
    patched: Callable[..., PatchedTree],
    halves: Recipe,
    tmp_path: Path,
) -> None:
    sources = {"csrc/a.c": b"a", "csrc/deep/b.c": b"b", "demo/code.py": b"1\n"}
    first = build_wheel(patched(files=sources), halves, folder, workshop)
    again = build_wheel(
        patched(files={**sources, "demo/code.py": b"2\n"}), halves, folder, workshop
    )
    assert again.sha256 != first.sha256
    with zipfile.ZipFile(again.path) as archive:
        assert sorted(archive.namelist()) == ["demo/a.o", "demo/b.o", "demo/code.py"]
        assert archive.read("demo/code.py") == b"2\n"
        assert archive.read("demo/a.o") == b"object of a"
    assert compiled(tmp_path) == ["a.c", "b.c"]
    assert again.seconds > 0
    build_wheel(patched(files={**sources, "csrc/a.c": b"other"}), halves, folder, workshop)
    assert compiled(tmp_path) == ["a.c", "b.c"]


def test_a_build_that_stopped_goes_on_where_it_was(
    folder: Path,
    workshop: Workshop,
    patched: Callable[..., PatchedTree],
    halves: Recipe,
    tmp_path: Path,
) -> None:
    tree = patched(files={"csrc/a.c": b"a", "csrc/b.c": b"stop"})
    with pytest.raises(BuildError, match="RuntimeError: stopped"):
        build_wheel(tree, halves, folder, workshop)
    build_wheel(tree, halves, folder, workshop)
    assert compiled(tmp_path) == ["a.c", "b.c", "b.c"]
    assert not (tmp_path / "work/demo-native").exists()


@pytest.mark.parametrize(
    "damage", ["emptied", "removed", "a link", "not of this start of the machine"]
)
def test_a_build_is_begun_anew_where_what_was_laid_out_is_not_as_it_was(
    folder: Path,
    workshop: Workshop,
    patched: Callable[..., PatchedTree],
    halves: Recipe,
    tmp_path: Path,
    damage: str,
) -> None:
    """A power cut leaves files empty that were written and not made durable."""
    tree = patched(files={"csrc/a.c": b"a", "csrc/b.c": b"stop"})
    with pytest.raises(BuildError, match="RuntimeError: stopped"):
        build_wheel(tree, halves, folder, workshop)
    work = tmp_path / "work/demo-native"
    source = work / "project/upstream/csrc/a.c"
    if damage == "emptied":
        source.write_bytes(b"")
    elif damage == "removed":
        source.unlink()
    elif damage == "a link":
        source.unlink()
        source.symlink_to("b.c")
    else:
        note = work.with_name("demo-native.laid")
        note.write_text(
            note.read_text(encoding="utf-8").replace(boot(), "another"), encoding="utf-8"
        )
    (work / "project/objects/a.o").write_text("half", encoding="utf-8")
    with pytest.raises(BuildError, match="RuntimeError: stopped"):  # as for the first time
        build_wheel(tree, halves, folder, workshop)
    made = build_wheel(tree, halves, folder, workshop)
    assert zipfile.ZipFile(made.path).read("demo/a.o") == b"object of a"
    assert compiled(tmp_path) == ["a.c", "b.c", "b.c"]


def test_what_another_build_left_is_not_gone_on_with(
    folder: Path, workshop: Workshop, patched: Callable[..., PatchedTree], halves: Recipe
) -> None:
    with pytest.raises(BuildError, match="stopped"):
        build_wheel(
            patched(files={"csrc/a.c": b"a", "csrc/b.c": b"stop"}), halves, folder, workshop
        )
    made = build_wheel(
        patched(files={"csrc/a.c": b"new", "csrc/b.c": b"b"}), halves, folder, workshop
    )
    assert zipfile.ZipFile(made.path).read("demo/a.o") == b"object of new"
