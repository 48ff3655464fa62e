"""Operations on YAML, JSON and TOML.

What comes of them, by bytes, and what is refused, with the reason that is true.
"""

from __future__ import annotations

import json
import math
import tomllib
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
import yaml

from forkhouse.core.errors import DocumentError, PatchConflictError
from forkhouse.documents.reading import parse
from forkhouse.patches.edits import KeyedEdit
from forkhouse.patches.operations import MatchError, apply_edit, effect_present


def edit_of(language: str, operation: str) -> KeyedEdit:
    return parse(
        KeyedEdit, f"path: f\nlanguage: {language}\noperations:\n  - {operation}\n", name="edit"
    )


def done(language: str, operation: str, text: str) -> str:
    return apply_edit(text, edit_of(language, operation))


@pytest.mark.parametrize(
    ("operation", "old", "new"),
    [
        # Blocks at any place: behind empty lines and a byte-order mark, with any header, with
        # comments on their first line.
        ("{set: s, value: new}", "\ns: |\n  one\n  two\nz: 1\n", "\ns: new\nz: 1\n"),
        ("{set: s, value: new}", "\ufeffs: |\n  one\nz: 1\n", "\ufeffs: new\nz: 1\n"),
        ("{set: s, value: new}", "s: >- # why\n    one\n\n    two\n\nz: 1\n",
         "s: new # why\n\nz: 1\n"),
        ("{set: s, value: new}", "s: |2\n   one\nz: 1\n", "s: new\nz: 1\n"),
        ("{add: t, value: x}", "\n\nz: 1\ns: |\n  one\n", "\n\nz: 1\ns: |\n  one\nt: x\n"),
        ("{add: t, value: x}", "s: |+\n  one\n\n", "s: |+\n  one\n\nt: x\n"),
        ("{add: t, value: x}", "s: |-\n  one", "s: |-\n  one\nt: x"),
        ("{remove: s}", "\ufeffs: |\n  one\nz: 1\n", "\ufeffz: 1\n"),
        ("{remove: l.0}", "\nl:\n  - run: |\n      one\n  - x\n", "\nl:\n  - x\n"),
        # Values below their key, with tags, anchors and comments.
        ("{set: a, value: 1}", "a: # why\n  b: 1 # b\n  c: 2 # c\nd: 1\n", "a: 1 # why\nd: 1\n"),
        ("{set: a, value: 1}", "a:\n  # why\n  word # w\nd: 1\n", "a:\n  # why\n  1 # w\nd: 1\n"),
        ("{set: a, value: 1}", "a: !!map &x # why\n  b: 1\nd: 1\n", "a: 1 # why\nd: 1\n"),
        ("{set: a, value: 1}", "a: &x !!str word\nd: 1\n", "a: 1\nd: 1\n"),
        ("{set: a, value: x}", "a: [1,\n  2] # why\n", "a: x # why\n"),
        ("{set: a, value: x}", "a:\n- 1\n- 2 # two\nb: 1\n", "a: x\nb: 1\n"),
        ("{set: l.0, value: x}", "l:\n- a: 1\n  b: 2\n- 3\n", "l:\n- x\n- 3\n"),
        ("{set: l.1, value: x}", "l:\n  - 1\n  -\n  - 3\n", "l:\n  - 1\n  - x\n  - 3\n"),
        ("{set: a, value: x}", "a: # why\n", "a: x # why\n"),
        # Keys of every form.
        ("{set: rocm, value: 1}", "? cuda\n? rocm\n", "? cuda\n? rocm\n: 1\n"),
        ("{set: a, value: 1}", "? a # why\n", "? a # why\n: 1\n"),
        ("{set: a, value: 1}", "? a\n: b\n? c\n", "? a\n: 1\n? c\n"),
        ("{set: a, value: 1}", "{a, b: 1}\n", "{a: 1, b: 1}\n"),
        ("{set: a, value: 1}", '{"a",b}\n', '{"a": 1,b}\n'),
        ("{set: a, value: 1}", '{"a":0}\n', '{"a": 1}\n'),
        ("{set: a, value: 1}", "!!str a: 0\n", "!!str a: 1\n"),
        ("{set: a, value: 1}", "&k a: 0\n", "&k a: 1\n"),
        ('{set: "it\'s", value: 1}', "'it''s': 0\n", "'it''s': 1\n"),
        ("{set: été, value: 1}", '"\\u00e9t\\u00e9": 0\n', '"\\u00e9t\\u00e9": 1\n'),
        ("{set: '8080', value: 1}", "8080: 0\n", "8080: 1\n"),
        ("{set: 'true', value: 1}", "true: 0\n", "true: 1\n"),
        ("{set: l.0.a, value: 1}", "l: [a: 0, b]\n", "l: [a: 1, b]\n"),
        ("{add: l.0.c, value: 1}", "l: [a: 0, b]\n", "l: [{a: 0, c: 1}, b]\n"),
        # The last one leaves an empty list or mapping.
        ("{remove: l.0}", "l:\n  - x\nz: 1\n", "l:\n  []\nz: 1\n"),
        ("{remove: l.0}", "l: # why\n- x\nz: 1\n", "l: [] # why\nz: 1\n"),
        ("{remove: '0'}", "- x\n", "[]\n"),
        ("{remove: l.0.0}", "l:\n  - - x\n  - y\n", "l:\n  - []\n  - y\n"),
        ("{remove: l.0.a}", "l:\n  - a: 1\n  - y\n", "l:\n  - {}\n  - y\n"),
        ("{remove: l.0}", "l: [x]\n", "l: []\n"),
        ("item: {of: {key: l}, remove: x}", "l:\n  - x\nz: 1\n", "l:\n  []\nz: 1\n"),
        # One of several.
        ("{remove: l.0.0}", "l:\n  - - x\n    - y\n", "l:\n  - - y\n"),
        ("{remove: l.0.a}", "l:\n  - a: 1\n    b: 2\n", "l:\n  - b: 2\n"),
        ("{remove: l.0.a}", "l:\n  - a: 1\n    # about b\n    b: 2\n",
         "l:\n  -\n    # about b\n    b: 2\n"),
        ("{remove: b}", "a: 1 # a\nb: 2 # b\n# about c\nc: 3\n", "a: 1 # a\n# about c\nc: 3\n"),
        ("{remove: l.1}", "l: [1, 2, 3]\n", "l: [1, 3]\n"),
        ("{remove: l.2}", "l: [1, 2, 3]\n", "l: [1, 2]\n"),
        ("{remove: l.1}", "l: [\n  1, # one\n  2, # two\n  3 # three\n]\n",
         "l: [\n  1, # one\n  3 # three\n]\n"),
        ("{remove: l.2}", "l: [\n  1, # one\n  2, # two\n  3 # three\n]\n",
         "l: [\n  1, # one\n  2 # two\n]\n"),
        # Added behind the last, not behind the comments of what follows.
        ("{add: a.c, value: 1}", "a:\n  b: 1 # b\n# about d\nd: 1\n",
         "a:\n  b: 1 # b\n  c: 1\n# about d\nd: 1\n"),
        ("item: {of: {key: l}, add: y}", "l:\n- x # x\n# about z\nz: 1\n",
         "l:\n- x # x\n- y\n# about z\nz: 1\n"),
        ("item: {of: {key: l}, add: y}", "l: [\n  x, # x\n  # end\n]\n",
         "l: [\n  x, # x\n  y,\n  # end\n]\n"),
        ("item: {of: {key: l}, add: y}", "l: [x # x\n  ]\n", "l: [x, # x\n    y\n  ]\n"),
        ("item: {of: {key: l}, replace: x, with: y}", 'l: ["x", z]\n', "l: [y, z]\n"),
        ("{add: z, value: 1}", "a: 1\r\nb: 2\n", "a: 1\r\nb: 2\nz: 1\n"),
        ("{add: a.c, value: 1}", "a:\r\n  b: 1\r\nd: 2\r\n", "a:\r\n  b: 1\r\n  c: 1\r\nd: 2\r\n"),
        # Documents.
        ("{set: a, value: 1}", "%YAML 1.1\n---\na: 0\n...\n", "%YAML 1.1\n---\na: 1\n...\n"),
        ("{set: a, value: 1, document: 1}", "a: 0\n--- # two\na: 0\n", "a: 0\n--- # two\na: 1\n"),
        ("{add: b, value: 1, document: 0}", "a: 0\n---\na: 0\n", "a: 0\nb: 1\n---\na: 0\n"),
        ("item: {of: {key: l, document: 1}, add: y}", "l: [x]\n---\nl: [x]\n",
         "l: [x]\n---\nl: [x, y]\n"),
        ("{set: b, value: 1}", "a: 0\n---\nb: 0\n", "a: 0\n---\nb: 1\n"),
        # An alias may be replaced; a key that is there wins over a merged one.
        ("{set: b, value: 1}", "a: &x 0\nb: *x\n", "a: &x 0\nb: 1\n"),
        ("{set: b.k, value: 1}", "a: &x {k: 0}\nb:\n  <<: *x\n  k: 2\n",
         "a: &x {k: 0}\nb:\n  <<: *x\n  k: 1\n"),
        # By text.
        ("{replace: {key: a}, with: 'b: 2'}", "# about a\na: 1 # at a\nz: 1\n",
         "# about a\nb: 2 # at a\nz: 1\n"),
        ("insert: {before: {key: z}, text: 'b: 2'}", "a:\n  c: 1\nz: 1\n",
         "a:\n  c: 1\nb: 2\nz: 1\n"),
        ("insert: {after: {key: a.c}, text: 'b: 2'}", "a:\n  c: 1 # c\nz: 1\n",
         "a:\n  c: 1 # c\n  b: 2\nz: 1\n"),
    ],
)  # fmt: skip
def test_yaml(operation: str, old: str, new: str) -> None:
    assert done("yaml", operation, old) == new
    assert list(yaml.compose_all(new, Loader=yaml.SafeLoader))


