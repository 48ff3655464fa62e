"""What looking at a hostile wheel may cost.

Numbers in a file are not believed, and each refusal names what was too much.
"""

from __future__ import annotations

import contextlib
import os
import random
import struct
import subprocess
import sys
import time
import tracemalloc
import zipfile
from typing import TYPE_CHECKING

import pytest

from forkhouse.audit.archive import WheelArchive
from forkhouse.audit.framework import torch_symbols
from forkhouse.audit.gpu import inventory
from forkhouse.binaries.elf import Elf
from forkhouse.binaries.offload import embedded
from forkhouse.core.budgets import ArchiveLimits
from forkhouse.core.errors import AuditError
from tests.audit.conftest import LINUX, findings, look, rewritten
from tests.compiled import compiled, needs_gcc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from forkhouse.audit.findings import Rule

    Make = Callable[..., Path]

MIB = 2**20


def header(
    *,
    segments: int = 0,
    segment_size: int = 56,
    sections: int = 0,
    section_size: int = 64,
    at: int = 0,
    names: int = 0,
) -> bytes:
    """Write the header of a 64-bit ELF file for x86-64, whose segments follow it and whose sections
    are at `at`.
    """
    numbers = (3, 62, 1, 0, 64, at, 0, 64, segment_size, segments, section_size, sections, names)
    return b"\x7fELF\2\1\1".ljust(16, b"\0") + struct.pack("<HHIQQQIHHHHHH", *numbers)


def segment(kind: int, offset: int, size: int) -> bytes:
    return struct.pack("<IIQQQQQQ", kind, 4, offset, offset, offset, size, size, 8)


def section(
    kind: int, offset: int = 0, size: int = 0, *, link: int = 0, info: int = 0, flags: int = 2
) -> bytes:
    return struct.pack("<IIQQQQIIQQ", 0, kind, flags, 0, offset, size, link, info, 1, 0)


def with_sections(body: bytes, *sections: bytes) -> bytes:
    """Write an ELF file with a body at byte 64 and sections behind it, the first of which is
    empty.
    """
    return (
        header(at=64 + len(body), sections=len(sections) + 1)
        + body
        + section(0)
        + b"".join(sections)
    )


def many_needed_versions(first: bytes) -> bytes:
    records, names = first * 2**15, b"\0libc.so.6".ljust(64, b"\0")
    return with_sections(
        records + names,
        section(0x6FFFFFFE, 64, len(records), link=2, info=65536),
        section(3, 64 + len(records), len(names)),
    )


def many_long_names() -> bytes:
    symbols, names = (
        struct.pack("<IBBHQQ", 1, 0x10, 0, 1, 0, 0) * 40_000,
        b"\0" + b"a" * MIB + b"\0",
    )
    return with_sections(
        symbols + names,
        section(11, 64, len(symbols), link=2),
        section(3, 64 + len(symbols), len(names)),
    )


def many_long_libraries() -> bytes:
    names = b"\0" + b"a" * MIB + b"\0"
    start = 64 + 2 * 56
    entries = struct.pack("<QQ", 1, 1) * 20_000 + struct.pack(
        "<QQQQQQ", 5, start, 10, len(names), 0, 0
    )
    whole = start + len(names) + len(entries)
    return (
        header(segments=2)
        + segment(1, 0, whole)
        + segment(2, start + len(names), len(entries))
        + names
        + entries
    )


