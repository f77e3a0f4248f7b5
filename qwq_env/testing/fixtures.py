"""What the fixtures of the pytest plugin give: a toolbox, a player, a scripted policy.

The plugin itself (`qwq_env_pytest`) imports this when a fixture is first asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from qwq_env import portal
from qwq_env.checked_tools import ToolLike
from qwq_env.dialect import Dialect, make_dialect
from qwq_env.env import ToolEnv
from qwq_env.errors import UsageError, brief
from qwq_env.rollout.scripted import ScriptedPolicy
from qwq_env.task import Task
from qwq_env.testing.byte_codec import ByteCodec
from qwq_env.testing.moves import Move, message_of, text_in
from qwq_env.toolbox import Toolbox, ToolLimits
from qwq_env.turn import CallResult, ToolCall


class EpisodeTools:
    """The tools of one episode, called as a model calls them, without `async`."""

    def __init__(self, box: Toolbox) -> None:
        self.box = box

    def call(self, name: str, **arguments: Any) -> CallResult:
        """Make one call and return what it got."""
        return self.calls(ToolCall(name, arguments))[0]

    def calls(self, *calls: ToolCall) -> list[CallResult]:
        """Make the calls of one turn, side by side."""
        return portal.run(self.box.run(calls))

    def state(self) -> Mapping[str, Any]:
        """Return what each tool set says of its state."""
        return portal.run(self.box.state())


class Toolboxes:
    """Makes toolboxes, and closes them all at the end."""

    def __init__(self) -> None:
        self._boxes: list[Toolbox] = []

    def __call__(
        self,
        *tools: ToolLike,
        task: Task = Task("", "", None),  # noqa: B008 - frozen
        seed: int = 0,
        limits: ToolLimits | None = None,
    ) -> EpisodeTools:
        """Return the tools of a new episode of `task`, started."""
        box = Toolbox(tools, task=task, seed=seed, limits=limits)
        self._boxes.append(box)
        portal.run(box.start())
        return EpisodeTools(box)

    def close(self) -> None:
        """Close them."""
        for box in self._boxes:
            portal.run(box.aclose())


@contextmanager
def toolboxes() -> Iterator[Toolboxes]:
    """Give a maker of toolboxes."""
    made = Toolboxes()
    try:
        yield made
    finally:
        made.close()


class Played(NamedTuple):
    """How an episode went: all its messages, what its calls got, and its end.

    `outcome` is the reason (`answered`, `turns`, ...), "" for an episode that goes on; `reward` is
    NaN for one that was lost. `info` is that of the last step.
    """

    messages: list[Mapping[str, Any]]
    results: list[Mapping[str, Any]]
    reward: float
    outcome: str
    answer: str
    info: Mapping[str, Any]


def play(env: ToolEnv, moves: Sequence[Move], *, seed: int = 0, **options: Any) -> Played:
    """Play `moves` in an episode: texts that are said, `ToolCall`s, or assistant messages.

    `options` are those of `ToolEnv.reset`: task=, task_id= or index=. What stands behind the end of
    the episode is not played.
    """
    if isinstance(moves, str | ToolCall):
        raise UsageError(f"moves: {brief(moves)} alone; expected a list of them")
    _, info = env.reset(seed=seed, options=options)
    messages: list[Mapping[str, Any]] = list(info["messages"])
    results: list[Mapping[str, Any]] = []
    reward, ended = 0.0, False
    for move in moves:
        _, reward, terminated, truncated, info = env.step(message_of(move))
        messages += info["messages"]
        results += info["results"]
        if ended := terminated or truncated:
            break
    reason = info["outcome"]["reason"] if ended else ""
    return Played(messages, results, reward, reason, info.get("answer", ""), info)


def scripted_policy(moves: Sequence[Move], dialect: str | Dialect = "qwq") -> ScriptedPolicy:
    """Return a policy that makes `moves` on tokens, with the codec to play it with.

    A text is written as it is, its thinking included; calls as the dialect has them. A token is a
    byte (`policy.codec`), so no tokenizer is needed.

    Raises `UsageError` for calls that the dialect cannot write.
    """
    made = make_dialect(dialect)
    turns = []
    for move in moves:
        if (text := text_in(made, move)) is None:
            raise UsageError(f"move: {brief(move)}; expected one that {made.name} can write")
        turns.append(text)
    return ScriptedPolicy(ByteCodec([made.end_of_turn]), turns)
