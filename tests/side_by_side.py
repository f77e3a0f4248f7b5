"""`pytest --processes N`: files side by side, in processes forked once all of it is collected.

What the tests import takes eight seconds of a processor, torch, Transformers and TRL above all, and
to collect eleven thousand of them six more. Here that is done once, and not in each process; the
reports come back through a pipe. The files that start the same (`SHARED`) stay in one process.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import pytest

SHARED = {
    "servers": ("tests/integration/", "tests/grading/reward/test_vllm_server.py"),
    "forked": (
        "tests/training/test_run.py", "tests/training/test_resume.py",
        "tests/training/test_servers_gone.py", "tests/training/test_weight_sync_ranks.py",
        "tests/distributed/test_ranks.py", "tests/test_documentation.py",
    ),
}  # fmt: skip
"""Files whose tests start the same, vLLM's servers or processes forked from one that has imported
what trains."""

_FORK = multiprocessing.get_context("fork")


def play(session: pytest.Session, count: int) -> bool:
    """Run what was collected in `count` processes; the hook `pytest_runtestloop`."""
    groups = _grouped(session.items)
    waiting = deque(range(len(groups)))
    terminal = session.config.pluginmanager.getplugin("terminalreporter")
    if terminal is not None:
        terminal.showfspath = False  # Each file's dots would stand between another's.
    workers = [_Worker(session, groups) for _ in range(min(count, len(groups)))]
    try:
        while workers:
            for connection in wait([worker.connection for worker in workers]):
                [worker] = [each for each in workers if each.connection is connection]
                try:
                    worker.receive(waiting)
                except EOFError:
                    workers.remove(worker)
                    if worker.lost():
                        workers.append(_Worker(session, groups, worker.left))
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)
    finally:
        for worker in workers:
            worker.process.terminate()
            worker.process.join()
    return True


def _grouped(items: Sequence[pytest.Item]) -> list[list[pytest.Item]]:
    """Return the tests of each file, or of each of `SHARED`, in their order."""
    groups: dict[str, list[pytest.Item]] = {}
    for item in items:
        file = item.nodeid.partition("::")[0]
        shared = (name for name, files in SHARED.items() if file.startswith(files))
        groups.setdefault(next(shared, file), []).append(item)
    return list(groups.values())


@dataclass
class _Worker:
    """One of the processes, as it is seen from the first: what it was given, and has done."""

    session: pytest.Session
    groups: Sequence[Sequence[pytest.Item]]
    left: list[pytest.Item] = field(default_factory=list)
    """What it has still to do of what it was given; the first is the one that it is at."""
    connection: Connection = field(init=False)
    process: BaseProcess = field(init=False)

    def __post_init__(self) -> None:
        self.connection, theirs = _FORK.Pipe()
        arguments = (self.session.config, self.groups, list(self.left), self.connection, theirs)
        self.process = _FORK.Process(target=_work, args=arguments)
        self.process.start()
        theirs.close()

    def receive(self, waiting: deque[int]) -> None:
        """Do what a message says. Raises `EOFError` if the process has ended."""
        kind, told = self.connection.recv()
        hook = self.session.config.hook
        if kind == "next":
            number = waiting.popleft() if waiting else None
            self.left += self.groups[number] if number is not None else []
            self.connection.send(number)
        elif kind == "done":
            self.left.pop(0)
        elif kind == "warning":
            hook.pytest_warning_recorded.call_historic(kwargs=told)
        else:
            config = self.session.config
            report = hook.pytest_report_from_serializable(config=config, data=told)
            hook.pytest_runtest_logreport(report=report)

    def lost(self) -> bool:
        """Return whether it ended before it was done; the test that it was at has failed then."""
        self.process.join()
        if not self.left:
            return False
        item = self.left.pop(0)
        report = pytest.TestReport(
            item.nodeid, item.location, {}, "failed",
            f"its process ended with {self.process.exitcode}", "call",
        )  # fmt: skip
        self.session.config.hook.pytest_runtest_logreport(report=report)
        return True


def _work(
    config: pytest.Config,
    groups: Sequence[Sequence[pytest.Item]],
    items: list[pytest.Item],
    theirs: Connection,
    connection: Connection,
) -> None:
    """Be one of the processes: run `items`, and then what the first process hands out."""
    theirs.close()
    manager = config.pluginmanager
    manager.unregister(name="terminalreporter")
    manager.register(_Reporter(config, connection))
    _capture_apart(manager.getplugin("capturemanager"))
    for item, following in _pairs(_handed_out(groups, items, connection)):
        config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        connection.send(("done", None))


def _capture_apart(manager: Any) -> None:
    """Write what is captured to files of this process's own, not to those of all."""
    for capture in (manager._global_capturing.out, manager._global_capturing.err):
        if hasattr(capture, "targetfd"):
            with tempfile.TemporaryFile(buffering=0) as own:
                os.dup2(own.fileno(), capture.tmpfile.fileno())
                os.dup2(own.fileno(), capture.targetfd)


def _handed_out(
    groups: Sequence[Sequence[pytest.Item]], items: Sequence[pytest.Item], connection: Connection
) -> Iterator[pytest.Item]:
    yield from items
    while True:
        connection.send(("next", None))
        if (number := connection.recv()) is None:
            return
        yield from groups[number]


def _pairs(
    items: Iterator[pytest.Item],
) -> Iterator[tuple[pytest.Item, pytest.Item | None]]:
    """Yield each test with the one behind it, for which some of what it set up may stay."""
    item = next(items, None)
    while item is not None:
        following = next(items, None)
        yield item, following
        item = following


class _Reporter:
    """Sends what there is to report to the first process."""

    def __init__(self, config: pytest.Config, connection: Connection) -> None:
        self._config = config
        self._connection = connection

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        hook = self._config.hook
        told = hook.pytest_report_to_serializable(config=self._config, report=report)
        self._connection.send(("report", told))

    def pytest_warning_recorded(
        self, warning_message: Any, when: str, nodeid: str, location: Any
    ) -> None:
        where = {"when": when, "nodeid": nodeid, "location": location}
        with contextlib.suppress(TypeError, AttributeError):  # what a warning holds may be anything
            self._connection.send(("warning", {"warning_message": warning_message, **where}))
