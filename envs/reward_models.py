"""Reward models by name, for command lines and recipes.

- `judge:URL:MODEL`: a judge behind an OpenAI-compatible endpoint, `judge:http://host:8000/v1:qwq`
- `vllm:URL:FOLDER`: a classifier behind a vLLM server, and the folder with its tokenizer
- anything else: the folder of a Transformers sequence classifier, loaded into this process
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from qwq_env.dialect.codec import TokenCodec
from qwq_env.errors import UsageError
from qwq_env.grading.reward.conversation import ConversationEncoder
from qwq_env.grading.reward.examiner import Examiner
from qwq_env.grading.reward.judge import Judge
from qwq_env.grading.reward.model import RewardModel, Squashed
from qwq_env.grading.reward.pooling import VllmPooling

_SERVED = re.compile(
    r"(?P<kind>judge|vllm):(?P<url>https?://(?:\[[^\]]*\]|[^:/]+)(?::\d+)?+(?:/[^:]*)?):(?P<name>.*[^:])"
)


def make_reward_model(model: RewardModel | str | Path) -> RewardModel:
    """Return the reward model that `model` names, its scores within 0..1.

    A name gives the same object each time: the environments of a process share its weights and
    its connections. Raises `UsageError` for a name that is none.
    """
    made = model if isinstance(model, RewardModel) else _named(str(model))
    return made if made.bounded else Squashed(made)


@lru_cache(maxsize=8)
def _named(name: str) -> RewardModel:
    if found := _SERVED.fullmatch(name):
        if found["kind"] == "judge":
            return Judge(Examiner(found["url"], found["name"]))
        return VllmPooling(found["url"], _encoder(found["name"]))
    if not (Path(name) / "config.json").is_file():
        raise UsageError(
            f"reward_model: {name!r}; expected judge:URL:MODEL, vllm:URL:FOLDER or a folder"
        )
    from qwq_env.grading.reward.classifier import (  # noqa: PLC0415 - loads torch
        SequenceClassifier,
    )

    return SequenceClassifier.load(name, codec=TokenCodec)


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
