"""The document of a structural patch.

A DEP-3 header, edits by file, and what must hold afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self, get_args

from packaging.requirements import Requirement
from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from forkhouse.core.errors import PatchConflictError
from forkhouse.documents.lockfile import Form, RequirementText
from forkhouse.documents.reading import Document, PlainNumber
from forkhouse.patches.languages.keypaths import key_steps
from forkhouse.patches.values import Given

if TYPE_CHECKING:
    from collections.abc import Sequence

CodeLanguage = Literal["python", "c", "cpp", "rust", "bash", "meson", "cmake", "text"]
"""Languages whose files are edited by selectors alone.

CUDA and HIP are `cpp`; a Dockerfile or m4 is `text`.
"""
NonEmpty = Annotated[str, Field(min_length=1)]
Paths = NonEmpty | Annotated[tuple[NonEmpty, ...], Field(min_length=1)]
"""A path in the upstream's own tree, wildcards allowed, or several alternatives."""
Distribution = Annotated[str, Field(pattern=r"^[A-Za-z0-9._*-]+$")]
"""The name of a distribution, in any spelling; `*` is any text."""
Hash = Annotated[str, Field(pattern=r"^(?:sha256|sha384|sha512):[0-9a-f]+$")]
"""The hash of a file, as pip writes it."""


def _exactly_one(document: Document, names: Sequence[str]) -> None:
    given = [name for name in names if getattr(document, name) is not None]
    if len(given) != 1:
        spelt = ", ".join(name.rstrip("_").replace("_", "-") for name in names)
        message = f"give exactly one of: {spelt}"
        raise ValueError(message)


def _listed(paths: Paths) -> tuple[str, ...]:
    return (paths,) if isinstance(paths, str) else paths


class CountRange(Document):
    """A number of matches that differs between releases or forms of an upstream.

    From `min: 0` on, finding nothing is no error.
    """

    min: int = Field(ge=0)
    """Fewest matches."""
    max: int = Field(ge=1)
    """Most matches."""

    @model_validator(mode="after")
    def _grows(self) -> Self:
        if self.min >= self.max:
            message = "`min` has to be less than `max`; an exact number is written as a number"
            raise ValueError(message)
        return self

    def __str__(self) -> str:
        """Return the range as it is told to a person."""
        return f"{self.min} to {self.max}"


def _number_or_range(value: object) -> str:
    """Tell the two spellings of a count apart, so that a problem is reported for the one that was meant."""
    return "CountRange" if isinstance(value, dict | CountRange) else "number"


Count = Annotated[
    Annotated[int, Field(ge=1), Tag("number")] | Annotated[CountRange, Tag("CountRange")],
    Discriminator(_number_or_range),
]
"""How many matches an operation expects; any other number is an error."""


def allows(count: int | CountRange, matches: int) -> bool:
    """Say whether a number of matches is an expected one."""
    return count.min <= matches <= count.max if isinstance(count, CountRange) else matches == count


def least(count: int | CountRange) -> int:
    """Return the smallest number of matches that is an expected one."""
    return count.min if isinstance(count, CountRange) else count


class Selector(Document):
    """What to match.

    Exactly one of function, class, call, assignment, key, pattern, rule and anchor.
    """

    function: NonEmpty | None = None
    """A function, by name."""
    class_: NonEmpty | None = None
    """A class, struct, enum or trait, by name; `impl NAME` for what Rust implements for it."""
    call: NonEmpty | None = None
    """A call, command or macro, by the name of what is called, as it is written.

    `.NAME` for a method, whatever it is called on.
    """
    argument: NonEmpty | None = None
    """With `call`: an argument that it must have, as it is written."""
    assignment: NonEmpty | None = None
    """An assignment, definition or key, by the name of its target, wherever it stands."""
    key: NonEmpty | None = None
    """A key of YAML, JSON or TOML, by its dotted path from the top.

    A step with dots is quoted, a number counts items of a list.
    """
    document: int | None = Field(default=None, ge=0)
    """With `key`: which document of a file of YAML that holds several, counted from 0."""
    pattern: NonEmpty | None = None
    """Code with metavariables, as ast-grep reads it: $NAME for one node, $$$NAME for any number."""
    rule: dict[str, object] | None = None
    """A whole ast-grep rule."""
    anchor: NonEmpty | None = None
    """A text, as it stands."""
    within: Selector | None = None
    """Match only inside what this selector matches, exactly once."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        _exactly_one(
            self, ("function", "class_", "call", "assignment", "key", "pattern", "rule", "anchor")
        )
        if self.argument is not None and self.call is None:
            message = "`argument` belongs to `call`"
            raise ValueError(message)
        if self.document is not None and self.key is None:
            message = "`document` belongs to `key`"
            raise ValueError(message)
        return self

    def said(self) -> str:
        """Return the text that a person would look for."""
        named = (
            self.function,
            self.class_,
            self.argument or self.call,
            self.assignment,
            self.key,
            self.pattern,
            self.anchor,
        )
        return next((text for text in named if text is not None), str(self.rule))


def _as_written(given: object) -> object:
    """Return a number or a truth value, which an edit need not put in quotes, as it stands there."""
    if isinstance(given, bool):
        return str(given).lower()
    return given.spelling if isinstance(given, PlainNumber) else given


PartText = Annotated[NonEmpty, BeforeValidator(_as_written)]
"""A piece of code, or an item, as it is written."""
Code = Annotated[str, BeforeValidator(_as_written)]
"""What comes in the place of code, or beside it."""


class Place(Document):
    """Where to insert: before or after what a selector matches."""

    before: Selector | None = None
    """Match before which the text goes."""
    after: Selector | None = None
    """Match after which the text goes."""
    text: Code
    """What is put there."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        _exactly_one(self, ("before", "after"))
        return self


