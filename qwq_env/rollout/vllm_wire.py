"""What vLLM's `/v1/completions` is asked, and how its answer is read: token ids both ways."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, Literal, cast

from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.rollout.policy import Generation, GenerationRequest, NoLogprobs

_ROUNDING = 1e-3
"""How far above 0 a log-probability may lie for being computed in half precision."""


def completion_body(
    request: GenerationRequest, model: str, max_tokens: int, *, seeded: bool = False
) -> bytes:
    """Return the JSON body that asks for one turn; with the request's seed only if `seeded`.

    Every setting that shapes the distribution is named: vLLM takes those left out from the
    checkpoint's `generation_config.json`, and what is trained must not depend on that. For the
    same reason the checkpoint's own end tokens do not end a turn, `stop_ids` do.
    """
    sampling = request.sampling
    body = {
        "model": model,
        "prompt": list(request.ids),
        "max_tokens": max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        **({"seed": request.seed & 0x7FFF_FFFF} if seeded else {}),
        "logprobs": 0,
        "return_token_ids": True,
        "ignore_eos": True,
        "stop_token_ids": sorted(request.stop_ids),
        "stop": list(request.stop_strings),
        "include_stop_str_in_output": True,
        # Stop strings are looked for in the text, so markup must be written out in it.
        "skip_special_tokens": False,
        "spaces_between_special_tokens": False,
    }
    return json.dumps(body).encode()


def read_completion(answer: object, max_tokens: int) -> Generation:
    """Return the turn that an answer holds. Raises `InfrastructureError` for any other answer, and
    `UsageError` for one without ids, which no answer of that server will have.

    A log-probability that is missing or not finite counts as one: the server's arithmetic
    failed, and a turn that cannot be weighed must not be learned from.
    """
    try:
        choice = cast(Any, answer)["choices"][0]
        ids, reason = choice.get("token_ids"), choice["finish_reason"]
        logprobs = None if choice["logprobs"] is None else choice["logprobs"]["token_logprobs"]
    except (KeyError, IndexError, TypeError, AttributeError):
        raise InfrastructureError("the answer is no completion of vLLM's") from None
    if ids is None:
        raise UsageError("no token_ids in the answer; expected vLLM 0.10.2 or newer")
    if reason not in ("stop", "length"):
        raise InfrastructureError(f"the request was ended by {reason!r}")
    if not isinstance(ids, list) or not all(type(i) is int and i >= 0 for i in ids):
        raise InfrastructureError("token_ids that are no ids")
    if len(ids) > max_tokens:
        raise InfrastructureError(f"{len(ids)} token ids; at most {max_tokens} were asked for")
    return Generation(ids, _logprobs(logprobs, len(ids)), cast(Literal["stop", "length"], reason))


def _logprobs(values: object, count: int) -> list[float]:
    if not isinstance(values, Sequence) or len(values) != count:
        found = len(values) if isinstance(values, Sequence) else "no"
        raise NoLogprobs(f"{found} logprobs for {count} token ids")
    for index, value in enumerate(values):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InfrastructureError(f"logprob {index} of {count} is {value!r}")
        if not math.isfinite(value) or value > _ROUNDING:
            raise InfrastructureError(f"logprob {index} of {count} is {value!r}")
    return [min(float(value), 0.0) for value in values]
