from __future__ import annotations

import json
from typing import Any

import pytest

from forkhouse.core.errors import ClosureError
from forkhouse.wheelhouse.contents import parse_contents


def manifest(**instead: Any) -> str:
    """Return the manifest of a wheelhouse of one wheel, of which something is said otherwise."""
    wheel = {
        "name": "demo",
        "version": "1.0",
        "file": "demo-1.0+cpu.1-1_a-py3-none-any.whl",
        "size": 5,
        "origin": "index",
        "required-by": ["the profile"],
        **instead,
    }
    value = {"profile": "cpu", "install": ["demo"], "gpu-targets": [], "missing": [], "omitted": []}
    return json.dumps({**value, "wheels": [wheel]})


def test_a_manifest_is_read() -> None:
    assert [each.size for each in parse_contents(manifest(), "cpu").wheels] == [5]


@pytest.mark.parametrize(
    "file", ["/etc/passwd", "../x.whl", "a/b.whl", "a\0.whl", "\ud800.whl", ""]
)
def test_a_file_that_is_no_wheel_beside_the_manifest_is_refused(file: str) -> None:
    with pytest.raises(ClosureError, match="is no name of a wheel"):
        parse_contents(manifest(file=file), "cpu")


@pytest.mark.parametrize("size", [-1, 10**400, True, "5", None, 1.5])
def test_a_size_that_is_none_is_refused(size: object) -> None:
    with pytest.raises(ClosureError, match="has no size"):
        parse_contents(manifest(size=size), "cpu")
