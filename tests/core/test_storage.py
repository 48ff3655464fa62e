from __future__ import annotations

import errno
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from forkhouse.core.errors import BusyError, StorageError
from forkhouse.core.storage import (
    discard,
    fresh_folder,
    locked_scratch,
    storage_errors,
    write_atomic,
)

if TYPE_CHECKING:
    from pathlib import Path


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


def test_a_scratch_folder_is_of_one_run_and_gone_afterwards(tmp_path: Path) -> None:
    folder = tmp_path / "new/.scratch"
    folder.mkdir(parents=True)
    (folder / "of-a-killed-run").mkdir()
    with locked_scratch(folder):
        assert not list(folder.iterdir())
        (folder / "file").touch()
        with pytest.raises(BusyError, match="Another run works in"), locked_scratch(folder):
            pass
        assert (folder / "file").is_file()
    assert not folder.exists()
    with pytest.raises(ValueError, match="int"), locked_scratch(folder):
        int("x")
    assert not folder.exists()
    folder.symlink_to(tmp_path)
    with pytest.raises(StorageError, match="scratch"), locked_scratch(folder):
        pass
    assert folder.is_symlink()


def test_a_read_only_place_is_not_told_to_be_full(tmp_path: Path) -> None:
    with (
        pytest.raises(
            StorageError,
            match=r"Read-only file system \(.*cache\)\. The wheelhouse is as it was\. Let it be "
            r"written to",
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
