"""Stages: each reads one sealed policy and writes one; what is sealed is not done again."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import gymnasium
import pytest
import torch
from transformers import AutoModelForCausalLM

from qwq_env.cli import main
from qwq_env.env import ToolEnv
from qwq_env.envs.reward_models import make_reward_model
from qwq_env.errors import UsageError
from qwq_env.evaluation.heldout import Result
from qwq_env.outcome import EpisodeLimits
from qwq_env.rubric import Component, FinalTurn, Rubric, by_reward_model
from qwq_env.task import ListTaskSet, Task
from qwq_env.training.checkpoint_seal import broken, is_whole, seal
from qwq_env.training.environments import environments_of
from qwq_env.training.recipe import GateRecipe, dump_recipe, load_recipe
from qwq_env.training.recipe.parts import parts_of
from qwq_env.training.stages import reinforcement, reward_phase
from qwq_env.training.stages.gates import closed

RECIPE = """
name: two
environment:
  id: qwq/Mixture-v0
  arguments:
    members:
      math: {id: qwq/MathTool-v0, tools: [calculator]}
      game: test/Coin-v0
policy: {hidden: 16, layers: 1, heads: 2}
cold_start: {steps: 1, transcripts: 16, source: solve}
grpo: {steps: 1, episodes: 8, max_completion_tokens: 8, reward: random}
evaluation: {tasks: 2, samples: 0}
stages:
  - {name: first, mixture: {math: 1}}
  - name: second
    steps: 2
    mixture: {math: 1, game: 3}
    dynamic: 2
    evaluation: {every: 1}
    gates: [{member: math, fall: 0.03}]
    reward_model: {member: game, episodes: 32, steps: 2}
    overrides: {grpo: {save_steps: 1}}
