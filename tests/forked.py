"""Run the command line in a process that is forked from one in which it is loaded already.

It is a process of its own, with its own folder, environment, streams and exit code. It saves what
starting Python and loading the modules takes, which for most commands is more than the command.
Where starting, signals or closed streams are the point, tests start `python -m forkhouse` instead.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import gc
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_CLONE_NEWNS = 0x00020000
"""A mount namespace of one's own (unshare(2))."""
_ELSEWHERE = {
    "forkhouse.__main__",
    "forkhouse.conformance.__main__",
    "forkhouse.serving.model",  # needs PyTorch, and runs in the stack's own environment
}
"""Modules that no command loads."""
_LATE = ("auditwheel.policy", "elftools.elf.elffile", "installer.records", "pyseccomp", "tomlkit")
"""Libraries that commands load where they need them, as they take longer than most commands."""
_PR_SET_PDEATHSIG = 1
"""Which signal this process gets when its parent ends (prctl(2))."""


def run(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    mounts: str = "",
    seconds: float = 120,
) -> subprocess.CompletedProcess[str]:
    """Run forkhouse with the arguments, and return its exit code and what it printed.

    `mounts` is a line of a shell that mounts file systems, which this process alone then sees.
    Raises TimeoutError when it takes longer than `seconds`.
    """
    request = {
        "arguments": list(arguments),
        "environment": dict(environment),
        "folder": str(Path.cwd()),
        "mounts": mounts,
    }
    server = _server(os.getpid())
    with (
        open(os.devnull, "rb") as nothing,
        open(os.memfd_create("output"), "w+b") as output,
        open(os.memfd_create("said"), "w+b") as said,
    ):
        streams = [nothing.fileno(), output.fileno(), said.fileno()]
        socket.send_fds(server, [json.dumps(request).encode()], streams)
        server.settimeout(seconds)
        try:
            answer = server.recv(64)
        except TimeoutError:
            _server.cache_clear()
            server.close()
            raise
        output.seek(0)
        said.seek(0)
        return subprocess.CompletedProcess(
            [sys.executable, "-m", "forkhouse", *arguments],
            json.loads(answer),
            output.read().decode(),
            said.read().decode(),
        )


@functools.cache
def _server(_process: int) -> socket.socket:
    """Start the process that the commands are forked from; it ends with this one.

    A child of this process gets one of its own: answers on one socket would be mixed up.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        program = "import sys; from tests.forked import serve; serve(int(sys.argv[1]))"
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(theirs.fileno())],
            cwd=Path(__file__).parents[1],
            pass_fds=[theirs.fileno()],
        )

    def end() -> None:
        process.kill()
        process.wait()

    atexit.register(ours.close)
    atexit.register(end)
    return ours


def serve(descriptor: int) -> None:
    """Fork a process for each command that arrives, and answer with its exit code."""
    import forkhouse
    from forkhouse import audit, builders, patches, wheelhouse
    from forkhouse.__main__ import main
    from forkhouse.core.identity import engine

    for module in pkgutil.walk_packages(forkhouse.__path__, "forkhouse."):
        # The emulator needs NumPy, which a plain installation has not.
        if module.name not in _ELSEWHERE and not module.name.startswith("forkhouse.emulation."):
            import_module(module.name)
    for module_name in _LATE:
        import_module(module_name)
    for package in (audit, builders, patches, wheelhouse):
        engine(package)
    gc.freeze()  # what is loaded is never looked through again
    server = socket.socket(fileno=descriptor)
    while True:
        message, streams, _, _ = socket.recv_fds(server, 1 << 20, 3)
        if not message:
            return
        child = os.fork()
        if child == 0:
            server.close()
            _become(json.loads(message), streams)
            main()
            return
        for stream in streams:
            os.close(stream)
        _, status = os.waitpid(child, 0)
        server.send(json.dumps(os.waitstatus_to_exitcode(status)).encode())


def _become(request: dict[str, object], streams: list[int]) -> None:
    """Give this process what a process of its own would have been started with."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    arguments, environment = request["arguments"], request["environment"]
    assert isinstance(arguments, list)
    assert isinstance(environment, dict)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(str(request["folder"]))
    sys.argv = ["forkhouse", *arguments]
    if request["mounts"]:
        if libc.unshare(_CLONE_NEWNS) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        shell = f"mount --make-rprivate / && {request['mounts']}"
        subprocess.run(["sh", "-c", shell], check=True)
