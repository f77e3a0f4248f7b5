"""The dialect of QwQ-32B: ChatML, thinking that the prompt opens, Hermes JSON calls.

```
<|im_start|>assistant
<think>
...thinking...
</think>

<tool_call>
{"name": "calculator", "arguments": {"expression": "2+2"}}
</tool_call><|im_end|>
<|im_start|>user
<tool_response>
4
</tool_response><|im_end|>
```

`render` follows the chat template published with Qwen/QwQ-32B, text for text; so a
conversation rendered at once loses earlier thinking, as it does there. Episodes are not
rendered at once: `render_results` only ever appends, and the thinking stays.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from qwq_env.dialect.base import Dialect, Message, Piece
from qwq_env.turn import CallResult, MalformedCall, ToolCall, Turn

_TOOLS_HEAD = (
    "\n\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>"
)
_TOOLS_TAIL = (
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments "
    'within <tool_call></tool_call> XML tags:\n<tool_call>\n{"name": <function-name>, '
    '"arguments": <args-json-object>}\n</tool_call>'
)
_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_THINK, _END_THINK = "<think>", "</think>"
_GENERATION_PROMPT = "<|im_start|>assistant\n<think>\n"
_EXPECTED = '{"name": <function-name>, "arguments": <args-json-object>}'

MAX_REQUESTS = 128
"""Calls read of one turn: reading a broken one takes time in proportion to the whole turn."""


class QwqDialect(Dialect):
    """ChatML with Hermes tool calls, as QwQ-32B was trained to speak it."""

    name = "qwq"
    stop = ("<|im_end|>", "<|endoftext|>")
    end_of_turn = "<|im_end|>"

    def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] = (),
        *,
        add_generation_prompt: bool = True,
    ) -> list[Piece]:
        """Render as the published chat template does; see `Dialect.render`."""
        pieces = list(_system(messages, tools))
        for index, message in enumerate(messages):
            role = message["role"]
            last = index == len(messages) - 1
            if role == "user" or (role == "system" and index > 0):
                pieces += _message(role, _content(message))
            elif role == "assistant":
                pieces += _assistant(message, last=last)
            elif role == "tool":
                first_of_run = index == 0 or messages[index - 1]["role"] != "tool"
                last_of_run = last or messages[index + 1]["role"] != "tool"
                pieces += _response(_content(message), first_of_run, last_of_run)
        if add_generation_prompt:
            pieces.append(Piece(_GENERATION_PROMPT, control=True))
        return pieces

    def render_results(self, results: Sequence[CallResult], *, closed: bool) -> list[Piece]:
        """Render the results as one user message, then open the next turn's thinking."""
        pieces = [Piece("\n" if closed else "<|im_end|>\n", control=True)]
        for index, result in enumerate(results):
            pieces += _response(result.content, index == 0, index == len(results) - 1)
        pieces.append(Piece(_GENERATION_PROMPT, control=True))
        return pieces

    def parse(self, text: str) -> Turn:
        """Read a turn: what follows the last `</think>` is the answer, its calls the requests.

        A turn that neither opens nor closes a thinking of its own is all answer; one that opens
        it and never closes it has none.
        """
        body, closed = _strip_end(text)
        thinking, answer = _split_thinking(body)
        if answer is None:
            requests: list[ToolCall | MalformedCall] = []
            if _OPEN in thinking:
                message = f"close the thinking with {_END_THINK} before calling a tool"
                requests.append(MalformedCall("unclosed_thinking", message))
            return Turn(text, thinking, "", tuple(requests), len(body), closed)
        prose, requests = _split_calls(answer)
        return Turn(text, thinking, prose, tuple(requests), len(body) - len(answer), closed)


def _content(message: Message) -> str:
    return message.get("content") or ""


