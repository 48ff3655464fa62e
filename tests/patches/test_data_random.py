"""Random documents of YAML, JSON and TOML, written by a model of their own, edited, and read by the
formats' own readers.

Each key has a name of its own, and each comment names the key that it is about. So it can be told
without any parser of ours whether a comment stands where it stood.
"""

from __future__ import annotations

import json
import os
import random
import re
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from textwrap import indent
from typing import TYPE_CHECKING

import pytest
import yaml

from forkhouse.core.errors import ForkhouseError
from forkhouse.documents.reading import parse
from forkhouse.patches.edits import KeyedEdit
from forkhouse.patches.operations import apply_edit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

OPERATIONS = int(os.environ.get("FORKHOUSE_FUZZ_DATA", "250"))
"""Operations for each language.

`FORKHOUSE_FUZZ_DATA=20000 pytest -k random_data` is the long run.
"""
SCALARS = (
    0,
    -7,
    12345678901234567890,
    0.5,
    -0.0,
    1e300,
    True,
    False,
    "",
    "plain",
    "no",
    "22:22",
    "1e3",
    "0o17",
    "a: b",
    "# no",
    "é",
    "two\nlines\n",
)
VALUES = {  # as an edit says it, and as a reader sees it
    "0.85": 0.85,
    '"0.85"': "0.85",
    "22:22": "22:22",
    "no": "no",
    "'1e3'": "1e3",
    "1.0e+3": 1000.0,
    "-0.0": -0.0,
    "true": True,
    "[1, two, [3.5]]": [1, "two", [3.5]],
    "{x: 1, y: [a]}": {"x": 1, "y": ["a"]},
    '"a\\nb"': "a\nb",
    '"# x"': "# x",
    '"- y: [z"': "- y: [z",
}


