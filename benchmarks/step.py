"""Where a training step's time goes: TRL's own `environment_factory` against ours.

    qwq bench step [--checkpoint DIR] [--rounds 8] [--episodes 64] [--json] [--out FILE]

One stock GRPOTrainer each, on the same tiny policy, tasks, calculator and rubric, in one process;
they take turns, a few steps each, the first one second in the next round, so that what else the
machine does meets both. The policy was cold-started to call the calculator in a part of its
episodes; without a checkpoint it is made first, in about a minute. The learning rate is 0, so it
stays what it is. TRL refuses QwQ's template: it is given a response template by hand, and a
template that writes our schemas, so that both sides ask in the same ids.

Phases, in wall seconds of a step (median; the first step of a round is left out; for the whole step
and the ratios by round, the median's interval too):
`tools` is in the tools, `grading` in the rubric after the rollout, `learning` is loss, backward
and optimizer, `generation` what is left of the rollout. Ours grades an episode while others are
still generated, so its grading is in its generation.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from _episodes import trainer_settings
from _result import run
from _rounds import alternate, spread

PHASES = ("generation", "tools", "grading", "learning")
TURNS = 4
GROUP = 8
STEPS = 4
"""Steps of a round."""


class Clock:
    """Wall seconds by name, a row for each step."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def begin(self) -> None:
        """Begin a step of a trainer's."""
        self.rows.append(defaultdict(float, step=-time.perf_counter()))

    def end(self) -> None:
        """End the step."""
        self.add("step", time.perf_counter())

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add what passes to the step under way."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - start)

    def add(self, name: str, value: float) -> None:
        """Add to the step under way."""
        self.rows[-1][name] += value

    def medians(self) -> dict[str, float]:
        """Return each phase's median."""
        return _medians([row for index, row in enumerate(self.rows) if index % STEPS])

    def rounds(self) -> list[dict[str, float]]:
        """Return each phase's median in each round."""
        starts = range(0, len(self.rows), STEPS)
        return [_medians(self.rows[start + 1 : start + STEPS]) for start in starts]


def _medians(rows: list[dict[str, float]]) -> dict[str, float]:
    for row in rows:
        row["generation"] = row["rollout"] - row["tools"]
        row["learning"] = row["step"] - row["rollout"] - row["grading"]
    names = ("step", *PHASES, "tool_call_rate", "reward")
    return {name: round(statistics.median(row[name] for row in rows), 4) for name in names}


def main(argv: list[str]) -> int:
    """Measure both and print the ratios."""
    parser = argparse.ArgumentParser(prog="qwq bench step", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, help="made there if it is not there")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--episodes", type=int, default=64)
    run(parser, argv, measure, lambda found: json.dumps(found, indent=1))
    return 0


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Make both trainers and let them take turns."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = arguments.checkpoint or Path(folder, "policy")
        if not (checkpoint / "config.json").is_file():
            make_policy(checkpoint)
        ours, our_clock = ours_side(arguments.episodes, checkpoint, Path(folder))
        trl, their_clock = trl_side(arguments.episodes, checkpoint, Path(folder))
        alternate({"ours": ours.train, "trl": trl.train}, arguments.rounds)
    mine, theirs = our_clock.rounds(), their_clock.rounds()
    return {
        "episodes": arguments.episodes,
        "rounds": arguments.rounds,
        "ours_s": our_clock.medians(),
        "trl_s": their_clock.medians(),
        "ours_step_s": spread([row["step"] for row in mine]),
        "trl_step_s": spread([row["step"] for row in theirs]),
        "trl_over_ours": {
            name: spread([their[name] / my[name] for my, their in zip(mine, theirs, strict=True)])
            for name in ("step", "generation", "learning")
        },
    }


