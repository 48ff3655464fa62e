"""One random operation.

As a user writes it, and what the reader of its language has to see afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import indent
from typing import TYPE_CHECKING

import yaml

from forkhouse.documents.reading import parse
from forkhouse.patches.edits import AddedFile, FileEdit, StructuralEdit

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

HEADER = "Subject: s\nDescription: d\nOrigin: o\nForwarded: no\nRetire-When: never\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Raw:
    """A value just as the user writes it, without quotes."""

    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """An operation and its judge."""

    kind: str
    """Name of the operation and of its target, for the statistics."""
    operation: dict[str, object]
    judge: Callable[[str], str | None]
    """Say what is wrong with the text that the engine made.

    None when the reader sees what the operation says.
    """
    certain: bool = True
    """Whether the reader is sure that the target exists exactly as often as is expected."""
    language: str | None = None
    """The language of the edit, where it is not the file's.

    Requirements stand in files of TOML too.
    """


class Pool:
    """Makes cases of one file at random."""

    def __init__(self, makers: Sequence[Callable[[random.Random], Case | None]]) -> None:
        """Take functions that each make a case.

        A function returns None where the file has nothing that it could edit.
        """
        self._makers = makers

    def draw(self, chance: random.Random, *, attempts: int = 12) -> Case | None:
        """Return a case; None where the file has nothing to be edited."""
        for _ in range(attempts):
            case = chance.choice(self._makers)(chance) if self._makers else None
            if case is not None:
                return case
        return None


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, as people do."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    )


def _raw(dumper: yaml.SafeDumper, raw: Raw) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", f"@@{raw.text}@@", style=None)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(Raw, _raw)


def written(operation: dict[str, object]) -> str:
    """Return an operation as a user writes it."""
    said = yaml.dump([operation], Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**6)
    lines = []
    for line in said.split("\n"):
        begin, end = line.find("'@@"), line.rfind("@@'")
        if begin < 0:
            begin, end = line.find("@@"), line.rfind("@@")
            lines.append(
                line if begin < 0 else line[:begin] + line[begin + 2 : end] + line[end + 2 :]
            )
        else:
            lines.append(line[:begin] + line[begin + 3 : end].replace("''", "'") + line[end + 3 :])
    return "\n".join(lines)


def edit_of(language: str, path: str, operation: dict[str, object]) -> FileEdit:
    """Return the edit, read from the text of a document as a user writes it.

    Raises DocumentError.
    """
    text = (
        f"{HEADER}edits:\n  - path: {path!r}\n    language: {language}\n    "
        f"operations:\n{indent(written(operation), '      ')}"
    )
    (edit,) = parse(StructuralEdit, text, name="edit").edits
    assert not isinstance(edit, AddedFile)  # it has a language
    return edit
