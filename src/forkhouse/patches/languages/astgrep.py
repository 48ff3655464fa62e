"""Python, C, C++ (with CUDA and HIP), Rust, shell, and patterns in YAML and JSON, through ast-grep and the grammars that it brings."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, cast

from ast_grep_py import SgRoot

from forkhouse.errors import PatchConflictError
from forkhouse.patches import guard
from forkhouse.patches.languages import Layout, Node, Parts, UnprovenError, indentation, is_blank, line_end, line_start, masking
from forkhouse.patches.languages import text as plain

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping

    from ast_grep_py import Config, SgNode

    from forkhouse.patches.edits import Selector
    from forkhouse.patches.languages import Step


@dataclass(frozen=True, kw_only=True, slots=True)
class Grammar:
    """Names of the nodes that stand for what selectors ask for: kind of node, and the field that holds its name."""

    functions: Mapping[str, str] = field(default_factory=dict)
    classes: Mapping[str, str] = field(default_factory=dict)
    calls: Mapping[str, str] = field(default_factory=dict)
    assignments: Mapping[str, str] = field(default_factory=dict)
    arguments: str = "arguments"
    """Field of a call that holds its arguments."""
    value: str = "value"
    """Field of an assignment that holds what is assigned."""
    lists: frozenset[str] = frozenset()
    layout: Layout = Layout.COMMAS


_C = Grammar(
    functions={"function_definition": "declarator"},
    classes={"struct_specifier": "name", "union_specifier": "name", "enum_specifier": "name"},
    calls={"call_expression": "function"},
    assignments={
        "init_declarator": "declarator",
        "assignment_expression": "left",
        "preproc_def": "name",
        "preproc_function_def": "name",
        "enumerator": "name",
        "initializer_pair": "designator",
    },
    lists=frozenset({"initializer_list", "argument_list"}),
)
GRAMMARS = {
    "python": Grammar(
        functions={"function_definition": "name"},
        classes={"class_definition": "name"},
        calls={"call": "function"},
        assignments={"assignment": "left", "keyword_argument": "name", "pair": "key"},
        value="right",
        lists=frozenset({"list", "tuple", "set", "dictionary", "argument_list"}),
    ),
    "c": _C,
    "cpp": replace(
        _C,
        classes={**_C.classes, "class_specifier": "name"},
        assignments={**_C.assignments, "field_declaration": "declarator", "alias_declaration": "name"},
    ),
    "rust": Grammar(
        functions={"function_item": "name"},
        classes={"struct_item": "name", "enum_item": "name", "trait_item": "name", "impl_item": "type"},
        calls={"call_expression": "function", "macro_invocation": "macro"},
        assignments={"let_declaration": "pattern", "const_item": "name", "static_item": "name", "field_initializer": "field"},
        lists=frozenset({"array_expression", "tuple_expression", "arguments", "token_tree"}),
    ),
    "bash": Grammar(
        functions={"function_definition": "name"},
        calls={"command": "name"},
        assignments={"variable_assignment": "name"},
        lists=frozenset({"array"}),
        layout=Layout.WORDS,
    ),
    # For patterns and rules alone; keys and items are read by `data`.
    "yaml": Grammar(),
    "json": Grammar(),
}


_WRAPPERS = frozenset({"stream", "document", "block_node", "flow_node", "expression_statement", "parenthesized_expression"})
"""Nodes that hold one other node and add nothing to it."""


_LEVELS = 100
"""Of nesting that a file of YAML may have. The grammar's scanner keeps 253 and then ends the whole process with an assertion."""


def _levels(text: str) -> int:
    """Return a bound of how deep blocks of YAML can be nested: indentations that occur, and indicators on one line."""
    lines = text.splitlines()
    indentations = {len(line) - len(line.lstrip()) for line in lines}
    return len(indentations) + max((len(re.findall(r"[-?:](?=\s|$)", line)) for line in lines), default=0)


@lru_cache(maxsize=8)
def readable(text: str, language: str) -> str:
    """Return a text of the same length as the grammar can read it: without macros, where those of C hide what is declared."""
    if language not in {"c", "cpp"}:
        return text

    def unread(tried: str) -> list[int]:
        try:
            return [node.range().start.index for node in _faulty(SgRoot(tried, language).root())]
        except UnicodeEncodeError:
            return []

    return masking.without_macros(masking.masked(text), unread)


@lru_cache(maxsize=8)
def root_of(text: str, language: str) -> SgNode:
    """Return the tree of a text. The last few are kept: an operation, its proof and the next operation ask for the same.

    Raises PatchConflictError for one that is no text (it holds half of a surrogate pair), or YAML nested too deep to be read.
    """
    if language == "yaml" and _levels(text) > _LEVELS:
        message = f"The file may be nested more than {_LEVELS} levels deep, which the grammar cannot read. Edit it as `text`."
        raise PatchConflictError(message)
    try:
        return SgRoot(readable(text, language), language).root()
    except UnicodeEncodeError as error:
        message = f"not text: {error}"
        raise PatchConflictError(message) from error


