"""Images in chat completions.

Decoded by Dynamo's front end, and read from its memory by a worker, through NIXL and UCX.

The worker is scripts/image_worker.py. The pixels lie in the host's memory on both sides, whatever
the device.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
import re
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from forkhouse.core.errors import ServingError
from forkhouse.serving.client import HTTP_OK, chat, fetch
from forkhouse.serving.processes import LOCALHOST, Server, wait_until
from forkhouse.serving.stack import HERE, MODEL_NAME, FrontendPlan, Setting, started_stack
from tests.integration.listing import lists_model

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

pytestmark = [pytest.mark.integration, pytest.mark.extended, pytest.mark.timeout(600)]

WORKER = Path(__file__).with_name("scripts") / "image_worker.py"
LIBRARY = "libnixl_capi.so"
NO_LIBRARY = "NIXL is not supported in stub mode"
START_SECONDS = 120.0
ANSWER_TOKENS = 1024
TCP = "tcp,self"
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
"""PNG's numbers for channels: grey, grey with alpha, RGB, RGB with alpha."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """A PNG of random pixels, so that nothing on the way makes them fewer."""

    width: int
    height: int
    channels: int = 3

    @property
    def pixels(self) -> bytes:
        """Its pixels, row by row, a byte for each channel."""
        return random.Random(repr(self)).randbytes(self.width * self.height * self.channels)

    @property
    def shown(self) -> bytes:
        """What a worker is given: Dynamo drops the alpha behind three colours."""
        pixels = self.pixels
        return (
            b"".join(pixels[at : at + 3] for at in range(0, len(pixels), 4))
            if self.channels == 4
            else pixels
        )

    @property
    def shape(self) -> list[int]:
        """Of what is shown."""
        return [self.height, self.width, min(self.channels, 3)]

    @property
    def url(self) -> str:
        """The PNG as a data: URL."""
        header = struct.pack(
            ">IIBBBBB", self.width, self.height, 8, COLOUR_TYPES[self.channels], 0, 0, 0
        )
        row, pixels = self.width * self.channels, self.pixels
        rows = b"".join(b"\0" + pixels[at : at + row] for at in range(0, len(pixels), row))
        chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b""))
        return _url(
            b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, content) for name, content in chunks)
        )


def _chunk(name: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )


def _url(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


ODD, LARGE = Picture(width=333, height=217), Picture(width=1600, height=1200)
PICTURES = {
    "pixel": Picture(width=1, height=1),
    "line": Picture(width=1, height=4099),
    "odd": ODD,
    "grey": Picture(width=65, height=48, channels=1),
    "grey, alpha": Picture(width=65, height=48, channels=2),
    "alpha": Picture(width=65, height=48, channels=4),
    "large": LARGE,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Viewing:
    """A front end and the worker that looks at images."""

    port: int
    frontend: Server
    worker: Server
    transports: str
    """Of UCX in the worker."""
    seen: Path

    def ask(self, *urls: str) -> tuple[int, str]:
        """Return the status of a request about images, and the answer, or what was said in its
        place.
        """
        images = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
        message = {"role": "user", "content": [{"type": "text", "text": "What is this?"}, *images]}
        body = {"model": MODEL_NAME, "messages": [message], "max_tokens": ANSWER_TOKENS}
        status, text = fetch(self.port, "/v1/chat/completions", body=body, wait=120)
        return status, json.loads(text)["choices"][0]["message"][
            "content"
        ] if status == HTTP_OK else text

    def images(self) -> list[dict[str, Any]]:
        """Return what the worker noted of each image that it has read."""
        listing = self.seen / "images.jsonl"
        return (
            [json.loads(line) for line in listing.read_text(encoding="utf-8").splitlines()]
            if listing.exists()
            else []
        )

    def look(self, *pictures: Picture) -> list[dict[str, Any]]:
        """Show pictures in one request, compare what was read with them, and return what the worker
        noted of each.
        """
        return self.compare(pictures, *self.ask(*(picture.url for picture in pictures)))

    def compare(
        self, pictures: Iterable[Picture], status: int, answer: str
    ) -> list[dict[str, Any]]:
        """Compare what an answer is about with the pictures that were shown, and return what the
        worker noted of each.
        """
        assert status == HTTP_OK, answer
        pictures = tuple(pictures)
        noted = {image["word"]: image for image in self.images()}
        looked = [noted[word] for word in answer.split()]
        assert len(looked) == len(pictures)
        for picture, image in zip(pictures, looked, strict=True):
            assert (image["shape"], image["type"]) == (picture.shape, "uint8")
            assert difference((self.seen / image["file"]).read_bytes(), picture.shown) is None, (
                picture
            )
        return looked

    def answers(self) -> bool:
        """Say whether a request without an image is answered."""
        with contextlib.suppress(ServingError):
            return chat(self.port, MODEL_NAME, "ready?", tokens=ANSWER_TOKENS).text == "none"
        return False

    def wait(self) -> None:
        """Wait until the model is listed and answers.

        Raises ServingError when a process ends, or when it takes too long.
        """
        servers = (self.frontend, self.worker)
        wait_until(
            lambda: lists_model(self.port, MODEL_NAME),
            what="the model to be listed",
            servers=servers,
            wait=START_SECONDS,
        )
        wait_until(self.answers, what="a first answer", servers=servers, wait=START_SECONDS)


def difference(arrived: bytes, sent: bytes) -> str | None:
    """Say where pixels differ.

    None when they are the same. pytest's own comparison takes minutes for millions of them.
    """
    if arrived == sent:
        return None
    if len(arrived) != len(sent):
        return f"{len(arrived)} bytes arrived, and {len(sent)} were sent"
    at = next(at for at, pair in enumerate(zip(arrived, sent, strict=True)) if pair[0] != pair[1])
    return f"byte {at} of {len(sent)} is {arrived[at]}, not {sent[at]}"


@pytest.fixture(scope="module")
def library(stack_python: Path) -> Path:
    """NIXL for programs in C, which Dynamo's front end opens by name."""
    found = sorted(stack_python.parent.parent.glob(f"lib/python3.*/site-packages/*/{LIBRARY}"))
    assert len(found) == 1, f"{LIBRARY} of one NIXL build is wanted beside {stack_python}: {found}"
    return found[0]


@contextlib.contextmanager
def started_viewing(
    setting: Setting, library: Path | None, *, worker: str | None = None
) -> Iterator[Viewing]:
    """Start a front end that finds `library` or none, and a worker that may use the transports
    `worker`; end both afterwards.
    """
    device = setting.device
    transports = worker or device.transports
    environment = {
        **{
            name: os.environ[name]
            for name in device.carried
            if name in os.environ and name != "LD_LIBRARY_PATH"
        },
        "OMP_NUM_THREADS": "1",
        "UCX_TLS": device.transports,
        "UCX_NET_DEVICES": "lo",  # UCX listens on every device that it uses
        "UCX_MODULES": "^ib",  # see alone.py
    }
    carried = (
        [os.environ["LD_LIBRARY_PATH"]]
        if "LD_LIBRARY_PATH" in device.carried and "LD_LIBRARY_PATH" in os.environ
        else []
    )
    found = {"LD_LIBRARY_PATH": ":".join([str(library.parent), *carried])} if library else {}
    seen = setting.scratch / "seen"
    seen.mkdir(parents=True)
    with started_stack(setting, (), FrontendPlan(environment={**environment, **found})) as stack:
        server = Server.start(
            "image worker",
            (str(setting.python), str(WORKER), str(setting.model), MODEL_NAME, str(seen)),
            log=setting.scratch / "worker.log",
            environment={
                **stack.setting.environment(HERE),
                **environment,
                **({"LD_LIBRARY_PATH": carried[0]} if carried else {}),
                "UCX_TLS": transports,
                "UCX_PROTO_INFO": "y",
            },
            folder=setting.scratch,
        )
        with server:
            yield Viewing(
                port=stack.port,
                frontend=stack.frontend,
                worker=server,
                transports=transports,
                seen=seen,
            )


@pytest.fixture(scope="module", params=["all", "tcp"])
def viewing(request: pytest.FixtureRequest, setting: Setting, library: Path) -> Iterator[Viewing]:
    """With the device's transports, of which UCX takes one for a single machine.

    And with TCP alone, as between two.
    """
    device = replace(setting.device, transports=TCP) if request.param == "tcp" else setting.device
    with started_viewing(
        replace(setting, device=device, scratch=setting.scratch / request.param), library
    ) as started:
        started.wait()
        yield started


@pytest.mark.parametrize("name", PICTURES)
def test_every_pixel_arrives(viewing: Viewing, name: str) -> None:
    picture = PICTURES[name]
    (image,) = viewing.look(picture)
    # The request that came by TCP says where the pixels lie, and has none of them.
    offered = image["offered"]["nixl_descriptor"]
    assert (offered["mem_type"], offered["size"]) == ("Dram", len(picture.pixels))
    assert image["request_bytes"] < 4096


def test_pictures_in_turn_and_together_are_not_confused(viewing: Viewing) -> None:
    other = Picture(width=ODD.height, height=ODD.width)
    for picture in (ODD, other, ODD, other):
        viewing.look(picture)
    viewing.look(other, LARGE, ODD)
    viewing.look(ODD, other)


def test_requests_at_the_same_time_get_their_own_pictures(viewing: Viewing) -> None:
    pictures = [Picture(width=200 + number, height=100) for number in range(12)]
    with ThreadPoolExecutor(max_workers=4) as pool:
        answers = list(pool.map(viewing.ask, [picture.url for picture in pictures]))
    for picture, (status, answer) in zip(pictures, answers, strict=True):
        viewing.compare([picture], status, answer)


def test_what_is_no_image_is_refused_and_the_next_is_read(viewing: Viewing) -> None:
    before = len(viewing.images())
    for url in (_url(b"not a PNG"), ODD.url[:-4000]):
        status, text = viewing.ask(url)
        assert status == 400
        assert "it is not a valid or supported image" in text
    assert len(viewing.images()) == before
    viewing.look(ODD)


def test_the_front_end_has_loaded_the_stacks_library(viewing: Viewing, library: Path) -> None:
    loaded = {
        Path(each.path) for each in psutil.Process(viewing.frontend.process.pid).memory_maps()
    }
    assert library.resolve() in loaded
    assert "libplugin_UCX.so" in {path.name for path in loaded}


def test_ucx_says_how_it_reads(viewing: Viewing) -> None:
    viewing.look(ODD)
    log = viewing.worker.log.read_text(encoding="utf-8", errors="replace")
    if "remote memory" not in log:
        pytest.skip("this UCX does not tell how it transfers")
    # The row below the title and the heads of the columns: sizes, how, and by what.
    used = re.findall(r"remote memory read by ucp_get.*(?:\n.*){4}\|.*\|.*\| (\S+)", log)
    assert used
    if viewing.transports == TCP:
        assert set(used) == {"tcp/lo"}


def test_nobody_else_is_served(viewing: Viewing) -> None:
    viewing.look(ODD)
    for server in (viewing.frontend, viewing.worker):
        processes = [psutil.Process(server.process.pid), *server.descendants()]
        listening = [
            each
            for process in processes
            for each in process.net_connections("inet")
            if each.status == psutil.CONN_LISTEN
        ]
        assert {each.laddr.ip for each in listening} == {LOCALHOST}


def test_without_the_library_no_model_is_listed(setting: Setting, tmp_path: Path) -> None:
    with started_viewing(replace(setting, scratch=tmp_path), None) as viewing:

        def refusals() -> int:
            return viewing.frontend.log.read_text(encoding="utf-8", errors="replace").count(
                NO_LIBRARY
            )

        servers = (viewing.frontend, viewing.worker)
        wait_until(
            lambda: refusals() > 1,
            what="two attempts without NIXL",
            servers=servers,
            wait=START_SECONDS,
        )
        assert not lists_model(viewing.port, MODEL_NAME)
        status, _ = viewing.ask(ODD.url)
        assert status == 404
        assert viewing.images() == []


def test_without_a_transport_between_them_no_pixel_arrives(
    setting: Setting, library: Path, tmp_path: Path
) -> None:
    """Or the pixels would come by another way than UCX.

    That model's answers to text come as ever.
    """
    with started_viewing(replace(setting, scratch=tmp_path), library, worker="self") as viewing:
        viewing.wait()
        status, text = viewing.ask(ODD.url)
        assert status == 500, text
        assert "NIXL_ERR_BACKEND" in viewing.worker.log.read_text(
            encoding="utf-8", errors="replace"
        )
        assert viewing.images() == []
        assert viewing.answers()


def test_both_end_well(setting: Setting, library: Path, tmp_path: Path) -> None:
    with started_viewing(replace(setting, scratch=tmp_path), library) as viewing:
        viewing.wait()
        viewing.look(ODD)
    assert (viewing.frontend.process.returncode, viewing.worker.process.returncode) == (0, 0)


def test_one_wrong_byte_is_told() -> None:
    sent = LARGE.shown
    arrived = bytearray(sent)
    arrived[-1] ^= 1
    assert (
        difference(bytes(arrived), sent)
        == f"byte {len(sent) - 1} of {len(sent)} is {arrived[-1]}, not {sent[-1]}"
    )
    assert (
        difference(sent[:-1], sent) == f"{len(sent) - 1} bytes arrived, and {len(sent)} were sent"
    )
