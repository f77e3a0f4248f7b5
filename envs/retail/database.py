"""A shop's records, and what one episode has changed of them.

The records are those of tau2-bench's `db.json`: users, orders and products by their ids. One
`Database` serves every episode at a time and is never written to; an episode's `Ledger` copies an
order or a user when it first changes it. So an episode costs what it changed, not what the shop
holds.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

from qwq_env.errors import ToolError

Record = dict[str, Any]


class Database:
    """Users, orders and products by id, with what they are searched by. Nobody writes to it."""

    def __init__(self, records: Mapping[str, Mapping[str, Record]]) -> None:
        self.users = records["users"]
        self.orders = records["orders"]
        self.products = records["products"]
        self.variants: dict[str, Record] = {}
        for product in self.products.values():
            self.variants.update(product["variants"])
        self.users_by: dict[tuple[str, ...], str] = {}
        for user_id, user in self.users.items():
            for key in _keys_of(user):
                self.users_by.setdefault(key, user_id)


class Changes(NamedTuple):
    """Records that are not as they were, whole, by id."""

    users: dict[str, Record]
    orders: dict[str, Record]


class Ledger:
    """The records as one episode sees them."""

    __slots__ = ("_database", "_orders", "_users", "products", "variants")

    def __init__(self, database: Database) -> None:
        self._database = database
        self._users: dict[str, Record] = {}
        self._orders: dict[str, Record] = {}
        self.products = database.products
        self.variants = database.variants

    def user(self, user_id: str) -> Record:
        """Return a user, to be read only. Raises `ToolError` if there is none."""
        return self._read("user", self._users, self._database.users, user_id)

    def order(self, order_id: str) -> Record:
        """Return an order, to be read only. Raises `ToolError` if there is none."""
        return self._read("order", self._orders, self._database.orders, order_id)

    def user_to_change(self, user_id: str) -> Record:
        """Return this episode's own copy of a user."""
        if user_id not in self._users:
            self._users[user_id] = copy.deepcopy(self.user(user_id))
        return self._users[user_id]

    def order_to_change(self, order_id: str) -> Record:
        """Return this episode's own copy of an order."""
        if order_id not in self._orders:
            self._orders[order_id] = copy.deepcopy(self.order(order_id))
        return self._orders[order_id]

    def find_user(self, *key: str) -> str | None:
        """Return the id of the user with that email, or first name, last name and zip code.

        Names and emails are compared without case. A user who has moved is found where they are.
        """
        wanted = tuple(part.lower() for part in key)
        found = self._database.users_by.get(wanted)
        if found is not None and wanted in _keys_of(self.user(found)):
            return found
        moved = (user_id for user_id, user in self._users.items() if wanted in _keys_of(user))
        return next(moved, None)

    def changes(self) -> Changes:
        """Return the records that differ from those of the shop."""
        users, orders = self._database.users, self._database.orders
        return Changes(
            {name: user for name, user in self._users.items() if user != users[name]},
            {name: order for name, order in self._orders.items() if order != orders[name]},
        )

    @staticmethod
    def _read(
        kind: str, own: Mapping[str, Record], shared: Mapping[str, Record], record_id: str
    ) -> Record:
        record = own.get(record_id) or shared.get(record_id)
        if record is None:
            raise ToolError(f"no {kind} has the id {record_id[:80]!r}")
        return record


def _keys_of(user: Record) -> tuple[tuple[str, ...], ...]:
    name = user["name"]
    whole = (name["first_name"].lower(), name["last_name"].lower(), user["address"]["zip"].lower())
    return (user["email"].lower(),), whole
