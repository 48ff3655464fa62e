"""Requirements in every form that they have.

What is read, what changes, and what is refused with its reason.
"""

from __future__ import annotations

import codecs
import tomllib
from email import message_from_string

import pytest
from packaging.requirements import Requirement

from forkhouse.core.errors import DocumentError, PatchConflictError
from forkhouse.documents.reading import parse
from forkhouse.patches.asked import asked
from forkhouse.patches.edits import AddedFile, FileEdit, StructuralEdit
from forkhouse.patches.operations import apply_edit

HEADER = "Subject: s\nDescription: d\nOrigin: o\nForwarded: no\nRetire-When: never\n"
ONE, TWO = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"


def edit_of(operation: str, language: str = "requirements") -> FileEdit:
    text = (
        f"{HEADER}edits:\n  - path: file\n    language: {language}\n    operations:\n      - "
        f"{operation}\n"
    )
    (edit,) = parse(StructuralEdit, text, name="edit").edits
    assert not isinstance(edit, AddedFile)
    return edit


def changed(text: str, change: str, count: int | None = None) -> str:
    return apply_edit(
        text, edit_of(f"requirement: {{{change}}}" + (f"\n        count: {count}" if count else ""))
    )


LINES = [
    # What is joined belongs to the declaration, wherever a line is broken.
    ("replace: torch, with: torch==3", "torch \\\n    >=2.0\nx\n", "torch==3\nx\n"),
    ("replace: torch, with: torch==3", "torch \\\r\n    >=2.0,\\\r\n<9  # why\r\nx\r\n",
     "torch==3  # why\r\nx\r\n"),
    ("replace: torch, with: torch==3", "torch[a,\\\n b]>=2; python_version > '3' \\\n   # why\nx\n",
     'torch==3; python_version > "3" \\\n   # why\nx\n'),
    ("remove: torch",
     "a\ntorch \\\n  >=2 \\\n  --hash=" + ONE + " \\\n  --hash=" + TWO + "  # all of it\nx\n",
     "a\nx\n"),
    ("remove: torch", "torch \\\n\nx\n", "x\n"),
    ("remove: torch", "torch>=2 \\\n# about x\nx\n", "# about x\nx\n"),
    # A comment goes on behind a backslash, and stays one.
    ("remove: torch", "torch # this \\\nnumpy\nx\n", "x\n"),
    ("replace: torch, with: torch==3", "torch # this \\\nnumpy\nx\n",
     "torch==3 # this \\\nnumpy\nx\n"),
    # What resolvers write below what they resolved.
    ("remove: torch", "torch==2\n    # via\n    #   -r in.txt\n    #   x\nx==1\n    # via y\n",
     "x==1\n    # via y\n"),
    ("remove: torch", "torch==2\n    # ours\nx\n", "    # ours\nx\n"),
    # Hashes are those of a version.
    ("replace: torch, with: torch==3", f"torch==2 --hash={ONE} --hash {TWO} # why\nx\n",
     "torch==3 # why\nx\n"),
    ("replace: torch, with: torch==3",
     f"torch==2 \\\n  --hash={ONE} \\\n  --config-settings=a=b \\\n  --hash={TWO}\nx\n",
     "torch==3 \\\n  --config-settings=a=b\nx\n"),
    ("replace: torch, with: 'torch[a]==2'", f"torch==2 --hash={ONE}\nx==1 --hash={TWO}\n",
     f"torch[a]==2 --hash={ONE}\nx==1 --hash={TWO}\n"),
    ("replace: torch, with: torch, keep-version: true", f"torch[a]==2 \\\n  --hash={ONE}\n",
     f"torch==2 \\\n  --hash={ONE}\n"),
    (f"replace: torch, with: torch==3, hashes: ['{TWO}']",
     f"torch==2 \\\n  --hash={ONE}\nx==1 --hash={ONE}\n",
     f"torch==3 \\\n    --hash={TWO}\nx==1 --hash={ONE}\n"),
    (f"replace: torch, with: torch==3, hashes: ['{TWO}']", "torch\n", f"torch==3 --hash={TWO}\n"),
    (f"add: torch==3, hashes: ['{ONE}', '{TWO}']", f"x==1 --hash={ONE}\n",
     f"x==1 --hash={ONE}\ntorch==3 --hash={ONE} --hash={TWO}\n"),
    # Addresses, by what names them.
    ("remove: nixl-cu12", "https://h.example/nixl_cu12-1.4.1-cp311-cp311-linux_x86_64.whl#sha256=00"
                          "\nx\n", "x\n"),
    ("remove: nixl-cu12", "https://${TOKEN}@h.example/nixl_cu12-1.4.1-py3-none-any.whl\nx\n",
     "x\n"),
    ("remove: nixl-cu12", "./wheels/nixl_cu12-1.4.1-py3-none-any.whl\nx\n", "x\n"),
    ("remove: nixl-cu12", "git+https://h.example/n.git@v1#egg=Nixl.cu12&subdirectory=p\nx\n",
     "x\n"),
    ("remove: nixl-cu12", "-e git+https://h.example/n.git#egg=nixl-cu12  # ours\nx\n", "x\n"),
    ("remove: nixl-cu12", "--editable='nixl_cu12 @ git+https://h.example/n.git'\nx\n", "x\n"),
    ("replace: nixl-cu12, with: rixl>=1", "-egit+https://h.example/n.git#egg=nixl-cu12 # ours\nx\n",
     "rixl>=1 # ours\nx\n"),
    ("replace: nixl-cu12, with: rixl>=1",
     "nixl-cu12 @ https://h.example/n.zip ; python_version>'3'\n",
     'rixl>=1; python_version > "3"\n'),
    # The ends of a file.
    ("add: torch", "", "torch\n"),
    ("add: torch", "x", "x\ntorch\n"),
    ("add: torch", "\ufeffx\r\n", "\ufeffx\r\ntorch\r\n"),
    ("add: torch", "x \\\n", "x \\\n\ntorch\n"),
    ("remove: torch", "\ufefftorch\nx\n", "\ufeffx\n"),
    ("remove: torch", "x\ntorch", "x\n"),
    ("remove: torch", "torch", ""),
    ("replace: torch, with: torch==3", "\ufefftorch", "\ufefftorch==3"),
    # Only white space begins a comment; what follows a name may stand close to it.
    ("remove: torch", "torch@https://h.example/t.zip#x\nx\n", "x\n"),
    ("replace: torch, with: torch==3", "torch>=2#x\nx\ntorch\n", "torch>=2#x\nx\ntorch==3\n"),
    ("replace: torch, with: torch==3", "-r torch\n--find-links torch\n# torch\nTorch\n",
     "-r torch\n--find-links torch\n# torch\ntorch==3\n"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "old", "new"), LINES)
