"""Say what the stack's libraries see of the GPUs.

Runs alone, with the Python of the served stack; the output is a JSON object.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from typing import Any


def seen_by_amdsmi() -> list[str]:
    """Return the targets of AMD's management library, which is what vLLM asks for its platform."""
    amdsmi: Any = import_module("amdsmi")
    amdsmi.amdsmi_init()
    try:
        return [
            str(amdsmi.amdsmi_get_gpu_asic_info(gpu)["target_graphics_version"])
            for gpu in amdsmi.amdsmi_get_processor_handles()
        ]
    finally:
        amdsmi.amdsmi_shut_down()


def seen_by_torch() -> list[str]:
    """Return the targets of PyTorch, without the features behind them (gfx90a:sramecc+:xnack-)."""
    torch: Any = import_module("torch")
    return [
        torch.cuda.get_device_properties(number).gcnArchName.partition(":")[0]
        for number in range(torch.cuda.device_count())
    ]


def main() -> None:
    """Write it."""
    torch: Any = import_module("torch")
    json.dump(
        {"hip": torch.version.hip, "amdsmi": seen_by_amdsmi(), "torch": seen_by_torch()}, sys.stdout
    )


if __name__ == "__main__":
    main()
