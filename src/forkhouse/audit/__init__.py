"""The last look at a wheel before it enters a wheelhouse. It fails closed: what cannot be read is refused."""

from __future__ import annotations

import base64
import contextlib
import csv
import hashlib
import io
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from packaging.metadata import Metadata
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from forkhouse.audit.policy import RUNTIME_FOLDERS, is_cuda_library, is_cuda_package
from forkhouse.errors import AuditError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelFacts:
    """What an audited wheel says of itself."""

    name: str
    version: str
    requires: tuple[str, ...]
    """Requires-Dist, as written."""
    provides_extra: tuple[str, ...]


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except AuditError:
        raise
    except Exception as error:  # of zip, ELF, CSV and metadata readers: none of them names all that it raises
        message = f"{path.name} cannot be read, so it is refused: {error}."
        raise AuditError(message) from error


def _facts(archive: zipfile.ZipFile, path: Path) -> WheelFacts:
    names = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA") and name.count("/") == 1]
    if len(names) != 1:
        message = f"{path.name} has {len(names)} .dist-info/METADATA files, a wheel has one."
        raise AuditError(message)
    # Not every published wheel keeps to every rule of core metadata; what we read of it is checked by its use.
    metadata = Metadata.from_email(archive.read(names[0]), validate=False)
    return WheelFacts(
        name=canonicalize_name(metadata.name),
        version=str(metadata.version),
        requires=tuple(str(requirement) for requirement in metadata.requires_dist or ()),
        provides_extra=tuple(metadata.provides_extra or ()),
    )


def audit_wheel(path: Path, *, ours: bool, excused: Collection[str]) -> WheelFacts:
    """Check one wheel and return its facts.

    Every wheel: no name and no requirement of a CUDA package (unless the lock excuses this very wheel). Ours as well:
    RECORD is true, no ELF file needs a CUDA library, and every RPATH is relative or a declared runtime folder.
    Raises AuditError that lists every finding.
    """
    findings: list[str] = []
    with _opened(path) as archive:
        facts = _facts(archive, path)
        findings += [f"is the CUDA package {name}" for name in {facts.name} - set(excused) if is_cuda_package(name)]
        wanted = _required_names(facts, extras=ours) - set(excused)
        findings += [f"requires the CUDA package {name}" for name in sorted(wanted) if is_cuda_package(name)]
        if ours:
            findings += _record_findings(archive)
            findings += _elf_findings(archive)
    if findings:
        lines = "\n".join(f"  - {finding}" for finding in findings)
        message = f"{path.name} was refused:\n{lines}\nCorrect the patch or the recipe that lets this through; the wheelhouse is as it was."
        raise AuditError(message)
    return facts


def _required_names(facts: WheelFacts, *, extras: bool) -> set[str]:
    requirements = [Requirement(text) for text in facts.requires]
    return {
        canonicalize_name(requirement.name)
        for requirement in requirements
        if extras or requirement.marker is None or "extra ==" not in str(requirement.marker)
    }


def _record_findings(archive: zipfile.ZipFile) -> Iterator[str]:
    record = next((name for name in archive.namelist() if name.endswith(".dist-info/RECORD")), None)
    if record is None:
        yield "has no RECORD"
        return
    rows = {row[0]: row[1] for row in csv.reader(io.StringIO(archive.read(record).decode("utf-8"))) if row}
    for name in archive.namelist():
        if name == record or name.endswith("/"):
            continue
        expected = "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(archive.read(name)).digest()).decode().rstrip("=")
        if rows.pop(name, None) != expected:
            yield f"{name} is not as RECORD says"
    yield from (f"{name} is in RECORD and not in the wheel" for name in rows if name != record)


def _elf_findings(archive: zipfile.ZipFile) -> Iterator[str]:
    for name in archive.namelist():
        with archive.open(name) as stream:
            if stream.read(4) != b"\x7fELF":
                continue
        for kind, text in _dynamic_entries(archive.read(name)):
            if kind == "needed" and is_cuda_library(text):
                yield f"{name} needs {text}"
            if kind in {"rpath", "runpath"}:
                for folder in text.split(":") if text else ():
                    if not folder.startswith("$ORIGIN") and folder not in RUNTIME_FOLDERS:
                        yield f"{name} looks for libraries in {folder or 'the current folder'}"


def _dynamic_entries(content: bytes) -> Iterator[tuple[str, str]]:
    # By segment, as the loader reads them: section headers may be stripped.
    for segment in ELFFile(io.BytesIO(content)).iter_segments("PT_DYNAMIC"):
        assert isinstance(segment, DynamicSegment)  # noqa: S101  # the library's class for this type
        for tag in segment.iter_tags():
            for kind in ("needed", "rpath", "runpath"):
                if tag.entry.d_tag == f"DT_{kind.upper()}":
                    yield kind, getattr(tag, kind)
