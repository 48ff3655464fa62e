"""Python, as `tokenize` and `ast` read it."""

from __future__ import annotations

import ast
import io
import tokenize
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.edits.case import Case
from bench.edits.code import Construct, Tongue, cases, counted, judged, loose
from bench.edits.stream import Change, Comment, Stream, Token, UnreadableError

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

_STRUCTURE = {tokenize.NEWLINE: "NEWLINE", tokenize.INDENT: "INDENT", tokenize.DEDENT: "DEDENT"}
PASS = (("NAME", "pass"), ("NEWLINE", ""))


def read(text: str) -> Stream:
    """Return what `tokenize` sees, which ends a last line that has no end.

    Raises UnreadableError.
    """
    if not text.endswith("\n"):
        text += "\r\n" if "\r\n" in text else "\n"
    mark = len(text) - len(text.removeprefix("\ufeff"))
    body = text[mark:]
    starts = _starts(body, mark)
    code, comments = [], []
    try:
        for token in tokenize.generate_tokens(io.StringIO(body, newline="\n").readline):
            start = starts[token.start[0] - 1] + token.start[1]
            end = starts[token.end[0] - 1] + token.end[1]
            if token.type == tokenize.COMMENT:
                said = token.string.rstrip("\r")
                comments.append(Comment(said, start, start + len(said)))
            elif token.type in _STRUCTURE:
                width = end if token.type == tokenize.NEWLINE else start
                code.append(Token(_STRUCTURE[token.type], "", start, min(width, len(text))))
            elif token.type not in {tokenize.NL, tokenize.ENDMARKER}:
                code.append(
                    Token(
                        tokenize.tok_name[token.type],
                        token.string.replace("\r\n", "\n"),
                        start,
                        end,
                    )
                )
    except (tokenize.TokenError, SyntaxError) as error:
        raise UnreadableError(str(error)) from error
    return Stream(text=text, code=tuple(code), comments=tuple(comments))


def _starts(body: str, mark: int) -> list[int]:
    starts = [mark]
    while (found := body.find("\n", starts[-1] - mark)) >= 0:
        starts.append(found + 1 + mark)
    return [*starts, len(body) + mark, len(body) + mark]


