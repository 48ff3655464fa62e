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

import base64
import re
import zlib
from typing import TYPE_CHECKING

from pygit2.enums import FileMode

from forkhouse.patches.diffnames import (
    PREFIXED,
    SLASHES,
    is_dev_null,
    is_epoch,
    is_nowhere,
    plain_name,
    splits,
    stamped_name,
    without,
)
from forkhouse.patches.diffs import Binary, Diff, DiffSyntaxError, Hunk, Part, PartKind, StripError
from forkhouse.patches.mails import is_separator, plain

if TYPE_CHECKING:
    from collections.abc import Sequence


LINK, SUBMODULE = 0o120000, 0o160000
_TYPE = 0o170000
"""The bits of a mode that say what kind of file it is."""
_PLAIN = 0o100000


_NUMBER = rb"\d{1,18}"
"""No file has more lines or bytes, and Python refuses to read longer numbers at some length."""


_RANGES = re.compile(rb"@@ -(N)(?:,(N))? \+(N)(?:,(N))? @@".replace(b"N", _NUMBER))


_EXTENDED = re.compile(
    rb"(old mode|new mode|deleted file mode|new file mode"
    rb"|copy from|copy to|rename from|rename to|rename old|rename new"
    rb"|similarity index|dissimilarity index|index) (.*)"
)


_BODIES = (b"--- ", b"@@ -", b"GIT binary patch", b"Binary files ")
"""What may follow the head of a part; a head without lines of its own is then refused."""


_BINARY_LINE = 52
"""The greatest number of bytes that one line of a binary patch holds."""
_DIGITS, _GROUP = 5, 4
"""So many digits of base 85 stand for so many bytes."""


_SHORTEST_NOTE = 12
"""The number of bytes that a note on a missing newline has at least, for git."""


_SHOWN = 60
"""The number of characters of a line that a message shows."""


def message_of(content: bytes) -> bytes:
    """Return the text before the first diff of a patch file: its header and message.

    Without a diff, this is the whole text. Raises DiffSyntaxError for a mail that is damaged.
    """
    lines = plain(content).split(b"\n")
    begun = _Reader(lines, 1).first(0, len(lines))
    return b"\n".join(lines[:begun])


def is_diff(content: bytes) -> bool:
    """Say whether a patch file holds a diff at all. Raises DiffSyntaxError, as `message_of`."""
    lines = plain(content).split(b"\n")
    return _Reader(lines, 1).first(0, len(lines)) < len(lines)


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
    reader = _Reader(lines, strip)
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


