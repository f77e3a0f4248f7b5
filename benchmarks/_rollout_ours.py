"""Our side of the calculator task, asked over a pipe.

python benchmarks/_rollout_ours.py URL CONCURRENCY
"""

from __future__ import annotations

import sys

from _side import answer

from qwq_env.env import ToolEnv
from qwq_env.http.openai_chat import OpenAIChat
from qwq_env.rollout.engine import Assignment, Engine, EngineSettings
from qwq_env.rubric import Component, FinalTurn, Rubric
from qwq_env.task import ListTaskSet, Task
from qwq_env.tool import tool


@tool(blocking=False)
def calculator(expression: str) -> str:
    """Evaluate a sum of two whole numbers.

    Args:
        expression: The sum.
    """
    left, right = expression.split("+")
    return str(int(left) + int(right))


def correct(final: FinalTurn) -> float:
    """Look for the value in the last reply."""
    return float(f"\\boxed{{{final.task.answer}}}" in final.answer)


def main(url: str, concurrency: int) -> None:
    """Wait to be asked."""
    model = OpenAIChat(url, "instant", api_key_variable="INSTANT_KEY")
    settings = EngineSettings(concurrency=concurrency)

    async def play(asked: str) -> int:
        rollouts = int(asked)
        tasks = [Task(f"sum-{i}", f"What is {i}+7?", str(i + 7)) for i in range(rollouts)]
        env = ToolEnv(ListTaskSet(tasks), [calculator], Rubric([Component("correct", correct)]))
        engine = Engine(env, model, settings=settings)
        played = await engine.run([Assignment(task, task.id, 0) for task in tasks])
        return sum(trajectory.reward == 1.0 for trajectory in played)

    answer(play)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
