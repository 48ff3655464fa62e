"""Let a structural edit name the new place of a file.

The YAML node of the path changes, and no other byte of the document.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PROPERTIES = re.compile(r"(?:[&!]\S*[ \t]+)*")
"""An anchor or a tag, which stands before a value and stays."""
_PLAIN = re.compile(r"[A-Za-z0-9_./+-]+")


def renamed_paths(text: str, moved: Mapping[str, str]) -> str:
    """Return the text of an edit in which every path that is a key of `moved` is that key's value.

    Paths are those of its edits and those where its conditions look. What else has the same letters
    (a description, a longer path, code that is put somewhere) stays.
    """
    spans = {}
    for node in _path_nodes(yaml.compose(text, Loader=yaml.SafeLoader)):
        if node.value in moved:
            spans[node.start_mark.index] = (node.end_mark.index, node)
    for start, (end, node) in sorted(spans.items(), reverse=True):
        properties = match[0] if (match := _PROPERTIES.match(text, start, end)) else ""
        text = text[:start] + properties + _written(moved[node.value], node.style) + text[end:]
    return text


def _path_nodes(root: yaml.Node | None) -> Iterator[yaml.ScalarNode]:
    for edit in _items(_value(root, "edits")):
        yield from _scalars(_value(edit, "path"))
    for condition in _items(_value(root, "after")):
        if isinstance(condition, yaml.MappingNode):
            for _, asked in condition.value:
                yield from _scalars(_value(asked, "in"))


def _value(node: yaml.Node | None, key: str) -> yaml.Node | None:
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return next((value for name, value in pairs if name.value == key), None)


def _items(node: yaml.Node | None) -> list[yaml.Node]:
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _scalars(node: yaml.Node | None) -> Iterator[yaml.ScalarNode]:
    for each in [node] if isinstance(node, yaml.ScalarNode) else _items(node):
        if isinstance(each, yaml.ScalarNode):
            yield each


def _written(path: str, style: str | None) -> str:
    """Write a path as the old one was written, quoted where it has to be."""
    if style == '"':
        return json.dumps(path, ensure_ascii=False)
    if style is None and _PLAIN.fullmatch(path) and yaml.safe_load(path) == path:
        return path
    quoted = "'" + path.replace("'", "''") + "'"
    # The end of a block scalar is the beginning of the next line.
    return f"{quoted}\n" if style in {"|", ">"} else quoted