def sections_over_each_other() -> bytes:
    return with_sections(bytes(MIB), *[section(1, 64, MIB)] * 2_000)


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "needed versions": (
        lambda: many_needed_versions(
            struct.pack("<HHIIIIHHII", 1, 65535, 1, 16, 32, 0, 0, 2, 1, 16)
        ),
        "its table of needed versions has more records than room",
    ),
    "one needed version": (
        lambda: many_needed_versions(struct.pack("<HHIIIIHHII", 1, 65535, 1, 16, 0, 0, 0, 2, 1, 0)),
        "a record of its table of needed versions lies over the one before",
    ),
    "long names": (many_long_names, "its names have more than 268435456 bytes"),
    "long libraries": (many_long_libraries, "a name has more than 4096 bytes"),
    "sections over each other": (sections_over_each_other, "its tables lie over each other"),
    "four billion segments": (
        lambda: (
            header(segments=0xFFFF, segment_size=0, at=64, sections=1)
            + section(0, info=0xFFFFFFFF)
            + bytes(MIB)
        ),
        "its headers of segments have 0 bytes each, not 56",
    ),
    "four billion true segments": (
        lambda: (
            header(segments=0xFFFF, at=64, sections=1) + section(0, info=0xFFFFFFFF) + bytes(MIB)
        ),
        "more than 16777216 symbols, sections and notes",
    ),
    "sections without end": (
        lambda: header(at=64, sections=0) + section(0, size=2**60),
        "more than 16777216 symbols, sections and notes",
    ),
    "sections of no size": (
        lambda: header(at=64, sections=65000, section_size=0) + bytes(MIB),
        "its headers of sections have 0 bytes each",
    ),
    "no number of sections": (
        lambda: header(at=64) + section(0),
        "it has sections and does not say how many",
    ),
    "names elsewhere": (
        lambda: header(at=64, sections=1, names=0xFFFF) + section(0, link=0xFFFFFFFF),
        "it names section 4294967295, and has 1",
    ),
    "a section of 2^63 bytes": (
        lambda: with_sections(b"x", section(11, 64, 2**63, link=1)),
        "asks for 9223372036854775808 at byte 64",
    ),
    "class 9": (lambda: b"\x7fELF\x09\2\1" + bytes(200), "its class is 9"),
    "the magic alone": (lambda: b"\x7fELF", "it has no header"),
}


def read_all(elf: Elf) -> None:
    elf.summary()
    elf.section(".hip_fatbin")
    for part in (elf.symbols(), elf.constants(), elf.notes("AMDGPU", 32)):
        for _ in part:
            pass


@contextlib.contextmanager
def cheap(*, seconds: float = 4.0, mebibytes: int = 64) -> Iterator[None]:
    """Fail where what is done takes more processor time or memory than this."""
    started = time.thread_time()
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.thread_time() - started < seconds
    assert peak < mebibytes * MIB


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_library_is_refused_at_once(make_wheel: Make, kind: str) -> None:
    make, message = HOSTILE[kind]
    content = make()
    with cheap(), pytest.raises(AuditError, match=message):
        read_all(Elf(content))
    path = make_wheel(files={"demo/ext.so": content}, tag=LINUX)
    [finding, *_] = findings(path)
    assert finding.startswith("demo/ext.so cannot be read: it is damaged: ")
    for read in (inventory, torch_symbols):
        with contextlib.suppress(AuditError):  # what each does not read cannot stop it
            read(path)


def test_notes_by_the_hundred_thousand_are_read_in_a_moment() -> None:
    notes = struct.pack("<III", 0, 0, 1) * 100_000
    with cheap():
        assert (
            list(Elf(header(segments=1) + segment(4, 120, len(notes)) + notes).notes("AMDGPU", 32))
            == []
        )


@needs_gcc
def test_no_mutation_of_a_library_is_more_than_a_refusal(tmp_path: Path) -> None:
    whole = compiled(
        tmp_path, '#include <stdio.h>\nint code(void) { return puts("a"); }\n', "-Wl,--build-id"
    )
    source, read = random.Random(7), 0
    for _ in range(1500):
        content = bytearray(whole)
        for _ in range(source.randrange(1, 5)):
            place = source.choice(
                [
                    source.randrange(64),
                    source.randrange(64, 700),
                    len(whole) - source.randrange(8, 2000),
                ]
            )
            content[place : place + 4] = struct.pack(
                "<I", source.choice([0, 1, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, source.getrandbits(32)])
            )
        content[18:20] = struct.pack("<H", source.choice([62, 62, 224]))
        with contextlib.suppress(AuditError):
            read_all(Elf(bytes(content)))
            list(embedded(bytes(content)))
            read += 1
    # Else only the first check of all would have been tried.
    assert read > 100