def test_a_requirements_file_is_changed_as_pip_reads_it(change: str, old: str, new: str) -> None:
    assert changed(old, change) == new


@pytest.mark.parametrize(
    ("change", "old", "message"),
    [
        ("replace: torch, with: torch==3", f"torch==2 --hash={ONE}\nx==1 --hash={TWO}\n",
         r"pip then refuses all that has none: 'torch==3' has none"),
        ("replace: torch, with: torch==3", f"--require-hashes\ntorch==2 --hash={ONE}\n",
         r"pip then refuses all that has none"),
        ("add: torch==3", f"x==1 \\\n  --hash={TWO}\n", r"`hashes: \[sha256:\.\.\.\]`"),
        ("replace: torch, with: torch, keep-version: true",
         "https://h.example/torch-1.0-py3-none-any.whl\n",
         "has no version to keep, but an address"),
        ("replace: torch, with: triton, keep-version: true", "torch @ https://h.example/t.zip\n",
         "its address is that of torch, not of triton"),
        ("replace: torch, with: torch, keep-version: true", "torch==${VERSION}\n",
         r"what would stay of 'torch==\$\{VERSION\}' depends on the environment"),
        ("remove: torch", "./torch\ngit+https://h.example/torch.git\n", "matched 0 times"),
        ("remove: torch", "-c torch.txt\n-r torch.txt\n", "matched 0 times"),
        ("remove: torch, group: dev", "torch\n", "matched 0 times"),
        ("remove: torch", "[options]\ninstall_requires =\n  x\n  torch\n",
         r"Line 1: '\[options\]' is no line of a requirements file"),
        ("remove: torch", "x ==\ntorch\n",
         "Line 1, beside 'torch', cannot be read: 'x ==' is no requirement"),
        ("remove: torch", "x\ntorch ==\ny\n",
         "'torch' may be one that cannot be read: line 2: 'torch ==' is no requirement"),
        ("remove: torch", "Metadata-Version: 2.1\nRequires-Dist: torch ==\n",
         "'torch' may be one that cannot be read: line 2: 'torch =='"),
        ("remove: torch", "[project]\ndependencies = ['torch ==']\n",
         "'torch' may be one that cannot be read: project.dependencies: 'torch =='"),
        ("remove: torch", "[tool.poetry.dependencies]\nTorch = '^2'\n",
         "'torch' stands in tool.poetry.dependencies, which is no table of a standard"),
        ("remove: torch", "[tool.uv]\ndev-dependencies = ['torch>1']\n",
         "'torch' stands in tool.uv.dev-dependencies"),
        ("remove: torch", "[tool.poetry.dependencies]\nx = '^2'\n", "matched 0 times"),
        ("add: torch", "x\n--bogus\n",
         "Line 2, beside 'torch', cannot be read: pip does not read the options"),
        (f"add: b==1, hashes: ['{ONE}']", "Metadata-Version: 2.1\nName: x\n",
         "`hashes` are for requirements files"),
    ],
)  # fmt: skip
def test_what_pip_would_refuse_afterwards_is_refused_before(
    change: str, old: str, message: str
) -> None:
    with pytest.raises(PatchConflictError, match=message):
        changed(old, change)


