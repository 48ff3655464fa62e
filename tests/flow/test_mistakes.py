"""No command answers a mistake with a traceback.

Wrong names, versions, files and states, each in every command that takes one.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import subprocess
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from forkhouse.cli.main import cli
from forkhouse.core.errors import ForkhouseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.flow.conftest import Checkout

WRONG = (
    "nothing",
    "../up",
    "",
    "a b",
    "--",
    "v1.0",
    "1..2",
    "1.0+",
    "ünïcode",
    "engine=",
    "=1.0",
    "engine=foo",
    "engine=9.9",
    "x" * 300,
    "%",
)
COMMANDS = (
    ("build", "--profile", "?"),
    ("build", "--profile", "?", "--dry-run"),
    ("build", "--profile", "cpu", "--rocm", "?", "--dry-run"),
    ("build", "--mirror", "?", "--dry-run"),
    ("lock", "?"),
    ("lock", "--check", "?"),
    ("lock", "--update", "?"),
    ("lock", "--update", "engine=?"),
    ("lock", "--update", "transport=?"),
    ("install", "--profile", "?", "--into", "?"),
    ("install", "--profile", "cpu", "--onto", "?"),
    ("verify", "--profile", "?"),
    ("audit", "?"),
    ("audit", "upstream.lock", "--profile", "?"),
    ("device", "--target", "?"),
    ("toolchain", "--dry-run", "--rocm", "?"),
    ("doctor", "?"),
    ("patches", "check", "?"),
    ("patches", "check", "--on", "?"),
    ("patches", "check", "engine", "--on", "?"),
    ("patches", "check", "transport", "--on", "?"),
    ("patches", "explain", "?"),
    ("patches", "explain", "engine", "?"),
    ("patches", "export", "?"),
    ("patches", "apply", "?"),
    ("patches", "refresh", "?", "--on", "?"),
    ("patches", "refresh", "engine", "--on", "?", "--dry-run"),
    (
        "patches",
        "new",
        "?",
        "--subject",
        "?",
        "--description",
        "?",
        "--path",
        "?",
        "--language",
        "c",
        "--anchor",
        "?",
    ),
    (
        "patches",
        "new",
        "engine",
        "--subject",
        "?",
        "--description",
        "d",
        "--path",
        "?",
        "--language",
        "?",
        "--pattern",
        "?",
    ),
    ("radar", "?"),
    ("radar", "engine", "--bump", "?"),
    ("radar", "transport", "--mirror", "?"),
    ("radar", "transport", "--mirror", ".", "--until", "?"),
    ("radar", "engine", "--before", "?", "--after", "?"),
    ("bench", "compare", "?", "?"),
    ("bench", "compare", "upstream.lock", "upstream.lock"),
    ("bench", "run", "--endpoint", "?", "--offline"),
    ("bench", "run", "--stack-python", "?", "--output", "?"),
)


@pytest.fixture
def run(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run forkhouse in this process, and fail on what it does not explain; return the exit code."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    for name, value in checkout.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(checkout.root)

    def invoke(*arguments: str, root: Path | None = None) -> int:
        result = CliRunner().invoke(
            cli, ["--root", str(root or checkout.root), *arguments], standalone_mode=False
        )
        match result.exception:
            case None:
                return int(result.return_value or 0)
            case ForkhouseError() as error:
                assert str(error).strip(), arguments
                return error.exit_code
            case click.ClickException() as error:
                return error.exit_code
            case SystemExit() as error:
                return int(error.code or 0)
            case error:
                message = f"forkhouse {' '.join(arguments)}: {error!r}"
                raise AssertionError(message) from error

    return invoke


def filled(seed: int) -> Iterator[tuple[str, ...]]:
    """Yield every command with wrong words in it.

    Each word at least once somewhere, the same ones at each run.
    """
    chosen = random.Random(seed)
    words = itertools.cycle(WRONG)
    for command in COMMANDS:
        for _ in range(2):
            first = next(words)
            yield tuple(
                part.replace("?", first if part == "?" else chosen.choice(WRONG))
                for part in command
            )


def test_no_wrong_word_gives_a_traceback(run: Callable[..., int]) -> None:
    codes, seen = {}, []
    for arguments in filled(seed=13):
        try:
            codes[arguments] = run(*arguments)
        except AssertionError as error:
            seen.append(str(error))
    assert seen == []
    taken = [
        arguments
        for arguments, code in codes.items()
        if code == 0 and {"nothing", "ünïcode", "../up"} & set(arguments)
    ]
    assert taken == [], "a name that nothing has is refused"


def spoil_lock(root: Path) -> None:
    (root / "upstream.lock").write_bytes(b"\xff\xfe")


def lock_is_a_folder(root: Path) -> None:
    (root / "upstream.lock").unlink()
    (root / "upstream.lock").mkdir()


def no_patches(root: Path) -> None:
    shutil.rmtree(root / "patches")


def no_recipes(root: Path) -> None:
    shutil.rmtree(root / "recipes")


def recipe_of_another(root: Path) -> None:
    path = root / "recipes/engine/recipe.yaml"
    path.write_text(
        path.read_text(encoding="utf-8").replace("upstream: engine", "upstream: unknown"),
        encoding="utf-8",
    )


def recipe_of_another_form(root: Path) -> None:
    path = root / "recipes/engine/recipe.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("wheel:", "git:"), encoding="utf-8")


def series_not_text(root: Path) -> None:
    (root / "patches/engine/series").write_bytes(b"\xff\xfe\n")


def series_a_folder(root: Path) -> None:
    (root / "patches/engine/series").unlink()
    (root / "patches/engine/series").mkdir()


def closure_not_toml(root: Path) -> None:
    (root / "pylock.cpu.toml").write_bytes(b"\xff = [")


def closure_of_nothing(root: Path) -> None:
    (root / "pylock.cpu.toml").write_text("packages = 3\n", encoding="utf-8")


def closure_with_odd_names(root: Path) -> None:
    path = root / "pylock.cpu.toml"
    path.write_text(
        path.read_text(encoding="utf-8").replace("-py3-none-any.whl", ".whl"), encoding="utf-8"
    )


def odd_wheelhouse(root: Path) -> None:
    (root / "wheels/cpu").mkdir(parents=True, exist_ok=True)
    (root / "wheels/cpu/SHA256SUMS").write_bytes(b"\xff no sums\n")


def odd_journal(root: Path) -> None:
    (root / "build/fresh").mkdir(parents=True, exist_ok=True)
    (root / "build/fresh/cpu.json").write_text("[1]", encoding="utf-8")


def build_is_a_file(root: Path) -> None:
    shutil.rmtree(root / "build", ignore_errors=True)
    (root / "build").write_text("", encoding="utf-8")


def deep_lock(root: Path) -> None:
    (root / "upstream.lock").write_text("[" * 3000, encoding="utf-8")


def deep_closure(root: Path) -> None:
    (root / "pylock.cpu.toml").write_text("packages = " + "[" * 3000, encoding="utf-8")


def deep_journal(root: Path) -> None:
    (root / "build/fresh").mkdir(parents=True, exist_ok=True)
    (root / "build/fresh/cpu.json").write_text("[" * 100_000, encoding="utf-8")


STATES = (
    deep_lock,
    deep_closure,
    deep_journal,
    spoil_lock,
    lock_is_a_folder,
    no_patches,
    no_recipes,
    recipe_of_another,
    recipe_of_another_form,
    series_not_text,
    series_a_folder,
    closure_not_toml,
    closure_of_nothing,
    closure_with_odd_names,
    odd_wheelhouse,
    odd_journal,
    build_is_a_file,
)


def test_no_state_of_a_checkout_gives_a_traceback(
    run: Callable[..., int], checkout: Checkout, tmp_path: Path
) -> None:
    commands = (
        ("build", "--dry-run"),
        ("verify",),
        ("install", "--into", str(tmp_path / "new")),
        ("lock", "--check"),
        ("doctor",),
        ("patches", "check"),
        ("patches", "explain", "engine"),
        ("radar", "engine"),
    )
    seen = []
    for state in STATES:
        root = tmp_path / state.__name__
        shutil.copytree(checkout.root, root)
        state(root)
        for command in commands:
            try:
                run(*command, root=root)
            except AssertionError as error:
                seen.append(f"{state.__name__}: {error}")
    assert seen == []


def test_a_configuration_that_is_wrong_is_explained(
    run: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.yaml").write_text("indexes: 3\n", encoding="utf-8")
    monkeypatch.setenv("FORKHOUSE_CONFIG", str(tmp_path / "config.yaml"))
    assert run("lock", "--externals") == 10
    monkeypatch.setenv("PIP_TIMEOUT", "soon")
    assert run("radar", "engine") in {10, 2}


def test_what_was_seen_is_named(checkout: Checkout) -> None:
    """The mistakes that had a traceback, as a user makes them."""
    for arguments, said in {
        ("radar", "nothing"): "The lock has no upstream 'nothing'. It has: transport, engine.",
        ("radar", "engine", "--bump", "nothing"): "The lock has no upstream 'nothing'.",
        ("lock", "--update", "engine=foo"): "'foo' is no version",
        ("patches", "check", "engine", "--on", "foo"): "'foo' is no version",
    }.items():
        result = checkout.run(*arguments, code=2)
        assert said in result.stderr, (arguments, result.stderr)


@pytest.mark.parametrize("target", ["", "=", "=1.0", "engine="])
def test_half_a_pin_renews_nothing(checkout: Checkout, target: str) -> None:
    before = (checkout.root / "upstream.lock").read_bytes()
    said = checkout.run("lock", "--update", target, code=2).stderr
    assert f"'{target}' is not NAME or NAME=VERSION" in said
    assert "resolving" not in said
    assert (checkout.root / "upstream.lock").read_bytes() == before


@pytest.mark.parametrize("seconds", ["-1", "nan", "inf"])
def test_nobody_waits_for_ever(checkout: Checkout, seconds: str) -> None:
    assert "--wait" in checkout.run("build", "--dry-run", f"--wait={seconds}", code=2).stderr


def test_without_git_every_command_says_what_to_install(
    run: Callable[..., int], checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for command in (
        ("build", "--dry-run"),
        ("build",),
        ("lock", "--check"),
        ("lock", "--update", "transport"),
        ("patches", "check"),
        ("patches", "explain", "transport"),
        ("radar", "transport", "--mirror", str(tmp_path)),
        ("doctor",),
    ):
        assert run(*command) in {2, 20}, command
    environment = {**checkout.environment(), "PATH": str(tmp_path / "bin")}
    result = subprocess.run(
        checkout.command("build", "--dry-run"),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, "apt-get install --yes git" in result.stderr) == (20, True), (
        result.stderr
    )


def test_a_cache_is_found_from_every_folder(checkout: Checkout) -> None:
    """What is relative to this folder would be another cache to git, which works in folders of its
    own.
    """
    command = [*checkout.command("patches", "check", "transport"), "--json"]
    environment = {**checkout.environment(), "FORKHOUSE_CACHE": "near"}
    result = subprocess.run(
        command, cwd=checkout.root, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert list((checkout.root / "near/mirrors").glob("*.git/HEAD"))


def test_what_is_nested_too_deep_is_named(checkout: Checkout) -> None:
    deep_closure(checkout.root)
    assert "pylock.cpu.toml: " in checkout.run("build", "--dry-run", code=10).stderr
    deep_lock(checkout.root)
    assert (
        "upstream.lock:1: more than 50 sequences and mappings are in one another"
        in checkout.run("build", "--dry-run", code=10).stderr
    )


def test_a_configuration_that_is_a_folder_is_refused(
    run: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORKHOUSE_CONFIG", str(tmp_path))
    assert run("lock", "--externals") == 10
