"""What bash makes of a file after an edit of its declarations, its chains and its options."""

from __future__ import annotations

import subprocess

import pytest

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches.operations import apply_edit
from tests.patches.test_proof import edit_of


def changed(operation: str, old: str) -> str:
    new = apply_edit(old, edit_of("bash", f"- {operation}"))
    subprocess.run(["bash", "-n"], input=new, text=True, check=True)
    return new


def said(script: str) -> str:
    """Return what bash prints."""
    done = subprocess.run(["bash", "-s"], input=script, text=True, capture_output=True, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("declare -a A=(1 2)\n", ""),
        ("declare -A A=(\n  [a]=1\n)\n", ""),
        ("typeset -i A=1\n", ""),
        ("declare +x A=1 # why\n", ""),
        ("readonly A=1\n", ""),
        ("export -n A=1\n", ""),
        ("export -- A=1\n", ""),
        ("export A=1 > /dev/null\n", ""),
        ("f() { local -r A=1; }\n", "f() { :; }\n"),
        ("f() {\n  local -a A=(1)\n  g\n}\n", "f() {\n  g\n}\n"),
        ("if x; then declare -x A=1; fi\n", "if x; then :; fi\n"),
        ("declare -a A=(1); g\n", "g\n"),
        ("declare -x A=1 B=2\n", "declare -x B=2\n"),
        ("declare -x B=2 A=1\n", "declare -x B=2\n"),
        ("export A=1 B\n", "export B\n"),
        ("export B A=1 $C\n", "export B $C\n"),
        ("export \\\n  A=1 \\\n  B=2\n", "export \\\n  B=2\n"),
        ("export B=2 \\\n  A=1\ng\n", "export B=2\ng\n"),
        ("A=1 B=2\n", "B=2\n"),
        ("B=2 A=1\n", "B=2\n"),
        ("B=2 A=1 C=3\n", "B=2 C=3\n"),
        ("A=(1 2) B=2 # why\n", "B=2 # why\n"),
        ("B=2 \\\n  A=1\n", "B=2\n"),
        ("x || A=1 B=2\n", "x || B=2\n"),
        ("for i in 1; do A=1 B=2; done\n", "for i in 1; do B=2; done\n"),
        ("A=1 g\n", "g\n"),
        ("A=1 B=2 g > log\n", "B=2 g > log\n"),
        ("A=1 \\\n  g\n", "g\n"),
    ],
)
def test_a_declaration_goes_with_its_only_name(old: str, new: str) -> None:
    assert changed("remove: {assignment: A}", old) == new
    # A bare `declare`, `export` or `readonly` would print variables.
    there = f"f() {{ :; }}; g() {{ :; }}; x() {{ :; }}; C=c; cd /tmp || exit\n{new}f\n"
    assert said(there) == ""


@pytest.mark.parametrize("below", ["g", "g x", "g | h", "g > l", "g && h", "{ g; }", "# why\ng"])
@pytest.mark.parametrize(
    ("above", "left"),
    [
        ("A=1 B=2", "B=2"),
        ("B= A=", "B="),
        ("A=(1 2) B=2", "B=2"),
        ('A="$x" B=$(y)', "B=$(y)"),
        ("A=1 B=2 # c", "B=2 # c"),
        ("B=2 A=1 C=3", "B=2 C=3"),
    ],
)
@pytest.mark.parametrize("held", ["{}", "if x; then\n{}fi\n"])
def test_assignments_on_a_line_are_no_part_of_the_next_command(
    above: str, left: str, below: str, held: str
) -> None:
    """The grammar takes the command of the next line for theirs."""
    old = held.format(f"{above}\n{below}\n")
    gone = changed("remove: {assignment: A}", old)
    assert gone == held.format(f"{left}\n{below}\n")
    more = changed("argument: {of: {call: g}, add: z}", old)
    name = "g x" if below == "g x" else "g"
    assert more == held.format(f"{above}\n{below.replace(name, f'{name} z')}\n")
    if below in {"g", "g x", "g > l", "# why\ng"}:
        new = changed("remove: {call: g}", old)
        assert new == held.format(f"{above}\n{below.rpartition('g')[0]}")
        new = changed("insert: {before: {call: g}, text: new}", old)
        assert new == held.format(f"{above}\nnew\n{below}\n")