def test_a_name_that_stands_several_times_is_counted() -> None:
    old = "torch==2; python_version > '3'\nx\nTorch==1; python_version <= '3'\n"
    with pytest.raises(PatchConflictError, match="matched 2 times, expected 1"):
        changed(old, "remove: torch")
    hashed = f"torch==2; python_version > '3' --hash={ONE}\nTorch==1 --hash={TWO}\n"
    assert (
        changed(hashed, "replace: torch, with: torch==3", count=2)
        == 'torch==3; python_version > "3"\ntorch==3\n'
    )
    assert (
        changed(old, "replace: torch, with: torch==3", count=2)
        == 'torch==3; python_version > "3"\nx\ntorch==3; python_version <= "3"\n'
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("remove: a, extra: x, group: y", "an `extra` or to a `group`"),
        (
            f"remove: a, hashes: ['{ONE}']",
            "`hashes` belongs to an `add` or `with` that names one version",
        ),
        (
            f"add: a>=1, hashes: ['{ONE}']",
            "`hashes` belongs to an `add` or `with` that names one version",
        ),
        (
            f"add: a==1.*, hashes: ['{ONE}']",
            "`hashes` belongs to an `add` or `with` that names one version",
        ),
        ("add: a==1, hashes: ['md5:00']", "String should match pattern"),
    ],
)
def test_a_change_that_means_nothing_is_refused(change: str, message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        edit_of(f"requirement: {{{change}}}")


# Metadata.

FOLDED = (
    "Metadata-Version: 2.1\r\nName: d\r\nrequires-dist: torch (>=2)\r\n  ; python_version > "
    "'3'\r\nRequires: torch\r\nRequires-Dist: numpy\r\n"
    "PROVIDES-EXTRA: gpu\r\nRequires-Dist: x[a,\r\n\tb]; extra ==\r\n  'gpu'\r\n\r\nRequires-Dist: "
    "torch\r\n"
)


def required(text: str) -> list[str]:
    """Read metadata as Python does."""
    return [
        str(Requirement(" ".join(value.split())))
        for value in message_from_string(text).get_all("Requires-Dist", [])
    ]


@pytest.mark.parametrize(
    ("change", "left"),
    [
        ("remove: torch", ["numpy", 'x[a,b]; extra == "gpu"']),
        (
            "replace: torch, with: torch==3",
            ['torch==3; python_version > "3"', "numpy", 'x[a,b]; extra == "gpu"'],
        ),
        (
            "replace: x, with: y, extra: GPU",
            ['torch>=2; python_version > "3"', "numpy", 'y; extra == "gpu"'],
        ),
        (
            "add: z, extra: gpu",
            [
                'torch>=2; python_version > "3"',
                "numpy",
                'x[a,b]; extra == "gpu"',
                'z; extra == "gpu"',
            ],
        ),
    ],
)
def test_folded_metadata_is_read_and_changed_whole(change: str, left: list[str]) -> None:
    new = changed(FOLDED, change)
    assert required(new) == left
    assert new.endswith("\r\n\r\nRequires-Dist: torch\r\n")
    assert new.count("\n") == new.count("\r\n")
    assert "Requires: torch\r\n" in new
    untouched = [
        line
        for line in FOLDED.split("\r\n")
        if line.startswith(("Metadata", "Name", "PROVIDES", "Requires-Dist: numpy"))
    ]
    assert [line for line in new.split("\r\n") if line in untouched] == untouched


def test_metadata_may_begin_with_another_field() -> None:
    old = "Name: d\nMetadata-Version: 2.1\nRequires-Dist: torch\nVersion: 1\n"
    assert changed(old, "remove: torch") == old.replace("Requires-Dist: torch\n", "")
    with pytest.raises(PatchConflictError, match="what is there already"):
        changed(old, "add: Torch>=2")


# Projects.

PROJECT = """\
[project]
name = "d"
dependencies = [
  'torch>=2',  # why
  # about numpy
  "numpy" # last
]
optional-dependencies = {gpu = ["cupy-cuda12x", 'torch'], "a.b" = ['''x''']}

[build-system]
requires = ["numpy", "setuptools"]

[dependency-groups]
dev = ["pytest", {include-group = "types"}, "torch"]
types = []
"""


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("change", "count", "old", "new"),
    [
        ("replace: torch, with: torch==3, extra: ''", 1, "'torch>=2'", "'torch==3'"),
        ("replace: torch, with: torch==3, extra: gpu", 1, "'torch']", "'torch==3']"),
        ("replace: torch, with: torch==3, group: Dev", 1, '"torch"]', '"torch==3"]'),
        (
            "replace: x, with: y; python_version>'3'",
            1,
            "'''x'''",
            "'''y; python_version > \"3\"'''",
        ),
        (
            "replace: pytest, with: pytest; python_version>'3'",
            1,
            '"pytest"',
            "\"pytest; python_version > '3'\"",
        ),
        ("remove: torch, extra: ''", 1, "  'torch>=2',  # why\n", ""),
        ("remove: torch, group: dev", 1, ', "torch"]', "]"),
        ("remove: pytest", 1, '"pytest", {', "{"),
        ("remove: 'cupy-*'", 1, "\"cupy-cuda12x\", 'torch'", "'torch'"),
        ("remove: numpy", 2, '"numpy", "setuptools"', '"setuptools"'),
        ("add: y, extra: a.b", 1, "['''x''']", "['''x''', '''y''']"),
        ("add: y, group: types", 1, "types = []", 'types = ["y"]'),
        ("add: setuptools", 1, '  "numpy" # last\n', '  "numpy", # last\n  "setuptools"\n'),
    ],
)
def test_a_project_is_changed_by_the_spans_of_its_items(
    newline: str, change: str, count: int, old: str, new: str
) -> None:
    expected = PROJECT.replace(old, new)
    if change == "remove: numpy":
        expected = (
            expected.replace("why\n  # about numpy\n", "why\n  # about numpy\n")
            .replace('  "numpy" # last\n', "")
            .replace("'torch>=2',", "'torch>=2'")
        )
    text = changed(PROJECT.replace("\n", newline), change, count=count)
    assert text == expected.replace("\n", newline)
    assert tomllib.loads(text)


