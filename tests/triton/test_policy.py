"""A kernel that breaks a limit is named with its case and the limit, or listed with its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from forkhouse.triton.policy import Exemption, KernelRule, idle, judge, read_policy

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkhouse.triton.figures import KernelFigures

    Make = Callable[..., KernelFigures]

OTHER = "vllm.v1.worker.gpu.sample.gumbel._gumbel_sample_kernel"


def test_a_kernel_within_the_limits_is_passed(kernel: Make) -> None:
    assert judge([kernel(), kernel(lds=65536)], read_policy()) == ()


@pytest.mark.parametrize(
    ("given", "rule", "said"),
    [
        ({"lds": 65540}, KernelRule.LDS, "takes 65540 bytes of local memory, and gfx90a has 65536"),
        ({"vgpr_spills": 2}, KernelRule.SPILLS, "spills 2 vector registers"),
        ({"sgpr_spills": 1}, KernelRule.SCALAR_SPILLS, "spills 1 scalar registers"),
        ({"scratch": 8}, KernelRule.SPILLS, "8 bytes of scratch memory"),
        ({"mfma": 0}, KernelRule.MATRIX, "multiplies matrices of bf16 without v_mfma"),
        ({"mfma": 0, "dots": ("f16", "f32")}, KernelRule.MATRIX, "of f16, f32 without"),
        ({"target": "gfx942"}, KernelRule.LDS, "no limit for gfx942"),
    ],
)
def test_a_broken_limit_names_kernel_case_and_limit(
    kernel: Make, given: dict[str, Any], rule: KernelRule, said: str
) -> None:
    [finding] = judge([kernel(**given)], read_policy())
    assert finding.rule is rule
    assert said in str(finding)
    assert str(finding).startswith(
        "vllm.v1.attention.ops.unified.kernel_unified_attention (llama, "
    )


def test_a_kernel_that_does_not_compile_is_said_with_its_compilers_words(kernel: Make) -> None:
    [finding] = judge(
        [
            kernel(
                figures=None, folder=None, error="CompilationError: at 3:1\nfp8e4nv not supported"
            )
        ],
        read_policy(),
    )
    assert finding.rule is KernelRule.COMPILES
    assert "fp8e4nv not supported" in finding.what


def test_what_is_no_attention_may_spill(kernel: Make) -> None:
    assert judge([kernel(kernel=OTHER, vgpr_spills=9)], read_policy()) == ()


@pytest.mark.parametrize("dots", [(), ("f32",), ("i8",)])
def test_no_matrix_instruction_is_asked_for_where_it_is_not_needed(
    kernel: Make, dots: tuple[str, ...]
) -> None:
    assert judge([kernel(mfma=0, dots=dots)], read_policy()) == ()


def test_what_is_listed_is_known_and_what_is_listed_in_vain_is_found(kernel: Make) -> None:
    listed = Exemption(kernel="vllm.v1.attention.*", case="lla*", rule=KernelRule.LDS, reason="why")
    vain = Exemption(kernel="*", case="phi", rule=KernelRule.LDS, reason="why")
    policy = read_policy().model_copy(update={"known": (listed, vain)})
    [lds, spills] = judge([kernel(lds=70000, vgpr_spills=1)], policy)
    assert (lds.known, spills.known) == ("why", None)
    assert idle(policy, [lds, spills]) == (vain,)


def test_every_limit_of_the_policy_has_its_source() -> None:
    policy = read_policy()
    assert len(policy.compiles) > 20
    assert len(policy.matrix) > 20
    assert len(policy.no_spills.source) > 20
    assert all(len(limit.source) > 20 for limit in policy.lds.values())
    assert all(len(known.reason) > 20 for known in policy.known)
