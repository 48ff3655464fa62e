from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from packaging.version import Version

from forkhouse.core.errors import ClosureError, DocumentError
from forkhouse.provenance.exposure import look as look_at
from forkhouse.provenance.osv import read_export
from tests.provenance.test_sboms import ENGINE, HELPER, TRANSPORT
from tests.wheels import write_wheel

if TYPE_CHECKING:
    from tests.flow.conftest import Checkout


def record(name: str, package: str, *events: dict[str, str], **more: Any) -> dict[str, Any]:
    """Return a record in the shape that osv.dev gives for the ecosystem."""
    return {
        "id": name,
        "summary": f"{package} can be made to fail",
        "details": "Long.",
        "aliases": [],
        "modified": "2026-01-02T03:04:05.678901Z",
        "published": "2026-01-01T00:00:00Z",
        "database_specific": {"severity": "HIGH", "cwe_ids": ["CWE-20"]},
        "references": [{"type": "WEB", "url": "https://advisories.example.org/1"}],
        "affected": [
            {
                "package": {
                    "name": package,
                    "ecosystem": "PyPI",
                    "purl": f"pkg:pypi/{package}",
                },
                "ranges": [{"type": "ECOSYSTEM", "events": list(events)}],
                "database_specific": {"source": "https://advisories.example.org/1.json"},
            }
        ],
        "schema_version": "1.7.3",
        "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"}],
        **more,
    }


def export(folder: Path, *records: dict[str, Any]) -> Path:
    path = folder / "export.json"
    path.write_text(json.dumps(list(records)), encoding="utf-8")
    return path


def look(checkout: Checkout, path: Path, code: int) -> dict[str, Any]:
    result = checkout.run("vulnerabilities", str(path), "--json", code=code)
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_a_wheel_with_a_known_vulnerability_is_a_failure(built: Checkout, tmp_path: Path) -> None:
    helper = record("GHSA-2222-3333-4444", "Helper", {"introduced": "0"}, {"fixed": "3.0.1"})
    other = record("PYSEC-2026-1", "other", {"introduced": "0"})
    path = export(tmp_path, helper, other)
    (found,) = look(built, path, 57)["exposures"]
    assert found == {
        "wheel": HELPER,
        "package": "helper",
        "version": "3.0",
        "id": "GHSA-2222-3333-4444",
        "aliases": [],
        "summary": "Helper can be made to fail",
        "severity": "HIGH",
        "fixed": ["3.0.1"],
        "resolved": None,
    }
    said = built.run("vulnerabilities", str(path), code=57)
    assert f"{HELPER}: GHSA-2222-3333-4444: Helper can be made to fail" in said.stderr
    assert "OPEN" in said.stdout


def test_a_wheelhouse_without_one_says_what_was_looked_at(built: Checkout, tmp_path: Path) -> None:
    helper = record("GHSA-2222-3333-4444", "helper", {"introduced": "0"}, {"fixed": "3.0"})
    said = built.run("vulnerabilities", str(export(tmp_path, helper))).stdout
    assert "packages were held against export.json" in said
    assert "transport 2.0" in said  # of a git repository, and of no index


def test_what_a_patch_resolves_is_told_apart(built: Checkout, tmp_path: Path) -> None:
    """The patch of the transport says `Bug: CVE-2024-12345`; the export has it as an alias."""
    ours = record(
        "GHSA-2222-3333-4444",
        "small-transport",
        {"introduced": "1.0"},
        {"fixed": "2.1"},
        aliases=["CVE-2024-12345"],
    )
    (found,) = look(built, export(tmp_path, ours), 0)["exposures"]
    assert (found["wheel"], found["version"]) == (TRANSPORT, "2.0+rocm.1")
    assert found["resolved"] == "mended by patches/transport/0001-answer-for-amd.edit.yaml"


def test_a_wheel_of_ours_is_held_under_the_name_that_was_patched(
    built: Checkout, tmp_path: Path
) -> None:
    engine = record("PYSEC-2026-2", "small_engine", {"introduced": "0"}, {"last_affected": "1.0"})
    found = look(built, export(tmp_path, engine), 57)["exposures"]
    assert [(each["wheel"], each["id"]) for each in found] == [(ENGINE, "PYSEC-2026-2")]


