"""What a person sees while work goes on: live bars on a terminal, plain lines elsewhere and in CI.

The library only calls `report()`; the front end decides with `showing()` where that goes. NO_COLOR is honoured by rich.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Iterator


class Task(Protocol):
    """A piece of work with a known size."""

    def advance(self, amount: float) -> None:
        """Say that `amount` more (in the unit of the task's total) is done."""


class Reporter(Protocol):
    """Where progress goes."""

    def line(self, subject: str, text: str) -> None:
        """Say one thing about `subject` (an upstream, a stage) that stays on the screen."""

    def task(self, subject: str, *, total: float) -> contextlib.AbstractContextManager[Task]:
        """Open a piece of work of `total` units (bytes, or steps); it closes with the block."""


class _Nothing:
    def advance(self, amount: float) -> None:
        """Ignore."""


class Silent:
    """The reporter of a library used without a front end."""

    def line(self, subject: str, text: str) -> None:
        """Ignore."""

    @contextlib.contextmanager
    def task(self, subject: str, *, total: float) -> Iterator[Task]:  # noqa: ARG002  # the protocol's signature
        """Ignore."""
        yield _Nothing()


class _PlainTask:
    def __init__(self, reporter: Plain, subject: str, total: float) -> None:
        self._reporter, self._subject, self._total = reporter, subject, total
        self._done = 0.0
        self._begun = self._said = time.monotonic()

    def advance(self, amount: float) -> None:
        self._done += amount
        if time.monotonic() - self._said >= Plain.INTERVAL:
            self._said = time.monotonic()
            share = self._done / max(self._total, 1)
            left = f", about {(self._said - self._begun) * (1 - share) / share:.0f} s left" if share > 0 else ""
            self._reporter.line(self._subject, f"{100 * share:.0f} %{left}")


class Plain:
    """One line an event, with the seconds since the start; long tasks say where they are every few seconds."""

    INTERVAL = 5.0

    def __init__(self) -> None:
        """Count time from now."""
        self._start = time.monotonic()

    def line(self, subject: str, text: str) -> None:
        """Write a line to standard error."""
        sys.stderr.write(f"[{time.monotonic() - self._start:6.1f}s] {subject}: {text}\n")
        sys.stderr.flush()

    @contextlib.contextmanager
    def task(self, subject: str, *, total: float) -> Iterator[Task]:
        """Write a line every INTERVAL seconds."""
        yield _PlainTask(self, subject, total)


class Live:
    """Bars by rich on a terminal."""

    def __init__(self) -> None:
        """Prepare the display; rich is imported here because scripts without a terminal never need it."""
        from rich.console import Console  # noqa: PLC0415  # start-up time
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            Progress,
            SpinnerColumn,
            TaskProgressColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
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
        from rich.text import Text  # noqa: PLC0415  # start-up time

        self._progress.console.print(Text.assemble((subject, "bold"), ": ", text))

    @contextlib.contextmanager
    def task(self, subject: str, *, total: float) -> Iterator[Task]:
        """Draw a bar while the block runs."""
        number = self._progress.add_task(subject, total=total)

        class _Bar:
            def advance(_self, amount: float) -> None:  # noqa: N805  # the bar closes over the display's `self`
                self._progress.advance(number, amount)

        try:
            yield _Bar()
        finally:
            self._progress.remove_task(number)


_current: ContextVar[Reporter] = ContextVar("reporter")
_silent = Silent()


def report() -> Reporter:
    """Return the reporter of the current context."""
    return _current.get(_silent)


@contextlib.contextmanager
def showing() -> Iterator[None]:
    """Show progress on standard error while the block runs: live on a terminal, plain lines otherwise and in CI."""
    live = sys.stderr.isatty() and not os.environ.get("CI")
    with Live() if live else contextlib.nullcontext(Plain()) as reporter:
        token = _current.set(reporter)
        try:
            yield
        finally:
            _current.reset(token)