@pytest.mark.parametrize(
    ("operation", "old", "new"),
    [
        ("{set: lr, value: 7}", '{"lr": 1e+2, "b": 1}', '{"lr": 7, "b": 1}'),
        ("{set: '0', value: 7}", "[-1.5E+9999]", "[7]"),
        ("{remove: a.1}", '{"a": [1e+2, 3, 4]}', '{"a": [1e+2, 4]}'),
        ("{set: été, value: 1}", '{"\\u00e9t\\u00e9": 0}', '{"\\u00e9t\\u00e9": 1}'),
        ("{set: a/b, value: 1}", '{"a\\/b": 0}', '{"a\\/b": 1}'),
        ("{add: b, value: me}", '{\n  // why\n  "a": 1,\n}\n',
         '{\n  // why\n  "a": 1,\n  "b": "me",\n}\n'),
        ("{add: b, value: me}", '{\n  "a": 1 // a\n}\n', '{\n  "a": 1, // a\n  "b": "me"\n}\n'),
        ("{add: b, value: me}", '{"a": 1 /* a */}', '{"a": 1, /* a */ "b": "me"}'),
        ("{add: b, value: me}", "{}", '{"b": "me"}'),
        ("{add: b, value: me}", "{ }\n", '{"b": "me"}\n'),
        ("{add: b, value: me}", "{\n  // nothing yet\n}\n",
         '{\n  // nothing yet\n  "b": "me"\n}\n'),
        ("{add: b, value: me}", '{"a": 1,}', '{"a": 1, "b": "me",}'),
        ("{add: b, value: me}", '\ufeff{\r\n\t"a": 1\r\n}',
         '\ufeff{\r\n\t"a": 1,\r\n\t"b": "me"\r\n}'),
        ("{remove: a}", '{\n  "a": 1, // a\n  // about b\n  "b": 2,\n}\n',
         '{\n  // about b\n  "b": 2,\n}\n'),
        ("{remove: b}", '{\n  "a": 1, // a\n  "b": 2 // b\n}\n', '{\n  "a": 1 // a\n}\n'),
        ("{remove: b}", '{\n  "a": 1\n, "b": 2\n}\n', '{\n  "a": 1\n}\n'),
        ("{remove: a}", '{"a": 1,}', "{}"),
        ("{remove: a.0}", '{"a": [1, /* of 2 */ 2]}', '{"a": [/* of 2 */ 2]}'),
        ("{remove: a.1}", '{"a": [1, 2,]}', '{"a": [1,]}'),
        ("item: {of: {key: a}, add: '5'}", '{"a": [\n  1, 2,\n  3, 4\n]}',
         '{"a": [\n  1, 2,\n  3, 4,\n  5\n]}'),
        ("item: {of: {key: a}, remove: '1'}", '{"a": [1, 1.0, "1"]}', '{"a": [1.0, "1"]}'),
        ("item: {of: {key: a}, replace: '\"é\"', with: '2'}", '{"a": ["\\u00e9"]}', '{"a": [2]}'),
        ("{replace: {key: a}, with: '\"b\": 2'}", '{"a": 1, "z": 1}', '{"b": 2, "z": 1}'),
        ("remove: {assignment: a}", '{"z": {"a": 1, "b": 1}}', '{"z": {"b": 1}}'),
    ],
)  # fmt: skip
def test_json(operation: str, old: str, new: str) -> None:
    assert done("json", operation, old) == new


