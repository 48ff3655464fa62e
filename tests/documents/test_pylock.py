from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from forkhouse.core.errors import DocumentError, HashMismatchError, UnreachableError
from forkhouse.documents.pins import PinnedWheel, pinned_wheel
from forkhouse.documents.pylock import pylock_text, read_closure
from forkhouse.sources.wheels import fetch_all

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from forkhouse.sources.index import Registry

PINS = (
    PinnedWheel(
        name="one-two", version="1.0+cpu", file="one_two-1.0+cpu-py3-none-any.whl", sha256="ab" * 32
    ),
    PinnedWheel(name="zlib", version="2", file="zlib-2-py3-none-any.whl", sha256="cd" * 32),
)


def test_a_pin_reads_name_and_version_from_the_file_name() -> None:
    assert pinned_wheel("one_two-1.0+cpu-py3-none-any.whl", "ab" * 32) == PINS[0]


LISTED = """
lock-version = "1.0"
created-by = "x"
[[packages]]
name = "a"
[[packages.wheels]]
name = "{name}"
path = "{name}"
hashes = {{sha256 = "{sha256}"}}
"""


def test_a_pylock_that_is_written_is_read_back_in_name_order(tmp_path: Path) -> None:
    path = tmp_path / "pylock.cpu.toml"
    path.write_text(
        pylock_text(reversed(PINS), folder="wheels/cpu", requires_python=">=3.11"), encoding="utf-8"
    )
    assert read_closure(path) == PINS
    assert 'path = "wheels/cpu/zlib-2-py3-none-any.whl"' in path.read_text(encoding="utf-8")


def test_a_pylock_is_the_same_text_for_the_same_wheels() -> None:
    assert pylock_text(PINS, folder="w", requires_python=">=3.11") == pylock_text(
        PINS[::-1], folder="w", requires_python=">=3.11"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"pylock\.cpu\.toml: .*No such file.*forkhouse lock --update"),
        ("lock-version = ", r"pylock\.cpu\.toml: .*Invalid value"),
        ('lock-version = "1.0"\n', r"pylock\.cpu\.toml: .*created-by"),
        (
            (
                'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "a"\n'
                '[[packages.wheels]]\nname = "a-1-py3-none-any.whl"\npath = '
                '"a-1-py3-none-any.whl"\nhashes = {sha512 = "00"}\n'
            ),
            r"pylock\.cpu\.toml: a-1-py3-none-any\.whl has no sha256",
        ),
        (
            LISTED.format(name="a-1-py3-none-any.whl", sha256="../../../../home"),
            r"has no sha256 of 64 lower-case hex digits",
        ),
        (
            LISTED.format(name="../a-1-py3-none-any.whl", sha256="0" * 64),
            r"Invalid wheel filename '\.\./a-1-py3-none-any\.whl'",
        ),
        (LISTED.format(name="a.whl", sha256="0" * 64), r"pylock\.cpu\.toml: .*a\.whl"),
        ("a = " + "9" * 5000, r"pylock\.cpu\.toml: Exceeds the limit"),
        (
            "a = " + "[" * 5000,
            r"pylock\.cpu\.toml: arrays or tables are in one another without end",
        ),
    ],
)
def test_a_pylock_that_cannot_be_used_is_refused(
    tmp_path: Path, text: str | None, message: str
) -> None:
    path = tmp_path / "pylock.cpu.toml"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(DocumentError, match=message):
        read_closure(path)


def test_all_wheels_are_fetched_in_order(
    make_wheel: Callable[..., Path], publish: Callable[..., str], registry: Registry
) -> None:
    wheels = []
    for name in ("aa", "bb", "cc"):
        path = make_wheel(name)
        wheels.append(pinned_wheel(path.name, publish(path)))
    paths = fetch_all(wheels, registry)
    assert [path.name for path in paths] == [wheel.file for wheel in wheels]


def test_one_bad_wheel_fails_the_whole(
    make_wheel: Callable[..., Path], publish: Callable[..., str], registry: Registry
) -> None:
    good = make_wheel("aa")
    pin = pinned_wheel(good.name, publish(good))
    with pytest.raises(HashMismatchError, match=r"aa-1\.0-py3-none-any\.whl: its sha256 is"):
        fetch_all([pinned_wheel(good.name, "00" * 32)], registry)
    with pytest.raises(UnreachableError, match="No index offers bb"):
        fetch_all([pin, pinned_wheel("bb-1.0-py3-none-any.whl", "00" * 32)], registry)
