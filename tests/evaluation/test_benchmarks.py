"""Benchmarks by name: their data, their protocols, and answers that are known to be right."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from qwq_env.cli import main
from qwq_env.errors import UsageError
from qwq_env.evaluation.benchmarks import BENCHMARKS, find_benchmark
from qwq_env.evaluation.benchmarks.data import load_data
from qwq_env.evaluation.benchmarks.math_answers import box_vote
from qwq_env.evaluation.benchmarks.protocol import Hub

from ..published import SAMPLES
from ..rollout.chat_server import ANSWER, Server

AIME = [
    {"prompt": "How much is 2 + 2?\nPut it in \\boxed{}.", "answer": 4},
    {"prompt": "How much is 70 + 3?\nPut it in \\boxed{}.", "answer": 73},
]
TESTS = "def check(candidate):\n    assert candidate(1) == 2\n    assert candidate(5) == 6\n"
HUMANEVAL = {
    "task_id": "HumanEval/0",
    "prompt": 'def following(n):\n    """ The next number.\n    >>> following(1)\n    2\n    """\n',
    "entry_point": "following",
    "canonical_solution": "    return n + 1\n",
    "test": TESTS,
}
CASES = [{"input": f"{n}\n", "output": f"{n + 1}\n", "testtype": "stdin"} for n in (1, 5)]
LIVE = {
    "question_id": "abc_a",
    "question_content": "Read a number, and print the next one.",
    "contest_date": "2024-08-03T00:00:00",
    "difficulty": "easy",
    "public_test_cases": json.dumps(CASES[:1]),
    "private_test_cases": json.dumps(CASES[1:]),
}


def write_rows(path: Path, rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def aime(tmp_path) -> str:
    return write_rows(tmp_path / "aime24.jsonl", AIME)


def evaluate(name: str, data: str, answers, tmp_path: Path, capsys, *more: str) -> dict:
    file = write_rows(tmp_path / "answers.jsonl", answers)
    out = str(tmp_path / "out")
    code = main(["eval", name, "--data", data, "--answers", file, "--json", "--out", out, *more])
    told = capsys.readouterr()
    assert code == 0, told.err
    return json.loads(told.out)


@pytest.mark.parametrize("name", BENCHMARKS)
@pytest.mark.parametrize("preset", ["qwq", "official"])
def test_a_protocol_says_all_that_a_reader_asks(name, preset):
    benchmark = find_benchmark(name)
    protocol = benchmark.protocol(preset)

    assert benchmark.name == name and benchmark.home.startswith("https://")
    assert all([protocol.prompt, protocol.extraction, protocol.judge, protocol.metric])
    assert protocol.source and protocol.samples >= 1
    if preset == "qwq":
        sampling = protocol.sampling
        assert (sampling.temperature, sampling.top_p, sampling.top_k) == (0.6, 0.95, 40)
        assert protocol.tokens == 32_768


def test_samples_are_those_that_qwq_was_measured_with():
    wanted = {"aime24": 64, "aime25": 64, "livecodebench": 8, "ifeval": 1}

    assert {name: find_benchmark(name).protocol("qwq").samples for name in wanted} == wanted


def test_right_answers_are_paid_and_the_report_says_by_whom(aime, tmp_path, capsys):
    answers = [
        {"prompt": AIME[0]["prompt"], "gen": ["<think>\nhm\n</think>\n\n\\boxed{4}", "\\boxed{4}"]},
        {"prompt": AIME[1]["prompt"], "gen": ["\\boxed{73}", "\\boxed{7300}"]},
    ]
    told = evaluate("aime24", aime, answers, tmp_path, capsys)

    assert told["accuracy"][0] == 0.75
    # QwQ's own comparison takes a hundredfold for right.
    assert told["measures"] == {"qwq_judge": [1.0, 0.0]}
    assert told["passes"]["2"][0] == 1.0 and told["consensus"][0] == 0.75
    about = told["benchmark"]
    assert (about["preset"], about["data"], about["left_out"]) == ("qwq", aime, 0)
    assert about["other_than_preset"] == {"samples": 2}
    assert len(about["sha256"]) == 64 and about["published_tasks"] == 30
    settings = json.loads((tmp_path / "out" / "settings.json").read_text())
    assert (settings["temperature"], settings["top_k"], settings["data_sha256"]) == (
        0.6,
        40,
        about["sha256"],
    )
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["benchmark"] == about


def test_a_task_without_an_answer_is_lost_and_named(aime, tmp_path, capsys):
    told = evaluate("aime24", aime, [{"task_id": "aime24/1", "response": "4"}], tmp_path, capsys)

    assert told["lost"] == {"refused": 1}
    assert told["accuracy"] == [0.0, None]  # a number without a box is no answer
    assert told["lost_episodes"] == [
        "evaluation.1 of aime24/2: refused there is no stored answer to this task"
    ]


def test_a_server_is_asked_as_the_preset_says_but_for_what_an_option_does(aime, tmp_path, capsys):
    with Server([ANSWER], repeat=True) as server:
        code = main(
            ["eval", "aime24", "--data", aime, "--endpoint", server.url, "--model", "m", "--json",
             "--samples", "2", "--top-k", "20", "--out", str(tmp_path / "out")]
        )  # fmt: skip

    assert code == 0 and len(server.requests) == 4
    wanted = {"temperature": 0.6, "top_p": 0.95, "top_k": 20, "max_tokens": 32_768}
    assert all(wanted.items() <= body.items() and "tools" not in body for body in server.requests)
    told = json.loads(capsys.readouterr().out)["benchmark"]
    assert told["other_than_preset"] == {"samples": 2, "top_k": 20}


def test_ifeval_is_judged_as_published_strictly_and_beside_it_loosely(tmp_path, capsys):
    rules = {"instruction_id_list": ["startend:quotation", "punctuation:no_comma"]}
    row = {"prompt": "Speak in quotes, without commas.", **rules, "kwargs": [{}, {}]}
    titled = {
        "prompt": "A title.",
        "kwargs": [{}],
        "instruction_id_list": ["detectable_format:title"],
    }
    data = write_rows(tmp_path / "ifeval.jsonl", [row, titled])
    answers = [
        {"prompt": row["prompt"], "response": '"Hello."'},
        {"prompt": row["prompt"], "response": 'Sure!\n"Hello."'},
        {"prompt": titled["prompt"], "response": "<<\u200b>>"},
        {"prompt": titled["prompt"], "response": "none"},
    ]
    told = evaluate("ifeval", data, answers, tmp_path, capsys)

    # What nobody sees is a title by the published rules, which a reward does not pay.
    assert told["accuracy"][0] == 0.5
    assert told["measures"]["loose"][0] == 0.75
    assert told["measures"]["share of instructions"][0] == pytest.approx((1 + 0.5 + 1 + 0) / 4)


DATA = SAMPLES.parent
GOLD = {
    "gsm8k": (SAMPLES / "gsm8k.jsonl", None),
    "math500": (DATA / "math" / "math500.jsonl", None),
    "aime25": (DATA / "math" / "aime25.jsonl", None),
    "amc23": (DATA / "math" / "amc23.jsonl", None),
    "mbpp": (DATA / "code" / "mbpp_sanitized.jsonl", None),
    "bfcl": (SAMPLES / "bfcl", None),
    "retail": (SAMPLES / "tau2_retail", None),
    "humaneval": (DATA / "code" / "humaneval.jsonl", None),
    "livecodebench": (None, [LIVE, LIVE | {"question_id": "old", "contest_date": "2023-05-01"}]),
}
SOLVED = {"livecodebench": "```python\nprint(int(input()) + 1)\n```"}


@pytest.mark.parametrize("name", GOLD)
def test_gold_is_paid_and_silence_is_not(name, tmp_path, capsys):
    from qwq_env.registry import make_environment

    place, rows = GOLD[name]
    data = str(place) if rows is None else write_rows(tmp_path / "test.jsonl", rows)
    benchmark = find_benchmark(name)
    tasks = load_data(benchmark, "qwq", data).tasks
    given = {**benchmark.protocol("qwq").arguments, "tasks": tasks}
    env = make_environment(benchmark.environment, given)
    gold = [
        {
            "task_id": task.id,
            "response": SOLVED.get(name) or env.solve(task) or env.phrase_answer(str(task.answer)),
        }
        for task in env.tasks
    ]
    told = evaluate(name, data, gold, tmp_path, capsys)
    silent = tmp_path / "silent"
    silent.mkdir()
    nothing = evaluate(name, data, [row | {"response": ""} for row in gold], silent, capsys)

    assert told["accuracy"][0] == 1.0 and told["lost"] == {} and told["undecided"] == []
    assert told["tasks"] == env.tasks.size == len(gold)
    assert nothing["accuracy"][0] == 0.0 and nothing["lost"] == {}


@pytest.mark.parametrize(
    ("printed", "expected", "passed"),
    [("1.0000001", "1", False), ("0.30000001", "0.3", False), ("1e3", "1000", True),
     ("0010", "10", True)],
)  # fmt: skip
def test_livecodebench_is_compared_as_its_own_judge_does(
    printed, expected, passed, tmp_path, capsys
):
    tests = json.dumps([{"input": "1", "output": expected, "testtype": "stdin"}])
    rows = [LIVE | {"public_test_cases": tests, "private_test_cases": tests}]
    data = write_rows(tmp_path / "test.jsonl", rows)
    said = f"```python\nprint({printed!r})\n```"
    answers = [{"task_id": "abc_a", "response": said}]
    told = evaluate("livecodebench", data, answers, tmp_path, capsys)

    assert told["accuracy"][0] == passed


WRONG_DATA = {
    "of another benchmark": ("aime24", [HUMANEVAL], "rows of humaneval look so"),
    "of one that reads files": ("bfcl", [HUMANEVAL], "rows of humaneval look so"),
    "of another, for livebench": ("livebench", AIME, "rows of aime24 or aime25 look so"),
    "lacks a column": ("ifeval", [{"prompt": "p", "kwargs": []}], "lacks 'instruction_id_list'"),
    "names tests only": (
        "livecodebench",
        [{"question_id": "a", "prompt": "p", "tests": {"fname": "a.json"}}],
        "private_test_cases",
    ),
}


@pytest.mark.parametrize(("name", "rows", "words"), WRONG_DATA.values(), ids=WRONG_DATA)
def test_another_schema_is_one_line(name, rows, words, tmp_path, capsys):
    data = write_rows(tmp_path / "rows.jsonl", rows)
    answers = write_rows(tmp_path / "answers.jsonl", [{"task_id": "a", "response": "b"}])
    code = main(
        ["eval", name, "--data", data, "--answers", answers, "--out", str(tmp_path / "out")]
    )

    error = capsys.readouterr().err
    assert code == 2 and len(error.splitlines()) == 1
    assert "columns: 'question_id'" in error or "columns: 'task_id'" in error or "'prompt'" in error
    assert "expected" in error and words in error
    assert "nearest form" in error or name in ("bfcl", "livebench")
    assert not (tmp_path / "out").exists()


BAD = {
    "preset": (["aime24", "--preset", "qwqq"], "preset: 'qwqq' is not known (did you mean 'qwq'?)"),
    "benchmark": (["livebnch"], "benchmark: 'livebnch' is not known"),
    "data of an environment": (["qwq/MathTool-v0", "--data", "x"], "data: 'x'; qwq/MathTool-v0 is"),
    "no such data": (["aime24", "--data", "no.jsonl"], "data: 'no.jsonl' does not exist"),
    "tasks": (["aime24", "--tasks", "."], "tasks: '.'; a benchmark's own"),
    "no hub": (["retail"], "data: none, and retail is on no hub; expected --data"),
}


@pytest.mark.parametrize(("arguments", "words"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line(arguments, words, tmp_path, capsys):
    answers = write_rows(tmp_path / "answers.jsonl", [{"task_id": "a", "response": "b"}])
    code = main(["eval", *arguments, "--answers", answers, "--out", str(tmp_path / "out")])

    assert code == 2
    assert capsys.readouterr().err.startswith(f"qwq: error: {words}")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"question": "q"}, "nearest form"),
        ({"task_id": "a", "response": 7}, "response: 7; expected a text"),
        ({"task_id": "a", "gen": "text"}, "gen: 'text'; expected a list"),
        ({"task_id": "a", "response": {"role": "user", "content": "b"}}, "assistant message"),
        ({"task_id": "elsewhere", "response": "b"}, "none is of a task"),
    ],
)
def test_bad_answers_are_one_line(row, words, aime, tmp_path, capsys):
    answers = write_rows(tmp_path / "answers.jsonl", [row])
    out = tmp_path / "out"
    code = main(["eval", "aime24", "--data", aime, "--answers", answers, "--out", str(out)])

    error = capsys.readouterr().err
    assert code == 2 and words in error and len(error.splitlines()) == 1
    assert not out.exists()


def test_the_hub_is_read_as_a_local_folder_of_its_layout(tmp_path):
    (tmp_path / "test.jsonl").write_text(json.dumps({"problem": "1 + 1?", "answer": 2}) + "\n")
    aime25 = find_benchmark("aime25")
    found = load_data(replace(aime25, hub=Hub(str(tmp_path))), "qwq")

    [task] = found.tasks
    assert (task.answer, found.where) == (2, f"hub: {tmp_path} [default, test]")
    files = tmp_path / "files"
    files.mkdir()
    write_rows(files / "test5.jsonl", [LIVE])
    live = replace(find_benchmark("livecodebench"), hub=Hub(str(files), files=("test*.jsonl",)))
    assert load_data(live, "qwq").tasks.size == 1


def test_arrays_and_folders_are_read(tmp_path):
    row = {
        "task_id": 2,
        "prompt": "Write a function that adds one.",
        "code": "def add(n):\n    return n + 1",
        "test_imports": [],
        "test_list": ["assert add(1) == 2", "assert add(2) == 3"],
    }
    (tmp_path / "sanitized-mbpp.json").write_text(json.dumps([row], indent=1))
    (tmp_path / "other.jsonl").write_text("{}\n")

    assert load_data(find_benchmark("mbpp"), "qwq", str(tmp_path)).tasks.size == 1
    with pytest.raises(UsageError, match=r"holds other.jsonl, sanitized-mbpp.json; expected"):
        load_data(find_benchmark("aime24"), "qwq", str(tmp_path))


@pytest.mark.parametrize(
    ("answers", "same"),
    [
        (["\\boxed{204}", "so \\boxed{204.0}", "\\boxed{0204}", "\\boxed{204}."], True),
        (["\\boxed{\\frac12}", "\\boxed{\\dfrac{1}{2}}"], True),
        (["\\boxed{1}", "\\boxed{2}"], False),
    ],
)
def test_votes_are_for_answers_and_not_for_spellings(answers, same):
    assert (len(set(map(box_vote, answers))) == 1) == same
    assert box_vote("no box") is None
