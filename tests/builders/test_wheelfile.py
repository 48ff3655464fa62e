from __future__ import annotations

import base64
import csv
import hashlib
import os
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forkhouse.builders.wheelfile import Member, record_line, unpack, write_wheel
from forkhouse.core.budgets import ArchiveLimits
from forkhouse.core.errors import BuildError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

INFO = "demo-1.0.dist-info"
NAME = "demo-1.0-py3-none-any.whl"
MEMBERS = (
    Member(path=f"{INFO}/METADATA", content=b"Name: demo\n", executable=False),
    Member(path="demo/run", content=b"#!/bin/sh\n", executable=True),
    Member(path="demo/a,b.txt", content=b"comma", executable=False),
)

_members = st.lists(
    st.builds(
        Member,
        path=st.from_regex(r"[a-zA-Z0-9_ ,é]{1,8}(/[a-z.\"]{1,8}x){0,2}", fullmatch=True),
        content=st.binary(max_size=2000),
        executable=st.booleans(),
    ),
    unique_by=lambda member: member.path,
    max_size=8,
)


def _made(folder: Path, **files: str) -> Path:
    path = folder / NAME
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


ODD = {
    "its content is another than its sum says": lambda content: content.replace(b"whole", b"w-ole"),
    "it ends early": lambda content: content[:-30],
    "a packing that nobody knows": lambda content: content.replace(b"\x08\x00", b"\x63\x00"),
}


@pytest.mark.parametrize("damage", ODD.values(), ids=ODD)
def test_a_wheel_of_a_build_that_is_damaged_is_a_failed_build(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / NAME
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("demo/a", "a whole file", zipfile.ZIP_DEFLATED)
        archive.writestr("demo/b", "a whole file")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BuildError, match="was built, and cannot be unpacked"):
        unpack(path, tmp_path / "laid")


def test_a_wheel_of_a_build_that_no_folder_can_hold_is_no_refusal_of_the_disk(
    tmp_path: Path,
) -> None:
    for files in ({"demo/a": "x", "demo/a/b": "x"}, {"demo/" + "a" * 300: "x"}):
        with pytest.raises(BuildError, match="was built, and cannot be laid out"):
            unpack(_made(tmp_path, **files), tmp_path / "laid")


def test_a_wheel_of_a_build_has_limits(tmp_path: Path) -> None:
    path = _made(tmp_path, **{"demo/a": "x" * 100_000, "demo/b": "y"})
    for limits in (ArchiveLimits(total=50_000), ArchiveLimits(free=0), ArchiveLimits(members=1)):
        with pytest.raises(BuildError, match="unpacked; more than"):
            unpack(path, tmp_path / "laid", limits)
    unpack(path, tmp_path / "laid")
    assert (tmp_path / "laid/demo/b").read_text(encoding="utf-8") == "y"


def check_record(path: Path) -> None:
    """Check a wheel's RECORD as PEP 376 describes it, with nothing of the code that wrote it."""
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        record = names[-1]
        rows = list(csv.reader(archive.read(record).decode().splitlines()))
        assert [row[0] for row in rows] == names
        assert rows[-1] == [record, "", ""]
        for name, digest, size in rows[:-1]:
            content = archive.read(name)
            algorithm, _, value = digest.partition("=")
            assert (
                base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
                == hashlib.new(algorithm, content).digest()
            )
            assert int(size) == len(content)


def test_writes_members_in_order_with_fixed_stamps_and_modes(tmp_path: Path) -> None:
    path = write_wheel(tmp_path / NAME, MEMBERS, dist_info=INFO, epoch=1_700_000_000)
    check_record(path)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == [
            "demo/a,b.txt",
            "demo/run",
            f"{INFO}/METADATA",
            f"{INFO}/RECORD",
        ]
        assert {info.date_time for info in archive.infolist()} == {(2023, 11, 14, 22, 13, 20)}
        assert [info.external_attr >> 16 for info in archive.infolist()] == [
            0o100644,
            0o100755,
            0o100644,
            0o100644,
        ]
        assert {info.create_system for info in archive.infolist()} == {3}


def test_a_time_before_the_zip_format_is_its_first_moment(tmp_path: Path) -> None:
    path = write_wheel(tmp_path / NAME, MEMBERS, dist_info=INFO, epoch=0)
    with zipfile.ZipFile(path) as archive:
        assert archive.infolist()[0].date_time == (1980, 1, 1, 0, 0, 0)


def test_a_line_of_record_is_that_of_the_standard() -> None:
    hashed = "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
    assert record_line("demo/empty", b"") == ("demo/empty", hashed, "0")


@settings(deadline=None)  # machines that test are busy
@given(_members, st.integers(0, 2**32), st.randoms(use_true_random=False))
def test_the_same_members_give_the_same_bytes(
    members: list[Member], epoch: int, random: object
) -> None:
    shuffled = list(members)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis' own Random
    with TemporaryDirectory() as one, TemporaryDirectory() as two:
        first = write_wheel(Path(one) / NAME, members, dist_info=INFO, epoch=epoch)
        second = write_wheel(Path(two) / NAME, shuffled, dist_info=INFO, epoch=epoch)
        assert first.read_bytes() == second.read_bytes()
        check_record(first)


def test_a_full_disk_is_explained(small_disk: Path) -> None:
    big = Member(path="demo/big", content=os.urandom(400_000), executable=False)
    with pytest.raises(StorageError, match=f"Packing {NAME}: No space left on device"):
        write_wheel(small_disk / NAME, [big], dist_info=INFO, epoch=0)


def test_a_time_after_the_last_of_zip_is_the_last(tmp_path: Path) -> None:
    path = write_wheel(tmp_path / NAME, MEMBERS, dist_info=INFO, epoch=7_258_118_400)
    with zipfile.ZipFile(path) as archive:
        assert {info.date_time for info in archive.infolist()} == {(2107, 12, 31, 23, 59, 58)}


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    members = [*MEMBERS, Member(path="demo/\udcff.py", content=b"", executable=False)]
    with pytest.raises(BuildError, match=r"'demo/\\udcff\.py' is no name that a wheel can have"):
        write_wheel(tmp_path / NAME, members, dist_info=INFO, epoch=0)
