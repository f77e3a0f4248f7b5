"""The policy of an evaluation: made in this process, asked on servers, or read from a file."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from qwq_env.chat_model import ChatModel
from qwq_env.dialect.codec import TokenCodec
from qwq_env.dialect.load_tokenizer import load_tokenizer
from qwq_env.env import ToolEnv
from qwq_env.evaluation.answers import StoredAnswers, match_answers, read_answers
from qwq_env.evaluation.heldout import assignments_of
from qwq_env.evaluation.request import EvaluationRequest
from qwq_env.http.openai_chat import OpenAIChat
from qwq_env.imports import heavy_imports
from qwq_env.rollout.policy import Policy
from qwq_env.rollout.vllm_policy import HttpSettings, VllmPolicy

_log = logging.getLogger(__name__)


class Place(NamedTuple):
    """Where the policy is asked: `urls` of its servers, and how many episodes at a time.

    Servers that were not reached for `grace` seconds are gone (`ServersGone`). A chat endpoint's
    key is in the environment variable `key_variable`, vLLM's in VLLM_API_KEY.
    """

    urls: Sequence[str] = ()
    key_variable: str = "OPENAI_API_KEY"
    concurrency: int = 64
    grace: float = 5.0


class Player(NamedTuple):
    """A policy, and the codec that one on token ids needs."""

    policy: Policy | ChatModel
    codec: TokenCodec | None


def make_player(request: EvaluationRequest, place: Place, env: ToolEnv) -> Player:
    """Make the policy. Raises `UsageError` for what cannot be one, and for a file of answers none
    of which is to a task of `env`."""
    if request.policy == "answers":
        assert request.answers is not None
        episodes = assignments_of(
            env, size=request.tasks_in(env), samples=request.samples, seed=request.seed
        )
        matched = match_answers(read_answers(Path(request.answers)), episodes)
        if matched.of_no_task:
            told = "%d stored answers are to none of the tasks that are played"
            _log.warning(told, matched.of_no_task)
        return Player(StoredAnswers(matched.turns), None)
    if request.policy == "chat":
        assert request.model is not None
        chat = OpenAIChat(
            place.urls[0],
            request.model,
            api_key_variable=place.key_variable,
            in_flight=place.concurrency,
            native_tools=request.native_tools,
            seeded=request.seeded,
            grace=place.grace,
            extra=request.extra,
        )
        return Player(chat, None)
    assert request.checkpoint is not None
    if request.policy == "vllm":
        codec = TokenCodec(load_tokenizer(Path(request.checkpoint), field="checkpoint"))
        api_key = os.environ.get("VLLM_API_KEY") or None
        served = VllmPolicy(
            place.urls,
            model=request.model,
            settings=HttpSettings(grace=place.grace),
            api_key=api_key,
            seeded=request.seeded,
        )
        return Player(served, codec)
    # Loading torch takes seconds; a served policy does not need it.
    with heavy_imports():
        from qwq_env.rollout.checkpoint import load_checkpoint  # noqa: PLC0415
        from qwq_env.rollout.transformers_policy import TransformersPolicy  # noqa: PLC0415

    model, tokenizer = load_checkpoint(request.checkpoint, field="checkpoint")
    codec = TokenCodec(tokenizer)
    return Player(TransformersPolicy(model.eval(), codec, slots=place.concurrency), codec)
