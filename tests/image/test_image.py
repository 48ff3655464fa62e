"""Images of a small wheelhouse, read by tar, by skopeo and by the kernel."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from forkhouse.core.errors import (
    ClosureError,
    HashMismatchError,
    ImageError,
    ToolchainError,
    UsageError,
)
from forkhouse.core.progress import showing
from forkhouse.image import base as making_base
from forkhouse.image.assembling import make_image
from forkhouse.image.entrypoints import configuration
from forkhouse.serving.deployment import ContainerImage
from forkhouse.serving.kernelcache import kernel_variables
from forkhouse.serving.launching import CPU, MI210, WorkerRole, frontend_command, worker_command
from tests import forked
from tests.image.conftest import oci_archive, tarred
from tests.image.reading import unpacked, variables
from tests.wheels import write_wheel

if TYPE_CHECKING:
    from collections.abc import Callable

WHATS = ["third-party wheels", "libraries of our wheels", "our wheels", "configuration"]
"""The layers above the base."""


def made(house: Path, target: Path, base: Path | None) -> Path:
    scratch = target.with_name(f"{target.name}.scratch")
    scratch.mkdir()
    make_image(house, target, scratch, base)
    return target


def contained(
    root: Path, state: Path, *command: str, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a program of an image as its user, in a namespace; only its state can be changed."""
    state.mkdir(exist_ok=True)
    view = ["--ro-bind", str(root), "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"]
    view += ["--bind", str(state), "/var/lib/forkhouse"]
    return subprocess.run(
        ["bwrap", "--unshare-all", "--uid", "10001", "--gid", "10001", *view, "--", *command],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@dataclass(frozen=True, kw_only=True)
class Unpacked:
    """An image that was made, and what tar takes out of it."""

    archive: Path
    sums: bytes
    manifest: dict[str, Any]
    config: dict[str, Any]
    root: Path


@pytest.fixture(scope="module")
def kept() -> dict[str, Unpacked]:
    """The image that most tests read is made once."""
    return {}


@pytest.fixture
def image(
    kept: dict[str, Unpacked],
    house: Callable[..., Path],
    base: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Unpacked:
    if not kept:
        folder, place = tmp_path_factory.mktemp("image"), house()
        archive = made(place, folder / "image.tar", base)
        manifest, config, root = unpacked(archive, folder)
        sums = (place / "SHA256SUMS").read_bytes()
        kept["image"] = Unpacked(
            archive=archive, sums=sums, manifest=manifest, config=config, root=root
        )
    return kept["image"]


def test_its_python_is_where_deployments_look_for_it() -> None:
    assert ContainerImage(reference="any").python == "/opt/stack/bin/python"


def test_what_is_in_it(image: Unpacked) -> None:
    manifest, config, root = image.manifest, image.config, image.root
    sums = hashlib.sha256(image.sums).hexdigest()
    for told in (manifest["annotations"], config["config"]["Labels"]):
        assert told["forkhouse.wheelhouse.sha256"] == sums
        assert json.loads(told["forkhouse.patches"]) == {"demo": ["0001-a.patch"]}
        assert json.loads(told["forkhouse.pins"])["demo-rocm"]["sha256"] == "0" * 64
        # The newest time in the wheels of ours, which tests/wheels.py gives them.
        assert told["org.opencontainers.image.created"] == "2024-05-06T07:08:10Z"
    assert config["config"]["User"] == "10001:10001"
    assert "Entrypoint" not in config["config"]
    assert variables(config)["KEPT"] == "yes"
    assert variables(config)["HOME"] == "/var/lib/forkhouse/home"
    papers = root / "usr/share/forkhouse"
    assert (papers / "SHA256SUMS").read_bytes() == image.sums
    assert json.loads((papers / "manifest.json").read_bytes())["profile"] == "cpu"
    accounts = (root / "etc/passwd").read_text(encoding="utf-8").splitlines()
    assert accounts[0].startswith("root:")
    assert accounts[1].startswith("stack:x:10001:10001:")
    assert not list(root.joinpath("opt").rglob("__pycache__"))
    writable = [each for each in (root / "opt").rglob("*") if each.lstat().st_mode & 0o022]
    assert [each for each in writable if not each.is_symlink()] == []


def test_a_patch_of_python_changes_one_layer(
    image: Unpacked, house: Callable[..., Path], base: Path, tmp_path: Path
) -> None:
    old = image.manifest
    changed = house("patched", "NAME = 'patched'\n")
    new, _, _ = unpacked(made(changed, tmp_path / "new.tar", base), tmp_path / "n")
    assert len(old["layers"]) == 1 + len(WHATS)
    differing = [
        number
        for number, (before, after) in enumerate(zip(old["layers"], new["layers"], strict=True))
        if before != after
    ]
    assert differing == [1 + WHATS.index("our wheels")]


def test_compiled_kernels_that_fit_are_in_it(
    house: Callable[..., Path], base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package, cache = "vllm_triton_cache_gfx90a", "def triton_key(): return 'a compiler'\n"
    triton = {
        "triton/__init__.py": b"__version__ = '3.9.0'\n",
        "triton/runtime/__init__.py": b"",
        "triton/runtime/cache.py": cache.encode(),
    }
    others = (
        write_wheel(tmp_path, "triton", "3.9.0", triton),
        write_wheel(tmp_path, "vllm", "0.31.0", {"vllm.py": b""}),
    )
    tools = {}
    for version, compiler in (("0.31.0", "a compiler"), ("0.31.1", "another")):
        said = {
            "target": "gfx90a",
            "vllm": "0.31.0",
            "triton": "3.9.0",
            "triton-key": hashlib.sha256(compiler.encode()).hexdigest(),
            "kernels": {"ABC": "attend"},
        }
        files = {
            f"{package}/__init__.py": b"",
            f"{package}/manifest.json": json.dumps(said).encode(),
        }
        kernels = write_wheel(tmp_path, package, version, files)
        tools[f"optional/{kernels.name}"] = kernels
    place = house("kernels", others=others, tools=tools)
    with showing():
        archive = made(place, tmp_path / "image.tar", base)
    _, _, root = unpacked(archive, tmp_path / "unpacked")
    found = sorted(root.glob(f"opt/stack/lib/python*/site-packages/{package}*"))
    assert [each.name for each in found] == [package, f"{package}-0.31.0.dist-info"]
    told = capsys.readouterr().err
    assert "1 compiled Triton kernels" in told
    assert f"NOT INSTALLED, {package}-0.31.1-py3-none-any.whl" in told
    assert kernel_variables(root / "opt/stack/bin/python", MI210) == {
        "TRITON_CACHE_MANAGER": f"{package}:CarriedCache"
    }


def test_a_worker_is_told_of_them() -> None:
    files = configuration(MI210, {"TRITON_CACHE_MANAGER": "kernels:CarriedCache"}, "", "")
    for name in ("worker", "prefill", "decode"):
        script = files[f"usr/local/bin/{name}"].content
        assert isinstance(script, bytes)
        told = "TRITON_CACHE_MANAGER=${TRITON_CACHE_MANAGER-kernels:CarriedCache}"
        assert f"{told} && export TRITON_CACHE_MANAGER" in script.decode().splitlines()


def test_its_python_imports_what_was_installed(image: Unpacked, tmp_path: Path) -> None:
    config, root, state = image.config, image.root, tmp_path / "state"
    asked = (
        "import ctypes, dynamo, getpass, helper, pathlib, sys; "
        "library = ctypes.CDLL(pathlib.Path(dynamo.__file__).with_name('libanswer.so')); "
        "print(dynamo.NAME, helper.ANSWER, library.answer(), sys.prefix, getpass.getuser())"
    )
    said = contained(
        root, state, "/opt/stack/bin/python", "-c", asked, environment=variables(config)
    )
    assert said.stdout == "ours 42 42 /opt/stack stack\n", said.stderr
    assert (state / "caches/python").is_dir()


def test_its_scripts_run_the_commands_of_serving(image: Unpacked, tmp_path: Path) -> None:
    config, root, state = image.config, image.root, tmp_path / "state"
    python = Path("/opt/stack/bin/python")
    chosen = {
        **variables(config),
        "STACK_MODEL": "/srv/a model's",
        "STACK_ADDRESS": "127.0.0.2",
        "STACK_LISTEN": "0.0.0.0",
        "STACK_PORT": "8123",
        "UCX_TLS": "tcp",
    }
    roles = {
        "worker": WorkerRole.AGGREGATED,
        "prefill": WorkerRole.PREFILL,
        "decode": WorkerRole.DECODE,
    }
    for name, role in roles.items():
        said = contained(root, state, name, "--more", "$x `y`", environment=chosen)
        assert said.returncode == 0, said.stderr
        arguments, environment = json.loads(said.stdout)
        whole = worker_command(
            python,
            role=role,
            device=CPU,
            model=Path("/srv/a model's"),
            served_name="a model's",
            arguments=("--more", "$x `y`"),
        )
        assert arguments == list(whole[3:])
        assert environment["UCX_TLS"] == "tcp"  # what is given has precedence
        assert environment["VLLM_NIXL_SIDE_CHANNEL_PORT"] == "9091"
        assert environment["DYN_TCP_RPC_HOST"] == "127.0.0.2"
        assert (state / "health").read_text(encoding="utf-8") == "http://127.0.0.2:9090/health\n"
    said = contained(root, state, "frontend", environment=chosen)
    arguments, environment = json.loads(said.stdout)
    assert arguments == list(frontend_command(python, port=8123, address="0.0.0.0")[3:])
    assert (state / "health").read_text(encoding="utf-8") == "http://127.0.0.1:8123/health\n"
    assert environment["DYN_FILE_KV"] == "/var/lib/forkhouse/discovery"


def test_its_health_check_tells_the_process_s_answer(image: Unpacked, tmp_path: Path) -> None:
    config, root, state = image.config, image.root, tmp_path / "state"
    environment = variables(config)
    said = contained(root, state, "healthcheck", environment=environment)
    assert (said.returncode, said.stderr) == (1, "nothing was started here\n")
    contained(root, state, "frontend", environment=environment)
    said = contained(root, state, "healthcheck", environment=environment)
    assert said.returncode == 1
    assert "http://127.0.0.1:8000/health: " in said.stderr
    server = (
        "import http.server as h, subprocess, sys, threading\n"
        "class Healthy(h.BaseHTTPRequestHandler):\n"
        "    def do_GET(self): self.send_response(200); self.end_headers()\n"
        "server = h.HTTPServer(('127.0.0.1', 8000), Healthy)\n"
        "threading.Thread(target=server.serve_forever, daemon=True).start()\n"
        "sys.exit(subprocess.run(['healthcheck']).returncode)\n"
    )
    said = contained(root, state, "/opt/stack/bin/python", "-c", server, environment=environment)
    assert said.returncode == 0, said.stderr


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")
def test_skopeo_reads_it(image: Unpacked, tmp_path: Path) -> None:
    archive = image.archive

    def asked(*arguments: str) -> dict[str, Any]:
        command = ["skopeo", "inspect", *arguments, f"oci-archive:{archive}"]
        said = subprocess.run(command, capture_output=True, check=True).stdout
        found: dict[str, Any] = json.loads(said)
        return found

    assert asked()["Labels"]["org.opencontainers.image.title"] == "forkhouse-cpu"
    assert len(asked()["Layers"]) == 1 + len(WHATS)
    assert asked("--config")["config"]["Cmd"] == ["frontend"]
    copy = ["skopeo", "copy", "--quiet", "--insecure-policy", f"oci-archive:{archive}"]
    subprocess.run([*copy, f"dir:{tmp_path / 'copy'}"], check=True)


def test_a_wheelhouse_that_is_not_as_it_was_built_is_refused(
    house: Callable[..., Path], base: Path, tmp_path: Path
) -> None:
    place = house()
    (place / "manifest.json").write_bytes(b"{}")
    with pytest.raises(HashMismatchError, match=r"manifest\.json"):
        made(place, tmp_path / "i.tar", base)
    with pytest.raises(ClosureError, match="is no wheelhouse"):
        made(tmp_path, tmp_path / "j.tar", base)
    assert not (tmp_path / "i.tar").exists()


def test_what_is_no_base_is_refused(
    house: Callable[..., Path], base_root: Path, tmp_path: Path
) -> None:
    place = house()
    (tmp_path / "empty/usr/bin").mkdir(parents=True)
    empty = tarred(tmp_path / "empty")
    cases = {
        "The base is for riscv64": oci_archive(tmp_path / "a", [empty], architecture="riscv64"),
        "The base has no Python": oci_archive(tmp_path / "b", [empty]),
        "is damaged": oci_archive(
            tmp_path / "c",
            [empty],
            changed={f"blobs/sha256/{hashlib.sha256(empty).hexdigest()}": b"other"},
        ),
        "KeyError: 'manifests'": oci_archive(
            tmp_path / "d", [empty], changed={"index.json": b"{}"}
        ),
        "cannot be a base": place / "manifest.json",
    }
    for number, (message, archive) in enumerate(cases.items()):
        with pytest.raises(ImageError, match=message):
            made(place, tmp_path / f"i{number}.tar", archive)


def test_a_base_with_another_python_is_refused(house: Callable[..., Path], tmp_path: Path) -> None:
    other = tmp_path / "other/usr/bin"
    other.mkdir(parents=True)
    (tmp_path / "other/bin").symlink_to("usr/bin")
    for library in ("lib", "lib64"):
        (tmp_path / "other" / library).mkdir()
    shell = shutil.which("sh")
    assert shell is not None
    shutil.copy(shell, other / "sh")
    said = subprocess.run(["ldd", shell], capture_output=True, text=True, check=True).stdout
    for word in said.split():
        if word.startswith("/"):
            (tmp_path / f"other{word}").parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(Path(word).resolve(), tmp_path / f"other{word}")
    answer = json.dumps([platform.machine(), ["3", "99"]])
    (other / "python3").write_text(f"#!/bin/sh\necho '{answer}'\n", encoding="utf-8")
    (other / "python3").chmod(0o755)
    archive = oci_archive(tmp_path / "base.tar", [tarred(tmp_path / "other")])
    with pytest.raises(ImageError, match=r"The base has Python 3\.99"):
        made(house(), tmp_path / "i.tar", archive)


def test_a_missing_mmdebstrap_is_named(
    house: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making_base, "SEARCH_PATH", str(tmp_path))
    with pytest.raises(ToolchainError, match=r"apt-get install .* mmdebstrap"):
        made(house(), tmp_path / "i.tar", None)


def test_a_time_that_is_none_is_refused(
    house: Callable[..., Path], base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH is 'yesterday'"):
        made(house(), tmp_path / "i.tar", base)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting is for root")
def test_the_command_gives_the_same_bytes_and_says_when_the_disk_is_full(
    image: Unpacked, house: Callable[..., Path], base: Path, tmp_path: Path
) -> None:
    house()
    root = tmp_path / "checkout"
    (root / "upstream.lock").touch()
    (root / "build").mkdir()
    command = ["--root", str(root), "image", "--base", str(base)]
    environment = {**os.environ, "FORKHOUSE_CACHE": str(tmp_path / "cache"), "CI": "1"}
    small = f"mount -t tmpfs -o size=8m tmpfs {root / 'build'}"
    full = forked.run(command, environment, mounts=small)
    assert full.returncode == 31, full.stderr
    assert "No space left on device" in full.stderr
    assert not (root / "wheels/cpu.oci.tar").exists()
    before = os.umask(0o077)
    try:
        done = forked.run([*command, "--json"], {**environment, "TZ": "Pacific/Auckland"})
    finally:
        os.umask(before)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert [each["what"] for each in answer["layers"]][1:] == WHATS
    assert Path(answer["file"]) == root / "wheels/cpu.oci.tar"
    assert not (root / "build/image").exists()
    assert Path(answer["file"]).read_bytes() == image.archive.read_bytes()
    with tarfile.open(answer["file"]) as archive:
        assert {each.mtime for each in archive} == {0}


@pytest.mark.integration
@pytest.mark.extended
@pytest.mark.skipif(shutil.which("mmdebstrap") is None, reason="mmdebstrap is not installed")
def test_a_real_base_is_made_twice_the_same(house: Callable[..., Path], tmp_path: Path) -> None:
    place = house()
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    first = made(place, closed / "1.tar", None)
    # Again in a folder that every user can reach: apt has one of its own for downloads.
    with tempfile.TemporaryDirectory() as reached:
        Path(reached).chmod(0o755)
        make_image(place, tmp_path / "2.tar", Path(reached))
    assert first.read_bytes() == (tmp_path / "2.tar").read_bytes()
    _, config, root = unpacked(first, tmp_path / "u")
    state = tmp_path / "state"
    asked = "import dynamo, ssl; print(dynamo.NAME)"
    said = contained(
        root, state, "/opt/stack/bin/python", "-c", asked, environment=variables(config)
    )
    assert said.stdout == "ours\n", said.stderr
    assert not (root / "etc/apt/sources.list").exists()
