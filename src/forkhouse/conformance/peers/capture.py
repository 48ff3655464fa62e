"""Stand in for a program that applies patches.

Note what it was given and what came of it, around a run of the real one.

A suite's tests call `wrapper` in place of the program. It runs this file by itself (`python -I -S
capture.py`), so nothing but the standard library is imported. A note is a JSON file of the folder
that the variable FORKHOUSE_CAPTURE names, numbered in the order of the calls; contents lie in
`objects/` beside it, by their sha256. Without the variable the real program runs and nothing is
noted.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import stat
import subprocess
import sys
from pathlib import Path
from typing import Protocol

VARIABLE = "FORKHOUSE_CAPTURE"
BELOW = "FORKHOUSE_CAPTURE_BELOW"
"""Names the folder outside of which nothing is recorded.

A test may change to the root of the file system.
"""
HOOKS = (
    "applypatch-msg",
    "pre-applypatch",
    "post-applypatch",
    "prepare-commit-msg",
    "commit-msg",
    "pre-commit",
    "post-rewrite",
)
SAID = 4000
"""Characters of the program's standard error that are kept."""

_WRAPPER = """#!/bin/sh
# Written by forkhouse.conformance.peers: notes the calls that apply patches.
real={real}
test -n "${variable}" || exec "$real" "$@"
{condition}
"""
_GIT = """skip=
for word in "$@"; do
  if test -n "$skip"; then skip=; continue; fi
  case "$word" in
    -c|-C) skip=1 ;;
    -*) ;;
    apply|am) exec {python} -I -S {this} {program} "$real" "$0" "$@" ;;
    *) break ;;
  esac
done
exec "$real" "$@\""""
_PATCH = """exec {python} -I -S {this} {program} "$real" "$0" "$@\""""


def wrapper(program: str, real: Path) -> str:
    """Return the shell script that stands in for `program` and calls the real one.

    `program` is `git` or `patch`, `real` its path.
    """
    words = {
        "python": shlex.quote(sys.executable),
        "this": shlex.quote(str(Path(__file__).resolve())),
        "program": program,
    }
    condition = (_GIT if program == "git" else _PATCH).format(**words)
    return _WRAPPER.format(real=shlex.quote(str(real)), variable=VARIABLE, condition=condition)


class ContentKeeper(Protocol):
    """A place that keeps contents, each under a name."""

    def put(self, content: bytes) -> str:
        """Keep a content and return its name."""


class Objects:
    """Contents by their hash."""

    def __init__(self, folder: Path) -> None:
        """Keep contents in `objects` below a folder."""
        self.folder = folder / "objects"
        self.folder.mkdir(parents=True, exist_ok=True)

    def put(self, content: bytes) -> str:
        """Keep a content under its sha256."""
        name = hashlib.sha256(content).hexdigest()
        path = self.folder / name
        if not path.exists():
            path.write_bytes(content)
        return name


def files_below(top: Path, objects: ContentKeeper) -> list[list[str]]:
    """Return path, mode and content of each file below a folder, as git's modes.

    A folder that is a repository itself has mode 160000.
    """
    found: list[list[str]] = []
    for folder, names, files in os.walk(top):
        here = Path(folder)
        for name in sorted(names):
            inner = here / name
            if inner.is_symlink():
                files.append(name)
            elif name != ".git" and (inner / ".git").exists():
                found.append([os.fsdecode(inner.relative_to(top)), "160000", ""])
        names[:] = [
            name
            for name in names
            if name != ".git"
            and not (here / name).is_symlink()
            and not (here / name / ".git").exists()
        ]
        for name in files:
            path = here / name
            if name == ".git":
                continue
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                found.append(
                    [
                        str(path.relative_to(top)),
                        "120000",
                        objects.put(os.fsencode(path.readlink())),
                    ]
                )
            elif stat.S_ISREG(status.st_mode):
                mode = "100755" if status.st_mode & stat.S_IXUSR else "100644"
                found.append([str(path.relative_to(top)), mode, objects.put(path.read_bytes())])
    return sorted(found)


