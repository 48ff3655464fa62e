"""What a build by cargo sees.

Crates that were fetched before, settings of its own, and one toolchain, in a fixed place.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet

from forkhouse.builders.crates import NAME, Crates, fetch_crates
from forkhouse.builders.fixed import ROOT, FixedPlace
from forkhouse.core.errors import BuildError
from forkhouse.core.storage import storage_errors
from forkhouse.documents.reading import read_toml
from forkhouse.toolchains.rust import find_rust

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from forkhouse.documents.recipe import UpstreamProject
    from forkhouse.patches.apply import PatchedTree
    from forkhouse.sources.store import ObjectStore
    from forkhouse.toolchains.rust import Rust

# Cargo's own name for the registry that a Cargo.lock means where it names none.
_CONFIG = """\
[source.crates-io]
replace-with = "fetched"
[source.fetched]
directory = "{crates}"
[net]
offline = true
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class CargoKit:
    """The toolchain and the crates of one build."""

    rust: Rust
    crates: Crates

    @property
    def identity(self) -> dict[str, str]:
        """What identifies both, as the manifest lists tools."""
        return {
            **self.rust.identity,
            NAME: f"sha256:{self.crates.lock}, {len(self.crates.crates)} crates",
        }

    def prepare(self, work: Path, home: Path) -> FixedPlace:
        """Write cargo's settings into a build's `home`, and return where the build must run.

        `home` is a folder within `work`. Raises StorageError.
        """
        shown = {"crates": self.crates.folder}
        if not _on_every_machine(self.rust):
            shown["rust"] = self.rust.root
        place = FixedPlace(work=work, shown=shown)
        with storage_errors("Writing cargo's settings"):
            (home / "cargo").mkdir(exist_ok=True)
            text = _CONFIG.format(crates=ROOT / "crates")
            (home / "cargo/config.toml").write_text(text, encoding="utf-8")
        return place

    def variables(self, place: FixedPlace, variables: Mapping[str, str]) -> dict[str, str]:
        """Return a build's variables with those added that cargo, rustc and C compilers obey.

        Some crates start C compilers.
        """
        tools = self.rust.root / "bin" if _on_every_machine(self.rust) else ROOT / "rust/bin"
        home = ROOT / "home"
        return {
            **{
                name: value.replace(str(place.work), str(ROOT)) for name, value in variables.items()
            },
            "PATH": f"{tools}:{variables['PATH']}",
            "HOME": str(home),
            "TMPDIR": str(home),
            "RUSTC": str(tools / "rustc"),
            "CARGO_HOME": str(home / "cargo"),
            "CARGO_TARGET_DIR": str(ROOT / "objects"),
            "CARGO_BUILD_JOBS": variables["CMAKE_BUILD_PARALLEL_LEVEL"],
            "CARGO_INCREMENTAL": "0",
            "CARGO_NET_OFFLINE": "true",
            "CARGO_TERM_COLOR": "never",
        }


def _on_every_machine(rust: Rust) -> bool:
    """Return whether a toolchain lies in /usr.

    Every machine that has one from its distribution has it there, so its path tells nothing.
    """
    return PurePosixPath(rust.root) == PurePosixPath("/usr")


def cargo_kit(
    patched: PatchedTree,
    method: UpstreamProject,
    *,
    store: ObjectStore,
    cache: Path,
    offline: bool,
    shared: Path | None = None,
) -> CargoKit | None:
    """Return what a project wants for its cargo, fetched and checked.

    None when it compiles no Rust.

    Raises ToolchainError when this machine has no such Rust, UnreachableError when crates cannot be
    had, HashMismatchError and BuildError as `fetch_crates`, and BuildError when the upstream asks
    for another Rust than the recipe.
    """
    if method.cargo is None:
        return None
    owner, wanted = patched.source.upstream, method.cargo.rustc
    for path in dict.fromkeys(
        posixpath.normpath(f"{folder}/rust-toolchain.toml") for folder in (method.folder, ".")
    ):
        if store.entry(patched.tree, path) is not None:
            _check_release(store.read(patched.tree, path), path, wanted, owner)
            break
    rust = find_rust(wanted)
    return CargoKit(
        rust=rust,
        crates=fetch_crates(
            patched.tree,
            method.folder,
            owner,
            store=store,
            rust=rust,
            cache=cache,
            offline=offline,
            shared=shared,
        ),
    )


def _check_release(content: bytes, path: str, wanted: str, owner: str) -> None:
    try:
        channel = str(read_toml(content)["toolchain"]["channel"])
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        message = f"{owner}: its {path} cannot be read: {error!r}."
        raise BuildError(message) from error
    # A channel by name, such as stable, says nothing.
    if re.fullmatch(r"\d+(\.\d+)+", channel) and not SpecifierSet(wanted).contains(channel):
        message = (
            f"{owner}: its {path} asks for Rust {channel}, the recipe for {wanted}. The upstream "
            "has moved on: correct the recipe."
        )
        raise BuildError(message)


def check_lock(project: Path, crates: Crates, owner: str) -> None:
    """Make sure that a build has taken the crates that its Cargo.lock named. Raises BuildError."""
    if hashlib.sha256((project / NAME).read_bytes()).hexdigest() != crates.lock:
        message = (
            f"{owner}: the build has changed {NAME}, so it is not made of the crates that were "
            "pinned. Give cargo --locked."
        )
        raise BuildError(message)
