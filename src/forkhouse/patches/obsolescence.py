"""Find what is left of the code that a patch was about, if the patch no longer finds it.

A patch whose target is not in its file has lost it only if that code is gone, and not if it was
renamed, rewritten or moved. So each target is traced to the stretch of code around it at the pin:
the definition that it is in, the table that a key belongs to, or the lines up to the next empty
ones. Such a stretch is known by its name and by the lines that only it had. A stretch without a
name, or with too few lines of its own, proves nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches.arrival import came_about
from forkhouse.patches.backends import backend, language_of, line_end, line_start
from forkhouse.patches.edits import (
    Selector,
    allows,
    target,
)
from forkhouse.patches.elsewhere import stays
from forkhouse.patches.finding import find
from forkhouse.patches.keypaths import key_steps
from forkhouse.patches.languages.grammars import GRAMMARS
from forkhouse.patches.languages.trees import root_of, search
from forkhouse.patches.merging import LIKENESS
from forkhouse.patches.spellings import MEANINGFUL

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from forkhouse.patches.backends import Span
    from forkhouse.patches.edits import FileEdit, Operation

ENOUGH = 40
"""The number of letters and digits that only a stretch has, below which it proves nothing.

`git blame -C` uses the same number.
"""
LEFT = 0.05
"""The share of a stretch's own lines from which on it counts as alive without its name.

Of 938 functions that went between two releases of a large upstream, whose files stayed, a third lie
below this share and have no continuation. Above it, moved and rewritten code begins.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """A piece of code at the pin that a patch is about."""

    path: str
    language: str
    what: str
    """The name of the stretch, for a person."""
    place: str
    """The path of its file now; empty if the file is gone as well."""
    lines: frozenset[bytes]
    """The lines that the rest of its file does not have."""
    patched: frozenset[bytes]
    """For code without a name, the lines that the patch itself changes."""
    words: frozenset[bytes]
    """For code without a name, the words that the rest of its file does not have."""
    name: str = ""
    """The name of a definition."""
    kind: str = ""
    """The field of a selector that finds such a definition."""
    outer: str = ""
    """The name of the class that holds the definition."""
    namesakes: int = 0
    """The number of other definitions of that name in its file."""

    def is_gone_from(self, text: str) -> bool:
        """Say whether the file that it was in has nothing of it any more."""
        content = text.encode()
        if self._share(_lines(content)) >= LEFT or self.words & _words(content):
            return False
        return (
            not self.name
            or len(_definitions(text, self.kind, self.name, self.language)) <= self.namesakes
        )

    def fits(self, path: str) -> bool:
        """Say whether a path is not that of its own file, so that the code may have come there.

        Files of all kinds count: a template, a notebook or a text can hold code as well.
        """
        return path not in {self.path, self.place}

    def is_of_kind(self, path: str) -> bool:
        """Say whether a file is another one of the same language, by its name."""
        one, other = language_of(self.path), language_of(path)
        same = {one, other} <= {"c", "cpp"} or (
            one == other and (one != "text" or path.endswith(PurePosixPath(self.path).suffix))
        )
        return same and self.fits(path)

    def came_to(self, old: bytes, new: bytes) -> bool:
        """Say whether the stretch, or code of its name, came to another file between two states."""
        if b"\0" in new:
            return False
        there = _lines(new) | _quoted_lines(new)
        if self._is_like(there) and self._is_like(there - _lines(old) - _quoted_lines(old)):
            return True
        return self._defined(new) + self._assigned(new) > self._defined(old) + self._assigned(old)

    def _is_like(self, lines: AbstractSet[bytes]) -> bool:
        # If the whole file is gone and git finds no rename, git's own threshold for files counts.
        return self._share(lines) >= (
            LEFT if self.place else LIKENESS / 100
        ) or not self.patched.isdisjoint(lines)

    def _share(self, lines: AbstractSet[bytes]) -> float:
        """Return the share of its lines, by length, that are among given lines."""
        return sum(map(len, self.lines & lines)) / max(1, sum(map(len, self.lines)))

    def _assigned(self, content: bytes) -> int:
        """Return how often a value is assigned to its name.

        A function may have become a variable that holds one.
        """
        if not self.name or self.kind != "function":
            return 0
        return len(
            re.findall(
                rb"(?m)^[ \t]*(?:\w+[ \t]+)*"
                + re.escape(self.name.encode())
                + rb"[ \t]*(?::[^=\n]*)?=(?!=)",
                content,
            )
        )

    def _defined(self, content: bytes) -> int:
        if not self.name or self.name.encode() not in content:
            return 0
        text = content.decode("utf-8", errors="replace")
        found = _definitions(text, self.kind, self.name, self.language)
        if not self.outer:
            return len(found)
        holders = _definitions(text, "class_", self.outer, self.language)
        return sum(
            any(start <= inner and end <= outer for start, outer in holders) for inner, end in found
        )


