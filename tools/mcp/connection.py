"""JSON-RPC 2.0 with a child process, one message a line: the stdio transport of MCP."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from qwq_env.errors import InfrastructureError

_MOST_LINE_BYTES: Final = 16 << 20
_END_SECONDS: Final = 2.0
_METHOD_NOT_FOUND: Final = -32601


class RemoteError(Exception):
    """The other side answered a request with an error; its message says which.

    `code` is JSON-RPC's, or the status of an answer without one; `data` what came with it.
    """

    def __init__(self, message: str, code: object = None, data: object = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data


def error_of(error: Any, hidden: Callable[[str], str] = str) -> RemoteError:
    """Return the exception for what stands in a message's `error`."""
    if not isinstance(error, dict):
        return RemoteError(hidden(str(error)))
    return RemoteError(hidden(str(error.get("message"))), error.get("code"), error.get("data"))


def answer_to(message: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the reply to a server's own request, None for a notification.

    We are there, and can do nothing for it: no roots, no model, no person to ask.
    """
    if (number := message.get("id")) is None:
        return None
    if message.get("method") == "ping":
        return {"id": number, "result": {}}
    text = f"{message.get('method')!s:.80} is not supported"
    return {"id": number, "error": {"code": _METHOD_NOT_FOUND, "message": text}}


class Connection:
    """One life of a server process. Belongs to the event loop that opened it."""

    def __init__(self, process: asyncio.subprocess.Process, name: str) -> None:
        self.name = name
        self.owner = os.getpid()
        self._process = process
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._reading = asyncio.get_running_loop().create_task(self._read())

    @classmethod
    async def open(cls, command: Sequence[str], environment: Mapping[str, str]) -> Connection:
        """Start the server; raises `InfrastructureError` if that cannot be done."""
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=dict(environment),
                limit=_MOST_LINE_BYTES,
                start_new_session=True,
            )
        except OSError as error:
            raise InfrastructureError(f"MCP server {command[0]}: does not start: {error}") from None
        return cls(process, command[0])

    @property
    def alive(self) -> bool:
        """Whether a request may still be answered."""
        return not self._reading.done()

    async def request(
        self, method: str, params: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> Any:
        """Send a request and return its result; here there are no headers.

        Raises `RemoteError` for an error answered, `InfrastructureError` if the server is gone.
        """
        number = next(self._ids)
        self._waiting[number] = answer = asyncio.get_running_loop().create_future()
        try:
            if not self.alive:
                raise self._gone()
            await self._send({"id": number, "method": method, "params": params})
            return await answer
        except asyncio.CancelledError:
            with contextlib.suppress(InfrastructureError):
                await self.notify("notifications/cancelled", {"requestId": number})
            raise
        finally:
            self._waiting.pop(number, None)
            if answer.done() and not answer.cancelled():
                answer.exception()  # seen, also where sending has failed already

    async def notify(self, method: str, params: Mapping[str, Any]) -> None:
        """Send a message that has no answer."""
        await self._send({"method": method, "params": params})

    async def _send(self, message: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
            await self._process.stdin.drain()
        except (OSError, RuntimeError):
            raise self._gone() from None

    def _gone(self) -> InfrastructureError:
        return InfrastructureError(f"MCP server {self.name}: has ended")

    async def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            while line := await self._process.stdout.readline():
                try:
                    message = json.loads(line)
                except (ValueError, RecursionError):
                    continue  # servers are known to print a banner
                for each in message if isinstance(message, list) else [message]:
                    if isinstance(each, dict):
                        await self._take(each)
        except (ValueError, OSError, InfrastructureError):
            pass  # a line beyond the limit, or nobody there to be answered: it is of no more use
        finally:
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(self._gone())

    async def _take(self, message: dict[str, Any]) -> None:
        if "method" in message:
            if (reply := answer_to(message)) is not None:
                await self._send(reply)
            return
        # Some servers echo the number as a text.
        number = str(message.get("id"))
        answer = self._waiting.get(int(number)) if number.isdecimal() else None
        if answer is None or answer.done():
            return
        if "error" in message:
            answer.set_exception(error_of(message["error"]))
        else:
            answer.set_result(message.get("result"))

    async def aclose(self) -> None:
        """End the server with its whole process group; idempotent."""
        if self.owner != os.getpid():
            return
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(_END_SECONDS):
                await self._process.wait()
        except TimeoutError:
            pass
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        await asyncio.wait({self._reading}, timeout=_END_SECONDS)
        self._reading.cancel()
