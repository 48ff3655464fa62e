"""Measure an existing endpoint, or the stack in each of its arrangements.

The stack is started here, in one arrangement after the other.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forkhouse.benchmark import endpoint, environment
from forkhouse.benchmark.generator import install
from forkhouse.benchmark.load import Target, measure_round
from forkhouse.benchmark.results import Case, Measurement
from forkhouse.core.errors import UsageError
from forkhouse.core.progress import report
from forkhouse.core.storage import fresh_folder, locked
from forkhouse.serving.device import require_gpu
from forkhouse.serving.launching import DEVICES, WorkerRole
from forkhouse.serving.stack import Setting, WorkerPlan, running_stack, write_tiny_model
from forkhouse.sources.index import Registry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from forkhouse.benchmark.generator import Generator
    from forkhouse.benchmark.results import Environment, Load, Round, ServingLayout
    from forkhouse.core.progress import Task
    from forkhouse.core.workspace import Workspace
    from forkhouse.serving.launching import Device

ROLES: dict[ServingLayout, tuple[WorkerRole, ...]] = {
    "aggregated": (WorkerRole.AGGREGATED,),
    "disaggregated": (WorkerRole.PREFILL, WorkerRole.DECODE),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrangement:
    """A way to arrange the stack."""

    layout: ServingLayout
    prefix_caching: bool

    def __str__(self) -> str:
        """Return it in words."""
        return f"{self.layout}, prefix cache {'on' if self.prefix_caching else 'off'}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How much is measured."""

    load: Load
    concurrencies: tuple[int, ...]
    rounds: int
    seed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasureOptions:
    """What the user says is to be measured.

    A server that is there (`endpoint`), or a stack to start (`python`).
    """

    endpoint: str | None
    model: str | None
    """Name of the endpoint's model."""
    tokenizer: Path | None
    """Folder of its tokenizer."""
    metrics: tuple[str, ...]
    """URLs of its workers' metrics."""
    python: Path | None
    """Interpreter of the environment that a wheelhouse was installed into."""
    model_folder: Path | None
    """Model for the stack; None for the tiny one, which is then made."""
    worker_arguments: tuple[str, ...]
    """Further arguments of every vLLM worker of the stack."""
    device: str | None
    """Name of one of the stack's devices; or on what the endpoint computes, in the user's words."""
    wheelhouse: Path
    """From where the stack was installed."""
    layouts: tuple[ServingLayout, ...]
    """Layouts of the stack, all when empty; or the endpoint's, if it is known."""
    caches: tuple[bool, ...]
    """Whether its prefix cache is on: both when empty; or the endpoint's, if it is known."""


@contextlib.contextmanager
def measuring(workspace: Workspace) -> Iterator[Path]:
    """Give the folder for what servers and the load generator write, `build/bench/serving`.

    It is kept when the block fails.

    Raises BusyError when another measurement of this checkout uses it.
    """
    folder = workspace.build / "bench" / "serving"

    def busy(pid: str) -> str:
        return (
            f"Another measurement of this checkout goes on, process {pid}: two would measure each "
            "other. Wait for it to end."
        )

    with locked(folder.with_suffix(".lock"), wait=0, busy=busy), fresh_folder(folder):
        yield folder


def measure(
    workspace: Workspace, given: MeasureOptions, plan: Plan, folder: Path, *, offline: bool
) -> Measurement:
    """Measure what is given. What the servers and the load generator write goes to `folder`.

    Raises UsageError when what is given does not fit together, and what `install`,
    `measure_endpoint` and `measure_stack` raise.
    """
    if (given.endpoint is None) == (given.python is None):
        message = "Give --endpoint for a server that is there, or --stack-python to start one."
        raise UsageError(message)
    generator = install(workspace, Registry(workspace.cache, offline=offline))
    if given.endpoint is not None:
        target, layout, caching = _target(given)
        return measure_endpoint(
            generator,
            target,
            plan,
            layout=layout,
            prefix_caching=caching,
            device=given.device,
            folder=folder,
        )
    own, arrangements = _own_stack(given)
    return measure_stack(generator, own, plan, arrangements, folder=folder)


