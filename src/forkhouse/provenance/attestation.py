"""Read the statement of a build, and the envelope in which it is signed.

The statement is in-toto's (https://in-toto.io/Statement/v1), the envelope DSSE
(https://github.com/secure-systems-lab/dsse). Needs the standard library alone, as what is carried
to a machine without Forkhouse reads it, too.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

from forkhouse.core.errors import TamperedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

STATEMENT = "provenance.intoto.json"
"""Name of the statement in a wheelhouse."""
ENVELOPE = "provenance.dsse.json"
"""Name of the signed statement in a wheelhouse."""
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "pkg:generic/forkhouse?format=1#docs/reference/provenance.md"
"""Which parameters there are: a page of our documentation, as a package URL, for it has no host."""
PAYLOAD_TYPE = "application/vnd.in-toto+json"
LONGEST = 64 * 2**20
"""Bytes of an envelope: a statement has some hundred bytes a file and a source."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Signature:
    """A signature of an envelope's payload."""

    keyid: str
    """A hint at the key; nothing is decided by it."""
    sig: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Envelope:
    """A payload with its signatures."""

    payload_type: str
    payload: bytes
    signatures: tuple[Signature, ...]

    def signed_bytes(self) -> bytes:
        """Return what is signed: DSSE's pre-authentication encoding of type and payload."""
        kind = self.payload_type.encode()
        return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(self.payload), self.payload)

    def text(self) -> str:
        """Return the envelope as JSON."""
        document = {
            "payloadType": self.payload_type,
            "payload": base64.b64encode(self.payload).decode(),
            "signatures": [
                {"keyid": each.keyid, "sig": base64.b64encode(each.sig).decode()}
                for each in self.signatures
            ],
        }
        return json.dumps(document, indent=1) + "\n"


def read_envelope(content: bytes, name: str) -> Envelope:
    """Read an envelope. Raises TamperedError for what is none."""
    try:
        if len(content) > LONGEST:
            _refuse(f"it has {len(content)} bytes, more than {LONGEST}")
        document = json.loads(content)
        return Envelope(
            payload_type=_text(document["payloadType"]),
            payload=_bytes(document["payload"]),
            signatures=tuple(
                Signature(keyid=_text(each.get("keyid", "")), sig=_bytes(each["sig"]))
                for each in document["signatures"]
            ),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        message = (
            f"{name} is no DSSE envelope: {error!r}. Take the wheelhouse from its signer again."
        )
        raise TamperedError(message) from error


def _refuse(what: str) -> NoReturn:
    raise ValueError(what)


def _text(value: object) -> str:
    if not isinstance(value, str):
        message = f"{value!r} is no text"
        raise TypeError(message)
    return value


def _bytes(value: object) -> bytes:
    """Return bytes from base64 in its standard or its URL-safe alphabet, as DSSE allows both."""
    text = _text(value).translate(str.maketrans("-_", "+/"))
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error


@dataclass(frozen=True, kw_only=True, slots=True)
class AttestedStatement:
    """What a statement says, as far as somebody who checks it needs it."""

    subjects: Mapping[str, str]
    """sha256 by path."""
    predicate: Mapping[str, Any]
    profile: str
    builder: str
    finished: datetime | None
    """When it was signed, by its signer's word; None where nobody said."""


def read_statement(payload: bytes, name: str) -> AttestedStatement:
    """Read a statement with SLSA's provenance. Raises TamperedError for what is none."""
    try:
        document = json.loads(payload)
        for key, wanted in (("_type", STATEMENT_TYPE), ("predicateType", PREDICATE_TYPE)):
            if document[key] != wanted:
                _refuse(f"its {key} is {document[key]!r}, not {wanted}")
        predicate = document["predicate"]
        definition, details = predicate["buildDefinition"], predicate["runDetails"]
        if definition["buildType"] != BUILD_TYPE:
            _refuse(f"it is of a build of another kind, {definition['buildType']!r}")
        finished = details.get("metadata", {}).get("finishedOn")
        subjects = {
            _text(each["name"]): _text(each["digest"]["sha256"]) for each in document["subject"]
        }
        if len(subjects) != len(document["subject"]):
            _refuse("it names a subject twice")
        return AttestedStatement(
            subjects=subjects,
            predicate=predicate,
            profile=_text(definition["externalParameters"]["profile"]),
            builder=_text(details["builder"]["id"]),
            finished=None if finished is None else _moment(_text(finished)),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        message = (
            f"{name} holds no statement about a build that this Forkhouse knows: {error}. Take the "
            "wheelhouse from its signer again, or verify it with the Forkhouse that signed it."
        )
        raise TamperedError(message) from error


def _moment(text: str) -> datetime:
    """Return a time of RFC 3339 in UTC; without a zone it is UTC, and a date alone its midnight.

    Raises ValueError.
    """
    found = datetime.fromisoformat(text)
    try:
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except OverflowError as error:
        message = f"{text!r} is no time in UTC"
        raise ValueError(message) from error


def parse_moment(text: str) -> datetime:
    """Return a time that a user gave. Raises UsageError for what is none."""
    try:
        return _moment(text)
    except ValueError as error:
        message = f"'{text}' is no time of RFC 3339, such as 2026-01-31 or 2026-01-31T12:00:00Z."
        raise UsageError(message) from error


def moment_text(moment: datetime) -> str:
    """Return a time as RFC 3339 has it, in UTC, in whole seconds."""
    return moment.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"
