from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from forkhouse.carry.packing import Files, index_of, write_bundle
from tests.flow.conftest import Checkout

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DSSE = "provenance.dsse.json"


def pae(kind: bytes, body: bytes) -> bytes:
    """Return what DSSE's specification says is signed."""
    return b" ".join([b"DSSEv1", b"%d" % len(kind), kind, b"%d" % len(body), body])


def ssh_key(folder: Path, name: str) -> Path:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)],
        check=True,
    )
    return folder / name


@dataclass
class Signing:
    """A built checkout, a folder for keys, and the file of those who are trusted."""

    checkout: Checkout
    keys: Path
    key: Path
    trusted: Path

    @property
    def house(self) -> Path:
        return self.checkout.root / "wheels/cpu"

    def sign(self, *options: str, key: Path | None = None) -> None:
        self.checkout.run("sign", "--key", str(key or self.key), *options)

    def allow(self, key: Path, options: str = "", who: str = "keeper@example.org") -> None:
        public = key.with_suffix(".pub").read_text(encoding="utf-8")
        self.trusted.write_text(f"{who} {options} {public}", encoding="utf-8")

    def verify(self, *options: str, code: int = 0) -> str:
        result = self.checkout.run(
            "verify", "--trusted-keys", str(self.trusted), *options, code=code
        )
        return result.stdout + result.stderr

    def envelope(self) -> dict[str, str]:
        found: dict[str, str] = json.loads((self.house / DSSE).read_bytes())
        return found

    def reseal(self) -> None:
        """Let SHA256SUMS fit whatever lies in the wheelhouse."""
        files = sorted(path for path in self.house.rglob("*") if path.is_file())
        names = [path.relative_to(self.house).as_posix() for path in files]
        lines = [
            f"{hashlib.sha256((self.house / name).read_bytes()).hexdigest()}  {name}\n"
            for name in names
            if name not in {"SHA256SUMS", DSSE}
        ]
        (self.house / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")


@pytest.fixture
def signing(built: Checkout, tmp_path: Path) -> Signing:
    root = tmp_path / "checkout"
    shutil.copytree(
        built.root,
        root,
        ignore=shutil.ignore_patterns("store.git", "environments", "work", "journal"),
    )
    checkout = Checkout(
        root=root, index=built.index, upstream=built.upstream, cache=tmp_path / "cache"
    )
    key = ssh_key(tmp_path, "keeper")
    made = Signing(checkout=checkout, keys=tmp_path, key=key, trusted=tmp_path / "trusted")
    made.allow(key)
    return made


def test_an_unsigned_wheelhouse_is_said_to_be_and_fails_under_keys(signing: Signing) -> None:
    assert "Not signed." in signing.checkout.run("verify").stdout
    assert "`forkhouse sign`" in signing.verify(code=50)


def test_a_signed_wheelhouse_says_who_signed_it_and_when(signing: Signing) -> None:
    signing.sign("--finished-on", "2026-03-04T05:06:07+01:00")
    fingerprint = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(signing.key)], capture_output=True, check=True, text=True
    ).stdout.split()[1]
    said = signing.verify()
    assert (
        f"Signed by keeper@example.org ({fingerprint}) at 2026-03-04T04:06:07Z: the profile cpu."
        in said
    )
    assert "The audit let helper-3.0-py3-none-any.whl in, as the lock names it." in said
    answer = json.loads(signing.verify("--json"))
    assert answer["signers"] == [{"name": "keeper@example.org", "keyid": fingerprint}]
    # Elsewhere, by its folder alone; without keys it is said that nobody has checked.
    elsewhere = signing.keys / "carried"
    shutil.copytree(signing.house, elsewhere)
    assert "which nobody checked" in signing.checkout.run("verify", str(elsewhere)).stdout


