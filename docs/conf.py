"""How Sphinx builds the site.

`nox -s docs` builds it into build/docs, and takes each warning for an error.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from docs.generate.pages import fill
from forkhouse import __version__

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "Forkhouse"
author = "The authors of Forkhouse"
version = release = __version__
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["generate"]
nitpicky = True
html_theme = "furo"
html_title = f"Forkhouse {release}"
html_extra_path = ["edit.schema.json"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]
# A language that Pygments does not know is shown as it is; a block in one that it knows has to be
# right.
highlight_language = "text"
linkcheck_anchors = False


def generate(_app: Sphinx, _page: str, source: list[str]) -> None:
    """Put the generated parts into a page, before it is parsed."""
    source[0] = fill(source[0])


def setup(app: Sphinx) -> None:
    """Tell Sphinx of the above."""
    app.connect("source-read", generate)
