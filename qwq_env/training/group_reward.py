"""A reward model that compares the episodes of a group, applied before TRL sees any reward.

A rubric sees one episode at a time and is the place for scores that stand by themselves. What
needs the others (win rates, ranks, logits that mean something only as differences) comes here:

    Rollouts(env, tokenizer, group_reward=GroupReward(PairwiseJudge(examiner), weight=0.3))

`AsyncRollouts` takes it the same way.

Why not a second `reward_funcs` of TRL: TRL adds, so a group's best wrong answer would be paid, and
an episode that could not be judged could no longer be masked.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from qwq_env.checks import is_number
from qwq_env.errors import UsageError, brief
from qwq_env.grading.reward.model import RewardModel
from qwq_env.grading.reward.normalize import Method, normalize_group
from qwq_env.grading.score import Score
from qwq_env.outcome import Outcome
from qwq_env.rubric import candidate_of
from qwq_env.task import Task
from qwq_env.trajectory import Trajectory


@dataclass(frozen=True, slots=True)
class GroupReward:
    """Multiplies each episode's reward by 1 + `weight` × its normalized score in its group.

    A group is the episodes of one task in a batch. Only
    episodes that the rubric pays are compared: a broken rule stays at 0 and lowers nobody's rank.
    One that is alone keeps its reward. The factor is never below 0. An episode whose score is
    undecided is lost, and masked. The normalized score is logged under `name`.
    """

    model: RewardModel
    weight: float
    method: Method = "rank"
    name: str = "group_reward"
    reference: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.weight < 1:
            raise UsageError(f"weight: {brief(self.weight)}; expected a number between 0 and 1")

    async def apply(
        self, tasks: Sequence[Task], trajectories: Sequence[Trajectory], group: int | None = None
    ) -> list[Trajectory]:
        """Return the trajectories with their new rewards; `tasks` has the task of each.

        Where groups of `group` lie one after the other, two of one task are two.
        """
        size = group or max(len(tasks), 1)
        groups: dict[tuple[int, str], list[int]] = {}
        for place, trajectory in enumerate(trajectories):
            if trajectory.reward:
                groups.setdefault((place // size, trajectory.task_id), []).append(place)
        changed = [replace(t, scores={**t.scores, self.name: None}) for t in trajectories]
        compared = [places for places in groups.values() if len(places) > 1]
        scored = await asyncio.gather(
            *(self._score([(tasks[i], trajectories[i]) for i in places]) for places in compared)
        )
        for places, scores in zip(compared, scored, strict=True):
            values = normalize_group([score.value for score in scores], self.method)
            for place, value, score in zip(places, values, scores, strict=True):
                changed[place] = self._changed(changed[place], value, score)
        return changed

    async def _score(self, episodes: Sequence[tuple[Task, Trajectory]]) -> list[Score]:
        candidates = [
            candidate_of(task, played.answer, self.reference) for task, played in episodes
        ]
        return [_finite(score) for score in await self.model.score(candidates)]

    def _changed(self, episode: Trajectory, value: float | None, score: Score) -> Trajectory:
        reasons = {**episode.reasons, self.name: [score.reason, score.detail]}
        if value is None or episode.reward is None:
            outcome = Outcome.lost("undecided", f"{self.name}: {score.reason}")
            return replace(episode, outcome=outcome, reward=None, reasons=reasons)
        reward = episode.reward * max(0.0, 1.0 + self.weight * value)
        scores = {**episode.scores, self.name: value}
        return replace(episode, reward=reward, scores=scores, reasons=reasons)


def check_groups_whole(arguments: Any, ranks: int, *, evaluated: bool) -> None:
    """Raise `UsageError` if, by TRL's `arguments`, a rank can hold a part of a group: it would be
    compared with itself alone. `evaluated` says whether the trainer has an `eval_dataset`."""
    group, in_evaluation = arguments.num_generations, arguments.num_generations_eval
    parts = [
        (
            "per_device_train_batch_size * steps_per_generation",
            arguments.per_device_train_batch_size * arguments.steps_per_generation,
            group,
        )
    ]
    if evaluated:
        parts.append(("per_device_eval_batch_size", arguments.per_device_eval_batch_size,
                      in_evaluation or group))  # fmt: skip
    for name, held, size in parts:
        if ranks > 1 and held % size:
            raise UsageError(
                f"group_reward: {name} is {held}, so a group of {size} lies on several ranks;"
                f" expected a multiple of {size}"
            )


def _finite(score: Score) -> Score:
    """Return the score; one that is no finite number has not decided, and must not spoil others."""
    if score.value is None or (is_number(score.value) and math.isfinite(score.value)):
        return score
    return Score.undecided("no_number", f"gave {brief(score.value)}; expected a finite number")
