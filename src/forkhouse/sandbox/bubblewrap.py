"""Which sandbox this machine allows, and the command line that makes one.

bubblewrap is what Flatpak runs foreign programs in. It needs no daemon, no configuration and no
root rights, does the same for root, and Debian has it. nsjail is not in Debian 12; systemd-run
wants a running systemd, which containers lack; unshare(1) makes the namespaces, and leaves root's
capabilities, the mounts and the filter of system calls to a script of one's own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from forkhouse.core.errors import ToolchainError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

BUBBLEWRAP = "bwrap"
SEARCH_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_USER = "1000"
"""The user and group id of a build, the same whoever runs it."""
_TOP = ("bin", "lib", "lib32", "lib64", "libx32", "sbin")
"""Folders of the root that are links into /usr on most systems."""
_ETC = ("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "os-release", "debian_version")
"""What compilers and the dynamic loader read of /etc. No accounts, no keys, no settings."""
PASSWD = b"build:x:1000:1000::/nonexistent:/bin/false\n"
"""The only account that a build sees: its own."""
_BASE = (
    "--unshare-all",
    "--unshare-user",
    "--disable-userns",
    "--uid",
    _USER,
    "--gid",
    _USER,
    "--hostname",
    "forkhouse",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """The files of this machine that a build sees, besides the system's own.

    Each appears under its own path, unless `places` says otherwise.
    """

    work: Path
    """The build's folder; a build can change only this and `writable`."""
    readable: tuple[Path, ...] = ()
    writable: tuple[Path, ...] = ()
    places: Mapping[str, Path] = field(default_factory=dict)
    """Other paths under which folders appear.

    The work folder and folders below it can be changed there; others can only be read.
    """

    def binds(self) -> Iterator[str]:
        """Yield bubblewrap's bind options, outer folders first.

        An inner folder that came first would be hidden by the outer one.
        """
        wanted = {str(path): path for path in (self.work, *self.readable, *self.writable)} | dict(
            self.places
        )
        changed = {self.work, *self.writable}
        for shown, path in sorted(wanted.items()):
            yield from ("--bind" if path in changed else "--ro-bind", str(path), shown)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sandbox:
    """How build commands are kept away from the machine."""

    kind: Literal["bubblewrap", "none"]

    @property
    def resumes(self) -> bool:
        """Whether the sandbox can prove that no process of an earlier build is alive.

        Without that proof the folder of an earlier build is not used again.
        """
        return self.kind == "bubblewrap"

    def arguments(
        self, view: View, folder: Path, *, seccomp: int, accounts: int, info: int
    ) -> list[str]:
        """Return the beginning of a build's command line, to run in `folder`, a path of the view.

        bubblewrap reads the filter of system calls and the file of accounts from the descriptors
        `seccomp` and `accounts`, and writes its child's number to `info`.
        """
        if self.kind == "none":
            return [_tool("setpriv"), "--no-new-privs", "--pdeathsig", "KILL"]
        return [
            *_prefix(),
            _tool(BUBBLEWRAP),
            *_BASE,
            *(
                "--die-with-parent",
                "--new-session",
                "--cap-drop",
                "ALL",
                "--seccomp",
                str(seccomp),
                "--info-fd",
                str(info),
            ),
            *_system(),
            *("--ro-bind-data", str(accounts), "/etc/passwd"),
            *view.binds(),
            *("--remount-ro", "/", "--chdir", str(folder), "--"),
        ]


def _system() -> Iterator[str]:
    """Yield the options that show the system.

    /usr to be read without /usr/local, devices, processes and temporary files of its own.
    """
    yield from ("--ro-bind", "/usr", "/usr", "--tmpfs", "/usr/local")
    for name in _TOP:
        path = Path("/", name)
        if path.is_symlink():
            yield from ("--symlink", str(path.readlink()), str(path))
        elif path.is_dir():
            yield from ("--ro-bind", str(path), str(path))
    for name in _ETC:
        yield from ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")
    # Read-only, as the settings of the kernel below /proc/sys belong to root, who a build of root
    # still is to the kernel.
    yield from ("--proc", "/proc", "--remount-ro", "/proc")
    yield from ("--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/run")


def _prefix() -> tuple[str, ...]:
    """Return what runs bubblewrap for root.

    To the kernel a build is still root then, and could change the modes of the machine's devices.

    Mounted read-only, a device can be written to as before, and what it is cannot be changed.
    """
    if os.geteuid() != 0:
        return ()
    script = '/bin/mount --bind /dev /dev && /bin/mount -o remount,bind,ro /dev && exec "$@"'
    return (_tool("unshare"), "--mount", "--propagation", "private", "/bin/sh", "-c", script, "sh")


def _tool(name: str) -> str:
    """Return the path of a tool of the system.

    It runs outside of the sandbox, so the build's own folders are not searched.
    """
    return shutil.which(name, path=SEARCH_PATH) or name


def interpreter_homes() -> tuple[Path, ...]:
    """Return where the running Python's library lies, unless the system's files contain it."""
    base = Path(sys.base_prefix).resolve()
    return () if base == Path("/usr") else (base,)


@cache
def find_sandbox(*, unsafe: bool = False) -> Sandbox:
    """Return the sandbox of this machine.

    It is of the kind "none" where `unsafe` allows that and the machine allows no other.

    Raises ToolchainError that says what is missing.
    """
    refusal = _refusal()
    if refusal is None:
        return Sandbox(kind="bubblewrap")
    if unsafe:
        return Sandbox(kind="none")
    message = (
        f"Builds run foreign code, so they run in a sandbox made by bubblewrap, and {refusal} "
        "With --unsafe-no-sandbox they run without one: what is built can then read and change all "
        "that you can, and reach the network. "
        "The manifest will say so."
    )
    raise ToolchainError(message)


def _refusal() -> str | None:
    """Return why there is no sandbox here, as the rest of a sentence; None where there is one."""
    found = shutil.which(BUBBLEWRAP, path=SEARCH_PATH)
    if found is None:
        return "it is not installed. Run:\n  apt-get update && apt-get install --yes bubblewrap\n"
    command = [
        *_prefix(),
        found,
        *_BASE,
        "--die-with-parent",
        "--cap-drop",
        "ALL",
        *_system(),
        "--",
        "true",
    ]
    tried = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={"PATH": SEARCH_PATH},
    )
    if tried.returncode == 0:
        return None
    said = tried.stderr.strip() or f"exit code {tried.returncode}"
    return (
        f"this machine lets it make none ({said}). In a container, allow user namespaces and an "
        "unmasked /proc (for Docker: "
        "--security-opt seccomp=unconfined --security-opt systempaths=unconfined); on a host, see "
        "the sysctls "
        "kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns and "
        "user.max_user_namespaces. bubblewrap has to be 0.8 or newer."
    )


def shown(command: Sequence[str], view: View) -> View:
    """Return a view that also shows the files and folders which a command of ours names.

    So PEP 517 hooks are passed on: the script can be read, and a folder of temporary files can be
    changed.
    """
    seen = (Path("/usr"), view.work, *view.readable, *view.writable)
    named = [Path(word) for word in command if word.startswith("/")]
    outside = [path for path in named if not any(path.is_relative_to(folder) for folder in seen)]
    files = tuple(path for path in outside if path.is_file())
    folders = tuple(path for path in outside if path.is_dir())
    return View(
        work=view.work,
        readable=(*view.readable, *files),
        writable=(*view.writable, *folders),
        places=view.places,
    )
