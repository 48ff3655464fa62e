"""Random requirements files and changes of them, judged by pip's own reader, which the engine does
not use.
"""

from __future__ import annotations

import logging
import os
import random
import re
import sys
import tomllib
from collections import Counter
from dataclasses import dataclass
from email.parser import BytesParser
from email.policy import compat32
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pip._internal.exceptions import PipError
from pip._internal.network.session import PipSession
from pip._internal.req.constructors import install_req_from_parsed_requirement
from pip._internal.req.req_file import parse_requirements

from forkhouse.core.errors import PatchConflictError
from forkhouse.documents.reading import parse
from forkhouse.patches.asked import asked
from forkhouse.patches.edits import EntryPointsEdit, RequirementsEdit, StructuralEdit
from forkhouse.patches.operations import apply_edit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from forkhouse.patches.edits import FileEdit

HEADER = "Subject: s\nDescription: d\nOrigin: o\nForwarded: no\nRetire-When: never\n"
FILES = int(os.environ.get("FORKHOUSE_FUZZ", "300"))
"""Files to try; `FORKHOUSE_FUZZ=20000` is the long run."""


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> Iterator[None]:
    """Keep pip from telling the log what it does not take."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@dataclass(frozen=True)
class Seen:
    """What pip reads in one declaration."""

    name: str | None
    version: str
    address: str
    extras: tuple[str, ...]
    marker: str
    hashes: tuple[str, ...]
    editable: bool
    settings: str
    constraint: bool


def read_by_pip(path: Path, session: PipSession) -> list[Seen]:
    """Read a file by pip. Raises PipError."""
    found = []
    for parsed in parse_requirements(str(path), session):
        install = install_req_from_parsed_requirement(parsed)
        options: dict[str, Any] = parsed.options or {}
        found.append(
            Seen(
                name=canonicalize_name(install.name) if install.name else None,
                version=str(install.req.specifier) if install.req and not install.link else "",
                address=install.link.url if install.link else "",
                extras=tuple(sorted(install.extras)),
                marker=str(install.markers or ""),
                hashes=tuple(
                    sorted(
                        f"{kind}:{each}"
                        for kind, values in install.hash_options.items()
                        for each in values
                    )
                ),
                editable=install.editable,
                settings=str(options.get("config_settings", "")),
                constraint=parsed.constraint,
            )
        )
    return found


NAMES = ("torch", "Torch", "nixl_cu12", "nixl.cu12", "numpy", "a-b")
MARKERS = ("", "", "", "; python_version > '3'", " ; sys_platform == \"linux\" and extra != 'x'")
URL_MARKER = ' ; python_version > "3"'
JOINS = (" ", " ", "  ", " \\\n    ", " \\\n", "\t\\\n ")
COMMENTS = ("", "", "", "  # ID", " # ID \\\\", "\t#ID -r x")


def declaration(chance: random.Random) -> str:
    """Write what asks for a distribution, with the line breaks that pip allows."""
    name, join = chance.choice(NAMES), chance.choice(JOINS)
    extras = chance.choice(("", "", "[x]", "[x,y]"))
    options = "".join(
        join
        + chance.choice(
            (
                f"--hash=sha256:{chance.randrange(100):064d}",
                f"--hash sha512:{7:0128d}",
                "--config-settings=k=v",
            )
        )
        for _ in range(chance.choice((0, 0, 0, 1, 2)))
    )
    kinds = (
        f"{name}{extras}=={chance.randint(1, 3)}.0{chance.choice(MARKERS)}{options}",
        f"{name}{extras}=={chance.randint(1, 3)}.0{chance.choice(MARKERS)}{options}",
        f"{name}{extras}{chance.choice(('', join))}>={chance.randint(1, 3)}.0,<9"
        f"{chance.choice(MARKERS)}",
        f"{name}{extras}",
        f"{name}{extras} @ https://host.example/file.zip{chance.choice(('', URL_MARKER))}{options}",
        f"https://host.example/d/{name.replace('-', '_').replace('.', '_')}-1.0-py3-none-any.whl"
        f"{options}",
        f"./wheels/{name.replace('-', '_').replace('.', '_')}-1.0-py3-none-any.whl{extras}",
        f"git+https://host.example/repository.git@v1#egg={name}",
        f"{chance.choice(('-e ', '-e', '--editable=', '--editable '))}"
        f"git+https://host.example/repository.git#egg={name}",
        f"-e '{name} @ git+https://host.example/repository.git'",
        chance.choice(
            (
                "-e .",
                "./local",
                "git+https://host.example/repository.git",
                "https://host.example/file.tar.gz",
            )
        ),
    )
    return chance.choice(kinds)


def other_line(chance: random.Random) -> str:
    """Write a line that asks for nothing itself."""
    return chance.choice(
        (
            "",
            "   ",
            "# ID",
            "  # ID torch",
            "# ID torch \\",
            "--index-url https://host.example/simple",
            "-i https://host.example/torch --pre",
            "-r other.txt",
            "-rother.txt",
            "--requirement other.txt",
            "--requirement=other.txt  # ID",
            "-c constraints.txt",
            "--no-binary torch",
            "--find-links torch",
        )
    )


def written(chance: random.Random) -> str:
    newline = chance.choice(("\n", "\n", "\n", "\r\n"))
    lines = []
    for number in range(chance.randint(1, 7)):
        line = (
            declaration(chance) + chance.choice(COMMENTS)
            if chance.random() < 0.6
            else other_line(chance)
        )
        lines.append(line.replace("ID", f"c{number}c"))
    last = chance.choice((newline, newline, ""))
    return chance.choice(("", "", "", "\ufeff")) + "\n".join(lines).replace("\n", newline) + last


OPERATIONS = (
    "{remove: torch}",
    "{remove: nixl-cu12}",
    "{remove: 'nixl*'}",
    "{replace: torch, with: torch==7.0}",
    "{replace: numpy, with: 'numpy[z]>=7'}",
    "{replace: Torch, with: 'triton==1.0'}",
    "{replace: torch, with: torch, keep-version: true}",
    "{replace: nixl-cu12, with: 'nixl-cu12==7; python_version > \"3.9\"'}",
    "{replace: torch, with: torch==8, hashes: ['sha256:" + "ab" * 32 + "']}",
    "{add: new>=1}",
    "{add: new==1, hashes: ['sha256:" + "cd" * 32 + "']}",
)


@cache
def edit_of(operation: str) -> RequirementsEdit:
    operations = f"- requirement: {operation}\n        count: {{min: 1, max: 99}}\n"
    (edit,) = parse(
        StructuralEdit,
        (
            f"{HEADER}edits:\n  - path: r.txt\n    language: requirements\n    operations:\n      "
            f"{operations}"
        ),
        name="edit",
    ).edits
    assert isinstance(edit, RequirementsEdit)
    return edit


@cache
def group_edit() -> EntryPointsEdit:
    operations = "- remove: {group: g}\n"
    (edit,) = parse(
        StructuralEdit,
        (
            f"{HEADER}edits:\n  - path: e.txt\n    language: entry-points\n    operations:\n      "
            f"{operations}"
        ),
        name="edit",
    ).edits
    assert isinstance(edit, EntryPointsEdit)
    return edit


def expected(before: list[Seen], edit: RequirementsEdit) -> list[Seen | None]:
    """Say what pip has to read afterwards.

    A replaced declaration is given as pip reads the new one in a file of its own.
    """
    change = edit.operations[0].requirement
    gone = canonicalize_name(change.gone or "")
    return [
        None
        if not each.constraint
        and each.name
        and (each.name == gone or (gone.endswith("*") and each.name.startswith(gone[:-1])))
        else each
        for each in before
    ]


def applied(text: str, edit: FileEdit) -> tuple[str, str | None]:
    """Return the text with an edit applied, or as it is with the reason why not."""
    try:
        return apply_edit(text, edit), None
    except PatchConflictError as error:
        return text, str(error)


def test_random_changes_are_read_by_pip_as_they_are_meant(tmp_path: Path) -> None:
    chance = random.Random(20261128)
    session = PipSession()
    path = tmp_path / "r.txt"
    tmp_path.joinpath("other.txt").write_text("other==1\n", encoding="utf-8")
    tmp_path.joinpath("constraints.txt").write_text("torch<9\n", encoding="utf-8")
    outcomes: Counter[str] = Counter()
    for _ in range(FILES):
        text = written(chance)
        path.write_text(text, encoding="utf-8", newline="")
        try:
            before = read_by_pip(path, session)
        except PipError:
            outcomes["no file for pip"] += 1
            continue
        operation = chance.choice(OPERATIONS)
        edit = edit_of(operation)
        change = edit.operations[0].requirement
        meant = expected(before, edit)
        said = f"{operation} on {text!r}"
        after_text, error = applied(text, edit)
        if error is not None:
            none = change.add is None and None not in meant
            assert none == ("matched 0 times" in error), f"{error}: {said}"
            assert none or any(
                why in error
                for why in ("has hashes", "no version to keep", "what is there already")
            ), f"{error}: {said}"
            outcomes["nothing meant" if none else "refused"] += 1
            continue
        outcomes["applied"] += 1
        path.write_text(after_text, encoding="utf-8", newline="")
        after = read_by_pip(path, session)
        if change.add is not None:
            assert after[:-1] == before, said
            assert (after[-1].name, after[-1].hashes) == ("new", change.hashes), said
        elif change.remove is not None:
            assert after == [each for each in meant if each is not None], said
        else:
            assert len(after) == len(before), said
            for old, kept, new in zip(before, meant, after, strict=True):
                assert kept == new if kept is not None else is_replaced(old, new, operation), (
                    f"{new}: {said}"
                )
        # All other lines stay, comments among them, but for what goes on a line that goes.
        lines, left = (
            text.removeprefix("\ufeff").splitlines(),
            after_text.removeprefix("\ufeff").splitlines(),
        )
        for above, line in zip(["", *lines], lines, strict=False):
            if line.strip().startswith("#") or (
                line.startswith(("-i", "-r", "-c", "--re", "--no", "--find"))
                and not above.endswith("\\")
            ):
                assert line in left, f"{line}: {said}"
    sys.stdout.write(f"{dict(outcomes)}\n")
    assert outcomes["applied"] > FILES // 4


def is_replaced(old: Seen, new: Seen, operation: str) -> bool:
    if "keep-version" in operation:
        return (new.name, new.version, new.address, new.extras, new.marker, new.hashes) == (
            old.name, old.version, old.address, (), old.marker, old.hashes
        )  # fmt: skip
    wanted = {
        "torch==7.0": ("torch", "==7.0", ()),
        "numpy[z]>=7": ("numpy", ">=7", ("z",)),
        "triton==1.0": ("triton", "==1.0", ()),
        "nixl-cu12==7": ("nixl-cu12", "==7", ()),
        "torch==8": ("torch", "==8", ()),
    }
    (said,) = (value for key, value in wanted.items() if key in operation)
    marker = 'python_version > "3.9"' if "3.9" in operation else old.marker
    hashes = ("sha256:" + "ab" * 32,) if "hashes" in operation else ()
    settings = "" if old.editable else old.settings
    return (new.name, new.version, new.extras, new.marker, new.hashes, new.address, new.editable,
            new.settings) == (
        *said, marker, hashes, "", False, settings
    )  # fmt: skip


def test_a_condition_sees_what_pip_sees(tmp_path: Path) -> None:
    chance = random.Random(20261129)
    session = PipSession()
    path = tmp_path / "r.txt"
    pieces = ("torch==2.0", "torch", " \\\n", "\\\n", "\n", "\n", "\r\n", " # c", "#",
              "\n# torch\n", "-r other.txt", "-rother.txt", "-c constraints.txt",
              "--req=other.txt", "--index-url https://torch", "./torch",
              "-e git+https://h/r.git#egg=torch", "https://h/torch-1.0-py3-none-any.whl", " ",
              "git+https://h/r#egg=torch&x=y", "torch @ https://h/t.zip", ";python_version>'3'",
              " --hash=sha256:" + "a" * 64, "\x0c", "\u2028", "[x]",
              "numpy", "numpy==1\n", "'", "\t", "${HOME_OF_NOTHING}", "é", "-e .",
              "https://h/x.tar.gz")  # fmt: skip
    texts = {"other.txt": b"torch<3\n", "constraints.txt": b"torch<2\n"}
    for name, content in texts.items():
        tmp_path.joinpath(name).write_bytes(content)
    outcomes: Counter[str] = Counter()
    for _ in range(FILES * 2):
        encoding = chance.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-32", "latin-1"))
        text = "".join(chance.choice(pieces) for _ in range(chance.randint(1, 6)))
        text = f"# coding: latin-1\n{text}" if encoding == "latin-1" else text
        content = text.encode(encoding, errors="replace")
        path.write_bytes(content)
        found = asked("r.txt", "torch", {**texts, "r.txt": content}.get)
        try:
            names = [each.name for each in read_by_pip(path, session) if not each.constraint]
        except PipError:
            # What pip refuses may be named here, as by an older pip; it never passes for a file
            # without the distribution.
            names = ["torch"] if "torch" in text else [None]
            outcomes["refused by pip"] += 1
            continue
        outcomes["there" if "torch" in names else "unclear" if None in names else "absent"] += 1
        assert bool(found.where) is ("torch" in names), f"{found}: {text!r}"
        assert bool(found.where or found.unclear) is ("torch" in names or None in names), (
            f"{found}: {text!r}"
        )
    sys.stdout.write(f"{dict(outcomes)}\n")
    assert min(outcomes["there"], outcomes["absent"], outcomes["unclear"]) > FILES // 20


# The other forms are written from what they are to say, so that it is known without a reader.

Said = tuple[str, str, str]
"""The name, the version and the marker of a declaration."""


def item_of(said: Said) -> str:
    name, version, marker = said
    return f"{name}{version}{f'; {marker}' if marker else ''}"


def said_by(chance: random.Random) -> Said:
    return (
        chance.choice(NAMES),
        chance.choice(("", ">=1", "==2.0")),
        chance.choice(("", "", "python_version > '3'")),
    )


def left_of(items: list[Said], change: str) -> list[Said]:
    """Say what is left of declarations; the canonical names of torch and nixl-cu12 are meant."""
    wanted = {"remove": ("torch",), "replace": ("nixl-cu12",)}[change]
    left: list[Said] = []
    for name, version, marker in items:
        if canonicalize_name(name) not in wanted:
            left.append((name, version, marker))
        elif change == "replace":
            left.append(("rixl", ">=7", marker))
    return left


CHANGES = {"remove": "{remove: torch}", "replace": "{replace: nixl-cu12, with: rixl>=7}"}


def normal(items: list[str]) -> list[str]:
    return [str(Requirement(item)) for item in items]


def array_of(items: list[Said], chance: random.Random, newline: str) -> str:
    """Write an array in a random layout; comments on lines of their own stay whatever happens."""
    quoted = []
    for item in map(item_of, items):
        kinds = (
            [f'"{item}"', f'"""{item}"""']
            if "'" in item
            else [f'"{item}"', f"'{item}'", f"'''{item}'''"]
        )
        quoted.append(chance.choice(kinds))
    if chance.random() < 0.4:
        return (
            f"[{chance.choice(('', ' '))}{chance.choice((', ', ',', ' , ')).join(quoted)}"
            f"{chance.choice((',', '')) if quoted else ''}]"
        )
    lines = []
    for place, item in enumerate(quoted):
        if chance.random() < 0.3:
            lines.append(f"  # k{chance.randrange(1000)}k")
        comma = "," if place + 1 < len(quoted) or chance.random() < 0.7 else ""
        lines.append(f"  {item}{comma}{chance.choice(('', '', '  # on it'))}")
    return f"[{newline}{''.join(line + newline for line in lines)}]"


def test_random_projects_say_what_is_left() -> None:
    chance = random.Random(20261130)
    outcomes: Counter[str] = Counter()
    for _ in range(FILES):
        newline = chance.choice(("\n", "\r\n"))
        lists = [[said_by(chance) for _ in range(chance.randint(0, 5))] for _ in range(4)]
        main, extra, group, build = (array_of(items, chance, newline) for items in lists)
        parts = [
            chance.choice(
                (
                    (
                        f"[project]{newline}name = 'é'{newline}dependencies = {main} # "
                        f"end{newline}[project.optional-dependencies]{newline}x = {extra}{newline}"
                    ),
                    (
                        f"[ project ]{newline}dependencies={main}{newline}optional-dependencies.x "
                        "= "
                        f"{extra}{newline}"
                    ),
                )
            ),
            f"[dependency-groups]{newline}g = {group}{newline}",
            f"# b{newline}[build-system]{newline}requires = {build}",
        ]
        chance.shuffle(parts)
        text = newline.join(parts)
        change = chance.choice(list(CHANGES))
        after, error = applied(text, edit_of(CHANGES[change]))
        meant = any(left_of(items, change) != items for items in lists)
        assert (error is None) is meant, f"{error}: {change} of {text!r}"
        outcomes["applied" if meant else "nothing meant"] += 1
        read = tomllib.loads(after)
        found = [
            read["project"]["dependencies"],
            read["project"]["optional-dependencies"]["x"],
            read["dependency-groups"]["g"],
            read["build-system"]["requires"],
        ]
        assert [normal(items) for items in found] == [
            normal([item_of(each) for each in left_of(items, change)]) for items in lists
        ], text
        assert re.findall(r"# k\d+k", after) == re.findall(r"# k\d+k", text), text
        assert after.count("\n") == after.count("\r\n") or newline == "\n", text
        unchanged = [
            part
            for part, at in zip(parts, parts, strict=True)
            if not re.search("torch|nixl", at, re.IGNORECASE)
        ]
        assert all(part in after for part in unchanged), text
    sys.stdout.write(f"{dict(outcomes)}\n")


def test_random_metadata_says_what_is_left() -> None:
    chance = random.Random(20261201)
    for _ in range(FILES):
        newline = chance.choice(("\n", "\r\n"))
        items = [said_by(chance) for _ in range(chance.randint(0, 6))]
        fields = [
            f"Name: é{newline}",
            f"Metadata-Version: 2.1{newline}",
            f"Requires: torch{newline}",
            f"Summary: a{newline}  Requires-Dist: torch{newline}",
        ]
        chance.shuffle(fields)
        for item in map(item_of, items):
            folded = item.replace("; ", f";{newline}  ") if chance.random() < 0.4 else item
            fields.insert(
                chance.randint(0, len(fields)) if not items else len(fields),
                f"{chance.choice(('Requires-Dist', 'requires-dist', 'REQUIRES-DIST'))}:"
                f"{chance.choice((' ', '  ', chr(9)))}{folded}{newline}",
            )
        fields.append(f"Author: z{newline}")
        if not fields[0].startswith("Requires"):
            body = chance.choice(
                ("", newline, f"{newline}Requires-Dist: torch{newline}# é{newline}")
            )
            text = "".join(fields) + body
            change = chance.choice(list(CHANGES))
            after, error = applied(text, edit_of(CHANGES[change]))
            assert (error is None) is (left_of(items, change) != items), (
                f"{error}: {change} of {text!r}"
            )
            head = BytesParser(policy=compat32).parsebytes(after.encode(), headersonly=True)
            found = [" ".join(str(value).split()) for value in head.get_all("Requires-Dist", [])]
            assert normal(found) == normal([item_of(each) for each in left_of(items, change)]), text
            others = [field for field in fields if not field.lower().startswith("requires-dist")]
            assert all(field in after for field in others), text
            assert after.endswith(body), text


def test_random_entry_points_hold_what_is_left() -> None:
    chance = random.Random(20261202)
    for _ in range(FILES):
        newline = chance.choice(("\n", "\r\n"))
        groups = chance.sample(
            ["g", "console_scripts", "a.b", "G", "g.h", "pytest11"], chance.randint(1, 5)
        )
        blocks: list[tuple[str, str, str]] = []
        kept: list[tuple[str, str]] = []
        for group in groups:
            points = [
                f"{name} {chance.choice(('=', '  =  '))} m.{name}:f [x]"
                for name in chance.sample(["p", "q", "r s", "T"], chance.randint(0, 3))
            ]
            above = f"# on {group}{newline}" if blocks and chance.random() < 0.4 else ""
            gap = newline if chance.random() < 0.6 or above else ""
            blocks.append(
                (
                    group,
                    f"{above}[{group}]{newline}{''.join(point + newline for point in points)}",
                    gap,
                )
            )
            kept += (
                [] if group == "g" else [(group, point.split("=")[0].strip()) for point in points]
            )
        text = "".join(block + gap for _, block, gap in blocks)
        after, error = applied(text, group_edit())
        assert (error is None) is ("g" in groups), f"{error}: {text!r}"
        read, group = [], ""
        for line in after.splitlines():
            if line.startswith("["):
                group = line[1:-1]
            elif line and not line.startswith("#"):
                read.append((group, line.split("=")[0].strip()))
        assert read == kept, text
        assert all(block in after for group, block, _ in blocks if group != "g"), text
        assert "# on g\n" not in after.replace("\r", ""), text
