"""Read an OCI archive with tar and gzip alone."""

from __future__ import annotations

import hashlib
import json
import subprocess
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def unpacked(archive: Path, folder: Path) -> tuple[dict[str, Any], dict[str, Any], Path]:
    """Unpack an archive; return its manifest, its configuration and its files.

    Each digest is held against what is there.
    """
    layout, root = folder / "layout", folder / "files"
    for place in (layout, root):
        place.mkdir(parents=True)
    subprocess.run(["tar", "-xf", archive, "-C", layout], check=True)
    index = json.loads((layout / "index.json").read_bytes())

    def blob(digest: str) -> Path:
        path = layout / "blobs" / digest.replace(":", "/")
        with path.open("rb") as stream:
            assert hashlib.file_digest(stream, "sha256").hexdigest() == path.name
        return path

    manifest = json.loads(blob(index["manifests"][0]["digest"]).read_bytes())
    config = json.loads(blob(manifest["config"]["digest"]).read_bytes())
    for layer, diff_id in zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True):
        path = blob(layer["digest"])
        assert path.stat().st_size == layer["size"]
        with subprocess.Popen(["gzip", "-dc", path], stdout=subprocess.PIPE) as plain:
            assert plain.stdout is not None
            digest = hashlib.sha256()
            with subprocess.Popen(["tar", "-x", "-C", root], stdin=subprocess.PIPE) as target:
                assert target.stdin is not None
                while piece := plain.stdout.read(2**20):
                    digest.update(piece)
                    target.stdin.write(piece)
        assert (plain.returncode, target.returncode) == (0, 0)
        assert f"sha256:{digest.hexdigest()}" == diff_id
    return manifest, config, root


def variables(config: dict[str, Any]) -> dict[str, str]:
    """Return the environment that an image gives its processes."""
    return dict(each.split("=", 1) for each in config["config"]["Env"])