class _Reader:
    """A reader of a patch file by its lines, which have no line feeds any more."""

    def __init__(self, lines: Sequence[bytes], strip: int) -> None:
        self.lines = lines
        self.strip = strip

    def at(self, number: int) -> bytes:
        """Return a line, or an empty one behind the end of the file."""
        return self.lines[number] if number < len(self.lines) else b""

    def is_part(self, number: int) -> bool:
        """Say whether a part begins at a line."""
        line = self.at(number)
        if line.startswith(b"diff --git "):
            following = self.at(number + 1)
            return bool(_EXTENDED.match(following)) or following.startswith(_BODIES)
        return (
            line.startswith(b"--- ")
            and self.at(number + 1).startswith(b"+++ ")
            and self.at(number + 2).startswith(b"@@ -")
        )

    def announces(self, number: int) -> bool:
        """Say whether a line is one that tools write above a part, or in its place."""
        line = self.at(number)
        if line.startswith(b"Index: "):
            return self.at(number + 1).startswith(b"====")
        return line.startswith((b"diff -", b"Only in ")) or (
            line.startswith(b"Binary files ") and line.endswith(b" differ")
        )

    def first(self, start: int, end: int) -> int:
        """Return where the first diff begins, with the lines that announce it.

        Returns `end` if there is none.
        """
        number = next(
            (
                number
                for number in range(start, end)
                if self.is_part(number) or self._is_foreign(number)
            ),
            end,
        )
        if number == end:
            return end
        while number > start and (
            self.announces(number - 1)
            or (number - 1 > start and self.announces(number - 2) and self._is_rule(number - 1))
        ):
            number -= 1
        return number

    def _is_rule(self, number: int) -> bool:
        return self.at(number).startswith(b"====")

    def _is_foreign(self, number: int) -> bool:
        """Say whether a diff begins here of a kind that is not supported."""
        line = self.at(number)
        if line.startswith((b"diff --cc ", b"diff --combined ")):
            return True
        if line.startswith(b"diff --git "):  # no line says what the part does
            return self.at(number + 1).startswith(b"diff --git ")
        if line.startswith(b"*** "):
            return self.at(number + 1).startswith(b"--- ") and self.at(number + 2).startswith(
                b"********"
            )
        return self.announces(number) and line.startswith(b"Index: ")

    def mail(self, start: int) -> tuple[list[Part], int]:
        """Return the parts of the mail that begins at a line, and where it ends."""
        number = start + 1 if is_separator(self.at(start)) else start
        is_mail = bool(re.match(rb"From |(?:From|Subject|Date|Message-I[dD]): ", self.at(start)))
        ruled = not is_mail  # whether the rule between message and diff has been passed
        parts: list[Part] = []
        limit = next(
            (each for each, line in enumerate(self.lines[number:], number) if is_separator(line)),
            len(self.lines),
        )
        begun = self.first(number, limit)
        if is_mail:
            rule = next(
                (
                    each
                    for each in range(number, min(begun, limit))
                    if self.at(each).rstrip() == b"---"
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
                if self.at(each).startswith(b"diff --git ") or _RANGES.match(self.at(each))
            )
            number = next(damaged, begun)
        while number < len(self.lines):
            line = self.at(number)
            if number == limit:
                break
            if self.is_part(number):
                part, number = self.part(number)
                parts.append(part)
                self._refuse_more(number, part)
                continue
            if line.rstrip() == b"---" and parts and not ruled:
                if self.first(number + 1, limit) < limit:
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
            header = self.at(number).removeprefix(b"diff --git ")
            if header != self.at(number) and (
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
        if self.is_part(number):
            return
        line = self.at(number)
        blank = number
        while blank < len(self.lines) - 1 and not self.at(blank):
            blank += 1
        beyond = self.at(blank)
        if line.rstrip() in {b"--", b"---"} or self.announces(number):
            return
        looks = line.startswith((b" ", b"+", b"-", b"\\")) or (
            blank > number
            and beyond.startswith((b"+", b"-"))
            and beyond.rstrip() not in {b"--", b"---"}
        )
        if looks and not self.is_part(blank):
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
        line, following = self.at(number), self.at(number + 1)
        reason = ""
        if line.startswith(b"@@ -") and _RANGES.match(line):
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
            if not self.is_part(number + 2):
                reason = (
                    "no hunk follows for this file: it is empty, binary, or changed in its "
                    "properties alone. Make it with git"
                )
            return self._or_refuse(number, reason, number + 2)
        elif (
            line.startswith(b"diff -")
            and not self.is_part(number + 1)
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

    def part(self, number: int) -> tuple[Part, int]:
        """Return the part that begins at a line, and the line behind it."""
        if self.at(number).endswith(b"\r"):
            message = (
                "the lines of the patch file itself end with CR LF. Save its own lines with LF "
                "alone (a mail client may have changed them)"
            )
            raise DiffSyntaxError(number + 1, message)
        return (
            self._git_part(number)
            if self.at(number).startswith(b"diff --git ")
            else self._plain_part(number)
        )

    def _git_part(self, start: int) -> tuple[Part, int]:
        header = self.at(start)[len(b"diff --git ") :]
        extended: dict[bytes, bytes] = {}
        number = start + 1
        while match := _EXTENDED.match(self.at(number)):
            key = match[1].replace(b"rename old", b"rename from")
            key = key.replace(b"rename new", b"rename to")
            if extended.setdefault(key, match[2]) != match[2]:
                message = (
                    f"a second line says another `{key.decode()}` of the file. Take out the wrong "
                    "one"
                )
                raise DiffSyntaxError(number + 1, message)
            number += 1
        names: tuple[bytes, bytes] | None = None
        if self.at(number).startswith(b"--- ") and self.at(number + 1).startswith(b"+++ "):
            names = self.at(number)[4:], self.at(number + 1)[4:]
            number += 2
        kind = self._kind(extended, names, start)
        old, new = self._git_names(header, extended, names, kind, start)
        before, _, after = extended.get(b"index", b"").partition(b"..")
        after, _, indexed = after.partition(b" ")
        old_mode, mode = self._modes(extended, indexed, start)
        if names is None and not extended and self.at(number).startswith(b"@@ -"):
            message = (
                f"{new}: a hunk stands right behind `diff --git`, and `---` and `+++` are missing "
                "above it"
            )
            raise DiffSyntaxError(number + 1, message)
        hunks, number = self._hunks(number, new or old)
        binary: Binary | None = None
        if self.at(number) == b"GIT binary patch":
            if hunks:
                message = f"{new}: it has both hunks and a binary patch, of which git takes one"
                raise DiffSyntaxError(number + 1, message)
            binary, number = self._binary(number + 1, new)
        elif self.at(number).startswith(b"Binary files ") and self.at(number).rstrip().endswith(
            b" differ"
        ):
            binary, number = Binary(content=None), number + 1
        elif self.at(number).startswith(b"@@@"):
            raise DiffSyntaxError(
                number + 1,
                (
                    "a combined diff, which shows a merge and cannot be applied. Make the diff "
                    "against one parent"
                ),
            )
        if names is not None and not hunks and binary is None:
            self._refuse_unfollowed(number, kind, new)
        if not hunks and binary is None and kind is PartKind.CHANGE:
            self._refuse_idle(extended, old, start)
        if number >= len(self.lines):
            raise DiffSyntaxError(
                number, f"{new}: the patch ends within this line; a part of it is missing"
            )
        self._refuse_unfit(hunks, kind, new)
        self._refuse_nothing(binary, after, kind, start, new)
        ids = (before.decode("ascii", "replace"), after.decode("ascii", "replace"))
        part = Part(
            line=start + 1,
            kind=kind,
            old=old,
            new=new,
            mode=mode,
            old_mode=old_mode,
            ids=ids,
            hunks=hunks,
            binary=binary,
            is_prefixed=self.strip == 1 and PREFIXED.match(header) is not None,
        )
        return part, number

    def _refuse_unfollowed(self, number: int, kind: PartKind, name: str) -> None:
        """Refuse `---` and `+++` without a hunk, except for a file that comes or goes empty.

        git reads more lines on the file as a whole behind the names. No tool writes them there.
        """
        if kind not in {PartKind.ADD, PartKind.REMOVE} or _EXTENDED.match(self.at(number)):
            raise DiffSyntaxError(
                number + 1, f"{name}: no hunk (`@@ -`) follows the `---` and `+++` of this file"
            )

    def _refuse_idle(self, extended: dict[bytes, bytes], name: str, start: int) -> None:
        """Refuse a part without any content unless it changes the mode of its file."""
        told = [extended[key] for key in (b"old mode", b"new mode") if key in extended]
        if not told:
            reason = "nothing follows that says what to do with the file"
        elif len(told) == 1:
            reason = "`old mode` and `new mode` belong together, and one is missing"
        elif int(told[0], 8) == int(told[1], 8):
            reason = "it changes nothing, as `old mode` and `new mode` are the same"
        else:
            return
        raise DiffSyntaxError(start + 1, f"{name}: {reason}")

    def _refuse_nothing(
        self, binary: Binary | None, after: bytes, kind: PartKind, start: int, name: str
    ) -> None:
        """Refuse a binary part that leaves no content without removing its file."""
        if binary is not None and kind is not PartKind.REMOVE and after and not after.strip(b"0"):
            message = (
                f"{name}: its `index` line says that the file goes, and no `deleted file mode` "
                "line says so"
            )
            raise DiffSyntaxError(start + 1, message)

    def _modes(
        self, extended: dict[bytes, bytes], indexed: bytes, start: int
    ) -> tuple[FileMode | None, FileMode | None]:
        """Return the mode that a file is said to have, and the one that it gets."""
        old, new, gone, come = (
            self._mode(extended[key], start, is_new=key == b"new file mode")
            if key in extended
            else None
            for key in _MODES
        )
        had = old or gone
        if indexed:
            said = self._mode(indexed, start)
            if had is not None and said != had:
                message = "the `index` line and the lines on the file's mode say different modes"
                raise DiffSyntaxError(start + 1, message)
            had = said
        return had, new or come

    def _kind(
        self, extended: dict[bytes, bytes], names: tuple[bytes, bytes] | None, start: int
    ) -> PartKind:
        kinds = [kind for key, kind in _KINDS.items() if key in extended]
        moded = b"old mode" in extended or b"new mode" in extended
        if names is not None:
            told = [
                kind
                for name, kind in zip(names, (PartKind.ADD, PartKind.REMOVE), strict=True)
                if is_nowhere(name)
            ]
            if told != [kind for kind in kinds if kind in {PartKind.ADD, PartKind.REMOVE}]:
                reason = (
                    "`/dev/null` and the lines on the file's mode (`new file mode`, `deleted file "
                    "mode`) belong together, and one is missing"
                )
                raise DiffSyntaxError(start + 1, reason)
        if (
            len(kinds) > 1
            or (kinds and kinds[0] in {PartKind.ADD, PartKind.REMOVE} and moded)
            or (b"rename from" in extended) != (b"rename to" in extended)
            or (b"copy from" in extended) != (b"copy to" in extended)
        ):
            raise DiffSyntaxError(
                start + 1, "its lines say different things of what happens to the file"
            )
        return kinds[0] if kinds else PartKind.CHANGE

    def _git_names(
        self,
        header: bytes,
        extended: dict[bytes, bytes],
        names: tuple[bytes, bytes] | None,
        kind: PartKind,
        start: int,
    ) -> tuple[str, str]:
        """Return the names of a part; all lines that name a file have to agree."""
        stripped = (
            (without(one, self.strip), without(two, self.strip)) for one, two in splits(header)
        )
        pairs = {(one, two) for one, two in stripped if one is not None and two is not None}
        if kind in {PartKind.RENAME, PartKind.COPY}:
            told = [plain_name(extended[kind.encode() + way]) for way in (b" from", b" to")]
            if self.strip > 1:  # these lines have no `a/` and `b/`
                told = [without(name, self.strip - 1) or b"" for name in told]
            pairs &= {(told[0], told[1])}
        else:
            pairs = {pair for pair in pairs if pair[0] == pair[1]}
        if names is not None:
            for side, name in enumerate(names):
                if not is_nowhere(name):
                    said = without(plain_name(name), self.strip)
                    pairs = {pair for pair in pairs if pair[side] == said}
        if len(pairs) != 1:
            reason = (
                f"its names do not agree, or have fewer than {self.strip} leading folders to take "
                "off"
            )
            raise StripError(start + 1, f"{reason}: {header.decode('utf-8', 'replace')}")
        ((old, new),) = pairs
        return self._text(old, start), self._text(new, start)

    def _text(self, name: bytes | None, number: int) -> str:
        if not name:
            raise StripError(
                number + 1, f"a name has fewer than {self.strip} leading folders to take off"
            )
        try:
            return name.decode("utf-8")
        except UnicodeDecodeError:
            shown = name.decode("utf-8", "backslashreplace")
            raise DiffSyntaxError(
                number + 1,
                f"the name '{shown}' is not UTF-8, and trees are kept with such names alone",
            ) from None

    def _mode(self, text: bytes, start: int, *, is_new: bool = False) -> FileMode:
        """Return a mode in the form in which git stores it.

        Of a plain file, git stores only whether its owner may execute it. A new file may come with
        its permissions alone.
        """
        mode = int(text, 8) if re.fullmatch(rb"0{0,9}[0-7]{1,6}", text := text.strip()) else -1
        kind = mode & _TYPE
        if mode >= 0 and kind in {LINK, SUBMODULE}:
            return FileMode(kind)
        if mode < 0 or not (kind == _PLAIN or (is_new and not kind)):
            shown = text.decode("utf-8", "replace")[:_SHOWN]
            raise DiffSyntaxError(start + 1, f"'{shown}' is no mode of a file")
        return FileMode.BLOB_EXECUTABLE if mode & 0o100 else FileMode.BLOB

    def _plain_part(self, start: int) -> tuple[Part, int]:
        first, second = self.at(start)[4:], self.at(start + 1)[4:]
        shown = (
            without(plain_name(first if is_dev_null(second) else second), self.strip) or b"a file"
        )
        hunks, number = self._hunks(start + 2, shown.decode("utf-8", "replace"))
        is_new, is_gone = (
            is_nowhere(first) or is_epoch(first),
            is_nowhere(second) or is_epoch(second),
        )
        if is_new and is_gone:
            raise DiffSyntaxError(start + 1, "both sides say that there is no file")
        named = [
            None
            if is_dev_null(side)
            else without(SLASHES.sub(b"/", stamped_name(side)), self.strip)
            for side in (first, second)
        ]
        if None in named and not (is_dev_null(first) or is_dev_null(second)):
            raise StripError(
                start + 1, f"a name has fewer than {self.strip} leading folders to take off"
            )
        known = sorted({name for name in named if name is not None}, key=len)
        if not known:
            raise StripError(
                start + 1, f"a name has fewer than {self.strip} leading folders to take off"
            )
        # Of `file` and `file.orig`, or `file~`, the shorter one is meant, as in git.
        if not known[-1].startswith(known[0]) or (
            len(known) > 1 and known[-1].removeprefix(known[0])[:1] not in {b".", b"~", b"-", b"_"}
        ):
            names = " and ".join(name.decode("utf-8", "replace") for name in known)
            raise StripError(start + 1, f"the two sides are different files: {names}")
        name = self._text(known[0], start)
        kind = PartKind.ADD if is_new else PartKind.REMOVE if is_gone else PartKind.CHANGE
        if kind is PartKind.CHANGE and len(hunks) == 1 and not hunks[0].before:
            kind = PartKind.FILL if hunks[0].old_start == 0 else kind
        if (
            kind is PartKind.CHANGE
            and len(hunks) == 1
            and not hunks[0].after
            and re.search(rb"\(working copy\)$", second)
        ):
            raise DiffSyntaxError(
                start + 1,
                (
                    f"{name}: it does not say whether the file goes or becomes empty. Make it with "
                    "`svn diff --git`"
                ),
            )
        self._refuse_unfit(hunks, kind, name)
        return Part(line=start + 1, kind=kind, old=name, new=name, hunks=hunks), number

    def _refuse_unfit(self, hunks: Sequence[Hunk], kind: PartKind, name: str) -> None:
        for hunk in hunks:
            if kind is PartKind.ADD and (hunk.before or len(hunks) > 1):
                raise DiffSyntaxError(
                    hunk.line, f"{name} is a new file, and the hunk wants lines of an old one"
                )
            if kind is PartKind.REMOVE and hunk.after:
                raise DiffSyntaxError(
                    hunk.line, f"{name} is to be removed, and the hunk leaves lines of it"
                )

    def _hunks(self, number: int, name: str) -> tuple[tuple[Hunk, ...], int]:
        hunks: list[Hunk] = []
        while self.at(number).startswith(b"@@ -"):
            hunk, number = self._hunk(number, name)
            hunks.append(hunk)
        return tuple(hunks), number

    def _hunk(self, start: int, name: str) -> tuple[Hunk, int]:
        match = _RANGES.match(self.at(start))
        if match is None:
            raise DiffSyntaxError(
                start + 1,
                (
                    f"{name}: '{self.at(start).decode('utf-8', 'replace')[:60]}' is not the first "
                    "line of a hunk"
                ),
            )
        old, new = (int(match[index] or b"1") for index in (2, 4))
        before: list[bytes] = []
        after: list[bytes] = []
        sides = {b" ": (before, after), b"-": (before,), b"+": (after,)}
        marks: list[bytes] = []
        number, end = start + 1, len(self.lines) - 1
        last: tuple[list[bytes], ...] = ()
        while len(before) < old or len(after) < new or self.at(number).startswith(b"\\ "):
            line = self.at(number)
            if number >= end:
                raise DiffSyntaxError(
                    start + 1,
                    (
                        f"{name}: the patch ends within this hunk, of which the `@@` line says "
                        "that "
                        "it is longer"
                    ),
                )
            number += 1
            mark = line[:1] or b" "  # some tools take the blank from the end of an empty line
            # The file ends there without a newline, which each language says in words of its own.
            if last and line.startswith(b"\\ ") and len(line) >= _SHORTEST_NOTE:
                for side in last:
                    side[-1] = side[-1][:-1]
                last = ()
                continue
            if mark not in sides:
                raise DiffSyntaxError(
                    number,
                    (
                        f"{name}: this line belongs to a hunk, by the hunk's `@@` line, and begins "
                        "with none of ` -+`"
                    ),
                )
            last = sides[mark]
            text = line[1:] + b"\n"
            for side in last:
                side.append(text)
            marks.append(mark)
        if len(before) != old or len(after) != new:
            raise DiffSyntaxError(
                start + 1,
                (
                    f"{name}: the `@@` line says {old} and {new} lines, and there are "
                    f"{len(before)} "
                    f"and {len(after)}"
                ),
            )
        if not {b"-", b"+"} & set(marks):
            raise DiffSyntaxError(start + 1, f"{name}: the hunk changes nothing")
        for side in (before, after):
            if any(not each.endswith(b"\n") for each in side[:-1]):
                raise DiffSyntaxError(
                    start + 1,
                    f"{name}: a line in the middle of the hunk is said to be without a newline",
                )
        hunk = Hunk(
            line=start + 1,
            old_start=int(match[1]),
            new_start=int(match[3]),
            before=tuple(before),
            after=tuple(after),
            marks=b"".join(marks),
        )
        return hunk, number

    def _binary(self, number: int, name: str) -> tuple[Binary, int]:
        forward, number = self._binary_hunk(number, name)
        if self.at(number).startswith((b"literal ", b"delta ")):  # the reverse patch
            _, number = self._binary_hunk(number, name)
        return forward, number

    def _binary_hunk(self, start: int, name: str) -> tuple[Binary, int]:
        match = re.fullmatch(rb"(literal|delta) (" + _NUMBER + rb")", self.at(start))
        if match is None:
            message = (
                f"{name}: a binary patch begins with neither `literal` nor `delta` and a number of "
                "bytes"
            )
            raise DiffSyntaxError(start + 1, message)
        packed = bytearray()
        number = start + 1
        while line := self.at(number):
            data = _unpacked(line)
            if not data:
                raise DiffSyntaxError(
                    number + 1,
                    f"{name}: a line of a binary patch is damaged, or an empty line "
                    "is missing above this one",
                )
            packed += data
            number += 1
        size = int(match[2])
        inflating = zlib.decompressobj()
        try:
            # No more than one byte too many is made, however much the data would make.
            content = inflating.decompress(bytes(packed), size + 1)
        except zlib.error as error:
            raise DiffSyntaxError(
                start + 1, f"{name}: a binary patch is damaged: {error}"
            ) from error
        if len(content) != size or not inflating.eof:
            held = f"holds {len(content)}" if len(content) <= size else "holds more"
            reason = (
                f"it says {size} bytes and {held}" if len(content) != size else "its end is missing"
            )
            raise DiffSyntaxError(start + 1, f"{name}: a binary patch is damaged: {reason}")
        return Binary(content=content, is_delta=match[1] == b"delta"), number + 1


def _unpacked(line: bytes) -> bytes:
    """Return the bytes that a line of a binary patch stands for, or nothing if it is damaged.

    A letter says how many they are (A to Z are 1 to 26, a to z are 27 to 52). Groups of digits
    follow, of which the last one may stand for fewer bytes.
    """
    letter, digits = line[:1], line[1:]
    if not letter.isalpha() or len(digits) % _DIGITS:
        return b""
    size = line[0] - (0x40 if letter.isupper() else 0x46)
    try:
        data = base64.b85decode(digits)
    except ValueError:
        return b""
    return data[:size] if len(data) - _GROUP < size <= min(len(data), _BINARY_LINE) else b""


_MODES = (b"old mode", b"new mode", b"deleted file mode", b"new file mode")


_KINDS = {
    b"new file mode": PartKind.ADD,
    b"deleted file mode": PartKind.REMOVE,
    b"rename from": PartKind.RENAME,
    b"copy from": PartKind.COPY,
}
