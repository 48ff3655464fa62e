"""Add and remove keys and tables of TOML, which may stand at several places of a file."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches.keypaths import key_steps, path_said
from forkhouse.patches.languages import data_flow as flow
from forkhouse.patches.languages.data import BOM, Kind, NodeStyle, look
from forkhouse.patches.languages.data_plan import DataChange
from forkhouse.patches.languages.data_write import key_written, value_seen, written
from forkhouse.patches.values import Table

if TYPE_CHECKING:
    from collections.abc import Collection

    from forkhouse.patches.backends import Splice
    from forkhouse.patches.edits import KeyOperation
    from forkhouse.patches.languages.data import Data, DataPlace, Statement, Value
    from forkhouse.patches.values import Written

KeyPath = tuple[str | int, ...]
_TANGLED = (
    "{}: the inline table around it has dotted keys, so what belongs together may stand apart. Set "
    "a value, or use an `anchor`."
)


def path_of(data: Data, document: int, steps: tuple[int, ...]) -> KeyPath:
    """Return the path of an entry as statements name it."""
    value = data.documents[document]
    path: list[str | int] = []
    for step in steps:
        entry = value.entries[step]
        path.append(step if entry.name is None else entry.name)
        value = entry.value
    return tuple(path)


def added(data: Data, operation: KeyOperation) -> tuple[DataChange, ...]:
    """Return the change that adds a key to a table.

    Raises PatchConflictError.
    """
    *parents, last = key_steps(operation.path)
    steps: tuple[int, ...] = ()
    holder: Value = data.documents[0]
    above: tuple[Value, ...] = ()
    if parents:
        parent = look(data, path_said(parents))
        if parent is None:
            return _made(data, operation)
        steps, above, holder = parent.steps, parent.holders, parent.entry.value
    if operation.document not in {None, 0}:
        message = "A file of TOML is one document."
        raise PatchConflictError(message)
    if any(one.style is NodeStyle.DOTTED for one in (*above, holder)):
        raise PatchConflictError(_TANGLED.format(operation.path))
    if holder.kind is not Kind.MAPPING:
        held = "an array: use `item: {add}`" if holder.kind is Kind.SEQUENCE else "no table"
        message = f"{operation.path}: what should hold {last} is {held}."
        raise PatchConflictError(message)
    in_flow = holder.style is NodeStyle.FLOW
    new = (
        f"{key_written(last, 'toml', flow=in_flow)} = "
        f"{written(operation.value, 'toml', flow=in_flow)}"
    )
    splices = (
        _padded(data, holder, new) if in_flow else [_in_table(data, path_of(data, 0, steps), new)]
    )
    return (
        DataChange(
            what="append",
            document=0,
            steps=steps,
            key=("scalar", None, ("text", last)),
            value=value_seen(operation.value, "toml"),
            splices=tuple(splices),
        ),
    )


_STANDARD = (
    ("project", "optional-dependencies"),
    ("project", "entry-points"),
    ("project", "entry-points", "*"),
    ("project", "scripts"),
    ("project", "gui-scripts"),
    ("project", "urls"),
    ("dependency-groups",),
)
"""Tables of a `pyproject.toml` that count as empty if they are not written.

