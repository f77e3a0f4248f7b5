"""What customers of the procedural shop want: words, gold action, and what a proposal must name.

Each maker returns the fields of a `customer.Wish`. Of an order a customer knows the number at
difficulty 1, later only what is in it; what it keeps for later stands in `rest`, and what it has
thought of when it hears the proposal in `second`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from qwq_env.envs.retail.database import Record
from qwq_env.envs.retail.draws import Draws
from qwq_env.envs.retail.shop_words import PAYMENT_WORDS

Fields = dict[str, Any]


class Scene(NamedTuple):
    """What a wish is made of; `open_hand` says that the customer tells everything at once."""

    draws: Draws
    records: Mapping[str, Mapping[str, Record]]
    customer: Record
    open_hand: bool

    def order(self, *statuses: str) -> Record:
        """Return an order of the customer's with one of these statuses."""
        own = [self.records["orders"][order_id] for order_id in self.customer["orders"]]
        return self.draws.pick([order for order in own if order["status"] in statuses])

    def named(self, order: Record, item: Record | None = None) -> str:
        """Return how the customer speaks of an order."""
        if self.open_hand:
            return f"order {order['order_id']}"
        item = item or self.draws.pick(order["items"])
        return f"my order with the {item['name'].lower()}"

    def method(self, *, other_than: str = "") -> Record:
        """Return one of the customer's two ways of payment."""
        methods = self.customer["payment_methods"].values()
        return self.draws.pick([method for method in methods if method["id"] != other_than])

    def fields(self, told: str, rest: str, **others: Any) -> Fields:
        """Return a wish, which keeps back its `rest` unless the customer tells all at once."""
        if self.open_hand:
            return {"told": f"{told} {rest}".strip(), **others}
        return {"told": told, "rest": rest, **others}

    def thinks_again(self) -> bool:
        """Say whether this wish is to have a second thought."""
        return not self.open_hand and bool(self.draws.below(2))


def _looks(order: Record, *product_ids: str) -> list[Record]:
    """Return the calls that look up what a proposal needs."""
    products = [_call("get_product_details", product_id=product) for product in product_ids]
    return [_call("get_order_details", order_id=order["order_id"]), *products]


def _call(name: str, **arguments: Any) -> Record:
    return {"name": name, "arguments": arguments}


def _cancel(scene: Scene) -> Fields:
    order = scene.order("pending")
    reasons = {
        "no longer needed": "I do not need it any more: no longer needed.",
        "ordered by mistake": "It was ordered by mistake.",
    }
    first, other = scene.draws.some([*reasons], 2)
    thinks = scene.thinks_again()
    fields = scene.fields(
        f"I would like to cancel {scene.named(order)}.",
        reasons[first],
        named=[order["order_id"], first],
        action=_call(
            "cancel_pending_order", order_id=order["order_id"], reason=other if thinks else first
        ),
        look=_looks(order),
    )
    second = f"Wait, that is not the reason. Put down this one: {other}."
    return fields | _second(thinks, second, [order["order_id"], other])


def _second(thinks: bool, words: str, named: list[str]) -> Fields:
    return {"second": words, "named_then": named} if thinks else {}


def _written(address: Record) -> str:
    parts = (address[name] for name in ("address1", "address2", "city", "state", "zip", "country"))
    return ", ".join(parts)


def _move(scene: Scene, order: Record | None) -> Fields:
    """A new address, of an order or of the customer."""
    address, later = scene.draws.address(), scene.draws.address()
    thinks = scene.thinks_again()
    if order is None:
        about, numbers = "I have moved. Please change my default address.", []
        words = "My home is now"
        name, ids = "modify_user_address", {"user_id": scene.customer["user_id"]}
    else:
        about = f"Please send {scene.named(order)} to another address."
        name, ids = "modify_pending_order_address", {"order_id": order["order_id"]}
        numbers, words = [order["order_id"]], "The parcel has to go to"
    final = later if thinks else address
    fields = scene.fields(
        about,
        f"{words} {_written(address)}.",
        named=[*numbers, address["address1"]],
        action=_call(name, **ids, **final),
        look=_looks(order) if order else [],
    )
    second = f"No, I gave you the wrong address. {words} {_written(later)}."
    return fields | _second(thinks, second, [*numbers, later["address1"]])


def _move_order(scene: Scene) -> Fields:
    return _move(scene, scene.order("pending"))


def _move_home(scene: Scene) -> Fields:
    return _move(scene, None)


def _pay_otherwise(scene: Scene) -> Fields:
    order = scene.order("pending")
    [payment] = order["payment_history"]
    method = scene.method(other_than=payment["payment_method_id"])
    words = PAYMENT_WORDS[method["source"]]
    return scene.fields(
        f"I want to pay {scene.named(order)} in another way.",
        f"Pay it with my {words}.",
        named=[order["order_id"], words],
        action=_call(
            "modify_pending_order_payment",
            order_id=order["order_id"],
            payment_method_id=method["id"],
        ),
        look=_looks(order),
    )


