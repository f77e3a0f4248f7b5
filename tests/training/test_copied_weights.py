"""Samples of a copy: which weights they are of, and what the corrections make of them."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from qwq_env.dialect.codec import TokenCodec
from qwq_env.errors import UsageError
from qwq_env.rollout.transformers_policy import TransformersPolicy
from qwq_env.training.copied_weights import CopiedWeights, copied_weights, copy_of
from qwq_env.training.recipe import load_recipe
from qwq_env.training.rollouts import Rollouts
from qwq_env.training.tiny.model import build_tiny_model
from qwq_env.training.trainer import bounded_means

from .stock_trainer import ToolRecorder, train
from .test_rollouts import environment

RECIPES = Path(__file__).parents[2] / "recipes"

RATIOS = torch.tensor([[2.0, 0.5, 9.0], [1.21, 1.0, 1.0], [0.0, 1.0, 1.0]])
MASK = torch.tensor([[True, True, False], [True, True, False], [True, True, True]])


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("geometric_truncate", [1.0, 1.05, 0.9]), ("geometric_mask", [1.0, 0.0, 0.0])],
)
def test_an_episode_weighs_the_geometric_mean_of_its_tokens_whatever_its_length(mode, expected):
    weights = bounded_means(RATIOS, MASK, mode, 0.9, 1.05)

    assert weights.shape == (3, 1)
    assert weights.flatten().tolist() == pytest.approx(expected)
    long = bounded_means(torch.full((1, 9000), 1.01), torch.ones(1, 9000).bool(), mode, 0.0, 2.0)
    assert long.item() == pytest.approx(1.01, abs=1e-4)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (
            [
                "policy.sampler=vllm",
                "policy.servers=[http://a]",
                "policy.served=b",
                "rollout.staleness=1",
            ],
            "rollout.staleness: 1; expected 0 with",
        ),
        (["rollout.staleness=-1"], "rollout.staleness: -1"),
        (["grpo.correction=geometric"], "'geometric'; expected token_truncate or .* or none"),
        (["grpo.trl.vllm_importance_sampling_mode=token_mask"], "expected it as grpo.correction"),
    ],
)
def test_what_cannot_be_is_told(overrides, told):
    with pytest.raises(UsageError, match=told):
        load_recipe(RECIPES / "tiny-async.yaml", overrides)


class Watched(CopiedWeights):
    """Keeps what the trainer has at each step, and what the sampler is given."""

    def __init__(self, behind):
        super().__init__(behind=behind)
        self.trained, self.sampled = [], []

    def push(self, trainer):
        pushed = super().push(trainer)
        self.trained.append(one_weight(trainer.accelerator.unwrap_model(trainer.model)))
        self.sampled.append(one_weight(self._model))
        return pushed


class EverySecond(Rollouts):
    """Pays every second episode, so that each step has something to learn."""

    def reward(self, prompts, *columns, **more):
        super().reward(prompts, *columns, **more)
        return [float(number % 2) for number in range(len(prompts))]


def one_weight(model):
    return model.lm_head.weight.detach().clone()


@pytest.fixture(scope="module")
def lagging(tokenizer, tmp_path_factory):
    """Five steps of which each is played by the weights of two before; the weights, and the run."""
    weights = Watched(2)
    versions = {}
    rollouts = EverySecond(
        environment(), tokenizer, context=4000, policy=weights.policy, weights=weights,
        correction="geometric_truncate",
        on_episode=lambda episode, step: versions.setdefault(step, episode.weight_version),
    )  # fmt: skip
    model = build_tiny_model(tokenizer, hidden=16, layers=1, heads=2)
    path = tmp_path_factory.mktemp("lagging")
    trainer = train(
        model, tokenizer, path, rollouts, kind=ToolRecorder, max_steps=5, learning_rate=0.01,
        max_completion_length=16,
    )  # fmt: skip
    return weights, trainer, versions


def test_each_step_is_played_by_the_weights_of_so_many_before(lagging):
    weights, trainer, versions = lagging
    logs = [row for row in trainer.state.log_history if "rollout/lag" in row]

    assert [row["rollout/lag"] for row in logs] == [0, 1, 2, 2, 2]
    assert versions == {1: 0, 2: 0, 3: 0, 4: 1, 5: 2}
    for step, sampled in enumerate(weights.sampled):
        assert torch.equal(sampled, weights.trained[max(0, step - 2)]), step
    assert not torch.equal(weights.trained[4], weights.trained[3])
    shares = [row["sampling/effective_share"] for row in logs]
    assert shares[0] == pytest.approx(1.0, abs=1e-4)  # its own weights
    assert all(share < 0.9999 for share in shares[1:])  # those of others
    differ = [row["sampling/sampling_logp_difference/mean"] for row in logs]
    assert differ[0] < 1e-5 and min(differ[1:]) > 1e-3
    assert trainer.batch["importance_sampling_ratio"].shape[1] == 1


def test_a_checkpoint_keeps_what_is_behind(lagging, tmp_path):
    weights, trainer, _ = lagging
    weights.write(tmp_path)
    resumed = CopiedWeights(behind=2)
    resumed.read(tmp_path)
    resumed.policy(trainer)
    trained = one_weight(trainer.accelerator.unwrap_model(trainer.model))

    assert resumed.push(trainer).version == 3
    assert torch.equal(one_weight(resumed._model), weights.trained[3])
    assert not torch.equal(trained, weights.trained[3])
    with pytest.raises(UsageError, match=r"stale_weights\.pt: No such file"):
        resumed.read(tmp_path / "none")


def of_another_model(model, tokenizer):
    other = TransformersPolicy(copy.deepcopy(model), TokenCodec(tokenizer))
    return {"policy": lambda trainer: other}


def of_a_half_copy(model, tokenizer):
    weights = CopiedWeights(dtype=torch.bfloat16)
    return {"policy": weights.policy, "weights": weights}


def of_the_model(model, tokenizer):
    own = TransformersPolicy(model, TokenCodec(tokenizer))
    return {"policy": lambda trainer: own}


@pytest.mark.parametrize(
    ("sampled", "corrected"),
    [(of_the_model, False), (of_another_model, True), (of_a_half_copy, True)],
)
def test_whatever_is_not_the_trained_model_itself_is_corrected_for(
    tokenizer, tmp_path, sampled, corrected
):
    model = build_tiny_model(tokenizer, hidden=16, layers=1, heads=2)
    rollouts = EverySecond(environment(), tokenizer, context=4000, **sampled(model, tokenizer))
    trainer = train(
        model, tokenizer, tmp_path, rollouts, kind=ToolRecorder, max_completion_length=16
    )

    assert ("importance_sampling_ratio" in trainer.batch) == corrected
    if sampled is of_a_half_copy:
        [row] = [row for row in trainer.state.log_history if "rollout/lag" in row]
        assert row["rollout/lag"] == 0
        assert row["sampling/sampling_logp_difference/mean"] > 1e-5


def test_a_copy_has_the_weights_after_each_push_and_positions_as_they_were(tokenizer):
    model = build_tiny_model(tokenizer, hidden=16, layers=1, heads=2)

    class Trainer:
        accelerator = type("A", (), {"unwrap_model": staticmethod(lambda model: model)})
        state = type("S", (), {"global_step": 3})
        processing_class = tokenizer

    Trainer.model = model
    weights = CopiedWeights(dtype=torch.bfloat16)
    weights.policy(Trainer)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(1)
    pushed = weights.push(Trainer)
    half = weights._model

    assert pushed.version == 3 and pushed.bytes == 2 * sum(w.numel() for w in model.parameters())
    assert all(torch.equal(new.to(torch.bfloat16), own)
               for new, own in zip(model.parameters(), half.parameters(), strict=True))  # fmt: skip
    assert not any(weight.requires_grad for weight in half.parameters())
    assert all(map(torch.equal, model.buffers(), half.buffers()))


def test_a_copy_does_as_its_own_weights_do_where_the_trainer_replaced_forward(tokenizer):
    model = build_tiny_model(tokenizer, hidden=16, layers=1, heads=2).eval()
    whole = model.forward
    model.forward = lambda *given, **named: whole(*given, **named)
    copied = copy_of(model)
    with torch.no_grad():
        model.lm_head.weight.zero_()
    ids = torch.tensor([[1, 2]])

    assert not model(input_ids=ids).logits.any() and copied(input_ids=ids).logits.any()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([], None),
        (["policy.sampling_dtype=computed"], None),
        (["rollout.staleness=3"], (None, 3)),
        (["policy.sampling_dtype=computed", "policy.dtype=bfloat16"], (torch.bfloat16, 0)),
        (
            ["policy.sampling_dtype=computed", "policy.dtype=bfloat16", "rollout.staleness=3"],
            (torch.bfloat16, 3),
        ),
    ],
)
def test_a_recipe_says_what_the_copy_is_of(said, expected):
    said = ["policy.dtype=float32", "rollout.slots=3", *said]
    copied = copied_weights(load_recipe(RECIPES / "tiny.yaml", said))

    assert (copied and (copied.dtype, copied.behind)) == expected
    assert copied is None or copied.slots == 3
