"""Files of every encoding.

Read without loss, edited only where their own reader then reads what was meant.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tokenize
import xml.etree.ElementTree as ET
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pygit2.enums import FileMode

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches.apply import apply_patch
from forkhouse.patches.encodings import UNKNOWN, decoded, for_new, readable
from forkhouse.patches.series import read_patch
from forkhouse.sources.store import TreeFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkhouse.sources.store import ObjectStore

EXAMPLES = {
    name: blocks
    for name, *blocks in re.findall(
        r"^### ([\w-]+)\n\n```\w+\n(.*?)```\n```\w+\n(.*?)```\n```\w+\n(.*?)```\n",
        (Path(__file__).parents[2] / "docs/reference/patches.md").read_text(encoding="utf-8"),
        flags=re.MULTILINE | re.DOTALL,
    )
}
HEADER = "Subject: s\nDescription: d\nOrigin: o\nForwarded: no\nRetire-When: never\n"


@given(
    content=st.binary()
    | st.text().map(str.encode)
    | st.text(alphabet="aé\u0085\xa0\n\r\t").map(lambda text: text.encode("latin-1"))
)
@settings(max_examples=300, deadline=None)
def test_what_is_read_comes_back_byte_for_byte(content: bytes) -> None:
    for path in ("a.c", "a.py", "a.xml"):
        assert readable(content, path=path) is not None
        try:
            text = decoded(content, path=path)
        except PatchConflictError:
            continue
        assert text.encoded(text.text) == content
        if text.encoding == UNKNOWN:
            # One character for each byte, and a line end is where there is one of ASCII.
            plain = content.translate(bytes([*range(0x80), *b"x" * 0x80])).decode("ascii")
            assert len(text.text) == len(content)
            assert list(map(len, text.text.splitlines())) == list(map(len, plain.splitlines()))
            assert text.text.split() == _words(text.text, plain)


def _words(text: str, plain: str) -> list[str]:
    """Return the words of a text, where another one of its length has white space."""
    marked = "".join(
        " " if other.isspace() else character for character, other in zip(text, plain, strict=True)
    )
    return [word for word in marked.split(" ") if word]


@pytest.fixture
def edited(store: ObjectStore) -> Callable[..., bytes]:
    """Apply one operation to the bytes of a file, and return its bytes then."""

    def apply(content: bytes, language: str, operation: str, path: str = "a.c") -> bytes:
        tree = store.import_files([TreeFile(path=path, content=content, mode=FileMode.BLOB)])
        operations = operation if operation.startswith("      - ") else f"      - {operation}\n"
        text = (
            f"{HEADER}edits:\n  - path: {path}\n    language: {language}\n    "
            f"operations:\n{operations}"
        )
        patch = read_patch("up/0001-e.edit.yaml", text.encode())
        return store.read(apply_patch(tree, patch, {}, store=store, where="up"), path)

    return apply


# A comment of the middle of the last century, by people of many countries.
C = (
    "/* by Zo\u00eb\u0085\u00a0and \u00c5sa */\r\nint one = 1;\nint two = 2; /* \u00fc */\nconst "
    'char *name = "\u00d8";\n'
)
OPERATIONS = {
    "c": "replace: {assignment: two}\n        with: two = 6",
    "cpp": "replace: {assignment: two}\n        with: two = 6",
    "text": 'replace: {anchor: "two = 2"}\n        with: two = 6',
}


@pytest.mark.parametrize("language", OPERATIONS)
def test_a_latin_1_source_is_edited_and_nothing_else_changes(
    edited: Callable[..., bytes], language: str
) -> None:
    content = C.encode("latin-1")
    assert edited(content, language, OPERATIONS[language]) == content.replace(
        b"two = 2", b"two = 6"
    )


@pytest.mark.parametrize(
    "encoding", ["cp1252", "shift_jis", "koi8-r", "gb2312", "utf-8", "utf-8-sig"]
)
def test_any_encoding_like_ascii_is_edited(edited: Callable[..., bytes], encoding: str) -> None:
    said = {
        "cp1252": "Zo\u00eb \u2026",
        "shift_jis": "\u8868\u793a",
        "koi8-r": "\u043f\u0440\u0438",
        "gb2312": "\u4e2d\u6587",
    }.get(encoding, "\u00eb")
    content = f"/* {said} */\nint two = 2; /* {said} */\n".encode(encoding)
    for language, operation in OPERATIONS.items():
        assert edited(content, language, operation) == content.replace(b"two = 2", b"two = 6")


COMMENTS = {**dict.fromkeys(("c", "cpp", "rust"), "//"), "json": ""}


@pytest.mark.parametrize("language", sorted(EXAMPLES))
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_every_language_is_edited_behind_bytes_of_no_known_meaning(
    edited: Callable[..., bytes], language: str, line_end: str
) -> None:
    """The documents' own examples, with a line of another time in front.

    Its bytes stay, and no position is shifted by them.
    """
    operations, before, after = EXAMPLES[language]
    mark = COMMENTS.get(language, "#")
    foreign = "Zo\u00eb\u0085\u00a0\u00ff"
    if mark:
        before, after = (f"{mark} {foreign}\n{text}" for text in (before, after))
    else:
        before, after = (text.replace('"cpu"', f'"{foreign}"') for text in (before, after))
    if line_end != "\n":
        before, after = (text.replace("\n", line_end) for text in (before, after))
    assert edited(
        before.encode("latin-1"), language, indent(operations, "      "), path="file"
    ) == after.encode("latin-1")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
def test_wide_unicode_is_edited_in_its_own_form(
    edited: Callable[..., bytes], encoding: str
) -> None:
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    text = f"{mark}# \u00fcber\r\ntwo = 2\r\n"
    content = text.encode(encoding)
    changed = edited(
        content, "text", 'replace: {anchor: "two = 2"}\n        with: "two = \u00fc"', path="a.txt"
    )
    assert changed == text.replace("two = 2", "two = \u00fc").encode(encoding)


def test_wide_unicode_that_is_broken_is_refused(edited: Callable[..., bytes]) -> None:
    with pytest.raises(
        PatchConflictError,
        match=r"a\.c has the byte-order mark of utf-16-le and is not valid in it",
    ):
        edited("two = 2\n".encode("utf-16") + b"x", "text", OPERATIONS["text"])


@pytest.mark.parametrize(
    "where",
    [
        "replace: {anchor: two}\n        with: z\u00fc",
        "replace: {anchor: \u00fc}\n        with: two",
    ],
)
def test_only_ascii_is_said_of_an_unknown_encoding(
    edited: Callable[..., bytes], where: str
) -> None:
    with pytest.raises(
        PatchConflictError,
        match=r"a\.c is not UTF-8 and does not say what it is, .* only ASCII .* the edit has "
        r"'\u00fc'",
    ):
        edited(C.encode("latin-1"), "text", where)


LATIN = "# -*- coding: latin-1 -*-\nname = '\u00eb'\nwant = 'a'\n"


def test_a_python_source_is_read_as_it_declares(
    edited: Callable[..., bytes], tmp_path: Path
) -> None:
    operation = "replace: {assignment: want}\n        with: want = '\u00fc'"
    for text in (
        LATIN,
        LATIN.replace("\u00eb", "e"),
    ):  # the second one is ASCII, and so is valid UTF-8 as well
        changed = edited(text.encode("latin-1"), "python", operation, path="a.py")
        (tmp_path / "a.py").write_bytes(changed)
        shown = subprocess.run(
            [sys.executable, "-c", "import a; print(ascii(a.want))"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        assert shown.stdout == "'\\xfc'\n"
        assert changed == text.replace("'a'", "'\u00fc'").encode("latin-1")


def test_what_the_declared_encoding_lacks_is_refused(edited: Callable[..., bytes]) -> None:
    with pytest.raises(PatchConflictError, match=r"a\.py is iso8859-1, which has no '\u20ac'"):
        edited(
            LATIN.encode("latin-1"),
            "python",
            "replace: {assignment: want}\n        with: want = '\u20ac'",
            path="a.py",
        )


def test_a_declaration_that_turns_the_rest_into_something_else_is_refused(
    edited: Callable[..., bytes],
) -> None:
    for content in ("# plain\nname = '\u00eb'\n".encode(), LATIN.encode("latin-1")):
        first = content.decode("latin-1").partition("\n")[0]
        with pytest.raises(
            PatchConflictError, match="must not change what a file says about its own encoding"
        ):
            edited(
                content,
                "text",
                (
                    f'replace: {{anchor: "{first}"}}\n        with: "# coding: '
                    f'{"cp437" if "plain" in first else "utf-7x"}"'
                ),
                "a.py",
            )


@pytest.mark.parametrize(
    "head",
    [
        b"# -*- coding: latin-1 -*-\n", b"#!/bin/x\n# vim: set fileencoding=koi8-r :\n",
        b"\n# coding=cp1252\n", b"x = 1\n# coding: latin-1\n",
        b"# one\n# two\n# coding: latin-1\n", b"# coding: utf-8\n",
        b"\xef\xbb\xbf# coding: utf-8\n", b"'''\n# coding: latin-1\n'''\n",
        b"\x0c # coding: iso-8859-15\r\n", b"# coding latin-1\n", b"#coding:utf_8_sig\n",
        b"# encoding: ascii\n",
    ],
)  # fmt: skip
def test_python_itself_reads_the_same_encoding(head: bytes) -> None:
    content = head + b"x = 1\n"
    theirs = tokenize.detect_encoding(io.BytesIO(content).readline)[0]
    text = decoded(content, path="a.py")
    assert "".encode(text.encoding) == b""
    assert text.text.removeprefix("\ufeff").encode(
        theirs.removesuffix("-sig")
    ) == content.removeprefix(b"\xef\xbb\xbf")
    ours = bytes(range(0xC0, 0x100)).decode(text.encoding, errors="replace")
    assert ours == bytes(range(0xC0, 0x100)).decode(theirs, errors="replace")


def test_an_xml_file_is_read_as_it_declares(edited: Callable[..., bytes]) -> None:
    content = '<?xml version="1.0" encoding="ISO-8859-1"?>\n<a b="\u00eb">two</a>\n'.encode(
        "latin-1"
    )
    changed = edited(content, "text", "replace: {anchor: two}\n        with: z\u00fc", path="a.xml")
    root = ET.fromstring(changed)  # our own text
    assert (root.text, root.get("b")) == ("z\u00fc", "\u00eb")


def test_a_declaration_that_nobody_knows_leaves_ascii_alone(edited: Callable[..., bytes]) -> None:
    for name in ("x-own", "utf-7", "cp037"):
        content = f"# coding: {name}\nwant = 'a'\n".encode()
        assert edited(
            content, "python", "replace: {assignment: want}\n        with: want = 'b'", "a.py"
        ) == content.replace(b"'a'", b"'b'")
        with pytest.raises(PatchConflictError, match="only ASCII can be looked for and put there"):
            edited(
                content,
                "python",
                "replace: {assignment: want}\n        with: want = '\u00fc'",
                "a.py",
            )
        with pytest.raises(PatchConflictError, match="only ASCII"):
            for_new(f"# coding: {name}\nwant = '\u00fc'\n", path="a.py")


def test_a_new_file_is_written_as_it_declares() -> None:
    assert for_new(LATIN, path="a.py") == LATIN.encode("latin-1")
    assert for_new(LATIN, path="a.txt") == LATIN.encode()
    with pytest.raises(PatchConflictError, match="iso8859-1, which has no"):
        for_new(LATIN + "# \u20ac\n", path="a.py")


def test_all_of_ascii_is_itself_in_an_unknown_encoding() -> None:
    plain = bytes(range(1, 0x80))
    text = decoded(plain + b"\xff", path="notes.txt")
    assert (text.encoding, text.text[:-1]) == (UNKNOWN, plain.decode("ascii"))
    text.take(plain.decode("ascii"))
    assert text.encoded(text.text + "\x7f") == plain + b"\xff\x7f"
    for byte in range(0x80, 0x100):
        character = decoded(bytes([0x61, byte, 0xFF]), path="notes.txt").text[1]
        assert not character.isascii()
        assert not character.isalnum()
        assert not character.isspace()
