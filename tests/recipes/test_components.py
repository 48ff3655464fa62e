"""Subprojects are pinned in the lock; what the upstream's own wrap files pin has to agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from forkhouse.builders.components import ComponentPart, with_parts
from forkhouse.core.errors import BuildError, HashMismatchError, UnreachableError, UsageError
from forkhouse.flow.pinning import updated
from forkhouse.flow.repin import check, update
from forkhouse.sources.acquire import SourceTree
from forkhouse.sources.store import ObjectStore, TreeFile, file_mode

if TYPE_CHECKING:
    from pathlib import Path

    from tests.recipes.conftest import Checkout

WRAP = "subprojects/abseil-cpp.wrap"


def repin(checkout: Checkout, component: str, **values: str) -> None:
    """Change the one source of a component in the lock."""
    lock = checkout.lock()
    pinned = lock.components[component]
    source = pinned.sources[0].model_copy(update=values)
    changed = pinned.model_copy(update={"sources": (source,)})
    checkout.write_lock(
        lock.model_copy(update={"components": {**lock.components, component: changed}})
    )


def test_an_archive_with_another_hash_than_the_lock_s_is_refused(checkout: Checkout) -> None:
    repin(checkout, "asio", sha256="0" * 64)
    with pytest.raises(
        HashMismatchError,
        match=rf"asio-1\.30\.2\.tar\.gz: its sha256 is .*, the lock says {'0' * 64}",
    ):
        checkout.build("rixl", "ucx")


def test_an_archive_that_the_upstream_does_not_ask_for_is_refused(checkout: Checkout) -> None:
    wrap = (checkout.mirror / "ROCm+RIXL" / WRAP).read_text(encoding="utf-8")
    checkout.pin("rixl", {WRAP: wrap.replace("source_hash = ", "source_hash = 0")})
    with pytest.raises(
        HashMismatchError,
        match=r"The lock pins abseil-cpp as archive .* but the upstream's wrap for .* asks for",
    ):
        checkout.build("rixl", "ucx")


def test_a_folder_that_the_upstream_does_not_ask_for_is_refused(checkout: Checkout) -> None:
    wrap = (checkout.mirror / "ROCm+RIXL" / WRAP).read_text(encoding="utf-8")
    checkout.pin(
        "rixl",
        {
            WRAP: wrap.replace(
                "directory = abseil-cpp-20250814.1", "directory = abseil-cpp-20270101.0"
            )
        },
    )
    with pytest.raises(
        BuildError,
        match=r"no wrap file of the upstream asks for that folder \(they ask for "
        r"abseil-cpp-20270101\.0, asio",
    ):
        checkout.build("rixl", "ucx")


def test_an_archive_that_cannot_be_had_is_told_with_the_way_out(checkout: Checkout) -> None:
    (checkout.mirror / "archives/asio-1.30.2.tar.gz").rename(checkout.mirror / "asio")
    gone = (checkout.mirror / "gone").as_uri()
    repin(checkout, "asio", url=gone, sha256="1" * 64)
    with pytest.raises(UnreachableError, match=r"^asio: .*gone is not there"):
        checkout.build("rixl", "ucx")
    repin(checkout, "asio", url="https://127.0.0.1:1/asio")
    with pytest.raises(
        UnreachableError, match=r"--mirror DIR takes a copy in DIR/archives/asio-1\.30\.2\.tar\.gz"
    ):
        checkout.build("rixl", "ucx")


def test_the_lock_is_checked_with_its_components(checkout: Checkout) -> None:
    lock = checkout.lock()
    (checkout.root / "pylock.build.toml").touch()
    checkout.write_lock(lock.model_copy(update={"upstreams": {}}))
    findings = {finding.subject.partition(":")[0]: finding for finding in check(checkout.plant())}
    assert findings["asio"].state == "wrong"
    assert (
        findings["asio"].detail == "not recorded: tree; `forkhouse lock --update asio` records it"
    )
    measured = updated(checkout.plant(), "asio", lock.components["asio"], None, [])
    assert measured.sources[0].tree is not None
    repin(checkout, "asio", tree=measured.sources[0].tree)
    findings = {finding.subject.partition(":")[0]: finding for finding in check(checkout.plant())}
    assert findings["asio"].state == "ok"
    assert findings["taskflow"].state == "wrong"


def test_a_component_is_not_bumped_by_version(checkout: Checkout) -> None:
    with pytest.raises(
        UsageError,
        match=r"asio is a component: which archive it is, the wrap files of its upstream say",
    ):
        update(checkout.plant(), "asio", "1.31")
    with pytest.raises(
        UsageError,
        match=r"The lock has no upstream 'boost', nor a component of that name\. It has: ucx, .*, "
        r"tomlplusplus",
    ):
        update(checkout.plant(), "boost", None)


def tree_of(store: ObjectStore, **files: str) -> str:
    members = [
        TreeFile(path=path.replace("__", "/"), content=text.encode(), mode=file_mode(0o644))
        for path, text in files.items()
    ]
    return store.import_files(members)


def part(store: ObjectStore, path: str, checkout: Checkout, **files: str) -> ComponentPart:
    source = checkout.lock().components["asio"].sources[0]
    tree = tree_of(store, **files)
    return ComponentPart(
        path=path,
        source=SourceTree(
            upstream="asio",
            version="1",
            source=source,
            tree=tree,
            commit=tree,
            epoch=0,
            passed_over=(),
        ),
    )


def test_later_parts_go_over_earlier_ones_and_over_the_upstream(
    tmp_path: Path, template: Checkout
) -> None:
    store = ObjectStore(tmp_path / "store")
    upstream = tree_of(store, main="upstream", libs__a__own="upstream", libs__a__both="upstream")
    parts = [
        part(store, "libs/a", template, both="source", inner__x="source"),
        part(store, "libs/a", template, inner__x="build files"),
    ]
    tree = with_parts(upstream, parts, store)
    contents = {file.path: file.content.decode() for file in store.files(tree)}
    assert contents == {
        "main": "upstream",
        "libs/a/own": "upstream",
        "libs/a/both": "source",
        "libs/a/inner/x": "build files",
    }
    assert with_parts(upstream, [], store) == upstream


def test_a_wrap_file_that_cannot_be_read_is_refused(tmp_path: Path, template: Checkout) -> None:
    store = ObjectStore(tmp_path / "store")
    wrap = TreeFile(path="libs/a.wrap", content=b"directory", mode=file_mode(0o644))
    with pytest.raises(BuildError, match=r"libs/a\.wrap of the upstream cannot be read"):
        with_parts(store.import_files([wrap]), [part(store, "libs/a", template, x="")], store)