def packed(
    path: Path, members: Sequence[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED
) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (ArchiveLimits(members=2), "it has 3 files; more than 2 are refused"),
        (ArchiveLimits(member=999), "a would have 1000 bytes unpacked; more than 999 are refused"),
        (
            ArchiveLimits(total=2999),
            "it would have 3000 bytes unpacked; more than 2999 are refused",
        ),
        (
            ArchiveLimits(free=1000, ratio=2),
            "and would have 3000 unpacked; more than 2 times as many are refused",
        ),
    ],
)
def test_each_limit_is_named_where_it_is_passed(
    tmp_path: Path, limits: ArchiveLimits, message: str
) -> None:
    path = packed(tmp_path / "x.whl", [(name, bytes(1000)) for name in "abc"])
    with pytest.raises(AuditError, match=message):
        WheelArchive(path, limits)
    with WheelArchive(path) as archive:
        assert [len(archive.read(member)) for member in archive.files] == [1000] * 3


def test_time_and_texts_have_limits_too(tmp_path: Path) -> None:
    path = packed(tmp_path / "x.whl", [("a", bytes(1000))])
    with (
        WheelArchive(path, ArchiveLimits(seconds=0)) as archive,
        pytest.raises(AuditError, match="more than 0 seconds are refused"),
    ):
        archive.read(archive.files[0])
    with (
        WheelArchive(path, ArchiveLimits(text=999)) as archive,
        pytest.raises(AuditError, match="a would have 1000 bytes unpacked"),
    ):
        archive.text("a")


def test_a_wheel_of_zeros_is_refused_without_being_unpacked(tmp_path: Path) -> None:
    path = packed(
        tmp_path / "demo-1.0-py3-none-any.whl", [(name, bytes(100 * MIB)) for name in "ab"]
    )
    with cheap():
        [finding] = findings(path)
    assert "more than 200 times as many are refused" in finding


def test_files_over_each_other_are_refused(tmp_path: Path) -> None:
    path = packed(
        tmp_path / "demo-1.0-py3-none-any.whl",
        [("a", b"same" * 100), ("b", b"same" * 100)],
        zipfile.ZIP_STORED,
    )
    content = bytearray(path.read_bytes())
    second = content.rindex(b"PK\x01\x02")
    content[second + 42 : second + 46] = bytes(4)  # where b begins: where a does
    path.write_bytes(content)
    assert findings(path) == [
        "has bytes before its first file, or files over each other: b is at byte 0, not 431"
    ]


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_no_mutation_of_an_archive_is_more_than_a_refusal(tmp_path: Path, method: int) -> None:
    info = "demo-1.0.dist-info"
    texts = {
        "METADATA": b"Name: demo\nVersion: 1.0\n",
        "WHEEL": b"Wheel-Version: 1.0\nTag: py3-none-any\n",
        "RECORD": b"",
    }
    members = [
        ("demo/x.py", b"ANSWER = 42\n" * 40),
        *((f"{info}/{name}", content) for name, content in texts.items()),
    ]
    whole = packed(tmp_path / "demo-1.0-py3-none-any.whl", members, method).read_bytes()
    source, path = random.Random(method), tmp_path / "demo-1.0-py3-none-any.whl"
    seen: set[Rule] = set()
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(source.randrange(1, 4)):
            place = source.choice(
                [source.randrange(len(whole)), len(whole) - source.randrange(1, 300)]
            )
            content[place : place + 2] = source.choice([b"\0\0", b"\xff\xff", source.randbytes(2)])
        path.write_bytes(
            content[: source.choice([len(content)] * 9 + [source.randrange(len(content))])]
        )
        for ours in (True, False):
            seen.update(finding.rule for finding in look(path, ours=ours).findings)
        for read in (inventory, torch_symbols):
            with contextlib.suppress(AuditError):
                read(path)
    assert len(seen) > 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            (6, b"\1\0"),
            "is damaged: the two headers of a differ",
        ),  # said to be encrypted, in one of the two
        ((8, b"\x63\0"), "is damaged: the two headers of a differ"),
        ((0, b"XX"), "is damaged: nothing begins at byte 0, where a should"),
    ],
)
def test_two_lists_of_files_that_differ_are_refused(
    tmp_path: Path, change: tuple[int, bytes], message: str
) -> None:
    path = packed(tmp_path / "demo-1.0-py3-none-any.whl", [("a", b"same" * 100)])
    content = bytearray(path.read_bytes())
    content[change[0] : change[0] + 2] = change[1]
    path.write_bytes(content)
    assert findings(path) == [message]


