"""The layer below all others: a small Debian, made of its packages with mmdebstrap.

mmdebstrap needs apt and perl alone, takes the mirrors that apt is configured with, and gives equal
bytes for equal packages; debootstrap takes one mirror, and dates what it writes.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from typing import IO, TYPE_CHECKING

from forkhouse.core.environments import BARE
from forkhouse.core.errors import StorageError, ToolchainError, UnreachableError
from forkhouse.core.progress import report
from forkhouse.core.storage import FULL, told_refusal
from forkhouse.core.wording import end_of
from forkhouse.image.layers import compressed
from forkhouse.image.layout import Image

if TYPE_CHECKING:
    from pathlib import Path

SUITE = "bookworm"
PACKAGES = (
    "ca-certificates",
    "libgomp1",  # PyTorch's threads
    "libnuma1",  # vLLM's engine on the CPU
    "python3",
)
"""What the stack needs of a system beside the essential packages."""
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""What images and Debian call a machine, by what Python and the kernel call it."""
_HOOKS = (
    # The mirrors are this machine's, and may be private. Byte-code is looked for elsewhere, see
    # `entrypoints`. The packages are listed where readers of images look.
    'rm -rf "$1"/etc/apt/sources.list "$1"/etc/apt/sources.list.d/* "$1"/etc/hostname',
    'rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/* "$1"/var/log/*',
    'find "$1"/usr -name __pycache__ -type d -prune -exec rm -rf {} +',
)
_NO_DOCUMENTS = (
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
)
SEARCH_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
"""Where the system's tools are."""
_TARGETS = "deb $(REPO_URI) $(RELEASE) $(COMPONENT)"


def debian_base(machine: str, folder: Path, *, time: int) -> Image:
    """Return a small Debian for a kind of machine, its layer written into a folder of blobs.

    Raises ToolchainError without mmdebstrap or apt, UnreachableError with their words where
    packages cannot be had, StorageError.
    """
    lines = _mirrors()
    report().line("base", f"making Debian {SUITE} with {', '.join(PACKAGES)}")
    command = [
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        "--format=tar",
        f"--include={','.join(PACKAGES)}",
        f"--architectures={ARCHITECTURES[machine]}",
        # Its own cleaning, behind the hooks, lets apt lay folders for a user who may download
        # where that user can reach this machine's folder, and for root elsewhere.
        "--skip=cleanup/apt",
        *(f"--dpkgopt={each}" for each in _NO_DOCUMENTS),
        *(f"--customize-hook={each}" for each in _HOOKS),
        SUITE,
        "-",
        "-",  # the mirrors come on standard input: an address may hold a password
    ]
    environment = {
        **BARE,
        "PATH": SEARCH_PATH,
        "SOURCE_DATE_EPOCH": str(time),
        "TMPDIR": str(folder),
    }
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as given:
        given.write(lines.encode())
        given.seek(0)

        def fill(stream: IO[bytes]) -> int:
            with subprocess.Popen(
                command, env=environment, stdin=given, stdout=subprocess.PIPE, stderr=said
            ) as process:
                assert process.stdout is not None  # it is a pipe
                shutil.copyfileobj(process.stdout, stream, 2**20)
            if process.returncode != 0:
                said.seek(0)
                raise _failed(said.read().decode(errors="replace"))
            return process.returncode

        layer = compressed(f"Debian {SUITE}", fill, folder)
    return Image(
        architecture=ARCHITECTURES[machine],
        layers=(layer,),
        settings={"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
        annotations={"org.opencontainers.image.base.name": f"debian:{SUITE}"},
        created="",
    )


def _mirrors() -> str:
    """Return lines for the suite from where this machine's apt has it."""
    for tool, package in (("mmdebstrap", "mmdebstrap"), ("apt-get", "apt")):
        if shutil.which(tool, path=SEARCH_PATH) is None:
            message = (
                f"The base of an image is made with {tool}, which is not installed. Run:\n"
                f"  apt-get update && apt-get install --yes --no-install-recommends {package}\n"
                "Or give a base of your own: --base FILE."
            )
            raise ToolchainError(message)
    command = ["apt-get", "indextargets", "--format", _TARGETS, "Created-By: Packages"]
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    chosen = sorted(
        line
        for line in set(result.stdout.splitlines())
        if line.split()[2].partition("-")[0] == SUITE
    )
    if not chosen:
        message = (
            f"This machine's apt has no mirror of Debian {SUITE}, from which the base of an image "
            "is made. Add one to apt's sources and run `apt-get update`, or give a base of your "
            "own: --base FILE."
        )
        raise UnreachableError(message)
    return "".join(f"{line}\n" for line in chosen)


def _failed(said: str) -> UnreachableError | StorageError | ToolchainError:
    remedy = told_refusal(said, FULL)
    if remedy is not None:
        return StorageError(f"Making the base: {end_of(said)}\n{remedy} and run the same command.")
    message = (
        f"mmdebstrap could not make the base:\n{end_of(said)}\n"
        "Repair apt's mirrors, or give a base of your own: --base FILE."
    )
    return UnreachableError(message)
