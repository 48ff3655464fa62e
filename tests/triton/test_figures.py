"""Figures come from what Triton left: metadata, assembly, its first intermediate form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from forkhouse.binaries.resources import KernelResources
from forkhouse.core.errors import UsageError
from forkhouse.triton import KernelError
from forkhouse.triton.cases import chosen, read_cases
from forkhouse.triton.figures import COLUMNS, figures_of, read_kernels, rows
from forkhouse.triton.running import read_answer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from forkhouse.triton.figures import KernelFigures

TAKEN = KernelResources(
    library="attend",
    target="gfx90a",
    kernel="attend",
    lds=0,
    vgprs=96,
    agprs=0,
    sgprs=40,
    vgpr_spills=0,
    sgpr_spills=0,
    scratch=0,
    wavefront=64,
    workgroup=256,
    kernarg=8,
    arguments=(),
    code_object=5,
    xnack="any",
    sramecc="any",
)
ASSEMBLY = """
attend:
	v_mfma_f32_16x16x16bf16_1k v[0:3], v[4:5], v[6:7], v[0:3]
	v_mfma_f32_32x32x8f16 a[0:15], v[4:5], v[6:7], a[0:15]
	v_fma_f32 v0, v1, v2, v3
; v_mfma in a comment
; Occupancy: 5
"""
FORM = """
    %3 = tt.dot %1, %2, %0, inputPrecision = tf32 : \
tensor<16x64xbf16> * tensor<64x16xbf16> -> tensor<16x16xf32>
    %4 = tt.dot %3, %2, %0 : tensor<16x64xf32> * tensor<64x16xf32> -> tensor<16x16xf32>
"""


def test_matrix_instructions_and_products_are_counted() -> None:
    found = figures_of(
        taken=TAKEN, shared=16384, warps=4, target="gfx90a", assembly=ASSEMBLY, form=FORM
    )
    assert (found.mfma, found.dots, found.lds) == (2, ("bf16", "f32"), 16384)
    assert (found.occupancy, found.limited_by) == (4, "lds")
    assert (found.register_occupancy, found.stated_occupancy) == (5, 5)
    assert found.needs_matrix_instructions


def test_a_kernel_without_products_needs_no_matrix_instructions() -> None:
    found = figures_of(taken=TAKEN, shared=0, warps=4, target="gfx90a", assembly="", form="")
    assert (found.mfma, found.dots, found.stated_occupancy) == (0, (), None)
    assert not found.needs_matrix_instructions


def test_a_variant_that_several_cases_launch_has_one_row(
    kernel: Callable[..., KernelFigures],
) -> None:
    table = rows(
        [
            kernel(),
            kernel(case="phi"),
            kernel(variant="bbbb", figures=None, error="no"),
        ]
    )
    assert [row[:3] for row in table] == [
        ["kernel_unified_attention", "llama +1", "aaaa"],
        ["kernel_unified_attention", "llama", "bbbb"],
    ]
    assert {len(row) for row in table} == {len(COLUMNS)}
    assert table[1][-1] == "does not compile"


ENTRY = {
    "kernel": "m.attend",
    "variant": "aaaa",
    "target": "gfx90a",
    "arguments": {},
    "warps": 4,
    "stages": 1,
    "steps": ["one"],
    "seconds": 1.0,
    "shared": 0,
    "folder": "ABC",
    "folders": ["ABC"],
    "error": None,
}


def test_a_cache_that_lacks_what_was_compiled_is_said(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match=r"attend in Triton's cache \(ABC\)"):
        list(read_kernels({"case": "llama", "kernels": [ENTRY]}, tmp_path))


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ({"error": "Traceback: no such model", "kernels": []}, "no such model"),
        ({"error": None, "kernels": []}, "Nothing was launched for llama"),
    ],
)
def test_a_case_that_came_to_nothing_is_an_error(
    tmp_path: Path, case: dict[str, object], said: str
) -> None:
    answer = {
        "triton": {"version": "3.9.0", "key": "k"},
        "vllm": "0.31.0",
        "cases": [{"case": "llama", "launches": 0, "seconds": [1, 1], **case}],
    }
    with pytest.raises(KernelError, match=said):
        read_answer(answer, tmp_path, {})


@pytest.mark.parametrize(
    ("error", "served"),
    [("ValueError: no backend", False), ("ValueError: else", True), (None, True)],
)
def test_a_case_that_vllm_refuses_is_expected_to_be_refused(
    tmp_path: Path, error: str | None, *, served: bool
) -> None:
    answer = {
        "triton": {"version": "3.9.0", "key": "k"},
        "vllm": "0.31.0",
        "cases": [{"case": "mla", "launches": 0, "seconds": [1, 1], "error": error, "kernels": []}],
    }
    if served:
        with pytest.raises(KernelError, match="said to refuse mla"):
            read_answer(answer, tmp_path, {"mla": "no backend"})
    else:
        assert read_answer(answer, tmp_path, {"mla": "no backend"}).kernels == ()


def test_the_cases_are_chosen_by_name_or_the_core_alone() -> None:
    cases = read_cases()
    assert list(chosen(cases, ("phi-2",), every=False)) == ["phi-2"]
    core = chosen(cases, (), every=False)
    assert 0 < len(core) < len(chosen(cases, (), every=True)) == len(cases.cases)
    with pytest.raises(UsageError, match="phi-9"):
        chosen(cases, ("phi-9",), every=False)


def test_every_case_has_a_model_and_the_head_sizes_are_all_there() -> None:
    sizes = set()
    for case in read_cases().cases.values():
        config = case.config
        size = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
        sizes.add((size, config["num_attention_heads"] == config["num_key_value_heads"]))
    assert {64, 80, 96, 128, 256} <= {size for size, _ in sizes}
    assert {True, False} == {alone for _, alone in sizes}
