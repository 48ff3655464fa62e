"""Entry points, as `configparser` reads them: `importlib.metadata` and installers do the same."""

from __future__ import annotations

import configparser
import re
from typing import TYPE_CHECKING

from bench.edits.case import Case
from bench.edits.stream import UnreadableError, layout

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

Groups = list[tuple[str, list[tuple[str, str]]]]


def read(text: str) -> Groups:
    """Return the groups with their entries. Raises UnreadableError."""
    parser = configparser.ConfigParser(delimiters="=", interpolation=None)
    # As `importlib.metadata` does.
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise UnreadableError(str(error)) from error
    return [(section, list(parser.items(section))) for section in parser.sections()]


def pool(text: str) -> list[Callable[[random.Random], Case | None]]:
    """Return what makes cases of a file. Raises UnreadableError."""
    groups = read(text)
    remarks = re.findall(r"^[ \t]*[#;].*?$", text, re.MULTILINE)

    def remove(chance: random.Random) -> Case | None:
        group, _ = chance.choice(groups)

        def judge(after: str) -> str | None:
            try:
                found = read(after)
            except UnreadableError as error:
                return f"the reader refuses the result: {error}"
            if found != [each for each in groups if each[0] != group]:
                return f"the reader sees other groups | {found!r}"
            section = text.partition(f"[{group}]")[2].partition("\n[")[0]
            # What stands behind the last entry is about the next group.
            inner = section[
                : max(
                    (match.end() for match in re.finditer(r"^[^#;\s].*$", section, re.MULTILINE)),
                    default=0,
                )
            ]
            lost = [remark for remark in remarks if remark not in after and remark not in inner]
            return f"a comment is lost | {lost[0]!r}" if lost else layout(text, after)

        return Case(kind="remove group", operation={"remove": {"group": group}}, judge=judge)

    return [remove] if groups else []
