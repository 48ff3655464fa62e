from __future__ import annotations

import json
import os
import re
import time
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock

from forkhouse.core.digests import SEAL, sealed
from tests.somebody import git

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.flow.conftest import Checkout

QUICK = "nothing has changed, wheels/cpu is up to date (3 wheels)"


@pytest.fixture
def built(checkout: Checkout) -> Checkout:
    checkout.build()
    assert QUICK in checkout.run("build").stderr
    return checkout


def test_a_second_run_looks_at_nothing_and_answers_the_same(checkout: Checkout) -> None:
    first = checkout.build()
    again = checkout.run("build", "--json")
    assert QUICK in again.stderr
    untouched = {
        **first,
        "changed": False,
        "wheels": [{**row, "seconds": 0.0} for row in first["wheels"]],
    }
    assert json.loads(again.stdout) == untouched


def test_what_a_source_lacks_is_said_by_every_run_and_recorded(checkout: Checkout) -> None:
    lib = "1" * 40
    git(checkout.upstream, "update-index", "--add", "--cacheinfo", f"160000,{lib},third_party/lib")
    git(checkout.upstream, "commit", "--quiet", "--message=with a submodule")
    git(checkout.upstream, "tag", "--force", "v2.0")
    lock = checkout.root / "upstream.lock"
    text = lock.read_text(encoding="utf-8")
    commit = git(checkout.upstream, "rev-parse", "HEAD")
    text = re.sub(r"commit: '?[0-9a-f]{40}'?", f"commit: '{commit}'", text)
    lock.write_text(re.sub(r"\n +(patched-)?tree: .*", "", text), encoding="utf-8")
    words = f"WITHOUT 1 submodule, whose files are not there: third_party/lib (commit {lib})"
    first = checkout.run("build", "--json")
    again = checkout.run("build", "--json")
    assert QUICK in again.stderr
    for each in (first, again):
        assert words in each.stderr
        assert words in json.loads(each.stdout)["lacks"][0]
    manifest = json.loads((checkout.root / "wheels/cpu/manifest.json").read_text(encoding="utf-8"))
    (ours,) = [wheel for wheel in manifest["wheels"] if wheel.get("recipe") == "transport"]
    assert words in ours["lacks"][0]
    assert not [wheel for wheel in manifest["wheels"] if wheel is not ours and "lacks" in wheel]


def touch_patch(checkout: Checkout) -> None:
    os.utime(checkout.root / "patches/transport/series")


def add_recipe_file(checkout: Checkout) -> None:
    (checkout.root / "recipes/transport/notes").touch()


def lose_a_wheel(checkout: Checkout) -> None:
    next((checkout.root / "wheels/cpu").glob("helper-*.whl")).unlink()


def change_a_wheel(checkout: Checkout) -> None:
    path = next((checkout.root / "wheels/cpu").glob("helper-*.whl"))
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(bytes(len(content)))


def change_the_closure(checkout: Checkout) -> None:
    os.utime(checkout.root / "pylock.cpu.toml")


def spoil_the_record(checkout: Checkout) -> None:
    (checkout.root / "build/fresh/cpu.json").write_text("{", encoding="utf-8")


@pytest.mark.parametrize(
    "change",
    [
        touch_patch,
        add_recipe_file,
        lose_a_wheel,
        change_a_wheel,
        change_the_closure,
        spoil_the_record,
    ],
)
def test_whatever_changes_is_looked_at(built: Checkout, change: Callable[[Checkout], None]) -> None:
    whole = built.wheelhouse()
    change(built)
    assert QUICK not in built.run("build").stderr
    assert built.wheelhouse() == whole
    assert QUICK in built.run("build").stderr


def test_other_options_are_another_question(built: Checkout) -> None:
    assert (
        QUICK
        not in built.run(
            "build", "--mirror", str(built.upstream.parent), "--sources", "auto"
        ).stderr
    )


def test_a_build_that_failed_leaves_nothing_to_trust(built: Checkout) -> None:
    built.edit("recipes/transport/backend.py", '"gcc"', '"no-such-compiler"')
    built.run("build", code=21)
    built.edit("recipes/transport/backend.py", '"no-such-compiler"', '"gcc"')
    assert QUICK not in built.run("build").stderr


def test_hosts_that_did_not_answer_are_asked_again_after_a_day(built: Checkout) -> None:
    path = built.root / "build/fresh/cpu.json"
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert kept["asked"] is None  # every host answered
    for hours, quick in ((23, True), (25, False)):
        claims = {key: value for key, value in kept.items() if key != SEAL}
        asked = {**claims, "asked": time.time() - hours * 3600}
        path.write_bytes(sealed(asked, "fresh", "cpu"))
        assert (QUICK in built.run("build").stderr) is quick


@pytest.mark.parametrize(
    "change",
    [
        {"answer": {}},
        {"answer": 3},
        {"answer": {"wheelhouse": "wheels/another", "wheels": []}},
        {"tools": 3},
        {"tools": ["a\0b"]},
        {"asked": "yesterday"},
        {"seal": None},
    ],
    ids=str,
)
def test_a_record_that_is_not_as_it_was_written_is_no_answer(
    built: Checkout, change: dict[str, object]
) -> None:
    """It is looked at everything, as without a record."""
    path = built.root / "build/fresh/cpu.json"
    kept = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**kept, **change}), encoding="utf-8")
    said = built.run("build").stderr
    assert QUICK not in said
    assert "wheels/cpu is up to date" in said
    assert "another" not in said


def test_a_patch_that_is_edited_while_a_build_runs_is_built_by_the_next_run(
    checkout: Checkout,
) -> None:
    def change() -> None:
        checkout.edit("patches/engine/0001-without-cuda.edit.yaml", "No index", "Not one index")

    checkout.let_builds_wait()
    ended = checkout.while_building(change, "--json")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["changed"] is True
    again = checkout.run("build")
    assert QUICK not in again.stderr
    assert QUICK in checkout.run("build").stderr


def test_a_recipe_that_is_edited_while_it_is_built_gives_no_wheel(checkout: Checkout) -> None:
    notes = checkout.root / "recipes/transport/notes"
    checkout.let_builds_wait()
    ended = checkout.while_building(notes.touch)
    assert (ended.returncode, "were edited while it was built" in ended.stderr) == (21, True)
    assert checkout.while_building(lambda: None).returncode == 0


def test_the_time_of_a_patch_that_is_put_back_says_nothing(built: Checkout) -> None:
    patch = built.root / "patches/engine/0001-without-cuda.edit.yaml"
    status, text = patch.stat(), patch.read_text(encoding="utf-8")
    with patch.open("r+", encoding="utf-8") as stream:
        stream.write(text.replace("No index", "No Index"))
    os.utime(patch, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert QUICK not in built.run("build").stderr


@pytest.mark.parametrize(
    "command",
    [
        ("patches", "refresh", "engine", "--on", "1.0"),
        (
            "patches",
            "new",
            "transport",
            "--subject",
            "S",
            "--description",
            "D",
            "--path",
            "p",
            "--language",
            "c",
            "--anchor",
            "a",
        ),
        ("patches", "export", "transport"),
        ("patches", "apply", "transport"),
        ("lock", "--update"),
    ],
)
def test_commands_that_write_wait_for_the_checkout(
    checkout: Checkout, command: tuple[str, ...]
) -> None:
    (checkout.root / "build").mkdir(exist_ok=True)
    with FileLock(checkout.root / "build/lock"):
        assert (
            "is working in this checkout" in checkout.run(*command, "--wait", "0", code=30).stderr
        )
