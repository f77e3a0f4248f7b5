"""Calls on a solution: arguments come in one by one, plain values go out; nothing expected is here.

Each answer carries the nonce of its question, so that only a call that returned can answer it:
what a program prints, or writes to every descriptor it finds, is not an answer.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any

from qwq_env.sandbox import plain
from qwq_env.sandbox.jail import program, wire


def serve(code: bytes, names: dict[str, Any]) -> int:
    """Load the solution, then answer calls until the host closes the channel."""
    read, write, encode, not_plain = wire.read_frame, wire.write_frame, plain.encode, plain.NotPlain
    dumps = json.JSONEncoder(separators=(",", ":")).encode
    loads = json.JSONDecoder(object_hook=plain.build).decode
    names["__name__"] = "solution"
    names["__file__"] = "solution.py"
    write(wire.CHANNEL, b"{}")
    ended = program.execute(code, names, f"{program.FILENAME_PREFIX}>", 0)
    first = read(wire.CHANNEL)
    if first is None:
        return 0
    write(wire.CHANNEL, dumps([first.decode(), "ok", None, ended.error]).encode())
    if ended.error is not None:
        return 1
    while (question := read(wire.CHANNEL)) is not None:
        nonce, function, arguments = loads(question.decode())
        status, payload, error = "ok", None, None
        try:
            payload = encode(_resolve(names, function)(*arguments))
        except not_plain as refusal:
            status, error = "unsupported", str(refusal)
        except MemoryError:
            status, error = "memory", "MemoryError"
        # The boundary between the solution and us: whatever it raises is its result.
        except BaseException as raised:  # noqa: BLE001
            status, error = "error", _describe(raised)
        try:
            answer = dumps([nonce, status, payload, error]).encode()
        except (ValueError, MemoryError):
            answer = b""
        if not 0 < len(answer) <= wire.MOST_ANSWER_BYTES:
            answer = dumps([nonce, "unsupported", None, "a value too large to carry"]).encode()
        write(wire.CHANNEL, answer)
    return 0


def _resolve(names: dict[str, Any], path: str) -> Any:
    head, *rest = path.split(".")
    found = names[head]
    for name in rest:
        found = getattr(found() if isinstance(found, type) else found, name)
    return found


def _describe(raised: BaseException) -> str:
    name = type(raised).__name__
    with contextlib.suppress(BaseException):
        return f"{name}: {raised}"[:500]
    return name
