"""What calls could do to the process that the services run in, and to each other."""

from __future__ import annotations

from typing import Any

import pytest

from qwq_env.grading.calls import Backends, Call, EpisodeCheck, backends

TREE = {"root": {"home": {"type": "directory", "contents": {}}}}


class Box:
    """Keeps the list that it is given, and writes into it."""

    documents = {"keep": {}, "add": {}, "bury": {}}  # noqa: RUF012 - a constant

    def __init__(self) -> None:
        self.kept: list[Any] = []

    def _load_scenario(self, scenario: Any) -> None:
        self.kept = scenario["kept"]

    def keep(self, numbers: list[int]) -> str:
        self.kept = numbers
        return "kept"

    def bury(self) -> None:
        for _ in range(5_000):
            self.kept = [self.kept]

    def add(self, number: int) -> str:
        self.kept.append(number)
        return "added"


ROW = {"involved_classes": ["Box"], "initial_config": {"Box": {"kept": []}}}


@pytest.fixture(autouse=True)
def without_bounds_of_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "_too_large", lambda call, document: "")


def test_a_service_of_ones_own_is_judged_as_bfcls_are() -> None:
    gold = [["keep(numbers=[1])", "add(number=2)"]]
    check = EpisodeCheck(ROW, gold, {"Box": Box})
    check.call(Call("keep", {"numbers": [1]}))
    check.call(Call("add", {"number": 2}))
    score = check.end_turn()

    assert score is not None and score.value == 1.0


def test_a_service_does_not_write_into_arguments() -> None:
    given = [1]
    services = Backends(["Box"], ROW["initial_config"], own={"Box": Box})
    services.call(Call("keep", {"numbers": given}))
    services.call(Call("add", {"number": 2}))

    assert given == [1]


def directories() -> Backends:
    pytest.importorskip("bfcl_eval")
    return Backends(["GorillaFileSystem"], {"GorillaFileSystem": TREE})


def do(services: Backends, *calls: str) -> str:
    """Do calls written as `name argument...`, and return what the last one gets."""
    said = ""
    for call in calls:
        name, *arguments = call.split()
        said = services.call(Call(name, {}, tuple(arguments)))
    return said


DOUBLING = [call for n in range(1, 40) for call in (f"cp d c{n}", f"mv c{n} d")]
INTO_ITSELF = ["cp d d"]
ROUND = ["cd d", "mkdir k", "cd k", "mkdir j", "cd ..", "mkdir m", "cp k m", "mv m k", "cd k",
         "mv m j", "cd ..", "cd .."]  # fmt: skip
LONG_NAMES = [
    call for n in range(60) for call in (f"mkdir {'x' * 20_000}{n}", f"cd {'x' * 20_000}{n}")
]


@pytest.mark.parametrize("calls", [DOUBLING, INTO_ITSELF, ROUND, LONG_NAMES])
def test_a_tree_without_end_is_neither_listed_nor_compared(calls: list[str]) -> None:
    services = directories()
    do(services, "mkdir d", "cd d", "touch f", "cd ..", *calls)

    assert "the directories hold too much" in do(services, "find .")
    assert services.differences(directories()) == ["GorillaFileSystem.root"]


def test_a_state_deeper_than_python_compares_is_another() -> None:
    services, same = (Backends(["Box"], ROW["initial_config"], own={"Box": Box}) for _ in range(2))
    for each in (services, same):
        each.call(Call("bury", {}))

    assert services.differences(same) == ["Box.kept"]


def test_a_copied_directory_is_what_it_was() -> None:
    services = directories()
    do(services, "mkdir d", "cd d", "touch f", "cd ..", "cp d e", "mkdir g", "mv e g")

    assert do(services, "find .").count('"./') == 5


def test_a_long_context_is_padded_and_shared_by_nobody() -> None:
    pytest.importorskip("bfcl_eval")
    row = {
        "id": "multi_turn_long_context_0",
        "involved_classes": ["TravelAPI", "GorillaFileSystem"],
        "initial_config": {"TravelAPI": {}, "GorillaFileSystem": TREE},
    }
    first, second = EpisodeCheck(row, []), EpisodeCheck(row, [])
    cards = first.services._instances["TravelAPI"].credit_card_list
    cards.clear()

    assert len(second.services._instances["TravelAPI"].credit_card_list) > 10
    assert "find" in first.services.documents
    assert len(do(second.services, "find .")) > 1000
