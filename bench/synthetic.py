"""A synthetic upstream whose churn is known, so that every verdict can be held against the truth.

`python -m bench.synthetic`.

Files are lists of blocks (functions, tables, groups of lines). Some blocks are *sites*: a patch is
about a line of them. Each commit does a little of what upstreams do; because it is done to the
model and not to text, what should become of each patch is known, and so is the tree that it should
give.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click
import yaml
from pygit2.enums import FileMode

from bench.apply import START
from bench.dialects import DIALECTS, Recipe
from bench.peers import PEERS, Case, missing, must, named_paths, run
from forkhouse.core.storage import write_atomic
from forkhouse.patches.ladder import Ladder, pin
from forkhouse.patches.merging import difference
from forkhouse.patches.series import Patch, read_series
from forkhouse.patches.verdicts import APPLIED, Verdict
from forkhouse.sources.store import ObjectStore, TreeEntry, TreeFile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.dialects import Dialect

HOUR = 3600
FATES = (
    "upstreamed",
    "reworded",
    "renamed",
    "signature",
    "deleted",
    "carried",
    "file-deleted",
    "copied",
)
CHANGES = ("near", "moved", "reformatted", "file-renamed")


@dataclass(slots=True)
class Block:
    """A stretch of a file; `old` is what a patch is about, and `new` what it makes of it."""

    name: str
    text: str
    old: str = ""
    new: str = ""
    copy: bool = False
    """It was copied from the target of a patch, and stays as it is."""


@dataclass(slots=True)
class File:
    """A file of the upstream."""

    path: str
    dialect: Dialect
    blocks: list[Block]
    inserted: int = 0

    def text(self, changed: Mapping[str, str] | None = None) -> str:
        """Return the file's text, with some blocks (by name) given another one."""
        return "\n".join((changed or {}).get(block.name, block.text) for block in self.blocks)


@dataclass(slots=True)
class Site:
    """A patch, and the fate of its target."""

    patch: str
    recipe: Recipe
    file: File
    block: Block
    done: set[str] = field(default_factory=set)
    fate: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Truth:
    """What should become of a patch on a commit."""

    verdicts: frozenset[Verdict]
    """The right verdict; several where more than one is right."""
    path: str = ""
    blob: str = ""
    """The content of the one file when it is rightly patched.

    Nothing where that is not known, or nothing is there to patch.
    """
    why: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Upstream:
    """A history with its patches and the truth about them."""

    commits: tuple[str, ...]
    trees: tuple[str, ...]
    patches: tuple[Patch, ...]
    truths: tuple[Mapping[str, Truth], ...]
    """For each commit, by patch name."""


def generate(
    store: ObjectStore, folder: Path, *, seed: int, commits: int, sites: int, still: int = 0
) -> Upstream:
    """Make a history in `store` and its series in `folder`.

    `still` more files lie there and never change.
    """
    return _Generator(store, seed, commits, sites, still).run(folder)


