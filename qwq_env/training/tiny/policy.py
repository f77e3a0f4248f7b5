"""The tiny policy of a run: its tokenizer, its weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qwq_env.training.recipe import PolicyRecipe
from qwq_env.training.tiny.model import build_tiny_model
from qwq_env.training.tiny.tokenizer import build_tiny_tokenizer
from qwq_env.training.transcript import Transcript

_TOKENIZER_SAMPLES = 2000
"""So many that no name is missing for want of samples: one that is spelled in letters pushes the
numbers of its tasks out of the places where the policy learns to copy them from."""


def build_tiny_policy(
    lessons: Sequence[Transcript], recipe: PolicyRecipe, *, seed: int
) -> tuple[Any, Any]:
    """Return a model with random weights, and a tokenizer that knows the lessons' phrases."""
    words = recipe.vocabulary == "words"
    tokenizer = build_tiny_tokenizer(lessons[:_TOKENIZER_SAMPLES], words=words)
    model = build_tiny_model(
        tokenizer,
        seed=seed,
        layers=recipe.layers,
        hidden=recipe.hidden,
        heads=recipe.heads,
        key_value_heads=recipe.key_value_heads,
    )
    return model, tokenizer
