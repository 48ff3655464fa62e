"""Replay the shipped edits, and their textual twins with other tools, over real releases.

`python -m bench.survival`.

Each edit is replayed alone, on the release as it was published. Its twin is the unified diff that
it makes at the pin. Where the file's own name holds the version (a wheel's metadata), the twin is
made to name the release's file: no tool could guess that.
"""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench import history, oracle
from bench.oracle import Target
from bench.peers import PEERS, Case, missing, must, named_paths, run
from forkhouse.core.errors import ForkhouseError
from forkhouse.core.storage import write_atomic
from forkhouse.core.workspace import find_workspace
from forkhouse.documents.lockfile import Lock
from forkhouse.documents.reading import load
from forkhouse.patches.ladder import Ladder, pin
from forkhouse.patches.series import read_series
from forkhouse.patches.textual import map_path
from forkhouse.patches.verdicts import APPLIED
from forkhouse.sources.index import Registry
from forkhouse.sources.store import TreeEntry

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from forkhouse.patches.series import Patch
    from forkhouse.patches.verdicts import PatchedAtPin
    from forkhouse.sources.store import ObjectStore

OURS = "forkhouse"
TOOLS = (*PEERS, OURS)
DISTANCES = (1, 3, 6, 9, 13)
"""Upper ends of the classes of distance, in months."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What one tool made of one edit on one release."""

    claimed: bool
    """The tool says that it applied it."""
    fault: str
    """What is wrong with the tree that it left.

    Empty for a tree that holds, or when nothing was claimed.
    """
    fuzzy: bool
    as_ours: bool | None
    """Whether the tree is the one that our engine made; None when one of the two made none."""
    said: str

    @property
    def survived(self) -> bool:
        """Applied and verified."""
        return self.claimed and not self.fault

    @property
    def silently_wrong(self) -> bool:
        """Claimed, and not so."""
        return self.claimed and bool(self.fault)


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One edit on one release."""

    upstream: str
    form: str
    edit: str
    release: str
    months: float
    releases_away: int
    target: Target
    verdict: str
    cause: str
    outcomes: dict[str, Outcome]


@dataclass(frozen=True, kw_only=True, slots=True)
class Replayer:
    """Replays the edits of one subject."""

    subject: history.Subject
    store: ObjectStore
    home: str
    """The tree of the pin."""
    pinned: dict[str, PatchedAtPin]

    @property
    def paths(self) -> dict[str, str]:
        """How the upstream's own paths appear in this form."""
        return self.subject.source.paths

    def twin(self, patch: Patch, base: str) -> bytes:
        """Return the textual form of an edit, with the file names of `base`.

        An edit may find its files by a pattern; the textual form names the files that it finds.
        """
        pinned = self.pinned[patch.name]
        command = (
            "git",
            f"--git-dir={self.store.folder}",
            "diff",
            "--full-index",
            "--no-ext-diff",
            pinned.before,
            pinned.after,
        )
        text = must(run(Path.cwd(), *command)).stdout
        for pattern in {
            map_path(path, self.paths)
            for change in oracle.changes(patch)
            for path in oracle.named(change)
        }:
            old, new = self.store.glob(self.home, pattern), self.store.glob(base, pattern)
            if len(old) == len(new) == 1 and old != new:
                for side in ("a/", "b/"):
                    text = text.replace(f"{side}{old[0]}".encode(), f"{side}{new[0]}".encode())
        return text

    def row(self, patch: Patch, base: history.Base, *, months: float, away: int) -> Row:
        """Replay one edit on one release with every tool."""
        ladder = Ladder(
            store=self.store, paths=self.paths, pinned=self.pinned, form=self.subject.source.kind
        )
        judgement = ladder.judge(base.tree, patch)
        applied = judgement.verdict in APPLIED
        ours = judgement.tree if applied else None
        outcomes = {}
        twin = self.twin(patch, base.tree)
        paths = named_paths(twin)
        entries = {
            path: entry
            for path in paths
            if (entry := self.store.entry(base.tree, path)) is not None
        }
        case = Case(
            files={path: self.store.read(base.tree, path) for path in entries},
            patch=twin,
            objects=(self.store.folder / "objects").absolute(),
        )
        for tool, act in PEERS.items():
            made = act(case)
            after: dict[str, TreeEntry | None] = dict.fromkeys(paths)
            for path, content in made.files.items():
                mode = entries[path].mode if path in entries else next(iter(entries.values())).mode
                after[path] = TreeEntry(
                    blob=str(self.store.repository.create_blob(content)), mode=mode
                )
            tree = self.store.with_entries(base.tree, after)
            outcomes[tool] = self._outcome(
                patch,
                base,
                tree if made.claimed else None,
                ours,
                fuzzy=made.fuzzy and made.claimed,
                said=made.said,
            )
        outcomes[OURS] = self._outcome(patch, base, ours, ours, fuzzy=False, said=judgement.cause)
        return Row(
            upstream=self.subject.upstream,
            form=self.subject.source.kind,
            edit=patch.name,
            release=str(base.version),
            months=round(months, 2),
            releases_away=away,
            target=oracle.target(patch, base.tree, self.home, self.paths, store=self.store),
            verdict=str(judgement.verdict),
            cause=judgement.cause,
            outcomes=outcomes,
        )

    def _outcome(
        self,
        patch: Patch,
        base: history.Base,
        tree: str | None,
        ours: str | None,
        *,
        fuzzy: bool,
        said: str,
    ) -> Outcome:
        fault = (
            ""
            if tree is None
            else oracle.faults(patch, base.tree, tree, self.paths, store=self.store)
        )
        as_ours = tree == ours if tree is not None and ours is not None else None
        return Outcome(
            claimed=tree is not None, fault=fault, fuzzy=fuzzy, as_ours=as_ours, said=said
        )


