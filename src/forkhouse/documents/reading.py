"""Read YAML into frozen values, strictly.

Every problem at once, each with its line and key path.
"""

from __future__ import annotations

import errno
import re
import tomllib
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from forkhouse.core.errors import DocumentError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def _kebab(name: str) -> str:
    return name.rstrip("_").replace("_", "-")


class Document(BaseModel):
    """Base of every value read from YAML.

    Frozen, strict types, unknown keys refused, `snake_case` spelt `kebab-case`.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        alias_generator=_kebab,
        validate_by_name=True,
    )


D = TypeVar("D", bound=Document)

LONGEST = 256 * 2**10
"""Bytes of a document of YAML.

The largest that people write has a tenth of it, and reading this many takes less than a second.
"""
LONGEST_TOML = 2**20
"""Bytes of a TOML file. The limit is higher because machines write long ones."""
MOST_NODES = 10_000
"""Keys and values of a document. What an alias repeats is counted each time."""
DEEPEST = 50
"""Sequences and mappings within one another."""
LONGEST_NUMBER = 100
"""Digits of a whole number."""
_FEW, _MOST_SQUARES = 15, 500_000
SHOWN = 50
"""Problems of a document that are listed, and characters of a wrong value that are shown."""


_WHOLE = re.compile("[-+]?(0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)")
"""Numbers that every reader takes for the same: 010 is 8 in YAML 1.1 and 10 in 1.2, and 1:30 is 90
or a text."""


class PlainText(str):
    """A text that stands without quotes: another reader may take it for a number or a date."""

    __slots__ = ()

    @property
    def spelling(self) -> str:
        """As it stands in the document."""
        return str(self)


class PlainNumber(int):
    """A whole number that keeps its spelling: 0755 may not mean what its reader makes of it."""

    spelling: str
    """As it stands in the document."""

    def __new__(cls, value: int, spelling: str) -> Self:
        """Take a number and how it is written."""
        number = super().__new__(cls, value)
        number.spelling = spelling
        return number


class _Strict(Composer, SafeConstructor, Resolver):
    """Makes values of what a parser tells; sequences are tuples, because our values are frozen.

    It refuses a key that is given twice, and a document that is too deep or too large.
    """

    def begin(self) -> None:
        """Get ready for a document."""
        self._depth = 0
        self._nodes = 0
        self._sizes: dict[yaml.Node, int] = {}
        """By node with an anchor, the number of nodes that an alias of it stands for."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose a node.

        Raises MarkedYAMLError where the document goes on too deep, or where aliases make too much
        of it.
        """
        event = self.peek_event()  # type: ignore[attr-defined]  # of the parser beside it
        is_alias, before = isinstance(event, yaml.AliasEvent), self._nodes
        if self._depth > DEEPEST:
            _refuse(
                f"more than {DEEPEST} sequences and mappings are in one another", event.start_mark
            )
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        self._nodes += self._sizes.get(node, 1) if is_alias and node is not None else 1
        if self._nodes > MOST_NODES:
            _refuse(f"the document has more than {MOST_NODES} keys and values", event.start_mark)
        if not is_alias and node is not None and event.anchor is not None:
            self._sizes[node] = self._nodes - before
        return node

    # PyYAML's signature.
    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: FBT001, FBT002
        """Make a value.

        Raises MarkedYAMLError also for what PyYAML's own readers of numbers, times and the like let
        through.
        """
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError):
            tag = node.tag.removeprefix("tag:yaml.org,2002:")
            _refuse(f"'{_short(str(node.value))}' is no value of the type {tag}", node.start_mark)

    def construct_plain(self, node: yaml.Node) -> str:
        text = str(self.construct_scalar(_scalar(node)))
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            problem = "a code of half a character (\\uD800 to \\uDFFF), which no text has"
            _refuse(problem, node.start_mark)
        return text if _scalar(node).style else PlainText(text)

    def construct_number(self, node: yaml.Node) -> int | PlainText:
        spelling = _scalar(node).value
        if len(spelling) > LONGEST_NUMBER:
            _refuse(
                f"a whole number of {len(spelling)} digits; more than {LONGEST_NUMBER} are refused",
                node.start_mark,
            )
        number = PlainNumber(self.construct_yaml_int(_scalar(node)), spelling)
        return number if _WHOLE.fullmatch(spelling) else PlainText(spelling)

    def construct_tuple(self, node: yaml.Node) -> tuple[object, ...]:
        if not isinstance(node, yaml.SequenceNode):
            _refuse("expected a sequence", node.start_mark)
        return tuple(self.construct_object(child, deep=True) for child in node.value)

    def construct_unique(self, node: yaml.Node) -> dict[object, object]:
        if not isinstance(node, yaml.MappingNode):
            _refuse("expected a mapping", node.start_mark)
        values: dict[object, object] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                _refuse("a key must be plain text", key_node.start_mark)
            key = self.construct_object(key_node, deep=True)
            if key in values:
                _refuse(f"key '{_short(str(key))}' is given twice", key_node.start_mark)
            values[key] = self.construct_object(value_node, deep=True)
        return values

    yaml_constructors = {  # noqa: RUF012  # PyYAML's name for what it looks in
        **SafeConstructor.yaml_constructors,
        "tag:yaml.org,2002:seq": construct_tuple,
        "tag:yaml.org,2002:map": construct_unique,
        "tag:yaml.org,2002:str": construct_plain,
        "tag:yaml.org,2002:int": construct_number,
    }


def _refuse(problem: str, mark: yaml.Mark | None) -> NoReturn:
    raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def _scalar(node: yaml.Node) -> yaml.ScalarNode:
    if not isinstance(node, yaml.ScalarNode):
        _refuse("expected plain text", node.start_mark)
    return node


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


# Versions such as 1.10, dates, and words such as `no` must stay text: the model decides what a
# value is, not its spelling. Booleans are `true` and `false`, as in YAML 1.2.
_Strict.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if not tag.endswith((":float", ":timestamp", ":bool"))
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Strict.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"(?:true|false)\Z"), list("tf"))


class _Loader(_Strict, yaml.SafeLoader):
    """Reads with PyYAML's own parser, which decides what is a document, and what is not."""

    def __init__(self, text: str) -> None:
        """Take the text to read. Raises ReaderError for a character that no document has."""
        yaml.SafeLoader.__init__(self, text)
        self.begin()


