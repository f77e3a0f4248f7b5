"""MCP over HTTP: each message a POST to one address, answered by JSON or a stream of events.

This is "Streamable HTTP" (protocols 2025-03-26 to 2026-07-28). The older transport of two
addresses (HTTP with SSE, 2024-11-05) is not spoken, and a stream that breaks off is not resumed:
the call counts as failed machinery.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import httpx

from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.http.api_key import ApiKey
from qwq_env.http.client import read_whole
from qwq_env.http.proxies import route, way_to
from qwq_env.tools.mcp.connection import RemoteError, answer_to, error_of

_MOST_ANSWER_BYTES: Final = 16 << 20
_ACCEPT: Final = {"Accept": "application/json, text/event-stream"}
_SAFE_VALUE: Final = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


class HttpConnection:
    """One server at `url`. Belongs to the event loop that opened it.

    `version` is the protocol's; `modern` says that it is one without sessions. Both are set by
    whoever finds out what the server speaks.
    """

    def __init__(self, url: str, key: ApiKey, seconds: float) -> None:
        self.name = url
        self.owner = os.getpid()
        self.alive = True
        self.version = ""
        self.modern = False
        self._key = key
        self._session = ""
        self._ids = itertools.count(1)
        self._client = httpx.AsyncClient(
            timeout=seconds, follow_redirects=True, headers=key.headers(), **route(url)
        )

    async def request(
        self, method: str, params: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> Any:
        """Send a request and return its result.

        Raises `RemoteError` for an error answered, `InfrastructureError` if there is no answer,
        and `UsageError` for a key or an address that is refused.
        """
        number = next(self._ids)
        message = {"id": number, "method": method, "params": params}
        try:
            async with self._post(message, headers) as response:
                self._session = response.headers.get("mcp-session-id", self._session)
                async for answer in self._messages(response):
                    if "method" in answer:
                        await self._take(answer)
                    elif str(answer.get("id")) == str(number) or response.status_code >= 400:
                        return self._result(answer)
                self._refuse(response)
        except httpx.HTTPError as error:
            raise self._broken(error) from None
        raise InfrastructureError(f"MCP server {self.name}: ended its answer before the result")

    async def notify(self, method: str, params: Mapping[str, Any]) -> None:
        """Send a message that has no answer."""
        await self._send({"method": method, "params": params})

    async def _send(self, message: Mapping[str, Any]) -> None:
        try:
            async with self._post(message):
                pass
        except httpx.HTTPError as error:
            raise self._broken(error) from None

    def _post(self, message: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Any:
        own = dict(_ACCEPT)
        if self.version:
            own["MCP-Protocol-Version"] = self.version
        if self._session and not self.modern:
            own["Mcp-Session-Id"] = self._session
        if self.modern and "id" in message:
            own["Mcp-Method"] = str(message["method"])
            if "name" in message["params"]:
                own["Mcp-Name"] = header_value(message["params"]["name"])
        body = {"jsonrpc": "2.0", **message}
        return self._client.stream("POST", self.name, json=body, headers={**own, **(headers or {})})

    async def _messages(self, response: httpx.Response) -> AsyncIterator[dict[str, Any]]:
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        texts = _events(response) if kind == "text/event-stream" else _lone(response)
        async for text in texts:
            try:
                found = json.loads(text)
            except (ValueError, RecursionError):
                continue
            for message in found if isinstance(found, list) else [found]:
                if isinstance(message, dict) and ("method" in message or message.keys() & _ENDS):
                    yield message

    async def _take(self, message: Mapping[str, Any]) -> None:
        if (reply := answer_to(message)) is not None and not self.modern:
            # The server's own wish: what becomes of it is none of this request's business.
            with contextlib.suppress(InfrastructureError):
                await self._send(reply)

    def _broken(self, error: httpx.HTTPError) -> InfrastructureError:
        described = self._key.shown(f"{type(error).__name__}: {error}") + way_to(self.name)
        return InfrastructureError(f"MCP server {self.name}: {described}")

    def _result(self, answer: Mapping[str, Any]) -> Any:
        if "error" in answer:
            raise error_of(answer["error"], self._key.hidden)
        return answer["result"]

    def _refuse(self, response: httpx.Response) -> None:
        """Raise for a status that says why there is no answer."""
        status = response.status_code
        if status in (401, 402, 403, 407):
            raise UsageError(f"MCP server {self.name}: refuses the key (status {status})")
        if status == 404 and self._session and not self.modern:
            self.alive = False
            raise SessionEnded(f"MCP server {self.name}: has ended the session")
        if status in (400, 404, 405, 406, 415):
            raise RemoteError(f"status {status}", status)
        if status >= 400:
            raise InfrastructureError(f"MCP server {self.name}: status {status}")

    async def aclose(self) -> None:
        """End the session, if there is one, and close the connections; idempotent."""
        self.alive = False
        if self.owner != os.getpid() or self._client.is_closed:
            return
        if self._session and not self.modern:
            headers = {"Mcp-Session-Id": self._session, "MCP-Protocol-Version": self.version}
            with contextlib.suppress(httpx.HTTPError):  # nobody there to be told
                await self._client.delete(self.name, headers=headers, timeout=2.0)
        await self._client.aclose()


_ENDS: Final = {"result", "error"}


class SessionEnded(InfrastructureError):
    """The server has forgotten the session; the request was not looked at."""


async def _lone(response: httpx.Response) -> AsyncIterator[str]:
    yield (await read_whole(response)).decode("utf-8", "replace")


async def _events(response: httpx.Response) -> AsyncIterator[str]:
    """Yield the data of each event of a stream."""
    data: list[str] = []
    size = 0
    async for line in response.aiter_lines():
        size += len(line)
        if size > _MOST_ANSWER_BYTES:
            raise InfrastructureError(f"MCP server {response.url}: answered more than 16 MB")
        field, _, value = line.partition(":")
        if field == "data":
            data.append(value.removeprefix(" "))
        elif not line and data:
            yield "\n".join(data)
            data, size = [], 0
    if data:
        yield "\n".join(data)


def header_value(value: Any) -> str:
    """Return a value as the protocol of 2026-07-28 writes it in a header."""
    text = value if isinstance(value, str) else json.dumps(value)
    marked = text.startswith("=?base64?") and text.endswith("?=")
    if _SAFE_VALUE.fullmatch(text) and not marked:
        return text
    return f"=?base64?{base64.b64encode(text.encode('utf-8', 'replace')).decode()}?="


def mirrored(schema: Any) -> dict[str, tuple[str, ...]]:
    """Return which arguments a tool wants to see in headers too (`x-mcp-header`), by header.

    Raises `ValueError` for an annotation that the protocol forbids.
    """
    found: dict[str, tuple[str, ...]] = {}
    open_parts: list[tuple[Any, tuple[str, ...]]] = [(schema, ())]
    while open_parts:
        part, path = open_parts.pop()
        if not isinstance(part, dict):
            continue
        if "x-mcp-header" in part:
            name = part["x-mcp-header"]
            plain = part.get("type") in ("string", "integer", "boolean")
            if not (isinstance(name, str) and _HEADER_NAME.fullmatch(name) and plain and path):
                raise ValueError(f"x-mcp-header {name!r:.80} is not allowed there")
            if f"mcp-param-{name}".lower() in map(str.lower, found):
                raise ValueError(f"x-mcp-header {name!r:.80} is given twice")
            found[f"Mcp-Param-{name}"] = path
        properties = part.get("properties")
        if isinstance(properties, dict):
            open_parts += [(inner, (*path, key)) for key, inner in properties.items()]
    if json.dumps(schema).count('"x-mcp-header":') > len(found):
        raise ValueError("x-mcp-header stands where no argument's value can be found")
    return found


def parameter_headers(
    wanted: Mapping[str, tuple[str, ...]], arguments: Mapping[str, Any]
) -> dict[str, str]:
    """Return the headers that show the arguments which a tool wants to see there."""
    headers = {}
    for name, path in wanted.items():
        value: Any = arguments
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is not None:
            headers[name] = header_value(value)
    return headers
