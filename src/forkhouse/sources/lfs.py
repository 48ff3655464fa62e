"""Pointer files of Git Large File Storage (LFS).

A pointer file stands in a repository for a large file that the host keeps beside it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forkhouse.sources.store import ObjectStore

LONGEST = 1024
"""Size in bytes that a pointer file never reaches, by the specification of Git LFS."""

# The first line names one of the specification's addresses; then come keys in order, of which these
# two are always there.
_POINTER = re.compile(
    rb"version https://(?:git-lfs|hawser)\.github\.com/spec/v1\n(?:[\w.-]+ [^\n]*\n)*?"
    rb"oid \w+:[0-9a-f]+\n(?:[^\n]*\n)*?size \d+\n?"
)


def is_pointer(content: bytes) -> bool:
    """Say whether a file is a pointer, and not the file that it stands for."""
    return len(content) < LONGEST and _POINTER.match(content) is not None


def pointers(tree: str, store: ObjectStore) -> tuple[str, ...]:
    """Return the files of a tree that are pointers, in path order."""
    return tuple(path for path, blob in store.small_files(tree, below=LONGEST) if is_pointer(blob))


def told(path: str) -> str:
    """Return the message for a pointer file that is found in the place of the real file."""
    return (
        f"{path} is a pointer of Git LFS: the file that it stands for is not in the source, and "
        "nothing is known of its content. Fetch it "
        "(`git lfs pull`) into a repository that has it as a file, and take the source from there."
    )
