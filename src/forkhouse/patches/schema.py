"""The JSON schema of structural edits, for editors and reviewers.

`python -m forkhouse.patches.schema > docs/edit.schema.json`.
"""

from __future__ import annotations

import json
import sys

from forkhouse.documents.meanings import documents, meanings
from forkhouse.patches.edits import StructuralEdit


def schema_text() -> str:
    """Return the schema, generated from the code that reads the edits."""
    schema = StructuralEdit.model_json_schema(by_alias=True)
    parts = {StructuralEdit.__name__: schema, **schema["$defs"]}
    for model in documents():
        if model.__name__ in parts:
            for name, text in meanings(model).items():
                alias = model.model_fields[name].alias or name
                parts[model.__name__]["properties"][alias]["description"] = text
    return json.dumps(schema, indent=1) + "\n"


if __name__ == "__main__":
    sys.stdout.write(schema_text())
