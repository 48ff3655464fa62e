"""Operations on documents of data, and whether a wrong result, a wrong reason or a traceback of an
engine is seen.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from forkhouse.conformance.peers import documents
from forkhouse.conformance.peers.documents import DocumentText, try_document
from forkhouse.conformance.peers.edits import agrees, alike, operations
from forkhouse.conformance.peers.outcome import CaseOutcome, CaseResult
from forkhouse.conformance.peers.readers import (
    DEEPEST,
    READERS,
    BeyondError,
    Language,
    Listed,
    ReadScalar,
    UnreadableError,
    by_json,
    by_pyyaml,
    by_ruamel,
    by_tomllib,
    read,
)
from forkhouse.core.errors import PatchConflictError

if TYPE_CHECKING:
    from forkhouse.conformance.peers.edits import DocumentOperation

JSON = '{"size": 3, "names": ["a", 7], "deep": {"on": false}}\n'
TOML = 'size = 3\nnames = ["a", 7]\n[deep]\non = false\n[[deep.list]]\nx = 1\n'
YAML = "size: 3\nnames: [a, 7]\ndeep:\n  on: false\n"
TEXTS: dict[Language, str] = {"json": JSON, "toml": TOML, "yaml": YAML}


def tried(
    text: str | None, language: Language = "json", *, valid: bool | None = None
) -> list[CaseResult]:
    return list(try_document(DocumentText(id="d", text=text, valid=valid), language))


def outcomes(
    text: str | None, language: Language = "json", *, valid: bool | None = None
) -> set[CaseOutcome]:
    return {result.outcome for result in tried(text, language, valid=valid)}


def engine(monkeypatch: pytest.MonkeyPatch, result: str | Exception) -> None:
    """Put another engine in the place of ours: it gives one text for every edit, or raises."""

    def gives(text: str, edit: object) -> str:  # the engine's own signature
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(documents, "apply_edit", gives)


def an_operation(text: str, language: Language, what: str) -> DocumentOperation:
    (found,) = [
        each
        for each in operations(READERS[language][-1](text), language)
        if re.fullmatch(what, each.id)
    ]
    return found


def test_each_key_and_item_is_set_removed_and_added_to() -> None:
    ids = [each.id for each in operations(by_json(JSON), "json")]
    assert ids[0] == "0:add"
    assert {name for name in ids if name.startswith("0:1:")} == {
        "0:1:set-float",
        "0:1:set-bool",
        "0:1:remove",
        "0:1:item-add",
        "0:1:item-remove-1",
        "0:1:item-replace-1",
    }
    assert (
        len({each.rpartition(":")[0] for each in ids}) == 7
    )  # size, names, its two items, deep, on; and the whole
    assert any(each.startswith("0:4:add-") for each in ids)


@pytest.mark.parametrize("language", ["json", "toml", "yaml"])
def test_an_engine_that_does_what_it_is_told_has_no_faults(
    language: Language, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = READERS[language][0](TEXTS[language])
    assert all(not agrees(before, before, each, language) for each in operations(before, language))
    engine(monkeypatch, TEXTS[language])
    assert outcomes(TEXTS[language], language) == {CaseOutcome.WRONG}


@pytest.mark.parametrize(
    ("language", "what", "text", "right"),
    [
        (
            "json",
            "0:0:set-text",
            '{"size": "ours", "names": ["a", 7], "deep": {"on": false}}',
            True,
        ),
        (
            "json",
            "0:0:set-text",
            '{"size": "ours", "deep": {"on": false}, "names": ["a", 7]}',
            False,
        ),
        (
            "json",
            "0:0:set-text",
            '{"size": "ours", "names": ["a", 7.0], "deep": {"on": false}}',
            False,
        ),
        ("json", "0:0:remove", '{"names": ["a", 7], "deep": {"on": false}}', True),
        ("json", "0:0:remove", '{"names": ["a", 7], "deep": {}}', False),
        (
            "json",
            "0:add",
            '{"size": 3, "names": ["a", 7], "deep": {"on": false}, "forkhouse-new": "ours"}',
            True,
        ),
        (
            "json",
            "0:add",
            '{"size": 3, "names": ["a", 7], "deep": {"on": false, "forkhouse-new": "ours"}}',
            False,
        ),
        (
            "json",
            "0:1:item-add",
            '{"size": 3, "names": ["a", 7, "ours"], "deep": {"on": false}}',
            True,
        ),
        (
            "json",
            "0:1:item-add",
            '{"size": 3, "names": ["ours", "a", 7], "deep": {"on": false}}',
            False,
        ),
        ("json", "0:1:item-remove-1", '{"size": 3, "names": ["a"], "deep": {"on": false}}', True),
        (
            "json",
            "0:1:item-replace-1",
            '{"size": 3, "names": ["a", "ours"], "deep": {"on": false}}',
            True,
        ),
        ("json", "0:2:remove", '{"size": 3, "names": [7], "deep": {"on": false}}', True),
        ("yaml", "0:0:set-text", 'size: "ours"\nnames: [a, 7]\ndeep:\n  on: false\n', True),
        ("yaml", "0:0:set-text", "size: !x ours\nnames: [a, 7]\ndeep:\n  on: false\n", False),
        ("yaml", "0:4:remove", "size: 3\nnames: [a, 7]\n", True),
        ("yaml", "0:5:remove", "size: 3\nnames: [a, 7]\ndeep: {}\n", True),
        ("yaml", "0:5:remove", "size: 3\nnames: [a, 7]\ndeep:\n", False),
        (
            "toml",
            "0:0:set-text",
            'names = ["a", 7]\nsize = "ours"\n[deep]\non = false\n[[deep.list]]\nx = 1\n',
            True,
        ),
        (
            "toml",
            "0:0:set-text",
            'size = "ours"\n[deep]\nnames = ["a", 7]\non = false\n[[deep.list]]\nx = 1\n',
            False,
        ),
    ],
)
def test_a_reader_has_to_see_the_change_that_was_asked_for_and_no_other(
    language: Language, what: str, text: str, right: bool
) -> None:  # a case
    operation = an_operation(TEXTS[language], language, what)
    for reader in READERS[language]:
        assert agrees(reader(TEXTS[language]), reader(text), operation, language) is right


def test_tables_that_only_a_header_named_may_go_with_it() -> None:
    text = "[a.b]\nx = 1\n[c]\ny = 2\n"
    removal = an_operation(text, "toml", "0:1:remove")
    assert agrees(by_tomllib(text), by_tomllib("[a]\n[c]\ny = 2\n"), removal, "toml")
    assert agrees(by_tomllib(text), by_tomllib("[c]\ny = 2\n"), removal, "toml")
    assert not agrees(by_tomllib(text), by_tomllib("[c]\n"), removal, "toml")
    assert not agrees(by_tomllib(text), by_tomllib("[a]\n"), removal, "toml")


def test_the_engine_itself_passes_where_the_documents_are_plain() -> None:
    plain = '{"size": 3, "deep": {"on": false}}\n'
    kinds = {result.id.rpartition(":")[2]: result.outcome for result in tried(plain)}
    assert {kinds[name] for name in ("add", "remove", "set-text", "set-int")} == {CaseOutcome.EQUAL}


def test_a_text_that_no_reader_reads_any_more_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    engine(monkeypatch, "{")
    assert outcomes(JSON) == {CaseOutcome.WRONG}
    assert "by_json reads it no more" in tried(JSON)[0].said


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (PatchConflictError("the value has a comment in it"), CaseOutcome.REFUSED),
        (PatchConflictError("it matched 0 times, expected 1"), CaseOutcome.UNTRUE),
        (PatchConflictError("its effect is there already"), CaseOutcome.UNTRUE),
        (ValueError("what?"), CaseOutcome.CRASHED),
    ],
)
def test_a_refusal_has_to_be_true(
    monkeypatch: pytest.MonkeyPatch, error: Exception, outcome: CaseOutcome
) -> None:
    engine(monkeypatch, error)
    assert outcomes(JSON) == {outcome}


def test_what_the_suite_calls_invalid_may_be_refused_for_any_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine(monkeypatch, PatchConflictError("it matched 0 times, expected 1"))
    assert outcomes(JSON, valid=False) == {CaseOutcome.BOTH_REFUSE}


def test_a_key_that_is_given_twice_has_to_be_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    twice = '{"a": 1, "a": 2}'
    assert {each.sure for each in operations(by_json(twice), "json") if each.id != "0:add"} == {
        False
    }
    engine(monkeypatch, '{"a": "ours", "a": 2}')
    assert {result.outcome for result in tried(twice) if not result.id.endswith(":add")} == {
        CaseOutcome.APPLIED
    }
    engine(monkeypatch, PatchConflictError("a is there twice"))
    assert {result.outcome for result in tried(twice) if not result.id.endswith(":add")} == {
        CaseOutcome.BOTH_REFUSE
    }


def test_of_several_documents_a_key_of_each_is_not_one_key() -> None:
    found = {
        each.id: each.sure for each in operations(by_pyyaml("a: 1\n---\na: 2\nb: 3\n"), "yaml")
    }
    assert not found["0:0:remove"]
    assert not found["1:0:remove"]
    assert found["1:1:remove"]
    assert not found["0:add"]
    assert all(found[name] for name in ("0@:0:remove", "1@:0:remove", "0@:add"))
    by_number = an_operation("a: 1\n---\na: 2\n", "yaml", "1@:0:remove")
    assert by_number.written == '{"remove": "a", "document": 1}'
    assert agrees(by_pyyaml("a: 1\n---\na: 2\n"), by_pyyaml("a: 1\n---\n{}\n"), by_number, "yaml")
    assert not agrees(
        by_pyyaml("a: 1\n---\na: 2\n"), by_pyyaml("{}\n---\na: 2\n"), by_number, "yaml"
    )


def test_what_two_readers_see_in_different_ways_is_not_compared() -> None:
    text = "{one:, two: 1}\n"
    assert not alike(by_pyyaml(text), by_ruamel(text))
    (result,) = tried(text, "yaml")
    assert (result.outcome, result.said) == (
        CaseOutcome.PASSED_OVER,
        "two readers see different keys or items in it",
    )


def test_what_no_reader_reads_has_to_stay_so(monkeypatch: pytest.MonkeyPatch) -> None:
    unreadable = '{"a": 1,, "b": 2}'
    engine(monkeypatch, PatchConflictError("it is no JSON"))
    assert outcomes(unreadable) == {CaseOutcome.BOTH_REFUSE}
    engine(monkeypatch, unreadable)
    assert outcomes(unreadable) == {CaseOutcome.EQUAL}
    engine(monkeypatch, '{"a": 1}')
    assert outcomes(unreadable) == {CaseOutcome.APPLIED}
    engine(monkeypatch, KeyError("a"))
    assert outcomes(unreadable) == {CaseOutcome.CRASHED}
    assert outcomes(unreadable, valid=True) == {CaseOutcome.PASSED_OVER}
    assert outcomes(None) == {CaseOutcome.PASSED_OVER}


def test_what_is_too_deep_is_only_tried_for_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    for depth in (DEEPEST, 100_000):
        text = "[" * depth + "1" + "]" * depth
        engine(monkeypatch, text)
        assert outcomes(text) == {CaseOutcome.PASSED_OVER}
        engine(monkeypatch, RecursionError())
        assert outcomes(text) == {CaseOutcome.CRASHED}


def test_readers_tell_types_and_spellings_of_numbers() -> None:
    assert by_json('[1, 1.0, 1e0, true, null, "1"]') == (
        Listed(
            items=(
                ReadScalar(type="int", text="1"),
                ReadScalar(type="float", text="1.0"),
                ReadScalar(type="float", text="1e0"),
                ReadScalar(type="bool", text="true"),
                ReadScalar(type="null", text="null"),
                ReadScalar(type="str", text="1"),
            )
        ),
    )
    assert by_pyyaml("no") == (ReadScalar(type="bool", text="no"),)
    assert by_ruamel("no") == (ReadScalar(type="str", text="no"),)
    assert alike(by_pyyaml("[no]"), by_ruamel("[no]"))
    assert not alike(by_pyyaml("[no]"), by_ruamel("[no, 1]"))
    assert by_pyyaml("a: &x [1]\nb: *x\n") == by_pyyaml("a: [1]\nb: [1]\n")
    assert by_tomllib("a = 1979-05-27") != by_tomllib('a = "1979-05-27"')
    assert (
        by_json('{"a": /* one */ [1, 0x10,]}')
        == by_json('{"a": [1, 0x10]}')
        != by_json('{"a": [1, 16]}')
    )
    assert by_json('{"a": 1, "b": 2}') != by_json('{"b": 2, "a": 1}')


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("json", "[NaN]"),
        ("json", "[1 2]"),
        ("toml", "a = 1\na = 2"),
        ("yaml", "a: *b"),
        ("yaml", "["),
    ],
)
def test_readers_are_strict(language: Language, text: str) -> None:
    for reader in READERS[language]:
        with pytest.raises(UnreadableError):
            read(reader, text)


def test_what_holds_itself_is_beyond_comparison() -> None:
    for reader in READERS["yaml"]:
        with pytest.raises(BeyondError):
            read(reader, "&a [*a]")
    bomb = "\n".join(
        ["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9))]
    )
    with pytest.raises(BeyondError):
        read(by_pyyaml, bomb)


def test_names_of_every_kind_are_written_so_that_an_edit_reads_them() -> None:
    text = json.dumps({"a.b": 1, "\x7f\u2028\U0001f600": 2, "x y": {"": 3}, 'no "quotes"': 4})
    written = [each.written for each in operations(by_json(text), "json")]
    assert not any(
        "quotes" in line and "no " in line
        for line in written
        if '"value"' not in line and "say" not in line
    )
    for result in tried(text):
        assert result.outcome in {
            CaseOutcome.EQUAL,
            CaseOutcome.REFUSED,
            CaseOutcome.WRONG,
            CaseOutcome.UNTRUE,
        }
        assert "special characters" not in result.said
