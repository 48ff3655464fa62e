"""The keys of a YAML document, from the class that reads it."""

from __future__ import annotations

import re
import types
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic_core import PydanticUndefined

from docs.generate.text import paragraphs, prose, table, target
from forkhouse.audit import policy
from forkhouse.documents import lockfile as lock
from forkhouse.documents.meanings import meanings
from forkhouse.documents.reading import Document
from forkhouse.patches import edits, values
from forkhouse.serving import deployment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

WORDS: tuple[tuple[object, str], ...] = (
    (lock.ObjectId, "git object id: 40 hex digits"),
    (lock.Sha256, "sha256: 64 hex digits"),
    (lock.Name, "name"),
    (lock.PackageVersion, "version (PEP 440)"),
    (lock.VersionRange, "version range (PEP 440)"),
    (lock.RequirementText, "requirement (PEP 508)"),
    (lock.Form, "{term}`form`"),
    (lock.FileName, "file name without a folder"),
    (lock.Url, "address: `https://` or `file://`"),
    (lock.PublicUrl, "address without user and password"),
    (policy.Regex, "regular expression"),
    (edits.PartText, "code, as it is written"),
    (edits.Code, "code"),
    (edits.Hash, "hash, as `sha256:…`"),
    (edits.Count, "a number, or a range `{min, max}`"),
    (edits.Distribution, "name of a distribution; `*` is any text"),
    (values.Given, "any value"),
    (deployment.Argument, "text or number"),
    (deployment.VariableName, "name of a variable"),
    (deployment.PathText, "text"),
    (deployment.Port, "port: 1024 to 65535"),
    (deployment.Seconds, "seconds"),
    (deployment.ServerUrl, "address: `http://`, `https://` or `nats://`"),
    (str, "text"),
    (int, "whole number"),
    (float, "number"),
    (bool, "`true` or `false`"),
    (object, "any value"),
    (Any, "any value"),
)
"""How a type of the code is told to somebody who writes YAML."""


def document(*roots: type[Document]) -> str:
    """Return one section for each document, and one for each kind of value within them."""
    found = dict.fromkeys([*roots, *(model for root in roots for model in nested(root))])
    return "\n\n".join(map(_section, found))


def nested(root: type[Document]) -> list[type[Document]]:
    """Return a document's class, and each class of values within it once, from the top down."""
    found = [root]
    for model in found:  # it grows
        for name in fields(model):
            found += [each for each in _documents(_hints(model)[name]) if each not in found]
    return list(dict.fromkeys(found))


def fields(model: type[Document]) -> dict[str, FieldInfo]:
    """Return the fields of a document by their names in the code."""
    return model.model_fields


def _hints(model: type[Document]) -> dict[str, Any]:
    return get_type_hints(model, include_extras=True)


def _documents(hint: object) -> Iterator[type[Document]]:
    if isinstance(hint, type) and issubclass(hint, Document):
        yield hint
    for inside in get_args(hint):
        yield from _documents(inside)


def _title(model: type[Document]) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", model.__name__)
    return words[0] + words[1:].lower()


def _label(model: type[Document]) -> str:
    return f"doc-{model.__name__.lower()}"


def _section(model: type[Document]) -> str:
    texts = meanings(model)
    rows = [
        [
            f"`{info.alias or name}`",
            spoken(_hints(model)[name]),
            _default(info),
            prose(texts.get(name) or _obvious(name)),
        ]
        for name, info in fields(model).items()
    ]
    keys = table(("key", "value", "default", "meaning"), rows)
    return (
        f"{target(_label(model))}## {_title(model)}\n\n{paragraphs(model.__doc__ or '')}\n\n{keys}"
    )


def _obvious(name: str) -> str:
    return "Says that it is this kind of value." if name == "kind" else ""


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "**required**"
    value = info.default
    if value is PydanticUndefined or value is None or value in ((), ""):
        return "none"
    if isinstance(value, Document):
        return "those of its keys"
    if isinstance(value, tuple):
        return ", ".join(f"`{each}`" for each in value)
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def spoken(hint: object) -> str:
    """Return what a value of this type is in a document.

    Raises TypeError for a type that has no words yet.
    """
    for known, words in WORDS:
        if hint == known:
            return words
    origin, inside = get_origin(hint), get_args(hint)
    if isinstance(hint, type) and issubclass(hint, Document):
        return f"[{_title(hint)}](#{_label(hint)})"
    if origin is Annotated:
        return spoken(inside[0])
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(spoken(each) for each in inside if each is not type(None)))
    if origin is Literal:
        return " or ".join(f"`{each}`" for each in inside)
    if origin is tuple:
        return f"list of: {spoken(inside[0])}"
    if origin is dict:
        return f"mapping of {spoken(inside[0])} to: {spoken(inside[1])}"
    message = f"docs/generate/documents.py has no words for the type {hint}: add them to WORDS"
    raise TypeError(message)