def test_several_of_one_list_go_together() -> None:
    old = '[project]\ndependencies = ["a", "torch", "Torch[x]", "b", "TORCH"]  # all\n'
    assert changed(old, "remove: torch", count=3) == '[project]\ndependencies = ["a", "b"]  # all\n'
    old = '[project]\ndependencies = [\n  "torch", # 1\n  "Torch[x]", # 2\n]\n'
    assert changed(old, "remove: torch", count=2) == "[project]\ndependencies = [\n]\n"


def test_a_project_that_is_written_with_dotted_keys_is_one() -> None:
    old = 'project.name = "d"\nproject.dependencies = ["torch"]\n'
    assert (
        changed(old, "replace: torch, with: torch==3")
        == 'project.name = "d"\nproject.dependencies = ["torch==3"]\n'
    )
    assert (
        changed('[ project ]\n"dependencies" = ["é", "torch"]\n', "remove: torch")
        == '[ project ]\n"dependencies" = ["é"]\n'
    )


# Entry points.


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[a]\nx = y:z\n\n[g]\nx = y:z\n\n[b]\nx = y:z\n", "[a]\nx = y:z\n\n[b]\nx = y:z\n"),
        ("[g]\r\nx = y:z\r\n[b]\r\nx = y:z\r\n", "[b]\r\nx = y:z\r\n"),
        ("[a]\nx = y:z\n[g]\nx = y:z", "[a]\nx = y:z\n"),
        ("[g]\nx = y:z\n", ""),
        # A comment right above a name speaks of that group.
        (
            "[a]\nx = y:z\n\n# on g\n[g]\nx = y:z\n\n# on b\n# too\n[b]\nx = y:z\n",
            "[a]\nx = y:z\n\n# on b\n# too\n[b]\nx = y:z\n",
        ),
        ("# the file\n[g]\nx = y:z\n[b]\nx = y:z\n", "# the file\n[b]\nx = y:z\n"),
        (
            "# the file\n[g]\nx = y:z\n\n# on b\n[b]\nx = y:z\n",
            "# the file\n\n# on b\n[b]\nx = y:z\n",
        ),
        (
            "[a]\nx = y:z\n; on g\n[g]\nx = y\n  :z\n; on b\n[b]\nx = y:z\n",
            "[a]\nx = y:z\n; on b\n[b]\nx = y:z\n",
        ),
        # Given in parts, it goes with all of them.
        ("[g]\nx = y:z\n[a]\nx = y:z\n[g]\nw = y:z\n", "[a]\nx = y:z\n"),
        ("[g ]\nx = y:z\n[g]\nx = y:z\n[G]\nx = y:z\n", "[g ]\nx = y:z\n[G]\nx = y:z\n"),
        ('[project]\nname = "d"\n[project.entry-points.g]\nx = "y:z"\n', '[project]\nname = "d"\n'),
    ],
)
def test_a_group_of_entry_points_goes_alone(old: str, new: str) -> None:
    assert apply_edit(old, edit_of("remove: {group: g}", "entry-points")) == new


