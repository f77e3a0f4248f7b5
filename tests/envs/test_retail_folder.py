"""What is said of a folder in tau2-bench's form that is not as it should be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from qwq_env.envs.retail.environment import RetailEnv
from qwq_env.errors import UsageError
from tests.published import SAMPLES

SAMPLE = SAMPLES / "tau2_retail"


def broken(folder: Path, name: str, change: Any) -> Path:
    """Copy the sample to `folder` with one file changed, or gone."""
    target = folder / "copy"
    shutil.copytree(SAMPLE, target)
    path = target / name
    if change is None:
        path.unlink()
    elif isinstance(change, str):
        path.write_text(change)
    else:
        value = json.loads(path.read_text())
        change(value)
        path.write_text(json.dumps(value))
    return target


BROKEN = [
    ("db.json", None, "db.json: No such file.*expected a folder with db.json"),
    ("policy.md", None, "policy.md: No such file"),
    ("tasks.json", None, "tasks.json: No such file"),
    ("tasks.json", "[{", "tasks.json: .*line 1.*expected JSON"),
    ("tasks.json", "{}", "tasks.json: {}; expected a list of tasks"),
    ("tasks.json", lambda rows: rows[1].pop("id"), "task 1: no id; found description"),
    (
        "tasks.json",
        lambda rows: rows[0].pop("evaluation_criteria"),
        r"task 0 \('39'\): no evaluation_criteria",
    ),
    (
        "tasks.json",
        lambda rows: rows[0]["evaluation_criteria"]["actions"][0].update(name="find_user"),
        "action 0, name: 'find_user' is not known.*did you mean",
    ),
    (
        "tasks.json",
        lambda rows: rows[2]["evaluation_criteria"]["actions"][0]["arguments"].pop("item_ids"),
        "action 0, arguments: missing a required argument: 'item_ids'; expected order_id, item_ids",
    ),
    (
        "tasks.json",
        lambda rows: rows[0]["evaluation_criteria"].update(communicate_info=[10]),
        "communicate_info, 0: 10; expected a text",
    ),
    (
        "tasks.json",
        lambda rows: rows[0].update(initial_state={"message_history": []}),
        "initial_state: .*expected null",
    ),
    (
        "tasks.json",
        lambda rows: rows[0]["evaluation_criteria"].update(actions=[{"name": "calculate"}]),
        "actions, 0: no arguments; found name",
    ),
    ("db.json", "[]", r"db.json: \[\]; expected an object"),
    ("db.json", lambda data: data.pop("orders"), "db.json: no orders; found products, users"),
    (
        "db.json",
        lambda data: data["orders"]["#W4923227"].update(items={}),
        "db.json, orders, #W4923227, items: {}; expected a list",
    ),
    (
        "db.json",
        lambda data: data["orders"]["#W4923227"]["items"][0].update(price="9"),
        "items, 0, price: '9'; expected a number",
    ),
    (
        "db.json",
        lambda data: data["users"]["isabella_lopez_6490"]["payment_methods"][
            "gift_card_8245350"
        ].pop("balance"),
        "gift_card_8245350: no balance",
    ),
    ("split_tasks.json", lambda splits: splits.pop("train"), "split: 'train' is not known"),
    ("split_tasks.json", None, "split_tasks.json is not there; expected 'base'"),
]


@pytest.mark.parametrize(("name", "change", "message"), BROKEN)
def test_what_is_wrong_in_a_folder_is_said_in_one_line(
    tmp_path: Path, name: str, change: Any, message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        RetailEnv(broken(tmp_path, name, change))

    assert "\n" not in str(caught.value)


def test_two_tasks_of_one_id_are_told_with_the_file(tmp_path: Path) -> None:
    folder = broken(tmp_path, "tasks.json", lambda rows: rows[1].update(id="39"))
    with pytest.raises(UsageError, match=r"tasks.json: .* two tasks share the id '39'"):
        RetailEnv(folder, split="base")
