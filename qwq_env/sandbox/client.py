"""A sandbox on other machines: the contract of `Sandbox`, kept over HTTP.

Three hops: `RemoteSandbox.run` writes the request, `Balancer.ask` finds a server that takes it,
`Endpoint.ask` sends it once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from qwq_env.errors import QwqError, UsageError
from qwq_env.sandbox.balance import Balancer
from qwq_env.sandbox.endpoint import MOST_BYTES, Endpoint
from qwq_env.sandbox.errors import SandboxBusy, SandboxUnavailable, SessionClosed
from qwq_env.sandbox.interface import DEFAULT_LIMITS, Sandbox, SandboxSession
from qwq_env.sandbox.plain_json import to_plain_json
from qwq_env.sandbox.result import CallResult, ExecutionResult, Limits
from qwq_env.sandbox.source import checked_calls, checked_code, checked_limits, checked_program
from qwq_env.sandbox.wire import (
    MOST_REPLY_BYTES,
    TOKEN_VARIABLE,
    check_token,
    read_call_result,
    write_stdin,
)

_log = logging.getLogger(__name__)

# Beyond its own limits a program may wait for a slot; a server that is silent longer has hung.
_QUEUE_S: Final = 300.0
_CLOSE_S: Final = 10.0
_SMALL_RESULT: Final = 256


class RemoteSandbox(Sandbox):
    """Runs programs on one server or several (`qwq sandbox serve`).

    ```python
    async with RemoteSandbox("http://10.0.0.5:8321", "http://10.0.0.6:8321") as sandbox:
        result = await sandbox.run("print(1 + 1)")
    ```
    The token comes from `token`, else from `QWQ_SANDBOX_TOKEN`. At most `concurrency` requests
    are in flight to each server; the rest wait here. A program goes to the server with the
    fewest; a server that fails is set aside and probed until it is well; a session stays where
    it was opened. A full server is asked again when it says so, a lost connection is repeated
    (a program leaves no trace, so it may run twice), all of it for `patience_seconds`; then
    `SandboxBusy` or `SandboxUnavailable` is raised. A limit that the server had to lower raises
    `UsageError` where the program did not end well, or for `output_bytes` where output was cut:
    it was judged by other rules than asked.
    """

    def __init__(
        self,
        *urls: str,
        token: str | None = None,
        concurrency: int = 64,
        patience_seconds: float = 60.0,
    ) -> None:
        if not urls:
            raise UsageError("urls: none given, expected the address of a server at least")
        if concurrency < 1:
            raise UsageError(f"concurrency: {concurrency} is not positive")
        if token is None:
            token = os.environ.get(TOKEN_VARIABLE)
        if token:
            check_token(token)
        endpoints = [Endpoint(url, token or None, concurrency) for url in urls]
        self._balancer = Balancer(endpoints, patience_seconds)
        self._patience_seconds = patience_seconds
        self._closed = False

    async def run(
        self,
        code: str | bytes,
        *,
        stdin: bytes = b"",
        limits: Limits = DEFAULT_LIMITS,
        argv: Sequence[str] = (),
    ) -> ExecutionResult:
        """See `Sandbox.run`."""
        program = checked_program(code, stdin, argv)
        data = {
            "code": program.code.decode(),
            "stdin": write_stdin(program.stdin),
            "limits": checked_limits(limits).to_json(),
            "argv": list(program.argv),
        }
        answer = await self._ask("/v1/run", data, limits.wall_seconds, _most_printed(limits))
        return _read_result(answer)

    async def open_session(self, *, limits: Limits = DEFAULT_LIMITS) -> SandboxSession:
        """See `Sandbox.open_session`."""
        self._check_open()
        data = {"limits": checked_limits(limits).to_json()}
        endpoint, answer = await self._balancer.ask("POST", "/v1/sessions", data, _QUEUE_S)
        if not isinstance(answer.get("id"), str):
            raise SandboxUnavailable(f"{endpoint.url}: opened a session without an id")
        session = RemoteSession(endpoint, answer["id"], limits, self._patience_seconds)
        try:
            _check_capped(answer, ended_well=False, output_cut=True)
        except UsageError:
            await session.aclose()
            raise
        return session

    async def call(
        self,
        code: str | bytes,
        function: str,
        arguments: Sequence[Sequence[Any]],
        *,
        limits: Limits = DEFAULT_LIMITS,
    ) -> list[CallResult]:
        """See `Sandbox.call`."""
        calls = checked_calls(function, arguments)
        data = {
            "code": checked_code(code).decode(),
            "function": function,
            "arguments": [_written(number, given) for number, given in enumerate(calls)],
            "limits": checked_limits(limits).to_json(),
        }
        seconds = limits.wall_seconds * (1 + len(calls))
        most = MOST_REPLY_BYTES + len(calls) * _SMALL_RESULT + MOST_BYTES
        answer = await self._ask("/v1/call", data, seconds, most)
        results = _read_calls(answer, len(calls))
        _check_capped(
            answer,
            ended_well=all(result.ok for result in results),
            output_cut=any(result.status == "killed" for result in results),
        )
        return results

    async def aclose(self) -> None:
        """See `Sandbox.aclose`."""
        self._closed = True
        await self._balancer.aclose()

    async def _ask(self, path: str, data: Any, seconds: float, most: int) -> dict[str, Any]:
        self._check_open()
        return (await self._balancer.ask("POST", path, data, seconds + _QUEUE_S, most)).data

    def _check_open(self) -> None:
        if self._closed:
            raise SessionClosed("the sandbox was closed before this use")


class RemoteSession(SandboxSession):
    """A session on the server that opened it.

    A step is never sent twice: whether a lost one has run nobody can say. So when the server is
    lost, or has closed the session, `SandboxUnavailable` is raised and the episode is retried.
    """

    def __init__(
        self, endpoint: Endpoint, name: str, limits: Limits, patience_seconds: float
    ) -> None:
        self._endpoint = endpoint
        self._path = f"/v1/sessions/{name}"
        self._limits = limits
        self._patience_seconds = patience_seconds
        self._lock = asyncio.Lock()
        self._closed = False

    async def run(self, code: str | bytes, *, wall_seconds: float | None = None) -> ExecutionResult:
        data = {"code": checked_code(code).decode(), "wall_seconds": wall_seconds}
        seconds = self._limits.wall_seconds
        if wall_seconds is not None:
            seconds = replace(self._limits, wall_seconds=wall_seconds).wall_seconds
        async with self._lock:
            if self._closed:
                raise SessionClosed("the session was closed before this use")
            return _read_result(await self._ask(data, seconds + _QUEUE_S))

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            await self._endpoint.ask("DELETE", self._path, None, _CLOSE_S)
        except QwqError as error:
            # The server closes it by itself when it has been idle, or is gone with it.
            _log.debug("a session was left to expire: %s", error)

    async def _ask(self, data: Any, seconds: float) -> dict[str, Any]:
        end = time.monotonic() + self._patience_seconds
        while True:
            try:
                most = _most_printed(self._limits)
                return await self._endpoint.ask("POST", f"{self._path}/run", data, seconds, most)
            except SandboxBusy as error:
                wait = error.retry_after * random.uniform(1.0, 1.5)
                if time.monotonic() + wait > end:
                    raise
                await asyncio.sleep(wait)


def _most_printed(limits: Limits) -> int:
    """Return how long an answer of a server can be that keeps `limits`: `\\u0000` is one byte."""
    return MOST_BYTES + 2 * 6 * limits.output_bytes


def _written(number: int, given: list[Any]) -> Any:
    try:
        return to_plain_json(given)
    except UsageError as error:
        reason = str(error).removeprefix("value: ")
        raise UsageError(f"arguments[{number}]: {reason}") from None


def _read_result(answer: dict[str, Any]) -> ExecutionResult:
    try:
        result = ExecutionResult.from_json(answer.get("result"))
    except (UsageError, TypeError) as error:
        raise SandboxUnavailable(f"the server's answer is not a result: {error}") from error
    if result.status == "infra":
        raise SandboxUnavailable(result.stderr or "the server's sandbox failed")
    cut = bool(result.truncated) or result.status == "output"
    _check_capped(answer, ended_well=result.ok, output_cut=cut)
    return result


def _read_calls(answer: dict[str, Any], count: int) -> list[CallResult]:
    items = answer.get("results")
    if not isinstance(items, list) or len(items) != count:
        raise SandboxUnavailable(f"the server's answer does not hold {count} results")
    try:
        return [read_call_result(item) for item in items]
    except UsageError as error:
        raise SandboxUnavailable(f"the server's answer is not a result: {error}") from error


def _check_capped(answer: dict[str, Any], *, ended_well: bool, output_cut: bool) -> None:
    """Raise `UsageError` where a limit that the server lowered may have decided the result."""
    capped = answer.get("capped")
    for name in capped if isinstance(capped, list) else ():
        if output_cut if name == "output_bytes" else not ended_well:
            raise UsageError(
                f"limits.{name}: is above the server's maximum, which was used instead; "
                "expected a lower limit here or a higher maximum there"
            )
