from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from forkhouse.core.errors import DocumentError
from forkhouse.documents import reading
from forkhouse.documents.reading import Document, dump, load, parse, read_toml

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module", params=[True, False], ids=["libyaml", "no-libyaml"], autouse=True)
def libyaml(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Run each test with libyaml and as where it is missing: what is read and said is the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yaml, "__with_libyaml__", request.param)
        yield bool(request.param)


class Apple(Document):
    kind: Literal["apple"]
    weight: int


class Pear(Document):
    kind: Literal["pear"]
    long_name: str


class Basket(Document):
    owner: str
    full: bool = False
    fruit: tuple[Apple | Pear, ...] = ()
    notes: dict[str, str] = Field(default_factory=dict)


def test_reads_kebab_case_keys_into_frozen_values() -> None:
    basket = parse(
        Basket, "owner: Ada\nfruit:\n  - {kind: pear, long-name: Conference}\n", name="b.yaml"
    )
    assert basket == Basket(owner="Ada", fruit=(Pear(kind="pear", long_name="Conference"),))
    with pytest.raises(ValueError, match="frozen"):
        basket.owner = "Bob"


@pytest.mark.parametrize(
    "text", ["1.10", "2024-05-06", "no", "yes", "on", "True", "true0", "1.2.3"]
)
def test_what_looks_like_a_number_a_date_or_a_word_stays_text(text: str) -> None:
    assert parse(Basket, f"owner: {text}\n", name="b.yaml").owner == text


def test_booleans_are_true_and_false() -> None:
    assert parse(Basket, "owner: a\nfull: true\n", name="b.yaml").full
    with pytest.raises(
        DocumentError, match=r"b\.yaml:2: full: Input should be a valid boolean \(got 'yes'\)"
    ):
        parse(Basket, "owner: a\nfull: yes\n", name="b.yaml")


def test_every_problem_is_listed_with_its_line_and_key_path() -> None:
    text = (
        "owner: 7\nfruit:\n  - kind: apple\n    weight: heavy\n  - kind: pear\n    long-name: x\n  "
        "  colour: red\n"
    )
    with pytest.raises(DocumentError) as caught:
        parse(Basket, text, name="b.yaml")
    lines = str(caught.value).splitlines()
    assert lines[0] == "b.yaml:1: owner: Input should be a valid string (got 7)"
    assert any(line.startswith("b.yaml:4: fruit[0].weight: ") for line in lines)
    assert any(
        line.startswith("b.yaml:7: fruit[1].colour: Extra inputs are not permitted")
        for line in lines
    )
    assert "nothing was read" in lines[-1]


def test_a_key_has_one_spelling() -> None:
    with pytest.raises(
        DocumentError, match=r"fruit\[0\]\.long_name: Extra inputs are not permitted"
    ):
        parse(Basket, "owner: a\nfruit: [{kind: pear, long_name: x}]\n", name="b.yaml")


def test_a_missing_key_is_named_at_its_parent() -> None:
    with pytest.raises(DocumentError, match=r"b\.yaml:1: owner: Field required"):
        parse(Basket, "fruit: []\n", name="b.yaml")


def test_a_key_given_twice_is_refused() -> None:
    with pytest.raises(DocumentError, match=r"b\.yaml:3: key 'owner' is given twice"):
        parse(Basket, "owner: a\nfull: true\nowner: b\n", name="b.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"b\.yaml:1: the document is empty"),
        ("owner: [a\n", r"b\.yaml:2: "),
        ("- a\n", r"b\.yaml:1: \(document\): Input should be a valid dictionary"),
        ("owner: !!python/object:os.system a\n", r"b\.yaml:1: could not determine a constructor"),
        ("? [a, b]\n: c\n", r"b\.yaml:1: a key must be plain text"),
        ("? {a: b}\n: c\n", r"b\.yaml:1: a key must be plain text"),
        ("owner: *nobody\n", r"b\.yaml:1: found undefined alias"),
        ("owner: a\n---\nowner: b\n", r"b\.yaml:2: "),
        ("owner: &me [*me]\n", r"b\.yaml:1: found unconstructable recursive node"),
        ("owner: \x00\n", r"b\.yaml:1: unacceptable character"),
    ],
)
def test_what_is_no_document_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        parse(Basket, text, name="b.yaml")


