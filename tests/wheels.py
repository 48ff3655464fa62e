"""Write little wheels."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

STAMP = (2024, 5, 6, 7, 8, 10)


def digest(content: bytes) -> str:
    """Return the sha256 of a file as RECORD spells it."""
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")


def pack(path: Path, members: Mapping[str, bytes]) -> Path:
    """Write an archive of these members, always with the same bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            entry = zipfile.ZipInfo(member, STAMP)
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return path


def write_wheel(
    folder: Path,
    name: str = "demo",
    version: str = "1.0",
    files: Mapping[str, bytes] | None = None,
    *,
    metadata: Sequence[str] = (),
    record: str | None = None,
    tag: str = "py3-none-any",
) -> Path:
    """Write a wheel: its files (path to content), further lines of METADATA. RECORD is true unless
    it is given.
    """
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    about = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *metadata]
    pure = str(tag.endswith("-any")).lower()
    members = {
        **(files or {f"{name.replace('-', '_')}/__init__.py": b""}),
        f"{info}/METADATA": "\n".join([*about, "", "About it.\n"]).encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: {pure}\n"
        f"Tag: {tag}\n".encode(),
    }
    rows = io.StringIO()
    csv.writer(rows, lineterminator="\n").writerows(
        [member, f"sha256={digest(content)}", len(content)] for member, content in members.items()
    )
    true = f"{rows.getvalue()}{info}/RECORD,,\n"
    members[f"{info}/RECORD"] = (true if record is None else record).encode()
    path = folder / f"{stem}-{tag}.whl"
    path.unlink(missing_ok=True)  # a wheelhouse may hold the earlier one by a hard link
    return pack(path, members)


PACKING = '''
import base64, hashlib, pathlib, zipfile

def write_wheel(folder, name, version, tag, files):
    """Write a wheel, and return the name of its file."""
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    about = f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n"
    packed = f"Wheel-Version: 1.0\\nGenerator: small\\nRoot-Is-Purelib: false\\nTag: {tag}\\n"
    members = {
        **files,
        f"{info}/METADATA": about.encode(),
        f"{info}/WHEEL": packed.encode(),
    }
    lines = []
    for path, content in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
        lines.append(f"{path},sha256={digest},{len(content)}")
    members[f"{info}/RECORD"] = "\\n".join([*lines, f"{info}/RECORD,,", ""]).encode()
    with zipfile.ZipFile(pathlib.Path(folder) / f"{stem}-{tag}.whl", "w") as archive:
        for path, content in members.items():
            archive.writestr(zipfile.ZipInfo(path, (2024, 1, 1, 0, 0, 0)), content)
    return f"{stem}-{tag}.whl"
'''
"""The beginning of a build backend that needs nothing: it has to write its wheel itself."""
