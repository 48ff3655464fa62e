"""The files that let other tools read a wheelhouse.

Simple index (PEP 503), requirements, checksums.
"""

from __future__ import annotations

import html
import itertools
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkhouse.documents.pins import PinnedWheel


def _page(title: str, links: Sequence[tuple[str, str]]) -> str:
    rows = "\n".join(
        f'    <a href="{html.escape(href)}">{html.escape(text)}</a><br>' for href, text in links
    )
    return (
        "<!DOCTYPE html>\n<html>\n  <head>\n"
        '    <meta name="pypi:repository-version" content="1.0">\n'
        f"    <title>{html.escape(title)}</title>\n  </head>\n  <body>\n{rows}\n  "
        "</body>\n</html>\n"
    )


def _address(wheel: PinnedWheel, folder: str = "") -> str:
    """Return the relative address of a wheel.

    Object stores read a bare `+` as a blank, so all but unreserved characters are encoded.
    """
    return folder + quote(wheel.file, safe="")


def index_files(wheels: Sequence[PinnedWheel]) -> dict[str, str]:
    """Return the index by path.

    `index.html` (flat, for --find-links), and PEP 503 pages below `simple/`. The JSON of PEP 691 is
    left out: a client has to ask for it by a header, which a server of files does not heed.

    Addresses are percent-encoded (RFC 3986), names are not.
    """
    projects = {
        name: list(group)
        for name, group in itertools.groupby(sorted(wheels), key=lambda wheel: wheel.name)
    }
    files = {
        "index.html": _page(
            "Wheelhouse",
            [(f"{_address(wheel)}#sha256={wheel.sha256}", wheel.file) for wheel in sorted(wheels)],
        ),
        "simple/index.html": _page("Simple index", [(f"{name}/", name) for name in projects]),
    }
    for name, members in projects.items():
        links = [
            (f"{_address(wheel, '../../')}#sha256={wheel.sha256}", wheel.file) for wheel in members
        ]
        files[f"simple/{name}/index.html"] = _page(name, links)
    return files


def requirements_text(wheels: Sequence[PinnedWheel]) -> str:
    """Return a requirements file with the version and hash of every wheel, for pip since 8.0."""
    return "".join(
        f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n" for wheel in sorted(wheels)
    )


def checksums_text(digests: dict[str, str]) -> str:
    """Return the content of SHA256SUMS (as `sha256sum --check` reads it) for sha256 by path."""
    return "".join(f"{sha256}  {path}\n" for path, sha256 in sorted(digests.items()))
