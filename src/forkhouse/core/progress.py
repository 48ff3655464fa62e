"""What a person sees while work goes on: live bars on a terminal, plain lines elsewhere and in CI.

The library only calls `report()`; the front end decides with `showing()` where that goes. NO_COLOR
is honoured by rich.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import math
import os
import sys
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol, Self

from forkhouse.core.secrecy import masked

if TYPE_CHECKING:
    from collections.abc import Iterator


_CONTROLS = {
    number: f"\\x{number:02x}"
    for number in [*range(0x20), *range(0x7F, 0xA0)]
    if chr(number) not in "\n\t"
}
# Marks of direction show a line in another order than it has, the separators begin a new one, and
# lone surrogates cannot be written.
_CONTROLS |= {
    number: f"\\u{number:04x}"
    for number in [0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)]
}
_CONTROLS |= {number: f"\\u{number:04x}" for number in range(0xD800, 0xE000)}
_SHOWN = str.maketrans(_CONTROLS)


def printable(text: str) -> str:
    """Return a text that does nothing to a terminal but show.

    What a build, git or pip says may hold escape sequences.
    """
    return text.replace("\r\n", "\n").translate(_SHOWN)


class Task(Protocol):
    """A piece of work with a known size."""

    def advance(self, amount: float) -> None:
        """Say that `amount` more (in the unit of the task's total) is done."""


class Reporter(Protocol):
    """Where progress goes."""

    def line(self, subject: str, text: str) -> None:
        """Say one thing about `subject` (an upstream, a stage) that stays on the screen."""

    def task(self, subject: str, *, total: float) -> contextlib.AbstractContextManager[Task]:
        """Open a piece of work of `total` units (bytes, or steps; `math.inf` where nobody knows).

        It closes with the block.
        """


class _Nothing:
    def advance(self, amount: float) -> None:
        """Ignore."""


class Silent:
    """The reporter of a library used without a front end."""

    def line(self, subject: str, text: str) -> None:
        """Ignore."""

    @contextlib.contextmanager
    def task(self, subject: str, *, total: float) -> Iterator[Task]:  # the protocol's signature
        """Ignore."""
        yield _Nothing()


class Pace:
    """How far a piece of work is, and how long it will go on, as far as that is known.

    An estimate is made of the pace at which the last share was gained, and only once a share has
    moved and has some seconds behind it; one that would grow is not told: a step that takes long
    says nothing of those after it. Without an estimate there is the elapsed time, and without a
    share that alone.
    """

    BEHIND = 10.0
    """Seconds that an estimate needs behind it."""

    def __init__(self, total: float, now: float) -> None:
        """Begin work of `total` units at a moment, in seconds.

        `math.inf` means that nobody knows how many units there are.
        """
        self._total, self._begun = max(total, 1e-9), now
        self._done = 0.0
        self._moved = now
        self._counted = now
        """When what counts began.

        A configuration that runs before the first compiler says nothing of the compilers' pace.
        """
        self._end: float | None = None
        """When the work ends, by the estimate that is told."""

    def advance(self, amount: float, now: float) -> None:
        """Say that `amount` more is done at a moment."""
        if amount:
            self._done, self._moved = self._done + amount, now
        elif not self._done:
            self._counted = now

    def said(self, now: float) -> str:
        """Return the share that is done, and an estimate of what is left or the elapsed time."""
        share = min(self._done / self._total, 1.0)
        if 0 < share < 1 and self._moved - self._counted >= self.BEHIND:
            # From when the share last moved: while it stands, nothing new is known, and the end
            # that was estimated stays where it is.
            end = self._counted + (self._moved - self._counted) / share
            self._end = end if self._end is None else min(end, self._end)
        if not share:
            return f"{now - self._begun:.0f} s so far"
        left = None if self._end is None else self._end - now
        if left is None or left <= 0:
            return f"{100 * share:.0f} %, {now - self._begun:.0f} s so far"
        return f"{100 * share:.0f} %, about {left:.0f} s left"


class _PlainTask:
    def __init__(self, reporter: Plain, subject: str, total: float) -> None:
        self._reporter, self._subject = reporter, subject
        self._said = time.monotonic()
        self._pace = Pace(total, self._said)

    def advance(self, amount: float) -> None:
        now = time.monotonic()
        self._pace.advance(amount, now)
        if now - self._said >= Plain.INTERVAL:
            self._said = now
            self._reporter.line(self._subject, self._pace.said(now))


class Plain:
    """One line an event, with the seconds since the start.

    Long tasks say where they are every few seconds.
    """

    INTERVAL = 5.0

    def __init__(self) -> None:
        """Count time from now."""
        self._start = time.monotonic()

    def line(self, subject: str, text: str) -> None:
        """Write a line to standard error."""
        said = printable(masked(f"{subject}: {text}"))
        sys.stderr.write(f"[{time.monotonic() - self._start:6.1f}s] {said}\n")
        sys.stderr.flush()

    @contextlib.contextmanager
    def task(self, subject: str, *, total: float) -> Iterator[Task]:
        """Write a line every INTERVAL seconds."""
        yield _PlainTask(self, subject, total)


class Live:
    """Bars by rich on a terminal."""

    def __init__(self) -> None:
        """Prepare the display.

        Rich is imported here because scripts without a terminal never need it.
        """
        from rich.console import Console  # start-up time
        from rich.progress import (
            BarColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
        )

        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[said]}", markup=False),
            console=Console(stderr=True),
            transient=True,
        )

    def __enter__(self) -> Self:
        """Start drawing."""
        self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """Stop drawing and restore the terminal."""
        self._progress.stop()

    def line(self, subject: str, text: str) -> None:
        """Write a line above the bars."""
        from rich.text import Text  # start-up time

        self._progress.console.print(
            Text.assemble((printable(masked(subject)), "bold"), ": ", printable(masked(text)))
        )

    @contextlib.contextmanager
    def task(self, subject: str, *, total: float) -> Iterator[Task]:
        """Draw a bar while the block runs."""
        pace = Pace(total, time.monotonic())
        number = self._progress.add_task(
            printable(masked(subject)), total=total if math.isfinite(total) else None, said=""
        )

        class _Bar:
            # The bar closes over the display's `self`.
            def advance(_self, amount: float) -> None:  # noqa: N805
                now = time.monotonic()
                pace.advance(amount, now)
                self._progress.update(number, advance=amount, said=pace.said(now))

        try:
            yield _Bar()
        finally:
            self._progress.remove_task(number)


def drawable() -> bool:
    """Return whether something may be drawn on a terminal: not in CI, and by rich alone."""
    return not os.environ.get("CI") and importlib.util.find_spec("rich") is not None


_current: ContextVar[Reporter] = ContextVar("reporter")
_silent = Silent()


def report() -> Reporter:
    """Return the reporter of the current context."""
    return _current.get(_silent)


class _Logs(logging.Handler):
    """What libraries log, as lines of a reporter.

    Python itself would write it to standard error as it is.
    """

    def __init__(self, reporter: Reporter) -> None:
        """Take the reporter."""
        super().__init__(logging.WARNING)
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        """Say what was logged."""
        self._reporter.line(record.name.partition(".")[0], record.getMessage())


@contextlib.contextmanager
def showing() -> Iterator[None]:
    """Show progress on standard error while the block runs.

    Live on a terminal, plain lines otherwise, in CI, and where the library that draws is not.
    """
    live = sys.stderr.isatty() and drawable()
    with Live() if live else contextlib.nullcontext(Plain()) as reporter:
        token = _current.set(reporter)
        logs = _Logs(reporter)
        logging.getLogger().addHandler(logs)
        try:
            yield
        finally:
            logging.getLogger().removeHandler(logs)
            _current.reset(token)
