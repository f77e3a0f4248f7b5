"""HTTP to one server by aiohttp, whose connections are kept; what is refused, and how it fails.

aiohttp took 0.95 to 1.2 times the processor time of connections of our own on h11 (64 to 1,024 in
flight), so it is aiohttp; httpx, which is at hand too, takes tens of times as much
(`qwq bench sandbox_server` measures the two anew).
"""

from __future__ import annotations

import asyncio
import io
import socket
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from qwq_env.errors import UsageError

if TYPE_CHECKING:
    import aiohttp

_CONNECT_S: Final = 5.0
# Shorter than the server keeps an idle connection, so that it is never closed under a request.
_KEEP_S: Final = 30.0
# What one read can bring is parsed in one go, and a byte may be a chunk of its own.
_READ_BYTES: Final = 1 << 16
# A larger body given as bytes is written in one go, of which aiohttp warns.
_AT_ONCE: Final = 1 << 20


class CannotConnect(Exception):
    """No connection could be made; nothing was sent."""


class ConnectionBroken(Exception):
    """The connection failed, or the answer did not come in time, or was not HTTP."""


class HttpAnswer(NamedTuple):
    """A whole answer; `headers` are found by their names in whatever case."""

    status: int
    headers: Mapping[str, str]
    body: bytearray


class HttpPool:
    """As many connections as there are requests at once; the caller bounds those.

    A request that is cancelled closes its connection, so that the server learns of it. Neither a
    proxy of the environment, nor a redirection, nor a cookie is followed, and nothing that is
    compressed is unpacked.
    """

    def __init__(self, url: str, headers: Sequence[tuple[str, str]]) -> None:
        parts = _split(url)
        self._base = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        self._headers = headers
        self._session: aiohttp.ClientSession | None = None
        self._in_flight = 0
        self._closed = False

    async def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        seconds: float = 60.0,
        most: int = 1 << 20,
    ) -> HttpAnswer:
        """Send one request; `seconds` is how long that and the answer may take.

        The body of the answer may have `most` bytes. Raises `CannotConnect` or `ConnectionBroken`.
        """
        import aiohttp  # noqa: PLC0415 - 0.2 s, which only those pay who ask a server

        content: Any = body if len(body) <= _AT_ONCE else io.BytesIO(body)
        session = self._opened()
        self._in_flight += 1
        try:
            async with (
                asyncio.timeout(seconds),
                session.request(
                    method, self._base + path, data=content, allow_redirects=False
                ) as response,
            ):
                return HttpAnswer(response.status, response.headers, await _body(response, most))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise CannotConnect(f"{type(error).__name__}: {error}") from error
        except TimeoutError:
            raise ConnectionBroken(f"no answer within {seconds:g} s") from None
        except (aiohttp.ClientError, OSError, _TooLong) as error:
            raise ConnectionBroken(f"{type(error).__name__}: {error}") from error
        finally:
            self._in_flight -= 1
            await self._close_if_done()

    async def aclose(self) -> None:
        """Close the connections that are idle; those in use close when they are done.

        A request after this gets a connection of its own, which is not kept.
        """
        self._closed = True
        await self._close_if_done()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = _session(self._headers)
        return self._session

    async def _close_if_done(self) -> None:
        if self._closed and not self._in_flight and self._session is not None:
            session, self._session = self._session, None
            await session.close()


class _TooLong(Exception):
    pass


def _session(headers: Sequence[tuple[str, str]]) -> aiohttp.ClientSession:
    import aiohttp  # noqa: PLC0415 - see above

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=0, keepalive_timeout=_KEEP_S, socket_factory=_short_reads
        ),
        headers=headers,
        skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, connect=_CONNECT_S),
        auto_decompress=False,
    )


def _short_reads(address: tuple[Any, ...]) -> socket.socket:
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _READ_BYTES)
    return made


async def _body(response: aiohttp.ClientResponse, most: int) -> bytearray:
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > most:
            raise _TooLong(f"the answer exceeds {most} bytes")
    return body


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
