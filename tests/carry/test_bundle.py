"""Bundles, read by tar, by Python itself, and by our own reader."""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import random
import subprocess
import sys
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest

from forkhouse.carry.bundle import extract, is_bundle, open_bundle, verify_bundle
from forkhouse.carry.layout import END, places, total
from forkhouse.carry.packing import (
    UNFINISHED,
    Bundles,
    Files,
    index_of,
    joined,
    without,
    write_bundle,
)
from forkhouse.core.errors import BundleError, BusyError, HashMismatchError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from forkhouse.carry.layout import BundleMember, Index

LONG = "wheelhouse/" + "deep/" * 40 + "ünï.txt"
"""A path that no header of the oldest form can hold."""


def program() -> bytes:
    """Return a zip application that says where it runs from."""
    content = io.BytesIO(b"#!/usr/bin/env python3\n")
    content.seek(0, io.SEEK_END)
    with zipfile.ZipFile(content, "a") as archive:
        # With a time of its own: equal programs have equal bytes, whenever they are made.
        main = zipfile.ZipInfo("__main__.py")
        archive.writestr(main, "import sys; print('ran', sys.argv[1:])\n")
    return content.getvalue()


def files(folder: Path, **changed: bytes) -> dict[str, Path]:
    """Write the files of a small bundle."""
    noise = random.Random(5)
    contents = {
        "wheelhouse/forkhouse.pyz": program(),
        "wheelhouse/a-1-py3-none-any.whl": noise.randbytes(3_000_000),
        "wheelhouse/manifest.json": b"{}\n",
        "wheelhouse/empty": b"",
        "checkout/upstream.lock": b"format: 1\n",
        LONG: b"far\n",
    }
    contents["sources/files/0/a-1-py3-none-any.whl"] = contents["wheelhouse/a-1-py3-none-any.whl"]
    contents |= {f"wheelhouse/{name}": content for name, content in changed.items()}
    found = {}
    for number, (path, content) in enumerate(contents.items()):
        file = folder / str(number)
        folder.mkdir(exist_ok=True)
        file.write_bytes(content)
        found[path] = file
    return found


def made(folder: Path, name: str = "b.tar", **changed: bytes) -> tuple[Path, Index]:
    content = files(folder / f"files-{name}", **changed)
    index = index_of("cpu", content, "wheelhouse/forkhouse.pyz")
    (path,) = write_bundle(index, Files(content), folder / name)
    return path, index


def test_tar_and_python_read_it(tmp_path: Path) -> None:
    path, _ = made(tmp_path)
    subprocess.run(["tar", "--extract", "--file", path, "--directory", tmp_path], check=True)
    for name, file in files(tmp_path / "again").items():
        assert (tmp_path / name).read_bytes() == file.read_bytes(), name
    first, second = (
        tmp_path / "wheelhouse/a-1-py3-none-any.whl",
        tmp_path / "sources/files/0/a-1-py3-none-any.whl",
    )
    assert first.samefile(second), "the same content lies there once"
    subprocess.run(["sha256sum", "--check", "--quiet", "INDEX.sha256"], cwd=tmp_path, check=True)
    said = subprocess.run(
        [sys.executable, path, "one", "two"], capture_output=True, text=True, check=True
    )
    assert said.stdout == "ran ['one', 'two']\n"
    with tarfile.open(path) as archive:
        assert {(each.uid, each.mtime, each.mode) for each in archive} == {(0, 0, 0o644)}


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    first, index = made(tmp_path, "one.tar")
    second, _ = made(tmp_path, "two.tar")
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_size == total(index)


def test_any_flipped_byte_is_found_and_its_file_named(tmp_path: Path) -> None:
    path, index = made(tmp_path)
    assert verify_bundle(open_bundle(path)) == 7
    content = path.read_bytes()
    spots = {0, 130, 600, len(content) - 1, len(content) - 200}
    named: dict[int, str] = {}
    for place in places(index):
        for spot in (place.start, place.start + 130, place.content, place.end - 1):
            if spot < place.end:
                named[spot] = place.member.path
    named[total(index) - index.program.size - len(END)] = "end of the archive"
    named[len(content) - 1] = "program at its end"
    for spot in sorted(spots | set(named)):
        damaged = bytearray(content)
        damaged[spot] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises(BundleError) as caught:
            verify_bundle(open_bundle(path))
        if spot in named:
            assert named[spot] in str(caught.value), spot


