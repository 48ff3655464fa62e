"""Lay out the arguments of a kernel in memory, those that the runtime gives included."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from forkhouse.emulation.faults import FaultError, refuse
from forkhouse.emulation.memory import HOST, PRIVATE, SHARED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkhouse.binaries.codeobject import Argument, Kernel
    from forkhouse.emulation.memory import Memory, Region

Array = Any
Triple = tuple[int, int, int]

_POINTERS = {"global_buffer"}
_NULL = frozenset(
    {
        "hidden_none", "hidden_default_queue", "hidden_completion_action",
        "hidden_multigrid_sync_arg", "hidden_heap_v1",
    }
)  # fmt: skip
_HOST = frozenset({"hidden_printf_buffer", "hidden_hostcall_buffer"})


@dataclass(frozen=True, slots=True)
class Inside:
    """A pointer to a place in a buffer that is not its start."""

    array: Any
    """The whole buffer, an array of NumPy."""
    offset: int
    """Bytes from its start."""


@dataclass(frozen=True, slots=True)
class Pointers:
    """A buffer that the kernel may read, of pointers to other buffers."""

    places: tuple[Any, ...]
    """Each an array of NumPy, for its start, or an `Inside`."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How much of a kernel is started."""

    grid: Triple
    """Workgroups in x, y and z."""
    block: Triple
    """Work items of a workgroup in x, y and z."""
    dynamic_lds: int
    """Bytes of LDS beside those that the kernel always has."""

    @property
    def dimensions(self) -> int:
        """How many of x, y, z are used."""
        sizes = [self.grid[axis] * self.block[axis] for axis in range(3)]
        return max((axis + 1 for axis in range(3) if sizes[axis] > 1), default=1)


class Placed:
    """The buffers of a launch, each once, and the words that the kernel gets for them."""

    def __init__(self, memory: Memory) -> None:
        """Take the memory in which the buffers are reserved."""
        self._memory = memory
        self._regions: dict[tuple[int, int], tuple[Region, Array]] = {}

    def pointer(self, array: Array, name: str) -> int:
        """Reserve room for an array unless it has some, and return its address."""
        key = (array.__array_interface__["data"][0], array.nbytes)
        if key not in self._regions:
            raw = array.reshape(-1).view(np.uint8)
            region = self._memory.reserve(name, raw, writable=bool(array.flags.writeable))
            self._regions[key] = (region, array)
        return self._regions[key][0].start

    def table(self, pointers: Pointers, name: str) -> int:
        """Reserve room for pointers and for what they lead to, and return its address."""
        addresses = []
        for number, place in enumerate(pointers.places):
            inside = place if isinstance(place, Inside) else Inside(place, 0)
            array = _whole(inside.array, f"Place {number + 1} of {name}")
            addresses.append(self.pointer(array, f"place {number + 1} of {name}") + inside.offset)
        content = np.array(addresses, dtype=np.uint64).view(np.uint8)
        return self._memory.reserve(name, content, writable=False).start

    def write_back(self) -> None:
        """Write what the kernel left in its buffers to the arrays."""
        for region, array in self._regions.values():
            if array.flags.writeable:
                array.reshape(-1).view(np.uint8)[:] = self._memory.part(region)


def visible(kernel: Kernel) -> list[Argument]:
    """Return the arguments that a caller gives, in order."""
    return [each for each in kernel.arguments if not each.hidden]


def lay_out(
    kernel: Kernel, values: Sequence[Any], shape: Shape, placed: Placed, queue: int
) -> bytes:
    """Return the bytes of a kernel's arguments.

    Raises EmulationError for values that are not what the kernel takes.
    """
    wanted = visible(kernel)
    if len(wanted) != len(values):
        names = ", ".join(describe(number, each) for number, each in enumerate(wanted))
        message = (
            f"{kernel.name} takes {len(wanted)} arguments, and {len(values)} are given. They are: "
            f"{names or 'none'}."
        )
        raise refuse(message)
    block = bytearray(kernel.descriptor.arguments)
    for number, (argument, value) in enumerate(zip(wanted, values, strict=True)):
        packed = _packed(kernel, number, argument, value, placed)
        block[argument.offset : argument.offset + argument.size] = packed
    for argument in kernel.arguments:
        if argument.hidden:
            packed = _hidden(kernel, argument, shape, queue)
            block[argument.offset : argument.offset + argument.size] = packed
    return bytes(block)


