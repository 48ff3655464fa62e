"""Keep credentials out of everything that is said or written.

Each text that leaves goes through `masked`.

The user's addresses may hold a password or a token, and every library that meets one puts it into
its errors.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, quote, unquote, urlsplit, urlunsplit

MASK = "***"
_SHORTEST = 6
"""Characters of a secret that is looked for on its own.

Shorter ones are words that stand in any text.
"""
_NO_SECRETS = frozenset({"x-oauth-basic", "x-access-token", "__token__", "oauth2"})
"""What stands in the place of a user or a password where the other one is the token."""

_USER = re.compile(r"(?<=://)(?!git@)[^/\s?#'\"<>]*@")
_QUERY = re.compile(r"(\w://[^\s?#'\"<>]*\?)([^\s#'\"<>]+)")
_VALUE = re.compile(r"([^&;=]+)=[^&;]*")
_PUBLIC = frozenset({"rev", "tag", "ref", "branch", "subdirectory"})
"""What the part behind the question mark may name that is no secret.

Which state of a repository is meant.
"""
_PLACE = re.compile(r"(?:\[[0-9A-Fa-f:.%]+\]|[^:\[\]]*)(?::\d*)?")
"""A host with its port, as it stands in an address."""
_HEADER = re.compile(
    r"(authorization['\"]?\s*[:=]\s*['\"]?(?:basic|bearer|token)\s+)[^\s'\"]+", re.IGNORECASE
)

_secrets: set[str] = set()


def hide(*addresses: str) -> None:
    """Take note of the credentials in addresses.

    From now on they are masked wherever they appear, also on their own.
    """
    for address in addresses:
        if "://" not in address:
            continue
        before, _, query = address.partition("?")
        rest = before.partition("://")[2]
        place = rest.partition("/")[0]
        if "@" not in place and not _PLACE.fullmatch(place):
            # No address, as where a password has a slash: it is one all the same, and what refuses
            # the address says parts of it.
            place = rest
        user, _, password = place.rpartition("@")[0].partition(":")
        secrets = [
            password,
            *re.split(r"[/#]", password),
            user if not password or password in _NO_SECRETS else "",
            *(value for _, value in parse_qsl(query.partition("#")[0])),
        ]
        for secret in secrets:
            plain = unquote(secret)
            if len(plain) >= _SHORTEST and plain not in _NO_SECRETS:
                _secrets.update((secret, plain, quote(plain, safe="")))


def masked(text: str) -> str:
    """Return a text without credentials: of the user's addresses, and in any address at all."""
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, MASK)
    text = _USER.sub(f"{MASK}@", text)
    text = _QUERY.sub(lambda match: match[1] + _VALUE.sub(_without_value, match[2]), text)
    return _HEADER.sub(rf"\g<1>{MASK}", text)


def _without_value(part: re.Match[str]) -> str:
    return part[0] if part[1].lower() in _PUBLIC else f"{part[1]}={MASK}"


def without_user(address: str) -> str:
    """Return an address without a user and a password."""
    try:
        found = urlsplit(address)
    except ValueError:
        return _USER.sub("", address)
    return (
        urlunsplit(found._replace(netloc=found.netloc.rpartition("@")[2]))
        if "@" in found.netloc
        else address
    )
