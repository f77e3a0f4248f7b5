"""The tiny policy of a run: its lessons, its tokenizer, its weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qwq_env.env import ToolEnv
from qwq_env.envs.arithmetic import ArithmeticTaskSet
from qwq_env.training.recipe import PolicyRecipe
from qwq_env.training.tiny.model import build_tiny_model
from qwq_env.training.tiny.teacher import ONLY_GUESSES, Teacher, TeacherMix, has_calculator
from qwq_env.training.tiny.tokenizer import build_tiny_tokenizer
from qwq_env.training.transcript import Transcript

_TOKENIZER_SAMPLES = 2000
"""So many that no name is missing for want of samples: one that is spelled in letters pushes the
numbers of its tasks out of the places where the policy learns to copy them from."""


def tiny_teacher(
    env: ToolEnv,
    *,
    difficulty: int,
    seed: int,
    mix: TeacherMix | None = None,
    names_operation: bool = False,
) -> Teacher:
    """Return the imperfect teacher in `env`'s dialect, with its tools.

    Its lessons are word problems of the environment's kind, or arithmetic whatever its tasks are:
    they teach the form of an episode, not the tasks. Their own task seed keeps them apart from
    those of training. Where the environment has no calculator, they only show how one thinks and
    answers.

    Raises `UsageError` for a dialect in which the teacher cannot call a tool.
    """
    kind = type(env.tasks) if isinstance(env.tasks, ArithmeticTaskSet) else ArithmeticTaskSet
    tasks = kind(seed=seed + 1_000_003, difficulty=difficulty, split="train")
    settings = env.settings
    return Teacher(
        tasks,
        settings.tools,
        settings.dialect,
        system_prompt=settings.system_prompt,
        mix=mix or (TeacherMix() if has_calculator(settings.tools) else ONLY_GUESSES),
        names_operation=names_operation,
        seed=seed,
    )


def tiny_lessons(env: ToolEnv, count: int, *, difficulty: int, seed: int) -> list[Transcript]:
    """Return `count` transcripts of `tiny_teacher`."""
    return tiny_teacher(env, difficulty=difficulty, seed=seed).transcripts(count)


def build_tiny_policy(
    lessons: Sequence[Transcript], recipe: PolicyRecipe, *, seed: int
) -> tuple[Any, Any]:
    """Return a model with random weights, and a tokenizer that knows the lessons' phrases."""
    tokenizer = build_tiny_tokenizer(lessons[:_TOKENIZER_SAMPLES])
    model = build_tiny_model(
        tokenizer,
        seed=seed,
        layers=recipe.layers,
        hidden=recipe.hidden,
        heads=recipe.heads,
        key_value_heads=recipe.key_value_heads,
    )
    return model, tokenizer
