"""The JSON bodies of the requests under `/v1`, read strictly: an unknown field is an error.

`read_object` makes a JSON object of a body at a bounded cost; the other readers take that object.

A program arrives as a string, standard input as a string or, where it is not text, as
`{"$bytes": "base64"}`; arguments of calls are plain data (`qwq_env.sandbox.plain_json`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields, replace
from typing import Any, Final, NamedTuple

from qwq_env.errors import UsageError
from qwq_env.sandbox.foreign import Reader
from qwq_env.sandbox.plain import NotPlain
from qwq_env.sandbox.result import Limits
from qwq_env.sandbox.source import checked_code

# One request may not hold a slot for ever by asking for ever more calls.
_MOST_CALLS: Final = 10_000
_MOST_BUILT: Final = 48 << 20
_LIMIT_NAMES: Final = tuple(field.name for field in fields(Limits))


class RunBody(NamedTuple):
    """`POST /v1/run`: one program."""

    code: str
    stdin: bytes
    limits: Limits
    argv: tuple[str, ...]


class StepBody(NamedTuple):
    """`POST /v1/sessions/{id}/run`: one step of a session."""

    code: str
    wall_seconds: float | None


class CallBody(NamedTuple):
    """`POST /v1/call`: a solution, its function, one argument list a call."""

    code: str
    function: str
    arguments: list[list[Any]]
    limits: Limits


class Capped(NamedTuple):
    """Limits within the server's maxima, and the names of those that had to be lowered."""

    limits: Limits
    names: list[str]


def code_field(data: dict[str, Any]) -> str:
    """Return the program in field `code`, refused here and not when its turn has come."""
    code = text_field(data, "code")
    checked_code(code)
    return code


def read_run(data: dict[str, Any]) -> RunBody:
    """Read a program to run once; raises `UsageError` that names the field."""
    _check_names(data, {"code", "stdin", "limits", "argv"})
    argv = data.get("argv", [])
    if not isinstance(argv, list) or not all(isinstance(word, str) for word in argv):
        raise UsageError("argv: expected a list of strings")
    return RunBody(
        code_field(data),
        read_stdin(data.get("stdin", "")),
        Limits.from_json(data.get("limits", {})),
        tuple(_utf8(word, "argv") for word in argv),
    )


def read_session(data: dict[str, Any]) -> Limits:
    """Read the limits of a session to open."""
    _check_names(data, {"limits"})
    return Limits.from_json(data.get("limits", {}))


def read_step(data: dict[str, Any]) -> StepBody:
    """Read one step of a session; raises `UsageError` that names the field."""
    _check_names(data, {"code", "wall_seconds"})
    wall = data.get("wall_seconds")
    if wall is not None:
        # The bounds of the field are those of the limit that it stands for.
        wall = Limits.from_json({"wall_seconds": wall}).wall_seconds
    return StepBody(code_field(data), wall)


def read_call(data: dict[str, Any]) -> CallBody:
    """Read a solution and the calls to make; raises `UsageError` that names the field."""
    _check_names(data, {"code", "function", "arguments", "limits"})
    arguments = data.get("arguments")
    if not isinstance(arguments, list) or not all(isinstance(call, list) for call in arguments):
        raise UsageError("arguments: expected a list that holds one list for each call")
    if len(arguments) > _MOST_CALLS:
        raise UsageError(f"arguments: {len(arguments)} calls, expected at most {_MOST_CALLS}")
    limits = Limits.from_json(data.get("limits", {}))
    return CallBody(code_field(data), text_field(data, "function"), arguments, limits)


async def read_object(reader: Reader, body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`, tagged plain data in it built; raises `UsageError`."""
    try:
        data, _ = await reader.read(body, max(_MOST_BUILT, 6 * len(body)))
    except UnicodeDecodeError:
        raise UsageError("body: is not UTF-8") from None
    except UsageError:
        raise
    except (ValueError, NotPlain, RecursionError) as error:
        raise UsageError(f"body: is not JSON that can be taken: {error}") from None
    if not isinstance(data, dict):
        raise UsageError(f"body: expected a JSON object, not {type(data).__name__}")
    return data


def _check_names(data: dict[str, Any], known: Collection[str]) -> None:
    for name in data:
        if name not in known:
            raise UsageError(f"{name[:80]!r}: is not known, expected one of {sorted(known)}")


def text_field(data: dict[str, Any], name: str) -> str:
    """Return the string in field `name`, which must be there and be writable as UTF-8."""
    if name not in data:
        raise UsageError(f"{name}: is missing")
    value = data[name]
    if not isinstance(value, str):
        raise UsageError(f"{name}: expected a string, not {type(value).__name__}")
    return _utf8(value, name)


def read_stdin(value: Any) -> bytes:
    """Return standard input given as a string, as `{"$bytes": …}`, or not at all."""
    if value is None:
        return b""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise UsageError('stdin: expected a string or {"$bytes": "base64"}')
    return _utf8(value, "stdin").encode("utf-8")


def cap(limits: Limits, maxima: Limits) -> Capped:
    """Lower each limit to the server's maximum."""
    lowered = {
        name: getattr(maxima, name)
        for name in _LIMIT_NAMES
        if getattr(limits, name) > getattr(maxima, name)
    }
    return Capped(replace(limits, **lowered) if lowered else limits, sorted(lowered))


def _utf8(text: str, name: str) -> str:
    # JSON can write half of a surrogate pair, which no UTF-8 file can hold.
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError(f"{name}: is not UTF-8 (character {error.start})") from None
    return text
