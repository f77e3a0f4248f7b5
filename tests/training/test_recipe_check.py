"""What a run refuses because of its recipe, `recipe check`, `plan` and `launch` refuse as well."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from accelerate import PartialState

from qwq_env.cli import main
from qwq_env.errors import UsageError
from qwq_env.training.progress import Reporter
from qwq_env.training.recipe import load_recipe
from qwq_env.training.recipe.check import check_recipe
from qwq_env.training.run import Run
from qwq_env.training.run_folder import RunFolder
from qwq_env.training.stages.context import StageContext
from qwq_env.training.stages.stage import stages_of

RECIPES = Path(__file__).parents[2] / "recipes"
TINY = RECIPES / "tiny.yaml"
SHIPPED = {path.stem: load_recipe(path) for path in sorted(RECIPES.glob("*.yaml"))}
ON_A_LAPTOP = [name for name, recipe in SHIPPED.items() if not recipe.cluster.gpus]

WRONG = {
    "limits.episode=1800": "limits.episode: 1800 seconds; expected less than limits.batch (1200)",
    "limits.batch=100": "limits.episode: 120 seconds; expected less than limits.batch (100)",
    "limits.ddp=1e300": "limits.ddp: 1e+300; expected at most 604800",
    "environment.seconds=3": "environment.seconds: no such key",
    "rollout.batch_seconds=3": "rollout.batch_seconds: no such key",
    "environment.tools=[python];cold_start.teacher={call: 1}": "python; expected 'calculator'",
    "environment.dialect=react": "does not read the teacher's calls",
    "environment.id=CartPole-v1": "no ToolEnv",
    "environment.difficulty=99": "difficulty",
    "environment.tasks=missing.jsonl": "missing.jsonl",
    "cold_start.teacher={gues: 1}": "did you mean 'guess'",
    "cold_start.teacher={guess: 2}": "expected a number from 0 to 1",
    "cold_start.teacher={guess: 0.5}": "do not sum to 1",
    "cold_start={source: solve, right: 2}": "cold_start.right: 2; expected at most 1",
    "cold_start.demonstrations=missing.jsonl": "missing.jsonl",
    "grpo.trl.loss_type=dapoo": "grpo.trl.loss_type: 'dapoo' (did you mean 'dapo'?); expected one",
    "grpo.trl.scale_rewards=batches": "grpo.trl.scale_rewards: 'batches'",
    "grpo.trl.importance_sampling_level=turn": "expected one of sequence, token",
    "grpo.trl.epsilon=.nan": "grpo.trl.epsilon: nan; expected a finite number",
    "grpo.trl.num_iterations=0": "grpo.trl.num_iterations: 0; expected 1 or more",
    "grpo.trl.top_entropy_quantile=2.0": "expected a number from 0 to 1",
    "grpo.trl.optim=adamm": "grpo.trl: ",
    "grpo.trl.epsilon=-0.2": "grpo.trl.epsilon: -0.2; expected 0 or more",
    "grpo.trl.sync_ref_model=true": "grpo.trl.sync_ref_model: expected grpo.beta above 0",
    "grpo.trl.reward_weights=[1.0, 2.0]": "grpo.trl.reward_weights: the run has its own",
    "grpo.temperature=1e300": "grpo.temperature: 1e+300; expected at most 10",
    "grpo.temperature=1e-300": "grpo.temperature: 1e-300; expected 0.01 or more",
    "grpo.steps=99999999999999999999": "grpo.steps: 99999999999999999999; expected less than 2**32",
    "threads=1000000": "threads: 1000000; expected at most 1024",
    "policy.lora.dropout=2": "policy.lora.dropout: 2; expected at most 0.99",
    "policy.lora.targets=[]": "policy.lora.targets: none; expected names of layers",
    "policy.lora.targets=[q_pro]": "policy.lora.targets: 'q_pro' is not known",
    "policy.servers=[a]": "policy.servers: expected policy.sampler=vllm, which uses it",
    "policy.served=''": "policy.served: expected policy.sampler=vllm, which uses it",
    "policy.seeded=true": "policy.seeded: expected policy.sampler=vllm, which uses it",
    "policy={sampler: vllm, served: x, servers: [a]}": "policy.servers: 'a'; expected http://host",
}


@pytest.mark.parametrize("override", WRONG)
def test_every_command_refuses_a_recipe_in_the_words_of_the_run(
    override, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    overrides = override.split(";")
    assert main(["recipe", "check", str(TINY), *overrides]) == 2
    told = capsys.readouterr().err
    assert WRONG[override] in told and len(told.splitlines()) == 1

    for command in (["launch", "--dry-run"], ["plan"], ["train"]):
        assert main([*command, str(TINY), *overrides]) == 2
        assert capsys.readouterr().err == told
    assert list(tmp_path.iterdir()) == []


def test_an_adapter_is_nothing_to_start_from(tmp_path, capsys):
    """Such as a run without stages leaves, as its policy/."""
    for name in ("adapter_config.json", "tokenizer.json"):
        (tmp_path / name).write_text("{}")
    for said in (f"policy.checkpoint={tmp_path}", f"stages=[{{name: a, source: {tmp_path}}}]"):
        assert main(["recipe", "check", str(TINY), said]) == 2
        told = capsys.readouterr().err
        assert "is an adapter's; expected whole weights" in told and len(told.splitlines()) == 1


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_recipe_passes_what_a_run_asks_of_it_before_it_loads(name, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(RECIPES.parent / "examples")
    check_recipe(SHIPPED[name])
    processes = PartialState(cpu=True)
    for stage in stages_of(SHIPPED[name], tmp_path) if name in ON_A_LAPTOP else ():
        Run(StageContext(stage, processes, Reporter(enabled=False)))

    assert list(tmp_path.iterdir()) == []


def test_what_only_a_gpu_has_is_not_asked_of_the_machine_that_checks(capsys):
    assert main(["recipe", "check", str(TINY), "grpo.trl.tf32=true"]) == 0


def test_a_run_folder_says_what_it_cannot_go_on_with_before_anything_is_loaded(tmp_path, capsys):
    command = ["train", str(TINY), "--runs", str(tmp_path), "--resume"]
    folder = RunFolder(tmp_path / "tiny")
    folder.begin(SHIPPED["tiny"])
    assert main([*command, "grpo.learning_rate=1.0"]) == 2
    told = "another recipe: grpo.learning_rate was 0.001 and is 1.0; expected the same"
    assert told in capsys.readouterr().err

    folder.recipe.write_text("name: tiny\nenvironment: {seconds: 3}\n")
    assert main(command) == 2
    error = capsys.readouterr().err
    assert f"run: {folder.path} cannot go on: recipe: environment.seconds: no such key" in error
    assert len(error.splitlines()) == 1

    (tmp_path / "file").touch()
    assert main([*command, f"--runs={tmp_path / 'file'}"]) == 2
    assert "file is a file; expected the folder where runs lie" in capsys.readouterr().err


HOLDER = """
import sys
import subprocess
import sys
from pathlib import Path
from qwq_env.training.recipe import load_recipe
from qwq_env.training.run_folder import RunFolder
folder = RunFolder(Path(sys.argv[1]))
folder.claim(load_recipe(sys.argv[2]), resume=False)
print("held", flush=True)
sys.stdin.read()
"""


def test_two_runs_do_not_write_in_one_folder(tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "tiny"), str(TINY)]
    again = RunFolder(tmp_path / "tiny")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(UsageError, match=rf"in use by another process \({other.pid}\)"):
            again.claim(SHIPPED["tiny"], resume=True)
        other.kill()
    again.claim(SHIPPED["tiny"], resume=True)
