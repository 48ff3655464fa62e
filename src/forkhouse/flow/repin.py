"""Check `upstream.lock` and the pylock files beside it, and pin anew.

This is the only place where anything is resolved. Building and installing use what was pinned here.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from forkhouse import audit
from forkhouse.builders.metadata import Outline, outline
from forkhouse.builders.wheelfile import Member, write_wheel
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
from forkhouse.core.progress import report
from forkhouse.core.storage import write_atomic
from forkhouse.core.wording import bullets
from forkhouse.documents.config import read_config
from forkhouse.documents.lockfile import (
    ArchiveSource,
    Component,
    DebianSource,
    GitSource,
    HipToolchainPin,
    Pinned,
    RegistrySource,
    Source,
    Upstream,
    describe,
    parse_version,
)
from forkhouse.documents.pins import pinned_wheel
from forkhouse.documents.pylock import pylock_text, read_closure
from forkhouse.documents.reading import LONGEST_TOML, dump, read_text, read_toml
from forkhouse.documents.recipe import Pep517, UpstreamProject
from forkhouse.flow.building import NOT_HERE, build_recipes, open_workshop, whole_weight
from forkhouse.flow.resolve import resolve
from forkhouse.sources.acquire import recorded
from forkhouse.sources.apt import newest_debian_binaries
from forkhouse.sources.asking import ask
from forkhouse.sources.externals import fetched, filled
from forkhouse.sources.git import mirror_address, remote_tag
from forkhouse.sources.releases import offered
from forkhouse.toolchains.hip import first, look
from forkhouse.toolchains.packages import require_packages
from forkhouse.toolchains.private_root import private_root
from forkhouse.wheelhouse.publish import compiled, kernel_pins

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from forkhouse.builders.built import BuiltWheel
    from forkhouse.flow.plant import Plant


P = TypeVar("P", Upstream, Component)
_OF_THIS_MACHINE = (ToolchainError, StorageError, BusyError)
"""Errors that end a check, because they say nothing about a pin."""
BUILD = "build"
"""Name of the closure of build tools."""


TOOLCHAIN = "hip-toolchain"
"""Name under which the packages of the private HIP toolchain are pinned anew."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PinFinding:
    """What a check or an update says of one pin."""

    subject: str
    state: str
    """`ok`, `unresolved`, `unreachable`, `refused` (by git, of a repository that tells nothing
    then), `changed` or `wrong`."""
    detail: str
    asked: str = ""
    """When the answer was obtained: `now`, or the time (UTC) of an earlier run.

    Empty where nothing was asked.
    """


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
        resolved = _measured(plant, name, pinned, source)
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
        upstreams[each] = _updated(plant, each, upstreams[each], version, findings)
    for each in components if name is None else components.keys() & {name}:
        components[each] = _updated(plant, each, components[each], None, findings)
    lock = plant.lock.model_copy(update={"upstreams": upstreams, "components": components})
    plant = plant.with_lock(lock)
    if name is not None:
        texts = _closures_with(plant, name, findings) if name in upstreams else {}
        with _written(plant, texts) as changes:
            findings += changes
            write_atomic(plant.workspace.lock_path, dump(lock).encode())
        return findings
    texts = {BUILD: _build_closure(plant)}
    texts |= _native_closures(plant)
    kernels = dict(lock.kernels)
    # Building our wheels for the resolver needs the tools that were just pinned.
    with _written(plant, texts) as changes:
        findings += changes
        profiles = {}
        for profile in lock.profiles:
            profiles[profile], built = _profile_closure(plant, profile)
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
                texts[profile] = _outlined_closure(plant, profile)
        except NOT_HERE as error:
            refused = str(error)
        if refused:
            detail = f"not resolved anew, it stays as it was: {refused}"
            findings.append(
                PinFinding(subject=f"pylock.{profile}.toml", state="unreachable", detail=detail)
            )
    return texts


