"""JSON over HTTP to servers that may be slow, busy or gone: bounded, retried, keyed.

Why you would want this: thousands of episodes ask one server, so the requests in flight must be
bounded before they reach the HTTP library (httpx slows with each that waits inside it), and what
fails on the way must be tried again without anybody noticing.
"""

from __future__ import annotations

import asyncio
import functools
import json
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import httpx

from qwq_env.checks import check_positive, check_whole
from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.http.api_key import ApiKey
from qwq_env.http.liveness import Liveness
from qwq_env.http.proxies import route, way_to
from qwq_env.http.refusal import Refusal, RefusalKind, read_refusal
from qwq_env.http.retries import AWAY, pause, seconds_asked, seconds_in_words

_PROBE_SECONDS = 2.0
_MOST_BYTES = 16 << 20
"""Of an answer that is read as a whole."""

Result = TypeVar("Result")


class Transient(Exception):
    """Failed on the way; may succeed when tried again. The message may be long and unclean."""


_ANSWERED = (Transient, httpx.ReadTimeout, httpx.PoolTimeout)
"""Failures that say nothing against the server's being there."""


class Rejection(Exception):
    """An error in place of an answer: as a status, or (200) inside of what began as one.

    `body` may be long and unclean; `after` is for how many seconds the server asked to be left
    alone.
    """

    def __init__(self, status: int, body: str, after: float = 0.0) -> None:
        super().__init__(f"status {status}: {body}")
        self.status, self.body, self.after = status, body, after or seconds_in_words(body)


