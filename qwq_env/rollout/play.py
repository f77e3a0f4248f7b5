"""Play one episode with a policy, token-exact.

Ids are only ever appended: the prompt once, then in turn what the policy sampled (mask 1) and
what the environment answered (mask 0).
"""

from __future__ import annotations

import functools
import math
import time
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from qwq_env.chat_model import Sampling
from qwq_env.checks import check_whole
from qwq_env.dialect.base import Dialect, Piece
from qwq_env.dialect.chatml import END_THINK
from qwq_env.dialect.codec import TokenCodec
from qwq_env.episode import Episode, Spender, Step
from qwq_env.errors import UsageError, brief
from qwq_env.grading.score import Score
from qwq_env.rollout.deadline import until_deadline
from qwq_env.rollout.journaled import sampled
from qwq_env.rollout.policy import Generation, GenerationRequest, Policy
from qwq_env.rollout.rows import Row, StrippedHistory
from qwq_env.rollout.thinking_budget import SampledTurn, closing, still_thinks
from qwq_env.segments import blocks_of
from qwq_env.trajectory import PhaseSeconds, Trajectory
from qwq_env.turn import Turn

_REST = 500_000
"""Added to the seed of a turn for the rest of it: its draws are not those of its beginning."""


@dataclass(frozen=True, slots=True)
class PlaySettings:
    """How episodes are generated.

    `context` bounds prompt plus completion in tokens, `completion` the completion (the policy's,
    the tools' and a user's tokens), `turn_tokens` one turn's. Where an `EpisodeLimits.tokens` is
    stricter, it holds. `thinking` "keep" leaves all thinking in the context and makes one training
    row an episode; "strip" takes earlier thinking out, as QwQ's chat template does, with a row a
    turn.

    `thinking_tokens` bounds the thinking of each turn. One that still thinks then is cut, which
    ends the episode; with a `forced_answer` its thinking is closed instead, these words are put
    behind it, and the policy goes on with the answer (budget forcing, Muennighoff et al. 2025,
    arXiv:2501.19393). What was put in is nobody's sample: its mask is 0, its author "user". Of
    policies on token ids only: no chat server lets words be put into a reply of its own.
    """

    sampling: Sampling = Sampling()
    context: int = 32_768
    completion: int = 32_768
    turn_tokens: int = 32_768
    thinking: Literal["keep", "strip"] = "keep"
    thinking_tokens: int | None = None
    forced_answer: str | None = None

    def __post_init__(self) -> None:
        for name in ("context", "completion", "turn_tokens"):
            check_whole(name, getattr(self, name))
        check_whole("thinking_tokens", self.thinking_tokens, optional=True)
        if self.forced_answer is not None and self.thinking_tokens is None:
            raise UsageError("forced_answer: without thinking_tokens; expected both")
        if self.thinking not in ("keep", "strip"):
            raise UsageError(f"thinking: {brief(self.thinking)}; expected 'keep' or 'strip'")


class TurnEnds(NamedTuple):
    """What ends a policy's turn: token `ids`, and `strings` that are no token of their own."""

    ids: frozenset[int]
    strings: tuple[str, ...]

    @classmethod
    def of(cls, dialect: Dialect, codec: TokenCodec) -> TurnEnds:
        """Return what ends a turn in `dialect`, as `codec`'s tokenizer writes it."""
        known = {stop: codec.control_ids.get(stop) for stop in dialect.stop}
        ids = (codec.eos_token_id, *known.values())
        strings = tuple(stop for stop, token in known.items() if token is None)
        return cls(frozenset(token for token in ids if token is not None), strings)


def check_thinking(thinking: str, dialect: Dialect) -> None:
    """Raise `UsageError` if earlier thinking cannot be treated so in `dialect`."""
    if thinking == "strip" and not dialect.end_of_turn:
        raise UsageError(
            f"thinking: 'strip' has no meaning in {dialect.name}, which feeds tools"
            " back inside the turn; expected 'keep'"
        )


