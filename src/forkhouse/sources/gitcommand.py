"""Run git as a tool.

No prompts, no hooks, no transport but https and file, and none of the user's own repository.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING

import psutil

from forkhouse.core.errors import ToolchainError
from forkhouse.core.storage import storage_errors

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# LANGUAGE is read even where the locale is C.UTF-8, and what git says is read here.
_SETTINGS = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ALLOW_PROTOCOL": "https:file",
    "LC_ALL": "C.UTF-8",
    "LANGUAGE": "",
}
# Inside a git hook or `git rebase --exec` these name the user's own repository, which git would
# then work on.
_LOCAL = frozenset(
    {
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_NAMESPACE",
        "GIT_SHALLOW_FILE",
        "GIT_GRAFT_FILE",
    }
)
_OPTIONS = (
    "transfer.fsckObjects=true",
    "core.hooksPath=/dev/null",
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=60",
    "core.fsync=all",  # by default a reference may be empty after a power cut
    "gc.auto=0",  # it goes on in the background, when our lock is another's
    "maintenance.auto=false",
)
HERE = ("--git-dir=.",)
"""The repository is this folder, though it be broken.

Never one that lies above it, which may be the user's own.
"""


_WRONG_USE = 129


class GitError(Exception):
    """A git command failed; `stderr` is what it said."""

    def __init__(self, text: str, stderr: str, code: int = 1) -> None:
        """Keep the whole text of the failure, what git said, and how it ended."""
        super().__init__(text)
        self.stderr = stderr
        self.signal = -code if code < 0 else max(code - 128, 0)
        """The signal that ended git, 0 where none did."""


def require_git() -> None:
    """Raise ToolchainError where there is no git.

    It fetches pinned commits, and reads what a source says of its submodules.
    """
    if shutil.which("git") is None:
        message = (
            "There is no git on the PATH. Pinned commits are fetched with it. Run:\n  apt-get "
            "update && apt-get install --yes git"
        )
        raise ToolchainError(message)


def _end(pid: int) -> None:
    """Kill a git that was begun here, and what it began itself."""
    with contextlib.suppress(psutil.NoSuchProcess):
        git = psutil.Process(pid)
        for process in (git, *git.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def run_git(folder: Path, *arguments: str, inherit: Sequence[int] = ()) -> str:
    """Run a git command in `folder` and return its output.

    It inherits some open descriptors, as that of a lock.

    Raises GitError when it fails, ToolchainError where there is no git.
    """
    require_git()
    # Its import runs git, and is an error where that is killed; whether there is a git was asked
    # above.
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

    # The rest of the environment passes through: reaching a host needs the user's own proxy, agent
    # and git settings. GitPython adds to the environment and cannot take from it, so env(1) does.
    unset = [f"--unset={name}" for name in sorted(_LOCAL)]
    settings = [f"{name}={value}" for name, value in _SETTINGS.items()]
    options = [word for option in _OPTIONS for word in ("-c", option)]
    try:
        with storage_errors("Running git"):
            from git import Git  # only work with repositories needs it

            process = Git(folder).execute(
                ["env", *unset, *settings, "git", *options, *arguments],
                as_process=True,
                pass_fds=tuple(inherit),
            )
            try:
                told: tuple[bytes, bytes] = process.communicate()
            except BaseException:
                # This process was asked to end, and a host may keep git waiting.
                _end(process.pid)
                raise
            code, errors = process.returncode, told[1].decode("utf-8", "surrogateescape")
    except ValueError as error:  # a NUL in a name
        message = f"fatal: git cannot be given such words: {error}"
        raise GitError(message, message) from error
    if code != 0:
        message = f"git {' '.join(arguments)} ended with {code}: {errors.strip()}"
        # git itself ends with 128 where it dies of an error, and with 129 for wrong use.
        raise GitError(message, errors.strip(), code if code < 0 or code > _WRONG_USE else 1)
    return told[0].decode(errors="surrogateescape").strip("\n")
