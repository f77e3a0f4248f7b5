"""BFCL's files as tasks: what is read, what is refused and how it is told."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qwq_env.envs.function_call.environment import FunctionCallEnv
from qwq_env.errors import UsageError
from qwq_env.grading.calls import BfclMissing, backends, service_documents
from qwq_env.task import ListTaskSet, Task
from tests.envs.test_function_call import call, play, say
from tests.published import SAMPLES, read_rows

ROWS = {row["id"].rpartition("_")[0]: row for row in read_rows(SAMPLES / "bfcl.jsonl")}
MULTI_TURN = SAMPLES / "bfcl"
MISSED = "BFCL_v4_multi_turn_miss_func.json"


def write(path: Path, *rows: Any) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def apart(folder: Path, category: str, place: str) -> Path:
    """Write a row and its answer into files of their own, as published."""
    row = ROWS[category]
    question = {name: row[name] for name in ("id", "question", "function")}
    write(folder / place, {"id": row["id"], "ground_truth": row["ground_truth"]})
    return write(folder / f"BFCL_v4_{category}.json", question)


def solved(env: FunctionCallEnv) -> list[float]:
    return [play(env, task, env.solve(task))[0] for task in env.tasks]


@pytest.mark.parametrize("place", ["possible_answer/BFCL_v4_{}", "possible_answer_BFCL_v4_{}"])
def test_a_file_finds_its_answers(tmp_path: Path, place: str) -> None:
    path = apart(tmp_path, "parallel", place.format("parallel.json"))

    assert solved(FunctionCallEnv(path)) == [1.0]


def test_a_folder_is_all_of_its_files_or_some_categories(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    apart(tmp_path, "parallel", "possible_answer_BFCL_v4_parallel.json")
    apart(tmp_path, "multiple", "possible_answer/BFCL_v4_multiple.json")
    write(tmp_path / "BFCL_v4_irrelevance.json", ROWS["irrelevance"])
    with caplog.at_level(logging.WARNING):
        write(tmp_path / "BFCL_v4_web_search.json", {"id": "web_search_0", "question": [[]]})
        env = FunctionCallEnv(tmp_path)

    assert [task.metadata["category"] for task in env.tasks] == [
        "irrelevance", "multiple", "parallel",
    ]  # fmt: skip
    assert "web_search.json:1: columns: id, question; expected question and function" in caplog.text
    chosen = FunctionCallEnv(tmp_path, categories=["multiple"])
    assert [task.metadata["category"] for task in chosen.tasks] == ["multiple"]
    with pytest.raises(UsageError, match="web_search"):
        FunctionCallEnv(tmp_path, strict=True)
    with pytest.raises(UsageError, match="expected BFCL_v4_ and one of simple"):
        FunctionCallEnv(tmp_path, categories=["simple"])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": "a_1", "ground_truth": []}, "found|columns: id, ground_truth.*nearest: answers"),
        (
            {"query": "q", "tools": "[]", "answers": "[]"},
            "columns: query, tools, answers; expected",
        ),
        ({"id": "m_1", "question": [[]], "initial_config": {}}, "nearest: multi-turn"),
        ({**ROWS["parallel"], "ground_truth": None}, "parallel_10: no file of possible answers"),
        ({**ROWS["parallel"], "ground_truth": {}}, "ground_truth: {}; expected a list"),
        ({**ROWS["parallel"], "ground_truth": [{"f": {}}]}, "'f' has no function document"),
        ({**ROWS["parallel"], "ground_truth": [{"math.pythagoras": {}}]}, "no call is paid by it"),
        ({**ROWS["parallel"], "question": 5}, "question: 5; expected the messages"),
        ({**ROWS["parallel"], "question": [[{"role": "x", "content": ""}]]}, "a message with role"),
        ({**ROWS["parallel"], "question": [[], []]}, "question: 2 turns; expected one"),
        ({**ROWS["parallel"], "function": []}, "function: \\[\\]; expected a list"),
        ({**ROWS["parallel"], "function": [{"name": "f"}]}, "expected name and parameters"),
        ({**ROWS["parallel"], "id": "simple_java_1"}, "simple_java: arguments are source"),
        (
            {**ROWS["irrelevance"], "id": "live_relevance_1"},
            "live_relevance_1: no file of possible",
        ),
    ],
)
def test_a_row_that_is_no_task_is_refused(tmp_path: Path, row: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        FunctionCallEnv(write(tmp_path / "BFCL_v4_x.json", row))


@pytest.mark.parametrize("tasks", ["library2", "", 5, None, "/nowhere/BFCL_v4_simple.json"])
def test_what_is_no_set_of_tasks_is_refused(tasks: Any) -> None:
    with pytest.raises(UsageError, match="expected 'library', a file or a folder"):
        FunctionCallEnv(tasks)


@pytest.mark.parametrize("metadata", [{}, {"function": []}, {"involved_classes": ["StockRoom"]}])
def test_a_task_that_cannot_be_judged_is_refused(metadata: Any) -> None:
    with pytest.raises(UsageError, match="task t: metadata holds"):
        FunctionCallEnv(ListTaskSet([Task("t", "Go.", "", metadata=metadata)]))


def test_tables_hold_documents_as_text_and_older_rows_one_of_them(tmp_path: Path) -> None:
    row = ROWS["parallel"]
    [document] = row["function"]
    properties = json.dumps(document["parameters"]["properties"])
    table = [{**document, "parameters": {**document["parameters"], "properties": properties}}]
    older = {"question": row["question"][0][0]["content"], "function": document}
    path = write(
        tmp_path / "rows.jsonl",
        {**row, "id": "parallel_1", "function": table},
        {**row, "id": "parallel_2", "function": json.dumps(row["function"])},
        {**row, "id": "parallel_3", **older},
    )

    assert solved(FunctionCallEnv(path, strict=True)) == [1.0, 1.0, 1.0]


def test_a_rows_own_system_message_stands_before_what_is_told() -> None:
    row = {"function": ROWS["parallel"]["function"], "ground_truth": []}
    messages = ({"role": "system", "content": "Be kind."}, {"role": "user", "content": "Go."})
    env = FunctionCallEnv(
        ListTaskSet([Task("t", "Go.", "", messages, row)]), system_prompt="First."
    )
    _, info = env.reset()

    assert [message["role"] for message in info["messages"]] == ["system", "user"]
    assert info["messages"][0]["content"].startswith("First.\n\nBe kind.\n\nCall the functions")


def test_multi_turn_gold_is_paid_and_one_call_less_is_not() -> None:
    pytest.importorskip("bfcl_eval")
    env = FunctionCallEnv(MULTI_TURN, strict=True)
    assert len({task.metadata["category"] for task in env.tasks}) == 4
    for task in env.tasks:
        turns = list(env.solve(task))
        last = max(number for number, turn in enumerate(turns) if turn.get("tool_calls"))
        *kept, _ = turns[last]["tool_calls"]
        fewer = [{**turns[last], "tool_calls": kept}] if kept else []

        assert play(env, task, turns)[0] == 1.0, task.id
        assert play(env, task, [*turns[:last], *fewer, *turns[last + 1 :]])[0] == 0.0, task.id
        silent = [say()] * (1 + len(task.metadata["follow_ups"]))
        assert play(env, task, silent)[0] == 0.0, task.id


SAID = [{"role": "user", "content": "Go."}]
TWO: dict[str, Any] = {"question": [SAID, []], "ground_truth": [[], ["pwd()"]]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"question": [[], []]}, "ground_truth: 1 turns; expected 2"),
        ({"question": [[]]}, "question, turn 0: no message; expected one, or missed_function"),
        ({"missed_function": {"0": ["cp"]}}, "missed_function: .* by their turn, .1. to .0."),
        ({**TWO, "missed_function": {"2": ["cp"]}}, "missed_function: .* by their turn, .1. to .1"),
        ({**TWO, "missed_function": {"1": ["fax"]}}, "missed_function: 'fax' is no function of"),
        ({**TWO, "missed_function": {"1": "cp"}}, "missed_function, 1: 'cp'; expected a list"),
        ({**TWO, "missed_function": ["cp"]}, "missed_function: \\['cp'\\]; expected names"),
        (
            {**TWO, "question": [SAID, SAID], "missed_function": {"1": ["cp"]}},
            "question, turn 1: a message, and functions are shown",
        ),
        ({"ground_truth": [["pwd()"]] * 9}, "9 turns; expected 1"),
        ({"ground_truth": [["mkdir(x)"]]}, "gold: .* is not one call"),
        ({"ground_truth": [["send_fax(to='x')"]]}, "'send_fax' is no function of the row"),
        ({"excluded_function": ["find"]}, "'find' is no function of the row"),
        ({"involved_classes": ["GorillaFiles"]}, "service: 'GorillaFiles' is not known"),
    ],
)
def test_an_episode_that_cannot_be_played_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    pytest.importorskip("bfcl_eval")
    row = read_rows(MULTI_TURN / "BFCL_v4_multi_turn_base.json")[0]
    row["ground_truth"] = [["find(path='.', name='x')"]]
    row["question"] = row["question"][:1]
    with pytest.raises(UsageError, match=message):
        FunctionCallEnv(write(tmp_path / "BFCL_v4_x.json", {**row, **change}))


@pytest.fixture(scope="module")
def held() -> FunctionCallEnv:
    pytest.importorskip("bfcl_eval")
    return FunctionCallEnv(MULTI_TURN / MISSED, strict=True)


def test_a_missing_function_comes_with_its_turn_and_is_needed_there(held: FunctionCallEnv) -> None:
    task = held.tasks.find("multi_turn_miss_func_47")
    turns = list(held.solve(task))
    prompt, info = held.reset(options={"task": task})
    shown = [{tool["function"]["name"] for tool in info["tools"]}]
    offers = []
    for turn in turns:
        observation, reward, *_, info = held.step(turn)
        if "tools" in info:
            shown.append({tool["function"]["name"] for tool in info["tools"]})
            offers.append(observation)

    [(place, names)] = enumerate_offers(task)
    assert reward == 1.0 and shown[1] - shown[0] == set(names)
    assert all(f'"name": "{name}"' not in prompt for name in names)
    assert all(f'"name": "{name}"' in offers[0] for name in names)
    assert play(held, task, without_turn(turns, place))[0] == 0.0


def enumerate_offers(task: Task) -> list[tuple[int, list[str]]]:
    """Return the turns in which functions are offered, and which."""
    said = enumerate(task.metadata["follow_ups"], start=1)
    return [(turn, m["tools"]) for turn, messages in said for m in messages if "tools" in m]


def without_turn(turns: list[Any], place: int) -> list[Any]:
    """Leave out the calls of one of the user's turns."""
    kept, ended = [], 0
    for turn in turns:
        calls = bool(turn.get("tool_calls"))
        if not (calls and ended == place):
            kept.append(turn)
        ended += not calls
    return kept


