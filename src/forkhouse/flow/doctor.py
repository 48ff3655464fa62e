"""Compare each profile's needs with this machine, and name the command that closes each gap."""

from __future__ import annotations

import shlex
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet

from forkhouse.core.errors import ToolchainError
from forkhouse.documents.recipe import Pep517, UpstreamProject
from forkhouse.sandbox.bubblewrap import find_sandbox
from forkhouse.toolchains.packages import found_at, identify, install_line
from forkhouse.toolchains.rocm import find_rocm
from forkhouse.toolchains.rust import find_rust
from forkhouse.toolchains.rust import install_line as rust_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from forkhouse.documents.recipe import Recipe, SystemPackage
    from forkhouse.toolchains.hip import ToolchainLook
    from forkhouse.toolchains.rocm import Rocm


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """One thing that a profile needs of the machine."""

    profile: str
    need: str
    state: str
    """`ok`; `missing`; `made` for what a build makes itself.

    `optional` for what is missing where another source is taken without it.
    """
    where: str
    version: str
    remedy: str
    """The command that closes the gap, or what will be done about it."""


def examine(
    profile: str,
    recipes: Mapping[str, Recipe],
    *,
    python: str,
    looks: Iterable[ToolchainLook],
    apt: bool,
    rocm: Callable[[], Rocm] = find_rocm,
) -> Iterator[Need]:
    """Yield what a profile needs for its build.

    `looks` says where a HIP toolchain was looked for, `apt` whether this is a Debian.

    `rocm` finds the ROCm to compile against.

    Nothing is installed or made.
    """

    def need(what: str, state: str, where: str = "", version: str = "", remedy: str = "") -> Need:
        return Need(
            profile=profile, need=what, state=state, where=where, version=version, remedy=remedy
        )

    running = sys.version.split()[0]
    fits = SpecifierSet(python).contains(running)
    remedy = (
        "" if fits else f"run Forkhouse with a Python {python}, such as `uv venv --python 3.11`"
    )
    yield need(f"python {python}", "ok" if fits else "missing", sys.executable, running, remedy)
    flags = {each.flag: each for recipe in recipes.values() for each in recipe.processor}
    model, there = processor()
    for each in flags.values():
        has = each.flag in there
        state = "ok" if has else "missing" if each.needed else "optional"
        yield need(
            f"processor with {each.flag}",
            state,
            model,
            remedy="" if has else f"serve on a processor that has it. {each.why}",
        )
    yield _sandbox(need("a sandbox for builds", "ok"))
    git = shutil.which("git")
    yield need(
        "git", "ok" if git else "missing", git or "", remedy="" if git else _line("git", apt=apt)
    )
    packages = {
        package.package: package
        for recipe in recipes.values()
        for package in recipe.system_packages
    }
    own = [
        (method, len(recipe.builders) > 1)
        for recipe in recipes.values()
        for method in recipe.builders.values()
    ]
    routes = [
        (method, "optional" if spare else "missing")
        for method, spare in own
        if isinstance(method, UpstreamProject)
    ]
    routes.sort(
        key=lambda route: route[1] == "missing"
    )  # what one needs and another could do without is needed
    lacking = {
        package.package: gap for method, gap in routes for package in method.system_packages
    } | dict.fromkeys(packages, "missing")
    packages |= {
        package.package: package for method, _ in routes for package in method.system_packages
    }
    for package in sorted(packages.values(), key=lambda package: package.package):
        where = found_at(package)
        state = "ok" if where else lacking[package.package]
        yield need(
            package.package,
            state,
            where or "",
            _version(package, where),
            "" if where else _line(package.package, apt=apt),
        )
    for wanted, gap in {
        method.cargo.rustc: gap for method, gap in routes if method.cargo is not None
    }.items():
        yield _rust(need(f"Rust {wanted}", "ok"), wanted, gap)
    if any(recipe.rocm for recipe in recipes.values()):
        yield _rocm(need("ROCm headers", "ok"), rocm)
    if any(compiles_for_gpus(recipe) for recipe in recipes.values()):
        looked = list(looks)
        found = next((look for look in looked if look.toolchain is not None), None)
        if found is not None and found.toolchain is not None:
            yield need(
                "HIP toolchain", "ok", f"{found.origin}: {found.root}", found.toolchain.version
            )
        else:
            makes = (
                bool(looked)
                and looked[-1].root is None
                and shutil.which("apt-get")
                and shutil.which("dpkg-deb")
            )
            why = "; ".join(f"{look.origin}: {look.reason}" for look in looked)
            yield need(
                "HIP toolchain",
                "made" if makes else "missing",
                remedy=f"`forkhouse toolchain` makes it, or give --rocm DIR ({why})",
            )


def _line(package: str, *, apt: bool) -> str:
    return shlex.join(install_line([package])) if apt else f"install what Debian calls {package}"


def processor(path: Path = Path("/proc/cpuinfo")) -> tuple[str, frozenset[str]]:
    """Return the name of this machine's processor, and what it can do, as Linux names it.

    Nothing of either where Linux says nothing.
    """
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    facts: dict[str, str] = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    # The one is how x86 has it, the other how ARM has.
    return facts.get("model name", ""), frozenset(
        (facts.get("flags") or facts.get("Features") or "").split()
    )


def compiles_for_gpus(recipe: Recipe) -> bool:
    """Say whether a recipe needs a HIP toolchain."""
    natives = [method.native for method in recipe.builders.values() if isinstance(method, Pep517)]
    return any(native is not None and native.hip for native in natives)


def _sandbox(need: Need) -> Need:
    try:
        return replace(need, where=find_sandbox().kind)
    except ToolchainError as error:
        return replace(need, state="missing", remedy=str(error))


def _rust(need: Need, wanted: str, gap: str) -> Need:
    try:
        rust = find_rust(wanted)
    except ToolchainError:
        return replace(need, state=gap, remedy=rust_line(wanted))
    return replace(need, where=str(rust.root), version=rust.version)


def _rocm(need: Need, find: Callable[[], Rocm]) -> Need:
    try:
        rocm = find()
    except ToolchainError as error:
        return replace(need, state="missing", remedy=str(error))
    return replace(
        need,
        where=f"{rocm.origin}: {rocm.root}",
        version=rocm.version,
        remedy=" ".join(rocm.lacks().values()),
    )


def _version(package: SystemPackage, where: str | None) -> str:
    return identify([package])[package.package] if where and package.command else ""
