from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING

import pytest

from forkhouse.binaries.elf import Elf
from forkhouse.core.errors import AuditError
from tests.compiled import compiled, needs_gcc

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = needs_gcc

USES = (
    "int cudaMalloc(void); __attribute__((weak)) int cuInit(void); int code(void) { return "
    "cudaMalloc() + (cuInit ? cuInit() : 0); }\n"
)


def without_section_headers(content: bytes) -> bytes:
    stripped = bytearray(content)
    stripped[0x28:0x30] = bytes(8)  # e_shoff
    stripped[0x3C:0x40] = bytes(4)  # e_shnum and e_shstrndx
    return bytes(stripped)


def readelf(path: Path, *options: str) -> str:
    return subprocess.run(
        ["readelf", "--wide", *options, path],
        capture_output=True,
        text=True,
        check=True,
        env={"LC_ALL": "C"},
    ).stdout


@pytest.mark.parametrize("hash_style", ["gnu", "sysv", "both"])
@pytest.mark.parametrize("exports", [True, False])
def test_symbols_are_those_of_readelf_with_and_without_section_headers(
    tmp_path: Path, hash_style: str, *, exports: bool
) -> None:
    code = (
        USES
        if exports
        else USES.replace("int code", '__attribute__((visibility("hidden"))) int code')
    )
    content = compiled(tmp_path, code, f"-Wl,--hash-style={hash_style}")
    rows = [
        line.split()
        for line in readelf(tmp_path / "ext.so", "--dyn-syms").splitlines()
        if "GLOBAL" in line or "WEAK" in line
    ]
    expected = {(row[7].partition("@")[0], row[6] != "UND", row[4] == "WEAK") for row in rows}
    for form in (content, without_section_headers(content)):
        assert {
            (symbol.name, symbol.defined, symbol.weak) for symbol in Elf(form).symbols()
        } == expected
    assert ("cudaMalloc", False, False) in expected
    assert ("cuInit", False, True) in expected


def test_an_object_file_has_symbols_too(tmp_path: Path) -> None:
    elf = Elf(compiled(tmp_path, USES, "-c"))
    assert {"cudaMalloc", "cuInit"} <= {
        symbol.name for symbol in elf.symbols() if not symbol.defined
    }
    assert elf.tags("NEEDED") == ()
    assert elf.versions() == {}


def test_tags_and_versions_are_those_of_readelf(
    library: Callable[..., bytes], tmp_path: Path
) -> None:
    content = library(
        "libfirst.so.1",
        "-Wl,-rpath,$ORIGIN:/opt",
        code='#include <stdio.h>\nint code(void) { return puts("a"); }\n',
    )
    (tmp_path / "ext.so").write_bytes(content)
    elf, said = Elf(content), readelf(tmp_path / "ext.so", "--dynamic", "--version-info")
    assert elf.tags("NEEDED") == ("libfirst.so.1", "libc.so.6")
    assert all(f"Shared library: [{name}]" in said for name in elf.tags("NEEDED"))
    assert elf.tags("RPATH") + elf.tags("RUNPATH") == ("$ORIGIN:/opt",)
    assert elf.versions()["libc.so.6"] >= {"GLIBC_2.2.5"}
    assert all(
        f"Name: {version} " in said for versions in elf.versions().values() for version in versions
    )
    stripped = Elf(without_section_headers(content))
    assert stripped.tags("NEEDED") == elf.tags("NEEDED")
    assert not stripped.has_sections


def test_constants_hold_texts_and_not_code(tmp_path: Path) -> None:
    content = compiled(tmp_path, 'const char *name(void) { return "libcudart.so.12"; }\n')
    assert any(b"libcudart.so.12" in part for part in Elf(content).constants())
    assert any(
        b"libcudart.so.12" in part for part in Elf(without_section_headers(content)).constants()
    )


def test_a_section_without_room_in_the_file_is_empty(tmp_path: Path) -> None:
    content = compiled(
        tmp_path,
        '__asm__(".pushsection .hip_fatbin,\\"aw\\",@nobits; .zero 65536; .popsection");\n',
    )
    assert Elf(content).section(".hip_fatbin") == b""
    assert Elf(content).section(".none") is None


def test_no_damage_is_more_than_an_audit_error(library: Callable[..., bytes]) -> None:
    whole = library("libfirst.so.1", code=USES)
    damaged = [whole[:size] for size in range(0, len(whole), 397)]
    damaged += [
        whole[:at] + filler * 8 + whole[at + 8 :]
        for at in range(4, 0x400, 12)
        for filler in (b"\xff", b"\0")
    ]
    for content in damaged:
        with contextlib.suppress(AuditError):
            elf = Elf(content)
            elf.summary()
            list(elf.symbols())
            list(elf.constants())
            list(elf.notes("AMDGPU", 32))
            elf.section(".hip_fatbin")
