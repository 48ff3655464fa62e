"""Read GPU code out of host libraries: the offload bundles that clang puts into the section `.hip_fatbin`.

A bundle is the magic text, a count, and for each entry its offset, size and identity, then the code objects. A compressed
bundle has a header of its own and the bundle as its only content. Linked from several sources, a section holds one bundle
after the other, each at the next page. All numbers are little-endian.
Sources: https://clang.llvm.org/docs/ClangOffloadBundler.html (bundles, identities), the comments of CompressedOffloadBundle
in LLVM's Object library (compressed headers), https://llvm.org/docs/AMDGPUUsage.html (code objects, target ids).
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from forkhouse.audit.elf import Elf
from forkhouse.errors import AuditError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PLAIN = b"__CLANG_OFFLOAD_BUNDLE__"
COMPRESSED = b"CCOB"

LIMIT = 2**30
"""Largest bundle that is unpacked, in bytes. That of vLLM's largest source has a few million."""
_MOST_ENTRIES = 1024
_NOT_PADDING = re.compile(rb"[^\0]")
_HEADERS = {2: struct.Struct("<4sHHIIQ"), 3: struct.Struct("<4sHHQQQ")}
"""By version, a compressed header: magic, version, method, size of all, size unpacked, first half of the MD5 of the unpacked."""
_ENTRY = struct.Struct("<QQQ")
_IDENTITY_STEPS = 6
_KERNEL_DESCRIPTOR = ".kd"
_TARGET_KEY = b"\xaeamdhsa.target"
"""In the metadata, which is MessagePack: a text of 14 bytes."""
_LONG_TEXT = 0xD9


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeObject:
    """One entry of a bundle."""

    identity: str
    """Kind, triple and target id, as in hipv4-amdgcn-amd-amdhsa--gfx90a:xnack-."""
    kernels: tuple[str, ...]
    """Names of the kernels in it, sorted, as the linker knows them."""
    content: bytes = field(repr=False)

    @property
    def size(self) -> int:
        """Size in bytes."""
        return len(self.content)

    @property
    def target(self) -> str | None:
        """The target id, as in gfx90a or gfx90a:xnack-; None for the host's entry, which is empty."""
        return _target(self.identity)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundle:
    """What one compilation left for all its targets."""

    offset: int
    """Where in the section it begins, in bytes."""
    end: int
    """Where it ends; padding may follow."""
    compression: str | None
    objects: tuple[CodeObject, ...]

    @property
    def targets(self) -> frozenset[str]:
        """The target ids for which there is code."""
        return frozenset(each.target for each in self.objects if each.target and each.size)


def code_objects(path: Path) -> tuple[CodeObject, ...]:
    """Return the entries of all bundles in the object file or library at `path`, in order; none where it has no GPU code.

    Raises AuditError when it is no ELF file or its bundles cannot be read, OSError when there is no such file.
    """
    section = Elf(path.read_bytes()).section(".hip_fatbin") or b""
    return tuple(each for bundle in read_bundles(section) for each in bundle.objects)


def read_bundles(section: bytes) -> Iterator[Bundle]:
    """Return the bundles of a `.hip_fatbin` section one by one, unpacked.

    Raises AuditError for anything that is not a bundle, for a version, method or identity that is not known, and for a size
    that is not true or above LIMIT.
    """
    offset = 0
    while (offset := _next_content(section, offset)) < len(section):
        if section.startswith(COMPRESSED, offset):
            content, method, end = _unpack(section, offset)
            objects, used = _read_plain(content, 0)
            if _next_content(content, used) < len(content):
                raise _error(offset, "has something behind its last code object")
        else:
            method = None
            objects, end = _read_plain(section, offset)
        yield Bundle(offset=offset, end=end, compression=method, objects=objects)
        offset = end


def _next_content(section: bytes, offset: int) -> int:
    """Return where the padding that begins at `offset` ends."""
    found = _NOT_PADDING.search(section, offset)
    return found.start() if found else len(section)


def _unpack(section: bytes, offset: int) -> tuple[bytes, str, int]:
    """Return a compressed bundle's content, its method, and where it ends."""
    _, version = _take(struct.Struct("<4sH"), section, offset)
    if version not in _HEADERS:
        raise _error(offset, f"is compressed in version {version} of the format; known are {', '.join(map(str, _HEADERS))}")
    header = _HEADERS[version]
    _, _, method, whole, size, digest = _take(header, section, offset)
    if whole < header.size or offset + whole > len(section):
        raise _error(offset, f"says that it has {whole} bytes, which the section has not")
    if size > LIMIT:
        raise _error(offset, f"would have {size} bytes unpacked; more than {LIMIT} are refused")
    packed = section[offset + header.size : offset + whole]
    match method:
        case 0:
            name, content = "zlib", _unzlib(packed, size)
        case 1:
            name, content = "zstd", _unzstd(packed, size)
        case _:
            raise _error(offset, f"is compressed by method {method}; known are 0 (zlib) and 1 (zstd)")
    if (
        content is None
        or len(content) != size
        or struct.unpack("<Q", hashlib.md5(content, usedforsecurity=False).digest()[:8]) != (digest,)
    ):
        raise _error(offset, f"does not unpack to the {size} bytes that its header promises")
    return content, name, offset + whole


