"""A stock GRPOTrainer whose episodes a real vLLM server samples, with the weights of each step."""

from __future__ import annotations

import copy
import urllib.request

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from qwq_env.errors import InfrastructureError
from qwq_env.rollout.vllm_policy import VllmPolicy
from qwq_env.training.importance import correct_importance
from qwq_env.training.recipe import (
    EnvironmentRecipe,
    EvaluationRecipe,
    GrpoRecipe,
    PolicyRecipe,
    Recipe,
)
from qwq_env.training.rollouts import Rollouts
from qwq_env.training.run import train as run_recipe
from qwq_env.training.weights.disk import DiskWeightSync

from .conftest import CONTEXT, math_environment
from .greedy import greedy_of_model, greedy_of_server, trainer_of


@pytest.fixture
def fresh(served, policy_checkpoint):
    """The server with the checkpoint's own weights, afterwards as well."""
    yield served
    DiskWeightSync(served.directory, served.url).push(trainer_of(load(policy_checkpoint)))


class KeepWeights(TrainerCallback):
    """Keeps the weights as they are after the first step."""

    def on_step_end(self, args, state, control, model=None, **rest):
        if state.global_step == 1:
            self.weights = copy.deepcopy(model.state_dict())


def train(fresh, checkpoint, path, *, correct: bool, steps: int):
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = load(checkpoint)
    rollouts = Rollouts(
        math_environment(),
        tokenizer,
        size=64,
        context=CONTEXT,
        policy=lambda trainer: VllmPolicy(fresh.url),
        weights=DiskWeightSync(fresh.directory, fresh.url),
    )
    config = GRPOConfig(
        output_dir=str(path), use_cpu=True, bf16=False, report_to=[], disable_tqdm=True,
        save_strategy="no", per_device_train_batch_size=16, num_generations=8, max_steps=steps,
        max_completion_length=120, beta=0.0, logging_steps=1, gradient_checkpointing=False,
        learning_rate=0.05, lr_scheduler_type="constant",
    )  # fmt: skip
    kept = KeepWeights()
    trainer = GRPOTrainer(
        model=model, args=config, processing_class=tokenizer, train_dataset=rollouts.dataset,
        rollout_func=rollouts, reward_funcs=varied, callbacks=[kept],
    )  # fmt: skip
    if correct:
        correct_importance(trainer)
    trainer.train()
    rollouts.close()
    updated = load(checkpoint)
    updated.load_state_dict(kept.weights)
    return trainer, rollouts, updated


def load(checkpoint):
    """Return the model as it would be trained: its output head is tied to its embeddings."""
    return AutoModelForCausalLM.from_pretrained(
        checkpoint, dtype=torch.float32, tie_word_embeddings=True
    )


def varied(prompts, completions, **columns) -> list[float]:
    """Pay the lengths, so that there is something to learn whatever the episodes are."""
    return [float(len(completion[0]["content"])) for completion in completions]


def test_server_samples_from_the_updated_policy(fresh, policy_checkpoint, tmp_path):
    before = greedy_of_server(VllmPolicy(fresh.url))
    trainer, rollouts, updated = train(fresh, policy_checkpoint, tmp_path, correct=False, steps=2)

    assert trainer.state.global_step == 2
    after = greedy_of_server(VllmPolicy(fresh.url))
    assert after == greedy_of_model(updated)
    assert after != before
    # The episodes of the second step, too: each logprob is that of the weights after the first.
    assert {trajectory.weight_version for trajectory in rollouts.last} == {1}
    for trajectory in rollouts.last:
        ids = torch.tensor([trajectory.ids])
        with torch.no_grad():
            logits = updated(ids).logits[0, trajectory.prompt_length - 1 : -1]
        own = torch.log_softmax(logits, -1).gather(1, ids[0, trajectory.prompt_length :, None])
        for ours, theirs, bit in zip(
            trajectory.logprobs, own[:, 0].tolist(), trajectory.mask, strict=True
        ):
            assert not bit or ours == pytest.approx(theirs, abs=1e-2)


def test_importance_correction_without_a_connection_of_trls(fresh, policy_checkpoint, tmp_path):
    trainer, _, _ = train(fresh, policy_checkpoint, tmp_path, correct=True, steps=1)

    [logs, *_] = trainer.state.log_history
    assert logs["sampling/importance_sampling_ratio/mean"] == pytest.approx(1.0, abs=1e-3)
    assert logs["sampling/sampling_logp_difference/mean"] < 1e-3


def test_server_that_has_no_such_weights_stops_the_training(fresh, policy_checkpoint, tmp_path):
    sync = DiskWeightSync(fresh.directory, fresh.url)
    before = greedy_of_server(VllmPolicy(fresh.url))
    broken = tmp_path / "model.safetensors"
    broken.write_bytes(b"not safetensors")

    with pytest.raises(InfrastructureError, match="status 500"):
        sync._tell(broken.parent)
    # It is told where the whole ones lie at each push, and was not left in the pause.
    sync.push(trainer_of(load(policy_checkpoint)))
    assert greedy_of_server(VllmPolicy(fresh.url)) == before


def test_recipe_that_samples_on_the_server(fresh, policy_checkpoint, tmp_path):
    recipe = Recipe(
        environment=EnvironmentRecipe(tools=["calculator"]),
        policy=PolicyRecipe(
            checkpoint=str(policy_checkpoint),
            sampler="vllm",
            servers=[fresh.url],
            served=str(fresh.directory),
        ),
        grpo=GrpoRecipe(steps=1, episodes=8, group=4, max_completion_tokens=120),
        evaluation=EvaluationRecipe(tasks=4, samples=0),
    )
    before = completions_of(fresh)
    summary = run_recipe(recipe, tmp_path)

    assert summary["steps"] == 1
    assert summary["episodes_lost"] == 0
    assert completions_of(fresh) > before


def completions_of(served) -> float:
    """Return how many requests the server has answered."""
    with urllib.request.urlopen(f"{served.url}/metrics") as answer:
        text = answer.read().decode()
    return sum(
        float(line.rsplit(" ", 1)[1])
        for line in text.splitlines()
        if line.startswith("vllm:request_success_total")
    )
