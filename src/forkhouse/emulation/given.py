"""Read the arguments of a kernel from a JSON document, and write its buffers back."""

from __future__ import annotations

import io
import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from forkhouse.core.storage import read_file, write_atomic
from forkhouse.emulation.faults import refuse

if TYPE_CHECKING:
    from pathlib import Path

Array = Any

_LONGEST = 2**20
"""Bytes of the document."""
_INTEGERS: dict[str, Any] = {
    "i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64,
    "u8": np.uint8, "u16": np.uint16, "u32": np.uint32, "u64": np.uint64,
}  # fmt: skip
_FLOATS: dict[str, Any] = {"f16": np.float16, "f32": np.float32, "f64": np.float64}
_KEYS = ("buffer", *_INTEGERS, *_FLOATS, "bf16", "bytes", "null")


class Given:
    """The arguments that a document lists, and the files of its buffers."""

    def __init__(self, document: Path) -> None:
        """Read the document and the buffers that it names.

        Raises EmulationError for what is no argument, OSError or StorageError for a file that
        cannot be read.
        """
        self._folder = document.resolve().parent
        self._buffers: dict[Path, Array] = {}
        listed = _listed(document)
        self.values = [self._value(number, each) for number, each in enumerate(listed, 1)]

    def write_back(self) -> tuple[str, ...]:
        """Write the buffers to their files, each at once. Returns the files' names."""
        contents = []
        for path, array in self._buffers.items():
            packed = io.BytesIO()
            np.save(packed, array, allow_pickle=False)
            contents.append((path, packed.getvalue()))
        for path, content in contents:
            write_atomic(path, content)
        return tuple(path.name for path, _ in contents)

    def _value(self, number: int, entry: Any) -> Any:
        if not isinstance(entry, dict) or not entry:
            raise _wrong(number, f"{_shown(entry)} is no argument; give {{KIND: VALUE}}")
        kinds = [key for key in entry if key in _KEYS]
        others = sorted(set(entry) - set(_KEYS) - {"dtype"})
        if len(kinds) != 1 or others or ("dtype" in entry and kinds != ["buffer"]):
            known = ", ".join(_KEYS)
            raise _wrong(number, f"{_shown(entry)} does not name one kind of {known}")
        kind = kinds[0]
        value = entry[kind]
        if kind == "null":
            if value is not True:
                raise _wrong(number, "null is given as true")
            return None
        if kind == "buffer":
            return self._buffer(number, value, entry.get("dtype"))
        if kind == "bytes":
            try:
                return bytes.fromhex(value)
            except (ValueError, TypeError) as error:
                raise _wrong(number, f"{_shown(value)} is no hexadecimal text") from error
        return _scalar(number, kind, value)

    def _buffer(self, number: int, name: Any, dtype: Any) -> Array:
        if not isinstance(name, str) or not name.endswith(".npy") or "\0" in name:
            raise _wrong(number, f"{_shown(name)} is no name of a file that ends in .npy")
        relative = PurePosixPath(name)
        path = (self._folder / relative).resolve()
        if relative.is_absolute() or not path.is_relative_to(self._folder):
            raise _wrong(number, f"{_shown(name)} lies outside of the document's folder")
        if path not in self._buffers:
            if not path.is_file():
                raise _wrong(number, f"there is no file {name} beside the document")
            self._buffers[path] = _array(number, name, read_file(path))
        array = self._buffers[path]
        if dtype is not None and array.dtype.name != dtype:
            found = array.dtype.name
            raise _wrong(number, f"{name} holds {found}, and the document says {_shown(dtype)}")
        return array


def _array(number: int, name: str, content: bytes) -> Array:
    try:
        array = np.load(io.BytesIO(content), allow_pickle=False)
    # NumPy raises many kinds for a damaged file, from a wrong magic to a header that is no Python.
    except (ValueError, OSError, EOFError, SyntaxError, TypeError, MemoryError) as error:
        raise _wrong(number, f"{name} is no array that can be read: {error}") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biufc":
        raise _wrong(number, f"{name} does not hold numbers")
    if not array.dtype.isnative:
        raise _wrong(number, f"{name} holds numbers in the byte order of another machine")
    return np.array(array, order="C", copy=True)


def _listed(document: Path) -> list[Any]:
    content = read_file(document)
    if len(content) > _LONGEST:
        message = f"{document.name} has more than {_LONGEST} bytes."
        raise refuse(message)
    try:
        listed = json.loads(content)
    except (ValueError, RecursionError) as error:
        message = f"{document.name} is no JSON: {error}"
        raise refuse(message) from error
    if not isinstance(listed, list):
        message = f'{document.name} is no list of arguments, such as [{{"i32": 3}}].'
        raise refuse(message)
    return listed


def _scalar(number: int, kind: str, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wrong(number, f"{_shown(value)} is no number for {kind}")
    if kind in _INTEGERS:
        limits = np.iinfo(_INTEGERS[kind])
        if not isinstance(value, int) or not limits.min <= value <= limits.max:
            raise _wrong(
                number,
                f"{_shown(value)} is no whole number from {limits.min} to {limits.max}, as {kind} "
                "is",
            )
        return _INTEGERS[kind](value)
    try:
        with np.errstate(over="ignore"):
            if kind == "bf16":
                return _bf16(float(value))
            return _FLOATS[kind](float(value))
    except OverflowError as error:
        raise _wrong(number, f"{_shown(value)} is too large for {kind}") from error


def _bf16(value: float) -> Any:
    """Return the bits of a number as bf16, rounded to nearest, even at a tie."""
    bits = int(np.float32(value).view(np.uint32))
    if np.isnan(value):
        return np.uint16(0x7FC0)
    return np.uint16((bits + 0x7FFF + (bits >> 16 & 1) >> 16) & 0xFFFF)


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 60 else text[:57] + "..."


def _wrong(number: int, what: str) -> Exception:
    return refuse(f"Argument {number}: {what}.")
