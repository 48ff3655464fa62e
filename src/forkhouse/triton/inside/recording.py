"""Record what Triton is asked to launch, and launch nothing.

Runs alone, with the Python of the served stack, after `likeness`.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from triton.backends.amd.compiler import HIPBackend
from triton.runtime.jit import JITFunction

if TYPE_CHECKING:
    from collections.abc import Iterator

_is_within_2gb = HIPBackend.is_within_2gb


@contextlib.contextmanager
def small_caches() -> Iterator[None]:
    """Let every buffer have less than 2 GiB in the block.

    Triton's AMD back end addresses such a buffer in another way, and on a GPU the cache of a layer
    may be smaller or larger than that. Here it is larger, and nothing else is.
    """
    HIPBackend.is_within_2gb = staticmethod(lambda _: True)
    try:
        yield
    finally:
        HIPBackend.is_within_2gb = staticmethod(_is_within_2gb)


@dataclass(frozen=True, kw_only=True)
class Launch:
    """A kernel with all that decides its machine code."""

    function: Any
    """Triton's function."""
    signature: dict[str, str]
    constants: dict[Any, Any]
    attributes: dict[Any, Any]
    options: Any
    """Options of Triton's back end."""

    @property
    def name(self) -> str:
        """Module and function."""
        return f"{self.function.fn.__module__}.{self.function.fn.__qualname__}"

    def source(self) -> Any:
        """Return what Triton compiles."""
        from triton.compiler import ASTSource

        return ASTSource(self.function, self.signature, self.constants, self.attributes)


@dataclass
class Recorder:
    """Takes down every kernel that is launched, once for each specialisation."""

    case: str = ""
    """What is being run; the launches of it are noted under it."""
    launches: dict[tuple[int, str], Launch] = field(default_factory=dict)
    cases: dict[tuple[int, str], list[str]] = field(default_factory=dict)
    count: int = 0

    def install(self) -> None:
        """Take the place of launching, for every kernel in this process."""
        recorder, run = self, JITFunction.run

        def record_only(function: Any, *args: Any, grid: Any, warmup: bool, **named: Any) -> Any:
            recorder.count += 1
            with small_caches():
                run(function, *args, grid=grid, warmup=True, **named)
            return run(function, *args, grid=grid, warmup=True, **named)

        def take_down(
            function: Any,
            key: str,
            signature: dict[str, str],
            _device: Any,
            constants: dict[Any, Any],
            options: Any,
            attributes: dict[Any, Any],
            _warmup: bool,
        ) -> None:
            place = (id(function), key)
            if place not in recorder.launches:
                recorder.launches[place] = Launch(
                    function=function,
                    signature=dict(signature),
                    constants=dict(constants),
                    attributes=dict(attributes),
                    options=options,
                )
            cases = recorder.cases.setdefault(place, [])
            if recorder.case not in cases:
                cases.append(recorder.case)

        JITFunction.run = record_only
        JITFunction._do_compile = take_down