def test_a_group_with_a_table_of_its_own_is_found_there() -> None:
    old = '[project]\nname = "d"\n[project.scripts]\nx = "y:z"\n[project.gui-scripts]\nw = "y:z"\n'
    new = apply_edit(old, edit_of("remove: {group: console_scripts}", "entry-points"))
    assert tomllib.loads(new) == {"project": {"name": "d", "gui-scripts": {"w": "y:z"}}}


@pytest.mark.parametrize(
    "text",
    [
        # For installers a line in brackets is a name; by the specification it goes on the value
        # above.
        "[g]\nx = y:z\n  [a]\nw = y:z\n",
        # For installers what stands behind a semicolon is an entry.
        "[a]\nx = y:z\n[g]\nx = y:z\n; w = y:z\n[b]\nx = y:z\n",
        "[g] # ours\nx = y:z\n[g]\nw = y:z\n",
    ],
)
def test_entry_points_that_their_readers_read_differently_are_left_alone(text: str) -> None:
    with pytest.raises(
        PatchConflictError, match="its readers do not agree on where a group begins or ends"
    ):
        apply_edit(text, edit_of("remove: {group: g}", "entry-points"))


# Conditions.


def looked_at(
    files: dict[str, bytes | str], path: str = "", wanted: str = "nixl-cu12"
) -> tuple[bool, str]:
    """Say whether a file asks for a distribution, and the first reason why that cannot be told."""
    content = {
        name: text.encode() if isinstance(text, str) else text for name, text in files.items()
    }
    found = asked(path or next(iter(files)), wanted, content.get)
    return bool(found.where), (*found.unclear, "")[0]


