"""`qwq eval`: what it prints, what it leaves, and how it goes on."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Iterator

import gymnasium as gym
import pytest
from aiohttp import web

from qwq_env.cli import main
from qwq_env.env import ToolEnv
from qwq_env.evaluation.summary import clustered_mean
from qwq_env.rubric import Component, Rubric
from qwq_env.task import ListTaskSet, Task, load_jsonl

from ..rollout.chat_server import ANSWER, Server
from ..rollout.vllm_stub import StubServer, completion

ENV = "tests/Say-v0"


def say(tasks=None, tools=()) -> ToolEnv:
    """Tasks to say a number; half of the numbers are paid, whatever is said.

    No thinking is opened in the prompt, so that any text is an answer.
    """
    made = [Task(f"t{i}", f"Say {i}.", str(i)) for i in range(8)]
    rubric = Rubric([Component("even", lambda final: float(int(final.task.answer) % 2 == 0))])
    given = ListTaskSet(made) if tasks is None else load_jsonl(tasks)
    return ToolEnv(given, list(tools), rubric, dialect="tags")


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    gym.register(ENV, entry_point=say)
    yield
    del gym.registry[ENV]


@pytest.fixture(scope="module")
def checkpoint(tokenizer, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save_pretrained(path)
    return str(path)


@pytest.fixture
def stub() -> Iterator[StubServer]:
    """A server on a loop of its own, since the command has one, too."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = StubServer()
    server.models = [{"id": "policy", "max_model_len": 10_000}]
    server.on_loop = lambda coroutine: asyncio.run_coroutine_threadsafe(coroutine, loop).result()
    server.on_loop(server.__aenter__())
    yield server
    server.on_loop(server.__aexit__())
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def evaluate(stub, checkpoint, out, *more: str) -> int:
    return main(
        ["eval", ENV, "--vllm", stub.url, "--checkpoint", checkpoint, "--out", str(out), *more]
    )


def test_every_task_is_played_and_kept(stub, checkpoint, tmp_path, capsys):
    out = tmp_path / "out"
    code = evaluate(stub, checkpoint, out, "--samples", "3", "--json", "--temperature", "0.5")

    printed = json.loads(capsys.readouterr().out)
    assert code == 0
    assert (printed["episodes"], printed["tasks"], printed["lost"]) == (24, 8, {})
    # Every sample of a task is worth the same, so it is eight draws and not 24.
    assert printed["accuracy"] == [0.5, pytest.approx(0.5 / 7**0.5)]
    assert printed["sampled_tokens"] == 48
    assert {body["temperature"] for body in stub.bodies} == {0.5}
    assert not any("seed" in body for body in stub.bodies)
    assert len((out / "episodes.jsonl").read_text().splitlines()) == 24
    assert json.loads((out / "settings.json").read_text())["samples"] == 3
    assert json.loads((out / "summary.json").read_text())["episodes"] == 24


@pytest.mark.parametrize(
    ("more", "played", "told"),
    [
        (["--tasks", "3"], ["t5", "t6", "t7"], "takes no split: the last 3 of its 8 tasks are"),
        ([], [f"t{i}" for i in range(8)], "takes no split: all of its 8 tasks are played"),
        (["--limit", "99"], [f"t{i}" for i in range(8)], "takes no split: all of its 8 tasks"),
        (["--tasks", "3", "--split", "train"], ["t0", "t1", "t2"], ""),
    ],
)
def test_without_splits_the_last_tasks_are_played(
    stub, checkpoint, tmp_path, capsys, more, played, told
):
    """`qwq train` holds the last ones out."""
    out = tmp_path / "out"
    assert evaluate(stub, checkpoint, out, *more) == 0
    rows = map(json.loads, (out / "episodes.jsonl").read_text().splitlines())

    assert sorted(row["task_id"] for row in rows) == played
    assert told in capsys.readouterr().err
    split = json.loads((out / "settings.json").read_text())["split"]
    assert split == (None if told else "train")


