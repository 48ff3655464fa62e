"""Mutated documents against everything that reads one.

`python -m bench.documents --count 100000 --seed 1`.

The seeds are the documents of this checkout, the long ones in pieces. Only errors that are
explained to the user may come out, and no document may take more than a second of processor time.
"""

from __future__ import annotations

import os
import random
import re
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from traceback import extract_tb
from typing import TYPE_CHECKING

import click

from forkhouse.builders.crates import read_crates
from forkhouse.builders.metadata import _project
from forkhouse.core.errors import ForkhouseError
from forkhouse.documents.config import Config
from forkhouse.documents.lockfile import Lock
from forkhouse.documents.pylock import read_closure
from forkhouse.documents.reading import load
from forkhouse.documents.recipe import Recipe
from forkhouse.patches.series import read_series

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 1.0
"""Processor time that a document may take."""
LONGEST_SEED = 2500
CONFIG = "indexes:\n  internal: https://index.invalid/simple\n  other-one: file:///srv/index\n"
CRATES = (
    'version = 4\n\n[[package]]\nname = "serde"\nversion = "1.0.1"\n'
    'source = "registry+https://index.invalid/crates"\nchecksum = "'
    + "ab" * 32
    + '"\n\n[[package]]\nname = "own"\nversion = "0.1.0"\n'
)
PROJECT = (
    '[project]\nname = "a"\nversion = "1"\ndependencies = '
    '["b>=1"]\n\n[project.optional-dependencies]\nx = ["c"]\n'
)
PIECES = (
    b"\x00", b"\xff", b"\xef\xbb\xbf", b"\r", b"\t", b"\n", b": ", b"- ", b"[", b"]", b"{", b"}",
    b"&a ", b"*a", b"<<: ", b"!!int ", b"!!seq ", b"!!timestamp 2020-13-45", b"!!binary x",
    b"!!set {a}", b"!!omap [a]", b"!x ", b"? ", b"| ", b"> ", b"'", b'"', b"#", b"%", b"@", b"`",
    b"~", b"null", b".nan", b".inf", b"0x_", b"0b_", b"1:2", b"-", b"true", b"9" * 5000,
    b"[" * 3000, b"{a: " * 200, b"'" * 99, b"\\", b"\\u0000", b"../", b"/", b"\xc2\x85",
    b"\xe2\x80\xa8", b"\xed\xa0\x80", b"2020-01-01", b"a.b.c=1", b"[[a]]", b"[a.b]", b"1e999",
    b"''", b"\n---\n", b"\n...\n",
    b"$A", b"$$$B", b"(", b"re:(a+)+", b"*", b"**", b"x" * 3000, b"\xf0\x9f\x98\x80",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Seed:
    """A valid document, and the kind that says which reader reads it."""

    kind: str
    content: bytes


def seeds(root: Path = ROOT) -> tuple[Seed, ...]:
    """Return the documents to mutate, always in the same order."""
    found = [Seed(kind="lock", content=piece) for piece in _locks(root / "upstream.lock")]
    found += [
        Seed(kind="recipe", content=path.read_bytes())
        for path in sorted(root.glob("recipes/*/recipe.yaml"))
    ]
    edits = sorted(root.glob("patches/*/*.edit.yaml"))
    found += [
        Seed(kind="edit", content=content)
        for path in edits
        if len(content := path.read_bytes()) < 2 * LONGEST_SEED
    ]
    found += [
        Seed(kind="series", content=path.read_bytes())
        for path in sorted(root.glob("patches/*/series"))
    ]
    for path in sorted(root.glob("pylock.*.toml")):
        head, *packages = re.split(
            r"(?=^\[\[packages\]\]$)", path.read_text(encoding="utf-8"), flags=re.MULTILINE
        )
        found.append(Seed(kind="pylock", content="".join([head, *packages[:4]]).encode()))
    own = {"config": CONFIG, "crates": CRATES, "project": PROJECT}
    return (*found, *(Seed(kind=kind, content=text.encode()) for kind, text in own.items()))


def _locks(path: Path) -> Iterator[bytes]:
    """Yield small locks, each with a single upstream, component or profile.

    Each keeps the sections of the whole lock that are none of these three.
    """
    text = path.read_text(encoding="utf-8")
    sections = dict(re.findall(r"^([\w-]+):((?:.*\n)(?:(?:[ #].*)?\n)*)", text, flags=re.MULTILINE))
    named = ("upstreams", "components", "profiles")
    head = "".join(
        f"{name}:{body}"
        for name, body in sections.items()
        if name not in {*named, "kernels", "hip-toolchain"}
    )
    for name in named:
        for entry in re.split(r"(?=^  [\w-]+:\n)", sections.get(name, ""), flags=re.MULTILINE)[1:]:
            others = "".join(f"{other}: {{}}\n" for other in named if other != name)
            alone = re.sub(r"^    components:.*\n(?:      .*\n)*", "", entry, flags=re.MULTILINE)
            yield f"{head}{others}{name}:\n{alone}".encode()


def mutated(content: bytes, chance: random.Random, others: tuple[bytes, ...]) -> bytes:
    """Return a document that differs from another in one to four places."""
    for _ in range(chance.randint(1, 4)):
        start = chance.randint(0, len(content))
        end = min(len(content), start + chance.choice((0, 1, 1, 4, 20, 200)))
        other = chance.choice(others)
        at = chance.randint(0, len(other))
        lines = content.splitlines(keepends=True)
        match chance.randrange(7):
            case 0:
                put = chance.choice(PIECES)
            case 1:
                put = bytes([chance.randrange(256)])
            case 2:
                put = other[at : at + chance.choice((5, 40, 300))]
            case 3:
                put = content[start:end] * chance.choice((2, 3, 50))
            case 4 if lines:
                # A value in the place of another's: most of what people get wrong.
                line = chance.choice(lines)
                start, end = content.index(line), content.index(line) + len(line)
                key, colon, _ = line.partition(b": ")
                put = key + colon + chance.choice(PIECES) + b"\n"
            case 5 if lines:
                chance.shuffle(lines)
                start, end, put = 0, len(content), b"".join(lines)
            case _:
                put = b""
        content = content[:start] + put + content[end:]
    return content


def _series(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    if name != "series":
        (folder / "series").write_text(f"{name}\n", encoding="utf-8")
    read_series(folder)


def _file(read: Callable[[Path], object], folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    read(folder / name)


READERS: dict[str, Callable[[Path, bytes], None]] = {
    "lock": lambda folder, content: _file(partial(load, Lock), folder, "upstream.lock", content),
    "recipe": lambda folder, content: _file(partial(load, Recipe), folder, "recipe.yaml", content),
    "config": lambda folder, content: _file(partial(load, Config), folder, "config.yaml", content),
    "edit": lambda folder, content: _series(folder, "0001-a.edit.yaml", content),
    "series": lambda folder, content: _series(folder, "series", content),
    "pylock": lambda folder, content: _file(read_closure, folder, "pylock.cpu.toml", content),
    "crates": lambda _, content: print_nothing(read_crates(content, "demo")),
    "project": lambda _, content: print_nothing(
        _project(content, Recipe.model_construct(distribution="demo"))
    ),
}


def print_nothing(_value: object) -> None:
    """Take a value and do nothing with it."""


def read(seed: Seed, content: bytes, scratch: Path) -> tuple[str, float]:
    """Let a document's reader read another content.

    Return what came of it, and the processor time in seconds.
    """
    folder = scratch / seed.kind
    folder.mkdir(exist_ok=True)
    begun = time.process_time()
    try:
        READERS[seed.kind](folder, content)
        outcome = "read"
    except ForkhouseError:
        outcome = "explained"
    except BaseException as error:  # whatever it is, it is what is looked for
        where = extract_tb(error.__traceback__)[-1]
        outcome = (
            f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}: "
            f"{str(error)[:80]}"
        )
    return outcome, time.process_time() - begun


def run(count: int, seed: int) -> tuple[Counter[tuple[str, str]], list[str]]:
    """Read `count` mutated documents.

    Return how often each kind had each outcome, and what must not be: a document by the seed's
    number.
    """
    known = seeds()
    contents = tuple(each.content for each in known)
    outcomes: Counter[tuple[str, str]] = Counter()
    faults: list[str] = []
    with tempfile.TemporaryDirectory(prefix="forkhouse-documents-") as scratch:
        for number in range(count):
            chance = random.Random(f"{seed}:{number}")  # no secret
            chosen = chance.choice(known)
            content = mutated(chosen.content, chance, contents)
            outcome, seconds = read(chosen, content, Path(scratch))
            slow = seconds > SECONDS
            outcomes[
                chosen.kind,
                "slow" if slow else outcome if outcome in {"read", "explained"} else "fell",
            ] += 1
            if slow or outcome not in {"read", "explained"}:
                faults.append(f"{seed}:{number} {chosen.kind}: {outcome}, {seconds:.2f} s")
    return outcomes, faults


@click.command()
@click.option("--count", default=100_000, show_default=True, help="Documents.")
@click.option(
    "--seed",
    default=1,
    show_default=True,
    help="Number of the first series; each process has one of its own.",
)
@click.option("--processes", default=os.cpu_count() or 1, show_default=True)
def main(count: int, seed: int, processes: int) -> None:
    """Read mutated documents and print what came of them.

    Fail where one was not explained or took long.
    """
    begun = time.monotonic()
    share = -(-count // processes)
    outcomes: Counter[tuple[str, str]] = Counter()
    faults: list[str] = []
    with ProcessPoolExecutor(processes) as pool:
        for found, fell in pool.map(run, [share] * processes, range(seed, seed + processes)):
            outcomes += found
            faults += fell
    for (kind, outcome), times in sorted(outcomes.items()):
        click.echo(f"{kind:8} {outcome:10} {times}")
    click.echo(
        f"{sum(outcomes.values())} documents in {time.monotonic() - begun:.0f} s, {len(faults)} "
        "not held"
    )
    for fault in faults[:40]:
        click.echo(fault)
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
