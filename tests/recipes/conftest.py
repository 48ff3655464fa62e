"""A checkout that builds our recipes for RIXL, NIXL and the package in front of them from small
upstreams in a mirror.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from forkhouse.builders.environment import Needs
from forkhouse.core.workspace import Workspace
from forkhouse.documents.lockfile import ArchiveSource, GitSource, Lock, Profile, WheelSource
from forkhouse.documents.reading import dump, load
from forkhouse.flow.building import build_recipe, open_workshop
from forkhouse.flow.plant import open_plant
from forkhouse.sources.acquire import Access
from tests.somebody import git
from tests.wheels import PACKING, pack

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkhouse.builders.built import BuiltWheel
    from forkhouse.flow.plant import Plant

ROOT = Path(__file__).parents[2]
UPSTREAMS = Path(__file__).parent / "upstreams"
# UCX as a wheel of the shape of ours: the libraries by their SONAMEs, and texts that stand for the
# names that a linker asks for.
UCX_BACKEND = (
    PACKING
    + """
import subprocess

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    version = pathlib.Path("VERSION").read_text().strip()
    header = pathlib.Path("upstream/ucp.h").read_bytes()
    files = {"libucx_rocm/__init__.py": b"", "libucx_rocm/include/ucp/api/ucp.h": header}
    for name, links in (("ucs", ()), ("uct", ()), ("ucp", ("libucs.so.0", "libuct.so.0"))):
        named = [f"-Wl,-soname,lib{name}.so.0", "-Wl,--disable-new-dtags,-rpath,$ORIGIN"]
        files_of_it = ["-o", f"lib{name}.so.0", f"upstream/{name}.c", *links]
        subprocess.run(["gcc", "-shared", "-fPIC", *named, *files_of_it], check=True)
        files[f"libucx_rocm/lib/lib{name}.so.0"] = pathlib.Path(f"lib{name}.so.0").read_bytes()
        files[f"libucx_rocm/lib/lib{name}.so"] = f"INPUT(lib{name}.so.0)\\n".encode()
    return write_wheel(wheel_directory, "libucx-rocm", version, "py3-none-linux_x86_64", files)
"""
)
# The Python half of RIXL and NIXL.
API = {
    "api/__init__.py": "from ._api import nixl_agent\n",
    "api/_api.py": "from . import _bindings\n\n\ndef nixl_agent() -> int:\n"
    "    return _bindings.answer()\n",
    "api/_utils.py": "",
    "api/logging.py": "",
}
# In a process of its own: connections to an index stay open until the end of it, which this one's
# warnings would report.
FETCH = """
import pathlib, sys
from forkhouse.documents.pylock import read_closure
from forkhouse.sources.wheels import fetch_all
from forkhouse.sources.index import Registry
from forkhouse.core.workspace import find_workspace

root, cache = map(pathlib.Path, sys.argv[1:])
pins = read_closure(root / "pylock.build.toml")
registry = Registry(find_workspace(root).cache, offline=False)
for pin, path in zip(pins, fetch_all(pins, registry), strict=True):
    (cache / "files" / pin.sha256).mkdir(parents=True)
    (cache / "files" / pin.sha256 / pin.file).symlink_to(path)
