"""The modules that our edits add to vLLM.

What they say of two workers, of several answers and of compilers, without vLLM and PyTorch.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

import forkhouse

if TYPE_CHECKING:
    from collections.abc import Callable

SERIES = Path(forkhouse.__file__).parents[2] / "patches/vllm"


def _module(edit: str, path: str, folder: Path) -> Any:
    """Import the module that a shipped edit adds at `path`."""
    steps = yaml.safe_load((SERIES / edit).read_text(encoding="utf-8"))["edits"]
    (text,) = (step["content"] for step in steps if step.get("add") == path)
    file = folder / Path(path).name
    file.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec
    assert spec.loader
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Any:
    name = "0008-compare-what-decides-in-the-handshake.edit.yaml"
    return _module(name, "vllm/distributed/kv_identity.py", tmp_path_factory.mktemp("identity"))


@pytest.fixture(scope="module")
def order(tmp_path_factory: pytest.TempPathFactory) -> Any:
    name = "0009-arrange-received-kv-blocks.edit.yaml"
    return _module(name, "vllm/distributed/kv_block_order.py", tmp_path_factory.mktemp("order"))


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (("FLASH_ATTN", "auto", "e4m3fn", False), ("TRITON_ATTN", "auto", "e4m3fnuz", False), True),
        (
            ("FLASHINFER", "fp8", "e4m3fn", False),
            ("TRITON_ATTN", "fp8_e4m3", "e4m3fn", False),
            True,
        ),
        (
            ("FLASH_ATTN", "fp8_e5m2", "e4m3fn", False),
            ("TRITON_ATTN", "fp8_e5m2", "e4m3fnuz", False),
            True,
        ),
        (("FLASH_ATTN", "fp8", "e4m3fn", False), ("TRITON_ATTN", "fp8", "e4m3fnuz", False), False),
        (("FLASH_ATTN", "auto", "e4m3fn", False), ("FLASH_ATTN", "auto", "e4m3fn", True), False),
        (("FLASH_ATTN", "auto", "e4m3fn", True), ("FLASH_ATTN", "auto", "e4m3fn", True), True),
        (("FLASH_ATTN", "auto", "e4m3fn", False), ("CPU_ATTN", "auto", "e4m3fn", False), False),
        (("ROCM_ATTN", "auto", "e4m3fn", False), ("CPU_ATTN", "auto", "e4m3fn", False), False),
        (("CPU_ATTN", "auto", "e4m3fn", False), ("CPU_ATTN", "auto", "e4m3fn", False), True),
    ],
)
def test_workers_pair_when_they_keep_a_token_alike(
    identity: Any,
    one: tuple[str, str, str, bool],
    other: tuple[str, str, str, bool],
    *,
    alike: bool,
) -> None:
    said = [
        identity.kv_content(backend, cache_type, fp8_type, shuffled=shuffled)
        for backend, cache_type, fp8_type, shuffled in (one, other)
    ]
    assert (said[0] == said[1]) is alike


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"hidden_size": 8}', encoding="utf-8")
    (folder / "model.safetensors").write_bytes(bytes(1_000_000))
    return folder


def _other_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(bytes(500_000) + b"\1" * 100_000 + bytes(400_000))


def _longer_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(bytes(1_000_001))


def _other_settings(folder: Path) -> None:
    (folder / "config.json").write_text('{"hidden_size": 8, "rope_theta": 1}', encoding="utf-8")


def _other_name(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")


@pytest.mark.parametrize("change", [_other_weights, _longer_weights, _other_settings, _other_name])
def test_a_model_is_what_its_folder_holds(
    identity: Any, model: Path, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    copy = shutil.copytree(model, tmp_path / "on/another/host")
    (copy / "README.md").write_text("mirrored", encoding="utf-8")
    (copy / "consolidated.safetensors").write_bytes(b"not loaded")
    known = identity.model_identity(str(model), None)
    assert identity.model_identity(str(copy), None) == known
    change(copy)
    assert identity.model_identity(str(copy), None) != known


def test_a_model_that_is_no_folder_is_its_name_and_revision(identity: Any) -> None:
    assert identity.model_identity("somebody/model", None) == identity.model_identity(
        "somebody/model", None
    )
    assert identity.model_identity("somebody/model", None) != identity.model_identity(
        "somebody/model", "v2"
    )


@pytest.mark.parametrize("pieces", [1, 2, 3, 4])
def test_blocks_are_paired_with_those_of_the_same_tokens(order: Any, pieces: int) -> None:
    """For every prompt length and every number of blocks that the decode worker has.

    No token is missing, none moved.
    """
    short = 4
    for tokens in range(1, 70):
        theirs = list(range(0, tokens, short))  # where each block of the prefill worker begins
        ours = list(range(0, tokens, short * pieces))
        for cached in range(len(ours)):
            wanted = [start + short * piece for start in ours[cached:] for piece in range(pieces)]
            given = theirs[order.blocks_in_cache(len(theirs), len(ours) - cached, pieces) :]
            assert given == wanted[: len(given)], (tokens, cached)
            assert given[-1] == theirs[-1]
    assert order.blocks_in_cache(5, 0, pieces) >= 5, "nothing is read where everything is there"


SOUND = {
    "theirs": "LBHNC",
    "ours": "LBHNC",
    "pieces": 1,
    "met": set(),
    "side_by_side": True,
    "cache_type": "auto",
    "attention_groups": 1,
    "heads_split": False,
    "staged_otherwise": False,
}


@pytest.mark.parametrize(
    "situation",
    [
        {},
        {"theirs": "LBNHC"},
        {"ours": "LBNHC", "heads_split": True},
        {"pieces": 2},
        {"theirs": "LBNHC", "ours": "LBNHC", "pieces": 2},
        {"pieces": 2, "heads_split": True},
        {"theirs": "LBNHC", "pieces": 2, "cache_type": "fp8"},
        {"theirs": "LBNHC", "met": {"LBNHC"}},
        {"pieces": 2, "staged_otherwise": True},
        # Equal blocks are taken as they come, whatever they are.
        {
            "theirs": "BLHNC",
            "ours": "BLHNC",
            "side_by_side": False,
            "cache_type": "nvfp4",
            "attention_groups": 2,
            "heads_split": True,
        },
    ],
)
def test_what_can_be_put_in_order_is_let_in(order: Any, situation: dict[str, object]) -> None:
    order.refuse_what_cannot_be_arranged(**SOUND | situation)


@pytest.mark.parametrize(
    ("situation", "reason"),
    [
        ({"met": {"LBNHC"}}, "was met after one with LBNHC"),
        ({"theirs": "LBNHC", "met": {"LBHNC"}}, "was met after one with LBHNC"),
        ({"theirs": "LBNHC", "staged_otherwise": True}, "enable_permute_local_kv"),
        ({"theirs": "LHBNC"}, "the same VLLM_KV_CACHE_LAYOUT"),
        ({"theirs": "BLHNC", "ours": "BLHNC", "pieces": 2}, "2 times as long as theirs"),
        ({"theirs": "LBNHC", "side_by_side": False}, "side by side"),
        ({"pieces": 2, "side_by_side": False}, "side by side"),
        ({"pieces": 2, "cache_type": "nvfp4"}, "without scales"),
        ({"pieces": 2, "attention_groups": 2}, "2 kinds of attention share memory"),
        ({"theirs": "LBNHC", "heads_split": True}, "VLLM_KV_CACHE_LAYOUT=LBHNC"),
        (
            {"theirs": "LBNHC", "ours": "LBNHC", "pieces": 2, "heads_split": True},
            "VLLM_KV_CACHE_LAYOUT=LBHNC",
        ),
    ],
)
def test_what_cannot_be_put_in_order_is_refused(
    order: Any, situation: dict[str, object], reason: str
) -> None:
    with pytest.raises(RuntimeError, match=reason):
        order.refuse_what_cannot_be_arranged(**SOUND | situation)


@dataclass(kw_only=True)
class Sampling:
    """What the children of a request are sampled by, as far as a transfer is concerned."""

    seed: int | None = None
    extra_args: dict[str, Any] | None = None


@pytest.fixture(scope="module")
def children(tmp_path_factory: pytest.TempPathFactory) -> Any:
    name = "0010-let-one-child-pull-remote-blocks.edit.yaml"
    return _module(
        name, "vllm/v1/engine/transfer_of_children.py", tmp_path_factory.mktemp("children")
    )


def test_the_first_child_alone_takes_part_in_a_transfer(children: Any) -> None:
    """All children may share one object, so that nothing may be taken out of it."""
    shared = Sampling(
        seed=3, extra_args={"kv_transfer_params": {"remote_block_ids": [7]}, "other": 5}
    )
    each = [children.transfer_for_first(index, shared) for index in range(4)]
    assert [child.extra_args.get("kv_transfer_params") for child in each] == [
        {"remote_block_ids": [7]},
        None,
        None,
        None,
    ]
    assert {child.extra_args["other"] for child in each} == {5}
    assert {child.seed for child in each} == {3}
    assert shared.extra_args == {"kv_transfer_params": {"remote_block_ids": [7]}, "other": 5}


@pytest.mark.parametrize("extra", [None, {}, {"other": 5}], ids=str)
def test_children_without_a_transfer_stay_as_they_are(
    children: Any, extra: dict[str, Any] | None
) -> None:
    shared = Sampling(extra_args=extra)
    assert all(children.transfer_for_first(index, shared) is shared for index in range(3))


@pytest.mark.parametrize("place", range(3))
def test_what_one_child_says_of_its_transfer_leaves_with_the_last(
    children: Any, place: int
) -> None:
    """Whichever of them ends last."""
    parent, said = Sampling(), {"remote_request_id": "0_a"}
    ends = [
        children.transfer_of_any(parent, said if number == place else None) for number in range(3)
    ]
    assert ends == [None] * place + [said] * (3 - place)
    assert children.transfer_of_any(Sampling(), None) is None  # another request has nothing of it


COMPILER_FILE = "vllm/platforms/cpu_compiler.py"
ASK = """
import logging, os, cpu_compiler
logging.basicConfig()
print(cpu_compiler.missing_for_compiling())
cpu_compiler.switch_off_without_compiler()
print(os.environ.get("TORCH_COMPILE_DISABLE"), os.environ.get("TORCHDYNAMO_DISABLE"))
"""


@pytest.fixture(scope="module")
def compiler_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compiler")
    _module("0011-compile-nothing-that-a-request-asks-for.edit.yaml", COMPILER_FILE, folder)
    return folder


def _asked(folder: Path, **environment: str) -> tuple[str, str, str]:
    variables = {"PYTHONPATH": str(folder), **environment}
    result = subprocess.run(
        [sys.executable, "-c", ASK], env=variables, capture_output=True, text=True, check=True
    )
    missing, switches = result.stdout.splitlines()
    return missing, switches, result.stderr


def test_without_a_compiler_the_switch_is_set_and_said(
    compiler_folder: Path, tmp_path: Path
) -> None:
    missing, switches, log = _asked(compiler_folder, PATH=str(tmp_path))
    assert missing == "C++ compiler (g++; CXX names another)"
    assert switches == "1 1"
    assert (
        "There is no C++ compiler (g++; CXX names another): the model runs as it is written" in log
    )


def test_a_compiler_that_does_not_run_is_none(compiler_folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken++"
    broken.write_text("#!/bin/sh\nexit 1\n", encoding="ascii")
    broken.chmod(0o755)
    missing, switches, _ = _asked(compiler_folder, PATH=os.environ["PATH"], CXX=str(broken))
    assert str(broken) in missing
    assert switches == "1 1"


def test_a_switch_that_was_set_stays(compiler_folder: Path, tmp_path: Path) -> None:
    _, switches, log = _asked(compiler_folder, PATH=str(tmp_path), TORCH_COMPILE_DISABLE="0")
    assert switches == "0 None"
    assert not log


def test_with_a_compiler_and_headers_nothing_is_switched(compiler_folder: Path) -> None:
    if not (shutil.which("g++") and Path(sysconfig.get_path("include"), "Python.h").exists()):
        pytest.skip("no g++ or no headers of Python here")
    missing, switches, log = _asked(compiler_folder, PATH=os.environ["PATH"])
    assert (missing, switches, log) == ("None", "None None", "")
