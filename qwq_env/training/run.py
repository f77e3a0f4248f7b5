"""A whole run, stage by stage: policy, cold start, evaluation, GRPO, evaluation, report.

Each phase that ends leaves its result in the stage's folder, so `--resume` goes on where the last
one stopped; reinforcement learning goes on from the trainer's last checkpoint. A stage that has
ended is sealed and not looked at again. A recipe without stages is one stage. Started with
`accelerate launch`, every process plays its own episodes; the first one writes and speaks.

From `qwq train` to the first step of GRPO: `train` → `Run.execute` → `Reinforcement.run` →
`make_trainer` → TRL's `train`, which asks `Rollouts` for the episodes of each step.
"""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import set_seed

from qwq_env.dialect.codec import TokenCodec
from qwq_env.errors import UsageError
from qwq_env.files.atomic import write_whole
from qwq_env.rollout.checkpoint import load_tokenizer_of
from qwq_env.rollout.store import read_episodes
from qwq_env.training.checkpoint_seal import seal
from qwq_env.training.cold_policy import make_cold
from qwq_env.training.disk_errors import disk_errors
from qwq_env.training.model_card import write_model_card
from qwq_env.training.placement import check_placement, slow_type
from qwq_env.training.progress import Reporter
from qwq_env.training.recipe import Recipe
from qwq_env.training.recipe.check import check_part, check_template
from qwq_env.training.report import (
    draw_curve,
    print_episodes,
    print_stages,
    print_table,
    read_metrics,
)
from qwq_env.training.run_folder import RunFolder
from qwq_env.training.stages.context import StageContext
from qwq_env.training.stages.evaluations import Evaluations
from qwq_env.training.stages.gates import GateClosed, closed
from qwq_env.training.stages.reinforcement import Reinforcement
from qwq_env.training.stages.reward_phase import paid_by_model
from qwq_env.training.stages.stage import check_sources, check_together, stages_of
from qwq_env.training.summary import Results, summary_of, summary_of_stage
from qwq_env.training.teachers import shows_no_call
from qwq_env.training.trackers import check_trackers
from qwq_env.versions import check_versions


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
        timeout=timedelta(seconds=max(stage.recipe.limits.patience for stage in stages)),
    )
    reporter = Reporter(enabled=processes.process_index == 0)
    folder = RunFolder(root / recipe.name, processes.process_index)
    folder.check(recipe, resume=resume)
    runs = [Run(StageContext(stage, processes, reporter)) for stage in waiting]
    if runs:
        runs[0].open()
    folder.claim(recipe, resume=resume)
    processes.wait_for_everyone()
    for told in (*check_versions(), slow_type(recipe)):
        if told is not None:
            reporter.say(told)
    for stage in stages:
        if stage.sealed:
            reporter.say(f"{stage.name}: sealed ({stage.policy}); nothing is left to do")
    while runs:
        with disk_errors():
            runs.pop(0).execute()  # its model is let go before the next is loaded
    summary = summary_of(recipe, stages_of(recipe, root))
    if recipe.stages and processes.process_index == 0:
        write_whole(folder.summary, json.dumps(summary, indent=1))
        print_stages(reporter.console, summary)
    processes.wait_for_everyone()
    return summary


