"""GPU code that lies outside of a library's section.

Whatever its name, depth and wrapping, it is read as there.
"""

from __future__ import annotations

import gzip
import io
import re
import struct
import tarfile
from typing import TYPE_CHECKING

import pytest

from forkhouse.audit.gpu import inventory
from forkhouse.binaries.offload import embedded
from forkhouse.core.errors import AuditError
from tests.audit.conftest import LINUX, findings, look, terms
from tests.compiled import bundle, compiled, compressed, needs_gcc, paged

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Make = Callable[..., Path]
    Compile = Callable[..., bytes]

pytestmark = needs_gcc

GFX942 = "amdgcn-amd-amdhsa--gfx942"
KINDS = {"gfx90a": "hipv4-amdgcn-amd-amdhsa--gfx90a", "gfx942": "hipv4-amdgcn-amd-amdhsa--gfx942"}


@pytest.fixture
def flagged(code_object: Compile) -> Callable[..., bytes]:
    """Make a code object whose flags alone say for which GPU it is.

    `abi` 2 is the format's version 4.
    """

    def make(flags: int, *kernels: str, abi: int = 2, target: str | None = None) -> bytes:
        content = bytearray(code_object(*kernels, target=target))
        content[8] = abi
        content[0x30:0x34] = struct.pack("<I", flags)
        return bytes(content)

    return make


