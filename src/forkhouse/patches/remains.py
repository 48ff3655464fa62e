"""Find code that a patch takes out and that the upstream only moved or renamed.

Such code is gone from its place, but not from the tree, so the upstream did not do what the patch
does. It is known by its lines: those that the patch takes out of a file and puts nowhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from forkhouse.patches import merging
from forkhouse.patches.backends import faults, is_blank, language_of
from forkhouse.patches.encodings import readable
from forkhouse.patches.languages.trees import faulty_nodes, root_of, span_of
from forkhouse.patches.merging import LIKENESS
from forkhouse.patches.obsolescence import ENOUGH, LEFT
from forkhouse.patches.spellings import MEANINGFUL, bare, weight

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from forkhouse.patches.diffs import Part
    from forkhouse.patches.elsewhere import TakenPart
    from forkhouse.sources.store import ObjectStore

_COMMON = 4
"""The number of files with a line from which on that line says nothing."""


Line = tuple[str, str]
"""A line without layout, and as it is written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TakenLines:
    """Neighbouring lines that a patch takes out of a file."""

    path: str
    lines: tuple[Line, ...]
    beside: tuple[str, str] = ("", "")
    """The nearest lines with words above and below; empty where the file begins or ends."""

    def share(self, found: Iterable[Line]) -> float:
        """Return the share of the lines, by length, that some of them have."""
        return sum(map(_weight, found)) / max(1, sum(map(_weight, self.lines)))

    def rests_with(self, found: Iterable[Line]) -> bool:
        """Say whether its own file, which has some of the lines still or again, has the code."""
        return self.share(found) >= LEFT

    def came_with(self, found: Sequence[Line]) -> bool:
        """Say whether another file, to which some of the lines came, has the code now."""
        total = sum(map(_weight, found))
        return any(_DEFINES.match(line) for _, line in found) or (
            total >= 2 * MEANINGFUL and (self.share(found) >= LIKENESS / 100 or total >= 2 * ENOUGH)
        )