Sources: PEP 621 and PEP 735.
"""


def _made(data: Data, operation: KeyOperation) -> tuple[DataChange, ...]:
    """Return the change that adds a key and its table, if a standard allows the table.

    Returns an empty tuple for any other table.
    """
    *parents, last = key_steps(operation.path)
    known = any(
        len(parents) == len(one)
        and all(step in {each, "*"} for each, step in zip(parents, one, strict=True))
        for one in _STANDARD
    )
    there = next(
        (
            depth
            for depth in range(len(parents) - 1, 0, -1)
            if look(data, path_said(parents[:depth])) is not None
        ),
        0,
    )
    if not known or (
        there == 0 and (parents[0] == "project" or operation.document not in {None, 0})
    ):
        return ()
    _refuse_dynamic(data, parents)
    above = look(data, path_said(parents[:there])) if there else None
    value: Written = Table(pairs=((last, operation.value),))
    for step in reversed(parents[there + 1 :]):
        value = Table(pairs=((step, value),))
    if above is not None and above.entry.value.style in {NodeStyle.FLOW, NodeStyle.DOTTED}:
        return added(
            data,
            operation.model_copy(update={"add": path_said(parents[: there + 1]), "value": value}),
        )
    header = ".".join(key_written(step, "toml", flow=False) for step in parents)
    line = (
        f"{key_written(last, 'toml', flow=False)} = {written(operation.value, 'toml', flow=False)}"
    )
    return (
        DataChange(
            what="append",
            document=0,
            steps=above.steps if above is not None else (),
            key=("scalar", None, ("text", parents[there])),
            value=value_seen(value, "toml"),
            splices=(_new_table(data, header, line),),
        ),
    )


def _refuse_dynamic(data: Data, parents: list[str]) -> None:
    """Raise PatchConflictError for a table that a project lists as dynamic.

    PEP 621 does not allow a field that is both written and dynamic.
    """
    project = tomllib.loads(data.text.removeprefix(BOM)).get("project")
    dynamic = project.get("dynamic") if isinstance(project, dict) else None
    if parents[0] == "project" and isinstance(dynamic, list) and parents[1] in dynamic:
        message = (
            f"The project calls its {parents[1]} dynamic, so they stand in another file or table: "
            "edit that one, or take them out of project.dynamic first."
        )
        raise PatchConflictError(message)


def _new_table(data: Data, header: str, line: str) -> Splice:
    """Insert a table behind those of the project, or last if keys follow there."""
    text, statements = data.text, data.statements
    own = [number for number, one in enumerate(statements) if one.path[:1] == ("project",)]
    after = own[-1] if own else len(statements) - 1
    if after + 1 < len(statements) and statements[after + 1].value is not None:
        after = len(statements) - 1
    newline = flow.newline_at(text, 0)
    if after < 0:
        gap = newline if text.removeprefix(BOM) and not text.endswith("\n") else ""
        return len(text), len(text), f"{gap}[{header}]{newline}{line}{newline}"
    stop = flow.line_end(text, statements[after].end)
    following = flow.next_line(text, stop)
    gap = newline if text[following : flow.line_end(text, following)].strip() else ""
    return stop, stop, f"{newline}{newline}[{header}]{newline}{line}{gap}"


def _padded(data: Data, holder: Value, new: str) -> list[Splice]:
    """Add a key as the last one of an inline table; an empty table gets the usual blanks."""
    if not holder.entries and not data.text[holder.body + 1 : holder.end - 1].strip():
        return [(holder.body + 1, holder.end - 1, f" {new} ")]
    return flow.added(data, holder, new)


def _in_table(data: Data, path: KeyPath, new: str, *, without: Collection[int] = ()) -> Splice:
    """Insert a line behind the last key of a table.

    The table may have a header, dotted keys, or neither. Statements in `without` are about to be
    removed.
    """
    text = data.text
    statements = {
        number: one for number, one in enumerate(data.statements) if number not in without
    }
    header = next(
        (number for number, one in statements.items() if one.value is None and one.path == path),
        None,
    )
    if header is None and not path:
        header = -1
    if header is not None:
        own = [one for one in statements.values() if one.header == header and one.value is not None]
        if own:
            return _behind(data, own[-1], new)
        if header >= 0:
            return _behind(data, data.statements[header], new)
        return _at_the_head(data, new, without=without)
    # The first part of a dotted key names the table, and the rest a key below it.
    depths = [
        (one, len(one.keys) - (len(one.path) - len(path)))
        for one in statements.values()
        if one.path[: len(path)] == path and one.value
    ]
    dotted = [(one, depth) for one, depth in depths if 0 < depth < len(one.keys)]
    if dotted:
        last, depth = dotted[-1]
        prefix = text[last.start : last.keys[depth - 1][1]]
        return _behind(data, last, f"{prefix}.{new}")
    below = next(
        (one for one in statements.values() if one.value is None and one.path[: len(path)] == path),
        None,
    )
    if below is None or any(isinstance(step, int) for step in path):
        message = "The table has no place of its own in the file. Use an `anchor`."
        raise PatchConflictError(message)
    names = text[below.keys[0][0] : below.keys[len(path) - 1][1]]
    start = _above(data, below.start)
    newline = flow.newline_at(text, below.start)
    return start, start, f"[{names}]{newline}{new}{newline}{newline}"


def _behind(data: Data, statement: Statement, new: str) -> Splice:
    """Insert a line below a statement, behind the comment on the statement's last line."""
    stop = flow.line_end(data.text, statement.end)
    indent = flow.prefix(data.text, statement.start) or ""
    return stop, stop, f"{flow.newline_at(data.text, statement.end)}{indent}{new}"


