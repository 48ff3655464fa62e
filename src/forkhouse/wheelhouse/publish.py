"""The finished product: a folder of wheels with its index, and the proof that it is whole.

A wheelhouse is written beside its place and then takes it by a rename: until that moment the old
one stands untouched.
"""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from forkhouse.audit.look import AuditTerms, audit_wheel
from forkhouse.audit.metadata import wheel_facts
from forkhouse.audit.policy import read_policy
from forkhouse.audit.report import refuse
from forkhouse.core.digests import digest, sha256_file
from forkhouse.core.errors import ClosureError, HashMismatchError
from forkhouse.core.journal import Record, Stage
from forkhouse.core.progress import report
from forkhouse.core.storage import storage_errors, sync_folder
from forkhouse.documents.pins import Missing, PinnedWheel, pinned_wheel
from forkhouse.documents.pylock import pylock_text
from forkhouse.provenance.attestation import ENVELOPE, STATEMENT
from forkhouse.provenance.statement import statement_text
from forkhouse.sources.wheels import fetch_all
from forkhouse.wheelhouse.closure_check import check_closure
from forkhouse.wheelhouse.contents import NAME
from forkhouse.wheelhouse.contradictions import check_externals, refuse_doubles
from forkhouse.wheelhouse.exchange import exchange
from forkhouse.wheelhouse.index import checksums_text, index_files, requirements_text
from forkhouse.wheelhouse.kernels import audit_kernels, check_kernels, compiled
from forkhouse.wheelhouse.manifest import completed, manifest_of
from forkhouse.wheelhouse.optional import FOLDER as OPTIONAL
from forkhouse.wheelhouse.verifying import CHECKSUMS, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from forkhouse.audit.facts import WheelFacts
    from forkhouse.builders.built import BuiltWheel
    from forkhouse.core.journal import Journal
    from forkhouse.documents.lockfile import KernelPin, Profile
    from forkhouse.provenance.statement import Provenance
    from forkhouse.sources.index import Registry


class Published(Record):
    """A wheelhouse that was written."""

    sums: str
    """sha256 of its list of checksums."""


class Audited(Record):
    """A wheel of others that passed the audit."""

    passed: str
    """Its file."""


_PUBLISHED = Stage("wheelhouse", Published)
_AUDITED = Stage("audit", Audited)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wheelhouse:
    """A finished wheelhouse."""

    folder: Path
    wheels: tuple[PinnedWheel, ...]
    changed: bool
    """Whether this run wrote it; False when it was up to date."""