def test_ssh_keygen_alone_says_the_same(signing: Signing) -> None:
    signing.sign()
    envelope = json.loads((signing.house / DSSE).read_bytes())
    sig = envelope["signatures"][0]["sig"]
    lines = [sig[start : start + 70] for start in range(0, len(sig), 70)]
    armoured = ["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""]
    (signing.keys / "sig").write_text("\n".join(armoured), encoding="ascii")
    payload = base64.b64decode(envelope["payload"])
    subprocess.run(
        [
            "ssh-keygen",
            "-Y",
            "verify",
            "-n",
            "forkhouse",
            "-I",
            "keeper@example.org",
            "-s",
            str(signing.keys / "sig"),
            "-f",
            str(signing.trusted),
        ],
        input=pae(envelope["payloadType"].encode(), payload),
        check=True,
        capture_output=True,
    )


def test_the_statement_is_about_every_file_and_every_source(signing: Signing) -> None:
    signing.sign()
    statement = json.loads(base64.b64decode(signing.envelope()["payload"]))
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    subjects = {each["name"]: each["digest"]["sha256"] for each in statement["subject"]}
    there = signing.checkout.wheelhouse()
    del there[DSSE]
    assert subjects == there
    definition = statement["predicate"]["buildDefinition"]
    lock = hashlib.sha256((signing.checkout.root / "upstream.lock").read_bytes()).hexdigest()
    assert definition["externalParameters"]["lock"]["digest"] == {"sha256": lock}
    sources = {each["name"]: each["digest"] for each in definition["resolvedDependencies"]}
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD", "HEAD^{tree}"],
        cwd=signing.checkout.upstream,
        capture_output=True,
        check=True,
        text=True,
    ).stdout.split()
    assert sources["transport"] == dict(zip(("gitCommit", "gitTree"), commit, strict=True))
    wheel = (signing.checkout.index / "helper-3.0-py3-none-any.whl").read_bytes()
    assert sources["helper-3.0-py3-none-any.whl"] == {"sha256": hashlib.sha256(wheel).hexdigest()}
    details = statement["predicate"]["runDetails"]
    assert "metadata" not in details  # nobody said when
    log = (signing.checkout.root / "build/logs/transport.log").read_bytes()
    assert details["byproducts"] == [
        {"name": "transport.log", "digest": {"sha256": hashlib.sha256(log).hexdigest()}}
    ]


def edited(signing: Signing) -> None:
    manifest = signing.house / "manifest.json"
    manifest.write_text(
        manifest.read_text(encoding="utf-8").replace("MIT", "BSD"), encoding="utf-8"
    )
    text = manifest.read_text(encoding="utf-8").replace('"small-engine"', '"small-engine" ')
    manifest.write_text(text, encoding="utf-8")
    signing.reseal()


def added(signing: Signing) -> None:
    shutil.copy(
        signing.house / "helper-3.0-py3-none-any.whl", signing.house / "evil-1-py3-none-any.whl"
    )
    signing.reseal()


def removed(signing: Signing) -> None:
    (signing.house / "helper-3.0-py3-none-any.whl").unlink()
    signing.reseal()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (edited, "manifest.json is another one than was signed"),
        (added, "evil-1-py3-none-any.whl was not signed"),
        (removed, "helper-3.0-py3-none-any.whl was signed, and is not there"),
    ],
)
def test_what_fits_its_checksums_and_was_not_signed_fails_under_keys(
    signing: Signing, spoil: Callable[[Signing], None], said: str
) -> None:
    signing.sign()
    spoil(signing)
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=signing.house, check=True)
    signing.checkout.run("verify")  # nothing tells without keys
    assert said in signing.verify(code=55)


def test_a_wheel_that_is_not_listed_is_refused_with_and_without_keys(signing: Signing) -> None:
    signing.sign()
    shutil.copy(
        signing.house / "helper-3.0-py3-none-any.whl", signing.house / "evil-1-py3-none-any.whl"
    )
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=signing.house, check=True)
    said = signing.checkout.run("verify", code=23).stderr
    assert "evil-1-py3-none-any.whl does not belong there" in said
    assert "evil-1-py3-none-any.whl does not belong there" in signing.verify(code=23)


def test_a_changed_wheel_is_refused_under_keys(signing: Signing) -> None:
    signing.sign()
    with (signing.house / "helper-3.0-py3-none-any.whl").open("ab") as stream:
        stream.write(b"x")
    assert "helper-3.0-py3-none-any.whl" in signing.verify(code=12)


def other_payload(signing: Signing) -> None:
    envelope = signing.envelope()
    payload = base64.b64decode(envelope["payload"]).replace(b'"profile":"cpu"', b'"profile":"gpu"')
    envelope["payload"] = base64.b64encode(payload).decode()
    (signing.house / DSSE).write_text(json.dumps(envelope), encoding="utf-8")