@pytest.mark.parametrize(
    ("operation", "old", "new"),
    [
        ("{add: t.z, value: 3}", "[t]\r\nx = 1\r\n\r\n[u]\r\ny = 1\r\n",
         "[t]\r\nx = 1\r\nz = 3\r\n\r\n[u]\r\ny = 1\r\n"),
        ("{add: a.z, value: 7}", "[a]\nb = 1 # b\n\n# about c\n[c]\nd = 1\n",
         "[a]\nb = 1 # b\nz = 7\n\n# about c\n[c]\nd = 1\n"),
        ("{add: a.z, value: 7}", "[a]\n\n# about c\n[c]\n", "[a]\nz = 7\n\n# about c\n[c]\n"),
        ("{add: a.z, value: 7}", "[a]\n  b = 1\n[a.c]\nd = 1\n",
         "[a]\n  b = 1\n  z = 7\n[a.c]\nd = 1\n"),
        ("{add: a.z, value: 7}", "# about b\n[a.b]\nc = 1\n",
         "[a]\nz = 7\n\n# about b\n[a.b]\nc = 1\n"),
        ("{add: a.z, value: 7}", 'a."b.c" = 1 # b\nd = 1\n', 'a."b.c" = 1 # b\na.z = 7\nd = 1\n'),
        ("{add: a.b.z, value: 7}", "[a]\nb.c.d = 1\n", "[a]\nb.c.d = 1\nb.z = 7\n"),
        ("{add: a.1.z, value: 7}", "[[a]]\nb = 1\n[[a]]\n", "[[a]]\nb = 1\n[[a]]\nz = 7\n"),
        ("{add: a.z, value: 7}", "a = { b = 1 }\n", "a = { b = 1, z = 7 }\n"),
        ("{add: z, value: 7}", "# licence\n\n# about a\n[a]\n",
         "# licence\n\nz = 7\n\n# about a\n[a]\n"),
        ("{add: z, value: 7}", "", "z = 7\n"),
        ("{add: z, value: 7}", "# nothing else", "# nothing else\nz = 7\n"),
        ("{add: '\"z.y\"', value: 7}", "a = 1", 'a = 1\n"z.y" = 7'),
        ("{remove: p.1}", "p = [80, 81]\n", "p = [80]\n"),
        ("{set: p.1, value: 82}", "p = [80, 81]\n", "p = [80, 82]\n"),
        ("{set: a.1.n, value: 0.85}", "[[a]]\nn = 1\n[[a]]\nn = 2 # n\n",
         "[[a]]\nn = 1\n[[a]]\nn = 0.85 # n\n"),
        ("{remove: a.0}", "[[a]]\nn = 1\n[a.b]\nm = 1\n[[a]]\nn = 2\n", "[[a]]\nn = 2\n"),
        ("{set: t.x, value: 2}", "[[a]]\n[t]\nx = 1\n[[a]]\n", "[[a]]\n[t]\nx = 2\n[[a]]\n"),
        ("{set: d, value: x}", 'd = """\none\n# two\n""" # d\n', 'd = "x" # d\n'),
        ("{set: a, value: 5}", "x = 1\n\n[a]\nb = 1\n# about c\n[a.c]\n\n# about d\n[d]\n",
         "x = 1\na = 5\n\n# about d\n[d]\n"),
        ("{set: a, value: 5}", "# about a\n[a]\nb = 1\n[d]\n", "# about a\na = 5\n[d]\n"),
        ("{set: a.b, value: 5}", "[a.b]\nc = 1\n[d]\n", "[a]\nb = 5\n[d]\n"),
        ("{set: a.b, value: 5}", "x = 1\n\n# b\n# c\n[a.b]\nc = 1\n[d]\n",
         "x = 1\n\n[a]\n# b\n# c\nb = 5\n[d]\n"),
        ("{set: a.b, value: 5}", "x = 1\r\n# b\r\n[a.b]\r\nc = 1\r\n",
         "x = 1\r\n[a]\r\n# b\r\nb = 5\r\n"),
        ("{set: a.b, value: [5]}", "[a]\nx = 1\n[d]\n[[a.b]]\nc = 1\n[[a.b]]\n",
         "[a]\nx = 1\nb = [5]\n[d]\n"),
        ("{set: a.b, value: 5}", "a.b.c = 1\nx = 1\na.b.d = 2\n", "a.b = 5\nx = 1\n"),
        ("{set: a, value: {b: 5}}", "a.b.c = 1\nx = 1\na.d = 2\n", "x = 1\na = { b = 5 }\n"),
        ("{set: d.e.g, value: x}", "d = {e.f = 1, e.g = 2}\n", 'd = {e.f = 1, e.g = "x"}\n'),
        ("{set: a, value: 5}", "x = 1\n\n# x\n[y]\n\n# a\n# b\n[[a]]\n# c\n\n# d\n[[a]]\n\n# z\n"
                               "[z]\n", "x = 1\n# a\n# b\na = 5\n\n# x\n[y]\n\n# z\n[z]\n"),
        ("{set: a, value: 5}", "# x\r\n\r\n[y]\r\n\r\n# a\r\n[a]\r\n",
         "# x\r\n\r\n# a\r\na = 5\r\n\r\n[y]\r\n\r\n"),
        ("{set: a.b, value: 5}", "[a]\n  x = 1\n\n  # b\n  [a.b]\n  y = 1\n[c]\n",
         "[a]\n  x = 1\n  # b\n  b = 5\n\n[c]\n"),
        ("{set: a.b, value: 5}", "[a.c]\nx = 1\n# b\n[a.b.d]\ny = 1\n",
         "[a]\n# b\nb = 5\n\n[a.c]\nx = 1\n"),
        ("{remove: a.b}", "[a]\nb = 1\n", "[a]\n"),
        ("{remove: a.b}", "x = 1\n[a.b]\nc = 1\n", "x = 1\n[a]\n"),
        ("{remove: a.b}", "a.b = 1\nx = 1\n", "a = {}\nx = 1\n"),
        ("{remove: a}", "x = 1\n\n[a]\nb = 1\n\n# about c\n[c]\nd = 1\n",
         "x = 1\n\n# about c\n[c]\nd = 1\n"),
        ("item: {of: {key: a}, add: '3'}", "a = [\n  1, # one\n  2 # two\n  # end\n]\n",
         "a = [\n  1, # one\n  2, # two\n  3\n  # end\n]\n"),
        ("item: {of: {key: a}, add: '{b = 1}'}", "a = []\n", "a = [{b = 1}]\n"),
        ("item: {of: {key: a}, remove: '\"é\"'}", "a = ['é', \"x\"]\n", 'a = ["x"]\n'),
        ("insert: {after: {key: a.d}, text: 'e = 1'}", "[a]\nd = 1 # d\n[c]\n",
         "[a]\nd = 1 # d\ne = 1\n[c]\n"),
        ("{replace: {key: a.d}, with: 'e = 1'}", "[a]\nd = 1 # d\n", "[a]\ne = 1 # d\n"),
        # A table that becomes a value of a table below it takes its comments along.
        ("{set: p.a, value: 1}", "k = 1\n\n# c\n[p.a]\nx = 1\n\n[p]\ny = 2\n",
         "k = 1\n\n[p]\ny = 2\n# c\na = 1\n"),
        ("{set: p.a, value: 1}", "k = 1\n\n# c\n# d\n[p.a]\nx = 1\n\n[q]\nz = 1\n\n[p]\n  y = 2\n",
         "k = 1\n\n[q]\nz = 1\n\n[p]\n  y = 2\n  # c\n  # d\n  a = 1\n"),
        ("{set: p.a, value: 1}", "k = 1\n# c\n[p.a]\nx = 1\n[p]\n", "k = 1\n[p]\n# c\na = 1\n"),
    ],
)  # fmt: skip
def test_toml(operation: str, old: str, new: str) -> None:
    assert done("toml", operation, old) == new
    tomllib.loads(new)


