"""Core metadata, as a wheel's METADATA and an sdist's PKG-INFO hold it.

The declarations in its header, and the proof of a change.

The header is that of an e-mail (packaging.python.org, "Core metadata specifications"): the names of
fields in any case, long values folded onto lines that begin with white space, and an empty line
before the description, which may look like anything. What an edit needs to know is where the fields
stand; what it did is judged by the standard library's own reader of e-mails, which
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
from forkhouse.patches.languages.base import Matched, UnprovenError, newline_at
from forkhouse.patches.languages.declarations import (
    Belongs,
    extras_of,
    is_meant,
    replacement,
    requirement_of,
)

if TYPE_CHECKING:
    from forkhouse.patches.edits import RequirementChange
    from forkhouse.patches.languages.base import Splice, Step

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_FIELD = re.compile(r"([!-9;-~]+):[ \t]*")
_FOLD = re.compile(r"(?:\r\n|\r|\n)[ \t]+")
_SURROGATE = re.compile("[\ud800-\udfff]")
REQUIRES = "requires-dist"


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """A field of the header."""

    name: str
    """In lower case."""
    value: str
    """Unfolded."""
    start: int
    end: int
    """Its lines, the last line end with them."""
    value_start: int
    value_end: int

    @property
    def requirement(self) -> Requirement | None:
        """What the field asks for, None where it does not, or not so that it can be read."""
        return requirement_of(self.value) if self.name == REQUIRES else None


def is_metadata(text: str) -> bool:
    """Say whether a text is core metadata.

    It begins with a header that says which version of the specification it follows.
    """
    first = text[:200].partition("\n")[0]
    return _FIELD.match(first) is not None and any(
        field.name == "metadata-version" for field in fields(text)
    )


@lru_cache(maxsize=4)
def fields(text: str) -> tuple[Field, ...]:
    """Return the fields of the header in order; the first line that is none ends it."""
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
    """Return the declarations, of any version, of the distribution that a change adds, by its extra or without any."""
    wanted = frozenset({canonicalize_name(change.extra)} if change.extra else ())
    found = [field.requirement for field in fields(text) if field.requirement is not None]
    return [
        each
        for each in found
        if canonicalize_name(each.name) == canonicalize_name(Requirement(change.add or "").name)
        and (wanted <= extras_of(each) if wanted else not extras_of(each))
    ]


def added(change: RequirementChange) -> Requirement:
    """Return what a change adds as metadata has to say it: with its extra for a marker."""
    new = Requirement(change.add or "")
    if change.extra:
        marker = f'extra == "{change.extra}"'
        new.marker = Marker(f"({new.marker}) and {marker}" if new.marker else marker)
    return new


def change_metadata(text: str, change: RequirementChange) -> Matched:
    """Change declarations. Raises PatchConflictError as `replacement` does."""
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
        ) != old:  # what says the same in another spelling stays as it is
            splices.append((field.value_start, field.value_end, str(new)))
    return Matched(matches=matches, splices=tuple(splices))


def _added(
    header: tuple[Field, ...], change: RequirementChange
) -> list[tuple[str, str | Requirement]]:
    """Return the fields that are added: an extra that the metadata does not know is named first."""
    new = added(change)
    if not change.extra:
        return [("Requires-Dist", new)]
    known = {canonicalize_name(field.value) for field in header if field.name == "provides-extra"}
    named: list[tuple[str, str | Requirement]] = (
        [] if canonicalize_name(change.extra) in known else [("Provides-Extra", change.extra)]
    )
    return [*named, ("Requires-Dist", new)]


def _reading(text: str) -> tuple[list[tuple[str, str]], object, str]:
    """Read metadata as Python does: the fields as they stand, and the description."""
    # A byte that is no UTF-8 is a surrogate here, which the library takes for a mail's own
    # encoding.
    message = message_from_string(_SURROGATE.sub("?", text), policy=compat32)
    return (
        [(str(name), str(value)) for name, value in message.items()],
        message.get_payload(),
        str(message.defects),
    )


def prove(step: Step, change: RequirementChange) -> None:
    """Raise UnprovenError unless Python's own reader of metadata sees that only the declarations which are meant have changed."""
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
