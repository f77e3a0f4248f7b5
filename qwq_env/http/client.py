"""JSON over HTTP to servers that may be slow, busy or gone: bounded, retried, keyed.

Why you would want this: thousands of episodes ask one server, so the requests in flight must be
bounded before they reach the HTTP library (httpx slows with each that waits inside it), and what
fails on the way must be tried again without anybody noticing.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import httpx

from qwq_env.checks import check_positive, check_whole
from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.http.api_key import ApiKey
from qwq_env.http.liveness import Liveness
from qwq_env.http.proxies import proxy_for, route
from qwq_env.http.refusal import Refusal, RefusalKind, read_refusal
from qwq_env.http.retry_after import seconds_asked, seconds_in_words

_SHOWN = 500
"""Characters of a server's error that are passed on."""
_READ = 4000
"""Characters of it in which a time to wait is looked for."""
_PROBE_SECONDS = 2.0
_AWAY = frozenset({502, 503, 504, 521, 522, 523})
"""Statuses with which a gateway says that there is nobody behind it (and busy servers that they
are busy)."""

Result = TypeVar("Result")


class Transient(Exception):
    """Failed on the way; may succeed when tried again. The message may be long and unclean."""


class Rejection(Exception):
    """An error in place of an answer: as a status, or (200) inside of what began as one.

    `body` may be long and unclean; `after` is for how many seconds the server asked to be left
    alone.
    """

    def __init__(self, status: int, body: str, after: float = 0.0) -> None:
        super().__init__(f"{status}: {body}")
        self.status, self.body, self.after = status, body, after


class Refused(InfrastructureError):
    """The server understood and refused; asking again would only repeat it.

    `refusal` says who has to act; `words` are the status and the server's.
    """

    def __init__(self, url: str, words: str, refusal: Refusal) -> None:
        super().__init__(f"{url}: {words}")
        self.words, self.refusal = words, refusal

    @property
    def kind(self) -> RefusalKind:
        """See `Refusal`."""
        return self.refusal.kind


class _Connections(NamedTuple):
    """What belongs to one event loop."""

    client: httpx.AsyncClient
    slots: asyncio.Semaphore
    liveness: Liveness


