"""Requests at a stock room, one after the other, and the calls that each of them takes."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from qwq_env.envs.function_call.gold import episode_calls
from qwq_env.envs.function_call.services import StockRoom
from qwq_env.envs.procedural import split_of
from qwq_env.task import Task

_ITEMS: Final = (
    "lamp", "plate", "mug", "rope", "tile", "brush", "candle", "crate", "drill", "hinge", "lock",
    "pulley", "saw", "sponge", "towel", "whistle",
)  # fmt: skip
_TURNS: Final = (2, 3, 5)
_SIZES: Final = (3, 5, 7)


class _Request(NamedTuple):
    """A request: its wordings for training and held-out tasks, and its gold calls."""

    wordings: tuple[tuple[str, ...], tuple[str, ...]]
    values: Mapping[str, Any]
    calls: Sequence[str]


class _Stock:
    """The room as the requests so far leave it, and chance."""

    def __init__(self, chance: random.Random, size: int) -> None:
        self.chance = chance
        names = [f"{letter}{number}" for letter in "ABCDE" for number in range(1, 6)]
        self.items = chance.sample(_ITEMS, size + 1)
        self.room = StockRoom()
        self.room.shelves = {
            shelf: {item: chance.randint(2, 30) for item in chance.sample(self.items, min(3, size))}
            for shelf in chance.sample(names, size)
        }

    def shelf(self, *others: str) -> str:
        """Return a shelf that is none of `others`."""
        return self.chance.choice([name for name in self.room.shelves if name not in others])

    def held(self) -> tuple[str, str, int]:
        """Return an item, the shelf that it is on, and how many are there, at least two."""
        places = [
            (item, shelf, count)
            for shelf, items in self.room.shelves.items()
            for item, count in items.items()
            if count > 1
        ]
        return self.chance.choice(places)


def _list(stock: _Stock) -> _Request:
    shelf = stock.shelf()
    words = (("What is on shelf {shelf}?", "Tell me what shelf {shelf} holds."),
             ("I wonder what we keep on {shelf}.",))  # fmt: skip
    return _Request(words, {"shelf": shelf}, [f"list_shelf(shelf={shelf!r})"])


def _find(stock: _Stock) -> _Request:
    item, _, _ = stock.held()
    words = (("Where is every {item} that we have?", "On which shelves do we have a {item}?"),
             ("Somebody asks for a {item}: look up where they all are.",))  # fmt: skip
    return _Request(words, {"item": item}, [f"find_item(item={item!r})"])


def _add(stock: _Stock) -> _Request:
    item, shelf, count = (
        stock.chance.choice(stock.items),
        stock.shelf(),
        stock.chance.randint(2, 40),
    )
    words = (("New stock has come. Item: {item}, number: {count}. Put it on {shelf}.",
              "Add this to shelf {shelf}: {item}, {count} pieces."),
             ("{count} pieces were delivered ({item}); they belong on {shelf}.",))  # fmt: skip
    values = {"item": item, "shelf": shelf, "count": count}
    return _Request(words, values, [_written("add_items", **values)])


def _remove(stock: _Stock) -> _Request:
    item, shelf, held = stock.held()
    count = stock.chance.randint(1, held - 1)
    words = (("Take {count} pieces off shelf {shelf}: {item}. They are sold.",
              "Sold: {count} of the item {item}, from shelf {shelf}. Take them out."),
             ("A customer has bought {count} pieces ({item}) from {shelf}; book them out.",)
             )  # fmt: skip
    values = {"item": item, "shelf": shelf, "count": count}
    return _Request(words, values, [_written("remove_items", **values)])


def _move_all(stock: _Stock) -> _Request:
    item, source, held = stock.held()
    target = stock.shelf(source)
    words = (("Move every {item} from {source} to {target}.",
              "Shelf {source} should not hold a single {item}: bring them all to {target}."),
             ("All that {source} has of the item {item} goes to {target}.",))  # fmt: skip
    values = {"item": item, "source": source, "target": target}
    return _Request(words, values, [_written("move_items", **values, count=held)])


def _keep(stock: _Stock) -> _Request:
    item, source, held = stock.held()
    kept, target = stock.chance.randint(1, held - 1), stock.shelf(source)
    words = (("Leave {kept} on {source} and move the rest to {target}: {item}.",
              "Of the item {item}, {source} keeps {kept}. Bring the others to {target}."),
             ("{source} needs only {kept} of the item {item}; the surplus goes to {target}.",)
             )  # fmt: skip
    values = {"item": item, "source": source, "target": target, "kept": kept}
    call = _written("move_items", item=item, source=source, target=target, count=held - kept)
    return _Request(words, values, [call])


def _match(stock: _Stock) -> _Request:
    item, shelf, held = stock.held()
    target, new = stock.shelf(shelf), stock.chance.choice(stock.items)
    words = (("Add as many pieces of the item {new} to {target} as {shelf} has of {item}.",
              "Look how often {shelf} has the item {item}; put that many of {new} on {target}."),
             ("{target} gets {new}, just as many as there are of {item} on {shelf}.",)
             )  # fmt: skip
    values = {"item": item, "shelf": shelf, "target": target, "new": new}
    return _Request(words, values, [_written("add_items", item=new, shelf=target, count=held)])


_Make = Callable[[_Stock], _Request]
_READING: Final[Sequence[_Make]] = (_list, _find)
_WRITING: Final[Sequence[Sequence[_Make]]] = (
    (_add, _remove),
    (_add, _remove, _move_all, _keep),
    (_remove, _move_all, _keep, _match),
)
"""Requests by difficulty; from the second on, some have to be looked into first."""


def stock_task(chance: random.Random, task_id: str, difficulty: int, split: str) -> Task:
    """Return a task in BFCL's multi-turn form; the split that it belongs to is that of its calls.

    One of its requests at least changes something, so nobody is paid for reading all there is.
    """
    while True:
        stock = _Stock(chance, _SIZES[difficulty - 1])
        shelves = {name: dict(held) for name, held in stock.room.shelves.items()}
        requests = _drawn(stock, difficulty)
        gold = [list(request.calls) for request in requests]
        if split_of(json.dumps(gold)) == split:
            break
    held_out = split == "heldout"
    said = [chance.choice(each.wordings[held_out]).format_map(each.values) for each in requests]
    metadata = {
        "category": "multi_turn",
        "involved_classes": [StockRoom.__name__],
        "initial_config": {StockRoom.__name__: {"shelves": shelves}},
        "ground_truth": gold,
        "follow_ups": [[{"role": "user", "content": text}] for text in said[1:]],
    }
    return Task(task_id, said[0], json.dumps(gold), metadata=metadata)


def _drawn(stock: _Stock, difficulty: int) -> list[_Request]:
    count = _TURNS[difficulty - 1]
    reading = set(stock.chance.sample(range(count), count // 2))
    requests = []
    for turn in range(count):
        makers = _READING if turn in reading else _WRITING[difficulty - 1]
        request = stock.chance.choice(makers)(stock)
        requests.append(request)
        _do(stock.room, request.calls)
    return requests


def _do(room: StockRoom, calls: Sequence[str]) -> None:
    for call in episode_calls([calls], StockRoom.documents)[0]:
        getattr(room, call.name)(**call.arguments)


def _written(name: str, **arguments: Any) -> str:
    given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    return f"{name}({given})"
