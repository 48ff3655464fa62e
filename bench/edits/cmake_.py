"""CMake, as cmakelang splits it and, now and then, cmake itself reads it."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

from cmakelang import lex
from cmakelang.lex import TokenType

from bench.edits.code import Construct, Tongue, cases, counted
from bench.edits.stream import Comment, Stream, Token, UnreadableError

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator, Sequence

    from bench.edits.case import Case

CMAKE = shutil.which("cmake")
ASKED = 10
"""Of so many results, cmake is asked about one: starting it takes longer than everything else."""
_SPACE = frozenset({TokenType.WHITESPACE, TokenType.NEWLINE})
_REMARKS = frozenset({TokenType.COMMENT, TokenType.BRACKET_COMMENT})


def read(text: str) -> Stream:
    """Return what cmakelang sees: the names of commands, brackets, arguments.

    Raises UnreadableError.
    """
    mark = len(text) - len(text.removeprefix("\ufeff"))
    code: list[Token] = []
    comments: list[Comment] = []
    depth = 0
    fresh = True  # nothing of a command stands on the line
    try:
        tokens = lex.tokenize(text[mark:].replace("\r\n", " \n"))
    except (AssertionError, ValueError, IndexError) as error:
        raise UnreadableError(str(error)) from error
    for token in tokens:
        start = token.begin.offset + mark
        end = start + len(token.spelling)
        said = text[start:end].replace("\r\n", "\n")
        if token.type in _SPACE:
            fresh = fresh or token.type is TokenType.NEWLINE
        elif token.type in _REMARKS:
            said = said.rstrip()
            comments.append(Comment(said, start, start + len(said)))
        else:
            kind = "argument"
            if said in {"(", ")"}:
                kind = "bracket"
                depth += 1 if said == "(" else -1
            elif depth == 0:
                kind = "command" if fresh else "a command that begins behind something on its line"
            glued = (
                depth > 0
                and code
                and code[-1].end == start
                and code[-1].kind == "argument"
                and kind == "argument"
            )
            if glued:
                code[-1] = Token("argument", code[-1].text + said, code[-1].start, end)
            else:
                code.append(Token(kind, said, start, end))
            fresh = False
    if depth:
        raise UnreadableError("its brackets do not fit")
    return Stream(text=text, code=tuple(code), comments=tuple(comments))


@lru_cache(maxsize=64)
def _refused(text: str) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "file.cmake")
        # What is under a condition that is false is read, and not done.
        path.write_text(
            "if(FALSE)\n" + text.removeprefix("\ufeff") + "\nendif()\n",
            encoding="utf-8",
            newline="",
        )
        return (
            subprocess.run(
                [CMAKE or "cmake", "-P", str(path)], capture_output=True, check=False, cwd=folder
            ).returncode
            != 0
        )


def verify(before: str, after: str) -> str | None:
    """Ask cmake about a few results of texts that it reads."""
    if CMAKE is None or crc32(after.encode()) % ASKED or _refused(before):
        return None
    return "cmake refuses the result, not the file as it was" if _refused(after) else None


FUNCTIONS = (
    "function({name} A B)\n  set(X ${A})\nendfunction()",
    'macro({name})\n  # a word\n  message(STATUS "one\n  two")  # so\nendmacro()',
)
CALLS = ("renamed(1)", 'other(A "b c" [[\n d\n  e\n]])', "message(STATUS [==[a]]b]==])")
ASSIGNMENTS = ("set({name} 3)", 'set({name}\n  "one;two"\n  three)', 'set({name} "a\n  b")')
STATEMENTS = (
    "added(1 2)",
    "# a word\nadded()\n",
    "if(ADDED)\n  added(1)  # so\nendif()",
    'set(ADDED "a\n  b")',
    "added([[\n x\n   y\n]])",
)
PARTS = ("ADDED", '"new one"', "${A}/b", "[[x y]]", "-DA=1")


def _texts(what: str, name: str, chance: random.Random) -> str | None:
    kinds = {"function": FUNCTIONS, "call": CALLS, "assignment": ASSIGNMENTS}
    return chance.choice(kinds[what]).replace("{name}", name)


def _fragment(text: str) -> Stream:
    """Read arguments alone."""
    if re.match(r"\s*(?:#.*\n\s*)*\w+\s*\(", text):
        return read(text)
    stream = read(f"x({text})")
    return replace(stream, code=stream.code[2:-1])


TONGUE = Tongue(
    read=read,
    texts=_texts,
    statement=lambda chance: chance.choice(STATEMENTS),
    part=lambda chance: chance.choice(PARTS),
    wrapper="",
    commas=False,
    verify=verify,
    fragment=_fragment,
)
_CONTROL = re.compile(
    r"(?:end)?(?:if|foreach|while|function|macro|block)|else(?:if)?", re.IGNORECASE
)


def pool(text: str) -> list[Callable[[random.Random], Case | None]]:
    """Return what makes cases of a file. Raises UnreadableError."""
    stream = read(text)
    return cases(stream, TONGUE, counted(list(_constructs(stream))))


def _constructs(stream: Stream) -> Iterator[Construct]:
    code = stream.code
    opened: list[tuple[str, int]] = []
    for first, token in enumerate(code):
        if token.kind != "command" or first + 1 >= len(code) or code[first + 1].text != "(":
            continue
        name = token.text.lower()
        depth = 0
        for last in range(first + 1, len(code)):
            depth += (code[last].text == "(" and code[last].kind == "bracket") - (
                code[last].text == ")" and code[last].kind == "bracket"
            )
            if not depth:
                break
        flat = all(each.kind == "argument" for each in code[first + 2 : last])
        parts = tuple((n, n + 1) for n in range(first + 2, last)) if flat else None
        span = (first, last + 1)
        if name in {"function", "macro"}:
            opened.append((code[first + 2].text, first))
        elif name in {"endfunction", "endmacro"} and opened:
            said, begun = opened.pop()
            if re.fullmatch(r"\w+", said):
                yield Construct(
                    what="function", name=said, core=(begun, last + 1), whole=(begun, last + 1)
                )
        if _CONTROL.fullmatch(name):
            continue
        # A command that is wrapped is no command any more, so a call has its parts, and is not
        # wrapped here.
        yield Construct(what="call", name=name, core=span, whole=span, parts=parts, closing=last)
        if name == "set" and parts and re.fullmatch(r"\w+", code[parts[0][0]].text):
            values = _values(code, first + 3, last)
            yield Construct(
                what="assignment",
                name=code[first + 2].text,
                core=span,
                whole=span,
                parts=None
                if values is None
                else tuple((n, n + 1) for n in range(first + 3, values)),
                closing=last if values is None else values,
                list_=True,
            )


def _values(code: Sequence[Token], first: int, last: int) -> int | None:
    """Return where the values of a `set` end, as cmake counts it from the end.

    None where only a run of cmake tells it.
    """
    words = [token.text for token in code[first:last]]
    marks = [
        number for number, word in enumerate(words) if word.strip('"') in {"CACHE", "PARENT_SCOPE"}
    ]
    if marks and any("$" in word and not word.startswith(('"', "[")) for word in words[marks[0] :]):
        return None  # it may be no word, or several
    if words[-1:] == ["PARENT_SCOPE"]:
        return last - 1
    forced = len(words) > 3 and words[-1] == "FORCE"  # CACHE, a type, a text and the word itself
    at = last - 3 - forced
    return at if at >= first and code[at].text == "CACHE" else last
