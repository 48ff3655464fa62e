"""Prove that a set of wheels is closed: everything that the profile installs is among them."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from forkhouse.core.errors import ClosureError
from forkhouse.core.wording import bullets
from forkhouse.wheelhouse.contents import PROFILE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from forkhouse.audit.facts import WheelFacts


def is_needed(requirement: Requirement, extra: str) -> bool:
    """Return whether this interpreter needs a requirement, or the first release of its series.

    Raises ValueError and RecursionError for a marker that cannot be judged.
    """
    first = ".".join([*platform.python_version_tuple()[:2], "0"])
    return requirement.marker is None or any(
        requirement.marker.evaluate({"extra": extra, **release})
        for release in ({}, {"python_full_version": first})
    )


def check_closure(
    roots: Iterable[str], wheels: Mapping[str, WheelFacts], absent: Collection[str] = ()
) -> dict[str, tuple[str, ...]]:
    """Check that `wheels` are exactly what the requirements `roots` need, directly or indirectly.

    `wheels` and `absent` have canonical names. What this interpreter needs has to be there, and
    what the first release of its series needs (3.11.0 for 3.11.7), because the target may have any
    of them. A requirement on a package that is known to be missing (`absent`) is skipped.

    Returns who requires each wheel: names, each with the extra that does (`name[extra]`).

    Raises ClosureError that lists every requirement without a wheel, with a wheel of an excluded
    version, or by an address, and every wheel that nothing requires.
    """
    problems: list[str] = []
    done: set[tuple[str, str]] = set()
    reached: set[str] = set()
    required_by: dict[str, set[str]] = {name: set() for name in wheels}
    queue = [(Requirement(root), PROFILE) for root in roots]
    while queue:
        requirement, wanted_by = queue.pop()
        name = canonicalize_name(requirement.name)
        if name in absent:
            continue
        if requirement.url:
            # An installer takes it from there, whatever lies in the wheelhouse.
            problems.append(
                f"{name} (wanted by {wanted_by}) is asked for by its address, {requirement.url}, "
                "and not by a version"
            )
        facts = wheels.get(name)
        if facts is None:
            problems.append(f"{requirement} (wanted by {wanted_by}) is not there")
            continue
        if not requirement.specifier.contains(facts.version, prereleases=True):
            problems.append(
                f"{requirement} (wanted by {wanted_by}) refuses {name} {facts.version}, which is "
                "there"
            )
        reached.add(name)
        required_by[name].add(wanted_by)
        provided = {canonicalize_name(extra) for extra in facts.provides_extra}
        unknown = sorted(
            extra for extra in requirement.extras if canonicalize_name(extra) not in provided
        )
        problems += [
            (
                f"{requirement} (wanted by {wanted_by}) asks {name} for the extra {extra}, which "
                "it "
                "does not have"
            )
            for extra in unknown
        ]
        for extra in ("", *requirement.extras):
            if (name, extra) in done:
                continue
            done.add((name, extra))
            for text in facts.requires:
                needed = Requirement(text)
                asked_by = f"{name}[{extra}]" if extra else name
                try:
                    if is_needed(needed, extra):
                        queue.append((needed, asked_by))
                except (ValueError, RecursionError) as error:  # UndefinedComparison is a ValueError
                    problems.append(
                        f"{needed.name} (wanted by {asked_by}) has a marker that cannot be judged: "
                        f"{error}"
                    )
    problems += [
        f"{name} is there, and nothing of the profile asks for it"
        for name in sorted(wheels.keys() - reached)
    ]
    if problems:
        lines = bullets(sorted(set(problems)))
        message = (
            f"The wheels do not make a whole:\n{lines}\n`forkhouse lock --update` resolves the "
            "third-party closure anew."
        )
        raise ClosureError(message)
    return {name: tuple(sorted(requirers)) for name, requirers in required_by.items()}
