"""Read the JSON in which a model writes a call, and forgive what can be forgiven.

Newlines inside strings and doubly encoded arguments are forgiven; `NaN`, `Infinity` and numbers
beyond a float's range are not JSON and are refused, for no schema could check them.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from qwq_env.turn import MAX_REQUESTS, MalformedCall, ToolCall

EXPECTED = '{"name": <function-name>, "arguments": <args-json-object>}'
_KNOWN = {"name", "arguments", "id", "type"}
_SPACE = re.compile(r"\s*")


def _refuse_constant(word: str) -> Any:
    raise ValueError(f"{word} is no JSON value")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


_DECODER = json.JSONDecoder(strict=False, parse_constant=_refuse_constant, parse_float=_finite)


def end_of_json(text: str, start: int) -> int:
    """Return where the JSON value at `start` ends, spaces included; `start` if there is none.

    A tag that stands inside one of its strings is then no tag.
    """
    try:
        return _skip_space(text, _DECODER.raw_decode(text, _skip_space(text, start))[1])
    except (ValueError, RecursionError):
        return start


def end_of_calls(text: str, start: int) -> int:
    """Return where the JSON values at `start` end: one, or objects one behind the other."""
    end = end_of_json(text, start)
    for _ in range(MAX_REQUESTS if end > start else 0):
        following = _next_object(text, end)
        after = end_of_json(text, following)
        if after == following:
            break
        end = after
    return end


def read_json(raw: str, expected: str) -> tuple[Any, MalformedCall | None]:
    """Return the JSON value of `raw`, or what is wrong with it."""
    try:
        return _DECODER.decode(raw), None
    except RecursionError:
        return None, MalformedCall("malformed_json", "the JSON is nested too deeply", raw)
    except ValueError as error:
        return None, MalformedCall("malformed_json", f"not JSON: {error}; write {expected}", raw)


def read_calls(raw: str) -> tuple[ToolCall | MalformedCall, ...]:
    """Read what stands in the place of one call of the form `EXPECTED`.

    Where several calls stand there, one behind the other or in a list, each is read, and the
    last request tells the model how to write them.
    """
    value, problem = read_json(raw, EXPECTED)
    items = _separated(raw) if problem is not None else value
    if not isinstance(items, list):
        return (problem or _call_of(value, raw),)
    requests = [item if isinstance(item, MalformedCall) else _call_of(item, raw) for item in items]
    if not any(isinstance(request, ToolCall) for request in requests):
        return (problem or _call_of(value, raw),)
    message = f"one call a tag: write each in tags of its own, as {EXPECTED}"
    return (*requests[:MAX_REQUESTS], MalformedCall("several_calls", message, raw))


def _separated(raw: str) -> list[Any] | None:
    """Return the objects that stand one behind the other in `raw`; None if it is not such a row.

    What stands behind the last one that can be read is a `MalformedCall`.
    """
    values: list[Any] = []
    position = _skip_space(raw, 0)
    while raw.startswith("{", position) and len(values) <= MAX_REQUESTS:
        end = end_of_json(raw, position)
        value, problem = read_json(raw[position : end if end > position else len(raw)], EXPECTED)
        values.append(value if problem is None else problem)
        if problem is not None:
            break
        position = _next_object(raw, end)
    return values if len(values) > 1 else None


def _next_object(text: str, end: int) -> int:
    """Return where the next object would begin behind a value, a comma between them or not."""
    return _skip_space(text, end + 1) if text.startswith(",", end) else end


def _call_of(value: Any, raw: str) -> ToolCall | MalformedCall:
    if not isinstance(value, dict):
        return MalformedCall("malformed_json", f"not a JSON object; write {EXPECTED}", raw)
    name = value.get("name")
    if not isinstance(name, str) or not name:
        return MalformedCall("missing_name", f"no function name; write {EXPECTED}", raw)
    unexpected = value.keys() - _KNOWN
    if unexpected:
        wrong = min(unexpected)[:80]
        return MalformedCall("unexpected_key", f"unexpected {wrong!r}; write {EXPECTED}", raw)
    arguments = value.get("arguments", {})
    if isinstance(arguments, str):
        # Some models double-encode the arguments, as OpenAI's wire format does.
        decoded, problem = read_json(arguments, EXPECTED)
        arguments = arguments if problem else decoded
    return ToolCall(name, arguments, raw)


def _skip_space(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return found.end() if found else position
