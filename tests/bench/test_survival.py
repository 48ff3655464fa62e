from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bench import oracle
from bench.history import Library, subjects
from bench.oracle import Target
from bench.peers import missing
from bench.survival import OURS, Row, losses, replay, summary, table
from forkhouse.documents.lockfile import Lock
from forkhouse.documents.reading import parse
from forkhouse.patches.series import Patch, read_series
from forkhouse.sources.store import ObjectStore, TreeFile, file_mode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from forkhouse.sources.index import Registry

HEADER = "Description: d\nOrigin: vendor\nForwarded: no\nRetire-When: never\n"
EDIT = f"""Subject: Ask what device there is
{HEADER}edits:
  - path: demo/link.py
    language: python
    operations:
      - replace: {{pattern: 'open_link("cuda", $SIZE)'}}
        with: open_link(device(), $SIZE)
after:
  - absent: {{text: '"cuda"', in: "demo/**"}}
"""
BODY = [f"    step_{number} = prepare({number})" for number in range(12)]


def module(
    call: str = '    link = open_link("cuda", size)', *, near: str = BODY[7], name: str = "connect"
) -> bytes:
    lines = [f"def {name}(size):", *BODY[:6], call, BODY[6], near, *BODY[8:], "    return link", ""]
    return "\n".join(lines).encode()


@pytest.fixture
def series(tmp_path: Path) -> tuple[Patch, ...]:
    folder = tmp_path / "patches"
    folder.mkdir()
    (folder / "series").write_text("0001-device.edit.yaml\n")
    (folder / "0001-device.edit.yaml").write_text(EDIT)
    return read_series(folder)


@pytest.fixture
def rows(
    tmp_path: Path,
    series: tuple[Patch, ...],
    registry: Registry,
    make_sdist: Callable[..., Path],
    publish: Callable[..., str],
) -> dict[str, Row]:
    """Replay one edit over some releases of a package on a local index."""
    if missing():
        pytest.skip(f"not installed: {', '.join(missing())}")
    files = {
        "0.1": {"demo/other.py": b"pass\n"},
        "0.2": {"demo/link.py": module(near="    # another neighbour")},
        "1.0": {"demo/link.py": module()},
        "1.1": {"demo/wire.py": module(near="    # another neighbour")},
        "1.2": {
            "demo/link.py": module('    link = open_link(\n        "cuda",\n        size,\n    )')
        },
        "1.3": {"demo/link.py": module("    link = open_link(device(), size)")},
        # What the edit is about stands twice: the diff changes one of them.
        "1.4": {
            "demo/link.py": module() + b"\n\n" + module(name="again").replace(b"step", b"stage")
        },
    }
    digests = {
        version: publish(make_sdist(version=version, files=content))
        for version, content in files.items()
    }
    lock = parse(
        Lock,
        f"""
format: 1
python: ">=3.11"
rocm: ">=5"
gpu-targets: [gfx90a]
upstreams:
  demo:
    version: "1.0"
    licence: MIT
    why: It is small.
    sources:
      - {{kind: sdist, package: demo, file: demo-1.0.tar.gz, sha256: {digests["1.0"]}}}
profiles: {{}}
""",
        name="lock",
    )
    (subject,) = subjects(lock, {"demo": series})
    found = replay(subject, Library(tmp_path / "bench", registry), lock, limit=60, span=13)
    return {row.release: row for row in found}


def test_every_release_but_the_pin_is_replayed_with_every_tool(rows: dict[str, Row]) -> None:
    assert sorted(rows) == ["0.1", "0.2", "1.1", "1.2", "1.3", "1.4"]
    assert [rows[version].releases_away for version in sorted(rows)] == [-2, -1, 1, 2, 3, 4]
    assert {version: str(row.verdict) for version, row in rows.items()} == {
        "0.1": "conflict",  # its file is not in the sdist, which a packager may have left out
        "0.2": "merged",
        "1.1": "restructured",
        "1.2": "restructured",
        "1.3": "upstreamed",
        "1.4": "conflict",
    }
    survived = {
        version: {tool for tool, outcome in row.outcomes.items() if outcome.survived}
        for version, row in rows.items()
    }
    assert survived["0.2"] == {"git apply -3", "GNU patch", "quilt", OURS}
    assert survived["1.1"] == survived["1.2"] == {OURS}
    assert rows["0.2"].outcomes["GNU patch"].fuzzy
    assert rows["0.2"].outcomes["GNU patch"].as_ours


def test_a_tool_that_says_applied_against_the_conditions_is_silently_wrong(
    rows: dict[str, Row],
) -> None:
    wrong = {tool for tool, outcome in rows["1.4"].outcomes.items() if outcome.silently_wrong}
    assert wrong == {"git apply", "git apply -3", "GNU patch", "quilt"}
    assert "must be gone" in rows["1.4"].outcomes["git apply"].fault
    assert not rows["1.4"].outcomes[OURS].claimed


def test_the_report_names_every_loss(rows: dict[str, Row]) -> None:
    every = list(rows.values())
    assert json.loads(json.dumps(summary(every)))["rows"] == 6
    assert "all" in table(every)
    (loss, *_) = [each for each in losses(every) if each["verdict"] == "conflict"]
    assert loss["releases"] == ["1.4"]
    assert "matched 2 times" in str(loss["cause"])


def test_how_much_of_a_target_is_there(series: tuple[Patch, ...], tmp_path: Path) -> None:
    store = ObjectStore(tmp_path / "store")

    def tree(**files: bytes) -> str:
        return store.import_files(
            TreeFile(path=f"demo/{name}.py", content=content, mode=file_mode(0o644))
            for name, content in files.items()
        )

    pin = tree(link=module())
    expected = {
        tree(link=module(near="    pass")): Target.WHOLE,
        tree(wire=module(near="    pass")): Target.WHOLE,
        tree(link=module("    link = connect(size)")): Target.GONE,
        tree(link=b"", far=b"x = 1\n" * 99 + module()): Target.GONE,
        tree(far=b"x = 1\n" * 99 + module()): Target.ELSEWHERE,
        tree(far=b"x = 1\n"): Target.GONE,
    }
    assert {
        base: oracle.target(series[0], base, pin, {}, store=store) for base in expected
    } == expected


def test_a_tree_that_is_unchanged_or_no_longer_python_is_at_fault(
    series: tuple[Patch, ...], tmp_path: Path
) -> None:
    store = ObjectStore(tmp_path / "store")
    trees = {
        name: store.import_files(
            [TreeFile(path="demo/link.py", content=content, mode=file_mode(0o644))]
        )
        for name, content in {
            "base": module(),
            "broken": b"def (:\n",
            "right": module("    link = open_link(device(), size)"),
        }.items()
    }
    found = {
        name: oracle.faults(series[0], trees["base"], tree, {}, store=store)
        for name, tree in trees.items()
    }
    assert found == {
        "base": "nothing was changed",
        "broken": "demo/link.py is no longer Python",
        "right": "",
    }