READ: dict[str, Any] = {"yaml": yaml.safe_load, "json": json.loads, "toml": tomllib.loads}
OLD = {"yaml": "k: 0\n", "json": '{"k": 0}', "toml": "k = 0\n"}
EAST = timezone(timedelta(hours=-5))


@pytest.mark.parametrize("language", ["yaml", "json", "toml"])
@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("0.85", 0.85),
        ('"0.85"', "0.85"),
        ("1.10", 1.1),
        ("-0.0", -0.0),
        (".5", 0.5),
        ("3.", 3.0),
        ("1.0e+3", 1000.0),
        ("1.0e+300", 1e300),
        ("-12", -12),
        ("+12", 12),
        ("0x1F", 31),
        ("9223372036854775807", 2**63 - 1),
        ("22:22", "22:22"),
        ("no", "no"),
        ("on", "on"),
        ("y", "y"),
        ("True", True),
        ("'017'", "017"),
        ("'1e3'", "1e3"),
        ("'null'", "null"),
        ("'2026-01-01'", "2026-01-01"),
        ("''", ""),
        ('"two\\nlines\\n"', "two\nlines\n"),
        ('"\\x7f \\x85 \\u2028 \\\\ \\""', '\x7f \x85 \u2028 \\ "'),
        ("' # x: [a, {b'", " # x: [a, {b"),
        ("[1, 2.5, no, [], {}]", [1, 2.5, "no", [], {}]),
        ("{a: {b c: [x]}}", {"a": {"b c": ["x"]}}),
    ],
)
def test_what_an_edit_says_is_what_the_reader_of_the_file_reads(
    language: str, said: str, read: object
) -> None:
    for operation, old in (
        (f"{{set: k, value: {said}}}", OLD[language]),
        (f"{{add: z, value: {said}}}", OLD[language]),
    ):
        new = done(language, operation, old)
        found = READ[language](new)["k" if operation.startswith("{set") else "z"]
        assert (found, type(found), json.dumps(found)) == (read, type(read), json.dumps(read)), new
        assert effect_present(new, edit_of(language, operation))
    for flow, path in (("yaml", "{k: [0]}"), ("json", '{"k": [0]}'), ("toml", "k = [0]")):
        if flow == language:
            (found,) = READ[language](done(language, f"{{set: k.0, value: {said}}}", path))["k"]
            assert (found, json.dumps(found)) == (read, json.dumps(read))