"""


class CoinEnv(ToolEnv):
    """Whatever is said is right as often as not; a reward model may pay in its place."""

    def __init__(self, split: str = "train", reward_model: str | None = None) -> None:
        tasks = ListTaskSet([Task(f"{split}{i}", f"Toss {i}.", "heads") for i in range(40)])
        tasks.split = split
        pays = toss
        if reward_model is not None:
            pays = by_reward_model(make_reward_model(reward_model))
        limits = EpisodeLimits(grade_truncated=True)
        super().__init__(tasks, [], Rubric([Component("toss", pays)]), limits=limits)


def toss(final: FinalTurn) -> float:
    """Pay by what was said, as a coin does."""
    return float(sum(map(ord, final.turns[-1].text)) % 2)


gymnasium.register("test/Coin-v0", entry_point=CoinEnv, disable_env_checker=True)


def written(folder: Path, text: str = RECIPE) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> Path:
    """A whole run of two stages of the smallest policy."""
    folder = tmp_path_factory.mktemp("stages")
    assert main(["train", str(written(folder)), "--runs", str(folder / "runs")]) == 0
    return folder


def test_each_stage_seals_a_policy_with_how_it_was_come_by(ran):
    run = ran / "runs" / "two"
    for name, steps in (("first", 1), ("second", 2)):
        policy = run / "stages" / name / "policy"
        assert broken(policy, read=True) is None
        expected = ("model.safetensors", "tokenizer.json", "recipe.yaml", "summary.json")
        assert all((policy / file).is_file() for file in expected)
        assert len((policy / "metrics.jsonl").read_text().splitlines()) == steps
        assert load_recipe(policy / "recipe.yaml").grpo.steps == steps
    summary = json.loads((run / "summary.json").read_text())
    assert list(summary["stages"]) == ["first", "second"]
    assert list(summary["stages"]["second"]["accuracy_by_step"]) == ["1"]
    assert summary["stages"]["second"]["accuracy_by_member"].keys() == {"math", "game"}


def test_a_stage_trains_on_its_mixture_and_begins_with_what_the_one_before_left(ran):
    stages = ran / "runs" / "two" / "stages"
    trained = {"first": set(), "second": set()}
    for name, members in trained.items():
        for line in (stages / name / "episodes.jsonl").read_text().splitlines():
            row = json.loads(line)
            members |= {row["task_id"].partition("/")[0]} if row["phase"] == "grpo" else set()

    assert trained["first"] == {"math"}
    assert trained["second"] <= {"math", "game"}
    assert not (stages / "second" / "cold").exists()
    config = json.loads((stages / "second" / "policy" / "config.json").read_text())
    assert config["hidden_size"] == 16


def test_a_reward_model_is_trained_by_the_rubric_and_pays_in_its_place(ran):
    second = ran / "runs" / "two" / "stages" / "second"
    report = json.loads((second / "summary.json").read_text())["reward_model"]
    rows = [json.loads(line) for line in (second / "episodes.jsonl").read_text().splitlines()]
    paid = {
        phase: {r["reward"] for r in rows if r["phase"] == phase and r["task_id"][:4] == "game"}
        for phase in ("reward_model", "grpo", "trained")
    }

    assert (report["trained_on"], report["tested_on"]) == (24, 8)
    assert (second / "reward_model" / "model.safetensors").exists()
    assert paid["reward_model"] == {0.0, 1.0}
    assert all(0 < reward < 1 for reward in paid["grpo"])
    assert paid["grpo"]
    assert paid["trained"] <= {0.0, 1.0}


@pytest.mark.parametrize("begins", ["nothing", "a checkpoint"])
def test_adapters_are_added_to_what_they_were_trained_on(ran, tmp_path, monkeypatch, begins):
    """To what the cold start left, and in the second stage to what the first has sealed."""
    pytest.importorskip("peft")
    given = "tiny" if begins == "nothing" else ran / "runs" / "two" / "stages" / "first" / "policy"
    trained, taught = [], []
    keep_what(monkeypatch, reinforcement, "save_policy", lambda given, made: trained.append(made))
    keep_what(
        monkeypatch, reward_phase, "train_reward_model", lambda given, made: taught.append(given[0])
    )
    said = [
        f"policy.checkpoint={given}", "policy.lora.rank=2", "cold_start.learning_rate=0.05",
        "grpo.learning_rate=0.05", "stages=[{name: first, reward_model: {member: game,"
        " episodes: 32, steps: 1}}, {name: second}]",
    ]  # fmt: skip
    assert main(["train", str(written(tmp_path)), "--runs", str(tmp_path / "runs"), *said]) == 0

    stages = tmp_path / "runs" / "two" / "stages"
    cold, first, second = (
        logits(AutoModelForCausalLM.from_pretrained(stages / folder))
        for folder in ("first/cold", "first/policy", "second/policy")
    )
    for sealed, model, before in ((first, trained[0], cold), (second, trained[1], first)):
        assert torch.allclose(sealed, logits(model), atol=1e-4)
        assert not torch.allclose(sealed, before, atol=1e-2)
    assert taught == [str(stages / "first" / "cold")]


def keep_what(monkeypatch, module, name: str, keep) -> None:
    """Have `keep` called with the arguments and the result of each call of a function."""
    function = getattr(module, name)

    def called(*given, **rest):
        made = function(*given, **rest)
        keep(given, made)
        return made

    monkeypatch.setattr(module, name, called)


@torch.no_grad()
def logits(model) -> torch.Tensor:
    return model.eval()(torch.arange(32)[None]).logits


@pytest.mark.slow
def test_what_is_sealed_is_not_done_again_and_what_is_not_goes_on(ran, tmp_path, capsys):
    """The second stage is put back to its first checkpoint, as a kill would have left it."""
    shutil.copytree(ran / "runs", tmp_path / "runs")
    second = tmp_path / "runs" / "two" / "stages" / "second"
    first = {path: path.stat().st_mtime_ns for path in (second.parent / "first").rglob("*")}
    rewards = (second / "metrics.jsonl").read_text()
    shutil.rmtree(second / "policy")
    shutil.rmtree(second / "checkpoints" / "checkpoint-2")
    state = json.loads((second / "state.json").read_text())
    kept = {name: state[name] for name in ("cold", "reward_model", "step 1")}
    (second / "state.json").write_text(json.dumps(kept))
    code = main(["train", str(ran / "recipe.yaml"), "--runs", str(tmp_path / "runs"), "--resume"])

    assert code == 0
    assert "first: sealed" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in (second.parent / "first").rglob("*")} == first
    assert is_whole(second / "policy")
    after = [json.loads(line) for line in (second / "metrics.jsonl").read_text().splitlines()]
    before = [json.loads(line) for line in rewards.splitlines()]
    assert [row["reward"] for row in after] == [row["reward"] for row in before]
    assert json.loads((second / "state.json").read_text())["cold"] == state["cold"]


def refused(capsys, *arguments: str) -> str:
    """Return the one line that a command ends with, exit code 2."""
    code = main(list(arguments))

    error = capsys.readouterr().err
    assert code == 2, error
    assert len(error.strip().splitlines()) == 1, error
    return error


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda policy: (policy / "sealed.json").unlink(), "is not sealed"),
        (lambda policy: (policy / "sealed.json").write_text("{"), "damaged seal"),
        (lambda policy: (policy / "config.json").unlink(), "lacks config.json"),
        (lambda policy: flip(policy / "model.safetensors"), "another model.safetensors"),
        (shutil.rmtree, "is not sealed"),
    ],
)
def test_a_stage_whose_source_is_not_sealed_is_refused(ran, tmp_path, capsys, harm, told):
    shutil.copytree(ran / "runs", tmp_path / "runs")
    stages = tmp_path / "runs" / "two" / "stages"
    shutil.rmtree(stages / "second")
    harm(stages / "first" / "policy")
    error = refused(
        capsys, "train", str(ran / "recipe.yaml"), "--runs", str(tmp_path / "runs"), "--resume",
        "--stage", "second",
    )  # fmt: skip

    assert "stages.second.source" in error
    assert told in error
    assert not (stages / "second").exists()


def flip(path: Path) -> None:
    """Change a file without changing its size."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_a_run_and_a_sealed_folder_and_a_checkpoint_are_sources(ran, tmp_path, capsys):
    first = ran / "runs" / "two" / "stages" / "first"
    shutil.copytree(first / "policy", tmp_path / "bare")
    for name in ("sealed.json", "recipe.yaml"):
        (tmp_path / "bare" / name).unlink()
    path = written(tmp_path, RECIPE.replace("name: first,", "name: first, source: SOURCE,"))
    for source in (first, first / "policy", tmp_path / "bare"):
        path.write_text(path.read_text().replace("SOURCE", str(source)))
        assert main(["recipe", "check", str(path)]) == 0
    (tmp_path / "bare" / "recipe.yaml").write_text("seed: 0\n")

    assert "is not sealed" in refused(
        capsys, "train", str(path), f"stages.first.source={tmp_path / 'bare'}"
    )


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("stages=3", "stages: 3; expected a list"),
        ("stages=[3]", "stages.0: 3; expected keys and values"),
        ("stages=[{steps: 1}]", "name: ''; expected the name of one folder, not 'policy'"),
        ("stages=[{name: a/b}]", "name: 'a/b'"),
        ("stages=[{name: ..}]", "name: '..'"),
        ("stages=[{name: policy}]", "name: 'policy'"),
        ("stages=[{name: a}, {name: a}]", "'a' twice"),
        ("stages=[{name: a, stepz: 1}]", "stages.a.stepz: no such key (did you mean 'steps'?)"),
        ("stages=[{name: a, steps: 0}]", "stages.a.steps: 0; expected more than 0"),
        ("stages=[{name: a, source: b}, {name: b}]", "stages.a.source: 'b' is not before it"),
        ("stages=[{name: a, source: a}]", "stages.a.source: 'a' is not before it"),
        ("stages.first.source=/nowhere/at/all", "stages.first.source: '/nowhere/at/all' is no"),
        ("stages.first.source=runs/nothing", "stages.first.source: 'runs/nothing' is no folder"),
        ("stages.third.steps=1", "'third' is not known; known: first, second"),
        ("stages.first=1", "stages.first; expected one of its keys"),
        ("stages.first.mixture={maths: 1}", "'maths' is not known (did you mean 'math'?)"),
        ("stages.first.mixture={math: 0}", "mixture.math: 0; expected a share, more than 0"),
        ("stages.first.mixture={math: [1]}", "mixture.math: [1]; expected a share"),
        ("stages.first.mixture={}", "mixture: no member"),
        ("stages.first.mixture={math: qwq/MathTool-v0}", "mixture.math: said twice"),
        ("stages.first.curriculum={window: 3}", "curriculum: no member"),
        ("stages.first.dynamic=0.5", "stages.first: grpo.dynamic: 0.5; expected 1 or more"),
        ("stages.first.evaluation={evry: 3}", "stages.first: evaluation.evry: no such key"),
        ("stages.first.gates=[{member: maths}]", "gates: member: 'maths' is not known"),
        ("environment.arguments.members=[qwq/MathTool-v0]", "mixture: expected environment.id"),
        ("stages=[{name: a, gates: [{member: x}]}]", "gates: member: 'x' is not known"),
        ("stages=[{name: a, mixture: {m: {id: x}}}, {name: b, mixture: {m: {id: y}}}]", "twice"),
        ("stages.first.gates=[{fell: 1}]", "gates.0.fell: no such key"),
        ("stages.first.gates=[{fall: -1}]", "gates.0.fall: -1"),
        ("stages.first.overrides={grpo: {stepz: 1}}", "stages.first: grpo.stepz: no such key"),
        ("stages.first.overrides={grpo.beta: x}", "stages.first: grpo.beta: 'x'; expected float"),
        ("stages.first.overrides.grpo.steps=3", "overrides.grpo.steps: expected it as steps"),
        ("stages.first.overrides.policy.checkpoint=x", "policy.checkpoint: expected it as source"),
        ("stages.first.overrides.cluster.gpus=2", "cluster, which all stages share"),
        ("stages.first.overrides.grpo.group=3", "stages.first: grpo.episodes: 8; expected a mult"),
        ("stages.second.reward_model={member: x}", "reward_model.member: 'x' is not known"),
        ("stages.second.reward_model={member: math}", "takes no argument 'reward_model'"),
        ("stages.second.reward_model={member: math, heldout: 1}", "expected a share, 0 to 1"),
    ],
)
@pytest.mark.parametrize("command", ["train", "recipe"])
def test_a_stage_that_is_none_is_one_line(tmp_path, capsys, monkeypatch, command, override, told):
    monkeypatch.chdir(tmp_path)
    first = ["train"] if command == "train" else ["recipe", "check"]

    assert told in refused(capsys, *first, str(written(tmp_path)), override)
    assert not (tmp_path / "runs").exists()


