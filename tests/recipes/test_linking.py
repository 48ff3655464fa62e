"""What makes a wheel relocatable, on libraries that are compiled there and then."""

from __future__ import annotations

import platform
import subprocess
import zipfile
from typing import TYPE_CHECKING

import pytest

from forkhouse.builders.environment import Needs
from forkhouse.builders.linking import Linker, libraries, with_true_tag
from forkhouse.core.errors import BuildError
from forkhouse.flow.building import open_workshop
from forkhouse.sandbox.bubblewrap import View, find_sandbox
from forkhouse.sandbox.run import Confined
from tests.wheels import pack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.recipes.conftest import Checkout

INFO = "demo-1.0.dist-info"


class Bench:
    """A folder where libraries are compiled and put into a wheel."""

    def __init__(self, folder: Path, tools: Path) -> None:
        self.folder = folder
        self.sibling = folder / "needs/demo-transport"
        (self.sibling / "transport/lib").mkdir(parents=True)
        self.compile(
            "needs/demo-transport/transport/lib/libtransport.so.0", "int move(void) { return 1; }"
        )
        variables = {"PATH": f"{tools}:/usr/bin:/bin"}
        confined = Confined(
            sandbox=find_sandbox(), view=View(work=folder, readable=(tools.parent,))
        )
        self.linker = Linker(
            work=folder, confined=confined, variables=variables, log=folder / "demo.log"
        )

    def compile(self, path: str, code: str, *links: str) -> bytes:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        soname = f"-Wl,-soname,{target.name}"
        command = [
            "gcc",
            "-shared",
            "-fPIC",
            "-g",
            soname,
            "-x",
            "c",
            "-",
            "-o",
            str(target),
            "-x",
            "none",
            *links,
        ]
        subprocess.run(command, input=code, text=True, cwd=self.folder, check=True)
        return target.read_bytes()

    def user(self, *links: str) -> bytes:
        """Return a library that calls the sibling's."""
        transport = "needs/demo-transport/transport/lib/libtransport.so.0"
        code = "int move(void);\nint twice(void) { return 2 * move(); }"
        return self.compile("out/libdemo.so", code, transport, *links)

    def relocate(self, files: dict[str, bytes], **siblings: Path) -> Path:
        path = self.folder / "demo-1.0-cp311-cp311-linux_x86_64.whl"
        wheel = (
            b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\n"
            b"Tag: cp311-cp311-linux_x86_64\n"
        )
        about = {f"{INFO}/METADATA": b"", f"{INFO}/WHEEL": wheel, f"{INFO}/RECORD": b""}
        pack(path, {**files, **about})
        return self.linker.relocate(
            path,
            packages=["demo"],
            siblings=siblings or {"demo-transport": self.sibling},
            epoch=1_700_000_000,
        )


@pytest.fixture
def bench(tmp_path: Path, template: Checkout) -> Bench:
    return Bench(tmp_path, open_workshop(template.plant()).environment.python(Needs()).parent)