def find(text: str, selector: Selector, language: str) -> list[Node]:
    """Return what a selector matches. Raises PatchConflictError for one that the language has no nodes for, or a rule that is none."""
    if selector.anchor is not None:
        return plain.find(text, selector, language)
    grammar = GRAMMARS[language]
    root = root_of(text, language)
    if selector.key is not None:
        message = f"{language} has no keys with a path. Use `assignment`, a pattern, a rule or an anchor."
        raise PatchConflictError(message)
    if selector.function is not None and language == "c":
        return _in_order(
            [
                *_found(_named(root, grammar.functions, selector.function), language, text),
                *_macro_definitions(root, selector.function, text),
            ]
        )
    named = {
        "function": (selector.function, grammar.functions),
        "class": (selector.class_, grammar.classes),
        "call": (selector.call, grammar.calls),
        "assignment": (selector.assignment, grammar.assignments),
    }
    for what, (name, kinds) in named.items():
        if name is None:
            continue
        if what == "call" and language in _BUILT_IN:
            nodes = [*_named(root, kinds, name), *_built_in(root, name, language)]
            _refuse_hidden(text, name, nodes, language)
            fitting = [node for node in nodes if _has_argument(node, selector.argument, grammar, text)]
            return _in_order(_found(fitting, language, text))
        if what == "class" and language in {"c", "cpp"}:
            return _in_order(_found([*_named(root, kinds, name), *_by_typedef(root, name)], language, text))
        if what == "assignment":
            _refuse_chains(_named(root, kinds, name), name)
        if not kinds:
            message = f"{language} has no {what} to select. Use a pattern, a rule or an anchor."
            raise PatchConflictError(message)
        return _found([node for node in _named(root, kinds, name) if _has_argument(node, selector.argument, grammar, text)], language, text)
    if selector.pattern is not None:
        if language in {"c", "cpp"} and masking.masked(selector.pattern) != selector.pattern:
            message = "CUDA's own words and launches are blanks to the grammar. Take them out of the pattern, or use an `anchor`."
            raise PatchConflictError(message)
        found = search(root, {"pattern": selector.pattern})
        return [_node(node, language, _captures(node, selector.pattern), text) for node in found]
    rule = dict(selector.rule or {})
    return [_node(node, language, _captures(node, str(rule)), text) for node in search(root, rule)]


def hidden(text: str, name: str, language: str) -> int | None:
    """Return where a name stands in what the grammar reads as blanks: a macro, or CUDA's own words; None where it does not."""
    shown = readable(text, language)
    found = re.finditer(rf"(?<!\w){re.escape(name)}(?!\w)", text) if shown != text else ()
    return next((match.start() for match in found if not shown[match.start()].strip()), None)


def _refuse_hidden(text: str, name: str, nodes: list[SgNode], language: str) -> None:
    """Raise PatchConflictError for a call that is found, and stands in what the grammar does not see, too: it would be one of several."""
    place = hidden(text, name.lstrip("."), language) if nodes else None
    if place is not None:
        line = text.count("\n", 0, place) + 1
        message = (
            f"{name} stands in line {line}, too, which the grammar can read only without it. Edit the place that is meant by an `anchor`."
        )
        raise PatchConflictError(message)


_BUILT_INS_OF_C = frozenset({"offsetof_expression", "sizeof_expression", "alignof_expression", "static_assert_declaration"})
_BUILT_IN = {
    "bash": frozenset({"unset_command", "declaration_command", "test_command"}),
    "c": _BUILT_INS_OF_C - {"static_assert_declaration"},
    "cpp": _BUILT_INS_OF_C,
}
"""Commands of a shell and operators of C that have nodes of their own, known by their first word: `unset`, `[`, `offsetof`."""


def _built_in(root: SgNode, name: str, language: str) -> list[SgNode]:
    found = search(root, {"any": [{"kind": kind} for kind in sorted(_BUILT_IN[language])]})
    return [node for node in found if node.children() and node.children()[0].text() == name]


def _by_typedef(root: SgNode, name: str) -> list[SgNode]:
    """Return the `typedef struct {…} NAME;` that give a class its only name, as a whole."""
    found = []
    for node in search(root, {"kind": "type_definition"}):
        held = node.field("type")
        made = held is not None and held.kind().endswith("_specifier") and held.field("body") is not None
        own = held.field("name") if held is not None and made else None
        if made and (own is None or own.text() != name) and [each.text() for each in node.field_children("declarator")] == [name]:
            found.append(node)
    return found


def _refuse_chains(nodes: Iterable[SgNode], name: str) -> None:
    """Raise PatchConflictError for an assignment that gives its value to other names as well: they would go with it."""
    for node in nodes:
        right = node.field("right")
        if right is not None and right.kind() == node.kind():
            said = " ".join(node.text().split())
            message = f"'{said}' assigns to other names than {name} as well. Replace the whole of it, by a pattern or an anchor."
            raise PatchConflictError(message)


def _found(nodes: Iterable[SgNode], language: str, text: str) -> list[Node]:
    nodes = list(nodes)
    for node in nodes:
        _refuse_unread(node, language, text)
    return [_node(node, language, {}, text) for node in nodes]


_ENDS_A_WORD = frozenset(' \t\r\n;&|()<>`"')
"""What a word of a shell ends at."""


def _refuse_unread(node: SgNode, language: str, text: str) -> None:
    """Raise PatchConflictError for a match that the grammar has cut where the language does not."""
    start, end = span_of(node)
    line = text.count("\n", 0, start) + 1
    broken = next((child for child in node.children() if child.kind() == "ERROR"), None)
    if broken is not None:
        reason = f"the grammar cannot read a part of it, '{' '.join(broken.text().split())[:40]}'"
    elif language == "bash" and text[end : end + 1] and text[end] not in _ENDS_A_WORD:
        reason = f"the grammar ends it before '{text[end]}', in the middle of a word"
    elif language == "bash" and any("\n" in each.text() for each in search(node, {"kind": "expansion"})):
        reason = "the grammar sees an expansion in it that goes over several lines, and may be wrong about where that ends"
    else:
        return
    message = f"What is in line {line} cannot be told: {reason}. Edit that place by an `anchor`, in the language text."
    raise PatchConflictError(message)


def _in_order(nodes: list[Node]) -> list[Node]:
    return sorted(nodes, key=lambda node: node.start)


def _macro_definitions(root: SgNode, name: str, text: str) -> list[Node]:
    """Return the definitions that a macro makes, such as `TEST(suite, case) {`: the grammar of C takes them for a call and a block."""
    nodes = []
    for call in search(root, {"kind": "call_expression"}):
        statement = call.parent()
        body = statement.next() if statement is not None else None
        if statement is None or body is None or body.kind() != "compound_statement" or statement.kind() != "expression_statement":
            continue
        made_up = statement.children()[-1]
        start, end = call.range().start.index, call.range().end.index
        if made_up.text() == "" and _is_macro_name(text[start:end], name):
            span = (start, body.range().end.index)
            outer = _with_lead(statement, span, "c", text)
            nodes.append(Node(start=span[0], end=span[1], outer=outer, head=above(statement, outer[0], text)))
    return nodes


