"""Make this process resemble a machine with one AMD GPU, as far as vLLM's launch code looks at it.

Runs alone, with the Python of the served stack, before anything of vLLM is imported. Nothing of
vLLM is changed: what is stood in for is what a driver says of a GPU (`amdsmi`, `torch.cuda`,
`torch.accelerator`), the name of the platform's extension libraries, and Triton's driver.
Tensors that ask for the GPU are made on the CPU.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import mmap
import sys
import types
from typing import Any

import torch
import torch._dynamo
import torch._inductor.utils
from torch.overrides import TorchFunctionMode

MEMORY = 64 * 2**30
"""Bytes of an MI210: https://www.amd.com/en/products/accelerators/instinct/mi200/mi210.html."""
UNITS = 104
"""Compute units of an MI210, from the same page."""
WAVE = 64
LARGE = 2**24
"""Bytes from which on zeros are taken from the kernel as they are touched."""

_original_version = importlib.metadata.version


class OnTheCpu(TorchFunctionMode):
    """Make what asks for the GPU on the CPU, and full of zeros.

    What a recorded launch would have written stays zero, so that no index is out of range.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call a function of PyTorch's with the device replaced."""
        named = dict(kwargs or {})
        if func is torch.Tensor.cuda:
            return args[0]
        if func is torch.Tensor.pin_memory:
            return args[0]
        named.pop("pin_memory", None)
        if "device" in named:
            named["device"] = _replaced(named["device"])
        if func is torch.device:
            return func(*args, **named)
        args = tuple(_replaced(each) if _is_device(each) else each for each in args)
        if func in (torch.zeros, torch.empty) and (lazily := _lazily(args, named)) is not None:
            return lazily
        if func is torch.empty:
            func = torch.zeros
            named.pop("memory_format", None)
        elif func is torch.empty_like:
            func = torch.zeros_like
        elif func is torch.Tensor.new_empty:
            func = torch.Tensor.new_zeros
        return func(*args, **named)


def _is_device(value: Any) -> bool:
    return isinstance(value, torch.device) or (
        isinstance(value, str) and value.partition(":")[0] == "cuda"
    )


def _replaced(device: Any) -> Any:
    if isinstance(device, int) and not isinstance(device, bool):
        return torch.device("cpu")
    if _is_device(device) and torch.device(device).type == "cuda":
        return torch.device("cpu")
    return device


def _lazily(args: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """Return a large tensor of zeros of which only touched pages take memory; None for others."""
    if str(named.get("device", "cpu")) != "cpu" or named.get("requires_grad"):
        return None
    sizes = named.get("size", args[0] if len(args) == 1 else args)
    sizes = (sizes,) if isinstance(sizes, int) else tuple(sizes)
    dtype = named.get("dtype") or torch.get_default_dtype()
    count = 1
    for size in sizes:
        count *= int(size)
    if count * dtype.itemsize < LARGE:
        return None
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0x4000)
    memory = mmap.mmap(-1, count * dtype.itemsize, flags=flags)
    return torch.frombuffer(memory, dtype=dtype).view(sizes)


class _Nothing:
    """A stream, an event, or a graph that is not there."""

    device = torch.device("cpu")
    device_index = 0
    cuda_stream = 0
    stream_id = 0

    def __init__(self, *_: Any, **__: Any) -> None:
        """Take whatever is given."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_, **__: None

    def __enter__(self) -> _Nothing:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing."""

    def elapsed_time(self, _: object) -> float:
        """Return no time, in milliseconds."""
        return 0.0

    def query(self) -> bool:
        """Say that all is done."""
        return True


def _noop() -> Any:
    """Return a function that does nothing, and that is no other's."""
    return lambda *_, **__: None


def take_on(arch: str) -> None:
    """Take on the likeness of a machine with one GPU of a target such as gfx90a."""
    properties = types.SimpleNamespace(
        name="AMD Instinct MI210",
        gcnArchName=arch,
        multi_processor_count=UNITS,
        warp_size=WAVE,
        total_memory=MEMORY,
        major=9,
        minor=0,
        shared_memory_per_block=64 * 1024,
        max_threads_per_multi_processor=2048,
        regs_per_multiprocessor=65536,
        uuid="00000000-0000-0000-0000-000000000000",
    )
    _stand_in_for_amdsmi(arch)
    _stand_in_for_cuda(properties)
    _stand_in_for_triton(arch)
    importlib.metadata.version = _version
    torch.library.Library.impl = _on_the_cpu_within(torch.library.Library.impl)
    OnTheCpu().__enter__()


def _on_the_cpu_within(register: Any) -> Any:
    """Return what registers an operation such that its own calls are made on the CPU as well.

    PyTorch takes a mode away from what the mode has seen.
    """

    def impl(library: Any, name: Any, function: Any, *rest: Any, **named: Any) -> Any:
        if not isinstance(function, types.FunctionType):
            return register(library, name, function, *rest, **named)

        @functools.wraps(function)
        def within(*args: Any, **given: Any) -> Any:
            with OnTheCpu():
                return function(*args, **given)

        return register(library, name, within, *rest, **named)

    return impl


