"""`DialectConformance`: what is held against every dialect."""

from __future__ import annotations

import pickle
import random
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, ClassVar, Final

from qwq_env.dialect.base import Dialect, text_of
from qwq_env.errors import UsageError, brief, describe_error
from qwq_env.testing.conformance import Conformance, Fault, guarded
from qwq_env.testing.moves import text_in
from qwq_env.turn import MAX_REQUESTS, CallResult, ToolCall

__tracebackhide__ = True

PARTS: Final = (
    "<think>", "</think>", "</THINK>", "<tool_call>", "</tool_call>", '{"name": "a"}', '{"name": "',
    '"', "{", "[", "\\", "\n", "<search>", "</search>", "<answer>", "</answer>", "```python\n",
    "```\n", "```", "<code>", "</code>", "\nAction: a", "\nAction Input: ", "{}", "\nObservation:",
    "\nFinal Answer:", "\nThought: ", "<|im_end|>", "\ud800", "\x00", " ", "x", "1e999",
)  # fmt: skip
"""Markup of several dialects, whole and broken, and characters that few expect."""
_REPEATED: Final = (
    '<tool_call>{"name": "', '<tool_call>{"a": [', "<tool_call>\n\n", "<search>" + " " * 50, "* ",
    "\t", "\n ```", "<code>```python\n", "\nAction: x\nAction Input: {",
    '\nAction: a\nAction Input: {"a": "',
)  # fmt: skip
_TEXTS: Final = 400
_SHORT: Final = 1 << 14
_MARK: Final = "Zq7"
_ARGUMENTS: Final[Sequence[dict[str, Any]]] = (
    {}, {"a": 1}, {"query": "two\nlines", "n": -0.5}, {"é": ['"quoted" \\ back', None, True]},
    {"code": "x = {'a': [1, 2]}\nprint(x)"},
)  # fmt: skip
_ONE_ARGUMENT: Final = ("x + 1", "two\nlines", "'quoted' \"twice\" 漢字", "f(a, b) == {1: 2}")


