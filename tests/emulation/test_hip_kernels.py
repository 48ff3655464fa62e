"""Kernels of our own in HIP, compiled for gfx90a, against NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from forkhouse.core.errors import EmulationError
from forkhouse.emulation.finding import code_in
from forkhouse.emulation.launching import launch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from forkhouse.binaries.codeobject import CodeImage

pytestmark = pytest.mark.emulation

RANDOM = np.random.default_rng(8)


@pytest.fixture(scope="module")
def image(compiled: Path) -> CodeImage:
    (found,) = code_in(compiled, "gfx90a")
    return found.image


def start(image: CodeImage, name: str, grid: int, block: int, *values: Any, **options: Any) -> Any:
    return launch(
        image, name, grid=(grid, 1, 1), block=(block, 1, 1), arguments=list(values), **options
    )


def test_each_element_once(image: CodeImage, proven: Callable[..., None]) -> None:
    x = np.arange(300, dtype=np.float32)
    report = start(image, "twice", 2, 256, x, np.int32(300))
    proven("HIP", "300", report, float(np.abs(x - 2 * np.arange(300)).max()), 0)


def test_waves_share_lds_and_wait(image: CodeImage, proven: Callable[..., None]) -> None:
    x, weight = RANDOM.standard_normal((3, 1000)), RANDOM.standard_normal(1000)
    y = np.zeros((3, 1000), dtype=np.float32)
    report = start(
        image, "rms_norm", 3, 256, x.astype(np.float32), weight.astype(np.float32), y,
        np.float32(1e-5), np.int32(1000),
    )  # fmt: skip
    right = x / np.sqrt((x * x).mean(1, keepdims=True) + 1e-5) * weight
    proven("HIP", "3x1000 f32", report, float(np.abs(y - right).max()), 2e-6)


def test_lds_of_a_size_given_at_the_start(image: CodeImage, proven: Callable[..., None]) -> None:
    x, y = np.arange(600, dtype=np.int32), np.zeros(600, dtype=np.int32)
    report = start(image, "reversed", 3, 200, x, y, dynamic_lds=800)
    right = x.reshape(3, 200)[:, ::-1].reshape(-1)
    proven("HIP", "3x200 i32", report, float(np.abs(y - right).max()), 0)
    with pytest.raises(EmulationError, match="of LDS, which has 796 bytes"):
        start(image, "reversed", 3, 200, x, y, dynamic_lds=796)


def test_divisions_of_integers(image: CodeImage, proven: Callable[..., None]) -> None:
    a = RANDOM.integers(-(2**31), 2**31, 256).astype(np.int32)
    b = RANDOM.integers(1, 1000, 256).astype(np.int32) * RANDOM.choice([-1, 1], 256).astype(
        np.int32
    )
    a[:3], b[:3] = [2**31 - 1, -(2**31), 0], [1, 3, -7]
    quotient, rest, wide = (np.zeros(256, dtype=kind) for kind in (np.int32, np.uint32, np.int64))
    report = start(image, "divisions", 1, 256, a, b, quotient, rest, wide)
    pairs = list(zip(a.tolist(), b.tolist(), strict=True))

    def toward_zero(x: int, y: int) -> int:
        return abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)

    wrong = sum(
        (q, r, w) != (toward_zero(x, y), x % 2**32 % (y % 2**32), toward_zero(x * 1000003, y))
        for (x, y), q, r, w in zip(
            pairs, quotient.tolist(), rest.tolist(), wide.tolist(), strict=True
        )
    )
    proven("HIP", "256 i32, u32, i64", report, float(wrong), 0)


def test_divisions_of_floats_are_rounded_rightly(
    image: CodeImage, proven: Callable[..., None]
) -> None:
    a, b = (RANDOM.standard_normal(256) * 10.0 ** RANDOM.integers(-18, 19, 256) for _ in range(2))
    a32, b32 = a.astype(np.float32), b.astype(np.float32)
    special = np.array([0, -0.0, np.inf, -np.inf, np.nan, 1e-42, 3e38, 1e-30], dtype=np.float32)
    a32[:64], b32[:64] = np.repeat(special, 8), np.tile(special, 8)
    y, z = np.zeros(256, dtype=np.float32), np.zeros(256)
    report = start(image, "ratios", 1, 256, a32, b32, y, a, b, z)
    with np.errstate(all="ignore"):
        single, double = a32 / b32, a / b
    # What AMD publishes of the last two instructions gives no number where a quotient of numbers is
    # too large, and the emulator keeps to it.
    large = np.isinf(single) & np.isfinite(a32) & (b32 != 0)
    assert np.isnan(y[large]).all()
    y[large] = single[large]
    same = np.array_equal(y, single, equal_nan=True) and np.array_equal(z, double, equal_nan=True)
    zeros = np.array_equal(np.signbit(y[y == 0]), np.signbit(single[y == 0]))
    proven("HIP", "256 f32 and f64", report, float(not same or not zeros), 0)


def test_functions_of_f64(image: CodeImage, proven: Callable[..., None]) -> None:
    x, y = RANDOM.uniform(0, 1e5, 256), np.zeros(256)
    x[:3] = [0, 1e-300, 1e12]
    report = start(image, "roots", 1, 256, x, y)
    right = np.sqrt(x) / (x + 3.0) + np.sin(x)
    proven("HIP", "256 f64", report, float(np.abs(y - right).max()), 4e-16)


def test_functions_of_f32(image: CodeImage, proven: Callable[..., None]) -> None:
    x, y = (RANDOM.standard_normal(256) * 3).astype(np.float32), np.zeros(256, dtype=np.float32)
    report = start(image, "functions", 1, 256, x, y)
    w = x.astype(np.float64)
    right = np.exp(-np.abs(w)) + np.log(np.abs(w) + 1) + np.sin(w) + np.abs(w) ** 0.3 + np.tanh(w)
    proven("HIP", "256 f32", report, float(np.abs(y - right).max()), 2e-6)


def test_an_array_in_scratch(image: CodeImage, proven: Callable[..., None]) -> None:
    assert image.kernels["scattered"].descriptor.scratch > 0
    a, y = RANDOM.integers(0, 1000, 100).astype(np.int32), np.zeros(256, dtype=np.int32)
    report = start(image, "scattered", 2, 128, a, y, np.int32(60))

    def one(item: int) -> int:
        held = [int(each) + item for each in a[:40]]
        for i in range(60):
            held[(i * 7 + int(a[i])) % 40] += held[(i * 3 + item) % 40]
        total = 0
        for i, each in enumerate(held):
            total ^= each * (i + 1) & 0xFFFFFFFF
        return total

    wrong = (
        y.view(np.uint32).reshape(2, 128) != np.array([one(item) for item in range(128)])
    ).sum()
    proven("HIP", "256 x 40 i32", report, float(wrong), 0)


def test_atomic_operations(image: CodeImage, proven: Callable[..., None]) -> None:
    total, first = np.zeros(1, dtype=np.int32), np.zeros(1, dtype=np.int32)
    ones, most = np.zeros(1, dtype=np.float32), np.zeros(1, dtype=np.uint64)
    report = start(image, "counted", 3, 100, total, ones, most, first)
    wrong = (total[0], ones[0], most[0], first[0]) != (3 * 4950, 300.0, 299 * 77, 1)
    proven("HIP", "300", report, float(wrong), 0)


def test_calls_and_variables_of_the_device(image: CodeImage, proven: Callable[..., None]) -> None:
    a, y = np.array([1, 10, 100, 1000], dtype=np.int32), np.zeros(64, dtype=np.int32)
    report = start(image, "called", 1, 64, a, y)
    right = 10 + 1 + 1000 + 100 + 10 + np.tile([5, 6, 7, 8], 16)
    proven("HIP", "64 i32", report, float(np.abs(y - right).max()), 0)


def test_all_three_dimensions(image: CodeImage, proven: Callable[..., None]) -> None:
    y = np.zeros(2 * 3 * 4 * 5 * 6 * 7, dtype=np.int32)
    report = launch(image, "shape", grid=(2, 3, 4), block=(5, 6, 7), arguments=[y])
    right = (np.arange(24)[:, None] + 1000 * np.arange(210)[None, :]).reshape(-1)
    proven("HIP", "2x3x4 of 5x6x7", report, float(np.abs(y - right).max()), 0)


def test_an_endless_loop_is_ended(image: CodeImage) -> None:
    with pytest.raises(
        EmulationError, match=r"endless, workgroup 0,0,0, wave 0: .* 20000 are allowed"
    ):
        start(image, "endless", 1, 64, np.zeros(1, dtype=np.int32), most_instructions=20_000)


def test_nothing_is_written_when_a_kernel_fails(image: CodeImage) -> None:
    x = np.zeros(64, dtype=np.int32)
    with pytest.raises(
        EmulationError, match=r"global_store_dword at 0x\w+: lane 63 writes 4 bytes"
    ):
        start(image, "outside", 1, 64, x)
    assert not x.any()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((), "takes 2 arguments, and 0 are given"),
        ((np.zeros(4), np.float64(1)), "wants 4 bytes, and a float64 has 8"),
        ((np.int32(1), np.int32(1)), "wants a buffer or null, and a int32 is given"),
        ((np.zeros(4), 3), "wants a value of 4 bytes, and a int is given"),
        ((np.zeros((4, 4))[:, 1], np.int32(1)), "one behind the other"),
    ],
)
def test_wrong_arguments_are_explained(image: CodeImage, values: Any, message: str) -> None:
    with pytest.raises(EmulationError, match=message):
        start(image, "twice", 1, 64, *values)


def test_the_second_decoder_reads_the_same(
    image: CodeImage, compiled: Path, disassembler: str, tmp_path: Path
) -> None:
    from forkhouse.binaries.offload import read_bundles
    from tests.emulation.second_decoder import Comparison, compare

    result = Comparison()
    for bundle in read_bundles(compiled.read_bytes()):
        for each in bundle.objects:
            if each.size:
                (tmp_path / "code").write_bytes(each.content)
                compare(tmp_path / "code", disassembler, result)
    assert result.different == []
    assert result.equal > 2000
