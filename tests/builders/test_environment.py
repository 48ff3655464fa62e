from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from forkhouse.builders.environment import (
    BuildEnvironment,
    Needs,
    Steps,
    jobs,
    last_lines,
    run_isolated,
    telling,
)
from forkhouse.core.environments import install_wheels, make_environment
from forkhouse.core.errors import BuildError, HashMismatchError, InstallError
from forkhouse.documents.pins import pinned_wheel
from forkhouse.sandbox.bubblewrap import View, find_sandbox, interpreter_homes
from forkhouse.sandbox.run import Confined
from forkhouse.toolchains.hip import HipToolchain

if TYPE_CHECKING:
    from collections.abc import Callable

PYTHON = sys.executable


def confined(folder: Path) -> Confined:
    """Return a sandbox in which a build sees its folder and the Python that runs the tests."""
    return Confined(
        sandbox=find_sandbox(),
        view=View(work=folder, readable=(Path(sys.prefix), *interpreter_homes())),
    )


def isolated(code: str, tmp_path: Path, **variables: str) -> str:
    """Run Python code as a build command and return its log."""
    log = tmp_path / "build.log"
    run_isolated(
        [PYTHON, "-c", code],
        confined=confined(tmp_path),
        folder=tmp_path,
        variables=variables,
        log=log,
    )
    return log.read_text(encoding="utf-8")


def test_the_callers_variables_are_not_visible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    log = isolated("import os; print(sorted(os.environ))", tmp_path, GIVEN="1", LC_ALL="C.UTF-8")
    assert log == "['GIVEN', 'LC_ALL']\n"


