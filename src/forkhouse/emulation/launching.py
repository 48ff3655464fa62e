"""Start a kernel: place it and its arguments in memory, and run all its workgroups.

Source of the state in which a wave begins: https://llvm.org/docs/AMDGPUUsage.html, "Initial Kernel
Execution State".
"""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from forkhouse.emulation.arguments import Placed, Shape, Triple, lay_out
from forkhouse.emulation.faults import FaultError, refuse
from forkhouse.emulation.finding import FoundCode, require_kernel
from forkhouse.emulation.memory import PRIVATE, SHARED, Lds, Memory
from forkhouse.emulation.operands import Limits
from forkhouse.emulation.program import InstructionFaultError, Program, Stop, check_mode
from forkhouse.emulation.wave import ACCUMULATORS, LANES, Wave

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from forkhouse.binaries.codeobject import CodeImage, Kernel

Array = Any

MOST_INSTRUCTIONS = 10_000_000
"""Instructions that one wave may run, unless more are allowed."""
_MOST_ITEMS = 1024
_MOST_LDS = 65536
"""Bytes of LDS that a workgroup can have on gfx90a."""
_DYNAMIC_STACK = 16384
"""Bytes of scratch beside the known ones for a kernel whose calls are not all known."""
_MOST_GRID = 2**31 - 1
_RELATIVE64, _ABS64 = 13, 3
_PRELOAD_STEP = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What a launch did."""

    kernel: str
    workgroups: int
    waves: int
    instructions: int
    """Instructions that were run, each counted once for a wave."""
    operations: Mapping[str, int]
    """How often each operation was run, by name."""
    seconds: float
    """Seconds of this machine's time."""


def launch(
    image: CodeImage,
    name: str,
    *,
    grid: Triple,
    block: Triple,
    arguments: Sequence[Any],
    dynamic_lds: int = 0,
    most_instructions: int = MOST_INSTRUCTIONS,
) -> Report:
    """Run a kernel of a code object for gfx90a, and write its results to its arrays.

    `grid` is in workgroups, `block` in work items; `dynamic_lds` is in bytes. Arguments are, in
    the kernel's order, NumPy arrays for buffers (None for a null pointer), NumPy scalars or bytes
    for values. The arrays are changed only when the whole kernel has ended.

    Raises EmulationError for arguments that the kernel does not take, for a code object of another
    GPU, and for what the kernel may not do; the message names kernel, instruction and lane.
    """
    if image.target.partition(":")[0] != "gfx90a":
        message = (
            f"The code is for {image.target or 'an unknown GPU'}, and the emulator knows gfx90a "
            "alone. Compile the kernel with --offload-arch=gfx90a."
        )
        raise refuse(message)
    kernel = require_kernel((FoundCode("", image),), name).kernels[name]
    shape = _shape(kernel, grid, block, dynamic_lds)
    try:
        launched = _Launch(image, kernel, shape, arguments)
    except FaultError as fault:
        message = f"{name} cannot be started: {fault}."
        raise refuse(message) from fault
    start = time.perf_counter()
    with np.errstate(all="ignore"):
        launched.run(most_instructions)
    seconds = time.perf_counter() - start
    launched.placed.write_back()
    return Report(
        kernel=name,
        workgroups=grid[0] * grid[1] * grid[2],
        waves=launched.waves,
        instructions=launched.instructions,
        operations=launched.program.operations(),
        seconds=seconds,
    )


def _shape(kernel: Kernel, grid: Triple, block: Triple, dynamic_lds: int) -> Shape:
    if min(*grid, *block) < 1 or max(grid) > _MOST_GRID:
        message = (
            f"A grid of {grid} workgroups of {block} work items cannot be started: give three "
            "numbers for each, all at least 1."
        )
        raise refuse(message)
    items = block[0] * block[1] * block[2]
    if items > _MOST_ITEMS or items > kernel.most_work_items:
        most = min(_MOST_ITEMS, kernel.most_work_items)
        message = (
            f"A workgroup of {items} work items is too large: {kernel.name} was compiled for at "
            f"most {most}."
        )
        raise refuse(message)
    lds = kernel.descriptor.lds + dynamic_lds
    if dynamic_lds < 0 or lds > _MOST_LDS:
        message = (
            f"{kernel.name} would have {lds} bytes of LDS, {dynamic_lds} of them dynamic; a "
            f"workgroup has from 0 to {_MOST_LDS}."
        )
        raise refuse(message)
    return Shape(grid, block, dynamic_lds)


