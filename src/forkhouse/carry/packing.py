"""Write a bundle as a stream: never twice on disk or in memory, and on from where it broke off."""

from __future__ import annotations

import bisect
import contextlib
import fcntl
import hashlib
import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO, Protocol

from forkhouse.carry.bundle import (
    CHUNK,
    Bundle,
    JoinedParts,
    damaged_or_cut,
    open_bundle,
    whole_until,
)
from forkhouse.carry.layout import (
    END,
    BundleMember,
    Index,
    front,
    is_name,
    ordered,
    padding,
    places,
    total,
)
from forkhouse.core.digests import sha256_file
from forkhouse.core.errors import BundleError, BusyError, HashMismatchError, UsageError
from forkhouse.core.progress import report
from forkhouse.core.storage import storage_errors, sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

UNFINISHED = ".unfinished"
MOST_PARTS = 999
"""Their names end in three digits."""


class Source(Protocol):
    """Where the content of a member is read from."""

    def pieces(self, member: BundleMember) -> Iterator[bytes]:
        """Yield the content of a member, a piece at a time."""

    def other(self, member: BundleMember) -> BundleError | HashMismatchError:
        """Return the failure that the content was another one than the index says."""


class Files:
    """Members that are files of this machine."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        """Take the files by their path in the bundle."""
        self._files = files

    def pieces(self, member: BundleMember) -> Iterator[bytes]:
        """Yield the content of a file."""
        with self._files[member.path].open("rb") as stream:
            while piece := stream.read(CHUNK):
                yield piece

    def other(self, member: BundleMember) -> HashMismatchError:
        """Return the failure that a file was changed."""
        return HashMismatchError(
            f"{member.path} has changed while the bundle was written. Run the same command again."
        )


class Bundles:
    """Members that lie in bundles: a new one, and the one before that has what it left out."""

    def __init__(self, *bundles: Bundle) -> None:
        """Take the bundles, the first that has a member counts."""
        self._places = {
            place.member.sha256: (bundle, place)
            for bundle in reversed(bundles)
            for place in places(bundle.index)
            if place.member.link is None
        }

    def pieces(self, member: BundleMember) -> Iterator[bytes]:
        """Yield the content of a member. Raises BundleError where none of them has it."""
        if member.sha256 not in self._places:
            message = f"None of the bundles has {member.path}. Give the one that this one is for."
            raise BundleError(message)
        bundle, place = self._places[member.sha256]
        yield from bundle.parts.pieces(place.content, member.size)

    def other(self, member: BundleMember) -> BundleError:
        """Return the failure that a bundle is damaged or cut off."""
        bundle, place = self._places[member.sha256]
        return damaged_or_cut(bundle, place)


def index_of(
    profile: str, files: Mapping[str, Path], program: str, known: Mapping[str, str] | None = None
) -> Index:
    """Return the index of a bundle of files, by their path in it.

    `program` is the path of the zip application that is at its end as well. `known` has the sha256
    of files that were read already, by path: they are compared once more as they are written.
    Raises UsageError for a name that is no UTF-8, StorageError.
    """
    known = known or {}
    if strange := next((path for path in files if not is_name(path)), None):
        message = f"{strange} is a name that is no UTF-8, and cannot be carried. Rename the file."
        raise UsageError(message)
    with (
        storage_errors("Reading what the bundle gets"),
        report().task("index", total=sum(file.stat().st_size for file in files.values())) as task,
    ):
        members = []
        for path, file in files.items():
            size = file.stat().st_size
            sha256 = known[path] if path in known else sha256_file(file)
            members.append(BundleMember(path=path, size=size, sha256=sha256))
            task.advance(size)
    found = {member.path: member for member in members}
    return Index(profile=profile, members=ordered(members), program=found[program])


def without(index: Index, old: Index) -> Index:
    """Return an index that leaves out what a site with another bundle has."""
    there = {member.sha256 for member in old.members if not member.held}
    members = tuple(
        replace(
            member,
            held=member.sha256 in there
            and member.link is None
            and member.path != index.program.path,
        )
        for member in index.members
    )
    return replace(index, members=members, base=old.sha256)


def joined(delta: Index, old: Index, name: str) -> Index:
    """Return the index of the whole bundle that a delta stands for.

    Raises BundleError where it was made against another bundle than the old one, which has `name`.
    """
    if delta.base is not None and delta.base != old.sha256:
        message = (
            f"The delta was made against the bundle whose index has the sha256 {delta.base}, and "
            f"{name} has {old.sha256}. Give the bundle that it was made against."
        )
        raise BundleError(message)
    members = tuple(replace(member, held=False) for member in delta.members)
    return replace(delta, members=members, base=None)


def write_bundle(
    index: Index, source: Source, target: Path, *, split: int | None = None
) -> list[Path]:
    """Write a bundle, and return its files: itself, or its parts of at most `split` bytes.

    What an earlier run left unfinished is checked, and gone on with. Raises UsageError where the
    target exists, BusyError where another run writes it, HashMismatchError where a file has changed
    meanwhile, BundleError where a bundle that is read is damaged, StorageError.
    """
    ends = _ends(index, split)
    finished = _names(target, len(ends))
    unfinished = [path.with_name(path.name + UNFINISHED) for path in finished]
    _require_room(target, finished, unfinished)
    with storage_errors(f"Writing {target.name}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        with _held(unfinished[0]):
            _require_room(target, finished, [])
            done = _done(index, unfinished, ends)
            with report().task(f"write {target.name}", total=total(index)) as task:
                task.advance(done)
                writer = _Writer(unfinished, ends, done)
                try:
                    for piece in _stream(index, source, done):
                        writer.write(piece)
                        task.advance(len(piece))
                finally:
                    writer.close()
            for path, name in zip(unfinished, finished, strict=True):
                path.replace(name)
        sync_folder(target.parent)
    return finished


def _ends(index: Index, split: int | None) -> list[int]:
    """Return where each file of a bundle ends, in bytes from the beginning.

    Python looks for a program at the end of a file, so where the last part can hold all of it, it
    does: the part before is shorter then.
    """
    size = total(index)
    if split is None or size <= split:
        return [size]
    ends = [*range(split, size, split), size]
    if index.program.size <= split:
        ends[-2] = min(ends[-2], size - index.program.size)
    return ends


def _names(target: Path, count: int) -> list[Path]:
    if count == 1:
        return [target]
    return [target.with_name(f"{target.name}.{number:03}") for number in range(1, count + 1)]


def _require_room(target: Path, finished: list[Path], unfinished: list[Path]) -> None:
    """Raise UsageError where something is in the way that would be lost, or would not belong."""
    if len(finished) > MOST_PARTS:
        message = (
            f"That makes {len(finished)} parts, and their names count to {MOST_PARTS}. Give a "
            "larger size to --split."
        )
        raise UsageError(message)
    there = [path for path in finished if os.path.lexists(path)]
    if len(finished) > 1 and not there:
        # A part of another one with this name would be taken for the next of this one.
        pattern = re.compile(rf"{re.escape(target.name)}\.[0-9]{{3}}")
        with contextlib.suppress(FileNotFoundError):
            there = [path for path in target.parent.iterdir() if pattern.fullmatch(path.name)]
    if there:
        message = f"{min(there)} exists. Name another file, or remove it."
        raise UsageError(message)
    for path in unfinished:
        if os.path.lexists(path) and (path.is_symlink() or not path.is_file()):
            message = (
                f"{path} is no file, and what is not finished would be written there. Move it away."
            )
            raise UsageError(message)


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    """Hold an unfinished file, until the block or this process ends. Raises BusyError."""
    with path.open("ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = f"Another run writes {path}. Wait until it has ended, and run this again."
            raise BusyError(message) from error
        yield


def _done(index: Index, unfinished: list[Path], ends: list[int]) -> int:
    """Return how many bytes of an earlier run are whole, and cut off what is behind them.

    That run may have cut the bundle elsewhere: what counts is a beginning that lies as this one
    does.
    """
    begins = [0, *ends]
    there = []
    for path, begin, end in zip(unfinished, begins, ends, strict=False):
        if not path.exists():
            break
        there.append(path)
        if path.stat().st_size != end - begin:
            _cut(path, end - begin)
            break
    done = 0
    with contextlib.suppress(BundleError):
        earlier = open_bundle(there[0]) if len(there) == 1 else _opened(there)
        if earlier.index == index:
            done = whole_until(earlier)
    for path, begin, end in zip(unfinished, begins, ends, strict=False):
        _cut(path, max(0, min(done, end) - begin))
    return done


def _cut(path: Path, size: int) -> None:
    """Let a file that is there have no more than `size` bytes."""
    if path.exists() and path.stat().st_size > size:
        with path.open("r+b") as stream:
            stream.truncate(size)


def _opened(paths: list[Path]) -> Bundle:
    first = open_bundle(paths[0])
    return replace(first, parts=JoinedParts(paths))


class _Writer:
    """A stream into files that end at given places, from a position on."""

    def __init__(self, paths: list[Path], ends: list[int], position: int) -> None:
        self._paths, self._ends, self._position = paths, ends, position
        self._stream: BinaryIO | None = None
        self._number = -1

    def write(self, piece: bytes) -> None:
        """Write a piece, across files where it must be."""
        while piece:
            number = bisect.bisect_right(self._ends, self._position)
            if number != self._number:
                self.close()
                self._number = number
                self._stream = self._paths[number].open("ab")
            fits = piece[: self._ends[number] - self._position]
            assert self._stream is not None
            self._stream.write(fits)
            self._position += len(fits)
            piece = piece[len(fits) :]

    def close(self) -> None:
        """Write what is buffered through to the disk."""
        if self._stream is not None:
            self._stream.flush()
            os.fsync(self._stream.fileno())
            self._stream.close()
            self._stream = None


def _stream(index: Index, source: Source, done: int) -> Iterator[bytes]:
    """Yield a bundle from a position on, which is 0 or the end of a member."""
    if done == 0:
        yield front(index)
    for place in places(index):
        if place.start >= done:
            yield place.header
            if place.member.link is None:
                yield from _checked(source, place.member)
            yield padding(place.member.length)
    yield END
    yield from _checked(source, index.program)


def _checked(source: Source, member: BundleMember) -> Iterator[bytes]:
    digest, size = hashlib.sha256(), 0
    for piece in source.pieces(member):
        digest.update(piece)
        size += len(piece)
        if size > member.size:
            break
        yield piece
    if size != member.size or digest.hexdigest() != member.sha256:
        raise source.other(member)
