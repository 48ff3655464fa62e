"""Write a bill of materials, and the upstream's terms, into a wheel of ours.

A stage of its own behind the build: what the documents say may change without a compiler running
again. Its key is the built wheel and all that goes into it.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import re
import shutil
import time
import zipfile
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING

from forkhouse.builders.components import ComponentPart, licences
from forkhouse.builders.wheelfile import Member, record_line, write_wheel
from forkhouse.core.digests import digest, sha256_file
from forkhouse.core.errors import BuildError
from forkhouse.core.journal import Record, Stage
from forkhouse.core.progress import report
from forkhouse.core.storage import storage_errors, sync_folder
from forkhouse.documents.lockfile import WheelSource
from forkhouse.provenance.contents import OURS
from forkhouse.provenance.documents import wheel_document

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from forkhouse.builders.built import BuiltWheel
    from forkhouse.core.journal import Journal
    from forkhouse.provenance.origins import Origin
    from forkhouse.sources.store import ObjectStore


class Described(Record):
    """A wheel with its bill of materials."""

    file: str
    sha256: str


_DESCRIBED = Stage("described", Described)
_LICENCE_OF_WHEEL = re.compile(
    r"[^/]+\.dist-info/(?:licenses/.+|(?i:licen[cs]e|copying|notice)[^/]*)"
)
_EARLIEST, _LATEST = 315532800, 4354819198
"""The first and the last moment that a zip archive can say, in seconds since 1970 UTC."""


def described(
    wheel: BuiltWheel, origin: Origin, *, store: ObjectStore, journal: Journal, wheels: Path
) -> BuiltWheel:
    """Return a wheel of ours with its bill of materials and the texts of its upstream's licence.

    `wheels` is the folder of finished wheels. Raises BuildError for a wheel that cannot be read,
    StorageError.
    """
    info = f"{'-'.join(wheel.path.name.split('-')[:2])}.dist-info"
    added = {f"{info}/sboms/{OURS}": wheel_document(origin).encode()}
    added |= {
        f"{info}/licenses/{path}": content for path, content in upstream_terms(wheel, store).items()
    }
    key = digest(
        wheel.sha256,
        origin.epoch,
        [[path, digest(content.hex())] for path, content in sorted(added.items())],
    )
    record = journal.get(_DESCRIBED, key)
    if record is not None:
        path = wheels / key / record.file
        if path.is_file() and sha256_file(path) == record.sha256:
            return replace(wheel, path=path, sha256=record.sha256)
    path = wheels / key / wheel.path.name
    with storage_errors(f"Describing {path.name}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}")
        with_files(wheel.path, unfinished, added, info=info, epoch=origin.epoch)
        with unfinished.open("rb") as stream:
            os.fsync(stream.fileno())
        unfinished.replace(path)
        sync_folder(path.parent)
    sha256 = sha256_file(path)
    journal.put(_DESCRIBED, key, Described(file=path.name, sha256=sha256))
    return replace(wheel, path=path, sha256=sha256)


def upstream_terms(wheel: BuiltWheel, store: ObjectStore) -> dict[str, bytes]:
    """Return the texts of the upstream's licence that a wheel of ours does not have already.

    They are named `UPSTREAM/FILE`. Of an upstream that has none that is said aloud.
    """
    source = wheel.patched.source
    if isinstance(source.source, WheelSource):
        paths = [path for path in store.paths(source.tree) if _LICENCE_OF_WHEEL.fullmatch(path)]
        found = {
            f"{source.upstream}/{path.partition('/')[2].removeprefix('licenses/')}": store.read(
                source.tree, path
            )
            for path in paths
        }
        if not found:
            report().line(source.upstream, "NO text of a licence is in the wheel that was patched")
    else:
        found = licences([ComponentPart(path="", source=source)], store)
    with _explained(wheel.path), zipfile.ZipFile(wheel.path) as archive:
        sizes = {len(content) for content in found.values()}
        there = {
            archive.read(member)
            for member in archive.infolist()
            if member.file_size in sizes and ".dist-info/" in member.filename
        }
    return {path: content for path, content in found.items() if content not in there}


@contextlib.contextmanager
def _explained(wheel: Path) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        message = f"{wheel.name} was built, and cannot be read: {str(error) or 'it is cut off'}."
        raise BuildError(message) from error


def with_files(
    wheel: Path, target: Path, added: Mapping[str, bytes], *, info: str, epoch: int
) -> None:
    """Write a wheel with more files in it, and a RECORD that has them, to `target`.

    `info` is the name of its .dist-info folder, `epoch` the time of what is added in seconds since
    1970 UTC. Raises BuildError for a wheel that cannot be read.

    Where RECORD is the last file, as PEP 427 recommends, all before it is copied as it is: to
    compress it anew would take minutes for a large wheel.
    """
    name = f"{info}/RECORD"
    with _explained(wheel), zipfile.ZipFile(wheel) as archive:
        members = [each for each in archive.infolist() if not each.is_dir()]
        try:
            rows = list(csv.reader(io.StringIO(archive.read(name).decode("utf-8"))))
        except (KeyError, UnicodeDecodeError, csv.Error) as error:
            message = f"{wheel.name} was built, and its RECORD cannot be read: {error}."
            raise BuildError(message) from error
        last = max(archive.infolist(), key=lambda each: each.header_offset).filename == name
        if not last or added.keys() & {each.filename for each in members}:
            kept = [
                Member(
                    path=each.filename,
                    content=archive.read(each),
                    executable=bool(each.external_attr >> 16 & 0o111),
                )
                for each in members
                if each.filename != name and each.filename not in added
            ]
            more = [
                Member(path=path, content=content, executable=False)
                for path, content in added.items()
            ]
            write_wheel(target, [*kept, *more], dist_info=info, epoch=epoch)
            return
    rows = [row for row in rows if row and row[0] != name]
    rows += [list(record_line(path, content)) for path, content in sorted(added.items())]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([*rows, [name, "", ""]])
    shutil.copyfile(wheel, target)
    with zipfile.ZipFile(target, "a") as archive:
        # What is written next takes the place of RECORD, and the list of files follows.
        archive.start_dir = archive.getinfo(name).header_offset
        archive.filelist.remove(archive.NameToInfo.pop(name))
        for path, content in [*sorted(added.items()), (name, text.getvalue().encode())]:
            archive.writestr(_entry(path, epoch), content)


def _entry(path: str, epoch: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(path, time.gmtime(min(max(epoch, _EARLIEST), _LATEST))[:6])
    info.compress_type = zipfile.ZIP_DEFLATED
    info.create_system = 3  # Unix, so that the modes below count
    info.external_attr = 0o100644 << 16
    return info
