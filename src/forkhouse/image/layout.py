"""Write and read OCI archives: a tar archive of an image layout (OCI image specification 1.1).

A layout is three kinds of JSON beside the layers, and these are ours to cut: so this is our own,
and smaller than what else there is in Debian. `umoci` (6 MB) makes layers of the differences
between folders and takes no layer as it is; `buildah` (20 MB, and what it depends on) wants
storage, user ids below one's own and a configuration. Both date what they write. Every reader of
such archives knows the form; the tests ask `skopeo`.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from forkhouse.core.budgets import DAMAGE
from forkhouse.core.errors import ImageError
from forkhouse.core.progress import report
from forkhouse.core.storage import storage_errors, sync_folder
from forkhouse.image.layers import GZIP, Blob, Layer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
READABLE = {
    "application/vnd.oci.image.layer.v1.tar": False,
    GZIP: True,
    "application/vnd.docker.image.rootfs.diff.tar.gzip": True,
}
"""The kinds of layers that can be unpacked here, and whether they are compressed."""
_LARGEST_JSON = 4 * 2**20
"""Bytes; readers of images have the same limit."""
_CHUNK = 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """An image: its layers from below, and how it is run."""

    architecture: str
    """In the words of the specification, which are those of Go: amd64, arm64."""
    layers: tuple[Layer, ...]
    settings: Mapping[str, Any]
    """`config` of its configuration: user, variables, command."""
    annotations: Mapping[str, str]
    created: str
    """As RFC 3339 writes a moment."""
    name: str = ""
    """What a reader calls it (`org.opencontainers.image.ref.name`)."""


def write_archive(image: Image, target: Path) -> str:
    """Write an image as an OCI archive, and return the digest of its manifest, as `sha256:…`.

    A target that exists is replaced once the new one is whole. Raises StorageError.
    """
    config = _json(
        {
            "created": image.created,
            "architecture": image.architecture,
            "os": "linux",
            "config": dict(image.settings),
            "rootfs": {"type": "layers", "diff_ids": [each.diff_id for each in image.layers]},
            "history": [
                {"created": image.created, "created_by": f"forkhouse image: {each.what}"}
                for each in image.layers
            ],
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": _described(CONFIG, config),
            "layers": [
                {
                    "mediaType": each.media_type,
                    "digest": f"sha256:{each.blob.sha256}",
                    "size": each.blob.size,
                }
                for each in image.layers
            ],
            "annotations": dict(image.annotations),
        }
    )
    named = {"org.opencontainers.image.ref.name": image.name}
    index = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [{**_described(MANIFEST, manifest), "annotations": named}],
    }
    small = {
        "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
        "index.json": _json(index),
        **{f"blobs/sha256/{_sha256(each)}": each for each in (config, manifest)},
    }
    _write(small, {each.blob.sha256: each.blob for each in image.layers}, target)
    return f"sha256:{_sha256(manifest)}"


def _write(small: Mapping[str, bytes], blobs: Mapping[str, Blob], target: Path) -> None:
    unfinished = target.with_name(f".{target.name}.unfinished")
    with storage_errors(f"Writing {target.name}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        with (
            report().task(f"write {target.name}", total=len(small) + len(blobs)) as task,
            unfinished.open("wb") as stream,
            tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive,
        ):
            for name, content in small.items():
                archive.addfile(_info(name, len(content)), io.BytesIO(content))
                task.advance(1)
            for sha256, blob in sorted(blobs.items()):
                with blob.path.open("rb") as content_of:
                    archive.addfile(_info(f"blobs/sha256/{sha256}", blob.size), content_of)
                task.advance(1)
        unfinished.replace(target)
        sync_folder(target.parent)


def _info(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    return info


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _described(media_type: str, content: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": f"sha256:{_sha256(content)}", "size": len(content)}


def read_archive(path: Path, folder: Path) -> Image:
    """Read an image from an OCI archive, its layers checked and written into a folder of blobs.

    Raises ImageError for what is no such archive, is damaged, holds other than one image, or has
    layers of a kind that cannot be unpacked here.
    """
    try:
        with storage_errors(f"Unpacking {path.name}"):
            return _read(path, folder)
    except ImageError:
        raise
    except (*DAMAGE, RecursionError) as error:
        raise _unreadable(path, f"{type(error).__name__}: {error}") from error


def _read(path: Path, folder: Path) -> Image:
    with tarfile.open(path, "r:") as archive:
        blobs = _Blobs(path, archive, folder)
        manifests = json.loads(blobs.small("index.json"))["manifests"]
        if len(manifests) != 1 or manifests[0].get("mediaType", MANIFEST) != MANIFEST:
            raise _unreadable(path, "it has to hold one image, for one architecture")
        manifest = json.loads(blobs.json(manifests[0]["digest"]))
        config = json.loads(blobs.json(manifest["config"]["digest"]))
        diff_ids = config["rootfs"]["diff_ids"]
        if config.get("os") != "linux" or len(diff_ids) != len(manifest["layers"]):
            raise _unreadable(path, "it is no image for Linux with a digest for each layer")
        layers = []
        for number, (diff_id, each) in enumerate(zip(diff_ids, manifest["layers"], strict=True)):
            if each["mediaType"] not in READABLE:
                raise _unreadable(
                    path,
                    f"a layer is {each['mediaType']}; copy it with `skopeo copy --format oci "
                    "--dest-compress-format gzip`",
                )
            layers.append(
                Layer(
                    what=f"layer {number + 1} of the base",
                    blob=blobs.kept(each["digest"]),
                    diff_id=str(diff_id),
                    media_type=str(each["mediaType"]),
                )
            )
        return Image(
            architecture=str(config["architecture"]),
            layers=tuple(layers),
            settings=dict(config.get("config") or {}),
            annotations={"org.opencontainers.image.base.digest": str(manifests[0]["digest"])},
            created=str(config.get("created", "")),
        )


class _Blobs:
    """The blobs of an archive, each checked against its digest."""

    def __init__(self, path: Path, archive: tarfile.TarFile, folder: Path) -> None:
        self._path, self._archive, self._folder = path, archive, folder
        self._members = {each.name.removeprefix("./"): each for each in archive if each.isreg()}

    def small(self, name: str) -> bytes:
        """Return a member of JSON."""
        member = self._members.get(name)
        if member is None or member.size > _LARGEST_JSON:
            raise _unreadable(self._path, f"{name} is missing, or too large")
        return self._opened(member).read()

    def json(self, digest: str) -> bytes:
        """Return a blob of JSON."""
        content = self.small(f"blobs/sha256/{self._name(digest)}")
        if _sha256(content) != self._name(digest):
            raise _unreadable(self._path, f"{digest} is damaged")
        return content

    def kept(self, digest: str) -> Blob:
        """Return a blob, written into the folder."""
        name = self._name(digest)
        member = self._members.get(f"blobs/sha256/{name}")
        if member is None:
            raise _unreadable(self._path, f"{digest} is missing")
        found = hashlib.sha256()
        with (self._folder / name).open("wb") as target:
            stream = self._opened(member)
            while piece := stream.read(_CHUNK):
                found.update(piece)
                target.write(piece)
        if found.hexdigest() != name:
            raise _unreadable(self._path, f"{digest} is damaged")
        return Blob(path=self._folder / name, sha256=name, size=member.size)

    def _opened(self, member: tarfile.TarInfo) -> IO[bytes]:
        stream = self._archive.extractfile(member)
        assert stream is not None  # it is a file
        return stream

    def _name(self, digest: str) -> str:
        kind, _, name = digest.partition(":")
        if kind != "sha256" or not re.fullmatch(r"[0-9a-f]{64}", name):
            raise _unreadable(self._path, f"{digest!r} is no sha256")
        return name


def _unreadable(path: Path, why: str) -> ImageError:
    return ImageError(
        f"{path.name} cannot be a base: {why}. Give an OCI archive of one image, as `skopeo copy "
        "docker://NAME oci-archive:FILE` writes it."
    )
