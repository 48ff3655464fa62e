"""What a language's own readers see in a document: values with their types, in their order.

None of them is the engine's.

JSON is read by Python's `json` without its leniences, and by `json5` where it has comments; TOML by
`tomllib`, YAML by PyYAML (YAML 1.1) and ruamel.yaml (YAML 1.2). Of YAML the nodes are compared,
before they become Python's values, because those forget what a key was.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import json5
import ruamel.yaml
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

Language = Literal["json", "toml", "yaml"]
LARGEST = 20_000
"""Values of a document, with aliases written out; one that has more is not compared."""
DEEPEST = 100
"""Values one in the other; a document that has more is not compared."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadScalar:
    """One value."""

    type: str
    """`str`, `int`, `float`, `bool`, `null`, or a name of the reader's own."""
    text: str
    """The value; of a number as it is written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """A list."""

    items: tuple[Seen, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Keyed:
    """Keys with their values, in their order; a key that is given twice is there twice."""

    entries: tuple[tuple[Seen, Seen], ...]


Seen = ReadScalar | Listed | Keyed


class UnreadableError(Exception):
    """A reader refuses a document."""


class BeyondError(Exception):
    """A document is too large or too deep to be compared, or holds itself."""


def _json_refuses(constant: str) -> NoReturn:
    message = f"{constant} is no JSON"
    raise ValueError(message)


def _from_python(value: object) -> Seen:
    match value:
        case ReadScalar() | Listed() | Keyed():
            return value
        case dict():
            return Keyed(
                entries=tuple(
                    (ReadScalar(type="str", text=key), _from_python(each))
                    for key, each in value.items()
                )
            )
        case list():
            return Listed(items=tuple(map(_from_python, value)))
        case str():
            return ReadScalar(type="str", text=value)
        case bool():
            return ReadScalar(type="bool", text=str(value).lower())
        case None:
            return ReadScalar(type="null", text="null")
        case int():
            return ReadScalar(type="int", text=str(value))
        case _:  # a date or a time of TOML
            return ReadScalar(type=type(value).__name__, text=str(value))


def _keyed(pairs: Iterable[tuple[str, object]]) -> Keyed:
    return Keyed(
        entries=tuple(
            (ReadScalar(type="str", text=key), _from_python(value)) for key, value in pairs
        )
    )


def _float(written: str) -> ReadScalar:
    return ReadScalar(type="float", text=written)


def _int(
    written: str, base: int = 10
) -> ReadScalar:  # what json5 says of a hexadecimal number, which is as it is written, too
    return ReadScalar(type="int", text=written)


def by_json(text: str) -> tuple[Seen, ...]:
    """Read JSON (RFC 8259), or else JSON with comments and trailing commas.

    Many programs write their settings in the second form.
    """
    try:
        seen = json.loads(
            text,
            object_pairs_hook=_keyed,
            parse_float=_float,
            parse_int=_int,
            parse_constant=_json_refuses,
        )
    except ValueError:
        seen = json5.loads(
            text,
            object_pairs_hook=_keyed,
            parse_float=_float,
            parse_int=_int,
            parse_constant=_json_refuses,
        )
    return (_from_python(seen),)


def by_tomllib(text: str) -> tuple[Seen, ...]:
    """Read TOML 1.0."""
    return (_from_python(tomllib.loads(text, parse_float=_float)),)


_TAGS = {f"tag:yaml.org,2002:{name}": name for name in ("str", "int", "float", "bool", "null")}


def _from_nodes(documents: Iterable[Any]) -> tuple[Seen, ...]:
    """Return documents of nodes, which PyYAML and ruamel.yaml have in the same form.

    An alias stands for what it names.
    """
    left = LARGEST

    def seen(node: Any, inside: tuple[int, ...]) -> Seen:
        nonlocal left
        left -= 1
        if left < 0 or id(node) in inside:
            message = "it holds itself, or too much to compare"
            raise BeyondError(message)
        inside = (*inside, id(node))
        tag = str(node.tag)
        if isinstance(node.value, str):
            return ReadScalar(type=_TAGS.get(tag, tag), text=node.value)
        if node.id == "mapping" if hasattr(node, "id") else isinstance(node, yaml.MappingNode):
            return Keyed(
                entries=tuple((seen(key, inside), seen(value, inside)) for key, value in node.value)
            )
        return Listed(items=tuple(seen(each, inside) for each in node.value))

    return tuple(seen(node, ()) for node in documents if node is not None)


def by_pyyaml(text: str) -> tuple[Seen, ...]:
    """Read the documents of a YAML 1.1 stream."""
    return _from_nodes(yaml.compose_all(text, Loader=yaml.SafeLoader))


def by_ruamel(text: str) -> tuple[Seen, ...]:
    """Read the documents of a YAML 1.2 stream."""
    return _from_nodes(ruamel.yaml.YAML(typ="safe", pure=True).compose_all(text))


READERS: Mapping[Language, tuple[Callable[[str], tuple[Seen, ...]], ...]] = {
    "json": (by_json,),
    "toml": (by_tomllib,),
    "yaml": (by_pyyaml, by_ruamel),
}


def _depth(seen: Seen) -> int:
    inner = (
        seen.items
        if isinstance(seen, Listed)
        else [value for _, value in seen.entries]
        if isinstance(seen, Keyed)
        else ()
    )
    return 1 + max(map(_depth, inner), default=0)


def read(reader: Callable[[str], tuple[Seen, ...]], text: str) -> tuple[Seen, ...]:
    """Return the documents that a reader sees.

    Raises BeyondError for what cannot be compared, and else UnreadableError, whatever the reader
    itself raises: some raise anything.
    """
    try:
        documents = reader(text)
        deepest = max(map(_depth, documents), default=0)
    except RecursionError as error:
        message = "deeper than Python goes"
        raise BeyondError(message) from error
    except BeyondError:
        raise
    except Exception as error:
        # A reader's own words.
        raise UnreadableError(f"{type(error).__name__}: {error}") from error  # noqa: EM102, TRY003
    if deepest > DEEPEST:
        message = f"more than {DEEPEST} values one in the other"
        raise BeyondError(message)
    return documents