"""


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Write files, path to text, below a folder."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text.lstrip("\n"), encoding="utf-8")


def read_files(folder: Path) -> dict[str, str]:
    """Return the files of a folder, path to text."""
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in folder.rglob("*")
        if path.is_file()
    }


def small(name: str, sha256: Mapping[str, str]) -> dict[str, str]:
    """Return the files of a small RIXL or NIXL, whose wrap files ask for archives with these
    hashes.
    """
    files = {**read_files(UPSTREAMS / "common"), **read_files(UPSTREAMS / name), **API}
    return {
        path: re.sub(r"@(.*)@", lambda match: sha256[match[1]], text)
        if path.endswith(".wrap")
        else text
        for path, text in files.items()
    }


def write_archive(path: Path, top: str, files: Mapping[str, str]) -> str:
    """Write a source archive with one top folder and return its sha256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in files.items():
                archive.writestr(f"{top}/{name}", text)
    else:
        with tarfile.open(path, "w:gz") as tarball:
            for name, text in files.items():
                info = tarfile.TarInfo(f"{top}/{name}")
                info.size, info.mtime = len(text), 1_700_000_000
                tarball.addfile(info, io.BytesIO(text.encode()))
    return hashlib.sha256(path.read_bytes()).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkout:
    """A checkout with our recipes, the mirror that it builds from, and the machine of its user."""

    root: Path
    mirror: Path
    cache: Path
    machine: Path
    """ROCm, CUDA and programs of the user; nvcc and uv leave a mark here when they are run."""

    def user(self) -> dict[str, str]:
        """Return what is peculiar in the user's environment: CUDA and uv lie in wait."""
        cuda = str(self.machine / "cuda")
        path = f"{self.machine / 'bin'}:{os.environ['PATH']}"
        return {
            "ROCM_PATH": str(self.machine / "rocm"),
            "CUDA_HOME": cuda,
            "CUDA_PATH": cuda,
            "PATH": path,
        }

    def plant(self, *, mirror: bool = True) -> Plant:
        """Open the checkout as a run does."""
        access = Access(
            policy="auto", mirror=self.mirror if mirror else None, offline=False, cache=self.cache
        )
        return open_plant(Workspace(root=self.root, cache=self.cache), access)

    def build(self, *recipes: str) -> dict[str, BuiltWheel]:
        """Build some recipes, in the order that their needs ask for, and return their wheels by
        name.
        """
        lock = self.lock()
        profile = Profile(recipes=recipes, install=("nothing",))
        self.write_lock(lock.model_copy(update={"profiles": {"small": profile}}))
        plant = self.plant()
        workshop = open_workshop(plant)
        built: dict[str, BuiltWheel] = {}
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.user().items():
                patch.setenv(name, value)
            for recipe_name, recipe in plant.checkout.recipes("small").items():
                built[recipe_name] = build_recipe(plant, recipe_name, recipe, workshop, built)
        self.write_lock(lock)  # others copy this checkout, in whatever order the tests run
        return built

    def lock(self) -> Lock:
        """Return the lock as it is on disk."""
        return load(Lock, self.root / "upstream.lock")

    def write_lock(self, lock: Lock) -> None:
        """Write the lock."""
        (self.root / "upstream.lock").write_text(dump(lock), encoding="utf-8")

    def pin(self, upstream: str, files: Mapping[str, str]) -> None:
        """Commit files to the repository of an upstream in the mirror and pin that commit as its
        only source.
        """
        lock = self.lock()
        source = next(
            source for source in lock.upstreams[upstream].sources if isinstance(source, GitSource)
        )
        owner, name = source.url.rsplit("/", 2)[-2:]
        # A mirror may name its repositories either way.
        folder = self.mirror / (f"{owner}+{name}" if upstream == "rixl" else f"{owner}/{name}")
        if not folder.exists():
            folder.mkdir(parents=True)
            git(folder, "init", "--quiet", "--initial-branch=main")
        write_files(folder, files)
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message=change")
        unknown = dict.fromkeys(("tree", "patched_tree", "tag", "branch"))
        pinned = source.model_copy(update={**unknown, "commit": git(folder, "rev-parse", "HEAD")})
        upstreams = {
            **lock.upstreams,
            upstream: lock.upstreams[upstream].model_copy(update={"sources": (pinned,)}),
        }
        self.write_lock(lock.model_copy(update={"upstreams": upstreams}))

    def copy(self, folder: Path) -> Checkout:
        """Return a checkout of one's own, its build environments and cache shared with this one."""
        # An environment names its own place in its programs: it is made here, not through the link.
        open_workshop(self.plant()).environment.python(Needs())
        shutil.copytree(self.root, folder / "checkout", ignore=shutil.ignore_patterns("build"))
        shutil.copytree(self.mirror, folder / "mirror")
        (folder / "checkout/build").mkdir()
        (folder / "checkout/build/environments").symlink_to(self.root / "build/environments")
        return replace(self, root=folder / "checkout", mirror=folder / "mirror")


def make_machine(folder: Path) -> None:
    """Make what a user's machine has: ROCm as Debian's, without a library called hiprtc; CUDA.

    And programs that leave a mark.
    """
    write_files(
        folder, {"rocm/include/hsa/hsa.h": "", "rocm/hip.c": "int hip_answer(void) { return 1; }\n"}
    )
    (folder / "rocm/lib").mkdir()
    command = [
        "gcc",
        "-shared",
        "-fPIC",
        "-Wl,-soname,libamdhip64.so.5",
        "-o",
        "lib/libamdhip64.so",
        "hip.c",
    ]
    subprocess.run(command, cwd=folder / "rocm", check=True)
    write_files(
        folder,
        {
            "cuda/include/cuda.h": "",
            "cuda/lib64/libcuda.so": "INPUT(libc.so.6)\n",
            "cuda/lib64/libcudart.so": "",
        },
    )
    for name in ("nvcc", "uv"):
        write_files(
            folder,
            {
                f"bin/{name}": f"#!/bin/sh\ntouch {folder}/{name}-was-run\n"
                f"echo 'release 13.0, V13.0.1'\n"
            },
        )
        (folder / "bin" / name).chmod(0o755)