_DEFINES = re.compile(
    r"(?:(?:async|pub|static|inline)\s+)*(?:def|class|fn|function"
    r"|macro)\b\s*\(?\s*(?!_)\w{5,}(?!.*\bself\b)"
)
"""The first line of a definition with a name of its own, which no method has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Folded:
    """A text without layout, by lines and as a whole."""

    lines: frozenset[str]
    whole: str

    @classmethod
    def of(cls, text: str, path: str) -> _Folded:
        """Fold a text; the lines that are comments are left out of the whole."""
        language = language_of(path)
        code = "".join(line for line in text.splitlines() if not is_blank(line, language))
        return cls(lines=frozenset(folded_lines(text)), whole=_squeezed(code))

    def has(self, line: Line) -> bool:
        """Say whether a line is there, or a long one as a part of others."""
        return line[0] in self.lines or (
            _weight(line) >= 2 * MEANINGFUL and _squeezed(line[1]) in self.whole
        )


def _squeezed(text: str) -> str:
    """Return a text without white space, quotes, backslashes and commas before a bracket."""
    return re.sub(r",(?=[)\]}])", "", re.sub(r"[\s\"'`\\]", "", text)).rstrip(",;{}")


def _weight(line: Line) -> int:
    return weight(line[0])


def folded(line: str) -> str:
    """Return a line without white space and quotes, and without the signs at its end."""
    return re.sub(r"[\s\"'`]", "", line).rstrip(",;{}\\")


def folded_lines(text: str) -> dict[str, str]:
    """Return the lines of a text that have a meaning, by their text without layout."""
    lines = ((folded(line), line.strip()) for line in text.splitlines())
    return {short: line for short, line in lines if weight(short) >= MEANINGFUL}


@dataclass(frozen=True, kw_only=True, slots=True)
class Remains:
    """Looks in trees of one upstream for what patches take out."""

    store: ObjectStore
    _taken: dict[tuple[str, str], tuple[TakenLines, ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """What a patch takes out, by the trees before and after it at the pin."""
    _came: dict[tuple[TakenLines, str, str], str] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """The line of such code that a file got, by the ids of its content at the pin and now."""
    _got: dict[tuple[TakenPart, str, str], bool] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """Whether a file got such a part, by the ids of its content at the pin and now."""
    _rest: dict[tuple[TakenLines, str, str], str] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """The line of such code that its own file has, by the id of the content of that."""
    _ill: dict[tuple[object, ...], bool] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """Whether a file is no longer well formed, by the ids of its content at the pin and now."""
    _common: dict[tuple[str, str, str], bool] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """Whether a line stands in many files of a tree."""

    def taken(self, before: str, after: str) -> tuple[TakenLines, ...]:
        """Return what a patch takes out, by the trees before and after it."""
        if (before, after) not in self._taken:
            parts = merging.parts_between(before, after, store=self.store).parts
            # What the patch itself puts elsewhere is not taken out.
            kept = {
                short
                for part in parts
                if part.binary is None
                for short in folded_lines(self._text(after, part.new))
            }
            self._taken[before, after] = tuple(
                TakenLines(path=part.old, lines=lines, beside=beside)
                for part in parts
                for run, beside in _runs(part, self._text(before, part.old))
                for lines in [tuple(pair for pair in run.items() if pair[0] not in kept)]
                if lines
            )
        return self._taken[before, after]

    def rest_in(self, taken: TakenLines, tree: str, place: str, origin: str) -> str:
        """Return a line of the code that stands in the file of the code itself, or nothing.

        `place` is the path of that file in `tree`. `origin` is the tree of the pin.
        """
        entry = self.store.entry(tree, place)
        key = (taken, "" if entry is None else entry.blob, origin)
        if key not in self._rest:
            now = folded_lines(self._text(tree, place))
            found = [pair for pair in taken.lines if pair[0] in now]
            found = self._rare(found, taken, origin) if taken.rests_with(found) else []
            self._rest[key] = now[found[0][0]] if found and taken.rests_with(found) else ""
        return self._rest[key]

    def is_ill_formed(
        self,
        old: tuple[str, str],
        new: tuple[str, str],
        language: str,
        places: tuple[TakenLines, ...],
    ) -> bool:
        """Say whether a grammar no longer reads a file where something was taken out.

        `old` and `new` are the tree and path of the file at the pin and now.
        """
        there, here = self.store.entry(*old), self.store.entry(*new)
        key = (there and there.blob, here and here.blob, language, places)
        if key not in self._ill:
            self._ill[key] = ill_formed(self._text(*old), self._text(*new), language, places)
        return self._ill[key]

    def came_to(self, taken: TakenLines, path: str, contents: tuple[str, str], origin: str) -> str:
        """Return a line of the code that came to another file, or nothing.

        `contents` are the ids of the content of that file at the pin (if any) and now.
        """
        key = (taken, *contents)
        if key not in self._came:
            found = self._arrived(taken, path, contents)
            found = self._rare(found, taken, origin) if taken.came_with(found) else []
            self._came[key] = found[0][1] if found and taken.came_with(found) else ""
        return self._came[key]

    def got(self, part: TakenPart, path: str, contents: tuple[str, str], origin: str) -> bool:
        """Say whether another file got an argument or item that a patch takes out of its own."""
        key = (part, *contents)
        if key not in self._got:
            old, new = (self.store.raw(each) if each else b"" for each in contents)
            self._got[key] = (
                _longest(part.said) in new
                and part.came_to(readable(old, path=path), readable(new, path=path))
                and not self.is_common(bare(part.said), part.language, origin)
            )
        return self._got[key]

    def _arrived(self, taken: TakenLines, path: str, contents: tuple[str, str]) -> list[Line]:
        old, new = (self.store.raw(each) if each else b"" for each in contents)
        # Most files have not even the words of the code, and need not be read line by line.
        if not taken.came_with([pair for pair in taken.lines if _longest(pair[1]) in new]):
            return []
        before, now = (_Folded.of(readable(each, path=path), path) for each in (old, new))
        return [pair for pair in taken.lines if now.has(pair) and not before.has(pair)]

    def _rare(self, found: list[Line], taken: TakenLines, origin: str) -> list[Line]:
        """Return the lines that few other files have: many have `except ImportError:`."""
        language = language_of(taken.path)
        return [pair for pair in found if not self.is_common(pair[1], language, origin)]

    def is_common(self, line: str, language: str, origin: str) -> bool:
        """Say whether many files of a language have a line, so that it says nothing."""
        key = (line, language, origin)
        if key not in self._common:
            there = (
                line.encode() in self.store.content(entry)
                for path in self.store.paths(origin)
                if language_of(path) == language
                for entry in [self.store.entry(origin, path)]
                if entry is not None
            )
            self._common[key] = len([*islice(filter(None, there), _COMMON)]) == _COMMON
        return self._common[key]

    def _text(self, tree: str, path: str) -> str:
        entry = self.store.entry(tree, path)
        return "" if entry is None else readable(self.store.content(entry), path=path)


def _longest(line: str) -> bytes:
    """Return the longest word of a line."""
    return max(re.findall(r"\w+", line), key=len, default="").encode()


def _runs(part: Part, text: str) -> Iterator[tuple[dict[str, str], tuple[str, str]]]:
    """Yield the neighbouring lines that a part of a diff removes from a text, without comments.

    Each comes with the lines above and below.
    """
    lines = text.split("\n")
    language = language_of(part.old)
    for hunk in part.hunks:
        for start, stop, _ in hunk.removals():
            first, end = (hunk.old_start - 1 + each for each in (start, stop))
            run = [line for line in lines[first:end] if not is_blank(line, language)]
            beside = _nearest(reversed(lines[:first])), _nearest(iter(lines[end:]))
            yield folded_lines("\n".join(run)), beside


def _nearest(lines: Iterator[str]) -> str:
    return next((line.strip() for line in lines if re.search(r"\w", line)), "")


def ill_formed(before: str, now: str, language: str, places: Iterable[TakenLines]) -> bool:
    """Say whether a grammar cannot read a file any more where something was taken out.

    What it does not read may be anything. The grammars of C and the shell fail at sound code as
    well, such as macros, so for them only faults at that very place count.
    """
    count = faults(now, language)
    # Python's own parser is counted as one, and may just be older than the code.
    if count <= max(faults(before, language), language == "python"):
        return False
    return language not in _LOOSE or any(_is_faulty(now, language, each) for each in places)


_LOOSE = frozenset({"c", "cpp", "bash"})


def _is_faulty(text: str, language: str, taken: TakenLines) -> bool:
    """Say whether a grammar cannot read the text between the neighbours of what was taken out."""
    above, below = taken.beside
    start = max(text.find(above), 0)
    end = text.find(below, start) if below else -1
    stop = len(text) if end < 0 else end + len(below)
    spans = (span_of(node) for node in faulty_nodes(root_of(text, language)))
    return any(first <= stop and start <= last for first, last in spans)
