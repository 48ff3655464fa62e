"""Kernels that Triton compiles for gfx90a, run on tensors of the CPU, against PyTorch."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.emulation.emulated_triton import Emulated

pytestmark = [
    pytest.mark.emulation,
    pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION"),
    pytest.mark.skipif(
        not all(map(importlib.util.find_spec, ("triton", "torch"))),
        reason="Triton or PyTorch is not installed; nox -s emulate installs them",
    ),
]


@pytest.fixture(scope="session")
def _emulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    from triton.runtime.driver import driver

    from tests.emulation.emulated_triton import the_device

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.mktemp("triton")))
        emulated = the_device()
        driver.set_active(emulated)
        yield emulated


@pytest.fixture
def device(_emulated: Emulated) -> Emulated:
    """Return the one device, as Triton keeps what it has compiled with it."""
    _emulated.reports = []
    return _emulated


@pytest.fixture
def kernels(device: Emulated) -> Any:
    return importlib.import_module("tests.emulation.triton_kernels")


@pytest.fixture
def torch() -> Any:
    found = importlib.import_module("torch")
    found.manual_seed(5)
    return found


def far(a: Any, b: Any) -> float:
    return float((a.double() - b.double()).abs().max())


def test_vector_add(
    device: Emulated, kernels: Any, torch: Any, proven: Callable[..., None]
) -> None:
    x, y, out = torch.randn(1000), torch.randn(1000), torch.zeros(1000)
    kernels.vector_add[(4,)](x, y, out, 1000, BLOCK=256)
    proven("Triton", "1000 f32", device.reports, far(out, x + y), 0)


@pytest.mark.parametrize(("count", "warps"), [(16, 1), (16, 4), (64, 1), (256, 4), (1024, 4)])
def test_a_sum_of_floats(
    device: Emulated, kernels: Any, torch: Any, proven: Callable[..., None], count: int, warps: int
) -> None:
    x, out = torch.randn(count), torch.zeros(1)
    kernels.total[(1,)](x, out, COUNT=count, num_warps=warps)
    proven(
        "Triton",
        f"{count} f32, {warps} waves",
        device.reports,
        far(out, x.double().sum()),
        1e-6 * count**0.5,
    )


def test_a_sum_of_integers(
    device: Emulated, kernels: Any, torch: Any, proven: Callable[..., None]
) -> None:
    x, out = torch.randint(-(2**40), 2**40, (128,)), torch.zeros(1, dtype=torch.int64)
    kernels.total[(1,)](x, out, COUNT=128)
    proven("Triton", "128 i64", device.reports, float(abs(int(out) - int(x.sum()))), 0)


@pytest.mark.parametrize(
    ("kind", "allowed"), [("float32", 1e-8), ("float16", 2e-5), ("bfloat16", 2e-4)]
)
def test_softmax(
    device: Emulated,
    kernels: Any,
    torch: Any,
    proven: Callable[..., None],
    kind: str,
    allowed: float,
) -> None:
    x = torch.randn(3, 500).to(getattr(torch, kind))
    out = torch.zeros_like(x)
    kernels.softmax[(3,)](x, out, 500, 500, BLOCK=512)
    proven("Triton", f"3x500 {kind}", device.reports, far(out, x.double().softmax(1)), allowed)


@pytest.mark.parametrize("size", [16, 32, 64])
@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float32", "int8"])
def test_a_product_of_matrices(
    device: Emulated, kernels: Any, torch: Any, proven: Callable[..., None], kind: str, size: int
) -> None:
    depth = max(size, 32) if kind == "int8" else size
    if kind == "int8":
        a, b = (
            torch.randint(-128, 128, shape, dtype=torch.int8)
            for shape in ((size, depth), (depth, size))
        )
    else:
        a, b = (
            torch.randn(shape).to(getattr(torch, kind)) for shape in ((size, depth), (depth, size))
        )
    out = torch.zeros(size, size)
    kernels.product[(1,)](a, b, out, M=size, N=size, K=depth)
    # The sums are kept in f32, so their error does not depend on the sources' type.
    error, allowed = far(out, a.double() @ b.double()), 0.0 if kind == "int8" else 2e-5
    proven("Triton", f"{size}x{size}x{depth} {kind}", device.reports, error, allowed)
    assert any(name.startswith("v_mfma") for each in device.reports for name in each.operations)


def test_atomic_operations(
    device: Emulated, kernels: Any, torch: Any, proven: Callable[..., None]
) -> None:
    x, out = torch.randn(1000), torch.zeros(7)
    most = torch.zeros(2, dtype=torch.int32)
    kernels.collected[(4,)](x, out, most, 1000, BLOCK=256)
    assert most.tolist() == [998, 999]
    wanted = torch.stack([x[place::7].double().sum() for place in range(7)])
    proven("Triton", "1000 f32, i32", device.reports, far(out, wanted), 1e-5)


def test_running_sums(
    device: Emulated, kernels: Any, torch: Any, proven: Callable[..., None]
) -> None:
    x, out = torch.randn(512), torch.zeros(512)
    kernels.running[(1,)](x, out, COUNT=512)
    proven("Triton", "512 f32", device.reports, far(out, x.double().cumsum(0)), 2e-5)


def test_sorting(device: Emulated, kernels: Any, torch: Any, proven: Callable[..., None]) -> None:
    x, out, largest = torch.randn(256), torch.zeros(256), torch.zeros(1, dtype=torch.int32)
    kernels.ordered[(1,)](x, out, largest, COUNT=256)
    assert int(largest) == int(x.argmax())
    proven("Triton", "256 f32", device.reports, far(out, x.sort().values), 0)


def test_the_second_decoder_reads_the_same(
    device: Emulated, kernels: Any, torch: Any, disassembler: str, tmp_path: Any
) -> None:
    from tests.emulation.second_decoder import Comparison, compare

    x, out = torch.randn(3, 500), torch.zeros(3, 500)
    kernels.softmax[(3,)](x, out, 500, 500, BLOCK=512)
    kernels.product[(1,)](
        torch.zeros(32, 32).half(),
        torch.zeros(32, 32).half(),
        torch.zeros(32, 32),
        M=32,
        N=32,
        K=32,
    )
    result = Comparison()
    for content in device.binaries:
        (tmp_path / "code").write_bytes(content)
        compare(tmp_path / "code", disassembler, result)
    assert result.different == []
    assert result.equal > 500
