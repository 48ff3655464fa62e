"""The GPU kernels of our wheels: read once, and held against what the lock recorded."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from forkhouse.audit.framework import torch_symbols
from forkhouse.audit.gpu import inventory
from forkhouse.binaries.kernels import KernelInventory
from forkhouse.core.digests import digest
from forkhouse.core.errors import AuditError
from forkhouse.core.journal import Record, Stage
from forkhouse.core.progress import report
from forkhouse.core.wording import bullets
from forkhouse.documents.lockfile import KernelPin
from forkhouse.wheelhouse.manifest import CompiledContent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkhouse.builders.built import BuiltWheel
    from forkhouse.core.journal import Journal


class Compiled(Record):
    """What a wheel of ours holds that was compiled."""

    kernels: str
    """Its kernels, as `KernelInventory` writes them."""
    torch: tuple[str, ...]
    """The symbols of PyTorch that it needs."""


_COMPILED = Stage("compiled", Compiled)


def compiled(wheel: BuiltWheel, journal: Journal, engine: str) -> CompiledContent:
    """Return the facts about a wheel's libraries; they are read only once."""
    key = digest(wheel.sha256, engine)
    record = journal.get(_COMPILED, key)
    if record is None:
        kernels = KernelInventory(libraries=inventory(wheel.path))
        record = Compiled(kernels=kernels.text(), torch=tuple(torch_symbols(wheel.path)))
        journal.put(_COMPILED, key, record)
    read = KernelInventory.parse(record.kernels, name=wheel.path.name)
    return CompiledContent(kernels=read.libraries, torch_symbols=record.torch)


def kernel_pins(content: CompiledContent) -> tuple[KernelPin, ...]:
    """Return what a lock records of the kernels of a wheel."""
    return tuple(
        KernelPin(
            library=each.library,
            target=each.target,
            count=len(each.kernels),
            sha256=hashlib.sha256(
                "".join(f"{name}\n" for name in each.kernels).encode()
            ).hexdigest(),
        )
        for each in content.kernels
    )


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
    if lost:
        lines = bullets(lost)
        message = (
            f"{wheel.path.name} has lost GPU code:\n{lines}\nFind out what left it out. If it is "
            "meant to be so, "
            f"`forkhouse lock --update {wheel.patched.source.upstream}` records what is there now."
        )
        raise AuditError(message)
