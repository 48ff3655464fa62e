"""Read YAML with positions, through PyYAML's own scanner and parser."""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import TYPE_CHECKING, Any

import yaml

from forkhouse.patches.languages.data import Data, Entry, Kind, NodeStyle, Value, refused

if TYPE_CHECKING:
    from forkhouse.patches.backends import Span

_PREFIX = "tag:yaml.org,2002:"
_STANDARD = {
    f"{_PREFIX}{name}": name for name in ("null", "bool", "int", "float", "timestamp", "str")
}
_COMMENT = re.compile("#[^\n\r\x85\u2028\u2029]*")
_HEADER = re.compile(r"[|>][+\-0-9]*")
_HEADER_COMMENT = re.compile("[|>][+\\-0-9]*[ \t]+(#[^\n\r\x85\u2028\u2029]*)")
BREAKS = " \t\r\n\x85\u2028\u2029"


class _Recorder(yaml.SafeLoader):
    """A loader that keeps the tokens that its parser consumed."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.taken: list[yaml.Token] = []

    def get_token(self) -> yaml.Token:
        token: yaml.Token = super().get_token()  # type: ignore[no-untyped-call]
        self.taken.append(token)
        return token


Raw = tuple[Any, list["Raw"], Any]
"""An event of PyYAML, the events of what it holds, and the event that ends it.

The type stubs of PyYAML do not say what an event has.
"""


def read(text: str) -> Data:
    """Read YAML. Raises PatchConflictError for what PyYAML cannot read."""
    try:
        loader = _Recorder(text)
        raws = _raw_documents(loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = "; ".join(part for part in (error.context, error.problem) if part)
        raise refused(text, "yaml", mark.index if mark else 0, said) from error
    except (yaml.YAMLError, ValueError) as error:
        raise refused(text, "yaml", 0, str(error).replace("\n", " ")) from error
    builder = _Builder(text, loader)
    return Data(
        text=text,
        language="yaml",
        documents=tuple(builder.document(raw) for raw in raws),
        comments=builder.comments(),
    )


def scalar_seen(text: str, tag: str, loader: yaml.SafeLoader) -> object:
    """Return the type that a scalar has for PyYAML, and its value as text."""
    name = _STANDARD.get(tag)
    if name is None:
        return (tag, text)
    if name == "str":
        return ("text", text)
    try:
        built = loader.construct_object(yaml.ScalarNode(tag, text))
    except (yaml.YAMLError, ValueError, KeyError, OverflowError):
        return (tag, text)
    return plain_seen(built)


def plain_seen(built: object) -> object:
    """Return the type and the text of a value of Python."""
    name = {"NoneType": "null", "str": "text"}.get(type(built).__name__, type(built).__name__)
    return (name, str(built) if isinstance(built, str) else repr(built))


def _raw_documents(loader: Any) -> list[Raw]:
    documents = []
    while not loader.check_event(yaml.StreamEndEvent):
        event = loader.get_event()
        if isinstance(
            event, yaml.StreamStartEvent | yaml.DocumentStartEvent | yaml.DocumentEndEvent
        ):
            continue
        documents.append(_raw(loader, event, _LEVELS))
    loader.get_event()
    return documents


_LEVELS = 300
"""The greatest depth of nesting.

