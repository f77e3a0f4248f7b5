"""A procedural shop: seeded, endless, one small shop for each task, with nothing to download.

Every task has a shop of its own, of four customers and six orders; one of the customers writes.

| difficulty | the customer |
|---|---|
| 1 | tells its order's number and everything that it wants of it |
| 2 | knows what it bought but no number, keeps part of it until asked, may change its mind |
| 3 | the same with two wishes, one of which may be against the policy |

The splits have no name, id, price or number in common: the words come from other lists, ids and
counts are even in one and odd in the other, prices 0 and 1 cent above a multiple of 8 cents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from qwq_env.envs.procedural import ProceduralTaskSet
from qwq_env.envs.retail import shop_words as words
from qwq_env.envs.retail.database import Database, Record
from qwq_env.envs.retail.draws import Draws
from qwq_env.envs.retail.tasks import RetailTaskSet
from qwq_env.envs.retail.wishes import make_wishes
from qwq_env.errors import UsageError, brief
from qwq_env.task import Task

_DIFFICULTIES: Final = 3
_CUSTOMERS: Final = 4
_STATUSES: Final = ("pending", "delivered", "processed")
"""Of the three orders of the customer who writes."""


class ShopTaskSet(ProceduralTaskSet, RetailTaskSet):
    """Tasks in a procedural shop, of one `difficulty` and one `split` (see the module)."""

    family = "retail"
    levels = _DIFFICULTIES
    policy = words.POLICY
    scripted = True

    def task(self, index: int) -> Task:
        """Return the task at `index` ≥ 0."""
        if index < 0:
            raise IndexError(index)
        return self._at(f"{self._prefix}{index}")[0]

    def database(self, task: Task) -> Database:
        """Return the shop of `task`. Raises `UsageError` for a task of another set."""
        if not task.id.startswith(self._prefix):
            expected = f"{self._prefix}0 or a higher number"
            raise UsageError(f"task {brief(task.id)} is not of this shop; expected {expected}")
        return self._at(task.id)[1]

    def _at(self, task_id: str) -> tuple[Task, Database]:
        return _make(task_id, self.difficulty, self.split)


@lru_cache(maxsize=256)
def _make(task_id: str, difficulty: int, split: str) -> tuple[Task, Database]:
    """Make a task and its shop; the episodes of a group, and environments, share them."""
    draws = Draws(task_id, split)
    records, customer = _make_records(draws)
    opening = draws.pick(words.OPENINGS)
    by_email = difficulty == 1 or bool(draws.below(2))
    wishes = make_wishes(draws, records, customer, difficulty)
    identity, finds = _identity(customer, by_email)
    script = {
        "user_id": customer["user_id"],
        "identity": identity,
        "finds": finds,
        "wishes": wishes,
    }
    said = [info for wish in wishes for info in wish.get("info", ())]
    prompt = " ".join([opening, *(wish["told"] for wish in wishes)])
    metadata = {
        "difficulty": difficulty,
        "actions": [wish["action"] for wish in wishes if wish.get("action")],
        "communicate_info": said,
        "instructions": _instructions(prompt, identity, wishes),
        "script": script,
    }
    return Task(task_id, prompt, ", ".join(said), metadata=metadata), Database(records)


def _make_records(draws: Draws) -> tuple[dict[str, dict[str, Record]], Record]:
    """Return a shop, and the customer in it who writes."""
    catalogue = words.PRODUCTS[draws.split]
    products = [_product(draws, name, catalogue[name]) for name in draws.some([*catalogue], 6)]
    first = draws.some(words.FIRST_NAMES[draws.split], _CUSTOMERS)
    last = draws.some(words.LAST_NAMES[draws.split], _CUSTOMERS)
    users = [_user(draws, *name) for name in zip(first, last, strict=True)]
    writing = draws.pick(users)
    orders = []
    for user in users:
        # Each product is in one order of a customer, who can so name it by what is in it.
        bought = draws.some(products, 6)
        statuses = draws.some(_STATUSES, 3) if user is writing else [draws.pick(_STATUSES)]
        for number, status in enumerate(statuses):
            orders.append(_order(draws, user, bought[2 * number : 2 * number + 2], status))
    records = {
        "users": {user["user_id"]: user for user in users},
        "orders": {order["order_id"]: order for order in orders},
        "products": {product["product_id"]: product for product in products},
    }
    return records, writing


def _product(draws: Draws, name: str, options: Mapping[str, Sequence[str]]) -> Record:
    (first, firsts), (second, seconds) = options.items()
    base = 8 + draws.below(90)
    variants = [
        {
            "item_id": draws.digits(10),
            "options": {first: one, second: other},
            "available": draws.below(5) > 0,
            "price": draws.price(base, base + 12),
        }
        for one in firsts
        for other in seconds
    ]
    by_id = {variant["item_id"]: variant for variant in draws.some(variants, len(variants))}
    return {"name": name, "product_id": draws.digits(10), "variants": by_id}


def _user(draws: Draws, first: str, last: str) -> Record:
    methods: list[Record] = [
        {"source": "gift_card", "balance": draws.price(400, 900)},
        draws.pick(
            [
                {"source": "paypal"},
                {
                    "source": "credit_card",
                    "brand": draws.pick(words.CARD_BRANDS),
                    "last_four": draws.digits(4),
                },
            ]
        ),
    ]
    for method in methods:
        method["id"] = f"{method['source']}_{draws.digits(7)}"
    return {
        "user_id": f"{first}_{last}_{draws.digits(4)}".lower(),
        "name": {"first_name": first, "last_name": last},
        "address": draws.address(),
        "email": f"{first}.{last}{draws.digits(4)}@example.com".lower(),
        "payment_methods": {method["id"]: method for method in draws.some(methods, 2)},
        "orders": [],
    }


def _order(draws: Draws, user: Record, products: Sequence[Record], status: str) -> Record:
    items = []
    for product in products:
        variant = draws.pick([*product["variants"].values()])
        items.append(
            {
                "name": product["name"],
                "product_id": product["product_id"],
                "item_id": variant["item_id"],
                "price": variant["price"],
                "options": variant["options"],
            }
        )
    order_id = f"#W{draws.digits(7)}"
    user["orders"].append(order_id)
    shipped = {
        "tracking_id": [draws.digits(12)],
        "item_ids": [item["item_id"] for item in items],
    }
    payment = {
        "transaction_type": "payment",
        "amount": round(sum(item["price"] for item in items), 2),
        "payment_method_id": draws.pick([*user["payment_methods"]]),
    }
    return {
        "order_id": order_id,
        "user_id": user["user_id"],
        "address": dict(user["address"]),
        "items": items,
        "status": status,
        "fulfillments": [] if status == "pending" else [shipped],
        "payment_history": [payment],
    }


def _identity(customer: Record, by_email: bool) -> tuple[str, Record]:
    """Return what a customer says of itself, and the call that finds it."""
    if by_email:
        email = customer["email"]
        arguments = {"email": email}
        return f"My email is {email}.", {"name": "find_user_id_by_email", "arguments": arguments}
    name, zip_code = customer["name"], customer["address"]["zip"]
    said = f"I am {name['first_name']} {name['last_name']}, zip code {zip_code}."
    return said + " My email I do not remember.", {
        "name": "find_user_id_by_name_zip",
        "arguments": {**name, "zip": zip_code},
    }


def _instructions(prompt: str, identity: str, wishes: Sequence[Mapping[str, Any]]) -> Record:
    """Return what a model needs to know to play the customer."""
    later = [wish["rest"] for wish in wishes if wish.get("rest")]
    thoughts = [wish["second"] for wish in wishes if wish.get("second")]
    changes = [f"When you hear what would be done, say: {thought}" for thought in thoughts]
    return {
        "reason_for_call": prompt,
        "known_info": " ".join([identity, *later]),
        "task_instructions": " ".join([*changes, "Say yes to what fulfils your wishes."]),
    }
