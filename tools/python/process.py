"""The host's side of one interpreter process: start it, step it, interrupt it, end it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from qwq_env.sandbox import ExecutionResult, Limits, SandboxUnavailable, Status

_SCRIPT: Final = Path(__file__).with_name("interpreter.py")
_START_SECONDS: Final = 30.0
_GRACE_SECONDS: Final = 0.5
"""How long an interrupted step may take to stop before its interpreter is killed."""

_END_SECONDS: Final = 5.0
_MOST_ANSWER_BYTES: Final = 1 << 20
_VALUE_CHARACTERS: Final = 8_000
_ANSWER: Final = {"exit_code", "value", "error", "peak_bytes"}
_FLOOD: Final = 16
"""A step that writes this many times what is kept is stopped."""


class InterpreterProcess:
    """One life of an interpreter. It belongs to the event loop and the process that made it."""

    def __init__(self, limits: Limits) -> None:
        self.ended = False
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._owner = os.getpid()
        self._pid = 0
        self._flooded = asyncio.Event()
        self._folder = tempfile.mkdtemp(prefix="qwq-python-")
        self._lifeline, guard_end = socket.socketpair()
        self._channel, child_end = socket.socketpair()
        self._channel.setblocking(False)
        with guard_end, child_end:
            try:
                self._process = self._spawn(guard_end, child_end)
            except OSError:
                self._lifeline.close()
                self._channel.close()
                shutil.rmtree(self._folder, ignore_errors=True)
                raise
        flood = _FLOOD * limits.output_bytes
        self._pipes = [
            _OutputPipe(self._loop, stream, limits.output_bytes, flood, self._flooded.set)
            for stream in (self._process.stdout, self._process.stderr)
            if stream is not None
        ]

    def _spawn(self, guard_end: socket.socket, child_end: socket.socket) -> subprocess.Popen[bytes]:
        limits = self._limits
        numbers = (child_end.fileno(), limits.memory_mb << 20, limits.file_mb << 20)
        return subprocess.Popen(
            [sys.executable, "-s", "-P", "-B", str(_SCRIPT), *map(str, numbers), self._folder],
            stdin=guard_end.fileno(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            pass_fds=(child_end.fileno(),),
            cwd=self._folder,
            # One hash seed for all, so that sets are printed alike in every run.
            env={"PYTHONHASHSEED": "0", "PYTHONIOENCODING": "utf-8:replace", "LANG": "C.UTF-8"},
            start_new_session=True,
        )

    @classmethod
    async def started(cls, limits: Limits) -> InterpreterProcess:
        """Start one and wait until it is ready; raises `SandboxUnavailable`."""
        try:
            process = cls(limits)
        except OSError as error:
            raise SandboxUnavailable(f"python: no interpreter could be started: {error}") from error
        try:
            async with asyncio.timeout(_START_SECONDS):
                hello = await process._answer()
        except TimeoutError:
            hello = None
        except BaseException:
            process.end()
            raise
        if hello is None:
            process.end()
            raise SandboxUnavailable("python: the interpreter did not start")
        process._pid = int(hello["pid"])
        return process

    async def step(self, code: str, seconds: float) -> ExecutionResult:
        """Run one step; `ended` is true afterwards if the interpreter was lost in it."""
        began = time.perf_counter()
        self._flooded.clear()
        exchange = self._loop.create_task(self._exchange(code))
        flood = self._loop.create_task(self._flooded.wait())
        verdict: Status | None = None
        try:
            waited = {exchange, flood}
            await asyncio.wait(waited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if not exchange.done():
                verdict = "output" if flood.done() else "timeout"
                self._interrupt()
                await asyncio.wait({exchange}, timeout=_GRACE_SECONDS)
            answer = exchange.result() if exchange.done() else None
        finally:
            exchange.cancel()
            flood.cancel()
            # A cancelled read lets go of its descriptor only when it has run; closed before
            # that, it would take the reader of whoever gets the same number next.
            await asyncio.gather(exchange, flood, return_exceptions=True)
        if answer is None or not answer.keys() >= _ANSWER:
            answer, self.ended = None, True
        return self._result(answer, verdict, time.perf_counter() - began)

    def _result(
        self, answer: dict[str, Any] | None, verdict: Status | None, seconds: float
    ) -> ExecutionResult:
        out, error = (pipe.take() for pipe in self._pipes)
        answer = answer or {**dict.fromkeys(_ANSWER), "peak_bytes": 0}
        status: Status = "ok" if answer["exit_code"] == 0 else "error"
        if answer["exit_code"] is None:
            status = "killed"
        elif answer["error"] == "MemoryError":
            status = "memory"
        return ExecutionResult(
            status=verdict or status,
            stdout=out.text,
            stderr=error.text,
            value=answer["value"],
            exit_code=answer["exit_code"],
            wall_seconds=seconds,
            peak_memory_bytes=answer["peak_bytes"],
            truncated=tuple(
                name for name, piece in (("stdout", out), ("stderr", error)) if piece.cut
            ),
            state_lost=self.ended,
        )

    async def _exchange(self, code: str) -> dict[str, Any] | None:
        request = json.dumps({"code": code, "value_characters": _VALUE_CHARACTERS}).encode()
        try:
            await self._loop.sock_sendall(self._channel, len(request).to_bytes(4, "big") + request)
        except OSError:
            return None
        return await self._answer()

    async def _answer(self) -> dict[str, Any] | None:
        header = await self._receive(4)
        length = int.from_bytes(header or b"", "big")
        if header is None or length > _MOST_ANSWER_BYTES:
            return None
        body = await self._receive(length)
        try:
            return None if body is None else dict(json.loads(body))
        except (ValueError, TypeError, RecursionError):
            return None

    async def _receive(self, count: int) -> bytes | None:
        data = b""
        while len(data) < count:
            try:
                chunk = await self._loop.sock_recv(self._channel, count - len(data))
            except OSError:
                return None
            if not chunk:
                return None
            data += chunk
        return data

    def _interrupt(self) -> None:
        try:
            os.kill(self._pid, signal.SIGINT)
        except ProcessLookupError:
            pass

    def end(self) -> threading.Thread:
        """End the interpreter with all it started; the thread ends when they are gone.

        In a fork of the process that made it, only let go of it.
        """
        self.ended = True
        for pipe in self._pipes:
            pipe.close()
        if os.getpid() == self._owner:
            # Closing alone would not reach the guard while a fork of ours holds a copy.
            self._lifeline.shutdown(socket.SHUT_RDWR)
        self._lifeline.close()
        self._channel.close()
        reaper = threading.Thread(target=self._reap, name="qwq-python-reaper", daemon=True)
        reaper.start()
        return reaper

    def _reap(self) -> None:
        if os.getpid() != self._owner:
            return
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


class _Piece(NamedTuple):
    """What came through a pipe during a step."""

    text: str
    cut: bool


class _OutputPipe:
    """Reads a stream of the interpreter all the time, and keeps its beginning."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        stream: IO[bytes],
        keep: int,
        flood: int,
        on_flood: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._stream = stream
        self._descriptor = stream.fileno()
        self._keep, self._flood, self._on_flood = keep, flood, on_flood
        self._kept = bytearray()
        self._total = 0
        os.set_blocking(self._descriptor, False)
        loop.add_reader(self._descriptor, self._read)

    def _read(self) -> bool:
        try:
            chunk = os.read(self._descriptor, 1 << 16)
        except BlockingIOError:
            return False
        except OSError:
            chunk = b""
        if not chunk:
            self._loop.remove_reader(self._descriptor)
            return False
        self._kept += chunk[: max(0, self._keep - len(self._kept))]
        self._total += len(chunk)
        if self._total > self._flood:
            self._on_flood()
        return True

    def take(self) -> _Piece:
        """Return what was written since the last call; what is in the pipe belongs to it."""
        # Bounded: a thread that the step left behind may write faster than this reads.
        for _ in range(64):
            if not self._read():
                break
        piece = _Piece(self._kept.decode("utf-8", "replace"), self._total > len(self._kept))
        self._kept.clear()
        self._total = 0
        return piece

    def close(self) -> None:
        """Stop reading."""
        if not self._loop.is_closed():
            self._loop.remove_reader(self._descriptor)
        self._stream.close()
