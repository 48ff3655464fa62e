"""Read a bundle: one file, or the parts that it was split into."""

from __future__ import annotations

import bisect
import hashlib
import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkhouse.carry.layout import (
    BLOCK,
    END,
    INDEX,
    LARGEST_INDEX,
    Index,
    MemberPlace,
    front,
    header,
    padding,
    places,
    read_index,
    total,
)
from forkhouse.core.errors import BundleError
from forkhouse.core.progress import report
from forkhouse.core.storage import open_file, storage_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

CHUNK = 2**20
_FIRST = "001"
_PART = re.compile(r"(?P<name>.+)\.(?P<number>[0-9]{3})", re.DOTALL)


class JoinedParts:
    """The bytes of files that follow one another."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Take the files in their order."""
        self._paths = paths
        sizes = [path.stat().st_size for path in paths]
        self._ends = list(itertools.accumulate(sizes))
        self.size = self._ends[-1]

    def read(self, start: int, size: int) -> bytes:
        """Return bytes from a position on: fewer where the last file ends before."""
        found = b""
        while len(found) < size and start + len(found) < self.size:
            number = bisect.bisect_right(self._ends, start + len(found))
            begun = self._ends[number - 1] if number else 0
            # Opened for each piece: nothing has to be closed when a reader is done with.
            with self._paths[number].open("rb") as stream:
                stream.seek(start + len(found) - begun)
                piece = stream.read(size - len(found))
            if not piece:
                break
            found += piece
        return found

    def pieces(self, start: int, size: int) -> Iterator[bytes]:
        """Yield the bytes from a position on, a piece at a time."""
        end = start + size
        while start < end and (piece := self.read(start, min(CHUNK, end - start))):
            yield piece
            start += len(piece)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundle:
    """A bundle that was opened: its index was read, nothing else was checked yet."""

    name: str
    index: Index
    parts: JoinedParts

    def begins_right(self) -> bool:
        """Return whether its beginning is what follows from the index that was read there."""
        beginning = front(self.index)
        return self.parts.read(0, len(beginning)) == beginning

    def located(self) -> dict[str, MemberPlace]:
        """Return where the content of each member lies that is there, by its path."""
        found = {place.member.path: place for place in places(self.index)}
        return {
            each.path: found[each.link or each.path]
            for each in self.index.members
            if (each.link or each.path) in found
        }

    def place(self, path: str, located: Mapping[str, MemberPlace] | None = None) -> MemberPlace:
        """Return where the content of a member lies; for many of them, `located` is made once.

        Raises BundleError where it is not there.
        """
        places_by_path = self.located() if located is None else located
        if path in places_by_path:
            return places_by_path[path]
        held = any(each.path == path for each in self.index.members)
        message = f"{self.name} is without {path}" + (
            ": the bundle before it has that. Join both first (`join`)." if held else "."
        )
        raise BundleError(message)

    def content(self, path: str) -> bytes:
        """Return a small member. Raises BundleError where it is missing or damaged."""
        place = self.place(path)
        content = self.parts.read(place.content, place.member.size)
        if hashlib.sha256(content).hexdigest() != place.member.sha256:
            raise damaged_or_cut(self, place)
        return content


def parts_of(path: Path) -> list[Path]:
    """Return the files that make up a bundle: itself, or its parts in order, from any of them.

    A whole one may have a name that ends as that of a later part does: no such part begins as a
    bundle. Raises BundleError where one is missing between others, OSError.
    """
    found = _PART.fullmatch(path.name)
    if found is None or (found["number"] != _FIRST and _begins(path)):
        return [path]
    parts = sorted(
        each
        for each in path.parent.iterdir()
        if (part := _PART.fullmatch(each.name)) and part["name"] == found["name"]
    )
    expected = [
        path.with_name(f"{found['name']}.{number:03}") for number in range(1, len(parts) + 1)
    ]
    if parts != expected:
        missing = min(set(expected) - set(parts)).name
        message = f"{missing} is not in {path.parent}. Copy all parts of the bundle there."
        raise BundleError(message)
    return parts


def is_bundle(path: Path) -> bool:
    """Return whether a file begins as a bundle does, or is a part of one that does.

    Raises OSError, and BundleError where a part is missing.
    """
    return _begins(parts_of(path)[0])


def _begins(path: Path) -> bool:
    with open_file(path) as stream:
        return stream.read(len(INDEX)) == INDEX.encode()


def open_bundle(path: Path) -> Bundle:
    """Open a bundle, by itself or by one of its parts, and read its index.

    Raises BundleError for a file that is none, and for a damaged index.
    """
    with storage_errors(f"Reading {path.name}"):
        parts = JoinedParts(parts_of(path))
        head = parts.read(0, BLOCK)
        size = _size(head)
        if size is None or size > LARGEST_INDEX:
            message = (
                f"{path.name} is no bundle of Forkhouse: it does not begin with {INDEX}. Or its "
                "beginning is damaged; copy it again."
            )
            raise BundleError(message)
        index = read_index(parts.read(BLOCK, size), path.name)
    return Bundle(name=path.name, index=index, parts=parts)


