"""What training samples with, and what it does not learn from, with the stock trainer."""

from __future__ import annotations

import itertools

import pytest
from trl import GRPOConfig

from qwq_env.chat_model import Sampling
from qwq_env.dialect.codec import TokenCodec
from qwq_env.env import ToolEnv
from qwq_env.errors import UsageError
from qwq_env.outcome import EpisodeLimits, Outcome
from qwq_env.rollout.scripted import ScriptedPolicy
from qwq_env.rubric import Component, Rubric
from qwq_env.task import ListTaskSet, Task
from qwq_env.tool import tool
from qwq_env.training.importance import correct_importance
from qwq_env.training.rollouts import Rollouts
from qwq_env.training.sampling import sampling_of, training_sampling
from qwq_env.training.tiny.model import build_tiny_model
from qwq_env.training.trl_data import to_trl
from qwq_env.trajectory import Trajectory

from ..byte_tokenizer import byte_tokenizer
from .stock_trainer import stock_trainer, train

ANSWERS = {
    "qwq": "hm\n</think>\n\n%d<|im_end|>",
    "fenced": "hm\n</think>\n\n%d<|im_end|>",
    "react": "Thought: I know it.\nFinal Answer: %d<|im_end|>",
    "tags": "<think>hm</think>\n<answer>%d</answer>",
}
CALLS = {
    "qwq": '</think>\n<tool_call>\n{"name": "python", "arguments": {"code": "1"}}\n</tool_call>',
    "fenced": "```python\n1\n```",
    "react": "Thought: hm\nAction: python\nAction Input: 1",
    "tags": "<search>1</search>",
}


@tool(name="python", blocking=False)
def run(code: str) -> str:
    """Run.

    Args:
        code: The program.
    """
    return "1"


@tool(name="search", blocking=False)
def find(query: str) -> str:
    """Find.

    Args:
        query: The words.
    """
    return "1"


def environment(dialect: str = "qwq", **limits) -> ToolEnv:
    tasks = ListTaskSet([Task(f"t{i}", f"Task {i}", "1") for i in range(4)])
    rubric = Rubric([Component("match", lambda f: float(f.answer.strip() == "1"))])
    tools = [find if dialect == "tags" else run]
    return ToolEnv(tasks, tools, rubric, dialect=dialect, limits=EpisodeLimits(**limits))


def learned_tokens(trainer) -> list[int]:
    return (trainer.batch["tool_mask"] * trainer.batch["completion_mask"]).sum(1).tolist()


@pytest.mark.parametrize(
    ("dialect", "eos"), [*((name, "<|im_end|>") for name in ANSWERS), ("qwq", "<|endoftext|>")]
)
def test_what_is_masked_as_truncated_goes_by_the_outcome(dialect, eos, tmp_path):
    """A third each is right, is wrong, and is cut by its turns: the last token tells none of it."""
    tokenizer = byte_tokenizer()
    tokenizer.eos_token = eos
    turns = itertools.cycle([ANSWERS[dialect] % 1, ANSWERS[dialect] % 0, CALLS[dialect]])
    policy = ScriptedPolicy(TokenCodec(tokenizer), lambda context: next(turns))
    rollouts = Rollouts(
        environment(dialect, turns=1), tokenizer, context=4000, policy=lambda trainer: policy
    )
    model = build_tiny_model(tokenizer, hidden=16, layers=1)
    trainer = train(model, tokenizer, tmp_path, rollouts, mask_truncated_completions=True)

    played = rollouts.last
    assert {t.outcome.reason for t in played} == {"answered", "turns"}
    assert {t.reward for t in played if t.outcome.reason == "answered"} == {0.0, 1.0}
    assert learned_tokens(trainer) == [0 if t.outcome.truncated else sum(t.mask) for t in played]
    assert trainer.args.mask_truncated_completions