def test_a_mistake_in_a_stage_is_told_before_anything_heavy_is_imported(tmp_path):
    program = (
        "import sys; from qwq_env.cli import main; code = main(sys.argv[1:]);"
        " print(code, 'torch' in sys.modules)"
    )
    command = ["train", str(written(tmp_path)), "--stage", "second", "--runs", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", program, *command], capture_output=True, text=True, check=True
    )

    assert done.stdout == "2 False\n"
    assert "first/policy is not sealed" in done.stderr


def test_a_stage_that_is_not_there_is_named(tmp_path, capsys):
    path = str(written(tmp_path))

    assert "stage: 'third' is not known" in refused(capsys, "train", path, "--stage", "third")
    tiny = str(Path(__file__).parents[2] / "recipes" / "tiny.yaml")
    assert "the recipe has no stages" in refused(capsys, "train", tiny, "--stage", "first")


def test_several_stages_with_servers_are_run_one_at_a_time(tmp_path, capsys):
    servers = ["policy.sampler=vllm", "policy.servers=['http://x']", "policy.served=here"]
    error = refused(capsys, "train", str(written(tmp_path)), *servers)

    assert "--stage first" in error


def test_recipe_show_is_read_again_and_explain_names_the_stages(tmp_path, capsys):
    path = written(tmp_path)
    recipe = load_recipe(path, ["stages.second.steps=7"])
    again = tmp_path / "again.yaml"
    again.write_text(dump_recipe(recipe))
    assert load_recipe(again) == recipe
    assert main(["recipe", "explain", str(path), "stages.second.steps=7"]) == 0

    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "override" in lines["stages.second.steps"]
    assert "file" in lines["stages.first.name"]
    assert "default" in lines["stages.first.source"]
    assert "0.03" in lines["stages.second.gates.0.fall"]


