"""What atomic operations compute, one lane after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from forkhouse.emulation.faults import UnknownOperationError
from forkhouse.emulation.memory import gather, scatter

Array = Any
Combine = Callable[[Any, Any, Any], Any]
"""Takes what is in memory, the operand, and the value that is compared with."""


def _least(old: Any, new: Any, _: Any) -> Any:
    return min(old, new)


def _most(old: Any, new: Any, _: Any) -> Any:
    return max(old, new)


def _halves(old: Any, new: Any, _: Any) -> Any:
    pair = np.array([old, new], dtype=np.uint32).view(np.float16).reshape(2, 2)
    return (pair[0] + pair[1]).view(np.uint32)[0]


_KINDS: dict[str, tuple[str, Combine]] = {
    "swap": ("u", lambda _old, new, _: new),
    "cmpswap": ("u", lambda old, new, other: new if old == other else old),
    "add": ("u", lambda old, new, _: old + new),
    "sub": ("u", lambda old, new, _: old - new),
    "rsub": ("u", lambda old, new, _: new - old),
    "smin": ("i", _least),
    "umin": ("u", _least),
    "smax": ("i", _most),
    "umax": ("u", _most),
    "and": ("u", lambda old, new, _: old & new),
    "or": ("u", lambda old, new, _: old | new),
    "xor": ("u", lambda old, new, _: old ^ new),
    "inc": ("u", lambda old, new, _: old.dtype.type(0) if old >= new else old + old.dtype.type(1)),
    "dec": (
        "u",
        lambda old, new, _: new if old == 0 or old > new else old - old.dtype.type(1),
    ),
    "mskor": ("u", lambda old, mask, new: old & ~mask | new),
    "add_f": ("f", lambda old, new, _: old + new),
    "min_f": ("f", _least),
    "max_f": ("f", _most),
    "cmpswap_f": ("f", lambda old, new, other: new if old == other else old),
    "pk_add_f16": ("u", _halves),
}
_DS = {
    "add_u": "add", "sub_u": "sub", "rsub_u": "rsub", "inc_u": "inc", "dec_u": "dec",
    "min_i": "smin", "max_i": "smax", "min_u": "umin", "max_u": "umax", "and_b": "and",
    "or_b": "or", "xor_b": "xor", "mskor_b": "mskor", "wrxchg_b": "swap", "cmpst_b": "cmpswap",
    "cmpst_f": "cmpswap_f", "min_f": "min_f", "max_f": "max_f", "add_f": "add_f",
}  # fmt: skip
"""The names that atomic operations have on LDS."""


def of_memory(name: str) -> tuple[str, int, Combine]:
    """Return the type's letter, the bytes and the function of an atomic operation on memory.

    `name` is what stands behind `atomic_`.
    """
    width = 4
    if name.endswith("_x2"):
        name, width = name[:-3], 8
    if name.endswith("_f64"):
        name, width = name[:-2], 8
    elif name.endswith("_f32"):
        name = name[:-2]
    return (*_found(name)[:1], width, _found(name)[1])


def of_lds(name: str) -> tuple[str, int, Combine] | None:
    """Return the same of an operation on LDS; None for one that is no atomic operation.

    `name` is what stands behind `ds_`, without `rtn_`.
    """
    width = {"32": 4, "64": 8}.get(name[-2:])
    if width is None or name[:-2] not in _DS:
        return None
    kind, combine = _found(_DS[name[:-2]])
    return kind, width, combine


def _found(name: str) -> tuple[str, Combine]:
    if name not in _KINDS:
        message = f"the atomic operation {name} is not known to the emulator"
        raise UnknownOperationError(message)
    return _KINDS[name]


def run(
    views: dict[int, Array],
    places: Array,
    kind: str,
    width: int,
    combine: Combine,
    values: Array,
    others: Array,
) -> Array:
    """Do an atomic operation for each of some lanes, in their order.

    Values are unsigned numbers of `width` bytes. Returns what was there before each.
    """
    unsigned, dtype = np.dtype(f"u{width}"), np.dtype(f"{kind}{width}")
    before = np.empty(len(places), dtype=unsigned)
    typed, compared = values.view(dtype), others.view(dtype)
    for number in range(len(places)):
        place = places[number : number + 1]
        old = gather(views, place, width)
        before[number] = old[0]
        new = combine(old.view(dtype)[0], typed[number], compared[number])
        scatter(views, place, width, np.array([new], dtype=dtype).view(unsigned))
    return before