def _unzlib(packed: bytes, size: int) -> bytes | None:
    reader = zlib.decompressobj()
    try:
        content = reader.decompress(packed, size + 1)
    except zlib.error:
        return None
    return content if reader.eof and not reader.unused_data else None


def _unzstd(packed: bytes, size: int) -> bytes | None:
    from backports import zstd  # noqa: PLC0415  # start-up time

    reader = zstd.ZstdDecompressor()
    try:
        content = reader.decompress(packed, size + 1)
    except zstd.ZstdError:
        return None
    return content if reader.eof and not reader.unused_data else None


def _read_plain(data: bytes, start: int) -> tuple[tuple[CodeObject, ...], int]:
    """Return the entries of the bundle at `start`, and where its last code object ends."""
    if not data.startswith(PLAIN, start):
        raise _error(start, f"is none: it begins with {data[start : start + 8]!r}")
    position = start + len(PLAIN)
    (count,) = _take(struct.Struct("<Q"), data, position)
    if not 0 < count <= _MOST_ENTRIES:
        raise _error(start, f"says that it has {count} entries")
    position += 8
    objects, end = [], 0
    for _ in range(count):
        offset, size, length = _take(_ENTRY, data, position)
        position += _ENTRY.size
        if position + length > len(data) or start + offset + size > len(data):
            raise _error(start, "has an entry that lies behind its end")
        identity = data[position : position + length].decode("ascii", "replace")
        position += length
        content = data[start + offset : start + offset + size]
        target = _target(identity)
        objects.append(CodeObject(identity=identity, kernels=_kernels(content, identity) if target and size else (), content=content))
        end = max(end, start + offset + size)
    return tuple(objects), max(end, position)


def _take(layout: struct.Struct, data: bytes, offset: int) -> tuple[int, ...]:
    if offset + layout.size > len(data):
        raise _error(offset, "is cut off")
    return layout.unpack_from(data, offset)


def _target(identity: str) -> str | None:
    """Return the target id of an identity: <kind>-<arch>-<vendor>-<os>-<env>-<target id>, where the last may hold '-'."""
    steps = identity.split("-", _IDENTITY_STEPS - 1)
    if steps[0] == "host":
        return None
    if len(steps) != _IDENTITY_STEPS or steps[0] not in {"hip", "hipv4"} or not steps[-1]:
        message = f"An offload bundle has the entry {identity!r}, which is neither the host's nor one of HIP's with a target."
        raise AuditError(message)
    return steps[-1]


def _kernels(content: bytes, identity: str) -> tuple[str, ...]:
    """Return the kernels of a code object: each has a descriptor, which the runtime looks up by its name.

    Raises AuditError when it is no AMD GPU's ELF file, or is for another target than its identity says.
    """
    try:
        elf = Elf(content)
        found = {
            symbol.name.removesuffix(_KERNEL_DESCRIPTOR)
            for symbol in elf.symbols()
            if symbol.defined and symbol.name.endswith(_KERNEL_DESCRIPTOR)
        }
        machine, compiled_for = elf.machine, _compiled_for(elf)
    except AuditError as error:
        message = f"The code object {identity} cannot be read: {error}."
        raise AuditError(message) from error
    if machine != "EM_AMDGPU":
        message = f"The code object {identity} is for {machine}, not for an AMD GPU."
        raise AuditError(message)
    expected = identity.partition("-")[2]
    if compiled_for not in {expected, None}:
        message = f"The code object {identity} was compiled for {compiled_for}."
        raise AuditError(message)
    return tuple(sorted(found))


def _compiled_for(elf: Elf) -> str | None:
    """Return triple and target id from a code object's metadata; None before code object version 4, which has no such key."""
    for note in elf.notes("AMDGPU"):
        _, key, rest = note.partition(_TARGET_KEY)
        if key and rest:
            # MessagePack: a text below 32 bytes has its length in the first byte, a longer one in a second.
            start, length = (2, rest[1]) if rest[0] == _LONG_TEXT and len(rest) > 1 else (1, rest[0] & 31)
            return rest[start : start + length].decode("ascii", "replace")
    return None


def _error(offset: int, what: str) -> AuditError:
    return AuditError(f"The offload bundle at byte {offset} {what}.")