RANGES = [
    ([{"introduced": "0"}], "0.0.dev1", True),
    ([{"introduced": "0"}, {"fixed": "2.0"}], "1.9", True),
    ([{"introduced": "0"}, {"fixed": "2.0"}], "2.0", False),
    ([{"introduced": "0"}, {"fixed": "2.0"}], "2.0rc1", True),
    ([{"introduced": "0"}, {"fixed": "2.0"}], "2.0+rocm.1", False),
    ([{"introduced": "1.5"}, {"last_affected": "2.0"}], "2.0", True),
    ([{"introduced": "1.5"}, {"last_affected": "2.0"}], "2.0.post1", False),
    ([{"introduced": "1.5"}, {"last_affected": "2.0"}], "1.4", False),
    ([{"introduced": "0"}, {"fixed": "1.2"}, {"introduced": "2"}, {"fixed": "2.3"}], "1.5", False),
    ([{"introduced": "2"}, {"fixed": "2.3"}, {"introduced": "0"}, {"fixed": "1.2"}], "2.2", True),
    ([{"introduced": "1!0"}], "9", False),
    # Where nobody can tell where it begins, it is said: silence would be an all-clear.
    ([{"introduced": "no version"}], "1", True),
    ([{"introduced": "no version"}, {"fixed": "2.0"}], "2.0", False),
    ([{"introduced": "0"}, {"fixed": "no version"}], "1", True),
    ([{"introduced": "0"}, {"limit": "*"}], "1", True),
    ([{"fixed": "2.0"}], "1.9", True),
    ([{"fixed": "2.0"}], "2.0", False),
    ([{"last_affected": "2.0"}], "2.0", True),
    # A label of its own is a version like others.
    ([{"introduced": "2.0+cpu"}, {"fixed": "3"}], "2.0+cpu", True),
    ([{"introduced": "2.0+cpu"}, {"fixed": "3"}], "2.0", False),
]


@pytest.mark.parametrize(("events", "version", "affected"), RANGES)
def test_ranges_are_of_pep_440(
    tmp_path: Path, events: list[dict[str, str]], version: str, *, affected: bool
) -> None:
    path = export(tmp_path, record("PYSEC-2026-3", "demo", *events))
    (advisory,) = read_export(path, {"demo"})
    assert advisory.affects(Version(version)) is affected


def test_versions_that_are_named_count_and_withdrawn_records_do_not(tmp_path: Path) -> None:
    named = record("PYSEC-2026-4", "demo")
    named["affected"][0].update(ranges=[], versions=["1.0.0", "not a version"])
    gone = record("PYSEC-2026-5", "demo", {"introduced": "0"}, withdrawn="2026-02-01T00:00:00Z")
    npm = record("GHSA-5555-6666-7777", "demo", {"introduced": "0"})
    npm["affected"][0]["package"]["ecosystem"] = "npm"
    commits = record("OSV-2026-6", "demo", {"introduced": "0"})
    commits["affected"][0]["ranges"][0].update(type="GIT", repo="https://example.org/demo")
    found = read_export(export(tmp_path, named, gone, npm, commits), {"demo"})
    assert [each.id for each in found if each.affects(Version("1.0+rocm.1"))] == ["PYSEC-2026-4"]
    assert not any(each.affects(Version("1.1")) for each in found)
    named["affected"][0].update(versions=["2.13.0+cpu"])
    (labelled,) = read_export(export(tmp_path, named), {"demo"})
    affected = [text for text in ("2.13.0+cpu", "2.13.0") if labelled.affects(Version(text))]
    assert affected == ["2.13.0+cpu"]


