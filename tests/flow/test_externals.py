from __future__ import annotations

import hashlib
import json
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.flow.conftest import published

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.flow.conftest import Checkout

PARTIAL = 25
UNRESOLVED = (
    "      - {package: framework, index: vendor, wanted: '==2.13.*', why: Only its vendor has the "
    "build for these GPUs.}\n"
)


@pytest.fixture
def vendor(checkout: Checkout, tmp_path: Path) -> Path:
    """The engine comes to require a framework, of which only a vendor's index has the right builds;
    returns the folder of that index.
    """
    checkout.release("1.1", "helper>=2", "only-for-cuda==9", "framework>=2.13")
    sha256 = hashlib.sha256(
        (checkout.index / "small_engine-1.1-py3-none-any.whl").read_bytes()
    ).hexdigest()
    lock = (checkout.root / "upstream.lock").read_text(encoding="utf-8")
    pinned = yaml.safe_load(lock)
    engine = pinned["upstreams"]["engine"]
    engine["version"] = "1.1"
    engine["sources"] = [
        {
            "kind": "wheel",
            "package": "small-engine",
            "file": "small_engine-1.1-py3-none-any.whl",
            "sha256": sha256,
        }
    ]
    pinned["profiles"]["cpu"]["externals"].append(yaml.safe_load(UNRESOLVED)[0])
    (checkout.root / "upstream.lock").write_text(
        yaml.safe_dump(pinned, sort_keys=False), encoding="utf-8"
    )
    folder = tmp_path / "vendor/framework"
    folder.mkdir(parents=True)
    for version in ("2.12.0+rocm7", "2.13.0+rocm7", "2.13.1+rocm7", "2.14.0+rocm7"):
        published(
            folder, "framework", version, {"framework.py": f"VERSION = '{version}'\n".encode()}
        )
    # Newer, and of no use to this machine.
    (folder / "framework-2.13.9+rocm7-cp27-cp27m-win32.whl").write_bytes(b"")
    links = "".join(
        f'<a href="{path.name.replace("+", "%2B")}">{path.name}</a>\n'
        for path in sorted(folder.iterdir())
    )
    (folder / "index.html").write_text(
        f"<!DOCTYPE html><html><body>{links}</body></html>", encoding="utf-8"
    )
    return folder.parent


