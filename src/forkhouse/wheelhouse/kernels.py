"""The GPU kernels of our wheels: read once, and held against what the lock recorded."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from forkhouse.audit.framework import torch_symbols
from forkhouse.audit.gpu import gpu_contents
from forkhouse.audit.look import audit_wheel
from forkhouse.binaries.kernels import KernelInventory
from forkhouse.core.digests import digest
from forkhouse.core.errors import AuditError
from forkhouse.core.journal import Record, Stage
from forkhouse.core.progress import report
from forkhouse.core.wording import bullets
from forkhouse.documents.lockfile import KernelPin
from forkhouse.wheelhouse.manifest import CompiledContent
from forkhouse.wheelhouse.optional import read_kernels

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from forkhouse.audit.look import AuditTerms
    from forkhouse.audit.report import AuditReport
    from forkhouse.binaries.resources import KernelResources
    from forkhouse.builders.built import BuiltWheel
    from forkhouse.core.journal import Journal


class CompiledContents(Record):
    """What a wheel of ours holds that was compiled."""

    kernels: str
    """Its kernels and what each takes, as `KernelInventory` writes them."""
    torch: tuple[str, ...]
    """The symbols of PyTorch that it needs."""


_COMPILED = Stage("compiled", CompiledContents)


def compiled(wheel: BuiltWheel, journal: Journal, engine: str) -> CompiledContent:
    """Return the facts about a wheel's libraries; they are read only once."""
    key = digest(wheel.sha256, engine)
    record = journal.get(_COMPILED, key)
    if record is None:
        found = gpu_contents(wheel.path)
        kernels = KernelInventory(libraries=found.kernels, resources=found.resources)
        record = CompiledContents(kernels=kernels.text(), torch=tuple(torch_symbols(wheel.path)))
        journal.put(_COMPILED, key, record)
    read = KernelInventory.parse(record.kernels, name=wheel.path.name)
    return CompiledContent(
        kernels=read.libraries, resources=read.resources, torch_symbols=record.torch
    )


def kernel_pins(content: CompiledContent) -> tuple[KernelPin, ...]:
    """Return what a lock records of the kernels of a wheel."""
    taken: dict[tuple[str, str], list[KernelResources]] = {}
    for each in content.resources:
        taken.setdefault((each.library, each.target), []).append(each)
    return tuple(
        KernelPin(
            library=library.library,
            target=library.target,
            count=len(library.kernels),
            sha256=hashlib.sha256(
                "".join(f"{name}\n" for name in library.kernels).encode()
            ).hexdigest(),
            spilling=sum(each.vgpr_spills > 0 for each in own),
            lds=max((each.lds for each in own), default=0),
            scratch=max((each.scratch for each in own), default=0),
        )
        for library in content.kernels
        for own in [taken.get((library.library, library.target), [])]
    )


def _grown(old: KernelPin, new: KernelPin) -> Iterator[str]:
    """Yield what kernels take more of than the lock recorded, each as the end of a sentence."""
    if old.spilling is not None and (new.spilling or 0) > old.spilling:
        yield f"{new.spilling} kernels spill registers, not {old.spilling} as in the lock"
    for before, now, what in (
        (old.lds, new.lds, "bytes of LDS"),
        (old.scratch, new.scratch, "bytes of private memory"),
    ):
        if before is not None and (now or 0) > before:
            yield f"a kernel takes {now} {what}, and none took more than {before} in the lock"


def check_kernels(
    wheel: BuiltWheel, content: CompiledContent, recorded: Sequence[KernelPin]
) -> None:
    """Compare the kernels of a wheel with what the lock recorded. Raises AuditError.

    Another compiler may instantiate templates of the libraries' own in other numbers, so more than
    before is said, and less refused.
    """
    found = {(pin.library, pin.target): pin for pin in kernel_pins(content)}
    lost = []
    for old in recorded:
        new = found.get((old.library, old.target))
        if new is None or new.count < old.count:
            lost.append(
                f"{old.library} has {new.count if new else 0} kernels for {old.target}, the lock "
                f"recorded {old.count}"
            )
        elif new.sha256 != old.sha256:
            report().line(
                wheel.recipe,
                (
                    f"{old.library}: {new.count} kernels for {old.target}, not the same "
                    f"{old.count} "
                    "as in the lock"
                ),
            )
        if new is not None:
            for what in _grown(old, new):
                report().line(wheel.recipe, f"{old.library}: for {old.target} {what}")
    if lost:
        lines = bullets(lost)
        message = (
            f"{wheel.path.name} has lost GPU code:\n{lines}\nFind out what left it out. If it is "
            "meant to be so, "
            f"`forkhouse lock --update {wheel.patched.source.upstream}` records what is there now."
        )
        raise AuditError(message)


def audit_kernels(wheel: Path, terms: AuditTerms) -> AuditReport:
    """Audit a wheel of kernels as one of ours, for the one GPU that it is for.

    Raises ClosureError for a wheel that is none of kernels, OSError where it is not there.
    """
    return audit_wheel(wheel, replace(terms, targets=(read_kernels(wheel).target,)), ours=True)