@pytest.mark.parametrize(
    ("language", "said", "read"),
    [
        ("yaml", "null", None),
        ("yaml", "~", None),
        ("json", "null", None),
        ("yaml", "12345678901234567890123", 12345678901234567890123),
        ("json", "12345678901234567890123", 12345678901234567890123),
        ("yaml", ".inf", math.inf),
        ("toml", "-.inf", -math.inf),
        ("yaml", "2026-01-02", date(2026, 1, 2)),
        ("toml", "2026-01-02", date(2026, 1, 2)),
        ("yaml", "2026-01-02T03:04:05.25-05:00", datetime(2026, 1, 2, 3, 4, 5, 250000, EAST)),
        ("toml", "2026-01-02T03:04:05.25-05:00", datetime(2026, 1, 2, 3, 4, 5, 250000, EAST)),
        (
            "toml",
            "2026-01-02 03:04:05",
            datetime(2026, 1, 2, 3, 4, 5),
        ),  # that it has no zone is the point
    ],
)
def test_values_that_not_every_format_has(language: str, said: str, read: object) -> None:
    found = READ[language](done(language, f"{{set: k, value: {said}}}", OLD[language]))["k"]
    assert (found, type(found)) == (read, type(read))


@pytest.mark.parametrize(
    ("language", "said", "message"),
    [
        ("json", ".inf", "JSON has no such number"),
        ("json", ".nan", "JSON has no such number"),
        ("json", "2026-01-01", "JSON has no dates"),
        ("toml", "null", "TOML has no null; use `remove`"),
        ("toml", "[1, ~]", "TOML has no null"),
        ("toml", "9223372036854775808", "more than 64 bits"),
    ],
)
def test_a_value_that_a_format_does_not_have_is_refused(
    language: str, said: str, message: str
) -> None:
    with pytest.raises(PatchConflictError, match=message):
        done(language, f"{{set: k, value: {said}}}", OLD[language])


