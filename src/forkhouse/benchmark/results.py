"""What a measurement of serving is, and its JSON form.

A file is strict in both directions: it is written once the last round is over, and a reader refuses
what it does not know.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal

from pydantic import Field, JsonValue, ValidationError, model_validator

from forkhouse.core.errors import DocumentError
from forkhouse.core.storage import write_atomic
from forkhouse.documents.reading import Document

if TYPE_CHECKING:
    from pathlib import Path

FORMAT: Literal[2] = 2
"""Version of the file's own format."""

ServingLayout = Literal["aggregated", "disaggregated", "endpoint"]
"""Whether one engine computes both prompts and answers, or separate engines do.

A foreign endpoint does not say: it is `endpoint`.
"""


class Load(Document):
    """The shape of the load. Two measurements can be compared when theirs is the same."""

    prefix_tokens: int = Field(ge=0)
    """Tokens at the beginning of every prompt of a round that are the same.

    What a prefix cache can save.
    """
    prompt_tokens: int = Field(gt=0)
    """Further tokens of each prompt, its own."""
    output_tokens: int = Field(gt=0)
    """Tokens that are asked for."""
    requests_per_slot: int = Field(gt=0)
    """Requests of a round, for each request that is in flight at a time."""
    ignore_eos: bool = True
    """Whether the server was told to go on after the model's end token, so that each answer has the
    same length."""

    def requests(self, concurrency: int) -> int:
        """Return the number of measured requests of a round with so many in flight."""
        return self.requests_per_slot * concurrency

    def warmup(self, concurrency: int) -> int:
        """Return the number of requests that are sent, and not measured, before a round.

        One a slot, and the shared prefix is cached.
        """
        return concurrency


class Request(Document):
    """What one request took, as the client saw it. Token counts are the server's."""

    first_token_ms: float = Field(ge=0)
    """From sending the request to the first token of the answer."""
    between_tokens_ms: float | None = Field(ge=0)
    """From the first token to the last, for each token after the first.

    None when there was only one.
    """
    longest_gap_ms: float | None = Field(ge=0)
    """Longest time between two pieces of the answer; a piece may hold several tokens."""
    latency_ms: float = Field(ge=0)
    """From sending the request to the end of its answer."""
    input_tokens: int = Field(ge=0)
    cached_tokens: int | None = Field(ge=0)
    """Input tokens that the server found in its prefix cache; None when it does not say."""
    output_tokens: int = Field(gt=0)


class TransferCounts(Document):
    """KV transfers of one round, with its warm-up.

    vLLM's NIXL connector counts them on the workers that pull.
    """

    count: int = Field(ge=0)
    size: int = Field(ge=0)
    """Bytes."""
    seconds: float = Field(ge=0)
    """Time from posting each transfer until it was seen to be complete, added up.

    Transfers that overlap count each for itself.
    """
    post_seconds: float = Field(ge=0)
    """The part of it that posting took."""
    descriptors: int = Field(ge=0)
    """Pieces of memory."""
    failed: int = Field(ge=0)


class Round(Document):
    """One run of the load generator."""

    seed: int
    """Of the prompts.

    No two rounds of a measurement share one, or a prefix cache would know their prompts: and two of
    an endpoint hardly.
    """
    seconds: float = Field(gt=0)
    """From the first request to the end of the last answer."""
    requests: tuple[Request, ...] = Field(min_length=1)
    transfers: TransferCounts | None
    """None where nothing was transferred, or no address of metrics was given."""


class Case(Document):
    """The rounds of one arrangement at one concurrency."""

    layout: ServingLayout
    prefix_caching: bool | None
    """None where an endpoint was measured and nobody said."""
    concurrency: int = Field(gt=0)
    """Requests in flight at a time."""
    rounds: tuple[Round, ...] = Field(min_length=1)

    @property
    def series(self) -> tuple[ServingLayout, bool | None]:
        """What the case is apart from its concurrency."""
        return self.layout, self.prefix_caching


class MeasuredGpu(Document):
    """A GPU as its driver names it."""

    vendor: Literal["AMD", "NVIDIA"]
    name: str
    target: str | None = None
    """What compilers call it, such as gfx90a."""