@dataclass
class Writer:
    """Writes a value in one of the many ways that its format has."""

    chance: random.Random
    names: Iterator[int] = field(default_factory=count)

    def value(self, depth: int) -> object:
        kind = self.chance.random()
        if depth == 0 or kind < 0.45:
            return self.chance.choice(SCALARS)
        size = self.chance.choice((0, 1, 1, 2, 3))
        if kind < 0.75:
            return {f"k{next(self.names)}": self.value(depth - 1) for _ in range(size)}
        return [self.value(depth - 1) for _ in range(size)]

    def maybe(self, text: str, chance: float = 0.3) -> str:
        return text if self.chance.random() < chance else ""

    # YAML

    def yaml_flow(self, value: object) -> str:
        blank, line = self.chance.choice(("", " ")), self.maybe("\n  ", 0.1)
        if isinstance(value, dict):
            return (
                "{"
                + blank
                + f",{line or ' '}".join(
                    f"{key}: {self.yaml_flow(each)}" for key, each in value.items()
                )
                + blank
                + "}"
            )
        if isinstance(value, list):
            comma = self.maybe(",", 0.2) if value else ""
            return (
                "["
                + blank
                + f",{line or ' '}".join(self.yaml_flow(each) for each in value)
                + comma
                + blank
                + "]"
            )
        return str(
            yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, width=9999)
        ).strip()[1:-1]

    def yaml_entry(self, head: str, value: object, name: str) -> str:
        """Write a value behind its key or its dash."""
        remark = self.maybe(f"  # at {name}")
        is_block = isinstance(value, dict | list) and value and self.chance.random() < 0.7
        if isinstance(value, str) and "\n" in value and self.chance.random() < 0.6:
            return f"{head} {self.chance.choice('|>')}{remark}\n" + indent(value, "  ")
        if not is_block:
            said = self.yaml_flow(value)
            return f"{head} {said}{remark * one_line(said)}\n"
        inner = self.yaml_block(value)
        if head == "-" and self.chance.random() < 0.6 and not inner.startswith(("#", "\n")):
            return f"- {indent(inner, '  ')[2:]}"
        dashes = isinstance(value, list) and head != "-" and self.chance.random() < 0.4
        return f"{head}{remark}\n{inner if dashes else indent(inner, '  ')}"

    def yaml_block(self, value: object) -> str:
        pairs = (
            value.items() if isinstance(value, dict) else ((None, each) for each in value)  # type: ignore[attr-defined]
        )
        pieces = []
        for key, each in pairs:
            name = key or f"n{next(self.names)}"
            above = self.maybe(f"# above {key}\n", 0.2) if key else ""
            gap = self.maybe("\n", 0.1)
            spelt = (
                self.chance.choice((f"{key}:", f"{key}:", f'"{key}":', f"? {key}\n:"))
                if key
                else "-"
            )
            pieces.append(gap + above + self.yaml_entry(spelt, each, name))
        return "".join(pieces)

    def yaml(self, value: object) -> str:
        return (
            self.maybe("\n", 0.2)
            + self.maybe("---\n", 0.2)
            + self.yaml_block(value)
            + self.maybe("# end\n")
            + self.maybe("...\n", 0.1)
        )

    # JSON, with comments and trailing commas

    def json(self, value: object, *, loose: bool, depth: int = 0) -> str:
        if not isinstance(value, dict | list):
            return json.dumps(value, ensure_ascii=self.chance.random() < 0.3)
        many = value and self.chance.random() < 0.6
        space = "\n" + "  " * (depth + 1) if many else self.chance.choice(("", " "))
        parts: list[str] = []
        pairs: list[tuple[str | None, object]] = (
            list(value.items()) if isinstance(value, dict) else [(None, each) for each in value]
        )
        for position, (key, each) in enumerate(pairs):
            said = self.json(each, loose=loose, depth=depth + 1)
            comma = (
                "," if position + 1 < len(pairs) or (loose and self.chance.random() < 0.4) else ""
            )
            above = self.maybe(f"// above {key}{space}", 0.2) if loose and many and key else ""
            behind = (
                self.maybe(f" // at {key}", 0.2)
                if loose and many and key and "\n" not in said
                else ""
            )
            parts.append(f"{space}{above}" + (f'"{key}": ' if key else "") + said + comma + behind)
        close = "\n" + "  " * depth if many else space if pairs else ""
        one, other = "{}" if isinstance(value, dict) else "[]"
        return one + "".join(parts) + close + other

    # TOML

    def toml_inline(self, value: object) -> str:
        if isinstance(value, dict):
            return (
                "{ "
                + ", ".join(f"{key} = {self.toml_inline(each)}" for key, each in value.items())
                + " }"
                if value
                else "{}"
            )
        if isinstance(value, list):
            if value and self.chance.random() < 0.4:
                return "[\n" + "".join(f"  {self.toml_inline(each)},\n" for each in value) + "]"
            return "[" + ", ".join(self.toml_inline(each) for each in value) + "]"
        if isinstance(value, str) and "\n" in value and self.chance.random() < 0.5:
            return f'"""\n{value}"""'
        return json.dumps(value, ensure_ascii=False)

    def toml(self, value: dict[str, object], path: tuple[str, ...] = ()) -> str:
        lines, tables = [], []
        for key, each in value.items():
            above = self.maybe(f"# above {key}\n", 0.2)
            name = ".".join((*path, key))
            if isinstance(each, dict) and self.chance.random() < 0.6:
                tables.append(
                    f"\n{above}[{name}]{self.maybe(f'  # at {key}')}\n"
                    f"{self.toml(each, (*path, key))}"
                )
            elif (
                isinstance(each, list)
                and each
                and all(isinstance(one, dict) for one in each)
                and self.chance.random() < 0.7
            ):
                tables += [f"\n[[{name}]]\n{self.toml(one, (*path, key))}" for one in each]
            elif (
                isinstance(each, dict)
                and each
                and all(not isinstance(one, dict) for one in each.values())
                and self.chance.random() < 0.5
            ):
                lines += [
                    f"{key}.{inner} = {self.toml_inline(one)}\n" for inner, one in each.items()
                ]
            else:
                said = self.toml_inline(each)
                lines.append(
                    f"{above}{key} = {said}{self.maybe(f'  # at {key}') * one_line(said)}\n"
                )
        return "".join((*lines, *tables))


def one_line(text: str) -> bool:
    return "\n" not in text


def spelt(path: tuple[str | int, ...]) -> str:
    return ".".join(map(str, path))


def places(
    value: object, path: tuple[str | int, ...] = ()
) -> Iterator[tuple[tuple[str | int, ...], object]]:
    pairs = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for step, each in pairs:
        yield (*path, step), each
        yield from places(each, (*path, step))


def changed(
    value: object, path: tuple[str | int, ...], change: Callable[[Any, Any], None]
) -> object:
    """Return a copy of a value with the holder of a path changed."""
    copy = json.loads(json.dumps(value))
    holder = copy
    for step in path[:-1]:
        holder = holder[step]
    change(holder, path[-1])
    return copy


