"""AsyncGRPO's side of the contract, up to the batch: what needs a GPU begins after the collator."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections import defaultdict

import numpy as np
import pytest
from trl.experimental.async_grpo.async_grpo_trainer import (
    DataCollatorForRollout,
    FixedCountBatcher,
    RolloutQueueDataset,
)

from qwq_env.chat_model import Sampling
from qwq_env.env import ToolEnv
from qwq_env.errors import InfrastructureError, ServersGone, UsageError
from qwq_env.grading.reward import RewardModel
from qwq_env.grading.score import Score
from qwq_env.outcome import Outcome
from qwq_env.rollout.audit import AuditError
from qwq_env.rollout.engine import EngineSettings
from qwq_env.rollout.policy import Policy
from qwq_env.rollout.scripted import ScriptedPolicy
from qwq_env.rubric import Component, Rubric
from qwq_env.task import ListTaskSet, Task
from qwq_env.tool import tool
from qwq_env.training.async_rollouts import AsyncRollouts, group_samples
from qwq_env.training.group_reward import GroupReward
from qwq_env.trajectory import Trajectory

CALL = 'think\n</think>\n\n<tool_call>\n{"name": "look", "arguments": {}}\n</tool_call><|im_end|>'


@tool(blocking=False)
def look() -> str:
    """Look."""
    return "seen"


def environment() -> ToolEnv:
    tasks = ListTaskSet([Task(f"t{i}", f"Task {i}", "1") for i in range(4)])
    rubric = Rubric([Component("match", lambda f: float(f.answer == f.task.answer))])
    return ToolEnv(tasks, [look], rubric)


class Alternating:
    """Answers right in every other episode, after one call."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, context: str) -> str:
        if "<tool_response>" not in context:
            return CALL
        self.count += 1
        return f"so\n</think>\n\n{self.count % 2}<|im_end|>"


@pytest.fixture
def worker(tokenizer, codec):
    made = []

    def make(
        policy: Policy | None = None, env: ToolEnv | None = None, **arguments
    ) -> AsyncRollouts:
        policy = policy or ScriptedPolicy(codec, Alternating())
        worker = AsyncRollouts(env or environment(), tokenizer, policy, group=4, **arguments)
        made.append(worker)
        worker.start()
        return worker

    yield make
    for worker in made:
        worker.stop()


def take(worker: AsyncRollouts, count: int):
    return [worker.rollout_buffer.get(timeout=600) for _ in range(count)]


def test_an_episode_is_one_row_of_the_ids_that_were_sampled(worker, codec):
    samples = take(worker(groups_in_flight=1), 4)

    for sample in samples:
        text = codec.decode(sample.input_ids.tolist())
        sampled = sample.input_ids[sample.completion_mask == 1].tolist()
        assert text.count("<tool_response>\nseen") == 1
        assert codec.decode(sampled).startswith(CALL + "so\n</think>\n\n")
        assert len(sample.completion_mask) == len(sample.old_log_probs) == len(sample.input_ids)
    assert {sample.group_id for sample in samples} == {0}
    assert sorted(sample.advantage for sample in samples) == pytest.approx(
        [-0.8659, -0.8659, 0.8659, 0.8659], abs=1e-4
    )


def test_strip_gives_a_row_a_turn_with_the_advantage_shared(worker):
    samples = take(worker(groups_in_flight=1, thinking="strip"), 8)

    pairs = list(zip(samples[::2], samples[1::2], strict=True))
    assert all(first.advantage == second.advantage for first, second in pairs)


@pytest.mark.parametrize(
    ("filters", "told"),
    [
        ({"top_p": 0.9}, "^top_p: 0.9; "),
        ({"top_k": 5}, "^top_k: 5; "),
        ({"temperature": 0}, "^temp"),
    ],
)
def test_filters_that_the_trainer_knows_nothing_of_are_refused(tokenizer, codec, filters, told):
    with pytest.raises(UsageError, match=told):
        AsyncRollouts(environment(), tokenizer, ScriptedPolicy(codec, Alternating()), **filters)


def test_rows_carry_the_version_that_was_live(worker):
    said = []
    running = worker(
        groups_in_flight=1, buffered=4, on_episode=lambda t, version: said.append(t.weight_version)
    )
    take(running, 4)
    running.update_model_version(7)
    versions = [sample.model_version for sample in take(running, 24)]

    assert versions[-1] == 7
    assert versions == sorted(versions)
    assert (said[0], said[-1]) == (None, 7)


def test_a_group_that_waits_for_places_carries_the_version_it_began_with(worker, codec):
    ended = 0
    known = threading.Event()

    class Trained(ScriptedPolicy):
        async def release(self, episode):
            nonlocal ended
            known.wait()
            ended += 1
            running.update_model_version(ended)

    policy = Trained(codec, Alternating())
    running = worker(policy, groups_in_flight=3, engine=EngineSettings(concurrency=1))
    known.set()
    samples = take(running, 12)

    assert [(s.group_id, s.model_version) for s in samples[::4]] == [(0, 0), (1, 4), (2, 8)]


