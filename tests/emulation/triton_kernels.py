"""Kernels of our own in Triton, which reads this file's text and compiles it."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def vector_add(x, y, out, n, BLOCK: tl.constexpr):
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + place, tl.load(x + place, place < n) + tl.load(y + place, place < n), place < n)


@triton.jit
def total(x, out, COUNT: tl.constexpr):
    tl.store(out, tl.sum(tl.load(x + tl.arange(0, COUNT))))


@triton.jit
def softmax(x, out, n, stride, BLOCK: tl.constexpr):
    row, place = tl.program_id(0) * stride, tl.arange(0, BLOCK)
    values = tl.load(x + row + place, place < n, other=-float("inf")).to(tl.float32)
    power = tl.exp(values - tl.max(values, 0))
    tl.store(out + row + place, power / tl.sum(power, 0), place < n)


@triton.jit
def product(a, b, out, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    m, n, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    left = tl.load(a + m[:, None] * K + k[None, :])
    right = tl.load(b + k[:, None] * N + n[None, :])
    tl.store(out + m[:, None] * N + n[None, :], tl.dot(left, right, out_dtype=tl.float32))


@triton.jit
def collected(x, out, most, n, BLOCK: tl.constexpr):
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.atomic_add(out + place % 7, tl.load(x + place, place < n, other=0.0), mask=place < n)
    tl.atomic_max(most + place % 2, place, mask=place < n)


@triton.jit
def running(x, out, COUNT: tl.constexpr):
    place = tl.arange(0, COUNT)
    tl.store(out + place, tl.cumsum(tl.load(x + place), 0))


@triton.jit
def ordered(x, out, largest, COUNT: tl.constexpr):
    place = tl.arange(0, COUNT)
    values = tl.load(x + place)
    tl.store(out + place, tl.sort(values))
    tl.store(largest, tl.argmax(values, 0))
