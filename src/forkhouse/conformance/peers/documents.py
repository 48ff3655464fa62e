"""Apply operations to a suite's documents, and judge each result by the language's own readers."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from forkhouse.conformance.peers.edits import NEW_KEY, agrees, alike, operations
from forkhouse.conformance.peers.outcome import CaseOutcome, CaseResult
from forkhouse.conformance.peers.readers import READERS, BeyondError, UnreadableError, read
from forkhouse.core.errors import ForkhouseError
from forkhouse.documents.reading import parse
from forkhouse.patches.edits import KeyedEdit
from forkhouse.patches.operations import apply_edit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from forkhouse.conformance.peers.edits import DocumentOperation
    from forkhouse.conformance.peers.readers import Language, Seen

GUESSES = 3
"""Words in a document that no reader can read; they are tried as keys in it."""
_NOTHING_THERE = re.compile(r"matched 0 times|there already")
"""What is not true of a key that is there, or of a new one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DocumentText:
    """One document of a suite."""

    id: str
    text: str | None
    """None for what is not UTF-8."""
    valid: bool | None
    """What the suite says of it; None where it leaves that to the reader."""


def try_document(document: DocumentText, language: Language) -> Iterator[CaseResult]:
    """Yield the outcome of every operation on a document."""
    if document.text is None:
        yield CaseResult(
            id=document.id,
            outcome=CaseOutcome.PASSED_OVER,
            said="no UTF-8, which every edit is written in",
        )
        return
    views: list[tuple[Callable[[str], tuple[Seen, ...]], tuple[Seen, ...]]] = []
    for reader in READERS[language]:
        try:
            views.append((reader, read(reader, document.text)))
        except UnreadableError:
            continue
        except BeyondError:
            yield _try_beyond(document.id, document.text, language)
            return
    if not views and document.valid:
        yield CaseResult(
            id=document.id,
            outcome=CaseOutcome.PASSED_OVER,
            said="no reader reads it, and the suite calls it valid",
        )
        return
    if not views:
        yield from _try_ill_formed(document, document.text, language)
        return
    if any(not alike(seen, views[-1][1]) for _, seen in views):
        yield CaseResult(
            id=document.id,
            outcome=CaseOutcome.PASSED_OVER,
            said="two readers see different keys or items in it",
        )
        return
    # The last reader is of the newest edition of the language.
    for operation in operations(views[-1][1], language):
        result = _try(document, document.text, operation, language, views)
        lenient = document.valid is False and result.outcome in {
            CaseOutcome.REFUSED,
            CaseOutcome.UNTRUE,
        }
        yield replace(result, outcome=CaseOutcome.BOTH_REFUSE) if lenient else result


def _applied(text: str, written: str, language: Language) -> str:
    edit = parse(
        KeyedEdit, f"path: file\nlanguage: {language}\noperations:\n  - {written}\n", name="edit"
    )
    return apply_edit(text, edit)


def _try(
    document: DocumentText,
    text: str,
    operation: DocumentOperation,
    language: Language,
    views: list[tuple[Callable[[str], tuple[Seen, ...]], tuple[Seen, ...]]],
) -> CaseResult:
    place = f"{document.id}#{operation.id}"
    try:
        changed = _applied(text, operation.written, language)
    except ForkhouseError as error:
        said = " ".join(str(error).split())
        if not operation.sure:
            return CaseResult(id=place, outcome=CaseOutcome.BOTH_REFUSE, said=said)
        untrue = _NOTHING_THERE.search(said) is not None
        names = (operation.name, operation.name.replace('"', ""), *operation.name.split("."))
        return CaseResult(
            id=place,
            outcome=CaseOutcome.UNTRUE if untrue else CaseOutcome.REFUSED,
            said=said,
            about=names,
        )
    except Exception as error:  # any other exception is what is looked for here
        return CaseResult(
            id=place, outcome=CaseOutcome.CRASHED, said=f"{type(error).__name__}: {error}"
        )
    if not operation.sure:
        return CaseResult(
            id=place, outcome=CaseOutcome.APPLIED, said="more than one thing has this path"
        )
    for reader, before in views:
        try:
            after = read(reader, changed)
        except (UnreadableError, BeyondError) as error:
            return CaseResult(
                id=place,
                outcome=CaseOutcome.WRONG,
                said=f"{reader.__name__} reads it no more: {' '.join(str(error).split())[:200]}",
            )
        if not agrees(before, after, operation, language):
            return CaseResult(
                id=place,
                outcome=CaseOutcome.WRONG,
                said=f"{reader.__name__} sees another change: {operation.written}",
            )
    return CaseResult(id=place, outcome=CaseOutcome.EQUAL, said="")


def _try_beyond(name: str, text: str, language: Language) -> CaseResult:
    """Return whether an operation on a document that cannot be compared ends with a traceback."""
    try:
        _applied(text, json.dumps({"add": NEW_KEY, "value": 1}), language)
    except ForkhouseError:
        pass
    except Exception as error:  # any other exception is what is looked for here
        return CaseResult(
            id=name, outcome=CaseOutcome.CRASHED, said=f"{type(error).__name__}: {error}"
        )
    return CaseResult(
        id=name,
        outcome=CaseOutcome.PASSED_OVER,
        said="too large or too deep to compare, or holds itself",
    )


def _try_ill_formed(document: DocumentText, text: str, language: Language) -> Iterator[CaseResult]:
    """Yield the outcomes of operations on a document that no reader can read.

    They have to be refused, or to leave the document as unreadable as it was.
    """
    words = list(dict.fromkeys(re.findall(r"[A-Za-z_][A-Za-z0-9_]*", text)))[:GUESSES]
    said = [
        {"add": NEW_KEY, "value": 1},
        *({"set": word, "value": 1} for word in words),
        *({"remove": word} for word in words),
    ]
    for number, operation in enumerate(said):
        place = f"{document.id}#unreadable:{number}"
        try:
            changed = _applied(text, json.dumps(operation), language)
        except ForkhouseError as error:
            yield CaseResult(
                id=place, outcome=CaseOutcome.BOTH_REFUSE, said=" ".join(str(error).split())
            )
            continue
        except Exception as error:  # any other exception is what is looked for here
            yield CaseResult(
                id=place, outcome=CaseOutcome.CRASHED, said=f"{type(error).__name__}: {error}"
            )
            continue
        yield CaseResult(
            id=place, outcome=_of_unreadable(changed, language), said="no reader reads the document"
        )


def _of_unreadable(changed: str, language: Language) -> CaseOutcome:
    for reader in READERS[language]:
        try:
            read(reader, changed)
        except (UnreadableError, BeyondError):
            continue
        return CaseOutcome.APPLIED
    return CaseOutcome.EQUAL