class _Change(Document):
    """What goes, and what comes in its place.

    Exactly one of add, remove and replace, and `with` beside the last.
    """

    add: PartText | None = None
    """What is added."""
    remove: PartText | None = None
    """What goes."""
    replace: PartText | None = None
    """What goes, for `with` to take its place."""
    with_: Code | None = None
    """What comes, with `replace`."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        _exactly_one(self, ("add", "remove", "replace"))
        if (self.replace is None) != (self.with_ is None):
            message = "`with` belongs to `replace`, and `replace` needs it"
            raise ValueError(message)
        return self

    @property
    def gone(self) -> str | None:
        """What is to be there no more; None for an addition."""
        return self.remove if self.remove is not None else self.replace

    @property
    def come(self) -> str | None:
        """What is to be there; None for a removal."""
        return self.add if self.add is not None else self.with_


def _bare(given: str | None) -> str | None:
    """Return an argument or item without the line end that a block of YAML gives it."""
    return None if given is None else given.strip("\n")


class PartChange(_Change):
    """A change of one argument of a call, or one item of a list; what is added is put last.

    A part is named as it is written; a keyword argument by its keyword and `=` or `:`, such as
    `depends=`.
    """

    of: Selector
    """The call or list that is changed."""
    add: Annotated[PartText | None, AfterValidator(_bare)] = None
    """What is added."""
    remove: Annotated[PartText | None, AfterValidator(_bare)] = None
    """What goes."""
    replace: Annotated[PartText | None, AfterValidator(_bare)] = None
    """What goes, for `with` to take its place."""
    with_: Annotated[Code | None, AfterValidator(_bare)] = None
    """What comes, with `replace`."""


class LineChange(_Change):
    """A change of an #include, an import or a `use`, by the text of the whole line without its end."""


class CodeOperation(Document):
    """One change of a file of code or text."""

    replace: Selector | None = None
    """Put `with` in the place of a match."""
    wrap: Selector | None = None
    """Replace a match by `with`, which holds the match as $MATCH."""
    with_: Code | None = None
    """What comes, with `replace` or `wrap`."""
    remove: Selector | None = None
    """Take a match out."""
    insert: Place | None = None
    """Put a text before or after a match."""
    argument: PartChange | None = None
    """Change one argument of a call."""
    item: PartChange | None = None
    """Change one item of a list."""
    include: LineChange | None = None
    """Change an #include."""
    import_: LineChange | None = None
    """Change an import or a `use`."""
    count: Count = 1
    """How many matches are expected: a number, or a range such as {min: 1, max: 2}.

    Any other number is an error.
    """

    @model_validator(mode="after")
    def _one(self) -> Self:
        _exactly_one(
            self, ("replace", "wrap", "remove", "insert", "argument", "item", "include", "import_")
        )
        if (self.replace is None and self.wrap is None) != (self.with_ is None):
            message = "`with` belongs to `replace` or `wrap`, and they need it"
            raise ValueError(message)
        if self.wrap is not None and "$MATCH" not in (self.with_ or ""):
            message = "`with` of `wrap` has to hold $MATCH"
            raise ValueError(message)
        return self


def _is_pinned(requirement: Requirement) -> bool:
    """Say whether exactly one version is asked for, as pip demands where there are hashes."""
    return [
        each.operator in {"==", "==="} and not each.version.endswith(".*")
        for each in requirement.specifier
    ] == [True]


