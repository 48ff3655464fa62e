from __future__ import annotations

import csv
import io
import zipfile
from typing import TYPE_CHECKING

import pytest

from forkhouse.audit.look import AuditTerms, audit_wheel
from forkhouse.audit.policy import read_policy
from forkhouse.core.errors import BuildError
from forkhouse.provenance.embedding import with_files
from tests.wheels import pack, write_wheel

if TYPE_CHECKING:
    from pathlib import Path

INFO = "demo-1.0+rocm.1.dist-info"
ADDED = {f"{INFO}/sboms/forkhouse.cdx.json": b"{}", f"{INFO}/licenses/demo/LICENSE": b"text"}


def made(folder: Path) -> Path:
    folder.mkdir()
    return write_wheel(folder, "demo", "1.0+rocm.1", {"demo.py": b"x = 1\n" * 1000})


def reordered(wheel: Path) -> Path:
    """Let RECORD be the first file, as some backends have it."""
    with zipfile.ZipFile(wheel) as archive:
        members = {name: archive.read(name) for name in reversed(archive.namelist())}
    return pack(wheel, members)


def content(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert len(set(names)) == len(names)
        return {name: archive.read(name) for name in names}


@pytest.mark.parametrize("last", [True, False], ids=["record-last", "record-first"])
def test_a_wheel_with_more_files_is_whole_and_passes_the_audit(
    tmp_path: Path, *, last: bool
) -> None:
    wheel = made(tmp_path / "made")
    wheel = wheel if last else reordered(wheel)
    before = content(wheel)
    target = tmp_path / wheel.name
    with_files(wheel, target, ADDED, info=INFO, epoch=1_700_000_000)
    after = content(target)
    assert {name: after[name] for name in before if not name.endswith("RECORD")} == {
        name: each for name, each in before.items() if not name.endswith("RECORD")
    }
    assert {name: after[name] for name in ADDED} == ADDED
    assert list(after)[-1] == f"{INFO}/RECORD"
    rows = [row[0] for row in csv.reader(io.StringIO(after[f"{INFO}/RECORD"].decode()))]
    assert sorted(rows) == sorted(after)
    terms = AuditTerms(policy=read_policy("cpu"), targets=("gfx90a",), build_paths=())
    assert audit_wheel(target, terms, ours=True).findings == ()
    again = tmp_path / "again.whl"
    with_files(wheel, again, ADDED, info=INFO, epoch=1_700_000_000)
    assert again.read_bytes() == target.read_bytes()


def test_a_file_that_is_there_already_is_written_anew(tmp_path: Path) -> None:
    """A wheel that is packed again may bring the bill of materials that it had when it was
    first.
    """
    wheel, once, twice = made(tmp_path / "made"), tmp_path / "once.whl", tmp_path / "twice.whl"
    with_files(wheel, once, ADDED, info=INFO, epoch=0)
    other = dict.fromkeys(ADDED, b"other")
    with_files(once, twice, other, info=INFO, epoch=0)
    assert {name: content(twice)[name] for name in ADDED} == other


@pytest.mark.parametrize("record", [None, b"x" * 200_000, b"\xff"])
def test_a_wheel_without_a_record_that_can_be_read_is_refused(
    tmp_path: Path, record: bytes | None
) -> None:
    wheel = made(tmp_path / "made")
    members = content(wheel)
    del members[f"{INFO}/RECORD"]
    if record is not None:
        members[f"{INFO}/RECORD"] = record
    pack(wheel, members)
    with pytest.raises(BuildError, match="RECORD"):
        with_files(wheel, tmp_path / "target.whl", ADDED, info=INFO, epoch=0)


def test_a_damaged_wheel_is_refused_with_its_name(tmp_path: Path) -> None:
    wheel = reordered(made(tmp_path / "made"))
    whole = wheel.read_bytes()
    at = whole.index(b"demo.py") + 12
    wheel.write_bytes(whole[:at] + b"\xff" * 8 + whole[at + 8 :])
    with pytest.raises(BuildError, match=r"demo-1\.0\+rocm\.1-py3-none-any\.whl was built, and"):
        with_files(wheel, tmp_path / "target.whl", ADDED, info=INFO, epoch=0)
