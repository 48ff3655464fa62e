"""What the page about the emulator shows is done as it stands there."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.emulation

PAGE = Path(__file__).parents[2] / "docs/how-to/emulate.md"


def block(language: str) -> str:
    found = re.search(
        rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    assert found is not None
    return found[1]


def test_the_example_works_word_for_word(compiled: Path, tmp_path: Path) -> None:
    shutil.copy(compiled, tmp_path / "kernels.co")
    (tmp_path / "args.json").write_text(block("json"), encoding="utf-8")
    np.save(tmp_path / "x.npy", np.arange(300, dtype=np.float32))
    install, *commands = block("sh").splitlines()
    # The package is installed already, with the extra: this environment is the session's.
    assert install == "pip install 'forkhouse[emulation]'"
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "forkhouse"
        subprocess.run([sys.executable, "-m", "forkhouse", *arguments], cwd=tmp_path, check=True)
    assert np.load(tmp_path / "x.npy").tolist() == (2 * np.arange(300.0)).tolist()
    script = block("python") + "np.save('y.npy', x)\n"
    np.save(tmp_path / "x.npy", np.arange(300, dtype=np.float32))
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    assert np.load(tmp_path / "y.npy").tolist() == (2 * np.arange(300.0)).tolist()


def test_the_table_has_each_kernel_that_is_recorded_of_triton() -> None:
    recorded = json.loads((PAGE.parents[2] / "triton-kernels.json").read_text(encoding="utf-8"))
    names = {entry["kernel"].rpartition(".")[2] for entry in recorded["kernels"]}
    table = PAGE.read_text(encoding="utf-8").partition("| kernel |")[2]
    assert {name for name in names if not re.search(rf"\b{name}\b", table)} == set()
