"""What a refusal means, by the bodies that real servers send."""

from __future__ import annotations

import json

import pytest

from qwq_env.http.refusal import read_refusal, refusal_kind


def openai(message, **fields):
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, **fields}}


def flat(message, **fields):
    """The form of SGLang, and of vLLM before it took OpenAI's."""
    return {"object": "error", "message": message, "type": "BadRequestError", "param": None,
            "code": 400, **fields}  # fmt: skip


def detail(*loc, kind="extra_forbidden", message="Extra inputs are not permitted", value=1):
    return {"type": kind, "loc": list(loc), "msg": message, "input": value}


CONTEXT = [
    "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens"
    " (4000 in the messages, 1000 in the completion). Please reduce the length of the messages.",
    "'max_tokens' or 'max_completion_tokens' is too large: 32768. This model's maximum context"
    " length is 4096 tokens and your request has 20 input tokens.",
    "The decoder prompt (length 5000) is longer than the maximum model length of 4096.",
    "You passed 5000 input tokens. However, the model's context length is only 4096 tokens.",
    "max_tokens must be at least 1, got -186.",
    "Invalid 'max_tokens': integer below minimum value. Expected a value >= 16, but got 3 instead.",
    "The input (5000 tokens) is longer than the model's context length (4096 tokens).",
    "Requested token count exceeds the model's maximum context length of 4096 tokens.",
    "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 98304]",
    "the request exceeds the available context size, try increasing it",
    "request (5000 tokens) exceeds the available context size (4096 tokens), try increasing it",
    "`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens",
    "Input validation error: `inputs` must have less than 4095 tokens. Given: 5000",
    "prompt is too long: 210000 tokens > 200000 maximum",
    "input length and `max_tokens` exceed context limit: 190000 + 32000 > 200000",
    "Invalid request: Your request exceeded model token limit: 8192",
    "Prompt contains 40000 tokens, too large for model with 32768 maximum context length",
    "Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded"
    " with context length of only 4096 tokens.",
    "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
    "Please reduce the length of the messages or completion.",
    "litellm.ContextWindowExceededError: litellm.BadRequestError: OpenAIException - no",
    "max_tokens (32768) + prompt tokens exceeds max_seq_len (32768)",
    "prompt tokens (900) + max_tokens (32768) is more than max_sequence_length (32768)",
]


@pytest.mark.parametrize("message", CONTEXT)
def test_context_that_is_full(message):
    for status in (400, 422, 200, 500):
        assert refusal_kind(status, json.dumps(openai(message))) == "context"
    assert refusal_kind(400, json.dumps(flat(message))) == "context"
    assert (
        refusal_kind(400, json.dumps({"error": message, "error_type": "validation"})) == "context"
    )
    assert refusal_kind(400, message) == "context"


@pytest.mark.parametrize(
    "error",
    [
        {"message": "too many", "code": "context_length_exceeded", "param": "messages"},
        {"code": 400, "message": "no", "type": "exceed_context_size_error", "n_ctx": 4096},
    ],
)
def test_code_for_a_full_context(error):
    assert refusal_kind(400, json.dumps({"error": error})) == "context"


def test_status_for_what_is_too_large():
    assert refusal_kind(413, "") == "context"


@pytest.mark.parametrize("status", [301, 308, 401, 402, 403, 404, 405, 407, 501])
def test_statuses_for_the_operator(status):
    assert refusal_kind(status, "maximum context length") == "operator"


