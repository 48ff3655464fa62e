"""The README's commands are run.

The heavy two by CI, whose script must hold them word for word, the others here.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from forkhouse.core import errors

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def test_ci_runs_the_two_commands_word_for_word() -> None:
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    build, test, *_ = BLOCKS
    assert build.strip().endswith("nox -s build-wheels -- --system-packages")
    assert test.strip().endswith("nox -s tests")
    assert build in script
    assert test in script


def test_every_session_it_names_exists() -> None:
    noxfile = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    named = set(re.findall(r"nox -s ([a-z0-9-]+)", README))
    assert len(named) >= 4
    assert [
        name
        for name in sorted(named)
        if f'name="{name}"' not in noxfile and f"def {name}(" not in noxfile
    ] == []


def test_its_exit_codes_are_those_of_the_errors() -> None:
    classes = [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.ForkhouseError)
    ]
    codes = {error.exit_code for error in classes} - {errors.ForkhouseError.exit_code}
    rows = re.findall(r"^\| ([0-9, ]+) \|", README, flags=re.MULTILINE)
    documented = {int(code) for row in rows for code in row.split(",")} - {130}
    assert documented == codes
    assert len(codes) == len(classes) - 1, "two classes share an exit code"


def test_its_options_are_those_of_the_command_line() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "forkhouse", "build", "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    row = next(line for line in README.splitlines() if line.startswith("| `nox -s build-wheels"))
    assert [option for option in re.findall(r"--[a-z-]+", row) if option not in said] == []
