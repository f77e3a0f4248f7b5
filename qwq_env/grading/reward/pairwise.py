"""Answers of a group compared with each other: which one a judge prefers, whichever stands first.

Why you would want this: judges tell better from worse more surely than they give numbers. They
also favour a place, so each pair is shown in both orders, and a judge that changes its mind with
the order has not preferred either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from qwq_env.errors import UsageError
from qwq_env.grading.reward.examiner import Examiner
from qwq_env.grading.reward.judge import HELPFULNESS, shown
from qwq_env.grading.reward.model import Candidate, RewardModel
from qwq_env.grading.reward.verdict import read_preference
from qwq_env.grading.score import Score


class PairwiseJudge(RewardModel):
    """Scores each answer by the share of comparisons that it wins; a tie is half a win.

    Every answer meets every other, in both orders: n·(n-1) questions for n answers. With
    `opponents` k it meets the k before and the k after it in the group's ring, which makes
    2·n·k. Equal answers tie unasked. A comparison without a verdict counts for neither; an answer
    left without any comparison is undecided.
    """

    needs_group = True

    def __init__(
        self, examiner: Examiner, *, rubric: str = HELPFULNESS, opponents: int | None = None
    ) -> None:
        """Raises `UsageError` for fewer than one opponent."""
        if opponents is not None and opponents < 1:
            raise UsageError(f"opponents: {opponents!r}; expected 1 or more, or None for all")
        self.examiner, self._opponents = examiner, opponents
        self._instruction = (
            f"{rubric}\n\nTwo answers to the task stand above, between the marks first and second. "
            "Which is better? Reply with one JSON object and nothing else: "
            '{"better": "first" | "second" | "tie", "reason": "<one sentence>"}'
        )

    async def score(self, items: Sequence[Candidate]) -> list[Score]:
        """Return the win rate of each candidate, 0..1, among those of the call.

        Raises `UsageError` when they do not answer the same prompt.
        """
        if len({tuple(item.messages()) for item in items}) > 1:
            raise UsageError("candidates: of different prompts; expected the answers of one group")
        pairs = self._pairs(len(items))
        outcomes = await asyncio.gather(*(self._meet(items[a], items[b]) for a, b in pairs))
        won: list[list[float]] = [[] for _ in items]
        for (a, b), share in zip(pairs, outcomes, strict=True):
            if isinstance(share, float):
                won[a].append(share)
                won[b].append(1.0 - share)
        failure = next((one for one in outcomes if isinstance(one, Score)), None)
        alone = failure or Score.undecided("no_opponent", "an answer alone is not compared")
        return [
            Score.partial(sum(shares) / len(shares), "compared", f"{len(shares)} comparisons")
            if shares
            else alone
            for shares in won
        ]

    async def aclose(self) -> None:
        """Close the connections of this event loop."""
        await self.examiner.aclose()

    def _pairs(self, count: int) -> list[tuple[int, int]]:
        """Return who meets whom, each pair once, the lower place first."""
        reach = count - 1 if self._opponents is None else self._opponents
        met = {
            (min(a, b), max(a, b))
            for a in range(count)
            for step in range(1, min(reach, count - 1) + 1)
            if (b := (a + step) % count) != a
        }
        return sorted(met)

    async def _meet(self, a: Candidate, b: Candidate) -> float | Score:
        """Return what `a` gets of the point: 1.0, 0.5 or 0.0; an undecided score if unknown."""
        if a.answer == b.answer:
            return 0.5
        forth, back = await asyncio.gather(self._prefer(a, b), self._prefer(b, a))
        if isinstance(forth, Score):
            return forth
        if isinstance(back, Score):
            return back
        if (forth, back) == ("first", "second"):
            return 1.0
        return 0.0 if (forth, back) == ("second", "first") else 0.5

    async def _prefer(self, first: Candidate, second: Candidate) -> str | Score:
        parts = {**shown(first), "first": first.answer, "second": second.answer}
        preference = await self.examiner.ask(parts, self._instruction, read_preference)
        return preference if isinstance(preference, Score) else preference.better
