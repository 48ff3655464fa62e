"""The peers' own test suites, run differentially against the patch engine.

Every difference has to be listed, each with its reason.
"""

from __future__ import annotations

from forkhouse.core.errors import ForkhouseError


class PeersError(ForkhouseError):
    """There is nothing to judge.

    A suite could not be built, did not run, or is not what its pin says.
    """

    title = "the peers' tests gave no result"