SETTING = [
    # OpenAI and Azure
    (400, openai("Unsupported parameter: 'max_tokens' is not supported with this model. Use"
                 " 'max_completion_tokens' instead.", param="max_tokens"), "max_tokens"),
    (400, openai("Unknown parameter: 'top_k'.", param="top_k"), "top_k"),
    (400, openai("Unrecognized request argument supplied: top_k"), "top_k"),
    (400, openai("Invalid 'tools[0].function.name': string does not match pattern.",
                 param="tools[0].function.name"), "tools"),
    (400, openai("Invalid schema for function 'add'", param="tools[0].function.parameters"),
     "tools"),
    (400, openai("no", param="stream_options.include_usage"), "stream_options"),
    # vLLM
    (400, flat("[{'type': 'extra_forbidden', 'loc': ('body', 'top_k'), 'msg': 'Extra inputs are not"
               " permitted', 'input': 20}]"), "top_k"),
    (400, flat("1 validation error for ChatCompletionRequest\ntemperature\n  Input should be a"
               " valid number [type=float_type, input_value='hot']"), "temperature"),
    (400, flat("temperature must be non-negative, got -1.0."), "temperature"),
    # FastAPI, Mistral
    (422, {"detail": [detail("body", "stream_options")]}, "stream_options"),
    (422, {"object": "error", "message": {"detail": [detail("body", "top_k")]}}, "top_k"),
    # TGI, Gemini, Groq, Anthropic, LiteLLM, DashScope
    (422, "Failed to deserialize the JSON body into the target type: tool_choice: unknown variant",
     "tool_choice"),
    (400, [{"error": {"code": 400, "status": "INVALID_ARGUMENT", "message":
                      'Invalid JSON payload received. Unknown name "top_k": Cannot find field.'}}],
     "top_k"),
    (400, openai("property 'top_k' is unsupported"), "top_k"),
    (400, {"type": "error", "error": {"type": "invalid_request_error", "message":
                                      "top_k: Extra inputs are not permitted"}}, "top_k"),
    (400, openai("litellm.UnsupportedParamsError: x does not support parameters: ['top_k'],"
                 " for model=y"), "top_k"),
    (400, openai("parameter.enable_thinking must be set to false for non-streaming calls",
                 code="invalid_parameter_error"), "enable_thinking"),
    (400, openai("<400> InternalError.Algo.InvalidParameter: Range of top_p should be (0.0, 1.0]"),
     "top_p"),
    (400, {"error": "streaming with tools is not supported"}, "stream"),
    (500, openai("This model does not support streaming"), "stream"),
    (400, openai("tool_choice 'required' is incompatible with thinking enabled"), "tool_choice"),
    (400, openai("invalid temperature: only 1 is allowed for this model"), "temperature"),
    (400, openai("`temperature` and `top_p` cannot both be specified for this model."),
     "temperature"),
    # OpenRouter
    (400, {"error": {"message": "Provider returned error", "code": 400, "metadata": {
        "raw": json.dumps(openai("Unknown parameter: 'seed'", param="seed"))}}}, "seed"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "setting"), SETTING)
def test_setting_that_every_request_has(status, body, setting):
    refusal = read_refusal(status, body if isinstance(body, str) else json.dumps(body))

    assert (refusal.kind, refusal.setting) == ("operator", setting)


def test_model_that_only_streams_is_no_matter_of_streaming_less():
    body = openai("This model only support stream mode, please enable the stream parameter")

    assert read_refusal(400, json.dumps(body)).setting == ""


OPERATOR = [
    (400, {"message": "The model `x` does not exist.", "code": "model_not_found"}),
    (400, {"message": "Model Not Exist", "type": "invalid_request_error", "param": None}),
    (400, {"message": "Invalid model: x", "type": "invalid_model", "code": "1500"}),
    (400, {"message": "x/y is not a valid model ID", "code": 400}),
    (400, {"message": '"auto" tool choice requires --enable-auto-tool-choice', "param": None}),
    (400, {"message": "registry.ollama.ai/library/x:latest does not support tools"}),
    (500, {"message": "tools param requires --jinja flag", "type": "server_error", "code": 500}),
    (429, {"message": "You exceeded your current quota", "code": "insufficient_quota"}),
    (400, {"message": "Access denied, please make sure your account is in good standing.",
           "code": "Arrearage"}),
    (400, {"message": "Your credit balance is too low to access the API."}),
    (400, {"message": "API key not valid. Please pass a valid API key.", "code": 400}),
    (400, {"message": "No models loaded. Please load a model."}),
    (400, {"message": "模型不存在，请检查模型代码。", "code": "1211"}),
    (400, {"message": "当前账户余额不足", "type": "runtime_error", "code": "20031"}),
]  # fmt: skip


