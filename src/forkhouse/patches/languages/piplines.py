"""Read the lines of a requirements file as pip does, with the positions of their parts.

pip documents the format (pip.pypa.io, "Requirements File Format"), and this module follows pip 26.3
where that is silent. The readers on the registry do not serve: `pip-requirements-parser` is pip's
code of 2022 and reads files, not texts. `requirements-parser` joins no lines and knows few options.
Neither says where a declaration stands, which an edit needs. pip's own reader is private and slow
to load; the tests compare this module with it. The hard parts are left to the standard library and
`packaging`: options (`optparse` and `shlex`, as in pip), requirements, markers and names of wheels.
"""

from __future__ import annotations

import codecs
import optparse
import re
import shlex
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import unquote, urlsplit

from packaging.markers import InvalidMarker, Marker
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from forkhouse.patches.languages.declarations import requirement_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packaging.requirements import Requirement

    from forkhouse.patches.backends import Span

_COMMENT = re.compile(r"(?:^|\s+)#.*")
_VARIABLE = re.compile(r"\$\{[A-Z0-9_]+\}")
_ADDRESS = re.compile(r"(?:https?|file|ftp|(?:git|hg|svn|bzr)\+[a-z-]+):", re.IGNORECASE)
_REPOSITORY = re.compile(r"(?:git|hg|svn|bzr)(?:\+[a-z-]+)?:", re.IGNORECASE)
_EGG = re.compile(r"[#&]egg=([A-Za-z0-9._-]+)(?:\[[^\]]*\])?(?=&|$)")
_EXTRAS_BEHIND = re.compile(r"^(.+?)(\[[^\]]+\])?$", re.DOTALL)
_ARCHIVE = re.compile(
    r"\.(?:zip|whl|tar\.(?:bz2|gz|xz|lz|lzma)|tbz|txz|tlz|tgz|tar)$", re.IGNORECASE
)
_EDITABLE = re.compile(
    r"""(?:-e[ \t]*+|--e[a-z]*(?:=|[ \t]+))("[^"\\]*"|'[^']*'|[^\s"'\\]+)(?=\s|$)"""
)
_STRONG = re.compile(r"(?:sha256|sha384|sha512):.*", re.DOTALL)
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    # A mark of UTF-32 begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CODING = re.compile(rb"coding[:=]\s*([-\w.]+)")


def decoded(content: bytes) -> str:
    """Return the text of a requirements file as pip decodes it.

    pip goes by the byte-order mark, the coding line (PEP 263), or UTF-8. Raises UnicodeError or
    LookupError. If neither mark nor coding line is there and the bytes are no UTF-8, pip uses the
    locale of the machine that it runs on, so the true text of such a file is not known.
    """
    for mark, encoding in _BOMS:
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding)
    for line in content.split(b"\n")[:2]:
        found = _CODING.search(line) if line.startswith(b"#") else None
        if found is not None:
            return content.decode(found[1].decode("ascii"))
    return content.decode("utf-8")


