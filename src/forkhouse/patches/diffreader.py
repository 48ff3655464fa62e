"""Read a patch file: bytes in, frozen values out, for every shape of unified diff in use.

A patch file holds one diff, or a mailbox with several. A diff has a part for each file, in git's
form (`diff --git`) or without it, as GNU diff, quilt, Debian's DEP-3, Mercurial and Subversion
write it. A part has hunks, and the line counts in their `@@` lines say where they end. No pattern
is searched in the whole text, as a line of a file may look like anything. Nothing but names is
decoded.

This is our own reader because no library knows all of git's shapes: libgit2 refuses an empty new
file before another one and names with blanks. `unidiff` and `whatthepatch` decode contents, and
know no mailbox, no binary patch and no rename without an `index` line. The measure is git itself
(`git apply`, `git am`). Lines that git skips silently, but that may be meant as a change, are
refused here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forkhouse.patches.difflines import RANGES, Lines
from forkhouse.patches.diffnames import splits, without
from forkhouse.patches.diffparts import PartReader
from forkhouse.patches.diffs import Diff, DiffSyntaxError, Part, StripError
from forkhouse.patches.mails import is_separator, plain

if TYPE_CHECKING:
    from collections.abc import Sequence


def message_of(content: bytes) -> bytes:
    """Return the text before the first diff of a patch file: its header and message.

    Without a diff, this is the whole text. Raises DiffSyntaxError for a mail that is damaged.
    """
    lines = plain(content).split(b"\n")
    begun = Lines(lines).first(0, len(lines))
    return b"\n".join(lines[:begun])


def is_diff(content: bytes) -> bool:
    """Say whether a patch file holds a diff at all. Raises DiffSyntaxError, as `message_of`."""
    lines = plain(content).split(b"\n")
    return Lines(lines).first(0, len(lines)) < len(lines)


def read(content: bytes, *, strip: int) -> tuple[Diff, ...]:
    """Return the diffs of a patch file, one for each mail.

    `strip` is the number of leading folders to take off each name, as in `patch -p`. Raises
    DiffSyntaxError.
    """
    text = plain(content)
    try:
        return _read(text.split(b"\n"), strip)
    except StripError:
        raise
    except DiffSyntaxError as error:
        if text is content:
            raise
        raise DiffSyntaxError(error.line, f"{error.reason} (in the mail once decoded)") from error


def _read(lines: Sequence[bytes], strip: int) -> tuple[Diff, ...]:
    reader = _MailReader(Lines(lines), strip)
    diffs: list[Diff] = []
    begun = 0
    while begun < len(lines):
        parts, end = reader.mail(begun)
        if parts:
            diffs.append(Diff(line=begun + 1, parts=tuple(parts)))
        elif (
            any(lines[begun:end])
            and (diffs or end < len(lines))
            and not re.search(rb"\nSubject: \[[^]]*\b0+/\d+\]", b"\n".join(lines[begun:end]))
        ):
            raise DiffSyntaxError(
                begun + 1,
                "this mail has no diff. Take it out of the mailbox, or fetch the mailbox anew",
            )
        begun = end
    if not diffs:
        raise DiffSyntaxError(
            1,
            (
                "it holds no diff that is known: no `diff --git`, and no `---` with `+++` and `@@` "
                "behind it"
            ),
        )
    return tuple(diffs)


class _MailReader:
    """A reader of a patch file, mail by mail."""

    def __init__(self, lines: Lines, strip: int) -> None:
        self._lines = lines
        self._parts = PartReader(lines, strip)

    def mail(self, start: int) -> tuple[list[Part], int]:
        """Return the parts of the mail that begins at a line, and where it ends."""
        number = start + 1 if is_separator(self._lines.at(start)) else start
        is_mail = bool(
            re.match(rb"From |(?:From|Subject|Date|Message-I[dD]): ", self._lines.at(start))
        )
        ruled = not is_mail  # whether the rule between message and diff has been passed
        parts: list[Part] = []
        limit = next(
            (
                each
                for each, line in enumerate(self._lines.all[number:], number)
                if is_separator(line)
            ),
            len(self._lines),
        )
        begun = self._lines.first(number, limit)
        if is_mail:
            rule = next(
                (
                    each
                    for each in range(number, min(begun, limit))
                    if self._lines.at(each).rstrip() == b"---"
                ),
                None,
            )
            if rule is not None:
                self._refuse_heads(number, rule)
            ruled = ruled or rule is not None
            number = number if rule is None else rule
        else:
            rule = None
        if rule is None:
            # A line that looks like the head of a part, and is none, is a damaged head, unless it
            # is in a message that ends with a rule.
            damaged = (
                each
                for each in range(number, begun)
                if self._lines.at(each).startswith(b"diff --git ")
                or RANGES.match(self._lines.at(each))
            )
            number = next(damaged, begun)
        while number < len(self._lines):
            line = self._lines.at(number)
            if number == limit:
                break
            if self._lines.is_part(number):
                part, number = self._parts.read(number)
                parts.append(part)
                self._refuse_more(number, part)
                continue
            if line.rstrip() == b"---" and parts and not ruled:
                if self._lines.first(number + 1, limit) < limit:
                    message = (
                        "the message above this rule holds a diff itself, and more diffs follow. "
                        "Indent the one that belongs to the message"
                    )
                    raise DiffSyntaxError(number + 1, message)
                ruled = True
            number = self._pass_over(number)
        return parts, number

    def _refuse_heads(self, start: int, rule: int) -> None:
        """Refuse the head of a part in a message: for git, the patch begins there."""
        for number in range(start, rule):
            header = self._lines.at(number).removeprefix(b"diff --git ")
            if header != self._lines.at(number) and (
                any(without(one, 1) == without(two, 1) for one, two in splits(header))
                or re.fullmatch(rb'"?a/\S+ "?b/\S+', header)
            ):
                message = (
                    "the message holds the head of a part, above the `---` that ends it. Indent "
                    "it, or put it back where it belongs"
                )
                raise DiffSyntaxError(number + 1, message)

    def _refuse_more(self, number: int, part: Part) -> None:
        """Refuse lines behind a part that look like more of it: git leaves them out in silence."""
        if self._lines.is_part(number):
            return
        line = self._lines.at(number)
        blank = number
        while blank < len(self._lines) - 1 and not self._lines.at(blank):
            blank += 1
        beyond = self._lines.at(blank)
        if line.rstrip() in {b"--", b"---"} or self._lines.announces(number):
            return
        looks = line.startswith((b" ", b"+", b"-", b"\\")) or (
            blank > number
            and beyond.startswith((b"+", b"-"))
            and beyond.rstrip() not in {b"--", b"---"}
        )
        if looks and not self._lines.is_part(blank):
            reason = (
                "the hunk before this line is longer than its `@@` line says"
                if part.hunks
                else "this line belongs to no hunk"
            )
            message = (
                f"{part.new}: {reason}. Correct the `@@` line (`rediff` does), or make the patch "
                "anew"
            )
            raise DiffSyntaxError(number + 1, message)

    def _pass_over(self, number: int) -> int:
        """Return the line to continue at, after a line that begins no part.

        Raises DiffSyntaxError for a line that was meant as a change.
        """
        line, following = self._lines.at(number), self._lines.at(number + 1)
        reason = ""
        if line.startswith(b"@@ -") and RANGES.match(line):
            reason = "a hunk without a file: `---` and `+++` are missing above it"
        elif line.startswith((b"diff --cc ", b"diff --combined ")):
            reason = (
                "a combined diff, which shows a merge and cannot be applied. Make the diff against "
                "one parent"
            )
        elif line.startswith(b"diff --git "):
            reason = "nothing follows that says what to do with the file"
        elif line.startswith(b"*** ") and following.startswith(b"--- "):
            reason = "a context diff. Make it a unified one (`diff -u`)"
        elif line.startswith(b"--- ") and following.startswith(b"+++ "):
            reason = "no hunk (`@@ -`) follows these names"
        elif line.startswith(b"Binary files ") and line.endswith(b" differ"):
            reason = (
                "a binary file differs, and the patch does not hold its content. Make it with `git "
                "diff --binary`"
            )
        elif line.startswith(b"Only in ") and b": " in line:
            reason = (
                "a file is on one side only, and the patch does not hold it. Make it with `diff -N`"
            )
        elif line.startswith(
            (
                b"Added: svn:executable",
                b"Deleted: svn:executable",
                b"Added: svn:special",
                b"Deleted: svn:special",
            )
        ):
            reason = (
                "a change of Subversion's properties. Make it with `svn diff --git`, or as a "
                "change of mode"
            )
        elif line.startswith(b"Index: ") and following.startswith(b"===="):
            if not self._lines.is_part(number + 2):
                reason = (
                    "no hunk follows for this file: it is empty, binary, or changed in its "
                    "properties alone. Make it with git"
                )
            return self._or_refuse(number, reason, number + 2)
        elif (
            line.startswith(b"diff -")
            and not self._lines.is_part(number + 1)
            and not following.startswith(b"*** ")
        ):
            reason = (
                "no hunk follows for these files: one of them is empty, or binary. Make the patch "
                "with git"
            )
        return self._or_refuse(number, reason, number + 1)

    def _or_refuse(self, number: int, reason: str, following: int) -> int:
        if reason:
            raise DiffSyntaxError(number + 1, reason)
        return following
