"""Tasks of a shop's agent, and the reader of tau2-bench's form.

A task's `metadata` holds what is judged, as tau2-bench names it: `actions`, the calls that leave
the records as they should be, and `communicate_info`, texts that the agent has to say. Its
`instructions` are what a simulated user is told.
"""

from __future__ import annotations

import inspect
import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Final

from qwq_env.checks import is_number
from qwq_env.envs.retail.database import Database
from qwq_env.envs.retail.tools import RetailTools
from qwq_env.errors import UsageError, brief, unknown
from qwq_env.task import ListTaskSet, Task, TaskSet

GREETING: Final = "Hello, I need some help, please."
"""What a customer who is simulated by a model opens with."""

_AT_ONCE: Final = """\
A customer has written down for you all that they would say on the phone; nobody is there to answer.
Where you would ask something, look here. Where you would ask for a yes, take it as given, unless
this says otherwise. When everything is done, write what the customer has to know."""

_ROLE: Final = """\
You play a customer who talks to the agent of a shop, in writing. Be that customer, in short, plain
messages: tell what you want little by little, answer what you are asked, and make nothing up. Never
do the agent's work. When the agent has settled everything, has said that it cannot, or has handed
you over to a person, write ###STOP### and nothing else."""

_PARTS: Final = {
    "reason_for_call": "What it is about",
    "known_info": "What the customer knows",
    "unknown_info": "What the customer does not know",
    "task_instructions": "How the customer behaves",
}

_ADDRESS: Final = {"zip": str}
_SHAPES: Final[dict[str, Any]] = {
    "users": {
        "user_id": str,
        "name": {"first_name": str, "last_name": str},
        "address": _ADDRESS,
        "email": str,
        "payment_methods": {...: {"source": str}},
        "orders": [str],
    },
    "orders": {
        "order_id": str,
        "user_id": str,
        "address": _ADDRESS,
        "items": [{"item_id": str, "product_id": str, "price": float, "options": {...: str}}],
        "status": str,
        "payment_history": [
            {"transaction_type": str, "amount": float, "payment_method_id": str},
        ],
    },
    "products": {
        "product_id": str,
        "name": str,
        "variants": {
            ...: {"item_id": str, "options": {...: str}, "available": bool, "price": float}
        },
    },
}
_WORDS: Final = {str: "a text", float: "a number", bool: "true or false", list: "a list"}


class RetailTaskSet(TaskSet):
    """Tasks, the shop of each, and the policy that its agents keep.

    `scripted` says that the `script` in a task's metadata can play its customer.
    """

    policy: str
    scripted: ClassVar[bool] = False

    @abstractmethod
    def database(self, task: Task) -> Database:
        """Return the shop of `task`, as it is before anybody does anything."""


class Tau2TaskSet(RetailTaskSet):
    """The tasks of a folder as tau2-bench publishes it: db.json, policy.md, tasks.json.

    `split` is one of split_tasks.json, where `"heldout"` stands for its `"test"`, or `"base"` for
    all tasks. `at_once` has the customer's notes in the first message, for an agent that nobody
    answers; without it that is a greeting.

    Raises `UsageError`, one line with file, field, what was found and what was expected.
    """

    def __init__(self, folder: str | Path, *, split: str = "train", at_once: bool = True) -> None:
        self.folder = Path(folder)
        self.policy = _read(self.folder / "policy.md")
        self._database = _database_of(self.folder / "db.json")
        chosen = _tasks_of(self.folder, split, at_once)
        try:
            self._tasks = ListTaskSet(chosen)
        except UsageError as error:
            raise UsageError(f"{self.folder / 'tasks.json'}: {error}") from None
        self.size = self._tasks.size

    def task(self, index: int) -> Task:
        """Return the task at `index`, in the order of the file."""
        return self._tasks.task(index)

    def find(self, task_id: str) -> Task:
        """Return the task with that published id."""
        return self._tasks.find(task_id)

    def database(self, task: Task) -> Database:
        """Return the one shop of the folder."""
        return self._database


def user_instructions(task: Task) -> str:
    """Return what a model is told that plays the customer of `task`, for `ChatUser`."""
    return f"{_ROLE}\n\n{_notes(task.metadata['instructions'])}"


def _notes(instructions: str | Mapping[str, Any]) -> str:
    if isinstance(instructions, str):
        return instructions
    told = {words: instructions.get(name) for name, words in _PARTS.items()}
    return "\n\n".join(f"{words}: {text}" for words, text in told.items() if text)


def _tasks_of(folder: Path, split: str, at_once: bool) -> list[Task]:
    path = folder / "tasks.json"
    rows = _read_json(path)
    if not isinstance(rows, list) or not rows:
        raise UsageError(f"tasks: {path}: {brief(rows)}; expected a list of tasks")
    tasks = [
        _task(row, f"tasks: {path}, task {number}", at_once) for number, row in enumerate(rows)
    ]
    wanted = _ids_of(folder, split)
    chosen = [task for task in tasks if wanted is None or task.id in wanted]
    if not chosen:
        raise UsageError(f"split: {split!r} of {folder} holds no task; expected one or more")
    return chosen


