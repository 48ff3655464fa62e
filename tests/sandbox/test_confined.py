"""What a hostile build tries, as root and as anybody, and how little it reaches."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from filelock import FileLock

from forkhouse.core.errors import BuildError, ToolchainError
from forkhouse.sandbox import bubblewrap
from forkhouse.sandbox.bubblewrap import Sandbox, View, find_sandbox, interpreter_homes
from forkhouse.sandbox.limits import BuildLimits
from forkhouse.sandbox.lives import Life, boot, end_earlier, note
from forkhouse.sandbox.run import Confined
from forkhouse.sandbox.seccomp import program

if TYPE_CHECKING:
    from collections.abc import Iterator

PYTHON = sys.executable
VARIABLES = {"PATH": "/usr/bin:/bin"}


@pytest.fixture
def confined(tmp_path: Path) -> Confined:
    work = tmp_path / "work"
    work.mkdir()
    return Confined(
        sandbox=find_sandbox(),
        view=View(work=work, readable=(Path(sys.prefix), *interpreter_homes())),
    )


def run(confined: Confined, code: str) -> tuple[int, str]:
    """Run Python code as a build and return its exit code and output."""
    said = bytearray()
    command = [PYTHON, "-c", textwrap.dedent(code)]
    ended = confined.run(
        command, folder=confined.view.work, variables=VARIABLES, output=said.extend
    )
    return ended, said.decode("utf-8", "replace")


@pytest.fixture
def secret(tmp_path: Path) -> Iterator[Path]:
    """A file outside the build's folder, and a process that has a secret among its variables."""
    path = tmp_path / "home/.ssh/id_ed25519"
    path.parent.mkdir(parents=True)
    path.write_text("PRIVATE", encoding="utf-8")
    with subprocess.Popen(
        ["sleep", "60"], env={"TOKEN": "PRIVATE", "PATH": "/usr/bin:/bin"}
    ) as process:
        yield path
        process.kill()


TRIES = {
    "read a file of the user": "open({secret!r}).read()",
    "write beside its folder": "open({outside!r}, 'w')",
    "make a folder in the root": "os.mkdir('/var')",
    "write to the system": "open('/usr/bin/evil', 'w')",
    "write to the root": "open('/evil', 'w')",
    "see the accounts of the machine": "open('/etc/shadow').read()",
    "see /root": "os.listdir('/root/.ssh')",
    "see tools put there by hand": "os.listdir('/usr/local')[0]",
    "change a setting of the kernel": "open('/proc/sys/kernel/core_pattern', 'w')"
    ".write('|/bin/true')",
    "restart the machine": "open('/proc/sysrq-trigger', 'w').write('b')",
    "change what a device is": "os.chmod('/dev/null', 0)",
    "read the kernel's log": "libc.klogctl(10, None, 0) >= 0 or fail()",
    "see a disk": "open('/dev/vda')",
    "mount something": "libc.mount(b'none', {work!r}.encode(), b'tmpfs', 0, None) == 0 or fail()",
    "make a user namespace": "libc.unshare(0x10000000) == 0 or fail()",
    "make a mount namespace": "libc.unshare(0x00020000) == 0 or fail()",
    "enter a namespace": "libc.setns(os.open('/proc/1/ns/net', os.O_RDONLY), 0) == 0 or fail()",
    "change its root": "os.chroot('/usr')",
    "trace a process": "libc.ptrace(16, os.getppid(), 0, 0) == 0 or fail()",
    "use the kernel's keys": "libc.syscall(250, 0, -3, 0) >= 0 or fail()",
    "load a program into the kernel": "libc.syscall(321, 0, 0, 0) >= 0 or fail()",
    "set up io_uring": "libc.syscall(425, 1, 0) >= 0 or fail()",
    "reach the machine beside it": "socket.socket(40, socket.SOCK_STREAM)",
    "sniff packets": "socket.socket(17, socket.SOCK_RAW)",
    "become root": "os.setuid(0) or os.getuid() == 0 or fail()",
    "give a file away": "os.chown({work!r}, 65534, 65534)",
    "send a signal to a process of the machine": "os.kill({pid}, 0)",
    "reach a server of this machine": "socket.create_connection(('127.0.0.1', {port}), timeout=5)",
    "reach a server by an abstract name": "(s := socket.socket(socket.AF_UNIX))"
    ".connect(b'\\0forkhouse-test-{port}')",
}


