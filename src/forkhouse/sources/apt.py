"""Fetch pinned Debian packages through apt, in a private view.

Neither the user's lists nor the system are changed.

Source packages come from the source side of the user's own suites, binary packages from the suite
that the lock names, at the address from which the user's apt has its own.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from forkhouse.core.errors import UnreachableError
from forkhouse.core.progress import report
from forkhouse.core.storage import storage_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from forkhouse.documents.lockfile import DebianBinary, DebianSource
    from forkhouse.sources.index import Registry

_TARGETS = "deb-src $(REPO_URI) $(RELEASE) $(COMPONENT)"


def _source_lines() -> str:
    """Return a `deb-src` line for every suite whose binary packages apt trusts on this machine."""
    result = subprocess.run(
        ["apt-get", "indextargets", "--format", _TARGETS, "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=False,
    )
    return "".join(f"{line}\n" for line in sorted(set(result.stdout.splitlines())))


def fetch_debian_source(source: DebianSource, registry: Registry, *, offline: bool) -> list[Path]:
    """Return the files of a Debian source package, each checked against the lock.

    Raises UnreachableError (no apt here, version not served, offline) and HashMismatchError.
    """
    cached = [registry.cached(pin.file, pin.sha256) for pin in source.files]
    if all(cached):
        return [path for path in cached if path is not None]
    if offline:
        message = (
            f"Debian source {source.package} {source.debian_version} is not in the cache and "
            "--offline forbids fetching it."
        )
        raise UnreachableError(message)
    lines = _wanted_lines(source)
    report().line(source.package, f"fetching Debian source {source.debian_version} with apt")
    what = f"the source of {source.package} {source.debian_version}"
    with _view(lines) as view:
        view.run("update", doing=what)
        view.run(
            "source",
            "--download-only",
            "--only-source",
            f"{source.package}={source.debian_version}",
            doing=what,
        )
        return [_adopt(view.files, registry, pin.file, pin.sha256) for pin in source.files]


def offered_source(source: DebianSource) -> dict[str, str]:
    """Return the sha256 of each file of a Debian source package as apt's lists have them now.

    Nothing is downloaded but the lists.

    Raises UnreachableError (no apt here, version not served).
    """
    what = f"the source of {source.package} {source.debian_version}"
    with _view(_wanted_lines(source)) as view:
        view.run("update", doing=what)
        package = f"{source.package}={source.debian_version}"
        said = view.run(
            "source", "--print-uris", "--download-only", "--only-source", package, doing=what
        )
    return {unquote(offer["file"]): offer["sha256"] for offer in _OFFER.finditer(said)}


def _wanted_lines(source: DebianSource) -> str:
    if shutil.which("apt-get") is None:
        message = (
            f"Debian source {source.package} needs apt-get, which is not on this machine. Use "
            "--sources git, or a Debian machine."
        )
        raise UnreachableError(message)
    lines = _source_lines()
    if not lines:
        message = (
            f"Debian source {source.package}: apt has no package lists on this machine, as in many "
            "images. Run `apt-get update` once."
        )
        raise UnreachableError(message)
    return lines


def fetch_debian_binaries(
    pins: Sequence[DebianBinary], registry: Registry, *, offline: bool
) -> list[Path]:
    """Return pinned binary packages (.deb files), each checked against the lock.

    Raises UnreachableError (no apt here, a version no longer served, offline) and
    HashMismatchError.
    """
    cached = [registry.cached(pin.file, pin.sha256) for pin in pins]
    if all(cached):
        return [path for path in cached if path is not None]
    missing = [pin for pin, path in zip(pins, cached, strict=True) if path is None]
    names = ", ".join(f"{pin.package} {pin.version} ({pin.suite})" for pin in missing)
    if offline:
        message = f"Not in the cache, and --offline forbids fetching: {names}."
        raise UnreachableError(message)
    if shutil.which("apt-get") is None:
        message = (
            f"Debian packages are fetched with apt-get, which is not on this machine: {names}."
        )
        raise UnreachableError(message)
    report().line("apt", f"fetching {len(missing)} Debian packages")
    with _view("".join(f"{line}\n" for line in _binary_lines({pin.suite for pin in pins}))) as view:
        view.run("update", doing=names)
        view.run("download", *(f"{pin.package}={pin.version}" for pin in missing), doing=names)
        for pin in missing:
            epoch, colon, _ = pin.version.partition(":")
            # apt writes the epoch of a version, which the pool leaves out, into the name.
            escaped = view.files / pin.file.replace("_", f"_{epoch}%3a", 1)
            if colon and escaped.exists():
                escaped.rename(view.files / pin.file)
        return [
            path or _adopt(view.files, registry, pin.file, pin.sha256)
            for pin, path in zip(pins, cached, strict=True)
        ]


_OFFER = re.compile(r"'[^']*/(?P<file>[^/']+)' (?P<name>\S+) \d+ SHA256:(?P<sha256>[0-9a-f]{64})")
"""How apt says what it would download: address, name with the escaped version, size and hash."""


def newest_debian_binaries(pins: Sequence[DebianBinary]) -> tuple[DebianBinary, ...]:
    """Return the same packages in the newest version that their suites have now.

    Nothing is downloaded.

    Raises UnreachableError when apt has no lists, or a package is no longer in its suite.
    """
    newest = []
    with _view("".join(f"{line}\n" for line in _binary_lines({pin.suite for pin in pins}))) as view:
        view.run("update", doing="the lists of the toolchain's suites")
        for pin in pins:
            said = view.run(
                "download",
                "--print-uris",
                f"{pin.package}/{pin.suite}",
                doing=f"{pin.package} of {pin.suite}",
            )
            offer = _OFFER.search(said)
            if offer is None:
                message = (
                    f"apt offers no {pin.package} of {pin.suite} with a SHA256: "
                    f"{said.strip() or 'it said nothing'}."
                )
                raise UnreachableError(message)
            version = unquote(offer["name"].split("_")[1])
            newest.append(
                pin.model_copy(
                    update={
                        "version": version,
                        "file": unquote(offer["file"]),
                        "sha256": offer["sha256"],
                    }
                )
            )
    return tuple(newest)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Suite:
    """A suite that the user's apt knows: address, name, and the options that let apt trust it."""

    address: str
    name: str
    options: str

    def line(self, name: str) -> str:
        return f"deb {self.options}{self.address} {name} main"


