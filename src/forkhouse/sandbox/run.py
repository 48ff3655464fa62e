"""Run one command in a sandbox.

It begins after its life was noted, and nothing of it is alive when the call returns, however that
ends.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import selectors
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil

from forkhouse.core.errors import BuildError
from forkhouse.core.processes import end, members
from forkhouse.sandbox.bubblewrap import PASSWD, shown
from forkhouse.sandbox.limits import BuildLimits, shared_memory
from forkhouse.sandbox.lives import Life, end_earlier, note
from forkhouse.sandbox.seccomp import program

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from forkhouse.sandbox.bubblewrap import Sandbox, View

_GATE = ("/bin/sh", "-c", 'read -r go && unset PWD OLDPWD && exec "$@" </dev/null', "sh")
"""Begins the command when it is told to, and ends without it when whoever should tell is gone.

Nobody would know of it.

The shell and bubblewrap set variables of the current folder, which are not among the build's.
"""
_LOOK_SECONDS = 1.0
_CHUNK = 1 << 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Confined:
    """A sandbox and what is seen in it: all that it takes to run the commands of one build."""

    sandbox: Sandbox
    view: View
    limits: BuildLimits = field(default_factory=BuildLimits)

    def run(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        variables: Mapping[str, str],
        output: Callable[[bytes], None],
    ) -> int:
        """Run a command in `folder`, a path that the view shows, with exactly `variables`.

        Return its exit code.

        What it prints goes to `output`, piece by piece. Raises BuildError when it is over a limit,
        StorageError, and what `output` raises.
        """
        end_earlier(self.view.work)
        shared = shared_memory()
        view = shown(command, self.view)
        with contextlib.ExitStack() as held:
            seccomp, accounts = (_filled(held, content) for content in (program(), PASSWD))
            told, info = _pipe(held)
            confined = self.sandbox.arguments(
                view, folder, seccomp=seccomp, accounts=accounts, info=info
            )
            process = subprocess.Popen(
                self.limits.command([*confined, *_GATE, *command]),
                # The sandbox sees the variables from its beginning, so none of ours is in its
                # /proc.
                env=dict(variables),
                cwd="/" if self.sandbox.kind == "bubblewrap" else folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(seccomp, accounts, info),
                start_new_session=True,
            )
            os.close(info)
            life = None
            try:
                life = self._begun(process, told)
                if life is not None:
                    note(view.work, life)
                    _open(process)
                self._read(process, life, shared, output)
                return process.wait()
            finally:
                _end(process, life, alone=self.sandbox.kind == "none")

    def _begun(self, process: subprocess.Popen[bytes], told: int) -> Life | None:
        """Return the life of a command that waits at its gate.

        None when its sandbox could not be made, which its output tells.
        """
        if self.sandbox.kind == "none":
            return Life.of(process.pid)
        written = b""
        while piece := os.read(told, _CHUNK):
            written += piece
        try:
            return Life.of(int(json.loads(written)["child-pid"]))
        except (ValueError, KeyError, psutil.NoSuchProcess):
            return None

    def _read(
        self,
        process: subprocess.Popen[bytes],
        life: Life | None,
        shared: int,
        output: Callable[[bytes], None],
    ) -> None:
        assert process.stdout is not None  # it is a pipe
        heard, length = time.monotonic(), 0
        with selectors.DefaultSelector() as ready:
            ready.register(process.stdout, selectors.EVENT_READ)
            looked = heard
            while True:
                if ready.select(_LOOK_SECONDS):
                    piece = os.read(process.stdout.fileno(), _CHUNK)
                    if not piece:
                        return
                    heard = time.monotonic()
                    length += len(piece)
                    output(piece)
                now = time.monotonic()
                if now - looked >= _LOOK_SECONDS or length > self.limits.output:
                    looked = now
                    self._stop_when_over(life, shared, length, now - heard)
                if self.sandbox.kind == "none" and process.poll() is not None:
                    # What it has left behind holds the pipe; it is ended with its session.
                    return

    def _stop_when_over(self, life: Life | None, shared: int, length: int, silent: float) -> None:
        init = life.process() if life is not None else None
        reason = self.limits.exceeded(init, shared) if init is not None else None
        if length > self.limits.output:
            reason = f"it printed more than {self.limits.output / 2**20:.0f} MiB"
        elif silent > self.limits.silence:
            reason = (
                f"it printed nothing for {self.limits.silence / 60:.0f} minutes, and is taken for "
                "dead"
            )
        if reason is not None:
            message = f"The build was ended: {reason}."
            raise BuildError(message)


def _filled(held: contextlib.ExitStack, content: bytes) -> int:
    """Return a descriptor from which a child reads `content`; it lives as long as the stack."""
    descriptor = os.memfd_create("forkhouse")
    held.callback(os.close, descriptor)
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _pipe(held: contextlib.ExitStack) -> tuple[int, int]:
    reading, writing = os.pipe()
    held.callback(os.close, reading)
    return reading, writing


def _open(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None  # it is a pipe
    with contextlib.suppress(BrokenPipeError):  # it could not begin, and its output says why
        process.stdin.write(b"go\n")
        process.stdin.flush()
        process.stdin.close()


def _end(process: subprocess.Popen[bytes], life: Life | None, *, alone: bool) -> None:
    """End all that is left of a command, and wait until it is gone."""
    if alone:
        _end_group(process.pid)
    elif life is not None:
        life.end()
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()


def _end_group(group: int) -> None:
    """Kill what is in a process group until nothing in it runs.

    What has left the group, as a daemon does, is not found.
    """
    while end(functools.partial(members, group), _LOOK_SECONDS):
        pass
