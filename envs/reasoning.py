"""`qwq/Reasoning-v0`: puzzles of many kinds, each with an answer that can be checked exactly.

**Task.** A question in words: `tasks="puzzles"` is procedural (`PuzzleTaskSet`): seeded, endless,
seven families (number sequences, changed words, sorting, dates, shortest ways, 4 by 4 sudoku,
knights and knaves) in three difficulties, with held-out questions. `tasks="reasoning_gym"` takes
turns through the data sets of reasoning-gym (extra `reasoning`) that are safe to pay for and hard
to guess; `"reasoning_gym:maze,gcd"` are those of that name. A JSONL file has the rows that
reasoning-gym writes, and most of it needs no library. Which data sets are graded by whom, and which
are refused and why, is told in `qwq_env.envs.reasoning_gym`.

**Tools.** `python`; `tools` may name others, or none.

**Reward.** 1.0 if the answer is the task's, without regard to case and space, else 0.0, at the
episode's end. The answer is what the last `<answer>...</answer>` or the last box after the thinking
holds. Where reasoning-gym allows several answers its scorer decides, in a process that can
be killed; 0.99 and more counts, partial credit is not paid. No model-written text is evaluated.

**What can be gamed.** Data sets with few possible answers (yes or no, small numbers) pay a guess:
name them only beside others.

**An episode** (difficulty 1).
```
user       Take the word tebina; swap its first and its last letter, then write it backwards. What
           is the result? Reason step by step, then give the final answer alone, between <answer>
           and </answer> or within \\boxed{}.
assistant  python(code="w = 'tebina'; print((w[-1] + w[1:-1] + w[0])[::-1])")
tool       tnibea
assistant  <answer>tnibea</answer>
reward     1.0
```
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Unpack

from qwq_env.dialect.base import Message
from qwq_env.env import ToolEnv
from qwq_env.envs.puzzles import PuzzleTaskSet
from qwq_env.envs.reasoning_gym import ReasoningGymTaskSet, grade, reasoning_row
from qwq_env.errors import UsageError, brief
from qwq_env.grading.answer import SEARCH_WINDOW, find_last_box, last_boxed
from qwq_env.grading.score import Score
from qwq_env.options import EnvironmentOptions
from qwq_env.rubric import Component, FinalTurn, Rubric
from qwq_env.task import Task, TaskSet
from qwq_env.tasks.source import open_tasks
from qwq_env.tool import Tool
from qwq_env.tools import make_tools
from qwq_env.vector import vector_of

_OPEN: Final = "<answer>"
_CLOSE: Final = "</answer>"
_GYM: Final = "reasoning_gym"
_LATEX_TEXT = re.compile(r"\\(?:text|mathrm|textbf|texttt)\{([^{}]*)\}")
_LATEX_SIGN = re.compile(r"\\([{}_#%&$])")


class ReasoningEnv(ToolEnv):
    """Puzzles with exact answers; see the module for tasks and reward.

    `tasks` is `"puzzles"` (procedural, `difficulty` 1 to 3), `"reasoning_gym"`, alone or with names
    (`"reasoning_gym:maze,gcd"`), each of them with `split` `"train"` or `"heldout"`; a path to a
    JSONL file of reasoning-gym's rows, a Hugging Face dataset id with its `split`, or a `TaskSet`.
    Rows that cannot be graded are left out and told of; `strict` refuses the file instead. `tools`
    are names or `Tool`s.
    """

    def __init__(
        self,
        tasks: str | Path | TaskSet = "puzzles",
        tools: Sequence[str | Tool] = ("python",),
        *,
        difficulty: int = 1,
        split: str = "train",
        task_seed: int = 0,
        strict: bool = False,
        **options: Unpack[EnvironmentOptions],
    ) -> None:
        super().__init__(
            reasoning_tasks(
                tasks, difficulty=difficulty, split=split, seed=task_seed, strict=strict
            ),
            make_tools(tools),
            Rubric([Component("correct", correct)]),
            **options,
        )

    def phrase_answer(self, answer: str) -> str:
        """Return `answer` between the tags."""
        return f"{_OPEN}{answer}{_CLOSE}"

    def solve(self, task: Task) -> Sequence[Message]:
        """Return the turn that gives the task's answer."""
        content = self.phrase_answer(str(task.answer))
        return [{"role": "assistant", "reasoning_content": "I work it out.", "content": content}]


def reasoning_tasks(
    tasks: str | Path | TaskSet,
    *,
    difficulty: int = 1,
    split: str = "train",
    seed: int = 0,
    strict: bool = False,
) -> TaskSet:
    """Return the task set that `tasks` names; see `ReasoningEnv`."""
    if isinstance(tasks, str) and tasks.partition(":")[0] == _GYM:
        if difficulty != 1:
            raise UsageError(f"difficulty: {brief(difficulty)}; expected 1 with {_GYM}")
        names = [name.strip() for name in tasks.partition(":")[2].split(",") if name.strip()]
        return ReasoningGymTaskSet(names, seed=seed, split=split)
    made = {
        "puzzles": lambda: PuzzleTaskSet(seed=seed, difficulty=difficulty, split=split),
        # Named in errors; it is taken above.
        _GYM: lambda: ReasoningGymTaskSet(seed=seed, split=split),
    }
    return open_tasks(tasks, made, reader=reasoning_row, split=split, strict=strict)


async def correct(final: FinalTurn) -> Score:
    """Pay 1.0 for the right answer. Module-level, so that environments can be pickled."""
    answer = given_answer(final.answer)
    if answer is None:
        return Score.wrong("no_answer")
    return (await grade(final.task, answer)).of(answer)


def given_answer(text: str) -> str | None:
    """Return what the last pair of answer tags or the last box holds, whichever ends later.

    None if there is neither, or nothing in it.
    """
    text = text[-SEARCH_WINDOW:]
    box = find_last_box(text)
    end = text.rfind(_CLOSE)
    start = text.rfind(_OPEN, 0, max(end, 0))
    if start >= 0 and (box is None or box.end < end + len(_CLOSE)):
        content = text[start + len(_OPEN) : end]
        inner = last_boxed(content)
        return inner or content.strip() or None
    if box is None or not box.content:
        return None
    return _LATEX_SIGN.sub(r"\1", _LATEX_TEXT.sub(r"\1", box.content)).strip() or None


make_vector = vector_of(ReasoningEnv)
