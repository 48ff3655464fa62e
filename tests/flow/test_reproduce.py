"""Wheels of the small checkout, built twice; one whose back end writes the time is found."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING

import pytest

from forkhouse.flow.differing import differences

if TYPE_CHECKING:
    from pathlib import Path

    from tests.flow.conftest import Checkout

FILES = 'files = {"small_transport/__init__.py": b"",'
WHEEL = "small_transport-2.0+rocm.1-py3-none-"


def test_wheels_of_equal_bytes_are_told_equal(checkout: Checkout) -> None:
    answer = json.loads(checkout.run("reproduce", "--json").stdout)
    assert [each["recipe"] for each in answer["wheels"]] == ["transport", "engine"]
    for each in answer["wheels"]:
        assert each["equal"] is True
        assert each["sha256"][0] == each["sha256"][1]
        assert each["differs"] == []
    assert min(answer["wheels"][0]["seconds"]) > 0  # neither was taken from the other
    first, second = answer["conditions"]
    assert {name for name in first if first[name] != second[name]} >= {
        "folder",
        "language",
        "time-zone",
        "umask",
    }
    # Nothing was built for the checkout itself, and what was built is gone.
    assert not (checkout.root / "wheels").exists()
    assert not list((checkout.root / "build").rglob("*.whl"))
    table = checkout.run("reproduce", "--recipe", "engine").stdout
    assert "small_engine-1.0+cpu.1-py3-none-any.whl" in table
    assert WHEEL not in table


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("the time", "__import__('datetime').datetime.now().isoformat()"),
        ("the mode", "oct(pathlib.Path('VERSION').stat().st_mode)"),
        ("the place", "str(pathlib.Path.cwd())"),
    ],
)
def test_a_wheel_that_holds_what_changes_is_found_and_named(
    checkout: Checkout, what: str, text: str
) -> None:
    told = f'"small_transport/told.txt": {text}.encode(),'
    checkout.edit("recipes/transport/backend.py", FILES, f"{FILES} {told}")
    result = checkout.run("reproduce", "--json", code=26)
    wheels = {each["recipe"]: each for each in json.loads(result.stdout)["wheels"]}
    assert wheels["engine"]["equal"] is True
    assert wheels["transport"]["equal"] is False
    assert "small_transport/told.txt: content" in wheels["transport"]["differs"], what
    assert "small_transport/__init__.py" not in " ".join(wheels["transport"]["differs"])
    assert f"\n{WHEEL}" in result.stderr
    assert "whl (transport) differs in:" in result.stderr
    assert len(list((checkout.root / "build/reproduce").rglob(f"{WHEEL}*.whl"))) == 2


def test_a_recipe_that_does_not_build_ends_with_its_own_failure(checkout: Checkout) -> None:
    checkout.edit("recipes/transport/backend.py", '"gcc", "-shared"', '"gcc", "-no-such-option"')
    failed = checkout.run("reproduce", code=21)
    assert "no-such-option" in failed.stderr
    unknown = checkout.run("reproduce", "--recipe", "other", code=2)
    assert "does not build other. It builds: transport, engine" in unknown.stderr


def packed(path: Path, *members: tuple[str, bytes, int, int]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content, mode, second in members:
            info = zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, second))
            info.external_attr = mode << 16
            archive.writestr(info, content)
    return path


def test_each_kind_of_difference_has_its_words(tmp_path: Path) -> None:
    a, b = ("a", b"1", 0o644, 0), ("b", b"2", 0o644, 0)
    cases = {
        "c: in the second alone": [a, b, ("c", b"", 0o644, 0)],
        "b: content": [a, ("b", b"3", 0o644, 0)],
        "b: time": [a, ("b", b"2", 0o644, 2)],
        "b: content, mode": [a, ("b", b"22", 0o755, 0)],
        "the members have another order": [b, a],
    }
    first = packed(tmp_path / "first", a, b)
    for words, members in cases.items():
        second = packed(tmp_path / "second", *members)
        assert list(differences(first, second)) == [words]
    second.write_bytes(b"\0" + first.read_bytes())
    assert list(differences(first, second)) == [
        "the archive itself: its members are equal, how they are packed is not"
    ]
