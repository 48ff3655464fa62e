"""Define the document of a structural patch.

It has a DEP-3 header, edits by file, and conditions that must hold afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self, get_args

from packaging.requirements import Requirement
from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from forkhouse.core.errors import PatchConflictError
from forkhouse.documents.lockfile import Form, RequirementText
from forkhouse.documents.reading import Document, PlainNumber
from forkhouse.patches.keypaths import key_steps
from forkhouse.patches.values import Given

if TYPE_CHECKING:
    from collections.abc import Sequence

CodeLanguage = Literal["python", "c", "cpp", "rust", "bash", "meson", "cmake", "text"]
"""Languages whose files are edited by selectors alone.

CUDA and HIP are `cpp`. A Dockerfile or an m4 file is `text`.
"""
NonEmpty = Annotated[str, Field(min_length=1)]
Paths = NonEmpty | Annotated[tuple[NonEmpty, ...], Field(min_length=1)]
"""A path in the upstream's own tree, with wildcards allowed, or several alternative paths."""
Distribution = Annotated[str, Field(pattern=r"^[A-Za-z0-9._*-]+$")]
"""The name of a distribution in any spelling; `*` stands for any text."""
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

    With `min: 0`, it is no error if nothing is found.
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
        """Return the range in the words of a message."""
        return f"{self.min} to {self.max}"


def _number_or_range(value: object) -> str:
    """Return the name of a count's spelling, so that an error is reported for that one alone."""
    return "CountRange" if isinstance(value, dict | CountRange) else "number"


Count = Annotated[
    Annotated[int, Field(ge=1), Tag("number")] | Annotated[CountRange, Tag("CountRange")],
    Discriminator(_number_or_range),
]
"""How many matches an operation expects; any other number is an error."""


def allows(count: int | CountRange, matches: int) -> bool:
    """Say whether a count allows a number of matches."""
    return count.min <= matches <= count.max if isinstance(count, CountRange) else matches == count


def least(count: int | CountRange) -> int:
    """Return the smallest number of matches that a count allows."""
    return count.min if isinstance(count, CountRange) else count


class Selector(Document):
    """What to match.

    Exactly one of function, class, call, assignment, key, pattern, rule and anchor.
    """

    function: NonEmpty | None = None
    """A function, by name."""
    class_: NonEmpty | None = None
    """A class, struct, enum or trait, by name; in Rust, `impl NAME` is its implementation."""
    call: NonEmpty | None = None
    """A call, command or macro, by the name of what is called, as it is written.

    `.NAME` selects a method on any object.
    """
    argument: NonEmpty | None = None
    """With `call`, an argument that the call must have, as it is written."""
    assignment: NonEmpty | None = None
    """An assignment, definition or key, by the name of its target, wherever it stands."""
    key: NonEmpty | None = None
    """A key of YAML, JSON or TOML, by its dotted path from the top.

    A step that holds dots is quoted. A number is the position of an item in a list.
    """
    document: int | None = Field(default=None, ge=0)
    """With `key`, the number of the document in a file of YAML with several, from 0 on."""
    pattern: NonEmpty | None = None
    """Code with metavariables of ast-grep: $NAME for one node, $$$NAME for any number."""
    rule: dict[str, object] | None = None
    """A whole ast-grep rule."""
    anchor: NonEmpty | None = None
    """A text, exactly as it is in the file."""
    within: Selector | None = None
    """A selector that matches exactly once; only matches inside of it count."""

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
        """Return the text that a person would search for."""
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
    """Return the text of a number or truth value that an edit gives without quotes.

    Any other value is returned as it is.
    """
    if isinstance(given, bool):
        return str(given).lower()
    return given.spelling if isinstance(given, PlainNumber) else given


PartText = Annotated[NonEmpty, BeforeValidator(_as_written)]
"""A piece of code, or an item, as it is written in the file."""
Code = Annotated[str, BeforeValidator(_as_written)]
"""Code that replaces other code, or is inserted beside it."""