DEEP = "owner: " + "[" * 3000
LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{name}: &{name} [*{before}, *{before}, *{before}, *{before}]\n"
    for before, name in pairwise("abcdefghi")
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            f"owner: a\nfull: {'9' * 5000}\n",
            r"b\.yaml:2: a whole number of 5000 digits; more than 100 are refused",
        ),
        (f"owner: a\nfull: 0x{'f' * 5000}\n", r"b\.yaml:2: a whole number of 5002 digits"),
        ("owner: 0x_\n", r"b\.yaml:1: '0x_' is no value of the type int"),
        ("full: true\nowner: !!int x\n", r"b\.yaml:2: 'x' is no value of the type int"),
        ("owner: !!float x\n", r"b\.yaml:1: 'x' is no value of the type float"),
        ("owner: !!bool x\n", r"b\.yaml:1: 'x' is no value of the type bool"),
        ("owner: !!timestamp x\n", r"b\.yaml:1: 'x' is no value of the type timestamp"),
        (
            "owner: !!timestamp 2020-13-45\n",
            r"b\.yaml:1: '2020-13-45' is no value of the type timestamp",
        ),
        ("owner: !!seq y\n", r"b\.yaml:1: expected a sequence"),
        ("owner: !!map y\n", r"b\.yaml:1: expected a mapping"),
        ("owner: !!str [a]\n", r"b\.yaml:1: expected plain text"),
        (DEEP, r"b\.yaml:1: more than 50 sequences and mappings are in one another"),
        ("- " * 3000, r"b\.yaml:1: more than 50 sequences and mappings are in one another"),
        (LAUGHS, r"b\.yaml:7: the document has more than 10000 keys and values"),
        ("owner: a\nfull: \x00\n", r"b\.yaml:2: unacceptable character"),
        (
            "# " + "x" * 300_000,
            r"b\.yaml:1: the document has 300002 characters; more than 262144 are refused",
        ),
        (
            f"owner: [{'x' * 5000}]\n" + f"full: {'y' * 5000}\n",
            r"b\.yaml:2: full: .*\(got 'y{49}…\)",
        ),
    ],
)
def test_a_document_without_bounds_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(DocumentError, match=message) as caught:
        parse(Basket, text, name="b.yaml")
    assert len(str(caught.value)) < 1000


def test_an_alias_stands_for_what_it_names() -> None:
    assert parse(Basket, "owner: &a Ada\nnotes: {by: *a}\n", name="b.yaml").notes == {"by": "Ada"}


def test_of_many_problems_the_first_are_listed() -> None:
    with pytest.raises(DocumentError, match="and 51 problems more") as caught:
        parse(Basket, "".join(f"x{number}: 1\n" for number in range(100)), name="b.yaml")
    assert len(str(caught.value).splitlines()) == 52


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(DocumentError, match=r"pipe\.yaml: cannot be read: it is no file"):
        load(Basket, tmp_path / "pipe.yaml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a = " + b"9" * 5000, "Exceeds the limit"),
        (b"a = " + b"[" * 5000, "in one another without end"),
        (b"a = 1\n\xff", "invalid start byte"),
        (b"\xef\xbb\xbfa = 1", "Invalid"),
        (b"a = \x00", "Invalid"),
        (b".".join([b"a"] * 100_000) + b" = 1", "more dots"),
        (b"#" * (2**20 + 1), "more than 1048576 are refused"),
    ],
)
def test_toml_of_whatever_origin_is_read_or_has_a_wrong_value(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_toml(content)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r"none\.yaml: cannot be read"):
        load(Basket, tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"owner: J\xf6rg\n")
    with pytest.raises(
        DocumentError, match=r"latin\.yaml:1: cannot be read: byte 0xf6 is no UTF-8"
    ):
        load(Basket, tmp_path / "latin.yaml")


