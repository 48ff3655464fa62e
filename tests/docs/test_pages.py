"""The site shows all that it generates, and what is written by hand names all that the code
knows.
"""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from docs.generate.codes import classes
from docs.generate.documents import document, nested
from docs.generate.documents import fields as keys
from docs.generate.offline import problems
from docs.generate.pages import fill, make, parts
from docs.generate.series import PATCHES, upstreams
from forkhouse.audit.policy import Common, Own
from forkhouse.core.errors import ForkhouseError
from forkhouse.documents.config import Config
from forkhouse.documents.lockfile import Lock
from forkhouse.documents.pins import Missing
from forkhouse.documents.recipe import Recipe
from forkhouse.patches.edits import StructuralEdit
from forkhouse.patches.series import read_series
from forkhouse.serving.deployment import Deployment

if TYPE_CHECKING:
    from forkhouse.documents.reading import Document

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
ROOTS = (Lock, Recipe, StructuralEdit, Config, Common, Own, Deployment)


def test_every_generated_part_is_on_one_page() -> None:
    asked = [
        name
        for page in PAGES
        for name in re.findall(
            r"^<!-- generated: (.+?) -->$", page.read_text(encoding="utf-8"), re.MULTILINE
        )
    ]
    assert sorted(asked) == sorted(parts())


def test_a_part_that_nobody_makes_is_an_error() -> None:
    with pytest.raises(KeyError, match="what is not there"):
        fill("<!-- generated: what is not there -->\n")


def test_every_upstream_with_a_series_has_its_page() -> None:
    assert upstreams() == sorted(
        page.stem for page in (DOCS / "series").glob("*.md") if page.stem != "index"
    )


@pytest.mark.parametrize("upstream", upstreams())
def test_every_patch_says_what_why_and_when_it_goes(upstream: str) -> None:
    page = make(f"series of {upstream}")
    patches = read_series(PATCHES / upstream)
    assert re.findall(r"^## (\d{4}):", page, re.MULTILINE) == [patch.name[:4] for patch in patches]
    for said in ("file", "retired when", "origin", "forwarded", "its diff at the pin"):
        assert page.count(f"| **{said}** | ") == len(patches), said


@pytest.mark.parametrize("root", ROOTS, ids=lambda root: root.__name__)
def test_every_key_of_a_document_is_on_its_page_with_its_meaning(root: type[Document]) -> None:
    page = document(root)
    known = {info.alias or name for model in nested(root) for name, info in keys(model).items()}
    assert [key for key in sorted(known) if f"| `{key}` | " not in page] == []
    assert re.findall(r"^\| `([^`]+)` .*\|  \|$", page, re.MULTILINE) == [], (
        "keys without a docstring below them in the code"
    )


def test_every_exit_code_means_one_thing() -> None:
    codes = [each.exit_code for each in classes()]
    assert len(set(codes)) == len(codes)
    assert ForkhouseError.exit_code not in codes
    assert len(codes) > 20


def test_every_key_of_the_manifest_is_on_its_page() -> None:
    page = (DOCS / "reference/manifest.md").read_text(encoding="utf-8")
    tree = ast.parse((ROOT / "src/forkhouse/wheelhouse/manifest.py").read_text(encoding="utf-8"))
    known = {
        key.value
        for each in ast.walk(tree)
        if isinstance(each, ast.Dict)
        for key in each.keys
        if isinstance(key, ast.Constant)
    }
    known |= {field.name for field in fields(Missing)}
    assert len(known) > 20
    assert [key for key in sorted(map(str, known)) if f"`{key}`" not in page] == []


def test_every_environment_variable_is_on_its_page() -> None:
    page = (DOCS / "reference/configuration.md").read_text(encoding="utf-8")
    asked = r"""environ(?:\.get\(|\[)"([A-Z_]+)"|^(?:_VARIABLES?|CARRIED) = (\(?".+)$"""
    files = [*ROOT.glob("src/**/*.py"), *ROOT.glob("recipes/nixl/**/*.py")]
    found = [
        name
        for file in files
        for name in re.findall(asked, file.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    known = {
        name
        for groups in found
        for group in groups
        for name in re.findall(r"\b[A-Z][A-Z_]+\b", group)
    }
    assert {"FORKHOUSE_CACHE", "FORKHOUSE_CONFIG", "FORKHOUSE_NIXL_PACKAGE", "ROCM_PATH"} <= known
    assert [name for name in sorted(known) if f"`{name}`" not in page] == []


def test_links_between_documents_lead_somewhere() -> None:
    """Sphinx checks those of the site; these are the documents beside it, as a code host shows
    them.
    """
    dead = []
    for page in [*ROOT.glob("*.md"), *ROOT.glob("recipes/*/README.md"), *PAGES]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text(encoding="utf-8")):
            dead += (
                [] if (page.parent / target).exists() else [f"{page.relative_to(ROOT)}: {target}"]
            )
    assert dead == []


def test_a_site_that_needs_the_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "style.css").write_text('@import "https://fonts.example/a.css";', encoding="utf-8")
    page = (
        '<a href="#there" id="there"></a><a href="gone.html"></a><a href="#nowhere"></a><script '
        'src="https://host.example/a.js"></script>'
    )
    (tmp_path / "index.html").write_text(
        page + '<a href="https://example.org"></a><link href="style.css">', encoding="utf-8"
    )
    found = "\n".join(problems(tmp_path))
    assert found.count("\n") == 3
    for fault in (
        "loads https://host.example/a.js",
        "gone.html leads nowhere",
        "#nowhere leads nowhere",
        "loads https://fonts.example/a.css",
    ):
        assert fault in found


def test_a_folder_without_pages_is_no_site(tmp_path: Path) -> None:
    assert len(problems(tmp_path)) == 1
