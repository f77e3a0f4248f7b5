"""The environments and tools of the library go on in mid-episode; see `qwq_env.journal`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from qwq_env.env import ToolEnv
from qwq_env.envs.code import PublicTests
from qwq_env.envs.retail.environment import RetailEnv
from qwq_env.episode import Episode
from qwq_env.journal import Journal
from qwq_env.messages import read_assistant
from qwq_env.rubric import Component, Rubric
from qwq_env.task import ListTaskSet, Task
from qwq_env.tools.calculator import Calculator
from qwq_env.tools.mcp import McpServer, McpTool
from qwq_env.tools.python import PythonTool

from ..examples import example


def calling(name: str, **arguments):
    calls = [{"type": "function", "function": {"name": name, "arguments": arguments}}]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def saying(words: str):
    return {"role": "assistant", "content": words}


def python() -> tuple[ToolEnv, list]:
    tool = PythonTool(backend="subprocess")
    tool.replay = "rerun"
    tasks = ListTaskSet([Task("t", "Compute.", "42")])
    reward = Component("said", lambda final: float("42" in final.results[-1].content))
    steps = ["import random; x = 40", "x += 1", "x += 1; random.random()", "x"]
    moves = [calling("python", code=code) for code in steps]
    return ToolEnv(tasks, [tool], Rubric([reward])), [*moves, saying("42")]


def retail() -> tuple[ToolEnv, list]:
    env = RetailEnv(difficulty=2)
    return env, list(env.solve(env.tasks.task(0)))


def bank() -> tuple[ToolEnv, list]:
    env = example("bank").BankEnv()
    move, last = env.solve(env.tasks.task(0))
    refused = calling("transfer", source="ann", target="eve", amount=7000)
    return env, [refused, move, calling("balance", owner="ann"), last]


async def played(env: ToolEnv, moves: list, path: Path, index: int = 0) -> Episode:
    with Journal(path) as journal:
        episode = env.begin(env.tasks.task(index), seed=1)
        episode.keep(journal.attempt("e"))
        await episode.start()
        episode.open()
        for move in moves:
            await episode.step(read_assistant(move, env.settings.dialect))
        await episode.aclose()
    return episode


@pytest.mark.parametrize("make", [python, retail, bank])
def test_an_episode_that_was_given_up_in_the_middle_ends_as_one_that_was_not(make, tmp_path):
    env, moves = make()
    whole = asyncio.run(played(env, moves, tmp_path / "whole"))
    asyncio.run(played(env, moves[: len(moves) // 2], tmp_path / "cut"))
    resumed = asyncio.run(played(env, moves, tmp_path / "cut"))

    assert whole.paid == resumed.paid == 1.0
    assert resumed.segments == whole.segments
    assert len(resumed.results) == len(whole.results)
    states = [
        [line for line in (tmp_path / name).read_text().splitlines() if '"state"' in line]
        for name in ("whole", "cut")
    ]
    assert states[0] == states[1] != []


def test_each_tool_says_what_may_run_again():
    schema = {"name": "a", "inputSchema": {"type": "object"}}
    hints = [{}, {"readOnlyHint": True}, {"idempotentHint": True}, {"readOnlyHint": "yes"}, None]
    remote = [McpTool(McpServer(["npx"]), {**schema, "annotations": hint}) for hint in hints]

    assert [tool.replay for tool in remote] == [
        "once", "idempotent", "idempotent", "once", "once",
    ]  # fmt: skip
    assert [tool.call_order is tool.server for tool in remote] == [True, False, True, True, True]
    assert (Calculator().replay, PublicTests.replay) == ("idempotent", "idempotent")
    assert (PythonTool().replay, PythonTool(backend="subprocess").replay) == ("rerun", None)
