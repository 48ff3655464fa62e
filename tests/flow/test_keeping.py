"""What the keeper of a series does.

The radar, explaining, exporting, refreshing, beginning and retiring patches.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.flow.conftest import Checkout

EDIT = "0001-answer-for-amd.edit.yaml"
C = "int vendor(void) {\n    return 1;\n}\n"


def verdicts(matrix: dict[str, Any]) -> list[str]:
    (patch,) = matrix["patches"]
    return [cell["verdict"] for cell in patch["verdicts"]]


@pytest.fixture
def mirror(checkout: Checkout, tmp_path: Path) -> Path:
    """A mirror of the transport's upstream with a history after the pin."""
    checkout.commit(readme="More words.\n")
    checkout.commit(transport_dot_c=f"/* one */\n/* two */\n/* three */\n/* four */\n{C}")
    checkout.commit(transport_dot_c=C.replace("void", "int unused"))
    checkout.commit(transport_dot_c=C.replace("return 1;", "return code();"))
    checkout.commit(transport_dot_c=C.replace("return 1;", "return 2;"))
    checkout.commit(transport_dot_c=None)
    folder = tmp_path / "mirror"
    folder.mkdir()
    subprocess.run(
        [
            "git",
            "clone",
            "--quiet",
            "--mirror",
            str(checkout.upstream),
            str(folder / "transport.git"),
        ],
        check=True,
    )
    subprocess.run(
        [
            "git",
            "-C",
            str(folder / "transport.git"),
            "config",
            "uploadpack.allowAnySHA1InWant",
            "true",
        ],
        check=True,
    )
    return folder


def test_the_radar_judges_every_commit_of_a_mirror(checkout: Checkout, mirror: Path) -> None:
    arguments = ("radar", "transport", "--mirror", str(mirror), "--after", "100", "--json")
    (matrix,) = json.loads(checkout.run(*arguments).stdout)
    # A text is edited wherever its anchor stands; the textual steps tell how far the upstream has
    # moved.
    assert verdicts(matrix) == [
        "clean",
        "clean",
        "merged",
        "restructured",
        "conflict",
        "upstreamed",
        "obsolete",
    ]
    labels = [candidate["label"] for candidate in matrix["candidates"]]
    assert labels[0] == "v2.0"
    assert matrix["patches"][0]["first-break"] == labels[4]
    assert matrix["patches"][0]["upstreamed-by"] == labels[5]
    page = (checkout.root / "build/radar.html").read_text(encoding="utf-8")
    assert page.count("<rect ") == 7
    assert "http" not in page.replace("http://www.w3.org", ""), "the page must be self-contained"
    (again,) = json.loads(checkout.run(*arguments).stdout)
    assert again == matrix


def test_the_radar_judges_releases_and_bumps_to_the_newest_whole_one(checkout: Checkout) -> None:
    checkout.release("1.1", "helper>=2", "only-for-cuda==9.1", "more")
    checkout.release("1.2", "helper>=2", "only-for-cuda==10")
    checkout.release("2.0", "helper>=2", "only-for-cuda[a]==10", "only-for-cuda[b]==10")
    (matrix,) = json.loads(checkout.run("radar", "engine", "--json").stdout)
    assert [candidate["label"] for candidate in matrix["candidates"]] == [
        "1.0",
        "1.1",
        "1.2",
        "2.0",
    ]
    assert verdicts(matrix) == ["clean", "restructured", "restructured", "conflict"]
    assert matrix["newest-whole"] == "1.2"
    checkout.run("radar", "--bump", "engine")
    assert "small_engine-1.2-py3-none-any.whl" in (checkout.root / "upstream.lock").read_text(
        encoding="utf-8"
    )
    assert checkout.build()["changed"] is True