class _Generator:
    def __init__(self, store: ObjectStore, seed: int, commits: int, sites: int, still: int) -> None:
        self.store = store
        self.still = still
        self.random = random.Random(seed)  # a seed is the point
        self.number = 0
        self.files: list[File] = []
        self.sites: list[Site] = []
        cases = [
            (dialect, recipe, fate)
            for dialect in DIALECTS
            for recipe in dialect.recipes
            for fate in ("", *FATES)
            if fate not in {"signature", "reworded"} or getattr(recipe, fate)
        ]
        self.random.shuffle(cases)
        self.length = commits
        self.plan: defaultdict[int, list[tuple[Site, str]]] = defaultdict(list)
        for number in range(sites or len(cases)):
            dialect, recipe, fate = cases[number % len(cases)]
            self._schedule(self._site(number, dialect, recipe), fate, commits)
        for _ in range(len(self.sites) // 3):
            dialect = self.random.choice(DIALECTS)
            self.files.append(
                File(
                    path=self._path(dialect),
                    dialect=dialect,
                    blocks=[self._neutral(dialect) for _ in range(8)],
                )
            )

    def _next(self) -> int:
        self.number += 1
        return self.number

    def _path(self, dialect: Dialect) -> str:
        area = self.random.choice(("core", "engine", "tools", "transfer"))
        return f"{area}/part_{self._next()}{dialect.suffix}"

    def _neutral(self, dialect: Dialect) -> Block:
        name = f"{self.random.choice(('load', 'move', 'plan', 'send'))}_{self._next()}"
        return Block(
            name=name,
            text=dialect.block(name, dialect.filler(name, "middle", self.random), self.random),
        )

    def _site(self, number: int, dialect: Dialect, recipe: Recipe) -> Site:
        name = f"target_{self._next()}"
        text = dialect.block(name, recipe.old, self.random)
        new = text.replace(recipe.old, recipe.new)
        block = (
            Block(name=name, text=text, old=text, new=new)
            if recipe.whole
            else Block(name=name, text=text, old=recipe.old, new=recipe.new)
        )
        blocks = [self._neutral(dialect) for _ in range(9)]
        blocks.insert(self.random.randrange(2, 8), block)
        file = File(path=self._path(dialect), dialect=dialect, blocks=blocks)
        self.files.append(file)
        kind = "patch" if recipe.operations is None else "edit.yaml"
        self.sites.append(
            Site(
                patch=f"{number + 1:04}-{recipe.name}.{kind}", recipe=recipe, file=file, block=block
            )
        )
        return self.sites[-1]

    def _schedule(self, site: Site, fate: str, commits: int) -> None:
        """Give a site some changes that it outlives, then its fate."""
        possible = [
            change for change in CHANGES if change != "reformatted" or site.recipe.reformatted
        ]
        for change in self.random.sample(possible, self.random.randrange(3)):
            self.plan[self.random.randrange(1, max(2, commits // 2))].append((site, change))
        if fate:
            # Late, as what is carried elsewhere makes the deletion of its like ambiguous from then
            # on.
            begin = commits - max(1, commits // 8) if fate == "carried" else commits // 2 + 1
            self.plan[self.random.randrange(begin, commits)].append((site, fate))

    def run(self, folder: Path) -> Upstream:
        weight = [
            TreeFile(
                path=f"docs/page_{number}.txt",
                content=f"{number}\n".encode() * 500,
                mode=FileMode.BLOB,
            )
            for number in range(self.still)
        ]
        tree = self.store.import_files(weight)
        tree = self.store.with_entries(
            tree, {file.path: self._entry(file.text()) for file in self.files}
        )
        commit = self.store.commit(tree, message="Begin\n", epoch=START)
        patches = self._write_series(folder, tree)
        commits, trees, truths = (
            [commit],
            [tree],
            [{site.patch: self._truth(site) for site in self.sites}],
        )
        for number in range(1, self.length):
            before = {file.path: file for file in self.files}
            texts = {file.path: file.text() for file in self.files}
            said = [self._neutral_change()] + [
                self._change(site, change) for site, change in self.plan[number]
            ]
            after = {file.path: file for file in self.files}
            entries: dict[str, TreeEntry | None] = {
                path: None for path in before if path not in after
            }
            entries.update(
                {
                    path: self._entry(file.text())
                    for path, file in after.items()
                    if texts.get(path) != file.text()
                }
            )
            tree = self.store.with_entries(tree, entries)
            commit = self.store.commit(
                tree, message="; ".join(said) + "\n", epoch=START + number * HOUR, parents=(commit,)
            )
            commits.append(commit)
            trees.append(tree)
            touched = {site.patch for site, _ in self.plan[number]}
            if any(change == "carried" for _, change in self.plan[number]):
                touched = {site.patch for site in self.sites}  # what it says of others of its kind
            changed = {*entries}
            truths.append(
                {
                    site.patch: self._truth(site)
                    if site.patch in touched or site.file.path in changed
                    else truths[-1][site.patch]
                    for site in self.sites
                }
            )
        self.store.name("synthetic", commit)
        return Upstream(
            commits=tuple(commits), trees=tuple(trees), patches=patches, truths=tuple(truths)
        )

    def _entry(self, text: str) -> TreeEntry:
        return TreeEntry(
            blob=str(self.store.repository.create_blob(text.encode())), mode=FileMode.BLOB
        )

    def _write_series(self, folder: Path, tree: str) -> tuple[Patch, ...]:
        folder.mkdir(parents=True, exist_ok=True)
        for site in self.sites:
            target = folder / site.patch
            if site.recipe.operations is None:
                after = self.store.with_entries(
                    tree, {site.file.path: self._entry(self._patched(site))}
                )
                diff = difference(tree, after, store=self.store)
                target.write_text(
                    f"From: Synthetic <synthetic@localhost>\nSubject: {site.recipe.name}\n\nFor "
                    f"the benchmark.\n---\n{diff.patch}",
                    encoding="utf-8",
                )
                continue
            document = {
                "Subject": f"{site.recipe.name} in {site.block.name}",
                "Description": "For the benchmark.",
                "Origin": "vendor, synthetic",
                "Forwarded": "not-needed",
                "Retire-When": "never",
                "edits": [
                    {
                        "path": site.file.path,
                        "language": site.recipe.language,
                        "operations": site.recipe.fill(site.block.name, site.block.new),
                    }
                ],
            }
            target.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
        (folder / "series").write_text(
            "".join(f"{site.patch}\n" for site in self.sites), encoding="utf-8"
        )
        return read_series(folder)

    def _patched(self, site: Site) -> str:
        return site.file.text(
            {site.block.name: site.block.text.replace(site.block.old, site.block.new)}
        )

    def _neutral_change(self) -> str:
        file = self.random.choice(self.files)
        blocks = [block for block in file.blocks if not block.old and not block.copy]
        act = self.random.choice(("insert", "change", "remove", "new"))
        if act == "new":
            self.files.append(
                File(
                    path=self._path(file.dialect),
                    dialect=file.dialect,
                    blocks=[self._neutral(file.dialect) for _ in range(5)],
                )
            )
            return f"Add {self.files[-1].path}"
        # Not so much that git no longer knows the file by its content: that is a fate of its own.
        if act == "insert" and file.inserted < 3:
            file.inserted += 1
            file.blocks.insert(
                self.random.randrange(len(file.blocks) + 1), self._neutral(file.dialect)
            )
        elif act == "remove" and len(blocks) > 8:
            file.blocks.remove(self.random.choice(blocks))
        elif blocks:
            block = self.random.choice(blocks)
            lines = block.text.splitlines(keepends=True)
            lines[len(lines) // 2] = file.dialect.filler(
                block.name, f"v{self._next()}", self.random
            )
            block.text = "".join(lines)
        return f"Work on {file.path}"

    def _change(self, site: Site, change: str) -> str:
        file, block, recipe = site.file, site.block, site.recipe
        if site.fate or file not in self.files:
            return "Nothing"
        if change in CHANGES:
            site.done.add(change)
        else:
            site.fate = change
        match change:
            case "near":
                # Two lines above: within the context of a hunk, and with an unchanged line between.
                at = block.text.index(
                    recipe.reformatted if "reformatted" in site.done else recipe.old
                )
                above = block.text.rindex("\n", 0, at - 1) + 1
                line = file.dialect.filler(block.name, "near", self.random)
                self._rewrite(
                    block, block.text[:above] + line + block.text[above:], whole=recipe.whole
                )
            case "moved":
                file.blocks.remove(block)
                file.blocks.insert(self.random.choice((0, len(file.blocks))), block)
            case "reformatted":
                self._rewrite(
                    block, block.text.replace(recipe.old, recipe.reformatted), whole=recipe.whole
                )
                if not recipe.whole:
                    block.old, block.new = recipe.reformatted, recipe.new_reformatted or recipe.new
            case "file-renamed":
                file.path = self._path(file.dialect)
            case "upstreamed":
                block.text = block.text.replace(block.old, block.new)
            case "reworded" | "signature":
                block.text = block.text.replace(
                    recipe.reformatted if "reformatted" in site.done else recipe.old,
                    getattr(recipe, change),
                )
                if change == "signature" and recipe.new_signature is not None:
                    block.old, block.new = recipe.signature, recipe.new_signature
            case "renamed":
                block.text = recipe.rename(block.text, block.name)
            case "deleted":
                file.blocks.remove(block)
            case "carried":
                # Into a file that no patch is about, and that stays.
                taken = {id(other.file) for other in self.sites}
                free = [
                    each
                    for each in self.files
                    if each.dialect is file.dialect and id(each) not in taken
                ]
                if not free:
                    free = [
                        File(
                            path=self._path(file.dialect),
                            dialect=file.dialect,
                            blocks=[self._neutral(file.dialect)],
                        )
                    ]
                    self.files += free
                file.blocks.remove(block)
                self.random.choice(free).blocks.append(block)
            case "file-deleted":
                self.files.remove(file)
            case "copied":
                name = f"other_{self._next()}"
                copy = Block(name=name, text=block.text.replace(block.name, name), copy=True)
                file.blocks.insert(self.random.randrange(len(file.blocks)), copy)
        return f"{change} of {block.name}"

    def _rewrite(self, block: Block, text: str, *, whole: bool) -> None:
        block.text = text
        if whole:
            block.old = text

    def _truth(self, site: Site) -> Truth:
        why = " ".join((*sorted(site.done), site.fate)).strip() or "untouched"
        verdicts = _right_verdicts(site)
        if site.fate in {"deleted", "file-deleted"} and any(
            other.fate == "carried" and other.recipe.old == site.recipe.old for other in self.sites
        ):
            # The same lines came to another file, and nobody can tell that they are another
            # patch's.
            verdicts |= {Verdict.CONFLICT}
        known = site.fate in {"", "copied"} or (
            site.fate == "signature" and site.recipe.new_signature is not None
        )
        if not known:
            return Truth(verdicts=verdicts, why=why)
        blob = self._entry(self._patched(site)).blob
        return Truth(verdicts=verdicts, path=site.file.path, blob=blob, why=why)


def _right_verdicts(site: Site) -> frozenset[Verdict]:  # the truth, case by case
    textual = site.recipe.operations is None
    match site.fate:
        case "upstreamed" if textual and {"near", "moved"} <= site.done:
            # Neither the hunk as it was, nor a merge, shows that its effect is there.
            return frozenset({Verdict.UPSTREAMED, Verdict.CONFLICT})
        case "upstreamed":
            return frozenset({Verdict.UPSTREAMED})
        case "file-deleted":
            return frozenset({Verdict.OBSOLETE})
        case "deleted":
            # A text knows lines and no symbols: it cannot tell a deleted function from a changed
            # one.
            may = (
                {Verdict.OBSOLETE, Verdict.CONFLICT}
                if textual or site.recipe.language == "text"
                else {Verdict.OBSOLETE}
            )
            return frozenset(may | {Verdict.UPSTREAMED} if site.recipe.removal else may)
        case "reworded":
            may = {Verdict.CONFLICT, Verdict.UPSTREAMED, Verdict.OBSOLETE}
            return frozenset(may | APPLIED if site.recipe.whole else may)
        case "signature" if site.recipe.new_signature is not None and not textual:
            return frozenset({Verdict.RESTRUCTURED})
        case "signature":
            return frozenset(
                {Verdict.CONFLICT, *APPLIED} if site.recipe.whole else {Verdict.CONFLICT}
            )
        case "renamed" | "carried":
            # A removal is done in the file that it names.
            return frozenset(
                {Verdict.CONFLICT, Verdict.UPSTREAMED}
                if site.recipe.removal
                else {Verdict.CONFLICT}
            )
        case "copied" if textual:
            return frozenset({Verdict.CONFLICT, Verdict.CLEAN, Verdict.MERGED})
        case "copied" if not site.recipe.by_name:
            return frozenset({Verdict.CONFLICT})
        case "copied":
            return frozenset(APPLIED)
        case _:
            return _right_while_alive(site, textual=textual)


def _right_while_alive(site: Site, *, textual: bool) -> frozenset[Verdict]:
    if "reformatted" in site.done and (textual or site.recipe.language == "text"):
        return frozenset({Verdict.CONFLICT})
    broken = {"file-renamed", "reformatted"} & site.done
    if not ({"near"} & site.done or broken):
        return frozenset({Verdict.CLEAN})
    if textual and (broken or "moved" in site.done):
        return frozenset({Verdict.CONFLICT, Verdict.MERGED})
    if broken or site.recipe.whole:
        return frozenset({Verdict.RESTRUCTURED})
    return frozenset(
        {Verdict.MERGED, Verdict.RESTRUCTURED} if "moved" in site.done else {Verdict.MERGED}
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A verdict held against the truth."""

    commit: int
    patch: str
    why: str
    verdict: Verdict
    truth: frozenset[Verdict]
    silently_wrong: bool
    """It was applied, and the tree is not what it should be."""
    cause: str

    @property
    def right(self) -> bool:
        """Whether the verdict is among the right ones."""
        return self.verdict in self.truth


def judge(upstream: Upstream, store: ObjectStore) -> list[Finding]:
    """Judge every patch, alone, on every commit, and compare with the truth."""
    ladder = Ladder(store=store, paths={}, pinned={})
    pinned = {
        name: known
        for patch in upstream.patches
        for name, known in pin(upstream.trees[0], [patch], ladder).items()
    }
    ladder = Ladder(store=store, paths={}, pinned=pinned)
    findings = []
    for number, (tree, truths) in enumerate(zip(upstream.trees, upstream.truths, strict=True)):
        for patch in upstream.patches:
            truth = truths[patch.name]
            judgement = ladder.judge(tree, patch)
            applied = judgement.verdict in APPLIED
            wrong = False
            if applied and truth.blob:
                expected = store.with_entries(
                    tree, {truth.path: TreeEntry(blob=truth.blob, mode=FileMode.BLOB)}
                )
                wrong = judgement.tree != expected
            elif applied:
                wrong = not (truth.verdicts & APPLIED)
            findings.append(
                Finding(
                    commit=number,
                    patch=patch.name,
                    why=truth.why,
                    verdict=judgement.verdict,
                    truth=truth.verdicts,
                    silently_wrong=wrong,
                    cause=judgement.cause,
                )
            )
    return findings


def judge_peers(upstream: Upstream, store: ObjectStore) -> dict[str, dict[str, int]]:
    """Let the other tools apply the textual twin of every patch, once for each fate of its target.

    The tree that a right application gives is known. So a patch that a tool applies in the wrong
    place, or twice, is noticed.
    """
    ladder = Ladder(store=store, paths={}, pinned={})
    figures = {tool: {"replays": 0, "right": 0, "refused": 0, "silent-wrong": 0} for tool in PEERS}
    for patch in upstream.patches:
        pinned = pin(upstream.trees[0], [patch], ladder)[patch.name]
        command = (
            "git",
            f"--git-dir={store.folder}",
            "diff",
            "--full-index",
            "--no-ext-diff",
            pinned.before,
            pinned.after,
        )
        twin = must(run(store.folder, *command)).stdout
        seen: set[str] = set()
        for tree, truths in zip(upstream.trees, upstream.truths, strict=True):
            truth = truths[patch.name]
            if truth.why in seen or (not truth.blob and truth.verdicts & APPLIED):
                continue
            seen.add(truth.why)
            files = {
                path: store.read(tree, path)
                for path in named_paths(twin)
                if store.entry(tree, path) is not None
            }
            expected = (
                {truth.path: store.repository[truth.blob].read_raw()} if truth.blob else files
            )
            for tool, act in PEERS.items():
                made = act(Case(files=files, patch=twin, objects=store.folder / "objects"))
                outcome = (
                    "refused"
                    if not made.claimed
                    else "right"
                    if made.files == expected
                    else "silent-wrong"
                )
                figures[tool][outcome] += 1
                figures[tool]["replays"] += 1
    return figures


def summary(findings: Sequence[Finding]) -> dict[str, object]:
    """Return precision and recall of every verdict, and what was wrong."""
    figures = {}
    for verdict in Verdict:
        given = [finding for finding in findings if finding.verdict is verdict]
        # Recall is asked of the cases where one verdict alone is right.
        due = [finding for finding in findings if finding.truth == {verdict}]
        figures[str(verdict)] = {
            "given": len(given),
            "precision": round(sum(finding.right for finding in given) / len(given), 4)
            if given
            else None,
            "due": len(due),
            "recall": round(sum(finding.verdict is verdict for finding in due) / len(due), 4)
            if due
            else None,
        }
    mistakes = Counter(
        (
            finding.patch.split("-", 1)[1],
            finding.why,
            "|".join(sorted(finding.truth)),
            str(finding.verdict),
        )
        for finding in findings
        if not finding.right
    )
    silent = Counter(
        (finding.patch.split("-", 1)[1], finding.why, str(finding.verdict))
        for finding in findings
        if finding.silently_wrong
    )
    return {
        "replays": len(findings),
        "right": round(sum(finding.right for finding in findings) / len(findings), 4),
        "silent-wrong": sum(finding.silently_wrong for finding in findings),
        "verdicts": figures,
        "mistakes": [
            dict(zip(("patch", "churn", "truth", "verdict"), key, strict=True)) | {"times": times}
            for key, times in mistakes.most_common()
        ],
        "silently wrong": [
            dict(zip(("patch", "churn", "verdict"), key, strict=True)) | {"times": times}
            for key, times in silent.most_common()
        ],
    }


@click.command()
@click.option("--seed", default=1, show_default=True)
@click.option("--commits", default=260, show_default=True)
@click.option(
    "--sites",
    default=0,
    help="Patches in the series; unless given, as many as there are pairs of a kind of patch and "
    "a fate.",
)
@click.option(
    "--peers/--no-peers",
    default=True,
    show_default=True,
    help="Also let git, patch and quilt apply the textual twins.",
)
@click.option(
    "--json",
    "output",
    type=click.Path(path_type=Path),
    default=Path("build/bench/synthetic.json"),
    show_default=True,
)
def main(
    seed: int, commits: int, sites: int, peers: bool, output: Path
) -> None:  # click passes flags so
    """Measure precision and recall of every verdict on an upstream whose churn is known."""
    with tempfile.TemporaryDirectory(prefix="forkhouse-synthetic-") as scratch:
        store = ObjectStore(Path(scratch, "store.git"))
        upstream = generate(
            store, Path(scratch, "patches"), seed=seed, commits=commits, sites=sites
        )
        figures = summary(judge(upstream, store))
        others = judge_peers(upstream, store) if peers and not missing() else {}
    result = {
        "seed": seed,
        "commits": len(upstream.commits),
        "patches": len(upstream.patches),
        **figures,
        "peers": others,
    }
    write_atomic(output, json.dumps(result, indent=1).encode() + b"\n")
    click.echo(
        f"{result['replays']} replays, {result['right']:.2%} right, {result['silent-wrong']} "
        "silently wrong"
    )
    click.echo(f"{'verdict':<14}{'given':>7}{'precision':>11}{'due':>7}{'recall':>9}")
    for verdict, each in result["verdicts"].items():  # type: ignore[attr-defined]  # made above
        shown = [
            "-" if each[key] is None else f"{each[key]:.1%}" for key in ("precision", "recall")
        ]
        click.echo(f"{verdict:<14}{each['given']:>7}{shown[0]:>11}{each['due']:>7}{shown[1]:>9}")
    for tool, each in others.items():
        click.echo(f"{tool:<14}{each}")
    for title in ("mistakes", "silently wrong"):
        for each in result[title][:25]:  # type: ignore[index]  # made above
            click.echo(f"{title}: {each}")
    sys.exit(1 if result["silent-wrong"] else 0)


if __name__ == "__main__":
    main()
