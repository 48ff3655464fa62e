from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest
from jinja2 import UndefinedError

from forkhouse.pages.radar import page
from forkhouse.pages.rendering import render_page
from forkhouse.patches.verdicts import Verdict
from forkhouse.radar.candidates import Candidate
from forkhouse.radar.scan import Cell, Matrix
from forkhouse.radar.taken import TakenPatch

HOSTILE = "<script>alert('x')</script> & \"y\""


def matrix(name: str, *, columns: int = 3, pin: str = "c0", beyond: int = 0) -> Matrix:
    """Return a matrix of one patch that the last candidate breaks, all of whose texts end with
    `name`.
    """
    verdicts = [Verdict.CLEAN] * (columns - 1) + [Verdict.CONFLICT]
    patch = f"0001-{name}.edit.yaml"
    return Matrix(
        upstream=f"upstream {name}",
        form=f"form {name}",
        pin=pin,
        candidates=tuple(
            Candidate(
                label=f"c{number}{name if number else ''}",
                order=number,
                when=number * 86400,
                tree="t",
                commit=f"k{number}",
            )
            for number in range(columns)
        ),
        patches=(patch,),
        cells=(tuple(Cell(verdict=each, cause=f"cause {name}") for each in verdicts),),
        beyond=beyond,
        taken={patch: TakenPatch(commit=f"commit {name}", holders=frozenset({f"k{columns - 1}"}))},
    )


def test_whatever_an_upstream_writes_is_text_of_the_page() -> None:
    text = page([matrix(HOSTILE)])
    assert "<script" not in text
    assert len(re.findall("&lt;script&gt;", text)) >= 8  # upstream, form, patch, candidate, causes
    body = text[text.index("<body>") : text.index("</html>")]
    shown = "".join(ET.fromstring(body).itertext())  # well-formed, so nothing opened a tag
    for words in (
        f"upstream {HOSTILE}",
        f"form {HOSTILE}",
        f"cause {HOSTILE}",
        f"0001-{HOSTILE}.edit.yaml",
        f"c2{HOSTILE}",
    ):
        assert words in shown


def test_the_pin_and_what_was_not_judged_are_said() -> None:
    text = page([matrix("x", beyond=4), matrix("y", pin="elsewhere")])
    assert text.count('class="pin"') == 2  # on the map and on the line of the first
    assert "4 newer candidates were not judged." in text
    assert text.count("The whole series is settled up to <b>c1") == 2


def test_many_candidates_have_no_dots() -> None:
    assert "<circle" in page([matrix("x", columns=60)])
    assert "<circle" not in page([matrix("x", columns=61)])


def test_a_template_that_misses_a_value_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="meanings"):
        render_page("radar.html", colours={"a": "b"}, sections=[])