def _at_the_head(data: Data, new: str, *, without: Collection[int]) -> Splice:
    """Insert a line above the first header, or into a file without any statement."""
    text = data.text
    newline = flow.newline_at(text, 0)
    if not data.statements:
        gap = newline if text.removeprefix(BOM) and not text.endswith("\n") else ""
        return len(text), len(text), f"{gap}{new}{newline}"
    if without and 0 in without:
        start = flow.line_start(text, data.statements[0].start)
        return start, start, f"{new}{newline}"
    start = _above(data, data.statements[0].start)
    return start, start, f"{new}{newline}{newline}"


def _above(data: Data, start: int) -> int:
    """Return the start of the comments directly above a line, or the start of the line."""
    text = data.text
    at = flow.line_start(text, start)
    lines = {flow.line_start(text, comment): comment for comment, _ in data.comments}
    while at > 0:
        above = flow.line_start(text, at - 1)
        comment = lines.get(above)
        if above == at or comment is None or flow.prefix(text, comment) is None:
            break
        at = above
    return at


def removed(data: Data, place: DataPlace, said: str) -> DataChange:
    """Return the change that removes a table, a key or an item.

    Raises PatchConflictError if more or less than that would be removed.
    """
    holder = place.holder
    if any(one.style is NodeStyle.DOTTED for one in place.holders):
        raise PatchConflictError(_TANGLED.format(said))
    if holder.style is NodeStyle.FLOW:
        return _change(place, flow.removed(data, holder, place.steps[-1]))
    if place.entry.start >= 0:
        return _change(place, _line_removed(data, place))
    path = path_of(data, place.document, place.steps)
    if place.entry.name is None and len(holder.entries) == 1:
        message = (
            f"{said} is the only table of its array; without it the array would be gone too. "
            "Remove the array."
        )
        raise PatchConflictError(message)
    return _change(place, _table_removed(data, path, said))


