"""Git's binary deltas (gitformat-pack(5)): what comes of one on its base."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator


def patched(base: bytes, delta: bytes) -> bytes:
    """Return what one of git's deltas makes of a content.

    Source: gitformat-pack, "deltified representation". Raises ValueError.
    """
    data = iter(delta)
    made = bytearray()
    try:
        old, new = _size(data), _size(data)
        for code in data:
            if code & 0x80:
                start, length = (
                    sum(next(data) << 8 * place for place in range(count) if code & first << place)
                    for first, count in ((1, 4), (16, 3))
                )
                length = length or 0x10000
                if start + length > len(base):
                    _refuse_delta()
                made += base[start : start + length]
            elif code:
                made += bytes(next(data) for _ in range(code))
            else:
                _refuse_delta()
    except (StopIteration, RuntimeError):  # it ends within an instruction
        _refuse_delta()
    if (old, new) != (len(base), len(made)):
        _refuse_delta()
    return bytes(made)


def _refuse_delta() -> NoReturn:
    message = "the delta does not fit this content"
    raise ValueError(message)


def _size(data: Iterator[int]) -> int:
    """Read a number of seven bits a byte, the lowest first."""
    value = shift = 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            break
    return value
