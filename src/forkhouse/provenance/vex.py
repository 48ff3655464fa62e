"""Say of known vulnerabilities what the patches of the series did about them (VEX)."""

from __future__ import annotations

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
    from collections.abc import Mapping

    from forkhouse.provenance.origins import Origin


def resolved_by_patches(origins: Mapping[str, Origin]) -> list[Vulnerability]:
    """Return each vulnerability that a patch resolves, as resolved with pedigree.

    `origins` are by the reference of the wheel in the document.
    """
    found: dict[str, list[tuple[str, str]]] = {}
    urls: dict[str, str | None] = {}
    for ref, origin in origins.items():
        for patch in origin.patches:
            for issue in patch.issues:
                if issue.is_security:
                    found.setdefault(issue.id, []).append((ref, patch.path))
                    urls[issue.id] = urls.get(issue.id) or issue.url
    return [
        Vulnerability(
            id=name,
            bom_ref=f"vulnerability/{name}",
            source=VulnerabilitySource(url=XsUri(url)) if (url := urls[name]) else None,
            analysis=VulnerabilityAnalysis(
                state=ImpactAnalysisState.RESOLVED_WITH_PEDIGREE,
                detail=f"mended by {', '.join(dict.fromkeys(path for _, path in places))}",
            ),
            affects=[BomTarget(ref=ref) for ref in dict.fromkeys(ref for ref, _ in places)],
        )
        for name, places in sorted(found.items())
    ]
