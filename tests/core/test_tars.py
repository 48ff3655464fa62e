"""Archives are read with the filters of PEP 706 by a Python that has none, too."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

OLD = """
import sys, tarfile
for place, name in ((tarfile, "data_filter"), (tarfile.TarInfo, "replace")):
    if hasattr(place, name):
        delattr(place, name)
from pathlib import Path
from forkhouse.core.errors import UnsafeArchiveError
from forkhouse.sources.archives import read_tar
try:
    print([each.path for each in read_tar(Path(sys.argv[1]))[0]])
except UnsafeArchiveError as error:
    print("refused:", error)
"""
"""Reads an archive by a Python such as 3.11.2."""


@pytest.mark.parametrize(
    ("link", "said"),
    [
        (None, "['a.py']\n"),
        ("b.py", "['a.py', 'link']\n"),
        ("../../etc/passwd", "refused: demo-1.0.tar.gz: 'link' would link to "),
    ],
)
def test_an_old_python_reads_and_refuses_as_a_new_one(
    tmp_path: Path, link: str | None, said: str
) -> None:
    (tmp_path / "a.py").write_text("x = 1\n", encoding="utf-8")
    path = tmp_path / "demo-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(tmp_path / "a.py", "demo-1.0/a.py")
        if link is not None:
            info = tarfile.TarInfo("demo-1.0/link")
            info.type, info.linkname = tarfile.SYMTYPE, link
            archive.addfile(info)
    result = subprocess.run(
        [sys.executable, "-c", OLD, path], capture_output=True, text=True, check=False
    )
    assert result.stdout.startswith(said), result.stdout + result.stderr


def test_a_cut_archive_is_refused_by_an_old_python(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"x" * 5000)
    path = tmp_path / "demo-1.0.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(tmp_path / "a.py", "demo-1.0/a.py")
    path.write_bytes(path.read_bytes()[:2000])
    result = subprocess.run(
        [sys.executable, "-c", OLD, path], capture_output=True, text=True, check=False
    )
    assert result.stdout.startswith("refused: demo-1.0.tar: "), result.stdout + result.stderr