def _is_macro_name(said: str, name: str) -> bool:
    """Say whether a call is the one meant: by the macro's name alone, or with its arguments in any layout."""
    return "".join(said.split()) == "".join(name.split()) or said.partition("(")[0].strip() == name


def is_beside(text: str, language: str, span: tuple[int, int], other: int) -> bool:
    """Say whether a piece of code is one or several whole constructs, in the same block as the one that begins at another place."""
    start, end = span
    node = root_of(text, language)
    while True:
        held = {each: child_at(node, each) for each in (start, end - 1, other)}
        if None in held.values():
            return False
        inner = held[start]
        if inner is None or not all(each is not None and each.range() == inner.range() for each in held.values()):
            break
        node = inner
    first, last, neighbour = (held[each] for each in (start, end - 1, other))
    if first is None or last is None or neighbour is None:
        return False
    rest = text[end : last.range().end.index].strip()
    # The only statement of a branch is in another block than what stands behind the branch.
    inside = neighbour.kind() in _BRANCHES and neighbour.range().start.index < other
    return first.range().start.index == start and rest in {"", ";"} and not inside


_BRANCHES = frozenset({"if_statement", "for_statement", "while_statement", "do_statement", "for_range_loop", "else_clause"})


_BLOCKS = frozenset(
    {
        *("module", "block", "translation_unit", "compound_statement", "declaration_list", "field_declaration_list", "source_file"),
        *("program", "do_group", "case_item", "case_statement", "if_statement", "subshell"),
        *("decorated_definition", "preproc_if", "preproc_ifdef", "preproc_else"),
    }
)
"""Nodes in which constructs stand one behind the other."""


def is_whole(text: str, language: str, span: tuple[int, int]) -> bool:
    """Say whether a piece of code is one or several whole constructs, and none of them another branch of what stands around it."""
    start, end = span
    node = root_of(text, language)
    while True:
        first, last = child_at(node, start), child_at(node, end - 1)
        if first is None or last is None:
            return False
        place = first.range()
        rest = text[end : last.range().end.index].lstrip(" \t;")
        if place.start.index == start and all(is_blank(line, language) for line in rest.splitlines()):
            together = node.kind() in _BLOCKS and first.is_named()
            return together or (first.range() == last.range() and node.kind() != "else_clause")
        if place != last.range():
            return False
        node = first


_IN_WORDS = re.compile(r"comment|string|char_literal")
_CODE_AGAIN = frozenset({"interpolation", "command_substitution", "process_substitution", "expansion"})


def is_code(text: str, language: str, place: int) -> bool:
    """Say whether what begins at a place is code, and not within a comment or a literal."""
    node: SgNode | None = child_at(root_of(text, language), place)
    code = True
    while node is not None:
        if node.kind() in _CODE_AGAIN:
            code = True
        elif node.kind() == "heredoc_body" or (_IN_WORDS.search(node.kind()) and node.range().start.index < place):
            code = False
        node = child_at(node, place)
    return code


def child_at(node: SgNode, place: int) -> SgNode | None:
    """Return the part of a node that covers a place of the text."""
    return next((each for each in node.children() if each.range().start.index <= place < each.range().end.index), None)


def search(root: SgNode, rule: dict[str, object]) -> list[SgNode]:
    """Return what a rule matches, in order. Raises PatchConflictError for a rule that ast-grep cannot read."""
    try:
        found = root.find_all(cast("Config", {"rule": rule}))  # ast-grep's own type is a plain dict at run time
    except Exception as error:  # what ast-grep raises for a rule it cannot read has no type of its own
        said = " ".join(str(error).partition("Stack backtrace")[0].split())
        arm = (
            " An arm of a `case` is named by a rule: {kind: case_item, has: {field: value, regex: '^NAME$'}}." if ";;" in str(rule) else ""
        )
        message = f"ast-grep refuses the rule {rule}: {said.rstrip('.')}.{arm}"
        raise PatchConflictError(message) from error
    return sorted(found, key=lambda node: node.range().start.index)


def span_of(node: SgNode) -> tuple[int, int]:
    """Return the span of a node; YAML's nodes swallow the comments and line ends behind them, which are not theirs."""
    place = node.range()
    start, end = place.start.index, place.end.index
    while node.kind().startswith(("block_", "flow_", "document", "stream")) and node.kind() != "block_scalar":
        children = [child for child in node.children() if child.kind() != "comment"]
        if not children:
            break
        node = children[-1]
        end = node.range().end.index
    if node.kind() == "block_scalar":
        end = start + len(node.get_root().root().text()[start : node.range().end.index].rstrip())
    if node.kind().startswith("preproc_") or node.kind().endswith("comment"):  # they hold the end of their line
        end = start + len(node.text().rstrip("\r\n \t"))
    if node.kind() in _DIRECTIVES:
        end = start + len(masking.without_last_comment(node.text()))
    if node.kind() == "preproc_include" and (path := node.field("path")) is not None:
        end = path.range().end.index  # an include takes in the comment behind it, and its line end
    behind = comments_behind(node)
    if behind:
        end = len(node.get_root().root().text()[: behind[0].range().start.index].rstrip())
    elif end == node.range().end.index and node.text().endswith("\r"):  # so does what ends with a comment
        end -= 1
    return start, end


_DIRECTIVES = frozenset({"preproc_def", "preproc_function_def", "preproc_call"})
"""Lines of a preprocessor whose nodes take in a comment behind them."""
_ENDING_IN_BLOCKS = frozenset(
    {
        *("function_definition", "class_definition", "decorated_definition", "block"),
        *("if_statement", "elif_clause", "else_clause", "for_statement", "while_statement", "with_statement"),
        *("try_statement", "except_clause", "except_group_clause", "finally_clause", "match_statement", "case_clause"),
    }
)
"""Nodes of Python that may end with a block on the line of its colon."""


