from __future__ import annotations

import platform

import pytest

from forkhouse.audit.facts import WheelFacts
from forkhouse.core.errors import ClosureError
from forkhouse.wheelhouse.closure_check import check_closure


def wheels(**requires: tuple[str, ...]) -> dict[str, WheelFacts]:
    """Return version 1.5 of wheels with these requirements.

    Each provides the extras `all`, `fast` and `other`.
    """
    extras = ("all", "fast", "other")
    return {
        name: WheelFacts(name=name, version="1.5", requires=texts, provides_extra=extras)
        for name, texts in requires.items()
    }


def problems(roots: list[str], facts: dict[str, WheelFacts]) -> list[str]:
    with pytest.raises(
        ClosureError, match=r"(?s)The wheels do not make a whole:.*forkhouse lock --update"
    ) as caught:
        check_closure(roots, facts)
    return [
        line.removeprefix("  - ")
        for line in str(caught.value).splitlines()
        if line.startswith("  - ")
    ]


def test_a_whole_set_passes() -> None:
    check_closure(
        ["aa>=1"],
        wheels(aa=("Bb ~=1.0", "cc[fast]"), bb=("aa",), cc=("dd; extra == 'fast'",), dd=()),
    )


@pytest.mark.parametrize(
    "requirement",
    [
        "none; python_version < '3'",
        "none; sys_platform == 'win32'",
        "none; extra == 'all'",
        "none; extra == 'all' and python_version >= '3'",
    ],
)
def test_a_requirement_that_is_not_for_this_machine_is_not_asked_for(requirement: str) -> None:
    check_closure(["aa"], wheels(aa=(requirement,)))


@pytest.mark.parametrize(
    ("root", "extra"), [("aa[all]", "all"), ("aa[All]", "All"), ("aa[all,other]", "all")]
)
def test_the_requirements_of_an_extra_are_asked_for(root: str, extra: str) -> None:
    assert problems([root], wheels(aa=("none>=2; extra == 'all'",))) == [
        f'none>=2; extra == "all" (wanted by aa[{extra}]) is not there'
    ]


def test_an_extra_that_is_asked_for_later_counts_too() -> None:
    facts = wheels(aa=("bb", "cc"), bb=("none; extra == 'all'",), cc=("bb[all]",))
    assert problems(["aa"], facts) == ['none; extra == "all" (wanted by bb[all]) is not there']


def test_a_version_that_is_refused_is_told() -> None:
    assert problems(["aa>=2"], wheels(aa=())) == [
        "aa>=2 (wanted by the profile) refuses aa 1.5, which is there"
    ]


def test_a_pre_release_or_local_version_serves_a_plain_requirement() -> None:
    for version in ("2.0rc1", "2.0+cpu"):
        check_closure(
            ["aa>=1.9"],
            {"aa": WheelFacts(name="aa", version=version, requires=(), provides_extra=())},
        )


def test_a_wheel_that_nothing_asks_for_is_told() -> None:
    assert problems(["aa"], wheels(aa=(), stowaway=())) == [
        "stowaway is there, and nothing of the profile asks for it"
    ]


def test_every_problem_is_told_at_once_and_once() -> None:
    facts = wheels(aa=("none", "bb>=2"), bb=("none",), cc=())
    assert problems(["aa", "bb", "gone"], facts) == [
        "bb>=2 (wanted by aa) refuses bb 1.5, which is there",
        "cc is there, and nothing of the profile asks for it",
        "gone (wanted by the profile) is not there",
        "none (wanted by aa) is not there",
        "none (wanted by bb) is not there",
    ]


def test_an_extra_that_a_wheel_does_not_have_is_told() -> None:
    assert problems(["aa[none]"], wheels(aa=())) == [
        "aa[none] (wanted by the profile) asks aa for the extra none, which it does not have"
    ]


@pytest.mark.parametrize(
    "address",
    [
        "https://files.example/bb-1.5-py3-none-any.whl",
        "file:///srv/bb-1.5-py3-none-any.whl",
        "git+https://git.example/bb",
    ],
)
def test_a_requirement_by_address_is_told_though_a_wheel_of_that_name_is_there(
    address: str,
) -> None:
    said = f"bb (wanted by aa) is asked for by its address, {address}, and not by a version"
    assert problems(["aa"], wheels(aa=(f"bb @ {address}",), bb=())) == [said]
    assert problems([f"bb @ {address}"], wheels(bb=())) == [said.replace("aa", "the profile")]


def test_a_requirement_by_address_counts_where_its_extra_is_asked_for() -> None:
    facts = wheels(aa=("bb @ https://files.example/bb.whl ; extra == 'all'",), bb=())
    assert problems(["aa"], facts) == ["bb is there, and nothing of the profile asks for it"]
    assert "asked for by its address" in problems(["aa[all]"], facts)[0]


def test_what_an_older_release_of_this_python_needs_is_asked_for() -> None:
    """Debian 12 has 3.11.2, and pip chose for the release that ran it."""
    series = ".".join(platform.python_version_tuple()[:2])
    older = f"none; python_full_version < '{series}.1'"
    assert problems(["aa"], wheels(aa=(older,))) == [
        f'none; python_full_version < "{series}.1" (wanted by aa) is not there'
    ]
    check_closure(["aa"], wheels(aa=("none; python_full_version < '3.0.1'",)))


def test_who_requires_a_wheel_is_told() -> None:
    required_by = check_closure(
        ["aa>=1", "bb"], wheels(aa=("bb", "cc[fast]"), bb=(), cc=("dd; extra == 'fast'",), dd=())
    )
    assert required_by == {
        "aa": ("the profile",),
        "bb": ("aa", "the profile"),
        "cc": ("aa",),
        "dd": ("cc[fast]",),
    }
