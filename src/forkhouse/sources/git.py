"""Fetch pinned commits through bare mirrors, and check tag, commit and tree against the lock."""

from __future__ import annotations

import contextlib
import re
import shutil
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pygit2

from forkhouse.core.digests import digest
from forkhouse.core.errors import (
    ForkhouseError,
    HashMismatchError,
    MovedTagError,
    RefusedRepositoryError,
    StorageError,
    ToolchainError,
    UnreachableError,
    UnsafeArchiveError,
)
from forkhouse.core.progress import report
from forkhouse.core.storage import storage_errors, sync_folder
from forkhouse.sources.archives import LIMITS
from forkhouse.sources.gitcommand import HERE, GitError, fetch, run_git
from forkhouse.sources.repositories import held, lay_out, put_references_right, put_right, whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from forkhouse.core.budgets import ArchiveLimits
    from forkhouse.documents.lockfile import GitSource
    from forkhouse.sources.store import Measures, ObjectStore

_NOT_THERE = re.compile(
    r"not our ref|couldn't find remote ref|no such remote ref"
    r"|Server does not allow request for unadvertised"
)
_UNSOUND = re.compile(
    r"fsck error|error: object [0-9a-f]{40}|bad object|missing (?:blob|tree|commit)"
)
_NO_WRITE = re.compile(
    r"No space left|quota exceeded|Read-only file system|File too large|insufficient permission"
    r"|[Uu]nable to (?:write|create|append|rename|lock)"
    r"|write error(?!: (?:Broken pipe|Connection))"
    r"|(?:couldn't|could not|cannot|failed to) (?:write|create|close|rename|lock)|Disk quota"
)
_KILLED = re.compile(r"(?:died of|killed by|terminated by) signal \d+")
_AWAY = re.compile(
    r"unable to access|[Cc]ould not resolve|[Ff]ailed to connect|Connection |timed out|RPC failed"
    r"|early EOF|hung up unexpectedly|unexpected disconnect|requested URL returned"
    r"|Authentication failed|could not read (?:Username|Password)|repository '.*' not found"
    r"|Could not read from remote|expected flush|protocol error|bad line length"
    r"|is this a git repository|HTTP [45]\d\d|curl \d+|SSL|invalid server response"
)
_NO_REPOSITORY = re.compile(r"does not appear to be a git repository|does not exist")


def mirror_address(url: str, mirror: Path | None) -> str:
    """Return where to fetch from.

    The bare repository in `mirror` for this URL, when there is one, else the URL itself.

    For https://host/owner/name these are tried in turn, each with `.git` at its end and without:
    owner/name, owner+name, name.
    """
    if mirror is None:
        return url
    *_, owner, name = ["", *urlsplit(url).path.removesuffix(".git").strip("/").split("/")]
    for candidate in (f"{owner}/{name}", f"{owner}+{name}", name):
        for end in (".git", ""):
            folder = (mirror / f"{candidate}{end}").resolve()
            if folder.is_dir():
                return folder.as_uri()
    message = (
        f"{mirror} holds no repository {name}.git (nor {owner}/{name}.git, nor "
        f"{owner}+{name}.git). "
        "Mirror it there with `git clone --mirror`, or drop --mirror."
    )
    raise UnreachableError(message)


def remote_tag(address: str, tag: str, folder: Path) -> str | None:
    """Return the commit that a tag of a remote repository points at; None without such a tag.

    Raises UnreachableError when the repository does not answer, RefusedRepositoryError when git
    refuses it.
    """
    try:
        answer = run_git(
            folder, "ls-remote", "--tags", address, f"refs/tags/{tag}", f"refs/tags/{tag}^{{}}"
        )
    except GitError as error:
        raise _failure(address, error) from error
    commits: dict[str, str] = {}
    for line in answer.splitlines():
        commit, _, reference = line.partition("\t")
        commits[reference] = commit
    # An annotated tag is listed twice: the tag object, and the commit it stands for.
    return commits.get(f"refs/tags/{tag}^{{}}") or commits.get(f"refs/tags/{tag}")


