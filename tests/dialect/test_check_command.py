"""`qwq check`: what it prints and how it exits."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from qwq_env.cli import main
from qwq_env.dialect import make_dialect
from qwq_env.dialect.base import text_of
from qwq_env.dialect.qwq import QwqDialect
from qwq_env.turn import CallResult

# Qwen's way to write turns; `FORGET` is the part in which QwQ's template drops earlier thinking.
TEMPLATE = """
{%- if tools %}
    {{- '<|im_start|>system\n' ~ (messages[0].content if messages[0].role == 'system' else '') }}
    {{- HEAD }}{%- for tool in tools %}{{ '\n' ~ tool | tojson }}{% endfor %}{{ TAIL }}
{%- endif %}
{%- for m in messages %}
    {%- if m.role == 'user' %}{{ '<|im_start|>user\n' ~ m.content ~ '<|im_end|>\n' }}
    {%- elif m.role == 'assistant' %}
        {%- set text = m.content %}FORGET
        {{- '<|im_start|>assistant' ~ ('\n' ~ text if m.content or not m.tool_calls else '') }}
        {%- for call in m.tool_calls or [] %}
            {{- '\n<tool_call>\n{"name": "' ~ call.function.name ~ '", "arguments": ' }}
            {{- call.function.arguments | tojson ~ '}\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\n' }}
    {%- elif m.role == 'tool' %}
        {{- '' if loop.previtem.role == 'tool' else '<|im_start|>user' }}
        {{- '\n<tool_response>\n' ~ m.content ~ '\n</tool_response>' }}
        {{- '' if loop.nextitem is defined and loop.nextitem.role == 'tool' else '<|im_end|>\n' }}
    {%- endif %}
{%- endfor %}
{{- '<|im_start|>assistant\n<think>\n' if add_generation_prompt else '' }}"""
FORGET = (
    "{% if not loop.last %}{% set text = text.split('</think>')[-1].lstrip('\\n') %}{% endif %}"
)


def template(forget: str) -> str:
    system = text_of(QwqDialect().render([], ["TOOL"], add_generation_prompt=False))  # type: ignore[list-item]
    head, tail = system.removeprefix("<|im_start|>system\n").split('\n"TOOL"')
    made = TEMPLATE.replace("FORGET", forget)
    return made.replace("HEAD", json.dumps(head)).replace("TAIL", json.dumps(tail))


@pytest.fixture
def checkpoint(small: Any, tmp_path: Path) -> Any:
    def save(chat_template: str | None) -> str:
        small.chat_template = chat_template
        small.save_pretrained(tmp_path)
        small.chat_template = None
        return str(tmp_path)

    return save


def row(**changes: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "hi"}]
    rendered = text_of(QwqDialect().render(messages))
    made = {
        "name": "r",
        "messages": messages,
        "tools": None,
        "add_generation_prompt": True,
        "rendered": rendered,
    }
    return made | changes


@pytest.fixture
def recorded(tmp_path: Path) -> Any:
    def write(*rows: dict[str, Any] | str) -> str:
        path = tmp_path / "rows.jsonl"
        lines = [line if isinstance(line, str) else json.dumps(line) for line in rows]
        path.write_text("\n".join(lines) + "\n")
        return str(path)

    return write


def test_rows_that_are_equal(recorded: Any, capsys: pytest.CaptureFixture[str]) -> None:
    # A line separator inside a text ends no row.
    spaced = [{"role": "user", "content": "a\u2028b"}]
    other = row(messages=spaced, rendered=text_of(QwqDialect().render(spaced)))
    path = recorded(row(), "", json.dumps(other, ensure_ascii=False))

    assert main(["check", "dialect", "qwq", path]) == 0
    assert capsys.readouterr().out == "2 rows: 2 equal, 0 different\n"


def test_rows_that_differ(recorded: Any, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = row()["rendered"].replace("hi", "ho")
    path = recorded(row(), row(name="bad", rendered=wrong), row(rendered=""))

    assert main(["check", "dialect", "qwq", path]) == 1
    out = capsys.readouterr().out
    assert f"bad ({path}:2): differs at character 18\n" in out
    assert "recorded '<|im_start|>user\\nho<|im_end|>" in out
    assert "rendered '<|im_start|>user\\nhi<|im_end|>" in out
    assert out.endswith("3 rows: 1 equal, 2 different\n")


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        ("{", ":2: not JSON"),
        ("[" * 100_000, ":2: not JSON"),
        ("[]", ":2: a JSON array; expected an object a line"),
        ({"name": "x"}, ":2: messages: missing; expected a list"),
        (row(tools=3), ":2: tools: 3; expected a list or null"),
        (row(rendered=None), ":2: rendered: None; expected text"),
        (row(messages=["x"]), ":2: messages[0]: message: 'x'; expected an object"),
        (row(messages=[{"content": "x"}]), ":2: messages[0]: role: None; expected text"),
        (row(messages=[{"role": "user", "content": [1]}]), ":2: message content: list"),
        (
            row(messages=[{"role": "assistant", "tool_calls": [{"name": "a"}]}]),
            ":2: messages[0]: arguments: missing",
        ),
        (
            row(messages=[{"role": "assistant", "tool_calls": [{"function": None}]}]),
            ":2: messages[0]: function: None; expected an object",
        ),
    ],
)
def test_malformed_rows(
    recorded: Any, capsys: pytest.CaptureFixture[str], bad: Any, complaint: str
) -> None:
    path = recorded(row(rendered="differs"), bad)

    assert main(["check", "dialect", "qwq", path]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"qwq: error: {path}{complaint}")
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", ["react", "tags", "fenced"])
@pytest.mark.parametrize(
    "tool", [{}, {"name": 3}, {"function": None}, {"function": [1]}, {"function": "x"}]
)
def test_tools_that_are_none(
    recorded: Any, capsys: pytest.CaptureFixture[str], name: str, tool: Any
) -> None:
    assert main(["check", "dialect", name, recorded(row(tools=[tool]))]) == 2
    assert ":1: tool: " in capsys.readouterr().err


@pytest.mark.parametrize("parameters", [None, 3, [], {"properties": None}, {"properties": ["x"]}])
def test_parameters_that_are_none(
    recorded: Any, capsys: pytest.CaptureFixture[str], parameters: Any
) -> None:
    path = recorded(row(tools=[{"name": "search", "parameters": parameters}]))

    assert main(["check", "dialect", "tags", path]) == 2
    assert "but 'search' takes none" in capsys.readouterr().err


def test_a_name_that_no_terminal_should_see(
    recorded: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "dialect", "qwq", recorded(row(name="\ud800\x1b[2Jé", rendered=""))]) == 1
    assert capsys.readouterr().out.startswith("\\ud800\\x1b[2Jé (")


def test_other_bad_input(recorded: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    for name, path, complaint in (
        ("qwk", recorded(row()), "did you mean 'qwq'"),
        ("qwq", str(tmp_path / "none"), "No such file or directory; expected a JSONL file"),
        ("qwq", str(tmp_path), "Is a directory; expected a JSONL file"),
        ("qwq", str(binary), "binary:1: not JSON: not UTF-8 at byte 0"),
        ("qwq", recorded(""), "holds no rows"),
    ):
        code = main(["check", "dialect", name, path])

        error = capsys.readouterr().err
        assert code == 2
        assert complaint in error and error.count(path) <= 1


def test_a_template_that_keeps_what_was_written(
    checkpoint: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["check", "template", checkpoint(template(""))])
    out = capsys.readouterr().out

    assert "FAIL" not in out
    assert out.count("ok ") == 4
    assert code == 0


# The turn stays open from the first thought to the answer, through calls and results.
INLINE = """
{{- '<|im_start|>system\n' }}
{{- messages[0].content ~ '\n\n' if messages[0].role == 'system' else '' }}
{{- HEAD ~ tools[0].function | tojson ~ TAIL }}
{%- for m in messages %}
    {%- if m.role == 'user' %}{{ '<|im_start|>user\n' ~ m.content ~ '<|im_end|>\n' }}
    {%- elif m.role == 'assistant' %}
        {{- '' if loop.previtem.role == 'tool' else '<|im_start|>assistant\n' }}{{ m.content }}
        {%- for call in m.tool_calls or [] %}
            {%- for value in call.function.arguments.values() %}{{ CALL ~ value ~ END }}{% endfor %}
        {%- endfor %}
        {{- '' if m.tool_calls else '<|im_end|>\n' }}
    {%- elif m.role == 'tool' %}{{ BEFORE ~ m.content ~ AFTER }}
    {%- endif %}
{%- endfor %}
{{- '<|im_start|>assistant\n' if add_generation_prompt and messages[-1].role != 'tool' else '' }}"""


@pytest.mark.parametrize(
    ("name", "tool", "argument"), [("tags", "search", "query"), ("fenced", "python", "code")]
)
def test_a_template_of_a_dialect_of_one_tool(
    checkpoint: Any, capsys: pytest.CaptureFixture[str], name: str, tool: str, argument: str
) -> None:
    dialect = make_dialect(name)
    schema = {"name": tool, "parameters": {"properties": {argument: {}}}}
    system = text_of(dialect.render([], [schema], add_generation_prompt=False))
    called = {"role": "assistant", "tool_calls": [{"name": tool, "arguments": {argument: "@"}}]}
    call = text_of(dialect.render([called], add_generation_prompt=False))
    result = text_of(dialect.render_results([CallResult(tool, "@")], closed=False))
    made = INLINE
    for names, text, between in (
        (("HEAD", "TAIL"), system.removeprefix("<|im_start|>system\n"), json.dumps(schema)),
        (("CALL", "END"), call.removeprefix("<|im_start|>assistant\n"), "@"),
        (("BEFORE", "AFTER"), result, "@"),
    ):
        for part, written in zip(names, text.split(between), strict=True):
            made = re.sub(rf"\b{part}\b", lambda _, w=written: json.dumps(w), made)

    code = main(["check", "template", checkpoint(made), "--dialect", name])
    out, err = capsys.readouterr()

    assert (err, code) == ("", 0), out
    assert out.count("ok ") == 4


@pytest.mark.parametrize("name", ["react", "tags", "fenced"])
def test_a_template_beside_a_dialect_that_it_does_not_write(
    checkpoint: Any, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert main(["check", "template", checkpoint(template("")), "--dialect", name]) == 1
    out = capsys.readouterr().out

    assert "FAIL  dialect" in out
    assert "ok    append-only" in out


def test_a_template_that_refuses_the_beginning_of_a_conversation(
    checkpoint: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    refusing = "{{ raise_exception('answer\nfirst') if messages[-1].role != 'assistant' }}"

    assert main(["check", "template", checkpoint(refusing + template(""))]) == 1
    out = capsys.readouterr().out
    assert "one answer: the template refuses it: answer first\n" in out
    assert "ok    thinking" in out


def test_a_template_that_forgets_thinking(
    checkpoint: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["check", "template", checkpoint(template(FORGET))])
    out = capsys.readouterr().out

    assert code == 1
    assert "the thinking of message 1, 'I should compute it.', is not in the text" in out
    assert re.search(r"one call: token \d+ was '<think>' and becomes 'L', behind ", out)
    assert "ok    dialect" in out
    assert [line.split()[1] for line in out.splitlines() if line.startswith("FAIL")] == [
        "thinking",
        "append-only",
        "ids",
    ]


def test_a_template_of_another_dialect(checkpoint: Any, capsys: pytest.CaptureFixture[str]) -> None:
    other = template("").replace("<tool_call>", "<call>")

    assert main(["check", "template", checkpoint(other)]) == 1
    assert "FAIL  dialect" in capsys.readouterr().out


def test_a_template_that_refuses_tools(checkpoint: Any, capsys: pytest.CaptureFixture[str]) -> None:
    refusing = "{{ raise_exception('no tools here') if tools }}"

    assert main(["check", "template", checkpoint(refusing)]) == 1
    assert "the template refuses it: no tools here" in capsys.readouterr().out


def test_a_folder_that_is_no_checkpoint(
    checkpoint: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "tokenizer.json").write_text("{}")
    for folder, complaint in (
        (str(tmp_path / "none"), "is no folder"),
        (str(empty), "it has no tokenizer.json"),
        (str(broken), "holds no readable tokenizer"),
        (checkpoint(None), "without a chat template"),
    ):
        code = main(["check", "template", folder])
        err = capsys.readouterr().err

        assert code == 2
        assert complaint in err
        assert err.count("\n") == 1


@pytest.mark.parametrize("threshold", ["nan", "-0.1", "1", "inf"])
def test_a_threshold_that_no_mean_reward_can_be_held_against(
    capsys: pytest.CaptureFixture[str], threshold: str
) -> None:
    code = main(["check", "grader", "qwq/MathTool-v0", "--tasks", "2", f"--threshold={threshold}"])

    assert code == 2
    assert "threshold: " in capsys.readouterr().err
