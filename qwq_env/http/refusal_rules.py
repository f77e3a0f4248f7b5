"""The words with which servers refuse, and who has to act: a table, read from the top.

A rule holds where all that it names holds: the status, one of the error's codes, one of its
messages. Patterns are searched in the heads of the messages only (see `ErrorBody`), and those that
end a run are anchored there, for servers quote what task, tools and model wrote.
"""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Literal, NamedTuple

from qwq_env.http.blamed_setting import STREAMING
from qwq_env.http.error_body import ErrorBody

RefusalKind = Literal[
    "operator", "context", "tokens", "call", "filtered", "thinking_wanted", "thinking_unwanted",
    "passing", "request",
]  # fmt: skip


class Rule(NamedTuple):
    """What is looked for, and what it means. None and "" match anything."""

    kind: RefusalKind
    message: re.Pattern[str] | None = None
    codes: frozenset[str] = frozenset()
    status: Container[int] = range(10_000)

    def holds(self, status: int, error: ErrorBody) -> bool:
        """Whether it says something of this error."""
        if status not in self.status or (self.codes and self.codes.isdisjoint(error.codes)):
            return False
        return self.message is None or any(map(self.message.search, error.heads))


def _words(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


def _codes(names: str) -> frozenset[str]:
    return frozenset(names.lower().split())


TOKENS = _words(r"\b(?:max_?(?:(?:completion|output|new)_?)?tokens|maximum tokens you requested)\b")
"""The setting for the length of a reply, by its names."""
_THOUGHT = r"\breasoning(?:_content)?\b"

RULES: tuple[Rule, ...] = (
    Rule("operator", status=(401, 402, 405, 407, 501, *range(300, 400))),
    # Moderation by OpenRouter comes with 403, as a key without rights does elsewhere.
    Rule("filtered", _words(r"\bflagged\b|requires moderation"), status=(403,)),
    # DashScope and Gemini speak of a quota where a minute's share is used up.
    Rule(
        "passing",
        _words(
            r"#token-limit|/rate-limits\b|allocated quota exceeded|please (?:retry|try again) in"
        ),
        status=(200, 400, 403, 429, 0),
    ),
    # No money: comes with 400, 403 or 429, and waiting does not help.
    Rule(
        "operator",
        codes=_codes(
            "insufficient_quota arrearage insufficient_balance invalid_api_key"
            " billing_hard_limit_reached billing_not_active account_deactivated"
            " exceeded_current_quota_error 1113"
        ),
    ),
    Rule(
        "operator",
        _words(
            r"^(?:your )?(?:account )?(?:insufficient balance|credit balance is too low)"
            r"|^you exceeded your current quota|^access denied.{0,60}(?:good standing|overdue)"
            r"|^api key not (?:valid|found)|^(?:invalid|incorrect) api key|^.{0,20}余额不足"
        ),
    ),
    Rule("operator", status=(403, 404)),
    # The model's own call: what a server that parses calls says of one that it cannot read.
    Rule("call", codes=_codes("tool_use_failed output_parse_failed malformed_function_call")),
    Rule(
        "call",
        _words(
            r"^(?:failed to call a function|failed to parse input at pos"
            r"|error parsing tool call|tool call validation failed"
            r"|failed to (?:parse|generate) (?:the )?(?:tool|function) calls?(?! arguments)"
            r"|(?:the )?model (?:produced|generated|output) (?:an? )?(?:invalid|malformed)"
            r" (?:tool|function) call)"
        ),
    ),
    Rule(
        "filtered",
        codes=_codes(
            "content_filter data_inspection_failed datainspectionfailed 1301"
            " content_policy_violation responsibleaipolicyviolation prohibited_content"
            " inputtextsensitivecontentdetected outputtextsensitivecontentdetected"
        ),
    ),
    Rule(
        "filtered",
        _words(
            r"^(?:content exists risk|(?:in|out)put (?:text )?data may contain inappropriate"
            r"|inappropriate content|the response was filtered)|content management policy"
        ),
    ),
    # Busy, whatever the status. A request that is larger than the rate allows stays so.
    Rule("request", _words(r"^request too large for .{0,120}tokens per min")),
    Rule(
        "passing",
        codes=_codes(
            "throttling throttlingexception limitrequests limit_requests"
            " limit_burst_rate rate_limit_exceeded rate_limit_error overloaded_error"
            " overloaded engine_overloaded_error resource_exhausted unavailable"
            " service_unavailable server_overloaded"
        ),
    ),
    Rule("passing", status=(408, 409, 424, 425, 429)),
    Rule(
        "context",
        _words(
            r"maximum (?:context|model|prompt|input) length|max_model_len|max_seq(?:uence)?_len"
            r"|context[_ ](?:length|limit)|exceeds? the available context"
            r"|max_tokens\b.{0,60}(?:at least \d+, got|below (?:the )?minimum)"
            r"|exceeded model token limit"
            r"|inputs?`? tokens \+ `?max_new_tokens"
        ),
    ),
    # How long a reply may be, as a setting: the server's own limit, whatever the conversation.
    Rule(
        "tokens",
        _words(
            TOKENS.pattern + r".{0,160}"
            r"(?:range|less than or equal|at most|maximum|<=|> ?\d|exceeds|too large|limit)"
            r"|range of max_tokens"
        ),
    ),
    Rule(
        "context",
        codes=_codes(
            "context_length_exceeded exceed_context_size_error contextwindowexceedederror 1261"
        ),
    ),
    Rule(
        "context",
        _words(
            r"context[_ ](?:window|size)|range of input length|context the overflows"
            r"|(?:prompt|inputs?|messages?|request)\b.{0,80}\b(?:too (?:long|large for model)"
            r"|exceeds max(?:imum)? length)"
            r"|`inputs` must have less than|input token count|too many tokens"
            r"|reduce the length of"
        ),
    ),
    Rule("context", status=(413,)),
    Rule(
        "thinking_unwanted",
        _words(
            _THOUGHT + r".{0,120}(?:unsupported|not (?:supported|permitted|allowed)|unknown"
            r"|remove|unexpected|extra inputs|unrecognized)"
            r"|(?:unsupported|unknown|unexpected|extra|unrecognized|remove)\b.{0,40}" + _THOUGHT
        ),
    ),
    Rule(
        "thinking_wanted",
        _words(
            _THOUGHT + r".{0,120}(?:must be|missing|required|passed back|expected)"
            r"|(?:missing|requires?|expected)\b.{0,40}" + _THOUGHT
        ),
    ),
    Rule(
        "operator",
        codes=_codes(
            "model_not_found model_not_exist modelnotfound deploymentnotfound"
            " invalid_model model_decommissioned 1211"
        ),
    ),
    Rule(
        "operator",
        _words(
            r"^(?:invalid model\b|no models? (?:is |are )?loaded|\S+ is not a valid model"
            r"|(?:the )?(?:requested )?model\b.{0,100}\b(?:not exist|not found|not available"
            r"|decommissioned|no longer)|模型不存在)"
        ),
    ),
    Rule(
        "operator",
        _words(
            r"^.{0,100}(?:tool choice requires|tools param requires|tools (?:are )?not supp"
            r"|not support (?:tools|tool (?:use|calling)|function calling))"
        ),
    ),
    Rule("operator", STREAMING),
    Rule("passing", status=range(500, 600)),
)
"""All that needs no parameter to be blamed. What none of them knows, a blamed setting decides."""
