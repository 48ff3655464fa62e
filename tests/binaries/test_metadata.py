from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Any

import msgpack
import pytest

from forkhouse.binaries.offload import embedded, read_bundles
from forkhouse.core.errors import AuditError
from tests.compiled import bundle, needs_gcc

if TYPE_CHECKING:
    from collections.abc import Callable

    Make = Callable[..., bytes]

PREFIX = "amdgcn-amd-amdhsa--"
LONG = f"{PREFIX}gfx90a:sramecc+:xnack-"
KERNEL: dict[str, Any] = {
    ".name": "scale",
    ".symbol": "scale.kd",
    ".kernarg_segment_size": 2**33,
    ".args": [{".offset": 8 * n, ".size": 8, ".value_kind": "global_buffer"} for n in range(40)],
    ".amdhsa.target": "of a kernel, which is not asked",
}
WHOLE = {
    "amdhsa.version": [1, 2],
    "amdhsa.printf": ["1:1:4:amdhsa.target %d"],
    "amdhsa.kernels": [KERNEL] * 30,
    "amdhsa.target": LONG,
}

pytestmark = needs_gcc


def target_of(content: bytes) -> str | None:
    [read] = embedded(content)
    return read.objects[0].target


@pytest.mark.parametrize(
    "target",
    [
        "gfx90a",
        "gfx90a:xnack-",  # 32 bytes: the first that has its length in a byte of its own
        "gfx90a:sramecc+:xnack-",
        "gfx9-4-generic:sramecc+:xnack-" + "-" * 300,  # and in two bytes
    ],
)
def test_the_target_is_what_the_metadata_says(code_object: Make, target: str) -> None:
    note = msgpack.packb({**WHOLE, "amdhsa.target": PREFIX + target})
    assert target_of(code_object("scale", notes=[note])) == target


@pytest.mark.parametrize("place", range(4))
def test_the_target_is_found_wherever_it_stands(code_object: Make, place: int) -> None:
    others = [item for item in WHOLE.items() if item[0] != "amdhsa.target"]
    items = [*others[:place], ("amdhsa.target", LONG), *others[place:]]
    assert target_of(code_object("scale", notes=[msgpack.packb(dict(items))])) == LONG[19:]


def test_what_only_looks_like_the_key_is_not_taken(code_object: Make) -> None:
    inner = {
        "amdhsa.kernels": [{"amdhsa.target": f"{PREFIX}gfx908"}],
        "amdhsa.printf": ["\xaeamdhsa.target"],
        "amdhsa.target": LONG,
    }
    assert target_of(code_object("scale", notes=[msgpack.packb(inner)])) == LONG[19:]
    del inner["amdhsa.target"]
    silent = code_object("scale", notes=[msgpack.packb(inner)])
    with pytest.raises(AuditError, match="does not say for which GPU it is"):
        list(embedded(silent))


def test_names_of_any_bytes_are_no_damage(code_object: Make) -> None:
    note = msgpack.packb({b"amdhsa.printf": [b"\xff\xfe"], b"\xff": 1, "amdhsa.target": LONG})
    assert target_of(code_object("scale", notes=[note])) == LONG[19:]


def test_one_of_several_notes_may_name_the_target(code_object: Make) -> None:
    without = msgpack.packb({"amdhsa.version": [1, 2]})
    with_it = msgpack.packb({"amdhsa.target": LONG})
    for notes in ([without, with_it], [with_it, without], [with_it, with_it]):
        assert target_of(code_object("scale", notes=notes)) == LONG[19:]


def test_two_targets_are_refused(code_object: Make) -> None:
    notes = [msgpack.packb({"amdhsa.target": f"{PREFIX}{gpu}"}) for gpu in ("gfx90a", "gfx908")]
    with pytest.raises(
        AuditError,
        match=f"its metadata names several targets: {PREFIX}gfx908, {PREFIX}gfx90a",
    ):
        list(embedded(code_object("scale", notes=notes)))


@pytest.mark.parametrize(
    ("note", "reason"),
    [
        (b"", "No more data to unpack"),
        (b"\xc1", "Unexpected type header"),
        (msgpack.packb(["amdhsa.target", LONG]), "Unexpected type header"),
        (msgpack.packb({"amdhsa.target": 1}), "the target is no text"),
        (msgpack.packb({"amdhsa.target": [LONG]}), "the target is no text"),
        (msgpack.packb({"a": 1, "amdhsa.target": LONG})[:-1], "No more data to unpack"),
        (msgpack.packb({"amdhsa.target": LONG, "a": 1})[:-1], "No more data to unpack"),
        (b"\xdf\xff\xff\xff\xff" + msgpack.packb("a") * 2, "No more data to unpack"),
        (b"\x81\xa1a" + b"\x91" * 5000 + b"\xc0", "StackError"),
        (b"\x81" + b"\xdd\0\0\x40\0" * 5000, "StackError"),
        (b"\x81\xdd\0\0\x40\1\xc0", "16385 exceeds max_array_len"),
        (b"\x81\xdb\xff\xff\xff\xffa", "No more data to unpack"),
        (b"\x81\xd7\xff" + b"\xff" * 8 + b"\xc0", "nanoseconds"),
    ],
)
def test_damaged_metadata_is_explained(code_object: Make, note: bytes, reason: str) -> None:
    whole = msgpack.packb({"amdhsa.target": LONG})
    content = code_object("scale", notes=[whole, note])
    words = rf"its metadata \(AMDGPU note 2\) is no whole MessagePack map: .*{reason}"
    with pytest.raises(AuditError, match=f"The code object at byte 0 cannot be read: {words}"):
        list(embedded(content))
    identity = f"hipv4-{LONG}"
    with pytest.raises(AuditError, match=f"cannot be read: {words}"):
        list(read_bundles(bundle({identity: content})))


def test_metadata_costs_no_more_memory_than_its_bytes(code_object: Make) -> None:
    note = msgpack.packb({"amdhsa.kernels": [[]] * 200_000, "amdhsa.target": LONG})
    content = code_object("scale", notes=[note])
    tracemalloc.start()
    try:
        assert target_of(content) == LONG[19:]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * len(content)