def test_the_network_is_absent(tmp_path: Path) -> None:
    """A server of this very machine cannot be reached, so neither can any other."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        reach = (
            f"import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), "
            "timeout=5); print('reached')"
        )
        assert (
            subprocess.run([PYTHON, "-c", reach], capture_output=True, text=True, check=True).stdout
            == "reached\n"
        )
        with pytest.raises(BuildError, match="Connection refused"):
            isolated(reach, tmp_path)


def test_a_command_that_fails_shows_its_last_lines(tmp_path: Path) -> None:
    code = "[print('line', n) for n in range(100)]; raise SystemExit(3)"
    with pytest.raises(
        BuildError,
        match=r"(?s)ended with exit code 3\. Its last lines:\n  line 75\n.*  line 99\n"
        r"The whole log: .*build\.log",
    ):
        isolated(code, tmp_path)
    assert (tmp_path / "build.log").read_text(encoding="utf-8").startswith("line 0\n")


def test_a_command_gets_no_input(tmp_path: Path) -> None:
    assert isolated("import sys; print(repr(sys.stdin.read()))", tmp_path) == "''\n"


def test_an_error_without_an_end_of_line_is_shown(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"(?s)exit code 1.*no newline"):
        isolated("raise SystemExit('no newline')", tmp_path)


def test_an_environment_holds_the_pinned_tools_alone(
    make_wheel: Callable[..., Path],
    publish: Callable[..., str],
    environment: BuildEnvironment,
    tmp_path: Path,
) -> None:
    path = make_wheel("tool", files={"tool.py": b"ANSWER = 42\n"})
    environment = replace(environment, tools=(pinned_wheel(path.name, publish(path)),))
    python = environment.python(Needs())
    assert output(python, "import tool; print(tool.ANSWER)") == "42\n"
    absent = (
        "import importlib.util as u; print([n for n in ('pip', 'setuptools', 'forkhouse') if "
        "u.find_spec(n)])"
    )
    assert output(python, absent) == "[]\n"
    ready = next((tmp_path / "environments").glob("*.ready")).stat().st_mtime_ns
    assert environment.python(Needs()) == python
    assert next((tmp_path / "environments").glob("*.ready")).stat().st_mtime_ns == ready


PIP_CONF = "[global]\ntarget = elsewhere\n"
SETTINGS = {
    "pip's variables": {
        "PIP_TARGET": "elsewhere",
        "PIP_PREFIX": "elsewhere",
        "PIP_ROOT": "elsewhere",
        "PIP_USER": "1",
        "PIP_REQUIRE_VIRTUALENV": "1",
        "PIP_DRY_RUN": "1",
        "PIP_CONSTRAINT": "no-such-file",
        "PIP_NO_BINARY": ":all:",
    },
    "pip's file": {"PIP_CONFIG_FILE": "pip.conf"},
    "Python's variables": {
        "PYTHONPATH": "elsewhere",
        "PYTHONHOME": "/nonexistent",
        "PYTHONPLATLIBDIR": "elsewhere",
    },
}
"""None of these may count."""


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_no_setting_of_the_users_pip_or_python_enters_an_environment(
    make_wheel: Callable[..., Path],
    environment: BuildEnvironment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, str],
) -> None:
    path = make_wheel("tool", files={"tool.py": b"ANSWER = 42\n"})
    pin = pinned_wheel(path.name, hashlib.sha256(path.read_bytes()).hexdigest())
    cached = tmp_path / "cache/files" / pin.sha256 / pin.file
    cached.parent.mkdir(parents=True)
    cached.write_bytes(path.read_bytes())
    (tmp_path / "pip.conf").write_text(PIP_CONF, encoding="utf-8")
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    python = replace(environment, tools=(pin,)).python(Needs())
    answer = subprocess.run(
        [python, "-I", "-c", "import tool; print(tool.ANSWER)"],
        env={},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout == "42\n"
    assert not (tmp_path / "elsewhere").exists()


def test_an_environment_that_stayed_empty_is_never_ready(
    make_wheel: Callable[..., Path], tmp_path: Path
) -> None:
    """pip does what it is told and reports success; here it is told to put the wheel elsewhere."""
    path = make_wheel("tool", files={"tool.py": b""})
    interpreter = make_environment(tmp_path / "empty")
    with pytest.raises(
        InstallError, match=r"pip reported success, and these are not in the environment: tool 1\.0"
    ):
        install_wheels(
            interpreter, "--target", str(tmp_path / "elsewhere"), str(path), wheels=[path.name]
        )
    install_wheels(interpreter, "--no-deps", str(path), wheels=[path.name])


def output(python: Path, code: str) -> str:
    return subprocess.run(
        [python, "-c", code], capture_output=True, text=True, check=True, cwd="/"
    ).stdout


def test_an_environment_that_was_not_finished_is_made_anew(environment: BuildEnvironment) -> None:
    python = environment.python(Needs())
    folder = python.parent.parent
    folder.with_name(f"{folder.name}.ready").unlink()
    (folder / "left-over").touch()
    assert replace(environment).python(Needs()) == python  # another run
    assert not (folder / "left-over").exists()


@pytest.mark.parametrize("damage", ["emptied", "gone", "more"])
def test_an_environment_that_a_power_cut_has_spoilt_is_made_anew(
    make_wheel: Callable[..., Path],
    publish: Callable[..., str],
    environment: BuildEnvironment,
    damage: str,
) -> None:
    """What is installed is not made durable, so files may be empty though all had ended well."""
    path = make_wheel("tool", files={"tool.py": b"ANSWER = 42\n"})
    environment = replace(environment, tools=(pinned_wheel(path.name, publish(path)),))
    folder = environment.python(Needs()).parent.parent
    (tool,) = folder.rglob("tool.py")
    match damage:
        case "emptied":
            tool.write_bytes(b"")
        case "gone":
            tool.unlink()
        case "more":
            tool.with_name("sitecustomize.py").write_text("raise SystemExit(1)\n", encoding="utf-8")
    python = replace(environment).python(Needs())  # another run
    assert output(python, "import tool; print(tool.ANSWER)") == "42\n"
    assert not tool.with_name("sitecustomize.py").exists()


def test_a_tool_with_another_hash_makes_no_environment(
    make_wheel: Callable[..., Path],
    publish: Callable[..., str],
    environment: BuildEnvironment,
    tmp_path: Path,
) -> None:
    path = make_wheel("tool")
    publish(path)
    environment = replace(environment, tools=(pinned_wheel(path.name, "0" * 64),))
    with pytest.raises(HashMismatchError, match=r"tool-1\.0-py3-none-any\.whl: its sha256 is"):
        environment.python(Needs())
    assert not list(tmp_path.glob("environments/*.ready"))


def test_a_tool_that_pip_refuses_is_explained(
    make_wheel: Callable[..., Path], publish: Callable[..., str], environment: BuildEnvironment
) -> None:
    path = make_wheel("tool", tag="cp27-cp27m-win32")
    environment = replace(environment, tools=(pinned_wheel(path.name, publish(path)),))
    with pytest.raises(
        BuildError, match=r"The build tools could not be installed:\n.*not a supported wheel"
    ):
        environment.python(Needs())


def test_the_variables_of_a_build_are_all_named(
    environment: BuildEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CFLAGS", "-march=native")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    monkeypatch.setenv("CCACHE_DIR", "/nowhere")
    monkeypatch.setattr("forkhouse.builders.environment.SEARCH_PATH", str(tmp_path))
    variables = environment.variables(epoch=1_700_000_000, work=tmp_path, needs=Needs())
    assert set(variables) == {
        "PATH",
        "HOME",
        "TMPDIR",
        "LC_ALL",
        "TZ",
        "SOURCE_DATE_EPOCH",
        "PYTHONHASHSEED",
        "CMAKE_BUILD_PARALLEL_LEVEL",
        "CUDA_HOME",
        "CUDA_PATH",
        "HIP_PLATFORM",
    }
    assert variables["SOURCE_DATE_EPOCH"] == "1700000000"
    assert variables["PATH"].startswith(f"{environment.python(Needs()).parent}:")
    # Zip archives, and so wheels, know no time before 1980.
    assert (
        environment.variables(epoch=0, work=tmp_path, needs=Needs())["SOURCE_DATE_EPOCH"]
        == "315532800"
    )


def test_cuda_cannot_be_found_by_a_build(
    environment: BuildEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "usr/local/bin"
    tools.mkdir(parents=True)
    (tools / "nvcc").write_text("#!/bin/sh\necho CUDA\n", encoding="utf-8")
    (tools / "nvcc").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "usr/local"))
    monkeypatch.setenv("CUDACXX", str(tools / "nvcc"))
    variables = environment.variables(epoch=0, work=tmp_path, needs=Needs())
    code = (
        "import os, shutil; print(shutil.which('nvcc'), os.path.exists(os.environ['CUDA_HOME']), "
        "'CUDACXX' in os.environ)"
    )
    log = tmp_path / "log"
    run_isolated(
        [sys.executable, "-c", code],
        confined=confined(tmp_path),
        folder=tmp_path,
        variables=variables,
        log=log,
    )
    assert log.read_text(encoding="utf-8") == "None False False\n"


def test_a_rocm_build_is_told_where_rocm_is(
    environment: BuildEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rocm/include/hsa").mkdir(parents=True)
    (tmp_path / "rocm/include/hsa/hsa.h").touch()
    monkeypatch.setenv("ROCM_PATH", str(tmp_path / "rocm"))
    rocm = Needs(rocm=True)
    assert environment.variables(epoch=0, work=tmp_path, needs=rocm)["ROCM_PATH"] == str(
        tmp_path / "rocm"
    )
    assert environment.identity(rocm) != environment.identity(Needs())


def test_a_hip_build_is_told_the_toolchain_and_the_targets(
    environment: BuildEnvironment, tmp_path: Path
) -> None:
    (tmp_path / "rocm/amdgcn/bitcode").mkdir(parents=True)
    root = tmp_path / "rocm"
    toolchain = HipToolchain(
        origin="test", root=root, compiler=root / "clang++", version="7.2.1", identity="one"
    )
    environment = replace(environment, hip=lambda: toolchain, targets=("gfx90a", "gfx942"))
    variables = environment.variables(epoch=0, work=tmp_path, needs=Needs(hip=True))
    assert variables["ROCM_PATH"] == str(root)
    assert variables["HIPCXX"] == str(root / "clang++")
    assert variables["PYTORCH_ROCM_ARCH"] == "gfx90a;gfx942"
    assert (
        variables["HIPFLAGS"]
        == f"--rocm-path={root} --rocm-device-lib-path={root}/amdgcn/bitcode -isystem "
        f"{root}/include"
    )
    identity = environment.identity(Needs(hip=True))
    other = replace(environment, hip=lambda: replace(toolchain, identity="two"))
    assert other.identity(Needs(hip=True)) != identity
    # Where it lies decides nothing.
    moved = replace(environment, hip=lambda: replace(toolchain, root=tmp_path / "elsewhere"))
    assert moved.identity(Needs(hip=True)) == identity


@pytest.mark.parametrize(("available", "expected"), [(64, 2), (7, 2), (5, 1), (0.1, 1)])
def test_no_more_compilers_run_than_memory_holds(
    available: float, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(
        "psutil.virtual_memory", lambda: SimpleNamespace(available=available * 2**30)
    )
    assert jobs(3) == expected


def test_a_compiler_cache_is_the_builds_own(
    environment: BuildEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ccache").touch()
    (tmp_path / "ccache").chmod(0o755)
    monkeypatch.setattr("forkhouse.builders.environment.SEARCH_PATH", str(tmp_path))
    monkeypatch.setenv("CCACHE_DIR", "/nowhere")
    monkeypatch.setenv("CCACHE_REMOTE_STORAGE", "redis://user:password@host.invalid")
    monkeypatch.setenv("SCCACHE_REDIS_PASSWORD", "hunter2")
    environment = replace(environment, caches=tmp_path / "caches")
    one, other = (
        environment.variables(epoch=0, work=tmp_path / name, needs=Needs())
        for name in ("one", "other")
    )
    assert one["CCACHE_DIR"] == str(tmp_path / "caches/one")
    assert other["CCACHE_DIR"] == str(tmp_path / "caches/other")
    assert one["CMAKE_HIP_COMPILER_LAUNCHER"] == "ccache"
    assert not [
        name for name in one if name.startswith(("SCCACHE_", "CCACHE_")) and name != "CCACHE_DIR"
    ]
    assert environment.confined(tmp_path / "one", Needs()).view.writable == (
        tmp_path / "caches/one",
    )
    assert "CCACHE_DIR" not in replace(environment, caches=None).variables(
        epoch=0, work=tmp_path, needs=Needs()
    )


def test_ninjas_steps_become_progress() -> None:
    steps = Steps()
    # One Ninja of four steps, the second of which is a Ninja of ten; and then words that only look
    # like steps.
    gained = [
        steps.gained(text)
        for text in (
            b"[1/4] a\n",
            b"[5/10] b\nnoise [9/10] \n",
            b"[10/10] c\n[2/4] d\n",
            b"[4/4] e\n",
        )
    ]
    assert gained == pytest.approx([0.25, 0.25, 0.5, 0.0])


def test_a_step_that_is_a_whole_make_counts_by_the_lines_of_its_compilers() -> None:
    lines = b"".join(b"  CC       src/file%d.lo\n" % number for number in range(200))
    first = Steps()
    assert (
        first.gained(b"[4/10] No patch step for 'it'\n[5/10] Performing build step for 'it'\n") == 0
    )  # five of ten steps say nothing
    assert first.gained(lines) == 0
    assert first.gained(b"[9/10] Performing install step for 'it'\n") == 0
    assert first.compiled == 200
    again = Steps(last=200)
    shares = [
        again.gained(b"[6/10] Performing build step\n"),
        again.gained(lines[: len(lines) // 2]),
        again.gained(lines[len(lines) // 2 :]),
    ]
    assert shares[0] == 0
    assert sum(shares[:2]) == pytest.approx(0.5, abs=0.02)
    assert sum(shares) == pytest.approx(0.99)


def test_a_project_that_counts_its_compilers_has_a_share_the_first_time() -> None:
    steps = Steps()
    assert steps.gained(
        b"  CC       conftest.o\n[6/10] Performing build step for 'it'\n"
        b"-- 9 lines of compilers to come\n"
    ) == pytest.approx(0.1)
    assert steps.gained(b"  CC       a.lo\n  CXX      b.lo\n") == pytest.approx(0.2)


def test_a_ninja_of_many_steps_is_believed_before_compilers_lines() -> None:
    steps = Steps(last=10)
    assert steps.gained(b"[100/400] c++ -c a.cpp\n") == pytest.approx(0.25)


def test_what_a_build_prints_is_read_once_whatever_it_is() -> None:
    """Each of these would be looked at for hours, if lines were as long as they like."""
    steps = Steps()
    for _ in range(2000):
        steps.gained(b"x" * 65_536)
    for _ in range(20):
        steps.gained(b"gcc " * 16_384)
    assert steps.gained(b"\n" * 65_536) == 0
    steps.gained(b"gcc -O2 -c a.c\n-c gcc\n  CC   b.lo\n[1/2] cc  -c c.c\n")
    assert steps.compiled == 3


def test_the_end_of_a_log_larger_than_memory_is_shown(tmp_path: Path) -> None:
    log = tmp_path / "build.log"
    with log.open("wb") as stream:
        stream.write(b"first\nFAILED: kernel.o\nwhy it failed\n")
        stream.truncate(8 * 2**30)  # of one line, with holes for what it holds
        stream.seek(0, os.SEEK_END)
        stream.write(b"\n" * 2_000_000 + b"stopped\n")
    lines = telling(last_lines(log))
    assert lines[:2] == ["FAILED: kernel.o", "why it failed"]
    assert lines[-1] == "stopped"
    assert len(lines) < 50


def test_what_failed_is_shown_although_others_went_on() -> None:
    noise = [f"warning {number}" for number in range(100)]
    lines = [
        *noise,
        "FAILED: kernel.o ",
        "clang " + "x" * 1000,
        "kernel.hip:3: error: no such thing",
        *noise,
        "ninja: build stopped",
    ]
    shown = telling(lines)
    assert shown[0] == "FAILED: kernel.o "
    assert len(shown[1]) == 401
    assert shown[2] == "kernel.hip:3: error: no such thing"
    assert shown[-1] == "ninja: build stopped"
    assert len(shown) == 41
    assert telling(["one", "two"]) == ["one", "two"]
    assert telling(noise) == noise[-25:]


def test_the_first_error_of_rustc_is_shown_though_other_crates_go_on() -> None:
    noise = [f"   Compiling crate-{number} v1.0.0" for number in range(50)]
    lines = [
        *noise,
        "error[E0425]: cannot find value `x`",
        " --> src/lib.rs:1:1",
        *noise,
        "error: could not compile `demo`",
    ]
    shown = telling(lines)
    assert shown[:2] == ["error[E0425]: cannot find value `x`", " --> src/lib.rs:1:1"]
    assert shown[-1] == "error: could not compile `demo`"
