"""Install a profile from a wheelhouse alone.

Verified, hashes required, no index, no network needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkhouse.core.environments import install_wheels, make_environment
from forkhouse.core.errors import ClosureError, InstallError, UsageError
from forkhouse.core.progress import report
from forkhouse.core.storage import storage_errors
from forkhouse.wheelhouse.contents import read_contents
from forkhouse.wheelhouse.generations import add_generation, is_prefix
from forkhouse.wheelhouse.optional import install_optional, optional_kernels
from forkhouse.wheelhouse.target import check_target, disable_kpacks
from forkhouse.wheelhouse.verifying import verify

if TYPE_CHECKING:
    from pathlib import Path


def install_wheelhouse(wheelhouse: Path, into: Path) -> Path:
    """Install the profile at `into`, beside what was installed there before.

    Returns the interpreter. Each installation is an environment of its own, and `into` stands for
    the current one (see `generations`). After a failure all is as it was.

    Raises UsageError when `into` is something else, ClosureError or HashMismatchError when the
    wheelhouse is not as it was built or lacks wheels, InstallError with pip's own words when pip
    refuses, or when what was installed cannot be imported.
    """
    into = into.absolute()
    if into.exists() and not is_prefix(into):
        message = (
            f"{into} exists. Name a folder that does not, or one that `install --into` made: an "
            "installation is made whole or not at all."
        )
        raise UsageError(message)
    verify(wheelhouse)
    contents = read_contents(wheelhouse)
    if contents.missing:
        names = ", ".join(f"{each.name} {each.wanted}" for each in contents.missing)
        message = (
            f"The wheelhouse {wheelhouse.name} is without {names}. Install it onto an environment "
            "that has them: --onto ENVIRONMENT."
        )
        raise ClosureError(message)
    report().line("install", f"making {into.name} from {wheelhouse.name}")

    def make(folder: Path) -> None:
        with storage_errors("Making the virtual environment"):
            make_environment(folder)
        # All that is needed is listed; what a slim wheelhouse leaves out pip would look for.
        options = ("--no-deps",) if contents.omitted else ()
        _install(wheelhouse, folder / "bin/python", *options)

    add_generation(into, wheelhouse, profile=contents.profile, install=contents.install, make=make)
    return into / "bin/python"


def install_onto(wheelhouse: Path, environment: Path) -> Path:
    """Install the profile into an environment that is there and has what the wheelhouse lacks.

    Return its interpreter.

    Before anything is changed, the environment is asked whether it has those wheels, and its
    PyTorch, where it is to supply that, the symbols that our extensions leave open. Raises
    UsageError when there is no environment, ClosureError or HashMismatchError when the wheelhouse
    is not as it was built, InstallError when the environment does not fit or pip refuses.
    """
    interpreter = environment / "bin/python"
    if not interpreter.exists():
        message = (
            f"{environment} is no Python environment: it has no bin/python. Name one, or make a "
            "new one with --into."
        )
        raise UsageError(message)
    verify(wheelhouse)
    contents = read_contents(wheelhouse)
    # A wheelhouse that has PyTorch was linked against that one, and brings it.
    carried = any(wheel.name == "torch" for wheel in contents.wheels)
    symbols = {} if carried else {wheel.name: wheel.torch_symbols for wheel in contents.wheels}
    check_target(interpreter, contents.missing, symbols)
    report().line("install", f"installing {wheelhouse.name} onto {environment.name}")
    # pip takes a distribution of the same version for the same one, whoever built it of what.
    _install(wheelhouse, interpreter, "--no-deps", "--force-reinstall")
    for name in disable_kpacks(interpreter, contents.targets):
        report().line(
            "install",
            (
                f"put aside PyTorch's {name}: with it no kernel runs on these GPUs; its libraries "
                "hold the same code"
            ),
        )
    return interpreter


def pip_options(wheelhouse: Path) -> tuple[str, ...]:
    """Return what pip is told to install a wheelhouse that lies at a path, and nothing else."""
    return (
        "--find-links",
        str(wheelhouse),
        "--require-hashes",
        "--no-compile",
        "--requirement",
        str(wheelhouse / "requirements.txt"),
    )


def carried_pip(wheelhouse: Path) -> Path | None:
    """Return the wheel of pip that a wheelhouse carries; None where it carries none."""
    return next(wheelhouse.glob("tools/pip-*.whl"), None)


def _install(wheelhouse: Path, interpreter: Path, *options: str) -> None:
    optional_kernels(wheelhouse)  # what is wrong there is told before all else
    try:
        install_wheels(
            interpreter,
            *options,
            *pip_options(wheelhouse),
            wheels=[path.name for path in wheelhouse.glob("*.whl")],
            pip=carried_pip(wheelhouse),
        )
    except InstallError as error:
        message = f"pip could not install from the wheelhouse {wheelhouse.name}:\n{error}"
        raise InstallError(message) from error
    install_optional(wheelhouse, interpreter, pip=carried_pip(wheelhouse))