def _target(given: MeasureOptions) -> tuple[Target, ServingLayout, bool | None]:
    if given.model is None or given.tokenizer is None:
        message = (
            "With --endpoint, give --model for the name of the served model, and --tokenizer for "
            "the folder of its tokenizer."
        )
        raise UsageError(message)
    if given.model_folder or given.worker_arguments:
        message = (
            "--model-folder and --worker-argument are for a stack that is started here "
            "(--stack-python)."
        )
        raise UsageError(message)
    if len(given.layouts) > 1 or len(given.caches) > 1:
        message = (
            "An endpoint has one layout, and its prefix cache is on or off: give --layout and "
            "--prefix-cache once, or not at all."
        )
        raise UsageError(message)
    target = Target(
        url=endpoint.base_url(given.endpoint or ""),
        model=given.model,
        tokenizer=given.tokenizer,
        metrics=tuple(map(endpoint.metrics_url, given.metrics)),
    )
    return (
        target,
        given.layouts[0] if given.layouts else "endpoint",
        given.caches[0] if given.caches else None,
    )


def _own_stack(given: MeasureOptions) -> tuple[OwnStack, tuple[Arrangement, ...]]:
    if given.model or given.tokenizer or given.metrics:
        message = "--model, --tokenizer and --metrics are for a server that is there (--endpoint)."
        raise UsageError(message)
    device = DEVICES.get(given.device or "cpu")
    if device is None:
        message = f"The stack is started on {' or '.join(DEVICES)}, and not on {given.device}."
        raise UsageError(message)
    if given.model_folder and not (given.model_folder / "tokenizer.json").is_file():
        message = (
            f"{given.model_folder} has no tokenizer.json, which the load generator needs to make "
            "prompts. Give a model that has one."
        )
        raise UsageError(message)
    own = OwnStack(
        python=given.python or Path(),
        device=device,
        model=given.model_folder,
        worker_arguments=given.worker_arguments,
        wheelhouse=given.wheelhouse,
    )
    arrangements = tuple(
        Arrangement(layout=layout, prefix_caching=caching)
        for layout in dict.fromkeys(given.layouts or ROLES)
        for caching in dict.fromkeys(given.caches or (False, True))
    )
    return own, arrangements


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnStack:
    """The stack that is started here."""

    python: Path
    """Interpreter of the environment that a wheelhouse was installed into."""
    device: Device
    model: Path | None
    """Folder of a model; None for the tiny one, which is then made."""
    worker_arguments: tuple[str, ...]
    """Further arguments of every vLLM worker."""
    wheelhouse: Path


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


def measure_endpoint(
    generator: Generator,
    target: Target,
    plan: Plan,
    *,
    layout: ServingLayout,
    prefix_caching: bool | None,
    device: str | None,
    folder: Path,
) -> Measurement:
    """Measure a server that runs already.

    `layout`, `prefix_caching` and `device` are the caller's statements about it. Raises
    ServingError or UsageError before any load when it does not answer or serves another model,
    ServingError when a round fails.
    """
    endpoint.require_model(target.url, target.model)
    for url in target.metrics:
        endpoint.metrics(url)
    begun = _now()
    found = environment.environment(generator, target, device=device, served=None)
    with report().task("rounds", total=plan.rounds * len(plan.concurrencies)) as task:
        seeds = iter(range(plan.seed, 2**31))
        turns = [
            _turn(turn, generator, target, plan, seeds, folder / f"rounds-{turn}", task)
            for turn in range(plan.rounds)
        ]
    return Measurement(
        begun=begun,
        environment=found,
        load=plan.load,
        cases=tuple(_cases(plan, layout, prefix_caching, turns)),
    )


