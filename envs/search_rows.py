"""Published questions as tasks: what is asked, every answer that is accepted, and its context.

| form | the question, its answers | the passages that it brings |
|---|---|---|
| HotpotQA, 2WikiMultihopQA | `question`, `answer` | `context`: titles with their sentences |
| MuSiQue | `question`, `answer`, `answer_aliases` | `paragraphs` |
| NQ-open, WebQuestions | `question`, `answer` or `answers`: a list | |
| TriviaQA | `question`, `answer`: `value` and `aliases` | |
| PopQA | `question`, `possible_answers` | |
| SQuAD | `question`, `answers`: `text` | `context`: a text, `title` |
| BoolQ, StrategyQA | `question`, `answer`: true or false, for yes or no | `passage` |
| SimpleQA, FRAMES, GAIA | `problem`, `prompt` or `question`, `answer` or `final answer` | |
| FlashRAG | `question`, `golden_answers` | |
| Search-R1 | `question`, `golden_answers`, or `prompt` and `reward_model` | |
| the house's own | `prompt`, `answer` or `answers` | `passages`: `title` and `text` |

Case does not count (Bamboogle's `Question`). The first column of `_QUESTIONS` and of `_ANSWERS`
that a row has is taken. Search-R1's `prompt`, which holds the whole protocol, is what is asked in
the dialect `search_r1` only; elsewhere the question is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from qwq_env.errors import UsageError, brief
from qwq_env.files.jsonl import read_array
from qwq_env.grading.short_answer import normalized
from qwq_env.task import Task, prompted_row
from qwq_env.tasks.rows import found_columns, nearest_form

_QUESTIONS: Final = ("question", "prompt", "query", "problem")
_ANSWERS: Final = (
    "golden_answers", "answers", "possible_answers", "answer", "gold_answer", "final_answer",
    "final answer", "reward_model", "target",
)  # fmt: skip
_INNER: Final = ("ground_truth", "target", "text", "value")
"""Where in an object of an answer column the texts are."""
_ALIASES: Final = ("answer_aliases", "aliases", "a_aliases")
_CONTEXTS: Final = ("passages", "context", "paragraphs", "passage", "ctxs")
_TEXTS: Final = ("text", "paragraph_text", "contents", "paragraph")
_KEPT: Final = ("level", "type", "data_source", "difficulty", "supporting_facts", "category")
_FORMS: Final[Mapping[str, Sequence[str]]] = {
    "HotpotQA": ("question", "answer", "context"),
    "NQ-open": ("question", "answer"),
    "WebQuestions": ("question", "answers"),
    "Search-R1": ("question", "golden_answers"),
    "Search-R1 (verl)": ("prompt", "reward_model"),
    "the house's own": ("prompt", "answer"),
}
_DEEPEST: Final = 6


def search_row(
    row: Mapping[str, Any], task_id: str, *, instruction: str = "", own_prompt: bool = False
) -> Task:
    """Read a row of any form above.

    `Task.answer` is the first accepted answer; `metadata` has them all in `answers`, and the
    `passages` that the row brings as pairs of title and text. `instruction` closes the question;
    with `own_prompt` a `prompt` of messages is asked as it is instead.

    Raises `UsageError` for a row of no form (columns found, columns wanted, the nearest form), and
    for answers that none could be held against.
    """
    columns: dict[str, Any] = {}
    for name, value in row.items():
        columns.setdefault(str(name).lower(), value)
    questions = [name for name in _QUESTIONS if columns.get(name) is not None]
    answered = [name for name in _ANSWERS if columns.get(name) is not None]
    if not questions or not answered:
        wanted = f"a question ({', '.join(_QUESTIONS)}) and an answer ({', '.join(_ANSWERS)})"
        raise UsageError(
            f"{found_columns(row)}; expected {wanted}; {nearest_form(columns, _FORMS)}"
        )
    accepted = _accepted(columns, answered)
    metadata = {name: columns[name] for name in _KEPT if columns.get(name) is not None}
    metadata["answers"] = accepted
    if passages := _passages(columns):
        metadata["passages"] = passages
    identity = _identity(columns, task_id)
    prompt = columns.get("prompt")
    if isinstance(prompt, list) and (own_prompt or questions[0] == "prompt"):
        asked = prompted_row({"prompt": prompt}, identity)
        return Task(identity, asked.prompt, accepted[0], asked.messages, metadata)
    question = columns[questions[0]]
    if not isinstance(question, str) or not question.strip():
        raise UsageError(f"{questions[0]}: {brief(question)}; expected a text")
    return Task(identity, question.strip() + instruction, accepted[0], metadata=metadata)


def _accepted(columns: Mapping[str, Any], answered: Sequence[str]) -> list[str]:
    """Return the answers of the first such column that has any, and what they are called else."""
    for name in answered:
        if own := [text for text in _texts(columns[name]) if normalized(text)]:
            aliases = [text for name in _ALIASES for text in _texts(columns.get(name))]
            return [text for text in dict.fromkeys([*own, *aliases]) if normalized(text)]
    shown = brief(columns[answered[0]])
    raise UsageError(f"{answered[0]}: {shown}; expected a text of letters or digits, or several")


def _identity(columns: Mapping[str, Any], task_id: str) -> str:
    """Return a row's id, behind the name of the data set that it was taken from.

    Where several are joined, as in Search-R1's, each counts its rows from 0.
    """
    known = next((columns[name] for name in ("id", "_id") if columns.get(name) is not None), None)
    if known is None:
        return task_id
    source = columns.get("data_source")
    return f"{source}/{known}" if isinstance(source, str) and source else str(known)


def is_array(path: Path) -> bool:
    """Say whether a file holds one JSON array, as HotpotQA's own do."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")


