"""What our patch does to KV blocks that lie otherwise at the sender.

Every value, for every pair of orders.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.alone import run_alone

if TYPE_CHECKING:
    from pathlib import Path

    from forkhouse.serving.launching import Device

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


def test_every_value_comes_to_its_place(stack_python: Path, device: Device, tmp_path: Path) -> None:
    ended = run_alone(stack_python, device, tmp_path, "arrangement.py")
    assert ended.code == 0, ended.log
    assert len(ended.objects) == 2 * 3 * 2  # orders, lengths, the same order and the other
    assert all(each["right"] for each in ended.objects), ended.objects
    # Or nothing had to be done: it has not where the order is the same and a block is one, or
    # tokens lie outside.
    idle = [each for each in ended.objects if each["before"]]
    assert all(
        not each["other"] and (each["pieces"] == 1 or each["outside"] == "tokens") for each in idle
    )
    assert len(idle) == 1 + 3
