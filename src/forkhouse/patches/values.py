"""Values as an edit gives them.

Their type and their spelling, so that a file's own reader reads what was written.

An edit is YAML 1.2 where the versions of YAML differ: `no` and `22:22` are texts. What is a number
to one version and something else to the other (`1e3`, `0o17`, `017`, `1_000`) is refused: nobody
could tell what was meant.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from forkhouse.documents.reading import PlainNumber, PlainText

if TYPE_CHECKING:
    from collections.abc import Iterable

ScalarKind = Literal["null", "bool", "int", "float", "date", "text"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scalar:
    """One value of an edit."""

    kind: ScalarKind
    value: object
    spelling: str
    """As it stands in the edit; of a text, the text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A mapping of an edit."""

    pairs: tuple[tuple[str, Written], ...]


Written = Scalar | Table | tuple["Written", ...]
"""A value of an edit, which may hold others."""

_FLOAT = re.compile(
    r"[-+]?(?:[0-9]+\.[0-9]*(?:[eE][-+][0-9]+)?|\.[0-9]+|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)"
)
"""What both versions of YAML read as a number with a fraction, in PyYAML's form."""
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+")
_DATE = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:(?:[Tt]|[ \t]+)[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]*)?(?:[ \t]*(?:Z|[-+][0-9]{1,2}(?::[0-9]{2})?))?)?"
)
_UNCLEAR = re.compile(
    r"[-+]?(?:0[0-7_]+|0[0-9]+|0o[0-7]+|0b[01_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*|[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|\.[0-9_]+(?:[eE][-+]?[0-9]+)?"
    r"|[0-9]+[eE][-+]?[0-9]+)"
)
"""What at least one version of YAML reads as a number."""


def scalar_of(said: str) -> Scalar:
    """Return what a plain scalar of an edit means.

    Raises ValueError for one that readers of YAML take for different things.
    """
    if said in {"", "~", "null", "Null", "NULL"}:
        return Scalar(kind="null", value=None, spelling=said or "null")
    if said in {"true", "True", "TRUE", "false", "False", "FALSE"}:
        return Scalar(kind="bool", value=said.lower() == "true", spelling=said)
    if _INT.fullmatch(said):
        return Scalar(kind="int", value=int(said, 0), spelling=said)
    if _FLOAT.fullmatch(said):
        return Scalar(kind="float", value=float(re.sub(r"\.(?=[iInN])", "", said)), spelling=said)
    if _DATE.fullmatch(said):
        return Scalar(kind="date", value=_date(said), spelling=said)
    if _UNCLEAR.fullmatch(said):
        message = (
            f"{said} is one thing to readers of YAML 1.1 and another to those of YAML 1.2. Put it "
            "in quotes if it is a text; write a number "
            "in decimal digits without `_`, with a point and the sign of its exponent if it has "
            "one, such as 1.0e+3"
        )
        raise ValueError(message)
    return text_of(said)


def _date(said: str) -> date:
    import yaml  # start-up time

    read = yaml.safe_load(said)
    if not isinstance(read, date):
        message = f"{said} is no date"
        raise ValueError(message)  # noqa: TRY004  # pydantic's way to tell a problem
    return read


def text_of(said: str) -> Scalar:
    """Return a text as a value."""
    return Scalar(kind="text", value=str(said), spelling=str(said))


def written_of(given: object) -> Written:
    """Return a value as the reader of edits, or a program, gives it. Raises ValueError."""
    match given:
        case Scalar() | Table():
            return given
        case PlainText() | PlainNumber():
            return scalar_of(given.spelling)
        case None:
            return scalar_of("null")
        case bool():
            return scalar_of("true" if given else "false")
        case int():
            return scalar_of(str(given))
        case float():
            return Scalar(kind="float", value=given, spelling=repr(given))
        case str():
            return text_of(given)
        case list() | tuple():
            return tuple(written_of(item) for item in given)
        case dict():
            return Table(
                pairs=tuple((_name(key), written_of(value)) for key, value in given.items())
            )
        case _:
            message = (
                "a value is a text, a number, true, false, null, a date, a list or a mapping, not "
                f"{type(given).__name__}"
            )
            raise ValueError(message)


def _name(key: object) -> str:
    if isinstance(key, str):
        return str(key)
    message = f"a key of a value has to be a text; put {key} in quotes"
    raise ValueError(message)


def plain_of(value: Written) -> Any:
    """Return a value without its spelling."""
    match value:
        case Scalar(kind="date"):
            return value.spelling
        case Scalar(kind="float", value=float() as number) if not isfinite(number):
            return value.spelling
        case Scalar():
            return value.value
        case Table():
            return {key: plain_of(inner) for key, inner in value.pairs}
        case tuple():
            return [plain_of(item) for item in value]


def scalars(value: Written) -> Iterable[Scalar]:
    """Give each scalar of a value."""
    match value:
        case Scalar():
            yield value
        case Table():
            for _, inner in value.pairs:
                yield from scalars(inner)
        case tuple():
            for item in value:
                yield from scalars(item)


Given = Annotated[
    Any,  # a type that holds itself is none that pydantic can read; the validator gives a `Written`
    PlainValidator(written_of),
    PlainSerializer(plain_of),
    WithJsonSchema(
        {
            "description": "A text, a number, true, false, null, a date, or a list or mapping of such. Text in quotes stays a text."
        }
    ),
]
"""A value in the model of an edit."""
