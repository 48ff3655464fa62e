"""An upstream's own tests, run against the wheel that we ship.

What does not pass has to be listed, each with its reason.
"""

from __future__ import annotations

from forkhouse.core.errors import ForkhouseError


class ConformanceError(ForkhouseError):
    """There are no results to judge.

    The tests did not run to their end, or are not those of the installed wheel.
    """

    title = "the upstream's tests gave no result"