def chosen(
    chance: random.Random, value: object
) -> tuple[str, object, tuple[str | int, ...]] | None:
    """Return an operation, what a reader has to see after it, and what it is about."""
    there = list(places(value))
    if not there:
        return None
    path, held = chance.choice(there)
    said, new = chance.choice(list(VALUES.items()))
    match chance.choice(("set", "remove", "add", "item add", "item remove")):
        case "set":
            return (
                f"{{set: {spelt(path)}, value: {said}}}",
                changed(value, path, lambda holder, step: holder.__setitem__(step, new)),
                path,
            )
        case "remove":
            return (
                f"{{remove: {spelt(path)}}}",
                changed(value, path, lambda holder, step: holder.__delitem__(step)),
                path,
            )
        case "add":
            target = (
                (*path, "added") if isinstance(held, dict) and chance.random() < 0.8 else ("added",)
            )
            return (
                f"{{add: {spelt(target)}, value: {said}}}",
                changed(value, target, lambda holder, step: holder.__setitem__(step, new)),
                target,
            )
        case "item add" if isinstance(held, list):
            after = changed(value, (*path, 0), lambda holder, _: holder.append("more"))
            return f"item: {{of: {{key: {spelt(path)}}}, add: '\"more\"'}}", after, (*path, "more")
        case "item remove" if (
            isinstance(held, list) and "plain" in held and held.count("plain") == 1
        ):
            position = held.index("plain")
            after = changed(value, (*path, position), lambda holder, step: holder.__delitem__(step))
            return (
                f"item: {{of: {{key: {spelt(path)}}}, remove: '\"plain\"'}}",
                after,
                (*path, position),
            )
        case _:
            return None


def strict(value: object) -> str:
    """Return a value as text that tells types, order and zeros apart."""
    return json.dumps(value)


def unordered(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def misplaced(before: str, after: str, sign: str, value_now: object) -> str | None:
    """Return a comment that is lost or stands elsewhere, though the key that it is about is there
    as it was.
    """
    keys = {step for path, _ in places(value_now) for step in path[-1:] if isinstance(step, str)}
    lines = after.splitlines()
    for what, key in re.findall(rf"{sign} (above|at) (k\d+)", before):
        found = [
            number
            for number, line in enumerate(lines)
            if line.rstrip().endswith(f"{sign} {what} {key}")
        ]
        if key not in keys:
            continue
        if len(found) != 1:
            return f"{what} {key} is there {len(found)} times"
        code = [
            line.partition(f" {sign} ")[0]
            for line in lines[found[0] :]
            if not line.strip().startswith(sign) or what == "at"
        ]
        if not re.search(rf"\b{key}\b", code[0]) and not (
            what == "at" and re.search(rf"\? {key}\b", lines[found[0] - 1])
        ):
            return f"{what} {key} stands at {code[0]!r}"
    return None


READERS: dict[str, Callable[[str], object]] = {
    "yaml": yaml.safe_load,
    "json": lambda text: json.loads(
        re.sub(r",(\s*[}\]])", r"\1", re.sub(r"(?<![\w:\"/])//[^\n]*", "", text))
    ),
    "toml": tomllib.loads,
}


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("language", ["yaml", "json", "toml"])
def test_random_data_is_changed_by_exactly_what_an_operation_says(language: str) -> None:
    chance = random.Random(20261128)
    outcomes: Counter[str] = Counter()
    untrue: list[str] = []
    sign = "//" if language == "json" else "#"
    while outcomes.total() < OPERATIONS:
        writer = Writer(chance)
        value = {f"k{next(writer.names)}": writer.value(3) for _ in range(chance.randint(1, 4))}
        if language == "yaml":
            text = writer.yaml(value)
        elif language == "json":
            text = writer.json(value, loose=chance.random() < 0.5) + "\n"
        else:
            text = writer.toml(value)
        newline = chance.choice(("\n", "\n", "\r\n"))
        text = text.replace("\n", newline)
        read = READERS[language]
        # A literal of YAML may say less than was put into it.
        value = read(text)  # type: ignore[assignment]
        picked = chosen(chance, value)
        if picked is None:
            continue
        operation, wanted, path = picked
        about = f"{operation}\n{text!r}"
        edit = parse(
            KeyedEdit, f"path: f\nlanguage: {language}\noperations:\n  - {operation}\n", name="edit"
        )
        try:
            after = apply_edit(text, edit)
        except ForkhouseError as error:
            outcomes["refused"] += 1
            untrue += [about] if "matched 0 times" in str(error) else []
            if os.environ.get("FORKHOUSE_FUZZ_SHOW"):
                print(language, operation, repr(text), str(error)[:300])  # for whoever asks
            continue
        outcomes["applied"] += 1
        now = read(after)
        same = (
            unordered(now) == unordered(wanted)
            if language == "toml"
            else strict(now) == strict(wanted)
        )
        assert same, f"{about}\n{after!r}"
        assert after.count("\n") == after.count(newline), f"{about}\n{after!r}"
        left = value if path[-1] in {"added", "more"} or operation.startswith("{set") else wanted
        touched = {step for each in [path] for step in each[-1:]} | {
            step for deep, _ in places(value) if deep[: len(path)] == path for step in deep
        }
        kept = {path: each for path, each in places(left) if path[-1] not in touched}
        found = misplaced(text, after, sign, dict.fromkeys(str(path[-1]) for path in kept))
        assert found is None, f"{found}\n{about}\n{after!r}"
    assert not untrue
    assert outcomes["applied"] > outcomes.total() * 0.7, outcomes
