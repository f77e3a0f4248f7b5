"""How many tokens a chat episode may still spend, as far as it can be known."""

from __future__ import annotations

import json

from qwq_env.chat_model import ChatReply
from qwq_env.episode import Episode, Spender
from qwq_env.rollout.play import PlaySettings

_BYTES_PER_TOKEN = 4


class ChatBudget:
    """The tokens of one episode in its context and in its completion.

    The server's own counts hold where it sends them (`usage`). What it does not count, and what
    tools say before it has read it, is counted with the environment's tokenizer, or else estimated
    at a token for four bytes. The completion is the model's tokens, thinking included, and the
    tools'.
    """

    def __init__(self, episode: Episode, settings: PlaySettings, opening: str) -> None:
        """`opening` is the text of the prompt, tools included."""
        self._episode, self._settings = episode, settings
        self._context = self._count(opening)
        self._spent = 0

    def left(self) -> int:
        """Return how many tokens the next turn may have; below 1, none."""
        settings = self._settings
        left = min(
            settings.context - self._context,
            settings.completion - self._spent,
            settings.turn_tokens,
        )
        allowed = self._episode.tokens_left()
        return left if allowed is None else min(left, allowed)

    def sample(self, reply: ChatReply) -> None:
        """Take account of a reply."""
        content = reply.content + "".join(json.dumps(call["function"]) for call in reply.native)
        thinking = self._count(reply.thinking)
        sampled = self._count(content) + thinking if reply.tokens is None else reply.tokens
        if reply.prompt_tokens is not None:
            self._context = reply.prompt_tokens
        stays = sampled if self._settings.thinking == "keep" else max(0, sampled - thinking)
        self._context += stays
        self._spend(sampled)

    def observe(self, text: str, by: Spender) -> None:
        """Take account of what tools or a user said."""
        tokens = self._count(text)
        self._context += tokens
        self._spend(tokens, by)

    def _spend(self, tokens: int, by: Spender = "policy") -> None:
        self._spent += tokens
        self._episode.spend(tokens, by)

    def _count(self, text: str) -> int:
        written = text.encode("utf-8", "replace")
        tokenizer = self._episode.settings.tokenizer
        if tokenizer is not None:
            return len(tokenizer.encode(written.decode()))
        return -(-len(written) // _BYTES_PER_TOKEN)
