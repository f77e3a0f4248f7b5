"""What the HTTP server and its client must agree on, beyond the JSON of limits and results."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Final

from qwq_env.checks import is_number
from qwq_env.errors import UsageError
from qwq_env.sandbox.foreign import in_turns
from qwq_env.sandbox.plain_json import to_plain_json, writing
from qwq_env.sandbox.result import CALL_STATUSES, CallResult
from qwq_env.sandbox.writing import joined

TOKEN_VARIABLE: Final = "QWQ_SANDBOX_TOKEN"
"""The environment variable that holds the bearer token, on either side."""

CLIENT_HEADER: Final = "X-Qwq-Client"
"""Names the client within its host: the server's queue is fair between these names."""

MOST_REPLY_BYTES: Final = 24 << 20
"""Of the results of one request for calls."""


def write_stdin(stdin: bytes) -> Any:
    """Return standard input as a JSON string where it is UTF-8, else as tagged bytes."""
    try:
        return stdin.decode("utf-8")
    except UnicodeDecodeError:
        return to_plain_json(stdin)


async def write_calls(results: Sequence[CallResult], capped: Sequence[str]) -> bytes:
    """Return the reply to a request for calls, of `MOST_REPLY_BYTES` and little more.

    What does not fit is skipped; a first value that does not fit alone is no value.
    """
    texts: list[str] = []
    length = 0
    for number, result in enumerate(results):
        text = await in_turns(joined(writing(_as_object(result))))
        if length + len(text) > MOST_REPLY_BYTES:
            error = "a value too large to carry"
            refused = CallResult("unsupported", None, error, 0.0, skipped=number > 0)
            text = await in_turns(joined(writing(_as_object(refused))))
            if refused.skipped:
                texts += [text] * (len(results) - number)
                break
        length += len(text)
        texts.append(text)
    return f'{{"results": [{", ".join(texts)}], "capped": {json.dumps(capped)}}}'.encode("ascii")


def _as_object(result: CallResult) -> dict[str, Any]:
    return {field.name: getattr(result, field.name) for field in fields(result)}


def read_call_result(data: Any) -> CallResult:
    """Read one call's result, its value built already; raises `UsageError` if it is none."""
    if not isinstance(data, dict) or data.get("status") not in CALL_STATUSES:
        raise UsageError("result: expected an object with a status of a call")
    error, seconds = data.get("error"), data.get("wall_seconds", 0.0)
    if not isinstance(error, str | None) or not is_number(seconds):
        raise UsageError("result: expected a text as its error and a number as its time")
    skipped = data.get("skipped") is True
    return CallResult(data["status"], data.get("value"), error, float(seconds), skipped)


def check_token(token: object) -> None:
    """Raise `UsageError`, which does not show it, for a token that cannot stand in a header."""
    # No matter for the parser of headers, which would show it.
    if not isinstance(token, str) or not re.fullmatch(r"[!-~]+", token):
        raise UsageError("token: expected printable ASCII without spaces")
