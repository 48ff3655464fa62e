"""Small real servers that misbehave as big ones do; every test ends what it started."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import textwrap
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from forkhouse.core.errors import ServingError
from forkhouse.serving.processes import LOCALHOST, Server, free_ports, stop_all, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Start = Callable[..., Server]

SLEEP = "import time; time.sleep(60)"
DEAF = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); "
    f"{SLEEP}"
)

# A server of two generations: SIGTERM ends it, and says nothing to its children.
FAMILY = """
import subprocess, sys
grandchild = "import time; time.sleep(60)"
starting = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {grandchild!r}])"
child = f"{starting}; print('ready', flush=True); {grandchild}"
subprocess.Popen([sys.executable, "-c", child])
{then}
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a Python program as a server with a given name.

    What is still there after the test is killed.
    """
    servers: list[Server] = []

    def run(
        program: str, name: str = "server", environment: dict[str, str] | None = None
    ) -> Server:
        servers.append(
            Server.start(
                name,
                [sys.executable, "-c", textwrap.dedent(program)],
                log=tmp_path / f"{name}.log",
                environment=environment or {},
                folder=tmp_path,
            )
        )
        return servers[-1]

    yield run
    for server in servers:
        with contextlib.suppress(ServingError):
            server.stop(wait=0)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wait_for_log(server: Server, text: str) -> None:
    until(lambda: text in server.log.read_text(encoding="utf-8"))


def family(start: Start, then: str) -> tuple[Server, frozenset[psutil.Process]]:
    """Start a server with a child and a grandchild, and return it with those two."""
    server = start(FAMILY.replace("{then}", then))
    wait_for_log(server, "ready")
    descendants = server.descendants()
    assert len(descendants) == 2
    return server, descendants


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_a_server_that_ends_by_itself_ends_with_its_own_code(start: Start) -> None:
    server = start(
        """
        import signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        print("ready", flush=True)
        time.sleep(60)
        """
    )
    wait_for_log(server, "ready")
    server.stop()
    assert server.process.returncode == 0
    server.stop()  # nothing to do any more


def test_children_and_grandchildren_left_behind_are_killed_and_told(start: Start) -> None:
    server, descendants = family(start, "import time; time.sleep(60)")
    with pytest.raises(
        ServingError,
        match=r"server did not end within 0\.3 s of SIGTERM, and was killed: .*\(\d+\), .*\(\d+\)",
    ):
        server.stop(wait=0.3)
    assert all(gone(process) for process in descendants)
    assert server.process.returncode == -signal.SIGTERM
    assert server.descendants() == frozenset()


def test_children_that_end_a_little_later_are_waited_for(start: Start) -> None:
    server = start(
        """
        import os, subprocess, sys, time
        waiting = f"while os.getppid() == {os.getpid()}: time.sleep(0.01)"
        child = f"import os, time\\nprint('ready', flush=True)\\n{waiting}\\ntime.sleep(0.3)"
        subprocess.Popen([sys.executable, "-c", child])
        time.sleep(60)
        """
    )
    wait_for_log(server, "ready")
    (child,) = server.descendants()
    server.stop()
    assert gone(child)


def test_a_server_deaf_to_sigterm_is_killed_and_told(start: Start) -> None:
    server = start(DEAF)
    wait_for_log(server, "ready")
    with pytest.raises(ServingError, match=rf"was killed: python\S* \({server.process.pid}\)"):
        server.stop(wait=0.2)
    assert server.process.returncode == -signal.SIGKILL


def test_an_early_death_is_told_with_its_first_exception_and_the_end_of_the_log(
    start: Start,
) -> None:
    server = start(
        "import sys; print('ValueError: no such model'); print('and much more'); sys.exit(3)"
    )
    with pytest.raises(ServingError) as caught:
        wait_until(lambda: False, what="nothing", servers=[server], wait=20)
    message = str(caught.value)
    assert "server ended with exit code 3. The command was:" in message
    assert "The first exception in its log:\n  | ValueError: no such model\n" in message
    assert message.endswith("  | ValueError: no such model\n  | and much more")


def test_of_a_huge_log_that_had_a_life_before_only_this_life_is_told(
    start: Start, tmp_path: Path
) -> None:
    program = "print('ValueError: of now'); print('x' * 100 + '\\n', end='', flush=True); {then}"
    server = start(program.format(then="raise SystemExit(3)"))
    server.wait(10)
    old = b"OSError: of an earlier life\n"
    said = server.log.read_bytes()
    with server.log.open("r+b") as stream:
        stream.write(old)
        stream.write(said)
        stream.seek(2**33)  # a hole of 8 GiB that nobody reads
        stream.write(b"\nthe end \xff\n")
    server.begun = len(old)
    told = str(server.error("ended"))
    assert "ValueError: of now" in told
    assert "earlier life" not in told
    assert told.endswith("the end \ufffd")
    server.log.write_bytes(b"rotated\n")
    assert str(server.error("ended")).endswith("rotated")


def test_death_by_a_signal_is_told(start: Start) -> None:
    server = start("import os; os.kill(os.getpid(), 9)")
    with pytest.raises(ServingError, match="was ended by signal 9"):
        wait_until(lambda: False, what="nothing", servers=[server], wait=20)


def test_orphans_of_a_dead_server_are_found_and_killed(start: Start) -> None:
    # Nobody looked while the server lived: only the group that it began still tells whose they are.
    server = start(FAMILY.replace("{then}", ""))
    wait_for_log(server, "ready")
    until(lambda: psutil.Process(server.process.pid).status() == psutil.STATUS_ZOMBIE)
    with pytest.raises(ServingError, match=r"was killed: .*\(\d+\), .*\(\d+\)"):
        server.stop(wait=0)
    assert not [
        process
        for process in psutil.process_iter(["pid"])
        if _in_group(process.pid, server.process.pid)
    ]


def test_who_ends_by_itself_leaves_nobody_unseen(start: Start) -> None:
    server = start(FAMILY.replace("{then}", "raise SystemExit(3)"))
    assert server.wait(20) == 3
    left = server.descendants()
    assert left
    assert server.wait(0) == 3
    server.kill()
    assert all(gone(process) for process in left)


def test_who_does_not_end_in_time_is_told(start: Start) -> None:
    server = start(SLEEP)
    with pytest.raises(ServingError, match=r"server did not end within 0\.2 s, and was killed"):
        server.wait(0.2)
    assert server.process.returncode == -signal.SIGKILL


def test_no_port_is_given_twice() -> None:
    given = [port for _ in range(50) for port in free_ports(2)]
    assert len(set(given)) == len(given)


def _in_group(pid: int, group: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        return os.getpgid(pid) == group and not gone(psutil.Process(pid))
    return False


def test_a_child_that_leaves_the_group_is_still_ours(start: Start) -> None:
    server = start(
        f"""
        import subprocess, sys, time
        subprocess.Popen([sys.executable, "-c", {DEAF!r}], start_new_session=True)
        time.sleep(60)
        """
    )
    wait_for_log(server, "ready")
    (child,) = server.descendants()
    with pytest.raises(ServingError, match=rf"\({child.pid}\)"):
        server.stop(wait=0.2)
    assert gone(child)


def test_all_servers_are_stopped_though_one_has_to_be_killed(start: Start) -> None:
    deaf, *others = (
        start(DEAF, "deaf"),
        start(f"print('ready', flush=True); {SLEEP}", "one"),
        start(f"print('ready', flush=True); {SLEEP}", "two"),
    )
    for server in (deaf, *others):
        wait_for_log(server, "ready")
    with pytest.raises(ServingError, match=r"^deaf did not end") as caught:
        stop_all([deaf, *others], wait=0.3)
    assert "one did not end" not in str(caught.value)
    assert [server.process.returncode for server in others] == [-signal.SIGTERM] * 2


def test_a_with_block_ends_its_server_also_on_an_error(start: Start) -> None:
    server = start(SLEEP)
    with pytest.raises(ZeroDivisionError), server:
        raise ZeroDivisionError
    assert server.process.returncode == -signal.SIGTERM


def test_waiting_tells_how_long_it_took(start: Start) -> None:
    server = start(f"import time; time.sleep(0.2); print('ready', flush=True); {SLEEP}")
    seconds = wait_until(
        lambda: "ready" in server.log.read_text(encoding="utf-8"),
        what="ready",
        servers=[server],
        wait=20,
    )
    assert 0.1 < seconds < 20


def test_waiting_in_vain_shows_every_log(start: Start) -> None:
    one, two = (
        start(f"print('about one', flush=True); {SLEEP}", "one"),
        start(f"print('about two', flush=True); {SLEEP}", "two"),
    )
    for server, text in ((one, "about one"), (two, "about two")):
        wait_for_log(server, text)
    with pytest.raises(
        ServingError,
        match=r"(?s)^Waited 0\.2 s in vain for a miracle\.\n"
        r"one still runs.*about one.*two still runs.*about two",
    ):
        wait_until(lambda: False, what="a miracle", servers=[one, two], wait=0.2)


def test_a_server_sees_the_given_environment_alone(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEAKED", "1")
    server = start(
        "import os; print(sorted(set(os.environ) & {'LEAKED', 'GIVEN'}), flush=True)",
        environment={"GIVEN": "1"},
    )
    wait_for_log(server, "['GIVEN']")


def test_a_command_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match=r"engine could not be started: .*no-such-program"):
        Server.start(
            "engine",
            [str(tmp_path / "no-such-program")],
            log=tmp_path / "log",
            environment={},
            folder=tmp_path,
        )


def test_ports_are_free_different_and_below_those_of_outgoing_connections() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert max(ports) < 32_768
    for port in ports:
        with socket.socket() as probe:
            probe.bind((LOCALHOST, port))