NIXL = "nixl-cu12==1.4.1\n"


@pytest.mark.parametrize(
    "content",
    [
        NIXL,
        codecs.BOM_UTF8 + NIXL.encode(),
        codecs.BOM_UTF16_LE + NIXL.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + NIXL.encode("utf-16-be"),
        codecs.BOM_UTF32_LE + NIXL.encode("utf-32-le"),
        codecs.BOM_UTF32_BE + NIXL.encode("utf-32-be"),
        "# -*- coding: latin-1 -*-\n# Größe\n".encode("latin-1") + NIXL.encode(),
        "nixl\\\n-cu12\n",
        "x # y\nnixl_cu12\\\n  >=1\n",
        "https://h.example/nixl_cu12-1.4.1-cp311-cp311-linux_x86_64.whl\n",
        "git+https://h.example/nixl.git#egg=nixl-cu12\n",
        "-e git+https://h.example/nixl.git#egg=nixl-cu12\n",
        "NIXL.CU12 @ https://h.example/n.zip\n",
        "nixl-cu12[x] --config-settings=a=b\n",
    ],
)
def test_a_condition_sees_a_requirement_in_every_spelling(content: bytes | str) -> None:
    assert looked_at({"requirements.txt": content})[0]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("-e .\n", "line 1: '.' is a local project, whose name is in its own files"),
        ("x\n./nixl\n", "line 2: './nixl' is a local project"),
        (
            "git+https://h.example/nixl.git\n",
            "line 1: 'git+https://h.example/nixl.git' does not say the name",
        ),
        (
            "https://h.example/nixl_cu12-1.4.1.tar.gz\n",
            "is an archive, whose name is in its metadata",
        ),
        ("https://h.example/v1.zip\n", "is an archive, whose name is in its metadata"),
        ("${WHAT}==1\n", "has a variable of the environment where its name may be"),
        ("nixl ==\n", "'nixl ==' is no requirement"),
        ("--nothing-like-it\n", "pip does not read the options of '--nothing-like-it'"),
        ("-r ../other.txt\n", "lies outside of the tree"),
        ("-r /other.txt\n", "lies outside of the tree"),
        ("-rhttps://h.example/r.txt\n", "is read from elsewhere"),
        ("-r ${WHERE}/r.txt\n", "is read from elsewhere"),
        ("--requirement=gone.txt\n", "there is no plain file gone.txt"),
        ("-c gone.txt\n", "there is no plain file gone.txt"),
        ("-r requirements.txt\n", "comes back to a file that is being read"),
        ("# é\n".encode("latin-1"), "cannot be decoded as its readers do"),
        (b"# coding: nothing\nx\n", "cannot be decoded as its readers do"),
    ],
)
def test_what_has_no_name_is_not_taken_for_something_else(
    content: bytes | str, reason: str
) -> None:
    there, said = looked_at({"requirements.txt": content})
    assert not there
    assert reason in said