def test_a_context_without_room_is_named(worker):
    running = worker(context=20)

    assert "the prompt fills the context" in str(fails_with(running, stale_after_s=0.5))


def test_full_buffer_holds_new_groups_back(worker):
    running = worker(groups_in_flight=2, buffered=4)
    time.sleep(0.5)

    assert running.rollout_buffer.qsize() == 4
    running.check_health(stale_after_s=0.1)


def test_lost_episodes_are_not_sent(worker, codec):
    class Flaky(ScriptedPolicy):
        async def generate(self, request):
            if request.episode.endswith("1"):
                raise InfrastructureError("gone")
            return await super().generate(request)

    running = worker(
        Flaky(codec, Alternating()), groups_in_flight=1, engine=EngineSettings(attempts=1)
    )
    metrics = running.metrics_queue.get(timeout=600)

    assert metrics["episode/lost"] == 0.25
    assert [s.group_id for s in take(running, 3)] == [0, 0, 0]


def fails_with(worker: AsyncRollouts, stale_after_s: float = 60) -> Exception:
    """Return what `check_health` raises in the end."""
    for _ in range(400):
        try:
            worker.check_health(stale_after_s)
        except Exception as error:
            return error
        time.sleep(0.05)
    raise AssertionError("it stays healthy")


@pytest.mark.parametrize("thinking", ["keep", "strip"])
def test_rows_that_are_not_what_was_sampled_stop_the_training(worker, thinking):
    def spoil(trajectory, version):
        trajectory.ids[trajectory.prompt_length] += 1

    running = worker(on_episode=spoil, thinking=thinking)
    failure = fails_with(running)

    assert isinstance(failure, AuditError)
    assert "not those that were sampled" in str(failure)
    assert running.rollout_buffer.empty()


def test_servers_that_died_stop_the_training(worker, codec):
    class Gone(ScriptedPolicy):
        async def generate(self, request):
            raise ServersGone("http://a is gone")

    failure = fails_with(worker(Gone(codec, Alternating())))

    assert isinstance(failure, ServersGone)
    assert "http://a is gone" in str(failure)


def test_what_attempts_that_failed_had_sampled_is_not_held_against_the_last(worker, codec):
    class Flaky(ScriptedPolicy):
        async def generate(self, request):
            if "~" not in request.episode and "<tool_response>" in codec.decode(request.ids):
                raise InfrastructureError("gone")
            return await super().generate(request)

    running = worker(Flaky(codec, Alternating()), groups_in_flight=1)
    samples = take(running, 8)

    assert {sample.group_id for sample in samples} == {0, 1}
    running.check_health(stale_after_s=60)


def test_episodes_are_reported_with_the_version_they_were_begun_with(worker):
    seen = []
    running = worker(groups_in_flight=1, on_episode=lambda t, version: seen.append((t, version)))
    take(running, 8)

    assert sorted(t.episode for t, _ in seen[:4]) == ["0.0", "0.1", "0.2", "0.3"]
    assert {version for _, version in seen} == {0}


def test_no_two_episodes_draw_alike(worker):
    seeds = []
    running = worker(groups_in_flight=2, on_episode=lambda t, version: seeds.append(t.seed))
    take(running, 12)

    assert len(set(seeds)) == len(seeds) >= 12


def test_tokens_are_drawn_as_asked(worker, codec):
    asked = set()

    class Watched(ScriptedPolicy):
        async def generate(self, request):
            asked.add(request.sampling)
            return await super().generate(request)

    take(worker(Watched(codec, Alternating()), temperature=0.6), 1)

    assert asked == {Sampling(0.6)}


def test_concurrency_bounds_all_groups_together(worker, codec):
    most = 0
    live = set()

    class Watched(ScriptedPolicy):
        async def generate(self, request):
            nonlocal most
            live.add(request.episode)
            most = max(most, len(live))
            await asyncio.sleep(0.001)
            return await super().generate(request)

        async def release(self, episode):
            live.discard(episode)

    policy = Watched(codec, Alternating())
    take(worker(policy, groups_in_flight=4, engine=EngineSettings(concurrency=3)), 32)

    assert most == 3


def test_waiting_for_a_place_is_counted(worker, codec):
    class Slow(ScriptedPolicy):
        async def generate(self, request):
            await asyncio.sleep(0.01)
            return await super().generate(request)

    seen = []
    running = worker(
        Slow(codec, Alternating()),
        groups_in_flight=1,
        engine=EngineSettings(concurrency=1),
        on_episode=lambda trajectory, version: seen.append(trajectory.seconds.waiting),
    )
    take(running, 4)

    assert seen[0] < seen[1] < seen[2] < seen[3]
    assert seen[3] > 0.03


