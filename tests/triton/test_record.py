"""What differs from the record is an error where it is worse, and a note where it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from forkhouse.core.errors import DocumentError
from forkhouse.triton.record import compare, merged, parse, recorded

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkhouse.triton.figures import KernelFigures
    from forkhouse.triton.record import News, Recorded

    Make = Callable[..., KernelFigures]


def of(*kernels: KernelFigures, triton: str = "3.9.0", vllm: str = "0.31.0") -> Recorded:
    return recorded(kernels, triton=triton, vllm=vllm)


def said(news: tuple[News, ...], *, worse: bool) -> list[str]:
    return [str(each) for each in news if each.worse is worse]


def test_a_record_is_read_as_it_was_written(kernel: Make) -> None:
    record = of(kernel(), kernel(variant="bbbb", figures=None, error="no"))
    assert parse(record.text()) == record
    assert record.text().count("\n") == 6  # a kernel a line


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"triton": 3, "vllm": "1", "kernels": []}'])
def test_what_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(DocumentError, match="--record"):
        parse(text)


def test_the_same_is_no_news(kernel: Make) -> None:
    assert compare(of(kernel()), of(kernel())) == ()


@pytest.mark.parametrize("variant", ["aaaa", "bbbb"], ids=["same arguments", "other arguments"])
@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"mfma": 0}, "has lost its matrix instructions"),
        ({"vgpr_spills": 3}, "has more spills: 0 to 3"),
        ({"scratch": 12}, "has more scratch: 0 to 12"),
        ({"occupancy": 1}, "runs fewer waves a SIMD: 4 to 1"),
        ({"figures": None, "error": "no"}, "compiles no more"),
    ],
)
def test_what_is_worse_is_an_error(
    kernel: Make, variant: str, given: dict[str, Any], what: str
) -> None:
    news = compare(of(kernel()), of(kernel(variant=variant, **given)))
    assert [what in each for each in said(news, worse=True)] == [True]


def test_other_figures_are_a_note(kernel: Make) -> None:
    news = compare(of(kernel()), of(kernel(vgpr=128, mfma=20)))
    assert said(news, worse=True) == []
    assert ["vgpr 118 to 128, mfma 40 to 20" in each for each in said(news, worse=False)] == [True]


def test_a_kernel_that_is_gone_or_new_is_a_note(kernel: Make) -> None:
    news = compare(of(kernel()), of(kernel(kernel="m.other")))
    assert said(news, worse=True) == []
    assert sorted(each.split(" ", 1)[1] for each in said(news, worse=False)) == [
        "(llama, gfx90a) is launched no more",
        "(llama, gfx90a) is new",
    ]


def test_a_case_that_was_not_run_is_not_compared(kernel: Make) -> None:
    assert compare(of(kernel(), kernel(case="phi")), of(kernel())) == ()
    assert said(compare(of(kernel()), of(kernel(), kernel(case="phi"))), worse=False) == [
        "phi (gfx90a) is not in the record"
    ]


def test_a_record_keeps_cases_that_were_not_run(kernel: Make) -> None:
    old, new = of(kernel(case="phi"), kernel(vgpr=1)), of(kernel(vgpr=2))
    assert [(line.case, line.vgpr) for line in merged(old, new).kernels] == [
        ("llama", 2),
        ("phi", 118),
    ]


def test_a_record_keeps_nothing_of_another_compiler(kernel: Make) -> None:
    old = of(kernel(case="phi"), triton="3.8.0")
    assert [line.case for line in merged(old, of(kernel())).kernels] == ["llama"]
    assert merged(None, of(kernel())) == of(kernel())
