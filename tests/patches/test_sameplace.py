"""A patch does not change another item, or another word, than it did at the pin."""

from __future__ import annotations

from textwrap import indent
from typing import TYPE_CHECKING

import pytest
from pygit2.enums import FileMode

from forkhouse.patches.ladder import Ladder, pin
from forkhouse.patches.series import read_series
from forkhouse.patches.verdicts import Verdict
from forkhouse.sources.store import ObjectStore, TreeFile

if TYPE_CHECKING:
    from pathlib import Path

HEADER = "Subject: s\nDescription: d\nOrigin: o\nForwarded: no\nRetire-When: never\n"


def judged(
    store: ObjectStore, folder: Path, language: str, operation: str, at_pin: str, now: str
) -> tuple[Verdict, str, str]:
    """Return the verdict, its cause, and the file's text with the patch applied."""
    folder.mkdir()
    (folder / "series").write_text("0001-edit.edit.yaml\n", encoding="utf-8")
    edit = (
        f"{HEADER}edits:\n  - path: file\n    language: {language}\n    "
        f"operations:\n{indent('- ' + operation, '      ')}\n"
    )
    (folder / "0001-edit.edit.yaml").write_text(edit, encoding="utf-8")
    series = read_series(folder)
    trees = [
        store.import_files([TreeFile(path="file", content=text.encode(), mode=FileMode.BLOB)])
        for text in (at_pin, now)
    ]
    plain = Ladder(store=store, paths={}, pinned={})
    ladder = Ladder(store=store, paths={}, pinned=pin(trees[0], series, plain))
    (judgement,) = ladder.judge_series(trees[1], series)
    text = store.read(judgement.tree, "file").decode()
    return judgement.verdict, judgement.cause, text


ONE = "jobs:\n  - name: a\n    gpu: nv\n"
TWO = "jobs:\n  - name: n\n    gpu: nv\n  - name: a\n    gpu: nv\n"


@pytest.mark.parametrize(
    ("language", "operation", "at_pin", "now", "reason"),
    [
        (
            "yaml",
            "set: jobs.0.gpu\n  value: amd",
            "jobs:\n  - name: a\n    gpu: nv\n  - name: b\n    gpu: nv\n",
            "jobs:\n  - name: new\n    gpu: nv\n  - name: a\n    gpu: nv\n  - name: b\n"
            "    gpu: nv\n",
            "jobs.0 is another one than at the pin; that one has the number 1 now",
        ),
        (
            "json",
            "set: jobs.1\n  value: z",
            '{"jobs": ["a", "b"]}\n',
            '{"jobs": ["n", "a", "b"]}\n',
            "has the number 2 now",
        ),
        (
            "toml",
            "set: source.0.url\n  value: z",
            '[[source]]\nname = "a"\nurl = "x"\n',
            '[[source]]\nname = "n"\nurl = "y"\n\n[[source]]\nname = "a"\nurl = "x"\n',
            "has the number 1 now",
        ),
        (
            "yaml",
            "set: a\n  value: 2\n  document: 0",
            "a: 1\nname: x\n---\na: 3\nname: y\n",
            "a: 5\nname: n\n---\na: 1\nname: x\n---\na: 3\nname: y\n",
            "document 0 is another one than at the pin; that one has the number 1 now",
        ),
        # In one of several documents, which is named by its number or by what only it has.
        (
            "yaml",
            "set: jobs.0.gpu\n  value: amd\n  document: 1",
            f"x: 1\n---\n{ONE}",
            f"x: 1\n---\n{TWO}",
            "jobs.0 is another one than at the pin; that one has the number 1 now",
        ),
        (
            "yaml",
            "set: jobs.0.gpu\n  value: amd\n  document: 0",
            f"{ONE}---\nx: 1\n",
            f"{TWO}---\nx: 1\n",
            "jobs.0 is another one than at the pin; that one has the number 1 now",
        ),
        (
            "yaml",
            "set: jobs.0.gpu\n  value: amd\n  document: 2",
            f"x: 1\n---\n{ONE}---\n{ONE}",
            f"x: 1\n---\n{ONE}---\n{TWO}",
            "jobs.0 is another one than at the pin; that one has the number 1 now",
        ),
        (
            "yaml",
            "set: jobs.0.gpu\n  value: amd",
            f"x: 1\n---\n{ONE}",
            f"x: 1\n---\n{TWO}",
            "jobs.0 is another one than at the pin; that one has the number 1 now",
        ),
        (
            "yaml",
            "set: jobs.0.gpu\n  value: amd",
            ONE,
            f"x: 1\n---\n{TWO}",
            "jobs.0 is another one than at the pin; that one has the number 1 now",
        ),
        (
            "yaml",
            "add: jobs.0.env\n  value: 1",
            f"x: 1\n---\n{ONE}",
            f"x: 1\n---\n{TWO}",
            "jobs.0 is another one than at the pin; that one has the number 1 now",
        ),
        (
            "yaml",
            "replace: {key: jobs.0.gpu}\n  with: 'gpu: amd'",
            f"x: 1\n---\n{ONE}",
            f"x: 1\n---\n{TWO}",
            "jobs.0 is another one than at the pin; that one has the number 1 now",
        ),
        (
            "yaml",
            "add: jobs.0.env.X\n  value: '1'",
            "jobs:\n  - name: a\n    env: {A: '1'}\n",
            "jobs:\n  - name: n\n    env: {B: '1'}\n  - name: a\n    env: {A: '1'}\n",
            "has the number 1 now",
        ),
        (
            "yaml",
            "item: {of: {key: jobs.0.args}, add: z}",
            "jobs:\n  - name: a\n    args: [x]\n",
            "jobs:\n  - name: n\n    args: [y]\n  - name: a\n    args: [x]\n",
            "has the number 1 now",
        ),
        (
            "yaml",
            "replace: {key: jobs.0}\n  with: '- name: z'",
            "jobs:\n  - name: a\n  - name: b\n",
            "jobs:\n  - name: n\n  - name: a\n  - name: b\n",
            "has the number 1 now",
        ),
        # A piece of a text that goes on in another way.
        (
            "text",
            "replace: {anchor: 'FROM nvidia/cuda:13.0'}\n  with: FROM rocm:7",
            "FROM nvidia/cuda:13.0\nRUN x\n",
            "FROM nvidia/cuda:13.0.1-devel\nRUN x\n",
            "a word by itself at the pin",
        ),
        (
            "python",
            "replace: {anchor: 'limit = 1'}\n  with: limit = 2",
            "limit = 1\n",
            "limit = 16\n",
            "a word by itself at the pin",
        ),
        (
            "text",
            "replace: {anchor: 'torch==2.1'}\n  with: 'torch==2.2'",
            "RUN pip install torch==2.1 x\n",
            "RUN pip install torch==2.10 y\n",
            "a word by itself at the pin",
        ),
        (
            "bash",
            "remove: {anchor: ' --gpus all'}",
            "docker run --gpus all x\n",
            "docker run --gpus=all x\n",
            "",
        ),
        ("text", "remove: {anchor: ' --gpus all'}", "run --gpus all x\n", "run --gpus=all y\n", ""),
        # The value stands there, but in another item.
        (
            "yaml",
            "set: jobs.0.gpu\n  value: amd",
            "jobs:\n  - name: a\n    gpu: nv\n",
            "jobs:\n  - name: n\n    gpu: amd\n  - name: a\n    gpu: nv\n",
            "",
        ),
    ],
)
def test_another_target_is_a_conflict(
    store: ObjectStore,
    tmp_path: Path,
    language: str,
    operation: str,
    at_pin: str,
    now: str,
    reason: str,
) -> None:
    verdict, cause, text = judged(store, tmp_path / "series", language, operation, at_pin, now)
    assert verdict is Verdict.CONFLICT, cause
    assert reason in cause
    assert text == now


