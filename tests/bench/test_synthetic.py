from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.peers import Case, Replay, git_apply, git_apply_3way, missing, must, named_paths, run
from bench.synthetic import Truth, Upstream, generate, judge, summary
from forkhouse.patches.ladder import Ladder, pin
from forkhouse.patches.verdicts import APPLIED, Verdict
from forkhouse.sources.store import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from forkhouse.patches.series import Patch

pytestmark = pytest.mark.skipif("git" in missing(), reason="git is not installed")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Upstream, ObjectStore]:
    folder = tmp_path_factory.mktemp("synthetic")
    store = ObjectStore(folder / "store")
    return generate(store, folder / "patches", seed=3, commits=20, sites=56), store


def cases(upstream: Upstream, right: Callable[[Truth], bool]) -> list[tuple[Patch, str, Truth]]:
    """Return each patch, tree and truth that is asked for, the newest of each patch."""
    found = {}
    for tree, truths in zip(upstream.trees, upstream.truths, strict=True):
        found.update(
            {
                patch.name: (patch, tree, truths[patch.name])
                for patch in upstream.patches
                if right(truths[patch.name])
            }
        )
    return list(found.values())


def real(
    patch: Patch, tree: str, upstream: Upstream, store: ObjectStore, tool: Callable[[Case], Replay]
) -> tuple[Replay, Case]:
    """Let a tool apply the diff that a patch makes on the first commit."""
    pinned = pin(upstream.trees[0], [patch], Ladder(store=store, paths={}, pinned={}))[patch.name]
    twin = must(
        run(store.folder, "git", "diff", "--full-index", pinned.before, pinned.after)
    ).stdout
    files = {
        path: store.read(tree, path)
        for path in named_paths(twin)
        if store.entry(tree, path) is not None
    }
    case = Case(files=files, patch=twin, objects=store.folder / "objects")
    return tool(case), case


def test_a_seed_gives_one_history_and_another_seed_another(tmp_path: Path) -> None:
    first, again, other = (
        generate(
            ObjectStore(tmp_path / str(number)),
            tmp_path / f"patches-{number}",
            seed=seed,
            commits=12,
            sites=12,
        )
        for number, seed in enumerate((5, 5, 6))
    )
    assert first == again
    assert first.commits != other.commits


def test_history_is_one_line_of_commits_that_each_change_something(
    made: tuple[Upstream, ObjectStore],
) -> None:
    upstream, store = made
    assert len(upstream.commits) == len(upstream.trees) == len(upstream.truths) == 20
    listed = (
        must(run(store.folder, "git", "rev-list", "--reverse", upstream.commits[-1]))
        .stdout.decode()
        .split()
    )
    assert tuple(listed) == upstream.commits
    assert len(set(upstream.trees)) == len(upstream.trees)


def test_what_should_be_clean_is_what_git_applies_strictly(
    made: tuple[Upstream, ObjectStore],
) -> None:
    upstream, store = made
    found = cases(upstream, lambda truth: truth.verdicts == {Verdict.CLEAN})
    assert len(found) > 20
    for patch, tree, truth in found:
        replay, _ = real(patch, tree, upstream, store, git_apply)
        assert replay.claimed, patch.name
        assert replay.files == {truth.path: store.repository[truth.blob].read_raw()}, patch.name


def test_what_should_be_merged_is_what_git_applies_with_a_merge_alone(
    made: tuple[Upstream, ObjectStore],
) -> None:
    upstream, store = made
    found = cases(upstream, lambda truth: truth.verdicts == {Verdict.MERGED})
    assert found
    for patch, tree, truth in found:
        assert not real(patch, tree, upstream, store, git_apply)[0].claimed, patch.name
        replay, _ = real(patch, tree, upstream, store, git_apply_3way)
        assert replay.claimed, patch.name
        assert replay.files == {truth.path: store.repository[truth.blob].read_raw()}, patch.name


def test_what_only_the_structural_form_can_do_is_what_git_refuses(
    made: tuple[Upstream, ObjectStore],
) -> None:
    upstream, store = made
    found = cases(upstream, lambda truth: truth.verdicts == {Verdict.RESTRUCTURED})
    assert found
    for patch, tree, truth in found:
        # A merge may go through where a whole function is put anew, and keeps what was put into it;
        # else nothing may.
        replay, _ = real(patch, tree, upstream, store, git_apply)
        assert not replay.claimed or replay.files != {
            truth.path: store.repository[truth.blob].read_raw()
        }, patch.name


def test_what_is_gone_is_gone_and_what_is_upstream_is_there(
    made: tuple[Upstream, ObjectStore],
) -> None:
    upstream, store = made
    for patch, tree, truth in cases(
        upstream, lambda truth: truth.why.endswith("file-deleted") and "renamed" not in truth.why
    ):
        replay, case = real(patch, tree, upstream, store, git_apply)
        assert not case.files, patch.name
        assert not replay.claimed
        # Where the same lines came to another file, nobody can tell that they are another patch's.
        assert truth.verdicts - {Verdict.CONFLICT} == {Verdict.OBSOLETE}
    upstreamed = cases(upstream, lambda truth: truth.why == "upstreamed")
    assert upstreamed
    for patch, tree, _ in upstreamed:
        _, case = real(patch, tree, upstream, store, git_apply)
        backwards = must(
            run(store.folder, "git", "diff", "-R", *_sides(patch, upstream, store))
        ).stdout
        assert git_apply(Case(files=case.files, patch=backwards)).claimed, patch.name


def test_what_was_carried_elsewhere_is_in_another_file(made: tuple[Upstream, ObjectStore]) -> None:
    upstream, store = made
    found = cases(upstream, lambda truth: truth.why.endswith("carried"))
    assert found
    for patch, tree, truth in found:
        assert Verdict.CONFLICT in truth.verdicts
        assert Verdict.OBSOLETE not in truth.verdicts
        (name,) = {word for word in patch.subject.split() if word.startswith("target_")} or {""}
        before, after = (
            {file.path for file in store.files(each) if name.encode() in file.content}
            for each in (upstream.trees[0], tree)
        )
        assert not name or (before and after and before != after), patch.name


def _sides(patch: Patch, upstream: Upstream, store: ObjectStore) -> tuple[str, str]:
    pinned = pin(upstream.trees[0], [patch], Ladder(store=store, paths={}, pinned={}))[patch.name]
    return pinned.before, pinned.after


def test_no_verdict_that_says_applied_leaves_a_wrong_tree(
    made: tuple[Upstream, ObjectStore],
) -> None:
    findings = judge(*made)
    assert [finding for finding in findings if finding.silently_wrong] == []
    assert {finding.verdict for finding in findings} == set(Verdict)


def test_the_figures_count_wrong_verdicts_and_wrong_trees(
    made: tuple[Upstream, ObjectStore],
) -> None:
    upstream, store = made
    # The truth about another commit is no longer the truth.
    crooked = Upstream(
        commits=upstream.commits,
        trees=(upstream.trees[0],) * 20,
        patches=upstream.patches,
        truths=upstream.truths,
    )
    figures = summary(judge(crooked, store))
    assert isinstance(figures["right"], float)
    assert figures["right"] < 1
    assert figures["silent-wrong"]
    assert figures["mistakes"]


def test_applied_verdicts_come_with_the_tree_that_is_right(
    made: tuple[Upstream, ObjectStore],
) -> None:
    upstream, _ = made
    assert all(truth.blob for truth in upstream.truths[0].values() if truth.verdicts & APPLIED)
