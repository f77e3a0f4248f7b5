"""What a policy was asked and what it said, counted on the way: tokens, cost, odd replies.

| counted as | what it is |
|---|---|
| `empty` | a reply of no words and no calls |
| `no answer` | thinking alone, and nothing after it |
| `no reasoning` | a reply in which no thinking was found |
| `no usage` | a chat reply of which the server did not say how many tokens it is |
| `no logprobs` | a turn of token ids that came without log-probabilities; its episode is lost |

Odd is not wrong: a model that does not think has no reasoning anywhere.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from qwq_env.chat_model import ChatModel, ChatReply, Sampling
from qwq_env.dialect.base import Messages, Schemas
from qwq_env.dialect.chatml import END_THINK
from qwq_env.dialect.codec import TokenCodec
from qwq_env.errors import UsageError
from qwq_env.files.jsonl import read_objects
from qwq_env.rollout.policy import Generation, GenerationRequest, NoLogprobs, Policy

TURNS_A_SEED: Final = 1_000_003
"""Players make the seed of a turn of that of its episode, times this, and its number."""

Usage = Mapping[str, int]
"""`requests`, `prompt_tokens`, `sampled_tokens`, and how many replies were odd, by kind."""

_TOKENS: Final = ("requests", "prompt_tokens", "sampled_tokens")


class Prices(NamedTuple):
    """What a million tokens cost: of prompts, and of what is sampled."""

    prompt: float
    sampled: float

    def cost(self, usage: Usage) -> float:
        """Return what that much costs, in the currency of the prices."""
        prompt, sampled = usage.get("prompt_tokens", 0), usage.get("sampled_tokens", 0)
        return (self.prompt * prompt + self.sampled * sampled) / 1e6


def prices_of(given: Sequence[float] | None) -> Prices | None:
    """Return prices as an option gives them. Raises `UsageError` for what are none."""
    if given is None:
        return None
    if len(given) != 2 or not all(0 <= each < 1e9 for each in given):
        raise UsageError(
            f"price: {' '.join(map(str, given))}; expected two, for a million tokens of prompts and"
            " of replies"
        )
    return Prices(*given)


class Meter:
    """Counts by episode, as a policy is asked through `chat` or `policy`.

    Of answers that are `stored` nobody knows the tokens, and that is not odd.
    """

    def __init__(self, *, stored: bool = False) -> None:
        self.stored = stored
        self._open: defaultdict[int, Counter[str]] = defaultdict(Counter)
        self.total: Counter[str] = Counter()

    def take(self, seed: int) -> Usage:
        """Return what the episode of that seed has come to, its lost attempts too; it has ended."""
        return dict(self._open.pop(seed, Counter()))

    def count(self, turn_seed: int, **counts: int) -> None:
        """Count for the episode of a turn's seed."""
        found = {name if name in _TOKENS else name.replace("_", " "): int(count)
                 for name, count in counts.items() if count}  # fmt: skip
        self._open[turn_seed // TURNS_A_SEED].update(found)
        self.total.update(found)

    def chat(self, model: ChatModel) -> ChatModel:
        """Return `model` with its replies counted."""
        return _MeteredChat(model, self)

    def policy(self, policy: Policy, codec: TokenCodec) -> Policy:
        """Return `policy` with its turns counted."""
        return _MeteredPolicy(policy, self, codec)


class _MeteredChat(ChatModel):
    def __init__(self, model: ChatModel, meter: Meter) -> None:
        self._model, self._meter = model, meter
        self.native_tools = model.native_tools

    async def reply(
        self,
        messages: Messages,
        tools: Schemas,
        *,
        max_tokens: int,
        sampling: Sampling,
        seed: int,
        stop: Sequence[str] = (),
    ) -> ChatReply:
        reply = await self._model.reply(
            messages, tools, max_tokens=max_tokens, sampling=sampling, seed=seed, stop=stop
        )
        thought, closed, answer = reply.content.rpartition(END_THINK)
        thinks = bool(reply.thinking.strip() or thought.strip())
        speaks = bool(answer.strip() or reply.requests)
        self._meter.count(
            seed,
            requests=1,
            prompt_tokens=reply.prompt_tokens or 0,
            sampled_tokens=reply.tokens or 0,
            empty=not thinks and not speaks,
            no_answer=thinks and not speaks,
            no_reasoning=not thinks and not closed,
            no_usage=reply.tokens is None and not self._meter.stored,
        )
        return reply

    async def aclose(self) -> None:
        await self._model.aclose()


class _MeteredPolicy(Policy):
    def __init__(self, policy: Policy, meter: Meter, codec: TokenCodec) -> None:
        self._policy, self._meter, self._codec = policy, meter, codec
        self.elsewhere, self.request_seconds = policy.elsewhere, policy.request_seconds
        self.weight_version = policy.weight_version
        self._end_think = codec.control_ids.get(END_THINK, -1)

    async def generate(self, request: GenerationRequest) -> Generation:
        try:
            generation = await self._policy.generate(request)
        except NoLogprobs:
            self._meter.count(request.seed, requests=1, no_logprobs=1)
            raise
        self._count(request, generation)
        return generation

    def _count(self, request: GenerationRequest, generation: Generation) -> None:
        ids = generation.ids
        thinks = self._end_think in ids or (self._end_think < 0 and END_THINK in self._text(ids))
        said = [each for each in ids if each not in request.stop_ids]
        cut = generation.finish_reason == "length"
        self._meter.count(
            request.seed,
            requests=1,
            prompt_tokens=len(request.ids),
            sampled_tokens=len(ids),
            empty=not said,
            no_answer=bool(said) and thinks and said[-1] == self._end_think and not cut,
            no_reasoning=not thinks and not cut,
        )

    def recall(self, request: GenerationRequest, generation: Generation) -> None:
        # Sampled before an interruption, by an episode that has not been stored.
        self._count(request, generation)
        self._policy.recall(request, generation)

    async def context(self) -> int | None:
        return await self._policy.context()

    async def release(self, episode: str) -> None:
        await self._policy.release(episode)

    async def aclose(self) -> None:
        await self._policy.aclose()

    def _text(self, ids: Sequence[int]) -> str:
        return self._codec.decode(ids)


def stored_usage(path: Path) -> Counter[str]:
    """Return what all rows of an evaluation's episodes have used, those of lost ones included."""
    total: Counter[str] = Counter()
    for _, row in read_objects(path, constants=True, appended=True) if path.exists() else ():
        usage: Any = row.get("usage")
        if isinstance(usage, dict):
            total.update({name: count for name, count in usage.items() if type(count) is int})
    return total


def odd_replies(usage: Usage) -> dict[str, int]:
    """Return how many replies were odd, by kind."""
    return {name: count for name, count in usage.items() if name not in _TOKENS and count}
