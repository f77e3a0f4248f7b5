"""What a refusal means, by the words that servers use."""

from __future__ import annotations

import json

import pytest

from qwq_env.refusal import refusal_kind

CONTEXT = [
    "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens"
    " (4000 in the messages, 1000 in the completion). Please reduce the length of the messages.",
    "'max_tokens' or 'max_completion_tokens' is too large: 32768. This model's maximum context"
    " length is 4096 tokens and your request has 20 input tokens.",
    "The decoder prompt (length 5000) is longer than the maximum model length of 4096.",
    "max_tokens must be at least 1, got -186.",
    "The input (5000 tokens) is longer than the model's context length (4096 tokens).",
    "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 98304]",
    "the request exceeds the available context size, try increasing it",
    "`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens",
    "prompt is too long: 210000 tokens > 200000 maximum",
]


@pytest.mark.parametrize("message", CONTEXT)
@pytest.mark.parametrize("status", [400, 422])
def test_context_that_is_full(status, message):
    assert refusal_kind(status, json.dumps({"error": {"message": message}})) == "context"
    assert refusal_kind(status, message) == "context"


def test_code_for_a_full_context():
    error = {"message": "too many", "code": "context_length_exceeded", "param": "messages"}

    assert refusal_kind(400, json.dumps({"error": error})) == "context"
    assert refusal_kind(413, "") == "context"


@pytest.mark.parametrize("status", [401, 402, 403, 404, 405])
def test_statuses_for_the_operator(status):
    assert refusal_kind(status, "maximum context length") == "operator"


@pytest.mark.parametrize(
    "error",
    [
        {"message": "The model `x` does not exist.", "code": "model_not_found"},
        {"message": "Model Not Exist", "type": "invalid_request_error", "param": None},
        {"message": "Unknown parameter: 'top_k'.", "param": "top_k", "code": "unknown_parameter"},
        {"message": '"auto" tool choice requires --enable-auto-tool-choice', "param": None},
        {"message": "registry.ollama.ai/library/x:latest does not support tools"},
        {"message": "Unsupported parameter: 'max_tokens'", "param": "max_tokens"},
    ],
)
def test_bad_requests_for_the_operator(error):
    assert refusal_kind(400, json.dumps({"error": error})) == "operator"
    assert refusal_kind(400, json.dumps(error)) == "operator"


@pytest.mark.parametrize(
    "body",
    [
        "",
        "no",
        "[1]",
        "[" * 100_000,
        json.dumps({"error": "no"}),
        json.dumps({"error": {"code": "data_inspection_failed", "param": None}}),
        json.dumps({"error": {"message": "bad arguments", "param": "messages[3].tool_calls"}}),
        json.dumps({"error": {"message": "content_filter", "param": "prompt"}}),
        json.dumps({"error": {"message": 5, "param": ["top_k"], "code": 400}}),
        json.dumps({"error": {"message": "cannot parse: 'the model is not found'"}}),
        json.dumps({"error": {"message": f"bad message: {'x' * 100} does not support tools"}}),
        json.dumps({"message": "Out of range float values are not JSON compliant"}),
    ],
)
def test_what_is_the_affair_of_one_request(body):
    assert refusal_kind(400, body) == "request"
