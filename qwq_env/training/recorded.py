"""Transcripts of conversations that lie in a file, for a cold start.

A row is a conversation in the chat form, `{"messages": [...]}`, whose assistant messages have text,
`reasoning_content`, `tool_calls`; or it is one of GSM8K, `{"question", "answer"}`, whose solution
carries its calculations as `<<48/2=24>>` (Cobbe et al. 2021, arXiv:2110.14168). Each of those
becomes a call of the calculator, and what stands before it the thinking. Rows whose calculations
our calculator does not confirm or cannot read, and those without any, are left out.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qwq_env.dialect.base import Message, Piece
from qwq_env.env import ToolEnv
from qwq_env.envs.math import math_row
from qwq_env.errors import ToolError, UsageError, brief
from qwq_env.files.jsonl import read_objects
from qwq_env.tools.calculator import Calculator
from qwq_env.training.demonstrations import check_dialect, written
from qwq_env.training.transcript import Part, Transcript
from qwq_env.turn import CallResult

_FIELD = "cold_start.demonstrations"
_ANNOTATION = re.compile(r"<<([^=<>]+)=([^<>]*)>>")
_BRACKETS = re.compile("<<|>>")
_SUM_SAID = re.compile(r"[\s$(]*[\d.,]+[\d\s.,()$%*/x+\-]*=\s*\$?$")
"""A computation at the end of a thought, which the call behind it says again."""
_CLOSE_ENOUGH = 0.02


class Recorded:
    """The conversations of `path`, as an episode in `env` would have them."""

    def __init__(self, path: str | Path, env: ToolEnv, *, seed: int = 0) -> None:
        """Raises `UsageError` for a file that is none, and for its first row of another form."""
        check_dialect(env)
        self._env = env
        self._seed = seed
        self._transcripts: list[Transcript] = []
        for number, row in read_objects(Path(path), field=_FIELD):
            try:
                made = self._read(row)
            except UsageError as error:
                raise UsageError(f"{_FIELD}: {path}:{number}: {error}") from None
            if made is not None:
                self._transcripts.append(made)
        if not self._transcripts:
            raise UsageError(f"{_FIELD}: {path}; expected conversations with an assistant's turn")

    def transcripts(self, count: int) -> list[Transcript]:
        """Return `count` of them, drawn without return; all, if there are no more."""
        count = min(count, len(self._transcripts))
        return random.Random(self._seed).sample(self._transcripts, count)

    def _read(self, row: Mapping[str, Any]) -> Transcript | None:
        if "messages" in row:
            return self._conversation(_messages(row["messages"]))
        if "question" in row and "answer" in row:
            messages = self._solution(row)
            return None if messages is None else self._conversation(messages)
        columns = ", ".join(row)
        raise UsageError(f"{brief(columns)}; expected messages, or GSM8K's question and answer")

    def _conversation(self, messages: Sequence[Message]) -> Transcript:
        """Render each stretch of messages of one author as an episode does."""
        settings = self._env.settings
        dialect = settings.dialect
        if settings.system_prompt is not None and messages[0]["role"] != "system":
            messages = [{"role": "system", "content": settings.system_prompt}, *messages]
        schemas = [tool.schema() for tool in settings.tools]
        parts: list[Part] = []
        for author, stretch in _stretches(messages):
            if author == "model":
                text = written(stretch[0]) + dialect.end_of_turn
                parts.append(Part((Piece(text, control=True),), "model"))
            elif not parts:
                parts.append(Part(tuple(dialect.render(stretch, schemas)), "task"))
            elif author == "tool":
                results = [CallResult(str(m.get("name", "")), m["content"]) for m in stretch]
                parts.append(Part(tuple(dialect.render_results(results, closed=True)), "tool"))
            else:
                parts.append(Part(tuple(dialect.render_reply(stretch, closed=True)), "user"))
        while parts[-1].author != "model":
            parts.pop()
        return Transcript(tuple(parts))

    def _solution(self, row: Mapping[str, Any]) -> list[Message] | None:
        """Return a solution with annotations as a conversation, None if it has no (right) ones."""
        tools = self._env.settings.tools
        calculator = next((tool for tool in tools if isinstance(tool, Calculator)), None)
        if calculator is None:
            raise UsageError("GSM8K's calculations; expected the tool 'calculator'")
        task = math_row(row, "")
        solution = str(row["answer"]).rsplit("####", 1)[0].strip()
        if _BRACKETS.search(_ANNOTATION.sub("", solution)):
            return None  # what is no annotation would be taught as a thought
        messages: list[Message] = [{"role": "user", "content": task.prompt}]
        end = 0
        for match in _ANNOTATION.finditer(solution):
            try:
                value = calculator.evaluate(match[1].strip()).split()[-1]
            except ToolError:
                return None
            if not _same(value, match[2]):
                return None
            thought = _SUM_SAID.sub("", solution[end : match.start()].strip()).strip()
            # The result is said once more behind the annotation.
            end = match.end() + len(match[2]) * solution.startswith(match[2], match.end())
            call = {"name": calculator.name, "arguments": {"expression": match[1].strip()}}
            turn = {"role": "assistant", "tool_calls": [{"function": call}]}
            messages += [
                {**turn, "reasoning_content": thought or "Next."},
                {"role": "tool", "name": calculator.name, "content": value},
            ]
        if not end:
            return None
        thought = solution[end:].strip(" .\n") or "That is the answer."
        answer = self._env.phrase_answer(str(task.answer))
        return [*messages, {"role": "assistant", "reasoning_content": thought, "content": answer}]


def _stretches(messages: Sequence[Message]) -> list[tuple[str, list[Message]]]:
    """Return the messages by author; each of the model's is a turn of its own."""
    authors = {"assistant": "model", "tool": "tool"}
    found: list[tuple[str, list[Message]]] = []
    for message in messages:
        author = authors.get(message["role"], "user")
        if author != "model" and found and found[-1][0] == author:
            found[-1][1].append(message)
        else:
            found.append((author, [message]))
    return found


