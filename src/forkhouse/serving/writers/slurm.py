"""Write a Slurm batch script: each process is a step of a job on one node."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from forkhouse.serving.arranging import ProcessPlace, processes

if TYPE_CHECKING:
    from forkhouse.serving.arranging import Planned
    from forkhouse.serving.deployment import Deployment

CPUS_OF_A_GPU = 8
_STATE = "/forkhouse-state-of-the-job"
"""Stands for the folder of the job, whose name only the job knows."""

SCRIPT = """\
#!/bin/bash
# Written by `forkhouse serve`. Change the deployment, and write it again.
# Options of sbatch on its command line win over these.
#SBATCH --job-name=forkhouse-{name}
#SBATCH --nodes=1
#SBATCH --ntasks={tasks}
#SBATCH --cpus-per-task={cpus}
{gpus}#SBATCH --output=forkhouse-{name}-%j.log
# The job is told a while before its time is up.
#SBATCH --signal=B:TERM@{notice}

# finish() is called by a trap, and words in single quotes are meant as they stand.
# shellcheck disable=SC2317,SC2016
set -euo pipefail

# Of this node, and with a short path: names of sockets have a limit.
state=$(mktemp --directory "/tmp/fh-${{SLURM_JOB_ID:?}}-XXXXXX")
logs=${{SLURM_SUBMIT_DIR:?}}/forkhouse-{name}-$SLURM_JOB_ID
mkdir -p "$logs"
mkdir "$state"/{{home,discovery,caches,tmp}}
names=()
numbers=()

# SIGTERM makes srun(1) kill its step; of scancel(1) the step itself gets it, and ends in its time.
ask_to_end() {{
  local step
  step=$(squeue --noheader --steps --format='%i %j' |
    awk -v job="$SLURM_JOB_ID." -v name="$1" 'index($1, job) == 1 && $2 == name {{ print $1 }}')
  [[ -z $step ]] || scancel --signal=TERM "$step" || true
}}

# The front end, which is the first, ends first: so what it has begun is answered.
finish() {{
  trap '' TERM INT
  local at
  for at in "${{!names[@]}}"; do
    ask_to_end "${{names[at]}}"
    if ((at == 0)); then wait "${{numbers[0]}}" || true; fi
  done
  wait || true
  rm -rf -- "$state"
}}
trap finish EXIT
trap 'exit 0' TERM INT

# Memory is the job's, not a step's. A step sees the GPUs that Slurm gives to it, and no variables
# of the user.
step() {{
  local name=$1 gpus=$2
  shift 2
  srun --job-name="$name" --nodes=1 --ntasks=1 --exact --cpus-per-task="$SLURM_CPUS_PER_TASK" \
    --mem=0 --gres="$gpus" --export=NONE --output="$logs/$name.log" --chdir="$state" \
    /usr/bin/env "$@" &
  names+=("$name")
  numbers+=($!)
}}

{steps}

# Whoever ends without being asked ends the job: without that role nothing is answered.
code=0
wait -n || code=$?
echo "A process ended by itself with exit code $code; its log is in $logs." >&2
exit $((code == 0 ? 1 : code))
"""


def batch_script(deployment: Deployment, *, python: Path) -> str:
    """Return the batch script of a deployment, to be given to sbatch(1)."""
    place = ProcessPlace(
        python=python,
        model=Path(deployment.model.path),
        state=Path(_STATE),
        temporary=Path(_STATE) / "tmp",
        choose_gpus=False,
    )
    planned = processes(deployment, place)
    total = sum(each.gpus for each in planned)
    groups = [group for _, _, group in deployment.roles.groups()]
    cpus = (
        CPUS_OF_A_GPU * max(group.gpus for group in groups)
        if total
        else 1 + max(group.threads for group in groups)
    )
    notice = deployment.supervision.drain + deployment.supervision.end
    return SCRIPT.format(
        name=deployment.name,
        tasks=len(planned),
        cpus=cpus,
        gpus=f"#SBATCH --gres=gpu:{total}\n" if total else "",
        notice=max(1, round(notice)),
        steps="\n\n".join(_step(each) for each in planned),
    )


def _step(planned: Planned) -> str:
    gpus = f"gpu:{planned.gpus}" if planned.gpus else "none"
    words = [
        *(f"{name}={value}" for name, value in planned.environment.items()),
        *planned.command,
    ]
    lines = " \\\n  ".join(_quoted(word) for word in words)
    return f"step {planned.name} {gpus} \\\n  {lines}"


def _quoted(word: str) -> str:
    """Return a word as a shell takes it, with the job's folder in it."""
    parts = word.split(_STATE)
    return '"$state"'.join(shlex.quote(part) if part else "" for part in parts) or "''"
