"""JSON-RPC 2.0 with a child process, one message a line: the stdio transport of MCP."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any, Final

from qwq_env.errors import InfrastructureError

_MOST_LINE_BYTES: Final = 16 << 20
_END_SECONDS: Final = 2.0
_METHOD_NOT_FOUND: Final = -32601


class RemoteError(Exception):
    """The other side answered a request with an error; its message says which."""


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

    async def request(self, method: str, params: Mapping[str, Any]) -> Any:
        """Send a request and return its result.

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
                if isinstance(message, dict):
                    await self._take(message)
        except (ValueError, OSError, InfrastructureError):
            pass  # a line beyond the limit, or nobody there to be answered: it is of no more use
        finally:
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(self._gone())

    async def _take(self, message: dict[str, Any]) -> None:
        number = message.get("id")
        if "method" in message:
            if number is not None:
                await self._reply(number, message["method"])
            return
        answer = self._waiting.get(number) if isinstance(number, int) else None
        if answer is None or answer.done():
            return
        if "error" in message:
            error = message["error"]
            text = error.get("message") if isinstance(error, dict) else error
            answer.set_exception(RemoteError(str(text)))
        else:
            answer.set_result(message.get("result"))

    async def _reply(self, number: Any, method: Any) -> None:
        """Answer the server's own request: we are there, and can do nothing for it."""
        if method == "ping":
            await self._send({"id": number, "result": {}})
        else:
            error = {"code": _METHOD_NOT_FOUND, "message": f"{method} is not supported"}
            await self._send({"id": number, "error": error})

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
