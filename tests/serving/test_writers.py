"""Units, Compose files, manifests and batch scripts start exactly the processes of a deployment.

What each of them says is read back by rules that are not the writers': the shell itself runs the
batch script, and the words of the others are taken apart by the standard library.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import string
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from forkhouse.core.errors import UsageError
from forkhouse.documents.reading import parse
from forkhouse.serving.arranging import Planned, ProcessPlace, processes
from forkhouse.serving.deployment import Deployment
from forkhouse.serving.writers.compose import compose_file
from forkhouse.serving.writers.kubernetes import manifests
from forkhouse.serving.writers.slurm import batch_script
from forkhouse.serving.writers.systemd import units

if TYPE_CHECKING:
    from collections.abc import Iterable

AWKWARD = """a "b" 'c' $d ${e} $(f) %n \\\\ `g` é #h ;i *"""
TEXT = f"""
name: big
model: {{path: "/models/with a blank & $HOME %h", name: "org/big $x"}}
device: mi210
image: {{reference: "registry.example/forkhouse:1", python: /opt/stack/bin/python}}
roles:
  frontend: {{port: 8123, arguments: [--router-mode, kv]}}
  prefill: {{replicas: 2, gpus: 2, devices: [0, 1, 2, 3], gpu-memory: 90}}
  decode:
    devices: [4]
    arguments: [--override-generation-config, '{{"a": "''$b''"}}', ""]
planes: {{discovery: etcd, etcd: "http://127.0.0.1:2379"}}
environment: {{AWKWARD: {json.dumps(AWKWARD)}}}
supervision: {{end: 20}}
"""
ON_CPU = """
name: small
model: {path: /models/small, name: small}
image: {reference: "registry.example/forkhouse:1"}
roles:
  prefill: {threads: 3}
  decode: {replicas: 2}
"""


def deployment(text: str = TEXT) -> Deployment:
    return parse(Deployment, text, name="deployment.yaml")


def as_told(planned: Iterable[Planned]) -> dict[str, tuple[list[str], dict[str, str]]]:
    return {each.name: (list(each.command), dict(each.environment)) for each in planned}


def place(state: str, python: str, **other: Any) -> ProcessPlace:
    folder = Path(state)
    model = Path("/models/with a blank & $HOME %h")
    return ProcessPlace(
        python=Path(python), model=model, state=folder, temporary=folder / "tmp", **other
    )


def unit_words(text: str) -> list[str]:
    """Take apart the words of a unit: C's escapes in double quotes, then specifiers."""
    return [word.replace("%%", "%") for word in shlex.split(text, posix=True)]


