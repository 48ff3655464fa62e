"""The audit against those whose place it takes: pip and uv install, or refuse, the same wheels."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest
from packaging.utils import parse_wheel_filename
from uv import find_uv_bin

from forkhouse.audit.installable import check_paths
from tests.audit.conftest import look
from tests.audit.mutants import ENTRIES, FILES, FOLDERS, NAMES, VERSIONS, Draft, mutate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

SEED = 20261128
WHEELS = 48
FOR_UV = 6
STRICTER = (
    # What pip lets pass, and why the audit does not.
    "is in the wheel twice",  # which one is there in the end is chance
    "leads out of its folder by '..'",  # even where it comes back
    "has an empty step or '.' in its path",  # one file has several names, and RECORD knows one
    "has a backslash in its path",
    "has a control character in its path",
    "and its folder ",  # pip compares the beginning of the name alone
    "is in a .data folder that is not",  # pip takes any
    "has a METADATA whose",  # given twice: pip takes the first
    "has the Requires-Python",  # no specifier: pip takes any Python
    "has the Wheel-Version",  # 0.x, or no two numbers: uv refuses it
    "bytes before its first file",  # uv refuses it
    "bytes behind its end",  # uv refuses it
    "the two headers of",  # uv refuses it
    "its last record does not tell",  # uv refuses it
    # pip reads requirements when it is asked for them
    "has a METADATA that cannot be read: Expected",
    "has a RECORD with ",  # columns that are too many or missing: uv refuses it
    "which installers cannot make",  # pip skips what it cannot read
    "is the metadata of another distribution",
    "has an entry_points.txt that cannot be read",  # pip reads what it can; uv refuses it
)

_PIP = """
import contextlib, io, json, sys
from pip._internal.cli.main import main
options = ["--isolated", "--quiet", "--no-index", "--no-deps", "--no-compile", "--no-cache-dir",
           "--disable-pip-version-check"]
for folder, wanted in json.load(sys.stdin):
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        places = ["--find-links", folder, "--target", f"{folder}/pip"]
        code = main(["install", *options, *places, wanted])
    print(json.dumps([code == 0, said.getvalue()[-400:]]))
