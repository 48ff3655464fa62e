"""What the maintainer of a patch series does with it.

Check it on a base, look at it, export it, carry it to a new base, begin a patch.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, replace
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import yaml

from forkhouse.core.errors import ForkhouseError, NoEffectError, UnreachableError, UsageError
from forkhouse.core.journal import Record, Stage
from forkhouse.core.storage import storage_errors, write_atomic
from forkhouse.documents.lockfile import (
    GitSource,
    SdistSource,
    Source,
    WheelSource,
    describe,
    parse_version,
)
from forkhouse.documents.reading import parse
from forkhouse.patches import merging
from forkhouse.patches.edits import StructuralEdit
from forkhouse.patches.ladder import Ladder, pin
from forkhouse.patches.renaming import renamed_paths
from forkhouse.patches.rendered import rendered
from forkhouse.patches.series import named, read_series
from forkhouse.patches.structural import apply_structural
from forkhouse.patches.verdicts import APPLIED, Judgement, Verdict
from forkhouse.radar.candidates import mirrored_commit, releases
from forkhouse.sources.git import mirror_address, remote_tag
from forkhouse.sources.store import AUTHOR, REGULAR

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from forkhouse.documents.lockfile import Form
    from forkhouse.flow.plant import Plant
    from forkhouse.patches.series import Patch
    from forkhouse.sources.acquire import SourceTree
    from forkhouse.sources.store import ObjectStore


class Measured(Record):
    """A release that the lock does not pin, as it was fetched."""

    sha256: str


_RELEASE = Stage("release", Measured)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """A series laid out on its pin."""

    upstream: str
    source: SourceTree
    patches: tuple[Patch, ...]
    """The patches that are meant for this form of the upstream."""
    ladder: Ladder
    """Knows the textual form of each patch."""

    @property
    def form(self) -> Form:
        """The form of the upstream."""
        return self.source.source.kind

    @property
    def store(self) -> ObjectStore:
        """Where the trees are."""
        return self.ladder.store

    @property
    def patched(self) -> str:
        """The tree with the whole series applied at the pin."""
        return self.ladder.pinned[self.patches[-1].name].after if self.patches else self.source.tree


@dataclass(frozen=True, kw_only=True, slots=True)
class SeriesChange:
    """What `refresh` did, or would do, for one patch in one form of its upstream."""

    form: Form
    patch: str
    verdict: Verdict
    action: str


def open_bench(plant: Plant, upstream: str) -> Bench:
    """Apply a series at its pin, in the first form of the upstream that can be had here.

    Raises UsageError for an unknown upstream, PatchConflictError when the series does not apply at
    its own pin.
    """
    plant.checkout.upstream(upstream)
    return bench_on(plant, upstream, forms=("git", "sdist", "wheel", "debian-source"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Absent:
    """A form of an upstream that cannot be fetched here.

    So nothing is known of the series in this form.
    """

    form: Form
    reason: str


def open_benches(plant: Plant, upstream: str) -> tuple[list[Bench], list[Absent]]:
    """Apply a series at its pin in every form of the upstream that some profile builds from.

    The preferred form comes first. Returns also the forms that cannot be fetched here, each with
    the reason. Raises UsageError for an unknown upstream, PatchConflictError when the series does
    not apply at its own pin, and the error of the last fetch where no form can be fetched.
    """
    built = plant.checkout.forms(upstream)
    benches, absent = [], []
    failure: ForkhouseError | None = None
    for source in plant.checkout.upstream(upstream).sources:
        if source.kind not in built:
            continue
        try:
            benches.append(bench_on(plant, upstream, forms=[source.kind]))
        except (UnreachableError, UsageError) as error:
            failure = error
            absent.append(Absent(form=source.kind, reason=" ".join(str(error).split())))
    if not benches:
        forms = ", ".join(source.kind for source in plant.checkout.upstream(upstream).sources)
        message = (
            f"The lock has {upstream} as {forms}, and its recipes build from "
            f"{', '.join(sorted(built))}. Correct the one or the other."
        )
        raise failure or UsageError(message)
    return benches, absent


def bench_on(plant: Plant, upstream: str, *, forms: Collection[Form]) -> Bench:
    """Apply a series at its pin in one of the given forms of the upstream."""
    source = plant.supplies.acquire(upstream, plant.lock.upstreams[upstream], forms)
    patches = tuple(
        patch for patch in plant.checkout.series(upstream) if patch.is_for(source.source.kind)
    )
    ladder = Ladder(
        store=plant.store, paths=source.source.paths, pinned={}, form=source.source.kind
    )
    pinned = pin(source.tree, patches, ladder)
    return Bench(
        upstream=upstream, source=source, patches=patches, ladder=replace(ladder, pinned=pinned)
    )


def judge(plant: Plant, bench: Bench, version: str | None) -> list[Judgement]:
    """Judge a series on another release of its upstream, or on its pin when `version` is None."""
    base = bench.source.tree if version is None else other_base(plant, bench, version)[0]
    return bench.ladder.judge_series(base, bench.patches)


def find_patches(benches: Sequence[Bench], name: str | None) -> list[tuple[Bench, list[Patch]]]:
    """Return in each form the patches whose names begin with `name`, all when it is None.

    Raises UsageError when no form has one.
    """
    found = [
        (bench, [patch for patch in bench.patches if patch.name.startswith(name or "")])
        for bench in benches
    ]
    if not any(patches for _, patches in found):
        names = (
            ", ".join(dict.fromkeys(patch.name for bench in benches for patch in bench.patches))
            or "none"
        )
        message = (
            f"No patch of {benches[0].upstream} begins with '{name or ''}'. Its patches here: "
            f"{names}."
        )
        raise UsageError(message)
    return found


def other_base(plant: Plant, bench: Bench, version: str) -> tuple[str, int]:
    """Return tree and time of another version of the bench's upstream, in the same form.

    Raises UsageError for a version that is not offered, or a source that is no registry package;
    UnreachableError.
    """
    source = bench.source.source
    if isinstance(source, SdistSource | WheelSource):
        wanted = parse_version(version)
        found = [
            release for release in releases(plant.registry, source) if release.version == wanted
        ]
        if not found:
            message = (
                f"No index offers {source.package} {version} as {source.kind} for this machine."
            )
            raise UsageError(message)
        return import_release(
            plant,
            bench.upstream,
            source.model_copy(update={"file": found[0].file, "version": version}),
        )
    if isinstance(source, GitSource):
        return _other_commit(plant, bench, source, version)
    message = (
        f"{describe(source)}: of Debian's source packages only the pinned version can be taken; "
        "--sources git takes others."
    )
    raise UsageError(message)


def _other_commit(plant: Plant, bench: Bench, source: GitSource, name: str) -> tuple[str, int]:
    """Return the tree and the time of a tag, a branch or a commit of a git source.

    `name` may also be a version, where the tags of the pinned release contain its version.
    """
    pinned = plant.checkout.upstream(bench.upstream)
    tags = [
        name,
        *(
            [source.tag.replace(pinned.version, name)]
            if source.tag and pinned.version in source.tag
            else []
        ),
    ]
    address = mirror_address(source.url, plant.access.mirror)
    if re.fullmatch(r"[0-9a-f]{40}", name):
        commit: str | None = name
    elif plant.access.mirror is not None:
        folder = Path(unquote(urlsplit(address).path))
        commit = mirrored_commit(folder, tags)
    else:
        plant.workspace.build.mkdir(parents=True, exist_ok=True)
        commit = next(
            (
                found
                for tag in dict.fromkeys(tags)
                if (found := remote_tag(address, tag, plant.workspace.build))
            ),
            None,
        )
    if commit is None:
        message = f"{address} has no tag {' or '.join(dict.fromkeys(tags))}."
        raise UsageError(message)
    other = source.model_copy(
        update={"commit": commit, "tag": None, "branch": None, "tree": None, "patched_tree": None}
    )
    alone = pinned.model_copy(update={"sources": (other,)})
    tree = plant.supplies.only("git").acquire(bench.upstream, alone, ["git"])
    return tree.tree, tree.epoch


def import_release(
    plant: Plant, upstream: str, source: SdistSource | WheelSource
) -> tuple[str, int]:
    """Return tree and time of a release that the lock does not pin.

    It is fetched and measured, not trusted to build from.
    """
    key = f"{source.package}-{source.file}"
    known = plant.journal.get(_RELEASE, key)
    sha256 = (
        known.sha256
        if known
        else plant.registry.download(plant.registry.find(source.package, source.file))[1]
    )
    if known is None:
        plant.journal.put(_RELEASE, key, Measured(sha256=sha256))
    pinned: Source = source.model_copy(
        update={"sha256": sha256, "tree": None, "patched_tree": None}
    )
    alone = plant.lock.upstreams[upstream].model_copy(update={"sources": (pinned,)})
    tree = plant.supplies.only("registry").acquire(upstream, alone, [source.kind])
    return tree.tree, tree.epoch


def explain(bench: Bench, patch: Patch) -> bytes:
    """Return what a patch changes at the pin, as a diff."""
    pinned = bench.ladder.pinned[patch.name]
    return rendered(pinned.before, pinned.after, bench.store)


def export(bench: Bench, folder: Path) -> list[Path]:
    """Write the series as git-format patches, which `git am` takes, and return their paths.

    Equal series give equal bytes.
    """
    written = []
    with storage_errors("Exporting the series"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for number, patch in enumerate(bench.patches, start=1):
            stem = re.sub(r"^\d{4}-|\.edit\.yaml$|\.patch$", "", patch.name)
            path = folder / f"{number:04}-{stem}.patch"
            path.write_bytes(
                format_patch(patch, explain(bench, patch), bench.source.epoch + number)
            )
            written.append(path)
    return written


def format_patch(patch: Patch, diff: bytes, epoch: int) -> bytes:
    """Return a patch in git's mail format, with its DEP-3 header as the message."""
    name, address = AUTHOR
    # What git writes anew, and what the diff that git writes no longer needs.
    header = re.sub(
        r"^(?:From|Subject:|Date:|---|Strip:).*\n?(?:(?<=\n)[ \t]+\S.*\n?)*",
        "",
        f"{patch.header}\n",
        flags=re.MULTILINE,
    )
    mail = (
        f"From {'0' * 40} Mon Sep 17 00:00:00 2001\nFrom: {name} <{address}>\nDate: "
        f"{formatdate(epoch)}\n"
        f"Subject: [PATCH] {patch.subject}\n\n{header.strip()}\n---\n"
    )
    return mail.encode("utf-8", "surrogateescape") + diff + b"-- \nforkhouse\n"


