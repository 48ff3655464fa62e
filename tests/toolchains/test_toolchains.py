from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from forkhouse.core.errors import ToolchainError
from forkhouse.documents.recipe import SystemPackage
from forkhouse.toolchains.packages import identify, install_line, missing_packages, require_packages

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SHELL = SystemPackage(package="dash", command="sh")
NOWHERE = SystemPackage(package="none-dev", file="/nonexistent/*/libnone.so")
NO_TOOL = SystemPackage(package="no-tool", command="no-such-tool-at-all")


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder in which tools are looked for."""
    folder = tmp_path / "tools"
    folder.mkdir()
    monkeypatch.setattr("forkhouse.toolchains.packages.SEARCH_PATH", str(folder))
    return folder


def test_names_what_is_missing_once_and_sorted() -> None:
    assert missing_packages([SHELL, NOWHERE, NO_TOOL, NO_TOOL]) == ["no-tool", "none-dev"]


def test_a_file_is_found_by_a_pattern(tmp_path: Path) -> None:
    package = SystemPackage(package="demo-dev", file=f"{tmp_path}/*/libdemo.so")
    assert missing_packages([package]) == ["demo-dev"]
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/libdemo.so").touch()
    assert missing_packages([package]) == []


def test_a_tool_put_on_the_path_by_hand_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path / "no-such-tool-at-all", "exit 0")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert missing_packages([NO_TOOL]) == ["no-tool"]


def test_what_is_there_is_not_installed() -> None:
    require_packages([SHELL], install=False)


def test_what_is_missing_is_named_with_the_command_that_installs_it() -> None:
    line = "apt-get install --yes --no-install-recommends no-tool none-dev"
    assert install_line(["no-tool", "none-dev"]) == line.split()
    with pytest.raises(
        ToolchainError,
        match=rf"(?s)Missing system packages: no-tool, none-dev\..*--system-packages was not "
        rf"given.*{line}",
    ):
        require_packages([SHELL, NOWHERE, NO_TOOL], install=False)


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Put a script in the place of apt-get, and return the file in which it notes its arguments."""
    if os.geteuid() != 0:
        pytest.skip("only root installs packages")

    def make(text: str) -> Path:
        folder = tmp_path / "apt"
        folder.mkdir()
        script(folder / "apt-get", f'echo "$@" >> {tmp_path}/asked\n{text}')
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        return tmp_path / "asked"

    return make


def test_root_may_have_it_installed(apt: Callable[[str], Path], tools: Path) -> None:
    asked = apt(
        f'[ "$1" = update ] || touch {tools}/no-such-tool-at-all && chmod +x '
        f"{tools}/no-such-tool-at-all 2>/dev/null || true"
    )
    require_packages([NO_TOOL], install=True)
    assert asked.read_text(encoding="utf-8").splitlines() == [
        "update",
        "install --yes --no-install-recommends no-tool",
    ]


def test_an_installation_that_fails_shows_what_apt_said(apt: Callable[[str], Path]) -> None:
    apt("echo 'E: no such package'; exit 100")
    with pytest.raises(
        ToolchainError, match=r"`apt-get update` failed:\nE: no such package\nRepair apt"
    ):
        require_packages([NO_TOOL], install=True)


def test_an_installation_without_its_effect_is_refused(apt: Callable[[str], Path]) -> None:
    apt("exit 0")
    with pytest.raises(
        ToolchainError, match=r"Installed no-tool, yet what the recipe looks for is not there"
    ):
        require_packages([NO_TOOL], install=True)


def test_tools_are_identified_by_what_they_say_and_files_by_their_content(
    tools: Path, tmp_path: Path
) -> None:
    script(tools / "cc", "echo 'cc 12.2'; echo 'more'")
    script(tools / "silent", "exit 3")
    (tmp_path / "libdemo.so").write_bytes(b"library")
    packages = [
        SystemPackage(package="gcc", command="cc"),
        SystemPackage(package="silent", command="silent"),
        SystemPackage(package="demo-dev", file=f"{tmp_path}/libdemo.so"),
        NO_TOOL,
    ]
    assert identify(packages) == {
        "gcc": "cc 12.2",
        "silent": "exit 3",
        "demo-dev": f"sha256:{hashlib.sha256(b'library').hexdigest()}",
        "no-tool": "missing",
    }
