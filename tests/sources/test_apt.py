from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from forkhouse.core.errors import HashMismatchError, UnreachableError
from forkhouse.documents.lockfile import DebianBinary, DebianSource, PinnedFile
from forkhouse.sources.apt import (
    _source_lines,
    fetch_debian_binaries,
    fetch_debian_source,
    newest_debian_binaries,
)
from forkhouse.sources.index import Registry

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = b"tarball"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
SOURCE = DebianSource(
    kind="debian-source",
    package="demo",
    debian_version="1.0-1",
    files=(PinnedFile(file="demo_1.0.orig.tar.gz", sha256=SHA256),),
)


def test_offline_and_not_cached_is_unreachable(registry: Registry) -> None:
    with pytest.raises(
        UnreachableError,
        match=r"Debian source demo 1\.0-1 is not in the cache and --offline forbids",
    ):
        fetch_debian_source(SOURCE, registry, offline=True)


def test_a_machine_without_apt_is_unreachable(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        UnreachableError,
        match=r"Debian source demo needs apt-get, which is not on this machine.*--sources git",
    ):
        fetch_debian_source(SOURCE, registry, offline=False)


def test_cached_files_need_neither_apt_nor_a_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(tmp_path / "cache", offline=True)
    fetched = tmp_path / "fetched"
    fetched.write_bytes(CONTENT)
    kept = registry.adopt(fetched, SOURCE.files[0].file, SHA256)
    monkeypatch.setenv("PATH", "")
    assert fetch_debian_source(SOURCE, registry, offline=True) == [kept]


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="apt is not on this machine")
def test_the_source_side_of_the_machines_own_suites_is_listed() -> None:
    for line in _source_lines().splitlines():
        assert re.fullmatch(r"deb-src (\[[^]]*\] )?\S+ \S+ \S+", line)


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A suite in a folder of this machine, the only one that apt is told of.

    It serves the source package demo 1.0-1.
    """
    if shutil.which("apt-get") is None:
        pytest.skip("apt is not on this machine")
    pool = tmp_path / "suite"
    pool.mkdir()
    (pool / "demo_1.0.orig.tar.gz").write_bytes(CONTENT)
    (pool / "demo_1.0-1.dsc").write_text("Source: demo\n", encoding="utf-8")
    listed = "".join(
        f"\n {hashlib.sha256(path.read_bytes()).hexdigest()} {path.stat().st_size} {path.name}"
        for path in sorted(pool.iterdir())
    )
    index = (
        "Package: demo\nBinary: demo\nVersion: 1.0-1\nArchitecture: any\nFormat: 3.0 "
        f"(quilt)\nDirectory: .\nChecksums-Sha256:{listed}\n"
    )
    machine = subprocess.run(
        ["dpkg", "--print-architecture"], capture_output=True, text=True, check=True
    ).stdout.strip()
    release = f"Suite: none\nCodename: none\nComponents: main\nArchitectures: {machine}\nSHA256:"
    for name, text in (
        ("source/Sources", index),
        (
            f"binary-{machine}/Packages",
            "Package: demo\nVersion: 1\nArchitecture: all\nFilename: x\nSize: 1\n",
        ),
    ):
        path = pool / "dists/none/main" / name
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
        release += f"\n {hashlib.sha256(text.encode()).hexdigest()} {len(text)} main/{name}"
    (pool / "dists/none/Release").write_text(f"{release}\n", encoding="utf-8")
    (tmp_path / "sources.list").write_text(
        f"deb [trusted=yes] file:{pool} none main\n", encoding="utf-8"
    )
    (tmp_path / "lists/partial").mkdir(parents=True)
    settings = [
        f'Dir::Etc::sourcelist "{tmp_path}/sources.list"',
        'Dir::Etc::sourceparts "/dev/null"',
        f'Dir::State::Lists "{tmp_path}/lists"',
    ]
    settings += [
        'APT::Sandbox::User "root"',
        'Acquire::AllowInsecureRepositories "true"',
        'APT::Get::AllowUnauthenticated "true"',
    ]
    (tmp_path / "apt.conf").write_text(
        "".join(f"{setting};\n" for setting in settings), encoding="utf-8"
    )
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    subprocess.run(["apt-get", "-qq", "update"], check=True, capture_output=True)
    return pool


def test_the_files_of_the_pinned_version_are_fetched(suite: Path, registry: Registry) -> None:
    assert _source_lines() == f"deb-src file:{suite}/ none main\n"
    (path,) = fetch_debian_source(SOURCE, registry, offline=False)
    assert path.read_bytes() == CONTENT
    shutil.rmtree(suite)
    assert fetch_debian_source(SOURCE, registry, offline=True) == [path]


def test_apt_that_was_never_updated_is_told_as_such(
    suite: Path, registry: Registry, tmp_path: Path
) -> None:
    """As in most container images, whose package lists are taken out to save space."""
    _ = suite
    shutil.rmtree(tmp_path / "lists")
    with pytest.raises(
        UnreachableError, match=r"apt has no package lists on this machine.*`apt-get update`"
    ):
        fetch_debian_source(SOURCE, registry, offline=False)


@pytest.mark.usefixtures("suite")
def test_a_file_with_another_hash_than_the_lock_says_is_thrown_away(
    registry: Registry, tmp_path: Path
) -> None:
    pinned = SOURCE.model_copy(
        update={"files": (PinnedFile(file="demo_1.0.orig.tar.gz", sha256="0" * 64),)}
    )
    with pytest.raises(
        HashMismatchError,
        match=rf"demo_1\.0\.orig\.tar\.gz: its sha256 is {SHA256}, the lock says {'0' * 64}",
    ):
        fetch_debian_source(pinned, registry, offline=False)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


@pytest.mark.usefixtures("suite")
def test_a_file_that_the_source_package_does_not_have_is_unreachable(registry: Registry) -> None:
    pinned = SOURCE.model_copy(
        update={"files": (PinnedFile(file="demo_1.0.orig.tar.xz", sha256=SHA256),)}
    )
    with pytest.raises(
        UnreachableError, match=r"apt fetched no file demo_1\.0\.orig\.tar\.xz; the lock names one"
    ):
        fetch_debian_source(pinned, registry, offline=False)


@pytest.mark.usefixtures("suite")
def test_a_version_that_no_suite_serves_is_unreachable(registry: Registry) -> None:
    other = SOURCE.model_copy(update={"debian_version": "2.0-1"})
    with pytest.raises(
        UnreachableError,
        match=r"(?s)apt could not fetch the source of demo 2\.0-1 .*must be served by apt's "
        r"archives",
    ):
        fetch_debian_source(other, registry, offline=False)


@pytest.fixture
def binary(suite: Path) -> DebianBinary:
    """A binary package of another suite of the same archive, which the user's apt does not list.

    Its version has an epoch.
    """
    tree = suite / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    control = (
        "Package: tool\nVersion: 2:1.0-1\nArchitecture: all\nMaintainer: T "
        "<t@localhost>\nDescription: d\n"
    )
    (tree / "DEBIAN/control").write_text(control, encoding="utf-8")
    made = suite / "tool_1.0-1_all.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "--build", tree, made], check=True, capture_output=True
    )
    sha256 = hashlib.sha256(made.read_bytes()).hexdigest()
    machine = subprocess.run(
        ["dpkg", "--print-architecture"], capture_output=True, text=True, check=True
    ).stdout.strip()
    packages = f"{control}Filename: ./{made.name}\nSize: {made.stat().st_size}\nSHA256: {sha256}\n"
    index = suite / f"dists/testing/main/binary-{machine}/Packages"
    index.parent.mkdir(parents=True)
    index.write_text(packages, encoding="utf-8")
    release = (
        f"Suite: testing\nCodename: testing\nComponents: main\nArchitectures: {machine}\nSHA256:\n"
    )
    release += (
        f" {hashlib.sha256(packages.encode()).hexdigest()} {len(packages)} "
        f"main/binary-{machine}/Packages\n"
    )
    (suite / "dists/testing/Release").write_text(release, encoding="utf-8")
    return DebianBinary(
        package="tool", version="2:1.0-1", suite="testing", file=made.name, sha256=sha256
    )


def test_a_binary_package_of_a_suite_that_is_not_listed_is_fetched(
    binary: DebianBinary, suite: Path, registry: Registry
) -> None:
    (path,) = fetch_debian_binaries([binary], registry, offline=False)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == binary.sha256
    shutil.rmtree(suite)
    assert fetch_debian_binaries([binary], registry, offline=True) == [path]


def test_a_binary_version_that_is_no_longer_served_is_unreachable(
    binary: DebianBinary, registry: Registry
) -> None:
    gone = binary.model_copy(update={"version": "2:0.9-1"})
    with pytest.raises(
        UnreachableError,
        match=r"(?s)apt could not fetch tool 2:0\.9-1 \(testing\).*disappear when newer ones come",
    ):
        fetch_debian_binaries([gone], registry, offline=False)


def test_a_binary_package_with_another_hash_is_thrown_away(
    binary: DebianBinary, registry: Registry
) -> None:
    with pytest.raises(HashMismatchError, match=r"tool_1\.0-1_all\.deb: its sha256 is"):
        fetch_debian_binaries(
            [binary.model_copy(update={"sha256": "0" * 64})], registry, offline=False
        )


def test_the_newest_version_of_a_suite_is_pinned_without_a_download(binary: DebianBinary) -> None:
    old = binary.model_copy(
        update={"version": "2:0.9-1", "file": "tool_0.9-1_all.deb", "sha256": "0" * 64}
    )
    assert newest_debian_binaries([old]) == (binary,)
    gone = binary.model_copy(update={"package": "no-such-tool"})
    with pytest.raises(UnreachableError, match="apt could not fetch no-such-tool of testing"):
        newest_debian_binaries([gone])
