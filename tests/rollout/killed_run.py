"""A batch of stateful episodes with a journal: `python -m tests.rollout.killed_run FOLDER [KILL]`.

With a number, the process kills itself (SIGKILL) at that generation. Each effect outside the
episodes is a line of `effects.txt`.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import random
import re
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import tokenizers

from qwq_env.dialect.base import Piece
from qwq_env.dialect.codec import TokenCodec
from qwq_env.env import ToolEnv
from qwq_env.episode import Episode
from qwq_env.journal import Journal, call_id
from qwq_env.rollout.engine import Assignment, Engine
from qwq_env.rollout.policy import Generation, GenerationRequest, Policy
from qwq_env.rollout.store import EpisodeStore
from qwq_env.rubric import Component, FinalTurn, Rubric
from qwq_env.task import ListTaskSet, Task
from qwq_env.tool import Replay, Tool, ToolResult, tool
from qwq_env.tool_set import ToolSet
from qwq_env.trajectory import Trajectory
from tests.byte_tokenizer import CONTROL

TURNS = 5


def byte_codec() -> TokenCodec:
    """Return a codec of a token a byte, without the seconds that transformers takes to import."""
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    backend = tokenizers.Tokenizer(
        tokenizers.models.BPE({letter: i for i, letter in enumerate(letters)}, [])
    )
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    backend.add_special_tokens(list(CONTROL))
    ids = {"eos_token_id": backend.token_to_id("<|im_end|>"), "pad_token_id": 0}
    return TokenCodec(SimpleNamespace(backend_tokenizer=backend, **ids))


class Effects:
    """Outside effects, as lines of a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, line: str) -> None:
        with self.path.open("a") as file:
            file.write(f"{line}\n")

    def lines(self) -> list[str]:
        """Return them, in an order that has nothing to do with when they happened."""
        return sorted(self.path.read_text().splitlines()) if self.path.exists() else []


class Bank(ToolSet):
    """State within the episode: its calls are run again."""

    blocking = False
    replay: ClassVar[Replay] = "rerun"

    def start(self, task: Task) -> None:
        self.accounts = dict(task.metadata["accounts"])

    def move(self, amount: int) -> ToolResult:
        """Move money."""
        self.accounts["ann"] -= amount
        self.accounts["bob"] += amount
        return ToolResult(f"ann has {self.accounts['ann']}", {"moved": (amount, "bob")})

    def state(self) -> dict[str, int]:
        return self.accounts


class Orders(ToolSet):
    """State within the episode and effects outside of it: no call is run again."""

    blocking = False

    def __init__(self, effects: Effects) -> None:
        self._effects = effects
        self.placed: list[int] = []

    def order(self, amount: int) -> str:
        """Place an order."""
        self._effects(f"{self.episode_seed} order {len(self.placed)} {amount}")
        self.placed.append(amount)
        return f"order {len(self.placed)}"

    def state(self) -> list[int]:
        return self.placed

    def restore_state(self, state: list[int]) -> None:
        self.placed = list(state)


def mail_tool(effects: Effects) -> Tool:
    """Return a tool with an effect, and no state."""

    @tool(blocking=False)
    def mail(text: str) -> str:
        """Send a mail."""
        effects(f"mail {text}")
        return f"sent {text}"

    return mail


def pay_tool(effects: Effects) -> Tool:
    """Return a tool that may be killed at any time, and does nothing twice."""

    @tool(replay="idempotent")
    async def pay(amount: int) -> str:
        """Pay."""
        line = f"pay {call_id()}"
        await asyncio.sleep(0)
        if line not in effects.lines():
            effects(line)
        await asyncio.sleep(0)
        return f"paid {amount}"

    return pay


class Shop(ToolEnv):
    """Its user asks twice for more."""

    def reply(self, episode: Episode) -> str | None:
        said = sum(message["role"] == "user" for message in episode.said)
        return "Go on." if said < 2 else None


def worth(final: FinalTurn) -> float:
    """Pay by all that a reward can see."""
    seen = [final.answer, *[result.metadata for result in final.results], final.state]
    return float(len(json.dumps(seen)))


def shop(effects: Effects, *tools: Any) -> ToolEnv:
    """Return the environment."""
    accounts = {"accounts": {"ann": 99, "bob": 0}}
    tasks = ListTaskSet([Task(f"t{i}", f"Serve {i}.", i, metadata=accounts) for i in range(8)])
    given = [Bank, functools.partial(Orders, effects), mail_tool(effects), pay_tool(effects)]
    return Shop(tasks, tools or given, Rubric([Component("worth", worth)]))


class Drawn(Policy):
    """Draws its turns by the request's seed; `before` is called with the number of each."""

    def __init__(self, codec: TokenCodec, before: Any = lambda number: None) -> None:
        self._codec, self._before, self.asked = codec, before, 0

    async def generate(self, request: GenerationRequest) -> Generation:
        self.asked += 1
        self._before(self.asked)
        chance = random.Random(request.seed)
        for _ in range(chance.randrange(3)):
            await asyncio.sleep(0)
        episode, turn = divmod(request.seed, 1_000_003)
        text = "".join(_calls(chance, f"{episode}.{turn}")) if turn < TURNS else "Done."
        piece = Piece(f"Hm {chance.random()}.</think>{text}<|im_end|>", control=True)
        ids = self._codec.encode_pieces([piece])
        return Generation(ids, [-chance.random() for _ in ids], "stop")


def _calls(chance: random.Random, name: str) -> list[str]:
    made = [
        ("move", {"amount": chance.randrange(9)}),
        ("order", {"amount": chance.randrange(9)}),
        ("mail", {"text": name}),
        ("pay", {"amount": chance.randrange(9)}),
        ("order", {"amount": chance.randrange(9)}),
        ("unknown", {}),
    ]
    chosen = sorted(chance.sample(range(len(made)), chance.randrange(4)))
    calls = [{"name": made[i][0], "arguments": made[i][1]} for i in chosen]
    return [f"<tool_call>{json.dumps(call)}</tool_call>" for call in calls] or ["Well?"]


def without_times(trajectory: Trajectory) -> str:
    """Return a trajectory as JSON, but for its wall times."""
    row = json.dumps({**trajectory.to_json(), "seconds": None})
    return re.sub(r'"seconds": [0-9.e-]+', '"seconds": 0', row)  # those of the calls


def main(folder: Path, kill: int = 0) -> list[str]:
    """Play a batch, or go on with it, and return what came of it, without wall times."""

    def before(number: int) -> None:
        if number == kill:
            os.kill(os.getpid(), signal.SIGKILL)

    codec = byte_codec()
    env = shop(Effects(folder / "effects.txt"))
    assignments = [Assignment(env.tasks.task(i), f"e{i}", i) for i in range(8)]
    journaled = Journal(folder / "journal.jsonl")
    with journaled as journal, EpisodeStore(folder / "episodes.jsonl") as store:
        engine = Engine(env, Drawn(codec, before), codec, journal=journal)
        run = engine.run(assignments, store.append, played=store.played())
        return [without_times(trajectory) for trajectory in asyncio.run(run)]


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
