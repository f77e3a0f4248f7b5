"""One rank of ours: the stock GRPOTrainer with `Rollouts`, every token held against its plan.

Writes `FOLDER/rank-N.json`: how many tokens were checked, and how many are not of their prompt's.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from _episodes import byte_tokenizer, trainer_settings
from _rank_script import GROUP, PROMPTS, Plan, draw_plans, environment
from trl import GRPOTrainer

from qwq_env.dialect.base import Piece
from qwq_env.rollout.vllm_policy import HttpSettings, VllmPolicy
from qwq_env.training.rollouts import Rollouts
from qwq_env.training.tiny.model import build_tiny_model
from qwq_env.trajectory import Trajectory
from qwq_env.turn import CallResult


class Recorder(GRPOTrainer):
    """A stock trainer that keeps the rewards it gathered from all ranks."""

    def _calculate_rewards(self, *arguments: Any) -> Any:
        self.rewards = super()._calculate_rewards(*arguments)
        return self.rewards


class Rank:
    """A rank with its trainer; `play` is one trial."""

    def __init__(self, url: str, folder: Path) -> None:
        tokenizer = byte_tokenizer()
        settings = HttpSettings(backoff=0.01)
        self.rollouts = Rollouts(
            environment(), tokenizer, size=GROUP, context=50_000,
            # The server writes what the seed says, so that every row can be told from every other.
            policy=lambda trainer: VllmPolicy(url, settings=settings, seeded=True),
        )  # fmt: skip
        arguments = trainer_settings(
            folder, per_device_train_batch_size=PROMPTS * GROUP, num_generations=GROUP,
            max_completion_length=50_000, seed=1,
        )  # fmt: skip
        self.trainer = Recorder(
            model=build_tiny_model(tokenizer, hidden=32),
            args=arguments,
            processing_class=tokenizer,
            train_dataset=self.rollouts.dataset,
            rollout_func=self.rollouts,
            reward_funcs=self.rollouts.reward,
        )
        self.rank = self.trainer.accelerator.process_index
        self.world = self.trainer.accelerator.num_processes
        self.found: Counter[str] = Counter()

    def play(self, trial: int) -> None:
        """Play one episode for each prompt and check what the trainer would learn from."""
        plans = [plan for plan in draw_plans(trial, self.rank, self.world) for _ in range(GROUP)]
        batch = self.trainer._generate_and_score_completions(
            [{"prompt": _prompt(plan)} for plan in plans]
        )
        first = self.rank * len(plans)
        for row, (plan, trajectory) in enumerate(zip(plans, self.rollouts.last, strict=True)):
            reward = float(self.trainer.rewards[first + row, 0])
            self._check(plan, trajectory, _row(batch, row), reward)

    def _check(
        self, plan: Plan, trajectory: Trajectory, row: dict[str, list[int]], reward: float
    ) -> None:
        expected = self._expected(plan, trajectory.seed)
        self.found["episodes"] += 1
        self.found["lost"] += plan.refused
        self.found["tokens"] += len(row["prompt"]) + len(row["completion"])
        self.found["foreign_tokens"] += _differences(row["prompt"], expected["prompt"])
        if plan.refused:
            # The server took none of it: no reward, nothing to learn.
            self.found["foreign_rewards"] += not math.isnan(reward)
            self.found["foreign_tokens"] += sum(row["mask"])
            return
        self.found["foreign_rewards"] += reward != plan.reward
        self.found["foreign_tokens"] += _differences(row["completion"], expected["completion"])
        self.found["foreign_tokens"] += _differences(row["mask"], expected["mask"])
        logprobs = [plan.logprob * bit for bit in expected["mask"]]
        self.found["foreign_logprobs"] += _differences(trajectory.logprobs, logprobs)

    def _expected(self, plan: Plan, seed: int) -> dict[str, list[int]]:
        """Write the episode again, by its plan alone."""
        env, codec = self.rollouts.env, self.rollouts.codec
        prompt = codec.encode_pieces(env.begin(env.tasks.find(plan.id)).open())
        completion: list[int] = []
        mask: list[int] = []
        for number in range(plan.calls + 1):
            turn_seed = (seed * 1_000_003 + number) & 0x7FFF_FFFF
            text = plan.turn(number, turn_seed)
            sampled = codec.encode_pieces([Piece(text, control=True)])
            completion += sampled
            mask += [1] * len(sampled)
            if number < plan.calls:
                result = CallResult("echo", f"{plan.id} {plan.id}")
                pieces = env.settings.dialect.render_results([result], closed=True)
                observed = codec.encode_pieces(pieces)
                completion += observed
                mask += [0] * len(observed)
        return {"prompt": prompt, "completion": completion, "mask": mask}


def _prompt(plan: Plan) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"Say {plan.id}.", "task_id": plan.id}]


def _row(batch: dict[str, Any], row: int) -> dict[str, list[int]]:
    """Return a row of what is learned from, without its padding."""
    prompt = batch["prompt_ids"][row][batch["prompt_mask"][row].bool()]
    size = int(batch["tool_mask"].shape[1])
    completion, mask = batch["completion_ids"][row], batch["tool_mask"][row]
    padding = batch["completion_mask"][row]
    # A row that was lost is masked whole, so its length cannot be told.
    length = int(padding.nonzero().max()) + 1 if padding.any() else size
    return {
        "prompt": prompt.tolist(),
        "completion": completion[:length].tolist(),
        "mask": mask[:length].tolist(),
    }


def _differences(found: Any, expected: Any) -> int:
    shorter = min(len(found), len(expected))
    unequal = sum(a != b for a, b in zip(found[:shorter], expected[:shorter], strict=True))
    return unequal + abs(len(found) - len(expected))


def main(url: str, trials: int, folder: Path) -> None:
    """Play the trials and write what was found."""
    with tempfile.TemporaryDirectory() as scratch:
        rank = Rank(url, Path(scratch))
        for trial in range(trials):
            rank.play(trial)
        rank.rollouts.close()
    found = {"world": rank.world, **rank.found}
    (folder / f"rank-{rank.rank}.json").write_text(json.dumps(found))
