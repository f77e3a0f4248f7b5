"""Running a program's text, as `python program.py` would, and keeping its last value."""

from __future__ import annotations

import ast
import contextlib
import io
import linecache
import os
import re
import sys
import traceback
from pathlib import Path
from types import CodeType, TracebackType
from typing import Any, Final, NamedTuple

from qwq_env.sandbox.jail import wire

FILENAME_PREFIX = "<program"
"""How the file names of submitted code begin; no module of the harness has such a name."""

_STREAMS: Final = {"stdout": wire.STDOUT, "stderr": wire.STDERR}

_ODD: Final = re.compile(rb"[\\\r\f\0]|coding")
"""Lines that go on or end otherwise, warnings about escapes, encodings declared in a comment."""


class Ended(NamedTuple):
    """How a piece of code ended: exit code, `repr` of its last expression, name of its error."""

    exit_code: int
    value: str | None
    error: str | None


def run(code: bytes, names: dict[str, Any], value_bytes: int) -> int:
    """Run a whole program; its last value and its error go to the report pipe."""
    names["__file__"] = sys.argv[0]
    ended = execute(code, names, f"{FILENAME_PREFIX}>", value_bytes)
    if ended.error is not None or ended.value is not None:
        with contextlib.suppress(OSError):
            os.write(wire.REPORT, wire.pack_account(ended.value, ended.error))
    return ended.exit_code


def execute(code: bytes, names: dict[str, Any], filename: str, value_bytes: int) -> Ended:
    """Run code in `names`; exceptions are printed, as an interpreter prints them."""
    try:
        return Ended(0, _evaluate(code, names, filename, value_bytes), None)
    # The boundary between the program and us: whatever it raises is its result.
    except BaseException:  # noqa: BLE001
        return _explain(code, filename)


def _evaluate(code: bytes, names: dict[str, Any], filename: str, value_bytes: int) -> str | None:
    statements, last = _split(code, filename) or _parse(code, filename)
    if statements is not None:
        exec(statements, names)
    if last is None:
        return None
    value = eval(last, names)
    return None if value is None else repr(value)[:value_bytes]


def _split(code: bytes, filename: str) -> tuple[CodeType | None, CodeType] | None:
    """Compile the last line, an expression, and what stands before it; None if it is not so plain.

    A syntax tree costs more than all the rest of a short step. If a line that begins in the first
    column is an expression by itself, and the lines before it are complete by themselves, then
    the whole means the one after the other. What could make it otherwise, and what would warn
    twice, is left to `_parse`, and so is all that does not compile.
    """
    text = code.rstrip()
    begin = text.rfind(b"\n") + 1
    if not text[begin : begin + 1].isalnum() or _ODD.search(code) is not None:
        return None
    blank = b"\n" * text.count(b"\n")  # so that a traceback has the right line
    try:
        last = compile(blank + text[begin:], filename, "eval", dont_inherit=True)
        if not begin:
            return None, last
        return compile(text[:begin], filename, "exec", dont_inherit=True), last
    except (SyntaxError, ValueError):
        return None


def _parse(code: bytes, filename: str) -> tuple[CodeType, CodeType | None]:
    """Compile the statements, and the last of them apart where it is an expression."""
    tree = ast.parse(code, filename)
    last = None
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        expression = ast.Expression(tree.body.pop().value)  # type: ignore[attr-defined]
        last = compile(expression, filename, "eval", dont_inherit=True)
    return compile(tree, filename, "exec", dont_inherit=True), last


def _explain(code: bytes, filename: str) -> Ended:
    kind, error, trace = sys.exc_info()
    name = getattr(kind, "__name__", "BaseException")[: wire.MOST_NAME_CHARACTERS]
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


def open_stdin() -> None:
    """Make `sys.stdin`, as an interpreter begins with it."""
    raw = io.FileIO(0, "r", closefd=False)
    stream = io.TextIOWrapper(io.BufferedReader(raw), encoding="utf-8", errors="replace")
    _name(stream, raw, "stdin")


def open_stream(name: str) -> None:
    """Make `sys.stdout` or `sys.stderr`, as an interpreter begins with them."""
    raw = io.FileIO(_STREAMS[name], "w", closefd=False)
    stream = io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding="utf-8",
        errors="backslashreplace",
        line_buffering=name == "stderr",
    )
    _name(stream, raw, name)


def _name(stream: io.TextIOWrapper, raw: io.FileIO, name: str) -> None:
    """Give a stream the name and the mode that contest programs ask for, and put it in `sys`."""
    raw.name = f"<{name}>"
    stream.mode = "r" if name == "stdin" else "w"  # type: ignore[misc]
    setattr(sys, name, stream)
    setattr(sys, f"__{name}__", stream)


def mend() -> None:
    """Open the streams anew that a step has closed or removed, so that the next may print."""
    for name in _STREAMS:
        try:
            if not getattr(sys, name).closed:
                continue
        # A stream may be an object of the program's, which does as it likes.
        except BaseException:  # noqa: BLE001
            pass
        open_stream(name)


def flush() -> None:
    """Write out what the program printed."""
    for name in _STREAMS:
        try:
            getattr(sys, name).flush()
        # A stream may be an object of the program's, which does as it likes.
        except BaseException:  # noqa: BLE001
            pass
