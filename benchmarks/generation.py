"""`qwq bench generation`: what keeping keys and values over turns saves, against two baselines.

64 episodes of several turns: a prompt that groups of 8 share, turns of 8 to 32 sampled tokens,
tool results of 4 to 12. Three ways in one run, in alternating order; medians with their intervals:

- ours: `TransformersPolicy`, every episode at its own pace, caches kept between turns;
- recompute: the same, but each turn reads its whole context again;
- hf: `model.generate` on the left-padded batch, turn after turn. It ends no row before the
  longest, so its rows beyond what their turn asked for are not counted.

Also `step_over_bare`: our decode step of 64 rows against the bare forward pass of the same rows
with a `DynamicCache`, at the same lengths, sampling not included in the latter.

And `layout`: a forward pass of one token a row on two threads, with the weights as they lie while
`TransformersPolicy.generating` holds, over the same pass with the weights in their usual order.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers

sys.path.insert(0, str(Path(__file__).parent))

from _result import run, write
from _rounds import alternate, spread

from qwq_env.chat_model import Sampling
from qwq_env.rollout.policy import GenerationRequest
from qwq_env.rollout.transformers_policy import TransformersPolicy
from qwq_env.rollout.weight_layout import laid_out_for_decoding

EPISODES = 64
GROUP = 8
MODELS = {
    "tiny": {"layers": 2, "hidden": 64, "heads": 4, "vocabulary": 470},
    "small": {"layers": 4, "hidden": 256, "heads": 8, "vocabulary": 4096},
}
LAID_OUT = {"layers": 8, "hidden": 576, "heads": 8, "vocabulary": 49152}
"""A quarter of a model of 135 million parameters, whose weights no cache holds."""
ROWS = (1, 8, 16, 32, 64, 128)


class Script(NamedTuple):
    """What an episode does: its prompt, and for each turn how many tokens, then which result."""

    prompt: list[int]
    turns: list[tuple[int, list[int]]]


class NoText:
    """No stop strings are used, so nothing is ever decoded."""

    def decode(self, ids: Sequence[int]) -> str:
        raise NotImplementedError


def build(layers: int, hidden: int, heads: int, vocabulary: int) -> Any:
    """Return a Qwen2 model with random weights and two key heads."""
    torch.manual_seed(0)
    config = transformers.Qwen2Config(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=4 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=2,
        max_position_embeddings=1024,
    )
    model = transformers.Qwen2ForCausalLM(config).eval()
    model.generation_config.eos_token_id = None
    return model


def scripts(vocabulary: int, turns: int) -> list[Script]:
    """Return the episodes, the same in every run."""
    made = []
    for episode in range(EPISODES):
        shared, own = random.Random(episode // GROUP), random.Random(1000 + episode)

        def text(source: random.Random, least: int, most: int) -> list[int]:
            return [source.randrange(vocabulary) for _ in range(source.randint(least, most))]

        steps = [(own.randint(8, 32), text(own, 4, 12)) for _ in range(turns)]
        made.append(Script(text(shared, 40, 56), steps))
    return made


def with_policy(policy: TransformersPolicy, episodes: list[Script], keep: bool) -> int:
    """Play all episodes; return how many tokens were sampled."""

    async def play(number: int, script: Script) -> int:
        ids, count = list(script.prompt), 0
        for turn, (length, result) in enumerate(script.turns):
            generation = await policy.generate(
                GenerationRequest(
                    list(ids), length, str(number), Sampling(), frozenset(), seed=number * 99 + turn
                )
            )
            ids += generation.ids + result
            count += len(generation.ids)
            if not keep:
                await policy.release(str(number))
        await policy.release(str(number))
        return count

    async def main() -> int:
        return sum(await asyncio.gather(*(play(n, s) for n, s in enumerate(episodes))))

    with policy.generating():
        return asyncio.run(main())


def with_generate(model: Any, episodes: list[Script]) -> int:
    """Play all episodes in lock-step with the model's own `generate`."""
    contexts, count = [list(script.prompt) for script in episodes], 0
    for turn in range(len(episodes[0].turns)):
        width = max(map(len, contexts))
        padded = [[0] * (width - len(ids)) + ids for ids in contexts]
        mask = [[0] * (width - len(ids)) + [1] * len(ids) for ids in contexts]
        output = model.generate(
            input_ids=torch.tensor(padded),
            attention_mask=torch.tensor(mask),
            max_new_tokens=max(script.turns[turn][0] for script in episodes),
            do_sample=True,
            top_k=0,
            pad_token_id=0,
        ).tolist()
        for ids, row, script in zip(contexts, output, episodes, strict=True):
            length, result = script.turns[turn]
            ids += row[width : width + length] + result
            count += length
    return count


def per_second(way: Callable[[], int]) -> float:
    """Return the tokens per second of one run."""
    start = time.perf_counter()
    count = way()
    return count / (time.perf_counter() - start)


