"""Several servers as one: least in flight first, the failing set aside and probed again."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from qwq_env.sandbox.endpoint import MOST_BYTES, AnswerLost, Endpoint, NotSent
from qwq_env.sandbox.errors import SandboxBusy, SandboxUnavailable

# A program that breaks its sandbox, or its server, must not be carried to every server for ever.
_MOST_TRIES: Final = 3
# One program's bad luck does not condemn a server; so many in a row do.
_FAILURES_IN_A_ROW: Final = 3
_FIRST_PROBE_S: Final = 0.1
_LONGEST_PROBE_S: Final = 2.0
_LOOK_AGAIN_S: Final = 0.2


class Answer(NamedTuple):
    """What a server answered, and which one it was."""

    endpoint: Endpoint
    data: dict[str, Any]


@dataclass(slots=True, eq=False)
class _Member:
    endpoint: Endpoint
    failures: int = 0
    not_before: float = 0.0
    probe: asyncio.Task[None] | None = None

    def due(self, now: float) -> bool:
        """Whether it may be asked now: it is not set aside, and its own hour has come."""
        return self.probe is None and self.not_before <= now

    def set_aside(self) -> None:
        """Send no more work there until a probe finds it well."""
        if self.probe is None:
            self.probe = asyncio.create_task(self._recover())

    async def _recover(self) -> None:
        pause = _FIRST_PROBE_S
        while True:
            await asyncio.sleep(pause * random.uniform(0.75, 1.25))
            if await self.endpoint.healthy():
                break
            pause = min(_LONGEST_PROBE_S, pause * 2)
        self.failures = 0
        self.probe = None


class _Patience:
    """How long a request is tried in spite of trouble; waiting for a turn is none."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.end = math.inf
        self.problem: SandboxBusy | SandboxUnavailable | None = None

    def trouble(self, problem: SandboxBusy | SandboxUnavailable) -> None:
        """Take note of why there is no answer; the first time the clock begins to run."""
        self.problem = problem
        if self.end == math.inf:
            self.end = time.monotonic() + self._seconds

    def check(self, now: float) -> None:
        """Raise the last problem where the time is up."""
        if self.problem is not None and now >= self.end:
            raise self.problem


class Balancer:
    """Carries repeatable requests to whichever server takes them first.

    A request that no server takes within `patience_seconds` of its first trouble ends with the
    last reason: that all were full (`SandboxBusy`) or none could be reached
    (`SandboxUnavailable`). Only requests without lasting effect belong here: one may run more
    than once, though it is answered once.
    """

    def __init__(self, endpoints: Sequence[Endpoint], patience_seconds: float) -> None:
        self._members = [_Member(endpoint) for endpoint in endpoints]
        self._patience_seconds = patience_seconds

    async def ask(
        self, method: str, path: str, data: Any, seconds: float, most: int = MOST_BYTES
    ) -> Answer:
        """Send a repeatable request until one server answers it; see `Endpoint.send`."""
        patience = _Patience(self._patience_seconds)
        tries = 0
        while True:
            member = await self._ready(patience)
            asked = time.monotonic()
            try:
                async with member.endpoint.turn():
                    patience.end += time.monotonic() - asked
                    if not member.due(time.monotonic()):
                        # It turned out dead, or full, to those who had their turn before.
                        continue
                    answer = await member.endpoint.send(method, path, data, seconds, most)
            except SandboxBusy as error:
                patience.trouble(error)
                # Never before the server's own hour, and not all at the same moment.
                wait = error.retry_after * random.uniform(1.0, 1.5)
                member.not_before = max(member.not_before, time.monotonic() + wait)
            except NotSent as error:
                patience.trouble(error)
                member.set_aside()
            except AnswerLost as error:
                patience.trouble(error)
                member.set_aside()
                tries += 1
            except SandboxUnavailable as error:
                patience.trouble(error)
                member.failures += 1
                if member.failures >= _FAILURES_IN_A_ROW:
                    member.set_aside()
                tries += 1
            else:
                member.failures = 0
                return Answer(member.endpoint, answer)
            if tries >= _MOST_TRIES and patience.problem is not None:
                raise patience.problem

    async def aclose(self) -> None:
        """Close the connections to all servers."""
        for member in self._members:
            if member.probe is not None:
                member.probe.cancel()
            await member.endpoint.aclose()

    async def _ready(self, patience: _Patience) -> _Member:
        """Return the server to try now; wait for one until the patience ends."""
        while True:
            now = time.monotonic()
            patience.check(now)
            due = [member for member in self._members if member.due(now)]
            if due:
                return min(due, key=lambda member: member.endpoint.in_flight)
            well = [member for member in self._members if member.probe is None]
            soonest = min((member.not_before for member in well), default=now + _LOOK_AGAIN_S)
            if patience.problem is None and well:
                patience.trouble(SandboxBusy("every sandbox server is full", soonest - now))
            elif patience.problem is None:
                patience.trouble(NotSent("no sandbox server can be reached"))
            await asyncio.sleep(max(0.001, min(soonest, now + _LOOK_AGAIN_S, patience.end) - now))
