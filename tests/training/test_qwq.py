"""QwQ as published, weights apart: its template, its vocabulary, episodes of several turns."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from trl import GRPOConfig, GRPOTrainer

from qwq_env.dialect.base import Piece
from qwq_env.env import ToolEnv
from qwq_env.rollout.audit import audit
from qwq_env.rollout.policy import Generation, GenerationRequest, Policy
from qwq_env.rollout.transformers_policy import TransformersPolicy
from qwq_env.rubric import Component, Rubric
from qwq_env.task import ListTaskSet, Task
from qwq_env.tool import tool
from qwq_env.training.rollouts import Rollouts
from qwq_env.training.tiny.chat_template import qwq_chat_template
from qwq_env.training.tiny.model import build_tiny_model

TURNS = (
    "Let me look, é≠…</think>\n\n"
    '<tool_call>\n{"name": "page", "arguments": {"number": 1}}\n</tool_call><|im_end|>',
    "So <tool_call> is what I write.\n</think>\n\nOnce more.\n"
    '<tool_call>\n{"name": "page", "arguments": {"number": 2}}\n</tool_call>\n'
    '<tool_call>\n{"name": "page", "arguments": {"number": 3}}\n</tool_call><|im_end|>',
    '</think>\n\n<tool_call>\n{"name": "page", "arguments": {"number": "four"}}\n</tool_call>',
    "Now I know it.\n</think>\n\nThe word is \\boxed{%s}<|im_end|>",
)


@tool(blocking=False)
def page(number: int) -> str:
    """Read a page.

    Args:
        number: Its number.
    """
    return f"Page {number}: </think> <|im_end|> 值 tools say anything"


@pytest.fixture(scope="module")
def tokenizer(qwen):
    made = copy.deepcopy(qwen)
    made.chat_template = qwq_chat_template()
    return made


@pytest.fixture
def model(tokenizer):
    return build_tiny_model(tokenizer, hidden=16, layers=1, heads=2)


class Prompted(Policy):
    """Writes four turns, with the log-probabilities that the model itself gives them.

    A tiny model with random weights calls no tool, so it is told what to write; the ids and the
    log-probabilities are its own, as when it is sampled.
    """

    def __init__(self, codec, model):
        self.codec, self.model, self.turn = codec, model, {}

    async def generate(self, request: GenerationRequest) -> Generation:
        number = self.turn[request.episode] = self.turn.get(request.episode, -1) + 1
        text = TURNS[number]
        if number == 3:
            text %= "yes" if request.seed % 2 else "no"
        ids = self.codec.encode_pieces([Piece(text, control=True)])
        with torch.no_grad():
            context = torch.tensor([[*request.ids, *ids]])
            logits = self.model(context, logits_to_keep=len(ids) + 1).logits[0, :-1]
        logprobs = torch.log_softmax(logits, -1)
        drawn = logprobs.gather(1, torch.tensor(ids)[:, None])[:, 0].tolist()
        return Generation(ids, drawn, "stop")


def environment() -> ToolEnv:
    tasks = ListTaskSet([Task(f"t{i}", f"Which word? {i}", "yes") for i in range(4)])
    rubric = Rubric([Component("word", lambda final: float("{yes}" in final.answer))])
    return ToolEnv(tasks, [page], rubric)


def config(path, **more) -> GRPOConfig:
    return GRPOConfig(
        output_dir=str(path), use_cpu=True, bf16=False, report_to=[], disable_tqdm=True,
        save_strategy="no", per_device_train_batch_size=2, num_generations=2, beta=0.0,
        logging_steps=1, gradient_checkpointing=False, learning_rate=1e-3,
        **{"max_completion_length": 2000, "max_steps": 1, **more},
    )  # fmt: skip


class Recorder(GRPOTrainer):
    """A stock trainer that keeps the batch it would learn from."""

    def _generate_and_score_completions(self, inputs):
        self.batch = super()._generate_and_score_completions(inputs)
        return self.batch


def train(model, tokenizer, path, rollouts, **more) -> Recorder:
    trainer = Recorder(
        model=model, args=config(path, **more), processing_class=tokenizer,
        train_dataset=rollouts.dataset, rollout_func=rollouts, reward_funcs=rollouts.reward,
    )  # fmt: skip
    trainer.train()
    return trainer


@pytest.fixture(scope="module")
def trained(tokenizer, tmp_path_factory):
    """Return the rollouts and the trainer after a step, and the weights before it."""
    model = build_tiny_model(tokenizer, hidden=16, layers=1, heads=2)
    before = copy.deepcopy(model.state_dict())
    rollouts = Rollouts(
        environment(), tokenizer, context=4000,
        policy=lambda trainer: Prompted(rollouts.codec, model),
    )  # fmt: skip
    trainer = train(model, tokenizer, tmp_path_factory.mktemp("trained"), rollouts)
    return rollouts, trainer, before


def test_grpo_trains_through_episodes_of_four_turns_one_row_each(trained):
    rollouts, trainer, before = trained

    assert len(trainer.batch["completion_ids"]) == len(rollouts.last) == 2
    for row, trajectory in enumerate(rollouts.last):
        size = len(trajectory.completion_ids)
        assert audit(trajectory) == []
        assert trajectory.turns == 4
        assert trajectory.counts == {"ok": 3, "wrong_type": 1}
        assert len(trajectory.rows) == 1
        assert trainer.batch["completion_ids"][row, :size].tolist() == trajectory.completion_ids
        assert trainer.batch["tool_mask"][row, :size].tolist() == trajectory.mask
    losses = [log["loss"] for log in trainer.state.log_history if "loss" in log]
    assert len(losses) == 1
    assert math.isfinite(losses[0])
    assert any((before[name] != value).any() for name, value in trainer.model.state_dict().items())


def test_every_thought_stays_and_no_tool_text_controls(trained):
    rollouts, _, _ = trained

    ids = rollouts.codec.control_ids
    for trajectory in rollouts.last:
        text = rollouts.codec.decode(trajectory.completion_ids)
        assert "Let me look, é≠…" in text
        assert "So <tool_call> is what I write." in text
        # Three turns were closed by the policy, one by us; three results by the template.
        tools = [i for i, own in zip(trajectory.completion_ids, trajectory.mask, strict=True)
                 if not own]  # fmt: skip
        assert tools.count(ids["<|im_end|>"]) == 4
        assert tools.count(ids["</think>"]) == 0


def test_sampled_by_transformers_in_the_whole_vocabulary(model, tokenizer, tmp_path):
    rollouts = Rollouts(environment(), tokenizer, context=1000)
    trainer = train(model, tokenizer, tmp_path, rollouts, max_completion_length=24)

    assert isinstance(rollouts._engine.policy.policy, TransformersPolicy)
    assert len(trainer.batch["completion_ids"]) == 2
    assert all(audit(trajectory) == [] for trajectory in rollouts.last)


def test_contrast_trl_refuses_the_template(model, tokenizer, tmp_path):
    """TRL's own way to tools knows a list of templates, and QwQ's is not among them."""

    def page(number: int) -> str:
        """Read a page.

        Args:
            number: Its number.
        """
        return ""

    with pytest.raises(ValueError, match="Unrecognized chat template"):
        GRPOTrainer(
            model=model, args=config(tmp_path), processing_class=copy.deepcopy(tokenizer),
            train_dataset=Rollouts(environment(), tokenizer).dataset, tools=[page],
            reward_funcs=lambda completions, **columns: [0.0] * len(completions),
        )  # fmt: skip
