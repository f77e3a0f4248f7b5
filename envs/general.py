"""`qwq/General-v0`: a request in words, rules that can be checked, a reward model for the rest.

**Task.** A text is asked for. `tasks="instructions"` asks for short notes without a download:
endless, in three difficulties, the held-out ones on topics and in words of their own. A JSONL file
or a Hugging Face dataset has prompts, with IFEval's rules or without any.

**Tools.** None, unless they are given.

**Reward.** rules × (1 + λ · reward model), at the episode's end: an answer that breaks one of its
rules earns nothing, however much the reward model likes it. Without a reward model the rules alone
pay 1.0 or 0.0.

**An episode.**
```
user       Write a short note on snow. Use the words amber and ladder. Keep it under 120 words.
           Give exactly 2 bullet points, each on a line that begins with an asterisk.
           Put a title in double angular brackets on top.
assistant  <<On snow>>
           * This note on snow begins with a amber and ends with a ladder.
           * Whoever starts with snow rarely stops there.
reward     1.0
```
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Unpack

from qwq_env.env import ToolEnv
from qwq_env.envs.general_tasks import InstructionTaskSet
from qwq_env.envs.reward_models import make_reward_model
from qwq_env.errors import UsageError, brief
from qwq_env.grading.instructions import checked_rules
from qwq_env.grading.reward.model import RewardModel
from qwq_env.grading.reward.rules import InstructionGrader
from qwq_env.grading.score import Score
from qwq_env.options import EnvironmentOptions
from qwq_env.rubric import Component, FinalTurn, Rubric, by_reward_model
from qwq_env.task import Task, TaskSet, prompted_row
from qwq_env.tasks.source import open_tasks
from qwq_env.tool import Tool
from qwq_env.tools import make_tools
from qwq_env.vector import vector_of


class GeneralEnv(ToolEnv):
    """General ability: instructions that rules check, and a reward model for what they cannot.

    `tasks` is `"instructions"` (procedural, seeded, endless, `difficulty` 1 to 3, `split` `"train"`
    or `"heldout"`), a path to a JSONL file of rows that `general_row` reads, a Hugging Face dataset
    id with its `split`, or a `TaskSet`.

    `reward_model` is a `RewardModel` or a name that `make_reward_model` knows; an unbounded one
    is squashed into 0..1. `weight` is λ. `reference` shows a judge the task's `answer` too.
    `loose` forgives a preamble, a closing line and asterisks, as IFEval's loose count does.

    Raises `UsageError` for a task without any rule where there is no reward model: nothing could
    be paid for it, or everything.
    """

    def __init__(
        self,
        tasks: str | Path | TaskSet = "instructions",
        tools: Sequence[str | Tool] = (),
        *,
        reward_model: RewardModel | str | Path | None = None,
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
        gate = RulesGate(loose=loose, required=not components)
        for task in task_set if task_set.size is not None else ():
            gate.check(task)
        super().__init__(
            task_set,
            make_tools(tools),
            Rubric(components, [Component("rules", gate)], base=1.0),
            **options,
        )


@dataclass(frozen=True, slots=True)
class RulesGate:
    """1.0 if the answer follows all rules of its task, else 0.0.

    Where a task has no rules every answer follows them, but a blank one. `required` refuses tasks
    without rules. Rules are IFEval's, in the task's metadata.
    """

    loose: bool = False
    required: bool = True

    async def __call__(self, final: FinalTurn) -> Score:
        """Score the final answer. Raises `UsageError` for a task that `check` would refuse."""
        ids, kwargs = _rules_of(final.task)
        if not ids:
            self.check(final.task)
            return Score.right("no_rules") if final.answer.strip() else Score.wrong("no_answer")
        return await _grader(self.loose).grade(ids, kwargs, final.task.prompt, final.answer)

    def check(self, task: Task) -> None:
        """Raise `UsageError` for rules that cannot be checked, or none where some must be."""
        ids, _ = _rules_of(task)
        if not ids and self.required:
            raise UsageError(
                f"task {task.id}: no instruction_id_list and no reward_model; expected one of them"
            )


def general_tasks(
    tasks: str | Path | TaskSet, *, difficulty: int = 1, split: str = "train", seed: int = 0
) -> TaskSet:
    """Return the task set that `tasks` names; see `GeneralEnv`."""
    made = {
        "instructions": lambda: InstructionTaskSet(seed=seed, difficulty=difficulty, split=split),
    }
    return open_tasks(tasks, made, reader=general_row, split=split)


def general_row(row: Mapping[str, Any], task_id: str) -> Task:
    """Read `{"prompt": text | messages}` with, optionally, `instruction_id_list` and `kwargs` as
    IFEval publishes them, an `answer` (a reference), and an `id`.

    Raises `UsageError` for a prompt that is none and for rules that no answer can be checked
    against: they must fail now, not at the first reward.
    """
    task = prompted_row(row, task_id)
    ids, kwargs = _rules_of(task)
    if ids:
        _grader(False).validate(ids, kwargs, task.prompt)
    return task


def _rules_of(task: Task) -> tuple[Sequence[str], Sequence[Mapping[str, Any]]]:
    ids = task.metadata.get("instruction_id_list")
    if ids is None or ids == []:
        return [], []
    kwargs = task.metadata.get("kwargs")
    if kwargs in (None, []) and isinstance(ids, list):
        kwargs = [{} for _ in ids]
    try:
        return checked_rules(ids, kwargs)
    except UsageError as error:
        raise UsageError(f"task {brief(task.id)[1:-1]}: {error}") from None


@lru_cache(maxsize=2)
def _grader(loose: bool) -> InstructionGrader:
    return InstructionGrader(loose=loose)


make_vector = vector_of(GeneralEnv)
