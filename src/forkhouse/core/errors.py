"""The exception tree. Each class is one way to fail and has its own exit code.

A message says what happened, why, and what to do next. `cli` is the one place that turns an error
into an exit code.
"""

from __future__ import annotations

from typing import ClassVar

from forkhouse.core.progress import printable
from forkhouse.core.secrecy import masked


class ForkhouseError(Exception):
    """Base of every failure that is explained to the user instead of shown as a traceback."""

    exit_code: ClassVar[int] = 1
    title: ClassVar[str] = "failed"

    def __init__(self, message: str) -> None:
        """Take the message, without the credentials that may be in what a library says."""
        super().__init__(masked(message))

    def __str__(self) -> str:
        """Return the message in a form that a terminal can show.

        It may quote what a build, git or pip printed.
        """
        return printable(super().__str__())


class UsageError(ForkhouseError):
    """The command line asks for something that does not exist."""

    exit_code = 2
    title = "wrong use"


class DocumentError(ForkhouseError):
    """A YAML document (lock, recipe, structural edit) is not well formed.

    Every problem is listed with its line.
    """

    exit_code = 10
    title = "invalid document"


class UnreachableError(ForkhouseError):
    """A source cannot be had.

    Host down, package not on the index, or `--offline` and not cached.
    """

    exit_code = 11
    title = "source not reachable"


class HashMismatchError(ForkhouseError):
    """Content differs from the hash or tree id that the lock records."""

    exit_code = 12
    title = "content differs from the lock"


class MovedTagError(ForkhouseError):
    """An upstream tag no longer points at the commit in the lock."""

    exit_code = 13
    title = "tag moved"


class UnsafeArchiveError(ForkhouseError):
    """An archive or patch names a path that leaves its tree."""

    exit_code = 14
    title = "unsafe path"


class SeriesError(ForkhouseError):
    """A patch series names a file that is missing, or a file that the series does not name."""

    exit_code = 15
    title = "broken patch series"


class PatchConflictError(ForkhouseError):
    """A patch does not apply.

    Context missing, or an edit matched another number of times than it expects.
    """

    exit_code = 16
    title = "patch does not apply"


class NoEffectError(ForkhouseError):
    """A patch applied and changed nothing."""

    exit_code = 17
    title = "patch without effect"


class PostConditionError(ForkhouseError):
    """A patched tree breaks a condition that its patch states."""

    exit_code = 18
    title = "post-condition broken"


class RefusedRepositoryError(ForkhouseError):
    """A git repository is there, and git refuses it.

    Damaged, incomplete, with objects that fail its checks, or somebody else's.
    """

    exit_code = 19
    title = "repository refused"


class ToolchainError(ForkhouseError):
    """A compiler, tool or system package is missing."""

    exit_code = 20
    title = "toolchain incomplete"


class BuildError(ForkhouseError):
    """A build command failed, or succeeded without its effect."""

    exit_code = 21
    title = "build failed"


class AuditError(ForkhouseError):
    """A wheel must not enter the wheelhouse."""

    exit_code = 22
    title = "audit refused a wheel"


class ClosureError(ForkhouseError):
    """The wheelhouse does not hold all that the profile installs."""

    exit_code = 23
    title = "wheelhouse incomplete"


class InstallError(ForkhouseError):
    """Installing from the wheelhouse failed."""

    exit_code = 24
    title = "offline install failed"


class PartialError(ForkhouseError):
    """The wheelhouse was written and is whole but for wheels that could not be had here.

    Each is named.
    """

    exit_code = 25
    title = "wheelhouse written, wheels missing"


class NotReproducibleError(ForkhouseError):
    """A wheel that was built twice has other bytes the second time.

    Each is named, with the members that differ.
    """

    exit_code = 26
    title = "not reproducible"


class BusyError(ForkhouseError):
    """Another run holds the lock of this checkout."""

    exit_code = 30
    title = "another run is active"


class StorageError(ForkhouseError):
    """The file system refused a write: no space, quota, or read-only."""

    exit_code = 31
    title = "cannot write"


class BundleError(ForkhouseError):
    """A bundle is damaged, cut off, or not whole without the one before it."""

    exit_code = 32
    title = "bundle not whole"


class ImageError(ForkhouseError):
    """No image can be made on this base.

    It is no OCI archive, is damaged, of another architecture, or has no Python that can use the
    wheels.
    """

    exit_code = 33
    title = "base not usable"


class EmulationError(ForkhouseError):
    """A kernel cannot be run by the emulator, or did what no kernel may.

    An access outside of its buffers, an instruction that is not emulated, or no end.
    """

    exit_code = 34
    title = "kernel not run"


class NoDeviceError(ForkhouseError):
    """The accelerator that was asked for is not in this machine."""

    exit_code = 40
    title = "no matching GPU"


class ServingError(ForkhouseError):
    """A server did not start, died, or did not stop."""

    exit_code = 41
    title = "serving failed"


class SelfTestError(ForkhouseError):
    """Tests of an installed stack failed, or none of them ran."""

    exit_code = 42
    title = "self-test failed"


class UnsignedError(ForkhouseError):
    """Trusted keys were given, and the wheelhouse has no signature."""

    exit_code = 50
    title = "not signed"


class UntrustedSignerError(ForkhouseError):
    """No trusted key made any of the signatures."""

    exit_code = 51
    title = "signed by nobody who is trusted"


class ExpiredKeyError(ForkhouseError):
    """The key that signed is a trusted one, and not valid now."""

    exit_code = 52
    title = "key not valid now"


class TamperedError(ForkhouseError):
    """A signature is not one of the statement beside it, or what should be signed is damaged."""

    exit_code = 53
    title = "signature does not fit"


class NamespaceError(ForkhouseError):
    """A signature was made for something else than a wheelhouse."""

    exit_code = 54
    title = "signed for something else"


class StatementError(ForkhouseError):
    """The wheelhouse is not the one that its signed statement is about."""

    exit_code = 55
    title = "not what was signed"


class RollbackError(ForkhouseError):
    """The wheelhouse is older than it may be, or does not say how old it is."""

    exit_code = 56
    title = "too old"


class VulnerableError(ForkhouseError):
    """A wheel has a known vulnerability that no patch resolves."""

    exit_code = 57
    title = "known vulnerabilities"
