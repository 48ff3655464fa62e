"""PEP 517 backends that answer nonsense: each is explained, and nothing of it is taken."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.flow.conftest import Checkout

HOOK = "def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):\n"
WHEEL = "small_transport-2.0+rocm.1-py3-none-linux_x86_64.whl"
THERE = f"import os, shutil; path = pathlib.Path(wheel_directory, {WHEEL!r}); "
ANSWERS = {
    "return '/etc/passwd'": "answered with '/etc/passwd', a path and no name",
    "return '../../x.whl'": "a path and no name",
    "return None": "gave no answer that can be used",
    "return 7": "gave no answer that can be used",
    "return ['a.whl']": "gave no answer that can be used",
    "return ''": "answered with '', which is no name of a wheel",
    "return '.'": "which is no name of a wheel",
    "return 'a\\0b.whl'": "which is no name of a wheel",
    "return 'a\\udcff.whl'": "which is no name of a wheel",
    "return 'a' * 5000 + '.whl'": "aaa…', which is no name of a wheel",
    "open(wheel_directory + '/x.txt', 'w').close(); return 'x.txt'": (
        "answered with 'x.txt', which is no name of a wheel"
    ),
    f"return {WHEEL!r}": "and there is no such file",
    THERE + "path.write_text('x'); return path.name": "which is no zip archive",
    THERE + "path.mkdir(); return path.name": "and that is no file",
    THERE + "path.symlink_to('/etc/passwd'); return path.name": "and that is no file",
    THERE + "path.symlink_to(path.name); return path.name": "and there is no such file",
    THERE + "os.mkfifo(path); return path.name": "and that is no file",
    THERE
    + "shutil.rmtree(path.parent); return path.name": "removed the folder for its wheel, or put "
    "another in its place",
    THERE + "path.parent.rmdir(); path.parent.symlink_to('/etc'); return 'passwd'": (
        "removed the folder for its wheel"
    ),
    "import os; os._exit(0)": "it ended without an answer",
    "raise SystemExit(0)": "it ended without an answer",
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_that_is_no_wheel_is_explained(checkout: Checkout, answer: str) -> None:
    checkout.edit("recipes/transport/backend.py", HOOK, f"{HOOK}    {answer}\n")
    result = subprocess.run(
        checkout.command("build"),
        env=checkout.environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 21, result.stderr
    assert ANSWERS[answer] in result.stderr
    assert not [line for line in result.stderr.splitlines() if line.startswith("Traceback")]
    assert len(result.stderr) < 4000
    assert not (checkout.root / "wheels").exists()


IN_PLACE = {
    "os.mkfifo(place)": "a FIFO would be waited for",
    "os.symlink('/dev/zero', place)": "a device has no end",
    "os.symlink('/etc/os-release', place)": "a file of the machine",
    "os.mkdir(place)": "a folder",
    "open(place, 'w').write('1' * 2_000_000)": "more than an answer has",
}


@pytest.mark.parametrize("trick", IN_PLACE)
def test_what_lies_in_the_place_of_the_answer_is_never_read(checkout: Checkout, trick: str) -> None:
    """The answer is read outside of the sandbox, from a folder where the build writes."""
    evil = (
        "    import os, sys\n    place = os.path.join(sys.argv[-1], 'output.json')\n"
        f"    {trick}\n    os._exit(0)\n"
    )
    checkout.edit("recipes/transport/backend.py", HOOK, f"{HOOK}{evil}")
    said = checkout.run("build", code=21).stderr
    assert "its PEP 517 backend left something else in the place of its answer" in said


DEEP = (
    "    import os\n    here = os.getcwd()\n    for _ in range(3000):\n        os.mkdir('d')\n"
    "        os.chdir('d')\n    open('file', 'w').close()\n    os.chmod('.', 0o500)\n"
    "    os.chdir({where})\n"
)


def test_folders_without_end_that_a_build_leaves_are_removed(checkout: Checkout) -> None:
    failing = f"{HOOK}{DEEP.format(where='here')}    raise SystemExit(1)\n"
    checkout.edit("recipes/transport/backend.py", HOOK, failing)
    for _ in range(2):
        checkout.run("build", code=21)
    checkout.edit("recipes/transport/backend.py", "    raise SystemExit(1)\n", "")
    checkout.build()
    assert not (checkout.root / "build/work/transport").exists()


def test_two_wheels_are_one_too_many(checkout: Checkout) -> None:
    checkout.edit(
        "recipes/transport/backend.py",
        "    return name\n",
        (
            "    import shutil\n    folder = pathlib.Path(wheel_directory)\n    shutil.copy(folder "
            "/ "
            "name, folder / f'other_{name}')\n    return name\n"
        ),
    )
    assert (
        "and wrote other wheels beside it: other_small_transport"
        in checkout.run("build", code=21).stderr
    )


@pytest.mark.parametrize(
    "answer",
    [
        "return '../x'",
        "return 'x'",
        "return '.'",
        "return None",
        "return 3",
        "MADE; os.mkfifo(made / 'METADATA'); return 'm'",
    ],
)
def test_metadata_that_is_none_is_explained(checkout: Checkout, answer: str) -> None:
    made = "import os; made = pathlib.Path(metadata_directory, 'm'); made.mkdir(parents=True)"
    hook = (
        "def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):\n    "
        f"{answer.replace('MADE', made)}\n\n"
    )
    checkout.edit("recipes/transport/backend.py", HOOK, f"{hook}{HOOK}")
    result = subprocess.run(
        checkout.command("lock", "--update", "transport"),
        env=checkout.environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode in {0, 21}, result.stderr
    assert not [line for line in result.stderr.splitlines() if line.startswith("Traceback")]
