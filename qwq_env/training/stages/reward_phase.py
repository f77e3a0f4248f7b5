"""The reward model that a stage trains as it begins, and is paid by then."""

from __future__ import annotations

from itertools import islice
from typing import Any

from accelerate.utils import gather_object

from qwq_env.dialect.codec import TokenCodec
from qwq_env.env import ToolEnv
from qwq_env.evaluation.heldout import evaluate
from qwq_env.rollout.store import EpisodeStore
from qwq_env.rubric import candidate_of
from qwq_env.training.environments import environments
from qwq_env.training.playing import evaluation_engine, play_settings
from qwq_env.training.recipe import RewardModelRecipe
from qwq_env.training.recipe.parts import narrowed, with_reward_model
from qwq_env.training.reward_model import Labelled, train_reward_model
from qwq_env.training.stages.context import StageContext
from qwq_env.training.stages.evaluations import sampler
from qwq_env.trajectory import Trajectory


def paid_by_model(
    context: StageContext, wanted: RewardModelRecipe, model: Any, codec: TokenCodec
) -> ToolEnv:
    """Train the reward model, once; return the environment in which it pays its member."""
    recipe, folder = context.recipe, context.folder
    if folder.done("reward_model") is None:
        learned, tested = _labelled(context, wanted, model, codec)
        if context.rank == 0:
            _train(context, wanted, learned, tested)
        context.processes.wait_for_everyone()
    paid = with_reward_model(context.stage.part.trained, wanted.member, str(folder.reward_model))
    return environments(recipe, paid)[0]


def _train(
    context: StageContext,
    wanted: RewardModelRecipe,
    learned: list[Labelled],
    tested: list[Labelled],
) -> None:
    recipe, folder = context.recipe, context.folder
    with context.phase("reward_model", "reward model", wanted.steps, "steps") as phase:
        report = train_reward_model(
            wanted.checkpoint or context.start, learned, folder.reward_model, heldout=tested,
            steps=wanted.steps, batch=wanted.batch, learning_rate=wanted.learning_rate,
            seed=recipe.seed,
            progress=lambda step, total, loss: phase.advance(note=f"loss {loss:.3f}"),
        )  # fmt: skip
    folder.mark_done("reward_model", report._asdict())
    auc = "undefined" if report.auc is None else f"{report.auc:.3f}"
    context.reporter.say(
        f"reward model: right of {report.tested_on} unseen answers"
        f" {report.accuracy:.3f} (always the same: {report.base_rate:.3f}), auc {auc}"
    )


def _labelled(
    context: StageContext, wanted: RewardModelRecipe, model: Any, codec: TokenCodec
) -> tuple[list[Labelled], list[Labelled]]:
    """Play training tasks of the member; return the answers to learn from and to test on.

    They share no task. Lost episodes are in neither.
    """
    recipe, group = context.recipe, context.recipe.grpo.group
    env, _ = environments(recipe, narrowed(context.stage.part.trained, {wanted.member: 1}))
    size = max(2, wanted.episodes // group)
    context.forget("reward_model")
    own = size * group // context.world
    with (
        sampler(model, codec, recipe, trained=False) as policy,
        context.phase("label", "label answers", own, "episodes") as phase,
        EpisodeStore(context.folder.episodes, codec) as store,
    ):

        def keep(trajectory: Trajectory) -> None:
            store.append(trajectory, phase="reward_model")
            phase.advance()

        played = evaluate(
            env, policy, codec, size=size, samples=group, play=play_settings(recipe),
            settings=evaluation_engine(recipe), seed=recipe.seed + 1, rank=context.rank,
            world=context.world, on_episode=keep,
        )  # fmt: skip
    answers = [(t.task_id, t.answer, t.is_right) for t in played if t.reward is not None]
    tasks = {task.id: task for task in islice(env.tasks, size)}
    tested = set(list(tasks)[: max(1, round(size * wanted.heldout))])
    parts: tuple[list[Labelled], list[Labelled]] = [], []
    for task_id, answer, right in gather_object(answers):
        labelled = Labelled(candidate_of(tasks[task_id], answer), right)
        parts[task_id in tested].append(labelled)
    return parts
