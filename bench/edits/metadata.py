"""Metadata of wheels and sdists, as the standard library's `email` reads it."""

from __future__ import annotations

import re
from collections import Counter
from email import message_from_string
from email.policy import compat32
from typing import TYPE_CHECKING

from pip._vendor.packaging.markers import Marker
from pip._vendor.packaging.requirements import InvalidRequirement, Requirement
from pip._vendor.packaging.utils import canonicalize_name

from bench.edits.case import Case
from bench.edits.requirements import NEW, draw_change, equal, named, wanted_of
from bench.edits.stream import UnreadableError, layout

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

Field = tuple[str, str]
_REQUIRES = "Requires-Dist"


def read(text: str) -> tuple[list[Field], str]:
    """Return the fields, folded lines joined, and the body. Raises UnreadableError."""
    message = message_from_string(text, policy=compat32)
    fields = [(key, re.sub(r"\r?\n", "\n", str(value))) for key, value in message.items()]
    body = message.get_payload()
    if message.defects or not fields or not isinstance(body, str):
        raise UnreadableError(f"not metadata: {message.defects}")
    for key, value in fields:
        if key == _REQUIRES:
            try:
                Requirement(value)
            except InvalidRequirement as error:
                raise UnreadableError(str(error)) from error
    return fields, body


def pool(text: str) -> list[Callable[[random.Random], Case | None]]:
    """Return what makes cases of a file. Raises UnreadableError."""
    fields, body = read(text)
    names = Counter(named(value) for key, value in fields if key == _REQUIRES)
    extras = [value for key, value in fields if key == "Provides-Extra"]

    def check(expected: Callable[[list[Field]], str | None]) -> Callable[[str], str | None]:
        def judge(after: str) -> str | None:
            try:
                found, rest = read(after)
            except UnreadableError as error:
                return f"the reader refuses the result: {error}"
            if rest != body:
                return "the description has changed"
            return expected(found) or layout(text, after)

        return judge

    def change(chance: random.Random) -> Case | None:
        name = chance.choice(sorted(names))
        action, operation, with_, keep = draw_change(name, names[name], chance)

        def expected(found: list[Field]) -> str | None:
            rest = list(found)
            for key, value in fields:
                if key != _REQUIRES or named(value) != name:
                    if not rest or rest.pop(0) != (key, value):
                        return f"another field has changed | {key}: {value[:80]!r}"
                elif action == "replace":
                    new = rest.pop(0) if rest else ("", "")
                    wanted = wanted_of(value, with_, keep=keep)
                    if _extra(value) and Requirement(with_).marker:
                        wanted.marker = Marker(f"({Requirement(with_).marker}) and {_extra(value)}")
                    if new[0] != _REQUIRES or not (
                        equal(new[1], wanted)
                        or (
                            str(wanted.marker) != str(Requirement(value).marker)
                            and _alike(new[1], wanted)
                        )
                    ):
                        return (
                            f"the new declaration is not what was asked for | {value!r} became "
                            f"{new[1]!r}, wanted {str(wanted)!r}"
                        )
            return f"a field is there that nobody asked for | {rest[0]!r}" if rest else None

        return Case(kind=f"requirement {action}", operation=operation, judge=check(expected))

    def add(chance: random.Random) -> Case | None:
        new = chance.choice(NEW)
        extra = (
            chance.choice(extras) if extras and chance.random() < 0.4 else None
        )  # a part of them
        wanted = Requirement(new)
        if extra is not None:
            marker = f'extra == "{extra}"'
            wanted.marker = Marker(f"({wanted.marker}) and {marker}" if wanted.marker else marker)

        def expected(found: list[Field]) -> str | None:
            more = [
                n
                for n, (key, value) in enumerate(found)
                if key == _REQUIRES
                and canonicalize_name(Requirement(value).name).startswith("added")
            ]
            if len(more) != 1 or not equal(found[more[0]][1], wanted):
                return (
                    f"the new declaration is not there, or another | {[found[n] for n in more]!r}"
                )
            return (
                None
                if [*found[: more[0]], *found[more[0] + 1 :]] == fields
                else "another field has changed"
            )

        change: dict[str, object] = {"add": new, **({"extra": extra} if extra is not None else {})}
        return Case(
            kind="requirement add", operation={"requirement": change}, judge=check(expected)
        )

    return [change, change, change, add] if names else [add]


def _extra(value: str) -> str:
    match = re.search(r"""extra\s*==\s*["'][^"']+["']""", value)
    return match[0] if match else ""


def _alike(said: str, wanted: Requirement) -> bool:
    """Say whether two declarations are the same but for how their marker is put together."""
    found = Requirement(said)
    same = (found.name, found.extras, found.specifier, found.url) == (
        wanted.name,
        wanted.extras,
        wanted.specifier,
        wanted.url,
    )
    words = [sorted(re.findall(r"[\w.]+", str(each.marker))) for each in (found, wanted)]
    return same and words[0] == words[1]
