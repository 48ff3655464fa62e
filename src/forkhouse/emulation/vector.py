"""Make steps of vector instructions: read the sources, compute, write the result."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from forkhouse.emulation import carries, lanes, numbers, packed
from forkhouse.emulation.arithmetic import KEEPING, LITERAL, TABLE
from forkhouse.emulation.faults import UnknownOperationError
from forkhouse.emulation.gathering import Operands
from forkhouse.emulation.operands import (
    DTYPES,
    Limits,
    Read,
    Step,
    flush,
    scalars,
    source,
    width,
    write,
)
from forkhouse.emulation.wave import LANES, VCC

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkhouse.emulation.decoding import Instruction
    from forkhouse.emulation.wave import Wave

Array = Any

_LITERAL = 255
_BY_UFUNC = {np.add, np.subtract, np.multiply, np.bitwise_and, np.bitwise_or, np.bitwise_xor}
"""Functions of NumPy that may write their result to the register themselves."""


def step(inst: Instruction, limits: Limits) -> Step:
    """Return what a vector instruction does. Raises UnknownOperationError."""
    if inst.name.startswith("v_cmp"):
        return _compare(inst, limits)
    if inst.name in TABLE:
        return _computed(inst, limits)
    if inst.name in LITERAL:
        return _with_literal(inst, limits)
    found = carries.step(inst, limits) or packed.step(inst, limits) or lanes.step(inst, limits)
    if found is not None:
        return found
    message = "its meaning is not known to the emulator"
    raise UnknownOperationError(message)


def _computed(inst: Instruction, limits: Limits) -> Step:
    """Return the step of an operation of the table."""
    kind, sources, function = TABLE[inst.name]
    if inst.format == "vop3p":
        _refuse_parts(inst)
    operands = Operands(inst, limits, sources.split())
    put = operands.write(kind, keep=inst.name in KEEPING)
    after = _after(inst, kind, limits)
    written = operands.written
    if inst["clamp"] and kind[0] in "iu":
        function = _saturating(inst.name, kind)
    elif after is None and written is None and inst.modifier is None and width(kind) == 32:
        if function in _BY_UFUNC:
            return _direct(operands, kind, function)
        if inst.name == "v_mov_b32":
            return _moved(operands)
    compute = applied(function, operands.reads)

    if written is None and after is None:

        def plain(w: Wave) -> None:
            put(w, compute(w), w.m)

        return plain

    def run(w: Wave) -> None:
        result = compute(w)
        if after is not None:
            result = after(result.astype(DTYPES[kind], copy=False))
        put(w, result, w.m if written is None else written(w))

    return run


def _refuse_parts(inst: Instruction) -> None:
    """Refuse a dot product whose sources are read in another way than whole."""
    high = inst["op_sel_hi"] | inst["op_sel_hi2"] << 2
    if inst["op_sel"] or high & 3 != 3 or inst["neg"] or inst["neg_hi"]:
        message = "it chooses or negates halves, which is not known of a dot product"
        raise UnknownOperationError(message)


def _with_literal(inst: Instruction, limits: Limits) -> Step:
    """Return the step of a multiply-add of which one operand is the constant behind it."""
    kind, multiplied, function = LITERAL[inst.name]
    first, second = Operands(inst, limits, [kind, kind]).reads
    fixed = source(inst, _LITERAL, kind, limits)
    put = write(inst["vdst"], kind, limits)

    def run(w: Wave) -> None:
        a, b, k = first(w), second(w), fixed(w)
        put(w, function(a, k, b) if multiplied else function(a, b, k), w.m)

    return run


def applied(function: Callable[..., Array], reads: list[Read]) -> Read:
    """Return what computes a function of what is read."""
    if len(reads) == 1:
        (only,) = reads

        def of_one(w: Wave) -> Array:
            return function(only(w))

        return of_one
    if len(reads) == 2:
        first, second = reads

        def of_two(w: Wave) -> Array:
            return function(first(w), second(w))

        return of_two
    first, second, third = reads

    def of_three(w: Wave) -> Array:
        return function(first(w), second(w), third(w))

    return of_three


def _direct(operands: Operands, kind: str, function: Callable[..., Array]) -> Step:
    """Return a step whose function writes straight to the register."""
    first, second = operands.reads
    row = operands.row()

    def run(w: Wave) -> None:
        function(first(w), second(w), out=w.v[kind][row], where=w.m)

    return run


def _moved(operands: Operands) -> Step:
    (read,) = operands.reads
    row = operands.row()

    def run(w: Wave) -> None:
        np.copyto(w.v["b32"][row], read(w), where=w.m)

    return run


def _after(inst: Instruction, kind: str, limits: Limits) -> Callable[[Array], Array] | None:
    """Return what is done to a result of floats before it is written: scaling, limits, zeros."""
    if kind[0] != "f":
        if inst["omod"]:
            message = "it scales a result that is no float"
            raise UnknownOperationError(message)
        return None
    changes: list[Callable[[Array], Array]] = []
    if inst["omod"]:
        factor = DTYPES[kind]({1: 2.0, 2: 4.0, 3: 0.5}[inst["omod"]])
        changes.append(partial(np.multiply, factor))
    if inst["clamp"]:
        changes.append(unit)
    if limits.flush and kind == "f32":
        changes.append(flush)
    if not changes:
        return None

    def changed(result: Array) -> Array:
        for change in changes:
            result = change(result)
        return result

    return changed


def unit(values: Array) -> Array:
    """Return floats kept from 0 to 1, and 0 for what is no number."""
    kept = np.clip(values, values.dtype.type(0), values.dtype.type(1))
    return np.where(np.isnan(values), values.dtype.type(0), kept)


def _saturating(name: str, kind: str) -> Callable[..., Array]:
    """Return a sum, difference or product that keeps to the limits of its type."""
    limits = np.iinfo(DTYPES[kind])
    exact = np.add if name.startswith("v_add") else np.subtract
    if not name.startswith(("v_add_", "v_sub_", "v_subrev_", "v_mad_")):
        message = "it keeps its result to the limits of its type, which is not known of it"
        raise UnknownOperationError(message)

    def kept(*of: Array) -> Array:
        wide = [each.astype(np.int64) for each in of]
        if name.startswith("v_subrev"):
            wide.reverse()
        total = wide[0] * wide[1] + wide[2] if name.startswith("v_mad") else exact(*wide)
        return np.clip(total, limits.min, limits.max)

    return kept


_COMPARISONS: dict[str, Callable[[Array, Array], Array]] = {
    "lt": np.less, "eq": np.equal, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "ne": np.not_equal, "neq": np.not_equal,
    "lg": lambda a, b: (a < b) | (a > b),
    "o": lambda a, b: ~(np.isnan(a) | np.isnan(b)),
    "u": lambda a, b: np.isnan(a) | np.isnan(b),
    "nge": lambda a, b: ~(a >= b),
    "nlg": lambda a, b: ~((a < b) | (a > b)),
    "ngt": lambda a, b: ~(a > b),
    "nle": lambda a, b: ~(a <= b),
    "nlt": lambda a, b: ~(a < b),
    "f": lambda a, _b: np.zeros_like(a, dtype=np.bool_),
    "t": lambda a, _b: np.ones_like(a, dtype=np.bool_),
    "tru": lambda a, _b: np.ones_like(a, dtype=np.bool_),
}  # fmt: skip


def _compare(inst: Instruction, limits: Limits) -> Step:
    """Return the step of a comparison, which writes a truth value for each lane."""
    _, comparison, relation, kind = inst.name.split("_")
    is_class = relation == "class"
    function = numbers.is_class if is_class else _COMPARISONS[relation]
    kinds = [kind, "u16" if kind == "f16" else "u32"] if is_class else [kind, kind]
    operands = Operands(inst, limits, kinds)
    first, second = operands.reads
    target = VCC
    if inst.format == "vop3":
        target = inst["vdst"]
    elif inst.modifier == "sdwa" and inst["sd"]:
        target = inst["sdst"]
    scalars(limits, target, 2)
    sets_exec = comparison == "cmpx"

    def run(w: Wave) -> None:
        result = function(first(w), second(w))
        if result.shape[0] != LANES:
            result = np.broadcast_to(result, LANES)
        if not w.full:
            result = result & w.active
        w.set_mask(target, result)
        if sets_exec:
            w.set_exec(int(w.s64[target // 2]))

    return run
