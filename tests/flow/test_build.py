from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.pylock import Pylock

if TYPE_CHECKING:
    from tests.flow.conftest import Checkout


def isolated(*command: str) -> list[str]:
    """Run a command where there is no network at all."""
    return ["unshare", "--map-root-user", "--net", *command]


def test_the_wheelhouse_is_complete_and_installs_without_a_network(
    checkout: Checkout, tmp_path: Path
) -> None:
    answer = checkout.build()
    assert answer["changed"] is True
    rows = {row["name"]: row for row in answer["wheels"]}
    assert {name: row["version"] for name, row in rows.items()} == {
        "small-transport": "2.0+rocm.1",
        "small-engine": "1.0+cpu.1",
        "helper": "3.0",
    }
    assert rows["small-transport"]["patches"] == 1
    assert "v2.0" in rows["small-transport"]["source"]
    house = checkout.root / "wheels/cpu"
    subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=house, check=True
    )
    assert "small_engine-1.0+cpu.1-py3-none-any.whl" in (house / "index.html").read_text(
        encoding="utf-8"
    )
    page = (house / "simple/helper/index.html").read_text(encoding="utf-8")
    assert f"#sha256={rows['helper']['sha256']}" in page
    pylock = Pylock.from_dict(tomllib.loads((house / "pylock.toml").read_text(encoding="utf-8")))
    assert {str(package.name) for package in pylock.packages} == rows.keys()
    manifest = {
        wheel["name"]: wheel
        for wheel in json.loads((house / "manifest.json").read_text(encoding="utf-8"))["wheels"]
    }
    assert manifest["small-transport"]["patches"] == ["0001-answer-for-amd.edit.yaml"]
    assert manifest["helper"]["why"] == "It is heavy."
    checkout.run("verify")

    into = tmp_path / "stack"
    command = isolated(*checkout.command("install", "--into", str(into)))
    subprocess.run(command, env=checkout.environment(), check=True, capture_output=True)
    program = (
        "import ctypes, small_engine, small_transport, pathlib; lib = "
        "pathlib.Path(small_transport.__file__).with_name('libtransport.so')"
    )
    program += "; print(small_engine.NAME, ctypes.CDLL(str(lib)).vendor())"
    said = subprocess.run(
        [into / "bin/python", "-c", program], capture_output=True, text=True, check=True
    )
    assert said.stdout == "engine 2\n"