def publish(
    folder: Path,
    *,
    profile_name: str,
    profile: Profile,
    requires_python: str,
    targets: Sequence[str],
    build_paths: Sequence[str],
    built: Sequence[BuiltWheel],
    recorded: Mapping[str, Sequence[KernelPin]],
    third_party: Sequence[PinnedWheel],
    tools: Mapping[str, Path],
    omitted: Mapping[str, str],
    missing: Sequence[Missing],
    provenance: Provenance,
    registry: Registry,
    journal: Journal,
    engine: str,
) -> Wheelhouse:
    """Audit the wheels, prove that they are closed, and put them with their index at `folder`.

    `recorded` is what the lock has of the kernels of our wheels, by recipe. `missing` names the
    wheels that could not be had: the rest is whole without them, and the manifest says so.
    `tools` are further files, by their path in the wheelhouse. `omitted` are wheels that something
    requires and that are left out, each with the reason.
    `targets` are the GPUs for which HIP libraries must have code, `build_paths` the folders that no
    file of ours may name. `provenance` says where each wheel of `built` is from. Raises AuditError,
    ClosureError, UnreachableError, HashMismatchError or StorageError; `folder` then stays as it
    was.
    """
    ours = {wheel.path.name: wheel for wheel in built}
    pins = tuple(
        sorted([*third_party, *(pinned_wheel(wheel.path.name, wheel.sha256) for wheel in built)])
    )
    refuse_doubles(pins)
    absent = {each.name for each in missing} | omitted.keys()
    check_externals(profile, third_party, absent)
    contents = [(wheel, compiled(wheel, journal, engine)) for wheel in built]
    for wheel, content in contents:
        check_kernels(wheel, content, recorded.get(wheel.recipe, ()))
    manifest = manifest_of(profile_name, profile, contents, third_party, missing, targets, omitted)
    carried = {path: sha256_file(file) for path, file in tools.items()}
    key = digest(
        [[pin.file, pin.sha256] for pin in pins],
        carried,
        manifest,
        profile.install,
        requires_python,
        list(targets),
        asdict(provenance.definition),
        {name: repr(origin) for name, origin in provenance.origins.items()},
        engine,
    )
    recover(folder)
    record = journal.get(_PUBLISHED, key)
    if record is not None and _is_as_written(folder, record.sums):
        report().line("wheelhouse", f"unchanged, {folder.parent.name}/{folder.name} is up to date")
        return Wheelhouse(folder=folder, wheels=pins, changed=False)
    paths = {path.name: path for path in fetch_all(third_party, registry)} | {
        name: wheel.path for name, wheel in ours.items()
    }
    terms = AuditTerms(
        policy=read_policy(profile_name),
        targets=tuple(targets),
        build_paths=tuple(build_paths),
        excused=frozenset(external.package for external in profile.externals),
    )
    optional = [file for path, file in tools.items() if PurePosixPath(path).parent.name == OPTIONAL]
    refuse([audit_kernels(file, terms) for file in optional])
    facts = _audit(
        pins, paths, terms, ours=ours, journal=journal, engine=digest(profile_name, engine)
    )
    beside = {path: (file, carried[path]) for path, file in tools.items()}
    required_by = check_closure(profile.install, facts, absent)
    sizes = {file: path.stat().st_size for file, path in paths.items()}
    from forkhouse.wheelhouse.materials import bills_of_materials  # start-up time

    new = folder.with_name(f".{folder.name}.new")
    try:
        with storage_errors("Writing the wheelhouse"):
            _write_whole(
                new,
                pins,
                paths,
                {
                    NAME: completed(manifest, required_by, sizes),
                    **bills_of_materials(
                        provenance, profile, pins=pins, paths=paths, ours=ours, carried=beside
                    ),
                    "pylock.toml": pylock_text(pins, folder=".", requires_python=requires_python),
                },
                beside,
                lambda digests: statement_text(
                    provenance,
                    [*third_party, *_pins_of(carried)],
                    digests,
                    python=platform.python_version(),
                    machine=platform.machine(),
                ),
            )
            was_signed = (folder / ENVELOPE).is_file()
            _swap(new, folder)
    except BaseException:
        # Half a wheelhouse is of no use, and a full disk would stay full.
        shutil.rmtree(new, ignore_errors=True)
        raise
    if was_signed:
        report().line("wheelhouse", "NOT SIGNED any more: the signature was of the one before")
    journal.put(_PUBLISHED, key, Published(sums=sha256_file(folder / CHECKSUMS)))
    report().line("wheelhouse", f"wrote {len(pins)} wheels to {folder.parent.name}/{folder.name}")
    return Wheelhouse(folder=folder, wheels=pins, changed=True)


def _pins_of(carried: Mapping[str, str]) -> list[PinnedWheel]:
    """Return the wheels of others among the files that are carried for the target."""
    pins = [
        pinned_wheel(PurePosixPath(path).name, sha256)
        for path, sha256 in carried.items()
        if path.endswith(".whl") and PurePosixPath(path).parent.name != OPTIONAL
    ]
    return [pin for pin in pins if pin.name != "forkhouse"]


