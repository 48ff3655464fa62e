"""Which models vLLM is run for: data, in `cases.yaml`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from forkhouse.core.errors import UsageError
from forkhouse.documents.reading import Document, load

_FILE = Path(__file__).with_name("cases.yaml")


class ModelCase(Document):
    """A model, and the options of its engine."""

    why: str
    """What it adds: head size, grouping, type, or kind of layer."""
    core: bool = False
    """Whether it is compiled by default; the others by `--all` alone."""
    model: Annotated[str, Field(pattern=r"[a-z0-9.-]+")]
    """Name of a file in `models/`."""
    engine: dict[str, Any] = Field(default_factory=dict)
    """Options of `vllm.LLM`."""
    refused: str | None = None
    """What vLLM says when it does not serve the case on these GPUs; `why` says the reason."""

    @property
    def config(self) -> dict[str, Any]:
        """The model's config.json, as its makers published it, with fewer layers."""
        path = _FILE.with_name("models") / f"{self.model}.json"
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return config


class Cases(Document):
    """The whole file."""

    engine: dict[str, Any]
    """Options of `vllm.LLM` that every case has."""
    cases: dict[str, ModelCase] = Field(min_length=1)


def read_cases() -> Cases:
    """Return the cases. Raises DocumentError when the file is not well formed."""
    return load(Cases, _FILE)


def chosen(cases: Cases, names: tuple[str, ...], *, every: bool) -> dict[str, ModelCase]:
    """Return the cases of these names; without names those of the core, or every one.

    Raises UsageError for a name that is no case's.
    """
    if unknown := sorted(set(names) - set(cases.cases)):
        message = f"No case is called {', '.join(unknown)}. There are: {', '.join(cases.cases)}."
        raise UsageError(message)
    return {
        name: case
        for name, case in cases.cases.items()
        if (name in names if names else every or case.core)
    }
