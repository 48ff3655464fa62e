"""Run UCX's own measurements, ucx_perftest, within a process and between two.

Runs alone, with the Python of the served stack.

    python perftest.py --memory rocm --size 1048576 --iterations 200

The memory is of that kind on both sides: host, or rocm, for which UCX loads a module of its own.
The output is a JSON object a line. Ends with exit code 1 when a measurement fails, or is of another
kind of memory than was asked for.

ucx_perftest serves on every address of its machine. So all of this runs in a network namespace with
nothing but the loopback device.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import socket
import struct
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

TESTS = ("ucp_put_bw", "ucp_get", "tag_bw")
PORT = 13337  # free, in a namespace of its own
LIMIT_SECONDS = 60.0
POLL_SECONDS = 0.02
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1


def enter_namespace(arguments: list[str]) -> None:
    """Run this script anew, in a network namespace of its own. Does not return."""
    command = [
        "unshare",
        "--map-root-user",
        "--net",
        sys.executable,
        __file__,
        "--inside",
        *arguments,
    ]
    os.execvp(command[0], command)  # no shell


def switch_loopback_on() -> None:
    """Switch the namespace's only device on, which is off in a new one."""
    with socket.socket() as any_socket:
        request = struct.pack("16sh14x", b"lo", 0)
        _, flags = struct.unpack("16sh14x", fcntl.ioctl(any_socket, SIOCGIFFLAGS, request))
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def program() -> str:
    """Return the path of the wheel's ucx_perftest."""
    return str(import_module("libucx_rocm").tool("ucx_perftest"))


def run(arguments: list[str]) -> str:
    """Return the output of ucx_perftest. Raises SystemExit when it fails or takes too long."""
    command = [program(), *arguments, "-f", "-v"]
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        message = f"{' '.join(command)} did not end within {LIMIT_SECONDS:g} s."
        raise SystemExit(message) from error
    if result.returncode:
        message = (
            f"{' '.join(command)} ended with exit code "
            f"{result.returncode}:\n{result.stdout}{result.stderr}"
        )
        raise SystemExit(message)
    return result.stdout


def within(arguments: list[str]) -> str:
    """Measure in one process, which is both sides."""
    return run(["-l", *arguments])


def between(arguments: list[str]) -> str:
    """Measure between two processes. Raises SystemExit when one of them fails."""
    command = [program(), "-p", str(PORT)]
    server = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        deadline = time.monotonic() + LIMIT_SECONDS
        while not listens(PORT):
            if server.poll() is not None or time.monotonic() > deadline:
                server.kill()
                message = f"{' '.join(command)} serves nothing:\n{server.communicate()[0]}"
                raise SystemExit(message)
            time.sleep(POLL_SECONDS)
        output = run(["127.0.0.1", "-p", str(PORT), *arguments])
        server.wait(LIMIT_SECONDS)
    except subprocess.TimeoutExpired as error:
        message = f"{' '.join(command)} did not end after its only client."
        raise SystemExit(message) from error
    finally:
        server.kill()
        said = server.communicate()[0]
    if server.returncode:
        message = f"{' '.join(command)} ended with exit code {server.returncode}:\n{said}"
        raise SystemExit(message)
    return said + output  # the server prints what is measured, the client the figures


def listens(port: int) -> bool:
    """Say whether somebody in this namespace accepts connections at a port."""
    lines = Path("/proc/self/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    return any(
        line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A" for line in lines
    )


def figures(output: str, memory: str) -> dict[str, object]:
    """Return what a measurement says at its end.

    Raises SystemExit when it says nothing, or was of other memory.
    """
    used = re.findall(r"(?:Send|Recv) memory: +(\S+)", output)
    lines = output.splitlines()
    headers = [number for number, line in enumerate(lines) if line.startswith("iterations,")]
    if used != [memory, memory] or not headers or headers[-1] + 1 == len(lines):
        message = f"ucx_perftest was to measure {memory} to {memory}, and said:\n{output}"
        raise SystemExit(message)
    last = dict(zip(lines[headers[-1]].split(","), lines[headers[-1] + 1].split(","), strict=True))
    return {
        "iterations": int(last["iterations"]),
        "megabytes_per_second": float(last["overall_bw"]),
    }


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--memory", choices=["host", "rocm"], default="host")
    parser.add_argument("--size", type=int, default=2**20, help="of a message, in bytes")
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.inside:
        enter_namespace(sys.argv[1:])
    switch_loopback_on()
    for processes, measure in ((1, within), (2, between)):
        for test in TESTS:
            arguments = [
                "-t",
                test,
                "-m",
                options.memory,
                "-s",
                str(options.size),
                "-n",
                str(options.iterations),
                "-w",
                "10",
            ]
            found = figures(measure(arguments), options.memory)
            measured = {
                "processes": processes,
                "test": test,
                "memory": options.memory,
                "bytes": options.size,
                **found,
            }
            sys.stdout.write(json.dumps(measured) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
