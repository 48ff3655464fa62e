"""The exit codes, from the exception tree."""

from __future__ import annotations

from docs.generate.text import prose, table
from forkhouse.core import errors
from forkhouse.core.errors import ForkhouseError


def exit_codes() -> str:
    """Return a table of every class of failure, by its exit code."""
    rows = [
        [f"`{each.exit_code}`", prose(each.title), prose(each.__doc__ or "")] for each in classes()
    ]
    return table(("code", "title", "meaning"), rows)


def classes() -> list[type[ForkhouseError]]:
    """Return the classes of failures, each with an exit code of its own, by it.

    What derives from one has that one's. The sessions that run the suites of others have failures
    of their own, which the command line does not show.
    """
    found = [each for each in ForkhouseError.__subclasses__() if each.__module__ == errors.__name__]
    return sorted(found, key=lambda each: each.exit_code)