def _task(row: Any, where: str, at_once: bool) -> Task:
    check_shape(row, {"id": str}, where)
    where = f"{where} ({brief(row['id'])})"
    shape = {"user_scenario": {"instructions": object}, "evaluation_criteria": {"actions": object}}
    check_shape(row, shape, where)
    if row.get("initial_state") is not None:
        raise UsageError(f"{where}, initial_state: {brief(row['initial_state'])}; expected null")
    instructions = row["user_scenario"]["instructions"]
    if not isinstance(instructions, str):
        check_shape(instructions, {"reason_for_call": str}, f"{where}, instructions")
    criteria = row["evaluation_criteria"]
    actions = criteria["actions"] or []
    check_shape(actions, [{"name": str, "arguments": {}}], f"{where}, actions")
    for number, action in enumerate(actions):
        _check_action(action, f"{where}, action {number}")
    said = criteria.get("communicate_info") or []
    check_shape(said, [str], f"{where}, communicate_info")
    metadata = {
        "actions": [{name: action[name] for name in ("name", "arguments")} for action in actions],
        "communicate_info": said,
        "instructions": instructions,
    }
    prompt = f"{_AT_ONCE}\n\n{_notes(instructions)}" if at_once else GREETING
    return Task(row["id"], prompt, ", ".join(said), metadata=metadata)


def _check_action(action: Mapping[str, Any], where: str) -> None:
    known = [name for name in vars(RetailTools) if not name.startswith("_")]
    method = vars(RetailTools).get(action["name"]) if action["name"] in known else None
    if method is None:
        raise unknown(f"{where}, name", action["name"], known)
    try:
        inspect.signature(method).bind(None, **action["arguments"])
    except TypeError as error:
        wanted = ", ".join(list(inspect.signature(method).parameters)[1:])
        raise UsageError(f"{where}, arguments: {error}; expected {wanted}") from None


def _ids_of(folder: Path, split: str) -> Sequence[str] | None:
    """Return the ids of the tasks of a split, None for all."""
    path = folder / "split_tasks.json"
    if split == "base":
        return None
    if not path.exists():
        raise UsageError(f"split: {brief(split)}, but {path} is not there; expected 'base' for all")
    splits = _read_json(path)
    check_shape(splits, {...: [str]}, f"split: {path}")
    name = "test" if split == "heldout" and "heldout" not in splits else split
    if name not in splits:
        raise unknown("split", split, splits)
    ids: list[str] = splits[name]
    return ids


def _database_of(path: Path) -> Database:
    # Environments beside each other, of a vector environment or of two splits, share one.
    return _loaded(path.resolve(), path.stat().st_mtime_ns if path.exists() else 0)


@lru_cache(maxsize=4)
def _loaded(path: Path, stamp: int) -> Database:
    records = _read_json(path)
    check_shape(records, {kind: {...: shape} for kind, shape in _SHAPES.items()}, f"tasks: {path}")
    for user_id, user in records["users"].items():
        for name, method in user["payment_methods"].items():
            if method["source"] == "gift_card":
                where = f"tasks: {path}, users, {user_id}, payment_methods, {name}"
                check_shape(method, {"balance": float}, where)
    return Database(records)


def check_shape(value: Any, shape: Any, where: str) -> None:
    """Raise `UsageError` unless a value of JSON has a shape.

    A shape is a type (`float` is any number, `object` anything), a list of one shape for each
    entry, or an object: of a shape for each name that must be there, or of one for every name
    (`{...: shape}`).
    """
    if isinstance(shape, list):
        if not isinstance(value, list):
            raise UsageError(f"{where}: {brief(value)}; expected a list")
        for number, entry in enumerate(value):
            check_shape(entry, shape[0], f"{where}, {number}")
    elif isinstance(shape, dict):
        if not isinstance(value, dict):
            raise UsageError(f"{where}: {brief(value)}; expected an object")
        for name in value if ... in shape else shape:
            if name not in value:
                found = ", ".join(list(value)[:8]) or "nothing"
                raise UsageError(f"{where}: no {name}; found {found}")
            check_shape(value[name], shape[... if ... in shape else name], f"{where}, {name}")
    elif not (is_number(value) if shape is float else isinstance(value, shape)):
        raise UsageError(f"{where}: {brief(value)}; expected {_WORDS[shape]}")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        wanted = "a folder with db.json, policy.md and tasks.json, as tau2-bench publishes them"
        raise UsageError(f"tasks: {path}: {error.strerror}; expected {wanted}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"tasks: {path}: {error.reason}; expected text in UTF-8") from None


def _read_json(path: Path) -> Any:
    try:
        return json.loads(_read(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise UsageError(f"tasks: {path}: {error}; expected JSON") from None
