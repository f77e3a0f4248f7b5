"""Multi-turn episodes, on a small package of the same shape as bfcl-eval, made for the tests."""

import decimal
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qwq_env.errors import UsageError
from qwq_env.grading.calls import (
    Backends,
    BfclMissing,
    Call,
    EpisodeCheck,
    backends,
    check_episode,
    grade_row,
    service_documents,
)

MODULE = """
import decimal


class TicketAPI:
    def __init__(self):
        self.tickets = []
        self._secret = object()

    def _load_scenario(self, scenario, long_context=False):
        self.tickets = scenario["tickets"]

    def create_ticket(self, title, priority=1):
        self.tickets.append({"title": title, "priority": priority})
        return {"id": len(self.tickets)}

    def get_ticket(self, ticket_id):
        return self.tickets[ticket_id]

    def fine_print(self, digits):
        decimal.getcontext().prec = digits
        return str(decimal.Decimal(1) / 3)

    def purge(self):
        self.tickets.clear()
        return "gone"
"""
DOCUMENTS = [
    {"name": "create_ticket", "parameters": {"properties": {"title": {}, "priority": {}}}},
    {"name": "get_ticket", "parameters": {"properties": {"ticket_id": {}}}},
    {"name": "fine_print", "parameters": {"properties": {"digits": {}}}},
]
ROW: dict[str, Any] = {
    "id": "multi_turn_own_0",
    "involved_classes": ["TicketAPI"],
    "initial_config": {"TicketAPI": {"tickets": [{"title": "old", "priority": 1}]}},
}
GOLD = [["create_ticket(title='a')", "create_ticket('b', priority=2)"], [], ["get_ticket(0)"]]


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    code = tmp_path / "bfcl_eval/eval_checker/multi_turn_eval/func_source_code"
    docs = tmp_path / "bfcl_eval/data/multi_turn_func_doc"
    code.mkdir(parents=True)
    docs.mkdir(parents=True)
    for folder in (code, *list(code.parents)[:3]):
        (folder / "__init__.py").touch()
    (code / "ticket_api.py").write_text(MODULE)
    (docs / "ticket_api.json").write_text("\n".join(map(json.dumps, DOCUMENTS)))
    real = {name: sys.modules.pop(name) for name in list(sys.modules) if name[:9] == "bfcl_eval"}
    monkeypatch.syspath_prepend(str(tmp_path))
    service_documents.cache_clear()
    yield
    for name in [name for name in sys.modules if name[:9] == "bfcl_eval"]:
        del sys.modules[name]
    sys.modules.update(real)
    service_documents.cache_clear()


def test_gold_calls_are_paid_in_either_form() -> None:
    structured = [
        [
            Call("create_ticket", {"title": "a"}),
            Call("create_ticket", {"title": "b", "priority": 2}),
        ],
        [],
        [{"name": "get_ticket", "arguments": {"ticket_id": 0}}],
    ]

    assert check_episode(ROW, GOLD, GOLD).value == 1.0
    assert check_episode(ROW, GOLD, structured).value == 1.0


@pytest.mark.parametrize(
    "turn, calls, reason",
    [
        (0, [], "no_calls"),
        (0, ["create_ticket(title='a')"], "wrong_state"),
        (0, ["create_ticket(title='b', priority=2)", "create_ticket(title='a')"], "wrong_state"),
        (0, ["create_ticket(title='a')", "create_ticket(title='b', priority=True)"], "wrong_state"),
        (0, [*GOLD[0], "create_ticket(title='c')"], "wrong_state"),
        (1, ["create_ticket(title='c')"], "wrong_state"),
        (2, ["get_ticket(1)"], "missing_response"),
        (2, ["tickets()"], "missing_response"),
        (2, ["I looked at the ticket."], "no_calls"),
        (2, ["get_ticket(ticket_id=x)"], "malformed"),
    ],
)
def test_what_is_not_paid(turn: int, calls: list[str], reason: str) -> None:
    turns = [*GOLD[:turn], calls, *GOLD[turn + 1 :]]

    assert check_episode(ROW, GOLD, turns).reason == reason


def test_a_turn_without_gold_calls_is_judged_with_the_next() -> None:
    """As BFCL does; but for the last turn, in which it would pay whatever is done."""
    make, read, more = ["create_ticket('c')"], ["get_ticket(0)"], ["create_ticket('d')"]
    gold = [[], make]

    assert check_episode(ROW, gold, [make, read]).value == 1.0
    assert check_episode(ROW, gold, [make, []]).reason == "no_calls"
    assert check_episode(ROW, gold, [more, make]).reason == "wrong_state"
    assert check_episode(ROW, [make, []], [make, more]).reason == "wrong_state"
    assert check_episode(ROW, [make, []], [make, read]).value == 1.0


