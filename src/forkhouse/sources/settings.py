"""How pip is told to reach its indexes.

The settings of the user's own pip, which count here too.
"""

from __future__ import annotations

import ast
import re
import subprocess
from dataclasses import dataclass
from typing import TypeVar

from forkhouse.core.environments import PIP
from forkhouse.core.errors import DocumentError
from forkhouse.core.secrecy import hide
from forkhouse.core.wording import end_of

N = TypeVar("N", int, float)


_LARGEST = 86_400


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexSettings:
    """Where pip would look: index addresses, then flat folders or pages of links."""

    indexes: tuple[str, ...]
    find_links: tuple[str, ...]
    trusted_hosts: tuple[str, ...]
    certificates: str | None
    """A bundle of certificate authorities, where pip is told to use one."""
    timeout: float
    """Seconds without an answer after which a request is given up."""
    proxy: str | None = None
    client_certificate: str | None = None
    retries: int = 5
    """How often a request is made again after the first time."""

    def options(self) -> list[str]:
        """Return these settings as options of pip.

        They alone of all the user's settings have a say here.
        """
        first, *others = self.indexes or ("",)
        options = ["--index-url", first] if first else ["--no-index"]
        options += [word for index in others for word in ("--extra-index-url", index)]
        options += [word for place in self.find_links for word in ("--find-links", place)]
        options += [word for host in self.trusted_hosts for word in ("--trusted-host", host)]
        single = {
            "--cert": self.certificates,
            "--proxy": self.proxy,
            "--client-cert": self.client_certificate,
        }
        options += [word for option, value in single.items() if value for word in (option, value)]
        return [*options, "--timeout", f"{self.timeout:g}", "--retries", str(self.retries)]


def parse_pip_config(text: str) -> dict[str, str]:
    """Return pip's settings from the output of `pip config list`.

    The environment wins over files, as in pip.
    """
    values: dict[str, str] = {}
    for section in ("global", "install", "download", ":env:"):
        for line in text.splitlines():
            match = re.fullmatch(rf"{re.escape(section)}\.([\w.-]+)=(.*)", line.strip())
            if match:
                values[match[1].lstrip(".").replace("_", "-")] = _value(match[2])
    return values


def _value(shown: str) -> str:
    """Return a value as pip has it; it shows it as Python would."""
    try:
        value = ast.literal_eval(shown)
    except (ValueError, SyntaxError):
        value = shown
    return str(value).replace("\n", " ")


def index_settings() -> IndexSettings:
    """Return the index settings of the user's pip (files and PIP_* variables)."""
    result = subprocess.run([*PIP, "config", "list"], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        message = (
            "pip cannot read its own settings (`pip config "
            f"list`):\n{end_of(result.stderr)}\nCorrect them."
        )
        raise DocumentError(message)
    # What is empty is not set, for pip.
    values = {
        name: value for name, value in parse_pip_config(result.stdout).items() if value.strip()
    }
    indexes: list[str] = []
    if values.get("no-index", "false").lower() not in {"1", "true", "yes", "on"}:
        indexes += values.get("index-url", "").split() or _default_indexes()
        indexes += values.get("extra-index-url", "").split()
    hide(*indexes, *values.get("find-links", "").split(), values.get("proxy", ""))
    return IndexSettings(
        indexes=tuple(indexes),
        find_links=tuple(values.get("find-links", "").split()),
        trusted_hosts=tuple(values.get("trusted-host", "").split()),
        certificates=values.get("cert"),
        timeout=_number(
            values.get("timeout", values.get("default-timeout", "60")), "timeout", float
        ),
        proxy=values.get("proxy"),
        client_certificate=values.get("client-cert"),
        retries=_number(values.get("retries", "5"), "retries", int),
    )


def _default_indexes() -> list[str]:
    """Return the library's own default, which is pip's, too: no address is written here."""
    from unearth import PackageFinder

    return [source["url"] for source in PackageFinder().sources]


def _number(text: str, setting: str, kind: type[N]) -> N:
    """Return the number that a setting of pip is. Raises DocumentError."""
    try:
        number = kind(text)
    except ValueError:
        number = kind(-1)
    if not 0 <= number <= _LARGEST:
        message = (
            f"pip's setting `{setting}` is '{text}', which is no number that it can be. `pip "
            "config list` shows where it is from."
        )
        raise DocumentError(message)
    return number


def reason(error: Exception) -> str:
    """Return the first line of an error of the client library."""
    first, *_ = str(error).splitlines() or [type(error).__name__]
    return first
