from __future__ import annotations

import random
from typing import TYPE_CHECKING

from bench.documents import mutated, read, run, seeds

if TYPE_CHECKING:
    from pathlib import Path


def test_each_seed_is_a_document_of_its_kind(tmp_path: Path) -> None:
    kinds = set()
    for number, seed in enumerate(seeds()):
        (tmp_path / str(number)).mkdir()
        outcome, _ = read(seed, seed.content, tmp_path / str(number))
        assert outcome == ("explained" if seed.kind == "series" else "read"), (seed.kind, outcome)
        kinds.add(seed.kind)
    assert kinds == {"lock", "recipe", "edit", "series", "pylock", "config", "crates", "project"}


def test_a_mutation_is_the_same_for_the_same_number() -> None:
    contents = tuple(seed.content for seed in seeds())
    once, again = (mutated(contents[0], random.Random("1:7"), contents) for _ in range(2))
    assert once == again != contents[0]


def test_mutated_documents_are_read_or_explained() -> None:
    outcomes, faults = run(3000, seed=1000)
    assert [fault for fault in faults if ": explained" not in fault and ": read" not in fault] == []
    assert outcomes.total() == 3000
    assert sum(times for (_, outcome), times in outcomes.items() if outcome == "read") > 100
