"""The third-party closure.

PEP 751 files beside the lock that pin every wheel which is not built here.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from packaging.pylock import Package, PackageWheel, Pylock, PylockValidationError
from packaging.utils import canonicalize_name
from packaging.version import Version

from forkhouse.core.errors import DocumentError
from forkhouse.documents.pins import PinnedWheel, pinned_wheel
from forkhouse.documents.reading import LONGEST_TOML, read_text, read_toml

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def read_closure(path: Path) -> tuple[PinnedWheel, ...]:
    """Return the wheels of a pylock file in name order.

    Raises DocumentError when it is missing or not valid PEP 751.
    """
    remedy = "`forkhouse lock --update` on a connected machine writes it"
    try:
        lock = Pylock.from_dict(read_toml(read_text(path, LONGEST_TOML).encode()))
    except DocumentError as error:
        message = f"{error} {remedy}."
        raise DocumentError(message) from error
    except (ValueError, PylockValidationError, RecursionError) as error:
        message = f"{path.name}: {error}. {remedy}."
        raise DocumentError(message) from error
    pins = []
    for package in lock.packages:
        for wheel in package.wheels or ():
            try:
                pins.append(_pin(wheel))
            except ValueError as error:
                message = f"{path.name}: {error}. {remedy}."
                raise DocumentError(message) from error
    return tuple(sorted(pins))


def _pin(wheel: PackageWheel) -> PinnedWheel:
    """Return the pin of a wheel that a lock names.

    Raises ValueError where its hash is none, or its name that of no wheel.
    """
    sha256 = wheel.hashes.get("sha256", "")
    if not re.fullmatch("[0-9a-f]{64}", sha256):
        message = f"{wheel.filename} has no sha256 of 64 lower-case hex digits"
        raise ValueError(message)
    return pinned_wheel(wheel.filename, sha256)


def pylock_text(wheels: Iterable[PinnedWheel], *, folder: str, requires_python: str) -> str:
    """Return a PEP 751 lock file for wheels that lie in `folder`, relative to the lock file."""
    import tomlkit  # start-up time
    from packaging.specifiers import SpecifierSet

    packages = [
        Package(
            name=canonicalize_name(wheel.name),
            version=Version(wheel.version),
            wheels=[
                PackageWheel(
                    name=wheel.file,
                    path=str(PurePosixPath(folder, wheel.file)),
                    hashes={"sha256": wheel.sha256},
                )
            ],
        )
        for wheel in sorted(wheels)
    ]
    lock = Pylock(
        lock_version=Version("1.0"),
        requires_python=SpecifierSet(requires_python),
        created_by="forkhouse",
        packages=packages,
    )
    lock.validate()
    return tomlkit.dumps(lock.to_dict())
