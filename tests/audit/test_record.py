"""RECORD against what is in the wheel, and the audit against PyPA's `installer`, which checks it
too.
"""

from __future__ import annotations

import base64
import hashlib
import random
import zipfile
from typing import TYPE_CHECKING

import pytest
from installer.sources import WheelFile

from forkhouse.audit.record import WheelRecord
from forkhouse.core.errors import AuditError
from tests.audit.conftest import findings, look
from tests.audit.mutants import Draft, mutate
from tests.wheels import digest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Make = Callable[..., Path]

INFO = "demo-1.0.dist-info"
FILES = {"demo/__init__.py": b"ANSWER = 42\n"}


def line(path: str, content: bytes, algorithm: str = "sha256", size: str | None = None) -> str:
    value = base64.urlsafe_b64encode(hashlib.new(algorithm, content).digest()).decode().rstrip("=")
    return f"{path},{algorithm}={value},{len(content) if size is None else size}\n"


def replacing(old: str, new: str) -> Callable[[str], str]:
    return lambda true: true.replace(old, new)


def said(
    make_wheel: Make, change: Callable[[str], str], files: dict[str, bytes] | None = None
) -> list[str]:
    """Return the findings of a wheel whose true RECORD was changed."""
    with zipfile.ZipFile(make_wheel(files=files or FILES)) as archive:
        true = archive.read(f"{INFO}/RECORD").decode()
    return findings(make_wheel(files=files or FILES, record=change(true)))


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_a_strong_hash_that_is_true_passes(make_wheel: Make, algorithm: str) -> None:
    content = FILES["demo/__init__.py"]
    old, new = line("demo/__init__.py", content), line("demo/__init__.py", content, algorithm)
    assert said(make_wheel, lambda true: true.replace(old, new)) == []


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_a_strong_hash_that_is_false_is_refused(make_wheel: Make, algorithm: str) -> None:
    content = FILES["demo/__init__.py"]
    old, new = (
        line("demo/__init__.py", content),
        line("demo/__init__.py", content + b"more", algorithm, str(len(content))),
    )
    assert said(make_wheel, lambda true: true.replace(old, new)) == [
        "demo/__init__.py is not as RECORD says: its content is another"
    ]


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha224", "SHA256", "sha3_256", "none"])
def test_a_hash_that_installers_do_not_know_is_refused(make_wheel: Make, algorithm: str) -> None:
    wrong = f"has a hash by {algorithm} in RECORD; known are sha256, sha384, sha512"
    assert said(
        make_wheel, lambda true: true.replace("__init__.py,sha256=", f"__init__.py,{algorithm}=")
    ) == [f"demo/__init__.py {wrong}"]


def test_a_line_without_a_hash_or_with_a_false_size_is_refused(make_wheel: Make) -> None:
    content = FILES["demo/__init__.py"]
    old = line("demo/__init__.py", content)
    assert said(make_wheel, lambda true: true.replace(old, "demo/__init__.py,,\n")) == [
        "demo/__init__.py has no hash in RECORD; known are sha256, sha384, sha512"
    ]
    assert said(
        make_wheel, lambda true: true.replace(old, line("demo/__init__.py", content, size=""))
    ) == ["demo/__init__.py is not as RECORD says: it has 12 bytes, not an unknown number"]
    for size in ("11", "-12", "012", "x"):
        new = line("demo/__init__.py", content, size=size)
        assert said(make_wheel, replacing(old, new)) == [
            f"demo/__init__.py is not as RECORD says: it has 12 bytes, not {size}"
        ]


def test_what_is_on_one_side_alone_is_refused(make_wheel: Make) -> None:
    more = FILES | {"demo/more.py": b"", "demo/with, comma.py": b""}
    assert said(make_wheel, lambda true: true, more) == []
    assert said(make_wheel, lambda true: true.replace(line("demo/more.py", b""), ""), more) == [
        "demo/more.py is in the wheel and not in RECORD"
    ]
    assert said(make_wheel, lambda true: true + line("demo/gone.py", b"")) == [
        "demo/gone.py is in RECORD and not in the wheel"
    ]
    assert said(
        make_wheel, lambda true: true + line("./demo/__init__.py", FILES["demo/__init__.py"])
    ) == ["./demo/__init__.py is in RECORD and not in the wheel"]


def test_a_signature_needs_no_line(make_wheel: Make) -> None:
    signed = FILES | {f"{INFO}/RECORD.jws": b"{}"}
    assert (
        said(make_wheel, lambda true: true.replace(line(f"{INFO}/RECORD.jws", b"{}"), ""), signed)
        == []
    )
    other = FILES | {"demo/RECORD": b""}
    assert said(make_wheel, lambda true: true.replace(line("demo/RECORD", b""), ""), other) == [
        "demo/RECORD is in the wheel and not in RECORD"
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (line("a", b"") * 2, "names a twice"),
        ("a" * 140_000 + ",,\n", "cannot be read: field larger than field limit"),
    ],
)
def test_a_record_that_is_none_is_explained(text: str, message: str) -> None:
    with pytest.raises(AuditError, match=message):
        WheelRecord(text, INFO)


def test_an_empty_line_is_refused_as_pip_stops_there(make_wheel: Make) -> None:
    assert said(make_wheel, lambda true: true + "\n") == [
        "has an empty line in its RECORD, at which pip stops"
    ]


@pytest.mark.parametrize(
    "row", ["gone\n", "gone,sha256=x\n", "gone,sha256=x,1,more\n", '"gone,sha256=x,1\n']
)
def test_a_line_with_another_number_of_columns_is_refused_as_uv_stops_there(
    make_wheel: Make, row: str
) -> None:
    assert said(make_wheel, lambda true: true + row)[0].startswith("has a RECORD with ")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_no_wheel_passes_whose_record_installer_refuses(tmp_path: Path) -> None:
    passed = 0
    for number in range(300):
        source, draft = random.Random(f"record/{number}"), Draft()
        if source.random() < 0.3:
            mutate(draft, source)
        name, content = source.choice(draft.files)
        true = f'"{name}",sha256={digest(content)},{len(content)}\n'.encode()
        algorithm, size = (
            source.choice(["sha256", "sha384", "sha512", "md5", "sha1"]),
            source.choice([len(content)] * 3 + ["", 7]),
        )
        other = line(
            f'"{name}"', source.choice([content, content, b"other"]), algorithm, str(size)
        ).encode()
        before = draft.change_record
        draft.change_record = lambda record, true=true, other=other, before=before: before(
            record.replace(true, other)
        )  # type: ignore[misc]
        path = tmp_path / draft.file
        path.write_bytes(draft.pack())
        if look(path).passed:
            passed += 1
            with WheelFile.open(path) as wheel:
                wheel.validate_record(validate_contents=True)
    assert 250 > passed > 20
