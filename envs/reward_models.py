"""Reward models as plain data, for command lines and recipes.

- `judge:URL:MODEL`: a judge behind an OpenAI-compatible endpoint, `judge:http://host:8000/v1:qwq`
- `{"endpoint": URL, "model": MODEL, ...}`: the same with settings, see `qwq_env.http.served`
- `vllm:URL:FOLDER`: a classifier behind a vLLM server, and the folder with its tokenizer
- anything else: the folder of a Transformers sequence classifier, loaded into this process
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from qwq_env.checks import is_number
from qwq_env.dialect.codec import TokenCodec
from qwq_env.errors import UsageError, brief
from qwq_env.grading.reward.conversation import ConversationEncoder
from qwq_env.grading.reward.examiner import Examiner
from qwq_env.grading.reward.judge import Judge
from qwq_env.grading.reward.model import RewardModel, Squashed
from qwq_env.grading.reward.pooling import VllmPooling
from qwq_env.http.served import in_field, read_served, split_served

RewardModelLike = RewardModel | Mapping[str, Any] | str | Path

_EXAMINER: Final = (
    "api_key_variable", "max_tokens", "max_characters", "seconds", "in_flight", "attempts", "extra"
)  # fmt: skip
_JUDGE: Final = ("rubric", "low", "high")


def make_reward_model(model: RewardModelLike) -> RewardModel:
    """Return the reward model that `model` names, its scores within 0..1.

    The same data give the same object each time: the environments of a process share its weights
    and its connections. Raises `UsageError` for what names none.
    """
    if isinstance(model, RewardModel):
        made = model
    elif isinstance(model, Mapping):
        made = _described(_as_json(model))
    else:
        made = _named(str(model))
    return made if made.bounded else Squashed(made)


@lru_cache(maxsize=8)
def _named(name: str) -> RewardModel:
    found = split_served(name)
    if found is not None and found[0] in ("judge", "vllm"):
        kind, (url, model, _) = found
        return Judge(Examiner(url, model)) if kind == "judge" else VllmPooling(url, _encoder(model))
    if not (Path(name) / "config.json").is_file():
        raise UsageError(
            f"reward_model: {name!r}; expected judge:URL:MODEL, vllm:URL:FOLDER or a folder"
        )
    from qwq_env.grading.reward.classifier import (  # noqa: PLC0415 - loads torch
        SequenceClassifier,
    )

    return SequenceClassifier.load(name, codec=TokenCodec)


@lru_cache(maxsize=8)
def _described(written: str) -> RewardModel:
    with in_field("reward_model"):
        url, model, said = read_served(json.loads(written), (*_EXAMINER, *_JUDGE))
        scale = {name: said.pop(name) for name in _JUDGE if name in said}
        if not isinstance(rubric := scale.get("rubric", ""), str):
            raise UsageError(f"rubric: {brief(rubric)}; expected a text")
        for name in ("low", "high"):
            if not is_number(scale.get(name, 0)):
                raise UsageError(f"{name}: {brief(scale[name])}; expected a number")
        return Judge(Examiner(url, model, **said), **scale)


def _as_json(model: Mapping[str, Any]) -> str:
    try:
        return json.dumps(dict(model), sort_keys=True)
    except (TypeError, ValueError):
        raise UsageError(f"reward_model: {brief(model)}; expected plain data") from None


def _encoder(folder: str) -> ConversationEncoder:
    try:
        from transformers import AutoTokenizer  # noqa: PLC0415 - heavy, and optional
    except ImportError:
        raise UsageError("transformers: not installed; pip install 'qwq-env[train]'") from None
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"reward_model: no tokenizer in {folder!r}: {reason}") from None
    return ConversationEncoder(tokenizer, TokenCodec(tokenizer))