@pytest.mark.parametrize(("status", "error"), OPERATOR)
def test_bad_requests_for_the_operator(status, error):
    assert refusal_kind(status, json.dumps({"error": error})) == "operator"
    assert refusal_kind(status, json.dumps(error)) == "operator"
    assert refusal_kind(200, json.dumps({"error": error})) == "operator"


TOKENS = [
    (openai("<400> InternalError.Algo.InvalidParameter: Range of max_tokens should be [1, 8192]"),
     8192),
    (openai("Invalid max_tokens value, the valid range of max_tokens is [1, 8192]"), 8192),
    (openai("max_tokens is too large: 32768. This model supports at most 16384 completion tokens,"
            " whereas you provided 32768.", param="max_tokens", code="invalid_value"), 16384),
    (openai("`max_tokens` must be less than or equal to `8192`, the maximum value for `max_tokens`"
            " is less than the `context_window` for this model"), 8192),
    (openai("max_tokens: 32768 > 8192, which is the maximum allowed number of output tokens for"
            " claude-3-5-sonnet-20241022"), 8192),
    (openai("Unable to submit request because it has a maxOutputTokens value of 32768 but the"
            " supported range is from 1 (inclusive) to 8193 (exclusive)."), 8192),
    ({"code": "InvalidParameter", "message": "Range of max_tokens should be [1,2000]",
      "request_id": "r"}, 2000),
    (openai("max_tokens (32768) exceeds the limit of 4,096."), 4096),
    (openai("The maximum tokens you requested exceeds the model limit of 8192. Try again with a"
            " maximum tokens value that is lower than 8192."), 8192),
]  # fmt: skip


@pytest.mark.parametrize(("body", "limit"), TOKENS)
def test_more_tokens_than_it_ever_gives(body, limit):
    for status in (400, 422, 200):
        refusal = read_refusal(status, json.dumps(body))

        assert (refusal.kind, refusal.setting) == ("tokens", "max_tokens")
        assert max(number for number in refusal.limits if number < 32768) == limit


@pytest.mark.parametrize(
    "message",
    ["max_tokens must be in the range from 1 on", "code 1210: max_tokens exceeds the limit"],
)
def test_numbers_that_are_no_limit(message):
    assert read_refusal(400, json.dumps(openai(message))).limits == ()


CALL = [
    (400, {"error": {"message": "Failed to call a function. Please adjust your prompt.",
                     "code": "tool_use_failed", "failed_generation": "<function=f>{"}},
     "<function=f>{"),
    (500, {"error": {"message": "error parsing tool call: raw='{\"a\": ', err=unexpected end of"
                     " JSON input", "type": "api_error"}}, '{"a": '),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "written"), CALL)
def test_call_that_the_server_could_not_read(status, body, written):
    refusal = read_refusal(status, json.dumps(body))

    assert (refusal.kind, refusal.failed) == ("call", written)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, {"code": "data_inspection_failed", "message": "no", "param": None}),
        (400, {"message": "Content Exists Risk", "type": "invalid_request_error"}),
        (
            400,
            {"code": "content_filter", "param": "prompt", "message": "The response was filtered"},
        ),
        (403, {"message": "Your input was flagged", "code": 403, "metadata": {"reasons": ["x"]}}),
        (400, {"code": "InputTextSensitiveContentDetected", "message": "no"}),
        (400, {"code": "OutputTextSensitiveContentDetected.PolicyViolation", "message": "no"}),
    ],
)
def test_content_that_is_not_wanted(status, error):
    assert refusal_kind(status, json.dumps({"error": error})) == "filtered"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (429, {"message": "Rate limit reached for tokens per min", "code": "rate_limit_exceeded"}),
        (400, {"code": "Throttling.RateQuota", "message": "Requests rate limit exceeded"}),
        (429, {"code": "insufficient_quota", "type": "insufficient_quota", "message":
               "You exceeded your current quota, please check your plan and billing details. For"
               " details, see: https://help.aliyun.com/zh/model-studio/error-code#token-limit"}),
        (429, {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "You exceeded your current"
               " quota. For more, head to: https://ai.google.dev/gemini-api/docs/rate-limits."}),
        (429, {"code": "Throttling.AllocationQuota", "message": "Allocated quota exceeded"}),
        (529, {"type": "overloaded_error", "message": "Overloaded"}),
        (400, {"__type": "ThrottlingException", "message": "Too many requests, please wait"}),
        (500, {"message": "Internal"}),
        (424, "Request failed during generation"),
        (524, "<html>a timeout occurred</html>"),
        (200, {"message": "CUDA error"}),
        (200, {"message": "upstream", "code": 502}),
        (200, "the engine died"),
    ],
)  # fmt: skip
def test_what_passes(status, error):
    assert refusal_kind(status, json.dumps({"error": error})) == "passing"


