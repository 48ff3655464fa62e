from __future__ import annotations

import pytest
import yaml

from forkhouse.patches.renaming import renamed_paths

EDIT = """# src/a.py is where it was.
Subject: Change src/a.py
Description: "What src/a.py does, see src/a.py.orig and more/src/a.py."
edits:
  - path: src/a.py  # src/a.py
    language: python
    operations:
      - replace: {pattern: 'open("src/a.py")'}
        with: |
          path: src/a.py
  - path: "src/a.py.orig"
    operations: []
  - path: [old/src/a.py, 'src/a.py']
    operations: [{insert: {after: {pattern: x}}, path: src/a.py}]
after:
  - absent: {pattern: src/a.py, in: src/a.py}
  - present: {text: src/a.py, in: ["src/a.py", src/b.py]}
"""


def test_nothing_but_the_nodes_of_paths_changes() -> None:
    new = renamed_paths(EDIT, {"src/a.py": "lib/a.py"})
    expected = (
        EDIT.replace("  - path: src/a.py  #", "  - path: lib/a.py  #")
        .replace("'src/a.py']", "'lib/a.py']")
        .replace("in: src/a.py}", "in: lib/a.py}")
        .replace('in: ["src/a.py"', 'in: ["lib/a.py"')
    )
    assert new == expected
    assert renamed_paths(EDIT, {"src/c.py": "x"}) == EDIT


@pytest.mark.parametrize(
    "name", ["it's.py", "a: b.py", "yes", "1", "ü#x.py", "a, b]", "-", "*x", 'say "x"', "a #b"]
)
@pytest.mark.parametrize(
    "form",
    [
        "edits: [{{path: {0}}}]",
        "edits:\n  - path: {0}\n",
        "edits:\r\n- path: &here {0} # c\r\nafter:\r\n- present: {{in: *here}}\r\n",
    ],
)
@pytest.mark.parametrize("quoted", ["src/a.py", "'src/a.py'", '"src/a.py"'])
def test_a_name_is_read_back_as_it_is(name: str, form: str, quoted: str) -> None:
    text = form.format(quoted)
    new = renamed_paths(text, {"src/a.py": name})
    read = yaml.safe_load(new)
    assert read["edits"][0]["path"] == name
    assert "after" not in read or read["after"][0]["present"]["in"] == name
    assert new.replace(name, "") != text
    assert new.count("\r\n") == text.count("\r\n")


def test_a_block_scalar_is_a_path_too() -> None:
    new = renamed_paths(
        "edits:\n  - path: >-\n      src/a.py\n    language: c\n", {"src/a.py": "b.py"}
    )
    assert yaml.safe_load(new) == {"edits": [{"path": "b.py", "language": "c"}]}
