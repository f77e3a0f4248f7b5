"""A cold start from conversations that lie in a file."""

from __future__ import annotations

import json

import pytest

from qwq_env.envs.math import MathToolEnv
from qwq_env.errors import UsageError
from qwq_env.training.recorded import Recorded

from ..published import SAMPLES, read_rows


@pytest.fixture(scope="module")
def env():
    return MathToolEnv(tools=("calculator",), dialect="qwq-brief")


def call(arguments):
    return {"type": "function", "function": {"name": "calculator", "arguments": arguments}}


def asked(*more, content="2+3?"):
    return {"messages": [{"role": "user", "content": content}, *more]}


TALK = asked(
    {"role": "assistant", "content": None, "reasoning_content": "A sum.",
     "tool_calls": [call('{"expression": "2+3"}')]},
    {"role": "tool", "content": "5"},
    {"role": "assistant", "content": "\\boxed{5}"},
    {"role": "user", "content": "And 2*3?"},
    {"role": "assistant", "tool_calls": [call({"expression": "2*3"}), call({"expression": "1"})]},
    {"role": "tool", "content": "6"}, {"role": "tool", "content": "1"},
    {"role": "assistant", "content": "<think>\nWell.\n</think>\n\n\\boxed{6}"},
    {"role": "user", "content": "Thanks."},
)  # fmt: skip


def recorded(path, env, *rows):
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return Recorded(path, env).transcripts(100)


def test_a_conversation_is_what_the_episode_would_be(tmp_path, env, codec):
    [shown] = recorded(tmp_path / "talk.jsonl", env, TALK)
    ids, mask = shown.encode(codec)
    own = codec.decode([token for token, bit in zip(ids, mask, strict=True) if bit])
    step = env.step if env.reset(options={"index": 0}) else None
    turn = shown.parts[1].pieces[0].text

    assert [part.author for part in shown.parts] == [
        "task", "model", "tool", "model", "user", "model", "tool", "model"
    ]  # fmt: skip
    assert turn.startswith("A sum.\n</think>\n\n<tool_call>\n{")
    assert step(turn)[0] == "".join(piece.text for piece in shown.parts[2].pieces)
    assert "calculator(expression)" in shown.text and own.count("<|im_end|>") == 4
    assert "2+3?" not in own and "And 2*3?" not in own and "Thanks" not in shown.text


def test_annotated_solutions_become_calls_that_our_calculator_confirms(env):
    rows = read_rows(SAMPLES / "gsm8k.jsonl")
    shown = Recorded(SAMPLES / "gsm8k.jsonl", env).transcripts(1000)
    ducks = next(each.text for each in shown if "ducks lay 16" in each.text)

    assert len(shown) == sum("<<" in row["answer"] for row in rows) > 10
    assert '{"expression": "16-3-4"}' in ducks and "<tool_response>\n9\n</tool_response>" in ducks
    assert ducks.endswith("\\boxed{18}<|im_end|>")
    assert "<<" not in "".join(each.text for each in shown)


def test_a_solution_with_a_wrong_calculation_or_none_is_left_out(tmp_path, env):
    told = {"question": "2+3?", "answer": "2+3=<<2+3=5>>5.\n#### 5"}
    wrong = {"question": "2+4?", "answer": "2+4=<<2+4=7>>7.\n#### 7"}
    none = {"question": "2+5?", "answer": "It is 7.\n#### 7"}
    [only] = recorded(tmp_path / "rows.jsonl", env, wrong, told, none)

    assert "2+3?" in only.text


@pytest.mark.parametrize(
    "annotation",
    [
        "<<2x=12>>", "<< =12>>", "<<12/0=12>>", "<<9**9**9=12>>", "<<1e99999=12>>", "<<٦*٢=12>>",
        "<<(=12>>", "<<12=>>", "<<12=1e999>>", "<<6*2=12=12>>",
        "<<>>", "<<=12>>", "<<12>>", "<<6*2=12", "<<6*2=12>", "6*2=12>>", "<<6*<<2=2>>",
        "<<6<7=1>>",
    ],
)  # fmt: skip
def test_a_solution_with_an_annotation_that_is_none_is_left_out(tmp_path, env, annotation):
    told = {"question": "2+3?", "answer": "2+3=<<2+3=5>>5.\n#### 5"}
    odd = {"question": "6*2?", "answer": f"1+1=<<1+1=2>>2. 6*2={annotation}12.\n#### 12"}
    [only] = recorded(tmp_path / "rows.jsonl", env, odd, told)

    assert "2+3?" in only.text


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"messages": []}, "expected a list of messages"),
        ({"messages": [3]}, "expected a role"),
        ({"messages": [{"role": "user"}]}, "user: None; expected a text"),
        (asked(), "no assistant's"),
        ({"messages": [{"role": "assistant", "content": "a"}]}, "assistant is first"),
        (asked({"role": "assistant", "content": 3}), "content: 3"),
        (asked({"role": "assistant", "tool_calls": 3}), "tool_calls: 3"),
        (asked({"role": "assistant", "tool_calls": [{"name": "x"}]}), "a function's name"),
        (asked({"role": "assistant", "tool_calls": [call("{")]}), "arguments by name"),
        (asked({"role": "assistant", "tool_calls": [call("[]")]}), "arguments by name"),
        ({"text": "x"}, "expected messages, or GSM8K's"),
        ('{"messages": ', "rows.jsonl:2"),
    ],
)
def test_a_row_of_another_form_is_one_line_with_its_place(tmp_path, env, row, words):
    with pytest.raises(UsageError, match=r"rows\.jsonl:2") as caught:
        recorded(tmp_path / "rows.jsonl", env, TALK, row)

    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_teaches_nothing_is_refused(tmp_path, env):
    with pytest.raises(UsageError, match=r"cold_start\.demonstrations"):
        Recorded(tmp_path / "missing.jsonl", env)
    with pytest.raises(UsageError, match="expected conversations"):
        recorded(tmp_path / "empty.jsonl", env)
    with pytest.raises(UsageError, match="dialect: react"):
        Recorded(tmp_path / "x.jsonl", MathToolEnv(tools=("calculator",), dialect="react"))
    with pytest.raises(UsageError, match="expected the tool 'calculator'"):
        Recorded(SAMPLES / "gsm8k.jsonl", MathToolEnv(tools=()))