class _Repository:
    """The repository that a call of git works in, asked by the real git."""

    def __init__(self, real: str, leading: list[str]) -> None:
        self.command = [real, *leading]
        place = self.ask("rev-parse", "--show-toplevel", "--show-prefix")
        top, _, prefix = place.partition(b"\n")
        self.top = Path(os.fsdecode(top)) if top else None
        self.prefix = os.fsdecode(prefix.strip(b"\n"))

    def ask(self, *words: str, given: bytes = b"") -> bytes:
        ended = subprocess.run(
            [*self.command, *words], input=given, capture_output=True, check=False
        )
        return ended.stdout if ended.returncode == 0 else b""

    def entries(self, listing: bytes, objects: Objects, *, staged: bool) -> list[list[str]]:
        """Return path, mode, content and stage of what `ls-files -s` or `ls-tree -r` says."""
        rows = []
        for line in listing.split(b"\0"):
            facts, tab, path = line.partition(b"\t")
            if tab:
                words = facts.decode().split()
                mode, blob, stage = (
                    (words[0], words[1], words[2]) if staged else (words[0], words[2], "0")
                )
                rows.append((os.fsdecode(path), mode, blob, stage))
        wanted = sorted({blob for _, mode, blob, _ in rows if mode != "160000"})
        contents = self.contents(wanted)
        return [
            [path, mode, objects.put(contents[blob]) if blob in contents else "", stage]
            for path, mode, blob, stage in rows
        ]

    def contents(self, blobs: list[str]) -> dict[str, bytes]:
        answer = self.ask(
            "cat-file", "--batch", given="".join(f"{blob}\n" for blob in blobs).encode()
        )
        found: dict[str, bytes] = {}
        while answer:
            head, _, answer = answer.partition(b"\n")
            words = head.split()
            if len(words) != 3:  # "NAME missing"
                continue
            size = int(words[2])
            found[words[0].decode()] = answer[:size]
            answer = answer[size + 1 :]
        return found

    def state(self, objects: Objects) -> dict[str, object]:
        """Return the files that the call may depend on."""
        state: dict[str, object] = {"files": files_below(self.top or Path.cwd(), objects)}
        if self.top is None:
            return state
        state["index"] = self.entries(
            self.ask("-C", str(self.top), "ls-files", "-s", "-z"), objects, staged=True
        )
        state["head"] = self.entries(
            self.ask("-C", str(self.top), "ls-tree", "-r", "-z", "--full-tree", "HEAD"),
            objects,
            staged=False,
        )
        return state

    def settings(self) -> dict[str, object]:
        """Return what decides the outcome of a call besides the files."""
        listed = self.ask("config", "--list", "-z").split(b"\0")
        keys = dict(line.decode(errors="replace").partition("\n")[::2] for line in listed if line)
        folder = Path(
            os.fsdecode(self.ask("rev-parse", "--git-path", "hooks").strip()) or ".git/hooks"
        )
        session = Path(
            os.fsdecode(self.ask("rev-parse", "--git-path", "rebase-apply").strip())
            or ".git/rebase-apply"
        )
        attributes = Path(
            os.fsdecode(self.ask("rev-parse", "--git-path", "info/attributes").strip())
            or ".git/info/attributes"
        )
        return {
            "config": {
                key: value
                for key, value in keys.items()
                if key.split(".")[0] in {"am", "apply", "core", "filter", "diff"}
            },
            "hooks": [name for name in HOOKS if os.access(folder / name, os.X_OK)],
            "session": session.exists(),
            "attributes": attributes.exists(),
        }


def _split_leading(words: list[str]) -> tuple[list[str], list[str]]:
    """Return git's own options, and the command with its own."""
    position = 0
    while position < len(words) and words[position].startswith("-"):
        position += 2 if words[position] in {"-c", "-C"} else 1
    return words[:position], words[position:]


def _reads(program: str, command: list[str]) -> bool:
    """Say whether a call takes its patch from standard input."""
    plain = [word for word in command if not word.startswith("-") or word == "-"]
    if program == "git":
        return "-" in plain or not any(Path(word).exists() for word in plain[1:])
    return len(plain) < 2 and not any(
        word.startswith(("-i", "--input")) for word in command
    )  # the file, and its patch


def _folder_of_patch(words: list[str]) -> Path:
    for position, word in enumerate(words):
        if word in {"-d", "--directory"} and position + 1 < len(words):
            return Path(words[position + 1])
        if word.startswith("--directory="):
            return Path(word.partition("=")[2])
        if word.startswith("-d") and not word.startswith("--"):
            return Path(word[2:])
    return Path()


def main(words: list[str]) -> int:
    """Run the real program of a call, record the call, and return the exit code."""
    program, real, name, *words = words
    if not Path.cwd().is_relative_to(os.environ[BELOW]):
        return subprocess.run([name, *words], executable=real, check=False).returncode
    folder = Path(os.environ[VARIABLE])
    objects = Objects(folder)
    # Notes are numbered when a call begins: by nothing but the order of the calls.
    number = 0
    while True:
        try:
            note = (folder / f"{number:04}.json").open("x", encoding="utf-8")
        except FileExistsError:
            number += 1
        else:
            break
    top = _folder_of_patch(words) if program == "patch" else Path()
    leading, command = _split_leading(words) if program == "git" else ([], words)
    given = sys.stdin.buffer.read() if _reads(program, command) and not sys.stdin.isatty() else None
    record: dict[str, object] = {
        "program": program,
        "leading": leading,
        "command": command,
        "given": objects.put(given) if given is not None else None,
        # patch goes to its folder first: from there the names count.
        "files": {
            word: objects.put((top / word).read_bytes())
            for word in _named(command)
            if (top / word).is_file()
        },
    }
    repository = _Repository(real, leading) if program == "git" else None
    if repository is not None:
        record |= {
            "inside": repository.top is not None,
            "prefix": repository.prefix,
            **repository.settings(),
        }
        record["before"] = repository.state(objects)
    else:
        record["before"] = {"files": files_below(top, objects)} if top.is_dir() else {"files": []}
    # Under the name that it was called by, because it says it.
    ended = subprocess.run(
        [name, *words], executable=real, input=given, stderr=subprocess.PIPE, check=False
    )
    sys.stderr.buffer.write(ended.stderr)
    sys.stderr.flush()
    record |= {"code": ended.returncode, "said": ended.stderr.decode(errors="replace")[:SAID]}
    if repository is not None:
        record["after"] = repository.state(objects)
    else:
        record["after"] = {"files": files_below(top, objects)} if top.is_dir() else {"files": []}
    with note:
        json.dump(record, note)
    return ended.returncode if ended.returncode >= 0 else 128 - ended.returncode


def _named(words: list[str]) -> list[str]:
    """Return the words that may name files.

    Those are words that are no option, and values that are joined to an option.
    """
    plain = [word for word in words if not word.startswith("-")]
    joined = [word.partition("=")[2] for word in words if word.startswith("--") and "=" in word]
    return plain + joined + [word[2:] for word in words if word.startswith("-i") and len(word) > 2]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
