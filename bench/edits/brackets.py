"""Find the parts between brackets and commas, from pieces of code alone, in any language."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.edits.code import Range
    from bench.edits.stream import Token

OPENING = {"(": ")", "[": "]", "{": "}"}


def pairs(code: Sequence[Token], *, kinds: frozenset[str]) -> dict[int, int]:
    """Return the position of the closing bracket for each opening one.

    Only pieces of the given kinds are brackets. Empty when they do not all match.
    """
    found: dict[int, int] = {}
    stack: list[int] = []
    for number, token in enumerate(code):
        if token.kind not in kinds:
            continue
        if token.text in OPENING:
            stack.append(number)
        elif token.text in OPENING.values():
            if not stack or OPENING[code[stack[-1]].text] != token.text:
                return {}
            found[stack.pop()] = number
    return found if not stack else {}


def split(
    code: Sequence[Token], closed: dict[int, int], opening: int
) -> tuple[tuple[Range, ...], bool]:
    """Return the pieces between the commas of a pair of brackets.

    The second value says whether a comma follows the last piece.
    """
    closing = closed[opening]
    found: list[Range] = []
    begun = at = opening + 1
    while at < closing:
        if at in closed:
            at = closed[at]
        elif code[at].text == ",":
            found.append((begun, at))
            begun = at + 1
        at += 1
    if begun < closing:
        return (*found, (begun, closing)), False
    return tuple(found), bool(found)
