"""Asking a search server: one client a process, bounded requests in flight, retries.

The client lives on the library's background loop (`qwq_env.portal`), so that any loop may ask.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import httpx

from qwq_env import portal
from qwq_env.checks import check_positive, check_whole
from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.http.proxies import proxy_for, route

_ATTEMPTS: Final = 4
_PAUSE_SECONDS: Final = 0.5
_MOST_ANSWER_BYTES: Final = 16 << 20


class HttpSettings(NamedTuple):
    """`seconds` for one question, all attempts together, and requests `in_flight` at a time.

    `seconds` must stay below `ToolLimits.seconds`, so that a server that hangs counts as
    failed machinery, not as a slow tool.
    """

    seconds: float = 20.0
    in_flight: int = 32


DEFAULT_SETTINGS: Final = HttpSettings()


class HttpClient:
    """Asks one server; holds a client for the process that it is used in."""

    def __init__(self, name: str, settings: HttpSettings) -> None:
        check_positive(f"{name}, seconds", settings.seconds)
        check_whole(f"{name}, in_flight", settings.in_flight)
        self.name = name
        self.settings = settings
        self._owner = 0
        self._client: httpx.AsyncClient | None = None
        self._slots: asyncio.Semaphore | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_owner": 0, "_client": None, "_slots": None}

    async def ask(self, method: str, url: str, **parts: Mapping[str, Any]) -> Any:
        """Return the JSON answered; `parts` are httpx's `json`, `params` and `headers`."""
        return await portal.reach(self._ask(method, url, parts))

    async def _ask(self, method: str, url: str, parts: dict[str, Any]) -> Any:
        client, slots = self._open(url)
        failure = "no free connection"
        try:
            async with asyncio.timeout(self.settings.seconds), slots:
                for attempt in range(_ATTEMPTS):
                    pause = _PAUSE_SECONDS * 2**attempt
                    try:
                        async with client.stream(method, url, **parts) as response:
                            if not _comes_again(response):
                                return await self._read(response)
                            failure = f"status {response.status_code}"
                            told = response.headers.get("retry-after", "")
                            pause = float(told) if told.isdecimal() else pause
                    except httpx.HTTPError as error:
                        failure = f"{type(error).__name__}: {error}"
                    if attempt < _ATTEMPTS - 1:
                        await asyncio.sleep(pause)
        except TimeoutError:
            failure = f"no answer within {self.settings.seconds:g} seconds; last: {failure}"
        way = f" ({proxy})" if (proxy := proxy_for(url)) else ""
        raise InfrastructureError(f"{self.name}: {url}: {failure}{way}")

    def _open(self, url: str) -> tuple[httpx.AsyncClient, asyncio.Semaphore]:
        if self._client is None or self._slots is None or self._owner != os.getpid():
            self._owner = os.getpid()
            self._client = httpx.AsyncClient(timeout=self.settings.seconds / 2, **route(url))
            # httpx slows down with the number of requests that wait inside it.
            self._slots = asyncio.Semaphore(self.settings.in_flight)
        return self._client, self._slots

    async def _read(self, response: httpx.Response) -> Any:
        status = response.status_code
        if status in (401, 402, 403):
            raise UsageError(f"{self.name}, key: refused with status {status}")
        if status != 200:
            raise InfrastructureError(f"{self.name}: {response.url.path}: status {status}")
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > _MOST_ANSWER_BYTES:
                raise InfrastructureError(f"{self.name}: answered more than 16 MB")
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise InfrastructureError(f"{self.name}: the answer is not JSON") from None

    async def aclose(self) -> None:
        """Close the connections; a later question opens new ones."""
        client, self._client = self._client, None
        if client is not None and self._owner == os.getpid():
            await portal.reach(client.aclose())


def _comes_again(response: httpx.Response) -> bool:
    return response.status_code == 429 or response.status_code >= 500
