"""A policy that writes what it is told: for tests of environments, and for measuring the engine."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence

from qwq_env.dialect.base import Piece
from qwq_env.dialect.codec import TokenCodec
from qwq_env.rollout.policy import Generation, GenerationRequest, Policy

Script = Callable[[str], str | Awaitable[str]]


class ScriptedPolicy(Policy):
    """Writes the n-th of `turns` in an episode's n-th turn, or what a function makes of the text.

    The function gets the whole context as text. A turn longer than the request's `max_tokens`
    is cut, as a model's would be. Log-probabilities are 0.0, for nothing is drawn.
    """

    def __init__(self, codec: TokenCodec, turns: Sequence[str] | Script) -> None:
        self.codec = codec
        self._script = turns if callable(turns) else None
        self._turns = [] if callable(turns) else [self._encode(turn) for turn in turns]
        self._next: dict[str, int] = {}

    async def generate(self, request: GenerationRequest) -> Generation:
        """Return the next scripted turn; the last one is repeated when the script runs out."""
        if self._script is not None:
            text = self._script(self.codec.decode(request.ids))
            ids = self._encode(await text if inspect.isawaitable(text) else text)
        else:
            number = self._next.get(request.episode, 0)
            self._next[request.episode] = number + 1
            ids = self._turns[min(number, len(self._turns) - 1)]
        if len(ids) > request.max_tokens:
            ids = ids[: request.max_tokens]
            return Generation(ids, [0.0] * len(ids), "length")
        return Generation(list(ids), [0.0] * len(ids), "stop")

    def recall(self, request: GenerationRequest, generation: Generation) -> None:
        """Go on behind a turn that was written before an interruption."""
        self._next[request.episode] = self._next.get(request.episode, 0) + 1

    async def release(self, episode: str) -> None:
        """Forget how far the episode was."""
        self._next.pop(episode, None)

    def _encode(self, turn: str) -> list[int]:
        return self.codec.encode_pieces([Piece(turn, control=True)])
