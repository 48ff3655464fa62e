from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pygit2.enums import FileMode

from forkhouse.core.budgets import ArchiveLimits
from forkhouse.core.errors import UnsafeArchiveError
from forkhouse.core.tars import tarfile as used
from forkhouse.sources.archives import read_archive, read_tar, read_wheel
from forkhouse.sources.store import TreeFile

if TYPE_CHECKING:
    from collections.abc import Callable


def member(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.mtime = kind, link, mode, 1_700_000_000
    info.size = 4 if kind == tarfile.REGTYPE else 0
    return info


def tar(tmp_path: Path, *members: tarfile.TarInfo) -> Path:
    path = tmp_path / "demo-1.0.tar"
    with tarfile.open(path, "w") as archive:
        for info in members:
            archive.addfile(info, io.BytesIO(b"text") if info.isreg() else None)
    return path


def wheel(tmp_path: Path, *names: str, mode: int = 0o100644) -> Path:
    path = tmp_path / "demo-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            info = zipfile.ZipInfo(name, (2024, 5, 6, 7, 8, 10))
            info.external_attr = mode << 16
            archive.writestr(info, b"text")
    return path


def test_reads_a_tarball_below_its_top_folder(tmp_path: Path) -> None:
    path = tar(
        tmp_path,
        member("demo-1.0", tarfile.DIRTYPE, mode=0o755),
        member("./demo-1.0/run.sh", mode=0o755),
        member("demo-1.0/src/link", tarfile.SYMTYPE, "../run.sh"),
        member("demo-1.0/copy", tarfile.LNKTYPE, "./demo-1.0/run.sh"),
    )
    assert read_tar(path) == (
        [
            TreeFile(path="run.sh", content=b"text", mode=FileMode.BLOB_EXECUTABLE),
            TreeFile(path="src/link", content=b"../run.sh", mode=FileMode.LINK),
            TreeFile(path="copy", content=b"text", mode=FileMode.BLOB),
        ],
        1_700_000_000,
    )


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (member("demo-1.0/../../etc/passwd"), "outside the destination"),
        (member("/etc/passwd"), "not inside one top folder"),
        (member("demo-1.0/null", tarfile.CHRTYPE), "special file"),
        (member("demo-1.0/disk", tarfile.BLKTYPE), "special file"),
        (member("demo-1.0/pipe", tarfile.FIFOTYPE), "special file"),
        (member("demo-1.0/link", tarfile.SYMTYPE, "../../outside"), "outside the destination"),
        (member("demo-1.0/link", tarfile.SYMTYPE, "/etc/passwd"), "absolute path"),
        (member("demo-1.0/hard", tarfile.LNKTYPE, "../outside"), "outside the destination"),
        (member("demo-1.0/hard", tarfile.LNKTYPE, "demo-1.0/nothing"), "demo-1.0.tar: "),
        (member("demo-1.0/hard", tarfile.LNKTYPE, "demo-1.0/folder"), "neither a file nor a link"),
        (member("demo-1.0/hard", tarfile.LNKTYPE, "demo-1.0/hard"), "demo-1.0.tar: "),
        (member("loose-file"), "not inside one top folder"),
        (member("other/file"), "not inside one top folder"),
    ],
)
def test_a_hostile_tar_member_is_refused(
    tmp_path: Path, info: tarfile.TarInfo, message: str
) -> None:
    with pytest.raises(UnsafeArchiveError, match=message):
        read_tar(
            tar(tmp_path, member("demo-1.0/good"), member("demo-1.0/folder", tarfile.DIRTYPE), info)
        )


