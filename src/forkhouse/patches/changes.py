"""Turn selectors into spans of a file, and operations into the splices that they make."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches import parts as layout
from forkhouse.patches.edits import (
    CodeOperation,
    CountRange,
    LineChange,
    PartChange,
    Place,
    Selector,
    allows,
)
from forkhouse.patches.languages.base import (
    Layout,
    backend,
    indentation,
    is_blank,
    line_end,
    line_start,
    newline_at,
    next_line,
)
from forkhouse.patches.languages.imports import addition, imports, meaning
from forkhouse.patches.languages.masking import without_comments_and_literals
from forkhouse.patches.languages.places import ends_branch
from forkhouse.patches.pieces import Pieces
from forkhouse.patches.templates import filled, indented_lines, wrapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkhouse.patches.languages.base import Node, Parts, Splice


class MatchError(PatchConflictError):
    """An operation matched a wrong number of times, or cannot be applied where it matched."""

    def __init__(
        self,
        message: str,
        *,
        anchor: str = "",
        operation: int = 0,
        matches: int = 0,
        expected: int | CountRange = 0,
    ) -> None:
        """Keep what was looked for, for a person who has to find it.

        This is the text, the number of the operation, and how often the text was there.
        """
        super().__init__(message)
        self.anchor = anchor
        self.operation = operation
        self.matches = matches
        self.expected = expected


def spliced(text: str, splices: Sequence[Splice]) -> str:
    """Return a text with splices put into it.

    Splices at one place keep their order. Raises PatchConflictError when splices overlap.
    """
    pieces = []
    begun = 0
    for start, stop, new in sorted(splices, key=lambda splice: splice[:2]):
        if start < begun:
            message = (
                "Two matches lie one in the other, or share what separates them, so both cannot be "
                "changed at once. Narrow the pattern, match "
                "the outer one alone, or write an operation for each."
            )
            raise PatchConflictError(message)
        pieces += [text[begun:start], new]
        begun = stop
    return "".join([*pieces, text[begun:]])


def left_by(text: str, operation: CodeOperation, language: str) -> str:
    """Return a text as an operation leaves it, wherever it matches. Raises PatchConflictError."""
    found = changes(text, operation, language)
    return spliced(text, [splice for splices in found for splice in splices])


def scope_of(text: str, selector: Selector, language: str) -> tuple[int, int]:
    """Return the span that a selector searches.

    Raises MatchError when the scope of the selector does not exist exactly once.
    """
    if selector.within is None:
        return 0, len(text)
    scopes = find(text, selector.within, language)
    if len(scopes) != 1:
        said = selector.within.said()
        message = f"The scope `within: {said}` matched {len(scopes)} times, expected 1."
        raise MatchError(message, anchor=said, matches=len(scopes), expected=1)
    return scopes[0].scope or (scopes[0].start, scopes[0].end)


def find(text: str, selector: Selector, language: str) -> list[Node]:
    """Return what a selector matches inside its scope."""
    nodes = backend(language).find(text, selector, language)
    if selector.within is None:
        return nodes
    start, end = scope_of(text, selector, language)
    return [node for node in nodes if start <= node.start and node.end <= end]


def changes(text: str, operation: CodeOperation, language: str) -> list[list[Splice]]:
    """Return for each match of an operation what it changes."""
    match operation:
        case (
            CodeOperation(replace=Selector() as selector)
            | CodeOperation(wrap=Selector() as selector)
        ):
            nodes = find(text, selector, language)
            if operation.wrap is not None:
                nodes = [
                    wrapped(node, operation.with_ or "", selector, text, language) for node in nodes
                ]
                nodes = [
                    _with_comment(node, operation.with_ or "", text, language) for node in nodes
                ]
            else:
                nodes = [
                    _behind_lead(node, operation.with_ or "", selector, text, language)
                    for node in nodes
                ]
            new = [filled(operation.with_ or "", node, selector, text, language) for node in nodes]
            return [
                [
                    _for_statement(node, each, text, language)
                    or (node.start, node.end, _ended_once(each, text, node.end, language))
                ]
                for node, each in zip(nodes, new, strict=True)
            ]
        case CodeOperation(remove=Selector() as selector):
            nodes = find(text, selector, language)
            if not allows(operation.count, len(nodes)):
                # A wrong number is reported first, and then whether each can be removed.
                return [[] for _ in nodes]
            # Two removals together may leave something else than each alone.
            if len(nodes) < 2:
                return [_removal(text, node, selector, language) for node in nodes]
            return [_one_by_one(text, nodes, selector, language), *([] for _ in nodes[1:])]
        case CodeOperation(insert=Place(before=Selector() as selector) as place):
            return [
                _beside_item(place, node, selector, text, language)
                or [_before(place.text, node, selector, text, language)]
                for node in find(text, selector, language)
            ]
        case CodeOperation(insert=Place(after=Selector() as selector) as place):
            return [
                _beside_item(place, node, selector, text, language)
                or [_after(place.text, node, selector, text, language)]
                for node in find(text, selector, language)
            ]
        case CodeOperation(argument=PartChange() as change):
            return _of_parts(text, change, language, of_call=True)
        case CodeOperation(item=PartChange() as change):
            return _of_parts(text, change, language, of_call=False)
        case CodeOperation(include=LineChange() as change):
            return _of_imports(text, change, language, include=True)
        case CodeOperation(import_=LineChange() as change):
            return _of_imports(text, change, language, include=False)
        case _:
            message = f"an operation without an action: {operation}"
            raise AssertionError(message)


_LEADS = ("@", "#[", "///", "/**", "template", "[[", "__attribute__")
"""How a line begins that belongs to the definition below it."""
_ATTRIBUTES = re.compile(
    r"(?:(?:\[\[(?:[^\]]|\](?!\]))*\]\]|__attribute__\s*\(\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)\))\s*)+"
)
"""The attributes that a function of C or C++ begins with."""


def _behind_lead(node: Node, new: str, selector: Selector, text: str, language: str) -> Node:
    """Return a definition without what stands before it, which a replacement leaves.

    The attributes of C and C++ are a part of the definition to the grammar; a text that begins with
    its own takes their place. Raises PatchConflictError if the text brings again what stays.
    """
    if selector.function is None and selector.class_ is None:
        return node
    own = _ATTRIBUTES.match(text, node.start) if language in {"c", "cpp"} else None
    if own is not None and _ATTRIBUTES.match(new.lstrip()) is None:
        node = replace(node, start=own.end())
    kept = {"".join(line.split()) for line in text[node.whole[0] : node.start].splitlines()}
    for line in new.lstrip().splitlines():
        if not line.lstrip().startswith(_LEADS):
            break
        template = line.lstrip().startswith("template") and any(
            each.startswith("template") for each in kept
        )
        ended = not line.rstrip().endswith(("(", "[", "{", ","))
        if template or (ended and "".join(line.split()) in kept):
            message = (
                f"'{line.strip()}' would be there twice: `replace` leaves what stands before "
                f"{selector.said()}. Begin the text behind that, or replace an `anchor`."
            )
            raise PatchConflictError(message)
    return node


_OPENED = re.compile(r"[; \t]*(?:/\*(?!.*\*/)|#\[(=*)\[(?!.*\]\1\]))")
"""A comment that begins on a line and does not end on it."""


def _with_comment(node: Node, template: str, text: str, language: str) -> Node:
    """Extend a match by the comment behind it if the template begins a new line after it.

    Such a comment describes the code before it and has to stay on the line of that code. Raises
    PatchConflictError for a comment of several lines.
    """
    stop = line_end(text, node.end)
    rest = text[node.end : stop]
    if not re.search(r"\$MATCH[ \t]*\n", template.rstrip()) or not rest.strip():
        return node
    if _OPENED.match(rest) is not None and language != "text":
        message = (
            "A comment of several lines begins behind "
            f"{' '.join(text[node.start : node.end].split())}, and would stand behind what is put "
            "around it. Replace the whole."
        )
        raise PatchConflictError(message)
    if not is_blank(rest, language):
        return node
    return replace(node, end=node.end + len(rest.rstrip()))


_STATEMENT = re.compile(r"(?:if|for|while|do|switch|unsafe|loop|match|try)\b|\{")


def _for_statement(node: Node, new: str, text: str, language: str) -> Splice | None:
    """Return the splice that puts statements in the place of a call with its semicolon.

    Returns None if the new text is one expression, or if the match is no whole statement.
    """
    if (
        language not in {"c", "cpp", "rust"}
        or text[node.end : node.end + 1] != ";"
        or node.whole != (node.start, node.end + 1)
    ):
        return None
    code = without_comments_and_literals(new).strip()
    inner = None
    while inner != code:  # what stands in brackets is left out, from the inside
        inner, code = code, re.sub(r"\([^()]*\)|\[[^\[\]]*\]|\{[^{}]*\}", "", code)
    several = ";" in code.removesuffix(";")
    if not several and not _STATEMENT.match(new.strip()):
        return None
    ended = code.endswith(";") or new.rstrip().endswith("}")
    return node.start, node.end + 1, new if ended else f"{new.rstrip()};"


def _ended_once(new: str, text: str, end: int, language: str) -> str:
    """Drop the semicolon of a replacement if the text has one at `end` already.

    This concerns classes and declarators of C and C++ and macros of Rust: their semicolon is not a
    part of the match.
    """
    return (
        new.removesuffix(";")
        if language in {"c", "cpp", "rust"} and text[end : end + 1] == ";"
        else new
    )


def _removal(text: str, node: Node, selector: Selector, language: str) -> list[Splice]:
    """Return the splices that remove a match and all that belongs to it.

    They leave no empty line, lone comma or empty block behind. Raises PatchConflictError when the
    match cannot be removed alone.
    """
    if node.instead is None or (node.decides and node.among is None):
        message = (
            f"{selector.said()} is part of a chain or a condition, or its value is used, and "
            "cannot go alone. Replace the whole of it."
        )
        raise PatchConflictError(message)
    if node.among is not None:
        return layout.removed(text, *node.among, language)
    _refuse_pragma(text, node, language)
    if node.doubt:
        message = (
            f"{selector.said()} cannot be removed: {node.doubt} Remove both by an `anchor`, in the "
            "language text."
        )
        raise PatchConflictError(message)
    start, end = node.whole
    if node.instead:
        return [(start, end, node.instead)]
    start, end = node.gone or node.whole
    return [
        (*_whole_lines(text, start, end, "text" if selector.anchor is not None else language), "")
    ]


def _one_by_one(text: str, nodes: list[Node], selector: Selector, language: str) -> list[Splice]:
    """Remove matches one by one, from the last to the first.

    What an empty block needs, and what separates neighbours, depends on the matches that are left.
    """
    edited = Pieces.of(text)
    for left in range(len(nodes), 0, -1):
        now = edited.text
        found = find(now, selector, language)
        if len(found) != left:
            message = (
                f"Without the match in line {text.count(chr(10), 0, nodes[left - 1].start) + 1}, "
                f"{selector.said()} would match otherwise: "
                "the matches lie one in the other. Match the outer one alone, or write an "
                "operation for each."
            )
            raise PatchConflictError(message)
        edited = edited.changed(_removal(now, found[-1], selector, language))
    return edited.splices()


def _whole_lines(text: str, start: int, end: int, language: str) -> tuple[int, int]:
    """Widen a span to whole lines if nothing else but a comment behind it stands on them."""
    if text[:end].endswith("\n"):
        return start, end  # the span ends with its line
    alone = indentation(text, start) is not None and is_blank(
        text[end : line_end(text, end)], language
    )
    return (line_start(text, start), next_line(text, end)) if alone else (start, end)


def _refuse_conditions(node: Node, selector: Selector, language: str) -> None:
    """Raise PatchConflictError for a shell command on whose success something depends.

    A command inserted beside it would decide instead.
    """
    if language in {"c", "cpp"} and node.instead is None and selector.call is not None:
        message = (
            f"The value of {selector.said()} is used where it stands, so nothing can be put beside "
            "it. Insert beside the whole statement, by a pattern or an anchor."
        )
        raise PatchConflictError(message)
    if language == "bash" and node.instead is None and selector.anchor is None:
        message = (
            f"{selector.said()} is part of a chain or a condition. Replace the whole of it, or "
            "insert beside the whole of it."
        )
        raise PatchConflictError(message)


def _refuse_lines(new: str, node: Node, selector: Selector, *, alone: bool) -> None:
    """Raise PatchConflictError for several new lines beside a statement that shares its line."""
    if "\n" in new and node.gone is not None and selector.anchor is None and not alone:
        message = (
            f"{selector.said()} shares its line with other code. Write what is inserted on one "
            "line, its statements parted by `;`, "
            "or replace the whole of it."
        )
        raise PatchConflictError(message)


_PRAGMA = re.compile(
    r"^[ \t]*#[ \t]*pragma[ \t]+"
    r"(?:omp|acc|unroll|nounroll|loop|ivdep|GCC[ \t]+(?:ivdep|unroll)|clang[ \t]+loop)\b"
)
"""A line that applies to the statement below it."""


def _refuse_pragma(text: str, node: Node, language: str) -> None:
    """Raise PatchConflictError if a pragma stands directly above a match.

    It would apply to another statement afterwards.
    """
    if language not in {"c", "cpp"}:
        return
    above = text[: line_start(text, node.whole[0])].rstrip()
    line = above.rpartition("\n")[2]
    if _PRAGMA.match(line):
        message = (
            f"'{line.strip()}' stands over it and speaks of it. Change both together, by an "
            "`anchor`, in the language text."
        )
        raise PatchConflictError(message)


def _column_of_own_lines(text: str, node: Node) -> str | None:
    """Return the white space before an anchor that has whole lines for itself; None for others."""
    alone = not text[node.end : line_end(text, node.end)].strip()
    return indentation(text, node.start) if alone else None


def _refuse_branch_end(text: str, node: Node, selector: Selector, language: str) -> None:
    """Raise PatchConflictError if a match ends with the whole of a branch without braces."""
    if language in {"c", "cpp"} and ends_branch(text, language, node.end):
        message = (
            f"{selector.said()} ends with all of a branch without braces: what is put behind it "
            "would stand outside. Replace it by a block."
        )
        raise PatchConflictError(message)


def _beside_item(
    place: Place, node: Node, selector: Selector, text: str, language: str
) -> list[Splice]:
    """Insert beside an item of a list between brackets, with a comma.

    Returns no splices if the match is not such an item.
    """
    if node.among is None or selector.anchor is not None:
        return []
    parts, position = node.among
    if parts.layout is not Layout.COMMAS or text[parts.start - 1 : parts.start] not in set("([{"):
        return []
    new = filled(place.text, node, selector, text, language).strip().strip(",").rstrip()
    position += place.before is None
    if position == len(parts.spans):
        return layout.added(text, parts, new, language)
    return layout.placed(text, parts, position, new, language)


def _before(template: str, node: Node, selector: Selector, text: str, language: str) -> Splice:
    """Insert before a match.

    The text gets its own line if the match is the first on its line. It goes above the comments and
    attributes that belong to the match.
    """
    start, _ = node.whole
    spaces = indentation(text, start) if selector.anchor is None else None
    if selector.anchor is None:
        _refuse_pragma(text, node, language)
    new = filled(template, node, selector, text, language)
    if selector.anchor is not None and not new.endswith("\n"):
        column = _column_of_own_lines(text, node)
        if column is not None:
            return start, start, f"{new}{newline_at(text, start)}{column}"
    _refuse_conditions(node, selector, language)
    if language in {"c", "cpp"} and node.instead == ";" and selector.anchor is None:
        message = (
            f"{selector.said()} is all of a branch or a loop without braces, or stands behind a "
            "label: what is put before it would take its place there. Replace it by a block with "
            "both."
        )
        raise PatchConflictError(message)
    _refuse_lines(new, node, selector, alone=spaces is not None)
    if (
        node.gone is not None
        and selector.anchor is None
        and "\n" not in new
        and (spaces is None or node.gone[1] > node.whole[1])
    ):
        return start, start, f"{new}; "  # it shares its line with other statements
    if spaces is not None and node.head is not None:
        start, own = node.head, spaces
        spaces = indentation(text, start)
        if spaces != own:  # the comments are indented otherwise than the code below them
            start = line_start(text, start)
            return start, start, f"{own}{new}{newline_at(text, start)}"
    return start, start, new if spaces is None else f"{new}{newline_at(text, start)}{spaces}"


def _after(template: str, node: Node, selector: Selector, text: str, language: str) -> Splice:
    """Insert after a match.

    The text gets its own line if the match, except for a comment, is alone on its lines.
    """
    if language in {"c", "cpp"} and node.instead == ";":
        message = (
            f"{selector.said()} is all of a branch without braces, or of an arm of a `switch`: "
            "what is put behind it would stand outside, or "
            "where the arm ends. Replace it by a block, or by all that is to stand there."
        )
        raise PatchConflictError(message)
    start, end = node.whole
    spaces = indentation(text, start) if selector.anchor is None else None
    new = filled(template, node, selector, text, language)
    _refuse_conditions(replace(node, instead=None) if node.decides else node, selector, language)
    if selector.anchor is not None:
        _refuse_branch_end(text, node, selector, language)
        column = _column_of_own_lines(text, node)
        if column is not None and not new.startswith(("\n", "\r")):
            newline = newline_at(text, start)
            indented = "" if new[:1].isspace() else column
            return end, end, f"{newline}{indented}{new.removesuffix(newline)}"
    alone = is_blank(text[end : line_end(text, end)], language)
    _refuse_lines(new, node, selector, alone=alone)
    if (
        language == "bash"
        and selector.anchor is None
        and "<<" in text[start:end]
        and not (spaces is not None and alone)
    ):
        message = (
            f"{selector.said()} has a here-document, behind whose last word nothing may stand. "
            "Replace the whole of it."
        )
        raise PatchConflictError(message)
    if (
        node.gone is not None
        and selector.anchor is None
        and "\n" not in new
        and "&" not in text[end : node.gone[1]]
    ):
        return end, end, f"; {new}"  # it shares its line with other statements
    if language == "bash" and selector.anchor is None and (sign := _SENT.match(text, end)):
        end = sign.end()  # it runs in the background, as the sign behind it says
    stop = line_end(text, end)
    if spaces is not None and is_blank(text[end:stop], language):
        return stop, stop, f"{newline_at(text, start)}{spaces}{new}"
    return end, end, new


_SENT = re.compile(r"[ \t]*&(?![&>])(?=[ \t]*(?:#.*)?\r?$)", re.MULTILINE)
"""The sign, at the end of a line, that runs a shell command in the background."""


def _of_parts(text: str, change: PartChange, language: str, *, of_call: bool) -> list[list[Splice]]:
    found = []
    for node in find(text, change.of, language):
        parts = node.arguments if of_call else node.items
        if parts is None:
            what = "arguments" if of_call else "items"
            message = (
                f"{change.of.said()} has no {what} that can be told apart here. Replace the whole "
                "of it."
            )
            raise MatchError(message, anchor=change.of.said())
        if of_call and language == "bash":
            _refuse_end_of_options(text, parts, change)
        if change.add is not None:
            if not of_call:
                _refuse_known_key(text, parts, change.add, language)
            if language == "cmake" and not of_call and _is_empty_list(text, parts):
                message = (
                    f'{change.of.said()} is the empty list, written as "". Behind that, a value '
                    'would be the second one. Use `replace` for the "".'
                )
                raise PatchConflictError(message)
            found.append(
                _part_added(text, parts, change.add, language)
                if of_call
                else layout.added(text, parts, change.add, language)
            )
            continue
        for position, (start, end) in enumerate(parts.spans):
            if not is_part(text[start:end], change.gone or ""):
                continue
            if change.with_ is not None:
                found.append([(start, end, change.with_.replace("\n", newline_at(text, start)))])
            elif language == "cmake" and not of_call and len(parts.spans) == 1:
                message = (
                    f"{text[start:end]} is the only value of {change.of.said()}: without one `set` "
                    'unsets the variable, and what the cache holds comes back. Replace it by "" '
                    "for an empty list, or remove the whole."
                )
                raise PatchConflictError(message)
            else:
                found.append(layout.removed(text, parts, position, language))
    return found


_END_OF_OPTIONS = re.compile(r"--|'--'|\"--\"")
_MAY_BE_OPTION = re.compile(r"[\"']?[-$`*?\[]")
"""How a word of a shell begins that is an option, or that may become one."""


def _refuse_end_of_options(text: str, parts: Parts, change: PartChange) -> None:
    """Raise PatchConflictError for an option that would go behind `--`, or come before it.

    Behind that word, a command takes no options.
    """
    words = [text[start:end] for start, end in parts.spans]
    end = next((place for place, word in enumerate(words) if _END_OF_OPTIONS.fullmatch(word)), -1)
    if end < 0:
        return
    if change.add is not None and re.match(r"[\"']?-", change.add):
        message = (
            f"{change.add} would stand behind the `--` of {change.of.said()}, where it is no "
            "option of it. Replace a word beside which it is to stand by both."
        )
        raise PatchConflictError(message)
    later = next((word for word in words[end + 1 :] if _MAY_BE_OPTION.match(word)), "")
    if change.gone == words[end] and later:
        message = (
            f"Without the {words[end]} of {change.of.said()}, {later} may be an option. Replace "
            "the whole call."
        )
        raise PatchConflictError(message)


def _is_empty_list(text: str, parts: Parts) -> bool:
    """Say whether a `set` of CMake assigns the empty list to its variable."""
    return [text[slice(*span)] for span in parts.spans] == ['""']


_KEYED = {
    "python": re.compile(r"((?:[^\W\d]\w*|\d+|[\"'][^\"'\\]*[\"'])\s*):(?!=)"),
    **dict.fromkeys(("c", "cpp"), re.compile(r"((?:\.\w+|\[[^\]]+\])\s*)=(?!=)")),
    "bash": re.compile(r"(\[[^\]]+\])="),
}
"""How an item begins that has a key.

