"""Sign an envelope, and say who signed one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from forkhouse.core.errors import (
    ForkhouseError,
    TamperedError,
    UnsignedError,
    UntrustedSignerError,
    UsageError,
)
from forkhouse.core.storage import read_file
from forkhouse.provenance import pemkeys, sshsig
from forkhouse.provenance.attestation import PAYLOAD_TYPE, Envelope, Signature

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Signer:
    """A trusted signer."""

    name: str
    """Principal of the allowed signers; of a PEM key its id."""
    keyid: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Trusted:
    """Whose signatures count."""

    keys: Path
    """Allowed signers of ssh, public keys in PEM, or both."""
    revoked: Path | None = None
    """ssh keys that do not count any more: a revocation list (KRL), or public keys."""


def signed(envelope: Envelope, key: Path) -> Envelope:
    """Return an envelope with one more signature; an earlier one of the same key is replaced.

    Raises UsageError for a key that cannot be used, ToolchainError.
    """
    data = envelope.signed_bytes()
    try:
        content = read_file(key)
    except OSError as error:
        message = f"The key {key} cannot be read: {error.strerror}."
        raise UsageError(message) from error
    if pemkeys.is_pem(content):
        made = pemkeys.sign(data, key)
    else:
        sig = sshsig.sign(data, key)
        made = Signature(keyid=sshsig.inspect(sig).fingerprint, sig=sig)
    kept = [each for each in envelope.signatures if each.keyid != made.keyid]
    return replace(envelope, signatures=(*kept, made))


def signers(envelope: Envelope, trusted: Trusted) -> list[Signer]:
    """Return the trusted signers of an envelope; there is at least one.

    Signatures of others are of no account. Raises UnsignedError, TamperedError,
    UntrustedSignerError, ExpiredKeyError or NamespaceError where there is none, UsageError for a
    file without keys, ToolchainError.
    """
    if envelope.payload_type != PAYLOAD_TYPE:
        message = f"The envelope holds {envelope.payload_type!r}, not a statement of in-toto."
        raise TamperedError(message)
    if not envelope.signatures:
        message = (
            "The envelope has no signature in it. Have the wheelhouse signed: `forkhouse sign`."
        )
        raise UnsignedError(message)
    content = read_file(trusted.keys)
    pem, ssh = pemkeys.holds_public(content), sshsig.holds_keys(content)
    if pem and trusted.revoked is not None:
        message = (
            f"{trusted.keys} has keys in PEM, and a revocation list is one of ssh keys. Take the "
            "keys that do not count any more out of that file instead."
        )
        raise UsageError(message)
    found: list[Signer] = []
    refusals: list[ForkhouseError] = []
    with_ssh = any(each.sig.startswith(sshsig.MAGIC) for each in envelope.signatures)
    readers = [_pem_signers] if pem else []
    readers += [_ssh_signers] if not pem or (ssh and with_ssh) else []
    for read in readers:
        try:
            found += read(envelope, trusted)
        except ForkhouseError as error:
            refusals.append(error)
    if found:
        return found
    raise _telling(refusals)


def _telling(refusals: list[ForkhouseError]) -> ForkhouseError:
    """Return the refusal that says most: what is wrong with a trusted key, before another key."""
    # The last one is ssh's, which names the key.
    return min(reversed(refusals), key=lambda error: isinstance(error, UntrustedSignerError))


def _ssh_signers(envelope: Envelope, trusted: Trusted) -> list[Signer]:
    found: dict[str, Signer] = {}
    refusals: list[ForkhouseError] = []
    for each in envelope.signatures:
        if not each.sig.startswith(sshsig.MAGIC):
            continue
        try:
            name = sshsig.signer(envelope.signed_bytes(), each.sig, trusted.keys, trusted.revoked)
        except ForkhouseError as error:
            refusals.append(error)
        else:
            found[name] = Signer(name=name, keyid=sshsig.inspect(each.sig).fingerprint)
    if found:
        return list(found.values())
    if refusals:
        raise _telling(refusals)
    message = (
        f"The wheelhouse is not signed with an ssh key, and {trusted.keys} has ssh keys alone."
    )
    raise UntrustedSignerError(message)


def _pem_signers(envelope: Envelope, trusted: Trusted) -> list[Signer]:
    names = pemkeys.signers(envelope.signed_bytes(), envelope.signatures, trusted.keys)
    if names:
        return [Signer(name=f"the key {name[:16]}", keyid=name) for name in names]
    said = {each.keyid for each in envelope.signatures}
    if said & set(pemkeys.key_ids(trusted.keys)):
        message = (
            "The signature of a trusted key is not one of this statement: the envelope was changed "
            "after it was signed."
        )
        raise TamperedError(message)
    shown = ", ".join(sorted(each[:50] or "a key without an id" for each in said))
    message = (
        f"The wheelhouse is signed with {shown}, and no key of {trusted.keys} made any of these "
        "signatures."
    )
    raise UntrustedSignerError(message)
