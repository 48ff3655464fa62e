from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pygit2.enums import FileMode

from forkhouse.builders.build import Workshop
from forkhouse.builders.environment import BuildEnvironment
from forkhouse.documents.lockfile import GitSource, WheelSource
from forkhouse.documents.reading import parse
from forkhouse.documents.recipe import Recipe
from forkhouse.patches.apply import PatchedTree
from forkhouse.sources.acquire import SourceTree
from forkhouse.sources.archives import read_wheel
from forkhouse.sources.store import ObjectStore, TreeFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from forkhouse.core.journal import Journal
    from forkhouse.documents.lockfile import Source
    from forkhouse.sources.index import Registry
    from forkhouse.toolchains.hip import HipToolchain

EPOCH = 1_700_000_000


@pytest.fixture
def recipe() -> Recipe:
    text = (
        "upstream: demo\ndistribution: demo-rocm\nlocal: rocm.1\nbuilders:\n  wheel: {kind: "
        "repack}\n  git: {kind: pep517}\n"
    )
    return parse(Recipe, text, name="recipe.yaml")


@pytest.fixture
def environment(tmp_path: Path, registry: Registry) -> BuildEnvironment:
    """A build environment without tools: Python alone."""

    def no_hip() -> HipToolchain:
        pytest.fail("a build that needs no HIP toolchain looked for one")

    return BuildEnvironment(
        tools=(),
        registry=registry,
        folder=tmp_path / "environments",
        hip=no_hip,
        targets=("gfx90a",),
    )


@pytest.fixture
def workshop(
    store: ObjectStore, journal: Journal, environment: BuildEnvironment, tmp_path: Path
) -> Workshop:
    return Workshop(
        store=store,
        journal=journal,
        environment=environment,
        closure=lambda _: (),
        work=tmp_path / "work",
        wheels=tmp_path / "wheels",
        logs=tmp_path / "logs",
        engine="test",
    )


@pytest.fixture
def patched(store: ObjectStore) -> Callable[..., PatchedTree]:
    """Make a patched tree: of a wheel's files, or of given ones, which count as a git checkout."""

    def make(
        wheel: Path | None = None,
        files: Mapping[str, bytes] | None = None,
        *,
        into: ObjectStore = store,
    ) -> PatchedTree:
        source: Source = GitSource(kind="git", url="https://host.invalid/demo", commit="0" * 40)
        members = [
            TreeFile(path=path, content=content, mode=FileMode.BLOB)
            for path, content in (files or {}).items()
        ]
        if wheel is not None:
            source = WheelSource(
                kind="wheel",
                package=wheel.name.split("-")[0].replace("_", "-"),
                file=wheel.name,
                sha256="0" * 64,
            )
            members += read_wheel(wheel)[0]
        tree = into.import_files(members)
        commit = into.commit(tree, message="base\n", epoch=EPOCH)
        version = "1.0" if wheel is None else wheel.name.split("-")[1]
        base = SourceTree(
            upstream="demo",
            version=version,
            source=source,
            tree=tree,
            commit=commit,
            epoch=EPOCH,
            passed_over=(),
        )
        return PatchedTree(source=base, tree=tree, commit=commit, applied=(), not_for_form=())

    return make
