"""Tasks of the Berkeley Function-Calling Leaderboard, as it publishes them.

A file of questions (`BFCL_v4_parallel.json`) has its answers in another: of the same name in the
folder `possible_answer` beside it, or beside it with `possible_answer_` in front. Rows that have
their `ground_truth` themselves need none, nor do those of `irrelevance`, where nothing is called.

| rows        | columns                                            | their answer           |
|-------------|----------------------------------------------------|------------------------|
| single-turn | `question`, `function` (documents)                 | a call for each entry  |
| multi-turn  | `question`, `involved_classes`, `initial_config`   | the calls of each turn |

A multi-turn row may have functions in `missed_function`, by the turn in which they are shown. Until
then the model is not told of them, and they do not run. That turn is empty in `question`: the user
says that they are there, in a message that begins with them. Rows of `multi_turn_miss_param` need
nothing of the kind: what a turn leaves out, the next one says.

Left out, and told of: `live_relevance`, which has no answers; Java and JavaScript, whose arguments
are source; memory and web search, which have neither form.
"""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final

from qwq_env.envs.function_call.gold import declining, episode_calls, possible_calls
from qwq_env.envs.function_call.services import OWN
from qwq_env.envs.function_call.tools import recorded, services_of
from qwq_env.errors import UsageError, brief
from qwq_env.files.jsonl import read_objects
from qwq_env.grading.calls.call import Call
from qwq_env.grading.calls.match import match_calls
from qwq_env.grading.calls.multi_turn import EpisodeCheck
from qwq_env.grading.calls.row import check_row
from qwq_env.schema.arguments import check_arguments
from qwq_env.task import ListTaskSet, Task, load_jsonl

_log = logging.getLogger(__name__)

_PUBLISHED: Final = re.compile(r"BFCL_v\d+_(?P<category>\w+)\.jsonl?")
_ANSWERS: Final = "possible_answer"
_FORMS: Final[Mapping[str, tuple[str, ...]]] = {
    "single-turn": ("id", "question", "function"),
    "multi-turn": ("id", "question", "involved_classes", "initial_config"),
    "answers": ("id", "ground_truth"),
}
_OFFER: Final = (
    "Functions that were missing can be called from now on. Please do now what I asked for."
)
_SOURCE: Final = ("simple_java", "java", "simple_javascript", "javascript")


def bfcl_tasks(path: Path, *, categories: Sequence[str] = (), strict: bool = False) -> ListTaskSet:
    """Return the tasks of a file, or of all files of a folder; of some `categories` only, if named.

    A category is a row's id without its number: `simple_python`, `live_multiple`,
    `multi_turn_base`. Rows that are no task are left out and told of; `strict` refuses them.

    Raises `UsageError` for what cannot be read, and `BfclMissing` for multi-turn rows where the
    package with their services is not installed.
    """
    if path.is_file():
        return ListTaskSet(_of_file(path, categories, strict))
    tasks: list[Task] = []
    refused: list[str] = []
    for file in _files_of(path, categories):
        try:
            tasks += _of_file(file, categories, strict)
        except UsageError as error:
            if strict:
                raise
            refused.append(str(error))
    if not tasks:
        raise UsageError(refused[0] if refused else f"tasks: {path}: no rows of {categories}")
    for problem in refused:
        _log.warning("a file is left out: %s", problem)
    return ListTaskSet(tasks)


def _files_of(folder: Path, categories: Sequence[str]) -> list[Path]:
    files = [
        path
        for path in sorted(folder.glob("*.json*"))
        if (found := _PUBLISHED.fullmatch(path.name))
        and (not categories or found["category"] in categories)
    ]
    if not files:
        wanted = f"BFCL_v4_ and one of {', '.join(categories)}" if categories else "BFCL_v4_*.json"
        there = ", ".join(sorted(path.name for path in folder.iterdir())[:5]) or "nothing"
        raise UsageError(f"tasks: {folder} holds {there}; expected {wanted}")
    return files


def _of_file(path: Path, categories: Sequence[str], strict: bool) -> list[Task]:
    answers = _answers_of(path)
    wanted = frozenset(categories)

    def read(row: Mapping[str, Any], task_id: str) -> Task:
        return read_row(row, task_id, answers)

    tasks = list(load_jsonl(path, read, strict=strict))
    chosen = [task for task in tasks if not wanted or task.metadata["category"] in wanted]
    if not chosen:
        there = ", ".join(sorted({task.metadata["category"] for task in tasks}))
        raise UsageError(f"categories: {', '.join(categories)}; {path.name} has {there}")
    return chosen


def _answers_of(path: Path) -> dict[str, Any] | None:
    """Return the answers to a file's rows by their ids, None where no file holds them."""
    for file in (path.parent / _ANSWERS / path.name, path.parent / f"{_ANSWERS}_{path.name}"):
        if file.is_file():
            rows = read_objects(file, field="possible answers")
            return {str(row.get("id")): row.get("ground_truth") for _, row in rows}
    return None


