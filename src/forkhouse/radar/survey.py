"""Survey an upstream of the lock: find its candidates, and scan them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from packaging.version import Version

from forkhouse import patches
from forkhouse.errors import UnreachableError, UnsafeArchiveError, UsageError
from forkhouse.lock import GitSource, SdistSource, WheelSource
from forkhouse.pipeline import engine
from forkhouse.progress import report
from forkhouse.radar import Matrix, scan
from forkhouse.radar.candidates import around, commit_candidates, release_candidates, releases
from forkhouse.radar.taken import taken
from forkhouse.sources.git import mirror_address
from forkhouse.sources.submodules import filled
from forkhouse.workbench import Bench, bench_on, import_release

if TYPE_CHECKING:
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
    pinned = plant.lock.upstreams[upstream]
    git = next((source for source in pinned.sources if isinstance(source, GitSource) and source.commit), None)
    if plant.access.mirror is not None and git is not None:
        bench = bench_on(plant, upstream, forms=["git"])
        mirror = Path(unquote(urlsplit(mirror_address(git.url, plant.access.mirror)).path))
        candidates = commit_candidates(mirror, str(git.commit), until, plant.store, limit=after)
        if git.submodules:
            candidates = [replace(each, tree=_with_submodules(plant, upstream, git, each)) for each in candidates]
        label = next(candidate.label for candidate in candidates)
        return _scan(plant, bench, label, candidates)
    forms = [source.kind for source in pinned.sources if isinstance(source, SdistSource | WheelSource)]
    if not forms:
        message = f"{upstream} has no registry package to take releases from, and --mirror names no repository of it."
        raise UsageError(message)
    bench = bench_on(plant, upstream, forms=forms)
    source = bench.source.source
    assert isinstance(source, SdistSource | WheelSource)  # noqa: S101  # the forms say so
    chosen = around(releases(plant.registry, source), Version(bench.source.version), before=before, after=after)
    with report().task(f"releases of {upstream}", total=len(chosen)) as task:

        def acquire(release: SdistSource | WheelSource) -> tuple[str, int]:
            found = import_release(plant, upstream, release)
            task.advance(1)
            return found

        candidates = release_candidates(chosen, source, acquire)
    return _scan(plant, bench, bench.source.version, candidates)


def _with_submodules(plant: Plant, upstream: str, source: GitSource, candidate: Candidate) -> str:
    """Return the tree of a candidate with its submodules, as the pin has them; as it is, which is said aloud, where they cannot be had."""
    access = plant.access
    try:
        return filled(candidate.tree, source, plant.store, access.cache, mirror=access.mirror, offline=access.offline)
    except (UnreachableError, UnsafeArchiveError) as error:
        report().line(upstream, f"{candidate.label} is judged WITHOUT its submodules, and what may be in them is in conflict: {error}")
        return candidate.tree


def _scan(plant: Plant, bench: Bench, label: str, candidates: list[Candidate]) -> Matrix:
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
    )
