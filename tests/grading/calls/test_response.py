"""A call that is attempted is one, in whatever form; talk of a call is none."""

import json
import time
from typing import Any

import pytest

from qwq_env.grading.calls import grade_row, match_calls

AREA = {
    "name": "geometry.area",
    "parameters": {"properties": {"side": {"type": "integer"}}, "required": ["side"]},
}
TIME = {"name": "get_time", "parameters": {"properties": {}}}
GOLD: list[dict[str, dict[str, list[Any]]]] = [{"geometry.area": {"side": [5]}}]
OBJECT = '{"name": "geometry.area", "arguments": {"side": 5}}'

READ = {
    "list": "[geometry.area(side=5)]",
    "bare": "geometry.area(side=5)",
    "underscore": "[geometry_area(side=5)]",
    "sum": "[geometry.area(side=2+3)]",
    "JSON": OBJECT,
    "JSON, parameters": OBJECT.replace("arguments", "parameters"),
    "hermes": f"<tool_call>\n{OBJECT}\n</tool_call>",
    "hermes, behind a sentence": f"Let me compute it.\n<tool_call>{OBJECT}</tool_call>",
    "hermes, unclosed": f"<tool_call>\n{OBJECT}",
    "hermes, a list": f"<tool_call>[{OBJECT}]</tool_call>",
    "hermes, Python": "<tool_call>geometry.area(side=5)</tool_call>",
    "function tag": '<function=geometry.area>{"side": 5}</function>',
    "parameter tags": "<tool_call>\n<function=geometry.area>\n<parameter=side>\n5\n</parameter>\n"
    "</function>\n</tool_call>",
    "invoke": '<function_calls><invoke name="geometry.area"><parameter name="side">5</parameter>'
    "</invoke></function_calls>",
    "mistral": f"[TOOL_CALLS][{OBJECT}]",
    "mistral, named": '[TOOL_CALLS]geometry_area[ARGS]{"side": 5}',
    "functools": f"functools[{OBJECT}]",
    "llama": f"<|python_tag|>{OBJECT}",
    "llama, Python": "<|python_tag|>geometry.area(side=5)",
    "react": 'Thought: so\nAction: geometry_area\nAction Input: {"side": 5}',
    "fenced JSON": f"I call:\n```json\n{OBJECT}\n```",
    "fenced list": "Sure!\n\n```python\n[geometry.area(side=5)]\n```\nDone.",
    "fenced call": "```\ngeometry.area(side=5)\n```",
    "fenced by name": '```json\n{"geometry.area": {"side": 5}}\n```',
    "tilde fence": "~~~\ngeometry.area(side=5)\n~~~",
    "behind a sentence": "I will call:\n[geometry.area(side=5)]",
    "in a sentence": "I will call [geometry.area(side=5)] now.",
    "behind a colon": "I will call: geometry.area(side=5)",
    "on a line": "Here it is:\n\ngeometry.area(side=5)\n\nThat is all.",
    "JSON in a sentence": f"I call {OBJECT} now.",
    "in a list": "- geometry.area(side=5)",
    "numbered": "1. **geometry_area(side=5)**",
    "alone in ticks": "Sure:\n`[geometry.area(side=5)]`",
    "other keys": '{"tool": "geometry.area", "args": {"side": 5}}',
    "other keys in a sentence": 'I use {"function": "geometry_area", "arguments": {"side": 5}}.',
    "deepseek": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>"
    'geometry.area\n```json\n{"side": 5}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
    "deepseek 3.1": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>geometry.area<｜tool▁sep｜>"
    '{"side": 5}<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
    "kimi": "<|tool_calls_section_begin|><|tool_call_begin|>functions.geometry.area:0"
    '<|tool_call_argument_begin|>{"side": 5}<|tool_call_end|><|tool_calls_section_end|>',
    "glm": "<tool_call>geometry.area\n<arg_key>side</arg_key>\n<arg_value>5</arg_value>\n"
    "</tool_call>",
    "harmony": "<|channel|>commentary to=functions.geometry_area <|constrain|>json<|message|>"
    '{"side": 5}<|call|>',
    "functionary": '>>>geometry.area\n{"side": 5}',
    "granite": f"<|tool_call|>[{OBJECT}]",
    "gemma": "```tool_code\nprint(geometry.area(side=5))\n```",
    "cohere": '<|START_ACTION|>[{"tool_call_id": "0", "tool_name": "geometry.area", '
    '"parameters": {"side": 5}}]<|END_ACTION|>',
    "prefixed tags": '<m:tool_call><m:invoke name="geometry.area"><m:parameter name="side">5'
    "</m:parameter></m:invoke></m:tool_call>",
    "hunyuan": '<tool_calls><tool_call>geometry.area\n```json\n{"side": 5}\n```'
    "</tool_call></tool_calls>",
    "llama, typed": '{"type": "function", "name": "geometry.area", "parameters": {"side": 5}}',
    "anthropic": '{"type": "tool_use", "id": "t", "name": "geometry.area", "input": {"side": 5}}',
    "mistral, with id": f'[TOOL_CALLS][{OBJECT[:-1]}, "id": "abc"}}]',
    "Python for JSON": "{'name': 'geometry.area', 'arguments': {'side': 5}}",
    "three ticks on a line": "```geometry.area(side=5)```",
    "OpenAI": f'{{"type": "function", "function": {OBJECT}}}',
    "OpenAI in a sentence": f'I call [{{"type": "function", "function": {OBJECT}}}].',
}
MALFORMED = {
    "half a list": "[geometry.area(side=3",
    "half a list behind a sentence": "I will call\n[geometry.area(side=3",
    "half a call": "geometry.area(side=3",
    "no value": "[geometry.area(side=)]",
    "no value, fenced": "```python\n[geometry.area(side=)]\n```",
    "broken JSON, tagged": '<tool_call>\n{"name": "geometry.area", "arguments": {"side": 5}\n',
    "broken JSON": 'I call {"name": "geometry.area", "arguments": {"side": 5',
    "a key twice": '{"name": "geometry.area", "arguments": {"side": 4, "side": 5}}',
    "empty tags": "<tool_call></tool_call>",
    "unread markup": "<｜tool▁calls▁begin｜>function<｜tool▁sep｜>geometry.area",
    "broken arguments": "Action: geometry_area\nAction Input: {side",
    "a bare program": "result = geometry.area(side=5)",
    "a program": "```python\nresult = geometry.area(side=5)\nprint(result)\n```",
}
OTHER = {
    "search": "<search>area of a square</search>",
    "unknown function": "[square.area(side=5)]",
    "unknown function on a line": "So:\n[square.area(side=5)]",
    "two of them": "[geometry.area(side=5), geometry.area(side=5)]",
    "without arguments": "```\nget_time()\n```",
}
TALK = {
    "refusal": "None of the functions can answer this question.",
    "name": "The function geometry.area computes areas (of squares) and cannot help here.",
    "inline code": "You could use `geometry.area(side=5)`, but the side is not given.",
    "inline list": "A call looks like `[geometry.area(side=5)]`; I have no side.",
    "inline object": f"It takes `{OBJECT}`, but there is no square here.",
    "call in a sentence": "Calling geometry.area(side=5) would not answer your question.",
    "signature": "There is only\n\ngeometry.area(side)\n\nwhich needs a side.",
    "typed signature": "There is\ngeometry.area(side: int) -> float\nand no more.",
    "fenced signature": "```python\ngeometry.area(side)\n```\nis for squares.",
    "another program": "```python\nimport math\nprint(math.sqrt(5))\n```",
    "own function": "```python\ndef get_time(zone=None):\n    return 1\n\nget_time(zone=2)\n```",
    "JSON": '```json\n{"answer": 5, "unit": "m"}\n```',
    "list": "The answers are [1, 2, 3] and [a(b)].",
    "link": "See [geometry](https://example.org) or [1](note).",
    "document": f"The only function is:\n```json\n{json.dumps(AREA)}\n```\nIt does not help.",
    "no calls, tagged": "<tool_call>[]</tool_call>",
    "no calls": '{"tool_calls": []}',
    "shell": "```bash\ncurl https://example.org/area\n```",
    "settings": "```yaml\nname: geometry.area\n```",
    "tag": "I cannot use <tool_call> here, for no function fits.",
    "name of a tag": "No [TOOL_CALLS] are needed.",
    "action": "Action: none of the tools applies.",
    "formula": "The area is A(s) = s^2 (see above), so area(5) = 25.",
    "numbers": "[5]",
    "other objects": 'It is {"name": "Rome", "input": "none"} and {"tool": "hammer"}.',
    "listed signatures": "- `geometry.area(side)`: squares\n- get_time: the time",
}


