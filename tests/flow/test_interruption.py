"""A run may die at any moment; the next one finishes and gives the same bytes."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.flow.conftest import Checkout

KILLS = 10


def start(checkout: Checkout) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        checkout.command("build"),
        env=checkout.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def test_killed_at_random_points_the_next_run_gives_the_same_wheels(checkout: Checkout) -> None:
    started = time.monotonic()
    assert start(checkout).wait(120) == 0
    whole = time.monotonic() - started
    expected = checkout.wheelhouse()
    for folder in (checkout.root / "build", checkout.root / "wheels", checkout.cache):
        shutil.rmtree(folder)
    seed = random.randrange(2**32)
    generator = random.Random(seed)
    killed = 0
    # One kill in each tenth of a run, so that every stage is hit; a run that got further is hit in
    # its next one.
    for part in range(KILLS):
        run = start(checkout)
        time.sleep(whole * (part + generator.random()) / KILLS)
        if run.poll() is None:
            run.send_signal(signal.SIGKILL)
            killed += 1
        run.wait(60)
        house = checkout.root / "wheels/cpu"
        if house.exists():
            # What is there is whole, whenever the run died.
            checkout.run("verify")
    checkout.build()
    assert checkout.wheelhouse() == expected, f"seed {seed}"
    assert not list((checkout.root / "wheels").glob(".*"))
    assert killed >= KILLS // 2, (
        f"only {killed} of {KILLS} runs were still going when they were to be killed"
    )
