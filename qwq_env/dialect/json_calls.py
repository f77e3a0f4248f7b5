"""Read the JSON in which a model writes a call, and forgive what can be forgiven.

Newlines inside strings and doubly encoded arguments are forgiven; `NaN`, `Infinity` and numbers
beyond a float's range are not JSON and are refused, for no schema could check them.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from qwq_env.turn import MalformedCall, ToolCall

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


def read_json(raw: str, expected: str) -> tuple[Any, MalformedCall | None]:
    """Return the JSON value of `raw`, or what is wrong with it."""
    try:
        return _DECODER.decode(raw), None
    except RecursionError:
        return None, MalformedCall("malformed_json", "the JSON is nested too deeply", raw)
    except ValueError as error:
        return None, MalformedCall("malformed_json", f"not JSON: {error}; write {expected}", raw)


def read_call(raw: str) -> ToolCall | MalformedCall:
    """Read one call of the form `EXPECTED`."""
    value, problem = read_json(raw, EXPECTED)
    if problem is not None:
        return problem
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