class RequirementChange(_Change):
    """A change of dependency declarations, matched by canonical distribution name (PEP 503)."""

    add: RequirementText | None = None
    """Requirement that is added."""
    remove: Distribution | None = None
    """Distribution whose declarations go."""
    replace: Distribution | None = None
    """Distribution whose declarations `with` takes the place of."""
    with_: RequirementText | None = None
    """Requirement that comes, with `replace`."""
    keep_version: bool = False
    """With `replace`.

    What `with` leaves open, the version, stays the one that the upstream asks for.
    """
    extra: str | None = None
    """Only declarations that belong to this extra.

    With nothing in it, only those that belong to none, and to no group.
    """
    group: NonEmpty | None = None
    """Only declarations of this dependency group (PEP 735) of `pyproject.toml`."""
    hashes: tuple[Hash, ...] = ()
    """In a requirements file: the hashes of the files that `add` or `with` may be met by."""

    @model_validator(mode="after")
    def _open(self) -> Self:
        if self.group is not None and self.extra is not None:
            message = "a declaration belongs to an `extra` or to a `group`, so give one of them"
            raise ValueError(message)
        come = Requirement(self.come) if self.come is not None else None
        if self.hashes and (
            come is None or self.keep_version or not (come.url or _is_pinned(come))
        ):
            message = (
                "`hashes` belongs to an `add` or `with` that names one version, such as "
                "torch==2.13.0"
            )
            raise ValueError(message)
        if self.keep_version and (
            self.with_ is None or Requirement(self.with_).specifier or Requirement(self.with_).url
        ):
            message = "`keep-version` belongs to a `with` that names no version"
            raise ValueError(message)
        return self


class RequirementOperation(Document):
    """One change of what a distribution requires."""

    requirement: RequirementChange
    """What is changed."""
    count: Count = 1
    """How many declarations are expected: a number, or a range such as {min: 1, max: 2}.

    Any other number is an error.
    """


class GroupSelector(Document):
    """A group of entry points."""

    group: NonEmpty
    """Name of the group."""


class EntryPointsOperation(Document):
    """Removal of an entry-point group."""

    remove: GroupSelector
    """The group that goes."""
    count: Literal[1] = 1
    """A group is there once."""


class KeyOperation(Document):
    """Set a key that is there, add one that is not, or remove one, by its dotted path from the top."""

    set: NonEmpty | None = None
    """Key that is there, and gets `value`."""
    add: NonEmpty | None = None
    """Key that is not there, and gets `value`."""
    remove: NonEmpty | None = None
    """Key that goes."""
    value: Given = None
    """What to put there, as the file's own reader is to read it; text in quotes stays text."""
    document: int | None = Field(default=None, ge=0)
    """Which document of a file of YAML that holds several, counted from 0."""
    count: Literal[1] = 1
    """A key is there once."""

    @property
    def path(self) -> str:
        """The path of the key that is meant."""
        return self.set or self.add or self.remove or ""

    @model_validator(mode="after")
    def _one(self) -> Self:
        _exactly_one(self, ("set", "add", "remove"))
        if (self.remove is None) != ("value" in self.model_fields_set):
            message = "`value` belongs to `set` and `add`, and they need it"
            raise ValueError(message)
        try:
            key_steps(self.path)
        except PatchConflictError as error:
            raise ValueError(str(error)) from error
        return self


Operation = CodeOperation | RequirementOperation | EntryPointsOperation | KeyOperation


def _keyed(value: object) -> str:
    """Tell the operations on keys from those on code."""
    if isinstance(value, Document):
        return type(value).__name__
    plain = isinstance(value, dict) and (
        "set" in value or "add" in value or isinstance(value.get("remove"), str)
    )
    return "KeyOperation" if plain else "CodeOperation"


KeyedOperation = Annotated[
    Annotated[KeyOperation, Tag("KeyOperation")] | Annotated[CodeOperation, Tag("CodeOperation")],
    Discriminator(_keyed),
]


class _FileEdit(Document):
    path: Paths
    """Path in the upstream's own tree, wildcards allowed.

    Of several alternatives the first that is there counts.
    """

    @property
    def paths(self) -> tuple[str, ...]:
        """The alternatives."""
        return _listed(self.path)


class CodeEdit(_FileEdit):
    """Edits of code or text."""

    language: CodeLanguage
    """Language of the file."""
    operations: tuple[CodeOperation, ...] = Field(min_length=1)
    """Changes of the file, in order."""


