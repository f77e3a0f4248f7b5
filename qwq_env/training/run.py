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
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import gather_object, set_seed

from qwq_env import portal
from qwq_env.chat_model import Sampling
from qwq_env.dialect.codec import TokenCodec
from qwq_env.env import ToolEnv
from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.evaluation.heldout import Result, evaluate, summarize
from qwq_env.files.atomic import write_whole
from qwq_env.rollout.checkpoint import load_checkpoint
from qwq_env.rollout.engine import EngineSettings
from qwq_env.rollout.play import PlaySettings, check_thinking
from qwq_env.rollout.store import EpisodeStore
from qwq_env.rollout.transformers_policy import TransformersPolicy
from qwq_env.rollout.vllm_policy import VllmPolicy
from qwq_env.training.cold_start import cold_start
from qwq_env.training.curriculum import read_progress
from qwq_env.training.demonstrations import Demonstrations
from qwq_env.training.environments import environments
from qwq_env.training.grpo import make_trainer, patience, write_model_card
from qwq_env.training.phase_seconds import PhaseSeconds
from qwq_env.training.progress import Phase, Reporter
from qwq_env.training.recipe import PolicyRecipe, Recipe, RolloutRecipe
from qwq_env.training.report import draw_curve, print_episodes, print_table, read_metrics
from qwq_env.training.rollouts import Rollouts
from qwq_env.training.run_folder import RunFolder
from qwq_env.training.tiny.policy import build_tiny_policy, tiny_teacher
from qwq_env.training.tiny.teacher import Teacher
from qwq_env.training.weights.base import WeightSync
from qwq_env.training.weights.disk import DiskWeightSync
from qwq_env.trajectory import Trajectory
from qwq_env.versions import check_versions

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
        self.recipe = recipe
        self.environment, self.heldout = environments(recipe)
        check_thinking(recipe.rollout.thinking, self.environment.settings.dialect)
        # Before the folder is made: what cannot start must leave nothing behind.
        self._given = self._teacher = None
        if recipe.policy.checkpoint == "tiny":
            self._teacher = teacher_of(recipe, self.environment)
        else:
            self._given = load_checkpoint(recipe.policy.checkpoint)
        self._servers = servers_of(recipe.policy)
        self.folder = RunFolder(root / recipe.name, self.rank)
        self.folder.claim(recipe, resume=resume)
        self.processes.wait_for_everyone()
        self.reporter = Reporter(enabled=self.rank == 0)
        for newer in check_versions():
            self.reporter.say(newer)
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
            self.reporter.say(f"cold start: left out, for policy.checkpoint is given ({given})")
            return self._given
        begins = self.folder.done("cold_start") is None
        if begins:
            self._forget("cold", "grpo", "trained", "greedy")
        self.processes.wait_for_everyone()
        if self.rank == 0 and begins:
            wanted, seed = self.recipe.cold_start, self.recipe.seed
            lessons = self._teacher.transcripts(wanted.transcripts)
            model, tokenizer = build_tiny_policy(lessons, self.recipe.policy, seed=seed)
            with self._phase("cold_start", "cold start", wanted.steps, "steps") as phase:
                losses = cold_start(
                    model,
                    TokenCodec(tokenizer),
                    lessons,
                    steps=wanted.steps,
                    batch=wanted.batch,
                    seed=seed,
                    progress=lambda step, total, loss: phase.advance(note=f"loss {loss:.3f}"),
                )
            model.save_pretrained(self.folder.cold)
            tokenizer.save_pretrained(self.folder.cold)
            self.folder.mark_done("cold_start", {"loss": losses[-1] if losses else None})
        self.processes.wait_for_everyone()
        return load_checkpoint(str(self.folder.cold))

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
        policy = TransformersPolicy(model, codec)
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

            with policy.generating():
                own = evaluate(
                    self.heldout, policy, codec, size=size, play=self._play(temperature),
                    settings=evaluation_engine(self.recipe.rollout), seed=self.recipe.seed,
                    rank=self.rank, world=self.world, on_episode=keep, played=played,
                )  # fmt: skip
        result = summarize(gather_object(own), self.heldout.members)
        self.folder.mark_done(name, dataclasses.asdict(result))
        return result

    def _reinforce(self, model: Any, tokenizer: Any) -> Any:
        """Train; return the trained model."""
        if self.folder.done("grpo"):
            return load_checkpoint(str(self.folder.policy))[0]
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
        with (
            self._phase("grpo", "GRPO", steps, "steps") as phase,
            EpisodeStore(self.folder.episodes) as store,
        ):
            phase.advance(begin)
            rollouts = Rollouts(
                self.environment,
                tokenizer,
                size=steps * self.recipe.grpo.episodes // self.recipe.grpo.group,
                seed=self.recipe.seed,
                context=self.recipe.grpo.context,
                thinking=self.recipe.rollout.thinking,
                engine=training_engine(self.recipe.rollout),
                policy=None if servers is None else lambda trainer: servers[0],
                weights=None if servers is None else servers[1],
                on_episode=lambda t, step: store.append(t, phase="grpo", step=step),
            )
            trainer = make_trainer(
                model, tokenizer, rollouts, self.recipe, self.folder, world=self.world, phase=phase
            )  # fmt: skip
            trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint[0]))
        if servers is not None:
            portal.run(servers[0].aclose())
        if trainer.state.global_step < steps:
            raise InfrastructureError(
                f"GRPO: the trainer ended after {trainer.state.global_step} of {steps} steps"
            )
        trained = trainer.accelerator.unwrap_model(trainer.model)
        if self.rank == 0:
            trained.save_pretrained(self.folder.policy)
            tokenizer.save_pretrained(self.folder.policy)
            write_model_card(self.folder.policy, self.recipe)
        self.folder.mark_done("grpo", {"steps": steps})
        return trained

    def _play(self, temperature: float) -> PlaySettings:
        wanted = self.recipe.grpo
        return PlaySettings(
            sampling=Sampling(temperature),
            context=wanted.context,
            completion=wanted.max_completion_tokens,
            turn_tokens=wanted.max_completion_tokens,
            thinking=self.recipe.rollout.thinking,
        )

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
        self.reporter.say(f"written to {self.folder.path}/")


def teacher_of(recipe: Recipe, env: ToolEnv) -> Teacher | Demonstrations:
    """Return what writes the transcripts of the cold start."""
    if recipe.cold_start.source == "solve":
        return Demonstrations(env, right=recipe.cold_start.right, seed=recipe.seed)
    level = recipe.environment.difficulty or 1
    return tiny_teacher(env, difficulty=level, seed=recipe.seed)


def training_engine(recipe: RolloutRecipe) -> EngineSettings:
    """Return the bounds of playing the episodes of one training step."""
    return EngineSettings(recipe.concurrency, recipe.attempts, recipe.batch_seconds)


def evaluation_engine(recipe: RolloutRecipe) -> EngineSettings:
    """Return the bounds of an evaluation, which may take as long as it takes."""
    return EngineSettings(recipe.concurrency, recipe.attempts)


def servers_of(recipe: PolicyRecipe) -> tuple[VllmPolicy, WeightSync] | None:
    """Return what samples on servers and what brings them the weights, if the recipe has any."""
    if recipe.sampler == "transformers":
        return None
    assert recipe.served is not None
    api_key = os.environ.get("VLLM_API_KEY")
    policy = VllmPolicy(recipe.servers, api_key=api_key)
    return policy, DiskWeightSync(recipe.served, recipe.servers, api_key=api_key)


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
