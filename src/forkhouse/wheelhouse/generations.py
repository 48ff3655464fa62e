"""Keep installations of a wheelhouse side by side, and let one of them be current.

PREFIX/generations/1, PREFIX/generations/2, …   environments, each made whole or not at all
PREFIX/current                                  a link to one of them, replaced in one step
PREFIX/bin, lib, pyvenv.cfg                     links through `current`, so that PREFIX is an
environment as well
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import re
import shutil
import subprocess
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from packaging.requirements import Requirement

from forkhouse.core.digests import sha256_file
from forkhouse.core.environments import BARE
from forkhouse.core.errors import BusyError, InstallError, UsageError
from forkhouse.core.progress import report
from forkhouse.core.storage import storage_errors, sync_folder, write_atomic
from forkhouse.core.wording import end_of
from forkhouse.wheelhouse.verifying import CHECKSUMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

_FOLDER, _CURRENT, _RECORD = "generations", "current", "generation.json"
_LOCK = ".generations.lock"
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
_THROUGH = ("bin", "lib", "pyvenv.cfg")
# The package of the distribution's own name, or else all: some bring modules beside it that need
# hardware.
_SELF_TEST = """
import importlib, importlib.metadata as metadata, sys
for name in sys.argv[1:]:
    tops = {
        file.parts[0].removesuffix(".py")
        for file in metadata.files(name) or ()
        if file.suffix == ".py" and file.parts[0].removesuffix(".py").isidentifier()
    }
    own = name.replace("-", "_")
    for top in [own] if own in tops else sorted(tops):
        importlib.import_module(top)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Generation:
    """An installation that is whole."""

    number: int
    profile: str
    sums: str
    """sha256 of the SHA256SUMS of the wheelhouse that it was installed from."""
    installed: str
    """When, in UTC (ISO 8601)."""
    current: bool = False


def is_prefix(folder: Path) -> bool:
    """Return whether installations lie side by side in a folder."""
    return (folder / _FOLDER).is_dir()


def list_generations(prefix: Path) -> list[Generation]:
    """Return the installations at a prefix that are whole, the oldest first.

    One whose record cannot be read is said to be there. Raises UsageError where there are none.
    """
    if not is_prefix(prefix):
        message = f"{prefix} holds no installations of Forkhouse. `install --into` makes one."
        raise UsageError(message)
    current = _current(prefix)
    found = []
    for number, folder in sorted(_numbered(prefix).items()):
        if (folder / _RECORD).is_file():
            try:
                found.append(_read(folder / _RECORD, number, current=number == current))
            except (ValueError, TypeError, KeyError, OSError) as error:
                why = f"{_RECORD} of installation {number} cannot be read, so it is left out"
                report().line("generations", f"{why}: {error}")
    return found


def where_current_leads(prefix: Path) -> str:
    """Return where the link to the current installation leads; empty where there is no link."""
    try:
        return str((prefix / _CURRENT).readlink())
    except OSError:
        return ""


def _read(record: Path, number: int, *, current: bool) -> Generation:
    """Return the installation of a record. Raises ValueError, TypeError, KeyError, OSError."""
    value = json.loads(record.read_text(encoding="utf-8"))
    if value["number"] != number:
        message = f"it is one of installation {value['number']}"
        raise ValueError(message)
    texts = {name: value[name] for name in ("profile", "sums", "installed")}
    if not all(isinstance(each, str) for each in texts.values()):
        message = "it holds other than texts"
        raise TypeError(message)
    return Generation(number=number, **texts, current=current)


def _numbered(prefix: Path) -> dict[int, Path]:
    """Return the folders of installations by their numbers, whole or not.

    What has another name was put there by somebody else, and is left alone.
    """
    return {
        int(path.name): path
        for path in (prefix / _FOLDER).iterdir()
        if _NUMBER.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
    }


def _current(prefix: Path) -> int | None:
    folder, _, name = where_current_leads(prefix).rpartition("/")
    return int(name) if folder == _FOLDER and _NUMBER.fullmatch(name) else None


def add_generation(
    prefix: Path,
    wheelhouse: Path,
    *,
    profile: str,
    install: Sequence[str],
    make: Callable[[Path], None],
) -> Generation:
    """Make another installation with `make`, test it, and let it be current.

    The test imports the packages of the requirements `install`. After a failure the one before is
    current, and nothing of the new one is left. Raises InstallError, BusyError, StorageError, and
    UsageError where something else has the place of a link.
    """
    with storage_errors(f"Making {prefix.name}"):
        (prefix / _FOLDER).mkdir(parents=True, exist_ok=True)
    with _held(prefix):
        _require_links(prefix)
        before = _current(prefix)
        # Never a number that was given: a killed run's pip may still write there.
        number = max([*_numbered(prefix), before or 0], default=0) + 1
        _drop_unfinished(prefix)
        folder = prefix / _FOLDER / str(number)
        try:
            make(folder)
            _test(folder, install, before)
            generation = Generation(
                number=number,
                profile=profile,
                sums=sha256_file(wheelhouse / CHECKSUMS),
                installed=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            )
            value = {key: each for key, each in asdict(generation).items() if key != "current"}
            write_atomic(folder / _RECORD, json.dumps(value, indent=1).encode() + b"\n")
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            _remove_if_bare(prefix)
            raise
        _switch(prefix, number)
    return generation


