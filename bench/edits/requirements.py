"""Requirements files, as pip's own parser reads them."""

from __future__ import annotations

import optparse
import re
from collections import Counter
from typing import TYPE_CHECKING

from pip._internal.exceptions import PipError
from pip._internal.req.req_file import get_line_parser, preprocess
from pip._vendor.packaging.markers import Marker
from pip._vendor.packaging.requirements import InvalidRequirement, Requirement
from pip._vendor.packaging.utils import canonicalize_name

from bench.edits.case import Case
from bench.edits.stream import UnreadableError, layout

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

Entry = tuple[str, str]
"""What pip reads on a line.

A declaration, its white space collapsed, and the options behind it or alone.
"""
_PARSER = get_line_parser(None)
NEW = (
    "added-one>=2.0",
    "added_two[extra]==1.0 ; python_version >= '3.9'",
    "added.three @ https://host.invalid/added-3.whl",
    "added",
)
WITH = (
    "{name}>=99.0",
    "other-name==1.2",
    "{name}[more]==3",
    "{name} @ https://host.invalid/x.whl",
    "{name}==1 ; sys_platform == 'linux'",
)


def read(text: str) -> list[Entry]:
    """Return what pip reads. Raises UnreadableError."""
    entries = []
    try:
        for _, line in preprocess(text.removeprefix("\ufeff")):
            said, options = _PARSER(line)
            plain = sorted(
                (key, repr(value))
                for key, value in vars(options).items()
                if value and key not in {"format_control", "release_control"}
            )
            said = " ".join(said.split())
            if said:
                Requirement(re.sub(r"\s+#.*", "", said))
            entries.append((said, repr(plain) if plain else ""))
    except (PipError, ValueError, optparse.OptionError, InvalidRequirement, SystemExit) as error:
        raise UnreadableError(str(error)) from error
    return entries


def named(said: str) -> str:
    """Return the name of a declaration, as PEP 503 writes it; nothing for a line of options."""
    return canonicalize_name(Requirement(said).name) if said else ""


def equal(said: str, wanted: Requirement) -> bool:
    """Say whether a declaration means the same as another."""
    return Requirement(said) == wanted


def wanted_of(old: str, with_: str, *, keep: bool) -> Requirement:
    """Return what a declaration is replaced by.

    The marker stays where the new one has none, and the version where it is to be kept.
    """
    before, new = Requirement(old), Requirement(with_)
    new.marker = new.marker or before.marker
    if keep:
        new.specifier, new.url = before.specifier, before.url
    return new


def comments(text: str) -> list[tuple[str, str]]:
    """Return the comments, by pip's rule, each with what stands before it on its line."""
    found = []
    for line in re.split(r"\r?\n", text.removeprefix("\ufeff")):
        match = re.search(r"(?:^|\s+)#.*$", line)
        if match:
            found.append((match[0].strip(), line[: match.start()].strip()))
    return found


def draw_change(
    name: str, number: int, chance: random.Random
) -> tuple[str, dict[str, object], str, bool]:
    """Draw a change of a requirement at random.

    Returns the action, the change as an edit writes it, the new declaration, and whether the
    version is kept.
    """
    spelling = chance.choice((name, name.replace("-", "_"), name.upper(), name.replace("-", ".")))
    action = chance.choice(("remove", "replace", "replace"))
    if action == "remove":
        return (
            action,
            {"requirement": {"remove": spelling}, **({"count": number} if number > 1 else {})},
            "",
            False,
        )
    keep = chance.random() < 0.3  # a part of them
    with_ = (
        chance.choice((name, f"{name}[more]")) if keep else chance.choice(WITH).format(name=name)
    )
    change: dict[str, object] = {
        "replace": spelling,
        "with": with_,
        **({"keep-version": True} if keep else {}),
    }
    return action, {"requirement": change, **({"count": number} if number > 1 else {})}, with_, keep


def pool(text: str) -> list[Callable[[random.Random], Case | None]]:
    """Return what makes cases of a file. Raises UnreadableError."""
    entries = read(text)
    if re.search(r"^\[", text, re.MULTILINE):
        raise UnreadableError("it has sections")
    names = Counter(named(said) for said, _ in entries if said)
    remarks = comments(text)

    def check(
        expected: Callable[[list[Entry]], str | None], touched: str
    ) -> Callable[[str], str | None]:
        def judge(after: str) -> str | None:
            try:
                found = read(after)
            except UnreadableError as error:
                return f"pip refuses the result: {error}"
            wrong = expected(found)
            if wrong:
                return wrong
            lost = Counter(remark for remark, _ in remarks) - Counter(
                remark for remark, _ in comments(after)
            )
            own = Counter(_of(text, touched))
            if lost - own or (lost and not touched):
                return f"a comment is lost | {next(iter(lost - own))!r}"
            return layout(text, after)

        return judge

    def change(chance: random.Random) -> Case | None:
        name = chance.choice(sorted(names))
        action, operation, with_, keep = draw_change(name, names[name], chance)

        def expected(found: list[Entry]) -> str | None:
            rest = list(found)
            for said, options in entries:
                if not said or named(said) != name:
                    if not rest or rest.pop(0) != (said, options):
                        return f"another declaration has changed | {said or options!r}"
                elif action == "replace":
                    new = rest.pop(0) if rest else ("", "")
                    if not new[0] or not equal(new[0], wanted_of(said, with_, keep=keep)):
                        return (
                            f"the new declaration is not what was asked for | {said!r} became "
                            f"{new[0]!r}"
                        )
                    # The hashes are those of a version that is no longer asked for, unless it is
                    # kept.
                    if (
                        "hashes" in new[1]
                        and not keep
                        and Requirement(new[0]).specifier != Requirement(said).specifier
                    ):
                        return f"the hashes of the old version stay behind the new one | {new!r}"
            return f"a declaration is there that nobody asked for | {rest[0]!r}" if rest else None

        return Case(kind=f"requirement {action}", operation=operation, judge=check(expected, name))

    def add(chance: random.Random) -> Case | None:
        new = chance.choice(NEW)
        if canonicalize_name(Requirement(new).name) in names:
            return None

        def expected(found: list[Entry]) -> str | None:
            if found[:-1] != entries:
                return "another declaration has changed"
            return (
                None
                if equal(found[-1][0], Requirement(new)) and not found[-1][1]
                else f"the new declaration is another | {found[-1]!r}"
            )

        return Case(
            kind="requirement add",
            operation={"requirement": {"add": new}},
            judge=check(expected, ""),
        )

    return [change, change, change, add] if names else [add]


def _of(text: str, name: str) -> list[str]:
    """Return the comments of a declaration.

    Behind it, and on indented lines under it, as compilers of such files write them.
    """
    found: list[str] = []
    current = ""
    for line in re.split(r"\r?\n", text.removeprefix("\ufeff")):
        declared = re.match(r"([A-Za-z0-9][\w.-]*)", line)
        current = (
            canonicalize_name(declared[1]) if declared else current if line[:1].isspace() else ""
        )
        match = re.search(r"(?:^|\s+)#.*$", line)
        if match and current == name:
            found.append(match[0].strip())
    return found


__all__ = ["Marker", "pool", "read"]