def _swap(scene: Scene, status: str, tool: str, words: str) -> Fields:
    """Another variant of an item, which differs in one option."""
    order = scene.order(status)
    item = scene.draws.pick(order["items"])
    variants = scene.records["products"][item["product_id"]]["variants"].values()
    near = [variant for variant in variants if _apart(variant, item) == 1]
    wanted = scene.draws.pick(near)
    wanted["available"] = True
    [(option, value)] = wanted["options"].items() - item["options"].items()
    product = item["name"].lower()
    method = scene.method()
    thinks = scene.thinks_again()
    final = scene.method(other_than=method["id"]) if thinks else method
    paid = PAYMENT_WORDS[method["source"]]
    paid_then = PAYMENT_WORDS[final["source"]]
    names = [order["order_id"], product, value]
    fields = scene.fields(
        f"{words.format(product=product, order=scene.named(order, item))} with {option} {value},"
        " the rest as it is.",
        f"For the difference on the {product}, use my {paid}.",
        named=[*names, paid],
        action=_call(
            tool,
            order_id=order["order_id"],
            item_ids=[item["item_id"]],
            new_item_ids=[wanted["item_id"]],
            payment_method_id=final["id"],
        ),
        look=_looks(order, item["product_id"]),
    )
    second = f"I have thought about it: use my {paid_then} for the difference on the {product}."
    return fields | _second(thinks, second, [*names, paid_then])


def _apart(variant: Record, item: Record) -> int:
    """Return in how many options a variant differs from an item."""
    return len(variant["options"].items() - item["options"].items())


def _change_item(scene: Scene) -> Fields:
    told = "In {order}, which is not sent yet, I want the {product}"
    return _swap(scene, "pending", "modify_pending_order_items", told)


def _exchange(scene: Scene) -> Fields:
    told = "{order} has come. I want to exchange the {product} for one"
    fields = _swap(scene, "delivered", "exchange_delivered_order_items", told)
    fields["told"] = fields["told"][0].upper() + fields["told"][1:]
    return fields


def _send_back(scene: Scene) -> Fields:
    order = scene.order("delivered")
    item = scene.draws.pick(order["items"])
    [payment] = order["payment_history"]
    methods = scene.customer["payment_methods"].values()
    allowed = [
        method
        for method in methods
        if method["source"] == "gift_card" or method["id"] == payment["payment_method_id"]
    ]
    method, *others = scene.draws.some(allowed, len(allowed))
    thinks = bool(others) and scene.thinks_again()
    final = others[0] if thinks else method
    product = item["name"].lower()
    paid, paid_then = (PAYMENT_WORDS[way["source"]] for way in (method, final))
    names = [order["order_id"], product]
    bought = f"of order {order['order_id']}" if scene.open_hand else "that I have got"
    fields = scene.fields(
        f"I want to return the {product} {bought}.",
        f"I want the money for the {product} on my {paid}.",
        named=[*names, paid],
        action=_call(
            "return_delivered_order_items",
            order_id=order["order_id"],
            item_ids=[item["item_id"]],
            payment_method_id=final["id"],
        ),
        look=_looks(order),
    )
    second = f"No, I want the money for the {product} on my {paid_then}."
    return fields | _second(thinks, second, [*names, paid_then])


def _ask_total(scene: Scene) -> Fields:
    # Of an order that another wish may change there would be two answers.
    order = scene.order("delivered", "processed")
    [payment] = order["payment_history"]
    told = f"How much did I pay for {scene.named(order)}?"
    # Without its last zeros, which agents write or leave out.
    amount = f"{payment['amount']:.2f}".rstrip("0").rstrip(".")
    return {"told": told, "info": [amount], "look": _looks(order)}


def _ask_tracking(scene: Scene) -> Fields:
    order = scene.order("delivered", "processed")
    told = f"What is the tracking number of {scene.named(order)}?"
    return {
        "told": told,
        "info": order["fulfillments"][0]["tracking_id"],
        "look": _looks(order),
    }


def _against_policy(scene: Scene) -> Fields:
    """A wish that the agent has to refuse: nothing may change."""
    order = scene.order("processed")
    told = scene.draws.pick(
        [
            "Please cancel {}; it is no longer needed.",
            "Please have {} sent to my neighbour's house instead.",
            "I want to return everything of {}, the money to my gift card.",
        ]
    )
    return {"told": told.format(scene.named(order)), "look": _looks(order)}


Maker = Callable[[Scene], Fields]

_PENDING: Final[tuple[Maker, ...]] = (_cancel, _move_order, _pay_otherwise, _change_item)
_DELIVERED: Final[tuple[Maker, ...]] = (_exchange, _send_back, _move_home)
_QUESTIONS: Final[tuple[Maker, ...]] = (_ask_total, _ask_tracking)
_SINGLE: Final = _PENDING + _DELIVERED + _QUESTIONS


def make_wishes(
    draws: Draws, records: Mapping[str, Mapping[str, Record]], customer: Record, difficulty: int
) -> list[Fields]:
    """Return the wishes of a customer: one, or at difficulty 3 two that do not meet.

    May make an item of `records` available.
    """
    scene = Scene(draws, records, customer, difficulty == 1)
    if difficulty < 3:
        return [draws.pick(_SINGLE)(scene)]
    pairs = [
        (_PENDING, _DELIVERED),
        ((_against_policy,), _PENDING + _DELIVERED),
        ((_against_policy,), _QUESTIONS),
        (_PENDING + _DELIVERED, _QUESTIONS),
    ]
    chosen = [draws.pick(makers) for makers in draws.pick(pairs)]
    return [maker(scene) for maker in draws.some(chosen, 2)]
