"""Procedural tasks: a library of functions, and requests for some of them.

Why you would want this: function calling that needs no download, endless and the same on every
machine. Names of functions and parameters are drawn for each task, so the documents must be read.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from qwq_env.envs.function_call.gold import declining
from qwq_env.envs.function_call.operations import OPERATIONS, Operation, Parameter, Value
from qwq_env.envs.function_call.stock_requests import stock_task
from qwq_env.envs.procedural import ProceduralTaskSet, split_of
from qwq_env.grading.calls.value import OMITTED
from qwq_env.task import Task


class _Level(NamedTuple):
    """What a difficulty makes harder.

    `kinds` are how many of 25 tasks are of each kind, `offered` and `calls` from how many to how
    many functions and calls there are, `optional` how often an optional argument is asked for,
    `missing` how often a request among several has no function.
    """

    kinds: Mapping[str, int]
    offered: tuple[int, int]
    calls: tuple[int, int]
    optional: float
    missing: float


def _kinds(*counts: int) -> Mapping[str, int]:
    names = ("simple", "multiple", "parallel", "parallel_multiple", "multi_turn", "irrelevance")
    return dict(zip(names, counts, strict=True))


_LEVELS: Final = (
    _Level(_kinds(6, 8, 4, 1, 5, 1), (2, 3), (2, 2), 0.0, 0.0),
    _Level(_kinds(2, 6, 5, 5, 6, 1), (4, 6), (2, 3), 0.4, 0.3),
    _Level(_kinds(1, 4, 4, 8, 7, 1), (7, 10), (3, 4), 0.6, 0.5),
)
_OPENINGS: Final = {
    "train": ("", "", "Please help me with this. ", "Hello! "),
    "heldout": ("", "I could use your help. ", "Good morning. "),
}


class FunctionCallTaskSet(ProceduralTaskSet):
    """Requests for functions, of one `difficulty`, by index.

    1: one call, or two, of at most three functions; two requests in a row at a stock room. 2: two
    or three calls, up to six functions, dates and times in words, optional arguments, requests that
    no function does among others. 3: more of all. One task in 25 is `irrelevance`: nothing fits.

    `split` is `"train"` or `"heldout"`: which of the two a task belongs to is decided by what is
    asked for, and the two have wordings of their own. `metadata` is that of BFCL's rows.
    """

    family = "library"
    levels = len(_LEVELS)

    def task(self, index: int) -> Task:
        """Return the task at `index` ≥ 0."""
        if index < 0:
            raise IndexError(index)
        chance = random.Random(f"{self.seed}/{self.difficulty}/{self.split}/{index}")
        level = _LEVELS[self.difficulty - 1]
        kind = chance.choices([*level.kinds], [*level.kinds.values()])[0]
        task_id = f"{self._prefix}{index}"
        if kind == "multi_turn":
            return stock_task(chance, task_id, self.difficulty, self.split)
        while True:
            wanted, absent = _drawn(chance, kind, level, self.difficulty)
            if split_of(_content([*wanted, *absent])) == self.split:
                return _task(chance, task_id, kind, level, self.split, wanted, absent)


class _Wish(NamedTuple):
    """An operation that is asked for, with the values of what is said."""

    operation: Operation
    values: Mapping[str, Value]

    def said(self, chance: random.Random, split: str) -> str:
        held_out = split == "heldout"
        text = chance.choice(self.operation.wordings[held_out])
        if self.values.keys() & self.operation.optional.keys():
            text = f"{text} {self.operation.endings[held_out]}"
        return text.format_map({name: value.said for name, value in self.values.items()})


def _drawn(
    chance: random.Random, kind: str, level: _Level, difficulty: int
) -> tuple[list[_Wish], list[_Wish]]:
    """Return what is asked for, and what of it no function does."""
    several = kind.startswith("parallel")
    count = chance.randint(*level.calls) if several else 1
    if kind == "parallel":
        operations = [chance.choice(OPERATIONS)] * count
    else:
        operations = chance.sample(OPERATIONS, count)
    wishes = [_wish(chance, operation, level, difficulty) for operation in operations]
    if kind == "irrelevance":
        return [], wishes
    missing = several and chance.random() < level.missing
    others = [each for each in OPERATIONS if each not in operations]
    return wishes, [_wish(chance, chance.choice(others), level, difficulty)] if missing else []


def _wish(chance: random.Random, operation: Operation, level: _Level, difficulty: int) -> _Wish:
    while True:
        values = {name: each.draw(chance, difficulty) for name, each in operation.required.items()}
        if len({json.dumps(value.argument) for value in values.values()}) == len(values):
            break
    for name, each in operation.optional.items():
        if chance.random() < level.optional:
            values[name] = each.draw(chance, difficulty)
    return _Wish(operation, values)


def _content(wishes: Sequence[_Wish]) -> str:
    return "|".join(
        json.dumps([each.operation.noun, {n: v.argument for n, v in sorted(each.values.items())}])
        for each in wishes
    )


def _task(
    chance: random.Random,
    task_id: str,
    kind: str,
    level: _Level,
    split: str,
    wanted: Sequence[_Wish],
    absent: Sequence[_Wish],
) -> Task:
    named = _offered(chance, kind, level, wanted, absent)
    gold = [_answer(wish, *named[wish.operation.noun]) for wish in wanted]
    asked = [*wanted, *absent]
    chance.shuffle(asked)
    prompt = chance.choice(_OPENINGS[split]) + " ".join(each.said(chance, split) for each in asked)
    functions = [
        _document(operation, *named[operation.noun])
        for operation in OPERATIONS
        if operation.noun in named
    ]
    chance.shuffle(functions)
    metadata = {"category": kind, "function": functions, "ground_truth": gold}
    answer = json.dumps(gold) if gold else declining(functions)
    return Task(task_id, prompt, answer, metadata=metadata)


def _offered(
    chance: random.Random,
    kind: str,
    level: _Level,
    wanted: Sequence[_Wish],
    absent: Sequence[_Wish],
) -> dict[str, tuple[str, dict[str, str]]]:
    """Return the names of the functions that are offered, and of their parameters, by noun.

    Those that are near what is asked for come first: the other one of its domain.
    """
    operations = list({wish.operation.noun: wish.operation for wish in wanted}.values())
    left_out = {wish.operation.noun for wish in absent}
    others = [each for each in OPERATIONS if each not in operations and each.noun not in left_out]
    chance.shuffle(others)
    domains = {wish.operation.domain for wish in (*wanted, *absent)}
    others.sort(key=lambda each: each.domain not in domains)
    count = 1 if kind == "simple" else max(chance.randint(*level.offered), len(operations))
    operations += others[: count - len(operations)]
    style = chance.choice(_STYLES)
    return {
        each.noun: (
            style.format(
                domain=each.domain, verb=each.verb, noun=each.noun, Noun=each.noun.title()
            ),
            {
                name: chance.choice(parameter.names)
                for name, parameter in {**each.required, **each.optional}.items()
            },
        )
        for each in operations
    }


_STYLES: Final = (
    "{verb}_{noun}",
    "{domain}.{verb}_{noun}",
    "{verb}{Noun}",
    "{domain}_{noun}_{verb}",
)


def _document(operation: Operation, name: str, names: Mapping[str, str]) -> dict[str, Any]:
    properties = {
        names[key]: _property(parameter)
        for key, parameter in {**operation.required, **operation.optional}.items()
    }
    parameters = {
        "type": "dict",
        "properties": properties,
        "required": [names[key] for key in operation.required],
    }
    return {"name": name, "description": operation.told, "parameters": parameters}


def _property(parameter: Parameter) -> dict[str, Any]:
    made: dict[str, Any] = {"type": parameter.kind, "description": parameter.told}
    if parameter.kind == "array":
        made["items"] = {"type": "string"}
    if parameter.choices:
        made["enum"] = list(parameter.choices)
    if parameter.default is not None:
        made["default"] = parameter.default
    return made


def _answer(wish: _Wish, name: str, names: Mapping[str, str]) -> dict[str, dict[str, list[Any]]]:
    """Return the possible answer: what is said, and of the rest nothing or the default."""
    allowed = {names[key]: [value.argument] for key, value in wish.values.items()}
    for key, parameter in wish.operation.optional.items():
        allowed.setdefault(names[key], [OMITTED, parameter.default])
    return {name: allowed}
