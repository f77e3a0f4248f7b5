"""Tools of many episodes: TRL's own loops against ours.

    qwq bench tools [--episodes 64] [--turns 4] [--sleep 0.1] [--rounds 5] [--json] [--out FILE]

Every episode calls a tool that sleeps, in each of its turns, and then answers. The model answers
at once on all sides, so what is measured is what the tools cost. Ideal: as long as the tools of one
episode take. All are played in alternating order; medians have 95 % intervals.

- `ours`, `trl`: the rollout of the real GRPOTrainer (`_generate`), with our rollouts and with
  TRL's `environment_factory`, whose tools run one after the other;
- `ours_async`, `trl_async`: the rollout workers of AsyncGRPO (`_async_workers.py`), in which the
  tools of episodes overlap on both sides; seconds for as many episodes as are in flight.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import _async_workers
from _episodes import byte_tokenizer, trainer_settings
from _process import served
from _result import run
from _rounds import alternate, spread
from _tool_naps import CALL, DONE, SECONDS, nap, nothing


def main(argv: list[str]) -> int:
    """Measure all and print the ratios."""
    parser = argparse.ArgumentParser(prog="qwq bench tools", description=__doc__)
    parser.add_argument("--episodes", type=int, default=64)
    parser.add_argument("--turns", type=int, default=4, help="turns that call the tool")
    parser.add_argument("--sleep", type=float, default=0.1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=["trainer", "async"])
    run(parser, argv, measure, table)
    return 0


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Let the sides of each pair take turns."""
    os.environ[SECONDS] = str(arguments.sleep)
    ideal = arguments.turns * arguments.sleep
    result: dict[str, Any] = {
        "episodes": arguments.episodes,
        "turns": arguments.turns,
        "sleep_s": arguments.sleep,
        "rounds": arguments.rounds,
        "ideal_s": round(ideal, 4),
    }
    if arguments.only != "async":
        with tempfile.TemporaryDirectory() as folder:
            sides = {
                "ours": ours_side(arguments, Path(folder)),
                "trl": trl_side(arguments, Path(folder)),
            }
            sides["ours"]()  # the first also makes the event loop and the policy
            result |= _summary(sides, arguments.rounds)
    if arguments.only != "trainer":
        with served("_instant_vllm.py", str(arguments.turns)) as url:
            sides = {
                "ours_async": partial(_async_workers.measure_ours, arguments, url),
                "trl_async": partial(_async_workers.measure_trl, arguments, url),
            }
            result |= _summary(sides, arguments.rounds)
    return result


def _summary(sides: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, Any]:
    """Return the seconds of both, and TRL's over ours by round."""
    found = alternate(sides, rounds)
    (ours, mine), (trl, theirs) = found.items()
    ratios = [their / my for their, my in zip(theirs, mine, strict=True)]
    figures = {f"{ours}_s": mine, f"{trl}_s": theirs, f"{trl}_over_{ours}": ratios}
    return {
        name: {key: round(value, 4) for key, value in spread(values).items()}
        for name, values in figures.items()
    }


def table(result: Mapping[str, Any]) -> str:
    """Return a line a figure."""
    return "\n".join(
        f"{name:24} {found['median']:9.4f}   {found['low']:.4f} to {found['high']:.4f}"
        if isinstance(found, dict)
        else f"{name:24} {found:>9}"
        for name, found in result.items()
    )


def ours_side(arguments: argparse.Namespace, folder: Path) -> Callable[[], float]:
    """Return what gives the seconds of `_generate` with our rollouts."""
    from trl import GRPOTrainer

    from qwq_env.env import ToolEnv
    from qwq_env.rollout.scripted import ScriptedPolicy
    from qwq_env.rubric import Component, Rubric
    from qwq_env.task import ListTaskSet, Task
    from qwq_env.tool import tool
    from qwq_env.training.rollouts import Rollouts
    from qwq_env.training.tiny.model import build_tiny_model

    tokenizer = byte_tokenizer()
    tasks = ListTaskSet([Task(f"t{i}", f"Rest {i}.", "") for i in range(arguments.episodes)])
    env = ToolEnv(tasks, [tool(nap)], Rubric([Component("none", lambda final: 0.0)]))
    turns = [f"</think>{CALL}"] * arguments.turns + [f"</think>{DONE}"]
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

    def generate() -> float:
        start = time.perf_counter()
        trainer._generate(prompts)
        seconds = time.perf_counter() - start
        assert all(t.counts == {"ok": arguments.turns} for t in rollouts.last)
        return seconds

    return generate


def trl_side(arguments: argparse.Namespace, folder: Path) -> Callable[[], float]:
    """Return what gives the seconds of `_generate` with TRL's `environment_factory`."""
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
            return await nap()

    class Instant(GRPOTrainer):
        """The stock trainer with a model that answers at once, and a look at the clock."""

        turn = 0
        seconds = 0.0

        def _generate(self, prompts: Any) -> Any:
            self.turn, start = 0, time.perf_counter()
            result = super()._generate(prompts)
            self.seconds = time.perf_counter() - start
            return result

        def _generate_single_turn(self, prompt_ids: Any, *rest: Any, **more: Any) -> Any:
            text = CALL if self.turn < arguments.turns else DONE
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
        reward_funcs=nothing,
    )

    def generate() -> float:
        Nap.calls = 0
        # The call that sets up TRL's environments; `_generate` is timed inside it.
        trainer._generate_and_score_completions([dict(row) for row in rows])
        assert Nap.calls == arguments.episodes * arguments.turns, Nap.calls
        return trainer.seconds

    return generate


def _settings(arguments: argparse.Namespace, folder: Path) -> Any:
    return trainer_settings(
        folder,
        per_device_train_batch_size=arguments.episodes,
        num_generations=2,
        max_completion_length=4096,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