def read_row(row: Mapping[str, Any], task_id: str, answers: Mapping[str, Any] | None) -> Task:
    """Return the task of a row; its answer is in `answers`, or its own.

    Raises `UsageError` for a row of no known form, without an answer, or with one that the graders
    do not take.
    """
    if "question" not in row or not ({"function", "involved_classes"} & row.keys()):
        raise UsageError(_no_form(row))
    identity = str(row.get("id", task_id))
    category = identity.rpartition("_")[0]
    turns = _turns(row["question"])
    gold = _gold(row, identity, category, answers)
    if "involved_classes" in row:
        return _episode(row, identity, category, turns, gold)
    if category in _SOURCE:
        raise UsageError(f"{category}: arguments are source; expected those of Python's rows")
    if len(turns) != 1:
        raise UsageError(f"question: {len(turns)} turns; expected one")
    functions = _functions(row["function"])
    check_row({"id": identity, "function": functions, "ground_truth": gold, "calls": []})
    recorded(functions)
    calls = possible_calls(gold, functions)
    if (score := match_calls(calls, gold, functions)).value != 1.0:
        raise UsageError(f"ground_truth: no call is paid by it ({score.reason}, {score.detail})")
    metadata = {"category": category, "function": functions, "ground_truth": gold}
    answer = _written(calls) or declining(functions)
    return _task(identity, turns[0], answer, metadata)


def _episode(
    row: Mapping[str, Any],
    identity: str,
    category: str,
    turns: Sequence[list[dict[str, Any]]],
    gold: list[Any],
) -> Task:
    if len(turns) != len(gold):
        raise UsageError(f"ground_truth: {len(gold)} turns; expected {len(turns)}, as in question")
    kept = ("involved_classes", "initial_config", "excluded_function")
    metadata = {name: row[name] for name in kept if row.get(name)}
    follow_ups = _with_offers(turns, _missed(row, gold))[1:]
    metadata |= {"category": category, "ground_truth": gold, "follow_ups": follow_ups}
    metadata.setdefault("initial_config", {})
    metadata["loose_arguments"] = _check_episode(identity, metadata)
    return _task(identity, turns[0], "; ".join(call for turn in gold for call in turn), metadata)


def _missed(row: Mapping[str, Any], gold: Sequence[Any]) -> dict[int, list[str]]:
    """Return the functions that are shown in a later turn, by that turn.

    One that a gold call before it needs (of BFCL's rows one has such) is there from the beginning.
    In tables the turns of other rows are there too, with None.
    """
    given = _decoded(row.get("missed_function")) or {}
    turns = {str(turn): turn for turn in range(1, len(gold))}
    table = given if isinstance(given, dict) else {"": given}
    said = {str(key): names for key, names in table.items() if names is not None}
    if not said.keys() <= turns.keys():
        expected = f'names of functions by their turn, "1" to "{len(gold) - 1}"'
        raise UsageError(f"missed_function: {brief(given)}; expected {expected}")
    found: dict[int, list[str]] = {}
    known: set[str] = set()
    for key in sorted(said, key=int):
        names, turn = said[key], turns[key]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UsageError(f"missed_function, {key}: {brief(names)}; expected a list of names")
        known |= {str(call).partition("(")[0].strip() for each in gold[:turn] for call in each}
        found[turn] = [name for name in dict.fromkeys(names) if name not in known]
        known |= {*names}
    return found


def _with_offers(
    turns: Sequence[list[dict[str, Any]]], missed: Mapping[int, Sequence[str]]
) -> list[list[dict[str, Any]]]:
    """Return the turns; in those that show functions, published empty, the user says so."""
    made = []
    for place, messages in enumerate(turns):
        if bool(messages) == (place in missed):
            what = "a message, and functions are shown" if messages else "no message"
            raise UsageError(f"question, turn {place}: {what}; expected one, or missed_function")
        offer = {"role": "user", "content": _OFFER, "tools": [*missed.get(place, ())]}
        made.append(messages or [offer])
    return made


def held_back(row: Mapping[str, Any]) -> list[str]:
    """Return the functions that are not there before one of the user's `follow_ups` offers them."""
    messages = chain.from_iterable(row.get("follow_ups", ()))
    return [name for message in messages for name in message.get("tools", ())]


