"""Define what a build may see.

That is pinned build tools, allow-listed variables, and the sandbox in which it runs.
"""

from __future__ import annotations

import mmap
import os
import re
import shlex
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from forkhouse.core.digests import digest, state_of
from forkhouse.core.environments import install_wheels, make_environment
from forkhouse.core.errors import BuildError, InstallError, StorageError
from forkhouse.core.progress import report
from forkhouse.core.storage import (
    FULL,
    discard,
    read_file,
    storage_errors,
    told_refusal,
    write_atomic,
)
from forkhouse.sandbox.bubblewrap import Sandbox, View, find_sandbox, interpreter_homes
from forkhouse.sandbox.run import Confined
from forkhouse.sources.wheels import fetch_all
from forkhouse.toolchains.packages import SEARCH_PATH
from forkhouse.toolchains.rocm import Rocm, find_rocm

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from forkhouse.documents.pins import PinnedWheel
    from forkhouse.sources.index import Registry
    from forkhouse.toolchains.hip import HipToolchain


_COMPILED = ("C", "CXX", "HIP")
"""CMake's languages that a compiler cache knows."""
_SYSTEM, _LOCAL = Path("/usr"), Path("/usr/local")


@dataclass(frozen=True, kw_only=True, slots=True)
class Needs:
    """What a build needs of its environment besides the build tools."""

    rocm: bool = False
    """A ROCm whose headers and libraries are compiled against."""
    hip: bool = False
    """A HIP toolchain that compiles for the GPU targets."""
    wheels: tuple[PinnedWheel, ...] = ()
    gigabytes_per_job: float = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildEnvironment:
    """A virtual environment of pinned build tools, with the compilers of this machine.

    The environment is made when it is first needed.
    """

    tools: tuple[PinnedWheel, ...]
    registry: Registry
    folder: Path
    """Where environments are kept, by content."""
    hip: Callable[[], HipToolchain]
    """Finds the HIP toolchain; asked only by builds that need one."""
    targets: tuple[str, ...]
    """GPU targets."""
    rocm: Callable[[], Rocm] = find_rocm
    """Finds the ROCm to compile against; asked only by builds that need one."""
    caches: Path | None = None
    """Where the compiler cache of each build lies, in a folder that no other build sees.

    None for none.
    """
    sandbox: Sandbox = field(default_factory=find_sandbox)
    _whole: set[Path] = field(default_factory=set, init=False, repr=False, compare=False)
    """Environments that were found whole in this run."""

    def identity(self, needs: Needs) -> dict[str, object]:
        """Return what of the environment decides a build's outcome, for its cache key."""
        return {
            "python": sys.version,
            "tools": [wheel.sha256 for wheel in (*self.tools, *needs.wheels)],
            "path": SEARCH_PATH,
            "rocm": self.rocm().identity if needs.rocm else None,
            "hip": [self.hip().identity, self.targets] if needs.hip else None,
            "sandbox": self.sandbox.kind,
        }

    def python(self, needs: Needs) -> Path:
        """Return the interpreter of the environment.

        Makes the environment from the pinned wheels alone when it is not there yet.
        """
        wheels = (*self.tools, *(wheel for wheel in needs.wheels if wheel not in self.tools))
        folder = self.folder / digest(sys.version, [wheel.sha256 for wheel in wheels])[:16]
        interpreter = folder / "bin/python"
        if self._is_whole(folder):
            return interpreter
        with storage_errors("Making an environment anew"):
            discard(folder)
        paths = fetch_all(wheels, self.registry)
        make_environment(folder)
        try:
            install_wheels(
                interpreter, "--no-deps", *map(str, paths), wheels=[wheel.file for wheel in wheels]
            )
        except InstallError as error:
            message = f"The build tools could not be installed:\n{error}"
            raise BuildError(message) from error
        write_atomic(_ready(folder), _content(folder).encode())
        self._whole.add(folder)
        return interpreter

    def _is_whole(self, folder: Path) -> bool:
        """Return whether an environment has all that was installed in it, as it was installed.

        Read once in a run. What was installed was not made durable, so a power cut may have emptied
        files of it, and a build would do without them.
        """
        if folder in self._whole:
            return True
        try:
            told = read_file(_ready(folder)).decode()
            whole = told == _content(folder)
        except (OSError, UnicodeDecodeError):
            return False
        if whole:
            self._whole.add(folder)
        else:
            report().line("build tools", "their environment is damaged, so it is made anew")
        return whole

    def confined(self, work: Path, needs: Needs, *shown: Path) -> Confined:
        """Return the sandbox of a build in the folder `work`.

        The build can read its tools and what else is `shown`.
        """
        readable = {*interpreter_homes(), self.python(needs).parent.parent, *shown}
        if needs.rocm:
            readable |= _with_targets(self.rocm().root)
        if needs.hip:
            toolchain = self.hip()
            readable |= {*_with_targets(toolchain.root), *_with_targets(toolchain.compiler.parent)}
        writable = tuple(folder for folder in [self._compiler_cache(work)] if folder is not None)
        for folder in writable:
            folder.mkdir(parents=True, exist_ok=True)
        outside = tuple(
            path
            for path in sorted(readable)
            if path != _SYSTEM and (not path.is_relative_to(_SYSTEM) or path.is_relative_to(_LOCAL))
        )
        return Confined(
            sandbox=self.sandbox, view=View(work=work, readable=outside, writable=writable)
        )

    def _compiler_cache(self, work: Path) -> Path | None:
        """Return the folder of a build's compiler cache.

        Its own, so that no other build can lay objects in it; None where there is no cache.
        """
        return (
            self.caches / work.name
            if self.caches is not None and shutil.which("ccache", path=SEARCH_PATH)
            else None
        )

    def variables(self, *, epoch: int, work: Path, needs: Needs) -> dict[str, str]:
        """Return the whole environment of a build command in the folder `work`.

        Nothing of the user's is in it.
        """
        home = work / "home"
        cache = self._compiler_cache(work)
        variables = {
            "PATH": f"{self.python(needs).parent}:{SEARCH_PATH}",
            "HOME": str(home),
            "TMPDIR": str(home),
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "SOURCE_DATE_EPOCH": str(max(epoch, 315532800)),
            "PYTHONHASHSEED": "0",
            "CMAKE_BUILD_PARALLEL_LEVEL": str(jobs(needs.gigabytes_per_job)),
            # Without these, build systems fall back to /usr/local/cuda, and hipcc to NVIDIA's side
            # where there is an nvcc.
            "CUDA_HOME": "/nonexistent",
            "CUDA_PATH": "/nonexistent",
            "HIP_PLATFORM": "amd",
            **(
                {}
                if cache is None
                else {
                    "CCACHE_DIR": str(cache),
                    **{f"CMAKE_{each}_COMPILER_LAUNCHER": "ccache" for each in _COMPILED},
                }
            ),
        }
        if needs.rocm:
            rocm = self.rocm()
            variables["ROCM_PATH"] = str(rocm.root)
            # Its libraries stand for those of the target. What they need themselves, of a newer C
            # library perhaps, is the target's, too.
            variables |= {"LDFLAGS": "-Wl,--allow-shlib-undefined"} if rocm.foreign else {}
        if needs.hip:
            toolchain = self.hip()
            variables |= {
                "ROCM_PATH": str(toolchain.root),
                "HIPCXX": str(toolchain.compiler),
                "HIPFLAGS": shlex.join(toolchain.flags),
                "PYTORCH_ROCM_ARCH": ";".join(self.targets),
            }
        return variables


