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


def signers(envelope: Envelope, trusted: Path) -> list[Signer]:
    """Return the trusted signers of an envelope; there is at least one.

    `trusted` holds allowed signers of ssh, or public keys in PEM. Signatures of others are of no
    account. Raises UnsignedError, TamperedError, UntrustedSignerError, ExpiredKeyError or
    NamespaceError where there is none, UsageError for a file without keys, ToolchainError.
    """
    if envelope.payload_type != PAYLOAD_TYPE:
        message = f"The envelope holds {envelope.payload_type!r}, not a statement of in-toto."
        raise TamperedError(message)
    if not envelope.signatures:
        message = (
            "The envelope has no signature in it. Have the wheelhouse signed: `forkhouse sign`."
        )
        raise UnsignedError(message)
    if pemkeys.holds_public(read_file(trusted)):
        return _pem_signers(envelope, trusted)
    found: dict[str, Signer] = {}
    refusals: list[ForkhouseError] = []
    for each in envelope.signatures:
        if not each.sig.startswith(sshsig.MAGIC):
            continue
        try:
            name = sshsig.signer(envelope.signed_bytes(), each.sig, trusted)
        except ForkhouseError as error:
            refusals.append(error)
        else:
            found[name] = Signer(name=name, keyid=sshsig.inspect(each.sig).fingerprint)
    if found:
        return list(found.values())
    if refusals:
        # What is wrong with a trusted key says more than that another one is not trusted.
        refusals.sort(key=lambda error: isinstance(error, UntrustedSignerError))
        raise refusals[0]
    message = f"The wheelhouse is not signed with an ssh key, and {trusted} has ssh keys alone."
    raise UntrustedSignerError(message)


def _pem_signers(envelope: Envelope, trusted: Path) -> list[Signer]:
    names = pemkeys.signers(envelope.signed_bytes(), envelope.signatures, trusted)
    if names:
        return [Signer(name=f"the key {name[:16]}", keyid=name) for name in names]
    said = {each.keyid for each in envelope.signatures}
    if said & set(pemkeys.key_ids(trusted)):
        message = (
            "The signature of a trusted key is not one of this statement: the envelope was changed "
            "after it was signed."
        )
        raise TamperedError(message)
    shown = ", ".join(sorted(each[:50] or "a key without an id" for each in said))
    message = (
        f"The wheelhouse is signed with {shown}, and no key of {trusted} made any of these "
        "signatures."
    )
    raise UntrustedSignerError(message)
