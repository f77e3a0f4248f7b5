"""GRPO of a stage, as one phase: it goes on from the trainer's last checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from qwq_env import portal
from qwq_env.dialect.codec import TokenCodec
from qwq_env.env import ToolEnv
from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.evaluation.heldout import Result
from qwq_env.rollout.ratios import RatioStore, ratios_beside
from qwq_env.rollout.store import EpisodeStore
from qwq_env.training.cold_policy import freeze
from qwq_env.training.copied_weights import copied_weights
from qwq_env.training.curriculum import read_progress
from qwq_env.training.grpo import make_trainer
from qwq_env.training.placement import cast_state, computed_in
from qwq_env.training.playing import training_engine
from qwq_env.training.rollouts import PolicyFactory, Rollouts
from qwq_env.training.sampler import own_sampler
from qwq_env.training.served import servers_of
from qwq_env.training.stages.context import StageContext
from qwq_env.training.stages.evaluations import Evaluations
from qwq_env.training.stages.gates import GateClosed, closed
from qwq_env.training.stages.watch import HeldOut
from qwq_env.training.summary import step_name
from qwq_env.training.trainer import OnLearned
from qwq_env.training.updates import updates_of
from qwq_env.training.weights.adapter import merge_adapter, save_adapter, trained_state
from qwq_env.training.weights.base import WeightSync, on_first_rank
from qwq_env.training.weights.disk import change_config
from qwq_env.training.weights.nccl import sync_by_trl
from qwq_env.trajectory import step_of


class Reinforcement:
    """What samples in a stage's training, and the training itself."""

    def __init__(self, context: StageContext, evaluations: Evaluations) -> None:
        """Raises `UsageError` where the recipe wants servers and names none."""
        self._context, self._evaluations = context, evaluations
        recipe = context.recipe
        self._servers = servers_of(recipe)
        self._copied = copied_weights(recipe)

    def run(self, env: ToolEnv, model: Any, tokenizer: Any, cold: Result) -> Any:
        """Train; return the trained model, None if it is sharded: the servers have it then."""
        context, recipe = self._context, self._context.recipe
        if context.folder.done("grpo"):
            if recipe.cluster.sharded:
                self._bring_again()
                return None
            return context.load(str(context.folder.policy))[0]
        checkpoint, begin = context.folder.last_checkpoint() or (None, 0)
        if checkpoint is not None:
            read_progress(env, checkpoint)
            if self._copied is not None:
                self._copied.read(checkpoint)
            self._check_gates(begin, cold)
        self._forget_after(begin)
        trainer = self._train(env, model, tokenizer, cold, checkpoint, begin)
        self._close_servers(trainer)
        trained = save_policy(context, trainer, tokenizer)
        context.folder.mark_done("grpo", {"steps": recipe.grpo.steps})
        return None if recipe.cluster.sharded else trained

    def _train(
        self,
        env: ToolEnv,
        model: Any,
        tokenizer: Any,
        cold: Result,
        checkpoint: Path | None,
        begin: int,
    ) -> Any:
        """Return the trainer after its last step. Raises `GateClosed` where a gate closed."""
        context, recipe = self._context, self._context.recipe
        name, steps, gates = context.stage.name, recipe.grpo.steps, context.stage.part.gates
        with (
            context.phase("grpo", "GRPO", steps, "steps") as phase,
            EpisodeStore(context.folder.episodes, TokenCodec(tokenizer)) as store,
            RatioStore(context.folder.episodes) as ratios,
        ):
            phase.advance(begin)
            rollouts = self._rollouts(env, tokenizer, store)
            trainer = make_trainer(
                model, tokenizer, rollouts, recipe, context.folder, world=context.world,
                phase=phase, copied=self._copied,
            )  # fmt: skip
            # Not before: a sharded model is there only now. Its optimizer is made as it begins.
            freeze(trainer.model, recipe.cold_start.frozen_layers)
            watch = HeldOut(
                updates_of(recipe, context.world).whole(recipe.evaluation.every),
                lambda step: self._evaluate_step(step, trainer, rollouts, store),
                lambda result: closed(gates, cold, result),
            )
            trainer.add_callback(watch)
            if recipe.rollout.store != "none":
                trainer.on_learned = self._keep_stored(ratios)
            trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        if watch.reason is not None:
            raise GateClosed(f"stages.{name}: {watch.reason}")
        if trainer.state.global_step < steps:
            raise InfrastructureError(
                f"GRPO: the trainer ended after {trainer.state.global_step} of {steps} steps"
            )
        return trainer

    def _rollouts(self, env: ToolEnv, tokenizer: Any, store: EpisodeStore) -> Rollouts:
        """Return what plays the episodes of training, by the model, its copy or the servers."""
        context, recipe, servers = self._context, self._context.recipe, self._servers
        policy: PolicyFactory = partial(own_sampler, slots=recipe.rollout.slots)
        weights: WeightSync | None = None
        if self._copied is not None:
            policy, weights = self._copied.policy, self._copied
        elif servers is not None:
            policy, weights = lambda trainer: servers[0], servers[1]
        return Rollouts(
            env,
            tokenizer,
            size=recipe.grpo.steps * recipe.grpo.episodes // recipe.grpo.group,
            seed=recipe.seed,
            context=recipe.grpo.context,
            thinking=recipe.rollout.thinking,
            engine=training_engine(recipe),
            correction=None if recipe.grpo.correction == "none" else recipe.grpo.correction,
            policy=policy,
            weights=weights,
            on_episode=lambda t, step: store.append(
                t, whole=context.stores(t.episode, recipe.grpo.group), phase="grpo", step=step
            ),
            dynamic=recipe.grpo.dynamic,
        )

    def _keep_stored(self, ratios: RatioStore) -> OnLearned:
        """Return what keeps what the trainer makes of the episodes whose tokens are stored."""
        context, group = self._context, self._context.recipe.grpo.group

        def keep(step: int, episode: str, row: int, *columns: Sequence[float]) -> None:
            if context.stores(episode, group):
                ratios.append(step, episode, row, *columns)

        return keep

    def _evaluate_step(
        self, step: int, trainer: Any, rollouts: Rollouts, store: EpisodeStore
    ) -> Result:
        """Evaluate what a step of the training has made; servers get it first."""
        model = None
        if self._context.recipe.cluster.sharded:
            rollouts.push_weights(trainer)
        else:
            model = trainer.accelerator.unwrap_model(trainer.model)
        return self._evaluations.after_step(step, model, rollouts.codec, store)

    def _check_gates(self, step: int, cold: Result) -> None:
        """Raise `GateClosed` where a run that goes on stopped at a gate that is still closed."""
        stage = self._context.stage
        done = self._context.folder.result(step_name(step))
        found = None if done is None else closed(stage.part.gates, cold, done)
        if found is not None:
            raise GateClosed(f"stages.{stage.name}: step {step}: {found}")

    def _forget_after(self, begin: int) -> None:
        """Take out what was written after the step that the training goes on from."""
        context, folder = self._context, self._context.folder
        anew = {step_name(step) for step in range(begin + 1, context.recipe.grpo.steps)}
        folder.forget_rows(
            folder.episodes,
            lambda row: row["phase"] in anew or (row["phase"] == "grpo" and step_of(row) > begin),
        )
        folder.forget_rows(ratios_beside(folder.episodes), lambda row: row["step"] > begin)
        context.forget("trained", "greedy")
        if context.rank == 0:
            folder.forget_rows(folder.metrics, lambda row: row["step"] > begin)

    def _close_servers(self, trainer: Any) -> None:
        """Let go of the servers; they get what the last step made if they are evaluated by."""
        if self._servers is None:
            return
        policy, weights = self._servers
        if self._context.recipe.cluster.sharded:
            if weights is not None:
                weights.push(trainer)
            else:
                sync_by_trl(trainer)
        portal.run(policy.aclose())

    def _bring_again(self) -> None:
        """Let the servers, which began with the checkpoint, have what the training ended with."""
        context = self._context
        weights = None if self._servers is None else self._servers[1]
        if weights is None:
            raise UsageError(
                f"run: GRPO of {context.folder.path} has ended, and policy.weights='nccl' leaves"
                " servers nothing to read; start some on its policy/ and evaluate it with qwq eval"
            )
        on_first_rank(context.processes, lambda: weights.bring(context.recipe.grpo.steps))


def save_policy(context: StageContext, trainer: Any, tokenizer: Any) -> Any:
    """Write the trained policy and return it; all processes gather it, the first writes."""
    recipe, folder = context.recipe, context.folder
    trained = trainer.accelerator.unwrap_model(trainer.model)
    adapters = recipe.policy.lora is not None
    if adapters:
        state = trained_state(trained)
    else:
        state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if context.rank != 0:
        return trained
    if adapters and context.stage.part.name:
        # Whoever starts from a stage reads whole weights.
        save_adapter(trained, state, folder.adapter)
        merge_adapter(context.start, folder.adapter, folder.policy, computed_in(recipe))
    elif adapters:
        save_adapter(trained, state, folder.policy)
    else:
        # The masters were for learning; whoever serves it reads what it is computed in.
        dtype = computed_in(recipe)
        trained.save_pretrained(folder.policy, state_dict=cast_state(state, dtype))
        # It is told that of the masters.
        change_config(folder.policy, dtype=str(dtype).removeprefix("torch."))
    tokenizer.save_pretrained(folder.policy)
    return trained
