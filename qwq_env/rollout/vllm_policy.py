"""A policy that samples from vLLM servers over HTTP: token ids in, token ids out.

Each rank has a policy of its own and asks any of the servers; nothing is gathered across ranks.
Start a server so that log-probabilities are those of the distribution drawn from:

    vllm serve MODEL --logprobs-mode processed_logprobs

Requests in flight are bounded here, before they reach the HTTP client: thousands of episodes
wait in a queue of ours, which costs nothing. The client is aiohttp, because httpx looks at every
open request for every request (`benchmarks/http_clients.py` has the figures).
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.rollout.policy import Generation, GenerationRequest, Policy

_RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Bounds on talking to a server.

    `in_flight` requests at a time for each server; `seconds` for one, in all; `attempts` for one
    that fails on the way (connection, 429, 5xx), with waits that double from `backoff` seconds.
    """

    in_flight: int = 256
    seconds: float = 1800.0
    attempts: int = 5
    backoff: float = 0.5

    def __post_init__(self) -> None:
        for name in ("in_flight", "seconds", "attempts", "backoff"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name}: {getattr(self, name)!r}; expected a number above 0")


class _Rejected(Exception):
    """The server understood the request and will not serve it; trying again is no use."""


class VllmPolicy(Policy):
    """Samples from one or more `vllm serve` of the same model.

    An episode keeps to one server, whose prefix cache holds it; a failing one is passed over.
    `max_tokens` of a turn is bounded by what is left of the server's context, which is asked from
    it. Cancelling a turn closes its connection, and vLLM then drops the request.
    """

    def __init__(
        self,
        urls: str | Sequence[str],
        *,
        model: str | None = None,
        settings: HttpSettings | None = None,
        api_key: str | None = None,
    ) -> None:
        """`model` is the name to ask for, by default the first that the server names."""
        self._urls = [url.rstrip("/") for url in ([urls] if isinstance(urls, str) else urls)]
        if not self._urls or not all(u.startswith(("http://", "https://")) for u in self._urls):
            raise UsageError(f"vllm url: {urls!r}; expected http://host:port, one or more")
        self._settings = settings or HttpSettings()
        self._model = model
        self._context: int | None = None
        self._headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        self._next_server = itertools.count()
        self._server_of: dict[str, int] = {}
        self._random = random.Random()
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._slots: list[asyncio.Semaphore] = []
        self._ready = asyncio.Lock()

    async def generate(self, request: GenerationRequest) -> Generation:
        """Sample one turn on a server; see `Policy.generate`."""
        await self._connect()
        assert self._context is not None
        max_tokens = min(request.max_tokens, self._context - len(request.ids))
        if max_tokens < 1:
            return Generation([], [], "length")
        server = self._server_of.setdefault(request.episode, next(self._next_server))
        answer = await self._ask(server, self._body(request, max_tokens))
        return _read(answer)

    async def release(self, episode: str) -> None:
        """Forget which server the episode was on."""
        self._server_of.pop(episode, None)

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def context(self) -> int:
        """Return the server's context in tokens."""
        await self._connect()
        assert self._context is not None
        return self._context

    def _body(self, request: GenerationRequest, max_tokens: int) -> bytes:
        sampling = request.sampling
        body = {
            "model": self._model,
            "prompt": list(request.ids),
            "max_tokens": max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "seed": request.seed & 0x7FFF_FFFF,
            "logprobs": 0,
            "return_token_ids": True,
            "stop_token_ids": sorted(request.stop_ids),
            "stop": list(request.stop_strings) or None,
            "include_stop_str_in_output": True,
            "skip_special_tokens": False,
        }
        return json.dumps(body).encode()

    async def _ask(self, server: int, body: bytes) -> dict[str, Any]:
        """Post one completion; try again, on the next server, what failed on the way."""
        settings = self._settings
        failure = ""
        try:
            async with asyncio.timeout(settings.seconds):
                for attempt in range(settings.attempts):
                    if attempt:
                        wait = settings.backoff * 2 ** (attempt - 1)
                        await asyncio.sleep(wait * self._random.uniform(0.5, 1.5))
                    index = (server + attempt) % len(self._urls)
                    try:
                        async with self._slots[index]:
                            return await self._post(f"{self._urls[index]}/v1/completions", body)
                    except (aiohttp.ClientError, OSError) as error:
                        failure = f"{self._urls[index]}: {type(error).__name__}: {error}"
        except TimeoutError:
            failure = f"no answer within {settings.seconds:g} seconds; {failure}"
        except _Rejected as error:
            failure = str(error)
        raise InfrastructureError(f"vllm: {failure}")

    async def _post(self, url: str, body: bytes) -> dict[str, Any]:
        assert self._session is not None
        async with self._session.post(url, data=body) as response:
            if response.status in _RETRIED_STATUS:
                response.raise_for_status()
            if response.status != 200:
                raise _Rejected(f"{url}: {response.status}: {(await response.text())[:500]}")
            answer: dict[str, Any] = json.loads(await response.read())
            return answer

    async def _connect(self) -> None:
        """Open the session on the running loop, and ask a server for its model and context."""
        loop = asyncio.get_running_loop()
        if self._session is not None and self._loop is loop:
            return
        async with self._ready:
            if self._session is not None and self._loop is loop:
                return
            session = aiohttp.ClientSession(
                headers={"Content-Type": "application/json", **self._headers},
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
            )
            try:
                await self._learn(session)
            except BaseException:
                await session.close()
                raise
            self._slots = [asyncio.Semaphore(self._settings.in_flight) for _ in self._urls]
            self._loop, self._session = loop, session

    async def _learn(self, session: aiohttp.ClientSession) -> None:
        url = f"{self._urls[0]}/v1/models"
        try:
            async with session.get(url) as response:
                response.raise_for_status()
                models = (await response.json())["data"]
        except (aiohttp.ClientError, OSError, ValueError, KeyError) as error:
            raise InfrastructureError(f"vllm: {url}: {type(error).__name__}: {error}") from None
        served = {model["id"]: model for model in models}
        self._model = self._model or next(iter(served), None)
        if self._model not in served:
            raise UsageError(f"vllm model: {self._model!r} is not served; it has {sorted(served)}")
        self._context = int(served[self._model]["max_model_len"])


def _read(answer: dict[str, Any]) -> Generation:
    choice = answer["choices"][0]
    ids = choice.get("token_ids")
    if ids is None:
        raise InfrastructureError("vllm: no token_ids in the answer; expected vLLM 0.10.2 or newer")
    logprobs = choice["logprobs"]["token_logprobs"]
    if len(logprobs) != len(ids):
        raise InfrastructureError(f"vllm: {len(logprobs)} logprobs for {len(ids)} token ids")
    reason = choice["finish_reason"]
    if reason not in ("stop", "length"):
        raise InfrastructureError(f"vllm: the request ended by {reason!r}")
    return Generation(list(ids), [float("nan") if value is None else value for value in logprobs], reason)