def comments_behind(node: SgNode) -> list[SgNode]:
    """Return the comments behind a construct of Python whose body stands on the line of its colon: the grammar takes them for a part of that."""
    current: SgNode | None = node
    while current is not None and current.kind() in _ENDING_IN_BLOCKS:
        children = current.children()
        if current.kind() == "block":
            colon = current.prev()
            if colon is None or colon.range().end.line != current.range().start.line:
                return []
            code = next((place for place in range(len(children), 0, -1) if children[place - 1].kind() != "comment"), 0)
            if code < len(children):
                return children[code:] if code else []
        current = children[-1] if children else None
    return []


def _named(root: SgNode, kinds: Mapping[str, str], name: str) -> Iterator[SgNode]:
    found = [(node, field) for kind, field in kinds.items() for node in search(root, {"kind": kind})]
    for node, field_name in sorted(found, key=lambda pair: pair[0].range().start.index):
        if node.kind().endswith("_specifier") and node.field("body") is None:
            continue  # a mention of a struct, not the struct
        if node.kind() == "field_declaration" and node.field("default_value") is None:
            continue  # a member without a value
        holder = node.field(field_name)
        if holder is not None and _is_name(holder, name, node.kind()):
            yield node


def _is_name(holder: SgNode, name: str, kind: str) -> bool:
    if kind == "function_definition" and holder.kind() == "parenthesized_declarator":
        # A macro with one argument, such as `MODULE(name) {`, which looks like a type and a name in brackets.
        definition = holder.parent()
        head = "" if definition is None else definition.text()[: holder.range().end.index - definition.range().start.index]
        return _is_macro_name(head, name)
    # A declarator wraps its name in pointers, parameters and templates; a key may be quoted.
    while holder.kind().endswith("declarator"):
        inner = holder.field("declarator")
        if inner is None:  # of a reference
            inner = next((child for child in reversed(holder.children()) if child.is_named()), None)
        if inner is None:
            break
        holder = inner
    said = holder.text().partition("(")[0].strip() if holder.kind() == "operator_cast" else holder.text()
    if "(" in name and kind == "function_definition" and holder.kind() != "operator_name":  # a macro that makes a definition
        declarator = holder.parent()
        return declarator is not None and "".join(declarator.text().split()) == "".join(name.split())
    if kind == "impl_item":
        # A struct and what is implemented for it have one name; `impl NAME` is the latter.
        definition = holder.parent()
        trait = definition.field("trait") if definition is not None else None
        return name in {f"impl {said}", f"impl {trait.text() if trait is not None else ''} for {said}"}
    if kind == "macro_invocation" and name.endswith("!"):
        name = name[:-1]
    if kind == "initializer_pair":
        return name in {said, said.removeprefix(".")}
    plain_name = _without_types(said)
    if name.startswith("."):  # a method, whatever it is called on
        return re.split(r"\.|->|::", plain_name)[-1] == name[1:] and plain_name != name[1:]
    return name in {said, said.strip("\"'"), plain_name, plain_name.rpartition("::")[2]}


def _without_types(said: str) -> str:
    """Return a name without what stands between angle brackets: the types of a template, or of a generic call."""
    while (shorter := re.sub(r"(?:::)?<[^<>]*>", "", said)) != said:
        said = shorter
    return said


def _captures(node: SgNode, pattern: str) -> dict[str, tuple[int, int]]:
    captures = {}
    for many, one in re.findall(r"\$\$\$([A-Z_][A-Z0-9_]*)|\$([A-Z_][A-Z0-9_]*)", pattern):
        if many:
            matched = node.get_multiple_matches(many)
            # From the first to the last, with all that stands between: commas are nodes of their own in some grammars only. What is
            # behind the match, as a comment may be, is no part of it.
            end = min(matched[-1].range().end.index, span_of(node)[1]) if matched else 0
            captures[many] = (matched[0].range().start.index, end) if matched else (0, 0)
        elif found := node.get_match(one):
            captures[one] = (found.range().start.index, min(found.range().end.index, span_of(node)[1]))
    return captures


def node_of(node: SgNode, language: str, text: str) -> Node:
    """Return a node of the tree as a match."""
    return _node(node, language, {}, text)


def _node(node: SgNode, language: str, captures: Mapping[str, tuple[int, int]], text: str) -> Node:
    grammar = GRAMMARS[language]
    start, end = span_of(node)
    if node.kind() in _DECLARATIONS:
        start = _with_macros(text, start, language)
    outer, target = _outer(node, language, text)
    holder = _declaring(target)
    if holder is not target:
        held = span_of(holder)
        outer = _with_lead(holder, (_with_macros(text, held[0], language), held[1]), language, text)
    whole = outer or (start, end)
    hidden = masking.hidden_above(text, readable(text, language), whole[0]) if holder.kind() in _DECLARATIONS | _WITH_MACROS else None
    over = above(holder, whole[0], text)
    if hidden is not None:
        over = hidden
        if masking.is_of_gpus(text[hidden : whole[0]]):
            outer, hidden = (hidden, whole[1]), None
    return Node(
        start=start,
        end=end,
        captures=captures,
        loose=_loose(node, captures),
        arguments=_seen(_arguments(node, grammar), text, language),
        items=_seen(_items(node, grammar), text, language),
        outer=outer,
        gone=_with_separator(target, whole, language, text),
        doubt=f"The macro {text[hidden : whole[0]].split(maxsplit=1)[0]} stands on a line of its own over it, and may belong to it or not."
        if hidden is not None
        else "",
        head=over,
        among=_among(node, grammar),
        instead=_instead(target, language),
    )


