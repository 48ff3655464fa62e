"""Run waves through a program: blocks of steps that are made when they are first reached."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING

from forkhouse.emulation import access, fetching, indexing, matrix, scalar, sharing, vector, waiting
from forkhouse.emulation.decoding import Instruction, decode
from forkhouse.emulation.faults import FaultError, UnknownOperationError
from forkhouse.emulation.memory import BASE
from forkhouse.emulation.operands import scalars
from forkhouse.emulation.wave import VCC

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkhouse.emulation.memory import Memory
    from forkhouse.emulation.operands import Limits, Step
    from forkhouse.emulation.wave import Wave

_LONGEST = 4096
"""Instructions of a block; a longer one is continued by another."""

_TURN = 100_000
"""Instructions after which another wave has its turn: one may wait for what another writes."""
_FLUSH, _KEEP = 0, 3
"""What the two bits of MODE say about denormal numbers: none in and out, all kept."""


class Stop(Enum):
    """Why a wave does not go on by itself."""

    ENDED = "ended"
    BARRIER = "barrier"
    TURN = "turn"
    """It has run for a while, and others wait for their turn."""


class InstructionFaultError(FaultError):
    """A fault, with the instruction that it is of."""

    def __init__(self, message: str, *, name: str, address: int) -> None:
        """Take the fault's message, the instruction's name and its address."""
        super().__init__(message)
        self.name, self.address = name, address


@dataclass(slots=True)
class Block:
    """Instructions that are run one after the other, and what comes after them."""

    instructions: list[Instruction]
    steps: list[Step]
    touched: list[frozenset[int]]
    """By step, the rows that must have arrived before it."""
    leave: Callable[[Wave], int | Stop]
    """Returns the address to go on at, or why not."""
    leaving: frozenset[int] = frozenset()
    """The rows that must have arrived before `leave`."""
    runs: int = field(default=0)


class Program:
    """The code of a kernel, as far as it was reached."""

    def __init__(self, memory: Memory, limits: Limits) -> None:
        """Take the memory that the code is in, and what the kernel was given."""
        self._memory = memory
        self._limits = {False: replace(limits, flush=False), True: replace(limits, flush=True)}
        self._blocks: dict[bool, dict[int, Block]] = {False: {}, True: {}}

    def run(self, wave: Wave, most: int) -> Stop:
        """Run a wave until it ends or waits. Raises InstructionFaultError.

        A fault is raised as well when the wave has run more than `most` instructions.
        """
        until = wave.count + _TURN
        while True:
            flush = wave.mode >> 4 & 3 == _FLUSH
            blocks = self._blocks[flush]
            block = blocks.get(wave.pc)
            if block is None:
                block = blocks[wave.pc] = self._block(wave.pc, self._limits[flush])
            block.runs += 1
            wave.count += len(block.instructions)
            step = None
            try:
                for step, touched in zip(block.steps, block.touched, strict=True):
                    if wave.pending and not wave.pending.isdisjoint(touched):
                        raise waiting.too_early(wave.pending, touched)
                    step(wave)
                step = None
                if wave.pending and not wave.pending.isdisjoint(block.leaving):
                    raise waiting.too_early(wave.pending, block.leaving)
                following = block.leave(wave)
            except FaultError as fault:
                number = block.steps.index(step) if step in block.steps else -1
                raise _of(block.instructions[number], str(fault)) from fault
            if isinstance(following, Stop):
                return following
            wave.pc = following
            if wave.count > most:
                message = (
                    f"the wave has run {wave.count} instructions, and {most} are allowed; if it "
                    "is no endless loop, allow more"
                )
                raise _of(block.instructions[-1], message)
            if wave.count > until:
                return Stop.TURN

    def operations(self) -> Counter[str]:
        """Return how often each operation was run, by name."""
        counted: Counter[str] = Counter()
        for blocks in self._blocks.values():
            for block in blocks.values():
                for inst in block.instructions:
                    counted[inst.name] += block.runs
        return counted

    def _block(self, start: int, limits: Limits) -> Block:
        instructions: list[Instruction] = []
        steps: list[Step] = []
        touched: list[frozenset[int]] = []
        address, index_mode = start, 0
        while len(instructions) < _LONGEST:
            try:
                self._memory.place(address, 4)
                inst = decode(
                    self._memory.bytes[address - BASE : address - BASE + 12].tobytes(), 0, address
                )
            except FaultError as fault:
                raise InstructionFaultError(
                    str(fault), name="an instruction", address=address
                ) from fault
            instructions.append(inst)
            address += inst.size
            try:
                limits.touched.clear()
                leave = _leave(inst, address, limits)
                if leave is not None:
                    if index_mode:
                        steps.append(_unknown("a branch in the index mode is not emulated"))
                        touched.append(frozenset())
                        instructions.append(inst)
                    return Block(instructions, steps, touched, leave, frozenset(limits.touched))
                step = _indexed(inst, limits, index_mode)
                filled = waiting.arrives(inst)
                touched.append(waiting.must_have_arrived(inst, limits.touched, filled))
                steps.append(waiting.counted(inst, filled, step))
                index_mode = indexing.mode_after(inst, index_mode)
            except UnknownOperationError as error:
                # It is an error only once it is reached.
                steps.append(_unknown(str(error)))
                touched.append(frozenset())
        return Block(instructions, steps, touched, lambda _: address)


def _of(inst: Instruction, message: str) -> InstructionFaultError:
    return InstructionFaultError(message, name=inst.name, address=inst.address)


def _indexed(inst: Instruction, limits: Limits, mode: int) -> Step:
    """Return what an instruction does where operands may be indexed."""
    if mode:
        return indexing.indexed(inst, mode, lambda each: _step(each, limits))
    return _step(inst, limits)


def _unknown(message: str) -> Step:
    def run(w: Wave) -> None:
        raise UnknownOperationError(message)

    return run


def _step(inst: Instruction, limits: Limits) -> Step:
    """Return what an instruction does that is followed by the next one."""
    if inst.name == "s_waitcnt":
        return waiting.wait(inst)
    if found := indexing.step(inst, limits):
        return found
    match inst.format:
        case "sop1" | "sop2" | "sopc" | "sopk" | "sopp":
            return scalar.step(inst, limits)
        case "smem":
            return fetching.step(inst, limits)
        case "mai" if inst.name.startswith("v_mfma"):
            return matrix.step(inst, limits)
        case "ds":
            return sharing.step(inst, limits)
        case "flat" | "global" | "scratch" | "mubuf":
            return access.step(inst, limits)
        case _:
            return vector.step(inst, limits)


_CONDITIONS: dict[str, Callable[[Wave], bool]] = {
    "s_cbranch_scc0": lambda w: not w.scc,
    "s_cbranch_scc1": lambda w: bool(w.scc),
    "s_cbranch_vccz": lambda w: w.s64[53] == 0,
    "s_cbranch_vccnz": lambda w: w.s64[53] != 0,
    "s_cbranch_execz": lambda w: w.s64[63] == 0,
    "s_cbranch_execnz": lambda w: w.s64[63] != 0,
}


def _leave(
    inst: Instruction, following: int, limits: Limits
) -> Callable[[Wave], int | Stop] | None:
    """Return what says where to go on behind an instruction that may go elsewhere.

    None for one that is always followed by the next.
    """
    target = following + 4 * inst.signed("simm", 16)
    match inst.name:
        case "s_endpgm" | "s_endpgm_saved":
            return lambda _: Stop.ENDED
        case "s_branch":
            return lambda _: target
        case "s_barrier":

            def wait(w: Wave) -> Stop:
                w.pc = following
                return Stop.BARRIER

            return wait
        case "s_getpc_b64":
            put = scalar.put64(inst["sdst"], limits)

            def here(w: Wave) -> int:
                put(w, following)
                return following

            return here
        case "s_setpc_b64":
            return scalar.get(inst["src0"], 64, None, limits)
        case "s_swappc_b64" | "s_call_b64":
            return _call(inst, following, target, limits)
        case "s_setreg_b32" | "s_setreg_imm32_b32":
            return _set_mode(inst, following, limits)
        case "s_trap" | "s_sethalt" | "s_sendmsg" | "s_sendmsghalt" | "s_setkill" | "s_rfe_b64":
            raise UnknownOperationError(_STOPPING[inst.name])
        case name if name in _CONDITIONS:
            test = _CONDITIONS[name]
            if name.startswith("s_cbranch_vcc"):
                scalars(limits, VCC, 2)
            return lambda w: target if test(w) else following
        case _:
            return None


_STOPPING = {
    "s_trap": "the kernel stops itself, as a failed assertion does",
    "s_sethalt": "the kernel halts itself",
    "s_sendmsg": "it sends a message to the host, as printf does; nobody is there to hear it",
    "s_sendmsghalt": "it sends a message to the host and halts",
    "s_setkill": "it ends the wave in a way that is not emulated",
    "s_rfe_b64": "it returns from a trap",
}


def _call(inst: Instruction, following: int, target: int, limits: Limits) -> Callable[[Wave], int]:
    put = scalar.put64(inst["sdst"], limits)
    read = scalar.get(inst["src0"], 64, None, limits) if inst.name == "s_swappc_b64" else None

    def call(w: Wave) -> int:
        to = target if read is None else read(w)
        put(w, following)
        return to

    return call


def _set_mode(inst: Instruction, following: int, limits: Limits) -> Callable[[Wave], int]:
    first, count = scalar.mode_field(inst)
    read = scalar.get(inst["sdst"] if inst.literal is None else 255, 32, inst.literal, limits)

    def set_to(w: Wave) -> int:
        mask = (1 << count) - 1 << first
        w.mode = w.mode & ~mask | read(w) << first & mask
        check_mode(w.mode)
        return following

    return set_to


def check_mode(mode: int) -> None:
    """Raise FaultError for a way of rounding, or of denormal numbers, that is not emulated."""
    if mode & 0xF:
        message = f"it rounds otherwise than to nearest (mode {mode & 0xF:#x})"
        raise FaultError(message)
    if mode >> 4 & 3 not in {_FLUSH, _KEEP}:
        message = f"it treats denormal numbers in a way that is not emulated ({mode >> 4 & 3})"
        raise FaultError(message)
    if mode >> 6 & 3 != _KEEP:
        message = "it takes denormal numbers of 16 and 64 bits for zero, which is not emulated"
        raise FaultError(message)
