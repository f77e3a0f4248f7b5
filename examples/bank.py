"""Tools that share a state, and a reward for how it ends: `python examples/bank.py`."""

import gymnasium

from qwq_env.env import ToolEnv
from qwq_env.errors import ToolError
from qwq_env.rubric import Component, FinalTurn, Rubric
from qwq_env.task import ListTaskSet, Task
from qwq_env.tool_set import ToolSet


class Bank(ToolSet):
    """The accounts of one episode."""

    blocking = False  # its methods return at once
    replay = "rerun"  # and change nothing else: a run that was killed may call them again

    def start(self, task: Task) -> None:
        self.accounts = dict(task.metadata["accounts"])

    def balance(self, owner: str) -> int:
        """Look up how much money an account holds."""
        if owner not in self.accounts:
            raise ToolError(f"no account of {owner!r}")
        return self.accounts[owner]

    def transfer(self, source: str, target: str, amount: int) -> str:
        """Move money from one account to another."""
        if not 0 < amount <= self.balance(source):
            raise ToolError(f"{source} holds {self.accounts[source]}")
        self.accounts[target] = self.balance(target) + amount
        self.accounts[source] -= amount
        return "done"

    def state(self) -> dict[str, int]:
        return self.accounts


def right_state(final: FinalTurn) -> float:
    """Pay if the money is where it should be."""
    return float(final.state["Bank"] == final.task.answer)


def make() -> ToolEnv:
    """Return the environment."""
    given = {"accounts": {"ann": 70, "eve": 0}}
    tasks = [
        Task(f"{n}", f"Give eve {n} of ann's money.", {"ann": 70 - n, "eve": n}, metadata=given)
        for n in range(1, 70)
    ]
    return ToolEnv(ListTaskSet(tasks), [Bank], Rubric([Component("state", right_state)]))


gymnasium.register("example/Bank-v0", entry_point=make, disable_env_checker=True)

if __name__ == "__main__":
    env = make()
    env.reset(options={"task_id": "30"})
    move = {"name": "transfer", "arguments": {"source": "ann", "target": "eve", "amount": 30}}
    env.step({"role": "assistant", "content": None, "tool_calls": [{"function": move}]})
    print("reward", env.step({"role": "assistant", "content": "Done."})[1])
