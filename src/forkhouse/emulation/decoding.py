"""Decode machine code of gfx90a into instructions: their names and fields.

The layouts of the encodings are those of the CDNA 2 instruction set (AMD, "CDNA2 Instruction Set
Architecture", chapter 13). Which name an operation's number has is taken from tinygrad's tables,
which are made for CDNA 3 and 4; where gfx90a differs, the tables of this module say it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from forkhouse.emulation.faults import UnknownOperationError, needed

if TYPE_CHECKING:
    from collections.abc import Mapping

_LITERAL, _SDWA, _DPP = 255, 249, 250
VECTOR = 256
"""The first number of a vector register among the numbers of sources."""

_Layout = dict[str, tuple[int, int]]
"""By field, its first bit and its width, in the 64 bits of the first two words."""

LAYOUTS: dict[str, _Layout] = {
    "sop2": {"src0": (0, 8), "src1": (8, 8), "sdst": (16, 7), "op": (23, 7)},
    "sopk": {"simm": (0, 16), "sdst": (16, 7), "op": (23, 5)},
    "sop1": {"src0": (0, 8), "op": (8, 8), "sdst": (16, 7)},
    "sopc": {"src0": (0, 8), "src1": (8, 8), "op": (16, 7)},
    "sopp": {"simm": (0, 16), "op": (16, 7)},
    "smem": {
        "sbase": (0, 6), "sdata": (6, 7), "soffset_en": (14, 1), "nv": (15, 1), "glc": (16, 1),
        "imm": (17, 1), "op": (18, 8), "offset": (32, 21), "soffset": (57, 7),
    },
    "vop2": {"src0": (0, 9), "src1": (9, 8), "vdst": (17, 8), "op": (25, 6)},
    "vop1": {"src0": (0, 9), "op": (9, 8), "vdst": (17, 8)},
    "vopc": {"src0": (0, 9), "src1": (9, 8), "op": (17, 8)},
    "vop3": {
        "vdst": (0, 8), "abs": (8, 3), "op_sel": (11, 4), "clamp": (15, 1), "op": (16, 10),
        "src0": (32, 9), "src1": (41, 9), "src2": (50, 9), "omod": (59, 2), "neg": (61, 3),
    },
    "vop3sd": {
        "vdst": (0, 8), "sdst": (8, 7), "clamp": (15, 1), "op": (16, 10),
        "src0": (32, 9), "src1": (41, 9), "src2": (50, 9), "omod": (59, 2), "neg": (61, 3),
    },
    "vop3p": {
        "vdst": (0, 8), "neg_hi": (8, 3), "op_sel": (11, 3), "op_sel_hi2": (14, 1),
        "clamp": (15, 1), "op": (16, 7), "src0": (32, 9), "src1": (41, 9), "src2": (50, 9),
        "op_sel_hi": (59, 2), "neg": (61, 3),
    },
    "mai": {
        "vdst": (0, 8), "cbsz": (8, 3), "abid": (11, 4), "acc_cd": (15, 1), "op": (16, 7),
        "src0": (32, 9), "src1": (41, 9), "src2": (50, 9), "acc": (59, 2), "blgp": (61, 3),
    },
    "ds": {
        "offset0": (0, 8), "offset1": (8, 8), "gds": (16, 1), "op": (17, 8), "acc": (25, 1),
        "addr": (32, 8), "data0": (40, 8), "data1": (48, 8), "vdst": (56, 8),
    },
    "flat": {
        "offset": (0, 13), "lds": (13, 1), "seg": (14, 2), "glc": (16, 1), "slc": (17, 1),
        "op": (18, 7), "scc": (25, 1), "addr": (32, 8), "data0": (40, 8), "saddr": (48, 7),
        "acc": (55, 1), "vdst": (56, 8),
    },
    "mubuf": {
        "offset": (0, 12), "offen": (12, 1), "idxen": (13, 1), "glc": (14, 1), "scc": (15, 1),
        "lds": (16, 1), "slc": (17, 1), "op": (18, 7), "addr": (32, 8), "vdst": (40, 8),
        "srsrc": (48, 5), "acc": (55, 1), "soffset": (56, 8),
    },
}  # fmt: skip
_DPP_LAYOUT: _Layout = {
    "src0": (32, 8), "dpp_ctrl": (40, 9), "bound_ctrl": (51, 1), "neg0": (52, 1), "abs0": (53, 1),
    "neg1": (54, 1), "abs1": (55, 1), "bank_mask": (56, 4), "row_mask": (60, 4),
}  # fmt: skip
_SDWA_LAYOUT: _Layout = {
    "src0": (32, 8), "dst_sel": (40, 3), "dst_unused": (43, 2), "clamp": (45, 1), "omod": (46, 2),
    "src0_sel": (48, 3), "sext0": (51, 1), "neg0": (52, 1), "abs0": (53, 1), "s0": (55, 1),
    "src1_sel": (56, 3), "sext1": (59, 1), "neg1": (60, 1), "abs1": (61, 1), "s1": (63, 1),
}  # fmt: skip
_SDWA_COMPARE: _Layout = {"sdst": (40, 7), "sd": (47, 1)}

_TABLES = {
    "sop2": "SOP2Op", "sopk": "SOPKOp", "sop1": "SOP1Op", "sopc": "SOPCOp", "sopp": "SOPPOp",
    "smem": "SMEMOp", "vop2": "VOP2Op", "vop1": "VOP1Op", "vopc": "VOPCOp", "vop3": "VOP3Op",
    "vop3sd": "VOP3SDOp", "vop3p": "VOP3POp", "ds": "DSOp", "mubuf": "MUBUFOp",
}  # fmt: skip
_SEGMENTS = {0: ("flat", "FLATOp"), 1: ("scratch", "SCRATCHOp"), 2: ("global", "GLOBALOp")}

_CARRYING = {281, 282, 283, 284, 285, 286, 480, 481, 488, 489}
"""Operations of the encoding with three sources that write a scalar register as well."""

MATRIX = MappingProxyType({
    0x40: "v_mfma_f32_32x32x1f32", 0x41: "v_mfma_f32_16x16x1f32", 0x42: "v_mfma_f32_4x4x1f32",
    0x44: "v_mfma_f32_32x32x2f32", 0x45: "v_mfma_f32_16x16x4f32",
    0x48: "v_mfma_f32_32x32x4f16", 0x49: "v_mfma_f32_16x16x4f16", 0x4A: "v_mfma_f32_4x4x4f16",
    0x4C: "v_mfma_f32_32x32x8f16", 0x4D: "v_mfma_f32_16x16x16f16",
    0x50: "v_mfma_i32_32x32x4i8", 0x51: "v_mfma_i32_16x16x4i8", 0x52: "v_mfma_i32_4x4x4i8",
    0x54: "v_mfma_i32_32x32x8i8", 0x55: "v_mfma_i32_16x16x16i8",
    0x58: "v_accvgpr_read_b32", 0x59: "v_accvgpr_write_b32",
    0x63: "v_mfma_f32_32x32x4bf16_1k", 0x64: "v_mfma_f32_16x16x4bf16_1k",
    0x65: "v_mfma_f32_4x4x4bf16_1k", 0x66: "v_mfma_f32_32x32x8bf16_1k",
    0x67: "v_mfma_f32_16x16x16bf16_1k",
    0x68: "v_mfma_f32_32x32x2bf16", 0x69: "v_mfma_f32_16x16x2bf16", 0x6B: "v_mfma_f32_4x4x2bf16",
    0x6C: "v_mfma_f32_32x32x4bf16", 0x6D: "v_mfma_f32_16x16x8bf16",
    0x6E: "v_mfma_f64_16x16x4f64", 0x6F: "v_mfma_f64_4x4x4f64",
})  # fmt: skip
"""The matrix operations of gfx90a. CDNA 3 has others under many of these numbers."""

_OTHERS = {
    ("vop3p", 32): "v_fma_mix_f32", ("vop3p", 33): "v_fma_mixlo_f16",
    ("vop3p", 34): "v_fma_mixhi_f16", ("vop2", 22): "v_mac_f32", ("vop2", 23): "v_madmk_f32",
    ("vop2", 24): "v_madak_f32", ("vop3", 278): "v_mac_f32", ("vop3", 448): "v_mad_legacy_f32",
    ("vop3", 449): "v_mad_f32", ("mubuf", 41): "buffer_invl2", ("mubuf", 62): "buffer_wbinvl1",
    ("mubuf", 63): "buffer_wbinvl1_vol",
}  # fmt: skip
"""Names on gfx90a that differ from tinygrad's, or are missing in them."""
_NOT_HERE = frozenset(
    {
        "v_mov_b64", "v_prng_b32", "v_permlane16_swap_b32", "v_permlane32_swap_b32",
        "v_cvt_f32_fp8", "v_cvt_f32_bf8", "v_cvt_pk_f32_fp8", "v_cvt_pk_f32_bf8",
        "v_cvt_f32_bf16", "v_bitop3_b16", "v_bitop3_b32", "v_lshl_add_u64", "v_fmamk_f32",
        "v_fmaak_f32", "v_dot2c_f32_bf16", "v_dot2_f32_bf16", "v_pk_minimum3_f16",
        "v_pk_maximum3_f16", "v_minimum3_f32", "v_maximum3_f32", "ds_pk_add_f16",
        "ds_pk_add_bf16", "ds_pk_add_rtn_f16", "ds_pk_add_rtn_bf16",
        "global_atomic_pk_add_bf16", "flat_atomic_pk_add_bf16", "buffer_atomic_pk_add_bf16",
        "flat_atomic_add_f32", "flat_atomic_pk_add_f16", "v_ashr_pk_i8_i32", "v_ashr_pk_u8_i32",
        "v_cvt_pk_f16_f32", "v_cvt_pk_bf16_f32", "v_cvt_pk_fp8_f32", "v_cvt_pk_bf8_f32",
        "v_cvt_sr_fp8_f32", "v_cvt_sr_bf8_f32", "v_cvt_sr_f16_f32", "v_cvt_sr_bf16_f32",
        "ds_read_b64_tr_b4", "ds_read_b96_tr_b6", "ds_read_b64_tr_b8", "ds_read_b64_tr_b16",
        "s_set_valu_coexec_mode",
    }
)  # fmt: skip
"""Names of tinygrad's tables that are operations of CDNA 3 or 4 and not of gfx90a."""
_FAMILIES_NOT_HERE = (
    "v_cvt_scalef32", "v_smfmac", "v_mfma", "global_load_lds", "scratch_load_lds",
)  # fmt: skip
"""Beginnings of such names; the matrix operations of gfx90a are in a table of their own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Instruction:
    """One instruction as it stands in the code."""

    address: int
    """Where it begins, in bytes, in the same numbers as the code's."""
    size: int
    """Bytes: 4, 8 or 12."""
    format: str
    """The encoding: sop1, sop2, vop3, mubuf and so on. `global` and `scratch` are `flat`'s."""
    name: str
    """The operation, such as v_add_f32, without the encoding's ending."""
    fields: Mapping[str, int]
    """The fields of the encoding, as they stand there."""
    literal: int | None
    """The constant behind it, of 32 bits; None where there is none."""
    modifier: str | None
    """`dpp` or `sdwa` where the second word says how the sources are read."""

    def __getitem__(self, field: str) -> int:
        """Return a field; 0 for one that the encoding does not have."""
        return self.fields.get(field, 0)

    def signed(self, field: str, bits: int) -> int:
        """Return a field of so many bits as a signed number."""
        value = self[field] & (1 << bits) - 1
        return value - (1 << bits) if value >> bits - 1 else value


