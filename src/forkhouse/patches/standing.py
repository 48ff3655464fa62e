"""Decide whether a text stands beside or around a place, in any layout."""

from __future__ import annotations

import ast
import re
from textwrap import dedent
from typing import TYPE_CHECKING

from forkhouse.patches.backends import indentation, is_blank, line_end, line_start, newline_at
from forkhouse.patches.edits import (
    Selector,
)
from forkhouse.patches.finding import find, scope_of
from forkhouse.patches.languages import cmake
from forkhouse.patches.languages.places import is_beside, is_code, is_whole
from forkhouse.patches.spellings import laid_out, worded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkhouse.patches.backends import Node, Span


def results(text: str, new: str, selector: Selector, language: str) -> list[int]:
    """Return where the replacement of a selected piece stands, within the selector's scope."""
    if selector.pattern is not None and re.search(r"\$[A-Z_]", new):
        # What a pattern with metavariables was replaced by is a pattern itself.
        return [
            node.start
            for node in find(text, Selector(pattern=new, within=selector.within), language)
        ]
    start, end = scope_of(text, selector, language)
    found = [each.start() for each in worded(new).finditer(text, start, end)]
    return (
        found
        if selector.anchor is not None
        else [place for place in found if _is_code(text, language, place)]
    )


def _is_code(text: str, language: str, place: int) -> bool:
    """Say whether a place is code, and not in a comment or a literal.

    Without a grammar for the language, every place counts as code.
    """
    if language in _PARSED:
        return is_code(text, language, place)
    if language == "cmake":
        return cmake.is_code(text, place)
    return True


def stands_loosely(language: str, text: str, node: Node, new: str, *, before: bool) -> bool:
    """Say whether a text stands at a place, without regard to white space.

    A second insertion would double it, whatever its layout.
    """
    # A comma, or a semicolon between statements of one line, belongs to neither.
    wanted = "".join(new.split()).strip(",").rstrip(";")
    start, end = node.whole
    window = _window(new)
    if before:
        # What was put before a function may have become a part of it: a decorator.
        own = "".join(text[start : min(node.start, start + window)].split())
        places = [start] if node.head is None else [node.head, start]
        if not is_blank(new.rstrip().rpartition("\n")[2], language):
            places = [
                each for place in places for each in _above_comments(text, place, window, language)
            ]
        return own.startswith(wanted) or any(
            _squeezed(text, max(0, place - window), place).endswith(wanted) for place in places
        )
    behind = end + len(text[end:]) - len(text[end:].lstrip(" \t,;"))
    places = [end, behind, *_below_comments(text, behind, window, language)]
    return any(
        "".join(text[place : place + window].split()).lstrip(";,").startswith(wanted)
        for place in places
    )


def _above_comments(text: str, place: int, window: int, language: str) -> Iterator[int]:
    """Yield the positions where code may end before a place.

    A comment behind that code, and comments on lines of their own, are skipped.
    """
    at, least = place, max(0, place - window)
    while at > least:
        above = text[:at].rstrip()
        start = line_start(text, len(above))
        line = text[start : len(above)]
        cut = next(
            (
                found.start()
                for found in _SIGN.finditer(line)
                if is_blank(line[found.start() :], language)
            ),
            None,
        )
        yield start + cut if cut is not None else at
        if cut is None:
            return
        if line[:cut].strip():
            return
        at = start


def _below_comments(text: str, place: int, window: int, language: str) -> Iterator[int]:
    """Yield the ends of lines behind a place that hold nothing but comments."""
    at = place
    while at < min(len(text), place + window):
        stop = line_end(text, at)
        if not is_blank(text[at:stop], language):
            return
        yield stop
        at = stop + len(newline_at(text, stop))


_SIGN = re.compile(r"#|//|/\*|%|;")
"""The first characters of a comment."""


def _squeezed(text: str, start: int, end: int) -> str:
    return "".join(text[start:end].split()).rstrip(";,")


def _window(new: str) -> int:
    """Return how far from a place a text is looked for.

    White space of any length may be between them, but within a bound, so that the search stays
    linear.
    """
    return 8 * len(new) + 1024


def stands_there(
    language: str,
    text: str,
    node: Node,
    new: str,
    *,
    before: bool,
) -> bool:
    """Say whether a text stands at a place, with other white space only without effect."""
    wanted = laid_out(new if language == "text" else _parted(new), language)
    start, end = node.whole
    if not before:
        places = [wanted.match(text, each) for each in _behind(text, end, language)]
    else:
        upper = [start] if node.head is None else [start, node.head]
        ends = [_last_before(text, each, language) for each in upper]
        places = [
            re.compile(wanted.pattern + r"\Z").search(text, max(0, each - _window(new)), each)
            for each in ends
        ]
        places.append(wanted.match(text, start, node.start))
    return any(
        _stands_alone(text, found, language) and _is_same_code(text, node, found, new, language)
        for found in places
        if found is not None
    )


def _behind(text: str, end: int, language: str) -> tuple[int, ...]:
    """Return the positions where text behind a match may begin.

    White space, the separator of the match, and a comment on its line are skipped.
    """
    found = _PARTED.match(text, end) if language != "text" else None
    apart = end + len(text[end:]) - len(text[end:].lstrip())
    behind = found.end() if found else apart
    stop = line_end(text, behind)
    if not is_blank(text[behind:stop], language):
        return apart, behind
    return apart, behind, stop + len(text[stop:]) - len(text[stop:].lstrip())


