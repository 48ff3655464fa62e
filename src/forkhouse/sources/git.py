"""Fetch pinned commits of git repositories through bare mirrors, and check tag, commit and tree against the lock."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pygit2

from forkhouse.errors import HashMismatchError, MovedTagError, StorageError, ToolchainError, UnreachableError
from forkhouse.progress import report
from forkhouse.workspace import digest, storage_errors

if TYPE_CHECKING:
    from pathlib import Path

    from forkhouse.lock import GitSource
    from forkhouse.sources.store import ObjectStore

_SETTINGS = ("GIT_TERMINAL_PROMPT=0", "GIT_ALLOW_PROTOCOL=https:file", "LC_ALL=C.UTF-8")
# Inside a git hook or `git rebase --exec` these name the user's own repository, which git would then work on.
_LOCAL = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_SHALLOW_FILE",
    "GIT_GRAFT_FILE",
)
_NOT_THERE = re.compile(r"not our ref|couldn't find remote ref|no such remote ref|Server does not allow request for unadvertised")
_HERE = ("--git-dir=.",)
"""The repository is this folder, though it be broken: never one that lies above it, which may be the user's own."""
_OPTIONS = ("transfer.fsckObjects=true", "core.hooksPath=/dev/null", "http.lowSpeedLimit=1000", "http.lowSpeedTime=60")


class GitError(Exception):
    """A git command failed; `stderr` is what it said."""

    def __init__(self, text: str, stderr: str) -> None:
        """Keep the whole text of the failure, and what git said."""
        super().__init__(text)
        self.stderr = stderr


def require_git() -> None:
    """Raise ToolchainError where there is no git: it fetches pinned commits, and reads what a source says of its submodules."""
    if shutil.which("git") is None:
        message = "There is no git on the PATH. Pinned commits are fetched with it. Run:\n  apt-get update && apt-get install --yes git"
        raise ToolchainError(message)


def run_git(folder: Path, *arguments: str) -> str:
    """Run a git command in `folder` and return its output: no prompts, no hooks, no transport but https and file.

    Raises GitError when it fails, ToolchainError where there is no git.
    """
    require_git()  # GitPython's own import fails without it
    from git import Git, GitCommandError  # noqa: PLC0415  # its import runs git; only network work needs it

    # The rest of the environment passes through: reaching a host needs the user's own proxy, agent and git settings.
    # GitPython adds to the environment and cannot take from it, so env(1) does.
    unset = [f"--unset={name}" for name in _LOCAL]
    options = [word for option in _OPTIONS for word in ("-c", option)]
    try:
        return str(Git(folder).execute(["env", *unset, *_SETTINGS, "git", *options, *arguments]))
    except GitCommandError as error:
        raise GitError(str(error), str(error.stderr)) from error


