"""The thread behind a `GraderPool`: one event loop over the workers' sockets.

Requests are written ahead, a few to a worker, so that no worker waits for this thread between two
calls; a worker answers in order, so the first unanswered request is the one it works on. While that
one is slow, what was written behind it goes back to the head of the queue, to a worker forked for
it. A request that has used up its CPU time is too complex, whatever else the machine does; one that
is late without having used it was late by our load, and is tried once more. Either way the worker
is killed.
"""

import json
import math
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from concurrent.futures import Future
from threading import Condition, Thread
from typing import Any, NamedTuple

from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.grading.score import Score

__all__ = ["Dispatcher", "GraderUnavailable", "PoolClosed"]

_WRITTEN_AHEAD = 6
_SLOW_S = 0.1
"""Of CPU time: ten times what most calls take. A call that only waits for a CPU is not slow."""
_MOST_WORKERS = 4
"""Times the workers wanted: so many may run while slow requests are waited for."""
_START_S = 120.0
_STARTS = 3
_CHUNK = 1 << 16
_KEPT_VARIABLES = ("PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "LANG")


class PoolClosed(InfrastructureError):
    """A call to a pool that was closed."""


class GraderUnavailable(UsageError):
    """The grading function cannot be imported, mostly because an extra is not installed."""


class _Job:
    """One call; `losses` counts the workers that died on it."""

    __slots__ = ("begun", "future", "losses", "request")

    def __init__(self, arguments: tuple[Any, ...]) -> None:
        self.request = json.dumps({"arguments": arguments}).encode() + b"\n"
        self.future: Future[Score] = Future()
        self.begun = False
        self.losses = 0

    def begin(self) -> bool:
        """Mark it as begun; False when the caller has given it up before."""
        if not self.begun:
            self.begun = self.future.set_running_or_notify_cancel()
        return self.begun


class _Worker:
    """The near end of one worker: its socket, what it was sent, what it has answered."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.pid = 0
        self.handle = -1
        self.jobs: deque[_Job] = deque()
        self.incoming = b""
        self.outgoing = bytearray()
        self.began = time.monotonic()
        self.looked_at = self.began
        self.cpu_before = 0.0
        self.served = 0
        self.retiring = False

    def begin(self) -> None:
        """Note that the first of its jobs begins now."""
        self.began = self.looked_at = time.monotonic()

    def cpu_s(self) -> float:
        """CPU seconds spent on the first job; 0 where the system does not tell (Linux does)."""
        try:
            # The id of the CPU clock of another process, as clock_getcpuclockid makes it.
            return time.clock_gettime((~self.pid << 3) | 2) - self.cpu_before
        except OSError:
            return 0.0

    def kill(self) -> None:
        # Through a handle where the system has them: a number may belong to someone else by now.
        try:
            if self.handle >= 0:
                signal.pidfd_send_signal(self.handle, signal.SIGKILL)
            elif self.pid:
                os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.release()

    def release(self) -> None:
        self.connection.close()
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1


class _Server(NamedTuple):
    """The warm process that forks workers, and the socket on which it is asked to."""

    process: subprocess.Popen[bytes]
    control: socket.socket


class Dispatcher:
    """Owns the processes of one pool. All of its state but the queue belongs to its thread."""

    def __init__(
        self,
        target: str,
        workers: int,
        deadline_s: float,
        cpu_s: float | None,
        memory_mb: int,
        recycle_after: int,
    ) -> None:
        self._target = target
        self._wanted = workers
        self._deadline_s = deadline_s
        self._cpu_s = math.inf if cpu_s is None else cpu_s
        self._memory_mb = memory_mb
        self._recycle_after = recycle_after
        self._queue: deque[_Job] = deque()
        self._changed = Condition()
        self._closing = False
        self._broken: str | None = None
        self._failed_starts = 0
        self._server: _Server | None = None
        self._ready = False
        self._workers: list[_Worker] = []
        self._wake_read, self._wake_write = socket.socketpair()
        for end in (self._wake_read, self._wake_write):
            end.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._thread = Thread(target=self._run, name="qwq-grading", daemon=True)
        self._thread.start()

    def submit(self, arguments: tuple[Any, ...]) -> "Future[Score]":
        """Queue one call."""
        job = _Job(arguments)
        with self._changed:
            if self._broken is not None:
                raise GraderUnavailable(self._broken)
            if self._closing:
                raise PoolClosed("the grader pool is closed")
            self._queue.append(job)
            first = len(self._queue) == 1
        if first:
            self._wake()
        return job.future

    def queued(self) -> int:
        """How many calls no worker has begun."""
        return len(self._queue)

    def wait_for_room(self, limit: int) -> None:
        """Block while `limit` calls or more are queued."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._queue) < limit or self._closing)

    def pids(self) -> list[int]:
        """The workers that are ready."""
        return [worker.pid for worker in list(self._workers) if worker.pid]

    def close(self) -> None:
        """End the thread and every process."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._wake()
        self._thread.join()

    def abandon(self) -> None:
        """In a forked child: close what was inherited, and touch no process."""
        self._selector.close()
        for worker in self._workers:
            worker.release()
        if self._server is not None:
            self._server.control.close()
            # The parent reaps its own child; this copy must not try, nor warn that it did not.
            self._server.process.returncode = 0
        self._wake_read.close()
        self._wake_write.close()

    def _wake(self) -> None:
        try:
            self._wake_write.send(b"x")
        except (BlockingIOError, OSError):
            pass  # full: it is awake already; closed: there is nobody to wake

    def _run(self) -> None:
        try:
            while not self._closing:
                if self._broken is None:
                    self._keep_staffed()
                    self._assign()
                for key, events in self._selector.select(self._patience()):
                    self._attend(key, events)
                self._enforce_deadlines()
        finally:
            self._shut_down()

    def _patience(self) -> float | None:
        """Seconds until a worker has to be looked at."""
        looks = [
            worker.looked_at + (min(_SLOW_S, self._deadline_s) if worker.pid else _START_S)
            for worker in self._workers
            if worker.jobs or not worker.pid
        ]
        return max(0.0, min(looks) - time.monotonic()) if looks else None

    def _attend(self, key: selectors.SelectorKey, events: int) -> None:
        if key.fileobj is self._wake_read:
            self._wake_read.recv(4096)
        elif self._server is not None and key.fileobj is self._server.control:
            self._hear_server()
        elif key.data in self._workers:
            if events & selectors.EVENT_WRITE:
                self._write(key.data)
            if events & selectors.EVENT_READ and key.data in self._workers:
                self._read(key.data)

    # The server and its workers.

    def _keep_staffed(self) -> None:
        if self._server is None:
            self._start_server()
        if not self._ready:
            return
        while sum(not worker.retiring for worker in self._workers) < self._wanted:
            if not self._start_worker():
                return

    def _start_server(self) -> None:
        near, far = socket.socketpair()
        environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        # One thread, and one order of sets and dicts: the same question has one answer.
        environment |= {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
        with far:
            process = subprocess.Popen(
                [
                    sys.executable, "-m", "qwq_env.grading.worker", self._target,
                    str(far.fileno()), str(self._memory_mb), str(self._deadline_s + 2),
                ],
                pass_fds=[far.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )  # fmt: skip
        self._server = _Server(process, near)
        self._ready = False
        self._selector.register(near, selectors.EVENT_READ)

    def _hear_server(self) -> None:
        assert self._server is not None
        try:
            line = self._server.control.recv(_CHUNK)
        except OSError:
            line = b""
        if line and "ready" in (message := json.loads(line.splitlines()[0])):
            self._ready = True
            self._failed_starts = 0
            return
        reason = message.get("failed", "") if line else "the worker process ended while starting"
        self._lose_server()
        self._failed_starts += 1
        if line or self._failed_starts >= _STARTS:
            self._break(f"cannot run {self._target}: {reason}")

    def _break(self, reason: str) -> None:
        with self._changed:
            self._broken = reason
            jobs, self._queue = list(self._queue), deque()
            self._changed.notify_all()
        for job in jobs:
            if job.begin():
                job.future.set_exception(GraderUnavailable(reason))

    def _lose_server(self) -> None:
        server, self._server, self._ready = self._server, None, False
        if server is None:
            return
        for worker in list(self._workers):
            self._requeue(self._drop(worker))
        self._selector.unregister(server.control)
        server.control.close()
        try:
            server.process.wait(2)
        except subprocess.TimeoutExpired:
            os.killpg(server.process.pid, signal.SIGKILL)
            server.process.wait()

    def _start_worker(self) -> bool:
        assert self._server is not None
        near, far = socket.socketpair()
        try:
            with far:
                socket.send_fds(self._server.control, [b"w"], [far.fileno()])
        except OSError:
            near.close()
            self._lose_server()
            return False
        near.setblocking(False)
        worker = _Worker(near)
        self._workers.append(worker)
        self._selector.register(near, selectors.EVENT_READ, worker)
        return True

    def _drop(self, worker: _Worker) -> list[_Job]:
        """Kill a worker; returns the jobs that it had not answered, in order."""
        self._workers.remove(worker)
        self._selector.unregister(worker.connection)
        worker.kill()
        return list(worker.jobs)

    # Work.

    def _assign(self) -> None:
        ready = [worker for worker in self._workers if worker.pid and not worker.retiring]
        if not ready or not self._queue:
            return
        touched = set()
        with self._changed:
            while self._queue:
                worker = min(ready, key=lambda candidate: len(candidate.jobs))
                if len(worker.jobs) >= _WRITTEN_AHEAD:
                    break
                job = self._queue.popleft()
                if not job.begin():
                    continue
                if not worker.jobs:
                    worker.begin()
                worker.jobs.append(job)
                worker.outgoing += job.request
                touched.add(worker)
            self._changed.notify_all()
        for worker in touched:
            self._write(worker)

    def _write(self, worker: _Worker) -> None:
        try:
            sent = worker.connection.send(worker.outgoing)
            del worker.outgoing[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self._lose(worker)
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if worker.outgoing else 0)
        self._selector.modify(worker.connection, events, worker)

    def _read(self, worker: _Worker) -> None:
        try:
            data = worker.connection.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lose(worker)
            return
        *lines, worker.incoming = (worker.incoming + data).split(b"\n")
        for line in lines:
            if worker.jobs or not worker.pid:  # else: what was taken from it and given to another
                self._hear(worker, json.loads(line))
        if worker.retiring and not worker.jobs:
            self._drop(worker)

    def _hear(self, worker: _Worker, message: dict[str, Any]) -> None:
        worker.begin()
        worker.cpu_before = message["cpu"]
        if "pid" in message:
            worker.pid = message["pid"]
            if hasattr(os, "pidfd_open"):
                try:
                    worker.handle = os.pidfd_open(worker.pid)
                except OSError:
                    pass  # it died at once, or the kernel is old: the end of file tells
            return
        job = worker.jobs.popleft()
        job.future.set_result(Score(*message["score"]))
        worker.served += 1
        if worker.served >= self._recycle_after:
            worker.retiring = True

    def _lose(self, worker: _Worker) -> None:
        """A worker died by itself: the call that it worked on is tried once more."""
        if jobs := self._drop(worker):
            self._try_again(jobs, Score.undecided("infra", "two workers died on this answer"))

    def _try_again(self, jobs: list[_Job], verdict: Score) -> None:
        """Requeue a lost worker's jobs, but the first for the second time: it gets `verdict`."""
        jobs[0].losses += 1
        if jobs[0].losses > 1:
            jobs.pop(0).future.set_result(verdict)
        self._requeue(jobs)

    def _requeue(self, jobs: list[_Job]) -> None:
        with self._changed:
            self._queue.extendleft(reversed(jobs))

    def _enforce_deadlines(self) -> None:
        now = time.monotonic()
        for worker in list(self._workers):
            if not worker.pid:
                if now - worker.began > _START_S:
                    self._lose_server()
                    return
            elif worker.jobs and now - worker.looked_at >= min(_SLOW_S, self._deadline_s):
                worker.looked_at = now
                self._look_at(worker, now - worker.began)

    def _look_at(self, worker: _Worker, seconds: float) -> None:
        """Judge a worker whose first job has taken so many wall seconds."""
        used = worker.cpu_s()
        if used >= self._cpu_s:
            first, *others = self._drop(worker)
            reason = f"more than {self._cpu_s:g} s of CPU time"
            first.future.set_result(Score.undecided("too_complex", reason))
            self._requeue(others)
        elif seconds > self._deadline_s:
            late = Score.undecided("timeout", f"more than {self._deadline_s:g} s, twice")
            self._try_again(self._drop(worker), late)
        elif used >= _SLOW_S and len(self._workers) < _MOST_WORKERS * self._wanted:
            self._set_aside(worker)

    def _set_aside(self, worker: _Worker) -> None:
        """Let a worker end its slow job and nothing else, if anything waits for its place."""
        first, *others = worker.jobs
        if others or self._queue:
            worker.retiring = True
            worker.jobs = deque([first])
            self._requeue(others)

    def _shut_down(self) -> None:
        unanswered = [job for worker in list(self._workers) for job in self._drop(worker)]
        self._lose_server()
        with self._changed:
            unanswered += self._queue
            self._queue.clear()
            self._closing = True
            self._changed.notify_all()
        for job in unanswered:
            if job.begin():
                job.future.set_result(Score.undecided("infra", "the grader pool was closed"))
        self._selector.close()
        self._wake_read.close()
        self._wake_write.close()
