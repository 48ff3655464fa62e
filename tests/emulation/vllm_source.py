"""vLLM's own modules with Triton kernels, loaded from the pinned wheel onto the emulated device.

The modules that are named here are loaded as they are. What they import of the rest of vLLM is
stood in for, as importing all of it would need a GPU's or a CPU's back end: a stand-in may be
named, inherited from or noted in a signature, and is an error as soon as it is called.
"""

from __future__ import annotations

import enum
import importlib
import importlib.util
import logging
import sys
import zipfile
from contextlib import contextmanager, nullcontext
from importlib.abc import Loader, MetaPathFinder
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.machinery import ModuleSpec
    from pathlib import Path

REAL = (
    "vllm.model_executor.layers.fused_moe.fused_moe",
    "vllm.model_executor.warmup.jit_warmup",
    "vllm.model_executor.warmup.jit_warmup_triton_helper",
    "vllm.utils.math_utils",
    "vllm.v1.attention.ops.chunked_prefill_paged_decode",
    "vllm.v1.attention.ops.prefix_prefill",
    "vllm.v1.attention.ops.triton_attention_helpers",
    "vllm.v1.attention.ops.triton_merge_attn_states",
    "vllm.v1.attention.ops.triton_reshape_and_cache_flash",
    "vllm.v1.attention.ops.triton_unified_attention",
    "vllm.v1.sample.ops.topk_topp_triton",
    "vllm.v1.worker.gpu.block_table",
    "vllm.v1.worker.gpu.buffer_utils",
    "vllm.v1.worker.gpu.input_batch",
    "vllm.v1.worker.gpu.sample.gumbel",
    "vllm.v1.worker.gpu.sample.logit_bias",
    "vllm.v1.worker.gpu.sample.logprob",
    "vllm.v1.worker.gpu.sample.min_p",
    "vllm.v1.worker.gpu.sample.penalties",
    "vllm.v1.worker.gpu.sample.prompt_logprob",
)
"""The modules that are vLLM's own."""
PROCESSORS = 2
"""Compute units that the device says to have; kernels that share out rows among them use it."""


class _Quantization(enum.IntEnum):
    NONE = 0
    FP8_PER_TENSOR = 1
    INT8_PER_TOKEN_HEAD = 2
    FP8_PER_TOKEN_HEAD = 3
    INT4_PER_TOKEN_HEAD = 4


class _Mi210:
    """What vLLM asks of the platform, answered as it does for gfx90a, on tensors of the CPU."""

    device_type = "cpu"

    def fp8_dtype(self) -> Any:
        return torch.float8_e4m3fn

    def is_rocm(self) -> bool:
        return True

    is_cuda_alike = is_rocm

    def is_cuda(self) -> bool:
        return False

    is_xpu = is_cpu = is_pin_memory_available = is_cuda

    def is_device_capability_family(self, family: int) -> bool:
        return False

    def get_device_capability(self) -> tuple[int, int]:
        return 9, 0

    def has_device_capability(self, capability: int) -> bool:
        return capability <= 90


class _Logger(logging.LoggerAdapter):  # type: ignore[type-arg]
    def warning_once(self, message: str, *values: Any) -> None:
        self.warning(message, *values)


def _on_device(values: Any, device: Any = None, dtype: Any = None) -> Any:
    return torch.tensor(values, dtype=dtype, device=device)


def _given() -> dict[str, dict[str, Any]]:
    """Return what stands in for modules of which something is called."""
    triton = importlib.import_module("triton")
    return {
        "vllm.envs": {"VLLM_BATCH_INVARIANT": False, "VLLM_TUNED_CONFIG_FOLDER": None},
        "vllm.logger": {"init_logger": lambda name: _Logger(logging.getLogger(name))},
        "vllm.model_executor.layers.fused_moe.utils": {
            "resolve_moe_use_td": lambda: False,
            "warn_if_moe_use_td_ineffective": lambda *_, **__: None,
        },
        "vllm.model_executor.layers.quantization.utils.quant_utils": {
            "get_fp8_min_max": lambda: (-448.0, 448.0),
        },
        "vllm.platforms": {"current_platform": _Mi210()},
        "vllm.platforms.rocm": {"use_rocm_custom_paged_attention": lambda *_: False},
        "vllm.triton_utils": {
            "HAS_TRITON": True,
            "triton": triton,
            "tl": importlib.import_module("triton.language"),
        },
        "vllm.utils.gpu_sync_debug": {"gpu_sync_allowed": nullcontext},
        "vllm.utils.platform_utils": {
            "is_uva_available": lambda: False,
            "num_compute_units": lambda *_: PROCESSORS,
        },
        "vllm.utils.torch_utils": {
            "async_tensor_h2d": _on_device,
            "direct_register_custom_op": lambda **_: None,
            "is_quantized_kv_cache": lambda kind: kind.startswith(("fp8", "int")),
        },
        "vllm.v1.attention.backends.utils": {"PAD_SLOT_ID": -1},
        "vllm.v1.kv_cache_interface": {"KVQuantMode": _Quantization},
        "vllm.v1.outputs": {"LogprobsTensors": SimpleNamespace},
    }


class _StandIn(type):
    """The type of stand-ins, which are classes so that they can be inherited from."""

    def __call__(cls, *_: Any, **__: Any) -> Any:
        message = f"{cls.__name__} of vLLM is stood in for and was called: load it from the wheel"
        raise RuntimeError(message)

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _StandIn(f"{cls.__name__}.{name}", (), {})


class _Stood(ModuleType):
    """A module that has every name."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _StandIn(f"{self.__name__}.{name}", (), {})


class _Finder(MetaPathFinder, Loader):
    """Finds modules of vLLM: its own where they are named, stand-ins for all others."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._given = folder, _given()

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if name.partition(".")[0] != "vllm":
            return None
        if name in REAL:
            file = self._folder / f"{name.replace('.', '/')}.py"
            return importlib.util.spec_from_file_location(name, file)
        return importlib.util.spec_from_loader(name, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = _Stood(spec.name)
        module.__dict__.update(self._given.get(spec.name, {}))
        if spec.name == "vllm":
            module.__dict__["envs"] = SimpleNamespace(**self._given["vllm.envs"])
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: a stand-in has no code."""


def load(wheel: Path, folder: Path) -> None:
    """Unpack the modules from the wheel into a folder, and let them be imported from there.

    A process does it once: what was loaded first stays.
    """
    if any(isinstance(each, _Finder) for each in sys.meta_path):
        return
    if "vllm" in sys.modules:
        message = "vLLM was imported before: its modules would be mixed with those of the wheel"
        raise RuntimeError(message)
    with zipfile.ZipFile(wheel) as archive:
        for name in REAL:
            archive.extract(f"{name.replace('.', '/')}.py", folder)
    sys.meta_path.insert(0, _Finder(folder))


@contextmanager
def beside(folder: Path) -> Iterator[None]:
    """Let the modules be imported anew, in a process of vLLM's, from where its packages lie.

    vLLM's build for the CPU imports them without Triton. What it has imported is put back at the
    end.
    """
    aside = {name: sys.modules.pop(name) for name in _imported()}
    finder = _Finder(folder)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in _imported():
            del sys.modules[name]
        sys.modules.update(aside)


def _imported() -> list[str]:
    return [name for name in sys.modules if name.partition(".")[0] == "vllm"]