class Run:
    """A stage in its folder, phase by phase."""

    def __init__(self, context: StageContext) -> None:
        """Check what can be checked before anything is loaded or written."""
        self._context, self._recipe = context, context.recipe
        checked = check_part(context.stage.part, self._recipe)
        self._environment, self._teacher = checked.train, checked.teacher
        _check_processes(context)
        self._evaluations = Evaluations(context, checked.heldout)
        self._reinforcement = Reinforcement(context, self._evaluations)
        self._opened = False
        self._given: tuple[Any, Any] | None = None

    def open(self) -> None:
        """Load what the stage starts from; what cannot start must leave nothing behind."""
        if self._opened:
            return
        recipe = self._recipe
        if recipe.policy.checkpoint != "tiny":
            tokenizer = load_tokenizer_of(recipe.policy.checkpoint)
            check_template(recipe, tokenizer, self._environment.settings.dialect)
            # A sharded model is loaded by the trainer, which knows the shards.
            sharded = recipe.cluster.sharded
            load = self._context.load
            self._given = (None, tokenizer) if sharded else load(recipe.policy.checkpoint)
        self._opened = True

    def execute(self) -> None:
        """Run every phase that has not ended yet, report, and seal what is left."""
        self.open()
        context, recipe, part = self._context, self._recipe, self._context.stage.part
        context.folder.begin(recipe)
        context.processes.wait_for_everyone()
        torch.set_num_threads(recipe.threads)
        # It makes a plan for each new length of a micro-batch, which takes longer than a layer.
        torch.backends.cuda.enable_cudnn_sdp(False)
        set_seed(recipe.seed)
        if part.name:
            context.reporter.say(f"stage {part.name}")
        model, tokenizer = self._cold_policy()
        codec, env, evaluate = TokenCodec(tokenizer), self._environment, self._evaluations.whole
        cold = evaluate("cold", model, codec, temperature=recipe.grpo.temperature)
        if part.reward_model is not None:
            env = paid_by_model(context, part.reward_model, model, codec)
        model = self._reinforcement.run(env, model, tokenizer, cold)
        trained = evaluate("trained", model, codec, temperature=recipe.grpo.temperature)
        if (found := closed(part.gates, cold, trained)) is not None:
            raise GateClosed(f"stages.{context.stage.name}: after its last step: {found}")
        greedy = evaluate("greedy", model, codec, temperature=0.0)
        if context.rank == 0:
            self._report(codec, Results(cold, trained, greedy))
        context.processes.wait_for_everyone()

    def _cold_policy(self) -> Any:
        """Return the policy that reinforcement learning starts from; made once, by one process."""
        context, folder = self._context, self._context.folder
        if self._teacher is None:
            if not context.stage.part.name:
                given = self._recipe.policy.checkpoint
                context.reporter.say(f"cold start: none of {given}; say cold_start.steps for one")
            return self._given
        begins = folder.done("cold_start") is None
        if begins:
            context.forget("cold", "grpo", "trained", "greedy")
        context.processes.wait_for_everyone()
        if context.rank == 0 and begins:
            if (note := shows_no_call(self._recipe, self._teacher)) is not None:
                context.reporter.say(note)
            steps = self._recipe.cold_steps
            with context.phase("cold_start", "cold start", steps, "steps") as phase:
                model, tokenizer, losses = make_cold(
                    self._recipe, self._teacher, self._given,
                    lambda step, total, loss: phase.advance(note=f"loss {loss:.3f}"),
                )  # fmt: skip
            model.save_pretrained(folder.cold)
            tokenizer.save_pretrained(folder.cold)
            folder.mark_done("cold_start", {"loss": losses[-1] if losses else None})
        context.processes.wait_for_everyone()
        return context.load(context.start)

    def _report(self, codec: TokenCodec, results: Results) -> None:
        """Write and print what the stage came to, and seal its policy."""
        context, folder = self._context, self._context.folder
        summary = summary_of_stage(
            self._recipe, folder, results, context.seconds.spent, context.world
        )
        write_whole(folder.summary, json.dumps(summary, indent=1))
        draw_curve(read_metrics(folder.metrics), summary, folder.curve)
        console, shown = context.reporter.console, self._recipe.evaluation.samples
        stored = read_episodes(folder.episodes, phase="trained")
        print_episodes(console, [t for t in stored if t.ids], codec, shown)
        print_table(console, summary)
        context.reporter.say(
            f"written to {folder.path}/: curve.png and metrics.jsonl (the reward by step),"
            " summary.json, episodes.jsonl, policy/"
        )
        for place in (folder.path, folder.policy):
            write_model_card(place, folder, self._recipe)
        _seal(folder)


def _check_processes(context: StageContext) -> None:
    """Raise `UsageError` for a recipe that these processes cannot run."""
    recipe, world = context.recipe, context.world
    if recipe.grpo.episodes % (world * recipe.grpo.group):
        raise UsageError(
            f"grpo.episodes: {recipe.grpo.episodes}; expected a multiple of grpo.group"
            f" ({recipe.grpo.group}) times the number of processes ({world})"
        )
    check_placement(recipe, world)
    check_trackers(recipe.report_to)
    recipe.grpo.rows(world)


def _seal(folder: RunFolder) -> None:
    """Put beside the policy how it was come by, and say that all of it is there."""
    for path in (folder.recipe, folder.metrics, folder.summary):
        if path.exists():
            shutil.copyfile(path, folder.policy / path.name)
    seal(folder.policy, digests=True)
