"""What Compose and Kubernetes have in common: the place in an image, probes, YAML."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from forkhouse.core.errors import UsageError
from forkhouse.documents.reading import BlockDumper
from forkhouse.serving.arranging import url

if TYPE_CHECKING:
    from collections.abc import Iterable

    from forkhouse.serving.arranging import Planned
    from forkhouse.serving.deployment import ContainerImage, Deployment

HEAD = "# Written by `forkhouse serve`. Change the deployment, and write it again.\n"
STATE = Path("/var/lib/forkhouse")
PROBE = (
    "import json, sys, urllib.request as ask\n"
    "with ask.urlopen(sys.argv[1], timeout=4) as answer:\n"
    "    text = answer.read()\n"
    "if len(sys.argv) > 2 and sys.argv[2] not in [one['id'] for one in json.loads(text)['data']]:\n"
    "    sys.exit(sys.argv[2] + ' is not listed: a role of its workers is not there')\n"
)
"""A program that asks an address, and whether a model is listed there."""


def image_of(deployment: Deployment) -> ContainerImage:
    """Return the image of a deployment. Raises UsageError where it names none."""
    if deployment.image is None:
        message = (
            f"The deployment {deployment.name} names no image. Add image: {{reference: NAME}}, an "
            "image in which the wheelhouse is installed."
        )
        raise UsageError(message)
    return deployment.image


def probe(planned: Planned, python: str, host: str) -> list[str]:
    """Return the command that ends with 0 where a process is ready."""
    path = planned.health if planned.lists is None else "/v1/models"
    model = [] if planned.lists is None else [planned.lists]
    return [python, "-c", PROBE, url(host, planned.port, path), *model]


class _Dumper(BlockDumper):
    """Writes each value in full, and sequences below their key."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def documents(values: Iterable[object]) -> str:
    """Return values as YAML documents of one file."""
    text = yaml.dump_all(
        values, Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True, explicit_start=False
    )
    return HEAD + str(text)