@pytest.mark.parametrize(
    "said", ["1e3", "1.5e3", "017", "0o17", "0755", "08", "0b11", "1_000", "1_0.5", "0x_1"]
)
def test_a_number_that_versions_of_yaml_read_differently_is_refused(said: str) -> None:
    with pytest.raises(
        DocumentError,
        match=r"edit:4: operations\[0\]\.value: .* is one thing to readers of YAML 1\.1",
    ):
        edit_of("json", f"{{set: k, value: {said}}}")


@pytest.mark.parametrize(
    ("language", "operation", "text", "message"),
    [
        ("toml", "{set: a, value: 1}", "[[a]]\n[z]\n\n# more\n[[a]]\n",
         "a stands at several places, and the comment in line 4 is over"),
        ("toml", "{set: a.b, value: 1}", "[z]\n\n# Of c.\n[a.b.c]\nx = 1\n",
         "begins with a table in it, and the comment in line 3 is over that one"),
        ("yaml", "{set: a, value: 1}", "a: 0\nb: 1\na: 2\n",
         r"the key a is given more than once \(lines 1 and 3\)"),
        ("json", "{remove: a}", '{"a": 1,\n "\\u0061": 2}',
         r"the key a is given more than once \(lines 1 and 2\)"),
        ("json", "{add: a.b, value: 1}", '{"a": {}, "a": {}}', "the key a is given more than once"),
        ("yaml", "{set: '1', value: 1}", "1: a\n'1': b\n", "the key 1 may mean several keys"),
        ("yaml", "{set: a, value: 1}", "a: 0\n---\na: 0\n",
         "in several documents of the file: 0 and 1. Say which by `document:`"),
        ("yaml", "{add: z, value: 1}", "a: 0\n---\na: 0\n",
         "2 documents that could get z. Say which by `document:`"),
        ("yaml", "{set: a, value: 1, document: 2}", "a: 0\n---\na: 0\n",
         "There is no document 2: the file has 2"),
        ("yaml", "{set: a, value: 1}", "a: &x 0\nb: *x\n",
         "a belongs to the anchor &x, which line 2 uses too"),
        ("yaml", "{set: a.k, value: 1}", "a: &x\n  k: 0\nb: *x\n",
         "a.k belongs to the anchor &x, which line 3 uses too"),
        ("yaml", "{add: a.l, value: 1}", "a: &x\n  k: 0\nb: *x\n",
         "a.l belongs to the anchor &x, which line 3 uses too"),
        ("yaml", "{remove: a}", "a: &x 0\nb: *x\n", "a belongs to the anchor &x"),
        ("yaml", "item: {of: {key: a}, add: y}", "a: &x [1]\nb: *x\n",
         "a belongs to the anchor &x"),
        ("yaml", "{set: b.k, value: 1}", "a: &x {k: 0}\nb: *x\n", "leads through the alias \\*x"),
        ("yaml", "{set: b.k, value: 1}", "a: &x {k: 0}\nb:\n  <<: *x\n",
         "the key k comes from a merge"),
        ("yaml", "{add: b.k, value: 1}", "a: &x {k: 0}\nb:\n  <<: [*x]\n",
         "the key k comes from a merge"),
        ("yaml", "{remove: b.k}", "a: &x {k: 0}\nb:\n  <<: *x\n  k: 1\n",
         "the key would come from a merge"),
        ("yaml", "{remove: b.<<}", "a: &x {k: 0}\nb:\n  <<: *x\n  k: 1\n", "`<<` is no key"),
        ("yaml", "{add: a.b, value: 1}", "a:\n", "what should hold b is no mapping"),
        ("yaml", "{add: a.b, value: 1}", "a: [1]\n", "is a list: use `item: {add}`"),
        ("yaml", "{add: '8081', value: 1}", "8080: x\n", "keys there are no texts"),
        ("yaml", "{set: a, value: 1}", "a: 0\nb: {\n", "cannot be read as yaml, line 3"),
        ("yaml", "{add: a, value: 1}", "a: 0\n", "a is there already, with another value"),
        ("yaml", "item: {of: {key: a}, remove: x}", "a: [x, y, x]\n",
         "is in the list 2 times; remove them one by one"),
        ("yaml", "item: {of: {key: a}, add: 'x, y'}", "a: [1]\n", "is not one item, but 2"),
        ("yaml", "item: {of: {key: a}, add: x}", "a: {b: [}\n", "cannot be read as yaml"),
        ("yaml", "{replace: {key: a.b}, with: 'b: 1'}", "a:\n  b: 0\n  c: 1\nd: &x 1\n", None),
        ("yaml", "{replace: {key: a.b}, with: 'b: 1\nz: 1'}".replace("\n", "\\n").replace("'", '"'),
         "a: {b: 0, c: 1}\n", "no yaml any more"),
        ("yaml", '{replace: {key: b}, with: "b: [1"}', "b: 0\nc: [1]\n", "no yaml any more"),
        ("yaml", "{add: t, value: x}", "s: |\n  one", "Expected 'one', and it would be 'one"),
        ("yaml", '{replace: {anchor: "b: x"}, with: "\'"}', "a: 1\nb: x\nc: 'y'\n",
         "no yaml any more"),
        ("yaml", '{replace: {anchor: "b:"}, with: "- b:"}', "a:\n  b: 1\n  c: 1\n",
         "no yaml any more"),
        ("yaml", '{replace: {anchor: "  b:"}, with: "b:"}', "a:\n  b: 1\n  c: 1\n",
         "no yaml any more"),
        ("yaml", '{replace: {anchor: "a: |"}, with: "a:"}', "a: |\n  b: 1\n", "of another kind"),
        ("yaml", '{replace: {anchor: "x: 1\\n"}, with: ""}',
         "a:\n  x: 1\n  # about b\n  b: 2\nz: 1\n", None),
        # The only entry of a key, by its text.
        ("yaml", '{remove: {anchor: "b: 1"}}', "a:\n  b: 1\nc: 2\n", "would see null"),
        ("yaml", '{remove: {anchor: "- x"}}', "a:\n- x\nc: 2\n", "would see null"),
        ("yaml", '{remove: {anchor: "  - x"}}', "a:\n  b:\n  - x\n", "would see null"),
        ("yaml", '{remove: {anchor: " 1"}}', "a: 1\nb: 2\n", "would see null"),
        ("json", '{replace: {anchor: "1"}, with: "1 // x"}', '{"a": 1\n}', "strict JSON"),
        ("json", "{set: a, value: 1}", '{"a": 01}',
         "a comma or } is expected there|a value is expected there"),
        ("json", "{set: a, value: 1}", "", "there is no value in it"),
        ("json", "item: {of: {key: a}, add: x}", '{"a": ["x"]}', "x is no item of json"),
        ("toml", "{set: d.e, value: x}", "d = {e.f = 1, e.g = 2}\n",
         "the inline table around it has dotted keys"),
        ("toml", "{set: a.0, value: 1}", "[[a]]\nb = 1\n[[a]]\n",
         "is one of an array of tables, which can hold nothing else"),
        ("toml", "{remove: a.0}", "[[a]]\nb = 1\n", "is the only table of its array"),
        ("toml", "{set: a, value: 1}", "a = 1\na = 2\n", "not TOML"),
        ("toml", "{remove: a.b.c}", "a = {b.c = 1}\n", "has dotted keys"),
        ("toml", "item: {of: {key: a}, add: '{}'}", "[[a]]\n", "made of tables with headers"),
        ("toml", "{replace: {anchor: '[b]'}, with: '[a.b]'}", "[a]\nx = 1\n[b]\nx = 1\n",
         "a key beside what is edited"),
    ],
)  # fmt: skip
def test_what_cannot_be_proven_is_refused_for_the_true_reason(
    language: str, operation: str, text: str, message: str | None
) -> None:
    if message is None:
        # A neighbour of the one below or above it, which is right.
        assert READ[language](done(language, operation, text)) is not None
        return
    with pytest.raises(MatchError, match=message) as error:
        done(language, operation, text)
    assert "matched 0 times" not in str(error.value)


