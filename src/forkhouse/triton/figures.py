"""What became of each kernel: read from the files that Triton left in its cache.

The code object's own metadata gives registers, memory and spills; the assembly text the matrix
instructions; Triton's first intermediate form whether the kernel multiplies matrices, and of what.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from forkhouse.binaries.occupancy import Occupancy, occupancy
from forkhouse.binaries.offload import embedded
from forkhouse.binaries.resources import bundle_resources
from forkhouse.core.errors import AuditError
from forkhouse.triton import KernelError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from forkhouse.binaries.resources import KernelResources

_DOT = re.compile(
    r"= tt\.dot(?:_scaled)? .*: tensor<(?:\d+x)+(\w+)[,>].*\* tensor<(?:\d+x)+(\w+)[,>]"
)
_MATRIX = re.compile(r"^\s*v_s?mfmac?_\w+", re.MULTILINE)
_STATED = re.compile(
    r"^\s*;\s*(Occupancy|ScratchSize|TotalNumVgprs|NumAgprs):\s*(\d+)", re.MULTILINE
)
SIXTEEN_BITS = frozenset({"f16", "bf16"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """What a compiled kernel takes, and what it does."""

    lds: int
    """Bytes of local memory of a work-group, with what the launch asks for."""
    vgpr: int
    agpr: int
    sgpr: int
    vgpr_spills: int
    sgpr_spills: int
    scratch: int
    """Bytes of a lane."""
    mfma: int
    """Matrix instructions in its code, each counted once wherever it stands in loops."""
    dots: tuple[str, ...]
    """Element types of the matrices that it multiplies, by its source; empty when it does not."""
    occupancy: int
    """Waves of a SIMD."""
    limited_by: str
    register_occupancy: int
    """Waves of a SIMD that the registers alone allow."""
    stated_occupancy: int | None
    """Waves of a SIMD by the compiler's own count, which does not know what a launch asks for."""

    @property
    def needs_matrix_instructions(self) -> bool:
        """Whether the processor's matrix instructions have the types that it multiplies."""
        return bool(SIXTEEN_BITS & set(self.dots))


@dataclass(frozen=True, kw_only=True, slots=True)
class KernelFigures:
    """A kernel of a case, with the figures where it compiled."""

    case: str
    kernel: str
    """Module and function."""
    variant: str
    """Of its arguments' types, what is assumed of them, constants and options."""
    target: str
    arguments: dict[str, str]
    warps: int
    stages: int
    steps: tuple[str, ...]
    """What vLLM was doing when it launched it."""
    seconds: float
    """What compiling took; next to nothing when it was in the cache."""
    folder: str | None
    """Its folder in Triton's cache."""
    folders: tuple[str, ...]
    """Every folder: one for each key that Triton gives the same arguments."""
    figures: Figures | None
    error: str | None

    @property
    def name(self) -> str:
        """The function alone."""
        return self.kernel.rpartition(".")[2]

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON's own types."""
        return asdict(self)


def read_kernels(case: dict[str, Any], cache: Path) -> Iterator[KernelFigures]:
    """Yield each kernel of a case, as the program in the stack wrote it, with its figures.

    Raises KernelError when a file of the cache is missing, or is not what Triton said it is.
    """
    for entry in case["kernels"]:
        figures = None if entry["error"] else _figures(entry, cache / entry["folder"])
        yield KernelFigures(
            case=case["case"],
            kernel=entry["kernel"],
            variant=entry["variant"],
            target=entry["target"],
            arguments=entry["arguments"],
            warps=entry["warps"],
            stages=entry["stages"],
            steps=tuple(entry["steps"]),
            seconds=entry["seconds"],
            folder=entry["folder"],
            folders=tuple(entry["folders"]),
            figures=figures,
            error=entry["error"],
        )


def _figures(entry: dict[str, Any], folder: Path) -> Figures:
    name = entry["kernel"].rpartition(".")[2]
    try:
        # Triton cuts long names: whatever they are, a folder has one kernel.
        code, assembly, form = (
            _only(folder, ending).read_bytes() for ending in ("hsaco", "amdgcn", "ttir")
        )
        [bundle] = embedded(code)
        [taken] = bundle_resources(name, bundle)
    except (OSError, ValueError, AuditError) as error:
        message = (
            f"The compiled {name} in Triton's cache ({folder.name}) cannot be read: {error}. "
            "Remove the cache folder, and run this again."
        )
        raise KernelError(message) from error
    return figures_of(
        taken=taken,
        shared=entry["shared"],
        warps=entry["warps"],
        target=entry["target"],
        assembly=assembly.decode("utf-8", "replace"),
        form=form.decode("utf-8", "replace"),
    )


def figures_of(
    *, taken: KernelResources, shared: int, warps: int, target: str, assembly: str, form: str
) -> Figures:
    """Return the figures of a kernel from its metadata, assembly and intermediate form.

    `shared` are bytes of local memory that its launch asks for. Raises UsageError for a target
    whose compute units are unknown.
    """
    lds = taken.lds + shared
    waves: Occupancy = occupancy(target, vgpr=taken.vgprs, sgpr=taken.sgprs, lds=lds, waves=warps)
    stated = {name: int(value) for name, value in _STATED.findall(assembly)}
    return Figures(
        lds=lds,
        vgpr=taken.vgprs,
        agpr=taken.agprs,
        sgpr=taken.sgprs,
        vgpr_spills=taken.vgpr_spills,
        sgpr_spills=taken.sgpr_spills,
        scratch=taken.scratch,
        mfma=len(_MATRIX.findall(assembly)),
        dots=tuple(sorted({kind for pair in _DOT.findall(form) for kind in pair})),
        occupancy=waves.waves,
        limited_by=waves.limit,
        register_occupancy=waves.registers,
        stated_occupancy=stated.get("Occupancy"),
    )


def _only(folder: Path, ending: str) -> Path:
    (found,) = folder.glob(f"*.{ending}")
    return found


COLUMNS = (
    *("kernel", "case", "variant", "warps", "stages", "LDS", "VGPR", "AGPR", "SGPR"),
    *("spills", "scratch", "MFMA", "dot", "waves", "limit", "seconds"),
)


def rows(kernels: Iterable[KernelFigures]) -> list[list[str]]:
    """Return a table of kernels: a row for each variant, under the first case that launches it."""
    seen: dict[tuple[str, str], tuple[KernelFigures, int]] = {}
    for kernel in kernels:
        first, others = seen.get((kernel.kernel, kernel.variant), (kernel, -1))
        seen[kernel.kernel, kernel.variant] = first, others + 1
    table = []
    for kernel, others in sorted(seen.values(), key=lambda pair: (pair[0].name, pair[0].case)):
        case = kernel.case + (f" +{others}" if others else "")
        head = [kernel.name, case, kernel.variant, str(kernel.warps), str(kernel.stages)]
        of = kernel.figures
        if of is None:
            table.append([*head, *("-" for _ in COLUMNS[5:-1]), "does not compile"])
            continue
        table.append(
            [
                *head,
                *(str(value) for value in (of.lds, of.vgpr, of.agpr, of.sgpr)),
                f"{of.vgpr_spills}/{of.sgpr_spills}",
                str(of.scratch),
                str(of.mfma),
                ",".join(of.dots) or "-",
                *(str(of.occupancy), of.limited_by, f"{kernel.seconds:.1f}"),
            ]
        )
    return table
