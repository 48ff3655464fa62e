"""Real ELF files, compiled there and then by gcc, and offload bundles as clang writes them."""

from __future__ import annotations

import functools
import hashlib
import shutil
import struct
import subprocess
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import msgpack
import pytest
from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not on this machine")


PAGE = 4096

EM_AMDGPU = 224


def compiled(folder: Path, code: str, *options: str, name: str = "ext.so") -> bytes:
    """Compile C to a shared library, or with -c to an object file."""
    (folder / "code.c").write_text(code, encoding="utf-8")
    kind = [] if "-c" in options else ["-shared", "-fPIC"]
    subprocess.run(["gcc", *kind, "-o", name, "code.c", *options], cwd=folder, check=True)
    return (folder / name).read_bytes()


@functools.cache
def once(code: str, *options: str, needed: str | None = None, data: bytes = b"") -> bytes:
    """Compile C to a shared library, once for all tests of this process that want the same.

    It is linked with `needed`, an empty library made for it, and can include the file data.bin.
    """
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "data.bin").write_bytes(data)
        linked: list[str] = []
        if needed:
            (folder / needed).write_bytes(once("", f"-Wl,-soname,{needed}"))
            linked = ["-Wl,--no-as-needed", "-L.", f"-l:{needed}"]
        return compiled(folder, code, *linked, *options)


@pytest.fixture
def library() -> Callable[..., bytes]:
    """Compile a shared library that needs another one (made for it, empty) and is linked with the
    given options.
    """

    def make(
        needed: str | None = None, *options: str, code: str = "int code(void) { return 1; }\n"
    ) -> bytes:
        return once(code, *options, needed=needed)

    return make


@pytest.fixture
def code_object() -> Callable[..., bytes]:
    """Make what looks like an AMD GPU's code object.

    Kernel descriptors, metadata that names its target, the right machine.
    """

    def make(
        *kernels: str,
        target: str | None = "amdgcn-amd-amdhsa--gfx90a",
        notes: Sequence[bytes] | None = None,
        descriptor: bytes = b"\1",
    ) -> bytes:
        """Compile it; `notes` takes the place of the metadata that names the target."""
        held = ", ".join(str(byte) for byte in descriptor)
        lines = [
            f"__attribute__((aligned(64))) const unsigned char d{number}[64] "
            f'__asm__("{name}.kd") = {{{held}}};'
            for number, name in enumerate(kernels)
        ]
        if notes is None:
            notes = [] if target is None else [msgpack.packb({"amdhsa.target": target})]
        for content in notes:
            text = "".join(f"\\{byte:03o}" for byte in content)
            note = (
                f'.long 7, 2f-1f, 32; .asciz "AMDGPU"; .balign 4; 1: .ascii "{text}"; 2: .balign 4'
            )
            lines.append(
                "__asm__("
                + c_text(f'.pushsection .note,"a",@note; .balign 4; {note}; .popsection')
                + ");"
            )
        made = bytearray(once("\n".join([*lines, ""]), "-nostdlib"))
        made[0x12:0x14] = struct.pack("<H", EM_AMDGPU)
        return bytes(made)

    return make


def c_text(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def bundle(entries: Mapping[str, bytes], *, align: int = PAGE) -> bytes:
    """Write an offload bundle as clang does.

    The host's empty entry, then the GPUs', each code object at its own page.
    """
    everything = {"host-x86_64-unknown-linux-gnu-": b"", **entries}
    offset = 32 + sum(24 + len(identity) for identity in everything)
    table, body = struct.pack("<24sQ", b"__CLANG_OFFLOAD_BUNDLE__", len(everything)), b""
    for identity, content in everything.items():
        start = -(-(offset + len(body)) // align) * align
        body = body.ljust(start - offset, b"\0") + content
        table += struct.pack("<QQQ", start, len(content), len(identity)) + identity.encode()
    return table + body


def compressed(content: bytes, *, version: int = 3, method: str = "zstd") -> bytes:
    """Write a compressed offload bundle."""
    packed = zstd.compress(content) if method == "zstd" else zlib.compress(content)
    layout = struct.Struct("<4sHHQQ8s" if version == 3 else "<4sHHII8s")
    digest = hashlib.md5(content, usedforsecurity=False).digest()[:8]
    return (
        layout.pack(
            b"CCOB", version, int(method == "zstd"), layout.size + len(packed), len(content), digest
        )
        + packed
    )


def paged(*parts: bytes) -> bytes:
    """Put parts one after the other, each at the next page, as the linker does with sections of GPU
    code.
    """
    joined = b""
    for part in parts:
        joined = joined.ljust(-(-len(joined) // PAGE) * PAGE, b"\0") + part
    return joined


@pytest.fixture
def hip_library() -> Callable[..., bytes]:
    """Compile a host library that carries a section of GPU code, registers so many bundles, and
    needs the HIP runtime.
    """

    def make(section: bytes | None, *, registered: int = 1, needs_runtime: bool = True) -> bytes:
        held = (
            f'.pushsection .hip_fatbin,"a"; .balign {PAGE}; .incbin "data.bin"; .popsection;'
            if section is not None
            else ""
        )
        wrappers = (
            f'.pushsection .hipFatBinSegment,"aw"; .zero {24 * registered}; .popsection'
            if registered
            else ""
        )
        code = f"__asm__({c_text(held + wrappers)});\nint code(void) {{ return 1; }}\n"
        needed = "libamdhip64.so.7" if needs_runtime else None
        return once(code, needed=needed, data=section or b"")

    return make
