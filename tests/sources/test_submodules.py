"""Submodules and pointers of Git LFS.

Told by name where they are missing, laid in as files where the lock asks for it.
"""

from __future__ import annotations

import contextlib
import json
import tarfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forkhouse.core.digests import sha256_file
from forkhouse.core.errors import HashMismatchError, UnreachableError, UnsafeArchiveError
from forkhouse.core.journal import Journal
from forkhouse.core.progress import showing
from forkhouse.documents.lockfile import ArchiveSource, GitSource, Lock, Upstream
from forkhouse.documents.reading import dump, parse
from forkhouse.sources.acquire import Access, SourceTree, acquire
from forkhouse.sources.index import Registry
from forkhouse.sources.lfs import is_pointer, pointers
from forkhouse.sources.store import ObjectStore
from forkhouse.sources.submodules import missing, resolved
from tests.conftest import pips_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from forkhouse.documents.lockfile import Source

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a1' * 32}\nsize 1234\n"


class Hosts:
    """Three repositories: `app` has `lib` in third_party/lib, which has `core` in deep/core.

    Each address is relative but the last.
    """

    def __init__(self, folder: Path, git: Callable[..., str], commit: Callable[..., str]) -> None:
        self.folder, self.git, self.commit = folder, git, commit
        commit(self.at("core"), {"core.c": "int core;\n"})
        commit(self.at("lib"), {"lib.c": "int lib;\n"})
        self.add("lib", "deep/core", self.at("core").as_uri())
        commit(self.at("app"), {"app.c": "int app;\n", "third_party/README": "Others' work.\n"})
        self.add("app", "third_party/lib", "../lib")

    def at(self, name: str) -> Path:
        return self.folder / "hosts" / name

    def add(self, name: str, path: str, url: str) -> None:
        """Make what `git submodule add` makes, without its clone."""
        with (self.at(name) / ".gitmodules").open("a", encoding="utf-8") as file:
            file.write(f'[submodule "{path}"]\n\tpath = {path}\n\turl = {url}\n')
        self.git(self.at(name), "add", ".gitmodules")
        self.git(
            self.at(name),
            "update-index",
            "--add",
            "--cacheinfo",
            f"160000,{self.head(url.rpartition('/')[2])},{path}",
        )
        self.git(self.at(name), "commit", "--quiet", "--message=submodule")

    def head(self, name: str) -> str:
        return self.git(self.at(name), "rev-parse", "HEAD")

    def source(self, **values: object) -> GitSource:
        return GitSource.model_validate(
            {"kind": "git", "url": self.at("app").as_uri(), "commit": self.head("app"), **values}
        )

    def cloned(self) -> str:
        """Return the tree of all files that git itself checks out with its submodules."""
        clone = self.folder / "clone"
        self.git(
            self.folder,
            "-c",
            "protocol.file.allow=always",
            "clone",
            "--quiet",
            "--recurse-submodules",
            self.at("app").as_uri(),
            "clone",
        )
        for link in sorted(clone.rglob(".git"), key=lambda path: -len(path.parts)):
            if link.is_file():
                link.unlink()
        self.git(clone, "rm", "--quiet", "--cached", "third_party/lib")
        self.git(clone, "add", "--all", "--force")
        return self.git(clone, "write-tree")


class Site:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = ObjectStore(folder / "store")

    def acquire(
        self, source: Source, *, offline: bool = False, mirror: Path | None = None
    ) -> SourceTree:
        pinned = Upstream(version="1.0", licence="MIT", why="An example.", sources=(source,))
        access = Access(policy="auto", mirror=mirror, offline=offline, cache=self.folder / "cache")
        registry = Registry(self.folder / "cache", offline=offline, settings=pips_settings)
        journal = Journal(self.folder / "journal")
        with showing():
            return acquire(
                "demo",
                pinned,
                [source.kind],
                access=access,
                registry=registry,
                store=self.store,
                journal=journal,
            )


