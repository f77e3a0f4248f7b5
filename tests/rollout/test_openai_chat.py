"""Evaluation over a chat endpoint: a hand-made server that speaks OpenAI's stream."""

from __future__ import annotations

import json

import pytest

from qwq_env.rollout.store import EpisodeStore, read_episodes
from qwq_env.trajectory import Trajectory

from .chat_server import ANSWER, Failure, Server, Stream, delta, end, native_call, play


def test_native_calls_and_reasoning_content():
    thought = delta(reasoning_content="I should double it.")
    with Server([[thought, *native_call('{"number": 21}')], ANSWER]) as server:
        trajectory = play(server)

    assistant, result = server.requests[1]["messages"][1:]
    assert trajectory.reward == 1.0
    assert trajectory.counts == {"ok": 1}
    assert result == {"role": "tool", "tool_call_id": "c1", "name": "double", "content": "42"}
    assert assistant["tool_calls"][0]["function"]["arguments"] == '{"number": 21}'
    assert server.requests[0]["tools"][0]["function"]["name"] == "double"


def test_textual_calls_and_inline_thinking():
    call = '{"name": "double", "arguments": {"number": 21}}'
    text = f"<think>\nhm\n</think>\n\n<tool_call>\n{call}\n</tool_call>"
    with Server([[delta(content=text), end()], ANSWER]) as server:
        trajectory = play(server, native_tools=False)

    assert trajectory.reward == 1.0
    assert "tools" not in server.requests[0]
    assert server.requests[1]["messages"][-1]["content"] == "<tool_response>\n42\n</tool_response>"


def test_the_seed_is_sent_where_it_is_asked_for_another_in_each_turn():
    for seeded in (True, False):
        with Server([native_call('{"number": 21}'), ANSWER]) as server:
            play(server, seeded=seeded)

        seeds = {request.get("seed") for request in server.requests}
        assert len(seeds) == (2 if seeded else 1)
        assert (None in seeds) != seeded


def test_answer_in_the_reasoning_earns_nothing():
    with Server([[delta(reasoning_content="42"), delta(content="no idea"), end()]]) as server:
        trajectory = play(server)

    assert trajectory.reward == 0.0


def test_broken_native_arguments_are_an_observation():
    with Server([native_call('{"number": '), ANSWER]) as server:
        trajectory = play(server)

    assert trajectory.counts == {"malformed_json": 1}
    assert "not JSON" in server.requests[1]["messages"][-1]["content"]


def test_length_truncates():
    with Server([[delta(content="so"), end("length")]]) as server:
        trajectory = play(server)

    assert trajectory.outcome.reason == "tokens"


@pytest.mark.parametrize(
    "failure",
    [
        503,
        429,
        [delta(content="half")],
        b"nothing that gzip knows",
        [5, end()],
        [{"choices": 5}, end()],
        [{"choices": [5]}, end()],
        [{"choices": [{"delta": 5}]}, end()],
        [delta(content=42), end()],
        [delta(tool_calls=[{"index": "first"}]), end()],
        [delta(tool_calls=[{"function": {"name": 5}}]), end()],
        [end(tokens="many")],
        [{**end(), "usage": [7]}],
    ],
)
def test_what_fails_on_the_way_is_tried_again(failure):
    with Server([failure, ANSWER]) as server:
        trajectory = play(server)

    assert trajectory.reward == 1.0
    assert len(server.requests) == 2


def test_chat_trajectory_round_trip():
    with Server([ANSWER]) as server:
        trajectory = play(server)

    assert trajectory.messages[-1] == {"role": "assistant", "content": "It is 42."}
    assert Trajectory.from_json(trajectory.to_json()) == trajectory


def test_text_that_utf8_cannot_write_is_stored_as_it_came(tmp_path):
    with Server([[delta(content="42 \ud800 é"), end()]]) as server:
        trajectory = play(server)
    with EpisodeStore(tmp_path / "episodes.jsonl") as store:
        store.append(trajectory)

    assert trajectory.answer == "42 \ud800 é"
    assert list(read_episodes(tmp_path / "episodes.jsonl")) == [trajectory]


def stream(*events, end="\n\n") -> Stream:
    """Return events whose JSON holds every character as it is."""
    written = [f"data: {json.dumps(event, ensure_ascii=False)}{end}" for event in events]
    return Stream("".join([*written, f"data: [DONE]{end}"]).encode())


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c"])
def test_only_a_line_feed_ends_a_line(separator):
    text = f"42{separator}apples"
    # JSON must write control characters below U+0020 in escapes; json.dumps does.
    with Server([stream(delta(content=text), end())]) as server:
        trajectory = play(server, tries=1)

    assert trajectory.answer == text.strip()


def test_lines_that_end_as_on_windows():
    with Server([stream(*ANSWER, end="\r\n\r\n")]) as server:
        assert play(server, tries=1).answer == "It is 42."


def test_a_character_in_two_chunks_is_one():
    text = "42 é🙂" * 30_000
    with Server([stream(delta(content=text), end())]) as server:
        assert play(server, tries=1).answer == text


@pytest.mark.parametrize("last", [delta(content="42"), {"choices": [{"finish_reason": None}]}])
def test_end_without_a_reason_is_no_end(last):
    broken = stream(delta(content="It is 42, or rath"), last)
    with Server([broken, ANSWER]) as server:
        trajectory = play(server)

    assert trajectory.answer == "It is 42."
    assert len(server.requests) == 2


@pytest.mark.parametrize("reason", ["abort", "error", "insufficient_system_resource"])
def test_reply_that_the_server_gave_up_is_asked_for_again(reason):
    with Server([[delta(content="It is 42, or"), end(reason)], ANSWER]) as server:
        trajectory = play(server)

    assert trajectory.answer == "It is 42."
    assert len(server.requests) == 2


def test_reply_that_was_filtered_is_not_graded():
    with Server([[delta(content="It is 42, or"), end("content_filter")]], repeat=True) as server:
        trajectory = play(server, attempts=3)

    assert (trajectory.outcome.reason, trajectory.reward) == ("refused", None)
    assert len(server.requests) == 1


def test_reply_with_another_status_of_success():
    whole = {"choices": [{"message": {"content": "It is 42."}, "finish_reason": "stop"}]}
    with Server([Failure(201, whole)]) as server:
        assert play(server, tries=1).reward == 1.0
