"""Crates are fetched before the build.

By their hashes, from where the user's cargo looks, once for each Cargo.lock.
"""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest

from forkhouse.builders.crates import Crate, Crates, fetch_crates, read_crates
from forkhouse.core.errors import BuildError, HashMismatchError, UnreachableError
from tests.builders.crate_registry import RUST, cargo, crate_registry, needs_cargo, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from forkhouse.patches.apply import PatchedTree
    from forkhouse.sources.store import ObjectStore
    from tests.builders.crate_registry import CrateRegistry

MANIFEST = (
    '[workspace]\n[package]\nname = "small"\nversion = "1.0.0"\nedition = '
    '"2021"\n[dependencies]\nadds-one = "1"\nadds-two = "1"\n'
)
TWO = "1.0.0+of.another.3"
"""A version with what crates say of a library that they bring."""
LOCKED = '[[package]]\nname = "{}"\nversion = "1.0.0"\nsource = "{}"\n{}\n'
HASH = f'checksum = "{"0" * 64}"'


@pytest.fixture
def crates(tmp_path: Path) -> Iterator[CrateRegistry]:
    with crate_registry(tmp_path / "registry") as registry:
        for name, version in (("adds-one", "1.0.0"), ("adds-two", TWO)):
            registry.publish(
                name, version, {"src/lib.rs": "pub fn add(to: i32) -> i32 { to + 1 }\n"}
            )
        yield registry


@pytest.fixture
def upstream(crates: CrateRegistry, tmp_path: Path) -> Mapping[str, bytes]:
    """The files of an upstream that takes both crates, and the Cargo.lock that cargo writes for
    it.
    """
    folder = tmp_path / "upstream"
    for path, text in {"Cargo.toml": MANIFEST, "src/lib.rs": ""}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    cargo(folder, "generate-lockfile", home=crates.home)
    return {
        f"python/{path}": (folder / path).read_bytes()
        for path in ("Cargo.toml", "Cargo.lock", "src/lib.rs")
    }


@pytest.fixture
def fetch(
    store: ObjectStore, patched: Callable[..., PatchedTree], crates: CrateRegistry, tmp_path: Path
) -> Callable[..., Crates]:
    """Fetch the crates of an upstream for a user whose cargo has seen none of them, but for a
    CARGO_HOME of their own.
    """

    def run(
        files: Mapping[str, bytes], *, home: Path | None = None, offline: bool = False
    ) -> Crates:
        tree = patched(files=files).tree
        assert RUST is not None
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CARGO_HOME", str(home or crates.asked(tmp_path / "user")))
            return fetch_crates(
                tree,
                "python",
                "demo",
                store=store,
                rust=RUST,
                cache=tmp_path / "cache",
                offline=offline,
            )

    return run


@needs_cargo
def test_they_are_unpacked_side_by_side_under_the_hash_of_the_lock(
    fetch: Callable[..., Crates], upstream: Mapping[str, bytes], tmp_path: Path
) -> None:
    found = fetch(upstream)
    assert found.folder == tmp_path / "cache/crates" / found.lock
    assert sorted(path.name for path in found.folder.iterdir()) == [
        "adds-one-1.0.0",
        f"adds-two-{TWO}",
    ]
    assert [(crate.name, crate.version) for crate in found.crates] == [
        ("adds-one", "1.0.0"),
        ("adds-two", TWO),
    ]
    assert list((tmp_path / "cache/crates").iterdir()) == [found.folder]


@needs_cargo
def test_the_same_lock_asks_no_registry_again_and_what_is_gone_is_fetched_anew(
    fetch: Callable[..., Crates], upstream: Mapping[str, bytes], tmp_path: Path, free_port: int
) -> None:
    found = fetch(upstream)
    nobody = settings(tmp_path / "nobody", f"http://127.0.0.1:{free_port}")
    assert fetch({**upstream, "python/src/lib.rs": b"// changed\n"}, home=nobody) == found
    shutil.rmtree(found.folder / f"adds-two-{TWO}")
    with pytest.raises(UnreachableError):
        fetch(upstream, home=nobody)
    assert fetch(upstream) == found
    assert (found.folder / f"adds-two-{TWO}/src/lib.rs").is_file()


@needs_cargo
def test_a_registry_that_does_not_answer_makes_the_source_unreachable(
    fetch: Callable[..., Crates], upstream: Mapping[str, bytes], tmp_path: Path, free_port: int
) -> None:
    nobody = settings(tmp_path / "nobody", f"http://user:secret@127.0.0.1:{free_port}")
    with pytest.raises(
        UnreachableError, match=r"crates of its Cargo\.lock could not be had: .*Could not connect"
    ) as caught:
        fetch(upstream, home=nobody)
    assert "secret" not in str(caught.value)
    assert list((tmp_path / "cache/crates").iterdir()) == []