class Place(Document):
    """Where to insert: before or after what a selector matches."""

    before: Selector | None = None
    """The match before which the text is inserted."""
    after: Selector | None = None
    """The match behind which the text is inserted."""
    text: Code
    """The text to insert."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        _exactly_one(self, ("before", "after"))
        return self


class _Change(Document):
    """A part that is removed, and its replacement.

    Exactly one of `add`, `remove` and `replace` is given, and `with` only together with the last.
    """

    add: PartText | None = None
    """The part to add."""
    remove: PartText | None = None
    """The part to remove."""
    replace: PartText | None = None
    """The part that `with` replaces."""
    with_: Code | None = None
    """The replacement, with `replace`."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        _exactly_one(self, ("add", "remove", "replace"))
        if (self.replace is None) != (self.with_ is None):
            message = "`with` belongs to `replace`, and `replace` needs it"
            raise ValueError(message)
        return self

    @property
    def gone(self) -> str | None:
        """The part that must not be there afterwards; None for an addition."""
        return self.remove if self.remove is not None else self.replace

    @property
    def come(self) -> str | None:
        """The part that must be there afterwards; None for a removal."""
        return self.add if self.add is not None else self.with_


def _bare(given: str | None) -> str | None:
    """Return an argument or item without the line end that a block of YAML adds."""
    return None if given is None else given.strip("\n")


class PartChange(_Change):
    """A change of one argument of a call, or of one item of a list; a new part is put last.

    A part is named as it is written. A keyword argument is named by its keyword and `=` or `:`,
    such as `depends=`.
    """

    of: Selector
    """The call or list to change."""
    add: Annotated[PartText | None, AfterValidator(_bare)] = None
    """The part to add."""
    remove: Annotated[PartText | None, AfterValidator(_bare)] = None
    """The part to remove."""
    replace: Annotated[PartText | None, AfterValidator(_bare)] = None
    """The part that `with` replaces."""
    with_: Annotated[Code | None, AfterValidator(_bare)] = None
    """The replacement, with `replace`."""


class LineChange(_Change):
    """A change of an #include, an import or a `use`, by its whole line without the line end."""


class CodeOperation(Document):
    """One change of a file of code or text."""

    replace: Selector | None = None
    """Replace a match by `with`."""
    wrap: Selector | None = None
    """Replace a match by `with`, which holds the match as $MATCH."""
    with_: Code | None = None
    """The replacement, with `replace` or `wrap`."""
    remove: Selector | None = None
    """Remove a match."""
    insert: Place | None = None
    """Insert a text before or behind a match."""
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
    """Say whether a requirement allows exactly one version, as pip demands for hashes."""
    return [
        each.operator in {"==", "==="} and not each.version.endswith(".*")
        for each in requirement.specifier
    ] == [True]


class RequirementChange(_Change):
    """A change of dependency declarations, matched by canonical distribution name (PEP 503)."""

    add: RequirementText | None = None
    """The requirement to add."""
    remove: Distribution | None = None
    """The distribution whose declarations are removed."""
    replace: Distribution | None = None
    """The distribution whose declarations `with` replaces."""
    with_: RequirementText | None = None
    """The replacement, with `replace`."""
    keep_version: bool = False
    """With `replace`, keep the version that the upstream requires.

    The new requirement must not give one.
    """
    extra: str | None = None
    """The extra that declarations must belong to.

    An empty text stands for declarations that belong to no extra and to no group.
    """
    group: NonEmpty | None = None
    """The dependency group (PEP 735) of `pyproject.toml` that declarations must belong to."""
    hashes: tuple[Hash, ...] = ()
    """In a requirements file, the hashes of the files that satisfy `add` or `with`."""

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
    """The change of declarations."""
    count: Count = 1
    """How many declarations are expected: a number, or a range such as {min: 1, max: 2}.

    Any other number is an error.
    """


