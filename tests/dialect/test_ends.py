"""What stands behind the end of a turn, or as padding before it, is no part of it."""

from __future__ import annotations

import pytest

from qwq_env.dialect import dialect_names, make_dialect
from qwq_env.env import ToolEnv
from qwq_env.rubric import Component, Rubric
from qwq_env.task import ListTaskSet, Task
from qwq_env.tools.calculator import Calculator
from qwq_env.tools.python import PythonTool
from qwq_env.tools.search import SearchBackend, SearchTool

END, PAD = "<|im_end|>", "<|endoftext|>"
CALLS = {
    "qwq": "</think><tool_call>\n"
    '{"name": "calculator", "arguments": {"expression": "1+1"}}\n</tool_call>',
    "react": 'Thought: so\nAction: calculator\nAction Input: {"expression": "1+1"}',
}
BEHIND = [
    "", PAD, PAD * 3, "\n", f"\n{PAD}", f"{END}{PAD}", "\n<|im_start|>user\nAnd 7?<|im_end|>\n",
    " I mean 8.", f"\n<|im_start|>assistant\n9{END}",
]  # fmt: skip


def environment(name: str) -> ToolEnv:
    def exact(final) -> float:
        return float(final.answer == "4")

    search = [SearchTool(Nothing())]
    own = {"tags": search, "search_r1": search, "fenced": [PythonTool()]}
    tools = own.get(name, [Calculator()])
    tasks = ListTaskSet([Task("t", "2+2?", "4")])
    return ToolEnv(tasks, tools, Rubric([Component("exact", exact)]), dialect=name)


class Nothing(SearchBackend):
    async def search(self, query, count):
        return []


@pytest.mark.parametrize("name", dialect_names())
@pytest.mark.parametrize("end", [END, PAD])
@pytest.mark.parametrize("behind", BEHIND)
def test_what_follows_the_end_is_no_answer(name: str, end: str, behind: str) -> None:
    opening = make_dialect(name).thinking_opening and "so</think>"
    env = environment(name)
    env.reset(seed=0)
    reward, info = (step := env.step(f"{opening}4{end}{behind}"))[1], step[4]

    assert (info["answer"], reward) == ("4", 1.0)
    assert env.episode.segments[-1] == ("answer", f"4{end}")
    assert env.episode.turns[-1].closed


@pytest.mark.parametrize("name", dialect_names())
@pytest.mark.parametrize("before", [PAD, PAD * 3, f"{PAD}\n", "<bos>", "<|begin_of_text|>"])
def test_padding_before_a_turn_is_no_part_of_it(name: str, before: str) -> None:
    opening = make_dialect(name).thinking_opening and "so</think>"
    env = environment(name)
    env.reset(seed=0)

    assert env.step(f"{before}{opening}4{END}{PAD}")[4]["answer"] == "4"
    env.reset(seed=0)
    assert env.step(f"{before}{opening}4")[4]["answer"] == "4"


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("behind", BEHIND)
def test_a_transcript_gets_one_end(name: str, behind: str) -> None:
    env = environment(name)
    env.reset(seed=0)
    observation, *_ = env.step(f"{CALLS[name]}{END}{behind}")

    assert observation.startswith("\n<|im_start|>user")
    assert "".join(text for _, text in env.episode.segments[1:]).count(END) == 2


@pytest.mark.parametrize("name", dialect_names())
def test_a_turn_of_nothing_is_empty(name: str) -> None:
    for text in ("", END, PAD, PAD * 2, f"{END}\n<|im_start|>user\n4"):
        env = environment(name)
        env.reset(seed=0)

        assert env.step(text)[4]["answer"] == ""


def test_an_end_that_a_call_prints_is_the_calls() -> None:
    text = CALLS["qwq"].replace("1+1", f"'{END}'")

    assert make_dialect("qwq").first_turn(f"{text}{END}{PAD}") == f"{text}{END}"


@pytest.mark.parametrize("name", dialect_names())
def test_a_parser_drops_padding_behind_the_end(name: str) -> None:
    turn = make_dialect(name).parse(f"so</think>4{END}{PAD}\n")

    assert (turn.closed, turn.answer) == (True, "4" if name != "react" else turn.answer)
    assert turn.text == f"so</think>4{END}{PAD}\n"
