from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import msgpack
import pytest

from forkhouse.binaries.codeobject import read_code_object
from forkhouse.core.errors import AuditError
from tests.compiled import needs_gcc

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = needs_gcc

TARGET = "amdgcn-amd-amdhsa--gfx90a:xnack-"


def note(**changes: Any) -> bytes:
    kernel = {
        ".name": "twice",
        ".symbol": "twice.kd",
        ".max_flat_workgroup_size": 256,
        ".args": [
            {".name": "x", ".offset": 0, ".size": 8, ".value_kind": "global_buffer"},
            {".offset": 8, ".size": 4, ".value_kind": "by_value"},
            {".offset": 16, ".size": 4, ".value_kind": "hidden_block_count_x"},
        ],
        **changes,
    }
    content: bytes = msgpack.packb({"amdhsa.target": TARGET, "amdhsa.kernels": [kernel]})
    return content


def described(content: bytes) -> bytes:
    """Return the code object with a descriptor, in the place of the one byte that stands for it."""
    descriptor = struct.pack("<IIIIq20xIIIHH4x", 64, 16, 24, 0, 256, 1, 0x00AF0001, 0x90, 8, 0)
    place = content.index(b"\1" + bytes(63))
    return content[:place] + descriptor + content[place + 64 :]


def test_a_kernel_has_its_descriptor_and_its_arguments(code_object: Callable[..., bytes]) -> None:
    image = read_code_object(described(code_object("twice", notes=[note()])))
    assert image.target == "gfx90a:xnack-"
    kernel = image.kernels["twice"]
    descriptor = kernel.descriptor
    assert (descriptor.lds, descriptor.scratch, descriptor.arguments) == (64, 16, 24)
    assert descriptor.entry == image.symbols["twice.kd"] + 256
    assert (kernel.vectors, kernel.accumulators, kernel.most_work_items) == (8, 8, 256)
    assert [(each.name, each.size, each.hidden) for each in kernel.arguments] == [
        ("x", 8, False),
        ("", 4, False),
        ("", 4, True),
    ]


def test_the_target_of_newer_compilers_is_read(code_object: Callable[..., bytes]) -> None:
    newer = msgpack.packb({"amdhsa.target": "amdgpu9.0a-amd-amdhsa-unknown-gfx90a"})
    assert read_code_object(code_object("twice", notes=[newer])).target == "gfx90a"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({".args": 3}, "has no list of the arguments of twice.kd"),
        ({".args": [3]}, "an argument of twice.kd that is no map"),
        ({".args": [{".offset": 20, ".size": 8}]}, "at bytes 20 to 28, and all of them have 24"),
        ({".args": [{".offset": -1, ".size": 8}]}, "has -1 for .offset"),
        ({".sgpr_count": "many"}, "has 'many' for .sgpr_count"),
    ],
)
def test_metadata_that_cannot_be_is_refused(
    code_object: Callable[..., bytes], changes: dict[str, Any], message: str
) -> None:
    content = described(code_object("twice", notes=[note(**changes)]))
    with pytest.raises(AuditError, match=message):
        read_code_object(content)


def test_code_for_a_processor_is_refused(library: Callable[..., bytes]) -> None:
    with pytest.raises(AuditError, match="it is for EM_X86_64"):
        read_code_object(library())
