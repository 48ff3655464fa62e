"""Indexes that misbehave, and archives that are not what they seem."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.server
import io
import os
import subprocess
import tarfile
import threading
import time
import zipfile
from typing import TYPE_CHECKING

from bench.faults.site import PATIENCE, Outcome, end_fault, fault_of, house_fault
from forkhouse.audit.look import AuditTerms, audit_wheel
from forkhouse.audit.policy import read_policy
from forkhouse.core.errors import ForkhouseError
from forkhouse.sources.archives import read_archive, read_tar, read_wheel

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bench.faults.site import Site
    from tests.flow.conftest import Checkout

SECONDS = 20
"""CPU time that reading one small archive may take."""
MISDEEDS = (
    *("status 403", "status 404", "status 429", "status 500", "status 503"),
    *(
        "no page",
        "half a page",
        "noise",
        "another's file",
        "half a file",
        "more than a file",
        "hangs up",
        "wrong length",
        "gzip bomb",
    ),
    *(
        "redirect to itself",
        "redirect to a file",
        "redirect away",
        "no hash",
        "wrong hash",
        "odd names",
    ),
)


def index(site: Site, folder: Path, chance: random.Random) -> Outcome:
    """Build from an index that misbehaves in some of its answers, then from an honest one."""
    checkout = site.copy(folder)
    misdeed, share = chance.choice(MISDEEDS), chance.choice((0.3, 1.0))
    with _serving(checkout, misdeed, share, chance) as address:
        variables = {
            **{
                name: value
                for name, value in checkout.environment().items()
                if not name.startswith("PIP_")
            },
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": address,
            "PIP_TRUSTED_HOST": "127.0.0.1",
            "PIP_RETRIES": "1",
        }
        ended = subprocess.run(
            checkout.command("build"),
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=PATIENCE,
        )
    fault = fault_of(ended) or house_fault(checkout) or end_fault(site, checkout)
    return Outcome(
        kind="hostile index",
        held=not fault,
        what=f"{misdeed} in {share:.0%} of the answers: {fault}",
    )


@contextlib.contextmanager
def _serving(
    checkout: Checkout, misdeed: str, share: float, chance: random.Random
) -> Iterator[str]:
    seed = chance.random()

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:  # the library's name
            evil = (
                int(hashlib.sha256(f"{seed}{self.path}".encode()).hexdigest(), 16) % 100
                < share * 100
            )
            with contextlib.suppress(OSError):
                _answer(self, checkout, misdeed if evil else "")

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/simple"
        finally:
            server.shutdown()


def _answer(handler: http.server.BaseHTTPRequestHandler, checkout: Checkout, misdeed: str) -> None:
    name = handler.path.strip("/").rpartition("/")[2]
    files = sorted(checkout.index.glob("*.whl"))
    page = not name.endswith(".whl")
    body = (
        _page(files, name, misdeed)
        if page
        else next((path.read_bytes() for path in files if path.name == name), b"")
    )
    length, status = len(body), 200 if body else 404
    headers = {"Content-Type": "text/html" if page else "application/octet-stream"}
    match misdeed.split():
        case ["status", number]:
            body, length, status = b"", 0, int(number)
        case ["redirect", *where]:
            status, body, length = 302, b"", 0
            target = {
                "to itself": handler.path,
                "to a file": "file:///etc/passwd",
                "away": "http://127.0.0.1:1/away",
            }
            headers["Location"] = target[" ".join(where)]
        case ["half", *_]:
            body = body[: len(body) // 2]
            length = len(body)
        case ["another's", "file"] if not page:
            body = files[0].read_bytes() + b"x"
            length = len(body)
        case ["more", *_] if not page:
            body += bytes(10_000_000)
            length = len(body)
        case ["wrong", "length"]:
            length += 1000
        case ["hangs", "up"]:
            handler.close_connection = True
            return
        case ["noise"]:
            body = hashlib.sha256(body).digest() * 50
            length = len(body)
        case ["no", "page"] if page:
            body, length = b"", 0
        case ["gzip", "bomb"]:
            body = gzip.compress(bytes(200_000_000), 9)
            length = len(body)
            headers["Content-Encoding"] = "gzip"
    handler.send_response(status)
    for key, value in headers.items():
        handler.send_header(key, value)
    handler.send_header("Content-Length", str(length))
    handler.end_headers()
    handler.wfile.write(body)


def _page(files: list[Path], name: str, misdeed: str) -> bytes:
    links = []
    for path in files:
        if path.name.split("-")[0].replace("_", "-") != name:
            continue
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        fragment = {"no hash": "", "wrong hash": f"#sha256={'0' * 64}"}.get(
            misdeed, f"#sha256={digest}"
        )
        said = "../../x/" + path.name if misdeed == "odd names" else path.name
        links.append(f'<a href="/files/{path.name}{fragment}">{said}</a>')
    return f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode()


def archive(_site: Site, folder: Path, chance: random.Random) -> Outcome:
    """Read an archive that was spoilt, or made to take more than it should.

    It is read, or refused with a reason, and soon.
    """
    folder.mkdir(parents=True, exist_ok=True)
    form = chance.choice(tuple(_FORMS))
    name, make, read = _FORMS[form]
    content = bytearray(make(chance))
    for _ in range(chance.choice((0, 1, 1, 4, 30))):
        content[chance.randrange(len(content))] = chance.randrange(256)
    if chance.random() < 0.2:
        del content[chance.randrange(len(content)) :]
    path = folder / name
    path.write_bytes(content)
    started = time.process_time()
    fault = ""
    try:
        read(path)
    except ForkhouseError:
        pass
    except Exception as error:  # what comes out here is what is looked for
        fault = repr(error)[:300]
    taken = time.process_time() - started
    fault = fault or (f"{taken:.0f} s" if taken > SECONDS else "")
    return Outcome(
        kind=f"hostile archive: {form}",
        held=not fault,
        what=f"{form} of {len(content)} bytes: {fault}",
    )


def _members(chance: random.Random) -> dict[str, bytes]:
    """Return what is in an archive: small files, with one that is odd."""
    odd = chance.choice(
        (
            "../x",
            "/x",
            "a/../../x",
            "a" * 5000,
            "a\x00b",
            "\udcff",
            "demo-1.0/a",
            "demo-1.0/a/b",
            "CON",
            "",
        )
    )
    big = bytes(chance.choice((0, 10, 50_000_000)))
    return {
        "demo-1.0/a": b"a",
        "demo-1.0/big": big,
        **({odd: b"odd"} if chance.random() < 0.5 else {}),
    }


def _tar(chance: random.Random, mode: str) -> bytes:
    stream = io.BytesIO()
    # Chosen by name.
    with tarfile.open(fileobj=stream, mode=mode) as made:  # type: ignore[call-overload]
        for name, content in _members(chance).items():
            info = tarfile.TarInfo(name or "x")
            info.size = len(content)
            info.type = chance.choice(
                (tarfile.REGTYPE,) * 6
                + (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE)
            )
            info.linkname = chance.choice(("a", "../../../etc/passwd", "/etc/passwd", ""))
            info.size = len(content) if info.isreg() else 0
            made.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def _zip(chance: random.Random) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in _members(chance).items():
            with contextlib.suppress(UnicodeEncodeError, ValueError):
                made.writestr(zipfile.ZipInfo(name or "x"), content)
        if chance.random() < 0.7:
            made.writestr(
                "demo-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n"
            )
            made.writestr(
                "demo-1.0.dist-info/WHEEL",
                "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            )
            made.writestr("demo-1.0.dist-info/RECORD", "")
    return stream.getvalue()


def _audited(path: Path) -> None:
    terms = AuditTerms(
        policy=read_policy("cpu"), targets=("gfx90a",), build_paths=(), excused=frozenset()
    )
    audit_wheel(path, terms, ours=False)


_WHEEL = "demo-1.0-py3-none-any.whl"
_FORMS: dict[str, tuple[str, Callable[[random.Random], bytes], Callable[[Path], object]]] = {
    "tar": ("demo-1.0.tar", lambda chance: _tar(chance, "w"), read_tar),
    "tar.gz": ("demo-1.0.tar.gz", lambda chance: _tar(chance, "w:gz"), read_tar),
    "tar.xz": ("demo-1.0.tar.xz", lambda chance: _tar(chance, "w:xz"), read_tar),
    "tar.bz2": ("demo-1.0.tar.bz2", lambda chance: _tar(chance, "w:bz2"), read_archive),
    "zip": ("demo-1.0.zip", _zip, read_archive),
    "wheel": (_WHEEL, _zip, read_wheel),
    "audited wheel": (_WHEEL, _zip, _audited),
}
