"""One environment, one policy that is written down, and what both come to by our own engine.

Every door is held to it: those that carry ids to the ids, those that carry messages to these.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import gymnasium

from qwq_env.chat_model import ChatModel, ChatReply
from qwq_env.env import ToolEnv
from qwq_env.errors import InfrastructureError
from qwq_env.outcome import EpisodeLimits
from qwq_env.rollout.engine import Assignment, Engine, EngineSettings
from qwq_env.rollout.scripted import ScriptedPolicy
from qwq_env.rubric import Component, FinalTurn, Rubric
from qwq_env.task import ListTaskSet, Task
from qwq_env.tool import ToolError, tool
from qwq_env.tool_set import ToolSet
from qwq_env.trajectory import Trajectory
from qwq_env.turn import ToolCall


class Tally(ToolSet):
    """Counts up from where the task says."""

    blocking = False

    def start(self, task: Task) -> None:
        self.count = task.metadata["from"]

    def add(self, by: int) -> str:
        """Count up.

        Args:
            by: How far.
        """
        if by > 9:
            raise ToolError("at most 9")
        self.count += by
        return f"{self.count}, seed {self.episode_seed}"

    def state(self) -> int:
        return self.count


@tool(blocking=False)
def look(where: str = "here") -> str:
    """Look around.

    Args:
        where: At what.
    """
    if where == "machinery":
        raise InfrastructureError("the machinery is gone")
    return f"nothing {where}"


def right(final: FinalTurn) -> float:
    return 0.5 * (final.state["Tally"] == final.task.answer) + 0.5 * (final.answer == "Done.")


class ParityEnv(ToolEnv):
    """Add 2 to a number, and say so."""

    def __init__(
        self, render_mode: str | None = None, *, tools: Sequence[Any] = (),
        rubric: Rubric | None = None,
    ) -> None:  # fmt: skip
        tasks = [
            Task(f"t{n}", f"Add 2 to {n}.", n + 2, metadata={"from": n})
            for n in range(len(SCRIPTS))
        ]
        super().__init__(
            ListTaskSet(tasks), tools or [Tally, look],
            rubric or Rubric([Component("right", right)]),
            limits=EpisodeLimits(turns=3), render_mode=render_mode,
        )  # fmt: skip


class Said(NamedTuple):
    """A turn: its thinking, its words, and its calls."""

    words: str = ""
    calls: tuple[tuple[str, dict[str, Any]], ...] = ()
    thinking: str = ""

    @property
    def text(self) -> str:
        """As the dialect `qwq` writes it, from within the thinking that its prompt opens."""
        calls = [
            "<tool_call>\n" + json.dumps({"name": name, "arguments": arguments}) + "\n</tool_call>"
            for name, arguments in self.calls
        ]
        head = f"{self.thinking}\n</think>\n\n" if self.thinking else "</think>\n\n"
        return head + "\n".join([*([self.words] if self.words else []), *calls]) + "<|im_end|>"

    def message(self, number: int) -> dict[str, Any]:
        """As a chat server would give it; `number` is the turn's."""
        made: dict[str, Any] = {"role": "assistant", "content": self.words}
        if self.thinking:
            made["reasoning_content"] = self.thinking
        if self.calls:
            made["tool_calls"] = [
                {
                    "id": f"call{number}{place}",
                    "type": "function",
                    "function": {"name": name, "arguments": json.dumps(arguments)},
                }
                for place, (name, arguments) in enumerate(self.calls)
            ]
        return made


ADD = ("add", {"by": 2})
DONE = Said("Done.", thinking="I am done.")
SCRIPTS: dict[str, tuple[Said, ...]] = {
    "right": (Said(calls=(ADD,), thinking="I add."), DONE),
    "two calls": (Said("So:", (("add", {"by": 1}), ("add", {"by": 1}))), DONE),
    "two tools": (Said(calls=(("look", {}), ADD, ("look", {"where": "up"}))), Said("Done!")),
    "at once": (DONE,),
    "tool error": (Said(calls=(("add", {"by": 99}),)), DONE),
    "bad arguments": (Said(calls=(("add", {"by": "much"}),)), DONE),
    "no such tool": (Said(calls=(("subtract", {"by": 1}),)), DONE),
    "turns": (Said(calls=(ADD,)), Said(calls=(("look", {}),)), Said(calls=(ADD,))),
    "lost": (Said(calls=(("look", {"where": "machinery"}),)), DONE),
}
"""What the policy says in each task, the n-th script in the n-th."""

ENV_ID = "parity/Parity-v0"
if ENV_ID not in gymnasium.registry:
    gymnasium.register(ENV_ID, entry_point=ParityEnv, disable_env_checker=True)


class Came(NamedTuple):
    """What an episode came to, where messages are carried."""

    messages: list[tuple[Any, ...]]
    reward: float | None
    outcome: tuple[str, str]


class ScriptedChat(ChatModel):
    """Says the turns of a script, one after the other."""

    def __init__(self, script: Sequence[Said]) -> None:
        self._script = script

    async def reply(self, messages: Any, tools: Any, **settings: Any) -> ChatReply:
        number = sum(message["role"] == "assistant" for message in messages)
        said = self._script[number]
        native = tuple(said.message(number).get("tool_calls", ()))
        requests = tuple(ToolCall(name, arguments) for name, arguments in said.calls)
        return ChatReply(said.thinking, said.words, requests, native)


async def by_ids(codec: Any, number: int, seed: int, env: ToolEnv | None = None) -> Trajectory:
    """The engine's own episode of a task, on tokens."""
    env = env or ParityEnv()
    turns = [said.text for said in list(SCRIPTS.values())[number]]
    engine = Engine(env, ScriptedPolicy(codec, turns), codec, settings=EngineSettings(attempts=1))
    [played] = await engine.run([Assignment(env.tasks.task(number), f"e{number}", seed)])
    return played


async def by_messages(number: int, seed: int) -> Came:
    """The engine's own episode of a task, on messages."""
    env = ParityEnv()
    chat = ScriptedChat(list(SCRIPTS.values())[number])
    engine = Engine(env, chat, settings=EngineSettings(attempts=1))
    [played] = await engine.run([Assignment(env.tasks.task(number), f"e{number}", seed)])
    return Came(told(played.messages), played.reward, kind_of(played.outcome.to_json()))


def kind_of(outcome: Mapping[str, str]) -> tuple[str, str]:
    return outcome["kind"], outcome["reason"]


def told(messages: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    """Return messages in one form: whatever spelling of calls and ids a door has."""
    return [_told(message) for message in messages]


def _told(message: Mapping[str, Any]) -> tuple[Any, ...]:
    calls = []
    for call in message.get("tool_calls") or ():
        function = call.get("function", call)
        arguments = function["arguments"]
        calls.append(
            (function["name"], json.loads(arguments) if isinstance(arguments, str) else arguments)
        )
    thinking = message.get("reasoning_content") or ""
    return message["role"], thinking, message.get("content") or "", *calls


async def run_snippet(module: ModuleType, names: dict[str, Any], *changes: str) -> None:
    """Run what a module's docstring shows, as a notebook would, in and into `names`.

    `changes` are words there and what stands for them here, by turns: an address, a number.
    """
    [code] = re.findall(r"^```python\n(.*?)^```", module.__doc__ or "", re.M | re.S)
    for old, new in zip(changes[::2], changes[1::2], strict=True):
        assert old in code
        code = code.replace(old, new)
    flag = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    compiled = compile(code, module.__name__, "exec", flag, dont_inherit=True)
    if inspect.iscoroutine(running := eval(compiled, names)):
        await running
