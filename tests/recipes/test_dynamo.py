"""Dynamo from its git tree, by hatchling."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

from packaging.metadata import Metadata

if TYPE_CHECKING:
    from tests.recipes.conftest import Checkout

UPSTREAM = {
    "pyproject.toml": """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "ai-dynamo"
version = "1.6.1"
requires-python = ">=3.10"
dependencies = ["ai-dynamo-runtime==1.6.1"]

[tool.hatch.build.hooks.custom]
path = "hatch_build.py"

[tool.hatch.build.targets.wheel]
packages = ["components/src/dynamo"]
""",
    "hatch_build.py": """
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Versions(BuildHookInterface):
    def initialize(self, version, build_data):
        path = Path(self.root, "components/src/dynamo/common/_version.py")
        path.write_text(f"__version__ = '{self.metadata.version}'\\n")
        build_data["artifacts"].append("components/src/dynamo/common/_version.py")
""",
    "README.md": "A small Dynamo.\n",
    "components/src/dynamo/common/__init__.py": "",
    "components/src/dynamo/frontend/__main__.py": "print('front end')\n",
}


def test_the_components_are_built_from_the_git_tree(checkout: Checkout) -> None:
    checkout.pin("dynamo", UPSTREAM)
    wheel = checkout.build("dynamo")["dynamo"]
    assert wheel.path.name == "ai_dynamo-1.6.1+forkhouse.1-py3-none-any.whl"
    assert wheel.patched.source.source.kind == "git"
    with zipfile.ZipFile(wheel.path) as archive:
        names = {name for name in archive.namelist() if name.startswith("dynamo/")}
        metadata = Metadata.from_email(
            archive.read("ai_dynamo-1.6.1+forkhouse.1.dist-info/METADATA")
        )
        version = archive.read("dynamo/common/_version.py")
    assert names == {
        "dynamo/common/__init__.py",
        "dynamo/common/_version.py",
        "dynamo/frontend/__main__.py",
    }
    assert [str(requirement) for requirement in metadata.requires_dist or ()] == [
        "ai-dynamo-runtime==1.6.1"
    ]
    assert version == b"__version__ = '1.6.1+forkhouse.1'\n"
