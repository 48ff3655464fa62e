"""Survey an upstream of the lock: find its candidates, and scan them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from packaging.version import InvalidVersion, Version

from forkhouse import patches
from forkhouse.core.errors import ForkhouseError, UnreachableError, UnsafeArchiveError, UsageError
from forkhouse.core.identity import engine
from forkhouse.core.progress import report
from forkhouse.documents.lockfile import GitSource, SdistSource, WheelSource
from forkhouse.flow.authoring import Bench, bench_on, import_release
from forkhouse.radar.candidates import around, commit_candidates, release_candidates, releases
from forkhouse.radar.scan import Matrix, scan
from forkhouse.radar.taken import taken
from forkhouse.sources.git import mirror_address
from forkhouse.sources.releases import Release
from forkhouse.sources.submodules import filled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkhouse.documents.lockfile import Pinned
    from forkhouse.flow.plant import Plant
    from forkhouse.radar.candidates import Candidate


def surveyable(plant: Plant) -> tuple[str, ...]:
    """Return the upstreams of the lock that have patches and a history to judge them on."""
    return tuple(
        name
        for name, upstream in plant.lock.upstreams.items()
        if plant.checkout.series(name)
        and (
            plant.access.mirror is not None
            or any(isinstance(source, SdistSource | WheelSource) for source in upstream.sources)
        )
    )


def survey(
    plant: Plant, upstream: str, *, before: int, after: int, until: str
) -> tuple[list[Matrix], dict[str, str]]:
    """Scan an upstream around its pin in every form that a profile builds from.

    Only forms with a history are scanned. Where the git mirror is at hand, the candidates of that
    form are at most `after` commits from the pin to the revision `until`. The candidates of a
    registry form are the releases of its package: `before` earlier and `after` later ones.

    Returns the matrices, and the reason for each form that was not judged. Raises UsageError when
    there is nothing to judge; where no form could be judged, the error of the last one.
    """
    pinned = plant.checkout.upstream(upstream)
    if not plant.checkout.series(upstream):
        message = (
            f"{upstream} has no patches, so there is nothing to judge. `forkhouse lock --update "
            f"{upstream}=VERSION` pins another release."
        )
        raise UsageError(message)
    matrices: list[Matrix] = []
    not_judged: dict[str, str] = {}
    failure: ForkhouseError | None = None
    for source in pinned.sources:
        if source.kind not in plant.checkout.forms(upstream):
            continue
        try:
            if isinstance(source, GitSource):
                matrices.append(_of_commits(plant, upstream, source, until=until, after=after))
            elif isinstance(source, SdistSource | WheelSource):
                matrices.append(_of_releases(plant, upstream, source, before=before, after=after))
            else:
                not_judged[source.kind] = "Debian's archive has no other releases"
        except (UnreachableError, UsageError) as error:
            failure = error
            not_judged[source.kind] = " ".join(str(error).split())
    if not matrices:
        if failure is not None:
            raise failure
        message = (
            f"{upstream} has no history to judge it on: the lock has neither its git repository "
            "nor a package of a registry."
        )
        raise UsageError(message)
    return matrices, not_judged


def _of_commits(
    plant: Plant, upstream: str, source: GitSource, *, until: str, after: int
) -> Matrix:
    if source.commit is None:
        message = (
            "its commit is not known; `forkhouse lock --update` on a connected machine completes it"
        )
        raise UsageError(message)
    if plant.access.mirror is None:
        message = f"{upstream}: the commits of a git source are judged with --mirror DIR."
        raise UsageError(message)
    mirror = Path(unquote(urlsplit(mirror_address(source.url, plant.access.mirror)).path))
    bench = bench_on(plant, upstream, forms=["git"])
    walk = commit_candidates(mirror, source.commit, until, plant.store, limit=after)
    candidates = list(walk.candidates)
    if source.submodules:
        candidates = [
            replace(each, tree=_with_submodules(plant, upstream, source, each))
            for each in candidates
        ]
    return _scan(plant, bench, candidates[0].label, candidates, beyond=walk.beyond)


def _of_releases(
    plant: Plant, upstream: str, pinned: SdistSource | WheelSource, *, before: int, after: int
) -> Matrix:
    bench = bench_on(plant, upstream, forms=[pinned.kind])
    found, pin = releases(plant.registry, pinned), Version(bench.source.version)
    chosen = around(found, pin, before=before, after=after)
    beyond = sum(release.version > pin for release in found) - sum(
        release.version > pin for release in chosen
    )
    if all(release.version != pin for release in chosen):
        # Withdrawn, or left out by an index: the pin is what all the others are held against.
        chosen = sorted(
            [*chosen, Release(version=pin, file=pinned.file)], key=lambda release: release.version
        )
    with report().task(f"releases of {upstream}", total=len(chosen)) as task:

        def acquire(release: SdistSource | WheelSource) -> tuple[str, int]:
            made = import_release(plant, upstream, release)
            task.advance(1)
            return made

        candidates = release_candidates(chosen, pinned, acquire)
    return _scan(plant, bench, bench.source.version, candidates, beyond=beyond)


def settled_releases(matrix: Matrix, pinned: Pinned) -> Iterator[tuple[Candidate, str]]:
    """Yield every release on which the whole series is settled, with its version.

    Of commits only those count that have a tag of the pinned one's form. The pin itself counts.
    """
    sources = [source for source in pinned.sources if isinstance(source, GitSource) and source.tag]
    for candidate in matrix.whole():
        if not candidate.commit:
            yield candidate, candidate.label
        for source in sources:
            before, found, behind = str(source.tag).partition(pinned.version)
            for tag in candidate.tags:
                middle = (
                    tag[len(before) : len(tag) - len(behind)]
                    if tag.startswith(before) and tag.endswith(behind)
                    else ""
                )
                if found and middle and _is_release(middle):
                    yield candidate, middle


def _is_release(text: str) -> bool:
    try:
        return not Version(text).is_prerelease
    except InvalidVersion:
        return False


def _with_submodules(plant: Plant, upstream: str, source: GitSource, candidate: Candidate) -> str:
    """Return the tree of a candidate with the submodules that the pin has.

    Where they cannot be fetched, returns the tree without them and reports that.
    """
    access = plant.access
    try:
        return filled(
            candidate.tree,
            source,
            plant.store,
            access.cache,
            mirror=access.mirror,
            offline=access.offline,
            shared=access.shared,
        )
    except (UnreachableError, UnsafeArchiveError) as error:
        report().line(
            upstream,
            (
                f"{candidate.label} is judged WITHOUT its submodules, and what may be in them is "
                "in "
                f"conflict: {error}"
            ),
        )
        return candidate.tree


def _scan(
    plant: Plant, bench: Bench, label: str, candidates: list[Candidate], *, beyond: int
) -> Matrix:
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