def parsed(text: str) -> ast.Module:
    """Return what `ast` sees. Raises UnreadableError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text.removeprefix("\ufeff"))
    except (SyntaxError, ValueError, RecursionError) as error:
        raise UnreadableError(str(error)) from error


def _compiles(_before: str, after: str) -> str | None:
    try:
        parsed(after)
    except UnreadableError as error:
        return f"ast refuses the result: {error}"
    return None


FUNCTIONS = (
    "def {name}(a, b=1):\n    return a + b\n",
    (
        'def {name}(text):\n    """Say it.\n\n  In lines of\n      their own.\n    """\n    more = '
        '"""\none\n  two\n"""\n    return text + more\n'
    ),
    (
        "async def {name}(*all, key=None, **more):\n    # first\n    async for each in all:\n      "
        "  "
        "yield each  # one\n"
    ),
    "def {name}(x): return x\n",
    "def {name}(x):\n    if x:\n        return r'\\d'\n\n    return (x,\n            b'y')\n",
)
CLASSES = (
    "class {name}:\n    pass\n",
    (
        'class {name}(object):\n    """A thing."""\n\n    def run(self):\n        return 1  # '
        "done\n\n    x: int = 3\n"
    ),
    "class {name}(dict, metaclass=type):\n    text = '''a\n b\n'''\n",
)
CALLS = (
    "renamed(1)",
    "other.thing(a, *b, c=d)",
    "f'{x!r}'",
    "[each for each in range(3)]",
    '"""one\n  two"""',
)
ASSIGNMENTS = (
    "{name} = 3",
    "{name} = (1,\n    2)",
    '{name} = """\ntext\n  more\n"""',
    "{name}: int = 4",
    "if True:\n    {name} = [1,\n        2]\n",
)
STATEMENTS = (
    "added = 1",
    "added(1, 2)\n",
    "# a word\nadded = 2",
    'if added:\n    added = """\n  x\n"""\n',
    "def added():\n    return 1\n",
    "with added():\n    added = 1  # here\n    if added:\n        pass\n",
)
PARTS = ("added", "'new'", "(1, 2)", 'b"x"', "lambda: 0", "[\n    1,\n]", '"""a\n b"""')


def texts(what: str, name: str, chance: random.Random) -> str | None:
    """Return a new text for a construct."""
    kinds = {"function": FUNCTIONS, "class": CLASSES, "call": CALLS, "assignment": ASSIGNMENTS}
    if what == "assignment" and not name.replace(".", "").isidentifier():
        return None
    return chance.choice(kinds[what]).replace("{name}", name)


def fragment(text: str) -> Stream:
    """Read a new text that is no statement: the end of its line is not its own."""
    stream = read(text)
    return replace(stream, code=stream.code[:-1])


TONGUE = Tongue(
    read=read,
    texts=texts,
    statement=lambda chance: chance.choice(STATEMENTS),
    part=lambda chance: chance.choice(PARTS),
    verify=_compiles,
    keyword="=",
    fragment=fragment,
)


class _View:
    """A file: its tokens, its tree, and how the two fit."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.stream = read(text)
        self.tree = parsed(text)
        mark = len(text) - len(text.removeprefix("\ufeff"))
        self.starts = _starts(text[mark:], mark)
        self.depths: list[int] = []
        depth = 0
        for token in self.stream.code:
            depth += {"INDENT": 1, "DEDENT": -1}.get(token.kind, 0)
            self.depths.append(depth)
        self.blocks = {
            id(node): body
            for parent in ast.walk(self.tree)
            for field in ("body", "orelse", "finalbody")
            for body in [getattr(parent, field, None)]
            if isinstance(body, list)
            for node in body
        }

    def place(self, line: int, column: int) -> int:
        """Return the position of a place that `ast` names: a line, and a column in bytes."""
        start = self.starts[line - 1]
        end = self.starts[line]
        said = self.text[start:end]
        return start + (column if said.isascii() else len(said.encode()[:column].decode()))

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        """Return the pieces of a node."""
        assert node.end_lineno is not None  # parsed from text
        assert node.end_col_offset is not None  # parsed from text
        first = self.stream.index(self.place(node.lineno, node.col_offset))
        last = self.stream.index(self.place(node.end_lineno, node.end_col_offset))
        code = self.stream.code
        while last > first and (
            code[last - 1].start == code[last - 1].end or code[last - 1].kind == "NEWLINE"
        ):
            last -= 1
        return first, last

    def closed(self, first: int, last: int) -> int | None:
        """Return the number of the piece that follows the statement from `first` to `last`.

        The end of its line and the ends of its blocks belong to the statement. None where the
        statement does not end its line.
        """
        code = self.stream.code
        if last >= len(code) or code[last].kind != "NEWLINE":
            return None
        end = last + 1
        depth = self.depths[first]
        while end < len(code) and code[end].kind == "DEDENT" and self.depths[end] >= depth:
            end += 1
        return end

    def starts_line(self, first: int) -> bool:
        return first == 0 or self.stream.code[first - 1].kind in {"NEWLINE", "INDENT", "DEDENT"}

    def instead(self, node: ast.stmt) -> tuple[tuple[str, str], ...]:
        body = self.blocks.get(id(node), [])
        return PASS if len(body) == 1 and body is not self.tree.body else ()


def pool(text: str) -> list[Callable[[random.Random], Case | None]]:
    """Return what makes cases of a file. Raises UnreadableError."""
    view = _View(text)
    constructs = counted(list(_constructs(view)))
    return [*cases(view.stream, TONGUE, constructs), *_imports(view)]


