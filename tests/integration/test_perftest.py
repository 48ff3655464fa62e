"""UCX's own measurements with the UCX of the wheelhouse.

The host's memory on the CPU, the GPU's with --device mi210.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest

from tests.integration.alone import run_alone

if TYPE_CHECKING:
    from pathlib import Path

    from forkhouse.serving.launching import Device

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

SIZE, ITERATIONS = 2**20, 100


def test_ucx_perftest_measures_within_a_process_and_between_two(
    stack_python: Path, device: Device, tmp_path: Path
) -> None:
    memory = "rocm" if device.target else "host"
    options = ("--memory", memory, "--size", str(SIZE), "--iterations", str(ITERATIONS))
    ended = run_alone(stack_python, device, tmp_path, "perftest.py", *options)
    assert ended.code == 0, ended.log
    assert {(each["processes"], each["test"]) for each in ended.objects} == set(
        product((1, 2), ("ucp_put_bw", "ucp_get", "tag_bw"))
    )
    for each in ended.objects:
        assert (each["memory"], each["bytes"], each["iterations"]) == (memory, SIZE, ITERATIONS)
        assert each["megabytes_per_second"] > 0


def test_memory_that_ucx_does_not_reach_is_an_error(
    stack_python: Path, device: Device, tmp_path: Path
) -> None:
    if device.target:
        pytest.skip("on a GPU, UCX reaches both kinds of memory")
    ended = run_alone(stack_python, device, tmp_path, "perftest.py", "--memory", "rocm")
    assert ended.code == 1
    assert not ended.objects
    assert "-m rocm" in ended.log
    # The second where its module was compiled for a HIP that this machine has not.
    assert "No such device" in ended.log or 'unsupported memory type: "rocm"' in ended.log
