"""Sampling from tiny real models, against forward passes of the whole context."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from qwq_env.rollout.policy import Generation, GenerationRequest, Sampling  # noqa: E402
from qwq_env.rollout.transformers_policy import TransformersPolicy  # noqa: E402

VOCABULARY = 60
GREEDY = Sampling(temperature=0)


class Letters:
    """A decoder in which a token is a letter; some are two, one is half of a character."""

    def decode(self, ids: Sequence[int]) -> str:
        return b"".join(self._bytes(token) for token in ids).decode(errors="replace")

    def _bytes(self, token: int) -> bytes:
        if token == 50:
            return b"ab"
        if token == 51:
            return "é".encode()[:1]
        if token == 52:
            return "é".encode()[1:]
        return bytes([97 + token % 26])


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tiny(architecture: str = "qwen2", attention: str = "sdpa"):
    kind = {"qwen2": "Qwen2", "llama": "Llama", "qwen3": "Qwen3"}[architecture]
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=256,
        initializer_range=0.3,
        attn_implementation=attention,
    )
    torch.manual_seed(0)
    return getattr(transformers, f"{kind}ForCausalLM")(config)


@pytest.fixture(params=["qwen2-sdpa", "qwen2-eager", "llama-sdpa", "llama-eager", "qwen3-sdpa"])
def model(request):
    return tiny(*request.param.split("-"))


def prompt(seed: int, length: int | None = None) -> list[int]:
    source = random.Random(seed)
    return [source.randrange(VOCABULARY) for _ in range(length or source.randint(1, 30))]


def ask(ids, episode="e", max_tokens=12, sampling=None, **rest) -> GenerationRequest:
    rest.setdefault("stop_ids", frozenset())
    return GenerationRequest(ids, max_tokens, episode, sampling or Sampling(), **rest)


def logprobs_of(model, context, sampled, temperature=1.0) -> list[float]:
    with torch.no_grad():
        logits = model.eval()(torch.tensor([[*context, *sampled]])).logits[0].float()
    table = (logits / temperature).log_softmax(-1)
    return [table[len(context) + i - 1, token].item() for i, token in enumerate(sampled)]


def greedy_of(model, context, count) -> list[int]:
    ids = list(context)
    with torch.no_grad():
        for _ in range(count):
            ids.append(int(model.eval()(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[len(context) :]


def together(policy, *requests) -> list[Generation]:
    async def main():
        return await asyncio.gather(*(policy.generate(request) for request in requests))

    return asyncio.run(main())


async def play(policy, episode: int, turns: int = 4, sampling=None):
    """Drive one episode; return the contexts and generations of its turns."""
    ids, seen = prompt(episode), []
    for turn in range(turns):
        request = ask(
            list(ids), f"e{episode}", 1 + (episode + turn) % 9, sampling, seed=episode * 10 + turn
        )
        generation = await policy.generate(request)
        seen.append((list(ids), generation))
        ids += generation.ids + prompt(1000 * episode + turn, 1 + (episode * turn) % 7)
        await asyncio.sleep(0.001 * (episode % 3))
    await policy.release(f"e{episode}")
    return seen


def play_all(policy, episodes: int, **options):
    async def main():
        return await asyncio.gather(*(play(policy, e, **options) for e in range(episodes)))

    return [turn for episode in asyncio.run(main()) for turn in episode]


def test_greedy_equals_full_forward_passes_for_unequal_lengths(model):
    policy = TransformersPolicy(model, Letters())
    contexts = [prompt(seed) for seed in range(10)]

    results = together(policy, *(ask(c, f"e{i}", 5 + i, GREEDY) for i, c in enumerate(contexts)))

    for i, (context, result) in enumerate(zip(contexts, results, strict=True)):
        assert result.ids == greedy_of(model, context, 5 + i)
        assert result.finish_reason == "length"
        assert result.logprobs == pytest.approx(logprobs_of(model, context, result.ids), abs=1e-4)


@pytest.mark.parametrize("slots", [64, 5])
def test_logprobs_equal_a_fresh_forward_pass_over_turns(model, slots):
    policy = TransformersPolicy(model, Letters(), slots=slots)

    turns = play_all(policy, 16)

    assert len(turns) == 64
    for context, generation in turns:
        assert generation.logprobs == pytest.approx(
            logprobs_of(model, context, generation.ids), abs=1e-4
        )
