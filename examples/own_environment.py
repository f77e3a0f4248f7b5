"""A task set, a tool and a rubric of one's own make an environment; unit-test it with a script.

    python examples/own_environment.py

A registered id is all that training needs:

    PYTHONPATH=examples qwq train recipes/tiny.yaml grpo.episodes=8 \
        environment.id=own_environment:example/Capitals-v0
"""

from __future__ import annotations

import gymnasium

from qwq_env import (
    Component,
    FinalTurn,
    ListTaskSet,
    Rubric,
    Score,
    Task,
    ToolEnv,
    ToolError,
    tool,
)

CAPITALS = {"France": "Paris", "Peru": "Lima", "Kenya": "Nairobi"}


@tool
def capital(country: str) -> str:
    """Look up the capital of a country.

    Args:
        country: The country's name in English.
    """
    if country not in CAPITALS:
        raise ToolError(f"no country named {country!r}")
    return CAPITALS[country]


def right(final: FinalTurn) -> Score:
    """Pay for the capital and nothing else."""
    return Score.right() if final.answer == final.task.answer else Score.wrong()


def make() -> ToolEnv:
    """Return the environment."""
    tasks = [Task(name, f"What is the capital of {name}?", city) for name, city in CAPITALS.items()]
    return ToolEnv(ListTaskSet(tasks), [capital], Rubric([Component("right", right)]))


gymnasium.register("example/Capitals-v0", entry_point=make, disable_env_checker=True)


def main() -> None:
    """Ask for a capital with a mistake, then rightly, then answer."""
    env = make()
    env.reset(options={"task_id": "Peru"})
    call = '<tool_call>\n{{"name": "capital", "arguments": {{"country": "{}"}}}}\n</tool_call>'
    for turn in (call.format("peru"), call.format("Peru"), "Lima"):
        _, reward, terminated, _, info = env.step(f"hm\n</think>\n\n{turn}<|im_end|>")
        print(info["results"] or f"reward {reward}, ended {terminated}")


if __name__ == "__main__":
    main()
