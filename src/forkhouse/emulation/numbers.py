"""Arithmetic of the hardware that NumPy has no function for.

A fused multiply-add rounds once. For 32 bits it is computed in 64, where the product is exact; a
sum that lies exactly between two numbers of 32 bits may have got there by rounding, and is moved by
its error. For 64 bits, the C library has it.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

Array = Any

_TIE32, _LOW32 = np.uint64(0x1000_0000), np.uint64(0x1FFF_FFFF)
_TIE16, _LOW16 = np.uint64(1 << 41), np.uint64((1 << 42) - 1)
_ONE = np.uint64(1)


def _odd(product: Array, addend: Array, total: Array) -> Array:
    """Return sums whose last bit is 1 where they were rounded, so that rounding again is right."""
    part = total - product
    error = (product - (total - part)) + (addend - part)
    wrong = (error != 0) & np.isfinite(total) & (total.view(np.uint64) & _ONE == 0)
    toward = np.where(error > 0, np.inf, -np.inf)
    return np.where(wrong, np.nextafter(total, toward), total)


def fma32(a: Array, b: Array, c: Array) -> Array:
    """Return a * b + c of f32, rounded once."""
    product = np.multiply(a, b, dtype=np.float64)
    total = np.add(product, c, dtype=np.float64)
    if (total.view(np.uint64) & _LOW32 == _TIE32).any() or (np.abs(total) < 2.0**-125).any():
        total = _odd(product, c.astype(np.float64), total)
    return total.astype(np.float32)


def fma16(a: Array, b: Array, c: Array) -> Array:
    """Return a * b + c of f16, rounded once."""
    product = np.multiply(a, b, dtype=np.float64)
    total = np.add(product, c, dtype=np.float64)
    return _odd(product, c.astype(np.float64), np.atleast_1d(total)).astype(np.float16)


@cache
def _library() -> Callable[[float, float, float], float]:
    library = ctypes.CDLL(ctypes.util.find_library("m") or "libm.so.6")
    function = library.fma
    function.restype = ctypes.c_double
    function.argtypes = [ctypes.c_double] * 3
    return function


def fma64(a: Array, b: Array, c: Array) -> Array:
    """Return a * b + c of f64, rounded once."""
    function = _library()
    a, b, c = np.broadcast_arrays(a, b, c)
    triples = zip(a.tolist(), b.tolist(), c.tolist(), strict=True)
    return np.array([function(*each) for each in triples], dtype=np.float64)


def least(a: Array, b: Array) -> Array:
    """Return the smaller of two: not a NaN where one is a number, and -0 before 0."""
    result = np.fmin(a, b)
    if not result.all():
        result = np.where((a == 0) & (b == 0) & np.signbit(a), a, result)
    return result


def greatest(a: Array, b: Array) -> Array:
    """Return the larger of two: not a NaN where one is a number, and 0 before -0."""
    result = np.fmax(a, b)
    if not result.all():
        result = np.where((a == 0) & (b == 0) & ~np.signbit(a), a, result)
    return result


def middle(a: Array, b: Array, c: Array) -> Array:
    """Return the one in the middle of three floats; the smallest where one is no number."""
    highest = greatest(greatest(a, b), c)
    result = np.where(
        highest == a, greatest(b, c), np.where(highest == b, greatest(a, c), greatest(a, b))
    )
    unknown = np.isnan(a) | np.isnan(b) | np.isnan(c)
    return np.where(unknown, least(least(a, b), c), result)


def to_integer(values: Array, low: int, high: int) -> Array:
    """Return floats as integers toward zero, kept within limits; 0 for what is no number."""
    whole = np.trunc(values.astype(np.float64))
    whole = np.where(np.isnan(whole), 0.0, whole)
    kept = np.clip(whole, float(low), float(high))
    return kept.astype(np.int64)


def to_f32(values: Array) -> Array:
    """Return numbers of 64 bits, rounded to f32."""
    return values.astype(np.float32)


def toward_zero(values: Array) -> Array:
    """Return f32 as f16, rounded toward zero; what is too large becomes the largest number."""
    result = values.astype(np.float16)
    over = np.abs(result).astype(np.float32) > np.abs(values)
    smaller = np.nextafter(result, np.float16(0))
    return np.where(over, smaller, result)


def bf16_to_f32(values: Array) -> Array:
    """Return bf16, as the bits of 16-bit numbers, as f32."""
    return (values.astype(np.uint32) << np.uint32(16)).view(np.float32)


def leading(values: Array) -> Array:
    """Return how many zeros stand before the first 1 of 32 bits; all ones for no 1."""
    # A float of 64 bits holds all 32, so its exponent tells the place of the first.
    place = np.frexp(values.astype(np.float64))[1]
    return np.where(values == 0, 0xFFFFFFFF, 32 - place).astype(np.uint32)


def trailing(values: Array) -> Array:
    """Return the place of the lowest 1 of 32 bits; all ones for no 1."""
    lowest = values & (~values + np.uint32(1))
    return np.where(values == 0, 0xFFFFFFFF, 31 - leading(lowest).astype(np.int64)).astype(
        np.uint32
    )


def reversed_bits(values: Array) -> Array:
    """Return 32 bits in the other order."""
    for step, mask in ((1, 0x55555555), (2, 0x33333333), (4, 0x0F0F0F0F), (8, 0x00FF00FF)):
        values = values >> np.uint32(step) & np.uint32(mask) | (
            values & np.uint32(mask)
        ) << np.uint32(step)
    return values >> np.uint32(16) | values << np.uint32(16)


def scaled(values: Array, exponent: Array) -> Array:
    """Return floats times two to the power of an integer, rounded once."""
    exponent = np.clip(exponent.astype(np.int64), -5000, 5000).astype(np.int32)
    return np.ldexp(values, exponent)


def is_class(values: Array, mask: Array) -> Array:
    """Return whether floats are of one of the classes whose bits are set.

    From bit 0: signalling NaN, quiet NaN, -infinity, negative normal, negative denormal, -0, 0,
    denormal, normal, infinity.
    """
    bits = values.dtype.itemsize * 8
    tiny = np.finfo(values.dtype).tiny
    unsigned = values.view(f"u{bits // 8}")
    quiet_bit = unsigned.dtype.type(1 << {16: 9, 32: 22, 64: 51}[bits])
    nan, negative = np.isnan(values), np.signbit(values)
    zero, infinite = values == 0, np.isinf(values)
    small = ~zero & (np.abs(values) < tiny)
    normal = ~(nan | zero | infinite | small)
    quiet = (unsigned & quiet_bit) != 0
    tests = (
        nan & ~quiet, nan & quiet, infinite & negative, normal & negative, small & negative,
        zero & negative, zero & ~negative, small & ~negative, normal & ~negative,
        infinite & ~negative,
    )  # fmt: skip
    result = np.zeros(np.broadcast_shapes(values.shape, mask.shape), dtype=np.bool_)
    for number, test in enumerate(tests):
        result |= test & ((mask >> mask.dtype.type(number) & mask.dtype.type(1)) == 1)
    return result


def exponent_of(values: Array) -> Array:
    """Return the exponent of a float whose mantissa is from 0.5 to 1; 0 for what has none."""
    return np.where(np.isfinite(values), np.frexp(values)[1], 0)


def mantissa_of(values: Array) -> Array:
    """Return the mantissa of a float, from 0.5 to 1; the value itself where it has none."""
    return np.where(np.isfinite(values), np.frexp(values)[0], values)


def fraction(values: Array) -> Array:
    """Return the part of a float behind its floor, below 1."""
    largest = np.nextafter(values.dtype.type(1), values.dtype.type(0))
    return np.minimum(values - np.floor(values), largest)
