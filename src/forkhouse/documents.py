"""Read YAML into frozen values, strictly: every problem at once, each with its line and key path."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from forkhouse.errors import DocumentError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def _kebab(name: str) -> str:
    return name.rstrip("_").replace("_", "-")


class Document(BaseModel):
    """Base of every value read from YAML: frozen, strict types, unknown keys refused, `snake_case` spelt `kebab-case`."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        alias_generator=_kebab,
        validate_by_name=True,
        use_attribute_docstrings=True,
    )


D = TypeVar("D", bound=Document)


class PlainText(str):
    """A text that stands without quotes, so that whoever cares may read a number or a date in it."""

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


class _StrictLoader(yaml.SafeLoader):
    """A safe loader that turns sequences into tuples (our values are frozen) and refuses a key given twice."""

    def construct_plain(self, node: yaml.Node) -> str:
        assert isinstance(node, yaml.ScalarNode)  # noqa: S101  # the constructor table below says so
        return str(node.value) if node.style else PlainText(node.value)

    def construct_number(self, node: yaml.Node) -> int:
        assert isinstance(node, yaml.ScalarNode)  # noqa: S101  # the constructor table below says so
        return PlainNumber(self.construct_yaml_int(node), node.value)

    def construct_tuple(self, node: yaml.Node) -> tuple[object, ...]:
        assert isinstance(node, yaml.SequenceNode)  # noqa: S101  # the constructor table below says so
        return tuple(self.construct_object(child, deep=True) for child in node.value)

    def construct_unique(self, node: yaml.Node) -> dict[object, object]:
        assert isinstance(node, yaml.MappingNode)  # noqa: S101  # the constructor table below says so
        values: dict[object, object] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key must be plain text", problem_mark=key_node.start_mark)
            key = self.construct_object(key_node, deep=True)
            if key in values:
                raise yaml.MarkedYAMLError(problem=f"key '{key}' is given twice", problem_mark=key_node.start_mark)
            values[key] = self.construct_object(value_node, deep=True)
        return values


_StrictLoader.add_constructor("tag:yaml.org,2002:seq", _StrictLoader.construct_tuple)
_StrictLoader.add_constructor("tag:yaml.org,2002:map", _StrictLoader.construct_unique)
_StrictLoader.add_constructor("tag:yaml.org,2002:str", _StrictLoader.construct_plain)
_StrictLoader.add_constructor("tag:yaml.org,2002:int", _StrictLoader.construct_number)
# Versions such as 1.10, dates, and words such as `no` must stay text: the model decides what a value is, not its spelling.
# Booleans are `true` and `false`, as in YAML 1.2.
_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":float", ":timestamp", ":bool"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_StrictLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"(?:true|false)\Z"), list("tf"))


def _locate(root: yaml.Node, location: Sequence[int | str], *, missing: bool) -> tuple[int, str]:
    """Return the 1-based line and the key path of `location`, whose last step is not in the document when it is `missing`.

    The tag of a tagged union is part of pydantic's location but no key of the document: it is left out.
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

    `name` stands for the file in messages. Raises DocumentError that lists every problem as `name:line: key.path: what`.
    """
    try:
        root = yaml.compose(text, Loader=_StrictLoader)
        values = yaml.load(text, Loader=_StrictLoader)  # noqa: S506  # a SafeLoader subclass
    except RecursionError as error:
        message = f"{name}: it is nested deeper than can be read. No document of this kind has more than a few levels."
        raise DocumentError(message) from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        message = f"{name}:{line}: {error.problem}"
        raise DocumentError(message) from None
    except yaml.YAMLError as error:  # of the reader, which knows no lines
        message = f"{name}:1: {error}"
        raise DocumentError(message) from None
    if root is None:
        message = f"{name}:1: the document is empty"
        raise DocumentError(message)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = []
        for problem in error.errors(include_url=False):
            if problem["type"] == "too_short" and problem["input"]:
                continue  # said of what is left of a sequence whose items have problems of their own
            given = "" if isinstance(problem["input"], dict | tuple) else f" (got {problem['input']!r})"
            line, path = _locate(root, problem["loc"], missing=problem["type"] == "missing")
            problems.append((line, f"{path}: {problem['msg'].removeprefix('Value error, ')}{given}"))
        lines = "\n".join(f"{name}:{line}: {what}" for line, what in sorted(problems))
        message = f"{lines}\nCorrect the lines above; nothing was read from the file."
        raise DocumentError(message) from None


def load(model: type[D], path: Path) -> D:
    """Read the YAML file at `path` into `model`. Raises DocumentError, also when the file is missing or not UTF-8."""
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError) as error:
        message = f"{path.name}: cannot be read: {error}"
        raise DocumentError(message) from None
    return parse(model, text, name=path.name)


class _BlockDumper(yaml.SafeDumper):
    """Indents sequences below their key and folds long text, so that the file reads as if written by hand."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002  # PyYAML's signature
        super().increase_indent(flow, indentless=False)


def _kind_first(value: object) -> object:
    """Order keys as a person would write them: what a mapping is comes before what it holds."""
    if isinstance(value, dict):
        return {key: _kind_first(value[key]) for key in sorted(value, key=lambda key: key != "kind")}
    return [_kind_first(item) for item in value] if isinstance(value, list) else value


def dump(document: Document) -> str:
    """Write `document` as YAML text, from which `parse` makes an equal value."""
    values = _kind_first(document.model_dump(mode="json", by_alias=True, exclude_defaults=True))
    return yaml.dump(values, Dumper=_BlockDumper, sort_keys=False, width=110, allow_unicode=True)
