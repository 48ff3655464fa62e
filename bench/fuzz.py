"""Mutated files, edits and diffs against every reader of the patch engine: `python -m bench.fuzz`.

Only errors that are explained to the user may come out. The seeds are the examples of
docs/reference/patches.md, which cover every language.
"""

from __future__ import annotations

import random
import re
import sys
import time
from collections import Counter
from pathlib import Path
from textwrap import indent

import click

from forkhouse.core.errors import ForkhouseError
from forkhouse.documents.reading import parse
from forkhouse.patches.edits import AddedFile, FileEdit, StructuralEdit
from forkhouse.patches.operations import apply_edit, effect_present
from forkhouse.patches.series import read_patch
from forkhouse.patches.textual import read_diff

HEADER = "Subject: s\nDescription: d\nOrigin: o\nForwarded: no\nRetire-When: never\n"
DIFF = (
    "Subject: x\n\n---\ndiff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n "
    "three\n"
)
PIECES = [
    "",
    "\x00",
    "\n",
    "\r\n",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    '"',
    "'",
    "#",
    "\\",
    "é",
    "\U0001f600",
    "$A",
    "$$$B",
    "@@ -1 +1 @@\n",
    "\t",
    ":",
    ",",
    "=",
    "../",
    ".git/",
]


def examples(docs: Path) -> list[tuple[str, str, str]]:
    """Return language, operations and text of every example."""
    block = r"```\w+\n(.*?)```\n"
    found = re.findall(
        rf"^### ([\w-]+)\n\n{block}{block}",
        docs.read_text(encoding="utf-8"),
        flags=re.MULTILINE | re.DOTALL,
    )
    return [(language, operations, text) for language, operations, text in found]


def mutated(text: str, chance: random.Random) -> str:
    """Return a text with a few pieces cut out, repeated, moved or put in."""
    for _ in range(chance.randint(1, 4)):
        start = chance.randrange(len(text) + 1)
        end = min(len(text), start + chance.randint(0, 12))
        piece = chance.choice([*PIECES, text[start:end] * 2, text[end : end + 20]])
        text = text[:start] + piece + text[end:]
    return text


def document(language: str, operations: str) -> str:
    """Return the text of an edit with one file."""
    return (
        f"{HEADER}edits:\n  - path: file\n    language: {language}\n    "
        f"operations:\n{indent(operations, '      ')}"
    )


def read(text: str) -> list[FileEdit]:
    """Return the edits of a document."""
    return [
        edit
        for edit in parse(StructuralEdit, text, name="edit").edits
        if not isinstance(edit, AddedFile)
    ]


def attempt(seed: tuple[str, str, str], what: str, chance: random.Random) -> str:
    """Run one mutated input; return what came of it.

    Whatever is not explained comes out as it is.
    """
    language, operations, text = seed
    try:
        match what:
            case "text":
                changed = mutated(text, chance)
                for edit in read(document(language, operations)):
                    effect_present(changed, edit)
                    apply_edit(changed, edit)
            case "edit":
                for edit in read(mutated(document(language, operations), chance)):
                    effect_present(text, edit)
                    apply_edit(text, edit)
            case _:
                patch = read_patch(
                    "demo/0001-x.patch", mutated(DIFF, chance).encode("utf-8", "surrogatepass")
                )
                for each in read_diff(patch, {}, where="x"):
                    list(each.hunks if each else ())
    except ForkhouseError as error:
        return type(error).__name__
    return "applied"


@click.command()
@click.option("--inputs", default=100_000, show_default=True)
@click.option("--seed", default=1, show_default=True)
@click.option(
    "--docs",
    default="docs/reference/patches.md",
    show_default=True,
    type=click.Path(path_type=Path),
)
def main(inputs: int, seed: int, docs: Path) -> None:
    """Run mutated inputs and say what came of them.

    Exit 1 with the input when one is not explained.
    """
    chance = random.Random(seed)  # reproducible, nothing secret
    seeds = examples(docs)
    counts: Counter[str] = Counter()
    started = time.monotonic()
    slowest = 0.0
    for number in range(inputs):
        example, what = chance.choice(seeds), ("text", "edit", "diff")[number % 3]
        state = chance.getstate()
        begun = time.monotonic()
        try:
            counts[f"{what}: {attempt(example, what, chance)}"] += 1
        except Exception:
            chance.setstate(state)
            click.echo(
                f"input {number} ({what}, {example[0]}) is not explained; as YAML or "
                f"text:\n{mutated(example[2], chance)!r}",
                err=True,
            )
            raise
        slowest = max(slowest, time.monotonic() - begun)
    click.echo(
        f"{inputs} inputs from {len(seeds)} seeds in {time.monotonic() - started:.0f} s, the "
        f"slowest took {slowest:.2f} s"
    )
    for outcome, count in sorted(counts.items()):
        click.echo(f"{outcome:40} {count}")


if __name__ == "__main__":
    sys.exit(main())