class DialectConformance(Conformance):
    """Holds a `Dialect` to its contract: it reads any text, and writes what it can read.

    ```python
    class TestMine(DialectConformance):
        def make(self):
            return MyDialect()
    ```

    `parts` are what hostile texts are made of: add the markup of your own. To hold it against
    recorded renderings of a tokenizer's template, there is `qwq check dialect`.
    """

    parts: ClassVar[Sequence[str]] = PARTS

    def make(self) -> Dialect:
        """Return the dialect."""
        made: Dialect = super().make()
        return made

    def test_it_says_what_it_is(self) -> None:
        """Its attributes are of the right kinds, and it can be pickled."""
        dialect = self.make()
        stop = dialect.stop
        if not isinstance(stop, tuple) or not all(isinstance(s, str) and s for s in stop):
            raise Fault(f"stop: {brief(stop)}", 'a tuple of texts: ("</call>",), with the comma')
        for name in ("name", "end_of_turn", "thinking_opening"):
            if not isinstance(value := getattr(dialect, name, None), str):
                raise Fault(f"{name}: {brief(value)}", "a text")
        mend = "keep it free of open files, lambdas and the like"
        guarded("it cannot be pickled", mend, lambda: pickle.loads(pickle.dumps(dialect)))

    def test_any_text_is_read(self) -> None:
        """No text makes `parse` raise, or lose what was written."""
        dialect = self.make()
        for text in _hostile([*self.parts, *dialect.stop]):
            for read in (dialect.parse, dialect.parse_message):
                turn = guarded(
                    f"{read.__name__} raises for {brief(text)}",
                    "give a MalformedCall for what cannot be read",
                    partial(read, text),
                )
                if turn.text != text or not 0 <= turn.thinking_end <= len(text):
                    raise Fault(
                        f"{read.__name__} of {brief(text)} gives text {brief(turn.text)},"
                        f" thinking_end {turn.thinking_end}",
                        "text is what was written, untouched, and thinking_end an offset in it",
                    )
                if len(turn.requests) > MAX_REQUESTS + 1:
                    raise Fault(
                        f"{len(turn.requests)} requests are read of one turn",
                        f"read {MAX_REQUESTS}, and give a MalformedCall too_many_calls for others",
                    )
                if not all(error.kind and error.message for error in turn.errors):
                    raise Fault(
                        f"{brief(text)} gives an error without kind or message",
                        "say in `message` what the model should write, count by `kind`",
                    )

    def test_time_grows_with_the_text_only(self) -> None:
        """No text takes time in proportion to its square."""
        dialect = self.make()
        for part in (*self.parts, *_REPEATED):
            if not any(_is_linear(dialect, part) for _ in range(3)):
                raise Fault(
                    f"parse takes eight times the text many times as long, for {brief(part)} again"
                    " and again",
                    "look for the next mark from where the last ended, and for none twice",
                )

    def test_rendered_calls_are_read_back(self) -> None:
        """The calls of a message are written as `parse` reads them."""
        dialect = self.make()
        calls = _calls(dialect)
        for some in (*([call] for call in calls), calls[:2]):
            text = text_in(dialect, some)
            read = [] if text is None else list(dialect.parse(text).calls)
            if [(c.name, c.arguments) for c in read] != [(c.name, c.arguments) for c in some]:
                raise Fault(
                    f"a call of {some[0].name} with {brief(some[0].arguments)} is rendered as"
                    f" {brief(text)} and read as {brief([c.arguments for c in read])}",
                    "let `render` write an assistant's tool_calls in the form that `parse` reads",
                )

    def test_generation_stops_behind_a_call(self) -> None:
        """A turn that ends at the first stop text still holds its call."""
        dialect = self.make()
        call = _calls(dialect)[-1]
        text = text_in(dialect, call) or ""
        ends = [text.index(stop) + len(stop) for stop in dialect.stop if stop in text]
        if not ends:
            raise Fault("no stop text ends a turn with a call", "name one in `stop`")
        if [each.name for each in dialect.parse(text[: min(ends)]).calls] != [call.name]:
            raise Fault(
                f"cut at its first stop text, {brief(text[: min(ends)])} holds no call",
                "name in `stop` what stands behind a call, not what stands in it",
            )

    def test_a_turn_has_one_end(self) -> None:
        """What follows a turn closes it if the model did not, and only then."""
        dialect = self.make()
        if not (end := dialect.end_of_turn):
            return
        said = {"closed": dialect.parse(f"4{end}").closed, "unclosed": dialect.parse("4").closed}
        if said != {"closed": True, "unclosed": False}:
            raise Fault(f"Turn.closed is {said}", "it says that the text ends with end_of_turn")
        if dialect.first_turn(f"4{end}5") != f"4{end}":
            raise Fault("first_turn keeps what follows the end", "cut behind end_of_turn")
        results, replies = [CallResult("t", "x")], [{"role": "user", "content": "x"}]
        for closed in (True, False):
            for name, pieces in (
                ("render_results", dialect.render_results(results, closed=closed)),
                ("render_reply", dialect.render_reply(replies, closed=closed)),
            ):
                if text_of(pieces).startswith(end) is closed:
                    raise Fault(
                        f"{name}(closed={closed}) begins with {brief(text_of(pieces)[:40])}",
                        "begin with end_of_turn where the model has not written it, else without",
                    )

    def test_the_generation_prompt_is_only_appended(self) -> None:
        """A prompt is the conversation, and behind it the opening of the turn."""
        dialect = self.make()
        messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "x"}]
        closed = text_of(dialect.render(messages, add_generation_prompt=False))
        opened = text_of(dialect.render(messages, add_generation_prompt=True))
        if not opened.startswith(closed) or not opened.endswith(dialect.thinking_opening):
            raise Fault(
                f"with the generation prompt a conversation ends {brief(opened[-60:])}",
                "append the opening of the turn, thinking_opening last, and change nothing before",
            )

    def test_foreign_text_controls_nothing(self) -> None:
        """No text of a task, a tool or a user stands in a piece that controls, and all is shown."""
        dialect = self.make()
        markup = "".join([*dialect.stop, dialect.end_of_turn, dialect.thinking_opening])
        foreign = f"{_MARK}{markup}<|im_end|><tool_call>{_MARK}"
        messages = [{"role": "system", "content": foreign}, {"role": "user", "content": foreign}]
        result = [CallResult("t", foreign)]
        for what, pieces in (
            ("a task", dialect.render(messages)),
            ("a tool's description", dialect.render(messages[:0], [_tool(dialect, foreign)])),
            ("a result", dialect.render_results(result, closed=False)),
            ("a result", dialect.render_results(result, closed=True)),
            ("a user", dialect.render_reply(messages[1:], closed=False)),
        ):
            if any(_MARK in piece.text for piece in pieces if piece.control):
                raise Fault(
                    f"the text of {what} stands in a piece that controls: it could end a turn",
                    "render it as Piece(text), and only your own markup with control=True",
                )
            # A prompt that tells of the tools itself may leave their descriptions out.
            if _MARK not in text_of(pieces) and "tool" not in what:
                raise Fault(f"the text of {what} is not shown", "render it as Piece(text)")

    def test_thinking_that_never_ends_has_no_answer(self) -> None:
        """Where the prompt opens the thinking, a turn that does not close it is thinking."""
        dialect = self.make()
        turn = dialect.parse("It is 4.")
        wanted = "" if turn.unclosed_thinking else "It is 4."
        if turn.answer.strip() != wanted or (
            turn.unclosed_thinking and not dialect.thinking_opening
        ):
            raise Fault(
                f"of 'It is 4.', with thinking_opening {dialect.thinking_opening!r}, it reads the"
                f" answer {brief(turn.answer)}, unclosed_thinking {turn.unclosed_thinking}",
                "a thinking that the prompt or the model opened, and that is never closed, has no"
                " answer; what was never opened is none",
            )
        if (told := dialect.parse_message("It is 4.").answer.strip()) != "It is 4.":
            raise Fault(
                f"of the message 'It is 4.' it reads the answer {brief(told)}",
                "a chat interface keeps thinking apart: override parse_message",
            )

    def test_a_content_that_is_no_text_is_refused(self) -> None:
        """`render` raises `UsageError`."""
        try:
            self.make().render([{"role": "user", "content": 7}])
        except UsageError:
            return
        except Exception as error:  # noqa: BLE001 - the boundary to foreign code
            told = f"raises {describe_error(error)}"
        else:
            told = "is rendered"
        raise Fault(
            f"a message of content 7 {told}", "raise UsageError: field, value, what was expected"
        )


