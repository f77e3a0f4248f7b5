"""The plan's arithmetic: against what torch allocates at small sizes, and the figures of 32B."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache

from qwq_env.cli import main
from qwq_env.errors import UsageError
from qwq_env.training.activations import gradient_bytes, layer_bytes
from qwq_env.training.plan import GB, cache_bytes, make_plan, read_gpus
from qwq_env.training.recipe import load_recipe
from qwq_env.training.shapes import read_shape, shape_of
from qwq_env.versions import cache_argument

RECIPES = Path(__file__).parents[2] / "recipes"
QWQ = shape_of("Qwen/QwQ-32B")
SIZES = {
    "hidden_size": 64, "intermediate_size": 160, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 96, "num_hidden_layers": 3,
    "pad_token_id": None,
}  # fmt: skip
KINDS = ["qwen2", "qwen3", "llama", "mistral"]
TOKENS = 64


def small(kind: str, dtype: torch.dtype = torch.float32, **changed):
    config = AutoConfig.for_model(kind, **{**SIZES, **changed})
    model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    return model, read_shape({**config.to_dict(), "model_type": kind}, kind)


def nbytes(tensors) -> int:
    return sum(tensor.nbytes for tensor in tensors)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tied", [True, False])
def test_parameters_gradients_and_moments_are_counted(kind, tied):
    model, shape = small(kind, tie_word_embeddings=tied)
    weights = list(model.parameters())
    optimizer = torch.optim.AdamW(weights, lr=1e-3)
    model(torch.zeros(1, 4, dtype=torch.long)).logits.sum().backward()
    optimizer.step()
    moments = [v for state in optimizer.state.values() for v in state.values() if v.dim()]

    assert nbytes(weights) == shape.parameters * 4
    assert nbytes(weight.grad for weight in weights) == shape.parameters * 4
    assert nbytes(moments) == 2 * shape.parameters * 4


@pytest.mark.parametrize("kind", KINDS)
def test_adapters_are_counted(kind):
    peft = pytest.importorskip("peft")
    model, shape = small(kind)
    adapted = peft.get_peft_model(
        model, peft.LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear")
    )
    trained = sum(w.numel() for w in adapted.parameters() if w.requires_grad)

    assert trained == shape.lora_parameters(4)


@pytest.mark.parametrize("kind", KINDS)
def test_keys_and_values_are_counted(kind):
    model, shape = small(kind)
    cache = DynamicCache(config=model.config)
    with torch.no_grad():
        taken = {cache_argument(model.forward): cache}
        model(torch.zeros(1, 5, dtype=torch.long), use_cache=True, **taken)
    held = nbytes(each for layer in cache.layers for each in (layer.keys, layer.values))

    assert held == 5 * cache_bytes(shape, 4)


def saved_bytes(model, *, autocast: bool) -> int:
    """Return what the backward pass keeps besides weights, each storage once."""
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        model.model(torch.zeros(1, TOKENS, dtype=torch.long), use_cache=False)
    return sum(t.untyped_storage().nbytes() for at, t in kept.items() if at not in weights)


def per_layer(kind: str, dtype: torch.dtype, checkpointing: bool, **changed) -> float:
    """Return the bytes that a token leaves in one more layer.

    With as many heads of keys as of queries: for fewer, the kernel for CPU keeps scores.
    """
    sizes = []
    for layers in (1, 3):
        model, _ = small(kind, dtype, num_hidden_layers=layers, num_key_value_heads=4, **changed)
        model.train()
        if checkpointing:
            # The other kind keeps the same in a closure, where hooks do not see it.
            model.gradient_checkpointing_enable({"use_reentrant": True})
        sizes.append(saved_bytes(model, autocast=dtype is torch.bfloat16))
    return (sizes[1] - sizes[0]) / 2 / TOKENS


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("changed", [{}, {"intermediate_size": 512}, {"hidden_size": 128}])
def test_activations_are_counted(kind, dtype, changed):
    _, shape = small(kind, num_key_value_heads=4, **changed)
    measured = per_layer(kind, dtype, checkpointing=False, **changed)

    assert layer_bytes(shape, dtype.itemsize) == pytest.approx(measured, rel=0.1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_checkpointing_keeps_each_layers_input_alone(dtype):
    assert per_layer("qwen2", dtype, checkpointing=True) == pytest.approx(
        SIZES["hidden_size"] * dtype.itemsize, rel=0.05
    )


def lines(gpus: str, *overrides: str, recipe: str = "qwq-32b") -> dict[str, float]:
    loaded = load_recipe(RECIPES / f"{recipe}.yaml", overrides)
    plan = make_plan(loaded, QWQ, read_gpus(gpus))
    return {f"{side.name} {line.name}": line.bytes / GB for side in plan.sides
            for line in side.lines}  # fmt: skip


def states(held: dict[str, float]) -> float:
    return sum(held[f"train {name}"] for name in ("weights", "gradients", "optimizer"))


@pytest.mark.parametrize(("gpus", "expected"), [("16xH200", 65.5), ("24xH100", 32.8)])
def test_states_of_32b_are_shared_out(gpus, expected):
    assert states(lines(gpus)) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(("context", "expected"), [(16_384, 10.7), (32_768, 21.5)])
def test_activations_of_32b(context, expected):
    held = lines("24xH100", f"grpo.context={context}")

    assert held["train activations"] == pytest.approx(expected, rel=0.01)


def test_one_layer_of_32b_recomputed_and_its_gradients():
    kept, in_flight = layer_bytes(QWQ, 2), gradient_bytes(QWQ, 2)

    assert kept == pytest.approx(0.328e6, rel=0.01)
    assert kept + in_flight == pytest.approx(0.449e6, rel=0.01)


def test_a_model_that_samples_itself_keeps_so_many_caches():
    """As many as turns are sampled at a time, or episodes are played."""

    def caches(*overrides: str) -> float:
        return lines("1xH100", *overrides, recipe="qwen3-0.6b")["train KV cache"]

    usual = caches("rollout.concurrency=64")

    assert caches("rollout.concurrency=128", "rollout.slots=128") == 2 * usual
    assert caches("rollout.concurrency=128") == usual
    assert caches("rollout.slots=32") == usual / 2


def test_what_32b_is_otherwise():
    assert QWQ.parameters * 2 == pytest.approx(65.5 * GB, rel=0.001)
    assert cache_bytes(QWQ) * 131_072 == pytest.approx(34.4 * GB, rel=0.01)
    assert QWQ.lora_parameters(64) * 2 == pytest.approx(1.07 * GB, rel=0.01)
    recipe = load_recipe(RECIPES / "qwq-32b-lora.yaml")
    assert make_plan(recipe, QWQ, read_gpus("8xH100")).episodes == pytest.approx(49, abs=2)


@pytest.mark.parametrize(
    ("recipe", "gpus", "overrides", "fits"),
    [
        ("qwq-32b", "24xH100", [], True),
        ("qwq-32b", "16xH200", ["grpo.context=32768"], True),
        ("qwq-32b", "16xH100", [], False),
        ("qwq-32b", "8xH100", [], False),
        ("qwq-32b-lora", "8xH100", [], True),
        ("qwq-32b-lora", "8xH100", ["grpo.context=32768"], True),
        ("qwq-32b-lora", "2xL4", ["cluster.tensor_parallel=1"], False),
    ],
)
def test_what_fits(capsys, recipe, gpus, overrides, fits):
    code = main(["plan", str(RECIPES / f"{recipe}.yaml"), "--gpus", gpus, "--json", *overrides])

    plan = json.loads(capsys.readouterr().out)
    assert (code, plan["fits"]) == (0 if fits else 1, fits)
    assert fits or any(side["too_much"] for side in plan["sides"])


def test_the_nearest_change_fits_once_it_is_made(capsys):
    path = str(RECIPES / "qwq-32b.yaml")
    assert main(["plan", path, "--gpus", "24xH100", "grpo.gradient_checkpointing=false"]) == 1
    text = capsys.readouterr().out

    assert "the first too much: activations" in text
    assert "  grpo.gradient_checkpointing=true: train" in text
    assert main(["plan", path, "--gpus", "16xH100"]) == 1
    found = capsys.readouterr().out
    assert "policy.lora (rank 64): train" in found
    assert "cluster.serve=4 cluster.data_parallel=1 grpo.episodes=384 (12 GPUs train)" in found
    assert "24 GPUs (16 train): train" in found
    lora = str(RECIPES / "qwq-32b-lora.yaml")
    assert main(["plan", lora, "--gpus", "8xH100", "cluster.tensor_parallel=1"]) == 1
    assert "cluster.tensor_parallel=2 (4 GPUs train): train" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("recipe", "gpus", "overrides", "least"),
    [
        ("qwq-32b-lora", "8xH100", ["grpo.context=131072"], 1),
        ("qwq-32b-lora", "8xH100", ["grpo.micro_batch_tokens=131072"], 2),
        ("qwq-32b-lora", "8xH100",
         ["grpo.micro_batch_tokens=131072", "grpo.gradient_checkpointing=false"], 2),
        ("qwq-32b-lora", "8xH100", ["grpo.micro_batch=16", "grpo.micro_batch_tokens=null"], 2),
        ("qwq-32b-lora", "8xH100",
         ["grpo.micro_batch=16", "grpo.micro_batch_tokens=null", "grpo.trl.entropy_coef=0.1"], 2),
        ("qwen3-0.6b", "1xL4", ["grpo.micro_batch_tokens=65536", "rollout.concurrency=16"], 1),
        ("qwen3-0.6b", "1xL4", ["grpo.gradient_checkpointing=false"], 0),
    ],
)  # fmt: skip
def test_each_change_of_the_recipe_fits_once_it_is_made(capsys, recipe, gpus, overrides, least):
    asked = ["plan", str(RECIPES / f"{recipe}.yaml"), "--gpus", gpus, *overrides]
    assert main(asked) == 1
    found = re.findall(r"^  ((?:grpo\.\w+=\w+ ?)+): train", capsys.readouterr().out, re.M)

    assert len(found) >= least
    for change in found:
        assert main([*asked, *change.split()]) == 0, change


def test_readme_shows_the_lines_that_are_printed(capsys):
    readme = (RECIPES.parent / "README.md").read_text()
    table = readme.split("| line | GB |")[1].split("\n\n")[0]
    assert main(["plan", str(RECIPES / "qwq-32b-lora.yaml"), "--gpus", "8xH100"]) == 0
    found = re.findall(r"^  (\w.{11}) +([\d.]+)(?:  |$)", capsys.readouterr().out, re.M)

    assert len(found) == 16
    assert [f"| {name.strip()} | {size} |" for name, size in found] == re.findall(
        r"^\| [A-Za-z][\w ]* \| [\d.]+ \|", table, re.M
    )


@pytest.mark.parametrize("text", ["H100", "8xH1000", "0xH100", "8", "x", "-8xH100", "8xH100 2"])
def test_gpus_that_are_none(text):
    with pytest.raises(UsageError, match=r"^gpus: "):
        read_gpus(text)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ("{", "cannot be read"),
        ("[]", "expected an object"),
        ('{"model_type": "mamba"}', "model_type 'mamba'; the plan knows qwen2"),
        ('{"model_type": "llama"}', "num_attention_heads: None; expected a whole number"),
    ],
)
def test_a_config_that_cannot_be_planned_with(tmp_path, capsys, config, told):
    path = tmp_path / "config.json"
    path.write_text(config)
    recipe = str(RECIPES / "qwq-32b.yaml")
    code = main(["plan", recipe, "--gpus", "24xH100", "--config", str(path)])

    error = capsys.readouterr().err
    assert (code, len(error.splitlines())) == (2, 1)
    assert told in error


def test_a_cluster_that_cannot_hold_the_policy_is_refused_before_anything_is_loaded(capsys):
    code = main(["train", str(RECIPES / "qwq-32b.yaml"), "cluster.nodes=2"])

    error = capsys.readouterr().err
    assert (code, len(error.splitlines())) == (2, 1)
    assert "16 × H100 do not hold Qwen/QwQ-32B" in error
    assert "it fits with" in error


BIG = "Qwen/Qwen2.5-72B-Instruct"
BIG_CONFIG = {
    "model_type": "qwen2", "hidden_size": 8192, "intermediate_size": 29_568,
    "num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads": 8,
    "vocab_size": 152_064,
}  # fmt: skip
ONE_NODE = ["cluster.nodes=1", "cluster.serve=4", "cluster.data_parallel=1"]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The hub's cache, empty."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def cached(cache: Path, name: str, config: str) -> None:
    """Put a model's config where the hub's own client does."""
    folder = cache / f"models--{name.replace('/', '--')}"
    (folder / "snapshots" / "abc").mkdir(parents=True)
    (folder / "snapshots" / "abc" / "config.json").write_text(config)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc")


def checked(capsys, recipe: str | Path, *overrides: str) -> tuple[int, list[str]]:
    code = main(["recipe", "check", str(RECIPES / f"{recipe}.yaml"), *overrides])
    printed = capsys.readouterr()
    assert printed.out.endswith(": ok\n") == (code == 0)
    return code, printed.err.splitlines()


def test_gpus_of_no_kind_are_held_against_the_largest(capsys):
    code, [told] = checked(capsys, "qwq-32b", "cluster.kind=null", *ONE_NODE,
                           "grpo.gradient_checkpointing=false")  # fmt: skip
    assert code == 2
    assert "8 × B200, the largest kind that is known, do not hold Qwen/QwQ-32B" in told
    assert "it fits with grpo.gradient_checkpointing=true" in told

    code, told = checked(capsys, "qwq-32b", "cluster.kind=null", *ONE_NODE)
    kinds = "cluster.kind: none; expected one of which 8 hold Qwen/QwQ-32B: B200"
    assert (code, told) == (0, [f"qwq: warning: {kinds}"])
    assert checked(capsys, "qwq-32b", "cluster.kind=B200", *ONE_NODE) == (0, [])
    small = ["rollout.concurrency=1", "grpo.micro_batch=1"]
    assert checked(capsys, "qwen3-0.6b", "cluster.kind=null", *small) == (0, [])


def test_positions_are_asked_for_without_a_kind_too(capsys):
    code, [told] = checked(capsys, "qwq-32b", "cluster.kind=null", "grpo.context=65536")

    assert (code, "the checkpoint has positions for 40960" in told) == (2, True)


def test_a_checkpoint_whose_shape_is_not_known_is_told_of(capsys, cache):
    code, [told] = checked(capsys, "qwq-32b", f"policy.checkpoint={BIG}")

    assert code == 0
    assert told.startswith("qwq: warning: whether the GPUs hold the policy is not known: policy.ch")
    assert f"{BIG!r} is no folder with a config.json here, not in the hub's cache" in told
    assert checked(capsys, "smollm2-135m", f"policy.checkpoint={BIG}") == (0, [])  # on a laptop


def test_a_config_in_the_hubs_cache_is_planned_with(capsys, cache):
    cached(cache, BIG, json.dumps(BIG_CONFIG))
    code, [told] = checked(capsys, "qwq-32b", f"policy.checkpoint={BIG}")
    assert (code, f"24 × H100 do not hold {BIG}" in told) == (2, True)

    path = str(RECIPES / "qwq-32b.yaml")
    assert main(["plan", path, "--gpus", "24xB200", f"policy.checkpoint={BIG}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parameters"] == pytest.approx(72.7e9, rel=0.001)


def test_a_config_of_another_kind_in_the_hubs_cache_is_told_of(capsys, cache):
    cached(cache, "owner/mamba", '{"model_type": "mamba"}')
    code, [told] = checked(capsys, "qwq-32b", "policy.checkpoint=owner/mamba")

    assert (code, "model_type 'mamba'; the plan knows qwen2" in told) == (0, True)


def test_a_stage_is_held_by_the_shape_of_what_the_first_begins_with(capsys, tmp_path):
    """The policy that a stage before leaves is not there yet."""
    recipe = (RECIPES / "qwen3-0.6b.yaml").read_text()
    for name, more in (("fits", ""), ("does-not", "grpo.micro_batch_tokens: 524288")):
        stages = f"stages: [{{name: a}}, {{name: b, overrides: {{{more}}}}}]"
        (tmp_path / f"{name}.yaml").write_text(f"{recipe}\n{stages}\n")
    assert checked(capsys, tmp_path / "fits") == (0, [])
    code, [told] = checked(capsys, tmp_path / "does-not")

    assert (code, "1 × H100 do not hold Qwen/Qwen3-0.6B" in told) == (2, True)
