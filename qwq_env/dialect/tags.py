"""The dialect of Search-R1 (arXiv:2503.09516): tags in plain text, answered inside the turn.

```
<|im_start|>assistant
<think>Who wrote it?</think>
<search>author of The Leopard</search>

<information>Giuseppe Tomasi di Lampedusa ...</information>

<think>That is it.</think>
<answer>Giuseppe Tomasi di Lampedusa</answer><|im_end|>
```

Generation stops at `</search>`; the passages are appended and the model reasons on. A call counts
wherever it stands, in the thinking too: the turn has stopped there, and something must be said.

The frame around a result is text that any passage could spell, so a result is shown with the `<`
of this dialect's own tags as `&lt;`. A task's text stands in a turn of its own, which ends with a
control token; it is shown as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from qwq_env.dialect import chatml, inline
from qwq_env.dialect.base import Dialect, Message, Piece
from qwq_env.dialect.scan import Reading, answer_of, read_tagged, scan_anywhere
from qwq_env.turn import CallResult, MalformedCall, ToolCall, Turn

_OPEN, _CLOSE = "<search>", "</search>"
_OPENING = re.compile(_OPEN)
_MARKUP = ("think", "search", "information", "answer")


class TagsDialect(Dialect):
    """Search-R1's tags around one tool, which takes one text.

    `tool` and `argument` say which one `<search>` calls; other tools are not shown to the model.
    """

    name = "tags"
    stop = (_CLOSE, "</answer>", *chatml.ENDS)
    end_of_turn = ""

    def __init__(self, tool: str = "search", argument: str = "query") -> None:
        self._frame = inline.Frame(
            tool=tool,
            argument=argument,
            call=(_OPEN, _CLOSE),
            result=("\n\n<information>", "</information>\n\n"),
            markup=_MARKUP,
        )

    def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] = (),
        *,
        add_generation_prompt: bool = True,
    ) -> list[Piece]:
        """Render as ChatML; see `Dialect.render`. Raises `UsageError` if the tool is missing."""
        function = inline.find_tool(self.name, self._frame, tools)
        instructions = list(_instructions(function)) if function else []
        return inline.render(
            messages, instructions, self._frame, add_generation_prompt=add_generation_prompt
        )

    def render_results(self, results: Sequence[CallResult], *, closed: bool) -> list[Piece]:
        """Render each result between `<information>` tags; the model's turn goes on."""
        contents = [result.content for result in results]
        return inline.render_results(contents, self._frame, closed=closed)

    def parse(self, text: str) -> Turn:
        """Read a turn: its searches are the requests, its `<answer>` the answer."""
        body, closed = chatml.strip_end(text)
        thinking, edge, prose, requests = scan_anywhere(body, _OPENING, self._read)
        if not requests and _CLOSE in prose:
            message = f"{_CLOSE} without {_OPEN} before it"
            requests = (MalformedCall("unopened_tag", message),)
        return Turn(text, thinking, answer_of(prose), requests, edge, closed)

    def _read(self, body: str, start: int) -> Reading:
        query, end = read_tagged(body, start, _OPEN, _CLOSE)
        raw = body[start:end]
        if query is None:
            message = f"{_OPEN} was not closed; write {_OPEN}query{_CLOSE}"
            return Reading(MalformedCall("unclosed_tag", message, raw), end)
        if not query.strip():
            message = f"nothing to search for; write {_OPEN}query{_CLOSE}"
            return Reading(MalformedCall("empty_call", message, raw), end)
        arguments = {self._frame.argument: query.strip()}
        return Reading(ToolCall(self._frame.tool, arguments, raw), end)


def _instructions(function: Mapping[str, Any]) -> Iterator[Piece]:
    described = json.dumps(function, ensure_ascii=False)
    yield Piece(
        "Think between <think> and </think> before every step. Whenever you lack knowledge, ask "
        f"the tool below: write {_OPEN}what you look for{_CLOSE}, and its findings come back "
        "between <information> and </information>. Ask as often as you need. When you know the "
        "answer, write it, and nothing else, between <answer> and </answer>.\n\nThe tool:\n",
        control=True,
    )
    yield Piece(described)
