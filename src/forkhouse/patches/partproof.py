"""Prove that an operation on one argument or item changed just that one.

A reader of the language has to count the parts as the edit does.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forkhouse.patches.backends import UnprovenError, backend, newline_at
from forkhouse.patches.edits import CodeOperation
from forkhouse.patches.finding import find
from forkhouse.patches.languages.astgrep import node_of
from forkhouse.patches.languages.trees import root_of, search
from forkhouse.patches.nodes import SHOWN, Shift, shift_of
from forkhouse.patches.partchanges import is_part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkhouse.patches.backends import Node, Parts, Span, Step
    from forkhouse.patches.edits import PartChange, Selector


def prove(step: Step) -> None:
    """Raise UnprovenError unless a changed part is read as one part, beside the same others."""
    operation = step.operation
    change = operation.argument or operation.item if isinstance(operation, CodeOperation) else None
    if change is None or not isinstance(operation, CodeOperation):
        return
    of_call = operation.argument is not None
    shift = shift_of(step)
    after = _holders(step, change.of)
    for node in find(step.before, change.of, step.language):
        start = shift.start(node.start)
        there = [_parts(each, of_call=of_call) for each in after if each.start == start]
        before = _parts(node, of_call=of_call)
        if before is not None and any(
            parts is not None and _fits(before, parts, change, shift, step) for parts in there
        ):
            if of_call and step.language == "cmake":
                _prove_words(node, [each for each in after if each.start == start], change, step)
            continue
        what, said = (
            ("argument" if of_call else "item"),
            " ".join((change.come or change.gone or "").split())[:SHOWN],
        )
        reason = (
            f"'{said}' would not be read as one {what}"
            if change.come is not None
            else f"without '{said}' there would be other {what}s"
        )
        message = (
            f"{reason} of {change.of.said()}. Quote or bracket it, or write an operation for each "
            f"{what}"
        )
        raise UnprovenError(message, text=step.before, position=node.start)


def _prove_words(node: Node, after: Sequence[Node], change: PartChange, step: Step) -> None:
    """Raise UnprovenError if CACHE or PARENT_SCOPE of a `set` becomes a value, or the reverse.

    CMake knows these words by their places at the end of the command. A `set` must not lose its
    last value either, as it would then unset the variable.
    """
    if (
        node.items is not None
        and node.items.spans
        and not any(each.items and each.items.spans for each in after)
    ):
        message = "without a value `set` unsets the variable. Use `item`, or replace the whole"
        raise UnprovenError(message, text=step.before, position=node.start)
    before = _words(node, step.before)
    expected = [before, [*before, change.come or ""]]
    if change.gone in before:
        place = before.index(change.gone)
        expected.append(
            [
                *before[:place],
                *([change.come] if change.come is not None else []),
                *before[place + 1 :],
            ]
        )
    if all(_words(each, step.after) in expected for each in after):
        return
    message = (
        "what `set` takes for words of its own, such as CACHE or PARENT_SCOPE, would be others "
        "then. Use `item`, or replace the whole"
    )
    raise UnprovenError(message, text=step.before, position=node.start)


def _words(node: Node, text: str) -> list[str]:
    """Return the arguments of a command that follow its values."""
    if node.items is None or node.arguments is None:
        return []
    end = max((span[1] for span in node.items.spans), default=node.items.start)
    return [text[slice(*span)] for span in node.arguments.spans if span[0] >= end]


def _parts(node: Node, *, of_call: bool) -> Parts | None:
    return node.arguments if of_call else node.items


def _holders(step: Step, selector: Selector) -> list[Node]:
    """Return what may hold the parts after the change.

    The argument by which a call was known is ignored, as the call may no longer have it.
    """
    if selector.pattern is None and selector.rule is None:
        return backend(step.language).find(
            step.after,
            selector.model_copy(update={"argument": None, "within": None}),
            step.language,
        )

    rule: dict[str, object] = (
        {"pattern": selector.pattern} if selector.pattern is not None else dict(selector.rule or {})
    )
    kinds = {node.kind() for node in search(root_of(step.before, step.language), rule)}
    found = search(
        root_of(step.after, step.language), {"any": [{"kind": kind} for kind in sorted(kinds)]}
    )
    return [node_of(node, step.language, step.after) for node in found]


def _fits(before: Parts, after: Parts, change: PartChange, shift: Shift, step: Step) -> bool:
    """Say whether the new parts are the old ones, except for the one that the change names."""
    come = (
        None
        if change.come is None
        else change.come.replace("\n", newline_at(step.before, before.start))
    )
    if come is not None and (
        (step.language == "cmake" and _is_list(come))
        or (step.language == "bash" and _is_expanded(come))
    ):
        return False  # the grammar reads these as one part, and the language does not
    wanted = [_wanted(span, change, shift, step.before) for span in before.spans]
    kept = [each for each in wanted if each != _GONE]
    # An added part may be at any place: the operation decides, for example before keywords.
    orders = (
        [kept]
        if change.add is None
        else [[*kept[:place], None, *kept[place:]] for place in range(len(kept) + 1)]
    )
    return any(_are(after.spans, expected, come, step.after) for expected in orders)


def _are(
    spans: Sequence[Span], expected: Sequence[Span | None], come: str | None, text: str
) -> bool:
    """Say whether parts stand at the expected places, and the new one, if any, is `come`."""
    return len(spans) == len(expected) and all(
        (text[slice(*span)] == come if place is None else span == place)
        for place, span in zip(expected, spans, strict=True)
    )


_GONE = (-1, -1)


def _wanted(span: Span, change: PartChange, shift: Shift, text: str) -> Span | None:
    """Return the expected place of a part; None if another replaces it, `_GONE` if it goes."""
    if change.gone is None or not is_part(text[slice(*span)], change.gone):
        return shift.start(span[0]), shift.end(span[1])
    return None if change.with_ is not None else _GONE


_QUOTED = re.compile(r"\\.|'[^']*'|\"(?:\\.|[^\"\\])*\"", re.DOTALL)
_BRACES = re.compile(r"(?<!\$)\{[^{}\s]*(?:,|\.\.)[^{}\s]*\}")


def _is_expanded(word: str) -> bool:
    """Say whether bash expands one word to several, or to none.

    It does so with the brackets of an array, and with braces around a comma or a range.
    """
    plain = _QUOTED.sub("Q", word)
    while (inner := re.sub(r"\$\{[^{}]*\}", "Q", plain)) != plain:
        plain = inner
    return word.startswith("(") or _BRACES.search(plain) is not None


def _is_list(argument: str) -> bool:
    """Say whether CMake makes several arguments of one.

    It divides unquoted text at semicolons.
    """
    return not argument.startswith(('"', "[")) and re.search(r"(?<!\\);", argument) is not None