if yaml.__with_libyaml__:

    class _QuickLoader(_Strict, yaml.CSafeLoader):
        """Reads with libyaml's parser, in a sixth of the time.

        Its nodes are made as those of the other one: libyaml's own composer knows no limits.
        """

        def __init__(self, text: str) -> None:
            """Take the text to read."""
            yaml.CSafeLoader.__init__(self, text)
            Composer.__init__(self)
            self.begin()

        def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
            """Compose a node.

            Raises MarkedYAMLError also for what the other parser may not take, or take so: tags,
            and in braces and brackets question marks and values that are missing.
            """
            event = self.peek_event()
            if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag:
                _refuse("found a tag", None)
            node = super().compose_node(parent, index)
            in_flow = isinstance(parent, yaml.CollectionNode) and parent.flow_style
            plain = node.value if isinstance(node, yaml.ScalarNode) and not node.style else "other"
            if in_flow and ("?" in plain or not plain):
                _refuse("found what may be read in two ways", None)
            return node


def _locate(root: yaml.Node, location: Sequence[int | str], *, missing: bool) -> tuple[int, str]:
    """Return the 1-based line and the key path of `location`.

    The last step is not in the document when it is `missing`. The tag of a tagged union is left
    out: pydantic has it in its location, but it is not a key of the document.
    """
    node: yaml.Node | None = root
    mark, path = root.start_mark, ""
    for depth, step in enumerate(location):
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            mark, path = node.start_mark, f"{path}[{step}]"
            continue
        found = None
        if isinstance(node, yaml.MappingNode):
            found = next((pair for pair in node.value if pair[0].value == str(step)), None)
        if found:
            mark, node = found[0].start_mark, found[1]
        if found or (missing and depth == len(location) - 1):
            path += f".{step}"
    return mark.line + 1, path.lstrip(".") or "(document)"


def parse(model: type[D], text: str, *, name: str) -> D:
    """Parse YAML text into `model`.

    `name` stands for the file in messages. Raises DocumentError that lists every problem as
    `name:line: key.path: what`.
    """
    root, values = _values(text, name)
    try:
        return model.model_validate(values, by_alias=True, by_name=False)
    except ValidationError as error:
        problems = _problems(root, error)
    except (
        ValueError,
        ArithmeticError,
        RecursionError,
    ) as error:  # a validator met what its author did not think of
        problems = [(1, f"(document): {_short(str(error))}")]
    lines = [f"{name}:{line}: {what}" for line, what in sorted(problems)]
    more = [f"{name}: and {len(lines) - SHOWN} problems more"] if len(lines) > SHOWN else []
    message = "\n".join(
        [*lines[:SHOWN], *more, "Correct the lines above; nothing was read from the file."]
    )
    raise DocumentError(message) from None


def _values(text: str, name: str) -> tuple[yaml.Node, object]:
    """Return a document's nodes, and the values that they stand for. Raises DocumentError."""
    if len(text) > LONGEST:
        message = (
            f"{name}:1: the document has {len(text)} characters; more than {LONGEST} are refused. "
            "Was another file put in its place?"
        )
        raise DocumentError(message)
    try:
        root, values = _quickly(text) or _read(_Loader(text))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        message = f"{name}:{line}: {error.problem}"
        raise DocumentError(message) from None
    except yaml.reader.ReaderError as error:  # it counts characters, and knows no lines
        line = text.count("\n", 0, error.position) + 1
        message = f"{name}:{line}: unacceptable character {error.character!r}: {error.reason}"
        raise DocumentError(message) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        message = f"{name}:1: {error}"
        raise DocumentError(message) from None
    if root is None:
        message = f"{name}:1: the document is empty"
        raise DocumentError(message)
    return root, values


