"""Judge whether one text is another with only the wanted changes made.

A language's own reader, never the engine's grammar, turns each text into a stream of code tokens
and comments. The judge knows no language. It demands that the code is the old code with the
wanted pieces exchanged, that every character between two kept pieces of code is kept, and that
every comment is kept that no change was allowed to drop.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

Key = tuple[str, str]
"""The kind and the text of a piece of code.

The text without what means nothing to the reader, such as the kind of line end.
"""


ANY = re.compile("")
"""What every comment begins with."""
_OF_FILE = re.compile(r"/\*.*(?:copyright|licen[cs]e|SPDX-|[@\\]file\b)", re.IGNORECASE | re.DOTALL)


class UnreadableError(Exception):
    """The reader refuses a text."""


class Token(NamedTuple):
    """A piece of code. One without width, such as the end of a block, is structure."""

    kind: str
    text: str
    start: int
    end: int

    @property
    def key(self) -> Key:
        """What has to be equal."""
        return self.kind, self.text


class Comment(NamedTuple):
    """A comment."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Stream:
    """What a reader sees."""

    text: str
    code: tuple[Token, ...]
    comments: tuple[Comment, ...]

    def index(self, position: int) -> int:
        """Return the number of the first piece of code at or after a position that has width."""
        found = bisect_left(self.code, position, key=lambda token: token.start)
        while found < len(self.code) and self.code[found].end == self.code[found].start:
            found += 1
        return found

    def between(self, start: int, end: int) -> list[Comment]:
        """Return the comments in a span."""
        first = bisect_left(self.comments, start, key=lambda comment: comment.start)
        last = bisect_left(self.comments, end, key=lambda comment: comment.start)
        return list(self.comments[first:last])

    def edges(self, first: int, last: int) -> tuple[int, int]:
        """Return where the code before piece `first` ends, and where that from `last` on starts.

        Structural pieces, which have no width, do not count.
        """
        left = first - 1
        while left >= 0 and self.code[left].start == self.code[left].end:
            left -= 1
        right = last
        while right < len(self.code) and self.code[right].start == self.code[right].end:
            right += 1
        return (self.code[left].end if left >= 0 else 0), (
            self.code[right].start if right < len(self.code) else len(self.text)
        )

    def documents(self, position: int, mark: re.Pattern[str]) -> tuple[Comment, ...]:
        """Return the comments on lines of their own directly above a position.

        Only those count whose text matches `mark`. The comment of the whole file, such as its
        licence, does not count.
        """
        found: list[Comment] = []
        at = bisect_left(self.comments, position, key=lambda comment: comment.start) - 1
        while (
            at >= 0 and mark.match(self.comments[at].text) and not self.trailing(self.comments[at])
        ):
            comment = self.comments[at]
            between = self.text[comment.end : position]
            if between.strip() or between.count("\n") > 1 or self.of_file(comment):
                break
            found.append(comment)
            position = comment.start
            at -= 1
        return tuple(reversed(found))

    def of_file(self, comment: Comment) -> bool:
        """Say whether a comment is the first thing of a file, and speaks of the whole of it."""
        return (
            not self.text[: comment.start].strip("\ufeff \t\r\n")
            and _OF_FILE.match(comment.text) is not None
        )

    def trailing(self, comment: Comment) -> bool:
        """Say whether a comment stands behind something on its line."""
        return bool(
            self.text[self.text.rfind("\n", 0, comment.start) + 1 : comment.start].strip(
                "\ufeff \t\f"
            )
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """Pieces `first` to `last` (exclusive) of the old code go, and others come."""

    first: int
    last: int
    new: tuple[Key, ...] = ()
    comments: tuple[str, ...] = ()
    """Comments that come."""
    loose: tuple[Comment, ...] = ()
    """Old comments that may go, or stay, as the engine likes.

    Those inside of what goes, and directly at it.
    """
    gone: tuple[Comment, ...] = ()
    """Old comments that have to go.

    What documents what goes would document what stands behind it.
    """
    tied: tuple[Comment, ...] = ()
    """Old comments that have to stay behind what comes: they document the code behind them."""


def judge(before: Stream, after: Stream, changes: Sequence[Change]) -> str | None:
    """Return what is wrong with a text that should be the old one with these changes.

    The changes are in order. None when the text is right.
    """
    wanted: list[Key] = []
    done = 0
    for change in changes:
        wanted += [token.key for token in before.code[done : change.first]]
        wanted += change.new
        done = change.last
    wanted += [token.key for token in before.code[done:]]
    seen = [token.key for token in after.code]
    if wanted != seen:
        at = next(
            (n for n, (a, b) in enumerate(zip(wanted, seen, strict=False)) if a != b),
            min(len(wanted), len(seen)),
        )
        return (
            f"the reader sees other code | from piece {at} on: wanted {_said(wanted, at)}, found "
            f"{_said(seen, at)}"
        )
    begun = shift = 0
    fresh = 0
    for change in changes:
        end, start = before.edges(change.first, change.last)
        new_end, new_start = after.edges(
            change.first + shift, change.first + shift + len(change.new)
        )
        kept, remains = before.text[begun:end], after.text[fresh:new_end]
        if end == len(before.text):  # the last line may get the end that it did not have
            kept, remains = kept.rstrip("\r\n"), remains.rstrip("\r\n")
        if kept != remains:
            return f"what nobody meant has changed before the edit | {_difference(kept, remains)}"
        wrong = _comments(before, after, change, (end, start), (new_end, new_start)) or _documented(
            before, after, change, shift
        )
        if wrong:
            return wrong
        begun, fresh = start, new_start
        shift += len(change.new) - (change.last - change.first)
    if (
        before.text[begun:] != after.text[fresh:]
        and before.text[begun:].strip() != after.text[fresh:].strip()
    ):
        return (
            "what nobody meant has changed behind the edit | "
            f"{_difference(before.text[begun:], after.text[fresh:])}"
        )
    return layout(before.text, after.text)


def _comments(
    before: Stream, after: Stream, change: Change, old: tuple[int, int], new: tuple[int, int]
) -> str | None:
    found = after.between(*new)
    texts = [comment.text for comment in found]
    for text in change.comments:
        if text not in texts:
            return f"a comment of the new text is not there | {text!r}"
        texts.remove(text)
    reached = {0}  # several comments may say the same, and only some of them may go
    for comment in before.between(*old):
        may_go = comment in change.loose or comment in change.gone
        kept = {at + 1 for at in reached if texts[at : at + 1] == [comment.text]}
        reached = kept | (reached if may_go else set())
        if not reached:
            return f"a comment is lost, or not where it was | {comment.text!r}"
    if len(texts) not in reached:
        return f"a comment is there that nobody wrote | {texts[max(reached)]!r}"
    return _hosts(before, after, change, old, found)


def _documented(before: Stream, after: Stream, change: Change, shift: int) -> str | None:
    """Say which comment documents something else now."""
    found = after.between(
        *after.edges(change.first + shift, change.first + shift + len(change.new))
    )
    old = before.between(*before.edges(change.first, change.last))
    for comment in change.gone:
        others = sum(
            each.text == comment.text for each in old if each not in change.gone
        ) + change.comments.count(comment.text)
        if sum(each.text == comment.text for each in found) > others:
            return f"a comment that documents what is gone is still there | {comment.text!r}"
    last = after.code[change.first + shift + len(change.new) - 1].end if change.new else 0
    for comment in change.tied:
        if any(each.text == comment.text and each.start < last for each in found):
            return f"what came stands between a comment and what it documents | {comment.text!r}"
    return None


def _hosts(
    before: Stream, after: Stream, change: Change, old: tuple[int, int], found: list[Comment]
) -> str | None:
    """Return which trailing comment now stands behind other code, although its code is still there.

    None when there is no such comment.
    """
    for comment in before.between(*old):
        host = before.index(comment.start) - 1
        while host >= 0 and before.code[host].start == before.code[host].end:
            host -= 1
        if (
            host < 0
            or change.first <= host < change.last
            or not before.trailing(comment)
            or comment in change.loose
        ):
            continue
        for same in (each for each in found if each.text == comment.text):
            behind = after.index(same.start) - 1
            while behind >= 0 and after.code[behind].start == after.code[behind].end:
                behind -= 1
            if behind > 0 and after.code[behind].text == "," != before.code[host].text:
                behind -= 1  # that a comma comes between them changes nothing
            if (
                behind >= 0
                and after.code[behind].text == before.code[host].text
                and after.trailing(same)
            ):
                break
        else:
            return f"a comment does not stand behind its code any more | {comment.text!r}"
    return None


def layout(before: str, after: str) -> str | None:
    """Say what is wrong with the line ends of a text, or its byte-order mark.

    None when they are as before.
    """
    if before.startswith("\ufeff") != after.startswith("\ufeff") or (
        "\ufeff" in after[1:] and "\ufeff" not in before[1:]
    ):
        return "the byte-order mark is gone, or not first any more"
    inner = after[:-1]  # some readers give a last line an end that it does not have
    if before.count("\n") == before.count("\r\n") > 0 and inner.count("\n") != inner.count("\r\n"):
        return "a line of a file with CRLF ends in LF alone"
    if "\r" not in before and "\r" in after:
        return "a carriage return is there that was not"
    if before.endswith("\n") and after.strip("\ufeff") and not after.endswith("\n"):
        return "the last line has lost its end"
    return None


def _said(keys: list[Key], at: int) -> str:
    return (
        " ".join(
            repr(text) if text else f"<{kind}>" for kind, text in keys[max(0, at - 2) : at + 4]
        )
        or "nothing"
    )


def _difference(one: str, other: str) -> str:
    at = next(
        (n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
        min(len(one), len(other)),
    )
    return f"{one[max(0, at - 20) : at + 30]!r} became {other[max(0, at - 20) : at + 30]!r}"
