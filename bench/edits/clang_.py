"""C and C++ (with CUDA), as clang reads them.

Its tokens, and where its parser finds functions and classes.
"""

from __future__ import annotations

import ctypes
import re
import struct
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from clang import cindex
from clang.cindex import CursorKind, Index, SourceLocation, SourceRange, TranslationUnit

from bench.edits.brackets import pairs, split
from bench.edits.case import Case
from bench.edits.code import Construct, Tongue, cases, counted, judged, loose
from bench.edits.stream import Change, Comment, Stream, Token, UnreadableError

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

_INDEX = Index.create()
_KINDS = ("punctuation", "keyword", "identifier", "literal", "comment")
_RAW = struct.Struct("4IQ")
"""A token as the library lays it out: kind, place, length, and what it keeps for itself."""
_WORDS = frozenset(
    {
        "if",
        "for",
        "while",
        "switch",
        "return",
        "sizeof",
        "catch",
        "alignof",
        "decltype",
        "defined",
        "static_assert",
        "alignas",
    }
)


def _unit(text: str, name: str) -> TranslationUnit:
    args = [
        "-Wno-everything",
        "-nostdinc",
        "-ferror-limit=0",
        *(["-std=c++20"] if name.endswith("cc") else ["-std=gnu11"]),
    ]
    try:
        return _INDEX.parse(name, args=args, unsaved_files=[(name, text)])
    except cindex.TranslationUnitLoadError as error:
        raise UnreadableError(str(error)) from error


def _stream(text: str, unit: TranslationUnit, name: str) -> Stream:
    """Return the tokens of clang's own lexer; a directive of the preprocessor is one."""
    mark = len(text) - len(text.removeprefix("\ufeff"))
    encoded = text[mark:].encode()
    file = unit.get_file(name)
    begin = SourceLocation.from_offset(unit, file, 0)
    extent = SourceRange.from_locations(
        begin, SourceLocation.from_offset(unit, file, len(text.encode()))
    )
    found, count = ctypes.POINTER(cindex.Token)(), ctypes.c_uint()
    cindex.conf.lib.clang_tokenize(unit, extent, ctypes.byref(found), ctypes.byref(count))
    raw = ctypes.string_at(found, _RAW.size * count.value)
    cindex.conf.lib.clang_disposeTokens(unit, found, count)
    place = _places(text[mark:], encoded, mark)
    base = begin.int_data + (3 if mark else 0)
    code: list[Token] = []
    comments: list[Comment] = []
    directive = -1  # where the directive that is being read ends
    for kind, at, length, _, _ in _RAW.iter_unpack(raw):
        start, end = place(at - base), place(at - base + length)
        said = text[start:end]
        if _KINDS[kind] == "comment":
            said = said.rstrip("\r")
            comments.append(Comment(said.replace("\r\n", "\n"), start, start + len(said)))
        elif start < directive:
            code[-1] = code[-1]._replace(end=end)
        elif said == "#" and not _before(text, start):
            directive = _directive_end(text, start)
            code.append(Token("directive", "", start, end))
        else:
            code.append(Token(_KINDS[kind], said.replace("\r\n", "\n"), start, end))
    finished = [
        token._replace(text=_line(text[token.start : token.end]))
        if token.kind == "directive"
        else token
        for token in code
    ]
    return Stream(text=text, code=tuple(finished), comments=tuple(comments))


def _places(text: str, encoded: bytes, mark: int) -> Callable[[int], int]:
    if len(text) == len(encoded):
        return lambda at: at + mark
    numbers = [0] * (len(encoded) + 1)
    at = 0
    for number, letter in enumerate(text):
        numbers[at] = number
        at += len(letter.encode())
    numbers[at] = len(text)
    return lambda at: numbers[at] + mark


def _before(text: str, at: int) -> str:
    return re.sub(r"/\*.*?\*/", "", text[text.rfind("\n", 0, at) + 1 : at].strip("\ufeff \t"))


def _directive_end(text: str, at: int) -> int:
    while (found := text.find("\n", at)) >= 0 and text[:found].rstrip("\r").endswith("\\"):
        at = found + 1
    return len(text) if found < 0 else found


