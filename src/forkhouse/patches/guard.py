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
from enum import Enum, auto
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

from forkhouse.patches.edits import CodeOperation
from forkhouse.patches.languages.base import UnprovenError, UnreadError, line_end, line_start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from forkhouse.patches.edits import Operation
    from forkhouse.patches.languages.base import Splice, Step

SHOWN = 40
"""The number of characters of a piece of code that a message shows."""


_BRANCH = re.compile(r"else|elif|except|finally|case_(?:item|statement)|preproc_el")
"""Kinds of nodes that are one branch of the statement around them."""

_ARM = re.compile(r"case_(?:item|statement)$")
_LEAVES = re.compile(r"(?:break|return|continue|goto|throw|co_return)_statement")
"""Statements of C behind which the next arm of a `switch` is not reached."""


_OPERATOR = re.compile(
    r"binary|unary|comparison|boolean|not_operator|conditional|ternary|cast|attribute$|field_expression|subscript|await|power"
    r"|delete_expression|sizeof_expression|fold_expression|try_expression|index_expression"
)
"""Kinds of nodes that are operators on the nodes in them."""
_SHELL = frozenset({"redirected_statement", "pipeline", "list", "negated_command"})
_COMPOUND = re.compile(
    r"binary|unary|comparison|boolean|not_operator|conditional|ternary|cast|lambda|assignment|await|closure|if_expression|match_expression"
    r"|loop_expression|while_expression|for_expression|^block$|unsafe|range|power|update|named_expression|reference|pointer_expression|^list$|pipeline|redirected|negated"
)
"""Kinds of nodes that need brackets when they stand beside an operator."""


_FIXED = frozenset({"assert_statement", "interpolation"})
"""Kinds of nodes in which a sign behind an expression begins something else: a comma, a colon."""
_TIGHT = re.compile(r"unary|pointer_expression|reference_expression")
_LOOSE = re.compile(r"binary|boolean|comparison|conditional|ternary")


def needs_brackets(kind: str) -> bool:
    """Say whether a node of a kind needs brackets beside an operator."""
    return _COMPOUND.search(kind) is not None and kind != "variable_assignment"  # a word of a shell


class Tree(Protocol):
    """A node of a grammar's tree, with its positions counted in characters."""

    @property
    def kind(self) -> str:
        """The grammar's name for the kind of node."""

    @property
    def start(self) -> int:
        """Where it begins."""

    @property
    def end(self) -> int:
        """Where it ends, without white space behind it."""

    @property
    def role(self) -> NodeRole:
        """The relation of the node to its neighbours."""

    def children(self) -> Sequence[Tree]:
        """Return the nodes in it, in order."""


class NodeRole(Enum):
    """The relation of a node to its neighbours."""

    CODE = auto()
    LEAD = auto()
    """It belongs to the next node that is code: an attribute, a comment of documentation."""
    COMMENT = auto()
    FAULT = auto()
    """The grammar could not read it, or made it up."""


@dataclass(frozen=True, slots=True)
class Shift:
    """The positions of the old text in the new text."""

    splices: tuple[Splice, ...]
    """The splices, in the order of their positions."""

    def start(self, place: int) -> int:
        """Return the new start of a piece that began at a position: behind any insertion there."""
        return place + sum(
            len(new) - (stop - start) for start, stop, new in self.splices if stop <= place
        )

    def end(self, place: int) -> int:
        """Return the new end of a piece that ended at a position: before any insertion there."""
        return place + sum(
            len(new) - (stop - start)
            for start, stop, new in self.splices
            if start < place and stop <= place
        )

    def touches(self, start: int, end: int) -> bool:
        """Say whether a splice changes characters of a piece, or puts some in its middle."""
        return any(first < end and last > start for first, last, _ in self.splices)

    def leaves(self, text: str, start: int, end: int) -> bool:
        """Say whether anything but white space of a piece remains."""
        for first, last, _ in self.splices:
            if first < end and last > start:
                if text[start : max(start, first)].strip():
                    return True
                start = max(start, last)
        return start < end and bool(text[start:end].strip())

    def new(self) -> Iterator[tuple[int, int]]:
        """Yield the spans of inserted text in the new text."""
        moved = 0
        for start, stop, new in self.splices:
            yield start + moved, start + moved + len(new)
            moved += len(new) - (stop - start)


