"""Chat completions of any OpenAI-compatible endpoint: vLLM, DashScope, and the like.

Replies are streamed, for some servers of reasoning models answer in no other way; one that cannot
stream is asked for the whole. Policies for evaluation and judges for rewards are made of this.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from qwq_env.checks import check_positive
from qwq_env.http.api_key import ApiKey
from qwq_env.http.chat_calls import NativeCall
from qwq_env.http.chat_habits import Habits, token_bounds
from qwq_env.http.chat_reply import Completion, read_completion
from qwq_env.http.client import HttpClient, Refused, base_address

__all__ = ["ChatClient", "Completion", "NativeCall"]

_SHAPES = 6
"""How often one request may be asked in another shape; each lesson is learned once."""


class ChatClient:
    """Asks `{base_url}/chat/completions`. Bounds, retries and key are `HttpClient`'s.

    `extra` is merged into every request: None takes a key out, objects are merged key by key.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key_variable: str = "OPENAI_API_KEY",
        in_flight: int = 32,
        attempts: int = 5,
        seconds: float = 1800.0,
        extra: Mapping[str, Any] | None = None,
        grace: float = math.inf,
        key: ApiKey | None = None,
    ) -> None:
        """A `key` stands for that of the variable. With a finite `grace`, `ServersGone` ends
        whatever waits for a server that was not reached for so many seconds. Raises `UsageError`
        for an address that cannot be one."""
        self.base_url = base_address("base_url", base_url)
        self._habits = Habits(extra)
        check_positive("grace", grace)
        self._http = HttpClient(
            key=key or ApiKey.of_variable(api_key_variable),
            in_flight=in_flight,
            attempts=attempts,
            seconds=seconds,
            # Which models there are is the one thing that every such server can be asked for free.
            alive_url=f"{self.base_url}/models" if math.isfinite(grace) else None,
            grace=grace,
        )

    async def complete(self, body: Mapping[str, Any], stop: Sequence[str] = ()) -> Completion:
        """Return the whole reply to `body`, to which a stream is asked for.

        The content ends with the first of the `stop` strings in it, and the rest is not waited for:
        the server's own `stop` would leave the string out, so that nobody knew which it was.
        A server that echoes the key in its reply gets `***` for it. One that refuses a request for
        its shape (no streaming, fewer tokens, the thinking of earlier turns) is asked again in
        another; see `Habits`. Where the messages leave less room than the tokens asked for and
        the server minds, it is asked for as many as it can give.

        Raises `InfrastructureError` when the server refuses (`Refused`) or is not to be reached.
        """
        bounded = True
        asked = self._habits.shaped(body)
        for _ in range(_SHAPES):
            try:
                return await self._ask(asked, stop)
            except Refused as error:
                self._habits.learn(error.refusal, asked)
                again = self._habits.shaped(body, bounded=bounded)
                if again == asked and error.kind in ("context", "tokens"):
                    bounded = False
                    again = self._habits.shaped(body, bounded=bounded)
                if again == asked:
                    raise
                asked = again
        return await self._ask(asked, stop)

    async def _ask(self, asked: Mapping[str, Any], stop: Sequence[str]) -> Completion:
        read = functools.partial(read_completion, stop=stop, tools=_names(asked))
        completion = await self._http.post(f"{self.base_url}/chat/completions", asked, read)
        completion = completion.within(min(token_bounds(asked), default=None))
        key = self._http.key
        return completion.cleaned(key.hidden) if key.distinctive else completion

    async def aclose(self) -> None:
        """Close the connections of this event loop."""
        await self._http.aclose()


def _names(asked: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of the tools; `extra` may hold some of a server's own without any."""
    functions = (tool.get("function") or {} for tool in asked.get("tools") or ())
    return frozenset(function.get("name", "") for function in functions)
