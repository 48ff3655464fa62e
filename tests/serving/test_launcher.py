"""A launcher that shows a simulated MI210 to what it starts, and notes what it was given to
start.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from forkhouse.core.errors import NoDeviceError
from forkhouse.serving.device import Gpu, find_gpus, require_gpu
from forkhouse.serving.launching import MI210, WorkerRole
from forkhouse.serving.patience import patient, set_patience
from forkhouse.serving.processes import wait_until
from forkhouse.serving.stack import FrontendPlan, Setting, WorkerPlan, started_stack

ROOT = Path(__file__).parents[2]
SUITE = """
import time
import pytest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1)]


def test_it_runs(request):
    assert request.node.get_closest_marker("timeout").args == (20,)


def test_ucx_perftest_measures_within_a_process_and_between_two():
    assert False
"""


@pytest.fixture
def launcher(tmp_path: Path) -> tuple[str, ...]:
    """A command with a blank in its path, as people have them."""
    node = tmp_path / "emulated/topology/nodes/1"
    node.mkdir(parents=True)
    (node / "properties").write_text(
        "vendor_id 4098\ngfx_target_version 90010\ndrm_render_minor 128\n", encoding="utf-8"
    )
    script = tmp_path / "my emulator"
    script.write_text(
        f"""#!/bin/sh
printf '%s\\0' "$@" >> {tmp_path}/started; echo >> {tmp_path}/started
exec bwrap --die-with-parent --dev-bind / / --dev /dev --tmpfs /sys/class \\
    --ro-bind {tmp_path}/emulated /sys/class/kfd/kfd \\
    --dev-bind /dev/null /dev/kfd --dev-bind /dev/null /dev/dri/renderD128 -- "$@"
""",
        encoding="utf-8",
    )
    script.chmod(0o755)
    return (str(script),)


def started(launcher: tuple[str, ...]) -> list[list[str]]:
    """Return the commands that the launcher was given."""
    text = Path(launcher[0]).with_name("started").read_text(encoding="utf-8")
    return [line.split("\0")[:-1] for line in text.splitlines()]


def test_the_gpus_are_those_that_the_launcher_shows(launcher: tuple[str, ...]) -> None:
    (gpu,) = require_gpu("gfx90a", launcher=launcher)
    devices = (Path("/dev/kfd"), Path("/dev/dri/renderD128"))
    assert gpu == Gpu(node=1, target="gfx90a", devices=devices)
    assert not find_gpus()  # or this machine has some, and shows nothing
    with pytest.raises(NoDeviceError, match=r"lists only gfx90a \(node 1\)"):
        require_gpu("gfx942", launcher=launcher)


def test_a_worker_is_started_by_the_launcher_and_the_front_end_is_not(
    launcher: tuple[str, ...], tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 100\n", encoding="utf-8")
    python.chmod(0o755)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    setting = Setting(
        python=python,
        model=tmp_path / "model",
        device=replace(MI210, launcher=launcher),
        scratch=scratch,
        caches=tmp_path,
    )
    plans = [WorkerPlan(role=WorkerRole.PREFILL)]
    note = Path(launcher[0]).with_name("started")
    with started_stack(setting, plans, FrontendPlan()) as stack:
        wait_until(note.is_file, what="the launcher", servers=stack.servers, wait=30)
    (command,) = started(launcher)
    assert command[:3] == [str(python), "-m", "dynamo.vllm"]
    assert stack.frontend.command[0] == str(python)


def test_results_are_marked_and_tests_get_more_time(
    launcher: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "test_small.py").write_text(SUITE, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    quoted = f"'{launcher[0]}' --quick"
    result = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "test_small.py", "-p", "tests.integration.options"),
            *("--launcher", quoted, "--junitxml=junit.xml", "--results=results.json", "-rs"),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    assert f"EMULATED, not on a GPU: under {quoted}" in result.stdout
    suite = ET.parse(tmp_path / "junit.xml").getroot()[0]
    properties = {each.get("name"): each.get("value") for each in suite.findall("properties/*")}
    assert properties == {"emulated": "true", "launcher": quoted}
    for case in suite.findall("testcase"):
        named = [(each.get("name"), each.get("value")) for each in case.findall("properties/*")]
        assert named == [("emulated", "true")]
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert [each["outcome"] for each in results] == ["passed", "skipped"]
    assert results[1]["why"] == "Skipped: emulated: it measures how fast memory is"


def test_patience_is_a_factor_of_at_least_one() -> None:
    assert patient(3) == 3
    for wrong in (0, 0.5, -1, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="no factor"):
            set_patience(wrong)