def other_type(signing: Signing) -> None:
    envelope = {**signing.envelope(), "payloadType": "text/plain"}
    (signing.house / DSSE).write_text(json.dumps(envelope), encoding="utf-8")


def no_envelope(signing: Signing) -> None:
    (signing.house / DSSE).write_text("[]", encoding="utf-8")


def cut_signature(signing: Signing) -> None:
    envelope = json.loads((signing.house / DSSE).read_bytes())
    envelope["signatures"][0]["sig"] = base64.b64encode(b"SSHSIG\0\0\0\1\0\0\1").decode()
    (signing.house / DSSE).write_text(json.dumps(envelope), encoding="utf-8")


@pytest.mark.parametrize("spoil", [other_payload, other_type, no_envelope, cut_signature])
def test_an_envelope_that_was_changed_is_refused(
    signing: Signing, spoil: Callable[[Signing], None]
) -> None:
    signing.sign()
    spoil(signing)
    signing.verify(code=53)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b"docs/reference/provenance.md", b"docs/another.md", "a build of another kind"),
        (b"in-toto.io/Statement/v1", b"in-toto.io/Statement/v9", "its _type is"),
        (b"slsa.dev/provenance/v1", b"example.org/else/v1", "its predicateType is"),
        (b'{"_type"', b'["_type"', "no statement about a build"),
    ],
)
def test_what_is_signed_has_to_be_a_statement_about_a_build(
    signing: Signing, old: bytes, new: bytes, said: str
) -> None:
    """Signed by the trusted key, and of something else: a key in PEM has no namespace."""
    signing.sign()
    envelope = json.loads((signing.house / DSSE).read_bytes())
    payload = base64.b64decode(envelope["payload"])
    assert old in payload
    other = payload.replace(old, new, 1)
    private, signing.trusted = pem_keys(signing.keys, "-algorithm", "ED25519")
    (signing.keys / "data").write_bytes(pae(envelope["payloadType"].encode(), other))
    sig = subprocess.run(
        ["openssl", "pkeyutl", "-sign", "-inkey", private, "-rawin", "-in", signing.keys / "data"],
        check=True,
        capture_output=True,
    ).stdout
    envelope["payload"] = base64.b64encode(other).decode()
    envelope["signatures"] = [{"sig": base64.b64encode(sig).decode()}]
    (signing.house / DSSE).write_text(json.dumps(envelope), encoding="utf-8")
    assert said in signing.verify(code=53)


def test_another_key_is_refused_by_its_fingerprint(signing: Signing) -> None:
    signing.sign()
    signing.allow(ssh_key(signing.keys, "other"))
    assert "which" in signing.verify(code=51)


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ('valid-before="20200101"', 52, 'valid-before="20200101"'),
        ('valid-after="21000101"', 52, 'valid-after="21000101"'),
        ('namespaces="git"', 54, "sign nothing of the namespace 'forkhouse'"),
        ('namespaces="git,forkhouse",valid-before="21000101"', 0, "Signed by"),
    ],
)
def test_the_limits_of_a_trusted_key_count(
    signing: Signing, options: str, code: int, said: str
) -> None:
    signing.sign()
    signing.allow(signing.key, options)
    assert said in signing.verify(code=code)


def test_a_signature_for_something_else_is_refused(signing: Signing) -> None:
    signing.sign()
    envelope = json.loads((signing.house / DSSE).read_bytes())
    payload = base64.b64decode(envelope["payload"])
    text = subprocess.run(
        ["ssh-keygen", "-Y", "sign", "-q", "-n", "git", "-f", str(signing.key)],
        input=pae(envelope["payloadType"].encode(), payload),
        capture_output=True,
        check=True,
    ).stdout.decode()
    sig = "".join(line for line in text.splitlines() if not line.startswith("-"))
    envelope["signatures"][0]["sig"] = sig
    (signing.house / DSSE).write_text(json.dumps(envelope), encoding="utf-8")
    assert "for the namespace 'git'" in signing.verify(code=54)


