"""A deployment: which processes serve a model, on what, and where they are reached.

A short YAML file says it. The supervisor and every writer of units and manifests read it here, so
that they all speak of the same processes.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from forkhouse.documents.lockfile import Name
from forkhouse.documents.reading import Document, PlainNumber, PlainText, load
from forkhouse.serving.launching import DEVICES, Device, Planes, WorkerRole

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONTROL = re.compile("[\0-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
"""What no unit, manifest or script holds as it is. A tab is none of them."""
_HOST = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(?:\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*", re.ASCII)
"""The name of a host (RFC 1123); an address of IPv4 looks like one."""
PORTS_OF_A_WORKER = 10
"""One for its health, and nine for what NIXL needs to connect, a port for each GPU."""


def _spelt(value: object) -> object:
    """Take a number as it is written: arguments and variables are texts."""
    return value.spelling if isinstance(value, PlainNumber) else value


def _one_line(value: object) -> object:
    if isinstance(value, str) and _CONTROL.search(value):
        message = "has a line break or a control character"
        raise ValueError(message)
    return value


def _address(value: object) -> object:
    if isinstance(value, str) and not re.match(r"(https?|nats)://[^/\s]", value):
        message = "has to begin with http://, https:// or nats:// and name a host"
        raise ValueError(message)
    return value


def _no_home(value: object) -> object:
    if isinstance(value, str) and value.startswith("~"):
        message = "begins with ~, which only a shell takes for a home: write the whole path"
        raise ValueError(message)
    return value


def _listening(value: object) -> object:
    if isinstance(value, str) and not _HOST.fullmatch(value):
        try:
            ip_address(value[1:-1] if re.fullmatch(r"\[.*\]", value) else value)
        except ValueError as error:
            message = "is neither an address such as 127.0.0.1 or ::1 nor the name of a host"
            raise ValueError(message) from error
    return value


def _one_word(value: object) -> object:
    if isinstance(value, str) and any(letter.isspace() for letter in value):
        message = "has a blank in it, and no image is named so"
        raise ValueError(message)
    return value


def _from_root(value: object) -> object:
    if isinstance(value, str) and not value.startswith("/"):
        message = "has to begin with /, as it is a path in the image"
        raise ValueError(message)
    return value


def _decimal(value: object) -> object:
    """Take a number with a point, which stays a text when YAML is read: versions look so."""
    is_plain = isinstance(value, PlainText) and re.fullmatch(r"[0-9]+\.[0-9]+", value)
    return float(str(value)) if is_plain else value


Argument = Annotated[str, BeforeValidator(_one_line), BeforeValidator(_spelt)]
"""A word of a command, or a value of a variable. A number is taken as it is written."""
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
"""Name of a variable of the environment."""
PathText = Annotated[str, BeforeValidator(_one_line), Field(min_length=1)]
"""A path; a relative one begins at the folder of the file."""
Port = Annotated[int, Field(ge=1024, le=65535)]
"""A TCP port that needs no rights."""
LONGEST_SECONDS = 7 * 86_400
Seconds = Annotated[float, BeforeValidator(_decimal), Field(le=LONGEST_SECONDS)]
"""A time in seconds, a week at most: what is longer is a mistake, and no clock waits for it."""
ServerUrl = Annotated[str, BeforeValidator(_one_line), BeforeValidator(_address)]
"""Address of a server that is there already."""


class ServedModel(Document):
    """The model that is served."""

    path: Annotated[PathText, BeforeValidator(_no_home)]
    """Folder with its weights and its tokenizer. A relative path begins at the folder of the file.
    In a container it is mounted at the same place."""
    name: Argument = Field(min_length=1)
    """What clients call it."""
    claim: Name | None = None
    """PersistentVolumeClaim that holds it, for Kubernetes; else the folder is one of each node."""


class Frontend(Document):
    """The front end: it takes the requests of clients, and gives them to the workers."""

    address: Annotated[PathText, BeforeValidator(_listening)] = "127.0.0.1"
    """Address on which it listens. It asks nobody who they are: let only a proxy reach it."""
    port: Port = 8000
    """Port for clients."""
    arguments: tuple[Argument, ...] = ()
    """Further arguments of `dynamo.frontend`, such as `--router-mode`."""
    environment: dict[VariableName, Argument] = Field(default_factory=dict)
    """Further variables of this process."""


class WorkerGroup(Document):
    """Equal workers of one role."""

    replicas: int = Field(default=1, ge=1, le=64)
    """How many of them."""
    gpus: int = Field(default=1, ge=1, le=8)
    """GPUs of each; more than one splits the model over them (tensor parallel)."""
    devices: tuple[int, ...] = ()
    """Numbers of the GPUs of this machine that they take, in turn: `gpus` for each replica.

    Kubernetes and Slurm choose themselves.
    """
    gpu_memory: int | None = Field(default=None, ge=5, le=100)
    """Per cent of each GPU's memory that a worker takes; vLLM's own choice where it is not given.

    Workers that share a GPU have to say it.
    """
    kv_cache: int | None = Field(default=None, ge=1, le=65536)
    """GiB of KV cache for each worker. 4 on the CPU, and what is left of the memory on a GPU."""
    threads: int = Field(default=1, ge=1, le=1024)
    """Threads that compute, for each worker on the CPU."""
    arguments: tuple[Argument, ...] = ()
    """Further arguments of `dynamo.vllm`, which is vLLM's own command line and some more."""
    environment: dict[VariableName, Argument] = Field(default_factory=dict)
    """Further variables of these processes."""


