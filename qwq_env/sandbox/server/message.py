"""What passes between the connection and the routes: a request, a response, a refusal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from qwq_env.errors import QwqError
from qwq_env.sandbox.foreign import in_turns
from qwq_env.sandbox.plain_json import writing
from qwq_env.sandbox.writing import joined

JSON: Final = "application/json"


class Request(NamedTuple):
    """A request; `body` is empty until the head has been accepted and all of it has come.

    `headers` have lower-case names; `peer` is the address of the other end, without its port.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    peer: str
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; `headers` come on top of Content-Type and Content-Length."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


@dataclass
class ApiError(QwqError):
    """A request that gets `status` and `{"error": {"code", "message"}}`.

    `code` is one word for programs, `message` one line for a person; neither ever holds the
    token or any part of the program sent.
    """

    status: int
    code: str
    message: str
    retry_after: int | None = None
    headers: tuple[tuple[str, str], ...] = field(default=())

    def __str__(self) -> str:
        return f"{self.status} {self.code}: {self.message}"

    def response(self) -> Response:
        """Return the answer that says this."""
        headers = self.headers
        if self.retry_after is not None:
            headers = (*headers, ("Retry-After", str(self.retry_after)))
        body = {"error": {"code": self.code, "message": self.message}}
        return json_response(body, self.status, headers)


def json_response(
    data: Any, status: int = 200, headers: tuple[tuple[str, str], ...] = ()
) -> Response:
    """Return `data` as JSON in ASCII, in which even half a surrogate pair survives."""
    return Response(status, json.dumps(data).encode("ascii"), headers=headers)


async def slow_response(data: Any) -> Response:
    """Return `json_response(data)`, made in short steps: for what a program printed."""
    return Response(200, (await in_turns(joined(writing(data)))).encode("ascii"))
