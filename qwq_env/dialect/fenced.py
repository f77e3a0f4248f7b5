"""The dialect of ReTool (arXiv:2504.11536): Python in a fence, answered inside the reasoning.

````
<|im_start|>assistant
<think>
Let me count them.
```python
print(sum(n % 7 == 0 for n in range(1000)))
```

<interpreter>
143
</interpreter>
So there are 143.
</think>
<answer>\\boxed{143}</answer><|im_end|>
````

Generation stops at the closing fence; what the program printed is appended, and the model goes on
where it was, thinking or not. ReTool's checkpoints wrap the fence in `<code>` tags:
`FencedDialect(code_tags=True)` asks for those and stops at `</code>`. Both forms are read.

The frame around a result is text that any program could print, so a result is shown with the `<`
of this dialect's own tags as `&lt;`. A task's text stands in a turn of its own, which ends with a
control token; it is shown as it is.
"""

from __future__ import annotations

import re

from qwq_env.dialect import chatml
from qwq_env.dialect.inline import Frame, InlineDialect
from qwq_env.dialect.scan import Reading, answer_of, read_tagged, scan_anywhere
from qwq_env.turn import MalformedCall, ToolCall, Turn

_OPEN, _CLOSE = "<code>", "</code>"
_FENCE = r"[ \t]*```[ \t]*(?:python3?|py)[ \t]*\r?\n"
_OPENING = re.compile(rf"{_OPEN}|^{_FENCE}", re.MULTILINE | re.IGNORECASE)
_OPEN_FENCE = re.compile(rf"\s{{0,9}}{_FENCE}", re.IGNORECASE)
_NEXT_FENCE = re.compile(f"^{_FENCE}", re.MULTILINE | re.IGNORECASE)
_CLOSE_FENCE = re.compile(r"^[ \t]*```[ \t]*\r?$\n?", re.MULTILINE)
_NEXT = re.compile(rf"{chatml.END_THINK}|{_OPENING.pattern}", re.MULTILINE | re.IGNORECASE)
_END_TAG = re.compile(rf"\s{{0,9}}{_CLOSE}")
_MARKUP = ("think", "code", "interpreter", "answer")
_EXPECTED = "write ```python, the program, and ``` on a line of its own"


class FencedDialect(InlineDialect):
    """ReTool's fenced Python around one tool, which takes the program's text.

    `tool` and `argument` say which tool runs it; other tools are not shown to the model.
    """

    name = "fenced"
    opening = _OPENING

    def __init__(
        self, tool: str = "python", argument: str = "code", *, code_tags: bool = False
    ) -> None:
        self._code_tags = code_tags
        self.stop = ("</code>" if code_tags else "\n```\n", "</answer>", *chatml.ENDS)
        head, tail = ("<code>\n", "\n</code>") if code_tags else ("", "\n")
        call = (f"\n{head}```python\n", f"\n```{tail}")
        super().__init__(
            Frame(
                dialect=self.name,
                tool=tool,
                argument=argument,
                call=call,
                result=("\n<interpreter>\n", "\n</interpreter>\n"),
                markup=_MARKUP,
                instructions=_instructions(*call),
            )
        )

    def parse(self, text: str) -> Turn:
        """Read a turn: its programs are the requests, its `<answer>` the answer.

        A turn that stopped at the fence of some other block, where it begins or ends, gets a
        `not_python`, so that the model can go on.
        """
        body, closed = chatml.strip_end(text)
        thinking, edge, prose, requests = scan_anywhere(body, self.opening, self.read)
        if not requests and self._code_tags and _CLOSE in prose:
            message = f"{_CLOSE} without a program before it; {_EXPECTED}"
            requests = (MalformedCall("unopened_tag", message),)
        elif not requests and not closed and body.rstrip().endswith("\n```"):
            message = f"only Python is run here; to run a program, {_EXPECTED}"
            requests = (MalformedCall("not_python", message),)
        return Turn(text, thinking, answer_of(prose), requests, edge, closed)

    def read(self, body: str, start: int) -> Reading:
        """See `InlineDialect.read`."""
        tagged = body.startswith(_OPEN, start)
        fence = _OPEN_FENCE.match(body, start + len(_OPEN) if tagged else start)
        code, end = _bare(body, start) if fence is None else _fenced(body, fence.end())
        raw = body[start:end]
        if code is None:
            message = f"the program has no end; {_EXPECTED}"
            return Reading(MalformedCall("unclosed_tag", message, raw), end)
        if not code.strip():
            return Reading(MalformedCall("empty_call", f"no program; {_EXPECTED}", raw), end)
        arguments = {self.frame.argument: code.removesuffix("\n")}
        return Reading(ToolCall(self.frame.tool, arguments, raw), end)


def _bare(body: str, start: int) -> tuple[str | None, int]:
    """Return the program in the tag at `start`, None if it has no end, and where the text goes on.

    A fence behind the tag is a program of its own: the tag was only spoken of.
    """
    code, end = read_tagged(body, start, _OPEN, _CLOSE)
    if fence := _NEXT_FENCE.search(body, start + len(_OPEN), end):
        return None, fence.start()
    return code, end


def _fenced(body: str, inside: int) -> tuple[str | None, int]:
    """Return the program in the fence that opens before `inside`, as `_bare` does."""
    closing = _CLOSE_FENCE.search(body, inside)
    if closing is None or _NEXT_FENCE.search(body, inside, closing.start()):
        following = _NEXT.search(body, inside)
        return None, following.start() if following else len(body)
    tag = _END_TAG.match(body, closing.end())
    return body[inside : closing.start()], tag.end() if tag else closing.end()


def _instructions(head: str, tail: str) -> str:
    return (
        "Reason step by step. Wherever a computation helps, write a Python program in your "
        f"reasoning, in exactly this form:\n{head}print(6 * 7)\n{tail.rstrip()}\n\nIt is run "
        "at once, what it prints comes back between <interpreter> and </interpreter>, and you "
        "reason on from there. Run as many as you need. When you know the answer, write "
        "<answer>\\boxed{the answer}</answer>.\n\nWhat runs the programs:\n"
    )
