"""Every command in the documents is run by a test, or says why it is not; and what it names exists.

The line over a block of commands says which it is:

    <!-- run -->                     it is run here, and ends with 0
    <!-- run: exit 0 or 20 -->       the same, with other exit codes
    <!-- run by: FILE -->            FILE has its lines, word for word
    <!-- run by: FILE::TEST -->      that test runs it
    <!-- not run: REASON -->
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from docs.generate.commands import every
from docs.generate.sessions import described

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs/reference/patches.md"
"""Its blocks of bash are files that are edited."""
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("recipes/*/README.md")])
BLOCK = re.compile(
    r"(?:^ *<!-- (?P<mark>(?:not )?run\b[^\n]*?) -->\n"
    r")?^(?P<indent> *)```(?P<language>sh|bash|shell|console)\n(?P<text>.*?)^(?P=indent)```",
    re.MULTILINE | re.DOTALL,
)
FENCED = re.compile(r"^( *)(```+).*?^\1\2", re.MULTILINE | re.DOTALL)
SHORTEST_REASON = 10


@dataclass(frozen=True)
class Block:
    """Commands that stand in a document."""

    page: str
    mark: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}: {self.text.strip().splitlines()[0]}"


def blocks() -> Iterator[Block]:
    for page in PAGES:
        for found in BLOCK.finditer(page.read_text(encoding="utf-8")):
            if page != EXAMPLES or found["language"] != "bash":
                text = "\n".join(
                    line.removeprefix(found["indent"]) for line in found["text"].splitlines()
                )
                yield Block(
                    page=page.relative_to(ROOT).as_posix(), mark=found["mark"] or "", text=text
                )


BLOCKS = list(blocks())
RUN = [block for block in BLOCKS if re.match(r"run(:|$)", block.mark)]


def test_there_are_commands_of_each_kind() -> None:
    kinds = {block.mark.partition(":")[0] for block in BLOCKS}
    assert {"run", "run by", "not run"} <= kinds


def test_every_block_of_commands_is_run_or_says_why_not() -> None:
    known = re.compile(rf"run|run: exit \d+( or \d+)*|run by: \S+|not run: .{{{SHORTEST_REASON},}}")
    assert [str(block) for block in BLOCKS if not known.fullmatch(block.mark)] == []


def test_what_is_run_elsewhere_is_there() -> None:
    for block in BLOCKS:
        if block.mark.startswith("run by: "):
            name, _, test = block.mark.removeprefix("run by: ").partition("::")
            text = (ROOT / name).read_text(encoding="utf-8")
            lines = [f"def {test}("] if test else block.text.splitlines()
            assert [line for line in lines if line not in text] == [], block


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in ("recipes", "patches"):
        shutil.copytree(ROOT / name, folder / name)
    for file in [ROOT / "upstream.lock", ROOT / "pyproject.toml", *ROOT.glob("pylock.*.toml")]:
        shutil.copy(file, folder)
    return folder


@pytest.mark.parametrize("block", RUN, ids=map(str, RUN))
def test_a_block_runs(block: Block, checkout: Path, tmp_path: Path) -> None:
    program = tmp_path / "bin/forkhouse"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m forkhouse "$@"\n', encoding="utf-8"
    )
    program.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
        "FORKHOUSE_CACHE": str(tmp_path / "cache"),
        "FORKHOUSE_CONFIG": str(tmp_path / "config.yaml"),
    }
    result = subprocess.run(
        ["sh", "-euc", block.text],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    expected = {int(code) for code in re.findall(r"\d+", block.mark)} or {0}
    assert result.returncode in expected, result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout or result.stderr


def commands() -> Iterator[tuple[str, list[str]]]:
    """Yield the page and the words of each command: those of the blocks, and those that stand in a
    text.
    """
    for block in BLOCKS:
        for line in re.split(r"\n|&&", block.text.replace("\\\n", " ")):
            yield block.page, shlex.split(line, comments=True)
    for page in PAGES:
        text = FENCED.sub("", page.read_text(encoding="utf-8"))
        for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", text):
            if re.match(r"(\.venv/bin/)?nox -s |forkhouse ", span):
                yield page.relative_to(ROOT).as_posix(), shlex.split(" ".join(span.split()))


COMMANDS = [(page, words) for page, words in commands() if words]
PROGRAMS = {context.command_path: context.command for context in every()}
PASSED_ON = {
    "build-wheels": "forkhouse build",
    "compile-triton": "forkhouse triton",
    "radar": "forkhouse radar",
    "bench-serving": "forkhouse bench run",
}
"""Sessions that hand their options to a command of ours."""


def unknown_to(program: str, words: list[str]) -> list[str]:
    """Return the options among the words that the program does not have."""
    known = {name for option in PROGRAMS[program].params for name in option.opts} | {
        "--help",
        "--root",
    }
    return [
        word
        for word in words
        if word.startswith("--") and word != "--" and word.partition("=")[0] not in known
    ]


def test_every_command_of_ours_and_its_options_exist() -> None:
    wrong = []
    for page, words in COMMANDS:
        if words[0] != "forkhouse":
            continue
        program, rest = "forkhouse", words[1:]
        while (
            isinstance(PROGRAMS[program], click.Group)
            and rest
            and f"{program} {rest[0]}" in PROGRAMS
        ):
            program, rest = f"{program} {rest[0]}", rest[1:]
        unfinished = (
            isinstance(PROGRAMS[program], click.Group) and rest and not rest[0].startswith("-")
        )
        wrong += [f"{page}: {' '.join(words)}"] if unfinished or unknown_to(program, rest) else []
    assert wrong == []
    assert len([words for _, words in COMMANDS if words[0] == "forkhouse"]) > 10


def test_every_session_and_its_options_exist() -> None:
    sessions = {name for name, _, _ in described()}
    programs = [
        *ROOT.glob("src/**/*.py"),
        *ROOT.glob("bench/**/*.py"),
        ROOT / "tests/conftest.py",
        ROOT / "tests/integration/options.py",
        ROOT / "noxfile.py",
    ]
    text = "\n".join(file.read_text(encoding="utf-8") for file in programs)
    wrong = []
    for page, words in COMMANDS:
        if words[0] not in {"nox", ".venv/bin/nox"} or "-s" not in words:
            continue
        given = words[words.index("-s") + 1 :]
        named, _, options = (
            (given[: given.index("--")], "--", given[given.index("--") + 1 :])
            if "--" in given
            else (given, "", [])
        )
        wrong += [f"{page}: there is no session {name}" for name in named if name not in sessions]
        program = PASSED_ON.get(named[0])
        lacks = (
            unknown_to(program, options)
            if program
            else [each for each in options if each.startswith("--") and f'"{each}"' not in text]
        )
        wrong += [f"{page}: {named[0]} has no option {option}" for option in lacks]
    assert wrong == []