def test_a_worker_that_loses_all_episodes_is_not_well(worker):
    class Gone(Policy):
        async def generate(self, request):
            raise InfrastructureError("gone")

    running = worker(Gone(), engine=EngineSettings(attempts=1))
    ended = [running.metrics_queue.get(timeout=600) for _ in range(3)]

    assert [metrics["episode/lost"] for metrics in ended] == [1.0] * 3
    assert "gone" in str(fails_with(running, stale_after_s=0.5))


class ByLength(RewardModel):
    """Likes long answers."""

    needs_group = True

    async def score(self, items):
        return [Score.partial(len(item.answer), "length") for item in items]


def test_a_group_reward_compares_the_episodes_of_a_group(worker, codec):
    """All are right, so the rules alone would give no advantage to anyone."""
    answers = itertools.cycle(["1", "1 indeed", "1 and no more", "1 or so"])
    policy = ScriptedPolicy(codec, lambda context: f"</think>{next(answers)}<|im_end|>")
    rubric = Rubric([Component("begins", lambda f: float(f.answer.startswith("1")))])
    running = worker(
        policy,
        env=ToolEnv(environment().tasks, [look], rubric),
        groups_in_flight=1,
        group_reward=GroupReward(ByLength(), 0.5),
    )
    samples = sorted(take(running, 4), key=lambda s: len(s.completion[0]["content"]))

    assert [sample.metrics["reward"] for sample in samples] == pytest.approx(
        [0.5, 1 - 0.5 / 3, 1 + 0.5 / 3, 1.5]
    )
    assert [np.sign(sample.advantage) for sample in samples] == [-1, -1, 1, 1]
    assert [sample.metrics["rewards/group_reward"] for sample in samples][-1] == 1.0


def test_failure_of_a_group_reward_is_reported(worker, codec):
    class Broken(ByLength):
        async def score(self, items):
            raise InfrastructureError("no judge")

    running = worker(
        ScriptedPolicy(codec, lambda context: "</think>1<|im_end|>"),
        group_reward=GroupReward(Broken(), 0.5),
    )
    with pytest.raises(InfrastructureError, match="no judge"):
        for _ in range(200):
            time.sleep(0.05)
            running.check_health(stale_after_s=60)


def test_failure_of_the_thread_is_reported(worker, codec):
    class Broken(Policy):
        async def generate(self, request):
            raise ZeroDivisionError("a bug")

    running = worker(Broken())
    with pytest.raises(InfrastructureError, match="a bug"):
        for _ in range(100):
            time.sleep(0.05)
            running.check_health(stale_after_s=60)


def test_stop_closes_what_is_under_way(worker, codec):
    async def slow(context: str) -> str:
        await asyncio.sleep(60)
        return ""

    running = worker(ScriptedPolicy(codec, slow))
    start = time.perf_counter()
    running.stop()

    assert time.perf_counter() - start < 30


def test_a_policy_is_closed_on_the_loop_that_it_was_used_on(worker, codec):
    loops: list[tuple[str, asyncio.AbstractEventLoop]] = []

    class Connected(ScriptedPolicy):
        async def generate(self, request):
            loops.append(("used", asyncio.get_running_loop()))
            return await super().generate(request)

        async def aclose(self):
            loops.append(("closed", asyncio.get_running_loop()))

    running = worker(Connected(codec, Alternating()))
    for _ in range(2):
        take(running, 1)
        running.stop()
        running.start()
    running.stop()

    closed = [loop for what, loop in loops if what == "closed"]
    assert len(set(closed)) == len(closed) == 3
    assert {loop for what, loop in loops if what == "used"} <= set(closed)


def test_trl_packs_the_rows(worker, tokenizer):
    """Through TRL's own queue, planner and collator, as far as a machine without a GPU goes."""
    running = worker()
    dataset = RolloutQueueDataset(
        running.rollout_buffer, lambda: 0, running.check_health, 60.0, metrics=defaultdict(list)
    )
    planner = FixedCountBatcher(dataset, num_processes=2, microbatch_size=8)
    rows = next(iter(planner))
    batch = DataCollatorForRollout(tokenizer.pad_token_id, num_processes=2)([rows])

    assert batch["input_ids"].shape[0] == 2
    assert float(batch["global_n_tokens"][0]) > 0
    assert set(batch["advantages"].flatten().tolist()) != {0.0}


def test_group_of_one_is_refused(tokenizer, codec):
    with pytest.raises(UsageError, match="group"):
        AsyncRollouts(environment(), tokenizer, ScriptedPolicy(codec, ["x"]), group=1)


def test_rewards_that_hardly_differ_are_as_good_as_equal():
    """With GRPOTrainer's deviation: that of the sample, and never less than 1e-4."""
    outcome = Outcome.answered()
    episodes = [
        Trajectory("t", str(i), 0, [1, 2], 1, [1], [-0.5], [], outcome, 1.0 + i * 1e-7)
        for i in range(4)
    ]

    assert max(abs(s.advantage) for s in group_samples(episodes, 0, 0)) < 0.01
    assert [s.advantage for s in group_samples(episodes[:1], 0, 0)] == [0.0]
