"""Read what is needed to start a kernel of a code object.

That is its descriptor, its arguments, and what is loaded into memory. Nothing that the file says is
believed beyond its size. Source: https://llvm.org/docs/AMDGPUUsage.html (kernel descriptor, code
object metadata, initial kernel execution state, relocation records).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from forkhouse.binaries.elf import Elf, LoadSegment, Relocation
from forkhouse.binaries.offload import GPU_MACHINE, METADATA, MOST_ITEMS, compiled_target
from forkhouse.core.errors import AuditError

if TYPE_CHECKING:
    from collections.abc import Mapping

_DESCRIPTOR = struct.Struct("<IIIIq20xIIIHH4x")
_MOST_MEMORY = 2**31
"""Bytes that a code object may take in memory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Argument:
    """One argument of a kernel."""

    name: str
    """Its name in the source; empty where it is not known."""
    offset: int
    """Where it is among all arguments, in bytes."""
    size: int
    kind: str
    """What it is, `value_kind`: by_value, global_buffer, hidden_block_count_x and so on."""
    type_name: str
    """Its type in the source; empty where it is not known."""

    @property
    def hidden(self) -> bool:
        """Whether the runtime gives it, not the caller."""
        return self.kind.startswith("hidden_")


@dataclass(frozen=True, kw_only=True, slots=True)
class Descriptor:
    """The descriptor of a kernel, which the hardware's front end reads."""

    lds: int
    """Bytes of LDS that are always there."""
    scratch: int
    """Bytes of private memory of each work item."""
    arguments: int
    """Bytes of all arguments."""
    entry: int
    """The address of the first instruction."""
    rsrc1: int
    rsrc2: int
    rsrc3: int
    properties: int
    preload: int
    """Which words of the arguments are in scalar registers at the start."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kernel:
    """A kernel of a code object."""

    name: str
    """As the linker knows it."""
    descriptor: Descriptor
    arguments: tuple[Argument, ...]
    vectors: int
    """Architectural vector registers."""
    accumulators: int
    scalars: int
    vector_spills: int
    scalar_spills: int
    most_work_items: int
    """The largest workgroup that it was compiled for."""
    metadata: Mapping[str, Any]
    """All that the metadata says of it; empty where it says nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeImage:
    """A code object as it is in memory."""

    target: str
    """Its target id, such as gfx90a or gfx90a:xnack-."""
    kernels: Mapping[str, Kernel]
    loads: tuple[LoadSegment, ...]
    size: int
    """Bytes of memory from address 0 to the end of its last part."""
    relocations: tuple[Relocation, ...]
    symbols: Mapping[str, int]
    """Addresses of defined symbols."""
    flags: int
    """`e_flags` of its ELF header."""
    abi_version: int
    """EI_ABIVERSION of its ELF header."""


def read_code_object(content: bytes) -> CodeImage:
    """Read a code object.

    Raises AuditError when it is none for an AMD GPU, or is damaged.
    """
    elf = Elf(content)
    if elf.machine != GPU_MACHINE:
        message = f"it is for {elf.machine}, not for an AMD GPU"
        raise AuditError(message)
    target = compiled_target(elf) or ""
    loads = elf.loads()
    size = max((load.address + load.size for load in loads), default=0)
    if size > _MOST_MEMORY or any(len(load.content) > load.size for load in loads):
        message = f"it is damaged: its parts take {size} bytes of memory"
        raise AuditError(message)
    symbols = {symbol.name: symbol.address for symbol in elf.symbols() if symbol.defined}
    told = _metadata(elf)
    kernels = {}
    for name, address in symbols.items():
        if name.endswith(".kd"):
            kernel = _kernel(name, _descriptor(loads, name, address), told.get(name, {}))
            kernels[kernel.name] = kernel
    return CodeImage(
        target=target.rpartition("--")[2],
        kernels=dict(sorted(kernels.items())),
        loads=loads,
        size=size,
        relocations=tuple(elf.relocations()),
        symbols=symbols,
        flags=elf.flags,
        abi_version=elf.abi_version,
    )