@dataclass(frozen=True, kw_only=True, slots=True)
class Named:
    """The name of what a declaration requires, or why it has no name."""

    requirement: Requirement | None = None
    problem: str = ""
    """Why it has no name here, or why pip refuses it."""
    refused: bool = False
    """Whether pip refuses it."""
    bare: bool = False
    """Whether it is an address or a path, and not a name with a version."""
    open: bool = False
    """Whether it holds a variable of the environment."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RequirementLine:
    """The content of one line, joined with the lines that continue it."""

    number: int
    """The number of its first line, from 1 on."""
    start: int
    end: int
    """The end of its last line, including the line end."""
    words: str
    """The text that pip reads of it, with its lines joined."""
    comments: tuple[tuple[int, str], ...] = ()
    """The comments, which pip does not read, with their positions.

    A comment is a number sign with the text behind it. It may be a line of its own, which ends the
    lines that it continues.
    """
    named: Named | None = None
    """The name of what is required; None if the line declares nothing."""
    declared: Span | None = None
    """The span of the declaration; None if it cannot be told from the text around it."""
    options: Span | None = None
    """The span from the end of the declaration to the end of the last option."""
    hashes: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    """The words of the options, without the hashes of a declaration."""
    include: str | None = None
    """The file that pip reads in the place of the line."""
    constraint: bool = False
    """Whether that file, and what it declares, only constrains versions and installs nothing."""
    requires_hashes: bool = False

    @property
    def requirement(self) -> Requirement | None:
        """The requirement, if it has a name."""
        return self.named.requirement if self.named else None


class _RefusedError(Exception):
    """pip does not accept these options."""


class _Options(optparse.OptionParser):
    def error(self, msg: str) -> NoReturn:
        raise _RefusedError(msg)


def _parser(*more: tuple[str, ...]) -> _Options:
    parser = _Options(add_help_option=False)
    for names in (
        ("-i", "--index-url", "--pypi-url"),
        ("--extra-index-url",),
        ("-f", "--find-links"),
        ("--no-binary",),
        ("--only-binary",),
        ("--all-releases",),
        ("--only-final",),
        ("--trusted-host",),
        ("--use-feature",),
        ("-C", "--config-setting", "--config-settings"),
        *more,
    ):
        parser.add_option(*names, action="append", dest="others")
    for names in (("--no-index",), ("--prefer-binary",), ("--pre",), ("--no-require-hashes",)):
        parser.add_option(*names, action="store_true", dest=names[0].strip("-").replace("-", "_"))
    parser.add_option("--require-hashes", action="store_true", dest="require_hashes")
    parser.add_option("-r", "--requirement", action="append", dest="requirements")
    parser.add_option("-c", "--constraint", action="append", dest="constraints")
    parser.add_option("-e", "--editable", action="append", dest="editables")
    parser.add_option("--hash", action="append", dest="hashes")
    return parser


_PARSER = _parser()
_OLD_PARSER = _parser(("--global-option",), ("--install-option",))
"""A parser that also knows the options of older releases of pip."""
_ASKED = ("others", "editables", "hashes", "requirements", "constraints", "require_hashes")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Joined:
    """A line joined with the lines that continue it, without backslashes.

    Each character keeps its position in the file.
    """

    number: int
    start: int
    end: int
    text: str
    places: list[int]
    last: int
    """The start of the text of its last line, in `text`."""


def _joined(text: str) -> Iterator[_Joined]:
    """Join each line that ends in a backslash with the next one.

    A comment line ends the line that it continues.
    """
    # pip ends lines where Python does, so also at a form feed and at others.
    parts: list[tuple[str, int]] = []
    begun: tuple[int, int] | None = None
    position = 1 if text.startswith("\ufeff") else 0
    for number, line in enumerate(text[position:].splitlines(keepends=True), start=1):
        start = position
        position += len(line)
        bare = line.splitlines()[0]
        begun = begun or (number, start)
        is_comment = _COMMENT.match(bare) is not None
        if bare.endswith("\\") and not is_comment:
            stripped = bare.strip("\\")
            parts.append(
                (stripped, start + len(bare) - len(bare.lstrip("\\")) if stripped else start)
            )
            continue
        if is_comment:
            parts.append((" ", start))
        parts.append((bare, start))
        yield _of(begun, position, parts)
        parts, begun = [], None
    if parts and begun is not None:
        yield _of(begun, position, parts)


def _of(begun: tuple[int, int], end: int, parts: list[tuple[str, int]]) -> _Joined:
    places = [start + offset for part, start in parts for offset in range(len(part))]
    return _Joined(
        number=begun[0],
        start=begun[1],
        end=end,
        text="".join(part for part, _ in parts),
        places=places,
        last=len(places) - len(parts[-1][0]),
    )


@lru_cache(maxsize=4)
def entries(text: str) -> tuple[RequirementLine, ...]:
    """Return the content of the lines of a requirements file, in order.

    Blank lines are left out. The last results are kept, as one operation asks for the same text
    several times.
    """
    return tuple(entry for line in _joined(text) if (entry := _entry(line)).words or entry.comments)


def _entry(line: _Joined) -> RequirementLine:
    behind = _COMMENT.search(line.text)
    comments = []
    if behind:
        sign = line.text.index("#", behind.start())
        signs = [
            sign,
            *([line.last] if line.last > sign and _COMMENT.match(line.text[line.last :]) else []),
        ]
        comments = [
            (line.places[at], line.text[at:stop].strip())
            for at, stop in pairwise([*signs, len(line.text)])
        ]
    said = line.text[: behind.start()] if behind else line.text
    words = said.strip()
    plain = RequirementLine(
        number=line.number, start=line.start, end=line.end, comments=tuple(comments), words=words
    )
    if not words:
        return plain
    first = said.index(words)
    head, tail, at = _split(words)
    try:
        given = shlex.split(tail)
        options = _read_options(given)
    except (_RefusedError, ValueError) as error:
        return replace(
            plain,
            named=Named(
                problem=f"pip does not read the options of '{words}': {error}", refused=True
            ),
        )
    span = (0, len(head)) if head else None
    if not head and options.editables:
        found = _EDITABLE.match(words, at)
        span = (
            found.span()
            if found is not None and shlex.split(found[1]) == options.editables[:1]
            else None
        )
    elif not head:
        include = (options.requirements or options.constraints or [None])[0]
        return replace(
            plain,
            include=include,
            constraint=include is not None and not options.requirements,
            requires_hashes=bool(options.require_hashes),
            others=tuple(given),
        )
    # pip ignores the hashes of an editable requirement.
    hashes = tuple(options.hashes or ()) if not options.editables else ()
    wrong = [each for each in options.hashes or () if not _STRONG.fullmatch(each)]
    if wrong:
        named = Named(problem=f"pip does not take the hash '{wrong[0]}'", refused=True)
    else:
        # With `-e` behind a declaration, pip takes the declaration for the editable one.
        named = _named(head or options.editables[0], editable=bool(options.editables))
    places = [line.places[first + offset] for offset in range(len(words))]
    return replace(
        plain,
        named=named,
        declared=(places[span[0]], places[span[1] - 1] + 1) if span else None,
        options=(places[span[1] - 1] + 1, places[-1] + 1) if span else None,
        hashes=hashes,
        others=tuple(
            _without_hashes(given) if head else shlex.split(words[span[1] :]) if span else given
        ),
    )


_NO_OPTIONS = optparse.Values(dict.fromkeys(_ASKED))


def _read_options(given: list[str]) -> optparse.Values:
    if not given:
        return _NO_OPTIONS
    try:
        return _PARSER.parse_args(given, optparse.Values(dict.fromkeys(_ASKED)))[0]
    except _RefusedError:
        return _OLD_PARSER.parse_args(given, optparse.Values(dict.fromkeys(_ASKED)))[0]


def _split(words: str) -> tuple[str, str, int]:
    """Return the declaration and the options of a line, and the start of the options."""
    at = 0
    for word in words.split(" "):
        if word.startswith("-"):
            return words[:at].rstrip(), words[at:], at
        at += len(word) + 1
    return words, "", len(words)


def _without_hashes(words: list[str]) -> Iterator[str]:
    value = False
    for word in words:
        if value:
            value = False
        elif word == "--hash":
            value = True
        elif not word.startswith("--hash="):
            yield word


def _named(said: str, *, editable: bool) -> Named:
    """Return the name of what a declaration requires.

    It has no name if a variable of the environment may be a part of the name.
    """
    if not _VARIABLE.search(said):
        return _read_name(said, editable=editable)
    one, other = (_read_name(_VARIABLE.sub(value, said), editable=editable) for value in ("1", "2"))
    if (
        one.requirement is None
        or other.requirement is None
        or one.requirement.name != other.requirement.name
    ):
        return Named(
            problem=f"'{said}' has a variable of the environment where its name may be", open=True
        )
    return replace(one, open=True)


def _read_name(said: str, *, editable: bool) -> Named:
    if editable:
        requirement = requirement_of(said)
        if requirement is not None and requirement.url:
            return Named(requirement=requirement, bare=True)
        if _REPOSITORY.match(said) or said.lower().startswith("file:"):
            return _of_address(said, None)
        if _ADDRESS.match(said):
            return Named(
                problem=f"pip does not install '{said}' as editable", refused=True, bare=True
            )
        return _local(said)
    is_address = _ADDRESS.match(said) is not None
    what, _, condition = said.partition("; " if is_address else ";")
    what = what.strip()
    try:
        marker = Marker(condition.strip()) if condition.strip() else None
    except (InvalidMarker, RecursionError):
        return Named(problem=f"the marker of '{said}' cannot be read", refused=True)
    if is_address:
        return _of_address(what, marker)
    found = _EXTRAS_BEHIND.match(what)
    path = found[1] if found else what
    left, at, _ = what.partition("@")
    if _ARCHIVE.search(path) and not (at and not _is_path(left)):
        return _of_file(path, what, marker, extras=found[2] if found else None)
    requirement = requirement_of(what)
    if requirement is not None:
        requirement.marker = marker
        return Named(requirement=requirement)
    return (
        _local(what)
        if _is_path(what)
        else Named(problem=f"'{said}' is no requirement", refused=True)
    )


def _is_path(text: str) -> bool:
    return "/" in text or text.startswith(".")


def _local(said: str) -> Named:
    return Named(problem=f"'{said}' is a local project, whose name is in its own files", bare=True)


def _of_address(address: str, marker: Marker | None) -> Named:
    try:
        path = unquote(urlsplit(address).path).rstrip("/")
    except ValueError as error:
        return Named(problem=f"'{address}' is no address: {error}", refused=True, bare=True)
    egg = _EGG.search(address)
    if egg is not None and not path.endswith(".whl"):
        return _of_name(egg[1], address, marker)
    if not _ARCHIVE.search(path):
        return Named(problem=f"'{address}' does not say the name of what it gives", bare=True)
    return _of_file(path, address, marker)


def _of_file(path: str, said: str, marker: Marker | None, *, extras: str | None = None) -> Named:
    name = path.rpartition("/")[2]
    if name.endswith(".whl"):
        try:
            distribution, _, _, _ = parse_wheel_filename(name)
        except InvalidWheelFilename:
            return Named(problem=f"'{said}' has not the name of a wheel", refused=True, bare=True)
        return _of_name(f"{distribution}{extras or ''}", said, marker)
    return Named(problem=f"'{said}' is an archive, whose name is in its metadata", bare=True)


def _of_name(name: str, address: str, marker: Marker | None) -> Named:
    requirement = requirement_of(name)
    if requirement is None:
        return Named(
            problem=f"'{name}' in '{address}' is no name of a distribution", refused=True, bare=True
        )
    requirement.url = address
    requirement.marker = marker
    return Named(requirement=requirement, bare=True)
