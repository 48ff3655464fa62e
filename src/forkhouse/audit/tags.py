"""Check that a wheel's tags are true.

They state the architecture, and the oldest C library with which the wheel works.
"""

from __future__ import annotations

import re
from math import prod
from typing import TYPE_CHECKING

from packaging.tags import parse_tag
from packaging.utils import parse_wheel_filename
from packaging.version import Version

from forkhouse.audit.findings import Finding, Rule
from forkhouse.binaries.kernels import some
from forkhouse.binaries.manylinux import manylinux

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from email.message import Message

    from packaging.tags import Tag

    from forkhouse.binaries.elf import Compiled


_PLATFORM = re.compile(r"(?:many)?linux\w*?_(x86_64|aarch64)")


_MACHINES = {"x86_64": "EM_X86_64", "aarch64": "EM_AARCH64"}


_MOST_TAGS = 1000


_GLIBC = re.compile(r"GLIBC_(\d+(?:\.\d+)+)")


def check_tags(
    file_name: str, wheel: Message, compiled: Mapping[str, Compiled]
) -> Iterator[Finding]:
    """Compare the tags in a wheel's file name with its WHEEL file and with its compiled files.

    `wheel` is the content of WHEEL. A manylinux tag is judged by auditwheel's tables of symbol
    versions; a linux tag promises nothing about the C library.
    """
    try:
        _, _, build, tags = parse_wheel_filename(file_name)
        inside = {tag for text in wheel.get_all("Tag", []) for tag in _tags(str(text).strip())}
    except ValueError as error:  # a file name is judged elsewhere; a tag has its three parts
        yield Finding(rule=Rule.PLATFORM, what=f"has tags that cannot be read: {error}")
        return
    if inside != tags:
        yield Finding(
            rule=Rule.PLATFORM,
            what=f"has the tags {_listed(inside)} inside and {_listed(tags)} in its file name",
        )
    written, named = str(wheel.get("Build", "")).strip(), file_name.split("-")[2] if build else ""
    if written != named:
        yield Finding(
            rule=Rule.PLATFORM,
            what=f"has the build number {written or 'none'} inside and {named or 'none'} in its "
            "file name",
        )
    if compiled and str(wheel.get("Root-Is-Purelib", "")).strip().lower() == "true":
        what = (
            "says Root-Is-Purelib and has compiled files; where the two folders of site-packages "
            "differ, it lands in the other one"
        )
        yield Finding(rule=Rule.PLATFORM, what=what, harmless=True)
    for platform in sorted({tag.platform for tag in tags}):
        known = _PLATFORM.fullmatch(platform)
        for name, file in compiled.items():
            if known is None:
                yield Finding(
                    rule=Rule.PLATFORM,
                    where=name,
                    what=f"is compiled, for {file.machine}; the tag {platform} does not say so",
                )
            elif file.machine != _MACHINES[known[1]]:
                yield Finding(
                    rule=Rule.PLATFORM,
                    where=name,
                    what=f"is for {file.machine}, the tag {platform} says otherwise",
                )
            elif platform.startswith("many"):
                yield from _check_promise(platform, known[1], name, file)


def _tags(text: str) -> Iterable[Tag]:
    """Return the tags that a compressed tag stands for.

    Raises ValueError where it is no tag, or stands for too many.
    """
    count = prod(part.count(".") + 1 for part in text.split("-"))
    if count > _MOST_TAGS:
        message = f"one stands for {count} tags, more than {_MOST_TAGS}"
        raise ValueError(message)
    return parse_tag(text)


def check_gpu_tags(file_name: str, names: Iterable[str]) -> Iterator[Finding]:
    """Find files with GPU code in a wheel whose platform tag does not tell of it.

    ROCm exists only on Linux.
    """
    try:
        platforms = {tag.platform for tag in parse_wheel_filename(file_name)[3]}
    except ValueError:  # judged elsewhere
        return
    for platform in sorted(platform for platform in platforms if not _PLATFORM.fullmatch(platform)):
        for name in names:
            yield Finding(
                rule=Rule.PLATFORM,
                where=name,
                what=f"has GPU code; the tag {platform} does not say so",
            )


def _listed(tags: Iterable[Tag]) -> str:
    return ", ".join(sorted(map(str, tags))) or "none"


def _check_promise(
    platform: str, architecture: str, name: str, compiled: Compiled
) -> Iterator[Finding]:
    if not compiled.has_sections and compiled.needed:
        yield Finding(
            rule=Rule.PLATFORM,
            where=name,
            what=f"has no section headers, so the promise of {platform} cannot be checked",
        )
        return
    policies = manylinux(architecture)
    try:
        promised = policies.get_policy_by_name(platform)
    except LookupError:
        yield Finding(
            rule=Rule.PLATFORM, what=f"has the tag {platform}, for which auditwheel has no rules"
        )
        return
    versions = compiled.versions
    kept = policies.versioned_symbols_policy(versions)
    if kept < promised:
        needed = {version for each in versions.values() for version in each}
        broken = sorted(
            version for version in needed if not _has(promised.symbol_versions, version)
        )
        what = (
            f"needs {some(broken)}, which {platform} does not promise; its true tag is {kept.name}"
        )
        yield Finding(rule=Rule.PLATFORM, where=name, what=what)


def _has(symbol_versions: Mapping[str, frozenset[str]], version: str) -> bool:
    family, _, number = version.partition("_")
    return family not in symbol_versions or number in symbol_versions[family]


def glibc_floor(compiled: Iterable[Compiled]) -> str | None:
    """Return the oldest version of the C library with which all files load.

    None when none of them asks for one.
    """
    needed = [
        match
        for file in compiled
        for versions in file.versions.values()
        for match in map(_GLIBC.fullmatch, versions)
    ]
    return max((match[1] for match in needed if match), key=Version, default=None)
