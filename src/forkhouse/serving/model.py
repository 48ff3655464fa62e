"""Write a tiny random Llama for the integration tests.

Runs alone, with the Python of the served stack.

    python model.py FOLDER [--without-prompts]

A random model easily gives one answer to every prompt, and then equal answers prove nothing. So the
weights are scaled such that the whole prompt decides the answer, and the prompts that the tests
send are chosen and checked here: each has its own answer, each block of the KV cache matters to it,
and no token of it hangs on a rounding error.
"""

from __future__ import annotations

import json
import random
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

if TYPE_CHECKING:
    from collections.abc import Iterator

VOCABULARY = 2048  # Dynamo's mocker answers with token ids up to about 2000
SPECIAL = ("<|begin|>", "<|end|>", "<|user|>", "<|assistant|>")
CHAT_TEMPLATE = (
    "<|begin|>{% for message in messages %}"
    "{{ '<|assistant|>' if message['role'] == 'assistant' else '<|user|>' }}{{ message['content'] "
    "}}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SEED = 1
PROMPT_WORDS = (
    96,
    40,
)  # of each group of prompts; different lengths take different numbers of KV blocks
ANSWER_TOKENS = 8
BLOCK_TOKENS = 32
ATTEMPTS = 300
# From the best token to the next, in standard deviations of the logits. Computing in bfloat16 moves
# a logit by about 0.01.
MARGIN = 0.04


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """A prompt for the tests.

    `tokens` after the chat template, and the greedy `answer` of `ANSWER_TOKENS` tokens.
    """

    name: str
    text: str
    tokens: int
    answer: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Oracle:
    """The model in float32: says what a correct engine answers."""

    model: LlamaForCausalLM
    tokenizer: PreTrainedTokenizerFast

    def tokens(self, text: str) -> list[int]:
        """Return the token ids of a chat with one user message."""
        chat = [{"role": "user", "content": text}]
        return list(
            self.tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
        )

    @torch.no_grad()
    def answer(
        self, tokens: list[int], *, spoilt: slice | None = None
    ) -> tuple[tuple[int, ...], float]:
        """Return the greedy answer and its smallest margin.

        The KV at the positions `spoilt` is set to zero. As in a decode worker, the last token of
        the prompt is computed on a cache that holds the others.
        """
        prompt = torch.tensor([tokens])
        cache = self.model(prompt[:, :-1], use_cache=True).past_key_values
        if spoilt:
            for layer in cache.layers:
                layer.keys[:, :, spoilt] = 0
                layer.values[:, :, spoilt] = 0
        token, answer, margin = prompt[:, -1:], [], float("inf")
        for _ in range(ANSWER_TOKENS):
            logits = self.model(token, past_key_values=cache, use_cache=True).logits[0, -1]
            best = logits.topk(2)
            margin = min(margin, float((best.values[0] - best.values[1]) / logits.std()))
            token = best.indices[:1].view(1, 1)
            answer.append(int(token))
        return tuple(answer), margin

    def prompt(self, name: str, text: str) -> Prompt | None:
        """Return the prompt with its answer.

        None when rounding, or the loss of one KV block, might not change the answer visibly.
        """
        tokens = self.tokens(text)
        answer, margin = self.answer(tokens)
        blocks = range(0, len(tokens) - 1, BLOCK_TOKENS)
        if margin < MARGIN or any(
            self.answer(tokens, spoilt=slice(at, at + BLOCK_TOKENS))[0] == answer for at in blocks
        ):
            return None
        return Prompt(
            name=name, text=text, tokens=len(tokens), answer=self.tokenizer.decode(answer)
        )


def word(generator: random.Random) -> str:
    """Return a pronounceable word of one to three syllables."""
    syllables = generator.randint(1, 3)
    return "".join(
        generator.choice("bdfgklmnprstvz") + generator.choice("aeiou") for _ in range(syllables)
    )


def build_tokenizer(generator: random.Random) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer on made-up words.

    Raises SystemExit when it has not `VOCABULARY` entries.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([" ".join(word(generator) for _ in range(40_000))], trainer)
    size = tokenizer.get_vocab_size()
    if size != VOCABULARY:
        message = (
            f"The tokenizer has {size} entries instead of {VOCABULARY}: train it on more words."
        )
        raise SystemExit(message)
    begin, end, *_ = SPECIAL
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=begin,
        eos_token=end,
        pad_token=end,
        chat_template=CHAT_TEMPLATE,
    )


