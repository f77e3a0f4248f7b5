"""What chat servers want to be asked like: it is learned from what they refuse."""

from __future__ import annotations

import asyncio
import gzip

import pytest

from qwq_env.errors import UsageError
from qwq_env.http.openai_chat import OpenAIChat
from qwq_env.rollout.engine import Assignment, Engine, EngineSettings
from qwq_env.rollout.play import PlaySettings
from qwq_env.task import ListTaskSet, Task

from .chat_server import ANSWER, Failure, Server, delta, environment, native_call, play

CALL = native_call('{"number": 21}')
MORE = native_call('{"number": 1}')
THOUGHT = delta(reasoning_content="hm")


def refusing(message, **fields):
    return Failure(400, {"error": {"message": message, "param": None, **fields}})


class Particular(Server):
    """Refuses what `rule(body)` gives a reason for; answers otherwise like a `Server`."""

    def __init__(self, replies, rule, *, repeat=False):
        super().__init__(replies, repeat=repeat)
        self.rule = rule

    def choose(self, body):
        return self.rule(body) or super().choose(body)


DEMAND = "The `reasoning_content` in the thinking mode must be passed back to the API."


def demands_thinking(body):
    turns = [m for m in body["messages"] if m["role"] == "assistant"]
    return None if all("reasoning_content" in m for m in turns) else refusing(DEMAND)


VARIANTS = {
    "a thought in each turn": ([[THOUGHT, *CALL], [THOUGHT, *MORE]], ["hm", "hm"], "keep", 0),
    "one turn without": ([[THOUGHT, *CALL], MORE], ["hm", ""], "keep", 0),
    "the first without": ([CALL, [THOUGHT, *MORE]], ["", "hm"], "keep", 1),
    "empty thoughts": ([[delta(reasoning_content=""), *CALL], MORE], ["", ""], "keep", 0),
    "none at all": ([CALL, MORE], ["", ""], "keep", 1),
    "in another field": ([[delta(reasoning="hm"), *CALL], MORE], ["hm", ""], "keep", 1),
    "stripped": ([[THOUGHT, *CALL], [THOUGHT, *MORE]], ["", ""], "strip", 1),
}


@pytest.mark.parametrize(
    ("replies", "sent", "thinking", "refused"), VARIANTS.values(), ids=VARIANTS
)
def test_server_that_demands_the_thinking_of_every_turn(replies, sent, thinking, refused):
    with Particular([*replies, ANSWER], demands_thinking) as server:
        trajectory = play(server, settings=PlaySettings(thinking=thinking), tries=1)

    turns = [m for m in server.requests[-1]["messages"] if m["role"] == "assistant"]
    assert trajectory.reward == 1.0
    assert [turn["reasoning_content"] for turn in turns] == sent
    assert len(server.requests) == 3 + refused


def test_server_that_refuses_the_thinking_of_earlier_turns():
    def rule(body):
        if any("reasoning_content" in m for m in body["messages"]):
            return refusing("property 'reasoning_content' is unsupported")
        return None

    with Particular([[THOUGHT, *CALL], [THOUGHT, *MORE], ANSWER], rule) as server:
        assert play(server, tries=1).reward == 1.0
    assert len(server.requests) == 4


LIMITS = [
    ("Range of max_tokens should be [1, 100]", 100),
    ("max_tokens is too large: 1000. This model supports at most 100 completion tokens", 100),
    ("max_tokens is out of range", None),
]


@pytest.mark.parametrize(("message", "limit"), LIMITS)
@pytest.mark.parametrize("inside", [False, True])
def test_more_tokens_than_the_server_ever_gives(message, limit, inside, caplog):
    def rule(body):
        refusal = refusing(message)
        refused = body.get("max_tokens", 0) > 100
        return ([refusal.body] if inside else refusal) if refused else None

    with Particular([CALL, ANSWER], rule) as server:
        assert play(server, tries=1).reward == 1.0

    asked = [request.get("max_tokens") for request in server.requests]
    assert ("at most 100" in caplog.text) is (limit is not None)
    # A limit that was learned is asked for at once.
    assert asked == ([1000, 100, 100] if limit else [1000, None, asked[2], None])


def test_limit_that_cannot_be_kept_names_the_setting():
    refusal = refusing("max_tokens is out of range")
    told = "check max_tokens"
    with Server([refusal], repeat=True) as server, pytest.raises(UsageError, match=told):
        play(server, tries=1)

    assert len(server.requests) == 2


def whole(body):
    """Refuse to stream, and answer with one JSON text."""
    if body.get("stream"):
        return refusing("Streaming is not supported with tools", param="stream")
    message = {"role": "assistant", "content": "It is 42."}
    return Failure(200, {"choices": [{"message": message, "finish_reason": "stop"}]})


def test_server_that_cannot_stream():
    with Particular([], whole) as server:
        assert play(server, tries=1).reward == 1.0
    assert "stream_options" not in server.requests[1]


def test_stream_that_is_not_wanted_by_the_operator():
    with Particular([], whole) as server:
        assert play(server, tries=1, extra={"stream": False}).reward == 1.0
    assert "stream_options" not in server.requests[0]


def test_server_that_does_not_count():
    def rule(body):
        return refusing("no", param="stream_options") if "stream_options" in body else None

    with Particular([ANSWER], rule) as server:
        assert play(server, tries=1).reward == 1.0
    assert server.requests[1]["stream"] is True