def _remove_if_bare(prefix: Path) -> None:
    """Remove a prefix, which this process holds, where it has no installation and nothing else."""
    with contextlib.suppress(OSError):  # it has
        (prefix / _FOLDER).rmdir()
        (prefix / _LOCK).unlink()
        prefix.rmdir()


def roll_back(prefix: Path, number: int | None) -> Generation:
    """Let an installation be current: the one before the current one, or a number.

    Raises UsageError where there is no such one, BusyError, StorageError.
    """
    with _held(prefix):
        found = list_generations(prefix)
        _require_links(prefix)
        current = _current(prefix)
        older = [each for each in found if current is None or each.number < current]
        fitting = older if number is None else [each for each in found if each.number == number]
        if not fitting:
            wanted = "before the current one" if number is None else f"with the number {number}"
            there = ", ".join(str(each.number) for each in found) or "none"
            message = f"{prefix} has no installation {wanted}. There are: {there}."
            raise UsageError(message)
        _switch(prefix, fitting[-1].number)
        return fitting[-1]


def prune(prefix: Path, keep: int) -> list[Generation]:
    """Remove all but the newest `keep` installations and the current one; return the removed.

    Raises UsageError, BusyError, StorageError.
    """
    with _held(prefix):
        _drop_unfinished(prefix)
        found = list_generations(prefix)
        # No negative end: fewer than `keep` would lose the oldest of them.
        old = found[: max(0, len(found) - keep)]
        removed = [each for each in old if not each.current]
        with storage_errors(f"Removing installations of {prefix.name}"):
            for each in removed:
                # First what tells that it is whole.
                folder = prefix / _FOLDER / str(each.number)
                (folder / _RECORD).unlink()
                shutil.rmtree(folder)
        return removed


@contextlib.contextmanager
def _held(prefix: Path) -> Iterator[None]:
    """Hold a prefix, until the block or this process ends. Raises BusyError, UsageError."""
    if not is_prefix(prefix):
        list_generations(prefix)  # raises
    with (prefix / _LOCK).open("a", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = f"Another run works on {prefix}. Wait until it has ended, and run this again."
            raise BusyError(message) from error
        yield


def _drop_unfinished(prefix: Path) -> None:
    """Remove what a run left that was killed."""
    current = _current(prefix)
    for number, folder in sorted(_numbered(prefix).items()):
        if number != current and not (folder / _RECORD).is_file():
            report().line("install", f"removing {folder.name}, which is not whole")
            shutil.rmtree(folder, ignore_errors=True)


def _require_links(prefix: Path) -> None:
    """Raise UsageError where something else lies where our links are, before anything is made."""
    for name in (_CURRENT, *_THROUGH):
        path, wanted = prefix / name, f"{_CURRENT}/{name}"
        if path.is_symlink() and (name == _CURRENT or str(path.readlink()) == wanted):
            continue
        if path.is_symlink() or path.exists():
            what = f"leads to {path.readlink()}" if path.is_symlink() else "is no link"
            message = (
                f"{path} {what}, and has to be a link of ours"
                f"{'' if name == _CURRENT else f' to {wanted}'}. Move it away and run this again."
            )
            raise UsageError(message)


def _test(folder: Path, install: Sequence[str], before: int | None) -> None:
    """Import what was installed. Raises InstallError with Python's own words."""
    names = [Requirement(each).name for each in install]
    result = subprocess.run(
        [folder / "bin/python", "-I", "-c", _SELF_TEST, *names],
        env=BARE,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if result.returncode != 0:
        stays = f"Installation {before} stays current" if before else "Nothing was left"
        message = (
            f"What was installed cannot be imported:\n{end_of(result.stderr)}\n{stays}. Look at "
            "what this machine lacks."
        )
        raise InstallError(message)


def _switch(prefix: Path, number: int) -> None:
    """Let a number be current: one rename."""
    with storage_errors(f"Changing {prefix.name}"):
        _link(prefix, _CURRENT, f"{_FOLDER}/{number}")
        for name in _THROUGH:
            if not (prefix / name).is_symlink():
                _link(prefix, name, f"{_CURRENT}/{name}")
        sync_folder(prefix)


def _link(prefix: Path, name: str, target: str) -> None:
    new = prefix / f".{name}.new"
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(prefix / name)
