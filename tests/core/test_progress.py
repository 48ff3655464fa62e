from __future__ import annotations

import math
import os
import pty
import re
import subprocess
import sys
from typing import TYPE_CHECKING

from forkhouse.core.errors import BuildError
from forkhouse.core.progress import Pace, Plain, Silent, printable, report, showing

if TYPE_CHECKING:
    import pytest

SCRIPT = """
from forkhouse.core.progress import report, showing
with showing():
    with report().task("build ucx", total=2) as task:
        task.advance(1)
        report().line("ucx", "[half] done")
        task.advance(1)
"""


def test_a_library_without_a_front_end_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    assert isinstance(report(), Silent)
    report().line("ucx", "built")
    with report().task("ucx", total=1) as task:
        task.advance(1)
    assert capfd.readouterr() == ("", "")


def test_lines_go_to_standard_error_while_shown(capfd: pytest.CaptureFixture[str]) -> None:
    with showing():
        report().line("ucx", "built")
    report().line("ucx", "not said")
    out, err = capfd.readouterr()
    assert out == ""
    assert re.fullmatch(r"\[ +0\.\ds\] ucx: built\n", err)


def test_a_long_task_says_where_it_is(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Plain, "INTERVAL", 0.0)
    with showing(), report().task("fetch", total=4) as task:
        task.advance(1)
        task.advance(3)
    said = [line.rpartition("fetch: ")[2] for line in capfd.readouterr().err.splitlines()]
    assert said == ["25 %, 0 s so far", "100 %, 0 s so far"]


def test_no_estimate_before_a_share_has_ten_seconds_behind_it() -> None:
    pace = Pace(100, 0.0)
    assert pace.said(30.0) == "30 s so far"
    pace.advance(2, 4.0)
    assert pace.said(8.0) == "2 %, 8 s so far"  # 2 % in 4 s would have said 200 s
    pace.advance(48, 20.0)
    assert pace.said(20.0) == "50 %, about 20 s left"


def test_the_time_before_anything_counts_is_no_part_of_the_pace() -> None:
    pace = Pace(1, 0.0)
    for second in range(1, 61):
        pace.advance(0.0, float(second))
    pace.advance(0.02, 62.0)
    assert pace.said(62.0) == "2 %, 62 s so far"
    pace.advance(0.23, 80.0)
    assert pace.said(80.0) == "25 %, about 60 s left"


def test_where_nobody_knows_how_much_there_is_the_elapsed_time_is_all() -> None:
    pace = Pace(math.inf, 0.0)
    pace.advance(3, 60.0)
    assert pace.said(90.0) == "90 s so far"


def test_no_estimate_grows() -> None:
    """The share stands for two minutes, as a step of it is a whole build.

    And then goes on more slowly than before.
    """
    pace = Pace(100, 0.0)
    pace.advance(60, 60.0)
    said = [pace.said(float(now)) for now in range(60, 200)]
    pace.advance(1, 200.0)
    said += [pace.said(float(now)) for now in range(200, 260)]
    left = [int(text.partition("about ")[2].split()[0]) for text in said if "about" in text]
    assert left == sorted(left, reverse=True)
    assert left[0] == 40
    assert said[-1] == "61 %, 259 s so far"


def test_ci_gets_plain_lines_and_a_terminal_gets_bars() -> None:
    plain = {**os.environ, "CI": "true", "TERM": "xterm"}
    live = {
        **{
            name: value
            for name, value in os.environ.items()
            if name not in {"CI", "NO_COLOR", "FORCE_COLOR"}
        },
        "TERM": "xterm",
    }
    assert "\x1b[" not in on_a_terminal(plain)
    assert "s] ucx: [half] done" in on_a_terminal(plain)
    drawn = on_a_terminal(live)
    assert "\x1b[" in drawn
    assert "[half] done" in drawn
    assert "\x1b[?25h" in drawn  # the cursor is shown again


def test_what_others_say_does_nothing_to_a_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    """Colours, a title, a cleared screen, a line written over, a reversed line, and bytes that were
    no text.
    """
    hostile = (
        "\x1b[2Jred\x1b]0;title\x07 back\rover\x9b31m \u202eright-to-left \udcff\x00\x7f\u2028"
    )
    shown = (
        r"\x1b[2Jred\x1b]0;title\x07 back\x0dover\x9b31m \u202eright-to-left \udcff\x00\x7f\u2028"
    )
    assert printable(hostile) == shown
    assert printable("a\tb\r\nc\n\u00e9\u4e2d\U0001f680") == "a\tb\nc\n\u00e9\u4e2d\U0001f680"
    assert str(BuildError(hostile)) == shown
    assert f"{BuildError(f'The end of its log: {hostile}')}" == f"The end of its log: {shown}"
    with showing():
        report().line(hostile, hostile)
    assert shown in capfd.readouterr().err
    drawn = on_a_terminal(
        {**os.environ, "CI": "true"},
        (
            "from forkhouse.core.progress import *\nwith showing():\n    report().line('x', "
            f"{hostile!a})"
        ),
    )
    assert shown in drawn
    live = {name: value for name, value in os.environ.items() if name not in {"CI", "NO_COLOR"}} | {
        "TERM": "xterm",
        "COLUMNS": "300",
    }
    drawn = on_a_terminal(
        live,
        (
            "from forkhouse.core.progress import *\nwith showing():\n    report().line('x', "
            f"{hostile!a})"
        ),
    )
    assert shown in re.sub(r"\x1b\[[0-9;]*m", "", drawn)


def on_a_terminal(environment: dict[str, str], script: str = SCRIPT) -> str:
    """Return what the script writes to standard error when that is a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", script], env=environment, stdout=subprocess.DEVNULL, stderr=theirs
    ) as process:
        os.close(theirs)
        written = b""
        while True:
            try:
                chunk = os.read(ours, 4096)
            except OSError:  # how Linux says that the other end is closed
                break
            if not chunk:
                break
            written += chunk
    os.close(ours)
    assert process.returncode == 0
    return written.decode()
