"""Prove by the trees of a file, before and after, that an operation changed only its target.

The splices say which characters changed. Everything outside of them has to stay what it was:

- Every node is there afterwards, of the same kind and under the same parents.
- An attribute or a documentation comment before a construct belongs to the same construct.
- A comment behind a line of code stays behind that line.

An operation in or beside a part that the grammar cannot read is refused. There the tree may be
wrong, so it proves nothing. It is not enough to count matches and faults: with equal counts, a
reader may still see another program.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkhouse.patches import arms, operands, relations
from forkhouse.patches.backends import UnprovenError, is_blank, line_end
from forkhouse.patches.edits import CodeOperation
from forkhouse.patches.nodes import SHOWN, Change, Known, NodeRole, Shift, Tree, name_of, shift_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from forkhouse.patches.backends import Step
    from forkhouse.patches.edits import Operation


def prove(
    before: Tree, after: Tree, step: Step, inner_lines: Callable[[str, str], set[int]]
) -> None:
    """Raise UnprovenError unless only what was meant has changed between two trees.

    `inner_lines` says which lines of a text begin inside a literal.
    """
    shift = shift_of(step)
    proof = _Proof(step=step, root=after, shift=shift, new=tuple(shift.new()))
    proof.same(before, after)
    if any("\n" in new for _, _, new in shift.splices):
        proof.literals(inner_lines(step.after, step.language))
    if (
        isinstance(step.operation, CodeOperation)
        and step.operation.wrap is not None
        and not proof.by_anchor()
    ):
        proof.wraps(before)


def _templates(operation: Operation) -> list[str]:
    """Return the texts that an operation inserts, as its edit gives them."""
    if not isinstance(operation, CodeOperation):
        return []
    changes = (operation.argument, operation.item, operation.include, operation.import_)
    said = [
        operation.with_,
        operation.insert.text if operation.insert else None,
        *(each.come for each in changes if each is not None),
    ]
    return [each for each in said if each is not None]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Proof(Change):
    """Compares the two trees of an operation, node by node."""

    def same(self, before: Tree, after: Tree) -> None:
        """Compare two nodes of the same kind when a splice changes the first one.

        Raises UnprovenError.
        """
        old, now = before.children(), after.children()
        if before.role is NodeRole.FAULT:
            raise self.unread(before)
        self._look_beside(old)
        there = {(node.kind, node.start, node.end): node for node in now}
        known: Known = {}
        for node in old:
            if self.shift.touches(node.start, node.end):
                self._touched(node, now, known)
            else:
                self._kept(node, old, after, there, known)
        self._look_at_new(old, now, known)
        arms.prove_branches(self, old, now, known)
        if not self.by_anchor():
            operands.prove_forms(self, before, old, now)
        if operands.operates(before.kind, self.step.language):
            operands.prove_units(self, before, old, now)
        if self.step.language == "bash":
            relations.prove_background(self, old, now)
        if self.step.language == "cpp":
            relations.prove_access(self, old, now, known)
        relations.prove_attached(self, old, now, known)
        relations.prove_leads(self, now, known)
        relations.prove_comments(self, old)

    def _look_at_new(self, old: Sequence[Tree], now: Sequence[Tree], known: Known) -> None:
        """Require each node that no old one became to be new, and to be readable.

        Raises UnprovenError.
        """
        for node in now:
            if (node.start, node.end) in known:
                continue
            if not self.is_new(node):
                if node.role is NodeRole.COMMENT:
                    continue
                what = f"'{self.said(node, now=True)}' would become something that it is not now"
                raise UnprovenError(what, text=self.step.after, position=node.start)
            # Python is left out: its own compiler reads the whole file afterwards, and reads more
            # than the grammar does.
            if self.step.language != "python" and _broken(node, old, self.shift):
                what = (
                    f"the grammar of {self.step.language} would not read "
                    f"'{self.said(node, now=True)}'"
                )
                raise UnprovenError(what, text=self.step.after, position=node.start)

    def literals(self, inner: set[int]) -> None:
        """Require each inserted line that begins inside a literal to be as the edit gives it.

        White space at its beginning is a part of the literal. Raises UnprovenError.
        """
        templates = _templates(self.step.operation)
        if any("$" in template for template in templates):
            return  # what was captured comes from the file, as it stands there
        written = {line for template in templates for line in template.split("\n")}
        for first, last in self.new:
            place = self.step.after.find("\n", first, last)
            while place >= 0:
                if self.step.after.count("\n", 0, place) + 1 in inner:
                    line = self.step.after[
                        place + 1 : min(last, line_end(self.step.after, place + 1))
                    ]
                    # A comma may separate an argument or item from the next one.
                    ended = re.sub(r",? ?$", "", line)
                    if not {line, ended} & written and not any(
                        each.startswith(line) for each in written
                    ):
                        what = (
                            f"the line '{line.strip()}' would have other white space in a literal "
                            "than the edit gives it"
                        )
                        raise UnprovenError(what, text=self.step.after, position=place + 1)
                place = self.step.after.find("\n", place + 1, last)

    def wraps(self, before: Tree) -> None:
        """Require the words of wrapped code to be there unchanged, one behind the other.

        Only the white space between the words may differ. Raises UnprovenError.
        """
        for (start, stop, _), (first, last) in zip(self.shift.splices, self.new, strict=True):
            old = list(_words(before, self.step.before, start, stop))
            now = list(_words(self.root, self.step.after, first, last))
            if old and not any(
                now[place : place + len(old)] == old for place in range(len(now) - len(old) + 1)
            ):
                what = (
                    f"'{' '.join(self.step.before[start:stop].split())[:SHOWN]}' would not be in "
                    "what is put around it as it is now"
                )
                raise UnprovenError(what, text=self.step.before, position=start)

    def _touched(self, node: Tree, now: Sequence[Tree], known: Known) -> None:
        """Match a node that a splice changed in part with its new node, and compare the two.

        Raises UnprovenError.
        """
        if not self.shift.leaves(self.step.before, node.start, node.end):
            return  # the node is gone, and its replacement is new
        if node.kind.startswith("preproc_") and self._only_comment_left(node):
            return  # C's grammar takes the comment behind a directive for a part of it
        if node.role is NodeRole.COMMENT and not self.by_anchor():
            what = f"the comment '{self.said(node)}' would be changed"
            raise UnprovenError(what, text=self.step.before, position=node.start)
        if node.kind == "variable_assignments" and self._one_left(node, now, known):
            return
        first, last = self.shift.end(node.start), self.shift.start(node.end)
        likely = [
            each
            for each in now
            if each.kind == node.kind
            and each.start <= last
            and each.end >= first
            and (each.start, each.end) not in known
        ]
        if not likely:
            what = (
                f"'{self.said(node)}' would be something else than the {name_of(node)} that it is"
            )
            raise UnprovenError(what, text=self.step.before, position=node.start)
        found = likely[0]
        known[found.start, found.end] = node, found
        self.same(node, found)
        for (first, last, new), (start, end) in zip(self.shift.splices, self.new, strict=True):
            blank = len(new) - len(new.lstrip())
            within = (
                node.start <= first and last <= node.end
                if first < last
                else node.start < first < node.end
            )
            inside = within and bool(new.strip())
            if inside and not (
                found.start <= start + blank and end - (len(new) - len(new.rstrip())) <= found.end
            ):
                what = (
                    f"'{' '.join(new.split())[:SHOWN]}' would be only in part inside "
                    f"'{self.said(node)}'"
                )
                raise UnprovenError(what, text=self.step.before, position=first)

    def _one_left(
        self,
        node: Tree,
        now: Sequence[Tree],
        known: Known,
    ) -> bool:
        """Say whether one of several assignments of a shell is left as it was, and none is new."""
        left = [
            each
            for each in node.children()
            if self.shift.leaves(self.step.before, each.start, each.end)
        ]
        if len(left) != 1 or self.shift.touches(left[0].start, left[0].end):
            return False
        span = self.shift.start(left[0].start), self.shift.end(left[0].end)
        found = [each for each in now if (each.start, each.end) == span]
        if not found or found[0].kind != left[0].kind:
            return False
        known[span] = left[0], found[0]
        return True

    def _only_comment_left(self, node: Tree) -> bool:
        left = "".join(
            piece if not any(first <= place < last for first, last, _ in self.shift.splices) else ""
            for place, piece in enumerate(self.step.before[node.start : node.end], start=node.start)
        )
        return left.strip().startswith(("//", "/*"))

    def _kept(
        self,
        node: Tree,
        old: Sequence[Tree],
        after: Tree,
        there: dict[tuple[str, int, int], Tree],
        known: Known,
    ) -> None:
        """Match a node that no splice touches with its new node.

        Raises UnprovenError.
        """
        start, end = self.shift.start(node.start), self.shift.end(node.end)
        if start >= end:
            return  # a token that the grammar made up
        found = there.get((node.kind, start, end))
        if found is None and node.role is NodeRole.COMMENT:
            found = self._comment(self.root, node.kind, start, end)
        if found is None:
            found = self._grown(node, after)
        if found is None:
            found = self._wrapped(node, old, after)
        if found is None:
            what = (
                f"'{self.said(node)}', which the operation does not name, would be something else "
                f"than the {name_of(node)} that it is"
            )
            raise UnprovenError(what, text=self.step.before, position=node.start)
        known[found.start, found.end] = node, found

    def _comment(self, after: Tree, kind: str, start: int, end: int) -> Tree | None:
        """Return the new node for a comment, which may have another parent now.

        The position of a comment says what it is about.
        """
        for node in after.children():
            if node.start <= start and end <= node.end:
                return (
                    node
                    if (node.kind, node.start, node.end) == (kind, start, end)
                    else self._comment(node, kind, start, end)
                )
        return None

    def _grown(self, node: Tree, after: Tree) -> Tree | None:
        """Return the new node for a block that got code at its very beginning or end."""
        start, end = self.shift.start(node.start), self.shift.end(node.end)
        for each in after.children():
            if (
                each.kind == node.kind
                and each.start <= start
                and end <= each.end
                and self.is_new(each)
                and node.children()
            ):
                if not self._may_reach(each, start, end):
                    return None
                self.same(node, each)
                return each
        return None

    def _may_reach(self, holder: Tree, start: int, end: int) -> bool:
        """Say whether the operation allows `holder` to reach beyond its old span with new code.

        The old node lies at `start` to `end` of the new text. The holder may begin earlier only if
        the operation inserts before a construct, for example a decorator. It may end later only if
        the operation inserts behind a construct, or changes an argument or an item. Each new piece
        of text has to lie wholly inside of the holder or wholly outside.
        """
        operation = self.step.operation
        place = operation.insert if isinstance(operation, CodeOperation) else None
        before = place is not None and place.before is not None
        behind = place is not None and place.after is not None
        part = isinstance(operation, CodeOperation) and (
            operation.argument is not None or operation.item is not None
        )
        # The body of a block of CMake is all that stands between two of its commands.
        if holder.kind != "body" and (
            (holder.start < start and not before) or (holder.end > end and not (behind or part))
        ):
            return False
        for first, last in self.new:
            text = self.step.after[first:last]
            begun, ended = (
                first + len(text) - len(text.lstrip()),
                last - (len(text) - len(text.rstrip())),
            )
            if (
                begun < holder.end
                and ended > holder.start
                and not (
                    self._says_nothing(begun, holder.start)
                    and self._says_nothing(holder.end, ended)
                )
            ):
                return False
        return True

    def _says_nothing(self, first: int, last: int) -> bool:
        """Say whether a piece of the new text has nothing but comments.

        The grammar of Python leaves those at the edges of a block outside of it.
        """
        lines = self.step.after[first : max(first, last)].splitlines()
        return all(is_blank(line, self.step.language) for line in lines)

    def _wrapped(self, node: Tree, old: Sequence[Tree], after: Tree) -> Tree | None:
        """Return the new node for one node that new code was put around, and nothing else.

        An example is a function with a new decorator.
        """
        start, end = self.shift.start(node.start), self.shift.end(node.end)
        holder = next(
            (each for each in after.children() if each.start <= start and end <= each.end), None
        )
        if holder is None or not self.is_new(holder) or not self._may_reach(holder, start, end):
            return None
        others = [
            each
            for each in old
            if each is not node
            and each.role is not NodeRole.COMMENT
            and not self.shift.touches(each.start, each.end)
            and holder.start
            <= self.shift.start(each.start)
            < self.shift.end(each.end)
            <= holder.end
        ]
        inner: Tree | None = holder
        while inner is not None and (inner.kind, inner.start, inner.end) != (node.kind, start, end):
            inner = next(
                (each for each in inner.children() if each.start <= start and end <= each.end), None
            )
        return holder if inner is not None and not others else None

    def _look_beside(self, old: Sequence[Tree]) -> None:
        """Refuse an operation if a node beside or in its span is not well formed."""
        code = [node for node in old if node.role is not NodeRole.COMMENT]
        for first, last, _ in self.shift.splices:
            position = bisect_left([node.end for node in code], first)
            for node in code[max(0, position - 1) :]:
                if node.start > last:
                    gap = self.step.before[last : node.start]
                    if not gap.strip() and _faulty_edge(node, 0):
                        raise self.unread(node)
                    break
                inside = first <= node.start and node.end <= last
                if inside and (
                    node.role is NodeRole.FAULT
                    or any(each.role is NodeRole.FAULT for each in node.children())
                ):
                    raise self.unread(node)
                if (
                    not inside
                    and node.end <= first
                    and _faulty_edge(node, -1)
                    and not self.step.before[node.end : first].strip()
                ):
                    raise self.unread(node)
                if not inside and node.start >= last and _faulty_edge(node, 0):
                    raise self.unread(node)


def _words(node: Tree, text: str, start: int, stop: int) -> Iterator[str]:
    """Yield the tokens of a piece of a text, as the tree divides it."""
    if node.end <= start or node.start >= stop or node.role is NodeRole.COMMENT:
        return
    inner = node.children()
    for each in inner:
        yield from _words(each, text, start, stop)
    if not inner and start <= node.start and node.end <= stop and node.start < node.end:
        yield text[node.start : node.end]


def _broken(node: Tree, old: Sequence[Tree], shift: Shift) -> bool:
    """Say whether the grammar could not read a whole new node.

    A token that it made up at the same place before does not count.
    """
    if node.start == node.end:
        return node.role is NodeRole.FAULT and node.start not in {
            shift.start(each.start) for each in old if each.start == each.end
        }
    return node.role is NodeRole.FAULT or any(_broken(each, old, shift) for each in node.children())


def _faulty_edge(node: Tree, edge: int) -> bool:
    """Say whether a fault of the grammar lies at a node's start (edge 0) or end (edge -1).

    A fault is text that the grammar could not read, or a token that it made up.
    """
    current: Tree | None = node
    while current is not None:
        if current.role is NodeRole.FAULT:
            return True
        inner = current.children()
        current = inner[edge] if inner else None
    return False
