"""Read the series of patches of an upstream from `patches/<upstream>/`.

It holds the order file `series`, textual patches, and structural edits with DEP-3 headers.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections import Counter
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from typing import TYPE_CHECKING

from forkhouse.core.errors import DocumentError, SeriesError
from forkhouse.core.storage import read_file
from forkhouse.documents.reading import LONGEST, SHOWN, decode, parse, read_text
from forkhouse.patches.diffreader import is_diff, message_of
from forkhouse.patches.diffs import DiffSyntaxError
from forkhouse.patches.edits import StructuralEdit

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from forkhouse.documents.lockfile import Form

PATCH, EDIT = ".patch", ".edit.yaml"
"""The ends of the names of textual patches and of structural edits."""
LONGEST_NAME = 255
"""The greatest number of bytes in a file name on the file systems of Linux."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Patch:
    """One entry of a series."""

    name: str
    subject: str
    header: str
    """The DEP-3 fields, as they go into the commit.

    Bytes of a textual patch that are not UTF-8 are kept as Python's surrogates.
    """
    content: bytes
    edit: StructuralEdit | None
    """None for a textual patch."""
    strip: int | None = None
    """The edit; None for a textual patch."""

    @property
    def sha256(self) -> str:
        """Hash of the patch file."""
        return hashlib.sha256(self.content).hexdigest()

    def is_for(self, form: Form) -> bool:
        """Say whether the patch is meant for this form of its upstream."""
        return self.edit is None or form in self.edit.forms


def read_patch(label: str, content: bytes) -> Patch:
    """Read one patch file.

    `label` is its folder and name. Raises SeriesError or DocumentError.
    """
    name = label.rpartition("/")[2]
    if name.endswith(EDIT):
        return _read_edit(label, name, content)
    # Of a patch only the message is text: what it changes may be in any encoding.
    try:
        header = message_of(content).decode("utf-8", "surrogateescape")
        holds = is_diff(content)
    except DiffSyntaxError as error:
        message = f"{label} is not a patch that can be read: {error}."
        raise SeriesError(message) from error
    subject = _subject(header).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if "\0" in header + subject:
        message = (
            f"{label} has a NUL byte in its subject or message, which no commit can hold. Take it "
            "out, or make the patch anew."
        )
        raise SeriesError(message)
    if not subject or not holds:
        message = (
            f"{label} is not a patch: it needs a header with a `Subject:` line (or DEP-3's "
            "`Description:`), and a diff behind it. "
            "Write the line above the diff, or make the patch with `git format-patch`."
        )
        raise SeriesError(message)
    told = re.findall(r"^Strip:[ \t]*(.*?)[ \t\r]*$", header, re.MULTILINE)
    if told and not re.fullmatch(r"\d{1,2}", told[0]):
        message = (
            f"{label}: `Strip: {told[0]}` is no number of leading folders. Give 0, 1, 2 and so on, "
            "as for `patch -p`."
        )
        raise SeriesError(message)
    return Patch(
        name=name,
        subject=subject,
        header=header,
        content=content,
        edit=None,
        strip=int(told[0]) if told else None,
    )


def _read_edit(label: str, name: str, content: bytes) -> Patch:
    try:
        text = decode(content, label)
    except DocumentError as error:
        raise SeriesError(str(error)) from error
    edit = parse(StructuralEdit, text, name=label)
    fields = {
        "Description": edit.description,
        "Origin": edit.origin,
        "Forwarded": edit.forwarded,
        "Applied-Upstream": edit.applied_upstream,
        "Bug": edit.bug,
        "Retire-When": edit.retire_when,
    }
    header = "\n".join(
        f"{key}: {' '.join(value.split())}" for key, value in fields.items() if value
    )
    return Patch(name=name, subject=edit.subject, header=header, content=content, edit=edit)


