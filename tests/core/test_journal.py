from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from forkhouse.core.journal import Journal, Record, Stage
from forkhouse.core.progress import showing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Built(Record):
    file: str


BUILD = Stage("build", Built)


def test_the_journal_gives_back_what_a_stage_recorded(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert journal.get(BUILD, "k") is None
    journal.put(BUILD, "k", Built(file="a.whl"))
    assert Journal(tmp_path).get(BUILD, "k") == Built(file="a.whl")
    assert journal.get(Stage("patch", Built), "k") is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace("a.whl", "b.whl"),
        lambda text: text.replace('"file"', '"fold"'),
        lambda text: text.replace('"seal": "', '"seal": "0'),
        lambda _: "[]",
        lambda _: "null",
        lambda _: '{"file": "a.whl", "seal": 1}',
        lambda _: "[" * 100_000,
        lambda text: text[:-20],
    ],
)
def test_a_journal_entry_that_is_not_as_it_was_written_counts_as_none(
    tmp_path: Path, damage: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    journal = Journal(tmp_path)
    journal.put(BUILD, "k", Built(file="a.whl"))
    path = tmp_path / "build/k.json"
    path.write_text(damage(path.read_text(encoding="utf-8")), encoding="utf-8")
    with showing():
        assert journal.get(BUILD, "k") is None
        assert journal.get(BUILD, "k") is None
    assert capsys.readouterr().err.count("build/k.json is damaged") == 1


def test_an_entry_of_another_kind_counts_as_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Older(Record):
        file: str
        name: str

    journal = Journal(tmp_path)
    journal.put(Stage("build", Older), "k", Older(file="a.whl", name="a"))
    with showing():
        assert journal.get(BUILD, "k") is None
    assert "damaged" not in capsys.readouterr().err


def test_an_entry_under_another_name_counts_as_none(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.put(BUILD, "k", Built(file="a.whl"))
    (tmp_path / "build/k.json").rename(tmp_path / "build/other.json")
    assert journal.get(BUILD, "other") is None


def test_a_journal_entry_that_a_broken_disk_left_counts_as_none(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.put(BUILD, "k", Built(file="a.whl"))
    next(tmp_path.rglob("k.json")).write_bytes(b"\0" * 8)
    assert journal.get(BUILD, "k") is None