def _known_suites() -> list[_Suite]:
    # Where apt does not say which key signs a suite, the variable itself stands there; apt's own
    # keys are used then.
    form = "$(REPO_URI)\t$(RELEASE)\t$(SIGNED_BY)"
    result = subprocess.run(
        ["apt-get", "indextargets", "--format", form, "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=False,
    )
    suites = []
    for line in sorted(set(result.stdout.splitlines())):
        address, name, key = line.split("\t")
        suites.append(
            _Suite(
                address=address,
                name=name,
                options=f"[signed-by={key}] " if key.startswith("/") else "",
            )
        )
    return suites


def _binary_lines(wanted: set[str]) -> Iterator[str]:
    """Yield apt's line for each wanted suite.

    As the user has it, or beside the user's main suite, where the archive keeps the others.

    Raises UnreachableError when apt knows no suite at all.
    """
    known = _known_suites()
    if not known:
        message = (
            "apt has no package lists on this machine, as in many images. Run `apt-get update` "
            "once."
        )
        raise UnreachableError(message)
    # The main suite has the plain name: others are it with something after a hyphen
    # (bookworm-updates, bookworm-security).
    main = next(
        (
            suite
            for suite in known
            if any(other.name.startswith(f"{suite.name}-") for other in known)
        ),
        known[0],
    )
    for name in sorted(wanted):
        yield next((suite for suite in known if suite.name == name), main).line(name)


@dataclass(frozen=True, kw_only=True, slots=True)
class _View:
    """apt with lists, a cache and a system of its own."""

    options: tuple[str, ...]
    files: Path
    """Where downloads land."""

    def run(self, *command: str, doing: str) -> str:
        """Run an apt-get command and return what it says.

        Raises UnreachableError with apt's own words.
        """
        full = ["apt-get", *self.options, "-qq", *command]
        result = subprocess.run(full, cwd=self.files, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            message = (
                f"apt could not fetch {doing} (`apt-get "
                f"{shlex.join(command)}`):\n{result.stderr.strip()}\n"
                "The versions must be served by apt's archives; those of a moving suite disappear "
                "when newer ones come."
            )
            raise UnreachableError(message)
        return result.stdout


@contextlib.contextmanager
def _view(lines: str) -> Iterator[_View]:
    with tempfile.TemporaryDirectory(prefix="forkhouse-apt-") as name:
        folder = Path(name)
        with storage_errors("Preparing apt's view"):
            for part in ("lists/partial", "cache/archives/partial", "files"):
                (folder / part).mkdir(parents=True)
            (folder / "sources.list").write_text(lines, encoding="utf-8")
        options = (
            f"-oDir::Etc::sourcelist={folder}/sources.list",
            "-oDir::Etc::sourceparts=/dev/null",
            f"-oDir::State::Lists={folder}/lists",
            f"-oDir::Cache={folder}/cache",
            # Nothing is installed here, so what is installed must not narrow the choice.
            "-oDir::State::status=/dev/null",
            "-oAcquire::Languages=none",
            # apt drops to an unprivileged user that may not enter our private folder.
            "-oAPT::Sandbox::User=root",
        )
        yield _View(options=options, files=folder / "files")


def _adopt(folder: Path, registry: Registry, file: str, sha256: str) -> Path:
    fetched = folder / file
    if not fetched.is_file():
        message = (
            f"apt fetched no file {file}; the lock names one that this source package does not "
            "have."
        )
        raise UnreachableError(message)
    if fetched.is_symlink():  # apt only links to what a suite in a folder of this machine serves
        with storage_errors(f"Copying {file}"):
            fetched = Path(shutil.copyfile(fetched, folder / f"{file}.copy"))
    return registry.adopt(fetched, file, sha256, server="apt's archive")