def _failure(address: str, error: GitError) -> ForkhouseError:
    """Return the error that explains why git could not fetch from an address.

    Only a repository that does not answer, or does not have the commit, is unreachable.
    """
    # What the other side says of itself decides nothing.
    lines = [line for line in error.stderr.splitlines() if not line.startswith("remote:")]
    text = "\n".join(lines)
    reason = next(
        (line for line in lines if line.startswith(("fatal:", "error:"))),
        lines[-1] if lines else str(error),
    ).rstrip(".")
    if error.signal or _KILLED.search(text):
        return ToolchainError(
            f"git was killed while it fetched from {address}, as for want of memory: "
            f"{reason or error}. Nothing is lost: run the same command again."
        )
    if _NO_WRITE.search(text):
        why = next(line for line in lines if _NO_WRITE.search(line)).rstrip(".")
        return StorageError(
            f"git could not write what it fetched from {address}: {why}. Free some space, or let "
            "it be written to, and run again."
        )
    if "dubious ownership" in text or "is owned by" in text:
        folder = unquote(urlsplit(address).path)
        return RefusedRepositoryError(
            f"{address} belongs to another user, and git reads no repository of others: {reason}. "
            "Run `git config --global --add "
            f"safe.directory {folder}` if you trust it, or make it yours with chown."
        )
    if _NOT_THERE.search(error.stderr):
        return UnreachableError(
            f"{address} does not have the commit: {reason}. A mirror is brought up to date with "
            "`git remote update`, or made anew."
        )
    # The user's settings may lead git from a folder to a host.
    local = address.startswith("file:") and "unable to access" not in text
    if not _UNSOUND.search(text) and (_NO_REPOSITORY if local else _AWAY).search(text):
        return UnreachableError(
            f"{address} did not answer: {reason}. Check the address and the network, or give "
            "--mirror DIR."
        )
    return RefusedRepositoryError(
        f"{address} is there, and git refuses it as not whole: {reason}. Objects are missing or "
        "damaged, as in a shallow, partial or broken "
        "clone. Mirror it anew with `git clone --mirror`, or name another mirror with --mirror DIR."
    )


def fetch_commit(
    source: GitSource,
    store: ObjectStore,
    cache: Path,
    *,
    mirror: Path | None,
    offline: bool,
    shared: Path | None = None,
) -> str:
    """Bring the pinned commit into the store and return its tree id.

    `shared` is a read-only cache, where there is one. Raises UnreachableError (host down, commit
    unknown there, offline), RefusedRepositoryError when git refuses what is there, MovedTagError
    when the lock's tag points at another commit, HashMismatchError when the commit's tree is not
    the one in the lock, UnsafeArchiveError when that is larger than a source can be.
    """
    if source.commit is None:
        message = (
            f"The git source {source.url} {source.tag or ''} is unresolved: its commit id is not "
            "known. "
            "`forkhouse lock --update NAME` on a machine that reaches the host completes it."
        )
        raise UnreachableError(message)
    bare, reference = _cached(source, cache)
    with held(bare, cache / "locks" / f"{bare.name}.lock") as lock:
        if not (_is_cached(bare, reference) or _taken_over(bare, reference, shared)):
            _fetch_anew(source, bare, reference, mirror=mirror, offline=offline, lock=lock)
        _copy(bare, store, reference)
    tree = str(store.repository[source.commit].peel(pygit2.Commit).tree_id)
    _check_measures(source, store.measure(tree))
    if source.tree is not None and tree != source.tree:
        message = (
            f"{source.url}: commit {source.commit} has tree {tree}, the lock says {source.tree}. "
            "The lock is wrong, or was tampered with."
        )
        raise HashMismatchError(message)
    return tree


def _check_measures(source: GitSource, found: Measures, limits: ArchiveLimits = LIMITS) -> None:
    """Hold a tree against what an archive of it might have, before anything lays it out."""
    for what, count, most in (
        ("files", found.files, limits.members),
        ("bytes", found.size, limits.total),
        ("bytes in one file", found.largest, limits.member),
        ("folders in one another", found.depth, limits.depth),
    ):
        if count > most:
            message = (
                f"{source.url}: commit {source.commit} would have {count} {what}; more than {most} "
                "are refused, as no source that is meant to be built has that."
            )
            raise UnsafeArchiveError(message)


def _cached(source: GitSource, cache: Path) -> tuple[Path, str]:
    """Return the cache's bare repository for a source, and the reference of its pinned commit."""
    return cache / "mirrors" / f"{digest(source.url)[:16]}.git", f"refs/forkhouse/{source.commit}"


def cached_repository(source: GitSource, cache: Path) -> Path:
    """Return the bare repository of the cache that a source is fetched into."""
    return _cached(source, cache)[0]


def has_commit(source: GitSource, cache: Path, shared: Path | None = None) -> bool:
    """Return whether the pinned commit is in the cache, or in the read-only one."""
    bare, reference = _cached(source, cache)
    try:
        if reference in pygit2.Repository(str(bare)).references:
            return True
    except pygit2.GitError:
        pass
    # Not by a library: it opens no repository of somebody else.
    return shared is not None and _exists(_cached(source, shared)[0] / reference)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def _taken_over(bare: Path, reference: str, shared: Path | None) -> bool:
    """Copy a repository out of the read-only cache, and return whether it has the whole commit.

    git cannot use the repository in place: it would write locks and repairs there, and it
    refuses to read the repository of another user.
    """
    other = shared / "mirrors" / bare.name if shared else None
    if other is None or bare.exists() or not _exists(other / reference):
        return False
    new = bare.with_name(f"{bare.name}.new")
    with (
        _scratch(new),
        storage_errors(f"Copying {bare.name} out of the cache that can only be read"),
    ):
        try:
            for name in ("objects", "refs"):
                shutil.copytree(other / name, new / name, dirs_exist_ok=True)
            if _exists(other / "shallow"):
                shutil.copyfile(other / "shallow", new / "shallow")
        except (shutil.Error, FileNotFoundError, PermissionError):
            return False  # somebody is writing there, or keeps it to himself
        put_right(new)
        if reference not in pygit2.Repository(str(new)).references:
            return False
        new.rename(bare)
        sync_folder(bare.parent)
    return True


