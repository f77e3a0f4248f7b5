"""Tools of many episodes: TRL's own loop against ours, in the real GRPOTrainer.

    qwq bench tools [--episodes 64] [--turns 4] [--sleep 0.1] [--json] [--out FILE]

Every episode calls a tool that sleeps, in each of its turns, and then answers. The model is a
script that answers at once on both sides, so what is measured, `GRPOTrainer._generate`, is what
the tools cost; ours is the median of five runs, TRL's is asleep and measured once. Ideal: as long
as the tools of one episode take.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from _episodes import byte_tokenizer, trainer_settings
from _result import add_options, deliver, listing

CALL = '<tool_call>\n{"name": "nap", "arguments": {}}\n</tool_call><|im_end|>'


def main(argv: list[str]) -> int:
    """Measure both and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=64)
    parser.add_argument("--turns", type=int, default=4, help="turns that call the tool")
    parser.add_argument("--sleep", type=float, default=0.1)
    add_options(parser)
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        ours = measure_ours(arguments, Path(folder))
        trl = measure_trl(arguments, Path(folder))
    result = {
        "episodes": arguments.episodes,
        "turns": arguments.turns,
        "sleep_s": arguments.sleep,
        "ideal_s": round(arguments.turns * arguments.sleep, 4),
        "ours_s": round(ours, 4),
        "trl_s": round(trl, 4),
        "trl_over_ours": round(trl / ours, 1),
        "ours_over_ideal": round(ours / (arguments.turns * arguments.sleep), 3),
    }
    deliver(result, arguments, listing(result))
    return 0


def measure_ours(arguments: argparse.Namespace, folder: Path) -> float:
    """Return the seconds of `_generate` with our rollouts."""
    from trl import GRPOTrainer

    from qwq_env.env import ToolEnv
    from qwq_env.rollout.scripted import ScriptedPolicy
    from qwq_env.rubric import Component, Rubric
    from qwq_env.task import ListTaskSet, Task
    from qwq_env.tool import tool
    from qwq_env.training.rollouts import Rollouts
    from qwq_env.training.tiny.model import build_tiny_model

    @tool
    async def nap() -> str:
        """Sleep."""
        await asyncio.sleep(arguments.sleep)
        return "rested"

    tokenizer = byte_tokenizer()
    tasks = ListTaskSet([Task(f"t{i}", f"Rest {i}.", "") for i in range(arguments.episodes)])
    env = ToolEnv(tasks, [nap], Rubric([Component("none", lambda final: 0.0)]))
    turns = [f"</think>{CALL}"] * arguments.turns + ["</think>done<|im_end|>"]
    rollouts = Rollouts(
        env, tokenizer, policy=lambda trainer: ScriptedPolicy(rollouts.codec, turns)
    )
    trainer = GRPOTrainer(
        model=build_tiny_model(tokenizer),
        args=_settings(arguments, folder),
        processing_class=tokenizer,
        train_dataset=rollouts.dataset,
        rollout_func=rollouts,
        reward_funcs=rollouts.reward,
    )
    prompts = [rollouts.dataset[i]["prompt"] for i in range(arguments.episodes)]
    seconds = _timed(trainer, prompts)
    assert all(t.counts == {"ok": arguments.turns} for t in rollouts.last)
    return seconds


def measure_trl(arguments: argparse.Namespace, folder: Path) -> float:
    """Return the seconds of `_generate` with TRL's `environment_factory`."""
    import datasets
    from trl import GRPOTrainer
    from trl.chat_template_utils import qwen2_5_chat_template

    from qwq_env.dialect.base import Piece
    from qwq_env.dialect.codec import TokenCodec
    from qwq_env.training.tiny.model import build_tiny_model

    class Nap:
        calls = 0

        def reset(self, **columns: Any) -> None:
            return None

        async def nap(self) -> str:
            """Sleep."""
            Nap.calls += 1
            await asyncio.sleep(arguments.sleep)
            return "rested"

    class Instant(GRPOTrainer):
        """The stock trainer with a model that answers at once."""

        turn = 0

        def _generate_single_turn(self, prompt_ids: Any, *rest: Any, **more: Any) -> Any:
            text = CALL if self.turn < arguments.turns else "done<|im_end|>"
            self.turn += 1
            ids = codec.encode_pieces([Piece(text, control=True)])
            return [list(ids) for _ in prompt_ids], None

    tokenizer = byte_tokenizer()
    tokenizer.chat_template = qwen2_5_chat_template
    codec = TokenCodec(tokenizer)
    rows = [
        {"prompt": [{"role": "user", "content": f"Rest {i}."}]} for i in range(arguments.episodes)
    ]
    trainer = Instant(
        model=build_tiny_model(tokenizer),
        args=_settings(arguments, folder),
        processing_class=tokenizer,
        train_dataset=datasets.Dataset.from_list(rows),
        environment_factory=Nap,
        reward_funcs=lambda completions, **columns: [0.0] * len(completions),
    )
    inputs = [dict(row) for row in rows]
    seconds = _timed_trl(trainer, inputs)
    assert Nap.calls == arguments.episodes * arguments.turns, Nap.calls
    return seconds


def _settings(arguments: argparse.Namespace, folder: Path) -> Any:
    return trainer_settings(
        folder,
        per_device_train_batch_size=arguments.episodes,
        num_generations=2,
        max_completion_length=4096,
    )


def _timed(trainer: Any, prompts: Any) -> float:
    """Return the median of five: the first also makes the event loop and the policy."""
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        trainer._generate(prompts)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _timed_trl(trainer: Any, inputs: Any) -> float:
    """Time `_generate` inside the call that sets up TRL's environments."""
    seconds = 0.0
    generate = trainer._generate

    def timed(prompts: Any) -> Any:
        nonlocal seconds
        start = time.perf_counter()
        result = generate(prompts)
        seconds += time.perf_counter() - start
        return result

    trainer._generate = timed
    trainer._generate_and_score_completions(inputs)
    return seconds


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