@pytest.mark.parametrize(
    "change",
    [
        {"ranges": []},
        {"ranges": [], "versions": ["no version"]},
        {"ranges": None},
        {"ranges": [{"type": "GIT", "repo": "https://x.example", "events": [{"introduced": "0"}]}]},
        {"ranges": [{"type": "OF-A-LATER-SCHEMA", "events": [{"introduced": "0"}]}]},
        {"ranges": [{"type": "ECOSYSTEM", "events": []}]},
    ],
)
def test_an_advisory_that_names_no_versions_is_told(tmp_path: Path, change: dict[str, Any]) -> None:
    silent = record("OSV-2026-7", "demo")
    silent["affected"][0].update(change)
    house = tmp_path / "house"
    house.mkdir()
    component = {"name": "demo", "version": "1", "bom-ref": "w"}
    component["purl"] = "pkg:pypi/demo@1?file_name=demo.whl"
    (house / "sbom.cdx.json").write_text(json.dumps({"components": [component]}), encoding="utf-8")
    found = look_at(house, export(tmp_path, silent))
    assert (found.unjudged, found.exposures) == (("OSV-2026-7 (demo)",), ())


@pytest.mark.parametrize(
    "change",
    [
        {"id": 5},
        {"id": None},
        {"aliases": "CVE-2026-1"},
        {"aliases": [1]},
        {"summary": 5},
        {"affected": {}},
        {"affected": "x"},
        {"affected": [{"package": None}]},
        {"affected": [{"package": {"ecosystem": None, "name": "demo"}}]},
        {"affected": [{"package": {"ecosystem": "PyPI", "name": 5}}]},
        {"affected": [{"package": {"ecosystem": "pypi", "name": "demo"}, "versions": "1.0"}]},
        {"affected": [{"package": {"ecosystem": "PyPI", "name": "Demo"}, "versions": [1.0]}]},
        {"affected": [{"package": {"ecosystem": "PyPI", "name": "demo"}, "ranges": [{}]}]},
    ],
)
def test_a_damaged_record_is_never_an_all_clear(tmp_path: Path, change: dict[str, Any]) -> None:
    path = export(tmp_path, record("OSV-2026-8", "demo", {"introduced": "0"}) | change)
    with pytest.raises(DocumentError, match="is no record of OSV"):
        read_export(path, {"demo"})


@pytest.mark.parametrize("event", [0, None, ["0"]])
def test_an_event_that_is_no_text_is_damage(tmp_path: Path, event: Any) -> None:
    path = export(tmp_path, record("OSV-2026-8", "demo", {"introduced": event}))
    with pytest.raises(DocumentError, match="is no record of OSV"):
        read_export(path, {"demo"})


def test_nothing_is_waited_for_that_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    for place in (tmp_path, tmp_path / "pipe.json", Path("/dev/zero")):
        with pytest.raises(OSError, match="it is no file"):
            read_export(place, {"demo"})


def test_a_folder_and_an_archive_are_exports_as_well(built: Checkout, tmp_path: Path) -> None:
    helper = record("GHSA-2222-3333-4444", "helper", {"introduced": "0"})
    folder = tmp_path / "records/PyPI"
    folder.mkdir(parents=True)
    (folder / "GHSA-2222-3333-4444.json").write_text(json.dumps(helper), encoding="utf-8")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("GHSA-2222-3333-4444.json", json.dumps(helper))
    for path in (tmp_path / "records", tmp_path / "all.zip", folder / "GHSA-2222-3333-4444.json"):
        assert len(look(built, path, 57)["exposures"]) == 1


@pytest.mark.parametrize("content", ["{", "[1]", "{}[]", '[{"affected": [{"package": 1}]}]', "[]"])
def test_what_is_no_export_is_explained(built: Checkout, tmp_path: Path, content: str) -> None:
    path = tmp_path / "export.json"
    path.write_text(content, encoding="utf-8")
    assert "OSV" in built.run("vulnerabilities", str(path), code=10).stderr


def test_every_wheel_has_its_licence_and_the_files_of_its_text(built: Checkout) -> None:
    result = built.run("licences", "--json", code=22)
    found = {each["name"]: each for each in json.loads(result.stdout)}
    # Its upstream has no text either, as the wheel that was patched shows.
    assert ENGINE in result.stderr
    assert TRANSPORT not in result.stderr
    assert found["small-transport"]["texts"] == [
        "small_transport-2.0+rocm.1.dist-info/licenses/transport/LICENSE"
    ]
    assert (found["helper"]["known"], found["helper"]["built"]) == (False, False)
    said = built.run("licences", code=22).stdout
    assert "UNKNOWN, as they say nothing of it: helper" in said


FIELDS = [
    (("License-Expression: mit or apache-2.0",), "MIT OR Apache-2.0", None),
    (("License: BSD-3-Clause",), "BSD-3-Clause", None),
    (("License: Some words of theirs",), None, "Some words of theirs"),
    (
        ("License: UNKNOWN", "Classifier: License :: OSI Approved :: MIT License"),
        None,
        "MIT License",
    ),
    (("Classifier: License :: OSI Approved",), None, None),
    (("Classifier: License :: ", "Classifier: License :: OSI Approved :: "), None, None),
    (("License-Expression: MIT OR",), None, "MIT OR"),
    (("License-Expression: MIT", "License-Expression: ISC"), None, "MIT, ISC"),
    (("License: The words\n        of it",), None, "The words of it"),
    ((f"License: Their Licence\n        {'A long text. ' * 50}",), None, "Their Licence …"),
    ((f"License: {'A' * 500}",), None, f"{'A' * 118} …"),
    (
        (f"License: {'A long text. ' * 50}", "Classifier: License :: OSI Approved :: BSD License"),
        None,
        "BSD License",
    ),
]


@pytest.mark.parametrize(("fields", "expression", "said"), FIELDS)
def test_a_licence_is_read_from_whatever_field_has_it(
    tmp_path: Path, fields: tuple[str, ...], expression: str | None, said: str | None
) -> None:
    from forkhouse.provenance.terms import terms_of

    files = {
        "demo.py": b"",
        "demo-1.0.dist-info/licenses/LICENSE": b"text",
        "demo-1.0.dist-info/COPYING": b"text",
        "demo-1.0.dist-info/AUTHORS.rst": b"text",
        "demo/LICENSE": b"not declared",
    }
    path = write_wheel(tmp_path, "demo", "1.0", files, metadata=fields)
    (found,) = terms_of(tmp_path, {path.name: False})
    assert (found.expression, found.said) == (expression, said)
    assert found.texts == (
        "demo-1.0.dist-info/AUTHORS.rst",
        "demo-1.0.dist-info/COPYING",
        "demo-1.0.dist-info/licenses/LICENSE",
    )


@pytest.mark.parametrize("command", ["licences", "vulnerabilities"])
def test_a_wheelhouse_that_was_changed_gets_no_word(house: Checkout, command: str) -> None:
    path = house.root / "wheels/cpu/sbom.cdx.json"
    path.write_text(path.read_text(encoding="utf-8").replace("helper", "hidden"), encoding="utf-8")
    advisories = [str(export(house.root.parent, record("OSV-2026-8", "helper")))]
    asked = advisories if command == "vulnerabilities" else []
    assert "sbom.cdx.json in the wheelhouse cpu was changed" in (
        house.run(command, *asked, code=12).stderr
    )


ODD_BILLS = [
    *(b"", b"{", b"[]", b"[" * 100_000, b'{"components": "abc"}', b'{"components": [1]}'),
    *(b'{"components": null}', b'{"components": [{"purl": "pkg:pypi/a", "version": "1"}]}'),
    *(b'{"components": [{"pedigree": []}]}', b'{"components": [], "vulnerabilities": "x"}'),
    b'{"components": [], "vulnerabilities": [{"analysis": null}]}',
]


@pytest.mark.parametrize("content", ODD_BILLS, ids=lambda each: each[:60].decode())
def test_a_bill_of_materials_that_is_none_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "sbom.cdx.json").write_bytes(content)
    with pytest.raises(ClosureError, match=r"has no sbom\.cdx\.json that can be read"):
        look_at(tmp_path, export(tmp_path, record("OSV-2026-8", "helper")))