def shift_of(step: Step) -> Shift:
    """Return the positions of the old text in the text after an operation."""
    return Shift(tuple(sorted(step.splices, key=lambda splice: splice[:2])))


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
class _Proof:
    step: Step
    root: Tree
    """The root of the new tree."""
    shift: Shift
    new: tuple[tuple[int, int], ...]

    def same(self, before: Tree, after: Tree) -> None:
        """Compare two nodes of the same kind when a splice changes the first one.

        Raises UnprovenError.
        """
        old, now = before.children(), after.children()
        if before.role is NodeRole.FAULT:
            raise self._unread(before)
        self._look_beside(old)
        there = {(node.kind, node.start, node.end): node for node in now}
        known: dict[tuple[int, int], tuple[Tree, Tree]] = {}
        for node in old:
            if self.shift.touches(node.start, node.end):
                self._touched(node, now, known)
            else:
                self._kept(node, old, after, there, known)
        for place, node in enumerate(now):
            if (
                (node.start, node.end) not in known
                and self._is_new(node)
                and self.step.language != "python"
                and _broken(node, old, self.shift)
            ):
                # Python is left out: its own compiler reads the whole file afterwards, and reads
                # more than the grammar does.
                what = (
                    f"the grammar of {self.step.language} would not read "
                    f"'{self._said(node, now=True)}'"
                )
                raise UnprovenError(what, text=self.step.after, position=node.start)
            branch = (
                (node.start, node.end) not in known
                and self._is_new(node)
                and _BRANCH.search(node.kind) is not None
            )
            if branch and not (self._had_branch(old) or self._is_arm(now, place)):
                fallen = (
                    ", and what runs in the one above it would go on there"
                    if _ARM.match(node.kind)
                    else ""
                )
                what = (
                    f"'{self._said(node, now=True)}' would make another branch of what stands "
                    f"around it{fallen}"
                )
                raise UnprovenError(what, text=self.step.after, position=node.start)
            if (
                (node.start, node.end) not in known
                and not self._is_new(node)
                and node.role is not NodeRole.COMMENT
            ):
                what = f"'{self._said(node, now=True)}' would become something that it is not now"
                raise UnprovenError(what, text=self.step.after, position=node.start)
        if not self.by_anchor():
            self._forms(before, old, now)
        if (
            _OPERATOR.search(before.kind)
            or before.kind in _FIXED
            or (self.step.language == "bash" and before.kind in _SHELL)
        ):
            self._units(before, old, now)
        if self.step.language == "bash":
            self._background(old, now)
        if self.step.language == "cpp":
            self._access(old, now, known)
        self._attached(old, now, known)
        self._leads(now, known)
        self._comments(old)

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

    def _touched(
        self, node: Tree, now: Sequence[Tree], known: dict[tuple[int, int], tuple[Tree, Tree]]
    ) -> None:
        """Match a node that a splice changed in part with its new node, and compare the two.

        Raises UnprovenError.
        """
        if not self.shift.leaves(self.step.before, node.start, node.end):
            return  # the node is gone, and its replacement is new
        if node.kind.startswith("preproc_") and self._only_comment_left(node):
            return  # C's grammar takes the comment behind a directive for a part of it
        if node.role is NodeRole.COMMENT and not self.by_anchor():
            what = f"the comment '{self._said(node)}' would be changed"
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
            what = f"'{self._said(node)}' would be something else than the {_name(node)} that it is"
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
                    f"'{self._said(node)}'"
                )
                raise UnprovenError(what, text=self.step.before, position=first)

    def _one_left(
        self,
        node: Tree,
        now: Sequence[Tree],
        known: dict[tuple[int, int], tuple[Tree, Tree]],
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

    def _in_brackets(self, start: int, end: int) -> bool:
        """Say whether brackets directly enclose a piece of the new text.

        Then no operator beside the brackets can bind to a part of the piece.
        """
        before, behind = self.step.after[:start].rstrip(), self.step.after[end:].lstrip()
        return before[-1:] in {"(", "[", "{"} and behind[:1] in {")", "]", "}"}

    def _units(self, before: Tree, old: Sequence[Tree], now: Sequence[Tree]) -> None:
        """Raise UnprovenError if an operator beside a new operand would bind to a part of it.

        The same holds for a new command in a chain of shell commands. What is put there has to be
        one node that needs no brackets, or has to stand in brackets.
        """
        for node in old:
            if node.start == node.end or not self.shift.touches(node.start, node.end):
                continue
            if self.shift.leaves(self.step.before, node.start, node.end):
                continue
            first, last = self.shift.end(node.start), self.shift.start(node.end)
            new = [
                each
                for each in now
                if each.start < last and each.end > first and each.role is NodeRole.CODE
            ]
            compound = bool(new) and before.kind not in _FIXED and needs_brackets(new[0].kind)
            if compound and _TIGHT.match(new[0].kind) and _LOOSE.match(before.kind):
                continue  # a sign before an operand binds closer than any operator between two
            if (
                new
                and (len(new) > 1 or compound or new[0].kind == "named_expression")
                and (
                    before.kind == "interpolation"
                    or not self._in_brackets(new[0].start, new[-1].end)
                )
            ):
                said = " ".join(self.step.after[new[0].start : new[-1].end].split())[:SHOWN]
                what = (
                    f"'{said}' comes for '{self._said(node)}' beside what would bind to a part of "
                    "it alone. Put brackets around it"
                )
                raise UnprovenError(what, text=self.step.before, position=node.start)

    def _forms(self, before: Tree, old: Sequence[Tree], now: Sequence[Tree]) -> None:
        """Require the replacement of a part of a declaration or command to have the same form.

        What stands around it then keeps its meaning. Raises UnprovenError.
        """
        for node in old:
            if (
                node.kind not in _PARTS
                or (node.kind == "variable_assignment" and before.kind not in _COMMANDS)
                or not self.shift.touches(node.start, node.end)
            ):
                continue
            if self.shift.leaves(self.step.before, node.start, node.end) or self._removed(node):
                continue
            first, last = self.shift.end(node.start), self.shift.start(node.end)
            new = [
                each
                for each in now
                if each.start < last
                and each.end > first
                and each.role is NodeRole.CODE
                and each.kind != ","
            ]
            form = _form(node, self.step.before)
            if all(_form(each, self.step.after) == form for each in new):
                continue
            said = " ".join(self.step.after[new[0].start : new[-1].end].split())[:SHOWN]
            what = (
                f"'{said}' would stand for '{self._said(node)}' as a part of "
                f"'{self._said(before)}', and is written in another form. Write it "
                "as that part is written, with all that belongs to it; or replace the whole by a "
                "pattern or an `anchor`"
            )
            raise UnprovenError(what, text=self.step.before, position=node.start)

    def _background(self, old: Sequence[Tree], now: Sequence[Tree]) -> None:
        """Require each `&` of a shell to stay with the command that it runs in the background.

        Raises UnprovenError.
        """
        for command, sign in pairwise(old):
            if sign.kind != "&" or self.shift.touches(sign.start, sign.end):
                continue
            place = next(
                (
                    each
                    for each in range(len(now))
                    if now[each].start == self.shift.start(sign.start)
                ),
                0,
            )
            there = now[place - 1] if place else None
            same = there is not None and there.start == self.shift.start(command.start)
            gone = not self.shift.leaves(self.step.before, command.start, command.end)
            if not same and not (
                gone
                and there is not None
                and there.kind == command.kind
                and self._alone(now, place - 1)
            ):
                what = (
                    f"'{self._said(command)}' runs in the background, and would not; or something "
                    "else would"
                )
                raise UnprovenError(what, text=self.step.before, position=command.start)

    def _access(
        self,
        old: Sequence[Tree],
        now: Sequence[Tree],
        known: dict[tuple[int, int], tuple[Tree, Tree]],
    ) -> None:
        """Require each member of a C++ class to stay as public or private as it is.

        An operation that changes such a word itself is meant to. Raises UnprovenError.
        """
        words = [node for node in old if node.kind == "access_specifier"]
        if any(
            self.shift.touches(word.start, word.end)
            and not self.shift.leaves(self.step.before, word.start, word.end)
            for word in words
        ):
            return
        was: dict[int, str] = {}
        word = ""
        for node in old:
            if node.kind == "access_specifier":
                word = self.step.before[node.start : node.end]
            was[node.start] = word
        word = ""
        for node in now:
            if node.kind == "access_specifier":
                word = self.step.after[node.start : node.end]
            member = known.get((node.start, node.end), (None, None))[0]
            if (
                member is not None
                and member.role is NodeRole.CODE
                and re.match(r"\w", self.step.before[member.start :])
                and was[member.start].split() != word.split()
            ):
                what = (
                    f"'{self._said(member)}' would be {word or 'as at the head of the class'}, "
                    f"which it is not now. Put '{was[member.start] or 'what holds there'}:' behind "
                    "what is new"
                )
                raise UnprovenError(what, text=self.step.before, position=member.start)

    def _alone(self, now: Sequence[Tree], place: int) -> bool:
        """Say whether a new node is the only code that was inserted at its place."""
        node = now[place]
        return not any(
            each is not node
            and each.role is NodeRole.CODE
            and any(
                first <= each.start and each.end <= last
                for first, last in self.new
                if first <= node.start < last
            )
            for each in now
        )

    def _had_branch(self, old: Sequence[Tree]) -> bool:
        """Say whether one of the removed nodes was a branch."""
        return any(
            _BRANCH.search(node.kind)
            and not self.shift.leaves(self.step.before, node.start, node.end)
            for node in old
        )

    def _is_arm(self, now: Sequence[Tree], place: int) -> bool:
        """Say whether a new branch is a separate arm that is inserted between the others.

        No arm above may fall through into it.
        """
        operation = self.step.operation
        if not (
            isinstance(operation, CodeOperation)
            and operation.insert is not None
            and _ARM.match(now[place].kind)
        ):
            return False
        above = next((each for each in reversed(now[:place]) if _ARM.match(each.kind)), None)
        return above is None or self._is_over(above)

    def _is_over(self, arm: Tree) -> bool:
        """Say whether the code of an arm never falls through into the next arm."""
        last = next((each for each in reversed(arm.children()) if each.role is NodeRole.CODE), None)
        if last is None:
            return False
        if arm.kind == "case_item":
            return self.step.after[last.start : last.end] == ";;"
        return _LEAVES.match(last.kind) is not None or (
            last.kind == "compound_statement" and self._is_over_inside(last)
        )

    def _is_over_inside(self, block: Tree) -> bool:
        inner = [each for each in block.children() if each.role is NodeRole.CODE]
        return len(inner) > 2 and _LEAVES.match(inner[-2].kind) is not None  # two brackets

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
        known: dict[tuple[int, int], tuple[Tree, Tree]],
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
                f"'{self._said(node)}', which the operation does not name, would be something else "
                f"than the {_name(node)} that it is"
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
                and self._is_new(each)
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
                and not (holder.start <= begun and ended <= holder.end)
            ):
                return False
        return True

    def _wrapped(self, node: Tree, old: Sequence[Tree], after: Tree) -> Tree | None:
        """Return the new node for one node that new code was put around, and nothing else.

        An example is a function with a new decorator.
        """
        start, end = self.shift.start(node.start), self.shift.end(node.end)
        holder = next(
            (each for each in after.children() if each.start <= start and end <= each.end), None
        )
        if holder is None or not self._is_new(holder) or not self._may_reach(holder, start, end):
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

    def _is_new(self, node: Tree) -> bool:
        """Say whether a node holds inserted text.

        A token that the grammar made up does not count.
        """
        return node.start >= node.end or any(
            first < node.end and last > node.start for first, last in self.new
        )

    def _look_beside(self, old: Sequence[Tree]) -> None:
        """Refuse an operation if a node beside or in its span is not well formed."""
        code = [node for node in old if node.role is not NodeRole.COMMENT]
        for first, last, _ in self.shift.splices:
            position = bisect_left([node.end for node in code], first)
            for node in code[max(0, position - 1) :]:
                if node.start > last:
                    gap = self.step.before[last : node.start]
                    if not gap.strip() and _faulty_edge(node, 0):
                        raise self._unread(node)
                    break
                inside = first <= node.start and node.end <= last
                if inside and (
                    node.role is NodeRole.FAULT
                    or any(each.role is NodeRole.FAULT for each in node.children())
                ):
                    raise self._unread(node)
                if (
                    not inside
                    and node.end <= first
                    and _faulty_edge(node, -1)
                    and not self.step.before[node.end : first].strip()
                ):
                    raise self._unread(node)
                if not inside and node.start >= last and _faulty_edge(node, 0):
                    raise self._unread(node)

    def _attached(
        self,
        old: Sequence[Tree],
        now: Sequence[Tree],
        known: dict[tuple[int, int], tuple[Tree, Tree]],
    ) -> None:
        """Require attributes and documentation to stay with their node or with its replacement.

        Raises UnprovenError.
        """
        now_at = {(node.start, node.end): place for place, node in enumerate(now)}
        head = self._head(old)
        for place, node in enumerate(old):
            if node.role not in {NodeRole.LEAD, NodeRole.COMMENT} or self.shift.touches(
                node.start, node.end
            ):
                continue
            at = now_at.get((self.shift.start(node.start), self.shift.end(node.end)))
            holder = next(
                (
                    each
                    for each in old[place + 1 :]
                    if each.role not in {NodeRole.LEAD, NodeRole.COMMENT}
                ),
                None,
            )
            if at is None or holder is None or holder.start == holder.end:
                continue
            if node.role is NodeRole.COMMENT and (
                place < head or not self._documents(node, holder)
            ):
                continue
            heir = next(
                (
                    each
                    for each in now[at + 1 :]
                    if each.role not in {NodeRole.LEAD, NodeRole.COMMENT}
                ),
                None,
            )
            if heir is not None and known.get((heir.start, heir.end), (None, None))[0] is holder:
                continue
            gone = not self.shift.leaves(self.step.before, holder.start, holder.end)
            if gone and (
                node.role is NodeRole.COMMENT
                or (heir is not None and self._is_new(heir) and not self._removed(holder))
            ):
                continue
            what = (
                f"'{self._said(node)}' belongs to '{self._said(holder)}', and would belong to "
                + (f"'{self._said(heir, now=True)}'" if heir is not None else "nothing")
            )
            raise UnprovenError(what, text=self.step.before, position=node.start)

    def by_anchor(self) -> bool:
        """Say whether the operation selects a text by an `anchor`, in whatever construct it is."""
        operation = self.step.operation
        if not isinstance(operation, CodeOperation):
            return False
        place = operation.insert
        selectors = (
            operation.replace,
            operation.wrap,
            operation.remove,
            place.before if place else None,
            place.after if place else None,
        )
        return any(selector is not None and selector.anchor is not None for selector in selectors)

    def _leads(self, now: Sequence[Tree], known: dict[tuple[int, int], tuple[Tree, Tree]]) -> None:
        """Raise UnprovenError if a new attribute or documentation belongs to code that was there.

        Only an operation that inserts before that code may add one.
        """
        operation = self.step.operation
        if (
            isinstance(operation, CodeOperation)
            and operation.insert is not None
            and operation.insert.before is not None
        ):
            return
        for place, node in enumerate(now):
            if (
                node.role is not NodeRole.LEAD
                or (node.start, node.end) in known
                or not self._is_new(node)
            ):
                continue
            heir = next(
                (
                    each
                    for each in now[place + 1 :]
                    if each.role not in {NodeRole.LEAD, NodeRole.COMMENT}
                ),
                None,
            )
            if heir is not None and (heir.start, heir.end) in known:
                what = (
                    f"'{self._said(node, now=True)}' would belong to "
                    f"'{self._said(heir, now=True)}', which the operation does not name"
                )
                raise UnprovenError(what, text=self.step.after, position=node.start)

    def _removed(self, node: Tree) -> bool:
        """Say whether a node is removed without a replacement."""
        return not any(
            new.strip()
            for start, stop, new in self.shift.splices
            if start < node.end and stop > node.start
        )

    def _head(self, old: Sequence[Tree]) -> int:
        """Return the number of comments at the head of the file, up to an empty line.

        They are a licence, the line for an interpreter, or an encoding.
        """
        text = self.step.before
        if not old or text[: old[0].start].strip("\ufeff \t\r\n"):
            return 0
        count = next(
            (place for place, node in enumerate(old) if node.role is not NodeRole.COMMENT), len(old)
        )
        return next(
            (
                place
                for place in range(1, count)
                if "\n\n" in text[old[place - 1].end : old[place].start].replace("\r", "")
            ),
            count,
        )

    def _documents(self, comment: Tree, holder: Tree) -> bool:
        """Say whether a comment stands directly over code, on lines of its own."""
        text = self.step.before
        if (
            text[line_start(text, comment.start) : comment.start].strip()
            or text[line_start(text, holder.start) : holder.start].strip()
        ):
            return False
        between = [line.strip() for line in text[comment.end : holder.start].split("\n")[1:-1]]
        return all(between)

    def _comments(self, old: Sequence[Tree]) -> None:
        """Require comments behind code to stay on its line, and all others to stay on their own.

        Raises UnprovenError.
        """
        for node in old:
            if node.role is not NodeRole.COMMENT or self.shift.touches(node.start, node.end):
                continue
            place = self.shift.start(node.start)
            was = self.step.before[line_start(self.step.before, node.start) : node.start].strip()
            now = self.step.after[line_start(self.step.after, place) : place].strip()
            if bool(was) is not bool(now):
                how = "stand alone on its line" if was else "stand behind other code"
                what = f"the comment '{self._said(node)}' would {how}"
                raise UnprovenError(what, text=self.step.before, position=node.start)

    def _unread(self, node: Tree) -> UnreadError:
        what = (
            f"the grammar of {self.step.language} does not read '{self._said(node)}', so what is "
            "changed in or beside it cannot be told. "
            "Edit this place by an `anchor`, in the language text."
        )
        return UnreadError(what, text=self.step.before, position=node.start)

    def _said(self, node: Tree, *, now: bool = False) -> str:
        text = " ".join(
            (self.step.after if now else self.step.before)[node.start : node.end].split()
        )
        return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


