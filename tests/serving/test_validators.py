"""What is written for containers, held against the schemas of Kubernetes and Compose.

They come with packages of others, which `nox -s validators` installs.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
import yaml

from forkhouse.serving.writers.compose import compose_file
from forkhouse.serving.writers.kubernetes import manifests
from tests.serving.test_writers import ON_CPU, TEXT, deployment

WHY = "`nox -s validators` installs what reads the schemas"
ETCD = "planes: {discovery: etcd, etcd: 'http://etcd:2379'}\n"


def validator(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError:
        pytest.skip(WHY)


@pytest.mark.parametrize("text", [TEXT, ON_CPU + ETCD], ids=["mi210", "cpu"])
def test_kubernetes_takes_the_manifests(text: str) -> None:
    validate = validator("kubernetes_validate")
    count = 0
    for content in manifests(deployment(text)).values():
        for each in yaml.safe_load_all(content):
            validate.validate(each, "1.31", strict=True)
            count += 1
            each["spec"]["unknown"] = 1
            with pytest.raises(validate.ValidationError):
                validate.validate(each, "1.31", strict=True)
    assert count == 7


@pytest.mark.parametrize("text", [TEXT, ON_CPU], ids=["mi210", "cpu"])
def test_compose_takes_the_file(text: str) -> None:
    reader = validator("compose_spec").PyCompose
    # It does not put variables in, which Compose does before it looks at values.
    content = compose_file(deployment(text)).replace("${RENDER_GID:-render}", "render")
    read = reader.from_yaml(content)
    read.validate()
    names = {"frontend", "prefill-1", "decode-1"} | (
        {"prefill-2"} if text == TEXT else {"decode-2"}
    )
    assert set(read.service_names()) == names
    for wrong in (
        content.replace("restart:", "restarts:", 1),
        content.replace("type: bind", "type: bound", 1),
    ):
        with pytest.raises(ValueError, match="line"):
            reader.from_yaml(wrong)
