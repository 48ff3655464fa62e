"""Check a built site.

It loads nothing from a network host, and every link within it leads somewhere.

`python -m docs.generate.offline FOLDER`. Sphinx checks the references that it made; this reads what
a browser will.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_IN_CSS = re.compile(r"""(?:url\(\s*|@import\s+)["']?((?:https?:)?//[^"')\s]+)""")


@dataclass
class Page:
    """What one page names."""

    loads: set[str] = field(default_factory=set)
    """Addresses that a browser fetches to show it."""
    links: set[str] = field(default_factory=set)
    anchors: set[str] = field(default_factory=set)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = Page()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.page.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.page.links.add(given["href"])
        elif tag == "link" and "href" in given:
            self.page.loads.add(given["href"])
        elif "src" in given:
            self.page.loads.add(given["src"])
        self.page.loads |= set(_IN_CSS.findall(given.get("style", "")))


def read(file: Path) -> Page:
    """Return what a page names."""
    reader = _Reader()
    reader.feed(file.read_text(encoding="utf-8"))
    return reader.page


def problems(folder: Path) -> list[str]:
    """Return what is wrong with a built site, one line for each fault."""
    pages = {file: read(file) for file in sorted(folder.rglob("*.html"))}
    found = [
        f"{file}: {fault}" for file, page in pages.items() for fault in _faults(file, page, pages)
    ]
    for sheet in sorted(folder.rglob("*.css")):
        hosts = _IN_CSS.findall(sheet.read_text(encoding="utf-8"))
        found += [f"{sheet}: loads {address} from a network host" for address in hosts]
    return found if pages else [f"{folder}: there is no page in it"]


def _faults(file: Path, page: Page, pages: dict[Path, Page]) -> list[str]:
    remote = [each for each in page.loads if urlsplit(each).netloc]
    dead = [each for each in page.links | page.loads if _is_dead(file, each, pages)]
    loaded = [f"loads {each} from a network host" for each in sorted(remote)]
    return [*loaded, *(f"{each} leads nowhere" for each in sorted(dead))]


def _is_dead(file: Path, address: str, pages: dict[Path, Page]) -> bool:
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return False
    place = (file.parent / unquote(parts.path)).resolve() if parts.path else file
    if not place.is_file():
        return True
    known = pages.get(place)
    # An empty fragment is the top of a page.
    return (
        known is not None and bool(parts.fragment) and unquote(parts.fragment) not in known.anchors
    )


if __name__ == "__main__":
    faults = problems(Path(sys.argv[1]).resolve())
    sys.stderr.writelines(f"{fault}\n" for fault in faults)
    sys.exit(1 if faults else 0)