def replayer(subject: history.Subject, home: history.Base, store: ObjectStore) -> Replayer:
    """Make the twins of a subject's edits.

    Raises PatchConflictError when one does not apply at the pin.
    """
    ladder = Ladder(store=store, paths=subject.source.paths, pinned={}, form=subject.source.kind)
    pinned = {
        name: known
        for patch in subject.edits
        for name, known in pin(home.tree, [patch], ladder).items()
    }
    return Replayer(subject=subject, store=store, home=home.tree, pinned=pinned)


def replay(
    subject: history.Subject, library: history.Library, lock: Lock, *, limit: int, span: float
) -> list[Row]:
    """Replay a subject's edits on the releases nearest to its pin.

    At most `limit` releases within `span` months are taken, the nearest first.
    """
    offered = history.releases(library.registry, subject.source)
    dated = history.dates(library.registry, subject, lock)
    offered = [replace(release, when=dated.get(release.version)) for release in offered]
    position = next(
        number for number, release in enumerate(offered) if release.version == subject.version
    )
    home = library.base(subject, offered[position])
    played = replayer(subject, home, library.store)
    rows: list[Row] = []
    near = sorted(enumerate(offered), key=lambda each: abs(each[0] - position))
    chosen = [
        each
        for each in near
        if each[1].when is None or abs(history.months(each[1].when, home.when)) <= span
    ]
    for number, release in chosen[: limit + 1]:
        try:
            base = library.base(subject, release)
        except ForkhouseError as error:
            click.echo(f"{subject.source.package} {release.version} is left out: {error}", err=True)
            continue
        rows += [
            played.row(
                patch, base, months=history.months(base.when, home.when), away=number - position
            )
            for patch in subject.edits
        ]
        click.echo(f"  {subject.source.package} {release.version}", err=True)
    for row in rows:
        # At the pin every tool must do what the edit does, or the twins are none.
        if row.releases_away == 0 and not all(
            outcome.survived and outcome.as_ours for outcome in row.outcomes.values()
        ):
            message = f"{row.edit} at the pin itself: {row.outcomes}"
            raise RuntimeError(message)
    return [row for row in rows if row.releases_away != 0]


