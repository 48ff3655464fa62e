"""Write a bundle as a stream: never twice on disk or in memory, and on from where it broke off."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO, Protocol

from forkhouse.carry.bundle import CHUNK, Bundle, Parts, open_bundle, whole_until
from forkhouse.carry.layout import (
    END,
    Index,
    Member,
    front,
    ordered,
    padding,
    places,
    total,
)
from forkhouse.core.digests import sha256_file
from forkhouse.core.errors import BundleError, HashMismatchError, UsageError
from forkhouse.core.progress import report
from forkhouse.core.storage import storage_errors, sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

UNFINISHED = ".unfinished"


class Source(Protocol):
    """Where the content of a member is read from."""

    def pieces(self, member: Member) -> Iterator[bytes]:
        """Yield the content of a member, a piece at a time."""


class Files:
    """Members that are files of this machine."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        """Take the files by their path in the bundle."""
        self._files = files

    def pieces(self, member: Member) -> Iterator[bytes]:
        """Yield the content of a file."""
        with self._files[member.path].open("rb") as stream:
            while piece := stream.read(CHUNK):
                yield piece


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

    def pieces(self, member: Member) -> Iterator[bytes]:
        """Yield the content of a member. Raises BundleError where none of them has it."""
        if member.sha256 not in self._places:
            message = f"None of the bundles has {member.path}. Give the one that this one is for."
            raise BundleError(message)
        bundle, place = self._places[member.sha256]
        yield from bundle.parts.pieces(place.content, member.size)


def index_of(profile: str, files: Mapping[str, Path], program: str) -> Index:
    """Return the index of a bundle of files, by their path in it.

    `program` is the path of the zip application that is at its end as well. Raises StorageError.
    """
    with (
        storage_errors("Reading what the bundle gets"),
        report().task("index", total=sum(file.stat().st_size for file in files.values())) as task,
    ):
        members = []
        for path, file in files.items():
            size = file.stat().st_size
            members.append(Member(path=path, size=size, sha256=sha256_file(file)))
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
    target exists, HashMismatchError where a file has changed meanwhile, StorageError.
    """
    finished = _names(target, total(index), split)
    if there := next((path for path in finished if path.exists()), None):
        message = f"{there} exists. Name another file, or remove it."
        raise UsageError(message)
    unfinished = [path.with_name(path.name + UNFINISHED) for path in finished]
    with storage_errors(f"Writing {target.name}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        done = _done(index, unfinished)
        with report().task(f"write {target.name}", total=total(index)) as task:
            task.advance(done)
            writer = _Writer(unfinished, split or total(index), done)
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


def _names(target: Path, size: int, split: int | None) -> list[Path]:
    if split is None or size <= split:
        return [target]
    count = -(-size // split)
    return [target.with_name(f"{target.name}.{number:03}") for number in range(1, count + 1)]


def _done(index: Index, unfinished: list[Path]) -> int:
    """Return how many bytes of an earlier run are whole, and cut off what is behind them."""
    there = [path for path in unfinished if path.exists()]
    if not there:
        return 0
    done = 0
    try:
        earlier = open_bundle(there[0]) if len(there) == 1 else _opened(there)
        if earlier.index == index:
            done = whole_until(earlier)
    except BundleError:
        done = 0
    position = done
    for path in there:
        size = path.stat().st_size
        kept = min(size, max(position, 0))
        with path.open("r+b") as stream:
            stream.truncate(kept)
        position -= size
    return done


def _opened(paths: list[Path]) -> Bundle:
    first = open_bundle(paths[0])
    return replace(first, parts=Parts(paths))


class _Writer:
    """A stream into files of a most size, from a position on."""

    def __init__(self, paths: list[Path], most: int, position: int) -> None:
        self._paths, self._most, self._position = paths, most, position
        self._stream: BinaryIO | None = None
        self._number = -1

    def write(self, piece: bytes) -> None:
        """Write a piece, across files where it must be."""
        while piece:
            number, offset = divmod(self._position, self._most)
            if number != self._number:
                self.close()
                self._number = number
                self._stream = self._paths[number].open("ab")
            fits = piece[: self._most - offset]
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


def _checked(source: Source, member: Member) -> Iterator[bytes]:
    digest, size = hashlib.sha256(), 0
    for piece in source.pieces(member):
        digest.update(piece)
        size += len(piece)
        if size > member.size:
            break
        yield piece
    if size != member.size or digest.hexdigest() != member.sha256:
        message = (
            f"{member.path} has changed while the bundle was written, or is damaged where it is "
            "read from. Run the same command again."
        )
        raise HashMismatchError(message)
