"""A small Llama: products of matrices by PyTorch, all else by given operations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from tests.emulation.vllm_operations import Batch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.emulation.vllm_operations import Operations


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The sizes of a model, by default those of the integration tests' tiny one."""

    vocabulary: int = 2048
    hidden: int = 256
    between: int = 512
    """Numbers between the two products of the part behind attention."""
    layers: int = 4
    heads: int = 4
    kv_heads: int = 2
    head: int = 64
    positions: int = 2048
    epsilon: float = 1e-6
    rotary_base: float = 10000.0

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> Shape:
        """Take the sizes from what a model's `config.json` holds."""
        turning = config.get("rope_parameters") or config
        return cls(
            vocabulary=config["vocab_size"],
            hidden=config["hidden_size"],
            between=config["intermediate_size"],
            layers=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            kv_heads=config["num_key_value_heads"],
            head=config["head_dim"],
            positions=config["max_position_embeddings"],
            epsilon=config["rms_norm_eps"],
            rotary_base=turning["rope_theta"],
        )


def random_weights(shape: Shape, seed: int) -> dict[str, torch.Tensor]:
    """Return weights by the names of Llama's checkpoints, scaled as the tiny model's."""
    generator = torch.Generator().manual_seed(seed)

    def normal(rows: int, columns: int, scale: float = 1) -> torch.Tensor:
        numbers = torch.randn(rows, columns, generator=generator)
        return (scale * shape.hidden**-0.5 * numbers).bfloat16()

    def gains() -> torch.Tensor:
        return (1 + 0.1 * torch.randn(shape.hidden, generator=generator)).bfloat16()

    wide, narrow = shape.heads * shape.head, shape.kv_heads * shape.head
    found = {
        "model.embed_tokens.weight": normal(shape.vocabulary, shape.hidden),
        "model.norm.weight": gains(),
        "lm_head.weight": normal(shape.vocabulary, shape.hidden),
    }
    for number in range(shape.layers):
        before = f"model.layers.{number}."
        found |= {
            before + "input_layernorm.weight": gains(),
            before + "post_attention_layernorm.weight": gains(),
            before + "self_attn.q_proj.weight": normal(wide, shape.hidden),
            before + "self_attn.k_proj.weight": normal(narrow, shape.hidden),
            before + "self_attn.v_proj.weight": normal(narrow, shape.hidden),
            before + "self_attn.o_proj.weight": normal(shape.hidden, wide, 2),
            before + "mlp.gate_proj.weight": normal(shape.between, shape.hidden),
            before + "mlp.up_proj.weight": normal(shape.between, shape.hidden),
            before + "mlp.down_proj.weight": normal(shape.hidden, shape.between, 3),
        }
    return found


@dataclass(frozen=True)
class Worker:
    """The KV cache of a device: a tensor for each layer, in blocks of so many tokens.

    Each is seen as (blocks, heads, tokens, key and value of a head), as vLLM's Triton attention
    has it.
    """

    caches: list[torch.Tensor]

    @classmethod
    def start(
        cls,
        shape: Shape,
        *,
        blocks: int = 8,
        block_tokens: int = 32,
        heads_outside: bool = False,
        kind: torch.dtype = torch.bfloat16,
    ) -> Worker:
        """Reserve KV blocks, in which heads or tokens lie outside; tokens do on a GPU of AMD's."""
        tail = 2 * shape.head
        if heads_outside:
            lying = (blocks, shape.kv_heads, block_tokens, tail)
            return cls([torch.zeros(lying, dtype=kind) for _ in range(shape.layers)])
        lying = (blocks, block_tokens, shape.kv_heads, tail)
        return cls([torch.zeros(lying, dtype=kind).transpose(1, 2) for _ in range(shape.layers)])

    @property
    def block_tokens(self) -> int:
        """Return how many tokens a block has."""
        return int(self.caches[0].shape[2])


@dataclass(frozen=True)
class Llama:
    """The model on a device that computes by the given operations."""

    shape: Shape
    weights: Mapping[str, torch.Tensor]
    operations: Operations

    def turns(self) -> torch.Tensor:
        """Return cosines and sines for each position, rounded to the model's type as vLLM does."""
        size = self.shape.head
        speeds = 1 / self.shape.rotary_base ** (torch.arange(0, size, 2).float() / size)
        angles = torch.outer(torch.arange(self.shape.positions).float(), speeds)
        kind = self.weights["lm_head.weight"].dtype
        return torch.cat((angles.cos(), angles.sin()), -1).to(kind)

    def logits(
        self, worker: Worker, tokens: list[int], blocks: list[int], known: int = 0
    ) -> torch.Tensor:
        """Compute a sequence's tokens behind those in its blocks; return the last one's logits.

        `known` of the tokens are in the worker's KV blocks, the others are written there.
        """
        shape, weights, kernels = self.shape, self.weights, self.operations
        count = len(tokens) - known
        positions = torch.arange(known, len(tokens))
        table = torch.tensor([blocks], dtype=torch.int32)
        size = worker.block_tokens
        slots = table[0, positions // size].long() * size + positions % size
        batch = Batch(
            torch.tensor([0, count], dtype=torch.int32),
            torch.tensor([len(tokens)], dtype=torch.int32),
            table,
        )
        turns = self.turns()
        residual = weights["model.embed_tokens.weight"][tokens[known:]]
        x = torch.zeros_like(residual)
        for number in range(shape.layers):
            part = f"model.layers.{number}."
            gains = weights[part + "input_layernorm.weight"]
            if number == 0:
                x = kernels.rms_norm(residual, gains, shape.epsilon)
            else:
                kernels.fused_add_rms_norm(x, residual, gains, shape.epsilon)
            mixed = x @ self._joined(part + "self_attn.", "q_proj", "k_proj", "v_proj").T
            heads = mixed.view(count, -1, shape.head)
            query, key, value = heads.split((shape.heads, shape.kv_heads, shape.kv_heads), 1)
            kernels.rotary_embedding(positions, query, key, turns)
            keys, values = worker.caches[number].transpose(1, 2).chunk(2, -1)
            kernels.write_cache(key, value, keys, values, slots)
            found = kernels.attention(query, keys, values, batch).flatten(1)
            x = found @ weights[part + "self_attn.o_proj.weight"].T
            gains = weights[part + "post_attention_layernorm.weight"]
            kernels.fused_add_rms_norm(x, residual, gains, shape.epsilon)
            gated = kernels.silu_and_mul(x @ self._joined(part + "mlp.", "gate_proj", "up_proj").T)
            x = gated @ weights[part + "mlp.down_proj.weight"].T
        kernels.fused_add_rms_norm(x, residual, weights["model.norm.weight"], shape.epsilon)
        return (x[-1:] @ weights["lm_head.weight"].T)[0].float()

    def more(
        self, worker: Worker, tokens: list[int], blocks: list[int], count: int
    ) -> tuple[list[int], list[torch.Tensor]]:
        """Return so many tokens that follow greedily, and the logits that they were taken from.

        The cache holds all of `tokens` but the last.
        """
        tokens, found = list(tokens), []
        for _ in range(count):
            found.append(self.logits(worker, tokens, blocks, len(tokens) - 1))
            tokens.append(int(found[-1].argmax()))
        return tokens[-count:], found

    def _joined(self, before: str, *names: str) -> torch.Tensor:
        return torch.cat([self.weights[f"{before}{name}.weight"] for name in names])
