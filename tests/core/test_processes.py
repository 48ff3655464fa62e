from __future__ import annotations

import functools
import subprocess
import sys
import time

import psutil

from forkhouse.core.processes import end, members

# It starts one process after the other, each of which starts one more.
BREEDER = """
import os, time
print("ready", flush=True)
for _ in range(100):
    if not os.fork():
        os.fork()
        time.sleep(60)
time.sleep(60)
"""
ATTEMPTS = 5


def test_who_is_started_while_others_are_killed_ends_as_well() -> None:
    for attempt in range(ATTEMPTS):
        with subprocess.Popen(
            [sys.executable, "-c", BREEDER], stdout=subprocess.PIPE, process_group=0
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(attempt / 1000)
            # No group tells whose they are: only who started them, while that runs.
            left = end(functools.partial(_family, psutil.Process(process.pid)), 10)
            unseen = members(process.pid)
            end(functools.partial(members, process.pid), 10)
            assert (left, unseen) == ([], [])


def _family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)] if process.is_running() else []