def array_rows(path: Path) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield the rows of an array, each with where it stands and an id.

    Raises `UsageError` for a file that is none, and for an entry that is no object.
    """
    for number, row in enumerate(read_array(path, field="tasks")):
        if not isinstance(row, dict):
            raise UsageError(f"{path} row {number}: {brief(row)}; expected an object")
        yield f"{path} row {number}", f"{path.stem}/{number}", row


def accepted_answers(task: Task) -> list[str]:
    """Return the answers that are accepted: of the task's metadata, or its answer or answers.

    Raises `UsageError` for a task without any.
    """
    found = list(_texts(task.metadata.get("answers", task.answer)))
    if not any(map(normalized, found)):
        shown = brief(task.answer)
        raise UsageError(f"task {brief(task.id)[1:-1]}: answer: {shown}; expected a text or texts")
    return found


def _texts(value: Any, depth: int = 0) -> Iterator[str]:
    """Yield the texts of an answer column, whichever way it holds them."""
    if isinstance(value, str) and value.lstrip()[:2] in ('["', '{"'):
        value = _decoded(value)
    if value is None or depth > _DEEPEST:
        return
    if isinstance(value, bool):
        value = ["yes", "true"] if value else ["no", "false"]
    if isinstance(value, str | int | float):
        if str(value).strip():
            yield str(value).strip()
    elif isinstance(value, Mapping):
        for name in (*_INNER, *_ALIASES):
            yield from _texts(value.get(name), depth + 1)
    elif isinstance(value, Sequence):
        for each in value:
            yield from _texts(each, depth + 1)


def _decoded(text: str) -> Any:
    """Return the list that PopQA and exported tables write as text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _passages(columns: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return title and text of every passage that a row brings."""
    name = next((name for name in _CONTEXTS if columns.get(name)), None)
    if name is None:
        return []
    context = columns[name]
    if isinstance(context, str):
        decoded = _decoded(context) if context.lstrip()[:1] in "[{" else context
        if isinstance(decoded, str):  # SQuAD's is one text
            return [(str(columns.get("title") or ""), decoded)]
        context = decoded
    if isinstance(context, Mapping) and "title" in context:
        # A column of a table: all titles, and all sentences.
        texts: Any = context.get("sentences") or context.get("text") or context.get("content")
        titles = context["title"]
        lists = isinstance(titles, list) and isinstance(texts, list)
        if not lists or len(titles) != len(texts):
            raise UsageError(f"{name}: {brief(context)}; expected as many titles as texts")
        context = list(zip(titles, texts, strict=True))
    if not isinstance(context, list):
        raise UsageError(f"{name}: {brief(context)}; expected passages with title and text")
    return [_passage(name, each) for each in context]


def _passage(name: str, each: Any) -> tuple[str, str]:
    title, text = "", None
    if isinstance(each, Mapping):
        title = each.get("title") or ""
        text = next((each[key] for key in _TEXTS if each.get(key)), None)
    elif isinstance(each, list | tuple) and len(each) == 2:
        title, text = each
    elif isinstance(each, str):
        text = each
    if isinstance(text, list) and all(isinstance(sentence, str) for sentence in text):
        text = " ".join(sentence.strip() for sentence in text)
    if not isinstance(text, str) or not isinstance(title, str):
        raise UsageError(f"{name}: {brief(each)}; expected a passage with title and text")
    return title, text
