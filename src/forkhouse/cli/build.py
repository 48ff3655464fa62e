"""`forkhouse build`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from forkhouse.cli.opening import opened, working, workspace_of
from forkhouse.cli.options import (
    access_options,
    json_option,
    profile_option,
    rocm_option,
    transfer_option,
    wait_option,
)
from forkhouse.cli.output import print_table, say
from forkhouse.core.errors import PartialError
from forkhouse.core.progress import report, showing
from forkhouse.flow.freshness import forget, inputs, remember, unchanged

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from forkhouse.documents.lockfile import Transfer
    from forkhouse.documents.pins import PinnedWheel
    from forkhouse.flow.building import Product
    from forkhouse.flow.plan import Intent
    from forkhouse.sources.acquire import SourcePolicy


@click.command()
@profile_option
@access_options
@rocm_option
@transfer_option
@click.option(
    "--system-packages", is_flag=True, help="As root: install missing system packages with apt-get."
)
@click.option(
    "--strict-sources", is_flag=True, help="Refuse a source of another version than the pinned one."
)
@click.option(
    "--unsafe-no-sandbox",
    "unsafe",
    is_flag=True,
    help="Where this machine allows no sandbox, build without one: what is built can then do all "
    "that you can.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option(
    "--all",
    "every",
    is_flag=True,
    help="Show every wheel at the end, those from the index among them.",
)
@wait_option
@json_option
@click.pass_context
def build(
    context: click.Context,
    profile: str,
    sources: SourcePolicy,
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
    workspace = workspace_of(context)
    chosen = (
        sources,
        mirror and mirror.resolve(),
        rocm and rocm.resolve(),
        transfer,
        strict_sources,
        unsafe,
    )
    known = None if dry_run else unchanged(workspace, profile, chosen)
    if known is not None:
        with showing():
            report().line(
                "wheelhouse",
                (
                    f"nothing has changed, {known['wheelhouse']} is up to date "
                    f"({len(known['wheels'])} wheels)"
                ),
            )
            for text in known.get("fallbacks", ()):
                report().line("wheelhouse", f"NOT AS PINNED: {text}. --strict-sources refuses it.")
            for text in known.get("lacks", ()):
                report().line("wheelhouse", text)
        if as_json:
            say(json.dumps({**known, "changed": False}, indent=1))
        return
    from forkhouse.flow.plan import plan, strict

    with working(workspace, wait):
        before = inputs(workspace, chosen)
        plant = opened(
            workspace, sources, mirror, offline=offline, rocm=rocm, transfer=transfer, unsafe=unsafe
        )
        plant = strict(plant, profile) if strict_sources else plant
        intents = plan(plant, profile)
        for intent in intents:
            _announce(intent)
        if dry_run:
            if as_json:
                say(json.dumps([asdict(intent) for intent in intents], indent=1))
            return
        from forkhouse.flow.building import build_profile, built_state, fallback, lacking

        forget(workspace, profile)
        product = build_profile(plant, profile, system_packages=system_packages)
        rows = _product_rows(product)
        answer: dict[str, Any] = {
            "wheelhouse": product.wheelhouse.folder.relative_to(workspace.root).as_posix(),
            "changed": product.wheelhouse.changed,
            "wheels": rows,
            "missing": [asdict(each) for each in product.missing],
            "fallbacks": [
                text for wheel in product.built if (text := fallback(plant, wheel.patched.source))
            ],
            "lacks": sorted({text for wheel in product.built for text in lacking(wheel)}),
        }
        if not product.missing:
            remember(
                workspace,
                profile,
                before,
                built_state(
                    plant, product, {**answer, "wheels": [{**row, "seconds": 0.0} for row in rows]}
                ),
            )
    if as_json:
        say(json.dumps(answer, indent=1))
    else:
        _closing(product, rows, answer["fallbacks"], profile, every=every)
    if product.missing:
        lines = "\n".join(
            f"  - {each.name} {each.wanted}: {each.reason}\n    To have it: {each.remedy}."
            for each in product.missing
        )
        message = f"The wheelhouse of the profile {profile} is whole but for these wheels:\n{lines}"
        raise PartialError(message)


def _closing(
    product: Product,
    rows: Sequence[dict[str, object]],
    fallbacks: Sequence[str],
    profile: str,
    *,
    every: bool,
) -> None:
    """Print what a build made.

    Our own wheels, the rest in one line, what is not as it was pinned, and what to do next.
    """
    ours = {wheel.path.name for wheel in product.built}
    columns = ("name", "version", "size", "sha256", "source", "patches", "seconds")
    shown = [
        row for row, pin in zip(rows, _ordered(product), strict=True) if every or pin.file in ours
    ]
    print_table("Wheels", columns, [[str(row[column]) for column in columns] for row in shown])
    rest = [pin for pin in product.wheelhouse.wheels if pin.file not in ours]
    if rest and not every:
        gigabytes = sum((product.wheelhouse.folder / pin.file).stat().st_size for pin in rest) / 1e9
        say(f"and {len(rest)} from the index, {gigabytes:.2f} GB (--all shows them)")
    command = "install --into FOLDER" if not product.missing else "install --onto ENVIRONMENT"
    say(f"Next: forkhouse {command} --profile {profile}")
    # Last, as it is what nobody may overlook.
    for text in fallbacks:
        say(f"NOT AS PINNED: {text}. --strict-sources refuses it.")


def _ordered(product: Product) -> list[PinnedWheel]:
    ours = {wheel.path.name for wheel in product.built}
    return sorted(product.wheelhouse.wheels, key=lambda pin: (pin.file not in ours, pin.name))


def _announce(intent: Intent) -> None:
    report().line(
        intent.recipe,
        (
            f"{intent.distribution} {intent.version} from {' or '.join(intent.sources)}; "
            f"{len(intent.patches)} patches"
        ),
    )
    for reason in intent.passed_over:
        report().line(intent.recipe, f"not from {reason}")
    for archive in intent.archives:
        report().line(
            intent.recipe,
            f"needs an archive that is neither in the cache nor in a mirror: {archive}",
        )
    if intent.missing_packages:
        report().line(
            intent.recipe, f"missing system packages: {', '.join(intent.missing_packages)}"
        )


def _product_rows(product: Product) -> list[dict[str, object]]:
    from forkhouse.documents.lockfile import describe  # start-up time

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
