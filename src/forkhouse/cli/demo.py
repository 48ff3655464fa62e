"""`forkhouse demo`: see the stack serve on this machine's CPU."""

from __future__ import annotations

import time
from pathlib import Path

import click

from forkhouse.cli.opening import working, workspace_of
from forkhouse.cli.output import print_table, say
from forkhouse.core.progress import printable
from forkhouse.serving.launching import CPU, usable_python

WAIT_SECONDS = 600.0


@click.command()
@click.option(
    "--python",
    "interpreter",
    type=click.Path(path_type=Path),
    help="Interpreter of an environment with the stack; else wheels/cpu is installed below build.",
)
@click.pass_context
def demo(context: click.Context, interpreter: Path | None) -> None:
    """Serve a tiny random model on the CPU, and show an answer as it comes.

    First one worker computes all, then one the prompt and another one the answer. Takes about two
    minutes, and leaves no process behind.
    """
    from forkhouse.flow.demo import installed, show  # start-up time

    begun = time.monotonic()

    def tell(text: str) -> None:
        say(f"[{time.monotonic() - begun:6.1f}s] {text}", err=True)

    def piece(text: str) -> None:
        click.echo(text if text == "\n" else printable(text), nl=False)

    if interpreter is not None:
        python = usable_python(interpreter, CPU)
    else:
        workspace = workspace_of(context)
        with working(workspace, WAIT_SECONDS):
            python = installed(workspace, tell)
    shown = show(python, tell, piece)
    rows = [
        [
            each.layout,
            f"{each.ready_seconds:.1f} s",
            f"{each.answer_seconds:.2f} s",
            str(len(each.pieces)),
            "-" if each.pulled is None else f"{each.pulled / 1024:.0f} KiB",
        ]
        for each in shown
    ]
    print_table(
        "Served", ("arrangement", "ready after", "answer", "parts", "KV cache pulled"), rows
    )
    same = len({"".join(each.pieces) for each in shown}) == 1
    say(
        "The model is random, so its answers mean nothing; "
        f"{'both are the same' if same else 'they differ, as rounding decides between words'}. "
        "All processes are ended."
    )