def _system(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> Iterator[Piece]:
    has_system = bool(messages) and messages[0]["role"] == "system"
    if not tools:
        if has_system:
            yield from _message("system", _content(messages[0]))
        return
    yield Piece("<|im_start|>system\n", control=True)
    if has_system:
        yield Piece(_content(messages[0]))
    yield Piece(_TOOLS_HEAD, control=True)
    for tool in tools:
        yield Piece("\n" + json.dumps(tool, ensure_ascii=False))
    yield Piece(_TOOLS_TAIL + "<|im_end|>\n", control=True)


def _message(role: str, content: str) -> list[Piece]:
    head, tail = f"<|im_start|>{role}\n", "<|im_end|>\n"
    return [Piece(head, control=True), Piece(content), Piece(tail, control=True)]


def _assistant(message: Message, *, last: bool) -> Iterator[Piece]:
    content = _content(message)
    shown = content if last else content.rsplit(_END_THINK, 1)[-1].lstrip("\n")
    calls = message.get("tool_calls")
    yield Piece("<|im_start|>assistant", control=True)
    if content or not calls:
        yield Piece("\n", control=True)
        yield from _with_thinking(shown)
    for call in calls or ():
        function = call.get("function", call)
        arguments = json.dumps(function["arguments"], ensure_ascii=False)
        yield Piece(f"\n{_OPEN}\n", control=True)
        yield Piece(f'{{"name": "{function["name"]}", "arguments": {arguments}}}')
        yield Piece(f"\n{_CLOSE}", control=True)
    yield Piece("<|im_end|>\n", control=True)


def _with_thinking(content: str) -> Iterator[Piece]:
    """Only the tags around the thinking are control text; what stands in it is not."""
    opening = _THINK if content.startswith(_THINK) else ""
    if opening:
        yield Piece(opening, control=True)
        content = content[len(opening) :]
    thinking, closing, answer = content.rpartition(_END_THINK)
    if closing:
        yield Piece(thinking)
        yield Piece(closing, control=True)
    yield Piece(answer)


def _response(content: str, first: bool, last: bool) -> list[Piece]:
    head = ("<|im_start|>user" if first else "") + "\n<tool_response>\n"
    tail = "\n</tool_response>" + ("<|im_end|>\n" if last else "")
    return [Piece(head, control=True), Piece(content), Piece(tail, control=True)]


def _strip_end(text: str) -> tuple[str, bool]:
    for end in QwqDialect.stop:
        if text.endswith(end):
            return text[: -len(end)], True
    return text, False


def _split_thinking(body: str) -> tuple[str, str | None]:
    """Return the thinking and the answer; the answer is None if the thinking never ends."""
    opened = body.lstrip().startswith(_THINK)
    thinking, closing, answer = body.rpartition(_END_THINK)
    if closing:
        return thinking.removeprefix(_THINK).strip("\n"), answer
    if opened:
        return body.lstrip().removeprefix(_THINK).strip("\n"), None
    return "", body


def _split_calls(answer: str) -> tuple[str, list[ToolCall | MalformedCall]]:
    """Take the calls out of an answer; each broken one leaves the others as they are."""
    prose: list[str] = []
    requests: list[ToolCall | MalformedCall] = []
    position = 0
    last_close = answer.rfind(_CLOSE)
    while (start := answer.find(_OPEN, position)) >= 0:
        if len(requests) == MAX_REQUESTS:
            message = f"more than {MAX_REQUESTS} calls in one turn; the rest was not read"
            requests.append(MalformedCall("too_many_calls", message))
            break
        prose.append(answer[position:start])
        inside = start + len(_OPEN)
        end = _end_of_json(answer, inside)
        if not answer.startswith(_CLOSE, end):
            # Broken JSON, or none: the tags alone say where the call ends.
            end = answer.find(_CLOSE, inside) if inside <= last_close else len(answer)
            following = answer.find(_OPEN, inside, end)
            if following >= 0 or end == len(answer):
                position = following if following >= 0 else len(answer)
                message = f"{_OPEN} was not closed with {_CLOSE}"
                requests.append(MalformedCall("unclosed_tag", message, answer[start:position]))
                continue
        requests.append(read_call(answer[inside:end]))
        position = end + len(_CLOSE)
    prose.append(answer[position:])
    if _CLOSE in prose[-1] and not requests:
        requests.append(MalformedCall("unopened_tag", f"{_CLOSE} without {_OPEN} before it"))
    return "".join(prose).strip(), requests


_DECODER = json.JSONDecoder(strict=False)
_SPACE = re.compile(r"\s*")


def _end_of_json(text: str, start: int) -> int:
    """Return where the JSON value at `start` ends, spaces included; `start` if there is none.

    A tag that stands inside one of its strings is then no tag.
    """
    begin = _match_end(text, start)
    try:
        return _match_end(text, _DECODER.raw_decode(text, begin)[1])
    except (ValueError, RecursionError):
        return start


def _match_end(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return found.end() if found else position


def read_call(raw: str) -> ToolCall | MalformedCall:
    """Read the JSON of one call; newlines inside strings are forgiven."""
    try:
        value = json.loads(raw, strict=False)
    except RecursionError:
        return MalformedCall("malformed_json", "the JSON is nested too deeply", raw)
    except ValueError as error:
        return MalformedCall("malformed_json", f"not JSON: {error}; write {_EXPECTED}", raw)
    if not isinstance(value, dict):
        return MalformedCall("malformed_json", f"not a JSON object; write {_EXPECTED}", raw)
    name = value.get("name")
    if not isinstance(name, str) or not name:
        return MalformedCall("missing_name", f"no function name; write {_EXPECTED}", raw)
    unexpected = value.keys() - {"name", "arguments", "id", "type"}
    if unexpected:
        wrong = min(unexpected)[:80]
        return MalformedCall("unexpected_key", f"unexpected {wrong!r}; write {_EXPECTED}", raw)
    arguments = value.get("arguments", {})
    if isinstance(arguments, str):
        # Some models double-encode the arguments, as OpenAI's wire format does.
        try:
            arguments = json.loads(arguments, strict=False)
        except (ValueError, RecursionError):
            pass
    return ToolCall(name, arguments, raw)
