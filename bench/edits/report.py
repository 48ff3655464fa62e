"""Write the results of a run.

They are statistics by language as text and JSON, and a folder with every kind of failure, reduced
to the lines that show it.
"""

from __future__ import annotations

import difflib
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.edits.blocks import FAILURES
from bench.edits.case import written
from bench.edits.verdicts import Verdict, pattern

if TYPE_CHECKING:
    from pathlib import Path

    from bench.edits.blocks import Done

EXAMPLES = 3
"""Failures of one kind that are written down; the others are only counted."""


@dataclass(kw_only=True)
class Tally:
    """Counts of what was done, which can be added up."""

    verdicts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By language and verdict."""
    reasons: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    """By language, verdict, kind of operation and pattern of the reason."""
    kinds: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By language and kind of operation."""
    seen: set[tuple[str, str, str]] = field(default_factory=set)
    """Files."""

    def count(self, done: Done) -> int:
        """Count an operation; return how many of its kind there are now."""
        language, verdict = done.file.language, done.outcome.verdict.value
        self.verdicts[language, verdict] += 1
        self.kinds[language, done.case.kind] += 1
        self.seen.add((language, done.file.package, done.file.path))
        if done.outcome.verdict is Verdict.RIGHT:
            return 0
        reason = (language, verdict, done.case.kind, pattern(done.outcome.reason))
        self.reasons[reason] += 1
        return self.reasons[reason]

    def add(self, other: Tally) -> None:
        """Add another's counts."""
        self.verdicts += other.verdicts
        self.reasons += other.reasons
        self.kinds += other.kinds
        self.seen |= other.seen

    @property
    def failures(self) -> int:
        """Operations that were silently wrong, or crashed."""
        return sum(count for (_, verdict), count in self.verdicts.items() if verdict in FAILURES)

    def table(self) -> str:
        """Return the counts by language, and the reasons of failures, the most frequent first."""
        verdicts = [each.value for each in Verdict]
        lines = ["".join(f"{word:>17}" for word in ("language", "files", "operations", *verdicts))]
        languages = sorted({language for language, _ in self.verdicts})
        for language in [*languages, "all"]:
            those = Counter(
                {
                    v: sum(
                        n
                        for (one, name), n in self.verdicts.items()
                        if name == v and language in {one, "all"}
                    )
                    for v in verdicts
                }
            )
            files = sum(1 for one, *_ in self.seen if language in {one, "all"})
            lines.append(
                "".join(
                    f"{word:>17}"
                    for word in (
                        language,
                        files,
                        those.total(),
                        *(those[verdict] for verdict in verdicts),
                    )
                )
            )
        lines.append("")
        for (language, verdict, kind, reason), count in self.reasons.most_common():
            lines.append(f"{count:>7}  {language}, {verdict}, {kind}: {reason}")
        return "\n".join(lines)

    def figures(self) -> dict[str, object]:
        """Return the same for programs."""
        return {
            "files": len(self.seen),
            "operations": self.verdicts.total(),
            "verdicts": {
                f"{language}: {verdict}": count
                for (language, verdict), count in sorted(self.verdicts.items())
            },
            "kinds": {
                f"{language}: {kind}": count
                for (language, kind), count in sorted(self.kinds.items())
            },
            "reasons": [[*reason, count] for reason, count in self.reasons.most_common()],
        }


def excerpt(before: str, after: str, *, context: int = 5, most: int = 60) -> str:
    """Return the lines that differ with a few around them.

    Line ends and the byte-order mark are shown where they matter.
    """

    def lines(text: str) -> list[str]:
        return text.replace("\r", "<CR>").replace("\ufeff", "<BOM>").split("\n")

    return "\n".join(
        list(
            difflib.unified_diff(
                lines(before), lines(after), "before", "after", lineterm="", n=context
            )
        )[:most]
    )


def write_failure(folder: Path, done: Done, seed: int) -> Path:
    """Write a failure down.

    How to run it again, the file, the operation, the reason and the lines that show it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{done.file.language}-{seed}-{done.block}-{done.number}.txt"
    shown = excerpt(done.file.text, done.outcome.result) if done.outcome.result is not None else ""
    again = f"nox -s fuzz-edits -- --seed {seed} --only {done.block}:{done.number}"
    text = (
        f"{done.outcome.verdict}: {done.case.kind}\nagain:  {again}\nfile:   {done.file.package}: "
        f"{done.file.path} ({done.form})\n"
        f"reason: {done.outcome.reason}\n\n{written(done.case.operation)}\n{shown}\n"
    )
    path = folder / name
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    return path


def write_figures(path: Path, tally: Tally, *, seed: int, seconds: float) -> None:
    """Write the figures as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps({"seed": seed, "seconds": round(seconds), **tally.figures()}, indent=1) + "\n",
        encoding="utf-8",
    )
