"""The tools of a shop's agent, with the names, arguments and effects of tau2-bench's retail domain.

A tool that refuses changes nothing. Money is kept as tau2-bench keeps it, in floats of dollars.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final, Protocol

from qwq_env.envs.retail.database import Database, Ledger, Record
from qwq_env.errors import ToolError
from qwq_env.task import Task
from qwq_env.tool_set import ToolSet
from qwq_env.tools.calculator.notation import parse
from qwq_env.tools.calculator.tool import value_of

FINDERS: Final = frozenset({"find_user_id_by_email", "find_user_id_by_name_zip"})
WRITERS: Final = frozenset({
    "cancel_pending_order", "exchange_delivered_order_items", "modify_pending_order_address",
    "modify_pending_order_items", "modify_pending_order_payment", "modify_user_address",
    "return_delivered_order_items",
})  # fmt: skip

_REASONS: Final = ("no longer needed", "ordered by mistake")
_ARITHMETIC: Final = frozenset("0123456789+-*/(). ")


class Source(Protocol):
    """Knows the shop in which a task plays."""

    def database(self, task: Task) -> Database:
        """Return the shop of `task`, as it is before anybody does anything."""
        ...


class RetailTools(ToolSet):
    """Look up, and change, users and orders of the shop that `source` has for a task.

    The state is what has changed: `{"users": {id: record}, "orders": {id: record}}`.
    """

    blocking = False
    replay = "rerun"

    def __init__(self, source: Source) -> None:
        self._source = source

    def start(self, task: Task) -> None:
        """Open the shop of `task`."""
        self._ledger = Ledger(self._source.database(task))

    def state(self) -> dict[str, Any]:
        """Return the users and orders that are not as they were."""
        return self._ledger.changes()._asdict()

    def calculate(self, expression: str) -> str:
        """Work out an arithmetic expression, rounded to two decimals.

        Args:
            expression: Numbers, the signs + - * /, brackets and spaces, such as '(2 + 3) * 4.50'.
        """
        if strange := set(expression) - _ARITHMETIC:
            raise ToolError(f"{min(strange)!r} is neither a digit nor one of + - * / ( ) .")
        try:
            return str(round(float(value_of(parse(expression))), 2))
        except OverflowError:
            raise ToolError("the result is too large") from None

    def cancel_pending_order(self, order_id: str, reason: str) -> Record:
        """Cancel an order that is still pending, and refund what was paid for it.

        A gift card gets its money back at once, any other way of payment within 5 to 7 business
        days. Explain this to the customer and have their explicit yes first. Returns the order.

        Args:
            order_id: The order's id with its '#', such as '#W0000000'.
            reason: Either 'no longer needed' or 'ordered by mistake'.
        """
        if self._ledger.order(order_id)["status"] != "pending":
            raise ToolError("the order is not pending, so it cannot be cancelled")
        if reason not in _REASONS:
            raise ToolError(f"the reason must be one of: {', '.join(_REASONS)}")
        order = self._ledger.order(order_id)
        payments = list(order["payment_history"])
        for payment in payments:
            self._payment_method(order["user_id"], payment["payment_method_id"])
        order = self._ledger.order_to_change(order_id)
        for payment in payments:
            amount, method = payment["amount"], payment["payment_method_id"]
            self._credit(order["user_id"], method, amount)
            order["payment_history"].append(_payment("refund", amount, method))
        order["status"] = "cancelled"
        order["cancel_reason"] = reason
        return order

    def exchange_delivered_order_items(
        self, order_id: str, item_ids: list[str], new_item_ids: list[str], payment_method_id: str
    ) -> Record:
        """Exchange items of a delivered order for other variants of the same products.

        An order can be returned or exchanged only once, so gather all items before. Explain the
        exchange to the customer and have their explicit yes first. Returns the order.

        Args:
            order_id: The order's id with its '#', such as '#W0000000'.
            item_ids: The items to give back, each as often as it is to be exchanged.
            new_item_ids: For each of them, at the same place, the item to get instead.
            payment_method_id: What pays the difference in price or gets it back, such as
                'gift_card_0000000'; the user's or the order's details list them.
        """
        order = self._ledger.order(order_id)
        if order["status"] != "delivered":
            raise ToolError("the order is not delivered, so nothing of it can be exchanged")
        _, difference = self._compare(order, item_ids, new_item_ids)
        difference = round(difference, 2)
        self._check_balance(order["user_id"], payment_method_id, difference)
        order = self._ledger.order_to_change(order_id)
        order["status"] = "exchange requested"
        order["exchange_items"] = sorted(item_ids)
        order["exchange_new_items"] = sorted(new_item_ids)
        order["exchange_payment_method_id"] = payment_method_id
        order["exchange_price_difference"] = difference
        return order

    def find_user_id_by_email(self, email: str) -> str:
        """Find a user's id by their email address. The first thing to try.

        Args:
            email: The address, such as 'name@example.com'.
        """
        return self._found(email)

    def find_user_id_by_name_zip(self, first_name: str, last_name: str, zip: str) -> str:
        """Find a user's id by name and zip code, for one whose email is not found or not known.

        Args:
            first_name: The first name, such as 'Ann'.
            last_name: The last name, such as 'Example'.
            zip: The zip code of their address, such as '12345'.
        """
        return self._found(first_name, last_name, zip)

    def get_item_details(self, item_id: str) -> Record:
        """Show one variant of a product: its options, its price, whether it is available.

        Args:
            item_id: The variant's id, such as '0000000000'; not that of its product.
        """
        if item_id not in self._ledger.variants:
            raise ToolError(f"no item has the id {item_id[:80]!r}")
        return self._ledger.variants[item_id]

    def get_order_details(self, order_id: str) -> Record:
        """Show an order: its items, status, address, shipments and payments.

        Args:
            order_id: The order's id with its '#', such as '#W0000000'.
        """
        return self._ledger.order(order_id)

    def get_product_details(self, product_id: str) -> Record:
        """Show a product with all its variants: their options, prices, availability.

        Args:
            product_id: The product's id, such as '0000000000'; not that of one of its items.
        """
        if product_id not in self._ledger.products:
            raise ToolError(f"no product has the id {product_id[:80]!r}")
        return self._ledger.products[product_id]

    def get_user_details(self, user_id: str) -> Record:
        """Show a user's profile: name, address, email, ways of payment, ids of orders.

        Args:
            user_id: The user's id, such as 'ann_example_0000'.
        """
        return self._ledger.user(user_id)

    def list_all_product_types(self) -> dict[str, str]:
        """List the shop's products by name, with their product ids."""
        products = self._ledger.products.values()
        return dict(sorted((product["name"], product["product_id"]) for product in products))

    def modify_pending_order_address(
        self,
        order_id: str,
        address1: str,
        address2: str,
        city: str,
        state: str,
        country: str,
        zip: str,
    ) -> Record:
        """Send a pending order to another address.

        Explain the change to the customer and have their explicit yes first. Returns the order.

        Args:
            order_id: The order's id with its '#', such as '#W0000000'.
            address1: Number and street, such as '1 Example Street'.
            address2: Flat or suite, such as 'Apt 1', or ''.
            city: The city, such as 'Boston'.
            state: The state's two letters, such as 'MA'.
            country: The country, such as 'USA'.
            zip: The zip code, such as '12345'.
        """
        self._check_open(self._ledger.order(order_id))
        order = self._ledger.order_to_change(order_id)
        order["address"] = _address(address1, address2, city, state, country, zip)
        return order

    def modify_pending_order_items(
        self, order_id: str, item_ids: list[str], new_item_ids: list[str], payment_method_id: str
    ) -> Record:
        """Change items of a pending order to other variants of the same products.

        This can be done only once for an order, which can then be neither cancelled nor changed so
        again. Explain it to the customer and have their explicit yes first. Returns the order.

        Args:
            order_id: The order's id with its '#', such as '#W0000000'.
            item_ids: The items to change, each as often as it is to be changed.
            new_item_ids: For each of them, at the same place, the item to get instead.
            payment_method_id: What pays the difference in price or gets it back, such as
                'gift_card_0000000'; the user's or the order's details list them.
        """
        order = self._ledger.order(order_id)
        if order["status"] != "pending":
            raise ToolError("the order is not pending, so its items cannot be changed")
        if any(old == new for old, new in zip(item_ids, new_item_ids, strict=False)):
            raise ToolError("a new item must be another than the old one")
        variants, difference = self._compare(order, item_ids, new_item_ids)
        self._check_balance(order["user_id"], payment_method_id, difference)
        order = self._ledger.order_to_change(order_id)
        kind = "payment" if difference > 0 else "refund"
        order["payment_history"].append(_payment(kind, abs(difference), payment_method_id))
        self._credit(order["user_id"], payment_method_id, -difference)
        for item_id, new_item_id in zip(item_ids, new_item_ids, strict=True):
            item = _first_item(order, item_id)
            # As published: each changed item shows price and options of the last new one. A
            # reward looks at the item's id, from which both follow.
            last = variants[-1]
            item.update(item_id=new_item_id, price=last["price"], options=dict(last["options"]))
        order["status"] = "pending (item modified)"
        return order

    def modify_pending_order_payment(self, order_id: str, payment_method_id: str) -> Record:
        """Have a pending order paid in another way, and refund what was paid before.

        Explain the change to the customer and have their explicit yes first. Returns the order.

        Args:
            order_id: The order's id with its '#', such as '#W0000000'.
            payment_method_id: What pays instead, such as 'credit_card_0000000'; the user's details
                list them.
        """
        order = self._ledger.order(order_id)
        self._check_open(order)
        user_id, history = order["user_id"], order["payment_history"]
        self._payment_method(user_id, payment_method_id)
        if [payment["transaction_type"] for payment in history] != ["payment"]:
            raise ToolError("the order does not have exactly one payment")
        [payment] = history
        former, amount = payment["payment_method_id"], payment["amount"]
        if former == payment_method_id:
            raise ToolError("the order is paid in that way already")
        self._check_balance(user_id, payment_method_id, amount)
        self._payment_method(user_id, former)
        order = self._ledger.order_to_change(order_id)
        order["payment_history"] += [
            _payment("payment", amount, payment_method_id),
            _payment("refund", amount, former),
        ]
        self._credit(user_id, payment_method_id, -amount)
        self._credit(user_id, former, amount)
        return order

    def modify_user_address(
        self,
        user_id: str,
        address1: str,
        address2: str,
        city: str,
        state: str,
        country: str,
        zip: str,
    ) -> Record:
        """Change a user's default address; their orders keep the one that they have.

        Explain the change to the customer and have their explicit yes first. Returns the user.

        Args:
            user_id: The user's id, such as 'ann_example_0000'.
            address1: Number and street, such as '1 Example Street'.
            address2: Flat or suite, such as 'Apt 1', or ''.
            city: The city, such as 'Boston'.
            state: The state's two letters, such as 'MA'.
            country: The country, such as 'USA'.
            zip: The zip code, such as '12345'.
        """
        user = self._ledger.user_to_change(user_id)
        user["address"] = _address(address1, address2, city, state, country, zip)
        return user

    def return_delivered_order_items(
        self, order_id: str, item_ids: list[str], payment_method_id: str
    ) -> Record:
        """Take back items of a delivered order; the customer is told by email how to send them.

        The refund goes to a gift card or to what paid the order. Explain it to the customer and
        have their explicit yes first. Returns the order.

        Args:
            order_id: The order's id with its '#', such as '#W0000000'.
            item_ids: The items to take back, each as often as it is to be returned.
            payment_method_id: What gets the refund, such as 'gift_card_0000000'; the user's or the
                order's details list them.
        """
        order = self._ledger.order(order_id)
        if order["status"] != "delivered":
            raise ToolError("the order is not delivered, so nothing of it can be returned")
        method = self._payment_method(order["user_id"], payment_method_id)
        if method["source"] != "gift_card" and payment_method_id not in _first_payer(order):
            raise ToolError("the refund must go to a gift card or to what paid the order")
        _check_ordered(order, item_ids)
        order = self._ledger.order_to_change(order_id)
        order["status"] = "return requested"
        order["return_items"] = sorted(item_ids)
        order["return_payment_method_id"] = payment_method_id
        return order

    def transfer_to_human_agents(self, summary: str) -> str:
        """Hand the customer over to a human agent.

        Only if they ask for one, or if neither the policy nor these tools allow you to help.

        Args:
            summary: What the customer wants, in short.
        """
        return "The customer was handed over."

    def _found(self, *key: str) -> str:
        user_id = self._ledger.find_user(*key)
        if user_id is None:
            raise ToolError("no user was found")
        return user_id

    def _check_open(self, order: Record) -> None:
        # An order whose items were modified still has its address and payment changed.
        if "pending" not in order["status"]:
            raise ToolError("the order is not pending, so it cannot be changed")

    def _payment_method(self, user_id: str, method_id: str) -> Record:
        methods: dict[str, Record] = self._ledger.user(user_id)["payment_methods"]
        if method_id not in methods:
            raise ToolError(f"the user has no way of payment with the id {method_id[:80]!r}")
        return methods[method_id]

    def _check_balance(self, user_id: str, method_id: str, amount: float) -> None:
        method = self._payment_method(user_id, method_id)
        if method["source"] == "gift_card" and method["balance"] < amount:
            raise ToolError("the gift card's balance is too small to pay it")

    def _credit(self, user_id: str, method_id: str, amount: float) -> None:
        """Add to a gift card's balance; other ways of payment have none that the shop knows."""
        if self._payment_method(user_id, method_id)["source"] == "gift_card":
            card = self._ledger.user_to_change(user_id)["payment_methods"][method_id]
            card["balance"] = round(card["balance"] + amount, 2)

    def _compare(
        self, order: Record, item_ids: list[str], new_item_ids: list[str]
    ) -> tuple[list[Record], float]:
        """Return the new variants, and by how much they are dearer than the old items."""
        _check_ordered(order, item_ids)
        if len(item_ids) != len(new_item_ids):
            raise ToolError("item_ids and new_item_ids must be of the same length")
        variants, difference = [], 0.0
        for item_id, new_item_id in zip(item_ids, new_item_ids, strict=True):
            item = _first_item(order, item_id)
            product = self._ledger.products.get(item["product_id"], {"variants": {}})
            variant = product["variants"].get(new_item_id)
            if variant is None:
                raise ToolError(f"{new_item_id[:80]!r} is no variant of the item's product")
            if not variant["available"]:
                raise ToolError(f"item {new_item_id} is not available")
            variants.append(variant)
            difference += variant["price"] - item["price"]
        return variants, difference


def _check_ordered(order: Record, item_ids: list[str]) -> None:
    ordered = Counter(item["item_id"] for item in order["items"])
    for item_id, count in Counter(item_ids).items():
        if count > ordered[item_id]:
            raise ToolError(f"the order has item {item_id[:80]!r} {ordered[item_id]} times")


def _first_item(order: Record, item_id: str) -> Record:
    return next(item for item in order["items"] if item["item_id"] == item_id)


def _first_payer(order: Record) -> list[str]:
    return [payment["payment_method_id"] for payment in order["payment_history"][:1]]


def _payment(kind: str, amount: float, method_id: str) -> Record:
    return {"transaction_type": kind, "amount": amount, "payment_method_id": method_id}


def _address(
    address1: str, address2: str, city: str, state: str, country: str, zip_code: str
) -> Record:
    return {
        "address1": address1, "address2": address2, "city": city, "country": country,
        "state": state, "zip": zip_code,
    }  # fmt: skip
