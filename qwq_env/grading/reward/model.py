"""The contract of a reward model: candidates in, one score for each out."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from qwq_env.errors import UsageError
from qwq_env.grading.score import Score


class Candidate(NamedTuple):
    """An answer to be scored, and what it answers.

    `prompt` is the text of the task or its messages (`role`, `content`). `answer` is the model's
    final answer alone, never its thinking nor a tool's output. `reference` is a known good answer
    for judges whose rubric speaks of one; other models do not look at it.
    """

    prompt: str | Sequence[Mapping[str, Any]]
    answer: str
    reference: str = ""

    def messages(self) -> list[tuple[str, str]]:
        """Return the prompt as (role, content) pairs. Raises `UsageError` for other content."""
        if isinstance(self.prompt, str):
            return [("user", self.prompt)]
        for message in self.prompt:
            if not isinstance(message.get("role"), str) or not isinstance(
                message.get("content"), str
            ):
                raise UsageError(f"prompt: {message!r:.80}; expected texts as role and content")
        return [(message["role"], message["content"]) for message in self.prompt]


class RewardModel(ABC):
    """Scores answers. Safe for many concurrent calls, from any event loop.

    `bounded` says that scores lie in 0..1; those of an unbounded model mean something only as
    differences between answers to the same prompt. `needs_group` says that an answer is scored
    against the others of the call, which must answer the same prompt: alone it has no score.
    """

    bounded: bool = True
    needs_group: bool = False

    @abstractmethod
    async def score(self, items: Sequence[Candidate]) -> list[Score]:
        """Return a score for each candidate, in order.

        What could not be scored is undecided, whatever failed (`too_long`, `unparsed`,
        `timeout`, `infra`): an answer is never scored 0 for a fault of ours.
        """

    async def aclose(self) -> None:
        """Free everything."""
        return None


class Squashed(RewardModel):
    """An unbounded model brought into 0..1: the logistic function of (score - center) / scale.

    Why you would want this: in rule × (1 + λ · score) a logit of -30 would pay an answer that
    keeps the rule less than one that breaks it. The order of answers stays.
    """

    bounded = True

    def __init__(self, model: RewardModel, *, center: float = 0.0, scale: float = 1.0) -> None:
        """Raises `UsageError` for a scale that is not above 0 or a model that needs a group."""
        if not (math.isfinite(center) and 0 < scale < math.inf):
            raise UsageError(f"scale: {scale!r}; expected a finite number above 0")
        if model.needs_group:
            raise UsageError(f"model: {type(model).__name__} scores groups; expected one that "
                             "scores answers by themselves")  # fmt: skip
        self._model, self._center, self._scale = model, center, scale

    async def score(self, items: Sequence[Candidate]) -> list[Score]:
        """Return the model's scores, squashed; `detail` keeps what the model said."""
        return [self._squash(score) for score in await self._model.score(items)]

    async def aclose(self) -> None:
        """Free the model."""
        await self._model.aclose()

    def _squash(self, score: Score) -> Score:
        if score.value is None:
            return score
        value = 0.5 + 0.5 * math.tanh((score.value - self._center) / self._scale / 2)
        return Score.partial(value, score.reason, score.detail or f"{score.value:.6g}")