@pytest.fixture
def hosts(tmp_path: Path, git: Callable[..., str], commit: Callable[..., str]) -> Hosts:
    return Hosts(tmp_path, git, commit)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


def test_a_source_without_its_submodules_says_so_each_time(
    hosts: Hosts, site: Site, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        tree = site.acquire(hosts.source())
        said = capfd.readouterr().err
        assert (
            "WITHOUT 1 submodule, whose files are not there: third_party/lib (commit "
            f"{hosts.head('lib')}) from ../lib." in said
        )
        assert "`submodules: true`" in said
    assert [file.path for file in site.store.files(tree.tree)] == [
        ".gitmodules",
        "app.c",
        "third_party/README",
    ]
    # As git lays it out: an empty folder in its place.
    site.store.check_out(tree.tree, site.folder / "laid-out")
    plain = hosts.folder / "plain"
    hosts.git(hosts.folder, "clone", "--quiet", hosts.at("app").as_uri(), "plain")
    laid, wanted = (
        sorted(
            path.relative_to(top).as_posix()
            for path in top.rglob("*")
            if ".git" not in path.relative_to(top).parts
        )
        for top in (site.folder / "laid-out", plain)
    )
    assert laid == wanted


def test_a_source_that_needs_no_submodules_is_silent(
    hosts: Hosts, site: Site, capfd: pytest.CaptureFixture[str]
) -> None:
    assert site.acquire(hosts.source(submodules=False)).tree == site.acquire(hosts.source()).tree
    assert capfd.readouterr().err.count("WITHOUT") == 1


def test_pinned_submodules_are_laid_in_as_git_does(
    hosts: Hosts, site: Site, capfd: pytest.CaptureFixture[str]
) -> None:
    tree = site.acquire(hosts.source(submodules=True)).tree
    assert tree == hosts.cloned()
    assert site.store.read(tree, "third_party/lib/deep/core/core.c") == b"int core;\n"
    assert site.store.read(tree, "third_party/README") == b"Others' work.\n"
    assert "WITHOUT" not in capfd.readouterr().err


def test_the_pin_counts_and_not_what_the_submodule_has_become(hosts: Hosts, site: Site) -> None:
    hosts.commit(hosts.at("lib"), {"lib.c": "int newer;\n"})
    tree = site.acquire(hosts.source(submodules=True)).tree
    assert site.store.read(tree, "third_party/lib/lib.c") == b"int lib;\n"


def test_the_locks_tree_covers_the_submodules(hosts: Hosts, site: Site) -> None:
    whole = site.acquire(hosts.source(submodules=True)).tree
    assert site.acquire(hosts.source(submodules=True, tree=whole)).tree == whole
    bare = hosts.git(hosts.at("app"), "rev-parse", "HEAD^{tree}")
    with pytest.raises(HashMismatchError, match=f"gave tree {whole}, the lock says {bare}"):
        site.acquire(hosts.source(submodules=True, tree=bare))


def test_a_mirror_serves_submodules_and_the_cache_does_offline(
    hosts: Hosts, site: Site, free_port: int, tmp_path: Path
) -> None:
    mirror = tmp_path / "mirror"
    for name in ("app", "lib", "core"):
        hosts.git(
            tmp_path,
            "clone",
            "--quiet",
            "--mirror",
            str(hosts.at(name)),
            str(mirror / f"owner/{name}.git"),
        )
    source = hosts.source(submodules=True, url=f"https://127.0.0.1:{free_port}/owner/app.git")
    # The address of `core` is a local one, which no source of a host may name.
    with pytest.raises(UnsafeArchiveError, match="only https is, and file beside a local source"):
        site.acquire(source, mirror=mirror)
    # Pinned anew with an address that a host would have, and one of ssh, which many have.
    hosts.git(
        hosts.at("lib"),
        "config",
        "--file",
        ".gitmodules",
        "submodule.deep/core.url",
        "git@127.0.0.1:owner/core.git",
    )
    hosts.git(hosts.at("lib"), "add", ".gitmodules")
    hosts.git(hosts.at("lib"), "commit", "--quiet", "--message=address")
    lib = hosts.head("lib")
    hosts.git(hosts.at("app"), "update-index", "--cacheinfo", f"160000,{lib},third_party/lib")
    hosts.git(hosts.at("app"), "commit", "--quiet", "--message=newer")
    for name in ("app", "lib"):
        hosts.git(mirror / f"owner/{name}.git", "remote", "update")
    source = source.model_copy(update={"commit": hosts.head("app")})
    tree = site.acquire(source, mirror=mirror).tree
    assert site.store.read(tree, "third_party/lib/deep/core/core.c") == b"int core;\n"
    again = Site(tmp_path / "again")
    (again.folder).mkdir(exist_ok=True)
    (again.folder / "cache").symlink_to(site.folder / "cache")
    assert again.acquire(source, offline=True).tree == tree


def test_a_submodule_that_cannot_be_had_is_named(hosts: Hosts, site: Site) -> None:
    hosts.at("core").rename(hosts.at("gone"))
    with pytest.raises(
        UnreachableError, match=r"The submodule deep/core \(commit \w{40}\) from .*/core cannot"
    ):
        site.acquire(hosts.source(submodules=True))


@pytest.mark.parametrize("submodules", [None, True])
def test_credentials_in_an_address_are_neither_told_nor_recorded(
    hosts: Hosts, site: Site, capfd: pytest.CaptureFixture[str], *, submodules: bool | None
) -> None:
    url = "https://bob:canary@127.0.0.1:1/owner/lib.git"
    hosts.git(
        hosts.at("app"), "config", "--file", ".gitmodules", "submodule.third_party/lib.url", url
    )
    hosts.git(hosts.at("app"), "commit", "--quiet", "--message=an address", ".gitmodules")
    with contextlib.suppress(UnreachableError):
        site.acquire(hosts.source(submodules=submodules))
    assert "canary" not in capfd.readouterr().err
    texts = [
        path.read_bytes()
        for path in site.folder.rglob("*")
        if path.is_file() and path.is_relative_to(site.folder / "journal")
    ]
    assert not any(b"canary" in text for text in texts)


def test_an_address_that_is_none_is_refused(hosts: Hosts, site: Site) -> None:
    hosts.git(
        hosts.at("app"),
        "config",
        "--file",
        ".gitmodules",
        "submodule.third_party/lib.url",
        "https://[::1/lib.git",
    )
    hosts.git(hosts.at("app"), "commit", "--quiet", "--message=an address", ".gitmodules")
    with pytest.raises(UnsafeArchiveError, match="its address is none that can be fetched from"):
        site.acquire(hosts.source(submodules=True))


def test_a_gitlink_that_gitmodules_does_not_name_is_told_and_not_laid_in(
    hosts: Hosts, site: Site, capfd: pytest.CaptureFixture[str]
) -> None:
    hosts.git(hosts.at("app"), "rm", "--quiet", "--cached", ".gitmodules")
    hosts.git(hosts.at("app"), "commit", "--quiet", "--message=no addresses")
    site.acquire(hosts.source())
    assert "from an address that .gitmodules does not name" in capfd.readouterr().err
    with pytest.raises(
        UnsafeArchiveError,
        match=r"third_party/lib .* cannot be laid in: \.gitmodules does not say where",
    ):
        site.acquire(hosts.source(submodules=True))


def test_an_address_that_no_submodule_has_any_more_is_no_lack(
    hosts: Hosts, site: Site, capfd: pytest.CaptureFixture[str]
) -> None:
    hosts.git(hosts.at("app"), "rm", "--quiet", "--cached", "third_party/lib")
    hosts.git(hosts.at("app"), "commit", "--quiet", "--message=none")
    site.acquire(hosts.source())
    assert "WITHOUT" not in capfd.readouterr().err


def test_a_submodule_that_became_a_folder_is_no_lack(
    hosts: Hosts, site: Site, capfd: pytest.CaptureFixture[str]
) -> None:
    hosts.git(hosts.at("app"), "rm", "--quiet", "--force", "third_party/lib")
    hosts.commit(hosts.at("app"), {"third_party/lib/lib.c": "int ours;\n"})
    tree = site.acquire(hosts.source(submodules=True)).tree
    assert tree == hosts.git(hosts.at("app"), "rev-parse", "HEAD^{tree}")
    assert "WITHOUT" not in capfd.readouterr().err


def test_an_archive_of_a_host_lacks_submodules_too(
    hosts: Hosts, site: Site, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "app.tar"
    hosts.git(hosts.at("app"), "archive", "--prefix=app/", f"--output={path}", "HEAD")
    with tarfile.open(path) as archive:
        assert "app/third_party/lib" in archive.getnames()
    site.acquire(
        ArchiveSource(kind="archive", url=path.as_uri(), file="app.tar", sha256=sha256_file(path))
    )
    assert (
        "WITHOUT 1 submodule, whose files are not there: third_party/lib from ../lib."
        in capfd.readouterr().err
    )


def test_addresses_that_git_cannot_read_are_refused(hosts: Hosts, site: Site) -> None:
    hosts.commit(hosts.at("core"), {".gitmodules": "[submodule broken\n"})
    hosts.git(
        hosts.at("core"), "update-index", "--add", "--cacheinfo", f"160000,{hosts.head('lib')},x"
    )
    hosts.git(hosts.at("core"), "commit", "--quiet", "--message=broken")
    with pytest.raises(
        UnsafeArchiveError, match=r"\.gitmodules cannot be read: .*bad config line 1"
    ):
        site.acquire(
            GitSource(kind="git", url=hosts.at("core").as_uri(), commit=hosts.head("core"))
        )


def test_an_interrupted_or_older_record_is_completed(
    hosts: Hosts, site: Site, capfd: pytest.CaptureFixture[str]
) -> None:
    site.acquire(hosts.source())
    (entry,) = (path for path in (site.folder / "journal").rglob("*") if path.is_file())
    record = json.loads(entry.read_text(encoding="utf-8"))
    found = next(
        value
        for value in [record, *record.values()]
        if isinstance(value, dict) and "pointers" in value
    )
    del found["pointers"], found["submodules"]
    entry.write_text(json.dumps(record), encoding="utf-8")
    capfd.readouterr()
    site.acquire(hosts.source())
    assert "WITHOUT 1 submodule" in capfd.readouterr().err


def test_submodules_without_end_are_refused(hosts: Hosts, site: Site) -> None:
    """A commit cannot hold itself, but a long chain can be made."""
    inner = "core"
    for number in range(9):
        outer = f"chain{number}"
        hosts.commit(hosts.at(outer), {"x": f"{number}\n"})
        hosts.add(outer, "in", f"../{inner}")
        inner = outer
    source = GitSource(
        kind="git", url=hosts.at(inner).as_uri(), commit=hosts.head(inner), submodules=True
    )
    with pytest.raises(UnsafeArchiveError, match="more than 8 are in one another"):
        site.acquire(source)


@pytest.mark.parametrize(
    ("url", "base", "wanted"),
    [
        ("../lib.git", "https://host/owner/app.git", "https://host/owner/lib.git"),
        ("../../other/lib/", "https://host/owner/app/", "https://host/other/lib"),
        ("./lib", "https://host/owner/app", "https://host/owner/app/lib"),
        ("../lib", "file:///srv/app", "file:///srv/lib"),
        ("https://host/x", "https://other/y", "https://host/x"),
        ("git@host:owner/lib.git", "https://other/y", "https://host/owner/lib.git"),
        ("ssh://git@host:22/owner/lib", "https://other/y", "https://host/owner/lib"),
        ("git://host/owner/lib", "https://other/y", "https://host/owner/lib"),
        ("/srv/lib", "file:///srv/app", "file:///srv/lib"),
    ],
)
def test_addresses(url: str, base: str, wanted: str) -> None:
    assert resolved(url, base) == wanted


@pytest.mark.parametrize(
    "url",
    [
        "../../../lib",
        "file:///etc/x",
        "/etc/x",
        "ext::sh -c x",
        "--upload-pack=x",
        "fd::0",
        "C:\\lib",
        "",
        "lib",
        "https://",
        "-oProxy:x",
    ],
)
def test_addresses_that_nobody_may_ask(url: str) -> None:
    with pytest.raises(UnsafeArchiveError, match=r"The submodule's address '.*'"):
        resolved(url, "https://host/owner/app")


@given(
    parts=st.lists(st.sampled_from(["..", "."]), max_size=3), name=st.sampled_from(["lib", "a/b"])
)
def test_relative_addresses_are_paths(parts: list[str], name: str) -> None:
    """By the rule of the language of paths itself, as long as the host is not left."""
    import posixpath

    url = "/".join([*parts, name]) if parts else f"./{name}"
    assert resolved(url, "https://host/a/b/c/d") == "https://host" + posixpath.normpath(
        posixpath.join("/a/b/c/d", url)
    )


def test_the_lock_says_whether_submodules_belong(hosts: Hosts) -> None:
    lock = {"format": 1, "python": ">=3.11", "rocm": ">=5", "gpu-targets": (), "profiles": {}}
    for said in (True, False, None):
        source = hosts.source(submodules=said)
        upstream = Upstream(version="1.0", licence="MIT", why="An example.", sources=(source,))
        text = dump(Lock.model_validate({**lock, "upstreams": {"app": upstream}}))
        assert ("submodules" in text) is (said is not None)
        assert parse(Lock, text, name="lock").upstreams["app"].sources == (source,)


class TestPointers:
    @pytest.mark.parametrize(
        "text",
        [
            POINTER,
            POINTER.rstrip("\n"),
            POINTER.replace("oid", "ext-0-case sha256:00\noid"),
            POINTER.replace("git-lfs", "hawser"),
        ],
    )
    def test_a_pointer_is_known(self, text: str) -> None:
        assert is_pointer(text.encode())

    @pytest.mark.parametrize(
        "text",
        [
            "",
            POINTER.replace("oid ", "id "),
            POINTER.replace("size 1234\n", ""),
            f"About pointers:\n{POINTER}",
            POINTER + "x" * 1024,
            POINTER.replace("version https", "version = https"),
        ],
    )
    def test_what_speaks_of_pointers_is_none(self, text: str) -> None:
        assert not is_pointer(text.encode())

    def test_a_source_tells_its_pointers(
        self, hosts: Hosts, site: Site, capfd: pytest.CaptureFixture[str]
    ) -> None:
        hosts.commit(
            hosts.at("core"),
            {"model.bin": POINTER, "docs/b.png": POINTER, "about.md": f"A pointer is\n\n{POINTER}"},
        )
        tree = site.acquire(
            GitSource(kind="git", url=hosts.at("core").as_uri(), commit=hosts.head("core"))
        )
        assert (
            "WITHOUT 2 files of Git LFS, of which only the pointers are there: docs/b.png, "
            "model.bin\n" in capfd.readouterr().err
        )
        assert pointers(tree.tree, site.store) == ("docs/b.png", "model.bin")


def test_missing_is_in_path_order(hosts: Hosts, site: Site) -> None:
    hosts.add("app", "a/first", "../core")
    tree = site.acquire(hosts.source()).tree
    assert [submodule.path for submodule in missing(tree, site.store)] == [
        "a/first",
        "third_party/lib",
    ]