def build_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Return a Llama with random bfloat16 weights whose answers consist of text tokens only."""
    torch.manual_seed(SEED)
    hidden = 256
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=hidden,
            intermediate_size=2 * hidden,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=64,
            max_position_embeddings=2048,
            initializer_range=hidden**-0.5,
            tie_word_embeddings=False,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    no_text = [
        number
        for text, number in tokenizer.get_vocab().items()
        if text in SPECIAL or len(text) == 1
    ]
    with torch.no_grad():
        for layer in model.model.layers:
            # Attention averages many values, which leaves little of any one; the MLP spreads what
            # differs.
            layer.self_attn.o_proj.weight.mul_(2)
            layer.mlp.down_proj.weight.mul_(3)
        model.lm_head.weight[no_text] = (
            0  # a logit of zero is never the largest of 2,000 random ones
        )
    return model.to(torch.bfloat16).eval()


def fresh(length: int, generator: random.Random) -> Iterator[tuple[str, str]]:
    """Yield, for as long as asked, prompts of `length` words."""
    while True:
        yield "base", " ".join(word(generator) for _ in range(length))


def related(text: str, generator: random.Random) -> Iterator[tuple[str, str]]:
    """Yield, for as long as asked, prompts that differ from `text` in one word.

    In turn the first and the middle one.
    """
    words = text.split()
    while True:
        for name, position in (("first-word", 0), ("middle-word", len(words) // 2)):
            yield name, " ".join([*words[:position], word(generator), *words[position + 1 :]])


def choose_prompts(oracle: Oracle, generator: random.Random) -> list[Prompt]:
    """Return a prompt of each length, each with two that differ from it in one word.

    Raises SystemExit when `ATTEMPTS` do not give enough, or when two of them have the same answer.
    """
    chosen: list[Prompt] = []
    attempts = iter(range(ATTEMPTS))
    for group, length in enumerate(PROMPT_WORDS):
        wanted = ["base", "first-word", "middle-word"]
        candidates = fresh(length, generator)
        for _ in attempts:
            name, text = next(candidates)
            if name not in wanted:
                continue
            prompt = oracle.prompt(f"{name}-{group}", text)
            if prompt:
                chosen.append(prompt)
                wanted.remove(name)
                candidates = related(text, generator) if name == "base" else candidates
            if not wanted:
                break
        else:
            message = (
                f"{ATTEMPTS} prompts were tried and too few depend on the whole of their KV cache. "
                "Change SEED."
            )
            raise SystemExit(message)
    answers = {prompt.answer for prompt in chosen}
    if len(answers) != len(chosen):
        message = f"{len(chosen)} prompts have only {len(answers)} different answers. Change SEED."
        raise SystemExit(message)
    return chosen


def main(folder: Path, *, with_prompts: bool = True) -> None:
    """Write model, tokenizer and, for tests, `prompts.json` into `folder`.

    Raises SystemExit when the checks fail.
    """
    generator = random.Random(SEED)  # noqa: S311 - reproducible words, nothing secret
    tokenizer = build_tokenizer(generator)
    model = build_model(tokenizer)
    folder.mkdir(parents=True, exist_ok=True)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if not with_prompts:
        return
    prompts = choose_prompts(Oracle(model=model.float(), tokenizer=tokenizer), generator)
    listing = {
        "block_tokens": BLOCK_TOKENS,
        "answer_tokens": ANSWER_TOKENS,
        "prompts": [asdict(prompt) for prompt in prompts],
    }
    (folder / "prompts.json").write_text(json.dumps(listing, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), with_prompts="--without-prompts" not in sys.argv)
