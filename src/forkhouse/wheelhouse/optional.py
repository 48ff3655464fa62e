"""Install what a wheelhouse carries for some environments alone: Triton kernels, compiled.

Each wheel in `optional/` holds kernels under keys that Triton gives them, which hold the hash of
the whole compiler. So it is of use where the very Triton that made them is installed, and where
vLLM is the release whose kernels they are. Elsewhere it is left out, and the reason is said.
"""

from __future__ import annotations

import json
import subprocess
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from packaging.utils import canonicalize_version, parse_wheel_filename
from packaging.version import Version

from forkhouse.core.asking import ask_by
from forkhouse.core.budgets import DAMAGE, ArchiveLimits
from forkhouse.core.environments import install_wheels
from forkhouse.core.errors import ClosureError
from forkhouse.core.progress import report
from forkhouse.serving.kernelcache import MANIFEST, VARIABLE, manager_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


FOLDER = "optional"
"""Where they lie in a wheelhouse."""
# As the package of kernels asks, when it is loaded.
_QUESTION = """
import hashlib, importlib.metadata as metadata

found = {"triton": "", "key": "", "vllm": "", "error": ""}
try:
    found["vllm"] = str(metadata.version("vllm"))
    import triton
    from triton.runtime.cache import triton_key
    found["triton"] = str(triton.__version__)
    found["key"] = hashlib.sha256(triton_key().encode()).hexdigest()
except (Exception, SystemExit) as error:
    found["error"] = f"{type(error).__name__}: {error}"
answer(found)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class CarriedKernels:
    """A wheel of compiled kernels, and what made them."""

    wheel: Path
    package: str
    """The name of its Python package."""
    target: str
    """Target id of the GPU that they are for."""
    vllm: str
    triton: str
    key: str
    """sha256 of what that Triton says of itself, its compiler included."""
    count: int
    """How many kernels it holds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvironmentFacts:
    """What an environment has."""

    vllm: str
    triton: str
    key: str
    error: str
    """Why it could not be asked; empty where it could."""


def optional_kernels(wheelhouse: Path) -> list[CarriedKernels]:
    """Read what a wheelhouse carries of kernels. Raises ClosureError for a wheel that is none."""
    return [read_kernels(wheel) for wheel in sorted((wheelhouse / FOLDER).glob("*.whl"))]


def install_optional(wheelhouse: Path, interpreter: Path, *, pip: Path | None) -> None:
    """Install the optional wheels of a wheelhouse that fit an environment, and say so of each.

    The wheelhouse has to be verified, and its profile installed. `pip` is a wheel of pip to run.
    Raises ClosureError for a wheel that is none of kernels, InstallError.
    """
    for kernels in fitting(wheelhouse, running(interpreter)):
        wheel = kernels.wheel
        # Kernels of another Triton, or of more models, have the same version: that of vLLM.
        options = ("--no-deps", "--force-reinstall")
        install_wheels(interpreter, *options, str(wheel), wheels=[wheel.name], pip=pip)
        tell_installed(kernels)


def running(interpreter: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return what runs an interpreter of this machine with arguments."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(interpreter), *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False
        )

    return run


def fitting(
    wheelhouse: Path, run: Callable[..., subprocess.CompletedProcess[str]]
) -> tuple[CarriedKernels, ...]:
    """Return the kernels of a wheelhouse that fit an environment; of the others the reason is said.

    `run` runs the environment's interpreter with arguments. Raises as `install_optional`.
    """
    carried = optional_kernels(wheelhouse)
    if not carried:
        return ()
    found = ask(run)
    fit = []
    for kernels in carried:
        reason = why_not(kernels, found)
        if reason:
            report().line("install", f"NOT INSTALLED, {kernels.wheel.name}: {reason}")
        else:
            fit.append(kernels)
    return tuple(fit)


def tell_installed(kernels: CarriedKernels) -> None:
    """Say that kernels were installed, and how a server is told of them."""
    report().line(
        "install",
        (
            f"{kernels.count} compiled Triton kernels, which `forkhouse serve` takes, and another "
            f"server with {VARIABLE}={manager_of(kernels.package)}"
        ),
    )


def read_kernels(wheel: Path) -> CarriedKernels:
    """Read what a wheel of kernels says of itself. Raises ClosureError where it says nothing."""
    try:
        package = str(parse_wheel_filename(wheel.name)[0]).replace("-", "_")
        with zipfile.ZipFile(wheel) as archive:
            member = archive.getinfo(f"{package}/{MANIFEST}")
            if member.file_size > ArchiveLimits().text:
                _refuse(f"{member.filename} has {member.file_size} bytes")
            said = json.loads(archive.read(member))
        return CarriedKernels(
            wheel=wheel,
            package=package,
            target=str(said["target"]),
            vllm=Version(said["vllm"]).public,
            triton=str(said["triton"]),
            key=str(said["triton-key"]),
            count=len(dict(said["kernels"])),
        )
    except DAMAGE as error:
        message = (
            f"{wheel.name} is no wheel of Triton kernels: {error}. `forkhouse triton --pack` "
            "writes one."
        )
        raise ClosureError(message) from error


def _refuse(what: str) -> NoReturn:
    raise ValueError(what)


def _public(version: str) -> str:
    """Return a version without its local label; what is no version of PEP 440 as it is."""
    return canonicalize_version(version, strip_trailing_zero=False).partition("+")[0]


def why_not(kernels: CarriedKernels, found: EnvironmentFacts) -> str:
    """Say why kernels are of no use in an environment; nothing where they are."""
    if found.error:
        return (
            f"whether Triton there is the one that compiled it cannot be told ({found.error}). "
            "Kernels are compiled when they are first used."
        )
    if _public(found.vllm) != kernels.vllm:
        return f"its kernels are those of vLLM {kernels.vllm}, and vLLM there is {found.vllm}"
    if found.key != kernels.key:
        here = (
            f"another build of Triton {found.triton}"
            if found.triton == kernels.triton
            else f"Triton {found.triton}"
        )
        return (
            f"it was compiled by Triton {kernels.triton}, and {here} is there, which takes none of "
            "its kernels and compiles each when it is first used. Compile them with that one: "
            "forkhouse triton --all --stack-python PYTHON --pack FOLDER"
        )
    return ""


def ask(run: Callable[..., subprocess.CompletedProcess[str]]) -> EnvironmentFacts:
    """Ask an environment for its vLLM and its Triton. Raises InstallError where nothing runs."""
    return EnvironmentFacts(**ask_by(run, "for its Triton", _QUESTION))
