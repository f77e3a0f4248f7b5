"""Who writes the transcripts of a cold start, as a recipe says it; nothing heavy is imported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from qwq_env.env import ToolEnv
from qwq_env.errors import UsageError, unknown
from qwq_env.training.demonstrations import Demonstrations
from qwq_env.training.recipe import Recipe
from qwq_env.training.recorded import Recorded
from qwq_env.training.tiny.lessons import tiny_teacher
from qwq_env.training.tiny.teacher import Teacher, TeacherMix, has_calculator
from qwq_env.training.transcript import Transcript


class TranscriptSource(Protocol):
    """Writes the transcripts of a cold start."""

    def transcripts(self, count: int) -> Sequence[Transcript]:
        """Return `count` of them, or as many as there are."""


class Rejection(NamedTuple):
    """No teacher: what the policy itself plays rightly of the tasks of `env`."""

    recipe: Recipe
    env: ToolEnv


def teacher_of(recipe: Recipe, env: ToolEnv) -> TranscriptSource | Rejection:
    """Return what writes the transcripts of the cold start."""
    wanted = recipe.cold_start
    if wanted.source == "rejection":
        return Rejection(recipe, env)
    if wanted.demonstrations is not None:
        return Recorded(wanted.demonstrations, env, seed=recipe.seed)
    if wanted.source == "solve":
        return Demonstrations(env, right=wanted.right, seed=recipe.seed)
    level = recipe.environment.difficulty or 1
    return tiny_teacher(
        env, difficulty=level, seed=recipe.seed, mix=_mix(wanted.teacher),
        names_operation=wanted.names_operation,
    )  # fmt: skip


def shows_no_call(recipe: Recipe, teacher: TranscriptSource | Rejection) -> str | None:
    """Return what to say of a teacher who cannot use the environment's tools; None of others."""
    if not isinstance(teacher, Teacher) or not teacher.tools or has_calculator(teacher.tools):
        return None
    names = ", ".join(tool.name for tool in teacher.tools)
    return (
        f"cold start: its teacher knows the calculator alone, and shows no call of {names};"
        f" cold_start.source=solve shows what the solve of {recipe.environment.id} does"
    )


def _mix(shares: dict[str, Any]) -> TeacherMix | None:
    """Read `cold_start.teacher`: what is not named is not done; None for nothing said."""
    names = tuple(TeacherMix.__dataclass_fields__)
    for name, share in shares.items():
        if name not in names:
            raise unknown("cold_start.teacher", name, names)
        if isinstance(share, bool) or not isinstance(share, int | float):
            raise UsageError(f"cold_start.teacher.{name}: {share!r}; expected a number")
    return TeacherMix(**{name: float(shares.get(name, 0)) for name in names}) if shares else None
