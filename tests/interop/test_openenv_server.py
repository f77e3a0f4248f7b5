"""Our environments behind OpenEnv, driven by its own client, passed by its own validator."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from qwq_env.errors import UsageError

from .parity import SCRIPTS, ParityEnv, by_messages, kind_of, run_snippet, told

openenv = pytest.importorskip(
    "openenv", reason="openenv wants another mcp than ours; `make interop` has it"
)
import httpx  # noqa: E402
import uvicorn  # noqa: E402
import websockets  # noqa: E402

from qwq_env.interop import openenv_server  # noqa: E402
from qwq_env.interop.openenv_server import openenv_app  # noqa: E402

# What OpenEnv's own packages warn of when they are used.
pytestmark = pytest.mark.filterwarnings("default")


@contextlib.asynccontextmanager
async def served(**bounds) -> AsyncIterator[str]:
    """The environment on a real socket: its URL."""
    config = uvicorn.Config(openenv_app(ParityEnv(), **bounds), port=0, log_level="error")
    running = uvicorn.Server(config)
    task = asyncio.create_task(running.serve())
    while not running.started:
        await asyncio.sleep(0.005)
    port = running.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        running.should_exit = True
        await task


async def play(url: str, number: int, *, by_text: bool):
    """Play a script; return the messages and the last result."""
    async with openenv.GenericEnvClient(base_url=url) as client:
        result = await client.reset(seed=5, index=number)
        messages, tools = list(result.observation["messages"]), result.observation["tools"]
        assert [each["function"]["name"] for each in tools] == ["add", "look"]
        for turn, said in enumerate(list(SCRIPTS.values())[number]):
            result = await client.step({"turn": said.text if by_text else said.message(turn)})
            messages += result.observation["messages"]
            if result.done:
                break
        return messages, result


async def test_many_sessions_at_a_time_come_to_the_same_as_our_engine():
    reference = ParityEnv()
    await reference.areset(seed=5, options={"index": 0})
    seed = reference.episode.seed
    async with served() as url:
        numbers = [*range(len(SCRIPTS))] * 2
        played = await asyncio.gather(
            *(play(url, n, by_text=place >= len(SCRIPTS)) for place, n in enumerate(numbers))
        )

    for number, (messages, result) in zip(numbers, played, strict=True):
        came = await by_messages(number, seed)
        assert (result.reward, kind_of(result.observation["outcome"])) == (
            came.reward,
            came.outcome,
        )
        if came.reward is not None:
            assert told(messages) == came.messages


async def test_its_own_validator_passes():
    program = [str(Path(sys.executable).with_name("openenv")), "validate", "--json", "--url"]
    async with served() as url:
        done = await asyncio.to_thread(
            subprocess.run, [*program, url], capture_output=True, text=True, check=False
        )

    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["passed"] is True


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"index": 10**9}, "index: 1000000000; expected 0 to"),
        ({"task_id": "nobody"}, "no task 'nobody'"),
        ({"task": {"id": "x"}}, "expected task_id or index"),
        ({"sedd": 1}, "reset option: 'sedd' is not known"),
        ({"seed": "x"}, "seed: 'x'; expected a whole number"),
        ({"seed": -1}, "seed: -1; expected a whole number"),
    ],
)
async def test_a_bad_reset_is_one_line_and_the_session_goes_on(options, words):
    async with served() as url, openenv.GenericEnvClient(base_url=url) as client:
        with pytest.raises(RuntimeError, match=words):
            await client.reset(**options)

        assert not (await client.reset(index=0)).done


@pytest.mark.parametrize(
    "action", [{}, {"turn": 7}, {"turn": {"role": "user"}}, {"turn": "a", "more": 1}, {"text": "a"}]
)
async def test_a_bad_action_costs_no_turn(action):
    async with served() as url, openenv.GenericEnvClient(base_url=url) as client:
        await client.reset(index=3)
        with pytest.raises(RuntimeError):
            await client.step(action)
        result = await client.step({"turn": "</think>Done.<|im_end|>"})

    assert (result.done, result.reward) == (True, 0.5)


async def test_steps_out_of_order_are_refused():
    async with served() as url, openenv.GenericEnvClient(base_url=url) as client:
        with pytest.raises(RuntimeError, match="call reset first"):
            await client.step({"turn": "a"})
        await client.reset(index=3)
        await client.step({"turn": "</think>Done.<|im_end|>"})
        with pytest.raises(RuntimeError, match="call reset first"):
            await client.step({"turn": "a"})


async def test_sessions_are_bounded_and_the_idle_make_room():
    async with served(sessions=2, idle_seconds=0.5) as url, contextlib.AsyncExitStack() as stack:
        for _ in range(2):
            client = await stack.enter_async_context(openenv.GenericEnvClient(base_url=url))
            await client.reset(index=0)
        crowded = openenv.GenericEnvClient(base_url=url)
        with pytest.raises(Exception, match=r"(?i)capacity|1000|1011"):
            async with crowded:
                await crowded.reset(index=0)


async def test_what_is_said_of_an_episode_is_not_its_answer():
    async with served() as url, openenv.GenericEnvClient(base_url=url) as client:
        opened = await client.reset(index=0)
        state = await client.state()
        async with httpx.AsyncClient(base_url=url) as http:
            described = (await http.get("/metadata")).json()

    assert described["name"] == "ParityEnv"
    assert "from" not in json.dumps([opened.observation, state])


async def test_strangers_are_kept_out():
    async with served() as url:
        async with httpx.AsyncClient(base_url=url) as http:
            page = await http.get("/health", headers={"origin": "https://evil.example"})
            rebound = await http.get("/health", headers={"host": "evil.example"})
            huge = await http.post("/reset", content=b"[" * (5 << 20))
        with pytest.raises(websockets.exceptions.InvalidStatus, match="403"):
            await websockets.connect(
                url.replace("http", "ws") + "/ws", origin="https://evil.example"
            )

    assert [each.status_code for each in (page, rebound, huge)] == [403, 403, 413]


async def test_a_key_is_asked_for():
    async with served(key="k" * 16) as url:
        with pytest.raises(Exception, match="403"):
            async with openenv.GenericEnvClient(base_url=url) as client:
                await client.reset()
        bearer = {"authorization": "Bearer " + "k" * 16}
        async with openenv.GenericEnvClient(base_url=url, headers=bearer) as client:
            assert not (await client.reset(index=0)).done


def test_an_address_that_others_reach_wants_a_key():
    with pytest.raises(UsageError, match=r"host: '0.0.0.0' is not a loopback address"):
        openenv_app(ParityEnv(), host="0.0.0.0")


async def test_what_the_documentation_shows_runs(capsys):
    names = {"model": lambda messages, tools: {"role": "assistant", "content": "Done."}}
    async with served() as url:
        await run_snippet(openenv_server, names, "http://127.0.0.1:8000", url)

    assert "0.5 {'kind': 'terminated', 'reason': 'answered'" in capsys.readouterr().out
