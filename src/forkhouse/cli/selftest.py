"""`forkhouse selftest`: test an installed stack on the machine where it is to serve.

The program that is carried along with a wheelhouse has the command, too. So this module and what
it imports need Click and packaging alone.
"""

from __future__ import annotations

import json
import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from forkhouse.cli.house import (
    bound_option,
    check_folder,
    from_option,
    keys_option,
    revoked_option,
    say_signers,
    trust_of,
    unpacked,
    wheelhouse_at,
)
from forkhouse.cli.options import json_option, profile_option
from forkhouse.cli.output import say
from forkhouse.core.digests import sha256_file
from forkhouse.core.environments import site_packages
from forkhouse.core.errors import SelfTestError, UsageError
from forkhouse.core.progress import printable, report, showing
from forkhouse.core.wording import bullets
from forkhouse.selftest.environment import install_tests
from forkhouse.selftest.installed import differing
from forkhouse.selftest.machine import machine, transports
from forkhouse.selftest.reporting import summary, write_report
from forkhouse.selftest.running import DEVICES, SelftestTerms, run_tests
from forkhouse.serving.device import require_gpu
from forkhouse.wheelhouse.contents import read_contents
from forkhouse.wheelhouse.install import install_onto, install_wheelhouse
from forkhouse.wheelhouse.verifying import CHECKSUMS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkhouse.selftest.running import SelftestOutcome

_SHOWN = 20
FOLDER = click.Path(file_okay=False, path_type=Path)


