from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from forkhouse.core.errors import BusyError, StorageError, UsageError
from forkhouse.core.journal import Journal, Record, Stage
from forkhouse.core.progress import showing
from forkhouse.core.workspace import (
    Workspace,
    digest,
    digest_folder,
    discard,
    exclusive,
    find_workspace,
    fresh_folder,
    sha256_file,
    storage_errors,
    write_atomic,
)

if TYPE_CHECKING:
    from collections.abc import Callable
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


def test_writes_whole_files_that_others_may_read(tmp_path: Path) -> None:
    path = tmp_path / "new/file"
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(path.parent.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_content_and_no_temporary(small_disk: Path) -> None:
    path = small_disk / "file"
    write_atomic(path, b"old")
    with pytest.raises(
        StorageError, match=r"Writing file: No space left on device.*Free some space"
    ):
        write_atomic(path, b"x" * 400_000)
    assert path.read_bytes() == b"old"
    assert list(small_disk.iterdir()) == [path]


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


def test_digests_tell_inputs_apart(tmp_path: Path) -> None:
    assert digest("a", {"x": 1, "y": 2}) == digest("a", {"y": 2, "x": 1})
    assert (
        len(
            {
                digest(),
                digest("a"),
                digest("a", "b"),
                digest("ab"),
                digest(["a", "b"]),
                digest(1),
                digest("1"),
                digest(None),
            }
        )
        == 8
    )
    (tmp_path / "f/g").mkdir(parents=True)
    (tmp_path / "f/g/one").write_text("1", encoding="utf-8")
    before = digest_folder(tmp_path / "f")
    (tmp_path / "f/__pycache__").mkdir()
    (tmp_path / "f/__pycache__/one.pyc").write_text("1", encoding="utf-8")
    assert digest_folder(tmp_path / "f") == before
    (tmp_path / "f/g/one").rename(tmp_path / "f/g/two")
    assert digest_folder(tmp_path / "f") != before
    assert (
        sha256_file(tmp_path / "f/g/two")
        == "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
    )


def test_a_fresh_folder_is_empty_and_kept_only_after_a_failure(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    with fresh_folder(folder):
        (folder / "file").touch()
    assert not folder.exists()
    with pytest.raises(FileNotFoundError), fresh_folder(folder):
        (folder / "nothing").unlink()
    assert folder.exists()
    with fresh_folder(folder):
        assert not list(folder.iterdir())


class Built(Record):
    file: str


BUILD = Stage("build", Built)


def test_the_journal_gives_back_what_a_stage_recorded(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert journal.get(BUILD, "k") is None
    journal.put(BUILD, "k", Built(file="a.whl"))
    assert Journal(tmp_path).get(BUILD, "k") == Built(file="a.whl")
    assert journal.get(Stage("patch", Built), "k") is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace("a.whl", "b.whl"),
        lambda text: text.replace('"file"', '"fold"'),
        lambda text: text.replace('"seal": "', '"seal": "0'),
        lambda _: "[]",
        lambda _: "null",
        lambda _: '{"file": "a.whl", "seal": 1}',
        lambda _: "[" * 100_000,
        lambda text: text[:-20],
    ],
)
def test_a_journal_entry_that_is_not_as_it_was_written_counts_as_none(
    tmp_path: Path, damage: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    journal = Journal(tmp_path)
    journal.put(BUILD, "k", Built(file="a.whl"))
    path = tmp_path / "build/k.json"
    path.write_text(damage(path.read_text(encoding="utf-8")), encoding="utf-8")
    with showing():
        assert journal.get(BUILD, "k") is None
        assert journal.get(BUILD, "k") is None
    assert capsys.readouterr().err.count("build/k.json is damaged") == 1


def test_an_entry_of_another_kind_counts_as_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Older(Record):
        file: str
        name: str

    journal = Journal(tmp_path)
    journal.put(Stage("build", Older), "k", Older(file="a.whl", name="a"))
    with showing():
        assert journal.get(BUILD, "k") is None
    assert "damaged" not in capsys.readouterr().err


def test_an_entry_under_another_name_counts_as_none(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.put(BUILD, "k", Built(file="a.whl"))
    (tmp_path / "build/k.json").rename(tmp_path / "build/other.json")
    assert journal.get(BUILD, "other") is None


def test_a_journal_entry_that_a_broken_disk_left_counts_as_none(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.put(BUILD, "k", Built(file="a.whl"))
    next(tmp_path.rglob("k.json")).write_bytes(b"\0" * 8)
    assert journal.get(BUILD, "k") is None


def test_a_read_only_place_is_not_told_to_be_full(tmp_path: Path) -> None:
    with (
        pytest.raises(
            StorageError,
            match=r"Read-only file system \(.*cache\)\. The wheelhouse is as it was\. Let it be written to",
        ),
        storage_errors("Keeping"),
    ):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(tmp_path / "cache"))


def test_whatever_a_folder_holds_it_can_be_discarded(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    program = (
        "import os\n"
        "for _ in range(3000): os.mkdir('d'); os.chdir('d')\n"
        "os.symlink('/', 'link'); open('file', 'w').close(); os.chmod('.', 0o500)\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=top, check=True)
    (tmp_path / "kept").touch()
    discard(top)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    discard(top)


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
