from __future__ import annotations

from typing import TYPE_CHECKING

from forkhouse.core.digests import digest, digest_folder, sha256_file

if TYPE_CHECKING:
    from pathlib import Path


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
