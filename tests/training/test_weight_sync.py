"""Weights on their way to servers: what is written, what is asked, and what stops the training."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.training.importance import correct_importance
from qwq_env.training.recipe import PolicyRecipe
from qwq_env.training.run import servers_of
from qwq_env.training.tiny.model import build_tiny_model
from qwq_env.training.weight_sync import DiskWeightSync, prepare_served


@pytest.fixture
def model(tokenizer):
    return build_tiny_model(tokenizer, hidden=16, heads=2, layers=1)


@pytest.fixture
def served(model, tokenizer, tmp_path):
    prepare_served(model, tokenizer, tmp_path / "served")
    return tmp_path / "served"


def trainer(model) -> SimpleNamespace:
    return SimpleNamespace(accelerator=Accelerator(cpu=True), model=model, model_wrapped=model)


def change(model) -> None:
    with torch.no_grad():
        for weight in model.parameters():
            weight += 1


def test_folder_holds_the_new_weights_and_the_server_is_told(model, served, weight_server):
    sync = DiskWeightSync(served, weight_server.url, api_key="secret")
    change(model)
    sync.push(trainer(model))

    written = load_file(served / "model.safetensors")
    head = model.lm_head.weight
    assert torch.equal(written["model.embed_tokens.weight"], head)
    assert torch.equal(written["lm_head.weight"], head)
    assert weight_server.seen == [
        ("/collective_rpc", {"method": "reload_weights"}, "Bearer secret"),
        ("/reset_prefix_cache", None, "Bearer secret"),
    ]
    assert sorted(p.name for p in served.glob("*.safetensors*")) == ["model.safetensors"]
    assert not list(served.glob(".new-*"))
    assert "secret" not in repr(sync)


def test_folder_loads_as_a_checkpoint_with_the_same_logits(model, served):
    loaded = AutoModelForCausalLM.from_pretrained(served, dtype=torch.float32)
    ids = torch.arange(20)[None]

    assert not loaded.config.tie_word_embeddings
    with torch.no_grad():
        assert torch.equal(loaded(ids).logits, model(ids).logits)


def test_parts_of_an_older_checkpoint_go(model, tokenizer, tmp_path, weight_server):
    served = tmp_path / "served"
    prepare_served(model, tokenizer, served)
    loaded = AutoModelForCausalLM.from_pretrained(served)
    loaded.save_pretrained(served, max_shard_size="10KB")
    (served / "model.safetensors").unlink()
    assert len(list(served.glob("*.safetensors"))) > 1

    DiskWeightSync(served, weight_server.url).push(trainer(model))

    assert [p.name for p in served.glob("*.safetensors*")] == ["model.safetensors"]


def test_cache_in_use_is_asked_for_again(model, served, weight_server):
    answers = [{"success": False}, {"success": False}, {"success": True}]
    weight_server.answers["/reset_prefix_cache"] = (200, answers)
    DiskWeightSync(served, weight_server.url).push(trainer(model))

    assert [path for path, *_ in weight_server.seen].count("/reset_prefix_cache") == 3


def test_cache_that_stays_in_use_stops_the_training(model, served, weight_server):
    weight_server.answers["/reset_prefix_cache"] = (200, {"success": False})
    with pytest.raises(InfrastructureError, match="stays in use"):
        DiskWeightSync(served, weight_server.url, seconds=0.2).push(trainer(model))


@pytest.mark.parametrize("path", ["/collective_rpc", "/reset_prefix_cache"])
def test_a_hiccup_of_a_server_ends_nothing(model, served, weight_server, path):
    weight_server.answers[path] = [(503, {}), (502, {}), (500, {}), (200, {})]
    DiskWeightSync(served, weight_server.url, backoff=0.001).push(trainer(model))

    assert [asked for asked, *_ in weight_server.seen].count(path) == 4


def test_server_that_cannot_load_stops_the_training(model, served, weight_server):
    weight_server.answers["/collective_rpc"] = (500, {"error": {"message": "Worker failed"}})
    with pytest.raises(InfrastructureError, match=r"status 500: .*Worker failed"):
        DiskWeightSync(served, weight_server.url, backoff=0.001).push(trainer(model))


def test_key_that_a_server_says_again_is_not_shown(model, served, weight_server):
    echo = {"error": "x" * 470 + " Bearer sk-very-secret is no key"}
    weight_server.answers["/collective_rpc"] = (401, echo)
    with pytest.raises(InfrastructureError, match="status 401") as raised:
        DiskWeightSync(served, weight_server.url, api_key="sk-very-secret").push(trainer(model))

    assert "sk-ve" not in str(raised.value)


def test_one_server_left_behind_stops_the_training(model, served, weight_server):
    sync = DiskWeightSync(served, [weight_server.url, "http://127.0.0.1:9"], backoff=0.001)
    with pytest.raises(InfrastructureError, match=r"127.0.0.1:9/\w+: ConnectError"):
        sync.push(trainer(model))


def test_server_without_development_mode_is_named(model, served, weight_server):
    weight_server.answers.clear()
    with pytest.raises(InfrastructureError, match="VLLM_SERVER_DEV_MODE=1"):
        DiskWeightSync(served, weight_server.url).push(trainer(model))


def test_folder_of_another_model_is_left_alone(tokenizer, served, weight_server):
    other = build_tiny_model(tokenizer, hidden=16, heads=2, layers=2)
    before = (served / "model.safetensors").read_bytes()
    with pytest.raises(InfrastructureError, match="holds another model"):
        DiskWeightSync(served, weight_server.url).push(trainer(other))

    assert (served / "model.safetensors").read_bytes() == before
    assert weight_server.seen == []


def test_folder_that_is_none(tmp_path):
    with pytest.raises(UsageError, match="no checkpoint"):
        DiskWeightSync(tmp_path, "http://host")


def test_folder_with_a_tied_head_is_refused(model, tokenizer, tmp_path):
    model.save_pretrained(tmp_path)
    with pytest.raises(UsageError, match="prepare_served"):
        DiskWeightSync(tmp_path, "http://host")


def test_cache_of_a_hub_is_not_overwritten(served):
    (served / "model.safetensors").rename(served / "blob")
    (served / "model.safetensors").symlink_to(served / "blob")
    with pytest.raises(UsageError, match="links"):
        DiskWeightSync(served, "http://host")


def test_adapters_are_refused(model, served, weight_server):
    model.peft_config = {}
    with pytest.raises(UsageError, match="adapters"):
        DiskWeightSync(served, weight_server.url).push(trainer(model))


def test_correction_is_for_trainers_on_rollouts():
    plain = SimpleNamespace(rollout_func=None, vllm_importance_sampling_correction=True)
    switched_off = SimpleNamespace(rollout_func=print, vllm_importance_sampling_correction=False)

    with pytest.raises(UsageError, match="rollout_func"):
        correct_importance(plain)
    with pytest.raises(UsageError, match="correction: False"):
        correct_importance(switched_off)


def test_recipe_names_servers_and_the_folder_they_were_started_on(served):
    with pytest.raises(UsageError, match=r"needs policy\.servers and policy\.served"):
        PolicyRecipe(sampler="vllm", servers=["http://host"])
    policy, weights = servers_of(
        PolicyRecipe(sampler="vllm", servers=["http://host"], served=str(served))
    )

    assert policy.urls == weights.urls == ("http://host",)
    assert servers_of(PolicyRecipe()) is None
