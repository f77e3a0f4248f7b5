"""Sampling from tiny real models, against forward passes of the whole context."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Sequence

import pytest
import torch
import transformers
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import distribute_tensor

from qwq_env.chat_model import Sampling
from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.rollout.policy import Generation, GenerationRequest
from qwq_env.rollout.transformers_policy import TransformersPolicy
from qwq_env.versions import checkpointing_argument

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


def test_only_new_tokens_are_read_in_later_turns():
    policy = TransformersPolicy(tiny(), Letters())

    turns = play_all(policy, 6)

    # All but the last token sampled are cached by the time the next turn begins.
    fresh = sum(len(contexts[0][0]) for contexts in _episodes(turns, 4))
    news = sum(
        len(after[0]) - len(before[0]) - len(before[1].ids) + 1
        for episode in _episodes(turns, 4)
        for before, after in itertools.pairwise(episode)
    )
    # A turn that brings one token alone goes through decode, not prefill.
    assert policy.statistics().prefilled <= fresh + news
    assert policy.statistics().evictions == 0


def _episodes(turns, length):
    return [turns[at : at + length] for at in range(0, len(turns), length)]


def test_the_slot_idle_longest_is_evicted_and_its_context_read_anew():
    model = tiny()
    policy = TransformersPolicy(model, Letters(), slots=2)

    async def main():
        contexts = {name: prompt(seed, 8) for seed, name in enumerate("abc")}
        for name in "abcabc":
            generation = await policy.generate(ask(contexts[name], name, 4, GREEDY))
            assert generation.ids == greedy_of(model, contexts[name], 4)
            contexts[name] = contexts[name] + generation.ids + [1, 2, 3]

    asyncio.run(main())

    assert policy.statistics().evictions == 4


def test_a_context_that_does_not_extend_the_last_is_read_from_where_they_part():
    model = tiny()
    policy = TransformersPolicy(model, Letters())
    first = prompt(1, 20)
    for context in (first, [*first[:10], 3, 1, 4], first[:5], [7], first):
        (result,) = together(policy, ask(context, "e", 6, GREEDY))

        assert result.ids == greedy_of(model, context, 6)


def test_a_prompt_is_not_shared_by_an_episode_that_has_left_it():
    model = tiny()
    policy = TransformersPolicy(model, Letters())
    together(policy, ask(prompt(1, 20), "a"))
    together(policy, ask(prompt(2, 25), "a"))

    (result,) = together(policy, ask(prompt(1, 20), "b", 6, GREEDY))

    assert result.ids == greedy_of(model, prompt(1, 20), 6)


def test_what_is_cached_survives_the_growth_of_the_storage():
    model = tiny()
    policy = TransformersPolicy(model, Letters())

    async def main():
        contexts = [prompt(seed, 5) for seed in range(12)]
        for more in (3, 80):
            for episode, context in enumerate(contexts):
                request = ask(list(context), f"e{episode}", 3, GREEDY)
                context += (await policy.generate(request)).ids
                assert context[-3:] == greedy_of(model, context[:-3], 3)
                context += prompt(100 + episode, more)

    asyncio.run(main())

    # Each turn's context was read once: 5 tokens, then 3 new ones and the last one sampled.
    assert policy.statistics().prefilled == 12 * 5 + 12 * 4


def test_episodes_with_the_same_prompt_read_it_once():
    model = tiny()
    policy = TransformersPolicy(model, Letters())
    context = prompt(3, 20)

    results = together(policy, *(ask(context, f"e{i}", 6, seed=i) for i in range(8)))

    assert policy.statistics().prefilled == 20
    assert policy.statistics().copied == 7 * 19
    assert len({tuple(result.ids) for result in results}) > 1
    for result in results:
        assert result.logprobs == pytest.approx(logprobs_of(model, context, result.ids), abs=1e-4)


def test_a_hundred_episodes_over_sixteen_slots_refill_them_without_a_barrier():
    model = tiny()
    policy = TransformersPolicy(model, Letters(), slots=16)
    contexts = [prompt(seed) for seed in range(100)]
    counts = [40 if i % 10 == 0 else 2 for i in range(100)]

    results = together(
        policy, *(ask(c, f"e{i}", counts[i], GREEDY) for i, c in enumerate(contexts))
    )

    assert [len(result.ids) for result in results] == counts
    assert results[37].ids == greedy_of(model, contexts[37], 2)
    # In groups that wait for their longest, 7 × 40 decode steps would be needed.
    assert policy.statistics().passes < 180


def test_turns_that_wait_are_served_in_their_order():
    policy = TransformersPolicy(tiny(), Letters(), slots=2)
    served = []

    async def wait(name, count):
        await policy.generate(ask(prompt(count, 5), name, count))
        served.append(name)

    async def main():
        await asyncio.gather(wait("long", 60), *(wait(str(i), 1 + i) for i in range(6)))

    asyncio.run(main())

    assert served == ["0", "1", "2", "3", "4", "5", "long"]


def test_a_seed_gives_the_same_tokens_in_any_company():
    policy = TransformersPolicy(tiny(), Letters())
    request = ask(prompt(1), "one", 20, seed=7)

    (alone,) = together(policy, request)
    policy.invalidate()
    among = together(policy, *(ask(prompt(i), f"o{i}", 9, seed=i) for i in range(20)), request)
    (other,) = together(policy, ask(prompt(1), "two", 20, seed=8))

    assert among[-1].ids == alone.ids
    assert other.ids != alone.ids


def test_logprobs_are_those_of_the_tempered_distribution():
    model = tiny()
    policy = TransformersPolicy(model, Letters())

    (result,) = together(policy, ask(prompt(1), sampling=Sampling(temperature=0.5)))

    assert result.logprobs == pytest.approx(
        logprobs_of(model, prompt(1), result.ids, 0.5), abs=1e-4
    )


def test_a_stop_id_ends_the_turn_and_is_kept():
    model = tiny()
    context = prompt(4)
    expected = greedy_of(model, context, 12)
    stop = expected[5]

    (result,) = together(
        TransformersPolicy(model, Letters()),
        ask(context, sampling=GREEDY, stop_ids=frozenset({stop})),
    )

    assert result.ids == expected[: expected.index(stop) + 1]
    assert result.finish_reason == "stop"


def test_a_stop_string_across_tokens_ends_the_turn_and_may_not_lie_in_the_context():
    model = tiny()
    context = prompt(4)
    expected = greedy_of(model, context, 12)
    text = Letters().decode(expected)
    in_context = Letters().decode(context)[-3:]

    (result,) = together(
        TransformersPolicy(model, Letters()),
        ask(context, sampling=GREEDY, stop_strings=(text[3:6], in_context + text[0])),
    )

    sampled = Letters().decode(result.ids)
    assert result.finish_reason == "stop"
    assert text[3:6] in sampled
    assert text[3:6] not in Letters().decode(result.ids[:-1])


def test_the_context_limit_ends_a_turn_and_refuses_the_next():
    policy = TransformersPolicy(tiny(), Letters(), max_length=20)

    (result, full) = together(policy, ask(prompt(1, 15), "a", 50), ask(prompt(2, 20), "b", 50))

    assert (len(result.ids), result.finish_reason) == (5, "length")
    assert full == Generation([], [], "length")


def test_cancelling_frees_the_slot():
    policy = TransformersPolicy(tiny(), Letters(), slots=1, max_length=250)

    async def main():
        endless = asyncio.create_task(policy.generate(ask([1, 2], "endless", 10_000)))
        while policy.statistics().sampled < 3:
            await asyncio.sleep(0.001)
        queued = asyncio.create_task(policy.generate(ask([1, 2], "queued")))
        await asyncio.sleep(0)
        queued.cancel()
        endless.cancel()
        return await policy.generate(ask([3, 4], "next", 5))

    assert len(asyncio.run(main()).ids) == 5
    assert policy.statistics().sampled < 240


def test_a_model_whose_forward_is_wrapped_still_keeps_what_it_read():
    model = tiny()
    wanted, plain = greedy_of(model, prompt(1), 5), model.forward
    model.forward = lambda *arguments, **rest: plain(*arguments, **rest)  # as PEFT's are
    policy = TransformersPolicy(model, Letters())

    [generation] = together(policy, ask(prompt(1), "e", 5, GREEDY))

    assert generation.ids == wanted
    assert policy.statistics().prefilled == len(prompt(1))


def test_a_failed_forward_pass_fails_its_turns_and_leaves_the_policy_usable():
    model = tiny()
    policy = TransformersPolicy(model, Letters())

    def fail(*_):
        raise RuntimeError("out of memory")

    async def main():
        hook = model.model.layers[1].register_forward_pre_hook(fail)
        requests = [ask(prompt(i), f"e{i}") for i in range(3)]
        failures = await asyncio.gather(*map(policy.generate, requests), return_exceptions=True)
        hook.remove()
        return failures, await policy.generate(ask(prompt(1), "e1", 5, GREEDY))

    failures, after = asyncio.run(main())

    assert all(isinstance(failure, InfrastructureError) for failure in failures)
    assert "out of memory" in str(failures[0])
    assert after.ids == greedy_of(model, prompt(1), 5)


def test_turns_that_ended_before_the_pass_that_failed_keep_their_result():
    model = tiny()
    policy = TransformersPolicy(model, Letters())

    def fail_on_long(_, inputs):
        if inputs[0].shape[1] > 100:
            raise RuntimeError("out of memory")

    async def main():
        model.model.layers[0].register_forward_pre_hook(fail_on_long)
        short = [ask(prompt(i, 3), f"e{i}", 1) for i in range(10)]
        calls = map(policy.generate, [*short, ask(prompt(1, 200), "long")])
        return await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 30)

    *short, long = asyncio.run(main())

    assert all(len(result.ids) == 1 for result in short)
    assert isinstance(long, InfrastructureError)


def test_logits_that_are_not_numbers_are_an_infrastructure_error():
    model = tiny()
    policy = TransformersPolicy(model, Letters(), slots=2)
    embedding = model.get_input_embeddings().weight
    whole = embedding.detach().clone()

    with torch.no_grad():
        embedding[5] = torch.nan
    with pytest.raises(InfrastructureError, match="finite"):
        together(policy, ask([*prompt(1, 30), 5], "broken"))
    with torch.no_grad():
        embedding.copy_(whole)
    # The short one takes the slot of the broken one; the long one makes attention look at all
    # that the broken one left there.
    short, _ = together(
        policy, ask([1, 2], "short", 20, GREEDY), ask(prompt(2, 20), "long", 20, GREEDY)
    )

    assert short.ids == greedy_of(model, [1, 2], 20)


def test_training_mode_and_gradients_survive_generation():
    model = tiny().train()
    model.model.layers[0].eval()
    getattr(model, f"{checkpointing_argument(transformers.TrainingArguments)}_enable")()
    policy = TransformersPolicy(model, Letters())
    modes = [part.training for part in model.modules()]

    (result,) = together(policy, ask(prompt(1), "e", 5, GREEDY))

    assert [part.training for part in model.modules()] == modes
    model(torch.tensor([prompt(1)])).logits.sum().backward()
    assert all(weight.grad is not None for weight in model.parameters())
    assert result.ids == greedy_of(model, prompt(1), 5)


def test_generating_holds_evaluation_mode_and_forgets_the_old_weights():
    model = tiny().train()
    policy = TransformersPolicy(model, Letters())
    context = prompt(2, 12)
    with policy.generating():
        (first,) = together(policy, ask(context, "e", 4, GREEDY))
        assert not model.training
    with torch.no_grad():
        model.model.layers[0].self_attn.k_proj.weight.neg_()
    assert model.training
    context = context + first.ids

    (result,) = together(policy, ask(context, "e", 6, GREEDY))

    assert result.ids == greedy_of(model, context, 6)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (ask([]), "ids"),
        (ask([VOCABULARY]), "ids"),
        (ask([-1]), "ids"),
        (ask([1], max_tokens=0), "max_tokens"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused(request_, field):
    with pytest.raises(UsageError, match=field):
        together(TransformersPolicy(tiny(), Letters()), request_)


def test_a_model_with_a_short_window_is_refused():
    config = transformers.MistralConfig(
        vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, sliding_window=16,
        max_position_embeddings=64,
    )  # fmt: skip
    model = transformers.MistralForCausalLM(config)

    TransformersPolicy(model, Letters(), max_length=16)
    with pytest.raises(UsageError, match="sliding_attention"):
        TransformersPolicy(model, Letters())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_on_a_gpu_in_half_precision(attention):
    model = tiny(attention=attention).to("cuda", torch.bfloat16)
    policy = TransformersPolicy(model, Letters(), slots=5)

    for context, generation in play_all(policy, 16):
        with torch.no_grad():
            ids = torch.tensor([[*context, *generation.ids]], device="cuda")
            table = model(ids).logits[0].float().log_softmax(-1).cpu()
        expected = [table[len(context) + i - 1, t].item() for i, t in enumerate(generation.ids)]

        assert generation.logprobs == pytest.approx(expected, abs=0.1)


def spread_out(model):
    """As FSDP2 and tensor parallelism leave it: a weight is a part of a distributed tensor."""
    mesh = init_device_mesh("cpu", (1,))
    model.lm_head.weight = torch.nn.Parameter(distribute_tensor(model.lm_head.weight, mesh))


def taken_apart(model):
    """As DeepSpeed leaves it: a weight is empty, with a number under which it is gathered."""
    model.lm_head.weight.ds_id = 0


@pytest.mark.parametrize(
    ("shard", "told"),
    [(spread_out, "FSDP2 or tensor parallelism"), (taken_apart, "DeepSpeed ZeRO-3")],
)
def test_weights_that_are_not_whole_are_refused(shard, told):
    torch.distributed.init_process_group("fake", rank=0, world_size=1)
    try:
        model = tiny()
        shard(model)
        with pytest.raises(UsageError, match=rf"^model: \S+ is sharded \({told}\); expected whole"):
            TransformersPolicy(model, Letters())
    finally:
        torch.distributed.destroy_process_group()
