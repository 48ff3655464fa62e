"""Run a kernel of each of vLLM's extension libraries, and compare it with PyTorch's on the CPU.

Runs alone, with the stack's Python.

    python kernels.py --device cuda   every library of a ROCm build, on the first GPU (which PyTorch
                                      calls cuda)
    python kernels.py --device cpu    what a build for the CPU has of the same operations
    python kernels.py --examples      the references themselves, on examples worked out by hand

The output is a JSON object a line: each library that was loaded, then each kernel. Ends with exit
code 1 when a library does not load, an operation is missing, or a result differs by more than
rounding. --spoil NAME falsifies that kernel's result, to see it found.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

torch: Any = import_module("torch")

LIBRARIES = {
    "cpu": (
        "spinloop",
        "fs_io_C",
    ),  # and the kernels, of which there is a library for each generation of processors
    "cuda": (
        "_C",
        "_C_stable_libtorch",
        "_moe_C_stable_libtorch",
        "_rocm_C",
        "cumem_allocator",
        "spinloop",
        "fs_io_C",
    ),
}
SEED = 7
EPSILON = 1e-6
REDUCE_BYTES = 2**24
REDUCE_SECONDS = 60.0
UNQUANTISED = 0
STEPS = {"float32": 2.0**-16, "float16": 2.0**-9, "bfloat16": 2.0**-6}
"""How far a result may be from the reference, in parts of the larger of it and one.

Some roundings of each type.
"""

Tensors = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Kernel:
    """An operation of vLLM's, what it is tried on, and what it has to give."""

    name: str
    library: str
    """Of a ROCm build. The CPU build has the operations of _C_stable_libtorch in its _C."""
    types: tuple[str, ...]
    inputs: Callable[[Any], Tensors]
    """Makes the inputs, on the CPU and in a given type."""
    reference: Callable[[Tensors], list[Any]]
    """Computes the results on the CPU; no code of vLLM's."""
    run: Callable[[Tensors], list[Any]]
    """Computes them by the operation, where the inputs are."""
    example: tuple[Tensors, list[Any]]
    """Small inputs, and results that were worked out by hand."""


def normal(*shape: int, dtype: Any) -> Any:
    """Return random values."""
    return torch.randn(*shape, dtype=torch.float32).to(dtype)


# --- _C_stable_libtorch: what every model computes in each layer


def rms_norm_inputs(dtype: Any) -> Tensors:
    """Return rows of values, and a weight for each column."""
    return {"x": normal(37, 1024, dtype=dtype), "weight": normal(1024, dtype=dtype)}


def rms_norm_reference(given: Tensors) -> list[Any]:
    """Divide each row by the root of its mean square."""
    x = given["x"].double()
    return [x / (x.pow(2).mean(dim=-1, keepdim=True) + EPSILON).sqrt() * given["weight"].double()]


def rms_norm_run(given: Tensors) -> list[Any]:
    """Do it by vLLM's operation."""
    result = torch.empty_like(given["x"])
    torch.ops._C.rms_norm(result, given["x"], given["weight"], EPSILON)  # the name of a library
    return [result]


def silu_and_mul_inputs(dtype: Any) -> Tensors:
    """Return rows whose first half gates the second."""
    return {"x": normal(37, 2 * 512, dtype=dtype)}


def silu_and_mul_reference(given: Tensors) -> list[Any]:
    """Multiply the second half of each row by the gate of the first."""
    gate, value = given["x"].double().chunk(2, dim=-1)
    return [gate / (1 + (-gate).exp()) * value]


