"""Hold our decoder against LLVM's: the name, every register, constant and offset of
instructions.
"""

from __future__ import annotations

import re
import struct
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from forkhouse.emulation.decoding import Instruction, decode
from forkhouse.emulation.faults import UnknownOperationError

if TYPE_CHECKING:
    from pathlib import Path

_LINE = re.compile(r"^\s+(\S.*?)\s*// ([0-9A-F]{12}): ((?:[0-9A-F]{8} ?)+)")
_NAMED = {
    "vcc": "s106", "vcc_lo": "s106", "vcc_hi": "s107", "exec": "s126", "exec_lo": "s126",
    "exec_hi": "s127", "m0": "s124", "flat_scratch": "s102", "flat_scratch_lo": "s102",
    "flat_scratch_hi": "s103", "xnack_mask": "s104", "xnack_mask_lo": "s104",
    "xnack_mask_hi": "s105", "src_shared_base": "c235", "src_shared_limit": "c236",
    "src_private_base": "c237", "src_private_limit": "c238", "src_vccz": "c251",
    "src_execz": "c252", "src_scc": "c253", "vccz": "c251", "execz": "c252", "scc": "c253",
}  # fmt: skip
_FLOATS = {
    "0.5": 240, "-0.5": 241, "1.0": 242, "-1.0": 243, "2.0": 244, "-2.0": 245, "4.0": 246,
    "-4.0": 247, "0.15915494": 248, "0.15915494309189532": 248, "0.1592": 248,
}  # fmt: skip
_WORDED = frozenset({"s_waitcnt", "s_sendmsg"})
"""Operations whose constant LLVM puts in words."""
_SUFFIX = re.compile(r"_(e32|e64|dpp|sdwa)$")


@dataclass
class Comparison:
    """How many instructions are the same, and which are not."""

    equal: int = 0
    names: Counter[str] = field(default_factory=Counter)
    different: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return self.equal + len(self.different)