@pytest.fixture
def configured(vendor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, and the user's configuration gives the index its address."""
    path = tmp_path / "config.yaml"
    path.write_text(f"indexes: {{vendor: '{vendor.as_uri()}'}}\n", encoding="utf-8")
    monkeypatch.setenv("FORKHOUSE_CONFIG", str(path))
    return vendor


def manifest(checkout: Checkout) -> dict[str, list[dict[str, str]]]:
    text = (checkout.root / "wheels/cpu/manifest.json").read_text(encoding="utf-8")
    read: dict[str, list[dict[str, str]]] = json.loads(text)
    return read


@pytest.mark.usefixtures("vendor")
def test_a_wheelhouse_is_whole_but_for_what_cannot_be_had(checkout: Checkout) -> None:
    checkout.run("lock", "--update")
    result = checkout.run("build", "--json", code=PARTIAL)
    assert "wheelhouse written, wheels missing (exit code 25)" in result.stderr
    assert (
        "framework ==2.13.*: the lock has no version of it yet; the index 'vendor' has it"
        in result.stderr
    )
    assert "`forkhouse lock --externals` where the index can be reached" in result.stderr
    assert [each["name"] for each in json.loads(result.stdout)["missing"]] == ["framework"]
    assert [each["name"] for each in manifest(checkout)["missing"]] == ["framework"]
    assert {wheel["name"] for wheel in manifest(checkout)["wheels"]} == {
        "small-transport",
        "small-engine",
        "helper",
    }
    checkout.run("verify")
    # Not quiet the second time, either.
    checkout.run("build", code=PARTIAL)


@pytest.mark.usefixtures("configured")
def test_externals_are_filled_from_the_index_of_the_users_configuration(
    checkout: Checkout, tmp_path: Path
) -> None:
    rows = {
        row["subject"]: row
        for row in json.loads(checkout.run("lock", "--externals", "--json").stdout)
    }
    assert rows["cpu: framework"]["state"] == "changed"
    pinned = yaml.safe_load((checkout.root / "upstream.lock").read_text(encoding="utf-8"))[
        "profiles"
    ]["cpu"]["externals"][1]
    assert (pinned["version"], pinned["file"]) == (
        "2.13.1+rocm7",
        "framework-2.13.1+rocm7-py3-none-any.whl",
    )
    assert (
        "file://"
        not in (checkout.root / "upstream.lock").read_text(encoding="utf-8").split("profiles:")[1]
    )
    assert json.loads(checkout.run("lock", "--externals", "--json").stdout) == []
    checkout.run("lock", "--update")
    answer = checkout.build()
    assert answer["missing"] == []
    checkout.run("install", "--into", str(tmp_path / "stack"))
    said = subprocess.run(
        [tmp_path / "stack/bin/python", "-c", "import framework; print(framework.VERSION)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == "2.13.1+rocm7\n"


def test_a_pinned_external_whose_index_is_away_is_missing(
    checkout: Checkout, configured: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    checkout.run("lock", "--externals")
    checkout.run("lock", "--update")
    (tmp_path / "cache").rename(tmp_path / "old-cache")
    monkeypatch.delenv("FORKHOUSE_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "no-settings"))
    result = checkout.run("build", code=PARTIAL)
    assert (
        "framework 2.13.1+rocm7: The lock has framework from the index 'vendor', to which the "
        "configuration gives no address" in result.stderr
    )
    # A file that is there and is another one is no matter of reach.
    monkeypatch.setenv("FORKHOUSE_CONFIG", str(tmp_path / "config.yaml"))
    (configured / "framework/framework-2.13.1+rocm7-py3-none-any.whl").write_bytes(b"another")
    checkout.run("build", code=12)


@pytest.mark.usefixtures("configured")
def test_an_index_without_what_is_wanted_is_a_finding(checkout: Checkout) -> None:
    checkout.edit("upstream.lock", "==2.13.*", "==3.*")
    rows = json.loads(checkout.run("lock", "--externals", "--json").stdout)
    assert [(row["subject"], row["state"]) for row in rows] == [("cpu: framework", "unreachable")]
    assert (
        "The index 'vendor' has no wheel of framework ==3.* for this machine" in rows[0]["detail"]
    )


def test_a_recipe_whose_source_cannot_be_had_is_left_out_where_the_profile_says_so(
    checkout: Checkout,
) -> None:
    checkout.upstream.rename(checkout.upstream.with_name("away"))
    checkout.run("build", code=11)
    assert not (checkout.root / "wheels/cpu").exists()
    checkout.edit(
        "upstream.lock", "    recipes:\n", "    where-reachable: [transport]\n    recipes:\n"
    )
    result = checkout.run("build", "--json", code=PARTIAL)
    assert "transport: LEFT OUT: " in result.stderr
    assert [(each["name"], each["wanted"]) for each in json.loads(result.stdout)["missing"]] == [
        ("small-transport", "2.0+rocm.1")
    ]
    assert {wheel["name"] for wheel in manifest(checkout)["wheels"]} == {"small-engine", "helper"}
    checkout.upstream.with_name("away").rename(checkout.upstream)
    assert checkout.build()["missing"] == []


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (
            "{package: x, why: y}",
            "x is unresolved: give the index that has it and the versions that are wanted",
        ),
        (
            "{package: x, why: y, index: vendor, wanted: '>=1', version: '1'}",
            "give version, file and sha256 together, or none of them",
        ),
        ("{package: x, why: y, index: Vendor, wanted: '>=1'}", "lower-case words"),
    ],
)
def test_an_external_that_says_too_little_is_refused(
    checkout: Checkout, entry: str, problem: str, edit: Callable[[str], None]
) -> None:
    edit(entry)
    assert problem in checkout.run("build", "--dry-run", code=10).stderr


@pytest.fixture
def edit(checkout: Checkout) -> Callable[[str], None]:
    return lambda entry: checkout.edit(
        "upstream.lock", "    externals:\n", f"    externals:\n      - {entry}\n"
    )