def _words(_context: click.Context, _option: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Split a command as a shell does. Raises BadParameter."""
    try:
        return tuple(shlex.split(value or ""))
    except ValueError as error:
        message = f"{value!r} is no command: {error}."
        raise click.BadParameter(message) from error


@click.command()
@click.option(
    "--device",
    type=click.Choice(sorted(DEVICES)),
    default="cpu",
    show_default=True,
    help="Where the engines compute.",
)
@profile_option
@from_option
@click.option("--into", type=FOLDER, help="Install into this folder, and keep it.")
@click.option("--onto", type=FOLDER, help="Install onto this environment, as `install --onto`.")
@click.option(
    "--python",
    "interpreter",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Interpreter of an environment that the wheelhouse is installed in already.",
)
@click.option(
    "--report",
    "target",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File for the report; else selftest-DEVICE.zip in the current folder.",
)
@click.option(
    "--launcher",
    callback=_words,
    metavar="COMMAND",
    help="Put this before every process that uses the GPU: an emulator's command.",
)
@click.option("--model", type=FOLDER, help="Folder of a real model; else a random one is made.")
@click.option("--only", metavar="EXPRESSION", help="Run these tests, as pytest's -k takes it.")
@keys_option
@revoked_option
@bound_option
@json_option
@click.pass_context
def selftest(
    context: click.Context,
    device: str,
    profile: str,
    place: Path | None,
    into: Path | None,
    onto: Path | None,
    interpreter: Path | None,
    target: Path | None,
    launcher: tuple[str, ...],
    model: Path | None,
    only: str | None,
    trusted: Path | None,
    revoked: Path | None,
    bound: str | None,
    *,
    as_json: bool,
) -> None:
    """Test a wheelhouse on this machine: install it, serve from it, and write one file to send.

    The same tests as in a checkout, carried in the wheelhouse; no network is needed. Without
    --into, --onto and --python it is installed for the test alone.
    """
    if sum(each is not None for each in (into, onto, interpreter)) > 1:
        message = "Give one of --into, --onto and --python."
        raise click.UsageError(message)
    if launcher and device == "cpu":
        message = "--launcher is for processes that use a GPU: give --device mi210 with it."
        raise click.UsageError(message)
    gpu = DEVICES[device]
    if gpu is not None:
        require_gpu(gpu, launcher=launcher)
    target = (target or Path(f"selftest-{device}.zip")).absolute()
    if not target.parent.is_dir():
        message = f"{target.parent}, where the report would go, is no folder."
        raise UsageError(message)
    trust = trust_of(trusted, revoked)
    found = wheelhouse_at(context, profile, place)
    with (
        tempfile.TemporaryDirectory(prefix="fh-selftest-") as scratch,
        showing(),
        unpacked(found, into or onto or Path(scratch, "stack")) as wheelhouse,
    ):
        verified = check_folder(wheelhouse, trust, bound)
        if not as_json:
            say_signers(verified)
        stack = _installed(wheelhouse, into, onto, interpreter, Path(scratch, "stack"))
        terms = SelftestTerms(device=device, stack=stack, launcher=launcher, model=model, only=only)
        signers = [f"{each.name} ({each.keyid})" for each in verified.signers]
        told, outcome = _tested(wheelhouse, signers, terms, Path(scratch), quiet=as_json)
        write_report(target, told, Path(scratch), logs=not outcome.passed)
    if as_json:
        say(json.dumps(told, indent=1))
    else:
        _say(told, outcome, target)
    _refuse(outcome, target)


def _installed(
    wheelhouse: Path, into: Path | None, onto: Path | None, python: Path | None, scratch: Path
) -> Path:
    if python is not None:
        # Not resolved: the interpreter of a virtual environment is known by its link's place.
        return python.absolute()
    return (
        install_onto(wheelhouse, onto) if onto else install_wheelhouse(wheelhouse, into or scratch)
    )


def _tested(
    wheelhouse: Path, signers: list[str], terms: SelftestTerms, scratch: Path, *, quiet: bool
) -> tuple[dict[str, object], SelftestOutcome]:
    """Run the tests; return what is told of them, and what came of them."""
    report().line("selftest", "installing what the tests need")
    tests = install_tests(wheelhouse, scratch / "tests", terms.stack)
    report().line("selftest", "comparing what is installed with the wheelhouse")
    folders = [Path(each) for each in site_packages(terms.stack)]
    otherwise = list(differing(wheelhouse, folders))
    for each in otherwise:
        report().line(
            "selftest", f"{each.wheel} is not installed as it was built: {each.count} files differ"
        )

    def tell(line: str) -> None:
        say(printable(line), err=quiet)

    outcome = run_tests(tests, terms, scratch, tell)
    told = summary(
        terms,
        outcome,
        wheelhouse={
            "profile": read_contents(wheelhouse).profile,
            "sums": sha256_file(wheelhouse / CHECKSUMS),
            "signed-by": signers,
        },
        machine={**machine(), **transports(terms.stack, terms.launcher)},
        differing=otherwise,
    )
    return told, outcome


def _say(told: Mapping[str, object], outcome: SelftestOutcome, target: Path) -> None:
    how = "EMULATED, not on a GPU" if told["emulated"] else f"on {told['device']}"
    say(
        f"{outcome.count('passed')} tests passed, {outcome.count('failed')} failed, "
        f"{outcome.count('skipped')} skipped, in {outcome.seconds:.0f} s, {how}."
    )
    for each in outcome.results:
        if each.outcome == "skipped":
            say(f"skipped: {each.test}: {each.why}")
    say(f"The report is {target}. It has no keys and no variables of the environment.")


def _refuse(outcome: SelftestOutcome, target: Path) -> None:
    """Raise SelfTestError where tests failed, or none ran."""
    if outcome.passed:
        return
    failed = [each.test for each in outcome.results if each.outcome == "failed"]
    if not failed:
        message = (
            f"No test has passed: pytest ended with {outcome.code}. pytest.log in {target} says "
            "why; --only may fit no test."
        )
        raise SelfTestError(message)
    more = f"\n  and {len(failed) - _SHOWN} more" if len(failed) > _SHOWN else ""
    message = (
        f"{len(failed)} of {len(outcome.results)} tests failed:\n{bullets(failed[:_SHOWN])}{more}\n"
        f"The logs of their servers are in {target}."
    )
    raise SelfTestError(message)