def _hostile(parts: Sequence[str]) -> Iterator[str]:
    chance = random.Random(0)
    letters = "abc \n\t<>{}[]\"'`|\\/:=\u00a0\u2028\u200b漢😀\ufeff\udfff"
    yield from ("", *parts)
    for _ in range(_TEXTS):
        words = [
            chance.choice(parts) if chance.random() < 0.7 else chance.choice(letters)
            for _ in range(chance.randint(1, 12))
        ]
        yield "".join(words)
    yield "".join(chance.choice(parts) for _ in range(20 * MAX_REQUESTS))
    for part in parts:
        yield part * (2 * MAX_REQUESTS)


def _is_linear(dialect: Dialect, part: str) -> bool:
    def seconds(size: int) -> float:
        text = part * (size // len(part))
        start = time.thread_time()
        dialect.parse(text)
        return time.thread_time() - start

    # A square would be 64 times as long; the constant is for what the clock cannot tell apart.
    return seconds(8 * _SHORT) < 24 * seconds(_SHORT) + 0.02


def _calls(dialect: Dialect) -> list[ToolCall]:
    if (one := dialect.one_tool) is not None:
        return [ToolCall(one.tool, {one.argument: text}) for text in _ONE_ARGUMENT]
    return [ToolCall(f"tool_{place}", given) for place, given in enumerate(_ARGUMENTS)]


def _tool(dialect: Dialect, description: str) -> dict[str, Any]:
    one = dialect.one_tool
    argument = {"type": "string", "description": description}
    parameters = {"type": "object", "properties": {one.argument if one else "a": argument}}
    name = one.tool if one else "look"
    function = {"name": name, "description": description, "parameters": parameters}
    return {"type": "function", "function": function}
