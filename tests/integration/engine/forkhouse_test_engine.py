"""A plug-in for vLLM that makes an engine on the CPU resemble one on another vendor's GPU, as far
as the hand-off sees it.

It is loaded through vLLM's own entry point, from a folder on PYTHONPATH. What it does is chosen by
variables:

FORKHOUSE_TEST_VERSION         the version that vLLM gives itself, such as 0.31.0+rocm72
FORKHOUSE_TEST_BACKEND         name of an attention backend, such as TRITON_ATTN: attention is
                               computed by PyTorch on a KV cache that lies as GPUs have it.
                               VLLM_KV_CACHE_LAYOUT chooses between LBHNC and LBNHC.
FORKHOUSE_TEST_TRITON          1: attention is vLLM's own Triton backend, whose kernels Triton's
                               interpreter runs
FORKHOUSE_TEST_WITHOUT_KERNEL  name of a kernel whose launches are then left out
FORKHOUSE_TEST_STAGING         1: KV blocks are copied to host buffers and sent from there, as where
                               the transfer library cannot reach the GPU's memory
FORKHOUSE_TEST_SPOIL_BLOCK     number of the KV block, of each request that has so many, that is set
                               to zero when it has arrived
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch


def register() -> None:
    """Do what the variables ask for; vLLM calls it in each of its processes."""
    version = os.environ.get("FORKHOUSE_TEST_VERSION")
    if version:
        import vllm

        vllm.__version__ = version
    if os.environ.get("FORKHOUSE_TEST_BACKEND"):
        from vllm.platforms import current_platform

        type(current_platform).get_attn_backend_cls = classmethod(
            lambda *_, **__: "forkhouse_test_attention.PlainBackend"
        )
    if os.environ.get("FORKHOUSE_TEST_TRITON") == "1":
        import forkhouse_test_triton

        forkhouse_test_triton.install(without=os.environ.get("FORKHOUSE_TEST_WITHOUT_KERNEL"))
    if os.environ.get("FORKHOUSE_TEST_STAGING") == "1":
        _stage()
    if os.environ.get("FORKHOUSE_TEST_SPOIL_BLOCK"):
        _spoil(int(os.environ["FORKHOUSE_TEST_SPOIL_BLOCK"]))


def _stage() -> None:
    from vllm.distributed.kv_transfer.kv_connector.v1.nixl.base_scheduler import (
        NixlBaseConnectorScheduler,
    )
    from vllm.distributed.kv_transfer.kv_connector.v1.nixl.base_worker import (
        NixlBaseConnectorWorker,
    )
    from vllm.platforms import current_platform

    for side in (NixlBaseConnectorScheduler, NixlBaseConnectorWorker):
        side.__init__ = _then(side.__init__, lambda self: setattr(self, "use_host_buffer", True))
    NixlBaseConnectorWorker.set_host_xfer_buffer_ops = lambda self, operation: setattr(
        self, "copy_blocks", operation
    )
    # What the platforms of GPUs have, and the CPU's does not.
    platform = type(current_platform)
    platform.insert_blocks_to_device = classmethod(_copy)
    platform.swap_out_blocks_to_host = classmethod(_copy)


def _copy(
    _: type,
    source: torch.Tensor,
    target: torch.Tensor,
    source_blocks: torch.Tensor,
    target_blocks: torch.Tensor,
) -> None:
    target[target_blocks] = source[source_blocks]


def _then(function: Callable[..., Any], after: Callable[[Any], None]) -> Callable[..., Any]:
    def both(self: Any, *positional: Any, **named: Any) -> None:
        function(self, *positional, **named)
        after(self)

    return both


def _spoil(number: int) -> None:
    from vllm.distributed.kv_transfer.kv_connector.v1.nixl.base_worker import (
        NixlBaseConnectorWorker,
    )

    original = NixlBaseConnectorWorker._pop_done_transfers

    def pop(self: Any, transfers: Any) -> Any:
        done, failed = original(self, transfers)
        for request in done:
            (blocks,) = self._recving_metadata[request].local_physical_block_ids
            if number >= len(blocks):
                continue  # so short a request has no such block
            for cache in self.device_kv_caches.values():
                cache[blocks[number]] = 0
        return done, failed

    NixlBaseConnectorWorker._pop_done_transfers = pop