def _constructs(view: _View) -> Iterator[Construct]:
    statements = {
        id(node.value): node for node in ast.walk(view.tree) if isinstance(node, ast.Expr)
    }
    quoted = {
        id(inner)
        for node in ast.walk(view.tree)
        if isinstance(node, ast.JoinedStr)
        for inner in ast.walk(node)
    }
    for node in ast.walk(view.tree):
        if id(node) in quoted:
            if isinstance(node, ast.Call):  # its place is not known, but it counts
                yield Construct(
                    what="call", name=ast.unparse(node.func), core=(0, 0), whole=(0, 0), alike=2
                )
                yield Construct(
                    what="call", name=ast.unparse(node.func), core=(0, 0), whole=(0, 0), alike=2
                )
            continue
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield from _definition(view, node)
            case ast.Call():
                yield from _call(view, node, statements.get(id(node)))
            case (
                ast.Assign(targets=[ast.Name() | ast.Attribute() as target])
                | ast.AnnAssign(target=ast.Name() | ast.Attribute() as target)
            ):
                yield from _assignment(view, node, target)
            case ast.Assign(targets=targets):
                for each in targets:
                    yield from [_unplaced(ast.unparse(each))] * 2
            case ast.keyword(arg=str() as name):
                yield from [_unplaced(name)] * 2
            case ast.Dict(keys=keys):
                for key in keys:
                    if isinstance(key, ast.Constant):
                        yield from [_unplaced(str(key.value))] * 2
                    if isinstance(key, ast.Name | ast.Attribute):
                        yield from [_unplaced(ast.unparse(key))] * 2


def _unplaced(name: str) -> Construct:
    """Return an assignment that is only counted."""
    return Construct(what="assignment", name=name, core=(0, 0), whole=(0, 0), statement=False)


def _definition(
    view: _View, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
) -> Iterator[Construct]:
    what = "class" if isinstance(node, ast.ClassDef) else "function"
    first, last = view.span(node)
    end = view.closed(first, last)
    whole = first
    if node.decorator_list:
        whole = view.span(node.decorator_list[0])[0]
        while view.stream.code[whole].text != "@":
            whole -= 1
    if end is None or not view.starts_line(whole):
        yield from [Construct(what=what, name=node.name, core=(0, 0), whole=(0, 0))] * 2
        return
    yield Construct(
        what=what, name=node.name, core=(first, end), whole=(whole, end), instead=view.instead(node)
    )


def _split(view: _View, opening: int, closing: int) -> tuple[tuple[tuple[int, int], ...], bool]:
    """Return the pieces between commas, and whether one stands behind the last."""
    found, depth, begun = [], 0, opening + 1
    for at in range(opening + 1, closing):
        said = view.stream.code[at]
        depth += said.kind == "OP" and said.text in "([{"
        depth -= said.kind == "OP" and said.text in ")]}"
        if depth == 0 and said.kind == "OP" and said.text == ",":
            found.append((begun, at))
            begun = at + 1
    if begun < closing:
        return (*found, (begun, closing)), False
    return tuple(found), bool(found)


def _call(view: _View, node: ast.Call, alone: ast.Expr | None) -> Iterator[Construct]:
    name = ast.get_source_segment(view.text.removeprefix("\ufeff"), node.func) or ""
    if "\n" in name or not name.isprintable() or not name.strip():
        return
    first, last = view.span(node)
    code = view.stream.code
    opening = view.span(node.func)[1]
    if opening >= last or code[opening].text != "(":
        return  # what is called stands in brackets, which are a part of its name as it is written
    parts, trailing = None, False
    if code[last - 1].text == ")":
        parts, trailing = _split(view, opening, last - 1)
        if len(parts) != len(node.args) + len(node.keywords) or any(
            isinstance(each, ast.GeneratorExp) for each in node.args
        ):
            parts = None
    end = view.closed(first, last) if alone is not None else None
    sole = (
        end is not None
        and view.starts_line(first)
        and alone is not None
        and view.span(alone) == (first, last)
    )
    yield Construct(
        what="call",
        name=name,
        core=(first, end if sole and end else last),
        whole=(first, end or last),
        statement=sole,
        parts=parts,
        closing=last - 1,
        trailing=trailing,
        instead=view.instead(alone) if alone is not None and sole else (),
    )