def test_a_user_s_own_pip_installs_it_by_requirements_and_by_pylock(
    checkout: Checkout, tmp_path: Path
) -> None:
    checkout.build()
    for kind in (
        ["--requirement", "requirements.txt", "--require-hashes"],
        ["--requirement", "pylock.toml"],
    ):
        target = tmp_path / kind[1]
        pip = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--no-index",
            "--find-links",
            ".",
            "--target",
            str(target),
            *kind,
        ]
        environment = {
            "PATH": os.environ["PATH"],
            "PIP_CONFIG_FILE": "/dev/null",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }
        result = subprocess.run(
            isolated(*pip),
            cwd=checkout.root / "wheels/cpu",
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        assert (target / "small_engine/__init__.py").is_file()


def test_a_second_run_does_nothing_and_says_so(checkout: Checkout) -> None:
    checkout.build()
    before = checkout.wheelhouse()
    (checkout.root / "patches/transport/series").touch()  # else it would not even look
    result = checkout.run("build", "--json")
    assert json.loads(result.stdout)["changed"] is False
    assert (
        "small_transport-2.0+rocm.1-py3-none-manylinux_2_5_x86_64.whl is up to date"
        in result.stderr
    )
    assert "wheels/cpu is up to date" in result.stderr
    assert checkout.wheelhouse() == before


def test_once_cached_it_builds_offline(checkout: Checkout) -> None:
    checkout.build()
    before = checkout.wheelhouse()
    shutil.rmtree(checkout.root / "build")
    shutil.rmtree(checkout.root / "wheels")
    shutil.rmtree(checkout.index)
    shutil.rmtree(checkout.upstream)
    checkout.build("--offline")
    assert checkout.wheelhouse() == before


def test_offline_and_not_cached_is_its_own_error(checkout: Checkout) -> None:
    assert "--offline forbids fetching it" in checkout.run("build", "--offline", code=11).stderr


def test_a_changed_patch_rebuilds_its_own_wheel_alone(checkout: Checkout) -> None:
    checkout.build()
    checkout.edit("patches/transport/0001-answer-for-amd.edit.yaml", "return 2;", "return 3;")
    refused = checkout.run("build", code=12)
    assert "the lock says" in refused.stderr
    checkout.run("lock", "--update", "transport")
    result = checkout.run("build")
    assert (
        "built small_transport-2.0+rocm.1" in result.stderr
        or "small_transport-2.0+rocm.1-py3-none-manylinux_2_5_x86_64.whl is up to date"
        in result.stderr
    )
    assert "small_engine-1.0+cpu.1-py3-none-any.whl is up to date" in result.stderr
    assert (
        checkout.root / "wheels/cpu/small_transport-2.0+rocm.1-py3-none-manylinux_2_5_x86_64.whl"
    ).read_bytes() != b""


def test_a_damaged_wheelhouse_is_written_again(checkout: Checkout) -> None:
    checkout.build()
    before = checkout.wheelhouse()
    damaged = checkout.root / "wheels/cpu/requirements.txt"
    damaged.write_text("helper\n", encoding="utf-8")
    assert "was changed or damaged" in checkout.run("verify", code=12).stderr
    checkout.run("install", "--into", str(checkout.root / "build/stack"), code=12)
    assert not (checkout.root / "build/stack").exists()
    assert checkout.build()["changed"] is True
    assert checkout.wheelhouse() == before


def test_a_dry_run_says_what_would_be_done_and_does_nothing(checkout: Checkout) -> None:
    result = checkout.run("build", "--dry-run", "--json")
    intents = json.loads(result.stdout)
    assert [intent["recipe"] for intent in intents] == ["transport", "engine"]
    assert intents[0]["patches"] == ["0001-answer-for-amd.edit.yaml"]
    assert not (checkout.root / "wheels").exists()
    assert not checkout.cache.exists()


def test_a_mirror_serves_git_pins(checkout: Checkout, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    subprocess.run(
        [
            "git",
            "clone",
            "--quiet",
            "--mirror",
            str(checkout.upstream),
            str(mirror / "transport.git"),
        ],
        check=True,
    )
    subprocess.run(
        [
            "git",
            "-C",
            str(mirror / "transport.git"),
            "config",
            "uploadpack.allowAnySHA1InWant",
            "true",
        ],
        check=True,
    )
    shutil.rmtree(checkout.upstream)
    checkout.run("build", code=11)
    assert checkout.build("--mirror", str(mirror))["changed"] is True


def test_the_lock_is_checked_against_what_can_be_reached(checkout: Checkout) -> None:
    findings = json.loads(checkout.run("lock", "--check", "--json").stdout)
    assert [finding["state"] for finding in findings] == ["ok"] * 4
    shutil.rmtree(checkout.upstream)
    shutil.rmtree(checkout.cache)
    shutil.rmtree(checkout.root / "build")
    findings = json.loads(checkout.run("lock", "--check", "--json").stdout)
    assert [finding["state"] for finding in findings][:2] == ["unreachable", "ok"]
    assert "no earlier run has fetched it" in findings[0]["detail"]


def test_the_check_of_the_lock_believes_nothing_that_was_fetched_before(checkout: Checkout) -> None:
    first = json.loads(checkout.run("lock", "--check", "--json").stdout)
    assert [finding["asked"] for finding in first] == ["now", "now", "", ""]
    # Each upstream is in the cache and in the journal; now the tag moves, and the wheel is another
    # under the same name.
    checkout.commit(readme="Another state.\n")
    subprocess.run(
        ["git", "-C", str(checkout.upstream), "tag", "--force", "v2.0"],
        check=True,
        capture_output=True,
    )
    wheel = checkout.index / "small_engine-1.0-py3-none-any.whl"
    whole = wheel.read_bytes()
    wheel.write_bytes(whole + b"more")
    result = checkout.run("lock", "--check", "--json", code=12)
    moved, other, *_ = json.loads(result.stdout)
    assert (moved["state"], other["state"]) == ("wrong", "wrong")
    assert "tag v2.0 points at" in moved["detail"]
    assert "the index now serves one with sha256" in other["detail"]
    wheel.unlink()
    shutil.move(checkout.upstream, checkout.upstream.with_name("away"))
    for options in ((), ("--offline",)):
        gone = json.loads(checkout.run("lock", "--check", "--json", *options).stdout)
        assert [finding["state"] for finding in gone[:2]] == ["unreachable", "unreachable"]
        assert all(
            "as it was when it was fetched" in finding["detail"]
            and finding["asked"].endswith(" UTC")
            for finding in gone[:2]
        )


def test_a_pin_without_a_tag_is_asked_for_by_its_commit(checkout: Checkout) -> None:
    checkout.edit("upstream.lock", "        tag: v2.0\n", "        branch: main\n")
    states = [
        finding["state"] for finding in json.loads(checkout.run("lock", "--check", "--json").stdout)
    ]
    assert states == ["ok"] * 4
    shutil.rmtree(checkout.upstream / ".git")
    subprocess.run(["git", "init", "--quiet", str(checkout.upstream)], check=True)
    assert json.loads(checkout.run("lock", "--check", "--json").stdout)[0]["state"] == "unreachable"


def test_where_the_users_pip_installs_to_says_nothing_to_a_resolver(checkout: Checkout) -> None:
    environment = {
        **checkout.environment(),
        "PIP_REQUIRE_VIRTUALENV": "1",
        "PIP_TARGET": "elsewhere",
        "PIP_USER": "1",
    }
    result = subprocess.run(
        checkout.command("lock", "--update", "--json"),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, json.loads(result.stdout)) == (0, []), result.stderr


def test_an_update_without_news_changes_nothing(checkout: Checkout) -> None:
    before = {path.name: path.read_bytes() for path in checkout.root.glob("*.*")}
    assert json.loads(checkout.run("lock", "--update", "--json").stdout) == []
    assert {path.name: path.read_bytes() for path in checkout.root.glob("*.*")} == before


def test_an_update_tells_of_every_closure_that_it_changes(checkout: Checkout) -> None:
    closures = {path.name: path.read_bytes() for path in checkout.root.glob("pylock.*.toml")}
    assert "pylock.build.toml" in closures
    for name in closures:
        (checkout.root / name).unlink()
    findings = json.loads(checkout.run("lock", "--update", "--json").stdout)
    assert {
        path.name: path.read_bytes() for path in checkout.root.glob("pylock.*.toml")
    } == closures
    assert {finding["subject"].partition(":")[0] for finding in findings} == {
        name for name in closures if b"[[packages]]" in closures[name]
    }
    assert all(finding["detail"].startswith("not there -> ") for finding in findings)


def test_an_update_that_fails_leaves_every_closure(checkout: Checkout) -> None:
    (
        checkout.root / "pylock.build.toml"
    ).unlink()  # so that there is something to write before the failure
    checkout.edit("upstream.lock", "    install:\n", "    install:\n      - no-such-package\n")
    before = {path.name: path.read_bytes() for path in checkout.root.glob("*.*")}
    checkout.run("lock", "--update", code=11)
    assert {path.name: path.read_bytes() for path in checkout.root.glob("*.*")} == before


def test_the_installation_by_pip_works_word_for_word(checkout: Checkout) -> None:
    checkout.build()
    page = (Path(__file__).parents[2] / "docs/how-to/carry-to-an-air-gapped-machine.md").read_text(
        encoding="utf-8"
    )
    commands = page.partition("```sh\n")[2].partition("```")[0]
    result = subprocess.run(
        isolated("sh", "-euc", commands),
        cwd=checkout.root,
        env=checkout.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "--require-hashes" in commands
    subprocess.run([checkout.root / "stack/bin/python", "-c", "import small_engine"], check=True)