def test_a_link_out_of_the_top_folder_is_refused(tmp_path: Path) -> None:
    """It stays in the archive, but what is imported is the tree below the top folder."""
    with pytest.raises(UnsafeArchiveError, match=r"link.*outside"):
        read_tar(tar(tmp_path, member("demo-1.0/link", tarfile.SYMTYPE, "../sibling")))


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b\x08\x00broken"])
def test_what_is_no_tar_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "demo-1.0.tar.gz"
    path.write_bytes(content)
    with pytest.raises(
        UnsafeArchiveError, match=r"(?s)demo-1\.0\.tar\.gz: .*nothing of it was kept"
    ):
        read_tar(path)


def test_a_truncated_tarball_is_refused(make_sdist: Callable[..., Path]) -> None:
    path = make_sdist(files={"big": bytes(range(256)) * 4000})
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UnsafeArchiveError, match=r"demo-1\.0\.tar\.gz: "):
        read_tar(path)


def test_reads_a_wheel(tmp_path: Path) -> None:
    files, newest = read_wheel(wheel(tmp_path, "demo/", "demo/run", mode=0o100755))
    assert files == [TreeFile(path="demo/run", content=b"text", mode=FileMode.BLOB_EXECUTABLE)]
    assert newest == 1_714_979_290


@pytest.mark.parametrize(
    "name", ["../evil", "demo/../../evil", "/etc/passwd", "demo\\..\\evil", "C:\\evil"]
)
def test_a_hostile_wheel_member_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnsafeArchiveError, match=r"member '.*' leaves the tree"):
        read_wheel(wheel(tmp_path, "demo/good", name))


def test_a_wheel_with_a_link_or_a_name_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsafeArchiveError, match="member 'demo/link' leaves the tree, is a link"):
        read_wheel(wheel(tmp_path, "demo/link", mode=stat.S_IFLNK | 0o777))
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = wheel(tmp_path, "demo/a", "demo/a")
    with pytest.raises(UnsafeArchiveError, match=r"member 'demo/a' .* is there twice"):
        read_wheel(path)


def test_a_damaged_wheel_is_refused(tmp_path: Path, make_wheel: Callable[..., Path]) -> None:
    path = tmp_path / "demo-1.0-py3-none-any.whl"
    path.write_bytes(b"no zip")
    with pytest.raises(UnsafeArchiveError, match="not a zip file"):
        read_wheel(path)
    damaged = make_wheel(files={"demo/data": bytes(range(256)) * 40})
    whole = damaged.read_bytes()
    for start in range(40, 400, 30):
        damaged.write_bytes(whole[:start] + b"\xff" * 8 + whole[start + 8 :])
        with pytest.raises(UnsafeArchiveError, match=r"demo-1\.0-py3-none-any\.whl: "):
            read_wheel(damaged)


def test_a_source_archive_is_read_below_its_top_folder_in_either_format(tmp_path: Path) -> None:
    packed = wheel(tmp_path, "demo-1.0/meson.build", "demo-1.0/src/a.c").rename(
        tmp_path / "patch.zip"
    )
    for path in (packed, tar(tmp_path, member("demo-1.0/meson.build"), member("demo-1.0/src/a.c"))):
        files, newest = read_archive(path)
        assert [(file.path, file.content) for file in files] == [
            ("meson.build", b"text"),
            ("src/a.c", b"text"),
        ]
        assert newest > 1_600_000_000


def test_a_zip_file_without_one_top_folder_is_no_source_archive(tmp_path: Path) -> None:
    for names in (("demo-1.0/a", "other/b"), ("a",)):
        with pytest.raises(UnsafeArchiveError, match="is not inside one top folder"):
            read_archive(wheel(tmp_path, *names))


def packed(folder: Path, content: bytes, how: Callable[[bytes], bytes]) -> Path:
    """Write a packed tar file with the one file `demo-1.0/a`."""
    info = tarfile.TarInfo("demo-1.0/a")
    info.size = len(content)
    path = folder / "demo-1.0.tar.gz"
    path.write_bytes(how(info.tobuf() + content + bytes(-len(content) % 512 + 1024)))
    return path


