"""Make the environment that the tests run in, from what a wheelhouse carries."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forkhouse.core.environments import BARE, install_wheels, site_packages
from forkhouse.core.errors import ClosureError, InstallError
from forkhouse.core.storage import storage_errors
from forkhouse.core.wording import end_of
from forkhouse.wheelhouse.install import carried_pip

if TYPE_CHECKING:
    from collections.abc import Sequence

SUITE = "tests/integration"
"""Where the tests are below a site folder."""
SETTINGS = "tests/pytest.ini"
"""The settings of pytest for them, as the wheel of the tests has it."""
_WHEEL = "tools/forkhouse_selftest-*.whl"


@dataclass(frozen=True, kw_only=True, slots=True)
class Tests:
    """The tests, installed, and the interpreter that runs them."""

    python: Path
    site: Path
    """The folder in which they lie."""

    @property
    def suite(self) -> Path:
        """Return the folder of the tests."""
        return self.site / SUITE

    @property
    def settings(self) -> Path:
        """Return the file of pytest's settings."""
        return self.site / SETTINGS


def install_tests(wheelhouse: Path, folder: Path, stack: Path) -> Tests:
    """Install into a new environment what a wheelhouse carries, the tests among it.

    `stack` is the interpreter of the stack under test. What is installed for it can be imported,
    where nothing that is carried has the name. Raises ClosureError where no tests are carried,
    InstallError, StorageError.
    """
    if not list(wheelhouse.glob(_WHEEL)):
        message = (
            f"The wheelhouse {wheelhouse.name} carries no tests. Build it in a checkout of "
            "Forkhouse with this version or a newer one; `forkhouse lock --tools` pins what it "
            "needs for them."
        )
        raise ClosureError(message)
    made = subprocess.run(
        [stack, "-I", "-m", "venv", "--without-pip", folder],
        env=BARE,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if made.returncode != 0:
        said = end_of(made.stderr or made.stdout)
        message = f"{stack} could not make an environment for the tests:\n{said}"
        raise InstallError(message)
    python = folder / "bin/python"
    if not python.exists():
        message = (
            f"{stack} is no Python: it made no environment for the tests. Name the interpreter of "
            "an environment that a wheelhouse was installed into (--python)."
        )
        raise InstallError(message)
    tools = wheelhouse / "tools"
    options = (
        *("--find-links", str(tools), "--require-hashes", "--no-deps"),
        *("--requirement", str(tools / "requirements.txt")),
    )
    wheels = [path.name for path in tools.glob("*.whl")]
    install_wheels(python, *options, wheels=wheels, pip=carried_pip(wheelhouse))
    (site,) = {Path(each) for each in site_packages(python)}
    with storage_errors("Making the environment of the tests"):
        (site / "stack.pth").write_text(_lines(site_packages(stack)), encoding="utf-8")
    return Tests(python=python, site=site)


def _lines(texts: Sequence[str]) -> str:
    return "".join(f"{text}\n" for text in texts)