@pytest.mark.parametrize(
    ("files", "there"),
    [
        ({"r/a.txt": "-r b.txt\n", "r/b.txt": "-r ../c.txt", "c.txt": NIXL}, True),
        ({"r/a.txt": "-rb.txt # b\n", "r/b.txt": "x\n"}, False),
        # A constraint asks for nothing, but a file of constraints may refer to one that does.
        ({"a.txt": "-c c.txt\nx\n", "c.txt": NIXL}, False),
        ({"a.txt": "--constraint c.txt\n", "c.txt": "-r b.txt\n", "b.txt": NIXL}, True),
        # Two ways to one file are no circle, and behind a requirement pip does not follow.
        ({"a.txt": "-r b.txt\n-r c.txt\n", "b.txt": "-r c.txt\n", "c.txt": "x\n"}, False),
        ({"a.txt": "x -r b.txt\n", "b.txt": NIXL}, False),
        (
            {
                "a.txt": "# nixl-cu12\n--find-links nixl-cu12\n--no-binary nixl-cu12\n"
                "x # nixl-cu12\n"
            },
            False,
        ),
        ({"a.txt": "x\\\n# y\nnixl-cu12\n"}, True),
        ({"a.txt": "x # y \\\nnixl-cu12\n"}, False),
    ],
)
def test_files_that_are_referred_to_are_read_as_pip_does(
    files: dict[str, bytes | str], *, there: bool
) -> None:
    assert looked_at(files) == (there, "")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("pyproject.toml", '[project]\ndependencies = ["nixl-cu12"]\n'),
        ("pyproject.toml", '[project]\noptional-dependencies.x = ["""nixl_cu12>1"""]\n'),
        ("pyproject.toml", '[dependency-groups]\ndev = [{include-group = "x"}, "nixl-cu12"]\n'),
        ("pyproject.toml", '[build-system]\nrequires = ["nixl-cu12"]\n'),
        ("pyproject.toml", '[tool.poetry.dependencies]\nNixl_cu12 = "^1"\n'),
        ("pyproject.toml", '[tool.poetry.group.dev.dependencies]\nnixl-cu12 = {version = "1"}\n'),
        ("pyproject.toml", '[tool.uv]\ndev-dependencies = ["nixl-cu12"]\n'),
        ("pyproject.toml", '[tool.pdm.dev-dependencies]\nx = ["nixl-cu12"]\n'),
        ("pyproject.toml", '[tool.hatch.envs.x]\ndependencies = ["nixl-cu12"]\n'),
        ("Pipfile", '[packages]\nnixl-cu12 = "*"\n'),
        ("uv.lock", '[[package]]\nname = "nixl-cu12"\n'),
        ("setup.cfg", "[options]\ninstall_requires =\n  # x\n  x\n  nixl-cu12 # y\n"),
        ("setup.cfg", "[options]\ninstall_requires = x; nixl-cu12\n"),
        ("setup.cfg", "[options.extras_require]\nx = nixl-cu12>1\n"),
        (
            "d.dist-info/METADATA",
            "Name: d\nMetadata-Version: 2.1\nREQUIRES-DIST: nixl-cu12\n  >=1\n",
        ),
        ("d.egg-info/requires.txt", "x\n\n[y]\nnixl-cu12\n"),
    ],
)
def test_a_condition_sees_a_requirement_in_every_form(path: str, text: str) -> None:
    assert looked_at({path: text}) == (True, "")
    assert looked_at({path: text}, wanted="nixl") == (False, "")


