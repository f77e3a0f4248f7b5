"""One episode: a task, the turns made on it, its tools, its end.

The way from here to a tool: `Episode.step` → `Toolbox.run` → `Tool.call`. `ToolEnv` is the
definition of the environment and its Gymnasium face; an `Episode` is everything that changes,
so one environment serves thousands of episodes at a time.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from qwq_env.dialect.base import Dialect, Message, Piece, text_of
from qwq_env.errors import (
    InfrastructureError,
    QwqError,
    ToolError,
    UsageError,
    brief,
    describe_error,
)
from qwq_env.journal import AttemptJournal, Interrupted
from qwq_env.live_set import StateError
from qwq_env.messages import read_reply, spelled_out
from qwq_env.outcome import WALL_TIME, EpisodeLimits, Limit, Outcome
from qwq_env.reset_needed import ResetNeeded
from qwq_env.rubric import FinalTurn, Reward, Rubric
from qwq_env.task import Task
from qwq_env.text.truncation import Tokenizer
from qwq_env.tool import Tool
from qwq_env.toolbox import Toolbox, ToolLimits
from qwq_env.turn import CallResult, Turn

_log = logging.getLogger(__name__)

Author = Literal["task", "thinking", "answer", "tool", "user"]
Spender = Literal["policy", "tool", "user"]

Said = str | Sequence[Message] | None
"""What `ToolEnv.reply` gives: a user's text, messages of role user or system, or None.

