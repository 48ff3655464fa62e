"""Limits for reading a foreign archive, and the exceptions of Python for a damaged one."""

from __future__ import annotations

import lzma
import struct
import tarfile
import zipfile
import zlib
from dataclasses import dataclass

DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,  # a stream that ends early
    OSError,  # the word of gzip and bzip2 for damage, and the disk's
    ValueError,  # an offset before the beginning; a name that is no UTF-8; a time that is no number
    OverflowError,
    KeyError,
    IndexError,
    AttributeError,  # of `tarfile`, for a header of headers that ends early
    TypeError,
    # a password, without end, and (as NotImplementedError) a compression that Python does not know
    RuntimeError,
    MemoryError,
)
"""What `tarfile`, `zipfile` and the decompressors below them raise for a damaged archive."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArchiveLimits:
    """Limits for reading one archive.

    The largest PyTorch wheels for ROCm stay below a third of each.
    """

    members: int = 200_000
    """Number of files."""
    member: int = 8 * 2**30
    """Bytes of one file, unpacked."""
    total: int = 64 * 2**30
    """Bytes of all files, unpacked."""
    text: int = 64 * 2**20
    """Bytes of one of the files that describe the archive."""
    ratio: int = 200
    """Bytes unpacked for a byte of the archive; counts above `free`."""
    free: int = 64 * 2**20
    """Bytes that any archive may have unpacked, whatever their ratio."""
    depth: int = 100
    """Depth of nested folders."""
    path: int = 4096
    """Bytes of a file's name with its folders."""
    seconds: float = 1800.0
    """Processor time, in seconds."""
