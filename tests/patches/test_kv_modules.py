"""The modules that our edits add to vLLM's connector: what they say of two workers, without vLLM and without PyTorch."""

from __future__ import annotations

import importlib.util
import shutil
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
        (("FLASHINFER", "fp8", "e4m3fn", False), ("TRITON_ATTN", "fp8_e4m3", "e4m3fn", False), True),
        (("FLASH_ATTN", "fp8_e5m2", "e4m3fn", False), ("TRITON_ATTN", "fp8_e5m2", "e4m3fnuz", False), True),
        (("FLASH_ATTN", "fp8", "e4m3fn", False), ("TRITON_ATTN", "fp8", "e4m3fnuz", False), False),
        (("FLASH_ATTN", "auto", "e4m3fn", False), ("FLASH_ATTN", "auto", "e4m3fn", True), False),
        (("FLASH_ATTN", "auto", "e4m3fn", True), ("FLASH_ATTN", "auto", "e4m3fn", True), True),
        (("FLASH_ATTN", "auto", "e4m3fn", False), ("CPU_ATTN", "auto", "e4m3fn", False), False),
        (("ROCM_ATTN", "auto", "e4m3fn", False), ("CPU_ATTN", "auto", "e4m3fn", False), False),
        (("CPU_ATTN", "auto", "e4m3fn", False), ("CPU_ATTN", "auto", "e4m3fn", False), True),
    ],
)
def test_workers_pair_when_they_keep_a_token_alike(
    identity: Any, one: tuple[str, str, str, bool], other: tuple[str, str, str, bool], *, alike: bool
) -> None:
    said = [
        identity.kv_content(backend, cache_type, fp8_type, shuffled=shuffled) for backend, cache_type, fp8_type, shuffled in (one, other)
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
def test_a_model_is_what_its_folder_holds(identity: Any, model: Path, tmp_path: Path, change: Callable[[Path], None]) -> None:
    copy = shutil.copytree(model, tmp_path / "on/another/host")
    (copy / "README.md").write_text("mirrored", encoding="utf-8")
    (copy / "consolidated.safetensors").write_bytes(b"not loaded")
    known = identity.model_identity(str(model), None)
    assert identity.model_identity(str(copy), None) == known
    change(copy)
    assert identity.model_identity(str(copy), None) != known


def test_a_model_that_is_no_folder_is_its_name_and_revision(identity: Any) -> None:
    assert identity.model_identity("somebody/model", None) == identity.model_identity("somebody/model", None)
    assert identity.model_identity("somebody/model", None) != identity.model_identity("somebody/model", "v2")


@pytest.mark.parametrize("pieces", [1, 2, 3, 4])
def test_blocks_are_paired_with_those_of_the_same_tokens(order: Any, pieces: int) -> None:
    """For every prompt length and every number of blocks that the decode worker has: no token is missing, none moved."""
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
        {"theirs": "BLHNC", "ours": "BLHNC", "side_by_side": False, "cache_type": "nvfp4", "attention_groups": 2, "heads_split": True},
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
        ({"theirs": "LBNHC", "ours": "LBNHC", "pieces": 2, "heads_split": True}, "VLLM_KV_CACHE_LAYOUT=LBHNC"),
    ],
)
def test_what_cannot_be_put_in_order_is_refused(order: Any, situation: dict[str, object], reason: str) -> None:
    with pytest.raises(RuntimeError, match=reason):
        order.refuse_what_cannot_be_arranged(**SOUND | situation)
