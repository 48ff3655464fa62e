"""Read GPU code.

The offload bundles that clang puts into the section `.hip_fatbin` of host libraries, or leaves as
files of their own.

A bundle is the magic text, a count, and for each entry its offset, size and identity, then the code
objects. A compressed bundle has a header of its own and the bundle as its only content. Linked from
several sources, a section holds one bundle after the other, each at the next page. All numbers are
little-endian. A code object, an ELF file for one target, may also lie by itself (`.hsaco`, `.co`),
as hipModuleLoad takes it; or within any other file. Sources:
https://clang.llvm.org/docs/ClangOffloadBundler.html (bundles, identities), the comments of
CompressedOffloadBundle in LLVM's Object library (compressed headers),
https://llvm.org/docs/AMDGPUUsage.html (code objects, target ids).
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from forkhouse.binaries.elf import MAGIC, Elf, extent
from forkhouse.core.errors import AuditError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

PLAIN = b"__CLANG_OFFLOAD_BUNDLE__"
COMPRESSED = b"CCOB"

GPU_MACHINE = "EM_AMDGPU"

LIMIT = 2**30
"""Largest bundle that is unpacked, in bytes. That of vLLM's largest source has a few million."""
_MOST_UNPACKED = 2**33
"""Bytes that the bundles of one section may have unpacked, in all."""
_RATIO = 500
_FREE = 2**24
"""How many bytes a packed byte may unpack to, which counts above this many bytes.

Kernels are packed by a factor below a hundred.
"""
_MOST_ENTRIES = 1024
_NOT_PADDING = re.compile(rb"[^\0]")
_HEADERS = {2: struct.Struct("<4sHHIIQ"), 3: struct.Struct("<4sHHQQQ")}
"""By version, a compressed header.

Magic, version, method, size of all, size unpacked, first half of the MD5 of the unpacked.
"""
_ENTRY = struct.Struct("<QQQ")
_IDENTITY_STEPS = 6
_KERNEL_DESCRIPTOR = ".kd"
METADATA = 32
"""The type of the note that holds a code object's metadata, in MessagePack."""
_TARGET_KEY = b"amdhsa.target"
MOST_ITEMS = 2**14
"""Items of one list or map in metadata that is built in memory.

The library makes room for as many as a list says that it has, and for lists in lists. What is
skipped is not built.
"""
_EMBEDDED = (
    re.compile(rb"__CLANG_OFFLOAD_BUNDLE__(?s:.)[\0-\x04]\0{6}"),
    re.compile(rb"CCOB[\x01-\x03]\0[\0\x01]\0"),
    re.compile(rb"\x7fELF\x02\x01\x01(?s:.{11})\xe0\0"),
)
"""The first bytes of GPU code.

They are a bundle with its count, a compressed bundle with version and method, and an ELF file whose
machine is an AMD GPU.
"""
_MACH = 0xFF
_PROCESSORS = {
    0x2C: "gfx900", 0x2D: "gfx902", 0x2E: "gfx904", 0x2F: "gfx906", 0x30: "gfx908",
    0x31: "gfx909", 0x32: "gfx90c", 0x33: "gfx1010", 0x34: "gfx1011", 0x35: "gfx1012",
    0x36: "gfx1030", 0x37: "gfx1031", 0x38: "gfx1032", 0x39: "gfx1033", 0x3D: "gfx1035",
    0x3E: "gfx1034", 0x3F: "gfx90a", 0x40: "gfx940", 0x41: "gfx1100", 0x42: "gfx1013",
    0x43: "gfx1150", 0x44: "gfx1103", 0x45: "gfx1036", 0x46: "gfx1101", 0x47: "gfx1102",
    0x48: "gfx1200", 0x4A: "gfx1151", 0x4B: "gfx941", 0x4C: "gfx942", 0x4E: "gfx1201",
    0x4F: "gfx950", 0x51: "gfx9-generic", 0x52: "gfx10-1-generic", 0x53: "gfx10-3-generic",
    0x54: "gfx11-generic", 0x55: "gfx1152", 0x58: "gfx1153", 0x59: "gfx12-generic",
    0x5F: "gfx9-4-generic",
}  # fmt: skip
"""Processors by their number in `e_flags` of a code object."""
_FEATURES_SINCE = 2
"""EI_ABIVERSION of code object version 4, the first whose flags tell each setting of a feature."""
FEATURES = {"sramecc": 10, "xnack": 8}
"""By feature, the first of its two bits: 0 not there, 1 either, 2 off, 3 on."""
_SETTINGS = {2: "-", 3: "+"}


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
        """The target id, as in gfx90a or gfx90a:xnack-.

        None for the host's entry, which is empty.
        """
        return _target(self.identity)


