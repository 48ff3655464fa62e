"""The forms that a file can have and mean the same.

Line ends, a byte-order mark, no end of the last line, tabs, empty lines at its head.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

_MARKED = frozenset({"python", "c", "cpp", "rust", "yaml", "json", "requirements", "cmake"})
"""Languages whose readers take a byte-order mark."""
_TABBED = frozenset({"c", "cpp", "rust", "json", "cmake", "bash"})
"""Languages where the white space at the head of a line means nothing, so long as no text of
several lines holds it."""


def _crlf(text: str) -> str:
    return text if "\r" in text else text.replace("\n", "\r\n")


def _tabs(text: str) -> str:
    return (
        text
        if '"""' in text or "<<" in text
        else re.sub(
            r"^(?: {4}| {2})+",
            lambda spaces: "\t" * (len(spaces[0]) // 2),
            text,
            flags=re.MULTILINE,
        )
    )


def _hashes(match: re.Match[str]) -> str:
    return f"{match[1]} \\\n    --hash=sha256:{'0a' * 32} \\\n    --hash=sha256:{'1b' * 32}"


FORMS: Mapping[str, Callable[[str], str]] = {
    "as it is": lambda text: text,
    "CRLF": _crlf,
    "byte-order mark": lambda text: "\ufeff" + text.removeprefix("\ufeff"),
    "no line end at the end": lambda text: text.rstrip("\r\n"),
    "CRLF, no line end at the end": lambda text: _crlf(text).rstrip("\r\n"),
    "an empty line first": lambda text: ("\r\n" if "\r\n" in text else "\n") + text,
    "tabs": _tabs,
    "hashes": lambda text: re.sub(
        r"^([A-Za-z][\w.-]*==[\w.]+)[ \t]*(?=\r?$)", _hashes, text, flags=re.MULTILINE
    ),
    "joined lines": lambda text: re.sub(
        r"^([A-Za-z][\w.-]*)((?:==|>=|~=)[\w.]+)(?=\r?$)", r"\1 \\\n  \2", text, flags=re.MULTILINE
    ),
}


def form_of(language: str, chance: random.Random) -> str:
    """Return the name of a form that files of a language can have; most are taken as they are."""
    able = [
        name
        for name in FORMS
        if (name != "byte-order mark" or language in _MARKED)
        and (name not in {"hashes", "joined lines"} or (language == "requirements"))
        and (name != "tabs" or language in _TABBED)
        # In bash a carriage return is text.
        and ("CRLF" not in name or language != "bash")
    ]
    return (
        "as it is" if chance.random() < 0.4 else chance.choice(able)
    )  # the share of files as they are
