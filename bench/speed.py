"""Time the patch engine against the tools that people use today, on the same inputs.

`python -m bench.speed`.

Rounds are interleaved, so that a busy machine disturbs all alike; a ratio is that of the medians.
What the tools leave is compared too.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from email.utils import formatdate
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
from pygit2.enums import FileMode

from bench.apply import START, apply
from bench.dialects import DIALECTS
from bench.peers import make_quilt_series, missing, must, run
from bench.synthetic import HOUR, Upstream, generate
from forkhouse.core.journal import Journal
from forkhouse.core.storage import write_atomic
from forkhouse.patches.ladder import Ladder, pin
from forkhouse.radar.candidates import Candidate
from forkhouse.radar.scan import scan
from forkhouse.sources.store import ObjectStore, TreeEntry, TreeFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

SEED = 7
GOALS = {
    "apply / git am": 0.20,
    "apply / quilt": 0.10,
    "radar / worktree and git am -3": 0.05,
    "second radar / first": 0.01,
    "no-op build / empty nox session": 1.0,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Ratio:
    """Two medians, in seconds, and what was compared."""

    name: str
    ours: float
    theirs: float
    note: str = ""

    @property
    def ratio(self) -> float:
        """Our share of their time."""
        return self.ours / self.theirs


def timed(act: Callable[[], object]) -> float:
    """Return the seconds that something takes."""
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def interleaved(rounds: int, *acts: Callable[[], float]) -> list[float]:
    """Let each act measure itself once in every round, and return the medians."""
    measured: list[list[float]] = [[] for _ in acts]
    for _ in range(rounds):
        for times, act in zip(measured, acts, strict=True):
            times.append(act())
    return [statistics.median(times) for times in measured]


def mail(subject: str, diff: str, number: int) -> str:
    """Return a diff as a git-format patch."""
    return (
        f"From: Bench <bench@localhost>\nDate: {formatdate(START + number)}\nSubject: [PATCH] "
        f"{subject}\n\nFor the benchmark.\n---\n{diff}"
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class LongSeries:
    """Many textual patches in a row on one tree."""

    store: ObjectStore
    base: str
    commit: str
    folder: Path
    final: str


def long_series(folder: Path, *, patches: int, files: int) -> LongSeries:
    """Make a tree of `files` files and a series of `patches` patches.

    Each patch changes lines of one to three files.
    """
    chance = random.Random(SEED)  # a seed is the point
    store = ObjectStore(folder / "store.git")
    texts: dict[str, list[str]] = {}
    for number in range(files):
        dialect = DIALECTS[number % len(DIALECTS)]
        blocks = [
            dialect.block(
                f"part_{number}_{block}", dialect.filler(f"part_{number}", "middle", chance), chance
            )
            for block in range(12)
        ]
        texts[f"src/area_{number % 17}/file_{number}{dialect.suffix}"] = "\n".join(
            blocks
        ).splitlines(keepends=True)
    files_then = [
        TreeFile(path=path, content="".join(lines).encode(), mode=FileMode.BLOB)
        for path, lines in texts.items()
    ]
    base = store.import_files(files_then)
    commit = store.commit(base, message="Begin\n", epoch=START)
    store.name("speed", commit)
    series = folder / "patches"
    series.mkdir()
    # What the series leads to is made elsewhere: a tool that finds an object in the store need not
    # write it.
    workshop = ObjectStore(folder / "workshop.git")
    tree = workshop.import_files(files_then)
    for number in range(patches):
        entries: dict[str, TreeEntry | None] = {}
        for path in chance.sample(sorted(texts), chance.randrange(1, 4)):
            lines = texts[path]
            for _ in range(chance.randrange(1, 4)):
                lines[chance.randrange(len(lines))] = (
                    f"# patch {number} was here {chance.random()}\n"
                )
            entries[path] = TreeEntry(
                blob=str(workshop.repository.create_blob("".join(lines).encode())),
                mode=FileMode.BLOB,
            )
        after = workshop.with_entries(tree, entries)
        diff = must(
            run(folder, "git", f"--git-dir={workshop.folder}", "diff", "--full-index", tree, after)
        ).stdout.decode()
        (series / f"{number + 1:04}-change.patch").write_text(
            mail(f"Change {number}", diff, number), encoding="utf-8"
        )
        tree = after
    (series / "series").write_text(
        "".join(f"{number + 1:04}-change.patch\n" for number in range(patches)), encoding="utf-8"
    )
    return LongSeries(store=store, base=base, commit=commit, folder=series, final=tree)


def measure_apply(folder: Path, *, patches: int, rounds: int) -> list[Ratio]:
    """Time a series on a committed branch. Raises RuntimeError when the trees differ."""
    made = long_series(folder, patches=patches, files=600)
    mails = sorted(str(path) for path in made.folder.glob("*.patch"))
    number = iter(range(10_000))

    def check(tree: str, tool: str) -> None:
        if tree != made.final:
            message = f"{tool} left the tree {tree}, expected {made.final}"
            raise RuntimeError(message)

    def fresh_store() -> Path:
        # Objects that an earlier round wrote would be found, not written.
        target = folder / f"store-{next(number)}"
        shutil.copytree(made.store.folder, target)
        return target

    def ours_here() -> float:
        store, journal = fresh_store(), folder / f"journal-{next(number)}"
        trees: list[str] = []
        took = timed(
            lambda: trees.append(apply(store, made.base, made.commit, made.folder, journal))
        )
        check(trees[0], "forkhouse")
        return took

    def ours_from_the_start() -> float:
        arguments = [
            str(each)
            for each in (
                fresh_store(),
                made.base,
                made.commit,
                made.folder,
                folder / f"journal-{next(number)}",
            )
        ]
        command = [sys.executable, "-m", "bench.apply", *arguments]
        done: list[subprocess.CompletedProcess[str]] = []
        took = timed(
            lambda: done.append(subprocess.run(command, check=True, capture_output=True, text=True))
        )
        check(done[0].stdout.split()[-1], "forkhouse")
        return took

    def checkout() -> Path:
        work = folder / f"work-{next(number)}"
        must(
            run(
                folder,
                "git",
                "clone",
                "--quiet",
                "--no-checkout",
                str(made.store.folder),
                str(work),
            )
        )
        must(run(work, "git", "fetch", "--quiet", "origin", made.commit))
        must(run(work, "git", "checkout", "--quiet", "-b", "speed", made.commit))
        return work

    def git_am() -> float:
        work = checkout()
        took = timed(lambda: must(run(work, "git", "am", "--quiet", *mails)))
        check(must(run(work, "git", "rev-parse", "HEAD^{tree}")).stdout.decode().strip(), "git am")
        return took

    def quilt() -> float:
        work = checkout()
        make_quilt_series(work, {Path(path).name: Path(path).read_bytes() for path in mails})
        took = timed(lambda: must(run(work, "quilt", "--quiltrc", "-", "push", "-a", "-q")))
        must(run(work, "git", "add", "--all", "--", "src"))
        check(must(run(work, "git", "write-tree")).stdout.decode().strip(), "quilt")
        return took

    here, whole, am, pushed = interleaved(rounds, ours_here, ours_from_the_start, git_am, quilt)
    note = f"{patches} patches, tree of 600 files, equal trees"
    return [
        Ratio(name="apply / git am", ours=here, theirs=am, note=note),
        Ratio(
            name="apply / quilt", ours=here, theirs=pushed, note=note + "; quilt makes no commits"
        ),
        Ratio(name="apply with start of Python / git am", ours=whole, theirs=am, note=note),
    ]


def twins(upstream: Upstream, store: ObjectStore, folder: Path) -> list[str]:
    """Write the series of a synthetic upstream as git-format patches, and return their paths.

    Each patch applies on top of the one before it.
    """
    folder.mkdir()
    pinned = pin(upstream.trees[0], upstream.patches, Ladder(store=store, paths={}, pinned={}))
    written = []
    for number, patch in enumerate(upstream.patches):
        each = pinned[patch.name]
        diff = must(
            run(
                folder,
                "git",
                f"--git-dir={store.folder}",
                "diff",
                "--full-index",
                each.before,
                each.after,
            )
        ).stdout.decode()
        path = folder / f"{number + 1:04}.patch"
        path.write_text(mail(patch.subject, diff, number), encoding="utf-8")
        written.append(str(path))
    return written


def measure_radar(
    folder: Path, *, commits: int, patches: int, sample: int, rounds: int
) -> list[Ratio]:
    """Time how a series is judged on every commit of a history, and judged again.

    The peer is a git worktree with `git am -3` for each commit.
    """
    store = ObjectStore(folder / "radar.git")
    upstream = generate(
        store, folder / "radar-patches", seed=SEED, commits=commits, sites=patches, still=500
    )
    mails = twins(upstream, store, folder / "radar-twins")
    pinned = pin(upstream.trees[0], upstream.patches, Ladder(store=store, paths={}, pinned={}))
    ladder = Ladder(store=store, paths={}, pinned=pinned)
    candidates = [
        Candidate(label=commit[:12], order=number, when=START + number * HOUR, tree=tree)
        for number, (commit, tree) in enumerate(zip(upstream.commits, upstream.trees, strict=True))
    ]
    number = iter(range(10_000))
    rooms: list[tuple[Ladder, Journal]] = []

    def look() -> float:
        own, journal = rooms[-1]
        label = candidates[0].label
        return timed(
            lambda: scan(
                "synthetic",
                "git",
                label,
                candidates,
                upstream.patches,
                own,
                journal=journal,
                engine="bench",
            )
        )

    def first() -> float:
        # A store of its own: objects that an earlier round wrote would be found, not written.
        copy = folder / f"radar-{next(number)}.git"
        shutil.copytree(store.folder, copy)
        rooms.append(
            (
                replace(ladder, store=ObjectStore(copy)),
                Journal(folder / f"journal-radar-{next(number)}"),
            )
        )
        return look()

    clone = folder / "clone"
    must(
        run(
            folder,
            "git",
            "clone",
            "--quiet",
            "--no-checkout",
            "--shared",
            str(store.folder),
            str(clone),
        )
    )
    chosen = upstream.commits[:: max(1, len(upstream.commits) // sample)][:sample]

    def one_peer(commit: str) -> None:
        work = folder / f"worktree-{next(number)}"
        must(run(clone, "git", "worktree", "add", "--quiet", "--detach", str(work), commit))
        status = run(work, "git", "am", "-3", "--quiet", *mails).returncode
        # Every patch gets its try, as with ours: one that does not apply is skipped, and the rest
        # go on.
        for _ in mails:
            if status == 0:
                break
            status = run(work, "git", "am", "--skip").returncode
        must(run(clone, "git", "worktree", "remove", "--force", str(work)))

    def peer() -> float:
        seconds = [timed(partial(one_peer, commit)) for commit in chosen]
        return statistics.mean(seconds) * len(upstream.commits)

    ours, again, theirs = interleaved(rounds, first, look, peer)
    note = (
        f"{len(upstream.patches)} patches, {len(upstream.commits)} commits; the peer is measured "
        f"on {len(chosen)} of them and scaled"
    )
    return [
        Ratio(name="radar / worktree and git am -3", ours=ours, theirs=theirs, note=note),
        Ratio(name="second radar / first", ours=again, theirs=ours, note=note),
    ]


def measure_noop(folder: Path, *, rounds: int) -> list[Ratio]:
    """Time `forkhouse build` with nothing to do against a nox session that does nothing.

    The first build, not timed, may take long.
    """
    noxfile = folder / "noxfile.py"
    noxfile.write_text(
        'import nox\n\n\n@nox.session(venv_backend="none")\ndef empty(session: nox.Session) -> '
        "None:\n    pass\n",
        encoding="utf-8",
    )
    # A nox session has no nox of its own; then the one on the PATH serves.
    nox = [sys.executable, "-m", "nox"] if importlib.util.find_spec("nox") else ["nox"]
    empty = [*nox, "--noxfile", str(noxfile), "--session", "empty"]
    build = [sys.executable, "-m", "forkhouse", "build", "--profile", "cpu"]

    def command(arguments: Sequence[str]) -> float:
        return timed(lambda: subprocess.run(arguments, check=True, capture_output=True))

    command(build)
    command(empty)
    ours, theirs = interleaved(rounds, lambda: command(build), lambda: command(empty))
    return [
        Ratio(
            name="no-op build / empty nox session",
            ours=ours,
            theirs=theirs,
            note="whole processes; the cpu profile is up to date",
        )
    ]


def as_json(ratios: Sequence[Ratio], rounds: int) -> Mapping[str, object]:
    """Return the ratios as values that JSON can hold, with the machine that gave them."""
    return {
        "rounds": rounds,
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 2),
        "ratios": [
            {
                "name": each.name,
                "ratio": round(each.ratio, 4),
                "goal": GOALS.get(each.name),
                "ours": round(each.ours, 4),
                "theirs": round(each.theirs, 4),
                "note": each.note,
            }
            for each in ratios
        ],
    }


def table(ratios: Sequence[Ratio]) -> str:
    """Return the ratios as lines of text."""
    lines = [f"{'':<38}{'ours':>10}{'theirs':>10}{'ratio':>9}{'goal':>7}"]
    for each in ratios:
        goal = GOALS.get(each.name)
        shown = "" if goal is None else format(goal, ".2f")
        lines.append(
            f"{each.name:<38}{each.ours:>9.3f}s{each.theirs:>9.3f}s{each.ratio:>9.4f}{shown:>7}"
            f"  {each.note}"
        )
    return "\n".join(lines)


@click.command()
@click.option("--rounds", default=3, show_default=True)
@click.option(
    "--patches", default=150, show_default=True, help="Length of the series that is applied."
)
@click.option(
    "--commits",
    default=260,
    show_default=True,
    help="Length of the history that the radar looks at.",
)
@click.option(
    "--sample",
    default=12,
    show_default=True,
    help="Commits on which the radar's peer is measured; its time is scaled to all.",
)
@click.option(
    "--noop/--no-noop",
    default=False,
    help="Also time `forkhouse build` with nothing to do; it is built first where it is not.",
)
@click.option(
    "--json",
    "output",
    type=click.Path(path_type=Path),
    default=Path("build/bench/speed.json"),
    show_default=True,
)
def main(
    rounds: int, patches: int, commits: int, sample: int, noop: bool, output: Path
) -> None:  # click passes flags so
    """Time the patch engine, the radar and the no-op build against their peers."""
    if absent := missing():
        sys.exit(
            f"Not installed: {', '.join(absent)}. On Debian: apt-get install {' '.join(absent)}"
        )
    with tempfile.TemporaryDirectory(prefix="forkhouse-speed-") as scratch:
        folder = Path(scratch)
        ratios = measure_apply(folder, patches=patches, rounds=rounds)
        click.echo(table(ratios), err=True)
        ratios += measure_radar(folder, commits=commits, patches=20, sample=sample, rounds=rounds)
        if noop:
            ratios += measure_noop(folder, rounds=rounds)
    write_atomic(output, json.dumps(as_json(ratios, rounds), indent=1).encode() + b"\n")
    click.echo(table(ratios))


if __name__ == "__main__":
    main()
