"""The cold start of a run: the policy that learns from transcripts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from qwq_env.dialect.codec import TokenCodec
from qwq_env.errors import UsageError
from qwq_env.evaluation.heldout import evaluate
from qwq_env.training.cold_start import Lesson, Progress, cold_start, encode
from qwq_env.training.copied_weights import sampling_from
from qwq_env.training.placement import autocast, lora_config
from qwq_env.training.playing import evaluation_engine, play_settings
from qwq_env.training.recipe import Recipe
from qwq_env.training.teachers import Rejection, TranscriptSource
from qwq_env.training.tiny.policy import build_tiny_policy
from qwq_env.trajectory import Trajectory

_TINY_RATE, _CHECKPOINT_RATE = 5e-3, 1e-4
_TRIES = 8
"""Episodes of rejection sampling for each transcript that is wanted, at most."""
_LOOKED_AT = 16


def play_rightly(source: Rejection, model: Any, tokenizer: Any, count: int) -> list[Trajectory]:
    """Play up to eight times as many episodes, until `count` are right.

    Raises `UsageError` if none is, for then there is nothing to learn.
    """
    recipe, codec = source.recipe, TokenCodec(tokenizer)
    policy = sampling_from(model, codec, recipe)
    kept: list[Trajectory] = []
    with policy.generating():
        for attempt in range(_TRIES):
            played = evaluate(
                source.env, policy, codec, size=count, play=play_settings(recipe),
                settings=evaluation_engine(recipe), seed=recipe.seed + attempt,
            )  # fmt: skip
            kept += [episode for episode in played if episode.is_right]
            if len(kept) >= count:
                break
    if not kept:
        raise UsageError(
            f"cold_start.source: rejection; the policy played none of {count * _TRIES} episodes"
            " rightly; expected one that does now and then"
        )
    return kept[:count]


def check_room(lessons: Sequence[Lesson], codec: TokenCodec, context: int) -> None:
    """Raise `UsageError` if none of the first lessons has a prompt that leaves room for an answer.

    No episode of the training would then have a turn, which it says itself once it gets there.
    """
    encoded = [encode(lesson, codec) for lesson in lessons[:_LOOKED_AT]]
    prompts = [example.mask.index(1) for example in encoded if 1 in example.mask]
    if prompts and min(prompts) >= context:
        raise UsageError(
            f"grpo.context: {context} tokens, and the shortest prompt of the cold start's first"
            f" {len(prompts)} transcripts has {min(prompts)}; expected room for an answer"
        )


def make_cold(
    recipe: Recipe,
    source: TranscriptSource | Rejection,
    given: tuple[Any, Any] | None,
    progress: Progress,
) -> tuple[Any, Any, list[float]]:
    """Return the policy after its cold start, its tokenizer, and the loss of each step.

    `given` is a checkpoint's model and tokenizer, None for the tiny policy.
    """
    wanted = recipe.cold_start
    tiny = given is None
    if isinstance(source, Rejection):
        assert given is not None
        lessons: Sequence[Any] = play_rightly(source, *given, wanted.transcripts)
    else:
        lessons = source.transcripts(wanted.transcripts)
    if given is None:
        model, tokenizer = build_tiny_policy(lessons, recipe.policy, seed=recipe.seed)
    else:
        model, tokenizer = given
        freeze(model, wanted.frozen_layers)
    check_room(lessons, TokenCodec(tokenizer), recipe.grpo.context)
    config = None if tiny else lora_config(recipe)
    if config is not None:
        model = _with_adapter(model, config)
    rate = _TINY_RATE if tiny else _CHECKPOINT_RATE
    losses = cold_start(
        model,
        TokenCodec(tokenizer),
        lessons,
        steps=recipe.cold_steps,
        batch=wanted.batch,
        seed=recipe.seed,
        optimizer="muon" if tiny else "adamw",
        micro_batch_tokens=wanted.micro_batch_tokens,
        bfloat16=autocast(recipe),
        learning_rate=rate if wanted.learning_rate is None else wanted.learning_rate,
        progress=progress,
    )
    return model.merge_and_unload() if config is not None else model, tokenizer, losses


def _with_adapter(model: Any, config: Any) -> Any:
    import peft  # noqa: PLC0415 - optional

    return peft.get_peft_model(model, config)


def freeze(model: Any, lowest: int) -> None:
    """Keep the embeddings and the `lowest` layers as they are; backward ends above them.

    Raises `UsageError` if none would be left to learn.
    """
    if not lowest:
        return
    layers = next(
        part for part in model.modules()
        if isinstance(part, torch.nn.ModuleList) and len(part) == model.config.num_hidden_layers
    )  # fmt: skip
    if lowest >= len(layers):
        raise UsageError(
            f"cold_start.frozen_layers: {lowest}; expected fewer than the {len(layers)} there are"
        )
    model.get_input_embeddings().requires_grad_(False)
    for layer in layers[:lowest]:
        layer.requires_grad_(False)
