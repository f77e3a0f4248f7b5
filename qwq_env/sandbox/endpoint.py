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
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from qwq_env.errors import UsageError
from qwq_env.http.retries import seconds_asked
from qwq_env.sandbox.errors import SandboxBusy, SandboxUnavailable
from qwq_env.sandbox.foreign import Reader
from qwq_env.sandbox.http_pool import CannotConnect, ConnectionBroken, HttpAnswer, HttpPool
from qwq_env.sandbox.plain import NotPlain
from qwq_env.sandbox.plain_json import building
from qwq_env.sandbox.wire import CLIENT_HEADER

MOST_BYTES: Final = 1 << 20
"""Of an answer for which nothing larger is allowed."""

# By how the text is cut, and for the keys that it has here, a value may count for twice of what
# the server counted: one that a server took must not be refused by its client.
_MOST_BUILT: Final = 160 << 20
_LONGEST_REASON: Final = 1000
_PROBE_S: Final = 2.0
_USUAL_WAIT_S: Final = 1.0
_LONGEST_WAIT_S: Final = 60.0
# Errors of status 4xx that are about the way, not about what was asked.
_OUR_CONNECTION: Final = ("client_gone", "incomplete", "too_slow", "bad_http")


class NotSent(SandboxUnavailable):
    """The server has not begun with the request; sending it again is safe."""


class AnswerLost(SandboxUnavailable):
    """The connection broke after the request was sent; the program may have run."""


class SessionLost(SandboxUnavailable):
    """The server has no such session (any more): it expired, or the server began anew."""


class Endpoint:
    """The address and the connections of one server; at most `concurrency` requests at once.

    The token goes into a header and nowhere else: not into errors, not into `repr`.
    """

    def __init__(self, url: str, token: str | None, concurrency: int) -> None:
        headers = [("Content-Type", "application/json"), (CLIENT_HEADER, secrets.token_hex(8))]
        if token is not None:
            headers.append(("Authorization", f"Bearer {token}"))
        self._pool = HttpPool(url, headers)
        self.url = url.rstrip("/")
        self.in_flight = 0
        self._reader = Reader(building)
        self._turns = asyncio.Semaphore(concurrency)

    def __repr__(self) -> str:
        return f"Endpoint({self.url!r})"

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Hold one of the `concurrency` places; who waits for one is in flight too."""
        self.in_flight += 1
        try:
            async with self._turns:
                yield
        finally:
            self.in_flight -= 1

    async def ask(
        self, method: str, path: str, data: Any, seconds: float, most: int = MOST_BYTES
    ) -> dict[str, Any]:
        """Wait for a turn and `send` a request in it."""
        async with self.turn():
            return await self.send(method, path, data, seconds, most)

    async def send(
        self, method: str, path: str, data: Any, seconds: float, most: int = MOST_BYTES
    ) -> dict[str, Any]:
        """Send one request once and return the JSON object that answers it.

        `seconds` is how long the answer may take, `most` how many bytes it may have. Raises
        `NotSent`, `AnswerLost`, `SandboxUnavailable`, `SandboxBusy` (with the server's
        `retry_after`), `SessionLost`, or `UsageError` for what the server finds wrong with the
        request or the token.
        """
        content = b"" if data is None else json.dumps(data).encode("ascii")
        try:
            answer = await self._pool.request(method, path, content, seconds, most)
        except CannotConnect as error:
            raise NotSent(f"{self.url}: cannot be reached: {error}") from error
        except ConnectionBroken as error:
            raise AnswerLost(f"{self.url}: the connection failed: {error}") from error
        found = await self._object(answer.body)
        if 200 <= answer.status < 300:
            if found is None:
                raise SandboxUnavailable(f"{self.url}: answered with what is no JSON object")
            return found
        raise self._error(answer, (found or {}).get("error"))

    async def _object(self, body: bytearray) -> dict[str, Any] | None:
        try:
            data, _ = await self._reader.read(body, _MOST_BUILT)
        except (ValueError, NotPlain, UsageError, RecursionError):
            return None
        return data if isinstance(data, dict) else None

    async def healthy(self) -> bool:
        """Whether the server takes requests now."""
        try:
            answer = await self._pool.request("GET", "/health", seconds=_PROBE_S)
        except (CannotConnect, ConnectionBroken):
            return False
        return answer.status == 200

    async def aclose(self) -> None:
        """Close the connections."""
        await self._pool.aclose()

    def _error(self, answer: HttpAnswer, error: Any) -> Exception:
        """Return the exception that says what the server's error says."""
        known = isinstance(error, dict)
        code = error.get("code") if known else None
        reason = error.get("message") if known else None
        if not isinstance(reason, str):
            reason = f"HTTP status {answer.status}"
        message = f"{self.url}: {reason[:_LONGEST_REASON]}"
        if answer.status == 429 or code == "connections":
            asked = seconds_asked(answer.headers, now=time.time())
            return SandboxBusy(message, min(asked or _USUAL_WAIT_S, _LONGEST_WAIT_S))
        if code == "draining":
            return NotSent(message)
        if code in ("session_closed", "session_unknown"):
            return SessionLost(message)
        if known and 400 <= answer.status < 500 and code not in _OUR_CONNECTION:
            return UsageError(message)
        return SandboxUnavailable(message)