class Refused(InfrastructureError):
    """The server understood and refused; asking again would only repeat it.

    `refusal` says who has to act; `words` are the status and the server's.
    """

    def __init__(self, url: str, status: int, words: str, refusal: Refusal) -> None:
        super().__init__(f"{url}: {words}")
        self.status, self.words, self.refusal = status, words, refusal

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
    """Asks one server, in JSON. Usable from several event loops; `aclose` in each before it ends.

    At most `in_flight` requests are open at a time in each loop. What fails on the way
    (connection, 429, 5xx, an answer that breaks off) is tried `attempts` times, with waits that
    double from `backoff` seconds and are longer where the server asks for it (`Retry-After`).
    `seconds` bounds each wait for the server, that one too, and `total` all that is done for one
    request; a deadline of the caller's ends any of them by cancelling. The `key` goes into one
    header, and is taken out of whatever the server says that becomes a message.

    A server that does nothing but fail is named in the log. With `alive_url`, an address that it
    answers in any way as long as it is there (but for a gateway's 502 to 504), `ServersGone` ends
    whatever waits for it once it has not been reached for `grace` seconds; without one, each
    request is given up by itself.
    """

    def __init__(
        self,
        *,
        key: ApiKey | None = None,
        in_flight: int = 32,
        attempts: int = 5,
        seconds: float = 1800.0,
        total: float | None = None,
        backoff: float = 0.5,
        alive_url: str | None = None,
        grace: float = 5.0,
    ) -> None:
        """Raises `UsageError` for a bound that is none."""
        check_whole("in_flight", in_flight)
        check_whole("attempts", attempts)
        check_positive("seconds", seconds)
        check_positive("total", total, optional=True)
        if alive_url is not None:
            check_positive("grace", grace)
        self._in_flight = in_flight
        self._attempts = attempts
        self._backoff = backoff
        self._seconds = seconds
        self._total = total
        self._timeout = httpx.Timeout(seconds, connect=min(seconds, 10.0))
        self._alive_url = alive_url
        self._grace = math.inf if alive_url is None else grace
        self.key = key or ApiKey(None)
        self._of_loop: dict[asyncio.AbstractEventLoop, _Connections] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_of_loop": {}}

    async def post(
        self,
        url: str,
        body: Mapping[str, Any],
        read: Callable[[httpx.Response], Awaitable[Result]],
    ) -> Result:
        """Post `body`; see `request`."""
        return await self.request("POST", url, read, body=body)

    async def request(
        self,
        method: str,
        url: str,
        read: Callable[[httpx.Response], Awaitable[Result]],
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Result:
        """Ask, and return what `read` makes of the answer, an open stream of status 2xx.

        `body` is sent as JSON, `params` in the address. `read` raises `Transient` for an answer
        worth asking for again, and `Rejection` for one that is an error after all. Raises `Refused`
        when the server refuses, and another `InfrastructureError` when no attempt succeeded;
        `ServersGone` when the server is not there any more.
        """
        client, slots, liveness = self._connections(url)
        content = None if body is None else json.dumps(body, allow_nan=False).encode()
        asking = functools.partial(client.stream, method, url, content=content, params=params)
        failure, after = "no free connection", 0.0
        try:
            async with liveness.watching(), asyncio.timeout(self._total):
                for attempt in range(self._attempts):
                    if attempt:
                        await asyncio.sleep(after + pause(attempt, self._backoff))
                    try:
                        async with slots, asking() as response:
                            if not response.is_success:
                                raise await _rejection(response)
                            if response.headers.get("content-type", "").startswith("text/html"):
                                raise await self._page(url, response)
                            result = await read(response)
                        liveness.served(_origin(url))
                        return result
                    except Rejection as error:
                        answered = error.status not in AWAY
                        failure = self._passing(url, error, body or {})
                        after = min(error.after, self._seconds)
                    except (httpx.RequestError, httpx.StreamError, Transient) as error:
                        answered = isinstance(error, _ANSWERED)
                        failure, after = self.key.shown(f"{type(error).__name__}: {error}"), 0.0
                    liveness.failed(_origin(url), failure, answered=answered, after=after)
                    await liveness.settled()
        except TimeoutError:
            failure = f"no answer within {self._total:g} seconds; last: {failure}"
        raise InfrastructureError(f"{url}: {failure}{way_to(url)}")

    async def post_json(self, url: str, body: Mapping[str, Any]) -> Any:
        """Post `body` and return the JSON that comes back; raises like `request`."""
        return await self.post(url, body, self.read_json)

    async def aclose(self) -> None:
        """Close the connections of this event loop."""
        if (connections := self._of_loop.pop(asyncio.get_running_loop(), None)) is not None:
            await connections.client.aclose()

    def _passing(self, url: str, error: Rejection, body: Mapping[str, Any]) -> str:
        """Return the words of an error that may pass. Raises `Refused` for any other."""
        refusal = read_refusal(error.status, error.body, body)
        words = self.key.shown(str(error))
        if refusal.kind == "passing":
            return words
        # What the model wrote may hold a key that is a word, such as EMPTY.
        failed = self.key.hidden(refusal.failed) if self.key.distinctive else refusal.failed
        known = refusal._replace(
            setting=self.key.shown(refusal.setting),
            message=self.key.shown(refusal.message),
            failed=failed,
        )
        raise Refused(url, error.status, words + way_to(url), known) from None

    async def _page(self, url: str, response: httpx.Response) -> Refused:
        """Return the error for a web page in place of an answer: a login, a portal, a wrong path.

        Nothing that serves a model answers so, however often it is asked.
        """
        text = " ".join((await read_whole(response)).decode("utf-8", "replace").split())
        status = response.status_code
        words = f"status {status}: a web page: {self.key.shown(text[:200])}{way_to(url)}"
        return Refused(url, status, words, Refusal("operator"))

    async def read_json(self, response: httpx.Response) -> Any:
        """Return the JSON that an answer holds. Raises `Transient` for what is none, and
        `InfrastructureError` like `read_whole`."""
        text = (await read_whole(response)).decode("utf-8", "replace")
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
            return self.key.shown(f"{type(error).__name__}: {error}") + way_to(self._alive_url)
        if status not in AWAY:
            return None
        return f"status {status} on {self._alive_url}{way_to(self._alive_url)}"


def _origin(url: str) -> str:
    """Return the server's part of an address."""
    parts = httpx.URL(url)
    return f"{parts.scheme}://{parts.netloc.decode()}"


async def _rejection(response: httpx.Response) -> Rejection:
    body = (await read_whole(response)).decode("utf-8", "replace")
    after = seconds_asked(response.headers, now=time.time())
    return Rejection(response.status_code, body, after)


async def read_whole(response: httpx.Response) -> bytes:
    """Return what an answer holds. Raises `InfrastructureError` for more than 16 MB."""
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > _MOST_BYTES:
            raise InfrastructureError(f"{response.url}: answered more than 16 MB")
    return bytes(body)


def base_address(name: str, url: str) -> str:
    """Return `url` without a trailing slash. Raises `UsageError` naming `name` for what is none."""
    try:
        urlsplit(url)  # of a bracket that is not closed httpx makes a host
        parts = httpx.URL(url)
    except (httpx.InvalidURL, TypeError, ValueError, AttributeError):
        raise UsageError(f"{name}: {url!r}; expected http://host:port/path") from None
    if parts.userinfo:
        raise UsageError(f"{name}: holds a user name or password; keys come from the environment")
    if parts.scheme not in ("http", "https") or not parts.host or parts.query:
        raise UsageError(f"{name}: {url!r}; expected http://host:port/path")
    return url.rstrip("/")
