"""Install a wheelhouse into an unpacked base, by the base's own Python, and cut it into layers.

The pip that the wheelhouse carries does it, in a sandbox whose root is the base: so every path in
the environment is the one that the container sees.
"""

from __future__ import annotations

import csv
import json
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from forkhouse.core.environments import BARE, pip_command
from forkhouse.core.errors import ClosureError, ImageError, InstallError, StorageError
from forkhouse.core.progress import report
from forkhouse.core.storage import FULL, told_refusal
from forkhouse.core.wording import end_of
from forkhouse.image.layers import LayerEntry, entry_of
from forkhouse.image.unpacking import inside
from forkhouse.sandbox.bubblewrap import BUBBLEWRAP, SEARCH_PATH, find_sandbox
from forkhouse.wheelhouse.install import carried_pip, pip_options
from forkhouse.wheelhouse.optional import FOLDER as OPTIONAL
from forkhouse.wheelhouse.optional import fitting, tell_installed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

PREFIX = "opt/stack"
"""Where the environment is, below the root."""
_WHEELHOUSE = "/run/wheelhouse"
"""Where the sandbox shows the wheelhouse."""
_PYTHONS = ("usr/bin/python3", "usr/local/bin/python3")
_ELF = b"\x7fELF"
_QUESTION = (
    "import json, platform; "
    "print(json.dumps([platform.machine(), platform.python_version_tuple()[:2]]))"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Installed:
    """The files of an environment by what changes them, each by its path below the root."""

    third_party: dict[str, LayerEntry]
    libraries: dict[str, LayerEntry]
    """What was compiled of our wheels."""
    ours: dict[str, LayerEntry]
    """The rest of our wheels: Python, mostly. A patch of Python changes nothing else."""


def install_into(wheelhouse: Path, root: Path, ours: Collection[str]) -> Installed:
    """Install a wheelhouse, which was verified, into the unpacked base `root`.

    `ours` are the names of the wheels that were built. Compiled kernels that the wheelhouse carries
    and that fit are installed as well. Raises ClosureError where the wheelhouse
    does not carry pip, ImageError where the base has no Python for its wheels, InstallError
    with pip's words, ToolchainError where this machine allows no sandbox, StorageError.
    """
    pip = carried_pip(wheelhouse)
    if pip is None:
        message = (
            f"The wheelhouse {wheelhouse.name} carries no pip, which would install it. `forkhouse "
            "lock --tools` pins what it carries; then build it again."
        )
        raise ClosureError(message)
    python = _python(root)
    _check_python(root, python, wheelhouse)
    report().line("install", f"installing {wheelhouse.name} into the image")
    place = Path(_WHEELHOUSE)
    make = [python, "-I", "-m", "venv", "--without-pip", f"/{PREFIX}"]
    interpreter = Path("/", PREFIX, "bin/python")

    def install(*options: str) -> None:
        command = pip_command(interpreter, *options, pip=place / "tools" / pip.name)
        _run_checked(root, wheelhouse, command)

    _run_checked(root, wheelhouse, make)
    install(*pip_options(place))
    kernels = fitting(
        wheelhouse, lambda *options: _run(root, wheelhouse, [str(interpreter), *options])
    )
    for each in kernels:
        install("--no-deps", "--no-compile", str(place / OPTIONAL / each.wheel.name))
        tell_installed(each)
    names = {canonicalize_name(name) for name in (*ours, *(each.package for each in kernels))}
    return _cut(root, names)


def _run_checked(root: Path, wheelhouse: Path, command: list[str]) -> None:
    result = _run(root, wheelhouse, command)
    if result.returncode == 0:
        return
    said = end_of(result.stdout + result.stderr)
    remedy = told_refusal(said, FULL)
    if remedy is not None:
        message = f"Installing into the image:\n{said}\n{remedy} and run the same command."
        raise StorageError(message)
    message = f"The wheelhouse {wheelhouse.name} could not be installed on the base:\n{said}"
    raise InstallError(message)


def _run(root: Path, wheelhouse: Path, command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a program of the base in it, without a network and with rights over the base alone."""
    find_sandbox()
    sandbox = [
        shutil.which(BUBBLEWRAP, path=SEARCH_PATH) or BUBBLEWRAP,
        "--unshare-all",
        "--unshare-user",
        *("--uid", "0", "--gid", "0", "--cap-drop", "ALL"),
        *("--die-with-parent", "--new-session"),
        *("--bind", str(root), "/", "--dev", "/dev", "--proc", "/proc"),
        *("--tmpfs", "/tmp", "--tmpfs", "/run"),
        *("--ro-bind", str(wheelhouse), _WHEELHOUSE, "--chdir", "/", "--"),
    ]
    return subprocess.run(
        [*sandbox, *command],
        env=BARE,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


def _python(root: Path) -> str:
    for name in _PYTHONS:
        if inside(root, name).is_file():
            return f"/{name}"
    message = (
        f"The base has no Python: none of {', '.join(_PYTHONS)} is there. Give another base, or "
        "leave --base out."
    )
    raise ImageError(message)


def _check_python(root: Path, python: str, wheelhouse: Path) -> None:
    """Check that the base's Python is of the release and the machine of the wheelhouse."""
    manifest = json.loads((wheelhouse / "manifest.json").read_text(encoding="utf-8"))
    wanted = [manifest["machine"], manifest["python"].split(".")[:2]]
    result = _run(root, wheelhouse, [python, "-I", "-c", _QUESTION])
    if result.returncode != 0:
        message = f"The Python of the base does not run here:\n{end_of(result.stderr)}"
        raise ImageError(message)
    found = json.loads(result.stdout)
    if found != wanted:
        message = (
            f"The base has Python {'.'.join(found[1])} for {found[0]}, and the wheels of "
            f"{wheelhouse.name} are for {'.'.join(wanted[1])} and {wanted[0]}. Give another base, "
            "or leave --base out."
        )
        raise ImageError(message)


def check_machine(architecture: str, machine: str, known: dict[str, str]) -> None:
    """Check that an image of an architecture can be made here from wheels for a machine.

    `known` maps machines to the architectures of images. Raises ImageError.
    """
    if known.get(machine) != architecture or platform.machine() != machine:
        message = (
            f"The base is for {architecture}, the wheels are for {machine}, and this machine is "
            f"{platform.machine()}. All three have to be the same, as the wheels are installed by "
            "the base's own Python."
        )
        raise ImageError(message)


def _cut(root: Path, ours: Collection[str]) -> Installed:
    prefix = root / PREFIX
    owned = {path for name in ours for path in _files_of(prefix, name)}
    cut = Installed(third_party={}, libraries={}, ours={})
    for path in sorted(_below(prefix)):
        name = path.relative_to(root).as_posix()
        if path not in owned:
            chosen = cut.third_party
        else:
            chosen = cut.libraries if _is_compiled(path) else cut.ours
        chosen[name] = entry_of(path)
    return cut


def _below(folder: Path) -> Iterator[Path]:
    """Yield the files and links below a folder, without byte-code."""
    for place, folders, files in os.walk(folder):
        folders[:] = [each for each in folders if each != "__pycache__"]
        links = [each for each in folders if (folder / place / each).is_symlink()]
        yield from (folder / place / each for each in (*files, *links))


def _files_of(prefix: Path, name: str) -> Iterator[Path]:
    """Yield the files that an installed distribution has, as its RECORD lists them."""
    for record in prefix.glob("lib/python*/site-packages/*.dist-info/RECORD"):
        if canonicalize_name(record.parent.name.partition("-")[0]) == name:
            packages = record.parents[1]
            with record.open(encoding="utf-8", newline="") as lines:
                for row in csv.reader(lines):
                    yield _flat(packages / row[0])


def _flat(path: Path) -> Path:
    """Return a path without `..`, no link followed."""
    return type(path)(os.path.normpath(path))


def _is_compiled(path: Path) -> bool:
    if path.is_symlink():
        return ".so" in path.name
    with path.open("rb") as stream:
        return stream.read(len(_ELF)) == _ELF