def measure_stack(
    generator: Generator,
    own: OwnStack,
    plan: Plan,
    arrangements: Sequence[Arrangement],
    *,
    folder: Path,
) -> Measurement:
    """Measure the stack in each of `arrangements`, started anew for every round.

    The arrangements take turns. So the spread of the rounds contains the differences between two
    starts, and drift (heat, other load) affects all arrangements alike. Logs are kept in `folder`.
    Raises NoDeviceError when the device is not in this machine, ServingError when a server or a
    round fails.
    """
    if own.device.target:
        require_gpu(own.device.target)
    # Engines that take fewer requests at a time than are sent would measure their own queue, and
    # GPUs are not run without graphs. What the user gives comes last, and wins.
    graphs = ("--no-enforce-eager",) if own.device.target else ()
    arguments = ("--max-num-seqs", str(max(plan.concurrencies)), *graphs, *own.worker_arguments)
    served = environment.stack(own.python, own.wheelhouse, own.device, arguments)
    model = own.model or folder / "model"
    if own.model is None:
        report().line("model", "writing a tiny random one")
        write_tiny_model(own.python, model)
    begun = _now()
    seeds = iter(range(plan.seed, 2**31))
    found: Environment | None = None
    rounds: dict[Arrangement, list[dict[int, Round]]] = {
        arrangement: [] for arrangement in arrangements
    }
    turns = [(turn, arrangement) for turn in range(plan.rounds) for arrangement in arrangements]
    with report().task("rounds", total=len(turns) * len(plan.concurrencies)) as task:
        for number, (turn, arrangement) in enumerate(turns):
            scratch = folder / f"stack-{number}"
            scratch.mkdir()
            report().line("stack", f"starting, round {turn + 1} of {plan.rounds}: {arrangement}")
            setting = Setting(
                python=own.python,
                model=model,
                device=own.device,
                scratch=scratch,
                caches=folder / "caches",
            )
            plans = [
                WorkerPlan(
                    role=role, prefix_caching=arrangement.prefix_caching, arguments=arguments
                )
                for role in ROLES[arrangement.layout]
            ]
            with running_stack(setting, plans) as stack:
                metrics = tuple(
                    f"http://127.0.0.1:{worker.metrics_port}/metrics" for worker in stack.workers
                )
                target = Target(
                    url=endpoint.base_url(stack.url),
                    model=stack.model,
                    tokenizer=model,
                    metrics=metrics,
                )
                found = found or environment.environment(
                    generator, target, device=own.device.name, served=served
                )
                rounds[arrangement].append(
                    _turn(turn, generator, target, plan, seeds, folder / f"rounds-{number}", task)
                )
    if found is None:
        message = "There was no arrangement to measure."
        raise ValueError(message)
    cases = [
        case
        for arrangement, turns_of in rounds.items()
        for case in _cases(plan, arrangement.layout, arrangement.prefix_caching, turns_of)
    ]
    return Measurement(begun=begun, environment=found, load=plan.load, cases=tuple(cases))


def _turn(
    number: int,
    generator: Generator,
    target: Target,
    plan: Plan,
    seeds: Iterator[int],
    folder: Path,
    task: Task,
) -> dict[int, Round]:
    """Run round `number` at each concurrency; return them by it."""
    rounds = {}
    for concurrency in plan.concurrencies:
        done = measure_round(
            generator,
            target,
            plan.load,
            concurrency=concurrency,
            seed=next(seeds),
            folder=folder / f"concurrency-{concurrency}",
        )
        rounds[concurrency] = done
        report().line(
            "round",
            (
                f"{number + 1} of {plan.rounds}, {concurrency} in flight: {len(done.requests)} "
                f"requests in {done.seconds:.1f} s"
            ),
        )
        task.advance(1)
    return rounds


def _cases(
    plan: Plan,
    layout: ServingLayout,
    prefix_caching: bool | None,  # noqa: FBT001  # named as everywhere else
    turns: Sequence[Mapping[int, Round]],
) -> list[Case]:
    return [
        Case(
            layout=layout,
            prefix_caching=prefix_caching,
            concurrency=concurrency,
            rounds=tuple(turn[concurrency] for turn in turns),
        )
        for concurrency in plan.concurrencies
    ]