@pytest.mark.parametrize(
    ("place", "change", "message"),
    [
        (4, b"\1\0", "its last record does not tell how many files it has"),
        (8, b"\1\0\1\0", "its last record does not tell how many files it has"),
        (16, b"\0\0\0\0", "has bytes before its first file, or"),
        (22, b"more", "has 4 bytes behind its end, which are no part of a wheel"),
    ],
)
def test_a_last_record_that_lies_is_refused(
    tmp_path: Path, place: int, change: bytes, message: str
) -> None:
    path = packed(tmp_path / "demo-1.0-py3-none-any.whl", [("a", b"same"), ("b", b"same")])
    content = bytearray(path.read_bytes())
    end = content.rindex(b"PK\x05\x06") + place
    content[end : end + len(change)] = change
    path.write_bytes(content)
    [finding] = findings(path)
    assert message in finding


@pytest.mark.parametrize("disks", [b"\0\0\0\0", b"\1\0\0\0", b"\0\0\1\0", b"\xff\xff\xff\xff"])
@pytest.mark.parametrize("here", [0, 1, 2, 3, 0xFFFF])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 0xFFFF])
def test_each_number_of_the_last_record_is_true_or_is_said_to_be_elsewhere(
    tmp_path: Path, disks: bytes, here: int, count: int
) -> None:
    path = packed(tmp_path / "demo-1.0-py3-none-any.whl", [("a", b"same"), ("b", b"same")])
    content = bytearray(path.read_bytes())
    end = content.rindex(b"PK\x05\x06")
    content[end + 4 : end + 12] = disks + struct.pack("<HH", here, count)
    path.write_bytes(content)
    true = disks[:2] in {b"\0\0", b"\xff\xff"} and disks[2:] in {b"\0\0", b"\xff\xff"}
    lies = pytest.raises(AuditError, match="does not tell how many files it has")
    with (
        contextlib.nullcontext() if true and {here, count} <= {2, 0xFFFF} else lies,
        WheelArchive(path) as archive,
    ):
        assert archive.names == ("a", "b")


@pytest.mark.parametrize("left", [0, 3, 4, 29])
def test_a_header_that_the_end_of_the_archive_cuts_off_is_refused(
    tmp_path: Path, left: int
) -> None:
    """The list of files may say that a file begins in the last bytes, which only look like one."""
    path = packed(tmp_path / "demo-1.0-py3-none-any.whl", [("a", b"same"), ("b", b"same")])
    content = bytearray(path.read_bytes())
    comment = content[:left]
    content[-2:] = struct.pack("<H", left)
    content += comment
    offset = content.rindex(b"PK\x01\x02") + 42
    content[offset : offset + 4] = struct.pack("<L", len(content) - left)
    path.write_bytes(content)
    assert findings(path) == [
        f"is damaged: nothing begins at byte {len(content) - left}, where b should"
    ]


def test_a_comment_and_many_files_are_read(tmp_path: Path) -> None:
    path = packed(
        tmp_path / "x.whl", [(f"{number}", b"") for number in range(65_600)], zipfile.ZIP_STORED
    )
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"made by hand"
    with WheelArchive(path) as archive:
        assert len(archive.files) == 65_600


