"""Find what an operation takes out of a file at another place of that file, or by another name.

What an upstream moved or renamed is not gone.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches.backends import is_blank, line_end, line_start
from forkhouse.patches.edits import (
    CodeOperation,
    KeyOperation,
    LineChange,
    PartChange,
    RequirementOperation,
    Selector,
)
from forkhouse.patches.effects import said_parts
from forkhouse.patches.finding import find
from forkhouse.patches.languages.cmake import commands
from forkhouse.patches.languages.data import LANGUAGES, Kind, look, read, seen
from forkhouse.patches.operations import applied_alone
from forkhouse.patches.partchanges import is_part
from forkhouse.patches.pieces import spliced
from forkhouse.patches.spellings import MEANINGFUL, bare, weight

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkhouse.patches.edits import Operation, RequirementChange
    from forkhouse.patches.languages.data import Data, Entry, Value

_OTHER = r"[\w.:-]+"
"""Any name."""


def stays(before: str, now: str, operation: Operation, language: str) -> str:
    """Return the line to which what an operation takes out came, or under another name is.

    The result is empty if there is none, or if a file cannot be read.
    """
    try:
        place = _place(before, now, operation, language)
    except PatchConflictError:
        return ""
    return "" if place is None else now[line_start(now, place) : line_end(now, place)].strip()


def _place(before: str, now: str, operation: Operation, language: str) -> int | None:
    match operation:
        case CodeOperation(remove=Selector(key=str() as path, document=document)):
            return _place_of_key(before, now, path, document, language)
        case CodeOperation(remove=Selector() as selector):
            left = applied_alone(before, operation, language)
            named = part_in_any_form(selector.argument or "", language)
            return _first(
                _renamed(before, now, selector, language),
                None if named is None else _came(left, now, named, language),
                _other_version(left, now, selector.anchor or ""),
                _other_form(before, left, now, language),
            )
        case (
            CodeOperation(argument=PartChange() as change)
            | CodeOperation(item=PartChange() as change)
        ) if change.gone is not None:
            left = applied_alone(before, operation, language)
            gone = parts_gone(before, operation, change, language)
            patterns = [part_in_any_form(each, language) for each in gone]
            return _first(
                *(_came(left, now, each, language) for each in patterns if each is not None),
                _variant_part(before, now, operation, change, language),
                _other_form(before, left, now, language),
            )
        case CodeOperation(import_=LineChange(gone=str() as line)):
            left = applied_alone(before, operation, language)
            return _module(left, now, line, language)
        case KeyOperation(remove=str() as path):
            return _place_of_key(before, now, path, operation.document, language)
        case RequirementOperation(requirement=change) if change.gone is not None:
            left = applied_alone(before, operation, language)
            return _required(left, now, change)
        case _:
            return None


def _first(*places: int | None) -> int | None:
    """Return the first place that there is."""
    return next((place for place in places if place is not None), None)


def _renamed(before: str, now: str, selector: Selector, language: str) -> int | None:
    """Return where what a selector matches came under another name."""
    said = selector.function or selector.class_ or selector.assignment or selector.call or ""
    words = re.findall(r"\w+", said.partition("(")[0])
    nodes = find(before, selector, language) if words else []
    left = spliced(before, [(*node.whole, "") for node in nodes])
    for code in {before[node.start : node.end] for node in nodes}:
        pattern = _under_any_name(code, words[-1])
        known = {} if pattern is None else Counter(pattern.findall(left))
        for found in () if pattern is None else pattern.finditer(now):
            known[found[0]] = known.get(found[0], 0) - 1
            if known[found[0]] < 0:
                return found.start()
    return None


def _under_any_name(code: str, name: str) -> re.Pattern[str] | None:
    """Return a pattern for code with any other name, or None for code that says too little."""
    words = re.findall(r"\w+|[^\w\s]", code)
    if sum(len(word) for word in words if word != name and re.match(r"\w", word)) < MEANINGFUL:
        return None
    pieces = (
        _OTHER if word == name else "[\"']" if word in "\"'" else re.escape(word) for word in words
    )
    return re.compile(r"(?<!\w)" + r"\s*".join(pieces))


@dataclass(frozen=True, kw_only=True, slots=True)
class TakenPart:
    """An argument or item that an operation takes out, to be sought in other files."""

    language: str
    said: str
    pattern: re.Pattern[str]

    def came_to(self, old: str, new: str) -> bool:
        """Say whether a file has the part more often than before."""
        return len(_in_code(new, self.pattern, self.language)) > len(
            _in_code(old, self.pattern, self.language)
        )


def taken_part(operation: Operation, language: str) -> TakenPart | None:
    """Return the argument or item that an operation takes out, if it is known by its text alone.

    A variable of a program is not, nor is a short word.
    """
    change = operation.argument or operation.item if isinstance(operation, CodeOperation) else None
    said = change.remove if change is not None else None
    if said is None or weight(said) < MEANINGFUL:
        return None
    if language in _CODE and said == bare(said) and not _KEYED.fullmatch(said):
        return None
    pattern = part_in_any_form(said, language)
    return None if pattern is None else TakenPart(language=language, said=said, pattern=pattern)


_CODE = frozenset({"python", "c", "cpp", "rust"})
_SAYS = 3
"""The number of letters and digits from which on an option, an argument or an item is sought."""
_KEYED = re.compile(r"([A-Za-z_]\w*)\s*[=:](?!=)\s*(.+)", re.DOTALL)
_DEFINED = re.compile(r"-D\s*(\w+)(?::\w+)?(?:=.*)?|([A-Z_][A-Z0-9_]+)=.*", re.DOTALL)
_VALUED = re.compile(r"(--[\w-]+)=(.+)", re.DOTALL)
_LETTERED = re.compile(r"-[A-Za-z]\s*([^\s=-].+)", re.DOTALL)
_LOOSE = r"(?:(?<![\w.-])|(?<=-[A-Za-z]))"
"""No word before, but for the letter of an option."""


def part_in_any_form(part: str, language: str) -> re.Pattern[str] | None:
    """Return a pattern for an argument or item in all of its forms; None if it says too little.

    An option may be written with a blank or without (`-I /x`), by itself or in quotes, and what it
    defines by a command of its own.
    """
    said = part.strip()
    said = said[1:-1] if len(said) > 1 and said[0] in "\"'" and said[-1] == said[0] else said
    if weight(said) < _SAYS or said.isdigit():
        return None
    if language in _CODE:
        return _code_in_any_form(said, quoted=said != part.strip())
    if found := _DEFINED.fullmatch(said):
        name = found[1] or found[2]
        return re.compile(rf"(?:(?<!\w)|(?<=-D)){re.escape(name)}(?!\w)")
    if found := _VALUED.fullmatch(said):
        return re.compile(
            rf"(?<![\w-]){re.escape(found[1])}[=\s]\s*[\"']?{re.escape(found[2])}(?![\w-])"
        )
    core = found[1] if (found := _LETTERED.fullmatch(said)) else said
    if weight(core) < _SAYS:
        return None
    words = r"\s+".join(map(re.escape, core.split()))
    return re.compile(rf"{_LOOSE}{words}(?![\w-])")


def _code_in_any_form(said: str, *, quoted: bool) -> re.Pattern[str] | None:
    """Return a pattern for an argument or item of a programming language."""
    if found := _KEYED.fullmatch(said):
        name, value = found.groups()
        return re.compile(
            rf"(?<![\w.])[\"']?{re.escape(name)}[\"']?\s*[=:](?!=)\s*{re.escape(value)}(?!\w)"
        )
    # Any code may name a variable, but a constant has a name of its own.
    if not quoted and weight(said) < MEANINGFUL and not said.isupper():
        return None
    words = r"\s+".join(map(re.escape, said.split()))
    return re.compile(rf"(?<=[(\[{{,\s])[\"']?{words}[\"']?(?=\s*[,)\]}}])")


def _module(left: str, now: str, line: str, language: str) -> int | None:
    """Return where a Python file came to name a module as a text, whose import went.

    Something may import it by that name: `Lazy("a")`.
    """
    if language != "python" or not line.lstrip().startswith("import "):
        return None
    for module in re.findall(r"[\w.]+", re.sub(r"\bas\s+\w+", "", line))[1:]:
        said = re.compile(rf"([\"']){re.escape(module)}(?:\.[\w.]+)?\1")
        there = _in_code(now, said, language)
        if len(there) > len(_in_code(left, said, language)):
            return there[-1]
    return None


def _came(left: str, now: str, pattern: re.Pattern[str], language: str) -> int | None:
    """Return where a text has something more often than another one, or in another command."""
    old, new = (_in_code(text, pattern, language) for text in (left, now))
    holders = Counter(_holder(left, place, language) for place in old)
    came = []
    for place in new:
        holder = _holder(now, place, language)
        holders[holder] -= 1
        came += [place] if holders[holder] < 0 else []
    if len(new) > len(old):
        return (came or new)[-1]
    return came[0] if came and language in {"cmake", *LANGUAGES} else None


def _in_code(text: str, pattern: re.Pattern[str], language: str) -> list[int]:
    """Return where a pattern is found, but for lines that are comments."""
    found = (each.start() for each in pattern.finditer(text))
    return [
        place
        for place in found
        if language == "text"
        or not is_blank(text[line_start(text, place) : line_end(text, place)], language)
    ]


def _holder(text: str, place: int, language: str) -> str:
    """Return the command or key that a place is in; for other languages, nothing."""
    if language == "cmake":
        said = [command for start, command in commands(text) if start <= place]
        return " ".join(re.findall(r"[^\s()]+", said[-1])[:2]) if said else ""
    if language in LANGUAGES:
        above = [each for each in _held(read(text, language)) if 0 <= each.start <= place]
        return repr(max(above, key=lambda each: each.start).path) if above else ""
    return ""


def parts_gone(
    before: str, operation: CodeOperation, change: PartChange, language: str
) -> list[str]:
    """Return what a change takes out as it is written, where the change names only a keyword."""
    gone = change.gone or ""
    if not gone.endswith(("=", ":")):
        return [gone]
    said = said_parts(before, operation, change, language)
    return [each for each in dict.fromkeys(said) if is_part(each, gone)] or [gone]


def _variant_part(
    before: str, now: str, operation: CodeOperation, change: PartChange, language: str
) -> int | None:
    """Return where a list or call got another version of a part, or the part by another name."""
    if change.remove is None:
        return None
    was = Counter(said_parts(before, operation, change, language))
    came = Counter(said_parts(now, operation, change, language)) - was
    gone = parts_gone(before, operation, change, language)
    variant = next((each for each in came if any(is_variant(each, old) for old in gone)), "")
    return now.find(bare(variant)) if variant else None


def is_variant(part: str, gone: str) -> bool:
    """Say whether a part is another version of one that went, or has its value by another key."""
    one, other = (re.sub(r"[\s\"']", "", each).rstrip(",") for each in (part, gone))
    if one == other:
        return False
    if re.search(r"[A-Za-z]{2}", other) and re.sub(r"\d+", "0", one) == re.sub(r"\d+", "0", other):
        return True
    longer = re.match(rf"{re.escape(other)}[-_.]\w", one)
    if longer is not None and len(other) > 1:
        return True
    new, old = (_KEYED.fullmatch(each) for each in (one, other))
    if old is None or new is None:
        return old is not None and one == old[2]  # its value without the keyword
    if new[1] != old[1] and _is_longer(*sorted((new[1], old[1]), key=len)):
        return True
    return new[2] == old[2] and len(new[2]) > _SAYS


def _is_longer(short: str, long: str) -> bool:
    """Say whether a name has all the words of another one: `timeout_s` has those of `timeout`."""
    words = [{*re.findall(r"[^\W_]+", each.lower())} for each in (short, long)]
    return len(short) > _SAYS and bool(words[0]) and words[0] < words[1]


def _other_version(left: str, now: str, anchor: str) -> int | None:
    """Return where a text came that differs from an anchor by its numbers alone."""
    if not re.search(r"\d", anchor) or len(re.findall(r"[A-Za-z]", anchor)) <= _SAYS:
        return None
    pieces = (r"\d+" if each.isdigit() else re.escape(each) for each in re.split(r"(\d+)", anchor))
    pattern = re.compile("".join(pieces))
    known = Counter(pattern.findall(left))
    for found in pattern.finditer(now):
        known[found[0]] -= 1
        if known[found[0]] < 0:
            return found.start()
    return None


_TELLING = re.compile(r"[-=/.\d_+]")
"""What a word has that is an option, a path or a name, and none of a language."""


_COMMAND = re.compile(r"(?:^|[;&|]|\$\(|\b(?:RUN|sudo|exec|then|do|else))[ \t]*\Z")
"""What stands before the name of a command."""


def _telling_words(text: str) -> Iterator[str]:
    """Yield the options, paths and names of a text, but for the names of commands."""
    for found in re.finditer(r"[\w./+:=@-]*\w", text):
        word, (start, end) = found[0], found.span()
        if len(word) < MEANINGFUL - _SAYS or not _TELLING.search(word):
            continue
        command = _COMMAND.search(text[line_start(text, start) : start]) is not None
        if "=" in word or not (command or re.match(r"[ \t]*\(", text[end : end + 9])):
            yield word


def _other_form(before: str, left: str, now: str, language: str) -> int | None:
    """Return where a file has an option, a path or a name of a command that went.

    Only what nothing else in the file named counts.
    """
    if language not in {"bash", "cmake", "meson", "text"}:
        return None
    for word in dict.fromkeys(_telling_words(before)):
        if word in left:
            continue
        pattern = part_in_any_form(word, language)
        if pattern is None or pattern.search(left):
            continue
        if places := _in_code(now, pattern, language):
            return places[0]
    return None


_DECLARED = re.compile(
    r"(?:^(?:Requires-Dist:)?[ \t]*|[\"'])([A-Za-z0-9](?:[\w.-]*\w)?)"
    r"(?=[ \t]*(?:[\[<>=!~;@\"'(,#]|\r?$))",
    re.MULTILINE,
)
"""What may name a distribution: the beginning of a line or of a text in quotes."""


def declared_names(text: str) -> list[tuple[str, int]]:
    """Return all that may be a name of a distribution in a file, with its position."""
    return [(canonicalize_name(each[1]), each.start(1)) for each in _DECLARED.finditer(text)]


def is_everywhere(change: RequirementChange) -> bool:
    """Say whether a change is about all declarations, and not about those of an extra or group."""
    return change.extra is None and change.group is None


def may_require(path: str) -> bool:
    """Say whether a file, by its name, may be one that requires distributions."""
    file = PurePosixPath(path)
    return file.name in _PROJECTS or (
        file.suffix in {".txt", ".in"} and re.search(r"requirement|constraint", path) is not None
    )


_PROJECTS = frozenset({"pyproject.toml", "setup.py", "setup.cfg", "METADATA", "PKG-INFO"})


def _required(left: str, now: str, change: RequirementChange) -> int | None:
    """Return where a file came to require a distribution, or a variant of it, that went."""
    gone = change.gone or ""
    if "*" in gone:
        return None
    known = Counter(name for name, _ in declared_names(left))
    for name, place in declared_names(now):
        known[name] -= 1
        if known[name] >= 0:
            continue
        variant = change.remove is not None and is_variant(name, canonicalize_name(gone))
        # What went from one extra or group may come to another one, as the edit says.
        if variant or (name == canonicalize_name(gone) and is_everywhere(change)):
            return place
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Held:
    """An entry of a file of data with its surroundings."""

    path: tuple[str, ...]
    """The keys that lead to it, and its own; any item of a list is `*`."""
    value: Value
    start: int
    """Where it begins; a table of TOML begins with its first key."""
    beside: tuple[str | None, str | None]
    """The keys before and behind it."""


def _place_of_key(
    before: str, now: str, path: str, document: int | None, language: str
) -> int | None:
    """Return where a key stands that is new there, or its value under a new key."""
    was, data = read(before, language), read(now, language)
    place = look(was, path, document)
    if place is None:
        return None
    held = [*_held(was)]
    (own,) = (each for each in held if each.value is place.entry.value)
    left = Counter(each.path for each in held)
    came = []
    for each in _held(data):
        left[each.path] -= 1
        came += [each] if left[each.path] < 0 else []
    value = seen(own.value, ordered=True)
    for each in came:
        same = seen(each.value, ordered=True) == value
        if (each.path[-1] == own.path[-1] and own.path[-1] != _ITEM) or (
            same and (_tells(was, own.value) or _is_in_its_place(each, own))
        ):
            return each.start
    return None


_ITEM = "*"


def _held(data: Data) -> Iterator[_Held]:
    todo: list[tuple[tuple[str, ...], Value]] = [((), top) for top in data.documents]
    while todo:
        above, holder = todo.pop()
        names = [
            _ITEM if holder.kind is Kind.SEQUENCE else str(entry.name) for entry in holder.entries
        ]
        beside = [None, *names, None]
        for position, entry in enumerate(holder.entries):
            path = (*above, names[position])
            yield _Held(
                path=path,
                value=entry.value,
                start=_start(entry),
                beside=(beside[position], beside[position + 2]),
            )
            todo.append((path, entry.value))


def _start(entry: Entry) -> int:
    while entry.start < 0 and entry.value.entries:
        entry = entry.value.entries[0]
    return max(entry.start, 0)


def _tells(data: Data, value: Value) -> bool:
    """Say whether a value is long enough for an equal one to be the same."""
    said = data.text[value.start : value.end] if value.start >= 0 else ""
    return weight(said) >= MEANINGFUL


def _is_in_its_place(one: _Held, other: _Held) -> bool:
    """Say whether two entries are in the same mapping, and beside the same key."""
    return one.path[:-1] == other.path[:-1] and any(
        name == there for name, there in zip(one.beside, other.beside, strict=True)
    )