@dataclass(frozen=True, kw_only=True, slots=True)
class OffloadBundle:
    """All that one compilation made for its targets."""

    offset: int
    """Where in the section it begins, in bytes."""
    end: int
    """Where it ends; padding may follow."""
    compression: str | None
    objects: tuple[CodeObject, ...]
    bare: bool = False
    """Whether it is a bare code object.

    Such a file is for one target, and those for other targets lie beside it.
    """

    @property
    def targets(self) -> frozenset[str]:
        """The target ids for which there is code."""
        return frozenset(each.target for each in self.objects if each.target and each.size)


def code_objects(path: Path) -> tuple[CodeObject, ...]:
    """Return the entries of all bundles in the object file or library at `path`, in order.

    None where it has no GPU code.

    Raises AuditError when it is no ELF file or its bundles cannot be read, OSError when there is no
    such file.
    """
    section = Elf(path.read_bytes()).section(".hip_fatbin") or b""
    return tuple(each for bundle in read_bundles(section) for each in bundle.objects)


def read_bundles(section: bytes) -> Iterator[OffloadBundle]:
    """Yield the unpacked bundles of a `.hip_fatbin` section, or of a file in the same format.

    Raises AuditError for anything that is not a bundle, for an unknown version, method or identity,
    and for a size that is wrong or above a limit.
    """
    offset = unpacked = 0
    while (offset := _next_content(section, offset)) < len(section):
        bundle = read_bundle(section, offset)
        unpacked += sum(each.size for each in bundle.objects)
        if unpacked > _MOST_UNPACKED:
            raise _error(
                offset,
                (
                    f"is one of several that would have {unpacked} bytes unpacked; more than "
                    f"{_MOST_UNPACKED} are refused"
                ),
            )
        yield bundle
        offset = bundle.end


def read_bundle(content: bytes, offset: int) -> OffloadBundle:
    """Return the bundle that begins at `offset`. Raises AuditError as `read_bundles`."""
    if not content.startswith(COMPRESSED, offset):
        objects, end = _read_plain(content, offset)
        return OffloadBundle(offset=offset, end=end, compression=None, objects=objects)
    plain, method, end = _unpack(content, offset)
    objects, used = _read_plain(plain, 0)
    if _next_content(plain, used) < len(plain):
        raise _error(offset, "has something behind its last code object")
    return OffloadBundle(offset=offset, end=end, compression=method, objects=objects)


def embedded(content: bytes, known: Collection[tuple[int, int]] = ()) -> Iterator[OffloadBundle]:
    """Yield the GPU code that lies anywhere in a file except in the ranges `known`, in order.

    A range is a start and an end. A bare code object is returned as a bundle of one. Raises
    AuditError as `read_bundles` does, and where a code object does not name its GPU.
    """
    starts = sorted(match.start() for pattern in _EMBEDDED for match in pattern.finditer(content))
    end = 0
    for start in starts:
        if start < end or any(first <= start < last for first, last in known):
            continue
        bundle = (
            _read_object(content, start)
            if content.startswith(MAGIC, start)
            else read_bundle(content, start)
        )
        yield bundle
        end = bundle.end


def _read_object(content: bytes, start: int) -> OffloadBundle:
    try:
        end = start + extent(content, start)
        code = content[start:end]
        elf = Elf(code)
        compiled_for = compiled_target(elf)
        kernels = _descriptors(elf)
    except AuditError as error:
        message = f"The code object at byte {start} cannot be read: {error}."
        raise AuditError(message) from error
    if compiled_for is None:
        message = f"The code object at byte {start} does not say for which GPU it is."
        raise AuditError(message)
    # The kind `hip` is that of a code object by itself in a bundle as well.
    each = CodeObject(identity=f"hip-{compiled_for}", kernels=kernels, content=code)
    return OffloadBundle(offset=start, end=end, compression=None, objects=(each,), bare=True)


