"""Which of an upstream's tests are run, and what is expected of them.

The YAML documents in `tests/upstream/`.
"""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from forkhouse.documents.lockfile import Name
from forkhouse.documents.reading import Document

ReasonKind = Literal[
    "needs-gpu", "needs-network", "other-platform", "machine", "upstream-bug", "patched-on-purpose"
]


class Outcome(StrEnum):
    """What became of a test."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    """By the upstream's own words; what it expects to fail itself (xfail) is among them."""


def _inside(text: str) -> str:
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts:
        message = "expected a relative path that stays inside the source"
        raise ValueError(message)
    return text


SourcePath = Annotated[str, AfterValidator(_inside)]


class Expectation(Document):
    """Tests that do not pass, and why."""

    tests: tuple[str, ...] = Field(min_length=1)
    """Node ids as pytest prints them.

    `*` stands for any text, and every other character for itself.
    """
    outcome: Literal["failed", "skipped"] = "failed"
    kind: ReasonKind
    reason: str
    unpatched: Literal["same", "passes"]
    """What the same tests do with the upstream's own wheel, without our patches."""


class Suite(Document):
    """Tests of one upstream."""

    upstream: Name
    """In the lock, with an sdist; the distribution that is tested has the same name."""
    package: str
    """Import name of what is tested.

    It has to come from the environment, not from the source's folder.
    """
    files: tuple[SourcePath, ...] = Field(min_length=1)
    """Files and folders of the source that the tests need; nothing else of it is laid out."""
    tests: tuple[SourcePath, ...] = Field(min_length=1)
    """Files of tests; each has to have at least one."""
    prepare: SourcePath | None = None
    """A script beside this document that the environment's Python runs in the folder of the tests
    before them."""
    environment: dict[str, str] = Field(default_factory=dict)
    """Variables for the tests, beside a few that every run has."""
    test_seconds: Annotated[int, Field(gt=0)] = 120
    """After this a test is ended, and has failed."""
    run_seconds: Annotated[int, Field(gt=0)] = 1800
    """After this the whole run is ended, and has no result."""
    expected: tuple[Expectation, ...] = ()


def matches(pattern: str, test: str) -> bool:
    """Say whether an expectation's pattern means a test.

    Brackets are plain text, because node ids have them.
    """
    return (
        re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), test, flags=re.DOTALL)
        is not None
    )
