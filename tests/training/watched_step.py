"""A step of training that a test looks at: what its episodes answer, and what its passes take."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch

from qwq_env.env import ToolEnv
from qwq_env.training.rollouts import Rollouts
from qwq_env.training.tiny.model import build_tiny_model

from .test_rollouts import environment, scripted


def answering(tokenizer: Any, texts: Sequence[str]) -> Rollouts:
    """Return rollouts without tools whose episodes answer these texts, one after another."""
    told = itertools.cycle(texts)
    env = ToolEnv(environment().tasks, [], environment().settings.rubric)
    return scripted(tokenizer, lambda _: f"</think>{next(told)}<|im_end|>", env)


def watched_model(tokenizer: Any) -> tuple[Any, torch.Tensor, list[tuple[int, int]]]:
    """Return the smallest model, its weights, and the list that gets (rows, width) of each pass."""
    torch.manual_seed(0)
    model = build_tiny_model(tokenizer, hidden=16, layers=1, heads=2)
    read: list[tuple[int, int]] = []
    model.register_forward_pre_hook(
        lambda module, args, named: read.append(tuple(named["input_ids"].shape)), with_kwargs=True
    )
    return model, flat(model), read


def flat(model: Any) -> torch.Tensor:
    """Return all its weights."""
    return torch.cat([weight.detach().flatten().clone() for weight in model.parameters()])
