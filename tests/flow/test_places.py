"""What the system refuses at the places that Forkhouse writes to and reads from.

Each refusal is explained, and nothing waits for a pipe.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.flow.conftest import copied

if TYPE_CHECKING:
    from tests.flow.conftest import Checkout


def mounted(checkout: Checkout, mounts: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run forkhouse where a shell has mounted file systems, which nobody else sees."""
    if (
        subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode
        != 0
    ):
        pytest.skip("this machine lets nobody mount")
    return checkout.tried(*arguments, mounts=mounts)


def in_shell(checkout: Checkout, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run forkhouse from a shell; `{}` in its command stands for forkhouse's."""
    result = subprocess.run(
        ["sh", "-c", command.format(shlex.join(checkout.command(*arguments)))],
        env=checkout.environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    # One of ours would start its line; a build tool's own stands indented in the end of its log.
    assert not [line for line in result.stderr.splitlines() if line.startswith("Traceback")]
    return result


def read_only(folder: Path) -> str:
    place = shlex.quote(str(folder))
    return f"mount --bind {place} {place} && mount -o remount,bind,ro {place}"


def test_a_cache_that_can_only_be_read_serves_every_command(
    checkout: Checkout, tmp_path: Path
) -> None:
    checkout.build()
    checkout.run("radar", "engine")
    kept = sorted(path.relative_to(checkout.cache) for path in checkout.cache.rglob("*"))
    checkout.upstream.rename(tmp_path / "away")  # what is in the cache needs no host
    for command in (
        ("build", "--dry-run"),
        ("radar", "engine"),
        ("lock", "--check"),
        ("patches", "check", "transport"),
        ("build", "--offline"),
    ):
        subprocess.run(["rm", "-rf", checkout.root / "build", checkout.root / "wheels"], check=True)
        result = mounted(checkout, read_only(checkout.cache), *command)
        assert result.returncode == 0, (command, result.stderr)
        assert (
            f"{checkout.cache} cannot be written to: what it lacks goes to build/cache"
            in result.stderr
        )
    checkout.run("verify")
    assert sorted(path.relative_to(checkout.cache) for path in checkout.cache.rglob("*")) == kept


def test_an_empty_cache_that_can_only_be_read_is_done_without(checkout: Checkout) -> None:
    checkout.cache.mkdir()
    result = mounted(checkout, read_only(checkout.cache), "build")
    assert result.returncode == 0, result.stderr
    assert not list(checkout.cache.iterdir())
    assert list((checkout.root / "build/cache/mirrors").glob("*.git/HEAD"))


def test_a_damaged_cache_that_can_only_be_read_is_not_believed(
    checkout: Checkout, tmp_path: Path
) -> None:
    checkout.build()
    for path in (
        *checkout.cache.rglob("*.whl"),
        *checkout.cache.glob("mirrors/*/objects/pack/*.pack"),
    ):
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-30])
    for path in checkout.cache.glob("mirrors/*/objects/??/*"):
        path.chmod(0o644)
        path.write_bytes(b"")
    subprocess.run(["rm", "-rf", checkout.root / "build", checkout.root / "wheels"], check=True)
    result = mounted(checkout, read_only(checkout.cache), "build")
    assert result.returncode == 0, result.stderr
    checkout.upstream.rename(tmp_path / "away")
    subprocess.run(["rm", "-rf", checkout.root / "build"], check=True)
    assert mounted(checkout, read_only(checkout.cache), "build", "--offline").returncode == 11


@pytest.mark.parametrize("where", ["build", "wheels", "."])
def test_a_folder_that_can_only_be_read_is_named(checkout: Checkout, where: str) -> None:
    (checkout.root / where).mkdir(exist_ok=True)
    result = mounted(checkout, read_only(checkout.root / where), "build")
    assert result.returncode == 31, result.stderr
    assert "Read-only file system" in result.stderr
    assert "Let it be written to" in result.stderr


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("cache", "Not a directory"),
        ("cache/files", "File exists"),
        ("cache/mirrors", "Not a directory"),
        ("cache/locks", "File exists"),
        ("checkout/build/journal", "Not a directory"),
        ("checkout/wheels", "Not a directory"),
    ],
)
def test_a_file_in_the_place_of_a_folder_is_named(
    checkout: Checkout, tmp_path: Path, where: str, why: str
) -> None:
    (tmp_path / where).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / where).touch()
    said = checkout.run("build", code=31).stderr
    assert why in said
    assert f"{tmp_path / where}" in said
    assert "Look at what lies at that path and move it away" in said