@pytest.mark.parametrize("attempt", TRIES)
def test_nothing_that_a_hostile_build_tries_succeeds(
    confined: Confined, secret: Path, attempt: str
) -> None:
    before = (
        Path("/proc/sys/kernel/core_pattern").read_text(encoding="utf-8"),
        Path("/dev/null").stat().st_mode,
    )
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as named:
        port = server.getsockname()[1]
        named.bind(f"\0forkhouse-test-{port}")
        named.listen()
        outside = confined.view.readable[0] / "evil"
        names = {
            "secret": str(secret),
            "outside": str(outside),
            "work": str(confined.view.work),
            "pid": os.getpid(),
            "port": port,
        }
        code = f"""\
        import ctypes, os, socket
        libc = ctypes.CDLL(None, use_errno=True)
        def fail():
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        try:
            {TRIES[attempt].format(**names)}
        except (OSError, IndexError) as error:
            print('refused', error)
        else:
            print('DONE')
        """
        ended, said = run(confined, code)
    assert (ended, said.split()[0]) == (0, "refused"), said
    assert not outside.exists()
    assert (
        Path("/proc/sys/kernel/core_pattern").read_text(encoding="utf-8"),
        Path("/dev/null").stat().st_mode,
    ) == before


def test_each_of_those_tries_would_succeed_or_fail_otherwise_without_it(secret: Path) -> None:
    """The tries are real.

    The file is there, the server answers, and this process may send itself a signal.
    """
    assert secret.read_text(encoding="utf-8") == "PRIVATE"
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(("127.0.0.1", server.getsockname()[1]), timeout=5).close()
    os.kill(os.getpid(), 0)


def test_no_process_of_the_machine_and_no_variable_of_one_is_seen(
    confined: Confined, secret: Path
) -> None:
    assert secret.is_file()
    code = """
    import glob
    seen = [open(path, "rb").read() for path in glob.glob("/proc/[0-9]*/environ")]
    variables = sorted(set(b"".join(seen).split(b"\\0")))
    print(len(seen), any(b"PRIVATE" in each for each in seen), variables)
    """
    ended, said = run(confined, code)
    assert ended == 0
    count, found, variables = said.split(maxsplit=2)
    assert int(count) < 5
    assert found == "False"
    assert b"PATH=/usr/bin:/bin" in eval(variables)  # what Python printed
    assert all(
        each.split(b"=")[0] in {b"", b"PATH", b"PWD", b"OLDPWD", b"_"} for each in eval(variables)
    )


def test_it_is_nobody_with_no_rights_and_no_way_to_more(confined: Confined) -> None:
    ended, said = run(confined, "print(open('/proc/self/status').read())")
    assert ended == 0
    status = dict(line.split(":\t", 1) for line in said.splitlines() if ":\t" in line)
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {
        "0000000000000000"
    }
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert status["Uid"].split() == ["1000"] * 4


def test_what_builds_do_every_day_works(confined: Confined) -> None:
    code = """
    import multiprocessing, os, pwd, socket, subprocess, tempfile
    print(pwd.getpwuid(os.getuid()).pw_name, socket.gethostname())
    with tempfile.TemporaryFile(dir="/tmp") as stream: stream.write(b"x")
    one, other = socket.socketpair()
    open("/dev/null", "w").write("x")
    open("/dev/shm/x", "w").write("x")
    print(subprocess.run(["gcc", "--version"], capture_output=True).returncode)
    print(multiprocessing.get_context("fork").Pool(2).map(abs, [-1, -2]))
    os.chmod(".", 0o700)
    """
    assert run(confined, code) == (0, "build forkhouse\n0\n[1, 2]\n")