def tarred(name: str, content: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


PLACES: dict[str, tuple[str, Callable[[bytes, str], bytes]]] = {
    "hsaco": ("demo/kernels.hsaco", lambda code, _: code),
    "co": ("demo/hsa/gfx/deep/k.co", lambda code, _: code),
    "no ending": ("demo/blob", lambda code, _: code),
    "a picture by its name": ("demo/logo.png", lambda code, _: code),
    "data": ("demo-1.0.data/data/share/demo/k.bin", lambda code, _: code),
    "metadata": ("demo-1.0.dist-info/extra/k", lambda code, _: code),
    "bundle": ("demo/k.co", lambda code, kind: bundle({kind: code})),
    "compressed": ("demo/k.co", lambda code, kind: compressed(bundle({kind: code}))),
    "zlib": (
        "demo/k",
        lambda code, kind: compressed(bundle({kind: code}), version=2, method="zlib"),
    ),
    "two bundles": (
        "demo/k",
        lambda code, kind: paged(bundle({kind: code}), compressed(bundle({kind: code}))),
    ),
    "in a text": ("demo/k.py", lambda code, _: b"CODE = b'" + code + b"'\n"),
    "bundle in a text": (
        "demo/k.py",
        lambda code, kind: b"CODE = b'" + bundle({kind: code}) + b"'\n",
    ),
    "compressed in a text": (
        "demo/k.py",
        lambda code, kind: b"CODE = b'" + compressed(bundle({kind: code})) + b"'\n",
    ),
    "tar": ("demo/kernels.tar", lambda code, _: tarred("k.hsaco", code)),
    "two objects": ("demo/k", lambda code, _: code + code),
}


@pytest.mark.parametrize("place", PLACES)
def test_code_is_found_wherever_it_lies(make_wheel: Make, code_object: Compile, place: str) -> None:
    name, wrap = PLACES[place]
    right = make_wheel(files={name: wrap(code_object("one", "two"), KINDS["gfx90a"])}, tag=LINUX)
    report = look(right)
    assert [str(finding) for finding in report.findings] == []
    assert [(each.library, each.target, each.kernels) for each in report.kernels] == [
        (name, "gfx90a", ("one", "two"))
    ]
    assert inventory(right) == report.kernels
    wrong = wrap(code_object("one", "two", target=GFX942), KINDS["gfx942"])
    alone = re.escape(
        f"{name} is GPU code for gfx942, and the wheel has no such code for gfx90a: one, two"
    )
    bundled = re.escape(name) + r" has no code for gfx90a in its bundle at byte \d+, but for gfx942"
    said = findings(make_wheel(files={name: wrong}, tag=LINUX))
    assert said
    assert all(re.fullmatch(f"{alone}|{bundled}", finding) for finding in said), said
    pure = make_wheel(files={name: wrap(code_object("one"), KINDS["gfx90a"])})
    assert findings(pure) == [f"{name} has GPU code; the tag any does not say so"]


def test_code_in_a_library_outside_of_its_section_is_found(
    make_wheel: Make, code_object: Compile, tmp_path: Path
) -> None:
    for target, kind in KINDS.items():
        (tmp_path / "k.bin").write_bytes(
            bundle({kind: code_object("one", target=f"amdgcn-amd-amdhsa--{target}")})
        )
        content = compiled(
            tmp_path,
            (
                '__asm__(".section .rodata; .balign 4096; .incbin \\"k.bin\\"");\nint code(void) { '
                "return 1; }\n"
            ),
            name="ext.so",
        )
        said = findings(make_wheel(files={"demo/ext.so": content}, tag=LINUX))
        assert bool(said) is (target == "gfx942"), said
        assert all("has no code for gfx90a in its bundle at byte" in each for each in said)


def test_a_file_for_each_gpu_passes_and_a_kernel_for_another_alone_does_not(
    make_wheel: Make, code_object: Compile
) -> None:
    own, other = code_object("one"), code_object("one", target=GFX942)
    assert findings(make_wheel(files={"demo/a.co": own, "demo/b.co": other}, tag=LINUX)) == []
    more = code_object("one", "two", target=GFX942)
    assert findings(make_wheel(files={"demo/a.co": own, "demo/b.co": more}, tag=LINUX)) == [
        "demo/b.co is GPU code for gfx942, and the wheel has no such code for gfx90a: two"
    ]
    both = make_wheel(files={"demo/a.co": own, "demo/b.co": other}, tag=LINUX)
    assert findings(both, terms(targets=["gfx90a", "gfx942"])) == []
    assert "no such code for gfx908: one" in findings(both, terms(targets=["gfx90a", "gfx908"]))[0]


def test_half_of_a_gpus_settings_is_not_the_gpu(make_wheel: Make, code_object: Compile) -> None:
    on, off = (code_object("one", target=f"amdgcn-amd-amdhsa--gfx90a:xnack{sign}") for sign in "+-")
    assert findings(make_wheel(files={"demo/on.co": on, "demo/off.co": off}, tag=LINUX)) == []
    assert (
        "is GPU code for gfx90a:xnack+"
        in findings(make_wheel(files={"demo/on.co": on}, tag=LINUX))[0]
    )


@pytest.mark.parametrize(
    ("flags", "abi", "target"),
    [
        (0x53F, 2, "gfx90a"),
        (0x53F, 3, "gfx90a"),
        (0x73F, 2, "gfx90a:xnack+"),
        (0x63F, 2, "gfx90a:xnack-"),
        (0xE3F, 2, "gfx90a:sramecc+:xnack-"),
        (0x13F, 1, "gfx90a"),
        (0x54C, 0, "gfx942"),
        (0x030, 2, "gfx908"),
    ],
)
def test_flags_say_for_which_gpu_an_object_is(
    flagged: Callable[..., bytes], flags: int, abi: int, target: str
) -> None:
    [read] = embedded(flagged(flags, "one", abi=abi))
    assert [(each.target, each.kernels) for each in read.objects] == [(target, ("one",))]
    assert read.bare


def test_an_object_that_does_not_say_its_gpu_or_says_two_is_refused(
    make_wheel: Make, flagged: Callable[..., bytes]
) -> None:
    silent = findings(make_wheel(files={"demo/k.co": flagged(0, "one")}, tag=LINUX))
    assert silent == [
        "demo/k.co cannot be read: The code object at byte 0 does not say for which GPU it is."
    ]
    torn = findings(
        make_wheel(
            files={"demo/k.co": flagged(0x54C, "one", target="amdgcn-amd-amdhsa--gfx90a")},
            tag=LINUX,
        )
    )
    assert torn == [
        (
            "demo/k.co cannot be read: The code object at byte 0 cannot be read: its metadata "
            "names "
            "amdgcn-amd-amdhsa--gfx90a, its flags gfx942."
        )
    ]


def test_flags_count_within_a_bundle(make_wheel: Make, flagged: Callable[..., bytes]) -> None:
    wrong = findings(
        make_wheel(files={"demo/k.co": bundle({KINDS["gfx90a"]: flagged(0x54C, "one")})}, tag=LINUX)
    )
    assert wrong == [
        (
            f"demo/k.co cannot be read: The code object {KINDS['gfx90a']} was compiled for "
            "amdgcn-amd-amdhsa--gfx942."
        )
    ]
    old = bundle({"hipv4-amdgcn-amd-amdhsa--gfx90a:xnack+": flagged(0x13F, "one", abi=1)})
    assert (
        look(make_wheel(files={"demo/k.co": old}, tag=LINUX)).kernels[0].target == "gfx90a:xnack+"
    )


@pytest.mark.parametrize("left", [0.3, 0.6, 0.9, 0.99])
def test_code_that_is_cut_off_is_refused(
    make_wheel: Make, code_object: Compile, left: float
) -> None:
    plain = bundle({KINDS["gfx90a"]: code_object("one")})
    for whole in (code_object("one"), plain, compressed(plain)):
        said = findings(make_wheel(files={"demo/k.co": whole[: int(len(whole) * left)]}, tag=LINUX))
        assert said
        assert "cannot be read" in said[0]


def test_a_file_of_bundles_holds_nothing_else(make_wheel: Make, code_object: Compile) -> None:
    content = bundle({KINDS["gfx90a"]: code_object("one")}) + b"more"
    assert (
        "is none: it begins with b'more'"
        in findings(make_wheel(files={"demo/k.co": content}, tag=LINUX))[0]
    )


def test_the_magic_text_alone_is_no_code(make_wheel: Make) -> None:
    text = b"PLAIN = b'__CLANG_OFFLOAD_BUNDLE__'\nCOMPRESSED = b'CCOB'\nMAGIC = b'\\x7fELF'\n"
    assert findings(make_wheel(files={"demo/reader.py": text, "demo/x": b"\x7fELX"})) == []


def test_what_is_packed_is_said_not_to_be_looked_into(
    make_wheel: Make, code_object: Compile
) -> None:
    report = look(make_wheel(files={"demo/k.gz": gzip.compress(code_object("one"))}))
    assert report.passed
    assert [str(note) for note in report.notes] == [
        "demo/k.gz is packed by gzip, into which the audit does not look"
    ]


def test_entries_over_each_other_are_refused_before_they_are_copied() -> None:
    entry = struct.pack("<QQQ", 0, 8 << 20, 29) + b"host-x86_64-unknown-linux-gnu"
    content = b"__CLANG_OFFLOAD_BUNDLE__" + struct.pack("<Q", 1024) + entry * 1024 + bytes(9 << 20)
    with pytest.raises(AuditError, match="has entries that lie over each other"):
        list(embedded(content))


def test_a_bundle_that_unpacks_to_hundreds_of_times_its_size_is_refused() -> None:
    with pytest.raises(
        AuditError, match=r"would have \d+ unpacked; more than 500 times as many are refused"
    ):
        list(embedded(compressed(bundle({}) + bytes(64 << 20))))