def _is_cached(bare: Path, reference: str) -> bool:
    """Repair the repository of the cache, and return whether it has the commit of a reference.

    That commit is whole then. False when there is no repository.
    """
    if not bare.exists():
        return False
    if damaged := put_right(bare):
        report().line(
            "git",
            (
                f"{damaged} damaged objects were removed from the cache's {bare.name}; what lacks "
                "is "
                "fetched anew"
            ),
        )
    return reference in pygit2.Repository(str(bare)).references


def _fetch_anew(
    source: GitSource, bare: Path, reference: str, *, mirror: Path | None, offline: bool, lock: int
) -> None:
    """Fetch the pinned commit into the repository of the cache.

    A new repository is made beside its place and moved there when it is whole.
    """
    if offline:
        message = (
            f"{source.url} at {source.commit} is not in the cache and --offline forbids fetching "
            "it. Run once without --offline."
        )
        raise UnreachableError(message)
    address = mirror_address(source.url, mirror)
    new = bare.with_name(f"{bare.name}.new")
    with _scratch(new):
        if source.tag is not None:
            _check_tag(source, remote_tag(address, source.tag, new), address)
        report().line("git", f"fetching {source.commit} from {address}")
        if bare.exists():
            try:
                _fetch(bare, address, str(source.commit), reference, lock)
            except RefusedRepositoryError:
                # It may be ours that git refuses, in a way that `put_right` does not know; a new
                # one tells.
                report().line("git", f"the cache's {bare.name} is made anew")
            else:
                return
        _fetch(new, address, str(source.commit), reference, lock)
        with storage_errors("Putting the git mirror in its place"):
            if bare.exists():
                shutil.rmtree(bare)
            new.rename(bare)
            sync_folder(bare.parent)


@contextlib.contextmanager
def _scratch(folder: Path) -> Iterator[None]:
    """Yield an empty bare repository, and remove it afterwards."""
    with storage_errors("Making the git mirror"):
        shutil.rmtree(folder, ignore_errors=True)
        lay_out(folder)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy(bare: Path, store: ObjectStore, reference: str) -> None:
    """Bring a commit from the repository of the cache into the store."""
    with held(store.folder, store.folder.with_name(f"{store.folder.name}.lock")) as lock:
        store.settle()
        put_references_right(store.folder)
        if reference not in pygit2.Repository(str(store.folder)).references:
            _fetch(store.folder, bare.as_uri(), reference, reference, lock)


def ask_commit(source: GitSource, address: str, scratch: Path) -> None:
    """Ask a repository for the pinned tag, or without a tag for the commit, past all our mirrors.

    `scratch` is an empty folder. Raises UnreachableError when the repository does not answer,
    RefusedRepositoryError when git refuses it, MovedTagError when the tag is elsewhere.
    """
    lay_out(scratch)
    if source.tag is not None:
        _check_tag(source, remote_tag(address, source.tag, scratch), address)
        return
    try:
        # Where the host can leave them out, neither trees nor files are sent.
        run_git(
            scratch,
            *HERE,
            "fetch",
            "--quiet",
            "--no-tags",
            "--depth=1",
            "--filter=tree:0",
            address,
            str(source.commit),
        )
    except GitError as error:
        raise _failure(address, error) from error


def _check_tag(source: GitSource, found: str | None, address: str) -> None:
    if found is None and address != source.url:
        message = (
            f"The mirror {address} has no tag {source.tag}, so it does not show whether the tag "
            f"still points at {source.commit}. It is older "
            "than the tag, or was cloned in part (shallow, without tags, one branch). Mirror it "
            "anew with `git clone --mirror`."
        )
        raise UnreachableError(message)
    if found != source.commit:
        where = f"points at {found}" if found else "does not exist"
        message = (
            f"{source.url}: tag {source.tag} {where}, the lock pins {source.commit}. A release tag "
            "that moves is either a mistake "
            "of the upstream or an attack: compare both commits before you run `forkhouse lock "
            "--update NAME`."
        )
        raise MovedTagError(message)


def _fetch(folder: Path, address: str, wanted: str, reference: str, lock: int) -> None:
    """Fetch a commit with all that its tree holds, and give it a name. Raises as `_failure`."""
    words = ("--no-tags", "--depth=1", "--no-write-fetch-head", "--force")
    try:
        # The commit is fetched by its id: whatever branches and tags say, this is what the lock
        # means.
        fetch(folder, *words, address, f"{wanted}:{reference}", inherit=[lock])
    except GitError as error:
        raise _failure(address, error) from error
    if not whole(pygit2.Repository(str(folder)), reference.rpartition("/")[2]):
        message = (
            f"{address} did not send all of {wanted}, and git took it. Mirror it anew with `git "
            "clone --mirror`."
        )
        raise RefusedRepositoryError(message)
