"""RIXL, and NIXL as nixl_rocm, by our own recipes from small upstreams that have every trap of the
large ones.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from packaging.metadata import Metadata
from packaging.utils import parse_wheel_filename

from forkhouse.builders.environment import Needs
from forkhouse.core.environments import make_environment
from forkhouse.flow.building import open_workshop

if TYPE_CHECKING:
    from pathlib import Path

    from forkhouse.builders.built import BuiltWheel
    from tests.recipes.conftest import Checkout

Pair = tuple["BuiltWheel", "BuiltWheel"]
# 42 of UCX, three of the plugin's subprojects, one of the core's.
ANSWER = "46\n"


def package(pair: Pair) -> str:
    return pair[0].distribution.replace("-", "_")


def elf(pair: Pair) -> dict[str, dict[str, list[str]]]:
    """Return what each library of the wheel says of itself.

    The texts of its dynamic entries by their tags, and its symbol tables.
    """
    found = {}
    with zipfile.ZipFile(pair[0].path) as archive:
        for name in archive.namelist():
            if ".so" not in name:
                continue
            file = ELFFile(io.BytesIO(archive.read(name)))
            entries: dict[str, list[str]] = {
                "sections": [str(section.name) for section in file.iter_sections()]
            }
            for section in file.iter_sections():
                if isinstance(section, DynamicSection):
                    for tag in section.iter_tags():
                        attribute = tag.entry.d_tag.removeprefix("DT_").lower()
                        entries.setdefault(attribute, []).append(getattr(tag, attribute, ""))
            found[name] = entries
    return found


def test_it_finds_ucx_in_the_sibling_wheel_wherever_both_are_installed(
    transfer: Pair, tmp_path: Path
) -> None:
    python = make_environment(tmp_path / "stack")
    command = [
        "unshare",
        "--map-root-user",
        "--net",
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--quiet",
    ]
    # The other requirements of the upstream are no matter of this test.
    subprocess.run(
        [*command, "--no-index", "--no-deps", *(str(wheel.path) for wheel in transfer)], check=True
    )
    program = f"import {package(transfer)}; print({package(transfer)}.nixl_agent())"
    assert (
        subprocess.run(
            [python, "-c", program], env={}, capture_output=True, text=True, check=True
        ).stdout
        == ANSWER
    )

    # Another UCX in LD_LIBRARY_PATH, as sites with their own have it, is not mixed in.
    site = tmp_path / "site"
    site.mkdir()
    (site / "ucp.c").write_text("int ucp_answer(void) { return 0; }\n", encoding="utf-8")
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-Wl,-soname,libucp.so.0", "-o", "libucp.so.0", "ucp.c"],
        cwd=site,
        check=True,
    )
    said = subprocess.run(
        [python, "-c", program],
        env={"LD_LIBRARY_PATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == ANSWER


def test_the_wheel_holds_its_package_and_its_libraries_and_nothing_else(transfer: Pair) -> None:
    name = package(transfer)
    with zipfile.ZipFile(transfer[0].path) as archive:
        paths = set(archive.namelist())
        info = f"{name}-{transfer[0].version}.dist-info"
        metadata = Metadata.from_email(archive.read(f"{info}/METADATA"))
        tags = [
            line
            for line in archive.read(f"{info}/WHEEL").decode().splitlines()
            if line.startswith("Tag: ")
        ]
    libraries = {
        f".{name}.mesonpy.libs/{path}"
        for path in ("libnixl.so", "libserdes.so", "plugins/libplugin_UCX.so")
    }
    assert {path for path in paths if not path.startswith((f"{name}/", f"{info}/"))} == libraries
    assert f"{name}/_api.py" in paths
    # The terms of what is compiled in go with it.
    assert f"{info}/licenses/abseil-cpp/LICENSE" in paths
    # What the upstream requires stays; torch, which it wants for building, was never asked for.
    assert {str(requirement) for requirement in metadata.requires_dist or ()} == {
        "numpy",
        f"libucx-rocm=={transfer[1].version}",
    }
    assert (metadata.name, str(metadata.version)) == (transfer[0].distribution, transfer[0].version)
    assert tags == [f"Tag: {tag}" for tag in parse_wheel_filename(transfer[0].path.name)[3]]
    assert "-manylinux_2_" in transfer[0].path.name


def test_run_paths_are_relative_and_lead_to_what_is_needed(transfer: Pair) -> None:
    libraries = elf(transfer)
    name = package(transfer)
    hidden = f".{name}.mesonpy.libs"
    plugin = libraries[f"{hidden}/plugins/libplugin_UCX.so"]
    assert {"libucp.so.0", "libserdes.so"} <= set(plugin["needed"])
    # DT_RPATH, which LD_LIBRARY_PATH does not override.
    assert {path for each in plugin["rpath"] for path in each.split(":")} == {
        "$ORIGIN/..",
        "$ORIGIN/../../libucx_rocm/lib",
    }
    assert libraries[f"{hidden}/libnixl.so"]["rpath"] == ["$ORIGIN"]
    assert [each["rpath"] for path, each in libraries.items() if path.startswith(f"{name}/")] == [
        [f"$ORIGIN/../{hidden}"]
    ]
    assert "rpath" not in libraries[f"{hidden}/libserdes.so"]
    assert not [path for path, each in libraries.items() if "runpath" in each]


def test_libraries_are_stripped(transfer: Pair) -> None:
    assert not [
        path
        for path, each in elf(transfer).items()
        if {".symtab", ".debug_info"} & set(each["sections"])
    ]


def test_no_path_of_the_build_is_left(transfer: Pair, template: Checkout) -> None:
    with zipfile.ZipFile(transfer[0].path) as archive:
        contents = b"".join(archive.read(name) for name in archive.namelist())
    assert str(template.root).encode() not in contents
    assert (
        b"./needs/libucx-rocm/libucx_rocm/include/ucp/api/ucp.h" in contents
    )  # where UCX's header says that it lies


def test_the_user_s_cuda_and_uv_are_not_seen(transfer: Pair, template: Checkout) -> None:
    assert not list(template.machine.glob("*-was-run"))
    needed = {soname for each in elf(transfer).values() for soname in each.get("needed", ())}
    # hiprtc and HIP itself are linked by RIXL's build, and not used.
    assert needed <= {
        *("libnixl.so", "libserdes.so", "libucp.so.0", "libucs.so.0"),
        *("libc.so.6", "libm.so.6", "libstdc++.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2"),
    }


def test_outside_of_our_builds_the_same_upstream_runs_the_user_s_nvcc(
    template: Checkout, tmp_path: Path
) -> None:
    """What proves that the test above would find out."""
    meson = open_workshop(template.plant()).environment.python(Needs()).parent / "meson"
    subprocess.run(
        [
            "git",
            "clone",
            "--quiet",
            str(template.mirror / "ai-dynamo/nixl"),
            str(tmp_path / "project"),
        ],
        check=True,
    )
    command = [str(meson), "setup", "--wrap-mode=nodownload", "build"]
    environment = {**os.environ, **template.user()}
    subprocess.run(
        command, cwd=tmp_path / "project", env=environment, capture_output=True, check=False
    )
    mark = template.machine / "nvcc-was-run"
    assert mark.exists()
    mark.unlink()


def test_its_origin_is_known_to_the_last_part(transfer: Pair, template: Checkout) -> None:
    wheel, ucx = transfer
    laid = {part.source.upstream: part.path for part in wheel.parts}
    lock = template.lock()
    assert laid == {
        name: lock.components[name].path for name in lock.upstreams[wheel.recipe].components
    }
    assert [sibling.sha256 for sibling in wheel.siblings] == [ucx.sha256]


def test_a_second_build_has_nothing_to_do(transfer: Pair, template: Checkout) -> None:
    again = template.build(transfer[0].recipe, "ucx")
    assert [wheel.seconds for wheel in again.values()] == [0, 0]
    assert again[transfer[0].recipe].sha256 == transfer[0].sha256
