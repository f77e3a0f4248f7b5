"""A chat model as a reward model: a rubric in words in, a number and a reason out.

```python
examiner = Examiner("http://localhost:8000/v1", "Qwen/QwQ-32B")
judge = Judge(examiner, rubric="Is the advice safe and kind?")
[score] = await judge.score([Candidate("How do I sleep better?", "Less coffee.")])
```
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from qwq_env.errors import UsageError
from qwq_env.grading.reward.examiner import Examiner
from qwq_env.grading.reward.model import Candidate, RewardModel
from qwq_env.grading.reward.verdict import read_rating
from qwq_env.grading.score import Score

HELPFULNESS = (
    "Judge how helpful the answer is: whether it does what the task asks, is correct, complete "
    "and honest about what it does not know, and is clear and no longer than it needs to be."
)
"""The rubric by default."""


class Judge(RewardModel):
    """Rates each answer by itself, against `rubric`, on a scale of `low` to `high`.

    Scores are brought into 0..1; the judge's reason is the score's `detail`. The judge sees the
    task and the final answer, and the reference if a candidate has one.
    """

    def __init__(
        self,
        examiner: Examiner,
        *,
        rubric: str = HELPFULNESS,
        low: float = 0,
        high: float = 10,
    ) -> None:
        """Raises `UsageError` for a scale without room."""
        if not low < high:
            raise UsageError(f"low, high: {low!r}, {high!r}; expected low below high")
        self.examiner, self._low, self._high = examiner, low, high
        self._instruction = (
            f"{rubric}\n\nRate the text between the answer marks on a scale from {low:g} (worst) "
            f"to {high:g} (best). Reply with one JSON object and nothing else: "
            '{"score": <number>, "reason": "<one sentence>"}'
        )

    async def score(self, items: Sequence[Candidate]) -> list[Score]:
        """Return the rating of each candidate, 0.0 for `low` to 1.0 for `high`."""
        return list(await asyncio.gather(*map(self._rate, items)))

    async def aclose(self) -> None:
        """Close the connections of this event loop."""
        await self.examiner.aclose()

    async def _rate(self, item: Candidate) -> Score:
        parts = {**shown(item), "answer": item.answer}
        rating = await self.examiner.ask(
            parts, self._instruction, lambda reply: read_rating(reply, self._low, self._high)
        )
        if isinstance(rating, Score):
            return rating
        value = (rating.score - self._low) / (self._high - self._low)
        return Score.partial(value, "judged", rating.reason)


def shown(item: Candidate) -> dict[str, str]:
    """Return what a judge sees beside the answers: the task, and the reference if there is one."""
    messages = item.messages()
    alone = len(messages) == 1
    task = messages[0][1] if alone else "\n\n".join(f"{role}: {text}" for role, text in messages)
    return {"task": task, **({"reference": item.reference} if item.reference else {})}
