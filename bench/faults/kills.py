"""Kill runs by SIGKILL at random instants, or cut their power.

SIGKILL hits the process, its group, or one process below it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import psutil

from bench.faults.site import EXPLAINED, PATIENCE, Outcome, end_fault, house_fault
from forkhouse.sandbox.lives import boot

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from bench.faults.site import Site
    from tests.flow.conftest import Checkout

TARGETS = ("the process", "its group", "a process below it")
SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void noted(int fd) {
  const char *path = getenv("FAULTS_LOG");
  struct stat s;
  if (!path || fstat(fd, &s)) return;
  char line[128];
  int length = snprintf(line, sizeof line, "%lu %lu %ld %ld%09ld\n", (unsigned long)s.st_dev,
                        (unsigned long)s.st_ino, (long)s.st_size, (long)s.st_mtim.tv_sec,
                        s.st_mtim.tv_nsec);
  int log = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (log < 0) return;
  if (write(log, line, length) != length) abort();
  close(log);
}

int fsync(int fd) {
  int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
  int result = real(fd);
  if (!result) noted(fd);
  return result;
}

int fdatasync(int fd) {
  int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");
  int result = real(fd);
  if (!result) noted(fd);
  return result;
}
"""
"""Notes each file that was made durable, as it was then."""


def kill(site: Site, folder: Path, chance: random.Random) -> Outcome:
    """Kill one run or two at random instants, then let one end."""
    checkout = site.copy(folder)
    done = []
    fault = ""
    for _ in range(chance.choice((1, 1, 2))):
        target = chance.choice(TARGETS)
        share = chance.random()
        done.append(f"{target} at {share:.2f}")
        fault = (
            fault
            or _killed(checkout, target, share * site.seconds, chance)
            or house_fault(checkout)
        )
    fault = fault or end_fault(site, checkout)
    return Outcome(
        kind=f"SIGKILL of {target}", held=not fault, what=f"{', then '.join(done)}: {fault}"
    )


def _killed(checkout: Checkout, target: str, seconds: float, chance: random.Random) -> str:
    with begin(checkout, {}) as running:
        time.sleep(seconds)
        below = (
            psutil.Process(running.pid).children(recursive=True) if running.poll() is None else []
        )
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            if target == "its group":
                os.killpg(running.pid, signal.SIGKILL)
            elif target == "a process below it" and below:
                chance.choice(below).kill()
            else:
                running.kill()
        said = running.communicate(timeout=PATIENCE)[1].decode("utf-8", "replace")
    ended = running.returncode
    if ended != -signal.SIGKILL and (ended not in EXPLAINED or "\nTraceback" in said):
        return f"exit code {ended}: {said[-400:]}"
    return ""


def begin(checkout: Checkout, variables: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a build in a group of its own."""
    return subprocess.Popen(
        checkout.command("build"),
        env={**checkout.environment(), **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def shim(folder: Path) -> Path:
    """Compile the library that records which files were made durable."""
    source, library = folder / "shim.c", folder / "shim.so"
    source.write_text(SHIM, encoding="utf-8")
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True
    )
    return library


def cut(site: Site, folder: Path, chance: random.Random) -> Outcome:
    """Cut the power of a run at a random instant, then let one end.

    What was written and not made durable is lost in part or whole, as file systems that keep the
    order of names alone may do: a file is empty, ends early, holds zeros, is not there, or is
    whole.
    """
    checkout = site.copy(folder)
    log = folder / "durable"
    share = chance.random()
    with begin(checkout, {"LD_PRELOAD": str(shim(folder)), "FAULTS_LOG": str(log)}) as running:
        time.sleep(share * site.seconds * 1.2)
        below = (
            psutil.Process(running.pid).children(recursive=True) if running.poll() is None else []
        )
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.communicate(timeout=PATIENCE)
        psutil.wait_procs(below, timeout=30)
    lost = _lose(checkout, _durable(log), chance)
    fault = house_fault(checkout) or end_fault(site, checkout)
    return Outcome(
        kind="power cut", held=not fault, what=f"at {share:.2f}, {lost} files lost: {fault}"
    )


def _durable(log: Path) -> set[tuple[int, ...]]:
    if not log.exists():
        return set()
    return {tuple(map(int, line.split())) for line in log.read_text(encoding="ascii").splitlines()}


def _lose(checkout: Checkout, durable: set[tuple[int, ...]], chance: random.Random) -> int:
    """Take away what was not made durable; another start of the machine has another name."""
    lost = 0
    for place in (checkout.root / "build", checkout.root / "wheels", checkout.cache):
        for path in sorted(place.rglob("*")) if place.exists() else ():
            if path.is_symlink() or not path.is_file():
                continue
            status = path.stat()
            if (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns) in durable:
                continue
            lost += _damage(path, chance)
    for note in [
        *(checkout.root / "build").rglob("*.life"),
        *(checkout.root / "build").rglob("*.laid"),
    ]:
        note.write_bytes(note.read_bytes().replace(boot().encode(), b"another-start"))
    return lost


def _damage(path: Path, chance: random.Random) -> int:
    """Leave of a file what a power cut may leave, and return 1 where that is not all of it."""
    content = path.read_bytes()
    left = chance.choice(("whole", "whole", "nothing", "a part", "zeros", "no file"))
    path.chmod(0o644)
    match left:
        case "nothing":
            path.write_bytes(b"")
        case "a part":
            path.write_bytes(content[: chance.randrange(len(content) + 1)])
        case "zeros":
            path.write_bytes(bytes(len(content)))
        case "no file":
            path.unlink()
        case _:
            return 0
    return 1
