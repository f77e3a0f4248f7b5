"""One server as its client sees it: one attempt at one request, and what its failure means.

```
SandboxUnavailable
├── NotSent       the server has not begun with the request: it may be sent again, anywhere
├── AnswerLost    the connection broke afterwards: the program may have run
└── SessionLost   the server has no such session, any more or yet
```
A plain `SandboxUnavailable` is the server's own word that its sandbox failed.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from typing import Any, Final

import httpx

from qwq_env.errors import UsageError
from qwq_env.sandbox.errors import SandboxBusy, SandboxUnavailable
from qwq_env.sandbox.wire import CLIENT_HEADER

_CONNECT_S: Final = 5.0
_PROBE_S: Final = 2.0
# Shorter than the server keeps an idle connection, so that it is never closed under a request.
_KEEPALIVE_S: Final = 30.0
# httpx looks at every connection of its pool for every request: small pools stay cheap.
_CONNECTIONS_PER_POOL: Final = 16
_LONGEST_WAIT_S: Final = 60.0


class NotSent(SandboxUnavailable):
    """The server has not begun with the request; sending it again is safe."""


class AnswerLost(SandboxUnavailable):
    """The connection broke after the request was sent; the program may have run."""


class SessionLost(SandboxUnavailable):
    """The server has no such session (any more): it expired, or the server began anew."""


class Endpoint:
    """The address and the connections of one server; at most `concurrency` requests at once.

    The bound stands before httpx, whose cost grows with the square of the requests that wait
    inside it. The token goes into a header and nowhere else: not into errors, not into `repr`.
    """

    def __init__(self, url: str, token: str | None, concurrency: int) -> None:
        self.url = _checked(url)
        self.in_flight = 0
        self._turns = asyncio.Semaphore(concurrency)
        headers = {"Content-Type": "application/json", CLIENT_HEADER: secrets.token_hex(8)}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        pools = -(-concurrency // _CONNECTIONS_PER_POOL)
        self._clients = [_client(self.url, headers) for _ in range(pools)]
        self._loads = [0] * pools

    def __repr__(self) -> str:
        return f"Endpoint({self.url!r})"

    async def ask(self, method: str, path: str, data: Any, seconds: float) -> dict[str, Any]:
        """Send one request once and return the JSON object that answers it.

        `seconds` is how long the answer may take. Raises `NotSent`, `AnswerLost`,
        `SandboxUnavailable`, `SandboxBusy` (with the server's `retry_after`), `SessionLost`, or
        `UsageError` for what the server finds wrong with the request or the token.
        """
        content = None if data is None else json.dumps(data).encode("ascii")
        self.in_flight += 1
        try:
            async with self._turns:
                response = await self._send(method, path, content, seconds)
        finally:
            self.in_flight -= 1
        answer = _json_of(response)
        if response.is_success:
            return answer
        raise self._error(response, answer.get("error"))

    async def healthy(self) -> bool:
        """Whether the server takes requests now."""
        try:
            response = await self._clients[0].get("/health", timeout=_PROBE_S)
        except httpx.TransportError:
            return False
        return response.status_code == 200

    async def aclose(self) -> None:
        """Close the connections."""
        for client in self._clients:
            await client.aclose()

    async def _send(
        self, method: str, path: str, content: bytes | None, seconds: float
    ) -> httpx.Response:
        pool = min(range(len(self._loads)), key=self._loads.__getitem__)
        timeout = httpx.Timeout(seconds, connect=_CONNECT_S)
        self._loads[pool] += 1
        try:
            return await self._clients[pool].request(method, path, content=content, timeout=timeout)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise NotSent(f"{self.url}: cannot be reached: {_named(error)}") from error
        except httpx.TransportError as error:
            raise AnswerLost(f"{self.url}: the connection failed: {_named(error)}") from error
        finally:
            self._loads[pool] -= 1

    def _error(self, response: httpx.Response, error: Any) -> Exception:
        """Return the exception that says what the server's error says."""
        status = response.status_code
        known = isinstance(error, dict)
        code = error.get("code") if known else None
        message = f"{self.url}: {error.get('message') if known else f'HTTP status {status}'}"
        if status == 429:
            return SandboxBusy(message, _retry_after(response))
        if code == "draining":
            return NotSent(message)
        if code in ("session_closed", "session_unknown"):
            return SessionLost(message)
        if known and 400 <= status < 500 and code not in ("client_gone", "incomplete", "too_slow"):
            return UsageError(message)
        return SandboxUnavailable(message)


def _client(url: str, headers: dict[str, str]) -> httpx.AsyncClient:
    limits = httpx.Limits(
        max_connections=None,
        max_keepalive_connections=_CONNECTIONS_PER_POOL,
        keepalive_expiry=_KEEPALIVE_S,
    )
    # A proxy or a netrc of the environment would be told the token, or send another one.
    return httpx.AsyncClient(base_url=url, headers=headers, limits=limits, trust_env=False)


def _checked(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        raise UsageError(f"url: {url!r} is not a URL") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise UsageError(f"url: {url!r} is not the address of a server, expected http://HOST:PORT")
    if parsed.userinfo:
        raise UsageError("url: holds a user name or a password, expected the token apart from it")
    return url.rstrip("/")


def _json_of(response: httpx.Response) -> dict[str, Any]:
    try:
        data = response.json()
    except (ValueError, RecursionError):
        data = None
    if isinstance(data, dict):
        return data
    if response.is_success:
        raise SandboxUnavailable(f"{response.url}: answered with something that is no JSON object")
    return {}


def _retry_after(response: httpx.Response) -> float:
    try:
        seconds = float(response.headers.get("Retry-After", 1))
    except ValueError:
        # A date is allowed too; our server never sends one.
        return 1.0
    return min(max(seconds, 0.0), _LONGEST_WAIT_S)


def _named(error: Exception) -> str:
    return f"{type(error).__name__} {error}".strip()
