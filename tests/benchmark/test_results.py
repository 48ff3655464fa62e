from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from forkhouse.benchmark import results
from forkhouse.core.errors import DocumentError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from forkhouse.benchmark.results import Case, Measurement


@pytest.fixture
def measurement(
    make_case: Callable[..., Case], make_measurement: Callable[..., Measurement]
) -> Measurement:
    return make_measurement(
        make_case(0, [100, 110]), make_case(10, [90], "disaggregated", caching=True)
    )


def test_what_is_written_is_read(tmp_path: Path, measurement: Measurement) -> None:
    results.write(measurement, tmp_path / "m.json")
    assert results.read(tmp_path / "m.json") == measurement


def damage(values: dict[str, Any], how: str) -> None:
    if how == "kind":
        values["kind"] = "something"
    elif how == "format":
        values["format"] = 1
    elif how == "unknown":
        values["load"]["speed"] = 3
    elif how == "type":
        values["cases"][0]["rounds"][0]["seconds"] = "2"
    elif how == "missing":
        del values["environment"]
    elif how == "twice":
        values["cases"].append(values["cases"][0])
    elif how == "seed":
        values["cases"][1]["rounds"][0]["seed"] = values["cases"][0]["rounds"][0]["seed"]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("kind", "its kind is 'something'"),
        ("format", "format 1, and this Forkhouse reads format 2"),
        ("unknown", r"load\.speed"),
        ("type", r"cases\.0\.rounds\.0\.seconds"),
        ("missing", "environment: Field required"),
        ("twice", "a case is given twice"),
        ("seed", "two rounds have the same seed"),
    ],
)
def test_other_files_are_refused(
    how: str, said: str, tmp_path: Path, measurement: Measurement
) -> None:
    path = tmp_path / "m.json"
    results.write(measurement, path)
    values = json.loads(path.read_text(encoding="utf-8"))
    damage(values, how)
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(DocumentError, match=said):
        results.read(path)


@pytest.mark.parametrize("text", ["", "[]", "{", '"text"'])
def test_no_measurement_at_all_is_said_so(text: str, tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(text, encoding="utf-8")
    with pytest.raises(DocumentError, match="not a measurement"):
        results.read(tmp_path / "m.json")


def test_half_a_file_is_refused(tmp_path: Path, measurement: Measurement) -> None:
    path = tmp_path / "m.json"
    results.write(measurement, path)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(DocumentError, match="not a measurement"):
        results.read(path)


def test_a_measurement_is_of_a_cpu_when_it_is_said_or_there_is_no_gpu(
    make_case: Callable[..., Case], make_measurement: Callable[..., Measurement]
) -> None:
    case = make_case(0, [1])
    assert make_measurement(case, device="cpu").environment.on_cpu
    assert make_measurement(case, device=None).environment.on_cpu
    assert not make_measurement(case, device="mi210").environment.on_cpu
    assert not make_measurement(case, device=None, machine=None).environment.on_cpu