def test_nothing_that_it_leaves_behind_lives_on(confined: Confined) -> None:
    code = """
    import os, time
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            null = os.open("/dev/null", os.O_RDWR)
            for number in (0, 1, 2): os.dup2(null, number)
            for step in range(300):
                open("alive", "w").write(str(step))
                time.sleep(0.05)
        os._exit(0)
    os.wait()
    while not os.path.exists("alive"): time.sleep(0.01)
    """
    assert run(confined, code) == (0, "")
    alive = confined.view.work / "alive"
    last = alive.read_text(encoding="utf-8")
    time.sleep(0.3)
    assert alive.read_text(encoding="utf-8") == last


CHILD = """
import sys
from pathlib import Path
from forkhouse.sandbox.bubblewrap import View, find_sandbox, interpreter_homes
from forkhouse.sandbox.run import Confined
from forkhouse.sandbox.seccomp import program
work = Path(sys.argv[1])
view = View(work=work, readable=(Path(sys.prefix), *interpreter_homes()))
code = "import time\\nfor step in range(600):\\n    open('alive', 'w').write(str(step))\\n"
command = [sys.executable, "-c", code + "    time.sleep(0.05)"]
variables = {"PATH": "/usr/bin:/bin"}
confined = Confined(sandbox=find_sandbox(), view=view)
confined.run(command, folder=work, variables=variables, output=lambda piece: None)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_dies_with_whoever_runs_it(tmp_path: Path, how: signal.Signals) -> None:
    work = tmp_path / "work"
    work.mkdir()
    with subprocess.Popen(
        ["env", "--default-signal", PYTHON, "-c", CHILD, str(work)], stderr=subprocess.DEVNULL
    ) as runner:
        until = time.monotonic() + 60
        while not (work / "alive").exists():
            assert runner.poll() is None
            assert time.monotonic() < until
            time.sleep(0.02)
        noted = json.loads((tmp_path / "work.life").read_bytes())
        runner.send_signal(how)
        runner.wait(30)
    end_earlier(work)
    assert Life(**noted).process() is None
    last = (work / "alive").read_text(encoding="utf-8")
    time.sleep(0.3)
    assert (work / "alive").read_text(encoding="utf-8") == last


def test_what_is_left_of_an_earlier_build_is_ended_before_the_next_begins(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as left:
        note(tmp_path / "work", Life.of(left.pid))
        end_earlier(tmp_path / "work")
        assert left.wait(10) == -signal.SIGKILL
    assert not (tmp_path / "work.life").exists()


@pytest.mark.parametrize("change", [{"started": 1.0}, {"boot": "another"}])
def test_another_process_of_the_same_number_is_left_alone(
    tmp_path: Path, change: dict[str, object]
) -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        life = Life.of(other.pid)
        noted = {"pid": life.pid, "started": life.started, "boot": life.boot, **change}
        (tmp_path / "work.life").write_text(json.dumps(noted), encoding="utf-8")
        end_earlier(tmp_path / "work")
        assert other.poll() is None
        other.kill()


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"pid": "x", "started": 1, "boot": "b"}'])
def test_a_damaged_note_of_a_life_is_forgotten(tmp_path: Path, content: str) -> None:
    (tmp_path / "work.life").write_text(content, encoding="utf-8")
    end_earlier(tmp_path / "work")
    assert not (tmp_path / "work.life").exists()


def test_a_command_that_is_not_there_is_an_exit_code(confined: Confined) -> None:
    said = bytearray()
    assert (
        confined.run(
            ["no-such-command"], folder=confined.view.work, variables=VARIABLES, output=said.extend
        )
        == 127
    )
    assert b"not found" in said


def test_a_sandbox_that_cannot_be_made_tells_why_and_runs_nothing(confined: Confined) -> None:
    said = bytearray()
    away = replace(
        confined,
        view=replace(confined.view, readable=(*confined.view.readable, Path("/no/such/folder"))),
    )
    assert (
        away.run(["touch", "made"], folder=away.view.work, variables=VARIABLES, output=said.extend)
        != 0
    )
    assert b"/no/such/folder" in said
    assert not (away.view.work / "made").exists()


SLEEP = "import time; time.sleep(60)"


_FILL = "for _ in range(500): f.write(bytes(2**20))"
NOBODYS_MEMORY = (
    f"f = open('/tmp/x', 'wb')\n{_FILL}",
    f"f = open('/dev/shm/x', 'wb')\n{_FILL}",
    f"import os\nf = open(os.memfd_create('x'), 'wb')\n{_FILL}",
    f"import mmap\nf = mmap.mmap(-1, 500 * 2**20)\n{_FILL}",
)
"""Ways to take memory that no process is said to have."""


@pytest.mark.parametrize(
    ("limits", "code", "reason"),
    [
        (
            BuildLimits(processes=20),
            "import os, time\nfor _ in range(40): os.fork() or time.sleep(60)\ntime.sleep(60)",
            "processes; 20 is the most",
        ),
        (
            BuildLimits(memory=200 * 2**20),
            f"x = bytearray(b'x') * (400 * 2**20)\n{SLEEP}",
            r"GiB of memory; 0\.2 GiB is the most",
        ),
        (
            BuildLimits(threads=100),
            "import threading\nthreading.stack_size(65536)\n"
            "for _ in range(300): threading.Thread(target=threading.Event().wait).start()",
            "threads; 100 is the most",
        ),
        *(
            (
                BuildLimits(memory=200 * 2**20),
                f"{take}\n{SLEEP}",
                r"GiB of memory; 0\.2 GiB is the most",
            )
            for take in NOBODYS_MEMORY
        ),
        (BuildLimits(silence=1.0), SLEEP, "printed nothing for 0 minutes, and is taken for dead"),
        (
            BuildLimits(output=100_000),
            f"print('x' * 200_000, flush=True)\n{SLEEP}",
            "printed more than 0 MiB",
        ),
    ],
)
def test_a_build_that_takes_too_much_is_ended(
    confined: Confined, limits: BuildLimits, code: str, reason: str
) -> None:
    own = f"{code}\n# of {confined.view.work}"  # other tests run the same at the same time
    # The machine's shared memory is measured, and others that take some may run beside.
    alone = FileLock(Path(tempfile.gettempdir(), f"forkhouse-tests-memory-{os.geteuid()}.lock"))
    with alone, pytest.raises(BuildError, match=reason):
        run(replace(confined, limits=limits), own)
    running = list(psutil.process_iter(["cmdline"]))
    assert not [each for each in running if own in (each.info["cmdline"] or [])]


def test_the_kernel_watches_over_files(confined: Confined) -> None:
    few = replace(confined, limits=BuildLimits(open_files=20, file_size=1000))
    ended, said = run(few, "files = []\nwhile True: files.append(open('/dev/null'))")
    assert (ended, "Too many open files" in said) == (1, True)
    assert (
        run(few, "big = open('big', 'wb', buffering=0)\nfor _ in range(9): big.write(bytes(500))")[
            0
        ]
        != 0
    )
    assert (few.view.work / "big").stat().st_size <= 1000


def test_what_output_raises_ends_the_build(confined: Confined) -> None:
    def full(_: bytes) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        confined.run(
            [PYTHON, "-c", f"print(1, flush=True); {SLEEP}"],
            folder=confined.view.work,
            variables=VARIABLES,
            output=full,
        )
    assert not (confined.view.work.with_name("work.life").exists() and _alive(confined.view.work))


def _alive(work: Path) -> bool:
    return (
        Life(**json.loads(work.with_name(f"{work.name}.life").read_bytes())).process() is not None
    )


def test_builds_run_beside_each_other(confined: Confined, tmp_path: Path) -> None:
    results: dict[str, tuple[int, str]] = {}

    def one(name: str) -> None:
        work = tmp_path / name
        work.mkdir()
        results[name] = run(
            replace(confined, view=replace(confined.view, work=work)), f"print({name!r})"
        )

    threads = [threading.Thread(target=one, args=(name,)) for name in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == {name: (0, f"{name}\n") for name in ("a", "b", "c")}


def test_a_machine_without_bubblewrap_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bubblewrap, "SEARCH_PATH", str(tmp_path))
    find_sandbox.cache_clear()
    with contextlib.closing(_Clear()):
        with pytest.raises(
            ToolchainError,
            match=r"(?s)not installed\. Run:\n  apt-get .*bubblewrap.*--unsafe-no-sandbox",
        ):
            find_sandbox()
        assert find_sandbox(unsafe=True) == Sandbox(kind="none")


def test_a_machine_that_forbids_namespaces_is_told_what_it_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "bwrap"
    fake.write_text(
        "#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n",
        encoding="utf-8",
    )
    fake.chmod(0o755)
    monkeypatch.setattr(bubblewrap, "SEARCH_PATH", f"{tmp_path}:/usr/bin:/bin")
    find_sandbox.cache_clear()
    with (
        contextlib.closing(_Clear()),
        pytest.raises(
            ToolchainError,
            match=r"\(bwrap: No permissions to create new namespace\).*user namespaces",
        ),
    ):
        find_sandbox()


class _Clear:
    """Lets the next test ask the machine itself."""

    def close(self) -> None:
        find_sandbox.cache_clear()


def test_without_a_sandbox_it_still_dies_with_its_session(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    bare = Confined(sandbox=Sandbox(kind="none"), view=View(work=work))
    ended, said = run(bare, "import subprocess; print(subprocess.Popen(['sleep', '60']).pid)")
    assert ended == 0
    assert (
        not psutil.pid_exists(int(said))
        or psutil.Process(int(said)).status() == psutil.STATUS_ZOMBIE
    )
    assert boot() in (tmp_path / "work.life").read_text(encoding="utf-8")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_the_same_holds_for_a_plain_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command that is built for one, run as one."""
    nobody = 65534
    with (
        tempfile.TemporaryDirectory(prefix="forkhouse-plain-") as name,
        contextlib.ExitStack() as held,
    ):
        work = Path(name, "work")
        work.mkdir()
        for path in (work.parent, work):
            os.chown(path, nobody, nobody)
        monkeypatch.setattr(os, "geteuid", lambda: nobody)
        seccomp, accounts, info = (
            _descriptor(held, content) for content in (program(), bubblewrap.PASSWD, b"")
        )
        arguments = find_sandbox().arguments(
            View(work=work), work, seccomp=seccomp, accounts=accounts, info=info
        )
        script = (
            "touch made; touch /usr/evil; cat /etc/shadow; ls /root; id -u; grep -E "
            "'^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status; cat /proc/net/dev"
        )
        dropped = [
            "setpriv",
            f"--reuid={nobody}",
            f"--regid={nobody}",
            "--clear-groups",
            *arguments,
            "sh",
            "-c",
            script,
        ]
        ended = subprocess.run(
            dropped,
            env=VARIABLES,
            cwd="/",
            pass_fds=(seccomp, accounts, info),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (work / "made").stat().st_uid == nobody
    assert not Path("/usr/evil").exists()
    lines = ended.stdout.split()
    assert lines[:7] == ["1000", "CapEff:", "0000000000000000", "NoNewPrivs:", "1", "Seccomp:", "2"]
    assert ended.stdout.count(":") == 4  # of the networks there is the loopback alone
    assert "Read-only file system" in ended.stderr


def _descriptor(held: contextlib.ExitStack, content: bytes) -> int:
    descriptor = os.memfd_create("test")
    held.callback(os.close, descriptor)
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