def figures(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Return for each tool how many of the rows survive, and how many are wrong without a word."""
    return {
        tool: {
            "survived": sum(row.outcomes[tool].survived for row in rows),
            "survival": round(sum(row.outcomes[tool].survived for row in rows) / len(rows), 4)
            if rows
            else 0.0,
            "silent-wrong": sum(row.outcomes[tool].silently_wrong for row in rows),
            "fuzzy": sum(row.outcomes[tool].fuzzy for row in rows),
            "not-as-ours": sum(row.outcomes[tool].as_ours is False for row in rows),
        }
        for tool in TOOLS
    }


def distance(row: Row) -> str:
    """Return the class of distance that a row belongs to."""
    return f"<= {next((end for end in DISTANCES if abs(row.months) <= end), DISTANCES[-1])} months"


def classes(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Return the rows by distance, the nearest first."""
    found: dict[str, list[Row]] = {f"<= {end} months": [] for end in DISTANCES}
    for row in rows:
        found[distance(row)].append(row)
    return found


def losses(rows: Iterable[Row]) -> list[dict[str, object]]:
    """Return every edit that our engine did not apply although part of its target exists.

    Each has the reason; releases with the same reason are joined.
    """
    joined: defaultdict[tuple[str, str, str, str, str], list[str]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: -row.releases_away):
        if (
            row.target in {Target.WHOLE, Target.PART, Target.ELSEWHERE}
            and not row.outcomes[OURS].survived
        ):
            # What an error says of one release's own files is the same loss on another.
            cause = row.cause.partition(" Nearest to it:")[0].replace(row.release, "VERSION")
            joined[
                row.upstream, row.edit, row.verdict, row.target, row.outcomes[OURS].fault or cause
            ].append(row.release)
    keys = ("upstream", "edit", "verdict", "target", "cause")
    return [
        {**dict(zip(keys, key, strict=True)), "releases": releases}
        for key, releases in joined.items()
    ]


def summary(rows: Sequence[Row]) -> dict[str, object]:
    """Return everything that is measured, as values that JSON can hold."""
    whole = [row for row in rows if row.target is Target.WHOLE]
    some = [row for row in rows if row.target in {Target.WHOLE, Target.PART}]
    return {
        "edits": len({(row.upstream, row.edit) for row in rows}),
        "releases": dict(
            Counter(
                upstream
                for upstream, _, _ in {(row.upstream, row.form, row.release) for row in rows}
            )
        ),
        "rows": len(rows),
        "targets": dict(Counter(str(row.target) for row in rows)),
        "verdicts": dict(Counter(row.verdict for row in rows)),
        "where the whole target exists": figures(whole),
        "where some of the target exists": figures(some),
        "everywhere": figures(rows),
        "by distance, whole target": {
            name: {"rows": len(each), **figures(each)} for name, each in classes(whole).items()
        },
        "by edit, whole target": {
            name: figures([row for row in whole if f"{row.upstream}/{row.edit}" == name])
            for name in sorted({f"{row.upstream}/{row.edit}" for row in whole})
        },
        "losses": losses(rows),
        "replays": [asdict(row) for row in rows],
    }


def table(rows: Sequence[Row]) -> str:
    """Return each tool's survival by distance from the pin, and its silent errors at the end.

    Survival is counted where the whole target exists.
    """
    whole = [row for row in rows if row.target is Target.WHOLE]
    groups = {**classes(whole), "all": whole}
    lines = [
        f"{'whole target exists':<20}{'replays':>8}" + "".join(f"{tool:>14}" for tool in TOOLS)
    ]
    for name, each in groups.items():
        shares = figures(each)
        lines.append(
            f"{name:<20}{len(each):>8}"
            + "".join(f"{shares[tool]['survival']:>14.1%}" for tool in TOOLS)
        )
    some = [row for row in rows if row.target in {Target.WHOLE, Target.PART}]
    lines.append(
        f"{'+ part of it':<20}{len(some):>8}"
        + "".join(f"{figures(some)[tool]['survival']:>14.1%}" for tool in TOOLS)
    )
    every = figures(rows)
    faults = ("silent-wrong", "fuzzy", "not-as-ours")
    lines += [
        f"{name + ', everywhere':<28}" + "".join(f"{every[tool][name]:>14.0f}" for tool in TOOLS)
        for name in faults
    ]
    return "\n".join(lines)


@click.command()
@click.option(
    "--releases",
    "limit",
    default=60,
    show_default=True,
    help="At most so many releases of each upstream, the nearest first.",
)
@click.option(
    "--months",
    "span",
    default=13.0,
    show_default=True,
    help="Releases within so many months of the pin, either way.",
)
@click.option("--upstream", "only", multiple=True, help="Only this upstream; may be repeated.")
@click.option(
    "--json",
    "output",
    type=click.Path(path_type=Path),
    default=Path("build/bench/survival.json"),
    show_default=True,
)
def main(limit: int, span: float, only: tuple[str, ...], output: Path) -> None:
    """Replay the shipped edits with every tool on the releases that the package indexes offer.

    The indexes are those of the user's configuration.
    """
    if absent := missing():
        sys.exit(
            f"Not installed: {', '.join(absent)}. On Debian: apt-get install {' '.join(absent)}"
        )
    workspace = find_workspace(Path.cwd())
    lock = load(Lock, workspace.lock_path)
    series = {
        name: read_series(workspace.root / "patches" / name)
        for name in lock.upstreams
        if not only or name in only
    }
    library = history.Library(workspace.build / "bench", Registry(workspace.cache, offline=False))
    rows: list[Row] = []
    for subject in history.subjects(lock, series):
        rows += replay(subject, library, lock, limit=limit, span=span)
    write_atomic(output, json.dumps(summary(rows), indent=1).encode() + b"\n")
    click.echo(table(rows))
    for loss in losses(rows):
        click.echo(
            f"{loss['upstream']}/{loss['edit']} {loss['verdict']} (target: {loss['target']}): "
            f"{loss['cause']} {loss['releases']}"
        )
    click.echo(f"Written: {output}")


if __name__ == "__main__":
    main()
