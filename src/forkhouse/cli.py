"""The command line: the one place where errors become exit codes and values become tables."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import secrets
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from forkhouse import __version__
from forkhouse.errors import ForkhouseError, StorageError
from forkhouse.progress import printable, report, showing
from forkhouse.signals import Stopped, listen
from forkhouse.workspace import find_workspace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from forkhouse.benchmark.results import Layout
    from forkhouse.closure import PinnedWheel
    from forkhouse.lock import Transfer
    from forkhouse.locking import Finding
    from forkhouse.pipeline import Intent, Plant, Product
    from forkhouse.radar import Matrix
    from forkhouse.sources import Policy
    from forkhouse.workspace import Workspace


def main() -> None:
    """Run the command line; every failure that is explained has its own exit code (see `errors`)."""
    listen()
    try:
        code = cli.main(standalone_mode=False)
        sys.stdout.flush()
    except Stopped as stopped:
        _say(f"Ended by {stopped.signal.name}. What is finished is kept; run the same command again.\n")
        # At once: threads that wait for a server would hold the interpreter.
        os._exit(stopped.exit_code)
    except BrokenPipeError:  # when the last of it was written
        os._exit(128 + signal.SIGPIPE)
    except OSError as error:
        # Of standard output, or of nothing that has a name: what has one was explained before.
        _say(f"forkhouse: {StorageError.title} (exit code {StorageError.exit_code})\n{error.strerror or error}. {_ADVICE}\n")
        os._exit(StorageError.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except ForkhouseError as error:
        sys.stderr.write(f"forkhouse: {error.title} (exit code {error.exit_code})\n{error}\n")
        sys.exit(error.exit_code)
    sys.exit(code or 0)


_ADVICE = "Look at where the output goes, at the free space, and at the limits of this process (ulimit -a), and run the same command again."


def _say(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(text)
        sys.stderr.flush()


def _access_options(command: click.decorators.FC) -> click.decorators.FC:
    for option in (
        click.option("--offline", is_flag=True, help="Use only what is in the cache."),
        click.option(
            "--mirror", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Folder of bare repositories for git pins."
        ),
        click.option(
            "--sources",
            type=click.Choice(["auto", "git", "registry"]),
            default="auto",
            show_default=True,
            help="Where upstreams come from: git when its host answers, else the registry; or one of them alone.",
        ),
    ):
        command = option(command)
    return command


class _Seconds(click.FloatRange):
    """A number of seconds: neither negative, which would wait for ever, nor anything but a number."""

    name = "seconds"

    def __init__(self) -> None:
        super().__init__(min=0)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number. Raises BadParameter."""
        seconds = float(super().convert(value, param, ctx))
        return seconds if math.isfinite(seconds) else self.fail(f"{value!r} is no number of seconds.", param, ctx)


_json = click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
_rocm = click.option(
    "--rocm", type=click.Path(exists=True, file_okay=False, path_type=Path), help="ROCm to compile with; else one is looked for."
)
_transfer = click.option(
    "--transfer", type=click.Choice(["rixl", "nixl-rocm"]), help="Transfer library of a ROCm profile, instead of the one in the lock."
)
_wait = click.option("--wait", type=_Seconds(), default=600, show_default=True, help="Seconds to wait for another run in this checkout.")
_profile = click.option("--profile", default="cpu", show_default=True, help="Profile of the lock.")


