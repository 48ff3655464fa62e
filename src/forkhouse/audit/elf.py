"""Read ELF files as the loader does: by segments, for section headers may be stripped."""

from __future__ import annotations

import contextlib
import io
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.segments import NoteSegment

from forkhouse.errors import AuditError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC = b"\x7fELF"

_SHN_UNDEF = 0
_STB_WEAK = 2
_SHF_ALLOC = 2
_SHF_EXECINSTR = 4
_VERNEED_SIZE = 16
_SYMBOL_LAYOUTS = {64: ("IBBHQQ", 1, 3), 32: ("IIIBBH", 3, 5)}
"""By file class in bits: the fields of a symbol, and which of them are st_info and st_shndx; the first is st_name."""
_ADDRESSES = frozenset(
    f"DT_{name}"
    for name in ("HASH", "GNU_HASH", "STRTAB", "RELA", "REL", "RELR", "JMPREL", "VERSYM", "VERNEED", "VERDEF", "INIT", "FINI", "PLTGOT")
)
"""Tags of the dynamic segment that hold an address."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Symbol:
    """An entry of a symbol table."""

    name: str
    defined: bool
    weak: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Compiled:
    """What of a file for the host is needed to judge the wheel as a whole."""

    machine: str
    """The processor, as in EM_X86_64."""
    needed: tuple[str, ...]
    """Names of the libraries that it needs."""
    versions: dict[str, set[str]]
    """Symbol versions that it needs, by library: {'libc.so.6': {'GLIBC_2.28'}}; nothing without section headers."""
    has_sections: bool


class Elf:
    """One ELF file. Every method raises AuditError where the file is damaged, and believes no size that exceeds the file."""

    def __init__(self, content: bytes) -> None:
        """Read the headers."""
        self._content = content
        with _damage():
            self._elf = ELFFile(io.BytesIO(content))
            self._check_tables()
            dynamic = next(self._elf.iter_segments("PT_DYNAMIC"), None)
            self._dynamic = dynamic if isinstance(dynamic, DynamicSegment) else None

    def _check_tables(self) -> None:
        # pyelftools reads as many entries as a header claims.
        header = self._elf.header
        if header["e_shoff"] and not header["e_shnum"]:
            message = "it is damaged: it has sections and does not say how many"
            raise AuditError(message)
        for kind in ("ph", "sh"):
            offset, size, count = header[f"e_{kind}off"], header[f"e_{kind}entsize"], header[f"e_{kind}num"]
            if count:
                self._slice(offset, max(size, 1) * count)

    @property
    def machine(self) -> str:
        """The processor that it is for, as in EM_X86_64."""
        return str(self._elf.header["e_machine"])

    @property
    def has_sections(self) -> bool:
        """Whether section headers are there; without them only what the loader needs can be read."""
        return bool(self._elf.header["e_shnum"])

    def tags(self, name: str) -> tuple[str, ...]:
        """Return the texts of DT_NEEDED, DT_RPATH or DT_RUNPATH (`name` is without DT_), in order."""
        if self._dynamic is None:
            return ()
        with _damage():
            return tuple(str(getattr(tag, name.lower())) for tag in self._dynamic.iter_tags(f"DT_{name}"))

    def symbols(self) -> Iterator[Symbol]:
        """Return the symbols of the dynamic symbol table; of an object file, those of its symbol table."""
        with _damage():
            table, names = self._symbol_tables()
            fields, info, section = _SYMBOL_LAYOUTS[self._elf.elfclass]
            layout = struct.Struct(("<" if self._elf.little_endian else ">") + fields)
            # pyelftools reads symbols one by one, which takes 14 s for the 75 000 of PyTorch's largest library.
            for entry in layout.iter_unpack(table[: len(table) - len(table) % layout.size]):
                start, end = entry[0], names.find(b"\0", entry[0])
                if end < 0:
                    message = "it is damaged: a symbol's name lies outside of the strings"
                    raise AuditError(message)
                if end > start:
                    name = names[start:end].decode("utf-8", "replace")
                    yield Symbol(name=name, defined=entry[section] != _SHN_UNDEF, weak=entry[info] >> 4 == _STB_WEAK)

    def _symbol_tables(self) -> tuple[bytes, bytes]:
        """Return the symbol table and its strings."""
        wanted = "SHT_SYMTAB" if self._elf.header["e_type"] == "ET_REL" else "SHT_DYNSYM"
        for section in self._elf.iter_sections(wanted):
            strings = self._elf.get_section(section["sh_link"])
            return self._slice(section["sh_offset"], section["sh_size"]), self._slice(strings["sh_offset"], strings["sh_size"])
        if self._dynamic is None:
            return b"", b""
        # The loader knows no size of the symbol table: it ends where in memory the next table begins.
        places = {tag.entry.d_tag: tag.entry.d_ptr for tag in self._dynamic.iter_tags()}
        first = places["DT_SYMTAB"]
        last = min(place for tag, place in places.items() if tag in _ADDRESSES and place > first)
        table, names = (self._dynamic.get_table_offset(tag)[1] for tag in ("DT_SYMTAB", "DT_STRTAB"))
        if table is None or names is None:
            message = "it is damaged: its symbol table lies in no segment"
            raise AuditError(message)
        return self._slice(table, last - first), self._slice(names, places["DT_STRSZ"])

    def versions(self) -> dict[str, set[str]]:
        """Return the symbol versions that it needs, by library. They are found by section headers."""
        from auditwheel.elfutils import elf_find_versioned_symbols  # noqa: PLC0415  # start-up time

        found: dict[str, set[str]] = {}
        with _damage():
            for section in self._elf.iter_sections("SHT_GNU_verneed"):
                self._slice(section["sh_offset"], section["sh_info"] * _VERNEED_SIZE)
            for library, version in elf_find_versioned_symbols(self._elf):
                found.setdefault(library, set()).add(version)
        return found

    def summary(self) -> Compiled:
        """Return what is kept when the file is let go."""
        return Compiled(machine=self.machine, needed=self.tags("NEEDED"), versions=self.versions(), has_sections=self.has_sections)

    def section(self, name: str) -> bytes | None:
        """Return the content of a section, nothing when it takes no room in the file; None when there is no such section."""
        with _damage():
            parts = [section for section in self._elf.iter_sections() if section.name == name]
            kept = [part for part in parts if part["sh_type"] != "SHT_NOBITS"]
            return b"".join(self._slice(part["sh_offset"], part["sh_size"]) for part in kept) if parts else None

    def constants(self) -> Iterator[bytes]:
        """Return the data that the program reads, texts for dlopen among them: .rodata, .data and the like, told by their flags."""
        with _damage():
            if not self.has_sections:
                for segment in self._elf.iter_segments("PT_LOAD"):
                    yield self._slice(segment["p_offset"], segment["p_filesz"])
            for section in self._elf.iter_sections("SHT_PROGBITS"):
                if section["sh_flags"] & (_SHF_ALLOC | _SHF_EXECINSTR) == _SHF_ALLOC and section.name != ".hip_fatbin":
                    yield self._slice(section["sh_offset"], section["sh_size"])

    def notes(self, owner: str) -> Iterator[bytes]:
        """Return the content of an owner's notes."""
        with _damage():
            for segment in self._elf.iter_segments("PT_NOTE"):
                if isinstance(segment, NoteSegment):
                    yield from (bytes(note["n_descdata"]) for note in segment.iter_notes() if note["n_name"] == owner)

    def _slice(self, offset: int, size: int) -> bytes:
        if offset + size > len(self._content):
            message = "it is damaged: a part of it would lie behind its end"
            raise AuditError(message)
        return self._content[offset : offset + size]


@contextlib.contextmanager
def _damage() -> Iterator[None]:
    """Turn whatever pyelftools raises for a damaged file into an AuditError: it names no closed set of exceptions."""
    try:
        yield
    except AuditError:
        raise
    except Exception as error:
        message = f"it is damaged: {str(error) or type(error).__name__}"
        raise AuditError(message) from error
