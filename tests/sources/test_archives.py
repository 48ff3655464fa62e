from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest
from pygit2.enums import FileMode

from forkhouse.errors import UnsafeArchiveError
from forkhouse.sources.archives import read_archive, read_tar, read_wheel
from forkhouse.sources.store import TreeFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
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
def test_a_hostile_tar_member_is_refused(tmp_path: Path, info: tarfile.TarInfo, message: str) -> None:
    with pytest.raises(UnsafeArchiveError, match=message):
        read_tar(tar(tmp_path, member("demo-1.0/good"), member("demo-1.0/folder", tarfile.DIRTYPE), info))


def test_a_link_out_of_the_top_folder_is_refused(tmp_path: Path) -> None:
    """It stays in the archive, but what is imported is the tree below the top folder."""
    with pytest.raises(UnsafeArchiveError, match=r"link.*outside"):
        read_tar(tar(tmp_path, member("demo-1.0/link", tarfile.SYMTYPE, "../sibling")))


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b\x08\x00broken"])
def test_what_is_no_tar_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "demo-1.0.tar.gz"
    path.write_bytes(content)
    with pytest.raises(UnsafeArchiveError, match=r"(?s)demo-1\.0\.tar\.gz: .*nothing of it was kept"):
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


@pytest.mark.parametrize("name", ["../evil", "demo/../../evil", "/etc/passwd", "demo\\..\\evil", "C:\\evil"])
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
    packed = wheel(tmp_path, "demo-1.0/meson.build", "demo-1.0/src/a.c").rename(tmp_path / "patch.zip")
    for path in (packed, tar(tmp_path, member("demo-1.0/meson.build"), member("demo-1.0/src/a.c"))):
        files, newest = read_archive(path)
        assert [(file.path, file.content) for file in files] == [("meson.build", b"text"), ("src/a.c", b"text")]
        assert newest > 1_600_000_000


def test_a_zip_file_without_one_top_folder_is_no_source_archive(tmp_path: Path) -> None:
    for names in (("demo-1.0/a", "other/b"), ("a",)):
        with pytest.raises(UnsafeArchiveError, match="is not inside one top folder"):
            read_archive(wheel(tmp_path, *names))