PyYAML's own composer gives up at about this depth, and its scanner takes ever longer for each
level.
"""


def _raw(loader: Any, event: Any, levels: int) -> Raw:
    if levels == 0:
        raise RecursionError
    if not isinstance(event, yaml.CollectionStartEvent):
        return event, [], event
    children = []
    while not isinstance(inner := loader.get_event(), yaml.CollectionEndEvent):
        children.append(_raw(loader, inner, levels - 1))
    return event, children, inner


class _Builder:
    """A builder of values from events, with the positions of the tokens that the parser took."""

    def __init__(self, text: str, loader: Any) -> None:
        self.text = text
        self.loader = loader
        self.tokens: list[Any] = sorted(loader.taken, key=lambda token: token.start_mark.index)
        self.starts = [token.start_mark.index for token in self.tokens]
        self.dashes = self._places(yaml.BlockEntryToken)
        self.colons = self._places(yaml.ValueToken)
        self.commas = self._places(yaml.FlowEntryToken)
        self.questions = {
            token.start_mark.index
            for token in self.tokens
            if isinstance(token, yaml.KeyToken) and token.end_mark.index > token.start_mark.index
        }
        self.marks = sorted(self.questions)
        self.named: dict[str, str | None] = {}
        """The name that a key has in paths if it is an alias, by the anchor of the alias."""
        self.anchors: set[str] = set()
        """The anchors of the document."""

    def document(self, raw: Raw) -> Value:
        self.named.clear()
        self.anchors.clear()
        return self.value(raw)

    def _places(self, kind: type[yaml.Token]) -> list[int]:
        return [token.start_mark.index for token in self.tokens if isinstance(token, kind)]

    @staticmethod
    def _span(token: Any) -> Span:
        return token.start_mark.index, token.end_mark.index

    def comments(self) -> tuple[Span, ...]:
        found: list[Span] = []
        begun = 0
        for token in self.tokens:
            start, end = self._span(token)
            found += [
                match.span() for match in _COMMENT.finditer(self.text, begun, max(begun, start))
            ]
            if (
                isinstance(token, yaml.ScalarToken)
                and token.style in {"|", ">"}
                and (header := _HEADER_COMMENT.match(self.text, start))
            ):
                found.append(header.span(1))
            begun = max(begun, end)
        found += [match.span() for match in _COMMENT.finditer(self.text, begun)]
        return tuple(found)

    def value(self, raw: Raw) -> Value:
        event, children, last = raw
        start = event.start_mark.index
        if isinstance(event, yaml.AliasEvent):
            _, end = self._span(event)
            if event.anchor not in self.anchors:
                raise refused(
                    self.text, "yaml", start, f"the alias *{event.anchor} has no anchor before it"
                )
            return Value(
                kind=Kind.ALIAS,
                style=NodeStyle.LINE,
                start=start,
                end=end,
                body=start,
                lead=end,
                anchor=event.anchor,
            )
        if event.anchor is not None:
            if event.anchor in self.anchors:
                raise refused(
                    self.text, "yaml", start, f"the anchor &{event.anchor} is given twice"
                )
            self.anchors.add(event.anchor)
        body, properties = self._after_properties(event)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, start, body, properties)
        tag = str(
            event.tag or f"{_PREFIX}{'map' if isinstance(event, yaml.MappingStartEvent) else 'seq'}"
        )
        if isinstance(event, yaml.MappingStartEvent):
            kind = Kind.MAPPING
            entries = tuple(
                self._pair(key, value)
                for key, value in zip(children[::2], children[1::2], strict=True)
            )
        else:
            kind = Kind.SEQUENCE
            entries = tuple(self._item(child, dashed=not event.flow_style) for child in children)
        style = NodeStyle.BLOCK
        if event.flow_style:
            style = NodeStyle.FLOW if self.text[body : body + 1] in {"[", "{"} else NodeStyle.PAIR
        end = (
            last.end_mark.index
            if style is NodeStyle.FLOW
            else max([body, *(entry.end for entry in entries)])
        )
        if style is NodeStyle.PAIR and entries:
            start = body = entries[0].start
        commas: list[int] = []
        if style is NodeStyle.FLOW and entries:
            begins = [entry.start for entry in entries[1:]]
            for entry, following in zip(entries, [*begins, end], strict=True):
                commas += self.commas[
                    bisect_left(self.commas, entry.end) : bisect_left(self.commas, following)
                ]
        lead = properties if properties > start and style is NodeStyle.BLOCK else end
        return Value(
            kind=kind,
            style=style,
            start=start,
            end=end,
            body=body,
            lead=lead,
            tag=tag,
            anchor=event.anchor,
            entries=entries,
            commas=tuple(commas),
        )

    def _after_properties(self, event: Any) -> tuple[int, int]:
        """Return where the content of a node begins, and where its tag and anchor end."""
        start = event.start_mark.index
        if event.anchor is None and event.tag is None:
            return start, start
        position = bisect_left(self.starts, start)
        wanted = (event.anchor is not None) + (event.tag is not None)
        end = start
        while position < len(self.tokens) and wanted:
            token = self.tokens[position]
            if isinstance(token, yaml.AnchorToken | yaml.TagToken):
                wanted -= 1
                end = token.end_mark.index
            position += 1
        while position < len(self.tokens) and isinstance(
            self.tokens[position], yaml.BlockMappingStartToken | yaml.BlockSequenceStartToken
        ):
            position += 1
        body = self.tokens[position].start_mark.index if position < len(self.tokens) else end
        return max(body, end), end

    def _scalar(self, event: Any, start: int, body: int, properties: int) -> Value:
        tag = event.tag or ""
        if not tag or tag == "!":
            tag = str(self.loader.resolve(yaml.ScalarNode, event.value, event.implicit))
        read = scalar_seen(event.value, tag, self.loader)
        end = lead = event.end_mark.index
        style = NodeStyle.LINE
        if event.style in {"|", ">"}:
            style = NodeStyle.LITERAL
            header = _HEADER.match(self.text, body)
            assert header is not None  # the scanner saw it
            lead = header.end()
            trimmed = len(self.text[:end].rstrip(BREAKS))
            # A last line of white space is a part of the text.
            if not event.value.rstrip("\n").rpartition("\n")[2].strip(" \t"):
                trimmed = max(trimmed, len(self.text[:end].rstrip("\r\n")))
            # Empty lines at the end are then a part of the text, and only the last line end stays.
            if "+" in header[0]:
                trimmed = end - 1 if self.text[end - 1 : end] in {"\n", "\r"} else end
                trimmed -= self.text[trimmed - 1 : end] == "\r\n"
            end = max(lead, trimmed)
        elif event.style is None and not event.value and self.text[body:end].strip() == "":
            style, end = NodeStyle.EMPTY, max(start, properties)
            body = lead = end
        value = Value(
            kind=Kind.SCALAR,
            style=style,
            start=start,
            end=end,
            body=body,
            lead=lead,
            tag=tag,
            read=read,
            anchor=event.anchor,
        )
        if event.anchor is not None:
            self.named[event.anchor] = self._name(value)
        return value

    def _item(self, raw: Raw, *, dashed: bool) -> Entry:
        value = self.value(raw)
        if not dashed:
            return Entry(start=value.start, end=value.end, value=value)
        dash = self.dashes[bisect_left(self.dashes, value.start) - 1]
        return Entry(
            start=dash, end=max(value.end, dash + 1), value=_placed(value, dash + 1), sign=dash + 1
        )

    def _pair(self, raw_key: Raw, raw_value: Raw) -> Entry:
        key, value = self.value(raw_key), self.value(raw_value)
        position = bisect_left(self.colons, key.end)
        colon = (
            self.colons[position]
            if position < len(self.colons) and self.colons[position] <= value.start
            else None
        )
        mark = bisect_left(self.marks, max(key.start, 1)) - 1
        question = (
            self.marks[mark]
            if mark >= 0 and not self._token_between(self.marks[mark], key.start)
            else None
        )
        if key.start in self.questions:  # a key of which nothing is written
            question = key.start
        start = key.start if question is None else question
        sign = None if colon is None else colon + 1
        bound = max(key.end, start + (question is not None)) if sign is None else sign
        value = _placed(value, bound)
        name = self.named.get(key.anchor or "") if key.kind is Kind.ALIAS else self._name(key)
        return Entry(
            start=start,
            end=max(value.end, bound),
            value=value,
            key=key,
            name=name,
            sign=sign,
            explicit=question is not None,
        )

    def _name(self, scalar: Value) -> str | None:
        if not isinstance(scalar.read, tuple):
            return None
        return (
            str(scalar.read[1]) if scalar.read[0] == "text" else self.text[scalar.body : scalar.end]
        )

    def _token_between(self, start: int, end: int) -> bool:
        inside = self.tokens[bisect_left(self.starts, start) : bisect_left(self.starts, end)]
        return any(
            not isinstance(
                token, yaml.KeyToken | yaml.BlockMappingStartToken | yaml.BlockSequenceStartToken
            )
            or token.start_mark.index != start
            for token in inside
            if token.end_mark.index > token.start_mark.index
        )


def _placed(value: Value, bound: int) -> Value:
    """Give an empty value the position at which its sign ends."""
    if value.style is not NodeStyle.EMPTY or value.end > value.start:
        return value
    return Value(
        kind=value.kind,
        style=value.style,
        start=bound,
        end=bound,
        body=bound,
        lead=bound,
        tag=value.tag,
        read=value.read,
        anchor=value.anchor,
    )
