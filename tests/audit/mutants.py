"""Wheels that are wrong in one or two ways, drawn at random from a seed.

What an installer and the audit have to agree on.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.wheels import digest

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random


@dataclass(kw_only=True)
class Draft:
    """A wheel before it is packed; mutations change it."""

    file: str = "demo_pkg-1.0-py3-none-any.whl"
    info: str = "demo_pkg-1.0.dist-info"
    metadata: bytes | None = b"Metadata-Version: 2.1\nName: demo-pkg\nVersion: 1.0\n"
    wheel: bytes | None = (
        b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    files: list[tuple[str, bytes]] = field(
        default_factory=lambda: [
            ("demo_pkg/__init__.py", b"ANSWER = 42\n"),
            ("demo_pkg/data", bytes(3000)),
        ]
    )
    change_record: Callable[[bytes], bytes | None] = lambda record: record
    change_zip: Callable[[bytes], bytes] = lambda content: content

    def pack(self) -> bytes:
        """Return the bytes of the wheel."""
        described = {"METADATA": self.metadata, "WHEEL": self.wheel}
        members = [
            *self.files,
            *(
                (f"{self.info}/{name}", content)
                for name, content in described.items()
                if content is not None
            ),
        ]
        rows = [f'"{name}",sha256={digest(content)},{len(content)}\n' for name, content in members]
        record = self.change_record(
            "".join([*rows, f"{self.info}/RECORD,,\n"]).encode("utf-8", "replace")
        )
        if record is not None:
            members.append((f"{self.info}/RECORD", record))
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members:
                archive.writestr(
                    zipfile.ZipInfo(name, (2024, 5, 6, 7, 8, 10)), content, zipfile.ZIP_DEFLATED
                )
        return self.change_zip(packed.getvalue())


NAMES = ("demo-pkg", "Demo_Pkg", "demo.pkg", "DEMO--PKG", "demo", "other", "demo-pkg2", "")
VERSIONS = ("1.0", "1.0.0", "v1.0", "1.0+rocm.1", "1.1", "1", "1!1.0", "one", "")
WHEEL_VERSIONS = ("1.0", "1.9", "1", "1.0.1", "0.9", "2.0", "9", "", "x", "1.x", "-1.0")
PATHS = (
    "demo_pkg/more.py", "more/", "../x", "../../../x", "/etc/x", "a/../b", "a/../../b", "./x",
    "a//b", "a\\b", "demo_pkg/\n", "demo_pkg/data/x",
    "demo_pkg/__init__.py", "demo_pkg/" + "n" * 300, "é/ü.py", "C:/x",
    "demo_pkg-1.0.dist-info/more", "demo_pkg-1.0.dist-info/licenses/x",
)  # fmt: skip
DATA = (
    "demo_pkg-1.0.data/purelib/more.py", "demo_pkg-1.0.data/scripts/run",
    "demo_pkg-1.0.data/data/share/x", "demo_pkg-1.0.data/platlib/more.py",
    "demo_pkg-1.0.data/headers/x.h", "demo_pkg-1.0.data/nowhere/x", "demo_pkg-1.0.data/x",
    "demo_pkg-1.0.data/purelib/../../x",
    "other-1.0.data/purelib/more.py", "demo_pkg-1.0.data/purelib/demo_pkg/__init__.py",
    "demo_pkg-1.0.data/data/../../../x",
)  # fmt: skip
ENTRIES = (
    "[console_scripts]\nrun = demo_pkg:main\n", "[console_scripts]\nrun = demo_pkg\n",
    "[console_scripts]\n../run = demo_pkg:main\n",
    "[console_scripts]\na/b = demo_pkg:main\n", "[console_scripts]\nrun\n",
    "[gui_scripts]\nrun = demo_pkg.x:a.b [extra]\n",
    "[console_scripts]\nrun = demo_pkg:a:b\n", "[group]\nany = thing\n", "stray\n", "# nothing\n",
    "[console_scripts]\n/abs = demo_pkg:main\n",
    "[console_scripts]\nrun = demo-pkg:main\n", "[console_scripts]\n.. = demo_pkg:main\n",
    "[console_scripts]\nrun = demo_pkg:main [\n",
)  # fmt: skip
FIELDS = (
    "Requires-Dist: numpy>=1", "Requires-Dist: numpy >> 1", "Requires-Dist: numpy ; extra == 'x'",
    "Requires-Dist: ", "Requires-Python: >=3.8",
    "Requires-Python: >=99", "Requires-Python: new", "Provides-Extra: x", "Name: other",
    "Version: 2.0", "Licence: whatever", "Summary: é",
)  # fmt: skip
FOLDERS = (
    "demo_pkg-1.0.dist-info", "Demo.Pkg-1.0.dist-info", "demo-pkg-1.0.dist-info",
    "demo_pkg-1.0.0.dist-info", "demo_pkg-2.0.dist-info",
    "demo_pkg.dist-info", "other-1.0.dist-info", "demo_pkg2-1.0.dist-info", ".dist-info",
)  # fmt: skip
FILES = (
    "demo_pkg-1.0.0-py3-none-any.whl", "Demo.Pkg-1.0-py3-none-any.whl",
    "demo_pkg-1.0+local-py3-none-any.whl", "demo_pkg-1.0-1-py3-none-any.whl",
    "demo_pkg-2.0-py3-none-any.whl", "other-1.0-py3-none-any.whl",
    "demo_pkg-1.0-py2.py3-none-any.whl",
)  # fmt: skip


def mutate(draft: Draft, random: Random) -> str:
    """Change one thing of a draft and return what it was."""
    kind = random.choice(
        [
            "name",
            "version",
            "file",
            "info",
            "wheel",
            "path",
            "data",
            "record",
            "entries",
            "field",
            "gone",
            "text",
            "zip",
            "second",
        ]
    )
    match kind:
        case "name":
            draft.metadata = (draft.metadata or b"").replace(
                b"Name: demo-pkg", f"Name: {(chosen := random.choice(NAMES))}".encode()
            )
        case "version":
            draft.metadata = (draft.metadata or b"").replace(
                b"\nVersion: 1.0", f"\nVersion: {(chosen := random.choice(VERSIONS))}".encode()
            )
        case "file":
            chosen = draft.file = random.choice(FILES)
        case "info":
            chosen = draft.info = random.choice(FOLDERS)
        case "wheel":
            draft.wheel = (draft.wheel or b"").replace(
                b"Wheel-Version: 1.0",
                f"Wheel-Version: {(chosen := random.choice(WHEEL_VERSIONS))}".encode(),
            )
        case "path" | "data":
            draft.files.append(((chosen := random.choice(PATHS if kind == "path" else DATA)), b""))
        case "entries":
            draft.files.append(
                (f"{draft.info}/entry_points.txt", (chosen := random.choice(ENTRIES)).encode())
            )
        case "field":
            draft.metadata = (draft.metadata or b"") + (
                (chosen := random.choice(FIELDS)) + "\n"
            ).encode()
        case "record":
            chosen = random.choice(["gone", "blank", "quote", "bytes", "empty", "long"])
            draft.change_record = {
                "gone": lambda _: None,
                "blank": lambda record: record + b"\n",
                "quote": lambda record: record + b'"open,sha256=x,1\n',
                "bytes": lambda record: record + b"\xff,,\n",
                "empty": lambda _: b"",
                "long": lambda record: record + b"x," + b"y" * 200_000 + b",1\n",
            }[chosen]
        case "gone":
            chosen = random.choice(["METADATA", "WHEEL"])
            setattr(draft, chosen.lower(), None)
        case "text":
            chosen = random.choice(["metadata", "wheel"])
            setattr(draft, chosen, (getattr(draft, chosen) or b"") + b"X: \xff\n")
        case "second":
            chosen = random.choice(
                [
                    "other-1.0.dist-info/METADATA",
                    "other.dist-info",
                    "demo_pkg-1.0.egg-info/x",
                    "x/other-1.0.dist-info/METADATA",
                ]
            )
            draft.files.append((chosen, b"Name: other\n"))
        case _:
            place, chosen = random.random(), random.choice(["cut", "byte", "head", "tail"])
            draft.change_zip = lambda content: damaged(content, chosen, int(place * len(content)))
    return f"{kind}: {chosen}"


def damaged(content: bytes, how: str, place: int) -> bytes:
    if how == "cut":
        return content[:place]
    if how == "tail":
        return content + b"more"
    if how == "head":
        return b"\0" * 7 + content
    return content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :]
