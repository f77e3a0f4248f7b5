"""The forms in which calls are stated, and that nothing in them is ever run."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwq_env.grading.calls import Call, NoCalls, UnreadableCall, read_calls

CALL = Call("a.f", {"x": 1, "y": [True, None, {"k": -2.5}]})


@pytest.mark.parametrize(
    "output",
    [
        [{"name": "a.f", "arguments": dict(CALL.arguments)}],
        [{"a.f": dict(CALL.arguments)}],
        {"name": "a.f", "arguments": '{"x": 1, "y": [true, null, {"k": -2.5}]}'},
        [{"type": "function", "function": {"name": "a.f", "arguments": dict(CALL.arguments)}}],
        '[{"name": "a.f", "arguments": {"x": 1, "y": [true, null, {"k": -2.5}]}}]',
        "[a.f(x=1, y=[True, None, {'k': -2.5}])]",
        " a.f(x=1, y=[True, None, {'k': -2.5}])\n",
        [CALL],
    ],
)
def test_every_form_of_a_call_is_the_same_call(output: Any) -> None:
    assert read_calls(output) == [CALL]


@pytest.mark.parametrize(
    "text",
    [
        "f(x=g(1))",
        "f(x=[i for i in (1,)])",
        "f(x=lambda: 1)",
        "f(x=f'{1}')",
        "f(x=b'a')",
        "f(x={1: 2})",
        "f(x={1, 2})",
        "f(x=1j)",
        "f(x=...)",
        "f(x=2**99999)",
        "f(x=9**9**9)",
        "f(x=1/0)",
        "f(x=1e308*10**400)",
        "f(x=(-8)**0.5)",
        "f(x='a'*9)",
        "f(x=[1]*9)",
        "f(x=-'a')",
        "f(x=True+1)",
        "f(x=a.b)",
        "f(x={'a': 1, 'a': 2})",
        "f(x={**{}})",
        '[{"name": "f", "arguments": {"x": 1, "x": 2}}]',
        '{"name": "f", "arguments": "{\\"x\\": 1, \\"x\\": 2}"}',
        "f(x=1, x=2)",
        "f(**{'x': 1})",
        "f()(x=1)",
        "[f(x=1), 'g']",
        "x" * 200_001,
    ],
)
def test_what_is_no_literal_is_refused(text: str) -> None:
    with pytest.raises(UnreadableCall):
        read_calls(text)


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("2+3", 5),
        ("10**6", 1_000_000),
        ("-(7//2) % 5", 2),
        ("2*1.5", 3.0),
        ("1/4", 0.25),
        ("my_variable", "my_variable"),
        ("data['x']", "data['x']"),
        ("rows[0]", "rows[0]"),
        ("[a, 1]", ["a", 1]),
        ("{'k': a}", {"k": "a"}),
        ("(1, -2)", (1, -2)),
        ("[" * 60 + "y" + "]" * 60, "nested"),
    ],
)
def test_a_sum_is_worked_out_and_a_bare_name_is_its_text(source: str, value: Any) -> None:
    ((call,), words) = (read_calls(f"f(x={source})"), any(c.isalpha() for c in source))

    assert value in ("nested", call.arguments["x"])
    assert isinstance(value, int) <= (type(call.arguments["x"]) is int)
    if words and "'k'" not in source:
        with pytest.raises(UnreadableCall):
            read_calls(f"f(x={source})", words=False)


@pytest.mark.parametrize("text", ["", "prose, no call", "f(x=", "1", "[1, 2]", "(" * 5000, "f(\0)"])
def test_what_is_no_call_is_said_to_be_none(text: str) -> None:
    with pytest.raises(NoCalls):
        read_calls(text)


@pytest.mark.parametrize(
    "output",
    [
        [{}],
        [1],
        5,
        None,
        [{"f": 1}],
        [{"f": {}, "g": {}}],
        [{"name": "f", "arguments": "not json"}],
        [{"name": 1, "arguments": {}}],
        [{"name": "f", "arguments": {}, "why": 1}],
        [{"name": "f", "arguments": {}, "type": "object"}],
    ],
)
def test_a_structure_that_is_no_call_is_malformed(output: Any) -> None:
    with pytest.raises(UnreadableCall):
        read_calls(output)


def test_nothing_is_run(tmp_path: Path) -> None:
    target = tmp_path / "made"
    text = f"[f(x=open({str(target)!r}, 'w').write('a'))]"

    with pytest.raises(UnreadableCall):
        read_calls(text)
    assert not target.exists()


@given(st.text(alphabet="fx=()[]{},'\"1.-+* \n\\", max_size=40))
def test_any_text_is_calls_or_one_of_two_errors(text: str) -> None:
    try:
        calls = read_calls(text)
    except (NoCalls, UnreadableCall):
        return

    assert all(isinstance(call, Call) for call in calls)
