from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import zipfile
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import fastjsonschema
import pytest
from installer.records import parse_record_file

from tests.provenance.conftest import LICENCE
from tests.provenance.cyclonedx_schema import schema_fault
from tests.somebody import git
from tests.wheels import write_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.flow.conftest import Checkout

TRANSPORT = "small_transport-2.0+rocm.1-py3-none-manylinux_2_5_x86_64.whl"
ENGINE = "small_engine-1.0+cpu.1-py3-none-any.whl"
HELPER = "helper-3.0-py3-none-any.whl"


def folder(checkout: Checkout) -> Path:
    return checkout.root / "wheels/cpu"


def whole(checkout: Checkout) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder(checkout) / "sbom.cdx.json").read_bytes())
    return document


def inside(wheel: Path) -> tuple[str, str]:
    """Return the path and the text of the bill of materials in a wheel of ours."""
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (name for name in archive.namelist() if name.endswith("/forkhouse.cdx.json"))
        return path, archive.read(path).decode()


def texts(checkout: Checkout) -> list[str]:
    wheels = [inside(folder(checkout) / name)[1] for name in (TRANSPORT, ENGINE)]
    return [(folder(checkout) / "sbom.cdx.json").read_text(encoding="utf-8"), *wheels]


def test_every_bill_of_materials_keeps_to_the_schema(built: Checkout) -> None:
    assert [schema_fault(text) for text in texts(built)] == [None, None, None]
    # The validator does find what is wrong.
    assert schema_fault(texts(built)[0].replace('"library"', '"book"')) is not None


READER = """
import json, sys
from lib4sbom.parser import SBOMParser

parser = SBOMParser(sbom_type=sys.argv[1])
parser.parse_file(sys.argv[2])
print(json.dumps([list(parser.get_packages()), list(parser.get_relationships())]))
"""


def read_by_another(kind: str, path: Path) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Return what lib4sbom reads: version and hashes of packages by name, and relationships.

    In a process of its own: it leaves files open.
    """
    said = subprocess.run(
        [sys.executable, "-c", READER, kind, path], capture_output=True, check=True, text=True
    ).stdout
    packages, relations = json.loads(said)
    return {
        package["name"]: (package["version"], package["checksum"])
        for package in packages
        if "checksum" in package
    }, relations


def test_another_tool_reads_the_same(built: Checkout) -> None:
    found, relations = read_by_another("cyclonedx", folder(built) / "sbom.cdx.json")
    manifest = json.loads((folder(built) / "manifest.json").read_bytes())
    for wheel in manifest["wheels"]:
        assert found[wheel["name"]] == (wheel["version"], [["SHA256", wheel["sha256"]]])
    assert {"source": "small-engine", "target": "helper"}.items() <= next(
        each for each in relations if each["source"] == "small-engine"
    ).items()


def in_spdx(checkout: Checkout) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return the document in SPDX, and its elements by their names without the namespace."""
    document = json.loads((folder(checkout) / "sbom.spdx.json").read_bytes())
    return document, {
        unquote(each["spdxId"].partition("#")[2]): each
        for each in document["@graph"]
        if "spdxId" in each
    }


def ends(checkout: Checkout, start: str, relation: str) -> list[str]:
    """Return to which elements one has a relation."""
    return [
        unquote(end.partition("#")[2])
        for each in in_spdx(checkout)[1].values()
        if each.get("relationshipType") == relation and unquote(each["from"]).endswith(f"#{start}")
        for end in each["to"]
    ]


def test_the_document_in_spdx_keeps_to_the_schema_of_its_makers(built: Checkout) -> None:
    schema = json.loads(
        (resources.files("lib4sbom") / "schemas/spdx/3.0-schema.json").read_text(encoding="utf-8")
    )
    validate = fastjsonschema.compile(schema)
    document, elements = in_spdx(built)
    validate(document)
    # The validator does find what is wrong.
    elements["wheelhouse"]["software_primaryPurpose"] = "book"
    with pytest.raises(fastjsonschema.JsonSchemaException):
        validate(document)


def test_another_tool_reads_the_same_in_spdx(built: Checkout) -> None:
    found, relations = read_by_another("spdx", folder(built) / "sbom.spdx.json")
    for wheel in json.loads((folder(built) / "manifest.json").read_bytes())["wheels"]:
        assert found[wheel["name"]] == (wheel["version"], [["SHA256", wheel["sha256"]]])
    told = {(each["source"], each["type"], each["target"]) for each in relations}
    assert any(
        "small-engine" in a and "helper" in b and "depend" in kind.lower() for a, kind, b in told
    )


