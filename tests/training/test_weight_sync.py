"""Weights on their way to servers: what is written, what is asked, and what stops the training."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.training.importance import correct_importance
from qwq_env.training.recipe import PolicyRecipe, Recipe
from qwq_env.training.served import servers_of
from qwq_env.training.tiny.model import build_tiny_model
from qwq_env.training.weights import versions
from qwq_env.training.weights.disk import DiskWeightSync, prepare_served
from qwq_env.training.weights.shares import owners_of

from .weight_server import free_address, weight_server_at


@pytest.fixture
def model(tokenizer):
    return build_tiny_model(tokenizer, hidden=16, heads=2, layers=1)


@pytest.fixture
def served(model, tokenizer, tmp_path):
    prepare_served(model, tokenizer, tmp_path / "served")
    return tmp_path / "served"


def trainer(model, step: int = 3) -> SimpleNamespace:
    state = SimpleNamespace(global_step=step)
    return SimpleNamespace(
        accelerator=Accelerator(cpu=True), model=model, model_wrapped=model, state=state
    )


def change(model) -> None:
    with torch.no_grad():
        for weight in model.parameters():
            weight += 1


def test_folder_holds_the_new_weights_and_the_server_is_told(model, served, weight_server):
    sync = DiskWeightSync(served, weight_server.url, api_key="secret")
    change(model)
    pushed = sync.push(trainer(model))

    version = served / "v000003"
    written = load_file(served / "model.safetensors")
    head = model.lm_head.weight
    assert torch.equal(written["model.embed_tokens.weight"], head)
    assert torch.equal(written["lm_head.weight"], head)
    told = {"method": "reload_weights", "kwargs": {"weights_path": str(version.resolve())}}
    assert weight_server.seen == [
        ("/pause?mode=wait", None, "Bearer secret"),
        ("/collective_rpc", told, "Bearer secret"),
        ("/reset_prefix_cache", None, "Bearer secret"),
    ]
    assert (pushed.version, pushed.servers) == (3, (weight_server.url,))
    assert pushed.bytes == sum(path.stat().st_size for path in version.iterdir())
    assert sorted(p.name for p in served.glob("*.safetensors*")) == ["model.safetensors"]
    assert not list(served.glob(".new-*"))
    assert "secret" not in repr(sync)


def test_a_version_that_was_pushed_is_brought_again(model, served, weight_server):
    sync = DiskWeightSync(served, weight_server.url)
    sync.push(trainer(model))
    asked = list(weight_server.seen)
    weight_server.seen.clear()

    assert DiskWeightSync(served, weight_server.url).bring(3) == (weight_server.url,)
    assert weight_server.seen == asked
    with pytest.raises(UsageError, match=r"v000004 is not there"):
        sync.bring(4)


def test_server_that_can_pause_is_paused_and_goes_on_whatever_happens(model, served, weight_server):
    weight_server.answers["/pause?mode=wait"] = weight_server.answers["/resume"] = (200, {})
    sync = DiskWeightSync(served, weight_server.url)
    sync.push(trainer(model))
    weight_server.answers["/collective_rpc"] = (400, {"error": {"message": "no such weights"}})
    with pytest.raises(InfrastructureError, match="no such weights"):
        sync.push(trainer(model))

    asked = [path.strip("/").partition("?")[0] for path, *_ in weight_server.seen]
    assert asked == [
        "pause", "collective_rpc", "reset_prefix_cache", "resume",
        "pause", "collective_rpc", "resume",
    ]  # fmt: skip


def test_versions_are_whole_checkpoints_of_which_two_stay(model, served, weight_server):
    sync = DiskWeightSync(served, weight_server.url)
    for step in (1, 2, 3, 2):
        change(model)
        sync.push(trainer(model, step))

    head = AutoModelForCausalLM.from_pretrained(served / "v000002").lm_head.weight
    assert sorted(path.name for path in served.glob("v0*")) == ["v000002", "v000003"]
    assert torch.equal(head, model.lm_head.weight)
    assert torch.equal(load_file(served / "model.safetensors")["lm_head.weight"], head)
    assert DiskWeightSync(served, weight_server.url).urls == (weight_server.url,)


@pytest.mark.parametrize("writers", [[0], [0, 1], [0, 2, 3], list(range(40))])
def test_weights_are_shared_out_evenly_and_a_layer_stays_together(writers):
    sizes = {"embed": 60, **{f"layers.{i}.{part}": 10 for i in range(24) for part in "abc"}}
    sizes["head"] = 60
    owners = owners_of(sizes, writers)
    shares = {rank: sum(sizes[name] for name in sizes if owners[name] == rank) for rank in writers}

    assert owners.keys() == sizes.keys()
    assert [*owners.values()] == sorted(owners.values())
    assert all(len({owners[f"layers.{i}.{part}"] for part in "abc"}) == 1 for i in range(24))
    assert max(shares.values()) <= sum(sizes.values()) / len(writers) + max(sizes.values())


@pytest.mark.parametrize(
    ("precision", "asked", "written"),
    [
        ("no", None, torch.float32),
        ("bf16", None, torch.bfloat16),
        ("bf16", "float32", torch.float32),
        ("no", "bfloat16", torch.bfloat16),
    ],
)
def test_what_is_written_is_what_the_trainer_computes_in(
    model, served, weight_server, precision, asked, written
):
    its = trainer(model)
    its.accelerator = SimpleNamespace(
        mixed_precision=precision,
        is_main_process=True,
        unwrap_model=lambda model: model,
        distributed_type=DistributedType.NO,
    )
    DiskWeightSync(served, weight_server.url, dtype=asked).push(its)

    tensors = load_file(served / "model.safetensors").values()
    assert {tensor.dtype for tensor in tensors} == {written}
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}


def test_what_a_killed_run_left_half_written_is_seen_by_nobody(
    model, served, weight_server, monkeypatch
):
    before = (served / "model.safetensors").read_bytes()
    sync = DiskWeightSync(served, weight_server.url)

    def killed(path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(versions, "to_disk", killed)
        with pytest.raises(KeyboardInterrupt):
            sync.push(trainer(model))
    assert (served / "model.safetensors").read_bytes() == before
    assert weight_server.seen == []

    (served / "v000009.part").mkdir()
    sync.push(trainer(model))
    assert sorted(path.name for path in served.glob("v0*")) == ["v000003"]


def test_server_that_fails_is_left_out_and_told_when_it_is_back(
    model, served, weight_server, caplog
):
    other = free_address()
    sync = DiskWeightSync(served, [weight_server.url, other])
    first = sync.push(trainer(model, 1))

    assert first.servers == (weight_server.url,)
    assert "left out" in caplog.text and other in caplog.text
    with weight_server_at(int(other.rsplit(":", 1)[1])) as back:
        assert sync.push(trainer(model, 2)).servers == (weight_server.url, other)
    assert back.seen[1][1]["kwargs"] == {"weights_path": str((served / "v000002").resolve())}


def test_folder_loads_as_a_checkpoint_with_the_same_logits(model, served):
    loaded = AutoModelForCausalLM.from_pretrained(served, dtype=torch.float32)
    ids = torch.arange(20)[None]

    assert not loaded.config.tie_word_embeddings
    with torch.no_grad():
        assert torch.equal(loaded(ids).logits, model(ids).logits)


def test_folder_that_is_prepared_again_leaves_the_versions_of_the_run_before(
    model, tokenizer, served, weight_server
):
    DiskWeightSync(served, weight_server.url).push(trainer(model))
    version = served / "v000003" / "model.safetensors"
    before = version.read_bytes()
    change(model)
    prepare_served(model, tokenizer, served)

    head = load_file(served / "model.safetensors")["lm_head.weight"]
    assert version.read_bytes() == before
    assert torch.equal(head, model.lm_head.weight)


def test_a_folder_of_several_parts_that_is_prepared_holds_one_checkpoint(
    model, tokenizer, tmp_path
):
    """vLLM reads the files that an index names, and no other."""
    model.save_pretrained(tmp_path, max_shard_size="10KB")
    assert (tmp_path / "model.safetensors.index.json").exists()
    prepare_served(model, tokenizer, tmp_path)

    assert [path.name for path in tmp_path.glob("*.safetensors*")] == ["model.safetensors"]


def test_parts_of_an_older_checkpoint_go(model, tokenizer, tmp_path, weight_server):
    served = tmp_path / "served"
    prepare_served(model, tokenizer, served)
    loaded = AutoModelForCausalLM.from_pretrained(served)
    loaded.save_pretrained(served, max_shard_size="10KB")
    (served / "model.safetensors").unlink()
    assert len(list(served.glob("*.safetensors"))) > 1

    DiskWeightSync(served, weight_server.url).push(trainer(model))

    assert [p.name for p in served.glob("*.safetensors*")] == ["model.safetensors"]
    assert AutoModelForCausalLM.from_pretrained(served).lm_head.weight.shape[1] == 16


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
    DiskWeightSync(served, weight_server.url).push(trainer(model))

    assert [asked for asked, *_ in weight_server.seen].count(path) == 4


def test_server_that_cannot_load_stops_the_training(model, served, weight_server):
    weight_server.answers["/collective_rpc"] = (500, {"error": {"message": "Worker failed"}})
    with pytest.raises(InfrastructureError, match=r"status 500: .*Worker failed"):
        DiskWeightSync(served, weight_server.url).push(trainer(model))


def test_key_that_a_server_says_again_is_not_shown(model, served, weight_server):
    echo = {"error": "x" * 470 + " Bearer sk-very-secret is no key"}
    weight_server.answers["/collective_rpc"] = (401, echo)
    with pytest.raises(InfrastructureError, match="status 401") as raised:
        DiskWeightSync(served, weight_server.url, api_key="sk-very-secret").push(trainer(model))

    assert "sk-ve" not in str(raised.value)


def test_fewer_servers_than_asked_for_stop_the_training(model, served, weight_server):
    urls = [weight_server.url, "http://127.0.0.1:9"]
    with pytest.raises(UsageError, match="min_servers: 3; expected at most 2"):
        DiskWeightSync(served, urls, min_servers=3)
    sync = DiskWeightSync(served, urls, min_servers=2)
    with pytest.raises(InfrastructureError, match=r"127.0.0.1:9/\S+: ConnectError"):
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
        Recipe(policy=PolicyRecipe(sampler="vllm", servers=["http://host"], served=str(served)))
    )

    assert policy.urls == weights.urls == ("http://host",)
    assert servers_of(Recipe()) is None
