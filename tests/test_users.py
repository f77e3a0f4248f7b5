"""Simulated users: what they hear, what they say, and what their failures are."""

from __future__ import annotations

import asyncio
import math

import pytest

from qwq_env.chat_model import ChatModel, ChatReply
from qwq_env.env import ToolEnv
from qwq_env.errors import UsageError
from qwq_env.rubric import Component, Rubric
from qwq_env.task import ListTaskSet, Task
from qwq_env.tool import tool
from qwq_env.turn import ToolCall
from qwq_env.users import ChatUser, ScriptedUser

TASK = Task("t", "My order is late.", "", metadata={"lines": ["It is number 7.", "Thank you."]})


@tool(blocking=False)
def look_up(order: int) -> str:
    """Look up an order."""
    return "secret"


class Desk(ToolEnv):
    def __init__(self, user) -> None:
        rubric = Rubric([Component("polite", lambda final: float("Bye" in final.answer))])
        super().__init__(ListTaskSet([TASK]), [look_up], rubric)
        self.user = user

    def reply(self, episode):
        return self.user.reply(episode)


CALL = '<tool_call>\n{"name": "look_up", "arguments": {"order": 7}}\n</tool_call>'


def talk(env, *turns):
    env.reset(seed=0)
    return [env.step(f"I think\n</think>\n\n{turn}<|im_end|>") for turn in turns]


@pytest.mark.parametrize("lines", [TASK.metadata["lines"], lambda task: task.metadata["lines"]])
def test_a_scripted_user_says_its_lines_in_order(lines):
    steps = talk(Desk(ScriptedUser(lines)), "Which?", f"I look.{CALL}", "Here.", "Bye.")

    said = [info["messages"][-1] for *_, info in steps]
    assert [m["content"] for m in said if m["role"] == "user"] == TASK.metadata["lines"]
    assert (steps[-1][1], steps[-1][2]) == (1.0, True)


class Speaker(ChatModel):
    def __init__(self, *replies: str | ChatReply) -> None:
        self.replies, self.heard = list(replies), []

    async def reply(self, messages, tools, *, max_tokens, sampling, seed, stop=()):
        self.heard.append(list(messages))
        reply = self.replies.pop(0)
        return reply if isinstance(reply, ChatReply) else ChatReply("", reply)


def test_a_chat_user_hears_with_roles_turned_only_what_was_said():
    model = Speaker("<think>sly</think> It is number 7.", "Fine. ###STOP###")
    user = ChatUser(model, lambda task: f"You want: {task.prompt}")
    steps = talk(Desk(user), "Which? <|im_start|>", f"I look.{CALL}", "Bye.")

    assert model.heard[1] == [
        {"role": "system", "content": "You want: My order is late."},
        {"role": "user", "content": "Hello, how can I help you?"},
        {"role": "assistant", "content": "My order is late."},
        {"role": "user", "content": "Which? &lt;|im_start|>"},
        {"role": "assistant", "content": "It is number 7."},
        {"role": "user", "content": "Bye."},
    ]
    assert steps[0][-1]["messages"][-1] == {"role": "user", "content": "It is number 7."}
    assert (steps[-1][1], steps[-1][2]) == (1.0, True)


NONSENSE = [
    "", " \n", "<think>never closed", "<think>thought</think>",
    ChatReply("", "cut", finish_reason="length"),
    ChatReply("", "call", (ToolCall("look_up", {}),)),
]  # fmt: skip


@pytest.mark.parametrize("nonsense", NONSENSE)
def test_nonsense_is_asked_for_again_and_then_infrastructure(nonsense):
    once = talk(Desk(ChatUser(Speaker(nonsense, "7"), "You are Ann.")), "Which?")[0]
    always = talk(Desk(ChatUser(Speaker(*[nonsense] * 3), "You are Ann.")), "Which?")[0]

    assert once[-1]["messages"][-1]["content"] == "7"
    assert math.isnan(always[1])
    assert always[-1]["outcome"]["reason"] == "infrastructure"
    assert "no answer in 3 attempts" in always[-1]["outcome"]["detail"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ScriptedUser("one line"), "lines"),
        (lambda: ScriptedUser(3), "lines"),
        (lambda: ChatUser("gpt", "You are Ann."), "model"),
        (lambda: ChatUser(Speaker(), None), "instructions"),
        (lambda: ChatUser(Speaker(), "Ann", stop=""), "stop"),
        (lambda: ChatUser(Speaker(), "Ann", attempts=0), "attempts"),
    ],
)
def test_what_is_no_user_is_refused(make, words):
    with pytest.raises(UsageError, match=f"^{words}"):
        make()


def test_a_user_behind_a_server_that_is_asked_by_many():
    class Echo(ChatModel):
        async def reply(self, messages, tools, **arguments):
            await asyncio.sleep(0)
            return ChatReply("", messages[-1]["content"])

    async def one(env, number):
        episode = env.begin(TASK, seed=number)
        await episode.start()
        return await episode.step(f"</think>{number}")

    async def many():
        env = Desk(ChatUser(Echo(), "Say the same."))
        return await asyncio.gather(*(one(env, number) for number in range(200)))

    steps = asyncio.run(many())
    assert [step.messages[0]["content"] for step in steps] == [str(n) for n in range(200)]
