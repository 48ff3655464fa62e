"""What goes wrong has its own exit code and message, and leaves the wheelhouse as it was."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.flow.conftest import Checkout

TRANSPORT = "patches/transport/0001-answer-for-amd.edit.yaml"


@pytest.fixture
def built(checkout: Checkout) -> Checkout:
    checkout.build()
    # What was fetched and patched before must not hide what is wrong now.
    shutil.rmtree(checkout.cache)
    shutil.rmtree(checkout.root / "build")
    return checkout


def wrong_hash(checkout: Checkout) -> None:
    wheel = checkout.index / "small_engine-1.0-py3-none-any.whl"
    wheel.write_bytes(wheel.read_bytes() + b"more")


def moved_tag(checkout: Checkout) -> None:
    (checkout.upstream / "transport.c").write_text(
        "int vendor(void) { return 7; }\n", encoding="utf-8"
    )
    identity = ["-c", "user.name=T", "-c", "user.email=t@localhost"]
    subprocess.run(
        ["git", *identity, "commit", "--quiet", "--all", "--message=evil"],
        cwd=checkout.upstream,
        check=True,
    )
    subprocess.run(
        ["git", "tag", "--force", "v2.0"], cwd=checkout.upstream, check=True, capture_output=True
    )


def missing_patch(checkout: Checkout) -> None:
    (checkout.root / TRANSPORT).unlink()


def edit_without_match(checkout: Checkout) -> None:
    checkout.edit(TRANSPORT, "anchor: 'return 1;'", "anchor: 'return 9;'")


def edit_with_two_matches(checkout: Checkout) -> None:
    checkout.edit(TRANSPORT, "anchor: 'return 1;'", "anchor: 'r'")


def patch_without_effect(checkout: Checkout) -> None:
    checkout.edit(TRANSPORT, "with: 'return 2;'", "with: 'return 1;'")
    checkout.edit(TRANSPORT, "text: 'return 2;'", "text: 'return 1;'")


def broken_condition(checkout: Checkout) -> None:
    checkout.edit(TRANSPORT, "text: 'return 2;'", "text: 'return 5;'")


def unreachable_host(checkout: Checkout) -> None:
    shutil.rmtree(checkout.upstream)


def missing_third_party(checkout: Checkout) -> None:
    (checkout.index / "helper-3.0-py3-none-any.whl").unlink()


def bad_lock(checkout: Checkout) -> None:
    checkout.edit("upstream.lock", "gpu-targets", "gpu-target")


def unfit_closure(checkout: Checkout) -> None:
    checkout.edit(
        "upstream.lock", "  - small-transport\n", "  - small-transport\n      - not-there\n"
    )


def compiler_error(checkout: Checkout) -> None:
    checkout.edit("recipes/transport/backend.py", '"-shared"', '"-no-such-flag"')


@pytest.mark.parametrize(
    ("spoil", "code", "words"),
    [
        (
            wrong_hash,
            12,
            ["small_engine-1.0-py3-none-any.whl: its sha256 is", "The file was thrown away"],
        ),
        (moved_tag, 13, ["tag v2.0 points at", "compare both commits"]),
        (
            missing_patch,
            15,
            ["transport/series names 0001-answer-for-amd.edit.yaml, which is not there"],
        ),
        (edit_without_match, 16, ["matched 0 times, expected 1", "transport.c"]),
        (edit_with_two_matches, 16, ["matched 3 times, expected 1"]),
        (patch_without_effect, 17, ["applied and changed nothing"]),
        (broken_condition, 18, ["return 5;", "as the condition expects"]),
        (unreachable_host, 11, ["did not answer"]),
        (missing_third_party, 11, ["No index offers helper"]),
        (bad_lock, 10, ["upstream.lock:", "gpu-target"]),
        (unfit_closure, 23, ["not-there (wanted by the profile) is not there"]),
        (compiler_error, 21, ["ended with exit code", "-no-such-flag", "transport.log"]),
    ],
)
def test_a_failure_is_explained_and_leaves_the_wheelhouse(
    built: Checkout, spoil: Callable[[Checkout], None], code: int, words: list[str]
) -> None:
    before = built.wheelhouse()
    spoil(built)
    said = built.run("build", code=code).stderr
    assert [word for word in words if word not in said] == [], said
    assert built.wheelhouse() == before


def profile_without_rules(checkout: Checkout) -> None:
    checkout.edit("upstream.lock", "  cpu:\n", "  lab:\n")
    (checkout.root / "pylock.cpu.toml").rename(checkout.root / "pylock.lab.toml")


def closure_lost(checkout: Checkout) -> None:
    (checkout.root / "pylock.cpu.toml").unlink()


def closure_with_ours(checkout: Checkout) -> None:
    path = checkout.root / "pylock.cpu.toml"
    path.write_text(
        path.read_text(encoding="utf-8")
        .replace("helper-3.0", "small_engine-3.0")
        .replace('"helper"', '"small-engine"'),
        "utf-8",
    )


@pytest.mark.parametrize(
    ("spoil", "profile", "code", "words"),
    [
        (profile_without_rules, "lab", 2, "The audit has no rules for the profile 'lab'"),
        (closure_lost, "cpu", 10, "pylock.cpu.toml"),
        (closure_with_ours, "cpu", 23, "Built here and pinned from an index at once: small-engine"),
    ],
)
def test_what_a_build_ends_with_is_looked_at_before_it_begins(
    checkout: Checkout, spoil: Callable[[Checkout], None], profile: str, code: int, words: str
) -> None:
    spoil(checkout)
    for options in ((), ("--dry-run",)):
        said = checkout.run("build", "--profile", profile, *options, code=code).stderr
        assert words in said
        assert "building" not in said


@pytest.mark.parametrize(("spoil", "code"), [(missing_third_party, 11), (wrong_hash, 12)])
def test_what_cannot_be_fetched_shows_before_anything_is_compiled(
    checkout: Checkout, spoil: Callable[[Checkout], None], code: int
) -> None:
    spoil(checkout)
    shutil.rmtree(checkout.cache, ignore_errors=True)
    assert "building" not in checkout.run("build", code=code).stderr


@pytest.fixture
def small_disk() -> Iterator[Callable[[Path], None]]:
    """Mount file systems of 256 KiB."""
    mounted: list[Path] = []

    def mount(folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], check=True)
        mounted.append(folder)

    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    yield mount
    for folder in mounted:
        subprocess.run(["umount", folder], check=True)


def test_a_full_cache_is_explained(built: Checkout, small_disk: Callable[[Path], None]) -> None:
    before = built.wheelhouse()
    small_disk(built.cache)
    said = built.run("build", code=31).stderr
    assert "No space left" in said
    assert "The wheelhouse is as it was" in said
    assert built.wheelhouse() == before


def test_a_full_wheels_folder_is_explained(
    checkout: Checkout, small_disk: Callable[[Path], None]
) -> None:
    small_disk(checkout.root / "wheels")
    assert "No space left" in checkout.run("build", code=31).stderr
    assert not (checkout.root / "wheels/cpu").exists()


def test_a_second_run_waits_or_says_who_is_working(checkout: Checkout) -> None:
    (checkout.root / "build").mkdir()
    with FileLock(checkout.root / "build/lock"):
        assert "is working in this checkout" in checkout.run("build", "--wait", "0", code=30).stderr
        waiting = subprocess.Popen(
            checkout.command("build", "--wait", "60"),
            env=checkout.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(1.5)
    assert waiting.wait(60) == 0
    checkout.run("verify")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["build", "--profile", "gpu"], "no profile 'gpu'. It has: cpu"),
        (["build", "--sources", "registry"], "No source of transport can be used"),
        (["lock", "--update", "nothing"], "no upstream 'nothing'"),
        (["lock"], "Give --check, --externals, --tools, or --update"),
        (["build", "--no-such-option"], "No such option"),
    ],
)
def test_wrong_use_is_explained(checkout: Checkout, arguments: list[str], words: str) -> None:
    assert words in checkout.run(*arguments, code=2).stderr


def test_outside_a_checkout(checkout: Checkout, tmp_path: Path) -> None:
    command = checkout.command("build")
    command[command.index("--root") + 1] = str(tmp_path)
    result = subprocess.run(
        command, env=checkout.environment(), capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert "No upstream.lock in" in result.stderr
