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

A tool's text stands between the response tags verbatim, as in the template. It cannot end its
turn, for `<|im_end|>` is a control token; where the response tags are control tokens too, as in
QwQ-32B's vocabulary, it cannot end its own response either.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from qwq_env.dialect import chatml
from qwq_env.dialect.base import Dialect, Message, Messages, Piece, Schemas
from qwq_env.dialect.json_calls import end_of_calls, read_calls
from qwq_env.dialect.scan import Reading, first_turn, read_tagged, scan
from qwq_env.turn import CallResult, MalformedCall, Turn

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
_OPENING = re.compile(_OPEN)
_GENERATION_PROMPT = f"{chatml.ASSISTANT}{chatml.THINK}\n"


class QwqDialect(Dialect):
    """ChatML with Hermes tool calls, as QwQ-32B was trained to speak it.

    The prompt opens the thinking, and an answer stands behind its end: with `needs_thinking` a turn
    that never ends it has no answer, for else a policy learns to leave thinking out of what it is
    paid for.
    """

    name = "qwq"
    needs_thinking = True
    stop = chatml.ENDS
    end_of_turn = chatml.END
    thinking_opening = "<think>\n"

    def render(
        self, messages: Messages, tools: Schemas = (), *, add_generation_prompt: bool = True
    ) -> list[Piece]:
        """Render as the published chat template does; see `Dialect.render`."""
        pieces = list(_system(messages, tools))
        for index, message in enumerate(messages):
            role = message.get("role")
            last = index == len(messages) - 1
            if role == "user" or (role == "system" and index > 0):
                pieces += chatml.turn(role, chatml.content_of(message))
            elif role == "assistant":
                pieces += _assistant(message, last=last)
            elif role == "tool":
                first_of_run = index == 0 or messages[index - 1].get("role") != "tool"
                last_of_run = last or messages[index + 1].get("role") != "tool"
                pieces += _response(_printed(message), first_of_run, last_of_run)
        if add_generation_prompt:
            pieces.append(Piece(_GENERATION_PROMPT, control=True))
        return pieces

    def render_results(self, results: Sequence[CallResult], *, closed: bool) -> list[Piece]:
        """Render the results as one user message, then open the next turn's thinking."""
        pieces = [Piece("\n" if closed else f"{chatml.END}\n", control=True)]
        for index, result in enumerate(results):
            pieces += _response(result.content, index == 0, index == len(results) - 1)
        pieces.append(Piece(_GENERATION_PROMPT, control=True))
        return pieces

    def first_turn(self, text: str) -> str:
        """Return the turn that the text begins with; see `Dialect.first_turn`."""
        return first_turn(text, _OPENING, _read)

    def parse(self, text: str) -> Turn:
        """Read a turn: what follows the thinking is the answer, its calls the requests.

        A turn that never ends the thinking makes its calls all the same, unless it has opened the
        thinking anew itself; without a call it has no answer.
        """
        return _parse(text, is_opened=self.needs_thinking)

    def parse_message(self, content: str) -> Turn:
        """Read a content, which need not hold a thinking; see `Dialect.parse_message`."""
        return _parse(content, is_opened=False)


class QwqDirectDialect(QwqDialect):
    """The same, for models that may answer without thinking: their turn is all answer then.

    For evaluation. What it is paid for, a policy that is trained with it need not think about.
    """

    name = "qwq-direct"
    needs_thinking = False


def _parse(text: str, *, is_opened: bool) -> Turn:
    body, closed = chatml.strip_end(text)
    thinking, thinking_end, prose, requests = scan(body, _OPENING, _read)
    if not requests and _CLOSE in prose:
        message = f"{_CLOSE} without {_OPEN} before it"
        requests = (MalformedCall("unopened_tag", message),)
    never_ended = not body[:thinking_end].endswith(chatml.END_THINK)
    if never_ended and not requests and (is_opened or thinking_end):
        thought = thinking or body.strip("\n")
        return Turn(text, thought, "", (), len(body), closed, unclosed_thinking=True)
    return Turn(text, thinking, prose, requests, thinking_end, closed)


def _read(body: str, start: int) -> Reading:
    """Read the call at `start`. Its JSON says where it ends or, if that is broken, its tags."""
    inside = start + len(_OPEN)
    raw: str | None
    end = end_of_calls(body, inside)
    if end > inside and body.startswith(_CLOSE, end):
        raw, end = body[inside:end], end + len(_CLOSE)
    else:
        raw, end = read_tagged(body, start, _OPEN, _CLOSE, behind=end)
    if raw is not None:
        first, *more = read_calls(raw)
        return Reading(first, end, tuple(more))
    message = f"{_OPEN} was not closed with {_CLOSE}"
    return Reading(MalformedCall("unclosed_tag", message, body[start:end]), end)


def _printed(message: Message) -> str:
    """Return a content as the template prints it where it does not join it to other text."""
    return str(message.get("content", ""))


def _system(messages: Messages, tools: Schemas) -> Iterator[Piece]:
    has_system = bool(messages) and messages[0].get("role") == "system"
    if not tools:
        if has_system:
            yield from chatml.turn("system", chatml.content_of(messages[0]))
        return
    yield Piece("<|im_start|>system\n", control=True)
    if has_system:
        yield Piece(_printed(messages[0]))
    yield Piece(_TOOLS_HEAD, control=True)
    for tool in tools:
        yield Piece("\n" + _json(tool))
    yield Piece(f"{_TOOLS_TAIL}{chatml.END}\n", control=True)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _assistant(message: Message, *, last: bool) -> Iterator[Piece]:
    content = chatml.content_of(message)
    shown = content if last else content.rsplit(chatml.END_THINK, 1)[-1].lstrip("\n")
    calls = message.get("tool_calls")
    yield Piece("<|im_start|>assistant", control=True)
    if content or not calls:
        yield Piece("\n", control=True)
        yield from chatml.thinking(shown)
    for call in calls or ():
        name, arguments = chatml.call_of(call)
        yield Piece(f"\n{_OPEN}\n", control=True)
        yield Piece(f'{{"name": "{name}", "arguments": {_json(arguments)}}}')
        yield Piece(f"\n{_CLOSE}", control=True)
    yield Piece(f"{chatml.END}\n", control=True)


def _response(content: str, first: bool, last: bool) -> list[Piece]:
    head = ("<|im_start|>user" if first else "") + "\n<tool_response>\n"
    tail = "\n</tool_response>" + (f"{chatml.END}\n" if last else "")
    return [Piece(head, control=True), Piece(content), Piece(tail, control=True)]