def replaced(data: Data, place: DataPlace, operation: KeyOperation) -> DataChange:
    """Return the change that replaces a table by a value, wherever the table stands.

    Raises PatchConflictError.
    """
    said = operation.path
    if any(one.style is NodeStyle.DOTTED for one in place.holders):
        raise PatchConflictError(_TANGLED.format(said))
    path = path_of(data, place.document, place.steps)
    if place.entry.name is None:
        message = f"{said} is one of an array of tables, which can hold nothing else. Set its keys."
        raise PatchConflictError(message)
    gone = [number for number, one in enumerate(data.statements) if one.path[: len(path)] == path]
    new = (
        f"{key_written(str(path[-1]), 'toml', flow=False)} = "
        f"{written(operation.value, 'toml', flow=False)}"
    )
    _refuse_apart(data, gone, said)
    cuts = _cuts(data, gone)
    holder, begin = path[:-1], data.statements[gone[0]]
    kept = [one for number, one in enumerate(data.statements) if number not in gone]
    if not holder or any(one.path[: len(holder)] == holder for one in kept):
        cuts = _moved(data, gone, _in_table(data, holder, new, without=gone), new)
    elif begin.value is None and not any(isinstance(step, int) for step in holder):
        # Only this header makes the table that holds it.
        _refuse_deeper(data, gone[0], path, said)
        newline = flow.newline_at(data.text, begin.start)
        names = data.text[begin.keys[0][0] : begin.keys[len(holder) - 1][1]]
        cuts[0] = _under(data, begin.start, cuts[0], f"[{names}]{newline}", f"{new}{newline}")
    elif (depth := len(begin.keys) - (len(begin.path) - len(path))) > 0 and begin.value is not None:
        # Only this dotted key makes the table that holds it.
        key = data.text[cuts[0][0] : begin.keys[depth - 1][1]]
        value = written(operation.value, "toml", flow=False)
        cuts[0] = (*cuts[0][:2], f"{key} = {value}{flow.newline_at(data.text, begin.end)}")
    else:
        message = (
            f"{said} is a table, and the one that holds it would be gone with it. Set its keys, or "
            "use an `anchor`."
        )
        raise PatchConflictError(message)
    return DataChange(
        what="set",
        document=place.document,
        steps=place.steps,
        value=value_seen(operation.value, "toml"),
        splices=tuple(sorted(cuts)),
    )


def _refuse_apart(data: Data, gone: list[int], said: str) -> None:
    """Raise PatchConflictError if a table has several parts, and a comment above a later one.

    The comment would lose what it describes.
    """
    for first, _ in _runs(gone)[1:]:
        start = data.statements[first].start
        if _above(data, start) < flow.line_start(data.text, start):
            line = data.text.count("\n", 0, start)
            message = (
                f"{said} stands at several places, and the comment in line {line} is over one of "
                "them. Use an `anchor`."
            )
            raise PatchConflictError(message)


def _refuse_deeper(data: Data, first: int, path: tuple[object, ...], said: str) -> None:
    """Raise PatchConflictError if a comment stands above a table within a replaced table.

    That comment does not describe the whole.
    """
    begin = data.statements[first]
    deeper = begin.value is None and len(
        [step for step in begin.path if not isinstance(step, int)]
    ) > len(path)
    start = flow.line_start(data.text, begin.start)
    if deeper and _above(data, start) < start:
        line = data.text.count("\n", 0, start)
        message = (
            f"{said} begins with a table in it, and the comment in line {line} is over that one. "
            "Use an `anchor`."
        )
        raise PatchConflictError(message)


def _under(data: Data, header: int, cut: Splice, above: str, new: str) -> Splice:
    """Replace an old header by a new header with a line under it.

    The comments above the old header describe the line.
    """
    start = flow.line_start(data.text, header)
    over = _above(data, start)
    if over == start or cut[0] != start or not data.text[:over].removeprefix(BOM):
        return (*cut[:2], f"{above}{new}")
    return over, cut[1], f"{above}{data.text[over:start]}{new}"


def _moved(data: Data, gone: list[int], put: Splice, new: str) -> list[Splice]:
    """Replace removed statements by a line.

    The comments directly above the first statement stay above the line.
    """
    text = data.text
    cuts = _cuts(data, gone)
    begin = flow.line_start(text, data.statements[gone[0]].start)
    over = _above(data, begin)
    if over == begin or over <= put[0] <= begin or not text[:over].removeprefix(BOM):
        return [*cuts, put]
    line = put[2].rfind("\n", 0, put[2].rindex(new)) + 1
    indent = put[2][line : len(put[2]) - len(put[2][line:].lstrip(" \t"))]
    newline = flow.newline_at(text, put[0])
    comments = "".join(
        f"{indent}{comment.strip()}{newline}" for comment in text[over:begin].splitlines()
    )
    stop = _over_blank_lines(text, over, cuts[0][1])
    return [(over, stop, ""), *cuts[1:], (put[0], put[1], put[2][:line] + comments + put[2][line:])]