def test_a_curriculum_reaches_the_mixture(tmp_path):
    climbing = RECIPE.replace("tools: [calculator]}", "tools: [calculator], difficulty: [1, 2]}")
    path = written(tmp_path, climbing)
    first, _ = parts_of(load_recipe(path, ["stages.first.curriculum={window: 8}"]))

    assert first.trained.arguments["curriculum"] == {"window": 8}
    with pytest.raises(UsageError, match="curriculum: 'windw' is not known"):
        environments_of(first._replace(trained=replace(first.trained, arguments={
            **first.trained.arguments, "curriculum": {"windw": 8}})))  # fmt: skip


def test_plan_and_launch_go_stage_by_stage(tmp_path, capsys):
    recipes = Path(__file__).parents[2] / "recipes"
    stages = (
        "stages=[{name: a}, {name: b, overrides: {grpo: {context: 8192,"
        " max_completion_tokens: 7000}}}, {name: c}]"
    )
    assert main(["plan", str(recipes / "qwq-32b.yaml"), stages]) == 0
    planned = capsys.readouterr().out
    code = main(["launch", str(recipes / "qwq-32b.yaml"), stages, "--slurm"])
    script = capsys.readouterr().out
    dry = main(["launch", str(recipes / "qwq-32b.yaml"), stages, "--dry-run"])
    commands = capsys.readouterr().out

    assert code == dry == 0
    assert [line for line in planned.splitlines() if line.startswith("stage")] == [
        "stage a, c", "stage b"
    ]  # fmt: skip
    assert script.count("srun") == 3
    assert "--stage a" in script
    assert "--resume --stage b" in script
    assert "--model Qwen/QwQ-32B" in commands
    assert "--model runs/qwq-32b/stages/a/policy" in commands
    assert "--max-model-len 8192" in commands


