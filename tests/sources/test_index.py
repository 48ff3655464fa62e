from __future__ import annotations

import hashlib
import http.server
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from forkhouse.core.errors import HashMismatchError, StorageError, UnreachableError
from forkhouse.sources import transport
from forkhouse.sources.index import Registry
from forkhouse.sources.settings import index_settings, parse_pip_config
from tests.conftest import pips_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILE = "demo-1.0-py3-none-any.whl"


@pytest.fixture
def wheel(make_wheel: Callable[..., Path]) -> Path:
    return make_wheel("demo")


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_fetches_a_file_of_the_users_index_once(
    wheel: Path, publish: Callable[..., str], index: Path, registry: Registry
) -> None:
    sha256 = publish(wheel)
    path = registry.fetch("demo", FILE, sha256)
    assert path.read_bytes() == wheel.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o644
    (index / "demo" / FILE).unlink()
    assert registry.fetch("demo", FILE, sha256) == path


def test_a_file_with_another_hash_is_thrown_away(
    wheel: Path, publish: Callable[..., str], registry: Registry, tmp_path: Path
) -> None:
    served = publish(wheel)
    with pytest.raises(
        HashMismatchError,
        match=rf"{FILE}: its sha256 is {served}, the lock says {'0' * 64}\. The file was thrown "
        rf"away",
    ):
        registry.fetch("demo", FILE, "0" * 64)
    assert files_in(tmp_path / "cache") == []


def test_a_cached_file_that_was_damaged_is_fetched_again(
    wheel: Path, publish: Callable[..., str], registry: Registry
) -> None:
    sha256 = publish(wheel)
    registry.fetch("demo", FILE, sha256).write_bytes(b"damaged")
    assert registry.cached(FILE, sha256) is None
    assert registry.fetch("demo", FILE, sha256).read_bytes() == wheel.read_bytes()


def test_offline_has_only_the_cache(
    wheel: Path, publish: Callable[..., str], registry: Registry, tmp_path: Path
) -> None:
    sha256 = publish(wheel)
    offline = Registry(tmp_path / "cache", offline=True)
    with pytest.raises(
        UnreachableError, match=f"{FILE} is not in the cache and --offline forbids fetching it"
    ):
        offline.fetch("demo", FILE, sha256)
    path = registry.fetch("demo", FILE, sha256)
    assert offline.fetch("demo", FILE, sha256) == path


def test_a_package_or_file_that_no_index_has_is_unreachable(
    wheel: Path, publish: Callable[..., str], registry: Registry
) -> None:
    publish(wheel)
    with pytest.raises(
        UnreachableError, match=r"No index offers other\. Looked at 1 indexes and 0 find-links"
    ):
        registry.fetch("other", "other-1.0-py3-none-any.whl", "0" * 64)
    with pytest.raises(
        UnreachableError,
        match=r"The indexes offer demo, but not demo-2\.0-py3-none-any\.whl \(1 other files\)",
    ):
        registry.fetch("demo", "demo-2.0-py3-none-any.whl", "0" * 64)


@pytest.mark.usefixtures("dead_index")
def test_an_index_where_nobody_listens_is_unreachable(registry: Registry) -> None:
    with pytest.raises(UnreachableError, match=r"No index answered for demo: .*pip config list"):
        registry.fetch("demo", FILE, "0" * 64)


def test_wheels_of_other_platforms_and_source_archives_are_found(
    make_wheel: Callable[..., Path],
    make_sdist: Callable[..., Path],
    publish: Callable[..., str],
    registry: Registry,
) -> None:
    for path in (
        make_wheel("demo", tag="cp27-cp27m-win32"),
        make_sdist("demo"),
        make_wheel("demo", "2.0rc1"),
    ):
        publish(path)
    assert set(registry.links("demo")) == {
        "demo-1.0-cp27-cp27m-win32.whl",
        "demo-1.0.tar.gz",
        "demo-2.0rc1-py3-none-any.whl",
    }


def test_a_folder_of_find_links_is_enough(
    wheel: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch, dead_index: None
) -> None:
    _ = dead_index
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert registry.fetch("demo", FILE, sha256).read_bytes() == wheel.read_bytes()
    assert wheel.exists()


def test_with_no_index_and_no_links_nothing_is_asked(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, dead_index: None
) -> None:
    _ = dead_index
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(UnreachableError, match="Looked at 0 indexes and 0 find-links"):
        registry.links("demo")


def test_a_file_without_a_pin_is_fetched_with_its_hash(
    wheel: Path, publish: Callable[..., str], registry: Registry
) -> None:
    sha256 = publish(wheel)
    path, found = registry.download(registry.find("demo", FILE))
    assert found == sha256
    assert registry.cached(FILE, sha256) == path


def test_many_threads_share_one_registry(
    make_wheel: Callable[..., Path], publish: Callable[..., str], registry: Registry
) -> None:
    pins = []
    for number in range(12):
        path = make_wheel("demo", f"1.{number}")
        pins.append((path.name, publish(path)))
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda pin: registry.fetch("demo", *pin), pins * 2))
    assert [path.name for path in paths] == [file for file, _ in pins] * 2


