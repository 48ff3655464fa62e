"""Files of trusted and of revoked keys, as people have them, with keys of ssh-keygen and
openssl.
"""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from forkhouse.core.errors import (
    ExpiredKeyError,
    ForkhouseError,
    TamperedError,
    UntrustedSignerError,
    UsageError,
)
from forkhouse.provenance.attestation import PAYLOAD_TYPE, Envelope, parse_moment
from forkhouse.provenance.signing import Trusted, signed, signers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PLAIN = Envelope(payload_type=PAYLOAD_TYPE, payload=b"{}", signatures=())


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the ssh keys `one` and `two`, and the PEM keys `pem` and `pem.pub`."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("one", "two"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", name]
        subprocess.run(command, cwd=folder, check=True)
    for command in (
        ["genpkey", "-algorithm", "ed25519", "-out", "pem"],
        ["pkey", "-in", "pem", "-pubout", "-out", "pem.pub"],
        ["req", "-x509", "-key", "pem", "-subj", "/CN=x", "-days", "2", "-out", "certificate"],
    ):
        subprocess.run(["openssl", *command], cwd=folder, check=True)
    return folder


@pytest.fixture(scope="module")
def envelope(keys: Path) -> Envelope:
    """What the key `one` has signed."""
    return signed(PLAIN, keys / "one")


@pytest.fixture
def trusted(keys: Path, tmp_path: Path) -> Callable[..., Trusted]:
    """Write a file of trusted keys; a name in braces stands for a public key."""

    def make(text: str, revoked: Path | None = None) -> Trusted:
        names = {path.stem: path.read_text("ascii").strip() for path in keys.glob("*.pub")}
        path = tmp_path / "trusted"
        path.write_bytes(text.format(**names).encode("utf-8", "surrogateescape"))
        return Trusted(keys=path, revoked=revoked)

    return make


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("keeper {one}", "keeper"),
        ("keeper {one}\r\n", "keeper"),
        ("# {two}\n\n  \n keeper {one}\n", "keeper"),
        ("garbage\nother {two}\nkeeper {one}", "keeper"),
        ("\udcff\udcfe\nkeeper {one}", "keeper"),
        ("keeper {one}\n{pem}\n", "keeper"),
        ("{pem}\nkeeper {one}", "keeper"),
        ('"a b,c" {one}', "a b"),
        ("!not-this-one,keeper {one}", "keeper"),
        ('keeper namespaces="git" {one}\nkeeper {one}', "keeper"),
        ('keeper valid-before="20200101" {one}\nkeeper {one}', "keeper"),
        ('keeper namespaces="git,forkhouse",valid-before="21000101" {one}', "keeper"),
    ],
)
def test_a_trusted_key_is_found_in_a_file_as_people_have_it(
    envelope: Envelope, trusted: Callable[..., Trusted], text: str, name: str
) -> None:
    (found,) = signers(envelope, trusted(text))
    assert found.name == name


def test_a_file_with_keys_of_both_kinds_trusts_both(
    keys: Path, envelope: Envelope, trusted: Callable[..., Trusted]
) -> None:
    both = signed(envelope, keys / "pem")
    names = [each.name for each in signers(both, trusted("{pem}\nkeeper {one}\n"))]
    assert names[1:] == ["keeper"]
    assert names[0].startswith("the key ")
    with pytest.raises(UntrustedSignerError, match="does not have"):
        signers(envelope, trusted("{pem}\nother {two}\n"))
    with pytest.raises(UntrustedSignerError, match="no key of"):
        signers(envelope, trusted("{pem}\n"))


@pytest.mark.parametrize("content", ["", "\n# nothing\n", "garbage", "private", "pem", "bare"])
def test_a_file_without_a_key_is_said_to_have_none(
    keys: Path, envelope: Envelope, tmp_path: Path, content: str
) -> None:
    path = tmp_path / "trusted"
    texts = {
        "private": (keys / "one").read_text("ascii"),
        "pem": (keys / "pem").read_text("ascii") + (keys / "certificate").read_text("ascii"),
        "bare": (keys / "one.pub").read_text("ascii"),  # without a principal
    }
    path.write_text(texts.get(content, content), encoding="utf-8")
    with pytest.raises(UsageError, match="holds no key"):
        signers(envelope, Trusted(keys=path))


def test_a_refused_signature_is_only_said_to_be_of_something_else_where_it_is(
    envelope: Envelope, trusted: Callable[..., Trusted]
) -> None:
    with pytest.raises(UntrustedSignerError):
        signers(envelope, trusted("!keeper {one}"))
    with pytest.raises(UntrustedSignerError, match="is one of this statement"):
        signers(envelope, trusted("keeper,!keeper {one}"))
    with pytest.raises(TamperedError, match="was changed after it was signed"):
        signers(replace(envelope, payload=b"{ }"), trusted("keeper {one}"))


@pytest.mark.parametrize("form", ["list", "text", "several"])
def test_a_revoked_key_does_not_count(
    keys: Path, envelope: Envelope, trusted: Callable[..., Trusted], tmp_path: Path, form: str
) -> None:
    revoked, public = tmp_path / "revoked", [keys / "one.pub"]
    if form == "several":
        public.append(keys / "two.pub")
    if form == "text":
        revoked.write_text(f"# gone\n\n{(keys / 'one.pub').read_text('ascii')}", encoding="ascii")
    else:
        subprocess.run(["ssh-keygen", "-q", "-k", "-f", revoked, *public], check=True)
    with pytest.raises(ExpiredKeyError, match="was revoked"):
        signers(envelope, trusted("keeper {one}", revoked))
    both = signed(envelope, keys / "two")
    trust = trusted("keeper {one}\nother {two}", revoked)
    if form == "several":
        with pytest.raises(ExpiredKeyError, match="was revoked"):
            signers(both, trust)
    else:
        assert [each.name for each in signers(both, trust)] == ["other"]


@pytest.mark.parametrize("damage", ["garbage", "cut", "noise", "private", "key", "line"])
def test_a_list_of_revoked_keys_that_cannot_be_read_is_told(
    keys: Path, envelope: Envelope, trusted: Callable[..., Trusted], tmp_path: Path, damage: str
) -> None:
    """It would be taken for one of nothing, or of all keys."""
    revoked = tmp_path / "revoked"
    subprocess.run(["ssh-keygen", "-q", "-k", "-f", revoked, keys / "two.pub"], check=True)
    two = (keys / "two.pub").read_bytes()
    revoked.write_bytes(
        {
            "garbage": b"garbage\n",
            "cut": revoked.read_bytes()[:40],
            "noise": bytes(range(1, 256)),
            "private": (keys / "two").read_bytes(),
            "key": two[:40],
            "line": two + b"and more\n",
        }[damage]
    )
    with pytest.raises(UsageError, match="is no revocation list"):
        signers(envelope, trusted("keeper {one}", revoked))


def test_an_empty_list_revokes_nothing_and_one_beside_pem_keys_is_refused(
    envelope: Envelope, trusted: Callable[..., Trusted], tmp_path: Path
) -> None:
    revoked = tmp_path / "revoked"
    revoked.touch()
    assert signers(envelope, trusted("keeper {one}", revoked))
    with pytest.raises(UsageError, match="a revocation list is one of ssh keys"):
        signers(envelope, trusted("{pem}\nkeeper {one}", revoked))


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "", "now", "2026-02-30"]
)
def test_a_time_that_is_none_in_utc_is_told(text: str) -> None:
    with pytest.raises(ForkhouseError, match="is no time"):
        parse_moment(text)