This is an entry of a dictionary, of an initializer with designators, or of an array with words for
subscripts.
"""


def _refuse_known_key(text: str, parts: Parts, new: str, language: str) -> None:
    """Raise PatchConflictError for a new item whose key another item has.

    Readers take the later one, so the other one would have no effect.
    """
    keyed = _KEYED.get(language)
    own = keyed.match(new) if keyed is not None else None
    if keyed is None or own is None:
        return
    for start, end in parts.spans:
        said = text[start:end]
        other = keyed.match(said)
        same = (
            other is not None
            and other[1].replace('"', "'").strip() == own[1].replace('"', "'").strip()
        )
        if said != new and same:
            message = (
                f"There is {' '.join(said.split())} already. Use `replace` with the whole of it."
            )
            raise PatchConflictError(message)


_WITH_KEYWORD = {
    "python": re.compile(r"[^\W\d]\w*\s*=(?!=)|\*\*"),
    "meson": re.compile(r"[^\W\d]\w*\s*:"),
}
"""How an argument begins that has a keyword, or that may stand for many.

No argument without a keyword may follow it.
"""


def _part_added(text: str, parts: Parts, new: str, language: str) -> list[Splice]:
    """Put an argument last; one without a keyword goes behind the others without one.

    Raises PatchConflictError if that is not possible.
    """
    keyword = _WITH_KEYWORD.get(language)
    if keyword is None:
        return layout.added(text, parts, new, language)
    said = [text[start:end] for start, end in parts.spans]
    first = next((place for place, each in enumerate(said) if keyword.match(each)), len(said))
    own = keyword.match(new)
    name = "" if own is None or own[0] == "**" else new[: own.end()]
    there = next((each for each in said if name and is_part(each, "".join(name.split()))), None)
    if there is not None and there != new:
        message = (
            f"The call has {' '.join(there.split())} already. Use `replace: "
            f"{''.join(name.split())}` with the whole of it."
        )
        raise PatchConflictError(message)
    if own is not None or first == len(said):
        return layout.added(text, parts, new, language)
    late = next(
        (each for each in said[first:] if each.startswith("*") and not each.startswith("**")), None
    )
    if late is not None:
        message = (
            f"{new} would have to stand before {said[first]}, and so before {late}, whose values "
            "would be other arguments then. "
            "Replace the whole call."
        )
        raise PatchConflictError(message)
    return layout.placed(text, parts, first, new, language)


_KEYWORD = re.compile(r"([^\s=:]+)[ \t]*+[=:](?![=:])")


def is_part(said: str, wanted: str) -> bool:
    """Say whether an argument or item is the one that an edit names.

    The edit names it as it is written, or only by its keyword.
    """
    if said == wanted:
        return True
    return wanted.endswith(("=", ":")) and keyword_of(said) == wanted[:-1].strip()


def keyword_of(said: str) -> str | None:
    """Return the keyword that an argument or item begins with, or None."""
    found = _KEYWORD.match(said)
    return None if found is None else found[1]


def _of_imports(
    text: str, change: LineChange, language: str, *, include: bool
) -> list[list[Splice]]:

    if change.add is not None:
        return [[addition(text, change.add, language, include=include)]]
    wanted = meaning(change.gone or "", language)
    lines = imports(text, language, include=include)
    meant = [line for line in lines if line.meaning == wanted]
    among = [(line, line.names.index(wanted)) for line in lines if wanted in line.names]
    if among and (change.with_ is not None or any(line.parts is None for line, _ in among)):
        node = among[0][0].node
        what = "one of several" if len(among[0][0].names) > 1 else "not all"
        message = (
            f"'{change.gone}' is {what} that '{' '.join(text[node.start : node.end].split())}' "
            "brings. Replace the whole of that line."
        )
        raise MatchError(message, anchor=change.gone or "")
    if change.with_ is not None:
        new = change.with_.removesuffix("\n")
        return [
            [(line.node.start, line.node.end, _at(text, line.node, new, language))]
            for line in meant
        ]
    alone = [_removal(text, line.node, Selector(pattern=change.gone), language) for line in meant]
    return alone + [
        layout.removed(text, line.parts, position, language)
        for line, position in among
        if line.parts is not None
    ]


def _at(text: str, node: Node, new: str, language: str) -> str:
    """Return code with the layout of the place of a node."""
    return indented_lines(new.strip(), indentation(text, node.start) or "", language).replace(
        "\n", newline_at(text, node.start)
    )
