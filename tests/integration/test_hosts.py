"""Front end, prefill and decode on hosts of their own.

Network namespaces that are joined by a switch and nothing else.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

from forkhouse.core.errors import ServingError
from forkhouse.serving.launching import WorkerRole
from forkhouse.serving.processes import wait_until
from forkhouse.serving.stack import FrontendPlan, Host, WorkerPlan, started_stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from forkhouse.serving.stack import Setting, Stack
    from tests.integration.conftest import Model, Prompt

pytestmark = [pytest.mark.integration, pytest.mark.extended, pytest.mark.timeout(600)]

Result = TypeVar("Result")
NEW_NETWORK = 0x40000000  # CLONE_NEWNET
ADDRESSES = {"front": "10.231.77.1", "prefill": "10.231.77.2", "decode": "10.231.77.3"}
"""They exist in the namespaces alone."""
# Between hosts there is no shared memory; UCX would find it here, as the namespaces share a kernel.
BETWEEN_HOSTS = {"UCX_TLS": "tcp,self", "UCX_NET_DEVICES": "eth0"}
SHORT_OF_PATIENCE = {"DYN_TCP_REQUEST_TIMEOUT": "5", "DYN_TCP_CONNECT_TIMEOUT": "5"}


def ip(*arguments: str) -> str:
    """Run ip(8), and return what it prints."""
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """A network namespace with one interface, eth0, whose other end is a port of the switch."""

    namespace: str
    address: str
    switch: str
    port: str

    @property
    def host(self) -> Host:
        """Where processes of the stack run."""
        return Host(address=self.address, prefix=("ip", "netns", "exec", self.namespace))

    def set_link(self, state: str) -> None:
        """Take the cable out ("down"), or plug it in ("up")."""
        ip("-n", self.switch, "link", "set", self.port, state)

    def isolate(self, state: str) -> None:
        """Let the switch pass nothing between this machine and others that are isolated ("on"), or
        all ("off").
        """
        subprocess.run(
            ["bridge", "-n", self.switch, "link", "set", "dev", self.port, "isolated", state],
            check=True,
        )

    def call(self, function: Callable[[], Result]) -> Result:
        """Return what `function` returns in a thread that sees this machine's network."""
        with ThreadPoolExecutor(1, initializer=_enter, initargs=(self.namespace,)) as pool:
            return pool.submit(function).result()

    def received(self) -> int:
        """Return the bytes that came in through eth0."""
        return self.call(lambda: int(_field("/proc/thread-self/net/dev", "eth0:", 1)))


def _field(file: str, row: str, column: int) -> str:
    (line,) = (
        line
        for line in Path(file).read_text(encoding="ascii").splitlines()
        if line.split()[:1] == [row]
    )
    return line.split()[column]


def _enter(namespace: str) -> None:
    """Put this thread, and no other, into a network namespace."""
    descriptor = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, NEW_NETWORK) != 0:
            raise OSError(ctypes.get_errno(), f"The namespace {namespace} could not be entered")
    finally:
        os.close(descriptor)


@pytest.fixture(scope="module")
def machines() -> Iterator[dict[str, Machine]]:
    """Three machines and a switch; whoever asks from outside reaches none of them."""
    names = {name: f"fh{os.getpid()}-{name}" for name in (*ADDRESSES, "switch")}
    with contextlib.ExitStack() as made:
        for name in names.values():
            ip("netns", "add", name)
            made.callback(ip, "netns", "delete", name)
            ip("-n", name, "link", "set", "lo", "up")
        switch = names["switch"]
        ip("-n", switch, "link", "add", "br0", "type", "bridge")
        ip("-n", switch, "link", "set", "br0", "up")
        machines = {}
        for name, address in ADDRESSES.items():
            ip(
                "-n",
                names[name],
                "link",
                "add",
                "eth0",
                "type",
                "veth",
                "peer",
                "name",
                name,
                "netns",
                switch,
            )
            ip("-n", names[name], "address", "add", f"{address}/24", "dev", "eth0")
            ip("-n", names[name], "link", "set", "eth0", "up")
            ip("-n", switch, "link", "set", name, "master", "br0", "up")
            machines[name] = Machine(
                namespace=names[name], address=address, switch=switch, port=name
            )
        yield machines