def test_table_tells_what_was_lost_and_cut(stub, checkpoint, tmp_path, capsys):
    async def answer(body):
        if len(stub.bodies) == 1:
            return web.Response(status=400, text="no")
        if len(stub.bodies) == 2:
            return web.json_response(completion([7, 8], "length"))
        return web.json_response(completion([7, 8]))

    stub.answer = answer
    evaluate(stub, checkpoint, tmp_path / "out", "--concurrency", "1")

    table = capsys.readouterr().out
    assert re.search(r"^accuracy    0\.\d{4} ± 0\.\d{4} \(standard error, by task\)$", table, re.M)
    assert "lost        0\n" in table and "truncated   1 (tokens 1)\n" in table
    assert "tokens      16 sampled" in table


def test_everything_lost_is_no_accuracy(stub, checkpoint, tmp_path, capsys):
    async def refuse(body):
        return web.Response(status=400, text="no")

    stub.answer = refuse
    assert evaluate(stub, checkpoint, tmp_path / "out", "--tasks", "2") == 1

    table = capsys.readouterr().out
    assert "accuracy    none: every episode was lost" in table
    assert "lost        2 (infrastructure 2)" in table and "--resume" in table


def test_first_tasks_only(stub, checkpoint, tmp_path):
    assert evaluate(stub, checkpoint, tmp_path / "a", "--tasks", "3") == 0
    assert len(stub.bodies) == 3

    file = tmp_path / "tasks.jsonl"
    file.write_text('{"prompt": "Say 4.", "answer": "4"}\n' * 3)
    assert evaluate(stub, checkpoint, tmp_path / "b", "--tasks", str(file), "--limit", "2") == 0
    assert len(stub.bodies) == 5


def test_more_tasks_than_there_are_is_all_of_them(stub, checkpoint, tmp_path, capsys):
    assert evaluate(stub, checkpoint, tmp_path / "out", "--tasks", "99", "--samples", "2") == 0

    assert len(stub.bodies) == 16
    assert "  16/16  " in capsys.readouterr().err.splitlines()[-1]


def test_folder_is_not_taken_twice(stub, checkpoint, tmp_path, capsys):
    out = tmp_path / "out"
    assert evaluate(stub, checkpoint, out) == 0
    before = (out / "episodes.jsonl").read_bytes()

    assert evaluate(stub, checkpoint, out) == 2
    assert "out: " in capsys.readouterr().err
    assert evaluate(stub, checkpoint, out, "--resume", "--top-p", "0.9", "--samples", "2") == 2
    assert capsys.readouterr().err.startswith("qwq: error: samples: 2; ")
    assert evaluate(stub, checkpoint, out, "--resume", "--concurrency", "3") == 0
    assert (out / "episodes.jsonl").read_bytes() == before
    assert len(stub.bodies) == 8


@pytest.mark.parametrize("text", ["[1]", '"samples"', "7", "null", "{", "", "\x00"])
def test_damaged_settings_are_one_line(stub, checkpoint, tmp_path, capsys, text):
    out = tmp_path / "out"
    out.mkdir()
    (out / "settings.json").write_text(text)
    (out / "episodes.jsonl").write_text("{}\n")

    assert evaluate(stub, checkpoint, out, "--resume") == 2
    assert "settings.json is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("more", [(), ("--text-tools",), ("--resume", "--temperature", "0.5")])
def test_mistake_before_the_first_episode_leaves_the_folder_free(tmp_path, more):
    arguments = ["eval", ENV, "--model", "qwq", "--out", str(tmp_path / "out"), "--endpoint"]
    with Server([401], repeat=True) as server:
        assert main([*arguments, server.url]) == 2
    with Server([ANSWER], repeat=True) as server:
        assert main([*arguments, server.url, *more]) == 0

    assert len((tmp_path / "out" / "episodes.jsonl").read_text().splitlines()) == 8


@pytest.mark.parametrize("more", [(), ("--resume",)])
def test_killed_while_the_settings_were_written_has_not_begun(stub, checkpoint, tmp_path, more):
    out = tmp_path / "out"
    out.mkdir()
    (out / "settings.json.part").write_text('{"sam')

    assert evaluate(stub, checkpoint, out, "--tasks", "1", *more) == 0


