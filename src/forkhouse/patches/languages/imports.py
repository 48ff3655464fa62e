"""Find, compare and add imports of Python, `use` of Rust and includes of C.

They are found in the tree, compared by their meaning, and added where such lines stand.
"""

from __future__ import annotations

import ast
import re
import warnings
from dataclasses import dataclass, replace
from textwrap import dedent
from typing import TYPE_CHECKING

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches.backends import Parts, indentation, line_end, newline_at
from forkhouse.patches.languages.astgrep import node_of
from forkhouse.patches.languages.constructs import above
from forkhouse.patches.languages.docstrings import is_text
from forkhouse.patches.languages.masking import blanked
from forkhouse.patches.languages.trees import root_of, search, span_of

if TYPE_CHECKING:
    from ast_grep_py import SgNode

    from forkhouse.patches.backends import Node

_KINDS = {
    "python": ("import_statement", "import_from_statement", "future_import_statement"),
    "rust": ("use_declaration",),
    "c": ("preproc_include",),
    "cpp": ("preproc_include",),
}
_INNER_INCLUDE = {"kind": "preproc_call", "regex": r"^#[ \t]*include[ \t]*[<\"]"}
"""The form that the grammar of C gives to an include within an enumeration or a structure."""
_DEFINITIONS = frozenset(
    {
        "function_definition",
        "class_definition",
        "decorated_definition",
        "function_item",
        "impl_item",
        "struct_item",
        "enum_item",
        "trait_item",
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportLine:
    """An import, by its span without what stands around it."""

    node: Node
    meaning: str
    top: bool
    """Whether it applies to the whole file, and is not in a function or under a condition."""
    names: tuple[str, ...] = ()
    """For an import of several names, the meaning of an import of each name alone."""
    parts: Parts | None = None
    """In Python, the spans of those names, in the same order."""

    @property
    def meanings(self) -> set[str]:
        """The meaning of the whole import and of each of its names."""
        return {self.meaning, *self.names}


def imports(text: str, language: str, *, include: bool) -> list[ImportLine]:
    """Return the imports of a file.

    Raises PatchConflictError for a language that has no imports of this kind.
    """
    _check(language, include=include)
    rule: dict[str, object] = {
        "any": [
            *({"kind": kind} for kind in _KINDS[language]),
            *([_INNER_INCLUDE] if include else []),
        ]
    }
    root = root_of(text, language)
    level = _guarded(root) if include else root
    lines = []
    for node in search(root, rule):
        start, end = _span(node, text)
        parent = node.parent()
        top = (
            parent is not None and parent.kind() == level.kind() and parent.range() == level.range()
        )
        above_it = node.prev()
        if above_it is not None and re.match(r"#\s*\[\s*cfg\b", above_it.text()):
            top = False  # it is there under a condition
        place = replace(node_of(node, language, text), start=start, end=end)
        names, parts = _names(node, text[start:end], language)
        lines.append(
            ImportLine(
                node=place,
                meaning=meaning(text[start:end], language),
                top=top,
                names=names,
                parts=parts,
            )
        )
    return lines


def _names(node: SgNode, said: str, language: str) -> tuple[tuple[str, ...], Parts | None]:
    if language == "rust":
        paths = _paths(" ".join(said.split()))
        names = tuple(meaning(f"use {path};", language) for path in paths)
        return (names if names != (meaning(said, language),) else ()), None
    found = node.field_children("name") if language == "python" else []
    if len(found) < 2:  # one is the whole
        return (), None
    module = node.field("module_name")
    head = "import" if module is None else f"from {module.text()} import"
    children = node.children()
    opened = next(
        (
            child
            for child in reversed(children)
            if child.text() in {"(", "import"} and not child.is_named()
        ),
        children[0],
    )
    parts = Parts(
        spans=tuple(span_of(name) for name in found),
        start=opened.range().end.index,
        end=span_of(node)[1],
        commas=tuple(child.range().start.index for child in children if child.text() == ","),
    )
    return tuple(meaning(f"{head} {name.text()}", language) for name in found), parts


def _paths(use: str) -> list[str]:
    """Return each single path that a `use` of Rust brings, with its groups resolved."""
    tree = re.sub(r"^(?:pub(?:\([^)]*\))? )?use |;$", "", use).strip()
    groups = [("", "")]
    paths = []
    for piece in re.findall(r"[{},]|[^{},]+", tree):
        prefix, last = groups[-1]
        if piece == "{":
            groups.append((prefix + last, ""))
            continue
        if piece in {",", "}"}:
            if last.strip():
                paths.append(
                    (prefix + last).replace(" ", "")
                    if " as " not in last
                    else (prefix + last).strip()
                )
            groups[-1] = (prefix, "")
            if piece == "}":
                groups.pop()
                groups[-1:] = [(groups[-1][0], "")] if groups else [("", "")]
            continue
        groups[-1] = (prefix, piece.strip())
    if groups[-1][1].strip():
        paths.append(groups[-1][1])
    return paths


_TARGET = re.compile(r"#[ \t]*include[ \t]*(<[^>\n]*>|\"[^\"\n]*\"|\S+)")


def unread_includes(text: str, language: str) -> set[str]:
    """Return the meanings of lines that look like includes, and are none to the grammar.

    Comments are left out.
    """
    known = [(line.node.start, line.node.end) for line in imports(text, language, include=True)]
    known += [span_of(node) for node in search(root_of(text, language), {"kind": "comment"})]
    # A compiler takes a comment between the words of a directive for a blank.
    plain = re.sub(
        r"^[ \t]*#.*/\*.*",
        lambda line: re.sub(r"/\*.*?\*/", lambda comment: blanked(comment[0]), line[0]),
        text,
        flags=re.MULTILINE,
    )
    return {
        meaning(each[1], language)
        for each in re.finditer(rf"^[ \t]*({_TARGET.pattern})", plain, re.MULTILINE)
        if not any(start <= each.start(1) < end for start, end in known)
    }


def _check(language: str, *, include: bool) -> None:
    if (language in {"c", "cpp"}) is not include or language not in _KINDS:
        what, has = ("include", "c and cpp") if include else ("import", "python and rust")
        message = f"`{what}` is for {has}; {language} has none."
        raise PatchConflictError(message)


def _span(node: SgNode, text: str) -> tuple[int, int]:
    start, end = span_of(node)
    if node.field("path") is None and (inner := _TARGET.match(text[start:end])) is not None:
        end = start + inner.end()
    return start, start + len(text[start:end].rstrip())


def meaning(line: str, language: str) -> str:
    """Return the meaning of an import: a form that is equal for every layout of it."""
    if language == "python":
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return ast.dump(ast.parse(dedent(line)))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return " ".join(line.split())
    words = " ".join(line.split())
    if language == "rust":
        return re.sub(r" ?([{},;]) ?", r"\1", words).replace(",}", "}")
    target = _TARGET.match(words)
    return f"#include {target[1]}" if target else words


def addition(text: str, new: str, language: str, *, include: bool) -> tuple[int, int, str]:
    """Return where a new import goes, and its line.

    It goes behind the last import at the head of the file, or where the first one would stand.
    """
    _check(language, include=include)
    new = new.strip("\n")
    first, last = _head(root_of(text, language), language, future=new.startswith("from __future__"))
    if include and last is None:
        # What a header is asked for by a macro is asked before it is read: `#define _GNU_SOURCE 1`.
        while first is not None and first.kind() == "preproc_def":
            last, first = first, first.next()
    newline = newline_at(text, (last or first or root_of(text, language)).range().start.index)
    new = new.replace("\n", newline)
    if last is not None:
        at = line_end(text, max(_span(last, text)[1], 0))
        return at, at, f"{newline}{new}"
    if first is None:
        gap = newline if text and not text.endswith("\n") else ""
        return len(text), len(text), f"{gap}{new}{newline}"
    start = first.range().start.index
    over = above(first, start, text)
    start = start if over is None else over
    spaces = indentation(text, start)
    if spaces is None:  # behind something on its line, which only a file of one line has
        return start, start, f"{new}{newline}"
    return start - len(spaces), start - len(spaces), f"{new}{newline}{newline}"


def _head(root: SgNode, language: str, *, future: bool) -> tuple[SgNode | None, SgNode | None]:
    """Return the node before which an import goes, and the last import at the file's head.

    In place of the last import, this may be another line that an import goes behind. Each is None
    where there is none.
    """
    level = _guarded(root) if language in {"c", "cpp"} else root
    name = level.field("name")
    last = first = None
    for child in level.children():
        kind = child.kind()
        if not child.is_named() or (name is not None and child.range() == name.range()):
            continue
        if kind in _KINDS[language]:
            if future and kind != "future_import_statement":
                first = first or child
                break
            last = child
        elif kind in _DEFINITIONS:
            first = first or child
            break
        elif first is None and not _is_preamble(child, language) and not _defines(child, name):
            first = child
            if future:
                break
    if first is not None and last is None:
        first = _with_attributes(first)
    return first, last


def _is_preamble(node: SgNode, language: str) -> bool:
    """Say whether imports go behind a node.

    Such a node is a comment about the file, its docstring, or its include guard.
    """
    kind = node.kind()
    if language == "python":
        return kind == "comment" or is_text(node)
    if language == "rust":
        outer = node.text().startswith(("///", "/**"))
        return kind == "inner_attribute_item" or (kind.endswith("comment") and not outer)
    return (
        kind == "comment"
        or (kind == "preproc_call" and "pragma" in node.text())
        or (kind == "preproc_def" and node.field("value") is None)
    )


def _with_attributes(node: SgNode) -> SgNode:
    previous = node.prev()
    while previous is not None and previous.kind() == "attribute_item":
        node, previous = previous, previous.prev()
    return node


def _guarded(root: SgNode) -> SgNode:
    """Return the node whose children are the lines of a C file.

    This is the include guard if there is one around the whole file.
    """
    named = [child for child in root.children() if child.is_named() and child.kind() != "comment"]
    return named[0] if len(named) == 1 and _is_guard(named[0]) else root


def _is_guard(node: SgNode) -> bool:
    """Say whether a condition only prevents a second inclusion of the file.

    Such a condition tests a name and defines it at once.
    """
    if (
        node.kind() != "preproc_ifdef"
        or not re.match(r"#[ \t]*ifndef\b", node.text())
        or node.field("alternative") is not None
    ):
        return False
    name, *inner = [
        child for child in node.children() if child.is_named() and child.kind() != "comment"
    ]
    return bool(inner) and _defines(inner[0], name)


def _defines(node: SgNode, name: SgNode | None) -> bool:
    """Say whether a line defines the name that a condition tests."""
    mark = node.field("name") if node.kind() == "preproc_def" else None
    return mark is not None and name is not None and mark.text() == name.text()
