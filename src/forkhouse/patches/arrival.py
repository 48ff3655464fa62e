"""Decide whether the effect of an edit came about after the pin.

It has to be at its place, under its conditions, and must not have been there before by chance.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches.edits import (
    CodeOperation,
    KeyOperation,
    LineChange,
    PartChange,
    RequirementOperation,
    Selector,
)
from forkhouse.patches.effects import is_done, said_parts, selected_after, selects_itself
from forkhouse.patches.elsewhere import parts_gone, stays
from forkhouse.patches.finding import find
from forkhouse.patches.languages.branches import branches
from forkhouse.patches.languages.changes import left_by
from forkhouse.patches.languages.data import LANGUAGES, entries, look, read, seen
from forkhouse.patches.languages.imports import imports, meaning
from forkhouse.patches.languages.requirements import nameless
from forkhouse.patches.partchanges import keyword_of
from forkhouse.patches.sameplace import other_target
from forkhouse.patches.spellings import mentions
from forkhouse.patches.standing import results

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkhouse.patches.edits import Operation


def came_about(before: str, now: str, operation: Operation, language: str) -> bool:
    """Say whether an operation's effect is in a file now and came there after the pin.

    An effect that the file showed at the pin already, by chance, does not count.
    """
    if not is_done(now, operation, language) or stays(before, now, operation, language):
        return False
    if other_target(before, now, operation, language):
        return False
    try:
        match operation:
            case CodeOperation(replace=Selector() as selector):
                return _came_in_place(before, now, operation, selector, language)
            case CodeOperation(argument=PartChange() as change) if selects_itself(change):
                after = selected_after(change)
                more = len(find(now, after, language)) > len(find(before, after, language))
                return more and _is_for_its_parameter(before, now, operation, change, language)
            case CodeOperation(argument=PartChange(add=str()) as change):
                return _is_for_its_parameter(before, now, operation, change, language)
            case (
                CodeOperation(include=LineChange() as change)
                | CodeOperation(import_=LineChange() as change)
            ) if change.gone is not None:
                include = operation.include is not None
                if include and len(_NAMED_BY_MACRO.findall(now)) > len(
                    _NAMED_BY_MACRO.findall(before)
                ):
                    return False
                # It applies to the whole file, unless the old one was local or under a condition.
                return (
                    change.come is None
                    or _is_for_all(now, change.come, language, include=include)
                    or not _is_for_all(before, change.gone, language, include=include)
                )
            case KeyOperation(remove=str(path)):
                return _went(before, now, path, operation.document, language)
            case RequirementOperation(requirement=change) if change.gone is not None:
                return nameless(now) <= nameless(before)
            case (
                CodeOperation(argument=PartChange() as change)
                | CodeOperation(item=PartChange() as change)
            ) if language not in LANGUAGES:
                return change.gone is None or (
                    _is_nowhere_else(before, now, operation, change, language)
                    and (
                        operation.argument is None
                        or _is_for_its_parameter(before, now, operation, change, language)
                    )
                )
    except PatchConflictError:
        return False
    return True


def _went(before: str, now: str, path: str, document: int | None, language: str) -> bool:
    """Say whether the value of a path is gone, and not at another place or number."""
    place = look(read(before, language), path, document)
    if place is None:
        return False
    names = [
        Counter(entry.name for top in read(text, language).documents for *_, entry in entries(top))
        for text in (before, now)
    ]
    name = place.entry.name
    if name is not None:
        return names[1][name] < names[0][name]
    was = seen(place.entry.value, ordered=True)
    tops = read(now, language).documents
    return not any(
        seen(entry.value, ordered=True) == was for top in tops for *_, entry in entries(top)
    )


def _is_for_its_parameter(
    before: str, now: str, operation: CodeOperation, change: PartChange, language: str
) -> bool:
    """Say whether a new argument is for the parameter that the operation gives it to.

    For an argument without a keyword, the arguments before it decide that.
    """
    come = change.come
    if come is None or keyword_of(come) is not None or come.startswith(("-", "**")):
        return True
    changed = left_by(before, operation, language)
    if selects_itself(change):
        change = change.model_copy(update={"of": selected_after(change)})
    return _before_it(now, change, language) <= _before_it(changed, change, language)


def _is_for_all(text: str, said: str, language: str, *, include: bool) -> bool:
    """Say whether an import stands for the whole file."""
    wanted = meaning(said, language)
    return any(
        line.top and wanted in line.meanings for line in imports(text, language, include=include)
    )


def _came_in_place(
    before: str, now: str, operation: CodeOperation, selector: Selector, language: str
) -> bool:
    """Say whether the replacement of something stands where the operation would put it.

    It has to be on the same line, under the same conditions.
    """
    new = operation.with_ or ""
    if len(results(now, new, selector, language)) <= len(results(before, new, selector, language)):
        return False
    changed = left_by(before, operation, language)
    if not _left_lines(before, changed, new) <= _said_lines(now):
        return False
    old, wanted, there = (
        Counter(branches(text, place, language) for place in results(text, new, selector, language))
        for text in (before, changed, now)
    )
    return bool(find(before, selector, language)) and wanted - old <= there - old


_NAMED_BY_MACRO = re.compile(r"^[ \t]*#[ \t]*include(?:_next)?[ \t]+[A-Za-z_]", re.MULTILINE)
"""An include whose file only a macro names."""


def _before_it(text: str, change: PartChange, language: str) -> set[tuple[str, ...]]:
    """Return, for each call, the arguments that stand before the one that a change adds."""
    held = [node.arguments for node in find(text, change.of, language)]
    said = [
        tuple(" ".join(text[start:end].split()) for start, end in parts.spans)
        for parts in held
        if parts
    ]
    come = " ".join((change.come or "").split())
    return {each[: each.index(come)] for each in said if come in each}


def _is_nowhere_else(
    before: str, now: str, operation: CodeOperation, change: PartChange, language: str
) -> bool:
    """Say whether a part taken out of a list or a call stands at no other place of the file.

    The upstream may have moved it to another command or to a variable. Then it is not gone.
    """
    known = change.model_copy(update={"of": change.of.model_copy(update={"argument": None})})
    there, was = (said_parts(text, operation, known, language) for text in (now, before))
    if not _unseen(there, language) <= _unseen(was, language):
        return False
    if any(
        _is_held(before, now, name, part)
        for part in parts_gone(before, operation, change, language)
        for new in Counter(there) - Counter(was)
        for name in re.findall(r"[A-Za-z_]\w*", new)
    ):
        return False
    if operation.argument is not None:
        return True
    changed = left_by(before, operation, language)
    gone = change.gone or ""
    return mentions(now, gone) <= mentions(changed, gone)


def _is_held(before: str, now: str, name: str, part: str) -> bool:
    """Say whether a variable came to hold a part of a call or a list, or the value of one."""
    keyed = re.fullmatch(r"[A-Za-z_]\w*\s*[=:](?!=)\s*(.+)", part, re.DOTALL)
    said = keyed[1] if keyed else part
    held = re.compile(
        rf"(?<![\w.]){re.escape(name)}\s*(?::[^=\n]*)?=(?!=)[^;\n]*?(?<!\w){re.escape(said)}(?!\w)"
    )
    return len(held.findall(now)) > len(held.findall(before))


def _unseen(said: Sequence[str], language: str) -> Counter[str]:
    """Return the parts that may stand for others: variables, macros, unpacking in Python."""
    sign = _FOR_OTHERS.get(language)
    return Counter(each for each in said if sign is not None and sign.search(each))


_MACRO = re.compile(r"^[A-Z_][A-Z0-9_]*(?:\(|$)")


_FOR_OTHERS = {
    "bash": re.compile(r"[$`]|^(?:-r|--requirement)\b|^@\w"),
    "cmake": re.compile(r"\$"),
    **dict.fromkeys(("c", "cpp"), _MACRO),
    "python": re.compile(r"^\*"),
    "meson": re.compile(r"^[A-Za-z_]"),
}
"""How a part begins, or what it holds, if it may stand for several others."""


def _left_lines(before: str, changed: str, new: str) -> set[str]:
    """Return the first line of each place, as an operation leaves it.

    The other text on that line tells the place from all others.
    """
    first = new.strip().partition("\n")[0].strip()
    return {line for line in _said_lines(changed) - _said_lines(before) if first in line}


def _said_lines(text: str) -> set[str]:
    return {" ".join(line.split()) for line in text.splitlines()}