class RequirementsEdit(_FileEdit):
    """Edits of requirements.

    In `pyproject.toml`, in wheel metadata, or in a requirements file, told apart by the file's
    name.
    """

    language: Literal["requirements"]
    """Says that the file holds requirements."""
    operations: tuple[RequirementOperation, ...] = Field(min_length=1)
    """Changes of the file, in order."""


class EntryPointsEdit(_FileEdit):
    """Edits of entry points.

    In `entry_points.txt`, or in `pyproject.toml`, told apart by their contents.
    """

    language: Literal["entry-points"]
    """Says that the file holds entry points."""
    operations: tuple[EntryPointsOperation, ...] = Field(min_length=1)
    """Changes of the file, in order."""


class KeyedEdit(_FileEdit):
    """Edits of a file of keys and values that keep its style."""

    language: Literal["yaml", "json", "toml"]
    """Language of the file."""
    operations: tuple[KeyedOperation, ...] = Field(min_length=1)
    """Changes of the file, in order."""


FileEdit = CodeEdit | RequirementsEdit | EntryPointsEdit | KeyedEdit


class AddedFile(Document):
    """A new file of ours."""

    add: str
    """Its path in the upstream's own tree."""
    content: str
    """What is in it."""


def _kind(value: object) -> str:
    """Tell the kinds of edits apart, so that a problem is reported for the kind that was meant."""
    if isinstance(value, Document):
        return type(value).__name__
    if not isinstance(value, dict) or "add" in value:
        return "AddedFile"
    named = {
        "requirements": "RequirementsEdit",
        "entry-points": "EntryPointsEdit",
        **dict.fromkeys(("yaml", "json", "toml"), "KeyedEdit"),
    }
    return named.get(str(value.get("language")), "CodeEdit")


Edit = Annotated[
    Annotated[CodeEdit, Tag("CodeEdit")]
    | Annotated[RequirementsEdit, Tag("RequirementsEdit")]
    | Annotated[EntryPointsEdit, Tag("EntryPointsEdit")]
    | Annotated[KeyedEdit, Tag("KeyedEdit")]
    | Annotated[AddedFile, Tag("AddedFile")],
    Discriminator(_kind),
]
LANGUAGES = (*get_args(CodeLanguage), "yaml", "json", "toml", "requirements", "entry-points")


class Sought(Document):
    """What is looked for, a text or a requirement, and where."""

    text: NonEmpty | None = None
    """A text, as it stands."""
    requirement: Distribution | None = None
    """A distribution that is asked for; comments and descriptions do not count."""
    in_: Paths
    """Paths in the upstream's own tree, wildcards allowed.

    One pattern, or several that are all looked at.
    """

    @property
    def paths(self) -> tuple[str, ...]:
        """The patterns."""
        return _listed(self.in_)

    @model_validator(mode="after")
    def _one(self) -> Self:
        _exactly_one(self, ("text", "requirement"))
        return self

    def said(self) -> str:
        """Return what is looked for, for a person."""
        return (
            f"'{self.text}'" if self.text is not None else f"the requirement '{self.requirement}'"
        )


class Condition(Document):
    """What must hold of the whole tree after the patch."""

    absent: Sought | None = None
    """What must be nowhere."""
    present: Sought | None = None
    """What must be there."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        _exactly_one(self, ("absent", "present"))
        return self


class StructuralEdit(Document):
    """An `NNNN-subject.edit.yaml`: a DEP-3 header, edits by path, and conditions on the result."""

    subject: str = Field(alias="Subject", min_length=1)
    """What the patch does, in one line."""
    description: str = Field(alias="Description", min_length=1)
    """Why it is needed."""
    origin: str = Field(alias="Origin", min_length=1)
    """Who wrote it (DEP-3)."""
    forwarded: str = Field(alias="Forwarded", min_length=1)
    """Address where it was sent upstream, `no`, or `not-needed` (DEP-3)."""
    applied_upstream: str | None = Field(default=None, alias="Applied-Upstream")
    """Version or commit that brought it upstream (DEP-3)."""
    retire_when: str = Field(alias="Retire-When", min_length=1)
    """When it is to go."""
    forms: tuple[Form, ...] = Field(
        default=("git", "sdist", "wheel", "debian-source"), alias="Forms"
    )
    """Forms of the source that it is meant for."""
    edits: tuple[Edit, ...] = Field(min_length=1)
    """Changes, file by file, in order."""
    after: tuple[Condition, ...] = ()
    """What must hold of the whole tree afterwards."""
