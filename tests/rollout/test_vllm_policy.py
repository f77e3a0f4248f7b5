"""What the policy asks of a server, what it makes of the answers, and what it says of failures."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest
from aiohttp import web

from qwq_env.chat_model import Sampling
from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.rollout.policy import Generation, GenerationRequest
from qwq_env.rollout.vllm_policy import HttpSettings, VllmPolicy

from .vllm_stub import StubServer, completion, error

QUICK = HttpSettings(attempts=3, backoff=0.001)


def request(ids=(1, 2, 3), max_tokens=10, episode="e", **more) -> GenerationRequest:
    sampling = more.pop("sampling", Sampling())
    return GenerationRequest(list(ids), max_tokens, episode, sampling, frozenset({2, 9}), **more)


async def ask(server: StubServer, *requests: GenerationRequest, **arguments) -> list[Generation]:
    policy = VllmPolicy(server.url, settings=QUICK, **arguments)
    try:
        return [await policy.generate(each) for each in requests]
    finally:
        await policy.aclose()


def answering(value) -> object:
    async def answer(body):
        return value if isinstance(value, web.Response) else web.json_response(value)

    return answer


async def test_ids_go_in_and_come_out():
    async with StubServer() as server:
        [generation] = await ask(server, request(seed=5, stop_strings=("</search>",)))

        body = server.bodies[0]
    assert generation == Generation([7, 8], [-0.5, -0.5], "stop")
    assert body["prompt"] == [1, 2, 3]
    assert body["model"] == "policy"
    assert body["stop_token_ids"] == [2, 9]
    assert body["stop"] == ["</search>"]
    assert "seed" not in body
    assert body["return_token_ids"] is True
    assert body["logprobs"] == 0


async def test_a_turn_that_the_server_cut_is_told_from_one_that_ended():
    async with StubServer(answering(completion([7, 8], "length"))) as server:
        [generation] = await ask(server, request(max_tokens=2))

    assert generation == Generation([7, 8], [-0.5, -0.5], "length")


async def test_seed_is_sent_where_it_is_asked_for():
    async with StubServer() as server:
        await ask(server, request(seed=2**40 + 5), request(seed=2**40 + 6), seeded=True)

        first, second = (body["seed"] for body in server.bodies)
    assert 0 <= first < 2**31 and 0 <= second < 2**31 and first != second


@pytest.mark.parametrize(
    ("device", "chunked", "dies"),
    [("cpu", True, True), ("cpu", False, False), ("cuda", True, False)],
)
async def test_server_that_would_die_of_a_seed_gets_none(device, chunked, dies):
    async with StubServer() as server:
        server.settings = {
            "device_config": {"device": device},
            "scheduler_config": {"enable_chunked_prefill": chunked},
        }
        await ask(server, request())
        if dies:
            with pytest.raises(UsageError, match=r"^vllm seeded: .*--no-enable-chunked-prefill"):
                await ask(server, request(), seeded=True)
        else:
            await ask(server, request(), seeded=True)

        assert len(server.bodies) == 2 - dies


async def test_distribution_is_named_in_full_so_that_a_checkpoint_cannot_bend_it():
    sampling = Sampling(temperature=0.7, top_p=0.9, top_k=20)
    async with StubServer() as server:
        await ask(server, request(sampling=sampling))

        body = server.bodies[0]
    assert (body["temperature"], body["top_p"], body["top_k"]) == (0.7, 0.9, 20)
    assert (body["min_p"], body["repetition_penalty"]) == (0.0, 1.0)
    assert (body["presence_penalty"], body["frequency_penalty"]) == (0.0, 0.0)
    assert body["ignore_eos"] is True


@pytest.mark.parametrize(("length", "asked"), [(3, 10), (95, 5), (99, 1)])
async def test_turn_is_bounded_by_the_servers_context(length, asked):
    async with StubServer(answering(completion([7])), context=100) as server:
        await ask(server, request(range(length)))

        assert server.bodies[0]["max_tokens"] == asked


@pytest.mark.parametrize("length", [100, 101])
async def test_context_that_is_full_is_not_asked_about(length):
    async with StubServer(context=100) as server:
        [generation] = await ask(server, request(range(length)))

        assert generation == Generation([], [], "length")
        assert server.bodies == []


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
async def test_failure_on_the_way_is_tried_again(status):
    async def answer(body):
        if len(server.bodies) < 3:
            return error(status, "busy")
        return web.json_response(completion([7, 8]))

    async with StubServer(answer) as server:
        [generation] = await ask(server, request())

        assert generation.ids == [7, 8]
        assert len(server.bodies) == 3


async def test_connection_that_breaks_is_tried_again():
    async def answer(body):
        if len(server.bodies) < 2:
            raise asyncio.CancelledError  # aiohttp then drops the connection
        return web.json_response(completion([7, 8]))

    async with StubServer(answer) as server:
        [generation] = await ask(server, request())

        assert generation.ids == [7, 8]


async def test_dead_engine_is_reported_in_its_own_words():
    async def dead(body):
        return error(500, "EngineCore encountered an issue. See stack trace for the root cause.")

    async with StubServer(dead) as server:
        with pytest.raises(InfrastructureError, match=r"status 500: EngineCore encountered"):
            await ask(server, request())

        assert len(server.bodies) == QUICK.attempts


@pytest.mark.parametrize("status", [400, 422])
async def test_refusal_is_not_tried_again(status):
    async with StubServer(answering(error(status, "Token id 99 is out\nof vocabulary"))) as server:
        with pytest.raises(InfrastructureError, match=f"{status}: Token id 99 is out of voc"):
            await ask(server, request())

        assert len(server.bodies) == 1


async def test_server_that_starts_late_is_found(unused_tcp_port):
    policy = VllmPolicy(
        f"http://127.0.0.1:{unused_tcp_port}", settings=HttpSettings(attempts=20, backoff=0.01)
    )
    waiting = asyncio.create_task(policy.generate(request()))
    await asyncio.sleep(0.02)

    async def models(_):
        return web.json_response({"data": [{"id": "policy", "max_model_len": 50}]})

    async def complete(_):
        return web.json_response(completion([7]))

    app = web.Application()
    app.router.add_get("/v1/models", models)
    app.router.add_post("/v1/completions", complete)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", unused_tcp_port).start()

    assert (await waiting).ids == [7]
    await policy.aclose()
    await runner.cleanup()


async def test_answer_that_does_not_come():
    async def answer(body):
        await asyncio.sleep(60)

    async with StubServer(answer) as server:
        policy = VllmPolicy(server.url, settings=HttpSettings(seconds=0.05, attempts=3))
        with pytest.raises(InfrastructureError, match=r"no answer within 0.05 seconds"):
            await policy.generate(request())
        await policy.aclose()

        assert len(server.bodies) == 1


async def test_waiting_for_a_place_is_not_counted_against_the_server():
    async def answer(body):
        await asyncio.sleep(0.1)
        return web.json_response(completion([7]))

    async with StubServer(answer) as server:
        policy = VllmPolicy(server.url, settings=HttpSettings(in_flight=2, seconds=0.5, attempts=1))
        await asyncio.gather(*(policy.generate(request(episode=str(i))) for i in range(16)))
        await policy.aclose()

        assert server.most_in_flight == 2


async def test_cancelled_turn_is_dropped_by_the_server():
    async def answer(body):
        await asyncio.sleep(60)

    async with StubServer(answer) as server:
        policy = VllmPolicy(server.url)
        task = asyncio.create_task(policy.generate(request()))
        while not server.bodies:
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while not server.cancelled:
            await asyncio.sleep(0.005)
        server.answer = None

        assert (await policy.generate(request())).ids == [7, 8]
        await policy.aclose()


async def test_first_asker_that_is_cancelled_leaves_the_question_to_the_others():
    async with StubServer() as server:
        policy = VllmPolicy(server.url)
        first = asyncio.create_task(policy.generate(request(episode="a")))
        others = [asyncio.create_task(policy.generate(request(episode=e))) for e in "bcd"]
        await asyncio.sleep(0)
        first.cancel()

        assert [g.ids for g in await asyncio.gather(*others)] == [[7, 8]] * 3
        assert server.asked_for_models == 1
        await policy.aclose()


GARBAGE = {
    "not an object": [1, 2],
    "no choices": {"choices": []},
    "text for ids": completion(["7", "8"]),
    "ids below zero": completion([7, -8]),
    "more than asked for": completion(list(range(11))),
    "aborted": completion([7], "abort"),
    "no logprobs": completion([7], logprobs=None),
    "a logprob too few": completion([7, 8], logprobs={"token_logprobs": [-1.0]}),
    "a null logprob": completion([7, 8], logprobs={"token_logprobs": [-1.0, None]}),
    "a logprob that is text": completion([7], logprobs={"token_logprobs": ["-1"]}),
    "a probability above one": completion([7], logprobs={"token_logprobs": [0.5]}),
    "a logprob without end": completion([7], logprobs={"token_logprobs": [float("-inf")]}),
}


@pytest.mark.parametrize("answer", GARBAGE.values(), ids=GARBAGE)
async def test_answer_that_is_no_turn_is_ours_to_mend(answer):
    response = web.Response(text=json.dumps(answer), content_type="application/json")
    async with StubServer(answering(response)) as server:
        with pytest.raises(InfrastructureError, match="vllm"):
            await ask(server, request())

        assert len(server.bodies) == 1


async def test_server_that_gives_no_ids_ends_the_run():
    answer = {"choices": [{"text": "a", "finish_reason": "stop", "logprobs": None}]}
    async with StubServer(answering(answer)) as server:
        with pytest.raises(UsageError, match=r"^vllm: http.*no token_ids.*vLLM 0\.10\.2"):
            await ask(server, request())


@pytest.mark.parametrize("text", ["", "<html>", "[" * 100_000])
async def test_answer_that_is_not_json(text):
    async with StubServer(answering(web.Response(text=text))) as server:
        with pytest.raises(InfrastructureError, match="not JSON"):
            await ask(server, request())


async def test_model_that_is_not_served():
    async with StubServer() as server:
        with pytest.raises(UsageError, match=r"'other'.*serves \['policy'\]"):
            await ask(server, request(), model="other")


@pytest.mark.parametrize("models", [None, [], [{"id": "x"}], [{"max_model_len": 3}], "models"])
async def test_list_of_models_that_is_none(models):
    async with StubServer() as server:
        server.models = models
        with pytest.raises((InfrastructureError, UsageError)):
            await ask(server, request())


async def test_raw_logprobs_are_warned_of(caplog):
    async with StubServer() as server:
        server.logprobs_mode = "raw_logprobs"
        with caplog.at_level(logging.WARNING):
            await ask(server, request(), request())

    assert caplog.text.count("processed_logprobs") == 1


async def test_key_is_sent_and_shown_nowhere():
    key = "sk-very-secret"
    async with StubServer(answering(error(400, "no"))) as server:
        policy = VllmPolicy(server.url, api_key=key)
        with pytest.raises(InfrastructureError) as caught:
            await policy.generate(request())
        await policy.aclose()

        assert server.headers[0]["Authorization"] == f"Bearer {key}"
    assert key not in repr(policy) + str(caught.value) + repr(caught.value)
    with pytest.raises(UsageError) as caught:
        VllmPolicy("http://host", api_key=f"{key}\n")
    assert key not in str(caught.value)


@pytest.mark.parametrize(
    "urls", ["", [], "host:8000", ["http://a", "ftp://b"], "http://[", "http://u:secret@host", "http://"]
)  # fmt: skip
def test_bad_addresses(urls):
    with pytest.raises(UsageError, match="vllm url") as caught:
        VllmPolicy(urls)

    assert "secret" not in str(caught.value)
