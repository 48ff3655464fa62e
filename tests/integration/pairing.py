"""A prefill and a decode worker that are unlike each other, and what becomes of requests to
them.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from forkhouse.core.errors import ServingError
from forkhouse.serving.launching import WorkerRole
from forkhouse.serving.processes import wait_until
from forkhouse.serving.stack import (
    BLOCK_TOKENS,
    MODEL_NAME,
    FrontendPlan,
    WorkerPlan,
    started_stack,
)
from tests.integration.engine import (
    ATTENTION,
    TRITON_ARGUMENTS,
    engine_environment,
    interpreted,
)
from tests.integration.listing import lists_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from forkhouse.serving.stack import Setting, Stack, Worker
    from tests.integration.conftest import Model

SAME, WRONG = "same answer", "**wrong answer**, and no error"
HEADS_FIRST, TOKENS_FIRST = "LBHNC", "LBNHC"


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One worker of a pair."""

    version: str = "0.31.0"
    backend: str | None = "FLASH_ATTN"
    triton: bool = False
    """Whether attention is vLLM's own Triton backend, interpreted, in place of `backend`."""
    layout: str | None = None
    block_tokens: int = BLOCK_TOKENS
    staging: bool = False
    transfer: dict[str, Any] = field(default_factory=dict)
    rixl: bool = False
    """Whether the only transfer package is one by the name of rixl."""
    elsewhere: bool = False
    """Whether the model lies in another folder."""
    other_weights: bool = False
    """Whether it is another model of the same shape."""
    kept: bool = False
    """Whether it has a prefix cache. Each prompt is asked twice then."""

    def __str__(self) -> str:
        """Return what distinguishes it, for the table."""
        plain = Side()
        told = {
            "version": self.version,
            "backend": self.backend or "vLLM's own on the CPU",
            "triton": "vLLM's own Triton attention",
            "layout": {HEADS_FIRST: "heads first", TOKENS_FIRST: "tokens first", None: ""}[
                self.layout
            ],
            "block_tokens": f"blocks of {self.block_tokens}",
            "staging": "staged in host memory",
            "transfer": ", ".join(self.transfer),
            "rixl": "rixl",
            "elsewhere": "its own folder",
            "other_weights": "other weights",
            "kept": "with a prefix cache",
        }
        return (
            ", ".join(told[name] for name in told if getattr(self, name) != getattr(plain, name))
            or "as it is"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Pairing:
    """Two sides, what becomes of a request without and with our patches, and what decides it."""

    name: str
    prefill: Side = Side()
    decode: Side = Side()
    upstream: str
    ours: str = SAME
    decides: str

    @property
    def sides(self) -> dict[WorkerRole, Side]:
        """The sides by their roles."""
        return {WorkerRole.PREFILL: self.prefill, WorkerRole.DECODE: self.decode}


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """Where the second model and the other transfer package lie, for sides that ask for them."""

    model: Path
    other_model: Path
    rixl: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """What became of pairings, in a document between two marks."""

    document: Path
    name: str
    pairings: tuple[Pairing, ...]

    def check(self, seen: Mapping[str, Sequence[str]], *, write: bool) -> None:
        """Compare it with what was seen without and with our patches, or write that."""
        begin = f"<!-- {self.name}: written by the tests -->\n"
        end = f"<!-- end of {self.name} -->\n"
        head, rest = self.document.read_text(encoding="utf-8").split(begin)
        old, tail = rest.split(end)
        new = "".join(self._rows(seen))
        if write:
            self.document.write_text(head + begin + new + end + tail, encoding="utf-8")
        else:
            assert old == new

    def _rows(self, seen: Mapping[str, Sequence[str]]) -> Iterator[str]:
        yield "| pairing | prefill | decode | upstream's vLLM | with our patches | what decides |\n"
        yield "|---|---|---|---|---|---|\n"
        for pairing in self.pairings:
            upstream, ours = seen[pairing.name]
            yield (
                f"| {pairing.name} | {pairing.prefill} | {pairing.decode} | {upstream} | {ours} | "
                f"{pairing.decides} |\n"
            )


_REASON = re.compile(
    r"(?:RuntimeError|AssertionError): (.+?)(?:\.(?:\s|$)| or vice versa|$)", re.MULTILINE
)


def outcomes(
    pairing: Pairing, setting: Setting, upstream: Path, model: Model, places: Places | None = None
) -> list[str]:
    """Serve with vLLM as it is in the folder `upstream`, then with ours; return what became of it.

    In the words of the table.
    """
    found = []
    for name, before in (("upstream", (upstream,)), ("ours", ())):
        scratch = setting.scratch / name
        scratch.mkdir()
        plans = [_plan(role, pairing, before, places) for role in pairing.sides]
        found.append(_outcome(replace(setting, scratch=scratch), plans, pairing, model))
    return found


def _plan(
    role: WorkerRole, pairing: Pairing, before: tuple[Path, ...], places: Places | None
) -> WorkerPlan:
    side, chosen = pairing.sides[role], None
    if side.rixl:
        assert places
        before = (*before, places.rixl)
    if side.elsewhere or side.other_weights:
        assert places
        chosen = places.model if side.elsewhere else places.other_model
    slow = any(each.triton for each in pairing.sides.values())
    return WorkerPlan(
        role=role,
        model=chosen,
        prefix_caching=side.kept,
        block_tokens=side.block_tokens,
        transfer=side.transfer,
        # Also of the other side: both have one type of numbers.
        arguments=TRITON_ARGUMENTS if slow else (),
        environment=engine_environment(
            before=before,
            version=side.version,
            backend=None if side.triton else side.backend,
            layout=side.layout,
            triton=side.triton,
            staging=side.staging,
            hidden=("nixl",) if side.rixl else (),
            transfer_package="rixl" if side.rixl else None,
        ),
    )


def _outcome(setting: Setting, plans: list[WorkerPlan], pairing: Pairing, model: Model) -> str:
    """Serve, ask, and return what became of it, in the words of the table."""
    with started_stack(setting, plans, FrontendPlan()) as stack:
        try:
            wait_until(
                lambda: lists_model(stack.port, MODEL_NAME),
                what="the model to be listed",
                servers=stack.servers,
                wait=300,
            )
        except ServingError:
            return f"does not start: {_reason(stack)}"
        answers = []
        kept = any(plan.prefix_caching for plan in plans)
        for prompt in (model.prompts[0], model.prompts[-1]) * (
            2 if kept else 1
        ):  # a long one and a short one
            try:
                answers.append(
                    (prompt.answer, first_answer(stack, prompt.text, model.answer_tokens))
                )
            except ServingError:
                return f"refused: {_reason(stack)}"
        moved = stack.worker(WorkerRole.DECODE).transfers()
        for role, side in pairing.sides.items():
            assert (ATTENTION[role] <= interpreted(log_of(stack.worker(role)))) == side.triton
    # An answer that the decode worker computed by itself would say nothing of the hand-off.
    assert (moved.count, moved.failed) == (len(answers), 0)
    return SAME if all(wanted == given for wanted, given in answers) else WRONG


def log_of(worker: Worker) -> str:
    """Return what a worker has written so far."""
    return worker.server.log.read_text(encoding="utf-8", errors="replace")


def first_answer(stack: Stack, text: str, tokens: int) -> str:
    """Return the answer, once the workers take requests: a model is listed a moment before.

    Raises ServingError for any other refusal.
    """
    answers: list[str] = []

    def answered() -> bool:
        try:
            answers.append(stack.chat(text, tokens=tokens).text)
        except ServingError as error:
            if "HTTP 503" not in str(error):
                raise
        return bool(answers)

    wait_until(answered, what="the workers to take requests", servers=stack.servers, wait=60)
    return answers[0]


def _reason(stack: Stack) -> str:
    """Return the first error of the worker that decodes, in its own words."""
    text = log_of(stack.worker(WorkerRole.DECODE))
    found = None
    with contextlib.suppress(StopIteration):
        found = next(_REASON.finditer(text))
    assert found, text[-3000:]
    return found[1]