@pytest.mark.parametrize(
    ("extra", "sent"),
    [
        ({"max_tokens": None, "max_completion_tokens": 40}, {"max_completion_tokens": 40}),
        ({"max_tokens": None, "max_completion_tokens": 4096}, {"max_completion_tokens": 1000}),
        ({"max_tokens": 40}, {"max_tokens": 40}),
        ({"seed": None, "temperature": None}, {"max_tokens": 1000}),
        ({"stream_options": {"include_usage": None, "x": 1}}, {"stream_options": {"x": 1}}),
        ({"chat_template_kwargs": {"enable_thinking": False}},
         {"chat_template_kwargs": {"enable_thinking": False}}),
    ],
)  # fmt: skip
def test_extra_puts_keys_in_and_takes_them_out(extra, sent):
    with Server([ANSWER]) as server:
        play(server, extra=extra)

    [request] = server.requests
    assert {key: request[key] for key in sent} == sent
    assert not {key for key, value in extra.items() if value is None} & request.keys()


IN_STREAM = [
    ("This model's maximum context length is 40 tokens.", ("truncated", "tokens")),
    ("inappropriate content", ("failed", "refused")),
]


@pytest.mark.parametrize(("message", "outcome"), IN_STREAM)
def test_error_inside_a_stream_is_a_refusal_like_any(message, outcome):
    error = [{"error": {"message": message, "type": "invalid_request_error"}}]
    with Server([error], repeat=True) as server:
        trajectory = play(server, attempts=3)

    assert (trajectory.outcome.kind, trajectory.outcome.reason) == outcome


def test_wrong_setting_inside_a_stream_ends_the_run():
    error = [{"error": {"message": "Unknown parameter", "param": "top_k", "code": 400}}]
    with Server([error], repeat=True) as server, pytest.raises(UsageError, match="check top_k"):
        play(server, attempts=3)

    assert len(server.requests) == 1


def test_overload_inside_a_stream_passes():
    error = [delta(content="It"), {"error": {"message": "overloaded", "type": "overloaded_error"}}]
    with Server([error, ANSWER]) as server:
        assert play(server).reward == 1.0


def run(server, prompts, concurrency=4):
    tasks = ListTaskSet([Task(f"t{i}", prompt, "42") for i, prompt in enumerate(prompts)])

    async def episodes():
        chat = OpenAIChat(server.url, "qwq", attempts=1)
        try:
            engine = Engine(environment(), chat, settings=EngineSettings(concurrency=concurrency))
            return await engine.run(
                [Assignment(tasks.task(i), f"e{i}", i) for i in range(len(prompts))]
            )
        finally:
            await chat.aclose()

    return asyncio.run(episodes())


VAGUE = refusing("Bad request.")


@pytest.mark.parametrize("concurrency", [1, 64])
def test_run_of_which_every_first_request_is_refused_ends(concurrency):
    told = "400: .*Bad request.*so were all conversations"
    with Server([VAGUE], repeat=True) as server, pytest.raises(UsageError, match=told):
        run(server, [f"Double {i}." for i in range(100)], concurrency)

    assert len(server.requests) < 100


@pytest.mark.parametrize("served", [0, 1, 2])
def test_run_of_which_one_was_served_goes_on(served):
    def rule(body):
        return ANSWER if body["messages"][-1]["content"] == f"Double {served}." else VAGUE

    with Particular([], rule) as server:
        trajectories = run(server, [f"Double {i}." for i in range(8)], concurrency=8)

    assert [t.outcome.reason for t in trajectories].count("refused") == 7


@pytest.mark.parametrize(
    ("prompts", "refusal"),
    [
        # One conversation, refused again and again, says nothing of others.
        (["Double 21."] * 8, VAGUE),
        ([f"Double {i}." for i in range(8)], refusing("no", code="data_inspection_failed")),
    ],
)
def test_refusals_that_say_nothing_of_the_setting(prompts, refusal):
    with Server([refusal], repeat=True) as server:
        trajectories = run(server, prompts)

    assert {t.outcome.reason for t in trajectories} == {"refused"}


def test_gateways_page_with_a_status_of_success_is_tried_again():
    page = Failure(200, "<html><h1>502 Bad Gateway</h1></html>")
    with Server([page, ANSWER]) as server:
        assert play(server).reward == 1.0
    with Server([page], repeat=True) as server:
        assert "502 Bad Gateway" in play(server, tries=1).outcome.detail


def test_refusal_that_was_compressed():
    body = gzip.compress(b'{"error": {"message": "maximum context length"}}').decode("latin-1")
    packed = Failure(400, body, (("Content-Encoding", "gzip"),))
    with Server([packed], repeat=True) as server:
        assert play(server, tries=1).outcome.reason == "tokens"


def test_throttling_with_another_status_is_waited_for():
    busy = refusing("Requests rate limit exceeded", code="Throttling.RateQuota")
    with Server([busy, busy._replace(headers=(("retry-after-ms", "5"),)), ANSWER]) as server:
        assert play(server).reward == 1.0


def test_money_that_is_spent_is_not_waited_for():
    error = {"message": "You exceeded your current quota", "code": "insufficient_quota"}
    with Server([Failure(429, {"error": error})], repeat=True) as server, pytest.raises(UsageError):
        play(server)
    assert len(server.requests) == 1
