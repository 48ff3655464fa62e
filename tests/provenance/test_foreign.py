from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest

from forkhouse.provenance.contents import ForeignBom, WheelContents
from forkhouse.provenance.documents import wheelhouse_document
from forkhouse.provenance.spdx import spdx_document
from forkhouse.provenance.wheels import Shipped
from tests.provenance.cyclonedx_schema import schema_fault

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GOOD = {"type": "library", "name": "good", "version": "1"}
SHA256 = {"alg": "SHA-256", "content": "a" * 64}


def document(content: bytes) -> str:
    bom = ForeignBom(
        path="demo-1.0.dist-info/sboms/theirs.json",
        sha256=hashlib.sha256(content).hexdigest(),
        content=content,
    )
    contents = WheelContents(
        name="demo",
        version="1.0",
        requires=("demo", "no requirement at all", "other; python_version < 'x'"),
        expression=None,
        licence="Theirs \u2028 & <other>",
        classifiers=(),
        texts=(),
        boms=(bom,),
    )
    wheel = Shipped(
        file="demo-1.0-py3-none-any.whl", sha256="b" * 64, contents=contents, origin=None
    )
    json.loads(spdx_document("cpu", ["demo"], [wheel], properties={}))
    return wheelhouse_document("cpu", ["demo"], [wheel], properties={})


def test_a_licence_in_words_of_its_own_is_read_by_another_tool(tmp_path: Path) -> None:
    """In a process of its own: it leaves files open."""
    contents = WheelContents(
        name="demo",
        version="1.0",
        requires=(),
        expression=None,
        licence="Theirs & <other>",
        classifiers=(),
        texts=(),
        boms=(),
    )
    wheel = Shipped(file="demo.whl", sha256="b" * 64, contents=contents, origin=None)
    path = tmp_path / "sbom.spdx.json"
    path.write_text(spdx_document("cpu", ["demo"], [wheel], properties={}), encoding="utf-8")
    read = (
        "import json, sys; from lib4sbom.parser import SBOMParser; "
        "parser = SBOMParser(sbom_type='spdx'); parser.parse_file(sys.argv[1]); "
        "print(json.dumps(list(parser.get_packages())))"
    )
    said = subprocess.run(
        [sys.executable, "-c", read, path], capture_output=True, check=True, text=True
    ).stdout
    (package,) = (each for each in json.loads(said) if each["name"] == "demo")
    assert package["licensedeclared"].startswith("LicenseRef-")
    assert "Theirs & <other>" in path.read_text(encoding="utf-8")


def shipped(name: str, *, expression: str | None = None, classifier: str = "") -> Shipped:
    """Return a wheel that says of its licence what is given."""
    contents = WheelContents(
        name=name,
        version="1.0",
        requires=(),
        expression=expression,
        licence=None,
        classifiers=(classifier,) if classifier else (),
        texts=(),
        boms=(),
    )
    return Shipped(file=f"{name}.whl", sha256="b" * 64, contents=contents, origin=None)


@pytest.mark.parametrize("turned", [False, True])
def test_a_name_that_looks_like_an_expression_is_not_taken_for_it(turned: bool) -> None:
    """Whichever of the two comes first."""
    wheels = [shipped("named", classifier="MIT"), shipped("meant", expression="MIT")]
    text = spdx_document("cpu", [], wheels[::-1] if turned else wheels, properties={})
    elements = {each.get("spdxId"): each for each in json.loads(text)["@graph"]}
    said = {
        each["from"].partition("#")[2]: elements[each["to"][0]]["simplelicensing_licenseExpression"]
        for each in elements.values()
        if each.get("relationshipType") == "hasDeclaredLicense"
    }
    assert said["meant.whl"] == "MIT"
    assert said["named.whl"].startswith("LicenseRef-forkhouse-")


@pytest.mark.parametrize("name", ["a b.json", "a#b?c%d.json", '\u00fc<>".json', "[x]|^`.json"])
def test_a_document_of_somebody_else_may_have_any_name(name: str) -> None:
    bom = ForeignBom(path=f"demo-1.0+x.dist-info/sboms/{name}", sha256="a" * 64, content=b"x")
    plain = shipped("demo")
    wheel = replace(plain, contents=replace(plain.contents, boms=(bom,)))
    text = wheelhouse_document("cpu", ["demo"], [wheel], properties={})
    assert schema_fault(text) is None
    (component,) = json.loads(text)["components"]
    (reference,) = component["externalReferences"]
    file, _, fragment = reference["url"].partition("#")
    assert (file, unquote(fragment)) == ("demo.whl", bom.path)
    assert fragment.startswith("demo-1.0+x.dist-info/sboms/"), "plain names stay as they are"


ODD = [
    {"name": ""},
    {"name": 1},
    {"name": "x", "version": 2, "purl": 3, "hashes": 4},
    {"name": "\ud800"},
    {"name": "x", "version": "\udfff"},
    {"name": "x", "purl": "pkg:"},
    {"name": "x", "purl": "pkg:pypi/\ud800@1"},
    {"name": "x", "hashes": [{"alg": "SHA-256", "content": "zz"}, {"alg": "none"}, 5]},
    {"name": "x", "hashes": [{"alg": "SHA-256", "content": "\ud800"}]},
    {"name": "x", "hashes": [{"alg": ["SHA-256"], "content": "a" * 64}]},
    {"name": "x" * 100_000},
    "no component",
    None,
]


@pytest.mark.parametrize("odd", ODD, ids=lambda each: ascii(each)[:40])
def test_an_odd_component_of_somebody_else_spoils_nothing(odd: object) -> None:
    theirs = {"bomFormat": "CycloneDX", "components": [odd, {**GOOD, "hashes": [SHA256]}]}
    text = document(json.dumps(theirs).encode())
    assert schema_fault(text) is None
    text.encode()
    (wheel,) = json.loads(text)["components"]
    good = next(each for each in wheel["components"] if each["name"] == "good")
    assert good["hashes"] == [SHA256]


def nested() -> bytes:
    return b'{"bomFormat": "CycloneDX", "components": ' + b"[" * 100_000


def deep() -> bytes:
    inner: list[object] = []
    for _ in range(300):
        inner = [{**GOOD, "components": inner}]
    return json.dumps({"bomFormat": "CycloneDX", "components": inner}).encode()


@pytest.mark.parametrize(
    "content",
    [
        nested,
        deep,
        lambda: b"\xff",
        lambda: b"[]",
        lambda: b'{"bomFormat": "CycloneDX"}',
        lambda: b'{"bomFormat": "CycloneDX", "components": {}}',
        lambda: b"<bom xmlns='http://cyclonedx.org/schema/bom/1.6'/>",
    ],
)
def test_an_odd_document_of_somebody_else_is_referenced(content: Callable[[], bytes]) -> None:
    made = content()
    text = document(made)
    assert schema_fault(text) is None
    (wheel,) = json.loads(text)["components"]
    (reference,) = wheel["externalReferences"]
    assert reference["hashes"][0]["content"] == hashlib.sha256(made).hexdigest()
