"""The contract with TRL: what a stock GRPOTrainer is handed, and what it makes of it."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from transformers import TrainerCallback

from qwq_env.dialect.codec import TokenCodec
from qwq_env.env import ToolEnv
from qwq_env.envs.mixture import MixtureEnv
from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.grading.score import Score
from qwq_env.outcome import Outcome
from qwq_env.rollout.audit import AuditError, audit
from qwq_env.rollout.engine import EngineSettings
from qwq_env.rollout.policy import Generation, Policy
from qwq_env.rollout.scripted import ScriptedPolicy
from qwq_env.rubric import Component, Rubric
from qwq_env.task import ListTaskSet, Task
from qwq_env.tool import tool
from qwq_env.training.audited import Room, check_room
from qwq_env.training.episode_metrics import episode_metrics
from qwq_env.training.micro_batches import loss_mask
from qwq_env.training.rollouts import Rollouts
from qwq_env.training.tiny.model import build_tiny_model
from qwq_env.training.trl_data import task_dataset
from qwq_env.training.weights.base import Pushed
from qwq_env.trajectory import PhaseSeconds, Trajectory

from .stock_trainer import stock_trainer, train

CALL = '</think><tool_call>\n{"name": "look", "arguments": {}}\n</tool_call><|im_end|>'


@tool(blocking=False)
def look() -> str:
    """Look."""
    return "a <|im_end|> in the text"


@tool(blocking=False)
def gone() -> str:
    """Fail on our side."""
    raise InfrastructureError("no server")


def environment() -> ToolEnv:
    tasks = ListTaskSet([Task(f"t{i}", f"Task {i}", str(i % 2)) for i in range(16)])
    rubric = Rubric([Component("match", lambda f: float(f.answer == f.task.answer))])
    return ToolEnv(tasks, [look, gone], rubric)


def script(context: str) -> str:
    number = int(context.split("Task ")[1].split("<")[0])
    if "<tool_response>" not in context:
        return CALL if number % 4 else CALL.replace("look", "gone")
    return "</think>1<|im_end|>"


@pytest.fixture
def model(tokenizer):
    return build_tiny_model(tokenizer, hidden=32)


def scripted(tokenizer, answer, env: ToolEnv | None = None, **arguments) -> Rollouts:
    """Rollouts whose policy is a function from the context to the turn."""
    return Rollouts(
        env or environment(),
        tokenizer,
        context=4000,
        policy=lambda trainer: ScriptedPolicy(TokenCodec(tokenizer), answer),
        **arguments,
    )


def test_stock_trainer_learns_from_the_very_ids(model, tokenizer, tmp_path):
    rollouts = Rollouts(environment(), tokenizer, context=2000)
    trainer = train(model, tokenizer, tmp_path, rollouts, max_completion_length=50)

    batch = trainer.batch
    assert len(rollouts.last) == 8
    for row, trajectory in enumerate(rollouts.last):
        size = len(trajectory.completion_ids)
        assert audit(trajectory) == []
        assert batch["completion_ids"][row, :size].tolist() == trajectory.completion_ids
        assert batch["tool_mask"][row, :size].tolist() == trajectory.mask


def test_sampled_logprobs_equal_a_fresh_forward_pass(model, tokenizer, tmp_path):
    rollouts = Rollouts(environment(), tokenizer, context=2000)
    settings = {"temperature": 0.7, "learning_rate": 0.0, "max_completion_length": 50}
    train(model, tokenizer, tmp_path, rollouts, **settings)

    model.eval()
    for trajectory in rollouts.last:
        ids = torch.tensor([trajectory.ids])
        with torch.no_grad():
            logits = model(ids).logits[0, trajectory.prompt_length - 1 : -1] / 0.7
        fresh = torch.log_softmax(logits, -1).gather(1, ids[0, trajectory.prompt_length :, None])
        for ours, theirs, sampled in zip(
            trajectory.logprobs, fresh[:, 0].tolist(), trajectory.mask, strict=True
        ):
            if sampled:
                assert ours == pytest.approx(theirs, abs=1e-4)


def test_tool_turns_are_masked_and_lost_episodes_teach_nothing(model, tokenizer, tmp_path):
    rollouts = scripted(tokenizer, script, engine=EngineSettings(attempts=2))
    trainer = train(model, tokenizer, tmp_path, rollouts, seed=3)

    for row, trajectory in enumerate(rollouts.last):
        lost = int(trajectory.task_id[1:]) % 4 == 0
        size = len(trajectory.completion_ids)
        mask = trainer.batch["tool_mask"][row, :size]
        assert (trajectory.reward is None) == lost
        if lost:
            assert not mask.any()
            assert trainer.batch["advantages"][row] == 0.0
        else:
            assert 0 < mask.sum() < len(mask)
    assert not any(math.isnan(value) for value in trainer.batch["advantages"].tolist())


def test_one_lost_among_the_paid_leaves_their_mean_alone(model, tokenizer, tmp_path):
    """Lost by its grade, so with all that it has written; the others are paid 1, 0 and 1."""
    answers = itertools.cycle(["lost", "1", "0", "1"])
    rubric = Rubric([Component("paid", lambda f: PAY[f.answer])])
    rollouts = scripted(
        tokenizer, lambda context: f"</think>{next(answers)}<|im_end|>",
        env=ToolEnv(environment().tasks, [look], rubric),
    )  # fmt: skip
    batch = train(model, tokenizer, tmp_path, rollouts, scale_rewards="none").batch

    learned = (batch["tool_mask"] * batch["completion_mask"]).sum(1).tolist()
    written = [sum(trajectory.mask) for trajectory in rollouts.last]
    assert [trajectory.reward for trajectory in rollouts.last] == [None, 1.0, 0.0, 1.0] * 2
    assert batch["advantages"].tolist() == pytest.approx([0, 1 / 3, -2 / 3, 1 / 3] * 2)
    assert min(written) > 0
    assert learned == [0, *written[1:4], 0, *written[5:]]


PAY = {"lost": Score.undecided("timeout"), "1": Score.right(), "0": Score.wrong()}


@pytest.fixture
def trainer(model, tokenizer, tmp_path):
    """A stock trainer whose rollouts are called by hand; `rank` says which process it is."""

    def make(rollouts: Rollouts, rank: int = 0):
        made = stock_trainer(model, tokenizer, tmp_path, rollouts)
        made.accelerator = SimpleNamespace(process_index=rank, num_processes=2)
        made.model.train()
        return made

    return make


def prompts(rollouts: Rollouts, count: int = 4) -> list:
    """Return the prompts of one group."""
    return [rollouts.dataset[1]["prompt"]] * count


@pytest.mark.parametrize("part", ["ids", "logprobs", "mask"])
def test_what_was_not_sampled_ends_the_training(tokenizer, trainer, part):
    def spoil(trajectory, step):
        values = getattr(trajectory, part)
        values[-1] = values[-1] - 1

    rollouts = scripted(tokenizer, answer_at_once, on_episode=spoil)

    with pytest.raises(AuditError, match=r"^episode 1-0\.0\.0: "):
        rollouts(prompts(rollouts), trainer(rollouts))


def test_an_episode_that_was_tried_again_is_audited_by_its_last_attempt(tokenizer, trainer):
    failures = iter([True])

    @tool(blocking=False)
    def look() -> str:
        """Fail the first time."""
        if next(failures, False):
            raise InfrastructureError("no server")
        return "seen"

    env = ToolEnv(environment().tasks, [look], environment().settings.rubric)
    rollouts = scripted(tokenizer, answer_at_once, env=env)
    rollouts(prompts(rollouts), trainer(rollouts))

    assert sorted(trajectory.attempts for trajectory in rollouts.last) == [1, 1, 1, 2]
    assert all(trajectory.reward == 1.0 for trajectory in rollouts.last)


def test_no_two_episodes_draw_alike(tokenizer, trainer):
    """Not those of a group, of a step's calls, of two steps, nor of two ranks."""
    drawn = []
    for rank in (0, 1):
        rollouts = scripted(tokenizer, answer_at_once)
        its = trainer(rollouts, rank)
        for step in (0, 0, 1):
            its.state.global_step = step
            rollouts(prompts(rollouts), its)
            drawn += [trajectory.seed for trajectory in rollouts.last]

    assert len(set(drawn)) == len(drawn) == 2 * 3 * 4


