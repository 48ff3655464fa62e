from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from forkhouse.audit.gpu import inventory
from forkhouse.binaries.kernels import KernelInventory, LibraryKernels, lacks, some
from forkhouse.core.errors import AuditError, DocumentError
from tests.audit.conftest import LINUX
from tests.compiled import bundle, compressed, needs_gcc, paged

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GFX908 = "hipv4-amdgcn-amd-amdhsa--gfx908"
GFX90A = "hipv4-amdgcn-amd-amdhsa--gfx90a"


def kernels(library: str, target: str, *names: str) -> LibraryKernels:
    return LibraryKernels(library=library, target=target, kernels=names)


@needs_gcc
def test_lists_the_kernels_of_a_wheel(
    make_wheel: Callable[..., Path],
    hip_library: Callable[..., bytes],
    code_object: Callable[..., bytes],
    library: Callable[..., bytes],
) -> None:
    one, two = code_object("one", "more"), code_object("two")
    other = code_object("one", target="amdgcn-amd-amdhsa--gfx908")
    content = hip_library(
        paged(bundle({GFX90A: one, GFX908: other}), compressed(bundle({GFX90A: two}))), registered=2
    )
    path = make_wheel(
        files={
            "demo/b.so": content,
            "demo/a.so": hip_library(bundle({GFX90A: two})),
            "demo/host.so": library(),
            "demo/x.py": b"",
        }
    )
    assert inventory(path) == (
        kernels("demo/a.so", "gfx90a", "two"),
        kernels("demo/b.so", "gfx908", "one"),
        kernels("demo/b.so", "gfx90a", "more", "one", "two"),
    )


@needs_gcc
def test_a_wheel_that_cannot_be_read_has_no_inventory(
    make_wheel: Callable[..., Path], hip_library: Callable[..., bytes]
) -> None:
    path = make_wheel(files={"demo/a.so": hip_library(b"no bundle")}, tag=LINUX)
    with pytest.raises(AuditError, match=rf"{path.name}: The offload bundle at byte 0 is none"):
        inventory(path)
    path.write_bytes(b"no zip")
    with pytest.raises(AuditError, match="cannot be read"):
        inventory(path)


def test_an_inventory_is_read_as_it_was_written() -> None:
    recorded = KernelInventory(
        libraries=(
            kernels("demo/a.so", "gfx90a", "one", "two"),
            kernels("demo/b.so", "gfx90a:xnack-"),
        )
    )
    assert KernelInventory.parse(recorded.text(), name="x") == recorded


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"libraries": 3}',
        '{"libraries": [{"library": "a", "target": "b"}]}',
        '{"libraries": [], "more": 1}',
        "\udcff",
    ],
)
def test_what_is_no_inventory_is_refused(text: str) -> None:
    with pytest.raises(DocumentError, match=r"kernels\.json: it is no inventory of kernels"):
        KernelInventory.parse(text, name="kernels.json")


def test_tells_what_is_missing() -> None:
    recorded = KernelInventory(
        libraries=(
            kernels("a.so", "gfx90a", "one", "two"),
            kernels("a.so", "gfx942", "one"),
            kernels("b.so", "gfx90a", "three"),
        )
    )
    assert list(recorded.missing_from(recorded.libraries)) == []
    assert list(
        recorded.missing_from(
            [kernels("a.so", "gfx90a", "two", "new"), kernels("c.so", "gfx90a", "one")]
        )
    ) == [
        ("a.so", "has lost 1 kernels for gfx90a that the recorded inventory has: one"),
        ("a.so", "has lost all its GPU code for gfx942, which the recorded inventory has"),
        ("b.so", "has GPU code for gfx90a in the recorded inventory, and none now"),
    ]


@pytest.mark.parametrize(
    ("asked", "present", "missing"),
    [
        ("gfx90a", ["gfx90a"], False),
        ("gfx90a", ["gfx908", "gfx90a"], False),
        ("gfx90a", [], True),
        ("gfx90a", ["gfx908"], True),
        ("gfx90a", ["gfx90"], True),
        ("gfx90a:xnack-", ["gfx90a"], False),
        ("gfx90a:xnack-", ["gfx90a:xnack-"], False),
        ("gfx90a:xnack-", ["gfx90a:xnack+"], True),
        ("gfx90a", ["gfx90a:xnack-"], True),
        ("gfx90a", ["gfx90a:xnack-", "gfx90a:xnack+"], False),
        ("gfx90a", ["gfx90a:sramecc+:xnack-", "gfx90a:xnack+"], True),
        ("gfx90a", ["gfx90a:sramecc+:xnack-", "gfx90a:sramecc-:xnack-", "gfx90a:xnack+"], False),
        ("gfx90a:sramecc+:xnack-", ["gfx90a:xnack-"], False),
        ("gfx90a:sramecc+", ["gfx90a:sramecc+:xnack-"], True),
    ],
)
def test_knows_which_code_a_gpu_can_run(asked: str, present: list[str], *, missing: bool) -> None:
    assert lacks(asked, present) is missing


def test_shortens_lists() -> None:
    assert some(["a", "b", "c"]) == "a, b, c"
    assert some("abcde") == "a, b, c and 2 more"
