"""Structural edits of one file: text in, text out, with the number of matches of every operation checked."""

from __future__ import annotations

import ast
import re
import warnings
from textwrap import indent
from typing import TYPE_CHECKING, assert_never, cast

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from forkhouse.errors import PatchConflictError
from forkhouse.patches.series import (
    CodeOperation,
    EntryPointsOperation,
    FileEdit,
    Operation,
    RequirementChange,
    RequirementOperation,
    Selector,
    TomlOperation,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ast_grep_py import SgNode

Span = tuple[int, int, str]
"""A range of the old text and what takes its place."""


def apply_edit(text: str, edit: FileEdit) -> str:
    """Return `text` with the operations of `edit` applied in order.

    Raises PatchConflictError when an operation matches another number of times than it expects.
    """
    original = text
    operations: tuple[Operation, ...] = edit.operations
    for number, operation in enumerate(operations, start=1):
        match operation:
            case CodeOperation():
                spans = _code_spans(text, operation, language=edit.language)
                changed = _replace_spans(text, spans)
                matches = len(spans)
            case RequirementOperation():
                changed, matches = _change_metadata(text, operation.requirement)
            case EntryPointsOperation():
                changed, matches = _remove_group(text, operation.remove.group)
            case TomlOperation():
                changed, matches = _change_toml(text, operation.set, operation.remove, operation.value)
            case _:
                assert_never(operation)
        if matches != operation.count:
            what = operation.model_dump(by_alias=True, exclude_defaults=True)
            message = (
                f"{edit.path}: operation {number} matched {matches} times, expected {operation.count}: {what}. "
                "The upstream changed what the edit is about: look at the file and rewrite the edit to mean the same there."
            )
            raise PatchConflictError(message)
        text = changed
    if edit.language == "python" and _parses(original) and not _parses(text):
        message = f"{edit.path}: the file is Python, and what the edit made of it is not. Correct the edit."
        raise PatchConflictError(message)
    return text


def _parses(text: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about what the upstream writes, not about the edit
        try:
            ast.parse(text)
        except SyntaxError:
            return False
    return True


def _replace_spans(text: str, spans: Sequence[Span]) -> str:
    begun = len(text)
    for start, end, new in sorted(spans, reverse=True):
        if end > begun:
            message = "Two matches lie one in the other, so both cannot be changed. Narrow the pattern, or match the outer one alone."
            raise PatchConflictError(message)
        text = text[:start] + new + text[end:]
        begun = start
    return text


def _code_spans(text: str, operation: CodeOperation, *, language: str) -> list[Span]:
    if operation.replace is not None:
        template = operation.with_ or ""
        return [(start, end, fill(template)) for start, end, fill in _find(text, operation.replace, language)]
    if operation.remove is not None:
        return [(*_whole_lines(text, start, end), "") for start, end, _ in _find(text, operation.remove, language)]
    place = operation.insert
    assert place is not None  # noqa: S101  # the model demands one of the three
    if place.before is not None:
        return [(start, start, fill.before(place.text)) for start, _, fill in _find(text, place.before, language)]
    assert place.after is not None  # noqa: S101  # the model demands one of the two
    return [fill.after(end, place.text) for _, end, fill in _find(text, place.after, language)]


class _Filler:
    """Fills a template for one match: the indentation of the matched line, then meta variables of the pattern.

    Templates for an anchor are taken as they are.
    """

    def __init__(self, text: str, start: int, node: SgNode | None) -> None:
        line = text[text.rfind("\n", 0, start) + 1 : start]
        self._starts_line = not line.strip()
        self._indent = line if self._starts_line else ""
        self._text = text
        self._node = node

    def __call__(self, template: str) -> str:
        if self._node is None:
            return template
        first, newline, rest = template.removesuffix("\n").partition("\n")
        indented = first + newline + indent(rest, self._indent)
        # Captured code keeps the indentation that it has.
        return re.sub(r"\$\$\$([A-Z_][A-Z0-9_]*)|\$([A-Z_][A-Z0-9_]*)", self._captured, indented)

    def before(self, template: str) -> str:
        """Return what goes before the match: on its own line when the match is the first thing on one."""
        on_own_line = self._node is not None and self._starts_line
        return self(template) + (f"\n{self._indent}" if on_own_line else "")

    def after(self, end: int, template: str) -> Span:
        """Return what goes after the match: on its own line when the match, but for a comment, is alone on its lines."""
        newline = self._text.find("\n", end)
        line_end = len(self._text) if newline < 0 else newline
        if self._node is not None and self._starts_line and re.fullmatch(r"\s*(#.*)?", self._text[end:line_end]):
            return line_end, line_end, f"\n{self._indent}{self(template)}"
        return end, end, self(template)

    def _captured(self, match: re.Match[str]) -> str:
        assert self._node is not None  # noqa: S101  # only called for code
        if match[1]:
            nodes = self._node.get_multiple_matches(match[1])
            return self._text[nodes[0].range().start.index : nodes[-1].range().end.index] if nodes else ""
        found = self._node.get_match(match[2])
        if found is None:
            message = f"The replacement uses ${match[2]}, which the pattern does not capture. Name it in the pattern."
            raise PatchConflictError(message)
        return found.text()


def _find(text: str, selector: Selector, language: str) -> list[tuple[int, int, _Filler]]:
    if selector.anchor is not None:
        starts = [match.start() for match in re.finditer(re.escape(selector.anchor), text)]
        return [(start, start + len(selector.anchor), _Filler(text, start, None)) for start in starts]
    if language == "text":
        message = "Plain text is matched by an `anchor`; functions, classes, patterns and rules need a language with a grammar."
        raise PatchConflictError(message)
    from ast_grep_py import Config, SgRoot  # noqa: PLC0415  # loads every grammar

    rule: dict[str, object]
    if selector.function is not None:
        rule = {"kind": "function_definition", "has": {"field": "name", "regex": f"^{re.escape(selector.function)}$"}}
    elif selector.class_ is not None:
        rule = {"kind": "class_definition", "has": {"field": "name", "regex": f"^{re.escape(selector.class_)}$"}}
    elif selector.pattern is not None:
        rule = {"pattern": selector.pattern}
    else:
        rule = dict(selector.rule or {})
    try:
        nodes = SgRoot(text, language).root().find_all(cast(Config, {"rule": rule}))
    except Exception as error:  # what ast-grep raises for a rule it cannot read has no type of its own
        message = f"ast-grep refuses the rule {rule}: {str(error).partition('Stack backtrace')[0].strip()}"
        raise PatchConflictError(message) from error
    found = []
    for node in nodes:
        span = node.range()
        found.append((span.start.index, span.end.index, _Filler(text, span.start.index, node)))
    return found


def _whole_lines(text: str, start: int, end: int) -> tuple[int, int]:
    """Widen a span to its whole lines when nothing else stands on them, so that a removal leaves no empty line."""
    line_start = text.rfind("\n", 0, start) + 1
    line_end = text.find("\n", end)
    line_end = len(text) if line_end < 0 else line_end + 1
    alone = not text[line_start:start].strip() and not text[end:line_end].strip()
    return (line_start, line_end) if alone else (start, end)


def _change_metadata(text: str, change: RequirementChange) -> tuple[str, int]:
    """Change Requires-Dist fields in the header of core metadata; every other byte stays."""
    header, blank, body = text.partition("\n\n")
    lines = header.split("\n")
    prefix = "Requires-Dist: "
    if change.add is not None:
        return f"{header}\n{prefix}{change.add}{blank}{body}", 1
    wanted = canonicalize_name(change.remove or change.replace or "")
    kept: list[str] = []
    matches = 0
    for line in lines:
        if line.startswith(prefix):
            requirement = Requirement(line.removeprefix(prefix))
            marker = str(requirement.marker or "")
            of_extra = change.extra is None or re.search(rf"""extra == ["']{re.escape(change.extra)}["']""", marker)
            if canonicalize_name(requirement.name) == wanted and of_extra:
                matches += 1
                if change.with_ is None:
                    continue
                replacement = Requirement(change.with_)
                replacement.marker = replacement.marker or requirement.marker
                kept.append(f"{prefix}{replacement}")
                continue
        kept.append(line)
    return "\n".join(kept) + blank + body, matches


def _remove_group(text: str, group: str) -> tuple[str, int]:
    """Remove one `[group]` of an entry-points file with its lines."""
    return re.subn(rf"^\[{re.escape(group)}\]\n(?:(?!\[).*(?:\n|\Z))*", "", text, flags=re.MULTILINE)


def _change_toml(text: str, key: str | None, removed: str | None, value: object) -> tuple[str, int]:
    import tomlkit  # noqa: PLC0415  # start-up time
    from tomlkit.exceptions import ParseError  # noqa: PLC0415

    try:
        document = tomlkit.parse(text)
    except ParseError as error:
        message = f"not TOML: {error}"
        raise PatchConflictError(message) from error
    *parents, last = (key or removed or "").split(".")
    table: object = document
    for parent in parents:
        if not isinstance(table, dict) or parent not in table:
            return text, 0
        table = table[parent]
    if not isinstance(table, dict) or last not in table:
        return text, 0
    if removed is not None:
        del table[last]
    else:
        table[last] = list(value) if isinstance(value, tuple) else value
    return tomlkit.dumps(document), 1
