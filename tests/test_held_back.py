"""Tools that a reply offers in the middle of an episode: unknown before, whoever plays."""

from __future__ import annotations

import asyncio
import gc
import json
from dataclasses import replace

import pytest

from qwq_env.chat_model import ChatModel, ChatReply
from qwq_env.env import ToolEnv
from qwq_env.errors import UsageError
from qwq_env.journal import Journal
from qwq_env.rollout.audit import RecordingPolicy, audit
from qwq_env.rollout.engine import Assignment, Engine
from qwq_env.rollout.scripted import ScriptedPolicy
from qwq_env.rubric import Component, Rubric
from qwq_env.task import ListTaskSet, Task
from qwq_env.tool import tool
from qwq_env.turn import ToolCall

TASK = Task("t", "Open the door.", "")
WORDS = "There is a key now. <|im_end|>"


@tool(blocking=False)
def knock(times: int) -> str:
    """Knock at the door."""
    return "nobody"


@tool(blocking=False)
def unlock(key: str) -> str:
    """Unlock the door."""
    return "open"


class Door(ToolEnv):
    def __init__(self, offered=("unlock",), held_back=("unlock",)) -> None:
        rubric = Rubric([Component("open", lambda f: float(f.results[-1].content == "open"))])
        super().__init__(ListTaskSet([TASK]), [knock, unlock], rubric)
        self.settings = replace(self.settings, held_back=frozenset(held_back))
        self.offered = offered

    def reply(self, episode):
        told = sum(message["role"] == "user" for message in episode.said)
        return [{"role": "user", "content": WORDS, "tools": self.offered}] if not told else None


def call(name="unlock", **arguments):
    arguments = json.dumps(arguments or {"key": "k"})
    return {"id": "c", "type": "function", "function": {"name": name, "arguments": arguments}}


def calling(name="unlock", **arguments):
    return {"role": "assistant", "content": None, "tool_calls": [call(name, **arguments)]}


SAYING = {"role": "assistant", "content": "I cannot."}
UNLOCK = json.dumps(unlock.schema())


def names(schemas):
    return [schema["function"]["name"] for schema in schemas]


def test_a_gym_loop_sees_them_when_they_are_offered_and_not_before():
    env = Door()
    prompt, info = env.reset(seed=0)
    assert "knock" in prompt and "unlock" not in prompt and names(info["tools"]) == ["knock"]
    for early in ("unlock", "unlok"):
        *_, info = env.step(calling(early))
        [result] = info["results"]
        assert result["kind"] == "unknown_tool" and "unlock'" not in result["content"][40:]
    assert "tools: knock" in result["content"] and "tools" not in info
    observation, *_, info = env.step(SAYING)

    assert f"<|im_start|>user\n{UNLOCK}\n{WORDS}<|im_end|>\n" in observation
    assert info["messages"][-1] == {"role": "user", "content": f"{UNLOCK}\n{WORDS}"}
    assert names(info["tools"]) == ["knock", "unlock"]
    *_, info = env.step(calling())
    assert info["results"][0]["content"] == "open"
    assert env.step(SAYING)[1] == 1.0


def written(message):
    functions = [each["function"] for each in message.get("tool_calls", ())]
    calls = [{**f, "arguments": json.loads(f["arguments"])} for f in functions]
    texts = [f"<tool_call>\n{json.dumps(each)}\n</tool_call>" for each in calls]
    return "</think>\n\n" + "".join([message["content"] or "", *texts]) + "<|im_end|>"


TURNS = [calling(), SAYING, calling(), SAYING]


def test_on_tokens_they_are_appended_as_foreign_text(codec):
    policy = RecordingPolicy(ScriptedPolicy(codec, [*map(written, TURNS)]))
    [played] = asyncio.run(Engine(Door(), policy, codec).run([Assignment(TASK, "e", 0)]))

    assert (played.reward, played.counts) == (1.0, {"unknown_tool": 1, "ok": 1})
    assert audit(played, policy.take("e")) == []
    [user] = [span for span in played.spans if span.author == "user"]
    assert f"{UNLOCK}\n{WORDS}" in codec.decode(played.ids[user.start : user.end])
    # The one that the user spells is text; the dialect's own are the ends of two messages.
    end = codec.control_ids["<|im_end|>"]
    assert played.ids[user.start : user.end].count(end) == 1
    assert not any(played.mask[user.start - played.prompt_length :][: user.end - user.start])


class Chat(ChatModel):
    def __init__(self, native: bool) -> None:
        self.native_tools, self.heard = native, []

    async def reply(self, messages, tools, **settings):
        self.heard.append((messages[-1]["content"], names(tools)))
        turn = TURNS[len(self.heard) - 1]
        if not self.native_tools:
            return ChatReply("", written(turn).partition("</think>\n\n")[2])
        calls = turn.get("tool_calls", [])
        requests = tuple(ToolCall("unlock", {"key": "k"}) for _ in calls)
        return ChatReply("", turn["content"] or "", requests, tuple(calls))


@pytest.mark.parametrize("native", [True, False])
def test_a_chat_server_is_told_as_it_was_of_the_others(native):
    chat = Chat(native)
    [played] = asyncio.run(Engine(Door(), chat).run([Assignment(TASK, "e", 0)]))

    assert played.reward == 1.0
    said, tools = chat.heard[2]
    assert tools == (["knock", "unlock"] if native else [])
    assert said.startswith("There is a key now." if native else UNLOCK)
    assert [told for _, told in chat.heard[:2]] == [["knock"] if native else []] * 2
    assert played.tokens["user"] > len(UNLOCK) // 4


def test_an_interrupted_episode_goes_on_with_them(codec, tmp_path):
    turns = [*map(written, TURNS)]
    for stop in range(1, 5):
        path = tmp_path / f"{stop}.jsonl"

        class Stops(ScriptedPolicy):
            most = stop

            async def generate(self, request):
                self.most -= 1
                if self.most < 0:
                    raise KeyboardInterrupt
                return await super().generate(request)

        for kind in (Stops, ScriptedPolicy):
            with Journal(path) as journal:
                engine = Engine(Door(), kind(codec, turns), codec, journal=journal)
                try:
                    [played] = asyncio.run(engine.run([Assignment(TASK, "e", 0)]))
                except KeyboardInterrupt:
                    assert kind is Stops
        assert played.reward == 1.0
    gc.collect()  # asyncio tells of the interrupts here, not in the middle of another test


@pytest.mark.parametrize("offered", [["lock"], ["knock"], "unlock", [3]])
def test_a_reply_that_offers_what_is_not_held_back_loses_the_episode(offered):
    env = Door(offered)
    env.reset(seed=0)
    *_, info = env.step(SAYING)

    assert info["outcome"]["reason"] == "reply"
    assert "a reply that offers" in info["outcome"]["detail"]


def test_what_is_held_back_must_be_there():
    with pytest.raises(UsageError, match=r"held_back: no tool named 'unlok' \(did you mean"):
        Door(held_back=["unlok"]).reset()