class Player:
    """The token side of one episode in progress."""

    def __init__(
        self, episode: Episode, name: str, seed: int, policy: Policy, codec: TokenCodec,
        settings: PlaySettings, ends: TurnEnds, *, deadline: float = math.inf,
        waited: float = 0.0,
    ) -> None:  # fmt: skip
        """Prepare to play `episode`; `waited` are the seconds for which it has not begun."""
        self.episode, self.name, self.seed = episode, name, seed
        self._policy, self._codec, self._settings = policy, codec, settings
        self._ends, self._deadline, self._waited = ends, deadline, waited
        self.rows: list[Row] = []
        self._weight_version = policy.weight_version
        self.model_seconds = 0.0
        self._spent = 0
        self._opened: Sequence[Piece] = ()
        self._history = (
            StrippedHistory(codec, episode.settings.dialect.thinking_opening)
            if settings.thinking == "strip"
            else None
        )

    async def play(self) -> Trajectory:
        """Play to the end. Raises `InfrastructureError`; the episode is closed in any case."""
        try:
            await self.episode.start()
            self._opened = self.episode.open()
            self.rows.append(Row.begin(self._codec.encode_pieces(self._opened)))
            return self._trajectory(await until_deadline(self.episode, self._deadline, self._turn))
        finally:
            await self.episode.aclose()
            await self._policy.release(self.name)

    async def _turn(self) -> Step:
        """Generate one turn, hand it to the episode, append what comes back."""
        budget = self._tokens_left()
        if budget < 1:
            return await self.episode.truncate("tokens", "the prompt fills the context")
        sampled = await self._sample(min(budget, self._settings.turn_tokens))
        turn = self._append_turn(sampled)
        step = await self.episode.step(turn, cut=sampled.is_cut)
        if step.outcome is not None:
            return step
        observed = self._codec.encode_pieces(step.pieces)
        if len(observed) >= self._tokens_left():
            what = "a user's words fill" if step.messages else "a tool's output fills"
            return await self.episode.truncate("tokens", f"{what} the context")
        self._append_observation(step, observed)
        return step

    async def _sample(self, max_tokens: int) -> SampledTurn:
        """Sample a turn; where its thinking is bounded, up to there and then the rest."""
        most, dialect = self._settings.thinking_tokens, self.episode.settings.dialect
        first = await self._generate(max_tokens if most is None else min(max_tokens, most))
        if most is None or first.finish_reason == "stop" or not most <= len(first.ids) < max_tokens:
            return SampledTurn([first])
        words = self._settings.forced_answer
        forced: list[int] = []
        if still_thinks(self._codec.decode(first.ids), dialect):
            forced = [] if words is None else self._codec.encode_pieces(closing(words))
            if words is None or len(first.ids) + len(forced) >= max_tokens:
                return SampledTurn([first])
        begun = [*first.ids, *forced]
        return SampledTurn([first, forced, await self._generate(max_tokens - len(begun), begun)])

    async def _generate(self, max_tokens: int, begun: Sequence[int] = ()) -> Generation:
        """Ask for a turn, or for the rest of one that is `begun`."""
        request = GenerationRequest(
            ids=[*self.rows[-1].ids, *begun] if begun else self.rows[-1].ids,
            max_tokens=max_tokens,
            episode=self.name,
            sampling=self._settings.sampling,
            stop_ids=self._ends.ids,
            stop_strings=self._ends.strings,
            seed=self.seed * 1_000_003 + len(self.episode.turns) + (_REST if begun else 0),
        )
        journal = self.episode.journal
        start = time.perf_counter()
        try:
            if journal is None:
                return await self._policy.generate(request)
            turn, part = len(self.episode.turns), "rest of turn" if begun else "turn"
            return await sampled(journal, self._policy, request, turn, part)
        finally:
            self.model_seconds += time.perf_counter() - start

    def _append_turn(self, sampled: SampledTurn) -> Turn:
        ids = sampled.ids
        turn = self.episode.settings.dialect.parse(self._codec.decode(ids))
        thinking = tokens_of_prefix(self._codec, ids, turn.text, turn.thinking_end)
        done = 0
        for part in sampled.parts:
            if not isinstance(part, list):
                thought = max(0, min(thinking - done, len(part.ids)))
                self.rows[-1].add_sampled(part.ids, part.logprobs, thought)
                done += len(part.ids)
                self._spend(len(part.ids))
            elif part:
                self.rows[-1].add_observed(part, "user")
                done += len(part)
                self._spend(len(part), "user")
        if self._history is not None:
            self._history.close_turn(self._opened, ids, thinking)
        return turn

    def _append_observation(self, step: Step, ids: list[int]) -> None:
        self._opened = step.pieces
        if self._history is None:
            self.rows[-1].add_observed(ids, step.author)
        else:
            self.rows.append(Row.begin(self._history.context(step.pieces)))
        self._spend(len(ids), step.author)

    def _spend(self, tokens: int, by: Spender = "policy") -> None:
        self._spent += tokens
        self.episode.spend(tokens, by)

    def _tokens_left(self) -> int:
        in_context = self._settings.context - len(self.rows[-1].ids)
        left = min(in_context, self._settings.completion - self._spent)
        allowed = self.episode.tokens_left()
        return left if allowed is None else min(left, allowed)

    def _trajectory(self, step: Step) -> Trajectory:
        *earlier, row = self.rows
        if earlier and not row.mask:
            # The episode ended before the turn that this row was begun for.
            *earlier, row = earlier
        return trajectory_of(
            self.episode, step, self.name, self.seed, self.model_seconds, row, earlier,
            self._waited, self._weight_version,
        )  # fmt: skip


