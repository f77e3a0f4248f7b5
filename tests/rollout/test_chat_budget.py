"""What a chat server is asked for: the sampling, and no more tokens than are left."""

from __future__ import annotations

import pytest

from qwq_env.chat_model import Sampling
from qwq_env.outcome import EpisodeLimits
from qwq_env.rollout.play import PlaySettings
from qwq_env.tool import tool

from .chat_server import ANSWER, Server, delta, end, environment, native_call, play


@tool(blocking=False)
def recite(number: int) -> str:
    """Say a lot."""
    return "word " * 200


def uncounted(events):
    """The same events from a server that counts no tokens."""
    return [{"choices": event["choices"]} for event in events]


CALL = native_call('{"number": 21}')
RECITE = [delta(tool_calls=[{"index": 0, "function": {"name": "recite", "arguments": "{}"}}])]


def test_sampling_is_sent_in_full():
    with Server([ANSWER]) as server:
        play(server, settings=PlaySettings(Sampling(0.6, 0.95, 20)))

    [asked] = server.requests
    assert (asked["temperature"], asked["top_p"], asked["top_k"]) == (0.6, 0.95, 20)


def test_top_k_that_keeps_everything_is_not_sent():
    with Server([ANSWER]) as server:
        play(server)

    assert "top_k" not in server.requests[0]


@pytest.mark.parametrize(
    ("bounds", "limit"),
    [({"completion": 100}, 1000), ({"turn_tokens": 100}, 1000), ({}, 100)],
)
def test_turn_gets_no_more_than_is_left(bounds, limit):
    env = environment(limits=EpisodeLimits(tokens=limit))
    with Server([CALL, ANSWER]) as server:
        play(server, env=env, settings=PlaySettings(**bounds))

    first, second = (request["max_tokens"] for request in server.requests)
    per_turn = "turn_tokens" in bounds
    assert first == 100
    # The server counted 7; "42", which the tool said, is estimated at 1.
    assert second == (100 if per_turn else 100 - 7 - 1)


def test_context_is_what_the_server_counted():
    events = [*CALL[:-1], end("tool_calls", tokens=7, prompt_tokens=300)]
    with Server([events, ANSWER]) as server:
        play(server, settings=PlaySettings(context=500))

    assert 200 < server.requests[0]["max_tokens"] < 500
    assert server.requests[1]["max_tokens"] == 500 - 300 - 7 - 1


def test_full_context_ends_the_episode():
    events = [*CALL[:-1], end("tool_calls", tokens=7, prompt_tokens=495)]
    with Server([events]) as server:
        trajectory = play(server, settings=PlaySettings(context=500))

    assert trajectory.outcome.reason == "tokens"
    assert len(server.requests) == 1


def test_server_that_counts_nothing_is_counted_for():
    env = environment(limits=EpisodeLimits(tokens=60))
    with Server([uncounted(CALL)], repeat=True) as server:
        trajectory = play(server, env=env)

    assert trajectory.outcome.reason == "tokens"
    assert 2 <= trajectory.turns <= 6


def test_what_tools_say_counts():
    env = environment(recite, limits=EpisodeLimits(tokens=200))
    call = [*RECITE, end("tool_calls")]
    call[0]["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"] = '{"number": 1}'
    with Server([call], repeat=True) as server:
        trajectory = play(server, env=env)

    assert trajectory.outcome.reason == "tokens"
    assert trajectory.turns == 1


def test_environments_tokenizer_counts(codec):
    env = environment(recite, limits=EpisodeLimits(tokens=5000), tokenizer=codec)
    call = [delta(content="é"), *RECITE, end("tool_calls")]
    call[1]["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"] = '{"number": 1}'
    with Server([call, ANSWER]) as server:
        play(server, env=env)

    first, second = (request["max_tokens"] for request in server.requests)
    assert first - second == 7 + len(codec.encode("word " * 200))