@pytest.mark.parametrize("old", ["A=1 \\\n  B=2\ng\n", "A=1 B=2 > l\ng\n", "x || A=1 B=2\ng\n"])
def test_what_the_grammar_misreads_otherwise_is_refused(old: str) -> None:
    with pytest.raises(PatchConflictError, match="the grammar takes assignments of the line above"):
        changed("remove: {call: g}", old)


@pytest.mark.parametrize(
    ("operation", "old"),
    [
        ("argument: {of: {call: export}, remove: A}", "export A\n"),
        ("argument: {of: {call: declare}, remove: A}", "declare -a A\n"),
        ("argument: {of: {call: readonly}, remove: A=1}", "readonly -- A=1\n"),
        ("argument: {of: {call: local}, remove: A}", "f() { local -r A; }\n"),
        ("argument: {of: {call: export}, replace: A, with: -p}", "export A\n"),
    ],
)
def test_the_last_name_does_not_go_alone(operation: str, old: str) -> None:
    with pytest.raises(PatchConflictError, match="would have no name any more"):
        changed(operation, old)


@pytest.mark.parametrize(("gone", "left"), [("A", "B"), ("B", "A")])
def test_one_of_several_names_goes(gone: str, left: str) -> None:
    edit = f"argument: {{of: {{call: export}}, remove: {gone}}}"
    assert changed(edit, "export A B\n") == f"export {left}\n"


@pytest.mark.parametrize("word", ["time", "time -p", "coproc"])
@pytest.mark.parametrize(
    "old",
    ["a | b\n", "b | a\n", "c | a | b\n", "a |& b\n", "x=$(a | b)\n", "if a | b; then c; fi\n"],
)
def test_a_word_that_means_a_whole_pipeline_does_not_come_to_one_command(
    word: str, old: str
) -> None:
    edit = "wrap: {{call: a}}\n  with: '{}'"
    with pytest.raises(PatchConflictError, match="all of which that word means"):
        changed(edit.format(f"{word} $MATCH"), old)
    held = f"{{ {word} $MATCH; }}"
    assert changed(edit.format(held), old) == old.replace("a ", f"{{ {word} a; }} ", 1).replace(
        "| a\n", f"| {{ {word} a; }}\n"
    )


@pytest.mark.parametrize("old", ["a\n", "a && b\n", "b || a\n", "a &\n", "if a; then b; fi\n"])
def test_it_comes_to_a_command_that_is_in_no_pipeline(old: str) -> None:
    new = changed("wrap: {call: a}\n  with: 'time $MATCH'", old)
    assert new == old.replace("a", "time a", 1)


def test_it_comes_to_a_whole_pipeline() -> None:
    edit = "replace: {pattern: 'a | b'}\n  with: 'time a | b'"
    assert changed(edit, "a | b\n") == "time a | b\n"


DECIDING = [
    "{ f; } || g\n",
    "{ f; } && g\n",
    "{ h; f; } || g\n",
    "{\n  h\n  f\n} || g\n",
    "( f ) || g\n",
    "( h; f ) && g\n",
    "{ { f; }; } || g\n",
    "{ f; } > log || g\n",
    "x && { f; } || g\n",
    "if { f; }; then g; fi\n",
    "if x; then y; elif { h; f; } > log; then g; fi\n",
    "while { h; f; }; do g; done\n",
    "while f; do g; done\n",
    "until h; f; do g; done\n",
    "for i in 1; do f; done || g\n",
    "if x; then f; fi || g\n",
    "if x; then y; else f; fi || g\n",
    "case x in a) f;; esac || g\n",
    "x=$( { f; } )\n",
]


@pytest.mark.parametrize("old", [*DECIDING, "{ f; } | g\n", "( f ) | g\n"])
def test_a_command_that_decides_does_not_go(old: str) -> None:
    with pytest.raises(PatchConflictError, match="is part of a chain or a condition"):
        changed("remove: {call: f}", old)


