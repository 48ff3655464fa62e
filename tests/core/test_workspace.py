from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from forkhouse.core.errors import BusyError, StorageError, UsageError
from forkhouse.core.storage import fresh_folder, write_atomic
from forkhouse.core.workspace import Workspace, exclusive, find_workspace

if TYPE_CHECKING:
    from pathlib import Path

HOLDER = """
import sys, time
from pathlib import Path
from forkhouse.core.workspace import Workspace, exclusive
with exclusive(Workspace(root=Path(sys.argv[1]), cache=Path(sys.argv[1])), wait=0):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(root=tmp_path, cache=tmp_path / "cache")


def test_finds_the_checkout_from_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "upstream.lock").touch()
    (tmp_path / "a/b").mkdir(parents=True)
    monkeypatch.setenv("FORKHOUSE_CACHE", str(tmp_path / "elsewhere"))
    found = find_workspace(tmp_path / "a/b")
    assert found == Workspace(root=tmp_path, cache=tmp_path / "elsewhere")
    assert found.lock_path == tmp_path / "upstream.lock"
    assert found.wheelhouse("cpu") == tmp_path / "wheels/cpu"
    assert found.closure_path("cpu") == tmp_path / "pylock.cpu.toml"


def test_outside_a_checkout_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"No upstream\.lock in .* or above it.*--root DIR"):
        find_workspace(tmp_path)


def test_a_full_disk_that_has_no_room_for_a_folder_is_explained(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,nr_inodes=1", small_disk], check=True)
    with pytest.raises(StorageError, match=r"Writing file: No space left on device"):
        write_atomic(small_disk / "folder/file", b"x")
    with (
        pytest.raises(StorageError, match=r"Making work: No space left on device"),
        fresh_folder(small_disk / "work"),
    ):
        pytest.fail("a folder on a full disk")
    full = Workspace(root=small_disk, cache=small_disk)
    with (
        pytest.raises(StorageError, match=r"Making build/: No space left on device"),
        exclusive(full, wait=0),
    ):
        pytest.fail("a folder on a full disk")


def test_a_second_run_is_told_who_is_working(workspace: Workspace) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(workspace.root)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(
                BusyError,
                match=rf"Process {holder.pid} is working in this checkout.*--wait SECONDS",
            ),
            exclusive(workspace, wait=0),
        ):
            pytest.fail("two runs hold the checkout")
        # The kernel frees the lock with the process, however it ends.
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with exclusive(workspace, wait=5):
            assert (workspace.build / "lock.pid").read_text(encoding="utf-8") == f"{os.getpid()}\n"


def test_a_run_waits_for_another_as_long_as_it_is_told(workspace: Workspace) -> None:
    with exclusive(workspace, wait=0):
        started = time.monotonic()
        other = [sys.executable, "-c", HOLDER.replace("wait=0", "wait=0.3"), str(workspace.root)]
        result = subprocess.run(other, capture_output=True, text=True, check=False)
        assert "did not end within 0.3 s" in result.stderr
        assert time.monotonic() - started >= 0.3


def test_what_killed_runs_left_half_written_is_collected_once_it_is_old(
    workspace: Workspace,
) -> None:
    names = {
        workspace.cache / "files": [".demo-1.0.tar.gz.abcd_123"],
        workspace.cache / "crates/.new-abcd1234": ["crate"],
        workspace.build / "journal/source": [".aa.json.abcd1234"],
        workspace.build / "store.git/objects/pack": [".pack-aa.pack.abcd1234"],
        workspace.root: [".upstream.lock.abcd1234", ".pylock.cpu.toml.abcd1234"],
        workspace.root / "patches/demo": [".series.abcd1234", ".0001-a.edit.yaml.abcd1234"],
    }
    late = workspace.cache / "files/.late-1.0.tar.gz.abcd_125"
    kept = {
        workspace.cache / "files": ["demo-1.0.tar.gz", ".other-1.0.tar.gz.abcd_124"],
        workspace.root: [".my.settings", ".gitignore"],
        workspace.root / "patches/demo": [".notes.template"],
        workspace.build / "work": [".of.upstream"],
    }
    for folder, files in [*names.items(), *kept.items()]:
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            (folder / file).write_text("half", encoding="utf-8")
            os.utime(folder / file, (1_000_000_000, 1_000_000_000))
    os.utime(workspace.cache / "crates/.new-abcd1234", (1_000_000_000, 1_000_000_000))
    late.write_text("half", encoding="utf-8")
    os.utime(late, (4_000_000_000, 4_000_000_000))  # of a clock that was wrong
    os.utime(
        workspace.cache / "files/.other-1.0.tar.gz.abcd_124"
    )  # a run that is alive may write to it
    with exclusive(workspace, wait=1):
        pass
    assert not [
        file for folder, files in names.items() for file in files if (folder / file).exists()
    ]
    assert not (workspace.cache / "crates/.new-abcd1234").exists()
    assert not late.exists()
    assert [
        file for folder, files in kept.items() for file in files if not (folder / file).exists()
    ] == []