def _seen(parts: Parts | None, text: str, language: str) -> Parts | None:
    """Return the parts of a list; None where between them is what the grammar sees as blanks: a macro that may stand for some of them."""
    if parts is None or language not in {"c", "cpp"} or (shown := readable(text, language)) == text:
        return parts
    edges = [parts.start, *(edge for span in parts.spans for edge in span), parts.end]
    gaps = zip(edges[::2], edges[1::2], strict=True)
    return parts if all(text[start:end] == shown[start:end] for start, end in gaps) else None


def _loose(node: SgNode, captures: Iterable[str]) -> frozenset[str]:
    """Return the metavariables whose code binds less than an operator beside it may."""
    found = {name: node.get_match(name) for name in captures}
    loose = {name for name, each in found.items() if each is not None and guard.needs_brackets(each.kind())}
    return frozenset(loose | ({"MATCH"} if guard.needs_brackets(node.kind()) else set()))


def _arguments(node: SgNode, grammar: Grammar) -> Parts | None:
    if node.kind() in _BUILT_INS_OF_C:
        return _bracketed(node)
    if node.kind() in _BUILT_IN["bash"] - {"test_command"}:
        first, *words = node.children()
        spans = tuple((word.range().start.index, word.range().end.index) for word in words)
        return Parts(spans=spans, start=first.range().end.index, end=node.range().end.index, layout=Layout.LINE)
    call = _inside(node, grammar.calls)
    if call is None or not grammar.calls:
        return None
    if call.kind() == "command":
        name = call.field("name")
        if name is None or _has_words_behind(call):
            return None
        behind = [child for child in call.children() if child.range().start.index >= name.range().end.index]
        words = [child for child in behind if not child.kind().endswith("_redirect")]
        if words != behind[: len(words)] or _has_descriptor(call, words):
            return None  # a redirection stands between them, or a part of it
        spans = tuple((word.range().start.index, word.range().end.index) for word in words)
        return Parts(spans=spans, start=name.range().end.index, end=call.range().end.index, layout=Layout.LINE)
    holder = call.field(grammar.arguments)
    if holder is None:
        holder = next((child for child in call.children() if child.kind() == "token_tree"), None)
    # An iterator as the only argument of a call in Python has no list around it.
    return None if holder is None or holder.kind() not in grammar.lists else _parts(holder, grammar)


def _has_descriptor(command: SgNode, words: list[SgNode]) -> bool:
    """Say whether the last word is the variable of a redirection, `{fd}>file`, which the grammar takes for an argument."""
    end = command.range().end.index
    text = command.get_root().root().text()
    return bool(words) and re.fullmatch(r"\{\w+\}", words[-1].text()) is not None and text[end : end + 1] in {"<", ">", "&"}


def _has_words_behind(command: SgNode) -> bool:
    """Say whether arguments stand behind a redirection, where the grammar takes them for a part of that."""
    statement = command.parent()
    redirects = statement.children() if statement is not None and statement.kind() == "redirected_statement" else []
    for redirect in [each for each in (*redirects, *command.children()) if each.kind().endswith("_redirect")]:
        words = [each for each in redirect.children() if each.is_named() and not each.kind().startswith(("heredoc", "file_descriptor"))]
        own = 0 if redirect.kind() == "heredoc_redirect" else 1
        if any(each.kind() == "ERROR" for each in words) or sum(not each.kind().endswith("_redirect") for each in words) > own:
            return True
    return False


def _bracketed(node: SgNode) -> Parts | None:
    """Return what stands between the brackets of an operator of C that looks like a call; None where it has none."""
    holder = next((child for child in node.children() if child.kind() == "parenthesized_expression"), node)
    children = holder.children()
    first = next((place for place, child in enumerate(children) if child.text() == "("), None)
    last = next((place for place in reversed(range(len(children))) if children[place].text() == ")"), None)
    if first is None or last is None:
        return None
    inner = children[first + 1 : last]
    spans = tuple(span_of(child) for child in inner if child.is_named() and "comment" not in child.kind())
    commas = tuple(child.range().start.index for child in inner if child.text() == ",")
    if len(spans) != len(commas) + 1:
        return None  # a member of a member, which the grammar does not read
    return Parts(spans=spans, start=children[first].range().end.index, end=children[last].range().start.index, commas=commas)


def _inside(node: SgNode | None, kinds: Container[str]) -> SgNode | None:
    """Return the node of a kind that a match is, or only wraps."""
    while node is not None and node.kind() not in kinds:
        node = _only(node) if node.kind() in _WRAPPERS else None
    return node


def _only(node: SgNode) -> SgNode | None:
    inner = [child for child in node.children() if child.is_named() and "comment" not in child.kind()]
    return inner[0] if len(inner) == 1 else None


def _items(node: SgNode, grammar: Grammar) -> Parts | None:
    value: SgNode | None = node
    while value is not None and value.kind() not in grammar.lists:
        value = value.field(grammar.value) or value.field("value") or value.field("right") or value.field("declarator") or _only(value)
    return None if value is None else _parts(value, grammar)


def _parts(holder: SgNode, grammar: Grammar) -> Parts | None:
    children = holder.children()
    start, end = span_of(holder)
    if len(children) < 2:  # noqa: PLR2004  # two brackets
        return None
    start, end = children[0].range().end.index, children[-1].range().start.index
    commas = tuple(child.range().start.index for child in children if child.text() == ",")
    if holder.kind() == "token_tree":
        if any(child.text() == ";" for child in children):
            return None  # `vec![0; 3]`: no list
        return Parts(spans=_token_parts(children), start=start, end=end, commas=commas)
    inner = [child for child in children[1:-1] if child.is_named() and "comment" not in child.kind()]
    if any(child.kind() == "ERROR" or child.kind().startswith("preproc_") for child in inner):
        return None  # some of them are there under a condition only
    return Parts(
        spans=tuple(span_of(child) for child in inner),
        start=start,
        end=end,
        commas=commas,
        layout=grammar.layout,
        lone_comma=holder.kind() in {"tuple", "tuple_expression"},
    )