def _line(said: str) -> str:
    said = re.sub(r"\\\r?\n", " ", said)
    return (
        re.sub(r"\s+", " ", re.sub(r"/\*.*?\*/|//[^\n]*", " ", said) if '"' not in said else said)
        .replace("# ", "#", 1)
        .strip()
    )


FUNCTIONS = (
    "int {name}(int a) { return a; }",
    (
        "static inline void {name}(void)\n{\n    /* nothing */\n    if (1) {\n        return;\n    "
        "}\n}"
    ),
    (
        'const char *{name}(int a, int b)\n{\n#define LOCAL 1\n    return "a\\n" "b"; // '
        "text\n#undef LOCAL\n}"
    ),
)
CLASSES = ("struct {name} {\n    int a;  // one\n    int b;\n}", "struct {name} { int a[3]; }")
CALLS = ("renamed(1)", "other(a, b[0], (c, d))", "(void)0", 'puts("a // b")')
DEFINES = ("#define {name} 7", "#define {name} (1 + \\\n    2)")
STATEMENTS = (
    "added(1, 2);",
    "/* a word */\nadded();\n",
    "if (added) {\n    added(1);  // so\n}",
    'const char *added = "x\\\\";',
)
DECLARATIONS = (
    "int added(void);",
    "/* a word */\nstatic int added = 1;\n",
    "#define ADDED 1",
    "#ifdef ADDED\nint added;\n#endif\n",
)
PARTS = ("added", '"new"', "f(1, 2)", "{1, 2}", "a[1]", "'\\''")


@cache
def tongue(name: str) -> Tongue:
    """Return what C or C++ bring to the operations on them."""

    def read(text: str) -> Stream:
        return _stream(text, _unit(text, name), name)

    def texts(what: str, construct: str, chance: random.Random) -> str | None:
        kinds = {"function": FUNCTIONS, "class": CLASSES, "call": CALLS, "assignment": DEFINES}
        return chance.choice(kinds[what]).replace("{name}", construct)

    return Tongue(
        read=read,
        texts=texts,
        statement=lambda chance: chance.choice(STATEMENTS),
        part=lambda chance: chance.choice(PARTS),
        documents=re.compile(r"/\*[*!](?![*/<])|//[/!](?![/<])"),
    )


def pool(text: str, name: str) -> list[Callable[[random.Random], Case | None]]:
    """Return what makes cases of a file. Raises UnreadableError."""
    unit = _unit(text, name)
    stream = _stream(text, unit, name)
    closed = pairs(stream.code, kinds=frozenset({"punctuation"}))
    if not closed:
        raise UnreadableError("its brackets do not fit, which `#if` may be the reason of")
    speech = tongue(name)
    outer = replace(speech, statement=lambda chance: chance.choice(DECLARATIONS))
    definitions, bodies = _definitions(unit, stream, closed, name)
    plain = replace(
        speech,
        texts=lambda what, name, chance: (
            None if what == "assignment" else speech.texts(what, name, chance)
        ),
    )
    inner = counted([*_calls(stream, closed, bodies), *_lists(stream, closed)])
    whole = counted([*definitions, *_defines(stream)])
    makers = [*cases(stream, plain, inner, whole), *cases(stream, outer, whole)]
    return [*makers, *_includes(stream, outer)]


_FUNCTIONS = frozenset(
    {CursorKind.FUNCTION_DECL, CursorKind.CXX_METHOD, CursorKind.FUNCTION_TEMPLATE}
)
_CLASSES = frozenset(
    {CursorKind.STRUCT_DECL, CursorKind.CLASS_DECL, CursorKind.UNION_DECL, CursorKind.ENUM_DECL}
)
_HOLDERS = frozenset(
    {
        CursorKind.NAMESPACE,
        CursorKind.LINKAGE_SPEC,
        CursorKind.CLASS_DECL,
        CursorKind.STRUCT_DECL,
        CursorKind.CLASS_TEMPLATE,
    }
)


