"""A whole checkout in small.

A C library in a git repository, an engine as a wheel, a third-party wheel, and their patches.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests import forked
from tests.somebody import git
from tests.wheels import PACKING, write_wheel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LOCK = """
format: 1
python: '>=3.11'
rocm: '>=5'
gpu-targets: [gfx90a]
upstreams:
  transport:
    version: '2.0'
    licence: MIT
    why: Moves things.
    sources:
      - {{kind: git, url: '{url}', tag: v2.0, commit: {commit}}}
  engine:
    version: '1.0'
    licence: MIT
    why: Computes things.
    sources:
      - {{kind: wheel, package: small-engine,
          file: small_engine-1.0-py3-none-any.whl, sha256: {engine}}}
profiles:
  cpu:
    recipes: [transport, engine]
    install: [small-engine, small-transport]
    externals:
      - {{package: helper, version: '3.0',
          file: helper-3.0-py3-none-any.whl, sha256: {helper}, why: It is heavy.}}
"""
# A PEP 517 backend of its own, so that a build needs nothing but a compiler.
BACKEND = (
    PACKING
    + """
import platform, subprocess

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    version = pathlib.Path("VERSION").read_text().strip()
    tag = f"py3-none-linux_{platform.machine()}"
    compiler = ["gcc", "-shared", "-fPIC", "-g0", "-Wl,--build-id=none"]
    subprocess.run([*compiler, "-o", "libtransport.so", "upstream/transport.c"], check=True)
    library = pathlib.Path("libtransport.so").read_bytes()
    files = {"small_transport/__init__.py": b"", "small_transport/libtransport.so": library}
    name = write_wheel(wheel_directory, "small-transport", version, tag, files)
    return name
"""
)
TRANSPORT_EDIT = """
Subject: Answer for AMD
Description: The small upstream knows one vendor.
Origin: vendor, Forkhouse
Forwarded: not-needed
Retire-When: never
edits:
  - path: transport.c
    language: text
    operations:
      - replace: {anchor: 'return 1;'}
        with: 'return 2;'
after:
  - present: {text: 'return 2;', in: transport.c}
"""
ENGINE_EDIT = """
Subject: Do without the accelerator's package
Description: No index has it.
Origin: vendor, Forkhouse
Forwarded: not-needed
Retire-When: never
edits:
  - path: "*.dist-info/METADATA"
    language: requirements
    operations:
      - requirement: {remove: only-for-cuda}
