"""The cold start of a run: of the tiny policy, and of a checkpoint that is given."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import PartialState
from safetensors.torch import load_file

from qwq_env.cli import main
from qwq_env.dialect.codec import TokenCodec
from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.evaluation.heldout import Result
from qwq_env.rollout.checkpoint import load_checkpoint
from qwq_env.rollout.scripted import ScriptedPolicy
from qwq_env.rubric import Component, Rubric
from qwq_env.training.cold_policy import make_cold, play_rightly
from qwq_env.training.cold_start import encode
from qwq_env.training.environments import environments
from qwq_env.training.progress import Reporter
from qwq_env.training.recipe import load_recipe
from qwq_env.training.stages import reinforcement
from qwq_env.training.stages.context import StageContext
from qwq_env.training.stages.evaluations import Evaluations
from qwq_env.training.stages.stage import stages_of
from qwq_env.training.teachers import Rejection, teacher_of
from qwq_env.training.weights.base import WeightSync

from ..published import SAMPLES

TINY = Path(__file__).parents[2] / "recipes" / "tiny.yaml"
SMALL = [
    "environment.tools=[calculator]", "environment.dialect=qwq-brief", "grpo.steps=1",
    "grpo.episodes=8", "grpo.group=4", "grpo.max_completion_tokens=24", "evaluation.tasks=2",
    "evaluation.samples=1", "cold_start.steps=2", "cold_start.batch=4", "cold_start.transcripts=16",
]  # fmt: skip


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A checkpoint as the tiny policy's cold start leaves it."""
    folder = tmp_path_factory.mktemp("checkpoint")
    recipe = load_recipe(TINY, SMALL)
    env, _ = environments(recipe)
    model, tokenizer, _ = make_cold(recipe, teacher_of(recipe, env), None, lambda *told: None)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def policy(checkpoint):
    return load_checkpoint(str(checkpoint), device=torch.device("cpu"))


def of(checkpoint, *overrides):
    return load_recipe(TINY, [*SMALL, f"policy.checkpoint={checkpoint}", *overrides])


@pytest.mark.parametrize(
    "said",
    [
        [],
        ["cold_start.source=solve"],
        [f"cold_start.demonstrations={SAMPLES / 'gsm8k.jsonl'}"],
        ["cold_start.teacher={call: 1}", "cold_start.names_operation=true"],
        ["cold_start.frozen_layers=1", "cold_start.micro_batch_tokens=200"],
        ["policy.dtype=bfloat16"],
        ["policy.lora={rank: 4}"],
    ],
)
def test_a_checkpoint_learns_from_every_source(checkpoint, policy, said):
    recipe = of(checkpoint, *said)
    env, _ = environments(recipe)
    before = {name: value.clone() for name, value in policy[0].state_dict().items()}
    model, _, losses = make_cold(recipe, teacher_of(recipe, env), policy, lambda *told: None)
    after = model.state_dict()

    assert len(losses) == 2
    assert after.keys() == before.keys()
    assert {value.dtype for value in after.values()} == {torch.float32}
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    assert any("layers.1" in name for name in moved)
    assert any("layers.0" in name for name in moved) != ("cold_start.frozen_layers=1" in said)


def test_a_policy_learns_from_what_it_plays_rightly(checkpoint, policy):
    recipe = of(checkpoint, "cold_start.source=rejection", "cold_start.transcripts=4")
    env, _ = environments(recipe)
    with pytest.raises(UsageError, match="played none of 32 episodes rightly"):
        play_rightly(Rejection(recipe, env), *policy, 4)

    async def paid(final):
        return 1.0

    env.settings = replace(env.settings, rubric=Rubric([Component("any", paid)]))
    kept = play_rightly(Rejection(recipe, env), *policy, 4)
    _, _, losses = make_cold(recipe, teacher_of(recipe, env), policy, lambda *told: None)

    assert kept and all(episode.is_right for episode in kept)
    assert len(losses) == 2


@pytest.mark.parametrize("room", [0, 1])
def test_no_room_for_an_answer_is_said_before_anything_is_learnt(checkpoint, policy, room):
    recipe = of(checkpoint)
    env, _ = environments(recipe)
    teacher, codec = teacher_of(recipe, env), TokenCodec(policy[1])
    shortest = min(encode(each, codec).mask.index(1) for each in teacher.transcripts(16))
    at = replace(recipe, grpo=replace(recipe.grpo, context=shortest + room))
    told = []

    def learn():
        make_cold(at, teacher, policy, lambda *step: told.append(step))

    if room:
        learn()
    else:
        with pytest.raises(UsageError, match=f"shortest prompt .* has {shortest}; expected room"):
            learn()
    assert len(told) == 2 * room


