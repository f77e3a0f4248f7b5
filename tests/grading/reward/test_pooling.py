"""The vLLM reward model against a server made by hand that speaks `/classify`."""

from __future__ import annotations

import asyncio

import pytest

from qwq_env.errors import UsageError
from qwq_env.grading.reward import Candidate
from qwq_env.grading.reward.pooling import VllmPooling

CANDIDATES = [Candidate("Name a colour.", answer) for answer in ("Blue.", "", "Red, or blue.")]


def by_length(body):
    """A reward model that likes long rows; it answers out of order."""
    rows = [
        {"index": i, "label": "LABEL_0", "probs": [len(ids) / 7], "num_classes": 1}
        for i, ids in enumerate(body["input"])
    ]
    return {"object": "list", "data": rows[::-1]}


def scored(server, encoder, candidates=CANDIDATES, **settings):
    async def main():
        model = VllmPooling(server.url, encoder, **settings)
        scores = await model.score(candidates)
        await model.aclose()
        return scores

    return asyncio.run(main())


def test_each_candidate_gets_its_logit(serve, encoder):
    server = serve(by_length)
    scores = scored(server, encoder, rows=2, model="rm")

    expected = [len(encoder.encode(one, 512)) / 7 for one in CANDIDATES]
    assert [score.value for score in scores] == expected
    assert sorted(len(body["input"]) for body in server.requests) == [1, 2]
    assert all(body["use_activation"] is False for body in server.requests)
    assert server.requests[0]["model"] == "rm"
    assert all(type(i) is int for i in server.requests[0]["input"][0])


def test_too_long_is_never_sent(serve, encoder):
    server = serve(by_length)
    long = Candidate("q", "x" * 1_000_000)
    scores = scored(server, encoder, [long, *CANDIDATES], max_tokens=100)

    assert [score.reason for score in scores] == ["too_long", "scored", "scored", "scored"]
    assert sum(len(body["input"]) for body in server.requests) == 3


def test_what_fails_on_the_way_is_tried_again(serve, encoder):
    failures = iter([503, 429])
    server = serve(lambda body: next(failures, None) or by_length(body))
    scores = scored(server, encoder)

    assert all(score.decided for score in scores)
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    "answer",
    [
        [],
        {"data": []},
        {"data": [{"index": 0, "probs": [1.0]}] * 3},
        {"data": [{"index": i, "probs": [0.5, 0.5]} for i in range(3)]},
        {"data": [{"index": i, "probs": [None]} for i in range(3)]},
        {"data": [{"index": i, "probs": [float("nan")]} for i in range(3)]},
        {"data": ["?", "?", "?"]},
    ],
)
def test_what_is_no_logit_is_undecided(serve, encoder, answer):
    server = serve(lambda body: answer)
    scores = scored(server, encoder, attempts=1)

    assert [(score.value, score.reason) for score in scores] == [(None, "infra")] * 3
    assert len(server.requests) == 1


def test_a_row_that_the_server_refuses_costs_the_others_nothing(serve, encoder):
    longest = len(encoder.encode(CANDIDATES[2], 512))

    def picky(body):
        return 400 if longest in map(len, body["input"]) else by_length(body)

    scores = scored(serve(picky), encoder)

    assert [score.reason for score in scores] == ["scored", "scored", "infra"]


def test_a_server_that_is_not_there_is_undecided(encoder):
    class Nowhere:
        url = "http://127.0.0.1:9"

    [score] = scored(Nowhere, encoder, CANDIDATES[:1], attempts=1)
    assert (score.value, score.reason) == (None, "infra")


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host", "http://me:pw@host", "http://"])
def test_bad_addresses_are_named(encoder, url):
    with pytest.raises(UsageError, match="url") as caught:
        VllmPooling(url, encoder)
    assert "pw" not in str(caught.value)
