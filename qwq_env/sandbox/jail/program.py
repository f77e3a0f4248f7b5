"""Running a program's text, as `python program.py` would, and keeping its last value."""

from __future__ import annotations

import ast
import contextlib
import json
import linecache
import os
import sys
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from qwq_env.sandbox.jail import wire

FILENAME_PREFIX = "<program"
"""How the file names of submitted code begin; no module of the harness has such a name."""


class Ended(NamedTuple):
    """How a piece of code ended: exit code, `repr` of its last expression, name of its error."""

    exit_code: int
    value: str | None
    error: str | None


def run(code: bytes, names: dict[str, Any], value_bytes: int) -> int:
    """Run a whole program; its last value and its error go to the report pipe."""
    ended = execute(code, names, f"{FILENAME_PREFIX}>", value_bytes)
    if ended.error is not None or ended.value is not None:
        report = {"value": ended.value, "error": ended.error}
        with contextlib.suppress(OSError):
            os.write(wire.REPORT, json.dumps(report).encode())
    return ended.exit_code


def execute(code: bytes, names: dict[str, Any], filename: str, value_bytes: int) -> Ended:
    """Run code in `names`; exceptions are printed, as an interpreter prints them."""
    try:
        return Ended(0, _evaluate(code, names, filename, value_bytes), None)
    # The boundary between the program and us: whatever it raises is its result.
    except BaseException:  # noqa: BLE001
        return _explain(code, filename)


def _evaluate(code: bytes, names: dict[str, Any], filename: str, value_bytes: int) -> str | None:
    tree = ast.parse(code, filename)
    last = None
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        last = ast.Expression(tree.body.pop().value)  # type: ignore[attr-defined]
    exec(compile(tree, filename, "exec"), names)
    if last is None:
        return None
    value = eval(compile(last, filename, "eval"), names)
    return None if value is None else repr(value)[:value_bytes]


def _explain(code: bytes, filename: str) -> Ended:
    kind, error, trace = sys.exc_info()
    name = getattr(kind, "__name__", "BaseException")
    if isinstance(error, SystemExit):
        return _exit(error)
    while trace is not None and not trace.tb_frame.f_code.co_filename.startswith(FILENAME_PREFIX):
        trace = trace.tb_next
    _forget_the_harness(trace)
    _print(kind, error, trace, code, filename)
    # An interrupt from outside ends a program the way a shell reports it.
    return Ended(130 if kind is KeyboardInterrupt else 1, None, name)


def _forget_the_harness(trace: TracebackType | None) -> None:
    """Cut our own frames (that of the interrupt) off the end of a traceback."""
    here = str(Path(__file__).parent)
    while trace is not None:
        following = trace.tb_next
        if following is not None and following.tb_frame.f_code.co_filename.startswith(here):
            trace.tb_next = None
        trace = trace.tb_next


def _exit(error: SystemExit) -> Ended:
    status = error.code
    if status is None:
        return Ended(0, None, "SystemExit")
    if type(status) is int:
        return Ended(status & 255, None, "SystemExit")
    with contextlib.suppress(BaseException):
        print(status, file=sys.stderr)
    return Ended(1, None, "SystemExit")


def _print(
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: TracebackType | None,
    code: bytes,
    filename: str,
) -> None:
    try:
        with contextlib.suppress(UnicodeDecodeError):
            source = code.decode()
            linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
        traceback.print_exception(kind, error, trace, limit=-20, file=sys.stderr)
    # Printing runs the program's code (`__str__`, a replaced stderr), and memory may be short.
    except BaseException:  # noqa: BLE001
        with contextlib.suppress(BaseException):
            os.write(wire.STDERR, f"{getattr(kind, '__name__', kind)}\n".encode()[:200])


def flush() -> None:
    """Write out what the program printed."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):
            stream.flush()