_READ_IN_TWO_WAYS = re.compile(r"[\t\r\x85\u2028\u2029\ufeff]|[|>][0-9+-]*#|[^\n]\Z")


def _read(loader: _Strict) -> tuple[yaml.Node | None, object]:
    root = loader.get_single_node()
    return root, None if root is None else loader.construct_document(root)


def _quickly(text: str) -> tuple[yaml.Node | None, object] | None:
    """Return what libyaml reads; None where it is missing or takes fault with the document.

    What the fault is, and whether it is one, the other parser says: so every message is the same.
    Tabs, rare line breaks, marks of the byte order and comments that touch a `|` or `>` stand in
    places for libyaml where they do not for the other, and at an end without a line break it counts
    lines in another way.
    """
    if not yaml.__with_libyaml__ or _READ_IN_TWO_WAYS.search(text):
        return None
    try:
        return _read(_QuickLoader(text))
    except (yaml.YAMLError, ValueError, RecursionError):
        return None


def _problems(root: yaml.Node, error: ValidationError) -> list[tuple[int, str]]:
    """Return what is wrong with the values of a document, each with its line."""
    problems = []
    for problem in error.errors(include_url=False):
        if problem["type"] == "too_short" and problem["input"]:
            continue  # said of what is left of a sequence whose items have problems of their own
        given = (
            ""
            if isinstance(problem["input"], dict | tuple)
            else f" (got {_short(repr(problem['input']))})"
        )
        line, path = _locate(root, problem["loc"], missing=problem["type"] == "missing")
        problems.append((line, f"{path}: {problem['msg'].removeprefix('Value error, ')}{given}"))
    return problems


def load(model: type[D], path: Path) -> D:
    """Read the YAML file at `path` into `model`.

    Raises DocumentError, also when the file is missing or not UTF-8.
    """
    return parse(model, read_text(path, LONGEST), name=path.name)


def read_text(path: Path, longest: int) -> str:
    """Return the text of a document.

    Raises DocumentError where it is missing, no file, longer than `longest` bytes or not UTF-8.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            message = f"{path.name}: cannot be read: it is no file"
            raise DocumentError(message)
        with path.open("rb") as stream:
            content = stream.read(longest + 1)
    except (OSError, ValueError) as error:  # the latter for a name that no file can have
        if isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE, errno.EIO}:
            raise  # that says nothing of the document
        message = f"{path.name}: cannot be read: {error}"
        raise DocumentError(message) from None
    if len(content) > longest:
        message = (
            f"{path.name}:1: the document has more than {longest} bytes, and is refused. Was "
            "another file put in its place?"
        )
        raise DocumentError(message)
    return decode(content, path.name)


def decode(content: bytes, name: str) -> str:
    """Return the text of a document that has been read; `name` stands for it in messages.

    Raises DocumentError.
    """
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = (
            f"{name}:{line}: cannot be read: byte {content[error.start]:#04x} is no UTF-8. Save "
            "the file as UTF-8."
        )
        raise DocumentError(message) from None


def read_toml(content: bytes) -> dict[str, Any]:
    """Read TOML, of whatever origin.

    Raises ValueError (with the line, where it is known) for everything that can be wrong with it.
    """
    if len(content) > LONGEST_TOML:
        message = f"the file has {len(content)} bytes; more than {LONGEST_TOML} are refused"
        raise ValueError(message)
    # A key costs the square of its parts.
    dots = (line.count(b".") for line in content.splitlines())
    if sum(count * count for count in dots if count > _FEW) > _MOST_SQUARES:
        message = "lines have more dots than keys and numbers of any use have"
        raise ValueError(message)
    try:
        return tomllib.loads(content.decode("utf-8"))
    except RecursionError as error:
        message = "arrays or tables are in one another without end"
        raise ValueError(message) from error


class BlockDumper(yaml.SafeDumper):
    """Indents sequences below their key and folds long texts, as a person would write the file."""

    def increase_indent(
        self,
        flow: bool = False,  # noqa: FBT001, FBT002  # PyYAML's signature
        indentless: bool = False,  # noqa: FBT001, FBT002  # as above
    ) -> None:
        """Begin a deeper level; PyYAML writes sequences at their key's own."""
        super().increase_indent(flow, indentless=False)


def _kind_first(value: object) -> object:
    """Order keys as a person would write them: what a mapping is comes before what it holds."""
    if isinstance(value, dict):
        return {
            key: _kind_first(value[key]) for key in sorted(value, key=lambda key: key != "kind")
        }
    return [_kind_first(item) for item in value] if isinstance(value, list) else value


def dump(document: Document) -> str:
    """Write `document` as YAML text, from which `parse` makes an equal value."""
    values = _kind_first(document.model_dump(mode="json", by_alias=True, exclude_defaults=True))
    return yaml.dump(values, Dumper=BlockDumper, sort_keys=False, width=110, allow_unicode=True)
