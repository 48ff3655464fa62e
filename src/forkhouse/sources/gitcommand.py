"""Run git as a tool.

No prompts, no hooks, no transport but https and file, and none of the user's own repository.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
from typing import TYPE_CHECKING, Any

import psutil

from forkhouse.core.errors import ToolchainError
from forkhouse.core.processes import end
from forkhouse.core.storage import storage_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
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
_END_SECONDS = 5.0
"""A git that waits for a disk is not waited for longer."""


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


def _family(git: psutil.Process) -> list[psutil.Process]:
    """Return a git that was begun here, and what it began itself."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return [git, *git.children(recursive=True)]
    return []


@contextlib.contextmanager
def _ending(pid: int) -> Iterator[None]:
    """Leave no git behind where the block is ended by an error, or by a request to end.

    A host may keep git waiting for long.
    """
    try:
        yield
    except BaseException:
        with contextlib.suppress(psutil.NoSuchProcess):
            end(functools.partial(_family, psutil.Process(pid)), _END_SECONDS)
        raise


def _begin(folder: Path, arguments: Sequence[str], **options: Any) -> Any:
    """Begin a git command in `folder`, and return GitPython's process.

    Raises GitError for words that no command takes, ToolchainError where there is no git.
    """
    require_git()
    # Its import runs git, and is an error where that is killed; whether there is a git was asked
    # above.
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    try:
        with storage_errors("Running git"):
            from git import Git  # only work with repositories needs it

            client = Git(folder)
            client.update_environment(**_SETTINGS)
            # The rest of the environment passes through: reaching a host needs the user's own
            # proxy, agent and git settings. GitPython adds to the environment and cannot take from
            # it, and an empty GIT_DIR is not the same as none: so env(1) takes away.
            unset = [f"--unset={name}" for name in sorted(_LOCAL)]
            settings = [word for option in _OPTIONS for word in ("-c", option)]
            return client.execute(
                ["env", *unset, "git", *settings, *arguments], as_process=True, **options
            )
    except ValueError as error:  # a NUL in a name
        message = f"fatal: git cannot be given such words: {error}"
        raise GitError(message, message) from error


def _check(arguments: Sequence[str], code: int, errors: str) -> None:
    if code != 0:
        message = f"git {' '.join(arguments)} ended with {code}: {errors}"
        # git itself ends with 128 where it dies of an error, and with 129 for wrong use.
        raise GitError(message, errors, code if code < 0 or code > _WRONG_USE else 1)


def run_git(folder: Path, *arguments: str) -> str:
    """Run a git command in `folder` and return its output.

    Raises GitError when it fails, ToolchainError where there is no git.
    """
    process = _begin(folder, arguments)
    with _ending(process.pid):
        told: tuple[bytes, bytes] = process.communicate()
    _check(arguments, process.returncode, told[1].decode("utf-8", "surrogateescape").strip())
    return told[0].decode(errors="surrogateescape").strip("\n")


def fetch(folder: Path, *arguments: str, inherit: Sequence[int]) -> None:
    """Run `git fetch` in the bare repository `folder`, and show how many objects have come.

    It inherits some open descriptors, as that of a lock.

    Raises GitError when it fails, ToolchainError where there is no git.
    """
    words = (*HERE, "fetch", "--progress", *arguments)
    process = _begin(folder, words, with_stdout=False, pass_fds=tuple(inherit))
    with _ending(process.pid):
        from forkhouse.sources.gitprogress import FetchProgress  # it imports GitPython

        with FetchProgress() as progress:
            errors = progress.follow(process.stderr)
            code = process.proc.wait()
    _check(words, code, errors)
