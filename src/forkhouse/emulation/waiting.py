"""Check that no register is touched before what was read into it must have arrived.

The hardware counts the accesses that are on their way, and a program says at `s_waitcnt` how many
may be left. Here every access is done at once, so a program that waits too little would give the
right result; it is stopped instead.
Source: AMD, "CDNA2 Instruction Set Architecture", 4.4 and S_WAITCNT.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forkhouse.emulation.faults import FaultError
from forkhouse.emulation.fetching import filled_by
from forkhouse.emulation.wave import ACCUMULATORS, SCALAR_ROWS

if TYPE_CHECKING:
    from forkhouse.emulation.decoding import Instruction
    from forkhouse.emulation.operands import Step
    from forkhouse.emulation.wave import Wave

_MEMORY = frozenset({"global", "flat", "scratch", "mubuf"})
_WIDE_LOAD = re.compile(r"_load_dwordx(\d)")
_DS_READ = re.compile(r"ds_read(2(?:st64)?)?_b(\d+)")


def arrives(inst: Instruction) -> frozenset[int]:
    """Return the rows that an access to memory or LDS fills when it arrives."""
    if inst.format == "smem":
        first = SCALAR_ROWS + inst["sdata"]
        return frozenset(range(first, first + filled_by(inst)))
    count = 0
    if inst.format in _MEMORY:
        if "_load_" in inst.name:
            found = _WIDE_LOAD.search(inst.name)
            count = int(found[1]) if found else 1
        elif "_atomic_" in inst.name and inst["glc"]:
            count = 2 if inst.name.endswith(("_x2", "_f64")) else 1
    elif inst.format == "ds":
        if found := _DS_READ.fullmatch(inst.name):
            count = int(found[2]) // 32 * (2 if found[1] else 1)
        elif "_read_" in inst.name or "permute" in inst.name or "swizzle" in inst.name:
            count = 1
        elif "_rtn_" in inst.name:
            count = 2 if inst.name.endswith("64") else 1
    first = inst["vdst"] + (ACCUMULATORS if inst["acc"] else 0)
    return frozenset(range(first, first + count))


def must_have_arrived(
    inst: Instruction, touched: set[int], filled: frozenset[int]
) -> frozenset[int]:
    """Return the rows that must have arrived before an instruction that touches some rows.

    An access may fill a register that another one fills, as they arrive in order; reads into
    scalar registers do not.
    """
    return frozenset(touched if inst.format == "smem" else touched - filled)


def counted(inst: Instruction, filled: frozenset[int], step: Step) -> Step:
    """Return a step that also counts its access as on its way."""
    if inst.format == "smem":
        return _counting(step, filled, vector=False, local=True, ordered=False)
    if inst.format == "ds":
        return _counting(step, filled, vector=False, local=True, ordered=True)
    if inst.format in _MEMORY:
        flat = inst.format == "flat"
        return _counting(step, filled, vector=True, local=flat, ordered=not flat)
    return step


def _counting(
    step: Step, filled: frozenset[int], *, vector: bool, local: bool, ordered: bool
) -> Step:
    entry = (filled, ordered)

    def run(w: Wave) -> None:
        step(w)
        if vector:
            w.vectors.append(entry)
        if local:
            w.locals.append(entry)
        if filled:
            w.pending = w.pending | filled

    return run


def wait(inst: Instruction) -> Step:
    """Return what `s_waitcnt` does: it lets all but the newest accesses arrive."""
    simm = inst["simm"]
    vectors, local = simm & 0xF | simm >> 10 & 0x30, simm >> 8 & 0xF

    def run(w: Wave) -> None:
        w.vectors = _left(w.vectors, vectors)
        w.locals = _left(w.locals, local)
        if w.pending:
            w.pending = frozenset().union(
                *(filled for filled, _ in w.vectors), *(filled for filled, _ in w.locals)
            )

    return run


def _left(queue: list[tuple[frozenset[int], bool]], most: int) -> list[tuple[frozenset[int], bool]]:
    """Return the accesses that may be on their way when so many are left.

    Those that do not come in order have only arrived for sure when none is left.
    """
    if len(queue) <= most:
        return queue
    if most == 0:
        return []
    old = [entry for entry in queue[: len(queue) - most] if not entry[1]]
    return old + queue[len(queue) - most :]


def too_early(pending: frozenset[int], touched: frozenset[int]) -> FaultError:
    """Return the fault of an instruction that touches what has not arrived."""
    row = min(pending & touched)
    if row >= SCALAR_ROWS:
        name = f"s{row - SCALAR_ROWS}"
    else:
        name = f"a{row - ACCUMULATORS}" if row >= ACCUMULATORS else f"v{row}"
    return FaultError(f"it touches {name} before s_waitcnt has let arrive what is read into it")
