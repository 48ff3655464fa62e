from __future__ import annotations

import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from forkhouse.builders.environment import BuildEnvironment, run_isolated
from forkhouse.closure import pinned_wheel
from forkhouse.errors import BuildError, HashMismatchError, ToolchainError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from forkhouse.recipes import Recipe
    from forkhouse.sources.registry import Registry

PYTHON = sys.executable


def isolated(code: str, tmp_path: Path, **variables: str) -> str:
    """Run Python code as a build command and return its log."""
    log = tmp_path / "build.log"
    run_isolated([PYTHON, "-c", code], folder=tmp_path, variables=variables, log=log)
    return log.read_text(encoding="utf-8")


def test_the_callers_variables_are_not_visible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    log = isolated("import os; print(sorted(os.environ))", tmp_path, GIVEN="1", LC_ALL="C.UTF-8")
    assert log == "['GIVEN', 'LC_ALL']\n"


def test_the_network_is_absent(tmp_path: Path) -> None:
    """A server of this very machine cannot be reached, so neither can any other."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        reach = f"import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), timeout=5); print('reached')"
        assert subprocess.run([PYTHON, "-c", reach], capture_output=True, text=True, check=True).stdout == "reached\n"
        with pytest.raises(BuildError, match="Network is unreachable"):
            isolated(reach, tmp_path)


def test_a_command_that_fails_shows_its_last_lines(tmp_path: Path) -> None:
    code = "[print('line', n) for n in range(100)]; raise SystemExit(3)"
    with pytest.raises(
        BuildError, match=r"(?s)ended with exit code 3\. Its last lines:\n  line 75\n.*  line 99\nThe whole log: .*build\.log"
    ):
        isolated(code, tmp_path)
    assert (tmp_path / "build.log").read_text(encoding="utf-8").startswith("line 0\n")


def test_a_command_gets_no_input(tmp_path: Path) -> None:
    assert isolated("import sys; print(repr(sys.stdin.read()))", tmp_path) == "''\n"


def test_without_namespaces_it_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forkhouse.builders.environment.SEARCH_PATH", str(tmp_path))
    with pytest.raises(ToolchainError, match=r"Builds run without a network.*Install util-linux"):
        isolated("pass", tmp_path)


def test_an_environment_holds_the_pinned_tools_alone(
    make_wheel: Callable[..., Path], publish: Callable[..., str], registry: Registry, tmp_path: Path
) -> None:
    path = make_wheel("tool", files={"tool.py": b"ANSWER = 42\n"})
    environment = BuildEnvironment(tools=(pinned_wheel(path.name, publish(path)),), registry=registry, folder=tmp_path / "environments")
    python = environment.python()
    assert output(python, "import tool; print(tool.ANSWER)") == "42\n"
    absent = "import importlib.util as u; print([n for n in ('pip', 'setuptools', 'forkhouse') if u.find_spec(n)])"
    assert output(python, absent) == "[]\n"
    ready = next((tmp_path / "environments").glob("*/ready")).stat().st_mtime_ns
    assert environment.python() == python
    assert next((tmp_path / "environments").glob("*/ready")).stat().st_mtime_ns == ready


def output(python: Path, code: str) -> str:
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, cwd="/").stdout


def test_an_environment_that_was_not_finished_is_made_anew(environment: BuildEnvironment) -> None:
    python = environment.python()
    folder = python.parent.parent
    (folder / "ready").unlink()
    (folder / "left-over").touch()
    assert environment.python() == python
    assert not (folder / "left-over").exists()


def test_a_tool_with_another_hash_makes_no_environment(
    make_wheel: Callable[..., Path], publish: Callable[..., str], registry: Registry, tmp_path: Path
) -> None:
    path = make_wheel("tool")
    publish(path)
    environment = BuildEnvironment(tools=(pinned_wheel(path.name, "0" * 64),), registry=registry, folder=tmp_path / "environments")
    with pytest.raises(HashMismatchError, match=r"tool-1\.0-py3-none-any\.whl: its sha256 is"):
        environment.python()
    assert not list(tmp_path.glob("environments/*/ready"))


def test_a_tool_that_pip_refuses_is_explained(
    make_wheel: Callable[..., Path], publish: Callable[..., str], registry: Registry, tmp_path: Path
) -> None:
    path = make_wheel("tool", tag="cp27-cp27m-win32")
    environment = BuildEnvironment(tools=(pinned_wheel(path.name, publish(path)),), registry=registry, folder=tmp_path / "environments")
    with pytest.raises(BuildError, match=r"The build tools could not be installed:\n.*not a supported wheel"):
        environment.python()


def test_the_variables_of_a_build_are_all_named(
    environment: BuildEnvironment, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CFLAGS", "-march=native")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    variables = environment.variables(epoch=1_700_000_000, home=tmp_path, recipe=recipe)
    assert set(variables) == {
        "PATH",
        "HOME",
        "TMPDIR",
        "LC_ALL",
        "TZ",
        "SOURCE_DATE_EPOCH",
        "PYTHONHASHSEED",
        "CMAKE_BUILD_PARALLEL_LEVEL",
    }
    assert variables["SOURCE_DATE_EPOCH"] == "1700000000"
    assert variables["PATH"].startswith(f"{environment.python().parent}:")
    # Zip archives, and so wheels, know no time before 1980.
    assert environment.variables(epoch=0, home=tmp_path, recipe=recipe)["SOURCE_DATE_EPOCH"] == "315532800"


def test_a_rocm_build_is_told_where_rocm_is(
    environment: BuildEnvironment, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rocm/include/hsa").mkdir(parents=True)
    (tmp_path / "rocm/include/hsa/hsa.h").touch()
    monkeypatch.setenv("ROCM_PATH", str(tmp_path / "rocm"))
    rocm = recipe.model_copy(update={"rocm": True})
    assert environment.variables(epoch=0, home=tmp_path, recipe=rocm)["ROCM_PATH"] == str(tmp_path / "rocm")
    assert environment.identity(rocm) != environment.identity(recipe)