class _Launch:
    """All that one launch has in memory."""

    def __init__(
        self, image: CodeImage, kernel: Kernel, shape: Shape, arguments: Sequence[Any]
    ) -> None:
        self._kernel, self._shape = kernel, shape
        descriptor = kernel.descriptor
        if descriptor.properties >> 10 & 1:
            message = "it has waves of 32 lanes"
            raise FaultError(message)
        self.mode = descriptor.rsrc1 >> 12 & 0xFF
        check_mode(self.mode)
        self.memory = memory = Memory()
        self.placed = Placed(memory)
        self._code = memory.reserve("the code object", None, size=image.size)
        queue = memory.reserve("the queue", _words(256, {0x40: SHARED, 0x44: PRIVATE}))
        content = lay_out(kernel, arguments, shape, self.placed, queue.start)
        # Compilers read arguments in pieces of up to 64 bytes, over the last one's end.
        whole = content.ljust(-(-len(content) // 64) * 64, b"\0")
        self._arguments = memory.reserve("the kernel's arguments", _bytes(whole), writable=False)
        self._content = content
        self._waves = -(-_items(shape) // LANES)
        dynamic = _DYNAMIC_STACK if descriptor.properties >> 11 & 1 else 0
        self._private = -(-(descriptor.scratch + dynamic) // 16) * 16
        self._scratch = [
            memory.reserve(f"the scratch of wave {number}", None, size=self._private * LANES)
            for number in range(self._waves if self._private else 0)
        ]
        self._queue = queue
        self._packet = memory.reserve("the dispatch packet", _bytes(self._dispatch()))
        memory.settle()
        self._load(image)
        limits = Limits(vectors=kernel.vectors, accumulators=kernel.accumulators)
        self.program = Program(memory, limits)
        self._entry = self._code.start + descriptor.entry
        if descriptor.preload & 0x7F:
            self._entry += _PRELOAD_STEP
        self.instructions = self.waves = 0

    def _dispatch(self) -> bytes:
        """Return the packet that starts a kernel, as HSA has it."""
        shape = self._shape
        sizes = [shape.grid[axis] * shape.block[axis] for axis in range(3)]
        lds = self._kernel.descriptor.lds + shape.dynamic_lds
        return struct.pack(
            "<HH4H3IIIQQQQ",
            *(0x1502, shape.dimensions, *shape.block, 0, *(size & 0xFFFFFFFF for size in sizes)),
            *(self._private, lds, self._code.start, self._arguments.start, 0, 0),
        )

    def _load(self, image: CodeImage) -> None:
        """Write the code object to memory, and what follows from where it lies."""
        part, start = self.memory.part(self._code), self._code.start
        for load in image.loads:
            part[load.address : load.address + len(load.content)] = _bytes(load.content)
        for each in image.relocations:
            if each.kind == _RELATIVE64:
                value = start + each.addend
            elif each.kind == _ABS64 and each.symbol in image.symbols:
                value = start + image.symbols[each.symbol] + each.addend
            else:
                message = (
                    f"its relocation of the kind {each.kind} ({each.symbol or 'no symbol'}) is not "
                    "known"
                )
                raise FaultError(message)
            if each.address + 8 > image.size:
                message = f"its relocation at {each.address:#x} lies outside of it"
                raise FaultError(message)
            part[each.address : each.address + 8] = _bytes(struct.pack("<Q", value & 2**64 - 1))

    def run(self, most: int) -> None:
        """Run all workgroups, one after the other. Raises EmulationError."""
        grid = self._shape.grid
        for z, y, x in product(range(grid[2]), range(grid[1]), range(grid[0])):
            self._workgroup((x, y, z), most)

    def _workgroup(self, group: Triple, most: int) -> None:
        lds = Lds(self._kernel.descriptor.lds + self._shape.dynamic_lds)
        waves = [self._wave(number, group, lds) for number in range(self._waves)]
        going, waiting = list(enumerate(waves)), []
        while going:
            turned = []
            for number, wave in going:
                try:
                    stop = self.program.run(wave, most)
                except InstructionFaultError as fault:
                    raise self._explained(fault, number, group) from fault
                if stop is Stop.TURN:
                    turned.append((number, wave))
                elif stop is Stop.BARRIER:
                    waiting.append((number, wave))
            # Once every wave that has not ended waits at the barrier, all go on.
            going, waiting = (turned, waiting) if turned else (sorted(waiting, key=_number), [])
        self.waves += len(waves)
        self.instructions += sum(wave.count for wave in waves)

    def _explained(self, fault: InstructionFaultError, number: int, group: Triple) -> Exception:
        where = fault.address - self._code.start
        message = (
            f"{self._kernel.name}, workgroup {','.join(map(str, group))}, wave {number}: "
            f"{fault.name} at {where:#x}: {fault}."
        )
        return refuse(message)

    def _wave(self, number: int, group: Triple, lds: Lds) -> Wave:
        """Return a wave in the state in which the hardware starts it."""
        kernel, block = self._kernel, self._shape.block
        rows = ACCUMULATORS + kernel.accumulators if kernel.accumulators else kernel.vectors
        wave = Wave(self.memory, lds, rows)
        wave.pc, wave.mode = self._entry, self.mode
        first = number * LANES
        items = np.arange(first, first + LANES)
        x, rest = items % block[0], items // block[0]
        y, z = rest % block[1], rest // block[1]
        # On gfx90a all three are in one register.
        wave.bits[0] = (x | y << 10 | z << 20).astype(np.uint32)
        left = _items(self._shape) - first
        if left < LANES:
            wave.set_exec((1 << left) - 1)
        self._scalars(wave, number, group)
        return wave

    def _scalars(self, wave: Wave, number: int, group: Triple) -> None:
        descriptor, at = self._kernel.descriptor, 0
        scratch = self._scratch[0].start if self._scratch else 0
        properties = descriptor.properties
        words: list[int] = []
        if properties & 1:
            # A buffer whose words take turns by lanes: 64 of them, without an end.
            words += [scratch & 0xFFFFFFFF, scratch >> 32 | 1 << 31, 0xFFFFFFFF, 1 << 23 | 3 << 21]
        for bit, pointer in (
            (1, self._packet.start),
            (2, self._queue.start),
            (3, self._arguments.start),
            (4, 0),
            (5, scratch),
        ):
            if properties >> bit & 1:
                words += [pointer & 0xFFFFFFFF, pointer >> 32]
        if properties >> 6 & 1:
            words.append(self._private)
        count, start = descriptor.preload & 0x7F, (descriptor.preload >> 7) * 4
        preloaded = self._content[start : start + 4 * count].ljust(4 * count, b"\0")
        words += struct.unpack(f"<{count}I", preloaded)
        told = descriptor.rsrc2 >> 1 & 0x1F
        for at, word in enumerate(words):
            wave.s[at] = word
        at = max(told, len(words)) if not count else len(words)
        for axis in range(3):
            if descriptor.rsrc2 >> 7 + axis & 1:
                wave.s[at] = group[axis]
                at += 1
        if descriptor.rsrc2 >> 10 & 1:
            at += 1
        if descriptor.rsrc2 & 1:
            wave.s[at] = (self._scratch[number].start - scratch) if self._scratch else 0


def _number(numbered: tuple[int, Wave]) -> int:
    return numbered[0]


def _items(shape: Shape) -> int:
    return shape.block[0] * shape.block[1] * shape.block[2]


def _bytes(content: bytes) -> Array:
    return np.frombuffer(content, dtype=np.uint8)


def _words(size: int, values: Mapping[int, int]) -> Array:
    content = bytearray(size)
    for place, value in values.items():
        struct.pack_into("<I", content, place, value)
    return _bytes(bytes(content))
