"""`QwqDialect.render` against the recorded renderings and against a template of our own."""

from __future__ import annotations

import json
from typing import Any

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwq_env.dialect import dialect_names, make_dialect
from qwq_env.dialect.base import text_of
from qwq_env.dialect.qwq import QwqDialect
from qwq_env.errors import UsageError

from ..published import SAMPLES, read_rows

# What QwQ-32B's published template does, in the fewest words; the prompt strings are literal.
TEMPLATE = r"""
{%- macro say(role, text) %}{{ '<|im_start|>' ~ role ~ '\n' ~ text ~ '<|im_end|>\n' }}{% endmacro %}
{%- set head = messages[0].role == 'system' %}
{%- if tools %}
    {{- '<|im_start|>system\n' }}{{ messages[0].content if head else '' }}
    {{- '\n\n# Tools\n\nYou may call one or more functions to assist with the user query.' }}
    {{- '\n\nYou are provided with function signatures within <tools></tools> XML tags:\n<tools>' }}
    {%- for tool in tools %}{{ '\n' ~ tool | tojson }}{% endfor %}
    {{- '\n</tools>\n\nFor each function call, return a json object with function name and ' }}
    {{- 'arguments within <tool_call></tool_call> XML tags:\n<tool_call>\n{"name": ' }}
    {{- '<function-name>, "arguments": <args-json-object>}\n</tool_call><|im_end|>\n' }}
{%- elif head %}
    {{- say('system', messages[0].content) }}
{%- endif %}
{%- for m in messages %}
    {%- set before = loop.previtem.role if loop.previtem is defined else '' %}
    {%- set after = loop.nextitem.role if loop.nextitem is defined else '' %}
    {%- if m.role == 'user' or (m.role == 'system' and not loop.first) %}
        {{- say(m.role, m.content) }}
    {%- elif m.role == 'assistant' %}
        {%- set text = m.content or '' %}
        {%- set shown = text if loop.last else text.split('</think>')[-1].lstrip('\n') %}
        {{- '<|im_start|>assistant' }}
        {{- '\n' ~ shown if text or not m.tool_calls else '' }}
        {%- for call in m.tool_calls or [] %}
            {%- set f = call.function if call.function is defined else call %}
            {{- '\n<tool_call>\n{"name": "' ~ f.name ~ '", "arguments": ' }}
            {{- f.arguments | tojson ~ '}\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\n' }}
    {%- elif m.role == 'tool' %}
        {{- '<|im_start|>user' if before != 'tool' else '' }}
        {{- '\n<tool_response>\n' }}{{ m.content }}{{ '\n</tool_response>' }}
        {{- '<|im_end|>\n' if after != 'tool' else '' }}
    {%- endif %}
{%- endfor %}
{{- '<|im_start|>assistant\n<think>\n' if add_generation_prompt else '' }}"""


def by_template(messages: Any, tools: Any, add_generation_prompt: bool) -> str:
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    template = environment.from_string(TEMPLATE.strip("\n"))
    return template.render(
        messages=messages, tools=tools, add_generation_prompt=add_generation_prompt
    )


def by_dialect(messages: Any, tools: Any, add_generation_prompt: bool) -> str:
    pieces = QwqDialect().render(messages, tools or (), add_generation_prompt=add_generation_prompt)
    return text_of(pieces)


@pytest.mark.parametrize("row", read_rows(SAMPLES / "qwq_chat.jsonl"), ids=lambda row: row["name"])
def test_recorded_renderings(row: dict[str, Any]) -> None:
    asked = (row["messages"], row["tools"], row["add_generation_prompt"])

    assert by_dialect(*asked) == row["rendered"]
    assert by_template(*asked) == row["rendered"]


TEXT = st.one_of(
    st.text(max_size=20),
    st.lists(
        st.sampled_from(
            ["<think>", "</think>", "\n", "\n\n", "a", " ", "<tool_call>", "<|im_end|>", "é", '"']
        ),
        max_size=6,
    ).map("".join),
)
NAMES = st.sampled_from(["calculator", 'quo"te', "naïve", "a b", "日本"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
FUNCTIONS = st.fixed_dictionaries({"name": NAMES, "arguments": JSON})
CALLS = FUNCTIONS | FUNCTIONS.map(lambda function: {"type": "function", "function": function})
MESSAGES = st.one_of(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "user"]), "content": TEXT}),
    st.fixed_dictionaries({"role": st.just("tool"), "content": TEXT | st.none()}),
    st.fixed_dictionaries(
        {"role": st.just("assistant"), "content": TEXT},
        optional={"tool_calls": st.lists(CALLS, max_size=3) | st.none()},
    ),
    st.fixed_dictionaries(
        {
            "role": st.just("assistant"),
            "content": st.none(),
            "tool_calls": st.lists(CALLS, min_size=1, max_size=2),
        }
    ),
)
TOOLS = st.none() | st.lists(st.fixed_dictionaries({"name": NAMES, "parameters": JSON}), max_size=2)


@given(messages=st.lists(MESSAGES, min_size=1, max_size=6), tools=TOOLS, prompt=st.booleans())
def test_any_conversation_renders_as_the_template_does(
    messages: Any, tools: Any, prompt: bool
) -> None:
    assert by_dialect(messages, tools, prompt) == by_template(messages, tools, prompt)


@pytest.mark.parametrize("system", [None, "Be brief.", ""])
def test_the_brief_dialect_names_the_tools_in_a_line(system: str | None) -> None:
    tools = [
        {"type": "function", "function": {"name": name, "parameters": {"properties": arguments}}}
        for name, arguments in [("search", {"query": {}, "top": {}}), ("stop", {})]
    ]
    messages = [{"role": "user", "content": "hi"}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    given = [dict(message) for message in messages]
    brief, whole = make_dialect("qwq-brief"), make_dialect("qwq")
    line = "You may call: search(query, top), stop()"
    content = f"{system}\n{line}" if system else line

    assert text_of(brief.render(messages, tools)) == text_of(
        whole.render([{"role": "system", "content": content}, {"role": "user", "content": "hi"}])
    )
    assert brief.render(messages) == whole.render(messages)
    assert messages == given


@pytest.mark.parametrize("name", dialect_names())
@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        ({"role": "user", "content": [{"type": "text", "text": "hi"}]}, "list in a 'user' message"),
        ({"role": "assistant", "tool_calls": [3]}, "tool call: 3; expected an object"),
        ({"role": "assistant", "tool_calls": [{"name": "a"}]}, "expected an object with name and"),
        ({"role": "assistant", "tool_calls": [{"function": None}]}, "expected an object"),
    ],
)
def test_messages_that_cannot_be_shown_are_refused(
    name: str, message: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint):
        make_dialect(name).render([message])
