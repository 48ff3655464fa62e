"""The manylinux platforms (PEP 600), and what they promise."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from auditwheel.policy import WheelPolicies


@cache
def manylinux(architecture: str) -> WheelPolicies:
    """Return auditwheel's rules for the manylinux platforms (PEP 600) of an architecture.

    An architecture is named as in x86_64.
    """
    from auditwheel.architecture import Architecture  # start-up time
    from auditwheel.libc import Libc
    from auditwheel.policy import WheelPolicies

    return WheelPolicies(libc=Libc.GLIBC, arch=Architecture(architecture))
