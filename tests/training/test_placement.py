"""In what precision, in what pieces and with which adapters a recipe is trained."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from qwq_env.chat_model import Sampling
from qwq_env.cli import main
from qwq_env.errors import UsageError
from qwq_env.rollout.policy import GenerationRequest
from qwq_env.training.grpo import grpo_config
from qwq_env.training.placement import (
    autocast,
    check_placement,
    computed_in,
    keep_float32,
    loading,
    slow_type,
)
from qwq_env.training.recipe import load_recipe
from qwq_env.training.run_folder import RunFolder
from qwq_env.training.served import servers_of, vllm_of
from qwq_env.training.stages.evaluations import sampler
from qwq_env.training.weights.adapter import ADAPTER

from ..ranks import run_ranks
from ..rollout.vllm_stub import StubServer
from . import sharded_on_two_ranks

TINY = Path(__file__).parents[2] / "recipes" / "tiny.yaml"
SMALL = [
    "cold_start.steps=1", "cold_start.batch=4", "cold_start.transcripts=64",
    "grpo.steps=1", "grpo.episodes=16",
    "grpo.max_completion_tokens=24", "evaluation.tasks=4", "evaluation.samples=1",
]  # fmt: skip
SERVERS = ["policy.sampler=vllm", "policy.servers=['http://x']", "policy.served=y"]


def config(*overrides: str, world: int = 1):
    return grpo_config(load_recipe(TINY, overrides), TINY.parent, world=world)


@pytest.mark.parametrize(
    ("overrides", "weights", "casts"),
    [
        ([], torch.float32, False),
        (["policy.dtype=bfloat16"], torch.float32, True),
        (["policy.dtype=bfloat16", "grpo.fp32_masters=false"], torch.bfloat16, False),
        (["policy.dtype=bfloat16", "policy.lora.rank=4"], torch.bfloat16, True),
        (["policy.lora.rank=4"], torch.float32, False),
    ],
)
def test_what_is_trained_is_float32_whatever_is_computed_in(overrides, weights, casts):
    recipe = load_recipe(TINY, [*overrides, "policy.attention=eager"])

    assert loading(recipe) == {"dtype": weights, "attn_implementation": "eager"}
    assert autocast(recipe) is casts
    assert config(*overrides).bf16 is casts


@pytest.mark.parametrize(
    ("overrides", "world", "rows", "added", "a_batch"),
    [
        ([], 1, 64, 1, 1),
        (["grpo.micro_batch=4"], 2, 4, 8, 8),
        (["grpo.micro_batch=4", "grpo.accumulation=2"], 2, 4, 2, 8),
        (["grpo.micro_batch_tokens=5000"], 2, 32, 1, 1),
        (["grpo.micro_batch=4", "grpo.micro_batch_tokens=1024"], 2, 4, 8, 8),
    ],
)
def test_a_batch_is_cut_into_micro_batches(overrides, world, rows, added, a_batch):
    made = config(*overrides, world=world)

    assert made.per_device_train_batch_size == rows
    assert (made.gradient_accumulation_steps, made.steps_per_generation) == (added, a_batch)
    assert made.generation_batch_size == rows * a_batch  # of one process, as here


@pytest.mark.parametrize(
    ("settings", "saved"),
    [
        ([], 50),
        (["grpo.micro_batch=8"], 50),
        (["grpo.micro_batch=8", "grpo.accumulation=2"], 52),
        (["grpo.trl.num_iterations=3"], 51),
        (["grpo.micro_batch=8", "grpo.accumulation=4", "grpo.trl.num_iterations=3"], 54),
    ],
)
def test_checkpoints_lie_between_two_batches(settings, saved):
    assert config(*settings).save_steps == saved


def test_what_trl_is_told_besides():
    made = config("grpo.trl.epsilon_high=0.28", "grpo.trl.loss_type=bnpo",
                  "grpo.gradient_checkpointing=true", "limits.ddp=9999")  # fmt: skip

    assert (made.epsilon_high, made.loss_type, made.ddp_timeout) == (0.28, "bnpo", 9999)
    assert made.gradient_checkpointing is True
    with pytest.raises(UsageError, match=r"^grpo\.trl: .*clip_min"):
        config("grpo.trl.vllm_importance_sampling_clip_min=5.0")


def test_importance_is_corrected_unless_it_is_said_otherwise():
    assert config(*SERVERS).vllm_importance_sampling_correction is True
    assert config(*SERVERS).vllm_importance_sampling_clip_max == 2.0
    assert config(*SERVERS, "grpo.correction=none").vllm_importance_sampling_correction is False


@pytest.mark.parametrize(
    ("overrides", "environment", "processes", "told"),
    [
        (["cluster.gpus=1"], {}, 1, "cluster.gpus: 1; this machine has none"),
        ([], {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}, 1, "started 'fsdp2'"),
        ([], {"ACCELERATE_USE_DEEPSPEED": "true"}, 1, "started 'zero3'"),
    ],
)
def test_processes_that_are_not_the_recipes(monkeypatch, overrides, environment, processes, told):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=told):
        check_placement(load_recipe(TINY, overrides), processes)


@pytest.mark.parametrize(("has", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_what_is_fast_hangs_on_the_cpu_and_what_is_slow_is_told(monkeypatch, has, dtype):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("qwq_env.training.placement.has_fast_bfloat16", lambda: has)
    fast, asked = (load_recipe(TINY, [f"policy.dtype={name}"]) for name in ("fast", "bfloat16"))

    assert computed_in(fast) is dtype and computed_in(asked) is torch.bfloat16
    assert slow_type(fast) is None
    assert (slow_type(asked) is None) is has


def test_adapters_need_peft(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"^policy\.lora: peft is not installed; pip install"):
        check_placement(load_recipe(TINY, ["policy.lora.rank=4"]), 1)


@pytest.mark.parametrize(("trained", "asked"), [(False, None), (True, ADAPTER)])
def test_servers_are_asked_for_the_adapter_once_there_is_one(trained, asked):
    recipe = load_recipe(
        TINY.with_name("qwq-32b-lora.yaml"), ["policy.servers=[http://127.0.0.1:1]"]
    )
    with sampler(None, None, recipe, trained=trained) as policy:
        assert policy._adapter == asked


@pytest.mark.parametrize(
    "made", [lambda recipe: servers_of(recipe)[0], partial(vllm_of, adapter=None)]
)
async def test_an_episode_keeps_to_an_engine_of_the_recipes_server(made):
    async with StubServer() as server:
        recipe = load_recipe(TINY.with_name("qwq-32b.yaml"), [f"policy.servers=[{server.url}]"])
        policy = made(recipe)
        for episode in "abab":
            asked = GenerationRequest([1], 8, episode, Sampling(), frozenset({2}))
            await policy.generate(asked)
        await policy.aclose()

        engines = [headers["X-data-parallel-rank"] for headers in server.headers]
        assert engines == ["0", "1", "0", "1"]
        assert recipe.cluster.data_parallel == 2


@pytest.mark.parametrize("seeded", [False, True])
async def test_a_turn_has_a_seed_where_the_recipe_says_so(seeded):
    async with StubServer() as server:
        given = [*SERVERS, f"policy.servers=[{server.url}]", f"policy.seeded={seeded}"]
        policy = vllm_of(load_recipe(TINY, given), adapter=None)
        asked = GenerationRequest([1], 8, "a", Sampling(), frozenset({2}), seed=7)
        await policy.generate(asked)
        await policy.aclose()

        assert [body.get("seed") for body in server.bodies] == [7 if seeded else None]


def test_a_run_goes_on_with_servers_at_other_addresses(tmp_path):
    RunFolder(tmp_path / "run").claim(load_recipe(TINY, SERVERS), resume=False)
    moved = load_recipe(TINY, [*SERVERS, "policy.servers=['http://z']", "cluster.port=9000"])
    RunFolder(tmp_path / "run").claim(moved, resume=True)
    with pytest.raises(UsageError, match="begun with another recipe"):
        other = load_recipe(TINY, [*SERVERS, "grpo.micro_batch=2"])
        RunFolder(tmp_path / "run").claim(other, resume=True)


@pytest.mark.slow
def test_a_step_in_bfloat16_in_micro_batches_leaves_a_checkpoint_in_bfloat16(tmp_path):
    said = ["policy.dtype=bfloat16", "grpo.micro_batch=4", "grpo.gradient_checkpointing=true",
            "policy.attention=eager"]  # fmt: skip
    assert main(["train", str(TINY), "--runs", str(tmp_path), *SMALL, *said]) == 0

    run = tmp_path / "tiny"
    saved = load_file(run / "policy" / "model.safetensors")
    masters = load_file(run / "checkpoints" / "checkpoint-1" / "model.safetensors")
    assert {weight.dtype for weight in saved.values()} == {torch.bfloat16}
    assert json.loads((run / "policy" / "config.json").read_text())["dtype"] == "bfloat16"
    assert {weight.dtype for weight in masters.values()} == {torch.float32}


@pytest.mark.slow
def test_a_run_of_adapters_saves_adapters_and_goes_on_from_them(tmp_path, monkeypatch):
    pytest.importorskip("peft")
    monkeypatch.chdir(tmp_path)
    arguments = ["train", str(TINY), "--runs", ".", *SMALL, "policy.lora.rank=4"]
    assert main(arguments) == 0
    run = tmp_path / "tiny"
    state = json.loads((run / "state.json").read_text())
    (run / "state.json").write_text(
        json.dumps({k: state[k] for k in ("cold_start", "cold", "grpo")})
    )

    assert load_file(run / "policy" / "adapter_model.safetensors")
    assert not (run / "policy" / "model.safetensors").exists()
    config = json.loads((run / "policy" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(run / "cold")
    assert main([*arguments, "--resume"]) == 0


@pytest.mark.parametrize(("strategy", "shares"), [("ddp", False), ("fsdp2", True), ("zero3", True)])
def test_gradients_are_shared_out_after_each_micro_batch_where_weights_are(strategy, shares):
    """A whole gradient of 32 billion weights, kept until the last of them, fills a GPU."""
    recipe = load_recipe(TINY.with_name("qwq-32b-lora.yaml"), [f"cluster.strategy={strategy}"])
    accelerator = grpo_config(recipe, TINY.parent, world=4).accelerator_config

    assert bool((accelerator.gradient_accumulation_kwargs or {}).get("sync_each_batch")) is shares


@pytest.mark.slow
def test_fsdp2_adds_gradients_up_in_float32_and_rounds_no_log_probability(tmp_path):
    """And as accelerate has it: why `keep_float32` is there."""

    def computed(kept: bool):
        out = tmp_path / str(kept)
        out.mkdir()
        run_ranks(sharded_on_two_ranks.compute, out, kept, folder=out)
        first, second = (json.loads((out / f"{rank}.json").read_text()) for rank in range(2))
        assert first == second
        return first

    ours, theirs = computed(True), computed(False)

    assert ours["logprob"] == pytest.approx(-5.0123, abs=1e-6)
    assert theirs["logprob"] == -5.0
    # The mean of 1 and 1.0078125, two neighbours in bfloat16.
    assert ours["gradient"] == 1.00390625
    assert theirs["gradient"] in (1.0, 1.0078125)
    assert ours["computed"] == theirs["computed"] == "torch.bfloat16"
    assert ours["sent"] == {"weight": "torch.bfloat16"}


@pytest.mark.parametrize("precision", ["bf16", "no"])
def test_zero3_adds_gradients_up_in_float32(precision):
    plugin = SimpleNamespace(deepspeed_config={"bf16": {"enabled": "auto"}})
    state = SimpleNamespace(deepspeed_plugin=plugin)
    keep_float32(SimpleNamespace(state=state, mixed_precision=precision))

    said = {"data_types": {"grad_accum_dtype": "fp32"}, "communication_data_type": "fp32"}
    added = {name: plugin.deepspeed_config.get(name) for name in said}
    assert added == (said if precision == "bf16" else dict.fromkeys(said))
