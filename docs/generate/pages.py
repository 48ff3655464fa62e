"""Which part of which page is made from what.

A page asks for it by a line `<!-- generated: NAME -->`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from docs.generate.codes import exit_codes
from docs.generate.commands import commands
from docs.generate.documents import document
from docs.generate.modules import modules
from docs.generate.series import overview, series, upstreams
from docs.generate.sessions import sessions
from forkhouse.audit.policy import Common, Own
from forkhouse.documents.config import Config
from forkhouse.documents.lockfile import Lock
from forkhouse.documents.recipe import Recipe
from forkhouse.patches.edits import StructuralEdit
from forkhouse.serving.deployment import Deployment

if TYPE_CHECKING:
    from collections.abc import Callable

MAKERS: dict[str, Callable[[], str]] = {
    "command line": commands,
    "sessions": sessions,
    "upstream.lock": lambda: document(Lock),
    "recipe": lambda: document(Recipe),
    "edit": lambda: document(StructuralEdit),
    "policy": lambda: document(Common, Own),
    "config": lambda: document(Config),
    "deployment": lambda: document(Deployment),
    "exit codes": exit_codes,
    "patches": overview,
    "modules": modules,
}
_MARK = re.compile(r"^<!-- generated: (.+?) -->$", re.MULTILINE)


def fill(text: str) -> str:
    """Return a page with its generated parts. Raises KeyError for a part that nobody makes."""
    return _MARK.sub(lambda mark: make(mark[1]), text)


def make(name: str) -> str:
    """Return one generated part. Raises KeyError when there is none of that name."""
    kind, _, upstream = name.partition(" of ")
    return series(upstream) if kind == "series" and upstream in upstreams() else MAKERS[name]()


def parts() -> set[str]:
    """Return the names of all parts that some page has to show."""
    return {*MAKERS, *(f"series of {upstream}" for upstream in upstreams())}
