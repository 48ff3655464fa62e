from __future__ import annotations

import contextlib
import struct
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forkhouse.binaries import offload
from forkhouse.binaries.offload import code_objects, read_bundles
from forkhouse.core.errors import AuditError
from tests.compiled import bundle, compressed, needs_gcc, paged

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GFX90A = "hipv4-amdgcn-amd-amdhsa--gfx90a"
XNACK = "hipv4-amdgcn-amd-amdhsa--gfx90a:sramecc+:xnack-"


@needs_gcc
@pytest.mark.parametrize(
    "pack",
    [bytes, lambda plain: compressed(plain, version=2, method="zlib"), compressed],
    ids=["plain", "zlib", "zstd"],
)
def test_reads_what_is_in_a_bundle(
    code_object: Callable[..., bytes], pack: Callable[[bytes], bytes]
) -> None:
    first, second = (
        code_object("scale", "shift"),
        code_object("scale", target=XNACK.partition("-")[2]),
    )
    [read] = read_bundles(pack(bundle({GFX90A: first, XNACK: second})))
    assert [(each.identity, each.target, each.kernels, each.size) for each in read.objects] == [
        ("host-x86_64-unknown-linux-gnu-", None, (), 0),
        (GFX90A, "gfx90a", ("scale", "shift"), len(first)),
        (XNACK, "gfx90a:sramecc+:xnack-", ("scale",), len(second)),
    ]
    assert read.targets == {"gfx90a", "gfx90a:sramecc+:xnack-"}


@needs_gcc
def test_reads_bundles_one_after_the_other(code_object: Callable[..., bytes]) -> None:
    plain = [bundle({GFX90A: code_object(name)}) for name in ("one", "two", "three", "four")]
    parts = [plain[0], compressed(plain[1]), compressed(plain[2], version=2), plain[3]]
    read = list(read_bundles(paged(*parts) + bytes(5000)))
    assert [(each.compression, each.objects[1].kernels) for each in read] == [
        (None, ("one",)),
        ("zstd", ("two",)),
        ("zstd", ("three",)),
        (None, ("four",)),
    ]
    assert all(each.offset % 4096 == 0 for each in read)
    assert [each.objects[1].kernels for each in read_bundles(b"".join(parts))] == [
        ("one",),
        ("two",),
        ("three",),
        ("four",),
    ]


@pytest.mark.parametrize("section", [b"", bytes(10000)])
def test_a_section_of_padding_has_no_bundle(section: bytes) -> None:
    assert list(read_bundles(section)) == []


@needs_gcc
def test_reads_a_file(
    hip_library: Callable[..., bytes],
    code_object: Callable[..., bytes],
    library: Callable[..., bytes],
    tmp_path: Path,
) -> None:
    path = tmp_path / "some.so"
    path.write_bytes(
        hip_library(
            paged(bundle({GFX90A: code_object("one")}), bundle({GFX90A: code_object("two")})),
            registered=2,
        )
    )
    assert [each.kernels for each in code_objects(path) if each.target] == [("one",), ("two",)]
    path.write_bytes(library())
    assert code_objects(path) == ()
    path.write_bytes(b"text")
    with pytest.raises(AuditError, match="is damaged"):
        code_objects(path)


def header(version: int = 3, method: int = 1, *, whole: int = 40, size: int = 8) -> bytes:
    return struct.pack("<4sHHQQQ", b"CCOB", version, method, whole, size, 0) + bytes(8)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        (b"\1garbage", r"at byte 0 is none: it begins with b'\\x01garbage'"),
        (bytes(4096) + b"\x7fELF", "at byte 4096 is none"),
        (b"__CLANG_OFFLOAD_BUNDLE__", "is cut off"),
        (b"__CLANG_OFFLOAD_BUNDLE__" + struct.pack("<Q", 0), "says that it has 0 entries"),
        (
            b"__CLANG_OFFLOAD_BUNDLE__" + struct.pack("<Q", 2**60),
            f"says that it has {2**60} entries",
        ),
        (
            b"__CLANG_OFFLOAD_BUNDLE__" + struct.pack("<QQQQ", 1, 0, 0, 2**63),
            "has an entry that lies behind its end",
        ),
        (
            b"__CLANG_OFFLOAD_BUNDLE__" + struct.pack("<QQQQ", 1, 2**63, 2**63, 0),
            "has an entry that lies behind its end",
        ),
        (bundle({"openmp-amdgcn-amd-amdhsa--gfx90a": b""}), "neither the host's nor one of HIP's"),
        (bundle({"hip-amdgcn-amd-amdhsa-gfx90a": b""}), "neither the host's nor one of HIP's"),
        (bundle({GFX90A: b"no ELF"}), f"code object {GFX90A} cannot be read: it is damaged"),
        (b"CCOB", "is cut off"),
        (b"CCOB\3\0\1\0", "is cut off"),
        (header(1), "is compressed in version 1 of the format; known are 2, 3"),
        (header(4), "is compressed in version 4"),
        (header(method=2), r"is compressed by method 2; known are 0 \(zlib\) and 1 \(zstd\)"),
        (header(whole=41), "says that it has 41 bytes, which the section has not"),
        (header(whole=3), "says that it has 3 bytes"),
        (header(size=2**40), f"would have {2**40} bytes unpacked; more than {2**30} are refused"),
        (header(), "does not unpack to the 8 bytes that its header promises"),
        (header(method=0), "does not unpack to the 8 bytes that its header promises"),
        (compressed(b"\1garbage"), "at byte 0 is none"),
        (compressed(bundle({}) + b"\1"), "has something behind its last code object"),
    ],
)
def test_what_is_no_bundle_is_refused_in_words(section: bytes, words: str) -> None:
    with pytest.raises(AuditError, match=words):
        list(read_bundles(section))


