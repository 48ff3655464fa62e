"""Read `patches/<upstream>/`: the order file `series`, git-format patches, and structural edits with DEP-3 headers."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkhouse.documents import parse
from forkhouse.errors import SeriesError
from forkhouse.patches.edits import StructuralEdit

if TYPE_CHECKING:
    from pathlib import Path

    from forkhouse.lock import Form


@dataclass(frozen=True, kw_only=True, slots=True)
class Patch:
    """One entry of a series."""

    name: str
    subject: str
    header: str
    """DEP-3 fields, as they go into the commit."""
    content: bytes
    edit: StructuralEdit | None
    """None for a textual patch."""

    @property
    def sha256(self) -> str:
        """Hash of the patch file."""
        return hashlib.sha256(self.content).hexdigest()

    def is_for(self, form: Form) -> bool:
        """Return whether the patch is meant for this form of its upstream."""
        return self.edit is None or form in self.edit.forms


def read_patch(label: str, content: bytes) -> Patch:
    """Read one patch file; `label` is its folder and name. Raises SeriesError or DocumentError."""
    name = label.rpartition("/")[2]
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        message = f"{label} is not UTF-8 text: {error}. Write it anew."
        raise SeriesError(message) from error
    if name.endswith(".edit.yaml"):
        edit = parse(StructuralEdit, text, name=label)
        fields = {
            "Description": edit.description,
            "Origin": edit.origin,
            "Forwarded": edit.forwarded,
            "Applied-Upstream": edit.applied_upstream,
            "Retire-When": edit.retire_when,
        }
        header = "\n".join(f"{key}: {' '.join(value.split())}" for key, value in fields.items() if value)
        return Patch(name=name, subject=edit.subject, header=header, content=content, edit=edit)
    before_diff, _, diff = text.partition("\ndiff --git ")
    subject = re.search(r"^Subject: (?:\[PATCH[^]]*\] )?(.+)$", before_diff, re.MULTILINE)
    if subject is None or not diff:
        message = f"{label} is not a git-format patch: it needs a `Subject:` line and a `diff --git` part."
        raise SeriesError(message)
    return Patch(name=name, subject=subject[1], header=before_diff, content=content, edit=None)


def read_series(folder: Path) -> tuple[Patch, ...]:
    """Return the patches of `folder` in the order of its `series` file; an upstream without a folder has none.

    Raises SeriesError for a name without a file, a file without a name, or a name given twice; DocumentError for a bad edit.
    """
    if not folder.is_dir():
        return ()
    order = folder / "series"
    if not order.is_file():
        message = f"{folder.name}/series is missing: it names the patches in their order, one a line."
        raise SeriesError(message)
    names = [line.strip() for line in order.read_text(encoding="utf-8").splitlines()]
    names = [name for name in names if name and not name.startswith("#")]
    there = {path.name for path in folder.iterdir() if path.name.endswith((".patch", ".edit.yaml"))}
    problems = [f"{folder.name}/series names {name}, which is not there" for name in names if name not in there]
    problems += [f"{folder.name}/{name} is not named in series, so it would silently not apply" for name in sorted(there - set(names))]
    problems += [f"{folder.name}/series names {name} twice" for name in sorted({name for name in names if names.count(name) > 1})]
    if problems:
        message = "\n".join(problems) + "\nRestore the file or correct the series; nothing was applied."
        raise SeriesError(message)
    return tuple(read_patch(f"{folder.name}/{name}", (folder / name).read_bytes()) for name in names)