def _version(name: str) -> str:
    version = _original_version(name)
    return f"{version.partition('+')[0]}+rocm72" if name == "vllm" else version


def _stand_in_for_amdsmi(arch: str) -> None:
    module: Any = types.ModuleType("amdsmi")
    module.__spec__ = importlib.machinery.ModuleSpec("amdsmi", None)
    module.AmdSmiException = RuntimeError
    module.AmdSmiMemoryType = types.SimpleNamespace(VRAM=0)
    module.amdsmi_init = module.amdsmi_shut_down = _noop()
    module.amdsmi_get_processor_handles = lambda: [0]
    module.amdsmi_get_gpu_asic_info = lambda _: {
        "target_graphics_version": arch,
        "market_name": "AMD Instinct MI210",
        "device_id": "0x740f",
    }
    module.amdsmi_get_gpu_device_uuid = lambda _: "0"
    module.amdsmi_get_gpu_memory_total = lambda *_: MEMORY
    module.amdsmi_topo_get_link_type = lambda *_: {"hops": 1, "type": 2}
    module.amdsmi_topo_get_numa_node_number = lambda *_: 0
    sys.modules["amdsmi"] = module


def _stand_in_for_cuda(properties: Any) -> None:
    torch.version.hip = "7.2"
    cuda: Any = torch.cuda
    cuda.is_available = lambda: True
    cuda._is_compiled = lambda: True
    cuda._device_count_amdsmi = lambda: 1
    cuda.is_initialized = lambda: True
    cuda.device_count = lambda: 1
    cuda.current_device = lambda: 0
    cuda.get_device_properties = lambda *_: properties
    cuda.get_device_name = lambda *_: properties.name
    cuda.get_device_capability = lambda *_: (9, 0)
    cuda.mem_get_info = lambda *_: (MEMORY - 2**30, MEMORY)
    cuda.memory_stats = lambda *_: {}
    cuda.max_memory_allocated = cuda.memory_allocated = cuda.memory_reserved = lambda *_: 0
    cuda.is_current_stream_capturing = lambda: False
    for name in (
        *("set_device", "synchronize", "empty_cache", "reset_peak_memory_stats", "init"),
        *("manual_seed", "manual_seed_all", "set_stream", "_lazy_init", "ipc_collect"),
    ):
        setattr(cuda, name, _noop())
    stream = _Nothing()
    cuda.Stream = cuda.Event = cuda.CUDAGraph = _Nothing
    torch.Event = torch.Stream = _Nothing
    cuda.current_stream = cuda.default_stream = lambda *_, **__: stream
    cuda.stream = cuda.device = lambda *_, **__: contextlib.nullcontext()
    cuda.memory.get_allocator_backend = lambda: "other"
    accelerator: Any = torch.accelerator
    accelerator.is_available = lambda: True
    accelerator.device_count = lambda: 1
    accelerator.current_device_index = lambda: 0
    accelerator.current_accelerator = lambda *_, **__: torch.device("cpu")
    accelerator.current_stream = lambda *_: stream
    accelerator.get_memory_info = lambda *_: (MEMORY - 2**30, MEMORY)
    accelerator.memory_stats = lambda *_: {}
    accelerator.max_memory_allocated = accelerator.memory_allocated = lambda *_: 0
    accelerator.memory_reserved = accelerator.max_memory_reserved = lambda *_: 0
    for name in (
        *("set_device_index", "synchronize", "empty_cache", "reset_peak_memory_stats"),
        "empty_host_cache",
        *("set_stream", "set_device_idx"),
    ):
        setattr(accelerator, name, _noop())


class NamedDriver:
    """A driver of Triton's that only names the target."""

    def __init__(self, arch: str) -> None:
        """Take the target."""
        from triton.backends.compiler import GPUTarget

        self._target = GPUTarget("hip", arch, WAVE)
        self.utils = types.SimpleNamespace(
            get_device_properties=lambda _: {
                "max_shared_mem": 64 * 1024,
                "multiprocessor_count": UNITS,
                "warpSize": WAVE,
                "arch": arch,
            },
        )

    def get_current_target(self) -> Any:
        """Return the target."""
        return self._target

    def get_current_device(self) -> int:
        """Return the first device."""
        return 0

    def get_current_stream(self, _: Any = None) -> int:
        """Return no stream."""
        return 0

    def get_active_torch_device(self) -> torch.device:
        """Return where tensors are."""
        return torch.device("cpu")

    def get_device_interface(self) -> Any:
        """Return PyTorch's module for this kind of device."""
        return torch.cuda

    def get_benchmarker(self) -> Any:
        """Return what calls a launch once, and says that it took no time."""

        def once(launch: Any, quantiles: Any = None, **_: Any) -> list[float]:
            launch()
            return [0.0] * len(quantiles or (0,))

        return once


def _stand_in_for_triton(arch: str) -> None:
    from triton.backends import backends
    from triton.runtime.driver import driver

    for name, backend in backends.items():
        backend.driver.is_active = staticmethod(lambda active=name == "amd": active)
    driver.set_active(NamedDriver(arch))


