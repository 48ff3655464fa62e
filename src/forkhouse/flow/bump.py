"""Survey upstreams, and pin the newest release on which a series is settled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.version import Version

from forkhouse.core.errors import UnreachableError, UsageError
from forkhouse.core.progress import report
from forkhouse.flow.pinning import PinFinding
from forkhouse.flow.repin import update
from forkhouse.flow.survey import settled_releases, survey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkhouse.flow.plant import Plant
    from forkhouse.radar.scan import Matrix


def survey_all(
    plant: Plant, names: Sequence[str], *, before: int, after: int, until: str
) -> tuple[list[Matrix], dict[str, str]]:
    """Survey upstreams, and name those that cannot be, each with the reason.

    One that cannot be ends nothing but itself.

    Raises UsageError for a name that the lock does not have, and what surveying raises where
    nothing at all could be judged.
    """
    for name in names:
        plant.checkout.upstream(name)
    matrices: list[Matrix] = []
    not_judged: dict[str, str] = {}
    for name in names:
        try:
            found, absent = survey(plant, name, before=before, after=after, until=until)
            matrices += found
            not_judged |= {f"{name} ({form})": reason for form, reason in absent.items()}
        except (UnreachableError, UsageError) as error:
            if name == names[-1] and not matrices:
                raise
            report().line(name, f"NOT judged: {error}")
            not_judged[name] = str(error)
    return matrices, not_judged


def bumped_pins(plant: Plant, name: str, matrices: Sequence[Matrix]) -> list[PinFinding]:
    """Pin the newest release on which a whole series is settled in every form.

    Say which commit is newer and settled, where one is.
    """

    def said(text: str) -> PinFinding:
        return PinFinding(subject=name, state="ok", detail=text)

    pinned = plant.checkout.upstream(name)
    settled = [
        {Version(version): candidate for candidate, version in settled_releases(matrix, pinned)}
        for matrix in matrices
    ]
    release = max(set.intersection(*map(set, settled)), default=None) if settled else None
    findings = []
    for matrix, found in zip(matrices, settled, strict=True):
        newest = matrix.newest_whole()
        if newest is not None and newest not in found.values():
            findings.append(
                said(
                    f"{matrix.form}: the series is settled up to {newest.label}, which is no "
                    "release"
                )
            )
    if release is None:
        return [
            *findings,
            said("on no release is the whole series settled in every form; nothing was pinned"),
        ]
    if release <= Version(pinned.version):
        return [*findings, said(f"stays at {pinned.version}")]
    return findings + update(plant, name, str(release))
