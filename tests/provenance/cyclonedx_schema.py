"""What the schema of CycloneDX 1.6 says of a document."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cyclonedx.validation import ValidationError


def schema_fault(text: str) -> ValidationError | None:
    """Return what the schema finds wrong in a JSON document, or None."""
    # To import it takes two seconds, which each process that collects tests would spend.
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    return JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
