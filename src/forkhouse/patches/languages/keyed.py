"""Values of YAML and JSON by the path of their key: set one that is there, add one that is not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from forkhouse.patches.languages import is_blank, key_steps, line_end, line_start, newline_of
from forkhouse.patches.languages.astgrep import keyed, parts_of, root_of, span_of, unwrapped
from forkhouse.patches.parts import added

if TYPE_CHECKING:
    from ast_grep_py import SgNode

    from forkhouse.patches.languages import Splice


def written(value: object, language: str) -> str:
    """Write a value on one line."""
    value = list(value) if isinstance(value, tuple) else value
    if language == "json":
        return json.dumps(value, ensure_ascii=False)
    import yaml  # noqa: PLC0415  # start-up time

    said = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=2**31)
    return str(said).removesuffix("\n").removesuffix("\n...").removesuffix("\n")


def set_key(text: str, path: str, value: object, language: str) -> list[list[Splice]]:
    """Return for each place that has the key what puts the value there."""
    new = written(value, language)
    return [[_set(text, node, new)] for node in keyed(root_of(text, language), key_steps(path))]


def _set(text: str, node: SgNode, new: str) -> Splice:
    """Put a value behind a key or a dash, or in the place of an item."""
    start, end = span_of(node)
    sign = next((child.range().end.index for child in node.children() if child.kind() in {":", "-"}), None)
    if node.kind() not in {"block_mapping_pair", "flow_pair", "pair", "block_sequence_item"}:
        return start, end, new
    held = (
        node.field("value")
        if node.kind() != "block_sequence_item"
        else next((child for child in node.children() if child.is_named()), None)
    )
    if sign is None:  # a key of a flow mapping without a value
        return end, end, f": {new}"
    if held is None:
        return sign, sign, f" {new}"
    start, end = span_of(held)
    if line_start(text, sign) != line_start(text, start):  # a block below its key
        return sign, end, f" {new}"
    return start, end, new


def add_key(text: str, path: str, value: object, language: str) -> list[list[Splice]]:
    """Return for each mapping that the key belongs in, and that does not have it, what puts it last."""
    *parents, last = key_steps(path)
    matches = []
    for parent in keyed(root_of(text, language), tuple(parents)):
        holder = unwrapped(parent)
        if holder is None or keyed(holder, (last,)):
            continue
        key = json.dumps(last, ensure_ascii=False) if language == "json" else written(last, language)
        new = f"{key}: {written(value, language)}"
        if holder.kind() == "block_mapping":
            matches.append([_below(text, holder, new)])
            continue
        parts = parts_of(holder, language) if holder.kind() in {"object", "flow_mapping"} else None
        if parts is not None:
            matches.append(added(text, parts, new, language))
    return matches


def _below(text: str, holder: SgNode, new: str) -> Splice:
    """Put a line below the last pair of a mapping, as far to the right as the first one."""
    start, end = span_of(holder)
    stop = line_end(text, end)
    at = stop if is_blank(text[end:stop], "yaml") else end
    return at, at, f"{newline_of(text)}{' ' * (start - line_start(text, start))}{new}"
