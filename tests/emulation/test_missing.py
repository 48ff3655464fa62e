"""What is said where the extra `emulation` is not installed; this needs none of it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("package", ["numpy", "tinygrad"])
def test_a_package_that_is_missing_is_named_with_what_brings_it(
    tmp_path: Path, package: str
) -> None:
    (tmp_path / "code").write_bytes(b"anything")
    # Python imports no module whose entry is None.
    script = (
        f"import sys, types; sys.modules['numpy'] = types.ModuleType('numpy'); "
        f"sys.modules[{package!r}] = None; "
        "sys.argv = ['forkhouse', 'emulate', 'code', '--list']; "
        "from forkhouse.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 20
    assert f"needs the Python package {package}" in done.stderr
    assert "pip install 'forkhouse[emulation]'" in done.stderr