_PARTS = frozenset({"init_declarator", "initializer_pair", "enumerator", "variable_assignment"})
"""Kinds of nodes that are only a part of a declaration."""
_COMMANDS = frozenset({"declaration_command", "command", "variable_assignments"})
"""Kinds of nodes of a shell in which an assignment is only a part of a command.

Elsewhere an assignment is a command by itself.
"""
_SHORT = re.compile(r"declarator$|^(?:field_)?identifier$")


def _form(node: Tree, text: str) -> tuple[object, ...]:
    """Return the text of a part without its name and its value.

    For a declaration of C this includes its pointers, brackets and references.
    """
    children = node.children()
    if node.kind == "init_declarator" and children:
        return _form(children[0], text)
    if not _SHORT.search(node.kind):
        return (node.kind,)
    if not node.kind.endswith("declarator"):
        return ("identifier",)
    inner = [each for each in children if each.role is NodeRole.CODE]
    if node.kind == "array_declarator":  # its size may change with its value
        return (node.kind, _form(inner[0], text))
    return (
        node.kind,
        *(
            _form(each, text) if _SHORT.search(each.kind) else text[each.start : each.end]
            for each in inner
        ),
    )


def _words(node: Tree, text: str, start: int, stop: int) -> Iterator[str]:
    """Yield the tokens of a piece of a text, as the tree divides it."""
    if node.end <= start or node.start >= stop or node.role is NodeRole.COMMENT:
        return
    inner = node.children()
    for each in inner:
        yield from _words(each, text, start, stop)
    if not inner and start <= node.start and node.end <= stop and node.start < node.end:
        yield text[node.start : node.end]


def _name(node: Tree) -> str:
    return node.kind.replace("_", " ")


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
