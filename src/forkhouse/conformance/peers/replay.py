"""Replay a captured call on the engine, and judge what it does by git."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pygit2.enums import FileMode

from forkhouse.conformance.peers import PeersError
from forkhouse.conformance.peers.capture import files_below
from forkhouse.conformance.peers.outcome import CaseOutcome, CaseResult
from forkhouse.core.errors import ForkhouseError, UnsafeArchiveError
from forkhouse.patches.apply import apply_patch
from forkhouse.patches.series import read_patch
from forkhouse.sources.store import TreeEntry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkhouse.conformance.peers.calls import Call, Captured
    from forkhouse.sources.store import ObjectStore

_ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "LC_ALL": "C.UTF-8",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    **{
        f"GIT_{who}_{what}": "peers"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    },
}
_NO_ATTRIBUTES = "* -text !eol -ident !filter !whitespace !working-tree-encoding !diff !merge\n"
_SUBJECT = re.compile(rb"^(Subject|Description):", re.MULTILINE)
_DIFF = re.compile(rb"^(diff --git |--- |Index: )", re.MULTILINE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Judge:
    """Replays calls in a store of its own."""

    store: ObjectStore
    git: Path
    """The git that decides where a call's own result does not tell."""

    def replay(self, call: Call, captured: Captured) -> CaseResult:
        """Return the outcome of a call."""
        patches = [captured.content(sha256) for sha256 in call.patches]
        try:
            before = self.store.import_files(captured.files(call.before))
            wanted = self._wanted(call, captured, before, patches)
        except UnsafeArchiveError:
            return CaseResult(
                id=call.id, outcome=CaseOutcome.PASSED_OVER, said="a tree that no source may have"
            )
        if wanted is None:
            return CaseResult(
                id=call.id,
                outcome=CaseOutcome.PASSED_OVER,
                said="git decides by more than the tree and the patch",
            )
        try:
            # git takes one folder off where its call does not say; patch guesses, and the engine as
            # well.
            tree = self._engine(
                before, patches, 1 if call.strip is None and call.how != "patch" else call.strip
            )
        except ForkhouseError as error:
            outcome = CaseOutcome.REFUSED if wanted else CaseOutcome.BOTH_REFUSE
            names = tuple(path for path, _, _ in (*call.before, *(call.after or ())))
            return CaseResult(
                id=call.id, outcome=outcome, said=" ".join(str(error).split()), about=names
            )
        except Exception as error:  # any other exception is what is looked for here
            return CaseResult(
                id=call.id, outcome=CaseOutcome.CRASHED, said=f"{type(error).__name__}: {error}"
            )
        if not wanted:
            return CaseResult(
                id=call.id,
                outcome=CaseOutcome.APPLIED,
                said=f"the peer says: {' '.join(call.said.split())[:200]}",
            )
        if tree not in wanted:
            return CaseResult(
                id=call.id, outcome=CaseOutcome.WRONG, said=self._told(before, tree, wanted[0])
            )
        return CaseResult(id=call.id, outcome=CaseOutcome.EQUAL, said="")

    def _engine(self, tree: str, patches: Sequence[bytes], strip: int | None) -> str:
        for number, content in enumerate(patches, start=1):
            label = f"{number:04}-captured.patch"
            tree = apply_patch(
                tree,
                read_patch(f"peers/{label}", headed(content, strip)),
                {},
                store=self.store,
                where=label,
            )
        return tree

    def _wanted(
        self, call: Call, captured: Captured, before: str, patches: Sequence[bytes]
    ) -> list[str] | None:
        """Return the right trees of a call; empty where the right answer is to refuse.

        None where the tree alone does not tell.
        """
        if call.after is not None:
            return [self.store.import_files(captured.files(call.after))]
        command = (
            ["am", "--whitespace=nowarn"] if call.how == "am" else ["apply", "--whitespace=nowarn"]
        )
        # The carriage returns of a mail are the patch's own or the transport's: git lets its user
        # say, and both are right.
        also = (
            ["--keep-cr"]
            if call.how == "am"
            else ["--unidiff-zero"]
            if call.odd == "--unidiff-zero"
            else []
        )
        counts = [call.strip] if call.strip is not None else [1, 0] if call.how == "patch" else [1]
        ways = [
            [*command, *option, f"-p{count}"]
            for count in counts
            for option in ([], also)[: 1 + bool(also)]
        ]
        found = [tree for way in ways if (tree := self.by_git(before, patches, way)) is not None]
        if call.how != "patch" and not call.odd and bool(found) is not call.applied:
            return None
        return found

    def by_git(self, before: str, patches: Sequence[bytes], command: Sequence[str]) -> str | None:
        """Return the tree that git itself makes; None where it refuses."""
        with tempfile.TemporaryDirectory(prefix="forkhouse-peers-") as name:
            folder = Path(name, "tree")
            folder.mkdir()
            # In a repository of its own, so that none above it counts.
            self._run(["init", "-q"], folder)
            # Nor do attributes that the tree gives its files: these come before them.
            Path(folder, ".git/info").mkdir(exist_ok=True)
            Path(folder, ".git/info/attributes").write_text(_NO_ATTRIBUTES, encoding="utf-8")
            self.store.check_out(before, folder)
            for number, content in enumerate(patches):
                Path(name, f"{number}.patch").write_bytes(content)
            files = [f"../{number}.patch" for number in range(len(patches))]
            if command[0] == "am":
                self._run(["add", "--all", "--force", "."], folder)
                self._run(["commit", "-q", "--allow-empty", "-m", "before"], folder)
            ended = subprocess.run(
                [self.git, *command, *files],
                cwd=folder,
                env=_ENVIRONMENT,
                capture_output=True,
                check=False,
            )
            return self.tree_of(folder) if ended.returncode == 0 else None

    def tree_of(self, folder: Path) -> str:
        """Return the tree of a folder's files."""
        rows = files_below(folder, _Blobs(store=self.store))
        return self.store.with_entries(
            None,
            {path: TreeEntry(blob=blob, mode=FileMode(int(mode, 8))) for path, mode, blob in rows},
        )

    def _run(self, words: list[str], folder: Path) -> None:
        ended = subprocess.run(
            [self.git, *words],
            cwd=folder,
            env=_ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode != 0:
            message = f"`git {' '.join(words)}` failed: {ended.stderr.strip()}"
            raise PeersError(message)

    def _told(self, before: str, tree: str, wanted: str) -> str:
        """Return how a tree differs from the right one.

        Only paths are named, because the contents are the peer's.
        """
        ours, theirs, old = (
            {file.path: (file.mode, file.content) for file in self.store.files(each)}
            for each in (tree, wanted, before)
        )
        paths = [path for path in sorted({*ours, *theirs}) if ours.get(path) != theirs.get(path)]
        return "; ".join(
            f"{path}: {_state(ours.get(path), old.get(path))}, and by git "
            f"{_state(theirs.get(path), old.get(path))}"
            for path in paths[:3]
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Blobs:
    """Keeps contents in a store, by git's own names for them."""

    store: ObjectStore

    def put(self, content: bytes) -> str:
        """Keep a content and return its name."""
        return str(self.store.repository.create_blob(content))


def _state(now: tuple[FileMode, bytes] | None, old: tuple[FileMode, bytes] | None) -> str:
    if now is None:
        return "gone" if old is not None else "not there"
    if now == old:
        return "as it was"
    if old is None:
        return f"new ({now[0]:o}, {len(now[1])} bytes)"
    return f"changed ({now[0]:o}, {len(now[1])} bytes)"


def headed(content: bytes, strip: int | None) -> bytes:
    """Return a patch with what the engine wants of a header.

    A subject, and how many parts of a path go where it is not one.
    """
    fields = b"" if strip is None else b"Strip: %d\n" % strip
    first = _DIFF.search(content)
    subject = _SUBJECT.search(content, 0, first.start() if first else len(content))
    if subject is None:
        return b"Subject: a captured call\n" + fields + b"\n" + content
    return content[: subject.start()] + fields + content[subject.start() :]