def _parted(new: str) -> str:
    """Return an inserted text without the separator that divides it from the match.

    A comma, or a semicolon between statements, belongs to neither of them.
    """
    new = new.strip().strip(",")
    return new if new.endswith(";;") else new.removesuffix(";")


def _last_before(text: str, place: int, language: str) -> int:
    """Return the end of the text before a match, without the separator between them."""
    above = text[:place].rstrip()
    return (
        len(above)
        if language == "text" or not above.endswith((",", ";")) or above.endswith(";;")
        else len(above[:-1].rstrip())
    )


_PARSED = frozenset({"python", "c", "cpp", "rust", "bash"})
"""Languages whose grammar can say what a whole construct is."""


_PARTED = re.compile(r"\s*(?:,|;(?!;))?\s*")


def _stands_alone(text: str, found: re.Match[str], language: str) -> bool:
    """Say whether code is not a part of other code on its lines.

    `g(1)` is a part in `x = g(1)` and in `g(1).h`.
    """
    start, end = found.span()
    before, behind = text[line_start(text, start) : start].rstrip(), text[end : line_end(text, end)]
    begins = not before or before[-1] in (";{}([,:&|)" if language == "bash" else ";{}([,:&|")
    # A single `&` in a shell lets the command run beside what follows.
    ends = (
        is_blank(behind, language)
        or re.match(r"[;{})\],|]|&&" if language == "bash" else r"[;{})\],|&]", behind.lstrip())
        is not None
    )
    return language == "text" or (begins and ends)


def _is_same_code(text: str, node: Node, found: re.Match[str], new: str, language: str) -> bool:
    """Say whether a text that was found has the same meaning as the one that was looked for.

    It has to consist of whole constructs beside the match. In Python, its syntax tree has to be the
    same, too.
    """
    if language in _PARSED and not _is_beside(text, node, found, language):
        return False
    if language != "python":
        return True
    spaces, own = indentation(text, found.start()), indentation(text, node.whole[0])
    if spaces is not None and own is not None and spaces != own:
        return False
    try:
        return ast.dump(ast.parse(dedent(f"{spaces or ''}{found[0]}"))) == ast.dump(
            ast.parse(dedent(f"{own or ''}{new}"))
        )
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return found[0].split() == new.split()  # no code by itself: a decorator


def _is_beside(text: str, node: Node, found: re.Match[str], language: str) -> bool:

    start, end = node.whole
    if start <= found.start() < end:
        return True  # a decorator or an attribute, which belongs to the match
    return is_beside(text, language, found.span(), start)


def lies_in(text: str, span: Span, head: str, tail: str, language: str) -> bool:
    """Say whether a piece of text stands between two others, but for white space and `;`."""
    before, behind = "".join(head.split()), "".join(tail.split()).removeprefix(";")
    # White space of any length may be between, within a bound.
    width = 8 * (len(head) + len(tail)) + 1024
    start, end = span
    rest = text[end : line_end(text, end)]
    end += len(rest) if is_blank(rest, language) else 0  # a comment behind it belongs to it
    left, right = text[max(0, start - width) : start], text[end : end + width]
    right = right.lstrip().removeprefix(";")
    inside = "".join(left.split()).endswith(before) and "".join(right.split()).startswith(behind)
    return inside and not _cuts(left[::-1], len(before)) and not _cuts(right, len(behind))


def _cuts(text: str, length: int) -> bool:
    """Say whether the first characters of a text, without white space, end within a word."""
    places = [place for place, character in enumerate(text) if not character.isspace()][:length]
    return bool(places) and re.match(r"\w\w", text[places[-1] : places[-1] + 2]) is not None


def is_inside(text: str, span: Span, head: str, tail: str, language: str) -> bool:
    """Say whether a piece of text stands in what would be put around it.

    Both together have to be whole constructs.
    """
    start, end = span
    width = _window(head + tail)
    rest = text[end : line_end(text, end)]
    behind = end + (len(rest) if is_blank(rest, language) else 0)
    closing = tail.strip().removeprefix(";").removesuffix(";").strip()
    first = re.compile(_around(head, language) + r"\s*\Z").search(
        text, max(0, start - width), start
    )
    last = (
        re.compile(r"\s*;?\s*" + _around(closing, language)).match(text, behind, behind + width)
        if closing
        else None
    )
    if first is None or (closing and last is None):
        return False
    # Comments that are put around something are no part of a construct.
    whole = (
        start if _says_nothing(head, language) else first.start(),
        end if last is None or _says_nothing(tail, language) else last.end(),
    )
    if language in _PARSED:
        return is_whole(text, language, whole)
    return (
        re.search(r"[\w.$]$", text[: whole[0]][-1:]) is None
        and re.match(r"[\w.(\[]", text[whole[1] : whole[1] + 1]) is None
    )


def _says_nothing(piece: str, language: str) -> bool:
    return all(is_blank(line, language) for line in piece.splitlines())


def _around(piece: str, language: str) -> str:
    return laid_out(piece, language).pattern if piece.strip() else ""
