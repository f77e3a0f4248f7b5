"""A warm, isolated, stateful Python sandbox: no docker, no root.

Programs written by a model under optimisation pressure find whatever pays. Here each runs in an
interpreter forked from a warm image (numpy and sympy loaded), behind namespaces, Landlock,
seccomp and resource limits, and is gone without a trace in a few milliseconds.
"""

from typing import TYPE_CHECKING

from qwq_env._lazy import lazy_exports

if TYPE_CHECKING:
    from qwq_env.sandbox.blocking import BlockingSandbox as BlockingSandbox
    from qwq_env.sandbox.blocking import BlockingSession as BlockingSession
    from qwq_env.sandbox.client import RemoteSandbox as RemoteSandbox
    from qwq_env.sandbox.errors import LevelUnavailable as LevelUnavailable
    from qwq_env.sandbox.errors import SandboxBusy as SandboxBusy
    from qwq_env.sandbox.errors import SandboxUnavailable as SandboxUnavailable
    from qwq_env.sandbox.errors import SessionClosed as SessionClosed
    from qwq_env.sandbox.interface import DEFAULT_LIMITS as DEFAULT_LIMITS
    from qwq_env.sandbox.interface import Sandbox as Sandbox
    from qwq_env.sandbox.interface import SandboxSession as SandboxSession
    from qwq_env.sandbox.levels import Level as Level
    from qwq_env.sandbox.local import LocalSandbox as LocalSandbox
    from qwq_env.sandbox.result import CallResult as CallResult
    from qwq_env.sandbox.result import CallStatus as CallStatus
    from qwq_env.sandbox.result import ExecutionResult as ExecutionResult
    from qwq_env.sandbox.result import Limits as Limits
    from qwq_env.sandbox.result import Status as Status
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "interface": "Sandbox SandboxSession DEFAULT_LIMITS",
            "local": "LocalSandbox",
            "client": "RemoteSandbox",
            "blocking": "BlockingSandbox BlockingSession",
            "result": "Limits ExecutionResult Status CallResult CallStatus",
            "levels": "Level",
            "errors": "SandboxUnavailable SandboxBusy LevelUnavailable SessionClosed",
        },
    )
