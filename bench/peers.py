"""Run the usual patching tools, each on a scratch work tree with only the files of the patch."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

NAME = "0001-twin.patch"


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A textual patch and the files it is to be applied to."""

    files: Mapping[str, bytes]
    """What the base has of the files that the patch names."""
    patch: bytes
    objects: Path | None = None
    """The `objects` folder of a repository with the files as the patch knew them.

    What a 3-way merge starts from.
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """What a tool made of a case."""

    claimed: bool
    """The tool says that it applied the patch (its exit status is 0)."""
    files: Mapping[str, bytes]
    """The named files afterwards; one that is missing here was removed, or never there."""
    fuzzy: bool
    """The tool says that it put a hunk where its context is another."""
    said: str
    """The last line of what the tool printed."""


def environment() -> dict[str, str]:
    """Return an environment in which nobody's settings change what a tool does."""
    identity = {
        f"GIT_{role}_{key}": value
        for role in ("AUTHOR", "COMMITTER")
        for key, value in (("NAME", "Peer"), ("EMAIL", "peer@localhost"))
    }
    return {
        "PATH": os.environ["PATH"],
        "HOME": tempfile.gettempdir(),
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        **identity,
    }


def run(
    folder: Path, *command: str, data: bytes | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a tool in a folder."""
    return subprocess.run(
        command,
        cwd=folder,
        env=environment(),
        input=data,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )


def start_repository(folder: Path, objects: Path | None = None) -> None:
    """Make a repository of the folder's files, all of them staged.

    A repository of its own is needed: inside another checkout `git apply` takes the paths for
    somebody else's, skips them all and exits 0.
    """
    must(run(folder, "git", "init", "--quiet"))
    if objects is not None:
        (folder / ".git/objects/info/alternates").write_text(f"{objects}\n", encoding="utf-8")
    must(run(folder, "git", "add", "--all", "--force"))


def must(result: subprocess.CompletedProcess[bytes]) -> subprocess.CompletedProcess[bytes]:
    """Return the result of a step that is no part of what is measured.

    Raises RuntimeError when it failed.
    """
    if result.returncode != 0:
        message = f"{result.args}: {result.stdout.decode(errors='replace')}"
        raise RuntimeError(message)
    return result


def named_paths(patch: bytes) -> list[str]:
    """Return the paths that a git-format patch names."""
    found = re.findall(
        rb"^(?:--- a/|\+\+\+ b/|rename from |rename to )(.+?)\t?$", patch, flags=re.MULTILINE
    )
    return sorted({path.decode() for path in found})


def _replay(case: Case, act: Callable[[Path], subprocess.CompletedProcess[bytes]]) -> Replay:
    paths = sorted({*case.files, *named_paths(case.patch)})
    with tempfile.TemporaryDirectory(prefix="forkhouse-peer-") as scratch:
        folder = Path(scratch, "tree")
        folder.mkdir()
        for path, content in case.files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        result = act(folder)
        files = {path: (folder / path).read_bytes() for path in paths if (folder / path).is_file()}
    output = result.stdout.decode(errors="replace").strip()
    return Replay(
        claimed=result.returncode == 0,
        files=files,
        fuzzy=bool(re.search(r"with fuzz \d", output)),
        said=output.rpartition("\n")[2],
    )


def _git(case: Case, *options: str) -> Replay:
    def act(folder: Path) -> subprocess.CompletedProcess[bytes]:
        start_repository(folder, case.objects)
        return run(folder, "git", "apply", *options, "-", data=case.patch)

    return _replay(case, act)


def git_apply(case: Case) -> Replay:
    """Apply with `git apply`, which wants every line of the context but takes it at other lines."""
    return _git(case)


def git_apply_3way(case: Case) -> Replay:
    """Apply with `git apply -3`, which merges with the files as the patch knew them."""
    return _git(case, "-3")


def gnu_patch(case: Case) -> Replay:
    """Apply with GNU patch as build scripts call it.

    Its default fuzz, never in reverse, no questions.
    """
    return _replay(
        case,
        lambda folder: run(
            folder,
            "patch",
            "-p1",
            "--forward",
            "--batch",
            "--no-backup-if-mismatch",
            data=case.patch,
        ),
    )


def quilt(case: Case) -> Replay:
    """Push a series of one patch with quilt."""

    def act(folder: Path) -> subprocess.CompletedProcess[bytes]:
        make_quilt_series(folder, {NAME: case.patch})
        return run(folder, "quilt", "--quiltrc", "-", "push", "-a")

    return _replay(case, act)


def make_quilt_series(folder: Path, patches: Mapping[str, bytes]) -> None:
    """Write a series where quilt looks for it."""
    (folder / "patches").mkdir()
    for name, content in patches.items():
        (folder / "patches" / name).write_bytes(content)
    (folder / "patches/series").write_text(
        "".join(f"{name}\n" for name in patches), encoding="utf-8"
    )


PEERS: Mapping[str, Callable[[Case], Replay]] = {
    "git apply": git_apply,
    "git apply -3": git_apply_3way,
    "GNU patch": gnu_patch,
    "quilt": quilt,
}


def missing(tools: Sequence[str] = ("git", "patch", "quilt")) -> list[str]:
    """Return those tools that are not on the PATH."""
    return [
        tool
        for tool in tools
        if not any(Path(folder, tool).is_file() for folder in os.get_exec_path())
    ]
