"""The evaluations of a stage on its held-out tasks: before, while and after it trains."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from accelerate.utils import gather_object

from qwq_env import portal
from qwq_env.dialect.codec import TokenCodec
from qwq_env.env import ToolEnv
from qwq_env.evaluation.heldout import Result, evaluate, summarize
from qwq_env.rollout.policy import Policy
from qwq_env.rollout.store import EpisodeStore
from qwq_env.short_rows import head_in_full
from qwq_env.training.copied_weights import sampling_from
from qwq_env.training.playing import evaluation_engine, play_settings
from qwq_env.training.recipe import Recipe
from qwq_env.training.served import vllm_of
from qwq_env.training.stages.context import StageContext
from qwq_env.training.summary import step_name
from qwq_env.training.weights.adapter import ADAPTER
from qwq_env.trajectory import Trajectory


class Evaluations:
    """Plays the held-out tasks, each process its part; a result covers all of them."""

    def __init__(self, context: StageContext, heldout: ToolEnv) -> None:
        self._context, self._heldout = context, heldout

    def whole(self, name: str, model: Any, codec: TokenCodec, temperature: float) -> Result:
        """Evaluate as a phase of its own, which goes on where it was interrupted."""
        context, folder = self._context, self._context.folder
        if (done := folder.result(name)) is not None:
            return done
        # What was lost may be had now; the rest of an interrupted evaluation stays.
        folder.forget_rows(
            folder.episodes,
            lambda row: row["phase"] == name and head_in_full(row)["outcome"]["kind"] == "failed",
        )
        wanted = context.recipe.evaluation
        own = wanted.tasks // context.world
        with (
            context.phase(f"evaluate_{name}", f"evaluate {name}", own, "episodes") as phase,
            EpisodeStore(folder.episodes, codec) as store,
        ):
            played = store.played(phase=name)
            phase.advance(len(played))

            def keep(trajectory: Trajectory) -> None:
                whole = context.stores(trajectory.episode, wanted.samples)
                store.append(trajectory, whole=whole, phase=name)
                phase.advance()

            return self._play(name, model, codec, temperature, keep, played)

    def after_step(self, step: int, model: Any, codec: TokenCodec, store: EpisodeStore) -> Result:
        """Evaluate what a step of the training has made; servers have it already."""
        name, temperature = step_name(step), self._context.recipe.grpo.temperature
        return self._play(
            name, model, codec, temperature, lambda t: store.append(t, phase=name), {}
        )

    def _play(
        self,
        name: str,
        model: Any,
        codec: TokenCodec,
        temperature: float,
        keep: Callable[[Trajectory], None],
        played: Mapping[str, Trajectory],
    ) -> Result:
        context, recipe = self._context, self._context.recipe
        with sampler(model, codec, recipe, trained=name != "cold") as policy:
            own = evaluate(
                self._heldout, policy, codec, size=recipe.evaluation.tasks,
                play=play_settings(recipe, temperature), settings=evaluation_engine(recipe),
                seed=recipe.seed, rank=context.rank, world=context.world, on_episode=keep,
                played=played,
            )  # fmt: skip
        result = summarize(gather_object(own), self._heldout.members)
        context.folder.mark_done(name, dataclasses.asdict(result))
        return result


@contextmanager
def sampler(model: Any, codec: TokenCodec, recipe: Recipe, *, trained: bool) -> Iterator[Policy]:
    """Give what plays outside of training: the model, or if it is sharded (None) the servers.

    The servers began with the checkpoint; an adapter they have once it is `trained`.
    """
    if model is not None:
        policy = sampling_from(model, codec, recipe)
        with policy.generating():
            yield policy
        return
    adapter = ADAPTER if trained and recipe.policy.lora is not None else None
    served = vllm_of(recipe, adapter)
    try:
        yield served
    finally:
        portal.run(served.aclose())
