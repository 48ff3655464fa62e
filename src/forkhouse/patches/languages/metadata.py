"""Change core metadata, as in a wheel's METADATA or an sdist's PKG-INFO, and prove it.

The header is that of an e-mail (packaging.python.org, "Core metadata specifications"): the names of
fields are in any case, long values are folded onto lines that begin with white space, and an empty
line precedes the description, which may look like anything. This module finds the positions of the
fields. The result is judged by the standard library's own reader of e-mails, which
`importlib.metadata` and pip use.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from email import message_from_string
from email.policy import compat32
from functools import lru_cache
from typing import TYPE_CHECKING

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches.backends import Matched, UnprovenError, newline_at
from forkhouse.patches.languages.declarations import (
    Belongs,
    extras_of,
    is_meant,
    replacement,
    requirement_of,
)

if TYPE_CHECKING:
    from forkhouse.patches.backends import Splice, Step
    from forkhouse.patches.edits import RequirementChange

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_FIELD = re.compile(r"([!-9;-~]+):[ \t]*")
_FOLD = re.compile(r"(?:\r\n|\r|\n)[ \t]+")
_SURROGATE = re.compile("[\ud800-\udfff]")
REQUIRES = "requires-dist"


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """A field of the header."""

    name: str
    """The name of the field in lower case."""
    value: str
    """The value of the field, unfolded."""
    start: int
    end: int
    """The end of the field's lines, including the last line end."""
    value_start: int
    value_end: int

    @property
    def requirement(self) -> Requirement | None:
        """The requirement of the field, or None if it has none that can be read."""
        return requirement_of(self.value) if self.name == REQUIRES else None


def is_metadata(text: str) -> bool:
    """Say whether a text is core metadata.

    Its header has to say which version of the specification it follows.
    """
    first = text[:200].partition("\n")[0]
    return _FIELD.match(first) is not None and any(
        field.name == "metadata-version" for field in fields(text)
    )


@lru_cache(maxsize=4)
def fields(text: str) -> tuple[Field, ...]:
    """Return the fields of the header in order, up to the first line that is none."""
    spans: list[tuple[int, int]] = []
    for line in _LINE.finditer(text):
        if line[0][0] in " \t" and spans:
            spans[-1] = (spans[-1][0], line.end())
        elif _FIELD.match(line[0]) is None:
            break
        else:
            spans.append(line.span())
    return tuple(_field(text, *span) for span in spans)


def _field(text: str, start: int, end: int) -> Field:
    head = _FIELD.match(text, start)
    assert head is not None  # the line was told apart by it
    value_end = max(head.end(), start + len(text[start:end].rstrip()))
    value = _FOLD.sub(" ", text[head.end() : value_end])
    return Field(
        name=head[1].lower(),
        value=value.strip(),
        start=start,
        end=end,
        value_start=head.end(),
        value_end=value_end,
    )


def unread(text: str) -> list[str]:
    """Return the declarations that cannot be read."""
    return [
        f"line {text.count(chr(10), 0, field.start) + 1}: '{field.value}' is no requirement"
        for field in fields(text)
        if field.name == REQUIRES and field.requirement is None
    ]


def declared(text: str, change: RequirementChange) -> list[Requirement]:
    """Return the declarations, in any version, of the distribution that a change adds.

    Those count that stand in the extra of the change or, if it has none, in no extra.
    """
    wanted = frozenset({canonicalize_name(change.extra)} if change.extra else ())
    found = [field.requirement for field in fields(text) if field.requirement is not None]
    return [
        each
        for each in found
        if canonicalize_name(each.name) == canonicalize_name(Requirement(change.add or "").name)
        and (wanted <= extras_of(each) if wanted else not extras_of(each))
    ]


