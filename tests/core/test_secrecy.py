from __future__ import annotations

import io
import logging
import sys
from typing import TYPE_CHECKING

import pytest

from forkhouse.core.errors import DocumentError, UnreachableError
from forkhouse.core.progress import report, showing
from forkhouse.core.secrecy import hide, masked, without_user
from forkhouse.documents.lockfile import GitSource
from forkhouse.documents.reading import parse

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "fatal: unable to access 'https://bob:pw@host/a.git/': 403",
            "fatal: unable to access 'https://***@host/a.git/': 403",
        ),
        (
            "https://bob:p@w@host/a and http://token@host:8080",
            "https://***@host/a and http://***@host:8080",
        ),
        ("git+https://bob:pw@host/a", "git+https://***@host/a"),
        ("https://host/a?token=abc&x=1#sha256=00", "https://host/a?token=***&x=***#sha256=00"),
        ("ssh://git@host/a and mail to a@b.c", "ssh://git@host/a and mail to a@b.c"),
        ("https://host/~a@b", "https://host/~a@b"),
        ("Authorization: Basic Ym9iOnB3", "Authorization: Basic ***"),
        ("nothing to hide: a=b, c?d=e", "nothing to hide: a=b, c?d=e"),
    ],
)
def test_addresses_lose_their_credentials(text: str, expected: str) -> None:
    assert masked(text) == expected


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("https://bob:canary-a%2Fb@host/simple", "canary-a%2Fb and canary-a/b"),
        ("https://canary-token@host/simple", "canary-token"),
        ("https://canary-other:x-oauth-basic@host/simple", "canary-other"),
        ("https://host/simple?key=canary-key", "canary-key"),
        ("https://bob:canary-b/canary-c@host/simple", "canary-b and canary-c"),
        ("https://bob:canary-d@[::1/simple", "canary-d"),
        ("htp://bob:canary-e@[host", "canary-e"),
    ],
)
def test_what_is_known_to_be_secret_is_masked_on_its_own(address: str, said: str) -> None:
    hide(address)
    assert (
        masked(f"the server says: {said}").replace("***", "").replace(" and ", "").strip()
        == "the server says:"
    )


def test_a_path_is_no_password() -> None:
    for address in (
        "https://host:8443/simply/@scope",
        "https://[::1]:80/simply/a@b",
        "https://[::1",
    ):
        hide(address)
    assert masked("simply /@scope") == "simply /@scope"


def test_words_that_are_no_secrets_stay() -> None:
    hide(
        "https://oauth2:x-access-token@host",
        "https://bob:pw@host",
        "/a/folder",
        "https://host/?v=1",
    )
    assert (
        masked("bob's pw, oauth2, x-access-token, v=1") == "bob's pw, oauth2, x-access-token, v=1"
    )


def test_an_address_without_its_user() -> None:
    assert without_user("https://bob:pw@host:8/a?b") == "https://host:8/a?b"
    assert without_user("git@host:owner/a.git") == "git@host:owner/a.git"
    assert without_user("https://host/a@b") == "https://host/a@b"


def _error() -> None:
    sys.stderr.write(str(UnreachableError("https://bob:pw@host did not answer")))


def _line() -> None:
    report().line("https://bob:pw@host", "https://bob:pw@host did not answer")


def _log() -> None:
    logging.getLogger("library").warning("Failed: %s", "https://bob:pw@host")


@pytest.mark.parametrize("say", [_error, _line, _log])
def test_no_way_out_says_a_password(
    say: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with showing():
        say()
    assert "https://***@host" in stream.getvalue()
    assert "pw" not in stream.getvalue()


@pytest.mark.parametrize("end", ["?private_token=canary", "#main"])
def test_the_address_of_a_repository_in_the_lock_ends_with_its_path(end: str) -> None:
    """It is recorded in the manifest as it stands there."""
    text = f"kind: git\nurl: 'https://host/a.git{end}'\ncommit: '{'1' * 40}'\n"
    with pytest.raises(DocumentError, match="ends with its path") as caught:
        parse(GitSource, text, name="upstream.lock")
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("kind", ["git", "archive"])
@pytest.mark.parametrize(
    "url",
    [
        "https://bob:canary@host/a.git",
        "https://canary@host/a",
        "https://bob:can@ary@host/a",
        "https://@host/a",
    ],
)
def test_the_lock_has_no_credentials(kind: str, url: str) -> None:
    with pytest.raises(
        DocumentError,
        match=r"upstream\.lock:2: url: an address in the lock has no user and no password",
    ) as caught:
        parse(GitSource, f"kind: {kind}\nurl: {url}\n", name="upstream.lock")
    assert "canary" not in str(caught.value)
    assert "ary@" not in str(caught.value)
