from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.flow.conftest import Checkout

COUNTING = """
import sys
from forkhouse.documents import reading
read = reading.read_text
def counted(path, longest):
    print(path, file=sys.stderr)
    return read(path, longest)
reading.read_text = counted
from forkhouse.cli.main import main
main()
"""
"""Runs the command line, and says on a line of standard error which document is read."""


@pytest.mark.parametrize(
    "command",
    [
        ("build",),
        ("patches", "check"),
        ("doctor",),
        ("radar",),
        ("lock", "--check"),
        ("lock", "--update"),
    ],
    ids=" ".join,
)
def test_a_command_reads_each_document_once(checkout: Checkout, command: tuple[str, ...]) -> None:
    result = subprocess.run(
        [sys.executable, "-c", COUNTING, "--root", str(checkout.root), *command],
        env=checkout.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    read = [line for line in result.stderr.splitlines() if line.startswith(str(checkout.root))]
    assert f"{checkout.root}/upstream.lock" in read, result.stderr
    if command == ("lock", "--update"):  # it writes closures, and reads what it wrote
        read = [line for line in read if not line.endswith(".toml")]
    assert sorted(set(read)) == sorted(read)
