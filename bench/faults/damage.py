"""Full disks, and damaged files of the cache, the journal and the object store."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from typing import TYPE_CHECKING

from bench.faults.site import Outcome, end_fault, fault_of, house_fault, run

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator
    from pathlib import Path

    from bench.faults.site import Site

PLACES = {
    "work": "checkout/build",
    "store": "checkout/build/store.git",
    "wheelhouse": "checkout/wheels",
    "cache": "cache",
}
ROOMY = "256m"
FULL = frozenset({0, 31})


def fill(site: Site, folder: Path, chance: random.Random, place: str) -> Outcome:
    """Let a disk be full at some size in one place, then make room."""
    checkout = site.copy(folder)
    size = int(4096 * 2 ** (chance.random() * 9))  # 4 KiB to 2 MiB, by doubling
    where = folder / PLACES[place]
    where.mkdir(parents=True, exist_ok=True)
    with _small_disk(where, size):
        fault = fault_of(run(checkout, "build"), FULL) or house_fault(checkout)
        subprocess.run(["mount", "-o", f"remount,size={ROOMY}", str(where)], check=True)
        fault = fault or end_fault(site, checkout)
    return Outcome(kind=f"disk full: {place}", held=not fault, what=f"{size} bytes: {fault}")


@contextlib.contextmanager
def _small_disk(where: Path, size: int) -> Iterator[None]:
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "forkhouse-faults", str(where)], check=True
    )
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(where)], check=True)


DAMAGES = ("a bit", "cut", "emptied", "deleted", "a digit", "another's")


def damage(site: Site, folder: Path, chance: random.Random, place: str) -> Outcome:
    """Damage one file of the cache, the journal or the store after a build, then build again."""
    checkout = site.copy(folder)
    checkout.run("build")
    places = {
        "cache": checkout.cache,
        "journal": checkout.root / "build/journal",
        "store": checkout.root / "build/store.git",
    }
    # What tells that there is nothing to do would hide the damage; a cache is asked only by a
    # checkout that was not built.
    shutil.rmtree(checkout.root / "build/fresh", ignore_errors=True)
    found = sorted(
        path for path in places[place].rglob("*") if path.is_file() and not path.is_symlink()
    )
    if place == "cache":
        shutil.rmtree(checkout.root / "build")
        shutil.rmtree(checkout.root / "wheels")
    path, how = chance.choice(found), chance.choice(DAMAGES)
    _spoil(path, how, chance, found)
    fault = fault_of(run(checkout, "build")) or end_fault(site, checkout)
    return Outcome(
        kind=f"damaged: {place}",
        held=not fault,
        what=f"{path.relative_to(places[place])} {how}: {fault}",
    )


def _spoil(path: Path, how: str, chance: random.Random, others: list[Path]) -> None:
    content = bytearray(path.read_bytes())
    path.chmod(0o644)
    digits = [place for place, byte in enumerate(content) if byte in b"0123456789"]
    match how:
        case "a bit" if content:
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        case "a digit" if digits:
            place = chance.choice(digits)
            content[place] = ord(str((int(chr(content[place])) + 1) % 10))
        case "cut":
            del content[chance.randrange(len(content) + 1) :]
        case "another's":
            content = bytearray(chance.choice(others).read_bytes())
        case "deleted":
            path.unlink()
            return
        case _:
            content.clear()
    path.write_bytes(content)