def _token_parts(children: list[SgNode]) -> tuple[tuple[int, int], ...]:
    """Group the tokens of a Rust macro between commas."""
    spans: list[tuple[int, int]] = []
    group: list[SgNode] = []
    for child in [*children[1:-1], None]:
        if child is not None and child.text() != ",":
            group.append(child)
        elif group:
            spans.append((group[0].range().start.index, group[-1].range().end.index))
            group = []
    return tuple(spans)


def _has_argument(node: SgNode, argument: str | None, grammar: Grammar, text: str) -> bool:
    if argument is None:
        return True
    parts = _arguments(node, grammar)
    return parts is not None and argument in {text[start:end] for start, end in parts.spans}


def _among(node: SgNode, grammar: Grammar) -> tuple[Parts, int] | None:
    """Return the list that a match is a part of, if it is one."""
    parent = node.parent()
    while parent is not None and parent.kind() in _WRAPPERS:
        parent = parent.parent()
    if parent is None:
        return None
    if parent.kind() == "declaration" and len(parent.field_children("declarator")) > 1:
        commas = tuple(child.range().start.index for child in parent.children() if child.text() == ",")
        spans = tuple(span_of(child) for child in parent.field_children("declarator"))
        parts: Parts | None = Parts(spans=spans, start=spans[0][0], end=spans[-1][1], commas=commas)
    elif parent.kind() in grammar.lists - {"token_tree"}:
        parts = _parts(parent, grammar)
    else:
        return None
    start, end = span_of(node)
    positions = [position for position, span in enumerate(parts.spans) if span == (start, end)] if parts is not None else []
    return (parts, positions[0]) if parts is not None and positions else None


_TAKEN_ALONG = frozenset({"template_declaration", "decorated_definition", "redirected_statement"})
"""Nodes that stand around a definition or a command and mean nothing without it."""
_DECLARATIONS = frozenset(
    {
        "function_definition",
        "declaration",
        "struct_specifier",
        "class_specifier",
        "enum_specifier",
        "union_specifier",
        "template_declaration",
    }
)
"""Nodes of C and C++ that a macro may stand before."""
_BODIES = frozenset(
    {"if_statement", "else_clause", "while_statement", "do_statement", "for_statement", "for_range_loop", "labeled_statement"}
)
"""Statements of C whose body may be a single statement without braces."""
_SHELL_BODIES = frozenset({"compound_statement", "do_group", "subshell", "if_statement", "elif_clause", "else_clause"})


_WITH_MACROS = frozenset({"linkage_specification", "expression_statement", "type_definition"})


def _with_macros(text: str, start: int, language: str) -> int:
    """Return where a declaration begins with the macros before it on its line, which the grammar does not see."""
    begun = line_start(text, start)
    hidden = text[begun:start]
    if language not in {"c", "cpp"} or not hidden.strip() or readable(text, language)[begun:start].strip():
        return start
    return begun + len(hidden) - len(hidden.lstrip())


def _outer(node: SgNode, language: str, text: str) -> tuple[tuple[int, int] | None, SgNode]:
    """Return the span of what goes with a match when it is removed, if it is more than the match, and the statement that the match is."""
    target = node
    while (parent := target.parent()) is not None:
        kind = parent.kind()
        alone = kind in {"expression_statement", "declaration_command"} and _only(parent) is not None
        linkage = kind == "linkage_specification" and target.kind() != "declaration_list"
        if _goes_on_behind(parent) or not (
            alone
            or linkage
            or kind in _TAKEN_ALONG
            or (kind == "declaration" and len(parent.field_children("declarator")) == 1 and not target.kind().endswith("_specifier"))
        ):
            break
        target = parent
    start, end = span_of(target)
    following = target.next()
    if target.kind().endswith(("_specifier", "macro_invocation")) and following is not None and following.text() == ";":
        end = following.range().end.index
    if target.kind() in _DECLARATIONS or target.kind() == "linkage_specification":
        start = _with_macros(text, start, language)
    outer = _with_lead(target, (start, end), language, text)
    return (None if outer == span_of(node) else outer), target


def _goes_on_behind(node: SgNode) -> bool:
    """Say whether a command of a shell goes on behind the word of its here-document: `f <<END | g` is a pipe."""
    if node.kind() != "redirected_statement":
        return False
    documents = (child for child in node.children() if child.kind() == "heredoc_redirect")
    return any(each.kind() in {"pipeline", "list", "&&", "||", ";"} for document in documents for each in document.children())


def _declaring(target: SgNode) -> SgNode:
    """Return the declaration that a class is defined in besides, as in `typedef struct x {…} X;`: what stands beside it stands beside that."""
    parent = target.parent()
    inside = parent is not None and target.kind().endswith("_specifier") and parent.kind() in {"type_definition", "declaration"}
    return parent if parent is not None and inside and target.field("body") is not None else target


def _with_lead(target: SgNode, span: tuple[int, int], language: str, text: str) -> tuple[int, int]:
    """Widen the span of a construct by what stands before it and belongs to it: attributes, and comments that document it."""
    start, end = span
    lead, previous = start, target.prev()
    while previous is not None and (previous.kind() == "attribute_item" or "comment" in previous.kind()):
        first, last = span_of(previous)
        attached = previous.kind() == "attribute_item" or (is_documentation(text[first:last], language) and language == "rust")
        near = not text[last:lead].strip() and text[last:lead].count("\n") <= 1
        if attached or (near and is_documentation(text[first:last], language) and not _is_of_file(text, first, last)):
            start = first
        elif not near or indentation(text, first) is None:
            break
        lead, previous = first, previous.prev()
    return start, end


def above(target: SgNode, start: int, text: str) -> int | None:
    """Return where comments begin that stand directly over a construct; None where there are none, or they are the file's head."""
    first, previous = start, target.prev()
    while previous is not None and span_of(previous)[1] > first:
        previous = previous.prev()  # attributes and documentation, which belong to it anyway
    while previous is not None and "comment" in previous.kind():
        begun, end = span_of(previous)
        if text[end:first].strip() or text[end:first].count("\n") > 1 or indentation(text, begun) is None:
            break
        first, previous = begun, previous.prev()
    return first if first < start and text[:first].strip("\ufeff \t\r\n") else None