def test_several_ranks_draw_what_one_would(tokenizer, trainer):
    drawn = []
    for ranks, count in ((1, 4), (2, 2)):
        seeds = []
        for rank in range(ranks):
            rollouts = scripted(tokenizer, answer_at_once)
            rollouts(prompts(rollouts, count), trainer(rollouts, rank))
            seeds += [trajectory.seed for trajectory in rollouts.last]
        drawn.append(seeds)

    assert drawn[0] == drawn[1]


def test_the_sampler_has_the_weights_of_the_step_before_it_samples(tokenizer, trainer):
    seen = []

    def answer(context: str) -> str:
        seen.append("sampled")
        return "</think>1<|im_end|>"

    def push(trainer) -> Pushed:
        seen.append(trainer.state.global_step)
        return Pushed(trainer.state.global_step, 0.0, 0, ())

    rollouts = scripted(tokenizer, answer, weights=SimpleNamespace(push=push))
    its = trainer(rollouts)
    for step in (0, 0, 1):
        its.state.global_step = step
        rollouts(prompts(rollouts, 1), its)

    assert seen == [0, "sampled", "sampled", 1, "sampled"]
    assert [trajectory.weight_version for trajectory in rollouts.last] == [1]
    assert Trajectory.from_json(rollouts.last[0].to_json()) == rollouts.last[0]


