"""What `Rollouts` looks at before anything is played, and an evaluation while it trains."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from qwq_env.dialect.codec import TokenCodec
from qwq_env.env import ToolEnv
from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.outcome import EpisodeLimits, Outcome
from qwq_env.rollout.engine import EngineSettings
from qwq_env.rollout.scripted import ScriptedPolicy
from qwq_env.rollout.vllm_policy import HttpSettings, VllmPolicy
from qwq_env.task import ListTaskSet, Task
from qwq_env.training.episode_metrics import episode_sums, means
from qwq_env.training.grpo import StepLog
from qwq_env.training.rollouts import Rollouts
from qwq_env.training.run_folder import RunFolder
from qwq_env.training.sampler import own_sampler
from qwq_env.training.tiny.model import build_tiny_model

from .stock_trainer import stock_trainer, train
from .test_rollouts import answer_at_once, ended, environment, look, scripted

HELDOUT = ListTaskSet([Task(f"h{i}", f"Task {i}", str(i % 2)) for i in range(8)])


@pytest.fixture
def model(tokenizer):
    return build_tiny_model(tokenizer, hidden=16, layers=1, heads=2)


def test_tasks_held_out_are_evaluated_while_it_trains(model, tokenizer, tmp_path):
    """What the training draws is the same with and without it, and each evaluation draws alike."""

    def run(evaluated: bool):
        episodes, evaluations = [], []
        rollouts = scripted(
            tokenizer, answer_at_once,
            on_episode=lambda t, step: episodes.append((step, t.episode, t.seed)),
            on_evaluation=lambda t, step: evaluations.append((step, t.task_id, t.seed)),
        )  # fmt: skip
        settings = {"eval_strategy": "steps", "eval_steps": 1} if evaluated else {}
        trainer = train(
            model, tokenizer, tmp_path, rollouts, max_steps=2, per_device_eval_batch_size=4,
            eval_dataset=rollouts.heldout_dataset(HELDOUT, 2) if evaluated else None, **settings,
        )  # fmt: skip
        return sorted(episodes), evaluations, trainer.state.log_history

    with_it, evaluations, logs = run(True)
    assert {(step, name.partition("-")[0]) for step, name, _ in with_it} == {(1, "1"), (2, "2")}
    without, none, _ = run(False)

    assert with_it == without
    assert none == []
    assert {task for _, task, _ in evaluations} == {"h0", "h1"}
    first, second = ({seed for step, _, seed in evaluations if step == at} for at in (1, 2))
    assert first == second and len(first) == 8
    assert first.isdisjoint(seed for *_, seed in with_it)
    assert [row["eval_reward"] for row in logs if "eval_reward" in row] == [0.5, 0.5]


def test_an_evaluation_on_tasks_unknown_is_refused_before_the_first_step(
    model, tokenizer, tmp_path
):
    rollouts = scripted(tokenizer, answer_at_once)
    other = Rollouts(ToolEnv(HELDOUT, [], environment().settings.rubric), tokenizer)
    with pytest.raises(UsageError, match=r"^dataset: no task 'h0' .*heldout_dataset"):
        train(model, tokenizer, tmp_path, rollouts, eval_dataset=other.dataset)
    assert rollouts.last == []


def test_a_task_that_is_trained_on_is_not_held_out(tokenizer):
    rollouts = Rollouts(environment(), tokenizer)
    with pytest.raises(UsageError, match=r"^heldout tasks: 't0' is trained on"):
        rollouts.heldout_dataset(environment().tasks, 1)


@pytest.fixture
def begin(model, tokenizer, tmp_path):
    """Call rollouts by hand once, on a trainer with changed arguments."""

    def call(rollouts: Rollouts, *, ranks: int = 1, **arguments):
        trainer = stock_trainer(model, tokenizer, tmp_path, rollouts)
        for name, value in arguments.items():
            setattr(trainer.args, name, value)
        trainer.accelerator = SimpleNamespace(process_index=0, num_processes=ranks)
        trainer.model.train()
        return rollouts([rollouts.dataset[1]["prompt"]], trainer)

    return call


def test_an_engine_in_the_same_process_is_refused(tokenizer, begin):
    rollouts = scripted(tokenizer, answer_at_once)
    with pytest.raises(UsageError, match=r"^vllm_mode: 'colocate'; expected 'server'"):
        begin(rollouts, use_vllm=True, vllm_mode="colocate")


@pytest.mark.parametrize(
    ("url", "sampled"), [("http://a:1/", "http://a:1"), (None, "http://h:8000")]
)
def test_the_server_of_the_trainer_samples_where_no_policy_is_named(url, sampled):
    arguments = SimpleNamespace(
        use_vllm=True, vllm_server_base_url=url, vllm_server_host="h", vllm_server_port=8000
    )
    policy = own_sampler(SimpleNamespace(args=arguments))

    assert policy.urls == (sampled,)
    assert policy.elsewhere


@pytest.mark.parametrize(
    ("limits", "engine", "ranks", "told"),
    [
        (None, EngineSettings(batch_seconds=100.0), 1, "batch_seconds: 100 .* HttpSettings"),
        (EpisodeLimits(seconds=90.0), EngineSettings(), 1, "EpisodeLimits.seconds: 90 .* HttpSett"),
        (None, EngineSettings(batch_seconds=1800.0), 2, "batch_seconds: 1800 .* HttpSettings"),
    ],
)
def test_limits_out_of_order_are_refused(tokenizer, begin, limits, engine, ranks, told):
    env = environment()
    env = ToolEnv(env.tasks, [], env.settings.rubric, limits=limits)
    policy = VllmPolicy("http://127.0.0.1:9", settings=HttpSettings(seconds=80.0))
    rollouts = Rollouts(env, tokenizer, policy=lambda trainer: policy, engine=engine)
    with pytest.raises(UsageError, match=told):
        begin(rollouts, ranks=ranks)


def test_a_turn_on_a_server_may_take_as_long_as_its_batch():
    assert VllmPolicy("http://a").request_seconds is None


class Narrow(ScriptedPolicy):
    """Takes less than is asked for; the first time that it is asked, it is not there."""

    asked = 0

    async def context(self) -> int:
        self.asked += 1
        if self.asked == 1:
            raise InfrastructureError("not there yet")
        return 3000


def test_a_server_that_takes_less_than_the_context_is_told_of(tokenizer, begin, caplog):
    policy = Narrow(TokenCodec(tokenizer), answer_at_once)
    rollouts = Rollouts(environment(), tokenizer, policy=lambda trainer: policy, context=10_000)
    for _ in range(3):
        begin(rollouts)

    told = [text for record in caplog.records if "context:" in (text := record.getMessage())]
    assert told == ["context: 10000 tokens; the policy takes 3000 at most, which holds"]
    assert policy.asked == 2


def test_a_policy_is_told_its_rank(tokenizer, begin):
    class Told(ScriptedPolicy):
        def place(self, rank: int, ranks: int) -> None:
            self.placed = rank, ranks

    policy = Told(TokenCodec(tokenizer), answer_at_once)
    begin(Rollouts(environment(), tokenizer, policy=lambda trainer: policy))

    assert policy.placed == (0, 1)


def test_ranks_that_saw_nothing_of_a_kind_count_in_its_mean():
    """One of two ranks has a malformed call in each second episode: a quarter, not a half."""
    bad, good = (ended(Outcome.answered(), counts=counts) for counts in ({"malformed": 1}, {}))
    merged = means([episode_sums([bad, good]), episode_sums([good, good])])

    assert merged["calls/malformed"] == 0.25


def test_a_score_counts_by_the_episodes_that_have_it():
    one = ended(Outcome.answered(), scores={"match": 1.0})
    none = ended(Outcome.answered(), scores={"match": None})
    parts = [episode_sums([one]), episode_sums([one, none, none, ended(Outcome.answered())])]

    assert means(parts)["scores/match"] == 1.0


def test_each_environment_has_its_reward(tokenizer, begin):
    tasks = ListTaskSet([
        Task(f"t{i}", f"Task {i}", "1", metadata={"environment": "code" if i % 2 else "math"})
        for i in range(4)
    ])  # fmt: skip
    env = ToolEnv(tasks, [look], environment().settings.rubric)
    rollouts = scripted(tokenizer, answer_at_once, env)
    columns = begin(rollouts)
    logged = {}
    rollouts.reward([], [], columns["episode_reward"], logged.__setitem__)

    assert logged["episode/reward/code"] == 1.0
    assert logged["episode/right"] == 1.0


def test_a_step_without_a_reward_is_logged(tmp_path):
    phase = SimpleNamespace(advance=lambda note: notes.append(note))
    notes: list[str] = []
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir(exist_ok=True)
    state = SimpleNamespace(is_world_process_zero=True, global_step=3)
    StepLog(folder, phase).on_log(None, state, None, {"reward": None, "loss": 0.0})

    assert notes == ["reward none  tools 0.00"]


def test_a_model_whose_rotation_hangs_on_other_rows_is_refused(model, tokenizer, tmp_path):
    model.config.rope_parameters |= {
        "rope_type": "longrope", "original_max_position_embeddings": 512
    }  # fmt: skip
    rollouts = scripted(tokenizer, answer_at_once)

    with pytest.raises(UsageError, match="context: 4000; expected 512 at most"):
        train(model, tokenizer, tmp_path, rollouts)
