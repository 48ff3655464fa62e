"""`forkhouse bench`: measure serving, and compare."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import click

from forkhouse.benchmark import results
from forkhouse.benchmark.compare import compare
from forkhouse.benchmark.results import read
from forkhouse.benchmark.run import MeasureOptions, Plan, measure, measuring
from forkhouse.cli.opening import opened, working, workspace_of
from forkhouse.cli.options import (
    access_options,
    json_file,
    json_option,
    profile_option,
    wait_option,
)
from forkhouse.cli.output import print_table, say
from forkhouse.core.progress import showing
from forkhouse.core.storage import write_atomic
from forkhouse.flow.groups import pin_group
from forkhouse.pages.serving import CPU_LABEL, comparison_page, measurement_page

if TYPE_CHECKING:
    from forkhouse.benchmark.results import ServingLayout
    from forkhouse.sources.acquire import SourcePolicy


@click.group()
def bench() -> None:
    """Measure serving under load, and compare two measurements."""


@bench.command("run")
@click.option(
    "--endpoint",
    "address",
    metavar="URL",
    help="Measure the OpenAI-compatible server at this address.",
)
@click.option("--model", metavar="NAME", help="With --endpoint: the served model.")
@click.option(
    "--tokenizer",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="With --endpoint: folder of the model's tokenizer.",
)
@click.option(
    "--metrics",
    multiple=True,
    metavar="URL",
    help="With --endpoint: Prometheus metrics of a vLLM worker; may be given again.",
)
@click.option(
    "--stack-python",
    type=click.Path(path_type=Path),
    help="Start and measure the stack that this Python is installed with.",
)
@click.option(
    "--model-folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="With --stack-python: model, else a tiny one.",
)
@click.option(
    "--worker-argument",
    "worker_arguments",
    multiple=True,
    metavar="TEXT",
    help="With --stack-python: argument of each worker.",
)
@click.option(
    "--device",
    help="With --stack-python: cpu (the default) or mi210. With --endpoint: on what it computes, "
    "in your words.",
)
@profile_option
@click.option(
    "--layout",
    "layouts",
    multiple=True,
    type=click.Choice(["aggregated", "disaggregated"]),
    help="Default: both; or unknown.",
)
@click.option(
    "--prefix-cache",
    "caches",
    multiple=True,
    type=click.Choice(["on", "off"]),
    help="Default: both; or unknown.",
)
@click.option(
    "--concurrency",
    "concurrencies",
    multiple=True,
    type=click.IntRange(1, 4096),
    default=(1, 4),
    show_default=True,
)
@click.option(
    "--rounds",
    type=click.IntRange(1, 100),
    default=3,
    show_default=True,
    help="Rounds of each concurrency.",
)
@click.option(
    "--requests",
    type=click.IntRange(1, 10_000),
    default=8,
    show_default=True,
    help="Requests of a round for each in flight.",
)
@click.option(
    "--prefix-tokens",
    type=click.IntRange(0),
    default=256,
    show_default=True,
    help="Tokens that the prompts of a round share.",
)
@click.option(
    "--prompt-tokens",
    type=click.IntRange(1),
    default=128,
    show_default=True,
    help="Further tokens of each prompt.",
)
@click.option(
    "--output-tokens",
    type=click.IntRange(2),
    default=32,
    show_default=True,
    help="Tokens of each answer.",
)
@click.option(
    "--end-at-eos",
    is_flag=True,
    help="Let answers end early, for servers that do not know ignore_eos.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**30),
    help="Seed of the first round's prompts; default 1, with --endpoint another one each time.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=json_file,
    help="JSON file, FILE.json; default build/bench/serving.json. HTML beside it.",
)
@click.option("--offline", is_flag=True, help="Install the load generator from the cache alone.")
@click.pass_context
def bench_run(
    context: click.Context,
    address: str | None,
    model: str | None,
    tokenizer: Path | None,
    metrics: tuple[str, ...],
    stack_python: Path | None,
    model_folder: Path | None,
    worker_arguments: tuple[str, ...],
    device: str | None,
    profile: str,
    layouts: tuple[ServingLayout, ...],
    caches: tuple[str, ...],
    concurrencies: tuple[int, ...],
    rounds: int,
    requests: int,
    prefix_tokens: int,
    prompt_tokens: int,
    output_tokens: int,
    seed: int | None,
    output: Path | None,
    *,
    end_at_eos: bool,
    offline: bool,
) -> None:
    """Put load on a server or on the stack, and write the figures as JSON and as a page.

    The stack is measured in each of its arrangements.
    """
    workspace = workspace_of(context)
    if seed is None:
        # A server that is there may still hold the prompts of an earlier run in its prefix cache.
        seed = secrets.randbelow(2**30) if address else 1
    target = output or workspace.build / "bench" / "serving.json"
    load = results.Load(
        prefix_tokens=prefix_tokens,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        requests_per_slot=requests,
        ignore_eos=not end_at_eos,
    )
    given = MeasureOptions(
        endpoint=address,
        model=model,
        tokenizer=tokenizer and tokenizer.resolve(),
        metrics=metrics,
        # Not resolved: the interpreter of a virtual environment is a link, and is known by the
        # link's place.
        python=stack_python and stack_python.absolute(),
        model_folder=model_folder and model_folder.resolve(),
        worker_arguments=worker_arguments,
        device=device,
        wheelhouse=workspace.wheelhouse(profile),
        layouts=layouts,
        caches=tuple(cache == "on" for cache in caches),
    )
    plan = Plan(
        load=load, concurrencies=tuple(dict.fromkeys(concurrencies)), rounds=rounds, seed=seed
    )
    # Written before the folder goes with what the load generator wrote: a file that cannot be
    # written loses nothing.
    with showing(), measuring(workspace) as folder:
        measurement = measure(workspace, given, plan, folder, offline=offline)
        results.write(measurement, target)
        write_atomic(target.with_suffix(".html"), measurement_page(measurement).encode())
    if measurement.environment.on_cpu:
        say(CPU_LABEL)
    say(f"{target}\n{target.with_suffix('.html')}")


@bench.command("compare")
@click.argument(
    "first", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="A.json"
)
@click.argument(
    "second", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="B.json"
)
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the comparison as a page, too.",
)
@json_option
def bench_compare(first: Path, second: Path, html: Path | None, *, as_json: bool) -> None:
    """Give the ratio of B to A, and its spread, for each metric of each case that both have."""
    comparison = compare(read(first), read(second))
    if html:
        write_atomic(html, comparison_page(comparison, (first.name, second.name)).encode())
    if as_json:
        say(json.dumps(comparison.as_json(), indent=1))
        return
    rows = [
        [
            pair.label,
            f"{each.metric.title}, {each.metric.unit}" if each.metric.unit else each.metric.title,
            f"{each.first:.4g}",
            f"{each.second:.4g}",
            f"{each.ratio:.3f}",
            "-" if each.low is None else f"{each.low:.3f} to {each.high:.3f}",
            each.verdict,
        ]
        for pair in comparison.pairs
        for each in pair.ratios()
    ]
    for name, measurement in (("A", comparison.first), ("B", comparison.second)):
        found = measurement.environment
        say(f"{name}: {found.model} on {found.device or 'an unknown device'}, {measurement.begun}")
        if found.on_cpu:
            say(f"   {CPU_LABEL}")
    if comparison.differences:
        print_table(
            "A and B differ in",
            ("what", "A", "B"),
            [[each.what, each.first, each.second] for each in comparison.differences],
        )
    for name, labels in (("A", comparison.only_first), ("B", comparison.only_second)):
        for label in labels:
            say(f"Only {name} has: {label}")
    print_table("B to A", ("case", "metric", "A", "B", "ratio", "spread", "B is"), rows)
    if any(pair.chance() is None for pair in comparison.pairs):
        say("A single round tells of no spread, and decides nothing.")


@bench.command("pin")
@access_options
@wait_option
@click.pass_context
def bench_pin(
    context: click.Context,
    sources: SourcePolicy,
    mirror: Path | None,
    wait: float,
    *,
    offline: bool,
) -> None:
    """Pin the load generator that pyproject.toml asks for in pylock.generator.toml.

    All that it needs is pinned with it.
    """
    workspace = workspace_of(context)
    with working(workspace, wait):
        plant = opened(workspace, sources, mirror, offline=offline)
        pins = pin_group(plant, "generator", "generator")
    say(f"Pinned {len(pins)} wheels.")
