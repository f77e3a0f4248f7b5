"""Kept-alive HTTP/1.1 connections to one server: h11 for the messages, asyncio for the bytes.

Why not httpx, which this package has at hand: it spends more on one request than the sandbox
spends on one program. Measured against a server that answers at once, 64 callers on one core:
3.9 ms of processor time a request with httpx, 0.2 ms with this file, and the former grows with
the number of callers because its pool looks at every request for every request
(`qwq bench sandbox_server` measures it anew).
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import h11

from qwq_env.errors import UsageError

_CONNECT_S: Final = 5.0
# Shorter than the server keeps an idle connection, so that it is never closed under a request.
_KEEP_S: Final = 30.0
_READ_BYTES: Final = 1 << 18
# As at the server: chunks cost time each.
_MOST_PIECES: Final = 1024
_PIECE_BYTES: Final = 64


class CannotConnect(Exception):
    """No connection could be made; nothing was sent."""


class ConnectionBroken(Exception):
    """The connection failed, or the answer did not come in time, or was not HTTP."""


class HttpAnswer(NamedTuple):
    """A whole answer; `headers` have lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytearray


class HttpPool:
    """As many connections as there are requests at once; the caller bounds those.

    A request that is cancelled closes its connection, so that the server learns of it.
    """

    def __init__(self, url: str, headers: Sequence[tuple[str, str]]) -> None:
        parts = _split(url)
        self._host = parts.hostname or ""
        self._secure = parts.scheme == "https"
        self._port = parts.port or (443 if self._secure else 80)
        self._prefix = parts.path.rstrip("/")
        self._headers = [("Host", parts.netloc), *headers]
        self._idle: list[_Connection] = []
        self._closed = False

    async def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        seconds: float = 60.0,
        most: int = 1 << 20,
    ) -> HttpAnswer:
        """Send one request, once; `seconds` is how long sending it and the answer may take.

        The body of the answer may have `most` bytes, in chunks that are not all tiny.
        Raises `CannotConnect` or `ConnectionBroken`.
        """
        connection = self._reusable() or await self._connect()
        head = h11.Request(
            method=method,
            target=self._prefix + path,
            headers=[*self._headers, ("Content-Length", str(len(body)))],
        )
        try:
            async with asyncio.timeout(seconds):
                answer = await connection.exchange(head, body, most)
        except TimeoutError:
            raise ConnectionBroken(f"no answer within {seconds:g} s") from None
        except (OSError, h11.ProtocolError) as error:
            raise ConnectionBroken(f"{type(error).__name__}: {error}") from error
        finally:
            if connection.done() and not self._closed:
                self._idle.append(connection)
            else:
                connection.abort()
        return answer

    def close(self) -> None:
        """Close the connections that are idle; those in use close when they are done.

        A request after this gets a connection of its own, which is not kept.
        """
        self._closed = True
        while self._idle:
            self._idle.pop().abort()

    def _reusable(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.fresh():
                return connection
            connection.abort()
        return None

    async def _connect(self) -> _Connection:
        context = ssl.create_default_context() if self._secure else None
        try:
            async with asyncio.timeout(_CONNECT_S):
                reader, writer = await asyncio.open_connection(
                    self._host, self._port, ssl=context, limit=_READ_BYTES
                )
        except (OSError, TimeoutError) as error:
            raise CannotConnect(f"{type(error).__name__}: {error}") from error
        return _Connection(reader, writer)


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.CLIENT)
        self._last_used = time.monotonic()

    async def exchange(self, head: h11.Request, body: bytes, most: int) -> HttpAnswer:
        """Send a request and read its answer; raises `OSError` or `h11.ProtocolError`."""
        events: tuple[h11.Event, ...] = (head, h11.Data(data=body), h11.EndOfMessage())
        self._writer.write(b"".join(part for part in map(self._http.send, events) if part))
        if len(body) > _READ_BYTES:
            await self._writer.drain()
        status, headers, answer, pieces = 0, {}, bytearray(), 0
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                self._http.receive_data(await self._reader.read(_READ_BYTES))
            elif isinstance(event, h11.Response):
                status = event.status_code
                headers = {name.decode(): text.decode("latin-1") for name, text in event.headers}
            elif isinstance(event, h11.Data):
                answer += event.data
                pieces += 1
                if len(answer) > most:
                    raise h11.RemoteProtocolError(f"the answer exceeds {most} bytes")
                if pieces > _MOST_PIECES + len(answer) // _PIECE_BYTES:
                    raise h11.RemoteProtocolError("the answer comes in too small chunks")
            elif isinstance(event, h11.EndOfMessage):
                return HttpAnswer(status, headers, answer)
            elif isinstance(event, h11.ConnectionClosed):
                raise ConnectionResetError("closed without an answer")

    def done(self) -> bool:
        """Whether the exchange is complete and another may follow; makes ready for it."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        self._last_used = time.monotonic()
        return True

    def fresh(self) -> bool:
        """Whether the server has, as far as one can see, kept the connection open."""
        gone = self._reader.at_eof() or self._writer.is_closing()
        return not gone and time.monotonic() - self._last_used < _KEEP_S

    def abort(self) -> None:
        """Close the connection now."""
        self._writer.transport.abort()


class _Parts(NamedTuple):
    scheme: str
    hostname: str | None
    port: int | None
    netloc: str
    path: str


def _split(url: str) -> _Parts:
    try:
        parts = urlsplit(url)
        found = _Parts(parts.scheme, parts.hostname, parts.port, parts.netloc, parts.path)
    except (ValueError, AttributeError, TypeError):
        raise UsageError(f"url: {url!r} is not a URL") from None
    if found.scheme not in ("http", "https") or not found.hostname or not url.isascii():
        raise UsageError(f"url: {url!r} is not the address of a server, expected http://HOST:PORT")
    if "@" in found.netloc:
        raise UsageError("url: holds a user name or a password, expected the token apart from it")
    return found
