"""Turn insertions beside a match into the splices that they make."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches import parts as layout
from forkhouse.patches.backends import (
    Layout,
    indentation,
    is_blank,
    line_end,
    line_start,
    newline_at,
)
from forkhouse.patches.languages.places import ends_branch
from forkhouse.patches.languages.templates import filled

if TYPE_CHECKING:
    from forkhouse.patches.backends import Node, Splice
    from forkhouse.patches.edits import Place, Selector


def beside_item(
    place: Place, node: Node, selector: Selector, text: str, language: str
) -> list[Splice]:
    """Insert beside an item of a list between brackets, with a comma.

    Returns no splices if the match is not such an item.
    """
    if node.among is None or selector.anchor is not None:
        return []
    parts, position = node.among
    if parts.layout is not Layout.COMMAS or text[parts.start - 1 : parts.start] not in set("([{"):
        return []
    new = filled(place.text, node, selector, text, language).strip().strip(",").rstrip()
    position += place.before is None
    if position == len(parts.spans):
        return layout.added(text, parts, new, language)
    return layout.placed(text, parts, position, new, language)


def before(template: str, node: Node, selector: Selector, text: str, language: str) -> Splice:
    """Insert before a match.

    The text gets its own line if the match is the first on its line. It goes above the comments and
    attributes that belong to the match.
    """
    start, _ = node.whole
    spaces = indentation(text, start) if selector.anchor is None else None
    if selector.anchor is None:
        refuse_pragma(text, node, language)
    new = filled(template, node, selector, text, language)
    if selector.anchor is not None and not new.endswith("\n"):
        column = _column_of_own_lines(text, node)
        if column is not None:
            return start, start, f"{new}{newline_at(text, start)}{column}"
    _refuse_conditions(node, selector, language)
    if language in {"c", "cpp"} and node.instead == ";" and selector.anchor is None:
        message = (
            f"{selector.said()} is all of a branch or a loop without braces, or stands behind a "
            "label: what is put before it would take its place there. Replace it by a block with "
            "both."
        )
        raise PatchConflictError(message)
    _refuse_lines(new, node, selector, alone=spaces is not None)
    if (
        node.gone is not None
        and selector.anchor is None
        and "\n" not in new
        and (spaces is None or node.gone[1] > node.whole[1])
    ):
        return start, start, f"{new}; "  # it shares its line with other statements
    if spaces is not None and node.head is not None:
        start, own = node.head, spaces
        spaces = indentation(text, start)
        if spaces != own:  # the comments are indented otherwise than the code below them
            start = line_start(text, start)
            return start, start, f"{own}{new}{newline_at(text, start)}"
    return start, start, new if spaces is None else f"{new}{newline_at(text, start)}{spaces}"


_SENT = re.compile(r"[ \t]*&(?![&>])(?=[ \t]*(?:#.*)?\r?$)", re.MULTILINE)
"""The sign, at the end of a line, that runs a shell command in the background."""


def after(template: str, node: Node, selector: Selector, text: str, language: str) -> Splice:
    """Insert after a match.

    The text gets its own line if the match, except for a comment, is alone on its lines.
    """
    if language in {"c", "cpp"} and node.instead == ";":
        message = (
            f"{selector.said()} is all of a branch without braces, or of an arm of a `switch`: "
            "what is put behind it would stand outside, or "
            "where the arm ends. Replace it by a block, or by all that is to stand there."
        )
        raise PatchConflictError(message)
    start, end = node.whole
    spaces = indentation(text, start) if selector.anchor is None else None
    new = filled(template, node, selector, text, language)
    _refuse_conditions(replace(node, instead=None) if node.decides else node, selector, language)
    if selector.anchor is not None:
        _refuse_branch_end(text, node, selector, language)
        column = _column_of_own_lines(text, node)
        if column is not None and not new.startswith(("\n", "\r")):
            newline = newline_at(text, start)
            indented = "" if new[:1].isspace() else column
            return end, end, f"{newline}{indented}{new.removesuffix(newline)}"
    alone = is_blank(text[end : line_end(text, end)], language)
    _refuse_lines(new, node, selector, alone=alone)
    if (
        language == "bash"
        and selector.anchor is None
        and "<<" in text[start:end]
        and not (spaces is not None and alone)
    ):
        message = (
            f"{selector.said()} has a here-document, behind whose last word nothing may stand. "
            "Replace the whole of it."
        )
        raise PatchConflictError(message)
    if (
        node.gone is not None
        and selector.anchor is None
        and "\n" not in new
        and "&" not in text[end : node.gone[1]]
    ):
        return end, end, f"; {new}"  # it shares its line with other statements
    if language == "bash" and selector.anchor is None and (sign := _SENT.match(text, end)):
        end = sign.end()  # it runs in the background, as the sign behind it says
    stop = line_end(text, end)
    if spaces is not None and is_blank(text[end:stop], language):
        return stop, stop, f"{newline_at(text, start)}{spaces}{new}"
    return end, end, new


def _refuse_conditions(node: Node, selector: Selector, language: str) -> None:
    """Raise PatchConflictError for a shell command on whose success something depends.

    A command inserted beside it would decide instead.
    """
    if language in {"c", "cpp"} and node.instead is None and selector.call is not None:
        message = (
            f"The value of {selector.said()} is used where it stands, so nothing can be put beside "
            "it. Insert beside the whole statement, by a pattern or an anchor."
        )
        raise PatchConflictError(message)
    if language == "bash" and node.instead is None and selector.anchor is None:
        message = (
            f"{selector.said()} is part of a chain or a condition. Replace the whole of it, or "
            "insert beside the whole of it."
        )
        raise PatchConflictError(message)


def _refuse_lines(new: str, node: Node, selector: Selector, *, alone: bool) -> None:
    """Raise PatchConflictError for several new lines beside a statement that shares its line."""
    if "\n" in new and node.gone is not None and selector.anchor is None and not alone:
        message = (
            f"{selector.said()} shares its line with other code. Write what is inserted on one "
            "line, its statements parted by `;`, "
            "or replace the whole of it."
        )
        raise PatchConflictError(message)


_PRAGMA = re.compile(
    r"^[ \t]*#[ \t]*pragma[ \t]+"
    r"(?:omp|acc|unroll|nounroll|loop|ivdep|GCC[ \t]+(?:ivdep|unroll)|clang[ \t]+loop)\b"
)
"""A line that applies to the statement below it."""


def refuse_pragma(text: str, node: Node, language: str) -> None:
    """Raise PatchConflictError if a pragma stands directly above a match.

    It would apply to another statement afterwards.
    """
    if language not in {"c", "cpp"}:
        return
    above = text[: line_start(text, node.whole[0])].rstrip()
    line = above.rpartition("\n")[2]
    if _PRAGMA.match(line):
        message = (
            f"'{line.strip()}' stands over it and speaks of it. Change both together, by an "
            "`anchor`, in the language text."
        )
        raise PatchConflictError(message)


def _column_of_own_lines(text: str, node: Node) -> str | None:
    """Return the white space before an anchor that has whole lines for itself; None for others."""
    alone = not text[node.end : line_end(text, node.end)].strip()
    return indentation(text, node.start) if alone else None


def _refuse_branch_end(text: str, node: Node, selector: Selector, language: str) -> None:
    """Raise PatchConflictError if a match ends with the whole of a branch without braces."""
    if language in {"c", "cpp"} and ends_branch(text, language, node.end):
        message = (
            f"{selector.said()} ends with all of a branch without braces: what is put behind it "
            "would stand outside. Replace it by a block."
        )
        raise PatchConflictError(message)