def trajectory_of(
    episode: Episode,
    step: Step,
    name: str,
    seed: int,
    model_seconds: float,
    row: Row | None = None,
    earlier: Sequence[Row] = (),
    waited: float = 0.0,
    weight_version: int | None = None,
) -> Trajectory:
    """Return the trajectory of an ended episode, of no token ids where it has no `row`."""
    assert step.outcome is not None
    row = row if row is not None else Row([], 0)
    graded = episode.reward
    scores = graded.scores if graded is not None else {}
    right = graded is not None and episode.settings.rubric.is_right(graded)
    spent = episode.timings
    return Trajectory(
        task_id=episode.task_id,
        episode=name,
        seed=seed,
        ids=row.ids,
        prompt_length=row.prompt_length,
        mask=row.mask,
        logprobs=row.logprobs,
        spans=row.spans,
        outcome=step.outcome,
        reward=step.reward,
        answer=episode.answer,
        reference=episode.task.answer,
        scores={key: score.value for key, score in scores.items()},
        counts=dict(episode.toolbox.counts),
        turns=len(episode.turns),
        tool_calls=episode.tool_calls,
        seconds=PhaseSeconds.rounded(model_seconds, spent.tools, spent.grading, waited, spent.user),
        earlier=[each.frozen() for each in earlier],
        tokens={str(who): count for who, count in episode.spent.items()},
        right=None if step.reward is None else right,
        weight_version=weight_version,
        transcript=blocks_of(episode),
        reasons={name: _reason(score) for name, score in scores.items()},
    )


_LONGEST_DETAIL: Final = 2000
"""Characters kept of what a grader says for a person, and of what it took for the answer."""


def _reason(score: Score) -> list[str]:
    """Return a score's reason, its detail, and what the grader took for the answer."""
    said = [score.reason, score.detail, score.extracted]
    kept = [text[:_LONGEST_DETAIL] for text in said]
    while len(kept) > 1 and not kept[-1]:
        kept.pop()
    return kept


def tokens_of_prefix(codec: TokenCodec, ids: Sequence[int], text: str, characters: int) -> int:
    """Return the least number of `ids` that write the first `characters` of their `text`.

    Where the parser ends the thinking is the only rule: a `</think>` more, before it, in a call or
    behind it, is text like any other.
    """
    if characters <= 0:
        return 0
    # Decoding is what costs. Thinking nearly always ends with a control token: where its text
    # comes once, and ends there, the token is found without any decoding.
    closing = codec.control_ids.get(END_THINK, -1)
    if (
        text.find(END_THINK) == text.rfind(END_THINK) == characters - len(END_THINK)
        and ids.count(closing) == 1
    ):
        return ids.index(closing) + 1
    ends = [count for count, token in enumerate(ids, 1) if token == closing]
    return _search(codec, ids, characters, ends)


def _search(codec: TokenCodec, ids: Sequence[int], characters: int, ends: Sequence[int]) -> int:
    """Look for that number by halves, beginning with the counts that end with the tag."""

    @functools.cache
    def written(count: int) -> int:
        return len(codec.decode(ids[:count]))

    nearest = bisect_left(ends, characters, key=written)
    if nearest < len(ends) and written(ends[nearest]) == characters:
        return ends[nearest]
    low = ends[nearest - 1] if nearest else 0
    high = ends[nearest] if nearest < len(ends) else len(ids)
    return bisect_left(range(high), characters, lo=low, key=written)