def test_what_is_mounted_in_the_way_is_named(checkout: Checkout) -> None:
    checkout.build()
    checkout.edit("recipes/engine/recipe.yaml", "cpu.1", "cpu.2")
    wheels = shlex.quote(str(checkout.root / "wheels/cpu"))
    result = mounted(checkout, f"mount -t tmpfs tmpfs {wheels}", "build")
    assert result.returncode == 31, result.stderr
    assert "Something is mounted there" in result.stderr


def test_a_disk_that_fills_within_a_build_or_an_installation_is_a_full_disk(
    checkout: Checkout, tmp_path: Path
) -> None:
    # What it wrote goes with it, so that there is room for the log.
    body = (
        "    import os\n    try:\n        open('large', 'wb').write(os.urandom(9_000_000))\n    "
        "finally:\n        os.remove('large')\n"
    )
    checkout.edit(
        "recipes/transport/backend.py", "    version = pathlib", f"{body}    version = pathlib"
    )
    build = checkout.root / "build"
    build.mkdir()
    result = mounted(
        checkout, f"mount -t tmpfs -o size=8m tmpfs {shlex.quote(str(build))}", "build"
    )
    assert (result.returncode, "Free some space" in result.stderr) == (31, True), result.stderr
    assert "build_wheel" in result.stderr, "the command that filled it"
    checkout.edit("recipes/transport/backend.py", "9_000_000", "9_000")
    checkout.build()
    (tmp_path / "tiny").mkdir()
    tiny = shlex.quote(str(tmp_path / "tiny"))
    result = mounted(
        checkout,
        f"mount -t tmpfs -o size=100k tmpfs {tiny}",
        "install",
        "--into",
        str(tmp_path / "tiny/stack"),
    )
    assert (result.returncode, "Free some space" in result.stderr) == (31, True), result.stderr


PIPES = {
    "build/lock.pid": 0,
    "build/fresh/cpu.json": 0,
    "wheels/.cpu.new": 0,
    "wheels/.cpu.old": 0,
    "patches/engine/0001-without-cuda.edit.yaml": 15,
    "patches/engine/series": 15,
    "recipes/engine/recipe.yaml": 10,
    "pylock.cpu.toml": 10,
}


@pytest.mark.parametrize("kind", ["pipe", "folder", "loop"])
@pytest.mark.parametrize("where", PIPES)
def test_what_is_no_file_is_never_waited_for(checkout: Checkout, where: str, kind: str) -> None:
    path = checkout.root / where
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(path.name)
    result = checkout.tried("build")
    assert result.returncode == PIPES[where], result.stderr


def test_few_descriptors_do_or_are_named(checkout: Checkout) -> None:
    for limit in (10, 12, 14, 16, 64):
        for command in (("lock", "--check"), ("build",)):
            result = in_shell(checkout, f"ulimit -n {limit} && exec {{}}", *command)
            assert result.returncode in ({0} if limit == 64 else {0, 31}), (limit, result.stderr)
            assert result.returncode == 0 or (
                "Too many open files" in result.stderr and "ulimit" in result.stderr
            ), (limit, result.stderr)


def test_a_long_path_is_named(checkout: Checkout, tmp_path: Path) -> None:
    checkout.build()
    for into in (tmp_path / ("n" * 300), tmp_path / "/".join(["n" * 200] * 25)):
        said = checkout.run("install", "--into", str(into), code=2).stderr
        assert "File name too long" in said
        assert len(said) < 2000
    result = checkout.tried("build", FORKHOUSE_CACHE=str(tmp_path / "/".join(["c" * 200] * 25)))
    assert (result.returncode, "Choose a shorter path" in result.stderr) == (31, True), (
        result.stderr
    )


