"""A wheelhouse that carries its own tools, as a folder and as a bundle, used by a bare Python."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from forkhouse.documents.pins import pinned_wheel
from forkhouse.documents.pylock import pylock_text
from tests.flow.conftest import Checkout, copied
from tests.wheels import digest, pack

if TYPE_CHECKING:
    from collections.abc import Iterator


def _is_source(path: Path) -> bool:
    """Say whether a file was in the wheel; what installers compile and note is none of it."""
    return path.suffix != ".pyc" and path.is_file()


def packed(folder: Path, name: str) -> Path:
    """Pack what is installed of a pure library into a wheel again."""
    own = distribution(name)
    members = {
        str(file): Path(str(own.locate_file(file))).read_bytes()
        for file in own.files or ()
        if not str(file).startswith("..") and _is_source(Path(str(own.locate_file(file))))
    }
    return pack(folder / f"{name.replace('-', '_')}-{own.version}-py3-none-any.whl", members)


@pytest.fixture(scope="module")
def built(template: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A small checkout whose wheelhouse carries pip, Forkhouse and the zip application."""
    checkout = copied(template, tmp_path_factory.mktemp("carried"))
    pins = []
    for name in ("click", "packaging", "pip"):
        wheel = packed(checkout.index, name)
        pins.append(pinned_wheel(wheel.name, hashed(wheel)))
    text = pylock_text(pins, folder="build/tools", requires_python=">=3.11")
    (checkout.root / "pylock.tools.toml").write_text(text, encoding="utf-8")
    checkout.build()
    return checkout


def hashed(path: Path) -> str:
    return subprocess.run(
        ["sha256sum", path], capture_output=True, text=True, check=True
    ).stdout.split()[0]


