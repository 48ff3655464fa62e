"""Explain why an operation found nothing, and what to write instead.

The true reason is given where it is known.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches.backends import line_end, line_start
from forkhouse.patches.edits import CodeOperation, KeyOperation, RequirementOperation
from forkhouse.patches.finding import find
from forkhouse.patches.keypaths import key_steps, path_said
from forkhouse.patches.languages import trees, wellformed
from forkhouse.patches.languages.data import LANGUAGES, Kind, look, read
from forkhouse.patches.languages.requirements import why_not_added

if TYPE_CHECKING:
    from forkhouse.patches.edits import Operation, PartChange, Selector


def why_nothing(text: str, operation: Operation, language: str) -> str:
    """Return why an operation matched nothing, or too little.

    Returns an empty text if no reason is known.
    """
    try:
        match operation:
            case KeyOperation():
                return _missing_key(text, operation, language)
            case RequirementOperation(requirement=change) if change.add is not None:
                return why_not_added(text, change)
            case CodeOperation() if language not in LANGUAGES:
                return _missing_code(text, operation, language)
    except PatchConflictError:
        pass
    return ""


def where_broken(text: str, language: str) -> str:
    """Return where a file is not well formed, and why, or an empty text if that is not known."""
    if language == "python":
        try:
            compile(text.removeprefix("\ufeff"), "<edited>", "exec", dont_inherit=True)
        except SyntaxError as error:
            return f"Python would say: line {error.lineno}: {error.msg}."
        except (ValueError, RecursionError, MemoryError, OverflowError):
            return ""
    try:
        if language in LANGUAGES:
            read(text, language)
        elif language in {"c", "cpp", "rust", "bash"}:
            place = wellformed.first_fault(text, language)
            if place is not None:
                line = text[line_start(text, place) : line_end(text, place)].strip()
                return (
                    f"Its grammar stops at line {text.count(chr(10), 0, place) + 1}: "
                    f"'{line[:SHOWN]}'."
                )
    except PatchConflictError as error:
        return str(error)
    return ""


SHOWN = 60
"""The number of characters of a line that a message shows."""


def _missing_key(text: str, operation: KeyOperation, language: str) -> str:
    data, steps = read(text, language), key_steps(operation.path)
    depth = next(
        (
            each
            for each in range(len(steps) - 1, 0, -1)
            if look(data, path_said(steps[:each]), operation.document) is not None
        ),
        0,
    )
    above = look(data, path_said(steps[:depth]), operation.document) if depth else None
    said = ".".join(steps[:depth]) or "the top of the file"
    if above is not None and above.entry.value.kind is Kind.SEQUENCE:
        return (
            f"{said} is a list of {len(above.entry.value.entries)}, counted from 0, and has no "
            f"{steps[depth]}."
        )
    if above is not None and above.entry.value.kind is not Kind.MAPPING:
        return f"{said} is {above.entry.value.what}, and holds no keys."
    if operation.add is not None and depth + 1 < len(steps):
        missing = (
            path_said(steps[: depth + 1])
            if any("." in step for step in steps)
            else ".".join(steps[: depth + 1])
        )
        return (
            f"There is no {missing} that could hold {steps[-1]}. If it is to be made, `add: "
            f"{missing}` with a mapping for its value; "
            "if the upstream renamed it, name it as it is called there."
        )
    return f"{said} has no key {steps[depth]}." if depth else ""


def _missing_code(text: str, operation: CodeOperation, language: str) -> str:
    change = operation.argument or operation.item
    if change is not None and (
        said := _missing_part(text, change, language, of_call=operation.argument is not None)
    ):
        return said
    place = operation.insert
    selectors = (
        operation.replace,
        operation.wrap,
        operation.remove,
        place.before if place else None,
        place.after if place else None,
    )
    selector = next(
        (each for each in (*selectors, change.of if change else None) if each is not None), None
    )
    if selector is not None and selector.pattern is not None:
        return _shorter(text, selector, language)
    return (
        _missing_call(text, selector, language)
        if selector is not None and selector.call is not None
        else ""
    )


def _missing_call(text: str, selector: Selector, language: str) -> str:
    """Say which arguments a call has without the selected one, or that it is a macro.

    Returns an empty text when neither is the case.
    """
    if selector.argument is not None:
        found = find(text, selector.model_copy(update={"argument": None}), language)
        if found and found[0].arguments is not None:
            said = [" ".join(text[start:end].split()) for start, end in found[0].arguments.spans]
            line = text.count("\n", 0, found[0].start) + 1
            return (
                f"{selector.call} in line {line} has no argument {selector.argument}, but "
                f"{', '.join(said) or 'none at all'}."
            )
    if language not in {"c", "cpp"}:
        return ""

    read_as = trees.readable(text, language)
    for each in re.finditer(rf"(?<!\w){re.escape(selector.call or '')}(?=\s*\()", text):
        if not read_as[each.start() : each.end()].strip():
            line = text.count("\n", 0, each.start()) + 1
            return (
                f"{selector.call} in line {line} has no semicolon behind it, so it counts as a "
                "macro of what follows. Edit it by an `anchor`, in the language text."
            )
    return ""


def _missing_part(text: str, change: PartChange, language: str, *, of_call: bool) -> str:
    nodes = find(text, change.of, language)
    if not nodes or change.gone is None:
        return ""
    parts = nodes[0].arguments if of_call else nodes[0].items
    said = (
        [" ".join(text[start:end].split()) for start, end in parts.spans]
        if parts is not None
        else []
    )
    line = text.count("\n", 0, nodes[0].start) + 1
    what = "argument" if of_call else "item"
    return (
        f"{change.of.said()} stands in line {line}, and has no {what} {change.gone}, but "
        f"{', '.join(said) or 'none at all'}. Name one as it stands there."
    )


_MANY = re.compile(
    r"\s*,\s*\$\$\$[A-Z_][A-Z0-9_]*(?=\s*[)\]}])|(?<=[(\[{])\s*\$\$\$[A-Z_][A-Z0-9_]*\s*,\s*"
)
"""A metavariable for any number of nodes, with the comma before or behind it, in a pattern."""


def _shorter(text: str, selector: Selector, language: str) -> str:
    """Say where a pattern would match without a metavariable for any number of nodes.

    Such a pattern does not match without the comma beside the metavariable.
    """
    pattern = selector.pattern or ""
    shorter = _MANY.sub("", pattern)
    found = (
        find(text, selector.model_copy(update={"pattern": shorter}), language)
        if shorter != pattern
        else []
    )
    if not found:
        return ""
    said = " ".join(text[found[0].start : found[0].end].split())
    line = text.count("\n", 0, found[0].start) + 1
    return (
        f"'{said}' in line {line} is not matched: the comma beside `$$$` in the pattern has to be "
        "in the code, too. "
        f"Write an operation for {shorter} besides."
    )