def describe(number: int, argument: Argument) -> str:
    """Return what an argument is, for a message."""
    kind = "a buffer" if argument.kind in _POINTERS else f"{argument.size} bytes"
    type_name = f" {argument.type_name}" if argument.type_name else ""
    return f"{number + 1}{' ' + argument.name if argument.name else ''}:{type_name} {kind}"


def _packed(kernel: Kernel, number: int, argument: Argument, value: Any, placed: Placed) -> bytes:
    what = f"Argument {describe(number, argument)} of {kernel.name}"
    if argument.kind in _POINTERS:
        if value is None:
            return bytes(argument.size)
        name = f"buffer {number + 1}{f' ({argument.name})' if argument.name else ''}"
        inside = value if isinstance(value, Inside) else Inside(value, 0)
        try:
            if isinstance(value, Pointers):
                return struct.pack("<Q", placed.table(value, name))
            array = _whole(inside.array, what)
            return struct.pack("<Q", placed.pointer(array, name) + inside.offset)
        except FaultError as fault:
            message = f"{what}: {fault}."
            raise refuse(message) from fault
    if argument.kind != "by_value":
        message = f"{what} is of the kind {argument.kind}, which is not emulated."
        raise refuse(message)
    if isinstance(value, (bytes, bytearray)):
        content = bytes(value)
    elif isinstance(value, np.generic):
        content = value.tobytes()
    else:
        message = (
            f"{what} wants a value of {argument.size} bytes, and {_given(value)} is given. In "
            "Python, give a NumPy scalar such as numpy.int32(3), or bytes."
        )
        raise refuse(message)
    if len(content) != argument.size:
        message = (
            f"{what} wants {argument.size} bytes, and {_given(value)} has {len(content)}. Give a "
            "type of its size."
        )
        raise refuse(message)
    return content


def _whole(value: Any, what: str) -> Array:
    """Return a buffer's array. Raises EmulationError for what is none."""
    if not isinstance(value, np.ndarray):
        message = f"{what} wants a buffer or null, and {_given(value)} is given."
        raise refuse(message)
    if not value.flags.c_contiguous or value.dtype.hasobject:
        message = f"{what} wants an array whose numbers lie one behind the other."
        raise refuse(message)
    return value


def _given(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, np.ndarray):
        return "a buffer"
    if isinstance(value, np.generic):
        return f"a {value.dtype.name}"
    return f"a {type(value).__name__}"


def _hidden(kernel: Kernel, argument: Argument, shape: Shape, queue: int) -> bytes:
    """Return a value that the runtime gives. Raises EmulationError for one that is not known."""
    kind, axis = argument.kind, "xyz".find(argument.kind[-1:])
    number: int
    if kind in _NULL:
        number = 0
    elif kind in _HOST:
        number = HOST
    elif kind.startswith("hidden_block_count_"):
        number = shape.grid[axis]
    elif kind.startswith("hidden_group_size_"):
        number = shape.block[axis]
    elif kind.startswith(("hidden_remainder_", "hidden_global_offset_")):
        number = 0
    else:
        known = {
            "hidden_grid_dims": shape.dimensions,
            "hidden_dynamic_lds_size": shape.dynamic_lds,
            "hidden_private_base": PRIVATE,
            "hidden_shared_base": SHARED,
            "hidden_queue_ptr": queue,
        }
        if kind not in known:
            message = f"{kernel.name} wants the hidden argument {kind}, which is not emulated."
            raise refuse(message)
        number = known[kind]
    return number.to_bytes(argument.size, "little") if argument.size else b""
