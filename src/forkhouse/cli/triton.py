"""`forkhouse triton`: compile what vLLM's Triton kernels become on the GPU targets."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from forkhouse.cli.opening import workspace_of
from forkhouse.cli.options import json_option
from forkhouse.cli.output import print_table, say
from forkhouse.core.progress import showing
from forkhouse.core.storage import fresh_folder, storage_errors, write_atomic
from forkhouse.core.wording import bullets
from forkhouse.documents.lockfile import Lock
from forkhouse.documents.reading import load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkhouse.triton.policy import KernelFinding
    from forkhouse.triton.record import News
    from forkhouse.triton.running import TritonRun


@click.command()
@click.option(
    "--stack-python",
    "python",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Interpreter of an installed stack, whose vLLM and Triton are taken.",
)
@click.option("--case", "names", multiple=True, help="Model to compile for; else the core's.")
@click.option("--all", "every", is_flag=True, help="Compile for every model that is described.")
@click.option("--target", "targets", multiple=True, help="GPU target; else those of the lock.")
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    default=lambda: min(os.cpu_count() or 1, 4),
    help="Models that are run at once.",
)
@click.option("--record", "recording", is_flag=True, help="Write the figures beside the lock.")
@click.option(
    "--pack",
    "out",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Write a wheel of the compiled kernels for each target into this folder.",
)
@click.option(
    "--carry",
    "carrying",
    is_flag=True,
    help="Write such wheels where the next build of a ROCm wheelhouse takes them.",
)
@json_option
@click.pass_context
def triton(
    context: click.Context,
    python: Path,
    names: tuple[str, ...],
    targets: tuple[str, ...],
    processes: int,
    out: Path | None,
    *,
    every: bool,
    recording: bool,
    carrying: bool,
    as_json: bool,
) -> None:
    """Compile the Triton kernels that vLLM launches, for GPUs that this machine lacks.

    vLLM's own code runs on the CPU with every launch recorded. Each kernel is compiled, held
    against limits, and compared with the record beside the lock.
    """
    from forkhouse.flow.freshness import packed_kernels  # start-up time
    from forkhouse.triton.carrying import licence_texts, pack  # start-up time
    from forkhouse.triton.cases import chosen, read_cases  # start-up time
    from forkhouse.triton.policy import idle, judge, read_policy  # start-up time
    from forkhouse.triton.record import FILE, compare, merged, parse, recorded  # start-up time
    from forkhouse.triton.running import run_cases  # start-up time

    workspace = workspace_of(context)
    cases, policy = read_cases(), read_policy()
    wanted = chosen(cases, names, every=every)
    runs: list[TritonRun] = []
    targets = targets or load(Lock, workspace.lock_path).gpu_targets
    cache = workspace.build / "triton" / "cache"
    for target in targets:
        with showing(), fresh_folder(workspace.build / "triton" / "run") as folder:
            runs.append(
                run_cases(
                    python.absolute(),
                    wanted,
                    common=cases.engine,
                    target=target,
                    processes=processes,
                    folder=folder,
                    cache=cache,
                )
            )
    kernels = tuple(kernel for run in runs for kernel in run.kernels)
    findings = judge(kernels, policy)
    new = recorded(kernels, triton=runs[0].triton, vllm=runs[0].vllm)
    place = workspace.root / FILE
    old = parse(place.read_bytes()) if place.is_file() else None
    news = compare(old, new) if old else ()
    _show(runs, findings, news, as_json=as_json)
    for known in idle(policy, findings) if every else ():
        said = f"{known.rule.value} of {known.kernel} ({known.case})"
        say(f"note: {said} is listed as known, and holds", err=as_json)
    _refuse(findings, () if recording else news)
    if recording:
        write_atomic(place, merged(old, new).text().encode())
    for wanted_at in (out, packed_kernels(workspace) if carrying else None):
        if wanted_at is None:
            continue
        with storage_errors("Writing compiled kernels"):
            wanted_at.mkdir(parents=True, exist_ok=True)
        licences = licence_texts(python.absolute())
        for target, run in zip(targets, runs, strict=True):
            wheel = pack(run, target=target, cache=cache, folder=wanted_at, licences=licences)
            say(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB", err=as_json)


def _show(
    runs: Sequence[TritonRun],
    findings: Sequence[KernelFinding],
    news: Sequence[News],
    *,
    as_json: bool,
) -> None:
    from dataclasses import asdict  # start-up time

    from forkhouse.triton.figures import COLUMNS, rows  # start-up time

    if as_json:
        said = {
            "runs": [asdict(run) for run in runs],
            "findings": [asdict(finding) for finding in findings],
            "news": [asdict(each) for each in news],
        }
        say(json.dumps(said, indent=1))
        return
    for run in runs:
        print_table(f"vLLM {run.vllm}, Triton {run.triton}", COLUMNS, rows(run.kernels))
        for case, (driven, compiled) in run.seconds.items():
            count = len([kernel for kernel in run.kernels if kernel.case == case])
            say(
                f"{case}: {run.launches[case]} launches of {count} kernels; vLLM took {driven} s, "
                f"compiling {compiled} s"
            )
    for finding in findings:
        if finding.known:
            say(f"known: {finding}: {finding.known}")
    for each in news:
        if not each.worse:
            say(f"note: {each}")


def _refuse(findings: Sequence[KernelFinding], news: Sequence[News]) -> None:
    from forkhouse.triton import KernelError  # start-up time

    open_ = [finding for finding in findings if finding.known is None]
    worse = [each for each in news if each.worse]
    paragraphs = []
    if open_:
        paragraphs.append(
            f"These kernels break a limit of policy.yaml:\n{bullets(open_)}\nA patch of the kernel "
            "or other options of its launch put it right; what cannot be put right is listed in "
            "policy.yaml under `known`, with its reason."
        )
    if worse:
        paragraphs.append(
            f"These kernels are worse than recorded:\n{bullets(worse)}\nFind out what changed. If "
            "it is meant to be so, --record writes what is there now."
        )
    if paragraphs:
        raise KernelError("\n".join(paragraphs))
