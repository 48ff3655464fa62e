"""Layers, well-meant and hostile, laid out in a folder."""

from __future__ import annotations

import gzip
import hashlib
import io
import subprocess
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from forkhouse.core.budgets import ArchiveLimits
from forkhouse.core.digests import sha256_file
from forkhouse.core.errors import ImageError, UnsafeArchiveError
from forkhouse.image.layers import Blob, Layer, LayerEntry, write_layer
from forkhouse.image.unpacking import unpack_layers

if TYPE_CHECKING:
    from pathlib import Path


def layer(folder: Path, *members: tuple[str, str | bytes | None]) -> Layer:
    """Make a layer of files (bytes), links (text) and folders (None), as tarfile writes them."""
    path = folder / f"layer-{len(list(folder.iterdir()))}"
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if content is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                info.type = tarfile.LNKTYPE if content.startswith("=") else tarfile.SYMTYPE
                info.linkname = content.removeprefix("=")
            data = content if isinstance(content, bytes) else b""
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    blob = Blob(path=path, sha256=sha256_file(path), size=path.stat().st_size)
    kind = "application/vnd.oci.image.layer.v1.tar"
    return Layer(what="a layer", blob=blob, diff_id=f"sha256:{sha256_file(path)}", media_type=kind)


def laid_out(folder: Path, *layers: Layer) -> Path:
    root = folder / "inner/root"
    root.mkdir(parents=True)
    unpack_layers(layers, root)
    return root


def test_a_layer_takes_away_what_lies_below(tmp_path: Path) -> None:
    below = layer(tmp_path, ("a/one", b"1"), ("a/two", b"2"), ("b/three", b"3"), ("c", b"4"))
    above = layer(tmp_path, ("a/.wh.one", b""), ("b/.wh..wh..opq", b""), ("b/five", b"5"))
    root = laid_out(
        tmp_path, below, above, layer(tmp_path, ("c", None), ("c/six", b""), ("d", "=a/two"))
    )
    there = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    assert there == ["a/two", "b/five", "c/six", "d"]


def test_links_are_followed_as_in_the_container(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    links = layer(
        tmp_path,
        ("usr/lib", None),
        ("lib", "usr/lib"),
        ("absolute", "/usr/lib"),
        ("up", "../../../../usr/lib"),
        ("there", str(outside)),
    )
    files = [(f"{name}/{name}.so", b"x") for name in ("lib", "absolute", "up", "there")]
    root = laid_out(tmp_path, links, layer(tmp_path, *files))
    assert sorted(path.name for path in (root / "usr/lib").iterdir()) == [
        "absolute.so",
        "lib.so",
        "up.so",
    ]
    assert list(outside.iterdir()) == []
    assert (root / str(outside)[1:] / "there.so").read_bytes() == b"x"


@pytest.mark.parametrize("name", ["../out", "/etc/out", "a/../../out", ".wh...", "a/.wh..", ".wh."])
def test_what_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/kept").touch()
    with pytest.raises(UnsafeArchiveError, match="leads out of the image"):
        laid_out(tmp_path, layer(tmp_path, ("a/b", b""), (name, b"")))
    assert (tmp_path / "inner/kept").exists()
    assert not (tmp_path / "inner/out").exists()


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        (ArchiveLimits(members=2), "more than 2 members"),
        (ArchiveLimits(total=30_000), "more than 30,000 bytes"),
        (ArchiveLimits(ratio=5, free=1000), "more than 5 times its size"),
    ],
)
def test_a_base_without_measure_is_refused(tmp_path: Path, limits: ArchiveLimits, why: str) -> None:
    plain = layer(tmp_path, ("one", bytes(9000)), ("two", bytes(9000)), ("three", bytes(9000)))
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress(plain.blob.path.read_bytes()))
    blob = Blob(path=packed, sha256=sha256_file(packed), size=packed.stat().st_size)
    small = replace(plain, blob=blob, media_type=f"{plain.media_type}+gzip")
    with pytest.raises(UnsafeArchiveError, match=why):
        unpack_layers([small, small], tmp_path / "root", limits=limits)
    unpack_layers([small, small], tmp_path / "root", limits=ArchiveLimits())


def test_links_without_end_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsafeArchiveError, match="without end"):
        laid_out(tmp_path, layer(tmp_path, ("a", "b"), ("b", "a"), ("a/c", b"")))


def test_a_layer_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    cut = layer(tmp_path, ("a", bytes(5000)))
    cut.blob.path.write_bytes(cut.blob.path.read_bytes()[:2000])
    with pytest.raises(ImageError, match="is damaged"):
        laid_out(tmp_path, cut)


