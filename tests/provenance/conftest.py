"""A small checkout that is built once, with a patch that names a fault, and terms at its
upstreams.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.flow.conftest import Checkout, make_template
from tests.somebody import git

if TYPE_CHECKING:
    from pathlib import Path

LICENCE = "Anybody may do anything with this.\n"
BUG = "Bug: CVE-2024-12345 https://bugs.example.org/7\n"


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout with its wheelhouse, which nobody may change."""
    folder = tmp_path_factory.mktemp("provenance")
    return build(folder)


def build(folder: Path) -> Checkout:
    """Make a checkout below a folder, and build its wheelhouse."""
    checkout = make_template(folder)
    commit = checkout.commit(LICENSE=LICENCE)
    old = git(checkout.upstream, "rev-parse", "HEAD~1")
    git(checkout.upstream, "tag", "--force", "v2.0")
    checkout.edit("upstream.lock", old, commit)
    lines = (checkout.root / "upstream.lock").read_text(encoding="utf-8").splitlines(keepends=True)
    text = "".join(line for line in lines if "tree:" not in line)
    (checkout.root / "upstream.lock").write_text(text, encoding="utf-8")
    edit = "patches/transport/0001-answer-for-amd.edit.yaml"
    checkout.edit(edit, "Retire-When", f"{BUG}Retire-When")
    checkout.edit(edit, "Origin: vendor, Forkhouse", "Origin: backport, the next release")
    checkout.build()
    return checkout


@pytest.fixture
def house(built: Checkout, tmp_path: Path) -> Checkout:
    """A copy of the built checkout and its index, to be changed; the upstream is the same."""
    root, index = tmp_path / "checkout", tmp_path / "index"
    shutil.copytree(built.root, root)
    shutil.copytree(built.index, index)
    return Checkout(root=root, index=index, upstream=built.upstream, cache=tmp_path / "cache")