def decode(code: bytes | memoryview, offset: int, address: int) -> Instruction:
    """Return the instruction at a position of the code, which lies at an address.

    Raises UnknownOperationError for one that gfx90a does not have, and where the code ends.
    """
    part = bytes(code[offset : offset + 12])
    if len(part) < 4:
        message = f"the code ends at address {address:#x}, and no instruction ended the program"
        raise UnknownOperationError(message)
    word = int.from_bytes(part[:4], "little")
    both = int.from_bytes(part[:8], "little")
    encoding, layout, size = _encoding(word)
    fields = _fields(layout, both)
    name = _name(encoding, fields, word, address)
    if encoding == "flat":
        encoding = _SEGMENTS[fields["seg"]][0]
    modifier = literal = None
    sources = [fields.get("src0")]
    if encoding in {"sop2", "sopc"}:
        sources.append(fields["src1"])
    if encoding in {"vop1", "vop2", "vopc"} and fields["src0"] == _DPP:
        fields.update(_fields(_DPP_LAYOUT, both))
        fields["src0"] += VECTOR
        modifier, size = "dpp", 8
    elif encoding in {"vop1", "vop2", "vopc"} and fields["src0"] == _SDWA:
        fields.update(_fields(_SDWA_LAYOUT, both))
        fields["src0"] += 0 if fields["s0"] else VECTOR
        if encoding == "vopc":
            fields.update(_fields(_SDWA_COMPARE, both))
            del fields["dst_sel"], fields["dst_unused"], fields["clamp"], fields["omod"]
        modifier, size = "sdwa", 8
    elif size == 4 and (_LITERAL in sources or _carries(name)):
        literal, size = int.from_bytes(part[4:8], "little"), 8
    if encoding in {"vop2", "vopc"} and not (modifier == "sdwa" and fields["s1"]):
        fields["src1"] += VECTOR
    if len(part) < size:
        message = f"the instruction at {address:#x} is cut off"
        raise UnknownOperationError(message)
    return Instruction(
        address=address,
        size=size,
        format=encoding,
        name=name,
        fields=MappingProxyType(fields),
        literal=literal,
        modifier=modifier,
    )


