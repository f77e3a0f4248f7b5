"""A whole run, stage by stage: policy, cold start, evaluation, GRPO, evaluation, report.

Each phase that ends leaves its result in the stage's folder, so `--resume` goes on where the last
one stopped; reinforcement learning goes on from the trainer's last checkpoint. A stage that has
ended is sealed and not looked at again. A recipe without stages is one stage. Started with
`accelerate launch`, every process plays its own episodes; the first one writes and speaks.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from itertools import islice
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
from qwq_env.rollout.store import EpisodeStore, place_of, read_episodes
from qwq_env.rubric import candidate_of
from qwq_env.training.checkpoint_seal import seal
from qwq_env.training.cold_policy import (
    Rejection,
    TranscriptSource,
    freeze,
    make_cold,
    play_settings,
    teacher_of,
)
from qwq_env.training.curriculum import read_progress
from qwq_env.training.environments import environments, environments_of
from qwq_env.training.grpo import make_trainer, write_model_card
from qwq_env.training.half_copy import sampler_in_process, sampling_from
from qwq_env.training.limits import WallLimits, check_order
from qwq_env.training.phase_seconds import PhaseSeconds
from qwq_env.training.placement import (
    cast_state,
    check_placement,
    computed_in,
    loading,
    slow_type,
)
from qwq_env.training.progress import Phase, Reporter
from qwq_env.training.recipe import Recipe, RewardModelRecipe, RolloutRecipe
from qwq_env.training.recipe.check import check_template
from qwq_env.training.recipe.parts import narrowed, with_reward_model
from qwq_env.training.recipe.schema import (
    batch_seconds,
    episode_seconds,
    patience,
    request_seconds,
)
from qwq_env.training.report import (
    draw_curve,
    print_episodes,
    print_stages,
    print_table,
    read_metrics,
)
from qwq_env.training.reward_model import Labelled, train_reward_model
from qwq_env.training.rollouts import PolicyFactory, Rollouts
from qwq_env.training.run_folder import RunFolder
from qwq_env.training.served import servers_of, vllm_of
from qwq_env.training.stages.gates import GateClosed, closed
from qwq_env.training.stages.stage import Stage, check_sources, check_together, stages_of
from qwq_env.training.stages.watch import HeldOut
from qwq_env.training.staleness import StaleWeights
from qwq_env.training.summary import Results, step_name, summary_of, summary_of_stage
from qwq_env.training.trackers import check_trackers
from qwq_env.training.weights.adapter import (
    ADAPTER,
    merge_adapter,
    save_adapter,
    trained_state,
)
from qwq_env.training.weights.base import WeightSync, on_first_rank
from qwq_env.trajectory import Trajectory
from qwq_env.versions import check_versions

_PLAYED = ("tool", "environment.seconds", "rollout.batch_seconds", "request", "ddp")


def train(
    recipe: Recipe, root: Path, *, resume: bool = False, only: str | None = None
) -> dict[str, Any]:
    """Run a recipe in `root/<name>`, or `only` one of its stages, and return its summary.

    Raises `UsageError` for a folder that is taken, an environment, tool or checkpoint that is not,
    a source that is not sealed; `GateClosed` where a stage cost more than its gates allow.
    """
    stages = stages_of(recipe, root, only)
    check_sources(stages)
    waiting = [stage for stage in stages if not stage.sealed]
    check_together(waiting)
    processes = PartialState(
        cpu=not torch.cuda.is_available(),
        timeout=timedelta(seconds=max(patience(stage.recipe) for stage in stages)),
    )
    runs = [Run(stage, processes) for stage in waiting]
    folder = RunFolder(root / recipe.name, processes.process_index)
    if runs:
        runs[0].open()
    folder.claim(recipe, resume=resume)
    processes.wait_for_everyone()
    reporter = Reporter(enabled=processes.process_index == 0)
    for told in (*check_versions(), slow_type(recipe)):
        if told is not None:
            reporter.say(told)
    for stage in stages:
        if stage.sealed:
            reporter.say(f"{stage.name}: sealed ({stage.policy}); nothing is left to do")
    while runs:
        runs.pop(0).execute(reporter)  # its model is let go before the next is loaded
    summary = summary_of(recipe, stages_of(recipe, root))
    if recipe.stages and processes.process_index == 0:
        write_whole(folder.summary, json.dumps(summary, indent=1))
        print_stages(reporter.console, summary)
    processes.wait_for_everyone()
    return summary


class Run:
    """A stage in its folder, phase by phase."""

    def __init__(self, stage: Stage, processes: PartialState) -> None:
        """Check what can be checked before anything is loaded or written."""
        recipe = stage.recipe
        self.stage, self.recipe, self.processes = stage, recipe, processes
        self.rank, self.world = processes.process_index, processes.num_processes
        if recipe.grpo.episodes % (self.world * recipe.grpo.group):
            raise UsageError(
                f"grpo.episodes: {recipe.grpo.episodes}; expected a multiple of grpo.group"
                f" ({recipe.grpo.group}) times the number of processes ({self.world})"
            )
        check_placement(recipe, self.world)
        check_trackers(recipe.report_to)
        recipe.grpo.rows(self.world)
        played = WallLimits(episode=episode_seconds(recipe), batch=batch_seconds(recipe))
        check_order(played, _PLAYED)
        self.environment, self.heldout = environments_of(stage.part)
        check_thinking(recipe.rollout.thinking, self.environment.settings.dialect)
        self.folder = RunFolder(stage.folder, self.rank)
        self._opened = False
        self._given: tuple[Any, Any] | None = None
        self._teacher: TranscriptSource | Rejection | None = None

    def open(self) -> None:
        """Load what the stage starts from; what cannot start must leave nothing behind."""
        if self._opened:
            return
        self._opened, recipe = True, self.recipe
        if recipe.cold_steps or recipe.policy.checkpoint == "tiny":
            # Lessons are of all that the recipe is about, whatever part of it this stage trains.
            whole = self.environment
            if self.stage.part.trained != recipe.environment:
                whole = environments(recipe)[0]
            self._teacher = teacher_of(recipe, whole)
        if recipe.policy.checkpoint != "tiny":
            tokenizer = load_tokenizer_of(recipe.policy.checkpoint)
            check_template(recipe, tokenizer, self.environment.settings.dialect)
            # A sharded model is loaded by the trainer, which knows the shards.
            sharded = recipe.cluster.sharded
            self._given = (None, tokenizer) if sharded else self._load(recipe.policy.checkpoint)
        self._servers = servers_of(recipe.policy, seconds=request_seconds(recipe))
        staleness = recipe.rollout.staleness
        self._stale = StaleWeights(staleness) if staleness else None

    def execute(self, reporter: Reporter) -> dict[str, Any]:
        """Run every phase that has not ended yet, report, and seal what is left."""
        self.open()
        self.reporter = reporter
        self.folder.begin(self.recipe)
        self.processes.wait_for_everyone()
        self.seconds = PhaseSeconds(self.folder)
        torch.set_num_threads(self.recipe.threads)
        set_seed(self.recipe.seed)
        if self.stage.part.name:
            reporter.say(f"stage {self.stage.name}")
        model, tokenizer = self._cold_policy()
        codec = TokenCodec(tokenizer)
        cold = self._evaluate("cold", model, codec, temperature=self.recipe.grpo.temperature)
        self._pay_by_reward_model(model, codec)
        model = self._reinforce(model, tokenizer, cold)
        trained = self._evaluate("trained", model, codec, self.recipe.grpo.temperature)
        if (found := closed(self.stage.part.gates, cold, trained)) is not None:
            raise GateClosed(f"stages.{self.stage.name}: after its last step: {found}")
        greedy = self._evaluate("greedy", model, codec, temperature=0.0)
        results = Results(cold, trained, greedy)
        summary = summary_of_stage(
            self.recipe, self.folder, results, self.seconds.spent, self.world
        )
        if self.rank == 0:
            write_whole(self.folder.summary, json.dumps(summary, indent=1))
            draw_curve(read_metrics(self.folder.metrics), summary, self.folder.curve)
            self._print(codec, summary)
            self._seal()
        self.processes.wait_for_everyone()
        return summary

    def _seal(self) -> None:
        """Put beside the policy how it was come by, and say that all of it is there."""
        for path in (self.folder.recipe, self.folder.metrics, self.folder.summary):
            if path.exists():
                shutil.copyfile(path, self.folder.policy / path.name)
        seal(self.folder.policy, digests=True)

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

    def _pay_by_reward_model(self, model: Any, codec: TokenCodec) -> None:
        """Train the reward model that the stage asks for, once, and let it pay its member."""
        wanted = self.stage.part.reward_model
        if wanted is None:
            return
        folder, trained = self.folder.reward_model, self.stage.part.trained
        if self.folder.done("reward_model") is None:
            right, tested = self._labelled(wanted, model, codec)
            if self.rank == 0:
                tiny = self.recipe.policy.checkpoint == "tiny"
                begin = str(self.folder.cold) if tiny else self.recipe.policy.checkpoint
                with self._phase("reward_model", "reward model", wanted.steps, "steps") as phase:
                    report = train_reward_model(
                        wanted.checkpoint or begin, right, folder, heldout=tested,
                        steps=wanted.steps, batch=wanted.batch,
                        learning_rate=wanted.learning_rate, seed=self.recipe.seed,
                        progress=lambda step, total, loss: phase.advance(note=f"loss {loss:.3f}"),
                    )  # fmt: skip
                self.folder.mark_done("reward_model", report._asdict())
                auc = "undefined" if report.auc is None else f"{report.auc:.3f}"
                self.reporter.say(
                    f"reward model: right of {report.tested_on} unseen answers"
                    f" {report.accuracy:.3f} (always the same: {report.base_rate:.3f}), auc {auc}"
                )
            self.processes.wait_for_everyone()
        paid = with_reward_model(trained, wanted.member, str(folder))
        self.environment = environments(self.recipe, paid)[0]

    def _labelled(
        self, wanted: RewardModelRecipe, model: Any, codec: TokenCodec
    ) -> tuple[list[Labelled], list[Labelled]]:
        """Play training tasks of the member; return the answers to learn from and to test on.

        They share no task. Lost episodes are in neither.
        """
        own = narrowed(self.stage.part.trained, {wanted.member: 1})
        env, _ = environments(self.recipe, own)
        group = self.recipe.grpo.group
        size = max(2, wanted.episodes // group)
        policy = self._player("reward_model", model, codec)
        self._forget("reward_model")
        with (
            self._phase("label", "label answers", size * group // self.world, "episodes") as phase,
            EpisodeStore(self.folder.episodes, codec) as store,
            getattr(policy, "generating", nullcontext)(),
        ):

            def keep(trajectory: Trajectory) -> None:
                store.append(trajectory, phase="reward_model")
                phase.advance()

            played = evaluate(
                env, policy, codec, size=size, samples=group,
                play=play_settings(self.recipe),
                settings=evaluation_engine(self.recipe.rollout), seed=self.recipe.seed + 1,
                rank=self.rank, world=self.world, on_episode=keep,
            )  # fmt: skip
        answers = [(t.task_id, t.answer, t.is_right) for t in played if t.reward is not None]
        tasks = {task.id: task for task in islice(env.tasks, size)}
        tested = set(list(tasks)[: max(1, round(size * wanted.heldout))])
        parts: tuple[list[Labelled], list[Labelled]] = [], []
        for task_id, answer, right in gather_object(answers):
            labelled = Labelled(candidate_of(tasks[task_id], answer), right)
            parts[task_id in tested].append(labelled)
        return parts

    def _evaluate(self, name: str, model: Any, codec: TokenCodec, temperature: float) -> Result:
        """Evaluate as a phase of its own, which goes on where it was interrupted."""
        if done := self.folder.done(name):
            return Result(**done)
        # What was lost may be had now; the rest of an interrupted evaluation stays.
        self.folder.forget_rows(
            self.folder.episodes,
            lambda row: row["phase"] == name and row["outcome"]["kind"] == "failed",
        )
        size = self.recipe.evaluation.tasks
        with (
            self._phase(
                f"evaluate_{name}", f"evaluate {name}", size // self.world, "episodes"
            ) as phase,
            EpisodeStore(self.folder.episodes, codec) as store,
        ):
            played = store.played(phase=name)
            phase.advance(len(played))

            def keep(trajectory: Trajectory) -> None:
                whole = self._stores(trajectory, self.recipe.evaluation.samples)
                store.append(trajectory, whole=whole, phase=name)
                phase.advance()

            return self._played(name, model, codec, temperature, keep, played)

    def _played(
        self,
        name: str,
        model: Any,
        codec: TokenCodec,
        temperature: float,
        keep: Callable[[Trajectory], None],
        played: Mapping[str, Trajectory] | None = None,
    ) -> Result:
        """Play the held-out tasks, each process its part; the result covers all of them."""
        policy = self._player(name, model, codec)
        with getattr(policy, "generating", nullcontext)():
            own = evaluate(
                self.heldout, policy, codec, size=self.recipe.evaluation.tasks,
                play=play_settings(self.recipe, temperature),
                settings=evaluation_engine(self.recipe.rollout),
                seed=self.recipe.seed, rank=self.rank, world=self.world, on_episode=keep,
                played=played,
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
        return vllm_of(self.recipe.policy, seconds, ADAPTER if adapter else None)

    def _reinforce(self, model: Any, tokenizer: Any, cold: Result) -> Any:
        """Train; return the trained model, None if it is sharded: the servers have it then."""
        if self.folder.done("grpo"):
            if self.recipe.cluster.sharded:
                self._bring_again()
                return None
            return self._load(str(self.folder.policy))[0]
        checkpoint, begin = self.folder.last_checkpoint() or (None, 0)
        if checkpoint is not None:
            read_progress(self.environment, checkpoint)
            if self._stale is not None:
                self._stale.read(checkpoint)
            self._check_gates(begin, cold)
        self._forget_after(begin)
        steps, servers = self.recipe.grpo.steps, self._servers
        if model is not None and self.recipe.policy.lora is None:
            freeze(model, self.recipe.cold_start.frozen_layers)
        with (
            self._phase("grpo", "GRPO", steps, "steps") as phase,
            EpisodeStore(self.folder.episodes, TokenCodec(tokenizer)) as store,
        ):
            phase.advance(begin)
            rollouts = self._rollouts(model, tokenizer, store)
            trainer = make_trainer(
                model, tokenizer, rollouts, self.recipe, self.folder, world=self.world,
                phase=phase, stale=self._stale,
            )  # fmt: skip
            watch = HeldOut(
                self.recipe.evaluation.every,
                lambda step: self._evaluate_step(step, trainer, rollouts, store),
                lambda result: closed(self.stage.part.gates, cold, result),
            )
            trainer.add_callback(watch)
            trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        if watch.reason is not None:
            raise GateClosed(f"stages.{self.stage.name}: {watch.reason}")
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

    def _forget_after(self, begin: int) -> None:
        """Take out what was written after the step that the training goes on from."""
        anew = {step_name(step) for step in range(begin + 1, self.recipe.grpo.steps)}
        self.folder.forget_rows(
            self.folder.episodes,
            lambda row: row["phase"] in anew or (row["phase"] == "grpo" and row["step"] >= begin),
        )
        self._forget("trained", "greedy")
        if self.rank == 0:
            self.folder.forget_rows(self.folder.metrics, lambda row: row["step"] > begin)

    def _check_gates(self, step: int, cold: Result) -> None:
        """Raise `GateClosed` where a run that goes on stopped at a gate that is still closed."""
        done = self.folder.done(step_name(step))
        found = done and closed(self.stage.part.gates, cold, Result(**done))
        if found:
            raise GateClosed(f"stages.{self.stage.name}: step {step}: {found}")

    def _evaluate_step(
        self, step: int, trainer: Any, rollouts: Rollouts, store: EpisodeStore
    ) -> Result:
        """Evaluate what a step of the training has made; servers get it first."""
        model = None
        if self.recipe.cluster.sharded:
            rollouts.push_weights(trainer)
        else:
            model = trainer.accelerator.unwrap_model(trainer.model)
        name, temperature = step_name(step), self.recipe.grpo.temperature
        return self._played(
            name, model, rollouts.codec, temperature, lambda t: store.append(t, phase=name)
        )

    def _rollouts(self, model: Any, tokenizer: Any, store: EpisodeStore) -> Rollouts:
        """Return what plays the episodes of training, by the model or by the servers."""
        recipe, stale = self.recipe, self._stale
        policy: PolicyFactory | None = None
        weights: WeightSync | None = None
        if stale is not None:
            policy, weights = stale.policy, stale
        elif sampler := self._servers or sampler_in_process(model, TokenCodec(tokenizer), recipe):
            policy, weights = lambda trainer: sampler[0], sampler[1]
        return Rollouts(
            self.environment,
            tokenizer,
            size=recipe.grpo.steps * recipe.grpo.episodes // recipe.grpo.group,
            seed=recipe.seed,
            context=recipe.grpo.context,
            thinking=recipe.rollout.thinking,
            engine=training_engine(recipe.rollout, batch_seconds(recipe)),
            correction=None if recipe.grpo.correction == "none" else recipe.grpo.correction,
            policy=policy,
            weights=weights,
            on_episode=lambda t, step: store.append(
                t, whole=self._stores(t, recipe.grpo.group), phase="grpo", step=step
            ),
            dynamic=recipe.grpo.dynamic,
        )

    def _stores(self, trajectory: Trajectory, first: int) -> bool:
        """Whether text and tokens of an episode are stored; of a sample, those of the `first`."""
        wanted = self.recipe.rollout.store
        return wanted == "all" or (wanted == "sample" and place_of(trajectory.episode) < first)

    def _bring_last(self, trainer: Any) -> None:
        """Let the servers have what the last step made, if they are to be evaluated by."""
        if not self.recipe.cluster.sharded or self._servers is None:
            return
        if self._servers[1] is not None:
            self._servers[1].push(trainer)
        else:
            trainer.vllm_generation.sync_weights()

    def _bring_again(self) -> None:
        """Let the servers, which began with the checkpoint, have what the training ended with."""
        weights = None if self._servers is None else self._servers[1]
        if weights is None:
            raise UsageError(
                f"run: GRPO of {self.folder.path} has ended, and policy.weights='nccl' leaves"
                " servers nothing to read; start some on its policy/ and evaluate it with qwq eval"
            )
        on_first_rank(self.processes, lambda: weights.bring(self.recipe.grpo.steps))

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
        if adapters and self.stage.part.name:
            # Whoever starts from a stage reads whole weights.
            save_adapter(trained, state, self.folder.adapter)
            merge_adapter(
                self.recipe.policy.checkpoint, self.folder.adapter, self.folder.policy,
                computed_in(self.recipe),
            )  # fmt: skip
        elif adapters:
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

    def _print(self, codec: TokenCodec, summary: dict[str, Any]) -> None:
        console = self.reporter.console
        stored = read_episodes(self.folder.episodes, phase="trained")
        print_episodes(console, [t for t in stored if t.ids], codec, self.recipe.evaluation.samples)
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
