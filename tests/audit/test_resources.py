"""What GPU kernels take of the hardware: read, held against a processor's limits, compared."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import msgpack
import pytest

from forkhouse.audit.comparing import changes, read_side
from tests.audit.conftest import LINUX, findings, look
from tests.compiled import bundle, compiled

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TARGET = "amdgcn-amd-amdhsa--gfx90a"


def descriptor(*, lds: int = 0, scratch: int = 0, kernarg: int = 16) -> bytes:
    """Write a kernel descriptor: 8 granules of registers, of which 16 architectural."""
    rsrc1, rsrc3 = 7, 3
    return struct.pack(
        "<IIIIq20xIIIHH4x", lds, scratch, kernarg, 0, 256, rsrc3, rsrc1, 0, 0x408, 0
    ).ljust(64, b"\0")


def note(name: str, **more: object) -> bytes:
    """Write the metadata of one kernel; `lds` stands for `.lds`."""
    kernel: dict[str, Any] = {
        ".name": name,
        ".symbol": f"{name}.kd",
        ".group_segment_fixed_size": 0,
        ".private_segment_fixed_size": 0,
        ".kernarg_segment_size": 16,
        ".vgpr_count": 24,
        ".agpr_count": 4,
        ".sgpr_count": 30,
        ".vgpr_spill_count": 0,
        ".sgpr_spill_count": 0,
        ".wavefront_size": 64,
        ".max_flat_workgroup_size": 1024,
        ".args": [
            {".offset": 0, ".size": 8, ".value_kind": "global_buffer"},
            {".offset": 8, ".size": 4, ".value_kind": "hidden_block_count_x"},
        ],
        **{f".{key}": value for key, value in more.items()},
    }
    packed: bytes = msgpack.packb({"amdhsa.target": TARGET, "amdhsa.kernels": [kernel]})
    return packed


@pytest.fixture
def wheel(
    make_wheel: Callable[..., Path],
    hip_library: Callable[..., bytes],
    code_object: Callable[..., bytes],
) -> Callable[..., Path]:
    """Make a wheel with a library that has one kernel."""

    def make(name: str = "one", *, lds: int = 0, scratch: int = 0, **more: object) -> Path:
        code = code_object(
            name,
            notes=[
                note(
                    name,
                    **{
                        "group_segment_fixed_size": lds,
                        "private_segment_fixed_size": scratch,
                        **more,
                    },
                )
            ],
            descriptor=descriptor(lds=lds, scratch=scratch),
        )
        section = bundle({f"hipv4-{TARGET}": code})
        return make_wheel(files={"demo/ext.so": hip_library(section)}, tag=LINUX)

    return make


def test_they_are_in_the_report(wheel: Callable[..., Path]) -> None:
    (found,) = look(wheel(lds=65_536, scratch=12)).resources
    assert (found.library, found.target, found.kernel) == ("demo/ext.so", "gfx90a", "one")
    assert (found.lds, found.scratch, found.kernarg) == (65_536, 12, 16)
    assert (found.vgprs, found.agprs, found.sgprs) == (24, 4, 30)
    assert found.arguments == ("0:8 global_buffer", "8:4 hidden_block_count_x")


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"lds": 65_540}, "takes 65540 bytes of LDS; there are 65536 (AMD Instinct MI200 ISA"),
        ({"vgpr_count": 516}, "takes 516 vector registers; there are 512"),
        ({"scratch": 131_060}, "takes 131060 bytes of private memory; there are 131056"),
        ({"max_flat_workgroup_size": 1088}, "takes 1088 work items in a workgroup; there are 1024"),
        ({"wavefront_size": 32}, "has wavefronts of 32 work items; the processor has 64"),
    ],
)
def test_more_than_the_processor_has_is_refused(
    wheel: Callable[..., Path], more: dict[str, int], what: str
) -> None:
    (found,) = findings(wheel(**more))
    assert found.startswith(f"demo/ext.so has the kernel one for gfx90a, which {what}")


def test_registers_that_are_spilled_are_a_note(wheel: Callable[..., Path]) -> None:
    report = look(wheel(vgpr_spill_count=3))
    assert report.passed
    assert "demo/ext.so has 1 kernels for gfx90a that spill registers: one" in map(
        str, report.notes
    )


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"group_segment_fixed_size": 4}, "says 4 for .group_segment_fixed_size in its metadata"),
        ({"vgpr_count": -1}, "has -1 for .vgpr_count"),
        ({"vgpr_count": "many"}, "has 'many' for .vgpr_count"),
        ({"args": [{".offset": 12, ".size": 8}]}, "puts an argument of one.kd at bytes 12 to 20"),
        ({"args": 3}, "has no list of the arguments of one.kd"),
    ],
)
def test_metadata_that_contradicts_is_refused(
    wheel: Callable[..., Path], more: dict[str, object], why: str
) -> None:
    (found,) = findings(wheel(**more))
    assert why in found


def test_two_builds_are_compared(
    wheel: Callable[..., Path], make_wheel: Callable[..., Path], tmp_path: Path
) -> None:
    def kept(path: Path, name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        return path.rename(folder / path.name)

    before = kept(wheel(lds=100), "before")
    now = kept(wheel(lds=200, vgpr_spill_count=2), "now")
    told = [str(each) for each in changes(read_side(before), read_side(now))]
    assert told == [
        "demo/ext.so: resource lds of one for gfx90a: 100 before, 200 now",
        "demo/ext.so: resource vgpr-spills of one for gfx90a: 0 before, 2 now",
    ]
    other = kept(wheel("two"), "other")
    told = [str(each) for each in changes(read_side(before), read_side(other))]
    assert told[:2] == [
        "demo/ext.so: gone kernel one (gfx90a)",
        "demo/ext.so: new kernel two (gfx90a)",
    ]
    calling = compiled(tmp_path, 'extern int puts(const char *); int f(void) { return puts(""); }')
    later = kept(
        make_wheel(
            "demo", "2.0", files={"demo/new.so": calling}, metadata=("Requires-Dist: helper",)
        ),
        "later",
    )
    told = [str(each) for each in changes(read_side(before), read_side(later))]
    assert "demo/ext.so: gone kernel one (gfx90a)" in told
    assert "demo/new.so: new symbol puts (needs)" in told
    assert "demo/new.so: new symbol f (gives)" in told
    assert "demo/ext.so: gone symbol code (gives)" in told
    assert "new requirement helper" in told
    assert "version demo: 1.0 before, 2.0 now" in told
    assert any(each.startswith("new file demo/new.so (") for each in told)
    done = audit(now.parent, "--against", before.parent)
    assert "VGPRs" in done  # the heaviest kernels
    assert "against: demo-1.0-py3-none-linux_x86_64.whl: 2 things are otherwise" in done
    assert "nothing is otherwise" in audit(now, "--against", now)
    (listed,) = json.loads(audit(now, "--against", before, "--json"))
    assert [each["what"] for each in listed["against"]] == ["resource", "resource"]
    assert listed["resources"][0]["vgpr-spills"] == 2
    assert "has no wheel" in audit(tmp_path, code=2)


def audit(*arguments: object, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "forkhouse", "audit", "--profile", "rocm", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr
