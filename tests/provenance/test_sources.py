from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from packageurl import PackageURL

from forkhouse.documents.lockfile import (
    ArchiveSource,
    DebianSource,
    GitSource,
    PinnedFile,
    SdistSource,
    Source,
)
from forkhouse.provenance.dep3 import PatchKind, issues_of, kind_of
from forkhouse.provenance.documents import wheel_document
from forkhouse.provenance.origins import Origin, PartOrigin, SiblingOrigin, SourceOrigin
from forkhouse.provenance.purls import of_source
from forkhouse.provenance.statement import Definition, Provenance, statement_text
from tests.provenance.cyclonedx_schema import schema_fault

COMMIT, TREE, SHA256 = "a" * 40, "b" * 40, "c" * 64
GIT = GitSource(kind="git", url="https://github.com/Owner/Some.git", commit=COMMIT)
ELSEWHERE = GitSource(kind="git", url="https://git.example.org/some", commit=COMMIT)
SDIST = SdistSource(kind="sdist", package="some", file="some-1.0.tar.gz", sha256=SHA256)
ARCHIVE = ArchiveSource(
    kind="archive", url="https://example.org/a?b=1", file="some-1.0.tar.gz", sha256=SHA256
)
DEBIAN = DebianSource(
    kind="debian-source",
    package="some",
    debian_version="1.0-1",
    files=(
        PinnedFile(file="some_1.0-1.dsc", sha256="d" * 64),
        PinnedFile(file="some_1.0.orig.tar.xz", sha256=SHA256),
    ),
)
PURLS: list[tuple[Source, str]] = [
    (GIT, f"pkg:github/owner/some@{COMMIT}"),
    (ELSEWHERE, f"pkg:generic/some@1.0?vcs_url=git%2Bhttps://git.example.org/some%40{COMMIT}"),
    (SDIST, "pkg:pypi/some@1.0?file_name=some-1.0.tar.gz"),
    (DEBIAN, "pkg:deb/debian/some@1.0-1?arch=source"),
    (
        ARCHIVE,
        f"pkg:generic/some@1.0?checksum=sha256:{SHA256}&download_url=https://example.org/a%3Fb%3D1",
    ),
]


@pytest.mark.parametrize(("source", "purl"), PURLS, ids=lambda each: getattr(each, "kind", ""))
def test_every_form_of_a_source_has_a_package_url(source: Source, purl: str) -> None:
    made = of_source("some", "1.0", source)
    assert made.to_string() == purl
    assert PackageURL.from_string(purl) == made


def origin(source: Source) -> Origin:
    upstream = SourceOrigin(name="some", version="1.0", licence="MIT", source=source, tree=TREE)
    part = SourceOrigin(name="part", version="2", licence="BSL-1.0", source=ARCHIVE, tree=TREE)
    return Origin(
        recipe="some",
        name="some-rocm",
        version="1.0+rocm.1",
        upstream=upstream,
        epoch=1_700_000_000,
        patched_tree=TREE,
        patches=(),
        parts=(PartOrigin(path="subprojects/part", source=part),),
        siblings=(SiblingOrigin(name="libucx-rocm", version="1.22.0+rocm.1"),),
        tools={"gcc": "gcc 12"},
        omits={"plugins": "Every one."},
    )


@pytest.mark.parametrize("source", [each for each, _ in PURLS], ids=lambda each: each.kind)
def test_a_wheel_names_what_it_is_made_of_in_every_form(source: Source) -> None:
    text = wheel_document(origin(source))
    assert schema_fault(text) is None
    assert wheel_document(origin(source)) == text
    document = json.loads(text)
    assert datetime.fromisoformat(document["metadata"]["timestamp"]) == datetime.fromtimestamp(
        1_700_000_000, UTC
    )
    inside, against = sorted(document["components"], key=lambda each: "pypi" in each["purl"])
    assert (inside["name"], inside["hashes"][0]["content"]) == ("part", SHA256)
    assert inside["properties"] == [
        {"name": "forkhouse:form", "value": "archive"},
        {"name": "forkhouse:path-in-tree", "value": "subprojects/part"},
    ]
    assert against["purl"] == "pkg:pypi/libucx-rocm@1.22.0%2Brocm.1"
    (ancestor,) = document["metadata"]["component"]["pedigree"]["ancestors"]
    hashes = [each["content"] for each in ancestor.get("hashes", [])]
    assert hashes == ([] if source.kind == "git" else [SHA256])
    (edges,) = [each["dependsOn"] for each in document["dependencies"] if "dependsOn" in each]
    assert edges == sorted([inside["bom-ref"], against["bom-ref"]])


def test_another_content_has_another_serial_number() -> None:
    texts = [wheel_document(origin(source)) for source, _ in PURLS]
    numbers = {json.loads(text)["serialNumber"] for text in texts}
    assert len(numbers) == len(PURLS)


def test_a_statement_names_every_file_of_every_source() -> None:
    definition = Definition(
        profile="cpu",
        install=("some-rocm",),
        lock=SHA256,
        closure="pylock.cpu.toml",
        closure_sha256=SHA256,
        policy="auto",
        targets=(),
    )
    provenance = Provenance(definition=definition, origins={"some": origin(DEBIAN)})
    text = statement_text(provenance, [], {"a": SHA256}, python="3.11.7", machine="x86_64")
    resolved = json.loads(text)["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert [(each["name"], each["digest"].get("sha256")) for each in resolved] == [
        ("some_1.0-1.dsc", "d" * 64),
        ("some_1.0.orig.tar.xz", SHA256),
        ("part", SHA256),
    ]


HEADERS = [
    ("Bug: https://bugs.example.org/1", ["https://bugs.example.org/1"]),
    (
        "Bug-Debian: https://bugs.debian.org/2\nBug: CVE-2024-1234",
        ["CVE-2024-1234", "https://bugs.debian.org/2"],
    ),
    ("Origin: backport, https://example.org/GHSA-2222-3333-4444", ["GHSA-2222-3333-4444"]),
    ("Bug: cve-2024-1234 https://nvd.example.org/CVE-2024-1234", ["CVE-2024-1234"]),
    ("Bug: CVE-2024-1234,\n CVE-2024-1235", ["CVE-2024-1234", "CVE-2024-1235"]),
    ("Description: It is not CVE-2024-1234", []),
    ("Origin: vendor, Forkhouse", []),
]


@pytest.mark.parametrize(("header", "ids"), HEADERS)
def test_the_faults_that_a_patch_mends_are_read_from_its_header(
    header: str, ids: list[str]
) -> None:
    found = issues_of(f"Subject: x\n{header}\nForwarded: no")
    assert [each.id for each in found] == ids
    assert all(each.is_security == (not each.id.startswith("https")) for each in found)


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        ("Origin: backport, https://example.org", PatchKind.BACKPORT),
        ("Origin: upstream, https://example.org", PatchKind.CHERRY_PICK),
        ("Origin: vendor", PatchKind.UNOFFICIAL),
        ("Subject: without one", PatchKind.UNOFFICIAL),
    ],
)
def test_the_origin_of_a_patch_says_what_kind_it_is(header: str, kind: PatchKind) -> None:
    assert kind_of(header) is kind
