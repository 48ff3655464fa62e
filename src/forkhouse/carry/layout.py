"""The form of a bundle: a tar archive that begins with its index and ends with a program.

`tar` opens it (POSIX.1-2001), and `python3 BUNDLE` runs the zip application at its end, which tar
does not look at and whose directory Python finds from the end of the file. All that the headers
say follows from the index, so equal content gives equal bytes, and each byte can be checked.

It is not compressed: wheels are, and zstd makes a whole wheelhouse only 2 % smaller. So every
Python reads it, a member can be read at its place, and a copy that broke off can go on.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from forkhouse.core.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FORMAT = 1
INDEX = "INDEX.json"
SEAL = "INDEX.sha256"
"""The second member: the sha256 of the first."""
BLOCK = tarfile.BLOCKSIZE
END = bytes(2 * BLOCK)
"""How a tar archive ends."""
_PROFILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
LARGEST_INDEX = 64 * 2**20
"""Bytes; an index of ten thousand files has a fortieth of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BundleMember:
    """A file of a bundle."""

    path: str
    size: int
    """Bytes."""
    sha256: str
    held: bool = False
    """Whether it is left out, because the site has it from the bundle before."""
    link: str | None = None
    """The path of an earlier member with the same content: this one is a hard link to it."""

    @property
    def length(self) -> int:
        """Return how many bytes of content lie in the archive."""
        return 0 if self.link else self.size


@dataclass(frozen=True, kw_only=True, slots=True)
class Index:
    """What a bundle holds, in the order in which it lies there."""

    profile: str
    members: tuple[BundleMember, ...]
    program: BundleMember
    """The zip application at the end; its path is that of the member which is the same."""
    base: str | None = None
    """The sha256 of the index of the bundle that has what is left out."""

    def text(self) -> bytes:
        """Return the index as it is written."""
        members = [
            {"path": each.path, "size": each.size, "sha256": each.sha256}
            | ({"held": True} if each.held else {})
            | ({"link": each.link} if each.link else {})
            for each in self.members
        ]
        value = {
            "format": FORMAT,
            "profile": self.profile,
            "base": self.base,
            "program": self.program.path,
            "members": members,
        }
        return (json.dumps(value, indent=0) + "\n").encode()

    @property
    def sha256(self) -> str:
        """The hash that stands for the whole bundle."""
        return hashlib.sha256(self.text()).hexdigest()


def read_index(text: bytes, name: str) -> Index:
    """Read the index of the bundle `name`. Raises BundleError for one that is damaged."""
    try:
        index = _index(json.loads(text))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        message = f"{INDEX} of {name} is damaged: {error!r}. Copy it again."
        raise BundleError(message) from error
    if index.text() != text:
        message = f"{INDEX} of {name} is damaged: it is not as Forkhouse writes it. Copy it again."
        raise BundleError(message)
    return index


def _index(value: dict[str, Any]) -> Index:
    """Return the index that a value is. Raises ValueError, KeyError, TypeError."""
    if value["format"] != FORMAT:
        message = f"its format is {value['format']}, and this Forkhouse reads {FORMAT}"
        raise ValueError(message)
    members = tuple(map(_member, value["members"]))
    by_path = {each.path: each for each in members}
    if len(by_path) != len(members):
        message = "it lists a file twice"
        raise ValueError(message)
    earlier: dict[str, str] = {}
    for each in members:
        if each.link and earlier.get(each.link) != each.sha256:
            message = f"{each.path} is a link to what is not before it"
            raise ValueError(message)
        if not each.link:
            earlier[each.path] = each.sha256
    base, profile = value["base"], str(value["profile"])
    if not _PROFILE.fullmatch(profile):
        # It is the name of the folder that the wheelhouse is unpacked into.
        message = f"{profile!r} is no name of a profile"
        raise ValueError(message)
    return Index(
        profile=profile,
        members=members,
        program=by_path[value["program"]],
        base=None if base is None else str(base),
    )


def _member(value: dict[str, Any]) -> BundleMember:
    path, size, sha256 = str(value["path"]), value["size"], str(value["sha256"])
    parts = PurePosixPath(path).parts
    if path.startswith("/") or ".." in parts or str(PurePosixPath(*parts)) != path:
        message = f"{path!r} leads out of the bundle"
        raise ValueError(message)
    if not is_name(path):
        message = f"{path!r} is no name of a file in UTF-8"
        raise ValueError(message)
    if type(size) is not int or size < 0 or len(sha256) != hashlib.sha256().digest_size * 2:
        message = f"{path} has no size or no sha256"
        raise ValueError(message)
    link = value.get("link")
    return BundleMember(
        path=path,
        size=size,
        sha256=sha256,
        held=value.get("held") is True,
        link=None if link is None else str(link),
    )


def is_name(path: str) -> bool:
    """Return whether a file can have this path, and each machine reads it alike: as UTF-8."""
    return not any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in path)


def header(path: str, size: int, link: str | None = None) -> bytes:
    """Return the header of a file in the archive: nobody's, readable by all, without a time.

    Of a hard link where `link` names what it leads to.
    """
    info = tarfile.TarInfo(path)
    info.size = size
    info.mode = 0o644
    if link is not None:
        info.type, info.linkname = tarfile.LNKTYPE, link
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def padding(size: int) -> bytes:
    """Return what fills the last block of a file."""
    return bytes(-size % BLOCK)


@dataclass(frozen=True, kw_only=True, slots=True)
class MemberPlace:
    """Where a member lies in the archive, in bytes from its beginning."""

    member: BundleMember
    start: int
    """Of its header."""
    content: int

    @property
    def end(self) -> int:
        """The first byte behind it and what fills its last block."""
        return self.content + self.member.length + len(padding(self.member.length))

    @property
    def header(self) -> bytes:
        """Return its header."""
        return header(self.member.path, self.member.length, self.member.link)


def front(index: Index) -> bytes:
    """Return the beginning of a bundle: the index and its hash, as members of the archive."""
    text = index.text()
    seal = f"{hashlib.sha256(text).hexdigest()}  {INDEX}\n".encode()
    pieces = []
    for name, content in ((INDEX, text), (SEAL, seal)):
        pieces += [header(name, len(content)), content, padding(len(content))]
    return b"".join(pieces)


def places(index: Index) -> Iterator[MemberPlace]:
    """Yield where each member lies that is there, in order."""
    position = len(front(index))
    for member in index.members:
        if not member.held:
            head = len(header(member.path, member.length, member.link))
            place = MemberPlace(member=member, start=position, content=position + head)
            yield place
            position = place.end


def total(index: Index) -> int:
    """Return the size of a bundle in bytes."""
    *_, last = [len(front(index)), *(place.end for place in places(index))]
    return last + len(END) + index.program.size


def ordered(members: Sequence[BundleMember]) -> tuple[BundleMember, ...]:
    """Return members in the order of a bundle, and each content once.

    What tells of the rest comes first. Whoever unpacks the wheelhouse alone gets it whole, so what
    is also among the sources is a link there.
    """
    first: dict[str, str] = {}
    found = []
    for each in sorted(members, key=_rank):
        link = first.setdefault(each.sha256, each.path)
        found.append(each if link == each.path else replace(each, link=link))
    return tuple(found)


def _rank(member: BundleMember) -> tuple[bool, bool, str]:
    sources = member.path.startswith("sources/")
    return (sources, member.path.endswith((".whl", ".pack")), member.path)
