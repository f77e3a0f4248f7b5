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

import re

from qwq_env.dialect import chatml
from qwq_env.dialect.inline import Frame, InlineDialect
from qwq_env.dialect.scan import Reading, answer_of, read_tagged, scan_anywhere
from qwq_env.turn import MalformedCall, ToolCall, Turn

_OPEN, _CLOSE = "<search>", "</search>"
_OPENING = re.compile(_OPEN)
_MARKUP = ("think", "search", "information", "answer")
_INSTRUCTIONS = (
    "Think between <think> and </think> before every step. Whenever you lack knowledge, ask "
    f"the tool below: write {_OPEN}what you look for{_CLOSE}, and its findings come back "
    "between <information> and </information>. Ask as often as you need. When you know the "
    "answer, write it, and nothing else, between <answer> and </answer>.\n\nThe tool:\n"
)


class TagsDialect(InlineDialect):
    """Search-R1's tags around one tool, which takes one text.

    `tool` and `argument` say which one `<search>` calls; other tools are not shown to the model.
    """

    name = "tags"
    instructions = _INSTRUCTIONS
    stop = (_CLOSE, "</answer>", *chatml.ENDS)
    opening = _OPENING

    def __init__(self, tool: str = "search", argument: str = "query") -> None:
        super().__init__(
            Frame(
                dialect=self.name,
                tool=tool,
                argument=argument,
                call=(_OPEN, _CLOSE),
                result=("\n\n<information>", "</information>\n\n"),
                markup=_MARKUP,
                instructions=self.instructions,
            )
        )

    def parse(self, text: str) -> Turn:
        """Read a turn: its searches are the requests, its `<answer>` the answer."""
        body, closed = chatml.strip_end(text)
        thinking, edge, prose, requests = scan_anywhere(body, self.opening, self.read)
        if not requests and _CLOSE in prose:
            message = f"{_CLOSE} without {_OPEN} before it"
            requests = (MalformedCall("unopened_tag", message),)
        return Turn(text, thinking, answer_of(prose), requests, edge, closed)

    def read(self, body: str, start: int) -> Reading:
        """See `InlineDialect.read`."""
        query, end = read_tagged(body, start, _OPEN, _CLOSE)
        raw = body[start:end]
        if query is None:
            message = f"{_OPEN} was not closed; write {_OPEN}query{_CLOSE}"
            return Reading(MalformedCall("unclosed_tag", message, raw), end)
        if not query.strip():
            message = f"nothing to search for; write {_OPEN}query{_CLOSE}"
            return Reading(MalformedCall("empty_call", message, raw), end)
        arguments = {self.frame.argument: query.strip()}
        return Reading(ToolCall(self.frame.tool, arguments, raw), end)


class SearchR1Dialect(TagsDialect):
    """The same tags, of which the prompt tells: Search-R1's own data sets and checkpoints.

    Their rows hold the whole protocol in the user's message, and no system message stands before
    it; a checkpoint of an instruct model was trained behind its template's default one, which
    `system_prompt=` gives.
    """

    name = "search_r1"
    instructions = ""