def _next_content(section: bytes, offset: int) -> int:
    """Return where the padding that begins at `offset` ends."""
    found = _NOT_PADDING.search(section, offset)
    return found.start() if found else len(section)


def _unpack(section: bytes, offset: int) -> tuple[bytes, str, int]:
    """Return a compressed bundle's content, its method, and where it ends."""
    _, version = _take(struct.Struct("<4sH"), section, offset)
    if version not in _HEADERS:
        raise _error(
            offset,
            (
                f"is compressed in version {version} of the format; known are "
                f"{', '.join(map(str, _HEADERS))}"
            ),
        )
    header = _HEADERS[version]
    _, _, method, whole, size, digest = _take(header, section, offset)
    if whole < header.size or offset + whole > len(section):
        raise _error(offset, f"says that it has {whole} bytes, which the section has not")
    if size > LIMIT:
        raise _error(offset, f"would have {size} bytes unpacked; more than {LIMIT} are refused")
    if size > _FREE and size > _RATIO * whole:
        raise _error(
            offset,
            (
                f"has {whole} bytes and would have {size} unpacked; more than {_RATIO} times as "
                "many "
                "are refused"
            ),
        )
    packed = section[offset + header.size : offset + whole]
    match method:
        case 0:
            name, content = "zlib", _unzlib(packed, size)
        case 1:
            name, content = "zstd", _unzstd(packed, size)
        case _:
            raise _error(
                offset, f"is compressed by method {method}; known are 0 (zlib) and 1 (zstd)"
            )
    if (
        content is None
        or len(content) != size
        or struct.unpack("<Q", hashlib.md5(content, usedforsecurity=False).digest()[:8])
        != (digest,)
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
    from backports import zstd  # start-up time

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
    objects, end, room = [], 0, len(data) - start
    for _ in range(count):
        offset, size, length = _take(_ENTRY, data, position)
        position += _ENTRY.size
        if position + length > len(data) or start + offset + size > len(data):
            raise _error(start, "has an entry that lies behind its end")
        room -= size
        if room < 0:
            raise _error(start, "has entries that lie over each other")
        identity = data[position : position + length].decode("ascii", "replace")
        position += length
        content = data[start + offset : start + offset + size]
        target = _target(identity)
        objects.append(
            CodeObject(
                identity=identity,
                kernels=_kernels(content, identity) if target and size else (),
                content=content,
            )
        )
        end = max(end, start + offset + size)
    return tuple(objects), max(end, position)


def _take(layout: struct.Struct, data: bytes, offset: int) -> tuple[int, ...]:
    if offset + layout.size > len(data):
        raise _error(offset, "is cut off")
    return layout.unpack_from(data, offset)


def _target(identity: str) -> str | None:
    """Return the target id of an identity.

    <kind>-<arch>-<vendor>-<os>-<env>-<target id>, where the last may hold '-'.
    """
    steps = identity.split("-", _IDENTITY_STEPS - 1)
    if steps[0] == "host":
        return None
    if len(steps) != _IDENTITY_STEPS or steps[0] not in {"hip", "hipv4"} or not steps[-1]:
        message = (
            f"An offload bundle has the entry {identity!r}, which is neither the host's nor one of "
            "HIP's with a target."
        )
        raise AuditError(message)
    return steps[-1]


def _kernels(content: bytes, identity: str) -> tuple[str, ...]:
    """Return the kernels of a code object.

    Each has a descriptor, which the runtime looks up by its name.

    Raises AuditError when it is no AMD GPU's ELF file, or is for another target than its identity
    says.
    """
    try:
        elf = Elf(content)
        found, machine, compiled_for = (
            _descriptors(elf),
            elf.machine,
            compiled_target(elf) if elf.machine == GPU_MACHINE else None,
        )
    except AuditError as error:
        message = f"The code object {identity} cannot be read: {error}."
        raise AuditError(message) from error
    if machine != GPU_MACHINE:
        message = f"The code object {identity} is for {machine}, not for an AMD GPU."
        raise AuditError(message)
    if compiled_for not in {identity.partition("-")[2], None} and not _same(
        identity.partition("-")[2], compiled_for, elf
    ):
        message = f"The code object {identity} was compiled for {compiled_for}."
        raise AuditError(message)
    return found


def _descriptors(elf: Elf) -> tuple[str, ...]:
    """Return the names of the kernels of a code object."""
    found = {
        symbol.name.removesuffix(_KERNEL_DESCRIPTOR)
        for symbol in elf.symbols()
        if symbol.defined and symbol.name.endswith(_KERNEL_DESCRIPTOR)
    }
    return tuple(sorted(found))


def _same(expected: str, compiled_for: str | None, elf: Elf) -> bool:
    """Return whether the flags of an object whose metadata names no target fit `expected`.

    Before version 4 the flags do not tell the features, so only the processor is compared.
    """
    return (
        _noted(elf) is None
        and elf.abi_version < _FEATURES_SINCE
        and expected.partition(":")[0] == compiled_for
    )


def compiled_target(elf: Elf) -> str | None:
    """Return triple and target id from a code object's metadata, before version 4 from its flags.

    None when neither says it.
    """
    flagged = _PROCESSORS.get(elf.flags & _MACH)
    noted = _noted(elf)
    if noted is None:
        return f"amdgcn-amd-amdhsa--{flagged}{_features(elf)}" if flagged else None
    # Since LLVM 23 the first step names the instruction set, and the fourth is not empty.
    named = noted.split("-", 4)[-1]
    if flagged and named.partition(":")[0] != flagged:
        message = f"its metadata names {noted}, its flags {flagged}"
        raise AuditError(message)
    return f"amdgcn-amd-amdhsa--{named}" if "-amd-amdhsa-" in noted else noted


def _features(elf: Elf) -> str:
    if elf.abi_version < _FEATURES_SINCE:
        return ""
    set_to = {name: _SETTINGS.get(elf.flags >> bit & 3) for name, bit in FEATURES.items()}
    return "".join(f":{name}{setting}" for name, setting in set_to.items() if setting)


def _noted(elf: Elf) -> str | None:
    """Return triple and target id from a code object's metadata.

    None before code object version 4, which has no such key.

    Raises AuditError for metadata that is damaged, or that names more than one target.
    """
    notes = elf.notes("AMDGPU", METADATA)
    named = {target for number, note in enumerate(notes) for target in _targets(note, number)}
    if len(named) > 1:
        message = f"its metadata names several targets: {', '.join(sorted(named))}"
        raise AuditError(message)
    return next(iter(named), None)


def _targets(note: bytes, number: int) -> Iterator[str]:
    """Yield what a note of metadata names as its target.

    All other values are skipped, so a note costs no more memory than it has bytes.
    """
    from msgpack import Unpacker, UnpackException  # start-up time

    try:
        reader = Unpacker(
            raw=True,  # the names of kernels may be any bytes
            max_buffer_size=len(note),
            max_array_len=MOST_ITEMS,
            max_map_len=MOST_ITEMS,
        )
        reader.feed(note)
        for _ in range(reader.read_map_header()):
            if reader.unpack() == _TARGET_KEY:
                yield _text(reader.unpack())
            else:
                reader.skip()
    # An OverflowError or a MemoryError comes of a time or a size that no value can have.
    except (UnpackException, TypeError, ValueError, OverflowError, MemoryError) as error:
        reason = str(error) or type(error).__name__
        message = f"its metadata (AMDGPU note {number + 1}) is no whole MessagePack map: {reason}"
        raise AuditError(message) from error


def _text(value: object) -> str:
    if not isinstance(value, bytes):
        message = "the target is no text"
        raise TypeError(message)
    return value.decode("ascii", "replace")


def _error(offset: int, what: str) -> AuditError:
    return AuditError(f"The offload bundle at byte {offset} {what}.")
