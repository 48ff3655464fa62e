"""Sign with a key in a PEM file (ed25519, ecdsa), and check such signatures: securesystemslib."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forkhouse.core.errors import ToolchainError, UsageError
from forkhouse.provenance.attestation import Signature

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from securesystemslib.signer import SSlibKey

_PUBLIC = re.compile(rb"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)
_NEEDS = (
    "Keys in PEM files need securesystemslib with cryptography, which are not installed beside "
    "this Forkhouse. With ssh keys it needs nothing more than ssh-keygen."
)


def is_pem(content: bytes) -> bool:
    """Return whether a private key is one that is read here, and not by ssh."""
    begin = rb"-----BEGIN (ENCRYPTED |EC )?PRIVATE KEY-----"
    return re.search(begin, content) is not None


def holds_public(content: bytes) -> bool:
    """Return whether a file of trusted keys is one of PEM keys."""
    return _PUBLIC.search(content) is not None


def sign(data: bytes, key: Path) -> Signature:
    """Sign `data`. Raises UsageError for a key that cannot be used, ToolchainError."""
    try:
        from cryptography.exceptions import UnsupportedAlgorithm  # start-up time
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
        from securesystemslib.signer import CryptoSigner
    except ModuleNotFoundError as error:
        raise ToolchainError(_NEEDS) from error
    try:
        private = load_pem_private_key(key.read_bytes(), None)
        made = CryptoSigner(private).sign(data)
    except TypeError as error:
        message = (
            f"{key} is encrypted, which is not supported. Give a key that is not, or an ssh key, "
            "whose passphrase an agent keeps."
        )
        raise UsageError(message) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        message = f"{key} cannot sign: {error}. Give an ed25519 or ecdsa key in a PEM file."
        raise UsageError(message) from error
    return Signature(keyid=made.keyid, sig=bytes.fromhex(made.signature))


def signers(data: bytes, signatures: Sequence[Signature], trusted: Path) -> list[str]:
    """Return the ids of the trusted keys with which `data` is signed.

    Raises UsageError for a file with a key that cannot be used, ToolchainError.
    """
    try:
        from securesystemslib.exceptions import UnverifiedSignatureError  # start-up time
        from securesystemslib.signer import Signature as Signed
    except ModuleNotFoundError as error:
        raise ToolchainError(_NEEDS) from error
    found = []
    for key in _keys(trusted):
        for each in signatures:
            try:
                key.verify_signature(Signed(key.keyid, each.sig.hex()), data)
            except UnverifiedSignatureError:
                continue
            found.append(key.keyid)
            break
    return found


def key_ids(trusted: Path) -> list[str]:
    """Return the ids of the keys in a file. Raises as `signers`."""
    return [key.keyid for key in _keys(trusted)]


def _keys(trusted: Path) -> list[SSlibKey]:
    try:
        from cryptography.exceptions import UnsupportedAlgorithm  # start-up time
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
        from securesystemslib.signer import SSlibKey
    except ModuleNotFoundError as error:
        raise ToolchainError(_NEEDS) from error
    keys = []
    for text in _PUBLIC.findall(trusted.read_bytes()):
        try:
            public = load_pem_public_key(text)
            keys.append(SSlibKey.from_crypto(public))
        except (ValueError, UnsupportedAlgorithm) as error:
            message = f"{trusted} has a key that cannot be used: {error}."
            raise UsageError(message) from error
    return keys
