"""`python -m forkhouse.conformance.peers SUITE...`.

Run suites of `tests/peers/` against the patch engine, and judge them.

Exit code 0: the engine did what the peers do, or refused it as listed. 1: it did not, or there are
no results. Others are those of `forkhouse.core.errors`.
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from forkhouse.conformance.peers import PeersError
from forkhouse.conformance.peers.cases import LANGUAGES, of_calls, of_documents
from forkhouse.conformance.peers.fetch import fetch
from forkhouse.conformance.peers.listing import compare, listed, with_list
from forkhouse.conformance.peers.outcome import CaseOutcome
from forkhouse.conformance.peers.replay import Judge
from forkhouse.conformance.peers.suite import PeerSuite
from forkhouse.core.errors import ForkhouseError
from forkhouse.core.progress import report, showing
from forkhouse.core.storage import write_atomic
from forkhouse.core.workspace import find_workspace
from forkhouse.documents.reading import load
from forkhouse.sources.index import Registry
from forkhouse.sources.store import ObjectStore

if TYPE_CHECKING:
    from forkhouse.conformance.peers.listing import ListingVerdict
    from forkhouse.conformance.peers.outcome import CaseResult
    from forkhouse.core.workspace import Workspace


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument(
    "documents",
    metavar="SUITE...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option("--offline", is_flag=True, help="Take the suites from the cache alone.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
@click.option(
    "--write", is_flag=True, help="Write the list of what is refused anew; you give the reasons."
)
def main(documents: tuple[Path, ...], *, offline: bool, as_json: bool, write: bool) -> None:
    """Run peers' own suites against the patch engine.

    Compare what it does with what they do, and what it refuses with SUITE's list.
    """
    workspace = find_workspace(Path.cwd())
    # A reader that is asked about odd documents has much to remark.
    warnings.simplefilter("ignore")
    verdicts: dict[str, ListingVerdict] = {}
    with showing():
        for document in documents:
            suite = load(PeerSuite, document)
            started = time.monotonic()
            results = _results(suite, workspace, offline=offline)
            if write:
                refused = listed(results, suite.refused, by_id=suite.suite not in LANGUAGES)
                write_atomic(
                    document,
                    with_list(document.read_text(encoding="utf-8"), refused).encode("utf-8"),
                )
                suite = load(PeerSuite, document)
            verdicts[suite.suite] = compare(results, suite.refused)
            report().line(
                suite.suite, f"{len(results)} cases in {time.monotonic() - started:.0f} s"
            )
            if not as_json:
                _print(suite.suite, results, verdicts[suite.suite])
    if as_json:
        click.echo(
            json.dumps({name: verdict.as_json() for name, verdict in verdicts.items()}, indent=1)
        )
    if not all(verdict.good for verdict in verdicts.values()):
        sys.exit(1)


def _results(suite: PeerSuite, workspace: Workspace, *, offline: bool) -> tuple[CaseResult, ...]:
    archive = fetch(suite.source, Registry(workspace.cache, offline=offline), offline=offline)
    if suite.suite in LANGUAGES:
        return tuple(of_documents(suite, archive))
    git = shutil.which("git")
    if git is None:
        message = "git decides what is right, and is not on this machine. Install it."
        raise PeersError(message)
    with tempfile.TemporaryDirectory(prefix="forkhouse-peers-") as folder:
        judge = Judge(store=ObjectStore(Path(folder)), git=Path(git))
        return tuple(of_calls(suite, archive, workspace.build / "peers-tests", judge))


def _print(name: str, results: tuple[CaseResult, ...], verdict: ListingVerdict) -> None:
    for problem in verdict.problems():
        click.echo(f"- {problem}")
    for why, count in Counter(
        result.said for result in results if result.outcome is CaseOutcome.PASSED_OVER
    ).most_common():
        click.echo(f"{name}: {count} not compared: {why}")
    counts = ", ".join(
        f"{verdict.counts[outcome]} {outcome}"
        for outcome in CaseOutcome
        if verdict.counts.get(outcome)
    )
    found = "all as listed" if verdict.good else f"NOT as listed, in {len(verdict.problems())} ways"
    click.echo(f"{name}: {counts}; {found}")


if __name__ == "__main__":
    # Asked to end, by nox for one: on the same way as after Ctrl-C, on which nothing is left
    # running.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main()
    except ForkhouseError as error:
        sys.stderr.write(f"peers-tests: {error.title} (exit code {error.exit_code})\n{error}\n")
        sys.exit(error.exit_code)