SMALL = ArchiveLimits(
    members=3, member=200_000, total=300_000, free=100_000, ratio=20, depth=5, path=50
)
PACKINGS: list[Callable[[bytes], bytes]] = [
    gzip.compress,
    lzma.compress,
    bz2.compress,
    partial(lzma.compress, format=lzma.FORMAT_ALONE),
]


@pytest.mark.parametrize("how", PACKINGS)
def test_a_tarball_in_any_packing_has_a_budget(
    tmp_path: Path, how: Callable[[bytes], bytes]
) -> None:
    assert [
        len(file.content) for file in read_tar(packed(tmp_path, bytes(90_000), how), SMALL)[0]
    ] == [90_000]
    with pytest.raises(
        UnsafeArchiveError,
        match=r"demo-1\.0\.tar\.gz: its \d+ bytes would be \d+ unpacked; more than 20 times as "
        r"many",
    ):
        read_tar(packed(tmp_path, bytes(150_000), how), SMALL)
    with pytest.raises(
        UnsafeArchiveError,
        match=r"'demo-1\.0/a' would have 200001 bytes unpacked; more than 200000 are refused",
    ):
        read_tar(packed(tmp_path, bytes(200_001), how), SMALL)


@pytest.mark.parametrize("how", PACKINGS)
def test_the_headers_of_a_tarball_count(tmp_path: Path, how: Callable[[bytes], bytes]) -> None:
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 60_000
    comment = b"60000 comment=" + b"x" * 59_985 + b"\n" + bytes(-60_000 % 512)
    path = tmp_path / "demo-1.0.tar.gz"
    path.write_bytes(
        how((header.tobuf() + comment + tarfile.TarInfo("demo-1.0/a").tobuf()) * 3 + bytes(1024))
    )
    with pytest.raises(
        UnsafeArchiveError, match=r"unpacked; more than 20 times as many are refused"
    ):
        read_tar(path, SMALL)


def test_a_sparse_file_counts_as_long_as_it_says_that_it_is(tmp_path: Path) -> None:
    info = tarfile.TarInfo("demo-1.0/a")
    sparse = {
        "major": "0",
        "minor": "1",
        "name": "demo-1.0/a",
        "size": str(2**40),
        "numblocks": "1",
        "map": "0,1",
    }
    info.pax_headers = {f"GNU.sparse.{key}": value for key, value in sparse.items()}
    info.size = 1
    path = tmp_path / "demo-1.0.tar.gz"
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(
        UnsafeArchiveError,
        match=r"'demo-1\.0/a' would have 1099511627776 bytes unpacked; more than 2147483648 are "
        r"refused",
    ):
        read_tar(path)


def test_hard_links_to_one_file_count_each(tmp_path: Path) -> None:
    path = tmp_path / "demo-1.0.tar"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("demo-1.0/a")
        info.size = 150_000
        archive.addfile(info, io.BytesIO(bytes(range(250)) * 600))
        for name in "bc":
            archive.addfile(member(f"demo-1.0/{name}", tarfile.LNKTYPE, "demo-1.0/a"))
    assert [len(file.content) for file in read_tar(path, replace(SMALL, total=450_000))[0]] == [
        150_000
    ] * 3
    with pytest.raises(
        UnsafeArchiveError,
        match="it would have 450000 bytes unpacked; more than 300000 are refused",
    ):
        read_tar(path, SMALL)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["demo-1.0/a", "demo-1.0/b", "demo-1.0/c", "demo-1.0/d"], "it has more than 3 files"),
        (["demo-1.0/" + "d/" * 6 + "f"], "has more than 5 folders in one another"),
        (["demo-1.0/" + "d" * 60], "a path of more than 50 bytes"),
    ],
)
def test_names_have_limits(tmp_path: Path, names: list[str], message: str) -> None:
    with pytest.raises(UnsafeArchiveError, match=rf"demo-1\.0\.tar: .*{message}"):
        read_tar(tar(tmp_path, *map(member, names)), SMALL)
    with pytest.raises(UnsafeArchiveError, match=rf"demo-1\.0-py3-none-any\.whl: .*{message}"):
        read_wheel(wheel(tmp_path, *names), SMALL)


