"""No credential of the user's reaches anything that a run prints or writes."""

from __future__ import annotations

import contextlib
import http.server
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.flow.conftest import Checkout

CANARY = "canary-5ecret"


@pytest.fixture
def busy() -> Iterator[int]:
    """The port of a server that answers nobody."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(403, f"not for {CANARY}")

        do_HEAD = do_GET  # the library's name

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()
        yield server.server_port
        server.shutdown()


def written(folder: Path) -> list[str]:
    """Return the files below a folder in which the canary stands, in whatever form."""
    found = []
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            if path.is_file() and CANARY.encode() in path.read_bytes():
                found.append(path.relative_to(folder).as_posix())
    return found


def commits(store: Path) -> str:
    command = ["git", "-C", str(store), "log", "--all", "--format=%B"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("build",),
        ("build", "--json"),
        ("build", "--dry-run", "--json"),
        ("lock", "--check", "--json"),
    ],
)
@pytest.mark.parametrize("fails", [False, True])
def test_what_a_run_prints_and_writes_has_no_credentials(
    checkout: Checkout, tmp_path: Path, busy: int, arguments: tuple[str, ...], *, fails: bool
) -> None:
    address = f"http://bob:{CANARY}@127.0.0.1:{busy}"
    settings = tmp_path / "gitconfig"
    # git is led to an address with a password, and tells of it when nobody answers there.
    aim = (
        f'[url "https://bob:{CANARY}@127.0.0.1:1/transport.git"]\n\tinsteadOf = '
        f"{checkout.upstream.as_uri()}\n"
        if fails
        else ""
    )
    settings.write_text(aim + "[protocol]\n\tallow = always\n", encoding="utf-8")
    environment = {
        **checkout.environment(),
        "GIT_CONFIG_GLOBAL": str(settings),
        "PIP_EXTRA_INDEX_URL": f"{address}/simple?token={CANARY}",
        "PIP_PROXY": "",
    }
    del environment["PIP_NO_INDEX"]
    environment["PIP_INDEX_URL"] = f"{address}/other"
    if fails:
        del environment["PIP_FIND_LINKS"]
    result = subprocess.run(
        checkout.command(*arguments), env=environment, capture_output=True, text=True, check=False
    )
    assert (result.returncode != 0) == (
        fails and "--dry-run" not in arguments and "lock" not in arguments
    ), result.stderr
    assert "Traceback" not in result.stderr
    assert CANARY not in result.stdout + result.stderr
    assert written(checkout.root) == []
    assert written(checkout.cache) == []
    if (checkout.root / "build/store.git").exists():
        assert CANARY not in commits(checkout.root / "build/store.git")