def _ready(folder: Path) -> Path:
    """Return the path of the note that an environment was made, and of what it consists."""
    return folder.with_name(f"{folder.name}.ready")


def _content(folder: Path) -> str:
    """Return one digest over all that an environment consists of, byte-code among it."""
    found = sorted(
        (path.relative_to(folder).as_posix(), state_of(path)) for path in folder.rglob("*")
    )
    return digest([each for each in found if each[1]])


def jobs(gigabytes_each: float) -> int:
    """Return how many compilers may run at once.

    One a core, and no more than the free memory holds.
    """
    room = int(psutil.virtual_memory().available / (gigabytes_each * 2**30))
    return max(1, min(len(os.sched_getaffinity(0)), room))


def _with_targets(path: Path) -> set[Path]:
    """Return a path and the target of its link: files in it may name either."""
    return {path, path.resolve()}


class Steps:
    """Reads in a build's output how far it is.

    By the steps of Ninja, or by the lines of compilers that make starts.

    Where one Ninja starts another, the one with the most steps counts. One whose steps are those of
    a whole project (CMake's ExternalProject), of which one is all of its `make`, tells nothing:
    then the compilers' own lines count, held against how many of them the project says that it has,
    or the same build had last time. As long as nobody knows, there is no share.
    """

    _STEP = re.compile(rb"^\[(\d+)/(\d+)\] ", re.MULTILINE)
    _QUIET = re.compile(rb"^ *(?:CC|CXX|CCLD|CXXLD|HIPCC|F77|FC) +\S+$", re.MULTILINE)
    _COMPILER = re.compile(rb"\b(?:gcc|g\+\+|cc|c\+\+|clang|clang\+\+|hipcc)\b")
    _WHOLE = re.compile(rb"^\[\d+/\d+\] (?:Performing|No|Skipping) \w+ step\b", re.MULTILINE)
    _TO_COME = re.compile(rb"^-- (\d+) lines of compilers to come$", re.MULTILINE)
    """What a project says that counts them before it starts them."""
    FEW = 50
    """Ninja's steps below which compilers' lines are believed instead, where there are more of
    them."""
    LONGEST = 1 << 16
    """Bytes of a line that are looked at.

    A build may print a line without end, or one made to be looked at for hours.
    """

    def __init__(self, last: int | None = None) -> None:
        """Begin at nothing.

        `last` is how many lines of compilers the last such build had, None where there was none.
        """
        self._last = last
        self._whole = False
        """Whether a step may be a whole `make`."""
        self._total = 0
        self._steps = 0.0
        self._done = 0.0
        self._rest = b""
        self.compiled = 0
        """Lines of compilers so far."""

    def gained(self, output: bytes) -> float:
        """Return the share of the build (1 is all of it) that a piece of output adds.

        Less than nothing when a bigger Ninja begins.
        """
        *whole, rest = (self._rest + output).split(b"\n")
        self._rest = rest[: self.LONGEST]
        text = b"\n".join(whole)
        for step, of in ((int(step), int(of)) for step, of in self._STEP.findall(text)):
            if of >= self._total:
                self._total, self._steps = of, step / of
        self._whole = self._whole or self._WHOLE.search(text) is not None
        for told in self._TO_COME.finditer(text):
            self._last = self.compiled + self._compilers(text[: told.start()]) + int(told[1])
        self.compiled += self._compilers(text)
        old = self._done
        if self._last and self._total < self.FEW and (self._whole or self._last > self._total):
            self._done = max(old, min(self.compiled / self._last, 0.99))
        elif self._total >= self.FEW or not (self.compiled or self._whole):
            self._done = self._steps
        else:  # steps that hide a whole make, for the first time
            self._done = 0.0
        return self._done - old

    def _compilers(self, text: bytes) -> int:
        """Return how many lines start a compiler. The time is that of reading the text once."""
        quiet = len(self._QUIET.findall(text))
        if b" -c " not in text:
            return quiet
        befores = (line.rpartition(b" -c ")[0] for line in text.split(b"\n"))
        return quiet + sum(self._COMPILER.search(before) is not None for before in befores)


