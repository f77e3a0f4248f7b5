"""The code-execution server: the sandbox over HTTP, for machines that have none of their own."""

from __future__ import annotations

from qwq_env.sandbox.server.command import add_serve_arguments, serve
from qwq_env.sandbox.server.connection import Deadlines
from qwq_env.sandbox.server.lifecycle import SandboxServer
from qwq_env.sandbox.server.service import ServiceLimits

__all__ = ["Deadlines", "SandboxServer", "ServiceLimits", "add_serve_arguments", "serve"]
