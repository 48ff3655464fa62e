"""A device for Triton that is the emulator: `kernel[grid](...)` on tensors of the CPU runs
there.
"""

from __future__ import annotations

import functools
import importlib
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from forkhouse.binaries.codeobject import read_code_object
from forkhouse.emulation.arguments import Inside, Pointers
from forkhouse.emulation.launching import Report, launch

if TYPE_CHECKING:
    from collections.abc import Iterator

_SCALARS: dict[str, Any] = {
    "i1": np.int8, "i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64,
    "u8": np.uint8, "u16": np.uint16, "u32": np.uint32, "u64": np.uint64,
    "fp32": np.float32, "fp64": np.float64, "fp16": np.float16,
}  # fmt: skip


class Emulated:
    """Stands for the driver of a GPU."""

    def __init__(self) -> None:
        from triton.backends.compiler import GPUTarget

        self._target = GPUTarget("hip", "gfx90a", 64)
        self.utils = SimpleNamespace(
            load_binary=self._load,
            unload_module=lambda _module: None,
            get_device_properties=lambda _device: {"max_shared_mem": 65536, "warpSize": 64},
        )
        self.launcher_cls = self._launcher
        self.reports: list[Report] = []
        self.reachable: list[Any] = []
        """The tensors to which pointers lead that lie in other tensors."""
        self.binaries: list[bytes] = []

    def get_current_target(self) -> Any:
        return self._target

    def get_current_device(self) -> int:
        return 0

    def set_current_device(self, device: int) -> None:
        assert device == 0

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_active_torch_device(self) -> Any:
        return importlib.import_module("torch").device("cpu")

    def _load(self, name: str, binary: bytes, shared: int, device: int) -> tuple[Any, ...]:
        image = read_code_object(binary)
        self.binaries.append(binary)
        return object(), (image, name), 0, 0, 1024

    def _launcher(self, source: Any, metadata: Any) -> Any:
        kinds = list(source.signature.values())

        def start(*given: Any) -> None:
            x, y, z, _stream, (image, name), *_hooks = given[:9]
            values = list(arguments(kinds, given[9:], self.reachable))
            wanted = [each for each in image.kernels[name].arguments if not each.hidden]
            # Behind the kernel's own arguments there are two of Triton's, which it does not use.
            values += [None] * (len(wanted) - len(values))
            self.reports.append(
                launch(
                    image,
                    name,
                    grid=(x, y, z),
                    block=(metadata.num_warps * metadata.warp_size, 1, 1),
                    arguments=values,
                    dynamic_lds=metadata.shared,
                )
            )

        return start


@functools.cache
def the_device() -> Emulated:
    """Return the one device of this process: a kernel keeps the one that it was compiled for."""
    return Emulated()


def arguments(kinds: list[Any], values: tuple[Any, ...], reachable: list[Any]) -> Iterator[Any]:
    """Yield the arguments that the machine code has, as the emulator takes them."""
    for kind, value in zip(kinds, values, strict=True):
        if kind == "constexpr":
            continue
        if str(kind).startswith("*"):
            # A tensor of such numbers is a table of addresses on this machine.
            yield pointers(value, reachable) if kind == "*u64" else inside(value)
        else:
            yield _SCALARS[kind](value)


def pointers(table: Any, reachable: list[Any]) -> Pointers:
    """Return a table of addresses as pointers into the tensors in which they lie."""
    places = []
    for address in table.tolist():
        tensor = next(each for each in reachable if each.data_ptr() == address)
        places.append(inside(tensor))
    return Pointers(tuple(places))


def inside(tensor: Any) -> Inside:
    """Return a pointer to a tensor's first number, in all that its storage holds."""
    torch = importlib.import_module("torch")
    whole = torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage()).numpy()
    return Inside(whole, tensor.storage_offset() * tensor.element_size())
