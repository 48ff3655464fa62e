"""The program that is carried finds Click and packaging alone."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from forkhouse.core.identity import ROOT


def test_the_carried_program_needs_nothing_but_what_it_has(tmp_path: Path) -> None:
    """It is loaded at each start, so what it imports at its head has to be in the archive."""
    (tmp_path / "forkhouse").symlink_to(ROOT)
    for name in ("click", "packaging"):
        spec = find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        (tmp_path / name).symlink_to(Path(spec.origin).parent)
    load = "import sys; sys.path.insert(0, sys.argv[1]); import forkhouse.cli.carried"
    loaded = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", load, tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert loaded.returncode == 0, loaded.stderr
