"""Show what the emulator was proven by, or write it into its page.

Run by the session `emulate`, from what its tests have noted: `python -m tests.emulation.table
[--write]`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[2] / "build/emulate"
PAGE = Path(__file__).parents[2] / "docs/how-to/emulate.md"
BEGIN, END = "<!-- written by nox -s emulate -- --write -->", "<!-- end of what is written -->"


def rows() -> list[dict[str, Any]]:
    """Return what all processes of the tests have noted."""
    return [
        row
        for path in sorted(RESULTS.glob("results-*.json"))
        for row in json.loads(path.read_text(encoding="utf-8"))
    ]


def table(found: list[dict[str, Any]]) -> str:
    """Return the rows as a table, and how many operations all of them need."""
    lines = [
        "| kernel | from | shape | instructions | operations | largest error | allowed |",
        "|---|---|---|---|---|---|---|",
    ]
    ordered = sorted(found, key=lambda row: (row["origin"], row["kernel"], row["shape"]))
    lines += [
        f"| `{row['kernel']}` | {row['origin']} | {row['shape']} | {row['instructions']:,} | "
        f"{len(row['operations'])} | {row['error']:.2g} | {row['allowed']:.2g} |"
        for row in ordered
    ]
    operations = {name for row in found for name in row["operations"]}
    total = sum(row["instructions"] for row in found)
    lines += ["", f"Together: {total:,} instructions of {len(operations)} operations."]
    return "\n".join(lines)


def main() -> None:
    """Show the table, or write it."""
    found = rows()
    if not found:
        sys.exit("The tests have noted nothing: run nox -s emulate.")
    text = table(found)
    seconds = sum(row["seconds"] for row in found)
    total = sum(row["instructions"] for row in found)
    print(text)
    print(f"{total / seconds:,.0f} instructions in a second")
    if "--write" in sys.argv:
        page = PAGE.read_text(encoding="utf-8")
        before, _, rest = page.partition(BEGIN)
        _, _, after = rest.partition(END)
        PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
