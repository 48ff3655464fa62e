"""Read the notes of a suite's calls.

Which of them the engine has an equivalent for, and what each was given.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pygit2.enums import FileMode

from forkhouse.core.digests import digest
from forkhouse.sources.store import TreeFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    Note = Mapping[str, object]

How = Literal["apply", "am", "patch"]
Rows = list[list[str]]
"""Path, mode and content's hash of each file, and its stage where it comes from an index."""

_SUBMODULE = "160000"
_SUBMODULE_MARK = b"the commit of a submodule, which is no file"

_APPLY_SAME = re.compile(
    r"-v|--verbose|-q|--quiet|--apply|--index|--cached|--check|--binary|--allow-binary-replacement"
    r"|-p\d+|--whitespace=(nowarn|warn)|--no-index"
)
_AM_SAME = re.compile(
    r"-q|--quiet|-s|--signoff|-k|--keep|-b|--keep-non-patch|-u|--utf8"
    r"|--committer-date-is-author-date|--ignore-date|-m|--message-id|-n|"
    r"--no-verify|--no-gpg-sign|--no-3way|--no-keep-cr|-p\d+|--no-message-id|--whitespace=(nowarn"
    r"|warn)|--patch-format=mbox"
)
_PATCH_SAME = re.compile(
    r"-p\d+|-s|--silent|--quiet|--verbose|-f|--force|-N|--forward|-t|--batch"
    r"|--no-backup-if-mismatch|-b|--backup|-E|--remove-empty-files|"
    r"-u|--unified|--posix|--binary|-F0|--fuzz=0|--quoting-style=\w+"
)
_SESSION = re.compile(
    r"--(abort|skip|quit|continue|resolved|retry|show-current-patch|allow-empty)(=.*)?|-r"
)
"""Options of `am` that go on with a run before: such a call has no patch of its own."""
_SAME_SETTINGS = {
    "apply.whitespace": {"nowarn", "warn"},
    "core.autocrlf": {"false"},
    "am.threeway": {"false"},
    "am.keepcr": {"false"},
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One call that applies patches to a tree, and what came of it."""

    id: str
    how: How
    before: tuple[tuple[str, str, str], ...]
    """Path, mode and content's hash of every file of the tree."""
    patches: tuple[str, ...]
    """Hashes of the patches, in order."""
    strip: int | None
    """How many leading parts of a path the call takes off; None where it does not say."""
    odd: str = ""
    """What beside the tree and the patch decides what the call does, such as an option that the
    engine has no equivalent for. What
    is right is then what git does without it.
    """
    applied: bool
    """Whether the program ended well."""
    after: tuple[tuple[str, str, str], ...] | None
    """The tree after it, where the notes tell it.

    Not of an odd call, nor of a work tree, in which the call's own output may lie.
    """
    said: str
    """What the program said."""

    @property
    def key(self) -> str:
        """What makes a call another one."""
        return digest(self.how, self.before, self.patches, self.strip)


@dataclass(frozen=True, kw_only=True, slots=True)
class PassedOver:
    """A call that is not compared."""

    id: str
    why: str
    """The same words for all calls of one kind."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Captured:
    """What the notes of one script hold."""

    folder: Path

    @property
    def name(self) -> str:
        """The script."""
        return self.folder.name

    def count(self) -> int:
        """Return how many calls there were."""
        return sum(1 for _ in self.folder.glob("*.json"))

    def content(self, sha256: str) -> bytes:
        """Return a content by its hash."""
        return (self.folder / "objects" / sha256).read_bytes()

    def files(self, rows: tuple[tuple[str, str, str], ...]) -> list[TreeFile]:
        """Return a tree's files with their contents.

        In the place of a submodule stands a file that says so, which no patch can make.
        """
        return [
            TreeFile(path=path, mode=FileMode.BLOB, content=_SUBMODULE_MARK)
            if mode == _SUBMODULE
            else TreeFile(path=path, mode=FileMode(int(mode, 8)), content=self.content(sha256))
            for path, mode, sha256 in rows
        ]

    def calls(self) -> Iterator[Call | PassedOver]:
        """Yield the calls in their order, each distinct one once."""
        seen: set[str] = set()
        for path in sorted(self.folder.glob("*.json")):
            text = path.read_text(encoding="utf-8")
            if not text:  # the call never ended: a test that waits for a signal
                continue
            note = json.loads(text)
            found = (_git_call if note["program"] == "git" else _patch_call)(
                f"{self.name}/{int(path.stem)}", note
            )
            if isinstance(found, Call):
                if found.key in seen:
                    continue
                seen.add(found.key)
            yield found


def _git_call(name: str, note: Note) -> Call | PassedOver:
    """Return what a call of git means to the engine."""
    command = _words(note["command"])
    mails = command[0] == "am"
    if mails and any(_SESSION.fullmatch(word) for word in command):
        return PassedOver(id=name, why="git am: goes on with a run before")
    options, named = _options(command[1:])
    patches = _patches(note, named)
    if patches is None:
        return PassedOver(
            id=name, why=f"git {command[0]}: a folder of mails, or a file that is not there"
        )
    before, after = _state(note, "before"), _state(note, "after")
    indexed = bool(note["inside"]) and (mails or "--index" in options or "--cached" in options)
    rows = before["index" if indexed else "files"]
    if any(row[1] == _SUBMODULE for row in rows):
        return PassedOver(id=name, why=f"git {command[0]}: a tree with a submodule")
    same = _AM_SAME if mails else _APPLY_SAME
    odd = next((option for option in options if not same.fullmatch(option)), "") or _circumstance(
        note, options, before, mails=mails
    )
    applied = note["code"] == 0
    settled = indexed and applied and not odd and "--check" not in options
    return Call(
        id=name,
        how="am" if mails else "apply",
        before=_plain(rows),
        patches=tuple(patches),
        strip=_strip(options),
        odd=odd,
        applied=applied,
        after=_plain(after["index"]) if settled else None,
        said=str(note["said"]),
    )


def _patch_call(name: str, note: Note) -> Call | PassedOver:
    """Return what a call of GNU patch means to the engine."""
    options, named = _options(_words(note["command"]))
    files: Mapping[str, str] = note["files"]  # type: ignore[assignment]  # as `capture` writes it
    given = next(
        (_value(option) for option in reversed(options) if option.startswith(("-i", "--input="))),
        "-",
    )
    if len(named) > 1 and given == "-":
        given = named[1]
    patch = note["given"] if given == "-" else files.get(given)
    if not isinstance(patch, str):
        return PassedOver(id=name, why="patch: no patch that could be kept")
    places = ("-d", "-i", "--directory=", "--input=")
    odd = next(
        (
            option
            for option in options
            if not _PATCH_SAME.fullmatch(option) and not option.startswith(places)
        ),
        "",
    )
    return Call(
        id=name,
        how="patch",
        before=_plain(_state(note, "before")["files"]),
        patches=(patch,),
        strip=_strip(options),
        odd=odd or ("names the file to patch itself" if named else ""),
        applied=note["code"] == 0,
        after=None,
        said=str(note["said"]),
    )


def _words(value: object) -> list[str]:
    assert isinstance(value, list)  # as `capture` writes it
    return [str(word) for word in value]


def _state(note: Note, when: str) -> dict[str, Rows]:
    state: dict[str, Rows] = {"index": [], "head": [], "files": []}
    found = note[when]
    assert isinstance(found, dict)  # as `capture` writes it
    return {**state, **found}


def _plain(rows: Rows) -> tuple[tuple[str, str, str], ...]:
    return tuple(sorted((row[0], row[1], row[2]) for row in rows))


def _unlike(index: Rows, files: Rows) -> bool:
    """Say whether a file of the index is another in the work tree."""
    there = {(row[0], row[1], row[2]) for row in files}
    return any((row[0], row[1], row[2]) not in there for row in index if row[1] != _SUBMODULE)


_VALUED = re.compile(
    r"-[pdiDBFgorVYzC]|--(strip|directory|input|exclude|include|fuzz|output|reject-file|prefix"
    r"|suffix)"
)
"""Options whose value may be a word of its own."""
_LETTERS = re.compile(r"-[sfNtbEulcenvR]{2,}(p\d+)?")
"""Several options of one letter in one word."""


def _options(words: list[str]) -> tuple[list[str], list[str]]:
    """Return the options of a call, each with its value in one word, and the other words."""
    options: list[str] = []
    named: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--":
            named += [*rest]
        elif not word.startswith("-") or word == "-":
            named.append(word)
        elif _VALUED.fullmatch(word):
            options.append(f"{word}{'=' if word.startswith('--') else ''}{next(rest, '')}")
        elif _LETTERS.fullmatch(word):
            letters, found, count = word[1:].partition("p")
            options += [*(f"-{letter}" for letter in letters), *([f"-p{count}"] if found else [])]
        else:
            options.append(word)
    return [re.sub(r"^--strip=", "-p", option) for option in options], named


def _value(option: str) -> str:
    return option.partition("=")[2] if option.startswith("--") else option[2:]


def _circumstance(
    note: Note, options: list[str], before: Mapping[str, Rows], *, mails: bool
) -> str:
    """Return what beside tree and patches decides what a call does, empty where nothing does."""
    config: Mapping[str, str] = note["config"]  # type: ignore[assignment]  # as `capture` writes it
    setting = next((key for key, value in config.items() if _decides(key, value)), None)
    if setting is not None:
        return f"the setting {setting}"
    index = before["index"]
    asks = mails or "--index" in options
    found = {
        "options of git itself": note["leading"],
        "a subfolder": note["prefix"],
        "attributes": note["attributes"]
        or any(row[0].rpartition("/")[2] == ".gitattributes" for row in [*index, *before["files"]]),
        "no repository": asks and not note["inside"],
        "a run of am before it": mails and note["session"],
        "a hook": mails and note["hooks"],
        "a merge": any(row[3] != "0" for row in index),
        "changes in the work tree": asks and _unlike(index, before["files"]),
        "changes in the index": mails and _plain(index) != _plain(before["head"]),
    }
    return next((what for what, is_so in found.items() if is_so), "")


def _decides(key: str, value: str) -> bool:
    if key in _SAME_SETTINGS:
        return value not in _SAME_SETTINGS[key]
    others = {
        "core.eol",
        "core.whitespace",
        "core.symlinks",
        "core.ignorecase",
        "core.sparsecheckout",
    }
    return key in others or key.startswith(("filter.", "apply."))


def _patches(note: Note, named: list[str]) -> list[str] | None:
    """Return the hashes of what a call was given, None where one cannot be told."""
    files: Mapping[str, str] = note["files"]  # type: ignore[assignment]  # as `capture` writes it
    given = note["given"]
    if not named:
        return [given] if isinstance(given, str) else None
    found = [given if name == "-" else files.get(name) for name in named]
    return (
        [sha256 for sha256 in found if isinstance(sha256, str)]
        if all(isinstance(sha256, str) for sha256 in found)
        else None
    )


def _strip(options: list[str]) -> int | None:
    counts = [int(option[2:]) for option in options if re.fullmatch(r"-p\d+", option)]
    return counts[-1] if counts else None
