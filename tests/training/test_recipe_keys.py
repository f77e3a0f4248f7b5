"""What a recipe may say besides: clusters, adapters, micro-batches, limits, TRL's own fields."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest

from qwq_env.cli import main
from qwq_env.dialect import make_dialect
from qwq_env.errors import UsageError
from qwq_env.training.recipe import Recipe, dump_recipe, load_recipe
from qwq_env.training.recipe.check import check_template
from qwq_env.training.recipe.explain import explain
from qwq_env.training.recipe.trl_fields import config_fields

RECIPES = Path(__file__).parents[2] / "recipes"
TINY = RECIPES / "tiny.yaml"
SHIPPED = sorted(path.stem for path in RECIPES.glob("*.yaml"))
NODE = ["cluster.gpus=8", "cluster.strategy=fsdp2", "policy.checkpoint=Qwen/QwQ-32B",
        "policy.sampler=vllm", "policy.weights=nccl", "cluster.serve=4"]  # fmt: skip


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["cluster.gpu=8"], "cluster.gpu: no such key (did you mean 'gpus'?)"),
        (["policy.lora.rang=8"], "policy.lora.rang: no such key (did you mean 'rank'?)"),
        (["policy.lora.rank=0"], "policy.lora.rank: 0; expected more than 0"),
        (["limits.turn=3"], "limits.turn: no such key"),
        (["grpo.micro_batch=0"], "grpo.micro_batch: 0; expected more than 0"),
        (["grpo.micro_batch=7"], "grpo.micro_batch: 7; expected a divisor of the 64 episodes"),
        (["grpo.micro_batch=8", "grpo.accumulation=3"], "grpo.accumulation: 3; expected a divisor"),
        (
            ["grpo.micro_batch_tokens=9999", "grpo.trl.entropy_coef=0.1"],
            "grpo.trl.entropy_coef: it looks at all tokens of a micro-batch",
        ),
        (
            ["grpo.micro_batch_tokens=9999", "grpo.trl.top_entropy_quantile=0.2"],
            "grpo.trl.top_entropy_quantile: it looks at all tokens of a micro-batch",
        ),
        (["policy.dtype=fp16"], "policy.dtype: 'fp16'; expected auto or fast or float32 or"),
        (["policy.attention=flash_attention_2"], "expected sdpa or eager"),
        (["policy.sampler=vllm"], "needs policy.servers and policy.served"),
        (["policy.sampler=vllm", "policy.served=x", "policy.lora.rank=4"], "expected 'adapter'"),
        (["policy.sampler=vllm", "policy.served=x", "policy.weights=adapter"], "with policy.lora"),
        (["policy.sampler=vllm", "policy.weights=nccl", "policy.servers=[a, b]"], "expected one"),
        (["cluster.serve=2"], "cluster.serve: 2; expected 0 without GPUs"),
        (["cluster.strategy=fsdp2"], "cluster.strategy: fsdp2; expected ddp without GPUs"),
        (["cluster.gpus=8", "cluster.strategy=zero3"], "expected policy.sampler=vllm"),
        (["cluster.gpus=2", "cluster.serve=1"], "expected GPUs that serve with policy.sampler"),
        (["cluster.gpus=8", "cluster.kind=H10"], "cluster.kind: 'H10' is not known"),
        (["cluster.gpus=7"], "expected a multiple of grpo.group (8) times the GPUs that train (7)"),
        ([*NODE, "cluster.serve=8"], "expected less than all 8 GPUs"),
        ([*NODE, "cluster.serve=0"], "expected GPUs that serve"),
        ([*NODE, "cluster.tensor_parallel=3"], "expected servers of tensor_parallel"),
        ([*NODE, "cluster.tensor_parallel=4", "cluster.data_parallel=4"], "(16) GPUs"),
        ([*NODE, "cluster.nodes=2", "cluster.serve=12", "cluster.tensor_parallel=6"], "one node"),
        (["limits.batch=100", "limits.episode=200"], "limits.episode: 200 seconds; expected less"),
        (["limits.batch=200", "limits.request=50"], "limits.batch: 200 seconds; expected less"),
        (["limits.request=1e5", "limits.ddp=9e4"], "limits.request: 100000 seconds"),
        (["limits.batch=1e9"], "limits.batch: 1000000000.0; expected at most 604800"),
        (["grpo.trl.epsilonhigh=1"], "did you mean 'epsilon_high'?"),
        (["grpo.trl.temperature=1"], "grpo.trl.temperature: expected it as grpo.temperature"),
        (["grpo.trl.bf16=true"], "grpo.trl.bf16: expected it as policy.dtype"),
        (["grpo.trl.top_p=0.9"], "grpo.trl.top_p: the run has its own sampling"),
        (["grpo.trl.epsilon=high"], "grpo.trl.epsilon: 'high'; expected float"),
        (["grpo.trl.num_iterations=true"], "grpo.trl.num_iterations: True; expected int"),
        (["environment.difficulty=99"], "difficulty"),
        (["environment.tasks=missing.jsonl"], "missing.jsonl"),
        (
            ["rollout.thinking=strip", "environment.dialect=fenced", "environment.tools=[python]"],
            "expected 'keep'",
        ),
        (["grpo.trl=3"], "grpo.trl: 3; expected names and values"),
    ],
)
def test_what_is_wrong_is_one_line(capsys, overrides, told):
    code = main(["recipe", "check", str(TINY), *overrides])

    error = capsys.readouterr().err
    assert (code, len(error.splitlines())) == (2, 1)
    assert told in error


def test_every_field_of_trl_is_passed_on_or_refused_by_name():
    trl = pytest.importorskip("trl")
    import dataclasses

    theirs = {field.name for field in dataclasses.fields(trl.GRPOConfig) if field.init}

    assert config_fields().keys() >= theirs


def test_what_is_unsaid_follows_from_what_is_said():
    recipe = load_recipe(TINY, ["limits.batch=600"])

    assert (recipe.limits.request_seconds, recipe.limits.patience) == (900, 2400)
    assert recipe.grpo.rows(2) == 32


@pytest.mark.parametrize(
    ("overrides", "tokens"),
    [
        ([], 32 * 1024),
        (["grpo.micro_batch=2"], 2048),
        (["grpo.micro_batch_tokens=3500"], 3500),
        (["grpo.micro_batch=2", "grpo.micro_batch_tokens=3500"], 2048),
        (["grpo.micro_batch_tokens=100"], 1024),  # a row is not cut
    ],
)
def test_how_many_tokens_go_through_the_model_at_a_time(overrides, tokens):
    assert load_recipe(TINY, overrides).grpo.pass_tokens(2) == tokens
    assert load_recipe(TINY, ["limits.episode=null"]).limits.episode is None


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_recipes_hold_and_are_read_again_as_they_are_shown(
    name, tmp_path, capsys, monkeypatch
):
    monkeypatch.syspath_prepend(RECIPES.parent / "examples")
    path = RECIPES / f"{name}.yaml"
    assert main(["recipe", "show", str(path)]) == 0
    shown = tmp_path / "shown.yaml"
    shown.write_text(capsys.readouterr().out)

    assert load_recipe(shown) == load_recipe(path)
    assert main(["recipe", "check", str(path)]) == 0


def test_explain_says_where_each_value_is_from(capsys):
    found = {key.name: key for key in explain(TINY, ["grpo.steps=7"])}

    assert found["grpo.steps"][1:3] == (7, "override")
    assert found["grpo.episodes"][1:3] == (64, "file")
    assert found["cluster.nodes"][1:3] == (1, "default")
    assert all(key.what for key in found.values())
    assert main(["recipe", "explain", str(TINY), "policy.lora.rank=3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines if "lora.rank" in line] == [
        ["policy.lora.rank", "3", "override"]
    ]


def test_checking_imports_nothing_heavy():
    script = (
        "import sys; from qwq_env.cli import main; "
        f"codes = [main(['recipe', 'check', {str(RECIPES / 'qwq-32b.yaml')!r}]),"
        f" main(['plan', {str(RECIPES / 'qwq-32b.yaml')!r}, '--json'])]; "
        "print(codes, [n for n in ('torch', 'trl', 'transformers') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines()[-1] == "[0, 0] []"


def test_a_template_that_writes_calls_otherwise_is_refused_unless_the_dialect_is_said(tokenizer):
    from qwq_env.training.tiny.chat_template import qwq_chat_template

    taught, odd = copy.copy(tokenizer), copy.copy(tokenizer)
    taught.chat_template = qwq_chat_template()
    odd.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    check_template(Recipe(), taught, make_dialect("qwq"))
    with pytest.raises(UsageError, match=r"than the dialect 'react'; it fits .*qwq.*: say"):
        check_template(Recipe(), taught, make_dialect("react"))
    with pytest.raises(UsageError, match=r"'qwq'; it fits no dialect: say environment\.dialect"):
        check_template(Recipe(), odd, make_dialect("qwq"))
    check_template(load_recipe(TINY, ["environment.dialect=qwq"]), odd, make_dialect("qwq"))


def test_a_recipe_without_the_new_keys_reads_as_before(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("grpo: {steps: 3}\npolicy: {sampler: vllm, servers: [a], served: b}\n")
    recipe = load_recipe(path)

    assert (recipe.grpo.micro_batch, recipe.policy.weights) == (None, "disk")
    assert json.loads(json.dumps(dump_recipe(recipe))).startswith("name: tiny\n")