class Connection:
    """TRL's to its server, as far as the weights of the trainer go: what it has sent, and when."""

    def __init__(self, trainer):
        self.trainer, self.steps, self.sent = trainer, [], {}
        trainer.vllm_generation, trainer._last_loaded_step = self, -1
        trainer.use_vllm = trainer.args.use_vllm = True
        trainer.vllm_mode = trainer.args.vllm_mode = "server"

    def sync_weights(self):
        self.steps.append(self.trainer.state.global_step)
        self.sent = {name: weight.detach().clone() for name, weight in self.trained()}

    def trained(self):
        return self.trainer.model.named_parameters()

    def has_all(self) -> bool:
        return all(torch.equal(self.sent[name], weight) for name, weight in self.trained())


def test_an_evaluation_between_steps_has_what_the_last_of_them_made(model, tokenizer, tmp_path):
    answers, seen = itertools.cycle("0110"), []
    rollouts = scripted(tokenizer, lambda context: f"</think>{next(answers)}<|im_end|>")

    class Evaluating(TrainerCallback):
        def on_step_end(self, *arguments, **rest):
            before = server.has_all()
            rollouts.push_weights(trainer)
            seen.append((before, server.has_all()))

    trainer = stock_trainer(model, tokenizer, tmp_path, rollouts, max_steps=3)
    server = Connection(trainer)
    trainer.add_callback(Evaluating())
    trainer.train()

    assert seen == [(False, True)] * 3
    assert server.steps == [0, 1, 2, 3]


@pytest.mark.parametrize("rank", [0, 1])
def test_every_rank_sends_with_the_others_and_waits_for_the_first(tokenizer, trainer, rank):
    rollouts = scripted(tokenizer, answer_at_once)
    its = trainer(rollouts, rank)
    server = Connection(its)
    its.accelerator.wait_for_everyone = lambda: server.steps.append("all are here")
    its.state.global_step, its._last_loaded_step = 20, 19
    rollouts.push_weights(its)
    rollouts(prompts(rollouts, 1), its)

    assert server.steps == [20, "all are here", "all are here"]