def _check_episode(identity: str, row: Mapping[str, Any]) -> list[list[str]]:
    """Return the arguments, each as function and name, that gold calls give of another type than
    their documents: BFCL runs such calls.

    Raises `UsageError` for a multi-turn task that cannot be played to its end.
    """
    documents = EpisodeCheck({**row, "id": identity}, row["ground_truth"], OWN).services.documents
    tools = {tool.name: tool for tool in services_of(row, OWN)}
    for name, times in Counter(held_back(row)).items():
        if name not in tools or times > 1:
            what = "is offered twice" if name in tools else "is no function of the row"
            raise UsageError(f"missed_function: {brief(name)} {what}")
    loose = []
    for call in chain.from_iterable(episode_calls(row["ground_truth"], documents)):
        if call.name not in tools:
            raise UsageError(f"ground_truth: {brief(call.name)} is no function of the row")
        properties = tools[call.name].parameters["properties"]
        for name, value in call.arguments.items():
            alone = {"type": "object", "properties": {name: properties.get(name, {})}}
            read, problem = check_arguments(alone, {name: value})
            if (problem or read[name] != value) and [call.name, name] not in loose:
                loose.append([call.name, name])
    return loose


def _task(
    identity: str, messages: Sequence[Mapping[str, Any]], answer: str, metadata: dict[str, Any]
) -> Task:
    return Task(identity, str(messages[-1]["content"]), answer, tuple(messages), metadata)


def _written(calls: Sequence[Call]) -> str:
    given = [", ".join(f"{n}={v!r}" for n, v in call.arguments.items()) for call in calls]
    return ", ".join(f"{call.name}({each})" for call, each in zip(calls, given, strict=True))


def _turns(question: Any) -> list[list[dict[str, Any]]]:
    """Return the messages of each turn; a text, or messages, are one turn."""
    turns = [[{"role": "user", "content": question}]] if isinstance(question, str) else question
    if isinstance(turns, list) and turns and all(isinstance(each, dict) for each in turns):
        turns = [turns]
    if not isinstance(turns, list) or not turns or not all(isinstance(t, list) for t in turns):
        raise UsageError(f"question: {brief(question)}; expected the messages of each turn")
    for message in (message for turn in turns for message in turn):
        content = message.get("content") if isinstance(message, dict) else None
        if not isinstance(content, str) or message.get("role") not in _ROLES:
            raise UsageError(
                f"question: {brief(message)}; expected a message with role and content"
            )
    return turns


_ROLES: Final = ("system", "user", "assistant")


def _gold(
    row: Mapping[str, Any], identity: str, category: str, answers: Mapping[str, Any] | None
) -> list[Any]:
    if "irrelevance" in category:
        return []
    gold = row["ground_truth"] if "ground_truth" in row else (answers or {}).get(identity)
    if gold is None:
        what = "no possible answer" if answers is not None else "no file of possible answers"
        places = f"{_ANSWERS}/FILE or {_ANSWERS}_FILE, beside FILE, or the column ground_truth"
        raise UsageError(f"{identity}: {what}; expected {places}")
    if not isinstance(gold, list):
        raise UsageError(f"ground_truth: {brief(gold)}; expected a list")
    return gold


def _functions(given: Any) -> list[dict[str, Any]]:
    """Return the function documents; tables hold parts of them as JSON."""
    functions = _decoded(given)
    functions = [functions] if isinstance(functions, dict) else functions
    if not isinstance(functions, list) or not functions:
        raise UsageError(f"function: {brief(given)}; expected a list of function documents")
    made = []
    for each in functions:
        if not isinstance(each, dict) or not isinstance(each.get("name"), str):
            raise UsageError(f"function: {brief(each)}; expected an object with a name")
        parameters = _decoded(each.get("parameters"))
        if isinstance(parameters, dict) and isinstance(parameters.get("properties"), str):
            parameters = {**parameters, "properties": _decoded(parameters["properties"])}
        made.append({**each, "parameters": parameters})
    return made


def _decoded(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _no_form(row: Mapping[str, Any]) -> str:
    found = ", ".join(map(str, row))
    name, columns = max(_FORMS.items(), key=lambda form: len(row.keys() & set(form[1])))
    nearest = f"; nearest: {name}" if row.keys() & set(columns) else ""
    return (
        f"columns: {found:.300}; expected question and function, or for multi-turn rows question,"
        f" involved_classes and initial_config{nearest} ({', '.join(columns)})"
    )


def check_task(task: Task) -> None:
    """Raise `UsageError` for a task of a set that cannot be judged."""
    row = task.metadata
    where = f"task {brief(task.id)[1:-1]}"
    form = ("involved_classes", "initial_config") if "involved_classes" in row else ("function",)
    if missing := [name for name in (*form, "ground_truth") if name not in row]:
        found = ", ".join(map(str, row)) or "nothing"
        raise UsageError(f"{where}: metadata holds {found}; expected {', '.join(missing)}")
    try:
        if "involved_classes" in row:
            _check_episode(task.id, row)
        else:
            check_row({"id": task.id, **row, "calls": [], "language": "python"})
            recorded(row["function"])
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None
