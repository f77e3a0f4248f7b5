"""The service of the procedural multi-turn tasks, as BFCL's are: a class, and its documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from qwq_env.grading.calls.backends import Service

_Shelves = dict[str, dict[str, int]]

_SHELF: Final = {"type": "string", "description": "A shelf, such as 'A1'."}
_ITEM: Final = {"type": "string", "description": "What it is, in the singular, such as 'lamp'."}
_COUNT: Final = {"type": "integer", "description": "How many, at least 1."}


def _document(name: str, description: str, **properties: Mapping[str, Any]) -> dict[str, Any]:
    parameters = {"type": "dict", "properties": properties, "required": list(properties)}
    return {"name": name, "description": description, "parameters": parameters}


class StockRoom(Service):
    """Shelves with items on them."""

    documents = {  # noqa: RUF012 - a constant
        document["name"]: document
        for document in (
            _document("list_shelf", "List what is on a shelf, and how many.", shelf=_SHELF),
            _document("find_item", "Tell on which shelves an item is, and how many.", item=_ITEM),
            _document("add_items", "Put new items on a shelf.", item=_ITEM, shelf=_SHELF,
                      count=_COUNT),
            _document("remove_items", "Take items off a shelf, out of the stock room.", item=_ITEM,
                      shelf=_SHELF, count=_COUNT),
            _document("move_items", "Move items from one shelf to another.", item=_ITEM,
                      source=_SHELF, target=_SHELF, count=_COUNT),
        )
    }  # fmt: skip

    def __init__(self) -> None:
        self.shelves: _Shelves = {}

    def _load_scenario(self, scenario: Any) -> None:
        self.shelves = scenario["shelves"]

    def list_shelf(self, shelf: str) -> dict[str, int]:
        """Return how many of what is on a shelf."""
        return dict(self._shelf(shelf))

    def find_item(self, item: str) -> dict[str, int]:
        """Return how many of an item are on which shelves."""
        return {name: held[item] for name, held in self.shelves.items() if item in held}

    def add_items(self, item: str, shelf: str, count: int) -> str:
        """Put new items on a shelf."""
        held = self._shelf(shelf)
        held[item] = held.get(item, 0) + _at_least_one(count)
        return "done"

    def remove_items(self, item: str, shelf: str, count: int) -> str:
        """Take items off a shelf."""
        held = self._shelf(shelf)
        if _at_least_one(count) > held.get(item, 0):
            raise ValueError(f"shelf {shelf} holds {held.get(item, 0)} of {item!r:.60}")
        held[item] -= count
        if not held[item]:
            del held[item]
        return "done"

    def move_items(self, item: str, source: str, target: str, count: int) -> str:
        """Move items from one shelf to another."""
        self._shelf(target)
        self.remove_items(item, source, count)
        return self.add_items(item, target, count)

    def _shelf(self, name: str) -> dict[str, int]:
        if name not in self.shelves:
            raise ValueError(f"no shelf {name!r:.60}; there are {', '.join(self.shelves)}")
        return self.shelves[name]


def _at_least_one(count: int) -> int:
    if count < 1:
        raise ValueError(f"count: {count}; expected at least 1")
    return count


OWN: Final[Mapping[str, type[Service]]] = {StockRoom.__name__: StockRoom}
"""Services that rows may involve beside BFCL's."""
