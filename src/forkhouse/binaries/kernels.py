"""Which library of a wheel holds which kernels for which GPU: read, recorded, compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pydantic import ValidationError

from forkhouse.binaries.resources import KernelResources
from forkhouse.core.errors import DocumentError
from forkhouse.documents.reading import Document

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from forkhouse.binaries.offload import OffloadBundle


class LibraryKernels(Document):
    """The kernels of one library for one target."""

    library: str
    """Path in the wheel."""
    target: str
    """Target id, as in gfx90a or gfx90a:xnack-."""
    kernels: tuple[str, ...]
    """Names as the linker knows them, sorted."""


class KernelInventory(Document):
    """The kernels of a whole wheel, as recorded."""

    libraries: tuple[LibraryKernels, ...]
    resources: tuple[KernelResources, ...] = ()
    """What each kernel takes of the hardware; nothing where that was not recorded."""

    def text(self) -> str:
        """Return the inventory as JSON, from which `parse` makes an equal one."""
        return self.model_dump_json(by_alias=True, indent=1) + "\n"

    @classmethod
    def parse(cls, text: str | bytes, *, name: str) -> Self:
        """Read an inventory from JSON. `name` stands for the file in messages.

        Raises DocumentError.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            message = (
                f"{name}: it is no inventory of kernels: {error}. `forkhouse audit WHEEL --json` "
                "prints one under `kernels`."
            )
            raise DocumentError(message) from error

    def missing_from(self, found: Iterable[LibraryKernels]) -> Iterator[tuple[str, str]]:
        """Return what is recorded and not found: the library, and a sentence without subject."""
        present = {(each.library, each.target): frozenset(each.kernels) for each in found}
        libraries = {library for library, _ in present}
        for recorded in self.libraries:
            if recorded.library not in libraries:
                yield (
                    recorded.library,
                    f"has GPU code for {recorded.target} in the recorded inventory, and none now",
                )
            elif (recorded.library, recorded.target) not in present:
                yield (
                    recorded.library,
                    (
                        f"has lost all its GPU code for {recorded.target}, which the recorded "
                        "inventory has"
                    ),
                )
            elif lost := sorted(set(recorded.kernels) - present[recorded.library, recorded.target]):
                yield (
                    recorded.library,
                    (
                        f"has lost {len(lost)} kernels for {recorded.target} that the recorded "
                        f"inventory has: {some(lost)}"
                    ),
                )


def bundle_kernels(library: str, bundle: OffloadBundle) -> Iterator[LibraryKernels]:
    """Return what a bundle of a library holds for each GPU."""
    for each in bundle.objects:
        if each.target and each.size:
            yield LibraryKernels(library=library, target=each.target, kernels=each.kernels)


def merged(parts: Iterable[LibraryKernels]) -> tuple[LibraryKernels, ...]:
    """Put together what is of the same library and target, in order of both."""
    kernels: dict[tuple[str, str], set[str]] = {}
    for part in parts:
        kernels.setdefault((part.library, part.target), set()).update(part.kernels)
    return tuple(
        LibraryKernels(library=library, target=target, kernels=tuple(sorted(names)))
        for (library, target), names in sorted(kernels.items())
    )


def lacks(asked: str, present: Iterable[str]) -> bool:
    """Return whether a GPU of the target `asked` finds no code among the target ids `present`.

    Code without a feature in its target id runs whether the feature is on or off; where it is
    split, both halves are needed (https://llvm.org/docs/AMDGPUUsage.html#target-id).
    """
    processor, *wanted = asked.split(":")
    features = {
        frozenset(features)
        for name, *features in (target.split(":") for target in present)
        if name == processor
    }
    return not _covers(frozenset(wanted), features)


def _covers(wanted: frozenset[str], features: set[frozenset[str]]) -> bool:
    if any(each <= wanted for each in features):
        return True
    open_names = {feature[:-1] for each in features for feature in each} - {
        feature[:-1] for feature in wanted
    }
    return any(
        _covers(wanted | {f"{name}+"}, features) and _covers(wanted | {f"{name}-"}, features)
        for name in sorted(open_names)
    )


def some(names: Iterable[str]) -> str:
    """Return a few of many names for a message."""
    names = list(names)
    return ", ".join(names[:3]) + (
        f" and {len(names) - 3} more" if len(names) > 3 else ""
    )  # the same number
