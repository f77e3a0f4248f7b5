"""What stands before a server of ours that another project's package answers with.

A key, if one is asked for; else nobody but this machine, web pages that are open on it excluded
(by `Host` and `Origin`: a page may send requests to loopback addresses under a name of its own).
And no body of a request larger than a bound, for they are read whole into memory.
"""

from __future__ import annotations

import hmac
from typing import Any, Final
from urllib.parse import urlsplit

from qwq_env.errors import UsageError
from qwq_env.sandbox.server.address import host_of, is_loopback

LARGEST_REQUEST: Final = 4 << 20
MOST_CONNECTIONS: Final = 512
_MEANING: Final = {401: b"a key is needed", 403: b"not from here", 413: b"too large"}


class Guard:
    """An ASGI application that lets through to `app` what may pass.

    Raises `UsageError` for an address that others reach, without a `key`.
    """

    def __init__(self, app: Any, *, host: str, key: str | None) -> None:
        if key is None and not is_loopback(host):
            raise UsageError(f"host: {host!r} is not a loopback address; expected a key with it")
        self._app = app
        self._expected = None if key is None else f"Bearer {key}".encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        if (status := self._refused(headers)) is None:
            await self._app(scope, _bounded(receive), send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            said = _MEANING[status]
            length = [(b"content-length", str(len(said)).encode())]
            await send({"type": "http.response.start", "status": status, "headers": length})
            await send({"type": "http.response.body", "body": said})

    def _refused(self, headers: dict[bytes, bytes]) -> int | None:
        if self._expected is not None:
            if not hmac.compare_digest(headers.get(b"authorization", b""), self._expected):
                return 401
        elif not _is_local(headers):
            return 403
        length = headers.get(b"content-length", b"0")
        return 413 if not length.isdigit() or int(length[:20]) > LARGEST_REQUEST else None


def _is_local(headers: dict[bytes, bytes]) -> bool:
    host = host_of(headers.get(b"host", b"").decode("latin-1"))
    origin = headers.get(b"origin")
    try:
        page = "localhost" if origin is None else urlsplit(origin.decode("latin-1")).hostname
    except ValueError:
        return False
    return is_loopback(host) and is_loopback(page or "")


def _bounded(receive: Any) -> Any:
    """Hang up on a body that says no length and grows too large."""
    read = 0

    async def bounded() -> Any:
        nonlocal read
        message = await receive()
        if message["type"] == "http.request":
            read += len(message.get("body", b""))
            if read > LARGEST_REQUEST:
                return {"type": "http.disconnect"}
        return message

    return bounded