class GroupSelector(Document):
    """A group of entry points."""

    group: NonEmpty
    """The name of the group."""


class EntryPointsOperation(Document):
    """Removal of an entry-point group."""

    remove: GroupSelector
    """The group to remove."""
    count: Literal[1] = 1
    """The number of matches: a group exists only once."""


class KeyOperation(Document):
    """Set a key that exists, add a new one, or remove one, by its dotted path from the top."""

    set: NonEmpty | None = None
    """An existing key, which gets `value`."""
    add: NonEmpty | None = None
    """A new key, which gets `value`."""
    remove: NonEmpty | None = None
    """The key to remove."""
    value: Given = None
    """The value to put there; the file's own reader reads it, and text in quotes stays text."""
    document: int | None = Field(default=None, ge=0)
    """The number of the document in a file of YAML with several, from 0 on."""
    count: Literal[1] = 1
    """The number of matches: a key exists only once."""

    @property
    def path(self) -> str:
        """The path of the key that the operation names."""
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


def target(operation: Operation) -> Selector | None:
    """Return the selector of what an operation looks for in code.

    Returns None for an operation that adds something and needs nothing for it.
    """
    match operation:
        case (
            CodeOperation(replace=Selector() as selector)
            | CodeOperation(wrap=Selector() as selector)
        ):
            return selector
        case CodeOperation(remove=Selector() as selector):
            return selector
        case (
            CodeOperation(insert=Place(before=Selector() as selector))
            | CodeOperation(insert=Place(after=Selector() as selector))
        ):
            return selector
        case (
            CodeOperation(argument=PartChange(of=selector))
            | CodeOperation(item=PartChange(of=selector))
        ):
            return selector
        case KeyOperation(add=None):
            return Selector(key=operation.path)
        case _:
            return None


def _keyed(value: object) -> str:
    """Return the tag of an operation: whether it is on keys or on code."""
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
    """The path in the upstream's own tree, with wildcards allowed.

    Of several alternatives, the first one that exists counts.
    """

    @property
    def paths(self) -> tuple[str, ...]:
        """The alternative paths."""
        return _listed(self.path)


class CodeEdit(_FileEdit):
    """Edits of code or text."""

    language: CodeLanguage
    """Language of the file."""
    operations: tuple[CodeOperation, ...] = Field(min_length=1)
    """Changes of the file, in order."""


class RequirementsEdit(_FileEdit):
    """Edits of requirements in `pyproject.toml`, in wheel metadata, or in a requirements file.

    The contents of the file tell which of these it is.
    """

    language: Literal["requirements"]
    """Says that the file holds requirements."""
    operations: tuple[RequirementOperation, ...] = Field(min_length=1)
    """Changes of the file, in order."""


class EntryPointsEdit(_FileEdit):
    """Edits of entry points in `entry_points.txt`, or in `pyproject.toml`.

    The contents of the file tell which of the two it is.
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
    """The content of the file."""


def _kind(value: object) -> str:
    """Return the kind of an edit, so that a problem is reported for that kind alone."""
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
    """A text or a requirement to look for, and the files to look in."""

    text: NonEmpty | None = None
    """A text, exactly as it is in the file."""
    requirement: Distribution | None = None
    """A distribution that is required; comments and descriptions do not count."""
    in_: Paths
    """Paths in the upstream's own tree, with wildcards allowed.

    This is one pattern, or several that are all looked at.
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
        """Return the text or requirement to look for, as a message names it."""
        return (
            f"'{self.text}'" if self.text is not None else f"the requirement '{self.requirement}'"
        )


class Condition(Document):
    """What must hold of the whole tree after the patch."""

    absent: Sought | None = None
    """What must not be in any of the files."""
    present: Sought | None = None
    """What must be in one of the files."""

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
    bug: str | None = Field(default=None, alias="Bug")
    """Faults that it mends: addresses, or identifiers (CVE, GHSA), divided by blanks (DEP-3)."""
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
