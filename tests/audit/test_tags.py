from __future__ import annotations

import struct
import zipfile
from email import message_from_string
from typing import TYPE_CHECKING

import pytest

from forkhouse.audit.tags import check_tags, glibc_floor
from forkhouse.binaries.elf import Compiled
from tests.audit.conftest import LINUX, findings, look
from tests.compiled import needs_gcc

if TYPE_CHECKING:
    from collections.abc import Callable
    from email.message import Message
    from pathlib import Path


def file(*versions: str, machine: str = "EM_X86_64", sections: bool = True) -> Compiled:
    return Compiled(
        machine=machine,
        needed=("libc.so.6",),
        versions={"libc.so.6": set(versions)},
        has_sections=sections,
    )


def fields(text: str) -> Message:
    return message_from_string(text)


def said(tag: str, compiled: Compiled) -> list[str]:
    return [
        str(finding)
        for finding in check_tags(
            f"demo-1.0-{tag}.whl", fields(f"Tag: {tag}\n"), {"demo/ext.so": compiled}
        )
    ]


@pytest.mark.parametrize(
    ("tag", "compiled"),
    [
        ("py3-none-manylinux_2_28_x86_64", file("GLIBC_2.2.5", "GLIBC_2.28")),
        ("py3-none-manylinux2014_x86_64", file("GLIBC_2.17", "GLIBCXX_3.4.19")),
        ("py3-none-manylinux_2_28_x86_64", file("OWN_1.0", "LIBHSA_9")),
        ("py3-none-linux_x86_64", file("GLIBC_2.99")),
        ("py3-none-linux_x86_64", file(sections=False)),
        ("py3-none-manylinux_2_28_aarch64", file("GLIBC_2.17", machine="EM_AARCH64")),
    ],
)
def test_a_true_tag_passes(tag: str, compiled: Compiled) -> None:
    assert said(tag, compiled) == []


@pytest.mark.parametrize(
    ("tag", "compiled", "finding"),
    [
        (
            "py3-none-manylinux_2_28_x86_64",
            file("GLIBC_2.28", "GLIBC_2.34", "GLIBC_2.32"),
            (
                "needs GLIBC_2.32, GLIBC_2.34, which manylinux_2_28_x86_64 does not promise; its "
                "true tag is manylinux_2_34_x86_64"
            ),
        ),
        (
            "py3-none-manylinux_2_28_x86_64",
            file("GLIBCXX_3.4.99"),
            (
                "needs GLIBCXX_3.4.99, which manylinux_2_28_x86_64 does not promise; its true tag "
                "is "
                "linux_x86_64"
            ),
        ),
        (
            "py3-none-manylinux_2_28_x86_64",
            file(sections=False),
            "has no section headers, so the promise of manylinux_2_28_x86_64 cannot be checked",
        ),
        ("py3-none-any", file(), "is compiled, for EM_X86_64; the tag any does not say so"),
        (
            "py3-none-win_amd64",
            file(),
            "is compiled, for EM_X86_64; the tag win_amd64 does not say so",
        ),
        (
            "py3-none-linux_aarch64",
            file(),
            "is for EM_X86_64, the tag linux_aarch64 says otherwise",
        ),
    ],
)
def test_a_false_tag_is_refused(tag: str, compiled: Compiled, finding: str) -> None:
    assert said(tag, compiled) == [f"demo/ext.so {finding}"]


def test_every_platform_of_a_name_must_be_true() -> None:
    assert (
        len(said("py3-none-manylinux_2_17_x86_64.manylinux_2_28_x86_64", file("GLIBC_2.27"))) == 1
    )
    assert said("py3-none-manylinux_2_99_x86_64", file("GLIBC_2.27")) == [
        "has the tag manylinux_2_99_x86_64, for which auditwheel has no rules"
    ]


