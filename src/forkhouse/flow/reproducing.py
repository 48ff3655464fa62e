"""Build wheels twice under other conditions, and what they are packed into, and compare the bytes.

What differs between the two: the folder, the moment, how many compilers run at once, the time
zone, the language, the mode that new files get, and the user where that can be. (The idea and most
of the list are those of `reprotest`, which builds Debian packages.) Each build has its own sources,
tools, journal and compiler cache; only downloads are shared.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forkhouse.core import errors
from forkhouse.core.errors import BuildError, ForkhouseError, UsageError
from forkhouse.core.identity import ROOT
from forkhouse.core.progress import report
from forkhouse.core.storage import discard, storage_errors
from forkhouse.core.wording import end_of
from forkhouse.flow.differing import differences, explained

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from forkhouse.flow.plant import Plant

_NOBODY = 65534
"""The user and group without rights on every system."""
_APART = 3.0
"""Seconds between the beginnings of the two builds, at least: zip archives count by two."""
_MODULES = os.pathsep.join(filter(None, [str(ROOT.parent), os.environ.get("PYTHONPATH")]))
"""Where the builds' processes find this program, as this one does."""
_INPUTS = ("upstream.lock", "pyproject.toml", "patches", "recipes")


@dataclass(frozen=True, kw_only=True, slots=True)
class Conditions:
    """Under what a build runs."""

    folder: str
    """Below the work folder."""
    zone: str
    language: str
    umask: int
    cores: tuple[int, ...]
    user: int | None = None
    """None for the one who runs this."""

    def described(self) -> dict[str, object]:
        """Return them for people and machines."""
        return {
            "folder": self.folder,
            "time-zone": self.zone,
            "language": self.language,
            "umask": f"{self.umask:04o}",
            "jobs": len(self.cores),
            "user": os.geteuid() if self.user is None else self.user,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class BuiltPair:
    """A file that was made twice."""

    name: str
    """Recipe of a wheel; `bundle` or `image`."""
    file: str
    sha256: tuple[str, str]
    seconds: tuple[float, float]
    differs: tuple[str, ...]
    """What differs, member by member; nothing where the bytes are equal."""
    explanation: Path | None = None
    """What `diffoscope` says of it, where that is installed."""

    @property
    def equal(self) -> bool:
        """Whether both have the same bytes."""
        return self.sha256[0] == self.sha256[1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reproduction:
    """What building twice gave."""

    conditions: tuple[Conditions, Conditions]
    pairs: tuple[BuiltPair, ...]
    """The wheels."""
    packed: tuple[BuiltPair, ...] = ()
    """The bundle and the image, where they were asked for."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Wheels whose source cannot be had here, and why."""


def reproduce(
    plant: Plant, profile: str, chosen: Sequence[str], work: Path, packed: Sequence[str] = ()
) -> Reproduction:
    """Build recipes of a profile twice below the empty folder `work`, and compare.

    `chosen` are the recipes, all where there are none; what they are built against is built and
    compared as well. `packed` names what the whole wheelhouse is put into, `bundle` and `image`.
    Raises UsageError for a recipe that the profile does not build, what the
    builds raise, StorageError.
    """
    recipes = _wanted(plant, profile, chosen)
    conditions = two_conditions(plant, work, packed)
    answers = []
    begun = 0.0
    for number, each in enumerate(conditions, 1):
        time.sleep(max(0.0, begun + _APART - time.monotonic()))
        begun = time.monotonic()
        report().line("reproduce", f"build {number} of 2: {', '.join(recipes)}")
        answers.append(_built(plant, profile, recipes, packed, each, work / each.folder))
    one, two = (_by_name(answer, "name") for answer in answers)
    if one.keys() != two.keys():
        message = (
            f"The first build gave {', '.join(one)}, the second {', '.join(two)}: a source came or "
            "went meanwhile. Run the same command again."
        )
        raise BuildError(message)
    first, second = (_by_name(answer, "packed") for answer in answers)
    left_out = {
        str(each["missing"]): str(each["reason"]) for each in answers[0] if "missing" in each
    }
    return Reproduction(
        conditions=conditions,
        pairs=tuple(_compared(name, one[name], two[name], work) for name in one),
        packed=tuple(_compared(kind, first[kind], second[kind], work) for kind in first),
        left_out=left_out,
    )


def _wanted(plant: Plant, profile: str, chosen: Sequence[str]) -> list[str]:
    """Return recipes with all that they need, in the order of their building."""
    recipes = plant.checkout.recipes(profile)
    if unknown := sorted(set(chosen) - recipes.keys()):
        message = (
            f"The profile {profile} does not build {', '.join(unknown)}. It builds: "
            f"{', '.join(recipes)}."
        )
        raise UsageError(message)
    wanted = set(chosen or recipes)
    for name in reversed(recipes):
        if name in wanted:
            wanted |= set(recipes[name].needs)
    return [name for name in recipes if name in wanted]


def two_conditions(
    plant: Plant, work: Path, packed: Sequence[str] = ()
) -> tuple[Conditions, Conditions]:
    """Return two conditions that differ in as much as this machine lets them.

    What stays equal because the machine allows nothing else is said.
    """
    cores = tuple(sorted(os.sched_getaffinity(0)))
    user = None if "image" in packed else _other_user(plant, work)
    if len(cores) == 1:
        report().line("reproduce", "this machine has one core: both builds run one job at once")
    if user is None:
        why = (
            "only root can be another"
            if os.geteuid() != 0
            else "another may not make the base of an image"
            if "image" in packed
            else "another may not run this Python or read the downloads"
        )
        report().line("reproduce", f"both builds run as the same user, as {why}")
    return (
        Conditions(folder="a", zone="UTC", language="C.UTF-8", umask=0o022, cores=cores),
        Conditions(
            folder="elsewhere/and-deeper",
            zone="Pacific/Auckland",
            language="de_DE.UTF-8",
            umask=0o027,
            cores=cores[:1],
            user=user,
        ),
    )


def _other_user(plant: Plant, work: Path) -> int | None:
    """Return another user who can build here, None where there is none."""
    if os.geteuid() != 0:
        return None
    places = [str(place) for place in (plant.workspace.cache, work) if place.exists()]
    program = (
        "import os, sys, forkhouse.flow.alone\n"
        "sys.exit(not all(os.access(place, os.R_OK | os.X_OK) for place in sys.argv[1:]))"
    )
    try:
        tried = subprocess.run(
            [sys.executable, "-P", "-c", program, *places],
            env={**os.environ, "PYTHONPATH": _MODULES},
            cwd="/",
            user=_NOBODY,
            group=_NOBODY,
            extra_groups=[],
            capture_output=True,
            check=False,
        )
    except OSError:
        return None
    return _NOBODY if tried.returncode == 0 else None


def _built(
    plant: Plant,
    profile: str,
    recipes: Sequence[str],
    packed: Sequence[str],
    conditions: Conditions,
    folder: Path,
) -> list[dict[str, Any]]:
    """Build recipes under some conditions, in a process and a checkout of their own."""
    root, log = folder / "checkout", folder / "log"
    with storage_errors("Copying the checkout"):
        _copy_inputs(plant.workspace.root, root)
        if conditions.user is not None:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, conditions.user, conditions.user, follow_symlinks=False)
    access = plant.access
    asked = {
        "root": str(root),
        "downloads": str(plant.workspace.cache),
        "profile": profile,
        "recipes": recipes,
        "packed": list(packed),
        "sources": access.policy,
        "mirror": None if access.mirror is None else str(access.mirror),
        "offline": access.offline,
        "cores": conditions.cores,
    }
    environment = {
        **os.environ,
        "PYTHONPATH": _MODULES,
        "TZ": conditions.zone,
        "LC_ALL": conditions.language,
        "LANG": conditions.language,
        "CI": "1",
    }
    if conditions.user is not None:
        environment["HOME"] = str(root)
    with log.open("wb") as said:
        result = subprocess.run(
            [sys.executable, "-P", "-m", "forkhouse.flow.alone"],
            input=json.dumps(asked).encode(),
            env=environment,
            cwd=root,
            umask=conditions.umask,
            user=conditions.user,
            group=conditions.user,
            extra_groups=None if conditions.user is None else [],
            stdout=subprocess.PIPE,
            stderr=said,
            check=False,
        )
    if result.returncode != 0:
        raise _failure(result.returncode, log)
    answer: list[dict[str, Any]] = json.loads(result.stdout)
    return answer


def _copy_inputs(source: Path, target: Path) -> None:
    target.mkdir(parents=True)
    for path in [*(source / name for name in _INPUTS), *source.glob("pylock.*.toml")]:
        if path.is_dir():
            shutil.copytree(
                path, target / path.name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
            )
        elif path.is_file():
            shutil.copy2(path, target)


def _failure(code: int, log: Path) -> ForkhouseError:
    """Return the failure that a build ended with, of the kind that its exit code tells."""
    kinds = {
        each.exit_code: each
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, ForkhouseError)
    }
    said = log.read_text(encoding="utf-8", errors="replace")
    return kinds.get(code, BuildError)(f"A build ended with exit code {code}:\n{end_of(said)}")


