"""Sampler against trainer: what agrees is green, and each way to be wrong is red."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from qwq_env.chat_model import Sampling
from qwq_env.cli import main
from qwq_env.env import ToolEnv
from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.evaluation.numerics import (
    Compared,
    check_numerics,
    divergence_by_depth,
    figures_by_depth,
    span_name,
)
from qwq_env.grading.score import Score
from qwq_env.rollout.policy import Generation, Policy
from qwq_env.rollout.transformers_policy import TransformersPolicy
from qwq_env.rubric import Component, Rubric
from qwq_env.task import ListTaskSet, Task
from qwq_env.training.tiny.model import build_tiny_model

CONTEXT = 1024


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def env():
    tasks = ListTaskSet(
        [Task(str(n), f"Write what is left of {n} in {n + 7}.", "") for n in range(9)]
    )
    return ToolEnv(tasks, [], Rubric([Component("paid", lambda final: Score.right())]))


@pytest.fixture(scope="module")
def model(tokenizer):
    """A model whose distributions are sharp and hang on what it has read."""
    made = build_tiny_model(tokenizer, hidden=32, heads=2, layers=1, context=2 * CONTEXT).eval()
    with torch.no_grad():
        for name, weight in made.named_parameters():
            if "norm" not in name and "bias" not in name:
                weight *= 40 if "embed" in name else 6
    return made


class Untempered(Policy):
    """Samples at another temperature than it is asked for."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    async def generate(self, request):
        return await self.policy.generate(replace(request, sampling=Sampling(1.0)))


class Silent(Policy):
    async def generate(self, request):
        return Generation([], [], "length")


def shifted(model):
    """Decodes each token one place too far on."""

    def shift(module, arguments, named):
        ids = named["position_ids"]
        return arguments, {**named, "position_ids": ids + (ids.shape[-1] == 1)}

    model.model.register_forward_pre_hook(shift, with_kwargs=True)
    return model


def halved(model):
    """Computes logits in half precision."""
    model.lm_head.register_forward_hook(lambda module, given, logits: logits.half().float())
    return model


def check(sampler, model, env, codec, **settings):
    wanted = {"context": CONTEXT, "episodes": 2, "temperature": 0.7, "width": 512, **settings}
    return check_numerics(sampler, model, env, codec, **wanted)


def test_cached_decoding_agrees_with_a_full_pass_at_every_depth(model, env, codec):
    report = check(TransformersPolicy(model, codec), model, env, codec)

    assert report.faults == []
    assert [(each.begin, each.end) for each in report.depths] == [(0, 512), (512, 1024)]
    assert all(each.tokens > 50 for each in report.depths)
    assert sum(each.tokens for each in report.depths) == report.total.tokens
    assert report.total.maximum < 1e-3
    assert report.total.outside == 0
    assert report.total.effective == pytest.approx(1.0)


@pytest.mark.parametrize("wrong", ["temperature", "position", "half precision"])
def test_sampler_that_computes_otherwise_is_red(model, env, codec, wrong):
    broken = copy.deepcopy(model)
    if wrong != "temperature":
        broken = shifted(broken) if wrong == "position" else halved(broken)
    sampler = TransformersPolicy(broken, codec)
    report = check(Untempered(sampler) if wrong == "temperature" else sampler, model, env, codec)

    assert any(fault.startswith("mean difference") for fault in report.faults)
    assert report.total.k3 > 0


def test_bounds_are_those_of_the_coarser_precision(model, env, codec):
    coarse = copy.deepcopy(model).bfloat16()
    report = check(TransformersPolicy(coarse, codec), coarse, env, codec)

    assert (report.dtype, report.bound.k3) == ("bfloat16", 1e-3)


def test_figures_are_those_of_the_definitions():
    rows = [
        Compared([3, 12], [-1.0, -2.0], [-1.0, -2.0 + math.log(1.5)]),
        Compared([4], [-1.0], [-1.0 + math.log(0.5)]),
    ]
    first, second, total = figures_by_depth(rows, width=10, clip=(0.8, 1.2))

    assert (first.tokens, second.tokens, total.tokens) == (2, 1, 3)
    assert first.mean == pytest.approx(math.log(2) / 2)
    assert first.k1 == pytest.approx(math.log(2) / 2)
    assert first.k3 == pytest.approx((0.5 - 1 + math.log(2)) / 2)
    assert (first.outside, second.outside) == (0.5, 1.0)
    assert first.effective == pytest.approx(1.5**2 / (2 * 1.25))
    assert second.episodes_effective == pytest.approx(2.0**2 / (2 * (1.5**2 + 0.5**2)))
    assert total.episodes_effective == pytest.approx(2.0**2 / (2 * (1.5**2 + 0.5**2)))
    assert (total.begin, total.end, total.maximum) == (0, 13, pytest.approx(math.log(2)))


def test_sums_by_depth_are_those_of_the_figures():
    log = np.log([1.5, 1.0, 0.5, 1.1])
    depths = np.array([3, 25, 4, 29])
    sums = divergence_by_depth(depths, log, width=10, clip=(0.8, 1.2))
    *figures, _ = figures_by_depth([Compared(depths, np.zeros(4), log)], width=10, clip=(0.8, 1.2))

    assert [span_name(span) for span in sums] == ["0-10", "20-30"]
    assert list(sums) == [(each.begin, each.end) for each in figures]
    for one, each in zip(sums.values(), figures, strict=True):
        means = (one.k1 / one.tokens, one.k3 / one.tokens, one.outside / one.tokens)
        assert means == pytest.approx((each.k1, each.k3, each.outside))
    assert sums[0, 10][:2] == (2, pytest.approx(-math.log(0.75)))
    assert sums[0, 10].outside == 2 and sums[20, 30].outside == 0


def test_what_is_not_a_number_is_red(model, env, codec):
    class Broken(Policy):
        async def generate(self, request):
            return Generation([5, 6], [math.nan, -1.0], "stop")

    assert check(Broken(), model, env, codec, context=300).faults


def test_nothing_sampled_is_no_agreement(model, env, codec):
    with pytest.raises(InfrastructureError, match="nothing was sampled"):
        check(Silent(), model, env, codec)
    with pytest.raises(UsageError, match="temperature: 0"):
        check(Silent(), model, env, codec, temperature=0)


def test_command_prints_a_table_or_json(model, tokenizer, tmp_path, capsys):
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    # The context is cut to the model's own.
    arguments = ["check", "numerics", str(tmp_path), "--episodes", "2", "--context", "9999"]
    capsys.readouterr()
    assert main([*arguments, "--width", "512"]) == 0
    table = capsys.readouterr().out
    assert main([*arguments, "--json", "--dtype", "bfloat16"]) in (0, 1)
    found = json.loads(capsys.readouterr().out)

    assert "1536-2048" in table
    assert "GREEN" in table
    assert "bound in float32: a mean |d| of 0.0002 and a KL (k3) of 1e-06" in table
    assert found["dtype"] == "bfloat16"
    assert found["agrees"] == (not found["faults"])