def test_a_machine_without_ssh_keygen_is_told_what_it_needs(signing: Signing) -> None:
    signing.sign()
    programs = signing.keys / "bin"
    programs.mkdir()
    (programs / "git").symlink_to(shutil.which("git") or "")
    for command in (("verify", "--trusted-keys", signing.trusted), ("sign", "--key", signing.key)):
        result = signing.checkout.tried(*map(str, command), PATH=str(programs))
        assert result.returncode == 20
        assert "openssh-client" in result.stderr


def test_an_old_wheelhouse_in_the_place_of_a_new_one_is_refused(signing: Signing) -> None:
    signing.sign()
    assert "does not say when it was signed" in signing.verify(
        "--not-older-than", "2026-01-01", code=56
    )
    signing.sign("--finished-on", "2026-01-01T00:00:00Z")
    signing.verify("--not-older-than", "2026-01-01")
    assert "before 2026-01-01T00:00:01Z" in signing.verify(
        "--not-older-than", "2026-01-01T00:00:01Z", code=56
    )
    old = signing.keys / "old.json"
    shutil.copy(signing.house / DSSE, old)
    signing.sign("--finished-on", "2026-02-01T00:00:00Z")
    new = signing.keys / "new.json"
    shutil.copy(signing.house / DSSE, new)
    signing.verify("--not-older-than", str(old))
    shutil.copy(old, signing.house / DSSE)
    assert "an older one" in signing.verify("--not-older-than", str(new), code=56)
    # What is held against it must be signed as well, and be a time.
    new.write_bytes(new.read_bytes().replace(b'"payload": "ey', b'"payload": "eA'))
    signing.verify("--not-older-than", str(new), code=53)
    signing.verify("--not-older-than", "yesterday", code=2)
    signing.checkout.run("verify", "--not-older-than", "2026-01-01", code=2)


def test_a_second_signer_signs_the_same_statement(signing: Signing) -> None:
    signing.sign("--finished-on", "2026-01-01")
    other = ssh_key(signing.keys, "other")
    signing.sign(key=other)
    assert len(signing.envelope()["signatures"]) == 2
    signing.sign(key=other)
    assert len(signing.envelope()["signatures"]) == 2
    for key in (signing.key, other):
        signing.allow(key)
        assert "at 2026-01-01T00:00:00Z" in signing.verify()


def pem_keys(folder: Path, *algorithm: str) -> tuple[Path, Path]:
    private, public = folder / "private.pem", folder / "public.pem"
    subprocess.run(["openssl", "genpkey", "-out", private, *algorithm], check=True, stderr=-3)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    return private, public


@pytest.mark.parametrize(
    "algorithm",
    [
        ("-algorithm", "ED25519"),
        ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
    ],
    ids=["ed25519", "ecdsa"],
)
def test_keys_in_pem_files_sign_and_are_trusted_as_well(
    signing: Signing, algorithm: tuple[str, ...]
) -> None:
    private, public = pem_keys(signing.keys, *algorithm)
    signing.sign(key=private)
    signing.trusted = public
    assert "Signed by the key " in signing.verify()
    # OpenSSL says the same of the bytes that DSSE's specification names.
    envelope = json.loads((signing.house / DSSE).read_bytes())
    body = base64.b64decode(envelope["payload"])
    (signing.keys / "data").write_bytes(pae(envelope["payloadType"].encode(), body))
    (signing.keys / "sig").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    hashed = [] if "ED25519" in algorithm else ["-digest", "sha256"]
    subprocess.run(
        [
            "openssl",
            "pkeyutl",
            "-verify",
            "-pubin",
            "-inkey",
            public,
            "-rawin",
            *hashed,
            "-in",
            signing.keys / "data",
            "-sigfile",
            signing.keys / "sig",
        ],
        check=True,
        capture_output=True,
    )
    signing.sign(key=signing.key)  # beside it, one of ssh
    signing.verify()
    other_payload(signing)
    signing.verify(code=53)
    (signing.keys / "other").mkdir()
    _, signing.trusted = pem_keys(signing.keys / "other", *algorithm)
    signing.verify(code=51)


