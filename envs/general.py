"""`qwq/General-v0`: a request in words, rules that can be checked, a reward model for the rest.

**Task.** A text is asked for. `tasks="instructions"` asks for short notes without a download:
endless, in five difficulties, the held-out ones on topics and in words of their own. A JSONL file
or a Hugging Face dataset has prompts, with IFEval's rules or without any.

**Tools.** None, unless they are given.

**Reward.** rules × (1 + λ · reward model), at the episode's end: an answer that breaks one of its
rules earns nothing, however much the reward model likes it. Without a reward model the rules alone
pay 1.0 or 0.0. A judge is named by plain data, as a recipe holds them:

    gym.make("qwq/General-v0", reward_model="judge:http://127.0.0.1:8000/v1:some-model")
    gym.make("qwq/General-v0", reward_model={"endpoint": "http://127.0.0.1:8000/v1",
             "model": "some-model", "api_key_variable": "JUDGE_KEY", "max_tokens": 2048})

**An episode.**
```
user       Tell me something about music. Both willow and marble have to occur. The whole of it has
           less than 155 words. Give exactly 2 bullet points, each on a line that begins with an
           asterisk.
assistant  * Music is older than any marble.
           * A willow in the wind makes some, too.
reward     1.0
```
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from qwq_env.env import ToolEnv
from qwq_env.envs.instruction import RulesFollowed, check_rules
from qwq_env.envs.instruction_tasks import InstructionTaskSet
from qwq_env.envs.reward_models import RewardModelLike, make_reward_model
from qwq_env.errors import UsageError, brief
from qwq_env.options import EnvironmentOptions
from qwq_env.rubric import Component, Rubric, by_reward_model
from qwq_env.task import Task, TaskSet, prompted_row
from qwq_env.tasks.source import open_tasks
from qwq_env.tool import Tool
from qwq_env.tools import make_tools
from qwq_env.vector import vector_of


class GeneralEnv(ToolEnv):
    """General ability: instructions that rules check, and a reward model for what they cannot.

    `tasks` is `"instructions"` (procedural, seeded, endless, `difficulty` 1 to 5, `split` `"train"`
    or `"heldout"`), a path to a JSONL file of rows that `general_row` reads, a Hugging Face dataset
    id with its `split`, or a `TaskSet`.

    `reward_model` is a `RewardModel` or plain data that `make_reward_model` knows, such as
    `"judge:http://host:8000/v1:qwq"` or `{"endpoint": ..., "model": ..., "api_key_variable": ...}`;
    an unbounded one is squashed into 0..1. `weight` is λ. `reference` shows a judge the task's
    `answer` too. `loose` forgives a preamble, a closing line and asterisks, as IFEval's loose count
    does.

    Raises `UsageError` for a task without any rule where there is no reward model: nothing could
    be paid for it, or everything.
    """

    def __init__(
        self,
        tasks: str | Path | TaskSet = "instructions",
        tools: Sequence[str | Tool] = (),
        *,
        reward_model: RewardModelLike | None = None,
        weight: float = 0.5,
        reference: bool = False,
        loose: bool = False,
        difficulty: int = 1,
        split: str = "train",
        task_seed: int = 0,
        **options: Unpack[EnvironmentOptions],
    ) -> None:
        if not weight > 0:
            raise UsageError(f"weight: {brief(weight)}; expected a number above 0")
        components = []
        if reward_model is not None:
            function = by_reward_model(make_reward_model(reward_model), reference=reference)
            components.append(Component("reward_model", function, weight))
        task_set = general_tasks(tasks, difficulty=difficulty, split=split, seed=task_seed)
        gate = RulesFollowed(loose=loose, required=not components)
        for task in task_set if task_set.size is not None else ():
            gate.check(task)
        super().__init__(
            task_set,
            make_tools(tools),
            Rubric(components, [Component("rules", gate)], base=1.0),
            **options,
        )


def general_tasks(
    tasks: str | Path | TaskSet, *, difficulty: int = 2, split: str = "train", seed: int = 0
) -> TaskSet:
    """Return the task set that `tasks` names; see `GeneralEnv`."""
    made = {
        "instructions": lambda: InstructionTaskSet(seed=seed, difficulty=difficulty, split=split),
    }
    return open_tasks(tasks, made, reader=general_row, split=split)


def general_row(row: Mapping[str, Any], task_id: str) -> Task:
    """Read `{"prompt": text | messages}` with, optionally, `instruction_id_list` and `kwargs` as
    IFEval and IFBench publish them, an `answer` (a reference), and an `id`.

    Raises `UsageError` for a prompt that is none and for rules that no answer can be checked
    against: they must fail now, not at the first reward.
    """
    task = prompted_row(row, task_id)
    check_rules(task)
    return task


make_vector = vector_of(GeneralEnv)
