"""Sign a wheelhouse, and check one against its signature: who signed, and what exactly.

Needs the standard library alone with ssh keys, as the carried program checks signatures as well.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forkhouse.core.digests import sha256_file
from forkhouse.core.errors import (
    AuditError,
    ClosureError,
    RollbackError,
    StatementError,
    UnsignedError,
    UsageError,
)
from forkhouse.core.progress import report
from forkhouse.core.storage import read_file, storage_errors, write_atomic
from forkhouse.core.wording import bullets
from forkhouse.provenance.attestation import (
    ENVELOPE,
    PAYLOAD_TYPE,
    STATEMENT,
    STATEMENT_TYPE,
    AttestedStatement,
    Envelope,
    moment_text,
    parse_moment,
    read_envelope,
    read_statement,
)
from forkhouse.provenance.signing import Signer, Trusted, signed, signers
from forkhouse.wheelhouse.contents import EXCUSED, NAME, VERDICTS
from forkhouse.wheelhouse.verifying import CHECKSUMS, listed, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

_SHOWN = 20
_LONGEST = 80
"""Characters of the id of a key that nobody has checked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verified:
    """A wheelhouse that was checked."""

    files: int
    profile: str | None = None
    """Profile of the signed statement; None where no keys were given."""
    signers: tuple[Signer, ...] = ()
    """Trusted signers; empty where no keys were given."""
    said: tuple[str, ...] = ()
    """Ids of keys in the envelope, which nobody has checked."""
    finished: datetime | None = None
    """When it was signed, by its signer's word."""
    excused: tuple[str, ...] = ()
    """Wheels that the audit let in because the lock names them."""
    left_out: int = 0
    """Files that a bundle leaves out, because the site has them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SignedContents:
    """A wheelhouse as it is held against its signature, in a folder or in a bundle."""

    name: str
    envelope: bytes | None
    """None where it is not signed."""
    manifest: bytes
    digests: Mapping[str, str]
    """sha256 of every file but the envelope, by path, as its own lists say."""
    verify: Callable[[], int]
    """Compares every file with these lists, and returns how many there are."""


def in_folder(folder: Path) -> SignedContents:
    """Return the wheelhouse in a folder. Raises ClosureError when it is none."""
    digests = {**listed(folder), CHECKSUMS: sha256_file(folder / CHECKSUMS)}
    path, manifest = folder / ENVELOPE, folder / NAME
    return SignedContents(
        name=folder.name,
        envelope=read_file(path) if path.is_file() else None,
        manifest=read_file(manifest) if manifest.is_file() else b"",
        digests=digests,
        verify=lambda: verify(folder),
    )


def sign(
    folder: Path,
    key: Path,
    *,
    finished: datetime | None = None,
    byproducts: Mapping[str, str] | None = None,
) -> Envelope:
    """Sign a wheelhouse, and write the envelope into it.

    The statement of the build is signed with the digest of every file in its subjects, the list of
    checksums among them. `finished` is the moment that the signer puts into it, `byproducts` are
    the sha256 of logs by name. Where the same statement is signed already, this is one more
    signature. Raises ClosureError or HashMismatchError when the wheelhouse is not as it was built,
    UsageError for a key that cannot be used, ToolchainError, StorageError.
    """
    verify(folder)
    try:
        document = json.loads(read_file(folder / STATEMENT))
        predicate = document["predicate"]
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        message = (
            f"The wheelhouse {folder.name} has no {STATEMENT} that can be signed: {error!r}. Build "
            "it again with this Forkhouse."
        )
        raise ClosureError(message) from error
    subjects = {**listed(folder), CHECKSUMS: sha256_file(folder / CHECKSUMS)}
    before = _earlier(folder)
    payload = _payload(document, predicate, subjects, finished, byproducts or {})
    if before is not None and finished is None:
        earlier = read_statement(before.payload, ENVELOPE).finished
        again = _payload(document, predicate, subjects, earlier, byproducts or {})
        payload = again if again == before.payload else payload
    signatures = before.signatures if before is not None and before.payload == payload else ()
    if before is not None and not signatures:
        report().line("sign", "the earlier signatures are of another statement, and were dropped")
    envelope = signed(
        Envelope(payload_type=PAYLOAD_TYPE, payload=payload, signatures=signatures), key
    )
    with storage_errors("Writing the signature"):
        write_atomic(folder / ENVELOPE, envelope.text().encode())
    return envelope


def _earlier(folder: Path) -> Envelope | None:
    """Return the envelope that is there; None where there is none, or one of another kind."""
    if not (folder / ENVELOPE).is_file():
        return None
    envelope = read_envelope(read_file(folder / ENVELOPE), ENVELOPE)
    return envelope if envelope.payload_type == PAYLOAD_TYPE else None


def _payload(
    document: Mapping[str, Any],
    predicate: Mapping[str, Any],
    subjects: Mapping[str, str],
    finished: datetime | None,
    byproducts: Mapping[str, str],
) -> bytes:
    details: dict[str, Any] = dict(predicate["runDetails"])
    if finished is not None:
        details["metadata"] = {"finishedOn": moment_text(finished)}
    if byproducts:
        details["byproducts"] = [
            {"name": name, "digest": {"sha256": sha256}}
            for name, sha256 in sorted(byproducts.items())
        ]
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [
            {"name": name, "digest": {"sha256": sha256}}
            for name, sha256 in sorted(subjects.items())
        ],
        "predicateType": document["predicateType"],
        "predicate": {**predicate, "runDetails": details},
    }
    return json.dumps(statement, sort_keys=True, separators=(",", ":")).encode()


def envelope_of(path: Path) -> bytes:
    """Return an envelope: a file, or that of the wheelhouse in a folder. Raises OSError."""
    return read_file(path / ENVELOPE if path.is_dir() else path)


def check(
    house: SignedContents,
    trusted: Trusted | None = None,
    not_older_than: str | None = None,
    envelope_at: Callable[[Path], bytes] = envelope_of,
) -> Verified:
    """Check a wheelhouse: its signature, its statement, every file, and what the audit recorded.

    Without `trusted` keys, only that it is as its own lists say. `not_older_than` is a time, or the
    path of something earlier, whose envelope `envelope_at` returns. Raises UnsignedError,
    TamperedError, UntrustedSignerError, ExpiredKeyError, NamespaceError, StatementError,
    RollbackError, AuditError, UsageError, ToolchainError, and what `house.verify` raises.
    """
    if trusted is None:
        if not_older_than is not None:
            message = "Only a signature tells how old a wheelhouse is: give --trusted-keys as well."
            raise UsageError(message)
        count = house.verify()
        envelope = read_envelope(house.envelope, ENVELOPE) if house.envelope is not None else None
        said = tuple(each.keyid[:_LONGEST] for each in envelope.signatures) if envelope else ()
        return Verified(files=count, said=said)
    if house.envelope is None:
        message = (
            f"The wheelhouse {house.name} is not signed: it has no {ENVELOPE}. Take a signed one, "
            "or sign it where it was built: `forkhouse sign`."
        )
        raise UnsignedError(message)
    by, statement = _trusted_statement(house.envelope, trusted)
    if not_older_than is not None:
        _refuse_older(statement, not_older_than, trusted, envelope_at)
    _compare(house, statement)
    return Verified(
        files=house.verify(),
        profile=statement.profile,
        signers=tuple(by),
        finished=statement.finished,
        excused=_audited(house),
    )


def _trusted_statement(envelope: bytes, trusted: Trusted) -> tuple[list[Signer], AttestedStatement]:
    read = read_envelope(envelope, ENVELOPE)
    by = signers(read, trusted)
    return by, read_statement(read.payload, ENVELOPE)


def _compare(house: SignedContents, statement: AttestedStatement) -> None:
    """Hold the lists of a wheelhouse against what was signed, so that no edit of both passes."""
    there, subjects = house.digests, statement.subjects
    problems = [
        f"{name} is another one than was signed"
        for name in sorted(there.keys() & subjects.keys())
        if there[name] != subjects[name] and name != CHECKSUMS
    ]
    problems += [
        f"{name} was signed, and is not there" for name in sorted(subjects.keys() - there.keys())
    ]
    problems += [f"{name} was not signed" for name in sorted(there.keys() - subjects.keys())]
    if not problems and there[CHECKSUMS] != subjects[CHECKSUMS]:
        problems = [f"{CHECKSUMS} is another one than was signed"]
    if problems:
        more = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        lines = bullets([*problems[:_SHOWN], *more])
        message = (
            f"The wheelhouse {house.name} is not the one that was signed:\n{lines}\nWhoever "
            "changed it made its checksums fit. Take it from its signer again."
        )
        raise StatementError(message)


def _refuse_older(
    statement: AttestedStatement, bound: str, trusted: Trusted, envelope_at: Callable[[Path], bytes]
) -> None:
    path = Path(bound)
    if bound and os.path.lexists(path):
        try:
            earlier = envelope_at(path)
        except FileNotFoundError as error:
            message = f"{path} has no signature ({ENVELOPE}), so nothing tells how old it is."
            raise UsageError(message) from error
        _, other = _trusted_statement(earlier, trusted)
        if other.profile != statement.profile:
            message = (
                f"{path} is of the profile {other.profile}, this wheelhouse of "
                f"{statement.profile}: neither is older than the other."
            )
            raise UsageError(message)
        if other.finished is None:
            message = f"{path} does not say when it was signed, so nothing can be held against it."
            raise UsageError(message)
        limit = other.finished
    else:
        limit = _moment_or_path(bound)
    if statement.finished is None:
        message = (
            "The signed statement does not say when it was signed, so nobody can tell whether it "
            "is an old one. Its signer says it with `forkhouse sign --finished-on TIME`."
        )
        raise RollbackError(message)
    if statement.finished < limit:
        message = (
            f"The wheelhouse was signed at {moment_text(statement.finished)}, before "
            f"{moment_text(limit)}: it is an older one, put in the place of a newer."
        )
        raise RollbackError(message)


def _moment_or_path(bound: str) -> datetime:
    """Return a time. Raises UsageError."""
    try:
        return parse_moment(bound)
    except UsageError as error:
        message = f"{error} Nor is there a file or a folder with that name."
        raise UsageError(message) from error


def _audited(house: SignedContents) -> tuple[str, ...]:
    """Return the wheels that the audit excused, from the manifest.

    Raises AuditError for a wheel that passed no audit, StatementError where the manifest names
    other wheels than are there.
    """
    try:
        wheels = json.loads(house.manifest)["wheels"]
        verdicts = {wheel["file"]: (wheel["sha256"], wheel.get("audit")) for wheel in wheels}
    except (ValueError, KeyError, TypeError) as error:
        message = f"The manifest of the wheelhouse {house.name} cannot be read: {error}."
        raise ClosureError(message) from error
    there = {
        name: sha256
        for name, sha256 in house.digests.items()
        if name.endswith(".whl") and "/" not in name
    }
    if there != {name: sha256 for name, (sha256, _) in verdicts.items()}:
        message = f"The manifest of the wheelhouse {house.name} names other wheels than lie in it."
        raise StatementError(message)
    unknown = sorted(name for name, (_, verdict) in verdicts.items() if verdict not in VERDICTS)
    if unknown:
        names = ", ".join(unknown[:_SHOWN])
        message = (
            f"The manifest says of no audit that these wheels passed: {names}. Build the "
            "wheelhouse again with this Forkhouse."
        )
        raise AuditError(message)
    return tuple(sorted(name for name, (_, verdict) in verdicts.items() if verdict == EXCUSED))
