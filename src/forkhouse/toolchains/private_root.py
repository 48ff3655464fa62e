"""A private HIP toolchain.

Pinned Debian packages unpacked into one folder, without root rights and without touching the
system.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import IO, TYPE_CHECKING, cast

from forkhouse.core.budgets import DAMAGE
from forkhouse.core.digests import digest
from forkhouse.core.errors import ToolchainError, UnsafeArchiveError
from forkhouse.core.progress import report
from forkhouse.core.storage import fresh_folder, storage_errors, sync_folder
from forkhouse.core.tars import tarfile
from forkhouse.sources.apt import fetch_debian_binaries

if TYPE_CHECKING:
    from pathlib import Path

    from forkhouse.documents.lockfile import HipToolchainPin
    from forkhouse.sources.index import Registry


# Of no use here, and some of their links leave the root. The rest of usr/share is: clang takes a
# ROCm without share/hip/version for one without HIP, and silently leaves its device functions out.
_UNUSED = ("./usr/share/doc/", "./usr/share/man/", "./etc/")


def private_root(
    pinned: HipToolchainPin, registry: Registry, folder: Path, *, offline: bool
) -> Path:
    """Return the ROCm root made of the pinned packages below `folder`.

    It is made when it is not there yet.

    Raises UnreachableError or HashMismatchError for a package, UnsafeArchiveError for one that
    reaches out of the root, and ToolchainError without dpkg-deb.
    """
    place = private_place(pinned, folder)
    if place.is_dir():
        return place / "usr"
    if shutil.which("dpkg-deb") is None:
        message = (
            "The private toolchain is unpacked with dpkg-deb, which is not on this machine. "
            "Install dpkg, or give --rocm DIR."
        )
        raise ToolchainError(message)
    packages = fetch_debian_binaries(pinned.packages, registry, offline=offline)
    # Beside its place and then renamed: half a toolchain is never taken for one.
    with fresh_folder(folder / f".{place.name}.new") as work:
        root = work / "root"
        with (
            report().task("unpack the HIP toolchain", total=len(packages)) as task,
            storage_errors("Unpacking the HIP toolchain"),
        ):
            for package in packages:
                _unpack(package, root)
                task.advance(1)
            _arrange(root / "usr")
            # A compiler that lacks what a power cut has emptied may leave out parts and not say so.
            os.sync()
            root.replace(place)
            sync_folder(folder)
    return place / "usr"


def private_place(pinned: HipToolchainPin, folder: Path) -> Path:
    """Return where the private toolchain of these packages lies, made or not."""
    key = digest([package.sha256 for package in pinned.packages], _UNUSED)[:16]
    return folder / f"hip-{pinned.version}-{key}"


def _unpack(package: Path, root: Path) -> None:
    command = ["dpkg-deb", "--fsys-tarfile", str(package)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            with tarfile.open(fileobj=cast(IO[bytes], process.stdout), mode="r|") as archive:
                for member in archive:
                    if f"{member.name}/".startswith(_UNUSED):
                        continue
                    archive.extract(member, root, filter="data")
        except OSError:  # of the disk to which it is written
            raise
        except (*DAMAGE, tarfile.TarError) as error:
            message = f"{package.name}: {error}. The package is refused."
            raise UnsafeArchiveError(message) from error


def _arrange(usr: Path) -> None:
    """Lay links where ROCm's own packages have files.

    Tools look for `llvm`, `amdgcn` and `lib/lib*.so` below a ROCm root.
    """
    (llvm,) = (usr / "lib").glob("llvm-*")
    (bitcode,) = llvm.glob("lib/clang/*/amdgcn")
    (usr / "llvm").symlink_to(llvm.relative_to(usr))
    (usr / "amdgcn").symlink_to(bitcode.relative_to(usr))
    for library in sorted(usr.glob("lib/*/lib*.so*")):
        link = (
            llvm / "lib" if library.name.startswith(("libLLVM", "libclang")) else usr / "lib"
        ) / library.name
        if not link.is_symlink() and not link.exists():
            link.symlink_to(os.path.relpath(library, link.parent))