def added(change: RequirementChange) -> Requirement:
    """Return the requirement that a change adds, with its extra as a marker."""
    new = Requirement(change.add or "")
    if change.extra:
        marker = f'extra == "{change.extra}"'
        new.marker = Marker(f"({new.marker}) and {marker}" if new.marker else marker)
    return new


def change_metadata(text: str, change: RequirementChange) -> Matched:
    """Change declarations.

    Raises PatchConflictError as `replacement` does.
    """
    if change.group is not None:
        return Matched(matches=0, splices=())
    header = fields(text)
    if change.add is not None:
        at = header[-1].end
        newline = newline_at(text, header[-1].start)
        gap = "" if text[:at].endswith(("\n", "\r")) else newline
        lines = "".join(f"{name}: {value}{newline}" for name, value in _added(header, change))
        return Matched(matches=1, splices=((at, at, f"{gap}{lines}"),))
    splices: list[Splice] = []
    matches = 0
    for field in header:
        old = field.requirement
        if old is None or not is_meant(old.name, Belongs(extras=extras_of(old)), change):
            continue
        if change.extra and len(extras_of(old)) > 1:
            message = (
                f"'{old}' belongs to several extras ({', '.join(sorted(extras_of(old)))}), of "
                f"which {change.extra} is one: the others would "
                "change too. Replace it without `extra`, by a requirement that says which it is "
                "for."
            )
            raise PatchConflictError(message)
        matches += 1
        if change.with_ is None:
            splices.append((field.start, field.end, ""))
        elif (
            new := replacement(change, old, extras_of(old))
        ) != old:  # another spelling of the same requirement stays
            splices.append((field.value_start, field.value_end, str(new)))
    return Matched(matches=matches, splices=tuple(splices))


def _added(
    header: tuple[Field, ...], change: RequirementChange
) -> list[tuple[str, str | Requirement]]:
    """Return the fields that a change adds; an extra that is not there yet is declared first."""
    new = added(change)
    if not change.extra:
        return [("Requires-Dist", new)]
    known = {canonicalize_name(field.value) for field in header if field.name == "provides-extra"}
    named: list[tuple[str, str | Requirement]] = (
        [] if canonicalize_name(change.extra) in known else [("Provides-Extra", change.extra)]
    )
    return [*named, ("Requires-Dist", new)]


def _reading(text: str) -> tuple[list[tuple[str, str]], object, str]:
    """Return the fields and the description of metadata, as Python reads them."""
    # A byte that is no UTF-8 is a surrogate here, for which the library assumes an encoding.
    message = message_from_string(_SURROGATE.sub("?", text), policy=compat32)
    return (
        [(str(name), str(value)) for name, value in message.items()],
        message.get_payload(),
        str(message.defects),
    )


def prove(step: Step, change: RequirementChange) -> None:
    """Raise UnprovenError unless only the declarations that are meant have changed.

    Python's own reader of metadata has to see that.
    """
    before, description, defects = _reading(step.before)
    after, description_after, defects_after = _reading(step.after)
    expected: list[tuple[str, str | Requirement]] = []
    for name, value in before:
        old = requirement_of(_FOLD.sub(" ", value)) if name.lower() == REQUIRES else None
        if (
            change.add is not None
            or old is None
            or not is_meant(old.name, Belongs(extras=extras_of(old)), change)
        ):
            expected.append((name, value))
        elif change.with_ is not None:
            new = replacement(change, old, extras_of(old))
            expected.append((name, value if new == old else new))
    if change.add is not None:
        expected += _added(fields(step.before), change)
    found = [
        (
            name,
            requirement_of(value)
            if place < len(expected) and isinstance(expected[place][1], Requirement)
            else value,
        )
        for place, (name, value) in enumerate(after)
    ]
    if found != expected or (description, defects) != (description_after, defects_after):
        what = (
            "Python would read other metadata than the operation leaves: another field, or the "
            "description, would change."
        )
        raise UnprovenError(
            what, text=step.after, position=step.splices[0][0] if step.splices else 0
        )
