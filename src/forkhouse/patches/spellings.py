"""Find other ways to write what an edit looks for.

Code that is not found as it is written may be there in another spelling, and then it is not gone.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from forkhouse.patches.languages.declarations import requirement_of

if TYPE_CHECKING:
    from packaging.requirements import Requirement

MEANINGFUL = 8
"""The number of characters from which on a piece of code is significant when it is found."""
_BESIDE = r"\s;,\"'()\[\]{}<>:="
"""Characters between the parts of a list that is written as one text."""
_FILLED = 200
"""The greatest number of characters that a metavariable stands for here."""


_VARIABLE = re.compile(r"\${1,3}[A-Z_][A-Z0-9_]*")


def weight(text: str) -> int:
    """Return how many letters, digits and underscores a text has, by which it says something."""
    return len(re.sub(r"\W", "", text))


@lru_cache(maxsize=64)
def respelled(code: str) -> re.Pattern[str]:
    """Return a pattern for code with any quotes and any white space between its tokens."""
    pieces, last = [], ""
    for piece in re.findall(rf"{_VARIABLE.pattern}|\w+|[^\w\s]", code):
        if _VARIABLE.fullmatch(piece):
            pieces.append(rf"[\s\S]{{0,{_FILLED}}}?")
        else:
            apart = re.fullmatch(r"\w+\s\w+", f"{last} {piece}") is not None
            pieces.append(
                (r"\s+" if apart else r"\s*") + ("[\"']" if piece in "\"'" else re.escape(piece))
            )
        last = piece
    begins, ends = (
        (r"(?<!\w)" if re.match(r"\w", code.strip()) else ""),
        (r"(?!\w)" if re.search(r"\w$", code.strip()) else ""),
    )
    return re.compile(begins + "".join(pieces).removeprefix(r"\s*") + ends)


_LITERAL = r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'"


@lru_cache(maxsize=64)
def worded(code: str) -> re.Pattern[str]:
    """Return a pattern for code with white space of any length, except in quotes."""
    pieces = [
        re.escape(piece)
        if place % 2
        else r"\s+".join(re.escape(word) for word in re.split(r"\s+", piece))
        for place, piece in enumerate(re.split(rf"({_LITERAL})", code.strip()))
    ]
    return re.compile(rf"(?<!\w){''.join(pieces)}(?!\w)")


@lru_cache(maxsize=64)
def laid_out(code: str, language: str) -> re.Pattern[str]:
    """Return a pattern for code with other white space where that has no meaning.

    It has one in quotes, and between the words of a shell.
    """
    if language in {"text", "bash", "cmake"}:
        return worded(code)
    found, last = "", ""
    for piece in re.findall(rf"{_LITERAL}|\w+|[^\w\s]", code):
        apart = re.search(r"\w$", last) is not None and re.match(r"\w", piece) is not None
        found += (r"\s+" if apart else r"\s*" if last else "") + re.escape(piece)
        last = piece
    return re.compile(
        (r"(?<!\w)" if re.match(r"\w", code.strip()) else "")
        + found
        + (r"(?!\w)" if re.search(r"\w$", last) else "")
    )


def stands(text: str, code: str) -> re.Match[str] | None:
    """Find a piece of code in any layout.

    A pattern that is not significant by itself is not looked for.
    """
    # Blanks for continued lines keep all positions.
    text = re.sub(r"\\\r?\n", lambda match: " " * len(match[0]), text)
    return respelled(code).search(text) if tells(code) else None


def stands_apart(text: str, code: str) -> bool:
    """Say whether the words of a piece of code stand on one line, with other signs between them.

    `--gpus all` and `--gpus=all` are such. A single word does not count.
    """
    words = re.findall(r"\w+", code)
    if len(words) < 2 or sum(map(len, words)) < MEANINGFUL - 1:
        return False
    apart = r"[^\w\n]+".join(re.escape(word) for word in words)
    return re.search(rf"(?<!\w){apart}(?!\w)", text) is not None


def tells(code: str) -> bool:
    """Say whether code has no metavariables, or enough other text to be looked for."""
    told = _VARIABLE.sub("", code)
    return told == code or len(re.sub(r"\s", "", told)) >= MEANINGFUL


def words_of(code: str) -> list[str]:
    """Return the words of a piece of code without its metavariables."""
    return re.findall(r"\w+", _VARIABLE.sub("", code))


def bare(part: str) -> str:
    """Return an argument or item without the quotes around it, or the sign behind its keyword."""
    part = part.strip()
    quoted = len(part) > 1 and part[0] in "\"'" and part[-1] == part[0]
    return (part[1:-1] if quoted else part).rstrip("=:").strip()


def mentions(text: str, part: str) -> int:
    """Count how often an argument or item stands in a text as a word, in any quotes or list."""
    words = bare(part)
    return (
        len(re.findall(rf"(?:(?<=[{_BESIDE}])|^){re.escape(words)}(?=[{_BESIDE}]|$)", text))
        if words
        else 0
    )


def is_same(part: str, wanted: str, language: str) -> bool:
    """Say whether two arguments or items mean the same despite other quotes or another layout."""
    if part == wanted:
        return True
    quoted = bare(part) != part.strip() and bare(wanted) != wanted.strip()
    if bare(part) == bare(wanted) and (quoted or language in {"bash", "cmake"}):
        return True
    if language == "cmake" and part.startswith('"'):
        return bare(wanted) in re.split(r"(?<!\\);", bare(part))
    one, other = requirement_of(bare(part)), requirement_of(bare(wanted))
    if one is None or other is None or not (quoted or language in {"toml", "yaml", "json"}):
        return False
    return canonicalize_name(one.name) == canonicalize_name(other.name) and _terms(one) == _terms(
        other
    )


def _terms(requirement: Requirement) -> tuple[object, ...]:
    return requirement.specifier, requirement.extras, requirement.url, str(requirement.marker)


def may_be(part: str, wanted: str) -> bool:
    """Say whether a part may be another one, or contain it.

    It may differ in blanks, quotes or version, or stand in a list within quotes.
    """
    return (
        _loosely(part) == _loosely(wanted)
        or mentions(part, wanted) > 0
        or _asks_for_the_same(bare(part), bare(wanted))
    )


def _loosely(part: str) -> str:
    """Return a part without blanks, quotes and a leading `./`.

    Some languages do not distinguish parts that differ only by those.
    """
    return re.sub(r"[\s\"']", "", part).removeprefix("./")


def _asks_for_the_same(part: str, wanted: str) -> bool:
    """Say whether two parts require one distribution, and one says more than its name."""
    one, other = requirement_of(part), requirement_of(wanted)
    if one is None and other is not None and part.startswith("{"):
        return mentions(part, other.name) > 0  # a table that tells of it
    if one is None or other is None or canonicalize_name(one.name) != canonicalize_name(other.name):
        return False
    return any(each.specifier or each.url or each.extras or each.marker for each in (one, other))
