"""Which operations a seed stands for.

Blocks of operations on one file, so that each file is read once, shared out among languages.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.edits.forms import FORMS, form_of
from bench.edits.languages import SHARES, pool_of
from bench.edits.verdicts import Outcome, Verdict, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bench.edits.case import Case
    from bench.edits.corpus import File

BLOCK = 40
"""Operations of a block."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """One operation, and what became of it."""

    block: int
    number: int
    file: File
    form: str
    case: Case
    outcome: Outcome


def schedule(languages: Sequence[str]) -> list[str]:
    """Return the order in which languages take turns, each as often as its share says."""
    chance = random.Random(0)  # reproducible, nothing secret
    turns = [language for language in languages for _ in range(SHARES[language])]
    chance.shuffle(turns)
    return turns


def file_of(block: int, seed: int, files: Mapping[str, Sequence[File]]) -> tuple[File, str]:
    """Return the file of a block, and the form that it is given.

    A language's files are all had before one is had again.
    """
    turns = schedule(list(files))
    turn = block % len(turns)
    language = turns[turn]
    earlier = block // len(turns) * turns.count(language) + turns[:turn].count(language)
    order = list(range(len(files[language])))
    random.Random(f"{seed}:{language}").shuffle(order)  # reproducible, nothing secret
    file = files[language][order[earlier % len(order)]]
    form = form_of(language, random.Random(f"{seed}:{block}:form"))  # reproducible, nothing secret
    return replace(file, text=FORMS[form](file.text)), form


def operations(
    block: int, seed: int, files: Mapping[str, Sequence[File]], *, only: int | None = None
) -> Iterator[Done]:
    """Yield the operations of a block, or one of them, judged.

    A file that its reader refuses, or that has nothing to edit, gives none.
    """
    file, form = file_of(block, seed, files)
    pool = pool_of(file)
    if pool is None:
        return
    for number in range(BLOCK) if only is None else (only,):
        case = pool.draw(random.Random(f"{seed}:{block}:{number}"))  # reproducible, nothing secret
        if case is None:
            return
        yield Done(
            block=block, number=number, file=file, form=form, case=case, outcome=run(file, case)
        )


FAILURES = frozenset({Verdict.WRONG, Verdict.CRASH})
SHOWN = FAILURES | {Verdict.UNTRUE}
"""What is written down for somebody to look at."""