DEEPSEEK = "The `reasoning_content` in the thinking mode must be passed back to the API."
KIMI = "thinking is enabled but reasoning_content is missing in assistant tool call message at 2"
GROQ = (
    "'messages.1' : for 'role:assistant' the following must be satisfied[('messages.1' :"
    " property 'reasoning_content' is unsupported)]"
)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (openai(DEEPSEEK), "thinking_wanted"),
        (openai(KIMI), "thinking_wanted"),
        (openai(f"Error code: 400 - {openai(KIMI)}"), "thinking_wanted"),
        (openai("Param Incorrect", param=DEEPSEEK), "thinking_wanted"),
        (openai("Provider returned error", metadata={"raw": json.dumps(openai(DEEPSEEK))}),
         "thinking_wanted"),
        (openai(GROQ), "thinking_unwanted"),
        (openai("Please remove the reasoning_content from your message"), "thinking_unwanted"),
        ({"detail": [detail("body", "messages", 1, "assistant", "reasoning_content")]},
         "thinking_unwanted"),
    ],
)  # fmt: skip
def test_thinking_of_earlier_turns(body, kind):
    assert refusal_kind(400, json.dumps(body)) == kind


QUOTED = "the model is not found, maximum context length, Unknown parameter: 'top_k', max_tokens"


@pytest.mark.parametrize(
    "body",
    [
        "",
        "no",
        "[1]",
        "[" * 100_000,
        json.dumps({"error": "no"}),
        json.dumps({"error": {"message": "bad arguments", "param": "messages[3].tool_calls"}}),
        json.dumps({"error": {"message": 5, "param": ["top_k"], "code": 400}}),
        json.dumps({"error": {"message": "cannot parse: 'the model is not found'"}}),
        json.dumps({"error": {"message": f"bad message: {'x' * 100} does not support tools"}}),
        json.dumps({"message": "Out of range float values are not JSON compliant"}),
        json.dumps(openai(f"Invalid value: '{QUOTED}'", param="messages[1].content")),
        json.dumps(openai(f'bad message "{QUOTED}"')),
        json.dumps(flat(f"[{{'type': 'string_type', 'loc': ('body', 'messages', 0), 'msg': 'no',"
                        f" 'input': 'loc: body, top_k {QUOTED}'}}]")),
        json.dumps({"detail": [detail("body", "messages", 1, message="no", value=QUOTED)]}),
        json.dumps({"detail": "no", "body": {"messages": [{"content": QUOTED}]}}),
        json.dumps(openai("x" * 500 + QUOTED)),
        json.dumps(openai("Invalid 'messages[9].tool_calls[0].function.name': string does not match"
                          " pattern", param="messages[9].tool_calls[0].function.name")),
        json.dumps(openai("messages.5.content.0.tool_use.id: unknown parameter top_k")),
    ],
)  # fmt: skip
def test_what_one_request_alone_is_refused_for(body):
    assert refusal_kind(400, body) == "request"


def test_setting_of_ones_own_may_be_blamed():
    body = json.dumps(openai("Unknown parameter: 'turbo'"))

    assert read_refusal(400, body).kind == "request"
    assert read_refusal(400, body, {"turbo"}).setting == "turbo"
