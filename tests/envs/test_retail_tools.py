"""What the tools of `qwq/Retail-v0` change, and what they refuse."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import Any

import pytest

from qwq_env.envs.retail.shop import ShopTaskSet
from qwq_env.envs.retail.tasks import Tau2TaskSet
from qwq_env.envs.retail.tools import RetailTools
from qwq_env.errors import ToolError
from qwq_env.task import Task
from qwq_env.toolbox import Toolbox
from qwq_env.turn import ToolCall
from tests.published import SAMPLES


def opened(tasks: ShopTaskSet | Tau2TaskSet, task: Task) -> RetailTools:
    tools = RetailTools(tasks)
    tools.start(task)
    return tools


@pytest.fixture(scope="module")
def sample() -> Tau2TaskSet:
    return Tau2TaskSet(SAMPLES / "tau2_retail", split="base")


def test_an_order_can_be_cancelled_once_and_a_gift_card_has_its_refund_at_once() -> None:
    tasks = ShopTaskSet()
    task, order = next(
        (task, order)
        for task in tasks
        for order in tasks.database(task).orders.values()
        if order["status"] == "pending"
        and order["payment_history"][0]["payment_method_id"].startswith("gift")
    )
    [payment] = order["payment_history"]
    method = payment["payment_method_id"]
    tools = opened(tasks, task)
    before = tools.get_user_details(order["user_id"])["payment_methods"][method]["balance"]
    cancelled = tools.cancel_pending_order(order["order_id"], "no longer needed")
    after = tools.get_user_details(order["user_id"])["payment_methods"][method]["balance"]

    assert after == round(before + payment["amount"], 2)
    assert cancelled["status"] == "cancelled"
    assert cancelled["payment_history"] == [payment, {**payment, "transaction_type": "refund"}]
    with pytest.raises(ToolError, match="not pending"):
        tools.cancel_pending_order(order["order_id"], "no longer needed")
    assert order["status"] == "pending"


def test_changed_items_are_paid_for_and_lock_the_order() -> None:
    tasks = ShopTaskSet()
    task = tasks.task(0)
    data = tasks.database(task)
    order = next(order for order in data.orders.values() if order["status"] == "pending")
    item = order["items"][0]
    new = next(
        variant
        for variant in data.products[item["product_id"]]["variants"].values()
        if variant["available"] and variant["price"] > item["price"]
    )
    user = data.users[order["user_id"]]
    card = next(name for name in user["payment_methods"] if name.startswith("gift"))
    tools = opened(tasks, task)
    arguments = (order["order_id"], [item["item_id"]], [new["item_id"]], card)
    changed = tools.modify_pending_order_items(*arguments)
    difference = new["price"] - item["price"]

    assert changed["status"] == "pending (item modified)"
    assert changed["items"][0]["item_id"] == new["item_id"]
    assert changed["items"][0]["options"] == new["options"]
    assert changed["payment_history"][1]["amount"] == pytest.approx(difference)
    balances = [
        record["payment_methods"][card]["balance"]
        for record in (user, tools.get_user_details(order["user_id"]))
    ]
    assert balances[0] - balances[1] == pytest.approx(difference)
    with pytest.raises(ToolError, match="not pending"):
        tools.modify_pending_order_items(*arguments)
    assert tools.modify_pending_order_address(order["order_id"], *"abcdef")["address"]["zip"] == "f"


REFUSED = [
    ("calculate", {"expression": "abs(1)"}, "neither a digit"),
    ("calculate", {"expression": "9**9**9**9"}, "too large|power|digits"),
    ("calculate", {"expression": "1/0"}, "zero"),
    ("find_user_id_by_email", {"email": "nobody"}, "no user"),
    ("find_user_id_by_name_zip", {"first_name": "a", "last_name": "b", "zip": "1"}, "no user"),
    ("get_order_details", {"order_id": "W1671835"}, "no order"),
    ("get_item_details", {"item_id": "1"}, "no item"),
    ("get_product_details", {"product_id": "5081446110"}, "no product"),
    ("get_user_details", {"user_id": "x"}, "no user"),
    ("cancel_pending_order", {"order_id": "#W4923227", "reason": "bored"}, "reason"),
    (
        "cancel_pending_order",
        {"order_id": "#W1671835", "reason": "no longer needed"},
        "not pending",
    ),
    (
        "modify_pending_order_payment",
        {"order_id": "#W4923227", "payment_method_id": "gift_card_8245350"},
        "too small",
    ),
    (
        "modify_pending_order_payment",
        {"order_id": "#W4923227", "payment_method_id": "credit_card_8554680"},
        "already",
    ),
    (
        "modify_pending_order_payment",
        {"order_id": "#W4923227", "payment_method_id": "paypal_6918118"},
        "no way of payment",
    ),
    (
        "exchange_delivered_order_items",
        {
            "order_id": "#W1671835",
            "item_ids": ["5081446110", "5081446110"],
            "new_item_ids": ["3399869890", "3399869890"],
            "payment_method_id": "paypal_6918118",
        },
        "1 times",
    ),
    (
        "exchange_delivered_order_items",
        {
            "order_id": "#W1671835",
            "item_ids": ["5081446110"],
            "new_item_ids": [],
            "payment_method_id": "paypal_6918118",
        },
        "same length",
    ),
    (
        "exchange_delivered_order_items",
        {
            "order_id": "#W1671835",
            "item_ids": ["5081446110"],
            "new_item_ids": ["5081446110x"],
            "payment_method_id": "paypal_6918118",
        },
        "no variant",
    ),
    (
        "return_delivered_order_items",
        {"order_id": "#W1671835", "item_ids": ["1"], "payment_method_id": "paypal_6918118"},
        "0 times",
    ),
]


@pytest.mark.parametrize(("name", "arguments", "message"), REFUSED)
def test_what_is_refused_changes_nothing(
    sample: Tau2TaskSet, name: str, arguments: dict[str, Any], message: str
) -> None:
    tools = opened(sample, sample.task(0))
    with pytest.raises(ToolError, match=message):
        getattr(tools, name)(**arguments)

    assert tools.state() == {"users": {}, "orders": {}}


def test_what_was_changed_and_changed_back_is_as_it_was(sample: Tau2TaskSet) -> None:
    tools = opened(sample, sample.task(0))
    address = dict(tools.get_order_details("#W4923227")["address"])
    tools.modify_pending_order_address("#W4923227", **{**address, "zip": "00000"})
    changed = tools.state()["orders"].keys()
    tools.modify_pending_order_address("#W4923227", **address)

    assert list(changed) == ["#W4923227"]
    assert tools.state() == {"users": {}, "orders": {}}


def test_a_user_who_has_moved_is_found_where_they_are(sample: Tau2TaskSet) -> None:
    tools = opened(sample, sample.task(0))
    user_id = tools.find_user_id_by_name_zip("IVAN", "johnson", "94183")
    tools.modify_user_address(user_id, "1 A Street", "", "Reno", "NV", "USA", "89501")

    assert tools.find_user_id_by_name_zip("Ivan", "Johnson", "89501") == user_id
    with pytest.raises(ToolError):
        tools.find_user_id_by_name_zip("Ivan", "Johnson", "94183")


async def test_episodes_beside_each_other_share_nothing(sample: Tau2TaskSet) -> None:
    task = sample.task(0)
    before = json.dumps([sample.database(task).users, sample.database(task).orders])
    boxes = [Toolbox([partial(RetailTools, sample)], task=task, seed=n) for n in range(200)]
    user = {"user_id": "ivan_johnson_6036", "address2": "", "city": "c", "country": "d"}
    moves = [
        ToolCall("modify_user_address", {**user, "address1": str(n), "state": "NV", "zip": "1"})
        for n in range(200)
    ]
    await asyncio.gather(*(box.run([move]) for box, move in zip(boxes, moves, strict=True)))
    states = [(await box.state())["RetailTools"] for box in boxes]

    houses = [state["users"]["ivan_johnson_6036"]["address"]["address1"] for state in states]
    assert houses == [str(n) for n in range(200)]
    assert json.dumps([sample.database(task).users, sample.database(task).orders]) == before
    for box in boxes:
        await box.aclose()