def bare(program: Path, *arguments: str | bytes, code: int = 0) -> str:
    """Run a zip application with a Python that finds no library; return what it printed."""
    result = subprocess.run(
        [sys.executable, "-I", "-S", program, *arguments],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    return result.stdout if code == 0 else result.stderr


def engine(prefix: Path) -> str:
    """Return what the installed engine says, from a process that knows nothing else."""
    program = "import small_engine; print(small_engine.NAME)"
    return subprocess.run(
        [prefix / "bin/python", "-I", "-c", program],
        env={},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_a_bundle_of_two_builds_has_equal_bytes(built: Checkout, tmp_path: Path) -> None:
    checkout = copied(built, tmp_path)
    # A recipe may have any name.
    (checkout.root / "recipes/engine").rename(checkout.root / "recipes/bundle")
    checkout.edit("upstream.lock", "- engine\n", "- bundle\n")
    answer = json.loads(checkout.run("reproduce", "--bundle", "--json").stdout)
    (found,) = answer["packed"]
    assert (found["kind"], found["file"], found["equal"]) == ("bundle", "cpu.tar", True)
    assert found["sha256"][0] == found["sha256"][1]
    assert [each["recipe"] for each in answer["wheels"]] == ["transport", "bundle"]
    assert not list((checkout.root / "build/reproduce").rglob("*.tar"))
    # A wheel that holds the time of its building makes another bundle.
    backend = 'files = {"small_transport/__init__.py": b"",'
    told = '"small_transport/told.txt": __import__("datetime").datetime.now().isoformat().encode(),'
    checkout.edit("recipes/transport/backend.py", backend, f"{backend} {told}")
    failed = checkout.run("reproduce", "--bundle", "--json", code=26)
    (found,) = json.loads(failed.stdout)["packed"]
    assert found["equal"] is False
    named = " ".join(found["differs"])
    assert "wheelhouse/small_transport-2.0+rocm.1-py3-none-" in named
    assert "small_engine" not in named
    assert len(list((checkout.root / "build/reproduce").rglob("cpu.tar"))) == 2
    wrong = checkout.run("reproduce", "--bundle", "--recipe", "bundle", code=2)
    assert "--bundle and --image are of the whole profile" in wrong.stderr


def test_a_bare_python_verifies_lists_and_installs(built: Checkout, tmp_path: Path) -> None:
    house = tmp_path / "a b/cpu"  # copied to where it is used
    shutil.copytree(built.root / "wheels/cpu", house)
    program = house / "forkhouse.pyz"
    assert "files are as they were built" in bare(program, "verify")
    rows = json.loads(bare(program, "list", "--json"))
    assert [(row["name"], row["required_by"]) for row in rows] == [
        ("helper", ["small-engine"]),
        ("small-transport", ["the profile"]),
        ("small-engine", ["the profile"]),
    ]
    assert all(row["size"] == (house / row["file"]).stat().st_size for row in rows)
    told = bare(program, "why", "Helper")
    assert "The lock says: It is heavy." in told
    assert "From: the profile > small-engine > helper" in told
    assert "helper" in bare(program, "why", "small-engine").partition("Required by it alone")[2]
    assert "not in the wheelhouse" in bare(program, "why", "no-such", code=2)
    bare(program, "install", "--into", str(tmp_path / "stack"))
    assert engine(tmp_path / "stack") == "engine\n"
    assert '"current": true' in bare(program, "generations", str(tmp_path / "stack"), "--json")
    (house / "foreign-1-py3-none-any.whl").write_bytes(b"x")
    assert "foreign-1-py3-none-any.whl does not belong there" in bare(program, "verify", code=23)
    bare(program, "install", "--into", str(tmp_path / "other"), code=23)
    assert not (tmp_path / "other").exists()


def test_the_readme_s_installation_works_word_for_word(built: Checkout, tmp_path: Path) -> None:
    shutil.copytree(built.root / "wheels/cpu", tmp_path / "wheels/cpu")
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    section = readme.partition("## Install on another machine")[2]
    commands = section.partition("```sh\n")[2].partition("```")[0]
    subprocess.run(
        ["unshare", "--map-root-user", "--net", "sh", "-euc", commands],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin"},
        check=True,
    )
    assert engine(tmp_path / "stack") == "engine\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_the_program_is_loaded_ends_it_without_a_traceback(
    built: Checkout, number: signal.Signals
) -> None:
    """Its modules are compiled one by one at each start, which takes a while."""
    program = built.root / "wheels/cpu/forkhouse.pyz"
    # Says when it listens: the handler of SIGINT is not Python's own any more.
    started = (
        "import runpy, signal, sys, threading\n"
        "def say():\n"
        "    default = signal.default_int_handler\n"
        "    while signal.getsignal(signal.SIGINT) is default: pass\n"
        "    print(flush=True)\n"
        "threading.Thread(target=say, daemon=True).start()\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", started, program, "verify"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
    assert "Traceback" not in said
    assert process.returncode == 128 + number


def test_a_path_that_is_no_utf_8_is_told(built: Checkout, tmp_path: Path) -> None:
    program = built.root / "wheels/cpu/forkhouse.pyz"
    said = bare(program, "install", "--into", os.path.join(os.fsencode(tmp_path), b"x\xff"), code=2)
    assert "no UTF-8" in said
    assert os.listdir(tmp_path) == []


def test_the_program_alone_asks_for_a_wheelhouse(built: Checkout, tmp_path: Path) -> None:
    house = built.root / "wheels/cpu"
    program = tmp_path / "forkhouse.pyz"
    shutil.copyfile(house / "forkhouse.pyz", program)
    assert "is no wheelhouse" in bare(program, "verify", code=2)
    assert "files are as they were built" in bare(program, "verify", str(house))
    assert "helper" in bare(program, "list", "--from", str(house))


def test_forkhouse_itself_is_carried(built: Checkout, tmp_path: Path) -> None:
    (wheel,) = (built.root / "wheels/cpu/tools").glob("forkhouse-*.whl")
    environment = tmp_path / "own"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    interpreter = str(environment / "bin/python")
    command = [sys.executable, "-m", "pip", "--python", interpreter, "install"]
    subprocess.run(
        [*command, "--quiet", "--no-index", "--no-deps", str(wheel)],
        check=True,
        capture_output=True,
    )
    installed = next(environment.glob("lib/*/site-packages/forkhouse"))
    source = Path(sys.modules["forkhouse"].__path__[0])
    ours = {
        path.relative_to(source): digest(path.read_bytes())
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    theirs = {
        path.relative_to(installed): digest(path.read_bytes())
        for path in installed.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {path: each for path, each in theirs.items() if path.name != "COMMIT"} == ours
    assert (environment / "bin/forkhouse").is_file()


@pytest.fixture(scope="module")
def bundle(built: Checkout) -> Iterator[Path]:
    path = built.root.parent / "carried.tar"
    built.run("bundle", "--with-sources", "--out", str(path))
    yield path
    path.unlink(missing_ok=True)


def test_a_bundle_is_a_program_that_verifies_and_installs(bundle: Path, tmp_path: Path) -> None:
    assert "files are as they were built" in bare(bundle, "verify")
    assert "small-engine" in bare(bundle, "list")
    bare(bundle, "install", "--into", str(tmp_path / "stack"))
    assert engine(tmp_path / "stack") == "engine\n"
    assert sorted(os.listdir(tmp_path)) == ["stack"], "what was unpacked is gone"
    damaged = tmp_path / "damaged.tar"
    content = bytearray(bundle.read_bytes())
    content[content.rindex(b"PK\x03\x04", 0, len(content) // 2) + 80] ^= 1
    damaged.write_bytes(content)
    assert "damaged in damaged.tar" in bare(bundle, "verify", str(damaged), code=32)


def test_it_is_split_copied_and_joined_again(bundle: Path, built: Checkout, tmp_path: Path) -> None:
    said = bare(bundle, "copy", str(bundle), str(tmp_path / "parts.tar"), "--split", "1M")
    parts = [Path(line) for line in said.split()]
    assert len(parts) > 2
    assert b"".join(part.read_bytes() for part in parts) == bundle.read_bytes()
    assert "as they were built" in bare(bundle, "verify", str(parts[0]))
    again = built.root.parent / "again.tar"
    built.run("bundle", "--with-sources", "--out", str(again))
    assert again.read_bytes() == bundle.read_bytes(), "equal content gives equal bytes"
    again.unlink()
    made = built.run("bundle", "--with-sources", "--delta", str(bundle), "--out", str(again))
    assert "python3 again.tar join again.tar carried.tar again-whole.tar" in made.stdout
    assert again.stat().st_size < bundle.stat().st_size / 5
    assert "as they were built" in bare(parts[-1], "verify")
    assert "small-engine" in bare(parts[-1], "list")
    told = bare(again, "verify")
    assert "more are left out" in told
    assert "`join` makes the whole one" in told
    trusted = tmp_path / "trusted"
    trusted.touch()
    bare(again, "verify", "--trusted-keys", str(trusted), code=32)
    for target in (f"{tmp_path}/no-such/", str(tmp_path)):
        assert "Name the file" in bare(again, "join", str(again), str(parts[0]), target, code=2)
    assert "is not there" in bare(bundle, "copy", str(bundle), f"{tmp_path}/no-such/", code=2)
    bare(bundle, "join", str(again), str(parts[0]), str(tmp_path / "whole.tar"))
    assert (tmp_path / "whole.tar").read_bytes() == bundle.read_bytes()
    again.unlink()
    built.run("bundle", "--split", "1K", code=2)
    assert "exists" in built.run("bundle", "--out", str(bundle), code=2).stderr


def test_a_site_builds_again_from_a_bundle(bundle: Path, built: Checkout, tmp_path: Path) -> None:
    subprocess.run(["tar", "--extract", "--file", bundle, "--directory", tmp_path], check=True)
    site = Checkout(
        root=tmp_path / "checkout",
        index=tmp_path / "no-index",
        upstream=tmp_path / "no-upstream",
        cache=tmp_path / "sources",
    )
    site.run("build", "--offline")
    for path in (tmp_path / "wheelhouse").glob("*.whl"):
        assert (site.root / "wheels/cpu" / path.name).read_bytes() == path.read_bytes()
    (patch,) = (tmp_path / "diffs/transport").rglob("*.patch")
    assert b"+    return 2;" in patch.read_bytes()


def test_what_is_not_there_is_told(template: Checkout, built: Checkout, tmp_path: Path) -> None:
    own = copied(template, tmp_path)
    for asked in (("bundle",), ("verify",), ("list",), ("why", "x")):
        assert "has no SHA256SUMS" in own.run(*asked, code=23).stderr
    own.build()
    manifest = own.root / "wheels/cpu/manifest.json"
    whole = manifest.read_bytes()
    # Another file in its place: what it says would be of other wheels.
    manifest.unlink()
    manifest.write_bytes(whole.replace(b'"version"', b'"Version"', 1))
    for asked in (("list",), ("why", "x")):
        assert "manifest.json in the wheelhouse" in own.run(*asked, code=12).stderr
    manifest.write_bytes(whole)
    assert "carries no forkhouse.pyz" in own.run("bundle", code=23).stderr
    answer = json.loads(built.run("bundle", "--dry-run", "--json").stdout)
    assert answer["files"] == []
    assert "wheelhouse/manifest.json" in {each["path"] for each in answer["members"]}
    assert not (built.root / "wheels/cpu.tar").exists()
    # What would be missing at the site is told.
    link = built.root / "recipes/transport/linked.py"
    link.symlink_to("backend.py")
    assert "linked.py is a link" in built.run("bundle", "--dry-run", code=2).stderr
    link.unlink()


def test_a_slim_profile_is_the_whole_one_without_what_the_lock_says(
    template: Checkout, tmp_path: Path
) -> None:
    own = copied(template, tmp_path)
    assert "It has: cpu." in own.run("build", "--profile", "cpu-slim", code=2).stderr
    slim = "    slim: [{package: helper, why: Nothing of this imports it.}]\n    externals:"
    own.edit("upstream.lock", "    externals:", slim)
    own.build("--profile", "cpu-slim")
    own.build()
    lean, whole = own.root / "wheels/cpu-slim", own.root / "wheels/cpu"
    assert {path.name for path in whole.glob("*.whl")} - {
        path.name for path in lean.glob("*.whl")
    } == {"helper-3.0-py3-none-any.whl"}
    said = own.run("list", "--profile", "cpu-slim").stdout
    assert "left out: helper: Nothing of this imports it." in said
    statement = json.loads((lean / "provenance.intoto.json").read_bytes())
    parameters = statement["predicate"]["buildDefinition"]["externalParameters"]
    assert (parameters["profile"], parameters["omitted"]) == ("cpu-slim", ["helper"])
    assert parameters["closure"] == {
        "name": "pylock.cpu.toml",
        "digest": {"sha256": hashed(own.root / "pylock.cpu.toml")},
    }
    own.edit("upstream.lock", "package: helper, why: N", "package: no-such, why: N")
    said = own.run("build", "--profile", "cpu-slim", code=10).stderr
    assert "leaves out no-such" in said
    assert "It has: cpu, cpu-slim." in own.run("build", "--profile", "x", code=2).stderr


def test_a_bare_python_says_who_signed(built: Checkout, tmp_path: Path) -> None:
    house = tmp_path / "cpu"
    shutil.copytree(built.root / "wheels/cpu", house)
    key, trusted = tmp_path / "key", tmp_path / "trusted"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    trusted.write_text(f"keeper {key.with_suffix('.pub').read_text('utf-8')}", encoding="utf-8")
    built.run("sign", str(house), "--key", str(key), "--finished-on", "2026-01-31")
    program = house / "forkhouse.pyz"
    said = bare(program, "verify", "--trusted-keys", str(trusted))
    assert "Signed by keeper (SHA256:" in said
    limit = ("--not-older-than", "2026-02-01")
    assert "older" in bare(program, "verify", "--trusted-keys", str(trusted), *limit, code=56)
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ED25519", "-out", private], check=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    refused = bare(program, "verify", "--trusted-keys", str(public), code=20)
    assert "With ssh keys it needs nothing more than ssh-keygen" in refused
    with program.open("ab") as stream:
        stream.write(b"#")
    assert (
        "forkhouse.pyz"
        in built.run("verify", str(house), "--trusted-keys", str(trusted), code=12).stderr
    )


def test_what_is_carried_is_in_the_bill_of_materials(built: Checkout) -> None:
    house = built.root / "wheels/cpu"
    components = json.loads((house / "sbom.cdx.json").read_bytes())["components"]
    carried = {each["bom-ref"]: each for each in components if each.get("scope") == "excluded"}
    assert carried.keys() == {f"tools/{path.name}" for path in house.glob("tools/*.whl")}
    for path, component in carried.items():
        assert component["hashes"] == [{"alg": "SHA-256", "content": hashed(house / path)}]
    told = json.loads(built.run("licences", "--json", code=22).stdout)
    texts = {each["file"]: each["texts"] for each in told}
    assert carried.keys() <= texts.keys()
    assert all(texts[path] for path in carried)
