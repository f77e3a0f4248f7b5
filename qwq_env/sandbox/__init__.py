"""A warm, isolated, stateful Python sandbox: no docker, no root.

Programs written by a model under optimisation pressure find whatever pays. Here each runs in an
interpreter forked from a warm image (numpy and sympy loaded), behind namespaces, Landlock,
seccomp and resource limits, and is gone without a trace in a few milliseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qwq_env.sandbox.blocking import BlockingSandbox, BlockingSession
from qwq_env.sandbox.errors import (
    LevelUnavailable,
    SandboxBusy,
    SandboxUnavailable,
    SessionClosed,
)
from qwq_env.sandbox.interface import DEFAULT_LIMITS, Sandbox, SandboxSession
from qwq_env.sandbox.levels import Level
from qwq_env.sandbox.local import LocalSandbox
from qwq_env.sandbox.result import (
    CallResult,
    CallStatus,
    ExecutionResult,
    Limits,
    Status,
)

if TYPE_CHECKING:
    from qwq_env.sandbox.client import RemoteSandbox

__all__ = [
    "DEFAULT_LIMITS",
    "BlockingSandbox",
    "BlockingSession",
    "CallResult",
    "CallStatus",
    "ExecutionResult",
    "Level",
    "LevelUnavailable",
    "Limits",
    "LocalSandbox",
    "RemoteSandbox",
    "Sandbox",
    "SandboxBusy",
    "SandboxSession",
    "SandboxUnavailable",
    "SessionClosed",
    "Status",
]


def __getattr__(name: str) -> Any:
    # The client brings what it takes to speak HTTP, which a sandbox on this machine never needs.
    if name == "RemoteSandbox":
        from qwq_env.sandbox.client import RemoteSandbox  # noqa: PLC0415

        return RemoteSandbox
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
