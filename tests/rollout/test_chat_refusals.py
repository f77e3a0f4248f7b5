"""Who has to act when a chat server refuses: the operator, the policy's budget, or nobody."""

from __future__ import annotations

import asyncio
import time

import pytest

from qwq_env.chat_model import Sampling
from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.http.client import HttpClient
from qwq_env.http.openai_chat import OpenAIChat

from .chat_server import ANSWER, Failure, Server, delta, native_call, play

CALL = [delta(reasoning_content="hm"), *native_call('{"number": 21}')]
FULL = Failure(400, {"error": {"message": "This model's maximum context length is 40 tokens."}})
UNKNOWN = Failure(400, {"error": {"message": "Unknown parameter", "param": "top_k"}})
PAGE = Failure(200, "<html>\n<body>Log in</body></html>", (("Content-Type", "text/html"),))
UNWANTED = Failure(400, {"error": {"message": "inappropriate content", "param": None}})


async def reply(server: Server):
    chat = OpenAIChat(server.url, "qwq", api_key_variable="CHAT_KEY")
    try:
        messages = [{"role": "user", "content": "Hi."}]
        return await chat.reply(messages, (), max_tokens=9, sampling=Sampling(), seed=0)
    finally:
        await chat.aclose()


SETTING = r"check top_k; extra=\{'top_k': None\} leaves it out"


@pytest.mark.parametrize(
    ("failure", "hint"),
    [
        *((failure, "check .*CHAT_KEY") for failure in (301, 401, 403, 404, PAGE)),
        (UNKNOWN, SETTING),
    ],
)
def test_error_of_the_operator_is_told_at_once_in_one_line(failure, hint):
    told = rf"'qwq'\): status \d+: .*; {hint}"
    with Server([failure], repeat=True) as server, pytest.raises(UsageError, match=told) as caught:
        asyncio.run(reply(server))

    assert "\n" not in str(caught.value)
    assert len(server.requests) == 1


def test_error_of_the_operator_ends_the_run():
    with Server([401], repeat=True) as server, pytest.raises(UsageError, match="401"):
        play(server, attempts=3)

    assert len(server.requests) == 1


def test_full_context_is_out_of_tokens():
    with Server([CALL, FULL], repeat=True) as server:
        trajectory = play(server, attempts=3)

    assert (trajectory.outcome.kind, trajectory.outcome.reason) == ("truncated", "tokens")
    assert trajectory.reward == 0.0
    assert trajectory.attempts == 1
    assert trajectory.messages[-1]["role"] == "tool"


def test_context_with_room_for_less_than_asked_is_used():
    with Server([FULL, ANSWER]) as server:
        trajectory = play(server)

    assert trajectory.reward == 1.0
    assert "max_tokens" in server.requests[0]
    assert "max_tokens" not in server.requests[1]


def test_unwanted_request_loses_its_episode_and_is_not_repeated():
    with Server([CALL, UNWANTED], repeat=True) as server:
        trajectory = play(server, attempts=3)

    assert (trajectory.outcome.kind, trajectory.outcome.reason) == ("failed", "refused")
    assert "inappropriate content" in trajectory.outcome.detail
    assert trajectory.reward is None
    assert len(server.requests) == 2


@pytest.mark.parametrize("told", ["top_k", "tools[0].function.name"])
def test_setting_that_was_served_once_is_not_to_blame(told):
    refusal = Failure(400, {"error": {"message": "no", "param": told}})
    with Server([CALL, refusal], repeat=True) as server:
        trajectory = play(server, attempts=3)

    assert (trajectory.outcome.kind, trajectory.outcome.reason) == ("failed", "refused")
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "error",
    [
        {"message": '"auto" tool choice requires --enable-auto-tool-choice'},
        {"message": "no", "param": "tools[0].function.name"},
    ],
)
def test_server_without_tools_is_told_how_to_do_without(error):
    told = "check the address.*native_tools=False"
    with Server([Failure(400, {"error": error})]) as server, pytest.raises(UsageError, match=told):
        play(server)


async def post(server: Server, **settings):
    client = HttpClient(backoff=0.001, **settings)
    try:
        return await client.post_json(server.url, {})
    finally:
        await client.aclose()


@pytest.mark.parametrize("status", [429, 503])
def test_server_is_left_alone_for_as_long_as_it_asks(status):
    busy = Failure(status, headers=(("Retry-After", "3600"),))

    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await post(server, attempts=1000)

    with Server([busy], repeat=True) as server:
        asyncio.run(main())

    assert len(server.requests) <= 1


def test_no_longer_than_the_client_waits_for_anything():
    busy = Failure(429, headers=(("Retry-After", "3600"),))
    with Server([busy], repeat=True) as server:
        start = time.monotonic()
        with pytest.raises(InfrastructureError):
            asyncio.run(post(server, attempts=3, seconds=1.0))

        assert 2 <= time.monotonic() - start < 60