def test_a_repository_of_somebody_else_is_no_wrong_pin(checkout: Checkout) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a repository away")
    subprocess.run(["chown", "-R", "65534:65534", checkout.upstream], check=True)
    said = checkout.run("lock", "--check", code=19).stderr
    assert "1 pins could not be compared" in said
    assert "belongs to another user" in said
    assert "are not true" not in said


@pytest.mark.parametrize("streams", [">&-", "<&- >&- 2>&-", ">&- 2>/dev/full"])
def test_closed_streams_are_done_without(checkout: Checkout, streams: str) -> None:
    for command in (
        ("build",),
        ("verify",),
        ("lock", "--check"),
        ("patches", "explain", "transport"),
        ("radar", "engine"),
    ):
        result = in_shell(checkout, f"{{}} {streams}", *command)
        assert result.returncode in ({0, 23, 31} if "full" in streams else {0}), (
            command,
            result.stderr,
        )
    # What a closed stream leaves free is nobody's file.
    checkout.build()
    checkout.run("verify")


def test_a_folder_that_was_removed_under_us_is_named(checkout: Checkout, tmp_path: Path) -> None:
    gone = shlex.quote(str(tmp_path / "gone"))
    for command in (("lock", "--check"), ("build", "--dry-run")):
        result = in_shell(checkout, f"mkdir {gone} && cd {gone} && rmdir {gone} && {{}}", *command)
        assert (result.returncode, "The current folder cannot be used" in result.stderr) == (
            2,
            True,
        ), result.stderr


@pytest.mark.parametrize(
    "name",
    [
        "a b",
        "ünï 日本",
        "q'u\"o $HOME `x` ;y",
        "line\nline",
        "back\\slash",
        "#hash?q=1%20",
        "-dash",
    ],
)
def test_names_of_every_kind_do(template: Checkout, tmp_path: Path, name: str) -> None:
    """All but the index, whose place pip reads as several where it has blanks."""
    checkout = replace(copied(template, tmp_path / name), index=template.index)
    (tmp_path / name / "tmp").mkdir()
    for command in (
        ("build",),
        ("verify",),
        ("radar", "engine"),
        ("lock", "--check"),
        ("patches", "export", "transport"),
        ("install", "--into", str(tmp_path / name / "st äck")),
    ):
        result = checkout.tried(*command, TMPDIR=str(tmp_path / name / "tmp"))
        assert result.returncode == 0, (command, result.stderr)


def test_a_colon_in_a_path_is_named(template: Checkout, tmp_path: Path) -> None:
    checkout = copied(template, tmp_path / "a:b")
    assert "has a ':' in its path" in checkout.run("build", code=2).stderr


def test_nobody_without_a_home_builds(template: Checkout) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    reachable = subprocess.run(
        [
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            sys.executable,
            "-c",
            "import forkhouse",
        ],
        cwd="/",
        check=False,
        capture_output=True,
    )
    if reachable.returncode != 0 or not Path(sys.executable).resolve().is_relative_to("/usr"):
        pytest.skip("this interpreter is for root alone")
    with tempfile.TemporaryDirectory() as scratch:  # pytest's own is for one user
        folder = Path(scratch, "work")
        checkout = copied(template, folder)
        subprocess.run(["chown", "-R", "65534:65534", folder], check=True)
        Path(scratch).chmod(0o755)
        kept = {
            key: value
            for key, value in checkout.environment().items()
            if key not in {"HOME", "FORKHOUSE_CACHE"}
        }
        Path(scratch, "home").mkdir(mode=0o700)
        config = {"FORKHOUSE_CONFIG": str(folder / "none.yaml"), "HOME": f"{scratch}/home"}
        for variables in ({}, config):  # nobody's home, and one of somebody else
            command = [
                "setpriv",
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                *checkout.command("build"),
            ]
            result = subprocess.run(
                command,
                env=kept | variables,
                capture_output=True,
                text=True,
                check=False,
                cwd="/",
                timeout=100,
            )
            assert result.returncode == 0, result.stderr
            subprocess.run(["rm", "-rf", checkout.root / "build"], check=True)