def _assignment(
    view: _View, node: ast.Assign | ast.AnnAssign, target: ast.Name | ast.Attribute
) -> Iterator[Construct]:
    name = ast.get_source_segment(view.text.removeprefix("\ufeff"), target) or ""
    if "\n" in name or not name.strip():
        return
    first, last = view.span(node)
    end = view.closed(first, last)
    parts, trailing, lone, closing = None, False, False, -1
    if isinstance(node.value, ast.List | ast.Set | ast.Tuple | ast.Dict) and view.stream.code[
        last - 1
    ].text in {")", "]", "}"}:
        a, b = view.span(node.value)
        if b == last and view.stream.code[a].text in {"(", "[", "{"}:
            found, trailing = _split(view, a, b - 1)
            lone = isinstance(node.value, ast.Tuple)
            if len(found) == len(
                getattr(node.value, "elts", None) or getattr(node.value, "keys", [])
            ):
                parts, closing = found, b - 1
            if isinstance(node.value, ast.Dict):
                parts = None
    alone = end is not None and view.starts_line(first)
    yield Construct(
        what="assignment",
        name=name,
        core=(first, end if alone and end else last),
        whole=(first, end or last),
        statement=alone,
        parts=parts,
        closing=closing,
        trailing=trailing,
        list_=True,
        lone=lone,
        instead=view.instead(node),
    )


def _imports(view: _View) -> list[Callable[[random.Random], Case | None]]:
    """Return what makes cases of imports: one goes, is another, or comes."""
    lines = [node for node in ast.walk(view.tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    said = [ast.unparse(node) for node in lines]
    single = [node for node, text in zip(lines, said, strict=True) if said.count(text) == 1]

    def change(chance: random.Random) -> Case | None:
        node = chance.choice(single)
        first, last = view.span(node)
        end = view.closed(first, last)
        if end is None or not view.starts_line(first):
            return None
        action = chance.choice(("remove", "replace"))
        wanted: dict[str, object] = {action: ast.unparse(node)}
        if action == "remove":
            one = Change(
                first=first,
                last=end,
                new=view.instead(node),
                loose=loose(view.stream, (first, end)),
            )
        else:
            text = chance.choice(
                (
                    "import added",
                    "from added import (\n    one,\n    two,\n)",
                    "try:\n    import added\nexcept ImportError:\n    added = None",
                )
            )
            wanted["with"] = text
            keys, comments = TONGUE.keys(text, whole=True)
            one = Change(
                first=first,
                last=end,
                new=keys,
                comments=comments,
                loose=loose(view.stream, (first, last), above=False),
            )
        return Case(
            kind=f"import {action}",
            operation={"import": wanted},
            judge=judged(view.stream, TONGUE, [[one]]),
        )

    def add(chance: random.Random) -> Case | None:
        text = chance.choice(("import added_here", "from added.here import one, two"))
        keys, comments = TONGUE.keys(text, whole=True)
        places = {0}
        head = True
        for number, node in enumerate(view.tree.body):
            first, last = view.span(node)
            end = view.closed(first, last)
            if end is None:
                return None
            documented = (
                number == 0
                and isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            )
            future = isinstance(node, ast.ImportFrom) and node.module == "__future__"
            if documented or future:
                places = {end}
            elif isinstance(node, ast.Import | ast.ImportFrom):
                places |= {first, end}
            elif head:
                places.add(first)
            head = head and isinstance(node, ast.Import | ast.ImportFrom | ast.Expr)
        ways = [[Change(first=at, last=at, new=keys, comments=comments)] for at in sorted(places)]
        return Case(
            kind="import add",
            operation={"import": {"add": text}},
            judge=judged(view.stream, TONGUE, ways),
        )

    return [change, add] if single else [add]