"""


def published(
    folder: Path, name: str, version: str, files: dict[str, bytes], requires: tuple[str, ...] = ()
) -> str:
    """Write a pure wheel and return its sha256."""
    metadata = [f"Requires-Dist: {text}" for text in requires]
    path = write_wheel(folder, name, version, files, metadata=metadata)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkout:
    """A small checkout, and how to run forkhouse in it."""

    root: Path
    index: Path
    upstream: Path
    cache: Path

    def environment(self) -> dict[str, str]:
        """Return an environment whose pip knows the small index alone."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
        return {
            **kept,
            "PIP_CONFIG_FILE": "/dev/null",
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.index),
            "FORKHOUSE_CACHE": str(self.cache),
            "CI": "1",
        }

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of forkhouse for this checkout."""
        return [sys.executable, "-m", "forkhouse", "--root", str(self.root), *arguments]

    def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run forkhouse; its exit code must be `code`."""
        result = self.tried(*arguments)
        assert result.returncode == code, (
            f"exit {result.returncode}, expected {code}\n{result.stdout}\n{result.stderr}"
        )
        return result

    def tried(
        self, *arguments: str, mounts: str = "", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run forkhouse, whatever its exit code is; it must not end with a traceback.

        `mounts` is a line of a shell that mounts file systems for this process alone.
        """
        result = forked.run(
            ["--root", str(self.root), *arguments],
            {**self.environment(), **variables},
            mounts=mounts,
        )
        # One of ours would start its line; a build tool's own stands indented in the end of its
        # log.
        assert not [line for line in result.stderr.splitlines() if line.startswith("Traceback")]
        return result

    def build(self, *arguments: str) -> dict[str, Any]:
        """Build the profile and return what --json prints."""
        answer: dict[str, Any] = json.loads(self.run("build", "--json", *arguments).stdout)
        return answer

    def wheelhouse(self) -> dict[str, str]:
        """Return the sha256 of every file in the wheelhouse, by path."""
        folder = self.root / "wheels/cpu"
        files = (path for path in folder.rglob("*") if path.is_file())
        return {
            path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
        }

    def commit(self, **files: str | None) -> str:
        """Commit changed files to the upstream of the transport and return the commit's id.

        Dots in a name are spelt `_dot_`; None removes the file.
        """
        for name, text in files.items():
            path = self.upstream / name.replace("_dot_", ".")
            if text is None:
                path.unlink()
            else:
                path.write_text(text, encoding="utf-8")
        git(self.upstream, "add", "--all")
        git(self.upstream, "commit", "--quiet", "--message=churn")
        return git(self.upstream, "rev-parse", "HEAD")

    def release(self, version: str, *requires: str) -> None:
        """Put another release of the engine on the index."""
        published(
            self.index,
            "small-engine",
            version,
            {"small_engine/__init__.py": b"import helper\n\nNAME = 'engine'\n"},
            requires,
        )

    def let_builds_wait(self) -> None:
        """Let every build of the transport wait until `while_building` has changed something."""
        wait = (
            "    pathlib.Path('begun').touch()\n    while not pathlib.Path('go').exists(): "
            "time.sleep(0.01)\n    version = pathlib"
        )
        self.edit(
            "recipes/transport/backend.py", "    version = pathlib", f"    import time\n{wait}"
        )

    def while_building(
        self, change: Callable[[], object], *arguments: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a build, and change something while the transport's is under way.

        A build itself cannot reach out of its folder.
        """
        project = self.root / "build/work/transport/project"
        (project / "begun").unlink(missing_ok=True)  # of a build that failed
        command = self.command("build", *arguments)
        with subprocess.Popen(
            command,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as running:
            until = time.monotonic() + 120
            while (
                running.poll() is None
                and not (project / "begun").exists()
                and time.monotonic() < until
            ):
                time.sleep(0.02)
            if running.poll() is None:
                change()
                (project / "go").touch()
            try:
                output, said = running.communicate(timeout=120)
            finally:
                running.kill()
        return subprocess.CompletedProcess(command, running.returncode, output, said)

    def edit(self, path: str, old: str, new: str) -> None:
        """Change a file of the checkout; `old` must be in it."""
        text = (self.root / path).read_text(encoding="utf-8")
        assert old in text
        (self.root / path).write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The small checkout as its keeper leaves it: locked, not built."""
    return make_template(tmp_path_factory.mktemp("small"))


def make_template(folder: Path) -> Checkout:
    """Make a small checkout below an empty folder, locked and not built."""
    checkout = Checkout(
        root=folder / "checkout",
        index=folder / "index",
        upstream=folder / "transport",
        cache=folder / "cache",
    )
    checkout.index.mkdir()
    engine = {"small_engine/__init__.py": b"import helper\n\nNAME = 'engine'\n"}
    engine_sha256 = published(
        checkout.index, "small-engine", "1.0", engine, ("helper>=2", "only-for-cuda==9")
    )
    # Incompressible and large, so that a small disk cannot hold it.
    helper_sha256 = published(
        checkout.index, "helper", "3.0", {"helper.py": b"", "helper.bin": os.urandom(300_000)}
    )
    checkout.upstream.mkdir()
    git(checkout.upstream, "init", "--quiet", "--initial-branch=main")
    git(checkout.upstream, "config", "uploadpack.allowAnySHA1InWant", "true")
    (checkout.upstream / "transport.c").write_text(
        "int vendor(void) {\n    return 1;\n}\n", encoding="utf-8"
    )
    git(checkout.upstream, "add", "--all")
    git(checkout.upstream, "commit", "--quiet", "--message=first")
    git(checkout.upstream, "tag", "v2.0")
    commit = git(checkout.upstream, "rev-parse", "HEAD")
    files = {
        "upstream.lock": LOCK.format(
            url=checkout.upstream.as_uri(),
            commit=commit,
            engine=engine_sha256,
            helper=helper_sha256,
        ),
        "patches/transport/series": "0001-answer-for-amd.edit.yaml\n",
        "patches/transport/0001-answer-for-amd.edit.yaml": TRANSPORT_EDIT,
        "patches/engine/series": "0001-without-cuda.edit.yaml\n",
        "patches/engine/0001-without-cuda.edit.yaml": ENGINE_EDIT,
        "recipes/transport/recipe.yaml": "upstream: transport\ndistribution: small-transport\n"
        "local: rocm.1\n"
        "builders: {git: {kind: pep517}}\nsystem-packages: [{package: gcc, command: gcc}]\n",
        "recipes/transport/pyproject.toml": "[build-system]\nrequires = []\n"
        'build-backend = "backend"\nbackend-path = ["."]\n',
        "recipes/transport/backend.py": BACKEND,
        "recipes/engine/recipe.yaml": "upstream: engine\ndistribution: small-engine\nlocal: cpu.1\n"
        "builders: {wheel: {kind: repack}}\n",
    }
    for path, text in files.items():
        (checkout.root / path).parent.mkdir(parents=True, exist_ok=True)
        (checkout.root / path).write_text(text.lstrip("\n"), encoding="utf-8")
    checkout.run("lock", "--update")
    shutil.rmtree(checkout.root / "build")
    return checkout


@pytest.fixture
def checkout(template: Checkout, tmp_path: Path) -> Checkout:
    """A checkout of one's own; the upstream and the index are its own, too."""
    return copied(template, tmp_path)


def copied(template: Checkout, folder: Path) -> Checkout:
    """Copy a checkout, with its upstream and its index, to a folder."""
    index, upstream = folder / "index", folder / "transport"
    shutil.copytree(template.root, folder / "checkout")
    shutil.copytree(template.index, index)
    shutil.copytree(template.upstream, upstream)
    own = Checkout(root=folder / "checkout", index=index, upstream=upstream, cache=folder / "cache")
    own.edit("upstream.lock", template.upstream.as_uri(), upstream.as_uri())
    return own
