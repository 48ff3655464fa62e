"""`python -m forkhouse.conformance SUITE --stack-python PYTHON`.

Run a suite of `tests/upstream/`, and judge it.

Exit code 0: every test did what the suite says. 1: some did not, or there are no results. Others
are those of `forkhouse.core.errors`.
"""

from __future__ import annotations

import json
import signal
import sys
import tempfile
from pathlib import Path

import click

from forkhouse.conformance.run import lay_out, run_suite
from forkhouse.conformance.suite import Suite
from forkhouse.conformance.verdict import SuiteVerdict, compare
from forkhouse.core.errors import ForkhouseError
from forkhouse.core.progress import report, showing
from forkhouse.core.storage import fresh_folder
from forkhouse.core.workspace import find_workspace
from forkhouse.documents.lockfile import Lock
from forkhouse.documents.reading import load
from forkhouse.sources.index import Registry


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument(
    "document", metavar="SUITE", type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option(
    "--stack-python",
    "python",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Interpreter of the environment under test, which has pytest and pytest-timeout as well.",
)
@click.option("--offline", is_flag=True, help="Take the source from the cache alone.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
def main(document: Path, python: Path, *, offline: bool, as_json: bool) -> None:
    """Run an upstream's own tests, from its pinned source, in an environment.

    Compare what they do with what SUITE expects of them.
    """
    workspace = find_workspace(Path.cwd())
    suite, lock = load(Suite, document), load(Lock, workspace.lock_path)
    document = document.resolve()
    scratch = workspace.build / "upstream-tests" / suite.upstream
    # Not resolved: the interpreter of a virtual environment is a link, and is known by the link's
    # place.
    python = python.absolute()
    # Tests open sockets in the temporary folder, and the path of a socket may have a hundred
    # characters only: not below `build/`.
    with (
        showing(),
        fresh_folder(scratch),
        tempfile.TemporaryDirectory(prefix="forkhouse-") as temporary,
    ):
        version = lay_out(
            suite, lock, Registry(workspace.cache, offline=offline), scratch / "source"
        )
        report().line(
            suite.upstream,
            (
                f"running tests of {version}; their log is "
                f"{scratch.relative_to(workspace.root)}/pytest.log"
            ),
        )
        run = run_suite(
            suite,
            python,
            scratch / "source",
            logs=scratch,
            temporary=Path(temporary),
            prepare=document.with_name(suite.prepare) if suite.prepare else None,
            version=version,
        )
        verdict = compare(run.results, suite)
        if as_json:
            click.echo(
                json.dumps(
                    {"tested": run.tested, "seconds": round(run.seconds, 1), **verdict.as_json()},
                    indent=1,
                )
            )
        else:
            _print(verdict, f"{suite.upstream} {run.tested}, {run.seconds:.0f} s")
        if not verdict.good:
            # Leaves by way of the folder's guard, which keeps the log.
            sys.exit(1)


def _print(verdict: SuiteVerdict, title: str) -> None:
    for tally in verdict.tallies:
        counts = {
            "passed": tally.passed,
            "failed as expected": tally.failed_as_expected,
            "skipped as expected": tally.skipped_as_expected,
            "not as expected": tally.unexpected,
        }
        click.echo(
            f"{tally.file}: "
            f"{', '.join(f'{count} {what}' for what, count in counts.items() if count)}"
        )
    for problem in verdict.problems():
        click.echo(f"- {problem}")
    passed = sum(tally.passed for tally in verdict.tallies)
    listed = sum(tally.failed_as_expected + tally.skipped_as_expected for tally in verdict.tallies)
    wrong = (
        f"NOT as expected, in {len(verdict.problems())} ways"
        if verdict.problems()
        else "all as expected"
    )
    click.echo(f"{title}: {passed} passed, {listed} did not and are listed; {wrong}")


if __name__ == "__main__":
    # Asked to end, by nox for one: on the same way as after Ctrl-C, on which nothing is left
    # running.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main()
    except ForkhouseError as error:
        sys.stderr.write(f"upstream-tests: {error.title} (exit code {error.exit_code})\n{error}\n")
        sys.exit(error.exit_code)
