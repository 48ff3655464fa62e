from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from forkhouse.core.errors import ClosureError, HashMismatchError
from forkhouse.wheelhouse.contents import parse_contents
from forkhouse.wheelhouse.verifying import verify_file

if TYPE_CHECKING:
    from tests.wheelhouse.conftest import Draft


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


def test_one_file_is_held_against_the_checksums(draft: Draft) -> None:
    draft.publish()
    verify_file(draft.folder, "manifest.json")
    path = draft.folder / "manifest.json"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"profile"', b'"Profile"'))
    with pytest.raises(HashMismatchError, match=r"manifest\.json in the wheelhouse .* was changed"):
        verify_file(draft.folder, "manifest.json")
    path.unlink()
    with pytest.raises(ClosureError, match=r"lists and is without manifest\.json"):
        verify_file(draft.folder, "manifest.json")
    path.symlink_to(draft.folder / "SHA256SUMS")
    with pytest.raises(ClosureError, match=r"lists and is without manifest\.json"):
        verify_file(draft.folder, "manifest.json")
    with pytest.raises(ClosureError, match="does not list other"):
        verify_file(draft.folder, "other")
    (draft.folder / "SHA256SUMS").unlink()
    with pytest.raises(ClosureError, match="is no wheelhouse"):
        verify_file(draft.folder, "manifest.json")