ITEM = "item: {of: {key: a}, remove: y}"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a: [y, # about\n  z]\n", "a: [ # about\n  z]\n"),
        ("a: [ y, # about\n  z]\n", "a: [ # about\n  z]\n"),
        ("a: [y,  # about\n  z]\n", "a: [  # about\n  z]\n"),
        ("a: [x, y, # about\n  z]\n", "a: [x, # about\n  z]\n"),
        ("a: [x,y, # about\n  z]\n", "a: [x, # about\n  z]\n"),
        ("a: [y\n  , # about\n  z]\n", "a: [ # about\n  z]\n"),
        ("a: [\n  y, # about\n  z]\n", "a: [\n  z]\n"),
        ("a: [y,\n  # about z\n  z]\n", "a: [\n  # about z\n  z]\n"),
    ],
)
def test_a_comment_of_yaml_keeps_a_blank_before_it(old: str, new: str) -> None:
    """Without one it is none by the specification, though PyYAML takes it for one."""
    assert done("yaml", ITEM, old) == new


@pytest.mark.parametrize("above", range(9))
@pytest.mark.parametrize("language", ["yaml", "json"])
def test_keys_that_an_anchor_brings_at_several_places_are_all_new(
    language: str, above: int
) -> None:
    lines = {
        "yaml": ("# " + "x" * above + "\n{}", "{}:\n  k: old\n", "", "new\n  z: 2"),
        "json": (" " * above + "{{\n{}}}\n", '"{}": {{"k": "old"}}', ",\n", 'new", "z": "2'),
    }
    head, entry, sign, new = lines[language]
    text = head.format(sign.join(entry.format(name) for name in "abc"))
    operation = f"{{replace: {{anchor: old}}, with: {json.dumps(new)}, count: 3}}"
    assert done(language, operation, text) == text.replace("old", new)