def test_a_key_that_cannot_sign_is_explained(signing: Signing) -> None:
    subprocess.run(
        [
            "openssl",
            "genpkey",
            "-algorithm",
            "ED25519",
            "-aes256",
            "-pass",
            "pass:x",
            "-out",
            signing.keys / "locked.pem",
        ],
        check=True,
        capture_output=True,
    )
    (signing.keys / "broken").write_text("no key\n", encoding="utf-8")
    os.chmod(signing.keys / "broken", 0o600)
    for name, said in (("locked.pem", "is encrypted"), ("broken", "ssh-keygen cannot sign with")):
        result = signing.checkout.run("sign", "--key", str(signing.keys / name), code=2)
        assert said in result.stderr
    assert not (signing.house / DSSE).exists()


def bundle_of(house: Path, target: Path, *, program: str = "index.html") -> Path:
    """Write a bundle of a wheelhouse; of the program at its end only the bytes count here."""
    files = {
        f"wheelhouse/{path.relative_to(house).as_posix()}": path
        for path in house.rglob("*")
        if path.is_file()
    }
    write_bundle(index_of("cpu", files, f"wheelhouse/{program}"), Files(files), target)
    return target


def test_a_bundle_is_held_against_the_signature_as_well(signing: Signing) -> None:
    plain = bundle_of(signing.house, signing.keys / "plain")
    assert "Not signed." in signing.checkout.run("verify", str(plain)).stdout
    assert "is not signed" in signing.verify(str(plain), code=50)
    signing.sign("--finished-on", "2026-01-01")
    good = bundle_of(signing.house, signing.keys / "good")
    assert "Signed by keeper@example.org" in signing.verify(str(good))
    signing.verify(str(good), "--not-older-than", "2026-01-02", code=56)
    # A bundle, or the folder of a wheelhouse, says as well how old what comes may be.
    signing.verify("--not-older-than", str(good))
    signing.verify("--not-older-than", str(signing.house))
    assert "has no signature" in signing.verify("--not-older-than", str(plain), code=2)
    assert "has no signature" in signing.verify("--not-older-than", str(signing.keys), code=2)
    older = signing.keys / "older"
    shutil.copytree(signing.house, older)
    command = ("sign", str(older), "--key", str(signing.key), "--finished-on", "2025-12-31")
    signing.checkout.run(*command)
    assert "an older one" in signing.verify(str(older), "--not-older-than", str(good), code=56)
    revoked = ("--revoked-keys", str(signing.key.with_suffix(".pub")))
    assert "was revoked" in signing.verify(*revoked, code=52)
    assert "give --trusted-keys" in signing.checkout.run("verify", *revoked, code=2).stderr
    content = good.read_bytes()
    whole = (signing.house / "helper-3.0-py3-none-any.whl").read_bytes()
    at = content.index(whole)
    good.write_bytes(content[:at] + b"x" + content[at + 1 :])
    assert "helper-3.0-py3-none-any.whl" in signing.verify(str(good), code=32)
    edited(signing)
    bad = bundle_of(signing.house, signing.keys / "bad")
    signing.checkout.run("verify", str(bad))
    assert "manifest.json is another one than was signed" in signing.verify(str(bad), code=55)


def test_an_installation_asks_for_a_signature_as_well(signing: Signing) -> None:
    stack = signing.keys / "stack"
    command = ("install", "--into", str(stack), "--trusted-keys", str(signing.trusted))
    signing.checkout.run(*command, code=50)
    assert not stack.exists()
    signing.sign("--finished-on", "2026-01-31")
    signing.checkout.run(*command, "--not-older-than", "2026-02-01", code=56)
    assert not stack.exists()
    said = signing.checkout.run(*command, "--not-older-than", "2026-01-31").stdout
    assert "Signed by keeper@example.org" in said
    subprocess.run([stack / "bin/python", "-c", "import small_engine"], check=True)


def test_a_build_that_changes_nothing_keeps_the_signature(house: Checkout, tmp_path: Path) -> None:
    key = ssh_key(tmp_path, "keeper")
    house.run("sign", "--key", str(key))
    assert house.build()["changed"] is False
    assert (house.root / "wheels/cpu" / DSSE).is_file()
    house.edit("patches/engine/0001-without-cuda.edit.yaml", "No index has it", "Nobody has it")
    house.edit("patches/engine/0001-without-cuda.edit.yaml", "Do without", "Live without")
    assert "NOT SIGNED any more" in house.run("build").stderr
    assert not (house.root / "wheels/cpu" / DSSE).exists()
