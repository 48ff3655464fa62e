"""Pairs of unlike workers, as of two vendors.

Each with vLLM as its upstream made it, and with our patches.

Both engines compute on the CPU. What a hand-off sees of a vendor is made alike: the version's
label, the attention backend's name, the order and size of KV blocks, staging in host memory, the
transfer package and the model's folder.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import forkhouse
from forkhouse.serving.stack import BLOCK_TOKENS
from tests.integration.pairing import (
    HEADS_FIRST,
    SAME,
    TOKENS_FIRST,
    WRONG,
    Pairing,
    Places,
    Side,
    Table,
    outcomes,
)

if TYPE_CHECKING:
    from forkhouse.serving.launching import Device
    from forkhouse.serving.stack import Setting
    from tests.integration.conftest import Model

pytestmark = [pytest.mark.integration, pytest.mark.extended, pytest.mark.timeout(900)]

DOCUMENT = Path(forkhouse.__file__).parents[2] / "docs/explanation/cross-vendor.md"
REFUSED = "refused: NIXL compatibility hash mismatch"
CUDA = Side(version="0.31.0+cu130", backend="FLASH_ATTN")
ROCM = Side(version="0.31.0+rocm72", backend="TRITON_ATTN")
UNEVEN = "refused: Local block size 32 is not divisible by remote block size 64"
PAIRINGS = (
    Pairing(
        name="version labels",
        prefill=Side(version="0.31.0+cu130"),
        decode=Side(version="0.31.0+rocm72"),
        upstream=REFUSED,
        decides="The handshake compares releases, without local labels.",
    ),
    Pairing(
        name="attention backends",
        prefill=Side(backend="FLASH_ATTN"),
        decode=Side(backend="TRITON_ATTN"),
        upstream=REFUSED,
        decides="The handshake compares how a backend keeps its blocks, not its name.",
    ),
    Pairing(
        name="model folders",
        decode=Side(elsewhere=True),
        upstream=REFUSED,
        decides="The handshake compares what the folder holds, not where it lies.",
    ),
    Pairing(
        name="another model of the same shape",
        decode=Side(other_weights=True),
        upstream=REFUSED,
        ours=REFUSED,
        decides="The handshake compares the model's settings and samples of its weights.",
    ),
    Pairing(
        name="longer blocks, heads first",
        prefill=Side(layout=HEADS_FIRST),
        decode=Side(layout=HEADS_FIRST, block_tokens=2 * BLOCK_TOKENS),
        upstream=WRONG,
        decides="Received blocks are joined by how they lie.",
    ),
    Pairing(
        name="longer blocks, tokens first",
        prefill=Side(layout=TOKENS_FIRST),
        decode=Side(layout=TOKENS_FIRST, block_tokens=2 * BLOCK_TOKENS),
        upstream=WRONG,
        decides="Received blocks are joined by how they lie.",
    ),
    Pairing(
        name="longer blocks, and a prompt that decode has in part",
        prefill=Side(layout=HEADS_FIRST),
        decode=Side(layout=HEADS_FIRST, block_tokens=2 * BLOCK_TOKENS, kept=True),
        upstream=WRONG,
        decides="Blocks are paired by their place in the prompt, not from its end.",
    ),
    Pairing(
        name="longer blocks of vLLM's own attention on the CPU",
        prefill=Side(backend=None),
        decode=Side(backend=None, block_tokens=2 * BLOCK_TOKENS),
        upstream=WRONG,
        ours="refused: Blocks of a prefill worker with the layout LBHNC, where those here are 2 "
        "times as long as theirs and in the layout LBHNC, "
        "can be put in order only where an attention backend is known to keep key and value of a "
        "token side by side, without scales",
        decides="It keeps the keys of a block apart from the values.",
    ),
    Pairing(
        name="shorter blocks",
        prefill=Side(block_tokens=2 * BLOCK_TOKENS),
        upstream=UNEVEN,
        ours=UNEVEN,
        decides="A block of the prefill worker must go whole into one of the decode worker: give "
        "decode the longer blocks.",
    ),
    Pairing(
        name="heads first to tokens first",
        prefill=Side(layout=HEADS_FIRST),
        decode=Side(layout=TOKENS_FIRST),
        upstream="refused: Heterogeneous TP expects same kv_cache_layout",
        decides="The order is exchanged on arrival, in either direction, without a setting.",
    ),
    Pairing(
        name="heads first to tokens first, with the upstream's setting",
        prefill=Side(layout=HEADS_FIRST),
        decode=Side(layout=TOKENS_FIRST, transfer={"enable_permute_local_kv": True}),
        upstream=WRONG,
        decides="The upstream's exchange takes heads for tokens; ours goes by the strides.",
    ),
    Pairing(
        name="tokens first to heads first",
        prefill=Side(layout=TOKENS_FIRST),
        decode=Side(layout=HEADS_FIRST),
        upstream="refused: Heterogeneous TP expects same kv_cache_layout",
        decides="The order is exchanged on arrival, in either direction, without a setting.",
    ),
    Pairing(
        name="staging at prefill",
        prefill=replace(CUDA, staging=True),
        decode=ROCM,
        upstream=REFUSED,
        decides="Staged blocks lie as the others do; version and backend decide.",
    ),
    Pairing(
        name="staging at decode",
        prefill=CUDA,
        decode=replace(ROCM, staging=True),
        upstream=REFUSED,
        decides="Staged blocks lie as the others do; version and backend decide.",
    ),
    Pairing(
        name="staging at both",
        prefill=replace(CUDA, staging=True),
        decode=replace(ROCM, staging=True),
        upstream=REFUSED,
        decides="Staged blocks lie as the others do; version and backend decide.",
    ),
    Pairing(
        name="staging in another order than the device's",
        prefill=Side(layout=HEADS_FIRST),
        decode=Side(layout=TOKENS_FIRST, staging=True, transfer={"enable_permute_local_kv": True}),
        upstream=SAME,
        decides="With that setting staging memory has heads first, and the copy to the device "
        "exchanges the order.",
    ),
    Pairing(
        name="staging in another order than the sender's",
        prefill=Side(layout=TOKENS_FIRST),
        decode=Side(layout=TOKENS_FIRST, staging=True, transfer={"enable_permute_local_kv": True}),
        upstream="refused: Heterogeneous TP expects same kv_cache_layout",
        ours="refused: Blocks of a prefill worker with the layout LBNHC, where those here are in "
        "the layout LBHNC, cannot be put in order in "
        "staging memory with enable_permute_local_kv",
        decides="Here nothing would have to be exchanged but for that setting: leave it out.",
    ),
    Pairing(
        name="nixl to rixl",
        decode=Side(rixl=True),
        upstream="does not start: NIXL is not available",
        decides="The transfer package is chosen by what is installed. Here rixl is NIXL 1.1.0, of "
        "which RIXL 1.1.0 is a fork.",
    ),
    Pairing(
        name="all at once",
        prefill=replace(CUDA, layout=HEADS_FIRST),
        decode=replace(
            ROCM, layout=TOKENS_FIRST, block_tokens=2 * BLOCK_TOKENS, rixl=True, elsewhere=True
        ),
        upstream="does not start: NIXL is not available",
        decides="All of these.",
    ),
)


@pytest.fixture(scope="module")
def places(model: Model, nixl_1_1: Path, tmp_path_factory: pytest.TempPathFactory) -> Places:
    folder = tmp_path_factory.mktemp("places")
    shutil.copytree(model.folder, folder / "another/place")
    shutil.copytree(model.folder, folder / "another/model")
    _turn_signs(folder / "another/model/model.safetensors")
    package = folder / "packages/rixl"
    package.mkdir(parents=True)
    # RIXL has the same modules under its own name.
    (package / "__init__.py").write_text("", encoding="utf-8")
    for module in ("_api", "_bindings"):
        (package / f"{module}.py").write_text(
            f"import sys\nimport nixl_cu12.{module}\nsys.modules[__name__] = nixl_cu12.{module}\n",
            encoding="utf-8",
        )
    for part in nixl_1_1.iterdir():
        (package.parent / part.name).symlink_to(part)
    return Places(
        model=folder / "another/place", other_model=folder / "another/model", rixl=package.parent
    )


def _turn_signs(file: Path) -> None:
    """Give every number of a safetensors file in bfloat16 the other sign."""
    content = bytearray(file.read_bytes())
    begin = 8 + int.from_bytes(content[:8], "little")
    content[begin + 1 :: 2] = bytes(byte ^ 0x80 for byte in content[begin + 1 :: 2])
    file.write_bytes(content)


@pytest.fixture(scope="module")
def seen() -> dict[str, list[str]]:
    """What became of each pairing, without and with our patches."""
    return {}


@pytest.fixture(autouse=True)
def on_the_cpu(device: Device) -> None:
    if device.target is not None:
        pytest.skip("the engines of a pairing compute on the CPU, with blocks as GPUs have them")


@pytest.mark.parametrize(
    "pairing", PAIRINGS, ids=lambda pairing: pairing.name.replace(",", "").replace(" ", "-")
)
def test_a_pairing(
    pairing: Pairing,
    setting: Setting,
    upstream_vllm: Path,
    model: Model,
    places: Places,
    tmp_path: Path,
    seen: dict[str, list[str]],
) -> None:
    found = outcomes(
        pairing, replace(setting, scratch=tmp_path), upstream_vllm, model, places=places
    )
    seen[pairing.name] = found
    assert found == [pairing.upstream, pairing.ours]


def test_the_table_in_the_docs_is_what_was_seen(
    request: pytest.FixtureRequest, seen: dict[str, list[str]]
) -> None:
    if set(seen) != {pairing.name for pairing in PAIRINGS}:
        pytest.skip("not every pairing was run")
    table = Table(document=DOCUMENT, name="pairings", pairings=PAIRINGS)
    table.check(seen, write=request.config.getoption("--write-table"))
