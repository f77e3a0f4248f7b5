"""Whole rows: our own, and the published ones where they are there; gold is paid, mutations not."""

import importlib.util
import random
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from qwq_env.errors import UsageError
from qwq_env.grading.calls import check_episode, grade_row, match_calls

from ...published import SAMPLES, read_rows

ROOT = Path(__file__).resolve().parents[3]
PUBLISHED = ROOT.parent / "shared" / "data" / "bfcl"
OWN = Path(__file__).with_name("rows.jsonl")
CATEGORIES = ("simple_python", "multiple", "parallel", "parallel_multiple", "live_simple")


def published(category: str) -> list[dict[str, Any]]:
    if not PUBLISHED.is_dir():
        pytest.skip("the published rows are not here")
    answers: dict[str, Any] = {}
    path = PUBLISHED / f"possible_answer_BFCL_v4_{category}.json"
    if path.is_file():
        answers = {row["id"]: row for row in read_rows(path)}
    rows = read_rows(PUBLISHED / f"BFCL_v4_{category}.json")
    return [{**row, **answers.get(row["id"], {})} for row in rows]


@pytest.fixture(scope="module")
def mutate() -> ModuleType:
    """The benchmark's mutations."""
    path = ROOT / "benchmarks" / "_call_mutations.py"
    spec = importlib.util.spec_from_file_location("call_mutations", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def paid(
    rows: list[dict[str, Any]], mutate: ModuleType
) -> tuple[list[str], Counter[str], list[str]]:
    """Gold that is not paid in full; how often each mutation was made; mutations that are paid."""
    rng = random.Random(0)
    unpaid, made, wrongly = [], Counter[str](), []
    for row in rows:
        answers, docs = row["ground_truth"], row["function"]
        for optional in (False, True):
            gold = mutate.gold_calls(answers, docs, optional)
            if match_calls(gold, answers, docs).value != 1.0:
                unpaid.append(row["id"])
        for kind, calls in mutate.mutations(answers, docs, rng):
            made[kind] += 1
            if match_calls(calls, answers, docs).value != 0.0:
                wrongly.append(f"{row['id']} {kind}")
    return unpaid, made, wrongly


def test_own_rows(mutate: ModuleType) -> None:
    rows = [row for row in read_rows(OWN) if "ground_truth" in row]
    unpaid, made, wrongly = paid(rows, mutate)

    assert (unpaid, wrongly) == ([], [])
    assert len(made) >= 35


@pytest.mark.parametrize("category", CATEGORIES)
def test_published_rows(category: str, mutate: ModuleType) -> None:
    unpaid, made, wrongly = paid(published(category), mutate)

    assert (unpaid, wrongly) == ([], [])
    assert len(made) >= 20


def sample(*categories: str) -> list[dict[str, Any]]:
    rows = read_rows(SAMPLES / "bfcl.jsonl")
    return [row for row in rows if row["id"].startswith(categories)]


def test_sample_of_published_rows(mutate: ModuleType) -> None:
    unpaid, made, wrongly = paid(sample(*CATEGORIES), mutate)

    assert (unpaid, wrongly) == ([], [])
    assert len(made) >= 20


@pytest.mark.parametrize("rows", [sample, published])
def test_published_irrelevance(rows) -> None:
    for row in rows("irrelevance"):
        docs = row["function"]
        call = [{"name": docs[0]["name"], "arguments": {}}]

        assert match_calls([], [], docs).value == 1.0
        assert match_calls("None of these functions fits.", [], docs).value == 1.0
        assert match_calls(call, [], docs).value == 0.0


def test_published_multi_turn() -> None:
    pytest.importorskip("bfcl_eval")
    for row in published("multi_turn_base"):
        gold = row["ground_truth"]
        last = next(index for index in reversed(range(len(gold))) if gold[index])

        assert check_episode(row, gold, gold).value == 1.0
        assert check_episode(row, gold, [*gold[:last], [], *gold[last + 1 :]]).value == 0.0
        assert check_episode(row, gold, gold[:-1]).reason == "wrong_turns"


async def test_a_row_is_scored_from_calls_or_from_the_answer_after_the_thinking() -> None:
    row = next(row for row in read_rows(OWN) if row["id"] == "own_parallel_0")
    right = "[percent(share=3, of=200), percent(share=4.0, of=300.0)]"

    assert (await grade_row({**row, "response": f"hm\n</think>\n\n{right}"})).value == 1.0
    assert (await grade_row({**row, "response": f"<think>{right}"})).value == 0.0
    assert (await grade_row({**row, "calls": [{"percent": {"share": 3, "of": 200}}]})).value == 0.0


async def test_saying_nothing_is_no_answer_where_no_call_must_be_made() -> None:
    row = next(row for row in read_rows(OWN) if row["id"] == "own_irrelevance_0")

    assert (await grade_row({**row, "response": "Goethe did."})).value == 1.0
    assert (await grade_row({**row, "calls": []})).value == 1.0
    assert (await grade_row({**row, "response": " \n"})).value == 0.0


async def test_a_rows_id_or_field_names_its_language() -> None:
    properties = {"n": {"type": "long"}}
    row = {
        "function": [{"name": "f", "parameters": {"properties": properties, "required": ["n"]}}],
        "ground_truth": [{"f": {"n": [3]}}],
        "response": "f(n=3L)",
    }

    assert (await grade_row({**row, "id": "simple_java_7"})).value == 1.0
    assert (await grade_row({**row, "language": "java"})).value == 1.0
    with pytest.raises(UsageError, match="long"):
        await grade_row(row)


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"function": []},
        {"function": [], "response": 5},
        {"function": [], "response": "a", "language": "cobol"},
        {"function": [], "response": "a", "ground_truth": "f()"},
    ],
)
async def test_a_malformed_row_is_the_operators_mistake(row: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        await grade_row(row)
