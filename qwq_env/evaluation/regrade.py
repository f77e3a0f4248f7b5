"""Two graders on the same stored episodes: where they differ, and whether that is chance.

A rubric is named `stored` (what was paid), `environment` (its own rubric, as it is now), as
something that is judged in it (`accuracy`, `qwq_judge`, `loose`), or `MODULE:FUNCTION`, a reward
function of one's own. It gets the final answer and the turns as they are stored. What calls got and
how the state of tools ended is not: a rubric that looks there leaves such episodes undecided, with
the reason `not_stored`.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from qwq_env import portal
from qwq_env.dialect.base import Dialect
from qwq_env.env import ToolEnv
from qwq_env.errors import EpisodeError, UsageError, brief, unknown
from qwq_env.evaluation.comparison import read_settings
from qwq_env.evaluation.request import EvaluationRequest
from qwq_env.evaluation.statistics import (
    Difference,
    Mean,
    clustered_mean,
    mcnemar,
    paired_difference,
)
from qwq_env.grading.score import Score
from qwq_env.imports import named
from qwq_env.messages import read_assistant
from qwq_env.rollout.store import read_episodes
from qwq_env.rubric import Component, FinalTurn, Rubric
from qwq_env.trajectory import Trajectory
from qwq_env.turn import Turn

_AT_ONCE = 64

Judge = Callable[[Trajectory, FinalTurn], Awaitable[Score]]


class RegradedRow(NamedTuple):
    """An episode and what each rubric says of it."""

    task_id: str
    episode: str
    answer: str
    first: Score
    second: Score


class Regrading(NamedTuple):
    """What two rubrics, by their `names`, say of the same episodes.

    `rows` are those with an answer to judge, `lost` counts the others. `means` and `difference`
    (the second less the first, by task) are over the rows that both decided; `undecided` counts
    for each rubric those that it did not. `differing` are the rows with two different values or
    with one alone. `p_value` is McNemar's over rows that only one of them pays in full.
    """

    names: tuple[str, str]
    rows: Sequence[RegradedRow]
    lost: int
    undecided: tuple[int, int]
    means: tuple[Mean | None, Mean | None]
    difference: Difference | None
    differing: Sequence[RegradedRow]
    p_value: float


def regrade(folder: Path, first: str, second: str) -> Regrading:
    """Judge the episodes of an evaluation's folder by two rubrics.

    Raises `UsageError` for a folder that is none, and for rubrics that are not known.
    """
    env = _environment(read_settings(folder))
    judges = [_judge(env, name) for name in (first, second)]
    # Of several rows of an episode the last one counts, as when a run goes on.
    episodes = {t.episode: t for t in read_episodes(folder / "episodes.jsonl")}
    kept = [t for t in episodes.values() if not t.outcome.failed or t.outcome.reason == "undecided"]
    rows = portal.run(_rows(env, kept, judges))
    return _told((first, second), rows, len(episodes) - len(kept))


def _told(names: tuple[str, str], rows: Sequence[RegradedRow], lost: int) -> Regrading:
    pairs: list[tuple[str, float, float]] = [
        (row.task_id, row.first.value, row.second.value)
        for row in rows
        if row.first.value is not None and row.second.value is not None
    ]
    sides: list[Mapping[str, list[float]]] = []
    for side in (1, 2):
        by_task: defaultdict[str, list[float]] = defaultdict(list)
        for pair in pairs:
            by_task[pair[0]].append(float(pair[side]))
        sides.append(by_task)
    tasks = [task for task, _, _ in pairs]
    return Regrading(
        names=names,
        rows=rows,
        lost=lost,
        undecided=(
            sum(row.first.value is None for row in rows),
            sum(row.second.value is None for row in rows),
        ),
        means=(
            clustered_mean([a for _, a, _ in pairs], tasks),
            clustered_mean([b for _, _, b in pairs], tasks),
        ),
        difference=paired_difference(*sides),
        differing=[row for row in rows if row.first.value != row.second.value],
        p_value=mcnemar(
            sum(a == 1.0 != b for _, a, b in pairs), sum(b == 1.0 != a for _, a, b in pairs)
        ),
    )


async def _rows(
    env: ToolEnv, episodes: Sequence[Trajectory], judges: Sequence[Judge]
) -> list[RegradedRow]:
    slots = asyncio.Semaphore(_AT_ONCE)

    async def row(trajectory: Trajectory) -> RegradedRow:
        final = _final(env, trajectory)
        async with slots:
            first, second = [await judge(trajectory, final) for judge in judges]
        return RegradedRow(trajectory.task_id, trajectory.episode, final.answer, first, second)

    return list(await asyncio.gather(*map(row, episodes)))


def _final(env: ToolEnv, trajectory: Trajectory) -> FinalTurn:
    try:
        task = env.tasks.find(trajectory.task_id)
    except KeyError:
        name = brief(trajectory.task_id)
        raise UsageError(f"run: task {name} is not in the environment's set any more") from None
    missing: Any = _NotStored()
    results = missing if trajectory.tool_calls else ()
    turns = _turns(env.settings.dialect, trajectory)
    return FinalTurn(task, trajectory.answer, missing if turns is None else turns, results, missing)


def _turns(dialect: Dialect, trajectory: Trajectory) -> tuple[Turn, ...] | None:
    """Return the turns of a stored episode, None where they are not all there."""
    if trajectory.messages:
        said = [each for each in trajectory.messages if each.get("role") == "assistant"]
        turns = [read_assistant(each, dialect) for each in said[-trajectory.turns :]]
    else:
        written = (block.text for block in trajectory.transcript if block.by == "model")
        turns = [*map(dialect.parse, written)]
    if turns and len(turns) == trajectory.turns:
        return tuple(turns)
    answer, alone = trajectory.answer, trajectory.turns <= 1 and not trajectory.tool_calls
    return (Turn(answer, "", answer, closed=True),) if alone else None


class _Missing(EpisodeError):
    """A rubric asked for what is not stored of an episode."""


class _NotStored:
    """Stands for what is not stored, whatever it is; who looks at it is told so.

    Empty in its place, it would be judged: no call failed, nothing was left in the accounts.
    """

    def _refuse(self, *_given: object) -> Any:
        raise _Missing("it looks at what is not stored: calls, what they got, the state of tools")

    __getattr__ = __getitem__ = __iter__ = __len__ = __contains__ = __bool__ = __eq__ = _refuse


def _judge(env: ToolEnv, name: str) -> Judge:
    rubric = env.settings.rubric
    parts = {part.name: part for part in (*rubric.components, *rubric.gates)}
    if name == "stored":
        return _stored
    if name == "environment":
        return _by_rubric(rubric)
    if name in parts:
        return _by_rubric(Rubric([Component(name, parts[name].function)]))
    if ":" not in name:
        raise unknown("rubric", name, ("stored", "environment", *parts, "MODULE:FUNCTION"))
    found = named(name, "rubric")
    if inspect.isclass(found):
        found = found()
    return _by_rubric(Rubric([Component(name, found)]))


async def _stored(trajectory: Trajectory, final: FinalTurn) -> Score:
    if trajectory.reward is None:
        return Score.undecided("undecided", trajectory.outcome.detail)
    return Score.partial(trajectory.reward, "stored")


def _by_rubric(rubric: Rubric) -> Judge:
    async def judge(trajectory: Trajectory, final: FinalTurn) -> Score:
        if trajectory.outcome.truncated:
            return Score.wrong("truncated", trajectory.outcome.reason)
        try:
            reward = await rubric.grade(final)
        except _Missing as error:
            return Score.undecided("not_stored", str(error))
        reasons = ", ".join(dict.fromkeys(score.reason for score in reward.scores.values()))
        if reward.value is None:
            return Score.undecided(reasons)
        return Score.partial(reward.value, reasons)

    return judge


def _environment(settings: Mapping[str, Any]) -> ToolEnv:
    """Make the environment of an evaluation; where its policy was does not matter any more."""
    known = {each.name for each in fields(EvaluationRequest)}
    given = {name: value for name, value in settings.items() if name in known}
    if isinstance(given.get("tools"), list):
        given["tools"] = tuple(given["tools"])
    no_policy = ("answers", "checkpoint", "thinking_tokens", "forced_answer", "extra")
    try:
        request = EvaluationRequest(**{**given, **dict.fromkeys(no_policy), "policy": "answers"})
    except TypeError as error:
        raise UsageError(f"run: its settings are not those of an evaluation: {error}") from None
    return request.make_environment(request.load_data())