def lay_out(bench: Bench, folder: Path) -> None:
    """Write the patched source as files below `folder`, which is made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    bench.store.check_out(bench.patched, folder)


def refresh(
    benches: Sequence[Bench],
    bases: Sequence[str],
    *,
    series: Path,
    conflicts: Path,
    retire: bool,
    dry_run: bool,
) -> list[SeriesChange]:
    """Carry a series to another base in each form, rewriting only what must change.

    A file that moved is renamed in the edits that name it; a textual patch that had to be merged is
    written anew; with `retire`, what is upstream or has lost its object in every form leaves the
    series. For a conflict a work tree with the touched files and the cause is laid out below
    `conflicts`. With `dry_run` nothing is written, and the actions say what would be.
    """
    changes, rewritten = [], set()
    every = [
        bench.ladder.judge_series(base, bench.patches)
        for bench, base in zip(benches, bases, strict=True)
    ]
    alive = {
        each.patch
        for judged in every
        for each in judged
        if each.verdict in APPLIED or each.verdict is Verdict.CONFLICT
    }
    would = "would be " if dry_run else ""
    for bench, start, judged in zip(benches, bases, every, strict=True):
        base, form = start, bench.form
        for patch, judgement in zip(bench.patches, judged, strict=True):
            action = "unchanged"
            if judgement.verdict is Verdict.CONFLICT:
                action = f"needs a person: {judgement.cause}"
                if not dry_run:
                    folder = conflicts / patch.name
                    _lay_out_conflict(
                        bench, patch, judgement, folder if len(benches) == 1 else folder / form
                    )
            elif judgement.verdict not in APPLIED:
                if patch.name in alive:
                    action = f"kept, as another form needs it: {judgement.cause}"
                else:
                    action = (
                        f"{f'{would}retired' if retire else 'kept, --retire takes it out'}: "
                        f"{judgement.cause}"
                    )
                    if retire and not dry_run and patch.name not in rewritten:
                        _retire(series, patch)
                        rewritten.add(patch.name)
            elif patch.edit is None and judgement.verdict is Verdict.MERGED:
                action = f"{would}written anew"
                if patch.name in rewritten:
                    action = (
                        "needs a person: it was written anew for another form; a textual patch has "
                        "one text"
                    )
                elif not dry_run:
                    diff = rendered(base, judgement.tree, bench.store)
                    write_atomic(series / patch.name, format_patch(patch, diff, bench.source.epoch))
                rewritten.add(patch.name)
            elif judgement.renamed:
                action = f"{'would follow' if dry_run else 'follows'} its files: {judgement.cause}"
                if not dry_run:
                    _follow(series / patch.name, judgement, bench)
            changes.append(
                SeriesChange(form=form, patch=patch.name, verdict=judgement.verdict, action=action)
            )
            base = judgement.tree
    return changes


def _lay_out_conflict(bench: Bench, patch: Patch, judgement: Judgement, folder: Path) -> None:
    """Write what a person needs to resolve a conflict.

    That is the files on the new base, the intended patch, and the cause.
    """
    pinned = bench.ladder.pinned[patch.name]
    shutil.rmtree(folder, ignore_errors=True)
    for delta in merging.difference(pinned.before, pinned.after, store=bench.store).deltas:
        path = delta.new_file.path
        entry = bench.store.entry(judgement.tree, path)
        if entry is not None and entry.mode in REGULAR:
            write_atomic(folder / "tree" / path, bench.store.read(judgement.tree, path))
    write_atomic(folder / "intent.diff", rendered(pinned.before, pinned.after, bench.store))
    write_atomic(folder / "CAUSE", f"{judgement.cause}\n".encode())


def _retire(series: Path, patch: Patch) -> None:
    order = (series / "series").read_text(encoding="utf-8").splitlines(keepends=True)
    write_atomic(
        series / "series", "".join(line for line in order if named(line) != patch.name).encode()
    )
    (series / patch.name).unlink()


def _follow(path: Path, judgement: Judgement, bench: Bench) -> None:
    """Let an edit name the new place of its file, in the upstream's own terms.

    Nothing else of it changes.
    """
    prefixes = bench.source.source.paths.items()
    moved = {
        old: next(
            (
                prefix + new.removeprefix(mapped)
                for prefix, mapped in prefixes
                if new.startswith(mapped)
            ),
            new,
        )
        for old, new in judgement.renamed.items()
    }
    text = renamed_paths(path.read_bytes().decode("utf-8"), moved)
    parse(StructuralEdit, text, name=path.name)  # as it is read at the next run
    write_atomic(path, text.encode())


def begin(
    bench: Bench,
    series: Path,
    *,
    subject: str,
    description: str,
    path: str,
    language: str,
    selector: tuple[str, str],
    text: str,
) -> Path:
    """Write a new edit that replaces the match of a selector by `text`, and return its path.

    `selector` is a kind and a value. Empty `text` removes the match. The edit is written only after
    it has been applied. Raises what applying raises, and NoEffectError when the edit changes
    nothing; the series then stays as it is.
    """
    kind, value = selector
    operation = {"replace": {kind: value}, "with": text} if text else {"remove": {kind: value}}
    values = {
        "Subject": subject,
        "Description": description,
        "Origin": "vendor, Forkhouse",
        "Forwarded": "no",
        "Retire-When": "the upstream does this itself",
        "edits": [{"path": path, "language": language, "operations": [operation]}],
    }
    content = yaml.dump(values, sort_keys=False, width=110, allow_unicode=True)
    number = 1 + max((int(patch.name[:4]) for patch in read_series(series)), default=0)
    words = re.findall(r"[a-z0-9]+", subject.lower())
    name = f"{number:04}-{'-'.join(words)}.edit.yaml"
    edit = parse(StructuralEdit, content, name=name)
    if (
        apply_structural(bench.patched, edit, bench.ladder.paths, store=bench.store, where=name)
        == bench.patched
    ):
        message = f"{name} would change nothing in {path}; it was not written."
        raise NoEffectError(message)
    order = series / "series"
    before = order.read_text(encoding="utf-8") if order.is_file() else ""
    write_atomic(series / name, content.encode())
    write_atomic(order, f"{before}{name}\n".encode())
    return series / name
