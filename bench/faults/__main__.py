"""Try the faults, say what held, and write docs/explanation/reliability.md.

`python -m bench.faults --seed 1`.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench.faults.damage import PLACES, damage, fill
from bench.faults.hostile import SECONDS, archive, index
from bench.faults.kills import cut, kill
from bench.faults.site import Outcome, Site, make_site

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PAGE = Path(__file__).parents[2] / "docs/explanation/reliability.md"
WHOLE = {
    "SIGKILL": 300,
    "power cut": 100,
    "disk full": 200,
    "damaged cache": 60,
    "damaged journal": 60,
    "damaged store": 60,
    "hostile index": 120,
    "hostile archive": 400,
}
"""How many tries of each class a whole run has."""


def tries(counts: dict[str, int]) -> list[Callable[[Site, Path, random.Random], Outcome]]:
    """Return what is tried, in an order in which a part of it is a part of each class."""
    classes: dict[str, list[Callable[[Site, Path, random.Random], Outcome]]] = {
        "SIGKILL": [kill],
        "power cut": [cut],
        "disk full": [partial(fill, place=place) for place in PLACES],
        "hostile index": [index],
        "hostile archive": [archive],
        **{
            f"damaged {place}": [partial(damage, place=place)]
            for place in ("cache", "journal", "store")
        },
    }
    wanted = [
        (number / counts[name], each[number % len(each)])
        for name, each in classes.items()
        for number in range(counts[name])
    ]
    return [one for _, one in sorted(wanted, key=lambda pair: pair[0])]


def attempt(
    site: Site,
    folder: Path,
    seed: str,
    number: int,
    one: Callable[[Site, Path, random.Random], Outcome],
) -> Outcome:
    """Make one try in a folder of its own, which goes when it held."""
    own = folder / f"try-{number}"
    try:
        outcome = one(site, own, random.Random(f"{seed}:{number}"))  # nothing secret
    except Exception as error:  # a run that does not end is what is looked for
        outcome = Outcome(
            kind="did not end", held=False, what=f"{getattr(one, '__name__', one)}: {error!r}"[:500]
        )
    shutil.rmtree(own, ignore_errors=True)
    return outcome


def page(outcomes: Sequence[Outcome], seed: str, seconds: float) -> str:
    """Return the page that tells what was tried and what held."""
    made, held = (
        Counter(each.kind for each in outcomes),
        Counter(each.kind for each in outcomes if each.held),
    )
    rows = "\n".join(f"| {kind} | {made[kind]} | {held[kind]} |" for kind in sorted(made))
    return f"""# Reliability

What `nox -s faults` has tried on a small checkout (a C library from git, an engine from a wheel, a
third-party wheel), and what held. This page is written by the run (`-- --write`).

A try holds when no run ends with a traceback or with an exit code that has no meaning, a
wheelhouse that is there passes `forkhouse verify` at any time, and the last run, with nothing done
by hand, gives the same files as one that nothing disturbed.

| what was done | tries | held |
|---|---|---|
{rows}
| all | {len(outcomes)} | {sum(held.values())} |

Seed {seed}, {len(outcomes)} tries in {seconds / 60:.0f} min, {time.strftime("%Y-%m-%d")}.

- **SIGKILL**: at a random instant of a build, once or twice, of the process, of its group, or of
  one process below it.
- **Power cut**: everything is killed at a random instant. What was not made durable since it was
  last written (seen by the calls of `fsync` and `fdatasync`) is then whole, empty, cut, zeros or
  gone, at random. The order of names is taken to be kept, as journaling file systems do.
- **Disk full**: the cache, the work folder, the object store or the wheelhouse lies on a disk of
  4 KiB to 2 MiB; then there is room again.
- **Hostile index**: one that misbehaves in a third or in all of its answers: errors, half and
  wrong files, wrong hashes and lengths, redirects that lead nowhere, packed answers that grow
  without end. An honest one follows.
- **Hostile archive**: a small tar file, zip file or wheel with odd names, links, devices, much of
  nothing, flipped bytes or an early end is read, or audited; what counts is that it is read or
  refused with a reason, within {SECONDS} s of processor time.
- **Damaged**: one file of the cache, the journal or the object store has a flipped bit, another
  digit, an earlier end, no content, another file's content, or is gone.
"""


def say(text: str) -> None:
    """Write a line, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    """Read the options and run the tries in parallel.

    Ends with exit code 1 when one of them did not hold.
    """
    options = argparse.ArgumentParser(prog="bench.faults", description=__doc__)
    options.add_argument("--tries", type=int, help="how many tries in all; without it, a whole run")
    options.add_argument("--seed", default="1")
    options.add_argument("--only", help="a part of a class's name, to try that class alone")
    options.add_argument(
        "--write", action="store_true", help="write docs/explanation/reliability.md"
    )
    given = options.parse_args()
    counts = {
        name: count if given.only is None or given.only in name else 0
        for name, count in WHOLE.items()
    }
    chosen = tries(counts)[: given.tries]
    started = time.monotonic()
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="forkhouse-faults-") as scratch:
        folder = Path(scratch)
        site = make_site(folder)
        say(f"an undisturbed build takes {site.seconds:.1f} s; {len(chosen)} tries")
        with ProcessPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
            running = [
                pool.submit(attempt, site, folder, given.seed, number, one)
                for number, one in enumerate(chosen)
            ]
            for number, future in enumerate(running, start=1):
                outcomes.append(outcome := future.result())
                if not outcome.held:
                    say(f"DID NOT HOLD: {outcome.kind}: {outcome.what}")
                if number % 20 == 0:
                    say(
                        f"{number} of {len(chosen)} tries, "
                        f"{sum(not each.held for each in outcomes)} did not hold"
                    )
    seconds = time.monotonic() - started
    lost = [each for each in outcomes if not each.held]
    say(f"{len(outcomes)} tries in {seconds:.0f} s, seed {given.seed}; {len(lost)} did not hold")
    if given.write:
        PAGE.write_text(page(outcomes, given.seed, seconds), encoding="utf-8")
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main()