def test_an_exported_series_is_what_git_am_applies(checkout: Checkout) -> None:
    checkout.run("patches", "export", "transport")
    first = {
        path.name: path.read_bytes()
        for path in (checkout.root / "build/export/transport").iterdir()
    }
    assert list(first) == ["0001-answer-for-amd.patch"]
    checkout.run("patches", "export", "transport")
    assert {
        path.name: path.read_bytes()
        for path in (checkout.root / "build/export/transport").iterdir()
    } == first
    identity = ["-c", "user.name=T", "-c", "user.email=t@localhost"]
    patch = checkout.root / "build/export/transport/0001-answer-for-amd.patch"
    subprocess.run(
        ["git", *identity, "am", "--quiet", str(patch)], cwd=checkout.upstream, check=True
    )
    tree = subprocess.run(
        ["git", "rev-parse", "HEAD^{tree}"],
        cwd=checkout.upstream,
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"patched-tree: {tree.stdout.strip()}" in (checkout.root / "upstream.lock").read_text(
        encoding="utf-8"
    )
    # Exported, and put in place of the edit, the series still gives the same tree.
    series = checkout.root / "patches/transport"
    (series / EDIT).unlink()
    shutil.copy(patch, series)
    (series / "series").write_text("0001-answer-for-amd.patch\n", encoding="utf-8")
    checkout.build()


def test_explain_shows_what_an_edit_changes(checkout: Checkout) -> None:
    said = checkout.run("patches", "explain", "transport", "0001").stdout
    assert "-    return 1;\n+    return 2;\n" in said
    checkout.run("patches", "explain", "transport", "0002", code=2)


def test_apply_lays_out_the_patched_tree(checkout: Checkout) -> None:
    checkout.run("patches", "apply", "transport")
    assert "return 2;" in (checkout.root / "build/patched/transport/transport.c").read_text(
        encoding="utf-8"
    )


def test_check_names_the_patch_in_conflict(checkout: Checkout) -> None:
    checkout.run("patches", "check")
    checkout.release("2.0", "helper>=2", "only-for-cuda[a]==10", "only-for-cuda[b]==10")
    result = checkout.run("patches", "check", "engine", "--on", "2.0", "--json", code=16)
    assert json.loads(result.stdout)[0]["verdict"] == "conflict"
    assert "In conflict: engine/0001-without-cuda.edit.yaml" in result.stderr


def test_a_tag_or_a_commit_of_a_mirror_is_checked_and_carried_to(
    checkout: Checkout, mirror: Path
) -> None:
    options = ("--mirror", str(mirror), "--json")
    git = ["git", "-C", str(mirror / "transport.git")]
    subprocess.run([*git, "tag", "v3.0", "main~4"], check=True)
    for revision, verdict in {
        "v3.0": "merged",
        "3.0": "merged",
        "main~3": "restructured",
        "main": "obsolete",
    }.items():
        (row,) = json.loads(
            checkout.run("patches", "check", "transport", "--on", revision, *options).stdout
        )
        assert (row["form"], row["verdict"]) == ("git", verdict), revision
    commit = subprocess.run(
        [*git, "rev-parse", "main~1"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert (
        json.loads(checkout.run("patches", "check", "transport", "--on", commit, *options).stdout)[
            0
        ]["verdict"]
        == "upstreamed"
    )
    assert (
        "has no tag v9 "
        in checkout.run("patches", "check", "transport", "--on", "v9", *options, code=2).stderr
    )
    result = checkout.run(
        "patches",
        "refresh",
        "transport",
        "--on",
        "main~2",
        "--dry-run",
        "--mirror",
        str(mirror),
        code=16,
    )
    assert "without --dry-run, the files" in result.stderr
    assert not (checkout.root / "build/conflicts").exists()


def test_a_mirror_without_one_repository_ends_nothing_but_that_one(
    checkout: Checkout, mirror: Path
) -> None:
    (mirror / "transport.git").rename(mirror / "another.git")
    result = checkout.run("radar", "--mirror", str(mirror))
    assert "holds no repository transport.git" in result.stderr
    assert "Not judged: transport" in result.stdout
    assert "engine (wheel), 1 candidates" in result.stdout
    result = checkout.run("radar", "--mirror", str(mirror), "--json")
    assert [matrix["upstream"] for matrix in json.loads(result.stdout)] == ["engine"]
    assert "Not judged: transport" in result.stderr


def test_a_bump_by_a_mirror_takes_a_release_and_names_the_newer_commit(
    checkout: Checkout, mirror: Path
) -> None:
    subprocess.run(
        ["git", "-C", str(mirror / "transport.git"), "tag", "v2.1", "main~5"], check=True
    )
    said = checkout.run(
        "radar", "--bump", "transport", "--mirror", str(mirror), "--after", "100"
    ).stdout
    assert "which is no release" in said
    assert "tag: v2.1\n" in (checkout.root / "upstream.lock").read_text(encoding="utf-8")


def test_one_upstream_is_pinned_without_compiling_or_asking_a_host_that_is_away(
    checkout: Checkout,
) -> None:
    checkout.release("1.1", "helper>=2", "only-for-cuda==9.1")
    checkout.edit("recipes/transport/backend.py", '"gcc"', '"no-such-compiler"')
    shutil.move(checkout.upstream, checkout.upstream.with_name("away"))
    # The transport's host does not answer, and its compiler is not there: its series is in the
    # cache of its own, not of this pin.
    result = checkout.run("lock", "--update", "engine=1.1")
    assert "building" not in result.stderr
    text = (checkout.root / "upstream.lock").read_text(encoding="utf-8")
    assert "small_engine-1.1-py3-none-any.whl" in text
    shutil.move(checkout.upstream.with_name("away"), checkout.upstream)
    shutil.rmtree(checkout.root / "build")
    assert (
        "No form of transport can be had at 3.0"
        in checkout.run("lock", "--update", "transport=3.0", code=11).stderr
    )


def test_a_commit_of_a_branch_is_no_release(checkout: Checkout) -> None:
    checkout.edit("upstream.lock", "        tag: v2.0\n", "        branch: main\n")
    before = (checkout.root / "upstream.lock").read_bytes()
    assert (
        "no tag tells which commit is 2.1"
        in checkout.run("lock", "--update", "transport=2.1", code=11).stderr
    )
    assert (checkout.root / "upstream.lock").read_bytes() == before


def test_a_patched_tree_is_recorded_without_building_the_world(checkout: Checkout) -> None:
    patch = "patches/transport/0001-answer-for-amd.edit.yaml"
    checkout.edit("recipes/transport/backend.py", '"gcc"', '"no-such-compiler"')
    checkout.edit(patch, "with: 'return 2;'", "with: 'return 3;'")
    checkout.edit(patch, "text: 'return 2;'", "text: 'return 3;'")
    for options in ((), ("--offline",)):
        result = checkout.run("lock", "--update", "transport", *options)
        assert "building" not in result.stderr
    assert json.loads(checkout.run("lock", "--check", "--json").stdout)[0]["state"] == "ok"


def test_refresh_lays_out_a_conflict_and_retires_what_is_upstream(checkout: Checkout) -> None:
    checkout.release("2.0", "helper>=2", "only-for-cuda[a]==10", "only-for-cuda[b]==10")
    checkout.release("3.0", "helper>=2")
    checkout.run("patches", "refresh", "engine", "--on", "2.0", code=16)
    folder = checkout.root / "build/conflicts/engine/0001-without-cuda.edit.yaml"
    assert "matched 2 times" in (folder / "CAUSE").read_text(encoding="utf-8")
    assert "-Requires-Dist: only-for-cuda==9" in (folder / "intent.diff").read_text(
        encoding="utf-8"
    )
    series = checkout.root / "patches/engine"
    before = {path.name: path.read_bytes() for path in series.iterdir()}
    (change,) = json.loads(
        checkout.run("patches", "refresh", "engine", "--on", "3.0", "--json").stdout
    )
    assert change["verdict"] == "upstreamed"
    assert {path.name: path.read_bytes() for path in series.iterdir()} == before
    checkout.run("patches", "refresh", "engine", "--on", "3.0", "--retire", "--dry-run")
    assert {path.name: path.read_bytes() for path in series.iterdir()} == before
    checkout.run("patches", "refresh", "engine", "--on", "3.0", "--retire")
    assert {path.name: path.read_text(encoding="utf-8") for path in series.iterdir()} == {
        "series": ""
    }


def test_a_new_edit_is_written_only_when_it_applies(checkout: Checkout) -> None:
    begin = [
        "patches",
        "new",
        "transport",
        "--subject",
        "Rename the function",
        "--description",
        "Why.",
        "--path",
        "transport.c",
    ]
    series = checkout.root / "patches/transport"
    checkout.run(*begin, "--language", "c", "--pattern", "nothing()", "--with", "x()", code=16)
    checkout.run(*begin, "--language", "c", "--anchor", "vendor", "--with", "vendor", code=17)
    assert (series / "series").read_text(encoding="utf-8") == f"{EDIT}\n"
    checkout.run(*begin, "--language", "c", "--anchor", "vendor", "--with", "maker")
    assert (series / "series").read_text(
        encoding="utf-8"
    ) == f"{EDIT}\n0002-rename-the-function.edit.yaml\n"
    checkout.run("build", code=12)
    checkout.run("lock", "--update", "transport")
    assert checkout.build()["changed"] is True


def test_patches_are_judged_where_a_recipe_is_not_there_yet(
    checkout: Checkout, mirror: Path
) -> None:
    for recipe in (checkout.root / "recipes").glob("*/recipe.yaml"):
        recipe.unlink()
    (matrix,) = json.loads(
        checkout.run(
            "radar", "transport", "--mirror", str(mirror), "--after", "100", "--json"
        ).stdout
    )
    assert verdicts(matrix)[0] == "clean"


def test_a_series_of_no_upstream_is_an_error(checkout: Checkout) -> None:
    (checkout.root / "patches" / "transprot").mkdir()
    assert (
        "patches/transprot is no upstream of the lock"
        in checkout.run("patches", "apply", "transport", code=15).stderr
    )