def test_spdx_says_which_patch_changed_which_source(built: Checkout) -> None:
    _, elements = in_spdx(built)
    (ancestor,) = ends(built, TRANSPORT, "descendantOf")
    commit = git(built.upstream, "rev-parse", "HEAD")
    tree = git(built.upstream, "rev-parse", "HEAD^{tree}")
    assert [
        each["software_contentIdentifierValue"]
        for each in elements[ancestor]["software_contentIdentifier"]
    ] == [f"swh:1:dir:{tree}", f"swh:1:rev:{commit}"]
    (patch,) = (elements[each] for each in ends(built, ancestor, "patchedBy"))
    path = "patches/transport/0001-answer-for-amd.edit.yaml"
    assert (patch["name"], patch["summary"]) == (path, "Answer for AMD")
    (sha256,) = patch["verifiedUsing"]
    assert sha256["hashValue"] == hashlib.sha256((built.root / path).read_bytes()).hexdigest()
    assert patch["externalRef"][0]["locator"] == ["https://bugs.example.org/7"]
    assert ends(built, "vulnerability/CVE-2024-12345", "fixedIn") == [TRANSPORT]
    assert ends(built, ENGINE, "dependsOn") == [HELPER]
    assert ends(built, "wheelhouse", "dependsOn") == [ENGINE, TRANSPORT]
    assert set(ends(built, "wheelhouse", "contains")) == {ENGINE, HELPER, TRANSPORT}
    assert ends(built, TRANSPORT, "usesTool")


def test_every_wheel_is_a_component_with_its_purl_and_hash(built: Checkout) -> None:
    components = {each["bom-ref"]: each for each in whole(built)["components"]}
    assert components.keys() == {TRANSPORT, ENGINE, HELPER}
    for file, component in components.items():
        content = (folder(built) / file).read_bytes()
        assert component["hashes"] == [
            {"alg": "SHA-256", "content": hashlib.sha256(content).hexdigest()}
        ]
        assert unquote(component["purl"]).endswith(f"?file_name={file}")
    links = {each["ref"]: each.get("dependsOn", []) for each in whole(built)["dependencies"]}
    assert links["wheelhouse"] == [ENGINE, TRANSPORT]
    assert links[ENGINE] == [HELPER]


def test_a_wheel_of_ours_has_its_pedigree(built: Checkout) -> None:
    component = next(each for each in whole(built)["components"] if each["bom-ref"] == TRANSPORT)
    (ancestor,) = component["pedigree"]["ancestors"]
    commit = git(built.upstream, "rev-parse", "HEAD")
    tree = git(built.upstream, "rev-parse", "HEAD^{tree}")
    assert ancestor["swhid"] == [f"swh:1:dir:{tree}", f"swh:1:rev:{commit}"]
    assert commit in ancestor["purl"]
    assert ancestor["externalReferences"] == [{"type": "vcs", "url": built.upstream.as_uri()}]
    (patch,) = component["pedigree"]["patches"]
    assert patch["type"] == "backport"
    assert [(each["type"], each["id"]) for each in patch["resolves"]] == [
        ("defect", "https://bugs.example.org/7"),
        ("security", "CVE-2024-12345"),
    ]
    (vulnerability,) = whole(built)["vulnerabilities"]
    assert vulnerability["id"] == "CVE-2024-12345"
    assert vulnerability["analysis"]["state"] == "resolved_with_pedigree"
    assert vulnerability["affects"] == [{"ref": TRANSPORT}]


def test_the_hash_of_a_diff_is_that_of_what_git_shows(built: Checkout) -> None:
    component = next(each for each in whole(built)["components"] if each["bom-ref"] == TRANSPORT)
    said = [each["value"] for each in component["properties"] if each["name"] == "forkhouse:patch"]
    found = re.fullmatch(
        r"0001 (\S+) sha256:(\w{64}) diff-sha256:(\w{64}) commit:(\w{40})", said[0]
    )
    assert found is not None
    path, sha256, of_diff, commit = found.groups()
    assert hashlib.sha256((built.root / path).read_bytes()).hexdigest() == sha256
    diff = subprocess.run(
        ["git", "-c", "core.abbrev=7", "diff", f"{commit}^", commit],
        cwd=built.root / "build/store.git",
        capture_output=True,
        check=True,
    ).stdout
    assert hashlib.sha256(diff).hexdigest() == of_diff
    assert component["pedigree"]["commits"] == [{"uid": commit, "message": "Answer for AMD"}]
    assert component["pedigree"]["patches"][0]["diff"]["url"] == f"{path}#diff-sha256={of_diff}"


