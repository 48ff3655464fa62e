"""Turn operations on an argument or an item into the splices that they make."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches import parts as layout
from forkhouse.patches.backends import newline_at
from forkhouse.patches.finding import MatchError, find

if TYPE_CHECKING:
    from forkhouse.patches.backends import Parts, Splice
    from forkhouse.patches.edits import PartChange


def part_changes(
    text: str, change: PartChange, language: str, *, of_call: bool
) -> list[list[Splice]]:
    """Return for each part that an operation adds, removes or replaces what it changes.

    `of_call` says whether parts are arguments of a call, or else items of a list. Raises
    PatchConflictError.
    """
    found = []
    for node in find(text, change.of, language):
        parts = node.arguments if of_call else node.items
        if parts is None:
            what = "arguments" if of_call else "items"
            message = (
                f"{change.of.said()} has no {what} that can be told apart here. Replace the whole "
                "of it."
            )
            raise MatchError(message, anchor=change.of.said())
        if of_call and language == "bash":
            _refuse_end_of_options(text, parts, change)
        if change.add is not None:
            if not of_call:
                _refuse_known_key(text, parts, change.add, language)
            if language == "cmake" and not of_call and _is_empty_list(text, parts):
                message = (
                    f'{change.of.said()} is the empty list, written as "". Behind that, a value '
                    'would be the second one. Use `replace` for the "".'
                )
                raise PatchConflictError(message)
            found.append(
                _part_added(text, parts, change.add, language)
                if of_call
                else layout.added(text, parts, change.add, language)
            )
            continue
        for position, (start, end) in enumerate(parts.spans):
            if not is_part(text[start:end], change.gone or ""):
                continue
            if change.with_ is not None:
                found.append([(start, end, change.with_.replace("\n", newline_at(text, start)))])
            elif language == "cmake" and not of_call and len(parts.spans) == 1:
                message = (
                    f"{text[start:end]} is the only value of {change.of.said()}: without one `set` "
                    'unsets the variable, and what the cache holds comes back. Replace it by "" '
                    "for an empty list, or remove the whole."
                )
                raise PatchConflictError(message)
            else:
                found.append(layout.removed(text, parts, position, language))
    return found


_END_OF_OPTIONS = re.compile(r"--|'--'|\"--\"")
_MAY_BE_OPTION = re.compile(r"[\"']?[-$`*?\[]")
"""How a word of a shell begins that is an option, or that may become one."""


def _refuse_end_of_options(text: str, parts: Parts, change: PartChange) -> None:
    """Raise PatchConflictError for an option that would go behind `--`, or come before it.

    Behind that word, a command takes no options.
    """
    words = [text[start:end] for start, end in parts.spans]
    end = next((place for place, word in enumerate(words) if _END_OF_OPTIONS.fullmatch(word)), -1)
    if end < 0:
        return
    if change.add is not None and re.match(r"[\"']?-", change.add):
        message = (
            f"{change.add} would stand behind the `--` of {change.of.said()}, where it is no "
            "option of it. Replace a word beside which it is to stand by both."
        )
        raise PatchConflictError(message)
    later = next((word for word in words[end + 1 :] if _MAY_BE_OPTION.match(word)), "")
    if change.gone == words[end] and later:
        message = (
            f"Without the {words[end]} of {change.of.said()}, {later} may be an option. Replace "
            "the whole call."
        )
        raise PatchConflictError(message)


def _is_empty_list(text: str, parts: Parts) -> bool:
    """Say whether a `set` of CMake assigns the empty list to its variable."""
    return [text[slice(*span)] for span in parts.spans] == ['""']


_KEYED = {
    "python": re.compile(r"((?:[^\W\d]\w*|\d+|[\"'][^\"'\\]*[\"'])\s*):(?!=)"),
    **dict.fromkeys(("c", "cpp"), re.compile(r"((?:\.\w+|\[[^\]]+\])\s*)=(?!=)")),
    "bash": re.compile(r"(\[[^\]]+\])="),
}
"""How an item begins that has a key.

This is an entry of a dictionary, of an initializer with designators, or of an array with words for
subscripts.
"""


def _refuse_known_key(text: str, parts: Parts, new: str, language: str) -> None:
    """Raise PatchConflictError for a new item whose key another item has.

    Readers take the later one, so the other one would have no effect.
    """
    keyed = _KEYED.get(language)
    own = keyed.match(new) if keyed is not None else None
    if keyed is None or own is None:
        return
    for start, end in parts.spans:
        said = text[start:end]
        other = keyed.match(said)
        same = (
            other is not None
            and other[1].replace('"', "'").strip() == own[1].replace('"', "'").strip()
        )
        if said != new and same:
            message = (
                f"There is {' '.join(said.split())} already. Use `replace` with the whole of it."
            )
            raise PatchConflictError(message)


_WITH_KEYWORD = {
    "python": re.compile(r"[^\W\d]\w*\s*=(?!=)|\*\*"),
    "meson": re.compile(r"[^\W\d]\w*\s*:"),
}
"""How an argument begins that has a keyword, or that may stand for many.

No argument without a keyword may follow it.
"""


def _part_added(text: str, parts: Parts, new: str, language: str) -> list[Splice]:
    """Put an argument last; one without a keyword goes behind the others without one.

    Raises PatchConflictError if that is not possible.
    """
    keyword = _WITH_KEYWORD.get(language)
    if keyword is None:
        return layout.added(text, parts, new, language)
    said = [text[start:end] for start, end in parts.spans]
    first = next((place for place, each in enumerate(said) if keyword.match(each)), len(said))
    own = keyword.match(new)
    name = "" if own is None or own[0] == "**" else new[: own.end()]
    there = next((each for each in said if name and is_part(each, "".join(name.split()))), None)
    if there is not None and there != new:
        message = (
            f"The call has {' '.join(there.split())} already. Use `replace: "
            f"{''.join(name.split())}` with the whole of it."
        )
        raise PatchConflictError(message)
    if own is not None or first == len(said):
        return layout.added(text, parts, new, language)
    late = next(
        (each for each in said[first:] if each.startswith("*") and not each.startswith("**")), None
    )
    if late is not None:
        message = (
            f"{new} would have to stand before {said[first]}, and so before {late}, whose values "
            "would be other arguments then. "
            "Replace the whole call."
        )
        raise PatchConflictError(message)
    return layout.placed(text, parts, first, new, language)


_KEYWORD = re.compile(r"([^\s=:]+)[ \t]*+[=:](?![=:])")


def is_part(said: str, wanted: str) -> bool:
    """Say whether an argument or item is the one that an edit names.

    The edit names it as it is written, or only by its keyword.
    """
    if said == wanted:
        return True
    return wanted.endswith(("=", ":")) and keyword_of(said) == wanted[:-1].strip()


def keyword_of(said: str) -> str | None:
    """Return the keyword that an argument or item begins with, or None."""
    found = _KEYWORD.match(said)
    return None if found is None else found[1]
