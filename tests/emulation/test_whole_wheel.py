"""Every instruction of a wheel's GPU code is decoded as LLVM's disassembler decodes it."""

from __future__ import annotations

import os
import zipfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from forkhouse.binaries.codeobject import read_code_object
from forkhouse.binaries.elf import MAGIC, Elf
from forkhouse.binaries.offload import read_bundles
from tests.emulation.second_decoder import Comparison, compare

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.emulation, pytest.mark.hip, pytest.mark.timeout(7200)]


def code_objects(wheel: Path, folder: Path) -> Iterator[Path]:
    """Write the code objects of a wheel's libraries into a folder."""
    number = 0
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            if not content.startswith(MAGIC):
                continue
            for bundle in read_bundles(Elf(content).section(".hip_fatbin") or b""):
                for each in bundle.objects:
                    if each.size:
                        number += 1
                        path = folder / f"{number:04}-{Path(name).name}"
                        path.write_bytes(each.content)
                        yield path


def compared(path: Path, disassembler: str) -> tuple[int, Comparison]:
    """Return how many kernels a code object has, and how its instructions compare."""
    result = Comparison()
    compare(path, disassembler, result)
    return len(read_code_object(path.read_bytes()).kernels), result


def test_every_kernel_is_decoded_as_llvm_does(
    request: pytest.FixtureRequest, disassembler: str, tmp_path: Path
) -> None:
    wheel = request.config.getoption("--hip-wheel")
    if wheel is None:
        pytest.skip("no --hip-wheel: a wheel that was built for ROCm")
    objects = list(code_objects(wheel, tmp_path))
    # The largest first: no process is left with one at the end.
    objects.sort(key=lambda path: path.stat().st_size, reverse=True)
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        results = list(pool.map(compared, objects, [disassembler] * len(objects)))
    kernels = sum(count for count, _ in results)
    equal = sum(result.equal for _, result in results)
    different = [
        f"{path.name}: {each}"
        for path, (_, result) in zip(objects, results, strict=True)
        for each in result.different
    ]
    names = set().union(*(result.names for _, result in results))
    print(
        f"\n{len(objects)} code objects, {kernels} kernels, {equal} instructions of "
        f"{len(names)} operations read alike, {len(different)} otherwise"
    )
    assert kernels > 0
    assert different[:100] == []
