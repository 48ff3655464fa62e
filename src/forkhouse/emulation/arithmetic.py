"""What each vector operation computes: the types of its operands, and a function on arrays.

`TABLE` has operations with one result and nothing else; `CARRYING` those that also make a truth
value for each lane. Sources: AMD, "CDNA2 Instruction Set Architecture", chapter 12, and the
pseudo-code in tinygrad's tables (`tinygrad.runtime.autogen.amd.cdna.str_pcode`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from forkhouse.emulation import division, numbers
from forkhouse.emulation.wave import LANES

Array = Any
Operation = tuple[str, str, Callable[..., Array]]
"""The type of the result; those of the sources, `=` before one that is the old result; and what is
computed."""

_U32, _U64, _I64, _F32, _F16 = np.uint32, np.uint64, np.int64, np.float32, np.float16


def _u(value: int) -> Any:
    return np.uint32(value)


def _wide(values: Array) -> Array:
    return values.astype(_I64)


def _low_shift(values: Array, by: Array) -> Array:
    return values << (by & _u(31))


def _bfe_u32(value: Array, first: Array, count: Array) -> Array:
    mask = (_U64(1) << (count & _u(31)).astype(_U64)) - _U64(1)
    return (value >> (first & _u(31))).astype(_U64) & mask


def _bfe_i32(value: Array, first: Array, count: Array) -> Array:
    # Both shifts are done in 64 bits, so that a field may reach over the end.
    length = _wide(count & _u(31))
    moved = value.astype(_I64) >> _wide(first & _u(31))
    up = _I64(64) - length
    kept = np.where(length == 0, 0, moved << np.where(length == 0, 0, up))
    return kept >> np.where(length == 0, 0, up)


def _perm(high: Array, low: Array, chosen: Array) -> Array:
    """Return four bytes of eight, or their signs, or constants, as the last source says."""
    lanes = max(high.shape[0], low.shape[0], chosen.shape[0])
    table = np.empty((lanes, 14), dtype=np.uint8)
    table[:, :4] = low.view(np.uint8).reshape(-1, 4)
    table[:, 4:8] = high.view(np.uint8).reshape(-1, 4)
    # 8 to 11 repeat the sign of every other byte; 12 is zero, and all above is 255.
    table[:, 8:12] = (table[:, 1:8:2] >> 7) * np.uint8(255)
    table[:, 12], table[:, 13] = 0, 255
    places = np.minimum(np.broadcast_to(chosen, lanes)[:, None] >> _PLACES & _u(0xFF), _u(13))
    return np.take_along_axis(table, places, axis=1).view(_U32)[:, 0]


_PLACES = np.array([0, 8, 16, 24], dtype=_U32)


def _bits(count: Array) -> Array:
    return (_U64(1) << (count & _u(31)).astype(_U64)) - _U64(1)


_BEFORE = np.array([(1 << lane) - 1 for lane in range(LANES)], dtype=_U64)
_BEFORE_LOW = (_BEFORE & _U64(0xFFFFFFFF)).astype(_U32)
_BEFORE_HIGH = (_BEFORE >> _U64(32)).astype(_U32)


def _signed(value: Array, bits: int) -> Array:
    """Return the lowest bits of each number as signed ones of 64 bits."""
    up = _I64(64 - bits)
    return value.astype(_I64) << up >> up


def _parts(value: Array, bits: int, *, signed: bool) -> list[Array]:
    """Return the parts of so many bits of numbers of 32, as numbers of 64."""
    whole = value.view(_U32).astype(_I64)
    parts = [whole >> _I64(bits * number) & _I64((1 << bits) - 1) for number in range(32 // bits)]
    return [_signed(part, bits) for part in parts] if signed else parts


def _dot(a: Array, b: Array, c: Array, bits: int, *, signed: bool) -> Array:
    pairs = zip(_parts(a, bits, signed=signed), _parts(b, bits, signed=signed), strict=True)
    return sum((x * y for x, y in pairs), c.astype(_I64))


def _halves(value: Array) -> Array:
    return np.ascontiguousarray(value).view(_U32).view(_F16).reshape(-1, 2).astype(np.float64)


def _dot2_f32_f16(a: Array, b: Array, c: Array) -> Array:
    products = _halves(a) * _halves(b)
    return products[:, 0] + products[:, 1] + c


def _sad(a: Array, b: Array, c: Array, bits: int, shift: int = 0) -> Array:
    pairs = zip(_parts(a, bits, signed=False), _parts(b, bits, signed=False), strict=True)
    return (sum(np.abs(x - y) for x, y in pairs) << shift) + c.astype(_I64)


def _pack16(low: Array, high: Array) -> Array:
    return low.astype(np.uint16).astype(_U32) | high.astype(np.uint16).astype(_U32) << _u(16)


def _pack_f16(low: Array, high: Array) -> Array:
    return _pack16(low.astype(_F16).view(np.uint16), high.astype(_F16).view(np.uint16))


def _norm(values: Array, largest: int, least: int) -> Array:
    scaled = np.rint(np.clip(np.nan_to_num(values.astype(np.float64)), -1.0, 1.0) * largest)
    return np.maximum(scaled, least).astype(_I64)


def _double(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Return a function of f32 that is computed in 64 bits, without denormal numbers."""

    def computed(value: Array) -> Array:
        result = function(_no_denormals(value).astype(np.float64)).astype(_F32)
        return _no_denormals(result)

    return computed


