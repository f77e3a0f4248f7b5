"""`own/TemplateEnv-v0`: put on a shelf what is missing.

**Task.** A shelf should hold a number of cups, and holds too few.
**Tools.** `count` and `add`, which share the shelf of their episode.
**Reward.** 1.0 if the shelf holds at the end what it should, else 0.0.
**An episode.** "There should be 12 cups." count() → 5, add(7) → done, "That is all."
"""

import gymnasium

import qwq_env as qwq


class Shelf(qwq.ToolSet):
    """The shelf of one episode; its other public methods are the tools."""

    blocking = False  # they return at once,
    replay = "rerun"  # and change nothing but this set

    def start(self, task: qwq.Task) -> None:
        self.cups: int = task.metadata["cups"]

    def count(self) -> int:
        """Count the cups on the shelf."""
        return self.cups

    def add(self, number: int) -> str:
        """Put more cups on the shelf."""
        if number < 1:
            raise qwq.ToolError(f"number: {number}; expected 1 or more")
        self.cups += number
        return "done"

    def state(self) -> int:  # what the reward sees of the end
        return self.cups


def full(final: qwq.FinalTurn) -> float:
    return float(final.state["Shelf"] == final.task.answer)


class TemplateEnv(qwq.ToolEnv):
    def __init__(self, render_mode: str | None = None) -> None:
        asked = "There should be {} cups on the shelf. Put there what is missing."
        tasks = []
        for cups in range(1, 101):
            want, told = 2 * cups + 3, {"cups": cups}
            tasks.append(qwq.Task(str(cups), asked.format(want), want, metadata=told))
        made, rubric = qwq.ListTaskSet(tasks), qwq.Rubric([qwq.Component("full", full)])
        super().__init__(made, [Shelf], rubric, render_mode=render_mode)

    def solve(self, task: qwq.Task) -> list[dict[str, object]]:
        number = task.answer - task.metadata["cups"]
        call = {"function": {"name": "add", "arguments": {"number": number}}}
        last: dict[str, object] = {"role": "assistant", "content": "That is all."}
        return [{"role": "assistant", "tool_calls": [call]}, last]


MADE_BY = f"{__name__}:TemplateEnv"
gymnasium.register("own/TemplateEnv-v0", entry_point=MADE_BY)
