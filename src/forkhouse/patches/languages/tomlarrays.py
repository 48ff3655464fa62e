"""Read the arrays of a TOML file with the positions of their items, by tree-sitter's grammar."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches.backends import Parts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tree_sitter import Node as TreeNode
    from tree_sitter import Parser


@dataclass(frozen=True, kw_only=True, slots=True)
class Array:
    """An array, and the positions in it that can be changed."""

    start: int
    end: int
    """The end, including the brackets."""
    parts: Parts
    items: tuple[object, ...]
    """The value of each item, as `tomllib` reads it."""


@lru_cache(maxsize=1)
def _parser() -> Parser:
    import tree_sitter_toml  # start-up time
    from tree_sitter import Language, Parser

    return Parser(Language(tree_sitter_toml.language()))


def read(text: str) -> dict[str, object]:
    """Read TOML.

    Raises PatchConflictError for a text that is no TOML.
    """
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        message = f"not TOML: {error}"
        raise PatchConflictError(message) from error


def _tree(text: str) -> tuple[TreeNode, list[int]]:
    content = text.encode("utf-8", errors="surrogatepass")
    root = _parser().parse(content).root_node
    if root.has_error:
        message = (
            "The grammar does not know all of this file. Use an `anchor`, in the language text."
        )
        raise PatchConflictError(message)
    places = [0] * (len(content) + 1)
    at = 0
    for number, character in enumerate(text):
        places[at] = number
        at += len(character.encode("utf-8", errors="surrogatepass"))
    places[at] = len(text)
    return root, places


def comments(text: str) -> list[str]:
    """Return the comments of a file in order."""
    root, _ = _tree(text)
    return [
        node.text.decode("utf-8", errors="replace")
        for node in _all(root)
        if node.type == "comment" and node.text is not None
    ]


def _all(node: TreeNode) -> Iterator[TreeNode]:
    for child in node.children:
        yield child
        yield from _all(child)


@lru_cache(maxsize=4)
def arrays(text: str) -> Mapping[tuple[str, ...], Array]:
    """Return the arrays of a file by the path of their key.

    Arrays in an array have no path and are left out. Raises PatchConflictError.
    """
    document = read(text)
    root, places = _tree(text)
    found: dict[tuple[str, ...], Array] = {}
    for child in root.named_children:
        match child.type:
            case "pair":
                _pair(child, (), text, places, found)
            case "table":
                path = _key(child.named_children[0])
                for pair in child.named_children[1:]:
                    if pair.type == "pair":
                        _pair(pair, path, text, places, found)
    # The grammar's view of what an array holds has to be that of the reader; a table below
    # `[[several]]` has another.
    return {
        path: array for path, array in found.items() if _at(document, path) == list(array.items)
    }


def _at(document: object, path: tuple[str, ...]) -> object:
    for step in path:
        document = document.get(step) if isinstance(document, dict) else None
    return document


def _key(node: TreeNode) -> tuple[str, ...]:
    """Return the steps of a key, which the grammar nests from the left."""
    if node.type == "dotted_key":
        return tuple(step for child in node.named_children for step in _key(child))
    said = (node.text or b"").decode("utf-8", errors="replace")
    return (
        (str(next(iter(tomllib.loads(f"{said} = 0")))),) if node.type == "quoted_key" else (said,)
    )


def _pair(
    node: TreeNode,
    path: tuple[str, ...],
    text: str,
    places: list[int],
    found: dict[tuple[str, ...], Array],
) -> None:
    key, *rest = node.named_children
    value = next((child for child in rest if child.type != "comment"), None)
    here = (*path, *_key(key))
    if value is None:
        return
    if value.type == "inline_table":
        for child in value.named_children:
            if child.type == "pair":
                _pair(child, here, text, places, found)
    elif value.type == "array":
        start, end = places[value.start_byte], places[value.end_byte]
        items = [child for child in value.named_children if child.type != "comment"]
        spans = tuple((places[child.start_byte], places[child.end_byte]) for child in items)
        commas = tuple(places[child.start_byte] for child in value.children if child.type == ",")
        found[here] = Array(
            start=start,
            end=end,
            parts=Parts(spans=spans, start=start + 1, end=end - 1, commas=commas),
            items=tuple(tomllib.loads(f"x = {text[slice(*span)]}")["x"] for span in spans),
        )
