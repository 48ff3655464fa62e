"""Edit real files at random and let the languages' own readers judge: `python -m bench.edits`.

Silently wrong or a crash: exit code 1.
"""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.edits.blocks import BLOCK, FAILURES, SHOWN, operations
from bench.edits.corpus import corpus
from bench.edits.languages import SHARES
from bench.edits.report import EXAMPLES, Tally, write_failure, write_figures
from forkhouse.core.workspace import find_workspace
from forkhouse.sources.index import Registry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bench.edits.corpus import File

_files: Mapping[str, Sequence[File]] = {}
"""The corpus; processes are forked, so that it is read once."""
SLICE = 5
"""Blocks that a process does before it reports."""


def judged(blocks: Iterable[int], seed: int, folder: Path, *, only: int | None = None) -> Tally:
    """Run blocks of operations and return the counts of their outcomes.

    Writes the first failures of each kind to `folder`, for a person to look at.
    """
    tally = Tally()
    for block in blocks:
        for done in operations(block, seed, _files, only=only):
            if tally.count(done) <= EXAMPLES and done.outcome.verdict in SHOWN:
                write_failure(folder, done, seed)
    return tally


@click.command()
@click.option(
    "--operations", "wanted", default=200_000, show_default=True, help="How many operations."
)
@click.option(
    "--seed", default=1, show_default=True, help="The same seed gives the same operations."
)
@click.option(
    "--language",
    "languages",
    multiple=True,
    type=click.Choice(sorted(SHARES)),
    help="Only these languages.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=1),
    help="Begin nothing new after this time; the operations that were done count.",
)
@click.option("--processes", default=min(2, os.cpu_count() or 1), show_default=True)
@click.option("--only", help="BLOCK:NUMBER of one operation, as a failure names it.")
@click.option("--offline", is_flag=True, help="Take the files from the cache alone.")
def main(
    wanted: int,
    seed: int,
    languages: tuple[str, ...],
    seconds: float | None,
    processes: int,
    only: str | None,
    *,
    offline: bool,
) -> None:
    """Edit real files at random and let the languages' own readers judge."""
    global _files  # what forked processes share
    workspace = find_workspace(Path.cwd())
    folder = workspace.build / "fuzz-edits"
    begun = time.monotonic()
    found = corpus(Registry(workspace.cache, offline=offline), offline=offline)
    _files = {language: files for language, files in found.items() if language in SHARES}
    if only is not None:
        block, number = map(int, only.split(":"))
        (done,) = operations(block, seed, _files, only=number)
        click.echo(write_failure(folder, done, seed).read_text(encoding="utf-8"))
        sys.exit(done.outcome.verdict in FAILURES)
    _files = {
        language: files
        for language, files in _files.items()
        if not languages or language in languages
    }
    click.echo(
        f"{sum(map(len, _files.values()))} files of {len(_files)} languages, read in "
        f"{time.monotonic() - begun:.0f} s"
    )
    tally = Tally()
    blocks = range(-(-wanted // BLOCK))
    waiting = iter([blocks[start : start + SLICE] for start in range(0, len(blocks), SLICE)])
    with ProcessPoolExecutor(processes) as pool:
        running = {
            pool.submit(judged, part, seed, folder) for part in islice(waiting, 2 * processes)
        }
        while running:
            ended, running = wait(running, return_when=FIRST_COMPLETED)
            for each in ended:
                tally.add(each.result())
            late = seconds is not None and time.monotonic() - begun > seconds
            running |= {
                pool.submit(judged, part, seed, folder)
                for part in islice(waiting, 0 if late else len(ended))
            }
    taken = time.monotonic() - begun
    write_figures(folder / "figures.json", tally, seed=seed, seconds=taken)
    click.echo(tally.table())
    click.echo(
        f"{tally.verdicts.total()} operations in {taken:.0f} s, seed {seed}; silently wrong or "
        f"crashed: {tally.failures}"
    )
    if tally.failures:
        click.echo(
            f"The first {EXAMPLES} of each kind are in {folder.relative_to(workspace.root)}, each "
            "with the command that does it again."
        )
    sys.exit(tally.failures > 0)


if __name__ == "__main__":
    main()