def _quoted_lines(content: bytes) -> set[bytes]:
    """Return the text in quotes on lines of its own, as in the JSON of a notebook."""
    found = re.findall(rb'(?m)^[ \t]*"((?:[^"\\\n]|\\.)*)",?\r?$', content)
    return {
        line.replace(b'\\"', b'"').replace(b"\\\\", b"\\").removesuffix(b"\\n").strip()
        for line in found
    }


def _lines(content: bytes) -> set[bytes]:
    """Return the lines of a text without their indentation."""
    return {line.strip() for line in content.split(b"\n")}


def _telling(content: bytes) -> frozenset[bytes]:
    """Return the lines that have a meaning."""
    return frozenset(line for line in _lines(content) if _weight(line) >= MEANINGFUL)


def _weight(line: bytes) -> int:
    return len(re.sub(rb"\W", b"", line))


def _words(content: bytes) -> frozenset[bytes]:
    return frozenset(re.findall(rb"[^\W\d]\w{2,}", content))


@dataclass(frozen=True, kw_only=True, slots=True)
class Course:
    """A file that a patch changes, and what became of it."""

    path: str
    before: str
    """The text that the patch was made for."""
    origin: str
    """The text at the pin, without our earlier patches."""
    place: str = ""
    """The path on the new base; empty if the file is gone."""
    now: str = ""


def of_edit(edit: FileEdit, file: Course) -> list[Stretch] | None:
    """Return the code that the operations of an edit were about and that their file lost.

    Returns None if the file has some of it, or may have.
    """
    found: list[Stretch] = []
    for operation in edit.operations:
        if file.place and stays(file.before, file.now, operation, edit.language):
            return None
        if file.place and (
            came_about(file.before, file.now, operation, edit.language)
            or _may_rest(file.now, operation, edit.language)
        ):
            continue
        places = _places(operation, edit.language, file)
        made = of_places(places, file, edit.language) if places else None
        if made is None:
            return None
        found += made
    return found


def of_places(
    places: Sequence[tuple[Span, Span | None]], file: Course, language: str = "text"
) -> list[Stretch] | None:
    """Do the same as `of_edit` for places in the text that the patch was made for.

    Each place may come with the span of the table that it belongs to.
    """
    made = []
    for place, table in places:
        stretch = _stretch(
            file, place, table, language_of(file.path) if language == "text" else language
        )
        if file.place and (
            sum(map(_weight, stretch.lines)) < ENOUGH or not stretch.is_gone_from(file.now)
        ):
            return None
        made.append(stretch)
    return made


def _may_rest(now: str, operation: Operation, language: str) -> bool:
    """Say whether an operation finds nothing, and is allowed to find nothing."""
    selector = target(operation)
    try:
        return (
            allows(operation.count, 0)
            and selector is not None
            and not find(now, selector, language)
        )
    except PatchConflictError:
        return False


def _places(operation: Operation, language: str, file: Course) -> list[tuple[Span, Span | None]]:
    """Return what an operation matched at the pin, if nothing of the kind matches any more.

    The result is empty if that is not known.
    """
    selector = target(operation)
    if selector is None:
        return []
    if selector.key is not None:
        return _keys(selector.key, language, file)
    bare = selector.model_copy(update={"within": None})
    try:
        nodes = find(file.before, selector, language)
        # Matches outside of the scope were never meant, so only their number counts.
        if file.place and len(find(file.now, bare, language)) > len(
            find(file.before, bare, language)
        ) - len(nodes):
            return []
    except PatchConflictError:
        return []
    return [((node.start, node.end), None) for node in nodes]


