"""The command line: the one place where errors become exit codes and values become tables."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from forkhouse import __version__
from forkhouse.core.errors import DocumentError, ForkhouseError, StorageError, UsageError
from forkhouse.core.progress import printable
from forkhouse.core.revision import revision
from forkhouse.core.secrecy import masked
from forkhouse.core.signals import Stopped, listen
from forkhouse.core.workspace import storage_errors


def main() -> None:
    """Run the command line.

    Every failure that is explained has its own exit code (see `errors`).
    """
    _open_streams()
    listen()
    try:
        code = cli.main(standalone_mode=False)
        sys.stdout.flush()
    except Stopped as stopped:
        _last_word(
            f"Ended by {stopped.signal.name}. What is finished is kept; run the same command "
            "again.\n"
        )
        # At once: threads that wait for a server would hold the interpreter.
        os._exit(stopped.exit_code)
    except BrokenPipeError:  # when the last of it was written
        os._exit(128 + signal.SIGPIPE)
    except OSError as error:
        # Of standard output, or of nothing that has a name: what has one was explained before.
        _last_word(
            f"forkhouse: {StorageError.title} (exit code "
            f"{StorageError.exit_code})\n{error.strerror or error}. {_ADVICE}\n"
        )
        os._exit(StorageError.exit_code)
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(file=shown)
        _last_word(printable(masked(shown.getvalue())))
        sys.exit(error.exit_code)
    except ForkhouseError as error:
        _last_word(f"forkhouse: {error.title} (exit code {error.exit_code})\n{error}\n")
        sys.exit(error.exit_code)
    sys.exit(code or 0)


def _open_streams() -> None:
    """Let there be standard streams.

    What is opened where one was closed would get its number, and what children print as well.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:  # standard error
        os.set_inheritable(descriptor, True)  # noqa: FBT003  # the library's signature
    os.close(descriptor)
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", closefd=False))


_ADVICE = (
    "Look at where the output goes, at the free space, and at the limits of this process (ulimit "
    "-a), and run the same command again."
)


def _last_word(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(text)
        sys.stderr.flush()


_COMMANDS = {
    "audit": "wheels:audit",
    "bench": "bench:bench",
    "build": "build:build",
    "demo": "demo:demo",
    "device": "machine:device",
    "doctor": "machine:doctor",
    "install": "wheels:install",
    "lock": "lock:lock",
    "patches": "patches:patches",
    "radar": "radar:radar",
    "serve": "serve:serve",
    "toolchain": "machine:toolchain",
    "verify": "wheels:verify",
}
"""Where each command is: a module of this package, and a name in it."""


class _Commands(click.Group):
    """Commands that are loaded when they are called.

    When the system refuses a file to a command, the command ends with an explained failure.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, loaded; None for a name that is none."""
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(":")
        command = getattr(import_module(f"{__package__}.{module}"), name)
        assert isinstance(command, click.Command)  # as the table says
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command.

        Raises UsageError for a path that cannot be used, StorageError for a disk that refuses.
        """
        try:
            _require_current_folder()
            return super().invoke(ctx)
        except BrokenPipeError:
            # Whoever read our output has had enough, as `head` does. Nothing more can be said
            # there; click would call it exit code 1.
            os._exit(128 + signal.SIGPIPE)
        except RecursionError as error:
            message = (
                "A file that had to be read is nested deeper than can be read. The last line above "
                "says what was being done."
            )
            raise DocumentError(message) from error
        except OSError as error:
            if error.filename is None or not error.strerror:
                raise  # explained where the process ends
            name = (
                os.fsdecode(error.filename)
                if isinstance(error.filename, str | bytes)
                else str(error.filename)
            )
            with storage_errors(f"Using {name}"):
                if error.errno in _OF_THE_DISK:
                    raise
            shown = name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…"
            message = (
                f"{shown} cannot be used: {error.strerror}. Look at the path, at what is there, "
                "and at who may read and write it."
            )
            raise UsageError(message) from error


def _require_current_folder() -> None:
    """Raise UsageError where this process stands in a folder that was removed.

    Neither git nor pip runs there.
    """
    try:
        Path.cwd()
    except OSError as error:
        message = (
            f"The current folder cannot be used: {error.strerror}. It was removed, or may not be "
            "read. Change to one that is there."
        )
        raise UsageError(message) from error


_LONGEST = 300


_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


def _print_version(context: click.Context, option: click.Parameter, asked: bool) -> None:  # noqa: FBT001  # click calls it so
    """Say the version, and the commit where it is known."""
    if asked and not context.resilient_parsing:
        commit = revision()
        built_from = f" (commit {commit})" if commit else ""
        click.echo(f"forkhouse, version {__version__}{built_from}")
        context.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
@click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Checkout to work in, instead of this one.",
)
@click.pass_context
def cli(context: click.Context, root: Path | None) -> None:
    """Pin, patch, build and ship the forked inference stack."""
    context.obj = root
