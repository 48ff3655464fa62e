"""Notes in what is built from which commit it is."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent / "src"))

from forkhouse.core.revision import NAME, checked_out  # the line above


class CommitHook(BuildHookInterface):  # type: ignore[type-arg]  # of what, nobody asks here
    """Adds a file that names the commit. It is written elsewhere: the checkout stays as it is."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the file, where the commit is known.

        An editable installation looks at the checkout itself. What was built from is given as it
        is known without git; that something was changed since the commit, git says where it is.
        """
        root = Path(self.root)
        commit = checked_out(root)
        if version == "editable" or commit is None:
            return
        self.scratch = Path(tempfile.mkdtemp(prefix="forkhouse-commit-"))
        file = self.scratch / NAME
        changed = " with changes" if _is_changed(root) else ""
        file.write_text(f"{commit[:12]}{changed}\n", encoding="utf-8")
        top = "forkhouse" if self.target_name == "wheel" else "src/forkhouse"
        build_data["force_include"][str(file)] = f"{top}/{NAME}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was written."""
        if hasattr(self, "scratch"):
            shutil.rmtree(self.scratch)


def _is_changed(root: Path) -> bool:
    command = ["git", "--no-optional-locks", "status", "--porcelain"]
    try:
        result = subprocess.run(command, cwd=root, capture_output=True, check=False)
    except OSError:
        return False
    return bool(result.stdout)
