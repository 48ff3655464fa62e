"""One operation run by the engine and judged.

Right, refused, refused untruly, silently wrong, or an error that nobody explains.
"""

from __future__ import annotations

import re
import signal
import traceback
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from bench.edits.case import edit_of
from forkhouse.core.errors import ForkhouseError
from forkhouse.patches.operations import apply_edit

if TYPE_CHECKING:
    from types import FrameType

    from bench.edits.case import Case
    from bench.edits.corpus import File

SLOW = 30
"""Seconds after which an operation counts as one that never ends."""
ENGINE = {"metadata": "requirements"}
"""Names that the engine has for languages."""


class Verdict(StrEnum):
    """What became of an operation."""

    RIGHT = "right"
    REFUSED = "refused"
    UNTRUE = "refused untruly"
    """The engine says that what is named is not there; the reader sees it."""
    WRONG = "silently wrong"
    CRASH = "crash"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of one operation, and why."""

    verdict: Verdict
    reason: str = ""
    result: str | None = None


class _Endless(Exception):  # it ends a run and is no error of ours
    pass


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise _Endless


_ABSENT = re.compile(r"matched 0 times|already|not there|is not in|found nothing")
_UNREAD = re.compile(
    "does not read all of this file|can read the file only without it|counts as a macro of what "
    "follows"
)
"""What the engine says where it cannot tell what is there; that is so whatever the reader sees."""


def run(file: File, case: Case) -> Outcome:
    """Let the engine edit a file as a user would, and let the reader judge the result."""
    signal.signal(signal.SIGALRM, _stop)
    signal.alarm(SLOW)
    try:
        edit = edit_of(
            case.language or ENGINE.get(file.language, file.language),
            file.path.rpartition("/")[2],
            case.operation,
        )
        result = apply_edit(file.text, edit)
    except ForkhouseError as error:
        said = without_operation(str(error))
        said = re.sub(r"'[^'\n]*'", "", said)  # names of the file's
        untrue = case.certain and _UNREAD.search(said) is None and _ABSENT.search(said) is not None
        return Outcome(verdict=Verdict.UNTRUE if untrue else Verdict.REFUSED, reason=str(error))
    except _Endless:
        return Outcome(verdict=Verdict.CRASH, reason=f"it was not done after {SLOW} s")
    except Exception:  # whatever comes out here is what is looked for
        return Outcome(verdict=Verdict.CRASH, reason=traceback.format_exc()[-2000:])
    finally:
        signal.alarm(0)
    wrong = case.judge(result)
    return Outcome(
        verdict=Verdict.WRONG if wrong else Verdict.RIGHT, reason=wrong or "", result=result
    )


def without_operation(reason: str) -> str:
    """Return a reason without the operation that it repeats, whose words are the edit's own."""
    return re.sub(r"(?:The operation: )?\{.*\}\.?", "", reason, flags=re.DOTALL)


def pattern(reason: str) -> str:
    """Return a reason without what is of one file alone."""
    reason = reason.partition(" | ")[0]
    said = re.sub(r"^\S+: operation \d+:? ?", "", reason.splitlines()[0] if reason else "")
    said = without_operation(said)
    said = re.sub(r"'[^']*'|\"[^\"]*\"", "'…'", said)
    return re.sub(r"\d+", "N", said).strip()[:150]
