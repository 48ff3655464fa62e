"""The document of a structural patch: a DEP-3 header, edits by file, and what must hold afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self, get_args

from pydantic import Discriminator, Field, Tag, model_validator

from forkhouse.documents import Document
from forkhouse.lock import Form, RequirementText

if TYPE_CHECKING:
    from collections.abc import Sequence

CodeLanguage = Literal["python", "c", "cpp", "rust", "bash", "yaml", "json", "meson", "cmake", "text"]
"""Languages whose files are edited by selectors. CUDA and HIP are `cpp`; a Dockerfile or m4 is `text`."""


def _exactly_one(document: Document, names: Sequence[str]) -> None:
    given = [name for name in names if getattr(document, name) is not None]
    if len(given) != 1:
        spelt = ", ".join(name.rstrip("_").replace("_", "-") for name in names)
        message = f"give exactly one of: {spelt}"
        raise ValueError(message)


class Selector(Document):
    """What to match: exactly one of function, class, call, assignment, pattern, rule and anchor."""

    function: str | None = None
    """A function, by name."""
    class_: str | None = None
    """A class or struct, by name."""
    call: str | None = None
    """A call, command or macro, by the name of what is called."""
    argument: str | None = None
    """With `call`: an argument that it must have, as it is written."""
    assignment: str | None = None
    """An assignment, definition or key, by the name of its target."""
    pattern: str | None = None
    """Code with metavariables, as ast-grep reads it: $NAME for one node, $$$NAME for any number."""
    rule: dict[str, object] | None = None
    """A whole ast-grep rule."""
    anchor: str | None = None
    """A text, as it stands."""
    within: Selector | None = None
    """Match only inside what this selector matches, exactly once."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        _exactly_one(self, ("function", "class_", "call", "assignment", "pattern", "rule", "anchor"))
        if self.argument is not None and self.call is None:
            message = "`argument` belongs to `call`"
            raise ValueError(message)
        return self

    def said(self) -> str:
        """Return the text that a person would look for."""
        named = (self.function, self.class_, self.argument or self.call, self.assignment, self.pattern, self.anchor)
        return next((text for text in named if text is not None), str(self.rule))


class Place(Document):
    """Where to insert: before or after what a selector matches."""

    before: Selector | None = None
    after: Selector | None = None
    text: str

    @model_validator(mode="after")
    def _one(self) -> Self:
        _exactly_one(self, ("before", "after"))
        return self


class PartChange(Document):
    """A change of one argument of a call, or one item of a list."""

    of: Selector
    add: str | None = None
    """The new part, put last."""
    remove: str | None = None
    """The part as it is written; a keyword argument by its keyword and `=`, such as `depends=`."""
    replace: str | None = None
    with_: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        _exactly_one(self, ("add", "remove", "replace"))
        _pair(self, "replace")
        return self


class LineChange(Document):
    """A change of an #include, an import or a `use`, by the text of the whole line without its end."""

    add: str | None = None
    remove: str | None = None
    replace: str | None = None
    with_: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        _exactly_one(self, ("add", "remove", "replace"))
        _pair(self, "replace")
        return self


def _pair(document: Document, name: str) -> None:
    if (getattr(document, name) is None) != (getattr(document, "with_") is None):  # noqa: B009  # the field is not on every document
        message = f"`with` belongs to `{name}`, and `{name}` needs it"
        raise ValueError(message)


class CodeOperation(Document):
    """One change of a file of code or text."""

    replace: Selector | None = None
    wrap: Selector | None = None
    """Replace a match by `with`, which holds the match as $MATCH."""
    with_: str | None = None
    remove: Selector | None = None
    insert: Place | None = None
    argument: PartChange | None = None
    item: PartChange | None = None
    include: LineChange | None = None
    import_: LineChange | None = None
    count: int = Field(default=1, ge=1)
    """Exact number of matches; any other number is an error."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        _exactly_one(self, ("replace", "wrap", "remove", "insert", "argument", "item", "include", "import_"))
        if (self.replace is None and self.wrap is None) != (self.with_ is None):
            message = "`with` belongs to `replace` or `wrap`, and they need it"
            raise ValueError(message)
        if self.wrap is not None and "$MATCH" not in (self.with_ or ""):
            message = "`with` of `wrap` has to hold $MATCH"
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
        _pair(self, "replace")
        return self


class RequirementOperation(Document):
    """One change of what a distribution requires."""

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
    path: str | tuple[str, ...]
    """Path in the upstream's own tree, wildcards allowed; of several alternatives the first that is there counts."""

    @property
    def paths(self) -> tuple[str, ...]:
        """The alternatives."""
        return (self.path,) if isinstance(self.path, str) else self.path


class CodeEdit(_FileEdit):
    """Edits of code or text."""

    language: CodeLanguage
    operations: tuple[CodeOperation, ...] = Field(min_length=1)


class RequirementsEdit(_FileEdit):
    """Edits of requirements: in `pyproject.toml`, in wheel metadata, or in a requirements file, told apart by the file's name."""

    language: Literal["requirements"]
    operations: tuple[RequirementOperation, ...] = Field(min_length=1)


class EntryPointsEdit(_FileEdit):
    """Edits of `entry_points.txt`."""

    language: Literal["entry-points"]
    operations: tuple[EntryPointsOperation, ...] = Field(min_length=1)


class TomlEdit(_FileEdit):
    """Edits of TOML that keep its style."""

    language: Literal["toml"]
    operations: tuple[TomlOperation, ...] = Field(min_length=1)


FileEdit = CodeEdit | RequirementsEdit | EntryPointsEdit | TomlEdit


class AddedFile(Document):
    """A new file of ours."""

    add: str
    """Its path in the upstream's own tree."""
    content: str


def _kind(value: object) -> str:
    """Tell the kinds of edits apart, so that a problem is reported for the kind that was meant."""
    if isinstance(value, Document):
        return type(value).__name__
    if not isinstance(value, dict) or "add" in value:
        return "AddedFile"
    named = {"requirements": "RequirementsEdit", "entry-points": "EntryPointsEdit", "toml": "TomlEdit"}
    return named.get(str(value.get("language")), "CodeEdit")


Edit = Annotated[
    Annotated[CodeEdit, Tag("CodeEdit")]
    | Annotated[RequirementsEdit, Tag("RequirementsEdit")]
    | Annotated[EntryPointsEdit, Tag("EntryPointsEdit")]
    | Annotated[TomlEdit, Tag("TomlEdit")]
    | Annotated[AddedFile, Tag("AddedFile")],
    Discriminator(_kind),
]
LANGUAGES = (*get_args(CodeLanguage), "requirements", "entry-points", "toml")


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
    edits: tuple[Edit, ...] = Field(min_length=1)
    after: tuple[Condition, ...] = ()
