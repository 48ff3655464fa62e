"""`forkhouse serve` on the command line: what is printed and written, and what is refused."""

from __future__ import annotations

import json
import os
import shlex
import time
from typing import TYPE_CHECKING

import pytest

from tests import forked
from tests.serving.test_writers import ON_CPU, TEXT

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "env/bin").mkdir(parents=True)
    (tmp_path / "env/bin/python").symlink_to("/bin/true")
    path = tmp_path / "a deployment.yaml"
    path.write_text(ON_CPU, encoding="utf-8")
    return path


def serve(file: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return forked.run(["serve", str(file), *arguments], {**os.environ, "HOME": str(file.parent)})


def test_a_dry_run_prints_commands_that_a_shell_takes_and_starts_nothing(file: Path) -> None:
    python = str(file.parent / "env/bin/python")
    result = serve(file, "--python", python, "--dry-run")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    heads = [line for line in lines if line.startswith("# ")]
    assert heads == [
        "# frontend: health at http://127.0.0.1:8000/health",
        "# prefill-1: health at http://127.0.0.1:21000/health",
        "# decode-1: health at http://127.0.0.1:21010/health",
        "# decode-2: health at http://127.0.0.1:21020/health",
    ]
    machine = json.loads(serve(file, "--python", python, "--dry-run", "--json").stdout)
    for line, each in zip([line for line in lines if line[:3] == "env"], machine, strict=True):
        variables = [f"{name}={value}" for name, value in sorted(each["environment"].items())]
        assert shlex.split(line) == ["env", "-i", *variables, *each["command"]]
    assert machine[0]["environment"]["HOME"] == str(
        file.parent / ".local/state/forkhouse/small/home"
    )
    assert not (file.parent / ".local").exists()


def test_each_writer_says_what_it_wrote(file: Path) -> None:
    python = str(file.parent / "env/bin/python")
    folder = file.parent / "out"
    for option, given, names in (
        ("--systemd", folder / "units", 6),
        ("--compose", folder / "compose.yaml", 1),
        ("--slurm", folder / "batch", 1),
    ):
        more = () if option == "--compose" else ("--python", python)
        result = serve(file, option, str(given), *more)
        assert result.returncode == 0, result.stderr
        written = result.stdout.splitlines()
        assert len(written) == names
        assert all(os.path.isfile(each) for each in written)
    file.write_text(TEXT, encoding="utf-8")
    result = serve(file, "--kubernetes", str(folder / "k8s"))
    assert result.returncode == 0, result.stderr
    assert sorted(each.name for each in (folder / "k8s").iterdir()) == [
        "big-decode.yaml",
        "big-frontend.yaml",
        "big-prefill.yaml",
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "Give --python"),
        (["--python", "lost/python"], 2, "is no program"),
        (["--python", "{env}", "--json"], 2, "--json goes with --dry-run"),
        (["--python", "{env}", "--slurm", "x", "--compose", "y"], 2, "one of them at a time"),
        (["--python", "{env}", "--systemd", "x", "--state", "y"], 2, "no --state"),
        (["--compose", "x", "--python", "{env}"], 2, "the interpreter is the image's"),
        (["--kubernetes", "x"], 2, "pods share none"),
        (["--python", "{env}"], 2, "The model's folder /models/small is not there"),
        (["--python", "a blank/bin/python", "--slurm", "x"], 2, "has a blank in its path"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(
    file: Path, arguments: list[str], code: int, said: str
) -> None:
    env = str(file.parent / "env/bin/python")
    result = serve(file, *(each.replace("{env}", env) for each in arguments))
    assert said in " ".join(result.stderr.split())
    assert result.returncode == code
    assert "Traceback" not in result.stderr


def test_a_wrong_file_is_told_with_its_lines(file: Path) -> None:
    file.write_text("name: x\nroles:\n  worker: {replicas: none}\n", encoding="utf-8")
    result = serve(file, "--python", "x")
    assert result.returncode == 10
    assert "a deployment.yaml:3: roles.worker.replicas: " in result.stderr
    assert "a deployment.yaml:1: model: Field required" in result.stderr


def test_an_mi210_that_is_not_there_is_told_before_anything_starts(file: Path) -> None:
    if os.path.exists("/dev/kfd"):
        pytest.skip("this machine has an AMD GPU")
    file.write_text(TEXT, encoding="utf-8")
    before = time.monotonic()
    result = serve(file, "--python", str(file.parent / "env/bin/python"))
    assert result.returncode == 40
    assert "No gfx90a GPU was found" in result.stderr
    assert time.monotonic() - before < 10
