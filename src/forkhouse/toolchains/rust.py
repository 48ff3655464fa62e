"""Find a Rust toolchain on this machine.

Nothing is ever downloaded: what is missing is named, with the command that closes the gap.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from forkhouse.core.errors import ToolchainError
from forkhouse.core.homes import in_home
from forkhouse.toolchains.packages import SEARCH_PATH

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, kw_only=True, slots=True)
class Rust:
    """A Rust toolchain: `bin/rustc` and `bin/cargo` in one folder."""

    root: Path
    version: str
    """Release of rustc."""
    rustc: str
    """All that rustc says of its version: release, commit, host and LLVM."""
    cargo: str

    @property
    def identity(self) -> dict[str, str]:
        """What identifies the tools, by their names."""
        return {"rustc": self.rustc, "cargo": self.cargo}


def find_rust(wanted: str) -> Rust:
    """Return the oldest Rust toolchain whose rustc is in the range `wanted`.

    The nearest to what an upstream was tested with.

    Toolchains of rustup are used by themselves, never through its stand-ins for cargo and rustc,
    which download what an upstream's rust-toolchain.toml names. Raises ToolchainError that says
    where was looked, and the command that closes the gap.
    """
    looked: list[str] = []
    found: list[Rust] = []
    for root in _roots():
        rust = _at(root)
        if rust is None:
            looked.append(f"{root}: no release of Rust")
        elif SpecifierSet(wanted).contains(rust.version):
            found.append(rust)
        else:
            looked.append(f"{root}: {rust.version}")
    if found:
        return min(found, key=lambda rust: Version(rust.version))
    message = (
        f"No Rust {wanted} on this machine (looked at "
        f"{'; '.join(looked) or 'the toolchains of rustup, and PATH'}), "
        f"and builds never download one. Run:\n  {install_line(wanted)}"
    )
    raise ToolchainError(message)


def install_line(wanted: str) -> str:
    """Return the command that installs the oldest release in a range."""
    return f"rustup toolchain install {_oldest(wanted)} --profile minimal --no-self-update"


def watched(wanted: str) -> str:
    """Return the path of the compiler that `find_rust` finds.

    When it finds none, return the path at which the command of `install_line` installs one.
    """
    try:
        return str(find_rust(wanted).root / "bin/rustc")
    except ToolchainError:
        machine = os.uname().machine
        return str(
            _rustup_home() / f"toolchains/{_oldest(wanted)}-{machine}-unknown-linux-gnu/bin/rustc"
        )


def _oldest(wanted: str) -> str:
    return str(
        min(
            Version(part.version.removesuffix(".*"))
            for part in SpecifierSet(wanted)
            if part.operator in {"==", ">=", "~="}
        )
    )


def _rustup_home() -> Path:
    chosen = os.environ.get("RUSTUP_HOME")
    return Path(chosen) if chosen else in_home(".rustup", "name rustup's folder (RUSTUP_HOME)")


def _roots() -> Iterator[Path]:
    """Yield the folders of toolchains, each once.

    Rustup's, then those on the user's PATH and the system's.
    """
    seen = set()
    chosen = [
        *sorted(_rustup_home().glob("toolchains/*/bin")),
        *map(Path, os.get_exec_path()),
        *map(Path, SEARCH_PATH.split(":")),
    ]
    for folder in chosen:
        rustc = folder / "rustc"
        if (
            not os.access(rustc, os.X_OK)
            or not os.access(folder / "cargo", os.X_OK)
            or rustc.resolve().name == "rustup"
        ):
            continue
        # Rustup's stand-ins may be hard links, too.
        rustup = shutil.which("rustup", path=folder)
        root = folder.resolve().parent
        if root not in seen and not (rustup and rustc.samefile(rustup)):
            seen.add(root)
            yield root


def _at(root: Path) -> Rust | None:
    """Return the toolchain in a folder, None when it gives no release (nightlies are none)."""
    outputs = []
    for tool, option in (("rustc", "-vV"), ("cargo", "-V")):
        command = [str(root / "bin" / tool), option]
        result = subprocess.run(
            command, cwd="/", capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
        if result.returncode != 0:
            return None
        outputs.append(result.stdout.strip())
    facts = dict(line.split(": ", 1) for line in outputs[0].splitlines() if ": " in line)
    try:
        version = str(Version(facts.get("release", "")))
    except InvalidVersion:
        return None
    return Rust(
        root=root, version=version, rustc="; ".join(outputs[0].splitlines()), cargo=outputs[1]
    )