def _keys(path: str, language: str, file: Course) -> list[tuple[Span, Span | None]]:
    """Return the table that a key was in, if that table is gone."""
    *parents, _ = re.findall(r'"[^"]*"|[^.]+', path)
    table = _table(file.before, parents, language)
    return (
        [(table, table)]
        if table is not None and _table(file.now, parents, language) is None
        else []
    )


def _table(text: str, steps: Sequence[str], language: str) -> Span | None:
    if not steps:
        return None
    if language != "toml":
        try:
            nodes = find(text, Selector(key=".".join(steps)), language)
        except PatchConflictError:
            return None
        return (line_start(text, nodes[0].start), nodes[0].end) if nodes else None
    for header in re.finditer(
        r"^[ \t]*\[([^\[\]\n]+)\].*\n(?:(?![ \t]*\[).*\n)*", text, re.MULTILINE
    ):
        if key_steps(header[1].replace(" ", "")) == key_steps(".".join(steps)):
            return header.span()
    return None


def _stretch(file: Course, place: Span, table: Span | None, language: str) -> Stretch:
    text = file.before
    name, kind, outer, namesakes = "", "", "", 0
    what = f"the code around line {text.count(chr(10), 0, place[0]) + 1}"
    span = table
    scopes = list(_scopes(text, place, language)) if span is None else []
    if scopes:
        kind, name, span = scopes[-1]
        outer = next((holder for each, holder, _ in reversed(scopes[:-1]) if each == "class_"), "")
        namesakes = len(_definitions(text, kind, name, language)) - 1
        what = f"{kind.rstrip('_')} {name}"
    start, end = span or _paragraph(text, *place)
    inside, outside = text[start:end].encode(), f"{text[:start]}\n{text[end:]}".encode()
    changed = text[line_start(text, place[0]) : line_end(text, place[1])].encode()
    return Stretch(
        path=file.path,
        language=language,
        what=f"{what} of {file.path}",
        place=file.place,
        # Lines that our earlier patches added say nothing about the upstream.
        lines=(_telling(inside) - _telling(outside)) & _telling(file.origin.encode()),
        patched=frozenset() if name or table else _telling(changed),
        words=frozenset() if name else _words(inside) - _words(outside),
        name=name,
        kind=kind,
        outer=outer,
        namesakes=namesakes,
    )


def _paragraph(text: str, start: int, end: int) -> Span:
    """Widen a span to the empty lines around it."""
    before = [match.end() for match in re.finditer(r"^[ \t\r]*\n", text[:start], re.MULTILINE)]
    after = re.compile(r"\n[ \t\r]*(?=\n|\Z)").search(text, len(text[:end].rstrip()))
    return (before[-1] if before else 0), (after.start() if after else len(text))


def _scopes(text: str, place: Span, language: str) -> Iterator[tuple[str, str, Span]]:
    """Yield the definitions around a place, the outermost first.

    Each comes with the field of a selector for it, its name and its span.
    """
    grammar = GRAMMARS.get(language)
    if grammar is None:
        return
    try:
        root = root_of(text, language)
    except PatchConflictError:
        return
    found = []
    for kind, nodes in (("function", grammar.functions), ("class_", grammar.classes)):
        for node in [node for each in nodes for node in search(root, {"kind": each})]:
            span = (node.range().start.index, node.range().end.index)
            holder = node.field(nodes[node.kind()])
            if holder is None or not (span[0] <= place[0] and place[1] <= span[1]):
                continue
            # A declarator has its name before its parameters. In Rust, an implementation for a type
            # is selected by `impl`.
            said = re.search(r"[\w:~]+(?=\s*\()", holder.text()) if kind == "function" else None
            name = (
                said[0]
                if said
                else f"{'impl ' if node.kind() == 'impl_item' else ''}{holder.text()}"
            )
            if span in _definitions(text, kind, name, language):
                found.append((kind, name, span))
    yield from sorted(found, key=lambda each: (each[2][0], -each[2][1]))


def _definitions(text: str, kind: str, name: str, language: str) -> list[Span]:
    try:
        nodes = backend(language).find(text, Selector.model_validate({kind: name}), language)
    except PatchConflictError:
        return []
    return [(node.start, node.end) for node in nodes]