def test_a_run_starts_a_checkpoint_cold_and_samples_from_a_copy(checkpoint, tmp_path, capsys):
    said = [f"policy.checkpoint={checkpoint}", "policy.dtype=bfloat16",
            "policy.sampling_dtype=computed", "cold_start.frozen_layers=1"]  # fmt: skip
    assert main(["train", str(TINY), "--runs", str(tmp_path), *SMALL, *said]) == 0
    first, cold = (load_file(folder / "model.safetensors")
                   for folder in (checkpoint, tmp_path / "tiny" / "cold"))  # fmt: skip
    state = json.loads((tmp_path / "tiny" / "state.json").read_text())

    assert state["cold_start"]["loss"] > 0
    assert {name for name in cold if not torch.equal(cold[name], first[name])}
    assert {value.dtype for value in cold.values()} == {torch.float32}


class Unreachable(WeightSync):
    """Ends a training before its first episode, when its model and optimizer are there."""

    def push(self, trainer):
        raise InfrastructureError("weights: nobody takes them")


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_what_is_frozen_stays_so_in_grpo(checkpoint, policy, tmp_path, monkeypatch, strategy):
    """Sharded, it is TRL that loads the model."""
    recipe = of(
        checkpoint, "cold_start.steps=0", "cold_start.frozen_layers=1", "policy.sampler=vllm",
        "policy.served=x", f"cluster={{gpus: 2, serve: 1, strategy: {strategy}}}",
    )  # fmt: skip
    env, heldout = environments(recipe)
    [stage] = stages_of(recipe, tmp_path)
    context = StageContext(stage, PartialState(cpu=True), Reporter(enabled=False))
    context.folder.begin(recipe)
    servers = ScriptedPolicy(TokenCodec(policy[1]), lambda context: ""), Unreachable()
    monkeypatch.setattr(reinforcement, "servers_of", lambda *a, **k: servers)
    made, make = [], reinforcement.make_trainer
    monkeypatch.setattr(
        reinforcement, "make_trainer", lambda *a, **k: made.append(make(*a, **k)) or made[0]
    )
    training = reinforcement.Reinforcement(context, Evaluations(context, heldout))
    model = None if recipe.cluster.sharded else policy[0]
    with pytest.raises(InfrastructureError, match="nobody takes them"):
        training.run(env, model, policy[1], Result(2, 0.0, 0.0, 1.0, 0.0, 0))

    [trainer] = made
    names = {weight: name for name, weight in trainer.model.named_parameters()}
    learned = {
        names[weight] for part in trainer.optimizer.param_groups for weight in part["params"]
    }
    assert any("layers.1." in name for name in learned)
    assert not any("layers.0." in name or "embed" in name for name in learned)


def test_without_steps_a_checkpoint_is_left_as_it_is_and_the_tiny_policy_is_not(checkpoint):
    unsaid = [said for said in SMALL if not said.startswith("cold_start.steps")]

    assert load_recipe(TINY.parent / "qwen3-0.6b.yaml").cold_steps == 0
    assert load_recipe(TINY, [*unsaid, "cold_start={}"]).cold_steps == 500
    assert of(checkpoint).cold_steps == 2


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (["cold_start.source=rejection"], "cold_start.source: expected a policy.checkpoint"),
        (["cold_start.frozen_layers=1"], "cold_start.frozen_layers: expected a policy.checkpoint"),
        (["cold_start.demonstrations=x", "cold_start.source=solve"], "not both"),
        (["policy.sampling_dtype=computed", "policy.lora={rank: 4}"], "policy.sampling_dtype"),
        (["policy={checkpoint: x, lora: {rank: 4}}", "cold_start.frozen_layers=1"], "not both"),
        (["policy={checkpoint: x, lora: {rank: 4}, sampler: vllm, served: y, weights: adapter}"],
         "cold_start.steps: 2; expected 0 with policy.weights 'adapter'"),
        (["policy.checkpoint=x", "cluster={gpus: 8, serve: 4, strategy: fsdp2}",
          "policy={checkpoint: x, sampler: vllm, served: y}"],
         "cold_start.steps: 2; expected 0 with cluster.strategy"),
    ],
)  # fmt: skip
def test_what_cannot_start_cold_is_one_line(said, words):
    with pytest.raises(UsageError) as caught:
        load_recipe(TINY, [*SMALL, *said])

    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_teachers_share_that_is_none_is_named():
    recipe = load_recipe(TINY, [*SMALL, "cold_start.teacher={gues: 1}"])
    with pytest.raises(UsageError, match="did you mean 'guess'"):
        teacher_of(recipe, environments(recipe)[0])
