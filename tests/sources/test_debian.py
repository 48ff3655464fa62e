from __future__ import annotations

import hashlib
import re
import shutil
from typing import TYPE_CHECKING

import pytest

from forkhouse.errors import UnreachableError
from forkhouse.lock import DebianSource, PinnedFile
from forkhouse.sources.debian import _source_lines, fetch_debian_source
from forkhouse.sources.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = b"tarball"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
SOURCE = DebianSource(
    kind="debian-source", package="demo", debian_version="1.0-1", files=(PinnedFile(file="demo_1.0.orig.tar.gz", sha256=SHA256),)
)


def test_offline_and_not_cached_is_unreachable(registry: Registry) -> None:
    with pytest.raises(UnreachableError, match=r"Debian source demo 1\.0-1 is not in the cache and --offline forbids"):
        fetch_debian_source(SOURCE, registry, offline=True)


def test_a_machine_without_apt_is_unreachable(registry: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnreachableError, match=r"Debian source demo needs apt-get, which is not on this machine.*--sources git"):
        fetch_debian_source(SOURCE, registry, offline=False)


def test_cached_files_need_neither_apt_nor_a_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="apt is not on this machine")
def test_a_version_that_no_suite_serves_is_unreachable(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Apt is told of one empty suite, a folder of this machine."""
    suite = tmp_path / "suite/dists/none/main"
    suite.mkdir(parents=True)
    (suite.parent / "Release").write_text("Suite: none\nComponents: main\n", encoding="utf-8")
    configuration = tmp_path / "apt.conf"
    configuration.write_text(f'Dir::Etc::sourcelist "{tmp_path}/sources.list";\nDir::Etc::sourceparts "/dev/null";\n', encoding="utf-8")
    (tmp_path / "sources.list").write_text(f"deb [trusted=yes] file:{tmp_path}/suite none main\n", encoding="utf-8")
    monkeypatch.setenv("APT_CONFIG", str(configuration))
    with pytest.raises(UnreachableError, match=r"(?s)apt could not fetch the source of demo 1\.0-1 .*must be served by a suite"):
        fetch_debian_source(SOURCE, registry, offline=False)