@needs_cargo
def test_a_crate_that_the_registry_does_not_have_makes_the_source_unreachable(
    fetch: Callable[..., Crates], upstream: Mapping[str, bytes], crates: CrateRegistry
) -> None:
    crates.crate("adds-two", TWO).unlink()
    with pytest.raises(UnreachableError, match=r"adds-two-1\.0\.0.*\.crate.* got 404"):
        fetch(upstream)


@needs_cargo
def test_offline_takes_what_cargo_has_and_says_so_where_it_has_nothing(
    fetch: Callable[..., Crates],
    upstream: Mapping[str, bytes],
    crates: CrateRegistry,
    tmp_path: Path,
) -> None:
    with pytest.raises(UnreachableError, match="--offline forbids fetching them"):
        fetch(upstream, offline=True)
    home = crates.asked(tmp_path / "fed")
    folder = fetch(upstream, home=home).folder
    shutil.rmtree(folder)
    assert fetch(upstream, home=home, offline=True).folder == folder


@needs_cargo
def test_another_content_is_an_error(
    fetch: Callable[..., Crates], upstream: Mapping[str, bytes], crates: CrateRegistry
) -> None:
    shutil.copyfile(crates.crate("adds-one", "1.0.0"), crates.crate("adds-two", TWO))
    with pytest.raises(
        HashMismatchError,
        match=r"(?s)demo: a crate is not what Cargo\.lock says.*adds-two v1\.0\.0",
    ):
        fetch(upstream)


@needs_cargo
def test_another_hash_in_the_lock_is_an_error(
    fetch: Callable[..., Crates], upstream: Mapping[str, bytes]
) -> None:
    lock = re.sub(rb'checksum = ".*"', HASH.encode(), upstream["python/Cargo.lock"], count=1)
    with pytest.raises(HashMismatchError, match="demo: a crate is not what"):
        fetch({**upstream, "python/Cargo.lock": lock})


@needs_cargo
def test_a_lock_that_does_not_go_with_the_manifest_is_an_error(
    fetch: Callable[..., Crates], upstream: Mapping[str, bytes]
) -> None:
    manifest = upstream["python/Cargo.toml"].replace(b'adds-two = "1"\n', b"")
    with pytest.raises(BuildError, match=r"cargo vendor --locked .* ended with exit code 101"):
        fetch({**upstream, "python/Cargo.toml": manifest})


@needs_cargo
def test_where_crates_come_from_is_not_the_upstream_s_decision(
    fetch: Callable[..., Crates], upstream: Mapping[str, bytes], free_port: int
) -> None:
    own = (
        '[source.crates-io]\nreplace-with = "own"\n[source.own]\nregistry = '
        f'"sparse+http://127.0.0.1:{free_port}/"\n'
    )
    assert fetch({**upstream, "python/.cargo/config.toml": own.encode()}).folder.is_dir()


@needs_cargo
def test_a_tree_without_a_lock_is_an_error(fetch: Callable[..., Crates]) -> None:
    with pytest.raises(BuildError, match=r"there is no Cargo\.lock in python"):
        fetch({"python/Cargo.toml": MANIFEST.encode()})


def test_only_what_a_hash_pins_is_taken() -> None:
    own = '[[package]]\nname = "own"\nversion = "1.0.0"\n'
    lock = own + LOCKED.format("good", "registry+https://host.invalid/index", HASH)
    assert read_crates(lock.encode(), "demo") == (
        Crate(name="good", version="1.0.0", sha256="0" * 64),
    )
    lock += LOCKED.format("from-git", "git+https://host.invalid/owner/name?rev=1#1", "")
    lock += LOCKED.format("bare", "registry+https://host.invalid/index", "")
    lock += LOCKED.format("other", "sparse+https://other.invalid/index", HASH)
    with pytest.raises(BuildError) as caught:
        read_crates(lock.encode(), "demo")
    said = str(caught.value)
    assert "  - from-git 1.0.0: comes from git+https://host.invalid/owner/name?rev=1#1\n" in said
    assert "  - bare 1.0.0: has no checksum\n" in said
    assert (
        "  - crates come from 2 registries: registry+https://host.invalid/index, "
        "sparse+https://other.invalid/index\n" in said
    )
    assert "Patch the dependency out" in said


@pytest.mark.parametrize(
    "lock", [b"[package", b'[[package]]\nsource = "registry+x"\n', b"\xff", b"package = 1\n"]
)
def test_a_lock_that_cannot_be_read_is_an_error(lock: bytes) -> None:
    with pytest.raises(BuildError, match=r"demo: its Cargo\.lock cannot be read"):
        read_crates(lock, "demo")