_WIDE, _FROM_FAILURE, _FROM_END = 400, 15, 25


def telling(lines: list[str]) -> list[str]:
    """Return the lines of a build's log that say what failed.

    Its last ones, and before them the first step that Ninja says failed.

    Other compilers go on for a while and write over what matters. Where there is no Ninja, the
    first error of rustc stands for that step.
    """
    begun = max(0, len(lines) - _FROM_END)
    failures = (
        number
        for mark in ("FAILED: ", ("error[E", "error: "))
        for number, line in enumerate(lines)
        if line.startswith(mark)
    )
    failed = next(failures, begun)
    shown = [
        *lines[failed : min(failed + _FROM_FAILURE, begun)],
        *(["…"] if failed + _FROM_FAILURE < begun else []),
        *lines[begun:],
    ]
    return [line if len(line) <= _WIDE else f"{line[:_WIDE]}…" for line in shown]


def _counted(path: Path) -> int | None:
    try:
        return int(read_file(path))
    except (OSError, ValueError):
        return None


def run_isolated(
    command: list[str], *, confined: Confined, folder: Path, variables: Mapping[str, str], log: Path
) -> None:
    """Run a build command in its sandbox, in `folder`, a path that is seen there.

    Its output goes to `log`.

    Raises BuildError with the command, its last lines and the log's path when it fails,
    StorageError where it tells of a full disk.
    """
    count = log.with_suffix(".count")
    steps = Steps(_counted(count))
    with log.open("ab") as stream, report().task(f"build {log.stem}", total=1) as task:

        def output(piece: bytes) -> None:
            with storage_errors(f"Writing {log.name}"):
                stream.write(piece)
                stream.flush()
            task.advance(steps.gained(piece))

        try:
            code = confined.run(command, folder=folder, variables=variables, output=output)
        except BuildError as error:
            message = f"`{' '.join(command)}`: {error}\n{_log_end(log)}"
            raise BuildError(message) from error
    if code == 0 and steps.compiled:
        # Beside the log, which every build of the recipe writes anew: how long it is this time is
        # what the next one goes by.
        write_atomic(count, f"{steps.compiled}\n".encode())
    if code != 0:
        end = _log_end(log)
        message = f"`{' '.join(command)}` ended with exit code {code}. {end}"
        # Read-only is what the sandbox shows a build: to write there is a fault of the build.
        remedy = told_refusal(end, FULL)
        if remedy is not None:
            full = (
                f"{message}\nThe wheelhouse is as it was. {remedy} and run the same command again."
            )
            raise StorageError(full)
        raise BuildError(message)


_TAIL, _FAILURE = 1 << 20, 1 << 16
_FIRST = (re.compile(rb"^FAILED: ", re.MULTILINE), re.compile(rb"^error(?:\[E|: )", re.MULTILINE))


def last_lines(log: Path) -> list[str]:
    """Return the lines of a log that `telling` may show.

    Of a long one these are its end, and the first failure before that: a build may print more than
    the memory holds.
    """
    with log.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        shown = b""
        if size > _TAIL:
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as whole:
                found = next(filter(None, (each.search(whole) for each in _FIRST)), None)
                begun = size - _TAIL if found is None else min(found.start(), size - _TAIL)
                shown = whole[begun : min(begun + _FAILURE, size - _TAIL)]
                del found  # it holds the map
        stream.seek(-min(size, _TAIL), os.SEEK_END)
        end = stream.read()
    lines = shown.decode("utf-8", "replace").splitlines()[: _FROM_FAILURE + 1]
    return [*lines, *end.decode("utf-8", "replace").splitlines()]


def _log_end(log: Path) -> str:
    tail = "\n".join(f"  {line}" for line in telling(last_lines(log)))
    return f"Its last lines:\n{tail}\nThe whole log: {log}"