def test_a_library_is_linked_to_its_sibling(bench: Bench, tmp_path: Path) -> None:
    # The build folder's path is in the debugging information, which is stripped.
    content = bench.user("-Wl,-rpath,/build/here")
    assert str(tmp_path).encode() in content
    made = bench.relocate({"demo/lib/libdemo.so": content, "demo/__init__.py": b""})
    assert made.name.startswith("demo-1.0-cp311-cp311-manylinux_2_")
    site = tmp_path / "site"
    with zipfile.ZipFile(made) as archive:
        archive.extractall(site)
    (bench.sibling / "transport").rename(site / "transport")
    program = "import ctypes, sys; print(ctypes.CDLL(sys.argv[1]).twice())"
    said = subprocess.run(
        ["python3", "-c", program, str(site / "demo/lib/libdemo.so")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == "2\n"
    dynamic = subprocess.run(
        ["readelf", "-d", str(site / "demo/lib/libdemo.so")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "Library rpath: [$ORIGIN/../../transport/lib]" in dynamic


def test_equal_wheels_have_equal_bytes(bench: Bench) -> None:
    files = {"demo/libdemo.so": bench.user()}
    first = bench.relocate(files).read_bytes()
    assert bench.relocate(files).read_bytes() == first


def test_a_pure_wheel_stays_as_it_is(bench: Bench) -> None:
    path = bench.folder / "demo-1.0-py3-none-any.whl"
    pack(path, {"demo/__init__.py": b"", f"{INFO}/METADATA": b""})
    assert bench.linker.relocate(path, packages=["demo"], siblings={}, epoch=0) == path


def test_a_bundled_sibling_is_refused(bench: Bench) -> None:
    copy = (bench.sibling / "transport/lib/libtransport.so.0").read_bytes()
    with pytest.raises(
        BuildError, match=r"it has a copy of libtransport\.so\.0, which is in demo-transport"
    ):
        bench.relocate({"demo/libdemo.so": bench.user(), "demo/libtransport.so.0": copy})


def test_a_part_that_was_dropped_without_a_word_is_found_out(bench: Bench) -> None:
    alone = bench.compile("out/libdemo.so", "int one(void) { return 1; }")
    with pytest.raises(BuildError, match="nothing in it links a library of demo-transport"):
        bench.relocate({"demo/libdemo.so": alone})


def test_a_library_of_this_machine_alone_is_refused(bench: Bench) -> None:
    bench.compile("site/libsite.so.3", "int site(void) { return 1; }")
    code = "int move(void); int site(void); int both(void) { return move() + site(); }"
    content = bench.compile(
        "out/libdemo.so",
        code,
        "site/libsite.so.3",
        "needs/demo-transport/transport/lib/libtransport.so.0",
    )
    with pytest.raises(
        BuildError,
        match=r"demo/libdemo\.so needs libsite\.so\.3, which is neither in it, nor in a wheel",
    ):
        bench.relocate({"demo/libdemo.so": content})


def test_headers_and_modules_of_other_names_are_refused(bench: Bench) -> None:
    files = {
        "nixl_cu12/libdemo.so": bench.user(),
        "demo-1.0.data/headers/asio.hpp": b"",
        "demo-1.0.data/headers/asio/ip.hpp": b"",
    }
    with pytest.raises(BuildError) as caught:
        bench.relocate(files)
    lines = str(caught.value).splitlines()
    assert (
        lines[0] == "demo-1.0-cp311-cp311-linux_x86_64.whl was built, but is not as it has to be:"
    )
    assert (
        "  - it has demo-1.0.data (2 files), which the recipe does not name among its packages"
        in lines
    )
    assert (
        "  - it has nixl_cu12 (1 files), which the recipe does not name among its packages" in lines
    )
    assert "  - it has no demo, which the recipe promises" in lines


def test_a_path_of_the_build_folder_is_refused(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"demo/settings\.py names a path of the build folder"):
        bench.relocate(
            {
                "demo/libdemo.so": bench.user(),
                "demo/settings.py": f"ROOT = '{tmp_path}/lib'\n".encode(),
            }
        )


def test_texts_that_stand_for_libraries_are_none(bench: Bench) -> None:
    (bench.sibling / "transport/lib/libtransport.so").write_text(
        "INPUT(libtransport.so.0)\n", encoding="utf-8"
    )
    assert [library.soname for library in libraries(bench.sibling)] == ["libtransport.so.0"]


def test_a_linux_tag_becomes_the_one_that_its_libraries_allow(
    make_wheel: Callable[..., Path], tmp_path: Path
) -> None:
    source = tmp_path / "lib.c"
    source.write_text(
        "#include <stdlib.h>\nvoid *take(void) { return malloc(1); }\n", encoding="utf-8"
    )
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", tmp_path / "lib.so", source], check=True)
    machine = platform.machine()
    compiled = make_wheel(
        "demo",
        files={"demo/lib.so": (tmp_path / "lib.so").read_bytes()},
        tag=f"py3-none-linux_{machine}",
    )
    made = with_true_tag(compiled, 1_700_000_000)
    assert made.name.startswith("demo-1.0-py3-none-manylinux_2_")
    with zipfile.ZipFile(made) as archive:
        tag = made.name.removesuffix(".whl").split("-", 2)[2]
        assert f"Tag: {tag}\n" in archive.read("demo-1.0.dist-info/WHEEL").decode()
        assert archive.read("demo/lib.so") == (tmp_path / "lib.so").read_bytes()
    assert with_true_tag(made, 1_700_000_000) == made
    pure = make_wheel("pure", tag=f"py3-none-linux_{machine}")
    assert with_true_tag(pure, 1_700_000_000) == pure