def _no_denormals(values: Array) -> Array:
    small = np.abs(values) < _F32(2.0**-126)
    return np.where(small, np.copysign(_F32(0), values), values) if small.any() else values


def _rcp32(value: Array) -> Array:
    return _no_denormals(_F32(1) / _no_denormals(value))


def _half(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    return lambda value: function(value.astype(np.float64))


def _turn(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Return a function of an angle that is given in whole turns."""
    return lambda value: function(np.fmod(value, 1.0) * (2 * np.pi))


def _legacy(a: Array, b: Array) -> Array:
    return np.where((a == 0) | (b == 0), _F32(0), a * b)


def _mad32(a: Array, b: Array, c: Array) -> Array:
    """Return a * b + c, rounded twice; these operations take denormal numbers for zero."""
    product = _no_denormals(_no_denormals(a) * _no_denormals(b))
    return _no_denormals(product + _no_denormals(c))


def _to(low: int, high: int) -> Callable[[Array], Array]:
    return lambda value: numbers.to_integer(value, low, high)


def _rounded(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    return lambda value: numbers.to_integer(function(value.astype(np.float64)), -(2**31), 2**31 - 1)


def _ashr_pk(low: Array, high: Array, least: int, most: int) -> Array:
    return _pack16(np.clip(_wide(low), least, most), np.clip(_wide(high), least, most))


def _order3(value: Callable[[Array, Array], Array]) -> Callable[[Array, Array, Array], Array]:
    return lambda a, b, c: value(value(a, b), c)


def _median(a: Array, b: Array, c: Array) -> Array:
    return np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))


def _ubyte(place: int) -> Callable[[Array], Array]:
    return lambda value: value >> _u(8 * place) & _u(0xFF)


def _cvt_pk_u8(value: Array, place: Array, old: Array) -> Array:
    byte = np.clip(np.nan_to_num(np.rint(value.astype(np.float64))), 0, 255).astype(_U32)
    shift = (place & _u(3)) * _u(8)
    return old & ~(_u(0xFF) << shift) | byte << shift


def _align(high: Array, low: Array, by: Array) -> Array:
    both = high.astype(_U64) << _U64(32) | low.astype(_U64)
    return both >> by.astype(_U64)


_SIN = _turn(np.sin)
_COS = _turn(np.cos)
_I32_RANGE = (-(2**31), 2**31 - 1)

_ONE32 = np.ones(1, dtype=_F32)

TABLE: dict[str, Operation] = {
    # moving
    "v_mov_b32": ("b32", "b32", lambda a: a),
    "v_not_b32": ("b32", "b32", np.invert),
    "v_bfrev_b32": ("b32", "b32", numbers.reversed_bits),
    # f32
    "v_add_f32": ("f32", "f32 f32", np.add),
    "v_sub_f32": ("f32", "f32 f32", np.subtract),
    "v_subrev_f32": ("f32", "f32 f32", lambda a, b: b - a),
    "v_mul_f32": ("f32", "f32 f32", np.multiply),
    "v_mul_legacy_f32": ("f32", "f32 f32", _legacy),
    "v_min_f32": ("f32", "f32 f32", numbers.least),
    "v_max_f32": ("f32", "f32 f32", numbers.greatest),
    "v_fma_f32": ("f32", "f32 f32 f32", numbers.fma32),
    "v_fmac_f32": ("f32", "f32 f32 =f32", numbers.fma32),
    "v_mad_f32": ("f32", "f32 f32 f32", _mad32),
    "v_mac_f32": ("f32", "f32 f32 =f32", _mad32),
    "v_mad_legacy_f32": ("f32", "f32 f32 f32", lambda a, b, c: _mad32(_legacy(a, b), _ONE32, c)),
    "v_min3_f32": ("f32", "f32 f32 f32", _order3(numbers.least)),
    "v_max3_f32": ("f32", "f32 f32 f32", _order3(numbers.greatest)),
    "v_med3_f32": ("f32", "f32 f32 f32", numbers.middle),
    "v_fract_f32": ("f32", "f32", numbers.fraction),
    "v_trunc_f32": ("f32", "f32", np.trunc),
    "v_ceil_f32": ("f32", "f32", np.ceil),
    "v_rndne_f32": ("f32", "f32", np.rint),
    "v_floor_f32": ("f32", "f32", np.floor),
    "v_exp_f32": ("f32", "f32", _double(np.exp2)),
    "v_exp_legacy_f32": ("f32", "f32", _double(np.exp2)),
    "v_log_f32": ("f32", "f32", _double(np.log2)),
    "v_log_legacy_f32": ("f32", "f32", _double(np.log2)),
    "v_rcp_f32": ("f32", "f32", _rcp32),
    "v_rcp_iflag_f32": ("f32", "f32", _rcp32),
    "v_rsq_f32": ("f32", "f32", _double(lambda a: 1 / np.sqrt(a))),
    "v_sqrt_f32": ("f32", "f32", _double(np.sqrt)),
    "v_sin_f32": ("f32", "f32", _double(_SIN)),
    "v_cos_f32": ("f32", "f32", _double(_COS)),
    "v_frexp_exp_i32_f32": ("i32", "f32", numbers.exponent_of),
    "v_frexp_mant_f32": ("f32", "f32", numbers.mantissa_of),
    "v_ldexp_f32": ("f32", "f32 i32", numbers.scaled),
    "v_div_fixup_f32": ("f32", "f32 f32 f32", division.div_fixup),
    # f64
    "v_add_f64": ("f64", "f64 f64", np.add),
    "v_mul_f64": ("f64", "f64 f64", np.multiply),
    "v_min_f64": ("f64", "f64 f64", numbers.least),
    "v_max_f64": ("f64", "f64 f64", numbers.greatest),
    "v_fma_f64": ("f64", "f64 f64 f64", numbers.fma64),
    "v_fmac_f64": ("f64", "f64 f64 =f64", numbers.fma64),
    "v_fract_f64": ("f64", "f64", numbers.fraction),
    "v_trunc_f64": ("f64", "f64", np.trunc),
    "v_ceil_f64": ("f64", "f64", np.ceil),
    "v_rndne_f64": ("f64", "f64", np.rint),
    "v_floor_f64": ("f64", "f64", np.floor),
    "v_rcp_f64": ("f64", "f64", lambda a: 1 / a),
    "v_rsq_f64": ("f64", "f64", lambda a: 1 / np.sqrt(a)),
    "v_sqrt_f64": ("f64", "f64", np.sqrt),
    "v_frexp_exp_i32_f64": ("i32", "f64", numbers.exponent_of),
    "v_frexp_mant_f64": ("f64", "f64", numbers.mantissa_of),
    "v_ldexp_f64": ("f64", "f64 i32", numbers.scaled),
    "v_div_fixup_f64": ("f64", "f64 f64 f64", division.div_fixup),
    "v_trig_preop_f64": ("f64", "f64 u32", division.trig_preop),
    # f16
    "v_add_f16": ("f16", "f16 f16", np.add),
    "v_sub_f16": ("f16", "f16 f16", np.subtract),
    "v_subrev_f16": ("f16", "f16 f16", lambda a, b: b - a),
    "v_mul_f16": ("f16", "f16 f16", np.multiply),
    "v_min_f16": ("f16", "f16 f16", numbers.least),
    "v_max_f16": ("f16", "f16 f16", numbers.greatest),
    "v_fma_f16": ("f16", "f16 f16 f16", numbers.fma16),
    "v_mad_f16": ("f16", "f16 f16 f16", lambda a, b, c: a * b + c),
    "v_mac_f16": ("f16", "f16 f16 =f16", lambda a, b, c: a * b + c),
    "v_min3_f16": ("f16", "f16 f16 f16", _order3(numbers.least)),
    "v_max3_f16": ("f16", "f16 f16 f16", _order3(numbers.greatest)),
    "v_med3_f16": ("f16", "f16 f16 f16", numbers.middle),
    "v_fract_f16": ("f16", "f16", numbers.fraction),
    "v_trunc_f16": ("f16", "f16", np.trunc),
    "v_ceil_f16": ("f16", "f16", np.ceil),
    "v_rndne_f16": ("f16", "f16", np.rint),
    "v_floor_f16": ("f16", "f16", np.floor),
    "v_exp_f16": ("f16", "f16", _half(np.exp2)),
    "v_log_f16": ("f16", "f16", _half(np.log2)),
    "v_rcp_f16": ("f16", "f16", _half(lambda a: 1 / a)),
    "v_rsq_f16": ("f16", "f16", _half(lambda a: 1 / np.sqrt(a))),
    "v_sqrt_f16": ("f16", "f16", _half(np.sqrt)),
    "v_sin_f16": ("f16", "f16", _half(_SIN)),
    "v_cos_f16": ("f16", "f16", _half(_COS)),
    "v_frexp_exp_i16_f16": ("i16", "f16", numbers.exponent_of),
    "v_frexp_mant_f16": ("f16", "f16", numbers.mantissa_of),
    "v_ldexp_f16": ("f16", "f16 i16", numbers.scaled),
    "v_div_fixup_f16": ("f16", "f16 f16 f16", division.div_fixup),
    "v_pack_b32_f16": ("b32", "u16 u16", _pack16),
    # conversions
    "v_cvt_f32_i32": ("f32", "i32", lambda a: a.astype(_F32)),
    "v_cvt_f32_u32": ("f32", "u32", lambda a: a.astype(_F32)),
    "v_cvt_u32_f32": ("u32", "f32", _to(0, 2**32 - 1)),
    "v_cvt_i32_f32": ("i32", "f32", _to(*_I32_RANGE)),
    "v_cvt_rpi_i32_f32": ("i32", "f32", _rounded(lambda a: np.floor(a + 0.5))),
    "v_cvt_flr_i32_f32": ("i32", "f32", _rounded(np.floor)),
    "v_cvt_off_f32_i4": ("f32", "u32", lambda a: _signed(a, 4) / 16),
    "v_cvt_f16_f32": ("f16", "f32", lambda a: a.astype(_F16)),
    "v_cvt_f32_f16": ("f32", "f16", lambda a: a.astype(_F32)),
    "v_cvt_f32_f64": ("f32", "f64", lambda a: a.astype(_F32)),
    "v_cvt_f64_f32": ("f64", "f32", lambda a: a.astype(np.float64)),
    "v_cvt_f64_i32": ("f64", "i32", lambda a: a.astype(np.float64)),
    "v_cvt_f64_u32": ("f64", "u32", lambda a: a.astype(np.float64)),
    "v_cvt_i32_f64": ("i32", "f64", _to(*_I32_RANGE)),
    "v_cvt_u32_f64": ("u32", "f64", _to(0, 2**32 - 1)),
    "v_cvt_f16_u16": ("f16", "u16", lambda a: a.astype(_F32)),
    "v_cvt_f16_i16": ("f16", "i16", lambda a: a.astype(_F32)),
    "v_cvt_u16_f16": ("u16", "f16", _to(0, 0xFFFF)),
    "v_cvt_i16_f16": ("i16", "f16", _to(-0x8000, 0x7FFF)),
    "v_cvt_f32_ubyte0": ("f32", "u32", _ubyte(0)),
    "v_cvt_f32_ubyte1": ("f32", "u32", _ubyte(1)),
    "v_cvt_f32_ubyte2": ("f32", "u32", _ubyte(2)),
    "v_cvt_f32_ubyte3": ("f32", "u32", _ubyte(3)),
    "v_cvt_pkrtz_f16_f32": (
        "b32", "f32 f32",
        lambda a, b: _pack16(
            numbers.toward_zero(a).view(np.uint16), numbers.toward_zero(b).view(np.uint16)
        ),
    ),
    "v_cvt_pk_u16_u32": ("b32", "u32 u32", lambda a, b: _ashr_pk(a, b, 0, 0xFFFF)),
    "v_cvt_pk_i16_i32": ("b32", "i32 i32", lambda a, b: _ashr_pk(a, b, -0x8000, 0x7FFF)),
    "v_cvt_pk_u8_f32": ("b32", "f32 u32 u32", _cvt_pk_u8),
    "v_cvt_pknorm_i16_f32": (
        "b32", "f32 f32",
        lambda a, b: _pack16(_norm(a, 0x7FFF, -0x7FFF), _norm(b, 0x7FFF, -0x7FFF)),
    ),
    "v_cvt_pknorm_u16_f32": (
        "b32", "f32 f32", lambda a, b: _pack16(_norm(a, 0xFFFF, 0), _norm(b, 0xFFFF, 0)),
    ),
    "v_sat_pk_u8_i16": (
        "b32", "b32",
        lambda a: np.clip(_signed(a, 16), 0, 255)
        | np.clip(_signed(a >> _u(16), 16), 0, 255) << 8,
    ),
    # integers of 32 bits
    "v_add_u32": ("u32", "u32 u32", np.add),
    "v_sub_u32": ("u32", "u32 u32", np.subtract),
    "v_subrev_u32": ("u32", "u32 u32", lambda a, b: b - a),
    "v_add_i32": ("i32", "i32 i32", np.add),
    "v_sub_i32": ("i32", "i32 i32", np.subtract),
    "v_mul_lo_u32": ("u32", "u32 u32", np.multiply),
    "v_mul_hi_u32": ("u32", "u32 u32", lambda a, b: a.astype(_U64) * b >> _U64(32)),
    "v_mul_hi_i32": ("i32", "i32 i32", lambda a, b: a.astype(_I64) * b >> _I64(32)),
    "v_mul_i32_i24": ("i32", "u32 u32", lambda a, b: _signed(a, 24) * _signed(b, 24)),
    "v_mul_hi_i32_i24": (
        "i32", "u32 u32", lambda a, b: _signed(a, 24) * _signed(b, 24) >> _I64(32),
    ),
    "v_mul_u32_u24": (
        "u32", "u32 u32", lambda a, b: (a & _u(0xFFFFFF)).astype(_U64) * (b & _u(0xFFFFFF)),
    ),
    "v_mul_hi_u32_u24": (
        "u32", "u32 u32",
        lambda a, b: (a & _u(0xFFFFFF)).astype(_U64) * (b & _u(0xFFFFFF)) >> _U64(32),
    ),
    "v_mad_i32_i24": ("i32", "u32 u32 i32", lambda a, b, c: _signed(a, 24) * _signed(b, 24) + c),
    "v_mad_u32_u24": (
        "u32", "u32 u32 u32",
        lambda a, b, c: (a & _u(0xFFFFFF)).astype(_U64) * (b & _u(0xFFFFFF)) + c,
    ),
    "v_mad_u32_u16": ("u32", "u16 u16 u32", lambda a, b, c: a.astype(_U32) * b + c),
    "v_mad_i32_i16": ("i32", "i16 i16 i32", lambda a, b, c: a.astype(np.int32) * b + c),
    "v_min_i32": ("i32", "i32 i32", np.minimum),
    "v_max_i32": ("i32", "i32 i32", np.maximum),
    "v_min_u32": ("u32", "u32 u32", np.minimum),
    "v_max_u32": ("u32", "u32 u32", np.maximum),
    "v_min3_i32": ("i32", "i32 i32 i32", _order3(np.minimum)),
    "v_max3_i32": ("i32", "i32 i32 i32", _order3(np.maximum)),
    "v_min3_u32": ("u32", "u32 u32 u32", _order3(np.minimum)),
    "v_max3_u32": ("u32", "u32 u32 u32", _order3(np.maximum)),
    "v_med3_i32": ("i32", "i32 i32 i32", _median),
    "v_med3_u32": ("u32", "u32 u32 u32", _median),
    "v_lshrrev_b32": ("u32", "u32 u32", lambda a, b: b >> (a & _u(31))),
    "v_ashrrev_i32": ("i32", "i32 i32", lambda a, b: b >> (a & np.int32(31))),
    "v_lshlrev_b32": ("u32", "u32 u32", lambda a, b: b << (a & _u(31))),
    "v_and_b32": ("b32", "b32 b32", np.bitwise_and),
    "v_or_b32": ("b32", "b32 b32", np.bitwise_or),
    "v_xor_b32": ("b32", "b32 b32", np.bitwise_xor),
    "v_xnor_b32": ("b32", "b32 b32", lambda a, b: ~(a ^ b)),
    "v_and_or_b32": ("b32", "b32 b32 b32", lambda a, b, c: a & b | c),
    "v_or3_b32": ("b32", "b32 b32 b32", lambda a, b, c: a | b | c),
    "v_lshl_or_b32": ("b32", "u32 u32 u32", lambda a, b, c: _low_shift(a, b) | c),
    "v_lshl_add_u32": ("u32", "u32 u32 u32", lambda a, b, c: _low_shift(a, b) + c),
    "v_add_lshl_u32": ("u32", "u32 u32 u32", lambda a, b, c: _low_shift(a + b, c)),
    "v_add3_u32": ("u32", "u32 u32 u32", lambda a, b, c: a + b + c),
    "v_xad_u32": ("u32", "u32 u32 u32", lambda a, b, c: (a ^ b) + c),
    "v_bfe_u32": ("u32", "u32 u32 u32", _bfe_u32),
    "v_bfe_i32": ("i32", "i32 u32 u32", _bfe_i32),
    "v_bfi_b32": ("b32", "b32 b32 b32", lambda a, b, c: a & b | ~a & c),
    "v_bfm_b32": ("u32", "u32 u32", lambda a, b: _bits(a) << (b & _u(31)).astype(_U64)),
    "v_perm_b32": ("b32", "u32 u32 u32", _perm),
    "v_alignbit_b32": ("b32", "u32 u32 u32", lambda a, b, c: _align(a, b, c & _u(31))),
    "v_alignbyte_b32": ("b32", "u32 u32 u32", lambda a, b, c: _align(a, b, (c & _u(3)) * _u(8))),
    "v_ffbh_u32": ("u32", "u32", numbers.leading),
    "v_ffbl_b32": ("u32", "u32", numbers.trailing),
    "v_ffbh_i32": (
        "u32", "i32",
        lambda a: np.where(
            (a == 0) | (a == -1), 0xFFFFFFFF, numbers.leading(np.where(a < 0, ~a, a).view(_U32))
        ),
    ),
    "v_bcnt_u32_b32": ("u32", "u32 u32", lambda a, b: np.bitwise_count(a) + b),
    "v_mbcnt_lo_u32_b32": ("u32", "u32 u32", lambda a, b: np.bitwise_count(a & _BEFORE_LOW) + b),
    "v_mbcnt_hi_u32_b32": ("u32", "u32 u32", lambda a, b: np.bitwise_count(a & _BEFORE_HIGH) + b),
    "v_sad_u8": ("u32", "u32 u32 u32", lambda a, b, c: _sad(a, b, c, 8)),
    "v_sad_hi_u8": ("u32", "u32 u32 u32", lambda a, b, c: _sad(a, b, c, 8, 16)),
    "v_sad_u16": ("u32", "u32 u32 u32", lambda a, b, c: _sad(a, b, c, 16)),
    "v_sad_u32": ("u32", "u32 u32 u32", lambda a, b, c: np.abs(_wide(a) - _wide(b)) + _wide(c)),
    "v_lerp_u8": (
        "u32", "u32 u32 u32",
        lambda a, b, c: sum(
            (x + y + (z & 1)) // 2 << 8 * number
            for number, (x, y, z) in enumerate(
                zip(*(_parts(each, 8, signed=False) for each in (a, b, c)), strict=True)
            )
        ),
    ),
    # integers of 64 bits
    "v_lshlrev_b64": ("u64", "u32 u64", lambda a, b: b << (a & _u(63)).astype(_U64)),
    "v_lshrrev_b64": ("u64", "u32 u64", lambda a, b: b >> (a & _u(63)).astype(_U64)),
    "v_ashrrev_i64": ("i64", "u32 i64", lambda a, b: b >> (a & _u(63)).astype(_I64)),
    # integers of 16 bits
    "v_add_u16": ("u16", "u16 u16", np.add),
    "v_sub_u16": ("u16", "u16 u16", np.subtract),
    "v_subrev_u16": ("u16", "u16 u16", lambda a, b: b - a),
    "v_add_i16": ("i16", "i16 i16", np.add),
    "v_sub_i16": ("i16", "i16 i16", np.subtract),
    "v_mul_lo_u16": ("u16", "u16 u16", np.multiply),
    "v_mad_u16": ("u16", "u16 u16 u16", lambda a, b, c: a * b + c),
    "v_mad_i16": ("i16", "i16 i16 i16", lambda a, b, c: a * b + c),
    "v_lshlrev_b16": ("u16", "u16 u16", lambda a, b: b << (a & np.uint16(15))),
    "v_lshrrev_b16": ("u16", "u16 u16", lambda a, b: b >> (a & np.uint16(15))),
    "v_ashrrev_i16": ("i16", "i16 i16", lambda a, b: b >> (a & np.int16(15))),
    "v_max_u16": ("u16", "u16 u16", np.maximum),
    "v_max_i16": ("i16", "i16 i16", np.maximum),
    "v_min_u16": ("u16", "u16 u16", np.minimum),
    "v_min_i16": ("i16", "i16 i16", np.minimum),
    "v_min3_i16": ("i16", "i16 i16 i16", _order3(np.minimum)),
    "v_max3_i16": ("i16", "i16 i16 i16", _order3(np.maximum)),
    "v_min3_u16": ("u16", "u16 u16 u16", _order3(np.minimum)),
    "v_max3_u16": ("u16", "u16 u16 u16", _order3(np.maximum)),
    "v_med3_i16": ("i16", "i16 i16 i16", _median),
    "v_med3_u16": ("u16", "u16 u16 u16", _median),
    "v_cvt_norm_i16_f16": ("i16", "f16", lambda a: _norm(a, 0x7FFF, -0x7FFF)),
    "v_cvt_norm_u16_f16": ("u16", "f16", lambda a: _norm(a, 0xFFFF, 0)),
    "v_cvt_pknorm_i16_f16": (
        "b32", "f16 f16",
        lambda a, b: _pack16(_norm(a, 0x7FFF, -0x7FFF), _norm(b, 0x7FFF, -0x7FFF)),
    ),
    "v_cvt_pknorm_u16_f16": (
        "b32", "f16 f16", lambda a, b: _pack16(_norm(a, 0xFFFF, 0), _norm(b, 0xFFFF, 0)),
    ),
    # dot products
    "v_dot2_f32_f16": ("f32", "b32 b32 f32", _dot2_f32_f16),
    "v_dot2c_f32_f16": ("f32", "b32 b32 =f32", _dot2_f32_f16),
    "v_dot2_i32_i16": ("i32", "b32 b32 i32", lambda a, b, c: _dot(a, b, c, 16, signed=True)),
    "v_dot2_u32_u16": ("u32", "b32 b32 u32", lambda a, b, c: _dot(a, b, c, 16, signed=False)),
    "v_dot4_i32_i8": ("i32", "b32 b32 i32", lambda a, b, c: _dot(a, b, c, 8, signed=True)),
    "v_dot4_u32_u8": ("u32", "b32 b32 u32", lambda a, b, c: _dot(a, b, c, 8, signed=False)),
    "v_dot8_i32_i4": ("i32", "b32 b32 i32", lambda a, b, c: _dot(a, b, c, 4, signed=True)),
    "v_dot8_u32_u4": ("u32", "b32 b32 u32", lambda a, b, c: _dot(a, b, c, 4, signed=False)),
    "v_dot2c_i32_i16": ("i32", "b32 b32 =i32", lambda a, b, c: _dot(a, b, c, 16, signed=True)),
    "v_dot4c_i32_i8": ("i32", "b32 b32 =i32", lambda a, b, c: _dot(a, b, c, 8, signed=True)),
    "v_dot8c_i32_i4": ("i32", "b32 b32 =i32", lambda a, b, c: _dot(a, b, c, 4, signed=True)),
}  # fmt: skip
"""By name, the types of the result and of the sources, and what is computed."""

LITERAL: dict[str, tuple[str, bool, Callable[..., Array]]] = {
    "v_madmk_f32": ("f32", True, _mad32),
    "v_madak_f32": ("f32", False, _mad32),
    "v_madmk_f16": ("f16", True, lambda a, b, c: a * b + c),
    "v_madak_f16": ("f16", False, lambda a, b, c: a * b + c),
}
"""Operations with a constant behind them.

By name: the type, whether the constant is multiplied by (else it is added), and what is computed.
"""

KEEPING = frozenset(
    {
        "v_mad_f16", "v_mad_u16", "v_mad_i16", "v_fma_f16", "v_div_fixup_f16", "v_min3_f16",
        "v_max3_f16", "v_med3_f16", "v_min3_i16", "v_max3_i16", "v_med3_i16", "v_min3_u16",
        "v_max3_u16", "v_med3_u16",
    }
)  # fmt: skip
"""Operations of 16 bits that leave the other half of the register as it is."""
