"""SandboxFusion's `POST /run_code`, so that a training script made for it needs a new URL only.

The fields and their meaning are those of SandboxFusion's public API (`sandbox/server/
sandbox_api.py` of bytedance/SandboxFusion): a request names the code, the language, seconds for
compiling and running, memory in MB (-1: no wish), standard input, files by base64, and files to
fetch; the answer has a status for the whole and one for each command. What that API has and this
server has not (other languages, files) is refused by name, never silently ignored. Fields that
it does not know are ignored, as there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from qwq_env.errors import UsageError
from qwq_env.sandbox.result import ExecutionResult, Limits
from qwq_env.sandbox.server.bodies import RunBody, code_field, read_stdin

_DEFAULT_RUN_TIMEOUT_S: Final = 10.0
_UNSUPPORTED: Final = ("files", "fetch_files", "args")


def read_run_code(data: dict[str, Any]) -> RunBody:
    """Read a `/run_code` request; raises `UsageError` that names the field."""
    language = data.get("language", "python")
    if language != "python":
        raise UsageError(f"language: {str(language)[:80]!r} is not supported, expected 'python'")
    for name in _UNSUPPORTED:
        if data.get(name):
            raise UsageError(f"{name}: is not supported by this server, expected it to be empty")
    return RunBody(code_field(data), read_stdin(data.get("stdin")), _read_limits(data), ())


def _read_limits(data: dict[str, Any]) -> Limits:
    seconds = data.get("run_timeout", _DEFAULT_RUN_TIMEOUT_S)
    memory = data.get("memory_limit_MB", -1)
    try:
        limits = Limits.from_json({"wall_seconds": seconds, "cpu_seconds": seconds})
    except UsageError as error:
        raise UsageError(f"run_timeout: {error}") from None
    try:
        return limits if memory == -1 else replace(limits, memory_mb=memory)
    except UsageError as error:
        raise UsageError(f"memory_limit_MB: {error}") from None


def run_code_answer(result: ExecutionResult) -> dict[str, Any]:
    """Return the answer to `/run_code` that says what `result` says."""
    timed_out = result.status == "timeout"
    code = result.exit_code
    if result.signal is not None:
        code = -result.signal
    elif code is None and not result.ok:
        code = 1
    return {
        "status": "Success" if result.ok else "Failed",
        "message": "",
        "compile_result": None,
        "run_result": {
            "status": "TimeLimitExceeded" if timed_out else "Finished",
            "execution_time": result.wall_seconds,
            "return_code": None if timed_out else code,
            "stdout": result.stdout,
            "stderr": result.stderr,
        },
        "executor_pod_name": None,
        "files": {},
    }


def run_code_failure(message: str) -> dict[str, Any]:
    """Return the answer that says that the sandbox, not the program, failed."""
    return {
        "status": "SandboxError",
        "message": message,
        "compile_result": None,
        "run_result": None,
        "executor_pod_name": None,
        "files": {},
    }
