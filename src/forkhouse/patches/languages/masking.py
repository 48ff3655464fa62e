"""C, C++, CUDA and HIP as their grammars can read them.

A text of the same length, in which what only a preprocessor or a GPU's compiler knows is blank.

The grammars do not expand macros. One before a declaration makes them take the declaration's type
for a name, or end it too early; a kernel launch looks to them like shifts and templates; a
definition of a macro with nothing but blanks behind its name takes the next line for its value.
Where such a piece is blanked out, all others keep their places.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_SKIPPED = re.compile(
    r"""
    //(?:[^\n\\]|\\[\s\S])*            # a comment, which a backslash continues
    | /\*[\s\S]*?(?:\*/|\Z)
    | (?:u8|[uUL])?R"([^\s()\\]{0,16})\([\s\S]*?(?:\)\1"|\Z)   # a raw string
    | "(?:[^"\\\n]|\\[\s\S])*"?
    | '(?:[^'\\\n]|\\[\s\S])*'?
    """,
    re.VERBOSE,
)
_EMPTY_DEFINE = re.compile(r"^([ \t]*#[ \t]*define[ \t]+\w+)([ \t]+)(\r?\n)", re.MULTILINE)
_LAUNCH = re.compile(r"<<<")
_KEYWORDS = re.compile(
    r"\b(?:__global__|__device__|__host__|__forceinline__|__noinline__|__shared__|__constant__|__managed__|__grid_constant__)\b"
    r"|\b__launch_bounds__[ \t]*\((?:[^()]|\([^()]*\))*\)"
)
_ALWAYS = re.compile(
    # Between `class` and its name, and around the declarations of a header of C.
    r"(?<=\bclass )[ \t]*[A-Z][A-Z0-9_]*(?:\([^()\n]*\))?(?=[ \t]+\w+\s*(?:final\s*)?[:{])"
    r"|(?<=\bstruct )[ \t]*[A-Z][A-Z0-9]*_[A-Z0-9_]*(?:\([^()\n]*\))?(?=[ \t]+\w+\s*(?:final\s*)?[:{])"
    r"|^[ \t]*(?:\w+_)?(?:BEGIN|END)_\w*(?:DECLS|C)\w*[ \t]*\r?$",
    re.MULTILINE,
)
_MACRO = re.compile(
    r"\b(?:[A-Z][A-Z0-9]*(?:_[A-Z0-9_]*)?|_*[A-Z][A-Z0-9_]*|[A-Z][a-z]{1,3}_[A-Z][A-Z0-9_]*)\b(?:[ \t]*\((?:[^(){};]|\([^(){};]*\))*\))?+(?![ \t]*\()(?=\s*([\w:~*&\[]|\Z|\S))"
)
"""What may be a macro (`A`, `A_B`, `Py_BEGIN_ALLOW_THREADS`), with its arguments.

One that is given statements is no attribute of anything.
"""
NEAR = 2
"""Lines around a place that the grammar cannot read, in which a macro is looked for."""


def blanked(piece: str) -> str:
    """Return blanks of the length of a piece, with its line ends."""
    return re.sub(r"[^\r\n]", " ", piece)


def _outside(text: str) -> str:
    """Return a text of the same length without comments and literals, to look for pieces of code in it."""
    return _SKIPPED.sub(lambda match: blanked(match[0]), text)


def without_last_comment(line: str) -> str:
    """Return a line of the preprocessor without the comments and the blanks that it ends with."""
    end = len(line.rstrip())
    for match in reversed(list(_SKIPPED.finditer(line))):
        if match[0].startswith("/") and not line[match.end() : end].strip():
            end = len(line[: match.start()].rstrip())
    return line[:end]


def masked(text: str) -> str:
    """Blank out what no grammar of C or C++ knows: CUDA's words and launches.

    And end definitions of nothing before their blanks.
    """
    text = _EMPTY_DEFINE.sub(lambda match: f"{match[1]}{match[3]}{match[2]}", text)
    if "<<<" not in text and "__" not in text and not _ALWAYS.search(text):
        return text
    code = _outside(text)
    spans = [match.span() for match in _KEYWORDS.finditer(code)]
    spans += [
        span
        for match in _LAUNCH.finditer(code)
        if (span := _launch(code, match.start())) is not None
    ]
    spans += [match.span() for match in _ALWAYS.finditer(code)]
    return _without(text, spans)


def is_of_gpus(piece: str) -> bool:
    """Say whether a piece of code holds nothing but CUDA's words before a function, which belong to it for sure."""
    return not _KEYWORDS.sub("", piece).strip()