def _messages(value: Any) -> list[Message]:
    """Check the form of a conversation; see the module."""
    if not isinstance(value, list) or not value:
        raise UsageError(f"messages: {brief(value)}; expected a list of messages")
    for message in value:
        role = message.get("role") if isinstance(message, Mapping) else None
        if role not in ("system", "user", "assistant", "tool"):
            raise UsageError(f"messages: {brief(message)}; expected a role and its content")
        if role != "assistant" and not isinstance(message.get("content"), str):
            raise UsageError(f"messages: {role}: {brief(message.get('content'))}; expected a text")
        if role == "assistant":
            _check_turn(message)
    if value[0]["role"] not in ("system", "user"):
        raise UsageError(f"messages: {value[0]['role']} is first; expected system or user")
    if not any(message["role"] == "assistant" for message in value):
        raise UsageError("messages: no assistant's; expected one or more")
    return list(value)


def _check_turn(message: Message) -> None:
    for name in ("content", "reasoning_content"):
        if not isinstance(message.get(name), str | None):
            raise UsageError(f"messages: {name}: {brief(message[name])}; expected a text")
    calls = message.get("tool_calls") or ()
    if not isinstance(calls, list | tuple):
        raise UsageError(f"messages: tool_calls: {brief(calls)}; expected a list")
    for call in calls:
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise UsageError(f"messages: tool_calls: {brief(call)}; expected a function's name")
        if not isinstance(_arguments(function), Mapping):
            raise UsageError(f"messages: tool_calls: {brief(call)}; expected arguments by name")


def _arguments(function: Mapping[str, Any]) -> Any:
    arguments = function.get("arguments")
    try:
        return json.loads(arguments) if isinstance(arguments, str) else arguments
    except ValueError:
        return None


def _same(shown: str, told: str) -> bool:
    try:
        return abs(float(shown) - float(told.replace(",", ""))) < _CLOSE_ENOUGH
    except ValueError:
        return False
