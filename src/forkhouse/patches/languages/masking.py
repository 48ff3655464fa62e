"""Make C, C++, CUDA and HIP readable for their grammars.

Text that only a preprocessor or a GPU compiler understands is blanked out. The length of the text
stays the same, so everything else keeps its place.

The grammars do not expand macros. A macro before a declaration makes them take the declaration's
type for a name, or end the declaration too early. They read a kernel launch as shifts and
templates. A `#define` of a name with only blanks behind it takes the next line for its value.
"""

from __future__ import annotations

import re
from bisect import bisect_left
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
    r"\b(?:__global__|__device__|__host__|__forceinline__|__noinline__|__shared__|__constant__"
    r"|__managed__|__grid_constant__)\b"
    r"|\b__launch_bounds__[ \t]*\((?:[^()]|\([^()]*\))*\)"
)
_ALWAYS = re.compile(
    # Between `class` and its name, and around the declarations of a header of C.
    r"(?<=\bclass )[ \t]*[A-Z][A-Z0-9_]*(?:\([^()\n]*\))?"
    r"(?=[ \t]+(?!final\b)\w+\s*(?:final\s*)?[:{])"
    r"|(?<=\bstruct )[ \t]*[A-Z][A-Z0-9]*_[A-Z0-9_]*(?:\([^()\n]*\))?"
    r"(?=[ \t]+(?!final\b)\w+\s*(?:final\s*)?[:{])"
    r"|^[ \t]*(?:\w+_)?(?:BEGIN|END)_\w*(?:DECLS|C)\w*[ \t]*\r?$",
    re.MULTILINE,
)
_MACRO = re.compile(
    r"\b(?:[A-Z][A-Z0-9]*(?:_[A-Z0-9_]*)?|_*[A-Z][A-Z0-9_]*|[A-Z][a-z]{1,3}_[A-Z][A-Z0-9_]*)\b"
    r"(?:[ \t]*\((?:[^(){};]|\([^(){};]*\))*\)(?![ \t]*\()|(?![ \t]*\())"
    r"(?=\s*([\w:~*&\[]|\Z|\S))"
)
"""Text that may be a macro (`A`, `A_B`, `Py_BEGIN_ALLOW_THREADS`), with its arguments.

A macro with statements as arguments is no attribute, so it is not matched.
"""
NEAR = 2
"""The number of lines of code around an unreadable place in which a macro is looked for."""


def blanked(piece: str) -> str:
    """Return blanks of the length of a text, with its line ends."""
    return re.sub(r"[^\r\n]", " ", piece)


def without_comments_and_literals(text: str) -> str:
    """Return a text with its comments and literals blanked out, to look for code in it.

    The length stays the same.
    """
    return _SKIPPED.sub(lambda match: blanked(match[0]), text)


def without_last_comment(line: str) -> str:
    """Return a preprocessor line without the comments and the blanks at its end."""
    end = len(line.rstrip())
    for match in reversed(list(_SKIPPED.finditer(line))):
        if match[0].startswith("/") and not line[match.end() : end].strip():
            end = len(line[: match.start()].rstrip())
    return line[:end]


def masked(text: str) -> str:
    """Blank out what no grammar of C or C++ knows: CUDA's words and kernel launches.

    If a `#define` has only blanks behind its name, they are moved behind the line end.
    """
    text = _EMPTY_DEFINE.sub(lambda match: f"{match[1]}{match[3]}{match[2]}", text)
    if "<<<" not in text and "__" not in text and not _ALWAYS.search(text):
        return text
    code = without_comments_and_literals(text)
    spans = [match.span() for match in _KEYWORDS.finditer(code)]
    spans += [
        span
        for match in _LAUNCH.finditer(code)
        if (span := _launch(code, match.start())) is not None
    ]
    spans += [match.span() for match in _ALWAYS.finditer(code)]
    return _without(text, spans)


def is_of_gpus(piece: str) -> bool:
    """Say whether code holds only CUDA's words, which surely belong to the function behind."""
    return not _KEYWORDS.sub("", piece).strip()


def hidden_above(text: str, readable: str, position: int) -> int | None:
    """Return where the lines of macros directly above a place begin, or None.

    These lines are blank in the readable text. A macro that opens or closes something is not
    counted.
    """
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
"""Words in the names of macros around declarations, as in BEGIN_C_DECLS and END_C_DECLS."""


def _is_bracket(line: str, text: str) -> bool:
    """Say whether a line is a macro that opens or closes something, so no part of a declaration.

    The file has to hold its counterpart, such as `END_X` for `BEGIN_X`.
    """
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
    """Return the span of a launch's configuration, or None if its statement does not end it."""
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
    """Blank out macros beside text that the grammar cannot read, if it then reads more.

    The faults that are left have to be some of those before, and no others. `faults` returns the
    places that a grammar cannot read, or where it made something up.
    """
    bad = faults(text)
    if not bad:
        return text
    code = without_comments_and_literals(text)
    code = re.sub(
        r"^[ \t]*#(?:[^\n\\]|\\[\s\S])*", lambda match: blanked(match[0]), code, flags=re.MULTILINE
    )
    ends = [match.end() for match in re.finditer(r"\S[^\S\n]*$", code, re.MULTILINE)]
    lines = {bisect_left(ends, place) for place in bad}
    spans = [
        match.span()
        for match in _MACRO.finditer(code)
        if match[1] != "{"
        and _heads(code, match)
        and any(abs(bisect_left(ends, match.start()) - line) <= NEAR for line in lines)
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
"""The number of macros to try one by one if all of them at once do not help."""


def _heads(code: str, match: re.Match[str]) -> bool:
    """Say whether a macro can be an attribute of the text behind it.

    Such a macro stands at the head of a declaration, or behind its first words.
    """
    before = code[code.rfind("\n", 0, match.start()) + 1 : match.start()]
    return (
        re.fullmatch(
            r"[ \t]*(?:(?:static|inline|extern|const|constexpr|virtual|explicit|friend|class"
            r"|struct|typedef|unsigned|signed|void|int|char|[A-Z_][A-Z0-9_]*)\b[ \t*&]*)*",
            before,
        )
        is not None
    )
