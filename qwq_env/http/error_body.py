"""What stands in a server's error, whatever form it has.

Known forms: OpenAI's `{"error": {"message", "type", "param", "code"}}` and the same without the
wrapper (vLLM, SGLang), `{"error": "text"}` (Ollama, TGI), `{"code", "message", "request_id"}`
(DashScope), `{"detail": text or [{"loc", "msg", "type"}]}` (FastAPI; Mistral puts it under
`message`), a list of one error (Gemini), one error inside the text of another (OpenRouter,
LiteLLM), and no JSON at all (proxies).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from qwq_env.text.python import read_literal

_HEAD = 400
"""Characters of a message that are read: further on servers quote what they were sent."""
_DEPTH = 8
_INNER = 20_000
"""Characters of an error within another that are read: as JSON, or as Python prints it."""
_INSIDE = ("error", "detail", "message", "error_message", "errors")
_CODES = ("code", "type", "error_type", "status", "__type", "error_code")
_PREFIX = re.compile(
    r"^\s*(?:<\d+>\s*|(?:[\w.]*(?:Error|Exception|InvalidParameter)\w*)\s*[:-]\s*"
    r"|Error code: \d+ - |Value error, )+"
)
_CLASS = re.compile(r"\w*(?:Error|Exception)\b")
_QUOTED = re.compile(
    r"(?P<word>(['\"`])[^\s'\"`]{1,40}\2)|(?<!\w)(['\"`]).{24,}\3(?!\w)", re.DOTALL
)

_ECHO = re.compile(r"['\"]input['\"]: |input_value=|Received: ")
_RAW_CALL = re.compile(r"^error parsing tool call: raw='(?P<raw>.*)'", re.DOTALL)
_LOC = re.compile(r"['\"]loc['\"]: [(\[]['\"]body['\"], ['\"](\w+)['\"]")


class ErrorBody(NamedTuple):
    """`heads` are the beginnings of its messages, without what they quote at length; `codes` the
    words that name its kind, in lower case; `places` the parts of the request it blames, outermost
    first; `status` the HTTP status that it speaks of, None if of none; `failed` the call that the
    model made and the server could not read."""

    heads: tuple[str, ...]
    codes: frozenset[str]
    places: tuple[tuple[str, ...], ...]
    status: int | None
    failed: str


def is_error(value: Any) -> bool:
    """Whether a JSON value that came where a reply was expected is an error."""
    if not isinstance(value, Mapping):
        return False
    if any(value.get(key) for key in ("error", "error_type", "error_message")):
        return True
    if "choices" in value:
        return False
    named = bool(value.get("code") and value.get("message"))
    typed = "error" in (value.get("object"), value.get("type"))
    return named or typed or bool(value.get("detail") or value.get("errors"))


def read_error(body: str) -> ErrorBody:
    """Read an error. Never raises: of what has no known form, the text is the message."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = body
    parts = list(_parts(value, _DEPTH))
    heads = tuple(head for key, text in parts if key == "head" and (head := _head(text)))
    codes = [text for key, text in parts if key == "code"]
    statuses = [int(code) for code in codes if re.fullmatch(r"[45]\d\d", code)]
    places = [_place(text) for key, text in parts if key == "place"]
    places += [(found[1],) for key, text in parts if key == "head" and (found := _LOC.search(text))]
    return ErrorBody(
        heads,
        # `Throttling.RateQuota` is of the kind `Throttling`.
        frozenset(part for code in codes for part in (code.lower(), code.lower().split(".")[0])),
        tuple(filter(None, places)),
        statuses[0] if statuses else None,
        next((text for key, text in parts if key == "failed"), ""),
    )


def _parts(value: Any, depth: int) -> Iterator[tuple[str, str]]:
    """Give messages, codes and places, the outermost first."""
    if depth == 0:
        return
    if isinstance(value, str):
        yield "head", value
        if raw := _RAW_CALL.search(value):
            yield "failed", raw["raw"]
        yield from _within(value, depth - 1)
    elif isinstance(value, list):
        for item in value[:8]:
            yield from _parts(item, depth - 1)
    elif isinstance(value, Mapping):
        for key in _CODES:
            if isinstance(code := value.get(key), str | int) and code is not True:
                yield "code", str(code)
        if isinstance(place := value.get("param"), str):
            # Some servers put their sentence there.
            yield ("head" if " " in place else "place"), place
        if isinstance(loc := value.get("loc"), list):
            place = ".".join(map(str, loc))
            yield "place", place
            yield "head", f"{place}: {value.get('msg')}"
        if isinstance(failed := value.get("failed_generation"), str):
            yield "failed", failed
        for key in _INSIDE:
            yield from _parts(value.get(key), depth - 1)
        metadata = value.get("metadata")
        raw = metadata.get("raw") if isinstance(metadata, Mapping) else None
        yield from _parts(raw, depth - 1)


def _within(text: str, depth: int) -> Iterator[tuple[str, str]]:
    """Give what stands in an error that is the text of another."""
    inner = _PREFIX.sub("", text[:_HEAD]) + text[_HEAD:]
    if prefix := _PREFIX.match(text[:_HEAD]):
        yield from (("code", name) for name in _CLASS.findall(prefix[0]))
    if inner.lstrip().startswith("{") and len(inner) <= _INNER:
        for read in (json.loads, read_literal):
            try:
                value = read(inner)
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                continue
            yield from _parts(value, depth)
            return


def _head(message: str) -> str:
    echo = _ECHO.search(message)
    told = message[: echo.start()] if echo else message
    told = _PREFIX.sub("", told[: 4 * _HEAD])
    told = _QUOTED.sub(lambda quoted: quoted["word"] or "'...'", told)
    return " ".join(told.split())[:_HEAD]


def _place(path: str) -> tuple[str, ...]:
    """Return `tools[0].function.name` in parts; the body of a request is no part."""
    parts = re.findall(r"\w+", path)
    return tuple(parts[1:] if parts[:1] == ["body"] else parts)
