"""The dialect of ReAct (arXiv:2210.03629): labelled lines, each observation a turn of the user.

```
<|im_start|>assistant
Thought: I have to add them.
Action: calculator
Action Input: {"expression": "2+2"}<|im_end|>
<|im_start|>user
Observation: 4<|im_end|>
<|im_start|>assistant
Thought: That is it.
Final Answer: 4<|im_end|>
```

Models tend to write the observation themselves: generation stops at `Observation:`, and what a
turn holds behind it is not read.

An observation ends with its turn, at a control token that no tool can spell. So that it cannot
pass for two observations or for the model's own lines, lines of a result that begin with one of
the labels, however written, are indented by two spaces. A task's text is shown as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from qwq_env.dialect import chatml
from qwq_env.dialect.base import Dialect, Message, Messages, Piece, Schemas
from qwq_env.dialect.json_calls import end_of_json, read_json
from qwq_env.dialect.scan import Reading, first_turn, scan
from qwq_env.text.characters import UNSEEN
from qwq_env.turn import CallResult, MalformedCall, ToolCall, Turn


def _label(names: str) -> str:
    """Return a pattern for a label at the start of a line, numbered as in the paper or not.

    Behind a thinking it may stand on the same line.
    """
    return rf"(?:^|(?<={chatml.END_THINK}))[ \t]*\**(?:{names})[ \t]*\d{{0,3}}\**:\**"


_NAMES = "Thought|Action Input|Action|Observation|Final Answer"
# To a reader a line may begin behind more than a newline, and with what does not show.
_SPOKEN = re.compile(
    rf"(?:^|(?<=[\r\v\f\x1c-\x1e\x85\u2028\u2029])|(?<={chatml.END_THINK}))"
    rf"[ \t\xa0\u1680\u2000-\u200a\u202f\u205f\u3000{UNSEEN}]*+"
    rf"\**(?:{_NAMES})[ \t]*\d{{0,3}}\**[ \t]?[:：]",
    re.MULTILINE | re.IGNORECASE,
)
_NEXT = re.compile(f"{chatml.END_THINK}|{_label(_NAMES)}", re.MULTILINE)
_ACTION = re.compile(_label("Action"), re.MULTILINE)
_INPUT = re.compile(_label("Action Input"), re.MULTILINE)
_OBSERVATION = re.compile(_label("Observation"), re.MULTILINE)
_FINAL = re.compile(_label("Final Answer"), re.MULTILINE)
_THOUGHT = re.compile(_label("Thought") + r"[ \t]*", re.MULTILINE)
_FENCE = re.compile(r"\s{0,9}```(?:json)?[ \t]*\n")
_EXPECTED = 'Action: <tool>, and on the next line Action Input: {"<argument>": <value>}'


class ReactDialect(Dialect):
    """Thought, Action, Action Input, Observation, Final Answer."""

    name = "react"
    stop = ("\nObservation:", *chatml.ENDS)
    end_of_turn = chatml.END

    def render(
        self, messages: Messages, tools: Schemas = (), *, add_generation_prompt: bool = True
    ) -> list[Piece]:
        """Render as ChatML; see `Dialect.render`."""
        pieces = list(chatml.system(messages, list(_instructions(tools)) if tools else []))
        results: list[str] = []
        for index, message in enumerate(messages):
            role, content = chatml.role_of(message), chatml.content_of(message)
            if role == "tool":
                results.append(content)
                continue
            if results:
                pieces += _observations(results)
                results = []
            if role == "assistant":
                pieces += _assistant(message)
            elif role == "user" or index > 0:
                pieces += chatml.turn(role, content)
        if results:
            pieces += _observations(results)
        if add_generation_prompt:
            pieces.append(Piece(chatml.ASSISTANT, control=True))
        return pieces

    def render_results(self, results: Sequence[CallResult], *, closed: bool) -> list[Piece]:
        """Render the results as one user message, then open the next turn."""
        pieces = [Piece("\n" if closed else f"{chatml.END}\n", control=True)]
        pieces += _observations([result.content for result in results])
        pieces.append(Piece(chatml.ASSISTANT, control=True))
        return pieces

    def first_turn(self, text: str) -> str:
        """Return the turn that the text begins with; see `Dialect.first_turn`."""
        return first_turn(text, _ACTION, _read)

    def parse(self, text: str) -> Turn:
        """Read a turn: its actions are the requests; in a final turn the answer is what
        `Final Answer:` labels, or the whole text if nothing does."""
        body, closed = chatml.strip_end(text)
        thinking, edge, prose, requests = scan(body, _ACTION, _read)
        if not requests and _INPUT.search(prose):
            requests = (MalformedCall("missing_name", f"an input without action; {_EXPECTED}"),)
        final = _FINAL.search(prose)
        thoughts = _THOUGHT.sub("", prose[: final.start()] if final else prose).strip()
        answer = prose[final.end() :].strip() if final else ""
        if final or requests:
            thinking = "\n".join(filter(None, (thinking, thoughts)))
            label = (_ACTION if requests else _FINAL).search(body, edge)
            edge = label.start() if label else edge
        elif prose:
            answer = thoughts
        return Turn(text, thinking, answer, requests, edge, closed)


def _read(body: str, start: int) -> Reading:
    """Read the action at `start` and the input that follows it."""
    label = _ACTION.match(body, start)
    assert label is not None
    following = _NEXT.search(body, label.end())
    name_end = following.start() if following else len(body)
    name = body[label.end() : name_end].strip().strip("`\"'*[]")
    if following is None or not _INPUT.match(body, following.start()):
        request = MalformedCall("missing_input", f"no input; {_EXPECTED}", body[start:name_end])
        return _reading(body, request, name_end)
    raw, end = _input(body, following.end())
    if not name or "\n" in name:
        message = f"no tool's name; {_EXPECTED}"
        return _reading(body, MalformedCall("missing_name", message, body[start:end]), end)
    value, problem = read_json(raw, _EXPECTED)
    return _reading(body, problem or ToolCall(name, value, body[start:end]), end)


def _input(body: str, start: int) -> tuple[str, int]:
    """Return the JSON at `start`, in a fence or not, and where it ends."""
    if fence := _FENCE.match(body, start):
        inside = fence.end()
        close = end_of_json(body, inside)
        if not body.startswith("```", close):
            following = _NEXT.search(body, inside)
            close = body.find("```", inside, following.start() if following else len(body))
        if close >= 0:
            return body[inside:close], close + len("```")
    end = end_of_json(body, start)
    whole = end == len(body) or "\n" in body[len(body[:end].rstrip()) : end]
    if end == start or not (whole or _NEXT.match(body, end)):
        following = _NEXT.search(body, start)
        end = following.start() if following else len(body)
    return body[start:end].strip(), end


def _reading(body: str, request: ToolCall | MalformedCall, end: int) -> Reading:
    """Drop what the model says that it observed, and all that it concludes from it.

    That goes as far as the thinking in which it does so, or the text.
    """
    following = _NEXT.search(body, end)
    if following is not None and _OBSERVATION.match(body, following.start()):
        thought = body.find(chatml.END_THINK, end)
        end = thought if thought >= 0 else len(body)
    return Reading(request, end)


def _assistant(message: Message) -> Iterator[Piece]:
    content = chatml.content_of(message)
    calls = message.get("tool_calls") or ()
    yield Piece(chatml.ASSISTANT, control=True)
    yield from chatml.thinking(content)
    for index, call in enumerate(calls):
        name, arguments = chatml.decoded_call_of(call)
        before = "\n" if content or index else ""
        written = json.dumps(arguments, ensure_ascii=False)
        yield Piece(f"{before}Action: {name}\nAction Input: {written}")
    yield Piece(f"{chatml.END}\n", control=True)


def _observations(contents: Sequence[str]) -> list[Piece]:
    indented = [_SPOKEN.sub(lambda label: f"  {label[0]}", content) for content in contents]
    return chatml.turn("user", "\n".join(f"Observation: {content}" for content in indented))


def _instructions(tools: Schemas) -> Iterator[Piece]:
    yield Piece("Answer as well as you can. You can use these tools:\n\n", control=True)
    names = []
    for tool in tools:
        function = chatml.schema_of(tool)
        names.append(function["name"])
        yield Piece(json.dumps(function, ensure_ascii=False) + "\n")
    yield Piece(
        "\nWrite in these lines:\n\n"
        "Thought: what you think and what to do next\n"
        "Action: the tool's name, one of ",
        control=True,
    )
    yield Piece(", ".join(names))
    yield Piece(
        "\nAction Input: its arguments as one JSON object\n\n"
        "Then end your turn. The result comes as a line `Observation:`, and you go on with the "
        "next thought. When you know the answer, write:\n\n"
        "Thought: why you are sure\n"
        "Final Answer: the answer",
        control=True,
    )