A message may offer tools that were held back, by their names in `"tools"`.
"""


@dataclass(frozen=True, slots=True)
class EpisodeSettings:
    """What every episode of an environment shares. `reply` is `ToolEnv.reply`, where overridden.

    `calls_decide` says that the first turn with calls is the last: they are run, and graded.
    `held_back` names tools that are neither shown nor run until a reply offers them (`Said`).
    """

    tools: Sequence[Tool]
    rubric: Rubric
    dialect: Dialect
    limits: EpisodeLimits
    tool_limits: ToolLimits
    system_prompt: str | None = None
    tokenizer: Tokenizer | None = None
    reply: Callable[[Episode], Said | Awaitable[Said]] | None = None
    calls_decide: bool = False
    held_back: frozenset[str] = frozenset()


class Step(NamedTuple):
    """What a turn led to. `outcome` is None while the episode goes on.

    `pieces` render what the model reads next (empty at the end): the `results` of its calls, or the
    `messages` with which a user went on; one that offers tools has their schemas in `"tools"`, and
    the pieces have them written out before its text. `reward` is None while the episode goes on,
    and for one that was lost.
    """

    pieces: list[Piece]
    results: Sequence[CallResult]
    outcome: Outcome | None
    reward: float | None
    messages: Sequence[Message] = ()

    @property
    def author(self) -> Literal["tool", "user"]:
        """Who wrote the `pieces`."""
        return "user" if self.messages else "tool"


class Timings:
    """Wall seconds that an episode spent in its tools, with its user, and in grading."""

    __slots__ = ("grading", "tools", "user")

    def __init__(self) -> None:
        self.tools = 0.0
        self.user = 0.0
        self.grading = 0.0


class Episode:
    """The state of one episode: make it, `start` and `open` it, `step` it until an outcome.

    It closes its tools by itself when it ends; `aclose` is for one that is given up. `segments` is
    the transcript by author, `turns` what the model wrote, `results` what its calls got. `said` are
    the messages since the opening that a user would know: the answers of turns without a call, and
    the user's own. `memory` is for `ToolEnv.reply`: what it keeps from one reply to the next, empty
    again in an episode that goes on after an interruption. `spent` counts tokens by who wrote them.
    `task_id` is what the task is called outside: its id, or in a mixture that of its member in
    front.
    """

    __slots__ = (
        "_count", "_started", "before_grading", "journal", "memory", "outcome", "paid", "results",
        "reward", "said", "seed", "segments", "settings", "spent", "task", "task_id", "timings",
        "tool_calls", "toolbox", "turns",
    )  # fmt: skip

    def __init__(self, task: Task, settings: EpisodeSettings, *, seed: int = 0) -> None:
        """Begin `task`. Raises `InfrastructureError` if a tool cannot be made."""
        if not isinstance(task, Task):
            raise UsageError(f"task: {brief(task)}; expected a Task, from TaskSet.task as well")
        self.task = task
        self.task_id = task.id
        self.settings = settings
        self.seed = seed
        self.segments: list[tuple[Author, str]] = []
        self.turns: list[Turn] = []
        self.results: list[CallResult] = []
        self.said: list[Message] = []
        self.memory: dict[str, Any] = {}
        self.tool_calls = 0
        self.spent: Counter[str] = Counter()
        self.outcome: Outcome | None = None
        self.reward: Reward | None = None
        self.paid: float | None = None
        self.timings = Timings()
        self.before_grading: Callable[[], None] | None = None
        self.journal: AttemptJournal | None = None
        self.toolbox = Toolbox(
            settings.tools, task=task, seed=seed, limits=settings.tool_limits,
            tokenizer=settings.tokenizer, held_back=settings.held_back,
        )  # fmt: skip
        self._count: Callable[[str], int] | None = None
        self._started = time.perf_counter()

    def count_with(self, count: Callable[[str], int]) -> None:
        """Have texts counted against the limit of tokens.

        Without it, whoever drives the episode calls `spend` with the true numbers.
        """
        self._count = count

    def keep(self, journal: AttemptJournal) -> None:
        """Go on with what `journal` knows, and write down what comes after; before `start`.

        Raises `UsageError` for tools that do not say how their state comes back.
        """
        self.journal = journal
        self.toolbox.keep(journal)

    @property
    def tools(self) -> list[Tool]:
        """The tools that the model has been shown so far."""
        return _shown(self.settings.tools, self.toolbox.held_back)

    def conversation(self) -> list[Message]:
        """Return the opening messages."""
        return self.task.conversation(self.settings.system_prompt)

    async def start(self) -> None:
        """Start the tool sets; raises `InfrastructureError`, with all that was made closed."""
        await self.toolbox.start()

    def open(self) -> list[Piece]:
        """Render the prompt: the conversation, the tools, the opening of the first turn."""
        pieces = render_prompt(self.task, self.settings)
        text = text_of(pieces)
        self.segments.append(("task", text))
        if self.journal is not None:
            digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16)
            opening = {"task_id": self.task_id, "seed": self.seed, "prompt": digest.hexdigest()}
            if self.journal.recall("begin", 0, **opening) is None:
                self.journal.write("begin", 0, **opening)
        return pieces

    async def step(self, turn: Turn | str, *, cut: bool = False) -> Step:
        """Take the model's turn: run its calls, or if it makes none have it replied to or graded.

        `cut` says that generation was stopped before the model ended its turn. Raises
        `InfrastructureError` if the machinery of a tool, a user or a reward failed, and
        `UsageError` if the operator must mend one. The episode is over then, lost: a turn is never
        taken twice.
        """
        if self.outcome is not None:
            raise ResetNeeded(f"the episode has ended ({self.outcome.reason}); call reset first")
        if isinstance(turn, str):
            dialect = self.settings.dialect
            turn = dialect.parse(dialect.first_turn(turn))
        self._write(turn)
        return await self._or_lose(self._answered(turn, cut))

    def spend(self, tokens: int, by: Spender = "policy") -> None:
        """Count tokens that were sampled or observed, by who wrote them."""
        self.spent[by] += tokens

    @property
    def tokens(self) -> int:
        """All tokens since the prompt."""
        return self.spent.total()

    @property
    def answer(self) -> str:
        """The last answer: of an episode that a limit cut, that of the last turn that has one."""
        return self._last_answer(cut=self.outcome is not None and self.outcome.truncated)

    def tokens_left(self) -> int | None:
        """Return how many tokens the limit still allows, None if there is no limit."""
        limit = self.settings.limits.tokens
        return None if limit is None else max(0, limit - self.tokens)

    def seconds_left(self) -> float | None:
        """Return how many wall seconds the limit still allows, None if there is no limit."""
        limit = self.settings.limits.seconds
        return None if limit is None else limit - (time.perf_counter() - self._started)

    async def truncate(self, limit: Limit, detail: str = "") -> Step:
        """End the episode because a limit was reached that its driver watches.

        One of wall time loses it, unless the task is timed; see `EpisodeLimits`.
        """
        return await self._or_lose(self._cut(limit, detail))

    async def lose(self, reason: str, detail: str = "") -> Step:
        """End the episode because machinery failed; it has no reward."""
        return await self._end(Outcome.lost(reason, detail))

    async def aclose(self) -> None:
        """Close the tools. Safe to call again."""
        await self.toolbox.aclose()

    async def _or_lose(self, ending: Awaitable[Step]) -> Step:
        try:
            return await ending
        except InfrastructureError as error:
            await self.lose("infrastructure", str(error))
            raise
        except QwqError as error:
            await self.lose("usage", str(error))
            raise

    def _write(self, turn: Turn) -> None:
        self.turns.append(turn)
        self.tool_calls += len(turn.requests)
        if turn.thinking_end:
            self.segments.append(("thinking", turn.text[: turn.thinking_end]))
        self.segments.append(("answer", turn.text[turn.thinking_end :]))
        if self._count is not None:
            self.spend(self._count(turn.text))

    def _limit_reached(self, turn: Turn, cut: bool) -> Limit | None:
        limits = self.settings.limits
        if cut or (limits.tokens is not None and self.tokens > limits.tokens):
            return "tokens"
        if (left := self.seconds_left()) is not None and left <= 0:
            return "seconds"
        if not turn.requests:
            return None
        if limits.tool_calls is not None and self.tool_calls > limits.tool_calls:
            return "tool_calls"
        # Calls of the last turn would be run for nobody: no turn is left to read them.
        return "turns" if self._was_last_turn() and not self.settings.calls_decide else None

    def _was_last_turn(self) -> bool:
        most = self.settings.limits.turns
        return most is not None and len(self.turns) >= most

    async def _answered(self, turn: Turn, cut: bool) -> Step:
        if limit := self._limit_reached(turn, cut):
            return await self._cut(limit)
        if turn.requests:
            return await self._run_tools(turn)
        if turn.unclosed_thinking:
            outcome = Outcome.unanswered()
            self.reward = self.settings.rubric.refuse(outcome.reason)
            return await self._end(outcome, self.reward.value)
        if self.settings.reply is None:
            return await self._grade(Outcome.answered())
        return await self._reply(turn, self.settings.reply)

    async def _run_tools(self, turn: Turn) -> Step:
        start = time.perf_counter()
        try:
            results = await self.toolbox.run(turn.requests)
        except Interrupted as error:
            return await self.lose("interrupted", str(error))
        except StateError as error:
            return await self.lose("state", str(error))
        finally:
            self.timings.tools += time.perf_counter() - start
        self.results += results
        if self.settings.calls_decide:
            return (await self._grade(Outcome.answered()))._replace(results=results)
        pieces = self.settings.dialect.render_results(results, closed=turn.closed)
        return await self._observe(Step(pieces, results, None, None))

    async def _reply(self, turn: Turn, reply: Callable[[Episode], Said | Awaitable[Said]]) -> Step:
        self.said.append({"role": "assistant", "content": turn.answer})
        start = time.perf_counter()
        try:
            messages = self._offered(await self._asked(reply))
        except QwqError as error:
            if not isinstance(error, ToolError):
                raise
            return await self._reply_failed(error)
        # Its fault is not the policy's, nor that of other episodes.
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the boundary to foreign code
            return await self._reply_failed(error)
        finally:
            self.timings.user += time.perf_counter() - start
        if messages is None:
            return await self._grade(Outcome.answered())
        if self._was_last_turn():
            return await self._cut("turns")
        self.said += messages
        told = [*map(spelled_out, messages)]
        pieces = self.settings.dialect.render_reply(told, closed=turn.closed)
        return await self._observe(Step(pieces, (), None, None, messages))

    async def _asked(
        self, reply: Callable[[Episode], Said | Awaitable[Said]]
    ) -> list[Message] | None:
        journal, number = self.journal, len(self.turns) - 1
        if journal is not None and (known := journal.recall("reply", number)) is not None:
            return read_reply(known["messages"])
        given = reply(self)
        messages = read_reply(await given if inspect.isawaitable(given) else given)
        if journal is not None:
            journal.write("reply", number, messages=messages)
        return messages

    def _offered(self, messages: list[Message] | None) -> list[Message] | None:
        """Return a reply with the schemas of the tools that it offers, which can be called now."""
        return messages and [
            {**message, "tools": [tool.schema() for tool in self.toolbox.offer(message["tools"])]}
            if "tools" in message
            else message
            for message in messages
        ]

    async def _reply_failed(self, error: BaseException) -> Step:
        kind = (getattr(self.settings.reply, "__qualname__", "reply"), type(error))
        if kind not in _told:
            _told.add(kind)
            _log.error("%s failed; its episodes are not learned from", kind[0], exc_info=error)
        return await self.lose("reply", describe_error(error))

    async def _observe(self, step: Step) -> Step:
        """Take note of what the model reads next."""
        text = text_of(step.pieces)
        self.segments.append((step.author, text))
        if self._count is not None:
            self.spend(self._count(text), step.author)
            if self.tokens_left() == 0:
                ended = await self._cut("tokens")
                return ended._replace(results=step.results, messages=step.messages)
        return step

    async def _cut(self, limit: Limit, detail: str = "") -> Step:
        limits = self.settings.limits
        if limit in WALL_TIME and not limits.timed:
            return await self.lose(limit, detail or "our wall time ended it")
        outcome = Outcome.cut(limit, detail)
        if limits.grade_truncated and self.turns:
            return await self._grade(outcome)
        return await self._end(outcome, 0.0)

    async def _grade(self, outcome: Outcome) -> Step:
        if self.before_grading is not None:
            self.before_grading()
        start = time.perf_counter()
        answer = self._last_answer(cut=outcome.truncated)
        try:
            state = await self._state()
            final = FinalTurn(self.task, answer, tuple(self.turns), tuple(self.results), state)
            self.reward = await self.settings.rubric.grade(final)
        except StateError as error:
            return await self.lose("state", str(error))
        finally:
            self.timings.grading += time.perf_counter() - start
        if self.reward.value is None:
            return await self.lose("undecided", _undecided(self.reward))
        return await self._end(outcome, self.reward.value)

    async def _state(self) -> Mapping[str, Any]:
        journal, number = self.journal, len(self.turns) - 1
        if journal is not None and (known := journal.recall("state", number)) is not None:
            return self.toolbox.states(known["state"])
        state = await self.toolbox.state()
        if journal is not None:
            journal.write("state", number, state=state)
        return state

    def _last_answer(self, *, cut: bool) -> str:
        if not self.turns or not cut:
            return self.turns[-1].answer if self.turns else ""
        return next((t.answer for t in reversed(self.turns) if t.answer.strip()), "")

    async def _end(self, outcome: Outcome, paid: float | None = None) -> Step:
        self.outcome = outcome
        self.paid = paid
        await self.aclose()
        return Step([], (), outcome, paid)


_told: set[tuple[str, type[BaseException]]] = set()
"""What of replies has been logged already."""


def render_prompt(task: Task, settings: EpisodeSettings) -> list[Piece]:
    """Render what an episode of `task` opens with; no tool is made for it."""
    schemas = [tool.schema() for tool in _shown(settings.tools, settings.held_back)]
    return settings.dialect.render(task.conversation(settings.system_prompt), schemas)


def _shown(tools: Sequence[Tool], held_back: Collection[str]) -> list[Tool]:
    return [tool for tool in tools if tool.name not in held_back]


def _undecided(reward: Reward) -> str:
    """Say which components were not decided, and why."""
    open_scores = {name: score for name, score in reward.scores.items() if not score.decided}
    return ", ".join(
        f"{name}: {score.reason}" + (f" ({score.detail})" if score.detail else "")
        for name, score in open_scores.items()
    )
