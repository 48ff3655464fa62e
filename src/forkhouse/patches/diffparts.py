"""Read one part of a diff, in git's form or without it: its names, its modes, what it does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pygit2.enums import FileMode

from forkhouse.patches import diffhunks
from forkhouse.patches.difflines import EXTENDED
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
from forkhouse.patches.diffs import Binary, DiffSyntaxError, Part, PartKind, StripError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkhouse.patches.difflines import Lines
    from forkhouse.patches.diffs import Hunk

_LINK, _SUBMODULE = 0o120000, 0o160000
_TYPE = 0o170000
"""The bits of a mode that say what kind of file it is."""
_PLAIN = 0o100000
_SHOWN = 60
"""The number of characters of a line that a message shows."""
_MODES = (b"old mode", b"new mode", b"deleted file mode", b"new file mode")
_KINDS = {
    b"new file mode": PartKind.ADD,
    b"deleted file mode": PartKind.REMOVE,
    b"rename from": PartKind.RENAME,
    b"copy from": PartKind.COPY,
}


class PartReader:
    """A reader of the parts of a patch file."""

    def __init__(self, lines: Lines, strip: int) -> None:
        """Take the lines, and the number of leading folders to take off each name."""
        self._lines = lines
        self._strip = strip

    def read(self, number: int) -> tuple[Part, int]:
        """Return the part that begins at a line, and the line behind it. Raises DiffSyntaxError."""
        if self._lines.at(number).endswith(b"\r"):
            message = (
                "the lines of the patch file itself end with CR LF. Save its own lines with LF "
                "alone (a mail client may have changed them)"
            )
            raise DiffSyntaxError(number + 1, message)
        return (
            self._git_part(number)
            if self._lines.at(number).startswith(b"diff --git ")
            else self._plain_part(number)
        )

    def _git_part(self, start: int) -> tuple[Part, int]:
        header = self._lines.at(start)[len(b"diff --git ") :]
        extended: dict[bytes, bytes] = {}
        number = start + 1
        while match := EXTENDED.match(self._lines.at(number)):
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
        if self._lines.at(number).startswith(b"--- ") and self._lines.at(number + 1).startswith(
            b"+++ "
        ):
            names = self._lines.at(number)[4:], self._lines.at(number + 1)[4:]
            number += 2
        kind = self._kind(extended, names, start)
        old, new = self._git_names(header, extended, names, kind, start)
        before, _, after = extended.get(b"index", b"").partition(b"..")
        after, _, indexed = after.partition(b" ")
        old_mode, mode = self._modes(extended, indexed, start)
        if names is None and not extended and self._lines.at(number).startswith(b"@@ -"):
            message = (
                f"{new}: a hunk stands right behind `diff --git`, and `---` and `+++` are missing "
                "above it"
            )
            raise DiffSyntaxError(number + 1, message)
        hunks, number = diffhunks.hunks(self._lines, number, new or old)
        binary: Binary | None = None
        if self._lines.at(number) == b"GIT binary patch":
            if hunks:
                message = f"{new}: it has both hunks and a binary patch, of which git takes one"
                raise DiffSyntaxError(number + 1, message)
            binary, number = diffhunks.binary(self._lines, number + 1, new)
        elif self._lines.at(number).startswith(b"Binary files ") and self._lines.at(
            number
        ).rstrip().endswith(b" differ"):
            binary, number = Binary(content=None), number + 1
        elif self._lines.at(number).startswith(b"@@@"):
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
        if number >= len(self._lines):
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
            is_prefixed=self._strip == 1 and PREFIXED.match(header) is not None,
        )
        return part, number

    def _refuse_unfollowed(self, number: int, kind: PartKind, name: str) -> None:
        """Refuse `---` and `+++` without a hunk, except for a file that comes or goes empty.

        git reads more lines on the file as a whole behind the names. No tool writes them there.
        """
        if kind not in {PartKind.ADD, PartKind.REMOVE} or EXTENDED.match(self._lines.at(number)):
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
            (without(one, self._strip), without(two, self._strip)) for one, two in splits(header)
        )
        pairs = {(one, two) for one, two in stripped if one is not None and two is not None}
        if kind in {PartKind.RENAME, PartKind.COPY}:
            told = [plain_name(extended[kind.encode() + way]) for way in (b" from", b" to")]
            if self._strip > 1:  # these lines have no `a/` and `b/`
                told = [without(name, self._strip - 1) or b"" for name in told]
            pairs &= {(told[0], told[1])}
        else:
            pairs = {pair for pair in pairs if pair[0] == pair[1]}
        if names is not None:
            for side, name in enumerate(names):
                if not is_nowhere(name):
                    said = without(plain_name(name), self._strip)
                    pairs = {pair for pair in pairs if pair[side] == said}
        if len(pairs) != 1:
            reason = (
                f"its names do not agree, or have fewer than {self._strip} leading folders to take "
                "off"
            )
            raise StripError(start + 1, f"{reason}: {header.decode('utf-8', 'replace')}")
        ((old, new),) = pairs
        return self._text(old, start), self._text(new, start)

    def _text(self, name: bytes | None, number: int) -> str:
        if not name:
            raise StripError(
                number + 1, f"a name has fewer than {self._strip} leading folders to take off"
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
        if mode >= 0 and kind in {_LINK, _SUBMODULE}:
            return FileMode(kind)
        if mode < 0 or not (kind == _PLAIN or (is_new and not kind)):
            shown = text.decode("utf-8", "replace")[:_SHOWN]
            raise DiffSyntaxError(start + 1, f"'{shown}' is no mode of a file")
        return FileMode.BLOB_EXECUTABLE if mode & 0o100 else FileMode.BLOB

    def _plain_part(self, start: int) -> tuple[Part, int]:
        first, second = self._lines.at(start)[4:], self._lines.at(start + 1)[4:]
        shown = (
            without(plain_name(first if is_dev_null(second) else second), self._strip) or b"a file"
        )
        hunks, number = diffhunks.hunks(self._lines, start + 2, shown.decode("utf-8", "replace"))
        is_new, is_gone = (
            is_nowhere(first) or is_epoch(first),
            is_nowhere(second) or is_epoch(second),
        )
        if is_new and is_gone:
            raise DiffSyntaxError(start + 1, "both sides say that there is no file")
        named = [
            None
            if is_dev_null(side)
            else without(SLASHES.sub(b"/", stamped_name(side)), self._strip)
            for side in (first, second)
        ]
        if None in named and not (is_dev_null(first) or is_dev_null(second)):
            raise StripError(
                start + 1, f"a name has fewer than {self._strip} leading folders to take off"
            )
        known = sorted({name for name in named if name is not None}, key=len)
        if not known:
            raise StripError(
                start + 1, f"a name has fewer than {self._strip} leading folders to take off"
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
