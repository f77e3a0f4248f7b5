"""Dialects whose observations are fed back inside the model's own turn.

The turn stays open from the first thought to the answer: the model writes a call, generation
stops at its closing mark, the observation is appended, and the model writes on. What such a
dialect adds to ChatML is one tool, one way to write its call, one frame around its result.
"""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from qwq_env.dialect import chatml
from qwq_env.dialect.base import Dialect, Message, Messages, OneTool, Piece, Schemas
from qwq_env.dialect.scan import Reading, first_turn
from qwq_env.errors import UsageError
from qwq_env.text.characters import UNSEEN
from qwq_env.turn import CallResult


class Frame(NamedTuple):
    """How one tool is called and answered in plain text.

    `call` wraps the value of `argument`, `result` what the tool `tool` said; `markup` names the
    tags that a result may not spell. `instructions` tell the model all this, in the system message,
    before the tool's schema ("" for neither); `dialect` is the name for errors.
    """

    dialect: str
    tool: str
    argument: str
    call: tuple[str, str]
    result: tuple[str, str]
    markup: tuple[str, ...]
    instructions: str


class InlineDialect(Dialect):
    """Renders by its `frame`; a subclass says how a turn is read, and where calls begin in it."""

    end_of_turn = ""
    opening: re.Pattern[str]

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.one_tool = OneTool(frame.tool, frame.argument)

    @abstractmethod
    def read(self, body: str, start: int) -> Reading:
        """Read the call that begins at `start`."""

    def render(
        self, messages: Messages, tools: Schemas = (), *, add_generation_prompt: bool = True
    ) -> list[Piece]:
        """Render a conversation as ChatML; calls, their results and what follows are one turn.

        Raises `UsageError` if the tools lack the frame's, or if it does not take its argument.
        """
        instructions: list[Piece] = []
        function = _find_tool(self.frame, tools)
        if function and self.frame.instructions:
            described = Piece(json.dumps(function, ensure_ascii=False))
            instructions = [Piece(self.frame.instructions, control=True), described]
        pieces = list(chatml.system(messages, instructions))
        is_open = False
        for index, message in enumerate(messages):
            role = chatml.role_of(message)
            if role in ("assistant", "tool"):
                if not is_open:
                    pieces.append(Piece(chatml.ASSISTANT, control=True))
                render = _tool if role == "tool" else _assistant
                pieces += render(message, self.frame)
                is_open = role == "tool" or bool(message.get("tool_calls"))
                if not is_open:
                    pieces.append(Piece(f"{chatml.END}\n", control=True))
            elif role == "user" or index > 0:
                if is_open:
                    pieces.append(Piece(f"{chatml.END}\n", control=True))
                is_open = False
                pieces += chatml.turn(role, chatml.content_of(message))
        if add_generation_prompt and not is_open:
            pieces.append(Piece(chatml.ASSISTANT, control=True))
        return pieces

    def render_results(self, results: Sequence[CallResult], *, closed: bool) -> list[Piece]:
        """Render results in the frame; a turn that the model closed itself is opened again."""
        pieces = [Piece(f"\n{chatml.ASSISTANT}", control=True)] if closed else []
        for result in results:
            pieces += _result(result.content, self.frame)
        return pieces

    def render_reply(self, messages: Messages, *, closed: bool) -> list[Piece]:
        """Render a user's messages, which end the turn, and open the next one."""
        pieces = [Piece("\n" if closed else f"{chatml.END}\n", control=True)]
        for message in messages:
            pieces += chatml.turn(chatml.role_of(message), chatml.content_of(message))
        return [*pieces, Piece(chatml.ASSISTANT, control=True)]

    def first_turn(self, text: str) -> str:
        """Return the turn that the text begins with; see `Dialect.first_turn`."""
        return first_turn(text, self.opening, self.read)


def neutralised(text: str, markup: Sequence[str]) -> str:
    """Return the text with the `<` of each such tag written as `&lt;`.

    Blanks and characters that do not show may stand in the tag, any number of them.
    """
    # Possessive: a run of them is gone through once, whatever follows it.
    space, hidden = rf"[\s{UNSEEN}]*+", rf"[{UNSEEN}]*+"
    tags = "|".join(hidden.join(map(re.escape, tag)) for tag in markup)
    pattern = rf"<(?={space}/?{space}(?:{tags})(?!\w))"
    return re.sub(pattern, "&lt;", text, flags=re.IGNORECASE)


def _find_tool(frame: Frame, tools: Schemas) -> Mapping[str, Any] | None:
    """Return the schema of the one tool that the frame can call; None if there are no tools."""
    functions = [chatml.schema_of(tool) for tool in tools]
    names = [function["name"] for function in functions]
    if not functions:
        return None
    where = f"dialect {frame.dialect!r}"
    if frame.tool not in names:
        raise UsageError(f"{where}: calls one tool, {frame.tool!r}; the tools: {', '.join(names)}")
    function = functions[names.index(frame.tool)]
    parameters = function.get("parameters")
    properties = parameters.get("properties") if isinstance(parameters, Mapping) else None
    taken = properties if isinstance(properties, Mapping) else {}
    if frame.argument not in taken:
        raise UsageError(
            f"{where}: writes the argument {frame.argument!r}, "
            f"but {frame.tool!r} takes {', '.join(taken) or 'none'}"
        )
    return function


def _assistant(message: Message, frame: Frame) -> list[Piece]:
    pieces = list(chatml.thinking(chatml.content_of(message)))
    for call in message.get("tool_calls") or ():
        name, arguments = chatml.decoded_call_of(call)
        if name != frame.tool or set(arguments) != {frame.argument}:
            raise UsageError(
                f"tool call: {name!r} with {', '.join(arguments) or 'nothing'}; "
                f"this dialect writes {frame.tool!r} with {frame.argument!r} only"
            )
        head, tail = frame.call
        pieces += [Piece(head, control=True), Piece(str(arguments[frame.argument]))]
        pieces.append(Piece(tail, control=True))
    return pieces


def _tool(message: Message, frame: Frame) -> list[Piece]:
    return _result(chatml.content_of(message), frame)


def _result(content: str, frame: Frame) -> list[Piece]:
    head, tail = frame.result
    shown = Piece(neutralised(content, frame.markup))
    return [Piece(head, control=True), shown, Piece(tail, control=True)]
