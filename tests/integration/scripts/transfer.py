"""Move memory between two processes through NIXL, and compare what arrived.

Runs alone, with the Python of the served stack.

    python transfer.py --pair VRAM-DRAM --pair DRAM-VRAM --sizes 4096,1048576 --repeats 3

Each pair names the memory of this process and that of a peer, which it starts: DRAM, or VRAM of the
first GPU (VRAM:1 of the second). For each size, contents are written to the peer and read from it,
`repeats` times each. The output is a JSON object a line: first what this ran on, then each
transfer. A transfer that fails, is late or leaves other contents than were sent ends the run with
exit code 1.

Device memory is PyTorch's, which calls a GPU cuda whether CUDA or HIP drives it. DRAM alone needs
no PyTorch.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import import_module, metadata
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

np: Any = import_module(
    "numpy"
)  # of the stack's Python, whose packages no type checker of this project sees

PACKAGES = ("nixl", "nixl_rocm", "rixl", "nixl_cu12")
"""Import names of NIXL's builds; the first that can be imported is taken."""
WORD = 8
GUARD = 4096
"""Bytes behind those that are sent, which a transfer must leave as they are."""
TRANSFER_SECONDS = 120.0
END_SECONDS = 30.0
AMD_DRIVER = Path("/sys/module/amdgpu/version")


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A kind of memory in NIXL's words, and the number of the GPU that has it (0 for the
    host's).
    """

    kind: str
    device: int

    @classmethod
    def parse(cls, text: str) -> Place:
        """Read DRAM, VRAM or VRAM:1. Raises ValueError, of which argparse makes a message."""
        found = re.fullmatch(r"(DRAM)|(VRAM)(?::(\d+))?", text)
        if not found:
            message = f"{text!r} is no kind of memory: DRAM, VRAM or VRAM:1"
            raise ValueError(message)
        return cls(kind=found[1] or found[2], device=int(found[3] or 0))

    def __str__(self) -> str:
        """Return what `parse` reads."""
        return f"{self.kind}:{self.device}" if self.device else self.kind


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """Where this process and its peer have their memory."""

    local: Place
    remote: Place

    @classmethod
    def parse(cls, text: str) -> Pair:
        """Read VRAM-DRAM and the like. Raises ValueError."""
        local, _, remote = text.partition("-")
        return cls(local=Place.parse(local), remote=Place.parse(remote))


@dataclass(frozen=True, kw_only=True, slots=True)
class Transfer:
    """One transfer whose contents were compared."""

    operation: str
    local: str
    remote: str
    bytes: int
    repeat: int
    seconds: float
    gigabytes_per_second: float
    verified: bool = True


def pattern(size: int, seed: int) -> Any:
    """Return `size` bytes as words of which no two are equal, so that a piece in the wrong place is
    seen.
    """
    odd = np.uint64(0x9E3779B97F4A7C15)
    return np.arange(size // WORD, dtype=np.uint64) * odd + np.uint64(seed)


class HostMemory:
    """Memory of this process."""

    def __init__(self, size: int) -> None:
        """Take `size` bytes, all of them zero."""
        self._words = np.zeros(size // WORD, dtype=np.uint64)
        self.address = int(self._words.ctypes.data)

    def write(self, words: Any) -> None:
        """Put words at the beginning."""
        self._words[: len(words)] = words

    def read(self, size: int) -> Any:
        """Return the first `size` bytes as words."""
        return self._words[: size // WORD]


class DeviceMemory:
    """Memory of a GPU."""

    def __init__(self, size: int, device: int) -> None:
        """Take `size` bytes, all of them zero.

        Raises RuntimeError where PyTorch sees no such GPU.
        """
        import torch  # the host's memory needs none

        self._torch = torch
        self._words = torch.zeros(size // WORD, dtype=torch.int64, device=f"cuda:{device}")
        self.address = int(self._words.data_ptr())
        torch.cuda.synchronize(self._words.device)

    def write(self, words: Any) -> None:
        """Put words at the beginning; they are there when this returns."""
        self._words[: len(words)].copy_(self._torch.from_numpy(words.view(np.int64)))
        self._torch.cuda.synchronize(self._words.device)  # NIXL knows nothing of PyTorch's streams

    def read(self, size: int) -> Any:
        """Return the first `size` bytes as words."""
        return self._words[: size // WORD].cpu().numpy().view(np.uint64)


def nixl_api() -> Any:
    """Return the Python interface of the NIXL build that is installed.

    Raises SystemExit where there is none.
    """
    for name in PACKAGES:
        try:
            return import_module(f"{name}._api")
        except ModuleNotFoundError as error:
            if error.name not in {name, f"{name}._api"}:
                raise
    message = (
        f"No NIXL is installed: none of {', '.join(PACKAGES)} can be imported. Run this with the "
        "Python of a served stack."
    )
    raise SystemExit(message)


class Side:
    """An agent with registered memory.

    That of the peer is asked through a connection, by the names of these methods.
    """

    def __init__(self, name: str, place: Place, size: int) -> None:
        """Take and register memory for transfers of up to `size` bytes."""
        self.name = name
        self.place = place
        self.memory = (
            DeviceMemory(size + GUARD, place.device)
            if place.kind == "VRAM"
            else HostMemory(size + GUARD)
        )
        api = nixl_api()
        self.agent = api.nixl_agent(name, api.nixl_agent_config(backends=["UCX"]))
        self.registered = self.agent.register_memory(
            [(self.memory.address, size + GUARD, place.device, "")], place.kind
        )

    def introduce(self) -> tuple[bytes, int]:
        """Return what the other side's agent needs to connect, and where the memory begins."""
        return self.agent.get_agent_metadata(), self.memory.address

    def fill(self, size: int, seed: int) -> None:
        """Write a pattern."""
        self.memory.write(pattern(size, seed))

    def clear(self, size: int) -> None:
        """Write zeros there and behind it."""
        self.memory.write(np.zeros((size + GUARD) // WORD, dtype=np.uint64))

    def problem(self, size: int, seed: int) -> str | None:
        """Return what differs from a pattern with zeros behind it; None if nothing does."""
        found = self.memory.read(size + GUARD)
        expected = np.concatenate([pattern(size, seed), np.zeros(GUARD // WORD, dtype=np.uint64)])
        wrong = np.flatnonzero(found != expected)
        if not len(wrong):
            return None
        first = int(wrong[0])
        return (
            f"{len(wrong)} of {len(expected)} words differ, first at byte {first * WORD}: "
            f"{found[first]:#018x}, not {expected[first]:#018x}"
        )

    def await_notification(self, sender: str, tag: bytes) -> None:
        """Return once `sender` has said that the transfer `tag` is complete.

        Raises SystemExit when it does not come.
        """
        deadline = time.monotonic() + TRANSFER_SECONDS
        while not self.agent.check_remote_xfer_done(sender, tag):
            if time.monotonic() > deadline:
                message = (
                    f"{self.name}: no notification of {tag!r} came from {sender} within "
                    f"{TRANSFER_SECONDS:g} s."
                )
                raise SystemExit(message)
            os.sched_yield()

    def release(self) -> None:
        """Give the memory's registration back."""
        self.agent.deregister_memory(self.registered)


class Peer:
    """The side in the other process."""

    def __init__(self, connection: Connection) -> None:
        """Speak through `connection`."""
        self._connection = connection

    def ask(self, method: str, *arguments: object) -> Any:
        """Return what a method of the peer's side returns.

        Raises SystemExit when the peer has ended.
        """
        try:
            self._connection.send((method, arguments))
            return self._connection.recv()
        except (EOFError, OSError) as error:
            message = f"The peer ended while it was asked to {method}; what it said is above."
            raise SystemExit(message) from error


@contextmanager
def running_peer(name: str, place: Place, size: int) -> Iterator[Peer]:
    """Start the other process; it is gone afterwards.

    Raises SystemExit when it had to be killed.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [sys.executable, __file__, "--serve", str(theirs.fileno())]
        # Started anew, not forked: a GPU's driver does not survive a fork.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=sys.stderr, pass_fds=[theirs.fileno()]
        )
        theirs.close()
        try:
            with Connection(ours.detach()) as connection:
                connection.send((name, place, size))
                yield Peer(connection)
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired as error:
            message = (
                f"The peer did not end within {END_SECONDS:g} s of being told to, and was killed."
            )
            raise SystemExit(message) from error
        finally:
            process.kill()
            process.wait()
    if process.returncode:
        message = f"The peer ended with exit code {process.returncode}; what it said is above."
        raise SystemExit(message)


def serve(descriptor: int) -> None:
    """Be the peer: answer until the other process closes the connection or ends."""
    with Connection(descriptor) as connection:
        name, place, size = connection.recv()
        side = Side(name, place, size)
        while True:
            try:
                method, arguments = connection.recv()
            except EOFError:
                break
            connection.send(getattr(side, method)(*arguments))
        side.release()


def move(
    side: Side, operation: str, other: str, address: int, place: Place, size: int, tag: bytes
) -> float:
    """Transfer once, and return the seconds from asking to completion.

    Raises SystemExit when it fails or takes too long.
    """
    agent = side.agent
    local = agent.get_xfer_descs([(side.memory.address, size, side.place.device)], side.place.kind)
    remote = agent.get_xfer_descs([(address, size, place.device)], place.kind)
    handle = agent.initialize_xfer(operation, local, remote, other, tag)
    started = time.perf_counter()
    state = agent.transfer(handle)
    while state == "PROC" and time.perf_counter() - started < TRANSFER_SECONDS:
        state = agent.check_xfer_state(handle)
    seconds = time.perf_counter() - started
    if state != "DONE":
        message = (
            f"{operation} of {size} bytes, {side.place} here and {place} there, is in state "
            f"{state} after {seconds:.1f} s."
        )
        raise SystemExit(message)
    agent.release_xfer_handle(handle)
    return seconds


def transfers(pair: Pair, sizes: list[int], repeats: int, *, spoil: bool) -> Iterator[Transfer]:
    """Transfer between the two places of `pair` in both directions.

    Raises SystemExit when anything is not as it should be.
    """
    # A name of its own for each pair: agents know each other by their names.
    name, other = f"{pair.local}-{pair.remote}-here", f"{pair.local}-{pair.remote}-there"
    with running_peer(other, pair.remote, max(sizes)) as peer:
        side = Side(name, pair.local, max(sizes))
        introduction, address = peer.ask("introduce")
        known = side.agent.add_remote_agent(introduction)
        if isinstance(known, bytes):  # so in older versions
            known = known.decode()
        for seed, (size, repeat, operation) in enumerate(
            (
                (size, repeat, operation)
                for size in sizes
                for repeat in range(repeats)
                for operation in ("WRITE", "READ")
            ),
            start=1,
        ):
            tag = f"transfer {seed:08}".encode()
            if operation == "WRITE":
                side.fill(size, seed + spoil)
                peer.ask("clear", size)
            else:
                peer.ask("fill", size, seed + spoil)
                side.clear(size)
            seconds = move(side, operation, known, address, pair.remote, size, tag)
            peer.ask("await_notification", name, tag)
            problem = (
                peer.ask("problem", size, seed)
                if operation == "WRITE"
                else side.problem(size, seed)
            )
            if problem:
                message = (
                    f"{operation} of {size} bytes, {pair.local} here and {pair.remote} there, left "
                    f"wrong contents: {problem}."
                )
                raise SystemExit(message)
            yield Transfer(
                operation=operation,
                local=str(pair.local),
                remote=str(pair.remote),
                bytes=size,
                repeat=repeat,
                seconds=round(seconds, 9),
                gigabytes_per_second=round(size / seconds / 1e9, 3),
            )
        side.agent.remove_remote_agent(known)
        side.release()


def driver() -> str | None:
    """Return the version of the GPU's driver; None where there is none, or it does not tell."""
    if shutil.which("nvidia-smi"):
        command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        return (
            result.stdout.splitlines()[0].strip()
            if result.returncode == 0 and result.stdout
            else None
        )
    return AMD_DRIVER.read_text(encoding="ascii").strip() if AMD_DRIVER.is_file() else None


def gpu() -> dict[str, object]:
    """Return what is known about the first GPU and what drives it."""
    import torch  # the host's memory needs none

    properties = torch.cuda.get_device_properties(0)
    return {
        "gpu": properties.name,
        "target": getattr(properties, "gcnArchName", None)
        if torch.version.hip
        else f"sm_{properties.major}{properties.minor}",
        "driver": driver(),
        "torch": torch.__version__,
    }


def ucx_version() -> str | None:
    """Return the version of the UCX that was loaded into this process.

    None before an agent was made.
    """
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        path = line.split(maxsplit=5)[-1]
        if re.search(r"/libucp[-.][^/]*$", path):
            library = ctypes.CDLL(path)
            library.ucp_get_version_string.restype = ctypes.c_char_p
            return str(library.ucp_get_version_string().decode())
    return None


def circumstances(*, with_gpu: bool) -> dict[str, object]:
    """Return what the figures depend on."""
    api = nixl_api()
    package = api.__name__.partition(".")[0]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": platform.release(),
        "python": platform.python_version(),
        "package": package,
        "nixl": metadata.version(package.replace("_", "-")),
        "settings": {
            name: value
            for name, value in sorted(os.environ.items())
            if name.startswith(("UCX_", "NIXL_"))
        },
        **(gpu() if with_gpu else {}),
    }


@contextmanager
def own_output() -> Iterator[TextIO]:
    """Return the standard output, line by line.

    What libraries print goes to the standard error instead.
    """
    with os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8") as output:
        os.dup2(2, 1)
        yield output


def sizes_of(text: str) -> list[int]:
    """Read sizes in bytes, separated by commas. Raises ValueError."""
    sizes = [int(part) for part in text.split(",")]
    if any(size <= 0 or size % WORD for size in sizes):
        message = f"sizes are multiples of {WORD} bytes"
        raise ValueError(message)
    return sizes


def main() -> None:
    """Transfer as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--pair",
        type=Pair.parse,
        action="append",
        help="memory here and at the peer; more than one may be given",
    )
    parser.add_argument(
        "--sizes", type=sizes_of, default=[4096, 2**20, 2**26], help="in bytes, separated by commas"
    )
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument(
        "--spoil",
        action="store_true",
        help="send other contents than are expected, to see that found",
    )
    parser.add_argument("--serve", type=int, metavar="DESCRIPTOR", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        serve(options.serve)
        return
    pairs: list[Pair] = options.pair or [Pair.parse("DRAM-DRAM")]
    with_gpu = any(place.kind == "VRAM" for pair in pairs for place in (pair.local, pair.remote))
    with own_output() as output:
        print(json.dumps(circumstances(with_gpu=with_gpu)), file=output)
        for pair in pairs:
            for transfer in transfers(pair, options.sizes, options.repeats, spoil=options.spoil):
                print(json.dumps(asdict(transfer)), file=output)
        print(json.dumps({"ucx": ucx_version(), "complete": True}), file=output)


if __name__ == "__main__":
    main()