def compare(code_object: Path, disassembler: str, result: Comparison) -> None:
    """Disassemble the text of a code object by LLVM, and decode each of its instructions."""
    command = [disassembler, "-d", "--mcpu=gfx90a", str(code_object)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            found = _LINE.match(line)
            if found is None:
                continue
            text, address, words = found[1], int(found[2], 16), found[3].split()
            code = b"".join(struct.pack("<I", int(word, 16)) for word in words)
            problem = _problem(text, code, address)
            if problem is None:
                result.equal += 1
                result.names[_SUFFIX.sub("", text.split()[0])] += 1
            else:
                result.different.append(f"{address:#x} {' '.join(words)}: {text} | {problem}")
    assert process.returncode == 0


def _problem(text: str, code: bytes, address: int) -> str | None:
    """Return what differs; None where nothing does."""
    try:
        inst = decode(code, 0, address)
    except UnknownOperationError as error:
        return f"not decoded: {error}"
    name, _, rest = text.partition(" ")
    if _SUFFIX.sub("", name) != inst.name:
        return f"ours is {inst.name}"
    if inst.size != len(code):
        return f"ours has {inst.size} bytes"
    theirs, modifiers = _read(rest)
    ours = _operands(inst, theirs)
    if ours[: len(theirs)] != theirs:
        return f"operands are {ours}, LLVM's are {theirs}"
    for key, value in modifiers.items():
        mine = _modifier(inst, key)
        if mine is not None and mine != value:
            return f"{key} is {mine}, LLVM's is {value}"
    return None


def _read(rest: str) -> tuple[list[str], dict[str, int]]:
    """Return the operands that LLVM prints, in one spelling, and the modifiers with numbers."""
    modifiers = {key: int(value, 0) for key, value in re.findall(r"\b(offset\d?):(-?\w+)", rest)}
    for flag in ("glc", "slc", "offen", "idxen", "clamp"):
        if re.search(rf"\b{flag}\b", rest):
            modifiers[flag] = 1
    rest = re.sub(
        r"\b(offset\d?|quad_perm|row_\w+|wave_\w+|bank_mask|bound_ctrl|dst_sel|dst_unused"
        r"|src\d_sel|"
        r"op_sel|op_sel_hi|neg_lo|neg_hi|mul|div|cbsz|abid|blgp|vmcnt|lgkmcnt"
        r"|expcnt):?(\[[^\]]*\]|\S+)?",
        "", rest,
    )  # fmt: skip
    rest = re.sub(
        r"\b(row_\w*mirror|glc|slc|offen|idxen|clamp|lds|gds|scc|tfe|sext)\b(?!_)", "", rest
    )
    parts = [part.strip() for part in rest.split(",")]
    return [each for each in map(_spelt, parts) if each], modifiers


def _spelt(operand: str) -> str:
    # Newer LLVM puts long constants in lit(), and negated ones in neg().
    operand = re.sub(r"^(lit|neg)\(", "", operand.strip())
    operand = operand.strip("|").lstrip("-") if re.match(r"-?\|?[vsa\[]", operand) else operand
    operand = operand.strip("()| ").split(" ")[0]
    operand = operand.removeprefix("-|").strip("|")
    if operand in _NAMED:
        return _NAMED[operand]
    if operand == "off":
        return "off"
    if found := re.fullmatch(r"([vsa])\[?(\d+)(?::\d+)?\]?", operand):
        return f"{found[1]}{found[2]}"
    if found := re.fullmatch(r"ttmp\[?(\d+)(?::\d+)?\]?", operand):
        return f"s{108 + int(found[1])}"
    if operand in _FLOATS:
        return f"c{_FLOATS[operand]}"
    if re.fullmatch(r"-?(0x[0-9a-f]+|\d+)", operand):
        return f"#{int(operand, 0) & 0xFFFFFFFF}"
    return operand


def _source(inst: Instruction, code: int, *, accumulator: bool = False) -> str:
    if code >= 256:
        return f"{'a' if accumulator else 'v'}{code - 256}"
    if code < 128:
        return f"s{code}"
    if code <= 192:
        return f"#{code - 128}"
    if code <= 208:
        return f"#{192 - code & 0xFFFFFFFF}"
    if code == 255:
        return f"#{inst.literal}"
    return f"c{code}"


def _sources(inst: Instruction) -> list[str]:
    src = [
        _source(inst, inst[f"src{number}"]) for number in range(3) if f"src{number}" in inst.fields
    ]
    if inst.modifier == "sdwa" and inst["s1"]:
        src[1] = f"s{inst['src1'] & 0xFF}"
    return src


def _operands(inst: Instruction, theirs: list[str]) -> list[str]:
    """Return our operands in LLVM's order."""
    if inst.format in {"ds", "flat", "global", "scratch", "mubuf", "smem"}:
        return _of_memory(inst)
    return _of_scalars(inst, theirs) if inst.format.startswith("s") else _of_vectors(inst)


def _of_scalars(inst: Instruction, theirs: list[str]) -> list[str]:
    src, sdst = _sources(inst), f"s{inst['sdst']}"
    match inst.format:
        case "sop2":
            return [sdst, *src]
        case "sop1":
            return {"s_setpc_b64": src, "s_getpc_b64": [sdst]}.get(inst.name, [sdst, *src])
        case "sopc":
            if inst.name == "s_set_gpr_idx_on":
                return [src[0], *theirs[1:]]  # the names of operands
            return src
        case "sopk":
            if "reg" in inst.name:
                return theirs  # the names of hardware registers
            return [sdst, f"#{inst['simm']}"]
        case "sopp":
            if inst.name.startswith(("s_cbranch", "s_branch")):
                return [f"#{inst['simm']}"] if theirs and theirs[0].startswith("#") else theirs
            return [f"#{inst['simm']}"] if inst.name not in _WORDED else theirs
        case _:
            raise AssertionError(inst.format)


def _of_vectors(inst: Instruction) -> list[str]:
    src, vdst, sdst = _sources(inst), f"v{inst['vdst']}", f"s{inst['sdst']}"
    match inst.format:
        case "vop1":
            if inst.name.startswith("v_readfirstlane"):
                return [f"s{inst['vdst']}", *src]
            if inst.name == "v_accvgpr_mov_b32":
                return [f"a{inst['vdst']}", f"a{inst['src0'] - 256}"]
            return [vdst, *src]
        case "vop2":
            carries = ["s106"] if "_co_" in inst.name else []
            behind = (
                ["s106"]
                if "addc" in inst.name or "subb" in inst.name or "cndmask" in inst.name
                else []
            )
            literal = f"#{inst.literal}"
            if inst.name.startswith("v_madmk"):
                return [vdst, src[0], literal, src[1]]
            if inst.name.startswith("v_madak"):
                return [vdst, *src, literal]
            return [vdst, *carries, *src, *behind]
        case "vopc":
            target = f"s{inst['sdst']}" if inst.modifier == "sdwa" and inst["sd"] else "s106"
            return [target, *src]
        case "vop3":
            if inst["op"] < 256 or "readlane" in inst.name:
                return [f"s{inst['vdst']}", *src]
            return [vdst, *src]
        case "vop3sd":
            return [vdst, sdst, *src]
        case "mai":
            kinds = [bool(inst["acc"] & 1), bool(inst["acc"] >> 1), bool(inst["acc_cd"])]
            target = f"{'a' if inst['acc_cd'] else 'v'}{inst['vdst']}"
            if inst.name == "v_accvgpr_write_b32":
                return [f"a{inst['vdst']}", src[0]]
            if inst.name == "v_accvgpr_read_b32":
                return [vdst, f"a{inst['src0'] - 256}"]
            return [
                target,
                *(
                    _source(inst, inst[f"src{number}"], accumulator=kinds[number])
                    for number in range(3)
                ),
            ]
        case "vop3p":
            return [vdst, *src]
        case _:
            raise AssertionError(inst.format)


def _of_memory(inst: Instruction) -> list[str]:
    acc = "a" if inst["acc"] else "v"
    match inst.format:
        case "smem":
            offset = (
                f"#{inst.signed('offset', 21) & 0xFFFFFFFF}"
                if inst["imm"]
                else f"s{inst['offset'] & 0x7F}"
            )
            if not inst["imm"] and inst["soffset_en"]:
                offset = f"s{inst['soffset']}"
            if inst.name.startswith("s_mem"):
                return [f"s{inst['sdata']}"]
            return [f"s{inst['sdata']}", f"s{2 * inst['sbase']}", offset]
        case "ds":
            address, first, second = (
                f"v{inst['addr']}",
                f"{acc}{inst['data0']}",
                f"{acc}{inst['data1']}",
            )
            if inst.name == "ds_swizzle_b32":
                return [f"{acc}{inst['vdst']}", address]
            if "read" in inst.name:
                return [f"{acc}{inst['vdst']}", address]
            returned = "_rtn" in inst.name or "permute" in inst.name
            return [*([f"{acc}{inst['vdst']}"] if returned else []), address, first, second]
        case "flat" | "global" | "scratch":
            saddr = "off" if inst["saddr"] == 0x7F else f"s{inst['saddr']}"
            address = "off" if inst.format == "scratch" and saddr != "off" else f"v{inst['addr']}"
            tail = [] if inst.format == "flat" else [saddr]
            target, data = f"{acc}{inst['vdst']}", f"{acc}{inst['data0']}"
            if "_load_" in inst.name:
                return [target, address, *tail]
            if "_store_" in inst.name:
                return [address, data, *tail]
            return [*([target] if inst["glc"] else []), address, data, *tail]
        case "mubuf":
            if "buffer_wb" in inst.name or "inv" in inst.name:
                return []
            address = f"v{inst['addr']}" if inst["offen"] or inst["idxen"] else "off"
            return [
                f"{acc}{inst['vdst']}",
                address,
                f"s{4 * inst['srsrc']}",
                _source(inst, inst["soffset"]),
            ]
        case _:
            raise AssertionError(inst.format)


def _modifier(inst: Instruction, key: str) -> int | None:
    if key == "offset":
        if inst.format == "ds":
            return inst["offset0"] | inst["offset1"] << 8
        if inst.format == "flat":
            return inst["offset"] & 0xFFF
        return inst.signed("offset", 13) if inst.format in {"global", "scratch"} else inst["offset"]
    return inst[key] if key in inst.fields else None