def test_a_download_that_breaks_off_is_tried_again(
    wheel: Path,
    tmp_path: Path,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
    dead_index: None,
) -> None:
    _ = dead_index
    content = wheel.read_bytes()
    served: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.append(self.path)
            page = self.path.endswith("/")
            body = f'<a href="{FILE}">{FILE}</a>'.encode() if page else content
            self.send_response(200)
            self.send_header("Content-Type", "text/html" if page else "application/octet-stream")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            first = not page and len(served) == 2
            self.wfile.write(body[: len(body) // 2] if first else body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    monkeypatch.setattr(transport, "pause", lambda _: None)
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
        path = registry.fetch("demo", FILE, hashlib.sha256(content).hexdigest())
        server.shutdown()
    assert path.read_bytes() == content
    assert served == ["/simple/demo/", f"/simple/demo/{FILE}", f"/simple/demo/{FILE}"]
    assert files_in(tmp_path / "cache") == [FILE]


def test_a_file_that_the_index_lists_and_does_not_have_is_unreachable(
    index: Path, tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    (index / "demo").mkdir()
    (index / "demo/index.html").write_text(f'<a href="{FILE}">{FILE}</a>', encoding="utf-8")
    monkeypatch.setattr(transport, "pause", lambda _: None)
    with pytest.raises(
        UnreachableError,
        match=rf"(?s){FILE} could not be downloaded: .*404.*Run the same command again",
    ):
        registry.fetch("demo", FILE, "0" * 64)
    assert files_in(tmp_path / "cache") == []


@pytest.mark.usefixtures("index")
def test_a_full_disk_is_explained_and_leaves_no_temporary(
    make_wheel: Callable[..., Path], publish: Callable[..., str], small_disk: Path
) -> None:
    wheel = make_wheel("demo", files={"demo/data": os.urandom(400_000)})
    sha256 = publish(wheel)
    with pytest.raises(StorageError, match=f"Downloading {FILE}: No space left on device"):
        Registry(small_disk, offline=False).fetch("demo", FILE, sha256)
    assert files_in(small_disk) == []


def test_a_password_in_the_index_address_is_not_told(
    index: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    (index / "demo").mkdir()
    (index / "demo/index.html").write_text(f'<a href="{FILE}">{FILE}</a>', encoding="utf-8")
    monkeypatch.setenv(
        "PIP_INDEX_URL", os.environ["PIP_INDEX_URL"].replace("://", "://user:secret@")
    )
    monkeypatch.setattr(transport, "pause", lambda _: None)
    with pytest.raises(UnreachableError, match="404 File not found") as caught:
        registry.fetch("demo", FILE, "0" * 64)
    assert "secret" not in str(caught.value)


def test_reads_pips_settings_with_the_environment_first() -> None:
    text = (
        "global.index-url='http://one.invalid/simple'\n"
        "global.extra-index-url='\\nhttp://two.invalid/simple\\nhttp://three.invalid/simple'\n"
        "install.find-links='/a "
        "/b'\n:env:.index-url='http://env.invalid/simple'\nlist.format='columns'\n"
    )
    assert parse_pip_config(text) == {
        "index-url": "http://env.invalid/simple",
        "extra-index-url": " http://two.invalid/simple http://three.invalid/simple",
        "find-links": "/a /b",
    }


@pytest.mark.usefixtures("dead_index")
def test_settings_come_from_pips_files_and_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "pip.conf"
    config.write_text(
        "[global]\nindex-url = http://file.invalid/simple\nextra-index-url =\n    "
        "http://one.invalid/simple\n    http://two.invalid/simple\n"
        "trusted-host = one.invalid\ntimeout = 7\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    monkeypatch.delenv("PIP_INDEX_URL")
    monkeypatch.setenv("PIP_FIND_LINKS", "/wheels")
    settings = index_settings()
    assert settings.indexes == (
        "http://file.invalid/simple",
        "http://one.invalid/simple",
        "http://two.invalid/simple",
    )
    assert settings.find_links == ("/wheels",)
    assert settings.trusted_hosts == ("one.invalid",)
    assert settings.timeout == 7


@pytest.mark.usefixtures("index")
def test_pip_says_what_other_tests_take_it_to_say() -> None:
    assert pips_settings() == index_settings()


def test_a_killed_download_leaves_nothing_that_counts(
    wheel: Path, publish: Callable[..., str], registry: Registry, tmp_path: Path
) -> None:
    sha256 = publish(wheel)
    (tmp_path / "cache/files").mkdir(parents=True)
    (tmp_path / f"cache/files/.{FILE}.abc").write_bytes(b"half")
    assert registry.cached(FILE, sha256) is None
    assert registry.fetch("demo", FILE, sha256).read_bytes() == wheel.read_bytes()
