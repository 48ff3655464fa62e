"""Make the image of a wheelhouse: base, third-party wheels, our wheels, configuration."""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from forkhouse.core.digests import sha256_file
from forkhouse.core.errors import ClosureError, UsageError
from forkhouse.core.storage import storage_errors
from forkhouse.image.base import ARCHITECTURES, debian_base
from forkhouse.image.entrypoints import configuration, settings, variables
from forkhouse.image.installing import PREFIX, check_machine, install_into
from forkhouse.image.layers import Layer, LayerEntry, write_layer
from forkhouse.image.layout import Image, read_archive, write_archive
from forkhouse.image.unpacking import inside, unpack_layers
from forkhouse.provenance.attestation import ENVELOPE, STATEMENT
from forkhouse.provenance.contents import SBOM, SPDX
from forkhouse.serving.kernelcache import kernel_variables
from forkhouse.serving.launching import CPU, MI210
from forkhouse.wheelhouse.contents import NAME as MANIFEST
from forkhouse.wheelhouse.contents import read_contents
from forkhouse.wheelhouse.verifying import CHECKSUMS, verify

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DOCUMENTS = "usr/share/forkhouse"
"""Where the image has the papers of its wheelhouse."""
_PAPERS = (MANIFEST, CHECKSUMS, "pylock.toml", "requirements.txt", SBOM, SPDX, STATEMENT, ENVELOPE)
_EARLIEST = 315_532_800
"""1980, in seconds since 1970: the first moment that a wheel can name."""
_LABEL = "forkhouse"
_STANDARD = "org.opencontainers.image"


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """An image that was written."""

    digest: str
    """Of its manifest, as `sha256:…`."""
    layers: tuple[Layer, ...]


def make_image(wheelhouse: Path, target: Path, scratch: Path, base: Path | None = None) -> Made:
    """Write the image of a wheelhouse as an OCI archive.

    `scratch` is an empty folder with room for twice the wheels unpacked. `base` is an OCI archive
    to build on, in place of a small Debian. Equal wheelhouses on equal bases give equal bytes.

    Raises ClosureError and HashMismatchError where the wheelhouse is not as it was built,
    UsageError for a SOURCE_DATE_EPOCH that is none, and as `debian_base`, `read_archive`,
    `unpack_layers` and `install_into`.
    """
    verify(wheelhouse)
    contents = read_contents(wheelhouse)
    if contents.missing:
        names = ", ".join(f"{each.name} {each.wanted}" for each in contents.missing)
        message = (
            f"The wheelhouse {wheelhouse.name} is without {names}, so an image of it would not "
            "run. `forkhouse list` says how to have them."
        )
        raise ClosureError(message)
    manifest = json.loads((wheelhouse / MANIFEST).read_text(encoding="utf-8"))
    time = _time(wheelhouse, [each.file for each in contents.wheels if each.built])
    blobs, root = scratch / "blobs", scratch / "root"
    with storage_errors("Making the image"):
        blobs.mkdir()
        root.mkdir()
    below = _base(manifest["machine"], base, blobs, time)
    unpack_layers(below.layers, root)
    accounts = [_text(root, f"etc/{name}") for name in ("passwd", "group")]
    installed = install_into(
        wheelhouse, root, [each.name for each in contents.wheels if each.built]
    )
    device = MI210 if any(each.get("kernels") for each in manifest["wheels"]) else CPU
    papers = {
        f"{DOCUMENTS}/{name}": LayerEntry(content=wheelhouse / name)
        for name in _PAPERS
        if (wheelhouse / name).is_file()
    }
    parts = {
        "third-party wheels": installed.third_party,
        "libraries of our wheels": installed.libraries,
        "our wheels": {**installed.ours, **papers},
        "configuration": configuration(
            device, kernel_variables(inside(root, PREFIX) / "bin/python", device), *accounts
        ),
    }
    layers = [
        *below.layers,
        *(write_layer(what, files, blobs, time=time) for what, files in parts.items()),
    ]
    created = datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    labels = {
        **_labels(manifest, sha256_file(wheelhouse / CHECKSUMS)),
        f"{_STANDARD}.created": created,
        **below.annotations,
    }
    image = Image(
        architecture=below.architecture,
        layers=tuple(layers),
        settings=_settings(below.settings, labels),
        annotations=labels,
        created=created,
        name=f"{contents.profile}",
    )
    return Made(digest=write_archive(image, target), layers=tuple(layers))


def _base(machine: str, given: Path | None, blobs: Path, time: int) -> Image:
    if given is not None:
        below = read_archive(given, blobs)
        check_machine(below.architecture, machine, ARCHITECTURES)
        return below
    check_machine(ARCHITECTURES.get(machine, machine), machine, ARCHITECTURES)
    return debian_base(machine, blobs, time=time)


def _time(wheelhouse: Path, files: list[str]) -> int:
    """Return the time of all that is in the image, in seconds since 1970.

    SOURCE_DATE_EPOCH, or the newest that a wheel of ours names, which is that of its sources.
    """
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given is not None:
        if not given.isascii() or not given.isdigit() or len(given) > len(str(2**33)):
            message = f"SOURCE_DATE_EPOCH is {given!r}, and has to be seconds since 1970."
            raise UsageError(message)
        return int(given)
    newest = _EARLIEST
    for name in files:
        with zipfile.ZipFile(wheelhouse / name) as wheel:
            for member in wheel.infolist():
                moment = datetime(*member.date_time, tzinfo=UTC)
                newest = max(newest, int(moment.timestamp()))
    return newest


def _text(root: Path, name: str) -> str:
    path = inside(root, name)
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return text if text.endswith("\n") or not text else f"{text}\n"


def _labels(manifest: Mapping[str, Any], sums: str) -> dict[str, str]:
    built = [each for each in manifest["wheels"] if each["origin"] == "built"]
    pins = {each["name"]: each["source"] for each in built}
    patches = {each["upstream"]: each["patches"] for each in built}
    return {
        f"{_STANDARD}.title": f"forkhouse-{manifest['profile']}",
        f"{_LABEL}.wheelhouse.sha256": sums,
        f"{_LABEL}.pins": json.dumps(pins, sort_keys=True),
        f"{_LABEL}.patches": json.dumps(patches, sort_keys=True),
    }


def _settings(base: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, Any]:
    """Return how the image is run: as the base, but for what is ours."""
    variables_of = dict(each.partition("=")[::2] for each in base.get("Env") or ())
    variables_of |= variables()
    kept = {name: value for name, value in base.items() if name != "Entrypoint"}
    return {
        **kept,
        **settings(),
        "Env": [f"{name}={value}" for name, value in sorted(variables_of.items())],
        "Labels": {**(base.get("Labels") or {}), **labels},
    }