def test_tasks_that_were_changed_are_others(stub, checkpoint, tmp_path, capsys):
    file, out = tmp_path / "tasks.jsonl", tmp_path / "out"
    file.write_text('{"prompt": "Say 4.", "answer": "4"}\n')
    assert evaluate(stub, checkpoint, out, "--tasks", str(file)) == 0
    file.write_text('{"prompt": "Say 6.", "answer": "6"}\n')

    assert evaluate(stub, checkpoint, out, "--tasks", str(file), "--resume") == 2
    assert "tasks_sha256" in capsys.readouterr().err


def test_server_that_died_is_named_and_the_rest_is_played_later(stub, checkpoint, tmp_path, capsys):
    out = tmp_path / "out"

    async def die(body):
        if len(stub.bodies) > 4:
            stub.health = 503
            return web.Response(status=500, text="EngineCore encountered an issue")
        return web.json_response(completion([7, 8]))

    stub.answer = die
    code = evaluate(stub, checkpoint, out, "--concurrency", "1", "--grace", "0.3")

    error = capsys.readouterr().err.splitlines()[-1]
    assert code == 1
    assert error.startswith("qwq: failed: no server is left") and stub.url in error
    assert error.endswith(
        f"; 4 of 8 episodes are stored in {out}; the same command with --resume goes on"
    )
    stub.answer, stub.health = None, 200
    stub.bodies.clear()
    assert evaluate(stub, checkpoint, out, "--concurrency", "1", "--resume") == 0
    assert len(stub.bodies) == 4
    assert len((out / "episodes.jsonl").read_text().splitlines()) == 8


def test_an_interrupted_one_says_how_to_go_on(stub, checkpoint, tmp_path, capsys, monkeypatch):
    def interrupted(*arguments, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr("qwq_env.evaluation.run.evaluate", interrupted)

    assert evaluate(stub, checkpoint, tmp_path / "out") == 130
    assert capsys.readouterr().err.endswith("the same command with --resume goes on\n")


def test_chat_endpoint(tmp_path, capsys):
    with Server([ANSWER], repeat=True) as server:
        code = main(
            ["eval", ENV, "--endpoint", server.url, "--model", "qwq", "--tasks", "2", "--json",
             "--out", str(tmp_path / "out")]
        )  # fmt: skip

        assert len(server.requests) == 2
    printed = json.loads(capsys.readouterr().out)
    assert code == 0
    assert (printed["accuracy"][0], printed["sampled_tokens"]) == (0.5, None)


WRONG = {
    "no policy": ([], "policy: none"),
    "two policies": (["--vllm", "http://a", "--endpoint", "http://b"], "vllm: and an endpoint"),
    "no model": (["--endpoint", "http://a/v1"], "model: none"),
    "no tokenizer": (["--vllm", "http://a"], "checkpoint: none"),
    "no such checkpoint": (["--checkpoint", "missing"], "checkpoint: 'missing' is no folder"),
    "no such checkpoint of a server's": (
        ["--vllm", "http://a", "--checkpoint", "no/model"],
        "checkpoint: 'no/model' is no folder",
    ),
    "no such model on the hub": (
        ["--checkpoint", "no/model"],
        "checkpoint: 'no/model' is not a checkpoint: ",
    ),
    "no such tasks": (
        ["--endpoint", "http://a/v1", "--model", "m", "--tasks", "no.jsonl"],
        "tasks: 'no.jsonl' does not exist",
    ),
    "no address": (["--endpoint", "a", "--model", "m"], "base_url: 'a'"),
    "no temperature": (
        ["--endpoint", "http://a/v1", "--model", "m", "--temperature", "-1"],
        "temperature: -1.0",
    ),
    "no samples": (["--endpoint", "http://a/v1", "--model", "m", "--samples", "0"], "samples: 0"),
    "more tasks than there are numbers": (
        ["--endpoint", "http://a/v1", "--model", "m", "--tasks", "9" * 5000],
        "tasks: '999",
    ),
    "no tasks": (["--endpoint", "http://a/v1", "--model", "m", "--tasks", "0"], "tasks: '0'"),
    "fewer than none": (
        ["--endpoint", "http://a/v1", "--model", "m", "--tasks", "-3"],
        "tasks: '-3'; expected 1 or more",
    ),
    "no grace": (
        ["--endpoint", "http://a/v1", "--model", "m", "--grace", "nan"],
        "grace: nan",
    ),
    "two limits": (
        ["--endpoint", "http://a/v1", "--model", "m", "--tasks", "3", "--limit", "3"],
        "limit: 3",
    ),
}


@pytest.mark.parametrize(("arguments", "words"), WRONG.values(), ids=WRONG)
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path, capsys, arguments, words):
    out = tmp_path / "out"
    code = main(["eval", ENV, *arguments, "--out", str(out)])

    error = capsys.readouterr().err
    assert code == 2
    assert len(error.splitlines()) == 1 and error.startswith(f"qwq: error: {words}")
    assert not out.exists()


