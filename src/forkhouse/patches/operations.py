"""Apply the edits of one file: text in, text out, with all matches counted and checked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches import partproof
from forkhouse.patches.advice import where_broken, why_nothing
from forkhouse.patches.backends import Matched, Step, UnprovenError, backend, faults
from forkhouse.patches.edits import (
    CodeOperation,
    EntryPointsOperation,
    KeyOperation,
    RequirementOperation,
    allows,
    least,
)
from forkhouse.patches.effects import (
    asks_for_nothing,
    effect_present,
    is_done,
    lost_requirements,
    would_repeat,
)
from forkhouse.patches.finding import MatchError
from forkhouse.patches.languages import keyed
from forkhouse.patches.languages.changes import changes
from forkhouse.patches.languages.data import LANGUAGES
from forkhouse.patches.languages.entrypoints import remove_group
from forkhouse.patches.languages.requirements import change_requirement, refers
from forkhouse.patches.languages.trees import hidden
from forkhouse.patches.pieces import spliced
from forkhouse.patches.spellings import bare, stands

if TYPE_CHECKING:
    from forkhouse.patches.edits import FileEdit, Operation

__all__ = [
    "Edited",
    "MatchError",
    "apply_edit",
    "asks_for_nothing",
    "edited",
    "effect_present",
    "lost_requirements",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Edited:
    """A text with an edit applied."""

    text: str
    idle: tuple[str, ...]
    """Operations that had nothing to do, which their count allows by beginning at 0."""


def apply_edit(text: str, edit: FileEdit) -> str:
    """Return `text` with the operations of `edit` applied in order.

    Raises the errors of `edited`.
    """
    return edited(text, edit).text


def applied_alone(text: str, operation: Operation, language: str) -> str:
    """Return `text` with one operation applied, or unchanged if that is not possible.

    Nothing is proven: the operation was applied to such a text before.
    """
    try:
        found = matched(text, operation, language)
        return spliced(text, found.splices) if allows(operation.count, found.matches) else text
    except PatchConflictError:
        return text


def edited(text: str, edit: FileEdit) -> Edited:
    """Apply the operations of `edit` to `text` in order.

    Raises MatchError, a PatchConflictError, if an operation matches another number of times than it
    expects, if what it adds is there already, or if the file is less well formed afterwards.
    """
    broken = faults(text, edit.language)
    idle: list[str] = []
    operations: tuple[Operation, ...] = edit.operations
    for number, operation in enumerate(operations, start=1):
        said = operation.model_dump(by_alias=True, exclude_defaults=True)
        where = f"{' or '.join(edit.paths)}: operation {number}"
        anchor = anchor_of(operation)
        try:
            found = matched(text, operation, edit.language)
            matches = found.matches
            changed = spliced(text, found.splices) if allows(operation.count, matches) else text
            repeats = allows(operation.count, matches) and would_repeat(
                text, operation, edit.language
            )
        except PatchConflictError as error:
            told = (
                error if isinstance(error, MatchError) else MatchError("", expected=operation.count)
            )
            message = f"{where}: {error} The operation: {said}."
            raise MatchError(
                message,
                anchor=told.anchor or anchor,
                operation=number,
                matches=told.matches,
                expected=told.expected,
            ) from error
        if not allows(operation.count, matches):
            advice = _advice(text, operation, edit.language, anchor, matches, broken=broken > 0)
            message = (
                f"{where} matched {matches} times, expected {operation.count}: {said}. {advice}"
            )
            raise MatchError(
                message, anchor=anchor, operation=number, matches=matches, expected=operation.count
            )
        if repeats:
            message = f"{where} would add {_repeated(text, operation, edit.language, said)}"
            raise MatchError(
                message, anchor=anchor, operation=number, matches=matches, expected=operation.count
            )
        if matches == 0:
            idle.append(f"{where} found nothing to do: {said}")
        if changed != text:
            left = faults(changed, edit.language)
            if left > broken:
                message = (
                    f"{where} leaves a file that is no {edit.language} any more: {said}. "
                    f"{where_broken(changed, edit.language)}"
                ).rstrip()
                raise MatchError(
                    message,
                    anchor=anchor,
                    operation=number,
                    matches=matches,
                    expected=operation.count,
                )
            step = Step(
                before=text,
                after=changed,
                splices=found.splices,
                operation=operation,
                language=edit.language,
            )
            try:
                backend(edit.language).prove(step)
                if edit.language not in LANGUAGES:
                    partproof.prove(step)
            except UnprovenError as error:
                message = (
                    f"{where} would change more than it says, or what it changes cannot be told. "
                    f"{str(error).rstrip('.')}. The operation: {said}."
                )
                raise MatchError(
                    message,
                    anchor=anchor,
                    operation=number,
                    matches=matches,
                    expected=operation.count,
                ) from error
            broken = left
        text = changed
    return Edited(text=text, idle=tuple(idle))


def _repeated(text: str, operation: Operation, language: str, said: dict[str, object]) -> str:
    """Say in what form an addition is there already, and what to do about it."""
    if is_done(text, operation, language):
        return (
            f"what is there already: {said}. If the upstream took it over, drop it from the edit."
        )
    if isinstance(operation, RequirementOperation):
        return (
            f"what is there already, by another version, extra, address or condition: {said}. Use "
            "`replace`, or drop it from the edit."
        )
    return (
        "what is there already, though laid out or quoted in another way, or as a part of "
        f"something else: {said}. Look at that place: if "
        "the upstream took it over, drop it from the edit, else replace the whole of what is there."
    )


def _advice(
    text: str, operation: Operation, language: str, anchor: str, matches: int, *, broken: bool
) -> str:
    """Return what to do about an operation that matched a wrong number of times."""
    if matches == 0 and is_done(text, operation, language):
        if isinstance(operation, RequirementOperation) and refers(text):
            return (
                "It is not in this file, but may be in one that this file refers to: look there, "
                "and let the edit name that one."
            )
        return (
            "Its effect is there already: drop it from the edit, or let its count begin at 0 if "
            "other releases need it."
        )
    reason = why_nothing(text, operation, language) if matches < least(operation.count) else ""
    if not reason and matches == 0:
        reason = _standing(text, _looked_for(operation) or anchor, language, broken=broken)
    elif not reason and broken:
        reason = (
            f"The grammar of {language} does not read all of this file, and may take something "
            f"else for '{anchor}'. "
            "Edit that place by an `anchor`, in the language text."
        )
    return reason or (
        "The upstream changed what the edit is about: look at the file and rewrite the edit to "
        "mean the same there."
    )


def _standing(text: str, anchor: str, language: str, *, broken: bool) -> str:
    """Say where the words of an operation stand, though not as what it looks for.

    Returns an empty text if they stand nowhere.
    """
    found = (
        re.search(rf"(?<!\w){re.escape(anchor)}(?!\w)", text) or stands(text, anchor)
        if anchor
        else None
    )
    if found is None:
        return ""
    line = text.count("\n", 0, found.start()) + 1
    if _is_blank(text, anchor, language):
        return (
            f"'{anchor}' stands in line {line}, and the grammar of {language} can read the file "
            "only without it, as it can without a macro. "
            "Edit that place by an `anchor`, in the language text."
        )
    if not broken:
        return (
            f"'{anchor}' stands in line {line}, but not as what the operation looks for, or "
            "written in another way. Look at the file and name "
            "it as it stands there."
        )
    return (
        f"'{anchor}' stands in line {line}, but the grammar of {language} does not read all of "
        "this file, and finds it nowhere. "
        "Edit that place by an `anchor`, in the language text."
    )


def _looked_for(operation: Operation) -> str:
    """Return the argument or item that an operation removes, or an empty text."""
    change = operation.argument or operation.item if isinstance(operation, CodeOperation) else None
    return bare(change.gone or "") if change is not None else ""


def _is_blank(text: str, anchor: str, language: str) -> bool:
    """Say whether words stand in text that is blanked out for the grammar of C."""
    return language in {"c", "cpp"} and hidden(text, anchor, language) is not None


def matched(text: str, operation: Operation, language: str) -> Matched:
    """Return the change that an operation makes in a text.

    Raises PatchConflictError.
    """
    match operation:
        case RequirementOperation():
            return change_requirement(text, operation.requirement)
        case EntryPointsOperation():
            return remove_group(text, operation.remove.group)
        case KeyOperation():
            return keyed.matched(text, operation, language)
        case CodeOperation() if language in LANGUAGES:
            return keyed.matched(text, operation, language)
        case CodeOperation():
            found = changes(text, operation, language)
            return Matched(
                matches=len(found), splices=tuple(splice for each in found for splice in each)
            )


def anchor_of(operation: Operation) -> str:
    """Return the text that a person would search for if an operation found nothing."""
    match operation:
        case CodeOperation():
            change = operation.argument or operation.item
            selectors = [
                operation.replace,
                operation.wrap,
                operation.remove,
                change.of if change else None,
            ]
            selectors += (
                [operation.insert.before, operation.insert.after] if operation.insert else []
            )
            line = operation.include or operation.import_
            said = [selector.said() for selector in selectors if selector is not None]
            return said[0] if said else (line.gone or "" if line else "")
        case RequirementOperation():
            return operation.requirement.gone or ""
        case EntryPointsOperation():
            return operation.remove.group
        case KeyOperation():
            return operation.path
