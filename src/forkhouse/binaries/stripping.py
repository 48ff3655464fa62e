"""Leave out of an ELF file what no loader needs: debug information, and the folders it names.

Source: https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.sheader.html.
"""

from __future__ import annotations

import struct

from forkhouse.binaries.elf import Elf
from forkhouse.core.errors import AuditError

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_SHT_STRTAB, _SHT_NOBITS = 3, 8
_SHF_ALLOC = 2
_ALIGNMENT = 8
_NAMES = ".shstrtab"


def stripped(content: bytes) -> bytes:
    """Return a 64-bit little-endian ELF file with the sections alone that are loaded.

    What is loaded, and where, stays byte for byte. Raises AuditError for a file that is not such,
    or whose loaded sections stand after others, so that their numbers would change.
    """
    Elf(content)  # refuses what is damaged
    if content[4:6] != b"\x02\x01":
        message = "it is no little-endian ELF file of 64 bits"
        raise AuditError(message)
    header = list(_HEADER.unpack_from(content))
    start, size, count, names_number = header[6], header[11], header[12], header[13]
    if size != _SECTION.size or not 0 < names_number < count:
        message = "its section headers are not as ELF has them"
        raise AuditError(message)
    sections = [
        list(_SECTION.unpack_from(content, start + number * size)) for number in range(count)
    ]
    loaded = [
        not number or bool(section[2] & _SHF_ALLOC) for number, section in enumerate(sections)
    ]
    kept = loaded.index(False) if False in loaded else count
    if any(loaded[kept:]):
        message = "it has sections that are loaded after sections that are not"
        raise AuditError(message)
    end = _end(content, header, sections[:kept])
    names = bytearray(b"\0")
    table = []
    old_names = sections[names_number]
    for number, section in enumerate(sections[:kept]):
        first = old_names[4] + section[0]
        name = content[first : content.index(b"\0", first)] if number else b""
        link = section[6] if section[6] < kept else 0
        table.append([len(names) if name else 0, *section[1:6], link, *section[7:]])
        names += name + b"\0" if name else b""
    own = len(names)
    names += _NAMES.encode() + b"\0"
    table.append([own, _SHT_STRTAB, 0, 0, end, len(names), 0, 0, 1, 0])
    body = content[:end] + bytes(names)
    body += bytes(-len(body) % _ALIGNMENT)
    header[6], header[12], header[13] = len(body), len(table), len(table) - 1
    return (
        _HEADER.pack(*header)
        + body[_HEADER.size :]
        + b"".join(_SECTION.pack(*section) for section in table)
    )


def _end(content: bytes, header: list[int], sections: list[list[int]]) -> int:
    """Return the first byte after all that is loaded, and after the program headers."""
    first, size, count = header[5], header[9], header[10]
    ends = [_HEADER.size, first + size * count]
    for number in range(count):
        _, _, offset, _, _, length, _, _ = _SEGMENT.unpack_from(content, first + number * size)
        ends.append(offset + length)
    ends += [section[4] + section[5] for section in sections if section[1] != _SHT_NOBITS]
    if max(ends) > len(content):
        message = "it is cut off"
        raise AuditError(message)
    return max(ends)