@pytest.mark.parametrize("turn", [0, 1, 2])
def test_reading_more_than_was_asked_costs_nothing(turn: int) -> None:
    turns = [list(calls) for calls in GOLD]
    turns[turn].append("get_ticket(ticket_id=0)")

    assert check_episode(ROW, GOLD, turns).value == 1.0


def test_a_response_of_an_earlier_turn_counts() -> None:
    turns = [[*GOLD[0], "get_ticket(0)"], [], ["get_ticket(1)"]]

    assert check_episode(ROW, GOLD, turns).value == 1.0


def test_the_episode_is_played_call_by_call() -> None:
    check = EpisodeCheck(ROW, GOLD)

    assert check.call(Call("create_ticket", {"title": "a"})) == '{"id": 2}'
    assert check.call(Call("create_ticket", {"title": "b", "priority": 2})) == '{"id": 3}'
    assert check.end_turn() is None
    assert check.end_turn() is None
    assert check.call(Call("get_ticket", {}, (0,))) == '{"title": "old", "priority": 1}'
    score = check.end_turn()
    assert score is not None and score.value == 1.0
    with pytest.raises(UsageError):
        check.end_turn()


def test_nothing_is_shared_between_episodes() -> None:
    first, second = (Backends(["TicketAPI"], ROW["initial_config"]) for _ in range(2))
    first.call(Call("create_ticket", {"title": "mine"}))

    assert first.differences(second) == ["TicketAPI.tickets"]
    assert ROW["initial_config"]["TicketAPI"]["tickets"] == [{"title": "old", "priority": 1}]


def test_a_services_numeric_precision_stays_inside() -> None:
    services = Backends(["TicketAPI"], ROW["initial_config"])
    before = decimal.getcontext().prec

    assert services.call(Call("fine_print", {"digits": 5})) == "0.33333"
    assert decimal.getcontext().prec == before


@pytest.mark.parametrize(
    "name", ["purge", "_load_scenario", "__init__", "tickets", "__class__", ""]
)
def test_only_documented_methods_can_be_called(name: str) -> None:
    services = Backends(["TicketAPI"], ROW["initial_config"])

    assert "is not defined" in services.call(Call(name, {}))
    assert services.differences(Backends(["TicketAPI"], ROW["initial_config"])) == []


@pytest.mark.parametrize("arguments", [{}, {"ticket_id": "x"}, {"ticket_id": 99}, {"self": 1}])
def test_a_services_failure_is_its_answer(arguments: dict[str, Any]) -> None:
    services = Backends(["TicketAPI"], ROW["initial_config"])

    assert services.call(Call("get_ticket", arguments)).startswith("Error during execution")


def test_an_excluded_function_is_not_offered() -> None:
    services = Backends(["TicketAPI"], ROW["initial_config"], excluded=["get_ticket"])

    assert list(services.documents) == ["create_ticket", "fine_print"]
    assert "is not defined" in services.call(Call("get_ticket", {"ticket_id": 0}))


async def test_a_row_is_an_episode_when_it_names_services() -> None:
    assert (await grade_row({**ROW, "ground_truth": GOLD, "calls": GOLD})).value == 1.0
    assert (await grade_row({**ROW, "ground_truth": GOLD})).reason == "wrong_turns"


def test_a_malformed_row_is_the_operators_mistake() -> None:
    for row in ({}, {**ROW, "involved_classes": ["TicketApi"]}, {**ROW, "initial_config": {}}):
        with pytest.raises(UsageError):
            check_episode(row, GOLD, GOLD)
    with pytest.raises(UsageError, match="gold"):
        check_episode(ROW, [["create_ticket(title=name)"]], [[]])


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends.importlib.util, "find_spec", lambda name: None)
    service_documents.cache_clear()

    with pytest.raises(BfclMissing, match=r"qwq-env\[bfcl\]"):
        check_episode(ROW, GOLD, GOLD)


def test_a_call_that_would_take_minutes_is_answered_at_once() -> None:
    documents = {"parameters": {"properties": {"base": {}, "exponent": {}}}}

    for huge in (10**9, -(10**9), 1e300, float("inf"), float("nan")):
        assert backends._too_large(Call("power", {"base": 2, "exponent": huge}), documents)
        assert backends._too_large(Call("power", {}, (2, huge)), documents)
    assert not backends._too_large(Call("power", {"base": 2, "exponent": 64}), documents)
