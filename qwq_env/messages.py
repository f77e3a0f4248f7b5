"""Turns and what answers them, as messages of the OpenAI form, and the other way around."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from qwq_env.dialect.base import Dialect, Message
from qwq_env.dialect.json_calls import read_json
from qwq_env.errors import UsageError, brief
from qwq_env.turn import CallResult, MalformedCall, ToolCall, Turn

_EXPECTED = "the arguments as one JSON object"


def read_reply(given: Any) -> list[Message] | None:
    """Return what `ToolEnv.reply` gave as messages, None for None.

    Raises `TypeError` for what is neither a text that is not blank, nor messages of role user or
    system with one; and for `"tools"` that are no list of names.
    """
    if given is None:
        return None
    messages = [{"role": "user", "content": given}] if isinstance(given, str) else given
    if not isinstance(messages, list | tuple) or not messages:
        raise TypeError(f"a reply of {brief(given)}; expected None, a text or messages")
    read: list[Message] = []
    for message in messages:
        role = message.get("role") if isinstance(message, Mapping) else None
        if role not in ("user", "system"):
            raise TypeError(f"a reply of {brief(message)}; expected the role user or system")
        content = message.get("content")
        if not isinstance(content, str) or not content.strip():
            raise TypeError(f"a reply of {brief(content)}; expected a text, not blank")
        # Unpaired surrogates cannot be encoded for any tokenizer or server.
        clean = content.encode("utf-8", "replace").decode("utf-8")
        names = message.get("tools", [])
        if not isinstance(names, list | tuple) or not all(isinstance(n, str) for n in names):
            raise TypeError(f"a reply that offers {brief(names)}; expected names of tools")
        read.append({"role": role, "content": clean} | ({"tools": [*names]} if names else {}))
    return read


def spelled_out(message: Message) -> Message:
    """Return a message with the schemas in its `"tools"` written out before its text, a line each.

    The prompt has been rendered by then, and nothing is rendered twice: this is how tools appear in
    the middle of an episode. Another message is returned as it is.
    """
    if "tools" not in message:
        return message
    schemas = [json.dumps(schema, ensure_ascii=False) for schema in message["tools"]]
    text = "\n".join([*schemas, message["content"]])
    return {"role": message["role"], "content": text}


def turn_of(
    dialect: Dialect,
    thinking: str,
    content: str,
    requests: Sequence[ToolCall | MalformedCall] = (),
) -> Turn:
    """Return a reply of a chat interface as a turn.

    `thinking` came apart from the `content`, `requests` are its native calls; without any, calls
    are read from the content as the dialect writes them.
    """
    parsed = dialect.parse_message(content)
    thoughts = "\n\n".join(filter(None, (thinking, parsed.thinking)))
    made = tuple(requests) or parsed.requests or _in_thinking(dialect, thoughts, parsed.answer)
    head = f"<think>\n{thinking}\n</think>\n\n" if thinking else ""
    end = len(head) + parsed.thinking_end
    return Turn(head + content, thoughts, parsed.answer, made, end, closed=True)


def read_native_call(name: str, arguments: str) -> ToolCall | MalformedCall:
    """Return a native call whose arguments are JSON text; one that cannot be read is malformed."""
    value, problem = read_json(arguments if arguments.strip() else "{}", _EXPECTED)
    if problem is None and isinstance(value, str):
        # Encoded twice, or nothing at all written as a text.
        value, problem = read_json(value if value.strip() else "{}", _EXPECTED)
    if problem is not None:
        return MalformedCall(problem.kind, f"the arguments are {problem.message}", arguments)
    if not name.strip():
        return MalformedCall("missing_name", "the call names no function", arguments)
    return ToolCall(name, value, arguments)


def read_assistant(message: Mapping[str, Any], dialect: Dialect) -> Turn:
    """Return an assistant message as a turn.

    Its `content` is a text, None or a list of text parts; the thinking stands in
    `reasoning_content` (or `reasoning`); the arguments of `tool_calls` are a text or an object.
    What the model got wrong in them becomes a `MalformedCall`. Raises `UsageError` for what is no
    such message.
    """
    if message.get("role") != "assistant":
        raise UsageError(f"action, role: {brief(message.get('role'))}; expected 'assistant'")
    thinking = message.get("reasoning_content") or message.get("reasoning") or ""
    if not isinstance(thinking, str):
        raise UsageError(f"action, reasoning_content: {brief(thinking)}; expected a text")
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list | tuple):
        raise UsageError(f"action, tool_calls: {brief(calls)}; expected a list")
    return turn_of(dialect, thinking, _text(message.get("content")), [*map(_request, calls)])


def new_messages(
    turn: Turn,
    results: Sequence[CallResult],
    replies: Sequence[Message],
    *,
    given: Mapping[str, Any] | None = None,
    number: int = 0,
) -> list[dict[str, Any]]:
    """Return a turn and what answered it as messages: the assistant's, its results, a user's.

    `given` is the assistant message that the turn was read from, which stays as it is but for ids
    of calls that it lacks; else one is made. `number` counts the calls before it, for their ids.
    """
    own = _assistant(turn) if given is None else dict(given)
    if own.get("tool_calls"):
        own["tool_calls"] = [
            {**call, "id": call.get("id") or f"call{number + index:05d}"}
            for index, call in enumerate(own["tool_calls"])
        ]
    calls = own.get("tool_calls") or []
    answers = [
        {"role": "tool", "tool_call_id": call["id"], "name": result.name, "content": result.content}
        for call, result in zip(calls, results, strict=False)
    ]
    return [own, *answers, *(dict(spelled_out(reply)) for reply in replies)]


def _assistant(turn: Turn) -> dict[str, Any]:
    own: dict[str, Any] = {"role": "assistant", "content": turn.answer}
    own |= {"reasoning_content": turn.thinking} if turn.thinking else {}
    own |= {"tool_calls": [*map(_call, turn.requests)]} if turn.requests else {}
    return own


def _call(request: ToolCall | MalformedCall) -> dict[str, Any]:
    if isinstance(request, ToolCall):
        name, arguments = request.name, request.arguments
    else:
        # Servers take no call without a name, and no arguments that are no JSON.
        name, arguments = "unnamed", {"malformed": request.raw}
    written = json.dumps(arguments, ensure_ascii=False)
    return {"type": "function", "function": {"name": name, "arguments": written}}


def _request(call: Any) -> ToolCall | MalformedCall:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping):
        raise UsageError(f"action, tool_calls: {brief(call)}; expected one with a function")
    name, arguments = function.get("name") or "", function.get("arguments")
    if not isinstance(name, str):
        raise UsageError(f"action, tool_calls, name: {brief(name)}; expected a text")
    if arguments is None or isinstance(arguments, str):
        return read_native_call(name, arguments or "")
    try:
        return read_native_call(name, json.dumps(arguments))
    except (TypeError, ValueError, RecursionError):
        raise UsageError(f"action, arguments of {name!r:.80}: have no JSON form") from None


def _text(content: Any) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    parts = content if isinstance(content, list | tuple) else [content]
    texts = [part.get("text") if isinstance(part, Mapping) else None for part in parts]
    for part, text in zip(parts, texts, strict=True):
        if not isinstance(text, str):
            raise UsageError(f"action, content: {brief(part)}; expected a text, or parts of text")
    return "".join(str(text) for text in texts)


def _in_thinking(dialect: Dialect, thinking: str, answer: str) -> tuple[MalformedCall, ...]:
    """Return what is wrong with a turn that holds nothing but thinking, and a call in it."""
    if answer.strip() or not dialect.parse(thinking).requests:
        return ()
    message = "a call inside the thinking is not run; end the thinking, then write the call"
    return (MalformedCall("call_in_thinking", message, thinking),)