def test_a_cut_episode_is_learned_from_unless_it_is_asked_otherwise():
    cut = Trajectory("t", "e", 0, [1, 2], 1, [1], [0.0], [], Outcome.cut("turns"), 0.0)
    codec = TokenCodec(byte_tokenizer())

    assert to_trl([cut], codec)["env_mask"] == [[1]]
    assert to_trl([cut], codec, mask_truncated=True)["env_mask"] == [[0]]


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_an_unchanged_policy_has_a_ratio_of_one(temperature, tokenizer, tmp_path):
    rollouts = Rollouts(environment(), tokenizer, context=2000)
    trainer = stock_trainer(
        build_tiny_model(tokenizer, hidden=32), tokenizer, tmp_path, rollouts,
        temperature=temperature, learning_rate=0.0, max_completion_length=50,
    )  # fmt: skip
    correct_importance(trainer)
    trainer.train()

    ratio = "sampling/importance_sampling_ratio"
    [logs] = [row for row in trainer.state.log_history if f"{ratio}/mean" in row]
    for part in ("min", "mean", "max"):
        assert logs[f"{ratio}/{part}"] == pytest.approx(1.0, abs=1e-3)


def test_a_filter_is_refused_before_anything_is_played(tokenizer, tmp_path):
    rollouts = Rollouts(environment(), tokenizer, context=2000)
    trainer = stock_trainer(
        build_tiny_model(tokenizer, hidden=16, layers=1), tokenizer, tmp_path, rollouts, top_p=0.5
    )

    told = r"^top_p: 0\.5; .*ratio of an unchanged policy.*set it to 1\.0"
    with pytest.raises(UsageError, match=told):
        correct_importance(trainer)
    with pytest.raises(UsageError, match=told):
        trainer.train()
    assert rollouts.last == []


def config(tmp_path, **settings) -> GRPOConfig:
    return GRPOConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, **settings)


@pytest.mark.parametrize(
    ("filters", "told"),
    [
        ({"top_k": 5}, r"^top_k: 5; .*ratio of an unchanged policy.*set it to 0"),
        ({"min_p": 0.1}, r"^min_p: 0\.1; .*leave it unset"),
        ({"repetition_penalty": 1.1}, r"^repetition_penalty: 1\.1; .*leave it unset"),
        ({"generation_kwargs": {"typical_p": 0.9}}, r"^generation_kwargs: .*leave it unset"),
        ({"vllm_structured_outputs_regex": "a"}, r"^vllm_structured_outputs_regex: 'a'; "),
    ],
)
def test_whatever_filters_is_refused_by_name(filters, told, tmp_path):
    with pytest.raises(UsageError, match=told):
        sampling_of(config(tmp_path, **filters))


def test_a_filter_is_taken_where_the_correction_is_off_by_name(tmp_path):
    off = {"vllm_importance_sampling_correction": False}

    assert sampling_of(config(tmp_path, top_p=0.9, top_k=20, **off)) == Sampling(1.0, 0.9, 20)
    with pytest.raises(UsageError, match="min_p"):
        sampling_of(config(tmp_path, min_p=0.1, **off))


@pytest.mark.parametrize(
    "settings", [{}, {"top_k": -1}, {"min_p": 0.0}, {"generation_kwargs": {}}, {"top_p": 1}]
)
def test_what_filters_nothing_is_no_filter(settings, tmp_path):
    assert sampling_of(config(tmp_path, **settings)) == Sampling(1.0)


def test_greed_is_no_training():
    with pytest.raises(UsageError, match=r"^temperature: 0; "):
        training_sampling(0.0)


def test_a_completion_without_a_length_of_its_own_ends_with_the_context(tokenizer, tmp_path):
    rollouts = Rollouts(environment(), tokenizer, context=640)
    model = build_tiny_model(tokenizer, hidden=16, layers=1)
    train(model, tokenizer, tmp_path, rollouts, max_completion_length=None)

    assert max(len(trajectory.ids) for trajectory in rollouts.last) == 640
