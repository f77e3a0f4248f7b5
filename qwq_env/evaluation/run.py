"""Play an evaluation in its folder: what was played stays, and only the rest is played."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from itertools import islice
from typing import Any, NamedTuple

from qwq_env import portal
from qwq_env.chat_model import ChatModel
from qwq_env.env import ToolEnv
from qwq_env.evaluation.benchmarks import about, find_benchmark
from qwq_env.evaluation.benchmarks.data import BenchmarkData
from qwq_env.evaluation.folder import EvaluationFolder
from qwq_env.evaluation.heldout import evaluate
from qwq_env.evaluation.meter import Meter, Prices, odd_replies, stored_usage
from qwq_env.evaluation.player import Place, Player
from qwq_env.evaluation.progress import Progress
from qwq_env.evaluation.request import EvaluationRequest
from qwq_env.evaluation.summary import Reading, Summary, summarize_evaluation
from qwq_env.files.atomic import write_whole
from qwq_env.journal import Journal
from qwq_env.rollout.engine import EngineSettings
from qwq_env.rollout.policy import Policy
from qwq_env.rollout.store import EpisodeStore
from qwq_env.trajectory import Trajectory


class Evaluated(NamedTuple):
    """The numbers of an evaluation, and the episodes they are of."""

    summary: Summary
    trajectories: Sequence[Trajectory]


def run_evaluation(
    request: EvaluationRequest,
    env: ToolEnv,
    player: Player,
    place: Place,
    folder: EvaluationFolder,
    *,
    journal: bool = False,
    data: BenchmarkData | None = None,
    prices: Prices | None = None,
) -> Evaluated:
    """Play what is missing in `folder`, write the summary there, and return what was found.

    Of a benchmark with its `data`, the summary says what was played (`description`). With a
    `journal`, or where one is there, episodes go on in their middle (`qwq_env.journal`). How it
    stands is told on standard error. Raises `ServersGone` when no server is left; what was played
    until then is stored.
    """
    began = time.perf_counter()
    reading = reading_of(request, env, request.tasks_in(env))
    meter = Meter(stored=request.policy == "answers")
    keeps = journal or folder.journal.exists()
    # The store, once open, has cut what a kill has torn: nothing reads the file before.
    with (
        EpisodeStore(folder.episodes, player.codec) as store,
        Journal(folder.journal) if keeps else nullcontext() as kept,
    ):
        before = stored_usage(store.path)
        progress = Progress(
            request.benchmark or request.environment, request.tasks_in(env) * request.samples,
            reading.value, lambda: before + meter.total, prices,
        )  # fmt: skip
        with progress:
            trajectories = _play(request, env, player, place, store, kept, meter, progress, reading)
    used = before + meter.total
    summary = replace(
        summarize_evaluation(trajectories, env.members, reading),
        replies=odd_replies(used),
        usage={name: count for name, count in used.items() if name not in odd_replies(used)},
        cost=None if prices is None else prices.cost(used),
    )
    described = {} if data is None else {"benchmark": description(request, env, data)}
    told = {**described, **asdict(summary), "seconds": round(time.perf_counter() - began, 1)}
    write_whole(folder.summary, json.dumps(told, indent=1) + "\n")
    return Evaluated(summary, trajectories)


def _play(
    request: EvaluationRequest, env: ToolEnv, player: Player, place: Place, store: EpisodeStore,
    journal: Journal | None, meter: Meter, progress: Progress, reading: Reading,
) -> list[Trajectory]:  # fmt: skip
    """Play what is missing, and store each episode with what it used as it ends."""
    policy = (
        meter.policy(player.policy, player.codec)
        if isinstance(player.policy, Policy) and player.codec is not None
        else player.policy
    )
    policy = meter.chat(policy) if isinstance(policy, ChatModel) else policy
    played = store.played()
    for trajectory in played.values():
        progress.count(trajectory, earlier=True)

    def keep(trajectory: Trajectory) -> None:
        group = reading.groups.get(trajectory.task_id)
        of_group: dict[str, Any] = {} if group is None else {"group": group}
        store.append(trajectory, usage=meter.take(trajectory.seed), **of_group)
        progress.count(trajectory)

    generating = player.policy.generating() if isinstance(player.policy, Policy) else nullcontext()
    try:
        with generating:
            return evaluate(
                env, policy, player.codec, size=request.tasks_in(env), samples=request.samples,
                play=request.play_settings(), settings=EngineSettings(place.concurrency),
                seed=request.seed, on_episode=keep, played=played, journal=journal,
            )  # fmt: skip
    finally:
        portal.run(player.policy.aclose())


def reading_of(request: EvaluationRequest, env: ToolEnv, size: int) -> Reading:
    """Return what the benchmark of a request looks at; nothing more without one."""
    if request.benchmark is None:
        return Reading()
    benchmark = find_benchmark(request.benchmark)
    group = benchmark.group
    groups = {} if group is None else {t.id: group(t) for t in islice(env.tasks, size)}
    beside = [part.name for part in benchmark.measures]
    return Reading(benchmark.vote, groups, beside, benchmark.partial, benchmark.balanced)


def description(request: EvaluationRequest, env: ToolEnv, data: BenchmarkData) -> dict[str, Any]:
    """Return what a report says of a benchmark that was played: the protocol, in which settings it
    was departed from, and the data."""
    assert request.benchmark is not None and request.preset is not None
    benchmark = find_benchmark(request.benchmark)
    protocol = benchmark.protocol(request.preset)
    asked: Mapping[str, Any] = {
        "samples": (protocol.samples, request.samples),
        "temperature": (protocol.sampling.temperature, request.temperature),
        "top_p": (protocol.sampling.top_p, request.top_p),
        "top_k": (protocol.sampling.top_k, request.top_k),
        "completion": (protocol.tokens, request.completion),
        "tools": ([], list(request.tools or ())),
        "thinking_tokens": (None, request.thinking_tokens),
        "forced_answer": (None, request.forced_answer),
        "extra": (None, request.extra),
        "arguments": (None, request.arguments),
        "tasks": (env.tasks.size, request.tasks_in(env)),
    }
    # How stored answers were sampled is not known here.
    known = ("samples", "arguments", "tasks") if request.policy == "answers" else tuple(asked)
    return {
        **about(benchmark, request.preset),
        "other_than_preset": {
            name: asked[name][1] for name in known if len({*map(str, asked[name])}) > 1
        },
        "data": data.where,
        "sha256": data.sha256,
        "tasks": env.tasks.size,
        "published_tasks": benchmark.size,
        "left_out": data.left_out,
        "home": benchmark.home,
    }
