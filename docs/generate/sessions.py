"""The sessions of nox, from the docstrings of the noxfile."""

from __future__ import annotations

import ast
from pathlib import Path

from docs.generate.text import prose, table

NOXFILE = Path(__file__).parents[2] / "noxfile.py"


def sessions() -> str:
    """Return a table of every session, those first that run by default."""
    ordered = sorted(described(), key=lambda session: not session[1])
    rows = [
        [f"`nox -s {name}`", "yes" if default else "", prose(text)]
        for name, default, text in ordered
    ]
    return table(("session", "by default", "what it does"), rows)


def described() -> list[tuple[str, bool, str]]:
    """Return name, whether it runs by default, and docstring of each session."""
    tree = ast.parse(NOXFILE.read_text(encoding="utf-8"))
    functions = [each for each in tree.body if isinstance(each, ast.FunctionDef)]
    return [
        _session(each, mark)
        for each in functions
        for mark in each.decorator_list
        if _is_session(mark)
    ]


def _is_session(mark: ast.expr) -> bool:
    return ast.unparse(mark).startswith("nox.session")


def _session(function: ast.FunctionDef, mark: ast.expr) -> tuple[str, bool, str]:
    given = mark.keywords if isinstance(mark, ast.Call) else []
    options = {each.arg: ast.literal_eval(each.value) for each in given}
    return (
        options.get("name", function.name),
        options.get("default", True),
        ast.get_docstring(function) or "",
    )
