"""Wheels to look into."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

from forkhouse.audit.look import AuditTerms, audit_wheel
from forkhouse.audit.policy import read_policy
from tests.wheels import pack

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from forkhouse.audit.report import AuditReport
    from forkhouse.binaries.kernels import KernelInventory

LINUX = "py3-none-linux_x86_64"


def terms(
    profile: str = "rocm",
    *,
    targets: Sequence[str] = ("gfx90a",),
    build_paths: Sequence[str] = (),
    excused: Sequence[str] = (),
) -> AuditTerms:
    return AuditTerms(
        policy=read_policy(profile),
        targets=tuple(targets),
        build_paths=tuple(build_paths),
        excused=frozenset(excused),
    )


def look(
    path: Path,
    held: AuditTerms | None = None,
    *,
    ours: bool = True,
    recorded: KernelInventory | None = None,
) -> AuditReport:
    return audit_wheel(path, held or terms(), ours=ours, recorded=recorded)


def findings(
    path: Path,
    held: AuditTerms | None = None,
    *,
    ours: bool = True,
    recorded: KernelInventory | None = None,
) -> list[str]:
    return [str(finding) for finding in look(path, held, ours=ours, recorded=recorded).findings]


def rewritten(path: Path, *, without: str = "", **members: bytes) -> Path:
    """Write a wheel anew without one member, or with others in its place."""
    with zipfile.ZipFile(path) as archive:
        kept = {
            name: archive.read(name)
            for name in archive.namelist()
            if name.rpartition("/")[2] not in {without, *members}
        }
        info = next(name for name in archive.namelist() if ".dist-info/" in name).partition("/")[0]
    others = {f"{info}/{name}": content for name, content in members.items()}
    return pack(path, {**kept, **others})
