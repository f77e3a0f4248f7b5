"""Tools that share a state, a reward for how it ends, a customer who asks twice.

python examples/bank.py
PYTHONPATH=examples qwq check grader bank:example/Bank-v0
PYTHONPATH=examples qwq train recipes/tiny-bank.yaml
"""

import random
from collections.abc import Sequence
from typing import Any

import gymnasium

import qwq_env as qwq

NAMES = ("ann", "bob", "cid", "dot", "eve", "fay", "gus", "ida", "jon", "kim")


class Bank(qwq.ToolSet):
    """The accounts of one episode."""

    blocking = False  # its methods return at once
    replay = "rerun"  # they change nothing but this set, so a killed run may go on by running them

    def start(self, task: qwq.Task) -> None:
        self.accounts: dict[str, int] = dict(task.metadata["accounts"])

    def balance(self, owner: str) -> int:
        """Look up how much money an account holds."""
        if owner not in self.accounts:
            raise qwq.ToolError(f"no account of {owner!r}")
        return self.accounts[owner]

    def transfer(self, source: str, target: str, amount: int) -> str:
        """Move money from one account to another."""
        if not 0 < amount <= self.balance(source):
            raise qwq.ToolError(f"{source} holds {self.accounts[source]}")
        self.accounts[target] = self.balance(target) + amount
        self.accounts[source] -= amount
        return "done"

    def state(self) -> dict[str, int]:
        return self.accounts


def right_state(final: qwq.FinalTurn) -> float:
    """Pay if the money is where it should be."""
    return float(final.state["Bank"] == final.task.answer)


class BankEnv(qwq.ToolEnv):
    """A customer has `requests` transfers done, the second asked for when the first is answered."""

    def __init__(self, requests: int = 1, render_mode: str | None = None) -> None:
        tasks = qwq.ListTaskSet([make_task(number, requests) for number in range(2000)])
        rubric = qwq.Rubric([qwq.Component("state", right_state)])
        super().__init__(tasks, [Bank], rubric, render_mode=render_mode)

    def reply(self, episode: qwq.Episode) -> str | None:
        asked = sum(message["role"] == "user" for message in episode.said)
        wishes = episode.task.metadata["wishes"]
        return words(*wishes[asked + 1]) if asked + 1 < len(wishes) else None

    def solve(self, task: qwq.Task) -> Sequence[Any]:
        moves: list[dict[str, Any]] = []
        for source, target, amount in task.metadata["wishes"]:
            arguments = {"source": source, "target": target, "amount": amount}
            call = {"function": {"name": "transfer", "arguments": arguments}}
            moves += [
                {"role": "assistant", "tool_calls": [call]},
                {"role": "assistant", "content": "Done."},
            ]
        return moves


def make_task(number: int, requests: int) -> qwq.Task:
    """Return the task of that number: who holds what, what is asked, how it should end."""
    draws = random.Random(number)
    accounts = {name: draws.randint(100, 999) for name in NAMES}
    end, wishes = dict(accounts), []
    for _ in range(requests):
        source, target = draws.sample(NAMES, 2)
        amount = draws.randint(1, 99)
        end[source], end[target] = end[source] - amount, end[target] + amount
        wishes.append((source, target, amount))
    told = {"accounts": accounts, "wishes": wishes}
    return qwq.Task(f"{requests}/{number}", words(*wishes[0]), end, metadata=told)


def words(source: str, target: str, amount: int) -> str:
    return f"Move {amount} from {source} to {target}."


gymnasium.register("example/Bank-v0", entry_point=BankEnv, disable_env_checker=True)
gymnasium.register(
    "example/BankDesk-v0", entry_point=BankEnv, kwargs={"requests": 2}, disable_env_checker=True
)

if __name__ == "__main__":
    env = BankEnv()
    env.reset(options={"index": 30})
    for move in env.solve(env.tasks.task(30)):
        _, reward, *_ = env.step(move)
    print("reward", reward)