def make_policy(folder: Path) -> None:
    """Build the tiny policy and start it on the teacher's transcripts."""
    import torch

    from qwq_env.dialect.codec import TokenCodec
    from qwq_env.training.cold_start import cold_start
    from qwq_env.training.recipe import PolicyRecipe
    from qwq_env.training.tiny.lessons import tiny_lessons
    from qwq_env.training.tiny.policy import build_tiny_policy

    torch.set_num_threads(1)
    lessons = tiny_lessons(_environment(), 4096, difficulty=1, seed=0)
    model, tokenizer = build_tiny_policy(lessons, PolicyRecipe(), seed=0)
    cold_start(model, TokenCodec(tokenizer), lessons, steps=400, batch=64, seed=0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def ours_side(episodes: int, checkpoint: Path, folder: Path) -> tuple[Any, Clock]:
    """Return a trainer with our rollouts, and its clock."""
    from qwq_env.training.episode_metrics import episode_metrics
    from qwq_env.training.rollouts import Rollouts

    clock = Clock()
    model, tokenizer = _load(checkpoint)
    rollouts = Rollouts(_environment(), tokenizer, size=STEPS * episodes // GROUP, context=1024)

    def play(prompts: Any, trainer: Any) -> Any:
        columns = rollouts(prompts, trainer)
        clock.add("tools", sum(t.seconds.tools for t in rollouts.last))
        clock.add("tool_call_rate", episode_metrics(rollouts.last)["tool_call_rate"])
        clock.add("reward", statistics.fmean(t.reward or 0.0 for t in rollouts.last))
        return columns

    trainer = _timed_trainer(clock)(
        model=model,
        args=_settings(episodes, folder),
        processing_class=tokenizer,
        train_dataset=rollouts.dataset,
        rollout_func=play,
        reward_funcs=rollouts.reward,
    )
    return trainer, clock


def trl_side(episodes: int, checkpoint: Path, folder: Path) -> tuple[Any, Clock]:
    """Return a trainer with TRL's `environment_factory`, and its clock."""
    import datasets

    from qwq_env.tools.calculator import Calculator

    clock, env, shared = Clock(), _environment(), Calculator()
    answered: set[int] = set()

    class CalculatorEnvironment:
        """The calculator as TRL wants it: a method of an object that is used again."""

        def reset(self, **columns: Any) -> None:
            return None

        def calculator(self, expression: str) -> str:
            """Evaluate one arithmetic expression exactly.

            Args:
                expression: Numbers and operators only.
            """
            with clock.phase("tools"):
                value = shared.evaluate(expression)
            answered.add(id(self))
            return value

    def reward(completions: Any, task_id: Any, **columns: Any) -> list[float]:
        clock.add("tool_call_rate", len(answered) / len(completions))
        answered.clear()
        values = _grade(env, task_id, [str(c[-1].get("content") or "") for c in completions])
        clock.add("reward", statistics.fmean(values))
        return values

    model, tokenizer = _load(checkpoint)
    _let_trl_read(tokenizer, env)
    tasks = [env.tasks.task(index) for index in range(STEPS * episodes // GROUP)]
    rows = [
        {"prompt": [{"role": "user", "content": task.prompt}], "task_id": task.id} for task in tasks
    ]
    trainer = _timed_trainer(clock)(
        model=model,
        args=_settings(episodes, folder, max_tool_calling_iterations=TURNS - 1),
        processing_class=tokenizer,
        train_dataset=datasets.Dataset.from_list(rows),
        environment_factory=CalculatorEnvironment,
        reward_funcs=reward,
    )
    trainer._batch_environments = [None]
    asked = trainer._tokenize_prompts([rows[0]["prompt"]])[0][0]
    assert asked == _prompt_ids(tokenizer, env), "the two sides are asked differently"
    return trainer, clock


def _timed_trainer(clock: Clock) -> Any:
    """Return the stock trainer with a look at the clock around its own methods."""
    from transformers import PrinterCallback, TrainerCallback
    from trl import GRPOTrainer

    class Stopwatch(TrainerCallback):
        def on_step_begin(self, *rest: Any, **more: Any) -> None:
            clock.begin()

        def on_step_end(self, *rest: Any, **more: Any) -> None:
            clock.end()

    class Timed(GRPOTrainer):
        def __init__(self, **arguments: Any) -> None:
            super().__init__(**arguments, callbacks=[Stopwatch()])
            self.remove_callback(PrinterCallback)

        def _generate(self, prompts: Any) -> Any:
            with clock.phase("rollout"):
                return super()._generate(prompts)

        def _calculate_rewards(self, *arguments: Any) -> Any:
            with clock.phase("grading"):
                return super()._calculate_rewards(*arguments)

    return Timed


def _grade(env: Any, task_ids: Any, answers: list[str]) -> list[float]:
    """Grade by our rubric, all at a time: what TRL's user would at best do."""
    from qwq_env import portal
    from qwq_env.rubric import FinalTurn

    async def grade() -> list[Any]:
        finals = [
            FinalTurn(env.tasks.find(task_id), answer, ())
            for task_id, answer in zip(task_ids, answers, strict=True)
        ]
        return await asyncio.gather(*(env.settings.rubric.grade(final) for final in finals))

    return [reward.value or 0.0 for reward in portal.run(grade())]


def _let_trl_read(tokenizer: Any, env: Any) -> None:
    """Give TRL a template that says what our prompt says, and a way to read calls.

    It would describe the tool by a schema made from the method; the policy knows it by ours.
    """
    from trl.chat_template_utils import qwen3_template

    from qwq_env.training.tiny.chat_template import qwq_chat_template

    schemas = "".join("\n" + json.dumps(t.schema(), ensure_ascii=False) for t in env.settings.tools)
    before, _, rest = qwq_chat_template().partition("{%- for tool in tools -%}")
    _, _, after = rest.partition("{%- endfor -%}")
    assert after
    tokenizer.chat_template = before + "{{- " + json.dumps(schemas) + " -}}" + after
    tokenizer.response_template = qwen3_template


def _prompt_ids(tokenizer: Any, env: Any) -> list[int]:
    from qwq_env.dialect.codec import TokenCodec

    return TokenCodec(tokenizer).encode_pieces(env.begin(env.tasks.task(0)).open())


def _environment() -> Any:
    from qwq_env.envs.math import MathToolEnv
    from qwq_env.outcome import EpisodeLimits

    return MathToolEnv(tools=("calculator",), limits=EpisodeLimits(turns=TURNS))


def _load(checkpoint: Path) -> tuple[Any, Any]:
    import torch

    from qwq_env.rollout.checkpoint import load_checkpoint

    torch.set_num_threads(1)
    return load_checkpoint(str(checkpoint))


def _settings(episodes: int, folder: Path, **more: Any) -> Any:
    return trainer_settings(
        folder, per_device_train_batch_size=episodes, num_generations=GROUP,
        max_steps=STEPS, max_completion_length=160, learning_rate=0.0, seed=0,
        shuffle_dataset=False, **more,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