def fetch_tools(cache: Path) -> None:
    """Put the wheels of pylock.build.toml into a cache, by way of the user's own, from which they
    come after the first time.
    """
    subprocess.run([sys.executable, "-c", FETCH, str(ROOT), str(cache)], check=True)


def small_lock(mirror: Path) -> tuple[Lock, dict[str, str]]:
    """Return this repository's lock with the archives of the small upstreams, which are put into
    the mirror, and their hashes.
    """
    lock = load(Lock, ROOT / "upstream.lock")
    sha256: dict[str, str] = {}
    components = {}
    for name, component in lock.components.items():
        (source,) = component.sources
        assert isinstance(source, ArchiveSource)
        top = component.path.rpartition("/")[2]
        sha256[source.file] = write_archive(
            mirror / "archives" / source.file, top, read_files(UPSTREAMS / "archives" / source.file)
        )
        pinned = source.model_copy(
            update={
                "sha256": sha256[source.file],
                "url": "https://host.invalid/archive",
                "tree": None,
            }
        )
        components[name] = component.model_copy(update={"sources": (pinned,)})
    built_here = ("ucx", "rixl", "nixl-rocm", "nixl", "dynamo")
    upstreams = {name: lock.upstreams[name] for name in built_here}
    return lock.model_copy(
        update={
            "upstreams": upstreams,
            "components": components,
            "profiles": {},
            "hip_toolchain": None,
        }
    ), sha256


def cached_wheel(cache: Path, source: WheelSource) -> WheelSource:
    """Return a pin of a small wheel of the same name, which lies in the cache."""
    path = cache / source.file
    info = "-".join(source.file.split("-")[:2]) + ".dist-info"
    pack(path, {f"{info}/METADATA": b"Metadata-Version: 2.1\nName: small\nVersion: 1\n"})
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    (cache / "files" / sha256).mkdir()
    path.rename(cache / "files" / sha256 / source.file)
    return source.model_copy(update={"sha256": sha256, "tree": None, "patched_tree": None})


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The checkout as it is first: nothing is built."""
    folder = tmp_path_factory.mktemp("recipes")
    checkout = Checkout(
        root=folder / "checkout",
        mirror=folder / "mirror",
        cache=folder / "cache",
        machine=folder / "machine",
    )
    make_machine(checkout.machine)
    (checkout.root / "build/environments").mkdir(parents=True)
    for name in ("rixl", "nixl-rocm", "nixl", "dynamo"):
        shutil.copytree(ROOT / "recipes" / name, checkout.root / "recipes" / name)
    write_files(
        checkout.root / "recipes/ucx",
        {
            "recipe.yaml": "upstream: ucx\ndistribution: libucx-rocm\nlocal: rocm.1\n"
            "builders: {git: {kind: pep517}}\n",
            "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\n'
            'backend-path = ["."]\n',
            "backend.py": UCX_BACKEND,
        },
    )
    shutil.copyfile(ROOT / "pylock.build.toml", checkout.root / "pylock.build.toml")
    fetch_tools(checkout.cache)
    lock, sha256 = small_lock(checkout.mirror)
    (source,) = lock.upstreams["nixl"].sources
    assert isinstance(source, WheelSource)
    nixl = lock.upstreams["nixl"].model_copy(
        update={"sources": (cached_wheel(checkout.cache, source),)}
    )
    checkout.write_lock(lock.model_copy(update={"upstreams": {**lock.upstreams, "nixl": nixl}}))
    checkout.pin("ucx", read_files(UPSTREAMS / "ucx"))
    checkout.pin("rixl", small("rixl", sha256))
    checkout.pin("nixl-rocm", small("nixl", sha256))
    return checkout


@pytest.fixture
def checkout(template: Checkout, tmp_path: Path) -> Checkout:
    """A checkout of one's own."""
    return template.copy(tmp_path)


@pytest.fixture(scope="session", params=["rixl", "nixl-rocm"])
def transfer(request: pytest.FixtureRequest, template: Checkout) -> tuple[BuiltWheel, BuiltWheel]:
    """A transfer library and UCX, built on the user's machine."""
    built = template.build(request.param, "ucx")
    return built[request.param], built["ucx"]
