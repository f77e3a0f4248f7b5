"""The lessons that the tiny policy learns from, in an environment's dialect and with its tools."""

from __future__ import annotations

from qwq_env.env import ToolEnv
from qwq_env.envs.arithmetic import ArithmeticTaskSet
from qwq_env.training.tiny.teacher import ONLY_GUESSES, Teacher, TeacherMix, has_calculator
from qwq_env.training.transcript import Transcript


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
