"""Prove with the trees of the grammars that a change of code changed only what was meant."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from forkhouse.patches import guard, nodes
from forkhouse.patches.backends import (
    Step,
    UnprovenError,
    UnreadError,
    is_blank,
    line_end,
    line_start,
)
from forkhouse.patches.languages import docstrings, masking, shell, variants
from forkhouse.patches.languages.constructs import is_documentation
from forkhouse.patches.languages.trees import (
    comments_behind,
    is_before_block,
    is_made_up,
    readable,
    root_of,
    search,
)

if TYPE_CHECKING:
    from ast_grep_py import SgNode


class _Tree:
    """A node of ast-grep, in the form for the proof."""

    __slots__ = ("_inner", "_language", "_node", "_text", "end", "kind", "role", "start")

    def __init__(self, node: SgNode, text: str, language: str) -> None:
        self._node, self._text, self._language = node, text, language
        self._inner: list[nodes.Tree] | None = None
        self.kind = node.kind()
        place = node.range()
        self.start, self.end = place.start.index, place.end.index
        behind = comments_behind(node) if language == "python" else []
        if behind:
            self.end = behind[0].range().start.index
        while self.end > self.start and text[self.end - 1] in "\r\n\t ":
            self.end -= 1
        self.role = self._role()

    def _role(self) -> nodes.NodeRole:
        if self.kind == "ERROR" or (
            self.start == self.end and is_made_up(self._node) and not is_before_block(self._node)
        ):
            return nodes.NodeRole.FAULT
        if self.kind in {"attribute_item", "decorator"}:
            return nodes.NodeRole.LEAD
        if "comment" not in self.kind or self.kind.startswith(("doc_", "outer_", "inner_")):
            return nodes.NodeRole.CODE
        said = self._text[self.start : self.end]
        if self._language == "rust":
            if said.startswith(("//!", "/*!")):
                return nodes.NodeRole.CODE  # it documents the construct around it
            return nodes.NodeRole.LEAD if is_documentation(said, "rust") else nodes.NodeRole.COMMENT
        return nodes.NodeRole.COMMENT

    def children(self) -> list[nodes.Tree]:
        if self._inner is None:
            nodes = [each for node in self._node.children() for each in self._with_comments(node)]
            self._inner = [
                _Tree(node, self._text, self._language)
                for node in nodes
                if node.range().start.index <= self.end
            ]
        return self._inner

    def _with_comments(self, node: SgNode) -> list[SgNode]:
        """Return a node with the comments behind it that the grammar takes for parts of it."""
        return [node, *comments_behind(node)] if self._language == "python" else [node]


def prove(step: Step) -> None:
    """Raise UnprovenError unless only what was meant has changed (see `guard`)."""
    _prove_trees(step)
    if step.language == "python":
        docstrings.prove(step)
    if step.language in {"c", "cpp", "rust"}:
        _prove_signs(step)
    if step.language in {"c", "cpp"}:
        _prove_directives(step)
        _prove_choices(step)
    if step.language == "bash":
        _prove_documents(step)
        shell.prove(step)


def _prove_trees(step: Step) -> None:
    before, after = (
        _Tree(root_of(text, step.language), text, step.language)
        for text in (step.before, step.after)
    )
    guard.prove(before, after, step, inner_lines)


def _prove_choices(step: Step) -> None:
    """Raise UnprovenError unless a compiler sees only what was meant, whatever it chooses.

    It may choose among the branches of `#if` that meet the change.
    """
    places = [(start, stop) for start, stop, _ in step.splices]
    for chosen in variants.choices(step.before, places):
        try:
            try:
                _prove_choice(step, chosen, others=False)
            except UnreadError:
                _prove_choice(step, chosen, others=True)
        except UnprovenError as error:
            said = " and ".join(f"{name} is {str(true).lower()}" for name, true in chosen.items())
            what = f"where {said}, {error.what}"
            raise UnprovenError(what, text=error.text, position=error.position) from error


def _prove_choice(step: Step, chosen: dict[str, bool], *, others: bool) -> None:
    before, after = (
        variants.chosen_text(text, chosen, others=others) for text in (step.before, step.after)
    )
    if before == after:
        return
    shift = nodes.shift_of(step)
    splices = tuple(
        (start, stop, after[first:last])
        for (start, stop, _), (first, last) in zip(shift.splices, shift.new(), strict=True)
    )
    varied = replace(step, before=before, after=after, splices=splices)
    _prove_trees(varied)
    _prove_hidden(varied)


def _prove_signs(step: Step) -> None:
    """Raise UnprovenError if a comment would begin at an edge of inserted code.

    The grammars read `b/*p` as a division if no comment ends there. Compilers do not.
    """
    for first, last in nodes.shift_of(step).new():
        for edge in (first, last):
            if step.after[edge - 1 : edge + 1] in {"/*", "//"}:
                what = (
                    f"'{step.after[edge - 1 : edge + 1]}' would begin a comment where two pieces "
                    "of code meet. Put a blank or brackets between them"
                )
                raise UnprovenError(what, text=step.after, position=edge - 1)


def _prove_documents(step: Step) -> None:
    """Raise UnprovenError if the word that ends a here-document is not alone on its line.

    The grammar takes it for the end, but a shell reads on. A line that was there before may stay.
    """
    for end in search(root_of(step.after, "bash"), {"kind": "heredoc_end"}):
        first, last = end.range().start.index, end.range().end.index
        line = step.after[line_start(step.after, first) : line_end(step.after, last)]
        if line.lstrip("\t").rstrip("\r") != end.text() and line not in step.before.split("\n"):
            what = (
                f"the here-document would not end at '{line.strip()[: nodes.SHOWN]}', as its last "
                "word has to be alone there. Edit the whole line"
            )
            raise UnprovenError(what, text=step.after, position=first)


def _prove_directives(step: Step) -> None:
    """Raise UnprovenError if a preprocessor directive would be on one line with code."""
    for first, last in nodes.shift_of(step).new():
        new = step.after[first:last]
        begins = (
            new.lstrip(" \t").startswith("#")
            and step.after[line_start(step.after, first) : first].strip()
        )
        ends = (
            new.rpartition("\n")[2].lstrip().startswith("#")
            and step.after[last : line_end(step.after, last)].strip()
        )
        if begins or (
            ends and not is_blank(step.after[last : line_end(step.after, last)], step.language)
        ):
            what = (
                "a directive of the preprocessor would share its line with code. Replace the whole "
                "line"
            )
            raise UnprovenError(what, text=step.after, position=first)


def _prove_hidden(step: Step) -> None:
    """Raise UnprovenError if words that no grammar reads would go to other code than now.

    Such words are macros and CUDA's own, before what is removed or before which text is inserted.
    """
    shown = readable(step.before, step.language)
    for start, stop, new in step.splices:
        code = masking.without_comments_and_literals(step.before[:start]).rstrip()
        if (start < stop and new.strip()) or not code or shown[len(code) - 1].strip():
            continue
        word = step.before[: len(code)].split()[-1]
        what = f"'{word}' belongs to what stands behind it, and would belong to something else"
        raise UnprovenError(what, text=step.before, position=len(code) - 1)


_LITERAL = re.compile(r"string|heredoc|raw_")


def inner_lines(text: str, language: str) -> set[int]:
    """Return the numbers, from 0, of the lines that begin inside a literal.

    White space at the beginning of such a line is a part of the literal.
    """
    lines: set[int] = set()
    stack = [root_of(text, language)]
    while stack:
        node = stack.pop()
        place = node.range()
        if place.start.line == place.end.line:
            continue
        kind = node.kind()
        if _LITERAL.search(kind) and kind != "concatenated_string":
            lines.update(range(place.start.line + 1, place.end.line + 1))
        else:
            stack += node.children()
    return lines