def test_a_part_is_the_recipe_with_what_its_stage_says(tmp_path):
    recipe = load_recipe(written(tmp_path))
    first, second = parts_of(recipe)

    assert (first.source, second.source) == ("policy", "first")
    assert (first.recipe.cold_start.steps, second.recipe.cold_start.steps) == (1, 0)
    assert (second.recipe.grpo.steps, second.recipe.grpo.dynamic) == (2, 2.0)
    assert second.recipe.grpo.save_steps == 1
    assert second.trained.arguments["members"]["game"] == {"id": "test/Coin-v0", "weight": 3}
    assert first.recipe.environment == second.recipe.environment == recipe.environment
    [alone] = parts_of(load_recipe(written(tmp_path), ["stages=[]"]))
    assert (alone.name, alone.recipe.stages) == ("", [])


def result(accuracy: float, **members: float) -> Result:
    return Result(100, accuracy, 0.0, 1.0, 0.0, 0, members)


@pytest.mark.parametrize(
    ("member", "now", "told"),
    [
        ("math", result(0.9, math=0.87), None),
        ("math", result(0.9, math=0.86), "math fell from 0.900 to 0.860, by more than 0.03"),
        ("all", result(0.7, math=0.9), "all fell from 0.900 to 0.700"),
        ("math", result(0.9), None),
    ],
)
def test_a_gate_closes_at_a_fall_beyond_its_bound(member, now, told):
    found = closed([GateRecipe(member, 0.03)], result(0.9, math=0.9), now)

    assert found is None if told is None else found.startswith(told)


@pytest.mark.slow
def test_a_gate_stops_a_stage_and_another_lets_it_go_on(ran, tmp_path, capsys):
    """What the stage began with is said to have been better than any accuracy can be."""
    shutil.copytree(ran / "runs", tmp_path / "runs")
    second = tmp_path / "runs" / "two" / "stages" / "second"
    shutil.rmtree(second / "policy")
    shutil.rmtree(second / "checkpoints")
    (second / "metrics.jsonl").unlink()
    cold = json.loads((second / "state.json").read_text())["cold"]
    cold["members"]["math"] = 2.0
    taught = {"cold": cold, "reward_model": {}}
    (second / "state.json").write_text(json.dumps(taught))
    again = ["train", str(ran / "recipe.yaml"), "--runs", str(tmp_path / "runs"), "--resume"]
    codes = [main(again) for _ in range(2)]
    told = [line for line in capsys.readouterr().err.splitlines() if "stopped" in line]

    assert codes == [1, 1]
    assert len(told) == 2
    assert all("stages.second: step 1: math fell from 2.000" in line for line in told)
    assert not (second / "policy").exists()
    assert len((second / "metrics.jsonl").read_text().splitlines()) == 1
    assert main([*again[:2], "stages.second.gates=[]", *again[2:]]) == 0
    assert is_whole(second / "policy")


def test_a_seal_without_digests_is_as_before(tmp_path):
    (tmp_path / "weights").write_text("abc")
    seal(tmp_path)
    flip(tmp_path / "weights")

    assert is_whole(tmp_path)
    assert json.loads((tmp_path / "sealed.json").read_text()) == {"weights": 3}
    with pytest.raises(UsageError, match="not known"):
        load_recipe(written(tmp_path), ["stages.none.steps=1"])