def test_yaml_is_read_to_its_depth_and_refused_below_it() -> None:
    def nested(levels: int) -> str:
        return f"a: 1\nb: {'[' * levels}{']' * levels}\n"

    # The mapping itself is a level, and the empty list in the middle is one.
    for levels in (1, 100, 299):
        assert done("yaml", "{set: a, value: 2}", nested(levels)) == nested(levels).replace(
            "1", "2"
        )
    for levels in (300, 301, 400):
        with pytest.raises(PatchConflictError, match=r"cannot be read as yaml|nested"):
            done("yaml", "{set: a, value: 2}", nested(levels))


FRAMES = {"yaml": "a: {}\n", "json": '{{"a": {}}}\n', "toml": "a = {}\n"}


def without_y(language: str, old: str) -> str:
    """Remove "y" from a list, which is written with X and Y for "x" and "y"."""
    text = FRAMES[language].format(old.replace("X", '"x"').replace("Y", '"y"'))
    return done(language, "item: {of: {key: a}, remove: '\"y\"'}", text)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[\n  X,\n  Y\n]", "[\n  X\n]"),
        ("[\n  X,\n  Y]", "[\n  X]"),
        ("[\n  X\n  , Y\n]", "[\n  X\n]"),
        ("[\n  X\n  ,\n  Y\n]", "[\n  X\n]"),
        ("[\n  X\n  , Y]", "[\n  X\n  ]"),
        ("[X,\n  Y]", "[X]"),
        ("[X,\n  Y\n  ]", "[X\n  ]"),
        ("[X, Y\n]", "[X\n]"),
        ("[X, Y ]", "[X ]"),
    ],
)
@pytest.mark.parametrize("language", FRAMES)
def test_the_last_item_goes_with_its_comma_and_its_line(language: str, old: str, new: str) -> None:
    assert without_y(language, old) == FRAMES[language].format(new.replace("X", '"x"'))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[\n  X,\n  Y # why\n]", "[\n  X\n]"),
        ("[\n  X\n  , Y # why\n]", "[\n  X\n]"),
        ("[X, # first\n  Y\n]", "[X # first\n]"),
        ("[X, # first\n  Y]", "[X # first\n  ]"),
        ("[X\n  # last\n  , Y\n]", "[X\n  # last\n]"),
    ],
)
@pytest.mark.parametrize("language", ["yaml", "toml"])
def test_a_comment_behind_the_last_item_goes_with_it_and_no_other(
    language: str, old: str, new: str
) -> None:
    assert without_y(language, old) == FRAMES[language].format(new.replace("X", '"x"'))


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("indent", ["", "  ", "    "])
@pytest.mark.parametrize("dash", ["- ", "-   "])
@pytest.mark.parametrize(
    "said",
    [
        "b: 1\nc: 2",
        "b:\n  d: 1\nc: 2",
        "- 1\n- 2",
        "'x\n\n y'",
        "b: |\n  x\n\n  y\nc: 2",
        "|\nx\ny",
    ],
)
def test_an_item_of_several_lines_stands_below_its_dash(
    newline: str, indent: str, dash: str, said: str
) -> None:
    old = f"a:\n{indent}{dash}first: 0\nz: 1\n".replace("\n", newline)
    new = done("yaml", f"item: {{of: {{key: a}}, add: {json.dumps(said)}}}", old)
    lines = [f"{indent}  {line}" if line else "" for line in said.split("\n")]
    item = newline.join([f"{indent}- {lines[0].strip()}", *lines[1:]])
    assert new == old.replace(f"z: 1{newline}", f"{item}{newline}z: 1{newline}")
    # A reader finds the item as it reads the text by itself, behind a dash.
    below = "- " + said.replace("\n", "\n  ")
    assert yaml.safe_load(new)["a"] == [{"first": 0}, *yaml.safe_load(below + "\n")]


def test_a_path_is_told_from_what_is_none() -> None:
    for path in ("a..b", ".a", "a.", "."):
        with pytest.raises(DocumentError, match="is no path to a key"):
            edit_of("yaml", f"{{set: {path}, value: 1}}")
    assert done("json", "{set: '\"\"', value: 1}", '{"": 0}') == '{"": 1}'
    assert done("yaml", "{set: 'a.\"b.c\".0', value: 1}", "a: {b.c: [0]}\n") == "a: {b.c: [1]}\n"


def test_an_effect_is_seen_by_value() -> None:
    assert effect_present("a: {b: 0x1F}\n", edit_of("yaml", "{set: a.b, value: 31}"))
    assert not effect_present("a: {b: '31'}\n", edit_of("yaml", "{set: a.b, value: 31}"))
    assert effect_present(
        "p = ['x', 1]\n", edit_of("toml", "item: {of: {key: p}, replace: '2', with: '\"x\"'}")
    )
    assert not effect_present(
        "p = [2]\n", edit_of("toml", "item: {of: {key: p}, replace: '2', with: '\"x\"'}")
    )
    with pytest.raises(PatchConflictError, match="Its effect is there already"):
        done("json", "{add: a, value: 1.0}", '{"a": 1.0}')