def _descriptor(loads: tuple[LoadSegment, ...], name: str, address: int) -> Descriptor:
    for load in loads:
        start = address - load.address
        if start >= 0 and start + _DESCRIPTOR.size <= len(load.content):
            lds, scratch, arguments, _, entry, rsrc3, rsrc1, rsrc2, properties, preload = (
                _DESCRIPTOR.unpack_from(load.content, start)
            )
            return Descriptor(
                lds=lds, scratch=scratch, arguments=arguments, entry=address + entry, rsrc1=rsrc1,
                rsrc2=rsrc2, rsrc3=rsrc3, properties=properties, preload=preload,
            )  # fmt: skip
    message = f"it is damaged: the descriptor {name} at {address:#x} lies in no part of it"
    raise AuditError(message)


def _metadata(elf: Elf) -> dict[str, dict[str, Any]]:
    """Return what the metadata says of each kernel, by the name of its descriptor.

    Raises AuditError for metadata that cannot be read.
    """
    from msgpack import UnpackException, unpackb  # start-up time

    found: dict[str, dict[str, Any]] = {}
    for note in elf.notes("AMDGPU", METADATA):
        try:
            content = unpackb(
                note,
                strict_map_key=False,
                unicode_errors="replace",
                max_array_len=MOST_ITEMS,
                max_map_len=MOST_ITEMS,
            )
            for kernel in content.get("amdhsa.kernels", ()):
                found[str(kernel[".symbol"])] = kernel
        except (
            UnpackException, ValueError, TypeError, KeyError, AttributeError, OverflowError,
            MemoryError, RecursionError,
        ) as error:  # fmt: skip
            message = f"its metadata cannot be read: {type(error).__name__}: {error}"
            raise AuditError(message) from error
    return found


def _kernel(symbol: str, descriptor: Descriptor, told: Mapping[str, Any]) -> Kernel:
    # The hardware's numbers: registers are given out in eights, of both kinds together.
    unified = ((descriptor.rsrc1 & 0x3F) + 1) * 8
    architectural = min(((descriptor.rsrc3 & 0x3F) + 1) * 4, unified)
    return Kernel(
        name=symbol.removesuffix(".kd"),
        descriptor=descriptor,
        arguments=_arguments(symbol, told, descriptor.arguments),
        vectors=architectural,
        accumulators=unified - architectural,
        scalars=metadata_number(told, ".sgpr_count", 0),
        vector_spills=metadata_number(told, ".vgpr_spill_count", 0),
        scalar_spills=metadata_number(told, ".sgpr_spill_count", 0),
        most_work_items=metadata_number(told, ".max_flat_workgroup_size", 1024),
        metadata=told,
    )


def metadata_number(told: Mapping[str, Any], key: str, default: int) -> int:
    """Return a number of metadata, or `default` where it has none. Raises AuditError."""
    value = told.get(key, default)
    if not isinstance(value, int) or not 0 <= value < 2**32:
        message = f"its metadata has {value!r} for {key}"
        raise AuditError(message)
    return value


def _arguments(symbol: str, told: Mapping[str, Any], size: int) -> tuple[Argument, ...]:
    listed = told.get(".args", ())
    if not isinstance(listed, (list, tuple)):
        message = f"its metadata has no list of the arguments of {symbol}"
        raise AuditError(message)
    arguments = []
    for each in listed:
        if not isinstance(each, dict):
            message = f"its metadata has an argument of {symbol} that is no map"
            raise AuditError(message)
        argument = Argument(
            name=str(each.get(".name", "")),
            offset=metadata_number(each, ".offset", 0),
            size=metadata_number(each, ".size", 0),
            kind=str(each.get(".value_kind", "")),
            type_name=str(each.get(".type_name", "")),
        )
        if argument.offset + argument.size > size:
            message = (
                f"its metadata puts an argument of {symbol} at bytes {argument.offset} to "
                f"{argument.offset + argument.size}, and all of them have {size}"
            )
            raise AuditError(message)
        arguments.append(argument)
    return tuple(arguments)