def mirror_address(url: str, mirror: Path | None) -> str:
    """Return where to fetch from: the bare repository in `mirror` for this URL, when there is one, else the URL itself.

    For https://host/owner/name these are tried in turn, each with `.git` at its end and without: owner/name, owner+name, name.
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
        f"{mirror} holds no repository {name}.git (nor {owner}/{name}.git, nor {owner}+{name}.git). "
        "Mirror it there with `git clone --mirror`, or drop --mirror."
    )
    raise UnreachableError(message)


def remote_tag(address: str, tag: str, folder: Path) -> str | None:
    """Return the commit that a tag of a remote repository points at, None when there is no such tag.

    Raises UnreachableError when the repository does not answer.
    """
    try:
        answer = run_git(folder, "ls-remote", "--tags", address, f"refs/tags/{tag}", f"refs/tags/{tag}^{{}}")
    except GitError as error:
        raise UnreachableError(_explain(address, error)) from error
    commits: dict[str, str] = {}
    for line in answer.splitlines():
        commit, _, reference = line.partition("\t")
        commits[reference] = commit
    # An annotated tag is listed twice: the tag object, and the commit it stands for.
    return commits.get(f"refs/tags/{tag}^{{}}") or commits.get(f"refs/tags/{tag}")


def _explain(address: str, error: GitError) -> str:
    """Say why git could not get something from an address, and what to do about it."""
    text = error.stderr
    lines = text.strip().removeprefix("stderr:").strip(" '\n").splitlines()
    reason = next((line for line in lines if line.startswith(("fatal:", "error:"))), lines[-1] if lines else str(error)).rstrip(".")
    local = address.startswith("file:")
    if "dubious ownership" in text or "is owned by" in text:
        folder = unquote(urlsplit(address).path)
        return (
            f"{address} belongs to another user, and git reads no repository of others: {reason}. Run `git config --global --add "
            f"safe.directory {folder}` if you trust it, or make it yours with chown."
        )
    if _NOT_THERE.search(text):
        return f"{address} does not have the commit: {reason}. A mirror is brought up to date with `git remote update`, or made anew."
    if not local or "does not appear to be a git repository" in text or "does not exist" in text:
        return f"{address} did not answer: {reason}. Check the address and the network, or give --mirror DIR."
    return (
        f"{address} is there, and not whole: {reason}. Objects are missing or damaged, as in a shallow, partial or broken clone. Mirror it "
        "anew with `git clone --mirror`."
    )


def fetch_commit(source: GitSource, store: ObjectStore, cache: Path, *, mirror: Path | None, offline: bool) -> str:
    """Bring the pinned commit into the store and return its tree id.

    Raises UnreachableError (host down, commit unknown there, offline), MovedTagError when the lock's tag points at another
    commit, HashMismatchError when the commit's tree is not the one in the lock.
    """
    if source.commit is None:
        message = (
            f"The git source {source.url} {source.tag or ''} is unresolved: its commit id is not known. "
            "`forkhouse lock --update NAME` on a machine that reaches the host completes it."
        )
        raise UnreachableError(message)
    bare, reference = _cached(source, cache)
    if not _is_repository(bare, reference):
        _make_repository(bare)
    if not _has(bare, reference):
        if offline:
            message = f"{source.url} at {source.commit} is not in the cache and --offline forbids fetching it. Run once without --offline."
            raise UnreachableError(message)
        address = mirror_address(source.url, mirror)
        if source.tag is not None:
            _check_tag(source, remote_tag(address, source.tag, bare), address)
        report().line("git", f"fetching {source.commit} from {address}")
        _fetch(bare, address, source.commit, reference)
    try:
        _fetch(store.folder, bare.as_uri(), reference, reference)
    except UnreachableError as error:
        message = f"The cache has a damaged repository. Remove the folder {bare}, and run the same command again. Git says: {error}"
        raise StorageError(message) from error
    tree = str(store.repository[source.commit].peel(pygit2.Commit).tree_id)
    if source.tree is not None and tree != source.tree:
        message = (
            f"{source.url}: commit {source.commit} has tree {tree}, the lock says {source.tree}. The lock is wrong, or was tampered with."
        )
        raise HashMismatchError(message)
    return tree


def _cached(source: GitSource, cache: Path) -> tuple[Path, str]:
    """Return the bare repository of the cache for a source, and the name that its pinned commit has there."""
    return cache / "mirrors" / f"{digest(source.url)[:16]}.git", f"refs/forkhouse/{source.commit}"


def has_commit(source: GitSource, cache: Path) -> bool:
    """Say whether the pinned commit is in the cache."""
    bare, reference = _cached(source, cache)
    return bare.is_dir() and _has(bare, reference)


def ask_commit(source: GitSource, address: str, scratch: Path) -> None:
    """Ask a repository for the pinned tag, or without one for the commit itself, past every mirror of ours.

    `scratch` is an empty folder. Raises UnreachableError when it does not answer, MovedTagError when the tag is elsewhere.
    """
    run_git(scratch, "init", "--bare", "--quiet")
    if source.tag is not None:
        _check_tag(source, remote_tag(address, source.tag, scratch), address)
        return
    try:
        # Where the host can leave them out, neither trees nor files are sent.
        run_git(scratch, "fetch", "--quiet", "--no-tags", "--depth=1", "--filter=tree:0", address, str(source.commit))
    except GitError as error:
        raise UnreachableError(_explain(address, error)) from error


def _is_repository(folder: Path, reference: str) -> bool:
    """Say whether a folder is a repository, which has what it names with a reference."""
    try:
        run_git(folder, *_HERE, "rev-parse", "--git-dir")
        named = run_git(folder, *_HERE, "for-each-ref", "--format=%(refname)", reference)
    except (GitError, FileNotFoundError):
        return False
    return not named or _has(folder, reference)


def _make_repository(folder: Path) -> None:
    """Make a bare repository at a folder of the cache, where there is none or a damaged one. Raises StorageError."""
    try:
        with storage_errors("Making the git mirror"):
            if (folder / "HEAD").exists():
                shutil.rmtree(folder)
            folder.mkdir(parents=True, exist_ok=True)
            run_git(folder, "init", "--bare", "--quiet", ".")
    except GitError as error:
        message = f"The cache has a folder {folder}, of which git makes no repository. Remove it, and run the same command again. Git says: {error}"
        raise StorageError(message) from error


def _has(folder: Path, reference: str) -> bool:
    try:
        run_git(folder, *_HERE, "rev-parse", "--verify", "--quiet", f"{reference}^{{commit}}")
    except GitError:
        return False
    return True


def _check_tag(source: GitSource, found: str | None, address: str) -> None:
    if found is None and address != source.url:
        message = (
            f"The mirror {address} has no tag {source.tag}, so it does not show whether the tag still points at {source.commit}. It is older "
            "than the tag, or was cloned in part (shallow, without tags, one branch). Mirror it anew with `git clone --mirror`."
        )
        raise UnreachableError(message)
    if found != source.commit:
        where = f"points at {found}" if found else "does not exist"
        message = (
            f"{source.url}: tag {source.tag} {where}, the lock pins {source.commit}. A release tag that moves is either a mistake "
            "of the upstream or an attack: compare both commits before you run `forkhouse lock --update NAME`."
        )
        raise MovedTagError(message)


def _fetch(folder: Path, address: str, wanted: str, reference: str) -> None:
    try:
        # The commit is fetched by its id: whatever branches and tags say, this is what the lock means.
        with storage_errors("Fetching from git"):
            run_git(folder, *_HERE, "fetch", "--quiet", "--no-tags", "--depth=1", "--no-write-fetch-head", address, f"{wanted}:{reference}")
    except GitError as error:
        raise UnreachableError(_explain(address, error)) from error
