"""One episode: a task, the turns made on it, its tools, its end.

The way from here to a tool: `Episode.step` → `Toolbox.run` → `Tool.call`. `ToolEnv` is the
definition of the environment and its Gymnasium face; an `Episode` is everything that changes,
so one environment serves thousands of episodes at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from qwq_env.dialect.base import Dialect, Piece, text_of
from qwq_env.errors import InfrastructureError, QwqError, ResetNeeded
from qwq_env.outcome import EpisodeLimits, Limit, Outcome
from qwq_env.rubric import FinalTurn, Reward, Rubric
from qwq_env.task import Task
from qwq_env.text.truncation import Tokenizer
from qwq_env.tool import Tool
from qwq_env.toolbox import Toolbox, ToolLimits
from qwq_env.turn import CallResult, Turn

Author = Literal["task", "thinking", "answer", "tool"]


@dataclass(frozen=True, slots=True)
class EpisodeSettings:
    """What every episode of an environment shares."""

    tools: Sequence[Tool]
    rubric: Rubric
    dialect: Dialect
    limits: EpisodeLimits
    tool_limits: ToolLimits
    system_prompt: str | None = None
    tokenizer: Tokenizer | None = None


class Step(NamedTuple):
    """What a turn led to. `outcome` is None while the episode goes on.

    `pieces` render what the model reads next (empty at the end); `reward` is None while the
    episode goes on, and for one that was lost.
    """

    pieces: list[Piece]
    results: Sequence[CallResult]
    outcome: Outcome | None
    reward: float | None


class Timings:
    """Wall seconds that an episode spent in its tools and in grading."""

    __slots__ = ("grading", "tools")

    def __init__(self) -> None:
        self.tools = 0.0
        self.grading = 0.0


class Episode:
    """The state of one episode. Make it, `open` it, `step` it until an outcome, `aclose` it.

    It closes its tools by itself when it ends; `aclose` is for one that is given up. `segments`
    is the transcript by author, `turns` what the model wrote, `tokens` what was spent.
    """

    __slots__ = (
        "_count", "_started", "outcome", "reward", "segments", "settings", "task", "timings",
        "tokens", "tool_calls", "toolbox", "turns",
    )  # fmt: skip

    def __init__(
        self,
        task: Task,
        settings: EpisodeSettings,
        *,
        seed: int = 0,
        count_tokens: Callable[[str], int] | None = None,
    ) -> None:
        """Begin `task`. `count_tokens` counts texts against the limit; without it whoever
        drives the episode calls `spend` with the true numbers."""
        self.task = task
        self.settings = settings
        self.segments: list[tuple[Author, str]] = []
        self.turns: list[Turn] = []
        self.tool_calls = 0
        self.tokens = 0
        self.outcome: Outcome | None = None
        self.reward: Reward | None = None
        self.timings = Timings()
        self.toolbox = Toolbox(
            settings.tools, seed=seed, limits=settings.tool_limits, tokenizer=settings.tokenizer
        )
        self._count = count_tokens
        self._started = time.perf_counter()

    def conversation(self) -> list[Mapping[str, Any]]:
        """Return the opening messages."""
        return self.task.conversation(self.settings.system_prompt)

    def open(self) -> list[Piece]:
        """Render the prompt: the conversation, the tools, the opening of the first turn."""
        pieces = render_prompt(self.task, self.settings)
        self.segments.append(("task", text_of(pieces)))
        return pieces

    async def step(self, turn: Turn | str, *, cut: bool = False) -> Step:
        """Take the model's turn: run its calls, or grade it if it makes none.

        `cut` says that generation was stopped before the model ended its turn. Raises
        `InfrastructureError` if the machinery of a tool or a reward failed, and `UsageError` if the
        operator must mend one. The episode is over then, lost: a turn is never taken twice.
        """
        if self.outcome is not None:
            raise ResetNeeded(f"the episode has ended ({self.outcome.reason}); call reset first")
        if isinstance(turn, str):
            dialect = self.settings.dialect
            turn = dialect.parse(dialect.first_turn(turn))
        self._write(turn)
        if limit := self._limit_reached(turn, cut):
            return await self._end(Outcome.cut(limit))
        try:
            return await (self._run_tools(turn) if turn.requests else self._grade(turn))
        except InfrastructureError as error:
            await self.lose("infrastructure", str(error))
            raise
        except QwqError as error:
            await self.lose("usage", str(error))
            raise

    def spend(self, tokens: int) -> None:
        """Count tokens that were sampled or observed."""
        self.tokens += tokens

    def tokens_left(self) -> int | None:
        """Return how many tokens the limit still allows, None if there is no limit."""
        limit = self.settings.limits.tokens
        return None if limit is None else max(0, limit - self.tokens)

    def seconds_left(self) -> float | None:
        """Return how many wall seconds the limit still allows, None if there is no limit."""
        limit = self.settings.limits.seconds
        return None if limit is None else limit - (time.perf_counter() - self._started)

    async def truncate(self, limit: Limit, detail: str = "") -> Step:
        """End the episode because a limit was reached that its driver watches."""
        return await self._end(Outcome.cut(limit, detail))

    async def lose(self, reason: str, detail: str = "") -> Step:
        """End the episode because machinery failed; it has no reward."""
        return await self._end(Outcome.lost(reason, detail))

    async def aclose(self) -> None:
        """Close the tools. Safe to call again."""
        await self.toolbox.aclose()

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
        if limits.turns is not None and len(self.turns) >= limits.turns:
            return "turns"
        return None

    async def _run_tools(self, turn: Turn) -> Step:
        start = time.perf_counter()
        try:
            results = await self.toolbox.run(turn.requests)
        finally:
            self.timings.tools += time.perf_counter() - start
        pieces = self.settings.dialect.render_results(results, closed=turn.closed)
        text = text_of(pieces)
        self.segments.append(("tool", text))
        if self._count is not None:
            self.spend(self._count(text))
            if self.tokens_left() == 0:
                return (await self.truncate("tokens"))._replace(results=results)
        return Step(pieces, results, None, None)

    async def _grade(self, turn: Turn) -> Step:
        if turn.unclosed_thinking:
            outcome = Outcome.unanswered()
            self.reward = self.settings.rubric.refuse(outcome.reason)
            return await self._end(outcome, self.reward.value or 0.0)
        start = time.perf_counter()
        final = FinalTurn(self.task, turn.answer, tuple(self.turns))
        try:
            self.reward = await self.settings.rubric.grade(final)
        finally:
            self.timings.grading += time.perf_counter() - start
        if self.reward.value is None:
            return await self._end(Outcome.lost("undecided", _undecided(self.reward)))
        return await self._end(Outcome.answered(), self.reward.value)

    async def _end(self, outcome: Outcome, reward: float = 0.0) -> Step:
        self.outcome = outcome
        await self.aclose()
        return Step([], (), outcome, None if outcome.failed else reward)


def render_prompt(task: Task, settings: EpisodeSettings) -> list[Piece]:
    """Render what an episode of `task` opens with; no tool is made for it."""
    schemas = [tool.schema() for tool in settings.tools]
    return settings.dialect.render(task.conversation(settings.system_prompt), schemas)


def _undecided(reward: Reward) -> str:
    """Say which components were not decided, and why."""
    open_scores = {name: score for name, score in reward.scores.items() if not score.decided}
    return ", ".join(
        f"{name}: {score.reason}" + (f" ({score.detail})" if score.detail else "")
        for name, score in open_scores.items()
    )
