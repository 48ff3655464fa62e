"""Sign with ssh keys, by `ssh-keygen -Y`, and check such signatures.

The format is OpenSSH's PROTOCOL.sshsig. OpenSSH itself decides; what is read of a signature here
only says why it was refused. Needs the standard library alone.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forkhouse.core.errors import (
    ExpiredKeyError,
    NamespaceError,
    TamperedError,
    ToolchainError,
    UntrustedSignerError,
    UsageError,
)
from forkhouse.core.storage import read_file
from forkhouse.core.wording import end_of

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMESPACE = "forkhouse"
"""What our signatures are for: one made for a mail or a commit is none of ours."""
MAGIC = b"SSHSIG"
_LIST = b"SSHKRL\n\0"
"""How a revocation list begins (OpenSSH's PROTOCOL.krl)."""
_PUBLIC = b"\0\0\0"
"""How every public key begins: the length of its kind's name, in four bytes."""
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_WIDTH = 70
_LINE = re.compile(
    r"""(?P<principals>"[^"]*"|\S+)[ \t]+
        (?:(?P<options>(?:cert-authority|namespaces=|valid-after=|valid-before=)
            (?:"(?:\\.|[^"\\])*"|[^\s"])*)[ \t]+)?
        (?P<kind>[a-z0-9@.-]+)[ \t]+(?P<key>[A-Za-z0-9+/=]+)""",
    re.VERBOSE | re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SshSignature:
    """What a signature says of itself."""

    key: bytes
    """The public key, as ssh writes it in binary."""
    namespace: str

    @property
    def fingerprint(self) -> str:
        """The key's fingerprint, as `ssh-keygen -l` shows it."""
        value = base64.b64encode(hashlib.sha256(self.key).digest()).decode().rstrip("=")
        return f"SHA256:{value}"


def holds_keys(content: bytes) -> bool:
    """Return whether a file of trusted keys has a line of ssh's allowed signers."""
    return bool(_lines(content))


def inspect(sig: bytes) -> SshSignature:
    """Read a signature in binary, which begins with `MAGIC`.

    Raises TamperedError where it is cut off.
    """
    try:
        key, rest = _string(sig[len(MAGIC) + 4 :])
        namespace, _ = _string(rest)
        return SshSignature(key=key, namespace=namespace.decode())
    except (ValueError, struct.error) as error:
        message = f"A signature of ssh cannot be read: {error}."
        raise TamperedError(message) from error


def _lines(content: bytes) -> list[re.Match[str]]:
    """Return the lines of allowed signers that have a public key."""
    lines = content.decode("utf-8", "replace").splitlines()
    found = (_LINE.match(line.strip()) for line in lines)
    return [each for each in found if each and _key(each["key"]).startswith(_PUBLIC)]


def _string(data: bytes) -> tuple[bytes, bytes]:
    (size,) = struct.unpack_from(">I", data)
    if len(data) < 4 + size:
        message = "it is cut off"
        raise ValueError(message)
    return data[4 : 4 + size], data[4 + size :]


def sign(data: bytes, key: Path) -> bytes:
    """Return a signature of `data` in binary.

    `key` is a private key, or a public one whose private half an agent has. Raises ToolchainError
    where there is no ssh-keygen, UsageError with its own words where it refuses the key.
    """
    result = _run(["-Y", "sign", "-q", "-f", str(key), "-n", NAMESPACE], data)
    if result.returncode != 0:
        message = f"ssh-keygen cannot sign with {key}: {_said(result)}"
        raise UsageError(message)
    text = result.stdout.decode("ascii", "replace")
    body = text.partition(_BEGIN)[2].partition(_END)[0]
    return base64.b64decode("".join(body.split()))


def signer(data: bytes, sig: bytes, allowed: Path, revoked: Path | None = None) -> str:
    """Return the principal of the allowed signers whose signature of `data` this is.

    `allowed` is a file as ssh-keygen(1) describes it under ALLOWED SIGNERS, `revoked` one as under
    KEY REVOCATION LISTS. Raises NamespaceError for a signature that was made for something else,
    UntrustedSignerError for a key that is not in the file, ExpiredKeyError for one that is not
    valid now or was revoked, TamperedError for a signature of something else, UsageError for files
    that hold no keys, ToolchainError.
    """
    if revoked is not None:
        _require_list(revoked)
    seen = inspect(sig)
    if seen.namespace != NAMESPACE:
        message = (
            f"The key {seen.fingerprint} signed for the namespace '{seen.namespace}', not for "
            f"'{NAMESPACE}': its signature was made for something else."
        )
        raise NamespaceError(message)
    with tempfile.TemporaryDirectory(prefix="forkhouse-signature-") as scratch:
        file = Path(scratch, "signature")
        file.write_text(_armoured(sig), encoding="ascii")
        common = ["-s", str(file), "-f", str(allowed)]
        found = _run(["-Y", "find-principals", *common], b"")
        principals = list(
            filter(None, map(_principal, found.stdout.decode("utf-8", "replace").splitlines()))
        )
        if found.returncode != 0 or not principals:
            raise _refusal(seen, allowed, _said(found))
        # A key may stand in several lines, each with limits of its own.
        limits = [] if revoked is None else ["-r", str(revoked)]
        for principal in principals:
            asked = ["-Y", "verify", "-n", NAMESPACE, "-I", principal, *common, *limits]
            checked = _run(asked, data)
            if checked.returncode == 0:
                return principal
            if limits and _run(asked[: -len(limits)], data).returncode == 0:
                message = (
                    f"The key {seen.fingerprint} of {principal} was revoked, says {revoked}. Have "
                    "the wheelhouse signed anew with a key that was not."
                )
                raise ExpiredKeyError(message)
        # Whether it is one of these bytes, whoever made it.
        fits = _run(["-Y", "check-novalidate", "-n", NAMESPACE, "-s", str(file)], data)
    if "namespace" in _said(checked):
        message = f"{allowed} lets {principals[0]} sign nothing of the namespace '{NAMESPACE}'."
        raise NamespaceError(message)
    if fits.returncode == 0:
        message = (
            f"The signature of the key {seen.fingerprint} is one of this statement, and ssh-keygen "
            f"does not accept it by {allowed}: {_said(checked)}"
        )
        raise UntrustedSignerError(message)
    message = (
        f"The signature of {principals[0]} ({seen.fingerprint}) is not one of this statement: the "
        f"envelope was changed after it was signed. ssh-keygen says: {_said(checked)}"
    )
    raise TamperedError(message)


def _refusal(seen: SshSignature, allowed: Path, said: str) -> Exception:
    """Return why no principal has the key of a signature."""
    lines = _lines(read_file(allowed))
    options = [line["options"] or "" for line in lines if _key(line["key"]) == seen.key]
    limits = [each for each in options if re.search("valid-(after|before)=", each, re.IGNORECASE)]
    if limits:
        message = (
            f"The key {seen.fingerprint} is not valid now: {allowed} says {limits[0]}. Have the "
            "wheelhouse signed anew with a key that is."
        )
        return ExpiredKeyError(message)
    if not lines:
        message = (
            f"{allowed} holds no key: neither a line of ssh's allowed signers (`NAME ssh-ed25519 "
            "AAAA...`), nor a public key in PEM. Private keys and certificates are none."
        )
        return UsageError(message)
    message = (
        f"The wheelhouse is signed with the key {seen.fingerprint}, which {allowed} does not have. "
        f"Either its signer is not trusted, or the file is not whole. ssh-keygen says: {said}"
    )
    return UntrustedSignerError(message)


def _principal(line: str) -> str:
    """Return a principal of a line of patterns, as ssh-keygen prints it; empty where none is."""
    names = line.strip('"').split(",")
    return next((name for name in names if not name.startswith("!")), "")


def _require_list(revoked: Path) -> None:
    """Raise UsageError for a revocation list that ssh-keygen cannot read.

    It refuses every signature then, and would be taken for saying that all keys were revoked.
    """
    result = _run(["-Q", "-l", "-f", str(revoked)], b"")
    content = read_file(revoked)
    if content.startswith(_LIST) and result.returncode == 0:
        return
    lines = [each.strip() for each in content.decode("utf-8", "replace").splitlines()]
    wrong = [each for each in lines if each and not each.startswith("#") and not _is_public(each)]
    if content.startswith(_LIST) or wrong or b"\0" in content:
        message = (
            f"{revoked} is no revocation list: ssh-keygen makes one (`ssh-keygen -k -f FILE "
            "KEY.pub`), and public keys, a line each, are one as well."
        )
        raise UsageError(message)


def _is_public(line: str) -> bool:
    return any(_is_whole(_key(word)) for word in line.split())


def _is_whole(key: bytes) -> bool:
    """Return whether a public key in binary is one text after another, and not cut off."""
    rest = key
    try:
        while rest:
            _, rest = _string(rest)
    except (ValueError, struct.error):
        return False
    return bool(key)


def _key(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""


def _armoured(sig: bytes) -> str:
    text = base64.b64encode(sig).decode()
    lines = [text[start : start + _WIDTH] for start in range(0, len(text), _WIDTH)]
    return "\n".join([_BEGIN, *lines, _END, ""])


def _run(arguments: Sequence[str], data: bytes) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            ["ssh-keygen", *arguments],
            input=data,
            capture_output=True,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError as error:
        message = (
            "There is no ssh-keygen, which signs and checks with ssh keys. Install OpenSSH's "
            "client (Debian: openssh-client), 8.2 or newer."
        )
        raise ToolchainError(message) from error


def _said(result: subprocess.CompletedProcess[bytes]) -> str:
    return end_of((result.stderr or result.stdout).decode("utf-8", "replace")) or "nothing"