def step_over_bare(
    model: Any, policy: TransformersPolicy, rounds: int, steps: int = 40
) -> dict[str, float]:
    """Return the time of our decode step over that of the bare forward pass."""
    prompts = [[1 + row, *range(2, 47)] for row in range(EPISODES)]

    async def sample(count: int) -> None:
        requests = (
            GenerationRequest(ids, count, str(row), Sampling(), frozenset(), seed=row)
            for row, ids in enumerate(prompts)
        )
        await asyncio.gather(*map(policy.generate, requests))

    def ours(count: int) -> float:
        with policy.generating():
            start = time.perf_counter()
            asyncio.run(sample(count))
            return time.perf_counter() - start

    @torch.no_grad()
    def bare() -> float:
        cache = transformers.DynamicCache(config=model.config)
        model(input_ids=torch.tensor(prompts), past_key_values=cache, logits_to_keep=1)
        start = time.perf_counter()
        for step in range(steps):
            length = 46 + step
            model(
                input_ids=torch.ones(EPISODES, 1, dtype=torch.long),
                attention_mask=torch.ones(EPISODES, 1, 1, length + 1, dtype=torch.bool),
                position_ids=torch.full((EPISODES, 1), length),
                past_key_values=cache,
            )
        return time.perf_counter() - start

    found = alternate({"ours": lambda: ours(steps + 1) - ours(1), "bare": bare}, rounds)
    return ratio(found["ours"], found["bare"])


def ratio(upper: Sequence[float], lower: Sequence[float]) -> dict[str, float]:
    """Return the median of the rounds' ratios with its interval."""
    ratios = spread([one / other for one, other in zip(upper, lower, strict=True)])
    return {name: round(value, 2) for name, value in ratios.items()}


def measure(shape: dict[str, int], turns: int, rounds: int) -> dict[str, Any]:
    """Measure one model at one number of turns."""
    model = build(**shape)
    policy = TransformersPolicy(model, NoText(), slots=EPISODES)
    episodes = scripts(shape["vocabulary"], turns)
    rates = alternate(
        {
            "ours": lambda: per_second(lambda: with_policy(policy, episodes, keep=True)),
            "recompute": lambda: per_second(lambda: with_policy(policy, episodes, keep=False)),
            "hf": lambda: per_second(lambda: with_generate(model, episodes)),
        },
        rounds,
    )
    return {
        "turns": turns,
        **{f"{name}_tokens_per_s": round(statistics.median(r), 1) for name, r in rates.items()},
        "ours_over_recompute": ratio(rates["ours"], rates["recompute"]),
        "ours_over_hf": ratio(rates["ours"], rates["hf"]),
        "step_over_bare": step_over_bare(model, policy, rounds),
    }


def layout(rounds: int, passes: int = 4) -> dict[str, dict[str, float]]:
    """Return by rows the time of a pass over weights by columns, over that of weights by rows."""
    model, found = build(**LAID_OUT), {}

    @torch.no_grad()
    def timed(rows: int) -> float:
        ids = torch.ones(rows, 1, dtype=torch.long)
        model(input_ids=ids, use_cache=False)
        start = time.perf_counter()
        for _ in range(passes):
            model(input_ids=ids, use_cache=False)
        return time.perf_counter() - start

    def by_columns(rows: int) -> float:
        with laid_out_for_decoding(model):
            return timed(rows)

    torch.set_num_threads(2)
    for rows in ROWS:
        ways = {"columns": partial(by_columns, rows), "rows": partial(timed, rows)}
        times = alternate(ways, rounds)
        found[str(rows)] = ratio(times["columns"], times["rows"])
    return found


def main(argv: list[str]) -> int:
    """Measure, print a table, and write the JSON asked for."""
    parser = argparse.ArgumentParser(prog="qwq bench generation", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="how often each way is measured")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    run(parser, argv, measure_all, table)
    return 0


def measure_all(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure each model at each number of turns."""
    torch.set_num_threads(1)
    result: dict[str, Any] = {
        "episodes": EPISODES,
        "threads": 1,
        "rounds": arguments.rounds,
        "models": {},
    }
    for name in arguments.models:
        for turns in (3, 6):
            figures = measure(MODELS[name], turns, arguments.rounds)
            result["models"][f"{name}, {turns} turns"] = figures
            # What is measured stays if the next is interrupted.
            write(result, arguments)
    result["layout"] = layout(arguments.rounds)
    return result


def table(result: dict[str, Any]) -> str:
    """Return one line a measurement: rates, our rate over theirs, our step over the bare one."""
    lines = [f"{'':16}{'ours':>8}{'recompute':>11}{'hf':>8}   tokens/s   ratios and step over bare"]
    for name, row in result["models"].items():
        lines.append(
            f"{name:16}{row['ours_tokens_per_s']:8.0f}{row['recompute_tokens_per_s']:11.0f}"
            f"{row['hf_tokens_per_s']:8.0f}           "
            f"   {row['ours_over_recompute']['median']:.2f} ×"
            f"   {row['ours_over_hf']['median']:.2f} ×   {row['step_over_bare']['median']:.2f}"
        )
    ratios = ", ".join(f"{rows}: {its['median']:.2f}" for rows, its in result["layout"].items())
    return "\n".join([*lines, f"weights by columns over by rows, by rows a pass: {ratios}"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
