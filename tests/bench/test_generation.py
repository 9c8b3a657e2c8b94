from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from carbonsweep.bench.generation import Batch, RewindingRun, decode, prefill, random_batch, text_batch

# Left pads differ: 5 to 33 tokens.
TEXTS = [
    "The capital of France is",
    "Water boils at a temperature of one hundred degrees, and it freezes at zero degrees; the difference is",
    "Name three colours.",
    "A train leaves the station at noon. Two hours later it has gone one hundred and sixty kilometres. Its speed is",
]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def smollm2(smollm2_folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(smollm2_folder, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def tokenizer(smollm2_folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(smollm2_folder)


def loop_tokens(model: Any, batch: Batch, count: int) -> torch.Tensor:
    first, cache = prefill(model, batch)
    return torch.cat([first, decode(model, batch, first, cache, count - 1)], dim=1)


# `generate` warns that no end token -1 exists; that is how it is made not to stop.
NEVER_STOPPING = "ignore:.*(eos|pad)_token_id.*"


def generated_tokens(model: Any, batch: Batch, count: int) -> torch.Tensor:
    tokens: torch.Tensor = model.generate(
        batch.ids,
        attention_mask=batch.mask,
        max_new_tokens=count,
        do_sample=False,
        eos_token_id=-1,
        pad_token_id=0,
    )
    return tokens[:, batch.ids.shape[1] :]


@pytest.mark.filterwarnings(NEVER_STOPPING)
def test_the_loop_chooses_the_tokens_of_generate_on_real_weights(smollm2: Any, tokenizer: Any) -> None:
    batch = text_batch(tokenizer, TEXTS, "cpu")
    assert (batch.mask[:, 0] == 0).sum() == 3
    assert torch.equal(loop_tokens(smollm2, batch, 12), generated_tokens(smollm2, batch, 12))


def test_the_loop_gives_sensible_text(smollm2: Any, tokenizer: Any) -> None:
    tokens = loop_tokens(smollm2, text_batch(tokenizer, TEXTS, "cpu"), 6)
    assert tokenizer.decode(tokens[0]).startswith(" Paris")


def test_padding_changes_no_token_in_fp32(smollm2: Any, tokenizer: Any) -> None:
    together = loop_tokens(smollm2, text_batch(tokenizer, TEXTS, "cpu"), 12)
    alone = [loop_tokens(smollm2, text_batch(tokenizer, [text], "cpu"), 12)[0] for text in TEXTS]
    assert torch.equal(together, torch.stack(alone))


@pytest.mark.filterwarnings(NEVER_STOPPING)
def test_the_loop_chooses_the_tokens_of_generate_on_a_tiny_random_model() -> None:
    torch.manual_seed(1)
    config = LlamaConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=512,
        initializer_range=0.5,  # large, so that the tokens differ from step to step
    )
    model = LlamaForCausalLM(config).eval()
    batch = random_batch([9, 3, 1], 512, seed=0, torch_device="cpu")
    tokens = loop_tokens(model, batch, 30)
    assert len(set(tokens.flatten().tolist())) > 20
    assert torch.equal(tokens, generated_tokens(model, batch, 30))


def test_positions_count_real_tokens_only_and_prefill_builds_one_row_of_logits() -> None:
    # Rotary positions are relative, so in fp32 no token would tell a wrong offset; in bf16 it shifts logits by 0.6.
    torch.manual_seed(1)
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(**shape, num_key_value_heads=1, vocab_size=32)).eval()
    seen: list[dict[str, Any]] = []
    model.register_forward_pre_hook(lambda _, args, kwargs: seen.append(kwargs), with_kwargs=True)
    loop_tokens(model, random_batch([2, 5], 32, seed=0, torch_device="cpu"), 3)
    assert [call["position_ids"].tolist() for call in seen] == [
        [[0, 0, 0, 0, 1], [0, 1, 2, 3, 4]],
        [[2], [5]],
        [[3], [6]],
    ]
    assert [call["attention_mask"].sum(-1).tolist() for call in seen] == [[2, 5], [3, 6], [4, 7]]
    assert all(call["logits_to_keep"] == 1 for call in seen)


def test_a_rewound_decode_repeats_itself(smollm2: Any, tokenizer: Any) -> None:
    run = RewindingRun(smollm2, text_batch(tokenizer, TEXTS[:2], "cpu"), 3)
    run.prefill()
    longest = run.batch.ids.shape[1]
    run.decode()
    before = [layer.keys.clone() for layer in run.cache.layers]
    run.decode()
    assert run.cache.get_seq_length() == longest + 3
    assert all(torch.equal(old, layer.keys) for old, layer in zip(before, run.cache.layers, strict=True))


def test_a_batch_is_padded_on_the_left_and_counts_its_real_tokens(tokenizer: Any) -> None:
    batch = random_batch([2, 5], 100, seed=0, torch_device="cpu")
    assert batch.mask.tolist() == [[0, 0, 0, 1, 1], [1, 1, 1, 1, 1]]
    assert batch.ids[0, :3].tolist() == [0, 0, 0]
    assert batch.tokens == 7
    texts = text_batch(tokenizer, TEXTS[:2], "cpu")
    assert texts.mask[0, 0] == 0
    assert texts.tokens == sum(len(tokenizer(text)["input_ids"]) for text in TEXTS[:2])
