"""Rubrics on stored episodes: what they may look at, and what is not there to be looked at."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest

from qwq_env.chat_model import ChatModel, ChatReply
from qwq_env.evaluation.heldout import evaluate
from qwq_env.evaluation.regrade import regrade
from qwq_env.evaluation.request import EvaluationRequest
from qwq_env.rollout.engine import EngineSettings
from qwq_env.rollout.play import PlaySettings
from qwq_env.rollout.scripted import ScriptedPolicy
from qwq_env.rollout.store import EpisodeStore
from qwq_env.turn import ToolCall

ARGUMENTS = '{"expression": "3+4"}'
CALL = f'12</think><tool_call>\n{{"name": "calculator", "arguments": {ARGUMENTS}}}\n</tool_call>'
DONE = "</think>\\boxed{7}"


class Scripted(ChatModel):
    """Thinks and calls, then answers; then answers at once."""

    def __init__(self) -> None:
        call = ToolCall("calculator", json.loads(ARGUMENTS), ARGUMENTS)
        function = {"name": "calculator", "arguments": ARGUMENTS}
        native = {"id": "call0", "type": "function", "function": function}
        done = ChatReply("", "\\boxed{7}")
        self.replies = iter([ChatReply("12", "", (call,), (native,)), done, done])

    async def reply(self, *given, **named) -> ChatReply:
        return next(self.replies)


def by_ids(codec):
    turns = iter([CALL, DONE, DONE])
    return ScriptedPolicy(codec, lambda context: next(turns) + "<|im_end|>")


def by_chat(codec):
    return Scripted()


@pytest.fixture(params=[by_ids, by_chat], scope="module")
def run(request, codec, tmp_path_factory):
    """The folder of two episodes, the first of them with a call."""
    folder = tmp_path_factory.mktemp("run")
    settings = {"environment": "qwq/MathTool-v0", "tools": ["calculator"], "size": 2}
    (folder / "settings.json").write_text(json.dumps(settings))
    asked = EvaluationRequest(**{**settings, "tools": ("calculator",)}, policy="answers")
    with EpisodeStore(folder / "episodes.jsonl", codec) as store:
        evaluate(
            asked.make_environment(), request.param(codec), codec, size=2, play=PlaySettings(),
            settings=EngineSettings(concurrency=1), on_episode=store.append,
        )  # fmt: skip
    return folder


@pytest.mark.parametrize(
    ("judge", "values"),
    [
        (lambda final: all(r.status == "ok" for r in final.results), [None, 1.0]),
        (lambda final: len(final.results), [None, 0.0]),
        (lambda final: final.results == (), [None, 1.0]),
        (lambda final: final.state.get("Bank") is None, [None, None]),
        (lambda final: "Bank" in final.state, [None, None]),
        (lambda final: not final.state, [None, None]),
        (lambda final: final.state["Bank"] == {}, [None, None]),
        (lambda final: len(final.turns[0].calls), [1.0, 0.0]),
        (lambda final: len(final.turns), [2.0, 1.0]),
        (lambda final: "12" in final.turns[0].thinking, [1.0, 0.0]),
        (lambda final: final.answer == final.turns[-1].answer == "\\boxed{7}", [1.0, 1.0]),
    ],
)
def test_a_rubric_sees_what_is_stored_and_leaves_undecided_what_is_not(
    run, monkeypatch, judge, values
):
    judges = SimpleNamespace(judge=lambda final: float(judge(final)))
    monkeypatch.setitem(sys.modules, "judges", judges)
    rows = sorted(regrade(run, "judges:judge", "stored").rows, key=lambda row: row.episode)

    assert [row.first.value for row in rows] == values
    assert {row.first.reason for row in rows if row.first.value is None} <= {"not_stored"}