class Machine(Document):
    """The machine on which both the endpoint and the load generator ran."""

    processor: str | None
    cores: int
    """Cores that this process could use."""
    memory_bytes: int
    system: str | None
    kernel: str
    gpus: tuple[MeasuredGpu, ...]
    """GPUs that a kernel driver lists, whether or not they were used."""
    amdgpu_driver: str | None
    """Version of AMD's own driver package; the kernel's has none."""
    nvidia_driver: str | None
    rocm: str | None


class MeasuredWheel(Document):
    """A wheel of ours in the measured stack: the upstream's pin, and what was done to it."""

    name: str
    version: str
    sha256: str
    upstream: str
    source: JsonValue
    """The pin, as the lock has it."""
    tree: str
    patched_tree: str
    patches: tuple[str, ...]


class MeasuredStack(Document):
    """The stack that was started for the measurement."""

    python: str
    """Version."""
    worker_arguments: tuple[str, ...]
    """Arguments of every vLLM worker, but for its model, its role and its prefix cache.

    Of those that are given twice the last counts.
    """
    worker_environment: dict[str, str]
    """Variables that decide how the workers compute."""
    wheels: tuple[MeasuredWheel, ...] | None
    """From the wheelhouse's manifest; None when the stack does not hold just these wheels."""
    installed: dict[str, str]
    """Version of every distribution by its name."""


class Environment(Document):
    """The environment of a measurement; None for what could not be found out."""

    forkhouse: str
    generator: str
    """Name and version of the load generator."""
    endpoint: str
    model: str
    """The name under which the endpoint serves it."""
    tokenizer_sha256: str
    """Of `tokenizer.json`."""
    device: str | None
    """Where the engines computed.

    The device that the stack was started on, or what the caller said of the endpoint.
    """
    machine: Machine | None
    """None when the endpoint is not on this machine."""
    server_version: str | None
    """What the endpoint answers when asked for its version."""
    stack: MeasuredStack | None
    """None when the endpoint was there before."""

    @property
    def on_cpu(self) -> bool:
        """Whether the engines computed on a CPU: it was said, or the machine has no GPU."""
        if self.device is None:
            return self.machine is not None and not self.machine.gpus
        return "cpu" in self.device.casefold().split()


class Measurement(Document):
    """The whole of the JSON file."""

    kind: Literal["serving-benchmark"] = "serving-benchmark"
    format: Literal[2] = FORMAT
    begun: str
    """Time by ISO 8601."""
    environment: Environment
    load: Load
    cases: tuple[Case, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _distinct(self) -> Measurement:
        places = [(case.series, case.concurrency) for case in self.cases]
        if len(set(places)) != len(places):
            message = "a case is given twice"
            raise ValueError(message)
        seeds = [each.seed for case in self.cases for each in case.rounds]
        if len(set(seeds)) != len(seeds):
            message = "two rounds have the same seed"
            raise ValueError(message)
        return self


def write(measurement: Measurement, path: Path) -> None:
    """Write a measurement as JSON, whole or not at all. Raises StorageError."""
    write_atomic(path, measurement.model_dump_json(by_alias=True, indent=1).encode() + b"\n")


def read(path: Path) -> Measurement:
    """Read a measurement.

    Raises DocumentError when the file is no measurement, is of another format, or is damaged.
    """
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        message = (
            f"{path}: not a measurement of serving: {error}. `forkhouse bench run` writes one."
        )
        raise DocumentError(message) from error
    kind, version = (
        (values.get("kind"), values.get("format")) if isinstance(values, dict) else (None, None)
    )
    if kind != "serving-benchmark":
        message = (
            f"{path}: not a measurement of serving (its kind is {kind!r}). `forkhouse bench run` "
            "writes one."
        )
        raise DocumentError(message)
    if version != FORMAT:
        message = (
            f"{path}: format {version!r}, and this Forkhouse reads format {FORMAT}. Measure again, "
            "or compare with the Forkhouse that wrote it."
        )
        raise DocumentError(message)
    try:
        return Measurement.model_validate_json(text)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        lines = [
            f"{path}: {'.'.join(map(str, problem['loc'])) or '(document)'}: {problem['msg']}"
            for problem in problems
        ]
        message = "\n".join([*lines, "The file is damaged; nothing was read from it."])
        raise DocumentError(message) from error
