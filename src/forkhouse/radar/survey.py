"""Survey an upstream of the lock: find its candidates, and scan them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from packaging.version import InvalidVersion, Version

from forkhouse import patches
from forkhouse.errors import UnreachableError, UnsafeArchiveError, UsageError
from forkhouse.lock import GitSource, SdistSource, WheelSource
from forkhouse.pipeline import engine
from forkhouse.progress import report
from forkhouse.radar import Matrix, scan
from forkhouse.radar.candidates import around, commit_candidates, release_candidates, releases
from forkhouse.radar.taken import taken
from forkhouse.sources.git import mirror_address
from forkhouse.sources.releases import Release
from forkhouse.sources.submodules import filled
from forkhouse.workbench import Bench, bench_on, import_release

if TYPE_CHECKING:
    from forkhouse.lock import Pinned
    from forkhouse.pipeline import Plant
    from forkhouse.radar.candidates import Candidate


def surveyable(plant: Plant) -> tuple[str, ...]:
    """Return the upstreams of the lock that have patches and a history to judge them on."""
    return tuple(
        name
        for name, upstream in plant.lock.upstreams.items()
        if plant.series(name)
        and (plant.access.mirror is not None or any(isinstance(source, SdistSource | WheelSource) for source in upstream.sources))
    )


def survey(plant: Plant, upstream: str, *, before: int, after: int, until: str) -> Matrix:
    """Scan an upstream around its pin.

    Where its git mirror is at hand, the candidates are the commits from the pin to the revision `until`, `after` of them at most; else
    the releases of its registry package, `before` earlier and `after` later ones. Raises UsageError when it has neither form.
    """
    pinned = plant.upstream(upstream)
    if not plant.series(upstream):
        message = (
            f"{upstream} has no patches, so there is nothing to judge. `forkhouse lock --update {upstream}=VERSION` pins another release."
        )
        raise UsageError(message)
    git = next((source for source in pinned.sources if isinstance(source, GitSource) and source.commit), None)
    if plant.access.mirror is not None and git is not None and (mirror := _mirrored(plant, upstream, git)) is not None:
        bench = bench_on(plant, upstream, forms=["git"])
        walk = commit_candidates(mirror, str(git.commit), until, plant.store, limit=after)
        candidates = list(walk.candidates)
        if git.submodules:
            candidates = [replace(each, tree=_with_submodules(plant, upstream, git, each)) for each in candidates]
        return _scan(plant, bench, candidates[0].label, candidates, beyond=walk.beyond)
    forms = [source.kind for source in pinned.sources if isinstance(source, SdistSource | WheelSource)]
    if not forms:
        message = (
            f"{upstream} has no history to judge it on: its lock entry has no package of a registry, and "
            + ("its git source is unresolved" if git is None else "no mirror of its git repository was given (--mirror DIR)")
            + "."
        )
        raise UsageError(message)
    bench = bench_on(plant, upstream, forms=forms)
    source = bench.source.source
    assert isinstance(source, SdistSource | WheelSource)  # noqa: S101  # the forms say so
    found, pin = releases(plant.registry, source), Version(bench.source.version)
    chosen = around(found, pin, before=before, after=after)
    beyond = sum(release.version > pin for release in found) - sum(release.version > pin for release in chosen)
    if all(release.version != pin for release in chosen):
        # Withdrawn, or left out by an index: the pin is what all the others are held against.
        chosen = sorted([*chosen, Release(version=pin, file=source.file)], key=lambda release: release.version)
    with report().task(f"releases of {upstream}", total=len(chosen)) as task:

        def acquire(release: SdistSource | WheelSource) -> tuple[str, int]:
            found = import_release(plant, upstream, release)
            task.advance(1)
            return found

        candidates = release_candidates(chosen, source, acquire)
    return _scan(plant, bench, bench.source.version, candidates, beyond=beyond)


def _mirrored(plant: Plant, upstream: str, source: GitSource) -> Path | None:
    """Return the mirror's repository of an upstream; None, and it is said, where there is none and its releases can be judged instead."""
    try:
        return Path(unquote(urlsplit(mirror_address(source.url, plant.access.mirror)).path))
    except UnreachableError as error:
        if not any(isinstance(each, SdistSource | WheelSource) for each in plant.lock.upstreams[upstream].sources):
            raise
        report().line(upstream, f"NOT by its commits: {error} Its releases are judged instead.")
        return None


def newest_release(matrix: Matrix, pinned: Pinned) -> tuple[Candidate, str] | None:
    """Return the newest candidate that is a release and on which the whole series is settled, with its version; None without one.

    Of commits only those count that have a tag of the pinned one's form. The pin itself counts.
    """
    sources = [source for source in pinned.sources if isinstance(source, GitSource) and source.tag]
    for candidate in reversed(matrix.whole()):
        if not candidate.commit:
            return candidate, candidate.label
        for source in sources:
            before, found, behind = str(source.tag).partition(pinned.version)
            for tag in candidate.tags:
                middle = tag[len(before) : len(tag) - len(behind)] if tag.startswith(before) and tag.endswith(behind) else ""
                if found and middle and _is_release(middle):
                    return candidate, middle
    return None


def _is_release(text: str) -> bool:
    try:
        return not Version(text).is_prerelease
    except InvalidVersion:
        return False


def _with_submodules(plant: Plant, upstream: str, source: GitSource, candidate: Candidate) -> str:
    """Return the tree of a candidate with its submodules, as the pin has them; as it is, which is said aloud, where they cannot be had."""
    access = plant.access
    try:
        return filled(candidate.tree, source, plant.store, access.cache, mirror=access.mirror, offline=access.offline)
    except (UnreachableError, UnsafeArchiveError) as error:
        report().line(upstream, f"{candidate.label} is judged WITHOUT its submodules, and what may be in them is in conflict: {error}")
        return candidate.tree


def _scan(plant: Plant, bench: Bench, label: str, candidates: list[Candidate], *, beyond: int) -> Matrix:
    return scan(
        bench.upstream,
        bench.source.source.kind,
        label,
        candidates,
        bench.patches,
        bench.ladder,
        journal=plant.journal,
        engine=engine(patches),
        taken=taken(candidates, bench.ladder.pinned, plant.store),
        beyond=beyond,
    )
