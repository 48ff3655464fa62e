"""Write values of an edit in YAML, JSON and TOML, and say what a reader of each has to see then."""

from __future__ import annotations

import json
import re
from datetime import date, datetime
from math import isfinite
from typing import TYPE_CHECKING

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches.values import Scalar, Table, scalars

if TYPE_CHECKING:
    from forkhouse.patches.values import Written

_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_TOML_FLOAT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)\.[0-9]+(?:[eE][-+]?[0-9]+)?")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_CORE = re.compile(
    r"(?:~|null|Null|NULL|true|True|TRUE|false|False|FALSE|[yYnN]|[-+]?[0-9]+|0o[0-7]+"
    r"|0x[0-9a-fA-F]+"
    r"|[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan"
    r"|NaN|NAN))?"
)
"""Text that YAML 1.2 reads as another type, and two letters that YAML 1.1 reads as booleans."""
_TOML_INTEGERS = range(-(2**63), 2**63)


def written(value: Written, language: str, *, flow: bool) -> str:
    """Write a value on one line; `flow` says that it will stand between brackets.

    Raises PatchConflictError for what the language has no way to say.
    """
    for scalar in scalars(value):
        _refuse_unspeakable(scalar, language)
    match value:
        case Scalar():
            return _scalar(value, language, flow=flow)
        case Table():
            sign = " = " if language == "toml" else ": "
            pairs = ", ".join(
                key_written(key, language, flow=True) + sign + written(inner, language, flow=True)
                for key, inner in value.pairs
            )
            return "{ " + pairs + " }" if language == "toml" and pairs else "{" + pairs + "}"
        case _:
            return "[" + ", ".join(written(item, language, flow=True) for item in value) + "]"


def _refuse_unspeakable(scalar: Scalar, language: str) -> None:
    what = None
    if isinstance(scalar.value, str) and re.search(r"[\ud800-\udfff]", scalar.value):
        what = "half of a surrogate pair is no text"
    elif language == "json" and scalar.kind == "date":
        what = "JSON has no dates; put it in quotes if a text is meant"
    elif language == "json" and isinstance(scalar.value, float) and not isfinite(scalar.value):
        what = "JSON has no such number"
    elif language == "toml" and scalar.kind == "null":
        what = "TOML has no null; use `remove` if the key is to go"
    elif language == "toml" and scalar.kind == "int" and scalar.value not in _TOML_INTEGERS:
        what = "readers of TOML need not take a whole number of more than 64 bits"
    if what is not None:
        message = f"{scalar.spelling!r} cannot be written in {language}: {what}."
        raise PatchConflictError(message)


def _scalar(scalar: Scalar, language: str, *, flow: bool) -> str:
    match scalar.kind:
        case "null":
            return "null"
        case "bool":
            return "true" if scalar.value else "false"
        case "int":
            return str(scalar.value)
        case "float":
            return _float(scalar, language)
        case "date":
            return _date(scalar, language)
        case "text":
            return text_written(str(scalar.value), language, flow=flow)


def _float(scalar: Scalar, language: str) -> str:
    number = scalar.value
    assert isinstance(number, float)  # the kind says so
    if not isfinite(number):
        sign = "-" if number < 0 else ""
        return f"{sign}.{abs(number)!s}" if language == "yaml" else f"{sign}{abs(number)}"
    if language == "json":
        return scalar.spelling if _JSON_NUMBER.fullmatch(scalar.spelling) else repr(number)
    if _TOML_FLOAT.fullmatch(scalar.spelling):
        return scalar.spelling
    said = repr(number)
    mantissa, mark, exponent = said.partition("e")
    if not mark:
        return said
    # YAML wants a point and the sign of the exponent.
    point = "" if "." in mantissa else ".0"
    sign = "" if exponent[0] in "+-" else "+"
    return f"{mantissa}{point}e{sign}{exponent}"


def _date(scalar: Scalar, language: str) -> str:
    value = scalar.value
    assert isinstance(value, date)  # the kind says so
    return scalar.spelling if language == "yaml" else value.isoformat()


def text_written(text: str, language: str, *, flow: bool) -> str:
    """Write a text so that each reader of the language reads just that."""
    if language == "json":
        return json.dumps(text, ensure_ascii=False)
    if language == "toml":
        return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")
    import yaml  # start-up time

    style = (
        '"'
        if any(not character.isprintable() for character in text)
        else "'"
        if _CORE.fullmatch(text)
        else None
    )
    # Inside of a list the dumper knows that commas and brackets need quotes.
    said = yaml.safe_dump(
        [text] if flow else text,
        default_flow_style=True,
        default_style=style,
        allow_unicode=True,
        width=2**31,
    )
    said = said.removesuffix("\n").removesuffix("\n...").removesuffix("\n")
    return str(said[1:-1] if flow else said)


def key_written(name: str, language: str, *, flow: bool) -> str:
    """Write a key."""
    if language == "toml" and _BARE_KEY.fullmatch(name):
        return name
    return text_written(name, language, flow=flow)


def value_seen(value: Written, language: str) -> object:
    """Return what a reader has to see of a value, as `data.seen` says it."""
    match value:
        case Scalar(kind="text"):
            return ("scalar", None, ("text", value.value))
        case Scalar(kind="null"):
            return ("scalar", None, ("null", "None"))
        case Scalar(kind="date"):
            return (
                "scalar",
                None,
                (type(value.value).__name__, repr(_as_read(value.value, language))),
            )
        case Scalar():
            return ("scalar", None, (value.kind, repr(value.value)))
        case Table():
            pairs = [
                (("scalar", None, ("text", key)), value_seen(inner, language))
                for key, inner in value.pairs
            ]
            ordered = sorted(pairs, key=lambda pair: repr(pair[0])) if language == "toml" else pairs
            return ("mapping", None, MAPPING_TAGS[language], tuple(ordered))
        case _:
            return (
                "list",
                None,
                LIST_TAGS[language],
                tuple(value_seen(item, language) for item in value),
            )


def _as_read(value: object, language: str) -> object:
    """Return a date as the language's reader makes it.

    Tomllib has an offset class of its own for none.
    """
    if language == "toml" and isinstance(value, datetime):
        import tomllib  # start-up time

        return tomllib.loads(f"value = {value.isoformat()}")["value"]
    return value


MAPPING_TAGS = {"yaml": "tag:yaml.org,2002:map", "json": "", "toml": ""}
LIST_TAGS = {"yaml": "tag:yaml.org,2002:seq", "json": "", "toml": ""}
EMPTY_MAPPING = {language: ("mapping", None, tag, ()) for language, tag in MAPPING_TAGS.items()}
EMPTY_LIST = {language: ("list", None, tag, ()) for language, tag in LIST_TAGS.items()}
