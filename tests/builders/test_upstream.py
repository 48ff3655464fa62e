from __future__ import annotations

import json
import zipfile
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from forkhouse.builders.build import Workshop, build_wheel
from forkhouse.builders.built import BuiltWheel
from forkhouse.builders.environment import BuildEnvironment, Needs
from forkhouse.builders.upstream import UpstreamBuilder
from forkhouse.core.digests import sha256_file
from forkhouse.core.errors import BuildError
from forkhouse.documents.reading import parse
from forkhouse.documents.recipe import Recipe, UpstreamProject

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from forkhouse.patches.apply import PatchedTree
    from forkhouse.sources.store import ObjectStore

RECIPE = """
upstream: demo
distribution: demo-rocm
local: rocm.1
needs: [transport]
builders:
  git:
    kind: upstream
    packages: [demo]
    requires: [backend]
    config-settings:
      {args: [first, "-Dtransport={needs}/demo-transport", "{other}"], one: "{recipe}"}
    environment: {LIBRARY_PATH: "{recipe}/stand-ins"}
"""
PROJECT = b"""\
[build-system]
requires = ["torch==2.11.*"]
build-backend = "backend"
backend-path = ["."]

[project]
name = "demo"
version = "0.1"  # of the upstream
dependencies = ["numpy"]
"""
BACKEND = dedent(
    '''\
    """A backend that packs what it sees, as its metadata say."""
    import json, os, pathlib, tomllib, zipfile

    VARIABLES = ("LIBRARY_PATH", "CFLAGS", "CUDA_HOME")

    def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
        project = tomllib.loads(pathlib.Path("pyproject.toml").read_text())["project"]
        needs = pathlib.Path("../needs")
        files = [path for path in needs.rglob("*") if path.is_file()]
        seen = {
            "project": project,
            "settings": config_settings,
            "variables": {name: os.environ.get(name) for name in VARIABLES},
            "needs": sorted(path.relative_to(needs).as_posix() for path in files),
        }
        # What it saw has the build folder's path in it, which no wheel may have.
        told = json.dumps(seen).replace(str(pathlib.Path("..").resolve()), "WORK")
        stem = f"{project['name'].replace('-', '_')}-{project['version']}"
        wheel = os.path.join(wheel_directory, f"{stem}-py3-none-any.whl")
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(zipfile.ZipInfo("demo/seen.json"), told)
            archive.writestr(zipfile.ZipInfo(f"{stem}.dist-info/METADATA"), "")
        return f"{stem}-py3-none-any.whl"
    '''
).encode()


@pytest.fixture
def recipe() -> Recipe:
    return parse(Recipe, RECIPE, name="recipe.yaml")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "recipes/demo"
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    return folder


@pytest.fixture
def sibling(
    make_wheel: Callable[..., Path], patched: Callable[..., PatchedTree]
) -> Callable[[bytes], BuiltWheel]:
    """Make the wheel of the recipe that is needed."""

    def make(content: bytes) -> BuiltWheel:
        path = make_wheel("demo-transport", "2.0+rocm.1", {"transport/__init__.py": content})
        return BuiltWheel(
            recipe="transport",
            distribution="demo-transport",
            version="2.0+rocm.1",
            path=path,
            sha256=sha256_file(path),
            patched=patched(files={"a": b""}),
            tools={},
            omits={},
            seconds=0,
        )

    return make


def files(project: bytes = PROJECT) -> dict[str, bytes]:
    return {"pyproject.toml": project, "backend.py": BACKEND}


def test_the_upstream_s_project_is_built_under_our_name_against_its_needs(
    workshop: Workshop,
    recipe: Recipe,
    folder: Path,
    patched: Callable[..., PatchedTree],
    sibling: Callable[[bytes], BuiltWheel],
) -> None:
    # The needed wheel has no library, so nothing can link it.
    with pytest.raises(BuildError, match="nothing in it links a library of demo-transport"):
        build_wheel(patched(files=files()), recipe, folder, workshop, siblings=[sibling(b"")])
    made = workshop.work / "demo/wheel/demo_rocm-1.0+rocm.1-py3-none-any.whl"
    seen = json.loads(zipfile.ZipFile(made).read("demo/seen.json"))
    assert seen["project"] == {
        "name": "demo-rocm",
        "version": "1.0+rocm.1",
        "dependencies": ["numpy", "demo-transport==2.0+rocm.1"],
    }
    assert seen["settings"] == {
        "args": ["first", "-Dtransport=WORK/needs/demo-transport", "{other}"],
        "one": str(folder),
    }
    assert seen["variables"] == {
        "LIBRARY_PATH": f"{folder}/stand-ins",
        "CFLAGS": "-ffile-prefix-map=WORK=.",
        "CUDA_HOME": "/nonexistent",
    }
    assert "demo-transport/transport/__init__.py" in seen["needs"]


def test_a_change_of_what_it_needs_builds_it_anew(
    workshop: Workshop,
    recipe: Recipe,
    folder: Path,
    patched: Callable[..., PatchedTree],
    sibling: Callable[[bytes], BuiltWheel],
) -> None:
    alone = recipe.model_copy(update={"needs": ()})
    tree = patched(files=files())
    first = build_wheel(tree, alone, folder, workshop)
    assert build_wheel(tree, alone, folder, workshop).seconds == 0
    for content in (b"one", b"two"):
        with pytest.raises(BuildError, match="nothing in it links a library"):
            build_wheel(tree, recipe, folder, workshop, siblings=[sibling(content)])
        laid = workshop.work / "demo/needs/demo-transport/transport/__init__.py"
        assert laid.read_bytes() == content
    assert first.path.is_file()


@pytest.mark.parametrize(
    ("project", "message"),
    [
        (b"[project", "the upstream's pyproject.toml cannot be read"),
        (b"[build-system]\n", r"has no \[project\] table that says what it requires"),
        (
            b'[project]\nname = "demo"\ndynamic = ["dependencies"]\n',
            r"has no \[project\] table that says what it requires",
        ),
    ],
)
def test_a_project_that_cannot_be_named_is_explained(
    workshop: Workshop,
    recipe: Recipe,
    folder: Path,
    patched: Callable[..., PatchedTree],
    project: bytes,
    message: str,
) -> None:
    with pytest.raises(BuildError, match=f"demo-rocm: .*{message}"):
        build_wheel(patched(files=files(project)), recipe, folder, workshop)


def test_a_version_that_the_backend_would_find_out_is_set(
    store: ObjectStore,
    environment: BuildEnvironment,
    recipe: Recipe,
    folder: Path,
    patched: Callable[..., PatchedTree],
    tmp_path: Path,
) -> None:
    method = recipe.builders["git"]
    assert isinstance(method, UpstreamProject)
    builder = UpstreamBuilder(
        store, environment, method, folder, needs=Needs(), siblings=(), log=tmp_path / "demo.log"
    )
    project = PROJECT.replace(
        b'version = "0.1"  # of the upstream\n', b'dynamic = ["version", "readme"]\n'
    ).replace(b"dependencies", b"keywords")
    tree = patched(files=files(project))
    builder.lay_out(tree, recipe, tmp_path / "work")
    made = builder.build(tree, recipe, tmp_path / "work")
    seen = json.loads(zipfile.ZipFile(made).read("demo/seen.json"))
    assert seen["project"] == {
        "name": "demo-rocm",
        "dynamic": ["readme"],
        "keywords": ["numpy"],
        "version": "1.0+rocm.1",
        "dependencies": [],
    }
