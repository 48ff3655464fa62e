"""Fill the templates of an edit for one match.

Inserted code is indented as far as the place where it is put.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches.backends import (
    backend,
    indentation,
    is_blank,
    line_end,
    line_start,
    newline_at,
)
from forkhouse.patches.languages.places import redirected

if TYPE_CHECKING:
    from forkhouse.patches.backends import Node, Span
    from forkhouse.patches.edits import Selector

_VARIABLE = re.compile(r"\${1,3}([A-Z_][A-Z0-9_]*)\b")
_LINE_OF_ITS_OWN = re.compile(r"(?:\A|\n)[ \t]*\$MATCH[ \t]*;?[ \t]*(?=\n|\Z)")
_LEADS = ("@", "[[", "#[", "///", "//!", "/**", "/*!", "template")
"""The beginning of a line that belongs to the code below it."""


def indented_lines(code: str, spaces: str, language: str) -> str:
    """Indent all lines of code but the first, empty ones, and those that begin in a literal.

    White space at the beginning of a line in a literal is a part of the literal.
    """
    if "\n" not in code:
        return code
    inner = backend(language).inner_lines(code, language)
    lines = code.split("\n")
    return "\n".join(
        line if number == 0 or number in inner or not line.strip() else f"{spaces}{line}"
        for number, line in enumerate(lines)
    )


def wrapped(node: Node, template: str, selector: Selector, text: str, language: str) -> Node:
    """Return a match as the code that a template goes around.

    If the template has whole lines, this includes all that belongs to the match: its decorators,
    its attributes, its semicolon and the comment behind it. Otherwise they would belong to the
    lines around it. Raises PatchConflictError if it is not known what belongs to the match.
    """
    if language == "bash" and selector.anchor is None:
        node = _with_redirections(node, template, text)
    place = _LINE_OF_ITS_OWN.search(template)
    if (
        selector.anchor is not None
        or place is None
        or not _goes_around(template[: place.start()], template[place.end() :])
    ):
        return node
    if node.doubt:
        message = (
            f"{selector.said()} cannot be wrapped: {node.doubt} Wrap both by an `anchor`, in the "
            "language text."
        )
        raise PatchConflictError(message)
    start, end = node.whole
    others = (
        text[node.end : end].strip() not in {"", ";"}
        and re.search(r"\btypedef\b", text[start : node.start]) is None
    )
    if selector.class_ is not None and others:
        message = (
            f"{selector.said()} is declared with '{text[node.end : end].strip()}', which would be "
            "wrapped, too. Replace the whole of it."
        )
        raise PatchConflictError(message)
    rest = text[end : line_end(text, end)]
    if (
        template[place.end() :].strip()
        and not place[0].rstrip().endswith(";")
        and rest.strip()
        and is_blank(rest, language)
    ):
        end += len(rest.rstrip())
    return (
        node
        if (start, end) == (node.start, node.end)
        else replace(node, start=start, end=end, loose=frozenset())
    )


def _with_redirections(node: Node, template: str, text: str) -> Node:
    """Return a command with its redirections.

    Otherwise they would apply to everything that is put around the command. Raises
    PatchConflictError for a here-document, whose lines stand behind all of that.
    """
    end = redirected(text, (node.start, node.end))
    if end is None:
        return node
    if "<<" in text[node.end : end] and template.rstrip().partition("$MATCH")[2]:
        message = (
            "The command has a here-document, which would be that of all that is put around it. "
            "Replace the whole of it."
        )
        raise PatchConflictError(message)
    return node if "<<" in text[node.end : end] else replace(node, end=end, loose=frozenset())


def _goes_around(before: str, behind: str) -> bool:
    """Say whether a template puts lines around statements, and not text around a part of one."""
    before, behind = before.rstrip(), behind.lstrip()
    above = before.rpartition("\n")[2].lstrip()
    parted = before[-1:] not in set("([,=+*/|&\\") and behind[:1] not in {")", "]", ",", "."}
    return bool(before or behind) and parted and not above.startswith(_LEADS)


def filled(template: str, node: Node, selector: Selector, text: str, language: str) -> str:
    """Fill a template for one match.

    The template gets the indentation of the matched line, and then $MATCH and the metavariables of
    the pattern are replaced. For an anchor, only $MATCH in a `wrap` has a meaning. The rest of that
    template stays as it is.
    """
    matched = text[node.start : node.end]
    newline = newline_at(text, node.start)
    if selector.anchor is not None:
        return template.replace("\n", newline).replace("$MATCH", matched)
    own = indentation(text, node.start)
    indented = indented_lines(template.removesuffix("\n"), own or "", language).replace(
        "\n", newline
    )

    def captured(variable: re.Match[str]) -> str:
        name = variable[1]
        span = (node.start, node.end) if name == "MATCH" else node.captures.get(name)
        # In shell, Meson and CMake a name after a dollar sign may be just that; a pattern is what
        # gives it a meaning.
        if name != "MATCH" and selector.pattern is None and selector.rule is None:
            return variable[0]
        if span is None:
            message = (
                f"The replacement uses ${name}, which the pattern does not capture. Name it in the "
                "pattern."
            )
            raise PatchConflictError(message)
        _refuse_parts(name, text[slice(*span)], node, indented, variable.span(), language)
        spaces: str | None = indented[line_start(indented, variable.start()) : variable.start()]
        if spaces == indented[: variable.start()] and not spaces.strip():
            spaces = own
        code = (
            text[slice(*span)]
            if spaces is None or spaces.strip()
            else moved(text, span, spaces, language)
        )
        return (
            code.removesuffix(";")
            if name == "MATCH" and indented[variable.end() : variable.end() + 1] == ";"
            else code
        )

    return _VARIABLE.sub(captured, indented)


def _refuse_parts(
    name: str, code: str, node: Node, template: str, place: Span, language: str
) -> None:
    """Raise PatchConflictError if something beside a placeholder takes a part of its code.

    In any language this is an operator. In a shell, it is also a quote in the code of a placeholder
    that stands in quotes.
    """
    within = language != "bash" and in_literal(template, place[0], language)
    if name in node.loose and not within and not _stands_free(template, *place):
        said = " ".join(code.split())
        message = (
            f"${name} stands for '{said}', of which an operator beside it would take a part. Put "
            f"brackets around ${name}."
        )
        raise PatchConflictError(message)
    unfit: object
    if language == "bash":
        unfit = name != "MATCH" and re.search(r"[\"']", code) and _in_quotes(template, place[0])
    else:
        unfit = within and _UNFIT.search(code)
    if unfit:
        message = (
            f"${name} stands in quotes, and what it stands for, {code}, has quotes, braces or "
            "backslashes of its own. Take one of them out."
        )
        raise PatchConflictError(message)


def moved(text: str, span: Span, spaces: str, language: str) -> str:
    """Return code of a file behind other white space.

    Its lines move with the first one. A line stays if it begins inside a literal, or continues, in
    C, a line that ends in a backslash: its white space may be a part of a literal. Code that does
    not begin its line keeps its indentation. So does YAML, in which the indentation decides what
    belongs to what.
    """
    code = text[slice(*span)]
    own = indentation(text, span[0])
    if "\n" not in code or own is None or own == spaces or language == "yaml":
        return code
    first = text.count("\n", 0, span[0])
    inner = backend(language).inner_lines(text, language)
    lines = code.split("\n")
    for number in range(1, len(lines)):
        line = lines[number]
        stays = first + number in inner or not line.strip() or not line.startswith(own)
        if not (
            stays
            or _goes_on(lines[number - 1], line, language)
            or (language in {"c", "cpp"} and line.startswith("#"))
        ):
            lines[number] = spaces + line[len(own) :]
    return "\n".join(lines)


def _goes_on(above: str, line: str, language: str) -> bool:
    """Say whether white space put before a line may mean something.

    It may if the line above ends with a backslash. Outside of C and C++, it does not if the line
    begins with white space already.
    """
    return above.rstrip("\r").endswith("\\") and (
        language in {"c", "cpp"} or line[:1] not in {" ", "\t"}
    )


def _in_quotes(template: str, place: int) -> bool:
    """Say whether a place in a line of shell stands in quotes."""
    line = template[line_start(template, place) : place]
    return line.count('"') % 2 == 1 or line.count("'") % 2 == 1


_UNFIT = re.compile(r"[\"'\\\\{}\n]|:=")
"""Characters that mean something else inside a literal than outside of it."""
_COMMENT = {
    **dict.fromkeys(("c", "cpp", "rust"), r"//[^\n]*|/\*.*?\*/"),
    **dict.fromkeys(("yaml", "json", "text"), r"(?!)"),
}
_LITERALS = {
    "python": r"(?P<quote>\"\"\"|\'\'\'|\"|\').*?(?<!\\)(?:\\\\)*(?P=quote)",
    "meson": r"\'\'\'.*?\'\'\'|\'(?:[^\'\\]|\\.)*\'",
    **dict.fromkeys(
        ("c", "cpp", "rust"),
        r"\br(?P<hashes>#*)\".*?\"(?P=hashes)|\"(?:[^\"\\]|\\.)*\"|\'(?:[^\'\\\n]|\\[^\n]+?)\'",
    ),
}
_ANY = r"\"(?:[^\"\\]|\\.)*\"|\'(?:[^\'\\]|\\.)*\'"


def in_literal(template: str, place: int, language: str) -> bool:
    """Say whether a place in a template lies within a string or a character, by its quotes."""
    comment = _COMMENT.get(language, r"#[^\n]*")
    known = re.compile(f"(?:{comment})|(?P<text>{_LITERALS.get(language, _ANY)})", re.DOTALL)
    return any(
        found.start() < place < found.end() for found in known.finditer(template) if found["text"]
    )


def _stands_free(template: str, start: int, end: int) -> bool:
    """Say whether nothing in a template can bind to a part of the code at a place.

    Brackets, separators or line ends have to be around it.
    """
    before, behind = template[:start].rstrip(" \t"), template[end:].lstrip(" \t")
    opened = (
        not before
        or before[-1] in "([{,;:\n"
        or re.search(r"(?<![=<>!+\-*/%&|^])=$|\breturn$", before) is not None
    )
    return opened and (not behind or behind[0] in ")]},;:\n\r")
