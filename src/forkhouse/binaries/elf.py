"""Read ELF files as the loader does: by segments, for section headers may be stripped.

Whoever writes the file writes its numbers, so none of them is believed: no table reaches beyond the
file, no record is read twice, and what is read of a file in all has a limit. Source:
https://refspecs.linuxfoundation.org/elf/gabi4+/contents.html, and for symbol versions
https://refspecs.linuxfoundation.org/LSB_5.0.0/LSB-Core-generic/LSB-Core-generic/symversion.html.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from elftools.elf.enums import ENUM_E_MACHINE

from forkhouse.core.errors import AuditError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC = b"\x7fELF"

_MACHINES: dict[object, str] = {number: name for name, number in ENUM_E_MACHINE.items()}
_BITS = {1: 32, 2: 64}
_ORDERS = {1: "<", 2: ">"}
_HEADERS = {64: "HHIQQQIHHHHHH", 32: "HHIIIIIHHHHHH"}
"""The file header after the identification, by class in bits."""
_IDENTIFICATION = 16
_SEGMENTS = {64: ("IIQQQQQQ", (0, 2, 3, 5, 7, 6)), 32: ("IIIIIIII", (0, 1, 2, 4, 7, 5))}
"""A program header, and which of its fields are meant.

They are p_type, p_offset, p_vaddr, p_filesz, p_align and p_memsz.
"""
_SECTIONS = {64: "IIQQQQIIQQ", 32: "IIIIIIIIII"}
_DYNAMIC = {64: "QQ", 32: "II"}
_SYMBOLS = {64: ("IBBHQQ", 1, 3, 4), 32: ("IIIBBH", 3, 5, 1)}
"""The fields of a symbol, and which of them are st_info, st_shndx and st_value.

The first is st_name.
"""
_NEED, _NEED_VERSION, _NOTE = "HHIII", "IHHII", "III"

_ET_REL = 1
_PT_LOAD, _PT_DYNAMIC, _PT_NOTE = 1, 2, 4
_SHT_PROGBITS, _SHT_SYMTAB, _SHT_NOBITS, _SHT_DYNSYM, _SHT_VERNEED = 1, 2, 8, 11, 0x6FFFFFFE
_PN_XNUM = _SHN_XINDEX = 0xFFFF
"""Stands for a number that is too large for the file header and is in the first section header."""
_DT_NULL, _DT_STRTAB, _DT_SYMTAB, _DT_STRSZ = 0, 5, 6, 10
_DT_RELA, _DT_RELASZ = 7, 8
_TEXTS = {"NEEDED": 1, "SONAME": 14, "RPATH": 15, "RUNPATH": 29}
_ADDRESSES = frozenset(
    {3, 4, 5, 7, 12, 13, 17, 23, 36, 0x6FFFFEF5, 0x6FFFFFF0, 0x6FFFFFFC, 0x6FFFFFFE}
)
"""Tags of the dynamic segment that hold an address.

PLTGOT, HASH, STRTAB, RELA, INIT, FINI, REL, JMPREL, RELR, GNU_HASH, VERSYM, VERDEF, VERNEED.
"""
_SHN_UNDEF = 0
_STB_WEAK = 2
_SHF_ALLOC = 2
_SHF_EXECINSTR = 4

_MOST_RECORDS = 2**24
"""Records that are read of one file: symbols, sections, notes.

PyTorch's largest library has some 75 000 symbols.
"""
_MOST_TEXT = 2**28
"""Bytes of names that are read of one file.

Those of PyTorch's largest library are below 10 million.
"""
_LONGEST_NAME = 4096
"""Bytes of the name of a library, which the loader opens as a path."""
_LONGEST_RUN_PATH = 2**16
_TIMES = 8
"""How many times its own size may be read of a file, beside a mebibyte.

