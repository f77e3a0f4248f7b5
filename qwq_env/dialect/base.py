"""The contract of a dialect, and the pieces that it renders.

A dialect renders text as `Piece`s: what it writes itself may hold control tokens
(`control=True`); what came from a task, a tool or the model may not, whatever it spells.
`TokenCodec` turns pieces into ids and keeps that promise. The joined texts of all pieces and
turns are the transcript of an episode; nothing is ever rendered a second time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from qwq_env.turn import CallResult, Turn

Message = Mapping[str, Any]
Messages = Sequence[Message]
"""A conversation: each `{"role", "content"}`, an assistant's with `"tool_calls"`."""
Schemas = Sequence[Mapping[str, Any]]
"""Tools as a model is shown them, in the OpenAI function form."""


class Piece(NamedTuple):
    """A stretch of rendered text; `control` says that control tokens in it are meant."""

    text: str
    control: bool = False


class OneTool(NamedTuple):
    """The one tool that a dialect can call, and the one argument that it writes."""

    tool: str
    argument: str


class Dialect(ABC):
    """How a model writes calls and reads results.

    `stop` holds the strings after which a turn is over (they are part of the turn when the
    model writes them; a token that completes one may bring a few characters more).
    `end_of_turn` is the control text that closes the model's turn, or `""` where observations
    are fed back inside the same turn. `thinking_opening` is the text with which the prompt of a
    turn opens the thinking for the model, if it does: `parse` takes a text for what was written
    behind it, `parse_message` for one that stands alone. `one_tool` is set where only that one can
    be called.
    """

    name: str
    stop: tuple[str, ...]
    end_of_turn: str
    thinking_opening: str = ""
    one_tool: OneTool | None = None

    @abstractmethod
    def render(
        self, messages: Messages, tools: Schemas = (), *, add_generation_prompt: bool = True
    ) -> list[Piece]:
        """Render a conversation and the tools' schemas.

        Raises `UsageError` for a content that is no text, and for tools that it cannot call.
        """

    @abstractmethod
    def render_results(self, results: Sequence[CallResult], *, closed: bool) -> list[Piece]:
        """Render what follows the model's turn: its results, and the opening of its next turn.

        `closed` is the `Turn.closed` of the turn that made the requests.
        """

    def render_reply(self, messages: Messages, *, closed: bool) -> list[Piece]:
        """Render what follows a turn without calls: a user's `messages`, and the next opening.

        `closed` is as above. The messages are foreign text, as those of a task are. Override it
        where `end_of_turn` is empty, or where `render` begins with more than the messages.
        """
        ended = Piece("\n" if closed else f"{self.end_of_turn}\n", control=True)
        return [ended, *self.render(messages)]

    def first_turn(self, text: str) -> str:
        """Return the turn that a decoded generation begins with.

        Padding before it, and all that follows its end, are left out: texts may come out of a
        padded batch, or of a model that went on. Override it where the end is not `end_of_turn`.
        """
        end = self.end_of_turn
        return text[: text.index(end) + len(end)] if end and end in text else text

    @abstractmethod
    def parse(self, text: str) -> Turn:
        """Read a turn. Never raises: what cannot be read becomes a `MalformedCall`."""

    def parse_message(self, content: str) -> Turn:
        """Read a message's content as a turn: no prompt has opened a thinking in it.

        A chat server keeps thinking apart, and what it calls the content is an answer.
        """
        return self.parse(content)


def text_of(pieces: Sequence[Piece]) -> str:
    """Join the texts of `pieces`."""
    return "".join(piece.text for piece in pieces)
