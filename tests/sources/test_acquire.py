from __future__ import annotations

import hashlib
import io
import json
import lzma
import tarfile
from typing import TYPE_CHECKING

import pytest

from forkhouse.core.errors import (
    HashMismatchError,
    UnreachableError,
    UnsafeArchiveError,
    UsageError,
)
from forkhouse.core.journal import Journal, Stage
from forkhouse.core.progress import showing
from forkhouse.documents.lockfile import (
    FORMS,
    ArchiveSource,
    DebianSource,
    GitSource,
    PinnedFile,
    SdistSource,
    Source,
    Upstream,
    WheelSource,
)
from forkhouse.sources.acquire import (
    Access,
    FetchedSource,
    SourcePolicy,
    SourceTree,
    acquire,
    candidates,
)
from forkhouse.sources.index import Registry
from forkhouse.sources.store import ObjectStore
from tests.conftest import pips_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FETCHED = Stage("source", FetchedSource)


class Site:
    """What one checkout acquires with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = ObjectStore(folder / "store")
        self.journal = Journal(folder / "journal")

    def acquire(
        self,
        *sources: Source,
        policy: SourcePolicy = "auto",
        offline: bool = False,
        mirror: Path | None = None,
        forms: tuple[str, ...] = FORMS,
    ) -> SourceTree:
        pinned = Upstream(version="1.0", licence="MIT", why="An example.", sources=sources)
        access = Access(policy=policy, mirror=mirror, offline=offline, cache=self.folder / "cache")
        registry = Registry(self.folder / "cache", offline=offline, settings=pips_settings)
        return acquire(
            "demo",
            pinned,
            forms,  # type: ignore[arg-type]  # forms are words
            access=access,
            registry=registry,
            store=self.store,
            journal=self.journal,
        )


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


@pytest.fixture
def git_source(tmp_path: Path, commit: Callable[..., str], git: Callable[..., str]) -> GitSource:
    folder = tmp_path / "upstream/demo"
    head = commit(folder, {"demo.py": "# from git\n"})
    git(folder, "tag", "v1.0")
    return GitSource(kind="git", url=folder.as_uri(), tag="v1.0", commit=head)


@pytest.fixture
def dead_git(git_source: GitSource, free_port: int) -> GitSource:
    return git_source.model_copy(update={"url": f"https://127.0.0.1:{free_port}/owner/demo"})


@pytest.fixture
def sdist(make_sdist: Callable[..., Path], publish: Callable[..., str]) -> SdistSource:
    path = make_sdist("demo", files={"demo.py": b"# from sdist\n"})
    return SdistSource(kind="sdist", package="demo", file=path.name, sha256=publish(path))


@pytest.fixture
def wheel(make_wheel: Callable[..., Path], publish: Callable[..., str]) -> WheelSource:
    path = make_wheel("demo", files={"demo.py": b"# from wheel\n"})
    return WheelSource(kind="wheel", package="demo", file=path.name, sha256=publish(path))


def test_the_preferred_form_is_taken(site: Site, git_source: GitSource, sdist: SdistSource) -> None:
    tree = site.acquire(git_source, sdist)
    assert tree.source == git_source
    assert tree.passed_over == ()
    assert tree.epoch == 1_714_979_289
    assert site.store.read(tree.tree, "demo.py") == b"# from git\n"


@pytest.mark.parametrize(
    "value",
    [
        {"epoch": 1},
        {"commit": "0" * 40},
        {"commit": "nonsense"},
        {"tree": "4b825dc642cb6eb9a060e54bf8d69288fbee4904"},
    ],
)
def test_a_record_that_the_store_does_not_bear_out_is_not_believed(
    site: Site, git_source: GitSource, value: dict[str, object]
) -> None:
    """Whoever changes a record can seal it anew."""
    honest = site.acquire(git_source)
    (path,) = (site.folder / "journal/source").glob("*.json")
    record = json.loads(path.read_bytes())
    del record["seal"]
    site.journal.put(
        FETCHED, path.stem, FetchedSource.model_validate_json(json.dumps({**record, **value}))
    )
    assert site.acquire(git_source) == honest


def test_a_record_of_another_tree_than_the_locks_is_not_believed(
    site: Site, git_source: GitSource, sdist: SdistSource
) -> None:
    honest = site.acquire(git_source)
    other = site.acquire(sdist)
    pinned = git_source.model_copy(update={"tree": honest.tree})
    there = set((site.folder / "journal/source").glob("*.json"))
    site.acquire(pinned)
    (path,) = set((site.folder / "journal/source").glob("*.json")) - there
    record = json.loads(path.read_bytes())
    del record["seal"]
    forged = {**record, "tree": other.tree, "commit": other.commit, "epoch": other.epoch}
    site.journal.put(FETCHED, path.stem, FetchedSource.model_validate_json(json.dumps(forged)))
    assert site.acquire(pinned).tree == honest.tree


def test_an_unreachable_host_gives_way_to_the_next_source_aloud(
    site: Site, dead_git: GitSource, sdist: SdistSource, capfd: pytest.CaptureFixture[str]
) -> None:
    with showing():
        tree = site.acquire(dead_git, sdist)
    assert tree.source == sdist
    assert site.store.read(tree.tree, "demo.py") == b"# from sdist\n"
    (reason,) = tree.passed_over
    assert reason.startswith(f"git {dead_git.url} v1.0")
    assert "did not answer" in reason
    assert f"demo: NOT from git {dead_git.url}" in capfd.readouterr().err


def test_an_unresolved_source_is_passed_over_with_its_reason(
    site: Site, git_source: GitSource, wheel: WheelSource
) -> None:
    tree = site.acquire(git_source.model_copy(update={"commit": None}), wheel)
    assert tree.source == wheel
    assert "unresolved, the lock has no commit id for it" in tree.passed_over[0]


def test_when_nothing_can_be_had_every_reason_is_told(
    site: Site, dead_git: GitSource, wheel: WheelSource, index: Path
) -> None:
    (index / "demo" / wheel.file).unlink()
    with pytest.raises(
        UnreachableError,
        match=rf"(?s)demo: No index offers demo.*Before it: git {dead_git.url}.*did not answer",
    ):
        site.acquire(dead_git, wheel)


def test_a_wrong_hash_does_not_give_way(site: Site, sdist: SdistSource, wheel: WheelSource) -> None:
    with pytest.raises(HashMismatchError, match=r"demo-1\.0\.tar\.gz: its sha256 is"):
        site.acquire(sdist.model_copy(update={"sha256": "0" * 64}), wheel)


def test_an_unsafe_archive_does_not_give_way(
    site: Site, tmp_path: Path, publish: Callable[..., str], wheel: WheelSource
) -> None:
    path = tmp_path / "demo-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("demo-1.0/../../evil"))
    hostile = SdistSource(kind="sdist", package="demo", file=path.name, sha256=publish(path))
    with pytest.raises(UnsafeArchiveError, match=r"demo-1\.0\.tar\.gz: .*outside the destination"):
        site.acquire(hostile, wheel)


def test_a_tree_that_differs_from_the_lock_stops(
    site: Site, wheel: WheelSource, git_source: GitSource
) -> None:
    right = site.acquire(wheel).tree
    assert (
        Site(site.folder / "other").acquire(wheel.model_copy(update={"tree": right})).tree == right
    )
    with pytest.raises(HashMismatchError, match=rf"gave tree {right}, the lock says {'1' * 40}"):
        site.acquire(wheel.model_copy(update={"tree": "1" * 40}))
    with pytest.raises(HashMismatchError, match=rf"the lock says {'1' * 40}"):
        site.acquire(git_source.model_copy(update={"tree": "1" * 40}), wheel)


@pytest.mark.parametrize(
    ("policy", "kind"), [("auto", "git"), ("git", "git"), ("registry", "sdist")]
)
def test_the_policy_decides_among_the_forms(
    site: Site, git_source: GitSource, sdist: SdistSource, policy: SourcePolicy, kind: str
) -> None:
    assert site.acquire(git_source, sdist, policy=policy).source.kind == kind


def test_the_policy_git_does_not_fall_through(
    site: Site, dead_git: GitSource, sdist: SdistSource
) -> None:
    with pytest.raises(UnreachableError, match="did not answer"):
        site.acquire(dead_git, sdist, policy="git")


def test_a_recipe_that_builds_from_other_forms_decides_too(
    git_source: GitSource, sdist: SdistSource
) -> None:
    pinned = Upstream(version="1.0", licence="MIT", why="An example.", sources=(git_source, sdist))
    chosen, passed = candidates("demo", pinned, ["sdist"], "auto")
    assert chosen == [sdist]
    assert passed == [
        f"git {git_source.url} v1.0 {git_source.commit}: the recipe builds from sdist"
    ]
    with pytest.raises(
        UsageError,
        match=r"(?s)No source of demo can be used with --sources git:.*the recipe builds from "
        r"wheel.*--sources git",
    ):
        candidates(
            "demo",
            pinned.model_copy(update={"sources": (git_source, wheel_like(sdist))}),
            ["wheel"],
            "git",
        )


def wheel_like(sdist: SdistSource) -> WheelSource:
    return WheelSource(
        kind="wheel", package="demo", file="demo-1.0-py3-none-any.whl", sha256=sdist.sha256
    )


def test_a_mirror_serves_what_the_host_does_not(
    site: Site, dead_git: GitSource, tmp_path: Path, git: Callable[..., str]
) -> None:
    git(
        tmp_path,
        "clone",
        "--quiet",
        "--mirror",
        str(tmp_path / "upstream/demo"),
        str(tmp_path / "mirror/owner/demo.git"),
    )
    assert site.acquire(dead_git, mirror=tmp_path / "mirror").source == dead_git


def test_offline_takes_what_an_earlier_run_fetched(
    site: Site, git_source: GitSource, sdist: SdistSource
) -> None:
    with pytest.raises(
        UnreachableError,
        match=r"(?s)--offline forbids fetching it.*Before it: git .*--offline forbids",
    ):
        site.acquire(git_source, sdist, offline=True)
    before = site.acquire(git_source, sdist)
    assert site.acquire(git_source, sdist, offline=True) == before


def test_offline_a_fresh_checkout_lives_from_the_cache(site: Site, sdist: SdistSource) -> None:
    before = site.acquire(sdist)
    fresh = Site(site.folder)
    fresh.store = ObjectStore(site.folder / "store-2")
    fresh.journal = Journal(site.folder / "journal-2")
    assert fresh.acquire(sdist, offline=True) == before


def test_two_sites_give_the_same_ids(
    tmp_path: Path, git_source: GitSource, sdist: SdistSource, wheel: WheelSource
) -> None:
    for source in (git_source, sdist, wheel):
        one, two = (Site(tmp_path / name).acquire(source) for name in ("one", "two"))
        assert one == two


def test_a_lost_store_is_filled_again(site: Site, wheel: WheelSource) -> None:
    before = site.acquire(wheel)
    site.store = ObjectStore(site.folder / "new-store")
    assert site.acquire(wheel) == before
    assert site.store.has(before.tree)


def debian(site: Site, *names: str) -> DebianSource:
    """Put files of a Debian source package into the site's cache, the upstream tarballs among them
    whole.
    """
    registry = Registry(site.folder / "cache", offline=True)
    pins = []
    for name in names:
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w") as archive:
            info = tarfile.TarInfo("demo-1.0/demo.c")
            info.size, info.mtime = 4, 1_600_000_000
            archive.addfile(info, io.BytesIO(b"text"))
        path = site.folder / name
        path.write_bytes(lzma.compress(content.getvalue()) if ".tar" in name else b"description")
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        registry.adopt(path, name, sha256)
        pins.append(PinnedFile(file=name, sha256=sha256))
    return DebianSource(
        kind="debian-source", package="demo", debian_version="1.0-1", files=tuple(pins)
    )


def test_a_debian_source_is_its_pristine_tarball(site: Site) -> None:
    tree = site.acquire(
        debian(site, "demo_1.0-1.dsc", "demo_1.0.orig.tar.xz", "demo_1.0-1.debian.tar.xz")
    )
    assert site.store.paths(tree.tree) == ["demo.c"]
    assert tree.epoch == 1_600_000_000


def test_a_debian_source_without_one_pristine_tarball_is_refused(site: Site) -> None:
    with pytest.raises(HashMismatchError, match=r"expected one \.orig\.tar among demo_1\.0-1\.dsc"):
        site.acquire(debian(site, "demo_1.0-1.dsc"))


@pytest.fixture
def archive(make_sdist: Callable[..., Path]) -> ArchiveSource:
    """A source archive at an address of its own."""
    path = make_sdist("demo", files={"demo.c": b"text"})
    return ArchiveSource(
        kind="archive",
        url=path.as_uri(),
        file="renamed.tar.gz",
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
    )


@pytest.mark.parametrize("policy", ["auto", "git", "registry"])
def test_an_archive_is_taken_from_its_address_whatever_the_policy(
    site: Site, archive: ArchiveSource, policy: SourcePolicy
) -> None:
    tree = site.acquire(archive, policy=policy)
    assert site.store.paths(tree.tree) == ["demo.c"]
    assert tree.epoch == 1_700_000_000
    assert Site(site.folder).acquire(archive, offline=True) == tree


def test_a_mirror_s_archive_stands_for_the_address(
    site: Site, archive: ArchiveSource, tmp_path: Path, free_port: int
) -> None:
    mirror = tmp_path / "mirror"
    (mirror / "archives").mkdir(parents=True)
    (tmp_path / "made/demo-1.0.tar.gz").rename(mirror / "archives/renamed.tar.gz")
    dead = archive.model_copy(update={"url": f"https://127.0.0.1:{free_port}/demo"})
    assert site.acquire(dead, mirror=mirror, offline=True).source == dead


def test_an_archive_that_cannot_be_had_says_what_would_help(
    site: Site, archive: ArchiveSource, tmp_path: Path
) -> None:
    gone = archive.model_copy(update={"url": (tmp_path / "gone").as_uri()})
    with pytest.raises(UnreachableError, match="gone is not there"):
        site.acquire(gone)
    with pytest.raises(
        UnreachableError, match=r"renamed\.tar\.gz is not in the cache and --offline forbids"
    ):
        site.acquire(gone, offline=True)


def test_an_archive_with_another_hash_is_refused(
    site: Site, archive: ArchiveSource, wheel: WheelSource
) -> None:
    with pytest.raises(HashMismatchError, match=r"renamed\.tar\.gz: its sha256 is"):
        site.acquire(archive.model_copy(update={"sha256": "0" * 64}), wheel)