ABSENT: dict[str, tuple[str, ...]] = {
    "_C": ("get_cuda_view_from_cpu_tensor",),
    "_moe_C": ("topk_softmax", "moe_align_block_size", "moe_sum", "topk_sigmoid"),
    "_rocm_C": ("paged_attention", "wvSplitK", "LLMM1", "wvSplitKrc"),
    "_C_cache_ops": ("reshape_and_cache", "reshape_and_cache_flash"),
}
"""Operations of a ROCm build that a build for the CPU lacks, by namespace.

Those that the served stack has are its own. The others write nothing, but for the view, which is
its argument.
"""


class _Picture(types.ModuleType):
    """A module that has every name, each of them a class of its own."""

    __path__: tuple[str, ...] = ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = type(name, (), {})
        setattr(self, name, made)
        return made


class _Pictures:
    """Finds torchvision, which a ROCm machine has and a stack for the CPU may lack.

    At its start vLLM imports its models of pictures to ask whether the one that is served is one.
    """

    def find_spec(self, name: str, _path: Any = None, _target: Any = None) -> Any:
        """Return a module of torchvision's, and none of another's."""
        if name.partition(".")[0] != "torchvision":
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: Any) -> types.ModuleType:
        """Return a module without content."""
        return _Picture(spec.name)

    def exec_module(self, _: types.ModuleType) -> None:
        """Run nothing."""


BEFORE_FORKING = (
    "vllm.entrypoints.llm",
    "vllm.model_executor.layers.quantization.compressed_tensors.compressed_tensors",
    "vllm.model_executor.models.llama",
    "vllm.model_executor.models.qwen3_vl",
    "vllm.model_executor.warmup.kernel_warmup",
    "vllm.v1.attention.backends.rocm_attn",
    "vllm.v1.attention.backends.triton_attn",
    "vllm.v1.worker.gpu.model_runner",
    "vllm.v1.worker.gpu_worker",
)
"""What every case imports: once, before each has a process of its own."""


def import_vllm() -> None:
    """Import what every case needs, and shorten what takes long and decides nothing."""
    import_platform()
    for module in BEFORE_FORKING:
        importlib.import_module(module)
    _shorten()


def import_platform() -> None:
    """Import vLLM's platform, with the kernels for this processor in place of the GPU's.

    Ends the process when vLLM takes this for another machine.
    """
    from transformers.utils.import_utils import is_torchvision_available

    is_torchvision_available()  # the answer is kept: no
    sys.meta_path.append(_Pictures())
    package = importlib.util.find_spec("vllm")
    folder = package.submodule_search_locations[0]
    name = "_C_AVX2"
    if torch.cpu._is_avx512_supported():
        name = "_C" if torch.cpu._is_avx512_bf16_supported() else "_C_AVX512"
    torch.ops.load_library(f"{folder}/{name}.abi3.so")
    for extension in ("_C", "_C_stable_libtorch", "_moe_C_stable_libtorch", "_rocm_C"):
        sys.modules[f"vllm.{extension}"] = types.ModuleType(f"vllm.{extension}")
    for space, operations in ABSENT.items():
        namespace = getattr(torch.ops, space)
        for operation in operations:
            if not hasattr(namespace, operation):
                result = (lambda view: view) if operation.startswith("get_") else _noop()
                setattr(namespace, operation, result)
    from vllm.platforms import current_platform

    platform = type(current_platform)
    # Where PyTorch looks for an operation, and which library passes messages between workers.
    platform.dispatch_key = "CPU"
    platform.dist_backend = "gloo"
    from vllm.triton_utils import HAS_TRITON

    if platform.__name__ != "RocmPlatform" or not HAS_TRITON:
        message = f"vLLM took this for {platform.__name__}, with Triton: {HAS_TRITON}."
        raise SystemExit(message)


def _shorten() -> None:
    """Let products of zeros be zeros, without multiplying, and weights be what they were made as.

    Which kernels are launched hangs on shapes and types alone; real products would take minutes.
    """
    from vllm.model_executor.model_loader import dummy_loader, utils

    def linear(x: Any, weight: Any, bias: Any = None) -> Any:
        return x.new_zeros((*x.shape[:-1], weight.shape[0]))

    def product(a: Any, b: Any, *, out: Any = None) -> Any:
        if out is not None:
            return out.zero_()
        return a.new_zeros((*a.shape[:-1], b.shape[-1]))

    torch.nn.functional.linear = linear
    torch.mm = torch.bmm = product
    dummy_loader.initialize_single_dummy_weight = _noop()
    # Weights are already where they are to be, and would be copied there and back.
    utils.device_loading_context = lambda module, _: contextlib.nullcontext(module)


def vllm_version() -> str:
    """Return the installed version."""
    return _original_version("vllm")


def triton_facts() -> dict[str, str]:
    """Return which Triton compiled."""
    import hashlib

    import triton
    from triton.runtime.cache import triton_key

    return {
        "version": triton.__version__,
        "key": hashlib.sha256(triton_key().encode()).hexdigest(),
    }