@pytest.mark.parametrize(
    ("path", "text", "reason"),
    [
        (
            "pyproject.toml",
            '[project]\ndynamic = ["dependencies"]\n',
            "`dependencies` are said by the build of the project",
        ),
        (
            "pyproject.toml",
            '[project]\ndynamic = ["optional-dependencies"]\n',
            "are said by the build of the project",
        ),
        ("pyproject.toml", "\ufeff[project]\n", "not TOML"),
        (
            "pyproject.toml",
            '[dependencies]\nnixl-cu12 = "1"\n',
            "none of the tables that requirements stand in",
        ),
        (
            "pyproject.toml",
            '[project]\ndependencies = ["nixl =="]\n',
            "'nixl ==' is no requirement",
        ),
        (
            "pyproject.toml",
            '[tool.setuptools.dynamic]\ndependencies = {file = ["gone.txt"]}\n',
            "no plain file gone.txt",
        ),
        (
            "pyproject.toml",
            '[tool.uv.sources]\nnixl-cu12 = {path = "x"}\n',
            "it says where the distribution would come from",
        ),
        ("setup.py", "from setuptools import setup\n", "is no requirement"),
        ("setup.cfg", "[options]\ninstall_requires = file: gone.txt\n", "no plain file gone.txt"),
        (
            "d/PKG-INFO",
            "Metadata-Version: 2.2\nDynamic: Requires-Dist\n",
            "only the build of the project says what it requires",
        ),
        (
            "d/METADATA",
            "Metadata-Version: 2.1\nRequires: nixl-cu12\n",
            "the obsolete field `Requires` names it",
        ),
        (
            "d/METADATA",
            "\nMetadata-Version: 2.1\nRequires-Dist: nixl-cu12\n",
            "does not begin with a header",
        ),
    ],
)
def test_a_form_that_does_not_say_it_all_is_not_taken_for_one_that_does(
    path: str, text: str, reason: str
) -> None:
    there, said = looked_at({path: text})
    assert not there
    assert reason in said


def test_dynamic_requirements_are_followed_to_their_file() -> None:
    project = (
        '[project]\ndynamic = ["dependencies"]\n[tool.setuptools.dynamic]\ndependencies = {file = '
        '["r/a.txt"]}\n'
    )
    assert looked_at(
        {"d/pyproject.toml": project, "d/r/a.txt": "-r b.txt\n", "d/r/b.txt": NIXL}
    ) == (True, "")
    assert looked_at({"d/pyproject.toml": project, "d/r/a.txt": "x\n"}) == (False, "")
    # Poetry's own tables say it as well.
    poetry = (
        '[project]\ndynamic = ["dependencies"]\n[tool.poetry.dependencies]\npython = "^3"\nx = '
        '"1"\n'
    )
    assert looked_at({"pyproject.toml": poetry}) == (False, "")
    # What a wheel says is what is installed, however it came about.
    assert looked_at(
        {"d/METADATA": "Metadata-Version: 2.2\nDynamic: Requires-Dist\nRequires-Dist: x\n"}
    ) == (False, "")


def test_a_declaration_of_several_extras_is_no_one_s_alone() -> None:
    text = (
        "Metadata-Version: 2.1\nName: a\nVersion: 1\nProvides-Extra: x\nProvides-Extra: "
        'y\nRequires-Dist: b; extra == "x" or extra == "y"\n'
    )
    with pytest.raises(PatchConflictError, match=r"belongs to several extras \(x, y\)"):
        apply_edit(text, edit_of("requirement: {remove: b, extra: x}"))


@pytest.mark.parametrize(
    ("path", "text", "told"),
    [
        ("setup.cfg", "[options]\ninstall-requires =\n  torch\n", True),
        ("pyproject.toml", "[tool.rye]\ndev-dependencies = ['torch']\n", True),
        ("pyproject.toml", "[tool.uv.extra-build-dependencies]\nx = ['torch']\n", True),
        ("environment.yaml", "- torch\n", False),
        ("environment.yml", "dependencies:\n  - pip:\n    - torch\n", False),
    ],
)
def test_what_other_tools_ask_for_is_not_taken_for_nothing(
    path: str, text: str, told: bool
) -> None:
    found = asked(path, "torch", {path: text.encode()}.get)
    assert bool(found.where) is told
    assert bool(found.unclear) is not told
