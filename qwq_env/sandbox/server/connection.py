"""One HTTP/1.1 connection: h11 reads and writes the messages, this file guards the socket.

Why not aiohttp's server: it takes a quarter less processor time for an honest request (0.68 ms to
0.85 ms with 64 in flight), but 178 ms to 3 ms for what a stranger without the token sends in
100,000 chunks of a byte, since it parses a body before anybody may refuse the head
(`qwq bench sandbox_server`, one run). A server of programs lives or dies by such edges, and at the
others aiohttp, or uvicorn with starlette, leaves no place to stand at: h11 is strict about the
message and has no opinion about the socket, so the socket's part is here in full:

- deadlines for the head, the body, an idle connection, and a client that does not read;
- the head is judged (token, route, size) before a byte of the body is kept;
- the end of the input while a program runs means that nobody waits for it: it is cancelled,
  and what was sent ahead is not begun with;
- what is refused halfway is answered, then drained, so that the answer is not lost to a reset.
"""

from __future__ import annotations

import asyncio
import http
import logging
import select
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, Protocol, cast

import h11

from qwq_env.sandbox.server.message import ApiError, Request, Response

_log = logging.getLogger(__name__)

# A head larger than this is refused with 431.
_HEAD_BYTES: Final = 16_384
# So much may be sent ahead of an answer before reading pauses.
_EARLY_BYTES: Final = 65_536
# Each chunk of a body costs time, and one byte may be a chunk: beyond the first ones they have to
# be of some size on average.
_MOST_PIECES: Final = 1024
_PIECE_BYTES: Final = 64
# How long a refused client may go on sending before the connection is cut.
_LINGER_S: Final = 2.0
_NO_REQUEST: Final = Request("", "", {}, "")
_CLIENT_GONE: Final = ApiError(
    400, "client_gone", "the input ended before the answer: keep the connection open both ways"
)


Phase = Literal["idle", "head", "body", "busy", "closing"]
"""Between requests; in the head; in the body; being answered; refused or done for good."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds a client may take for each part of the exchange."""

    head: float = 10.0
    body: float = 60.0
    idle: float = 75.0
    write: float = 60.0


class Application(Protocol):
    """What a connection needs of the server behind it."""

    max_body: int
    closing: bool
    """Whether a connection ends with the answer that is due on it."""

    def judge(self, head: Request, connection: HttpConnection) -> None:
        """Raise `ApiError` if the request is to be refused on its head alone.

        A connection on which the token was shown once is a stranger's no longer.
        """

    async def answer(self, request: Request) -> Response:
        """Return the answer; cancelled when the client has gone."""

    def refused(self, head: Request, error: ApiError) -> None:
        """Take note of a request that ended without reaching `answer`, or in its middle."""

    def connected(self, connection: HttpConnection) -> None:
        """Take note of a new connection; raises `ApiError` if there are too many.

        One whose caller has not shown the token yet may be dropped in its favour.
        """

    def disconnected(self, connection: HttpConnection) -> None:
        """Take note that a connection has ended."""


