"""The patches one by one, from their headers: what, why, and when each is retired.

Nothing of an upstream is here: the difference that a patch makes at its pin needs the upstream's
source, and is shown by `forkhouse patches explain`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from docs.generate.text import prose, table, target
from forkhouse.patches.edits import AddedFile
from forkhouse.patches.series import read_series

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkhouse.patches.edits import Condition, Sought, StructuralEdit
    from forkhouse.patches.series import Patch

PATCHES = Path(__file__).parents[2] / "patches"


def upstreams() -> list[str]:
    """Return the names of the upstreams that have a series."""
    return sorted(folder.name for folder in PATCHES.iterdir() if folder.is_dir())


def overview() -> str:
    """Return a table of all patches."""
    rows = [
        [
            f"[{name}](#series-{name})",
            f"[{patch.name[:4]}](#{_label(name, patch)})",
            prose(patch.subject),
        ]
        for name in upstreams()
        for patch in read_series(PATCHES / name)
    ]
    return table(("upstream", "patch", "what"), rows)


def series(upstream: str) -> str:
    """Return a section for each patch of a series, in its order."""
    return "\n\n".join(_section(upstream, patch) for patch in read_series(PATCHES / upstream))


def _label(upstream: str, patch: Patch) -> str:
    return f"patch-{upstream}-{patch.name[:4]}"


def _section(upstream: str, patch: Patch) -> str:
    facts = table(
        ("", ""), [[f"**{name}**", value] for name, value in _facts(upstream, patch) if value]
    )
    heading = f"## {patch.name[:4]}: {prose(patch.subject)}"
    described = prose(_field(patch, "Description"))
    return f"{target(_label(upstream, patch))}{heading}\n\n{described}\n\n{facts}"


def _field(patch: Patch, name: str) -> str:
    """Return a DEP-3 field of a patch's header: its first line, and those that continue it."""
    found = re.search(
        rf"^{name}:[ \t]*(.*(?:\n[ \t]+\S.*)*)", patch.header, re.MULTILINE | re.IGNORECASE
    )
    return found[1] if found else ""


def _facts(upstream: str, patch: Patch) -> Iterator[tuple[str, str]]:
    yield "file", f"`patches/{upstream}/{patch.name}`"
    yield "retired when", prose(_field(patch, "Retire-When"))
    yield "origin", prose(_field(patch, "Origin"))
    yield "forwarded", prose(_field(patch, "Forwarded"))
    yield "applied upstream", prose(_field(patch, "Applied-Upstream"))
    yield "bug", prose(_field(patch, "Bug"))
    if patch.edit is None:
        added = re.findall(rb"^\+\+\+ b/(\S+)", patch.content, re.MULTILINE)
        yield "adds", ", ".join(f"`{name.decode()}`" for name in added)
    else:
        yield from _edit_facts(patch.edit)
    begin = patch.name.removesuffix(".edit.yaml").removesuffix(".patch")
    yield "its diff at the pin", f"`forkhouse patches explain {upstream} {begin}`"


def _edit_facts(edit: StructuralEdit) -> Iterator[tuple[str, str]]:
    yield "forms", ", ".join(edit.forms)
    yield "adds", ", ".join(f"`{each.add}`" for each in edit.edits if isinstance(each, AddedFile))
    changed = [each for each in edit.edits if not isinstance(each, AddedFile)]
    yield (
        "changes",
        "; ".join(f"{_paths(each.path)} ({_counted(len(each.operations))})" for each in changed),
    )
    yield "holds afterwards", "; ".join(map(_condition, edit.after))


def _counted(number: int) -> str:
    return "1 operation" if number == 1 else f"{number} operations"


def _paths(paths: str | tuple[str, ...]) -> str:
    return " or ".join(f"`{path}`" for path in ([paths] if isinstance(paths, str) else paths))


def _condition(condition: Condition) -> str:
    absent, present = condition.absent, condition.present
    return (
        f"absent: {_sought(absent)}"
        if absent
        else f"present: {_sought(present)}"
        if present
        else ""
    )


def _sought(sought: Sought) -> str:
    what = f"the requirement `{sought.requirement}`" if sought.requirement else f"`{sought.text}`"
    return f"{what} in {_paths(sought.in_)}".replace("|", r"\|")