def silu_and_mul_run(given: Tensors) -> list[Any]:
    """Do it by vLLM's operation."""
    x = given["x"]
    result = torch.empty(x.shape[0], x.shape[1] // 2, dtype=x.dtype, device=x.device)
    torch.ops._C.silu_and_mul(result, x)
    return [result]


# --- _moe_C_stable_libtorch: which experts a token goes to


def topk_softmax_inputs(dtype: Any) -> Tensors:
    """Return what a router says of 64 experts for each token, in steps so large that no rounding
    changes an order.
    """
    scores = torch.stack([torch.randperm(64) for _ in range(37)])
    return {"scores": (scores / 8).to(dtype), "count": torch.tensor(6)}


def topk_softmax_reference(given: Tensors) -> list[Any]:
    """Return the shares of the best experts, which are made to add up to one, and their numbers."""
    exponentials = given["scores"].double().exp()
    shares, experts = (exponentials / exponentials.sum(dim=-1, keepdim=True)).topk(
        int(given["count"]), dim=-1
    )
    return [shares / shares.sum(dim=-1, keepdim=True), experts]


def topk_softmax_run(given: Tensors) -> list[Any]:
    """Do it by vLLM's operation."""
    scores, shape = given["scores"], (len(given["scores"]), int(given["count"]))
    shares = torch.empty(shape, dtype=torch.float32, device=scores.device)
    experts, positions = (
        torch.empty(shape, dtype=torch.int32, device=scores.device) for _ in range(2)
    )
    torch.ops._moe_C.topk_softmax(shares, experts, positions, scores, True, None, None)
    return [shares, experts]


def moe_sum_inputs(dtype: Any) -> Tensors:
    """Return what four experts say about each token."""
    return {
        "x": normal(37, 4, 512, dtype=dtype).abs()
    }  # where nothing cancels out, rounding is in proportion to the sum


def moe_sum_reference(given: Tensors) -> list[Any]:
    """Add up what the experts say."""
    return [given["x"].double().sum(dim=1)]


def moe_sum_run(given: Tensors) -> list[Any]:
    """Do it by vLLM's operation."""
    x = given["x"]
    result = torch.empty(x.shape[0], x.shape[2], dtype=x.dtype, device=x.device)
    torch.ops._moe_C.moe_sum(x, result)
    return [result]


# --- _rocm_C: a matrix times a few vectors, as in decoding


def skinny_inputs(dtype: Any) -> Tensors:
    """Return a weight, a few activations and a bias, scaled such that results are about one."""
    return {
        "weight": normal(512, 1024, dtype=dtype) / 32,
        "x": normal(4, 1024, dtype=dtype),
        "bias": normal(512, dtype=dtype),
    }


def skinny_reference(given: Tensors) -> list[Any]:
    """Multiply, and add the bias."""
    return [given["x"].double() @ given["weight"].double().T + given["bias"].double()]


def skinny_run(given: Tensors) -> list[Any]:
    """Do it by vLLM's operation."""
    units = torch.cuda.get_device_properties(given["x"].device).multi_processor_count
    return [torch.ops._rocm_C.wvSplitK(given["weight"], given["x"], given["bias"], units)]


# --- _C: sums over processes, each of which reads the other's memory


def reduce_inputs(dtype: Any) -> Tensors:
    """Return what each of two processes has."""
    return {"x": normal(2, 2**16, dtype=dtype)}


def reduce_reference(given: Tensors) -> list[Any]:
    """Return the sum, which each process gets."""
    total = given["x"].double().sum(dim=0)
    return [total, total]


def reduce_run(given: Tensors) -> list[Any]:
    """Do it by vLLM's operation, in two processes with the same GPU.

    Raises SystemExit when they do not come to an end.
    """
    context = get_context("spawn")  # a GPU's driver does not survive a fork
    ends, theirs = zip(*(context.Pipe() for _ in range(2)), strict=True)
    x = given["x"]
    # As lists: tensors would be sent as files that both sides keep open.
    processes = [
        context.Process(
            target=reduce_rank, args=(rank, theirs[rank], x[rank].tolist(), x.dtype), daemon=True
        )
        for rank in range(2)
    ]
    try:
        for process in processes:
            process.start()
        for end in theirs:
            end.close()  # so that the end of a process is an end of its connection
        handles = [answer_of(end) for end in ends]
        for end in ends:
            end.send(handles)
        results = [answer_of(end) for end in ends]
        for end in ends:
            end.send("both are done")
        for process in processes:
            process.join(REDUCE_SECONDS)
    finally:
        for process in processes:
            if process.pid is not None:
                process.kill()
                process.join()
    return [torch.tensor(result) for result in results]


def answer_of(end: Connection) -> Any:
    """Return what a process sends. Raises SystemExit when it ends or takes too long."""
    try:
        if end.poll(REDUCE_SECONDS):
            return end.recv()
        message = (
            f"A process that takes part in the sum did not answer within {REDUCE_SECONDS:g} s."
        )
    except EOFError:
        message = "A process that takes part in the sum ended; what it said is above."
    raise SystemExit(message)


def reduce_rank(rank: int, connection: Connection, values: list[float], dtype: Any) -> None:
    """Be one of the two processes."""
    import_module("vllm._C")
    operations = torch.ops._C_custom_ar
    torch.cuda.set_device(0)
    x = torch.tensor(values, dtype=dtype, device="cuda")
    result = torch.empty_like(x)
    group = operations.init_custom_qr(rank, 2, REDUCE_BYTES)
    connection.send(operations.qr_get_handle(group).tolist())
    operations.qr_open_handles(
        group, [torch.tensor(handle, dtype=torch.uint8) for handle in connection.recv()]
    )
    operations.qr_all_reduce(group, x, result, UNQUANTISED, False)
    torch.cuda.synchronize()
    connection.send(result.tolist())
    connection.recv()  # the other may still read this one's memory
    operations.qr_destroy(group)


def tensors(**values: Any) -> Tensors:
    """Return lists as tensors."""
    return {name: torch.tensor(value) for name, value in values.items()}


KERNELS = (
    Kernel(
        name="rms_norm",
        library="_C_stable_libtorch",
        types=("float32", "float16", "bfloat16"),
        inputs=rms_norm_inputs,
        reference=rms_norm_reference,
        run=rms_norm_run,
        # The mean square of 1, 7, 5 and 5 is 25.
        example=(
            tensors(x=[[1.0, 7.0, 5.0, 5.0]], weight=[1.0, 1.0, 2.0, -1.0]),
            [[[0.2, 1.4, 2.0, -1.0]]],
        ),
    ),
    Kernel(
        name="silu_and_mul",
        library="_C_stable_libtorch",
        types=("float32", "float16", "bfloat16"),
        inputs=silu_and_mul_inputs,
        reference=silu_and_mul_reference,
        run=silu_and_mul_run,
        # 1 / (1 + e^-ln 3) is 3/4.
        example=(tensors(x=[[0.0, math.log(3), 5.0, 4.0]]), [[[0.0, 3 * math.log(3)]]]),
    ),
    Kernel(
        name="topk_softmax",
        library="_moe_C_stable_libtorch",
        types=("float32", "bfloat16"),
        inputs=topk_softmax_inputs,
        reference=topk_softmax_reference,
        run=topk_softmax_run,
        # The shares of all are 1/7, 4/7 and 2/7.
        example=(
            tensors(scores=[[0.0, math.log(4), math.log(2)]], count=2),
            [[[2 / 3, 1 / 3]], [[1, 2]]],
        ),
    ),
    Kernel(
        name="moe_sum",
        library="_moe_C_stable_libtorch",
        types=("float32", "bfloat16"),
        inputs=moe_sum_inputs,
        reference=moe_sum_reference,
        run=moe_sum_run,
        example=(tensors(x=[[[1.0, 2.0], [30.0, 40.0]]]), [[[31.0, 42.0]]]),
    ),
    Kernel(
        name="wvSplitK",
        library="_rocm_C",
        types=("float16", "bfloat16"),
        inputs=skinny_inputs,
        reference=skinny_reference,
        run=skinny_run,
        example=(
            tensors(
                weight=[[1.0, 2.0], [3.0, 4.0], [0.0, 1.0]],
                x=[[5.0, 6.0]],
                bias=[100.0, 200.0, 0.5],
            ),
            [[[117.0, 239.0, 6.5]]],
        ),
    ),
    Kernel(
        name="qr_all_reduce",
        library="_C",
        types=("float16", "bfloat16"),
        inputs=reduce_inputs,
        reference=reduce_reference,
        run=reduce_run,
        example=(tensors(x=[[1.0, 2.0], [30.0, 40.0]]), [[31.0, 42.0], [31.0, 42.0]]),
    ),
)


def load(device: str) -> Iterator[str]:
    """Load each library of a build, and return their names one by one. Raises ImportError."""
    if device == "cpu":
        yield load_for_processor()
    for library in LIBRARIES[device]:
        import_module(f"vllm.{library}")
        yield library


def load_for_processor() -> str:
    """Load the library of kernels that vLLM takes on this processor, and return its name.

    Another one would die of SIGILL.

    Raises ImportError: vLLM itself goes on without its kernels, and says so in its log alone.
    """
    import_module("vllm.platforms").current_platform.import_kernels()
    mapped = Path("/proc/self/maps").read_text(encoding="utf-8")
    loaded: list[str] = sorted(
        set(re.findall(r"/vllm/(_C\w*)(?:\.[\w-]+)*\.so$", mapped, re.MULTILINE))
    )
    if len(loaded) != 1 or not hasattr(torch.ops._C, "rms_norm"):
        message = (
            f"vLLM was to load one library of kernels, and loaded {', '.join(loaded) or 'none'}; "
            "what it said is above."
        )
        raise ImportError(message)
    return loaded[0]


def difference(found: list[Any], expected: list[Any]) -> float:
    """Return the largest difference, in parts of the larger of the expected value and one.

    Infinite where a result is no number.
    """
    if [tuple(each.shape) for each in found] != [tuple(each.shape) for each in expected]:
        return math.inf
    parts = [
        ((one.double().cpu() - other.double()).abs() / other.double().abs().clamp(min=1)).max()
        for one, other in zip(found, expected, strict=True)
    ]
    largest = float(torch.stack(parts).max())
    return largest if math.isfinite(largest) else math.inf


def try_kernel(kernel: Kernel, type_name: str, device: str, *, spoil: bool) -> dict[str, object]:
    """Run a kernel and return what came out.

    Raises SystemExit when it differs by more than rounding from the reference.
    """
    given = kernel.inputs(getattr(torch, type_name))
    found = kernel.run({name: tensor.to(device) for name, tensor in given.items()})
    if spoil:
        found[0][0] *= 1 + 4 * STEPS[type_name]
    error, allowed = difference(found, kernel.reference(given)), STEPS[type_name]
    if error > allowed:
        message = (
            f"{kernel.name} of {kernel.library} in {type_name} is {error:.2g} away from the "
            f"reference; rounding explains {allowed:.2g}."
        )
        raise SystemExit(message)
    return {
        "kernel": kernel.name,
        "library": kernel.library,
        "type": type_name,
        "error": error,
        "allowed": allowed,
    }


def try_example(kernel: Kernel) -> dict[str, object]:
    """Compute a kernel's reference on its example.

    Raises SystemExit when the result is another than that worked out by hand.
    """
    given, expected = kernel.example
    error = difference(kernel.reference(given), [torch.tensor(each) for each in expected])
    if error > STEPS["float32"]:
        message = (
            f"The reference of {kernel.name} is {error:.2g} away from what was worked out by hand."
        )
        raise SystemExit(message)
    return {"example": kernel.name, "library": kernel.library, "error": error}


@contextmanager
def own_output() -> Iterator[TextIO]:
    """Return the standard output, line by line.

    What libraries print goes to the standard error instead.
    """
    with os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8") as output:
        os.dup2(2, 1)
        yield output


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", choices=list(LIBRARIES), default="cpu")
    parser.add_argument("--examples", action="store_true")
    parser.add_argument("--spoil", choices=[kernel.name for kernel in KERNELS])
    options = parser.parse_args()
    torch.manual_seed(SEED)
    with own_output() as output:
        if options.examples:
            for kernel in KERNELS:
                print(json.dumps(try_example(kernel)), file=output)
            return
        for library in load(options.device):
            print(json.dumps({"loaded": library}), file=output)
        for kernel in KERNELS:
            # The CPU build has no other of these; a ROCm build has to have all.
            if options.device == "cuda" or kernel.library == "_C_stable_libtorch":
                for type_name in kernel.types:
                    print(
                        json.dumps(
                            try_kernel(
                                kernel,
                                type_name,
                                options.device,
                                spoil=options.spoil == kernel.name,
                            )
                        ),
                        file=output,
                    )


if __name__ == "__main__":
    main()
