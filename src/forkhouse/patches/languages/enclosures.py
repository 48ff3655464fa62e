"""Find the named constructs of a file: functions, classes, tables, services, targets, stages.

The same text in another one of them is not the same code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches.backends import language_of
from forkhouse.patches.languages.cmake import commands
from forkhouse.patches.languages.data import Kind, read
from forkhouse.patches.languages.grammars import GRAMMARS
from forkhouse.patches.languages.meson import statements
from forkhouse.patches.languages.trees import root_of, search, span_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ast_grep_py import SgNode

    from forkhouse.patches.backends import Span
    from forkhouse.patches.languages.data import Value


@dataclass(frozen=True, kw_only=True, slots=True)
class Enclosure:
    """A named construct."""

    chain: tuple[str, ...]
    """The names of the constructs around it, from the outermost inwards, and its own."""
    span: Span


@lru_cache(maxsize=8)
def enclosures(text: str, language: str, path: str) -> tuple[Enclosure, ...]:
    """Return the named constructs of a file, the whole file first.

    A file whose language has none, or that cannot be read, is one construct.
    """
    if language == "text":
        language = language_of(path)
    try:
        found = sorted(_named(text, language, path), key=lambda each: (each[1][0], -each[1][1]))
    except PatchConflictError:
        found = []
    made = [Enclosure(chain=(), span=(0, len(text)))]
    around: list[Enclosure] = []
    for name, span in found:
        while around and not (around[-1].span[0] <= span[0] and span[1] <= around[-1].span[1]):
            around.pop()
        chain = (*(around[-1].chain if around else ()), name)
        around.append(Enclosure(chain=chain, span=span))
        made.append(around[-1])
    return tuple(made)


def enclosure_at(text: str, place: int, language: str, path: str) -> Enclosure:
    """Return the innermost named construct around a place."""
    around = [
        each for each in enclosures(text, language, path) if each.span[0] <= place < each.span[1]
    ]
    whole = Enclosure(chain=(), span=(0, len(text)))
    return max(around, key=lambda each: len(each.chain), default=whole)


def _named(text: str, language: str, path: str) -> Iterator[tuple[str, Span]]:
    match language:
        case "python" | "c" | "cpp" | "rust" | "bash":
            yield from _of_grammar(text, language)
        case "cmake":
            yield from _of_cmake(text)
        case "meson":
            yield from _of_meson(text)
        case "yaml" | "json":
            for top in read(text, language).documents:
                yield from _of_value(text, top)
        case "toml":
            yield from _sections(text, _TABLE)
        case "text":
            for name, pattern in _HEADS.items():
                if re.search(name, PurePosixPath(path).name):
                    yield from _sections(text, pattern)


_SPACES = ("namespace_definition", "mod_item")


def _of_grammar(text: str, language: str) -> Iterator[tuple[str, Span]]:
    grammar = GRAMMARS[language]
    fields = {**grammar.functions, **grammar.classes}
    if language in {"cpp", "rust"}:
        fields |= dict.fromkeys(_SPACES[:1] if language == "cpp" else _SPACES[1:], "name")
    rule: dict[str, object] = {"any": [{"kind": kind} for kind in fields]}
    for node in search(root_of(text, language), rule):
        yield _name_of(node, fields[node.kind()]), span_of(node)


def _name_of(node: SgNode, field: str) -> str:
    holder = node.field(field)
    said = "" if holder is None else holder.text()
    # A declarator has its name before its parameters.
    called = re.search(r"[\w:~]+(?=\s*\()", said)
    return f"{node.kind().partition('_')[0]} {called[0] if called else ' '.join(said.split())}"


_CONTROL = re.compile(r"(?:end)?(?:if|foreach|while|function|macro|block)$|else(?:if)?$|return$")
_LISTS = frozenset({"list", "string", "file"})
"""Commands of CMake whose first word says what they do, and whose second one to what."""


def _of_cmake(text: str) -> Iterator[tuple[str, Span]]:
    opened: list[tuple[str, int]] = []
    for start, said in commands(text):
        word, _, rest = said.partition("(")
        name, words = word.strip().casefold(), re.findall(r"[^\s()]+", rest)
        end = start + len(said)
        if name in {"function", "macro"} and words:
            opened.append((f"{name} {words[0].casefold()}", start))
        elif name in {"endfunction", "endmacro"} and opened:
            yield opened[-1][0], (opened.pop()[1], end)
        elif not _CONTROL.match(name) and len(words) > 1:
            first = words[1] if name in _LISTS else words[0]
            yield f"{name} {first if re.match(r'[A-Za-z_$]', first) else ''}", (start, end)


def _of_meson(text: str) -> Iterator[tuple[str, Span]]:
    for start, said in statements(text):
        found = re.match(r"(?:\w+\s*=\s*)?(\w+)\s*\(\s*'([^']*)'", said)
        if found is not None:
            yield f"{found[1]} {found[2]}", (start, start + len(said))


_NAMING = ("name", "id", "key")
"""Keys by which an item of a list is known."""


def _of_value(text: str, value: Value) -> Iterator[tuple[str, Span]]:
    """Yield the mappings and lists below a value."""
    todo = [value]
    while todo:
        holder = todo.pop()
        for entry in holder.entries:
            if entry.value.kind not in {Kind.MAPPING, Kind.SEQUENCE} or entry.start < 0:
                continue
            name = entry.name if holder.kind is Kind.MAPPING else _name_of_item(text, entry.value)
            yield str(name), (entry.start, max(entry.end, entry.value.end))
            todo.append(entry.value)


def _name_of_item(text: str, item: Value) -> str:
    said = {
        entry.name: text[entry.value.start : entry.value.end]
        for entry in item.entries
        if entry.value.kind is Kind.SCALAR
    }
    return next((said[name] for name in _NAMING if name in said), "*")


_TABLE = re.compile(
    r"^[ \t]*\[{1,2}[ \t]*([^\[\]\n]+?)[ \t]*\]{1,2}[ \t]*(?:#.*)?\r?$", re.MULTILINE
)
_HEADS = {
    r"\.(?:toml|cfg|ini|conf|service|flake8)$|^Pipfile$": _TABLE,
    r"(?i)^(?:docker|container)file|\.dockerfile$": re.compile(
        r"^[ \t]*FROM[ \t]+(?:--\S+[ \t]+)*(?:\S+[ \t]+AS[ \t]+(\w\S*)|([^\s:@]+))",
        re.MULTILINE | re.IGNORECASE,
    ),
    r"(?i)makefile|\.mk$": re.compile(r"^([\w.%/$()-][^:=#\n]*?)[ \t]*:(?!=)", re.MULTILINE),
}
"""How the sections of a file begin, by the name of the file."""


def _sections(text: str, head: re.Pattern[str]) -> Iterator[tuple[str, Span]]:
    found = [*head.finditer(text)]
    ends = [*(each.start() for each in found), len(text)][1:]
    for each, end in zip(found, ends, strict=True):
        name = next(group for group in each.groups() if group is not None)
        yield " ".join(name.split()), (each.start(), end)
