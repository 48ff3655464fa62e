"""Undo what mail programs do to a patch for transport, as `git am` does.

A mail may be in base64 or quoted-printable, and may have its patch as an attachment. Python's own
`email` decodes it. Bytes of the patch stay as they are, whatever encoding of text the mail names.
"""

from __future__ import annotations

import binascii
import itertools
import re
from email import message_from_bytes
from typing import TYPE_CHECKING

from forkhouse.patches.diffs import DiffSyntaxError

if TYPE_CHECKING:
    from email.message import Message

_SEPARATOR = re.compile(rb"From \S.*\d\d?:\d\d(:\d\d)?.* (19|20)\d\d\b")
_ENCODING = b"content-transfer-encoding:"
_HINT = re.compile(
    rb"^(?:content-transfer-encoding:|content-type:\s*multipart/)", re.IGNORECASE | re.MULTILINE
)
"""What a mail has that is not plain; nearly no patch has it anywhere."""
_FIELD = re.compile(rb"[!-9;-~]+:")
_PLAIN = frozenset({"", "7bit", "8bit", "binary"})
_TEXTS = frozenset({"text/plain", "text/x-patch", "text/x-diff"})
_ESCAPES = re.compile(rb"=(?![0-9A-Fa-f]{2}|[ \t]*\r?(?:\n|\Z))")


def is_separator(line: bytes) -> bool:
    """Say whether a line begins a mail of a mailbox."""
    return line.startswith(b"From ") and _SEPARATOR.match(line) is not None


def plain(content: bytes) -> bytes:
    """Return a patch file with each of its mails decoded.

    Raises DiffSyntaxError for a mail that is damaged, or encoded in a way that git does not read.
    """
    if _HINT.search(content) is None:
        return content
    lines = content.split(b"\n")
    starts = [number for number, line in enumerate(lines) if is_separator(line)]
    bounds = sorted({0, *starts, len(lines)})
    mails = [(begun, lines[begun:end]) for begun, end in itertools.pairwise(bounds)]
    decoded = [_decoded(mail, begun) for begun, mail in mails]
    if all(one is other for one, (_, other) in zip(decoded, mails, strict=True)):
        return content
    return b"\n".join(line for mail in decoded for line in mail)


def _decoded(lines: list[bytes], begun: int) -> list[bytes]:
    """Return the lines of a mail, decoded if its header says that it is encoded.

    `begun` is the number of lines above it.
    """
    first = 1 if is_separator(lines[0]) else 0
    end = next((number for number in range(first, len(lines)) if not lines[number].strip()), 0)
    if not end or not _FIELD.match(lines[first]) or not _HINT.search(b"\n".join(lines[:end])):
        return lines
    mail = message_from_bytes(b"\n".join(lines[first:]))
    at = next(number for number in range(end) if _HINT.match(lines[number]))
    if not mail.is_multipart() and _said(mail, "Content-Transfer-Encoding") in _PLAIN:
        return lines
    texts = [_text(part, begun + at + 1) for part in mail.walk() if not part.is_multipart()]
    # The header keeps what it says, except for what is no longer so.
    header = [line for line in lines[:end] if not line.lower().startswith(_ENCODING)]
    body = b"".join(text if text.endswith(b"\n") else text + b"\n" for text in texts)
    return [*header, b"", *body.removesuffix(b"\n").split(b"\n"), b""]


def _text(part: Message, line: int) -> bytes:
    """Return the text of a mail or of a part of one. Raises DiffSyntaxError."""
    kind, encoding = part.get_content_type(), _said(part, "Content-Transfer-Encoding")
    if kind not in _TEXTS:
        message = (
            f"the mail has a part of the kind {kind}, which may be the patch. Take the patch "
            "out first: `git mailinfo message patch < FILE`"
        )
        raise DiffSyntaxError(line, message)
    del part["Content-Transfer-Encoding"]  # the library would decode what is damaged, too
    raw = part.get_payload(decode=True)
    assert isinstance(raw, bytes)
    if encoding == "base64":
        try:
            return binascii.a2b_base64(b"".join(raw.split()), strict_mode=True)
        except binascii.Error as error:
            raise DiffSyntaxError(line, f"the mail's base64 is damaged: {error}") from error
    if encoding == "quoted-printable":
        damaged = _ESCAPES.search(raw)
        if damaged:
            shown = raw[damaged.start() : damaged.start() + 3].decode("ascii", "replace")
            message = f"the mail's quoted-printable is damaged: '{shown.strip()}' is no character"
            raise DiffSyntaxError(line, message)
        return binascii.a2b_qp(raw)
    if encoding not in _PLAIN:
        raise DiffSyntaxError(
            line, f"the mail is encoded as '{encoding}', which nothing here decodes"
        )
    return raw


def _said(part: Message, field: str) -> str:
    """Return what a mail says of itself in a field, in small letters."""
    return str(part.get(field, "")).partition(";")[0].strip().lower()