def _definitions(
    unit: TranslationUnit, stream: Stream, closed: dict[int, int], name: str
) -> tuple[list[Construct], list[tuple[int, int]]]:
    """Return functions and classes, and the bodies of all functions.

    What clang could not read cleanly is only counted.
    """
    mark = len(stream.text) - len(stream.text.removeprefix("\ufeff"))
    text = stream.text[mark:]
    place = _places(text, text.encode(), mark)
    shift = 3 if mark else 0
    found: list[Construct] = []
    bodies: list[tuple[int, int]] = []
    waiting = [unit.cursor]
    while waiting:
        for cursor in waiting.pop().get_children():
            file = cursor.location.file
            if file is None or file.name != name:
                continue
            if cursor.kind in _HOLDERS:
                waiting.append(cursor)
            if cursor.kind not in _FUNCTIONS | _CLASSES or not cursor.is_definition():
                continue
            first = stream.index(place(cursor.extent.start.offset - shift))
            last = stream.index(place(cursor.extent.end.offset - shift))
            function = cursor.kind in _FUNCTIONS
            if function and first < last <= len(stream.code) and stream.code[last - 1].text == "}":
                bodies.append((next(a for a, b in closed.items() if b == last - 1), last - 1))
            found += _definition(
                stream, "function" if function else "class", cursor.spelling, first, last
            )
    return found, bodies


def _definition(stream: Stream, what: str, name: str, first: int, last: int) -> list[Construct]:
    code = stream.code
    unclear = [Construct(what=what, name=name, core=(0, 0), whole=(0, 0))] * 2
    if (
        not re.fullmatch(r"[A-Za-z_]\w*", name)
        or not first < last <= len(code)
        or code[last - 1].text != "}"
    ):
        return unclear
    clean = (
        first == 0 or code[first - 1].text in {";", "}", "{"} or code[first - 1].kind == "directive"
    )
    core = first
    if code[core].text == "template":
        depth = 0
        for core in range(first + 1, last):  # where the angle brackets are closed
            depth += {"<": 1, ">": -1, ">>": -2}.get(code[core].text, 0)
            if depth <= 0:
                break
        core += 1
    head = code[core:last]
    named = sum(
        token.text == name
        for token in head[: next((n for n, token in enumerate(head) if token.text == "{"), 0)]
    )
    plain = code[core].kind in {"identifier", "keyword"} and code[core].text not in {
        "extern",
        "__attribute__",
        "typedef",
        "template",
        "__declspec",
    }
    # A word in capitals may be a macro that stands before what clang reads.
    if (
        not clean
        or named != 1
        or not plain
        or any(token.text.isupper() and len(token.text) > 2 for token in head[:3])
    ):
        return unclear
    if any(token.kind == "directive" for token in code[first:last]):
        return unclear
    end = last + 1 if what == "class" and last < len(code) and code[last].text == ";" else last
    if what == "class" and end == last:
        return unclear
    if "= default" in name or code[core].text == "enum":
        return unclear
    return [Construct(what=what, name=name, core=(core, last), whole=(first, end))]


def _calls(
    stream: Stream, closed: dict[int, int], bodies: list[tuple[int, int]]
) -> Iterator[Construct]:
    code = stream.code
    for opening, closing in closed.items():
        at = opening - 1
        if (
            code[opening].text != "("
            or at < 0
            or code[at].kind != "identifier"
            or code[at].text in _WORDS
        ):
            continue
        name = code[at].text
        before = code[at - 1].text if at else ""
        if before in {".", "->"}:
            continue
        body = next((body for body in bodies if body[0] < at < body[1]), None)
        statement = (
            before in {"{", "}", ";"} and code[closing + 1].text == ";"
            if closing + 1 < len(code)
            else False
        )
        expression = before in {"=", "(", ",", "return", "&&", "||", "!", "+", "*", "?"} and code[
            closing + 1
        ].text in {
            ")",
            ",",
            ";",
            "&&",
            "||",
            "+",
        }
        if (
            before == ","
            and code[max((a for a, b in closed.items() if a < at < b), default=opening)].text == "{"
        ):
            expression = False  # `A one, two(1);` declares, and calls nothing
        if (
            body is None
            or not (statement or expression)
            or (before in {"*", "("} and code[at - 2].kind != "punctuation" and before == "*")
        ):
            yield from [Construct(what="call", name=name, core=(0, 0), whole=(0, 0))] * 2
            continue
        parts, trailing = split(code, closed, opening)
        unclear = any(
            token.text in {"<", ">", ">>"} or token.kind == "directive"
            for token in code[opening:closing]
        )
        yield Construct(
            what="call",
            name=name,
            core=(at, closing + 1),
            whole=(at, closing + 2 if statement else closing + 1),
            statement=statement,
            parts=None if unclear or trailing else parts,
            closing=closing,
        )


