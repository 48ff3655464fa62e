"""Ask an interpreter of somebody else's environment, and know its answer from all else it prints.

A file of settings that Python reads when it starts, a package that is imported, and whatever runs
when it ends may print what they like, before the answer and behind it.
"""

from __future__ import annotations

import json
import secrets
import subprocess
from typing import TYPE_CHECKING, Any

from forkhouse.core.errors import InstallError
from forkhouse.core.wording import end_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_BEGUN = """
import json, sys

def answer(value):
    print({mark!r}, json.dumps(value), {mark!r}, sep="", flush=True)
"""


_ASKED = """
asked = json.load(sys.stdin)
"""


def ask_by(run: Callable[..., subprocess.CompletedProcess[str]], what: str, program: str) -> Any:
    """Let `run` run an interpreter with arguments, and return what a program hands to `answer`.

    `what` says what is asked for. Raises InstallError where no answer comes.
    """
    mark = secrets.token_hex(16)
    result = run("-I", "-B", "-c", _BEGUN.format(mark=mark) + program)
    return _answer(result, mark, f"The environment could not be asked {what}")


def ask(
    interpreter: Path,
    what: str,
    program: str,
    *,
    asked: object = None,
    environment: Mapping[str, str] | None = None,
) -> Any:
    """Run a program in an isolated interpreter, and return what it hands to `answer`.

    It finds `asked` under that name. `what` says what is asked for, `environment` are all the
    variables of the process, else those of this one. Raises InstallError where no answer comes.
    """
    mark = secrets.token_hex(16)
    result = subprocess.run(
        [str(interpreter), "-I", "-c", _BEGUN.format(mark=mark) + _ASKED + program],
        env=environment,
        input=json.dumps(asked),
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    return _answer(result, mark, f"{interpreter} could not be asked {what}")


def _answer(result: subprocess.CompletedProcess[str], mark: str, failure: str) -> Any:
    _, *rest = result.stdout.split(mark)
    if result.returncode != 0 or len(rest) != 2:
        said = end_of(result.stderr) or f"It ended with exit code {result.returncode}."
        message = f"{failure}:\n{said}"
        raise InstallError(message)
    return json.loads(rest[0])
