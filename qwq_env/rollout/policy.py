"""The contract of a policy: token ids in, sampled token ids out.

A policy never renders nor parses. It continues `request.ids` and returns exactly the ids that
it sampled, each with the log-probability under the distribution it was drawn from (after
temperature, top-k and top-p), which is what importance correction needs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from qwq_env.chat_model import Sampling
from qwq_env.errors import InfrastructureError


class NoLogprobs(InfrastructureError):
    """A turn came without its log-probabilities: it cannot be weighed, whatever it says."""


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One turn to generate.

    `ids` is the whole context so far: (context,) token ids. `episode` names the episode across
    its turns, so that a policy may keep its key-value cache; each request of an episode
    extends the ids of the one before it. Generation ends after a token of `stop_ids`, or when
    the text sampled contains one of `stop_strings` (the token that completes it is kept), or
    after `max_tokens` ≥ 1. `seed` makes the draw repeatable as far as the arithmetic is; a policy
    that asks a server sends it only where it was made to (`VllmPolicy(..., seeded=True)`).
    """

    ids: Sequence[int]
    max_tokens: int
    episode: str
    sampling: Sampling
    stop_ids: frozenset[int]
    stop_strings: tuple[str, ...] = ()
    seed: int = 0


class Generation(NamedTuple):
    """What was sampled: `ids` (tokens,), `logprobs` (tokens,) in nats, and why it ended."""

    ids: list[int]
    logprobs: list[float]
    finish_reason: Literal["stop", "length"]


class Policy(ABC):
    """Something that continues token ids. Safe for many concurrent `generate` calls.

    Errors are sorted by who has to act, and it is the policy that sorts them: one that asks a
    server wraps what its HTTP library raises.

    ```python
    async def generate(self, request: GenerationRequest) -> Generation:
        try:
            ids, logprobs = await self._ask(request)
        except httpx.HTTPError as error:
            raise InfrastructureError(f"{self.url}: {error}") from None
        return Generation(ids, logprobs, "stop")
    ```

    `InfrastructureError` costs the episode, which is tried again and then masked. `UsageError`
    (the operator must act), `ServersGone` (trying again is pointless) and every exception that is
    not wrapped, for it may as well be a mistake in the code, end the whole batch.

    `elsewhere` says that it samples with other arithmetic than the trainer's, as a server does;
    training then corrects importance (see `differs_from`). `request_seconds` is its own bound on a
    turn, None for none.
    `weight_version` is that of the weights that it samples from, None if nobody said.
    """

    elsewhere: bool = False
    request_seconds: float | None = None
    weight_version: int | None = None

    @abstractmethod
    async def generate(self, request: GenerationRequest) -> Generation:
        """Sample one turn. Raises `InfrastructureError` when the machinery failed."""

    def recall(self, request: GenerationRequest, generation: Generation) -> None:
        """Take note of a turn that is not sampled again: an interrupted episode goes on behind it.

        For what knows an episode by more than `request.ids`, such as a script or a record; a policy
        that wraps another passes it on.
        """
        return None

    def place(self, rank: int, ranks: int) -> None:
        """Be told for which of how many processes it samples, before it does; others sample too."""
        return None

    def differs_from(self, model: Any) -> bool:
        """Whether it samples by other weights or arithmetic than `model`, which is trained."""
        return self.elsewhere

    def generating(self) -> AbstractContextManager[Any]:
        """Enclose a rollout, within which weights stay as they are; they may change after it."""
        return nullcontext()

    async def context(self) -> int | None:
        """Return the most tokens that it takes, prompt and turn; None if it knows no bound."""
        return None

    def weights_pushed(self, version: int, servers: Sequence[str]) -> None:
        """Be told that what is begun from now on is sampled from the weights of `version`, and
        which servers have them. A policy that asks several must ask no other; none named are all.
        """
        self.weight_version = version

    async def release(self, episode: str) -> None:
        """Forget what was kept for an episode; called once, when it has ended."""
        return None

    async def aclose(self) -> None:
        """Free everything."""
        return None