def test_tar_reads_what_is_written(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "file").write_bytes(b"far")
    long = "deep/" * 60 + "ünï"
    entries = {
        long: LayerEntry(content=tmp_path / "file"),
        "run": LayerEntry(content=b"#!", mode=0o755),
        "link": LayerEntry(link="run", mode=0o777),
        "state": LayerEntry(mode=0o750, owner=7),
    }
    made = write_layer("all", entries, tmp_path / "blobs", time=1_000_000_000)
    again = write_layer("all", dict(reversed(entries.items())), tmp_path / "blobs", time=10**9)
    assert made == again
    command = ["tar", "--utc", "--full-time", "--numeric-owner", "-tvzf", str(made.blob.path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert "-rwxr-xr-x 0/0 2 2001-09-09 01:46:40 run" in [" ".join(each.split()) for each in said]
    assert "drwxr-x--- 7/7 0 2001-09-09 01:46:40 state/" in [
        " ".join(each.split()) for each in said
    ]
    subprocess.run(["tar", "-xzf", made.blob.path, "-C", tmp_path], check=True)
    assert (tmp_path / long).read_bytes() == b"far"


def packed(folder: Path, plain: Layer, *pieces: bytes) -> Layer:
    """Return a layer whose compressed bytes are given."""
    path = folder / f"packed-{len(list(folder.iterdir()))}"
    path.write_bytes(b"".join(pieces))
    blob = Blob(path=path, sha256=sha256_file(path), size=path.stat().st_size)
    kind = "application/vnd.oci.image.layer.v1.tar+gzip"
    return replace(plain, blob=blob, media_type=kind)


@pytest.mark.parametrize("at", [0, 1, 512, 700, 1024, 2048])
def test_a_layer_of_several_gzip_members_is_laid_out_whole(tmp_path: Path, at: int) -> None:
    """Tools that compress in parallel, or let files be read by themselves, write such layers."""
    plain = layer(tmp_path, ("a", b"1" * 600), ("b", b"2"))
    content = plain.blob.path.read_bytes()
    parts = [gzip.compress(content[:at]), gzip.compress(content[at:])]
    root = laid_out(tmp_path, packed(tmp_path, plain, *parts))
    assert (root / "b").read_bytes() == b"2"


@pytest.mark.parametrize("damage", ["sum", "size", "behind", "cut", "digest", "more"])
def test_damage_anywhere_in_a_layer_is_told(tmp_path: Path, damage: str) -> None:
    plain = layer(tmp_path, ("a", b"1" * 600))
    content = plain.blob.path.read_bytes()
    whole = gzip.compress(content)
    pieces = {
        "sum": [whole[:-8], b"\0\0\0\0", whole[-4:]],
        "size": [whole[:-4], b"\0\0\0\0"],
        "behind": [whole, b"behind"],
        "cut": [whole[:-9]],
        "digest": [whole],
        "more": [whole, gzip.compress(b"behind the end of the archive")],
    }
    found = packed(tmp_path, plain, *pieces[damage])
    if damage == "digest":
        found = replace(found, diff_id=f"sha256:{hashlib.sha256(b'').hexdigest()}")
    with pytest.raises(ImageError, match="is damaged"):
        laid_out(tmp_path, found)


@pytest.mark.parametrize("first", [True, False])
def test_what_takes_away_takes_nothing_of_its_own_layer(tmp_path: Path, *, first: bool) -> None:
    below = layer(
        tmp_path, ("d/old", b"1"), ("d/deep/old", b"1"), ("e/old", b"1"), ("f", b"1"), ("g", b"1")
    )
    gone: list[tuple[str, bytes]] = [("d/.wh..wh..opq", b""), (".wh.e", b""), (".wh.f", b"")]
    new = [("d/new", b"2"), ("d/deep/new", b"2"), ("e/new", b"2"), ("f", b"2")]
    root = laid_out(tmp_path, below, layer(tmp_path, *(gone + new if first else new + gone)))
    there = {str(each.relative_to(root)) for each in root.rglob("*") if each.is_file()}
    assert there == {"d/new", "d/deep/new", "e/new", "f", "g"}
    assert (root / "f").read_bytes() == b"2"


def test_a_link_may_have_two_names(tmp_path: Path) -> None:
    root = laid_out(tmp_path, layer(tmp_path, ("l", "/nowhere"), ("m", "=l"), ("n", "=/m")))
    assert [str((root / each).readlink()) for each in "lmn"] == ["/nowhere"] * 3


@pytest.mark.parametrize("name", ["nothing", "folder", "itself", "..", "/", "a/.."])
def test_a_hard_link_to_what_is_no_file_is_told(tmp_path: Path, name: str) -> None:
    found = layer(tmp_path, ("folder", None), ("itself", f"={name}"))
    with pytest.raises(ImageError, match="there is no file"):
        laid_out(tmp_path, found)


def test_a_file_below_a_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="lies below what is no folder"):
        laid_out(tmp_path, layer(tmp_path, ("a", b""), ("a/b/c", b"")))
