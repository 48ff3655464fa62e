"""Make steps of scalar instructions, which compute one number for all lanes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from forkhouse.emulation.faults import UnknownOperationError
from forkhouse.emulation.operands import Limits, Step, constant, scalars
from forkhouse.emulation.wave import EXEC, SCALARS, VCC

if TYPE_CHECKING:
    from forkhouse.emulation.decoding import Instruction
    from forkhouse.emulation.wave import Wave

Get = Callable[["Wave"], int]
Put = Callable[["Wave", int], None]

_M32, _M64 = 0xFFFFFFFF, 0xFFFFFFFF_FFFFFFFF


def get(code: int, bits: int, literal: int | None, limits: Limits) -> Get:
    """Return what reads a scalar source of 32 or 64 bits as an unsigned number."""
    fixed = constant(code, f"i{bits}", literal)
    if fixed is not None:
        number = fixed
        return lambda _: number
    if code < SCALARS:
        scalars(limits, code, bits // 32)
        if bits == 32:
            return lambda w: w.s[code]
        if code & 1:
            message = f"it reads a pair of scalar registers from s{code}, which is odd"
            raise UnknownOperationError(message)
        half = code >> 1
        return lambda w: w.s64[half]
    match code:
        case 251:
            scalars(limits, VCC, 2)
            return lambda w: int(w.s64[53] == 0)
        case 252:
            return lambda w: int(w.s64[63] == 0)
        case 253:
            return lambda w: w.scc
        case _:
            message = f"its source {code} is not known"
            raise UnknownOperationError(message)


def put32(code: int, limits: Limits) -> Put:
    """Return what writes a scalar register."""
    scalars(limits, code)
    if code in {EXEC, EXEC + 1}:

        def to_exec(w: Wave, value: int) -> None:
            w.s[code] = value & _M32
            w.exec_changed()

        return to_exec

    def to_register(w: Wave, value: int) -> None:
        w.s[code] = value & _M32

    return to_register


def put64(code: int, limits: Limits) -> Put:
    """Return what writes a pair of scalar registers."""
    if code & 1:
        message = f"it writes a pair of scalar registers from s{code}, which is odd"
        raise UnknownOperationError(message)
    half = scalars(limits, code, 2) >> 1
    if code == EXEC:

        def to_exec(w: Wave, value: int) -> None:
            w.s64[half] = value & _M64
            w.exec_changed()

        return to_exec

    def to_pair(w: Wave, value: int) -> None:
        w.s64[half] = value & _M64

    return to_pair


def signed(value: int, bits: int) -> int:
    """Return the lowest bits of a number as a signed one."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value


def _s(value: int) -> int:
    return value - 0x1_0000_0000 if value & 0x8000_0000 else value


def _overflow(value: int) -> int:
    return int(not -0x8000_0000 <= value <= 0x7FFF_FFFF)


def _field(value: int, which: int, bits: int, *, sign: bool) -> int:
    first, count = which & bits - 1, which >> 16 & 0x7F
    # A field that is wider than the number, or longer than what is left of it, ends with it.
    if sign:
        value = signed(value, bits)
    part = value >> first & (1 << count) - 1
    return signed(part, count) if sign and 0 < count < bits else part


Two = Callable[["Wave", int, int], tuple[int, int | None]]
"""Takes a wave and two sources; returns the result, and SCC where it is written."""


def _logic(function: Callable[[int, int], int], mask: int) -> Two:
    def computed(w: Wave, a: int, b: int) -> tuple[int, int]:
        result = function(a, b) & mask
        return result, int(result != 0)

    return computed


def _plain(function: Callable[[int, int], int]) -> Two:
    return lambda _, a, b: (function(a, b), None)


def _nonzero(function: Callable[[int, int], int], bits: int = 32) -> Two:
    return _logic(function, (1 << bits) - 1)


def _chosen(w: Wave, a: int, b: int) -> tuple[int, None]:
    return (a if w.scc else b), None


def _shifted(step: int) -> Two:
    def computed(w: Wave, a: int, b: int) -> tuple[int, int]:
        total = (a << step) + b
        return total, int(total > _M32)

    return computed


def _pack(low: int, high: int) -> Two:
    return _plain(lambda a, b: a >> low & 0xFFFF | (b >> high & 0xFFFF) << 16)