def hidden_above(text: str, readable: str, position: int) -> int | None:
    """Return where lines begin that stand directly over a place and hold macros alone, which are blank in the readable text; None for none."""
    first = text.rfind("\n", 0, position) + 1
    begun = None
    while first > 0:
        above = text.rfind("\n", 0, first - 1) + 1
        line = text[above : first - 1].strip()
        if not line or readable[above : first - 1].strip() or _is_bracket(line, text):
            break
        begun = first = above
    return begun


_PAIRS = (("BEGIN", "END"), ("START", "END"), ("OPEN", "CLOSE"), ("PUSH", "POP"))
"""Words in the names of macros that stand around declarations, such as BEGIN_C_DECLS and
END_C_DECLS."""


def _is_bracket(line: str, text: str) -> bool:
    """Say whether a line is one macro that opens or closes something, as another one of the file closes or opens it: it is of no declaration."""
    name = re.fullmatch(r"([A-Za-z_]\w*)[ \t]*(?:\([^()]*\))?", line)
    if name is None:
        return False
    others = {
        name[1].replace(one, other)
        for pair in _PAIRS
        for one, other in (pair, pair[::-1])
        if one in name[1]
    }
    return any(re.search(rf"(?<!\w){re.escape(other)}(?!\w)", text) for other in others)


def _launch(code: str, start: int) -> tuple[int, int] | None:
    """Return the span of a launch's configuration, None where it has no end in its statement."""
    depth = 0
    for place in range(start + 3, min(len(code), start + 2000)):
        character = code[place]
        if character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif character == ";" or depth < 0:
            return None
        elif depth == 0 and code.startswith(">>>", place):
            return start, place + 3
    return None


def _without(text: str, spans: list[tuple[int, int]]) -> str:
    pieces, begun = [], 0
    for start, end in sorted(spans):
        pieces += [text[begun:start], blanked(text[start:end])]
        begun = max(begun, end)
    return "".join([*pieces, text[begun:]])


def without_macros(text: str, faults: Callable[[str], list[int]]) -> str:
    """Blank out macros beside what the grammar cannot read, where it then reads more of the text and nothing less.

    `faults` returns the places that a grammar cannot read, or where it made something up.
    """
    bad = faults(text)
    if not bad:
        return text
    lines = sorted({text.count("\n", 0, place) for place in bad})
    code = _outside(text)
    code = re.sub(
        r"^[ \t]*#(?:[^\n\\]|\\[\s\S])*", lambda match: blanked(match[0]), code, flags=re.MULTILINE
    )
    spans = [
        match.span()
        for match in _MACRO.finditer(code)
        if match[1] != "{"
        and _heads(code, match)
        and any(abs(code.count("\n", 0, match.start()) - line) <= NEAR for line in lines)
    ]
    if not spans:
        return text
    tried = _without(text, spans)
    if set(faults(tried)) < set(bad):
        return tried
    for span in spans[:_TRIES]:
        tried = _without(text, [span])
        left = faults(tried)
        if set(left) < set(bad):
            text, bad = tried, left
    return text


_TRIES = 8
"""Macros that are tried one by one where all at once do not do."""


def _heads(code: str, match: re.Match[str]) -> bool:
    """Say whether a macro can stand for an attribute of what follows it.

    At the head of a declaration, or behind its first words.
    """
    before = code[code.rfind("\n", 0, match.start()) + 1 : match.start()]
    return (
        re.fullmatch(
            r"[ \t]*(?:(?:static|inline|extern|const|constexpr|virtual|explicit|friend|class|struct|typedef|unsigned|signed|void|int|char|[A-Z_][A-Z0-9_]*)\b[ \t*&]*)*",
            before,
        )
        is not None
    )