@pytest.mark.parametrize("file", [TRANSPORT, ENGINE])
def test_a_wheel_carries_its_bill_of_materials(built: Checkout, file: str) -> None:
    path, text = inside(folder(built) / file)
    assert path == f"{'-'.join(file.split('-')[:2])}.dist-info/sboms/forkhouse.cdx.json"
    with zipfile.ZipFile(folder(built) / file) as archive:
        assert archive.testzip() is None
        assert archive.namelist()[-1].endswith("/RECORD")
        record = archive.read(archive.namelist()[-1]).decode().splitlines()
        rows = {row: (digest, size) for row, digest, size in parse_record_file(record)}
        assert rows.keys() == set(archive.namelist())
        assert rows[path][1] == str(len(text.encode()))
    document = json.loads(text)
    component = document["metadata"]["component"]
    name, version = file.split("-")[:2]
    assert (component["name"], component["version"]) == (name.replace("_", "-"), version)
    manifest = json.loads((folder(built) / "manifest.json").read_bytes())
    ours = next(each for each in manifest["wheels"] if each["file"] == file)
    properties = {each["name"]: each["value"] for each in component["properties"]}
    assert properties["forkhouse:patched-tree"] == f"swh:1:dir:{ours['patched-tree']}"


def test_a_wheel_of_ours_carries_the_terms_of_its_upstream(built: Checkout) -> None:
    with zipfile.ZipFile(folder(built) / TRANSPORT) as archive:
        path = "small_transport-2.0+rocm.1.dist-info/licenses/transport/LICENSE"
        assert archive.read(path).decode() == LICENCE


def test_two_builds_give_the_same_bytes_and_another_subject_builds_nothing(house: Checkout) -> None:
    before = house.wheelhouse()
    for name in ("build", "wheels"):
        shutil.rmtree(house.root / name)
    house.build()
    assert house.wheelhouse() == before
    edit = "patches/transport/0001-answer-for-amd.edit.yaml"
    house.edit(edit, "Subject: Answer for AMD", "Subject: Answer for everybody")
    house.build()
    after = house.wheelhouse()
    assert after[TRANSPORT] != before[TRANSPORT]
    assert after[ENGINE] == before[ENGINE]
    assert "Answer for everybody" in inside(folder(house) / TRANSPORT)[1]
    assert len(list((house.root / "build/journal/build").iterdir())) == 2  # one a wheel


def test_what_other_tools_wrote_into_a_wheel_is_merged_and_referenced(
    house: Checkout, tmp_path: Path
) -> None:
    foreign = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "components": [
            {
                "type": "library",
                "name": "libgomp",
                "version": "12",
                "purl": "pkg:rpm/almalinux/libgomp@12",
                "components": [{"type": "library", "name": "deeper", "purl": "no purl"}],
            }
        ],
    }
    content = json.dumps(foreign).encode()
    (house.index / HELPER).unlink()
    info = "helper-3.0.dist-info/sboms"
    write_wheel(
        house.index,
        "helper",
        "3.0",
        {
            "helper.py": b"",
            f"{info}/auditwheel.cdx.json": content,
            f"{info}/other.spdx": b"SPDXVersion: SPDX-2.3\n",
            f"{info}/broken.json": b"{",
        },
        metadata=("License-Expression: MIT OR Apache-2.0",),
    )
    old = next(
        each
        for each in json.loads((folder(house) / "manifest.json").read_bytes())["wheels"]
        if each["file"] == HELPER
    )["sha256"]
    new = hashlib.sha256((house.index / HELPER).read_bytes()).hexdigest()
    for name in ("upstream.lock", "pylock.cpu.toml"):
        house.edit(name, old, new)
    house.build()
    component = next(each for each in whole(house)["components"] if each["bom-ref"] == HELPER)
    assert component["licenses"] == [
        {"expression": "MIT OR Apache-2.0", "acknowledgement": "declared"}
    ]
    assert [(each["name"], each.get("purl")) for each in component["components"]] == [
        ("deeper", None),
        ("libgomp", "pkg:rpm/almalinux/libgomp@12"),
    ]
    references = {each["url"]: each["hashes"] for each in component["externalReferences"]}
    assert references[f"{HELPER}#{info}/auditwheel.cdx.json"] == [
        {"alg": "SHA-256", "content": hashlib.sha256(content).hexdigest()}
    ]
    assert len(references) == 3  # one a file
    assert schema_fault(texts(house)[0]) is None


def test_a_dry_run_loads_nothing_that_writes_or_signs_documents(built: Checkout) -> None:
    """They take a tenth of a second and more to load; every build and every look begins with
    these.
    """
    result = subprocess.run(
        [sys.executable, "-X", "importtime", *built.command("build", "--dry-run")[1:]],
        env=built.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(re.findall(r"\| +(\w+)(?:\.\S*)?$", result.stderr, re.MULTILINE))
    assert {"click", "forkhouse"} <= loaded
    assert not loaded & {"cyclonedx", "packageurl", "securesystemslib", "cryptography"}
