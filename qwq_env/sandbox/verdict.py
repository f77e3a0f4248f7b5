"""From what a child's end looked like to the result that the caller gets."""

from __future__ import annotations

import os
import signal
from typing import cast

from qwq_env.sandbox.foreign import text_of
from qwq_env.sandbox.handle import Ended
from qwq_env.sandbox.jail import wire
from qwq_env.sandbox.result import ExecutionResult, Limits, Status


def job_of(kind: int, limits: Limits) -> wire.Job:
    """Return what a child must know of its job; how it travels is filled in later."""
    return wire.Job(
        kind=kind,
        code_file=False,
        stdin_file=False,
        channel=False,
        cpu_seconds=limits.cpu_seconds,
        memory_mb=limits.memory_mb,
        file_mb=limits.file_mb,
        disk_mb=limits.disk_mb,
        processes=limits.processes,
        value_bytes=value_bytes(limits),
    )


def value_bytes(limits: Limits) -> int:
    """How much of a value's `repr` is kept: it must fit into the report pipe."""
    return min(limits.output_bytes, wire.MOST_VALUE_CHARACTERS)


async def judge(ended: Ended, limits: Limits) -> ExecutionResult:
    """Return the result of a one-shot."""
    value, error = _read_report(ended.report, limits)
    killer = os.WTERMSIG(ended.wait_status) if os.WIFSIGNALED(ended.wait_status) else None
    exit_code = os.WEXITSTATUS(ended.wait_status) if killer is None else None
    return ExecutionResult(
        status=_status(ended, killer, exit_code, error),
        stdout=await text_of(ended.stdout),
        stderr=await text_of(ended.stderr),
        value=value,
        exit_code=exit_code,
        signal=killer,
        cpu_seconds=ended.cpu_seconds,
        wall_seconds=ended.wall_seconds,
        peak_memory_bytes=ended.peak_bytes,
        truncated=ended.truncated,
    )


def _status(ended: Ended, killer: int | None, exit_code: int | None, error: str | None) -> Status:
    if ended.verdict is not None:
        return cast(Status, ended.verdict)
    if killer == signal.SIGXCPU:
        return "timeout"
    if killer is not None:
        return "killed"
    if exit_code == 0:
        return "ok"
    return "memory" if error == "MemoryError" else "error"


def _read_report(report: bytes, limits: Limits) -> tuple[str | None, str | None]:
    """Read the child's own account, which a program may have forged or spoilt."""
    try:
        value, error = wire.unpack_account(report) if report else (None, None)
    except ValueError:
        return None, None
    return None if value is None else value[: value_bytes(limits)], error