def answer_at_once(context: str) -> str:
    return script(context) if "<tool_response>" in context else CALL


def test_metrics_name_what_the_episodes_did(model, tokenizer, tmp_path):
    trainer = train(model, tokenizer, tmp_path, scripted(tokenizer, answer_at_once))

    logs = trainer.state.log_history[0]
    assert logs["episode/turns"] > 0
    assert "episode/tool_call_rate" in logs
    assert "episode/scores/match" in logs


def test_dataset_carries_the_task_and_nothing_of_the_answer(tokenizer):
    rollouts = Rollouts(environment(), tokenizer, size=4)

    assert len(rollouts.dataset) == 4
    assert rollouts.dataset[2]["prompt"] == [{"role": "user", "content": "Task 2", "task_id": "t2"}]


def test_the_dataset_of_a_mixture_shows_what_each_episode_opens_with():
    asks = ToolEnv(ListTaskSet([Task("a", "Ask?", "1")]), [], environment().settings.rubric,
                   system_prompt="Be sure.")  # fmt: skip
    env = MixtureEnv({"plain": environment(), "asks": asks}, system_prompt="Hello.")

    for index, row in enumerate(task_dataset(env, 6)):
        opened = env.begin(env.tasks.task(index)).conversation()
        shown = [{"role": each["role"], "content": each["content"]} for each in row["prompt"]]
        assert shown == opened
    assert "Be sure." in str(task_dataset(env, 6)["prompt"])


def test_foreign_dataset_is_refused(tokenizer):
    class State:
        global_step = 0

    class Trainer:
        state = State()
        accelerator = type("A", (), {"process_index": 0})

    with pytest.raises(UsageError, match="task_id"):
        Rollouts(environment(), tokenizer)([[{"role": "user", "content": "x"}]], Trainer())


@pytest.mark.parametrize("environment_id", ["qwq/MathTol-v0", "nope/Nope-v0", "CartPole-v1"])
def test_environment_that_is_none(tokenizer, environment_id):
    with pytest.raises(UsageError, match="environment"):
        Rollouts(environment_id, tokenizer)


def test_context_without_room_for_an_answer_is_refused(model, tokenizer, tmp_path):
    rollouts = Rollouts(environment(), tokenizer, context=20)
    with pytest.raises(UsageError, match="context: 20 tokens"):
        train(model, tokenizer, tmp_path, rollouts)


def ended(outcome: Outcome, **parts) -> Trajectory:
    nothing = {"ids": [1, 2], "prompt_length": 2, "mask": [], "logprobs": [], "spans": []}
    return Trajectory(
        task_id="t", episode="e", seed=0, outcome=outcome, reward=0.0, **{**nothing, **parts}
    )


def test_scores_are_those_of_every_episode_that_has_any():
    cut = ended(Outcome.cut("tokens"))
    half, whole = (ended(Outcome.answered(), scores={"match": score}) for score in (0.0, 1.0))
    undecided = ended(Outcome.answered(), scores={"match": None, "style": 0.5})
    metrics = episode_metrics([cut, half, whole, undecided])

    assert (metrics["scores/match"], metrics["scores/style"]) == (0.5, 0.5)


@pytest.mark.parametrize("reward", [math.nan, math.inf, "1", True])
def test_a_stored_reward_that_is_no_number_is_a_lost_episode(reward):
    stored = ended(Outcome.answered(), scores={"match": 1.0, "style": 0.5}).to_json()
    read = Trajectory.from_json({**stored, "reward": reward, "scores": {"match": reward, "s": 1}})

    assert (read.reward, read.outcome.kind) == (None, "failed")
    assert read.scores == {"match": None, "s": 1}