@pytest.mark.parametrize(
    ("language", "operation", "at_pin", "now", "new"),
    [
        (
            "yaml",
            "set: jobs.0.gpu\n  value: amd",
            "jobs:\n  - name: a\n    gpu: nv\n",
            "jobs:\n  - name: a\n    gpu: nvidia\n    more: 1\n  - name: b\n    gpu: nv\n",
            "jobs:\n  - name: a\n    gpu: amd\n    more: 1\n  - name: b\n    gpu: nv\n",
        ),
        (
            "json",
            "set: jobs.0\n  value: z",
            '{"jobs": ["a", "b"]}\n',
            '{"jobs": ["c", "b", "d"]}\n',
            '{"jobs": ["z", "b", "d"]}\n',
        ),
        (
            "yaml",
            "set: a\n  value: 2\n  document: 1",
            "a: 1\n---\na: 3\nname: y\n",
            "a: 1\nb: 2\n---\na: 4\nname: y\n",
            "a: 1\nb: 2\n---\na: 2\nname: y\n",
        ),
        (
            "yaml",
            "set: jobs.0.gpu\n  value: amd",
            f"x: 1\n---\n{ONE}",
            f"{ONE.replace('nv', 'nvidia')}---\nx: 1\n---\ny: 1\n",
            f"{ONE.replace('nv', 'amd')}---\nx: 1\n---\ny: 1\n",
        ),
        (
            "yaml",
            "add: jobs.0.env\n  value: 1",
            f"x: [1]\n---\n{ONE}",
            f"x: [0, 1]\n---\n{ONE}    more: 2\n",
            f"x: [0, 1]\n---\n{ONE}    more: 2\n    env: 1\n",
        ),
        (
            "text",
            "replace: {anchor: 'nvidia/cuda'}\n  with: rocm/dev",
            "FROM nvidia/cuda:13.0\n",
            "FROM nvidia/cuda:13.1 AS x\n",
            "FROM rocm/dev:13.1 AS x\n",
        ),
        (
            "python",
            "replace: {anchor: 'limit = 1'}\n  with: limit = 2",
            "limit = 1\n",
            "limit = 1  # why\n",
            "limit = 2  # why\n",
        ),
    ],
)
def test_the_same_target_that_changed_is_changed(
    store: ObjectStore,
    tmp_path: Path,
    language: str,
    operation: str,
    at_pin: str,
    now: str,
    new: str,
) -> None:
    verdict, cause, text = judged(store, tmp_path / "series", language, operation, at_pin, now)
    assert (verdict in {Verdict.RESTRUCTURED, Verdict.MERGED}, text) == (True, new), cause