def _size(head: bytes) -> int | None:
    """Return the size of the index by the header of the archive's first member."""
    text = head[124:135]
    size = int(text, 8) if re.fullmatch(rb"[0-7]{11}", text) else None
    return size if size is not None and head == header(INDEX, size) else None


def verify_bundle(bundle: Bundle) -> int:
    """Check every byte of a bundle, and return how many files it has.

    Raises BundleError that names the files that are damaged or missing.
    """
    whole = total(bundle.index)
    damaged = [] if bundle.begins_right() else [INDEX]
    count = 0
    with report().task(f"verify {bundle.name}", total=whole) as task:
        for place in places(bundle.index):
            if not _is_whole(bundle.parts, place, task.advance):
                damaged.append(place.member.path)
            count += 1
        position = whole - bundle.index.program.size - len(END)
        digest = hashlib.sha256()
        for piece in bundle.parts.pieces(position + len(END), bundle.index.program.size):
            digest.update(piece)
        if bundle.parts.read(position, len(END)) != END:
            damaged.append("the end of the archive")
        if digest.hexdigest() != bundle.index.program.sha256:
            damaged.append("the program at its end")
    if bundle.parts.size < whole:
        raise _cut_off(bundle, whole)
    if bundle.parts.size > whole:
        message = (
            f"{bundle.name} has {bundle.parts.size - whole} bytes more than its index says. Copy "
            "it again."
        )
        raise BundleError(message)
    if damaged:
        raise _damaged(bundle.name, damaged)
    return count


def _is_whole(parts: JoinedParts, place: MemberPlace, advance: Callable[[float], None]) -> bool:
    """Return whether a member is in the archive as the index says, with its header and padding."""
    member = place.member
    head = parts.read(place.start, place.content - place.start)
    digest = hashlib.sha256()
    for piece in parts.pieces(place.content, member.length):
        digest.update(piece)
        advance(len(piece))
    tail = parts.read(place.content + member.length, len(padding(member.length)))
    return (
        head == place.header
        and (member.link is not None or digest.hexdigest() == member.sha256)
        and tail == padding(member.length)
    )


def whole_until(bundle: Bundle) -> int:
    """Return up to where a bundle that was cut off is whole, in bytes: the end of a member."""
    if not bundle.begins_right():
        return 0
    position = len(front(bundle.index))
    with report().task(f"check {bundle.name}", total=bundle.parts.size) as task:
        for place in places(bundle.index):
            if place.end > bundle.parts.size or not _is_whole(bundle.parts, place, task.advance):
                break
            position = place.end
    return position


def extract(bundle: Bundle, below: str, folder: Path) -> None:
    """Write the members below a path of a bundle into a folder, each checked as it is written.

    Raises BundleError for a damaged member, StorageError.
    """
    chosen = [each for each in bundle.index.members if each.path.startswith(f"{below}/")]
    located = bundle.located()
    with report().task(f"unpack {bundle.name}", total=sum(each.size for each in chosen)) as task:
        for member in chosen:
            place = bundle.place(member.path, located)
            target = folder / member.path.removeprefix(f"{below}/")
            digest = hashlib.sha256()
            with storage_errors(f"Unpacking {member.path}"):
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("xb") as stream:
                    for piece in bundle.parts.pieces(place.content, member.size):
                        digest.update(piece)
                        stream.write(piece)
                        task.advance(len(piece))
            if digest.hexdigest() != member.sha256:
                raise damaged_or_cut(bundle, place)


def damaged_or_cut(bundle: Bundle, place: MemberPlace) -> BundleError:
    """Return the failure that a member is not as the index says."""
    if place.end > bundle.parts.size:
        return _cut_off(bundle, total(bundle.index))
    return _damaged(bundle.name, [place.member.path])


def _cut_off(bundle: Bundle, whole: int) -> BundleError:
    parts = " Its last parts may be missing." if _PART.fullmatch(bundle.name) else ""
    return BundleError(
        f"{bundle.name} is cut off: it has {bundle.parts.size} of {whole} bytes.{parts} Copy it "
        "again from where it is whole; `copy` goes on where an earlier `copy` broke off."
    )


def _damaged(name: str, paths: Sequence[str]) -> BundleError:
    verb = "is" if len(paths) == 1 else "are"
    return BundleError(
        f"{', '.join(paths[:20])} {verb} damaged in {name}. Copy the bundle again from where it "
        "was made."
    )
