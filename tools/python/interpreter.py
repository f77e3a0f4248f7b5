"""The child's side of `subprocess_session`: an interpreter that runs step after step.

Run as a script by an interpreter of its own, with nothing of the library imported. The process
started first is a guard: it forks the interpreter, adopts whatever the interpreter leaves
behind, and ends it all as soon as its standard input closes or its parent is gone, so that not
even a killed trainer leaves a process. This is tidiness, not isolation.

Protocol, over the socket `argv[1]`: frames of four bytes of length and JSON. The interpreter
says `{"pid": n}` first; then each `{"code": text, "value_characters": n}` gets
`{"exit_code": n, "value": text or null, "error": name or null, "peak_bytes": n}`.
"""

from __future__ import annotations

import ast
import ctypes
import json
import linecache
import os
import resource
import select
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

_PR_SET_CHILD_SUBREAPER = 36
_MOST_OPEN_FILES = 256


def main(channel: int, memory_bytes: int, file_bytes: int, folder: str) -> int:
    """Guard one interpreter until it ends or the host lets go of standard input.

    `folder` is the interpreter's own, and removed at the end.
    """
    host = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        _limit(memory_bytes, file_bytes)
        os._exit(Interpreter(channel).serve())
    os.close(channel)
    woken = _wake_on_child_end()
    # Reaping first: the child may have ended before the wake-up was in place.
    while not _reaped(child) and os.getppid() == host:
        ready = select.select([0, woken], [], [], 1.0)[0]
        if 0 in ready:
            break
        if woken in ready:
            os.read(woken, 4096)
    _end_descendants(child)
    import shutil  # noqa: PLC0415 - of no use to the interpreter, which it would slow and swell

    shutil.rmtree(folder, ignore_errors=True)
    return 0


def _wake_on_child_end() -> int:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    signal.signal(signal.SIGCHLD, lambda _signal, _frame: None)
    return reader


def _reaped(child: int) -> bool:
    """Collect what has ended, adopted orphans too, and say whether `child` was among it."""
    while True:
        try:
            pid = os.waitpid(-1, os.WNOHANG)[0]
        except ChildProcessError:
            return True
        if pid in (0, child):
            return pid == child


def _limit(memory_bytes: int, file_bytes: int) -> None:
    """Bound what one process may take; the memory budget comes on top of what it holds."""
    held = 0
    if sys.platform == "linux":
        held = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    for limit, value in (
        (resource.RLIMIT_AS, held + memory_bytes),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_NOFILE, _MOST_OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(limit)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (value, value))
    # Writing past the file limit should be an OSError that the code can read.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def _end_descendants(child: int) -> None:
    """Kill the interpreter and all that it left; each kill may hand us new orphans."""
    doomed = {child}
    for _ in range(10_000):
        for pid in doomed:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return
        doomed = _children()


def _children() -> set[int]:
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            # The name in parentheses may hold anything, so read from its end.
            fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if fields[1] == str(os.getpid()):
            found.add(int(entry.name))
    return found


class Interpreter:
    """Names that live on from step to step."""

    def __init__(self, channel: int) -> None:
        self.channel = channel
        self.names: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}
        self.running = False
        self.pid = os.getpid()
        self.steps = 0
        self.outputs = (os.dup(1), os.dup(2))
        signal.signal(signal.SIGINT, self._interrupt)

    def _interrupt(self, _signal: int, _frame: FrameType | None) -> None:
        if self.running:
            self.running = False
            raise KeyboardInterrupt

    def serve(self) -> int:
        """Run steps until the host closes the channel."""
        # Bound now, so that a step which patches json or os does not break the protocol.
        loads, dumps, usage = json.loads, json.dumps, resource.getrusage
        getpid, leave = os.getpid, os._exit
        self._write(dumps({"pid": self.pid}).encode())
        while (request := self._read()) is not None:
            step = loads(request)
            answer = self._step(step["code"], step["value_characters"])
            if getpid() != self.pid:
                leave(0)  # a fork of the step's own came to its end
            answer["peak_bytes"] = usage(resource.RUSAGE_SELF).ru_maxrss * 1024
            self._write(dumps(answer).encode())
        return 0

    def _step(self, code: str, value_characters: int) -> dict[str, Any]:
        self.steps += 1
        answer: dict[str, Any] = {"exit_code": 0, "value": None, "error": None}
        self._reopen()
        try:
            try:
                self.running = True
                answer["value"] = self._evaluate(code, f"<step {self.steps}>", value_characters)
            finally:
                self.running = False
        except SystemExit as error:
            answer["exit_code"] = _exit_code(error.code)
        except BaseException as error:  # noqa: BLE001 - the boundary: what code raises is its result
            answer["exit_code"] = 1
            answer["error"] = type(error).__name__
            _explain(error)
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except BaseException:  # noqa: BLE001 - a step may have replaced or closed it
                pass
        return answer

    def _reopen(self) -> None:
        """Mend output streams that an earlier step has closed."""
        for number, name in ((1, "stdout"), (2, "stderr")):
            if getattr(getattr(sys, name, None), "closed", True):
                os.dup2(self.outputs[number - 1], number)
                # Not closed by us: it is the code's from here on.
                stream = open(  # noqa: SIM115
                    number, "w", encoding="utf-8", errors="replace", closefd=False
                )
                setattr(sys, name, stream)

    def _evaluate(self, code: str, filename: str, value_characters: int) -> str | None:
        linecache.cache[filename] = (len(code), None, code.splitlines(True), filename)
        tree = ast.parse(code, filename)
        last = None
        if tree.body and isinstance(tree.body[-1], ast.Expr):
            last = ast.Expression(tree.body.pop().value)  # type: ignore[attr-defined]
        exec(compile(tree, filename, "exec"), self.names)
        if last is None:
            return None
        value = eval(compile(last, filename, "eval"), self.names)
        return None if value is None else repr(value)[:value_characters]

    def _read(self) -> bytes | None:
        header = self._read_exactly(4)
        return None if header is None else self._read_exactly(int.from_bytes(header, "big"))

    def _read_exactly(self, count: int) -> bytes | None:
        data = b""
        while len(data) < count:
            chunk = os.read(self.channel, count - len(data))
            if not chunk:
                return None
            data += chunk
        return data

    def _write(self, data: bytes) -> None:
        rest = len(data).to_bytes(4, "big") + data
        while rest:
            rest = rest[os.write(self.channel, rest) :]


def _exit_code(status: object) -> int:
    if status is None or isinstance(status, int):
        return int(status or 0) & 255
    os.write(2, f"{status}\n".encode("utf-8", "replace"))
    return 1


def _explain(error: BaseException) -> None:
    """Print a traceback of the code's own frames."""
    trace = error.__traceback__
    while trace is not None and not trace.tb_frame.f_code.co_filename.startswith("<step "):
        trace = trace.tb_next
    last = trace
    while last is not None and last.tb_next is not None:
        if last.tb_next.tb_frame.f_code.co_filename == __file__:
            last.tb_next = None  # the frame of the interrupt
        else:
            last = last.tb_next
    try:
        traceback.print_exception(type(error), error, trace, limit=-20)
    except BaseException:  # noqa: BLE001 - printing runs the code's own __str__
        os.write(2, type(error).__name__.encode("utf-8", "replace")[:200] + b"\n")


if __name__ == "__main__":
    channel, memory_bytes, file_bytes = map(int, sys.argv[1:4])
    sys.exit(main(channel, memory_bytes, file_bytes, sys.argv[4]))