_TWO: dict[str, tuple[int, int, int, Two]] = {
    "s_add_u32": (32, 32, 32, lambda _, a, b: (a + b, int(a + b > _M32))),
    "s_sub_u32": (32, 32, 32, lambda _, a, b: (a - b, int(b > a))),
    "s_add_i32": (32, 32, 32, lambda _, a, b: (a + b, _overflow(_s(a) + _s(b)))),
    "s_sub_i32": (32, 32, 32, lambda _, a, b: (a - b, _overflow(_s(a) - _s(b)))),
    "s_addc_u32": (32, 32, 32, lambda w, a, b: (a + b + w.scc, int(a + b + w.scc > _M32))),
    "s_subb_u32": (32, 32, 32, lambda w, a, b: (a - b - w.scc, int(b + w.scc > a))),
    "s_min_i32": (32, 32, 32, lambda _, a, b: (a, 1) if _s(a) < _s(b) else (b, 0)),
    "s_min_u32": (32, 32, 32, lambda _, a, b: (a, 1) if a < b else (b, 0)),
    "s_max_i32": (32, 32, 32, lambda _, a, b: (a, 1) if _s(a) >= _s(b) else (b, 0)),
    "s_max_u32": (32, 32, 32, lambda _, a, b: (a, 1) if a >= b else (b, 0)),
    "s_cselect_b32": (32, 32, 32, _chosen),
    "s_cselect_b64": (64, 64, 64, _chosen),
    "s_lshl_b32": (32, 32, 32, _nonzero(lambda a, b: a << (b & 31))),
    "s_lshl_b64": (64, 64, 32, _nonzero(lambda a, b: a << (b & 63), 64)),
    "s_lshr_b32": (32, 32, 32, _nonzero(lambda a, b: a >> (b & 31))),
    "s_lshr_b64": (64, 64, 32, _nonzero(lambda a, b: a >> (b & 63), 64)),
    "s_ashr_i32": (32, 32, 32, _nonzero(lambda a, b: _s(a) >> (b & 31))),
    "s_ashr_i64": (64, 64, 32, _nonzero(lambda a, b: signed(a, 64) >> (b & 63), 64)),
    "s_bfm_b32": (32, 32, 32, _plain(lambda a, b: (1 << (a & 31)) - 1 << (b & 31))),
    "s_bfm_b64": (64, 32, 32, _plain(lambda a, b: (1 << (a & 63)) - 1 << (b & 63))),
    "s_mul_i32": (32, 32, 32, _plain(lambda a, b: a * b)),
    "s_bfe_u32": (32, 32, 32, _nonzero(lambda a, b: _field(a, b, 32, sign=False))),
    "s_bfe_i32": (32, 32, 32, _nonzero(lambda a, b: _field(a, b, 32, sign=True))),
    "s_bfe_u64": (64, 64, 32, _nonzero(lambda a, b: _field(a, b, 64, sign=False), 64)),
    "s_bfe_i64": (64, 64, 32, _nonzero(lambda a, b: _field(a, b, 64, sign=True), 64)),
    "s_absdiff_i32": (32, 32, 32, _nonzero(lambda a, b: abs(signed(_s(a) - _s(b), 32)))),
    "s_mul_hi_u32": (32, 32, 32, _plain(lambda a, b: a * b >> 32)),
    "s_mul_hi_i32": (32, 32, 32, _plain(lambda a, b: _s(a) * _s(b) >> 32)),
    "s_lshl1_add_u32": (32, 32, 32, _shifted(1)),
    "s_lshl2_add_u32": (32, 32, 32, _shifted(2)),
    "s_lshl3_add_u32": (32, 32, 32, _shifted(3)),
    "s_lshl4_add_u32": (32, 32, 32, _shifted(4)),
    "s_pack_ll_b32_b16": (32, 32, 32, _pack(0, 0)),
    "s_pack_lh_b32_b16": (32, 32, 32, _pack(0, 16)),
    "s_pack_hh_b32_b16": (32, 32, 32, _pack(16, 16)),
}
"""By name: bits of the result and of both sources, and what is computed."""
_BITWISE: dict[str, Callable[[int, int], int]] = {
    "and": lambda a, b: a & b, "or": lambda a, b: a | b, "xor": lambda a, b: a ^ b,
    "andn2": lambda a, b: a & ~b, "orn2": lambda a, b: a | ~b, "nand": lambda a, b: ~(a & b),
    "nor": lambda a, b: ~(a | b), "xnor": lambda a, b: ~(a ^ b),
    "andn1": lambda a, b: ~a & b, "orn1": lambda a, b: ~a | b,
}  # fmt: skip
for _name, _function in _BITWISE.items():
    for _bits in (32, 64):
        _TWO[f"s_{_name}_b{_bits}"] = (_bits, _bits, _bits, _nonzero(_function, _bits))

One = Callable[[int], int]


def _replicated(value: int) -> int:
    return sum((value >> place & 1) * 3 << 2 * place for place in range(32))


