"""Meson, as Pygments splits it into tokens.

Some of the texts are also read by `meson introspect --ast`, in a process of its own.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

from pygments.lexers.meson import MesonLexer
from pygments.token import Comment as Remark
from pygments.token import Error, Text, Whitespace

from bench.edits.brackets import pairs, split
from bench.edits.code import Construct, Tongue, cases, counted
from bench.edits.stream import Comment, Stream, Token, UnreadableError

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from bench.edits.case import Case

_LEXER = MesonLexer(stripnl=False, ensurenl=False)
MESON = shutil.which("meson", path=str(Path(sys.executable).parent)) or shutil.which("meson")
ASKED = 150
"""Of so many results, Meson is asked about one: it takes a third of a second."""


def read(text: str) -> Stream:
    """Return what Pygments sees; the end of a line is a piece where a statement can end.

    Raises UnreadableError.
    """
    if not text.endswith("\n"):
        text += "\r\n" if "\r\n" in text else "\n"
    code: list[Token] = []
    comments: list[Comment] = []
    depth = 0
    for start, kind, said in _LEXER.get_tokens_unprocessed(text):
        end = start + len(said)
        if kind in Remark:
            remark = said.rstrip("\r\n")
            comments.append(Comment(remark, start, start + len(remark)))
        elif kind in Text or kind in Whitespace:
            at = said.find("\n")
            if at >= 0 and depth == 0 and code and code[-1].kind != "line":
                begin = start + at - (said[at - 1 : at] == "\r")
                code.append(Token("line", "", begin, start + at + 1))
        elif kind in Error:
            if said != "\r":
                raise UnreadableError(f"Pygments does not know {said!r}")
        else:
            depth += (said in {"(", "[", "{"}) - (said in {")", "]", "}"})
            code.append(Token("code", said.replace("\r\n", "\n"), start, end))
    return Stream(text=text, code=tuple(code), comments=tuple(comments))


@lru_cache(maxsize=32)
def _refused(text: str) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "meson.build")
        path.write_text(text, encoding="utf-8", newline="")
        command = [MESON or "meson", "introspect", "--ast", str(path)]
        result = subprocess.run(command, capture_output=True, check=False, cwd=folder, text=True)
        # It also wants names to be known, which those of new texts are not.
        return (
            result.returncode != 0
            and re.search(r"Expecting|lexer", result.stdout + result.stderr) is not None
        )


def verify(before: str, after: str) -> str | None:
    """Ask Meson about a few results of texts that it reads."""
    if MESON is None or crc32(after.encode()) % ASKED or _refused(before):
        return None
    return "Meson refuses the result, not the file as it was" if _refused(after) else None


CALLS = ("renamed(1)", "other('a # b', [1, 2], key: true)", "'''one\n  two'''")
ASSIGNMENTS = (
    "{name} = 3",
    "{name} = [\n  'one',\n  'two',  # so\n]",
    "{name} = '''a\n  b\n'''",
    "{name} = {'a': 1}",
)
STATEMENTS = (
    "added(1, 2)",
    "# a word\nadded()\n",
    "if added\n  added(1)  # so\nendif",
    "added = '''a\n  b'''",
    "added = [\n  1,\n]",
)
PARTS = ("added", "'new'", "f(1, 2)", "[1, 2]", "'''a\n b'''")


def _texts(what: str, name: str, chance: random.Random) -> str | None:
    return chance.choice({"call": CALLS, "assignment": ASSIGNMENTS}[what]).replace("{name}", name)


def _fragment(text: str) -> Stream:
    stream = read(text)
    return replace(stream, code=stream.code[:-1])


TONGUE = Tongue(
    read=read,
    texts=_texts,
    statement=lambda chance: chance.choice(STATEMENTS),
    part=lambda chance: chance.choice(PARTS),
    verify=verify,
    keyword=":",
    fragment=_fragment,
)
_WORDS = frozenset({"if", "elif", "foreach", "and", "or", "not", "in", "else"})


def pool(text: str) -> list[Callable[[random.Random], Case | None]]:
    """Return what makes cases of a file. Raises UnreadableError."""
    stream = read(text)
    closed = pairs(stream.code, kinds=frozenset({"code"}))
    return cases(stream, TONGUE, counted([*_calls(stream, closed), *_assignments(stream, closed)]))


def _starts(stream: Stream, at: int) -> bool:
    return at == 0 or stream.code[at - 1].kind == "line"


def _calls(stream: Stream, closed: dict[int, int]) -> Iterator[Construct]:
    code = stream.code
    for opening, closing in closed.items():
        at = opening - 1
        if (
            code[opening].text != "("
            or at < 0
            or not re.fullmatch(r"[A-Za-z_]\w*", code[at].text)
            or code[at].text in _WORDS
        ):
            continue
        if at and code[at - 1].text == ".":
            # A method has the name too.
            yield from [Construct(what="call", name=code[at].text, core=(0, 0), whole=(0, 0))] * 2
            continue
        alone = _starts(stream, at) and code[closing + 1].kind == "line"
        parts, trailing = split(code, closed, opening)
        end = closing + 2 if alone else closing + 1
        yield Construct(
            what="call",
            name=code[at].text,
            core=(at, end),
            whole=(at, end),
            statement=alone,
            parts=parts,
            closing=closing,
            trailing=trailing,
        )


def _assignments(stream: Stream, closed: dict[int, int]) -> Iterator[Construct]:
    code = stream.code
    for at, token in enumerate(code[:-2]):
        if (
            not re.fullmatch(r"[A-Za-z_]\w*", token.text)
            or code[at + 1].text not in {"=", "+="}
            or not _starts(stream, at)
        ):
            continue
        end = at + 2
        while end < len(code) and code[end].kind != "line":
            end = closed.get(end, end) + 1
        parts, trailing, closing = None, False, -1
        if code[at + 2].text == "[" and closed.get(at + 2) == end - 1:
            closing = end - 1
            parts, trailing = split(code, closed, at + 2)
        yield Construct(
            what="assignment",
            name=token.text,
            core=(at, end + 1),
            whole=(at, end + 1),
            parts=parts,
            closing=closing,
            trailing=trailing,
            list_=True,
        )