def test_a_unit_starts_what_is_supervised() -> None:
    python = "/env with blank/bin/python"
    found = {}
    files = units(deployment(), python=Path(python))
    for name, text in files.items():
        if name.endswith(".service"):
            (command,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
            variables = [
                word
                for line in re.findall(r"^Environment=(.*)$", text, re.MULTILINE)
                for word in unit_words(line)
            ]
            words = [word.replace("$$", "$") for word in unit_words(command)]
            process = name.removeprefix("forkhouse-big-").removesuffix(".service")
            found[process] = (words, dict(each.split("=", 1) for each in variables))
    assert found == as_told(processes(deployment(), place("/var/lib/forkhouse/big", python)))
    frontend = files["forkhouse-big-frontend.service"]
    for name in found:
        assert f"Wants=forkhouse-big-{name}.service\n" in files["forkhouse-big.target"]
        assert (f"forkhouse-big-{name}.service" in frontend) == (name != "frontend")
    assert "LimitMEMLOCK=infinity\n" in files["forkhouse-big-decode-1.service"]
    assert "SupplementaryGroups=render video\n" in files["forkhouse-big-decode-1.service"]
    assert "TimeoutStopSec=35\n" in files["forkhouse-big-decode-1.service"]
    on_cpu = units(deployment(ON_CPU), python=Path(python))
    assert "SupplementaryGroups" not in on_cpu["forkhouse-small-decode-2.service"]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
@pytest.mark.parametrize("text", [TEXT, ON_CPU], ids=["mi210", "cpu"])
def test_systemd_takes_the_units(text: str, tmp_path: Path) -> None:
    python = tmp_path / "env with blank/bin/python"
    python.parent.mkdir(parents=True)
    python.symlink_to("/bin/true")
    folder = tmp_path / "units"
    folder.mkdir()
    for name, content in units(deployment(text), python=python).items():
        (folder / name).write_text(content, encoding="utf-8")
    files = [str(each) for each in folder.iterdir() if each.suffix != ".conf"]
    result = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *files],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_a_compose_file_starts_what_is_supervised() -> None:
    read = yaml.safe_load(compose_file(deployment()))

    def told(value: str) -> str:
        return string.Template(value).substitute({})  # `$$` is a dollar, as for Compose

    found = {
        name: (
            [told(word) for word in each["command"]],
            {key: told(value) for key, value in each["environment"].items()},
        )
        for name, each in read["services"].items()
    }
    assert found == as_told(
        processes(deployment(), place("/var/lib/forkhouse", "/opt/stack/bin/python"))
    )
    decode, frontend = read["services"]["decode-1"], read["services"]["frontend"]
    assert told(decode["volumes"][0]["source"]) == "/models/with a blank & $HOME %h"
    assert decode["devices"] == ["/dev/kfd:/dev/kfd", "/dev/dri:/dev/dri"]
    assert "devices" not in frontend
    assert decode["cap_add"] == ["IPC_LOCK"]
    assert decode["ulimits"] == {"memlock": -1}
    assert decode["stop_grace_period"] == "20s"
    assert frontend["depends_on"] == ["prefill-1", "prefill-2", "decode-1"]
    for each in yaml.safe_load(compose_file(deployment(ON_CPU)))["services"].values():
        assert "devices" not in each


PROBED = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(sys.argv[1].encode())
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


