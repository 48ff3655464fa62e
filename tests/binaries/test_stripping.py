"""What is left of an ELF file loads as before, and names no folder of the machine that made it."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import pytest

from forkhouse.binaries.elf import Elf
from forkhouse.binaries.stripping import stripped
from forkhouse.core.errors import AuditError
from tests.compiled import compiled, needs_gcc

if TYPE_CHECKING:
    from pathlib import Path

CODE = "static int three = 3;\nint code(void) { return three; }\n"
OPTIONS = ("-g", "-Wl,--build-id=none")

pytestmark = needs_gcc


def test_a_stripped_library_is_loaded_and_runs(tmp_path: Path) -> None:
    whole = compiled(tmp_path, CODE, *OPTIONS)
    small = stripped(whole)
    (tmp_path / "small.so").write_bytes(small)
    assert ctypes.CDLL(str(tmp_path / "small.so")).code() == 3
    assert len(small) < len(whole)
    assert b"debug" in whole
    assert b"debug" not in small
    for name in (".text", ".data", ".dynsym", ".dynamic"):
        assert Elf(small).section(name) == Elf(whole).section(name)


def test_the_bytes_do_not_hang_on_the_folder(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "another-of-another-length"]
    for folder in folders:
        folder.mkdir()
    first, second = (compiled(folder, CODE, *OPTIONS) for folder in folders)
    assert first != second
    assert stripped(first) == stripped(second)
    assert stripped(stripped(first)) == stripped(first)


@pytest.mark.parametrize("damage", ["short", "class", "sections"])
def test_what_is_damaged_is_refused(tmp_path: Path, damage: str) -> None:
    content = bytearray(compiled(tmp_path, CODE, *OPTIONS))
    if damage == "short":
        del content[2000:]
    elif damage == "class":
        content[4] = 1
    else:
        content[58:60] = b"\x10\x00"  # the size of a section header
    with pytest.raises(AuditError):
        stripped(bytes(content))
