"""What is true of an edit on a tree, judged without the patch engine.

Whether its target is there, and whether its effect is.

The words of an edit are read from its YAML, and looked for with regular expressions and git's own
rename detection, so that a fault of the engine cannot hide behind the engine's own view.
"""

from __future__ import annotations

import ast
import re
import warnings
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import yaml
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from pygit2.enums import DeltaStatus

from bench.peers import must, run
from forkhouse.core.errors import PostConditionError
from forkhouse.patches.merging import difference
from forkhouse.patches.structural import check_conditions
from forkhouse.patches.textual import map_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from forkhouse.patches.series import Patch
    from forkhouse.sources.store import ObjectStore

SELECTORS = ("replace", "wrap", "remove", "insert", "argument", "item", "include", "import")
ATTRIBUTES = {"kind", "field", "stopBy", "text", "with", "add", "value"}
"""Keys of a selector whose values are not words of the upstream's code."""
SIMILAR = 50
"""Percent of likeness from which git takes a file for a renamed one, its default."""


class Target(StrEnum):
    """How much of what an edit is about exists on a base."""

    WHOLE = "whole"
    """Every file (or its new name) and every symbol, selector or requirement."""
    PART = "part"
    """Some of them."""
    ELSEWHERE = "elsewhere"
    """The file is gone, and another file holds the words."""
    GONE = "gone"


def changes(patch: Patch) -> list[dict[str, Any]]:
    """Return the edits of a patch file as they are written."""
    document: dict[str, Any] = yaml.safe_load(patch.content)
    return list(document["edits"])


def named(change: Mapping[str, Any]) -> list[str]:
    """Return the paths of an edit: one, or alternatives in order."""
    path = change.get("path", change.get("paths", []))
    return [path] if isinstance(path, str) else list(path)


def target(
    patch: Patch, base: str, pin: str, paths: Mapping[str, str], *, store: ObjectStore
) -> Target:
    """Say how much of what an edit is about exists on a base.

    `pin` is the tree that it was written for.
    """
    found: list[bool] = []
    lost = 0
    edits = [change for change in changes(patch) if "operations" in change]
    for change in edits:
        path = find(change, base, pin, paths, store=store)
        if path is None:
            lost += 1
            found += [False] * len(change["operations"])
            continue
        text = store.read(base, path).decode("utf-8", errors="replace")
        found += [_present(text, operation) for operation in change["operations"]]
    if all(found):
        return Target.WHOLE
    if any(found):
        return Target.PART
    return (
        Target.ELSEWHERE
        if lost == len(edits) and _elsewhere(edits, base, store=store)
        else Target.GONE
    )


def find(
    change: Mapping[str, Any], base: str, pin: str, paths: Mapping[str, str], *, store: ObjectStore
) -> str | None:
    """Return where the file of an edit is on a base.

    At its path, or where git sees it renamed to.
    """
    patterns = [map_path(path, paths) for path in named(change)]
    for pattern in patterns:
        found = store.glob(base, pattern)
        if len(found) == 1:
            return found[0]
    old = [path for pattern in patterns for path in store.glob(pin, pattern)]
    new = renames(pin, base, store=store) if old else {}
    return next((new[path] for path in old if path in new), None)


_RENAMES: dict[tuple[str, str], dict[str, str]] = {}


def renames(before: str, after: str, *, store: ObjectStore) -> dict[str, str]:
    """Return the files that were renamed between two trees; reckoned once for each pair."""
    if (before, after) not in _RENAMES:
        options = (f"--find-renames={SIMILAR}%", "-l3000", "--diff-filter=R", "--name-status", "-z")
        said = must(
            run(store.folder, "git", f"--git-dir={store.folder}", "diff", *options, before, after)
        ).stdout
        parts = said.decode().split("\0")[:-1]
        _RENAMES[before, after] = dict(zip(parts[1::3], parts[2::3], strict=True))
    return _RENAMES[before, after]


def _present(text: str, operation: Mapping[str, Any]) -> bool:
    """Say whether what one operation is about is in a file."""
    if "requirement" in operation:
        return _required(text, operation["requirement"])
    selector = next((operation[key] for key in SELECTORS if key in operation), operation)
    if isinstance(selector, dict) and "group" in selector:
        return f"[{selector['group']}]" in text
    if isinstance(selector, dict) and "function" in selector:
        return bool(re.search(rf"(?<!\w){re.escape(selector['function'])}\s*\(", text))
    return all(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) for word in _words(selector))


def _required(text: str, change: Mapping[str, Any]) -> bool:
    wanted = canonicalize_name(change.get("remove") or change.get("replace") or "")
    for line in text.partition("\n\n")[0].splitlines():
        try:
            requirement = Requirement(
                line.removeprefix("Requires-Dist: ").partition("#")[0].strip()
            )
        except InvalidRequirement:
            continue
        extra = change.get("extra")
        if fnmatchcase(canonicalize_name(requirement.name), wanted) and (
            extra is None or f'"{extra}"' in str(requirement.marker or "")
        ):
            return True
    return "add" in change


def _words(selector: object) -> Iterator[str]:
    """Yield the identifiers that a selector names; meta variables are none."""
    if isinstance(selector, str):
        yield from re.findall(r"(?<![$\w])[A-Za-z_]\w{2,}", selector)
    elif isinstance(selector, list):
        for each in selector:
            yield from _words(each)
    elif isinstance(selector, dict):
        for key, value in selector.items():
            if key not in ATTRIBUTES:
                yield from _words(value)


def _elsewhere(edits: list[dict[str, Any]], base: str, *, store: ObjectStore) -> bool:
    suffixes = tuple({f".{path.rpartition('.')[2]}" for change in edits for path in named(change)})
    operations = [operation for change in edits for operation in change["operations"]]
    return any(
        file.path.endswith(suffixes)
        and all(
            _present(file.content.decode("utf-8", errors="replace"), operation)
            for operation in operations
        )
        for file in store.files(base)
    )


def faults(
    patch: Patch, base: str, tree: str, paths: Mapping[str, str], *, store: ObjectStore
) -> str:
    """Return what is wrong with a tree that a tool says it has patched, or nothing."""
    if tree == base:
        return "nothing was changed"
    assert patch.edit is not None  # textual patches have no conditions
    try:
        check_conditions(tree, patch.edit, paths, store=store, where=patch.name)
    except PostConditionError as error:
        return str(error)
    diff = difference(base, tree, store=store)
    for delta in diff.deltas:
        path = delta.new_file.path
        if (
            path.endswith(".py")
            and delta.status == DeltaStatus.MODIFIED
            and _parses(store.read(base, path))
            and not _parses(store.read(tree, path))
        ):
            return f"{path} is no longer Python"
    return ""


def _parses(content: bytes) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about what the upstream writes
        try:
            ast.parse(content)
        except SyntaxError:
            return False
    return True
