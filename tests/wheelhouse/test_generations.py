"""Installations side by side, made and changed by real processes."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from forkhouse.core.errors import BusyError, ClosureError, InstallError, UsageError
from forkhouse.wheelhouse.contents import read_contents
from forkhouse.wheelhouse.generations import (
    add_generation,
    list_generations,
    prune,
    roll_back,
)
from forkhouse.wheelhouse.install import install_wheelhouse
from tests.wheelhouse.conftest import built_wheel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.wheelhouse.conftest import Draft


def answer(prefix: Path) -> str:
    """Return what the installed module says, by the prefix itself."""
    program = "import demo, sys; print(demo.ANSWER, sys.prefix)"
    said = subprocess.run(
        [prefix / "bin/python", "-c", program], capture_output=True, text=True, check=True, env={}
    )
    number, place = said.stdout.split()
    assert place == str(prefix)
    return number


@pytest.fixture
def release(draft: Draft, make_wheel: Callable[..., Path]) -> Callable[[str, str], None]:
    """Publish another release of the wheel of ours."""

    def make(version: str, code: str) -> None:
        wheel = make_wheel(
            "demo-rocm",
            f"{version}+rocm.1",
            {"demo.py": code.encode()},
            metadata=("Requires-Dist: helper>=2",),
        )
        draft.built = [built_wheel(wheel)]
        draft.publish()

    return make


def test_an_upgrade_keeps_the_old_one_and_can_be_taken_back(
    draft: Draft, release: Callable[[str, str], None], tmp_path: Path
) -> None:
    prefix = tmp_path / "stack"
    release("1.0", "ANSWER = 1\n")
    assert install_wheelhouse(draft.folder, prefix) == prefix / "bin/python"
    release("2.0", "ANSWER = 2\n")
    install_wheelhouse(draft.folder, prefix)
    assert answer(prefix) == "2"
    assert [(each.number, each.current) for each in list_generations(prefix)] == [
        (1, False),
        (2, True),
    ]
    assert len({each.sums for each in list_generations(prefix)}) == 2
    assert roll_back(prefix, None).number == 1
    assert answer(prefix) == "1"
    with pytest.raises(UsageError, match=r"no installation before the current one.*1, 2"):
        roll_back(prefix, None)
    assert roll_back(prefix, 2).number == 2
    assert answer(prefix) == "2"
    with pytest.raises(UsageError, match="with the number 7"):
        roll_back(prefix, 7)


def test_what_cannot_be_imported_leaves_the_old_one_current(
    draft: Draft, release: Callable[[str, str], None], tmp_path: Path
) -> None:
    prefix = tmp_path / "stack"
    release("2.0", "import no_such_library\n")
    with pytest.raises(InstallError, match=r"(?s)no_such_library.*Nothing was left"):
        install_wheelhouse(draft.folder, prefix)
    assert not prefix.exists()
    release("1.0", "ANSWER = 1\n")
    install_wheelhouse(draft.folder, prefix)
    release("2.0", "import no_such_library\n")
    with pytest.raises(InstallError, match=r"(?s)no_such_library.*Installation 1 stays current"):
        install_wheelhouse(draft.folder, prefix)
    assert answer(prefix) == "1"
    assert len(list((prefix / "generations").iterdir())) == 1


def test_what_a_killed_run_left_is_never_current_and_goes(
    draft: Draft, release: Callable[[str, str], None], tmp_path: Path
) -> None:
    prefix = tmp_path / "stack"
    release("1.0", "ANSWER = 1\n")
    install_wheelhouse(draft.folder, prefix)
    (prefix / "generations/2/bin").mkdir(parents=True)
    assert [each.number for each in list_generations(prefix)] == [1]
    with pytest.raises(UsageError):
        roll_back(prefix, 2)
    install_wheelhouse(draft.folder, prefix)
    assert [each.number for each in list_generations(prefix)] == [1, 3]
    assert answer(prefix) == "1"
    assert not (prefix / "generations/2").exists()


def test_what_somebody_else_put_there_is_neither_removed_nor_counted(
    draft: Draft, release: Callable[[str, str], None], tmp_path: Path
) -> None:
    prefix = tmp_path / "stack"
    release("1.0", "ANSWER = 1\n")
    install_wheelhouse(draft.folder, prefix)
    theirs = prefix / "generations"
    (theirs / "backup").mkdir()
    (theirs / "backup/precious").touch()
    (theirs / "notes.txt").touch()
    (theirs / "07").mkdir()
    (theirs / "9").symlink_to(tmp_path)
    install_wheelhouse(draft.folder, prefix)
    assert prune(prefix, 1)
    assert sorted(os.listdir(theirs)) == ["07", "2", "9", "backup", "notes.txt"]
    assert (theirs / "backup/precious").is_file()


@pytest.mark.parametrize(
    "record",
    [
        "",
        "[]",
        '{"number": 1}',
        '{"number": 9, "profile": "cpu", "sums": "0", "installed": "x"}',
        '{"number": 1, "profile": 2, "sums": "0", "installed": "x"}',
    ],
)
def test_an_installation_with_a_damaged_record_is_left_out_and_not_removed(
    tmp_path: Path, record: str
) -> None:
    for number in (1, 2):
        folder = tmp_path / f"generations/{number}"
        folder.mkdir(parents=True)
        good = {"number": number, "profile": "cpu", "sums": "0", "installed": "x"}
        (folder / "generation.json").write_text(json.dumps(good), encoding="utf-8")
    (tmp_path / "generations/1/generation.json").write_text(record, encoding="utf-8")
    assert [each.number for each in list_generations(tmp_path)] == [2]
    assert prune(tmp_path, 1) == []
    with pytest.raises(UsageError, match="with the number"):
        roll_back(tmp_path, 1)
    assert sorted(os.listdir(tmp_path / "generations")) == ["1", "2"]


@pytest.mark.parametrize(
    "leads", ["generations/9", "elsewhere/generations/1", "/usr", "../generations/1", "1"]
)
def test_a_link_to_something_else_is_no_current_one(tmp_path: Path, leads: str) -> None:
    folder = tmp_path / "generations/1"
    folder.mkdir(parents=True)
    good = {"number": 1, "profile": "cpu", "sums": "0", "installed": "x"}
    (folder / "generation.json").write_text(json.dumps(good), encoding="utf-8")
    (tmp_path / "current").symlink_to(leads)
    assert [(each.number, each.current) for each in list_generations(tmp_path)] == [(1, False)]
    assert roll_back(tmp_path, 1).number == 1
    assert [(each.number, each.current) for each in list_generations(tmp_path)] == [(1, True)]


def test_the_current_one_is_never_taken_for_unfinished(
    draft: Draft, release: Callable[[str, str], None], tmp_path: Path
) -> None:
    prefix = tmp_path / "stack"
    release("1.0", "ANSWER = 1\n")
    install_wheelhouse(draft.folder, prefix)
    (prefix / "generations/1/generation.json").unlink()
    assert prune(prefix, 1) == []
    assert answer(prefix) == "1"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (name, kind)
        for name in ("current", "bin", "lib", "pyvenv.cfg")
        for kind in ("folder", "file", "link")
        if (name, kind) != ("current", "link")  # that may be replaced, as `rollback` does
    ],
)
def test_what_has_the_place_of_a_link_is_told_before_anything_is_made(
    tmp_path: Path, name: str, kind: str
) -> None:
    prefix = tmp_path / "stack"
    (prefix / "generations").mkdir(parents=True)
    if kind == "folder":
        (prefix / name).mkdir()
    elif kind == "file":
        (prefix / name).touch()
    else:
        (prefix / name).symlink_to("/usr/bin")
    with pytest.raises(UsageError, match=rf"{name} .*Move it away"):
        add_generation(prefix, tmp_path, profile="cpu", install=(), make=lambda path: path.mkdir())
    assert os.listdir(prefix / "generations") == []
    assert os.path.lexists(prefix / name)


def test_a_run_that_lost_the_race_for_a_new_prefix_removes_nothing(
    draft: Draft, tmp_path: Path
) -> None:
    """Both saw that there is no prefix; the other one has made and holds it now."""
    prefix = tmp_path / "stack"

    def lost() -> None:
        add_generation(prefix, draft.folder, profile="cpu", install=(), make=lambda _: None)

    def make(folder: Path) -> None:
        folder.mkdir()
        with pytest.raises(BusyError):
            lost()
        assert folder.is_dir()
        message = "enough"
        raise InstallError(message)

    with pytest.raises(InstallError, match="enough"):
        add_generation(prefix, draft.folder, profile="cpu", install=(), make=make)
    assert not prefix.exists()


def test_old_ones_are_removed_but_never_the_current(
    draft: Draft, release: Callable[[str, str], None], tmp_path: Path
) -> None:
    prefix = tmp_path / "stack"
    release("1.0", "ANSWER = 1\n")
    for _ in range(4):
        install_wheelhouse(draft.folder, prefix)
    roll_back(prefix, 1)
    assert [each.number for each in prune(prefix, 2)] == [2]
    assert [each.number for each in list_generations(prefix)] == [1, 3, 4]
    assert answer(prefix) == "1"
    roll_back(prefix, 4)
    assert [each.number for each in prune(prefix, 1)] == [1, 3]
    assert answer(prefix) == "1"


@pytest.mark.parametrize("keep", [3, 4, 5, 100])
def test_where_fewer_are_there_than_are_to_stay_all_stay(tmp_path: Path, keep: int) -> None:
    for number in (1, 2, 3):
        folder = tmp_path / f"generations/{number}"
        folder.mkdir(parents=True)
        good = {"number": number, "profile": "cpu", "sums": "0", "installed": "x"}
        (folder / "generation.json").write_text(json.dumps(good), encoding="utf-8")
    (tmp_path / "current").symlink_to("generations/3")
    assert prune(tmp_path, keep) == []
    assert [each.number for each in list_generations(tmp_path)] == [1, 2, 3]


def test_two_runs_do_not_meet(
    draft: Draft, release: Callable[[str, str], None], tmp_path: Path
) -> None:
    prefix = tmp_path / "stack"
    release("1.0", "ANSWER = 1\n")
    install_wheelhouse(draft.folder, prefix)
    with (prefix / ".generations.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        for work in (
            lambda: install_wheelhouse(draft.folder, prefix),
            lambda: roll_back(prefix, 1),
            lambda: prune(prefix, 1),
        ):
            with pytest.raises(BusyError, match="Another run works on"):
                work()
    assert answer(prefix) == "1"


def test_a_folder_of_something_else_is_left_alone(draft: Draft, tmp_path: Path) -> None:
    draft.publish()
    other = tmp_path / "other"
    other.mkdir()
    (other / "precious").touch()
    with pytest.raises(UsageError, match="exists"):
        install_wheelhouse(draft.folder, other)
    for work in (list_generations, lambda folder: roll_back(folder, None)):
        with pytest.raises(UsageError, match="holds no installations"):
            work(other)
    assert os.listdir(other) == ["precious"]


def test_the_current_link_is_always_there(
    draft: Draft, release: Callable[[str, str], None], tmp_path: Path
) -> None:
    """Whoever starts a process meanwhile gets the old one or the new one."""
    prefix = tmp_path / "stack"
    release("1.0", "ANSWER = 1\n")
    install_wheelhouse(draft.folder, prefix)
    install_wheelhouse(draft.folder, prefix)
    program = (
        "import os, sys\n"
        "seen = set()\n"
        "print('ready', flush=True)\n"
        "while not os.path.exists(sys.argv[2]): seen.add(os.readlink(sys.argv[1]))\n"
        "print(sorted(seen))\n"
    )
    watcher = subprocess.Popen(
        ["python3", "-c", program, prefix / "current", tmp_path / "stop"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert watcher.stdout is not None
    try:
        assert watcher.stdout.readline() == "ready\n"
        for number in (1, 2) * 50:
            roll_back(prefix, number)
    finally:
        (tmp_path / "stop").touch()
        said, _ = watcher.communicate(timeout=30)
    assert watcher.returncode == 0
    assert said == "['generations/1', 'generations/2']\n"


def test_a_slim_wheelhouse_installs_without_what_it_leaves_out(
    draft: Draft, release: Callable[[str, str], None], tmp_path: Path
) -> None:
    helper = draft.third_party.pop()
    with pytest.raises(ClosureError, match=r"helper>=2 .* is not there"):
        release("1.0", "ANSWER = 1\n")
    draft.omitted = {"helper": "Only pictures need it."}
    release("1.0", "ANSWER = 1\n")
    contents = read_contents(draft.folder)
    assert contents.omitted == {"helper": "Only pictures need it."}
    assert [wheel.name for wheel in contents.wheels] == ["demo-rocm"]
    install_wheelhouse(draft.folder, tmp_path / "stack")
    assert answer(tmp_path / "stack") == "1"
    # What is needed after all shows before it becomes current.
    release("2.0", "import helper\n")
    with pytest.raises(InstallError, match=r"(?s)No module named 'helper'.*1 stays current"):
        install_wheelhouse(draft.folder, tmp_path / "stack")
    draft.third_party.append(helper)
    draft.omitted = {}
    release("2.0", "import helper\nANSWER = 2\n")
    install_wheelhouse(draft.folder, tmp_path / "stack")
    assert answer(tmp_path / "stack") == "2"