def cut(data: Data, place: DataPlace) -> list[Splice]:
    """Return the splices that remove all lines of a table, or of a key on its own line.

    They remove nothing else.
    """
    path = path_of(data, place.document, place.steps)
    gone = [number for number, one in enumerate(data.statements) if one.path[: len(path)] == path]
    return _cuts(data, gone) if gone else list(removed(data, place, str(path[-1])).splices)


def _change(place: DataPlace, splices: list[Splice]) -> DataChange:
    return DataChange(
        what="remove", document=place.document, steps=place.steps, splices=tuple(splices)
    )


def _line_removed(data: Data, place: DataPlace) -> list[Splice]:
    text, entry = data.text, place.entry
    statement = next(one for one in data.statements if one.start == entry.start)
    if len(statement.keys) > 1 and _is_last_below(data, statement):
        # The table that only its dotted key makes would be removed with it.
        return [(statement.keys[-2][1], statement.end, " = {}")]
    return [(flow.line_start(text, entry.start), flow.next_line(text, entry.end), "")]


def _is_last_below(data: Data, statement: Statement) -> bool:
    table = statement.path[:-1]
    return not any(
        one is not statement and one.path[: len(table)] == table for one in data.statements
    )


def _table_removed(data: Data, path: KeyPath, said: str) -> list[Splice]:
    """Remove all statements of a table.

    The table that held it stays, and gets a header of its own if it has none.
    """
    text = data.text
    gone = [number for number, one in enumerate(data.statements) if one.path[: len(path)] == path]
    splices = _cuts(data, gone)
    holder = path[:-1] if isinstance(path[-1], str) else path[:-2]
    rest = [one for number, one in enumerate(data.statements) if number not in gone]
    if holder and not any(one.path[: len(holder)] == holder for one in rest):
        begin = data.statements[gone[0]]
        if any(isinstance(step, int) for step in holder):
            message = f"{said}: the table that holds it would be gone with it. Use an `anchor`."
            raise PatchConflictError(message)
        start, stop, _ = splices[0]
        if begin.value is None:
            names = text[begin.keys[0][0] : begin.keys[len(holder) - 1][1]]
            splices[0] = (start, stop, f"[{names}]{flow.newline_at(text, begin.start)}")
        else:
            depth = len(begin.keys) - (len(begin.path) - len(holder))
            if depth < 1:
                message = f"{said}: the table that holds it would be gone with it. Use an `anchor`."
                raise PatchConflictError(message)
            splices[0] = (
                start,
                stop,
                (
                    f"{text[start : begin.keys[depth - 1][1]]} = "
                    f"{{}}{flow.newline_at(text, begin.start)}"
                ),
            )
    return splices


def _cuts(data: Data, gone: list[int]) -> list[Splice]:
    """Return the splices that remove statements with their lines.

    The comments between the statements go as well, and surplus empty lines.
    """
    cuts: list[Splice] = []
    for first, last in _runs(gone):
        begin, end = data.statements[first], data.statements[last]
        start, stop = flow.line_start(data.text, begin.start), flow.next_line(data.text, end.end)
        if begin.value is None:
            stop = _over_blank_lines(data.text, start, stop)
        cuts.append((start, stop, ""))
    return cuts


def _runs(gone: list[int]) -> list[tuple[int, int]]:
    """Group statements that follow one another."""
    runs: list[tuple[int, int]] = []
    for number in gone:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


def _over_blank_lines(text: str, start: int, stop: int) -> int:
    """Return where the empty lines behind a table end if they are to be removed with it.

    They are if the text before the table ends with an empty line too, or is empty. Otherwise this
    is `stop`.
    """
    before = text[:start].removeprefix(BOM)
    if before and not before.replace("\r", "").endswith("\n\n"):
        return stop
    while True:
        end = flow.next_line(text, stop)
        if end == stop or text[stop:end].strip():
            return stop
        stop = end