class Roles(Document):
    """The roles of the processes. Either `worker`, or both `prefill` and `decode`."""

    frontend: Frontend = Frontend()
    """It takes the requests."""
    worker: WorkerGroup | None = None
    """Workers that compute prompts and answers."""
    prefill: WorkerGroup | None = None
    """Workers that compute prompts, and hand over their KV cache."""
    decode: WorkerGroup | None = None
    """Workers that pull that KV cache, and compute answers."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        apart = [self.prefill, self.decode]
        if self.worker and any(apart):
            message = "give worker, or prefill and decode: not both"
            raise ValueError(message)
        if not self.worker and not all(apart):
            message = "a role is missing: give worker, or both prefill and decode"
            raise ValueError(message)
        return self

    def groups(self) -> Iterator[tuple[str, WorkerRole, WorkerGroup]]:
        """Yield the groups of workers with what they are called, and what they do."""
        for name, role, group in (
            ("worker", WorkerRole.AGGREGATED, self.worker),
            ("prefill", WorkerRole.PREFILL, self.prefill),
            ("decode", WorkerRole.DECODE, self.decode),
        ):
            if group:
                yield name, role, group


class Ports(Document):
    """Ports of this machine beside that of the front end; all of 127.0.0.1."""

    supervisor: Port = 8080
    """Where `forkhouse serve` answers `/livez`, `/readyz` and `/metrics`."""
    workers: Port = 21000
    """The first port of the workers. Each takes ten: its health and counters at the first."""


class PlaneChoice(Document):
    """How the processes find each other, and how requests and events reach them."""

    discovery: Literal["file", "etcd"] = "file"
    """Files of one machine, or an etcd."""
    request: Literal["tcp", "nats"] = "tcp"
    """What carries requests."""
    event: Literal["zmq", "nats"] = "zmq"
    """What carries events of the KV cache."""
    etcd: ServerUrl | None = None
    """Address of the etcd."""
    nats: ServerUrl | None = None
    """Address of the NATS server."""

    @model_validator(mode="after")
    def _served(self) -> Self:
        if (self.discovery == "etcd") != (self.etcd is not None):
            message = "give discovery: etcd together with the address of one, or neither"
            raise ValueError(message)
        if (self.request == "nats") != (self.event == "nats"):
            message = "requests and events go over NATS together: say nats for both, or for neither"
            raise ValueError(message)
        if (self.request == "nats") != (self.nats is not None):
            message = (
                "give request: nats and event: nats together with the address of a server, or "
                "neither"
            )
            raise ValueError(message)
        return self

    def planes(self) -> Planes:
        """Return them as the processes are told."""
        return Planes(etcd=self.etcd, nats=self.nats)


class Supervision(Document):
    """How long `forkhouse serve` waits for what. All values are seconds."""

    start: Seconds = Field(default=1800, gt=0)
    """Until a process that was started serves. One that takes longer is ended and started again."""
    silence: Seconds = Field(default=60, gt=0)
    """How long a process that serves may leave `/live` unanswered: then it is taken for stuck."""
    ask: Seconds = Field(default=2, gt=0)
    """Between two questions about health."""
    first_delay: Seconds = Field(default=1, gt=0)
    """Before a dead process is started again. It doubles with each death."""
    longest_delay: Seconds = Field(default=60, gt=0)
    """What that delay does not exceed."""
    steady: Seconds = Field(default=60, ge=0)
    """How long a process has to serve until its next death counts as the first one."""
    drain: Seconds = Field(default=60, ge=0)
    """For requests that are on their way, when all is ended: the front end ends first."""
    end: Seconds = Field(default=60, ge=0)
    """For a worker to end after SIGTERM; then it is killed."""


class ContainerImage(Document):
    """A container image that holds the installed wheelhouse, for Compose and Kubernetes."""

    reference: Annotated[PathText, BeforeValidator(_one_word)]
    """Its name, best with its digest."""
    python: Annotated[PathText, BeforeValidator(_from_root)] = "/opt/stack/bin/python"
    """The interpreter of the environment in it."""


class Deployment(Document):
    """What is served, by which processes, and where."""

    name: Name = Field(max_length=28)
    """What units, containers and folders of it are called, in 28 characters at most."""
    model: ServedModel
    """The model that is served."""
    device: Literal["cpu", "mi210"] = "cpu"
    """Where the workers compute."""
    roles: Roles
    """The processes."""
    ports: Ports = Ports()
    """Ports beside that of the front end."""
    planes: PlaneChoice = PlaneChoice()
    """How the processes find and reach each other."""
    supervision: Supervision = Supervision()
    """How long `forkhouse serve` waits for what."""
    environment: dict[VariableName, Argument] = Field(default_factory=dict)
    """Further variables of every process."""
    image: ContainerImage | None = None
    """The image for containers."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        self._ports_differ()
        for name, _, group in self.roles.groups():
            if self.device == "cpu":
                for key in ("devices", "gpu_memory"):
                    if getattr(group, key):
                        _wrong(f"device: cpu has no GPUs, so {name} takes none", name, _key(key))
                if group.gpus > 1:
                    _wrong(f"device: cpu has no GPUs, so {name} takes none", name, "gpus")
            elif group.devices:
                wanted = group.replicas * group.gpus
                if len(group.devices) != wanted or len(set(group.devices)) != wanted:
                    message = (
                        f"{group.replicas} replicas with {group.gpus} GPUs each take {wanted} "
                        "different devices"
                    )
                    _wrong(message, name, "devices")
                if min(group.devices) < 0:
                    _wrong("devices are counted from 0", name, "devices")
        if self.device != "cpu":
            self._memory_suffices()
        return self

    def _ports_differ(self) -> None:
        frontend, own, first = self.roles.frontend.port, self.ports.supervisor, self.ports.workers
        count = sum(group.replicas for _, _, group in self.roles.groups()) * PORTS_OF_A_WORKER
        taken = range(first, first + count)
        if frontend == own:
            _wrong_at(("ports", "supervisor"), "the front end has this port already", own)
        if taken.stop > 65536:
            _wrong_at(("ports", "workers"), f"the workers need {count} ports from here on", first)
        for port in (frontend, own):
            if port in taken:
                message = f"the workers take {taken.start} to {taken.stop - 1}, {port} among them"
                _wrong_at(("ports", "workers"), message, first)

    def _memory_suffices(self) -> None:
        shares: dict[int, list[int | None]] = {}
        for name, _, group in self.roles.groups():
            for device in group.devices:
                shares.setdefault(device, []).append(group.gpu_memory)
                given = [each for each in shares[device] if each is not None]
                several = len(shares[device]) > 1
                if sum(given) > 100 or (several and len(given) < len(shares[device])):
                    message = (
                        f"GPU {device} is shared: give gpu-memory for each role that takes it, no "
                        "more than 100 per cent together"
                    )
                    _wrong(message, name, "devices")

    @property
    def hardware(self) -> Device:
        """The device, with what differs by it."""
        return DEVICES[self.device]


def _key(name: str) -> str:
    return name.replace("_", "-")


def _wrong(message: str, role: str, key: str) -> NoReturn:
    """Raise an error that stands at a key of a role."""
    _wrong_at(("roles", role, key), message, ())


def _wrong_at(place: tuple[str, ...], message: str, given: object) -> NoReturn:
    """Raise an error that stands at another place than its validator's. Raises ValidationError."""
    kind = PydanticCustomError("deployment", "{message}", {"message": message})
    details = InitErrorDetails(type=kind, loc=place, input=given)
    raise ValidationError.from_exception_data(title="Deployment", line_errors=[details])


def read_deployment(path: Path) -> Deployment:
    """Read a deployment, with its model's path made absolute.

    Raises DocumentError.
    """
    deployment = load(Deployment, path)
    folder = (path.absolute().parent / Path(deployment.model.path)).resolve()
    model = deployment.model.model_copy(update={"path": str(folder)})
    return deployment.model_copy(update={"model": model})