def test_a_file_behind_a_password_is_refused(make_wheel: Make) -> None:
    path = make_wheel()
    content = bytearray(path.read_bytes())
    for place in (6, content.index(b"PK\x01\x02") + 8):
        content[place] |= 1
    path.write_bytes(content)
    for ours in (True, False):
        assert "is encrypted, password required" in findings(path, ours=ours)[0]


def test_names_in_a_wheel_move_no_terminal(make_wheel: Make) -> None:
    [finding, *_] = findings(make_wheel(files={"demo/\x1b[2J\n": b""}))
    assert finding.startswith("demo/\\x1b[2J\\n has a control character")
    [long, *_] = findings(make_wheel(files={f"../{'x' * 5000}": b""}))
    assert long.endswith("letters)")
    assert len(long) < 1100


def test_findings_beyond_measure_are_counted(make_wheel: Make) -> None:
    said = findings(make_wheel(record=""))
    assert len(said) < 5
    many = make_wheel(files={f"demo/{number}.py": b"" for number in range(800)}, record="")
    assert findings(many)[-1] == "has 302 more findings, which are not shown"
    noted = look(make_wheel(files={f"demo/{number}.gz": b"\x1f\x8b" for number in range(800)}))
    assert noted.passed
    assert str(noted.notes[-1]) == "has 300 more notes, which are not shown"


@pytest.mark.parametrize(
    "field",
    [
        "Version: " + "1" * 5000,
        "Requires-Dist: a==" + "1" * 5000,
        "Requires-Dist: a ; python_version == '" + "9" * 5000 + "'",
        "Requires-Dist: a ; " + "(" * 3000 + "os_name == 'x'" + ")" * 3000,
        "Requires-Dist: a ; os_name ~= 'x'",
        "Requires-Dist: a ; unheard_of == 'x'",
        "Requires-Dist: " + "a" * 20_000,
        "\n".join(["Requires-Dist: a"] * 20_000),
        "Requires-Python: >=" + "1" * 5000,
    ],
)
@pytest.mark.parametrize("ours", [True, False])
def test_fields_without_end_are_explained(make_wheel: Make, field: str, *, ours: bool) -> None:
    text = f"Name: demo\n{field}\n" + ("" if field.startswith("Version") else "Version: 1.0\n")
    with cheap(mebibytes=128):
        said = findings(rewritten(make_wheel(), METADATA=text.encode()), ours=ours)
    assert any("METADATA" in each or "Requires-Python" in each for each in said)


def test_a_tag_that_stands_for_millions_is_refused(make_wheel: Make) -> None:
    tags = ".".join(f"py{number}" for number in range(1000))
    with cheap():
        said = findings(
            rewritten(
                make_wheel(), WHEEL=f"Wheel-Version: 1.0\nTag: {tags}-{tags}-{tags}\n".encode()
            )
        )
    assert "has tags that cannot be read: one stands for 1000000000 tags, more than 1000" in said


def test_a_pipe_or_a_folder_in_the_place_of_a_wheel_holds_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe-1.0-py3-none-any.whl")
    (tmp_path / "folder-1.0-py3-none-any.whl").mkdir()
    for name in ("pipe", "folder"):
        assert findings(tmp_path / f"{name}-1.0-py3-none-any.whl") == [
            "is no file, so it is refused"
        ]


def test_memory_that_is_not_there_is_explained(tmp_path: Path) -> None:
    path = packed(
        tmp_path / "demo-1.0-py3-none-any.whl", [("a", os.urandom(50 * MIB))], zipfile.ZIP_STORED
    )
    program = (
        "import resource, sys, pathlib\nfrom forkhouse.audit.gpu import inventory\nfrom "
        "forkhouse.core.errors import AuditError\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        f"resource.setrlimit(resource.RLIMIT_AS, (used + 60 * {MIB},) * 2)\n"
        "try:\n    inventory(pathlib.Path(sys.argv[1]))\nexcept AuditError as error:\n    "
        "print(error)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, text=True, check=True
    )
    assert result.stdout.startswith("demo-1.0-py3-none-any.whl: ")
    assert "refused" in result.stdout
