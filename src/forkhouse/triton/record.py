"""The figures that were seen when a pin was taken, and what differs from them.

`triton-kernels.json` beside the lock has a line for each kernel of each case.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from forkhouse.core.errors import DocumentError
from forkhouse.documents.reading import Document

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from forkhouse.triton.figures import KernelFigures

FILE = "triton-kernels.json"


class Line(Document):
    """A kernel of a case."""

    case: str
    kernel: str
    variant: str
    target: str
    warps: int
    compiles: bool
    lds: int = 0
    vgpr: int = 0
    agpr: int = 0
    sgpr: int = 0
    spills: int = 0
    scratch: int = 0
    mfma: int = 0
    occupancy: int = 0


class Recorded(Document):
    """The whole file."""

    triton: str
    vllm: str
    kernels: tuple[Line, ...]

    def text(self) -> str:
        """Return it as JSON, a kernel a line, from which `parse` makes an equal one."""
        lines = ",\n".join(
            f"  {json.dumps(line.model_dump(by_alias=True))}" for line in self.kernels
        )
        head = f'"triton": {json.dumps(self.triton)},\n "vllm": {json.dumps(self.vllm)}'
        return f'{{{head},\n "kernels": [\n{lines}\n ]}}\n'


def parse(text: str | bytes) -> Recorded:
    """Read a record. Raises DocumentError."""
    try:
        return Recorded.model_validate_json(text)
    except ValidationError as error:
        message = f"{FILE}: it is no record of kernels: {error}. `--record` writes one."
        raise DocumentError(message) from error


def recorded(kernels: Iterable[KernelFigures], *, triton: str, vllm: str) -> Recorded:
    """Return what is to be recorded of kernels, in order."""
    lines = {
        (line.case, line.kernel, line.target, line.variant): line for line in map(_line, kernels)
    }
    return Recorded(triton=triton, vllm=vllm, kernels=tuple(lines[key] for key in sorted(lines)))


def merged(old: Recorded | None, new: Recorded) -> Recorded:
    """Return a record in which the cases of `new` take the place of those in `old`.

    Cases that were compiled by another Triton or vLLM are left out.
    """
    if old is None or (old.triton, old.vllm) != (new.triton, new.vllm):
        return new
    cases = {(line.case, line.target) for line in new.kernels}
    kept = [line for line in old.kernels if (line.case, line.target) not in cases]
    lines = sorted(
        (*kept, *new.kernels), key=lambda line: (line.case, line.kernel, line.target, line.variant)
    )
    return Recorded(triton=new.triton, vllm=new.vllm, kernels=tuple(lines))


def _line(kernel: KernelFigures) -> Line:
    of = kernel.figures
    line = Line(
        case=kernel.case,
        kernel=kernel.kernel,
        variant=kernel.variant,
        target=kernel.target,
        warps=kernel.warps,
        compiles=of is not None,
    )
    if of is None:
        return line
    figures = {
        "lds": of.lds,
        "vgpr": of.vgpr,
        "agpr": of.agpr,
        "sgpr": of.sgpr,
        "spills": of.vgpr_spills + of.sgpr_spills,
        "scratch": of.scratch,
        "mfma": of.mfma,
        "occupancy": of.occupancy,
    }
    return line.model_copy(update=figures)


@dataclass(frozen=True, kw_only=True, slots=True)
class News:
    """A difference from the record."""

    what: str
    """A whole sentence."""
    worse: bool
    """Whether it is an error.

    A kernel that is not launched any more is none: the upstream may launch another.
    """

    def __str__(self) -> str:
        """Return the sentence."""
        return self.what


def compare(old: Recorded, new: Recorded) -> tuple[News, ...]:
    """Return what differs, for the cases that `new` has.

    Worse: a kernel that no longer compiles, lost its matrix instructions, grew spills or scratch
    memory, or runs fewer waves than half. A note: a kernel that is launched no more, or is new, or
    whose other figures changed. Variants that both have are compared one by one; where an upstream
    has changed a kernel's arguments, the worst of the kernel's variants in that case are.
    """
    cases = {(line.case, line.target) for line in new.kernels}
    before = _grouped(line for line in old.kernels if (line.case, line.target) in cases)
    after = _grouped(new.kernels)
    found: list[News] = []
    known = {(line.case, line.target) for line in old.kernels}
    for key in sorted(before.keys() | after.keys()):
        case, kernel, target = key
        subject = f"{kernel} ({case}, {target})"
        if (case, target) not in known:
            continue
        if key not in after:
            found.append(News(what=f"{subject} is launched no more", worse=False))
        elif key not in before:
            found.append(News(what=f"{subject} is new", worse=False))
        else:
            found.extend(_differences(subject, before[key], after[key]))
    for case, target in sorted(cases - known):
        found.append(News(what=f"{case} ({target}) is not in the record", worse=False))
    return tuple(found)


def _grouped(lines: Iterable[Line]) -> dict[tuple[str, str, str], list[Line]]:
    groups: dict[tuple[str, str, str], list[Line]] = defaultdict(list)
    for line in lines:
        groups[line.case, line.kernel, line.target].append(line)
    return dict(groups)


def _differences(subject: str, before: Sequence[Line], after: Sequence[Line]) -> Iterator[News]:
    old, new = ({line.variant: line for line in lines} for lines in (before, after))
    same = sorted(old.keys() & new.keys())
    for variant in same:
        yield from _worse(f"{subject[:-1]}, {variant})", [old[variant]], [new[variant]])
        if old[variant] != new[variant]:
            figures = ", ".join(
                f"{name} {getattr(old[variant], name)} to {getattr(new[variant], name)}"
                for name in ("lds", "vgpr", "agpr", "sgpr", "mfma", "occupancy")
                if getattr(old[variant], name) != getattr(new[variant], name)
            )
            if figures:
                yield News(what=f"{subject[:-1]}, {variant}): {figures}", worse=False)
    gone = [old[variant] for variant in sorted(old.keys() - new.keys())]
    come = [new[variant] for variant in sorted(new.keys() - old.keys())]
    if gone and come:
        yield from _worse(subject, gone, come)
    if gone or come:
        what = f"{subject} has {len(come)} variants that are new, and {len(gone)} no more"
        yield News(what=what, worse=False)


def _worse(subject: str, before: Sequence[Line], after: Sequence[Line]) -> Iterator[News]:
    if any(not line.compiles for line in after):
        if all(line.compiles for line in before):
            yield News(what=f"{subject} compiles no more", worse=True)
        return
    if any(not line.compiles for line in before):
        return
    if min(line.mfma for line in before) and not min(line.mfma for line in after):
        yield News(what=f"{subject} has lost its matrix instructions", worse=True)
    for name in ("spills", "scratch"):
        most = [max(getattr(line, name) for line in lines) for lines in (before, after)]
        if most[1] > most[0]:
            yield News(what=f"{subject} has more {name}: {most[0]} to {most[1]}", worse=True)
    fewest = [min(line.occupancy for line in lines) for lines in (before, after)]
    if 2 * fewest[1] < fewest[0]:
        yield News(
            what=f"{subject} runs fewer waves a SIMD: {fewest[0]} to {fewest[1]}", worse=True
        )
