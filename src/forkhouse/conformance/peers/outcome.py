"""What became of one thing that a peer's suite was asked to tell: equal, refused, or wrong."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class CaseOutcome(StrEnum):
    """What the engine did, beside what the peer did."""

    EQUAL = "equal"
    """The same result as the peer's, or exactly the change that was asked for."""
    BOTH_REFUSE = "refused by both"
    REFUSED = "refused"
    """The engine refuses, with a reason, what the peer does. It has to be listed."""
    WRONG = "wrong"
    """The engine gives another result than the peer, without a word."""
    APPLIED = "applied where the peer refuses"
    UNTRUE = "refused with a reason that is not true"
    CRASHED = "ended with a traceback"
    PASSED_OVER = "not compared"
    """The engine has no equivalent for it; the message says of what."""


FAULTS = (CaseOutcome.WRONG, CaseOutcome.APPLIED, CaseOutcome.UNTRUE, CaseOutcome.CRASHED)
"""What no list can excuse."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseResult:
    """One outcome."""

    id: str
    outcome: CaseOutcome
    said: str
    """What the engine, or who judges it, says; empty where there is nothing to say."""
    about: tuple[str, ...] = ()
    """Names of the suite that the message may hold: a written list holds none of them."""
