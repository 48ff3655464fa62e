from __future__ import annotations

import functools
import hashlib
import html.parser
import http.server
import os
import shutil
import subprocess
import sys
import threading
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus, urlsplit

import pytest
from packaging.requirements import Requirement
from uv import find_uv_bin

from forkhouse.documents.pins import PinnedWheel, pinned_wheel
from forkhouse.documents.pylock import pylock_text
from forkhouse.wheelhouse.index import checksums_text, index_files, requirements_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from forkhouse.sources.index import Registry

WHEELS = (
    pinned_wheel("zlib_ng-2-py3-none-any.whl", "cd" * 32),
    pinned_wheel("demo-1.0+rocm.1-py3-none-any.whl", "ab" * 32),
)
ADDRESSES = ("zlib_ng-2-py3-none-any.whl", "demo-1.0%2Brocm.1-py3-none-any.whl")


class Links(html.parser.HTMLParser):
    """The links of a page, as an installer reads them: address to text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self._address: str | None = None
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._address = dict(attrs)["href"] if tag == "a" else None

    def handle_data(self, data: str) -> None:
        if self._address:
            self.found[self._address] = data
            self._address = None


def test_the_flat_page_links_every_wheel_with_its_hash() -> None:
    assert Links(index_files(WHEELS)["index.html"]).found == {
        f"{ADDRESSES[1]}#sha256={'ab' * 32}": WHEELS[1].file,
        f"{ADDRESSES[0]}#sha256={'cd' * 32}": WHEELS[0].file,
    }


def test_the_simple_index_has_a_page_for_each_project_by_its_canonical_name() -> None:
    files = index_files(WHEELS)
    assert set(files) == {
        "index.html",
        *(f"simple/{folder}index.html" for folder in ("", "demo/", "zlib-ng/")),
    }
    assert Links(files["simple/index.html"]).found == {"demo/": "demo", "zlib-ng/": "zlib-ng"}
    assert Links(files["simple/zlib-ng/index.html"]).found == {
        f"../../{ADDRESSES[0]}#sha256={'cd' * 32}": WHEELS[0].file
    }


def test_the_order_of_the_wheels_does_not_matter() -> None:
    assert index_files(WHEELS) == index_files(WHEELS[::-1])
    assert requirements_text(WHEELS) == requirements_text(WHEELS[::-1])


def test_an_installers_client_finds_and_checks_the_wheels(
    make_wheel: Callable[..., Path], index: Path, registry: Registry
) -> None:
    pins: list[PinnedWheel] = []
    for name, version in (("demo-rocm", "1.0+rocm.1"), ("helper", "2")):
        path = make_wheel(name, version)
        shutil.copy(path, index.parent)
        pins.append(pinned_wheel(path.name, hashlib.sha256(path.read_bytes()).hexdigest()))
    for name, text in index_files(pins).items():
        (index.parent / name).parent.mkdir(exist_ok=True)
        (index.parent / name).write_text(text, encoding="utf-8")
    for pin in pins:
        link = registry.find(pin.name, pin.file)
        assert link.hash_option == {"sha256": [pin.sha256]}
        assert registry.fetch(pin.name, pin.file, pin.sha256).name == pin.file


class _ObjectStore(http.server.SimpleHTTPRequestHandler):
    """A server that reads a `+` in a path as a blank, as S3 and its like do."""

    def translate_path(self, path: str) -> str:
        return super().translate_path(unquote_plus(urlsplit(path).path))

    def log_message(self, *_: object) -> None:
        """Say nothing."""


INSTALLERS = {
    "pip": (sys.executable, "-m", "pip", "--isolated", "install", "--no-cache-dir"),
    "uv": (
        find_uv_bin(),
        "pip",
        "install",
        "--python",
        sys.executable,
        "--no-cache",
        "--no-config",
    ),
}


@pytest.mark.parametrize("page", ["simple", "index.html", "pylock.toml"])
@pytest.mark.parametrize("installer", INSTALLERS)
def test_installers_find_wheels_behind_an_object_store(
    make_wheel: Callable[..., Path], tmp_path: Path, installer: str, page: str
) -> None:
    house, target, version = tmp_path / "house", tmp_path / "target", "1!2.0+rocm.gfx90a.1"
    path = make_wheel("demo", version)
    pin = pinned_wheel(path.name, hashlib.sha256(path.read_bytes()).hexdigest())
    for name, text in {
        **index_files([pin]),
        "pylock.toml": pylock_text([pin], folder=".", requires_python=">=3.11"),
    }.items():
        (house / name).parent.mkdir(parents=True, exist_ok=True)
        (house / name).write_text(text, encoding="utf-8")
    shutil.copy(path, house)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(_ObjectStore, directory=str(house))
    ) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        wanted = {
            "simple": ["--index-url", f"{url}/simple/", f"demo=={version}"],
            "index.html": ["--no-index", "--find-links", f"{url}/index.html", f"demo=={version}"],
            # The lock lies beside the wheels and names them by path, which is no address.
            "pylock.toml": ["-r", str(house / "pylock.toml")],
        }[page]
        command = [*INSTALLERS[installer], "--no-deps", "--target", str(target), *wanted]
        result = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False
        )
        server.shutdown()
        thread.join()
    assert result.returncode == 0, result.stderr
    assert (target / "demo/__init__.py").is_file()


def test_requirements_pin_version_and_hash() -> None:
    lines = requirements_text(WHEELS).splitlines()
    assert lines == [
        f"demo==1.0+rocm.1 --hash=sha256:{'ab' * 32}",
        f"zlib-ng==2 --hash=sha256:{'cd' * 32}",
    ]
    assert Requirement(lines[0].partition(" ")[0]).specifier.contains("1.0+rocm.1")


def test_checksums_are_as_sha256sum_writes_them() -> None:
    assert checksums_text({"b": "11", "a/c": "22"}) == "22  a/c\n11  b\n"
