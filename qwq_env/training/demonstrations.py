"""Transcripts of any environment that can solve its own tasks, for a cold start.

A policy learns the form of the calls, the answers and the replies from what `ToolEnv.solve` plays.
Most of it is played on another task's account, so that the form is right and the content is not:
reinforcement has to find out what pays. See `training/tiny/teacher.py` for the reasons.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Mapping, Sequence
from typing import Any

from qwq_env import portal
from qwq_env.dialect.base import Dialect, Message, Piece
from qwq_env.env import ToolEnv
from qwq_env.errors import UsageError, brief
from qwq_env.evaluation.cheats import only_printed
from qwq_env.task import Task
from qwq_env.training.transcript import Part, Transcript

_log = logging.getLogger(__name__)
_AT_A_TIME = 64
"""Episodes that are played side by side, for tools and graders take their time."""
_THOUGHT = "I know what to do.\n</think>\n\n"


class Demonstrations:
    """Plays the tasks of `env` as `ToolEnv.solve` says, a share `right` of them on their own.

    The others are played with the turns that solve another task of the set. Tools and users answer
    as in any episode. A task that the environment does not solve is played by saying its answer.
    """

    def __init__(self, env: ToolEnv, *, right: float = 0.35, seed: int = 0) -> None:
        """Raises `UsageError` for a dialect in which the calls of a message cannot be written."""
        if not 0 <= right <= 1:
            raise UsageError(f"cold_start.right: {brief(right)}; expected a number from 0 to 1")
        check_dialect(env)
        self._env = env
        self._right = right
        self._seed = seed
        self._told = False

    def transcripts(self, count: int, *, first: int = 0) -> list[Transcript]:
        """Play about `count` tasks from index `first` on; a finite set is gone over again."""

        async def play_all() -> list[Transcript]:
            found: list[Transcript] = []
            for start in range(first, first + count, _AT_A_TIME):
                several = range(start, min(start + _AT_A_TIME, first + count))
                found += await asyncio.gather(*map(self.play, several))
            return found

        return portal.run(play_all())

    async def play(self, index: int) -> Transcript:
        """Play one task: the same for the same seed and index."""
        chance = random.Random(f"{self._seed}/{index}")
        task = self._task(index)
        own = chance.random() < self._right
        shown = task if own else self._task(chance.randrange(1 << 20))
        episode = self._env.begin(task, seed=index)
        try:
            await episode.start()
            parts = [Part(tuple(episode.open()), "task")]
            for turn in self._turns(shown, episode.settings.dialect):
                parts.append(Part((Piece(turn, control=True),), "model"))
                step = await episode.step(turn)
                if step.outcome is not None:
                    break
                parts.append(Part(tuple(step.pieces), step.author))
            while parts[-1].author != "model":
                parts.pop()
            return Transcript(tuple(parts))
        finally:
            await episode.aclose()

    def _task(self, index: int) -> Task:
        size = self._env.tasks.size
        return self._env.tasks.task(index if size is None else index % size)

    def _turns(self, task: Task, dialect: Dialect) -> Sequence[str]:
        moves = self._env.solve(task)
        if not moves:
            self._tell(task)
            moves = [_THOUGHT + self._env.phrase_answer(str(task.answer))]
        return [written(move) + dialect.end_of_turn for move in moves]

    def _tell(self, task: Task) -> None:
        """Say once that a task which has tools is shown without them."""
        if not self._told and only_printed(self._env, task):
            self._told = True
            _log.warning(
                "cold start: %s.solve has no turns for task %s: it, and others like it, are shown"
                " as printed answers, from which no policy learns to call a tool",
                type(self._env).__name__,
                brief(task.id),
            )


def check_dialect(env: ToolEnv) -> None:
    """Raise `UsageError` for a dialect in which the calls of a message cannot be written."""
    if not env.settings.dialect.parse(written(_EXAMPLE)).requests:
        name = env.settings.dialect.name
        raise UsageError(f"dialect: {name}; expected qwq's for a cold start from `solve` or a file")


def written(move: str | Message) -> str:
    """Return a turn as a model of QwQ's kind writes it, without its end."""
    if isinstance(move, str):
        return move
    content = move.get("content") or ""
    thought = move.get("reasoning_content")
    head = f"{thought}\n</think>\n\n" if thought else "" if "</think>" in content else _THOUGHT
    calls = [_call(call["function"]) for call in move.get("tool_calls") or ()]
    return head + "\n".join([content, *calls] if content else calls)


def _call(function: Mapping[str, Any]) -> str:
    arguments = function["arguments"]
    if isinstance(arguments, str):
        arguments = json.loads(arguments)
    call = json.dumps({"name": function["name"], "arguments": arguments}, ensure_ascii=False)
    return f"<tool_call>\n{call}\n</tool_call>"


_EXAMPLE: Message = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"function": {"name": "look", "arguments": {"at": 1}}}],
}
