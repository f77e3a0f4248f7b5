"""What the model reads after its Python code has run."""

from __future__ import annotations

import re
import signal
from typing import Final

from qwq_env.sandbox import ExecutionResult, Limits
from qwq_env.tool import ToolResult

_ERROR_LINES: Final = 16
_LINE_CHARACTERS: Final = 300
# The names of our own files are short; without a bound each mention is sought to the text's end.
_INTERRUPTED_AT: Final = re.compile(r'File "<[^>\n]{1,60}>", line (\d+)')
_STEP_FILE: Final = re.compile(r'File "<(?:program )?step \d+>"')
_LOST: Final = "; the interpreter was restarted and all variables are lost"
_KINDS: Final = {
    "error": "python_error",
    "timeout": "timeout",
    "memory": "memory",
    "output": "output",
    "killed": "crash",
}


def describe(result: ExecutionResult, limits: Limits, *, began_afresh: bool = False) -> ToolResult:
    """Return the observation: printed text, value, the end of the traceback, and what went wrong.

    `began_afresh` says that variables of earlier calls were lost before this one.
    """
    parts = []
    if began_afresh:
        parts.append("[the interpreter was restarted before this call: earlier variables are lost]")
    parts.append(result.stdout.rstrip("\n"))
    if result.value is not None:
        parts.append(result.value)
    # An interrupt's traceback says KeyboardInterrupt, which the code did not cause.
    if result.status not in ("timeout", "output"):
        parts.append(_last_lines(result.stderr))
    parts.append(_note(result, limits))
    content = "\n".join(part for part in parts if part)
    return ToolResult(
        content or "(no output; print a value to see it)",
        {
            "status": result.status,
            "cpu_seconds": result.cpu_seconds,
            "wall_seconds": result.wall_seconds,
            "peak_memory_bytes": result.peak_memory_bytes,
        },
        _KINDS.get(result.status, ""),
    )


def _note(result: ExecutionResult, limits: Limits) -> str:
    """Say what stopped the code, in brackets; empty if it ended by itself and nothing was cut."""
    lost = _LOST if result.state_lost else "; variables are kept"
    match result.status:
        case "timeout":
            line = _INTERRUPTED_AT.findall(result.stderr)
            where = f" at line {line[0]}" if line else ""
            computed = result.cpu_seconds >= 0.9 * limits.cpu_seconds
            seconds = limits.cpu_seconds if computed else limits.wall_seconds
            return f"[stopped{where}: longer than {seconds:g} seconds{lost}]"
        case "memory":
            return f"[out of memory: at most {limits.memory_mb} MB{lost}]"
        case "output":
            return f"[stopped: too much output{lost}]"
        case "killed":
            return f"[the interpreter died{_signal_name(result.signal)}{_LOST}]"
    if result.state_lost:
        code = "" if result.exit_code is None else f" with exit code {result.exit_code}"
        return f"[the interpreter ended{code}{_LOST}]"
    if result.truncated:
        return f"[{' and '.join(result.truncated)} cut after {limits.output_bytes} bytes]"
    return ""


def _signal_name(number: int | None) -> str:
    if number is None:
        return ""
    try:
        return f" of {signal.Signals(number).name}"
    except ValueError:
        return f" of signal {number}"


def _last_lines(text: str) -> str:
    """Keep what helps of a traceback: its last lines, where the error stands."""
    text = _STEP_FILE.sub('File "<python>"', text)
    lines = text.rstrip("\n").split("\n")
    shown = [
        line if len(line) <= _LINE_CHARACTERS else f"{line[:_LINE_CHARACTERS]}..."
        for line in lines[-_ERROR_LINES:]
    ]
    return "\n".join(shown if len(lines) <= _ERROR_LINES else ["...", *shown])