def _subject(header: str) -> str:
    """Return the subject of a patch.

    It is in the header of git or of DEP-3, or is the first line that Mercurial writes.
    """
    told = (
        re.search(rf"^{name}:[ \t]*(.*(?:\n[ \t]+\S.*)*)", header, re.MULTILINE | re.IGNORECASE)
        for name in ("Subject", "Description")
    )
    subject, description = told
    if subject is None and description is None:
        mercurial = re.match(r"# HG changeset patch\n(?:#.*\n)*\s*(\S.*)", header)
        return mercurial[1].strip() if mercurial else ""
    if subject is None:
        # Its first line is the subject, the rest is the long text.
        return description[1].strip().partition("\n")[0].strip() if description else ""
    text = " ".join(line.strip() for line in subject[1].split("\n"))
    if "=?" in text:
        with contextlib.suppress(HeaderParseError, LookupError, UnicodeDecodeError):
            text = str(make_header(decode_header(text)))
    return re.sub(r"^(?:\[[^]]*PATCH[^]]*\]\s*)+", "", text).strip()


def named(line: str) -> str:
    """Return the patch that a line of `series` names.

    The result is empty for an empty line or a comment. Comments are as in quilt.
    """
    return re.sub(r"(^|[ \t]+)#.*", "", line).strip()


def read_series(folder: Path) -> tuple[Patch, ...]:
    """Return the patches of `folder` in the order of its `series` file.

    An upstream without a folder has no patches. Raises SeriesError for a name without a file, a
    file without a name, a name given twice, or a name or line of another kind, and DocumentError
    for an invalid edit. Other files (`README...`, and names that begin with a dot) are allowed
    there.
    """
    if not folder.is_dir():
        return ()
    order = folder / "series"
    if not order.is_file():
        message = (
            f"{folder.name}/series is missing: it names the patches in their order, one a line."
        )
        raise SeriesError(message)
    try:
        text = read_text(order, LONGEST)
    except DocumentError as error:
        message = f"{folder.name}/{error}"
        raise SeriesError(message) from error
    names = [name for name in map(named, text.splitlines()) if name]
    there = {f"{path.name}/" if path.is_dir() else path.name for path in folder.iterdir()}
    there = {name for name in there if not name.startswith((".", "README")) and name != "series"}
    problems = [
        problem for name in dict.fromkeys(names) if (problem := _problem(folder, name, there))
    ]
    unnamed = sorted(there - set(names))
    problems += [
        f"{folder.name}/{name} is not named in series, so it would silently not apply"
        for name in unnamed
        if _is_patch(name)
    ]
    problems += [
        f"{folder.name}/{name} is neither named in series nor known as a patch ({PATCH} or "
        f"{EDIT}), so it would silently not apply; "
        "a patch lies in this folder itself, a note is called README"
        for name in unnamed
        if not _is_patch(name)
    ]
    problems += [
        f"{folder.name}/series names {name} twice"
        for name in sorted(name for name, count in Counter(names).items() if count > 1)
    ]
    if problems:
        more = [f"and {len(problems) - SHOWN} more of the kind"] if len(problems) > SHOWN else []
        message = (
            "\n".join([*problems[:SHOWN], *more])
            + "\nRestore the file or correct the series; nothing was applied."
        )
        raise SeriesError(message)
    return tuple(read_patch(f"{folder.name}/{name}", read_file(folder / name)) for name in names)


def _is_patch(name: str) -> bool:
    return name.endswith((PATCH, EDIT))


def _problem(folder: Path, name: str, there: Collection[str]) -> str:
    """Say what is wrong with a line of `series`, or return an empty text if it is right."""
    if name in there and _is_patch(name):
        return (
            ""
            if (folder / name).is_file()
            else f"{folder.name}/series names {name}, which is no file that can be read"
        )
    line = f"{folder.name}/series names {name}"
    if "\0" in name or any(len(os.fsencode(part)) > LONGEST_NAME for part in name.split("/")):
        return f"{line[:LONGEST_NAME]!r}, which is no name that a file can have"
    alone, *options = name.split()
    if name not in there and options and alone in there:
        return (
            f"{line}: options behind a name are not known here; instead of `-p0` write `Strip: 0` "
            "into the patch's header"
        )
    if (
        "/" in name
        and (folder / name).is_file()
        and (folder / name).resolve().is_relative_to(folder.resolve())
    ):
        return f"{line}, which lies in a subfolder; move it into {folder.name} itself"
    if not _is_patch(name) and (folder / name).exists():
        return (
            f"{line}, whose ending is not known: a textual patch ends in {PATCH}, an edit in {EDIT}"
        )
    return f"{line}, which is not there"
