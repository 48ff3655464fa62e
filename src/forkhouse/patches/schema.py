"""The JSON schema of structural edits, for editors and reviewers.

`python -m forkhouse.patches.schema > docs/edit.schema.json`.
"""

from __future__ import annotations

import json
import sys

from forkhouse.patches.edits import StructuralEdit


def schema_text() -> str:
    """Return the schema, generated from the code that reads the edits."""
    return json.dumps(StructuralEdit.model_json_schema(by_alias=True), indent=1) + "\n"


if __name__ == "__main__":
    sys.stdout.write(schema_text())