def _outlined_closure(plant: Plant, name: str) -> str:
    """Return the text of a profile's closure, resolved around outlines of the wheels of ours."""
    workshop, made, absent = open_workshop(plant), dict[str, Outline](), dict[str, str]()
    with tempfile.TemporaryDirectory(prefix="forkhouse-outlines-") as scratch:
        for recipe_name, recipe in plant.checkout.recipes(name).items():
            folder = plant.workspace.root / "recipes" / recipe_name
            try:
                patched = plant.supplies.patched(recipe_name, recipe)
            except NOT_HERE:
                if recipe_name not in plant.checkout.profile(name).where_reachable:
                    raise
                absent[recipe.distribution] = (
                    f"=={recipe.version(plant.checkout.upstream(recipe.upstream).version)}"
                )
                continue
            siblings = [made[needed] for needed in recipe.needs if needed in made]
            made[recipe_name] = outline(patched, recipe, folder, workshop, siblings, Path(scratch))
        return _resolved_closure(
            plant, name, {each.distribution: each.path for each in made.values()}, absent
        )


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


def _updated(
    plant: Plant, name: str, pinned: P, version: str | None, findings: list[PinFinding]
) -> P:
    """Return an upstream or a component with each form pinned as it is now.

    Raises UnreachableError when no form has the version.

    A form that cannot be had stays as it was. At another version a git form is left unresolved with
    its new tag, and a form that has no such release keeps its own.
    """
    wanted = (
        pinned
        if version is None
        else pinned.model_copy(update={"version": str(parse_version(version))})
    )
    sources: list[Source] = []
    refused: list[str] = []
    for old in pinned.sources:
        try:
            source = _pinned_now(plant, name, pinned, wanted, old, version)
        except UnreachableError as error:
            refused.append(str(error))
            source = old
            if version is None:
                findings.append(
                    PinFinding(
                        subject=f"{name}: {old.kind}",
                        state="unreachable",
                        detail=f"kept as it was: {error}",
                    )
                )
            elif isinstance(old, GitSource) and old.tag is not None:
                tag = old.tag.replace(pinned.version, wanted.version)
                source = old.model_copy(
                    update={"tag": tag, "commit": None, "tree": None, "patched_tree": None}
                )
                findings.append(
                    PinFinding(
                        subject=f"{name}: git",
                        state="unresolved",
                        detail=f"tag {tag}, its commit is not known: {error}",
                    )
                )
            else:
                source = old.model_copy(update={"version": old.version or pinned.version})
                detail = f"stays at {old.version or pinned.version}: {error}"
                findings.append(
                    PinFinding(subject=f"{name}: {old.kind}", state="unreachable", detail=detail)
                )
        if source != old:
            findings.append(
                PinFinding(
                    subject=f"{name}: {old.kind}", state="changed", detail=_difference(old, source)
                )
            )
        sources.append(source)
    if version is not None and not any(_is_at(source, wanted) for source in sources):
        reasons = f"\n{bullets(refused)}" if refused else ""
        message = f"No form of {name} can be had at {wanted.version}; nothing was pinned:{reasons}"
        raise UnreachableError(message)
    return wanted.model_copy(update={"sources": tuple(sources)})


def _is_at(source: Source, wanted: Pinned) -> bool:
    """Say whether a form is pinned, and at the version of its upstream."""
    return (source.version or wanted.version) == wanted.version and not (
        isinstance(source, GitSource) and source.commit is None
    )


def _pinned_now(
    plant: Plant, name: str, pinned: Pinned, wanted: Pinned, old: Source, version: str | None
) -> Source:
    excluded = (
        plant.access.policy == "registry"
        if isinstance(old, GitSource)
        else plant.access.policy == "git"
    )
    if version is not None and excluded and not isinstance(old, ArchiveSource):
        message = f"--sources {plant.access.policy} excludes it"
        raise UnreachableError(message)
    source = _at_version(plant, old, pinned.version, version)
    # What the lock recorded is what is being measured anew, so it must not be held against it.
    blank = source.model_copy(
        update={
            "tree": source.tree if isinstance(source, GitSource) else None,
            "patched_tree": None,
        }
    )
    return (
        source
        if isinstance(source, GitSource) and source.commit is None
        else _measured(plant, name, wanted, blank)
    )


