"""Find pins that contradict each other, before anything is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkhouse.core.errors import ClosureError
from forkhouse.documents.pins import PinnedWheel

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from forkhouse.documents.lockfile import Profile


def refuse_contradictions(
    profile: Profile,
    third_party: Sequence[PinnedWheel],
    ours: Sequence[str],
    absent: Collection[str],
) -> None:
    """Refuse a closure that contradicts what is built here or the profile's externals.

    It must not pin a wheel that is built here, nor another file of an external than the profile
    does. Raises ClosureError.
    """
    refuse_doubles(
        [*third_party, *(PinnedWheel(name=name, version="", file="", sha256="") for name in ours)]
    )
    check_externals(profile, third_party, absent)


def refuse_doubles(pins: Sequence[PinnedWheel]) -> None:
    """Raise ClosureError if a distribution is pinned twice."""
    names = [pin.name for pin in pins]
    doubles = sorted({name for name in names if names.count(name) > 1})
    if doubles:
        message = (
            f"Built here and pinned from an index at once: {', '.join(doubles)}. An installer "
            "would choose by version alone. "
            "`forkhouse lock --update` resolves the third-party closure without what is built here."
        )
        raise ClosureError(message)


def check_externals(
    profile: Profile, third_party: Sequence[PinnedWheel], absent: Collection[str]
) -> None:
    """Raise ClosureError if other files of externals are pinned than the profile names."""
    pinned = {(pin.version, pin.file, pin.sha256) for pin in third_party}
    lost = [
        external.package
        for external in profile.externals
        if external.package not in absent and external.pinned not in pinned
    ]
    if lost:
        message = (
            f"The lock names {', '.join(lost)} as external, but the profile's pylock file pins "
            "other files. "
            "`forkhouse lock --update` resolves it anew."
        )
        raise ClosureError(message)