def _with_separator(target: SgNode, whole: tuple[int, int], language: str, text: str) -> tuple[int, int] | None:
    """Return the span of a statement with the semicolon between it and another one on its line; None where there is no other."""
    if language not in {"python", "bash"}:
        return None
    start, end = whole
    following, previous = target.next(), target.prev()
    if following is not None and following.text() in {";", "&"} and following.kind() in {";", "&"}:
        end = following.range().end.index
        return start, end + len(text[end:]) - len(text[end:].lstrip(" \t"))
    if previous is not None and previous.kind() == ";" and "\n" not in text[previous.range().start.index : start]:
        return previous.range().start.index, end
    parent = target.parent()
    beside = indentation(text, start) is None or not is_blank(text[end : line_end(text, end)], language)
    # An arm or a pair of brackets on one line: what is put beside its only command is parted from it by a semicolon.
    return (start, end) if language == "bash" and parent is not None and parent.kind() in _ON_ONE_LINE and beside else None


_ON_ONE_LINE = frozenset({"case_item", "subshell"})
_DOCUMENTATION = re.compile(r"//[/!](?![/<])|/\*[*!](?![*/<])")


_OF_FILE = re.compile(r"/\*.*(?:copyright|licen[cs]e|SPDX-|[@\\]file\b)", re.IGNORECASE | re.DOTALL)


def _is_of_file(text: str, start: int, end: int) -> bool:
    """Say whether a comment is the first thing of a file and speaks of the whole of it, whatever stands below it."""
    return not text[:start].strip("\ufeff \t\r\n") and _OF_FILE.match(text[start:end]) is not None


def is_documentation(comment: str, language: str) -> bool:
    """Say whether a comment documents the item behind it: as rustdoc takes it, or Doxygen. Those of what stands around it do not."""
    if language == "rust":
        return comment.startswith(("///", "/**")) and not comment.startswith(("////", "/***", "/**/"))
    return language in {"c", "cpp"} and _DOCUMENTATION.match(comment) is not None


_HOLDERS = frozenset(
    {
        *("return_statement", "co_return_statement", "return_expression", "break_expression", "yield", "await", "raise_statement"),
        *("for_statement", "parenthesized_expression", "command_substitution", "process_substitution", "condition_clause"),
    }
)
"""Nodes that use the value of what is in them: it cannot go alone."""


def _is_unit(block: SgNode) -> bool:
    """Say whether a block of Rust is the body of a function that returns nothing: what it ends with is no value."""
    function = block.parent()
    return function is not None and function.kind() == "function_item" and function.field("return_type") is None


_STATEMENTS = ("_statement", "_declaration", "_item", "_definition", "comment", "label")
"""How the kinds of nodes in a block of Rust end that are no value of it."""


def _is_value(target: SgNode) -> bool:
    """Say whether what stands in a block of Rust is its value: no statement, and a macro only where it is the last thing."""
    following = target.next()
    while following is not None and "comment" in following.kind():
        following = following.next()
    macro = target.kind() == "macro_invocation" and following is not None and following.text() != "}"
    return not macro and not target.kind().endswith(_STATEMENTS)


def _instead(target: SgNode, language: str) -> str | None:
    """Return what has to stand where a statement is removed, so that nothing else takes its place; None where it cannot go alone."""
    parent = target.parent()
    if parent is None:
        return ""
    kind = parent.kind()
    if kind in _HOLDERS or (target.kind().endswith("_specifier") and kind in {"declaration", "type_definition", "field_declaration"}):
        return None
    if language == "rust" and kind == "block" and _is_value(target) and not _is_unit(parent):
        return None
    if language in {"c", "cpp"}:
        if kind == "case_statement":
            return "" if len([child for child in parent.children() if child.kind().endswith(("statement", "declaration"))]) > 1 else ";"
        return ";" if kind in _BODIES and target.kind().endswith("statement") else ""
    if language == "bash" and kind in {"list", "pipeline", "negated_command", "redirected_statement", "heredoc_redirect"}:
        return None
    others = [
        child for child in parent.children() if child.is_named() and "comment" not in child.kind() and child.range() != target.range()
    ]
    if language == "python":
        return "pass" if kind == "block" and not others else ""
    if language == "bash" and kind in _SHELL_BODIES:
        then = next((child.range().end.index for child in parent.children() if child.kind() == "then"), 0)
        if then > target.range().start.index:
            return None  # the condition of an `if`
        body = [other for other in others if other.range().start.index >= then and other.kind() not in {"elif_clause", "else_clause"}]
        return "" if body else ":"
    return ""


def faults(text: str, language: str) -> int:
    """Return how many places the grammar cannot read; for Python, its own parser has the first say."""
    own = language == "python" and _python_refuses(text)
    if language == "python" and not own:
        return 0
    try:
        root = root_of(text, language)
    except PatchConflictError:
        return own + 1
    overlooked = _empty_bodies(root) if language == "bash" else _unended_macros(root) if language == "rust" else 0
    return own + len(_faulty(root)) + overlooked


def _unended_macros(root: SgNode) -> int:
    """Count macros of Rust in round or square brackets that stand as statements, and have no semicolon: rustc reads none, its grammar does."""
    found = search(root, {"kind": "macro_invocation", "inside": {"kind": "block"}})
    return sum(not each.text().endswith("}") and not _is_value(each) for each in found)


def first_fault(text: str, language: str) -> int | None:
    """Return where the first thing stands that the grammar cannot read, None where it reads all."""
    found = [node.range().start.index for node in _faulty(root_of(text, language)) if not _before_block(node)]
    return min(found, default=None)


