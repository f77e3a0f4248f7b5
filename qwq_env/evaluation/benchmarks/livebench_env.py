"""LiveBench's questions as an environment. It has no id in the library: see `livebench`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

import gymnasium as gym

from qwq_env.env import ToolEnv
from qwq_env.errors import UsageError, brief
from qwq_env.grading.livebench import JUDGES, LiveBenchGrader, read_questions
from qwq_env.grading.score import Score
from qwq_env.options import EnvironmentOptions
from qwq_env.rubric import Component, FinalTurn, Rubric
from qwq_env.task import ListTaskSet, Task, TaskSet
from qwq_env.tool import Tool
from qwq_env.tools import make_tools

_ID = "evaluation/LiveBench-v0"


class LiveBenchEnv(ToolEnv):
    """A question in one turn, paid what LiveBench's own judge gives it, from 0 to 1.

    `tasks` are files or folders of questions as published, or a `TaskSet`. Those are asked that
    are part of the `release` (`YYYY-MM-DD`); without one, all. Questions of several turns, and of
    tasks without a judge, are refused. Raises `UsageError` where none is left.
    """

    def __init__(
        self,
        tasks: str | Path | Sequence[Path] | TaskSet,
        tools: Sequence[str | Tool] = (),
        *,
        release: str | None = None,
        **options: Unpack[EnvironmentOptions],
    ) -> None:
        chosen = tasks if isinstance(tasks, TaskSet) else _tasks(tasks, release)
        rubric = Rubric([Component("livebench", LiveBenchScore())])
        super().__init__(chosen, make_tools(tools), rubric, **options)


class LiveBenchScore:
    """The score of the final answer by the question that the task's metadata hold.

    Its worker processes begin with the first answer, and are not pickled.
    """

    def __init__(self) -> None:
        self._grader: LiveBenchGrader | None = None
        self._questions: dict[str, Mapping[str, Any]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"_grader": None, "_questions": {}}

    async def __call__(self, final: FinalTurn) -> Score:
        """Score an answer."""
        if self._grader is None:
            self._grader = LiveBenchGrader(self._questions)
        question = final.task.metadata
        self._questions[question["question_id"]] = question
        return await self._grader.grade(question["question_id"], final.answer)


def _tasks(given: str | Path | Sequence[Path], release: str | None) -> ListTaskSet:
    places = [given] if isinstance(given, str | Path) else given
    questions = [each for place in places for each in read_questions(Path(place)).values()]
    for each in questions:
        name = each["category"], each["task"]
        if name not in JUDGES:
            raise UsageError(f"data: {'/'.join(map(str, name))} has no judge; known: {_KNOWN}")
    asked = [each for each in questions if release is None or _is_part(each, release)]
    for each in asked:
        if len(each["turns"]) != 1:
            turns, identity = len(each["turns"]), brief(each["question_id"])
            raise UsageError(f"data: question {identity} has {turns} turns; expected one")
    if not asked:
        raise UsageError(
            f"data: none of {len(questions)} questions is of the release {release}; expected some"
        )
    return ListTaskSet(
        [Task(e["question_id"], e["turns"][0], e.get("ground_truth"), metadata=e) for e in asked]
    )


_KNOWN = ", ".join("/".join(name) for name in JUDGES)


def _is_part(question: Mapping[str, Any], release: str) -> bool:
    """Say whether a question was out by the day of a release, and not yet taken back."""
    removed = question.get("livebench_removal_date") or ""
    return bool(question["livebench_release_date"] <= release and not "" < removed <= release)


if _ID not in gym.registry:
    gym.register(_ID, entry_point=f"{__name__}:LiveBenchEnv")
