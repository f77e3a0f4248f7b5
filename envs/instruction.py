"""`qwq/Instruction-v0`: a request with rules that a program can check, and nothing else that pays.

**Task.** A text is asked for, and the prompt says what it must look like: words that must or must
not occur, how long, in which form. `tasks="instructions"` is procedural (`InstructionTaskSet`):
seeded, endless, four to eight rules in five difficulties, with wordings and combinations of rules
that are held out. A JSONL file has the form of IFEval and IFBench: `{"key", "prompt",
"instruction_id_list", "kwargs"}`. IFEval's 25 rules are known, and 56 of IFBench's 58; a row that
asks for one of the other two is left out and told of.

**Tools.** None, unless `tools` names some.

**Reward.** 1.0 if the final answer follows all of its rules, strictly, else 0.0, at the episode's
end. `reward="share"` pays the share of the rules that are followed; `loose` forgives a preamble, a
closing line and asterisks, as the benchmarks' loose count does. Where a rule asks for parts, they
must hold something that can be seen (`qwq_env.grading.instructions.substance`).

**What can be gamed.** Rules do not read: a text that says nothing, and is put together from the
words and marks that were asked for, is paid like a good one. `qwq/General-v0` puts a reward model
behind the rules for that. In the procedural tasks a text that is paid for one is not for others:
each wants words of its own, within a bound that a text of everything exceeds; yet random words
out of the prompt may be paid now and then. With `reward="share"` any text is paid something, the
prompt itself included. Published rows may have a single rule that half of all texts follow (no
commas, fewer than 300 words).

**An episode** (difficulty 1).
```
user       Write a short note on tea. Use no commas at all. Use less than 150 words. Use the words
           kettle and velvet. Put a title in double angular brackets on top.
assistant  <<On tea>>
           The kettle sings and the evening is soft as velvet. ...
reward     1.0
```
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Unpack, get_args

from qwq_env.dialect.base import Message
from qwq_env.env import ToolEnv
from qwq_env.envs.instruction_tasks import InstructionTaskSet
from qwq_env.errors import UsageError, brief, unknown
from qwq_env.grading.instructions import Rules, checked_rules
from qwq_env.grading.reward.rules import InstructionGrader
from qwq_env.grading.score import Score
from qwq_env.options import EnvironmentOptions
from qwq_env.rubric import Component, FinalTurn, Rubric
from qwq_env.task import Task, TaskSet, prompted_row
from qwq_env.tasks.source import open_tasks
from qwq_env.tool import Tool
from qwq_env.tools import make_tools
from qwq_env.vector import vector_of


class InstructionEnv(ToolEnv):
    """Instructions that rules check; see the module for task and reward.

    `tasks` is `"instructions"` (procedural, `difficulty` 1 to 5, `split` `"train"` or `"heldout"`),
    a path to a JSONL file of rows that `instruction_row` reads, a Hugging Face dataset id with its
    `split`, or a `TaskSet`. Rows that cannot be checked are left out and told of; `strict` refuses
    the file instead. `rules="ifeval"` judges as published, for figures and not for training.

    Raises `UsageError` for a task without any rule: everything would be paid.
    """

    def __init__(
        self,
        tasks: str | Path | TaskSet = "instructions",
        tools: Sequence[str | Tool] = (),
        *,
        reward: Literal["all", "share"] = "all",
        loose: bool = False,
        rules: Rules = "reward",
        difficulty: int = 1,
        split: str = "train",
        task_seed: int = 0,
        strict: bool = False,
        **options: Unpack[EnvironmentOptions],
    ) -> None:
        if reward not in ("all", "share"):
            raise unknown("reward", reward, ("all", "share"))
        if rules not in get_args(Rules):
            raise unknown("rules", rules, get_args(Rules))
        followed = RulesFollowed(loose=loose, share=reward == "share", rules=rules)
        task_set = instruction_tasks(
            tasks, difficulty=difficulty, split=split, seed=task_seed, strict=strict
        )
        for task in task_set if task_set.size is not None else ():
            followed.check(task)
        super().__init__(
            task_set, make_tools(tools), Rubric([Component("rules", followed)]), **options
        )

    def solve(self, task: Task) -> Sequence[Message] | None:
        """Return the turn that gives the task's own answer; None where a row has none."""
        if not task.answer:
            return None
        thought = "I write it so that every instruction is followed."
        return [{"role": "assistant", "reasoning_content": thought, "content": str(task.answer)}]


@dataclass(frozen=True, slots=True)
class RulesFollowed:
    """1.0 if the answer follows all rules of its task, else 0.0; with `share` that of its rules.

    Where a task has no rules every answer follows them, but a blank one. `required` refuses tasks
    without rules. Rules are IFEval's and IFBench's, in the task's metadata. With `rules` "ifeval"
    they are judged as published, what nobody sees included.
    """

    loose: bool = False
    share: bool = False
    required: bool = True
    rules: Rules = "reward"

    async def __call__(self, final: FinalTurn) -> Score:
        """Score the final answer. Raises `UsageError` for a task that `check` would refuse."""
        ids, kwargs = _rules_of(final.task)
        if not ids:
            self.check(final.task)
            return Score.right("no_rules") if final.answer.strip() else Score.wrong("no_answer")
        grader = _grader(self.loose, self.share, self.rules)
        return await grader.grade(ids, kwargs, final.task.prompt, final.answer)

    def check(self, task: Task) -> None:
        """Raise `UsageError` for rules that cannot be checked, or none where some must be."""
        ids, _ = _rules_of(task)
        if not ids and self.required:
            raise UsageError(f"task {task.id}: no instruction_id_list, and nothing else that pays")


def instruction_tasks(
    tasks: str | Path | TaskSet,
    *,
    difficulty: int = 1,
    split: str = "train",
    seed: int = 0,
    strict: bool = False,
) -> TaskSet:
    """Return the task set that `tasks` names; see `InstructionEnv`."""
    made = {
        "instructions": lambda: InstructionTaskSet(seed=seed, difficulty=difficulty, split=split)
    }
    return open_tasks(tasks, made, reader=instruction_row, split=split, strict=strict)


def instruction_row(row: Mapping[str, Any], task_id: str) -> Task:
    """Read `{"prompt": text | messages, "instruction_id_list", "kwargs"}` as IFEval and IFBench
    publish it, with an `answer` that follows the rules, and an `id`, where there are any.

    Raises `UsageError` for a prompt that is none, and for rules that are none or unknown.
    """
    task = prompted_row(row, task_id)
    if not check_rules(task):
        raise UsageError("instruction_id_list: expected one instruction or more")
    return task


def check_rules(task: Task) -> int:
    """Return how many rules a task has.

    Raises `UsageError` for rules that no answer can be checked against: they must fail when they
    are loaded, not at the first reward.
    """
    ids, kwargs = _rules_of(task)
    if ids:
        _grader(False, False).validate(ids, kwargs, task.prompt)
    return len(ids)


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


@lru_cache(maxsize=8)
def _grader(loose: bool, share: bool, rules: Rules = "reward") -> InstructionGrader:
    return InstructionGrader(loose=loose, share=share, rules=rules)


make_vector = vector_of(InstructionEnv)
