"""Check `upstream.lock` and the pylock files beside it, and pin anew.

With its neighbours `pinning` and `closures`, this is the only place where anything is resolved.
Building and installing use what was pinned here.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import tomllib
from typing import TYPE_CHECKING

from forkhouse import audit
from forkhouse.core.errors import (
    BusyError,
    DocumentError,
    ForkhouseError,
    RefusedRepositoryError,
    StorageError,
    ToolchainError,
    UnreachableError,
    UsageError,
)
from forkhouse.core.identity import engine
from forkhouse.core.storage import write_atomic
from forkhouse.documents.config import read_config
from forkhouse.documents.lockfile import (
    GitSource,
    HipToolchainPin,
    Pinned,
    Source,
    Upstream,
    describe,
)
from forkhouse.documents.pylock import read_closure
from forkhouse.documents.reading import dump
from forkhouse.flow.building import NOT_HERE
from forkhouse.flow.closures import (
    build_closure,
    native_closures,
    outlined_closure,
    profile_closure,
)
from forkhouse.flow.pinning import PinFinding, measured, updated
from forkhouse.sources.acquire import recorded
from forkhouse.sources.apt import newest_debian_binaries
from forkhouse.sources.asking import ask
from forkhouse.sources.externals import filled
from forkhouse.toolchains.hip import first, look
from forkhouse.toolchains.private_root import private_root
from forkhouse.wheelhouse.kernels import compiled, kernel_pins

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from forkhouse.flow.plant import Plant


_OF_THIS_MACHINE = (ToolchainError, StorageError, BusyError)
"""Errors that end a check, because they say nothing about a pin."""
BUILD = "build"
"""Name of the closure of build tools."""
TOOLCHAIN = "hip-toolchain"
"""Name under which the packages of the private HIP toolchain are pinned anew."""


def check(plant: Plant) -> list[PinFinding]:
    """Compare every pin with what can be reached now.

    Files and their hashes, tags, trees before and after patching.

    What was fetched before answers for nothing but the trees, which follow from a commit or a hash.
    What cannot be reached is a finding, not an error; it says when an earlier run saw the pin as it
    is in the lock.
    """
    findings = [
        _checked(plant, name, pinned, source)
        for name, pinned in (*plant.lock.upstreams.items(), *plant.lock.components.items())
        for source in pinned.sources
    ]
    for closure in (BUILD, *plant.lock.profiles):
        wheels = plant.checkout.closure(closure)
        findings.append(
            PinFinding(
                subject=f"pylock.{closure}.toml",
                state="ok",
                detail=f"{len(wheels)} wheels, each with its hash",
            )
        )
    return findings


def _checked(plant: Plant, name: str, pinned: Pinned, source: Source) -> PinFinding:
    def finding(state: str, detail: str, asked: str = "") -> PinFinding:
        return PinFinding(
            subject=f"{name}: {describe(source)}", state=state, detail=detail, asked=asked
        )

    if isinstance(source, GitSource) and source.commit is None:
        return finding("unresolved", "its commit id is not known")
    before = recorded(name, pinned, source, plant.journal)
    earlier = (
        dt.datetime.fromtimestamp(before, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
        if before is not None
        else ""
    )
    try:
        answered = ask(source, access=plant.access, registry=plant.registry)
    except UnreachableError as error:
        seen = "as it was when it was fetched" if earlier else "no earlier run has fetched it"
        return finding("unreachable", f"{error} ({seen})", earlier)
    except (*_OF_THIS_MACHINE, DocumentError):  # the last of pip's settings
        raise
    except RefusedRepositoryError as error:
        return finding("refused", str(error), "now")
    except ForkhouseError as error:
        return finding("wrong", str(error), "now")
    try:
        resolved = measured(plant, name, pinned, source)
    except UnreachableError as error:
        return finding("unreachable", str(error), "now")
    except _OF_THIS_MACHINE:
        raise
    except ForkhouseError as error:
        return finding("wrong", str(error), "now")
    fields = ("tree", "patched_tree") if isinstance(pinned, Upstream) else ("tree",)
    missing = [field for field in fields if getattr(source, field) is None]
    if missing:
        return finding(
            "wrong",
            f"not recorded: {', '.join(missing)}; `forkhouse lock --update {name}` records it",
            "now",
        )
    return finding("ok", f"{answered}; tree {resolved.tree}", "now")


def update(plant: Plant, name: str | None, version: str | None) -> list[PinFinding]:
    """Pin anew: one upstream (at another version, if given) or component, or all of them.

    Then the closures that they decide.

    For one upstream nothing is compiled: its trees are recorded, and the closures of the profiles
    that hold it are resolved around what its wheels will require. All of them are resolved around
    built wheels, whose kernels are recorded as well. Writes the lock and the pylock files only when
    all went well. Returns what was changed. Raises UsageError for an unknown name or another
    version of a component, and whatever fetching, patching or resolving raises.
    """
    if name == TOOLCHAIN and plant.lock.hip_toolchain is not None:
        return _update_toolchain(plant, plant.lock.hip_toolchain)
    upstreams, components = dict(plant.lock.upstreams), dict(plant.lock.components)
    if name is not None and name not in upstreams | components:
        message = (
            f"The lock has no upstream '{name}', nor a component of that name. It has: "
            f"{', '.join(upstreams | components)}."
        )
        raise UsageError(message)
    if name in components and version is not None:
        message = (
            f"{name} is a component: which archive it is, the wrap files of its upstream say. "
            "Write address, file and sha256 into the lock."
        )
        raise UsageError(message)
    findings: list[PinFinding] = []
    for each in upstreams if name is None else upstreams.keys() & {name}:
        upstreams[each] = updated(plant, each, upstreams[each], version, findings)
    for each in components if name is None else components.keys() & {name}:
        components[each] = updated(plant, each, components[each], None, findings)
    lock = plant.lock.model_copy(update={"upstreams": upstreams, "components": components})
    plant = plant.with_lock(lock)
    if name is not None:
        texts = _closures_with(plant, name, findings) if name in upstreams else {}
        with _written(plant, texts) as changes:
            findings += changes
            write_atomic(plant.workspace.lock_path, dump(lock).encode())
        return findings
    texts = {BUILD: build_closure(plant)}
    texts |= native_closures(plant)
    kernels = dict(lock.kernels)
    # Building our wheels for the resolver needs the tools that were just pinned.
    with _written(plant, texts) as changes:
        findings += changes
        profiles = {}
        for profile in lock.profiles:
            profiles[profile], built = profile_closure(plant, profile)
            for wheel in built:
                pins = kernel_pins(compiled(wheel, plant.journal, engine(audit)))
                kernels = {**kernels, wheel.recipe: pins} if pins else kernels
    with _written(plant, profiles) as changes:
        findings += changes
    lock = lock.model_copy(update={"kernels": kernels})
    write_atomic(plant.workspace.lock_path, dump(lock).encode())
    return findings


def _closures_with(plant: Plant, name: str, findings: list[PinFinding]) -> dict[str, str]:
    """Resolve the closures of the profiles that build an upstream, compiling nothing.

    One for which an index, or the source of another upstream, does not answer stays as it was,
    which is a finding; a build refuses it where it no longer is whole.
    """
    texts = {}
    for profile in plant.lock.profiles:
        if all(recipe.upstream != name for recipe in plant.checkout.recipes(profile).values()):
            continue
        refused = "--offline forbids asking an index." if plant.access.offline else ""
        try:
            if not refused:
                texts[profile] = outlined_closure(plant, profile)
        except NOT_HERE as error:
            refused = str(error)
        if refused:
            detail = f"not resolved anew, it stays as it was: {refused}"
            findings.append(
                PinFinding(subject=f"pylock.{profile}.toml", state="unreachable", detail=detail)
            )
    return texts


@contextlib.contextmanager
def _written(plant: Plant, texts: dict[str, str]) -> Iterator[list[PinFinding]]:
    """Write pylock files and give what changes.

    When the work with them fails, what stood there comes back.
    """
    paths = {plant.workspace.closure_path(closure): text for closure, text in texts.items()}
    before = {path: path.read_bytes() for path in paths if path.is_file()}
    changes = [change for path, text in paths.items() for change in _closure_changes(path, text)]
    try:
        for path, text in paths.items():
            write_atomic(path, text.encode())
        plant.checkout.read.closures.clear()
        yield changes
    except BaseException:
        plant.checkout.read.closures.clear()
        for path in paths:
            if path in before:
                write_atomic(path, before[path])
            else:
                path.unlink(missing_ok=True)
        raise


def _update_toolchain(plant: Plant, old: HipToolchainPin) -> list[PinFinding]:
    """Pin the newest packages of the private HIP toolchain, and make it.

    The lock is written only when the toolchain compiles for every target.
    """
    new = old.model_copy(update={"packages": newest_debian_binaries(old.packages)})
    lock = plant.lock.model_copy(update={"hip_toolchain": new})
    root = private_root(
        new, plant.registry, plant.workspace.build / "toolchains", offline=plant.access.offline
    )
    first([look("private toolchain", root, lock, plant.journal)], lock.gpu_targets)
    write_atomic(plant.workspace.lock_path, dump(lock).encode())
    pairs = zip(old.packages, new.packages, strict=True)
    return [
        PinFinding(
            subject=f"{TOOLCHAIN}: {after.package}",
            state="changed",
            detail=f"{before.version} -> {after.version}",
        )
        for before, after in pairs
        if before != after
    ]


def fill_externals(plant: Plant) -> list[PinFinding]:
    """Fill in the unresolved externals of every profile, and write the lock.

    The indexes are those that the user's configuration names. An external that cannot be reached
    stays as it was, and is a finding.
    """
    addresses = read_config().indexes
    findings: list[PinFinding] = []
    profiles = {}
    for name, profile in plant.lock.profiles.items():
        externals = []
        for external in profile.externals:
            subject = f"{name}: {external.package}"
            try:
                new = external if external.pinned else filled(external, plant.registry, addresses)
            except UnreachableError as error:
                findings.append(PinFinding(subject=subject, state="unreachable", detail=str(error)))
                new = external
            if new != external:
                findings.append(
                    PinFinding(
                        subject=subject,
                        state="changed",
                        detail=f"unresolved -> {new.file} {new.sha256}",
                    )
                )
            externals.append(new)
        profiles[name] = profile.model_copy(update={"externals": tuple(externals)})
    lock = plant.lock.model_copy(update={"profiles": profiles})
    if lock != plant.lock:
        write_atomic(plant.workspace.lock_path, dump(lock).encode())
    return findings


def _closure_changes(path: Path, text: str) -> list[PinFinding]:
    before = {wheel.name: wheel.version for wheel in read_closure(path)} if path.is_file() else {}
    packages = tomllib.loads(text)["packages"]
    after = {package["name"]: package["version"] for package in packages}
    return [
        PinFinding(
            subject=f"{path.name}: {name}",
            state="changed",
            detail=f"{before.get(name, 'not there')} -> {after.get(name, 'not there')}",
        )
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
