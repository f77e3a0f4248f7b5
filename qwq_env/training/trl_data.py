"""What TRL takes: tasks as a dataset of prompts, episodes as the columns of a rollout_func."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import datasets

from qwq_env.dialect.codec import TokenCodec
from qwq_env.env import ToolEnv
from qwq_env.task import Task
from qwq_env.training.curriculum import curriculum_of
from qwq_env.trajectory import Trajectory


def task_dataset(env: ToolEnv, size: int) -> datasets.Dataset:
    """Return `size` prompts, each a conversation whose last message carries the task's id, and for
    a curriculum its place."""
    moves = curriculum_of(env) is not None
    return dataset_of(env, islice(env.tasks, size), places=moves)


def dataset_of(env: ToolEnv, tasks: Iterable[Task], *, places: bool = False) -> datasets.Dataset:
    """Return a row for each of `tasks`: the conversation that its episode opens with."""
    rows = []
    for place, task in enumerate(tasks):
        known = {"task_id": task.id, "place": place} if places else {"task_id": task.id}
        messages = [
            {"role": message["role"], "content": message["content"], **known}
            for message in env.begin(task).conversation()
        ]
        rows.append({"prompt": messages})
    return datasets.Dataset.from_list(rows)


def to_trl(
    trajectories: Sequence[Trajectory], codec: TokenCodec, *, mask_truncated: bool = False
) -> dict[str, list[Any]]:
    """Return what TRL takes from a `rollout_func`; every list is (episodes,).

    TRL cannot take an empty completion, so an episode without any gets one masked token; and of its
    prompt it keeps one, for it may have had more than the model can read. Of an episode with
    several rows, one is drawn by the episode's seed. With `mask_truncated` nothing is
    learned from an episode that a limit cut, whichever; its reward counts in its group's mean.

    `episode_rows` and `episode_tokens` are how many rows the episode has, and how many sampled ids
    in all of them (0 where it is masked); `ToolGRPOTrainer` weighs the drawn row by them.
    `episode_name` and `episode_row` say which row of which episode was drawn.
    """
    filler = codec.eos_token_id if codec.eos_token_id is not None else 0
    columns: dict[str, list[Any]] = {
        "prompt_ids": [], "completion_ids": [], "logprobs": [], "env_mask": [],
        "episode_reward": [], "episode_rows": [], "episode_tokens": [],
        "episode_name": [], "episode_row": [],
    }  # fmt: skip
    for trajectory in trajectories:
        masked = trajectory.reward is None or (mask_truncated and trajectory.outcome.truncated)
        drawn = random.Random(trajectory.seed).choice(range(len(trajectory.rows)))
        row = trajectory.rows[drawn]
        columns["prompt_ids"].append(row.prompt_ids if row.mask else row.prompt_ids[:1])
        columns["completion_ids"].append(row.completion_ids or [filler])
        columns["logprobs"].append(row.logprobs or [0.0])
        mask = row.mask or [0]
        columns["env_mask"].append([0] * len(mask) if masked else mask)
        columns["episode_reward"].append(trajectory.reward)
        columns["episode_name"].append(trajectory.episode)
        columns["episode_row"].append(drawn)
        columns["episode_rows"].append(len(trajectory.rows))
        sampled = sum(sum(each.mask) for each in trajectory.rows)
        columns["episode_tokens"].append(0 if masked else sampled)
    return columns
