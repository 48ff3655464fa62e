"""Read `patches/<upstream>/`: the order file `series`, git-format patches, and structural edits with DEP-3 headers."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from forkhouse.documents import Document, parse
from forkhouse.errors import SeriesError
from forkhouse.lock import Form, RequirementText

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def _exactly_one(document: Document, names: Sequence[str]) -> None:
    given = [name for name in names if getattr(document, name) is not None]
    if len(given) != 1:
        spelt = ", ".join(name.rstrip("_").replace("_", "-") for name in names)
        message = f"give exactly one of: {spelt}"
        raise ValueError(message)


class Selector(Document):
    """What to match. In code: a function or class by name, an ast-grep pattern, or a whole ast-grep rule. In text: an anchor."""

    function: str | None = None
    class_: str | None = None
    pattern: str | None = None
    rule: dict[str, object] | None = None
    anchor: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        _exactly_one(self, ("function", "class_", "pattern", "rule", "anchor"))
        return self


class Place(Document):
    """Where to insert: before or after what a selector matches."""

    before: Selector | None = None
    after: Selector | None = None
    text: str

    @model_validator(mode="after")
    def _one(self) -> Self:
        _exactly_one(self, ("before", "after"))
        return self


class CodeOperation(Document):
    """One change of source code or plain text."""

    replace: Selector | None = None
    with_: str | None = None
    remove: Selector | None = None
    insert: Place | None = None
    count: int = Field(default=1, ge=1)
    """Exact number of matches; any other number is an error."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        _exactly_one(self, ("replace", "remove", "insert"))
        if (self.replace is None) != (self.with_ is None):
            message = "`with` belongs to `replace`, and `replace` needs it"
            raise ValueError(message)
        return self


class RequirementChange(Document):
    """A change of dependency declarations, matched by canonical distribution name (PEP 503)."""

    remove: str | None = None
    replace: str | None = None
    add: RequirementText | None = None
    with_: RequirementText | None = None
    extra: str | None = None
    """Only declarations that belong to this extra."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        _exactly_one(self, ("remove", "replace", "add"))
        if (self.replace is None) != (self.with_ is None):
            message = "`with` belongs to `replace`, and `replace` needs it"
            raise ValueError(message)
        return self


class RequirementOperation(Document):
    """One change of the Requires-Dist fields of wheel metadata."""

    requirement: RequirementChange
    count: int = Field(default=1, ge=1)


class GroupSelector(Document):
    """A group of entry points."""

    group: str


class EntryPointsOperation(Document):
    """Removal of an entry-point group."""

    remove: GroupSelector
    count: Literal[1] = 1


class TomlOperation(Document):
    """Set or remove one key of a TOML file."""

    set: str | None = None
    remove: str | None = None
    value: str | bool | int | tuple[str, ...] | None = None
    count: Literal[1] = 1

    @model_validator(mode="after")
    def _one(self) -> Self:
        _exactly_one(self, ("set", "remove"))
        if (self.set is None) != (self.value is None):
            message = "`value` belongs to `set`, and `set` needs it"
            raise ValueError(message)
        return self


Operation = CodeOperation | RequirementOperation | EntryPointsOperation | TomlOperation


class _FileEdit(Document):
    path: str
    """Path in the upstream's own tree; with wildcards it must match exactly one file."""


class CodeEdit(_FileEdit):
    """Edits of code through ast-grep, or of any other text through unique anchors."""

    language: Literal["python", "text"]
    operations: tuple[CodeOperation, ...] = Field(min_length=1)


class MetadataEdit(_FileEdit):
    """Edits of wheel core metadata."""

    language: Literal["metadata"]
    operations: tuple[RequirementOperation, ...] = Field(min_length=1)


class EntryPointsEdit(_FileEdit):
    """Edits of `entry_points.txt`."""

    language: Literal["entry-points"]
    operations: tuple[EntryPointsOperation, ...] = Field(min_length=1)


class TomlEdit(_FileEdit):
    """Edits of TOML that keep its style."""

    language: Literal["toml"]
    operations: tuple[TomlOperation, ...] = Field(min_length=1)


FileEdit = Annotated[CodeEdit | MetadataEdit | EntryPointsEdit | TomlEdit, Field(discriminator="language")]


class TextIn(Document):
    """A text, and the paths (wildcards allowed) it is looked for in."""

    text: str
    in_: str


class Condition(Document):
    """What must hold of the whole tree after the patch."""

    absent: TextIn | None = None
    present: TextIn | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        _exactly_one(self, ("absent", "present"))
        return self


class StructuralEdit(Document):
    """An `NNNN-subject.edit.yaml`: a DEP-3 header, edits by path, and conditions on the result."""

    subject: str = Field(alias="Subject", min_length=1)
    description: str = Field(alias="Description", min_length=1)
    origin: str = Field(alias="Origin", min_length=1)
    forwarded: str = Field(alias="Forwarded", min_length=1)
    applied_upstream: str | None = Field(default=None, alias="Applied-Upstream")
    retire_when: str = Field(alias="Retire-When", min_length=1)
    forms: tuple[Form, ...] = Field(default=("git", "sdist", "wheel", "debian-source"), alias="Forms")
    edits: tuple[FileEdit, ...] = Field(min_length=1)
    after: tuple[Condition, ...] = ()


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


def _read_patch(path: Path) -> Patch:
    content = path.read_bytes()
    if path.name.endswith(".edit.yaml"):
        edit = parse(StructuralEdit, content.decode("utf-8"), name=f"{path.parent.name}/{path.name}")
        fields = {
            "Description": edit.description,
            "Origin": edit.origin,
            "Forwarded": edit.forwarded,
            "Applied-Upstream": edit.applied_upstream,
            "Retire-When": edit.retire_when,
        }
        header = "\n".join(f"{key}: {' '.join(value.split())}" for key, value in fields.items() if value)
        return Patch(name=path.name, subject=edit.subject, header=header, content=content, edit=edit)
    before_diff, _, diff = content.decode("utf-8").partition("\ndiff --git ")
    subject = re.search(r"^Subject: (?:\[PATCH[^]]*\] )?(.+)$", before_diff, re.MULTILINE)
    if subject is None or not diff:
        message = f"{path.parent.name}/{path.name} is not a git-format patch: it needs a `Subject:` line and a `diff --git` part."
        raise SeriesError(message)
    return Patch(name=path.name, subject=subject[1], header=before_diff, content=content, edit=None)


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
    return tuple(_read_patch(folder / name) for name in names)
