"""Wheels that a profile installs and that are not built here.

Reached through the indexes that the user's configuration names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet
from packaging.tags import sys_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from forkhouse.core.errors import UnreachableError
from forkhouse.core.workspace import config_path
from forkhouse.documents.pins import Missing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from forkhouse.documents.lockfile import External
    from forkhouse.sources.index import Registry


def missing(
    externals: Iterable[External], registry: Registry, addresses: Mapping[str, str]
) -> Iterator[Missing]:
    """Fetch the wheels of indexes with an alias into the cache, and yield those that are missing.

    Externals without an alias come from the user's ordinary indexes; they are fetched with the rest
    of the closure, and must be there. Raises HashMismatchError.
    """
    for external in externals:
        if external.index is None:
            continue
        if external.pinned is None:
            remedy = "`forkhouse lock --externals` where the index can be reached"
            yield _missing(
                external,
                f"the lock has no version of it yet; the index '{external.index}' has it",
                remedy,
            )
            continue
        try:
            fetched(external, registry, addresses)
        except UnreachableError as error:
            yield _missing(
                external,
                str(error),
                "run the build again where the index can be reached, or bring the cache",
            )


def fetched(external: External, registry: Registry, addresses: Mapping[str, str]) -> Path | None:
    """Return a local copy of the wheel of an external, None of an unresolved one.

    Raises UnreachableError or HashMismatchError.
    """
    if external.pinned is None:
        return None
    _, file, sha256 = external.pinned
    cached = registry.cached(file, sha256)
    return cached or _registry(external, registry, addresses).fetch(external.package, file, sha256)


def filled(external: External, registry: Registry, addresses: Mapping[str, str]) -> External:
    """Return an external pinned to the newest wheel for this machine within the wanted versions.

    Its index offers the wheels. Raises UnreachableError.
    """
    own = _registry(external, registry, addresses)
    links = own.links(external.package)
    wanted = SpecifierSet(external.wanted or "")
    supported = set(sys_tags())
    usable = []
    for file in links:
        try:
            _, version, build, tags = parse_wheel_filename(file)
        except InvalidWheelFilename:  # sdists, and what old tools named in their own way
            continue
        if tags & supported and wanted.contains(version):
            usable.append((version, build, file))
    if not usable:
        message = (
            f"The index '{external.index}' has no wheel of {external.package} {external.wanted} "
            "for this machine."
        )
        raise UnreachableError(message)
    version, _, file = max(usable)
    _, sha256 = own.download(links[file])
    return external.model_copy(update={"version": str(version), "file": file, "sha256": sha256})


def _registry(external: External, registry: Registry, addresses: Mapping[str, str]) -> Registry:
    if external.index is None:
        return registry
    if external.index not in addresses:
        message = (
            f"The lock has {external.package} from the index '{external.index}', to which the "
            "configuration gives no address. "
            f"Write `indexes: {{{external.index}: https://…}}` into {config_path().name} "
            "(FORKHOUSE_CONFIG names another file)."
        )
        raise UnreachableError(message)
    return registry.at(addresses[external.index])


def _missing(external: External, reason: str, remedy: str) -> Missing:
    return Missing(
        name=external.package,
        wanted=external.version or external.wanted or "",
        reason=reason,
        remedy=remedy,
    )
