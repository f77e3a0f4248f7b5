"""Episodes in which every token tells whose it is: the tasks, and what is written in them.

A task's id holds all that its episode needs: a number of its own, how many turns call the tool,
how long the server takes, and whether it refuses. The policy writes the id over and over, as often
as the request's seed says; the tool echoes it. So both the server that writes an episode and the
rank that checks it know every token of it without asking each other.
"""

from __future__ import annotations

import random
import re
from typing import NamedTuple

from qwq_env.env import ToolEnv
from qwq_env.rubric import Component, FinalTurn, Rubric
from qwq_env.task import Task, TaskSet
from qwq_env.tool import tool

GROUP = 2
PROMPTS = 4
"""Prompts of a rank in one trial, each `GROUP` times."""

_ID = re.compile(r"k(\d+)-(\d)-(\d+)-([01])\b")
_REFUSED = 0.03


class Plan(NamedTuple):
    """What happens in an episode: `calls` turns that call the tool, each after `delay` ms."""

    number: int
    calls: int
    delay: int
    refused: bool

    @property
    def id(self) -> str:
        """The task's id, which holds the plan."""
        return f"k{self.number}-{self.calls}-{self.delay}-{int(self.refused)}"

    @property
    def logprob(self) -> float:
        """The log-probability of each of its tokens, its own too."""
        return -(self.number + 1) / 4096

    @property
    def reward(self) -> float:
        """What the episode is paid, exact in single precision."""
        return 1 + self.number / 4096

    def turn(self, number: int, seed: int) -> str:
        """Return turn `number` (from 0) as the policy writes it."""
        thinking = f"{self.id} " * (1 + seed % 7)
        if number == self.calls:
            return f"{thinking}</think>\n\n{self.id}<|im_end|>"
        call = f'{{"name": "echo", "arguments": {{"word": "{self.id}"}}}}'
        return f"{thinking}</think>\n\n<tool_call>\n{call}\n</tool_call><|im_end|>"


def read_plan(text: str) -> Plan:
    """Return the plan of the first id in `text`."""
    found = _ID.search(text)
    assert found is not None, text[:200]
    number, calls, delay, refused = map(int, found.groups())
    return Plan(number, calls, delay, bool(refused))


def ids_in(text: str) -> set[str]:
    """Return all the ids in `text`."""
    return {found[0] for found in _ID.finditer(text)}


def draw_plans(trial: int, rank: int, world: int) -> list[Plan]:
    """Return a rank's plans for a trial: one rank has long episodes, the others short ones."""
    slow = random.Random(trial).randrange(world)
    generator = random.Random(trial * 1009 + rank + 1)
    plans = []
    for index in range(PROMPTS):
        number = (trial * world + rank) * PROMPTS + index
        calls = generator.randint(2, 5) if rank == slow else generator.choice([0, 0, 0, 1, 2])
        refused = generator.random() < _REFUSED
        plans.append(Plan(number, calls, generator.randint(0, 20), refused))
    return plans


class PlannedTasks(TaskSet):
    """The tasks of all plans: an id is enough to make one."""

    size = None

    def task(self, index: int) -> Task:
        """Return the task of a plan without calls."""
        return self.find(Plan(index, 0, 0, False).id)

    def find(self, task_id: str) -> Task:
        """Return the task with that id."""
        return Task(task_id, f"Say {task_id}.", task_id)


@tool(blocking=False)
def echo(word: str) -> str:
    """Say a word again.

    Args:
        word: The word.
    """
    return f"{word} {word}"


def environment() -> ToolEnv:
    """Return the environment of the planned tasks."""
    return ToolEnv(PlannedTasks(), [echo], Rubric([Component("own", _own)]))


def _own(final: FinalTurn) -> float:
    return read_plan(final.task.id).reward if final.answer == final.task.answer else 0.0
