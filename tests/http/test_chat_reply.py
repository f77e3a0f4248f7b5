"""Replies as real servers send them: streams of every kind, whole bodies, errors inside."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from qwq_env.http.chat_reply import read_completion
from qwq_env.http.client import Rejection, Transient


def read(content, stop=()):
    content = content if isinstance(content, bytes) else content.encode()
    return asyncio.run(read_completion(httpx.Response(200, content=content), stop))


def chunk(finish=None, **delta):
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def sse(*values, data="data: ", end="\n\n", done="data: [DONE]\n\n"):
    return "".join(f"{data}{json.dumps(value)}{end}" for value in values) + done


CALL = {"id": "c", "type": "function", "function": {"name": "add", "arguments": '{"a": 2}'}}
USAGE = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 7}}
ANSWER = (chunk(role="assistant", content="It is "), chunk(content="42."), chunk("stop"), USAGE)
WHOLE = {
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "It is 42."},
                 "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 7},
}  # fmt: skip

STREAMS = {
    "plain": sse(*ANSWER),
    "no space": sse(*ANSWER, data="data:"),
    "windows": sse(*ANSWER, end="\r\n\r\n"),
    "no empty lines": sse(*ANSWER, end="\n"),
    "no end marker": sse(*ANSWER, done=""),
    "no end of line": sse(*ANSWER, end="\n\n", done="").rstrip(),
    "byte order mark": "\ufeff" + sse(*ANSWER),
    "comments": ": OPENROUTER PROCESSING\n\n:\n\n" + sse(*ANSWER) + ": bye\n",
    "names and ids": sse(*ANSWER, data="id: 1\nevent: message\nretry: 5\ndata: "),
    "keep-alive": "data:\n\n" + sse(*ANSWER),
    "two in one event": "data: " + "".join(map(json.dumps, ANSWER[:2])) + "\n\n" + sse(*ANSWER[2:]),
    "one in many lines": "".join(
        f"data: {line}\n" for line in json.dumps(ANSWER[0], indent=1).split("\n")
    ) + "\n" + sse(*ANSWER[1:]),
    "nulls": sse({"choices": [], "error": None, "usage": None},
                 {"choices": [{"delta": None, "finish_reason": None}], "usage": None},
                 {"choices": None}, *ANSWER),
    "empty words": sse(*(chunk("", content=piece) for piece in ("It is ", "42.")), USAGE),
    "no word": sse(*ANSWER[:2], USAGE),
    "other choices": sse(chunk(content="It is 42."), {"choices": [{"index": 1, "delta":
                         {"content": "or 43"}}]}, *ANSWER[2:]),
    "usage in the choice": sse(*ANSWER[:2], {"choices": [{"delta": {}, "finish_reason": "stop",
                               "usage": USAGE["usage"]}]}),
    "usage of Groq": sse(*ANSWER[:3], {"choices": [], "x_groq": {"usage": USAGE["usage"]}}),
    "whole": json.dumps(WHOLE),
    "whole over lines": "\n" + json.dumps(WHOLE, indent=2),
    "whole in a stream": sse(WHOLE),
    "whole without a word": json.dumps(WHOLE).replace('"stop"', "null"),
    "parts": sse(chunk(content=[{"type": "text", "text": "It is "}, "42."]), *ANSWER[2:]),
    "refusal": sse(chunk(content=None, refusal="It is 42."), *ANSWER[2:]),
    "lines of JSON": "\n".join(map(json.dumps, ANSWER)),
    "two whole choices without an index": json.dumps({**WHOLE, "choices": [
        WHOLE["choices"][0] | {"index": None}, {"message": {"content": "or 43"}}]}),
    "as completions send it": sse({"choices": [{"index": 0, "text": "It is 42.",
                                                "finish_reason": "stop"}]}, USAGE),
    "no call at all": sse(chunk(tool_calls=[None]), *ANSWER),
}  # fmt: skip


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
def test_answer(stream):
    reply = read(stream)

    assert (reply.content, reply.finish_reason) == ("It is 42.", "stop")
    assert (reply.tokens, reply.prompt_tokens) == (7, 5)
    assert (reply.thinking, reply.thinking_key, reply.calls) == ("", None, ())


@pytest.mark.parametrize("grown", [{"content": "x"}, {"reasoning": "x"}, {"tool_calls": [CALL]}])
def test_count_before_the_end_of_the_reply_is_none(grown):
    begun = {**chunk(content=""), "usage": {"prompt_tokens": 5, "completion_tokens": 0}}
    reply = read(sse(begun, chunk(**grown), chunk("stop")))

    assert (reply.tokens, reply.prompt_tokens) == (None, 5)


def test_count_beside_every_piece():
    pieces = [{**chunk(content="x"), "usage": {"completion_tokens": n}} for n in (1, 2)]

    assert read(sse(*pieces, chunk("stop"))).tokens == 2


def test_huge_event():
    text = "é" * 3_000_000

    assert read(sse(chunk("stop", content=text))).content == text


THOUGHTS = [
    (("hm", "."), [chunk(reasoning_content="hm"), chunk(reasoning_content=".")],
     "reasoning_content"),
    (("hm.",), [chunk(reasoning="hm.", reasoning_content=None)], "reasoning"),
    (("hm.",), [chunk(reasoning="hm.", reasoning_content="")], "reasoning"),
    (("hm.",), [chunk(reasoning="hm.", reasoning_content="hm.")], "reasoning_content"),
    (("",), [chunk(reasoning_content="")], "reasoning_content"),
    ((), [chunk(reasoning_content=None, reasoning={"effort": "low"})], None),
    (("hm.",), [chunk(content=[{"type": "thinking", "thinking": [{"type": "text",
                                                                  "text": "hm."}]}])], ""),
    (("hm.",), [chunk(content=[{"type": "thinking", "thinking": "hm.", "signature": "x"}])], ""),
    (("hm.",), [chunk(content=[{"type": "reasoning", "text": "hm."}])], ""),
    (("hm.",), [chunk(content=[{"type": "reasoning", "summary": [{"type": "summary_text",
                                                                  "text": "hm."}]}])], ""),
]  # fmt: skip


@pytest.mark.parametrize(("thoughts", "chunks", "key"), THOUGHTS)
def test_thinking(thoughts, chunks, key):
    reply = read(sse(*chunks, *ANSWER))

    assert (reply.thinking, reply.thinking_key) == ("".join(thoughts), key)
    assert reply.content == "It is 42."


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        *((word, "stop") for word in ("stop", "eos", "eos_token", "end_turn",
                                      "stop_sequence", "STOP", "tool_calls", "COMPLETE")),
        *((word, "length") for word in ("length", "max_tokens", "MAX_TOKENS", "model_length")),
        *((word, "content_filter") for word in ("content_filter", "SAFETY", "refusal")),
        ("function_call_filter: MALFORMED_FUNCTION_CALL", "malformed_call"),
        ("MALFORMED_FUNCTION_CALL", "malformed_call"),
    ],
)  # fmt: skip
def test_words_for_the_end(word, reason):
    assert read(sse(chunk(word))).finish_reason == reason


@pytest.mark.parametrize(
    "event",
    [
        chunk("tool_calls", tool_calls=[{"index": 0, **CALL}]),
        chunk("tool_calls", tool_calls={"index": 0, **CALL}),
        chunk("function_call", function_call=CALL["function"]),
        {"choices": [{"message": {"content": None, "tool_calls": [CALL]}, "finish_reason": "x"}]},
        {"choices": [{"message": {"tool_calls": [
            {**CALL, "function": {"name": "add", "arguments": {"a": 2}}}]}, "finish_reason": "x"}]},
    ],
)  # fmt: skip
def test_calls(event):
    [call] = read(sse(event)).calls

    assert (call.name, json.loads(call.arguments)) == ("add", {"a": 2})


ERRORS = {
    "object": {"error": {"message": "no", "code": 400}},
    "text": {"error": "no"},
    "TGI": {"error": "no", "error_type": "validation"},
    "own names": {"error_type": "x", "error_message": "no"},
    "DashScope": {"code": "InvalidParameter", "message": "no", "request_id": "r"},
    "vLLM": {"object": "error", "message": "no", "type": "BadRequestError", "code": 400},
    "Anthropic": {"type": "error", "error": {"type": "overloaded_error", "message": "no"}},
    "FastAPI": {"detail": "no"},
    "in a choice": {"choices": [{"delta": {}, "error": {"code": 502, "message": "no"}}]},
    "Gemini": [{"error": {"code": 400, "message": "no"}}],
}


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize("before", [(), ANSWER[:2]])
@pytest.mark.parametrize("bare", [False, True])
def test_error_in_place_of_a_reply_or_within_it(error, before, bare):
    end = json.dumps(error) if bare else sse(error)
    with pytest.raises(Rejection) as caught:
        read(sse(*before, done="") + end)

    assert caught.value.status == 200
    assert '"no"' in caught.value.body


@pytest.mark.parametrize("data", ['{"message": "no"}', "no"])
def test_error_by_the_name_of_its_event(data):
    with pytest.raises(Rejection, match="no"):
        read(f"event: error\ndata: {data}\n\n")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("<html>502 Bad Gateway</html>", "neither a stream nor JSON: '<html>502"),
        ("upstream went away", "neither a stream nor JSON"),
        ("", "broke off"),
        (sse(chunk(content="It is 42, or"), done=""), "broke off"),
        (sse(chunk(content="It is 42, or")), "broke off"),
        (sse({**chunk(content="It is 42, or"), **{"usage": USAGE["usage"]}}), "broke off"),
        (sse(chunk(content="It is"), done='data: {"choices": [{"del'), "no JSON"),
        (json.dumps(WHOLE)[:-20], "neither a stream nor JSON"),
        (sse(chunk("network_error")), "gave up"),
    ],
)
def test_what_is_no_whole_reply(content, told):
    with pytest.raises(Transient, match=told):
        read(content)


def test_reply_ends_with_the_first_stop_string():
    reply = read(sse(*(chunk(content=c) for c in "ab</s>cd"), done=""), stop=["</s>"])

    assert (reply.content, reply.finish_reason) == ("ab</s>", "stop")
