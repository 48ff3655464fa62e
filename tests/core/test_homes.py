from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from forkhouse.core.homes import in_home, user_cache, user_settings, user_state

ASK = """
import sys
from forkhouse.core import homes
from forkhouse.core.errors import UsageError
try:
    print(eval(sys.argv[1], vars(homes)))
except UsageError as error:
    sys.exit(str(error))
"""


def ask(question: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Ask as a user whom the system does not know, as in a container that runs as any number."""
    return subprocess.run(
        [*("unshare", "--user", "--map-user=54321", sys.executable), "-c", ASK, question],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "question",
    [
        *("user_cache('wait')", "user_settings('wait')", "user_state('wait')"),
        "in_home('.rustup', 'wait')",
    ],
)
def test_a_user_without_a_home_is_told_what_to_do(question: str) -> None:
    said = ask(question)
    assert said.returncode == 1
    assert "The user 54321 has no home" in said.stderr
    assert said.stderr.endswith("Set HOME to a folder that may be written, or wait.\n")
    assert ask(question, HOME="/elsewhere").stdout.startswith("/elsewhere/")


def test_everybody_else_has_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/x")
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert user_cache("") == Path("/home/x/.cache/forkhouse")
    assert user_settings("") == Path("/home/x/.config/forkhouse")
    assert user_state("") == Path("/home/x/.local/state/forkhouse")
    assert in_home(".rustup", "") == Path("/home/x/.rustup")
