"""A small checkout to be disturbed, and what it gives when nothing disturbs it."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tests.flow.conftest import Checkout, copied, make_template

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

PATIENCE = 180
"""Seconds that a run may take."""
EXPLAINED = frozenset({0, 2, *range(10, 19), *range(20, 26), 30, 31, 40, 41})


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """The outcome of one try."""

    kind: str
    held: bool
    what: str
    """The fault that was made, and the failure where the run did not hold."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """A checkout that was never built, and what a build of it gives."""

    template: Checkout
    expected: Mapping[str, str]
    seconds: float
    """Wall time of a build."""

    def copy(self, folder: Path) -> Checkout:
        """Return a checkout of one's own below a new folder."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return _own(self.template, folder)


def _own(template: Checkout, folder: Path) -> Checkout:
    """Copy a checkout whose upstream stays where it is: wheels say from where they were built."""
    own = copied(template, folder)
    own.edit("upstream.lock", own.upstream.as_uri(), template.upstream.as_uri())
    return replace(own, upstream=template.upstream)


def make_site(folder: Path) -> Site:
    """Make the template below an empty folder, and build a copy of it."""
    template = make_template(_made(folder / "template"))
    first = _own(template, _made(folder / "first"))
    started = time.monotonic()
    first.run("build")
    return Site(template=template, expected=files(first), seconds=time.monotonic() - started)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def files(checkout: Checkout) -> dict[str, str]:
    """Return the digest of each file of the wheelhouse; a list of digests is none of its files."""
    house = checkout.root / "wheels/cpu"
    found = (path for path in house.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    return {
        path.relative_to(house).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in found
    }


def run(
    checkout: Checkout, *arguments: str, prefix: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Run forkhouse to its end, which has to come."""
    command = [*prefix, *checkout.command(*arguments)]
    return subprocess.run(
        command,
        env=checkout.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=PATIENCE,
    )


def fault_of(ended: subprocess.CompletedProcess[str], codes: frozenset[int] = EXPLAINED) -> str:
    """Return what is wrong with how a run ended; empty where that is explained."""
    traceback = [line for line in ended.stderr.splitlines() if line.startswith("Traceback")]
    if traceback or ended.returncode not in codes:
        return f"exit code {ended.returncode}: {ended.stderr.strip()[-400:]}"
    return ""


def house_fault(checkout: Checkout) -> str:
    """Return what is wrong with a wheelhouse; empty where there is none."""
    if not (checkout.root / "wheels/cpu").exists():
        return ""
    return fault_of(run(checkout, "verify"), frozenset({0}))


def end_fault(site: Site, checkout: Checkout) -> str:
    """Run an undisturbed build, and return how its exit code or its wheelhouse is wrong.

    An empty text when both are right.
    """
    fault = fault_of(run(checkout, "build"), frozenset({0}))
    if fault:
        return fault
    found = files(checkout)
    wrong = sorted(
        name for name in {*found, *site.expected} if found.get(name) != site.expected.get(name)
    )
    return f"other files: {', '.join(wrong)}" if wrong else house_fault(checkout)