@pytest.mark.parametrize("text", READ.values(), ids=READ)
def test_a_call_in_any_form_is_read(text: str) -> None:
    assert match_calls(text, GOLD, [AREA, TIME]).reason == "match"


@pytest.mark.parametrize("text", [*READ.values(), *MALFORMED.values(), *OTHER.values()])
async def test_an_attempted_call_is_not_paid_where_none_must_be_made(text: str) -> None:
    row = {"function": [AREA, TIME], "ground_truth": [], "response": f"<think>so</think>{text}"}

    assert (await grade_row(row)).reason == "unexpected_call"


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
def test_an_attempt_that_cannot_be_read_is_malformed(text: str) -> None:
    assert match_calls(text, GOLD, [AREA, TIME]).reason == "malformed"


@pytest.mark.parametrize("text", TALK.values(), ids=TALK)
def test_talk_of_calls_is_no_call(text: str) -> None:
    assert match_calls(text, [], [AREA, TIME]).reason == "no_call"
    assert match_calls(text, GOLD, [AREA, TIME]).reason == "not_calls"


@pytest.mark.parametrize("language", ["java", "javascript"])
def test_other_languages_have_the_same_line(language: Any) -> None:
    docs = [{"name": "Geo.area", "parameters": {"properties": {"side": {"type": "String"}}}}]
    gold = [{"Geo.area": {"side": ["5"]}}]
    for text in ('Sure:\n```java\nGeo.area(side="5")\n```', "I call [Geo.area(side='5')]"):
        assert match_calls(text, gold, docs, language).value == 1.0
        assert match_calls(text, [], docs, language).reason == "unexpected_call"
    for text in ("Geo.area is of no use here.", "It has one parameter, Geo.area(side) says."):
        assert match_calls(text, [], docs, language).reason == "no_call"