def _encoding(word: int) -> tuple[str, _Layout, int]:
    """Return the encoding that a first word has, its layout, and its size without a literal."""
    name = _encoding_name(word)
    return name, LAYOUTS[name], 4 if name in _SHORT else 8


_SHORT = {"sop1", "sop2", "sopk", "sopc", "sopp", "vop1", "vop2", "vopc"}
_SCALAR = {0b101111101: "sop1", 0b101111110: "sopc", 0b101111111: "sopp"}
_LONG = {0b110000: "smem", 0b110110: "ds", 0b110111: "flat", 0b111000: "mubuf"}


def _encoding_name(word: int) -> str:
    if word >> 31 == 0:
        return {0b0111111: "vop1", 0b0111110: "vopc"}.get(word >> 25, "vop2")
    if word >> 30 == 0b10:
        return _SCALAR.get(word >> 23) or ("sopk" if word >> 28 == 0b1011 else "sop2")
    if word >> 23 == 0b110100111:
        return "mai" if word >> 16 & 0x7F in MATRIX else "vop3p"
    if word >> 26 == 0b110100:
        return "vop3sd" if word >> 16 & 0x3FF in _CARRYING else "vop3"
    if word >> 26 in _LONG:
        return _LONG[word >> 26]
    message = f"no encoding of gfx90a begins with {word:#010x}"
    raise UnknownOperationError(message)


