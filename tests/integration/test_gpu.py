"""What only a machine with an MI210 can show.

Serving, transfers and kernels are tested there by the other files, with --device mi210.
"""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from forkhouse.serving.device import require_gpu
from forkhouse.serving.launching import WorkerRole
from forkhouse.serving.stack import WorkerPlan, running_stack
from tests.integration.alone import run_alone

if TYPE_CHECKING:
    import psutil

    from forkhouse.serving.launching import Device
    from forkhouse.serving.stack import Setting
    from tests.integration.conftest import Model

pytestmark = [pytest.mark.integration, pytest.mark.mi210, pytest.mark.timeout(600)]


@pytest.fixture(autouse=True, scope="module")
def gpu(device: Device) -> None:
    if device.target is None:
        pytest.skip("needs --device mi210")


@pytest.fixture(scope="module")
def seen(
    stack_python: Path, device: Device, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What the stack's libraries see."""
    ended = run_alone(stack_python, device, tmp_path_factory.mktemp("gpus"), "gpus.py")
    assert ended.code == 0, ended.log
    return ended.objects[-1]


def test_the_kernel_lists_a_gpu_that_this_user_may_open(device: Device) -> None:
    assert require_gpu("gfx90a", launcher=device.launcher)


def test_ucx_reaches_gpu_memory(stack_python: Path, device: Device) -> None:
    command = [*device.launcher, str(stack_python.with_name("ucx_info")), "-d"]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    transports = {line.split()[-1] for line in listing.splitlines() if "Transport:" in line}
    assert {"rocm_copy", "rocm_ipc"} <= transports


def test_torch_is_built_for_rocm_and_sees_the_gpu(seen: dict[str, Any]) -> None:
    assert seen["hip"]
    assert "gfx90a" in seen["torch"]


def test_amdsmi_sees_the_gpu(seen: dict[str, Any]) -> None:
    assert "gfx90a" in seen["amdsmi"]


def test_an_engine_that_holds_the_gpu_answers_as_the_cpu_does(
    setting: Setting, model: Model
) -> None:
    with running_stack(setting, [WorkerPlan(role=WorkerRole.AGGREGATED)]) as stack:
        answers = [
            stack.chat(prompt.text, tokens=model.answer_tokens).text for prompt in model.prompts
        ]
        engines = [
            process
            for process in stack.worker(WorkerRole.AGGREGATED).server.descendants()
            if _holds_gpu(process)
        ]
    assert answers == [prompt.answer for prompt in model.prompts]
    assert engines


def _holds_gpu(process: psutil.Process) -> bool:
    return any(
        _leads_to(file) == Path("/dev/kfd")
        for file in Path("/proc", str(process.pid), "fd").iterdir()
    )


def _leads_to(file: Path) -> Path | None:
    with contextlib.suppress(FileNotFoundError):  # closed meanwhile
        return file.readlink()
    return None
