"""A base that is this machine's Python and a shell, and a small wheelhouse that carries pip.

The base's archive is written here by hand: nothing of what it is read with.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import re
import shutil
import subprocess
import sys
import tarfile
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from forkhouse.documents.lockfile import Profile
from forkhouse.documents.pins import pinned_wheel
from tests.wheelhouse.conftest import Draft, built_wheel
from tests.wheels import write_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from forkhouse.core.journal import Journal
    from forkhouse.sources.index import Registry

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
UNUSED = {"test", "idlelib", "lib2to3", "tkinter", "turtledemo", "pydoc_data", "__pycache__"}
UNUSED |= {"site-packages", "dist-packages", "unittest", "distutils"}
ECHO = b"""
import json, os, sys
print(json.dumps([sys.argv[1:], dict(os.environ)]))
"""
"""Stands in for what the stack's commands start: it says how it was started."""


@pytest.fixture(scope="session")
def carried(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What the wheelhouse carries: pip, made into a wheel of what this Python has."""
    found = distribution("pip")
    files = {
        str(path): Path(str(found.locate_file(path))).read_bytes()
        for path in found.files or ()
        if path.parts[0] == "pip"
        and path.suffix != ".pyc"
        # Some installers note the folders of what they compile.
        and Path(str(found.locate_file(path))).is_file()
    }
    pip = write_wheel(tmp_path_factory.mktemp("carried"), "pip", found.version, files)
    return {f"tools/{pip.name}": pip}


def libraries_of(program: Path) -> set[Path]:
    """Return the libraries that the loader finds for a program or a library."""
    said = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    return {Path(found) for found in re.findall(r"(/\S+)", said) if found != f"{program}:"}


@pytest.fixture(scope="session")
def base_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the base."""
    root = tmp_path_factory.mktemp("base") / "root"
    prefix, version = Path(sys.base_prefix), f"python{sys.version_info[0]}.{sys.version_info[1]}"
    place = root / "usr/local"
    for name in ("bin", "lib"):
        (place / name).mkdir(parents=True)
    shutil.copy(Path(sys.executable).resolve(), place / "bin" / version)
    (place / "bin/python3").symlink_to(version)
    shutil.copytree(
        prefix / "lib" / version,
        place / "lib" / version,
        ignore=lambda _, names: {each for each in names if each in UNUSED or "config-" in each},
    )
    programs = [place / "bin" / version, *place.rglob("*.so")]
    for name in ("sh", "mkdir", "basename", "cat"):
        (root / "bin").mkdir(exist_ok=True)
        found = shutil.which(name)
        assert found is not None
        shutil.copy(found, root / "bin" / name)
        programs.append(root / "bin" / name)
    for library in set().union(*map(libraries_of, programs)):
        (root / str(library)[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library.resolve(), root / str(library)[1:])
    (root / "etc").mkdir()
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh", encoding="utf-8")
    for name in ("dev", "proc", "tmp", "run", "usr/bin"):
        (root / name).mkdir()
    return root


def tarred(folder: Path) -> bytes:
    """Return a folder as a compressed tar archive."""
    content = io.BytesIO()
    with (
        gzip.GzipFile("", "wb", 1, content, 0) as packed,
        tarfile.open(fileobj=packed, mode="w|") as archive,
    ):
        for each in sorted(folder.iterdir()):
            archive.add(each, each.name)
    return content.getvalue()


def oci_archive(
    path: Path,
    layers: list[bytes],
    *,
    architecture: str = ARCHITECTURE,
    changed: Mapping[str, bytes] | None = None,
) -> Path:
    """Write an OCI archive of compressed layers. `changed` has blobs to be stored for others."""
    blobs = {hashlib.sha256(each).hexdigest(): each for each in layers}

    def stored(value: object) -> dict[str, object]:
        content = json.dumps(value).encode()
        sha256 = hashlib.sha256(content).hexdigest()
        blobs[sha256] = content
        return {"digest": f"sha256:{sha256}", "size": len(content)}

    diffs = [f"sha256:{hashlib.sha256(gzip.decompress(each)).hexdigest()}" for each in layers]
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Env": ["KEPT=yes", "HOME=/elsewhere"], "Entrypoint": ["/bin/cat"]},
        "rootfs": {"type": "layers", "diff_ids": diffs},
    }
    kind = "application/vnd.oci.image"
    manifest = {
        "schemaVersion": 2,
        "config": {"mediaType": f"{kind}.config.v1+json", **stored(config)},
        "layers": [
            {
                "mediaType": f"{kind}.layer.v1.tar+gzip",
                "digest": f"sha256:{hashlib.sha256(each).hexdigest()}",
                "size": len(each),
            }
            for each in layers
        ],
    }
    index = {
        "schemaVersion": 2,
        "manifests": [{"mediaType": f"{kind}.manifest.v1+json", **stored(manifest)}],
    }
    members = {f"blobs/sha256/{sha256}": content for sha256, content in blobs.items()}
    members["index.json"] = json.dumps(index).encode()
    members["oci-layout"] = b'{"imageLayoutVersion": "1.0.0"}'
    with tarfile.open(path, "w") as archive:
        for name, content in {**members, **(changed or {})}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture(scope="session")
def base(base_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base as an OCI archive of one layer."""
    return oci_archive(tmp_path_factory.mktemp("archive") / "base.tar", [tarred(base_root)])


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A compiled library."""
    folder = tmp_path_factory.mktemp("library")
    (folder / "answer.c").write_text("int answer(void) { return 42; }\n", encoding="utf-8")
    flags = ["-shared", "-fPIC", "-g0", "-Wl,--build-id=none"]
    subprocess.run(["gcc", *flags, "-o", folder / "a.so", folder / "answer.c"], check=True)
    return (folder / "a.so").read_bytes()


@pytest.fixture
def house(
    publish: Callable[..., str],
    registry: Registry,
    journal: Journal,
    library: bytes,
    carried: Mapping[str, Path],
    tmp_path: Path,
) -> Callable[..., Path]:
    """Make a wheelhouse: ours is `dynamo`, with a library, and requires `helper` of an index.

    One that is there already stays, as the image that tests share may have been made of it.
    """

    def make(
        name: str = "cpu",
        text: str = "NAME = 'ours'\n",
        *,
        others: tuple[Path, ...] = (),
        tools: Mapping[str, Path] | None = None,
    ) -> Path:
        house = tmp_path / "checkout/wheels" / name
        if house.exists():
            return house
        folder = tmp_path / "made" / name
        folder.mkdir(parents=True)
        files = {
            "dynamo/__init__.py": text.encode(),
            "dynamo/libanswer.so": library,
            "dynamo/vllm.py": ECHO,
            "dynamo/frontend.py": ECHO,
        }
        ours = write_wheel(
            folder,
            "demo-rocm",
            "1.0+rocm.1",
            files,
            metadata=["Requires-Dist: helper>=2"],
            tag=f"py3-none-linux_{platform.machine()}",
        )
        helper = write_wheel(folder, "helper", "3.0", {"helper.py": b"ANSWER = 42\n"})
        Draft(
            folder=house,
            profile=Profile(
                recipes=("demo",),
                install=("demo-rocm", *(wheel.name.partition("-")[0] for wheel in others)),
            ),
            built=[built_wheel(ours)],
            third_party=[pinned_wheel(each.name, publish(each)) for each in (helper, *others)],
            registry=registry,
            journal=journal,
            tools={**carried, **(tools or {})},
        ).publish()
        return house

    return make