@pytest.mark.parametrize("method", ["zlib", "zstd"])
@pytest.mark.parametrize("change", [-1, 1])
def test_a_size_that_is_not_true_is_refused(method: str, change: int) -> None:
    section = bytearray(compressed(bundle({}), method=method))
    (size,) = struct.unpack_from("<Q", section, 16)
    struct.pack_into("<Q", section, 16, size + change)
    with pytest.raises(AuditError, match="does not unpack to the"):
        list(read_bundles(bytes(section)))


@pytest.mark.parametrize("method", ["zlib", "zstd"])
def test_a_content_that_was_changed_is_refused(method: str) -> None:
    section = bytearray(compressed(bundle({}), method=method))
    section[24] ^= 1  # of the MD5
    with pytest.raises(AuditError, match="does not unpack to the"):
        list(read_bundles(bytes(section)))


@pytest.mark.parametrize("method", ["zlib", "zstd"])
def test_no_more_is_unpacked_than_promised(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offload, "LIMIT", 2**20)
    bomb = bytearray(compressed(bytes(2**26), method=method))
    assert len(bomb) < 2**17
    bomb[16:24] = struct.pack("<Q", 2**10)
    with pytest.raises(AuditError, match="does not unpack to the 1024 bytes"):
        list(read_bundles(bytes(bomb)))


@needs_gcc
def test_code_for_another_target_than_the_bundle_says_is_refused(
    code_object: Callable[..., bytes], library: Callable[..., bytes]
) -> None:
    with pytest.raises(
        AuditError, match=f"The code object {GFX90A} was compiled for amdgcn-amd-amdhsa--gfx908"
    ):
        list(
            read_bundles(bundle({GFX90A: code_object("scale", target="amdgcn-amd-amdhsa--gfx908")}))
        )
    with pytest.raises(
        AuditError, match=f"The code object {GFX90A} is for EM_X86_64, not for an AMD GPU"
    ):
        list(read_bundles(bundle({GFX90A: library()})))
    [old] = read_bundles(bundle({GFX90A: code_object("scale", target=None)}))
    assert old.objects[1].kernels == ("scale",)


@needs_gcc
def test_nothing_but_an_audit_error_comes_of_mutations(code_object: Callable[..., bytes]) -> None:
    plain = bundle(
        {
            GFX90A: code_object("scale", "shift"),
            XNACK: code_object("scale", target=XNACK.partition("-")[2]),
        },
        align=64,
    )
    sections = [
        plain,
        compressed(plain),
        compressed(plain, version=2, method="zlib"),
        paged(plain, compressed(plain)),
    ]
    # Where a byte matters: the tables of the bundle, and the headers of the code objects.
    places = [place for start in (0, plain.find(b"\x7fELF")) for place in range(start, start + 300)]

    @settings(max_examples=400, deadline=None)
    @given(
        section=st.sampled_from(sections),
        edits=st.lists(
            st.tuples(
                st.one_of(st.sampled_from(places), st.integers(0, 2**15)),
                st.binary(min_size=1, max_size=9),
            ),
            max_size=5,
        ),
        cut=st.one_of(st.none(), st.integers(0, 2**15)),
        repack=st.booleans(),
    )
    def mutate(
        section: bytes, edits: list[tuple[int, bytes]], cut: int | None, *, repack: bool
    ) -> None:
        changed = bytearray(section)
        for place, new in edits:
            within = place % len(changed)
            changed[within : within + len(new)] = new
        mutated = bytes(changed[:cut])
        with contextlib.suppress(AuditError):
            list(read_bundles(compressed(mutated) if repack else mutated))

    mutate()


def test_the_sample_compression_is_what_zlib_reads() -> None:
    plain = bundle({})
    assert zlib.decompress(compressed(plain, method="zlib")[32:]) == plain