def _fields(layout: _Layout, bits: int) -> dict[str, int]:
    return {name: bits >> first & (1 << width) - 1 for name, (first, width) in layout.items()}


def _carries(name: str) -> bool:
    """Return whether an operation always has a literal behind it."""
    return name in {
        "v_madmk_f16", "v_madak_f16", "v_madmk_f32", "v_madak_f32", "s_setreg_imm32_b32",
    }  # fmt: skip


def _name(encoding: str, fields: Mapping[str, int], word: int, address: int) -> str:
    number = fields["op"]
    if encoding == "flat":
        if fields["seg"] not in _SEGMENTS:
            message = f"the word {word:#010x} at {address:#x} names a segment that is none"
            raise UnknownOperationError(message)
        encoding = _SEGMENTS[fields["seg"]][0]
    name = operations(encoding).get(number)
    if name is None:
        message = f"operation {number} of the encoding {encoding} (word {word:#010x}) is not known"
        raise UnknownOperationError(message)
    return name


@cache
def operations(encoding: str) -> Mapping[int, str]:
    """Return the names of the operations of gfx90a that an encoding has, by number."""
    if encoding == "mai":
        return MATRIX
    table = _TABLES.get(encoding) or dict(_SEGMENTS.values())[encoding]
    names = dict(_names(table))
    if encoding == "vop3":
        # Comparisons have the same numbers in both of their encodings.
        names |= _names("VOPCOp")
    names |= {number: name for (where, number), name in _OTHERS.items() if where == encoding}
    return MappingProxyType(
        {
            number: name
            for number, name in names.items()
            if name not in _NOT_HERE and not name.startswith(_FAMILIES_NOT_HERE)
        }
    )


@cache
def _names(table: str) -> Mapping[int, str]:
    """Return the names of operations by number, from tinygrad's table of that name."""
    enumeration: Any = getattr(needed("tinygrad.runtime.autogen.amd.cdna.enum"), table)
    names = {}
    for each in enumeration:
        name = each.name.lower()
        names[int(each.value)] = name.removesuffix("_e32").removesuffix("_e64")
    return MappingProxyType(names)