def test_the_time_that_an_archive_takes_is_limited(tmp_path: Path) -> None:
    with pytest.raises(
        UnsafeArchiveError, match="reading it has taken more than 0 s of processor time"
    ):
        read_tar(tar(tmp_path, member("demo-1.0/a")), ArchiveLimits(seconds=0))
    with pytest.raises(
        UnsafeArchiveError, match="reading it has taken more than 0 s of processor time"
    ):
        read_wheel(wheel(tmp_path, "demo/a"), ArchiveLimits(seconds=0))


def test_a_wheel_has_a_budget(tmp_path: Path) -> None:
    path = tmp_path / "demo-1.0-py3-none-any.whl"
    for size, message in (
        (150_000, "more than 20 times as many"),
        (200_001, "'a' would have 200001 bytes unpacked"),
    ):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a", bytes(size))
        with pytest.raises(UnsafeArchiveError, match=message):
            read_wheel(path, SMALL)


@pytest.mark.parametrize("moment", ["inf", "nan", "1e30", "x"])
def test_a_time_that_no_calendar_has_is_refused(tmp_path: Path, moment: str) -> None:
    info = member("demo-1.0/a")
    info.pax_headers = {"mtime": moment}
    path = tmp_path / "demo-1.0.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info, io.BytesIO(b"text"))
    if moment == "x":  # of a number that is none, `tarfile` makes 0
        assert read_tar(path)[1] == 0
    else:
        with pytest.raises(UnsafeArchiveError, match=r"demo-1\.0\.tar: "):
            read_tar(path)


def test_a_header_without_end_is_refused(tmp_path: Path) -> None:
    """What `tarfile` does with one costs the square of its size, and more memory than the archive
    has.
    """
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 2**40
    path = tmp_path / "demo-1.0.tar"
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + b"1" * 100_000)
    with pytest.raises(UnsafeArchiveError, match="a header in it has 1099511627776 bytes"):
        read_tar(path)


@pytest.mark.parametrize(
    "fault",
    [
        MemoryError(),
        OverflowError("big"),
        struct.error("short"),
        zlib.error("bad"),
        RecursionError("deep"),
    ],
)
def test_whatever_the_readers_of_archives_raise_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise fault

    monkeypatch.setattr(used, "open", fail)
    monkeypatch.setattr(zipfile, "ZipFile", fail)
    path = tmp_path / "demo-1.0.tar"
    path.write_bytes(b"x")
    for read in (read_tar, read_wheel):
        with pytest.raises(
            UnsafeArchiveError,
            match=rf"demo-1\.0\.tar: ({fault}|{type(fault).__name__})\. The archive is refused",
        ):
            read(path)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_archive_is_read_or_refused(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["tar", "gz", "xz", "bz2", "zip"]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "demo-1.0")
        if kind == "zip":
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(
                    zipfile.ZipInfo("demo-1.0/a", (2024, 5, 6, 7, 8, 10)), b"text" * 99
                )
        else:
            # The mode is made.
            mode = "w" if kind == "tar" else f"w:{kind}"
            with tarfile.open(path, mode) as tarball:  # type: ignore[call-overload]
                info = member("demo-1.0/" + "long" * 40)
                info.pax_headers = {"mtime": "1.5", "comment": "é"}
                tarball.addfile(info, io.BytesIO(b"text"))
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, len(content) - 1))
            put = data.draw(
                st.sampled_from([b"\x00", b"\xff" * 8, b"9" * 12, b"\x80" + b"\xff" * 11, b""])
                | st.binary(max_size=4)
            )
            content[at : at + max(1, len(put))] = put
        path.write_bytes(content)
        with contextlib.suppress(UnsafeArchiveError):
            read_archive(path)
