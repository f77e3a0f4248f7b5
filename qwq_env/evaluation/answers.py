"""Stored answers as a policy: what a model said elsewhere is judged as if it were said here.

| rows | a task by | what was said |
|---|---|---|
| the house's own | `task_id` or `prompt` | `response` |
| QwenLM/QwQ, eval/ | `prompt` | `gen`: a text for each sample |
| LiveBench | `question_id` | `answer` |

A `response` is a text, an assistant message, or a list of those, the turns of one episode. Several
rows of a task are its samples, in their order. `id`, `key` and `question_id` name a task as
`task_id` does, `completion` and `output` are as `response`, and `responses` as `gen`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from qwq_env.chat_model import ChatModel, ChatReply, Sampling, Unwanted
from qwq_env.dialect.base import Message, Messages, Schemas
from qwq_env.envs.arithmetic import INSTRUCTION
from qwq_env.errors import UsageError, brief
from qwq_env.evaluation.meter import TURNS_A_SEED
from qwq_env.files.jsonl import read_objects
from qwq_env.messages import read_native_call
from qwq_env.rollout.engine import Assignment
from qwq_env.task import Task
from qwq_env.tasks.rows import found_columns, nearest_form

_IDENTITIES: Final = ("task_id", "id", "key", "question_id", "prompt")
_SAMPLES: Final = ("gen", "responses")
_RESPONSES: Final = ("response", "completion", "output", "answer")
_FORMS: Final = {
    "the house's own": ("task_id", "response"),
    "QwenLM/QwQ": ("prompt", "gen"),
    "LiveBench": ("question_id", "answer"),
}

_Turns = Sequence[str | Message]


class StoredRow(NamedTuple):
    """The turns of one stored episode, and the names by which its row may mean a task."""

    names: Mapping[str, str]
    turns: _Turns


class Matched(NamedTuple):
    """Stored episodes by the seed of the episode to be played, and how many are of no task."""

    turns: Mapping[int, _Turns]
    of_no_task: int


def read_answers(path: Path) -> list[StoredRow]:
    """Read a file of answers. Raises `UsageError`, with `FILE:LINE`, for a row that is none."""
    found: list[StoredRow] = []
    for number, row in read_objects(path, field="answers", constants=True):
        try:
            found += _rows(row)
        except UsageError as error:
            raise UsageError(f"{path}:{number}: {error}") from None
    if not found:
        raise UsageError(f"answers: {path}: no rows; expected at least one")
    return found


def most_samples(rows: Sequence[StoredRow]) -> int:
    """Return how many answers there are to the task that has the most."""
    counts: defaultdict[tuple[tuple[str, str], ...], int] = defaultdict(int)
    for row in rows:
        counts[tuple(row.names.items())] += 1
    return max(counts.values())


def match_answers(rows: Sequence[StoredRow], assignments: Sequence[Assignment]) -> Matched:
    """Give each episode the next answer to its task.

    Raises `UsageError` if no row is of any of the tasks, showing a name of each side.
    """
    by_name: defaultdict[tuple[str, str], list[Assignment]] = defaultdict(list)
    for assignment in assignments:
        for name in _names(assignment.task):
            by_name[name].append(assignment)
    turns: dict[int, _Turns] = {}
    of_no_task = 0
    for row in rows:
        wanted = [
            each
            for kind, text in row.names.items()
            for each in by_name.get(("prompt" if kind == "prompt" else "id", text.strip()), ())
        ]
        of_no_task += not wanted
        free = next((each for each in wanted if each.seed not in turns), None)
        if free is not None:
            turns[free.seed] = row.turns
    if not turns and assignments:
        named = next(iter(rows[0].names.items()))
        raise UsageError(
            f"answers: none is of a task; the first row has {named[0]} {brief(named[1])}, the first"
            f" task is {brief(assignments[0].task.id)}: {brief(assignments[0].task.prompt)}"
        )
    return Matched(turns, of_no_task)


class StoredAnswers(ChatModel):
    """Says in each episode what is stored for it; an episode without an answer is lost."""

    def __init__(self, turns: Mapping[int, _Turns]) -> None:
        self._turns = turns

    async def reply(
        self,
        messages: Messages,
        tools: Schemas,
        *,
        max_tokens: int,
        sampling: Sampling,
        seed: int,
        stop: Sequence[str] = (),
    ) -> ChatReply:
        """Return the next stored turn, an empty one behind the last."""
        episode, number = divmod(seed, TURNS_A_SEED)
        turns = self._turns.get(episode)
        if turns is None:
            raise Unwanted("there is no stored answer to this task")
        if number >= len(turns):
            return ChatReply("", "")
        turn = turns[number]
        return ChatReply("", turn) if isinstance(turn, str) else _reply(turn, number)


def _reply(message: Message, number: int) -> ChatReply:
    native: list[dict[str, Any]] = []
    for index, call in enumerate(message.get("tool_calls") or ()):
        function: Mapping[str, Any] = call["function"]
        given = function.get("arguments", {})
        written = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
        function = {"name": function["name"], "arguments": written}
        id_ = f"call{number * 100 + index:05d}"
        native.append({"id": id_, "type": "function", "function": function})
    requests = tuple(
        read_native_call(call["function"]["name"], call["function"]["arguments"]) for call in native
    )
    thinking = message.get("reasoning_content") or message.get("reasoning") or ""
    return ChatReply(thinking, message.get("content") or "", requests, tuple(native))


def _rows(row: Mapping[str, Any]) -> list[StoredRow]:
    names = {
        name: row[name] if isinstance(row[name], str) else str(row[name])
        for name in _IDENTITIES
        if isinstance(row.get(name), str | int)
    }
    if isinstance(prompt := row.get("prompt"), list) and prompt:
        names["prompt"] = str(prompt[-1].get("content")) if isinstance(prompt[-1], dict) else ""
    several = next((name for name in _SAMPLES if name in row), None)
    single = next((name for name in _RESPONSES if name in row), None)
    if not names or (several is None and single is None):
        raise UsageError(
            f"{found_columns(row)}; expected a task ({', '.join(_IDENTITIES)}) and what was said"
            f" ({', '.join((*_RESPONSES, *_SAMPLES))}); {nearest_form(row, _FORMS)}"
        )
    if several is None:
        assert single is not None
        return [StoredRow(names, _turns(single, row[single]))]
    if not isinstance(row[several], list):
        raise UsageError(f"{several}: {brief(row[several])}; expected a list of answers")
    return [StoredRow(names, _turns(several, each)) for each in row[several]]


def _turns(name: str, value: Any) -> _Turns:
    turns = value if isinstance(value, list) else [value]
    for turn in turns:
        if not isinstance(turn, str) and not _is_message(turn):
            raise UsageError(
                f"{name}: {brief(turn)}; expected a text, an assistant message, or a list of them"
            )
    return turns


def _is_message(turn: Any) -> bool:
    if not isinstance(turn, dict) or turn.get("role", "assistant") != "assistant":
        return False
    calls = turn.get("tool_calls") or []
    texts = (turn.get("content"), turn.get("reasoning_content"), turn.get("reasoning"))
    return (
        isinstance(calls, list)
        and all(
            isinstance(call, dict)
            and isinstance(call.get("function"), dict)
            and isinstance(call["function"].get("name"), str)
            for call in calls
        )
        and all(text is None or isinstance(text, str) for text in texts)
    )


def _names(task: Task) -> set[tuple[str, str]]:
    """Return by what a row may mean a task: its id, its prompt, whole or without what a
    benchmark adds, and the row's own columns."""
    bare = task.prompt.removesuffix(INSTRUCTION)
    names = {("id", task.id), ("prompt", task.prompt.strip()), ("prompt", bare.strip())}
    for column in _IDENTITIES:
        value = task.metadata.get(column)
        if isinstance(value, str | int):
            names.add(("prompt" if column == "prompt" else "id", str(value).strip()))
    for column in ("problem", "question", "question_content"):
        if isinstance(value := task.metadata.get(column), str):
            names.add(("prompt", value.strip()))
    return names
