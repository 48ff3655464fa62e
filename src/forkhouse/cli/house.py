"""`forkhouse verify`, `install`, `list` and `why`: what is done with a finished wheelhouse.

The program that is carried along with a wheelhouse has the same commands. So this module and what
it imports need Click and packaging alone.
"""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from packaging.utils import canonicalize_name

from forkhouse.carry.bundle import extract, is_bundle, open_bundle, verify_bundle
from forkhouse.carry.packing import Bundles, joined, write_bundle
from forkhouse.cli.options import json_option, profile_option, split_option
from forkhouse.cli.output import print_table, say
from forkhouse.core.errors import UsageError
from forkhouse.core.progress import showing
from forkhouse.core.storage import locked_scratch
from forkhouse.provenance.attestation import ENVELOPE, moment_text
from forkhouse.provenance.signing import Trusted
from forkhouse.wheelhouse.contents import NAME as MANIFEST
from forkhouse.wheelhouse.contents import PROFILE, chain, parse_contents, read_contents
from forkhouse.wheelhouse.generations import list_generations, roll_back, where_current_leads
from forkhouse.wheelhouse.generations import prune as prune_generations
from forkhouse.wheelhouse.install import install_onto, install_wheelhouse
from forkhouse.wheelhouse.trust import SignedContents, Verified, check, envelope_of, in_folder
from forkhouse.wheelhouse.verifying import verify_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from forkhouse.wheelhouse.contents import Contents

WHEELHOUSE = "wheelhouse"
"""The folder of a bundle that has the wheelhouse."""
from_option = click.option(
    "--from",
    "place",
    type=click.Path(exists=True, path_type=Path),
    metavar="PLACE",
    help="Folder of a wheelhouse, or a bundle, instead of the profile's in this checkout.",
)


keys_option = click.option(
    "--trusted-keys",
    "trusted",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Whose signature has to be there: ssh's allowed signers, or public keys in PEM.",
)


bound_option = click.option(
    "--not-older-than",
    "bound",
    metavar="TIME|PLACE",
    help="Refuse what was signed before a time, or before an earlier wheelhouse was: its folder, "
    f"its bundle, or its {ENVELOPE}.",
)


revoked_option = click.option(
    "--revoked-keys",
    "revoked",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="ssh keys that are not trusted any more: a revocation list of ssh, or public keys.",
)


def wheelhouse_at(context: click.Context, profile: str, place: Path | None) -> Path:
    """Return the wheelhouse or bundle that a command is about: `place`, or a profile's."""
    # Each program that has these commands says where it looks.
    finder: Callable[[str], Path] = context.meta["forkhouse.wheelhouse"]
    return place.resolve() if place is not None else finder(profile)


def _contents(place: Path) -> Contents:
    """Return what the manifest says of a wheelhouse, in its folder or in a bundle.

    It has to be the manifest that was built; its wheels are looked at by `verify`.
    """
    if place.is_file():
        return parse_contents(open_bundle(place).content(f"{WHEELHOUSE}/{MANIFEST}"), place.name)
    verify_file(place, MANIFEST)
    return read_contents(place)


def _in_bundle(place: Path) -> SignedContents:
    """Return the wheelhouse in a bundle, as it is held against its signature."""
    bundle = open_bundle(place)
    below = f"{WHEELHOUSE}/"
    digests = {
        each.path.removeprefix(below): each.sha256
        for each in bundle.index.members
        if each.path.startswith(below)
    }
    # What runs when the bundle is run has to be what was signed, too.
    program = bundle.index.program
    digests[program.path.removeprefix(below)] = program.sha256
    signed = digests.pop(ENVELOPE, None) is not None
    return SignedContents(
        name=place.name,
        envelope=bundle.content(f"{below}{ENVELOPE}") if signed else None,
        manifest=bundle.content(f"{below}{MANIFEST}"),
        digests=digests,
        verify=lambda: verify_bundle(bundle),
    )


def _envelope_at(path: Path) -> bytes:
    """Return the envelope of an earlier wheelhouse, that of a bundle too. Raises OSError."""
    if not path.is_file() or not is_bundle(path):
        return envelope_of(path)
    bundle = open_bundle(path)
    name = f"{WHEELHOUSE}/{ENVELOPE}"
    if name not in {each.path for each in bundle.index.members}:
        raise FileNotFoundError(name)
    return bundle.content(name)


def trust_of(keys: Path | None, revoked: Path | None) -> Trusted | None:
    """Return who is trusted, None where nobody was named. Raises UsageError."""
    if keys is None and revoked is not None:
        message = "--revoked-keys says which of the trusted keys do not count: give --trusted-keys."
        raise click.UsageError(message)
    return None if keys is None else Trusted(keys=keys, revoked=revoked)


@contextlib.contextmanager
def unpacked(place: Path, beside: Path) -> Iterator[Path]:
    """Give the folder of a wheelhouse; that of a bundle is unpacked for a while beside a path."""
    if not place.is_file():
        yield place
        return
    bundle = open_bundle(place)
    place = beside.resolve()
    with locked_scratch(place.with_name(f".{place.name}.unpacked")) as scratch:
        extract(bundle, WHEELHOUSE, scratch / bundle.index.profile)
        yield scratch / bundle.index.profile