def test_the_tags_inside_are_those_of_the_file_name(make_wheel: Callable[..., Path]) -> None:
    path = make_wheel()
    renamed = path.rename(path.with_name("demo-1.0-py3-none-linux_x86_64.whl"))
    assert findings(renamed) == [
        "has the tags py3-none-any inside and py3-none-linux_x86_64 in its file name"
    ]
    with zipfile.ZipFile(make_wheel()) as archive:
        text = archive.read("demo-1.0.dist-info/WHEEL").decode()
    assert (
        list(check_tags("demo-1.0-py2.py3-none-any.whl", fields(text + "Tag: py2-none-any\n"), {}))
        == []
    )


@pytest.mark.parametrize(
    ("file_name", "text", "said_of_it"),
    [
        ("demo-1.0-7a-py3-none-any.whl", "Build: 7a\n", []),
        (
            "demo-1.0-7a-py3-none-any.whl",
            "",
            ["has the build number none inside and 7a in its file name"],
        ),
        (
            "demo-1.0-py3-none-any.whl",
            "Build: 7\n",
            ["has the build number 7 inside and none in its file name"],
        ),
        (
            "demo-1.0-07-py3-none-any.whl",
            "Build: 7\n",
            ["has the build number 7 inside and 07 in its file name"],
        ),
    ],
)
def test_the_build_number_is_that_of_the_file_name(
    file_name: str, text: str, said_of_it: list[str]
) -> None:
    assert [
        str(finding) for finding in check_tags(file_name, fields(f"Tag: py3-none-any\n{text}"), {})
    ] == said_of_it


def test_a_pure_wheel_with_compiled_files_is_noted() -> None:
    tag = "py3-none-linux_x86_64"
    for text, count in (("true", 1), ("True", 1), ("false", 0)):
        found = list(
            check_tags(
                f"demo-1.0-{tag}.whl",
                fields(f"Root-Is-Purelib: {text}\nTag: {tag}\n"),
                {"demo/ext.so": file()},
            )
        )
        assert [finding.harmless for finding in found] == [True] * count


@pytest.mark.parametrize("tag", ["py3-none", "py3", "", "py3-none-any-more"])
def test_a_tag_that_is_none_is_told(tag: str) -> None:
    [finding] = check_tags("demo-1.0-py3-none-any.whl", fields(f"Tag: {tag}\n"), {})
    assert str(finding).startswith("has tags that cannot be read:")


def test_the_floor_is_the_newest_version_that_a_file_needs() -> None:
    files = [
        file("GLIBC_2.2.5", "GLIBC_2.9"),
        file("GLIBC_2.17", "GLIBC_ABI_DT_RELR", "GLIBC_PRIVATE", "GLIBCXX_3.4.30"),
    ]
    assert glibc_floor(files) == "2.17"
    assert glibc_floor([file("OWN_1")]) is None


@needs_gcc
def test_a_false_manylinux_tag_is_caught(
    make_wheel: Callable[..., Path], library: Callable[..., bytes]
) -> None:
    # Aligned with the C library of the machine: one of its newer functions, by the version that it
    # has had from the start.
    code = (
        '__asm__(".symver pthread_create, pthread_create@GLIBC_2.34");\nint '
        "pthread_create(void);\nint code(void) { return pthread_create(); }\n"
    )
    content = library(code=code)
    honest = look(make_wheel(files={"demo/ext.so": content}, tag=LINUX))
    assert honest.passed
    assert honest.glibc == "2.34"
    assert findings(
        make_wheel(files={"demo/ext.so": content}, tag="py3-none-manylinux_2_28_x86_64")
    ) == [
        (
            "demo/ext.so needs GLIBC_2.34, which manylinux_2_28_x86_64 does not promise; its true "
            "tag "
            "is manylinux_2_34_x86_64"
        )
    ]
    assert (
        findings(make_wheel(files={"demo/ext.so": content}, tag="py3-none-manylinux_2_34_x86_64"))
        == []
    )


@needs_gcc
def test_a_library_for_another_processor_is_caught(
    make_wheel: Callable[..., Path], library: Callable[..., bytes]
) -> None:
    content = bytearray(library())
    content[0x12:0x14] = struct.pack("<H", 183)  # EM_AARCH64
    assert findings(make_wheel(files={"demo/ext.so": bytes(content)}, tag=LINUX)) == [
        "demo/ext.so is for EM_AARCH64, the tag linux_x86_64 says otherwise"
    ]