@pytest.mark.parametrize(("listed", "code"), [("small", 0), ("other", 1)])
def test_a_front_end_is_probed_for_its_model(listed: str, code: int) -> None:
    test = yaml.safe_load(compose_file(deployment(ON_CPU)))["services"]["frontend"]["healthcheck"][
        "test"
    ]
    assert test[:2] == ["CMD", "/opt/stack/bin/python"]
    said = json.dumps({"data": [{"id": listed}]})
    with subprocess.Popen(
        [sys.executable, "-c", PROBED, said], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        words = [word.replace(":8000/", f":{port}/") for word in test[2:]]
        result = subprocess.run(
            [sys.executable, *words], capture_output=True, text=True, check=False
        )
        server.kill()
    assert result.returncode == code
    assert ("small is not listed" in result.stderr) == (code == 1)


def test_manifests_start_what_is_supervised() -> None:
    files = manifests(deployment())
    assert sorted(files) == ["big-decode.yaml", "big-frontend.yaml", "big-prefill.yaml"]
    objects = [each for text in files.values() for each in yaml.safe_load_all(text)]

    def told(value: str) -> str:
        """Expand as Kubernetes does: `$(POD_IP)` is defined, and `$$` is a dollar."""
        return re.sub(
            r"\$\$|\$\(POD_IP\)", lambda found: "$" if found[0] == "$$" else "10.1.2.3", value
        )

    there = place(
        "/var/lib/forkhouse",
        "/opt/stack/bin/python",
        address="10.1.2.3",
        own_address=True,
        choose_gpus=False,
    )
    roles = {each.role: each for each in processes(deployment(), there)}
    specs = {
        each["metadata"]["labels"]["app.kubernetes.io/component"]: each["spec"]
        for each in objects
        if each["kind"] == "Deployment"
    }
    assert specs.keys() == roles.keys()
    for role, spec in specs.items():
        (container,) = spec["template"]["spec"]["containers"]
        words = [told(word) for word in (*container["command"], *container["args"])]
        first, *variables = container["env"]
        assert first["valueFrom"]["fieldRef"] == {"fieldPath": "status.podIP"}
        assert words == list(roles[role].command)
        assert {each["name"]: told(each["value"]) for each in variables} == dict(
            roles[role].environment
        )
        assert "HIP_VISIBLE_DEVICES" not in roles[role].environment
        assert container["ports"][0]["containerPort"] == roles[role].port
        gpus = container.get("resources", {}).get("limits", {}).get("amd.com/gpu", 0)
        assert gpus == {"frontend": 0, "prefill": 2, "decode": 1}[role]
        assert spec["replicas"] == (2 if role == "prefill" else 1)
        assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
        assert container["securityContext"]["capabilities"]["add"] == ["IPC_LOCK"]
        probes = {"startupProbe", "livenessProbe", "readinessProbe"}
        assert probes <= container.keys()
        assert ("exec" in container["readinessProbe"]) == (role == "frontend")
    budgets = [each for each in objects if each["kind"] == "PodDisruptionBudget"]
    assert len(budgets) == 3
    (service,) = [each for each in objects if each["kind"] == "Service"]
    assert service["spec"]["ports"][0]["port"] == 8123


@pytest.mark.parametrize(
    ("seconds", "written"), [("0.000001", "0.000001"), ("604800", "604800"), ("0.5", "0.5")]
)
def test_times_of_units_have_no_exponents(seconds: str, written: str) -> None:
    text = f"{ON_CPU}\nsupervision: {{first-delay: {seconds}}}\n"
    files = units(deployment(text), python=Path("/env/bin/python"))
    assert f"RestartSec={written}\n" in files["forkhouse-small-frontend.service"]


def test_kubernetes_mounts_nothing_at_a_path_with_a_colon() -> None:
    text = TEXT.replace("/models/with a blank", "/models/with: a blank")
    with pytest.raises(UsageError, match="Kubernetes mounts nothing there"):
        manifests(deployment(text))


def test_pods_need_an_etcd_and_containers_an_image() -> None:
    with pytest.raises(UsageError, match="pods share none"):
        manifests(deployment(ON_CPU))
    without = ON_CPU.replace("image:", "#")
    with pytest.raises(UsageError, match="names no image"):
        compose_file(deployment(without))
    with pytest.raises(UsageError, match="names no image"):
        manifests(deployment(without))


SRUN = """#!/bin/sh
# Runs a step here: options up to the program, as srun(1) takes them.
for each; do
  case "$each" in
    --output=*) log=${each#--output=} ;;
    --chdir=*) cd "${each#--chdir=}" || exit 1 ;;
    --export=NONE) clean=1 ;;
    --job-name=*) name=${each#--job-name=} ;;
    --gres=*) gpus=${each#--gres=} ;;
    --*) ;;
    *) break ;;
  esac
  shift
done
[ -n "$clean" ] || exit 1
echo "42.$$ $name" >>"$STEPS"
exec env -i GRES="$gpus" PATH=/usr/bin:/bin "$@" >"$log" 2>&1
"""
SQUEUE = """#!/bin/sh
[ "$*" = "--noheader --steps --format=%i %j" ] && cat "$STEPS"
"""
SCANCEL = """#!/bin/sh
[ "$1" = --signal=TERM ] && kill -TERM "${2#42.}"
"""
STAND_IN = """#!{python}
import json, os, pathlib, signal, sys, time
here = pathlib.Path({folder!r})
module = sys.argv[2]
number = os.environ.get("DYN_SYSTEM_PORT", "frontend")
def ended(*_):
    with (here / "order").open("a") as order:
        order.write(module + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, ended)
told = {{"command": sys.argv, "environment": dict(os.environ)}}
(here / f"{{number}}.part").write_text(json.dumps(told))
os.rename(here / f"{{number}}.part", here / f"{{number}}.json")
if (here / "die").exists() and module == "dynamo.vllm":
    sys.exit(7)
while True:
    time.sleep(0.05)
"""


def start_job(tmp_path: Path, text: str = TEXT) -> subprocess.Popen[str]:
    """Run a batch script as Slurm does, but for the steps, which run here."""
    python = tmp_path / "env with blank/bin/python"
    for path, content in (
        (tmp_path / "bin/srun", SRUN),
        (tmp_path / "bin/squeue", SQUEUE),
        (tmp_path / "bin/scancel", SCANCEL),
        (python, STAND_IN.format(python=sys.executable, folder=str(tmp_path))),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        path.chmod(0o755)
    script = tmp_path / "batch script"
    script.write_text(batch_script(deployment(text), python=python), encoding="utf-8")
    cpus = re.findall(
        r"^#SBATCH --cpus-per-task=(\d+)$", script.read_text(encoding="utf-8"), re.MULTILINE
    )
    return subprocess.Popen(
        ["bash", str(script)],
        env={
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "SLURM_JOB_ID": "42",
            "STEPS": str(tmp_path / "steps"),
            "SLURM_SUBMIT_DIR": str(tmp_path),
            "SLURM_CPUS_PER_TASK": cpus[0],
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def job_folders() -> set[Path]:
    return set(Path("/tmp").glob("fh-42-*"))


def test_a_job_starts_what_is_supervised_and_ends_the_front_end_first(tmp_path: Path) -> None:
    before = job_folders()
    with start_job(tmp_path) as job:
        deadline = time.monotonic() + 30
        while len(list(tmp_path.glob("*.json"))) < 4:
            assert time.monotonic() < deadline
            assert job.poll() is None
            time.sleep(0.02)
        (state,) = job_folders() - before
        told = [json.loads(each.read_text(encoding="utf-8")) for each in tmp_path.glob("*.json")]
        job.send_signal(signal.SIGTERM)
        _, said = job.communicate(timeout=30)
    assert (job.returncode, said) == (0, "")
    python = str(tmp_path / "env with blank/bin/python")
    expected = list(processes(deployment(), place(str(state), python, choose_gpus=False)))
    gpus = {each.name: f"gpu:{each.gpus}" if each.gpus else "none" for each in expected}
    assert gpus == {
        "frontend": "none",
        "prefill-1": "gpu:2",
        "prefill-2": "gpu:2",
        "decode-1": "gpu:1",
    }
    # The stand-in's own Python says that it was started by its path alone.
    started = [([python, *each["command"][1:]], each["environment"]) for each in told]
    wanted = [
        (list(each.command), {**each.environment, "GRES": gpus[each.name]}) for each in expected
    ]
    for command, environment in started:
        environment.pop("LC_CTYPE", None)
        assert (command, environment) in wanted
    assert len(started) == len(wanted)
    order = (tmp_path / "order").read_text(encoding="utf-8").split()
    assert order == ["dynamo.frontend", "dynamo.vllm", "dynamo.vllm", "dynamo.vllm"]
    assert not state.exists()
    assert (tmp_path / "forkhouse-big-42/decode-1.log").exists()


def test_a_job_in_which_a_worker_dies_ends_with_its_code(tmp_path: Path) -> None:
    before = job_folders()
    (tmp_path / "die").touch()
    with start_job(tmp_path, TEXT.replace("with a blank & $HOME %h", "plain")) as job:
        _, said = job.communicate(timeout=30)
    assert job.returncode == 7
    assert "A process ended by itself with exit code 7" in said
    assert job_folders() == before


def test_a_job_asks_for_what_its_steps_take() -> None:
    script = batch_script(deployment(), python=Path("/env/bin/python"))
    assert "#SBATCH --gres=gpu:5\n" in script
    assert "#SBATCH --ntasks=4\n" in script
    assert "#SBATCH --cpus-per-task=16\n" in script
    small = batch_script(deployment(ON_CPU), python=Path("/env/bin/python"))
    assert "#SBATCH --gres" not in small
    assert "#SBATCH --cpus-per-task=4\n" in small


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
def test_shellcheck_takes_the_batch_script(tmp_path: Path) -> None:
    for text in (TEXT, ON_CPU):
        script = tmp_path / "batch"
        script.write_text(
            batch_script(deployment(text), python=Path("/e/bin/python")), encoding="utf-8"
        )
        result = subprocess.run(
            ["shellcheck", "--norc", str(script)], capture_output=True, text=True, check=False
        )
        assert (result.returncode, result.stdout) == (0, "")
