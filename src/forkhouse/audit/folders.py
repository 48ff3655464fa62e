"""Find paths of the machine that built a wheel.

They mean nothing on other machines, and show that something is not relocatable.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forkhouse.audit.findings import Finding, Rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from forkhouse.audit.policy import AuditPolicy, PolicyDistribution

_REST = re.compile(rb"[\x21-\x7e]{0,80}")


def check_build_paths(name: str, content: bytes, prefixes: Iterable[str]) -> Iterator[Finding]:
    """Find the given folders in a file of any kind, and report only the first place."""
    pattern = re.compile(
        "|".join(rf"{re.escape(prefix)}(?![\w-])" for prefix in prefixes).encode() or rb"(?!)"
    )
    if found := pattern.search(content):
        yield Finding(
            rule=Rule.RELOCATABLE,
            where=name,
            what=f"has a path of the build in it: {_shown(content, found.start())}",
        )


def check_compiler_paths(
    name: str, content: bytes, policy: AuditPolicy, distribution: PolicyDistribution
) -> Iterator[Finding]:
    """Find what looks like a compiler's folder in a compiled file.

    In a file that somebody else compiled it is only a note.
    """
    if found := policy.build_folder.search(content):
        yield Finding(
            rule=Rule.RELOCATABLE,
            where=name,
            what="has a path that looks like a build folder's in it: "
            f"{_shown(content, found.start())}",
            harmless=distribution.prebuilt is not None,
        )


def _shown(content: bytes, start: int) -> str:
    rest = _REST.match(content, start)
    return rest.group().decode("ascii") if rest else ""