class _Commands(click.Group):
    """Commands in which a file that the system refuses, wherever it was met, is an explained failure."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command. Raises UsageError for a path that cannot be used, StorageError for a disk that refuses."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # Whoever read our output has had enough, as `head` does. Nothing more can be said there; click would call it exit code 1.
            os._exit(128 + signal.SIGPIPE)
        except RecursionError as error:
            from forkhouse.errors import DocumentError  # noqa: PLC0415  # start-up time

            message = "A file that had to be read is nested deeper than can be read. The last line above says what was being done."
            raise DocumentError(message) from error
        except OSError as error:
            from forkhouse.errors import UsageError  # noqa: PLC0415  # start-up time
            from forkhouse.workspace import storage_errors  # noqa: PLC0415  # start-up time

            if error.filename is None or not error.strerror:
                raise  # explained where the process ends
            name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else str(error.filename)
            with storage_errors(f"Using {name}"):
                if error.errno in _OF_THE_DISK:
                    raise
            shown = name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…"
            message = f"{shown} cannot be used: {error.strerror}. Look at the path, at what is there, and at who may read and write it."
            raise UsageError(message) from error


_LONGEST = 300
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="forkhouse")
@click.option("--root", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Checkout to work in, instead of this one.")
@click.pass_context
def cli(context: click.Context, root: Path | None) -> None:
    """Pin, patch, build and ship the forked inference stack."""
    context.obj = root


def _workspace(context: click.Context) -> Workspace:
    return find_workspace((context.obj or Path.cwd()).resolve())


def _plant(
    workspace: Workspace,
    sources: Policy,
    mirror: Path | None,
    *,
    offline: bool,
    rocm: Path | None = None,
    transfer: Transfer | None = None,
    unsafe: bool = False,
) -> Plant:
    from forkhouse.pipeline import open_plant  # noqa: PLC0415  # start-up time
    from forkhouse.sources import Access  # noqa: PLC0415  # start-up time

    access = Access(policy=sources, mirror=mirror and mirror.resolve(), offline=offline, cache=workspace.cache)
    return open_plant(workspace, access, rocm and rocm.resolve(), transfer, unsafe=unsafe)


@contextlib.contextmanager
def _working(workspace: Workspace, wait: float) -> Iterator[None]:
    """Show progress, and hold the checkout: no other run writes to it, and no build reads what is half written."""
    from forkhouse.workspace import exclusive  # noqa: PLC0415  # start-up time

    with showing(), exclusive(workspace, wait=wait):
        yield


@cli.command()
@_profile
@_access_options
@_rocm
@_transfer
@click.option("--system-packages", is_flag=True, help="As root: install missing system packages with apt-get.")
@click.option("--strict-sources", is_flag=True, help="Refuse a source of another version than the pinned one.")
@click.option(
    "--unsafe-no-sandbox",
    "unsafe",
    is_flag=True,
    help="Where this machine allows no sandbox, build without one: what is built can then do all that you can.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--all", "every", is_flag=True, help="Show every wheel at the end, those from the index among them.")
@_wait
@_json
@click.pass_context
def build(
    context: click.Context,
    profile: str,
    sources: Policy,
    mirror: Path | None,
    rocm: Path | None,
    transfer: Transfer | None,
    wait: float,
    *,
    offline: bool,
    system_packages: bool,
    strict_sources: bool,
    unsafe: bool,
    dry_run: bool,
    every: bool,
    as_json: bool,
) -> None:
    """Build the wheelhouse of a profile from the pinned, patched upstreams."""
    from forkhouse.freshness import forget, inputs, remember, unchanged  # noqa: PLC0415  # start-up time

    workspace = _workspace(context)
    chosen = (sources, mirror and mirror.resolve(), rocm and rocm.resolve(), transfer, strict_sources, unsafe)
    known = None if dry_run else unchanged(workspace, profile, chosen)
    if known is not None:
        with showing():
            report().line("wheelhouse", f"nothing has changed, {known['wheelhouse']} is up to date ({len(known['wheels'])} wheels)")
            for text in known.get("fallbacks", ()):
                report().line("wheelhouse", f"NOT AS PINNED: {text}. --strict-sources refuses it.")
        if as_json:
            click.echo(json.dumps({**known, "changed": False}, indent=1))
        return
    from forkhouse.pipeline import build_profile, built_state, fallback, plan, strict  # noqa: PLC0415  # start-up time

    with _working(workspace, wait):
        before = inputs(workspace, chosen)
        plant = _plant(workspace, sources, mirror, offline=offline, rocm=rocm, transfer=transfer, unsafe=unsafe)
        plant = strict(plant, profile) if strict_sources else plant
        intents = plan(plant, profile)
        for intent in intents:
            _announce(intent)
        if dry_run:
            if as_json:
                click.echo(json.dumps([asdict(intent) for intent in intents], indent=1))
            return
        forget(workspace, profile)
        product = build_profile(plant, profile, system_packages=system_packages)
        rows = _product_rows(product)
        answer: dict[str, Any] = {
            "wheelhouse": product.wheelhouse.folder.relative_to(workspace.root).as_posix(),
            "changed": product.wheelhouse.changed,
            "wheels": rows,
            "missing": [asdict(each) for each in product.missing],
            "fallbacks": [text for wheel in product.built if (text := fallback(plant, wheel.patched.source))],
        }
        if not product.missing:
            remember(
                workspace, profile, before, built_state(plant, product, {**answer, "wheels": [{**row, "seconds": 0.0} for row in rows]})
            )
    if as_json:
        click.echo(json.dumps(answer, indent=1))
    else:
        _closing(product, rows, answer["fallbacks"], profile, every=every)
    if product.missing:
        from forkhouse.errors import PartialError  # noqa: PLC0415  # start-up time

        lines = "\n".join(f"  - {each.name} {each.wanted}: {each.reason}\n    To have it: {each.remedy}." for each in product.missing)
        message = f"The wheelhouse of the profile {profile} is whole but for these wheels:\n{lines}"
        raise PartialError(message)


def _closing(product: Product, rows: Sequence[dict[str, object]], fallbacks: Sequence[str], profile: str, *, every: bool) -> None:
    """Print what a build made: our own wheels, the rest in one line, what is not as it was pinned, and what to do next."""
    ours = {wheel.path.name for wheel in product.built}
    columns = ("name", "version", "size", "sha256", "source", "patches", "seconds")
    shown = [row for row, pin in zip(rows, _ordered(product), strict=True) if every or pin.file in ours]
    _table("Wheels", columns, [[str(row[column]) for column in columns] for row in shown])
    rest = [pin for pin in product.wheelhouse.wheels if pin.file not in ours]
    if rest and not every:
        gigabytes = sum((product.wheelhouse.folder / pin.file).stat().st_size for pin in rest) / 1e9
        click.echo(f"and {len(rest)} from the index, {gigabytes:.2f} GB (--all shows them)")
    command = "install --into FOLDER" if not product.missing else "install --onto ENVIRONMENT"
    click.echo(f"Next: forkhouse {command} --profile {profile}")
    # Last, as it is what nobody may overlook.
    for text in fallbacks:
        click.echo(f"NOT AS PINNED: {text}. --strict-sources refuses it.")


def _ordered(product: Product) -> list[PinnedWheel]:
    ours = {wheel.path.name for wheel in product.built}
    return sorted(product.wheelhouse.wheels, key=lambda pin: (pin.file not in ours, pin.name))


def _announce(intent: Intent) -> None:
    report().line(
        intent.recipe, f"{intent.distribution} {intent.version} from {' or '.join(intent.sources)}; {len(intent.patches)} patches"
    )
    for reason in intent.passed_over:
        report().line(intent.recipe, f"not from {reason}")
    for archive in intent.archives:
        report().line(intent.recipe, f"needs an archive that is neither in the cache nor in a mirror: {archive}")
    if intent.missing_packages:
        report().line(intent.recipe, f"missing system packages: {', '.join(intent.missing_packages)}")


def _product_rows(product: Product) -> list[dict[str, object]]:
    from forkhouse.lock import describe  # noqa: PLC0415  # start-up time

    ours = {wheel.path.name: wheel for wheel in product.built}
    rows = []
    for pin in _ordered(product):
        wheel = ours.get(pin.file)
        megabytes = (product.wheelhouse.folder / pin.file).stat().st_size / 1e6
        rows.append(
            {
                "name": pin.name,
                "version": pin.version,
                "size": f"{megabytes:.1f} MB",
                "sha256": pin.sha256,
                "source": describe(wheel.patched.source.source) if wheel else "index, as it is",
                "patches": len(wheel.patched.applied) if wheel else 0,
                "seconds": round(wheel.seconds, 1) if wheel else 0.0,
            }
        )
    return rows


@cli.command()
@click.argument("target", required=False, metavar="[NAME[=VERSION]]")
@click.option("--check", "mode", flag_value="check", help="Compare the pins with what can be reached now.")
@click.option("--update", "mode", flag_value="update", help="Pin anew: NAME alone (at VERSION), or everything; then every closure.")
@click.option("--externals", "mode", flag_value="externals", help="Fill in the external wheels that the lock does not pin yet.")
@_access_options
@_wait
@_json
@click.pass_context
def lock(
    context: click.Context,
    target: str | None,
    mode: str | None,
    sources: Policy,
    mirror: Path | None,
    wait: float,
    *,
    offline: bool,
    as_json: bool,
) -> None:
    """Check or update upstream.lock and the pylock files beside it."""
    from forkhouse.locking import check, fill_externals, update  # noqa: PLC0415  # start-up time

    if mode is None or (mode != "update" and target):
        message = "Give --check, --externals, or --update with or without NAME[=VERSION]."
        raise click.UsageError(message)
    pin = _pin(target)
    workspace = _workspace(context)
    with _working(workspace, wait):
        plant = _plant(workspace, sources, mirror, offline=offline)
        if mode == "check":
            findings = check(plant)
        elif mode == "externals":
            findings = fill_externals(plant)
        else:
            findings = update(plant, *pin)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        columns = ("pin", "state", "asked", "detail")
        _table("Pins", columns, [[finding.subject, finding.state, finding.asked, finding.detail] for finding in findings])
    _refuse_wrong(findings)


def _pin(target: str | None) -> tuple[str | None, str | None]:
    """Return the name and the version that NAME[=VERSION] says; nothing of either where it was left out. Raises UsageError for half of it."""
    if target is None:
        return None, None
    name, equals, version = target.partition("=")
    if not name or (equals and not version):
        # All pins would be renewed for a name that a script left empty.
        message = f"'{target}' is not NAME or NAME=VERSION. Without either, everything is pinned anew."
        raise click.UsageError(message)
    return name, version or None


def _refuse_wrong(findings: Sequence[Finding]) -> None:
    from forkhouse.errors import HashMismatchError  # noqa: PLC0415  # start-up time

    wrong = [finding for finding in findings if finding.state == "wrong"]
    if wrong:
        lines = "\n".join(f"  - {finding.subject}: {finding.detail}" for finding in wrong)
        message = f"{len(wrong)} pins are not true:\n{lines}"
        raise HashMismatchError(message)


@cli.command()
@_profile
@click.option("--into", type=click.Path(path_type=Path), help="Virtual environment to make; it must not exist.")
@click.option("--onto", type=click.Path(path_type=Path), help="Environment that is there, with what the wheelhouse lacks (ROCm's PyTorch).")
@click.pass_context
def install(context: click.Context, profile: str, into: Path | None, onto: Path | None) -> None:
    """Install a profile from its wheelhouse alone, without a network: into a new environment, or onto one that fits."""
    from forkhouse.wheelhouse.install import install_onto, install_wheelhouse  # noqa: PLC0415  # start-up time

    if (into is None) == (onto is None):
        message = "Give --into for a new environment, or --onto for one that is there."
        raise click.UsageError(message)
    with showing():
        wheelhouse = _workspace(context).wheelhouse(profile)
        interpreter = install_wheelhouse(wheelhouse, into) if into else install_onto(wheelhouse, Path(str(onto)))
    click.echo(f"Installed. Its Python is {interpreter}")


@cli.command()
@_profile
@click.pass_context
def verify(context: click.Context, profile: str) -> None:
    """Check every file of a wheelhouse against its SHA256SUMS."""
    from forkhouse.wheelhouse.verifying import verify as verify_wheelhouse  # noqa: PLC0415  # start-up time

    with showing():
        count = verify_wheelhouse(_workspace(context).wheelhouse(profile))
    click.echo(f"All {count} files are as they were built.")


@cli.command()
@click.argument("wheels", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="WHEEL...")
@_profile
@click.option("--target", "targets", multiple=True, default=("gfx90a",), show_default=True, help="GPU that HIP libraries must serve.")
@click.option("--build-path", "build_paths", multiple=True, help="Folder that no file may name.")
@click.option("--excuse", "excused", multiple=True, metavar="NAME", help="CUDA package that is let in, as the lock's externals are.")
@click.option("--third-party", is_flag=True, help="Judge as wheels of others: names, requirements and linked libraries alone.")
@click.option(
    "--inventory", "recorded", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Kernels that must be there, as JSON."
)
@_json
def audit(
    wheels: tuple[Path, ...],
    profile: str,
    targets: tuple[str, ...],
    build_paths: tuple[str, ...],
    excused: tuple[str, ...],
    recorded: Path | None,
    *,
    third_party: bool,
    as_json: bool,
) -> None:
    """Look into wheels as is done before they enter a wheelhouse: no CUDA, GPU code for each target, true in all they say."""
    from forkhouse.audit import AuditTerms, KernelInventory, audit_wheel, read_policy, refuse  # noqa: PLC0415  # start-up time

    terms = AuditTerms(policy=read_policy(profile), targets=targets, build_paths=build_paths, excused=frozenset(excused))
    inventory = KernelInventory.parse(recorded.read_bytes(), name=recorded.name) if recorded else None
    reports = []
    with showing(), report().task("audit", total=len(wheels)) as task:
        for wheel in wheels:
            reports.append(audit_wheel(wheel, terms, ours=not third_party, recorded=inventory))
            task.advance(1)
    if as_json:
        click.echo(json.dumps([each.as_json() for each in reports], indent=1))
    else:
        rows = [
            [
                each.file,
                "passed" if each.passed else "refused",
                each.glibc or "-",
                ", ".join(sorted({library.target for library in each.kernels})) or "-",
                str(sum(len(library.kernels) for library in each.kernels)),
            ]
            for each in reports
        ]
        _table("Audit", ("wheel", "verdict", "glibc", "GPU targets", "kernels"), rows)
        for each in reports:
            for note in each.notes:
                click.echo(printable(f"note: {each.file}: {note}"))
    refuse(reports)


@cli.command()
@click.option("--target", default="gfx90a", show_default=True, help="GPU target to look for.")
def device(target: str) -> None:
    """Say which AMD GPUs this machine has; fail when none is of the target."""
    from forkhouse.serving.device import require_gpu  # noqa: PLC0415  # start-up time

    for gpu in require_gpu(target):
        click.echo(str(gpu))


@cli.command()
@_rocm
@click.option("--dry-run", is_flag=True, help="Make no private toolchain; only say what is found.")
@_access_options
@_wait
@_json
@click.pass_context
def toolchain(
    context: click.Context,
    sources: Policy,
    mirror: Path | None,
    rocm: Path | None,
    wait: float,
    *,
    dry_run: bool,
    offline: bool,
    as_json: bool,
) -> None:
    """Find a HIP toolchain that compiles for the GPU targets, and say what was wrong with the others; where there is none, make one."""
    from forkhouse.errors import ToolchainError  # noqa: PLC0415  # start-up time

    workspace = _workspace(context)
    with _working(workspace, wait):
        looks = list(_plant(workspace, sources, mirror, offline=offline, rocm=rocm).looks(make=not dry_run))
    rows = [[look.origin, str(look.root or ""), "yes" if look.toolchain else "no", look.reason] for look in looks]
    columns = ("origin", "root", "usable", "reason")
    if as_json:
        click.echo(json.dumps([dict(zip(columns, row, strict=True)) for row in rows], indent=1))
    else:
        _table("HIP toolchains, in the order of preference", columns, rows)
    if not any(look.toolchain for look in looks):
        message = "None of these compiles for the GPU targets of the lock. Install ROCm, give --rocm DIR, or run this without --dry-run."
        raise ToolchainError(message)


@cli.command()
@click.argument("profile", required=False)
@_rocm
@_transfer
@_json
@click.pass_context
def doctor(context: click.Context, profile: str | None, rocm: Path | None, transfer: Transfer | None, *, as_json: bool) -> None:
    """Say what a profile (or each of them) needs of this machine, what is there, and how each gap is closed. Nothing is changed."""
    import shutil  # noqa: PLC0415  # start-up time

    from forkhouse.errors import ToolchainError  # noqa: PLC0415  # start-up time
    from forkhouse.toolchains.doctor import examine  # noqa: PLC0415  # start-up time

    with showing():
        plant = _plant(_workspace(context), "auto", None, offline=True, rocm=rocm, transfer=transfer)
        looks = list(plant.looks(make=False))
        needs = [
            need
            for name in ([profile] if profile else [each for each, held in plant.lock.profiles.items() if held.transfer or not transfer])
            for need in examine(
                name,
                plant.recipes(name),
                python=plant.lock.python,
                looks=looks,
                apt=bool(shutil.which("apt-get")),
                rocm=plant.find_rocm,
            )
        ]
    if as_json:
        click.echo(json.dumps([asdict(need) for need in needs], indent=1))
    else:
        columns = ("profile", "need", "state", "where", "version", "remedy")
        _table("Needs", columns, [[str(value) for value in asdict(need).values()] for need in needs])
    missing = sorted({need.need for need in needs if need.state == "missing"})
    if missing:
        message = f"Missing: {', '.join(missing)}. The table says how each is put right."
        raise ToolchainError(message)


@cli.group()
def patches() -> None:
    """Work on patch series: check, explain, export, apply, refresh, begin."""


_upstream = click.argument("upstream")


@patches.command("check")
@click.argument("upstream", required=False)
@click.option("--on", "version", help="Judge the series on this release of the upstream instead of the pin.")
@_access_options
@_json
@click.pass_context
def check_patches(
    context: click.Context, upstream: str | None, version: str | None, sources: Policy, mirror: Path | None, *, offline: bool, as_json: bool
) -> None:
    """Say what becomes of each patch on its pin, or on another release: a verdict, and its cause."""
    from forkhouse.errors import PatchConflictError  # noqa: PLC0415  # start-up time
    from forkhouse.workbench import judge, open_benches  # noqa: PLC0415  # start-up time

    workspace = _workspace(context)
    rows: list[dict[str, str]] = []
    with showing():
        plant = _plant(workspace, sources, mirror, offline=offline)
        folder = workspace.root / "patches"
        known = [path.name for path in sorted(folder.iterdir()) if path.is_dir()] if folder.is_dir() else []
        for name in [upstream] if upstream else known:
            benches, absent = open_benches(plant, name)
            for bench in benches:
                rows += [
                    {"upstream": name, "form": bench.form, "patch": each.patch, "verdict": str(each.verdict), "cause": each.cause}
                    for each in judge(plant, bench, version)
                ]
            rows += [{"upstream": name, "form": each.form, "patch": "", "verdict": "not judged", "cause": each.reason} for each in absent]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    else:
        _table("Patches", ("upstream", "form", "patch", "verdict", "cause"), [list(row.values()) for row in rows])
    conflicts = [f"{row['upstream']}/{row['patch']}" for row in rows if row["verdict"] == "conflict"]
    if conflicts:
        message = (
            f"In conflict: {', '.join(conflicts)}. `forkhouse patches refresh UPSTREAM --on VERSION` lays out what is needed to resolve it."
        )
        raise PatchConflictError(message)


@patches.command()
@_upstream
@click.argument("patch", required=False)
@_access_options
@click.pass_context
def explain(context: click.Context, upstream: str, patch: str | None, sources: Policy, mirror: Path | None, *, offline: bool) -> None:
    """Print what a patch (by the beginning of its name) changes at the pin, as a diff; without PATCH, the whole series."""
    from forkhouse.workbench import explain as explain_patch  # noqa: PLC0415  # start-up time
    from forkhouse.workbench import find_patches, open_benches  # noqa: PLC0415  # start-up time

    with showing():
        benches, absent = open_benches(_plant(_workspace(context), sources, mirror, offline=offline), upstream)
    for bench, found in find_patches(benches, patch):
        for each in found:
            click.echo(printable(f"# {each.name} ({bench.form}): {each.subject}"))
            text = explain_patch(bench, each)
            # Byte by byte for a file or a tool; a terminal would obey what an upstream's lines hold.
            click.echo(printable(text.decode(errors="replace")) if sys.stdout.isatty() else text)
    for missing in absent:
        click.echo(f"# Not shown: {missing.form}: {missing.reason}", err=True)


@patches.command()
@_upstream
@_access_options
@_wait
@click.pass_context
def export(context: click.Context, upstream: str, sources: Policy, mirror: Path | None, wait: float, *, offline: bool) -> None:
    """Write the series as git-format patches to build/export/UPSTREAM, for a reviewer or for `git am`."""
    from forkhouse.workbench import export as export_series  # noqa: PLC0415  # start-up time
    from forkhouse.workbench import open_benches  # noqa: PLC0415  # start-up time

    workspace = _workspace(context)
    with _working(workspace, wait):
        benches, absent = open_benches(_plant(workspace, sources, mirror, offline=offline), upstream)
        folder = workspace.build / "export" / upstream
        # Of an upstream in several forms each has a folder of its own: paths and context differ.
        written = [path for bench in benches for path in export_series(bench, folder if len(benches) == 1 else folder / bench.form)]
    for path in written:
        click.echo(path.relative_to(workspace.root).as_posix())
    for each in absent:
        click.echo(f"Not exported: {each.form}: {each.reason}", err=True)


@patches.command("apply")
@_upstream
@_access_options
@_wait
@click.pass_context
def apply_patches(context: click.Context, upstream: str, sources: Policy, mirror: Path | None, wait: float, *, offline: bool) -> None:
    """Write the patched source as files to build/patched/UPSTREAM."""
    from forkhouse.workbench import lay_out, open_bench  # noqa: PLC0415  # start-up time

    workspace = _workspace(context)
    with _working(workspace, wait):
        lay_out(open_bench(_plant(workspace, sources, mirror, offline=offline), upstream), workspace.build / "patched" / upstream)
    click.echo(f"build/patched/{upstream}")


@patches.command()
@_upstream
@click.option("--on", "version", required=True, help="The release to carry the series to.")
@click.option("--retire", is_flag=True, help="Take patches out of the series that are upstream or have lost their object.")
@click.option("--dry-run", is_flag=True, help="Say what would be rewritten, and write nothing.")
@_access_options
@_wait
@_json
@click.pass_context
def refresh(
    context: click.Context,
    upstream: str,
    version: str,
    sources: Policy,
    mirror: Path | None,
    wait: float,
    *,
    retire: bool,
    dry_run: bool,
    offline: bool,
    as_json: bool,
) -> None:
    """Carry a series to another release and rewrite only what must change; conflicts are laid out in build/conflicts/UPSTREAM."""
    from forkhouse.errors import PatchConflictError, UnreachableError, UsageError  # noqa: PLC0415  # start-up time
    from forkhouse.workbench import Absent, open_benches, other_base  # noqa: PLC0415  # start-up time
    from forkhouse.workbench import refresh as refresh_series  # noqa: PLC0415  # start-up time

    workspace = _workspace(context)
    conflicts = workspace.build / "conflicts" / upstream
    with _working(workspace, wait):
        plant = _plant(workspace, sources, mirror, offline=offline)
        benches, absent = open_benches(plant, upstream)
        carried, bases = [], []
        for number, bench in enumerate(benches):
            try:
                bases.append(other_base(plant, bench, version)[0])
                carried.append(bench)
            except (UnreachableError, UsageError) as error:
                if number == len(benches) - 1 and not carried:
                    raise
                absent.append(Absent(form=bench.form, reason=str(error)))
        series = workspace.root / "patches" / upstream
        changes = refresh_series(carried, bases, series=series, conflicts=conflicts, retire=retire, dry_run=dry_run)
    if as_json:
        click.echo(json.dumps([asdict(change) for change in changes], indent=1))
    else:
        columns = ("form", "patch", "verdict", "action")
        _table("Series", columns, [[change.form, change.patch, change.verdict, change.action] for change in changes])
    for each in absent:
        click.echo(f"Not judged: {each.form}: {each.reason}", err=True)
    if any(change.verdict == "conflict" for change in changes):
        where = (
            "without --dry-run, the files, the intent and the cause of each are laid out"
            if dry_run
            else "the files, the intent and the cause of each are"
        )
        message = f"Some patches need a person; {where} in build/conflicts/{upstream}."
        raise PatchConflictError(message)


@patches.command()
@_upstream
@click.option("--subject", required=True)
@click.option("--description", required=True, help="Why the patch is needed.")
@click.option("--path", required=True, help="File to change, as in the upstream's own tree.")
@click.option("--language", required=True, help="Language of the file, see docs/reference/patches.md.")
@click.option("--pattern", help="What to replace, as a pattern of the language.")
@click.option("--anchor", help="What to replace, as a text that is there once.")
@click.option("--with", "text", default="", help="What to put there; without it the match is removed.")
@_access_options
@_wait
@click.pass_context
def new(
    context: click.Context,
    upstream: str,
    subject: str,
    description: str,
    path: str,
    language: str,
    pattern: str | None,
    anchor: str | None,
    text: str,
    sources: Policy,
    mirror: Path | None,
    wait: float,
    *,
    offline: bool,
) -> None:
    """Begin a structural edit at the end of a series; it is written only when it applies at the pin and changes something."""
    from forkhouse.workbench import begin, open_bench  # noqa: PLC0415  # start-up time

    if (pattern is None) == (anchor is None):
        message = "Give exactly one of --pattern and --anchor."
        raise click.UsageError(message)
    workspace = _workspace(context)
    with _working(workspace, wait):
        bench = open_bench(_plant(workspace, sources, mirror, offline=offline), upstream)
        written = begin(
            bench,
            workspace.root / "patches" / upstream,
            subject=subject,
            description=description,
            path=path,
            language=language,
            selector=("pattern", pattern) if pattern is not None else ("anchor", anchor or ""),
            text=text,
        )
    click.echo(f"{written.relative_to(workspace.root)}: next, `forkhouse lock --update {upstream}` records its effect.")


@cli.command()
@click.argument("upstreams", nargs=-1)
@click.option("--before", type=click.IntRange(0), default=3, show_default=True, help="Releases before the pin.")
@click.option("--after", type=click.IntRange(0), default=12, show_default=True, help="Releases, or commits of a mirror, after the pin.")
@click.option("--until", default="HEAD", show_default=True, help="Revision of a mirror at which the commits end.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write the page here instead of build/radar.html.")
@click.option("--bump", metavar="NAME", help="Pin NAME at the newest candidate on which its whole series is settled.")
@_access_options
@_wait
@_json
@click.pass_context
def radar(
    context: click.Context,
    upstreams: tuple[str, ...],
    before: int,
    after: int,
    until: str,
    html: Path | None,
    bump: str | None,
    sources: Policy,
    mirror: Path | None,
    wait: float,
    *,
    offline: bool,
    as_json: bool,
) -> None:
    """Judge every series on every candidate pin: which patches survive, which are upstream, and what first broke the others."""
    from forkhouse.radar.page import page  # noqa: PLC0415  # start-up time
    from forkhouse.radar.survey import surveyable  # noqa: PLC0415  # start-up time
    from forkhouse.workspace import write_atomic  # noqa: PLC0415  # start-up time

    workspace = _workspace(context)
    with _working(workspace, wait):
        plant = _plant(workspace, sources, mirror, offline=offline)
        if bump:
            plant.upstream(bump)
        names = tuple(dict.fromkeys([*upstreams, *([bump] if bump else [])])) or surveyable(plant)
        matrices, not_judged = _surveys(plant, names, before=before, after=after, until=until)
        target = html or workspace.build / "radar.html"
        write_atomic(target, page(matrices).encode())
        bumped = _bump(plant, bump, [matrix for matrix in matrices if matrix.upstream == bump]) if bump else []
    if as_json:
        click.echo(json.dumps([matrix.as_json() for matrix in matrices], indent=1))
    else:
        for matrix in matrices:
            _print_matrix(matrix)
    # Beside JSON, too: what is not in a list of what was judged would otherwise count as judged.
    for name, reason in not_judged.items():
        click.echo(f"Not judged: {name}: {reason}", err=as_json)
    click.echo(f"The page: {target}", err=as_json)
    for finding in bumped if as_json else ():
        click.echo(f"Bump: {finding.subject}: {finding.state}: {finding.detail}", err=True)
    if bump and not as_json:
        _table("Bump", ("pin", "state", "detail"), [[finding.subject, finding.state, finding.detail] for finding in bumped])


def _surveys(plant: Plant, names: Sequence[str], *, before: int, after: int, until: str) -> tuple[list[Matrix], dict[str, str]]:
    """Survey upstreams, and name those that cannot be, each with the reason; one that cannot be ends nothing but itself.

    Raises UsageError for a name that the lock does not have, and what surveying raises where nothing at all could be judged.
    """
    from forkhouse.errors import UnreachableError, UsageError  # noqa: PLC0415  # start-up time
    from forkhouse.radar.survey import survey  # noqa: PLC0415  # start-up time

    for name in names:
        plant.upstream(name)
    matrices: list[Matrix] = []
    not_judged: dict[str, str] = {}
    for name in names:
        try:
            found, absent = survey(plant, name, before=before, after=after, until=until)
            matrices += found
            not_judged |= {f"{name} ({form})": reason for form, reason in absent.items()}
        except (UnreachableError, UsageError) as error:
            if name == names[-1] and not matrices:
                raise
            report().line(name, f"NOT judged: {error}")
            not_judged[name] = str(error)
    return matrices, not_judged


def _bump(plant: Plant, name: str, matrices: Sequence[Matrix]) -> list[Finding]:
    """Pin the newest release on which a whole series is settled in every form; say which commit is newer and settled, where one is."""
    from packaging.version import Version  # noqa: PLC0415  # start-up time

    from forkhouse.locking import Finding, update  # noqa: PLC0415  # start-up time
    from forkhouse.radar.survey import settled_releases  # noqa: PLC0415  # start-up time

    def said(text: str) -> Finding:
        return Finding(subject=name, state="ok", detail=text)

    pinned = plant.upstream(name)
    settled = [{Version(version): candidate for candidate, version in settled_releases(matrix, pinned)} for matrix in matrices]
    release = max(set.intersection(*map(set, settled)), default=None) if settled else None
    findings = []
    for matrix, found in zip(matrices, settled, strict=True):
        newest = matrix.newest_whole()
        if newest is not None and newest not in found.values():
            findings.append(said(f"{matrix.form}: the series is settled up to {newest.label}, which is no release"))
    if release is None:
        return [*findings, said("on no release is the whole series settled in every form; nothing was pinned")]
    if release <= Version(pinned.version):
        return [*findings, said(f"stays at {pinned.version}")]
    return findings + update(plant, name, str(release))


def _json_file(_context: click.Context, _parameter: click.Parameter, path: Path | None) -> Path | None:
    """Refuse a file that cannot be written before anything is measured for it, and a name that the page beside it would take as well."""
    if path is None:
        return None
    if path.suffix != ".json":
        message = f"{path.name} has to end in .json: the page goes beside it, as .html."
        raise click.BadParameter(message)
    folder = path.resolve().parent
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        message = f"{folder} is no folder that can be written to."
        raise click.BadParameter(message)
    return path


@cli.group()
def bench() -> None:
    """Measure serving under load, and compare two measurements."""


@bench.command("run")
@click.option("--endpoint", "address", metavar="URL", help="Measure the OpenAI-compatible server at this address.")
@click.option("--model", metavar="NAME", help="With --endpoint: the served model.")
@click.option(
    "--tokenizer", type=click.Path(exists=True, file_okay=False, path_type=Path), help="With --endpoint: folder of the model's tokenizer."
)
@click.option("--metrics", multiple=True, metavar="URL", help="With --endpoint: Prometheus metrics of a vLLM worker; may be given again.")
@click.option("--stack-python", type=click.Path(path_type=Path), help="Start and measure the stack that this Python is installed with.")
@click.option(
    "--model-folder", type=click.Path(exists=True, file_okay=False, path_type=Path), help="With --stack-python: model, else a tiny one."
)
@click.option("--worker-argument", "worker_arguments", multiple=True, metavar="TEXT", help="With --stack-python: argument of each worker.")
@click.option("--device", help="With --stack-python: cpu (the default) or mi210. With --endpoint: on what it computes, in your words.")
@_profile
@click.option("--layout", "layouts", multiple=True, type=click.Choice(["aggregated", "disaggregated"]), help="Default: both; or unknown.")
@click.option("--prefix-cache", "caches", multiple=True, type=click.Choice(["on", "off"]), help="Default: both; or unknown.")
@click.option("--concurrency", "concurrencies", multiple=True, type=click.IntRange(1, 4096), default=(1, 4), show_default=True)
@click.option("--rounds", type=click.IntRange(1, 100), default=3, show_default=True, help="Rounds of each concurrency.")
@click.option("--requests", type=click.IntRange(1, 10_000), default=8, show_default=True, help="Requests of a round for each in flight.")
@click.option("--prefix-tokens", type=click.IntRange(0), default=256, show_default=True, help="Tokens that the prompts of a round share.")
@click.option("--prompt-tokens", type=click.IntRange(1), default=128, show_default=True, help="Further tokens of each prompt.")
@click.option("--output-tokens", type=click.IntRange(2), default=32, show_default=True, help="Tokens of each answer.")
@click.option("--end-at-eos", is_flag=True, help="Let answers end early, for servers that do not know ignore_eos.")
@click.option(
    "--seed", type=click.IntRange(0, 2**30), help="Seed of the first round's prompts; default 1, with --endpoint another one each time."
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_json_file,
    help="JSON file, FILE.json; default build/bench/serving.json. HTML beside it.",
)
@click.option("--offline", is_flag=True, help="Install the load generator from the cache alone.")
@click.pass_context
def bench_run(
    context: click.Context,
    address: str | None,
    model: str | None,
    tokenizer: Path | None,
    metrics: tuple[str, ...],
    stack_python: Path | None,
    model_folder: Path | None,
    worker_arguments: tuple[str, ...],
    device: str | None,
    profile: str,
    layouts: tuple[Layout, ...],
    caches: tuple[str, ...],
    concurrencies: tuple[int, ...],
    rounds: int,
    requests: int,
    prefix_tokens: int,
    prompt_tokens: int,
    output_tokens: int,
    seed: int | None,
    output: Path | None,
    *,
    end_at_eos: bool,
    offline: bool,
) -> None:
    """Put load on a server, or on the stack in each of its arrangements, and write figures as JSON and as a page."""
    from forkhouse.benchmark import results  # noqa: PLC0415  # start-up time
    from forkhouse.benchmark.page import CPU_LABEL, measurement_page  # noqa: PLC0415  # start-up time
    from forkhouse.benchmark.run import Given, Plan, measure, measuring  # noqa: PLC0415  # start-up time
    from forkhouse.workspace import write_atomic  # noqa: PLC0415  # start-up time

    workspace = _workspace(context)
    if seed is None:
        # A server that is there may still hold the prompts of an earlier run in its prefix cache.
        seed = secrets.randbelow(2**30) if address else 1
    target = output or workspace.build / "bench" / "serving.json"
    load = results.Load(
        prefix_tokens=prefix_tokens,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        requests_per_slot=requests,
        ignore_eos=not end_at_eos,
    )
    given = Given(
        endpoint=address,
        model=model,
        tokenizer=tokenizer and tokenizer.resolve(),
        metrics=metrics,
        # Not resolved: the interpreter of a virtual environment is a link, and is known by the link's place.
        python=stack_python and stack_python.absolute(),
        model_folder=model_folder and model_folder.resolve(),
        worker_arguments=worker_arguments,
        device=device,
        wheelhouse=workspace.wheelhouse(profile),
        layouts=layouts,
        caches=tuple(cache == "on" for cache in caches),
    )
    plan = Plan(load=load, concurrencies=tuple(dict.fromkeys(concurrencies)), rounds=rounds, seed=seed)
    # Written before the folder goes with what the load generator wrote: a file that cannot be written loses nothing.
    with showing(), measuring(workspace) as folder:
        measurement = measure(workspace, given, plan, folder, offline=offline)
        results.write(measurement, target)
        write_atomic(target.with_suffix(".html"), measurement_page(measurement).encode())
    if measurement.environment.on_cpu:
        click.echo(CPU_LABEL)
    click.echo(f"{target}\n{target.with_suffix('.html')}")


@bench.command("compare")
@click.argument("first", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="A.json")
@click.argument("second", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="B.json")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write the comparison as a page, too.")
@_json
def bench_compare(first: Path, second: Path, html: Path | None, *, as_json: bool) -> None:
    """Give the ratio of B to A, and its spread, for each metric of each case that both have."""
    from forkhouse.benchmark.compare import compare  # noqa: PLC0415  # start-up time
    from forkhouse.benchmark.page import CPU_LABEL, comparison_page  # noqa: PLC0415  # start-up time
    from forkhouse.benchmark.results import read  # noqa: PLC0415  # start-up time
    from forkhouse.workspace import write_atomic  # noqa: PLC0415  # start-up time

    comparison = compare(read(first), read(second))
    if html:
        write_atomic(html, comparison_page(comparison, (first.name, second.name)).encode())
    if as_json:
        click.echo(json.dumps(comparison.as_json(), indent=1))
        return
    rows = [
        [
            pair.label,
            f"{each.metric.title}, {each.metric.unit}" if each.metric.unit else each.metric.title,
            f"{each.first:.4g}",
            f"{each.second:.4g}",
            f"{each.ratio:.3f}",
            "-" if each.low is None else f"{each.low:.3f} to {each.high:.3f}",
            each.verdict,
        ]
        for pair in comparison.pairs
        for each in pair.ratios()
    ]
    for name, measurement in (("A", comparison.first), ("B", comparison.second)):
        found = measurement.environment
        click.echo(f"{name}: {found.model} on {found.device or 'an unknown device'}, {measurement.begun}")
        if found.on_cpu:
            click.echo(f"   {CPU_LABEL}")
    if comparison.differences:
        _table("A and B differ in", ("what", "A", "B"), [[each.what, each.first, each.second] for each in comparison.differences])
    for name, labels in (("A", comparison.only_first), ("B", comparison.only_second)):
        for label in labels:
            click.echo(f"Only {name} has: {label}")
    _table("B to A", ("case", "metric", "A", "B", "ratio", "spread", "B is"), rows)
    if any(pair.chance() is None for pair in comparison.pairs):
        click.echo("A single round tells of no spread, and decides nothing.")


@bench.command("pin")
@_access_options
@_wait
@click.pass_context
def bench_pin(context: click.Context, sources: Policy, mirror: Path | None, wait: float, *, offline: bool) -> None:
    """Pin the load generator that pyproject.toml asks for, with all that it needs, in pylock.generator.toml."""
    from forkhouse.benchmark.generator import pin  # noqa: PLC0415  # start-up time

    workspace = _workspace(context)
    with _working(workspace, wait):
        pins = pin(_plant(workspace, sources, mirror, offline=offline))
    click.echo(f"Pinned {len(pins)} wheels.")


_LETTERS = {"clean": "=", "merged": "m", "restructured": "s", "upstreamed": "u", "obsolete": "o", "conflict": "X"}


def _print_matrix(matrix: Matrix) -> None:
    legend = ", ".join(f"{letter} {verdict}" for verdict, letter in _LETTERS.items())
    first, last = matrix.candidates[0].label, matrix.candidates[-1].label
    click.echo(
        f"\n{matrix.upstream} ({matrix.form}), {len(matrix.candidates)} candidates from {first} to {last}, pinned at {matrix.pin}. {legend}"
    )
    rows = []
    for row, name in enumerate(matrix.patches):
        broken = matrix.first_break(row)
        rows.append([name, "".join(_LETTERS[cell.verdict] for cell in matrix.cells[row]), broken.label if broken else "never"])
    _table(matrix.upstream, ("patch", "verdicts", "first broken by"), rows)
    if matrix.beyond:
        click.echo(f"{matrix.beyond} newer candidates were NOT judged; --after {len(matrix.candidates) + matrix.beyond} judges them, too.")
    whole = matrix.newest_whole()
    click.echo(f"The whole series is settled up to {whole.label}." if whole else "The whole series is settled on no candidate.")


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: drawn by rich on a terminal, tab-separated (so nothing is cut off) elsewhere."""
    rows = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty() and not os.environ.get("CI"):
        from rich.console import Console  # noqa: PLC0415  # start-up time
        from rich.table import Table  # noqa: PLC0415  # start-up time

        table = Table(*columns, title=title)
        for row in rows:
            table.add_row(*row)
        Console().print(table)
        return
    widths = [max(len(row[column]) for row in [columns, *rows]) for column in range(len(columns))]
    for row in (columns, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
