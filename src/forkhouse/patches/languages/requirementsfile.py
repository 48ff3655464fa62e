"""Change requirements files, and prove the changes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches.backends import Matched, UnprovenError, newline_at
from forkhouse.patches.languages.declarations import Belongs, is_meant, replacement, same_files
from forkhouse.patches.languages.piplines import entries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkhouse.patches.backends import Splice, Step
    from forkhouse.patches.edits import RequirementChange
    from forkhouse.patches.languages.piplines import RequirementLine

_NOTHING = Belongs()
_VIA = re.compile(r"[ \t]+# via\b.*(?:\r\n|\n|\r|$)(?:[ \t]+#   .*(?:\r\n|\n|\r|$))*")
"""The comment of pip-compile and uv below a resolved requirement, which says who requires it."""
_HASH = re.compile(r"(?:\\(?:\r\n|\n|\r)|[ \t])+--hash(?:=|[ \t]+)\S+")


def unread(text: str) -> list[str]:
    """Return why pip does not read lines of the text."""
    return [
        f"line {entry.number}: {entry.named.problem}"
        for entry in entries(text)
        if entry.named is not None and entry.named.refused
    ]


def declared(text: str, change: RequirementChange) -> list[Requirement]:
    """Return the declarations, in any version, of the distribution that a change adds.

    Only those of the file itself count, not those of files that it refers to.
    """
    wanted = canonicalize_name(Requirement(change.add or "").name)
    found = [entry.requirement for entry in entries(text) if entry.requirement is not None]
    return [each for each in found if canonicalize_name(each.name) == wanted]


def change_lines(text: str, change: RequirementChange) -> Matched:
    """Change declarations of a requirements file.

    Raises PatchConflictError if pip would refuse to install the result.
    """
    if change.extra or change.group is not None:
        return Matched(matches=0, splices=())
    lines = entries(text)
    _refuse_other_files(lines)
    if change.add is not None:
        _refuse_unread(lines[-1:], change)
        return Matched(matches=1, splices=(_addition(text, lines, change),))
    meant = [
        place
        for place, entry in enumerate(lines)
        if entry.requirement is not None and is_meant(entry.requirement.name, _NOTHING, change)
    ]
    others = [entry for place, entry in enumerate(lines) if place not in meant]
    splices: list[Splice] = []
    for place in meant:
        _refuse_unread(lines[max(0, place - 1) : place + 2], change)
        splices += (
            [_removal(text, lines[place])]
            if change.with_ is None
            else _replaced(text, lines[place], others, change)
        )
    return Matched(matches=len(meant), splices=tuple(splices))


def _refuse_other_files(lines: Sequence[RequirementLine]) -> None:
    """Raise PatchConflictError for a file with sections, as it is no requirements file.

    Some of its lines could be lines of a requirements file.
    """
    for entry in lines:
        if entry.words.startswith("["):
            message = (
                f"Line {entry.number}: '{entry.words}' is no line of a requirements file. Use an "
                "`anchor`, in the language text."
            )
            raise PatchConflictError(message)


def _refuse_unread(lines: Sequence[RequirementLine], change: RequirementChange) -> None:
    """Raise PatchConflictError for a change beside a line that pip does not read.

    It is not known where such a line ends.
    """
    for entry in lines:
        if entry.named is not None and entry.named.refused:
            name = change.gone or change.add
            message = (
                f"Line {entry.number}, beside '{name}', cannot be read: {entry.named.problem}. Use "
                "an `anchor`, in the language text."
            )
            raise PatchConflictError(message)


def _hash_words(hashes: Sequence[str]) -> list[str]:
    return [f"--hash={each}" for each in hashes]


def _is_hashed(lines: Sequence[RequirementLine]) -> bool:
    """Say whether pip demands a hash for everything that a file declares.

    It does if one line has hashes, or if an option demands them.
    """
    return any(entry.requires_hashes or entry.hashes for entry in lines)


def _addition(text: str, lines: Sequence[RequirementLine], change: RequirementChange) -> Splice:
    said = str(change.add)
    if _is_hashed(lines) and not change.hashes:
        _refuse_unhashed(said)
    newline = newline_at(text, len(text))
    gap = "" if not text.removeprefix("\ufeff") or text.endswith(("\n", "\r")) else newline
    if text.rstrip("\r\n").endswith("\\") and not text.endswith(("\n\n", "\n\r\n")):
        gap += newline  # an empty line ends a line that a backslash continues
    return len(text), len(text), f"{gap}{' '.join([said, *_hash_words(change.hashes)])}{newline}"


def _refuse_unhashed(said: str) -> None:
    message = (
        f"The file has hashes, and pip then refuses all that has none: '{said}' has none, and the "
        "old ones are those of other files. "
        "Write them beside it: `hashes: [sha256:...]`."
    )
    raise PatchConflictError(message)


def _removal(text: str, entry: RequirementLine) -> Splice:
    """Remove a declaration with the lines that continue it.

    A comment on a line of its own that ends them stays.
    """
    end = entry.end
    if entry.comments:
        at = entry.comments[-1][0]
        last = max(text.rfind("\n", 0, at), text.rfind("\r", 0, at)) + 1
        end = last if last > entry.start and not text[last:at].strip() else end
    via = _VIA.match(text, end)
    # The mark of the encoding is no part of the first line.
    return (
        max(entry.start, int(text.startswith("\ufeff"))),
        via.end() if via and via.end() > end else end,
        "",
    )


def _result(entry: RequirementLine, change: RequirementChange) -> Requirement:
    """Return the replacement of a declaration.

    Raises PatchConflictError if it is not known what stays of the declaration.
    """
    assert entry.named is not None  # it was matched by its name
    assert entry.requirement is not None
    if change.keep_version and entry.named.bare:
        message = (
            f"Line {entry.number}: '{entry.words}' has no version to keep, but an address. Write a "
            "version or an address in `with`."
        )
        raise PatchConflictError(message)
    new = replacement(change, entry.requirement, frozenset())
    if entry.named.open and (
        change.keep_version
        or (entry.requirement.marker is not None and new.marker == entry.requirement.marker)
    ):
        message = (
            f"Line {entry.number}: what would stay of '{entry.words}' depends on the environment. "
            "Write it out in `with`."
        )
        raise PatchConflictError(message)
    return new


def _replaced(
    text: str, entry: RequirementLine, others: Sequence[RequirementLine], change: RequirementChange
) -> list[Splice]:
    old = entry.requirement
    assert old is not None  # it was matched by its name
    new = _result(entry, change)
    kept = _kept_hashes(entry, new, change)
    if new == old and kept == entry.hashes:
        return []  # another spelling of the same requirement stays
    if entry.declared is None or entry.options is None:
        message = (
            f"Line {entry.number}: where the requirement of '{entry.words}' ends cannot be told. "
            "Use an `anchor`, in the language text."
        )
        raise PatchConflictError(message)
    if entry.hashes and not kept and _is_hashed(others):
        _refuse_unhashed(str(new))
    splices: list[Splice] = [] if new == old else [(*entry.declared, str(new))]
    if kept == entry.hashes:
        return splices
    start, end = entry.options
    many = "\n" in text[start:end]
    gap = f" \\{newline_at(text, start)}    " if many else " "
    come = "".join(f"{gap}{word}" for word in _hash_words(kept))
    if not entry.others:
        return [*splices, (start, end, come)]
    gone: list[Splice] = [
        (start + found.start(), start + found.end(), "")
        for found in _HASH.finditer(text[start:end])
    ]
    return [*splices, *([(start, start, come)] if come else []), *gone]


def _kept_hashes(
    entry: RequirementLine, new: Requirement, change: RequirementChange
) -> tuple[str, ...]:
    if change.hashes:
        return tuple(change.hashes)
    assert entry.requirement is not None  # it was matched by its name
    # A hash is that of a file; another version has other files.
    return entry.hashes if same_files(entry.requirement, new) else ()


def prove(step: Step, change: RequirementChange) -> None:
    """Raise UnprovenError unless a file, read again, differs only as the change says.

    All comments outside of the changed text have to be there.
    """
    before = entries(step.before)
    after = [entry for entry in entries(step.after) if entry.words]
    expected = [
        wanted
        for entry in before
        if entry.words and (wanted := _expected(entry, change)) is not None
    ]
    if change.add is not None:
        expected.append((Requirement(change.add), tuple(change.hashes), ()))
    for wanted, entry in zip(expected, after, strict=False):
        if wanted != (
            entry.words
            if isinstance(wanted, str)
            else (entry.requirement, entry.hashes, entry.others)
        ):
            what = f"pip would read '{entry.words}' there, which is not what the operation says."
            raise UnprovenError(what, text=step.after, position=entry.start)
    if len(after) != len(expected):
        what = f"pip would read {len(after)} lines, and the operation leaves {len(expected)}."
        raise UnprovenError(what, text=step.after, position=after[-1].start if after else 0)
    gone = [(start, end) for start, end, _ in step.splices]
    left = [
        said
        for entry in before
        for at, said in entry.comments
        if not any(start <= at < end for start, end in gone)
    ]
    if left != [said for entry in entries(step.after) for _, said in entry.comments]:
        what = "a comment beside the requirement would change, or something would become one."
        raise UnprovenError(what, text=step.before, position=gone[0][0] if gone else 0)


def _expected(
    entry: RequirementLine, change: RequirementChange
) -> str | tuple[Requirement, tuple[str, ...], tuple[str, ...]] | None:
    """Return the content that a line must have afterwards.

    It is the same words, a new declaration, or None for a removed line.
    """
    old = entry.requirement
    if change.add is not None or old is None or not is_meant(old.name, _NOTHING, change):
        return entry.words
    if change.with_ is None:
        return None
    new = _result(entry, change)
    return new, _kept_hashes(entry, new, change), entry.others