def test_metrics_name_every_phase():
    seconds = PhaseSeconds(model=1.0, tools=2.0, grading=3.0, waiting=4.0, user=5.0)
    metrics = episode_metrics([ended(Outcome.answered(), seconds=seconds)])

    phases = [metrics[f"seconds/{phase}"] for phase in PhaseSeconds._fields]
    assert phases == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_a_server_without_room_for_an_answer_is_refused(model, tokenizer, tmp_path):
    """Its context is shorter than every prompt: each turn ends at once, with nothing written."""

    class Full(Policy):
        async def generate(self, request) -> Generation:
            return Generation([], [], "length")

    rollouts = Rollouts(environment(), tokenizer, context=4000, policy=lambda trainer: Full())

    with pytest.raises(UsageError, match=r"^context: .*the shortest prompt has \d+;"):
        train(model, tokenizer, tmp_path, rollouts)


SHORT, OVER_LONG = Task("short", "Say 1.", "1"), Task("over-long", "Say 1. " * 40, "1")


def narrow(tokenizer, *tasks: Task) -> Rollouts:
    """Rollouts in a context with room for `SHORT`; every other answer is right."""
    turns = itertools.count()
    policy = ScriptedPolicy(TokenCodec(tokenizer), lambda _: f"</think>{next(turns) % 2}<|im_end|>")
    env = ToolEnv(ListTaskSet(list(tasks)), [], environment().settings.rubric)
    return Rollouts(env, tokenizer, context=200, policy=lambda trainer: policy)


def test_a_prompt_without_room_teaches_nothing_and_is_not_read(model, tokenizer, tmp_path):
    rollouts = narrow(tokenizer, SHORT, OVER_LONG)
    trainer = train(model, tokenizer, tmp_path, rollouts)

    learned = loss_mask(trainer.batch).any(1).tolist()
    cut = [trajectory for trajectory in rollouts.last if trajectory.task_id == "over-long"]
    assert learned == [trajectory.task_id == "short" for trajectory in rollouts.last]
    assert [(t.outcome.kind, t.outcome.reason, t.turns) for t in cut] == [
        ("truncated", "tokens", 0)
    ] * 4
    assert trainer.batch["prompt_ids"].shape[1] < 200 < cut[0].prompt_length


def test_an_evaluation_without_room_ends_no_training(model, tokenizer, tmp_path):
    rollouts = narrow(tokenizer, SHORT, replace(SHORT, id="other"))
    heldout = rollouts.heldout_dataset(ListTaskSet([OVER_LONG]), 1)
    settings = {"eval_strategy": "steps", "eval_steps": 1, "per_device_eval_batch_size": 4}
    trainer = train(model, tokenizer, tmp_path, rollouts, eval_dataset=heldout, **settings)

    assert trainer.state.global_step == 1
    assert {trajectory.outcome.reason for trajectory in rollouts.last} == {"tokens"}


FULL, FITS, LOST = Room(False, 9), Room(True, 5), Room(False, None)


@pytest.mark.parametrize("rooms", [[FITS], [FULL, FITS], [FITS, LOST], [LOST, LOST]])
def test_a_rank_without_room_ends_nothing_while_another_has_some(rooms):
    check_room(rooms, 8)


@pytest.mark.parametrize("rooms", [[FULL], [LOST, FULL], [FULL, Room(False, 12)]])
def test_no_rank_with_room_ends_the_training(rooms):
    with pytest.raises(UsageError, match=r"^context: 8 tokens.*the shortest prompt has 9;"):
        check_room(rooms, 8)


def test_thinking_that_cannot_be_stripped_is_refused_at_once(tokenizer):
    @tool(blocking=False)
    def search(query: str) -> str:
        """Find."""
        return query

    rubric = Rubric([Component("any", lambda f: 1.0)])
    env = ToolEnv(environment().tasks, [search], rubric, dialect="tags")

    with pytest.raises(UsageError, match=r"^thinking: 'strip' has no meaning in tags"):
        Rollouts(env, tokenizer, thinking="strip")
