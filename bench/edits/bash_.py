"""Bash, as bash itself prints it again, parsed as one function.

Shfmt's parser tells where things are, and where comments.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.edits.case import Case
from bench.edits.stream import UnreadableError, layout

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

BASH = shutil.which("bash") or "bash"
SHFMT = (
    shutil.which("shfmt", path=str(Path(sys.executable).parent)) or shutil.which("shfmt") or "shfmt"
)
_EMPTY = {"PATH": "/nonexistent", "LC_ALL": "C.UTF-8"}


def _run(command: list[str], text: str) -> str | None:
    # Nothing of a script is ever run: it is parsed alone, then as the body of a function that
    # nobody calls, by a restricted shell.
    result = subprocess.run(
        command,
        input=text.encode(),
        capture_output=True,
        check=False,
        env=_EMPTY,
        cwd=tempfile.gettempdir(),
        timeout=20,
    )
    if result.returncode or b"syntax error" in result.stderr or b"here-document" in result.stderr:
        return None
    return result.stdout.decode("utf-8", errors="surrogateescape")


@lru_cache(maxsize=256)
def printed(text: str) -> str:
    """Return a script as bash prints it, without comments, its here-documents as they are.

    Raises UnreadableError.
    """
    if _run([BASH, "--norc", "-n"], text) is None:
        raise UnreadableError("bash refuses it")
    said = _run([BASH, "--norc", "-r", "-s"], f"__whole() {{\n:\n{text}\n}}\ndeclare -f __whole\n")
    if said is None:
        raise UnreadableError("bash cannot print it")
    return said


@lru_cache(maxsize=64)
def tree(text: str) -> dict[str, Any]:
    """Return what shfmt sees. Raises UnreadableError."""
    said = _run([SHFMT, "-ln=bash", "--to-json"], text)
    if said is None:
        raise UnreadableError("shfmt refuses it")
    found: dict[str, Any] = json.loads(said)
    return found


def _walk(node: object, under: str = "") -> Iterator[tuple[dict[str, Any], str]]:
    """Yield all nodes, each with the name of what holds it."""
    if isinstance(node, dict):
        yield node, under
        for name, inner in node.items():
            yield from _walk(inner, name)
    elif isinstance(node, list):
        for inner in node:
            yield from _walk(inner, under)


def comments(text: str) -> list[str]:
    """Return the comments."""
    if "#" not in text:
        return []
    found = [node for node, _ in _walk(tree(text)) if "Hash" in node]
    return [
        str(node.get("Text", "")).rstrip()
        for node in sorted(found, key=lambda node: node["Hash"]["Offset"])
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Thing:
    what: str
    name: str
    start: int
    end: int
    alone: bool
    """It is a statement, alone on its lines."""
    parts: tuple[tuple[int, int], ...] | None = None
    items: bool = False
    head: int = 0
    """Where the first part would begin."""


FUNCTIONS = (
    "{name}() {\n    echo 1\n}",
    "function {name} {\n    # a word\n    cat <<EOF\n  one\n    two $1\nEOF\n    return 0 # so\n}",
    "{name}() {\n    if true; then\n        echo 'a\n  b'\n    fi\n}",
)
CALLS = ("renamed 1", 'other "a b" $(c) # so', "cat <<'EOF'\n  x\n y\nEOF", 'echo "one\n  two"')
ASSIGNMENTS = ("{name}=3", '{name}="a\n  b"', "{name}=(1 2)", "{name}=$(other 1)")
STATEMENTS = (
    "added 1 2",
    "# a word\nadded\n",
    "if added; then\n    added 1 # so\nfi",
    "cat <<EOF\n  a\n    b\nEOF",
    'ADDED="a\n  b"',
)
PARTS = ("added", '"new one"', "$(f 1)", "--flag=$X", "'it'")


def pool(text: str) -> list[Callable[[random.Random], Case | None]]:
    """Return what makes cases of a file. Raises UnreadableError."""
    printed(text)
    things = list(_things(text))
    numbers = Counter((thing.what, thing.name) for thing in things)
    single = [thing for thing in things if numbers[thing.what, thing.name] == 1 and thing.end]
    kinds = [
        [thing for thing in single if thing.what == what]
        for what in ("function", "call", "assignment")
    ]
    makers: list[Callable[[random.Random], Case | None]] = []
    makers += [
        lambda chance, those=those: _whole(text, chance.choice(those), chance)
        for those in kinds
        if those
    ]  # type: ignore[misc]
    parted = [thing for thing in single if thing.parts is not None]
    if parted:
        makers.append(lambda chance: _part(text, chance.choice(parted), chance))
    return makers


def _things(text: str) -> Iterator[_Thing]:
    encoded = text.encode()
    plain = len(encoded) == len(text)

    def at(node: dict[str, Any], side: str) -> int:
        offset = int(node[side]["Offset"])
        return offset if plain else len(encoded[:offset].decode(errors="ignore"))

    free = {
        id(node)
        for node, under in _walk(tree(text))
        if under in {"Stmts", "Then", "Do", "Else"}
        and "Cmd" in node
        and not {"Negated", "Background", "Redirs", "Coprocess"} & set(node)
    }
    for node, under in _walk(tree(text)):
        command = node.get("Cmd")
        if isinstance(command, dict) and "Type" in command:
            alone = (
                id(node) in free
                and under != "Cond"
                and _alone(text, at(command, "Pos"), at(command, "End"))
            )
            yield from _commands(command, at, alone=alone)


def _alone(text: str, start: int, end: int) -> bool:
    line = text.rfind("\n", 0, start) + 1
    return (
        not text[line:start].strip()
        and re.fullmatch(r"[ \t]*(?:#[^\n]*)?", text[end:].partition("\n")[0]) is not None
    )


def _commands(
    command: dict[str, Any], at: Callable[[dict[str, Any], str], int], *, alone: bool
) -> Iterator[_Thing]:
    start, end = at(command, "Pos"), at(command, "End")
    match command["Type"]:
        case "FuncDecl":
            yield _Thing(
                what="function",
                name=command["Name"]["Value"],
                start=start,
                end=end if alone else 0,
                alone=alone,
            )
        case "CallExpr" if command.get("Args"):
            first, *rest = command["Args"]
            parts = tuple((at(word, "Pos"), at(word, "End")) for word in rest)
            if len(first["Parts"]) == 1 and first["Parts"][0]["Type"] == "Lit":
                name = first["Parts"][0]["Value"]
                assigned = bool(command.get("Assigns"))
                known = re.fullmatch(r"[A-Za-z_][\w-]*", name) is not None and not assigned
                yield _Thing(
                    what="call",
                    name=name,
                    start=start,
                    end=end if known else 0,
                    alone=alone,
                    parts=parts if known and alone else None,
                    head=at(first, "End"),
                )
            yield from (
                _Thing(what="assignment", name=each["Name"]["Value"], start=0, end=0, alone=False)
                for each in command.get("Assigns", [])
            )
        case "CallExpr" if command.get("Assigns"):
            for each in command["Assigns"]:
                sole = alone and len(command["Assigns"]) == 1 and "Index" not in each
                array = each.get("Array")
                parts_: tuple[tuple[int, int], ...] | None = None
                head = 0
                if array is not None and sole and not each.get("Append"):
                    elements = array.get("Elems", [])
                    parts_ = tuple((at(element, "Pos"), at(element, "End")) for element in elements)
                    head = at(array, "Pos") + 1
                    if any("Index" in element for element in elements):
                        parts_ = None
                yield _Thing(
                    what="assignment",
                    name=each["Name"]["Value"],
                    start=start,
                    end=end if sole else 0,
                    alone=sole,
                    parts=parts_,
                    items=True,
                    head=head,
                )
        case "DeclClause":
            for each in command.get("Args", []):
                if "Name" in each:
                    yield _Thing(
                        what="assignment", name=each["Name"]["Value"], start=0, end=0, alone=False
                    )


def _judged(
    text: str, window: tuple[int, int], references: list[str], *, loose: str = ""
) -> Callable[[str], str | None]:
    """Return a judge.

    Bash prints the result as it prints a text that was put together by hand, and all outside of a
    window is as it was.
    """

    def check(after: str) -> str | None:
        if after in references:
            return None
        try:
            found = printed(after)
            wanted = [printed(reference) for reference in references]
        except UnreadableError as error:
            return f"the reader refuses the result: {error}"
        if found not in wanted:
            old, new = wanted[0].split("\n"), found.split("\n")
            at = next(
                (n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b),
                min(len(old), len(new)),
            )
            return f"bash prints other code | wanted {old[at : at + 3]}, found {new[at : at + 3]}"
        start, end = window
        if after[:start] != text[:start] or (end < len(text) and not after.endswith(text[end:])):
            return "what nobody meant has changed outside of the edit"
        try:
            lost = Counter(comments(references[0])) - Counter(comments(after))
            more = Counter(comments(after)) - Counter(comments(references[0]))
        except UnreadableError as error:
            return f"the reader refuses the result: {error}"
        gone = [remark for remark in lost if remark.strip() not in loose]
        if gone or [remark for remark in more if remark.strip() not in loose]:
            return f"a comment is lost, or one is there that nobody wrote | {gone or list(more)!r}"
        return layout(text, after)

    return check


def _lines(text: str, thing: _Thing) -> tuple[int, int]:
    """Return where the lines of a thing begin and end, the comments directly over it among them."""
    start = text.rfind("\n", 0, thing.start) + 1
    while start > 0 and text[text.rfind("\n", 0, start - 1) + 1 : start].lstrip().startswith("#"):
        start = text.rfind("\n", 0, start - 1) + 1
    end = text.find("\n", thing.end)
    return start, len(text) if end < 0 else end


def _whole(text: str, thing: _Thing, chance: random.Random) -> Case | None:
    action = chance.choice(("replace", "remove", "before", "after", "wrap"))
    selector = {thing.what: thing.name}
    window = _lines(text, thing)
    around = text[window[0] : window[1]]
    if not thing.alone:
        return None
    line, stop = text.rfind("\n", 0, thing.start) + 1, window[1]
    if action == "replace":
        new = chance.choice(
            {"function": FUNCTIONS, "call": CALLS, "assignment": ASSIGNMENTS}[thing.what]
        ).replace("{name}", thing.name)
        tail = text[thing.end : stop]
        reference = (
            text[: thing.start] + new + (tail if not new.endswith("EOF") else "") + text[stop:]
        )
        return Case(
            kind=f"replace {thing.what}",
            operation={"replace": selector, "with": new},
            judge=_judged(text, window, [reference], loose=around),
        )
    if action == "wrap":
        reference = text[: thing.start] + "run --as root " + text[thing.start :]
        if thing.what != "call":
            return None
        return Case(
            kind="wrap call",
            operation={"wrap": selector, "with": "run --as root $MATCH"},
            judge=_judged(text, window, [reference]),
        )
    if action == "remove":
        ways = [
            text[:line] + text[stop:].removeprefix("\n"),
            text[: thing.start] + ":" + text[thing.end :],
        ]
        readable = []
        for way in ways[:1]:
            try:
                printed(way)
                readable = [way]
            except UnreadableError:
                readable = [ways[1]]
        return Case(
            kind=f"remove {thing.what}",
            operation={"remove": selector},
            judge=_judged(text, window, readable, loose=around),
        )
    new = chance.choice(STATEMENTS)
    said = new if new.endswith("\n") else f"{new}\n"
    over, under = (
        text[:line] + said + text[line:],
        f"{text[:stop]}\n{said}".removesuffix("\n") + text[stop:],
    )
    reference = over if action == "before" else under
    operation: dict[str, object] = {"insert": {action: selector, "text": new}}
    return Case(
        kind=f"{action} {thing.what}", operation=operation, judge=_judged(text, window, [reference])
    )


def _part(text: str, thing: _Thing, chance: random.Random) -> Case | None:
    parts = thing.parts or ()
    name = "item" if thing.items else "argument"
    of = {thing.what: thing.name}
    window = _lines(text, thing)
    action = chance.choice(("add", "remove", "replace"))
    new = chance.choice(PARTS)
    if action == "add":
        at = parts[-1][1] if parts else thing.head
        reference = f"{text[:at]} {new}{text[at:]}"
        return Case(
            kind=f"{name} add",
            operation={name: {"of": of, "add": new}},
            judge=_judged(text, window, [reference]),
        )
    if not parts:
        return None
    number = chance.randrange(len(parts))
    start, end = parts[number]
    said = text[start:end]
    if "\n" in said or [text[a:b] for a, b in parts].count(said) > 1:
        return None
    reference = text[:start] + (new if action == "replace" else "") + text[end:]
    change: dict[str, object] = {
        "of": of,
        action: said,
        **({"with": new} if action == "replace" else {}),
    }
    around = text[window[0] : window[1]] if action == "remove" else ""
    return Case(
        kind=f"{name} {action}",
        operation={name: change},
        judge=_judged(text, window, [reference], loose=around),
    )