class HttpClient:
    """Posts JSON to one server. Usable from several event loops; `aclose` in each before it ends.

    At most `in_flight` requests are open at a time in each loop. What fails on the way
    (connection, 429, 5xx, an answer that breaks off) is tried `attempts` times, with waits that
    double from `backoff` seconds and are longer where the server asks for it (`Retry-After`).
    `seconds` bounds each wait for the server, that one too; a deadline of the caller's ends any
    of them by cancelling. The `key` is the
    value of the environment variable `api_key_variable`; it goes into one header, and is taken out
    of whatever the server says that becomes a message.

    A server that does nothing but fail is named in the log. With `alive_url`, an address that it
    answers in any way as long as it is there (but for a gateway's 502 to 504), `ServersGone` ends
    whatever waits for it once it has not been reached for `grace` seconds; without one, each
    request is given up by itself.
    """

    def __init__(
        self,
        *,
        api_key_variable: str | None = None,
        in_flight: int = 32,
        attempts: int = 5,
        seconds: float = 1800.0,
        backoff: float = 0.5,
        alive_url: str | None = None,
        grace: float = 5.0,
    ) -> None:
        """Raises `UsageError` for a bound that is none, and for a value that cannot be a key."""
        check_whole("in_flight", in_flight)
        check_whole("attempts", attempts)
        check_positive("seconds", seconds)
        if alive_url is not None:
            check_positive("grace", grace)
        self._in_flight = in_flight
        self._attempts = attempts
        self._backoff = backoff
        self._seconds = seconds
        self._timeout = httpx.Timeout(seconds, connect=min(seconds, 10.0))
        self._alive_url = alive_url
        self._grace = math.inf if alive_url is None else grace
        name = api_key_variable or "api_key"
        # A variable that is set to nothing is the usual way to say that there is no key.
        self.key = ApiKey(os.environ.get(name) or None if api_key_variable else None, name)
        self._of_loop: dict[asyncio.AbstractEventLoop, _Connections] = {}

    async def post(
        self,
        url: str,
        body: Mapping[str, Any],
        read: Callable[[httpx.Response], Awaitable[Result]],
    ) -> Result:
        """Post `body` and return what `read` makes of the answer, an open stream of status 2xx.

        `read` raises `Transient` for an answer worth asking for again, and `Rejection` for one that
        is an error after all. Raises `Refused` when the server refuses, and another
        `InfrastructureError` when no attempt succeeded; `ServersGone` when the server is not there
        any more.
        """
        connections = self._connections(url)
        async with connections.liveness.watching():
            return await self._post(url, body, read, connections)

    async def _post(
        self,
        url: str,
        body: Mapping[str, Any],
        read: Callable[[httpx.Response], Awaitable[Result]],
        connections: _Connections,
    ) -> Result:
        content = json.dumps(body, allow_nan=False).encode()
        client, slots, liveness = connections
        failure, after = "", 0.0
        for attempt in range(self._attempts):
            if attempt:
                wait = self._backoff * 2 ** (attempt - 1)
                await asyncio.sleep(after + wait * random.uniform(0.5, 1.5))
            try:
                async with slots, client.stream("POST", url, content=content) as response:
                    if not response.is_success:
                        raise await _rejection(response)
                    result = await read(response)
                liveness.served(_origin(url))
                return result
            except Rejection as error:
                answered, failure = error.status not in _AWAY, self._passing(url, error, body)
                asked = error.after or seconds_in_words(error.body[:_READ])
                after = min(asked, self._seconds)
            except (httpx.RequestError, httpx.StreamError, Transient) as error:
                answered = isinstance(error, Transient | httpx.ReadTimeout | httpx.PoolTimeout)
                failure, after = self._shown(f"{type(error).__name__}: {error}"), 0.0
            liveness.failed(_origin(url), failure, answered=answered, after=after)
            await liveness.settled()
        raise InfrastructureError(f"{url}: {failure}{self._way(url)}")

    async def post_json(self, url: str, body: Mapping[str, Any]) -> Any:
        """Post `body` and return the JSON that comes back; raises like `post`."""
        return await self.post(url, body, self._read_json)

    async def aclose(self) -> None:
        """Close the connections of this event loop."""
        if (connections := self._of_loop.pop(asyncio.get_running_loop(), None)) is not None:
            await connections.client.aclose()

    def _passing(self, url: str, error: Rejection, body: Mapping[str, Any]) -> str:
        """Return the words of an error that may pass. Raises `Refused` for any other."""
        refusal = read_refusal(error.status, error.body, body)
        words = self._shown(str(error))
        if refusal.kind == "passing":
            return words
        # What the model wrote may hold a key that is a word, such as EMPTY.
        failed = self.key.hidden(refusal.failed) if self.key.distinctive else refusal.failed
        known = refusal._replace(
            setting=self._shown(refusal.setting),
            message=self._shown(refusal.message),
            failed=failed,
        )
        raise Refused(url, words + self._way(url), known) from None

    @staticmethod
    def _way(url: str) -> str:
        return f" ({proxy})" if (proxy := proxy_for(url)) else ""

    def _shown(self, words: str) -> str:
        """Return a server's words on one line, without the key, and only then cut to length."""
        return " ".join(self.key.hidden(words).split())[:_SHOWN]

    async def _read_json(self, response: httpx.Response) -> Any:
        text = (await response.aread()).decode("utf-8", "replace")
        try:
            return json.loads(self.key.hidden(text) if self.key.distinctive else text)
        except (ValueError, RecursionError):
            raise Transient("the answer is not JSON") from None

    def _connections(self, url: str) -> _Connections:
        loop = asyncio.get_running_loop()
        if loop not in self._of_loop:
            for ended in [known for known in self._of_loop if known.is_closed()]:
                del self._of_loop[ended]
            headers = {"Content-Type": "application/json", **self.key.headers()}
            client = httpx.AsyncClient(
                headers=headers,
                timeout=self._timeout,
                limits=httpx.Limits(max_connections=self._in_flight),
                **route(url),
            )
            names = [] if self._alive_url is None else [_origin(self._alive_url)]
            liveness = Liveness(names, self._probe, grace=self._grace)
            slots = asyncio.Semaphore(self._in_flight)
            self._of_loop[loop] = _Connections(client, slots, liveness)
        return self._of_loop[loop]

    async def _probe(self, origin: str) -> str | None:
        """Return what keeps the server from answering at all, None if nothing does."""
        assert self._alive_url is not None
        try:
            # Connections of its own: those of the requests may all be taken.
            async with httpx.AsyncClient(
                headers=self.key.headers(), timeout=_PROBE_SECONDS, **route(self._alive_url)
            ) as one:
                status = (await one.get(self._alive_url)).status_code
        except httpx.ReadTimeout:
            return None
        except httpx.RequestError as error:
            return self._shown(f"{type(error).__name__}: {error}") + self._way(self._alive_url)
        if status not in _AWAY:
            return None
        return f"status {status} on {self._alive_url}{self._way(self._alive_url)}"


def _origin(url: str) -> str:
    """Return the server's part of an address."""
    parts = httpx.URL(url)
    return f"{parts.scheme}://{parts.netloc.decode()}"


async def _rejection(response: httpx.Response) -> Rejection:
    body = (await response.aread()).decode("utf-8", "replace")
    return Rejection(response.status_code, body, seconds_asked(response.headers, now=time.time()))


def base_address(name: str, url: str) -> str:
    """Return `url` without a trailing slash. Raises `UsageError` naming `name` for what is none."""
    try:
        parts = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        raise UsageError(f"{name}: {url!r}; expected http://host:port/path") from None
    if parts.userinfo:
        raise UsageError(f"{name}: holds a user name or password; keys come from the environment")
    if parts.scheme not in ("http", "https") or not parts.host or parts.query:
        raise UsageError(f"{name}: {url!r}; expected http://host:port/path")
    return url.rstrip("/")