def test_a_missing_function_does_not_run_before(held: FunctionCallEnv) -> None:
    task = held.tasks.find("multi_turn_miss_func_46")
    [(_, [*names])] = enumerate_offers(task)
    held.reset(options={"task": task})
    *_, info = held.step(call(*((name, {}) for name in names)))

    assert {result["kind"] for result in info["results"]} == {"unknown_tool"}
    assert play(held, task, [call((names[0], {})), *held.solve(task)])[0] == 1.0


@pytest.mark.parametrize(
    ("missed", "offers"),
    [
        ('{"2": ["mean"]}', [(2, ["mean"])]),
        ({"1": None, "2": ["mean", "mean"], "9": None}, [(2, ["mean"])]),
        ({"3": ["mean", "sort"], "2": ["mean"]}, [(2, ["mean"]), (3, ["sort"])]),
    ],
)
def test_missing_functions_are_read_from_tables_too(
    tmp_path: Path, missed: Any, offers: list[tuple[int, list[str]]]
) -> None:
    pytest.importorskip("bfcl_eval")
    row = {row["id"]: row for row in read_rows(MULTI_TURN / MISSED)}["multi_turn_miss_func_47"]
    answers = read_rows(MULTI_TURN / "possible_answer" / MISSED)
    row["ground_truth"] = {row["id"]: row["ground_truth"] for row in answers}[row["id"]]
    for turn, _ in offers:
        row["question"][turn] = []
    env = FunctionCallEnv(write(tmp_path / MISSED, {**row, "missed_function": missed}))

    assert [enumerate_offers(task) for task in env.tasks] == [offers]
    assert solved(env) == [1.0]


def test_a_task_that_offers_a_function_twice_is_refused(held: FunctionCallEnv) -> None:
    task = held.tasks.find("multi_turn_miss_func_47")
    offer = [message for messages in task.metadata["follow_ups"] for message in messages]
    metadata = {**task.metadata, "follow_ups": [offer, offer]}
    with pytest.raises(UsageError, match=r"missed_function: .* is offered twice"):
        FunctionCallEnv(ListTaskSet([replace(task, metadata=metadata)]))


def test_a_function_that_the_gold_needs_before_is_there(held: FunctionCallEnv) -> None:
    """Of this row's three the gold calls `tail` two turns before it is shown."""
    task = held.tasks.find("multi_turn_miss_func_49")
    _, info = held.reset(options={"task": task})

    assert enumerate_offers(task) == [(3, ["wc", "cat"])]
    assert "tail" in {tool["function"]["name"] for tool in info["tools"]}


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends.importlib.util, "find_spec", lambda name: None)
    service_documents.cache_clear()
    try:
        with pytest.raises(BfclMissing, match=r"qwq-env\[bfcl\]"):
            FunctionCallEnv(MULTI_TURN)
    finally:
        service_documents.cache_clear()
