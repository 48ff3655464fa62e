"""Say of known vulnerabilities what the patches of the series did about them (VEX)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from cyclonedx.model import XsUri
from cyclonedx.model.impact_analysis import ImpactAnalysisState
from cyclonedx.model.vulnerability import (
    BomTarget,
    Vulnerability,
    VulnerabilityAnalysis,
    VulnerabilitySource,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from forkhouse.provenance.origins import Origin


@dataclass(frozen=True, kw_only=True, slots=True)
class Resolved:
    """A known vulnerability that patches resolve."""

    id: str
    url: str | None
    patches: Mapping[str, Sequence[str]]
    """By what a patched wheel is called, the paths of the patches."""


def mended_by(paths: Iterable[str]) -> str:
    """Say which patches resolve a vulnerability."""
    return f"mended by {', '.join(dict.fromkeys(paths))}"


def resolved(origins: Mapping[str, Origin]) -> list[Resolved]:
    """Return each vulnerability that a patch resolves, by its identifier.

    `origins` are by what the wheel is called in the document.
    """
    found: dict[str, dict[str, list[str]]] = {}
    urls: dict[str, str | None] = {}
    for ref, origin in origins.items():
        for patch in origin.patches:
            for issue in patch.issues:
                if issue.is_security:
                    found.setdefault(issue.id, {}).setdefault(ref, []).append(patch.path)
                    urls[issue.id] = urls.get(issue.id) or issue.url
    return [Resolved(id=name, url=urls[name], patches=found[name]) for name in sorted(found)]


def resolved_by_patches(origins: Mapping[str, Origin]) -> list[Vulnerability]:
    """Return each vulnerability that a patch resolves, as resolved with pedigree (CycloneDX).

    `origins` are by the reference of the wheel in the document.
    """
    return [
        Vulnerability(
            id=each.id,
            bom_ref=f"vulnerability/{each.id}",
            source=VulnerabilitySource(url=XsUri(each.url)) if each.url else None,
            analysis=VulnerabilityAnalysis(
                state=ImpactAnalysisState.RESOLVED_WITH_PEDIGREE,
                detail=mended_by(chain.from_iterable(each.patches.values())),
            ),
            affects=[BomTarget(ref=ref) for ref in each.patches],
        )
        for each in resolved(origins)
    ]