def _difference(old: Source, new: Source) -> str:
    before, after = (source.model_dump(mode="json", by_alias=True) for source in (old, new))
    return "; ".join(
        f"{key}: {before[key] or 'not recorded'} -> {after[key]}"
        for key in after
        if before[key] != after[key]
    )


def _measured(plant: Plant, name: str, pinned: Pinned, source: Source) -> Source:
    """Return `source` with its tree and, of an upstream, its patched tree, as found now.

    Raises when they are not as the source says.
    """
    alone = pinned.model_copy(update={"sources": (source,)})
    # --sources is about preferences; a pin is checked in its own form.
    supplies = plant.supplies.only("git" if isinstance(source, GitSource) else "registry")
    tree = supplies.acquire(name, alone, [source.kind])
    patched = plant.supplies.apply(tree).tree if isinstance(pinned, Upstream) else None
    return source.model_copy(update={"tree": tree.tree, "patched_tree": patched})


def _at_version(plant: Plant, source: Source, old_version: str, version: str | None) -> Source:
    """Return the same form of another version, as its host or index offers it now.

    A source whose version is its own (it differs from the upstream's) stays where it is. Raises
    UnreachableError.
    """
    if isinstance(source, GitSource):
        return _resolved_tag(plant, source, old_version, version)
    if (
        version is None
        or source.version is not None
        or isinstance(source, DebianSource | ArchiveSource)
    ):
        return source
    return _registry_file(plant, source, version)


def _resolved_tag(
    plant: Plant, source: GitSource, old_version: str, version: str | None
) -> GitSource:
    if source.tag is None and version not in (None, old_version):
        message = (
            f"{source.url} is pinned at a commit of {source.branch or 'no branch'}, and no tag "
            f"tells which commit is {version}"
        )
        raise UnreachableError(message)
    if source.tag is None or (version is None and source.commit is not None):
        return source
    tag = source.tag if version is None else source.tag.replace(old_version, version)
    address = mirror_address(source.url, plant.access.mirror)
    commit = remote_tag(address, tag, plant.workspace.build)
    if commit is None:
        message = f"{source.url} has no tag {tag}."
        raise UnreachableError(message)
    return source.model_copy(update={"tag": tag, "commit": commit, "tree": None})


def _registry_file(plant: Plant, source: RegistrySource, version: str) -> RegistrySource:
    wanted = parse_version(version)
    file = next(
        (
            release.file
            for release in offered(plant.registry.links(source.package), source)
            if release.version == wanted
        ),
        None,
    )
    if file is None:
        message = f"No index offers {source.package} {version} as {source.kind} for this machine."
        raise UnreachableError(message)
    _, sha256 = plant.registry.download(plant.registry.find(source.package, file))
    return source.model_copy(update={"file": file, "sha256": sha256})


def _build_closure(plant: Plant) -> str:
    """Resolve the build requirements of every recipe.

    Those of its own projects (PEP 518), and those that it names for the upstream's.
    """
    requirements: set[str] = set()
    recipes = plant.workspace.root / "recipes"
    for project in sorted(
        [*recipes.glob("*/pyproject.toml"), *recipes.glob("*/native/pyproject.toml")]
    ):
        requirements.update(_build_requirements(project))
    for path in sorted(recipes.glob("*/recipe.yaml")):
        for method in plant.checkout.recipe(path.parent.name).builders.values():
            requirements.update(method.requires if isinstance(method, UpstreamProject) else ())
    pins = resolve(plant, sorted(requirements), local={}, constraints=[]) if requirements else []
    return pylock_text(pins, folder="build/tools", requires_python=plant.lock.python)