"""
"""One process for all, as starting pip takes longer than what it is asked for."""


def pip(wheels: Iterable[Path]) -> list[tuple[bool, str]]:
    """Return of each wheel, which lies alone in its folder, whether pip installs it, and what it
    said.
    """
    question = json.dumps([(str(path.parent), wanted(path)) for path in wheels])
    environment = {
        "PATH": os.environ["PATH"],
        "PIP_CONFIG_FILE": "/dev/null",
        "PYTHONWARNINGS": "ignore",
    }
    result = subprocess.run(
        [sys.executable, "-c", _PIP],
        input=question,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return [(installed, said) for installed, said in map(json.loads, result.stdout.splitlines())]


def uv(path: Path) -> tuple[bool, str]:
    options = [
        "--quiet",
        "--no-index",
        "--no-deps",
        "--no-cache",
        "--no-config",
        "--python",
        sys.executable,
        "--find-links",
        str(path.parent),
    ]
    command = [
        find_uv_bin(),
        "pip",
        "install",
        *options,
        "--target",
        str(path.parent / "uv"),
        wanted(path),
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.returncode == 0, result.stderr


def wanted(path: Path) -> str:
    return "{}=={}".format(*parse_wheel_filename(path.name)[:2])


def packed(draft: Draft, folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / draft.file).write_bytes(draft.pack())
    return folder / draft.file


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_the_audit_is_of_one_mind_with_pip_and_uv(tmp_path: Path) -> None:
    made = []
    for number in range(WHEELS):
        source = random.Random(f"{SEED}/{number}")
        draft = Draft()
        what = [mutate(draft, source) for _ in range(source.choice([1, 1, 2]))]
        made.append((what, packed(draft, tmp_path / str(number))))
    answers = pip(path for _, path in made)
    passed = 0
    for (what, path), (installs, said) in zip(made, answers, strict=True):
        reports = [look(path, ours=ours) for ours in (False, True)]
        findings = [str(finding) for finding in reports[0].findings]
        assert installs or not any(report.passed for report in reports), (
            f"{what}: passed, and pip says {said}"
        )
        assert not installs or all(
            any(reason in finding for reason in STRICTER) for finding in findings
        ), f"{what}: pip installs; {findings}"
        if reports[0].passed:
            passed += 1
            if passed <= FOR_UV:
                assert uv(path) == (True, ""), what
    # Else the mutations would be so wild that agreement is no news.
    assert WHEELS // 6 < passed < WHEELS
    assert sum(not installs for installs, _ in answers) > WHEELS // 6


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"file": "demo_pkg-1.0+rocm7-py3-none-any.whl"},
         "is demo-pkg 1.0+rocm7 by its file name, and its folder demo_pkg-1.0.dist-info is "
         "another's"),
        ({"file": "demo_pkg-1.0+rocm7-py3-none-any.whl"},
         "is demo-pkg 1.0+rocm7 by its file name, and demo-pkg 1.0 by its METADATA"),
        ({"file": "other-1.0-py3-none-any.whl"},
         "is other 1.0 by its file name, and demo-pkg 1.0 by its METADATA"),
        ({"info": "demo_pkg-2.0.dist-info"},
         "is demo-pkg 1.0 by its file name, and its folder demo_pkg-2.0.dist-info is another's"),
        ({"info": "demo_pkg_more-1.0.dist-info"},
         "and its folder demo_pkg_more-1.0.dist-info is another's"),
        ({"metadata": b"Name: demo-pkg\nVersion: 9.0\n"}, "and demo-pkg 9.0 by its METADATA"),
        ({"metadata": b"Name: another\nVersion: 1.0\n"}, "and another 1.0 by its METADATA"),
        ({"metadata": b"Name: demo-pkg\nName: demo-pkg\nVersion: 1.0\n"},
         "has a METADATA whose name cannot be read"),
        ({"metadata": None}, "has no demo_pkg-1.0.dist-info/METADATA"),
        ({"wheel": None}, "has no demo_pkg-1.0.dist-info/WHEEL"),
        ({"wheel": b"Wheel-Version: 9\nTag: py3-none-any\n"},
         "has the Wheel-Version '9' in its WHEEL file, which is none"),
        ({"wheel": b"Wheel-Version: 2.0\nTag: py3-none-any\n"},
         "has the Wheel-Version 2.0; installers know 1.x and stop at others"),
        ({"wheel": b"Tag: py3-none-any\n"}, "has no Wheel-Version in its WHEEL file"),
        ({"files": [("../x", b"")]}, "../x leads out of its folder by '..'"),
        ({"files": [("a/../../x", b"")]}, "a/../../x leads out of its folder by '..'"),
        ({"files": [("/etc/x", b"")]}, "/etc/x is an absolute path"),
        ({"files": [("a\\..\\x", b"")]}, "has a backslash in its path"),
        ({"files": [("a//x", b"")]}, "a//x has an empty step or '.' in its path"),
        ({"files": [("a/\x1b[2Jx", b"")]}, "a/\\x1b[2Jx has a control character in its path"),
        ({"files": [("a", b""), ("a/x", b"")]}, "a is a file and a folder at once"),
        ({"files": [("a", b""), ("demo_pkg-1.0.data/purelib/a/x", b"")]},
         "a is a file and a folder at once"),
        ({"files": [("a", b""), ("demo_pkg-1.0.data/platlib/a", b"")]},
         "a is in the wheel twice; which one is installed is chance"),
        ({"files": [("other-1.0.dist-info/METADATA", b"")]},
         "has 2 .dist-info folders (demo_pkg-1.0.dist-info, other-1.0.dist-info)"),
        ({"files": [("demo_pkg-1.0.data/purelib/o-1.0.dist-info/METADATA", b"")]},
         "is the metadata of another distribution"),
        ({"files": [("o.egg-info/PKG-INFO", b"")]},
         "o.egg-info/PKG-INFO is the metadata of another distribution"),
        ({"files": [("demo_pkg-1.0.data/lib/x", b"")]},
         "is in a .data folder, and in none of its folders data, headers, platlib, purelib, "
         "scripts"),
        ({"files": [("demo_pkg-1.0.data/x", b"")]},
         "demo_pkg-1.0.data/x is in a .data folder, and in none of"),
        ({"files": [("other-1.0.data/data/x", b"")]},
         "is in a .data folder that is not demo_pkg-1.0's"),
        ({"files": [("demo_pkg-1.0.dist-info/entry_points.txt", ENTRIES[1].encode())]},
         "asks for the command 'run' of 'demo_pkg'"),
        ({"files": [("demo_pkg-1.0.dist-info/entry_points.txt", ENTRIES[2].encode())]},
         "asks for the command '../run'"),
        ({"metadata": b"Name: demo-pkg\nVersion: 1.0\nRequires-Python: >=99\n"},
         "requires Python >=99, and the wheelhouse is for this one"),
        ({"metadata": b"Name: demo-pkg\nVersion: 1.0\n"
                      b"Requires-Dist: a @ https://b.example/a.whl\n"},
                      "requires a by its address, https://b.example/a.whl:"),
        ({"metadata": b"Name: demo-pkg\nVersion: 1.0\nRequires-Dist: a @ file:///srv/a.whl\n"},
         "requires a by its address, file:///srv/a.whl:"),
    ],
)  # fmt: skip
def test_what_no_installer_should_take_is_refused_with_its_reason(
    tmp_path: Path, change: dict[str, object], finding: str
) -> None:
    path = packed(Draft(**change), tmp_path / "it")  # type: ignore[arg-type]
    for ours in (True, False):
        said = [str(each) for each in look(path, ours=ours).findings]
        assert any(finding in each for each in said), said


INFO = "demo_pkg-1.0.dist-info"
RUN = b"run = demo_pkg:main\n"


def entries(text: bytes) -> dict[str, object]:
    return {"files": [(f"{INFO}/entry_points.txt", text)]}


def packed_by(method: int) -> Callable[[bytes], bytes]:
    """Return what packs the files of a wheel anew in another way."""

    def change(content: bytes) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
            for name in old.namelist():
                new.writestr(zipfile.ZipInfo(name, (2024, 5, 6, 7, 8, 10)), old.read(name), method)
        return out.getvalue()

    return change


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"change_zip": packed_by(zipfile.ZIP_BZIP2)}, "is packed in another way than deflate"),
        ({"change_zip": packed_by(zipfile.ZIP_LZMA)}, "is packed in another way than deflate"),
        (entries(b"[console_scripts]\n" + RUN + RUN),
         "has an entry_points.txt that cannot be read"),
        (entries(b"[console_scripts]\n" + RUN + b"[console_scripts]\nmore = demo_pkg:main\n"),
         "has an entry_points.txt that cannot be read"),
        (entries(b"\xef\xbb\xbf[console_scripts]\n" + RUN),
         "has an entry_points.txt that cannot be read"),
        (entries(b"[]\n" + RUN), "has an entry_points.txt that cannot be read"),
        (entries(b"[DEFAULT]\nx = y\n[console_scripts]\n" + RUN),
         "has an entry_points.txt with a section DEFAULT"),
        (entries(b"[console_scripts]\n" + RUN + b" more = demo_pkg:main\n"),
         "asks for the command 'run' in several lines"),
        (entries(b"[console_scripts]\npython = demo_pkg:main\n"),
         "bin/python is a part of every environment"),
        (entries(b"[gui_scripts]\npython3.11 = demo_pkg:main\n"),
         "bin/python3.11 is a part of every environment"),
        ({"files": [("demo_pkg-1.0.data/scripts/python3", b"#!/bin/sh\n")]},
         "bin/python3 is a part of every environment"),
        ({"files": [("demo_pkg-1.0.data/data/bin/Python", b"#!/bin/sh\n")]},
         "bin/Python is a part of every environment"),
        ({"files": [("demo_pkg-1.0.data/scripts/sub/run", b"#!/bin/sh\n")]},
         "is in a folder among the scripts"),
        ({"files": [("demo_pkg/a\u200bb", b"")]}, "has a control character in its path"),
        ({"files": [("demo_pkg/a\ue000b", b"")]}, "has a control character in its path"),
    ],
)  # fmt: skip
def test_what_uv_alone_refuses_is_refused(
    tmp_path: Path, change: dict[str, object], finding: str
) -> None:
    path = packed(Draft(**change), tmp_path / "it")  # type: ignore[arg-type]
    assert uv(path)[0] is False
    for ours in (True, False):
        said = [str(each) for each in look(path, ours=ours).findings]
        assert any(finding in each for each in said), said


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (entries(b"[console_scripts]\n" + RUN + b"[gui_scripts]\n" + RUN),
         "bin/run is in the wheel twice; which one is installed is chance"),
        ({"files": [("demo_pkg-1.0.data/scripts/run", b""),
                    (f"{INFO}/entry_points.txt", b"[console_scripts]\n" + RUN)]},
                    "bin/run is in the wheel twice"),
        ({"files": [("demo_pkg-1.0.data/scripts/run", b""),
                    ("demo_pkg-1.0.data/data/bin/run", b"")]}, "bin/run is in the wheel twice"),
        ({"files": [
            ("a", b""),
            ("demo_pkg-1.0.data/data/lib/python{}.{}/site-packages/a".format(*sys.version_info),
             b""),
        ]}, "a is in the wheel twice"),
        ({"files": [("demo_pkg-1.0.data/data/lib", b"")]}, "lib is a file and a folder at once"),
        ({"files": [("demo_pkg-1.0.data/data/pyvenv.cfg", b"")]},
         "pyvenv.cfg is a part of every environment"),
        ({"change_record": lambda record: record.replace(b"RECORD,,", b"RECORD,sha256=A,3")},
         "has a RECORD with a hash or size of itself"),
    ],
)  # fmt: skip
def test_what_would_be_chance_or_harm_is_refused(
    tmp_path: Path, change: dict[str, object], finding: str
) -> None:
    path = packed(Draft(**change), tmp_path / "it")  # type: ignore[arg-type]
    for ours in (True, False):
        said = [str(each) for each in look(path, ours=ours).findings]
        assert any(finding in each for each in said), said


@pytest.mark.parametrize(
    "change",
    [
        entries(b"; note\n\n[console_scripts]\r\n" + RUN + b"[group]\nrun = %(any)s\n"),
        {"files": [("demo_pkg/a\u00e9\u3000b \u00a0", b"")]},
        {
            "files": [
                ("demo_pkg-1.0.data/scripts/pythonx", b"#!/bin/sh\n"),
                ("demo_pkg-1.0.data/data/share/python", b""),
            ]
        },
    ],
)
def test_what_all_installers_take_passes(tmp_path: Path, change: dict[str, object]) -> None:
    path = packed(Draft(**change), tmp_path / "it")  # type: ignore[arg-type]
    assert (uv(path)[0], pip([path])[0][0]) == (True, True)
    assert look(path, ours=False).findings == ()


@pytest.mark.parametrize(
    ("info", "data", "is_of_it"),
    [
        ("demo_pkg-1.0", "Demo.Pkg-1.0.0", True),
        ("demo_pkg-1.0", "demo_pkg-1.1", False),
        # A folder that names no version is told by its letters alone.
        ("demo_pkg-latest", "demo_pkg-latest", True),
        ("demo_pkg-latest", "demo_pkg-older", False),
        ("demo_pkg-latest", "demo_pkg-newest", False),
        ("demo_pkg-latest", "demo_pkg-1.0", False),
        ("demo_pkg", "demo_pkg", True),
        ("demo_pkg", "demo", False),
        ("demo_pkg", "other", False),
    ],
)
def test_a_data_folder_belongs_to_the_folder_of_the_metadata(
    info: str, data: str, *, is_of_it: bool
) -> None:
    said = [str(each) for each in check_paths((f"{data}.data/data/x",), f"{info}.dist-info")]
    reason = f"{data}.data/data/x is in a .data folder that is not {info}'s"
    assert said == ([] if is_of_it else [reason])


@pytest.mark.parametrize("name", ["demo-pkg", "Demo_Pkg", "demo.pkg"])
@pytest.mark.parametrize("version", ["1.0", "1.0.0", "v1"])
@pytest.mark.parametrize("folder", ["demo_pkg-1.0", "Demo.Pkg-1.0.0"])
def test_one_name_and_version_may_be_written_in_many_ways(
    tmp_path: Path, name: str, version: str, folder: str
) -> None:
    assert {name, version} <= {*NAMES, *VERSIONS, "v1"}
    draft = Draft(
        metadata=f"Name: {name}\nVersion: {version}\n".encode(),
        info=f"{folder}.dist-info",
        file=FILES[0],
    )
    path = packed(draft, tmp_path / "it")
    assert look(path).findings == look(path, ours=False).findings == ()


def test_the_lists_of_mutations_hold_the_right_and_the_wrong() -> None:
    assert FOLDERS[0] == Draft().info
    assert Draft().file not in FILES
