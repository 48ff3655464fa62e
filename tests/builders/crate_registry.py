"""A crate registry on this machine.

Crates that cargo packs, an index of them, and a server that cargo reaches as any other.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import json
import os
import subprocess
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from forkhouse.core.errors import ToolchainError
from forkhouse.toolchains.rust import Rust, find_rust

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

try:
    RUST: Rust | None = find_rust(">=1.70")
except ToolchainError:
    RUST = None

needs_cargo = pytest.mark.skipif(
    RUST is None,
    reason="there is no Rust from 1.70 on, the first whose cargo asks registries by HTTP",
)


def cargo(folder: Path, *arguments: str, home: Path) -> str:
    """Run cargo with settings from `home` alone."""
    assert RUST is not None
    tools = RUST.root / "bin"
    environment = {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "HOME": str(home),
        "CARGO_HOME": str(home),
        "RUSTC": str(tools / "rustc"),
    }
    command = [str(tools / "cargo"), *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=True
    ).stdout


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CrateRegistry:
    """A registry whose files lie in a folder, and the settings (a CARGO_HOME) of a user whose cargo
    asks it.
    """

    folder: Path
    home: Path
    address: str

    def publish(
        self, name: str, version: str, files: Mapping[str, str], *, features: tuple[str, ...] = ()
    ) -> Path:
        """Let cargo pack a crate, and put it into the index. Returns the packed crate."""
        source = self.folder / "sources" / f"{name}-{version}"
        lines = "".join(f"{feature} = []\n" for feature in features)
        manifest = (
            f'[package]\nname = "{name}"\nversion = "{version}"\nedition = "2021"\ndescription = '
            '"small"\nlicense = "MIT"\n'
        )
        for path, text in {
            "Cargo.toml": f"{manifest}[features]\n{lines}",
            "src/lib.rs": "",
            **files,
        }.items():
            (source / path).parent.mkdir(parents=True, exist_ok=True)
            (source / path).write_text(text, encoding="utf-8")
        cargo(
            source,
            "package",
            "--no-verify",
            "--allow-dirty",
            "--offline",
            "--quiet",
            home=self.home,
        )
        packed = self.crate(name, version)
        packed.parent.mkdir(exist_ok=True)
        (source / "target/package" / packed.name).rename(packed)
        entry = {
            "name": name,
            "vers": version,
            "deps": [],
            "cksum": hashlib.sha256(packed.read_bytes()).hexdigest(),
            "features": {feature: [] for feature in features},
            "yanked": False,
        }
        place = self.folder / "index" / name[:2] / name[2:4] / name
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("a", encoding="utf-8") as lines_of_crate:
            lines_of_crate.write(json.dumps(entry) + "\n")
        return packed

    def crate(self, name: str, version: str) -> Path:
        """Return where the registry has a packed crate."""
        return self.folder / "crates" / f"{name}-{version}.crate"

    def asked(self, home: Path) -> Path:
        """Write the settings of a user whose cargo asks this registry, and whose own cache is
        empty; return their CARGO_HOME.
        """
        return settings(home, self.address)


def settings(home: Path, address: str) -> Path:
    """Write settings that let a registry at an address stand in for the public one."""
    home.mkdir(parents=True, exist_ok=True)
    text = (
        '[source.crates-io]\nreplace-with = "here"\n[source.here]\nregistry = '
        f'"sparse+{address}/index/"\n[net]\nretry = 0\n'
    )
    (home / "config.toml").write_text(text, encoding="utf-8")
    return home


@contextlib.contextmanager
def crate_registry(folder: Path) -> Iterator[CrateRegistry]:
    """Serve an empty registry from a folder."""
    (folder / "index").mkdir(parents=True)
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        (folder / "index/config.json").write_text(
            json.dumps({"dl": f"{address}/crates/{{crate}}-{{version}}.crate"}), encoding="utf-8"
        )
        yield CrateRegistry(folder=folder, home=settings(folder / "home", address), address=address)
        server.shutdown()
        thread.join()