Sections and segments show the same bytes.
"""
_BESIDE = 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class Symbol:
    """An entry of a symbol table."""

    name: str
    defined: bool
    weak: bool
    address: int
    """Its value: where it is once the file is loaded, in bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadSegment:
    """A part of the file that is loaded into memory."""

    address: int
    """Where in memory it begins, in bytes."""
    content: bytes
    size: int
    """Bytes in memory; what is behind the content is zero."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Relocation:
    """A place in memory whose content follows from where things are loaded."""

    address: int
    kind: int
    """The processor's own number of it."""
    symbol: str
    """The symbol that it is about; empty for none."""
    addend: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Compiled:
    """The facts of a host file that are needed to judge the wheel as a whole."""

    machine: str
    """The processor, as in EM_X86_64."""
    needed: tuple[str, ...]
    """Names of the libraries that it needs."""
    versions: dict[str, set[str]]
    """Symbol versions that it needs, by library: {'libc.so.6': {'GLIBC_2.28'}}.

    Nothing without section headers.
    """
    has_sections: bool


@dataclass(frozen=True, slots=True)
class _Segment:
    kind: int
    offset: int
    address: int
    size: int
    alignment: int
    memory: int


@dataclass(frozen=True, slots=True)
class _Section:
    name: int
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int
    entry: int


def extent(content: bytes, start: int) -> int:
    """Return the size in bytes of the ELF file that begins at `start` in other content.

    The file is little-endian and has 64 bits; its own headers tell the size.
    Raises AuditError when it reaches beyond the content.
    """
    header, segment = struct.Struct("<" + _HEADERS[64]), struct.Struct("<" + _SEGMENTS[64][0])
    if start + _IDENTIFICATION + header.size > len(content):
        _refuse("it is cut off")
    _, _, _, _, segments, sections, _, size, _, segment_count, section_size, section_count, _ = (
        header.unpack_from(content, start + _IDENTIFICATION)
    )
    ends: list[int] = [
        size,
        segments + segment.size * segment_count,
        sections + section_size * section_count,
    ]
    if start + max(ends) > len(content):
        _refuse("its headers lie behind its end")
    for _, _, offset, _, _, length, *_ in segment.iter_unpack(
        content[start + segments : start + segments + segment.size * segment_count]
    ):
        ends.append(offset + length)
    if start + max(ends) > len(content):
        _refuse("its segments lie behind its end")
    return max(ends)


