"""Show how far a fetch is, by what git says of it on standard error."""

from __future__ import annotations

import contextlib
import io
import re
from typing import IO, TYPE_CHECKING, Self

from git import RemoteProgress

from forkhouse.core.progress import report

if TYPE_CHECKING:
    from forkhouse.core.progress import Task

_STEPS = {RemoteProgress.RECEIVING: "git objects", RemoteProgress.RESOLVING: "git deltas"}
"""What is shown of a fetch: how many objects have come, and how many of them are unpacked."""
_HOST = "remote:"
"""What git puts before each line of the other side, which may say of itself what it likes."""
_COUNTED = re.compile(r"(?:remote: )?[A-Z][a-z]+ [a-z ]+: +(?:\d+% \(\d+/\d+\)|\d+)(?:, .*)?")
# Which references were written, and from where: said of a fetch that is not quiet, as one without
# --quiet shows progress.
_SUMMARY = re.compile(r"From .*| [ *+t=-] .* -> .*")


class FetchProgress(RemoteProgress):
    """The tasks that a fetch shows: each begins when git first counts, and ends with the block."""

    def __init__(self) -> None:
        """Show nothing yet."""
        super().__init__()
        self._shown = contextlib.ExitStack()
        self._task: Task | None = None
        self._step = 0
        self._done = 0.0

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close what is shown."""
        self._shown.close()

    def update(
        self,
        op_code: int,
        cur_count: str | float,
        max_count: str | float | None = None,
        message: str = "",
    ) -> None:
        """Show that so many of a step's objects are done. GitPython calls this."""
        step, total = op_code & self.OP_MASK, float(max_count or 0)
        if step not in _STEPS or not total:
            return
        if step != self._step:
            self._shown.close()
            self._task = self._shown.enter_context(report().task(_STEPS[step], total=total))
            self._step, self._done = step, 0.0
        assert self._task is not None  # of this step
        self._task.advance(float(cur_count) - self._done)
        self._done = float(cur_count)

    def follow(self, stream: IO[bytes]) -> str:
        """Read what a fetch says until it ends, show its progress, and return the rest."""
        tell = self.new_message_handler()
        said = []
        # Lines of progress end with a carriage return, which is a line's end to this reader (once
        # it has seen what follows: what is shown is one line behind).
        with io.TextIOWrapper(stream, "utf-8", "surrogateescape") as lines:
            for line in lines:
                text = line.rstrip()
                if not text.startswith(_HOST):
                    tell(text)
                if text and not (_COUNTED.fullmatch(text) or _SUMMARY.fullmatch(text)):
                    said.append(text)
        return "\n".join(said)
