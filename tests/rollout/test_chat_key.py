"""The key of a chat server appears nowhere but in its header, whatever the server echoes."""

from __future__ import annotations

import asyncio
import json

import pytest

from qwq_env.chat_model import Sampling
from qwq_env.errors import UsageError
from qwq_env.http.openai_chat import OpenAIChat

from .chat_server import ANSWER, Failure, Server, Stream, delta, end, native_call, play

KEY = "sk-secret-0123456789"
BROKEN_HEADER = (("Content-Length", f"7 {KEY}"),)


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.mark.parametrize("value", [f"{KEY}\n", f" {KEY}", "sk-sécret-0123456789", "sk-\x7fsecret"])
def test_key_that_is_none_is_named_and_not_shown(monkeypatch, value):
    monkeypatch.setenv("OPENAI_API_KEY", value)
    with pytest.raises(UsageError, match=r"^OPENAI_API_KEY: ") as caught:
        OpenAIChat("http://127.0.0.1:1/v1", "qwq")

    assert "cret" not in str(caught.value)


@pytest.mark.parametrize(
    "reply",
    [
        Failure(500, f"wrong key {KEY}"),
        Failure(500, "x" * 490 + KEY),
        Failure(400, {"error": {"message": f"Bearer {KEY}"}}),
        Failure(400, json.dumps(f'"{KEY}"').replace("-", "\\u002d")),
        Failure(200, "", BROKEN_HEADER),
        [{"error": {"message": f"lost {KEY}"}}],
        [{"error": {"message": "x" * 480 + KEY}}],
        Stream(f"data: {KEY}\n\n".encode()),
        Stream(b"data: " + b"x" * 85 + KEY.encode() + b"\n\n"),
        Stream(f'data: {{"choices": "{KEY}"}}\n\n'.encode()),
    ],
)
def test_key_in_a_failure(reply):
    with Server([reply], repeat=True) as server:
        trajectory = play(server, tries=1)

    assert trajectory.reward is None
    assert trajectory.outcome.detail
    assert "secret" not in json.dumps(trajectory.to_json())
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"


def test_key_in_a_reply():
    call = native_call('{"number": 21}')
    call[0]["choices"][0]["delta"]["tool_calls"][0]["id"] = f"id-{KEY}"
    thought = [delta(reasoning_content=KEY[:7]), delta(reasoning_content=KEY[7:])]
    answer = [delta(content=f"42 {KEY[:9]}"), delta(content=KEY[9:]), end()]
    with Server([[*thought, *call], answer]) as server:
        trajectory = play(server)

    assert trajectory.reward == 1.0
    assert trajectory.answer == "42 ***"
    assert "secret" not in json.dumps(trajectory.to_json())


def test_key_that_is_a_word_may_be_said(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "EMPTY")
    with Server([[delta(content="42, not EMPTY"), end()]]) as server:
        trajectory = play(server)

    assert trajectory.answer == "42, not EMPTY"


def test_model_without_a_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with Server([ANSWER]) as server:
        play(server)

    assert "Authorization" not in server.headers[0]


def test_key_in_the_operators_error():
    with Server([Failure(401, f"no such key: {KEY}")]) as server:
        chat = OpenAIChat(server.url, "qwq")
        with pytest.raises(
            UsageError, match=r"no such key: \*\*\*; check .* OPENAI_API_KEY"
        ) as caught:
            asyncio.run(ask(chat))

    assert "secret" not in repr(chat) + repr(caught.value)


async def ask(chat: OpenAIChat):
    try:
        await chat.reply([], (), max_tokens=9, sampling=Sampling(), seed=0)
    finally:
        await chat.aclose()


def test_key_in_the_place_of_a_setting(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret0123456789")
    failure = Failure(400, {"error": {"message": "no", "param": "secret0123456789"}})
    with Server([failure]) as server, pytest.raises(UsageError, match=r"check \*\*\*") as caught:
        asyncio.run(ask(OpenAIChat(server.url, "qwq")))

    assert "secret" not in str(caught.value)