class Elf:
    """One ELF file.

    Every method raises AuditError where the file is damaged, and believes no size that exceeds the
    file.
    """

    def __init__(self, content: bytes) -> None:
        """Read the headers."""
        self._content = content
        self._records = self._text = self._taken = 0
        if not content.startswith(MAGIC) or len(content) < _IDENTIFICATION:
            _refuse("it has no header")
        bits, order = _BITS.get(content[4]), _ORDERS.get(content[5])
        if bits is None or order is None:
            _refuse(
                f"its class is {content[4]} and its byte order {content[5]}; known are 1 and 2 for "
                "each"
            )
        self._bits, self._order = bits, order
        header = self._unpack(_HEADERS[bits], _IDENTIFICATION)
        self._type, self._machine, _, _, segments, sections, self._flags, _, *rest = header
        segment_size, segment_count, section_size, section_count, self._names = rest
        self._sections = self._read_sections(sections, section_size, section_count)
        if segment_count == _PN_XNUM and self._sections:
            segment_count = self._sections[0].info
        if self._names == _SHN_XINDEX and self._sections:
            self._names = self._sections[0].link
        layout, fields = _SEGMENTS[bits]
        rows = self._table(layout, segments, segment_size, segment_count, "segments")
        self._segments = tuple(_Segment(*(row[field] for field in fields)) for row in rows)
        self._dynamic = self._read_dynamic()
        self._dynamic_names: bytes | None = None

    def _read_sections(self, offset: int, size: int, count: int) -> tuple[_Section, ...]:
        if offset == 0:
            return ()
        if count == 0:
            [first] = self._table(_SECTIONS[self._bits], offset, size, 1, "sections")
            count = _Section(*first).size
        if count == 0:
            _refuse("it has sections and does not say how many")
        return tuple(
            _Section(*row)
            for row in self._table(_SECTIONS[self._bits], offset, size, count, "sections")
        )

    def _read_dynamic(self) -> tuple[tuple[int, int], ...]:
        segment = next((segment for segment in self._segments if segment.kind == _PT_DYNAMIC), None)
        found = []
        if segment is not None:
            layout = struct.Struct(self._order + _DYNAMIC[self._bits])
            part = self._slice(segment.offset, segment.size)
            for tag, value in layout.iter_unpack(part[: len(part) - len(part) % layout.size]):
                if tag == _DT_NULL:
                    break
                self._count(1)
                found.append((tag, value))
        return tuple(found)

    @property
    def machine(self) -> str:
        """The processor that it is for, as in EM_X86_64; its number where it has no name."""
        return _MACHINES.get(self._machine, str(self._machine))

    @property
    def flags(self) -> int:
        """The processor's own flags, `e_flags`."""
        return int(self._flags)

    @property
    def abi_version(self) -> int:
        """The version of the interface, EI_ABIVERSION.

        An AMD GPU's code object has the version of its format there.
        """
        return self._content[8]

    @property
    def has_sections(self) -> bool:
        """Whether section headers are there.

        Without them only what the loader needs can be read.
        """
        return bool(self._sections)

    def tags(self, name: str) -> tuple[str, ...]:
        """Return the values of DT_NEEDED, DT_SONAME, DT_RPATH or DT_RUNPATH, in order.

        `name` is the tag without `DT_`.
        """
        wanted = [value for tag, value in self._dynamic if tag == _TEXTS[name]]
        if not wanted:
            return ()
        strings = self._dynamic_strings()
        longest = _LONGEST_RUN_PATH if name in {"RPATH", "RUNPATH"} else _LONGEST_NAME
        return tuple(self._name(strings, start, longest) for start in wanted)

    def _dynamic_strings(self) -> bytes:
        if self._dynamic_names is None:
            places = dict(self._dynamic)
            if _DT_STRTAB not in places:
                _refuse("it has names of libraries and no strings")
            start = self._offset(places[_DT_STRTAB])
            # A linker that is asked for it leaves the size out; then the strings end with the file.
            self._dynamic_names = self._slice(
                start, places.get(_DT_STRSZ, len(self._content) - start)
            )
        return self._dynamic_names

    def _offset(self, address: int) -> int:
        """Return the position in the file of an address in memory."""
        loaded = (segment for segment in self._segments if segment.kind == _PT_LOAD)
        segment = next(
            (
                segment
                for segment in loaded
                if segment.address <= address < segment.address + segment.size
            ),
            None,
        )
        if segment is None:
            _refuse("a table of its dynamic segment lies in no segment")
        return address - segment.address + segment.offset

    def symbols(self) -> Iterator[Symbol]:
        """Return the symbols of the dynamic symbol table.

        Of an object file, those of its symbol table.
        """
        table, names = self._symbol_tables()
        fields, info, section, value = _SYMBOLS[self._bits]
        layout = struct.Struct(self._order + fields)
        self._count(len(table) // layout.size)
        for entry in layout.iter_unpack(table[: len(table) - len(table) % layout.size]):
            if name := self._name(names, entry[0], _MOST_TEXT):
                yield Symbol(
                    name=name,
                    defined=entry[section] != _SHN_UNDEF,
                    weak=entry[info] >> 4 == _STB_WEAK,
                    address=entry[value],
                )

    def loads(self) -> tuple[LoadSegment, ...]:
        """Return what is loaded into memory, as its segments say."""
        return tuple(
            LoadSegment(
                address=segment.address,
                content=self._slice(segment.offset, segment.size),
                size=segment.memory,
            )
            for segment in self._segments
            if segment.kind == _PT_LOAD
        )

    def relocations(self) -> Iterator[Relocation]:
        """Return the relocations with addends of the dynamic segment, of a file of 64 bits."""
        places = dict(self._dynamic)
        if _DT_RELA not in places or self._bits != 64:
            return
        layout = struct.Struct(self._order + "QQq")
        part = self._slice(self._offset(places[_DT_RELA]), places.get(_DT_RELASZ, 0))
        self._count(len(part) // layout.size)
        table, names = self._symbol_tables()
        entry = struct.Struct(self._order + _SYMBOLS[64][0])
        for address, info, addend in layout.iter_unpack(part[: len(part) // 24 * 24]):
            number = info >> 32
            if (number + 1) * entry.size > len(table):
                _refuse(f"a relocation names symbol {number}, which is none")
            name = entry.unpack_from(table, number * entry.size)[0] if number else 0
            yield Relocation(
                address=address,
                kind=info & 0xFFFFFFFF,
                symbol=self._name(names, name, _MOST_TEXT) if number else "",
                addend=addend,
            )

    def _symbol_tables(self) -> tuple[bytes, bytes]:
        """Return the symbol table and its strings."""
        wanted = _SHT_SYMTAB if self._type == _ET_REL else _SHT_DYNSYM
        for section in self._sections:
            if section.kind == wanted:
                return self._slice(section.offset, section.size), self._strings(section.link)
        places = dict(self._dynamic)
        if _DT_SYMTAB not in places:
            return b"", b""
        # The loader knows no size of the symbol table: it ends where in memory the next table
        # begins.
        first = places[_DT_SYMTAB]
        behind = [place for tag, place in places.items() if tag in _ADDRESSES and place > first]
        if not behind:
            _refuse("nothing says where its symbol table ends")
        return self._slice(self._offset(first), min(behind) - first), self._dynamic_strings()

    def _strings(self, number: int) -> bytes:
        if number >= len(self._sections):
            _refuse(f"it names section {number}, and has {len(self._sections)}")
        return self._slice(self._sections[number].offset, self._sections[number].size)

    def versions(self) -> dict[str, set[str]]:
        """Return the needed symbol versions by library, without the loader's own.

        They are found by section headers.
        """
        found: dict[str, set[str]] = {}
        for section in self._sections:
            if section.kind == _SHT_VERNEED:
                for library, version in self._needed_versions(
                    self._slice(section.offset, section.size), self._strings(section.link)
                ):
                    if not library.startswith("ld-linux") and library not in {
                        "ld64.so.1",
                        "ld64.so.2",
                    }:
                        found.setdefault(library, set()).add(version)
        return found

    def _needed_versions(self, table: bytes, names: bytes) -> Iterator[tuple[str, str]]:
        """Yield the library and the version of every record in a table of needed versions.

        Each record lies after the one before it, and is read once.
        """
        need, version = (
            struct.Struct(self._order + _NEED),
            struct.Struct(self._order + _NEED_VERSION),
        )
        start, left = 0, len(table) // version.size
        while start + need.size <= len(table):
            _, count, file, first, following = need.unpack_from(table, start)
            library, place = self._name(names, file, _LONGEST_NAME), start + first
            for number in range(count):
                left -= 1
                if left < 0 or place + version.size > len(table):
                    _refuse("its table of needed versions has more records than room")
                _, _, _, name, step = version.unpack_from(table, place)
                yield library, self._name(names, name, _LONGEST_NAME)
                place += step
                if step < version.size and number < count - 1:
                    _refuse("a record of its table of needed versions lies over the one before")
            if following == 0:
                return
            start += following

    def summary(self) -> Compiled:
        """Return what is kept when the file is let go."""
        return Compiled(
            machine=self.machine,
            needed=self.tags("NEEDED"),
            versions=self.versions(),
            has_sections=self.has_sections,
        )

    def section(self, name: str) -> bytes | None:
        """Return the content of a section, nothing when it takes no room in the file.

        None when there is no such section.
        """
        parts = [section for section, its_name in self._named_sections() if its_name == name]
        return (
            b"".join(
                self._slice(part.offset, part.size) for part in parts if part.kind != _SHT_NOBITS
            )
            if parts
            else None
        )

    def places(self, name: str) -> tuple[tuple[int, int], ...]:
        """Return where in the file the sections of a name begin and end."""
        named = [
            section
            for section, its_name in self._named_sections()
            if its_name == name and section.kind != _SHT_NOBITS
        ]
        return tuple((section.offset, section.offset + section.size) for section in named)

    def _named_sections(self) -> Iterator[tuple[_Section, str]]:
        names = (
            self._strings(self._names) if self._sections and self._names != _SHN_UNDEF else b"\0"
        )
        for section in self._sections:
            yield (
                section,
                self._name(names, section.name, _LONGEST_NAME) if section.name < len(names) else "",
            )

    def constants(self) -> Iterator[bytes]:
        """Return the data that the program reads, which contains the texts given to dlopen.

        These are sections such as .rodata and .data, recognised by their flags.
        """
        if not self.has_sections:
            for segment in self._segments:
                if segment.kind == _PT_LOAD:
                    yield self._slice(segment.offset, segment.size)
        for section, name in self._named_sections():
            if (
                section.kind == _SHT_PROGBITS
                and section.flags & (_SHF_ALLOC | _SHF_EXECINSTR) == _SHF_ALLOC
                and name != ".hip_fatbin"
            ):
                yield self._slice(section.offset, section.size)

    def notes(self, owner: str, kind: int) -> Iterator[bytes]:
        """Return the content of an owner's notes of one type."""
        layout, wanted = struct.Struct(self._order + _NOTE), owner.encode()
        for segment in self._segments:
            if segment.kind != _PT_NOTE:
                continue
            part, start = self._slice(segment.offset, segment.size), 0
            step = (
                8 if segment.alignment == 8 else 4
            )  # GNU's properties are padded to a word of 64 bits
            while start + layout.size <= len(part):
                self._count(1)
                name_size, size, its_kind = layout.unpack_from(part, start)
                name = start + layout.size
                content = start + _padded(layout.size + name_size, step)
                start = content + _padded(size, step)
                if its_kind == kind and part[name : name + name_size].rstrip(b"\0") == wanted:
                    if content + size > len(part):
                        _refuse("a note reaches beyond its segment")
                    yield part[content : content + size]

    def _unpack(self, layout: str, offset: int) -> tuple[int, ...]:
        packed = struct.Struct(self._order + layout)
        return packed.unpack(self._slice(offset, packed.size))

    def _table(
        self, layout: str, offset: int, size: int, count: int, what: str
    ) -> Iterator[tuple[int, ...]]:
        packed = struct.Struct(self._order + layout)
        if count == 0:
            return iter(())
        if size != packed.size:
            _refuse(f"its headers of {what} have {size} bytes each, not {packed.size}")
        self._count(count)
        return packed.iter_unpack(self._slice(offset, size * count))

    def _slice(self, offset: int, size: int) -> bytes:
        if offset + size > len(self._content):
            _refuse(f"it has {len(self._content)} bytes, and asks for {size} at byte {offset}")
        self._taken += size
        if self._taken > _TIMES * len(self._content) + _BESIDE:
            _refuse(
                f"its tables lie over each other: reading them takes more than {_TIMES} times its "
                f"{len(self._content)} bytes"
            )
        return self._content[offset : offset + size]

    def _name(self, strings: bytes, start: int, longest: int) -> str:
        """Return the text at a position in a table of strings."""
        end = strings.find(b"\0", start, start + longest + 1)
        if end < 0:
            _refuse(
                "a name lies outside of its strings"
                if start + longest >= len(strings)
                else f"a name has more than {longest} bytes"
            )
        self._text += end - start
        if self._text > _MOST_TEXT:
            _refuse(f"its names have more than {_MOST_TEXT} bytes, many of them the same ones")
        return strings[start:end].decode("utf-8", "replace")

    def _count(self, records: int) -> None:
        self._records += records
        if self._records > _MOST_RECORDS:
            _refuse(f"it has more than {_MOST_RECORDS} symbols, sections and notes")


def _padded(size: int, step: int) -> int:
    return -(-size // step) * step


def _refuse(what: str) -> NoReturn:
    message = f"it is damaged: {what}"
    raise AuditError(message)
