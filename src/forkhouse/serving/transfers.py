"""What vLLM's NIXL connector counts about the KV blocks that a worker pulled from others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True, slots=True)
class Transfers:
    """KV transfers, counted when they were complete."""

    count: int
    descriptors: int
    """Pieces of memory, each continuous on both sides.

    Fewer than blocks times layers where blocks lie beside each other.
    """
    size: int
    """Bytes of KV cache."""
    seconds: float
    """From posting each until it was seen to be complete, added up.

    Transfers that overlap count each for itself.
    """
    post_seconds: float
    """The part of it that posting took."""
    failed: int

    @classmethod
    def counted(cls, samples: Mapping[str, float]) -> Self:
        """Read a worker's Prometheus samples (name to value).

        Counters that are not there have counted nothing yet.
        """

        def value(name: str) -> float:
            return samples.get(f"vllm:nixl_{name}", 0)

        return cls(
            count=int(value("bytes_transferred_count")),
            descriptors=int(value("num_descriptors_sum")),
            size=int(value("bytes_transferred_sum")),
            seconds=value("xfer_time_seconds_sum"),
            post_seconds=value("post_time_seconds_sum"),
            failed=int(value("num_failed_transfers_total")),
        )

    def since(self, earlier: Self) -> Self:
        """Return what was transferred after `earlier`."""
        return type(self)(
            count=self.count - earlier.count,
            descriptors=self.descriptors - earlier.descriptors,
            size=self.size - earlier.size,
            seconds=self.seconds - earlier.seconds,
            post_seconds=self.post_seconds - earlier.post_seconds,
            failed=self.failed - earlier.failed,
        )