class HttpConnection(asyncio.Protocol):
    """The server's end of one connection; requests on it are answered one after another."""

    def __init__(self, application: Application, deadlines: Deadlines) -> None:
        self._application = application
        self._deadlines = deadlines
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD_BYTES)
        self._phase: Phase = "idle"
        self._head = _NO_REQUEST
        self._body = bytearray()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ended = False
        self._pieces = self._early = 0
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self._head = self._head._replace(peer=peer[0] if isinstance(peer, tuple) else "local")
        _watch(transport.get_extra_info("socket"))
        self._arm(self._deadlines.head, self._transport.abort)
        try:
            self._application.connected(self)
        except ApiError as error:
            self._refuse(error)

    def data_received(self, data: bytes) -> None:
        if self._phase == "closing":
            return
        self._http.receive_data(data)
        if self._phase == "busy":
            # The next request came early. What is long of it waits in the socket.
            self._early += len(data)
            self._regulate()
            return
        if self._phase == "idle":
            self._expect_head()
        self._advance()

    def eof_received(self) -> bool:
        """Answer what can be answered; True keeps our half open until that is written."""
        self._ended = True
        if self._phase == "busy":
            self._cancel()
            self._refuse(_CLIENT_GONE)
            return True
        if self._phase in ("head", "body"):
            self._refuse(ApiError(400, "incomplete", "the input ended before the request did"))
            return True
        return False

    def connection_lost(self, error: Exception | None) -> None:
        if self._phase == "busy":
            self._application.refused(self._head, _CLIENT_GONE)
        self._phase = "closing"
        self._disarm()
        self._writable.set()
        self._cancel()
        self._application.disconnected(self)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def close_if_idle(self) -> None:
        """Close the connection if no request is on it (the server is closing)."""
        if self._phase == "idle":
            self._transport.close()

    def stop(self, error: ApiError) -> None:
        """End what is on the connection, answering `error` if a request is in progress."""
        self._cancel()
        if self._phase == "idle":
            self._transport.close()
        elif self._phase != "closing":
            self._refuse(error)

    def abort(self) -> None:
        """Drop the connection now, cancelling what runs for it."""
        self._cancel()
        self._transport.abort()

    def _expect_head(self) -> None:
        self._phase = "head"
        self._arm(self._deadlines.head, self._too_slow)

    def _advance(self) -> None:
        try:
            while self._phase in ("head", "body"):
                event = self._http.next_event()
                if isinstance(event, h11.Request):
                    self._begin(event)
                elif isinstance(event, h11.Data):
                    self._body += event.data
                    self._pieces += 1
                    if self._pieces > _MOST_PIECES + len(self._body) // _PIECE_BYTES:
                        raise ApiError(400, "bad_http", "the body comes in too small chunks")
                    if len(self._body) > self._application.max_body:
                        raise too_large(self._application.max_body)
                elif isinstance(event, h11.EndOfMessage):
                    self._phase = "busy"
                    self._early = len(self._http.trailing_data[0])
                    self._disarm()
                    self._task = asyncio.create_task(self._serve())
                else:
                    return
        except h11.RemoteProtocolError as error:
            status = error.error_status_hint
            self._refuse(ApiError(status, "bad_http", f"not valid HTTP/1.1: {error}"))
        except ApiError as error:
            self._refuse(error)

    def _begin(self, event: h11.Request) -> None:
        self._head = Request(
            method=event.method.decode("ascii"),
            path=event.target.decode("ascii").partition("?")[0],
            headers={name.decode("ascii"): text.decode("latin-1") for name, text in event.headers},
            peer=self._head.peer,
        )
        if {"content-length", "transfer-encoding"} <= self._head.headers.keys():
            # Where a proxy goes by the one and we by the other, a request could hide in a body.
            raise ApiError(400, "bad_http", "has both Content-Length and Transfer-Encoding")
        self._application.judge(self._head, self)
        if int(self._head.headers.get("content-length", 0)) > self._application.max_body:
            raise too_large(self._application.max_body)
        if self._http.they_are_waiting_for_100_continue:
            go_on = h11.InformationalResponse(status_code=100, headers=[])
            self._transport.write(self._http.send(go_on))
        self._phase, self._pieces = "body", 0
        self._arm(self._deadlines.body, self._too_slow)

    async def _serve(self) -> None:
        request = self._head._replace(body=bytes(self._body))
        self._body.clear()
        self._write(await self._guarded(request), keep=not self._application.closing)
        await self._written()
        if self._http.our_state is not h11.DONE or self._transport.is_closing():
            self._hang_up()
            return
        self._http.start_next_cycle()
        self._phase = "idle"
        self._arm(self._deadlines.idle, self._transport.close)
        if self._http.trailing_data[0]:
            self._serve_early()
        self._regulate()

    def _serve_early(self) -> None:
        """Begin with the request that was sent ahead, unless nobody waits for it any more."""
        if _has_left(self._transport.get_extra_info("socket")):
            self._ended = True
            self._refuse(_CLIENT_GONE)
        else:
            self._expect_head()
            self._advance()

    def _regulate(self) -> None:
        """Read on, also while a request is served: only so the end of the input is noticed."""
        if self._phase == "busy" and self._early > _EARLY_BYTES:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    async def _guarded(self, request: Request) -> Response:
        try:
            return await self._application.answer(request)
        except Exception:  # noqa: BLE001 - the one boundary: a bug must not end the server
            _log.exception("%s %s failed", request.method, request.path)
            return ApiError(500, "internal", "the server failed; its log says why").response()

    async def _written(self) -> None:
        """Wait until the client has read most of the answer; cut it off if it does not."""
        if not self._writable.is_set():
            try:
                async with asyncio.timeout(self._deadlines.write):
                    await self._writable.wait()
            except TimeoutError:
                self._transport.abort()

    def _refuse(self, error: ApiError) -> None:
        self._application.refused(self._head, error)
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._write(error.response(), keep=False)
        self._hang_up()

    def _write(self, response: Response, keep: bool) -> None:
        headers = [
            ("Content-Type", response.content_type),
            ("Content-Length", str(len(response.body))),
            *response.headers,
        ]
        if not keep:
            headers.append(("Connection", "close"))
        head = h11.Response(
            status_code=response.status,
            headers=headers,
            reason=http.HTTPStatus(response.status).phrase,
        )
        body = b"" if self._head.method == "HEAD" else response.body
        events: list[h11.Event] = [head, h11.Data(data=body), h11.EndOfMessage()]
        parts = [self._http.send(event) for event in events]
        self._transport.write(b"".join(part for part in parts if part))

    def _hang_up(self) -> None:
        """End our half; let the client finish its own for a while, then cut."""
        self._phase = "closing"
        self._body.clear()
        if self._transport.is_closing():
            return
        unread = self._transport.get_write_buffer_size() > 0
        self._arm(self._deadlines.write if unread else _LINGER_S, self._transport.abort)
        if self._ended:
            self._transport.close()
            return
        self._transport.resume_reading()
        try:
            self._transport.write_eof()
        except OSError:
            # The client has reset the connection; asyncio has not noticed yet.
            self._transport.abort()

    def _too_slow(self) -> None:
        self._refuse(ApiError(408, "too_slow", f"the {self._phase} of the request took too long"))

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _arm(self, seconds: float, action: Callable[[], object]) -> None:
        self._disarm()
        self._timer = asyncio.get_running_loop().call_later(seconds, action)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _watch(connection: socket.socket | None) -> None:
    """Let the kernel find out that the machine at the other end has vanished."""
    if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, seconds in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, option):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds)


def _has_left(connection: socket.socket) -> bool:
    """Whether the other end has closed its half, however much of what it sent is unread."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLRDHUP)
    return bool(poll.poll(0))


def too_large(max_body: int) -> ApiError:
    """Return the refusal of a body beyond `max_body` bytes."""
    return ApiError(413, "too_large", f"the body is larger than {max_body} bytes")