def _by_name(answer: Iterable[Mapping[str, Any]], key: str) -> dict[str, Mapping[str, Any]]:
    return {str(each[key]): each for each in answer if key in each}


def _compared(
    name: str, first: Mapping[str, Any], second: Mapping[str, Any], work: Path
) -> BuiltPair:
    one, two = Path(first["path"]), Path(second["path"])
    equal = first["sha256"] == second["sha256"]
    differs = () if equal else tuple(differences(one, two))
    explanation = None
    if not equal:
        explanation = explained(one, two, work / f"{one.name}.diffoscope.txt")
    return BuiltPair(
        name=name,
        file=one.name,
        sha256=(str(first["sha256"]), str(second["sha256"])),
        seconds=(float(first["seconds"]), float(second["seconds"])),
        differs=differs,
        explanation=explanation,
    )


def clean(work: Path, *, keep_files: bool) -> None:
    """Remove what the builds left, but for what was compared where it is wanted."""
    for folder in ("a", "elsewhere"):
        for checkout in (work / folder).glob("**/checkout"):
            with storage_errors("Removing what the builds left"):
                for each in (checkout / "build").glob("*"):
                    if not (keep_files and each.name in {"wheels", "logs"}):
                        discard(each)
                for each in (checkout / "wheels").glob("*"):
                    if not (keep_files and each.suffix == ".tar"):
                        discard(each)
