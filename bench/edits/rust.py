"""Rust, as Pygments splits it and, now and then, rustc's own parser reads it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

from pygments.lexers.rust import RustLexer
from pygments.token import Comment as Remark
from pygments.token import Error, String, Text, Whitespace

from bench.edits.brackets import pairs, split
from bench.edits.case import Case
from bench.edits.code import Construct, Tongue, cases, counted, judged, loose
from bench.edits.stream import Change, Comment, Stream, Token, UnreadableError

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from pygments.token import _TokenType

_LEXER = RustLexer()
RUSTC = shutil.which("rustc")
ASKED = 25
"""Of so many results, rustc is asked about one: it takes far longer than everything else."""


def read(text: str) -> Stream:
    """Return what Pygments sees, the last line with an end.

    An attribute is one piece, and a documentation comment is a comment. Raises UnreadableError.
    """
    if not text.endswith("\n"):
        text += "\r\n" if "\r\n" in text else "\n"
    mark = len(text) - len(text.removeprefix("\ufeff"))
    code: list[Token] = []
    comments: list[Comment] = []
    depth = nested = 0  # of the brackets of an attribute, and of a comment
    held = 0  # where an attribute or a comment of several pieces begins
    for at, kind, said in _LEXER.get_tokens_unprocessed(text[mark:]):
        start = at + mark
        what = _kind(kind)
        if depth:
            depth += (said.count("[") - said.count("]")) if what == "attribute" else 0
            if not depth:
                code.append(
                    Token(
                        "attribute",
                        _SPACE.sub(" ", text[held : start + len(said)]),
                        held,
                        start + len(said),
                    )
                )
        elif what in {"code", "string"}:
            said_ = said.replace("\r\n", "\n") if what == "string" else said
            if (
                code
                and what == code[-1].kind == "code"
                and code[-1].end == start
                and _is_one(code[-1].text, said_)
            ):
                said_, start = (
                    code[-1].text + said_,
                    code.pop().start,
                )  # Pygments parts them in some places only
            code.append(Token(what, said_, start, at + mark + len(said)))
        elif what == "attribute":
            depth, held = said.count("[") - said.count("]"), start
        elif what == "nested":
            held = held if nested else start
            nested += (said == "/*") - (said == "*/")
            if not nested:
                end = start + len(said)
                comments.append(Comment(text[held:end].replace("\r\n", "\n"), held, end))
        elif what == "comment":
            remark = said.rstrip("\r\n")
            comments.append(Comment(remark.replace("\r\n", "\n"), start, start + len(remark)))
        elif what == "error":
            raise UnreadableError(f"Pygments does not know {said!r}")
    return Stream(text=text, code=tuple(code), comments=tuple(comments))


def _is_one(before: str, said: str) -> bool:
    """Say whether two pieces of code that touch are one.

    `::`, and the name of a macro with its mark.
    """
    return before == said == ":" or (said == "!" and before.isidentifier())


_SPACE = re.compile(r"\s+")


@cache
def _kind(kind: _TokenType) -> str:
    if kind in Remark.Preproc:
        return "attribute"
    if kind in Remark.Multiline:
        return "nested"
    if kind in Remark or kind in String.Doc:
        return "comment"
    if kind in Text or kind in Whitespace:
        return "space"
    return "error" if kind in Error else "string" if kind in String else "code"


@lru_cache(maxsize=64)
def _refused(text: str) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "file.rs")
        path.write_text(text, encoding="utf-8")
        command = [
            RUSTC or "rustc",
            "--edition=2021",
            "--cap-lints=allow",
            "-Zunpretty=normal",
            str(path),
        ]
        environment = {**os.environ, "RUSTC_BOOTSTRAP": "1"}
        return (
            subprocess.run(
                command, capture_output=True, check=False, env=environment, cwd=folder
            ).returncode
            != 0
        )


def verify(before: str, after: str) -> str | None:
    """Ask rustc about a few results of texts that it reads."""
    if RUSTC is None or crc32(after.encode()) % ASKED or _refused(before):
        return None
    return "rustc refuses the result, not the file as it was" if _refused(after) else None


FUNCTIONS = (
    "fn {name}() -> u8 { 1 }",
    (
        'pub fn {name}<T: Clone>(a: &T) -> String {\n    // a word\n    let s = r#"one\n  two"#;\n '
        "  "
        " s.to_string() // so\n}"
    ),
    (
        "pub(crate) async fn {name}(a: u8) {\n    match a {\n        0 => {}\n        _ => "
        "other(a, "
        "1),\n    }\n}"
    ),
)
CLASSES = (
    "pub struct {name} {\n    /// One.\n    pub a: u8,\n    b: &'static str,\n}",
    "struct {name};",
    "enum {name} { A, B(u8) }",
)
CALLS = (
    "renamed(1)",
    "other::thing(a, &b, |x| x + 1)",
    'format!("{} // {}", 1, 2)',
    '"one\n  two"',
)
ASSIGNMENTS = (
    "let {name} = 3;",
    'let {name}: &str = "a\n  b";',
    "let {name} = vec![\n    1,\n    2,\n];",
)
STATEMENTS = (
    "added(1, 2);",
    "// a word\nadded();\n",
    "if added() {\n    added(1); // so\n}",
    'let added = r"a\\\n  b";',
)
DECLARATIONS = (
    "const ADDED: u8 = 1;",
    "/// Says it.\n#[inline]\nfn added() -> u8 {\n    1\n}\n",
    'const ADDED: &str = "a\n  b";',
    "const ADDED: &[u8] = &[\n    1,\n];",
)
PARTS = ("added", '"new"', "&f(1, 2)", "[1, 2]", "|x| x", "'c'")


def _texts(what: str, name: str, chance: random.Random) -> str | None:
    kinds = {"function": FUNCTIONS, "class": CLASSES, "call": CALLS, "assignment": ASSIGNMENTS}
    return chance.choice(kinds[what]).replace("{name}", name)


DOCUMENTATION = re.compile(r"///(?!/)|/\*\*(?![*/])")

TONGUE = Tongue(
    read=read,
    texts=_texts,
    statement=lambda chance: chance.choice(STATEMENTS),
    part=lambda chance: chance.choice(PARTS),
    documents=DOCUMENTATION,
    verify=verify,
)
OUTER = replace(TONGUE, statement=lambda chance: chance.choice(DECLARATIONS))
_BEFORE = frozenset({"pub", "async", "const", "unsafe", "extern", "default"})


def pool(text: str) -> list[Callable[[random.Random], Case | None]]:
    """Return what makes cases of a file. Raises UnreadableError."""
    stream = read(text)
    closed = pairs(stream.code, kinds=frozenset({"code"}))
    if not closed:
        raise UnreadableError("its brackets do not fit")
    # What a macro is given is code for the macro alone.
    macros = [(a, b) for a, b in closed.items() if a > 0 and stream.code[a - 1].text.endswith("!")]
    rules = [
        (a, b)
        for a, b in closed.items()
        if stream.code[a].text == "{"
        and "macro_rules" in stream.code[max(0, a - 3)].text + stream.code[a - 2].text
    ]
    quiet = [*macros, *rules]
    definitions, bodies = _definitions(stream, closed, quiet)
    inner = counted([*_calls(stream, closed, bodies, quiet), *_lets(stream, closed, bodies, quiet)])
    outer = counted(definitions)
    return [
        *cases(stream, TONGUE, inner, outer),
        *cases(stream, OUTER, outer),
        *_uses(stream, quiet),
    ]


def _inside(at: int, spans: list[tuple[int, int]]) -> bool:
    return any(first < at < last for first, last in spans)


def _attributes(stream: Stream, first: int) -> int:
    while (
        first > 0
        and stream.code[first - 1].kind == "attribute"
        and not stream.code[first - 1].text.startswith("#!")
    ):
        first -= 1
    return first


def _definitions(
    stream: Stream, closed: dict[int, int], quiet: list[tuple[int, int]]
) -> tuple[list[Construct], list[tuple[int, int]]]:
    code = stream.code
    found: list[Construct] = []
    bodies: list[tuple[int, int]] = []
    for at, token in enumerate(code[:-1]):
        if (
            token.text not in {"fn", "struct", "enum", "trait"}
            or token.kind != "code"
            or not re.fullmatch(r"[A-Za-z_]\w*", code[at + 1].text)
        ):
            continue
        what = "function" if token.text == "fn" else "class"
        end = at + 2
        while end < len(code) and code[end].text not in {"{", ";", "}"}:
            end = closed.get(end, end) + 1
        first = at
        while first > 0 and (
            code[first - 1].text in _BEFORE
            or code[first - 1].kind == "string"
            or code[first - 1].text == ")"
        ):
            if code[first - 1].text == ")":
                opening = next((a for a, b in closed.items() if b == first - 1), 0)
                if code[opening - 1].text != "pub":
                    break
                first = opening
            else:
                first -= 1
        clean = (
            first == 0
            or code[first - 1].text in {";", "}", "{"}
            or code[first - 1].kind == "attribute"
        )
        if end >= len(code) or code[end].text == "}" or _inside(at, quiet) or not clean:
            found += [Construct(what=what, name=code[at + 1].text, core=(0, 0), whole=(0, 0))] * 2
            continue
        last = closed.get(end, end)
        if what == "function" and end in closed:
            bodies.append((end, last))
        if what == "function" and end not in closed:
            # A declaration in a trait is no definition, and is not counted.
            continue
        found.append(
            Construct(
                what=what,
                name=code[at + 1].text,
                core=(first, last + 1),
                whole=(_attributes(stream, first), last + 1),
            )
        )
    return found, bodies


def _calls(
    stream: Stream,
    closed: dict[int, int],
    bodies: list[tuple[int, int]],
    quiet: list[tuple[int, int]],
) -> Iterator[Construct]:
    code = stream.code
    for opening, closing in closed.items():
        at = opening - 1
        macro = at > 0 and code[at].text.endswith("!")
        if (
            at < 1
            or not re.fullmatch(r"[A-Za-z_]\w*!?", code[at].text)
            or (code[opening].text != "(" and not macro)
        ):
            continue
        before = code[at - 1].text
        if before in {"fn", "."} or code[at].text in {
            "if",
            "while",
            "match",
            "for",
            "in",
            "return",
            "let",
            "move",
            "pub",
            "as",
            "mut",
            "ref",
            "impl",
            "dyn",
        }:
            continue
        name = code[at].text.rstrip("!")
        if (
            code[opening].text != "("
            or before == "::"
            or _inside(at, quiet)
            or not _inside(at, bodies)
            or closing + 1 >= len(code)
        ):
            yield from [Construct(what="call", name=name, core=(0, 0), whole=(0, 0))] * 2
            continue
        behind = code[closing + 1].text
        statement = before in {"{", "}", ";"} and behind == ";"
        expression = before in {"=", "(", ",", "return", "&", "&&", "||", "+", "!"} and behind in {
            ")",
            ",",
            ";",
            "?",
            ".",
            "&&",
            "||",
            "+",
        }
        pattern = any(
            token.text in {"let", "=>", "|"} for token in code[max(0, at - 3) : at]
        ) or behind in {"=>", "="}
        if not (statement or expression) or pattern or code[at].text[0].isupper():
            yield from [Construct(what="call", name=name, core=(0, 0), whole=(0, 0))] * 2
            continue
        parts, trailing = split(code, closed, opening)
        unclear = any(
            token.text in {"<", "|", "||"} or token.kind == "attribute"
            for token in code[opening:closing]
        )
        yield Construct(
            what="call",
            name=name,
            core=(at, closing + 1),
            whole=(
                _attributes(stream, at) if statement else at,
                closing + 2 if statement else closing + 1,
            ),
            statement=statement,
            parts=None if unclear else parts,
            closing=closing,
            trailing=trailing,
        )


def _lets(
    stream: Stream,
    closed: dict[int, int],
    bodies: list[tuple[int, int]],
    quiet: list[tuple[int, int]],
) -> Iterator[Construct]:
    code = stream.code
    for at, token in enumerate(code[:-2]):
        if (
            token.text != "let"
            or code[at + 2].text not in {"=", ":"}
            or not re.fullmatch(r"[a-z_]\w*", code[at + 1].text)
        ):
            continue
        name = code[at + 1].text
        named = sum(
            code[n].text == name
            and (code[n - 1].text in {"let", "mut", "const", "static"} or code[n + 1].text == ":")
            for n in range(1, len(code) - 1)
        )
        if (
            _inside(at, quiet)
            or not _inside(at, bodies)
            or code[at - 1].text not in {";", "{", "}"}
            or named != 1
        ):
            continue
        end = at + 2
        while end < len(code) and code[end].text != ";":
            end = closed.get(end, end) + 1
        value = next((n for n in range(at, end) if code[n].text == "="), end)
        parts, trailing, closing = None, False, -1
        if code[value + 1].text == "[" and closed.get(value + 1) == end - 1:
            closing = end - 1
            parts, trailing = split(code, closed, value + 1)
            if any(token.text in {";", "|", "<"} for token in code[value + 1 : end]):
                parts = None
        yield Construct(
            what="assignment",
            name=name,
            core=(at, end + 1),
            whole=(at, end + 1),
            parts=parts,
            closing=closing,
            trailing=trailing,
            list_=True,
        )


def _uses(
    stream: Stream, quiet: list[tuple[int, int]]
) -> list[Callable[[random.Random], Case | None]]:
    code = stream.code
    lines: list[tuple[int, int]] = []
    for at, token in enumerate(code):
        if (
            token.text == "use"
            and (
                at == 0 or code[at - 1].text in {";", "}", "{"} or code[at - 1].kind == "attribute"
            )
            and not _inside(at, quiet)
        ):
            end = next((n for n in range(at, len(code)) if code[n].text == ";"), None)
            if end is not None:
                lines.append((at, end + 1))
    said = [" ".join(stream.text[code[a].start : code[b - 1].end].split()) for a, b in lines]
    single = [
        n
        for n, text in enumerate(said)
        if said.count(text) == 1 and "//" not in text and "/*" not in text
    ]

    def change(chance: random.Random) -> Case | None:
        number = chance.choice(single)
        first, last = lines[number]
        action = chance.choice(("remove", "replace"))
        wanted: dict[str, object] = {action: said[number]}
        if action == "remove":
            whole = (_attributes(stream, first), last)
            docs = stream.documents(code[whole[0]].start, DOCUMENTATION)
            one = Change(first=whole[0], last=last, loose=loose(stream, whole), gone=docs)
        else:
            text = chance.choice(("use added::here;", "use added::{\n    one,\n    two,\n};"))
            wanted["with"] = text
            keys, comments = TONGUE.keys(text)
            one = Change(
                first=first,
                last=last,
                new=keys,
                comments=comments,
                loose=loose(stream, (first, last), above=False),
            )
        return Case(
            kind=f"import {action}",
            operation={"import": wanted},
            judge=judged(stream, TONGUE, [[one]]),
        )

    def add(chance: random.Random) -> Case | None:
        text = chance.choice(("use added::here;", "use added::{one, two};"))
        keys, _ = TONGUE.keys(text)
        depth = 0
        places = set()
        for number, token in enumerate(code):
            free = (
                number == 0
                or code[number - 1].text in {";", "}"}
                or code[number - 1].text.startswith("#!")
            )
            if depth == 0 and free:
                places.add(number)
            depth += (token.text in {"(", "[", "{"} and token.kind == "code") - (
                token.text in {")", "]", "}"} and token.kind == "code"
            )
        places |= {len(code)} if code and code[-1].text in {";", "}"} else set()
        inner = [
            n for n, token in enumerate(code) if token.text.startswith("#![")
        ]  # and not what a text of a script begins with
        ways = []
        for at in sorted(places):
            if not inner or at > inner[-1]:
                _, behind = stream.edges(at, at)
                ways.append(
                    [
                        Change(
                            first=at,
                            last=at,
                            new=keys,
                            tied=stream.documents(behind, DOCUMENTATION),
                        )
                    ]
                )
        return Case(
            kind="import add",
            operation={"import": {"add": text}},
            judge=judged(stream, TONGUE, ways),
        )

    return [change, add] if single else [add]
