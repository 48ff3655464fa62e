"""Build a peer's program from its pinned source, and record its calls in its own test suite."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from forkhouse.conformance.peers import PeersError, capture
from forkhouse.conformance.peers.calls import Captured
from forkhouse.conformance.run import WITH_US, ending_all
from forkhouse.core.digests import digest, sha256_file
from forkhouse.core.progress import report
from forkhouse.core.tars import tarfile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BUILD_SECONDS = 3600
SCRIPT_SECONDS = 900
"""Seconds after which a script is killed; its calls until then count."""
_MARK = "whole"


@dataclass(frozen=True, kw_only=True, slots=True)
class PeerProgram:
    """How a peer's program is built, and how its scripts are run.

    `{source}` and `{scratch}` stand for two folders.
    """

    name: str
    """The program that the scripts call."""
    tools: tuple[str, ...]
    """What the machine needs to build it and to run its suite."""
    commands: tuple[tuple[str, ...], ...]
    """What builds it, in the folder of its source."""
    binary: str
    """What the scripts run, in the source; the stand-in takes its place."""
    interpreter: str
    arguments: tuple[str, ...] = ()
    """What a script is given."""
    variables: tuple[tuple[str, str], ...] = ()
    """What a script needs beside a bare environment."""


PROGRAMS: Mapping[str, PeerProgram] = {
    "git": PeerProgram(
        name="git",
        tools=("make", "cc", "perl"),
        commands=(
            (
                # No part that needs a library of the machine other than zlib.
                *(
                    "make",
                    "--silent",
                    f"-j{os.cpu_count() or 1}",
                    "CFLAGS=-O0",
                    "NO_CURL=1",
                    "NO_EXPAT=1",
                    "NO_GETTEXT=1",
                ),
                *("NO_OPENSSL=1", "NO_PYTHON=1", "NO_TCLTK=1", "all"),
            ),
        ),
        binary="bin-wrappers/git",
        interpreter="sh",
        arguments=("--root={scratch}",),
    ),
    "gnu-patch": PeerProgram(
        name="patch",
        tools=("make", "cc", "bash", "ed"),
        commands=(
            ("./configure", "--quiet", "CFLAGS=-O0"),
            ("make", "--silent", "-C", "lib"),
            ("make", "--silent", "-C", "src"),
        ),
        binary="src/patch",
        interpreter="bash",
        variables=(("abs_top_builddir", "{source}"), ("srcdir", "."), ("TMPDIR", "{scratch}")),
    ),
}


def captured(suite: str, archive: Path, parts: Sequence[str], folder: Path) -> list[Captured]:
    """Return the notes of a suite's scripts.

    They are made once for a source and kept below `folder`.

    Raises PeersError when the program cannot be built, or a pattern of `parts` means no script that
    calls it.
    """
    program = PROGRAMS[suite]
    ours = [sha256_file(Path(file)) for file in (__file__, capture.__file__)]
    place = folder / suite / digest(sha256_file(archive), list(parts), *ours, sys.executable)[:16]
    if not (place / _MARK).is_file():
        shutil.rmtree(folder / suite, ignore_errors=True)
        (place / "logs").mkdir(parents=True)
        with ending_all():
            source = _unpack(archive, place / "source")
            _build(program, source, place)
            _run(program, source, parts, place)
        (place / _MARK).touch()
    notes = [Captured(folder=each) for each in sorted((place / "calls").iterdir())]
    silent = [
        part
        for part in parts
        if not any(fnmatchcase(each.name, Path(part).name) and each.count() for each in notes)
    ]
    if silent:
        message = (
            f"No script of {', '.join(silent)} called {program.name}. The logs are in "
            f"{place / 'logs'}; remove {place} to run anew."
        )
        raise PeersError(message)
    return notes


def _unpack(archive: Path, folder: Path) -> Path:
    """Unpack a source tarball and return its one top folder.

    The files keep their times, because make compares those.
    """
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    tops = list(folder.iterdir())
    if len(tops) != 1:
        message = f"{archive.name} has {len(tops)} top folders, and a source tarball has one."
        raise PeersError(message)
    return tops[0]


def _build(program: PeerProgram, source: Path, place: Path) -> None:
    missing = [tool for tool in program.tools if shutil.which(tool) is None]
    if missing:
        message = (
            f"To build {program.name} and run its tests this machine lacks {', '.join(missing)}. "
            "Install them."
        )
        raise PeersError(message)
    report().line(program.name, f"building it for its tests, in {place}")
    for command in program.commands:
        with (place / "logs/build.log").open("ab") as log:
            ended = _ended(
                [*WITH_US, *command],
                source,
                _environment(place),
                log.fileno(),
                seconds=BUILD_SECONDS,
            )
        if ended != 0:
            message = (
                f"`{' '.join(command)}` ended with {ended}; its log is {place / 'logs/build.log'}."
            )
            raise PeersError(message)
    binary = source / program.binary
    if not binary.is_file():
        message = (
            f"The build of {program.name} left no {program.binary}; its log is "
            f"{place / 'logs/build.log'}."
        )
        raise PeersError(message)
    real = binary.with_name(f"{binary.name}.real")
    binary.rename(real)
    binary.write_text(capture.wrapper(program.name, real), encoding="utf-8")
    binary.chmod(0o755)


def _run(program: PeerProgram, source: Path, parts: Sequence[str], place: Path) -> None:
    scripts = sorted({path for part in parts for path in source.glob(part) if path.is_file()})
    scratch = place / "scratch"
    scratch.mkdir()
    folders = {"source": str(source), "scratch": str(scratch)}
    with report().task(f"tests of {program.name}", total=len(scripts)) as task:
        for script in scripts:
            calls = place / "calls" / script.name
            calls.mkdir(parents=True)
            own = {name: value.format(**folders) for name, value in program.variables}
            environment = {
                **_environment(place),
                **own,
                capture.VARIABLE: str(calls),
                capture.BELOW: str(place),
            }
            command = [
                *WITH_US,
                program.interpreter,
                f"./{script.name}",
                *(word.format(**folders) for word in program.arguments),
            ]
            with (place / f"logs/{script.name}.log").open("wb") as log:
                # Whether a peer's own test passes is the peer's concern: what it called is ours.
                _ended(command, script.parent, environment, log.fileno(), seconds=SCRIPT_SECONDS)
            task.advance(1)
    shutil.rmtree(scratch, ignore_errors=True)


def _environment(place: Path) -> dict[str, str]:
    """Return all the variables that a build or a script sees: nothing of the user's."""
    home = place / "home"
    home.mkdir(exist_ok=True)
    return {"PATH": "/usr/bin:/bin", "HOME": str(home), "LC_ALL": "C.UTF-8"}


def _ended(
    command: list[str], folder: Path, environment: Mapping[str, str], log: int, *, seconds: float
) -> int | None:
    """Run a command and return its exit code, None when it took too long."""
    try:
        ended = subprocess.run(
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    return ended.returncode