def test_endless_tasks_need_a_number(tmp_path, capsys):
    arguments = ["--endpoint", "http://a/v1", "--model", "m", "--out", str(tmp_path / "out")]

    assert main(["eval", "qwq/MathTool-v0", *arguments]) == 2
    assert "expected --tasks N" in capsys.readouterr().err
    assert main(["eval", "qwq/MathTol-v0", "--tasks", "3", *arguments]) == 2
    assert "MathTol" in capsys.readouterr().err


def test_errors_of_samples_that_hang_together():
    values = [1.0, 1.0, 0.0, 0.0, 1.0, 0.0]

    alone = clustered_mean(values, list("abcdef"))
    together = clustered_mean(values, list("aabbcd"))
    assert alone.value == together.value == 0.5
    # The usual standard error: a deviation of sqrt(6/5)/2 over sqrt(6).
    assert alone.error == pytest.approx((0.25 / 5) ** 0.5)
    assert together.error == pytest.approx((4 / 3 * 2.5) ** 0.5 / 6)
    assert clustered_mean(values, ["a"] * 6).error is None
    assert clustered_mean([], []) is None


@pytest.mark.parametrize("file", ["episodes.jsonl", "episodes.texts"])
def test_a_line_that_a_kill_has_torn_is_played_again(stub, checkpoint, tmp_path, file):
    out = tmp_path / "out"
    evaluate(stub, checkpoint, out)
    kept = (out / "episodes.jsonl").read_bytes().splitlines(keepends=True)
    (out / "episodes.jsonl").write_bytes(b"".join(kept[:-1]))
    with (out / file).open("ab") as torn:
        torn.write(kept[-1][:100] if file == "episodes.jsonl" else b'{"text": "Say')
    (out / "summary.json").unlink()
    stub.bodies.clear()

    assert evaluate(stub, checkpoint, out, "--resume") == 0
    assert len(stub.bodies) == 1
    assert len((out / "episodes.jsonl").read_text().splitlines()) == 8


def test_with_a_journal_no_turn_is_sampled_twice(stub, checkpoint, tmp_path):
    out = tmp_path / "out"
    evaluate(stub, checkpoint, out, "--journal")
    asked, episodes = len(stub.bodies), (out / "episodes.jsonl").read_text()
    (out / "summary.json").unlink()
    (out / "episodes.jsonl").write_text("")  # killed before any episode had ended

    assert evaluate(stub, checkpoint, out) == 2  # it was begun, and is to be resumed
    assert evaluate(stub, checkpoint, out, "--resume") == 0
    assert len(stub.bodies) == asked == 8
    again = (out / "episodes.jsonl").read_text()
    assert sorted(map(timeless, again.splitlines())) == sorted(map(timeless, episodes.splitlines()))


def timeless(line: str) -> str:
    return json.dumps({**json.loads(line), "seconds": None})
