"""The routes: what each request does with the sandbox, and how each failure reads.

| route | does |
|---|---|
| `POST /v1/run` | runs one program |
| `POST /v1/call` | calls a solution's function, once per argument list |
| `POST /v1/sessions`, `POST /v1/sessions/{id}/run`, `DELETE /v1/sessions/{id}` | a session |
| `POST /run_code` | runs one program, in SandboxFusion's form |
| `GET /health` | 200 while all is taken, 503 while only open sessions go on; needs no token |
| `GET /metrics` | Prometheus |

An error is `{"error": {"code", "message"}}`: 400 the input, 401 the token, 404 and 410 a session
that is not there, 413 the size, 429 full (with Retry-After), 503 the sandbox failed or the server
is ending, 504 the deadline of the whole request.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from qwq_env.errors import InfrastructureError, QwqError, UsageError
from qwq_env.sandbox.errors import SandboxBusy, SessionClosed
from qwq_env.sandbox.foreign import Reader
from qwq_env.sandbox.interface import Sandbox
from qwq_env.sandbox.plain_json import building
from qwq_env.sandbox.result import ExecutionResult, Limits
from qwq_env.sandbox.server import bodies, fusion
from qwq_env.sandbox.server.address import host_of, is_loopback
from qwq_env.sandbox.server.connection import HttpConnection
from qwq_env.sandbox.server.fair_queue import FairQueue, QueueFull
from qwq_env.sandbox.server.message import (
    JSON,
    ApiError,
    Request,
    Response,
    json_response,
    slow_response,
)
from qwq_env.sandbox.server.metrics import CONTENT_TYPE, Metrics
from qwq_env.sandbox.server.session_table import SessionTable
from qwq_env.sandbox.wire import CLIENT_HEADER, write_calls

_SESSIONS: Final = "/v1/sessions/"
_LONGEST_CLIENT_NAME: Final = 64


MAXIMA: Final = Limits(
    cpu_seconds=60.0,
    wall_seconds=120.0,
    memory_mb=4096,
    processes=64,
    file_mb=256,
    output_bytes=4 << 20,
    disk_mb=512,
)


@dataclass(frozen=True, slots=True)
class ServiceLimits:
    """What the server gives at most; sizes in bytes, times in seconds.

    `slots` run at once and `queue` wait, on at most so many `connections`, of which those that
    have not shown the token give way to new ones. `request_seconds` bounds one request from the
    moment it leaves the queue, whatever the limits of the program.
    """

    slots: int = 8
    queue: int = 1024
    connections: int = 2048
    sessions: int = 256
    session_idle_seconds: float = 600.0
    max_body: int = 8 << 20
    request_seconds: float = 600.0
    maxima: Limits = MAXIMA


class Route(NamedTuple):
    """A known path: its name, the method it takes, the session that it names."""

    name: str
    method: str
    session: str = ""


_ROUTES: Final = {
    "/v1/run": Route("run", "POST"),
    "/v1/call": Route("call", "POST"),
    "/v1/sessions": Route("session_open", "POST"),
    "/run_code": Route("run_code", "POST"),
    "/health": Route("health", "GET"),
    "/metrics": Route("metrics", "GET"),
}


_BEGINNINGS: Final = ("run", "call", "run_code", "session_open")
"""Routes that a draining server refuses; sessions that are open go on."""


class SandboxService:
    """Answers requests out of one sandbox; the sandbox stays its owner's to close."""

    def __init__(self, sandbox: Sandbox, limits: ServiceLimits, token: str | None) -> None:
        self.draining = False
        self.closing = False
        self.max_body = limits.max_body
        self.active = 0
        self.connections: set[HttpConnection] = set()
        self._strangers: dict[HttpConnection, None] = {}
        self.sessions = SessionTable(limits.sessions, limits.session_idle_seconds)
        self.queue = FairQueue(limits.slots, limits.queue)
        self.metrics = Metrics()
        self._sandbox = sandbox
        self._reader = Reader(building)
        self._limits = limits
        self._token = None if token is None else f"Bearer {token}".encode("latin-1")
        self._handlers: dict[str, Callable[[Request, Route], Awaitable[Response]]] = {
            "run": self._run,
            "call": self._call,
            "run_code": self._run_code,
            "session_open": self._session_open,
            "session_run": self._session_run,
            "session_close": self._session_close,
            "health": self._health,
            "metrics": self._metrics,
        }

    def connected(self, connection: HttpConnection) -> None:
        self.connections.add(connection)
        if self._token is not None:
            self._strangers[connection] = None
        if len(self.connections) > self._limits.connections:
            # Whoever knows the token shows it at once; the oldest stranger has least excuse.
            oldest = next(iter(self._strangers), connection)
            if oldest is connection:
                message = f"{self._limits.connections} connections are open already"
                raise ApiError(503, "connections", message, retry_after=1)
            self.disconnected(oldest)
            oldest.abort()

    def disconnected(self, connection: HttpConnection) -> None:
        self.connections.discard(connection)
        self._strangers.pop(connection, None)

    def refused(self, head: Request, error: ApiError) -> None:
        route = find_route(head.path)
        self.metrics.request("none" if route is None else route.name, error.status, 0.0)
        if error.code == "client_gone":
            self.metrics.clients_gone += 1

    def judge(self, head: Request, connection: HttpConnection) -> None:
        route = find_route(head.path)
        if route is None:
            raise ApiError(404, "not_found", "there is no such route")
        if head.method != route.method:
            allow = (("Allow", route.method),)
            raise ApiError(405, "method", f"expected {route.method}", headers=allow)
        if route.name == "health":
            return
        self._check_caller(head)
        self._strangers.pop(connection, None)
        if route.name in _BEGINNINGS:
            self._check_open()
        # A web page can send this server text without asking, but not JSON.
        kind = head.headers.get("content-type", "").partition(";")[0].strip().lower()
        if route.method == "POST" and kind != JSON:
            raise ApiError(415, "content_type", f"expected Content-Type: {JSON}")

    async def answer(self, request: Request) -> Response:
        route = find_route(request.path)
        assert route is not None, "judge lets known routes through only"
        began = time.monotonic()
        self.active += 1
        try:
            response = await self._handlers[route.name](request, route)
        except (QwqError, TimeoutError) as error:
            response = _as_api_error(error).response()
        finally:
            self.active -= 1
        self.metrics.request(route.name, response.status, time.monotonic() - began)
        return response

    def _check_caller(self, head: Request) -> None:
        if self._token is None:
            # Without a token a web page whose name was rebound to this address would get in.
            if not is_loopback(host_of(head.headers.get("host", ""))):
                raise ApiError(403, "host", "without a token only loopback names are served")
            return
        given = head.headers.get("authorization", "").encode("latin-1")
        if not hmac.compare_digest(given, self._token):
            ask = (("WWW-Authenticate", "Bearer"),)
            raise ApiError(401, "token", "the bearer token is missing or wrong", headers=ask)

    def _check_open(self) -> None:
        if self.draining:
            raise ApiError(503, "draining", "the server is ending", retry_after=1)

    @asynccontextmanager
    async def _turn(self, request: Request) -> AsyncIterator[None]:
        name = request.headers.get(CLIENT_HEADER.lower(), "")[:_LONGEST_CLIENT_NAME]
        async with self.queue.turn(f"{request.peer} {name}") as waited:
            self.metrics.waited(waited)
            async with asyncio.timeout(self._limits.request_seconds):
                yield

    async def _execute(
        self, request: Request, body: bodies.RunBody, limits: Limits
    ) -> ExecutionResult:
        async with self._turn(request):
            result = await self._sandbox.run(
                body.code, stdin=body.stdin, limits=limits, argv=body.argv
            )
        return self._counted(result)

    def _counted(self, result: ExecutionResult) -> ExecutionResult:
        self.metrics.execution(result.status)
        return result

    async def _object(self, request: Request) -> dict[str, Any]:
        return await bodies.read_object(self._reader, request.body)

    async def _run(self, request: Request, route: Route) -> Response:
        body = bodies.read_run(await self._object(request))
        limits, capped = bodies.cap(body.limits, self._limits.maxima)
        result = await self._execute(request, body, limits)
        return await slow_response({"result": result.to_json(), "capped": capped})

    async def _run_code(self, request: Request, route: Route) -> Response:
        body = fusion.read_run_code(await self._object(request))
        limits, _ = bodies.cap(body.limits, self._limits.maxima)
        try:
            result = await self._execute(request, body, limits)
        except (SandboxBusy, QueueFull):
            raise
        except InfrastructureError as error:
            return json_response(fusion.run_code_failure(str(error)))
        return await slow_response(fusion.run_code_answer(result))

    async def _call(self, request: Request, route: Route) -> Response:
        body = bodies.read_call(await self._object(request))
        limits, capped = bodies.cap(body.limits, self._limits.maxima)
        async with self._turn(request):
            results = await self._sandbox.call(
                body.code, body.function, body.arguments, limits=limits
            )
        for result in results:
            self.metrics.execution(result.status)
        return Response(200, await write_calls(results, capped))

    async def _session_open(self, request: Request, route: Route) -> Response:
        asked = bodies.read_session(await self._object(request) if request.body else {})
        limits, capped = bodies.cap(asked, self._limits.maxima)
        async with self._turn(request):
            # A program that has waited is run even so; a session would begin to be used only now.
            self._check_open()
            name = await self.sessions.open(lambda: self._sandbox.open_session(limits=limits))
        return json_response({"id": name, "capped": capped}, 201)

    async def _session_run(self, request: Request, route: Route) -> Response:
        body = bodies.read_step(await self._object(request))
        wall, highest = body.wall_seconds, self._limits.maxima.wall_seconds
        capped = ["wall_seconds"] if wall is not None and wall > highest else []
        # The session's own line first: a step that waits for the step before holds no slot.
        async with self.sessions.use(route.session) as session, self._turn(request):
            step = await session.run(body.code, wall_seconds=highest if capped else wall)
        return await slow_response({"result": self._counted(step).to_json(), "capped": capped})

    async def _session_close(self, request: Request, route: Route) -> Response:
        await self.sessions.close(route.session)
        return json_response({"closed": True})

    async def _health(self, request: Request, route: Route) -> Response:
        state = "draining" if self.draining else "ok"
        return json_response({"status": state}, 503 if self.draining else 200)

    async def _metrics(self, request: Request, route: Route) -> Response:
        gauges: dict[str, tuple[str, float]] = {
            "slots": ("Executions that may run at once.", self.queue.slots),
            "running": ("Executions that run now.", self.queue.running),
            "queued": ("Requests that wait for a slot.", self.queue.queued),
            "sessions": ("Sessions that are open.", len(self.sessions)),
            "connections": ("Connections that are open.", len(self.connections)),
        }
        return Response(200, self.metrics.render(gauges).encode(), CONTENT_TYPE)


def find_route(path: str) -> Route | None:
    """Return the route of a path, None where there is none."""
    route = _ROUTES.get(path)
    if route is None and path.startswith(_SESSIONS):
        session, _, rest = path.removeprefix(_SESSIONS).partition("/")
        if rest == "run":
            route = Route("session_run", "POST", session)
        elif session and not rest:
            route = Route("session_close", "DELETE", session)
    return route


def _as_api_error(error: QwqError | TimeoutError) -> ApiError:
    if isinstance(error, ApiError):
        return error
    if isinstance(error, QueueFull | SandboxBusy):
        return ApiError(429, "full", str(error), retry_after=max(1, round(error.retry_after)))
    if isinstance(error, SessionClosed):
        return ApiError(410, "session_closed", str(error))
    if isinstance(error, UsageError):
        return ApiError(400, "bad_request", str(error))
    if isinstance(error, InfrastructureError):
        return ApiError(503, "infra", str(error), retry_after=1)
    if isinstance(error, TimeoutError):
        return ApiError(504, "deadline", "the request as a whole took too long")
    return ApiError(500, "internal", type(error).__name__)
