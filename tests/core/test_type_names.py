import ast
from collections import defaultdict
from pathlib import Path

import forkhouse

SOURCES = Path(forkhouse.__file__).parent


def test_no_two_public_types_share_a_name() -> None:
    homes = defaultdict(list)
    for path in sorted(SOURCES.rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(str(path.relative_to(SOURCES)))
    assert len(homes) > 300
    assert {name: where for name, where in homes.items() if len(where) > 1} == {}
