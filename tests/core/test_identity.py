from __future__ import annotations

import ast
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from forkhouse import audit, builders, patches, wheelhouse
from forkhouse.binaries import elf
from forkhouse.core import identity

if TYPE_CHECKING:
    from types import ModuleType


@pytest.mark.parametrize(
    ("package", "ours", "libraries"),
    [
        (
            builders,
            {"forkhouse.binaries.elf", "forkhouse.sources.archives", "forkhouse.core.environments"},
            {"build", "packaging"},
        ),
        (
            patches,
            {"forkhouse.documents.reading", "forkhouse.sources.store"},
            {"ast_grep_py", "tree_sitter_cmake", "mesonbuild", "pygit2", "yaml"},
        ),
        (audit, {"forkhouse.documents.reading"}, {"elftools", "auditwheel", "packaging"}),
        (wheelhouse, {"forkhouse.audit.look", "forkhouse.documents.pylock"}, {"packaging"}),
    ],
)
def test_what_makes_a_result_is_in_its_identity(
    package: ModuleType, ours: set[str], libraries: set[str]
) -> None:
    modules, found = identity.closure(package.__name__)
    assert ours <= modules
    assert libraries <= found
    assert not {"forkhouse.core.progress", "forkhouse.core.errors", "forkhouse.cli.main"} & modules


def test_every_library_has_a_version() -> None:
    for package in (builders, patches, audit, wheelhouse):
        for library in identity.closure(package.__name__)[1]:
            assert identity._version(library), (
                library
            )  # a name without a version would never change a key
            name = identity.DISTRIBUTIONS.get(library, library.replace("_", "-"))
            assert version(name), "found without a search through all that is installed"


def test_the_closure_is_that_of_python_itself() -> None:
    """What importing every module of a package loads is in its closure, or is imported by nothing
    of it.
    """
    import subprocess  # a process of its own has loaded nothing yet

    program = (
        "import importlib, pkgutil, sys, forkhouse.patches as p\n"
        "[importlib.import_module(m.name) for m in pkgutil.walk_packages(p.__path__, "
        "'forkhouse.patches.')]\n"
        "print('\\n'.join(name for name in sys.modules if name.startswith('forkhouse.')))"
    )
    source = str(identity.ROOT.parent)
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": source, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(result.stdout.split()) - identity.SAYING <= identity.closure("forkhouse.patches")[0]


def parsed(path: Path) -> set[str]:
    """Return the names that a module imports, by Python's own parser."""
    names: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(path.read_bytes())]
    while waiting:
        match waiting.pop():
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                pass
            case ast.Import() as node:
                names |= {alias.name for alias in node.names}
            case ast.ImportFrom(module=str(origin)) as node:
                names |= {origin, *(f"{origin}.{alias.name}" for alias in node.names)}
            case node:
                waiting += ast.iter_child_nodes(node)
    return names


def test_imports_are_read_as_python_reads_them() -> None:
    root = identity.ROOT
    paths = sorted(root.rglob("*.py"))
    assert len(paths) > 100
    for path in paths:
        assert set(identity._names(path)) == parsed(path), path


@pytest.mark.parametrize("library", ["ast-grep-py", "meson", "packaging", "pygit2"])
def test_another_version_of_a_library_is_another_identity(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = identity.engine.__wrapped__(patches)
    monkeypatch.setattr(
        identity, "version", lambda name: "0.0.1" if name == library else version(name)
    )
    assert identity.engine.__wrapped__(patches) != before


def test_a_module_elsewhere_that_is_imported_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    before = identity.engine.__wrapped__(builders)
    changed = Path(elf.__file__)
    monkeypatch.setattr(
        identity, "sha256_file", lambda path: "another" if path == changed else path.name
    )
    other = identity.engine.__wrapped__(builders)
    monkeypatch.setattr(identity, "sha256_file", lambda path: path.name)
    assert len({before, other, identity.engine.__wrapped__(builders)}) == 3
