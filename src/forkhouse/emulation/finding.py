"""Find the code objects for a GPU in a file: by themselves, in bundles, libraries and wheels."""

from __future__ import annotations

import difflib
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkhouse.binaries.codeobject import CodeImage, read_code_object
from forkhouse.binaries.elf import MAGIC, Elf
from forkhouse.binaries.offload import COMPRESSED, GPU_MACHINE, PLAIN, embedded, read_bundles
from forkhouse.core.errors import AuditError
from forkhouse.core.storage import read_file
from forkhouse.emulation.faults import refuse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LARGEST = 2**30
"""Bytes of a file, or of a member of a wheel, that are read."""
_MOST_MEMBERS = 100_000
_ENDINGS = (".so", ".o", ".hsaco", ".co", ".a")


@dataclass(frozen=True, slots=True)
class FoundCode:
    """A code object that was found."""

    where: str
    """The member of a wheel that it is in; empty for the file itself."""
    image: CodeImage


def code_in(path: Path, target: str) -> tuple[FoundCode, ...]:
    """Return the code objects for a GPU, such as gfx90a, in a file, in its order.

    The file is a code object, an offload bundle, a library or object file with such bundles, or a
    wheel with them. Raises EmulationError where there is none for that GPU, or the file is damaged.
    """
    if path.stat().st_size > _LARGEST:
        message = f"{path.name} has more than {_LARGEST} bytes, and is not read."
        raise refuse(message)
    content = read_file(path)
    if not content.startswith((MAGIC, PLAIN, COMPRESSED, b"PK")):
        message = (
            f"{path.name} is no ELF file, no offload bundle and no wheel: it begins with "
            f"{content[:8]!r}. Give a code object (.hsaco, .co), a library, an object file or a "
            "wheel."
        )
        raise refuse(message)
    others: set[str] = set()
    found: list[FoundCode] = []
    try:
        for where, part in _parts(path, content):
            for code in _codes(part):
                image = read_code_object(code)
                if image.target.partition(":")[0] == target:
                    found.append(FoundCode(where, image))
                else:
                    others.add(image.target)
    except (AuditError, zipfile.BadZipFile, EOFError) as error:
        message = f"{path.name} cannot be read: {error}"
        raise refuse(message) from error
    if not found:
        has = f"; it has some for {', '.join(sorted(others))}" if others else ""
        message = (
            f"{path.name} has no GPU code for {target}{has}. Compile it with "
            f"--offload-arch={target}."
        )
        raise refuse(message)
    return tuple(found)


def _parts(path: Path, content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the files in which code may be, each with its name in the wheel."""
    if not content.startswith(b"PK"):
        yield "", content
        return
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if len(members) > _MOST_MEMBERS:
            message = f"it has more than {_MOST_MEMBERS} members"
            raise AuditError(message)
        for member in members:
            if not member.filename.endswith(_ENDINGS) and ".so." not in member.filename:
                continue
            if member.file_size > _LARGEST:
                message = f"{member.filename} has more than {_LARGEST} bytes"
                raise AuditError(message)
            with archive.open(member) as file:
                yield member.filename, file.read(_LARGEST)


def _codes(content: bytes) -> Iterator[bytes]:
    """Yield the code objects of a file."""
    if content.startswith((PLAIN, COMPRESSED)):
        bundles = list(read_bundles(content))
    elif content.startswith(MAGIC):
        elf = Elf(content)
        if elf.machine == GPU_MACHINE:
            yield content
            return
        section = elf.section(".hip_fatbin")
        bundles = list(read_bundles(section) if section else embedded(content))
    else:
        bundles = list(embedded(content))
    for bundle in bundles:
        for each in bundle.objects:
            if each.target and each.size:
                yield each.content


def kernel_in(found: tuple[FoundCode, ...], name: str) -> CodeImage | None:
    """Return the code object that has a kernel of that name; None where none has it."""
    return next((each.image for each in found if name in each.image.kernels), None)


def require_kernel(found: tuple[FoundCode, ...], name: str) -> CodeImage:
    """Return the code object that has a kernel of that name.

    Raises EmulationError where none has it, with the names that are like it.
    """
    if image := kernel_in(found, name):
        return image
    names = sorted({each for code in found for each in code.image.kernels})
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    near += [each for each in names if name and name in each and each not in near][:3]
    hint = f"Did you mean {', '.join(near)}?" if near else "--list names those that it has."
    message = f"There is no kernel {name}. {hint}"
    raise refuse(message)
