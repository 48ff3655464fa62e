"""Real repositories, archives, wheels and a local package index, made by the tests that use
them.
"""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import os
import shutil
import subprocess
import tarfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from forkhouse.core.journal import Journal
from forkhouse.core.workspace import find_workspace
from forkhouse.flow.plant import open_plant
from forkhouse.sources.acquire import Access
from forkhouse.sources.index import Registry
from forkhouse.sources.settings import IndexSettings, index_settings
from forkhouse.sources.store import ObjectStore
from tests.somebody import SETTINGS
from tests.wheels import write_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from forkhouse.flow.plant import Plant

# The options are a plug-in, as pytest wants them in the outermost folder of tests.
pytest_plugins = ["tests.compiled", "tests.integration.options", "tests.vllm_objects"]
WHOLE = (
    *("bench/", "conformance/", "flow/", "image/", "recipes/", "selftest/", "wheelhouse/"),
    *("audit/test_installers.py", "builders/test_environment.py"),
    *("serving/test_supervising.py", "sources/test_recovery.py"),
)
"""Where tests run whole commands: builds in small checkouts, installations, supervisors, trials."""
APART = {"whole": WHOLE, "integration": ("integration/",), "hip": ("hip/",)}
"""The places of which all tests have a mark."""
STAMP = "2024-05-06T07:08:09+00:00"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the places alone whose tests are not asked for: to read them takes seconds."""
    place = collection_path.relative_to(Path(__file__).parent).as_posix()
    place += "/" if collection_path.is_dir() else ""
    marks: str = config.option.markexpr
    unwanted = any(f"not {mark}" in marks and place in places for mark, places in APART.items())
    return True if unwanted else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that run whole commands: where they are says so, or that they build."""
    for item in items:
        builds = "template" in getattr(item, "fixturenames", ())
        if builds or item.nodeid.removeprefix("tests/").startswith(WHOLE):
            item.add_marker("whole")


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return ObjectStore(tmp_path / "store")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


@pytest.fixture(scope="session")
def plant() -> Iterator[Plant]:
    """This very checkout: its pins say which toolchain and which sources are taken."""
    workspace = find_workspace(Path(__file__).resolve().parent)
    plant = open_plant(
        workspace, Access(policy="registry", mirror=None, offline=False, cache=workspace.cache)
    )
    yield plant
    plant.registry.close()


@pytest.fixture
def git() -> Callable[..., str]:
    """Run git in a folder as somebody whose settings do not matter, and return its output."""
    environment = {
        "PATH": os.environ["PATH"],
        **SETTINGS,
        "GIT_AUTHOR_NAME": "Tester",
        "GIT_AUTHOR_EMAIL": "tester@localhost",
        "GIT_AUTHOR_DATE": STAMP,
        "GIT_COMMITTER_NAME": "Tester",
        "GIT_COMMITTER_EMAIL": "tester@localhost",
        "GIT_COMMITTER_DATE": STAMP,
    }

    def run(folder: Path, *arguments: str) -> str:
        folder.mkdir(parents=True, exist_ok=True)
        result = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return result.stdout.strip()

    return run


@pytest.fixture
def commit(git: Callable[..., str]) -> Callable[..., str]:
    """Commit files (path to text) to the repository in a folder, which is made when missing.

    Return the commit's id.
    """

    def make(folder: Path, files: Mapping[str, str]) -> str:
        if not (folder / ".git").exists():
            git(folder, "init", "--quiet", "--initial-branch=main")
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message=change")
        return git(folder, "rev-parse", "HEAD")

    return make


@pytest.fixture
def make_wheel(tmp_path: Path) -> Callable[..., Path]:
    """Make a wheel: its name, version, files (path to content), extra metadata lines.

    RECORD is true unless `record` is given.
    """

    def make(
        name: str = "demo",
        version: str = "1.0",
        files: Mapping[str, bytes] | None = None,
        *,
        metadata: tuple[str, ...] = (),
        record: str | None = None,
        tag: str = "py3-none-any",
    ) -> Path:
        folder = tmp_path / "made"
        folder.mkdir(exist_ok=True)
        return write_wheel(folder, name, version, files, metadata=metadata, record=record, tag=tag)

    return make


@pytest.fixture
def make_sdist(tmp_path: Path) -> Callable[..., Path]:
    """Make a source archive with the given files (path below its top folder to content)."""

    def make(
        name: str = "demo", version: str = "1.0", files: Mapping[str, bytes] | None = None
    ) -> Path:
        path = tmp_path / "made" / f"{name}-{version}.tar.gz"
        path.parent.mkdir(exist_ok=True)
        with tarfile.open(path, "w:gz") as archive:
            for member, content in (files or {"setup.py": b"# nothing\n"}).items():
                info = tarfile.TarInfo(f"{name}-{version}/{member}")
                info.size, info.mtime, info.mode = len(content), 1_700_000_000, 0o644
                archive.addfile(info, io.BytesIO(content))
        return path

    return make


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _point_pip_at(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [
        name for name in os.environ if name.startswith("PIP_") or name.lower().endswith("_proxy")
    ]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", url)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package index on this machine, the only one that pip's settings name.

    Files lie in `<index>/<project>/`.
    """
    folder = tmp_path / "served" / "simple"
    folder.mkdir(parents=True)
    # The server's own listing of a folder is a page of links, which is what the simple index (PEP
    # 503) is.
    handler = functools.partial(_Quiet, directory=str(folder.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        _point_pip_at(f"http://127.0.0.1:{server.server_port}/simple/", monkeypatch)
        yield folder
        server.shutdown()
        thread.join()


@pytest.fixture
def dead_index(free_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pip's settings name an index where nobody listens."""
    _point_pip_at(f"http://127.0.0.1:{free_port}/simple/", monkeypatch)


@pytest.fixture
def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens."""
    with http.server.HTTPServer(("127.0.0.1", 0), _Quiet) as server:
        return server.server_port


@pytest.fixture
def publish(index: Path) -> Callable[..., str]:
    """Put a file on the index and return its sha256."""

    def put(path: Path, project: str | None = None) -> str:
        folder = index / (project or path.name.split("-")[0].replace("_", "-"))
        folder.mkdir(exist_ok=True)
        shutil.copy(path, folder / path.name)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    return put


def pips_settings() -> IndexSettings:
    """Ask pip for its settings, except where all that is set is an index.

    To ask takes a quarter of a second. Whether both say the same is tested.
    """
    said = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    index = said.get("PIP_INDEX_URL", "")
    if said != {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": index} or "@" in index:
        return index_settings()
    return IndexSettings(
        indexes=(index,), find_links=(), trusted_hosts=(), certificates=None, timeout=60
    )


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "cache", offline=False, settings=pips_settings)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"this machine allows no mounts: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)
