"""The system calls that no build has to make, as a filter for the kernel (seccomp(2), in mode 2).

A build has no capabilities, so most of these calls would fail anyway; the filter keeps it away from
the code in the kernel behind them.
"""

from __future__ import annotations

import errno
import tempfile

from forkhouse.core.errors import ToolchainError

DENIED = (
    *("acct", "add_key", "keyctl", "request_key", "bpf", "perf_event_open", "userfaultfd"),
    *("io_uring_setup", "io_uring_enter", "io_uring_register"),
    *("kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module"),
    *(
        "mount",
        "umount2",
        "pivot_root",
        "move_mount",
        "open_tree",
        "fsopen",
        "fsconfig",
        "fsmount",
        "fspick",
        "swapon",
        "swapoff",
    ),
    *("name_to_handle_at", "open_by_handle_at", "quotactl", "nfsservctl"),
    *("ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp", "lookup_dcookie"),
    *("setns", "unshare", "chroot", "reboot", "syslog", "vhangup"),
    *("settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "sethostname", "setdomainname"),
)
"""Calls that are answered with EPERM."""
SOCKETS = frozenset({1, 2, 10, 16})
"""Families of sockets that a build may open: UNIX, IPv4, IPv6 and netlink.

Others, VSOCK among them, know no network namespace.
"""


def program() -> bytes:
    """Return the filter in the kernel's form (struct sock_filter[]), for this machine's processor.

    A system call of another ABI of the processor (32 bits) ends the process. Raises ToolchainError
    where libseccomp is missing.
    """
    try:
        import pyseccomp  # it loads a library of the system
    except RuntimeError as error:
        message = (
            "The filter of system calls is compiled by libseccomp, which is not here. Run:\n  "
            "apt-get install --yes libseccomp2"
        )
        raise ToolchainError(message) from error
    rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    for name in DENIED:
        rules.add_rule(pyseccomp.ERRNO(errno.EPERM), name)
    last = max(SOCKETS)
    refused = pyseccomp.ERRNO(errno.EAFNOSUPPORT)
    for family in set(range(last)) - SOCKETS:
        rules.add_rule(refused, "socket", pyseccomp.Arg(0, pyseccomp.EQ, family))
    rules.add_rule(refused, "socket", pyseccomp.Arg(0, pyseccomp.GT, last))
    with tempfile.TemporaryFile() as stream:
        rules.export_bpf(stream)
        stream.seek(0)
        return stream.read()
