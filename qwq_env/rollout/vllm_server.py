"""One vLLM server as a policy sees it: one attempt at one request, and what its failure means.

`Unserved` is a failure on the way, which another server or a later attempt may not have: no
connection, a broken one, 429, 5xx and their like. Whether the server is still there is then seen by
`VllmServer.probe`. A refusal would only be repeated, and `refusal_kind`
says whose affair it is: `ContextFull` is a context longer than the server takes, a `UsageError`
what the operator must mend (key, address, model), and everything else an `InfrastructureError`.
All of them hold the server's own words, but never the key.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from typing import Any, NamedTuple, TypedDict

import aiohttp

from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.http.api_key import ApiKey
from qwq_env.http.proxies import proxy_for, way_to
from qwq_env.http.refusal import refusal_kind
from qwq_env.http.retries import AWAY, seconds_asked

_log = logging.getLogger(__name__)

_FAILED = AWAY | {500}
"""Statuses of an engine that died, or of a gateway with nobody behind it."""
_COMPLETIONS = "/v1/completions"
_LEARN_SECONDS = 30.0
_REST_SECONDS = 10.0
_PROBE_SECONDS = 2.0


class Unserved(Exception):
    """The request failed on the way; another server, or a later attempt, may serve it.

    `after` is for how many seconds the server asked to be left alone; `busy` that it is well, and
    only has no time.
    """

    def __init__(self, message: str, after: float = 0.0, *, busy: bool = False) -> None:
        super().__init__(message)
        self.after = after
        self.busy = busy


class ContextFull(InfrastructureError):
    """The server takes no context as long as this one."""


class Served(NamedTuple):
    """What a server has: the name to ask for, and how many tokens context and turn may be.

    `dies_of_seeds` says that a request's seed would end its engine, as far as it tells.
    """

    model: str
    context: int
    dies_of_seeds: bool = False


class _Way(TypedDict):
    """How every request gets there, as aiohttp takes it."""

    proxy: str | None
    allow_redirects: bool


class VllmServer:
    """The address of a server and what is known of it. Belongs to one event loop."""

    def __init__(
        self,
        url: str,
        session: aiohttp.ClientSession,
        *,
        in_flight: int,
        model: str | None,
        key: ApiKey,
        adapter: str | None = None,
    ) -> None:
        """`in_flight` bounds the requests at a time; the others wait here, which costs nothing.

        With an `adapter` it is that which is asked for, on `model`: the server may have it later,
        and no more once it was started anew. Until then it serves nothing.

        `session` sends the `key`; it is given here to be hidden. Raises `UsageError` for a proxy
        that cannot be one.
        """
        self.url = url
        proxy = proxy_for(url, socks=False)
        self._way: _Way = {
            "proxy": None if proxy is None else proxy.address,
            "allow_redirects": False,
        }
        self._session = session
        self._key = key
        self._slots = asyncio.Semaphore(in_flight)
        self._model = model
        self._adapter = adapter
        self._served: Served | None = None
        self._learning: asyncio.Task[Served] | None = None
        self._rested = 0.0

    @property
    def resting(self) -> bool:
        """Whether it failed a short while ago; better ask another one, if there is one."""
        return asyncio.get_running_loop().time() < self._rested

    async def served(self) -> Served:
        """Return what the server has, asked for once. Raises like `complete`, and `UsageError`
        when it does not have the model."""
        if self._served is None:
            if self._learning is None or self._learning.done():
                self._learning = asyncio.create_task(self._learn())
                self._learning.add_done_callback(_take_notice)
            # All that wait share one question; one that is cancelled leaves it to the others.
            self._served = await asyncio.shield(self._learning)
        return self._served

    async def complete(
        self, body: bytes, seconds: float, headers: Mapping[str, str] | None = None
    ) -> Any:
        """Return the JSON that `/v1/completions` answers; `seconds` run from when it is sent."""
        async with self._slots:
            try:
                async with asyncio.timeout(seconds):
                    return await self._ask("POST", _COMPLETIONS, body, headers)
            except TimeoutError:
                message = f"{self.url}: no answer within {seconds:g} seconds"
                raise InfrastructureError(message) from None

    async def probe(self) -> str | None:
        """Return what keeps the server from sampling, None if nothing does (see `Liveness`).

        A dead engine answers 503 on `/health`, or its gateway 5xx. A connection that is made and
        then silent is that of a server that is busy; and it must be a new one, for one that is
        kept open says nothing of a machine that vanished.
        """
        timeout = aiohttp.ClientTimeout(sock_connect=_PROBE_SECONDS, sock_read=_PROBE_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(headers={"Connection": "close"}, timeout=timeout) as session,
                session.get(f"{self.url}/health", **self._way) as response,
            ):
                status = response.status
        except aiohttp.SocketTimeoutError:
            return None
        except (aiohttp.ClientError, OSError) as error:
            return self._broken(error)
        return f"status {status} on /health{way_to(self.url)}" if status in _FAILED else None

    async def aclose(self) -> None:
        """Give up a question under way."""
        if self._learning is not None:
            self._learning.cancel()
            await asyncio.wait([self._learning])

    async def _learn(self) -> Served:
        try:
            async with asyncio.timeout(_LEARN_SECONDS):
                answer = await self._ask("GET", "/v1/models")
                dies_of_seeds = await self._look_at_settings()
        except TimeoutError:
            raise Unserved(f"{self.url}: no answer within {_LEARN_SECONDS:g} seconds") from None
        try:
            served = {str(row["id"]): row.get("max_model_len") for row in answer["data"]}
            # An adapter has the context of the model that it stands on, and says none itself.
            roots = {str(row["id"]): str(row.get("parent")) for row in answer["data"]}
        except (KeyError, TypeError, AttributeError):
            raise InfrastructureError(f"{self.url}/v1/models: no list of models") from None
        model = self._model if self._model is not None else next(iter(served), None)
        if model not in served:
            known = self._key.shown(str(sorted(served)))
            raise UsageError(f"vllm model: {model!r}; {self.url} serves {known}")
        context = served[model] or served.get(roots[model])
        if type(context) is not int or context < 1:
            raise UsageError(f"vllm: {self.url}/v1/models: no max_model_len; expected vLLM")
        if self._adapter is not None and self._adapter in served and served[self._adapter]:
            raise UsageError(f"vllm adapter: {self._adapter!r} is the base model of {self.url}")
        return Served(self._adapter or model, context, dies_of_seeds)

    async def _look_at_settings(self) -> bool:
        """Warn of log-probabilities that are not those of the distribution drawn from, and return
        whether the engine dies of a seed: on CPU, where it reads prompts in parts.

        Only a server in development mode tells; any other is taken on trust.
        """
        try:
            answer = await self._ask("GET", "/server_info?config_format=json")
            settings = answer["vllm_config"]
            mode = settings["model_config"]["logprobs_mode"]
        except (Unserved, InfrastructureError, UsageError, KeyError, TypeError):
            return False
        if mode != "processed_logprobs":
            _log.warning(
                "%s runs with --logprobs-mode %s: at a temperature other than 1 its"
                " log-probabilities are not those of what was sampled;"
                " restart it with --logprobs-mode processed_logprobs",
                self.url, self._key.shown(str(mode)),
            )  # fmt: skip
        try:
            on_cpu = settings["device_config"]["device"] == "cpu"
            return on_cpu and bool(settings["scheduler_config"]["enable_chunked_prefill"])
        except (KeyError, TypeError):
            return False

    async def _ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        url = self.url + path
        asked = self._session.request(method, url, data=body, headers=headers, **self._way)
        try:
            async with asked as response:
                status, headers = response.status, response.headers
                content = await response.read()
        except (aiohttp.ClientError, OSError) as error:
            self._rest()
            raise Unserved(f"{self.url}: {self._broken(error)}") from None
        if status != 200:
            raise self._failure(url, status, headers, content.decode(errors="replace"))
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            raise InfrastructureError(f"{url}: the answer is not JSON") from None

    def _failure(self, url: str, status: int, headers: Mapping[str, str], body: str) -> Exception:
        message = f"{url}: status {status}: {self._key.shown(_message(body))}{way_to(url)}"
        if status == 404 and self._adapter is not None and url.endswith(_COMPLETIONS):
            self._rest()
            return Unserved(f"{message} (it has adapters from the next push of weights on)")
        kind = refusal_kind(status, body)
        if kind == "passing":
            if status != 429:
                self._rest()
            after = seconds_asked(headers, body, now=time.time())
            return Unserved(message, after, busy=status not in _FAILED)
        if kind == "operator":
            return UsageError(f"vllm: {message}; check the address, the model and the api_key")
        return ContextFull(message) if kind == "context" else InfrastructureError(message)

    def _broken(self, error: Exception) -> str:
        """Return what is wrong with the connection."""
        return self._key.shown(f"{type(error).__name__}: {error}") + way_to(self.url)

    def _rest(self) -> None:
        self._rested = asyncio.get_running_loop().time() + _REST_SECONDS


def _message(text: str) -> str:
    """Return the words of an error, of which vLLM has two forms."""
    try:
        data = json.loads(text)
        error = data.get("error", data)
        text = str(error.get("message", text))
    except (ValueError, AttributeError, RecursionError):
        pass
    return text


def _take_notice(task: asyncio.Task[Served]) -> None:
    # Without this, asyncio complains of an error that nobody was left to wait for.
    if not task.cancelled():
        task.exception()