def _lists(stream: Stream, closed: dict[int, int]) -> Iterator[Construct]:
    """Yield variables that begin with a list of values: `name[] = {…};`."""
    code = stream.code
    for opening, closing in closed.items():
        if (
            code[opening].text != "{"
            or opening < 2
            or code[opening - 1].text != "="
            or code[closing + 1].text != ";"
        ):
            continue
        at = opening - 2
        while at > 0 and code[at].text == "]":
            at = next((a for a, b in closed.items() if b == at), 0) - 1
        if at < 0 or code[at].kind != "identifier" or code[at - 1].text in {".", "->", ","}:
            continue
        parts, trailing = split(code, closed, opening)
        unclear = any(
            token.kind == "directive" or token.text in {"<", ">"} for token in code[opening:closing]
        )
        once = sum(token.text == code[at].text for token in code) == 1 and code[
            at
        ].text not in " ".join(token.text for token in code if token.kind == "directive")
        yield Construct(
            what="assignment",
            name=code[at].text,
            core=(at, closing + 1),
            whole=(at, closing + 1),
            statement=False,
            parts=None if unclear else parts,
            closing=closing,
            trailing=trailing,
            list_=True,
            alike=1 if once else 2,
        )


def _defines(stream: Stream) -> Iterator[Construct]:
    for number, token in enumerate(stream.code):
        match = re.fullmatch(r"#define (\w+) .+", token.text) if token.kind == "directive" else None
        if match and sum(match[1] in other.text for other in stream.code) == 1:
            yield Construct(
                what="assignment",
                name=match[1],
                core=(number, number + 1),
                whole=(number, number + 1),
            )


def _includes(stream: Stream, speech: Tongue) -> list[Callable[[random.Random], Case | None]]:
    lines = [
        number
        for number, token in enumerate(stream.code)
        if token.kind == "directive" and token.text.startswith("#include")
    ]
    single = [
        number
        for number in lines
        if sum(stream.code[number].text == stream.code[each].text for each in lines) == 1
    ]

    def change(chance: random.Random) -> Case | None:
        number = chance.choice(single)
        action = chance.choice(("remove", "replace"))
        wanted: dict[str, object] = {action: stream.code[number].text}
        if action == "remove":
            one = Change(first=number, last=number + 1, loose=loose(stream, (number, number + 1)))
        else:
            text = chance.choice(('#include "added.h"', "#ifdef ADDED\n#include <added.h>\n#endif"))
            wanted["with"] = text
            keys, comments = speech.keys(text)
            one = Change(first=number, last=number + 1, new=keys, comments=comments)
        return Case(
            kind=f"include {action}",
            operation={"include": wanted},
            judge=judged(stream, speech, [[one]]),
        )

    def add(chance: random.Random) -> Case | None:
        text = chance.choice(("#include <added.h>", '#include "added/here.hpp"'))
        keys, _ = speech.keys(text)
        ways = []
        depth = 0
        guard = (
            stream.code
            and stream.code[0].text.startswith("#ifndef")
            and stream.code[-1].text.startswith("#endif")
        )
        for number, token in enumerate([*stream.code, None]):
            if depth <= (1 if guard else 0):
                ways.append([Change(first=number, last=number, new=keys)])
            if token is None or token.kind != "directive":
                break
            depth += token.text.startswith("#if") - token.text.startswith("#endif")
        for number in lines:
            level = sum(
                t.text.startswith("#if") - t.text.startswith("#endif")
                for t in stream.code[:number]
                if t.kind == "directive"
            )
            if level <= (1 if guard else 0):
                ways.append([Change(first=number + 1, last=number + 1, new=keys)])
        return Case(
            kind="include add",
            operation={"include": {"add": text}},
            judge=judged(stream, speech, ways),
        )

    return [change, add] if single else [add]
