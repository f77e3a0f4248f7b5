"""`qwq eval` on chat endpoints and token servers: what is sent, counted, survived and compared."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from qwq_env.cli import main
from qwq_env.errors import UsageError
from qwq_env.http.endpoints import ENDPOINTS, find_endpoint

from ..rollout.chat_server import Failure, Server, delta, end, native_call
from .test_eval_command import checkpoint, evaluate, registered, stub  # noqa: F401 - fixtures

ANSWER = [delta(content="\\boxed{4}"), end(tokens=7, prompt_tokens=30)]


@pytest.fixture
def aime(tmp_path) -> str:
    file = tmp_path / "aime24.jsonl"
    rows = [{"prompt": f"How much is {n} + 0?", "answer": n} for n in (4, 5, 6, 7)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def command(aime: str, server, out: Path, *more: str) -> list[str]:
    return [
        "eval", "aime24", "--data", aime, "--endpoint", getattr(server, "url", server),
        "--model", "m", "--samples", "1", "--json", "--out", str(out), *more,
    ]  # fmt: skip


def test_tokens_cost_and_odd_replies_are_counted_through_a_resume(aime, tmp_path, capsys):
    thinks = [delta(reasoning_content="hm"), *ANSWER]
    alone = [delta(reasoning_content="hm"), end(tokens=2, prompt_tokens=30)]
    uncounted = [delta(content="\\boxed{7}"), {"choices": [{"delta": {}, "finish_reason": "stop"}]}]
    one_at_a_time = ("--concurrency", "1", "--price", "1000000", "10")
    with Server([thinks, alone, [end(tokens=0, prompt_tokens=30)], uncounted]) as server:
        assert main(command(aime, server, tmp_path / "out", *one_at_a_time)) == 0
        told = json.loads(capsys.readouterr().out)
        resumed = command(aime, server, tmp_path / "out", *one_at_a_time, "--resume")
        assert main(resumed) == 0

    assert told["replies"] == {"no answer": 1, "empty": 1, "no reasoning": 2, "no usage": 1}
    assert told["usage"] == {"requests": 4, "prompt_tokens": 90, "sampled_tokens": 9}
    assert told["cost"] == pytest.approx(90 + 9e-5)
    again = json.loads(capsys.readouterr().out)
    assert (again["usage"], again["replies"]) == (told["usage"], told["replies"])


def test_turns_without_logprobs_are_counted_and_lost(stub, checkpoint, tmp_path, capsys):  # noqa: F811
    from aiohttp import web

    async def bare(body):
        choice = {"token_ids": [7, 8], "logprobs": None, "finish_reason": "stop"}
        return web.json_response({"choices": [choice]})

    stub.answer = bare
    assert evaluate(stub, checkpoint, tmp_path / "out", "--tasks", "2", "--json") == 1

    told = json.loads(capsys.readouterr().out)
    # Each episode is tried three times.
    assert (told["replies"], told["lost"]) == ({"no logprobs": 6}, {"infrastructure": 2})
    assert "no logprobs for 2 token ids" in told["lost_episodes"][0]


def test_with_tools_and_without_in_one_report(aime, tmp_path, capsys):
    call = native_call('{"expression": "4 + 0"}')
    call[0]["choices"][0]["delta"]["tool_calls"][0]["function"]["name"] = "calculator"

    class Asks(Server):
        def choose(self, body):
            asked = "tools" in body and body["messages"][-1]["role"] == "user"
            number = body["messages"][0]["content"].split("How much is ")[1].split()[0]
            wrong = "tools" not in body and number == "5"
            said = [delta(content=f"\\boxed{{{'0' if wrong else number}}}"), end()]
            return call if asked else said

    out = tmp_path / "out"
    with Asks([]) as server:
        both = command(aime, server, out, "--tools", "calculator", "--and-bare")
        both.remove("--json")
        assert main(both) == 0

    printed = capsys.readouterr().out
    told = (out / "comparison.md").read_text()
    assert told in printed and "tools - bare" in told
    assert "gained by tools: aime24/2 (0 to 1)" in told
    assert "are unlike in tools: [] and ['calculator']" in told
    assert {path.parent.name for path in out.rglob("report.html")} == {"bare", "tools", "out"}
    page = (out / "report.html").read_text()
    assert "tools - bare: +25.0 points" in page and "1 task gained" in page
    assert main(command(aime, "http://a/v1", out / "x", "--and-bare")) == 2
    assert "and_bare: without --tools" in capsys.readouterr().err


def test_several_benchmarks_are_one_run(aime, tmp_path, capsys):
    (tmp_path / "aime25").mkdir()
    (tmp_path / "aime25" / "test.jsonl").write_text(Path(aime).read_text())
    answers = tmp_path / "answers.jsonl"
    answers.write_text('{"prompt": "How much is 4 + 0?", "response": "\\\\boxed{4}"}\n')
    several = [
        "eval", "aime24", "aime25", "--data", str(tmp_path), "--answers", str(answers), "--out",
        str(tmp_path / "out"),
    ]  # fmt: skip

    assert main(several) == 0
    assert re.search(r"published, % +\| aime24 \| aime25 \|", capsys.readouterr().out)
    assert (tmp_path / "out" / "aime25" / "summary.json").exists()
    assert main([*several[:3], "amc23", *several[3:-1], str(tmp_path / "other")]) == 2
    assert "holds no amc23" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("dashscope", {"enable_thinking": True, "thinking_budget": 99}),
        ("openrouter", {"reasoning": {"max_tokens": 99}}),
    ],
)
def test_an_endpoint_is_told_of_a_bound_in_its_own_words(name, sent):
    assert find_endpoint(name).bounded(99) == sent
    assert find_endpoint(name, "MY_KEY").key_variable == "MY_KEY"
    assert all(each.url.startswith("https://") for each in ENDPOINTS.values())


def test_a_bound_that_nobody_would_keep_is_refused(aime, tmp_path, capsys):
    out = tmp_path / "out"
    asked = command(aime, "http://a/v1", out, "--thinking-tokens", "99")
    assert main(asked) == 2
    error = capsys.readouterr().err
    assert "--vllm bounds exactly" in error and '"thinking_token_budget": 99' in error
    assert main([*asked, "--extra", "{}", "--force-answer"]) == 2
    assert "takes no words into a reply" in capsys.readouterr().err
    assert main([*asked, "--extra", "[1]"]) == 2
    assert "extra: '[1]'; expected a JSON object" in capsys.readouterr().err
    with pytest.raises(UsageError, match="did you mean 'dashscope'"):
        find_endpoint("dashscop")
    assert not out.exists()


def test_a_servers_own_setting_is_sent(aime, tmp_path, capsys):
    with Server([ANSWER], repeat=True) as server:
        extra = ("--extra", '{"thinking_token_budget": 99}', "--thinking-tokens", "99")
        assert main(command(aime, server, tmp_path / "out", *extra)) == 0

    assert {body["thinking_token_budget"] for body in server.requests} == {99}
    told = json.loads(capsys.readouterr().out)["benchmark"]["other_than_preset"]
    assert told["extra"] == {"thinking_token_budget": 99} and told["thinking_tokens"] == 99


def test_a_dead_endpoint_says_so_within_seconds(aime, tmp_path, capsys):
    with Server([]) as server:
        pass
    began = time.monotonic()
    code = main(command(aime, server, tmp_path / "out", "--grace", "0.5"))

    assert code == 1 and time.monotonic() - began < 5
    assert "no server is left" in capsys.readouterr().err


def test_a_rate_limit_is_waited_for(aime, tmp_path, capsys):
    busy = Failure(429, {"error": {"message": "slow down"}}, (("retry-after-ms", "50"),))
    with Server([busy, ANSWER, ANSWER, ANSWER, ANSWER]) as server:
        assert main(command(aime, server, tmp_path / "out", "--concurrency", "1")) == 0

    assert json.loads(capsys.readouterr().out)["lost"] == {}


class Numbers(Server):
    """Answers by what is asked, and has `kill` killed when it is asked for the n-th time."""

    killed_at, kill = 0, None

    def choose(self, body):
        if len(self.requests) == self.killed_at:
            os.kill(self.kill.pid, signal.SIGKILL)
        number = int(body["messages"][0]["content"].split("How much is ")[1].split()[0])
        return [delta(content=f"\\boxed{{{number - number % 2}}}"), end(prompt_tokens=30)]


@pytest.mark.slow
def test_killed_twice_and_resumed_is_as_never_killed(aime, tmp_path, capsys):
    run = "import sys; from qwq_env.cli import main; sys.exit(main(sys.argv[1:]))"
    with Numbers([]) as server:
        for out, deaths in (("whole", ()), ("killed", (2, 2))):
            asked = command(aime, server, tmp_path / out, "--concurrency", "1")
            for death in deaths:
                server.requests.clear()
                resumed = [*asked, "--resume"] if (tmp_path / out).exists() else asked
                Numbers.kill = subprocess.Popen([sys.executable, "-c", run, *resumed])
                Numbers.killed_at = death
                assert Numbers.kill.wait() == -signal.SIGKILL
            Numbers.killed_at = 0
            server.requests.clear()
            assert main([*asked, "--resume"] if deaths else asked) == 0
        assert len(server.requests) == 2

    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert found[0] == found[1] and found[0]["accuracy"][0] == 0.5
    rows = [
        (tmp_path / out / "episodes.jsonl").read_text().splitlines() for out in ("whole", "killed")
    ]
    kept = [[{**json.loads(row), "seconds": 0} for row in each] for each in rows]
    assert kept[0] == kept[1]