def _empty_bodies(root: SgNode) -> int:
    """Return how many bodies of a shell hold no command, which the grammar takes and no shell does."""
    nodes = search(root, {"any": [{"kind": kind} for kind in ("do_group", "compound_statement", "subshell", "else_clause")]})
    empty = sum(not any(child.is_named() and child.kind() != "comment" for child in node.children()) for node in nodes)
    for node in search(root, {"any": [{"kind": "if_statement"}, {"kind": "elif_clause"}]}):
        behind = next((child.range().end.index for child in node.children() if child.kind() == "then"), None)
        body = [child for child in node.children() if behind is not None and child.range().start.index >= behind and child.is_named()]
        body = [child for child in body if child.kind() != "comment"]
        empty += behind is not None and (not body or body[0].kind() in {"elif_clause", "else_clause"})
    return empty


def _faulty(root: SgNode) -> list[SgNode]:
    """Return what a grammar could not read, and the tokens that it made up, which are empty."""
    empty = [node for node in search(root, {"regex": "^$"}) if _made_up(node)]
    return [*search(root, {"kind": "ERROR"}), *empty]


def _made_up(node: SgNode) -> bool:
    # The whole of an empty text is empty, too, and a few nodes with a name may be.
    return node.is_leaf() and node.text() == "" and (not node.is_named() or node.kind().endswith("identifier"))


def _python_refuses(text: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the upstream's escapes and comparisons
            compile(text.removeprefix("\ufeff"), "<edited>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return True
    return False


def _before_block(node: SgNode) -> bool:
    """Say whether a semicolon was made up between a macro and its block, as in `TEST(suite, case) {`: that is what such code looks like."""
    statement = node.parent()
    body = statement.next() if statement is not None else None
    return statement is not None and statement.kind() == "expression_statement" and body is not None and body.kind() == "compound_statement"


class _Tree:
    """A node of ast-grep's, as the proof reads it."""

    __slots__ = ("_inner", "_language", "_node", "_text", "end", "kind", "role", "start")

    def __init__(self, node: SgNode, text: str, language: str) -> None:
        self._node, self._text, self._language = node, text, language
        self._inner: list[guard.Tree] | None = None
        self.kind = node.kind()
        place = node.range()
        self.start, self.end = place.start.index, place.end.index
        behind = comments_behind(node) if language == "python" else []
        if behind:
            self.end = behind[0].range().start.index
        while self.end > self.start and text[self.end - 1] in "\r\n\t ":
            self.end -= 1
        self.role = self._role()

    def _role(self) -> guard.Role:
        if self.kind == "ERROR" or (self.start == self.end and _made_up(self._node) and not _before_block(self._node)):
            return guard.Role.FAULT
        if self.kind in {"attribute_item", "decorator"}:
            return guard.Role.LEAD
        if "comment" not in self.kind or self.kind.startswith(("doc_", "outer_", "inner_")):
            return guard.Role.CODE
        said = self._text[self.start : self.end]
        if self._language == "rust":
            if said.startswith(("//!", "/*!")):
                return guard.Role.CODE  # of what stands around it
            return guard.Role.LEAD if is_documentation(said, "rust") else guard.Role.COMMENT
        return guard.Role.COMMENT

    def children(self) -> list[guard.Tree]:
        if self._inner is None:
            nodes = [each for node in self._node.children() for each in self._with_comments(node)]
            self._inner = [_Tree(node, self._text, self._language) for node in nodes if node.range().start.index <= self.end]
        return self._inner

    def _with_comments(self, node: SgNode) -> list[SgNode]:
        """Return a node with the comments behind it that the grammar takes for a part of it."""
        return [node, *comments_behind(node)] if self._language == "python" else [node]


def prove(step: Step) -> None:
    """Raise UnprovenError unless only what was meant has changed (see `guard`)."""
    before, after = (_Tree(root_of(text, step.language), text, step.language) for text in (step.before, step.after))
    guard.prove(before, after, step, inner_lines)
    if step.language == "python":
        from forkhouse.patches.languages import docstrings  # noqa: PLC0415  # it reads with what stands here

        docstrings.prove(step)
    if step.language in {"c", "cpp"}:
        _prove_directives(step)
    if step.language == "bash":
        _prove_documents(step)


def _prove_documents(step: Step) -> None:
    """Raise UnprovenError where the word that ends a here-document does not stand alone on its line: the grammar takes it, and a shell goes on."""
    for end in search(root_of(step.after, "bash"), {"kind": "heredoc_end"}):
        first, last = end.range().start.index, end.range().end.index
        line = step.after[line_start(step.after, first) : line_end(step.after, last)]
        if line.lstrip("\t").rstrip("\r") != end.text() and line not in step.before.split("\n"):
            what = f"the here-document would not end at '{line.strip()[: guard.SHOWN]}', as its last word has to be alone there. Edit the whole line"
            raise UnprovenError(what, text=step.after, position=first)


def _prove_directives(step: Step) -> None:
    """Raise UnprovenError for a directive that is put behind code on its line, or code that is left behind one."""
    for first, last in guard.shift_of(step).new():
        new = step.after[first:last]
        begins = new.lstrip(" \t").startswith("#") and step.after[line_start(step.after, first) : first].strip()
        ends = new.rpartition("\n")[2].lstrip().startswith("#") and step.after[last : line_end(step.after, last)].strip()
        if begins or (ends and not is_blank(step.after[last : line_end(step.after, last)], step.language)):
            what = "a directive of the preprocessor would share its line with code. Replace the whole line"
            raise UnprovenError(what, text=step.after, position=first)


_LITERAL = re.compile(r"string|heredoc|raw_")


def inner_lines(text: str, language: str) -> set[int]:
    """Return the numbers, from 0, of the lines that begin inside a literal, whose white space is a part of it."""
    lines: set[int] = set()
    stack = [root_of(text, language)]
    while stack:
        node = stack.pop()
        place = node.range()
        if place.start.line == place.end.line:
            continue
        kind = node.kind()
        if _LITERAL.search(kind) and kind != "concatenated_string":
            lines.update(range(place.start.line + 1, place.end.line + 1))
        else:
            stack += node.children()
    return lines