@click.command()
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("target", type=click.Path())
@split_option
def copy(source: Path, target: str, split: int | None) -> None:
    """Copy a bundle, in one piece or in parts; a copy that broke off goes on where it did.

    Each file is checked on its way.
    """
    with showing():
        bundle = open_bundle(source)
        folder = Path(target)
        file = folder / _whole_name(source) if folder.is_dir() else _file(target)
        written = write_bundle(bundle.index, Bundles(bundle), file, split=split)
    say("\n".join(map(str, written)))


@click.command()
@click.argument("delta", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("old", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("target", type=click.Path())
@split_option
def join(delta: Path, old: Path, target: str, split: int | None) -> None:
    """Make the whole bundle of a DELTA and the OLD bundle that it was made against.

    It has the bytes that a whole one would have been made with.
    """
    with showing():
        new, before = open_bundle(delta), open_bundle(old)
        whole = joined(new.index, before.index, old.name)
        written = write_bundle(whole, Bundles(new, before), _file(target), split=split)
    say("\n".join(map(str, written)))


def _file(target: str) -> Path:
    """Return a path that a file is to have. Raises UsageError for one that is a folder's."""
    if Path(target).is_dir() or target.endswith("/"):
        there = "is a folder" if Path(target).is_dir() else "is not there"
        message = f"{target} {there}. Name the file to write, or make the folder."
        raise UsageError(message)
    return Path(target)


def _whole_name(path: Path) -> str:
    """Return the name of a bundle by that of one of its parts."""
    return re.sub(r"\.\d{3}$", "", path.name)


@click.command()
@profile_option
@from_option
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    help="Folder to install into. One that is there already gets another installation, and the old "
    "one is kept.",
)
@click.option(
    "--onto",
    type=click.Path(path_type=Path),
    help="Environment that is there, with what the wheelhouse lacks (ROCm's PyTorch).",
)
@keys_option
@revoked_option
@bound_option
@click.pass_context
def install(
    context: click.Context,
    profile: str,
    place: Path | None,
    into: Path | None,
    onto: Path | None,
    trusted: Path | None,
    revoked: Path | None,
    bound: str | None,
) -> None:
    """Install a profile from its wheelhouse alone, without a network.

    Into a folder of its own, where installations are kept side by side (`generations`, `rollback`),
    or onto an environment that fits.
    """
    if (into is None) == (onto is None):
        message = "Give --into for a new environment, or --onto for one that is there."
        raise click.UsageError(message)
    trust = trust_of(trusted, revoked)
    found = wheelhouse_at(context, profile, place)
    with showing(), unpacked(found, into or onto or Path()) as wheelhouse:
        if trust is not None or bound is not None:
            say_signers(check_folder(wheelhouse, trust, bound))
        interpreter = (
            install_wheelhouse(wheelhouse, into)
            if into
            else install_onto(wheelhouse, Path(str(onto)))
        )
    say(f"Installed. Its Python is {interpreter}")


@click.command()
@click.argument("place", required=False, type=click.Path(exists=True, path_type=Path))
@profile_option
@keys_option
@revoked_option
@bound_option
@json_option
@click.pass_context
def verify(
    context: click.Context,
    place: Path | None,
    profile: str,
    trusted: Path | None,
    revoked: Path | None,
    bound: str | None,
    *,
    as_json: bool,
) -> None:
    """Check a wheelhouse: every file against its SHA256SUMS, and with keys who signed it.

    Of a bundle every byte is checked.

    PLACE is a folder, a bundle, or a part of one; without it, the wheelhouse of a profile in this
    checkout is checked.
    """
    trust = trust_of(trusted, revoked)
    with showing():
        house = wheelhouse_at(context, profile, place)
        found = (_check_bundle if house.is_file() else check_folder)(house, trust, bound)
    if as_json:
        answer = {
            **asdict(found),
            "finished": moment_text(found.finished) if found.finished else None,
        }
        say(json.dumps(answer, indent=1))
        return
    say(f"All {found.files} files are as they were built.")
    if found.left_out:
        say(
            f"{found.left_out} more are left out, as the site has them in the bundle before: "
            "`join` makes the whole one, which can be installed."
        )
        return
    say_signers(found)
    for file in found.excused:
        say(f"The audit let {file} in, as the lock names it.")
    if found.said:
        say(f"Signed with {', '.join(found.said)}, which nobody checked: give --trusted-keys.")
    elif not found.signers:
        say("Not signed.")


def check_folder(house: Path, trust: Trusted | None, bound: str | None) -> Verified:
    """Check the wheelhouse in a folder, as `trust.check` does, with a bundle as the bound too."""
    return check(in_folder(house), trust, bound, _envelope_at)


def _check_bundle(house: Path, trust: Trusted | None, bound: str | None) -> Verified:
    """Check a bundle. One that leaves files out is no wheelhouse, so nobody has signed it."""
    bundle = open_bundle(house)
    left_out = sum(each.held for each in bundle.index.members)
    if left_out and trust is None and bound is None:
        return Verified(files=verify_bundle(bundle), left_out=left_out)
    return check(_in_bundle(house), trust, bound, _envelope_at)


def say_signers(found: Verified) -> None:
    """Print who signed a wheelhouse."""
    for each in found.signers:
        at = f" at {moment_text(found.finished)}" if found.finished else ""
        say(f"Signed by {each.name} ({each.keyid}){at}: the profile {found.profile}.")


@click.command("list")
@profile_option
@from_option
@json_option
@click.pass_context
def list_wheels(context: click.Context, profile: str, place: Path | None, *, as_json: bool) -> None:
    """List the wheels of a wheelhouse, the largest first, and who requires each."""
    contents = _contents(wheelhouse_at(context, profile, place))
    wheels = sorted(contents.wheels, key=lambda wheel: (-wheel.size, wheel.name))
    if as_json:
        shown = ("name", "version", "file", "size", "built", "required_by")
        rows = [{key: asdict(wheel)[key] for key in shown} for wheel in wheels]
        say(json.dumps(rows, indent=1))
        return
    columns = ("wheel", "version", "MB", "origin", "required by")
    print_table(
        f"Wheels of the profile {contents.profile}",
        columns,
        [
            [
                wheel.name,
                wheel.version,
                f"{wheel.size / 1e6:.1f}",
                "built" if wheel.built else "index",
                ", ".join(wheel.required_by),
            ]
            for wheel in wheels
        ],
    )
    total = sum(wheel.size for wheel in wheels)
    say(f"{len(wheels)} wheels, {total / 1e6:.1f} MB")
    for name, reason in contents.omitted.items():
        say(f"left out: {name}: {reason}")
    for each in contents.missing:
        say(f"missing: {each.name} {each.wanted}: {each.reason}. To have it: {each.remedy}.")


@click.command()
@click.argument("name")
@profile_option
@from_option
@json_option
@click.pass_context
def why(
    context: click.Context, name: str, profile: str, place: Path | None, *, as_json: bool
) -> None:
    """Say why a wheel is in a wheelhouse: who requires it, how large it is, and what it brings."""
    contents = _contents(wheelhouse_at(context, profile, place))
    path = chain(contents, canonicalize_name(name))
    wheel = path[-1]
    brought = sorted(
        (
            each
            for each in contents.wheels
            if {requirer.partition("[")[0] for requirer in each.required_by} == {wheel.name}
        ),
        key=lambda each: (-each.size, each.name),
    )
    if as_json:
        answer = {
            **asdict(wheel),
            "path": [each.name for each in path],
            "alone-for-it": [each.name for each in brought],
        }
        say(json.dumps({key: answer[key] for key in answer if key != "torch_symbols"}, indent=1))
        return
    say(f"{wheel.name} {wheel.version}, {wheel.size / 1e6:.1f} MB ({wheel.file})")
    if wheel.why:
        say(f"The lock says: {wheel.why}")
    say(f"Required by: {', '.join(wheel.required_by)}")
    say(f"From: {' > '.join([PROFILE, *(each.name for each in path)])}")
    if brought:
        named = ", ".join(f"{each.name} ({each.size / 1e6:.1f} MB)" for each in brought)
        say(f"Required by it alone: {named}")


prefix_argument = click.argument(
    "prefix", type=click.Path(exists=True, file_okay=False, path_type=Path)
)


@click.command()
@prefix_argument
@json_option
def generations(prefix: Path, *, as_json: bool) -> None:
    """List the installations that `install --into PREFIX` made, and which one is current."""
    with showing():
        found = list_generations(prefix)
    if as_json:
        say(json.dumps([asdict(each) for each in found], indent=1))
        return
    columns = ("number", "current", "profile", "installed", "sha256 of its SHA256SUMS")
    rows = [
        [str(each.number), "yes" if each.current else "", each.profile, each.installed, each.sums]
        for each in found
    ]
    print_table("Installations", columns, rows)
    if not any(each.current for each in found):
        leads = where_current_leads(prefix)
        why = f"leads to {leads}, which is none of these" if leads else "is no link"
        say(f"None of them is current: {prefix / 'current'} {why}. `rollback --to` chooses one.")


@click.command()
@prefix_argument
@click.option("--to", "number", type=int, help="Number of the installation; else the one before.")
def rollback(prefix: Path, number: int | None) -> None:
    """Let an installation before the current one be current again. Nothing is removed."""
    with showing():
        chosen = roll_back(prefix, number)
    say(f"Installation {chosen.number} is current, made {chosen.installed}.")


@click.command()
@prefix_argument
@click.option(
    "--keep", type=click.IntRange(min=1), default=2, show_default=True, help="How many stay."
)
def prune(prefix: Path, keep: int) -> None:
    """Remove old installations; the current one always stays."""
    with showing():
        removed = prune_generations(prefix, keep)
    say(f"Removed: {', '.join(str(each.number) for each in removed) or 'none'}.")
