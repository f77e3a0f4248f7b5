"""What a server means by refusing a request: whose affair it is.

Asking again would only be refused again. What matters is who can do something about it, and
servers say that in a status and, where the status is 400, 413 or 422, in words.
"""

from __future__ import annotations

import json
import re
from typing import Literal

RefusalKind = Literal["operator", "context", "request"]

_OPERATOR_STATUS = frozenset({401, 402, 403, 404, 405})
_TOO_LARGE = 413
_CONTEXT = re.compile(
    r"context[_ ](?:length|window|size)|maximum model length|max_model_len"
    r"|(?:prompt|inputs?|messages?)\b.{0,80}\btoo long|range of input length"
    r"|inputs?`? tokens \+ `?max_new_tokens|max_tokens must be at least 1, got -",
    re.IGNORECASE,
)
_MODEL = re.compile(r"(?:the )?model\b.{0,100}\b(?:not exist|not found)", re.IGNORECASE)
_MODEL_CODES = frozenset({"model_not_found", "model_not_exist"})
_TOOLS = re.compile(
    r".{0,100}(?:tool choice requires|not support (?:tools|function calling)|tools are not supp)",
    re.IGNORECASE,
)
_CONVERSATION = ("messages", "prompt", "input")
"""Parameters that hold what task, tools and model wrote."""


def refusal_kind(status: int, body: str) -> RefusalKind:
    """Return whose affair a refusal of this status and body is.

    `operator`: the key, the address, the model or a setting is wrong, and every request will fare
    alike. `context`: the conversation, or it and the tokens asked for, is longer than the server
    can take. `request`: this one request is not wanted, for its content, as with a filter.
    """
    if status in _OPERATOR_STATUS:
        return "operator"
    if status == _TOO_LARGE or _CONTEXT.search(body):
        return "context"
    return "operator" if _blames_a_setting(body) else "request"


def _blames_a_setting(body: str) -> bool:
    """Whether an error of OpenAI's form blames the model, that there are tools, or a parameter
    other than the conversation.

    Where in the body it does so counts: servers may quote the conversation in it.
    """
    try:
        data = json.loads(body)
        error = data.get("error", data)
        param, code, message = (str(error.get(key) or "") for key in ("param", "code", "message"))
    except (ValueError, AttributeError, RecursionError):
        return False
    if code in _MODEL_CODES or _MODEL.match(message) or _TOOLS.match(message):
        return True
    return param.isidentifier() and not param.startswith(_CONVERSATION)
