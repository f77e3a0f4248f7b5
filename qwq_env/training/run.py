"""A whole run: policy, cold start, evaluation, reinforcement learning, evaluation, report.

Each phase that ends leaves its result in the run's folder, so `--resume` goes on where the last
one stopped; reinforcement learning goes on from the trainer's last checkpoint. Started with
`accelerate launch`, every process plays its own episodes; the first one writes and speaks.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import gather_object, set_seed

from qwq_env import portal
from qwq_env.dialect.codec import TokenCodec
from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.evaluation.heldout import Result, evaluate, summarize
from qwq_env.files.atomic import write_whole
from qwq_env.rollout.checkpoint import load_checkpoint, load_tokenizer_of
from qwq_env.rollout.engine import EngineSettings
from qwq_env.rollout.play import check_thinking
from qwq_env.rollout.policy import Policy
from qwq_env.rollout.store import EpisodeStore
from qwq_env.rollout.vllm_policy import HttpSettings, VllmPolicy
from qwq_env.training.cold_policy import freeze, make_cold, play_settings, teacher_of
from qwq_env.training.curriculum import read_progress
from qwq_env.training.environments import environments
from qwq_env.training.grpo import make_trainer, write_model_card
from qwq_env.training.half_copy import sampler_in_process, sampling_from
from qwq_env.training.limits import WallLimits, check_order
from qwq_env.training.phase_seconds import PhaseSeconds
from qwq_env.training.placement import cast_state, check_placement, computed_in, loading, slow_type
from qwq_env.training.progress import Phase, Reporter
from qwq_env.training.recipe import PolicyRecipe, Recipe, RolloutRecipe
from qwq_env.training.recipe.check import check_template
from qwq_env.training.recipe.schema import (
    batch_seconds,
    episode_seconds,
    patience,
    request_seconds,
)
from qwq_env.training.report import draw_curve, print_episodes, print_table, read_metrics
from qwq_env.training.rollouts import Rollouts
from qwq_env.training.run_folder import RunFolder
from qwq_env.training.weights.adapter import (
    ADAPTER,
    AdapterWeightSync,
    save_adapter,
    trained_state,
)
from qwq_env.training.weights.base import WeightSync
from qwq_env.training.weights.disk import DiskWeightSync
from qwq_env.trajectory import Trajectory
from qwq_env.versions import check_versions

_PLAYED = ("tool", "environment.seconds", "rollout.batch_seconds", "request", "ddp")
_PACKAGES = ("qwq-env", "torch", "transformers", "trl", "accelerate", "gymnasium", "math-verify")


def train(recipe: Recipe, root: Path, *, resume: bool = False) -> dict[str, Any]:
    """Run a recipe in `root/<name>` and return its summary.

    Raises `UsageError` for a folder that is taken, an environment, tool or checkpoint that is not.
    """
    return Run(recipe, root, resume=resume).execute()


class Run:
    """A recipe in its folder, phase by phase."""

    def __init__(self, recipe: Recipe, root: Path, *, resume: bool) -> None:
        self.processes = PartialState(
            cpu=not torch.cuda.is_available(), timeout=timedelta(seconds=patience(recipe))
        )
        self.rank, self.world = self.processes.process_index, self.processes.num_processes
        if recipe.grpo.episodes % (self.world * recipe.grpo.group):
            raise UsageError(
                f"grpo.episodes: {recipe.grpo.episodes}; expected a multiple of grpo.group"
                f" ({recipe.grpo.group}) times the number of processes ({self.world})"
            )
        check_placement(recipe, self.world)
        recipe.grpo.rows(self.world)
        played = WallLimits(episode=episode_seconds(recipe), batch=batch_seconds(recipe))
        check_order(played, _PLAYED)
        self.recipe = recipe
        self.environment, self.heldout = environments(recipe)
        check_thinking(recipe.rollout.thinking, self.environment.settings.dialect)
        # Before the folder is made: what cannot start must leave nothing behind.
        self._given = self._teacher = None
        if recipe.cold_steps or recipe.policy.checkpoint == "tiny":
            self._teacher = teacher_of(recipe, self.environment)
        if recipe.policy.checkpoint != "tiny":
            tokenizer = load_tokenizer_of(recipe.policy.checkpoint)
            check_template(recipe, tokenizer, self.environment.settings.dialect)
            # A sharded model is loaded by the trainer, which knows the shards.
            sharded = recipe.cluster.sharded
            self._given = (None, tokenizer) if sharded else self._load(recipe.policy.checkpoint)
        self._servers = servers_of(recipe.policy, seconds=request_seconds(recipe))
        self.folder = RunFolder(root / recipe.name, self.rank)
        self.folder.claim(recipe, resume=resume)
        self.processes.wait_for_everyone()
        self.reporter = Reporter(enabled=self.rank == 0)
        for told in (*check_versions(), slow_type(recipe)):
            if told is not None:
                self.reporter.say(told)
        self.seconds = PhaseSeconds(self.folder)
        torch.set_num_threads(recipe.threads)
        set_seed(recipe.seed)

    def execute(self) -> dict[str, Any]:
        """Run every phase that has not ended yet, and report."""
        model, tokenizer = self._cold_policy()
        codec = TokenCodec(tokenizer)
        cold = self._evaluate("cold", model, codec, temperature=self.recipe.grpo.temperature)
        model = self._reinforce(model, tokenizer)
        trained = self._evaluate("trained", model, codec, self.recipe.grpo.temperature)
        greedy = self._evaluate("greedy", model, codec, temperature=0.0)
        summary = self._summary(cold, trained, greedy)
        if self.rank == 0:
            write_whole(self.folder.summary, json.dumps(summary, indent=1))
            draw_curve(read_metrics(self.folder.metrics), summary, self.folder.curve)
            self._print(codec, summary)
        self.processes.wait_for_everyone()
        return summary

    def _cold_policy(self) -> Any:
        """Return the policy that reinforcement learning starts from; made once, by one process."""
        if self._teacher is None:
            given = self.recipe.policy.checkpoint
            self.reporter.say(f"cold start: none of {given}; say cold_start.steps for one")
            return self._given
        begins = self.folder.done("cold_start") is None
        if begins:
            self._forget("cold", "grpo", "trained", "greedy")
        self.processes.wait_for_everyone()
        if self.rank == 0 and begins:
            steps = self.recipe.cold_steps
            with self._phase("cold_start", "cold start", steps, "steps") as phase:
                model, tokenizer, losses = make_cold(
                    self.recipe, self._teacher, self._given,
                    lambda step, total, loss: phase.advance(note=f"loss {loss:.3f}"),
                )  # fmt: skip
            model.save_pretrained(self.folder.cold)
            tokenizer.save_pretrained(self.folder.cold)
            self.folder.mark_done("cold_start", {"loss": losses[-1] if losses else None})
        self.processes.wait_for_everyone()
        return self._load(str(self.folder.cold))

    def _load(self, path: str) -> tuple[Any, Any]:
        return load_checkpoint(path, device=self.processes.device, **loading(self.recipe))

    def _evaluate(self, name: str, model: Any, codec: TokenCodec, temperature: float) -> Result:
        """Play the held-out tasks, each process its part; the result covers all of them."""
        if done := self.folder.done(name):
            return Result(**done)
        # What was lost may be had now; the rest of an interrupted evaluation stays.
        self.folder.forget_rows(
            self.folder.episodes,
            lambda row: row["phase"] == name and row["outcome"]["kind"] == "failed",
        )
        size = self.recipe.evaluation.tasks
        policy = self._player(name, model, codec)
        sampling = getattr(policy, "generating", nullcontext)
        with (
            self._phase(
                f"evaluate_{name}", f"evaluate {name}", size // self.world, "episodes"
            ) as phase,
            EpisodeStore(self.folder.episodes) as store,
        ):
            played = store.played(phase=name)
            phase.advance(len(played))

            def keep(trajectory: Trajectory) -> None:
                store.append(trajectory, phase=name)
                phase.advance()

            with sampling():
                own = evaluate(
                    self.heldout, policy, codec, size=size,
                    play=play_settings(self.recipe, temperature),
                    settings=evaluation_engine(self.recipe.rollout), seed=self.recipe.seed,
                    rank=self.rank, world=self.world, on_episode=keep, played=played,
                )  # fmt: skip
        if model is None:
            portal.run(policy.aclose())
        result = summarize(gather_object(own), self.heldout.members)
        self.folder.mark_done(name, dataclasses.asdict(result))
        return result

    def _player(self, name: str, model: Any, codec: TokenCodec) -> Policy:
        """Return who plays an evaluation: the model, or if it is sharded the servers."""
        if model is not None:
            return sampling_from(model, codec, self.recipe)
        # The servers began with the checkpoint; an adapter they do not have yet.
        adapter = self.recipe.policy.lora is not None and name != "cold"
        seconds = request_seconds(self.recipe)
        return _vllm(self.recipe.policy, seconds, ADAPTER if adapter else None)

    def _reinforce(self, model: Any, tokenizer: Any) -> Any:
        """Train; return the trained model, None if it is sharded: the servers have it then."""
        if self.folder.done("grpo"):
            if self.recipe.cluster.sharded:
                raise UsageError(
                    f"run: GRPO of {self.folder.path} has ended; start servers on its policy/ and"
                    " evaluate it with qwq eval"
                )
            return self._load(str(self.folder.policy))[0]
        checkpoint = self.folder.last_checkpoint()
        begin = 0
        if checkpoint is not None:
            begin = checkpoint[1]
            read_progress(self.environment, checkpoint[0])
        self.folder.forget_rows(
            self.folder.episodes, lambda row: row["phase"] == "grpo" and row["step"] >= begin
        )
        self._forget("trained", "greedy")
        if self.rank == 0:
            self.folder.forget_rows(self.folder.metrics, lambda row: row["step"] > begin)
        steps, servers = self.recipe.grpo.steps, self._servers
        if model is not None and self.recipe.policy.lora is None:
            freeze(model, self.recipe.cold_start.frozen_layers)
        with (
            self._phase("grpo", "GRPO", steps, "steps") as phase,
            EpisodeStore(self.folder.episodes) as store,
        ):
            phase.advance(begin)
            rollouts = self._rollouts(model, tokenizer, store)
            trainer = make_trainer(
                model, tokenizer, rollouts, self.recipe, self.folder, world=self.world, phase=phase
            )  # fmt: skip
            trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint[0]))
        if trainer.state.global_step < steps:
            raise InfrastructureError(
                f"GRPO: the trainer ended after {trainer.state.global_step} of {steps} steps"
            )
        self._bring_last(trainer)
        if servers is not None:
            portal.run(servers[0].aclose())
        trained = self._save(trainer, tokenizer)
        self.folder.mark_done("grpo", {"steps": steps})
        return None if self.recipe.cluster.sharded else trained

    def _rollouts(self, model: Any, tokenizer: Any, store: EpisodeStore) -> Rollouts:
        """Return what plays the episodes of training, by the model or by the servers."""
        recipe = self.recipe
        servers = self._servers or sampler_in_process(model, TokenCodec(tokenizer), recipe)
        return Rollouts(
            self.environment,
            tokenizer,
            size=recipe.grpo.steps * recipe.grpo.episodes // recipe.grpo.group,
            seed=recipe.seed,
            context=recipe.grpo.context,
            thinking=recipe.rollout.thinking,
            engine=training_engine(recipe.rollout, batch_seconds(recipe)),
            correction=recipe.grpo.trl.get("vllm_importance_sampling_mode", "token_truncate"),
            policy=None if servers is None else lambda trainer: servers[0],
            weights=None if servers is None else servers[1],
            on_episode=lambda t, step: store.append(t, phase="grpo", step=step),
        )

    def _bring_last(self, trainer: Any) -> None:
        """Let the servers have what the last step made, if they are to be evaluated by."""
        if not self.recipe.cluster.sharded or self._servers is None:
            return
        if self._servers[1] is not None:
            self._servers[1].push(trainer)
        else:
            trainer.vllm_generation.sync_weights()

    def _save(self, trainer: Any, tokenizer: Any) -> Any:
        """Write the trained policy and return it; all processes gather it, the first writes."""
        trained = trainer.accelerator.unwrap_model(trainer.model)
        adapters = self.recipe.policy.lora is not None
        if adapters:
            state = trained_state(trained)
        else:
            state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
        if self.rank != 0:
            return trained
        if adapters:
            save_adapter(trained, state, self.folder.policy)
        else:
            # The masters were for learning; whoever serves it reads what it is computed in.
            state = cast_state(state, computed_in(self.recipe))
            trained.save_pretrained(self.folder.policy, state_dict=state)
        tokenizer.save_pretrained(self.folder.policy)
        write_model_card(self.folder.policy, self.recipe)
        return trained

    def _forget(self, *phases: str) -> None:
        """Take out the episodes of phases that begin anew, with another policy."""
        self.folder.forget_rows(self.folder.episodes, lambda row: row["phase"] in phases)

    @contextmanager
    def _phase(self, name: str, title: str, total: int, unit: str) -> Iterator[Phase]:
        """Show a phase, and count its seconds under `name`."""
        shown = self.reporter.phase(title, total, unit, self.seconds.tick)
        with self.seconds.phase(name), shown:
            yield shown

    def _summary(self, cold: Result, trained: Result, greedy: Result) -> dict[str, Any]:
        members = {
            name: {
                "cold": cold.members.get(name),
                "trained": trained.members.get(name),
                "greedy": greedy.members.get(name),
            }
            for name in self.heldout.members
        }
        return {
            "name": self.recipe.name,
            "seed": self.recipe.seed,
            "accuracy_cold": cold.accuracy,
            "accuracy_trained": trained.accuracy,
            "accuracy_trained_greedy": greedy.accuracy,
            **({"accuracy_by_member": members} if members else {}),
            "tool_call_rate_cold": cold.tool_call_rate,
            "tool_call_rate_trained": trained.tool_call_rate,
            "steps": self.recipe.grpo.steps,
            "seconds": self.seconds.spent,
            "episodes_lost": cold.lost + trained.lost + greedy.lost,
            "processes": self.world,
            "versions": {"python": platform.python_version(), **_versions()},
        }

    def _print(self, codec: TokenCodec, summary: dict[str, Any]) -> None:
        console = self.reporter.console
        rows = _read_phase(self.folder, "trained")
        print_episodes(console, rows, codec, self.recipe.evaluation.samples)
        print_table(console, summary)
        self.reporter.say(
            f"written to {self.folder.path}/: curve.png and metrics.jsonl (the reward by step),"
            " summary.json, episodes.jsonl, policy/"
        )


def training_engine(recipe: RolloutRecipe, seconds: float | None = None) -> EngineSettings:
    """Return the bounds of playing the episodes of one training step, in `seconds` if said."""
    bound = recipe.batch_seconds if seconds is None else seconds
    return EngineSettings(recipe.concurrency, recipe.attempts, bound)


def evaluation_engine(recipe: RolloutRecipe) -> EngineSettings:
    """Return the bounds of an evaluation, which may take as long as it takes."""
    return EngineSettings(recipe.concurrency, recipe.attempts)


def servers_of(
    recipe: PolicyRecipe, *, seconds: float | None = None
) -> tuple[VllmPolicy, WeightSync | None] | None:
    """Return what samples on servers and what brings them the weights, if the recipe has any.

    `seconds` bounds one request. With NCCL the trainer itself brings the weights.
    """
    if recipe.sampler == "transformers":
        return None
    if not recipe.servers:
        raise UsageError("policy.servers: none; expected addresses (qwq launch fills them in)")
    policy = _vllm(recipe, seconds, ADAPTER if recipe.weights == "adapter" else None)
    if recipe.weights == "nccl":
        return policy, None
    assert recipe.served is not None
    kind = AdapterWeightSync if recipe.weights == "adapter" else DiskWeightSync
    return policy, kind(recipe.served, recipe.servers, api_key=os.environ.get("VLLM_API_KEY"))


def _vllm(recipe: PolicyRecipe, seconds: float | None, adapter: str | None) -> VllmPolicy:
    """Return what samples from the servers' model, or from an `adapter` on it."""
    settings = None if seconds is None else HttpSettings(seconds=seconds)
    key = os.environ.get("VLLM_API_KEY")
    return VllmPolicy(recipe.servers, adapter=adapter, settings=settings, api_key=key)


def _versions() -> dict[str, str]:
    return {name: _version(name) for name in _PACKAGES}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _read_phase(folder: RunFolder, phase: str) -> list[Trajectory]:
    found = []
    with folder.episodes.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if row.get("phase") == phase:
                found.append(Trajectory.from_json(row))
    return found
