"""From the bytes of a file to text and back, without loss.

What an edit leaves alone comes back byte for byte, whatever its encoding.

A file is read in the encoding that its own reader takes for it: UTF-16 or UTF-8 by a byte-order
mark, what a Python source (PEP 263) or an XML declaration says, UTF-8 otherwise. Bytes that are not
valid in it mean that the encoding is not known. Then each byte beyond ASCII becomes one character
of its own in Unicode's private use area: no letter, no white space and no line end to anyone, so
that grammars and positions see the text around it as it is. (Latin-1 would not do: its 0x85 is a
line end and its 0xA0 a blank to Python.)
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from forkhouse.core.errors import PatchConflictError

UNKNOWN = "unknown"
"""In the place of an encoding's name.

Bytes beyond ASCII are kept, and nobody can say what they mean.
"""

_ASCII = 0x80
_PRIVATE = 0xEF00
"""Where a byte's own character lies: U+EF80 to U+EFFF."""
_TO_CHARACTERS = {byte: _PRIVATE + byte for byte in range(_ASCII, 0x100)}
_TO_BYTES = {character: byte for byte, character in _TO_CHARACTERS.items()}
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16's, with which it begins
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF8, "utf-8"),
)
WIDE = tuple(mark for mark, _ in _MARKS[:-1])
"""Beginnings of files in which ASCII does not stand as it is."""
_PYTHON = frozenset({".py", ".pyi", ".pyw"})
_CODING = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_BLANK = re.compile(rb"^[ \t\f]*(?:#[^\r\n]*)?$")
_XML = re.compile(rb"""<\?xml[ \t\r\n][^>]*?encoding[ \t\r\n]*=[ \t\r\n]*["']([-\w.]+)["']""")


@dataclass(frozen=True, kw_only=True, slots=True)
class Text:
    """The text of a file. A byte-order mark is its first character; line ends are as they are."""

    text: str
    encoding: str
    """As Python calls it, or UNKNOWN."""
    path: str
    """Of the file, for messages, and for what its name says about its reader."""
    language: str = ""

    def take(self, words: str) -> None:
        """Raise PatchConflictError when what an edit says, for finding or for putting there, means nothing certain in this file."""
        if self.encoding == UNKNOWN and not words.isascii():
            beyond = next(character for character in words if not character.isascii())
            message = (
                f"{self.path} is not UTF-8 and does not say what it is, or nobody knows what it "
                "says: only ASCII can be looked for and put there, and the edit has "
                f"'{beyond}'. Write that part of the change as a .patch, whose bytes are taken as "
                "they are."
            )
            raise PatchConflictError(message)

    def encoded(self, text: str) -> bytes:
        """Return another text as bytes of this file's encoding.

        Raises PatchConflictError for a text that the encoding cannot hold, or that the file's
        reader would read as another one.
        """
        if self.encoding == UNKNOWN:
            self.take(text.translate(dict.fromkeys(_TO_BYTES)))
            return text.translate(_TO_BYTES).encode("latin-1")
        try:
            content = text.encode(self.encoding)
        except UnicodeEncodeError as error:
            message = (
                f"{self.path} is {self.encoding}, which has no '{text[error.start : error.end]}'. "
                "Use a character or an escape that it has."
            )
            raise PatchConflictError(message) from error
        again = decoded(content, path=self.path, language=self.language)
        if again.text != text:
            message = (
                f"{self.path} would be read as {again.encoding} and not as {self.encoding} "
                "afterwards, and then says something else. "
                "An edit must not change what a file says about its own encoding."
            )
            raise PatchConflictError(message)
        return content


def decoded(content: bytes, *, path: str, language: str = "") -> Text:
    """Return the text of a file, so that `Text.encoded` gives the same bytes again.

    The name of the file and the language of an edit say whether a declaration in it counts. Raises
    PatchConflictError for what is no text, or is broken in the encoding of its byte-order mark.
    """
    encoding = _said(content, path, language)
    if encoding == UNKNOWN:
        return _kept(content, path, language)
    try:
        text = content.decode(encoding)
        if text.encode(encoding) == content:
            return Text(text=text, encoding=encoding, path=path, language=language)
    except UnicodeError:
        pass
    if encoding.startswith(("utf-16", "utf-32")):
        message = (
            f"{path} has the byte-order mark of {encoding} and is not valid in it. It has to be "
            "repaired before it can be edited."
        )
        raise PatchConflictError(message)
    if b"\0" in content:
        message = (
            f"{path} is binary: it has zero bytes and is not valid {encoding}. An edit changes "
            "text alone; use a binary .patch."
        )
        raise PatchConflictError(message)
    return _kept(content, path, language)


def _kept(content: bytes, path: str, language: str) -> Text:
    # Every byte alone: were the valid parts of it read as UTF-8, nobody would know that they are
    # meant so.
    return Text(
        text=content.decode("latin-1").translate(_TO_CHARACTERS),
        encoding=UNKNOWN,
        path=path,
        language=language,
    )


def readable(content: bytes, *, path: str) -> str:
    """Return what can be searched of any file, as `decoded` would give it; never raises.

    It is not for writing back.
    """
    try:
        return decoded(content, path=path).text
    except PatchConflictError:
        return _kept(content, path, "").text


def for_new(text: str, *, path: str) -> bytes:
    """Return the content of a new file: UTF-8, or what the text itself declares.

    Raises PatchConflictError as `Text.encoded` does.
    """
    return Text(text=text, encoding=_said(text.encode("utf-8"), path, ""), path=path).encoded(text)


def _said(content: bytes, path: str, language: str) -> str:
    """Return the encoding that the reader of a file would take.

    UTF-8 where none is declared, UNKNOWN for one that is not known here.
    """
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return encoding
    name = _declared(content, path, language)
    if name is None:
        return "utf-8"
    try:
        encoding = codecs.lookup(name).name.removesuffix(
            "-sig"
        )  # of a mark, which was looked for already
        # A declaration can only be read in an encoding that has ASCII as it is.
        return (
            encoding
            if bytes(range(_ASCII)).decode(encoding) == bytes(range(_ASCII)).decode("ascii")
            else UNKNOWN
        )
    except (LookupError, UnicodeError):
        return UNKNOWN


def _declared(content: bytes, path: str, language: str) -> str | None:
    python = (
        language == "python"
        or PurePosixPath(path).suffix in _PYTHON
        or re.match(rb"#![^\r\n]*python", content) is not None
    )
    if python:
        first, second, *_ = [*re.split(rb"\r\n?|\n", content[:1000], maxsplit=2), b"", b""]
        found = _CODING.match(first) or (_CODING.match(second) if _BLANK.match(first) else None)
        return found[1].decode("ascii") if found and found[1].isascii() else None
    found = _XML.match(content[:1000])
    return found[1].decode("ascii") if found and found[1].isascii() else None
