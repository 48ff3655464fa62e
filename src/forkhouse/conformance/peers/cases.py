"""The cases of a suite: its scripts' calls replayed, or operations tried on its documents."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from forkhouse.conformance.peers import PeersError
from forkhouse.conformance.peers.calls import Call
from forkhouse.conformance.peers.documents import DocumentText, try_document
from forkhouse.conformance.peers.outcome import CaseOutcome, CaseResult
from forkhouse.conformance.peers.runs import captured
from forkhouse.sources.archives import read_tar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from forkhouse.conformance.peers.readers import Language
    from forkhouse.conformance.peers.replay import Judge
    from forkhouse.conformance.peers.suite import PeerSuite
    from forkhouse.sources.store import TreeFile

LANGUAGES: dict[str, Language] = {
    "toml-test": "toml",
    "yaml-test-suite": "yaml",
    "json-test-suite": "json",
}
"""The suites of documents; the others are of calls."""


def of_calls(suite: PeerSuite, archive: Path, folder: Path, judge: Judge) -> Iterator[CaseResult]:
    """Yield what becomes of every distinct call of a suite's scripts.

    Raises PeersError when the suite cannot be run.
    """
    for script in captured(suite.suite, archive, suite.parts, folder):
        for call in script.calls():
            if isinstance(call, Call):
                yield judge.replay(call, script)
            else:
                yield CaseResult(id=call.id, outcome=CaseOutcome.PASSED_OVER, said=call.why)


def of_documents(suite: PeerSuite, archive: Path) -> Iterator[CaseResult]:
    """Yield what becomes of every operation on a suite's documents.

    Raises PeersError when a part of it has none.
    """
    files, _ = read_tar(archive)
    for part in suite.parts:
        found = sorted(
            (file for file in files if fnmatchcase(file.path, part)), key=lambda file: file.path
        )
        texts = [text for file in found for text in _texts(suite.suite, file)]
        if not texts:
            message = f"{archive.name} has no documents in {part}."
            raise PeersError(message)
        for text in texts:
            yield from try_document(text, LANGUAGES[suite.suite])


def _texts(suite: str, file: TreeFile) -> Iterator[DocumentText]:
    if suite == "toml-test":
        _, _, name = file.path.partition("/toml-test/tests/")
        try:
            text = file.content.decode("utf-8")
        except UnicodeDecodeError:
            text = None
        yield DocumentText(
            id=name.removesuffix(".toml"), text=text, valid=name.startswith("valid/")
        )
        return
    _, keyword, values = file.content.decode("utf-8").partition("export default")
    if not keyword:
        return  # it only names the others
    held = json.loads(values.strip().removesuffix(";"))
    if suite == "yaml-test-suite":
        for number, case in enumerate(held["cases"]):
            yield DocumentText(
                id=f"{held['id']}.{number}", text=case["yaml"], valid=not case.get("fail")
            )
    else:
        says = {"y": True, "n": False, "i": None}
        for case in held:
            yield DocumentText(
                id=case["name"].removesuffix(".json"),
                text=case["input"],
                valid=says.get(case["name"].partition("_")[0], True),
            )