def _write_whole(
    new: Path,
    pins: Sequence[PinnedWheel],
    paths: Mapping[str, Path],
    texts: Mapping[str, str],
    tools: Mapping[str, tuple[Path, str]],
    statement: Callable[[Mapping[str, str]], str],
) -> None:
    new.mkdir(parents=True)
    files = {pin.file: (paths[pin.file], pin.sha256) for pin in pins}
    files.update(tools)
    for name, (source, sha256) in files.items():
        _place(source, new / name)
        if sha256_file(new / name) != sha256:
            message = (
                f"{name} is no longer what it was when it was built or fetched: somebody "
                f"changed {source}, or the disk did. "
                "Remove that file, and run the same command again."
            )
            raise HashMismatchError(message)
    digests = {name: sha256 for name, (_, sha256) in files.items()}
    for name, text in {
        **texts,
        "requirements.txt": requirements_text(pins),
        **index_files(pins),
    }.items():
        _write(new / name, text)
        digests[name] = sha256_file(new / name)
    _write(new / STATEMENT, statement(digests))
    digests[STATEMENT] = sha256_file(new / STATEMENT)
    _write(new / CHECKSUMS, checksums_text(digests))
    sync_folder(new)


def recover(folder: Path) -> None:
    """Restore the wheelhouse that an interrupted run had moved aside, and remove unfinished files.

    Unfinished files may fill the disk.
    """
    old = folder.with_name(f".{folder.name}.old")
    with storage_errors("Putting the wheelhouse in order"):
        _drop(folder.with_name(f".{folder.name}.new"))
        if old.is_dir() and not folder.exists():
            old.replace(folder)
        _drop(old)


def _audit(
    pins: Sequence[PinnedWheel],
    paths: Mapping[str, Path],
    terms: AuditTerms,
    *,
    ours: Mapping[str, BuiltWheel],
    journal: Journal,
    engine: str,
) -> dict[str, WheelFacts]:
    """Audit every wheel and return what each says of itself.

    Raises AuditError that tells of all that do not pass.
    """
    facts, reports = {}, []
    # By size: a wheel of 200 MB takes a hundred times as long as one of two.
    sizes = {pin.file: paths[pin.file].stat().st_size for pin in pins}
    with report().task("audit", total=sum(sizes.values())) as task:
        for pin in pins:
            # Wheels of others are many, large, and the same in nearly every run.
            key = (
                None
                if pin.file in ours
                else digest(pin.file, pin.sha256, sorted(terms.excused), engine)
            )
            if key and journal.get(_AUDITED, key):
                facts[pin.name] = wheel_facts(paths[pin.file])
            else:
                reports.append(seen := audit_wheel(paths[pin.file], terms, ours=pin.file in ours))
                if seen.facts:
                    facts[pin.name] = seen.facts
                if key and seen.passed:
                    journal.put(_AUDITED, key, Audited(passed=pin.file))
            task.advance(sizes[pin.file])
    refuse(reports)
    return facts


def _place(source: Path, target: Path) -> None:
    """Make a hard link to a wheel where the file system allows it, else a copy.

    PyTorch alone has 200 MB.
    """
    target.parent.mkdir(exist_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:  # another file system, or one without hard links; a full disk shows in the copy
        shutil.copyfile(source, target)
        with target.open("rb") as stream:
            os.fsync(stream.fileno())


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def _swap(new: Path, folder: Path) -> None:
    """Replace `folder` by `new`, in one step where the system can do that.

    Elsewhere a kill between two renames is possible; `recover` then restores the old folder.
    """
    old = folder.with_name(f".{folder.name}.old")
    if not (folder.exists() and exchange(new, folder)):
        if folder.exists():
            folder.replace(old)
        new.replace(folder)
    sync_folder(folder.parent)
    for place in (new, old):
        _drop(place)


def _drop(place: Path) -> None:
    """Remove a folder that is no longer needed, or a file in its place."""
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place, ignore_errors=True)
    else:
        place.unlink(missing_ok=True)


def _is_as_written(folder: Path, sums: str) -> bool:
    """Return whether a wheelhouse is byte by byte the one that was written.

    Sizes and times are not trusted, because anybody can set them.
    """
    listed = folder / CHECKSUMS
    try:
        verify(folder)
        return sha256_file(listed) == sums
    except (ClosureError, HashMismatchError):
        return False
