"""What the HTTP server and its client must agree on, beyond the JSON of limits and results."""

from __future__ import annotations

import re
from typing import Any, Final

from qwq_env.errors import UsageError
from qwq_env.sandbox.plain_json import from_plain_json, to_plain_json
from qwq_env.sandbox.result import CALL_STATUSES, CallResult

TOKEN_VARIABLE: Final = "QWQ_SANDBOX_TOKEN"
"""The environment variable that holds the bearer token, on either side."""

CLIENT_HEADER: Final = "X-Qwq-Client"
"""Names the client within its host: the server's queue is fair between these names."""


def write_stdin(stdin: bytes) -> Any:
    """Return standard input as a JSON string where it is UTF-8, else as tagged bytes."""
    try:
        return stdin.decode("utf-8")
    except UnicodeDecodeError:
        return to_plain_json(stdin)


def write_call_result(result: CallResult) -> dict[str, Any]:
    """Return one call's result as a JSON object, its value exact to the type."""
    return {
        "status": result.status,
        "value": to_plain_json(result.value),
        "error": result.error,
        "wall_seconds": result.wall_seconds,
        "skipped": result.skipped,
    }


def read_call_result(data: Any) -> CallResult:
    """Read one call's result; raises `UsageError` if `write_call_result` did not write it."""
    if not isinstance(data, dict) or data.get("status") not in CALL_STATUSES:
        raise UsageError("result: expected an object with a status of a call")
    return CallResult(
        status=data["status"],
        value=from_plain_json(data.get("value")),
        error=data.get("error"),
        wall_seconds=data.get("wall_seconds", 0.0),
    )


def check_token(token: object) -> None:
    """Raise `UsageError`, which does not show it, for a token that cannot stand in a header."""
    # No matter for the parser of headers, which would show it.
    if not isinstance(token, str) or not re.fullmatch(r"[!-~]+", token):
        raise UsageError("token: expected printable ASCII without spaces")