@pytest.mark.parametrize("kept", [0, 100, 512, 3000, 100_000, 3_002_000])
def test_a_bundle_that_is_cut_off_is_told(tmp_path: Path, kept: int) -> None:
    path, _ = made(tmp_path)
    os.truncate(path, kept)
    with pytest.raises(BundleError, match=r"cut off|no bundle|damaged"):
        verify_bundle(open_bundle(path))


def test_what_is_no_bundle_is_told(tmp_path: Path) -> None:
    other = tmp_path / "other.tar"
    for content in (b"", b"x" * 2000, tarfile.TarInfo("INDEX.json").tobuf() * 3):
        other.write_bytes(content)
        with pytest.raises(BundleError):
            verify_bundle(open_bundle(other))


def test_bytes_behind_the_end_are_told(tmp_path: Path) -> None:
    path, _ = made(tmp_path)
    with path.open("ab") as stream:
        stream.write(b"more")
    with pytest.raises(BundleError, match="4 bytes more"):
        verify_bundle(open_bundle(path))


@pytest.mark.parametrize("split", [1_048_576, 1_500_001])
def test_parts_are_one_bundle(tmp_path: Path, split: int) -> None:
    whole, index = made(tmp_path)
    content = files(tmp_path / "files")
    parts = write_bundle(index, Files(content), tmp_path / "parts/b.tar", split=split)
    assert len(parts) == -(-total(index) // split)
    assert b"".join(part.read_bytes() for part in parts) == whole.read_bytes()
    for part in parts:
        assert verify_bundle(open_bundle(part)) == 7
    parts[1].unlink()
    with pytest.raises(BundleError, match=r"b\.tar\.002 is not in"):
        open_bundle(parts[0])


@pytest.mark.parametrize("split", [None, 1_048_576])
@pytest.mark.parametrize("share", [0.0, 0.0005, 0.3, 0.7, 0.99999])
def test_a_copy_that_broke_off_goes_on(tmp_path: Path, share: float, split: int | None) -> None:
    whole, index = made(tmp_path)
    source = open_bundle(whole)
    target = tmp_path / "copy/b.tar"
    finished = write_bundle(index, Bundles(source), target, split=split)
    # As it would be had it been cut off there, the last block half written.
    left = int(total(index) * share)
    kept_until = 0
    for path in finished:
        size = path.stat().st_size
        if left > 0:
            unfinished = path.with_name(path.name + UNFINISHED)
            path.rename(unfinished)
            os.truncate(unfinished, min(size, left))
            kept_until += min(size, left)
        else:
            path.unlink()
        left -= size
    reads: list[str] = []

    class Counted(Bundles):
        def pieces(self, member: BundleMember) -> Iterator[bytes]:
            reads.append(member.path)
            return super().pieces(member)

    again = write_bundle(index, Counted(source), target, split=split)
    assert b"".join(path.read_bytes() for path in again) == whole.read_bytes()
    skipped = [place for place in places(index) if place.end <= kept_until]
    # The program is at the end as well.
    again_read = {place.member.path for place in skipped} & set(reads) - {index.program.path}
    assert not again_read, "what is whole is not read"
    assert not list(target.parent.glob(f"*{UNFINISHED}"))


def test_a_damaged_beginning_is_not_gone_on_with(tmp_path: Path) -> None:
    whole, index = made(tmp_path)
    target = tmp_path / "copy/b.tar"
    target.parent.mkdir()
    unfinished = target.with_name(target.name + UNFINISHED)
    damaged = bytearray(whole.read_bytes()[:2_500_000])
    damaged[2_000_000] ^= 1
    unfinished.write_bytes(damaged)
    (written,) = write_bundle(index, Bundles(open_bundle(whole)), target)
    assert written.read_bytes() == whole.read_bytes()
    # Another bundle's beginning is none of this one's.
    written.unlink()
    other, _ = made(tmp_path, "other.tar", extra=b"more")
    unfinished.write_bytes(other.read_bytes()[:2_900_000])
    (written,) = write_bundle(index, Bundles(open_bundle(whole)), target)
    assert written.read_bytes() == whole.read_bytes()


def test_a_delta_and_the_old_bundle_are_the_new_one(tmp_path: Path) -> None:
    old, old_index = made(tmp_path, "old.tar")
    new, new_index = made(tmp_path, "new.tar", extra=b"news\n" * 1000)
    delta_index = without(new_index, old_index)
    content = files(tmp_path / "files", extra=b"news\n" * 1000)
    (delta,) = write_bundle(delta_index, Files(content), tmp_path / "delta.tar")
    assert delta.stat().st_size < 40_000
    assert verify_bundle(open_bundle(delta)) == 3, "the program, the news, and a link"
    with pytest.raises(BundleError, match="the bundle before it has that"):
        open_bundle(delta).content("wheelhouse/a-1-py3-none-any.whl")
    bundles = open_bundle(delta), open_bundle(old)
    whole = joined(bundles[0].index, bundles[1].index, "old.tar")
    (again,) = write_bundle(whole, Bundles(*bundles), tmp_path / "again.tar")
    assert again.read_bytes() == new.read_bytes()
    with pytest.raises(BundleError, match="made against"):
        joined(bundles[0].index, new_index, "new.tar")


def test_a_file_that_changes_meanwhile_is_told_and_what_was_written_is_kept(
    tmp_path: Path,
) -> None:
    content = files(tmp_path / "files")
    index = index_of("cpu", content, "wheelhouse/forkhouse.pyz")
    wheel = content["wheelhouse/a-1-py3-none-any.whl"]
    good = wheel.read_bytes()
    for changed in (good[:-1], good + b"x", bytes(len(good))):
        wheel.write_bytes(changed)
        with pytest.raises(HashMismatchError, match="has changed"):
            write_bundle(index, Files(content), tmp_path / "b.tar")
        assert not (tmp_path / "b.tar").exists()
    wheel.write_bytes(good)
    (path,) = write_bundle(index, Files(content), tmp_path / "b.tar")
    assert verify_bundle(open_bundle(path)) == 7
    with pytest.raises(UsageError, match="exists"):
        write_bundle(index, Files(content), tmp_path / "b.tar")


def hostile(paths: Mapping[str, object], target: Path) -> Path:
    """Write an archive whose index says something of its own."""
    import json

    text = (json.dumps(paths, indent=0) + "\n").encode()
    info = tarfile.TarInfo("INDEX.json")
    info.size, info.mode = len(text), 0o644
    target.write_bytes(info.tobuf(tarfile.PAX_FORMAT) + text + bytes(-len(text) % 512))
    return target


@pytest.mark.parametrize(
    "path",
    ["../evil", "/etc/evil", "wheelhouse/../../evil", "a//b", "./a", "", "a\0b", "a\udc80"],
)
def test_a_path_that_leads_out_is_refused(tmp_path: Path, path: str) -> None:
    member = {"path": path, "size": 1, "sha256": hashlib.sha256(b"x").hexdigest()}
    value = {"format": 1, "profile": "cpu", "base": None, "program": path, "members": [member]}
    with pytest.raises(BundleError, match=r"INDEX\.json of b\.tar is damaged"):
        open_bundle(hostile(value, tmp_path / "b.tar"))


def test_a_folder_is_unpacked_and_each_file_checked(tmp_path: Path) -> None:
    path, index = made(tmp_path)
    extract(open_bundle(path), "wheelhouse", tmp_path / "out")
    assert (tmp_path / "out/manifest.json").read_bytes() == b"{}\n"
    extract(open_bundle(path), "sources", tmp_path / "linked")
    wheel = tmp_path / "out/a-1-py3-none-any.whl"
    assert (tmp_path / "linked/files/0/a-1-py3-none-any.whl").read_bytes() == wheel.read_bytes()
    place = open_bundle(path).place("wheelhouse/a-1-py3-none-any.whl")
    with path.open("r+b") as stream:
        stream.seek(place.content + 7)
        stream.write(b"!!!")
    with pytest.raises(BundleError, match=r"a-1-py3-none-any\.whl is damaged"):
        extract(open_bundle(path), "wheelhouse", tmp_path / "again")
    assert index.profile == "cpu"


def broken_off(index: Index, whole: bytes, target: Path, *, split: int | None, kept: int) -> None:
    """Leave what a run that cut its parts at `split` has written when it ended after `kept`."""
    size = split or len(whole)
    for number, start in enumerate(range(0, min(kept, len(whole)), size), 1):
        name = f"{target.name}.{number:03}" if split else target.name
        piece = whole[start : min(start + size, kept)]
        target.with_name(name + UNFINISHED).write_bytes(piece)


@pytest.mark.parametrize("split", [None, 1_048_576, 1_500_001, 2_000_000])
@pytest.mark.parametrize("before", [None, 1_048_576, 1_500_001, 2_000_000])
@pytest.mark.parametrize("kept", [700_000, 1_500_001, 2_999_999])
def test_a_run_with_another_size_of_parts_goes_on_with_what_fits(
    tmp_path: Path, split: int | None, before: int | None, kept: int
) -> None:
    path, index = made(tmp_path)
    whole = path.read_bytes()
    target = tmp_path / "copy.tar"
    broken_off(index, whole, target, split=before, kept=kept)
    written = write_bundle(index, Bundles(open_bundle(path)), target, split=split)
    assert b"".join(each.read_bytes() for each in written) == whole
    assert verify_bundle(open_bundle(written[0])) == 7


def test_a_gap_between_unfinished_parts_is_filled(tmp_path: Path) -> None:
    path, index = made(tmp_path)
    whole = path.read_bytes()
    target = tmp_path / "copy.tar"
    broken_off(index, whole, target, split=1_048_576, kept=3_000_000)
    target.with_name(f"{target.name}.002{UNFINISHED}").unlink()
    written = write_bundle(index, Bundles(open_bundle(path)), target, split=1_048_576)
    assert b"".join(each.read_bytes() for each in written) == whole


def test_the_last_part_is_a_program_wherever_the_bundle_is_cut(tmp_path: Path) -> None:
    path, index = made(tmp_path)
    whole, size = path.read_bytes(), index.program.size
    for left in (1, size // 2, size - 1, size, size + 1):
        split = (len(whole) - left) // 2 + (len(whole) - left) % 2
        folder = tmp_path / str(left)
        written = write_bundle(index, Bundles(open_bundle(path)), folder / "b.tar", split=split)
        assert b"".join(each.read_bytes() for each in written) == whole
        assert max(each.stat().st_size for each in written) <= split
        said = subprocess.run(
            [sys.executable, "-I", "-S", written[-1], "x"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert said.stdout == "ran ['x']\n"


@pytest.mark.parametrize("kind", ["link", "dangling", "folder", "fifo"])
def test_nothing_is_written_through_what_lies_in_the_way(tmp_path: Path, kind: str) -> None:
    path, index = made(tmp_path)
    precious = tmp_path / "precious"
    precious.write_bytes(b"x" * 9)
    place = tmp_path / f"copy.tar{UNFINISHED}"
    if kind == "folder":
        place.mkdir()
    elif kind == "fifo":
        os.mkfifo(place)
    else:
        place.symlink_to(precious if kind == "link" else tmp_path / "nowhere")
    with pytest.raises(UsageError, match="is no file"):
        write_bundle(index, Bundles(open_bundle(path)), tmp_path / "copy.tar")
    assert precious.read_bytes() == b"x" * 9
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("there", ["copy.tar.002", "copy.tar.009", "copy.tar.001"])
def test_a_part_of_another_bundle_is_never_taken_for_one_of_this(
    tmp_path: Path, there: str
) -> None:
    path, index = made(tmp_path)
    (tmp_path / there).symlink_to("nowhere")
    with pytest.raises(UsageError, match=f"{there} exists"):
        write_bundle(index, Bundles(open_bundle(path)), tmp_path / "copy.tar", split=1_048_576)
    with pytest.raises(UsageError, match="names count to 999"):
        write_bundle(index, Bundles(open_bundle(path)), tmp_path / "small.tar", split=1_000)


def test_two_runs_do_not_write_the_same_file(tmp_path: Path) -> None:
    path, index = made(tmp_path)
    source = Bundles(open_bundle(path))
    with (tmp_path / f"copy.tar{UNFINISHED}").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(BusyError, match="Another run writes"):
            write_bundle(index, source, tmp_path / "copy.tar")
    (written,) = write_bundle(index, source, tmp_path / "copy.tar")
    assert written.read_bytes() == path.read_bytes()


@pytest.mark.parametrize(("damage", "told"), [("flip", "is damaged in b"), ("cut", "is cut off")])
def test_what_is_copied_from_a_damaged_bundle_names_it(
    tmp_path: Path, damage: str, told: str
) -> None:
    path, index = made(tmp_path)
    with path.open("r+b") as stream:
        if damage == "cut":
            stream.truncate(1_000_000)
        else:
            stream.seek(1_000_000)
            stream.write(b"!!!")
    with pytest.raises(BundleError, match=told):
        write_bundle(index, Bundles(open_bundle(path)), tmp_path / "copy.tar")
    with pytest.raises(BundleError, match=told):
        extract(open_bundle(path), "wheelhouse", tmp_path / "out")


def test_what_was_read_already_is_not_read_again_and_still_compared(tmp_path: Path) -> None:
    content = files(tmp_path / "files")
    wheel = "wheelhouse/a-1-py3-none-any.whl"
    index = index_of("cpu", content, "wheelhouse/forkhouse.pyz", {wheel: "0" * 64})
    assert {each.sha256 for each in index.members if each.path == wheel} == {"0" * 64}
    with pytest.raises(HashMismatchError, match=r"a-1-py3-none-any\.whl has changed"):
        write_bundle(index, Files(content), tmp_path / "b.tar")


@pytest.mark.parametrize(
    "profile", ["../evil", "/evil", "a/b", "..", ".", "", "-x", "a\0", 5, None]
)
def test_a_profile_that_is_no_name_is_refused(tmp_path: Path, profile: object) -> None:
    """The wheelhouse is unpacked into a folder of that name, before its signature is looked at."""
    member = {"path": "a", "size": 1, "sha256": hashlib.sha256(b"x").hexdigest()}
    value = {"format": 1, "profile": profile, "base": None, "program": "a", "members": [member]}
    with pytest.raises(BundleError, match=r"INDEX\.json of b\.tar is damaged"):
        open_bundle(hostile(value, tmp_path / "b.tar"))


def test_a_size_that_is_no_number_is_refused(tmp_path: Path) -> None:
    member = {"path": "a", "size": True, "sha256": hashlib.sha256(b"x").hexdigest()}
    value = {"format": 1, "profile": "cpu", "base": None, "program": "a", "members": [member]}
    with pytest.raises(BundleError, match=r"INDEX\.json of b\.tar is damaged"):
        open_bundle(hostile(value, tmp_path / "b.tar"))


def test_a_name_that_is_no_utf_8_is_told_before_anything_is_written(tmp_path: Path) -> None:
    content = files(tmp_path / "files")
    content["checkout/recipes/a\udcff"] = content["checkout/upstream.lock"]
    with pytest.raises(UsageError, match="no UTF-8"):
        index_of("cpu", content, "wheelhouse/forkhouse.pyz")


@pytest.mark.parametrize("name", ["b.100", "b.002", "b.001", "2026.123", "a\nb.100"])
def test_a_whole_bundle_may_have_a_name_like_a_part_s(tmp_path: Path, name: str) -> None:
    path, _ = made(tmp_path, name)
    assert is_bundle(path)
    assert verify_bundle(open_bundle(path)) == 7


def test_a_name_of_several_lines_is_split_and_read_again(tmp_path: Path) -> None:
    content = files(tmp_path / "files")
    index = index_of("cpu", content, "wheelhouse/forkhouse.pyz")
    parts = write_bundle(index, Files(content), tmp_path / "a\nb.tar", split=1_000_000)
    assert len(parts) == 4
    assert [verify_bundle(open_bundle(part)) for part in parts] == [7] * 4
