"""`--strict-sources`.

Another version than the pinned one is refused at the start, in a dry run as well, and before
anything is fetched.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.somebody import git

if TYPE_CHECKING:
    from tests.flow.conftest import Checkout


@pytest.fixture
def spare(checkout: Checkout) -> Checkout:
    """A checkout whose transport has, beside its pinned commit, an older release on the index."""
    lock = (checkout.root / "upstream.lock").read_text(encoding="utf-8")
    older = (
        "    - kind: sdist\n      version: '1.9'\n      package: helper\n      file: "
        f"helper-1.9.tar.gz\n      sha256: {'a' * 64}\n"
    )
    indent = lock[: lock.index("- kind: git")].rpartition("\n")[2]
    where = lock.index("  engine:\n")
    older = "".join(f"{indent}{line[4:]}\n" for line in older.splitlines())
    (checkout.root / "upstream.lock").write_text(
        lock[:where] + older + lock[where:], encoding="utf-8"
    )
    checkout.edit(
        "recipes/transport/recipe.yaml",
        "{git: {kind: pep517}}",
        "{git: {kind: pep517}, sdist: {kind: pep517}}",
    )
    return checkout


@pytest.mark.parametrize("options", [("--dry-run",), ()])
def test_it_is_refused_before_anything_is_fetched(
    spare: Checkout, options: tuple[str, ...]
) -> None:
    shutil.rmtree(spare.upstream)
    said = spare.run("build", "--strict-sources", *options, code=11).stderr
    assert "- transport 2.0: git " in said
    assert "did not answer" in said
    assert "sdist helper-1.9.tar.gz: another version" in said
    assert "NOT from" not in said
    assert "third-party" not in said
    assert not (spare.root / "wheels/cpu").exists()


def test_a_policy_that_leaves_the_other_version_alone_is_refused(spare: Checkout) -> None:
    said = spare.run(
        "build", "--strict-sources", "--sources", "registry", "--dry-run", code=11
    ).stderr
    assert "--sources registry; sdist helper-1.9.tar.gz: another version" in said


def test_without_it_the_other_version_is_what_is_tried(spare: Checkout) -> None:
    shutil.rmtree(spare.upstream)
    assert "Going on with the next source of the lock" in spare.run("build", code=11).stderr


def test_the_pinned_version_is_built_where_its_host_answers(spare: Checkout) -> None:
    spare.run("build", "--strict-sources", "--dry-run")
    assert spare.build("--strict-sources")["fallbacks"] == []


@pytest.mark.parametrize("kept", ["build", "cache"])
def test_what_was_fetched_needs_no_host(spare: Checkout, kept: str) -> None:
    spare.run("build")
    shutil.rmtree(spare.upstream)
    shutil.rmtree(spare.cache / "mirrors" if kept == "build" else spare.root / "build")
    spare.run("build", "--strict-sources", "--dry-run")
    spare.run("build", "--strict-sources", "--dry-run", "--offline")


def test_a_tag_that_moved_is_told_at_the_start(spare: Checkout) -> None:
    spare.commit(transport_dot_c="int vendor(void) {\n    return 3;\n}\n")
    git(spare.upstream, "tag", "--force", "v2.0")
    assert (
        "tag v2.0 points at" in spare.run("build", "--strict-sources", "--dry-run", code=13).stderr
    )