# PyYAML reads some of the rarer line breaks back as other ones.
_text = st.text(st.characters(codec="utf-8", exclude_characters="\x85\u2028\u2029\ufeff"))


@settings(deadline=None)  # machines that test are busy
@given(st.builds(Basket, owner=_text, full=st.booleans(), notes=st.dictionaries(_text, _text)))
def test_what_is_dumped_is_parsed_back(basket: Basket) -> None:
    assert parse(Basket, dump(basket), name="b.yaml") == basket


def seen(node: yaml.Node) -> object:
    """Return what is looked at in a node: its kind, its line and its text, and that of those in
    it.
    """
    if isinstance(node, yaml.MappingNode):
        return (
            node.tag,
            node.start_mark.line,
            [(seen(key), seen(value)) for key, value in node.value],
        )
    if isinstance(node, yaml.SequenceNode):
        return node.tag, node.start_mark.line, [seen(item) for item in node.value]
    assert isinstance(node, yaml.ScalarNode)
    return node.tag, node.start_mark.line, node.value, bool(node.style)


def both_agree(text: str) -> bool:
    """Say whether libyaml read a document. Fails where the other parser reads it otherwise, or does
    not.
    """
    quick = reading._quickly(text)
    if quick is None:
        return False
    root, values = reading._read(reading._Loader(text))
    assert repr(quick[1]) == repr(values)
    assert (quick[0] and seen(quick[0])) == (root and seen(root))
    return True


@pytest.mark.parametrize(
    ("text", "quick"),
    [
        ("a: 1\nb: &b [x, {y: z}]\nc: *b\n", True),
        ("a: |\n  text # is it?\n\n  more\nb: >-\n  folded\n  text\nc: why?\n", True),
        ("# A comment\n---\n- 'one'\n- \"t\\tw\\u00f6\"\n-\n- ? k\n", True),
        ("", True),
        ("a: b", False),
        ("a:\tb\n", False),
        ("a: b\tc\n", False),
        ("a: b\r\nc: d\r\n", False),
        ("\ufeffa: b\n", False),
        ("a: b\n\ufeff\n", False),
        ("a: b\u2028c: d\n", False),
        ("a: b\x85c: d\n", False),
        ("a: {b?: c}\n", False),
        ("a: [b?]\n", False),
        ("a: {b: \n, c: d}\n", False),
        ("!\n", False),
        ("a: !!str 1\n", False),
        ("a: {b: !,c}\n", False),
        ("a: |#\n  b\n", False),
        ("a: >2-# b\n    c\n", False),
    ],
)
def test_libyaml_reads_what_both_parsers_read_alike(
    text: str, *, quick: bool, libyaml: bool
) -> None:
    assert both_agree(text) == (quick and libyaml)


def test_the_shipped_documents_are_read_by_libyaml(libyaml: bool) -> None:
    root = Path(__file__).parents[2]
    found = [
        root / "upstream.lock",
        *root.glob("recipes/**/*.yaml"),
        *root.glob("patches/**/*.yaml"),
    ]
    assert len(found) > 20
    for path in found:
        assert both_agree(path.read_text(encoding="utf-8")) == libyaml, path


_marks = st.sampled_from(
    [
        *" \n\t:-#?,[]{}&*!|>'\"%@<=~.0a\\",
        "\n- ",
        "\n  ",
        ": ",
        "a: ",
        "[a, ",
        "{a: ",
        "é",
        "\u2028",
    ]
)


@settings(deadline=None, max_examples=300)
@given(st.lists(_marks, max_size=14).map(lambda parts: "".join([*parts, "\n"])))
def test_libyaml_takes_nothing_that_the_other_parser_reads_otherwise(text: str) -> None:
    both_agree(text)