def _build_requirements(project: Path) -> list[str]:
    """Return what a project of a recipe asks for to be built (PEP 518). Raises DocumentError."""
    where = "/".join(project.parts[-3:])
    try:
        requires = read_toml(read_text(project, LONGEST_TOML).encode())["build-system"]["requires"]
        for each in requires:
            Requirement(each)
        return list(requires)
    except (ValueError, LookupError, TypeError) as error:
        message = (
            f"{where}: what it requires to be built cannot be read from [build-system]: {error}."
        )
        raise DocumentError(message) from error


def _native_closures(plant: Plant) -> dict[str, str]:
    """Resolve the build requirements of wheels' compiled halves, one closure for each recipe."""
    texts = {}
    for path in sorted((plant.workspace.root / "recipes").glob("*/native/pyproject.toml")):
        name = path.parent.parent.name
        halves = [
            method.native
            for method in plant.checkout.recipe(name).builders.values()
            if isinstance(method, Pep517) and method.native
        ]
        requirements = sorted({requirement for half in halves for requirement in half.requires})
        if requirements:
            pins = resolve(plant, requirements, local={}, constraints=[])
            texts[name] = pylock_text(pins, folder="build/tools", requires_python=plant.lock.python)
    return texts


def _profile_closure(plant: Plant, name: str) -> tuple[str, list[BuiltWheel]]:
    """Return the text of a profile's closure, and our wheels for which it was resolved."""
    recipes = plant.checkout.recipes(name)
    require_packages(
        (package for recipe in recipes.values() for package in recipe.system_packages),
        install=False,
    )
    with report().task(f"profile {name}", total=whole_weight(plant, recipes)) as task:
        built, left_out = build_recipes(plant, name, recipes, task)
    absent = {each.name: f"=={each.wanted}" for each in left_out}
    return _resolved_closure(
        plant, name, {wheel.distribution: wheel.path for wheel in built}, absent
    ), built


def _resolved_closure(
    plant: Plant, name: str, ours: Mapping[str, Path], left_out: Mapping[str, str]
) -> str:
    """Return the text of a profile's closure: all that pip chooses besides `ours`.

    What was `left_out` is resolved around.
    """
    profile = plant.checkout.profile(name)
    addresses = read_config().indexes
    # What cannot be had here is resolved around: nothing of it but its name and version counts.
    absent, local = dict(left_out), dict(ours)
    elsewhere = [external for external in profile.externals if external.index is not None]
    for external in elsewhere:
        try:
            path = fetched(external, plant.registry, addresses)
        except UnreachableError:
            path = None
        if path is not None:
            local[external.package] = path
        else:
            absent[external.package] = (
                f"=={external.version}" if external.version else external.wanted or ""
            )
    pinned = {
        external.package: pinned_wheel(*external.pinned[1:])
        for external in profile.externals
        if external.pinned is not None
    }
    ordinary = [
        pinned[external.package] for external in profile.externals if external.index is None
    ]
    with tempfile.TemporaryDirectory(prefix="forkhouse-stand-ins-") as scratch:
        local |= {
            package: _stand_in(package, wanted, Path(scratch)) for package, wanted in absent.items()
        }
        pins = resolve(plant, list(profile.install), local=local, constraints=ordinary)
    pins += [pinned[external.package] for external in elsewhere if external.package in pinned]
    return pylock_text(pins, folder=f"wheels/{name}", requires_python=plant.lock.python)


def _stand_in(package: str, wanted: str, folder: Path) -> Path:
    """Write an empty wheel of the first version that is wanted, for the resolver's eyes alone."""
    first = next(
        (
            str(part.version).removesuffix(".*")
            for part in SpecifierSet(wanted)
            if part.operator in {"==", ">=", "~="}
        ),
        "0",
    )
    stem = f"{package.replace('-', '_')}-{Version(first)}"
    texts = {
        "METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: {Version(first)}\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: forkhouse\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    members = [
        Member(path=f"{stem}.dist-info/{name}", content=text.encode(), executable=False)
        for name, text in texts.items()
    ]
    return write_wheel(
        folder / f"{stem}-py3-none-any.whl", members, dist_info=f"{stem}.dist-info", epoch=0
    )


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