def test_dots_and_underscores_are_one_unless_two_functions_would_be() -> None:
    twin = {**AREA, "name": "geometry_area"}
    underscored = [{"name": "geometry_area", "arguments": {"side": 5}}]
    dotted = [{"name": "geometry.area", "arguments": {"side": 5}}]

    assert match_calls(underscored, GOLD, [AREA]).value == 1.0
    assert match_calls(dotted, [{"geometry_area": {"side": [5]}}], [twin]).value == 1.0
    assert match_calls(underscored, GOLD, [AREA, twin]).reason == "wrong_function"
    assert match_calls(dotted, GOLD, [AREA, twin]).value == 1.0
    twins = [{**AREA, "name": "a.b_c"}, {**AREA, "name": "a_b.c"}]
    call = [{"name": "a_b_c", "arguments": {"side": 5}}]
    assert match_calls(call, [{"a.b_c": {"side": [5]}}], twins).reason == "wrong_function"


PARTS = [
    '{"name":', '[{"name":[', "[f(", "[get_time(", "\nget_time(", "<tool_call>", "```\n", "`", "(",
    "<function=a>", "[TOOL_CALLS][", "\nAction: a\nAction Input: ", "'", " ", "<search>", "\n",
]  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
def test_time_grows_with_the_text_only(part: str) -> None:
    start = time.process_time()
    match_calls("I say " + part * (100_000 // len(part)), [], [AREA, TIME])

    assert time.process_time() - start < 10