def _quads(value: int, bits: int, *, whole: bool) -> int:
    result = 0
    for quad in range(bits // 4):
        if value >> 4 * quad & 0xF:
            result |= 0xF << 4 * quad if whole else 1 << quad
    return result


def _first_one(value: int) -> int:
    return (value & -value).bit_length() - 1 if value else _M32


def _sign_bits(value: int, bits: int) -> int:
    if value >> bits - 1:
        value = ~value & (1 << bits) - 1
    return bits - value.bit_length() if value else _M32


_ONE: dict[str, tuple[int, int, bool, One]] = {
    "s_mov_b32": (32, 32, False, lambda a: a),
    "s_mov_b64": (64, 64, False, lambda a: a),
    "s_not_b32": (32, 32, True, lambda a: ~a & _M32),
    "s_not_b64": (64, 64, True, lambda a: ~a & _M64),
    "s_wqm_b32": (32, 32, True, lambda a: _quads(a, 32, whole=True)),
    "s_wqm_b64": (64, 64, True, lambda a: _quads(a, 64, whole=True)),
    "s_quadmask_b32": (32, 32, True, lambda a: _quads(a, 32, whole=False)),
    "s_quadmask_b64": (64, 64, True, lambda a: _quads(a, 64, whole=False)),
    "s_brev_b32": (32, 32, False, lambda a: int(f"{a:032b}"[::-1], 2)),
    "s_brev_b64": (64, 64, False, lambda a: int(f"{a:064b}"[::-1], 2)),
    "s_bcnt0_i32_b32": (32, 32, True, lambda a: 32 - a.bit_count()),
    "s_bcnt0_i32_b64": (32, 64, True, lambda a: 64 - a.bit_count()),
    "s_bcnt1_i32_b32": (32, 32, True, lambda a: a.bit_count()),
    "s_bcnt1_i32_b64": (32, 64, True, lambda a: a.bit_count()),
    "s_ff0_i32_b32": (32, 32, False, lambda a: _first_one(~a & _M32)),
    "s_ff0_i32_b64": (32, 64, False, lambda a: _first_one(~a & _M64)),
    "s_ff1_i32_b32": (32, 32, False, _first_one),
    "s_ff1_i32_b64": (32, 64, False, _first_one),
    "s_flbit_i32_b32": (32, 32, False, lambda a: 32 - a.bit_length() if a else _M32),
    "s_flbit_i32_b64": (32, 64, False, lambda a: 64 - a.bit_length() if a else _M32),
    "s_flbit_i32": (32, 32, False, lambda a: _sign_bits(a, 32)),
    "s_flbit_i32_i64": (32, 64, False, lambda a: _sign_bits(a, 64)),
    "s_sext_i32_i8": (32, 32, False, lambda a: signed(a, 8)),
    "s_sext_i32_i16": (32, 32, False, lambda a: signed(a, 16)),
    "s_abs_i32": (32, 32, True, lambda a: abs(_s(a)) & _M32),
    "s_bitreplicate_b64_b32": (64, 32, False, _replicated),
}
"""By name: bits of the result and of the source, whether SCC tells a result that is not zero."""

_RELATIONS: dict[str, Callable[[int, int], bool]] = {
    "eq": lambda a, b: a == b, "lg": lambda a, b: a != b, "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b, "lt": lambda a, b: a < b, "le": lambda a, b: a <= b,
}  # fmt: skip

_NOTHING = frozenset(
    {
        "s_nop", "s_sleep", "s_setprio", "s_icache_inv", "s_wakeup", "s_incperflevel",
        "s_decperflevel", "s_ttracedata", "s_set_valu_coexec_mode",
    }
)  # fmt: skip
"""Instructions that change nothing that a program can see here."""


def step(inst: Instruction, limits: Limits) -> Step:
    """Return what a scalar instruction does that does not end a block.

    Raises UnknownOperationError.
    """
    name = inst.name
    if name in _NOTHING:
        return lambda _: None
    if name in _TWO:
        return _two(inst, limits)
    if name in _ONE:
        return _one(inst, limits)
    match inst.format:
        case "sopc":
            return _compare(inst, limits)
        case "sopk":
            return _with_constant(inst, limits)
        case "sop1":
            return _other(inst, limits)
        case _:
            raise _unknown()


def _unknown() -> UnknownOperationError:
    return UnknownOperationError("its meaning is not known to the emulator")


def _put(code: int, bits: int, limits: Limits) -> Put:
    return put64(code, limits) if bits == 64 else put32(code, limits)


def _two(inst: Instruction, limits: Limits) -> Step:
    bits, first_bits, second_bits, function = _TWO[inst.name]
    first = get(inst["src0"], first_bits, inst.literal, limits)
    second = get(inst["src1"], second_bits, inst.literal, limits)
    put = _put(inst["sdst"], bits, limits)

    def run(w: Wave) -> None:
        result, scc = function(w, first(w), second(w))
        put(w, result)
        if scc is not None:
            w.scc = scc

    return run


def _one(inst: Instruction, limits: Limits) -> Step:
    bits, source_bits, tells, function = _ONE[inst.name]
    read, put = (
        get(inst["src0"], source_bits, inst.literal, limits),
        _put(inst["sdst"], bits, limits),
    )

    def run(w: Wave) -> None:
        result = function(read(w))
        put(w, result)
        if tells:
            w.scc = int(result != 0)

    return run


def _compare(inst: Instruction, limits: Limits) -> Step:
    steps = inst.name.split("_")
    if inst.name.startswith("s_cmp_"):
        relation, bits = _RELATIONS[steps[2]], int(steps[3][1:])
        first, second = (
            get(inst["src0"], bits, inst.literal, limits),
            get(inst["src1"], bits, inst.literal, limits),
        )
        is_signed = steps[3][0] == "i"

        def run(w: Wave) -> None:
            a, b = first(w), second(w)
            w.scc = int(relation(_s(a), _s(b)) if is_signed else relation(a, b))

        return run
    if inst.name.startswith("s_bitcmp"):
        bits, wanted = int(steps[2][1:]), int(steps[1][-1])
        value, which = (
            get(inst["src0"], bits, inst.literal, limits),
            get(inst["src1"], 32, inst.literal, limits),
        )

        def tested(w: Wave) -> None:
            w.scc = int(value(w) >> (which(w) & bits - 1) & 1 == wanted)

        return tested
    raise _unknown()


def _with_constant(inst: Instruction, limits: Limits) -> Step:
    value, register = inst.signed("simm", 16), inst["sdst"]
    read, put = get(register, 32, None, limits), put32(register, limits)
    match inst.name:
        case "s_movk_i32":
            return lambda w: put(w, value)
        case "s_cmovk_i32":
            return lambda w: put(w, value) if w.scc else None
        case "s_mulk_i32":
            return lambda w: put(w, _s(read(w)) * value)
        case "s_addk_i32":

            def add(w: Wave) -> None:
                total = _s(read(w)) + value
                put(w, total)
                w.scc = _overflow(total)

            return add
        case "s_getreg_b32":
            return _get_mode(inst, limits)
        case _ if inst.name.startswith("s_cmpk_"):
            steps = inst.name.split("_")
            relation, is_signed = _RELATIONS[steps[2]], steps[3][0] == "i"
            other = value if is_signed else inst["simm"]

            def compare(w: Wave) -> None:
                mine = read(w)
                w.scc = int(relation(_s(mine) if is_signed else mine, other))

            return compare
        case _:
            raise _unknown()


_MODE = 1
"""The number of the register of modes among those that `s_getreg` reads."""


def mode_field(inst: Instruction) -> tuple[int, int]:
    """Return the first bit and the number of bits of the part of MODE that is meant.

    Raises UnknownOperationError for another register.
    """
    if inst["simm"] & 0x3F != _MODE:
        message = f"it touches hardware register {inst['simm'] & 0x3F}, which is not emulated"
        raise UnknownOperationError(message)
    return inst["simm"] >> 6 & 0x1F, (inst["simm"] >> 11) + 1


def _get_mode(inst: Instruction, limits: Limits) -> Step:
    first, count = mode_field(inst)
    put = put32(inst["sdst"], limits)
    return lambda w: put(w, w.mode >> first & (1 << count) - 1)


def _other(inst: Instruction, limits: Limits) -> Step:
    """Return the step of an operation on one source that also reads what it writes."""
    name = inst.name
    if name.endswith(("_saveexec_b64", "_wrexec_b64")):
        return _save(inst, limits)
    bits = 64 if name.endswith("64") else 32
    put = _put(inst["sdst"], bits, limits)
    if name.startswith("s_cmov"):
        read = get(inst["src0"], bits, inst.literal, limits)
        return lambda w: put(w, read(w)) if w.scc else None
    if name.startswith("s_bitset"):
        place, old = (
            get(inst["src0"], 32, inst.literal, limits),
            get(inst["sdst"], bits, None, limits),
        )
        if name.startswith("s_bitset1"):
            return lambda w: put(w, old(w) | 1 << (place(w) & bits - 1))
        return lambda w: put(w, old(w) & ~(1 << (place(w) & bits - 1)))
    raise _unknown()


def _save(inst: Instruction, limits: Limits) -> Step:
    function = _BITWISE[inst.name.split("_")[1]]
    read, put = get(inst["src0"], 64, inst.literal, limits), put64(inst["sdst"], limits)
    gives_new = inst.name.endswith("_wrexec_b64")

    def run(w: Wave) -> None:
        old = w.exec
        new = function(read(w), old) & _M64
        put(w, new if gives_new else old)
        w.set_exec(new)
        w.scc = int(new != 0)

    return run