@pytest.fixture(scope="module")
def stack(setting: Setting, machines: dict[str, Machine]) -> Iterator[Stack]:
    plans = [
        WorkerPlan(
            role=role, host=machines[role].host, environment={**BETWEEN_HOSTS, **SHORT_OF_PATIENCE}
        )
        for role in (WorkerRole.PREFILL, WorkerRole.DECODE)
    ]
    with started_stack(
        setting, plans, FrontendPlan(host=machines["front"].host, environment=SHORT_OF_PATIENCE)
    ) as running:
        machines["front"].call(running.wait_for_answer)
        yield running


def answer(stack: Stack, machines: dict[str, Machine], prompt: Prompt, model: Model) -> str:
    """Ask as a client on the front end's machine."""
    return machines["front"].call(lambda: stack.chat(prompt.text, tokens=model.answer_tokens)).text


def test_blocks_go_over_the_network_and_answers_are_the_same(
    stack: Stack, machines: dict[str, Machine], model: Model
) -> None:
    decode = stack.worker(WorkerRole.DECODE)
    transfers, received = machines["front"].call(decode.transfers), machines["decode"].received()
    assert [answer(stack, machines, prompt, model) for prompt in model.prompts] == [
        prompt.answer for prompt in model.prompts
    ]
    moved = machines["front"].call(decode.transfers).since(transfers)
    assert (moved.count, moved.failed) == (len(model.prompts), 0)
    assert machines["decode"].received() - received >= moved.size


def test_nobody_outside_reaches_the_stack(stack: Stack, model: Model) -> None:
    with pytest.raises(ServingError, match="No answer"):
        stack.chat(model.prompts[0].text, tokens=1)


def test_blocks_wait_for_a_link_between_the_workers_that_heals(
    stack: Stack, machines: dict[str, Machine], model: Model
) -> None:
    """The front end reaches both workers all the time; only they do not reach each other."""
    prompt = model.prompts[0]
    decode = stack.worker(WorkerRole.DECODE)
    transfers, computed = (
        machines["front"].call(decode.transfers),
        machines["front"].call(stack.worker(WorkerRole.PREFILL).generated),
    )
    apart = [machines[name] for name in ("prefill", "decode")]
    with ThreadPoolExecutor(1) as pool:
        for machine in apart:
            machine.isolate("on")
        try:
            asked = pool.submit(answer, stack, machines, prompt, model)
            wait_until(
                lambda: (
                    machines["front"].call(stack.worker(WorkerRole.PREFILL).generated) > computed
                ),
                what="the prompt to be computed",
                servers=stack.servers,
                wait=60,
            )
            assert machines["front"].call(decode.transfers) == transfers
            assert not asked.done()
        finally:
            for machine in apart:
                machine.isolate("off")
        assert asked.result(timeout=200) == prompt.answer
    moved = machines["front"].call(decode.transfers).since(transfers)
    assert (moved.count, moved.failed) == (1, 0)


@pytest.mark.parametrize("name", ["prefill", "decode"])
def test_a_link_that_is_cut_gives_an_error_and_healed_an_answer(
    stack: Stack, machines: dict[str, Machine], model: Model, name: str
) -> None:
    prompt = model.prompts[0]
    decode = stack.worker(WorkerRole.DECODE)
    transfers = machines["front"].call(decode.transfers)
    machines[name].set_link("down")
    try:
        with pytest.raises(ServingError, match="HTTP 5"):
            answer(stack, machines, prompt, model)
    finally:
        machines[name].set_link("up")
    answers: list[str] = []

    def answered() -> bool:
        with contextlib.suppress(ServingError):
            answers.append(answer(stack, machines, prompt, model))
        return bool(answers)

    wait_until(answered, what="an answer over the healed link", servers=stack.servers, wait=120)
    assert answers == [prompt.answer]
    assert machines["front"].call(decode.transfers).since(transfers).count >= 1