@pytest.mark.parametrize("old", DECIDING)
def test_nothing_comes_behind_a_command_that_decides(old: str) -> None:
    with pytest.raises(PatchConflictError, match="is part of a chain or a condition"):
        changed("insert: {after: {call: f}, text: new}", old)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("{ f; h; } || g\n", "{ h; } || g\n"),
        ("( f; h ) && g\n", "( h ) && g\n"),
        ("if x; then f; h; fi || g\n", "if x; then h; fi || g\n"),
        ("{ f; h; } | g\n", "{ h; } | g\n"),
        ("{ h; f; } | g\n", "{ h; } | g\n"),
        ("g | while x; do h; f; done\n", "g | while x; do h; done\n"),
        ("x && { f; }\n", "x && { :; }\n"),
        ("x && {\n  h\n  f\n}\n", "x && {\n  h\n}\n"),
        ("{ f; } &\n", "{ :; } &\n"),
        ("{ f; } > log\n", "{ :; } > log\n"),
        ("k() { f; }\nk || g\n", "k() { :; }\nk || g\n"),
        ("while x; do f; done\n", "while x; do :; done\n"),
        ("if x; then f; fi\n", "if x; then :; fi\n"),
        ("case x in a) f;; esac\n", "case x in a) ;; esac\n"),
    ],
)
def test_a_command_that_decides_nothing_goes(old: str, new: str) -> None:
    assert changed("remove: {call: f}", old) == new


@pytest.mark.parametrize("end", ["--", "'--'", '"--"'])
def test_what_stands_behind_the_end_of_options(end: str) -> None:
    for old in (f"f a {end} -y\n", f"f -y {end} b\n", f"f {end}\n"):
        for option in ("-x", "'-x'", "--long=1"):
            with pytest.raises(PatchConflictError, match="would stand behind the `--`"):
                changed(f'argument: {{of: {{call: f}}, add: "{option}"}}', old)
        assert changed("argument: {of: {call: f}, add: z}", old) == old.replace("\n", " z\n")
    for behind in ("-y", '"$y"', "$y", "*", "b -y"):
        with pytest.raises(PatchConflictError, match="may be an option"):
            changed(
                f"argument: {{of: {{call: f}}, remove: '{end.replace(chr(39), chr(39) * 2)}'}}",
                f"f {end} {behind}\n",
            )
    gone = end.replace("'", "''")
    assert changed(f"argument: {{of: {{call: f}}, remove: '{gone}'}}", f"f {end} b\n") == "f b\n"
    assert changed("argument: {of: {call: f}, remove: -y}", f"f a {end} -y\n") == f"f a {end}\n"
    assert changed("argument: {of: {call: f}, remove: b}", f"f -y {end} b\n") == f"f -y {end}\n"


@pytest.mark.parametrize("behind", ["<<'X'", "<<-X", "<<X > out", "2>&1 <<X", "\\\n  <<X"])
@pytest.mark.parametrize(
    ("operation", "words"),
    [
        ("argument: {of: {call: f}, add: b}", "f -s - b"),
        ("argument: {of: {call: f}, remove: -}", "f -s"),
        ("argument: {of: {call: f}, replace: -, with: b}", "f -s b"),
        ("argument: {of: {call: f}, remove: -s}", "f -"),
        ("replace: {call: f}\n  with: g", "g"),
        ("replace: {pattern: f -s $A}\n  with: g $A", "g -"),
        ("wrap: {call: f}\n  with: nice $MATCH", "nice f -s -"),
    ],
)
def test_a_dash_before_a_here_document_is_an_argument(
    operation: str, words: str, behind: str
) -> None:
    old = f"f -s - {behind}\ntext - <<Y\nX\ni\n"
    assert changed(operation, old) == old.replace("f -s -", words, 1)


@pytest.mark.parametrize(
    "text", ["((a - 2>b)) && f a\n", "x=$((a - 2 >b))\nf a\n", "f a 'b - <<c'\n"]
)
def test_a_minus_of_arithmetic_stays_one(text: str) -> None:
    assert changed("argument: {of: {call: f}, replace: a, with: b}", text) == text.replace(
        "f a", "f b"
    )
