"""What the sandbox raises; a program that merely fails is a result, never an exception.

```
InfrastructureError
├── SandboxUnavailable    no slot could run the program, though it was retried on fresh ones
└── SandboxBusy           the queue is full; `retry_after` says when to come again
UsageError
├── LevelUnavailable      the isolation that was required cannot be had on this machine
└── SessionClosed         a session, or the sandbox itself, was used after its end
```
"""

from __future__ import annotations

from qwq_env.errors import InfrastructureError, UsageError


class SandboxUnavailable(InfrastructureError):
    """The sandbox itself failed, on fresh slots too; nothing is known about the program."""


class SandboxBusy(InfrastructureError):
    """Too many programs wait already; come again after `retry_after` seconds."""

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class LevelUnavailable(UsageError):
    """The required level of isolation cannot be had here; the message says what is missing."""


class SessionClosed(UsageError):
    """The session (or the sandbox) was closed before this use."""
