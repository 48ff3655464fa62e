"""The three instructions that make a division exact: scaling, the last step, and fixing up.

Source: AMD, "CDNA2 Instruction Set Architecture", V_DIV_SCALE, V_DIV_FMAS, V_DIV_FIXUP.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

Array = Any

_FORMS = {
    np.dtype(np.float32): (8, 23, 127, np.uint32, 23, 96, 64),
    np.dtype(np.float64): (11, 52, 1023, np.uint64, 53, 768, 128),
}
"""By type: bits of the exponent and mantissa, bias, the unsigned type, and limits.

The limits are: the exponent of a numerator that is too small; the difference of exponents that is
too large; and by how much is scaled, as a power of two.
"""


def _exponent(values: Array) -> Array:
    """Return the exponent as it stands in a float."""
    exponent, mantissa, _, unsigned, *_ = _FORMS[values.dtype]
    return (values.view(unsigned) >> unsigned(mantissa) & unsigned((1 << exponent) - 1)).astype(
        np.int64
    )


def _denormal(values: Array) -> Array:
    return (_exponent(values) == 0) & (values != 0)


def div_scale(a: Array, b: Array, c: Array) -> tuple[Array, Array]:
    """Return the numerator or denominator, scaled where needed, and whether the result is scaled.

    `b` is the denominator, `c` the numerator, `a` whichever of them is to be scaled.
    """
    a, b, c = np.broadcast_arrays(a, b, c)
    _, _, _, _, small, large, scale = _FORMS[a.dtype]
    up, down = a.dtype.type(2.0**scale), a.dtype.type(2.0**-scale)
    difference = _exponent(c) - _exponent(b)
    reciprocal_denormal = _denormal(a.dtype.type(1) / b)
    quotient_denormal = _denormal(c / b)
    is_denominator = a == b
    flag = np.zeros(a.shape, dtype=np.bool_)
    result = a.copy()
    left = np.ones(a.shape, dtype=np.bool_)

    def case(condition: Array, value: Array, flagged: Array) -> None:
        nonlocal left
        taken = left & condition
        np.copyto(result, value, where=taken)
        np.copyto(flag, flagged, where=taken)
        left = left & ~condition

    never, always = np.zeros_like(flag), np.ones_like(flag)
    case((b == 0) | (c == 0), np.full_like(a, np.nan), never)
    case(difference >= large, np.where(is_denominator, a * up, a), always)
    case(_denormal(b), a * up, never)
    both = reciprocal_denormal & quotient_denormal
    case(both, np.where(is_denominator, a * up, a), always)
    case(reciprocal_denormal, a * down, never)
    case(quotient_denormal, np.where(a == c, a * up, a), always)
    case(_exponent(c) <= small, a * up, never)
    return result, flag


def after_fmas(total: Array, flagged: Array, quotient: Array) -> Array:
    """Return the sum of the last step, scaled back where the division was scaled.

    Whether the numerator or the denominator was scaled shows in the size of the quotient.
    """
    _, _, bias, _, _, _, power = _FORMS[total.dtype]
    scale = total.dtype.type(2.0**power)
    down = total.dtype.type(2.0**-power)
    factor = np.where(_exponent(quotient) > bias, scale, down)
    return np.where(flagged, total * factor, total)


def div_fixup(quotient: Array, b: Array, c: Array) -> Array:
    """Return the quotient c / b, with the right special values."""
    kind = quotient.dtype.type
    sign = np.signbit(b) ^ np.signbit(c)
    signed = np.where(sign, -np.abs(quotient), np.abs(quotient))
    infinity = np.where(sign, kind(-np.inf), kind(np.inf))
    zero = np.where(sign, kind(-0.0), kind(0.0))
    nan = kind(np.nan)
    result = signed
    if kind is not np.float16:
        exponent, *_ = _FORMS[quotient.dtype]
        difference = _exponent(c) - _exponent(b)
        least = -150 if kind is np.float32 else -1075
        result = np.where(difference < least, zero, result)
        over = _exponent(b) == (1 << exponent) - 1
        result = np.where(over, infinity, result)
    result = np.where(np.isinf(b) | (c == 0), zero, result)
    result = np.where(np.isinf(c) | (b == 0), infinity, result)
    undefined = ((b == 0) & (c == 0)) | (np.isinf(b) & np.isinf(c))
    result = np.where(undefined, nan, result)
    result = np.where(np.isnan(b), b, result)
    return np.where(np.isnan(c), c, result)


_DIGITS = 1201
"""Bits of 2 / pi behind the point that the hardware has."""


def _arctangent(inverse: int, one: int) -> int:
    """Return the arctangent of 1 / inverse, where `one` stands for 1."""
    term = one // inverse
    total, square, number = term, inverse * inverse, 1
    while term:
        term //= -square
        number += 2
        total += term // number
    return total


@cache
def _two_over_pi() -> int:
    """Return the first bits of 2 / pi, by Machin's formula."""
    spare = 64
    one = 1 << _DIGITS + spare
    pi = 4 * (4 * _arctangent(5, one) - _arctangent(239, one))
    return (2 * one * one // pi) >> spare


def trig_preop(values: Array, chosen: Array) -> Array:
    """Return the part of 2 / pi that matters to the remainder of a large angle of f64.

    `chosen` says which part of 53 bits: 0, 1 or 2.
    """
    values, chosen = np.broadcast_arrays(values, chosen)
    parts = []
    for exponent, which in zip(_exponent(values).tolist(), chosen.tolist(), strict=True):
        shift = (which & 31) * 53 + max(0, exponent - 1077)
        part = (_two_over_pi() << shift & (1 << _DIGITS) - 1) >> _DIGITS - 53
        parts.append(math.ldexp(part, -53 - shift + (128 if exponent >= 1968 else 0)))
    return np.array(parts, dtype=np.float64)
